# SPDX-License-Identifier: Apache-2.0
"""A window that shows what is found."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import cv2
import numpy as np

from .errors import PreviewError

__all__ = ['Preview']

_END_KEYS = (ord('q'), 27)  # 27: Esc


class Preview:
    """An OpenCV window. It is tried out at once, so that no work is done in vain.

    Args:
        title (str): Of the window. Default: 'mmdet_mobilenext'.

    Raises:
        PreviewError: If OpenCV was built without windows, or there is no screen.
    """

    def __init__(self, title: str = 'mmdet_mobilenext') -> None:
        gui = re.search(r'^\s*GUI:\s*(\S+)', cv2.getBuildInformation(), re.MULTILINE)
        if gui and gui[1] == 'NONE':
            raise PreviewError(
                'this OpenCV has no windows (opencv-python-headless): leave --show out, or '
                '`pip uninstall opencv-python-headless` and '
                "`pip install 'opencv-python<5'`"
            )
        if sys.platform == 'linux' and not (
            os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
        ):
            # OpenCV would end the process, not raise.
            raise PreviewError('there is no screen (DISPLAY is not set): leave --show out')
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise PreviewError(
                f'OpenCV cannot open a window ({error.err}): leave --show out'
            ) from error

    def show(self, image: np.ndarray, wait_until: Callable[[], bool] | None = None) -> bool:
        """Show a picture.

        Args:
            image (np.ndarray): (H, W, 3) uint8, BGR.
            wait_until (Callable[[], bool] | None): Wait for a key, or until this is true.
                Default: None, to go on at once.

        Returns:
            bool: False once ``q``, Esc or the closing of the window asks for the end.
        """
        cv2.imshow(self._title, image)
        while True:
            key = cv2.waitKey(1 if wait_until is None else 50) & 0xFF
            if key in _END_KEYS or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if wait_until is None or key != 0xFF or wait_until():
                return True

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
