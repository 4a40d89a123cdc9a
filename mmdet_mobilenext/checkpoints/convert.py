# SPDX-License-Identifier: Apache-2.0
"""Strict conversion of foreign checkpoints; ``sources`` has one module per source."""

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch
from mmdet.datasets import CocoDataset, VOCDataset
from torch import Tensor

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.version import __version__

from .sources import AUTO, SOURCES, recognise
from .sources.plan import COUNTER, Plan
from .sources.reading import read_checkpoint
from .strict import CheckpointKeyError, KeyReport

__all__ = ['AUTO', 'SOURCES', 'convert_checkpoint', 'convert_state_dict']

# Class names of detectors, which the authors' files do not carry.
KNOWN_CLASSES = {20: VOCDataset.METAINFO['classes'], 80: CocoDataset.METAINFO['classes']}


def convert_state_dict(
    state_dict: dict[str, Tensor], source: str = AUTO, scores: str | None = None
) -> tuple[dict[str, Tensor], dict]:
    """Convert weights, or tell every key that does not fit.

    Args:
        state_dict (dict[str, Tensor]): Weights of the source.
        source (str): A key of :data:`SOURCES`, or ``'auto'`` to recognise it. Defaults to
            ``'auto'``.
        scores (str, optional): Of a detector, see
            :func:`~mmdet_mobilenext.checkpoints.sources.houqb_detector.convert`. Defaults to None.

    Returns:
        tuple[dict[str, Tensor], dict]: Converted weights, in tensors of their own and the dtypes of
        the network (float32), and what was found out about them.

    Raises:
        CheckpointKeyError: If a key is unknown or missing, or its tensor is of a wrong shape, of a
            wrong kind, or not finite; the message lists all of them.
        ValueError: If the weights are not of this source at all, or ``scores`` is needed, or given
            without need.
    """
    source = _check_source(source)
    if source == AUTO:
        source = recognise(state_dict)
    not_tensors = [k for k, v in state_dict.items() if not isinstance(v, Tensor)]
    if not_tensors:
        raise ValueError(
            f'no weights where {source!r} has them (bare, or under {SOURCES[source].CONTAINERS}): '
            f'these entries are no tensors: {not_tensors[:10]}. Is it of another --source?'
        )
    _check_for_detectors(source, scores=scores)
    options = {} if scores is None else dict(scores=scores)
    plan = SOURCES[source].convert(state_dict, **options)
    context = f'the checkpoint and the {source!r} format'
    counters = {k for k in plan.expected if k.endswith(f'.{COUNTER}')}
    # Old files, and those of other frameworks, have none: they are not read in this network.
    without_counters = not any(plan.names.get(k) in state_dict for k in counters)
    wanted = plan.expected.keys() - counters if without_counters else plan.expected.keys()
    _compare(plan, state_dict, wanted).raise_if_bad(context)
    problems = list(_wrong_values(plan, state_dict, wanted))
    if problems:
        raise CheckpointKeyError(f'{context} do not match:\n' + '\n'.join(problems))

    converted = {}
    for key, like in plan.expected.items():
        if key not in wanted:
            converted[key] = torch.zeros((), dtype=like.dtype)
            continue
        tensor = state_dict[plan.names[key]].detach()
        if key in plan.transforms:
            tensor = plan.transforms[key](tensor)
        # Not a view, whose whole storage would be saved.
        converted[key] = tensor.to(like.dtype).clone(memory_format=torch.contiguous_format)
    info = dict(plan.info)
    if without_counters:
        info[COUNTER] = 'not in the file, set to 0'
    return converted, info


def _check_source(source: str) -> str:
    if source not in (*SOURCES, AUTO):
        raise ValueError(
            f'source must be one of {sorted(SOURCES)} or {AUTO!r}, but received {source!r}'
        )
    return source


def _check_for_detectors(source: str, **options: object) -> None:
    """Refuse options of detectors where there is none."""
    for name, value in options.items():
        if value is not None and source not in ('houqb-detector', AUTO):
            raise ValueError(f'--{name} is for detectors, but the source is {source!r}')


def _compare(plan: Plan, state_dict: dict[str, Tensor], wanted: Iterable[str]) -> KeyReport:
    """Keys and shapes, under the names that the source has: there they are to be looked for."""
    known = {plan.names[k] for k in wanted}.union(plan.left_out)
    report = KeyReport(unexpected=[k for k in state_dict if k not in known])
    for key, like in plan.expected.items():
        if key not in wanted:
            continue
        name = plan.names[key]
        if name not in state_dict:
            report.missing.append(f'{name} (here {key})')
            continue
        ours, theirs = plan.shapes.get(key, like.shape), state_dict[name].shape
        if ours == theirs:
            report.matched += 1
        else:
            report.wrong_shape.append((f'{name} (here {key})', tuple(ours), tuple(theirs)))
    return report


def _wrong_values(
    plan: Plan, state_dict: dict[str, Tensor], wanted: Iterable[str]
) -> Iterator[str]:
    """What would load and yet not be weights."""
    for key, like in plan.expected.items():
        if key not in wanted:
            continue
        tensor, problem = state_dict[plan.names[key]], None
        if tensor.layout != torch.strided or tensor.device.type != 'cpu':
            problem = f'no numbers in memory, but {tensor.layout} on {tensor.device}'
        elif tensor.is_floating_point() != like.is_floating_point() or tensor.is_complex():
            problem = f'{tensor.dtype}, but should be of the kind of {like.dtype}'
        elif tensor.is_floating_point():
            bad = int((~torch.isfinite(tensor)).sum())
            if bad:
                problem = f'{bad} of {tensor.numel()} values are not finite'
            elif key.endswith('.running_var') and bool((tensor < 0).any()):
                problem = 'a variance is negative'
        if problem:
            yield f'  {plan.names[key]} (here {key}): {problem}'


def unwrap_state_dict(
    checkpoint: object, containers: Sequence[str], use_ema: bool = False
) -> dict[str, Tensor]:
    """Take the weights out of a loaded checkpoint.

    Args:
        checkpoint (object): What the file held.
        containers (Sequence[str]): Keys under which weights may be.
        use_ema (bool): Take ``state_dict_ema`` where there is a choice.
            Defaults to False.

    Returns:
        dict[str, Tensor]: Weights, without ``module.`` prefixes.

    Raises:
        ValueError: If there are no weights.

    Example:
        >>> unwrap_state_dict({'model': {'module.a': torch.zeros(1)}}, ['model'])
        {'a': tensor([0.])}
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(
            'a checkpoint must be a dict of weights, but the file holds a '
            f'{type(checkpoint).__name__}'
        )
    container = _container(checkpoint, containers, use_ema)
    state_dict = checkpoint if container is None else checkpoint[container]
    if not state_dict:
        raise ValueError('the file holds no weights')
    weights = {re.sub(r'^module\.', '', str(key)): value for key, value in state_dict.items()}
    if len(weights) != len(state_dict):
        raise ValueError('the file holds the same keys with and without a module. prefix')
    bare = [str(key) for key in state_dict if not str(key).startswith('module.')]
    if 0 < len(bare) < len(state_dict):
        few = min(bare, [k for k in map(str, state_dict) if k not in bare], key=len)
        raise ValueError(
            f'some keys have a module. prefix and others have none; the fewer of them: {few[:10]}'
        )
    return weights


def _container(checkpoint: dict, containers: Sequence[str], use_ema: bool) -> str | None:
    """Key of the weights in a checkpoint, or None if it is bare."""
    present = [key for key in containers if isinstance(checkpoint.get(key), dict)]
    if use_ema:
        if 'state_dict_ema' not in present:
            found = sorted(map(str, checkpoint))[:10]
            raise ValueError(f'no state_dict_ema in the file, which holds {found}')
        return 'state_dict_ema'
    return present[0] if present else None


def convert_checkpoint(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    source: str = AUTO,
    classes: Sequence[str] | None = None,
    use_ema: bool = False,
    force: bool = False,
    scores: str | None = None,
) -> dict:
    """Convert a checkpoint file.

    Args:
        src (str | PathLike): File to read; no code in it is run.
        dst (str | PathLike): File to write, in one step at the end.
        source (str): A key of :data:`SOURCES`, or ``'auto'`` to recognise it. Defaults to
            ``'auto'``.
        classes (Sequence[str], optional): Class names of a detector. Defaults
            to VOC's for 20 classes and COCO's for 80.
        use_ema (bool): Take ``state_dict_ema`` where there is a choice.
            Defaults to False.
        force (bool): Overwrite ``dst``. Defaults to False.
        scores (str, optional): ``'softmax'`` or ``'sigmoid'``, of a detector whose file does not
            tell. Defaults to None.

    Returns:
        dict: The meta written: ``source``, ``source_sha256``, ``time``,
        ``mmdet_mobilenext_version``, ``dataset_meta`` of detectors, and more.

    Raises:
        FileExistsError: If ``dst`` exists and ``force`` is not set.
        CheckpointKeyError: If a key is unknown, missing or of a wrong shape.
        UnsafeCheckpointError: If the file wants to run code.
        CheckpointFileError: If the file is truncated or damaged.
        ValueError: If the file is not of this source, or an option does not go with it.
    """
    src, dst = Path(src), Path(dst)
    if dst.exists() and not force:
        raise FileExistsError(f'{dst} exists: choose another name or pass --force')
    _check_source(source)
    if dst.exists() and dst.samefile(src):
        raise ValueError(f'{dst} is the input itself: choose another name')
    _check_for_detectors(source, classes=classes, scores=scores)
    checkpoint = read_checkpoint(src, source)
    own = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(own, dict) and 'mmdet_mobilenext_version' in own:
        raise ValueError(f'{src} is converted already, from {own.get("source")!r}')
    modules = SOURCES.values() if source == AUTO else [SOURCES[source]]
    containers = list(dict.fromkeys(key for module in modules for key in module.CONTAINERS))
    state_dict = unwrap_state_dict(checkpoint, containers, use_ema)
    if source == AUTO:
        source = recognise(state_dict)
        _check_for_detectors(source, classes=classes, scores=scores)
    converted, info = convert_state_dict(state_dict, source, scores)

    meta = dict(
        source=source,
        source_file=src.name,
        source_weights=_container(checkpoint, containers, use_ema) or 'bare',
        source_sha256=sha256_of(src),
        time=datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M:%S UTC'),
        mmdet_mobilenext_version=__version__,
        **info,
    )
    if source == 'houqb-detector':
        meta['dataset_meta'] = dict(classes=_class_names(classes, info['num_classes']))
    with io.BytesIO() as buffer:
        torch.save(dict(meta=meta, state_dict=converted), buffer)
        AtomicLocalBackend().put(buffer.getvalue(), dst)
    return meta


def _class_names(classes: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    if classes is None:
        if num_classes not in KNOWN_CLASSES:
            raise ValueError(
                f'the detector has {num_classes} classes, whose names the file does not tell: '
                'pass --classes'
            )
        return tuple(KNOWN_CLASSES[num_classes])
    if len(classes) != num_classes:
        raise ValueError(
            f'the detector has {num_classes} classes, but {len(classes)} names were given: '
            f'{list(classes)}'
        )
    return tuple(classes)
