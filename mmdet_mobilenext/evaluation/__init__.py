# SPDX-License-Identifier: Apache-2.0
"""Accuracy of detectors: matching, metrics, intervals, verdicts and errors."""

from .detection_metric import DetectionMetric
from .exported_detector import ExportedDetector
from .metrics import evaluate
from .records import DetectionRecords

__all__ = ['DetectionMetric', 'DetectionRecords', 'ExportedDetector', 'evaluate']
