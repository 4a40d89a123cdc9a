# SPDX-License-Identifier: Apache-2.0
"""Where VOC-format data sets lie, and how to find them and those of COCO in a config."""

from __future__ import annotations

import os
import os.path as osp
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .coco_source import COCO_CLASSES, CocoSource
from .report import DataCheckError

__all__ = ['ROLES', 'VOC_CLASSES', 'VOCSource', 'sources_from_cfg', 'sources_from_config']

#: The class names of ``mmdet.datasets.VOCDataset``, in its order.
VOC_CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip

_LEAF_TYPES = ('VOCDataset', 'XMLDataset', 'CocoDataset')
ROLES = ('train', 'val', 'test')


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


def sources_from_cfg(dataset_cfg: Mapping, role: str) -> list[VOCSource | CocoSource]:
    """Find the VOC and COCO data sets in a dataset config, through any wrappers.

    Paths are joined as ``mmengine.dataset.BaseDataset`` does it.

    Args:
        dataset_cfg (Mapping): Config of a ``VOCDataset``, ``XMLDataset`` or ``CocoDataset``, or
            of a wrapper with ``dataset`` or ``datasets`` in it (``RepeatDataset``,
            ``ConcatDataset``, ...).
        role (str): ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        list[:obj:`VOCSource` | :obj:`CocoSource`]: In the order of the config. A data set that
        cannot be checked (another type, or not on a local disk) is a :obj:`VOCSource` that has
        ``not_checked`` set.

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
        known = ', '.join(_LEAF_TYPES)
        return [_not_checked(role, f'type {kind!r}; the check knows {known}')]
    if dataset_cfg.get('backend_args', None):
        backend = dataset_cfg['backend_args'].get('backend', 'local')
        if backend != 'local':
            return [_not_checked(role, f'{kind} on file backend {backend!r}; only local files')]

    root = str(dataset_cfg.get('data_root', None) or '')
    prefix = dataset_cfg.get('data_prefix', None) or {}
    folder = 'img' if kind == 'CocoDataset' else 'sub_data_root'
    # Without `sub_data_root` MMDetection reads relative to the working directory.
    paths = {'ann_file': dataset_cfg.get('ann_file', ''), folder: prefix.get(folder, '')}
    for key, path in paths.items():
        if not isinstance(path, (str, os.PathLike)):
            raise DataCheckError(
                f'`{key}` of the {role} {kind} must be a path, got {path!r}. Write one dataset '
                'per split file and put them into a ConcatDataset.'
            )
        paths[key] = str(path)
    if root and paths['ann_file']:
        paths['ann_file'] = osp.join(root, paths['ann_file'])
    if root and folder in prefix:
        paths[folder] = osp.join(root, paths[folder])
    remote = [p for p in (root, *paths.values()) if re.match(r'\w+://', p)]
    if remote:
        return [_not_checked(role, f'{kind} at {remote[0]!r}; only local files')]
    classes = _classes_from_cfg(dataset_cfg, role, COCO_CLASSES if folder == 'img' else VOC_CLASSES)
    if folder == 'img':
        img_dir = paths['img'] if 'img' in prefix else None
        return [CocoSource(root, paths['ann_file'], img_dir, classes, role)]
    return [
        VOCSource(
            data_root=root,
            **paths,
            img_subdir=dataset_cfg.get('img_subdir', 'JPEGImages'),
            ann_subdir=dataset_cfg.get('ann_subdir', 'Annotations'),
            classes=classes,
            role=role,
        )
    ]


def sources_from_config(cfg: Mapping, roles: Sequence[str] = ROLES) -> list[VOCSource | CocoSource]:
    """Find the VOC and COCO data sets of the dataloaders in a config.

    Args:
        cfg (Mapping): ``mmengine.Config`` with ``train_dataloader`` and so on; one that is not
            there or is None is passed over.
        roles (Sequence[str]): Which dataloaders. Defaults to ``('train', 'val', 'test')``.

    Returns:
        list[:obj:`VOCSource` | :obj:`CocoSource`]: See :func:`sources_from_cfg`.

    Raises:
        DataCheckError: Unknown role, or a config value that MMDetection cannot use.
    """
    sources = []
    for role in roles:
        if role not in ROLES:
            raise DataCheckError(f'unknown role {role!r}, choose from {ROLES}')
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


def _classes_from_cfg(dataset_cfg: Mapping, role: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Class names of a leaf; a string is the path of a file of names, as in mmengine."""
    classes = (dataset_cfg.get('metainfo', None) or {}).get('classes', None)
    if classes is None:
        return default
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
