# SPDX-License-Identifier: Apache-2.0
"""Serve the page from this machine, to this machine unless told otherwise."""

from __future__ import annotations

import ipaddress
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from mmdet_mobilenext.runtime import RuntimeMissingError

from ..errors import DemoError
from ..stopping import StopSignals
from .folder import UploadFolder
from .guard import Guard
from .limits import WebLimits
from .models import WebModel
from .page import build_page

if TYPE_CHECKING:
    import gradio

__all__ = ['is_loopback', 'run_server', 'serve']

# Read by Gradio when it is imported, or in place of arguments.
_SETTINGS = dict(
    GRADIO_ANALYTICS_ENABLED='False',
    GRADIO_SHARE='False',
    GRADIO_ALLOWED_PATHS='',
    GRADIO_MCP_SERVER='False',
    GRADIO_ROOT_PATH='',
    GRADIO_NUM_WORKERS='0',
    # a record of each request, and a summary of all of them after each
    GRADIO_ANALYTICS_MAX_EVENTS='1',
    GRADIO_ANALYTICS_CACHE_FREQUENCY='1000000000',
    HF_HUB_OFFLINE='1',
)

_NOT_ALONE = """\
!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
! Listening on {}: everybody who reaches this machine can use the page,
! send it pictures and make it work. It has no password and no encryption.
!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host.

    Args:
        host (str): Name or address.

    Returns:
        bool: For ``localhost`` and the addresses that are its.

    Example:
        >>> is_loopback('127.0.0.1'), is_loopback('::1'), is_loopback('0.0.0.0')
        (True, True, False)
    """
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def serve(
    models: Sequence[WebModel],
    host: str = '127.0.0.1',
    port: int = 7860,
    limits: WebLimits | None = None,
) -> Iterator[str]:
    """Serve the page in threads of this process.

    Args:
        models (Sequence[WebModel]): Of the page.
        host (str): Address to listen on. Defaults to ``'127.0.0.1'``.
        port (int): Defaults to 7860.
        limits (WebLimits, optional): Defaults to those of :class:`WebLimits`.

    Yields:
        str: Address of the page. The server ends with the block, and the uploads go.

    Raises:
        RuntimeMissingError: If Gradio is not installed.
        DemoError: If the port is in use.
    """
    limits = limits or WebLimits()
    before = {name: os.environ.get(name) for name in (*_SETTINGS, 'GRADIO_TEMP_DIR')}
    with tempfile.TemporaryDirectory(prefix='mmdet_mobilenext_web_') as temporary:
        folder = UploadFolder(temporary, limits)
        os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=str(folder.path))
        try:
            page = _start(models, folder, host, port)
            try:
                yield page.local_url
            finally:
                # no waiting for visitors: after 5 s Gradio would leave the server running
                page.server.force_exit = True
                page.close(verbose=False)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _start(models: Sequence[WebModel], folder: UploadFolder, host: str, port: int) -> gradio.Blocks:
    try:
        import gradio
    except ImportError as error:
        raise RuntimeMissingError(
            f"the page needs Gradio ({error}): `pip install '.[web]'` in a checkout"
        ) from error
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    middleware = [Middleware(Guard, limits=folder.limits, folder=folder)]
    if is_loopback(host):  # no page of another name that leads here (DNS rebinding)
        names = ['localhost', '127.0.0.1', '::1', '[::1]', host]
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=names))
    fonts = ('system-ui', 'Segoe UI', 'Roboto', 'Helvetica Neue', 'Arial', 'sans-serif')
    mono = ('ui-monospace', 'Consolas', 'Menlo', 'monospace')
    page = build_page(models, folder)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=False,
            max_threads=4,
            max_file_size=folder.limits.max_file_bytes,
            allowed_paths=[],
            state_session_capacity=folder.limits.max_sessions,
            enable_monitoring=False,
            run_history=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            footer_links=[],
            app_kwargs=dict(middleware=middleware, docs_url=None, redoc_url=None, openapi_url=None),
            # fonts of the visitor's system: the theme's own come from the web
            theme=gradio.themes.Default(font=fonts, font_mono=mono),
            css=(files(__package__) / 'templates' / 'style.css').read_text(encoding='utf-8'),
        )
    except OSError as error:
        raise DemoError(
            f'cannot listen on {host}, port {port}: it is in use, or no address of this machine; '
            'choose another with --port or --host'
        ) from error
    return page


def run_server(
    models: Sequence[WebModel], host: str, port: int, limits: WebLimits | None = None
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        models (Sequence[WebModel]): Of the page.
        host (str): Address to listen on.
        port (int): Port to listen on.
        limits (WebLimits, optional): Defaults to those of :class:`WebLimits`.

    Raises:
        RuntimeMissingError: If Gradio is not installed.
        DemoError: If the port is in use.
    """
    with serve(models, host, port, limits) as url:
        print(f'The page is at {url} (Ctrl-C ends it).', flush=True)
        if not is_loopback(host):
            print(_NOT_ALONE.format(host), file=sys.stderr, flush=True)
        with StopSignals() as stop:
            while stop.received is None:
                time.sleep(0.2)
    print(f'ended by {stop.name}')
