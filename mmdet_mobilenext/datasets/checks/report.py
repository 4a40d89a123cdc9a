# SPDX-License-Identifier: Apache-2.0
"""What a data check found: counts, problems and warnings, as a table, an error or JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from terminaltables import AsciiTable

from .hints import VOC_HINTS

__all__ = ['CheckReport', 'DataCheckError', 'Problem']

_COUNT_ROWS = {
    'images': 'images',
    'images_without_boxes': 'images without boxes',
    'objects': 'objects',
    'difficult': 'difficult objects',
    'truncated': 'truncated objects',
    'images_decoded': 'images decoded',
}


class DataCheckError(ValueError):
    """The data set, or the config that names it, cannot be used as it is."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Args:
        kind (str): What sort of problem, for example ``'box_outside'``.
        path (str): File or folder that has it.
        detail (str): The value received and where in the file it stands.
        hint (str): What to do. Defaults to ``''``.
    """

    kind: str
    path: str
    detail: str
    hint: str = ''

    def __str__(self) -> str:
        """File and value, without kind and hint."""
        return f'{self.path}: {self.detail}'


@dataclass
class CheckReport:
    """Result of checking one data set, or several (``parts``).

    Args:
        title (str): Name in tables and messages, such as ``'train VOC2007/trainval'``.
        images (int): Listed images, each once. Defaults to 0.
        images_without_boxes (int): Images without an object of a known class. Legal.
            Defaults to 0.
        objects (int): Objects of the known classes. Defaults to 0.
        difficult (int): Those among them that are marked difficult. Defaults to 0.
        truncated (int): Those among them that are marked truncated. Defaults to 0.
        images_decoded (int): Images that were decoded as part of the check. Defaults to 0.
        per_class (dict[str, int]): Objects of each class, in class order.
        problems (list[:obj:`Problem`]): Everything that is wrong, in the order found.
        warnings (list[str]): What is legal but worth knowing.
        commands (list[str]): Shell commands that print all problems of the bad data sets.
        ids (tuple[str]): The listed ids, each once. Not part of :meth:`to_dict`.
        parts (list[:obj:`CheckReport`]): Reports of the single data sets, in a merged report.
        max_problems (int): How many problems an error message lists. Defaults to 20.
        hints (Mapping[str, str]): What to do for each kind of problem. Defaults to those for
            VOC-format data. Not part of :meth:`to_dict`.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import CheckReport, Problem
        >>> report = CheckReport('train VOC2007/trainval', images=2, objects=3)
        >>> report.ok
        True
        >>> report.problems.append(Problem('bad_xml', '000001.xml', 'not XML, line 1'))
        >>> report.ok, report.num_problems
        (False, {'bad_xml': 1})
    """

    title: str = ''
    images: int = 0
    images_without_boxes: int = 0
    objects: int = 0
    difficult: int = 0
    truncated: int = 0
    images_decoded: int = 0
    per_class: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    ids: tuple[str, ...] = field(default=(), repr=False)
    parts: list[CheckReport] = field(default_factory=list)
    max_problems: int = 20
    hints: Mapping[str, str] = field(default_factory=lambda: VOC_HINTS, repr=False)

    @classmethod
    def merge(cls, parts: Sequence[CheckReport], max_problems: int = 20) -> CheckReport:
        """Put the reports of several data sets into one.

        Args:
            parts (Sequence[:obj:`CheckReport`]): Reports of single data sets.
            max_problems (int): How many problems an error message lists. Defaults to 20.

        Returns:
            CheckReport: Counts are summed; a problem that several data sets share, such as a
            missing data root, is kept once.
        """
        merged = cls(
            title=', '.join(part.title for part in parts),
            parts=list(parts),
            max_problems=max_problems,
        )
        for name in _COUNT_ROWS:
            setattr(merged, name, sum(getattr(part, name) for part in parts))
        for part in parts:
            for name, count in part.per_class.items():
                merged.per_class[name] = merged.per_class.get(name, 0) + count
        merged.problems = list(dict.fromkeys(p for part in parts for p in part.problems))
        merged.warnings = [w for part in parts for w in part.warnings]
        merged.commands = list(
            dict.fromkeys(c for part in parts if not part.ok for c in part.commands)
        )
        return merged

    @property
    def ok(self) -> bool:
        """Whether there is no problem (warnings do not count)."""
        return not self.problems

    @property
    def num_problems(self) -> dict[str, int]:
        """Number of problems of each kind, in the order of first appearance."""
        return dict(Counter(problem.kind for problem in self.problems))

    def add(self, kind: str, path: str, detail: str, more_hint: str = '') -> None:
        """Add a problem, with the hint that belongs to its kind and perhaps more."""
        hint = f'{self.hints[kind]}; {more_hint}' if more_hint else self.hints[kind]
        self.problems.append(Problem(kind, path, detail, hint))

    def summary(self) -> str:
        """Say the result in one line, for a header at the start of a run."""
        sizes = [f'{part.title}: {part.images} images' for part in self.parts or [self]]
        state = 'ok' if self.ok else f'{len(self.problems)} problems'
        if self.warnings:
            state += f', {len(self.warnings)} warnings'
        return (
            f'Data check: {state}; {"; ".join(sizes)}; {self.objects} objects, '
            f'{self.images_decoded} images decoded'
        )

    def format_problems(self, max_problems: int | None = None) -> str:
        """List problems by kind, each kind with its count and what to do.

        Args:
            max_problems (int, optional): At most this many are listed, and every kind gets its
                share of them. Defaults to None, all of them.

        Returns:
            str: Several lines, or ``''`` without problems.
        """
        by_kind: dict[str, list[Problem]] = {}
        for problem in self.problems:
            by_kind.setdefault(problem.kind, []).append(problem)
        shown = _share(
            [len(group) for group in by_kind.values()],
            len(self.problems) if max_problems is None else max_problems,
        )
        lines = []
        for (kind, group), count in zip(by_kind.items(), shown, strict=True):
            lines.append(f'{kind}: {len(group)}')
            lines += [f'  {problem}' for problem in group[:count]]
            if count < len(group):
                lines.append(f'  ... and {len(group) - count} more')
            hints = dict.fromkeys(p.hint for p in group[: max(count, 1)] if p.hint)
            lines += [f'  -> {hint}' for hint in hints]
        return '\n'.join(lines)

    def raise_if_bad(self) -> None:
        """Raise when there is a problem.

        Raises:
            DataCheckError: Lists the first ``max_problems`` problems with file, value and what
                to do, the count of each kind, and the command that lists all of them.
        """
        if self.ok:
            return
        lines = [
            f'The data check found {len(self.problems)} problem(s) in: {self.title}',
            self.format_problems(self.max_problems),
        ]
        if self.commands:
            lines.append('To decode every image and list every problem:')
            lines += [f'  {command}' for command in self.commands]
        raise DataCheckError('\n'.join(lines))

    def __str__(self) -> str:
        """Table of counts (one column per data set), then warnings and all problems."""
        columns = self.parts or [self]
        if len(columns) > 1:
            columns = [*columns, self]
        titles = [part.title or 'data set' for part in columns]
        if len(columns) > 1:
            titles[-1] = 'total'
        rows = [['', *titles]]
        for name, label in _COUNT_ROWS.items():
            rows.append([label, *(str(getattr(part, name)) for part in columns)])
        rows.append(['problems', *(str(len(part.problems)) for part in columns)])
        for name in self.per_class:
            rows.append([f'  {name}', *(str(part.per_class.get(name, '-')) for part in columns)])
        table = AsciiTable(rows)
        table.justify_columns = dict.fromkeys(range(1, len(rows[0])), 'right')
        lines = [table.table, *(f'warning: {warning}' for warning in self.warnings)]
        lines += [self.format_problems()] if self.problems else ['No problems found.']
        return '\n'.join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but ``ids`` and ``hints`` as plain types that JSON can hold."""
        out: dict[str, Any] = {'ok': self.ok, 'num_problems': self.num_problems}
        for item in fields(self):
            if item.name not in ('ids', 'parts', 'problems', 'max_problems', 'hints'):
                out[item.name] = getattr(self, item.name)
        out['problems'] = [asdict(problem) for problem in self.problems]
        out['parts'] = [part.to_dict() for part in self.parts]
        return out

    def write_json(self, path: str | os.PathLike) -> None:
        """Write :meth:`to_dict` to a file, whole or not at all.

        Args:
            path (str | os.PathLike): File to write; its folder is made where it is missing.

        Raises:
            OSError: The folder cannot be written to.
        """
        path = os.path.abspath(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Beside the target, so that the rename stays on one file system.
        temporary = f'{path}.{os.getpid()}.tmp'
        try:
            with open(temporary, 'w', encoding='utf-8') as file:
                json.dump(self.to_dict(), file, indent=2)
                file.write('\n')
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)


def _share(sizes: Sequence[int], limit: int) -> list[int]:
    """Give each group its part of ``limit`` places, one by one until they are used up."""
    shown = [0] * len(sizes)
    limit = min(limit, sum(sizes))
    while limit > 0:
        for i, size in enumerate(sizes):
            if limit > 0 and shown[i] < size:
                shown[i] += 1
                limit -= 1
    return shown
