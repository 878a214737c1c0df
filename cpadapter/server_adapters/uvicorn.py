"""uvicorn: ASGI, on an event loop in the serving thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, TLS, address_of, asgi_callable, bind, needs, options, parser_limit, ssl_context

if TYPE_CHECKING:
    import socket

    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = False
SETTINGS = (
    SHARED
    | TLS
    | {
        'accepted_queue_size',
        'socket_queue_size',
        'socket_timeout',
        'thread_pool',
        'websocket_max_size',
        'websocket_ping_interval',
        'websocket_ping_timeout',
    }
)


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Serve until `handle.stop()`. In a thread, signals stay with whoever handles them."""
    with needs('uvicorn'):
        import uvicorn

    class Serving(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started and started is not None:
                started(address_of(sock))

    translated: dict[str, Any] = {
        'interface': 'asgi3',
        'timeout_keep_alive': int(server.socket_timeout),
        'timeout_graceful_shutdown': int(server.shutdown_timeout),
        'h11_max_incomplete_event_size': parser_limit(server),
        'ws_ping_interval': server.websocket_ping_interval,
        'ws_ping_timeout': server.websocket_ping_timeout,
        'ws_max_size': server.websocket_max_size,
        # The access log is written by the application's own LogManager, and records go where logging sends them.
        'log_config': None,
        'log_level': 'warning',
        'access_log': False,
        # Whom to trust with X-Forwarded-* is tools.proxy's to say.
        'proxy_headers': False,
    }
    if server.socket_queue_size != type(server).socket_queue_size:
        translated['backlog'] = server.socket_queue_size
    config = uvicorn.Config(asgi_callable(application, server), **options(server, **translated))
    config.load()
    config.ssl = ssl_context(server) or config.ssl
    serving = Serving(config)
    if handle is not None:
        handle.stop_with(lambda: setattr(serving, 'should_exit', True))
    with bind(server) as sock:
        serving.run(sockets=[sock])
