# SPDX-License-Identifier: Apache-2.0
"""What a config says of the exported file: input size, thresholds, classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from torch import nn

from mmdet_mobilenext.engine.class_checks import classes_of_data
from mmdet_mobilenext.models.priors import SSDLitePriorGenerator

from .errors import ExportError

__all__ = [
    'Selection',
    'class_names',
    'input_size',
    'resize_priors',
    'selection',
    'test_transforms',
]


@dataclass(frozen=True)
class Selection:
    """How detections are chosen from candidates.

    Attributes:
        score_thr (float): Detections have a larger score.
        iou_thr (float): NMS drops a box with a larger IoU with a better one of its class.
        max_per_img (int): Most detections of an image.
    """

    score_thr: float
    iou_thr: float
    max_per_img: int


def test_transforms(cfg: Config) -> list[Mapping]:
    """Transforms of the test data, within wrappers.

    Args:
        cfg (Config): Config of a detector.

    Returns:
        list[Mapping]: Parts of ``cfg``, in order.

    Example:
        >>> test_transforms(Config(dict(test_dataloader=dict(pipeline=[dict(type='Resize')]))))
        [{'type': 'Resize'}]
    """
    return list(_transforms(cfg.get('test_dataloader') or {}))


def _transforms(node: Any) -> Iterator[Mapping]:
    if isinstance(node, Mapping):
        if 'pipeline' in node:
            yield from node['pipeline']
        for key, value in node.items():
            if key != 'pipeline':
                yield from _transforms(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _transforms(value)


def input_size(cfg: Config) -> tuple[int, int]:
    """Size that the test pipeline stretches images to.

    Args:
        cfg (Config): Config of a detector.

    Returns:
        tuple[int, int]: Width and height in pixels.

    Raises:
        ExportError: If it keeps the ratio, crops, pads or does anything else to the pixels.

    Example:
        >>> resize = dict(type='Resize', scale=(320, 320), keep_ratio=False)
        >>> loading = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), resize]))
        >>> input_size(Config(dict(test_dataloader=loading)))
        (320, 320)
    """
    transforms = test_transforms(cfg)
    names = [str(t.get('type')).rsplit('.', 1)[-1] for t in transforms]
    harmless = {'LoadImageFromFile', 'LoadAnnotations', 'PackDetInputs'}
    usual = dict(to_float32=False, color_type='color', imdecode_backend='cv2')
    others = [name for name in names if name not in {'Resize', *harmless}]
    if others or names.count('Resize') != 1:
        raise ExportError(
            'exported files stretch an image to one size and do nothing else to it, but the test '
            f'pipeline of the config is {", ".join(names) or "empty"}'
        )
    for transform in transforms:
        odd = {key: value for key, value in transform.items() if usual.get(key, value) != value}
        if odd:
            raise ExportError(
                f'the test pipeline reads images with {odd}, but exported files take uint8 images '
                'as OpenCV reads them'
            )
    resize = transforms[names.index('Resize')]
    scale = resize.get('scale')
    if (
        resize.get('keep_ratio', False)
        or not isinstance(scale, (tuple, list))
        or resize.get('interpolation', 'bilinear') != 'bilinear'
        or resize.get('backend', 'cv2') != 'cv2'
    ):
        raise ExportError(
            'exported files stretch images bilinearly to one size, which is what Resize(scale=(w, '
            f'h), keep_ratio=False) does, but the test pipeline has {dict(resize)}'
        )
    return int(scale[0]), int(scale[1])


def selection(cfg: Config) -> Selection:
    """Thresholds of the detector.

    Args:
        cfg (Config): Config of a detector.

    Returns:
        Selection: From ``model.test_cfg``.

    Raises:
        ExportError: If it asks for what the exported file could not do in the same way.

    Example:
        >>> test_cfg = dict(score_thr=0.01, nms=dict(iou_threshold=0.45), max_per_img=100)
        >>> selection(Config(dict(model=dict(test_cfg=test_cfg))))
        Selection(score_thr=0.01, iou_thr=0.45, max_per_img=100)
    """
    test_cfg = cfg.model.get('test_cfg') or {}
    nms = test_cfg.get('nms') or {}
    min_size = test_cfg.get('min_bbox_size', -1)
    odd = [
        f'{name}={value!r}'
        for name, value, is_known in (
            ('nms.type', nms.get('type', 'nms'), nms.get('type', 'nms') == 'nms'),
            ('nms', sorted(nms), set(nms) <= {'type', 'iou_threshold', 'split_thr'}),
            ('nms.iou_threshold', nms.get('iou_threshold'), 'iou_threshold' in nms),
            ('min_bbox_size', min_size, min_size <= 0),
            ('max_per_img', test_cfg.get('max_per_img'), test_cfg.get('max_per_img', -1) > 0),
        )
        if not is_known
    ]
    if odd:
        raise ExportError(
            f'model.test_cfg has {", ".join(odd)}: exported files have plain NMS with '
            'nms=dict(type="nms", iou_threshold=...), max_per_img > 0 and no min_bbox_size'
        )
    return Selection(
        float(test_cfg.get('score_thr', 0)),
        float(nms['iou_threshold']),
        int(test_cfg['max_per_img']),
    )


def check_nms_pre(cfg: Config, candidates: int) -> None:
    """Check that all candidates reach NMS, as they do in the exported file.

    Args:
        cfg (Config): Config of a detector.
        candidates (int): Priors times classes of the largest level.

    Raises:
        ExportError: If ``model.test_cfg.nms_pre`` may cut some.

    Example:
        >>> check_nms_pre(Config(dict(model=dict(test_cfg=dict(nms_pre=1000)))), 900)
    """
    # without it, mmdet leaves out the worst candidate of each level
    nms_pre = (cfg.model.get('test_cfg') or {}).get('nms_pre', -1)
    if nms_pre < candidates:
        raise ExportError(
            f'model.test_cfg.nms_pre={nms_pre} cuts candidates before NMS, the exported file does '
            f'not: set --cfg-options model.test_cfg.nms_pre={candidates} (all candidates of the '
            'largest level) and test the checkpoint with it'
        )


def class_names(cfg: Config, meta: Mapping | None, num_classes: int) -> tuple[str, ...]:
    """Class names, of the checkpoint, or else of the data set of the config.

    Args:
        cfg (Config): Config of a detector.
        meta (Mapping, optional): ``meta`` of the checkpoint.
        num_classes (int): Classes of the head.

    Returns:
        tuple[str, ...]: In the order of the labels.

    Raises:
        ExportError: If there are none, or of another number.

    Example:
        >>> class_names(Config(), dict(dataset_meta=dict(classes=('cat', 'dog'))), 2)
        ('cat', 'dog')
    """
    names = ((meta or {}).get('dataset_meta') or {}).get('classes')
    source = 'the checkpoint'
    if not names:
        source = 'the data set of the config'
        names = next((found for _, found in classes_of_data(cfg, ('test',))), ())
    names = (names,) if isinstance(names, str) else tuple(names or ())
    if len(names) != num_classes:
        raise ExportError(
            f'{source} names {len(names)} classes, but the head has {num_classes}: give the names '
            'with --classes'
        )
    return names


def resize_priors(head: nn.Module, cfg: Config, size: tuple[int, int], levels: Sequence) -> None:
    """Make the priors of a head for another input.

    They keep their sizes in pixels, which is what the network has learned; where the strides of the
    config do not lead to the cells that there are, they follow from the cells.

    Args:
        head (nn.Module): Head; changed in place.
        cfg (Config): Its config.
        size (tuple[int, int]): Width and height in pixels.
        levels (Sequence[tuple[int, int]]): Height and width of each level in cells.

    Raises:
        ExportError: If the priors are of another kind than ``SSDLitePriorGenerator``.
    """
    options = copy.deepcopy(dict(cfg.model.bbox_head.anchor_generator))
    if not isinstance(head.prior_generator, SSDLitePriorGenerator):
        raise ExportError(
            f'--size needs SSDLitePriorGenerator, but the config has {options["type"]}'
        )
    options.pop('type')
    strides = []
    for stride, cells in zip(head.prior_generator.strides, levels, strict=True):
        fits = all(
            math.ceil(side / step) == count
            for side, step, count in zip(size, stride, reversed(cells), strict=True)
        )
        strides.append(stride if fits else (size[0] / cells[1], size[1] / cells[0]))
    head.prior_generator = SSDLitePriorGenerator(
        **{**options, 'strides': strides, 'input_size': size}
    )
