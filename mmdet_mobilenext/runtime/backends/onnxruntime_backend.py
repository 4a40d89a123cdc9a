# SPDX-License-Identifier: Apache-2.0
"""ONNX files by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from ..errors import ModelFileError
from ..spec import KEY, ModelSpec

__all__ = ['open_file']


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int) -> None:
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # what goes wrong is raised, too
        # threads that wait by spinning after a run would take the cores from what comes next
        options.add_session_config_entry('session.force_spinning_stop', '1')
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=['CPUExecutionProvider'],
                # it would quantise convolutions that a file keeps in float, and per tensor
                disabled_optimizers=['WeightBiasQuantization'],
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # a class for each status code, with nothing in common
            raise ModelFileError(f'ONNX Runtime cannot load {path}: {error}') from error
        self.spec = ModelSpec.from_json(metadata.get(KEY), str(path))
        self._input = self._session.get_inputs()[0].name
        names = [output.name for output in self._session.get_outputs()]
        wanted = self.spec.outputs
        if not set(wanted) <= set(names):
            raise ModelFileError(f'{path} has outputs {names}, but must have {wanted}')
        self._outputs = wanted

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(self._session.run(self._outputs, {self._input: images}))


def open_file(path: Path, threads: int) -> _OnnxRuntime:
    """Load an ONNX file.

    Args:
        path (Path): An existing file.
        threads (int): CPU threads.

    Returns:
        Backend: Ready to run.

    Raises:
        ModelFileError: If it is damaged or was not exported by this project.
    """
    return _OnnxRuntime(path, threads)
