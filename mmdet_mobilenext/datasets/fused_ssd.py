# SPDX-License-Identifier: Apache-2.0
"""The SSD augmentation as one step: sample first, then touch only what survives.

Source of the augmentation: SSD (https://arxiv.org/abs/1512.02325), section 2.2.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmdet.datasets.transforms import Expand, RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmengine import fileio
from PIL import Image

from .caching import LoadCachedImage, build_image_cache
from .fused_pixels import Colour, Window, choose_reduction, render
from .transforms import SSDPhotoMetricDistortion, SSDRandomCrop

__all__ = ['FusedSSDAugment']

ORDER = (LoadImageFromFile, SSDPhotoMetricDistortion, Expand, SSDRandomCrop, RandomFlip, Resize)
"""Transforms that are fused, in their only possible order."""

ORIENTATION = 0x0112  # tag of EXIF
JPEG_MARK = b'\xff\xd8'

REDUCED_FLAGS = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@TRANSFORMS.register_module(force=True)
class FusedSSDAugment(BaseTransform):
    """Runs a list of SSD transforms as one, several times faster.

    The listed transforms draw their parameters in their own order and with
    their own code, but touch no pixel: the same seed gives exactly the boxes
    and labels that the list gives one by one (unless the annotation tells a
    wrong image size: then draws are made anew for the true one). Then the image is decoded (scaled
    down by 2, 4 or 8 where it will be shown that small), one warp makes the
    final image, and colours are distorted on the result. The list one by one
    distorts the whole image, allocates a canvas of up to 16 times its size and
    throws most of it away.

    Pixels differ from the list's by interpolation and rounding only: colours
    change after the interpolation instead of before, and images scaled down a
    lot alias less.

    ``fused=False`` runs the list one by one.

    Required keys: ``img_path`` and what the listed transforms on annotations
    need; with ``height`` and ``width`` the header of the image is not read.

    Set keys: ``img`` (H, W, 3) float32 with colour distortion, else uint8;
    ``img_shape``, ``ori_shape``, ``scale``, ``scale_factor``, ``keep_ratio``,
    ``flip``, ``flip_direction``, ``gt_bboxes``, ``gt_bboxes_labels``,
    ``gt_ignore_flags``.

    Args:
        transforms (Sequence[dict]): ``LoadImageFromFile`` first and ``Resize``
            without ``keep_ratio`` last; between them, in this order, any of
            ``SSDPhotoMetricDistortion``, ``Expand``, ``SSDRandomCrop`` and
            ``RandomFlip``; before the first of these, transforms that read
            annotations alone (``LoadAnnotations``, ``DropDifficult``).
        fused (bool): Whether to fuse. Defaults to True.
        half (bool): Hand over float16 instead of float32, so that workers copy
            half as much. Values up to 255 are rounded by at most 0.07, less than
            by the warp. Defaults to False.
        cache (dict, optional): Keep decoded images, see
            :func:`~mmdet_mobilenext.datasets.caching.build_image_cache`.
            Defaults to None, no cache.

    Raises:
        ValueError: If the list cannot be fused; says which entry and why. When
            it runs, for an image that cannot be decoded.
        FileNotFoundError: When it runs, for a missing image.

    Example:
        >>> augment = FusedSSDAugment([
        ...     dict(type='LoadImageFromFile'),
        ...     dict(type='LoadAnnotations', with_bbox=True),
        ...     dict(type='SSDRandomCrop'),
        ...     dict(type='Resize', scale=(320, 320), keep_ratio=False)])
        >>> [type(t).__name__ for t in augment.annotation_transforms]
        ['LoadAnnotations']
    """

    def __init__(
        self,
        transforms: Sequence[dict],
        fused: bool = True,
        half: bool = False,
        cache: dict | None = None,
    ) -> None:
        self.fused = fused
        self.half = half
        self.transforms = [TRANSFORMS.build(cfg) for cfg in transforms]
        self.annotation_transforms: list[BaseTransform] = []
        parts = dict.fromkeys(ORDER)
        position = -1
        for transform in self.transforms:
            if isinstance(transform, LoadCachedImage) and fused:
                raise ValueError(
                    'FusedSSDAugment has a cache of its own: give it cache=dict(...) and list '
                    'LoadImageFromFile instead of LoadCachedImage'
                )
            # subclasses may do other things
            kind = next((k for k in ORDER if type(transform) is k), None)
            if kind is None and position <= 0:
                self.annotation_transforms.append(transform)
            elif kind is None or ORDER.index(kind) <= position:
                names = ', '.join(k.__name__ for k in ORDER)
                raise ValueError(
                    f'{type(transform).__name__} cannot be fused here: the order is {names}, each '
                    'at most once, with transforms of annotations after the first; move it behind '
                    'FusedSSDAugment, or list the transforms one by one in the pipeline'
                )
            else:
                position = ORDER.index(kind)
                parts[kind] = transform
        self.loader, self.photometric, self.expand, self.crop, self.flip, self.resize = (
            parts.values()
        )
        self._check()
        self.cache = None
        if fused:
            decoder = dict(color_type='color', imdecode_backend=self.loader.imdecode_backend)
            if cache is not None and self.loader.backend_args is not None:
                raise ValueError(
                    'the image cache is for local files, but LoadImageFromFile has backend_args='
                    f'{self.loader.backend_args}: leave out one of both'
                )
            self.cache = build_image_cache(cache, settings=decoder)

    def _check(self) -> None:
        if self.loader is None or self.resize is None:
            raise ValueError(
                'FusedSSDAugment needs LoadImageFromFile first and Resize last, but received '
                f'{[type(t).__name__ for t in self.transforms]}'
            )
        if self.loader.to_float32 or self.loader.color_type != 'color':
            raise ValueError(
                'FusedSSDAugment needs LoadImageFromFile with to_float32=False and '
                f"color_type='color', but received {self.loader}"
            )
        if self.loader.ignore_empty:
            raise ValueError(
                'FusedSSDAugment does not pass over images that cannot be read: list '
                'LoadImageFromFile without ignore_empty'
            )
        if self.resize.interpolation != 'bilinear' or self.resize.backend != 'cv2':
            raise ValueError(
                "FusedSSDAugment needs Resize with interpolation='bilinear' and backend='cv2', but "
                f'received {self.resize}'
            )
        if self.resize.keep_ratio or self.resize.scale is None:
            raise ValueError(
                'FusedSSDAugment needs Resize with a scale and keep_ratio=False, but received '
                f'{self.resize}'
            )

    def transform(self, results: dict) -> dict | None:
        """Load and augment.

        Args:
            results (dict): Entry of a data set, see the class.

        Returns:
            dict | None: The same dict with image and boxes. None where a
            listed transform gives None (mmengine then takes another image).
        """
        transforms = self.annotation_transforms if self.fused else self.transforms
        for transform in transforms:
            results = transform(results)
            if results is None:
                return None
        if not self.fused:
            return results

        for key in ('gt_masks', 'gt_seg_map'):
            if key in results:
                raise ValueError(
                    f'FusedSSDAugment moves boxes only, but there is {key}: load no masks, or use '
                    'fused=False'
                )
        path = results['img_path']
        size = (results.get('height') or 0, results.get('width') or 0)
        if min(size) < 1:  # not declared, or without meaning
            size = self._size_in_header(path)
        window, colour, annotations = self._plan(results, size)
        reduction = choose_reduction(window)
        image = self._load(path, reduction)
        if not self._is_of_size(image, size, reduction):
            # The XML or an orientation mark told another size. That of the
            # pixels counts, as without fusing: draw anew for it.
            image = self._decode(path, 1)  # not from the cache, which may scale
            window, colour, annotations = self._plan(results, image.shape[:2])
        results.update(annotations)
        fill = None if self.expand is None else tuple(self.expand.mean)
        results['img'] = render(image, window, fill, colour, self.half)
        return results

    def _plan(self, results: dict, size: tuple[int, int]) -> tuple[Window, Colour | None, dict]:
        """Draw all parameters and apply them to the annotations.

        Args:
            results (dict): Not modified.
            size (tuple[int, int]): Height and width of the image.

        Returns:
            tuple[Window, Colour | None, dict]: What to render, and the keys to
            set.
        """
        keys = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')
        new = {key: results[key] for key in keys if key in results}
        boxes = new['gt_bboxes'] = new['gt_bboxes'].clone()
        colour = None if self.photometric is None else _colour(self.photometric)
        height, width = canvas = crop_size = tuple(size)
        x = y = 0
        if self.expand is not None and self.expand._random_prob() <= self.expand.prob:
            ratio = self.expand._random_ratio()
            canvas = crop_size = int(height * ratio), int(width * ratio)
            left, top = self.expand._random_left_top(ratio, height, width)
            boxes.translate_([left, top])
            x, y = -left, -top
        if self.crop is not None and len(boxes):
            patch = self.crop._sample(boxes.tensor.numpy(), *canvas)
            if patch is not None:
                crop_size = self.crop.crop_annotations(new, patch)
                boxes = new['gt_bboxes']
                x, y = x + int(patch[0]), y + int(patch[1])
        direction = None
        if self.flip is not None:
            direction = self.flip._choose_direction()
            new.update(flip=direction is not None, flip_direction=direction)
            if direction is not None:
                boxes.flip_(crop_size, direction)
        out_width, out_height = self.resize.scale
        scale_factor = (out_width / crop_size[1], out_height / crop_size[0])
        boxes.rescale_(scale_factor)
        if self.resize.clip_object_border:
            boxes.clip_((out_height, out_width))
        new.update(
            ori_shape=tuple(size),
            img_shape=(out_height, out_width),
            scale=self.resize.scale,
            scale_factor=scale_factor,
            keep_ratio=False,
        )
        return (
            Window(tuple(size), (x, y), crop_size, (out_height, out_width), direction),
            colour,
            new,
        )

    def _load(self, path: str, reduction: int) -> np.ndarray:
        """(h, w, 3) uint8 BGR, scaled down if it is a JPEG."""
        if self.cache is None:
            return self._decode(path, reduction)
        return self.cache.get(path, reduction, lambda: self._decode(path, reduction))

    def _decode(self, path: str, reduction: int) -> np.ndarray:
        data = fileio.get(path, backend_args=self.loader.backend_args)
        backend = self.loader.imdecode_backend
        if reduction > 1 and backend == 'cv2' and data[:2] == JPEG_MARK and not _is_turned(data):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED_FLAGS[reduction])
        else:
            image = mmcv.imfrombytes(data, flag='color', backend=backend)
        if image is None:
            raise ValueError(
                f'{path} cannot be decoded ({len(data)} bytes): is it a whole image? '
                'tools/check_voc.py finds all such files'
            )
        return image

    def _size_in_header(self, path: str) -> tuple[int, int]:
        data = fileio.get(path, backend_args=self.loader.backend_args)
        with Image.open(io.BytesIO(data)) as image:
            return image.height, image.width

    def _is_of_size(self, image: np.ndarray, size: tuple[int, int], reduction: int) -> bool:
        if self.cache is not None and self.cache.max_side is not None:
            # scaled by any factor: of the same shape, to a pixel
            (height, width), (h, w) = size, image.shape[:2]
            return abs(w * height - h * width) <= height + width
        return image.shape[:2] in (
            tuple(size),
            tuple(math.ceil(side / reduction) for side in size),
        )

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(transforms={self.transforms}, fused={self.fused}, '
            f'half={self.half}, cache={self.cache})'
        )


def _is_turned(data: bytes) -> bool:
    """Whether a JPEG is to be shown turned or mirrored.

    Scaled down it would be out of place by up to a pixel: decoders round sizes
    up at the right and the bottom, before they turn.
    """
    if b'Exif' not in data[:65536]:
        return False
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif().get(ORIENTATION, 1) != 1


def _colour(photometric: SSDPhotoMetricDistortion) -> Colour:
    """Draw a distortion."""
    mode, brightness, contrast, saturation, hue, swap, delta, alpha, factor, degrees, order = (
        photometric._random_flags()
    )
    return Colour(
        brightness=delta if brightness else 0.0,
        contrast_before=alpha if contrast and mode == 1 else 1.0,
        saturation=factor if saturation else None,
        hue=degrees if hue else None,
        contrast_after=alpha if contrast and mode == 0 else 1.0,
        channels=tuple(order) if swap else (0, 1, 2),
    )
