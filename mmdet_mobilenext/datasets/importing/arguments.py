# SPDX-License-Identifier: Apache-2.0
"""Check the arguments of an import."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdet_mobilenext.datasets.checks.wording import list_some

from .out_folder import find_own_files
from .pictures import EXIF_CHOICES
from .records import ImportDataError
from .report import REPORT_NAME
from .splits import named_values

__all__ = ['FORMATS', 'check_options', 'check_out']

FORMATS = ('voc', 'coco', 'yolo')


def check_options(
    sources: Sequence[str],
    source_format: str,
    target_format: str,
    exif: str,
    splits: Mapping[str, float] | None,
    split_name: str | None,
) -> None:
    """Check what can be checked before anything is read.

    Args:
        sources (Sequence[str]): See :func:`~.run.import_dataset`, also for the others.
        source_format (str): Format of the source.
        target_format (str): Format of the result.
        exif (str): What boxes refer to.
        splits (Mapping[str, float], optional): Name to share.
        split_name (str, optional): Name of the one split.

    Raises:
        ImportDataError: A value is none of those allowed, or two contradict each other.
        FileNotFoundError: A source does not exist.
    """
    for name, value, allowed in (
        ('source_format', source_format, FORMATS),
        ('target_format', target_format, FORMATS),
        ('exif', exif, EXIF_CHOICES),
    ):
        if value not in allowed:
            raise ImportDataError(f'{name} must be one of {tuple(allowed)}, got {value!r}')
    if splits and split_name:
        raise ImportDataError('give shares of splits or one split name, not both')
    if split_name and not split_name.replace('-', '').replace('_', '').isalnum():
        raise ImportDataError(f'a split name has letters, digits, - and _, got {split_name!r}')
    if not sources or (source_format == 'yolo' and len(sources) > 1):
        raise ImportDataError(f'give one source (several only of COCO and VOC), got {sources}')
    for _, source in named_values(sources):
        if not os.path.exists(source):
            raise FileNotFoundError(f'no such file or folder: {source}')


def check_out(out: Path, force: bool) -> None:
    """Check that the result may be written.

    Args:
        out (Path): Folder to make.
        force (bool): Whether an import may be replaced.

    Raises:
        FileExistsError: It exists, and is foreign, has things of its owner in it or ``force`` is
            False.

    Example:
        >>> check_out(Path('no such folder'), force=False)
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / REPORT_NAME).is_file():
        raise FileExistsError(
            f'{out} exists and was not imported (it has no {REPORT_NAME}): it may be your own '
            'data, so it is left alone, with --force too. Choose another folder'
        )
    if not force:
        raise FileExistsError(f'{out} was imported before: --force replaces it')
    try:
        own = find_own_files(out)
    except (FileNotFoundError, ValueError) as error:
        raise FileExistsError(
            f'{out} was imported before, but which of its files are your own cannot be told '
            f'({error}). Remove it yourself, or choose another folder'
        ) from error
    if own:
        raise FileExistsError(
            f'{out} was imported before, but has other things in it by now, which --force would '
            f'remove: {list_some(own)}. Move them away, or choose another folder'
        )
