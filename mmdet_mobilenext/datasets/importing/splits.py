# SPDX-License-Identifier: Apache-2.0
"""Splits: named on the command line, or drawn by a seed."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping, Sequence

from .records import ImportDataError

__all__ = ['draw_splits', 'named_values', 'parse_fractions']


def named_values(values: Sequence[str]) -> list[tuple[str, str]]:
    """Take ``NAME=VALUE`` apart.

    Args:
        values (Sequence[str]): Arguments; one that exists as a file is never taken apart.

    Returns:
        list[tuple[str, str]]: Names, ``''`` where there is none, and values.

    Example:
        >>> named_values(['train=a.json', 'b.json'])
        [('train', 'a.json'), ('', 'b.json')]
    """
    pairs = []
    for value in values:
        match = re.fullmatch(r'([\w-]+)=(.+)', str(value))
        if match and not os.path.exists(value):
            pairs.append(match.groups())
        else:
            pairs.append(('', str(value)))
    return pairs


def parse_fractions(values: Sequence[str]) -> dict[str, float]:
    """Read shares of a random split.

    Args:
        values (Sequence[str]): ``NAME=SHARE``, which add up to 1.

    Returns:
        dict[str, float]: Name to share.

    Raises:
        ImportDataError: If they do not.

    Example:
        >>> parse_fractions(['train=0.8', 'val=0.2'])
        {'train': 0.8, 'val': 0.2}
    """
    shares = {}
    for value in values:
        match = re.fullmatch(r'([\w-]+)=([0-9.eE+-]+)', value)
        try:
            shares[match[1]] = float(match[2])
        except (TypeError, ValueError):
            raise ImportDataError(
                f'--split takes NAME=SHARE such as train=0.8 val=0.2, got {value!r}'
            ) from None
    _check_shares(shares)
    if len(shares) != len(values):
        raise ImportDataError(f'--split names a split twice: {list(values)}')
    return shares


def _check_shares(shares: Mapping[str, float]) -> None:
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ImportDataError(
            f'the shares of --split must be above 0 and add up to 1, got {dict(shares)}'
        )


def draw_splits(ids: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Draw whole images into splits, the same for the same ids, shares and seed.

    Args:
        ids (Sequence[str]): Images in any order.
        shares (Mapping[str, float]): Name to share.
        seed (int): Seed.

    Returns:
        dict[str, list[str]]: Name to sorted ids.

    Raises:
        ImportDataError: If a split would get no image, or the shares are wrong.

    Example:
        >>> draw_splits(list('abcde'), dict(train=0.8, val=0.2), seed=0)
        {'train': ['a', 'b', 'c', 'e'], 'val': ['d']}
    """
    _check_shares(shares)
    order = sorted(ids)
    random.Random(seed).shuffle(order)
    splits, total, start = {}, 0.0, 0
    for name, share in shares.items():
        total += share
        end = round(total * len(order))
        splits[name] = sorted(order[start:end])
        start = end
    empty = [name for name, members in splits.items() if not members]
    if empty:
        raise ImportDataError(
            f'{len(order)} images are too few for the shares {dict(shares)}: {empty} would be '
            'empty; take larger shares'
        )
    return splits
