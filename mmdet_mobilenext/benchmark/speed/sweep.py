# SPDX-License-Identifier: Apache-2.0
"""What prediction costs as a setting of the model is swept.

``python -m mmdet_mobilenext.benchmark.speed.sweep SPEC.json OUT.json`` measures the memory of one
candidate, in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

# Before torch is loaded: threads that wait by spinning take the cores from others.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import torch
from mmengine.config import DictAction
from torch import Tensor, nn

from mmdet_mobilenext.engine.complexity import count_madds, count_parameters

from ..errors import BenchmarkError
from .candidate import CandidateSpec, CandidateState, Settings
from .exported import RUNTIMES, export_onnx, flat_tensors, run_checked
from .lineup import build_candidate, choose
from .memory import answer_parent, run_child
from .tasks import settled
from .timing import Series, as_series, run_rounds, timed
from .watch import SpeedBoard

__all__ = ['PARTS', 'SweepPlan', 'measure_sweep', 'parse_value', 'sweep_specs']

PARTS = ('detector', 'network', 'backbone')
"""``detector``: whole prediction with preprocessing, decoding and NMS; ``network``: from the
preprocessed images to class scores and box offsets; ``backbone``: to its features."""


@dataclass(frozen=True)
class SweepPlan:
    """What is measured of each candidate.

    Attributes:
        parts (tuple[str, ...]): Of :data:`PARTS`.
        runtimes (tuple[str, ...]): ``'eager'`` and any of :data:`RUNTIMES`. These run network
            and backbone; decoding and NMS are not exported.
        batch_sizes (tuple[int, ...]): Images of a batch. Defaults to (1, 8).
        rounds (int): Counted runs of each candidate. Defaults to 30.
        warm_up (int): Runs that are not counted. Defaults to 5.
        memory (bool): Whether peak memory is measured. Defaults to True.

    Raises:
        BenchmarkError: If a part or a runtime is unknown, or a number is out of range.

    Example:
        >>> [(p, r) for p, r, b in SweepPlan(runtimes=('eager', 'openvino')).groups() if b == 1]
        ... # doctest: +NORMALIZE_WHITESPACE
        [('detector', 'eager'), ('network', 'eager'), ('network', 'openvino'),
         ('backbone', 'eager'), ('backbone', 'openvino')]
    """

    parts: tuple[str, ...] = PARTS
    runtimes: tuple[str, ...] = ('eager',)
    batch_sizes: tuple[int, ...] = (1, 8)
    rounds: int = 30
    warm_up: int = 5
    memory: bool = True

    def __post_init__(self) -> None:
        for name, known in (('parts', PARTS), ('runtimes', ('eager', *RUNTIMES))):
            wrong = [value for value in getattr(self, name) if value not in known]
            if wrong:
                raise BenchmarkError(f'{name} must be of {known}, but received {wrong}')
        least = dict(rounds=1, warm_up=0)
        for name, value in least.items():
            if getattr(self, name) < value:
                raise BenchmarkError(
                    f'{name} must be at least {value}, but received {getattr(self, name)}'
                )
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise BenchmarkError(
                f'batch_sizes must be at least 1 each, but received {self.batch_sizes}'
            )

    def groups(self) -> list[tuple[str, str, int]]:
        """Parts, runtimes and batch sizes whose candidates are timed in turn."""
        return [
            (part, runtime, batch)
            for part, runtime, batch in itertools.product(
                self.parts, self.runtimes, self.batch_sizes
            )
            if part != 'detector' or runtime == 'eager'
        ]


def parse_value(text: str) -> Any:
    """A value of the command line: a fraction, or anything that ``--cfg-options`` takes.

    Args:
        text (str): As it was written.

    Returns:
        Any: A number, bool, None, list, tuple or text.

    Raises:
        BenchmarkError: If it divides by zero, or its brackets do not match.

    Example:
        >>> [parse_value(text) for text in ('1/3', '0.5', '-1', 'True', 'None', '[2,last]')]
        [0.3333333333333333, 0.5, -1, True, None, [2, 'last']]
    """
    if '/' in text:
        try:
            return float(Fraction(text))
        except ValueError:  # a path
            pass
        except ZeroDivisionError:
            raise BenchmarkError(f'a swept value divides by zero: {text!r}') from None
    parsed = argparse.Namespace()
    try:
        DictAction([], 'options')(argparse.ArgumentParser(), parsed, [f'value={text}'])
    except AssertionError:
        raise BenchmarkError(f'the brackets of a swept value do not match: {text!r}') from None
    return parsed.options['value']


def sweep_specs(
    configs: Sequence[str],
    sweeps: Sequence[Sequence[str]] = (),
    cfg_options: Mapping[str, Any] | None = None,
) -> list[CandidateSpec]:
    """A candidate for each config and each combination of swept values.

    Args:
        configs (Sequence[str]): Config files.
        sweeps (Sequence[Sequence[str]]): Of each swept key its dotted name and its values as they
            were written. Defaults to none.
        cfg_options (Mapping, optional): Overrides of all.

    Returns:
        list[CandidateSpec]: The first is the baseline. They are named by config and values, those
            of one config by their values.

    Raises:
        BenchmarkError: If a key has no value or is none of the model's, a value cannot be read, or
            two candidates are the same.

    Example:
        >>> key = 'model.backbone.identity_tensor_multiplier'
        >>> [s.name for s in sweep_specs(['a/mine.py'], [[key, '1', '1/2']])]
        ['identity_tensor_multiplier=1', 'identity_tensor_multiplier=1/2']
    """
    for key, *values in sweeps:
        if not values or not key.startswith('model.'):
            raise BenchmarkError(
                'a sweep is a key of the model and its values, such as model.backbone.'
                f'identity_tensor_multiplier 1 1/2, but received {" ".join([key, *values])!r}'
            )
    keys = [key for key, *_ in sweeps]
    specs = []
    for spec in choose(configs, Path(), stock=False)[0]:
        for values in itertools.product(*(values for _, *values in sweeps)):
            swept = dict(zip(keys, values, strict=True))
            told = [f'{key.rpartition(".")[2]}={text}' for key, text in swept.items()]
            name = ', '.join(told if told and len(configs) == 1 else [spec.name, *told])
            options = {**(cfg_options or {}), **{k: parse_value(t) for k, t in swept.items()}}
            specs.append(CandidateSpec(name, spec.config, options))
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BenchmarkError(f'these candidates are there twice: {"; ".join(twice)}')
    return specs


def measure_sweep(
    specs: Sequence[CandidateSpec],
    plan: SweepPlan,
    board: SpeedBoard,
    threads: int = 0,
) -> dict[str, Any]:
    """Measure size, latency and memory of all candidates, with random weights.

    Args:
        specs (Sequence[CandidateSpec]): The baseline first.
        plan (SweepPlan): What is measured.
        board (SpeedBoard): Tells how far it is.
        threads (int): PyTorch's threads of the processes that measure memory; 0 for their own
            choice. Defaults to 0.

    Returns:
        dict[str, Any]: ``size`` (list of dict), ``series`` (list[Series]) and ``memory`` (list of
            dict), in the order of the candidates.

    Raises:
        BenchmarkError: If a candidate cannot be built.
    """
    settings = Settings(data_root='', threads=threads)
    candidates = [build_candidate(spec, settings) for spec in specs]
    size = [_size_of(candidate) for candidate in candidates]
    series: list[Series] = []
    with tempfile.TemporaryDirectory() as folder:
        for part, runtime, batch in plan.groups():
            measure = f'{part}, {runtime}, batch {batch}'
            board.start(measure)
            runners: dict[str, Callable[[], float]] = {}
            failed: dict[str, list[float] | Exception] = {}
            for number, candidate in enumerate(candidates):
                path = Path(folder) / f'{part}_{number}_{batch}.onnx'
                try:
                    runners[candidate.name] = _runner(candidate, part, runtime, batch, path)
                except Exception as error:  # an operator that cannot be exported
                    failed[candidate.name] = error
            found = run_rounds(runners, plan.rounds, plan.warm_up, board.watch(measure))
            found = {c.name: found.get(c.name, failed.get(c.name)) for c in candidates}
            series += as_series(found, part, measure, batch)
    memory = []
    for batch in plan.batch_sizes if plan.memory else ():
        board.start(f'memory, batch {batch}')
        for spec in specs:
            row: dict[str, Any] = dict(name=spec.name, batch=batch)
            try:
                task = dict(spec=spec.to_dict(), settings=settings.to_dict(), batch=batch)
                row.update(run_child([sys.executable, '-m', __name__], task))
            except RuntimeError as error:
                row['error'] = str(error)
            memory.append(row)
    return dict(size=size, series=series, memory=memory)


def _size_of(candidate: CandidateState) -> dict[str, Any]:
    try:
        model = candidate.model
        shape = candidate.input_size
        madds = {part: count_madds(m, shape) for part, m in _parts(model).items()}
    except Exception as error:
        raise BenchmarkError(
            f'{candidate.name} cannot be built with {candidate.spec.cfg_options}: '
            f'{type(error).__name__}: {error}'
        ) from error
    return dict(
        name=candidate.name,
        config=candidate.spec.config,
        cfg_options=candidate.spec.cfg_options,
        input_size=list(shape),
        parameters=count_parameters(model),
        backbone_parameters=count_parameters(model.backbone),
        madds=madds['detector'],
        backbone_madds=madds['backbone'],
    )


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    return dict(detector=model, backbone=model.backbone)


def _images(candidate: CandidateState, batch: int) -> Tensor:
    data = candidate.synthetic_batch(batch)
    return candidate.model.data_preprocessor(data, False)['inputs']


def _runner(
    candidate: CandidateState, part: str, runtime: str, batch: int, path: Path
) -> Callable[[], float]:
    """Something that runs a part once and returns its seconds."""
    model = candidate.model.eval()
    if part == 'detector':
        data = candidate.synthetic_batch(batch)
        candidate.calibrate(data)
        return settled(candidate, timed(lambda: candidate.predict(data)))
    images = _images(candidate, batch)
    owner = model if part == 'network' else model.backbone
    function = model._forward if part == 'network' else model.backbone

    def eager() -> object:
        with torch.inference_mode():
            return function(images)

    if runtime == 'eager':
        return settled(candidate, timed(eager))
    if not path.exists():
        export_onnx(function, owner, images, path)
    return timed(run_checked(runtime, path, images, flat_tensors(eager())))


def _measure_memory(spec: CandidateSpec, settings: Settings, batch: int) -> dict[str, float]:
    """Peak memory of whole predictions; to be called in a fresh process."""
    from ..cost import peak_memory_mb

    candidate = build_candidate(spec, settings)
    # one image: the peak shall be that of the predictions
    candidate.calibrate(candidate.synthetic_batch(1))
    candidate.use_memory()
    data = candidate.synthetic_batch(batch)
    before = peak_memory_mb()
    for _ in range(3):
        candidate.predict(data)
    return dict(peak_mb=peak_memory_mb(), growth_mb=peak_memory_mb() - before)


if __name__ == '__main__':
    answer_parent(_measure_memory, __doc__)
