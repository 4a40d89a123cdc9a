# SPDX-License-Identifier: Apache-2.0
"""Check one VOC-format data set."""

from __future__ import annotations

import os.path as osp

from .annotations import Counts, check_xml, conclude_counts
from .files import check_ids, check_listed, check_places
from .images import check_images, choose_images
from .report import CheckReport, DataCheckError
from .sources import VOCSource

__all__ = ['check_options', 'check_voc']

_DECODE = ('none', 'sample', 'full')
_UNKNOWN = ('error', 'ignore')


def check_options(decode: str, sample_size: int, unknown_classes: str, max_problems: int) -> None:
    """Check the options of a check; raise :class:`DataCheckError` for one that cannot be used."""
    for name, value, allowed in (
        ('decode', decode, _DECODE),
        ('unknown_classes', unknown_classes, _UNKNOWN),
    ):
        if value not in allowed:
            raise DataCheckError(f'`{name}` must be one of {allowed}, got {value!r}')
    for name, value in (('sample_size', sample_size), ('max_problems', max_problems)):
        if not isinstance(value, int) or value < 1:
            raise DataCheckError(f'`{name}` must be a whole number of at least 1, got {value!r}')


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
    check_options(decode, sample_size, unknown_classes, max_problems)
    if source.not_checked:
        text = f'NOT CHECKED: {source.role} data set, {source.not_checked}'
        return CheckReport(f'{source.role} (not checked)', warnings=[text])

    report = CheckReport(
        source.title,
        per_class=dict.fromkeys(source.classes, 0),
        commands=[source.command],
        max_problems=max_problems,
    )
    if not check_places(source, report):
        return report
    report.ids = check_ids(source, report)
    report.images = len(report.ids)
    images = check_listed(source.img_dir, '.jpg', 'missing_image', report)
    xmls = check_listed(source.ann_dir, '.xml', 'missing_xml', report)
    counts = Counts()
    sizes = {}
    for img_id in report.ids:
        if img_id in xmls:
            path = osp.join(source.ann_dir, f'{img_id}.xml')
            sizes[img_id] = check_xml(path, source.classes, unknown_classes, report, counts)
    conclude_counts(source, report, counts)

    there = [img_id for img_id in report.ids if img_id in images]
    chosen = choose_images(there, decode, sample_size, seed)
    paths = [osp.join(source.img_dir, f'{img_id}.jpg') for img_id in chosen]
    check_images(paths, [sizes.get(img_id) for img_id in chosen], report, progress)
    return report
