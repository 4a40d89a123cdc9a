# SPDX-License-Identifier: Apache-2.0
"""Pixels of the fused augmentation: one warp into the final image, colour on the result.

Pure functions of numpy arrays; the parameters come from
:class:`~mmdet_mobilenext.datasets.fused_ssd.FusedSSDAugment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

__all__ = ['Colour', 'Window', 'choose_reduction', 'distort_colour', 'render']

REDUCTIONS = (8, 4, 2)
"""By how much libjpeg scales down while it decodes."""

MAX_SIDE = 32767
"""From as many pixels on OpenCV cannot warp."""

FLIP_CODES = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}


@dataclass(frozen=True)
class Window:
    """The part of the canvas that becomes the final image.

    Attributes:
        image_size (tuple[int, int]): Height and width of the whole image.
        offset (tuple[int, int]): Left and top of the crop in pixels of the
            image; negative where the canvas reaches beyond it.
        crop_size (tuple[int, int]): Height and width of the crop.
        out_size (tuple[int, int]): Height and width of the final image.
        flip (str, optional): ``'horizontal'``, ``'vertical'`` or ``'diagonal'``.
    """

    image_size: tuple[int, int]
    offset: tuple[int, int]
    crop_size: tuple[int, int]
    out_size: tuple[int, int]
    flip: str | None = None


@dataclass(frozen=True)
class Colour:
    """What ``SSDPhotoMetricDistortion`` drew; None or 1 for what it leaves out.

    Attributes:
        brightness (float): Added to all values.
        contrast_before (float): Factor before saturation and hue.
        saturation (float, optional): Factor of the saturation.
        hue (float, optional): Degrees added to the hue.
        contrast_after (float): Factor after saturation and hue.
        channels (tuple[int, int, int]): Order of the channels in the result.
    """

    brightness: float = 0.0
    contrast_before: float = 1.0
    saturation: float | None = None
    hue: float | None = None
    contrast_after: float = 1.0
    channels: tuple[int, int, int] = (0, 1, 2)


def choose_reduction(window: Window) -> int:
    """By how much the image may be scaled down while it is decoded.

    Args:
        window (Window): What is needed of it.

    Returns:
        int: 8, 4, 2 or 1: the most that leaves a pixel, or more, for each one
        of the final image.

    Example:
        >>> choose_reduction(Window((375, 500), (-700, -500), (1400, 1900), (320, 320)))
        4
    """
    ratios = [crop / out for crop, out in zip(window.crop_size, window.out_size, strict=True)]
    return next((r for r in REDUCTIONS if r <= min(ratios)), 1)


def distort_colour(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """Distort colours as ``SSDPhotoMetricDistortion`` does, but for the order
    of the channels.

    Args:
        pixels (np.ndarray): (H, W, 3) uint8, BGR.
        colour (Colour): What to do.

    Returns:
        np.ndarray: (H, W, 3) float32, not clipped to 0..255.

    Example:
        >>> distort_colour(np.full((1, 1, 3), 100, np.uint8), Colour(brightness=-8)).tolist()
        [[[92.0, 92.0, 92.0]]]
    """
    # The values before the HSV part depend on the 256 values alone.
    table = np.arange(256, dtype=np.float32)
    table += np.float32(colour.brightness)
    table *= np.float32(colour.contrast_before)
    out = cv2.LUT(pixels, table)
    if colour.saturation is not None or colour.hue is not None:
        out = cv2.cvtColor(out, cv2.COLOR_BGR2HSV)
        if colour.saturation is not None:
            out[..., 1] *= np.float32(colour.saturation)
        if colour.hue is not None:
            # Not below 0: OpenCV wraps hues above 360, but not negative ones.
            out[..., 0] += np.float32(colour.hue % 360)
        out = cv2.cvtColor(out, cv2.COLOR_HSV2BGR)
    if colour.contrast_after != 1:
        out *= np.float32(colour.contrast_after)
    return out


def render(
    image: np.ndarray,
    window: Window,
    fill: Sequence[float] | None = None,
    colour: Colour | None = None,
    half: bool = False,
) -> np.ndarray:
    """Make the final image: warp, flip, colour, and the fill around it.

    Bilinear like ``Resize``: the same pixels as expanding, cropping and
    resizing, but for rounding (the warp is done in uint8, the colour after it)
    and for images scaled down while decoding, which alias less.

    Args:
        image (np.ndarray): (h, w, 3) uint8, BGR, whole or scaled down by 2, 4
            or 8.
        window (Window): What becomes the final image.
        fill (Sequence[float], optional): BGR values around the image; needed
            where the window reaches beyond it.
        colour (Colour, optional): Distortion of the image, not of the fill.
        half (bool): Give float16 instead of float32. Defaults to False.

    Returns:
        np.ndarray: (H, W, 3), float32 or float16 with a colour, else uint8. A view of
        planes that lie one after the other, so that packing as (3, H, W)
        copies nothing.

    Example:
        >>> window = Window((2, 2), (-2, 0), (2, 4), (2, 4))
        >>> render(np.full((2, 2, 3), 7, np.uint8), window, (1, 2, 3))[..., 0].tolist()
        [[1, 1, 7, 7], [1, 1, 7, 7]]
    """
    while max(image.shape[:2]) >= MAX_SIDE:
        half = tuple(-(-side // 2) for side in image.shape[1::-1])
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    (top, bottom), y_weights = _visible(window, 0)
    (left, right), x_weights = _visible(window, 1)
    block = _warp(image, window, (left, top, right, bottom))
    if window.flip is not None:
        if block.size:
            block = cv2.flip(block, FLIP_CODES[window.flip])
        height, width = window.out_size
        if window.flip != 'vertical':
            left, right, x_weights = width - right, width - left, x_weights[::-1]
        if window.flip != 'horizontal':
            top, bottom, y_weights = height - bottom, height - top, y_weights[::-1]
    channels = (0, 1, 2)
    if colour is not None:
        block = distort_colour(block, colour) if block.size else block.astype(np.float32)
        channels = colour.channels

    dtype = torch.float16 if half and colour is not None else torch.from_numpy(block).dtype
    # by PyTorch, which converts to float16 many times faster than numpy
    planes = torch.empty((3, *window.out_size), dtype=dtype)
    is_whole = block.shape[:2] == window.out_size
    soft = x_weights.min(initial=1) < 1 or y_weights.min(initial=1) < 1
    if soft:
        weights = y_weights[:, None] * x_weights
    for plane, channel, value in zip(planes, channels, fill or (0, 0, 0), strict=True):
        source = block[..., channel]
        if is_whole and not soft:
            plane.copy_(torch.from_numpy(source))
            continue
        plane.fill_(value if dtype.is_floating_point else int(value))
        if soft:
            value = value if dtype.is_floating_point else int(value)
            source = (source - np.float32(value)) * weights + np.float32(value)
            source = source if dtype.is_floating_point else np.rint(source)
        plane[top:bottom, left:right].copy_(torch.from_numpy(source))
    return planes.numpy().transpose(1, 2, 0)


def _positions(window: Window, axis: int) -> np.ndarray:
    """Where the final image's pixels lie in the image, along one axis.

    Clamped to the crop, as resizing the crop does.
    """
    start, crop, out = window.offset[1 - axis], window.crop_size[axis], window.out_size[axis]
    inside = (np.arange(out, dtype=np.float64) + 0.5) * (crop / out) - 0.5
    return inside.clip(0, crop - 1) + start


def _visible(window: Window, axis: int) -> tuple[tuple[int, int], np.ndarray]:
    """Which pixels of the final image show the image, and how much of it.

    Returns:
        tuple[tuple[int, int], np.ndarray]: First and last + 1, and for each a
        weight in (0, 1]: bilinear interpolation mixes the outermost pixels of
        the image with the fill.
    """
    at = _positions(window, axis)
    weights = np.minimum(at + 1, window.image_size[axis] - at).clip(0, 1)
    seen = np.flatnonzero(weights > 0)
    first, last = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
    return (first, last), weights[first:last].astype(np.float32)


def _warp(image: np.ndarray, window: Window, region: tuple[int, int, int, int]) -> np.ndarray:
    """The part of the final image that shows the image, without flip."""
    left, top, right, bottom = region
    if right <= left or bottom <= top:
        return np.empty((max(bottom - top, 0), max(right - left, 0), 3), np.uint8)
    (height, width), (x, y) = window.image_size, window.offset
    crop_h, crop_w = window.crop_size
    out_h, out_w = window.out_size
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + crop_w, width), min(y + crop_h, height)
    if image.shape[:2] == (height, width):
        image = image[y0:y1, x0:x1]
        if (x0, y0, x1, y1) == (x, y, x + crop_w, y + crop_h):
            return cv2.resize(image, (out_w, out_h), interpolation=cv2.INTER_LINEAR)
        scale_x = scale_y = 1.0
    else:
        x0 = y0 = 0
        scale_x = _pixels_for_one(width, image.shape[1])
        scale_y = _pixels_for_one(height, image.shape[0])
    step_x, step_y = crop_w / out_w, crop_h / out_h
    matrix = np.array(
        [
            [step_x / scale_x, 0, ((left + 0.5) * step_x + x - x0) / scale_x - 0.5],
            [0, step_y / scale_y, ((top + 0.5) * step_y + y - y0) / scale_y - 0.5],
        ]
    )
    return cv2.warpAffine(
        image,
        matrix,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _pixels_for_one(whole: int, scaled: int) -> float:
    """How many pixels of the whole image one of the smaller image stands for."""
    # JPEG decoders round sizes up: the last pixel may stand for fewer
    return next((float(r) for r in REDUCTIONS if scaled == -(-whole // r)), whole / scaled)
