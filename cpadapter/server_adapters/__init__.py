"""One thin file per server, each with `serve(application, server, *, started=None, handle=None)`.

serve() blocks until `handle.stop()`. `application` is the callable to serve (its `.wsgi` or `.asgi` if it has them),
`server` the settings of `core.server.Server`; `started(address)` is called once connections are accepted. A file that
says FORKS = True runs worker processes: it needs the main thread of a process where the engine has not started. The
server itself is imported inside serve().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..core.engine import StartRefused
from ..core.server import launchers

if TYPE_CHECKING:
    from ..core.server import Address, Running, Server
    from ..process.servers import Handle

__all__ = ['DEFAULT', 'NAMES', 'Adapter', 'find', 'launch']

NAMES = ('uvicorn', 'gunicorn', 'hypercorn', 'waitress', 'granian', 'cheroot', 'werkzeug', 'wsgiref')
DEFAULT = 'uvicorn'


class Adapter(Protocol):
    """What each file of this package is."""

    FORKS: bool
    # The settings it can translate; a changed setting outside them is reported.
    SETTINGS: frozenset[str]

    def serve(
        self,
        application: Any,
        server: Server,
        *,
        started: Callable[[Address], object] | None = None,
        handle: Handle | None = None,
    ) -> None: ...


def find(name: str | None) -> Adapter:
    """Give the adapter called `name`; None means uvicorn. An unknown name is a ValueError naming the nearest."""
    from importlib import import_module

    name = name or DEFAULT
    if name not in NAMES:
        from difflib import get_close_matches

        near = get_close_matches(name, NAMES, 1)
        hint = f' Did you mean {near[0]!r}?' if near else ''
        raise ValueError(f'server.adapter = {name!r}: there is no such server.{hint} Known: {", ".join(NAMES)}.')
    module: Any = import_module(f'.{name}', __name__)
    adapter: Adapter = module
    return adapter


def launch(server: Server) -> Running:
    """Start the adapter `server` asks for, or its foreign `instance`, in a thread of its own."""
    from ..process.servers import ServerThread, launch_foreign
    from .settings import report_ignored

    httpserver, bind_addr = server.httpserver_from_self()
    if httpserver is not None:
        server.httpserver = httpserver
        return launch_foreign(httpserver, bind_addr, on_failure=lambda error: _failed(server, error))
    if server.find_application is None:
        raise RuntimeError('This Server has nothing to serve: give it find_application, or an `instance`.')
    application = server.find_application()
    name = server.adapter or DEFAULT
    adapter = find(name)
    if adapter.FORKS:
        raise StartRefused(
            f'{name} runs worker processes and cannot be started inside this one. Call quickstart() instead of '
            f'engine.start(), run the application from the command line of {name}, or set server.adapter to another.'
        )
    report_ignored(server, adapter)
    thread = ServerThread(
        lambda handle: adapter.serve(application, server, started=handle.started, handle=handle),
        on_failure=lambda error: _failed(server, error),
        timeout=server.shutdown_timeout,
    )
    return thread.start()


def _failed(server: Server, error: BaseException) -> None:
    """End the engine with its server: a program that serves nothing should not linger."""
    server.interrupt = error
    if server.bus is not None:
        server.bus.log(f'Error in HTTP server: shutting down\n{error!r}', level=40)
        server.bus.exit()


launchers[:] = [launch]
