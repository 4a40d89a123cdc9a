# SPDX-License-Identifier: Apache-2.0
"""From the checkpoint of a training to the weights that are given away.

As MMDetection's ``publish_model.py``: what only resuming needs is left out, and the name ends in
the first eight digits of the file's SHA-256, by which a download of it is verified. Beyond it,
files load without running code, averaged weights are told from the others, and the classes may be
some of those that were trained.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.version import __version__

from .class_rows import select_classes
from .safe_loading import load_safely
from .strict import ema_weights_in_checkpoint, weights_in_checkpoint

__all__ = ['publish_checkpoint']

# Of the meta that mmengine writes. The rest tells about the machine, also the config, which has its
# folders; with other classes it would contradict the weights besides.
KEPT_META = ('dataset_meta', 'epoch', 'iter', 'experiment_name', 'mmengine_version', 'seed')


def publish_checkpoint(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    last_weights: bool = False,
    classes: Sequence[str] | None = None,
) -> Path:
    """Write the weights of a checkpoint to a file of their own.

    With mmengine's ``EMAHook`` a checkpoint has two sets: the average, which was validated and
    which is taken, and the weights that the optimizer holds.

    Args:
        src (str | PathLike): Checkpoint of a training of this project.
        dst (str | PathLike): File to write; ``name.pth`` becomes ``name-{8 digits}.pth``.
        last_weights (bool): Take the optimizer's weights instead of the average.
            Defaults to False.
        classes (Sequence[str], optional): Classes to keep, see :func:`select_classes`. Defaults
            to None, all of them.

    Returns:
        Path: The file written, with ``state_dict`` and ``meta``: the kept part of the source's
        ``meta``, ``weights`` (``'average'`` or ``'last'``), ``source_file``, ``source_sha256``
        and ``mmdet_mobilenext_version``.

    Raises:
        CheckpointKeyError: If there are no weights in the file.
        CheckpointFileError, UnsafeCheckpointError: If it cannot be read, or not safely.
        ValueError: If ``last_weights`` is asked of a file without an average, ``dst`` does not
            end in ``.pth``, or a class is not one of the detector.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> weights = {'bbox_head.cls_convs.0.0.bias': torch.arange(3.0)}
        >>> meta = dict(dataset_meta=dict(classes=('cat', 'dog')))
        >>> torch.save(dict(state_dict=weights, meta=meta, optimizer={}), folder / 'epoch_1.pth')
        >>> path = publish_checkpoint(folder / 'epoch_1.pth', folder / 'dog.pth', classes=['dog'])
        >>> torch.load(path)['state_dict']
        {'bbox_head.cls_convs.0.0.bias': tensor([1., 2.])}
    """
    src, dst = Path(src), Path(dst)
    if dst.suffix != '.pth':
        raise ValueError(f'the file to write must end in .pth, but is {dst}')
    checkpoint = load_safely(str(src))
    weights = weights_in_checkpoint(checkpoint, str(src))
    last = ema_weights_in_checkpoint(checkpoint)
    if last_weights:
        if last is None:
            raise ValueError(
                f'{src} has one set of weights, since it was trained without EMAHook: leave '
                '--last-weights out'
            )
        weights = last
    if not weights:
        raise ValueError(f'{src} has no weights to publish: its ema_state_dict is empty')
    source_meta = checkpoint.get('meta') or {}
    meta = {key: source_meta[key] for key in KEPT_META if key in source_meta}
    meta.update(
        weights='last' if last_weights or last is None else 'average',
        source_file=src.name,
        source_sha256=sha256_of(src),
        mmdet_mobilenext_version=__version__,
    )
    if classes is not None:
        old = (source_meta.get('dataset_meta') or {}).get('classes')
        if not old:
            raise ValueError(f'{src} does not tell its classes (meta.dataset_meta.classes)')
        weights = select_classes(weights, list(old), list(classes))
        meta['dataset_meta'] = dict(classes=tuple(classes))
        meta['selected_from'] = tuple(old)
    with io.BytesIO() as buffer:
        torch.save(dict(meta=meta, state_dict=weights), buffer)
        content = buffer.getvalue()
    digits = hashlib.sha256(content).hexdigest()[:8]
    path = dst.with_name(f'{dst.stem}-{digits}.pth')
    AtomicLocalBackend().put(content, path)
    return path
