# SPDX-License-Identifier: Apache-2.0
"""An exported file without a network: its scores are the mean colour of the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmdet_mobilenext.runtime import ModelSpec
from mmdet_mobilenext.runtime.spec import KEY

BOXES = np.array([[2, 4, 20, 30], [2, 4, 20, 29], [10, 0, 16, 40], [0, 0, 32, 48]], np.float32)
CLASSES = ('blue', 'green', 'red')


def small_spec(**more: object) -> ModelSpec:
    values = dict(
        classes=CLASSES, size=(32, 48), color='bgr', kind='raw', score_thr=0.05, iou_thr=0.5,
        max_per_img=5,
    )  # fmt: skip
    return ModelSpec(**{**values, **more})


def write_small_model(path: Path, num_boxes: int = 4, **more: object) -> Path:
    """Boxes of four priors, the first with the scores as they are, the others with less."""
    spec = small_spec(**more)
    width, height = spec.size
    batch = spec.batch or 'batch'
    constants = dict(
        axes=np.array([1, 2]),
        scale=np.array([[[1.0], [0.9], [0.5], [0.1]]], np.float32) / 255,
        boxes_=BOXES[None, :num_boxes],
        ones=np.array([1, 1]),
        middle=np.array([1]),
    )
    nodes = [
        helper.make_node('Cast', ['images'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('ReduceMean', ['float', 'axes'], ['mean'], keepdims=0),
        helper.make_node('Unsqueeze', ['mean', 'middle'], ['means']),
        helper.make_node('Mul', ['means', 'scale'], ['scores']),
        helper.make_node('Shape', ['images'], ['number'], start=0, end=1),
        helper.make_node('Concat', ['number', 'ones'], ['repeats'], axis=0),
        helper.make_node('Expand', ['boxes_', 'repeats'], ['boxes']),
    ]
    graph = helper.make_graph(
        nodes,
        'small',
        [helper.make_tensor_value_info('images', TensorProto.UINT8, [batch, height, width, 3])],
        [
            helper.make_tensor_value_info('boxes', TensorProto.FLOAT, [batch, num_boxes, 4]),
            helper.make_tensor_value_info('scores', TensorProto.FLOAT, [batch, 4, 3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    helper.set_model_props(model, {KEY: spec.to_json()})
    onnx.save(model, path)
    return path
