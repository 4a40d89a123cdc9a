# SPDX-License-Identifier: Apache-2.0
"""A file like those of tools/export.py that always finds the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmdet_mobilenext.runtime.spec import KEY, ModelSpec

CLASSES = ('cat', 'dog')
SIZE = (32, 16)


def make_exported(path: Path) -> Path:
    """Finds a dog of score 0.9 in the middle of every image, and a cat of 0.4 in the corner."""
    boxes, scores = np.zeros((1, 100, 4), np.float32), np.zeros((1, 100), np.float32)
    labels = np.zeros((1, 100), np.int64)
    boxes[0, :2] = (8, 4, 24, 12), (0, 0, 8, 4)
    scores[0, :2] = 0.9, 0.4
    labels[0, 0] = 1
    outputs = dict(boxes=boxes, scores=scores, labels=labels)
    graph = helper.make_graph(
        [
            helper.make_node('Constant', [], [name], value=numpy_helper.from_array(value))
            for name, value in outputs.items()
        ],
        'always_the_same',
        [helper.make_tensor_value_info('images', TensorProto.UINT8, (1, SIZE[1], SIZE[0], 3))],
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in outputs.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    spec = ModelSpec(CLASSES, SIZE, 'bgr', 'detections', 0.01, 0.45, 100, batch=1)
    helper.set_model_props(model, {KEY: spec.to_json()})
    onnx.save(model, str(path))
    return path
