"""Site: one isolated world of config, tree, engine, server, log and tools; several live in one process.

The module-level names of the package are the default site's. A site wires its parts to one another; which tools
and plugins it is equipped with is decided above, by `equippers`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from math import inf
from os import getpid
from time import monotonic
from typing import Any
from weakref import WeakSet

from ..context import outside_factory
from ..extension.hooks import log_once
from ..extension.namespaces import AttributeNamespace
from ..extension.toolbox import Toolbox
from ..gateways.children import Lifespans
from .background import Background
from .checker import Checker
from .config import Config, unknown_key_message
from .engine import Engine
from .log import GlobalLog
from .pipeline import OutsideExchange
from .request import Request
from .response import Response
from .server import Server

__all__ = ['Site', 'equippers']

# Called with each new Site, to give it tools and plugins: those stand above this file.
equippers: list[Callable[[Any], None]] = []

# Threads that pull plain bodies, for each of those that run page handlers: one that waits for what comes next holds
# its thread, and none of them waits behind a page handler, nor a page handler behind it.
STREAMS = 10

# Those that may be running.
_sites: WeakSet[Site] = WeakSet()


class Site:
    """One isolated set of config, tree, engine, server, log, tools and checker.

    name: part of the names of its loggers, so that two sites log apart; '' for the default site.
    """

    _default: Site | None = None

    request_class: Any = Request
    response_class: Any = Response

    def __init__(self, name: str = '') -> None:
        from .tree import Tree

        self.name = name
        self._reported: set[str] = set()
        self.log = GlobalLog(None, f'cpadapter.{name}' if name else 'cpadapter')
        self.engine = Engine()
        self.tools = Toolbox('tools')
        self.config = Config()
        self.config.on_file = self.note_file
        self.checker = Checker(self)
        self.servers: dict[str, Server] = {}
        self.tree = Tree(self)
        self.server = Server(self.engine, lambda: self.tree)
        # Thread pools by purpose, for event loops.
        self._pools: dict[str, Any] = {}
        self._overloads = 0
        self._overloads_told = -inf
        self.background = Background(self)
        engine = self.engine
        engine.subscribe('log', self._log_engine)
        engine.subscribe('graceful', self.log.reopen_files)
        engine.subscribe('start', self._check, 50)
        engine.subscribe('stop', self.background.end, 10)
        engine.subscribe('exit', self._close_threads, 90)
        self.lifespans = Lifespans(engine, lambda: self.tree.children())
        engine.on_own = self._own
        namespaces = self.config.namespaces
        namespaces['server'] = _ServerNamespace(self)
        namespaces['engine'] = _EngineNamespace(self)
        namespaces['tree'] = self._graft
        namespaces['background'] = _Reporting(self, 'background', lambda: self.background)
        namespaces['log'] = _Reporting(self, 'log', lambda: self.log)
        namespaces['checker'] = AttributeNamespace(lambda: self.checker)
        for equip in equippers:
            equip(self)
        _sites.add(self)

    @classmethod
    def default(cls) -> Site:
        """Give the site whose parts are the package's module-level names."""
        if Site._default is None:
            Site._default = Site()
        return Site._default

    def __repr__(self) -> str:
        return f'<Site {self.name or "(default)"}>'

    def handler_pool(self) -> Any:
        """Give the thread pool for plain page handlers, of `server.thread_pool` threads.

        Its queue is bounded by `server.accepted_queue_size`: -1 is 100 for each thread, 0 as many as come. Where a
        size is set, nothing waits there for longer than `server.accepted_queue_timeout`.
        """
        server = self.server
        pool = self._pools.get('handlers')
        if pool is None or pool.size != server.thread_pool or pool.pid != getpid():
            pool = self._make_pool('handlers')
        size = server.accepted_queue_size
        if size > 0:
            pool.limit = size
            pool.timeout = server.accepted_queue_timeout
        else:
            pool.limit = pool.size * 100 if size else None
            pool.timeout = None
        return pool

    def step_pool(self) -> Any:
        """Give the pool, as large, for plain steps of what has begun: they never wait behind page handlers."""
        pool = self._pools.get('steps')
        if pool is None or pool.size != self.server.thread_pool or pool.pid != getpid():
            pool = self._make_pool('steps')
        return pool

    def stream_pool(self) -> Any:
        """Give the pool in which plain generators make the chunks of streamed bodies, ten times as large."""
        pool = self._pools.get('streams')
        if pool is None or pool.size != self.server.thread_pool * STREAMS or pool.pid != getpid():
            pool = self._make_pool('streams', STREAMS)
        return pool

    def _make_pool(self, purpose: str, times: int = 1) -> Any:
        from ..gateways.bridge import WorkerPool

        size = max(1, int(self.server.thread_pool)) * times
        pool = self._pools.get(purpose)
        if pool is None or pool.size != size or pool.pid != getpid():
            if pool is not None and pool.pid == getpid():
                pool.close()
            name = f'cpadapter-{self.name}-{purpose}' if self.name else f'cpadapter-{purpose}'
            pool = self._pools[purpose] = WorkerPool(size, name)
        return pool

    def _close_threads(self) -> None:
        """Let the threads end when they have done their work; a later request makes others.

        The loop of async code under WSGI, and the threads that end requests, serve all sites of the process: the last
        one to exit ends them.
        """
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            if pool.pid == getpid():
                pool.close()
        _sites.discard(self)
        bridge = sys.modules.get('cpadapter.gateways.bridge')
        if bridge is not None and not any(site.engine.state is site.engine.states.STARTED for site in _sites):
            bridge.LoopThread.close()
            bridge.close_pools()

    def note_overload(self, error: Exception) -> None:
        """Write to the error log, once a second at the most, that requests are refused."""
        self._overloads += 1
        now = monotonic()
        if now - self._overloads_told >= 1:
            count, self._overloads = self._overloads, 0
            self._overloads_told = now
            more = f' ({count} requests since it was told last)' if count > 1 else ''
            self.log.error(f'{error.args[1]}{more}', 'POOL', severity=logging.WARNING)

    def note_file(self, name: str) -> None:
        """Let the autoreloader watch a config file."""
        autoreload = getattr(self.engine, 'autoreload', None)
        if autoreload is not None:
            autoreload.files.add(name)

    def report_unknown(self, key: str, value: Any, known: Any) -> None:
        """Write to the error log, once, that a key of global config is unknown, with the nearest known one."""
        if key not in self._reported:
            self._reported.add(key)
            self.log.error(unknown_key_message(key, value, None, known), 'CONFIG', severity=logging.WARNING)

    def _own(self) -> None:
        """The process is ours: log to the screen, unless config says otherwise."""
        if 'log.screen' not in self.config:
            self.log.screen = True

    def _log_engine(self, msg: str, level: int = logging.INFO) -> None:
        self.log.error(msg, 'ENGINE', severity=level)

    def _check(self) -> None:
        if self.checker.on:
            # An application without config is nothing to warn of, unless config meant for it went elsewhere.
            skip = () if self.checker.global_config_contained_paths else ('check_skipped_app_config',)
            try:
                self.checker(skip)
            except Warning as warning:
                # Where warnings are errors the finding is still no reason not to start.
                log_once(warning)

    def _graft(self, k: str, v: Any) -> None:
        """Handle `tree.X`: graft the callables of {script_name: callable}, or an object with a script_name."""
        mounts = v if isinstance(v, dict) else {v.script_name: v}
        for script_name, app in mounts.items():
            self.tree.graft(app, script_name)
            self.engine.log(f'Mounted: {app} on {script_name or "/"}')


class _Reporting(AttributeNamespace):
    """Sets attributes, and reports once those that the object does not have."""

    def __init__(self, site: Site, prefix: str, owner: Callable[[], Any]) -> None:
        super().__init__(owner)
        self.site = site
        self.prefix = prefix

    def __call__(self, name: str, value: Any) -> None:
        owner = self.owner()
        if not hasattr(owner, name):
            self.site.report_unknown(
                f'{self.prefix}.{name}', value, [f'{self.prefix}.{n}' for n in dir(owner) if n[:1] != '_']
            )
        super().__call__(name, value)


class _EngineNamespace(_Reporting):
    """Handles `engine.X`: `<plugin>.on`, `<plugin>.<attribute>`, a signal's listener, or an attribute."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, 'engine', lambda: site.engine)

    def __call__(self, name: str, value: Any) -> None:
        engine = self.site.engine
        if name in ('SIGHUP', 'SIGTERM'):
            if value is None:
                for listener in list(engine.listeners.get(name, ())):
                    engine.unsubscribe(name, listener)
                signals = getattr(engine, 'signal_handler', None)
                if signals is not None:
                    signals.ignore(name)
            else:
                engine.subscribe(name, value)
            return
        which, dot, attribute = name.partition('.')
        if not dot:
            super().__call__(name, value)
            return
        plugin = getattr(engine, which)
        if attribute == 'on':
            change = getattr(plugin, 'subscribe' if value else 'unsubscribe', None)
            if callable(change):
                change()
        else:
            self.set(plugin, attribute, value)


class _ServerNamespace(_Reporting):
    """Handles `server.X` and, for further servers, `server.NAME.X`."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, 'server', lambda: site.server)

    def __call__(self, name: str, value: Any) -> None:
        which, dot, attribute = name.partition('.')
        if not dot:
            super().__call__(name, value)
            return
        site = self.site
        server = site.servers.get(which)
        if server is None:
            server = site.servers[which] = Server(site.engine, lambda: site.tree)
            server.subscribe()
        if attribute == 'on':
            if value:
                server.subscribe()
            else:
                server.unsubscribe()
        else:
            self.set(server, attribute, value)


def _outside() -> OutsideExchange:
    return OutsideExchange(Site.default())


outside_factory.append(_outside)
