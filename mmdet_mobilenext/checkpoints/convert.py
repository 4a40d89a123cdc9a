# SPDX-License-Identifier: Apache-2.0
"""Strict conversion of foreign checkpoints; one module per source."""

import hashlib
import io
import os
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch
from mmdet.datasets import CocoDataset, VOCDataset
from torch import Tensor

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.version import __version__

from . import houqb_detector, mobilenext_imagenet, torchvision_mobilenetv2
from .safe_loading import load_safely
from .strict import compare_state_dicts

__all__ = ['SOURCES', 'convert_checkpoint', 'convert_state_dict']

SOURCES = {
    'houqb-detector': houqb_detector,
    'mobilenext-imagenet': mobilenext_imagenet,
    'torchvision-mobilenetv2': torchvision_mobilenetv2,
}

# Class names of detectors, which the authors' files do not carry.
KNOWN_CLASSES = {20: VOCDataset.METAINFO['classes'], 80: CocoDataset.METAINFO['classes']}


def convert_state_dict(
    state_dict: dict[str, Tensor], source: str
) -> tuple[dict[str, Tensor], dict]:
    """Convert weights, or tell every key that does not fit.

    Args:
        state_dict (dict[str, Tensor]): Weights of the source.
        source (str): A key of :data:`SOURCES`.

    Returns:
        tuple[dict[str, Tensor], dict]: Converted weights, and what was found
        out about them.

    Raises:
        CheckpointKeyError: If a key is unknown, missing or of a wrong shape;
            the message lists all of them.
        ValueError: If the weights are not of this source at all.
    """
    if source not in SOURCES:
        raise ValueError(f'source must be one of {sorted(SOURCES)}, but received {source!r}')
    not_tensors = [k for k, v in state_dict.items() if not isinstance(v, Tensor)]
    if not_tensors:
        raise ValueError(
            f'no weights where {source!r} has them (bare, or under {SOURCES[source].CONTAINERS}): '
            f'these entries are no tensors: {not_tensors[:10]}. Is it of another --source?'
        )
    converted, unknown, expected, key_map, info = SOURCES[source].convert(state_dict)
    report = compare_state_dicts(expected, {**converted, **unknown})
    # Counters of batch norms are optional when a checkpoint is loaded, not here.
    report.missing = [k for k in expected if k not in converted]
    # Named as the source has them, which is where they are to be looked for.
    inverse = {target: prefix for prefix, target in key_map.items()}
    report.missing = [_source_name(k, inverse) for k in report.missing]
    report.wrong_shape = [(_source_name(k, inverse), *shapes) for k, *shapes in report.wrong_shape]
    report.raise_if_bad(f'the checkpoint and the {source!r} format')
    return converted, info


def _source_name(key: str, inverse: dict[str, str]) -> str:
    module, _, name = key.rpartition('.')
    return f'{inverse[module]}.{name} (here {key})'


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
    source: str,
    classes: Sequence[str] | None = None,
    use_ema: bool = False,
    force: bool = False,
) -> dict:
    """Convert a checkpoint file.

    Args:
        src (str | PathLike): File to read, with ``weights_only=True``.
        dst (str | PathLike): File to write, in one step at the end.
        source (str): A key of :data:`SOURCES`.
        classes (Sequence[str], optional): Class names of a detector. Defaults
            to VOC's for 20 classes and COCO's for 80.
        use_ema (bool): Take ``state_dict_ema`` where there is a choice.
            Defaults to False.
        force (bool): Overwrite ``dst``. Defaults to False.

    Returns:
        dict: The meta written: ``source``, ``source_sha256``, ``time``,
        ``mmdet_mobilenext_version``, ``dataset_meta`` of detectors, and more.

    Raises:
        FileExistsError: If ``dst`` exists and ``force`` is not set.
        CheckpointKeyError: If a key is unknown, missing or of a wrong shape.
        UnsafeCheckpointError: If the file wants to run code.
        ValueError: If the file is not of this source.
    """
    src, dst = Path(src), Path(dst)
    if dst.exists() and not force:
        raise FileExistsError(f'{dst} exists: choose another name or pass --force')
    if source not in SOURCES:
        raise ValueError(f'source must be one of {sorted(SOURCES)}, but received {source!r}')
    if classes is not None and source != 'houqb-detector':
        raise ValueError(f'--classes is for detectors, but the source is {source!r}')
    if dst.exists() and dst.samefile(src):
        raise ValueError(f'{dst} is the input itself: choose another name')
    checkpoint = load_safely(str(src))
    if isinstance(checkpoint, dict) and 'mmdet_mobilenext_version' in (
        checkpoint.get('meta') or {}
    ):
        raise ValueError(f'{src} is converted already, from {checkpoint["meta"]["source"]!r}')
    state_dict = unwrap_state_dict(checkpoint, SOURCES[source].CONTAINERS, use_ema)
    converted, info = convert_state_dict(state_dict, source)

    meta = dict(
        source=source,
        source_file=src.name,
        source_weights=_container(checkpoint, SOURCES[source].CONTAINERS, use_ema) or 'bare',
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


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file.

    Args:
        path (str | PathLike): File to read.

    Returns:
        str: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            digest.update(chunk)
    return digest.hexdigest()
