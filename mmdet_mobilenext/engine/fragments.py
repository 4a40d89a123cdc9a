# SPDX-License-Identifier: Apache-2.0
"""Config fragments that are put on top of any config: average, precision, accumulation.

mmengine refuses two files in ``_base_`` that set the same key, so a fragment of ``optim_wrapper``
cannot stand beside a schedule there. ``tools/train.py --with`` merges it afterwards instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from .environment import OptionError

__all__ = ['find_fragment', 'merge_fragments']


def find_fragment(name: str, folder: str | Path) -> Path:
    """Find the file of a fragment.

    Args:
        name (str): Name of a file in ``folder`` without ``.py``, or a path that ends in ``.py``.
        folder (str | Path): Folder of named fragments.

    Returns:
        Path: An existing file.

    Raises:
        OptionError: If there is none; it lists those that are there.
    """
    path = Path(name) if name.endswith('.py') else Path(folder, f'{name}.py')
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in Path(folder).glob('*.py')))
        raise OptionError(
            f'no config fragment {name!r} (looked for {path}): give a path that ends in .py, or '
            f'one of {known}'
        )
    return path


def merge_fragments(cfg: Config, names: Sequence[str], folder: str | Path) -> None:
    """Put fragments on top of a config, which they change in the order given.

    Args:
        cfg (Config): Config of a run, changed in place.
        names (Sequence[str]): See :func:`find_fragment`.
        folder (str | Path): Folder of named fragments.

    Raises:
        OptionError: If a fragment does not exist, two set the same key to different values, or one
            feeds another number of levels into the neck than it takes.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / 'accumulate_4.py').write_text(
        ...     'optim_wrapper = dict(accumulative_counts=4)')
        >>> cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
        >>> merge_fragments(cfg, ['accumulate_4'], folder)
        >>> cfg.optim_wrapper
        {'type': 'OptimWrapper', 'accumulative_counts': 4}
    """
    said: dict[str, tuple[str, object]] = {}
    for name in names:
        fragment = Config.fromfile(find_fragment(name, folder)).to_dict()
        leaves = dict(_leaves(fragment))
        for key, value in leaves.items():
            for other_key, (before, other) in said.items():
                # also a value over a dict, and `_delete_`, which clears the dict that it is in
                if (key != other_key or value != other) and _overlap(key, other_key):
                    raise OptionError(
                        f'the fragments {before} and {name} do not go together: {before} sets '
                        f'{other_key}={other!r}, {name} sets {key}={value!r}'
                    )
        said.update((key, (name, value)) for key, value in leaves.items())
        _check_neck(cfg, name, fragment, folder)
        cfg.merge_from_dict(fragment)


def _check_neck(cfg: Config, name: str, fragment: Mapping, folder: str | Path) -> None:
    """Refuse a fragment that keeps the neck and feeds another number of levels into it."""
    given = _neck_inputs(fragment)
    if given is None or 'type' in fragment['model']['neck']:
        return
    taken = _neck_inputs(cfg)
    if taken is not None and len(taken) == len(given):
        return
    neck = (cfg.get('model') or {}).get('neck')
    kind = neck.get('type') if isinstance(neck, Mapping) else type(neck).__name__
    if taken is None:
        what = f'but the config has none in one piece (model.neck is {kind})'
    else:
        levels = 'one level' if len(taken) == 1 else f'{len(taken)} levels'
        what = f'but the {kind} of the config takes {levels}, in_channels={neck.in_channels}'
    fitting = [
        path.stem
        for path in sorted(Path(folder).glob('*.py'))
        if taken is not None
        and len(_neck_inputs(Config.fromfile(path, import_custom_modules=False)) or ())
        == len(taken)
    ]
    raise OptionError(
        f'the fragment {name} is for a neck of {len(given)} levels, in_channels={given}, {what}: '
        + (f'take one of {", ".join(fitting)}, or' if fitting else 'no fragment is made for it;')
        + ' set backbone and neck in a config of your own (docs/swap_backbones.md)'
    )


def _neck_inputs(cfg: Mapping) -> list[int] | None:
    """Channels of each level that goes into the neck, None if there is no neck that says so.

    Example:
        >>> _neck_inputs(dict(model=dict(neck=dict(in_channels=512))))
        [512]
    """
    neck = (cfg.get('model') or {}).get('neck')
    inputs = neck.get('in_channels') if isinstance(neck, Mapping) else None
    if inputs is None:
        return None
    return [inputs] if isinstance(inputs, int) else list(inputs)


def _overlap(key: str, other: str) -> bool:
    """Whether one of two dotted names is part of the other, or clears what it is in.

    Example:
        >>> _overlap('a.b', 'a'), _overlap('a._delete_', 'a.b'), _overlap('a.b', 'a.c')
        (True, True, False)
    """
    first, second = (f'{k.removesuffix("._delete_")}.' for k in (key, other))
    return first.startswith(second) or second.startswith(first)


def _leaves(node: Mapping, prefix: str = '') -> Iterator[tuple[str, object]]:
    """Dotted names and values of what a fragment sets."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value
