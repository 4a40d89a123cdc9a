# SPDX-License-Identifier: Apache-2.0
"""From a network to an ONNX file, by PyTorch's own exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from mmdet_mobilenext.log_level import log_level
from mmdet_mobilenext.runtime.spec import KEY, ModelSpec

__all__ = ['OPSET', 'add_metadata', 'quiet_exporter', 'write_onnx']

OPSET = 18
"""Of ONNX Runtime 1.14 and OpenVINO 2023 and later."""


def write_onnx(network: nn.Module, images: Tensor, spec: ModelSpec, path: Path) -> None:
    """Export a network.

    Args:
        network (nn.Module): In eval mode; returns boxes and scores, or boxes, scores and labels.
        images (Tensor): Example, (N, H, W, 3) uint8. N is fixed unless ``spec.batch`` is None.
        spec (ModelSpec): Goes into the metadata.
        path (Path): File to write.
    """
    import onnx

    from .selection import TRANSLATION

    dynamic = None
    if spec.batch is None:
        # an example of one image would make it a constant
        images = images[:1].repeat(2, 1, 1, 1)
        dynamic = ({0: torch.export.Dim('batch', min=1)},)
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(
            network.eval(),
            (images,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=['images'],
            output_names=spec.outputs,
            dynamic_shapes=dynamic,
            custom_translation_table=TRANSLATION,
        )
        program.save(path)
    add_metadata(path, spec)
    onnx.checker.check_model(str(path), full_check=True)


def add_metadata(path: Path, spec: ModelSpec) -> None:
    """Put what a file is into its metadata, in place.

    Args:
        path (Path): ONNX file.
        spec (ModelSpec): What it is.
    """
    import onnx

    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, KEY: spec.to_json()})
    model.producer_name = 'mmdet_mobilenext'
    _drop_paths(model.graph.node)
    _name_convolutions(model.graph.node)
    onnx.save(model, path)


def _drop_paths(nodes: Sequence) -> None:
    """Remove stack traces, which hold paths of the machine that exported."""
    for node in nodes:
        del node.metadata_props[:]


def _name_convolutions(nodes: Sequence) -> None:
    """Name convolutions as their modules, which is what people know them by."""
    taken = {node.name for node in nodes}
    for node in nodes:
        if node.op_type == 'Conv' and node.input[1].endswith('.weight'):
            name = node.input[1].removesuffix('.weight')
            while name.startswith('network.'):
                name = name.removeprefix('network.')
            if name not in taken:  # a head that several levels share
                node.name = name
                taken.add(name)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without what torch.onnx says of torchvision's operators and of its own ways.

    Example:
        >>> with quiet_exporter():
        ...     logging.getLogger('torch.onnx').isEnabledFor(logging.WARNING)
        False
    """
    logger = logging.getLogger('torch.onnx')
    with log_level(logger, logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
