# SPDX-License-Identifier: Apache-2.0
"""Check one COCO-format data set."""

from __future__ import annotations

import os.path as osp

from .coco_annotations import check_annotations, check_categories, check_images_list
from .coco_files import check_coco_places, check_image_files, read_coco_ends, read_coco_json
from .coco_source import CocoSource
from .hints import COCO_HINTS
from .images import check_images, choose_images
from .report import CheckReport
from .values import unsafe_path
from .voc import check_options
from .wording import list_some, show

__all__ = ['check_coco']

MAX_PARSED = 64 * 2**20
"""Bytes of a json that is parsed before a run. 90 MB took 10 s and 0.6 GB on a CPU core: the
instances of COCO val2017 (20 MB) are parsed, those of train2017 (448 MB) are not."""


def check_coco(
    source: CocoSource,
    *,
    decode: str = 'none',
    sample_size: int = 64,
    seed: int = 0,
    unknown_classes: str = 'error',
    max_problems: int = 20,
    progress: bool = False,
) -> CheckReport:
    """Check one COCO-format data set: places, json, classes, boxes, files and images.

    Entries that ``mmdet.datasets.CocoDataset`` cannot read, or would read as something else, are
    problems: among them categories in another order than ``metainfo.classes``, by which
    MMDetection would give objects the label of another class. What it leaves out by intention is
    counted in warnings: boxes without area, outside of their image, or of images that are not
    listed, as in a part of a larger set.

    A json of more than 64 MB (:data:`MAX_PARSED`) is parsed with ``decode='full'`` alone.
    Otherwise of it are checked: that the file starts and ends as a json object, the categories
    if they are at its end, and ``sample_size`` of the images that it names at its start. A
    warning says so.

    Args:
        source (CocoSource): The data set.
        decode (str): Images to decode: ``'none'``, ``'sample'`` or ``'full'``. Defaults to
            ``'none'``.
        sample_size (int): Number of images of ``'sample'``. Defaults to 64.
        seed (int): Seed that chooses them. Defaults to 0.
        unknown_classes (str): What to do with objects of categories that are no class:
            ``'error'``, or ``'ignore'``: leave them out as MMDetection does, and count them in a
            warning. Defaults to ``'error'``.
        max_problems (int): How many problems ``raise_if_bad`` lists; the report has all.
            Defaults to 20.
        progress (bool): Show a progress bar on stderr while decoding. Defaults to False.

    Returns:
        CheckReport: Counts, problems and warnings. Its ``ids`` are file names; crowds count as
        difficult.

    Raises:
        DataCheckError: An option that cannot be used. Never for what is in the files.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import CocoSource, check_coco
        >>> report = check_coco(CocoSource('nowhere', 'nowhere/a.json', 'nowhere/images'))
        >>> report.ok, report.num_problems
        (False, {'no_data_root': 1})
    """
    check_options(decode, sample_size, unknown_classes, max_problems)
    report = CheckReport(
        source.title,
        per_class=dict.fromkeys(source.classes, 0),
        commands=[source.command],
        max_problems=max_problems,
        hints=COCO_HINTS,
    )
    if not check_coco_places(source, report):
        return report
    sizes: dict[str, tuple[int, int] | None] = {}
    if decode != 'full' and osp.getsize(source.ann_file) > MAX_PARSED:
        _check_ends(source, report, sample_size, seed)
    else:
        content = read_coco_json(source, report)
        if content is None:
            return report
        names = check_categories(content['categories'], source, report)
        images = check_images_list(content['images'], source, report)
        sizes.update(images.values())
        annotations = content['annotations']
        check_annotations(annotations, images, names, source, unknown_classes, report)
    there = check_image_files(source, report)
    chosen = [name for name in report.ids if name in there]
    chosen = choose_images(chosen, decode, sample_size, seed)
    paths = [source.image(name) for name in chosen]
    check_images(paths, [sizes.get(name) for name in chosen], report, progress, 'json')
    return report


def _check_ends(source: CocoSource, report: CheckReport, sample_size: int, seed: int) -> None:
    """Check what the ends of a large file tell; ``report.ids`` gets a sample of the images."""
    names, categories = read_coco_ends(source.ann_file, report)
    reasons = {name: unsafe_path(name) for name in names}
    for name, wrong in reasons.items():
        if wrong:
            report.add('bad_image_entry', source.ann_file, f'{show(name)}: file_name {wrong}')
    names = [name for name, wrong in reasons.items() if not wrong]
    names = choose_images(names, 'sample', sample_size, seed)
    report.ids = tuple(names)
    report.images = len(names)
    if categories is not None:
        found = check_categories(categories, source, report).values()
        if not set(found) & set(source.classes):
            known = f'known are: {list_some(source.classes, 30)}'
            detail = f'no category is a class: {list_some(list(found))}'
            report.add('unknown_class', source.ann_file, detail, known)
    size = osp.getsize(source.ann_file) / 2**20
    read = f'{len(names)} of its images' + ('' if categories is None else ' and the categories')
    report.warnings.append(
        f'{source.title}: {source.ann_file} has {size:.0f} MB, and above '
        f'{MAX_PARSED / 2**20:.0f} MB only {read} are looked at. NOT CHECKED are its boxes and '
        f'the other images; this does it: {source.command}'
    )
