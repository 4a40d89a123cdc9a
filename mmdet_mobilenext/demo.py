# SPDX-License-Identifier: Apache-2.0
"""The demo: make data, train a small MobileNeXt SSDLite, test it, look at it."""

from __future__ import annotations

import hashlib
import os.path as osp
import time
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmdet_mobilenext.datasets.generated_voc import generate_voc
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.test import test
from mmdet_mobilenext.engine.train import train

__all__ = ['make_overview', 'run_demo', 'settings_id']


def settings_id(cfg: Config) -> str:
    """Short name of everything that decides the result of a run.

    Args:
        cfg (Config): Config of the run.

    Returns:
        str: 8 hexadecimal digits.

    Example:
        >>> settings_id(Config(dict(a=1, work_dir='x'))) == settings_id(Config(dict(a=1)))
        True
    """
    settings = {k: v for k, v in cfg.to_dict().items() if k not in ('work_dir', 'launcher')}
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:8]


def make_overview(pictures: list[Path], target: Path, columns: int = 2, width: int = 480) -> None:
    """Put pictures side by side.

    Args:
        pictures (list[Path]): Image files.
        target (Path): Image file to write.
        columns (int): Pictures in a row. Defaults to 2.
        width (int): Width of each picture in pixels. Defaults to 480.
    """
    rows = []
    for start in range(0, len(pictures), columns):
        tiles = []
        for path in pictures[start : start + columns]:
            image = mmcv.imread(path)
            height = round(image.shape[0] * width / image.shape[1])
            tiles.append(mmcv.imresize(image, (width, height)))
        height = max(tile.shape[0] for tile in tiles)
        tiles += [np.full((1, width, 3), 255, np.uint8)] * (columns - len(tiles))
        white = (255, 255, 255)
        tiles = [mmcv.impad(tile, shape=(height, width), pad_val=white) for tile in tiles]
        rows.append(np.hstack(tiles))
    mmcv.imwrite(np.vstack(rows), str(target))


def run_demo(
    config: str,
    work_dir: str | None = None,
    data_root: str | None = None,
    seed: int = 0,
    num_pictures: int = 24,
    cfg_options: dict | None = None,
) -> dict[str, float]:
    """Run the demo. A second call with the same settings finds the data and
    the trained detector and only tests; after a kill it goes on.

    Args:
        config (str): Config file of the demo.
        work_dir (str, optional): Folder of logs, checkpoints and pictures.
            Defaults to ``work_dirs/{config name}-{settings}``.
        data_root (str, optional): Where the data is or will be made. Defaults
            to the config's.
        seed (int): Seed of data and training. Defaults to 0.
        num_pictures (int): Test images to draw. Defaults to 24.
        cfg_options (dict, optional): Overrides of the config.

    Returns:
        dict[str, float]: Metrics of the held-out split, in 0..1.

    Raises:
        OptionError: If the config is not made for generated data.
    """
    start = time.time()
    options = dict(cfg_options or {}, **{'randomness.seed': seed})
    if data_root is not None:
        options['data_root'] = data_root
    cfg = load_config(config, options)
    if work_dir is None:
        cfg.work_dir = f'{cfg.work_dir}-{settings_id(cfg)}'
    else:
        cfg.work_dir = work_dir
    if 'generated_splits' not in cfg:
        raise OptionError(
            f'{config} does not say how many images to generate: inherit from '
            'configs/_base_/datasets/generated_voc_ssd128.py, or use tools/train.py'
        )
    _say('1/4', f'data: {cfg.data_root}')
    generate_voc(cfg.data_root, splits=dict(cfg.generated_splits), seed=seed)

    _say('2/4', f'training: {config}, logs in {cfg.work_dir}')
    train(cfg.copy(), resume='auto')

    _say('3/4', 'testing on the held-out split, 4/4 drawing')
    checkpoint = Path(cfg.work_dir, 'last_checkpoint').read_text().strip()
    pictures = osp.abspath(osp.join(cfg.work_dir, 'pictures'))
    cfg.default_hooks.visualization.update(max_pictures=num_pictures)
    metrics = test(cfg, checkpoint, show_dir=pictures)
    drawn = sorted(p for p in Path(pictures).glob('*.jpg') if p.name != 'overview.jpg')
    if drawn:
        make_overview(drawn[:12], Path(pictures, 'overview.jpg'))

    logger = MMLogger.get_current_instance()
    logger.info(
        f'demo finished in {(time.time() - start) / 60:.1f} minutes: 11-point mAP '
        f'{metrics["pascal_voc/mAP"]:.3f} on the held-out split'
    )
    logger.info(f'ground truth (left) and detections (right): {pictures}')
    logger.info(f'checkpoint: {checkpoint}')
    return metrics


def _say(step: str, text: str) -> None:
    print(f'\n[{step}] {text}', flush=True)
