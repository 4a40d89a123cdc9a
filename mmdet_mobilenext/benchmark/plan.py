# SPDX-License-Identifier: Apache-2.0
"""From the command line to a list of runs that can be compared, checked before any work."""

from __future__ import annotations

import itertools
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_mobilenext.checkpoints.safe_loading import fetch_checkpoint
from mmdet_mobilenext.datasets.generated_voc import generate_voc
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.initial_weights import from_scratch_message, settle_weights
from mmdet_mobilenext.engine.test_exported import is_exported

from .config_checks import check_config, check_written_config
from .errors import BenchmarkError
from .exported_file import ExportedFile, check_competitors, open_exported, test_config
from .fingerprint import (
    code_fingerprint,
    config_digest,
    data_classes,
    data_fingerprint,
    file_digests,
    flatten_config,
)

__all__ = ['ModelPlan', 'Plan', 'make_plan']


@dataclass(frozen=True)
class ModelPlan:
    """A config or an exported file that takes part.

    Attributes:
        name (str): Name in tables and folders, unique.
        config (str): Config file, or the exported one.
        cfg (Config): Resolved, without a seed.
        digest (str): Fingerprint of ``cfg``.
        checkpoints (tuple[str, ...]): One for each seed; empty if it is trained.
        exported (ExportedFile, optional): The exported file.
    """

    name: str
    config: str
    cfg: Config
    digest: str
    checkpoints: tuple[str, ...] = ()
    exported: ExportedFile | None = None

    @property
    def backbone(self) -> str:
        """str: Type of the backbone."""
        if self.exported is not None:
            return str(self.exported.spec.provenance.get('backbone') or 'unknown backbone')
        return str((self.cfg.model.get('backbone') or {}).get('type', self.cfg.model.type))

    def settings(self) -> dict[str, str]:
        """What decides its runs, by name.

        Returns:
            dict[str, str]: Leaves of the config, and fingerprints of files.
        """
        files = self.exported.settings() if self.exported else file_digests(self.cfg)
        return {**flatten_config(self.cfg), **files}


@dataclass(frozen=True)
class Plan:
    """Everything that is run and compared.

    Attributes:
        models (tuple[ModelPlan, ...]): In the order of the command line.
        seeds (tuple[int, ...]): Training seeds, the same for all models.
        folder (Path): Where all of it is written.
        data (dict): Fingerprints of ``test`` and, if trained, ``train`` data.
        code (dict): Versions, see :func:`code_fingerprint`.
        classes (tuple[str, ...]): Class names.
        launcher (str): ``'none'`` or ``'pytorch'``.
        processes (int): Processes of each run.
        threads (int): CPU threads of each process.
        cfg_options (dict): Overrides of all configs, as text.
    """

    models: tuple[ModelPlan, ...]
    seeds: tuple[int, ...]
    folder: Path
    data: dict[str, Any]
    code: dict[str, str]
    classes: tuple[str, ...]
    launcher: str = 'none'
    processes: int = 1
    threads: int = 1
    cfg_options: dict[str, str] = field(default_factory=dict)

    @property
    def trained_here(self) -> bool:
        """bool: Whether the detectors are trained by this comparison."""
        return not self.models[0].checkpoints

    def protocol(self) -> dict[str, Any]:
        """What else decides a result, beside configs, data and code.

        Returns:
            dict: ``trained_here``, ``launcher``, ``processes`` and ``threads``.
        """
        return dict(
            trained_here=self.trained_here,
            launcher=self.launcher,
            processes=self.processes,
            threads=self.threads,
        )


def make_plan(
    configs: Sequence[str],
    folder: str,
    seeds: Sequence[int] = (0,),
    checkpoints: Sequence[str] = (),
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    processes: int = 1,
    threads: int = 1,
) -> Plan:
    """Check everything that can be checked before the first run.

    A config with ``generated_splits`` has its data made here.

    Args:
        configs (Sequence[str]): At least two files: configs, the baseline first, and exported
            files, which are tested on the data of the baseline.
        folder (str): Where everything is written.
        seeds (Sequence[int]): Training seeds. Defaults to (0,).
        checkpoints (Sequence[str]): Trained weights instead of training: one for each config, or
            config by config one for each seed. Defaults to none.
        cfg_options (Mapping, optional): Overrides of all configs.
        launcher (str): ``'none'`` or ``'pytorch'``. Defaults to ``'none'``.
        processes (int): Processes of each run. Defaults to 1.
        threads (int): CPU threads of each process. Defaults to 1.

    Returns:
        Plan: Ready to run.

    Raises:
        BenchmarkError: If something about the comparison cannot be; the config is named.
        CheckpointKeyError: If a checkpoint does not fill its model.
        DataCheckError: If a data set has an error.
        FileNotFoundError: If a file is missing.
    """
    if len(configs) < 2:
        raise BenchmarkError(
            'a comparison needs two configs or more, or a config and an exported file, but '
            f'received {list(configs)}: to train or test a single one use tools/train.py and '
            'tools/test.py'
        )
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise BenchmarkError(f'seeds must be different and not negative, but are {list(seeds)}')
    names = unique_names(configs)
    files = {path: open_exported(path) for path in configs if is_exported(path)}
    check_competitors(configs, files, seeds)
    order, configs = list(configs), [path for path in configs if path not in files]
    if checkpoints and len(checkpoints) != len(configs) * len(seeds):
        raise BenchmarkError(
            f'{len(configs)} configs and {len(seeds)} seeds need {len(configs) * len(seeds)} '
            f'checkpoints, config by config, but received {len(checkpoints)}'
        )
    checkpoints = [fetch_checkpoint(path) if '://' in path else path for path in checkpoints]
    options = dict(cfg_options or {})
    loaded = [load_config(path, options) for path in configs]
    for path, cfg in zip(configs, loaded, strict=True):
        # now and for all seeds: weights that come later would make runs of two kinds
        if missing := settle_weights(cfg, trains=not checkpoints):
            title = f'{osp.basename(path)} STARTS FROM SCRATCH'
            print(from_scratch_message(missing, title), flush=True)
        _make_data(cfg)
    models, trained_on = [], {}
    given, weights = iter(loaded), iter(checkpoints)
    for name, path in zip(names, order, strict=True):
        if path in files:
            cfg, mine = test_config(loaded[0], files[path]), (path,)
            check_written_config(path, cfg)
        else:
            cfg, mine = next(given), tuple(itertools.islice(weights, len(seeds)))
            trained_on.update(check_config(path, cfg, mine))
        models.append(ModelPlan(name, path, cfg, config_digest(cfg), mine, files.get(path)))
    data = dict(test=_same_data(models, 'test'))
    if not checkpoints:
        data['train'] = _same_data([model for model in models if not model.exported], 'train')
    classes = data_classes(models[0].cfg)  # of all: they are part of the fingerprint
    for checkpoint, theirs in trained_on.items():
        if theirs is not None and theirs != classes:
            raise BenchmarkError(
                f'{checkpoint} was trained on the classes {theirs}, but the test set has '
                f'{classes}: the numbers of its labels would mean other things'
            )
    return Plan(
        models=tuple(models),
        seeds=tuple(seeds),
        folder=Path(folder),
        data=data,
        code=code_fingerprint(),
        classes=classes,
        launcher=launcher,
        processes=processes,
        threads=threads,
        cfg_options={key: str(value) for key, value in options.items() if key != 'data_root'},
    )


def unique_names(configs: Sequence[str]) -> list[str]:
    """Names of configs: their file names, numbered where one appears again.

    Args:
        configs (Sequence[str]): Config files, and exported ones, which keep their suffix.

    Returns:
        list[str]: Unique names.

    Example:
        >>> unique_names(['a/x.py', 'b/y.py', 'c/x.py', 'x.onnx'])
        ['x', 'y', 'x-2', 'x.onnx']
    """
    names: list[str] = []
    for path in configs:
        stem = name = osp.basename(path)
        if not is_exported(path):
            stem = name = osp.splitext(stem)[0]
        number = 1
        while name in names:
            number += 1
            name = f'{stem}-{number}'
        names.append(name)
    return names


def _make_data(cfg: Config) -> None:
    if cfg.get('generated_splits'):
        generate_voc(cfg.data_root, splits=dict(cfg.generated_splits), seed=0)


def _same_data(models: Sequence[ModelPlan], role: str) -> dict[str, Any]:
    """The fingerprint of a set, which all models must share."""
    found: dict[str, dict] = {}
    by_dataset: dict[str, dict] = {}
    for model in models:
        loader = model.cfg.get(f'{role}_dataloader') or {}
        key = repr(loader.get('dataset'))
        if key not in by_dataset:
            by_dataset[key] = data_fingerprint(model.cfg, role)
        found[model.name] = by_dataset[key]
    first = found[models[0].name]
    for name, fingerprint in found.items():
        if fingerprint != first:
            raise BenchmarkError(
                f'configs are compared on the same {role} data, but that of {models[0].name} has '
                f'{first} and that of {name} {fingerprint}'
            )
    return first
