"""cpadapter: CherryPy's programming model as one WSGI and ASGI callable.

A site is a tree of objects whose exposed methods are pages:

    import cpadapter

    class Root:
        @cpadapter.expose
        def index(self):
            return 'Hello'

    application = cpadapter.tree.mount(Root())

Serve it with any server: `gunicorn myapp:application`, `uvicorn myapp:application`.
"""

# ruff: noqa: I001

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.websocket import BlockingWebSocket, WebSocket

# -- application layer: what an application author writes
from .application.handlers import expose, popargs, websocket
from .application.lifespans import lifespan
from .application.startup import asgi_app, quickstart, wsgi_app
from .application.urls import url

# -- environment layer: the default site, and the request being served
from .environment.defaults import Package as _Package
from .environment.defaults import checker, config, engine, log, server, tools, tree
from .environment.proxies import request, response, serving, session, thread_data
from .core.background import background
from .errors import (
    CherryPyException,
    ClientDisconnected,
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    NotFound,
    WebSocketClosed,
)
from . import lib, process

# -- extension layer: what an extension author builds on
from .extension import dispatch
from .extension.hooks import Hook, HookMap
from .extension.tools import ErrorTool, HandlerTool, HandlerWrapperTool, Tool
from .extension.toolbox import Toolbox

# -- core layer: what can be replaced by a subclass
from .core import wsgiapp as wsgi
from .core.application import Application
from .core.request import Request
from .core.response import Response
from .core.site import Site
from .core.tree import Tree

__version__ = '0.1.0'

__all__ = [
    'Application',
    'BlockingWebSocket',
    'CherryPyException',
    'ClientDisconnected',
    'ErrorTool',
    'HTTPError',
    'HTTPRedirect',
    'HandlerTool',
    'HandlerWrapperTool',
    'Hook',
    'HookMap',
    'InternalRedirect',
    'NotFound',
    'Request',
    'Response',
    'Site',
    'Tool',
    'Toolbox',
    'Tree',
    'WebSocket',
    'WebSocketClosed',
    'asgi_app',
    'background',
    'checker',
    'config',
    'dispatch',
    'engine',
    'expose',
    'lib',
    'lifespan',
    'log',
    'popargs',
    'process',
    'quickstart',
    'request',
    'response',
    'server',
    'serving',
    'session',
    'thread_data',
    'tools',
    'tree',
    'url',
    'websocket',
    'wsgi',
    'wsgi_app',
]

if not TYPE_CHECKING:

    def __getattr__(name):
        # PERF: the command line is seldom asked for by name, as in `cpadapter.daemon.start()`; it waits for that.
        if name == 'daemon':
            from importlib import import_module

            return import_module('.daemon', __name__)
        raise AttributeError(name)


__import__('sys').modules[__name__].__class__ = _Package
