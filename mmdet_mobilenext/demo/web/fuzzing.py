# SPDX-License-Identifier: Apache-2.0
"""The page as a target of damaged pictures, for tools/analysis/fuzz_images.py."""

from __future__ import annotations

import time
from contextlib import ExitStack

from mmdet_mobilenext.runtime.fuzzing.child import memory_mb
from mmdet_mobilenext.runtime.fuzzing.run import no_answer

from .client import PageClient

__all__ = ['PageTarget']


class PageTarget:
    """The web page of tools/web.py, one picture a request.

    Args:
        url (str): Its address.
        model (str): Name of the model on the page.
        process (int, optional): Its number, to watch its memory. Defaults to not doing that.
    """

    def __init__(self, url: str, model: str, process: int | None = None) -> None:
        self._stack = ExitStack()
        self._client = self._stack.enter_context(PageClient(url))
        self._model, self._number = model, process

    def send(self, data: bytes) -> dict:
        """See :meth:`~mmdet_mobilenext.runtime.fuzzing.run.Target.send`."""
        start = time.perf_counter()
        try:
            picture = self._client.detect([data], [self._model])['pictures'][0]
            outcome, text = 'detections', ''
            if picture['problem'] is not None:
                outcome, text = 'ImageError', picture['problem']
        except Exception as error:  # whatever the page or the way there came up with
            outcome, text = 'other', f'{type(error).__name__}: {error}'
        answer = dict(no_answer(start), outcome=outcome, text=text)
        if self._number is not None:
            answer['peak_mb'] = memory_mb('VmHWM', self._number)
            answer['resident_mb'] = memory_mb('VmRSS', self._number)
        return answer

    def close(self) -> int:
        """See :meth:`~mmdet_mobilenext.runtime.fuzzing.run.Target.close`."""
        self._stack.close()
        return 0
