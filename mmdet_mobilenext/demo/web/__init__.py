# SPDX-License-Identifier: Apache-2.0
"""A web page that shows what models find in a visitor's pictures, for tools/web.py."""

from .limits import WebLimits
from .models import WebModel, load_models
from .server import run_server, serve

__all__ = ['WebLimits', 'WebModel', 'load_models', 'run_server', 'serve']
