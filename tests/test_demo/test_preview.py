# SPDX-License-Identifier: Apache-2.0
"""The window, or why there is none."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from mmdet_mobilenext.demo.errors import PreviewError
from mmdet_mobilenext.demo.preview import Preview


@pytest.fixture
def window(monkeypatch):
    """An OpenCV with windows; keys come from the list."""
    keys = []
    monkeypatch.setenv('DISPLAY', ':0')
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: '  GUI:    GTK3\n')
    monkeypatch.setattr(cv2, 'namedWindow', lambda *_: None)
    monkeypatch.setattr(cv2, 'imshow', lambda *_: None)
    monkeypatch.setattr(cv2, 'getWindowProperty', lambda *_: 1.0)
    monkeypatch.setattr(cv2, 'waitKey', lambda _: keys.pop(0) if keys else -1)
    return keys


def test_an_opencv_without_windows_is_named(monkeypatch):
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: 'Video:\n  GUI:       NONE\n')
    with pytest.raises(PreviewError, match=r'opencv-python-headless.*leave --show out'):
        Preview()


@pytest.mark.skipif(sys.platform != 'linux', reason='DISPLAY is of Linux')
def test_a_machine_without_a_screen_is_named(window, monkeypatch):
    monkeypatch.delenv('DISPLAY')
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    with pytest.raises(PreviewError, match='DISPLAY is not set'):
        Preview()


def test_a_window_that_cannot_be_opened_is_named(window, monkeypatch):
    def fail(*_):
        raise cv2.error('no display')

    monkeypatch.setattr(cv2, 'namedWindow', fail)
    with pytest.raises(PreviewError, match='cannot open a window'):
        Preview()


@pytest.mark.parametrize(('pressed', 'goes_on'), [([-1], True), ([ord('q')], False), ([27], False)])
def test_keys_end_a_video(window, pressed, goes_on):
    window += pressed
    assert Preview().show(np.zeros((4, 4, 3), np.uint8)) is goes_on


@pytest.mark.parametrize(('key', 'goes_on'), [(ord(' '), True), (ord('q'), False)])
def test_an_image_waits_for_a_key(window, key, goes_on):
    window += [-1, -1, key, ord('q')]
    assert Preview().show(np.zeros((4, 4, 3), np.uint8), lambda: False) is goes_on
    assert window == [ord('q')]


def test_closing_the_window_ends(window, monkeypatch):
    monkeypatch.setattr(cv2, 'getWindowProperty', lambda *_: 0.0)
    assert not Preview().show(np.zeros((4, 4, 3), np.uint8), lambda: False)


def test_a_signal_ends_the_wait_for_a_key(window):
    assert Preview().show(np.zeros((4, 4, 3), np.uint8), lambda: True)
