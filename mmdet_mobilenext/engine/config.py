# SPDX-License-Identifier: Apache-2.0
"""From a config file and command-line options to the config of a run."""

from __future__ import annotations

import os.path as osp
from collections.abc import Mapping, Sequence

from mmengine.config import Config

from mmdet_mobilenext.config_files import resolve_config

from .environment import OptionError
from .fragments import merge_fragments

__all__ = ['hooks_of_type', 'load_config', 'set_data_root']


def hooks_of_type(cfg: Mapping, name: str) -> list[dict]:
    """Configs of a hook, among the default and the custom ones.

    Args:
        cfg (Mapping): Config of a run.
        name (str): Type of the hook.

    Returns:
        list[dict]: Parts of ``cfg``, not copies; empty if it has no such hook.

    Example:
        >>> hooks_of_type(dict(custom_hooks=[dict(type='EMAHook')]), 'EMAHook')
        [{'type': 'EMAHook'}]
    """
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    return [hook for hook in hooks if hook and hook.get('type') == name]


def load_config(
    path: str,
    cfg_options: Mapping | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
    import_custom_modules: bool = True,
    fragments: Sequence[str] = (),
    fragment_folder: str = '',
) -> Config:
    """Load a config and put the command line on top.

    Args:
        path (str): Config file, or ``package::file`` of an installed package.
        cfg_options (Mapping, optional): Overrides. ``data_root`` also reaches
            the data sets, where mmengine alone would only change the variable.
        work_dir (str, optional): Folder of logs and checkpoints. Defaults to
            the config's own or ``work_dirs/{config name}``.
        launcher (str): ``none``, ``pytorch``, ``slurm`` or ``mpi``.
            Defaults to ``'none'``.
        import_custom_modules (bool): Import what the config asks for.
            Defaults to True.
        fragments (Sequence[str]): Fragments between the config and the overrides, see
            :func:`~.fragments.merge_fragments`. Defaults to none.
        fragment_folder (str): Folder of named fragments. Defaults to ``''``.

    Returns:
        Config: Ready for a runner.

    Raises:
        FileNotFoundError: If there is no such config file.
        OptionError: If ``data_root`` cannot move all data sets, or a fragment does not exist or
            contradicts another one.
    """
    path = resolve_config(path)
    if not osp.isfile(path):
        raise FileNotFoundError(f'no config file {path!r}: configs are in configs/')
    cfg = Config.fromfile(path, import_custom_modules=import_custom_modules)
    old_root = cfg.get('data_root')
    merge_fragments(cfg, fragments, fragment_folder)
    if cfg_options:
        cfg.merge_from_dict(dict(cfg_options))
    if cfg.get('data_root') != old_root:
        set_data_root(cfg, old_root, cfg.data_root)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(path))[0])
    cfg.launcher = launcher
    return cfg


def set_data_root(cfg: Config, old: str | None, new: str) -> None:
    """Move all data sets of a config, and annotation files of evaluators, to another root.

    Args:
        cfg (Config): Changed in place.
        old (str, optional): Root that is replaced; None replaces any.
        new (str): Root that replaces it.

    Raises:
        OptionError: If a data set has a root of its own, which stays as it is.

    Example:
        >>> cfg = Config(dict(test_dataloader=dict(dataset=dict(data_root='a'))))
        >>> set_data_root(cfg, 'a', 'b')
        >>> cfg.test_dataloader.dataset.data_root
        'b'
    """
    others = {}

    def visit(node: object, path: str) -> None:
        if isinstance(node, dict):
            root = node.get('data_root')
            if root is not None and root != new:
                if old is None or root == old:
                    node['data_root'] = new
                else:
                    others[path] = root
            for key, value in node.items():
                visit(value, f'{path}.{key}')
        elif isinstance(node, (list, tuple)):
            for index, value in enumerate(node):
                visit(value, f'{path}.{index}')

    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        visit(cfg.get(key), key)
    for key in ('val_evaluator', 'test_evaluator'):
        metrics = cfg.get(key) or []
        for metric in [metrics] if isinstance(metrics, dict) else metrics:
            # COCO's metric reads the annotations once more
            path = metric.get('ann_file')
            if path and old and osp.join(path, '').startswith(osp.join(old, '')):
                metric['ann_file'] = osp.join(new, osp.relpath(path, old))
    if others:
        raise OptionError(
            f'data_root={new!r} replaces {old!r}, but these data sets have a root of their own: '
            + ', '.join(f'{path}.data_root={root!r}' for path, root in others.items())
            + '; override them by these names as well'
        )
