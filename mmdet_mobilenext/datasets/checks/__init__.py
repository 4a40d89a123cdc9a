# SPDX-License-Identifier: Apache-2.0
"""Check a VOC-format or COCO-format data set before any work is lost.

MMDetection finds a missing image, a broken XML or a wrong class when it gets there, hours into a
run, or never: an object of an unknown class is left out in silence. The check reads every listed
XML the way ``mmdet.datasets.XMLDataset`` does, or the json the way ``mmdet.datasets.CocoDataset``
does, and decodes none, some or all of the images. It imports neither torch nor mmdet.
"""

from .coco import check_coco
from .coco_source import COCO_CLASSES, CocoSource
from .report import CheckReport, DataCheckError, Problem
from .run import check_dataset_cfgs, check_sources
from .sources import VOC_CLASSES, VOCSource, sources_from_cfg, sources_from_config
from .voc import check_voc

__all__ = [
    'COCO_CLASSES',
    'VOC_CLASSES',
    'CheckReport',
    'CocoSource',
    'DataCheckError',
    'Problem',
    'VOCSource',
    'check_coco',
    'check_dataset_cfgs',
    'check_sources',
    'check_voc',
    'sources_from_cfg',
    'sources_from_config',
]
