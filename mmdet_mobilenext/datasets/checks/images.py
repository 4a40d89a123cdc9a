# SPDX-License-Identifier: Apache-2.0
"""Decode images to find the damaged ones and those whose size the annotations do not tell."""

from __future__ import annotations

import io
import itertools
import os
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from .report import CheckReport
from .wording import show

__all__ = ['check_images', 'choose_images']


def choose_images(names: Sequence[str], decode: str, sample_size: int, seed: int) -> list[str]:
    """Choose the images to decode: none, all, or of many a sample, in the order of their names."""
    if decode == 'none':
        return []
    if decode == 'sample' and len(names) > sample_size:
        return sorted(random.Random(seed).sample(names, sample_size))
    return list(names)


def check_images(
    paths: Sequence[str],
    sizes: Sequence[tuple[int, int] | None],
    report: CheckReport,
    progress: bool,
    said_by: str = 'XML',
) -> None:
    """Decode images in threads (both decoders release the interpreter lock).

    ``sizes`` are those that ``said_by`` tells, (width, height) in pixels.
    """
    if not paths:
        return
    # Process-wide switch of Pillow that would hide what is looked for here.
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        results = pool.map(_check_image, paths, sizes, itertools.repeat(said_by))
        if progress:
            from rich.console import Console
            from rich.progress import track

            console = Console(file=sys.stderr)
            results = track(results, f'decode {report.title}', len(paths), console=console)
        for path, result in zip(paths, results, strict=True):
            report.images_decoded += 1
            if result:
                report.add(result[0], path, result[1])
    finally:
        pool.shutdown(cancel_futures=True)
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _check_image(path: str, size: tuple[int, int] | None, said_by: str) -> tuple[str, str] | None:
    """Decode one image; return (kind, detail) of the problem, None if it is good."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        return 'unreadable', str(error)
    truncated = _truncation(data)
    if truncated:
        return 'image_truncated', f'{truncated} ({len(data)} bytes)'
    try:
        # As mmcv loads it: colour, turned by EXIF.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        return 'image_undecodable', f'{" ".join(str(error).split())} ({len(data)} bytes)'
    if image is None:
        start = show(data[:12])
        return 'image_undecodable', f'not an image, {len(data)} bytes that start with {start}'
    height, width = image.shape[:2]
    if size is not None and size != (width, height):
        turned = ', turned: EXIF orientation?' if size == (height, width) else ''
        return 'image_size', f'image {width} x {height}, {said_by} {size[0]} x {size[1]}{turned}'
    return None


def _truncation(data: bytes) -> str:
    """Say how an image is damaged where OpenCV would fill up the rest, ``''`` if it is not."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            # JPEG at 1/8 of the size: all data is read, little of it transformed.
            image.draft('RGB', (1, 1))
            image.load()
    except UnidentifiedImageError:
        return ''
    except (OSError, SyntaxError, EOFError) as error:
        return f'{type(error).__name__}: {error}'
    except Exception:
        # Not for Pillow (its limits of size, say): OpenCV has the last word.
        return ''
    return ''
