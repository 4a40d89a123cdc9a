# SPDX-License-Identifier: Apache-2.0
"""The report as one page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .drawing import FigureSVG
from .gallery import GalleryItem
from .tables import (
    COLUMNS,
    ERROR_NAMES,
    TIDE_URL,
    class_table,
    conditions,
    error_table,
    model_note,
    model_rows,
    percent,
    protocol_rows,
    seed_table,
    verdict_sign,
)

__all__ = ['render_page']


def render_page(
    results: dict, figures: Sequence[FigureSVG], gallery: Sequence[GalleryItem] = ()
) -> str:
    """Fill the template.

    Args:
        results (dict): The results, see ``docs/results_schema.md``.
        figures (Sequence[FigureSVG]): Figures of :func:`make_figures`.
        gallery (Sequence[GalleryItem]): Pictures of :func:`make_gallery`. Defaults to none.

    Returns:
        str: The page. All texts of ``results`` are escaped.

    Example:
        >>> from mmdet_mobilenext.benchmark.page import render_page
        >>> from mmdet_mobilenext.benchmark.page.figures import make_figures
        >>> def page(results):
        ...     return render_page(results, make_figures(results))
    """
    environment = Environment(
        loader=PackageLoader(__package__, 'templates'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, jpeg=_data_uri, link=_link, breakable=_breakable)
    drawn = {
        figure.name: {
            'title': figure.title,
            'caption': figure.caption,
            'svg': Markup(figure.inline),  # drawn here; matplotlib escapes texts
        }
        for figure in figures
    }
    groups = [(name, len(list(items))) for name, items in groupby(COLUMNS, lambda c: c[0])]
    return environment.get_template('index.html.j2').render(
        results=results,
        protocol=results['protocol'],
        figures=drawn,
        confusions=[drawn[name] for name in drawn if name.startswith('confusion_')],
        gallery=gallery,
        columns=COLUMNS,
        groups=groups,
        rows=model_rows(results),
        conditions=conditions(results),
        class_table=class_table(results),
        error_table=error_table(results),
        seed_table=seed_table(results),
        protocol_rows=protocol_rows(results),
        sign=verdict_sign,
        model_note=model_note,
        error_names=ERROR_NAMES,
        tide_url=TIDE_URL,
    )


def _data_uri(jpeg: bytes) -> str:
    return 'data:image/jpeg;base64,' + base64.b64encode(jpeg).decode('ascii')


def _link(source: str) -> str:
    """The address if it is one of the web, else nothing: ``javascript:`` is never linked."""
    parts = urlsplit(source.strip())
    return source.strip() if parts.scheme in ('http', 'https') and parts.netloc else ''


def _breakable(name: str) -> Markup:
    """A text that may be broken after underscores, as names of configs need."""
    return Markup(str(escape(name)).replace('_', '_<wbr>'))  # escaped first
