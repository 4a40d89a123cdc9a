# SPDX-License-Identifier: Apache-2.0
"""The objects of a data set as a network sees them, before and after augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mmcv
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from torch import Tensor

from mmdet_mobilenext.benchmark.speed.config_edits import find
from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
from mmdet_mobilenext.engine.environment import OptionError

from .detectors import input_size

__all__ = ['Objects', 'annotated_objects', 'augmented_objects', 'build_dataset', 'choose_images']


@dataclass(frozen=True)
class Objects:
    """G objects of N images.

    Attributes:
        classes (tuple[str, ...]): Class names; labels are indices into it.
        boxes (Tensor): (G, 4) float32, xyxy in pixels of the network's input, sorted by image.
        labels (Tensor): (G,) int64.
        counts (tuple[int, ...]): Objects of each image.
    """

    classes: tuple[str, ...]
    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...]

    @property
    def sizes(self) -> Tensor:
        """Tensor: (G, 2), widths and heights."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @classmethod
    def from_lists(
        cls, classes: Sequence[str], boxes: Sequence[Tensor], labels: Sequence[Sequence[int]]
    ) -> Objects:
        """Put lists of images together.

        Args:
            classes (Sequence[str]): Class names.
            boxes (Sequence[Tensor]): (n, 4) for each image.
            labels (Sequence[Sequence[int]]): (n,) for each image.

        Returns:
            Objects: Without boxes that have no area, which no prior can cover.

        Example:
            >>> flat = torch.tensor([[0., 0., 4., 4.], [3., 3., 3., 9.]])
            >>> Objects.from_lists(['cat'], [flat], [[0, 0]]).counts
            (1,)
        """
        kept, kept_labels = [], []
        for image, names in zip(boxes, labels, strict=True):
            image = image.float().reshape(-1, 4)
            has_area = (image[:, 2:] > image[:, :2]).all(1)
            kept.append(image[has_area])
            kept_labels.append(torch.as_tensor(names, dtype=torch.int64).reshape(-1)[has_area])
        return cls(
            tuple(classes),
            torch.cat([torch.zeros(0, 4), *kept]),
            torch.cat([torch.zeros(0, dtype=torch.int64), *kept_labels]),
            tuple(len(image) for image in kept),
        )

    def by_image(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Boxes (n, 4) and labels (n,) of each image that has objects."""
        parts = zip(self.boxes.split(self.counts), self.labels.split(self.counts), strict=True)
        return ((boxes, labels) for boxes, labels in parts if len(boxes))


def build_dataset(cfg: Config, role: str) -> torch.utils.data.Dataset:
    """Build a data set of a config, after a look at its files.

    Args:
        cfg (Config): Config of a run.
        role (str): ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        Dataset: With its pipeline.

    Raises:
        DataCheckError: If files are missing or annotations broken.
        OptionError: If the config has no such data set, or it is empty.
    """
    loader = cfg.get(f'{role}_dataloader')
    if not loader or not loader.get('dataset'):
        raise OptionError(f'the config has no {role}_dataloader.dataset')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    check_dataset_cfgs(cfg, roles=(role,)).raise_if_bad()
    dataset = DATASETS.build(loader.dataset)
    if not len(dataset):
        raise OptionError(f'the {role} set of the config is empty')
    return dataset


def choose_images(dataset: torch.utils.data.Dataset, number: int | None, seed: int) -> list[int]:
    """Images at random.

    Args:
        dataset (Dataset): Any with a length.
        number (int, optional): How many, None for all.
        seed (int): The same seed gives the same images.

    Returns:
        list[int]: Indices, each at most once, ascending.

    Raises:
        OptionError: If the number is below 1, or the seed negative.

    Example:
        >>> choose_images(range(5), None, 0)
        [0, 1, 2, 3, 4]
    """
    if number is not None and number < 1:
        raise OptionError(f'the number of images must be 1 or more, but received {number}')
    if seed < 0:
        raise OptionError(f'the seed must not be negative, but received {seed}')
    if number is None or number >= len(dataset):
        return list(range(len(dataset)))
    return sorted(np.random.default_rng(seed).permutation(len(dataset))[:number].tolist())


def _keeps_ratio(cfg: Config, role: str, size: tuple[int, int] | None = None) -> bool:
    """Whether images keep their ratio; an error if lying and standing ones differ in size."""
    if not find(cfg.get(f'{role}_dataloader'), 'keep_ratio'):
        return False
    height, width = size or input_size(cfg)
    if height != width:
        raise OptionError(
            f'the pipeline of the {role}_dataloader has keep_ratio=True and the input is '
            f'{width}x{height} (width x height): standing images are resized to another size than '
            'lying ones, which one grid of priors does not fit; set keep_ratio=False or a '
            'quadratic scale'
        )
    return True


def annotated_objects(
    cfg: Config,
    role: str,
    size: tuple[int, int],
    number: int | None = None,
    seed: int = 0,
) -> Objects:
    """Objects as annotated, resized to the network's input; without difficult ones and crowds.

    No image is read.

    Args:
        cfg (Config): Config of a run; its test pipeline tells whether ``Resize`` keeps the ratio.
        role (str): ``'train'``, ``'val'`` or ``'test'``.
        size (tuple[int, int]): Height and width of the input in pixels.
        number (int, optional): Images, chosen at random. Defaults to None, all.
        seed (int): Seed of the choice. Defaults to 0.

    Returns:
        Objects: In pixels of the input.

    Raises:
        DataCheckError, OptionError: See :func:`build_dataset` and :func:`choose_images`; also if
            the ratio is kept and the input is not quadratic: sizes then depend on the image.
    """
    keep_ratio = _keeps_ratio(cfg, 'test', size)
    dataset = build_dataset(cfg, role)
    height, width = size
    boxes, labels = [], []
    for index in choose_images(dataset, number, seed):
        info = dataset.get_data_info(index)
        old = (info['width'], info['height'])
        new = mmcv.rescale_size(old, (width, height)) if keep_ratio else (width, height)
        scale = torch.tensor([new[0] / old[0], new[1] / old[1]]).repeat(2)
        counted = [i for i in info['instances'] if not i.get('ignore_flag', 0)]
        boxes.append(torch.tensor([i['bbox'] for i in counted]).reshape(-1, 4) * scale)
        labels.append([i['bbox_label'] for i in counted])
    return Objects.from_lists(dataset.metainfo['classes'], boxes, labels)


def augmented_objects(cfg: Config, number: int | None = None, seed: int = 0) -> Objects:
    """Objects of the training set as its pipeline hands them to the network, drawn once for each
    image.

    Args:
        cfg (Config): Config of a run.
        number (int, optional): Images, the same that :func:`annotated_objects` takes. Defaults to
            None, all.
        seed (int): Seed of choice and augmentation. Defaults to 0.

    Returns:
        Objects: In pixels of the input, without those that the pipeline marks as ignored.

    Raises:
        DataCheckError, OptionError: See :func:`build_dataset` and :func:`choose_images`; also if
            the ratio is kept and the input is not quadratic: sizes then depend on the image.
    """
    _keeps_ratio(cfg, 'train')
    dataset = build_dataset(cfg, 'train')
    set_random_seed(seed)
    boxes, labels = [], []
    for index in choose_images(dataset, number, seed):
        instances = dataset[index]['data_samples'].gt_instances
        boxes.append(get_box_tensor(instances.bboxes))
        labels.append(instances.labels)
    return Objects.from_lists(dataset.metainfo['classes'], boxes, labels)
