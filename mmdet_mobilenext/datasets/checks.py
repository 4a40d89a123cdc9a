# SPDX-License-Identifier: Apache-2.0
"""Check a VOC-format data set before any work is lost.

MMDetection finds a missing image, a broken XML or a wrong class when it gets there, hours into a
run, or never: an object of an unknown class is left out in silence. The check reads every listed
XML the way ``mmdet.datasets.XMLDataset`` does, and decodes none, some or all of the images. It
imports neither torch nor mmdet.
"""

from __future__ import annotations

import difflib
import functools
import io
import logging
import math
import os
import os.path as osp
import random
import re
import shlex
import stat
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from mmdet_mobilenext.datasets.check_report import CheckReport, DataCheckError, Problem

__all__ = [
    'VOC_CLASSES',
    'CheckReport',
    'DataCheckError',
    'Problem',
    'VOCSource',
    'check_dataset_cfgs',
    'check_sources',
    'check_voc',
    'sources_from_cfg',
    'sources_from_config',
]

#: The class names of ``mmdet.datasets.VOCDataset``, in its order.
VOC_CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip

_LEAF_TYPES = ('VOCDataset', 'XMLDataset')
_ROLES = ('train', 'val', 'test')
_DECODE = ('none', 'sample', 'full')
_UNKNOWN = ('error', 'ignore')
_OPTIONS = dict(decode='sample', sample_size=64, seed=0, unknown_classes='error', max_problems=20)


@dataclass(frozen=True)
class VOCSource:
    """Where one VOC-format data set lies, with all paths joined.

    Args:
        data_root (str): Root that the other paths were joined with, for messages only.
        ann_file (str): Path of the split file, one image id per line.
        sub_data_root (str): Folder that holds images and annotations, such as
            ``'data/VOCdevkit/VOC2007'``.
        img_subdir (str): Folder of the images in it. Defaults to ``'JPEGImages'``.
        ann_subdir (str): Folder of the XML files in it. Defaults to ``'Annotations'``.
        classes (tuple[str]): Known class names. Defaults to :data:`VOC_CLASSES`.
        role (str): ``'train'``, ``'val'`` or ``'test'``, several joined by ``'+'``, or ``''``.
            Defaults to ``''``.
        not_checked (str): Why this data set cannot be checked. Defaults to ``''``: it can.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import VOCSource
        >>> root = 'data/VOCdevkit/VOC2007'
        >>> VOCSource(root, f'{root}/ImageSets/Main/test.txt', root, role='test').title
        'test VOC2007/test'
    """

    data_root: str
    ann_file: str
    sub_data_root: str
    img_subdir: str = 'JPEGImages'
    ann_subdir: str = 'Annotations'
    classes: tuple[str, ...] = VOC_CLASSES
    role: str = ''
    not_checked: str = ''

    @property
    def title(self) -> str:
        """Short name, such as ``'train VOC2007/trainval'``."""
        folder = osp.basename(osp.normpath(self.sub_data_root))
        return f'{self.role} {folder}/{osp.splitext(osp.basename(self.ann_file))[0]}'.strip()

    @property
    def img_dir(self) -> str:
        """Folder of the images."""
        return osp.join(self.sub_data_root, self.img_subdir)

    @property
    def ann_dir(self) -> str:
        """Folder of the XML files."""
        return osp.join(self.sub_data_root, self.ann_subdir)

    @property
    def command(self) -> str:
        """Shell command that checks this data set in full."""
        args = ['--data-root', self.sub_data_root, '--split', self.ann_file]
        if self.img_subdir != 'JPEGImages':
            args += ['--img-subdir', self.img_subdir]
        if self.ann_subdir != 'Annotations':
            args += ['--ann-subdir', self.ann_subdir]
        if self.classes != VOC_CLASSES:
            args += ['--classes', *self.classes]
        return f'python tools/check_voc.py {shlex.join(args)}'


# ---------------------------------------------------------------------------------------------
# From a config to sources
# ---------------------------------------------------------------------------------------------


def sources_from_cfg(dataset_cfg: Mapping, role: str) -> list[VOCSource]:
    """Find the VOC data sets in a dataset config, through any wrappers.

    Paths are joined as ``mmengine.dataset.BaseDataset`` does it.

    Args:
        dataset_cfg (Mapping): Config of a ``VOCDataset`` or ``XMLDataset``, or of a wrapper
            with ``dataset`` or ``datasets`` in it (``RepeatDataset``, ``ConcatDataset``, ...).
        role (str): ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        list[:obj:`VOCSource`]: In the order of the config. A data set that cannot be checked
        (another type, or not on a local disk) has ``not_checked`` set.

    Raises:
        DataCheckError: A field of the config has a value that MMDetection cannot use.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import sources_from_cfg
        >>> leaf = dict(type='VOCDataset', data_root='data/VOCdevkit/',
        ...             ann_file='VOC2007/ImageSets/Main/trainval.txt',
        ...             data_prefix=dict(sub_data_root='VOC2007/'))
        >>> [s] = sources_from_cfg(dict(type='RepeatDataset', times=10, dataset=leaf), 'train')
        >>> s.ann_file
        'data/VOCdevkit/VOC2007/ImageSets/Main/trainval.txt'
    """
    if not isinstance(dataset_cfg, Mapping):
        name = type(dataset_cfg).__name__
        return [_not_checked(role, f'a built {name}; only dataset configs (dict) can be read')]
    if 'datasets' in dataset_cfg:
        return [s for part in dataset_cfg['datasets'] for s in sources_from_cfg(part, role)]
    if 'dataset' in dataset_cfg:
        return sources_from_cfg(dataset_cfg['dataset'], role)

    kind = dataset_cfg.get('type', None)
    kind = kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', kind)
    if kind not in _LEAF_TYPES:
        known = ' and '.join(_LEAF_TYPES)
        return [_not_checked(role, f'type {kind!r}; the check knows {known}')]
    if dataset_cfg.get('backend_args', None):
        backend = dataset_cfg['backend_args'].get('backend', 'local')
        if backend != 'local':
            return [_not_checked(role, f'{kind} on file backend {backend!r}; only local files')]

    root = str(dataset_cfg.get('data_root', None) or '')
    prefix = dataset_cfg.get('data_prefix', None) or {}
    # Without `sub_data_root` MMDetection reads relative to the working directory.
    paths = {'ann_file': dataset_cfg.get('ann_file', ''), 'sub_data_root': ''}
    if 'sub_data_root' in prefix:
        paths['sub_data_root'] = prefix['sub_data_root']
    for key, path in paths.items():
        if not isinstance(path, (str, os.PathLike)):
            raise DataCheckError(
                f'`{key}` of the {role} {kind} must be a path, got {path!r}. Write one dataset '
                'per split file and put them into a ConcatDataset.'
            )
        paths[key] = str(path)
    if root and paths['ann_file']:
        paths['ann_file'] = osp.join(root, paths['ann_file'])
    if root and 'sub_data_root' in prefix:
        paths['sub_data_root'] = osp.join(root, paths['sub_data_root'])
    remote = [p for p in (root, *paths.values()) if re.match(r'\w+://', p)]
    if remote:
        return [_not_checked(role, f'{kind} at {remote[0]!r}; only local files')]
    return [
        VOCSource(
            data_root=root,
            **paths,
            img_subdir=dataset_cfg.get('img_subdir', 'JPEGImages'),
            ann_subdir=dataset_cfg.get('ann_subdir', 'Annotations'),
            classes=_classes_from_cfg(dataset_cfg, role),
            role=role,
        )
    ]


def sources_from_config(cfg: Mapping, roles: Sequence[str] = _ROLES) -> list[VOCSource]:
    """Find the VOC data sets of the dataloaders in a config.

    Args:
        cfg (Mapping): ``mmengine.Config`` with ``train_dataloader`` and so on; one that is not
            there or is None is passed over.
        roles (Sequence[str]): Which dataloaders. Defaults to ``('train', 'val', 'test')``.

    Returns:
        list[:obj:`VOCSource`]: See :func:`sources_from_cfg`.

    Raises:
        DataCheckError: Unknown role, or a config value that MMDetection cannot use.
    """
    sources = []
    for role in roles:
        if role not in _ROLES:
            raise DataCheckError(f'unknown role {role!r}, choose from {_ROLES}')
        loader = cfg.get(f'{role}_dataloader', None)
        if loader is None:
            continue
        if not isinstance(loader, Mapping) or 'dataset' not in loader:
            name = type(loader).__name__
            sources.append(_not_checked(role, f'a {role}_dataloader ({name}) without `dataset`'))
        else:
            sources += sources_from_cfg(loader['dataset'], role)
    return sources


def _not_checked(role: str, reason: str) -> VOCSource:
    return VOCSource('', '', '', role=role, not_checked=reason)


def _classes_from_cfg(dataset_cfg: Mapping, role: str) -> tuple[str, ...]:
    """Class names of a leaf; a string is the path of a file of names, as in mmengine."""
    classes = (dataset_cfg.get('metainfo', None) or {}).get('classes', None)
    if classes is None:
        return VOC_CLASSES
    if isinstance(classes, str) and osp.isfile(classes):
        with open(classes, encoding='utf-8') as file:
            return tuple(line.rstrip('\r\n') for line in file)
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        if classes and all(isinstance(name, str) for name in classes):
            return tuple(classes)
    raise DataCheckError(
        f'`metainfo.classes` of the {role} data set must be a tuple of names or the path of a '
        f'text file with one name per line, got {classes!r}. A single class is written '
        f"`classes=('person', )`, with the comma."
    )


# ---------------------------------------------------------------------------------------------
# Checking
# ---------------------------------------------------------------------------------------------


def check_dataset_cfgs(
    cfg: Mapping, roles: Sequence[str] = _ROLES, progress: bool = False, **options: Any
) -> CheckReport:
    """Check every data set that a run will read, each once.

    The config may hold ``data_check = dict(unknown_classes=..., decode=..., sample_size=...)``;
    ``data_check = None`` or ``False`` switches the check off, which is logged as a warning. So
    are the warnings of the report.

    Args:
        cfg (Mapping): ``mmengine.Config`` of the run.
        roles (Sequence[str]): Which dataloaders. Defaults to ``('train', 'val', 'test')``.
        progress (bool): Show a progress bar while decoding. Defaults to False.
        **options: ``decode``, ``sample_size``, ``seed``, ``unknown_classes`` and
            ``max_problems`` of :func:`check_voc`. They win over ``cfg.data_check``; ``decode``
            defaults to ``'sample'``.

    Returns:
        CheckReport: Call its ``raise_if_bad()``.

    Raises:
        DataCheckError: An option or a config value that cannot be used.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
        >>> leaf = dict(type='VOCDataset', data_root='nowhere', ann_file='train.txt',
        ...             data_prefix=dict(sub_data_root='VOC2007/'))
        >>> report = check_dataset_cfgs(dict(train_dataloader=dict(dataset=leaf)))
        >>> report.num_problems
        {'no_data_root': 1}
    """
    logger = logging.getLogger(__name__)
    chosen = cfg.get('data_check', {})
    if chosen is None or chosen is False:
        message = (
            f'THE DATA CHECK IS SWITCHED OFF (data_check = {chosen}): missing or broken files '
            'will be found only when training or testing reads them.'
        )
        logger.warning(message)
        return CheckReport('switched off', warnings=[message])
    if chosen is True:
        chosen = {}
    if not isinstance(chosen, Mapping) or not set(chosen) <= set(_OPTIONS):
        raise DataCheckError(
            f'`data_check` must be a dict with keys of {list(_OPTIONS)}, or None or False to '
            f'switch the check off, got {chosen!r}'
        )
    report = check_sources(
        sources_from_config(cfg, roles), progress=progress, **{**_OPTIONS, **chosen, **options}
    )
    for warning in report.warnings:
        logger.warning(warning)
    return report


def check_sources(sources: Sequence[VOCSource], **options: Any) -> CheckReport:
    """Check several data sets, each distinct one once, and compare training with test lists.

    Args:
        sources (Sequence[:obj:`VOCSource`]): Data sets. Those that differ in nothing but their
            role are checked once.
        **options: Those of :func:`check_voc`.

    Returns:
        CheckReport: With a part for each distinct data set. An id in a training and in a
        validation or test list of the same folder is a warning.

    Raises:
        DataCheckError: An option that cannot be used.
    """
    distinct: dict[VOCSource, tuple[VOCSource, list[str]]] = {}
    for source in sources:
        key = replace(
            source,
            data_root='',
            ann_file=osp.abspath(source.ann_file),
            sub_data_root=osp.abspath(source.sub_data_root),
            role='',
        )
        distinct.setdefault(key, (source, []))[1].append(source.role)
    parts, checked = [], []
    for source, roles in distinct.values():
        source = replace(source, role='+'.join(dict.fromkeys(roles)))
        checked.append(source)
        parts.append(check_voc(source, **options))
    report = CheckReport.merge(parts, options.get('max_problems', _OPTIONS['max_problems']))
    report.warnings += _leakage(checked, parts)
    if not sources:
        report.warnings.append('no data set was given, nothing was checked')
    return report


def _leakage(sources: Sequence[VOCSource], parts: Sequence[CheckReport]) -> list[str]:
    """Warn of ids that are both trained on and tested on."""
    pairs = list(zip(sources, parts, strict=True))
    warnings = []
    for train, train_part in pairs:
        for test, test_part in pairs:
            held_out = {'val', 'test'}.intersection(test.role.split('+'))
            same_folder = osp.abspath(train.sub_data_root) == osp.abspath(test.sub_data_root)
            if 'train' not in train.role.split('+') or not held_out or not same_folder:
                continue
            common = sorted(set(train_part.ids).intersection(test_part.ids))
            if common:
                names = ', '.join(common[:5]) + (', ...' if len(common) > 5 else '')
                warnings.append(
                    f'{len(common)} ids are both in the training list {train.ann_file} and in '
                    f'the {"+".join(sorted(held_out))} list {test.ann_file}, so the metric says '
                    f'too much: {names}'
                )
    return warnings


def check_voc(
    source: VOCSource,
    *,
    decode: str = 'none',
    sample_size: int = 64,
    seed: int = 0,
    unknown_classes: str = 'error',
    max_problems: int = 20,
    progress: bool = False,
) -> CheckReport:
    """Check one VOC-format data set: lists, files, XML, boxes and, if asked, images.

    All problems are found, not only the first. Boxes are judged as MMDetection reads them: cut
    to whole numbers, 1-based and inclusive, so that ``1 <= xmin <= xmax <= width`` is legal.
    Only direct ``<object>`` children count, not the ``<part>`` in them.

    Args:
        source (VOCSource): The data set.
        decode (str): Images to decode: ``'none'``, ``'sample'`` or ``'full'``. Decoding finds
            damaged and cut off files, and sizes that differ from the XML. Defaults to
            ``'none'``.
        sample_size (int): Number of images of ``'sample'``. Defaults to 64.
        seed (int): Seed that chooses them. Defaults to 0.
        unknown_classes (str): ``'error'``, or ``'ignore'``: leave the objects out as
            MMDetection does, and count them in a warning. Defaults to ``'error'``.
        max_problems (int): How many problems ``raise_if_bad`` lists; the report has all.
            Defaults to 20.
        progress (bool): Show a progress bar on stderr while decoding. Defaults to False.

    Returns:
        CheckReport: Counts, problems and warnings.

    Raises:
        DataCheckError: An option that cannot be used. Never for what is in the files.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import VOCSource, check_voc
        >>> report = check_voc(VOCSource('nowhere', 'nowhere/train.txt', 'nowhere/VOC2007'))
        >>> report.ok, report.num_problems
        (False, {'no_data_root': 1})
    """
    for name, value, allowed in (
        ('decode', decode, _DECODE),
        ('unknown_classes', unknown_classes, _UNKNOWN),
    ):
        if value not in allowed:
            raise DataCheckError(f'`{name}` must be one of {allowed}, got {value!r}')
    for name, value in (('sample_size', sample_size), ('max_problems', max_problems)):
        if not isinstance(value, int) or value < 1:
            raise DataCheckError(f'`{name}` must be a whole number of at least 1, got {value!r}')
    if source.not_checked:
        text = f'NOT CHECKED: {source.role} data set, {source.not_checked}'
        return CheckReport(f'{source.role} (not checked)', warnings=[text])

    report = CheckReport(
        source.title,
        per_class=dict.fromkeys(source.classes, 0),
        commands=[source.command],
        max_problems=max_problems,
    )
    if not _check_places(source, report):
        return report
    report.ids = _check_ids(source, report)
    report.images = len(report.ids)
    images = _check_listed(source.img_dir, '.jpg', 'missing_image', report)
    xmls = _check_listed(source.ann_dir, '.xml', 'missing_xml', report)
    counts = _Counts()
    sizes = {}
    for img_id in report.ids:
        if img_id in xmls:
            path = osp.join(source.ann_dir, f'{img_id}.xml')
            sizes[img_id] = _check_xml(path, source.classes, unknown_classes, report, counts)
    _conclude_counts(source, report, counts)

    chosen = [img_id for img_id in report.ids if img_id in images]
    if decode == 'none':
        chosen = []
    elif decode == 'sample' and len(chosen) > sample_size:
        chosen = sorted(random.Random(seed).sample(chosen, sample_size))
    paths = [osp.join(source.img_dir, f'{img_id}.jpg') for img_id in chosen]
    _check_images(paths, [sizes.get(img_id) for img_id in chosen], report, progress)
    return report


@dataclass
class _Counts:
    """What becomes a warning once all files are read."""

    unknown: Counter = field(default_factory=Counter)
    thin: int = 0
    thin_example: str = ''


def _show(value: Any) -> str:
    """Quote a value of unknown length."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _list_some(names: Sequence[str], limit: int = 12) -> str:
    names = sorted(names)
    more = f', ... ({len(names)} in all)' if len(names) > limit else ''
    return (', '.join(names[:limit]) + more) or 'none'


# --- folders and lists -----------------------------------------------------------------------


def _check_places(source: VOCSource, report: CheckReport) -> bool:
    """Check that root, folders and split file exist; return whether reading on makes sense."""
    before = len(report.problems)
    sub_root = source.sub_data_root or '.'
    if not osp.isdir(sub_root):
        root = source.data_root
        if root and not osp.isdir(root):
            report.add('no_data_root', root, f'no such folder (looked in {os.getcwd()})')
            return False
        folders = _list_some(_names(root or '.', folders=True))
        report.add('no_data_root', sub_root, f'no such folder; {root or "."} has: {folders}')
    else:
        for folder in (source.img_dir, source.ann_dir):
            if not osp.isdir(folder):
                folders = _list_some(_names(sub_root, folders=True))
                report.add('no_folder', folder, f'no such folder; {sub_root} has: {folders}')
    if not osp.isfile(source.ann_file):
        # The place where VOC keeps its lists, if the given folder is not even there.
        places = (osp.dirname(source.ann_file) or '.', osp.join(sub_root, 'ImageSets', 'Main'))
        folder = next((place for place in places if osp.isdir(place)), places[0])
        lists = _list_some([n for n in _names(folder) if n.endswith('.txt')])
        detail = f'no such file; {folder} has: {lists}'
        report.add('no_split_file', source.ann_file or "''", detail)
    return len(report.problems) == before


def _names(folder: str, folders: bool = False) -> list[str]:
    """Names of the files (or folders) in a folder, for a message."""
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if (e.is_dir() if folders else e.is_file())]
    except OSError:
        return []


def _check_ids(source: VOCSource, report: CheckReport) -> tuple[str, ...]:
    """Read the split file the way ``mmengine.fileio.list_from_file`` does and check each line."""
    try:
        with open(source.ann_file, encoding='utf-8') as file:
            lines = file.read().split('\n')
    except UnicodeDecodeError as error:
        report.add('bad_split_file', source.ann_file, f'not UTF-8 text: {error}')
        return ()
    except OSError as error:
        report.add('unreadable', source.ann_file, str(error))
        return ()
    if lines[-1] == '':
        lines.pop()
    if not lines:
        report.add('bad_split_file', source.ann_file, 'the file is empty')
    first_seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        wrong = _wrong_id(line)
        if wrong:
            report.add('bad_id', source.ann_file, f'line {number}: {_show(line)} {wrong}')
        elif line in first_seen:
            detail = f'line {number}: {_show(line)} is on line {first_seen[line]} too'
            report.add('duplicate_id', source.ann_file, detail)
        else:
            first_seen[line] = number
    return tuple(first_seen)


def _wrong_id(line: str) -> str:
    """Say what is wrong with a line of a split file, ``''`` if nothing is."""
    if not line.strip():
        return 'is blank'
    if line != line.strip():
        return 'has spaces around it'
    if line in ('.', '..') or osp.isabs(line) or osp.splitdrive(line)[0]:
        return 'is a path, not an id'
    if '/' in line or '\\' in line:
        return 'has a path separator, ids must stay in their folder'
    if not line.isprintable():
        return 'has control characters (a byte order mark or a tab?)'
    if re.fullmatch(r'\S+ +(-1|0|1)', line):
        return 'looks like a per-class list (id and flag); use trainval.txt or the like'
    if re.search(r'\.(jpe?g|png|bmp|xml)$', line, re.IGNORECASE):
        return 'has an extension'
    return ''


def _check_listed(folder: str, suffix: str, kind: str, report: CheckReport) -> set[str]:
    """Check that each listed file exists and is not empty; return the ids that pass."""
    wanted = {f'{img_id}{suffix}' for img_id in report.ids}
    found, empty, others = set(), set(), {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                size = _file_size(entry) if entry.name in wanted else None
                if size is None:
                    others.setdefault(osp.splitext(entry.name)[0], []).append(entry.name)
                else:
                    (found if size else empty).add(entry.name)
    except OSError as error:
        report.add('unreadable', folder, str(error))
        return set()
    passed = set()
    for img_id in report.ids:
        name = f'{img_id}{suffix}'
        path = osp.join(folder, name)
        # The second look is for file systems that do not tell upper from lower case.
        if name in found or (name not in empty and osp.isfile(path)):
            passed.add(img_id)
        elif name in empty:
            report.add('empty_file', path, 'the file has 0 bytes')
        else:
            beside = ', '.join(sorted(others.get(img_id, ())))
            if name in beside.split(', '):
                beside = 'a folder or a broken link of that name'
            beside = f' (there is {beside})' if beside else ''
            report.add(kind, path, f'no such file{beside}, listed in the split file')
    return passed


def _file_size(entry: os.DirEntry) -> int | None:
    """Size of a regular file in bytes; None for a folder, a broken link and the like."""
    try:
        info = entry.stat()
    except OSError:
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else None


# --- XML -------------------------------------------------------------------------------------


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a DOCTYPE, which is where entities are declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DoctypeError(f'has a DOCTYPE {_show(name)}')


class _DoctypeError(Exception):
    """An XML file has a DOCTYPE."""


def _text(element: ET.Element, tag: str) -> str | None:
    child = element.find(tag)
    return None if child is None else child.text


def _check_xml(
    path: str,
    classes: tuple[str, ...],
    unknown_classes: str,
    report: CheckReport,
    counts: _Counts,
) -> tuple[int, int] | None:
    """Check one annotation; return its (width, height) in pixels if they are good."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        report.add('unreadable', path, str(error))
        return None
    try:
        root = ET.fromstring(data, parser=ET.XMLParser(target=_NoDoctype()))
    except _DoctypeError as error:
        report.add('xml_doctype', path, str(error))
        return None
    except (ET.ParseError, ValueError, LookupError) as error:
        # The parser's text names line and column. The last two: encodings that Python lacks.
        report.add('bad_xml', path, f'not XML: {error}')
        return None

    size = root.find('size')
    raw = None if size is None else [_text(size, 'width'), _text(size, 'height')]
    try:
        size = tuple(int(text) for text in raw)
        if min(size) <= 0:
            raise ValueError
    except (TypeError, ValueError):
        size = None
        got = 'no <size>' if raw is None else f'width {_show(raw[0])}, height {_show(raw[1])}'
        report.add('bad_size', path, got)

    unknown = Counter()
    known = 0
    for number, obj in enumerate(root.findall('object'), 1):
        name = _text(obj, 'name')
        label = f'object {number} ({_show(name)})'
        if name is None:
            report.add('bad_object', path, f'object {number} has no <name>')
            continue
        if name not in classes:
            unknown[name] += 1
            if unknown_classes == 'ignore':  # neither does MMDetection look at its box
                continue
        else:
            known += 1
            report.per_class[name] += 1
            report.truncated += _text(obj, 'truncated') == '1'
            report.difficult += _is_difficult(obj, path, label, report)
        _check_box(obj, size, path, label, report, counts)
    report.objects += known
    report.images_without_boxes += not known
    if unknown_classes == 'ignore':
        counts.unknown.update(unknown)
        return size
    for name, count in unknown.items():
        detail = f'{count} object(s) of class {_show(name)}{_did_you_mean(name, classes)}'
        report.add('unknown_class', path, detail, f'known are: {_list_some(classes, 30)}')
    return size


@functools.lru_cache(maxsize=1024)  # a wrong name is mostly wrong in every file
def _did_you_mean(name: str, classes: tuple[str, ...]) -> str:
    by_lower = {known.lower(): known for known in classes}
    close = difflib.get_close_matches(name.strip().lower(), by_lower, 1)
    return f', did you mean {by_lower[close[0]]!r}?' if close else ''


def _is_difficult(obj: ET.Element, path: str, label: str, report: CheckReport) -> bool:
    if obj.find('difficult') is None:
        return False
    text = _text(obj, 'difficult')
    try:
        return int(text) != 0
    except (TypeError, ValueError):
        report.add('bad_object', path, f'{label}: <difficult> is {_show(text)}')
        return False


def _check_box(
    obj: ET.Element,
    size: tuple[int, int] | None,
    path: str,
    label: str,
    report: CheckReport,
    counts: _Counts,
) -> None:
    """Check one box; ``size`` is the image's (width, height) in pixels, None if not known."""
    bndbox = obj.find('bndbox')
    if bndbox is None:
        report.add('bad_box', path, f'{label} has no <bndbox>')
        return
    raw = [_text(bndbox, tag) for tag in ('xmin', 'ymin', 'xmax', 'ymax')]
    got = 'xmin {}, ymin {}, xmax {}, ymax {}'.format(*(_show(text) for text in raw))
    try:
        # As mmdet does it. Published VOC has coordinates such as 45.70000076293945.
        xmin, ymin, xmax, ymax = (int(float(text)) for text in raw)
    except (TypeError, ValueError, OverflowError):  # nothing, no number or nan, inf
        report.add('bad_box', path, f'{label}: {got}')
        return
    if xmax < xmin or ymax < ymin:
        report.add('box_no_area', path, f'{label}: {got}')
        return
    width, height = size or (math.inf, math.inf)
    if xmin < 1 or ymin < 1 or xmax > width or ymax > height:
        within = f' in an image of {width} x {height}' if size else ''
        report.add('box_outside', path, f'{label}: {got}{within}')
    elif xmin == xmax or ymin == ymax:
        counts.thin += 1
        counts.thin_example = counts.thin_example or path


def _conclude_counts(source: VOCSource, report: CheckReport, counts: _Counts) -> None:
    """Turn what was counted over all files into warnings, or an error if nothing is left."""
    if counts.thin:
        report.warnings.append(
            f'{source.title}: {counts.thin} box(es) of one pixel width or height; legal in VOC, '
            f'but MMDetection reads them as boxes without area, e.g. {counts.thin_example}'
        )
    total = sum(counts.unknown.values())
    if total:
        names = ', '.join(f'{_show(name)} {n}' for name, n in counts.unknown.most_common(12))
        report.warnings.append(
            f'{source.title}: {total} object(s) of unknown classes are left out: {names}'
        )
        if not report.objects:
            known = _list_some(source.classes, 30)
            detail = f'all {total} objects are of unknown classes ({names}); known: {known}'
            report.add('no_objects', source.ann_file, detail)
    elif report.images and not report.objects and report.ok:
        report.warnings.append(f'{source.title}: no object in any of {report.images} images')


# --- images ----------------------------------------------------------------------------------


def _check_images(
    paths: Sequence[str],
    sizes: Sequence[tuple[int, int] | None],
    report: CheckReport,
    progress: bool,
) -> None:
    """Decode images in threads (both decoders release the interpreter lock)."""
    if not paths:
        return
    # Process-wide switch of Pillow that would hide what is looked for here.
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        results = pool.map(_check_image, paths, sizes)
        if progress:
            from rich.console import Console
            from rich.progress import track

            console = Console(file=sys.stderr)
            results = track(results, f'decode {report.title}', len(paths), console=console)
        for path, result in zip(paths, results, strict=True):
            report.images_decoded += 1
            if result:
                report.add(result[0], path, result[1])
    finally:
        pool.shutdown(cancel_futures=True)
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _check_image(path: str, size: tuple[int, int] | None) -> tuple[str, str] | None:
    """Decode one image; return (kind, detail) of the problem, None if it is good."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        return 'unreadable', str(error)
    truncated = _truncation(data)
    if truncated:
        return 'image_truncated', f'{truncated} ({len(data)} bytes)'
    try:
        # As mmcv loads it: colour, turned by EXIF.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        return 'image_undecodable', f'{" ".join(str(error).split())} ({len(data)} bytes)'
    if image is None:
        start = _show(data[:12])
        return 'image_undecodable', f'not an image, {len(data)} bytes that start with {start}'
    height, width = image.shape[:2]
    if size is not None and size != (width, height):
        turned = ', turned: EXIF orientation?' if size == (height, width) else ''
        return 'image_size', f'image {width} x {height}, XML {size[0]} x {size[1]}{turned}'
    return None


def _truncation(data: bytes) -> str:
    """Say how an image is damaged where OpenCV would fill up the rest, ``''`` if it is not."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            # JPEG at 1/8 of the size: all data is read, little of it transformed.
            image.draft('RGB', (1, 1))
            image.load()
    except UnidentifiedImageError:
        return ''
    except (OSError, SyntaxError, EOFError) as error:
        return f'{type(error).__name__}: {error}'
    except Exception:
        # Not for Pillow (its limits of size, say): OpenCV has the last word.
        return ''
    return ''
