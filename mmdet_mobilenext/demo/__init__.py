# SPDX-License-Identifier: Apache-2.0
"""Detection in images, videos and camera streams, for tools/demo.py.

Runs without torch, mmengine, mmcv and mmdet as long as the model is an exported file.
"""
