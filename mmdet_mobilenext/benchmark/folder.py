# SPDX-License-Identifier: Apache-2.0
"""The folder of a comparison: what lies where, and what may be gone on with.

``DIR/benchmark.json`` says of which configs, data and code the runs are, ``DIR/runs/NAME/seedN``
holds each run with its log, checkpoints and ``predictions.npz``, ``DIR/profile`` what was measured
of the cost, ``DIR/report`` the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .errors import MixedRunsError
from .exported_file import weights_digest
from .fingerprint import (
    code_fingerprint,
    config_digest,
    differences,
    file_digests,
)
from .plan import Plan

__all__ = ['RunFolder', 'prepare_folder', 'read_json', 'stamp', 'write_json']

FORMAT = 1


def write_json(content: Any, path: Path) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        content (Any): What ``json`` can write, without NaN.
        path (Path): File to write.
    """
    AtomicLocalBackend().put_text(json.dumps(content, indent=2, allow_nan=False) + '\n', path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path (Path): File to read.

    Returns:
        Any: Its content, or None if there is no such file.

    Raises:
        MixedRunsError: If it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise MixedRunsError(
            f'{path} is damaged ({error}). It says what the files beside it are: remove its '
            'folder, or choose another --work-dir'
        ) from error


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Attributes:
        path (Path): The folder.
        model (str): Name of the model.
        seed (int): Training seed.
    """

    path: Path
    model: str
    seed: int

    @classmethod
    def at(cls, path: Path) -> RunFolder:
        """The folder that :func:`prepare_folder` made at a place.

        Args:
            path (Path): ``DIR/runs/NAME/seedN``.

        Returns:
            RunFolder: With model and seed from its name.
        """
        return cls(path, path.parent.name, int(path.name.removeprefix('seed')))

    @property
    def title(self) -> str:
        """str: Name for people."""
        return f'{self.model} seed {self.seed}'

    @property
    def config(self) -> Path:
        """Path: The resolved config."""
        return self.path / 'config.py'

    @property
    def task(self) -> Path:
        """Path: What is to be done, see :func:`prepare_folder`."""
        return self.path / 'run.json'

    @property
    def predictions(self) -> Path:
        """Path: Detections on the test set."""
        return self.path / 'predictions.npz'

    @property
    def trained(self) -> Path:
        """Path: Written when training has ended; names the checkpoint."""
        return self.path / 'trained.json'

    @property
    def done(self) -> Path:
        """Path: Written at the very end."""
        return self.path / 'done.json'

    @property
    def progress(self) -> Path:
        """Path: How far the run is, see ``ProgressFileHook``."""
        return self.path / 'progress.json'

    @property
    def log(self) -> Path:
        """Path: What the process printed."""
        return self.path / 'log.txt'

    def checkpoint(self) -> str | None:
        """The weights that are tested, relative names taken from the folder.

        Returns:
            str | None: None before training has ended.
        """
        task, trained = read_json(self.task) or {}, read_json(self.trained) or {}
        if task.get('checkpoint'):
            return task['checkpoint']
        name = trained.get('checkpoint')
        return None if name is None else str(self.path / name)


def prepare_folder(plan: Plan) -> list[RunFolder]:
    """Make the folder, or find out whether what is in it may be gone on with.

    Args:
        plan (Plan): What is to be run.

    Returns:
        list[RunFolder]: A folder for each model and seed.

    Raises:
        MixedRunsError: If it holds runs of other configs, data or code; says what differs.
    """
    manifest_path = plan.folder / 'benchmark.json'
    manifest = read_json(manifest_path)
    now: dict[str, Any] = dict(
        format=FORMAT,
        protocol=plan.protocol(),
        data=plan.data,
        code=plan.code,
        models={
            model.name: dict(
                config=model.config,
                settings=model.settings(),
            )
            for model in plan.models
        },
    )
    if _has_results(plan.folder):
        if manifest is None:
            raise MixedRunsError(
                f'{plan.folder} holds runs, but no {manifest_path.name} that says of what: choose '
                'another --work-dir, or remove the folder'
            )
        _refuse_other(manifest, now, plan.folder)
        now['models'] = {**manifest['models'], **now['models']}
    write_json(now, manifest_path)

    folders = []
    for model in plan.models:
        for position, seed in enumerate(plan.seeds):
            folder = RunFolder(plan.folder / 'runs' / model.name / f'seed{seed}', model.name, seed)
            checkpoint = model.checkpoints[position] if model.checkpoints else None
            _prepare_run(folder, model.cfg, checkpoint, plan.code['digest'])
            folders.append(folder)
    return folders


def _has_results(folder: Path) -> bool:
    """Whether any run has left something that could be mixed up."""
    names = ('*.pth', 'last_checkpoint', 'trained.json', 'predictions.npz')
    return any(next(folder.glob(f'runs/*/seed*/{name}'), None) for name in names)


def stamp(cfg: Config) -> dict[str, str]:
    """What a run is of, as the run itself finds it when it starts.

    Args:
        cfg (Config): The resolved config of the run, with its seed.

    Returns:
        dict[str, str]: ``config`` and ``code`` digests.
    """
    return dict(config=config_digest(cfg), code=code_fingerprint()['digest'])


def _refuse_other(before: Mapping, now: Mapping, folder: Path) -> None:
    if before.get('format') != now['format']:
        raise MixedRunsError(
            f'{folder} was written in format {before.get("format")}, this version writes '
            f'{now["format"]}: choose another --work-dir'
        )
    found = []
    for part in ('code', 'protocol'):
        found += [f'{part}: {line}' for line in differences(before[part], now[part])]
    for role in sorted({*before['data'], *now['data']}):
        old, new = before['data'].get(role) or {}, now['data'].get(role) or {}
        if old and new:
            found += [f'{role} data: {line}' for line in differences(old, new)]
    for name, model in now['models'].items():
        old_model = before['models'].get(name)
        if old_model is not None:
            lines = differences(old_model['settings'], model['settings'])
            found += [f'config {name}: {line}' for line in lines]
    if found:
        raise MixedRunsError(
            f'{folder} holds runs that cannot be compared with what is asked for now:\n  '
            + '\n  '.join(found)
            + '\nChoose another --work-dir, undo the change, or remove the folder'
        )


def _prepare_run(folder: RunFolder, cfg: Config, checkpoint: str | None, code_digest: str) -> None:
    task: dict[str, Any] = dict(seed=folder.seed, checkpoint=None, checkpoint_sha256=None)
    task['files'] = file_digests(cfg)
    if checkpoint is not None:
        task['checkpoint'] = str(Path(checkpoint).resolve())
        task['checkpoint_sha256'] = weights_digest(checkpoint)
    before = read_json(folder.task)
    if before is not None:
        keys = ('seed', 'checkpoint_sha256')
        changed = differences({k: before[k] for k in keys}, {k: task[k] for k in keys})
        if changed and (folder.predictions.exists() or folder.trained.exists()):
            raise MixedRunsError(
                f'{folder.path} was made from another checkpoint: {"; ".join(changed)}. Choose '
                'another --work-dir, or remove that folder'
            )
    elif folder.predictions.exists() or folder.trained.exists():
        raise MixedRunsError(
            f'{folder.path} holds a run, but no {folder.task.name} that says of what: remove it'
        )
    cfg = Config(cfg.to_dict())
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=folder.seed)
    now = dict(config=config_digest(cfg), code=code_digest)
    for marker in (folder.trained, folder.done):
        found = (read_json(marker) or {}).get('stamp')
        if found is not None and found != now:
            raise MixedRunsError(
                f'{folder.path} was run with other settings or code than this folder is of now: '
                f'{"; ".join(differences(found, now))}. Remove it, and it is run again'
            )
    AtomicLocalBackend().put_text(cfg.dump(), folder.config)
    write_json(task, folder.task)
