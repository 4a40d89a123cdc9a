# SPDX-License-Identifier: Apache-2.0
"""From a network to ncnn's files, by pnnx."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.runtime.spec import ModelSpec

from .errors import ExportError
from .network import DeployableDetector
from .packages import PACKAGES, check_packages

__all__ = ['BLOBS', 'named_blobs', 'write_ncnn']

BLOBS = {'in0': 'images', 'out0': 'boxes', 'out1': 'scores'}
"""Names of inputs and outputs by pnnx, and those of exported files."""


class _FromPixels(nn.Module):
    """A network as a function of floats in PyTorch's layout, which is that of ``ncnn::Mat``."""

    def __init__(self, network: DeployableDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.from_pixels(pixels)


def write_ncnn(network: DeployableDetector, spec: ModelSpec, path: Path) -> None:
    """Convert a network. Its input is floats in 0..255, (3, H, W), of one image.

    Args:
        network (DeployableDetector): In eval mode.
        spec (ModelSpec): Of kind ``'raw'`` and batch 1; written to ``.json`` beside the file, with
            the SHA-256 of both files in its provenance.
        path (Path): ``.param`` to write; ``.bin`` (float32) and ``.json`` are written beside it.

    Raises:
        ExportError: If pnnx or ncnn is not installed, or the network has operators that ncnn has
            not.
    """
    check_packages('ncnn', PACKAGES['ncnn'])
    import pnnx

    if (spec.kind, spec.batch) != ('raw', 1):
        raise ExportError(
            'ncnn files have no NMS and take one image: the kind must be raw and the batch 1, but '
            f'received {spec.kind} and {spec.batch}'
        )
    width, height = spec.size
    with tempfile.TemporaryDirectory() as folder:
        with torch.no_grad(), warnings.catch_warnings():
            # shapes that become constants: the size of the input is one
            warnings.simplefilter('ignore', torch.jit.TracerWarning)
            example = torch.zeros(1, 3, height, width)
            traced = torch.jit.trace(_FromPixels(network), example, check_trace=False)
        traced.save(str(Path(folder) / 'network.pt'))
        # pnnx.convert is this command as well, but then runs the Python code that came of it
        done = subprocess.run(
            [pnnx.EXEC_PATH, 'network.pt', f'inputshape=[1,3,{height},{width}]', 'fp16=0'],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
        )
        param, weights = (Path(folder) / f'network.ncnn.{suffix}' for suffix in ('param', 'bin'))
        if done.returncode or not (param.is_file() and weights.is_file()):
            raise ExportError(
                f'pnnx ended with code {done.returncode}, without files of ncnn; the end of what '
                f'it printed:\n{done.stdout[-2000:]}'
            )
        path.write_text(named_blobs(param.read_text(), spec.size), encoding='ascii')
        shutil.move(weights, path.with_suffix('.bin'))
    sums = {suffix[1:]: sha256_of(path.with_suffix(suffix)) for suffix in ('.param', '.bin')}
    spec = replace(spec, provenance={**spec.provenance, 'sha256': sums})
    path.with_suffix('.json').write_text(spec.to_json(), encoding='utf-8')


def named_blobs(text: str, size: tuple[int, int]) -> str:
    """Check a network by pnnx, give its inputs and outputs the names of exported files, and its
    input a size, which the runtime compares with that of the metadata.

    Args:
        text (str): Content of a ``.param``.
        size (tuple[int, int]): Width and height of the input in pixels.

    Returns:
        str: The same with the names of :data:`BLOBS`.

    Raises:
        ExportError: If a layer is not one of ncnn's, which pnnx leaves as it is, or an input or
            output is missing.

    Example:
        >>> print(named_blobs('''7767517
        ... 2 3
        ... Input  in0      0 1 in0
        ... Slice  slice_0  1 2 in0 out0 out1 -23300=2,4,-233 1=0
        ... ''', (320, 240)))
        7767517
        2 3
        Input in0 0 1 images 0=320 1=240 2=3
        Slice slice_0 1 2 images boxes scores -23300=2,4,-233 1=0
        <BLANKLINE>
    """
    import ncnn

    lines = [line.split() for line in text.splitlines()]
    unknown = sorted({line[0] for line in lines[2:] if ncnn.layer_to_index(line[0]) < 0})
    if unknown:
        raise ExportError(
            f'ncnn has no operator {", ".join(unknown)}, which the network came to: export it to '
            'ONNX or OpenVINO'
        )
    seen = set()
    for line in lines[2:]:
        # type, name, number of inputs, number of outputs, these, parameters
        blobs = slice(4, 4 + int(line[2]) + int(line[3]))
        seen.update(line[blobs])
        line[blobs] = [BLOBS.get(name, name) for name in line[blobs]]
        if line[0] == 'Input':
            line += [f'0={size[0]}', f'1={size[1]}', '2=3']
    missing = sorted(set(BLOBS) - seen)
    if missing:
        raise ExportError(
            f'pnnx has left out {", ".join(missing)}: the network must have one input and two '
            'outputs'
        )
    return ''.join(' '.join(line) + '\n' for line in lines)
