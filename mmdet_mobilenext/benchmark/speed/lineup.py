# SPDX-License-Identifier: Apache-2.0
"""Which candidates are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger

from ..errors import BenchmarkError
from .candidate import CandidateSpec, CandidateState, Settings, names_in_common
from .config_edits import find
from .mmdet_candidate import MMDetCandidate
from .torchvision_candidate import TorchvisionCandidate, torchvision_problem

__all__ = ['be_quiet', 'build_candidate', 'choose', 'reference_entries', 'share_images']

STOCK = 'stock mmdet SSDLite MobileNetV2'
REFERENCE_PIPELINE = 'reference_train_pipeline'
"""Variable of a config with the pipeline that its own one is to equal."""


def be_quiet() -> None:
    """Keep mmengine from telling how each weight is initialized.

    Example:
        >>> be_quiet()
    """
    if not MMLogger.check_instance_created('benchmark'):
        MMLogger.get_instance('benchmark', log_level='WARNING')


def build_candidate(spec: CandidateSpec, settings: Settings) -> CandidateState:
    """A candidate; data sets and model are built when they are needed.

    Args:
        spec (CandidateSpec): How to build it.
        settings (Settings): Shared settings.

    Returns:
        CandidateState: Of MMDetection, or of torchvision if its config is ``torchvision``.

    Example:
        >>> build_candidate(CandidateSpec('tv', 'torchvision'), Settings('data')).input_size
        (320, 320)
    """
    kind = TorchvisionCandidate if spec.config == 'torchvision' else MMDetCandidate
    return kind(spec, settings)


def choose(
    configs: Sequence[str], folder: Path, stock: bool = True
) -> tuple[list[CandidateSpec], list[str]]:
    """The candidates of a command line.

    Args:
        configs (Sequence[str]): Configs of the user; none for the usual comparison.
        folder (Path): ``configs`` of the project.
        stock (bool): Whether stock SSDLite is the baseline. Defaults to True.

    Returns:
        tuple[list[CandidateSpec], list[str]]: Candidates, the baseline first, and a line for each
            that is left out.

    Raises:
        BenchmarkError: If two have the same name, or there is none.

    Example:
        >>> [spec.name for spec in choose(['a/mine.py'], Path('configs'), stock=False)[0]]
        ['mine']
    """
    specs, left_out = [], []
    if stock:
        path = folder / 'benchmark' / 'stock_ssdlite_mobilenetv2_voc07.py'
        specs.append(CandidateSpec(STOCK, str(path)))
    if configs:
        specs += [CandidateSpec(Path(c.split('::')[-1]).stem, c) for c in configs]
    else:
        for name, file in (
            ('ours MobileNetV2', 'ssdlite_mobilenetv2_voc07.py'),
            ('ours MobileNeXt', 'ssdlite_mobilenext_voc07.py'),
        ):
            specs.append(CandidateSpec(name, str(folder / file)))
        problem = torchvision_problem()
        name = 'torchvision SSDLite320 MobileNetV3-Large'
        if problem is None:
            specs.append(CandidateSpec(name, 'torchvision'))
        else:
            left_out.append(f'{name} is left out: {problem}')
    twice = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
    if twice:
        raise BenchmarkError(
            f'candidates are named by their config file, but {twice} is there twice'
        )
    if not specs:
        raise BenchmarkError('there is nothing to time: give a config, or leave out --no-stock')
    return specs, left_out


def reference_entries(specs: Sequence[CandidateSpec]) -> list[CandidateSpec]:
    """An entry for loading alone of each different reference pipeline.

    Args:
        specs (Sequence[CandidateSpec]): Candidates.

    Returns:
        list[CandidateSpec]: Of the configs that have a ``reference_train_pipeline``, or whose
            training pipeline is ``fused`` and can be told not to be; one of those that have the
            same pipeline.

    Example:
        >>> reference_entries([CandidateSpec('tv', 'torchvision')])
        []
    """
    found, seen = [], []
    for spec in specs:
        if not Path(spec.config).is_file():
            continue
        try:
            cfg = Config.fromfile(spec.config)
        except Exception:  # told when the candidate itself is built
            continue
        pipeline, options = cfg.get(REFERENCE_PIPELINE), dict(pipeline=REFERENCE_PIPELINE)
        if pipeline is None:
            own = find(cfg.get('train_dataloader'), 'pipeline')
            if not find(own, 'fused'):
                continue
            pipeline, options = own, dict(fused=False)
        if pipeline not in seen:
            seen.append(pipeline)
            name = f'{spec.name}, reference pipeline'
            found.append(replace(spec, name=name, tasks=('load',), **options))
    return found


def share_images(candidates: Sequence[CandidateState]) -> list[str]:
    """Let all candidates use the same images in the same order.

    A candidate whose data sets cannot be built is passed over: it fails in its tasks, where the
    error is told.

    Args:
        candidates (Sequence[CandidateState]): Changed in place.

    Returns:
        list[str]: What could not be done, a line each.
    """
    lines = []
    for train, split in ((True, 'training'), (False, 'test')):
        able = []
        for candidate in candidates:
            try:
                candidate.paths(train)
            except Exception:  # told when a task needs the data
                continue
            able.append(candidate)
        names = names_in_common(able, train)
        if able and not names:
            lines.append(
                f'the candidates have no {split} images in common: each uses its own, so their '
                'times of loading cannot be compared'
            )
        for candidate in able:
            candidate.shared[train] = names or None
    return lines
