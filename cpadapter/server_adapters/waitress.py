"""waitress: WSGI, a pool of threads behind one selecting thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, address_of, bind, needs, options, parser_limit, wsgi_callable

if TYPE_CHECKING:
    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = False
SETTINGS = SHARED | {'accepted_queue_size', 'socket_queue_size', 'socket_timeout', 'thread_pool'}


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Serve until `handle.stop()`; then requests in flight have `shutdown_timeout` seconds to end."""
    with needs('waitress'):
        from waitress import wasyncore  # type: ignore[import-untyped]
        from waitress.server import create_server  # type: ignore[import-untyped]
    import time

    translated: dict[str, Any] = {
        'threads': server.thread_pool,
        'channel_timeout': int(server.socket_timeout) or 1,
        'max_request_header_size': parser_limit(server) or sys.maxsize,
        'max_request_body_size': server.max_request_body_size or sys.maxsize,
    }
    if server.socket_queue_size != type(server).socket_queue_size:
        translated['backlog'] = server.socket_queue_size
    if server.accepted_queue_size > 0:
        translated['connection_limit'] = server.accepted_queue_size
    channels: dict[int, Any] = {}

    with bind(server) as sock:
        serving = create_server(
            wsgi_callable(application, server), map=channels, sockets=[sock], **options(server, **translated)
        )
        if handle is not None:
            handle.stop_with(serving.pull_trigger)
        if started is not None:
            started(address_of(sock))

        def turn(timeout: float) -> None:
            wasyncore.loop(timeout=timeout, use_poll=serving.adj.asyncore_use_poll, map=channels, count=1)

        try:
            while channels and not (handle is not None and handle.stopping):
                turn(1.0)
            # Refuse new connections, and go on with those that have a request or an answer under way.
            serving.del_channel(channels)
            serving.socket.close()
            deadline = time.monotonic() + server.shutdown_timeout
            while any(c.requests or c.total_outbufs_len for c in serving.active_channels.values()):
                if time.monotonic() >= deadline:
                    break
                turn(0.05)
        finally:
            serving.task_dispatcher.shutdown(timeout=1)
            wasyncore.close_all(channels)
