# SPDX-License-Identifier: Apache-2.0
"""OpenVINO files in int8, by NNCF."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import nncf
import numpy as np
import openvino
from nncf.quantization.advanced_parameters import (
    AdvancedAccuracyRestorerParameters,
    AdvancedQuantizationParameters,
)
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from mmdet_mobilenext.runtime import Detector
from mmdet_mobilenext.runtime.openvino_core import only_one_core, shared_core
from mmdet_mobilenext.runtime.spec import ModelSpec

from ..openvino_file import save_openvino
from .calibration import CalibrationImages
from .layers import Precisions, openvino_convolutions, openvino_precisions, openvino_tail
from .options import QuantizationOptions, matching
from .validation import Validation

__all__ = ['OpenVinoQuantization']


class OpenVinoQuantization:
    """Quantisation of an OpenVINO file: weights per output channel, activations as NNCF has it for
    CPUs: per tensor, and per channel before depthwise convolutions.

    Args:
        path (Path): The float file.
        folder (Path): For intermediate files.
        images (CalibrationImages): For the ranges.
        options (QuantizationOptions): How.

    Raises:
        ExportError: If ``options`` ask for what there is not.
    """

    def __init__(
        self, path: Path, folder: Path, images: CalibrationImages, options: QuantizationOptions
    ) -> None:
        # not nncf.set_log_level: that sets the handlers too, which others may share
        logging.getLogger(nncf.__name__).setLevel(logging.ERROR)
        self._path, self._images = path, images
        self._method = options.method_for('openvino')
        self._bias_correction = options.bias_correction_for('openvino')
        model = self._load()
        self._operations = openvino_convolutions(model)
        self._tail = openvino_tail(model)
        self.convolutions = list(self._operations)
        self.kept = matching(self.convolutions, options.keep_float)

    def _load(self) -> openvino.Model:
        return shared_core().read_model(str(self._path))

    def _settings(self) -> dict:
        ignored = [*self._tail, *(self._operations[name] for name in self.kept)]
        return dict(
            subset_size=len(self._images),
            fast_bias_correction=self._bias_correction != 'full',
            # shapes and the like are no nodes of NNCF's graph
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
        )

    def _advanced(self) -> AdvancedQuantizationParameters:
        return AdvancedQuantizationParameters(
            activations_range_estimator_params=getattr(
                RangeEstimatorParametersSet, self._method.upper()
            ),
            disable_bias_correction=self._bias_correction == 'none',
        )

    @only_one_core()
    def write(self, path: Path, spec: ModelSpec) -> None:
        """Quantise.

        Args:
            path (Path): ``.xml`` to write; ``.bin`` is written beside it.
            spec (ModelSpec): Goes into the metadata.
        """
        model = nncf.quantize(
            self._load(),
            nncf.Dataset(self._images),
            advanced_parameters=self._advanced(),
            **self._settings(),
        )
        save_openvino(model, spec, path)

    def precisions(self, path: Path) -> Precisions:
        """In what a written file is computed.

        Args:
            path (Path): Of :meth:`write`.

        Returns:
            Precisions: Of each convolution.
        """
        return openvino_precisions(path, self._operations)

    @only_one_core()
    def search(self, path: Path, spec: ModelSpec, validation: Validation, most: float) -> None:
        """Quantise with NNCF's accuracy control, which ranks quantisers and puts operators back
        into float until the loss is small enough.

        Args:
            path (Path): ``.xml`` to write; ``.bin`` is written beside it.
            spec (ModelSpec): Goes into the metadata.
            validation (Validation): Data and metric.
            most (float): Largest loss in points.
        """
        measure: Callable = _measure(path, spec, validation)
        model = nncf.quantize_with_accuracy_control(
            self._load(),
            nncf.Dataset(self._images),
            nncf.Dataset(range(len(validation))),
            measure,
            max_drop=most,
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_quantization_parameters=self._advanced(),
            # one process at a time: the validation data are shared
            advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(
                num_ranking_workers=1
            ),
            **self._settings(),
        )
        save_openvino(model, spec, path)


class _Compiled:
    """A compiled model in the place of a file; see ``runtime.backends.Backend``."""

    def __init__(self, compiled: openvino.CompiledModel, spec: ModelSpec) -> None:
        self.spec = spec
        self._compiled = compiled

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        results = self._compiled([images])
        return tuple(results[name] for name in self.spec.outputs)


def _measure(path: Path, spec: ModelSpec, validation: Validation) -> Callable:
    def measure(compiled: openvino.CompiledModel, items: Iterable[int]) -> tuple[float, None]:
        detector = Detector(path, _Compiled(compiled, spec))
        return validation(detector, list(items)), None

    return measure
