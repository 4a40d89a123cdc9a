# SPDX-License-Identifier: Apache-2.0
"""Exported files that take part in a comparison beside configs, on the data of the baseline."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.engine.test_exported import exported_config, is_exported
from mmdet_mobilenext.evaluation.exported_detector import ExportedDetector
from mmdet_mobilenext.runtime import Detector, ModelSpec
from mmdet_mobilenext.runtime.backends import model_files

from .errors import BenchmarkError

__all__ = [
    'ExportedFile',
    'check_competitors',
    'exported_cost',
    'load_exported',
    'open_exported',
    'test_config',
    'weights_digest',
]

FORMATS = {'.onnx': 'ONNX', '.xml': 'OpenVINO', '.param': 'ncnn'}
# Of the baseline's config; the rest is about training.
_FOR_TESTING = (
    'custom_imports',
    'data_check',
    'default_hooks',
    'default_scope',
    'env_cfg',
    'log_level',
    'log_processor',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'vis_backends',
    'visualizer',
)


@dataclass(frozen=True)
class ExportedFile:
    """An exported file, and what says whether it is the same one again.

    Attributes:
        path (str): The file.
        backend (str): What runs it.
        spec (ModelSpec): What it says of itself.
        files (dict[str, tuple[int, str]]): Bytes and SHA-256 of it and of those that belong to it,
            by name.
    """

    path: str
    backend: str
    spec: ModelSpec
    files: dict[str, tuple[int, str]]

    @property
    def runtime(self) -> str:
        """str: Backend and its version."""
        try:
            return f'{self.backend} {version(self.backend)}'
        except PackageNotFoundError:  # a wheel of another name
            return self.backend

    def settings(self) -> dict[str, str]:
        """What decides its predictions, as lines of a fingerprint.

        Returns:
            dict[str, str]: By name.
        """
        files = {f'file {name}': f'sha256 {digest}' for name, (_, digest) in self.files.items()}
        return {**files, 'runtime': self.runtime}

    def record(self) -> dict[str, Any]:
        """What the results tell of it.

        Returns:
            dict[str, Any]: See ``docs/results_schema.md``.
        """
        spec = self.spec
        return dict(
            format=FORMATS[Path(self.path).suffix.lower()],
            runtime=self.runtime,
            precision=spec.precision,
            kind=spec.kind,
            thresholds=dict(
                score_thr=spec.score_thr, iou_thr=spec.iou_thr, max_per_img=spec.max_per_img
            ),
            files=[
                dict(name=name, bytes=size, sha256=digest)
                for name, (size, digest) in self.files.items()
            ],
            provenance=copy.deepcopy(spec.provenance),
        )


def check_competitors(paths: Sequence[str], files: Collection[str], seeds: Sequence[int]) -> None:
    """An exported file is no baseline, and of one training.

    Args:
        paths (Sequence[str]): Configs and exported files, the baseline first.
        files (Collection[str]): Those that are exported.
        seeds (Sequence[int]): Training seeds.

    Raises:
        BenchmarkError: If the first is a file, or there are files and several seeds.

    Example:
        >>> check_competitors(['a.py', 'a.onnx'], ['a.onnx'], [0])
    """
    if paths[0] in files:
        raise BenchmarkError(
            f'{paths[0]} is an exported file, but the first must be a config: its data is what all '
            'are tested on'
        )
    if files and len(seeds) > 1:
        raise BenchmarkError(
            f'{", ".join(files)}: an exported file is of one training, and cannot be compared with '
            f'the seeds {list(seeds)}: compare it with one seed'
        )


def open_exported(path: str | os.PathLike) -> ExportedFile:
    """Look at an exported file.

    Args:
        path (str | PathLike): File of ``tools/export.py``.

    Returns:
        ExportedFile: Loaded once, so it can be run.

    Raises:
        FileNotFoundError, ModelFileError, RuntimeMissingError: See
            :class:`~mmdet_mobilenext.runtime.Detector`.

    Example:
        >>> open_exported('nothing.onnx')
        Traceback (most recent call last):
        ...
        FileNotFoundError: no exported model 'nothing.onnx': tools/export.py writes one
    """
    path = os.fspath(path)
    detector = Detector(path, threads=1)
    files = {part.name: (part.stat().st_size, sha256_of(part)) for part in model_files(path)}
    return ExportedFile(path, detector.backend, detector.spec, files)


def weights_digest(path: str | os.PathLike) -> str:
    """Fingerprint of a checkpoint, or of an exported file with those that belong to it.

    Args:
        path (str | PathLike): Checkpoint or exported file.

    Returns:
        str: SHA-256; of the SHA-256s if there are several files.

    Example:
        >>> len(weights_digest(__file__))
        64
    """
    parts = model_files(path) if is_exported(path) else [Path(path)]
    digests = [sha256_of(part) for part in parts]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256(''.join(digests).encode()).hexdigest()
    )


def test_config(baseline: Config, file: ExportedFile) -> Config:
    """The config of a run that tests a file on the data of a baseline.

    Args:
        baseline (Config): Config of a detector; not changed.
        file (ExportedFile): The file.

    Returns:
        Config: Data, pipeline and metric of the baseline, nothing of its training, and the file in
        the place of the model, without its path.

    Raises:
        ExportError, OptionError: If file and data do not go together, see
            :func:`~mmdet_mobilenext.engine.test_exported.exported_config`.
    """
    cfg, notes = exported_config(baseline, file.path, file.backend)
    for note in notes:
        print(note, flush=True)
    kept = {key: value for key, value in cfg.to_dict().items() if key in _FOR_TESTING}
    model = dict(type='ExportedDetector', backend=file.backend)
    return Config(dict(kept, model=model), filename=baseline.filename)


def load_exported(config: str, path: str) -> tuple[Config, ExportedDetector]:
    """The detector of an exported file, with as many threads as PyTorch has here.

    Args:
        config (str): Config file of :func:`test_config`.
        path (str): The file.

    Returns:
        tuple[Config, ExportedDetector]: Config and detector.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    return cfg, MODELS.build(dict(cfg.model, path=path)).eval()


def exported_cost(model: ExportedDetector) -> dict[str, Any]:
    """What a file costs before it runs.

    Args:
        model (ExportedDetector): The detector of the file.

    Returns:
        dict[str, Any]: As that of a config; ``checkpoint_mb`` is the size of the files, and
        parameters and multiply-adds are not counted.
    """
    size = sum(part.stat().st_size for part in model_files(model.detector.path))
    width, height = model.detector.size
    return dict(parameters=None, madds=None, checkpoint_mb=size / 1e6, input_size=[height, width])
