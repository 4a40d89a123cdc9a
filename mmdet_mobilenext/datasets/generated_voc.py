# SPDX-License-Identifier: Apache-2.0
"""A seeded generator of a data set in the VOC format: the project's own data for demo and tests.

The pictures show objects of eight VOC classes, drawn of several parts in random colours on textured
backgrounds among unlabelled shapes. Only the shape of an object tells its class. The folder has the
layout of VOC2007 and is read by every VOC reader, MMDetection's ``VOCDataset`` included.
"""

import json
import os
import sys
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import cv2
import numpy as np

from mmdet_mobilenext.processes import available_cores
from mmdet_mobilenext.work_folder import work_folder

from .generated_scenes import Scene, make_scene
from .generated_shapes import GENERATED_CLASSES

GENERATOR_VERSION = 1
"""Raised whenever the same arguments give other pictures or labels."""
DEFAULT_SPLITS = {'train': 2400, 'val': 100, 'test': 500}
"""Images of each split."""
STAMP = 'generated.json'
"""File in the VOCdevkit folder that tells what was generated. A folder without it is foreign."""

_SPLIT_IDS = {'train': 0, 'val': 1, 'test': 2}
_EMPTY_EVERY, _EMPTY_AT = 100, 9  # image 9 of each 100 of the train split shows no object
_JPEG_QUALITY = 90


def generate_voc(
    dest: str | os.PathLike,
    splits: Mapping[str, int] | None = None,
    *,
    image_size: tuple[int, int] = (200, 260),
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = True,
    force: bool = False,
) -> Path:
    """Generate a data set in the VOC2007 layout, or do nothing if it is already there.

    The set is written beside ``dest`` and renamed when it is complete. The same arguments give the
    same bytes with any number of workers (and the same versions of OpenCV and NumPy).

    Args:
        dest: VOCdevkit folder to make. It must not exist, be empty, or come from this function.
        splits: Images of ``train``, ``val`` and ``test``; a split that is left out gets none.
            Default: :data:`DEFAULT_SPLITS`.
        image_size: Least and greatest longer side of an image in px, at least 64. The shorter side
            is 0.64 to 0.92 of the longer one. Default: (200, 260).
        seed: Seed, at least 0. Default: 0.
        num_workers: Processes that draw; 0 or 1 draws in this one. Default: one for each usable
            CPU, at most 8.
        progress: Whether to show a progress bar. Default: True.
        force: Whether to generate again what is there, whatever its arguments were. A foreign
            folder is never replaced. Default: False.

    Returns:
        ``dest``, with ``VOC2007/{JPEGImages,Annotations,ImageSets/Main}`` and ``generated.json``
        (arguments, and counts of images and of objects of each class).

    Raises:
        ValueError: An argument is out of range, or ``dest`` holds a set made with other arguments
            or an incomplete one and ``force`` is False.
        FileExistsError: ``dest`` was not made by this function.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp()) / 'VOCdevkit'
        >>> _ = generate_voc(root, dict(train=3, test=1), num_workers=0, progress=False)
        >>> (root / 'VOC2007/ImageSets/Main/train.txt').read_text().split()
        ['000001', '000002', '000003']
    """
    dest = Path(dest)
    wanted = _checked_arguments(splits, image_size, seed)
    if _is_done(dest, wanted, force):
        return dest

    real = dest.resolve()  # a link stays a link: the folder that it names is replaced
    with work_folder(real) as work:
        _write_set(work / 'new', wanted, num_workers, progress)
        if _is_done(dest, wanted, force):  # another process was faster
            return dest
        if real.exists():
            os.rename(real, work / 'old')
        os.rename(work / 'new', real)
    return dest


def _checked_arguments(
    splits: Mapping[str, int] | None, image_size: tuple[int, int], seed: int
) -> dict:
    """The arguments that determine the set, in the form in which the stamp holds them."""
    splits = DEFAULT_SPLITS if splits is None else splits
    unknown = sorted(set(splits) - set(_SPLIT_IDS))
    if unknown:
        raise ValueError(f'splits has the unknown names {unknown}; use train, val and test')
    counts = {name: int(splits.get(name, 0)) for name in _SPLIT_IDS}
    if min(counts.values()) < 0 or sum(counts.values()) == 0:
        raise ValueError(f'splits must name at least one image and none below 0, not {counts}')
    low, high = map(int, image_size)
    if not 64 <= low <= high:
        raise ValueError(
            f'image_size must be (least, greatest) longer side, at least 64 px and in '
            f'this order, not {tuple(image_size)}'
        )
    if int(seed) < 0:
        raise ValueError(f'seed must be 0 or more, not {seed}')
    return {
        'generator': 'mmdet_mobilenext.datasets.generated_voc',
        'version': GENERATOR_VERSION,
        'seed': int(seed),
        'image_size': [low, high],
        'splits': counts,
    }


def _is_done(dest: Path, wanted: dict, force: bool) -> bool:
    """Whether ``dest`` holds the wanted set; False if it may be written, otherwise an error."""
    if not os.path.lexists(dest) or (dest.is_dir() and not any(dest.iterdir())):
        return False
    stamp = dest / STAMP
    if not stamp.is_file():
        raise FileExistsError(
            f'{dest} exists and was not generated (it has no {STAMP}): it may be your own data, so '
            f'it is left alone, with force too. Choose another folder, or move this one away'
        )
    if force:
        return False
    try:
        found = json.loads(stamp.read_text())
        problems = [
            f'{key} is {found.get(key)!r} there and {value!r} here'
            for key, value in wanted.items()
            if found.get(key) != value
        ]
    except (ValueError, AttributeError) as error:
        problems = [f'its {STAMP} cannot be read ({error})']
    problems = problems or _missing_files(dest / 'VOC2007', sum(wanted['splits'].values()))
    if problems:
        raise ValueError(
            f'{dest} does not hold the generated set that is asked for: {"; ".join(problems)}. '
            'Generate it again with force=True (--force), or choose another folder'
        )
    return True


def _missing_files(voc: Path, total: int) -> list[str]:
    """What a complete set of ``total`` images has and this folder has not."""
    problems = []
    for folder, suffix in (('JPEGImages', '.jpg'), ('Annotations', '.xml')):
        path = voc / folder
        number = sum(n.endswith(suffix) for n in os.listdir(path)) if path.is_dir() else 0
        if number != total:
            problems.append(f'{path} has {number} {suffix} files instead of {total}')
    lists = (voc / 'ImageSets/Main' / f'{split}.txt' for split in (*_SPLIT_IDS, 'trainval'))
    return problems + [f'{path} is missing' for path in lists if not path.is_file()]


def _write_set(root: Path, wanted: dict, num_workers: int | None, progress: bool) -> None:
    """Draw all images and write the whole VOCdevkit folder ``root``."""
    voc = root / 'VOC2007'
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (voc / folder).mkdir(parents=True)
    tasks = [(split, k) for split, n in wanted['splits'].items() for k in range(n)]
    tasks = [(f'{number:06d}', *task) for number, task in enumerate(tasks, 1)]
    draw = partial(_draw, seed=wanted['seed'], image_size=tuple(wanted['image_size']))
    statistics = {split: Counter() for split in _SPLIT_IDS}
    by_split = {split: [] for split in _SPLIT_IDS}
    results = _map(draw, tasks, num_workers, progress)
    for (name, split, _), (jpeg, xml, count) in zip(tasks, results, strict=True):
        (voc / 'JPEGImages' / f'{name}.jpg').write_bytes(jpeg)
        (voc / 'Annotations' / f'{name}.xml').write_bytes(xml)
        statistics[split].update(count)
        by_split[split].append(name)

    by_split['trainval'] = by_split['train'] + by_split['val']
    for split, members in by_split.items():
        (voc / 'ImageSets/Main' / f'{split}.txt').write_text(''.join(f'{m}\n' for m in members))
    keys = ('objects', 'difficult', 'truncated', 'images_without_objects', *GENERATED_CLASSES)
    counts = {s: {key: statistics[s][key] for key in keys} for s in _SPLIT_IDS}
    stamp = {**wanted, 'counts': counts, 'opencv': cv2.__version__, 'numpy': np.__version__}
    (root / STAMP).write_text(json.dumps(stamp, indent=2) + '\n')


def _draw(
    task: tuple[str, str, int], seed: int, image_size: tuple[int, int]
) -> tuple[bytes, bytes, Counter]:
    """JPEG, XML and statistics of one image."""
    name, split, index = task
    rng = np.random.default_rng(np.random.SeedSequence([seed, _SPLIT_IDS[split], index]))
    empty = split == 'train' and index % _EMPTY_EVERY == _EMPTY_AT
    scene = make_scene(rng, image_size, empty)
    jpeg = cv2.imencode('.jpg', scene.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return jpeg.tobytes(), annotation_xml(f'{name}.jpg', scene), _count(scene)


def _count(scene: Scene) -> Counter:
    count = Counter(o.name for o in scene.objects)
    count['objects'] = len(scene.objects)
    count['difficult'] = sum(o.difficult for o in scene.objects)
    count['truncated'] = sum(o.truncated for o in scene.objects)
    count['images_without_objects'] = int(not scene.objects)
    return count


def annotation_xml(filename: str, scene: Scene) -> bytes:
    """Write a scene's labels as a VOC annotation.

    Args:
        filename: Name of the image file.
        scene: The scene; boxes become 1-based with inclusive ends, as in VOC.

    Returns:
        The XML file's content.
    """
    height, width = scene.image.shape[:2]
    root = ET.Element('annotation')

    def put(parent: ET.Element, **values: object) -> None:
        for key, value in values.items():
            ET.SubElement(parent, key).text = str(value)

    put(root, folder='VOC2007', filename=filename)
    put(
        ET.SubElement(root, 'source'),
        database='generated',
        annotation='generated',
        image='generated',
    )
    put(ET.SubElement(root, 'size'), width=width, height=height, depth=3)
    put(root, segmented=0)
    for known in scene.objects:
        node = ET.SubElement(root, 'object')
        put(
            node,
            name=known.name,
            pose='Unspecified',
            truncated=int(known.truncated),
            difficult=int(known.difficult),
        )
        corners = (value + 1 for value in known.box)
        put(
            ET.SubElement(node, 'bndbox'),
            **dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True)),
        )
    ET.indent(root, '\t')
    return ET.tostring(root) + b'\n'


def _map(function, tasks: list, num_workers: int | None, progress: bool) -> Iterator:
    """Results of ``function`` in the order of ``tasks``, with a progress bar."""
    if num_workers is None:
        num_workers = min(available_cores(), 8)
    if num_workers < 0:
        raise ValueError(f'num_workers must be 0 or more, not {num_workers}')
    bar = None
    if progress:
        from mmengine.utils import ProgressBar  # slow to import: not needed if all is done

        bar = ProgressBar(len(tasks), file=sys.stdout)
    with _single_threaded_opencv():
        if num_workers > 1:
            with ProcessPoolExecutor(num_workers, initializer=_end_with_parent) as pool:
                yield from _shown(pool.map(function, tasks, chunksize=16), bar)
        else:
            yield from _shown(map(function, tasks), bar)


def _shown(results: Iterator, bar) -> Iterator:
    """Pass results on, and move the bar now and then: a log file should not get a line for each."""
    done = 0
    for result in results:
        yield result
        done += 1
        if bar is not None and (done % 50 == 0 or done == bar.task_num):
            bar.update(50 if done % 50 == 0 else done % 50)
    if bar is not None:
        sys.stdout.write('\n')


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    # Also ends OpenCV's threads before a fork; a child that waits for them would wait for ever.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _end_with_parent() -> None:
    """Let a worker end when its parent was killed; it would wait for work for ever."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
