"""werkzeug: WSGI, Werkzeug's development server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, TLS, InFlight, address_of, bind, needs, ssl_context, wsgi_callable

if TYPE_CHECKING:
    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = False
SETTINGS = SHARED | TLS | {'socket_queue_size', 'socket_timeout', 'thread_pool'}


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Serve until `handle.stop()`; a thread per connection. For development only."""
    with needs('werkzeug'):
        from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

    class Serving(ThreadedWSGIServer):
        def process_request_thread(self, request: Any, client_address: Any) -> None:
            with requests.one():
                super().process_request_thread(request, client_address)

    class Handler(WSGIRequestHandler):
        timeout = server.socket_timeout

        def log(self, type: str, message: str, *args: Any) -> None:
            """Leave the access log to the application's own LogManager."""

    requests = InFlight()
    sock = bind(server)
    address = address_of(sock)
    sock.listen(server.socket_queue_size)
    host, port = address if isinstance(address, tuple) else (f'unix://{address}', 0)
    with sock:
        serving = Serving(
            host, port, wsgi_callable(application, server), Handler, ssl_context=ssl_context(server), fd=sock.fileno()
        )
    if handle is not None:
        handle.stop_with(serving.shutdown)
    if started is not None:
        started(address)
    serving.serve_forever(poll_interval=0.1)
    requests.wait(server.shutdown_timeout)
