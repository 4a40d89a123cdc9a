# SPDX-License-Identifier: Apache-2.0
"""Where a training step goes: time by operator, and what a GPU would be given to do."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from terminaltables import AsciiTable
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from .candidate import CandidateState
from .timing import timed

__all__ = ['OperatorCounter', 'measure_operators', 'operator_tables', 'profile_operators']

SYNCS = (
    '_local_scalar_dense',
    'nonzero',
    'masked_select',
    'equal',
    '_unique',
    '_unique2',
    'unique_dim',
    'unique_consecutive',
    'bincount',
)
"""Operators whose result has a value or a size that the host waits for."""

NOTHING_TO_LAUNCH = (
    '_unsafe_view',
    'detach',
    'empty',
    'empty_like',
    'empty_strided',
    'lift_fresh',
    'new_empty',
)


class OperatorCounter(TorchDispatchMode):
    """Count operators below autograd, as they would be given to a GPU.

    Attributes:
        launches (int): Operators that compute something: no views, no allocations. Each is at
            least one kernel.
        syncs (Counter): Operators for whose result the host would wait, by name; ``index`` stands
            for boolean masks, ``_to_copy`` for copies from a GPU to the host. On a CPU,
            ``.cpu()``, ``.numpy()`` and ``.tolist()`` do nothing that could be counted.

    Example:
        >>> with OperatorCounter() as counter:
        ...     x = torch.ones(3)
        ...     y = x.view(3, 1) * x[x > 0]
        >>> counter.launches, dict(counter.syncs)
        (4, {'index': 1})
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.syncs: Counter = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operator and run it."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        returns_view = any(
            r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns
        )
        if not returns_view and name not in NOTHING_TO_LAUNCH:
            self.launches += 1
        result = func(*args, **kwargs)
        if name in SYNCS or _indexes_by_mask(name, args) or _leaves_gpu(name, args, result):
            self.syncs[name] += 1
        return result


def _indexes_by_mask(name: str, args: Sequence) -> bool:
    """``x[mask]``, or ``x[mask] = tensor``, whose sizes follow from the mask's values."""
    if name not in ('index', 'index_put', 'index_put_', '_index_put_impl_') or len(args) < 2:
        return False
    if len(args) > 2 and args[2].dim() == 0 and args[2].device.type == 'cpu':
        return False  # x[mask] = 0 is a masked_fill
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def _leaves_gpu(name: str, args: Sequence, result: Any) -> bool:
    return (
        name == '_to_copy'
        and isinstance(args[0], torch.Tensor)
        and args[0].device.type != 'cpu'
        and result.device.type == 'cpu'
    )


def profile_operators(step: Callable[[], object], steps: int = 3) -> tuple[list[dict], float]:
    """Time of a step by operator, with torch.profiler.

    Args:
        step (Callable): What to run. It should be warm.
        steps (int): Profiled runs. Defaults to 3.

    Returns:
        tuple[list[dict], float]: For each operator ``operator``, ``calls`` and ``seconds`` of one
            step, without what it calls itself, on the GPU if there is one; the longest first.
            Then the mean seconds of a step.

    Example:
        >>> rows, seconds = profile_operators(lambda: torch.ones(8, 8) @ torch.ones(8, 8), steps=1)
        >>> 'aten::mm' in [row['operator'] for row in rows]
        True
    """
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
    run = timed(step)
    with profile(activities=activities) as profiler:
        times = [run() for _ in range(steps)]
    field = 'self_device_time_total' if on_gpu else 'self_cpu_time_total'
    rows = [
        dict(
            operator=event.key,
            calls=event.count / steps,
            seconds=getattr(event, field) / 1e6 / steps,
        )
        for event in profiler.key_averages()
        # kernels are in the list again, beside the operator that launched them
        if event.device_type == DeviceType.CPU
    ]
    rows.sort(key=lambda row: -row['seconds'])
    return rows, statistics.fmean(times)


def measure_operators(
    candidates: Sequence[CandidateState],
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """A training step of each candidate by operator, and its launches and syncs.

    One candidate after the other: shares within a step are what it shows. Launches and syncs are
    those of the uncompiled step, also where the config says ``compile``.

    Args:
        candidates (Sequence[CandidateState]): The baseline first.
        watch (Callable): Called with candidates done and in all.

    Returns:
        list[dict]: For each candidate ``name``, ``seconds`` of a step, ``rows`` as of
            :func:`profile_operators`, and for ``step`` and ``loss`` ``launches`` and ``syncs``;
            or ``error``.
    """
    found = []
    for candidate in candidates:
        try:
            found.append(_measure_one(candidate))
        except Exception as error:  # whatever a foreign detector raises
            told = f'{type(error).__name__}: {error}'
            found.append(dict(name=candidate.name, error=told))
        candidate.release()
        watch(len(found), len(candidates))
    return found


def _measure_one(candidate: CandidateState) -> dict[str, Any]:
    torch.manual_seed(candidate.settings.seed)
    np.random.seed(candidate.settings.seed)
    batch = candidate.batch(candidate.settings.batch_size)
    task, loss = candidate.train_task(), candidate.loss_task(batch)
    candidate.use_memory()
    for _ in range(3):
        task(batch)
    rows, seconds = profile_operators(lambda: task(batch))
    result = dict(name=candidate.name, seconds=seconds, rows=rows)
    for name, run in (('step', lambda: task(batch)), ('loss', loss)):
        run()  # what is made once and kept
        with OperatorCounter() as counter:
            run()
        result[name] = dict(launches=counter.launches, syncs=dict(counter.syncs))
    return result


def operator_tables(found: Sequence[dict[str, Any]], most: int = 12) -> list[str]:
    """Tables of what :func:`measure_operators` found.

    Args:
        found (Sequence[dict]): Of all candidates.
        most (int): Operators that are shown of each. Defaults to 12.

    Returns:
        list[str]: Share of each operator in the step of each candidate, and the counts.

    Example:
        >>> one = dict(launches=2, syncs=dict(nonzero=1))
        >>> row = dict(operator='aten::mm', calls=1.0, seconds=0.5)
        >>> tables = operator_tables([dict(name='a', seconds=1.0, rows=[row], step=one, loss=one)])
        >>> '50.0 %' in tables[0], 'nonzero' in tables[1]
        (True, True)
    """
    working = [one for one in found if 'error' not in one]
    total: Counter = Counter()
    by_name = {}
    for one in working:
        by_name[one['name']] = {row['operator']: row for row in one['rows']}
        for row in one['rows']:
            total[row['operator']] += row['seconds'] / one['seconds']
    shown = [operator for operator, _ in total.most_common(most)]
    table = [['operator', *by_name]]
    for operator in shown:
        cells = [operator]
        for one in working:
            row = by_name[one['name']].get(operator)
            share = 100 * row['seconds'] / one['seconds'] if row else 0
            cells.append(f'{share:.1f} %, {row["calls"]:.0f} calls' if row else '')
        table.append(cells)
    table.append(['all others, Python, waiting'])
    for one in working:
        rows = by_name[one['name']]
        rest = one['seconds'] - sum(rows[o]['seconds'] for o in shown if o in rows)
        table[-1].append(f'{100 * rest / one["seconds"]:.1f} %')
    counts = [['', 'launches', 'syncs', 'of them']]
    for one in working:
        for part in ('step', 'loss'):
            syncs = one[part]['syncs']
            told = ', '.join(f'{count} {name}' for name, count in sorted(syncs.items()))
            launches = str(one[part]['launches'])
            counts.append([f'{one["name"]}, {part}', launches, str(sum(syncs.values())), told])
    failed = [f'{one["name"]} failed: {one["error"]}' for one in found if 'error' in one]
    return [
        AsciiTable(table, 'share of a training step by operator').table,
        AsciiTable(counts, 'operators a GPU would be given, and waits of the host').table,
        *failed,
    ]
