# SPDX-License-Identifier: Apache-2.0
"""Detectors of known skill: hits, misses, duplicates, wrong classes and false alarms by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdet_mobilenext.evaluation.records import DetectionRecords

CLASSES = ('often', 'sometimes', 'seldom')


class Scene(NamedTuple):
    """Objects of a test set, and how probably a detector of skill 1 finds each."""

    boxes: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    ignored: np.ndarray
    chance: np.ndarray
    num_images: int


def make_scene(rng: np.random.Generator, num_images: int = 300) -> Scene:
    """1 to 4 objects an image; some images are harder than others, 5 % of objects difficult."""
    count = rng.integers(1, 5, num_images)
    images = np.repeat(np.arange(num_images, dtype=np.int32), count)
    left = 100.0 * (np.arange(len(images)) - np.repeat(np.cumsum(count) - count, count))
    top = np.zeros(len(images))
    hard = rng.beta(2, 2, num_images)[images]
    chance = 0.25 + 0.65 * rng.beta(3, 2, len(images)) - 0.3 * (hard - 0.5)
    return Scene(
        boxes=np.stack([left, top, left + 59, top + 59], axis=1).astype(np.float32),
        labels=rng.choice(3, len(images), p=[0.5, 0.3, 0.2]).astype(np.int32),
        images=images,
        ignored=rng.random(len(images)) < 0.05,
        chance=chance.clip(0.02, 0.98),
        num_images=num_images,
    )


def detect(rng: np.random.Generator, scene: Scene, skill: float = 1.0) -> DetectionRecords:
    """One detector at work. Detectors of the same skill have the same expected mAP."""
    hit = rng.random(len(scene.images)) < scene.chance * skill
    twice = hit & (rng.random(len(hit)) < 0.1)
    score = rng.beta(2 + 4 * scene.chance, 3)
    labels = np.where(rng.random(len(hit)) < 0.1, rng.integers(0, 3, len(hit)), scene.labels)
    alarms = rng.poisson(2, scene.num_images)
    corner = rng.uniform(0, 400, (alarms.sum(), 2))
    boxes = [
        scene.boxes[hit] + rng.normal(0, 5, (hit.sum(), 4)),
        scene.boxes[twice] + rng.normal(0, 9, (twice.sum(), 4)),
        np.concatenate([corner, corner + 60], axis=1),
    ]
    images = [
        scene.images[hit],
        scene.images[twice],
        np.repeat(np.arange(scene.num_images, dtype=np.int32), alarms),
    ]
    scores = [score[hit], 0.8 * score[twice], rng.beta(1.5, 4, alarms.sum())]
    classes = [labels[hit], scene.labels[twice], rng.integers(0, 3, alarms.sum())]
    order = np.argsort(np.concatenate(images), kind='stable')
    return DetectionRecords(
        classes=CLASSES,
        image_ids=np.arange(scene.num_images).astype(str),
        image_paths=np.full(scene.num_images, ''),
        image_sizes=np.zeros((scene.num_images, 2), np.int32),
        det_boxes=np.concatenate(boxes)[order].astype(np.float32),
        det_scores=np.concatenate(scores)[order].astype(np.float32),
        det_labels=np.concatenate(classes)[order].astype(np.int32),
        det_images=np.concatenate(images)[order].astype(np.int32),
        gt_boxes=scene.boxes,
        gt_labels=scene.labels,
        gt_images=scene.images,
        gt_ignored=scene.ignored,
    )
