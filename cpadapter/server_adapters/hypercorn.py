"""hypercorn: ASGI, HTTP/2 included, on an event loop in the serving thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, TLS, address_of, asgi_callable, bind, needs, options, parser_limit, ssl_context

if TYPE_CHECKING:
    import ssl

    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = False
SETTINGS = (
    SHARED
    | TLS
    | {
        'protocol_version',
        'socket_queue_size',
        'socket_timeout',
        'thread_pool',
        'websocket_max_size',
        'websocket_ping_interval',
    }
)


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Serve until `handle.stop()`; HTTP/1, HTTP/2 and WebSocket."""
    with needs('hypercorn'):
        from hypercorn.asyncio import serve as hypercorn_serve
        from hypercorn.config import Config
    import asyncio
    import logging

    context = ssl_context(server)

    class Settings(Config):
        @property
        def ssl_enabled(self) -> bool:
            return context is not None or super().ssl_enabled

        def create_ssl_context(self) -> ssl.SSLContext | None:
            if context is not None:
                context.set_alpn_protocols(self.alpn_protocols)
            return context or super().create_ssl_context()

    config = Settings()
    translated: dict[str, Any] = {
        'keep_alive_timeout': server.socket_timeout,
        'graceful_timeout': server.shutdown_timeout,
        'websocket_ping_interval': server.websocket_ping_interval,
        'websocket_max_message_size': server.websocket_max_size,
        'h11_max_incomplete_size': parser_limit(server) or config.h11_max_incomplete_size,
        'errorlog': logging.getLogger('hypercorn.error'),
        'loglevel': 'WARNING',
    }
    if server.socket_queue_size != type(server).socket_queue_size:
        translated['backlog'] = server.socket_queue_size
    if server.protocol_version != type(server).protocol_version:
        translated['alpn_protocols'] = (
            ['h2', 'http/1.1'] if server.protocol_version.startswith('HTTP/2') else ['http/1.1']
        )
    for name, value in options(server, **translated).items():
        setattr(config, name, value)
    sock = bind(server)
    address = address_of(sock)
    config.bind = [f'fd://{sock.detach()}']

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        async def until_stopped() -> None:
            # Awaited by hypercorn once its sockets listen.
            if started is not None:
                started(address)
            await stopping.wait()

        if handle is not None:
            handle.stop_with(lambda: loop.call_soon_threadsafe(stopping.set))
        await hypercorn_serve(asgi_callable(application, server), config, shutdown_trigger=until_stopped, mode='asgi')

    asyncio.run(main())
