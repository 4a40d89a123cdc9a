# SPDX-License-Identifier: Apache-2.0
"""A server on this machine whose faults a test chooses."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves ``content`` under every path, in a thread; use it as a context manager.

    Attributes:
        content (bytes): The file.
        ranges (bool): Whether it knows ``Range``.
        breaks (list[int]): Bytes after which an answer breaks off; one entry an answer, in turn.
        status (list[int]): Errors to answer with, in turn, before anything else.
        length (int | None): A ``Content-Length`` that is not true; 0 for none at all.
        etag (str | None): ``ETag``; None for none.
        heeds_if_range (bool): Whether it sends another version whole.
        slice (int): Most bytes of an answer to ``Range``, as is allowed; 0 for the rest.
        requests (list[dict]): Path and headers of what was asked.
    """

    def __init__(self, content):
        self.content, self.etag = content, '"1"'
        self.ranges, self.breaks, self.status, self.length = True, [], [], None
        self.heeds_if_range, self.slice = True, 0
        self.requests = []

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_port}/file.bin'
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler):
        headers = dict(handler.headers)
        self.requests.append(dict(path=handler.path, **headers))
        if self.status:
            handler.send_error(self.status.pop(0))
            return
        start, last = 0, len(self.content) - 1
        asked = re.fullmatch(r'bytes=(\d+)-', headers.get('Range', ''))
        same = not self.heeds_if_range or headers.get('If-Range', self.etag) == self.etag
        if asked and self.ranges and same:
            start = int(asked[1])
            if start >= len(self.content):
                handler.send_error(416)
                return
            handler.send_response(206)
            total = len(self.content)
            last = min(start + (self.slice or total), total) - 1
            handler.send_header('Content-Range', f'bytes {start}-{last}/{total}')
        else:
            handler.send_response(200)
        body = self.content[start : last + 1]
        if self.length != 0:
            handler.send_header('Content-Length', str(self.length or len(body)))
        if self.etag:
            handler.send_header('ETag', self.etag)
        handler.end_headers()
        handler.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)
