# SPDX-License-Identifier: Apache-2.0
"""A small classification set: the objects of a VOC-layout folder, cut out by their boxes."""

from __future__ import annotations

import json
import os
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmdet.datasets import XMLDataset
from mmengine.config import Config

from mmdet_mobilenext.benchmark.fingerprint import data_fingerprint
from mmdet_mobilenext.datasets.checks import (
    VOC_CLASSES,
    DataCheckError,
    VOCSource,
    check_sources,
)
from mmdet_mobilenext.work_folder import work_folder

__all__ = ['CROPS_VERSION', 'make_crops', 'square_around']

CROPS_VERSION = 1
"""Raised whenever the same arguments give other crops."""
STAMP = 'crops.json'
"""File in the folder that tells what was cut out of what."""

GREY = (104, 117, 123)
"""Behind the border of an image, BGR: the mean colour of the detectors' preprocessing."""

HALVES = ('weights', 'architecture')
"""Lists of the two halves of the training images in a search."""


def square_around(box: Sequence[float], context: float = 1.0) -> np.ndarray:
    """The square about a box that holds all of it.

    Args:
        box (Sequence[float]): x1, y1, x2, y2 in pixels.
        context (float): Side of the square as a multiple of the box's longer side.
            Defaults to 1.

    Returns:
        np.ndarray: (4,) int32, with inclusive ends, as mmcv's ``imcrop`` takes it; it may reach
        beyond the image.

    Example:
        >>> square_around((10, 10, 30, 20)).tolist()
        [10, 5, 29, 24]
    """
    x1, y1, x2, y2 = box
    side = max(1, round(context * max(x2 - x1, y2 - y1)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    return np.array([left, top, left + side - 1, top + side - 1], np.int32)


def make_crops(
    data_root: str | os.PathLike,
    dest: str | os.PathLike,
    *,
    train_list: str = 'VOC2007/ImageSets/Main/train.txt',
    test_list: str = 'VOC2007/ImageSets/Main/val.txt',
    classes: Sequence[str] = VOC_CLASSES,
    size: int = 32,
    context: float = 1.2,
    min_size: int = 8,
    seed: int = 0,
) -> Path:
    """Cut objects out of a folder in the VOC layout, or do nothing if that is done already.

    ``dest/train`` and ``dest/test`` hold the crops as PNG; ``dest/meta`` the lists that
    mmpretrain's ``CustomDataset`` reads: ``train.txt``, ``test.txt``, and ``weights.txt`` and
    ``architecture.txt``, the halves of ``train.txt``. Crops of one image are in one half. Written
    beside ``dest`` and renamed when complete.

    Args:
        data_root (str | PathLike): VOCdevkit folder.
        dest (str | PathLike): Folder to make.
        train_list (str): List of images for search and training, below ``data_root``.
        test_list (str): List of images for the final test.
        classes (Sequence[str]): All classes of the objects. Defaults to those of VOC.
        size (int): Side of a crop in pixels. Defaults to 32.
        context (float): See :func:`square_around`. Defaults to 1.2.
        min_size (int): Objects whose longer side has fewer pixels are left out. Defaults to 8.
        seed (int): Of the halves. Defaults to 0.

    Returns:
        Path: ``dest``, with ``crops.json``: arguments, fingerprints of the data, counts of each
            list and class, and of what was left out and why (difficult, small).

    Raises:
        FileExistsError: If ``dest`` is there, and not of these arguments and data.
        DataCheckError: If something of the data is missing or wrong, the lists share images, or one
            has no object that counts.

    Example:
        >>> import tempfile
        >>> from mmdet_mobilenext.datasets.generated_voc import generate_voc
        >>> folder = Path(tempfile.mkdtemp())
        >>> root = generate_voc(
        ...     folder / 'voc', dict(train=4, test=1), num_workers=0, progress=False)
        >>> crops = make_crops(
        ...     root, folder / 'crops', test_list='VOC2007/ImageSets/Main/test.txt')
        >>> sorted(path.name for path in crops.iterdir())
        ['crops.json', 'meta', 'test', 'train']
    """
    dest = Path(dest)
    lists = dict(train=train_list, test=test_list)
    datasets = {
        split: _read(str(data_root), ann_file, classes) for split, ann_file in lists.items()
    }
    _refuse_shared(datasets['train'], datasets['test'])
    wanted = dict(
        version=CROPS_VERSION,
        data={split: _fingerprint(dataset) for split, dataset in datasets.items()},
        train_list=train_list,
        test_list=test_list,
        classes=list(classes),
        size=size,
        context=context,
        min_size=min_size,
        seed=seed,
    )
    if dest.exists():
        _check_done(dest, wanted)
        return dest
    counts = {}
    with work_folder(dest.resolve()) as work:
        for split, dataset in datasets.items():
            lines, counts[split] = _write_split(dataset, work, split, size, context, min_size)
            if not lines:
                raise DataCheckError(
                    f'{Path(data_root) / lists[split]} has no object of {list(classes)} that is '
                    f'not difficult and has {min_size} pixels: {counts[split]["left_out"]}'
                )
            written = {split: lines}
            if split == 'train':
                written.update(_halves(lines, seed))
            for name, members in written.items():
                path = work / 'meta' / f'{name}.txt'
                path.parent.mkdir(exist_ok=True)
                path.write_text(''.join(f'{line}\n' for _, line in members), encoding='utf-8')
        content = dict(wanted, counts=counts)
        (work / STAMP).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
        os.rename(work, dest)
    return dest


def _check_done(dest: Path, wanted: Mapping) -> None:
    try:
        found = json.loads((dest / STAMP).read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        found = {}
    differ = [f'{key} is {found.get(key)!r}' for key in wanted if found.get(key) != wanted[key]]
    if differ:
        raise FileExistsError(
            f'{dest} is there and does not hold the crops that are asked for: {"; ".join(differ)}. '
            'Choose another folder, or move this one away'
        )


def _read(data_root: str, ann_file: str, classes: Sequence[str]) -> XMLDataset:
    sub_data_root = str(Path(ann_file).parents[2])
    source = VOCSource(
        data_root=data_root,
        ann_file=osp.join(data_root, ann_file),
        sub_data_root=osp.join(data_root, sub_data_root),
        classes=tuple(classes),
    )
    check_sources([source], decode='sample').raise_if_bad()
    return XMLDataset(
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(sub_data_root=sub_data_root),
        metainfo=dict(classes=tuple(classes)),
        test_mode=True,
    )


def _fingerprint(dataset: XMLDataset) -> dict:
    cfg = dict(
        type='mmdet.XMLDataset',
        data_root=dataset.data_root,
        ann_file=osp.relpath(dataset.ann_file, dataset.data_root),
        data_prefix=dict(sub_data_root=osp.relpath(dataset.sub_data_root, dataset.data_root)),
        metainfo=dict(classes=dataset.metainfo['classes']),
        test_mode=True,
    )
    return data_fingerprint(Config(dict(test_dataloader=dict(dataset=cfg))), 'test')


def _refuse_shared(train: XMLDataset, test: XMLDataset) -> None:
    images = [
        {osp.realpath(dataset.get_data_info(index)['img_path']) for index in range(len(dataset))}
        for dataset in (train, test)
    ]
    if shared := images[0] & images[1]:
        raise DataCheckError(
            f'{train.ann_file} and {test.ann_file} share {len(shared)} images, such as '
            f'{osp.basename(min(shared))}: what is found must be tested on images of its own'
        )


def _write_split(
    dataset: XMLDataset, work: Path, split: str, size: int, context: float, min_size: int
) -> tuple[list[tuple[str, str]], dict]:
    """Write the crops; image and list line of each, and counts."""
    names = dataset.metainfo['classes']
    lines, per_class = [], Counter()
    left_out = dict(difficult=0, small=0)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        image = None
        for number, instance in enumerate(info['instances']):
            x1, y1, x2, y2 = instance['bbox']
            if instance['ignore_flag']:
                left_out['difficult'] += 1
                continue
            if max(x2 - x1, y2 - y1) < min_size:
                left_out['small'] += 1
                continue
            if image is None:
                image = mmcv.imread(info['img_path'])
            crop = mmcv.imcrop(image, square_around(instance['bbox'], context), pad_fill=list(GREY))
            shrinks = crop.shape[0] > size
            crop = mmcv.imresize(
                crop, (size, size), interpolation='area' if shrinks else 'bilinear'
            )
            name = f'{info["img_id"]}_{number}.png'
            path = work / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode('.png', crop)[1].tobytes())
            lines.append((info['img_id'], f'{name} {instance["bbox_label"]}'))
            per_class[names[instance['bbox_label']]] += 1
    counts = dict(
        images=len({image for image, _ in lines}),
        crops=len(lines),
        per_class={name: per_class[name] for name in names},
        left_out=left_out,
    )
    return lines, counts


def _halves(lines: list[tuple[str, str]], seed: int) -> dict[str, list[tuple[str, str]]]:
    """Split by images, so that no image is on both sides."""
    images = np.random.default_rng(seed).permutation(sorted({image for image, _ in lines}))
    first = set(images[: len(images) // 2].tolist())
    return {
        name: [line for line in lines if (line[0] in first) == (name == HALVES[0])]
        for name in HALVES
    }
