# SPDX-License-Identifier: Apache-2.0
"""Write the files of a report, each whole or not at all."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .figures import make_figures
from .gallery import GalleryItem
from .html import render_page
from .markdown import render_markdown

__all__ = ['to_json', 'write_report']

_OWN_FIGURES = re.compile(
    r'(difference|loss|val_map|per_class|latency|pr_mean|pr_classes|errors|confusion_\d+)\.svg'
)


def to_json(results: dict) -> str:
    r"""The results as JSON with sorted keys, floats unrounded, and a newline at the end.

    Args:
        results (dict): The results, see ``docs/results_schema.md``.

    Returns:
        str: JSON. It holds no NaN and no infinity, which are not JSON.

    Raises:
        ValueError: If a number is not finite; the message names its place.

    Example:
        >>> to_json({'b': 1.5, 'a': None})
        '{\n "a": null,\n "b": 1.5\n}\n'
    """
    try:
        text = json.dumps(results, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        places = [f'{place} is {value}' for place, value in _not_finite(results)]
        if not places:
            raise
        raise ValueError(
            f'results cannot be written as JSON: {", ".join(places[:3])}. '
            'A value that does not exist is None'
        ) from error
    return text + '\n'


def _not_finite(value: Any, place: str = 'results') -> Iterator[tuple[str, float]]:
    """Places of NaN and infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, f'{place}[{key!r}]')
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, f'{place}[{index}]')


def write_report(results: dict, folder: str | Path, gallery: Sequence[GalleryItem] = ()) -> Path:
    """Write ``results.json``, ``results.md``, ``figures/*.svg`` and, last, ``index.html``.

    Everything is drawn before the first file is written. Each file replaces the one of an earlier
    report at once, so a full disk leaves whole files only. The same arguments give the same bytes.

    Args:
        results (dict): The results, see ``docs/results_schema.md``.
        folder (str | Path): Folder of the report; it is made if needed.
        gallery (Sequence[GalleryItem]): Pictures of :func:`make_gallery`. Defaults to none.

    Returns:
        Path: The page, ``folder/index.html``.

    Raises:
        OSError: If a file cannot be written; it names the file.
        ValueError: If a number of ``results`` is not finite.

    Example:
        >>> from mmdet_mobilenext.benchmark.page import write_report
        >>> def report(results):
        ...     return write_report(results, 'work_dirs/comparison/report')
    """
    folder = Path(folder)
    figures = make_figures(results)
    files = {
        'results.json': to_json(results),
        'results.md': render_markdown(results),
        **{f'figures/{figure.name}.svg': figure.svg for figure in figures},
        'index.html': render_page(results, figures, gallery),
    }
    backend = AtomicLocalBackend()
    for name, text in files.items():
        backend.put(text.encode('utf-8'), folder / name)
    # Figures that an earlier report had and this one has not would be taken for its own.
    for path in sorted((folder / 'figures').glob('*.svg')):
        if f'figures/{path.name}' not in files and _OWN_FIGURES.fullmatch(path.name):
            path.unlink()
    return folder / 'index.html'
