# SPDX-License-Identifier: Apache-2.0
"""Send pictures to a page from Python: for tests, and to throw damaged files at it."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

__all__ = ['PageClient', 'PageError']


class PageError(RuntimeError):
    """The page has answered with an error."""


class PageClient:
    """A visitor of a page that is being served; does what the page's own script does.

    Gradio's client can do this too, but makes a connection for each file, which takes most of
    the time.

    Args:
        url (str): Address of the page.

    Example:
        >>> def boxes(url, data):
        ...     with PageClient(url) as page:
        ...         return page.detect([data], ['model.onnx'])['pictures'][0]['models']
    """

    def __init__(self, url: str) -> None:
        import httpx

        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)
        self._session = uuid.uuid4().hex

    def __enter__(self) -> PageClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def upload(self, pictures: Sequence[bytes]) -> list[dict]:
        """Upload files.

        Args:
            pictures (Sequence[bytes]): Contents, whatever they are.

        Returns:
            list[dict]: What :meth:`call` takes for each.

        Raises:
            PageError: If the page refuses them.
        """
        files = [('files', (f'{k}.jpg', data)) for k, data in enumerate(pictures)]
        answer = self._http.post('/gradio_api/upload', files=files)
        _check(answer)
        return [
            dict(path=path, orig_name=name, meta=dict(_type='gradio.FileData'))
            for path, (_, (name, _)) in zip(answer.json(), files, strict=True)
        ]

    def call(self, data: list, event: int = 0) -> list[Any]:
        """Wait for the answer to an event.

        Args:
            data (list): Inputs.
            event (int): 0 detects, 1 takes another threshold. Defaults to 0.

        Returns:
            list: Outputs.

        Raises:
            PageError: If there is none.
        """
        body = dict(data=data, fn_index=event, session_hash=self._session)
        _check(self._http.post('/gradio_api/queue/join', json=body))
        params = dict(session_hash=self._session)
        with self._http.stream('GET', '/gradio_api/queue/data', params=params) as lines:
            for line in lines.iter_lines():
                message = json.loads(line[6:]) if line.startswith('data: ') else {}
                if message.get('msg') == 'process_completed':
                    if not message['success']:
                        raise PageError(str(message['output'].get('error') or 'no reason given'))
                    return message['output']['data']
        raise PageError('the connection ended without an answer')

    def detect(
        self, pictures: Sequence[bytes], models: Sequence[str], score_thr: float = 0.3
    ) -> dict:
        """Upload pictures and wait for what models find.

        Args:
            pictures (Sequence[bytes]): Contents of files, whatever they are.
            models (Sequence[str]): Names on the page.
            score_thr (float): Defaults to 0.3.

        Returns:
            dict: What the page gives as JSON, see
            :func:`~mmdet_mobilenext.demo.web.compare.results_as_json`.

        Raises:
            PageError: If the page has no results.
        """
        html = self.call([self.upload(pictures), list(models), score_thr])[2]
        found = re.search(r'href="data:application/json;base64,([^"]*)"', html)
        if found is None:
            raise PageError(f'the page has no results: {html[:200]}')
        return json.loads(base64.b64decode(found[1]))


def _check(answer: Any) -> None:
    if answer.is_error:
        raise PageError(f'{answer.status_code}: {answer.text[:200]}')
