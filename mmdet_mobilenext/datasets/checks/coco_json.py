# SPDX-License-Identifier: Apache-2.0
"""Parse the json file of a COCO-format data set."""

from __future__ import annotations

import json
from collections.abc import Sequence

__all__ = ['CocoJSONError', 'parse_coco']

_LISTS = ('images', 'annotations', 'categories')


class CocoJSONError(ValueError):
    """A text is no COCO json for detection."""


def parse_coco(text: str, file: str, optional: Sequence[str] = ()) -> dict[str, list]:
    """Parse a COCO json; of its lists only that they are there is looked at.

    Args:
        text (str): The content of the file.
        file (str): Its name, for messages.
        optional (Sequence[str]): Lists that may be missing, and are empty then. Defaults to none.

    Returns:
        dict: With lists ``'images'``, ``'annotations'`` and ``'categories'``.

    Raises:
        CocoJSONError: It is not JSON, or has no such lists.

    Example:
        >>> parse_coco('{"images": [], "annotations": []}', 'a.json')
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.datasets.checks.coco_json.CocoJSONError: a.json is no COCO json for \
detection: it has no list ['categories']
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CocoJSONError(f'{file} is not JSON: {error}') from error
    if isinstance(content, dict):
        content = {**{key: [] for key in optional}, **content}
    missing = [
        key
        for key in _LISTS
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise CocoJSONError(f'{file} is no COCO json for detection: it has no list {missing}')
    return content
