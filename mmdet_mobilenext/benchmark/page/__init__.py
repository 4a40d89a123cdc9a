# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison: one page, its figures, a Markdown summary and the numbers."""

from .gallery import GalleryItem, Panel, make_gallery
from .html import render_page
from .markdown import render_markdown
from .report import to_json, write_report

__all__ = [
    'GalleryItem',
    'Panel',
    'make_gallery',
    'render_markdown',
    'render_page',
    'to_json',
    'write_report',
]
