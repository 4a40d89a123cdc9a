# SPDX-License-Identifier: Apache-2.0
"""SSD augmentation where the published pipeline differs from mmdet's.

``Expand``, ``RandomFlip`` and ``Resize`` are mmdet's own; see
``configs/_base_/datasets`` for the whole pipeline.

Source: SSD (https://arxiv.org/abs/1512.02325), section 2.2, as implemented in
https://github.com/houqb/ssdlite-pytorch-mobilenext.
"""

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import PhotoMetricDistortion
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type
from numpy import random

__all__ = ['DropDifficult', 'SSDPhotoMetricDistortion', 'SSDRandomCrop']


@TRANSFORMS.register_module(force=True)
class DropDifficult(BaseTransform):
    """Drop boxes marked difficult, as in the published training.

    mmdet keeps them through augmentation with an ignore flag, where they would
    still steer the random crop. An image may end up without boxes.

    Required and modified keys: ``gt_bboxes`` (n, 4), ``gt_bboxes_labels`` (n,),
    ``gt_ignore_flags`` (n,) bool.

    Example:
        >>> import numpy as np, torch
        >>> from mmdet.structures.bbox import HorizontalBoxes
        >>> results = dict(
        ...     gt_bboxes=HorizontalBoxes(torch.tensor([[0., 0., 9., 9.], [1., 1., 5., 5.]])),
        ...     gt_bboxes_labels=np.array([3, 4]), gt_ignore_flags=np.array([True, False]))
        >>> DropDifficult()(results)['gt_bboxes_labels']
        array([4])
    """

    def transform(self, results: dict) -> dict:
        """Drop boxes whose ignore flag is set.

        Args:
            results (dict): Result of ``LoadAnnotations``.

        Returns:
            dict: The same dict without these boxes.
        """
        keep = ~np.asarray(results['gt_ignore_flags'], dtype=bool)
        if keep.all():
            return results
        results['gt_bboxes'] = results['gt_bboxes'][keep]
        results['gt_bboxes_labels'] = results['gt_bboxes_labels'][keep]
        results['gt_ignore_flags'] = results['gt_ignore_flags'][keep]
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'


@TRANSFORMS.register_module(force=True)
class SSDPhotoMetricDistortion(PhotoMetricDistortion):
    """Photometric distortion with values left unclipped, as published.

    Brightness, contrast, saturation, hue and a channel permutation, each with
    probability 0.5; contrast before or after the HSV part with equal chance.
    mmdet's class, whose random draws this one uses, additionally clips the
    saturation at 1.

    Arguments, required and modified keys are those of mmdet's
    ``PhotoMetricDistortion``.

    Example:
        >>> import numpy as np
        >>> image = np.full((4, 4, 3), 128, dtype=np.uint8)
        >>> SSDPhotoMetricDistortion()(dict(img=image))['img'].dtype
        dtype('float32')
    """

    def transform(self, results: dict) -> dict:
        """Distort the colours.

        Args:
            results (dict): ``img``, (H, W, 3) BGR in 0..255.

        Returns:
            dict: ``img`` as float32, not clipped to 0..255.
        """
        (
            mode,
            brightness_flag,
            contrast_flag,
            saturation_flag,
            hue_flag,
            swap_flag,
            delta_value,
            alpha_value,
            saturation_value,
            hue_value,
            swap_value,
        ) = self._random_flags()
        img = results['img'].astype(np.float32)
        if brightness_flag:
            img += delta_value
        if contrast_flag and mode == 1:
            img *= alpha_value
        if saturation_flag or hue_flag:
            # float32 HSV: hue in degrees, saturation in 0..1, value unscaled.
            img = mmcv.bgr2hsv(img)
            if saturation_flag:
                img[..., 1] *= saturation_value
            if hue_flag:
                img[..., 0] = (img[..., 0] + hue_value) % 360
            img = mmcv.hsv2bgr(img)
        if contrast_flag and mode == 0:
            img *= alpha_value
        if swap_flag:
            img = img[..., swap_value]
        results['img'] = img
        return results


@TRANSFORMS.register_module(force=True)
class SSDRandomCrop(BaseTransform):
    """Random sample crop of SSD.

    A mode is drawn with equal chance: the whole image, a minimum IoU, or no
    condition. Then up to ``num_attempts`` crops are tried: width and height
    uniform in ``min_crop_size`` to 1 of the image, aspect ratio (h / w) within
    ``aspect_ratio_range``; a crop is accepted when the **largest** IoU with a
    box reaches the mode's minimum and at least one box centre is inside. If
    none is, another mode is drawn. Boxes whose centre is inside are kept and
    clipped.

    mmdet's ``MinIoURandomCrop`` asks the minimum of the *smallest* IoU, which
    gives another distribution, and its usual settings have other modes.

    An image without boxes is left as it is: there is nothing to sample for.

    Required and modified keys: ``img``, ``img_shape``, ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags`` (optional).

    Args:
        min_ious (Sequence[float]): Minimum IoUs, a mode each.
            Defaults to (0.1, 0.3, 0.7, 0.9).
        min_crop_size (float): Smallest side of a crop as a share of the
            image's. Defaults to 0.3.
        aspect_ratio_range (tuple[float, float]): Range of h / w.
            Defaults to (0.5, 2.0).
        num_attempts (int): Crops tried in a mode. Defaults to 50.

    Example:
        >>> import numpy as np, torch
        >>> from mmdet.structures.bbox import HorizontalBoxes
        >>> results = dict(
        ...     img=np.zeros((60, 80, 3), np.uint8), img_shape=(60, 80),
        ...     gt_bboxes=HorizontalBoxes(torch.tensor([[10., 10., 50., 50.]])),
        ...     gt_bboxes_labels=np.array([0]), gt_ignore_flags=np.array([False]))
        >>> SSDRandomCrop()(results)['gt_bboxes'].tensor.shape
        torch.Size([1, 4])
    """

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.7, 0.9),
        min_crop_size: float = 0.3,
        aspect_ratio_range: tuple[float, float] = (0.5, 2.0),
        num_attempts: int = 50,
    ) -> None:
        if not 0 < min_crop_size <= 1:
            raise ValueError(f'min_crop_size must be in (0, 1], but received {min_crop_size}')
        if any(not 0 <= iou <= 1 for iou in min_ious):
            raise ValueError(f'min_ious must be in [0, 1], but received {tuple(min_ious)}')
        self.min_ious = tuple(min_ious)
        # None: the whole image. 0: no condition on the IoU.
        self.modes: tuple[float | None, ...] = (None, *self.min_ious, 0.0)
        self.min_crop_size = min_crop_size
        self.aspect_ratio_range = tuple(aspect_ratio_range)
        self.num_attempts = num_attempts

    @cache_randomness
    def _random_mode(self) -> float | None:
        return self.modes[random.randint(len(self.modes))]

    @cache_randomness
    def _random_patches(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """All candidates of a mode, (num_attempts, 4) xyxy in pixels (int), and which are allowed.

        Drawn at once: one by one they would take most of the time of the crop.
        """
        patch_w = random.uniform(self.min_crop_size * width, width, self.num_attempts)
        patch_h = random.uniform(self.min_crop_size * height, height, self.num_attempts)
        left = random.uniform(0, 1, self.num_attempts) * (width - patch_w)
        top = random.uniform(0, 1, self.num_attempts) * (height - patch_h)
        patches = np.stack([left, top, left + patch_w, top + patch_h], 1).astype(np.int64)
        low, high = self.aspect_ratio_range
        ratio = patch_h / patch_w
        is_allowed = (low <= ratio) & (ratio <= high) & (patches[:, 2:] > patches[:, :2]).all(1)
        return patches, is_allowed

    def _sample(self, boxes: np.ndarray, height: int, width: int) -> np.ndarray | None:
        """Sample a crop, xyxy in pixels (int), or None for the whole image."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        while True:
            min_iou = self._random_mode()
            if min_iou is None:
                return None
            patches, accepted = self._random_patches(height, width)
            accepted &= _contains(patches[:, None], centres).any(1)
            if min_iou > 0:
                accepted &= _ious(boxes, patches[:, None]).max(1) >= min_iou
            if accepted.any():
                return patches[accepted.argmax()]

    def crop_annotations(self, results: dict, patch: np.ndarray) -> tuple[int, int]:
        """Crop boxes and what belongs to them: those whose centre is inside.

        Args:
            results (dict): ``gt_bboxes``, ``gt_bboxes_labels`` and
                ``gt_ignore_flags`` (optional), modified.
            patch (np.ndarray): (4,) int, xyxy in pixels.

        Returns:
            tuple[int, int]: Height and width of the crop.
        """
        left, top, right, bottom = patch.tolist()
        keep = _contains(patch, results['gt_bboxes'].centers.numpy())
        if not keep.all():
            for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'):
                if key in results:
                    results[key] = results[key][keep]
        results['gt_bboxes'].translate_([-left, -top])
        results['gt_bboxes'].clip_([bottom - top, right - left])
        return bottom - top, right - left

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Crop image and boxes.

        Args:
            results (dict): ``img``, (H, W, C), and boxes in its pixels.

        Returns:
            dict: The same dict, cropped.
        """
        boxes = results['gt_bboxes']
        if len(boxes) == 0:
            return results
        img = results['img']
        patch = self._sample(boxes.tensor.numpy(), *img.shape[:2])
        if patch is None:
            return results
        results['img_shape'] = self.crop_annotations(results, patch)
        left, top, right, bottom = patch.tolist()
        results['img'] = img[top:bottom, left:right]
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(min_ious={self.min_ious}, '
            f'min_crop_size={self.min_crop_size}, '
            f'aspect_ratio_range={self.aspect_ratio_range}, num_attempts={self.num_attempts})'
        )


def _contains(patches: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Which centres, (n, 2), are inside of patches, (..., 4): (..., n) bool."""
    return ((centres > patches[..., :2]) & (centres < patches[..., 2:])).all(-1)


def _ious(boxes: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """IoU of each box, (n, 4), with patches, (..., 4): (..., n)."""
    overlap = np.minimum(boxes[:, 2:], patches[..., 2:]) - np.maximum(
        boxes[:, :2], patches[..., :2]
    )
    intersection = overlap.clip(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    patch_areas = (patches[..., 2:] - patches[..., :2]).prod(-1)
    return intersection / np.maximum(areas + patch_areas - intersection, 1e-12)
