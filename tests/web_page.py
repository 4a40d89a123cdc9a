# SPDX-License-Identifier: Apache-2.0
"""Detectors that need no model file, and pictures, for tests of the web page."""

import cv2
import numpy as np

from mmdet_mobilenext.demo.web import WebModel
from mmdet_mobilenext.runtime import Detections

CLASSES = ('cat', 'dog', '<i>bird</i>')


class CountingDetector:
    """Finds three boxes at fixed shares of the picture, and counts its runs."""

    def __init__(self, third: float) -> None:
        self.scores = np.array([0.9, 0.6, third], np.float32)
        self.runs = 0

    def __call__(self, image: np.ndarray) -> Detections:
        self.runs += 1
        height, width = image.shape[:2]
        shares = [[0.1, 0.1, 0.5, 0.5], [0.3, 0.4, 0.9, 0.9], [0.6, 0.1, 0.8, 0.3]]
        boxes = np.array(shares, np.float32) * [width, height, width, height]
        return Detections(
            boxes.astype(np.float32), self.scores, np.arange(3), CLASSES, (width, height)
        )


def two_models() -> list[WebModel]:
    return [
        WebModel('first.onnx', CountingDetector(0.4), 'ONNX Runtime, float32, input 320x320'),
        WebModel('second.xml', CountingDetector(0.2), 'OpenVINO, int8, input 320x320'),
    ]


def picture(width: int = 80, height: int = 60, suffix: str = '.jpg') -> bytes:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    return cv2.imencode(suffix, ramp)[1].tobytes()
