# SPDX-License-Identifier: Apache-2.0
"""Import a data set: read, place the images, write, keep the books."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from tqdm import tqdm

from mmdet_mobilenext.work_folder import work_folder

from .arguments import check_options, check_out
from .boxes import clean_boxes
from .config_lines import config_lines
from .out_folder import OutFolder
from .paths import ImageFolder, give_ids
from .pictures import PictureError, Placed, place_picture
from .read_coco import read_coco
from .read_voc import read_voc
from .read_yolo import read_yolo
from .records import ImportDataError, SourceImage, SourceSet
from .report import REPORT_NAME, ImportReport
from .splits import draw_splits, named_values
from .writers import IMAGE_FOLDERS, FinalImage, write_coco, write_voc, write_yolo

__all__ = ['import_dataset']

_WRITERS = {'voc': write_voc, 'coco': write_coco, 'yolo': write_yolo}


def import_dataset(
    sources: Sequence[str],
    out: str | os.PathLike,
    *,
    source_format: str,
    target_format: str = 'voc',
    images: Sequence[str] = (),
    splits: Mapping[str, float] | None = None,
    split_name: str | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    link: bool = False,
    lossless: bool = False,
    exif: str = 'refuse',
    force: bool = False,
    progress: bool = True,
) -> ImportReport:
    """Bring a data set into another layout; the package tells how boxes and flags are taken.

    The result is written beside ``out`` and renamed when it is complete.

    Args:
        sources (Sequence[str]): COCO: json files, as ``train=FILE val=FILE`` or one alone.
            YOLO: a ``data.yaml``, or a folder of label files. VOC: folders such as
            ``VOCdevkit/VOC2007``.
        out (str | os.PathLike): Folder to make. It must not exist, or be empty.
        source_format (str): ``'coco'``, ``'yolo'`` or ``'voc'``.
        target_format (str): The same. Defaults to ``'voc'``.
        images (Sequence[str]): Folder of the images, for COCO also ``train=DIR val=DIR``.
            Defaults to none: the source tells.
        splits (Mapping[str, float], optional): Name to share of a random split, for sources that
            have none. Defaults to None.
        split_name (str, optional): Name of the one split, for sources that have none. Defaults
            to None.
        seed (int): Seed of the random split. Defaults to 0.
        classes (Sequence[str], optional): Classes to keep, in order. Defaults to None, all.
        link (bool): Link images instead of copying where nothing is changed. Defaults to False.
        lossless (bool): Where an image is encoded anew, write PNG data (under the name ``.jpg``
            in VOC, which MMDetection reads) instead of JPEG of quality 95. Defaults to False.
        exif (str): What boxes refer to in an image turned by EXIF, where the annotated size does
            not tell: ``'upright'``, ``'stored'``, or ``'refuse'`` it. Defaults to ``'refuse'``.
        force (bool): Replace what this function made at ``out`` before. Defaults to False.
        progress (bool): Show a progress bar. Defaults to True.

    Returns:
        ImportReport: What was read, dropped, changed and written; also in
        ``out/import_report.json``. ``facts['config']`` holds the lines of a config.

    Raises:
        ImportDataError: The source cannot be read, an argument does not fit, or no image or no
            object is left.
        FileExistsError: ``out`` exists, or has files of its owner in it.
        FileNotFoundError: A source does not exist.
        OSError: The result cannot be written; it names file and disk.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> Image.new('RGB', (40, 30)).save(root / 'a.jpg')
        >>> _ = (root / 'a.json').write_text(json.dumps(dict(
        ...     images=[dict(id=7, file_name='a.jpg', width=40, height=30)],
        ...     annotations=[dict(id=1, image_id=7, category_id=3, bbox=[2, 3, 10, 20])],
        ...     categories=[dict(id=3, name='my cat')])))
        >>> report = import_dataset([f'train={root}/a.json'], root / 'voc', source_format='coco',
        ...                         images=[root], progress=False)
        >>> report.written, sorted(p.name for p in (root / 'voc').iterdir())[:3]
        ([1, 1], ['Annotations', 'ImageSets', 'JPEGImages'])
    """
    check_options(sources, source_format, target_format, exif, splits, split_name)
    out = Path(out)
    check_out(out, force)
    report = ImportReport()
    known = _read(sources, source_format, images, classes, report)
    wanted = _wanted_splits(known, splits, split_name)
    give_ids(known.images, report)

    real = out.resolve()  # a link stays a link: the folder that it names is replaced
    with work_folder(real) as work:
        new = OutFolder(work / 'new')
        place = partial(
            _place,
            out=new,
            folder=IMAGE_FOLDERS[target_format],
            only_jpg_name=target_format == 'voc',
            link=link,
            lossless=lossless,
            exif=exif,
        )
        finals = _place_all(known.images, place, report, progress, source_format, target_format)
        ids = {image.img_id for image in finals}
        if not ids:
            raise ImportDataError(f'no image is left:\n{report}')
        members = {
            name: [image.img_id for image in split.values() if image.img_id in ids]
            for name, split in known.splits.items()
        }
        if wanted is not None:
            everything = members['']
            members = draw_splits(everything, wanted, seed)
        _note_unused(finals, known.classes, members, report)
        _WRITERS[target_format](new, finals, members, known.classes, report)
        report.written = [len(finals), sum(len(image.boxes) for image in finals)]
        if report.read[1] and not report.written[1]:
            raise ImportDataError(f'no object is left to train on:\n{report}')
        if report.unaccounted() != (0, 0):
            raise RuntimeError(f'images and boxes lost without a reason: {report.unaccounted()}')
        report.facts = dict(
            source=[str(source) for source in sources],
            source_format=source_format,
            target_format=target_format,
            out=str(real),
            classes=list(known.classes),
            splits={name: len(names) for name, names in members.items()},
            drawn=dict(shares=dict(wanted), seed=seed) if wanted is not None else None,
            config=config_lines(
                real,
                known.classes,
                [name for name, names in members.items() if names],
                target_format,
                empty=[name for name, names in members.items() if not names],
                can_draw=wanted is not None,
            ),
        )
        new.write(REPORT_NAME, report.to_json())
        new.write_record()
        check_out(out, force)  # another process may have been faster
        _replace(real, new.root, work / 'old')
    return report


def _replace(real: Path, new: Path, old: Path) -> None:
    """Put a folder in the place of another, or leave that one there."""
    if real.exists():
        os.rename(real, old)
    try:
        os.rename(new, real)
    except BaseException:
        if old.exists():
            os.rename(old, real)
        raise


def _read(
    sources: Sequence[str],
    source_format: str,
    images: Sequence[str],
    classes: Sequence[str] | None,
    report: ImportReport,
) -> SourceSet:
    folders = {}
    for name, path in named_values(images):
        if not os.path.isdir(path):
            raise FileNotFoundError(f'no image folder {path}')
        folders[name] = ImageFolder(path)
    if source_format == 'coco':
        if not folders:
            raise ImportDataError('COCO json files do not tell where the images are: --images DIR')
        return read_coco(named_values(sources), folders, classes, report)
    if set(folders) - {''}:
        raise ImportDataError(f'--images of {source_format} is one folder, got {list(images)}')
    if source_format == 'yolo':
        return read_yolo(str(sources[0]), folders.get(''), classes, report)
    return read_voc(sources, folders, classes, report)


def _wanted_splits(
    known: SourceSet, splits: Mapping[str, float] | None, split_name: str | None
) -> Mapping[str, float] | None:
    """Shares to draw, None if the source has its splits."""
    named = [name for name in known.splits if name]
    if named and (splits or split_name):
        raise ImportDataError(
            f'the source has the splits {named}, which are kept: leave --split and --split-name out'
        )
    if named and '' in known.splits:
        raise ImportDataError(f'some sources have splits ({named}) and some have none')
    if named:
        return None
    if not splits and not split_name:
        raise ImportDataError(
            'the source has no splits: say --split train=0.8 val=0.2 to draw them, or '
            '--split-name train (for COCO: name the files, train=FILE val=FILE)'
        )
    return splits or {split_name: 1.0}


def _place(
    image: SourceImage, out: OutFolder, folder: str, **options: object
) -> Placed | PictureError:
    try:
        return place_picture(image.path, image.size, out, f'{folder}/{image.img_id}', **options)
    except PictureError as error:
        return error


def _place_all(
    images: Sequence[SourceImage],
    place: partial,
    report: ImportReport,
    progress: bool,
    source_format: str,
    target_format: str,
) -> list[FinalImage]:
    """Bring all images over, in threads (decoders release the interpreter lock)."""
    finals, links = [], Counter()
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        closing(pool.map(place, images)) as results,  # an interruption does not wait for the rest
    ):
        bar = tqdm(results, 'images', len(images), disable=not progress, unit='img')
        for image, placed in zip(images, bar, strict=True):
            if isinstance(placed, PictureError):
                reason, detail = placed.args
                report.add(reason, image.name, detail, images=1, boxes=len(image.boxes))
                continue
            for reason, detail in placed.notes:
                if reason == 'image_linked':
                    links[detail] += 1
                elif reason != 'size_from_file' or source_format != 'yolo':  # it never has sizes
                    report.add(reason, image.name, detail)
            boxes = clean_boxes(
                image.boxes,
                image.name,
                placed.size,
                report,
                fractions=image.fractions,
                stored_size=placed.stored_size,
                orientation=placed.orientation,
            )
            boxes = _flags(boxes, image.name, report, source_format, target_format)
            if not boxes:
                report.add('image_without_boxes', image.name)
            finals.append(FinalImage(image.img_id, placed, boxes))
    for kind, number in links.items():
        report.add('image_linked', f'{kind} links', f'{number} images')
    return finals


def _flags(boxes: list, name: str, report: ImportReport, source: str, target: str) -> list:
    """Enter what becomes of difficult boxes and crowds; YOLO cannot have them."""
    reasons = {('coco', 'voc'): 'crowd_to_difficult', ('voc', 'coco'): 'difficult_to_crowd'}
    reason = 'difficult_left_out' if target == 'yolo' else reasons.get((source, target))
    dropped = int(target == 'yolo')
    for box in boxes:
        if box.difficult and reason:
            report.add(reason, name, box.label, boxes=dropped)
    return [box for box in boxes if not (box.difficult and dropped)]


def _note_unused(
    finals: Sequence[FinalImage],
    classes: Sequence[str],
    members: Mapping[str, Sequence[str]],
    report: ImportReport,
) -> None:
    used = {box.label for image in finals for box in image.boxes}
    for name in classes:
        if name not in used:
            report.add('class_without_objects', name)
    for name, ids in members.items():
        if not ids:
            report.add('split_empty', name)
