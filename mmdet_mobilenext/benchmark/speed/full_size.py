# SPDX-License-Identifier: Apache-2.0
"""A VOC set at VOC's own size, made of one that was scaled down."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2

from mmdet_mobilenext.work_folder import work_folder

from ..errors import BenchmarkError

__all__ = ['upscale_box', 'upscale_voc']

STAMP = 'upscaled.json'
"""File in the made VOCdevkit folder that says of what it was made."""
VERSION = 1


def upscale_voc(
    source: str | os.PathLike,
    cache: str | os.PathLike,
    longer_side: int = 500,
    quality: int = 92,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Enlarge all images of a VOCdevkit folder, and their boxes along; once.

    Images are enlarged with bicubic interpolation. Those that are large enough are copied. The set
    is written beside its place and renamed when it is complete; the source is only read.

    Args:
        source (str | PathLike): VOCdevkit folder with ``VOC2007`` or other years.
        cache (str | PathLike): Folder of such sets; each gets a folder named by its content.
        longer_side (int): Longer side of the results in pixels. Defaults to 500.
        quality (int): JPEG quality. Defaults to 92.
        num_workers (int, optional): Processes; 0 for none. Defaults to one for each CPU, at most 8.
        progress (Callable): Called with images done and in all, now and then.

    Returns:
        Path: VOCdevkit folder with the enlarged set.

    Raises:
        BenchmarkError: If the source has no images in VOC's layout, the cache is inside it, or an
            image cannot be read.
    """
    source, cache = Path(source).resolve(), Path(cache).resolve()
    if source == cache or source in cache.parents:
        raise BenchmarkError(f'the enlarged set must not be put into the given one, {source}')
    images = sorted(source.glob('VOC*/JPEGImages/*.jpg'))
    if not images:
        raise BenchmarkError(f'{source} has no VOC*/JPEGImages/*.jpg: give a VOCdevkit folder')
    settings = dict(
        version=VERSION,
        source=str(source),
        longer_side=longer_side,
        quality=quality,
        content=_digest(source),
    )
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    dest = cache / f'{source.name}-{longer_side}px-{digest[:10]}'
    if (dest / STAMP).is_file():
        return dest
    with work_folder(dest) as work:
        for lists in source.glob('VOC*/ImageSets'):
            shutil.copytree(lists, work / lists.relative_to(source))
        for folder in {path.parent.parent for path in images}:
            for name in ('JPEGImages', 'Annotations'):
                (work / folder.name / name).mkdir(parents=True, exist_ok=True)
        enlarge = partial(_enlarge, dest=work, longer_side=longer_side, quality=quality)
        if num_workers is None:
            num_workers = min(os.cpu_count() or 1, 8)
        if num_workers > 1:
            with ProcessPoolExecutor(num_workers) as pool:
                _follow(pool.map(enlarge, images, chunksize=32), len(images), progress)
        else:
            _follow(map(enlarge, images), len(images), progress)
        (work / STAMP).write_text(json.dumps(settings, indent=2) + '\n')
        if not (dest / STAMP).is_file():  # another process may have been faster
            os.rename(work, dest)
    return dest


def _follow(results, total: int, progress: Callable[[int, int], None]) -> None:
    for done, _ in enumerate(results, 1):
        if done % 50 == 0 or done == total:
            progress(done, total)


def _digest(source: Path) -> str:
    """What changes when a file of the set is added, removed or replaced."""
    digest = hashlib.sha256()
    for pattern in ('VOC*/JPEGImages/*', 'VOC*/Annotations/*', 'VOC*/ImageSets/*/*'):
        for path in sorted(source.glob(pattern)):
            state = path.stat()
            line = f'{path.relative_to(source)} {state.st_size} {state.st_mtime_ns}\n'
            digest.update(line.encode())
    return digest.hexdigest()


def upscale_box(
    box: tuple[float, float, float, float], old: tuple[int, int], new: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Scale a box in VOC's coordinates with its image.

    VOC counts pixels from 1 and includes the last one: a box from 1 to the width is the whole
    image, before and after.

    Args:
        box (tuple): xmin, ymin, xmax, ymax, 1-based, ends included.
        old (tuple[int, int]): Width and height of the image before, in pixels.
        new (tuple[int, int]): Width and height after.

    Returns:
        tuple[int, int, int, int]: The same box in whole pixels of the new image.

    Example:
        >>> upscale_box((1, 11, 320, 20), (320, 240), (640, 480))
        (1, 21, 640, 40)
    """
    found = []
    for start, end, before, after in zip(box[:2], box[2:], old, new, strict=True):
        first = min(max(round((start - 1) * after / before) + 1, 1), after)
        last = min(max(round(end * after / before), first), after)
        found.append((first, last))
    (left, right), (top, bottom) = found
    return left, top, right, bottom


def _enlarge(path: Path, dest: Path, longer_side: int, quality: int) -> None:
    """Write the enlarged image and its annotation."""
    cv2.setNumThreads(0)
    year, annotation = path.parents[1], path.parents[1] / 'Annotations' / f'{path.stem}.xml'
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BenchmarkError(f'{path} cannot be read as an image')
    height, width = image.shape[:2]
    scale = longer_side / max(width, height)
    out = dest / year.name / 'JPEGImages' / path.name
    new = (width, height)
    if scale <= 1:
        shutil.copyfile(path, out)
    else:
        new = (round(width * scale), round(height * scale))
        large = cv2.resize(image, new, interpolation=cv2.INTER_CUBIC)
        content = cv2.imencode('.jpg', large, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out.write_bytes(content.tobytes())
    if not annotation.is_file():
        return
    tree = ET.parse(annotation)
    for node in tree.iter('size'):
        for key, value in zip(('width', 'height'), new, strict=True):
            node.find(key).text = str(value)
    for node in tree.iter('bndbox'):
        keys = ('xmin', 'ymin', 'xmax', 'ymax')
        box = tuple(float(node.find(key).text) for key in keys)
        for key, value in zip(keys, upscale_box(box, (width, height), new), strict=True):
            node.find(key).text = str(value)
    tree.write(dest / year.name / 'Annotations' / annotation.name)
