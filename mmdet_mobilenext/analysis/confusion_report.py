# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix of a tested detector as a table for other programs and as a picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmdet_mobilenext.benchmark.page.class_figures import confusion_figure
from mmdet_mobilenext.benchmark.page.drawing import Canvas
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.test import test
from mmdet_mobilenext.evaluation.confusion import confusion_matrix
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['matrix_csv', 'predict_records', 'write_confusion']

NO_OBJECT, MISSED = '(no object)', '(missed)'


def predict_records(cfg: Config, checkpoint: str, path: str | Path) -> DetectionRecords:
    """Test a detector and keep detections and objects in a file that can hold no code.

    Args:
        cfg (Config): Config of a run, changed in place: its evaluator is replaced.
        checkpoint (str): Weights, which must match key by key.
        path (str | Path): ``.npz`` file to write.

    Returns:
        DetectionRecords: Of the whole test set.

    Raises:
        CheckpointKeyError, DataCheckError, FileNotFoundError: See
            :func:`~mmdet_mobilenext.engine.test.test`.
    """
    cfg.test_evaluator = dict(type='DetectionMetric', outfile=str(path))
    test(cfg, checkpoint)
    return DetectionRecords.load(path)


def matrix_csv(matrix: np.ndarray, classes: tuple[str, ...]) -> str:
    """A confusion matrix as CSV.

    Args:
        matrix (np.ndarray): (K + 1, K + 1), see
            :func:`~mmdet_mobilenext.evaluation.confusion.confusion_matrix`.
        classes (tuple[str, ...]): K names.

    Returns:
        str: A row for each class of objects and one for none, a column for each class of
        detections and one for missed objects.

    Example:
        >>> print(matrix_csv(np.array([[3, 1], [2, 0]]), ('cat',)))
        object,cat,(missed)
        cat,3,1
        (no object),2,0
        <BLANKLINE>
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(['object', *classes, MISSED])
    for name, row in zip([*classes, NO_OBJECT], matrix.tolist(), strict=True):
        writer.writerow([name, *row])
    return stream.getvalue()


def write_confusion(
    records: DetectionRecords,
    folder: str | Path,
    name: str,
    score_thr: float = 0.3,
    iou_thr: float = 0.5,
) -> list[Path]:
    """Write ``confusion.csv`` with counts and ``confusion.svg`` with shares.

    Args:
        records (DetectionRecords): Detections and objects.
        folder (str | Path): Where to; made if it is not there.
        name (str): Of the detector.
        score_thr (float): Lowest score of a detection that counts. Defaults to 0.3.
        iou_thr (float): Lowest IoU of a detection and its object. Defaults to 0.5.

    Returns:
        list[Path]: Both files.

    Raises:
        OptionError: If a threshold is not in 0..1.
        OSError: If a file cannot be written.
    """
    for what, value in (('score_thr', score_thr), ('iou_thr', iou_thr)):
        if not 0 <= value <= 1:
            raise OptionError(f'{what} must be in [0, 1], but received {value}')
    matrix = confusion_matrix(records, score_thr, iou_thr)
    confusion = dict(matrix=matrix.tolist(), score_thr=score_thr, iou_thr=iou_thr)
    results = dict(classes=records.classes, models=[dict(name=name, confusion=confusion)])
    with Canvas.style():
        figure = confusion_figure(results, 0)
    paths = [Path(folder) / 'confusion.csv', Path(folder) / 'confusion.svg']
    for path, text in zip(paths, (matrix_csv(matrix, records.classes), figure.svg), strict=True):
        AtomicLocalBackend().put_text(text, path)
    return paths
