# SPDX-License-Identifier: Apache-2.0
"""Rasteriser of the generated VOC set: colours, textured backgrounds, anti-aliased shapes.

All colours come from :func:`random_colours`, whatever they are for.
"""

import cv2
import numpy as np
from numpy.random import Generator

from .generated_shapes import NUM_COLOURS, Part

_SUPERSAMPLE = 2
_SUBPIXEL_BITS = 4
_ALPHA_FLOOR = 64  # fainter edge pixels are dropped, so that the mask's box is what an eye sees


def random_colours(rng: Generator, count: int) -> np.ndarray:
    """Draw colours from the distribution shared by all classes and backgrounds.

    Args:
        rng: Source of randomness.
        count: Number of colours.

    Returns:
        (count, 3) float32 BGR, 0 to 255.
    """
    hue, saturation, value = rng.uniform((0, 0.05, 0.12), (1, 0.9, 1), (count, 3)).T[..., None]
    k = (np.array([1, 3, 5]) + 6 * hue) % 6  # the usual HSV formula, for blue, green, red
    away = np.clip(np.minimum(k, 4 - k), 0, 1)
    return (255 * value * (1 - saturation * away)).astype(np.float32)


def _palette(rng: Generator, behind: np.ndarray) -> np.ndarray:
    """(NUM_COLOURS, 3) colours, each the best of three against those before and ``behind``."""
    options = random_colours(rng, 3 * NUM_COLOURS).reshape(NUM_COLOURS, 3, 3)
    nearest, chosen = np.full((NUM_COLOURS, 3), np.inf), [behind]
    for k in range(NUM_COLOURS):
        nearest = np.minimum(nearest, np.abs(options - chosen[-1]).sum(axis=2))
        chosen.append(options[k, nearest[k].argmax()])
    return np.array(chosen[1:])


def _noise(rng: Generator, shape: tuple[int, int], cells: int, octaves: int) -> np.ndarray:
    """(h, w) float32 value noise, 0 to 1, with ``cells`` along the longer side at its coarsest."""
    h, w = shape
    total = np.zeros(shape, np.float32)
    for k in range(octaves):
        n = cells * 2**k
        grid = (max(2, n * h // max(shape)), max(2, n * w // max(shape)))
        layer = cv2.resize(rng.random(grid, np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        total += layer * np.float32(0.55**k)
    return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)


def ramp(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 plane of random direction, about -1 to 1 over the longer side."""
    turn, reach = rng.uniform(0, 2 * np.pi), max(shape) / 2
    y = (np.arange(shape[0], dtype=np.float32) - shape[0] / 2) * np.float32(np.sin(turn) / reach)
    x = (np.arange(shape[1], dtype=np.float32) - shape[1] / 2) * np.float32(np.cos(turn) / reach)
    return y[:, None] + x


def three_channels(plane: np.ndarray) -> np.ndarray:
    """The plane as three equal channels: much faster than broadcasting over channels."""
    return cv2.merge((plane, plane, plane))


def background(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    """Paint a textured background without distractors.

    Args:
        rng: Source of randomness.
        shape: Height and width in px.

    Returns:
        (H, W, 3) float32 BGR, 0 to 255.
    """
    clouds = _noise(rng, shape, int(rng.integers(2, 7)), 4)
    kind = rng.integers(0, 6)
    if kind == 0:
        mix = clouds
    elif kind == 1:  # gradient
        mix = 0.5 + 0.5 * ramp(rng, shape) + 0.3 * (clouds - 0.5)
    elif kind == 2:  # wavy stripes
        phase = ramp(rng, shape) * np.float32(rng.uniform(8, 40)) + rng.uniform(0, 6) * clouds
        mix = 0.5 + np.clip(np.sin(phase) * rng.uniform(0.5, 4), -0.5, 0.5)
    elif kind == 3:  # checks
        count = np.float32(rng.uniform(6, 22))
        mix = 0.5 + np.clip(
            4 * np.sin(count * ramp(rng, shape)) * np.sin(count * ramp(rng, shape)), -0.5, 0.5
        )
    elif kind == 4:  # blotches
        mix = (clouds - rng.uniform(0.35, 0.65)) * rng.uniform(4, 20) + 0.5
    else:  # ground and sky
        mix = (ramp(rng, shape) + rng.uniform(-0.4, 0.4) + 0.25 * (clouds - 0.5)) * 12
    mix = np.clip(mix, 0, 1, dtype=np.float32)
    first, second, third = random_colours(rng, 3)
    contrast = rng.uniform(0.15, 0.6) * (second - first)
    canvas = cv2.transform(mix, np.stack([contrast, first], axis=1))  # first + mix * contrast
    tint = _noise(rng, shape, 3, 2) * np.float32(rng.uniform(0, 0.5))
    grain = 1 + np.float32(rng.uniform(0, 0.4)) * (_noise(rng, shape, 20, 3) - 0.5)
    canvas *= three_channels((1 - tint) * grain)
    canvas += cv2.transform(tint * grain, third[:, None])
    return np.clip(canvas, 0, 255, out=canvas)


def render(
    parts: list[Part], rng: Generator, size: float, tilt: float, behind: np.ndarray
) -> np.ndarray:
    """Draw a shape, anti-aliased, on a transparent patch that fits it tightly.

    The shape is squeezed, sheared, mirrored and turned at random before it is drawn.

    Args:
        parts: The shape, in painter's order.
        rng: Source of randomness (deformation, colours, outline, light).
        size: Longer side of the drawn shape in px (strokes and outlines add a little).
        tilt: Rotation in radians.
        behind: (3,) BGR colour that the shape should differ from.

    Returns:
        (h, w, 4) uint8 BGRA, colours multiplied by alpha. Each border row and column holds at
        least one pixel with alpha above 0.
    """
    squeeze, shear = np.exp(rng.uniform(-0.16, 0.16)), rng.uniform(-0.1, 0.1)
    mirror, c, s = rng.choice([-1, 1]), np.cos(tilt), np.sin(tilt)
    matrix = np.array([(c, -s), (s, c)]) @ np.array([(mirror * squeeze, shear), (0, 1 / squeeze)])
    points = [p.points @ matrix.T for p in parts]
    corners = np.concatenate(points)
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    # A thin shape is enlarged until its short side is a few pixels: no box without area.
    scale = max(size / extent.max(), 4.0 / max(extent.min(), 0.05))

    colours, ink = _palette(rng, behind), random_colours(rng, 1)[0]
    outline = rng.choice([0.0, 0.0, 0.015, 0.03]) * size
    widths = [max(p.width * scale, 1.2) if p.width else 0.0 for p in parts]
    pad = int(np.ceil(max(*widths, outline, 1.0))) + 1
    w, h = (int(np.ceil(e * scale)) + 2 * pad for e in extent)
    big = np.zeros((h * _SUPERSAMPLE, w * _SUPERSAMPLE, 4), np.uint8)
    how = {'lineType': cv2.LINE_AA, 'shift': _SUBPIXEL_BITS}
    for part, xy, width in zip(parts, points, widths, strict=True):
        xy = ((xy - low) * scale + pad) * (_SUPERSAMPLE * 2**_SUBPIXEL_BITS)
        xy = np.round(xy).astype(np.int32)
        colour = (*colours[part.colour].tolist(), 255)
        if width:
            cv2.polylines(big, [xy], part.closed, colour, round(width * _SUPERSAMPLE), **how)
            continue
        cv2.fillPoly(big, [xy], colour, **how)
        if outline:
            thick = max(1, round(outline * _SUPERSAMPLE))
            cv2.polylines(big, [xy], True, (*ink.tolist(), 255), thick, **how)

    patch = cv2.resize(big, (w, h), interpolation=cv2.INTER_AREA)
    alpha = cv2.threshold(patch[..., 3], _ALPHA_FLOOR - 1, 0, cv2.THRESH_TOZERO)[1]
    x, y, w, h = cv2.boundingRect(alpha)
    patch, alpha = patch[y : y + h, x : x + w], alpha[y : y + h, x : x + w]
    # Light from one side and some grain; not above alpha, as the colours are multiplied by it.
    light = 1 + np.float32(rng.uniform(0, 0.35)) * ramp(rng, (h, w))
    light += np.float32(rng.uniform(0, 0.4)) * (_noise(rng, (h, w), 4, 2) - 0.5)
    lit = np.minimum(patch[..., :3] * three_channels(light), three_channels(alpha)).astype(np.uint8)
    return np.dstack([lit, alpha])


def clip_patch(shape: tuple[int, ...], patch: np.ndarray, x: int, y: int):
    """Rows and columns of an image under a patch at (x, y), and the patch's part there."""
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + patch.shape[1], shape[1]), min(y + patch.shape[0], shape[0])
    return slice(y1, y2), slice(x1, x2), patch[y1 - y : y2 - y, x1 - x : x2 - x]


def paste(image: np.ndarray, patch: np.ndarray, x: int, y: int) -> None:
    """Blend a premultiplied patch into a float image, in place."""
    rows, columns, part = clip_patch(image.shape, patch, x, y)
    image[rows, columns] *= three_channels(1 - part[..., 3] * np.float32(1 / 255))
    image[rows, columns] += part[..., :3]
