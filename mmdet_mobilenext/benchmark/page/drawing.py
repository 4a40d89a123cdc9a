# SPDX-License-Identifier: Apache-2.0
"""A canvas of matplotlib that gives the same SVG every time, sharp at the width of a phone.

Figures are 360 units wide with text of 10.5 units, so that they can be read on a phone. Text stays
text: it can be searched, and takes the font of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

__all__ = [
    'GRID',
    'INK',
    'LETTER',
    'MODEL_COLOURS',
    'MUTED',
    'WIDTH',
    'Canvas',
    'FigureSVG',
    'line_style',
    'marker_style',
    'shorten',
    'ticks',
]

WIDTH = 360
"""Width of a figure, in units of 1 px on a phone."""
INK, MUTED, GRID = '#1c1f24', '#5b626c', '#dfe2e7'
# Okabe and Ito's palette, which colour-blind readers can tell apart.
MODEL_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
LETTER = 6.4
"""Width of a letter that leaves room for every font."""
_MARKERS = 'osD^vP'
_DASHES = ('-', (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))  # for a black-and-white print
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE = {
    'svg.fonttype': 'none',
    'text.parse_math': False,  # a class name may hold a dollar sign
    'font.family': 'DejaVu Sans',  # comes with matplotlib: the same measures everywhere
    'font.size': 10.5,
    'axes.labelsize': 10.5,
    'axes.titlesize': 10.5,
    'xtick.labelsize': 10.5,
    'ytick.labelsize': 10.5,
    'text.color': INK,
    'axes.edgecolor': MUTED,
    'axes.labelcolor': INK,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'axes.grid': True,
    'axes.facecolor': 'none',
    'figure.facecolor': 'none',
    'grid.color': GRID,
    'grid.linewidth': 0.8,
    'xtick.color': MUTED,
    'ytick.color': MUTED,
    'xtick.labelcolor': INK,
    'ytick.labelcolor': INK,
    'xtick.major.size': 0,
    'ytick.major.size': 0,
    'xtick.major.pad': 5,
    'ytick.major.pad': 5,
    'lines.linewidth': 1.8,
}
# In the page colours follow light and dark mode.
_VARIABLES = {INK: '--ink', MUTED: '--muted', GRID: '--grid'} | {
    colour: f'--model-{index}' for index, colour in enumerate(MODEL_COLOURS)
}


@dataclass(frozen=True)
class FigureSVG:
    """A drawn figure.

    Attributes:
        name (str): File name without suffix, unique in a report.
        title (str): Heading.
        description (str): What is to be seen, for readers who do not see it.
        caption (str): Explanation under the figure.
        svg (str): A whole SVG file.
    """

    name: str
    title: str
    description: str
    caption: str
    svg: str

    @property
    def inline(self) -> str:
        """The ``svg`` element alone, for use in a page."""
        svg = self.svg[self.svg.index('<svg') :]
        # a style sheet in a page is one for the whole page, and the heading is there already
        for element in ('title', 'metadata', 'style'):
            svg = re.sub(rf'\s*<{element}\b.*?</{element}>', '', svg, count=1, flags=re.DOTALL)
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(f': {colour}', f': var({variable}, {colour})')
        return re.sub(r'(<svg [^>]*?) width="[\d.]+pt" height="[\d.]+pt"', r'\1', svg, count=1)


class Canvas:
    """A figure in units of pixels from its upper left corner.

    Args:
        height (float): Height below the legend.
        models (Sequence[str | None]): Names for the legend above the figure, in the order of the
            styles; None for a model that is not drawn. Defaults to none.

    Example:
        >>> with Canvas.style():
        ...     canvas = Canvas(100, ['a', 'b'])
        ...     _ = canvas.axes(40, 10, 300, 60).plot([0, 1], [0, 1], **line_style(1))
        ...     figure = canvas.finish('name', 'title', 'a line that rises', 'caption')
        >>> figure.svg.count('<svg'), 'rises' in figure.inline
        (1, True)
    """

    def __init__(self, height: float, models: Sequence[str | None] = ()) -> None:
        drawn = [(index, name) for index, name in enumerate(models) if name is not None]
        self.top = 18 * len(drawn) + (6 if drawn else 0)
        self.height = self.top + height
        # 72 dpi: a point is a unit
        self.figure = Figure(figsize=(WIDTH / 72, self.height / 72), dpi=72)
        for row, (index, name) in enumerate(drawn):
            y = 1 - (9 + 18 * row) / self.height
            xs = [6 / WIDTH, 17 / WIDTH, 28 / WIDTH]
            line = Line2D(xs, [y] * 3, markevery=[1], **line_style(index), **marker_style(index))
            self.figure.add_artist(line)
            self.figure.text(36 / WIDTH, y, shorten(name, 46), va='center_baseline')

    @staticmethod
    @contextmanager
    def style() -> Iterator[None]:
        """The style of all figures, whatever the ``matplotlibrc`` of the user says."""
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            yield

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes; the place is that of the frame, without labels, below the legend."""
        bottom = self.height - self.top - top - height
        place = (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
        return self.figure.add_axes(place)

    def finish(self, name: str, title: str, description: str, caption: str) -> FigureSVG:
        """Write the SVG.

        Args:
            name (str): File name without suffix; ids begin with it, to be unique in a page.
            title (str): Heading.
            description (str): Text for readers who do not see the figure.
            caption (str): Explanation.

        Returns:
            FigureSVG: The figure.
        """
        stream = io.StringIO()
        with matplotlib.rc_context({'svg.hashsalt': name}):
            metadata = {'Date': None, 'Creator': None, 'Title': title}
            FigureCanvasSVG(self.figure).print_svg(stream, metadata=metadata)
        svg = stream.getvalue()
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf'\g<1>{name}-', svg)
        svg = re.sub(r"'DejaVu Sans'[^;\"]*", _FONT, svg)
        label = f'{title}. {description}'
        for raw, safe in (('&', '&amp;'), ('<', '&lt;'), ('>', '&gt;'), ('"', '&quot;')):
            label = label.replace(raw, safe)
        svg = svg.replace('<svg ', f'<svg role="img" aria-label="{label}" ', 1)
        svg = re.sub(r'[ \t]+$', '', svg, flags=re.MULTILINE)
        return FigureSVG(name, title, description, caption, svg)


def ticks(count: int) -> MaxNLocator:
    """At most so many ticks at round numbers."""
    return MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])


def line_style(index: int) -> dict:
    """Colour and dashes of a model's line."""
    return {
        'color': MODEL_COLOURS[index % len(MODEL_COLOURS)],
        'linestyle': _DASHES[index % len(_DASHES)],
    }


def marker_style(index: int) -> dict:
    """Marker of a model's point."""
    return {'marker': _MARKERS[index % len(_MARKERS)], 'markersize': 6}


def shorten(text: str, length: int) -> str:
    """Cut a name for a figure; tables have it whole.

    Example:
        >>> shorten('aeroplane', 9), shorten('diningtable', 9)
        ('aeroplane', 'diningta…')
    """
    return text if len(text) <= length else text[: length - 1] + '…'
