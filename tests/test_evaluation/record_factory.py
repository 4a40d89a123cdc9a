# SPDX-License-Identifier: Apache-2.0
"""Random detections and objects, the same for the same seed, with everything that goes wrong."""

from __future__ import annotations

import numpy as np

from mmdet_mobilenext.evaluation.records import DetectionRecords

SIDE = 60
"""Images are SIDE x SIDE pixels."""


def _random_boxes(rng: np.random.Generator, count: int, grid: bool, crowded: bool) -> np.ndarray:
    start = rng.uniform(0, 4 if crowded else SIDE - 20, (count, 2))
    size = rng.uniform(2, 6 if crowded else 20, (count, 2))
    size[rng.random(count) < 0.1] = 0  # one pixel by the convention of VOC
    boxes = np.hstack([start, start + size])
    return boxes.round() if grid else boxes


def random_records(
    seed: int,
    num_images: int = 6,
    num_classes: int = 3,
    max_objects: int = 6,
    max_dets: int = 12,
    difficult: str = 'mixed',
    ties: bool = True,
    grid: bool = True,
    crowded: bool = False,
) -> DetectionRecords:
    """Detections near objects, of wrong classes, duplicates and random ones, as of a detector.

    Some images have no detections, some no objects. The last class has no objects in one of four
    seeds.

    Args:
        seed (int): The same seed gives the same arrays.
        num_images (int): Images. Defaults to 6.
        num_classes (int): Classes. Defaults to 3.
        max_objects (int): Most objects of an image. Defaults to 6.
        max_dets (int): Most detections of an image. Defaults to 12.
        difficult (str): ``mixed``, a fifth of all objects; ``by_group``, all or none of those of
            an image and class; ``none``. Defaults to ``mixed``.
        ties (bool): Whether detections share scores. Defaults to True.
        grid (bool): Whether boxes have whole pixels, so that equal IoUs, and IoUs of exactly 0.5,
            happen. Defaults to True.
        crowded (bool): Whether all boxes are small and in one corner, so that each detection
            overlaps many objects, often equally, and some objects are there twice.
            Defaults to False.
    """
    rng = np.random.default_rng(seed)
    with_objects = num_classes - 1 if num_classes > 1 and rng.random() < 0.25 else num_classes
    det, gt = [], []
    for _ in range(num_images):
        count = 0 if rng.random() < 0.15 else int(rng.integers(0, max_objects + 1))
        boxes = _random_boxes(rng, count, grid, crowded)
        if crowded and grid:  # the same box twice, perhaps once difficult
            boxes[1:] = np.where(rng.random((max(count - 1, 0), 1)) < 0.2, boxes[:-1], boxes[1:])
        labels = rng.integers(0, with_objects, count)
        if difficult == 'by_group':
            ignored = (rng.random(num_classes) < 0.3)[labels]
        else:
            ignored = rng.random(count) < (0.2 if difficult == 'mixed' else 0)
        gt.append((boxes, labels, ignored))

        count = 0 if rng.random() < 0.15 else int(rng.integers(0, max_dets + 1))
        found = _random_boxes(rng, count, grid, crowded)
        classes = rng.integers(0, num_classes, count)
        kind = rng.random(count)
        for i in range(count):
            if kind[i] < 0.7 and len(boxes):
                source = rng.integers(len(boxes))
                shift = rng.normal(0, rng.choice([0.0, 0.7, 2.5]), 4)
                found[i] = boxes[source] + (shift.round() if grid else shift)
                found[i, 2:] = np.maximum(found[i, 2:], found[i, :2])
                if kind[i] < 0.6:
                    classes[i] = labels[source]
            elif kind[i] < 0.8 and i:
                source = rng.integers(i)
                found[i], classes[i] = found[source], classes[source]
        det.append((found, np.zeros(count), classes))

    total = sum(len(boxes) for boxes, _, _ in det)
    if ties:
        scores = rng.integers(0, 8, total) / 8
    else:
        scores = (rng.permutation(total) + 1) / (total + 1)
    parts = np.split(scores, np.cumsum([len(boxes) for boxes, _, _ in det])[:-1])
    return DetectionRecords.from_lists(
        [f'class{k}' for k in range(num_classes)],
        [f'image{i:05d}' for i in range(num_images)],
        det=[(d[0], score, d[2]) for d, score in zip(det, parts, strict=True)],
        gt=gt,
        image_sizes=[(SIDE, SIDE)] * num_images,
    )
