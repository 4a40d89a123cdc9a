# SPDX-License-Identifier: Apache-2.0
"""Plausible results of a comparison, drawn from a seed: input of the tests of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from small_voc import make_small_voc

from mmdet_mobilenext.datasets.generated_shapes import GENERATED_CLASSES
from mmdet_mobilenext.evaluation.records import DetectionRecords

VOC = (
    'aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike '
    'person pottedplant sheep sofa train tvmonitor'
).split()
METRICS = ('voc_11point', 'voc_area', 'coco', 'coco_50', 'coco_75')
NAMES = ('ssdlite_mobilenetv2_demo', 'ssdlite_mobilenext_demo', 'ssdlite_mobilenext_w050_demo')


def make_results(
    models: int = 2,
    seeds: int = 1,
    classes: Sequence[str] = VOC,
    without: Sequence[str] = (),
    curves: bool = True,
    seed: int = 0,
) -> dict:
    """Results of so many models and seeds; classes in `without` have no object."""
    rng = np.random.default_rng(seed)
    classes = list(classes)
    objects = {c: 0 if c in without else int(rng.integers(20, 300)) for c in classes}
    base = {c: float(rng.uniform(0.35, 0.8)) for c in classes}
    entries = [
        _model(rng, k, NAMES[k], seeds, classes, objects, base, curves) for k in range(models)
    ]
    return {
        'schema_version': 2,
        'title': ' against '.join(entry['name'] for entry in entries),
        'protocol': {
            'seeds': list(range(seeds)),
            'trained_here': curves,
            'launcher': 'none',
            'processes': 1,
            'threads': 1,
            'cfg_options': {'train_cfg.max_epochs': 30, 'data_root': 'data/VOCdevkit/'},
            'headline': 'voc_11point',
            'resamples': 1000,
            'level': 0.95,
            'input_size': [128, 128],
            'data': {
                'test': {
                    'images': 500,
                    'objects': sum(objects.values()),
                    'difficult': 12,
                    'digest': '0123456789abcdef',
                },
                'train': {'images': 2400, 'objects': 8012, 'difficult': 61, 'digest': '0f' * 8}
                if curves
                else None,
            },
            'code': {
                'package': '0.1.0',
                'digest': 'fedcba9876543210',
                'torch': '2.13.0',
                'mmcv': '2.3.6',
                'mmengine': '0.10.12',
                'mmdet': '3.5.1',
                'numpy': '2.2.6',
            },
        },
        'classes': classes,
        'models': entries,
        'comparisons': [_comparison(rng, entries[0], entry, seeds) for entry in entries[1:]],
        'published': [
            {
                'name': f'{backbone} SSDLite',
                'backbone': backbone,
                'voc_11point': value,
                'setting': 'VOC07+12 trainval, ImageNet weights, 320x320',
                'source': source,
            }
            for backbone, value, source in (
                ('MobileNetV2', 0.717, 'https://arxiv.org/abs/2007.02269'),
                ('MobileNeXt', 0.726, 'arXiv:2007.02269, table 8'),
            )
        ],
        'disagreement': [
            {
                'image_id': f'{number:06d}',
                'model_a': entries[0]['name'],
                'model_b': entries[1]['name'],
                'f1_a': 0.25,
                'f1_b': 0.8,
            }
            for number in range(1, 5)
        ]
        if models > 1
        else [],
        'volatile': {
            'machine': '2-core x86_64 CPU',
            'finished': '2026-11-24',
            'models': {entry['name']: _measured(rng, k, seeds) for k, entry in enumerate(entries)},
        },
    }


def _model(rng, k, name, seeds, classes, objects, base, curves) -> dict:
    runs = []
    for number in range(seeds):
        ap = {c: base[c] + 0.02 * k + float(rng.normal(0, 0.02)) for c in classes}
        mean = float(np.mean([ap[c] for c in classes if objects[c]]))
        scales = dict(zip(METRICS, (1, 1.02, 0.55, 1.01, 0.5), strict=True))
        per_class = {
            c: {
                'objects': objects[c],
                'difficult': objects[c] // 20,
                'detections': 10 * objects[c] + 40,
                **{
                    m: float(ap[c] * scales[m]) if objects[c] else None
                    for m in ('voc_11point', 'voc_area', 'coco')
                },
            }
            for c in classes
        }
        steps = np.arange(10, 1810, 10)
        loss = 3 + 12 * np.exp(-steps / 250) + rng.normal(0, 0.3, len(steps))
        runs.append(
            {
                'seed': number,
                'metrics': {m: mean * s for m, s in scales.items()},
                'per_class': per_class,
                'errors': _errors(rng, mean),
                'curves': {
                    'loss': [[int(x), float(y)] for x, y in zip(steps, loss, strict=True)],
                    'val_map': [
                        [int(x), float(mean * (1 - np.exp(-x / 400)))]
                        for x in range(300, 1801, 300)
                    ],
                }
                if curves
                else {'loss': [], 'val_map': []},
            }
        )
    mean_ap = {c: float(np.mean([r['per_class'][c]['voc_11point'] for r in runs]))
               for c in classes if objects[c]}  # fmt: skip
    values = {m: [run['metrics'][m] for run in runs] for m in METRICS}
    headline = float(np.mean(values['voc_11point']))
    recall = np.linspace(0, 1, 101)

    def curve(ap: float) -> dict:
        precision = np.clip(1 - (recall / (1.15 * ap + 0.12)) ** 4, 0, 1)
        return {'recall': recall.tolist(), 'precision': precision.tolist()}

    count = len(classes)
    matrix = rng.poisson(1.5, (count + 1, count + 1))
    for index, c in enumerate(classes):
        matrix[index, index] = int(objects[c] * base[c])
        matrix[index, -1] = int(objects[c] * (1 - base[c]))
        matrix[index] *= objects[c] > 0
    matrix[-1] = rng.integers(5, 60, count + 1)
    matrix[-1, -1] = 0
    errors = [run['errors'] for run in runs]
    return {
        'name': name,
        'config': f'{name}.py',
        'config_digest': f'{k}' * 16,
        'backbone': 'MobileNetV2' if k == 0 else 'MobileNeXt',
        'exported': None,
        'seeds': runs,
        'summary': {
            m: {
                'mean': float(np.mean(v)),
                'std': float(np.std(v, ddof=1)) if seeds > 1 else None,
                'seeds': seeds,
            }
            for m, v in values.items()
        },
        'interval': {'voc_11point': [headline - 0.021, headline + 0.02]},
        'per_class': {
            c: {
                'objects': objects[c],
                'difficult': objects[c] // 20,
                'mean': mean_ap.get(c),
                'interval': [mean_ap[c] - 0.07, mean_ap[c] + 0.06] if c in mean_ap else None,
            }
            for c in classes
        },
        'errors': {
            key: float(np.mean([e[key] for e in errors])) for key in errors[0] if key != 'counts'
        }
        | {'counts': errors[0]['counts']},
        'pr_curves': {c: curve(mean_ap[c]) if c in mean_ap else None for c in classes}
        | {'mean': curve(headline)},
        'confusion': {'score_thr': 0.3, 'iou_thr': 0.5, 'matrix': matrix.tolist()},
        'cost': {
            'parameters': 3_425_988 + 50_320 * k,
            'madds': 109_200_000 + 4_200_000 * k,
            'checkpoint_mb': 13.9 + 0.2 * k,
            'input_size': [128, 128],
        },
    }


def _errors(rng, ap: float) -> dict:
    parts = rng.dirichlet([2, 4, 1, 1, 3, 5]) * (1 - ap)
    keys = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
    return {
        **dict(zip(keys, map(float, parts), strict=True)),
        'false_positive': float(parts[:5].sum() / 2),
        'false_negative': float(parts[5]) * 1.2,
        'base': ap,
        'counts': {
            key: int(n)
            for key, n in zip(
                (*keys, 'false_positive', 'false_negative'), rng.integers(3, 200, 8), strict=True
            )
        },
    }


def _comparison(rng, baseline: dict, model: dict, seeds: int) -> dict:
    metric = 'voc_11point'
    difference = model['summary'][metric]['mean'] - baseline['summary'][metric]['mean']
    low, high = difference - 0.012, difference + 0.012
    verdict = 'better' if low > 0 else 'worse' if high < 0 else 'no difference shown'
    a, b = model['name'], baseline['name']
    words = {
        'better': f'{a} is better than {b}',
        'worse': f'{a} is worse than {b}',
        'no difference shown': f'No difference between {a} and {b} is shown at this size',
    }
    return {
        'model': a,
        'baseline': b,
        'metric': metric,
        'difference': difference,
        'interval': [low, high],
        'level': 0.95,
        'seed_differences': [
            x['metrics'][metric] - y['metrics'][metric]
            for x, y in zip(model['seeds'], baseline['seeds'], strict=True)
        ],
        'seed_interval': [difference - 0.03, difference + 0.03] if seeds > 1 else None,
        'verdict': verdict,
        'sentence': f'{words[verdict]}: {100 * difference:+.1f} points of 11-point mAP, 95 % '
        f'interval {100 * low:+.1f} to {100 * high:+.1f} over 500 test images.',
    }


def _measured(rng, k: int, seeds: int) -> dict:
    median = 21.4 + 3.3 * k + float(rng.uniform(0, 1))
    return {
        'latency_ms': {
            'median': median,
            'p95': median * 1.15,
            'runs': 200,
            'batch': 1,
            'threads': 1,
            'device': 'cpu',
            'nms': True,
            'input_size': [128, 128],
            'order': 'interleaved',
        },
        'training': {
            'images_per_second': 61.0 - 4 * k,
            'batch': 32,
            'median_ms': 524.0,
            'runs': 20,
        },
        'memory_mb': {
            'inference': 412.0 + 6 * k,
            'training': 1180.0 + 90 * k,
            'how': 'peak resident memory of the process, libraries included',
        },
        'wall_minutes': {str(number): 4.2 + k for number in range(seeds)},
    }


def make_records(folder: Path, images: int = 4) -> tuple[DetectionRecords, DetectionRecords]:
    """Detections of a good and of a poor detector on generated images."""
    voc = make_small_voc(folder / 'VOCdevkit', train=1, val=1, test=images) / 'VOC2007'
    names = (voc / 'ImageSets/Main/test.txt').read_text().split()
    rng = np.random.default_rng(0)
    sizes, truth, good, poor = [], [], [], []
    for name in names:
        root = ElementTree.parse(voc / f'Annotations/{name}.xml').getroot()
        sizes.append((int(root.findtext('size/height')), int(root.findtext('size/width'))))
        boxes = [
            [float(o.findtext(f'bndbox/{k}')) - 1 for k in ('xmin', 'ymin', 'xmax', 'ymax')]
            for o in root.iter('object')
        ]
        labels = [GENERATED_CLASSES.index(o.findtext('name')) for o in root.iter('object')]
        difficult = [o.findtext('difficult') == '1' for o in root.iter('object')]
        truth.append((boxes, labels, difficult))
        array = np.array(boxes).reshape(-1, 4)
        for found, noise in ((good, 2), (poor, 14)):
            scores = rng.uniform(0.4, 0.99, len(array))
            kept = rng.permutation(len(array))[: max(1, len(array) - (noise > 9))]
            moved = array + rng.normal(0, noise, array.shape)
            found.append((moved[kept], scores[kept], np.array(labels)[kept]))
    paths = [str(voc / f'JPEGImages/{name}.jpg') for name in names]
    return tuple(
        DetectionRecords.from_lists(GENERATED_CLASSES, names, found, truth, paths, sizes)
        for found in (good, poor)
    )
