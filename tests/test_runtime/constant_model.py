# SPDX-License-Identifier: Apache-2.0
"""An exported file that finds the same two boxes in every image, made without PyTorch."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmdet_mobilenext.runtime.spec import KEY, ModelSpec

SIZE = (32, 24)


def write_constant_model(path: Path) -> str:
    """Boxes (4, 3, 16, 12) of 'cat' and (0, 0, 32, 24) of 'dog', padded to three."""
    boxes = np.array([[[4, 3, 16, 12], [0, 0, 32, 24], [0, 0, 0, 0]]], np.float32)
    outputs = dict(
        boxes=boxes,
        scores=np.array([[0.9, 0.6, 0]], np.float32),
        labels=np.array([[0, 1, 0]], np.int64),
    )
    nodes = [
        helper.make_node('Constant', [], [name], value=numpy_helper.from_array(value))
        for name, value in outputs.items()
    ]
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in outputs.items()
    ]
    images = helper.make_tensor_value_info('images', TensorProto.UINT8, [1, SIZE[1], SIZE[0], 3])
    graph = helper.make_graph(nodes, 'constant', [images], infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    spec = ModelSpec(('cat', 'dog'), SIZE, 'bgr', 'detections', 0.01, 0.45, 3, batch=1)
    helper.set_model_props(model, {KEY: spec.to_json()})
    onnx.save(model, str(path))
    return str(path)
