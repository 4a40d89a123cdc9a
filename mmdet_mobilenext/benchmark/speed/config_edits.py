# SPDX-License-Identifier: Apache-2.0
"""Changes of a config that hold for many kinds of detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from torch.nn.modules.utils import _pair

from mmdet_mobilenext.engine.run_header_hook import input_shape_of

from .candidate import CannotVaryError

__all__ = ['drop_pretrained', 'find', 'replace', 'resize', 'size_of', 'visit']

SIZE_KEYS = ('scale', 'img_scale', 'size', 'input_size', 'output_size')
"""What transforms call the size of the network's input."""


def visit(node: Any) -> Iterator[dict]:
    """All dicts in a config, from the outside in.

    Args:
        node (Any): Part of a config.

    Yields:
        dict: Each, the part itself included.

    Example:
        >>> len(list(visit(dict(a=[dict(), dict(b=dict())]))))
        4
    """
    if isinstance(node, dict):
        yield node
        for value in list(node.values()):
            yield from visit(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from visit(value)


def find(node: Any, key: str) -> Any:
    """First value of a key, wherever it is.

    Args:
        node (Any): Part of a config.
        key (str): Key.

    Returns:
        Any: None if no dict has it.

    Example:
        >>> find([dict(a=dict(b=3))], 'b')
        3
    """
    return next((d[key] for d in visit(node) if key in d), None)


def replace(node: Any, key: str, value: Any) -> int:
    """Replace a value wherever the key is.

    Args:
        node (Any): Part of a config, changed in place.
        key (str): Key.
        value (Any): New value.

    Returns:
        int: How often it was there.

    Example:
        >>> replace([dict(a=1), dict(b=dict(a=2))], 'a', 3)
        2
    """
    holders = [d for d in visit(node) if key in d]
    for holder in holders:
        holder[key] = value
    return len(holders)


def drop_pretrained(model: Any) -> None:
    """Remove weights to start from: random ones cost the same time.

    Args:
        model (Any): Config of a model, changed in place.

    Example:
        >>> model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')))
        >>> drop_pretrained(model)
        >>> model
        {'backbone': {}}
    """
    for node in visit(model):
        init = node.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            node.pop('init_cfg')


def size_of(cfg: Config, name: str) -> tuple[int, int]:
    """Size that the test pipeline resizes to.

    Args:
        cfg (Config): Config.
        name (str): Its name, for the error.

    Returns:
        tuple[int, int]: Height and width in pixels.

    Raises:
        ValueError: If there is no ``Resize``.

    Example:
        >>> resize = dict(type='Resize', scale=(320, 240))
        >>> size_of(Config(dict(test_dataloader=dict(dataset=dict(pipeline=[resize])))), 'a.py')
        (240, 320)
    """
    shape = input_shape_of(find(cfg.test_dataloader.dataset, 'pipeline') or [])
    if shape is None:
        raise ValueError(f'the test pipeline of {name} has no Resize with a scale')
    return shape


def resize(cfg: Config, old: tuple[int, int], new: int) -> None:
    """Replace the input size of pipelines and priors.

    Args:
        cfg (Config): Changed in place.
        old (tuple[int, int]): Height and width in pixels that it has.
        new (int): Height and width that it shall have.

    Raises:
        CannotVaryError: If its priors have no sizes that can be scaled.
    """
    scale = new / max(old)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        for node in visit(loader):
            for key in SIZE_KEYS:
                if key in node and _is_size(node[key], old):
                    node[key] = (new, new)
    priors = find(cfg.model, 'anchor_generator') or {}
    if 'min_sizes' not in priors:
        raise CannotVaryError('its priors have no min_sizes and max_sizes to scale')
    for key in ('min_sizes', 'max_sizes'):
        # whole pixels, as SSDAnchorGenerator wants them
        priors[key] = [max(1, round(value * scale)) for value in priors[key]]
    if 'input_size' in priors:
        priors['input_size'] = new


def _is_size(value: Any, old: tuple[int, int]) -> bool:
    numbers = isinstance(value, int) or (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(v, int) for v in value)
    )
    return numbers and tuple(_pair(value)) in (old, old[::-1])
