# SPDX-License-Identifier: Apache-2.0
"""Testing of exported files, with the data, the pipeline and the metric of a config."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

from mmengine.config import Config, ConfigDict

from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
from mmdet_mobilenext.runtime import Detector, ModelSpec
from mmdet_mobilenext.runtime.backends import backends_of

from .class_checks import classes_of_data
from .environment import OptionError, check_environment
from .test import check_outputs, run_test

__all__ = ['exported_config', 'is_exported', 'test_exported']


def is_exported(path: str | os.PathLike) -> bool:
    """Whether a file is an exported one by its name.

    Args:
        path (str | PathLike): File.

    Returns:
        bool: Whether a backend of the runtime takes files of this suffix.

    Example:
        >>> is_exported('model.onnx'), is_exported('epoch_12.pth')
        (True, False)
    """
    return bool(backends_of(path))


def test_exported(
    cfg: Config,
    path: str | os.PathLike,
    backend: str | None = None,
    threads: int | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    role: str = 'test',
    tta: bool = False,
) -> dict[str, float]:
    """Test an exported file as :func:`~.test.test` tests a checkpoint.

    Args:
        cfg (Config): Config of the run, see :func:`load_config`; not changed. Its model is not
            built.
        path (str | PathLike): File of ``tools/export.py``.
        backend (str, optional): See :class:`~mmdet_mobilenext.runtime.Detector`.
        threads (int, optional): CPU threads. Defaults to those of PyTorch.
        out (str, optional): Pickle file for the predictions.
        show_dir (str, optional): Folder for pictures of ground truth (left) and predictions
            (right).
        role (str): Data, metric and pipeline to test with, ``'test'`` or ``'val'``. Defaults to
            ``'test'``.
        tta (bool): Refused, see Raises. Defaults to False.

    Returns:
        dict[str, float]: Metrics, such as ``pascal_voc/mAP`` in 0..1.

    Raises:
        OptionError: For ``tta``, which works on candidates before NMS; if file and data do not go
            together, see :func:`exported_config`; see :func:`~.test.check_outputs`.
        DataCheckError, EnvironmentCheckError, FileNotFoundError, ModelFileError,
            RuntimeMissingError, ValueError: Before any work.
    """
    if tta:
        raise OptionError(
            f'--tta cannot be done with {path}: it needs the candidates of the network before NMS; '
            'test the checkpoint'
        )
    cfg, notes = exported_config(cfg, path, backend, threads, role)
    check_outputs(cfg, out, show_dir)
    check_environment(cfg)
    check_dataset_cfgs(cfg, roles=('test',)).raise_if_bad()
    return run_test(cfg, out, show_dir, notes)


def exported_config(
    cfg: Config,
    path: str | os.PathLike,
    backend: str | None = None,
    threads: int | None = None,
    role: str = 'test',
) -> tuple[Config, list[str]]:
    """Put an exported file in the place of the model of a config.

    Args:
        cfg (Config): Config of the run; not changed.
        path (str | PathLike): File of ``tools/export.py``.
        backend (str, optional): See :class:`~mmdet_mobilenext.runtime.Detector`.
        threads (int, optional): CPU threads. Defaults to those of PyTorch.
        role (str): Data to test with, ``'test'`` or ``'val'``. Defaults to ``'test'``.

    Returns:
        tuple[Config, list[str]]: Config whose test loop runs the file on the data of the role, and
        what is to be said about it.

    Raises:
        ExportError: If the pipeline does to images what the runtime would not.
        OptionError: If the classes differ, or ``role`` is unknown.
        FileNotFoundError, ModelFileError, RuntimeMissingError, ValueError: See ``Detector``.
    """
    # export's modules import those of this package
    from mmdet_mobilenext.export.settings import input_size, test_transforms

    if role not in ('val', 'test'):
        raise OptionError(f"role must be 'val' or 'test', but received {role!r}")
    if threads is not None and threads < 1:
        raise OptionError(f'--threads must be at least 1, but received {threads}')
    path = os.fspath(path)
    spec = Detector(path, backend, threads or 1).spec
    cfg = copy.deepcopy(cfg)
    for part in ('dataloader', 'evaluator', 'cfg'):
        if cfg.get(f'{role}_{part}') is None:  # as configs without validation have it
            raise OptionError(f'the config has no {role}_{part}')
        cfg[f'test_{part}'] = copy.deepcopy(cfg[f'{role}_{part}'])
    if role == 'val':
        cfg.test_cfg = ConfigDict(type='TestLoop')
    _check_classes(cfg, path, spec)

    notes = _thresholds(cfg.model.get('test_cfg') or {}, path, spec)
    size = input_size(cfg)
    for transform in test_transforms(cfg):
        name = str(transform['type']).rsplit('.', 1)[-1]
        if name == 'Resize' and size != spec.size:
            transform['scale'] = spec.size
            notes.append(
                f'{path} was exported for {_by(spec.size)}: images are resized to that, not to '
                f'{_by(size)} as the config has it'
            )
    # weights have been averaged before they were exported
    cfg.custom_hooks = [h for h in cfg.get('custom_hooks') or [] if h.get('type') != 'EMAHook']
    for name, hook in list((cfg.get('default_hooks') or {}).items()):
        if hook and hook.get('type') == 'EMAHook':
            del cfg.default_hooks[name]
    cfg.model = ConfigDict(type='ExportedDetector', path=path, backend=backend, threads=threads)
    cfg.load_from, cfg.resume = None, False
    return cfg, notes


def _check_classes(cfg: Config, path: str, spec: ModelSpec) -> None:
    """Names and their order, since labels are indices."""
    known = list(classes_of_data(cfg, ('test',)))
    if not known:
        raise OptionError(
            f'{path} cannot be tested: the data set of the config does not tell its classes before '
            'it is read, and labels could not be compared; set metainfo.classes'
        )
    for title, classes in known:
        if classes == spec.classes:
            continue
        what = 'other classes'
        if sorted(classes) == sorted(spec.classes):
            what = 'its classes in another order'
        raise OptionError(
            f'{path} has {what} than the data set {title}: {_some(spec.classes)} and '
            f'{_some(classes)}; test it with the data that it was trained for'
        )


def _some(names: tuple[str, ...]) -> str:
    shown = ', '.join(names[:20]) + (', ...' if len(names) > 20 else '')
    return f'{len(names)} ({shown})'


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def _thresholds(test_cfg: Mapping, path: str, spec: ModelSpec) -> list[str]:
    """Where the file chooses detections in another way than the config."""
    nms = test_cfg.get('nms') or {}
    wanted = dict(
        score_thr=test_cfg.get('score_thr'),
        iou_thr=nms.get('iou_threshold'),
        max_per_img=test_cfg.get('max_per_img'),
    )
    others = [
        f'{name} {getattr(spec, name)} instead of {value}'
        for name, value in wanted.items()
        if value is not None and value != getattr(spec, name)
    ]
    if not others:
        return []
    return [f'{path} was exported with other thresholds than the config has: {", ".join(others)}']
