# SPDX-License-Identifier: Apache-2.0
"""ncnn's files by ncnn."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np

from mmdet_mobilenext.checksum import sha256_of

from ..errors import ModelFileError
from ..spec import ModelSpec

__all__ = ['open_file']

MAGIC = '7767517'
"""First line of each ``.param``."""


class _Ncnn:
    def __init__(self, path: Path, threads: int) -> None:
        sidecar, weights = path.with_suffix('.json'), path.with_suffix('.bin')
        for part in (sidecar, weights):
            if not part.is_file():
                raise ModelFileError(
                    f'{path} needs {part.name} beside it: tools/export.py writes .param, .bin and '
                    '.json, which stay together'
                )
        try:
            text = sidecar.read_text(encoding='utf-8')
        except UnicodeDecodeError as error:
            raise ModelFileError(f'{sidecar} is damaged: {error}') from error
        self.spec = ModelSpec.from_json(text, str(sidecar))
        if self.spec.kind != 'raw':
            raise ModelFileError(f'{sidecar} has kind={self.spec.kind!r}: ncnn files are raw')
        _check_param(path, self.spec.size)
        _check_sums(self.spec, path, weights)
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        # on processors with either they would be taken without being asked for; boxes of 320
        # pixels have steps of a quarter of a pixel in float16
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_packed = options.use_bf16_storage = False
        if self._net.load_param(str(path)) or self._net.load_model(str(weights)):
            raise ModelFileError(f'ncnn cannot load {path} with {weights.name}: it is damaged')
        blobs = [*self._net.input_names(), *self._net.output_names()]
        if blobs[:1] != ['images'] or not {'boxes', 'scores'} <= set(blobs):
            raise ModelFileError(
                f"{path} has inputs and outputs {blobs}, but must have ['images', 'boxes', "
                "'scores']"
            )

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        found = [self._run(image) for image in images]
        boxes, scores = (np.stack(parts) for parts in zip(*found, strict=True))
        return boxes, scores

    def _run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (P, 4) and scores (P, C) of an image."""
        height, width = image.shape[:2]
        # BGR here is: as it comes
        pixels = ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_BGR, width, height)
        extractor = self._net.create_extractor()
        extractor.input('images', pixels)
        outputs = []
        for name, columns in (('boxes', 4), ('scores', len(self.spec.classes))):
            code, blob = extractor.extract(name)
            if code:
                raise ModelFileError(f'ncnn cannot compute {name}: code {code}')
            values = np.array(blob)  # a copy: the memory is the extractor's
            if values.size % columns or values.dtype != np.float32:
                raise ModelFileError(
                    f'ncnn gives {name} of shape {values.shape} and type {values.dtype}, which '
                    f'cannot be {columns} columns of float32'
                )
            outputs.append(values.reshape(-1, columns))
        boxes, scores = outputs
        if len(boxes) != len(scores):
            raise ModelFileError(
                f'ncnn gives {len(boxes)} boxes, but scores of {len(scores)}: the metadata has '
                f'{len(self.spec.classes)} classes, the network another number'
            )
        return boxes, scores


def _check_param(path: Path, size: tuple[int, int]) -> None:
    """Check what ncnn takes for granted; with another size it would read foreign memory."""
    problem, sized = '', ['images', f'0={size[0]}', f'1={size[1]}', '2=3']
    try:
        lines = path.read_text(encoding='ascii').splitlines()
        layers, _ = map(int, lines[1].split())
        if lines[0].strip() != MAGIC:
            problem = f'it does not begin with {MAGIC}'
        elif layers != len(lines) - 2:
            problem = f'it should have {layers} layers, but has {len(lines) - 2}'
        elif sized not in [line.split()[4:] for line in lines if line.startswith('Input')]:
            problem = f'its input is not of {size[0]}x{size[1]} pixels, as the metadata says'
    except (ValueError, IndexError) as error:
        problem = f'it is not a text file of ncnn ({error})'
    if problem:
        raise ModelFileError(f'{path} is damaged: {problem}')


def _check_sums(spec: ModelSpec, path: Path, weights: Path) -> None:
    """Check that the files are those that the metadata was written for.

    ncnn reads any weights that are long enough, those of OpenVINO as well.
    """
    sums = spec.provenance.get('sha256')
    if sums is None:  # taken out by somebody who has changed the files, with ncnnoptimize or so
        return
    for part in (path, weights):
        wanted = sums.get(part.suffix[1:]) if isinstance(sums, dict) else None
        if wanted != sha256_of(part):
            raise ModelFileError(
                f'{part} is damaged or of another export: its SHA-256 is not the one in '
                f'{path.with_suffix(".json").name}'
            )


def open_file(path: Path, threads: int) -> _Ncnn:
    """Load a file of ncnn.

    Args:
        path (Path): An existing ``.param``; ``.bin`` and ``.json`` are beside it.
        threads (int): CPU threads.

    Returns:
        Backend: Ready to run, one image after the other.

    Raises:
        ModelFileError: If it is damaged or was not exported by this project.
    """
    return _Ncnn(path, threads)
