# SPDX-License-Identifier: Apache-2.0
"""What stands before Gradio: the routes that the page needs, in bounds, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from .folder import UploadFolder
from .limits import WebLimits

__all__ = ['HEADERS', 'Guard']

API = '/gradio_api'
UPLOAD = f'{API}/upload'
# Gradio has many more routes: files, proxies, streams, recordings, links to kept states ...
GET = {
    '/',
    '/config',
    '/favicon.ico',
    '/manifest.json',
    '/theme.css',
    f'{API}/app_id',
    f'{API}/info',
    f'{API}/queue/data',
    f'{API}/startup-events',
    f'{API}/upload_progress',
}
GET_UNDER = ('/assets/', '/static/', f'{API}/heartbeat/')
POST = {UPLOAD, f'{API}/cancel', f'{API}/queue/join', f'{API}/reset'}

HEADERS = {
    # the browser refuses every request to another host, whatever a library asks for
    'content-security-policy': (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
}

Message = dict
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


_TOO_LARGE = 'the request has more than the {:,} bytes that are allowed'


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """ASGI middleware that refuses what the page does not need, and what is too much.

    Routes that are not listed here do not exist, so no file is served but those of Gradio's
    frontend, and nothing is fetched for a visitor. Bodies are counted as they come in.

    Args:
        app (Callable): The ASGI application behind.
        limits (WebLimits): Bytes and seconds.
        folder (UploadFolder): Where uploads go; room is made before each.
    """

    def __init__(self, app: Callable, limits: WebLimits, folder: UploadFolder) -> None:
        self.app, self.limits, self.folder = app, limits, folder
        self._coming = 0  # bytes that the uploads under way may bring

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':  # web sockets, which the page has none of
            await send(dict(type='websocket.close', code=1008))
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message['type'] == 'http.response.start':
                started = True
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                kept = [(n, v) for n, v in message.get('headers', ()) if n.decode() not in HEADERS]
                message = message | dict(headers=kept + own)
            await send(message)

        body = None
        try:
            limit = self._admit(scope)
            body = _Body(receive, limit, self.limits.upload_seconds)
            with self._room(limit if scope['path'] == UPLOAD else 0):
                await self.app(scope, body.receive, send_with_headers)
        except _Refused as error:
            refused = error
        except Exception:  # what an application says when its request ends too early
            if not body or not body.refused:
                raise
            refused = body.refused
        else:
            refused = body.refused
        if refused and not started:
            await _answer(send_with_headers, refused)

    def _admit(self, scope: dict) -> int:
        """Let a request in; most bytes of its body."""
        method, path = scope['method'], scope['path']
        if method in ('GET', 'HEAD') and (path in GET or path.startswith(GET_UNDER)):
            return 0
        if method != 'POST' or path not in POST:
            raise _Refused(404, 'there is no such page')
        headers = dict(scope['headers'])
        # a page of another site that makes its visitor's browser send something here
        if headers.get(b'sec-fetch-site', b'same-origin') not in (b'same-origin', b'none'):
            raise _Refused(403, 'requests of other sites are refused')
        limit = self.limits.max_upload_bytes if path == UPLOAD else self.limits.max_request_bytes
        length = headers.get(b'content-length', b'')
        if not length.isdigit():
            return limit
        if int(length) > limit:
            raise _Refused(413, _TOO_LARGE.format(limit))
        return int(length)

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Have so many bytes free in the folder, besides those of uploads under way."""
        if size and self._coming + size > self.limits.max_folder_bytes:
            raise _Refused(503, 'too many uploads at once: try again in a minute')
        self._coming += size
        try:
            if size:
                self.folder.make_room(self._coming)
            yield
        finally:
            self._coming -= size


class _Body:
    """The body of a request, which ends early when it is too large or too slow."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self._left, self._limit = receive, limit, limit
        self._end = asyncio.get_running_loop().time() + seconds
        self._more = True
        self.refused: _Refused | None = None

    async def receive(self) -> Message:
        if not self._more:  # the application waits for the end of the connection
            return await self._receive()
        left = self._end - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), left)
        except asyncio.TimeoutError:  # another class than TimeoutError in Python 3.10
            return self._refuse(_Refused(408, 'the upload took too long'))
        self._left -= len(message.get('body', b''))
        self._more = message.get('more_body', False)
        if self._left < 0:
            return self._refuse(_Refused(413, _TOO_LARGE.format(self._limit)))
        return message

    def _refuse(self, reason: _Refused) -> Message:
        self.refused, self._more = reason, False
        return dict(type='http.disconnect')


async def _answer(send: Send, refused: _Refused) -> None:
    body = str(refused).encode()
    headers = [
        (b'content-type', b'text/plain; charset=utf-8'),
        (b'content-length', str(len(body)).encode()),
        (b'connection', b'close'),
    ]
    await send(dict(type='http.response.start', status=refused.status, headers=headers))
    await send(dict(type='http.response.body', body=body))
