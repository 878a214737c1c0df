"""Site: one isolated world of config, tree, engine, server, log and tools; several live in one process.

The module-level names of the package are the default site's. A site wires its parts to one another; which tools
and plugins it is equipped with is decided above, by `equippers`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..context import outside_factory
from ..extension.hooks import log_once
from ..extension.namespaces import AttributeNamespace
from ..extension.toolbox import Toolbox
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
        self._pool: Any = None
        engine = self.engine
        engine.subscribe('log', self._log_engine)
        engine.subscribe('graceful', self.log.reopen_files)
        engine.subscribe('start', self._check, 50)
        engine.subscribe('exit', self._close_pool, 90)
        engine.on_own = self._own
        namespaces = self.config.namespaces
        namespaces['server'] = _ServerNamespace(self)
        namespaces['engine'] = _EngineNamespace(self)
        namespaces['tree'] = self._graft
        namespaces['log'] = _Reporting(self, 'log', lambda: self.log)
        namespaces['checker'] = AttributeNamespace(lambda: self.checker)
        for equip in equippers:
            equip(self)

    @classmethod
    def default(cls) -> Site:
        """Give the site whose parts are the package's module-level names."""
        if Site._default is None:
            Site._default = Site()
        return Site._default

    def __repr__(self) -> str:
        return f'<Site {self.name or "(default)"}>'

    def handler_pool(self) -> Any:
        """Give the thread pool for plain page handlers under ASGI, of `server.thread_pool` threads."""
        pool = self._pool
        size = max(1, int(self.server.thread_pool))
        if pool is None or pool.size != size or pool.pid != _getpid():
            from ..gateways.bridge import WorkerPool

            pool = self._pool = WorkerPool(size, f'cpadapter{"-" + self.name if self.name else ""}-handlers')
        return pool

    def _close_pool(self) -> None:
        """Let the pool's threads end when they have done their work; a later request makes another pool."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

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


def _getpid() -> int:
    import os

    return os.getpid()
