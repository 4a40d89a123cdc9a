# SPDX-License-Identifier: Apache-2.0
"""Pictures of training images as the network sees them, and of the way there.

mmdet's ``browse_dataset.py`` shows the last picture of every image of the set. Here images and
augmentation are chosen by a seed, objects that the pipeline leaves out (difficult ones) are shown,
and so is what each transform does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets import BaseDetDataset
from mmdet.structures.bbox import get_box_tensor
from mmdet.visualization import DetLocalVisualizer, get_palette
from mmengine.config import Config
from mmengine.runner import set_random_seed
from PIL import Image

from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.datasets.fused_ssd import FusedSSDAugment
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.work_folder import work_folder

from .objects import build_dataset, choose_images

__all__ = ['MODES', 'Snapshot', 'browse', 'draw_snapshot', 'snapshots_of']

MODES = ('pair', 'final', 'steps')
"""Annotated and final picture, the final one alone, or one after each transform."""
SIDE = 320
"""Longer side of a picture, px: small images are enlarged, so that labels can be read."""
IGNORED_COLOUR = (255, 255, 255)


@dataclass(frozen=True)
class Snapshot:
    """An image on its way through a pipeline.

    Attributes:
        title (str): What was done last.
        image (np.ndarray): (H, W, 3) BGR, as the pipeline holds it; values may be beyond 0..255.
        boxes (np.ndarray): (n, 4), xyxy in pixels of the image.
        labels (np.ndarray): (n,) int64.
        ignored (np.ndarray): (n,) bool, difficult objects or crowds.
    """

    title: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray


def _source(dataset: Any, index: int) -> tuple[BaseDetDataset, int]:
    """The data set that an image comes from, behind those that join or repeat others."""
    while not isinstance(dataset, BaseDetDataset):
        if not hasattr(dataset, '_get_ori_dataset_idx'):
            raise OptionError(
                f'{type(dataset).__name__} makes images of several others, which cannot be shown '
                "step by step: take --mode final, or mmdet's browse_dataset.py"
            )
        found = dataset._get_ori_dataset_idx(index)
        if isinstance(found, tuple):
            dataset, index = dataset.datasets[found[0]], found[1]
        else:
            dataset, index = dataset.dataset, found
    return dataset, index


def _annotated(info: dict) -> Snapshot:
    """The image as annotated, with all objects."""
    instances = info.get('instances', [])
    return Snapshot(
        'annotated',
        mmcv.imread(info['img_path']),
        np.array([i['bbox'] for i in instances], np.float32).reshape(-1, 4),
        np.array([i['bbox_label'] for i in instances], np.int64),
        np.array([i.get('ignore_flag', 0) for i in instances], bool),
    )


def _of_results(title: str, results: dict) -> Snapshot:
    boxes = results.get('gt_bboxes')
    boxes = np.zeros((0, 4)) if boxes is None else get_box_tensor(boxes).numpy()
    labels = results.get('gt_bboxes_labels', np.zeros(len(boxes), np.int64))
    ignored = np.asarray(results.get('gt_ignore_flags', np.zeros(len(boxes))), bool)
    return Snapshot(title, results['img'].copy(), boxes.copy(), np.array(labels), ignored.copy())


def _of_item(title: str, item: dict) -> Snapshot:
    """What a data loader gets."""
    sample = item['data_samples']
    parts = [sample.gt_instances]
    if 'ignored_instances' in sample:
        parts.append(sample.ignored_instances)
    boxes = torch.cat([get_box_tensor(part.bboxes).reshape(-1, 4).float() for part in parts])
    return Snapshot(
        title,
        item['inputs'].permute(1, 2, 0).float().numpy(),
        boxes.numpy(),
        torch.cat([part.labels for part in parts]).numpy(),
        np.repeat([False, True][: len(parts)], [len(part.labels) for part in parts]),
    )


def _steps(dataset: BaseDetDataset, index: int) -> list[Snapshot]:
    """A picture after each transform that has an image; fused ones are run one by one."""
    transforms: list[BaseTransform] = []
    for transform in dataset.pipeline.transforms:
        inner = transform.transforms if isinstance(transform, FusedSSDAugment) else [transform]
        transforms.extend(inner)
    snapshots, results = [], dataset.get_data_info(index)
    for transform in transforms:
        results = transform(results)
        if results is None:
            raise OptionError(
                f'{type(transform).__name__} leaves this image out, and the data set would take '
                'another: take --mode final, or another --seed'
            )
        if 'img' in results and 'gt_bboxes' in results:
            snapshots.append(_of_results(type(transform).__name__, results))
    return snapshots


def snapshots_of(dataset: Any, index: int, mode: str = 'pair', seed: int = 0) -> list[Snapshot]:
    """Follow an image through the pipeline of its data set.

    Args:
        dataset (Dataset): Training data set of mmdet, possibly of several joined or repeated.
        index (int): Image.
        mode (str): One of :data:`MODES`. With ``'steps'`` the transforms of ``FusedSSDAugment``
            are run one by one with the same seed: boxes are the same, pixels differ by
            interpolation. Defaults to ``'pair'``.
        seed (int): Seed of the augmentation. Defaults to 0.

    Returns:
        list[Snapshot]: The last one is what the network gets.

    Raises:
        OptionError: If the mode is unknown or cannot be had of this data set.
    """
    if mode not in MODES:
        raise OptionError(f'the mode must be one of {MODES}, but received {mode!r}')
    snapshots = []
    if mode != 'final':
        source, inner = _source(dataset, index)
        set_random_seed(seed)
        if mode == 'steps':
            snapshots = _steps(source, inner)
        else:
            snapshots = [_annotated(source.get_data_info(inner))]
    set_random_seed(seed)
    return [*snapshots, _of_item('input of the network', dataset[index])]


def draw_snapshot(
    snapshot: Snapshot,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]] | None = None,
    side: int = SIDE,
) -> np.ndarray:
    """Draw the objects of a snapshot with mmdet's visualizer, ignored ones dashed and white.

    Args:
        snapshot (Snapshot): Image and objects.
        classes (Sequence[str]): Class names.
        palette (Sequence[tuple], optional): RGB colour of each class. Defaults to None, random
            ones, the same each time.
        side (int): Longer side of the picture in pixels. Defaults to 320.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.

    Example:
        >>> none = np.zeros(0, np.int64)
        >>> empty = Snapshot('', np.zeros((20, 40, 3)), np.zeros((0, 4)), none, none > 0)
        >>> draw_snapshot(empty, ['cat'], side=80).shape
        (40, 80, 3)
    """
    image = np.ascontiguousarray(np.clip(snapshot.image, 0, 255).astype(np.uint8)[..., ::-1])
    scale = side / max(image.shape[:2])
    image = mmcv.imrescale(image, scale)
    visualizer = DetLocalVisualizer()
    visualizer.set_image(image)
    palette = palette or get_palette('random', max(len(classes), 1))
    boxes = np.clip(snapshot.boxes * scale, 0, np.array(image.shape[1::-1] * 2) - 1)
    for box, label, ignored in zip(boxes, snapshot.labels, snapshot.ignored, strict=True):
        colour = IGNORED_COLOUR if ignored else palette[label]
        visualizer.draw_bboxes(box, edge_colors=colour, line_styles='--' if ignored else '-')
        visualizer.draw_texts(
            classes[label] + (' (ignored)' if ignored else ''),
            box[:2],
            font_sizes=9,
            colors='white',
            bboxes=dict(facecolor='black', alpha=0.7, pad=1, edgecolor='none'),
        )
    return visualizer.get_image()


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture in a square, with a line of text above it."""
    visualizer = DetLocalVisualizer()
    visualizer.set_image(np.full((24, SIDE, 3), 255, np.uint8))
    visualizer.draw_texts(title, np.array([4, 4]), font_sizes=10, colors='black')
    cell = np.full((24 + SIDE, SIDE, 3), 255, np.uint8)
    cell[:24] = visualizer.get_image()
    height, width = picture.shape[:2]
    cell[24 : 24 + height, :width] = picture[:SIDE, :SIDE]
    return cell


def browse(
    cfg: Config,
    folder: str | Path,
    number: int = 12,
    seed: int = 0,
    mode: str = 'pair',
    columns: int | None = None,
) -> list[Path]:
    """Write pictures of training images, and all of them on one sheet.

    Args:
        cfg (Config): Config of a run.
        folder (str | Path): Where to; made if it is not there. Pictures come into it once all are
            drawn.
        number (int): Images, chosen at random. Defaults to 12.
        seed (int): Seed of choice and augmentation. Defaults to 0.
        mode (str): One of :data:`MODES`. Defaults to ``'pair'``.
        columns (int, optional): Images side by side on the sheet. Defaults to None: four of one
            picture, two of two, one of more.

    Returns:
        list[Path]: ``sheet.png``, then ``{index}_{image}.png`` of each image.

    Raises:
        DataCheckError: If files are missing, annotations broken, or an image cannot be decoded.
        OptionError: For arguments out of range, or a mode that cannot be had of this data set.
        OSError: If a picture cannot be written.
    """
    if columns is not None and columns < 1:
        raise OptionError(f'the sheet has 1 column or more, but received {columns}')
    dataset = build_dataset(cfg, 'train')
    classes, palette = dataset.metainfo['classes'], dataset.metainfo.get('palette')
    names, rows = [], []
    for index in choose_images(dataset, number, seed):
        path = Path(dataset.get_data_info(index).get('img_path', 'image'))
        try:
            snapshots = snapshots_of(dataset, index, mode, seed + index)
        except OptionError:
            raise
        except (AssertionError, ValueError) as error:  # of LoadImageFromFile, of FusedSSDAugment
            raise DataCheckError(
                f'image {index} of the training set ({path}) cannot be shown: {error}'
            ) from error
        cells = [_titled(draw_snapshot(s, classes, palette), s.title) for s in snapshots]
        rows.append(np.concatenate(cells, 1))
        names.append(f'{index:05d}_{path.stem}.png')
    columns = columns or {1: 4, 2: 2}.get(len(snapshots), 1)
    return _write_all(
        Path(folder), {'sheet.png': _tile(rows, columns), **dict(zip(names, rows, strict=True))}
    )


def _write_all(folder: Path, pictures: Mapping[str, np.ndarray]) -> list[Path]:
    """Write pictures beside the folder, then rename it, or each of them if the folder is there."""
    dest = Path(os.path.abspath(folder))
    with work_folder(dest) as work:
        work.mkdir()
        for name, picture in pictures.items():
            Image.fromarray(picture).save(work / name, 'PNG')
        if dest.exists():
            for name in reversed(pictures):  # the sheet last
                os.replace(work / name, dest / name)
        else:
            work.rename(dest)
    return [folder / name for name in pictures]


def _tile(rows: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one height in lines of ``columns``."""
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    while len(padded) % columns and len(padded) > columns:
        padded.append(np.full_like(padded[0], 255))
    lines = [np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)]
    return np.concatenate(lines)
