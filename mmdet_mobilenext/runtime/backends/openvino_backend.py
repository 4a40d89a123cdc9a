# SPDX-License-Identifier: Apache-2.0
"""OpenVINO's own files and ONNX files by OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ModelFileError
from ..openvino_core import shared_core
from ..spec import KEY, ModelSpec

__all__ = ['open_file']


class _OpenVino:
    def __init__(self, path: Path, threads: int) -> None:
        core = shared_core()
        try:
            model = core.read_model(str(path))
            # of an ONNX file OpenVINO puts the metadata into the section 'framework'
            keys = ([KEY], ['framework', KEY])
            key = next((key for key in keys if model.has_rt_info(key)), None)
            text = None if key is None else model.get_rt_info(key).astype(str)
            self.spec = ModelSpec.from_json(text, str(path))
            self._compiled = core.compile_model(
                model,
                'CPU',
                {
                    'INFERENCE_NUM_THREADS': threads,
                    'PERFORMANCE_HINT': 'LATENCY',
                    # on processors with bfloat16 it would be taken without being asked for
                    'INFERENCE_PRECISION_HINT': 'f32',
                },
            )
        except RuntimeError as error:
            raise ModelFileError(f'OpenVINO cannot load {path}: {error}') from error
        self._request = self._compiled.create_infer_request()
        wanted = self.spec.outputs
        ports = {name: port for port in self._compiled.outputs for name in port.get_names()}
        if not set(wanted) <= set(ports):
            raise ModelFileError(f'{path} has outputs {sorted(ports)}, but must have {wanted}')
        self._outputs = [ports[name] for name in wanted]

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        results = self._request.infer([images], share_inputs=True)
        return tuple(results[port] for port in self._outputs)


def open_file(path: Path, threads: int) -> _OpenVino:
    """Load an OpenVINO or ONNX file.

    Args:
        path (Path): An existing file; ``.bin`` is beside an ``.xml``.
        threads (int): CPU threads.

    Returns:
        Backend: Ready to run.

    Raises:
        ModelFileError: If it is damaged or was not exported by this project.
    """
    return _OpenVino(path, threads)
