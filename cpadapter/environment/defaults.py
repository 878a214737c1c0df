"""The default Site and its parts, and what every Site is equipped with: tools and plugins.

Importing it makes the default site; nothing is started, and no server, thread or log handler comes of it.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from ..core.site import Site, equippers
from ..extension.tools import ErrorTool, FilterTool, Tool
from ..lib import (
    appstats,
    auth_basic,
    auth_digest,
    caching,
    cptools,
    encoding,
    health,
    jsontools,
    sessions,
    sse,
    static,
    xmlrpcutil,
)
from ..process.plugins import equip as equip_engine

__all__ = ['Package', 'checker', 'config', 'engine', 'log', 'server', 'site', 'tools', 'tree']


def add_tools(box: Any) -> None:
    """Put the built-in tools into a toolbox."""
    # At on_start_resource.
    box.response_headers = Tool('on_start_resource', cptools.response_headers)
    box.redirect = Tool('on_start_resource', cptools.redirect)
    box.allow = Tool('on_start_resource', cptools.allow)
    box.accept = Tool('on_start_resource', cptools.accept)
    box.autovary = cptools.AutovaryTool('on_start_resource', cptools.autovary, priority=0)
    # Before the body is read.
    box.json_in = jsontools.JSONInTool()
    box.decode = Tool('before_request_body', encoding.decode)
    box.proxy = cptools.ProxyTool('before_request_body', cptools.proxy, priority=30)
    box.ignore_headers = Tool('before_request_body', cptools.ignore_headers)
    box.referer = Tool('before_request_body', cptools.referer)
    box.auth_basic = auth_basic.AuthTool(auth_basic.basic_auth, 'checkpassword')
    box.auth_digest = auth_digest.DigestTool()
    box.health = health.HealthTool()
    box.sessions = sessions.SessionTool()
    # Before, around and in place of the page handler.
    box.params = Tool('before_handler', cptools.convert_params, priority=15)
    box.json_out = FilterTool(jsontools.make_filter, jsontools.json_out, priority=30)
    box.staticdir = static.StaticTool(static.staticdir)
    box.staticfile = static.StaticTool(static.staticfile)
    box.sse = sse.SSETool()
    box.session_auth = cptools.SessionAuthTool(cptools.session_auth)
    box.trailing_slash = cptools.TrailingSlashTool('before_handler', cptools.trailing_slash, priority=60)
    box.encode = encoding.EncodeTool()
    box.caching = caching.CachingTool()
    # Once the body is there: what changes it before what is computed of it.
    box.flatten = Tool('before_finalize', cptools.flatten, priority=45)
    box.expires = Tool('before_finalize', caching.expires)
    box.etags = cptools.EtagsTool('before_finalize', cptools.validate_etags, priority=75)
    box.gzip = encoding.GzipTool()
    box.cpstats = appstats.StatsTool()
    box.log_hooks = Tool('on_end_request', cptools.log_hooks, priority=100)
    # On unanticipated errors.
    box.log_tracebacks = Tool('before_error_response', cptools.log_traceback)
    box.log_headers = Tool('before_error_response', cptools.log_request_headers)
    box.err_redirect = ErrorTool(cptools.redirect)
    box.xmlrpc = xmlrpcutil.XMLRPCTool(xmlrpcutil.on_error)


def equip(site: Site) -> None:
    """Give a new site its tools and its engine's plugins."""
    add_tools(site.tools)
    equip_engine(site.engine)
    site.server.subscribe()
    if 'NOTIFY_SOCKET' in os.environ:
        from ..process.systemd import follow

        follow(site.engine)


equippers[:] = [equip]


class Package(ModuleType):
    """The package itself: assigning one of the default site's parts (`cpadapter.tree = Tree()`) replaces it there."""

    PARTS = frozenset(('checker', 'config', 'engine', 'log', 'server', 'tools', 'tree'))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.PARTS:
            setattr(site, name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        # Further servers appear once config names one.
        if name == 'servers' and site.servers:
            return site.servers
        if name == '_cache':
            # COMPAT: there once something asked for the cache.
            cache = getattr(getattr(site.tools, 'caching', None), 'cache', None)
            if cache is not None:
                return cache
        if name in ('WebSocket', 'BlockingWebSocket'):
            # PERF: imported by whoever names them, not with the package.
            from ..core import websocket

            return getattr(websocket, name)
        raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')


site = Site.default()
engine = site.engine
server = site.server
config = site.config
tree = site.tree
tools = site.tools
log = site.log
checker = site.checker
