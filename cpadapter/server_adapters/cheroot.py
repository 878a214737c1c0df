"""cheroot: WSGI, CherryPy's own server, a pool of threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, TLS, address_of, bind, needs, options, wsgi_callable

if TYPE_CHECKING:
    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = False
SETTINGS = (
    SHARED
    | TLS
    | {
        'accepted_queue_size',
        'accepted_queue_timeout',
        'nodelay',
        'peercreds',
        'peercreds_resolve',
        'protocol_version',
        'socket_queue_size',
        'socket_timeout',
        'ssl_module',
        'statistics',
        'thread_pool',
        'thread_pool_max',
        'wsgi_version',
    }
)


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Serve until `handle.stop()`; every setting of CherryPy has its counterpart here."""
    with needs('cheroot'):
        from cheroot.wsgi import Server as CherootServer

    # cheroot binds by itself: bind first, so that an address in use is told in our words.
    sock = bind(server, takes='tcp')
    address = address_of(sock)
    sock.close()
    if isinstance(address, str):
        os.unlink(address)
    translated: dict[str, Any] = {
        'numthreads': server.thread_pool,
        'max': server.thread_pool_max,
        'request_queue_size': server.socket_queue_size,
        'timeout': server.socket_timeout,
        'shutdown_timeout': server.shutdown_timeout,
        'accepted_queue_size': server.accepted_queue_size,
        'accepted_queue_timeout': server.accepted_queue_timeout,
        'peercreds_enabled': server.peercreds,
        'peercreds_resolve_enabled': server.peercreds_resolve,
    }
    serving = CherootServer(address, wsgi_callable(application, server), **options(server, **translated))
    serving.wsgi_version = server.wsgi_version
    serving.protocol = server.protocol_version
    serving.nodelay = server.nodelay
    serving.max_request_header_size = server.max_request_header_size or 0
    serving.max_request_body_size = server.max_request_body_size or 0
    serving.stats['Enabled'] = server.statistics
    if server.ssl_certificate or server.ssl_context is not None:
        from cheroot.server import get_ssl_adapter_class

        adapter_class = get_ssl_adapter_class(server.ssl_module or 'builtin')
        serving.ssl_adapter = adapter_class(
            server.ssl_certificate, server.ssl_private_key, server.ssl_certificate_chain, server.ssl_ciphers
        )
        if server.ssl_context is not None:
            serving.ssl_adapter.context = server.ssl_context
    serving.prepare()
    if handle is not None:
        handle.stop_with(serving.stop)
    if started is not None:
        started(serving.bind_addr)
    serving.serve()
