# SPDX-License-Identifier: Apache-2.0
"""Results as HTML and as rows of a table. Every text in them is escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmdet_mobilenext.runtime import Detections, ImageError
from mmdet_mobilenext.runtime.drawing import DetectionDrawer

from .compare import LATENCY, PictureResult, read_picture, results_as_json
from .limits import WebLimits
from .models import WebModel

__all__ = ['COLUMNS', 'render_about', 'render_message', 'render_results', 'table_rows']

COLUMNS = ('picture', 'model', 'class', 'score', 'left', 'top', 'right', 'bottom')
SHOWN_SIDES = (640, 1024)
"""Longer side in pixels that pictures are shown with, least and most: others are scaled."""


def _template(name: str) -> object:
    environment = Environment(
        loader=PackageLoader(__package__, 'templates'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render_about(models: Sequence[WebModel], limits: WebLimits) -> str:
    """The models, what latency means and what may be sent.

    Args:
        models (Sequence[WebModel]): Of the page.
        limits (WebLimits): Of the page.

    Returns:
        str: HTML.
    """
    return _template('about.html.j2').render(models=models, limits=limits, latency=LATENCY)


def render_message(text: str) -> str:
    """One line in place of results.

    Args:
        text (str): Any.

    Returns:
        str: HTML.

    Example:
        >>> render_message('<b>')
        '<p class="message">&lt;b&gt;</p>'
    """
    return str(Markup('<p class="message">{}</p>').format(text))


def render_results(
    results: Sequence[PictureResult], limits: WebLimits, score_thr: float, notes: Sequence[str] = ()
) -> str:
    """Pictures with the boxes of each model, side by side, and all of it as a JSON file.

    Args:
        results (Sequence[PictureResult]): Of
            :func:`~mmdet_mobilenext.demo.web.compare.compare_models`.
        limits (WebLimits): For the pictures, which are read again.
        score_thr (float): Detections of at least this score are drawn.
        notes (Sequence[str]): Lines above the pictures. Defaults to none.

    Returns:
        str: HTML without scripts, with the pictures in it.
    """
    pictures = []
    for result in results:
        try:
            figures, problem = _figures(result, limits, score_thr), result.problem
        except ImageError as error:
            figures, problem = [], result.problem or str(error)
        pictures.append(dict(name=result.name, size=result.size, figures=figures, problem=problem))
    text = json.dumps(results_as_json(results, score_thr), ensure_ascii=False, indent=1)
    return _template('results.html.j2').render(
        pictures=pictures,
        notes=notes,
        score_thr=score_thr,
        json=base64.b64encode(text.encode('utf-8', 'replace')).decode(),
    )


def _figures(result: PictureResult, limits: WebLimits, score_thr: float) -> list[dict]:
    if not result.found:
        return []
    image = read_picture(result.path, limits)
    side = max(image.shape[:2])
    scale = min(max(side, SHOWN_SIDES[0]), SHOWN_SIDES[1]) / side
    if scale != 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, size, interpolation=method)
    figures = []
    for name, found in result.found.items():
        above = found.above(score_thr)
        drawn = DetectionDrawer(found.classes)(image, _scaled(above, scale, image))
        data = cv2.imencode('.jpg', drawn, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        figures.append(
            dict(
                model=name,
                latency=result.latency[name],
                count=len(above),
                width=image.shape[1],
                height=image.shape[0],
                jpeg=base64.b64encode(data).decode(),
            )
        )
    return figures


def _scaled(found: Detections, scale: float, image: np.ndarray) -> Detections:
    boxes = found.boxes * np.float32(scale)
    size = image.shape[1], image.shape[0]
    return Detections(boxes, found.scores, found.labels, found.classes, size)


def table_rows(results: Sequence[PictureResult], score_thr: float) -> list[list]:
    """One row for each detection.

    Args:
        results (Sequence[PictureResult]): What was found.
        score_thr (float): Detections of at least this score.

    Returns:
        list[list]: Values of :data:`COLUMNS`; boxes in pixels of the picture.

    Example:
        >>> found = Detections(np.array([[1, 2, 3, 4.]], 'float32'), np.array([.9], 'float32'),
        ...                    np.array([1]), ('cat', 'dog'), (8, 8))
        >>> table_rows([PictureResult('a.jpg', '', (8, 8), {'model': found}, {'model': 5.0})], 0.5)
        [['a.jpg', 'model', 'dog', 0.9, 1.0, 2.0, 3.0, 4.0]]
    """
    return [
        [result.name, model, record['label'], round(record['score'], 3), *record['box']]
        for result in results
        for model, found in result.found.items()
        for record in found.above(score_thr).records()
    ]
