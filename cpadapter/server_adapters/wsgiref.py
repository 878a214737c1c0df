"""wsgiref: WSGI, the standard library's server, for development."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, TLS, InFlight, address_of, bind, ssl_context, wsgi_callable

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
    """Serve until `handle.stop()`; a thread per request, HTTP/1.0. For development only."""
    import socketserver
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    context = ssl_context(server)

    class Serving(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            # A peer on a Unix socket has no address; the handler wants a pair.
            request, client_address = super().get_request()
            return request, client_address or ('', 0)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            with requests.one():
                super().process_request_thread(request, client_address)

    class Handler(WSGIRequestHandler):
        timeout = server.socket_timeout

        def log_message(self, format: str, *args: Any) -> None:
            """Leave the access log to the application's own LogManager."""

    requests = InFlight()
    sock = bind(server)
    address = address_of(sock)
    serving = Serving(address if isinstance(address, tuple) else ('', 0), Handler, bind_and_activate=False)
    serving.socket.close()
    sock.listen(server.socket_queue_size)
    serving.socket = (
        context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if context is not None else sock
    )
    serving.server_name, serving.server_port = address if isinstance(address, tuple) else (address, 0)
    serving.setup_environ()
    if context is not None:
        serving.base_environ['HTTPS'] = 'on'
    serving.set_app(wsgi_callable(application, server))
    if handle is not None:
        handle.stop_with(serving.shutdown)
    if started is not None:
        started(address)
    try:
        serving.serve_forever(poll_interval=0.1)
    finally:
        serving.server_close()
        requests.wait(server.shutdown_timeout)
