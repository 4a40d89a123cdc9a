# SPDX-License-Identifier: Apache-2.0
"""What a detector loses its mAP to, by the definition of TIDE.

Bolya, Foley, Hays and Hoffman, TIDE: A General Toolbox for Identifying Object Detection Errors,
ECCV 2020, https://arxiv.org/abs/2008.08115; the authors' program is ``tidecv``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdet_mobilenext.evaluation.average_precision import average_precision, mean_over_classes
from mmdet_mobilenext.evaluation.matching import Matches, match_coco, match_voc
from mmdet_mobilenext.evaluation.pairs import image_pairs
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['ERROR_TYPES', 'SPECIAL_ERRORS', 'error_analysis']

ERROR_TYPES: tuple[str, ...] = (
    'classification',
    'localisation',
    'both',
    'duplicate',
    'background',
    'missed',
)
"""The six kinds of errors. Each false positive has one of the first five."""

SPECIAL_ERRORS: tuple[str, ...] = ('false_positive', 'false_negative')
"""All false positives, and all objects not found, whatever the reason."""


def error_analysis(
    records: DetectionRecords,
    mode: str = '11points',
    rules: str = 'voc',
    iou_thr: float = 0.5,
    background_thr: float = 0.1,
) -> dict:
    """Compute the mAP that would be gained if errors of one kind did not happen.

    A false positive is, in this order:

    - ``localisation``: its IoU with an object of its class is ``background_thr`` to ``iou_thr``.
    - ``classification``: its IoU with an object of another class is at least ``iou_thr``.
    - ``duplicate``: its IoU with an object that another detection has found is at least
      ``iou_thr``.
    - ``background``: its IoU with any object is at most ``background_thr``.
    - ``both``: all else, that is a wrong class in a wrong place.

    ``missed`` is an object that no detection finds, and that no error of localisation or
    classification would find if it were put right. To put right means: the best scored
    localisation or classification error of an object not found becomes a true positive (of the
    object's class), all others are taken away; of missed objects, their number is taken away.
    ``false_positive`` puts all false positives behind all true ones, ``false_negative`` takes all
    objects not found away. The gains are each from the mAP as it is and do not add up to what is
    missing to 1. Difficult objects, and detections that found them, do not take part.

    With ``mode='coco', rules='coco'`` and without difficult objects the figures are those of
    ``tidecv`` 1.0.1, in 0..1 instead of 0..100, apart from habits of it: a class without objects
    has an average precision of 0, a class that loses all of its objects by a fix and has no
    detections leaves the mean, at most 100 detections of an image count, and the recalls are
    ``i / 100``, which is not to the last bit what ``COCOeval`` has.

    Args:
        records (DetectionRecords): Detections and objects.
        mode (str): Kind of average precision, see
            :func:`~mmdet_mobilenext.evaluation.average_precision.average_precision`. Defaults to
            ``11points``.
        rules (str): Rules of matching and of overlaps, ``voc`` or ``coco``. Defaults to ``voc``.
        iou_thr (float): IoU from which on an object is found. Defaults to 0.5.
        background_thr (float): IoU up to which a detection is on no object. Defaults to 0.1.

    Returns:
        dict: ``base``, the mAP; the gain of each of :data:`ERROR_TYPES` (not below 0) and of
        :data:`SPECIAL_ERRORS`, float in 0..1, or None if no class has objects; and ``counts``, how
        many errors there are of each kind, dict of str to int.

    Raises:
        ValueError: If there is no such mode or are no such rules, if thresholds are not in order,
            or if labels are outside of the classes.

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ['cat', 'dog'],
        ...     ['a'],
        ...     det=[([[0, 0, 9, 9], [50, 0, 59, 9]], [0.9, 0.8], [0, 0])],
        ...     gt=[([[0, 0, 9, 9], [50, 0, 59, 9]], [0, 1], [False, False])],
        ... )
        >>> errors = error_analysis(records)  # the dog is taken for a cat
        >>> errors['base'], errors['classification'], errors['counts']['classification']
        (0.5, 0.5, 1)
    """
    if rules not in ('voc', 'coco'):
        raise ValueError(f"rules is {rules!r}, but has to be 'voc' or 'coco'")
    if not 0 <= background_thr < iou_thr <= 1:
        raise ValueError(
            f'background_thr is {background_thr} and iou_thr is {iou_thr}, but they have to be in '
            'order between 0 and 1'
        )
    matches = _match(records, rules, iou_thr)
    found = np.zeros(len(records.gt_labels), bool)
    found[matches.gt_index[matches.tp]] = True
    errors = _classify(records, matches, found, rules, iou_thr, background_thr)
    not_found = ~found & ~records.gt_ignored

    # The best scored of the errors that would find the same object, in order of score.
    wrong = np.flatnonzero(errors.target >= 0)
    wrong = wrong[not_found[errors.target[wrong]]]
    wrong = wrong[np.argsort(-matches.scores[wrong], kind='stable')]
    targets, best = np.unique(errors.target[wrong], return_index=True)
    repaired = np.zeros(len(matches.order), bool)
    repaired[wrong[best]] = True
    missed = not_found.copy()
    missed[targets] = False

    counts = {t: int((errors.kind == i).sum()) for i, t in enumerate(ERROR_TYPES)}
    counts['missed'] = int(missed.sum())
    counts['false_positive'] = int(matches.fp.sum())
    counts['false_negative'] = int(not_found.sum())

    def mean_ap(labels=matches.labels, tp=matches.tp, fp=matches.fp, removed=None, ranks=None):
        objects = matches.num_gt.copy()
        if removed is not None:
            objects -= np.bincount(records.gt_labels[removed], minlength=len(objects))
        keep = np.flatnonzero(tp | fp)
        ranks = -matches.scores if ranks is None else ranks
        keep = keep[np.lexsort((ranks[keep], labels[keep]))]
        edges = np.searchsorted(labels[keep], np.arange(len(objects) + 1))
        values = np.full(len(objects), np.nan)
        # Classes stay in the mean even if all of their objects are taken away.
        for k in np.flatnonzero(matches.num_gt):
            part = keep[edges[k] : edges[k + 1]]
            values[k] = average_precision(tp[part], fp[part], objects[k], mode) or 0.0
        return mean_over_classes(values)

    base = mean_ap()
    result: dict = {'base': base}
    if base is None:
        return {**result, **dict.fromkeys((*ERROR_TYPES, *SPECIAL_ERRORS)), 'counts': counts}
    for i, name in enumerate(ERROR_TYPES[:-1]):
        these = errors.kind == i
        right = these & repaired
        labels = matches.labels.copy()
        labels[right] = records.gt_labels[errors.target[right]]
        gain = mean_ap(labels, matches.tp | right, matches.fp & ~these) - base
        # As in tidecv: a fix can lower an interpolated mean a little, which is no loss.
        result[name] = max(gain, 0.0)
    result['missed'] = max(mean_ap(removed=missed) - base, 0.0)
    result['false_positive'] = mean_ap(ranks=matches.fp.astype(np.float32)) - base
    result['false_negative'] = mean_ap(removed=not_found) - base
    return {**result, 'counts': counts}


@dataclass(frozen=True)
class _Errors:
    kind: np.ndarray  # (D,) int, index into ERROR_TYPES, -1 for what is no false positive
    target: np.ndarray  # (D,) int, object that a localisation or classification error is on, or -1


def _match(records: DetectionRecords, rules: str, iou_thr: float) -> Matches:
    if rules == 'voc':
        return match_voc(records, iou_thr)
    matches = match_coco(records, [iou_thr], max_dets=max(len(records.det_scores), 1))
    return Matches(
        order=matches.order,
        labels=matches.labels,
        scores=matches.scores,
        images=matches.images,
        tp=matches.tp[0],
        fp=matches.fp[0],
        gt_index=matches.gt_index[0],
        num_gt=matches.num_gt,
        starts=matches.starts,
    )


def _classify(
    records: DetectionRecords,
    matches: Matches,
    found: np.ndarray,
    rules: str,
    iou_thr: float,
    background_thr: float,
) -> _Errors:
    wrong = np.flatnonzero(matches.fp)
    pairs = image_pairs(records, matches.order[wrong], whole_pixels=rules == 'voc')
    counted = ~records.gt_ignored[pairs.gt]
    det, gt, iou = pairs.det[counted], pairs.gt[counted], pairs.iou[counted]
    own_class = matches.labels[wrong][det] == records.gt_labels[gt]

    def best(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Highest IoU of each false positive with these objects, and the first that has it."""
        highest, first = np.full(len(wrong), -1.0), np.full(len(wrong), -1)
        np.maximum.at(highest, det[which], iou[which])
        top = np.flatnonzero(which)[iou[which] == highest[det[which]]][::-1]
        first[det[top]] = gt[top]  # of several the last assignment stays: the first object
        return highest, first

    own, own_gt = best(own_class)
    other, other_gt = best(~own_class)
    used, _ = best(own_class & found[gt])
    location = (own >= background_thr) & (own <= iou_thr)
    kinds = {
        'localisation': location,
        'classification': other >= iou_thr,
        'duplicate': used >= iou_thr,
        'background': np.maximum(own, other) <= background_thr,
    }
    names = np.select(
        list(kinds.values()), [ERROR_TYPES.index(name) for name in kinds], ERROR_TYPES.index('both')
    )
    kind = np.full(len(matches.order), -1)
    kind[wrong] = names
    target = np.full(len(matches.order), -1)
    target[wrong] = np.select(
        [location, names == ERROR_TYPES.index('classification')], [own_gt, other_gt], -1
    )
    return _Errors(kind, target)
