# SPDX-License-Identifier: Apache-2.0
"""Images of the training set, prepared as the file's own images are."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
from mmdet_mobilenext.runtime import Detector, read_image

from ..errors import ExportError

__all__ = ['CalibrationImages', 'calibration_images']


@dataclass(frozen=True)
class CalibrationImages:
    """Images that the ranges of activations are taken from.

    Attributes:
        paths (tuple[str, ...]): Files.
        source (str): The set they are of.
        detector (Detector): The float file, whose preparation they get.
    """

    paths: tuple[str, ...]
    source: str
    detector: Detector

    def __len__(self) -> int:
        return -(-len(self.paths) // (self.detector.spec.batch or 1))

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.batch, range(len(self)))

    def batch(self, index: int) -> np.ndarray:
        """Images of one run.

        Args:
            index (int): Which of ``len(self)``.

        Returns:
            np.ndarray: (N, H, W, 3) uint8; the last run of a file with a larger batch begins again
            with the first images.

        Raises:
            ImageError: If an image is damaged.
        """
        size = self.detector.spec.batch or 1
        numbers = np.arange(index * size, (index + 1) * size) % len(self.paths)
        return np.stack([self.detector.prepare(read_image(self.paths[n])) for n in numbers])


def calibration_images(
    cfg: Config, detector: Detector, num_images: int, seed: int
) -> CalibrationImages:
    """Choose images of the training set of a config.

    Args:
        cfg (Config): Config of the detector.
        detector (Detector): The float file.
        num_images (int): How many, or all if there are fewer.
        seed (int): Of the choice.

    Returns:
        CalibrationImages: Without repetition.

    Raises:
        DataCheckError, FileNotFoundError: If the data set has an error.
        ExportError: If the config has no training set of images in files, or an empty one.
    """
    options = (cfg.get('train_dataloader') or {}).get('dataset')
    if not options:
        raise ExportError('calibration takes images of train_dataloader, which the config has not')
    check_dataset_cfgs(cfg, roles=('train',)).raise_if_bad()
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    dataset = DATASETS.build(options)
    dataset.full_init()
    paths: dict[str, None] = {}
    for index in np.random.default_rng(seed).permutation(len(dataset)):
        path = dataset.get_data_info(int(index)).get('img_path')
        if not path:
            raise ExportError(f'{type(dataset).__name__} does not tell the files of its images')
        paths[path] = None  # sets that are repeated have each several times
        if len(paths) == num_images:
            break
    if not paths:
        raise ExportError('calibration needs images, but the training set of the config is empty')
    return CalibrationImages(tuple(paths), _source(options), detector)


def _source(options: dict) -> str:
    """Lists of images within wrappers, without folders of this machine."""
    if 'ann_file' in options:
        parts = options['ann_file'].split('/')
        return osp.splitext('/'.join(parts[-4:] if 'ImageSets' in parts else parts[-1:]))[0]
    parts = options.get('datasets') or [options.get('dataset') or {}]
    return ' + '.join(filter(None, map(_source, filter(None, parts)))) or 'training set'
