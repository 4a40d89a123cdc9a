# SPDX-License-Identifier: Apache-2.0
"""Scenes of the generated VOC set: background, distractors, labelled objects, camera noise.

A scene is a pure function of its random generator.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator

from .generated_render import background, clip_patch, paste, ramp, render, three_channels
from .generated_shapes import GENERATED_CLASSES, OBJECT_SHAPES, Part, box, line, oval, poly

DIFFICULT_VISIBLE = 0.45
"""An object of which less than this fraction can be seen is marked difficult."""
DIFFICULT_SIZE = 14
"""An object whose box is shorter than this on its longer side (px) is marked difficult."""
MIN_VISIBLE = 0.15
"""No object is kept with less than this fraction of its pixels to be seen."""

_TRUNCATED_SHARE = 0.18  # of placements
_CROWDED_SHARE = 0.3  # of scenes in which objects stand close and may hide each other
_MAX_TILT = {'aeroplane': np.pi, 'bottle': 0.3, 'person': 0.2}
_OBJECTS_WEIGHTS = (0.22, 0.3, 0.24, 0.15, 0.09)  # of one to five objects
_SCALES = ((0.05, 0.2), (0.2, 0.5), (0.5, 0.8))  # of the image's shorter side
_SCALE_WEIGHTS = (0.1, 0.55, 0.35)
_MAX_DISTRACTORS = 4


@dataclass
class SceneObject:
    """One labelled object.

    Attributes:
        name: Class name.
        box: First column, first row, last column, last row of the object's mask inside the image,
            0-based, inclusive, before other objects hide any of it.
        area: Number of the object's pixels, those outside the image included.
        truncated: Whether the image's border cuts the object.
        visible: Pixels that can be seen in the finished image / ``area``.
    """

    name: str
    box: tuple[int, int, int, int]
    area: int
    truncated: bool
    visible: float = 1.0

    @property
    def difficult(self) -> bool:
        """Heavily hidden or tiny."""
        x1, y1, x2, y2 = self.box
        tiny = max(x2 - x1, y2 - y1) + 1 < DIFFICULT_SIZE
        return tiny or self.visible < DIFFICULT_VISIBLE


@dataclass
class Scene:
    """An image and what is in it.

    Attributes:
        image: (H, W, 3) BGR, 0 to 255; float32 while objects are added, then uint8.
        owner: (H, W) int8 map: number of the object seen at each pixel, -1 for none.
        objects: Labelled objects, from the farthest to the nearest.
    """

    image: np.ndarray
    owner: np.ndarray
    objects: list[SceneObject] = field(default_factory=list)


def _triangle(rng: Generator) -> list[Part]:
    return [poly(rng.uniform(-1, 1, (3, 2)), 0)]


def _polygon(rng: Generator) -> list[Part]:
    turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 9)))
    reach = rng.uniform(0.4, 1.0, turn.size)
    return [poly(np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1), 0)]


def _disc(rng: Generator) -> list[Part]:
    flat = rng.uniform(0.4, 1.0)
    disc = [poly(oval(0, 0, 1, flat), 0)]
    if rng.random() < 0.4:
        disc.append(poly(oval(0, 0, 0.5, 0.5 * flat), 1))
    return disc


def _ring(rng: Generator) -> list[Part]:
    return [Part(oval(0, 0, 1, rng.uniform(0.6, 1.0)), 0, rng.uniform(0.08, 0.3), True)]


def _bar(rng: Generator) -> list[Part]:
    half = rng.uniform(0.04, 0.2)
    return [poly(box(-1, -half, 1, half, rng.choice([0, half])), 0)]


def _panel(rng: Generator) -> list[Part]:
    h = rng.uniform(0.3, 1.0)
    panel = [poly(box(-1, -h, 1, h, rng.choice([0, 0.2 * h])), 0)]
    if rng.random() < 0.3:
        panel.append(poly(box(-0.8, -h + 0.2, 0.8, h - 0.2), 1))
    return panel


def _stick(rng: Generator) -> list[Part]:
    return [line(rng.uniform(-1, 1, (rng.integers(2, 5), 2)), 0, rng.uniform(0.04, 0.16))]


_DISTRACTORS = (_triangle, _polygon, _disc, _ring, _bar, _panel, _stick)  # drawn, not labelled


def _position(
    rng: Generator, shape: tuple[int, ...], patch: np.ndarray, near: tuple[int, ...] | None
) -> tuple[int, int]:
    """Random place of a patch's corner: in the image, about the box ``near``, or over a border."""
    size = np.array(patch.shape[1::-1])
    room = np.maximum(np.array(shape[::-1]) - size, 0)
    at = rng.integers(0, room + 1)
    if near is not None:
        low, high = np.array(near[:2]), np.array(near[2:])
        middle = (low + high) / 2 + rng.uniform(-0.4, 0.4, 2) * (high - low + size)
        at = np.clip(middle - size / 2, 0, room).astype(int)
    elif rng.random() < _TRUNCATED_SHARE:
        axis, cut = rng.integers(0, 2), rng.uniform(0.08, 0.5)
        out = max(1, int(cut * size[axis]))
        at[axis] = -out if rng.random() < 0.5 else room[axis] + out
    return int(at[0]), int(at[1])


def add_object(
    scene: Scene, name: str, patch: np.ndarray, x: int, y: int, min_visible: float = MIN_VISIBLE
) -> bool:
    """Place an object in front of a scene, unless too little would be seen of any object.

    Args:
        scene: Changed in place if the object fits; its image must be float32.
        name: Class name.
        patch: (h, w, 4) uint8 from :func:`render`.
        x: Column of the patch's left side; may be outside the image, like ``y``.
        y: Row of the patch's top.
        min_visible: Fraction of each earlier object that must stay in sight. At least
            ``DIFFICULT_VISIBLE`` of the new object must be inside the image.

    Returns:
        Whether the object was placed.
    """
    rows, columns, part = clip_patch(scene.image.shape, patch, x, y)
    mask, area = part[..., 3] > 0, int(np.count_nonzero(patch[..., 3]))
    inside = int(np.count_nonzero(mask))
    if inside < DIFFICULT_VISIBLE * area:
        return False
    hidden = np.bincount(scene.owner[rows, columns][mask] + 1, minlength=len(scene.objects) + 1)
    hidden = hidden[1:].tolist()  # of each earlier object
    left = [o.visible - n / o.area for o, n in zip(scene.objects, hidden, strict=True)]
    if any(v < min_visible for v in left):
        return False
    left_most, top_most, w, h = cv2.boundingRect(part[..., 3])
    if min(w, h) < 4:
        return False
    x1, y1 = columns.start + left_most, rows.start + top_most
    bounds = (x1, y1, x1 + w - 1, y1 + h - 1)
    for known, visible in zip(scene.objects, left, strict=True):
        known.visible = visible
    scene.owner[rows, columns][mask] = len(scene.objects)
    paste(scene.image, patch, x, y)
    scene.objects.append(SceneObject(name, bounds, area, inside < area, inside / area))
    return True


def make_scene(rng: Generator, image_size: tuple[int, int], empty: bool = False) -> Scene:
    """Make one picture with its labels.

    Args:
        rng: Source of randomness; the scene depends on nothing else.
        image_size: Least and greatest longer side in px.
        empty: Whether to leave out all labelled objects.

    Returns:
        The scene, its image uint8.

    Example:
        >>> import numpy as np
        >>> scene = make_scene(np.random.default_rng(0), (200, 260))
        >>> scene.image.dtype, len(scene.objects) > 0
        (dtype('uint8'), True)
    """
    longer = int(rng.integers(image_size[0], image_size[1] + 1))
    shorter = round(longer * rng.uniform(0.64, 0.92))
    shape = (shorter, longer) if rng.random() < 0.7 else (longer, shorter)
    scene = Scene(background(rng, shape), np.full(shape, -1, np.int8))
    behind = np.array(cv2.mean(scene.image)[:3])
    for _ in range(rng.integers(0, _MAX_DISTRACTORS + 1)):
        parts = _DISTRACTORS[rng.integers(len(_DISTRACTORS))](rng)
        size = shorter * np.exp(rng.uniform(np.log(0.05), np.log(0.35)))
        patch = render(parts, rng, size, rng.uniform(-np.pi, np.pi), behind)
        x, y = (
            int(rng.integers(-s // 4, n - s // 2))
            for s, n in zip(patch.shape[1::-1], shape[::-1], strict=True)
        )
        paste(scene.image, patch, x, y)

    wanted = 0 if empty else 1 + rng.choice(len(_OBJECTS_WEIGHTS), p=_OBJECTS_WEIGHTS)
    crowded = rng.random() < _CROWDED_SHARE
    for _ in range(wanted):
        name = GENERATED_CLASSES[rng.integers(len(GENERATED_CLASSES))]
        low, high = _SCALES[rng.choice(len(_SCALES), p=_SCALE_WEIGHTS)]
        size = shorter * np.exp(rng.uniform(np.log(low), np.log(high)))
        tilt = rng.uniform(-1, 1) * _MAX_TILT.get(name, 0.15)
        patch = render(OBJECT_SHAPES[name](rng), rng, size, tilt, behind)
        for _ in range(6):
            near = None
            if crowded and scene.objects and rng.random() < 0.6:
                near = scene.objects[rng.integers(len(scene.objects))].box
            x, y = _position(rng, shape, patch, near)
            if add_object(scene, name, patch, x, y, MIN_VISIBLE if crowded else 0.7):
                break

    image = scene.image * three_channels(1 + np.float32(rng.uniform(0, 0.25)) * ramp(rng, shape))
    image += three_channels(np.float32(rng.uniform(1, 7)) * rng.standard_normal(shape, np.float32))
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
    scene.image = np.clip(image, 0, 255).astype(np.uint8)
    return scene
