# SPDX-License-Identifier: Apache-2.0
"""Video files, network streams and cameras under one name, and how each is opened."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from types import ModuleType
from urllib.parse import urlsplit

from mmdet_mobilenext.runtime.errors import RuntimeMissingError

__all__ = ['VideoSource', 'import_av', 'is_stream', 'video_source']

_LIVE_SCHEMES = ('rtsp', 'rtsps', 'rtmp', 'rtmps', 'rtp', 'udp', 'srt', 'mms')


@dataclass(frozen=True)
class VideoSource:
    """Where frames come from.

    Args:
        name (str): For messages; without the password of an address.
        address (str): For FFmpeg.
        kind (str): ``file``, ``url`` or ``camera``.
        format (str | None): FFmpeg's name of the format. None lets it look. Default: None.
        options (dict[str, str]): FFmpeg's options. Default: {}.
        live (bool): Whether there is no end. Of ``url`` it may turn out on opening.
            Default: False.
    """

    name: str
    address: str
    kind: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    live: bool = False


def import_av() -> ModuleType:
    """PyAV, or an error that says how to get it.

    Returns:
        ModuleType: ``av``.

    Raises:
        RuntimeMissingError: If it is not installed.
    """
    try:
        import av
        import av.error
    except ImportError as error:
        raise RuntimeMissingError(
            f'videos and cameras need PyAV ({error}): `pip install av`'
        ) from error
    return av


def is_stream(text: str) -> bool:
    """Whether a name means a camera or a network address, not a file.

    Args:
        text (str): ``0``, ``/dev/video0``, ``rtsp://...``, or a path.

    Returns:
        bool: True for the first three.

    Example:
        >>> [is_stream(text) for text in ('0', '/dev/video1', 'rtsp://10.0.0.2/live', 'a.mp4')]
        [True, True, True, False]
    """
    return bool(re.fullmatch(r'\d+|/dev/video\d+|[a-zA-Z][a-zA-Z0-9+.-]*://.+', text))


def video_source(text: str | os.PathLike) -> VideoSource:
    """What a name on the command line means.

    Args:
        text (str | os.PathLike): A file, an address (``rtsp://``, ``http://``, ...), the number
            of a camera or its device.

    Returns:
        VideoSource: Not opened yet.

    Raises:
        FileNotFoundError: If it is neither an address nor a camera nor a file that is there.

    Example:
        >>> source = video_source('rtsp://admin:secret@10.0.0.2/live')
        >>> source.name, source.live
        ('rtsp://10.0.0.2/live', True)
        >>> video_source('rtsp://admin:p@ss@10.0.0.2/live').name
        'rtsp://10.0.0.2/live'
        >>> video_source('0').address
        '/dev/video0'
    """
    text = os.fspath(text)
    if not is_stream(text):
        if not os.path.isfile(text):
            raise FileNotFoundError(
                f'{text} is no file that is there, and neither a camera (0, /dev/video0) nor an '
                'address (rtsp://..., http://...)'
            )
        # With its protocol: a name such as `a:b.mp4` would be taken for an address.
        options = {'protocol_whitelist': 'file'}  # a playlist must not reach into the network
        return VideoSource(text, f'file:{os.path.abspath(text)}', 'file', options=options)
    if '://' not in text:
        device = text if text.startswith('/dev/') else f'/dev/video{int(text)}'
        return VideoSource(device, device, 'camera', format='v4l2', live=True)
    scheme = urlsplit(text).scheme.lower()
    name = re.sub(r'(?<=://)[^/?#]*@', '', text)  # to the last @, which a password may have, too
    # Over UDP, packets that are lost damage frames; cameras in a house seldom need its speed.
    options = {'rtsp_transport': 'tcp'} if scheme.startswith('rtsp') else {}
    return VideoSource(name, text, 'url', options=options, live=scheme in _LIVE_SCHEMES)
