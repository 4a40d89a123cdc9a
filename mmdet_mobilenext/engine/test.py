# SPDX-License-Identifier: Apache-2.0
"""Testing: the work behind ``tools/test.py``."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence

from mmdet.evaluation import DumpDetResults
from mmengine.config import Config, ConfigDict

from mmdet_mobilenext.datasets.checks import check_dataset_cfgs

from .class_checks import check_num_classes
from .environment import OptionError, check_environment
from .model_checks import build_model, check_weights, settle_strict_load
from .train import build_runner, check_load_from

__all__ = ['check_outputs', 'run_test', 'test']


def test(
    cfg: Config,
    checkpoint: str,
    out: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
) -> dict[str, float]:
    """Test a detector.

    Args:
        cfg (Config): Config of the run, see :func:`load_config`.
        checkpoint (str): Weights, which must match key by key.
        out (str, optional): Pickle file for the predictions.
        show_dir (str, optional): Folder for pictures of ground truth (left)
            and predictions (right).
        tta (bool): Test-time augmentation: the image and its mirror image.
            Defaults to False.

    Returns:
        dict[str, float]: Metrics, such as ``pascal_voc/mAP`` in 0..1.

    Raises:
        OptionError: For an ``out`` that is no pickle file, a config without
            ``tta_model``, or ``show_dir`` without a ``PictureHook``.
        CheckpointKeyError, DataCheckError, EnvironmentCheckError, FileNotFoundError: Before any
            work.
    """
    if tta and not ('tta_model' in cfg and 'tta_pipeline' in cfg):
        raise OptionError('--tta needs tta_model and tta_pipeline in the config')
    check_outputs(cfg, out, show_dir)
    cfg.load_from = checkpoint
    cfg.resume = False
    check_environment(cfg)
    check_load_from(checkpoint)
    check_num_classes(cfg, ('test',))
    check_dataset_cfgs(cfg, roles=('test',)).raise_if_bad()
    if settle_strict_load(cfg):
        check_weights(build_model(cfg), checkpoint)
    if tta:
        cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    return run_test(cfg, out, show_dir)


def check_outputs(cfg: Config, out: str | None, show_dir: str | None) -> None:
    """Check what a test shall leave behind.

    Args:
        cfg (Config): Config of the run.
        out (str, optional): Pickle file for the predictions.
        show_dir (str, optional): Folder for pictures.

    Raises:
        OptionError: For an ``out`` that is no pickle file, or ``show_dir`` without a
            ``PictureHook``.

    Example:
        >>> check_outputs(Config(), 'found.pkl', None)
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise OptionError(f'--out must be a .pkl or .pickle file, but received {out!r}')
    drawing = cfg.get('default_hooks', {}).get('visualization') or {}
    if show_dir is not None and drawing.get('type') not in ('PictureHook', 'DetVisualizationHook'):
        raise OptionError(
            '--show-dir draws the boxes of a detector: it needs default_hooks.visualization of '
            f'type PictureHook, but it is {drawing.get("type")!r}'
        )


def run_test(
    cfg: Config, out: str | None, show_dir: str | None, notes: Sequence[str] = ()
) -> dict[str, float]:
    """Test with a config that is checked.

    Args:
        cfg (Config): Config of the run, changed in place.
        out (str, optional): Pickle file for the predictions.
        show_dir (str, optional): Folder for pictures.
        notes (Sequence[str]): Warnings to begin with. Defaults to none.

    Returns:
        dict[str, float]: Metrics.
    """
    if show_dir is not None:
        # Absolute: mmdet's hook joins a relative folder anew for every batch.
        cfg.default_hooks.visualization.update(
            draw=True, test_out_dir=osp.abspath(show_dir), score_thr=0.3
        )
    runner = build_runner(cfg)
    for note in notes:
        runner.logger.warning(note)
    if out is not None:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
    metrics = runner.test()
    if show_dir is not None and runner.rank == 0:
        runner.logger.info(f'pictures are in {osp.abspath(show_dir)}')
    return metrics
