# SPDX-License-Identifier: Apache-2.0
"""From an ONNX file to OpenVINO's own, by OpenVINO's converter."""

from __future__ import annotations

from pathlib import Path

from mmdet_mobilenext.runtime.spec import KEY, ModelSpec

__all__ = ['save_openvino', 'write_openvino']


def write_openvino(onnx_path: Path, spec: ModelSpec, path: Path) -> None:
    """Convert an ONNX file.

    Args:
        onnx_path (Path): ONNX file.
        spec (ModelSpec): Goes into the metadata (``rt_info``).
        path (Path): ``.xml`` to write; ``.bin`` is written beside it.
    """
    import openvino

    save_openvino(openvino.convert_model(str(onnx_path)), spec, path)


def save_openvino(model: object, spec: ModelSpec, path: Path) -> None:
    """Write a model of OpenVINO with its metadata.

    Args:
        model (openvino.Model): The model.
        spec (ModelSpec): What it is.
        path (Path): ``.xml`` to write; ``.bin`` is written beside it.
    """
    import openvino

    # of the ONNX file; it would be the entry of another model once this one is changed
    if model.has_rt_info(['framework']):
        model.set_rt_info('', ['framework'])
    model.set_rt_info(spec.to_json(), [KEY])
    # weights as they are: in float16 they would differ from those that were tested
    openvino.save_model(model, str(path), compress_to_fp16=False)
