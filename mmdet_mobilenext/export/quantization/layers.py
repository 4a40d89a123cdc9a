# SPDX-License-Identifier: Apache-2.0
"""Convolutions of a file: their names, what comes behind them, and in what they are computed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import openvino

__all__ = [
    'Precisions',
    'onnx_convolutions',
    'onnx_precisions',
    'onnx_tail',
    'openvino_convolutions',
    'openvino_precisions',
    'openvino_tail',
]

_CONVOLUTIONS = ('Convolution', 'GroupConvolution')


@dataclass(frozen=True)
class Precisions:
    """In what the runtime computes the convolutions of a file, as it says itself.

    Attributes:
        int8 (tuple[str, ...]): Names of those in integers of 8 bits.
        float32 (tuple[str, ...]): Names of the others.
    """

    int8: tuple[str, ...]
    float32: tuple[str, ...]


def onnx_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Convolutions of an ONNX file.

    Args:
        graph (onnx.GraphProto): Graph.

    Returns:
        list[str]: Names of their nodes, which are those of the modules.
    """
    return [node.name for node in graph.node if node.op_type == 'Conv']


def onnx_tail(graph: onnx.GraphProto) -> list[str]:
    """What is behind the last convolutions: softmax, decoding, NMS.

    Args:
        graph (onnx.GraphProto): Graph, in topological order.

    Returns:
        list[str]: Names of the nodes from which no convolution is reached.
    """
    before: set[str] = set()  # tensors that lead to a convolution
    tail = []
    for node in reversed(graph.node):
        if node.op_type == 'Conv' or before.intersection(node.output):
            before.update(node.input)
        elif node.name:
            tail.append(node.name)
    return tail


def onnx_precisions(path: Path, names: list[str]) -> Precisions:
    """Look into the graph that ONNX Runtime makes of a file.

    Args:
        path (Path): ONNX file.
        names (list[str]): Its convolutions.

    Returns:
        Precisions: Of each.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # one level less than all: that one renames weights, and knows nothing of integers
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / 'optimized.onnx')
        # as the runtime opens it
        onnxruntime.InferenceSession(
            str(path),
            options,
            providers=['CPUExecutionProvider'],
            disabled_optimizers=['WeightBiasQuantization'],
        )
        nodes = onnx.load(options.optimized_model_filepath).graph.node
    is_integer = {
        node.name: node.op_type == 'QLinearConv'
        for node in nodes
        if node.op_type in ('Conv', 'FusedConv', 'QLinearConv')
    }
    return _split(names, is_integer)


def openvino_convolutions(model: openvino.Model) -> dict[str, str]:
    """Convolutions of an OpenVINO file.

    Args:
        model (openvino.Model): The model.

    Returns:
        dict[str, str]: By name, which is that of the module, the name of the operation.
    """
    names = [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_type_name() in _CONVOLUTIONS
    ]
    return {name.removesuffix('/WithoutBiases'): name for name in names}


def openvino_tail(model: openvino.Model) -> list[str]:
    """What is behind the last convolutions and their biases: softmax, decoding, NMS.

    Args:
        model (openvino.Model): The model.

    Returns:
        list[str]: Names of the operations.
    """
    before: set[str] = set()
    tail = []
    for op in reversed(model.get_ordered_ops()):
        name, kind = op.get_friendly_name(), op.get_type_name()
        sources = [value.get_node() for value in op.input_values()]
        if kind in _CONVOLUTIONS or name in before:
            before.update(source.get_friendly_name() for source in sources)
        elif kind not in ('Constant', 'Parameter', 'Result'):
            is_bias = kind == 'Add' and any(s.get_type_name() in _CONVOLUTIONS for s in sources)
            if not is_bias:
                tail.append(name)
    return tail


def openvino_precisions(path: Path, names: dict[str, str]) -> Precisions:
    """Look into the graph that OpenVINO makes of a file for this processor.

    Args:
        path (Path): ``.xml`` file.
        names (dict[str, str]): Its convolutions, see :func:`openvino_convolutions`.

    Returns:
        Precisions: Of each.
    """
    from mmdet_mobilenext.runtime.openvino_core import shared_core

    # as the runtime compiles it
    compiled = shared_core().compile_model(str(path), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    is_integer = {}
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        if info['layerType'].astype(str) == 'Convolution':
            for part in info['originalLayersNames'].astype(str).split(','):
                is_integer[part] = info['runtimePrecision'].astype(str) in ('i8', 'u8')
    found = {name: is_integer[op] for name, op in names.items() if op in is_integer}
    return _split(list(names), found)


def _split(names: list[str], is_integer: dict[str, bool]) -> Precisions:
    # one that cannot be found is not claimed to be in integers
    integers = tuple(name for name in names if is_integer.get(name, False))
    return Precisions(integers, tuple(name for name in names if name not in set(integers)))
