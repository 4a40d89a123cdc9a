# SPDX-License-Identifier: Apache-2.0
"""ONNX files in int8, by ONNX Runtime's static quantisation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    qdq_loss_debug,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from mmdet_mobilenext.log_level import log_level
from mmdet_mobilenext.runtime.spec import ModelSpec

from ..onnx_file import add_metadata
from .calibration import CalibrationImages
from .layers import Precisions, onnx_convolutions, onnx_precisions, onnx_tail
from .options import QuantizationOptions, matching

__all__ = ['OnnxQuantization']

# Convolutions, and what is between them: with one of these in float, tensors would be converted to
# float and back. Clip is ReLU6: it vanishes into the range of the tensor behind it.
OPERATORS = ['Add', 'Clip', 'Concat', 'Conv', 'MaxPool', 'Relu', 'Resize']
METHODS = dict(
    minmax=CalibrationMethod.MinMax,
    percentile=CalibrationMethod.Percentile,
    entropy=CalibrationMethod.Entropy,
)
# all tensors of so many runs are in memory at once
MOST_RUNS = 8
RANKED_RUNS = 16


class _Reader(CalibrationDataReader):
    def __init__(self, images: CalibrationImages, name: str, count: int) -> None:
        self.images, self.name = images, name
        self.count = count
        self.set_range(0, count)

    def __len__(self) -> int:
        return self.count

    def set_range(self, start_index: int, end_index: int) -> None:
        self._indices = iter(range(start_index, end_index))

    def get_next(self) -> dict | None:
        index = next(self._indices, None)
        return None if index is None else {self.name: self.images.batch(index)}


class OnnxQuantization:
    """Quantisation of an ONNX file: weights per output channel, activations per tensor.

    Activations are uint8 and weights int8 (``U8S8``), which the integer instructions of x86
    processors take. The format is QDQ: pairs of ``QuantizeLinear`` and ``DequantizeLinear`` around
    the operators, which the runtime fuses.

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
        self._images, self._folder = images, folder
        self._method = options.method_for('onnx')
        self._source = folder / 'prepared.onnx'
        quant_pre_process(str(path), str(self._source), skip_symbolic_shape=True)
        self._graph = onnx.load(self._source).graph
        self.convolutions = onnx_convolutions(self._graph)
        self._tail = onnx_tail(self._graph)
        self.kept = matching(self.convolutions, options.keep_float)

    def write(self, path: Path, spec: ModelSpec, more: Sequence[str] = ()) -> None:
        """Quantise. Calibration is done the first time alone.

        Args:
            path (Path): ``.onnx`` to write.
            spec (ModelSpec): Goes into the metadata.
            more (Sequence[str]): Convolutions to keep in float besides those of the options.
        """
        runs = len(self._images)
        reader = _Reader(self._images, self._graph.input[0].name, runs)
        extra = {}
        if self._method != 'minmax':
            stride = max(n for n in range(1, min(runs, MOST_RUNS) + 1) if runs % n == 0)
            extra['CalibStridedMinMax'] = stride
        # without the quantiser's advice, which this module follows
        with log_level(logging.root, logging.ERROR):
            quantize_static(
                str(self._source),
                str(path),
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=OPERATORS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[*self._tail, *self.kept, *more],
                calibrate_method=METHODS[self._method],
                extra_options=extra,
                calibration_cache_path=self._folder / 'ranges.json',
            )
        add_metadata(path, spec)

    def precisions(self, path: Path) -> Precisions:
        """In what a written file is computed.

        Args:
            path (Path): Of :meth:`write`.

        Returns:
            Precisions: Of each convolution.
        """
        return onnx_precisions(path, self.convolutions)

    def search(
        self, path: Path, spec: ModelSpec, drop: Callable[[Path], float], most: float
    ) -> int:
        """Keep the convolutions in float that int8 represents worst, until a file is good enough.

        One, two, four, ... of them; so at most seven files are made of a hundred convolutions.

        Args:
            path (Path): ``.onnx`` to write.
            spec (ModelSpec): Goes into the metadata.
            drop (Callable): Loss of a file in points.
            most (float): Largest loss.

        Returns:
            int: Files that were measured. The last one is there, good enough or all in float.
        """
        self.write(path, spec)
        measured, kept = 1, 0
        ranked: list[str] = []
        while drop(path) > most and kept < len(self.convolutions):
            ranked = ranked or self._worst_first(path)
            kept = min(max(2 * kept, 1), len(self.convolutions))
            self.write(path, spec, ranked[:kept])
            measured += 1
        return measured

    def _worst_first(self, path: Path) -> list[str]:
        """Convolutions by signal to quantisation noise of output and weight, in dB."""
        augmented = [self._folder / f'{name}.augmented.onnx' for name in ('float', 'int8')]
        runs = min(len(self._images), RANKED_RUNS)
        activations = []
        for source, target in zip((self._source, path), augmented, strict=True):
            qdq_loss_debug.modify_model_output_intermediate_tensors(source, target)
            reader = _Reader(self._images, self._graph.input[0].name, runs)
            activations.append(qdq_loss_debug.collect_activations(str(target), reader))
        errors = qdq_loss_debug.compute_activation_error(
            qdq_loss_debug.create_activation_matching(activations[1], activations[0])
        )
        weights = qdq_loss_debug.compute_weight_error(
            qdq_loss_debug.create_weight_matching(str(self._source), str(path))
        )
        clips = {n.input[0]: n.output[0] for n in self._graph.node if n.op_type in ('Clip', 'Relu')}
        quality = {}
        for node in self._graph.node:
            if node.op_type == 'Conv':
                output = clips.get(node.output[0], node.output[0])
                found = (errors.get(output, {}).get('qdq_err'), weights.get(node.input[1]))
                quality[node.name] = min((x for x in found if x is not None), default=float('inf'))
        return sorted(quality, key=quality.__getitem__)
