# SPDX-License-Identifier: Apache-2.0
"""Run models on the same pictures, in turns, and keep what each found."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from mmdet_mobilenext.runtime import Detections, ImageError, ModelFileError, read_image

from .limits import WebLimits
from .models import WebModel

__all__ = ['LATENCY', 'RUNS', 'PictureResult', 'compare_models', 'read_picture', 'results_as_json']

RUNS = 3
"""Runs of each model on each picture."""
LATENCY = (
    f'Latency is the median of {RUNS} runs on this machine, batch 1: from the decoded picture to '
    'the boxes, with resizing and non-maximum suppression; without reading the file and drawing. '
    'The models take turns, one inference at a time.'
)


@dataclass
class PictureResult:
    """What models found in a picture.

    Args:
        name (str): As the visitor's browser tells it: not to be trusted.
        path (str): The uploaded file.
        size (tuple[int, int], optional): Width and height in pixels, None if it cannot be read.
        found (dict[str, Detections]): By model; those of all scores that the file keeps.
        latency (dict[str, float]): Median in ms, by model.
        problem (str, optional): Why there is nothing, or not of every model.
    """

    name: str
    path: str
    size: tuple[int, int] | None = None
    found: dict[str, Detections] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


def read_picture(path: str | os.PathLike, limits: WebLimits) -> np.ndarray:
    """Read an uploaded file.

    Args:
        path (str | PathLike): The file.
        limits (WebLimits): Its bytes and pixels.

    Returns:
        np.ndarray: (H, W, 3) uint8, BGR.

    Raises:
        ImageError: If it cannot be read, or is there no longer; without the server's path.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read(limits.max_file_bytes + 1)
    except OSError as error:
        raise ImageError('the picture is no longer kept here: drop it again') from error
    return read_image(data, limits.max_pixels, limits.max_file_bytes)


def compare_models(
    models: Sequence[WebModel], pictures: Sequence[tuple[str, str]], limits: WebLimits
) -> list[PictureResult]:
    """Run each model on each picture.

    A picture that cannot be read, or whose turn does not come in time, has a ``problem`` and does
    not stop the others.

    Args:
        models (Sequence[WebModel]): Which to run.
        pictures (Sequence[tuple[str, str]]): Name and path of each.
        limits (WebLimits): Pixels, bytes and time.

    Returns:
        list[PictureResult]: One for each picture, in that order.
    """
    end = time.monotonic() + limits.detect_seconds
    results = []
    for name, path in pictures:
        result = PictureResult(name, path)
        results.append(result)
        try:
            if time.monotonic() > end:
                raise TimeoutError
            image = read_picture(path, limits)
            result.size = image.shape[1], image.shape[0]
            _run_in_turns(models, image, result, end)
        except (ImageError, ModelFileError) as error:
            result.problem = str(error)
        except TimeoutError:
            result.problem = (
                f'not finished: the {limits.detect_seconds} s of a request are over. Send fewer '
                'pictures, or choose fewer models.'
            )
    return results


def _run_in_turns(
    models: Sequence[WebModel], image: np.ndarray, result: PictureResult, end: float
) -> None:
    times = {model.name: [] for model in models}
    for _ in range(RUNS):
        for model in models:
            if time.monotonic() > end:
                raise TimeoutError
            start = time.perf_counter()
            found = model.detector(image)
            times[model.name].append(1000 * (time.perf_counter() - start))
            result.found[model.name] = found
            result.latency[model.name] = median(times[model.name])


def results_as_json(results: Sequence[PictureResult], score_thr: float) -> dict:
    """What was found, as plain Python.

    Args:
        results (Sequence[PictureResult]): Of :func:`compare_models`.
        score_thr (float): Detections of at least this score.

    Returns:
        dict: ``score_thr``, ``latency`` (what it means) and ``pictures``, each with ``name``,
        ``width``, ``height``, ``problem`` and ``models`` with ``latency_ms`` and ``detections``.

    Example:
        >>> result = PictureResult('a.jpg', '/tmp/a.jpg', problem='empty')
        >>> results_as_json([result], 0.3)['pictures']
        [{'name': 'a.jpg', 'width': None, 'height': None, 'problem': 'empty', 'models': {}}]
    """
    pictures = []
    for result in results:
        width, height = result.size or (None, None)
        found = {
            name: dict(
                latency_ms=round(result.latency[name], 3),
                detections=detections.above(score_thr).records(),
            )
            for name, detections in result.found.items()
        }
        pictures.append(
            dict(name=result.name, width=width, height=height, problem=result.problem, models=found)
        )
    return dict(score_thr=score_thr, latency=LATENCY, pictures=pictures)
