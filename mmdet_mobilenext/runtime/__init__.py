# SPDX-License-Identifier: Apache-2.0
"""Exported detectors without PyTorch: ``Detector('model.onnx')('image.jpg')``.

Needs numpy, OpenCV and one of ONNX Runtime, OpenVINO or ncnn, and imports none of the three before
a model is opened.
"""

from .detections import Detections
from .detector import Detector
from .errors import ImageError, ModelFileError, RuntimeMissingError
from .images import read_image
from .spec import ModelSpec

__all__ = [
    'Detections',
    'Detector',
    'ImageError',
    'ModelFileError',
    'ModelSpec',
    'RuntimeMissingError',
    'read_image',
]
