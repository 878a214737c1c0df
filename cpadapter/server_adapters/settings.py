"""What the adapters share: the callable, the socket and the TLS context made from the settings, and limits.

It knows the settings and the two calling conventions; no server is named here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.engine import StartRefused

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable, Iterator

    from ..core.server import Address, Server
    from . import Adapter

__all__ = [
    'SHARED',
    'TLS',
    'InFlight',
    'MissingServer',
    'accepts',
    'address_of',
    'asgi_callable',
    'bind',
    'needs',
    'options',
    'parser_limit',
    'report_ignored',
    'ssl_context',
    'wsgi_callable',
]

# Settings that every adapter serves, because they are applied here or by the core.
SHARED = frozenset(
    {
        'adapter',
        'adapter_options',
        'bind_addr',
        'instance',
        'max_request_body_size',
        'max_request_header_size',
        'shutdown_timeout',
        'socket_file',
        'socket_host',
        'socket_port',
    }
)
TLS = frozenset({'ssl_certificate', 'ssl_certificate_chain', 'ssl_ciphers', 'ssl_context', 'ssl_private_key'})

TRANSLATED = (
    'accepted_queue_size',
    'accepted_queue_timeout',
    'nodelay',
    'peercreds',
    'peercreds_resolve',
    'protocol_version',
    'socket_queue_size',
    'socket_timeout',
    'ssl_certificate',
    'ssl_certificate_chain',
    'ssl_ciphers',
    'ssl_context',
    'ssl_module',
    'ssl_private_key',
    'statistics',
    'thread_pool',
    'thread_pool_max',
    'websocket_max_size',
    'websocket_ping_interval',
    'websocket_ping_timeout',
    'wsgi_version',
)


class MissingServer(StartRefused, ImportError):
    """The chosen server is not installed."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn a failing import of a server into an error that names the extra to install."""
    try:
        yield
    except ImportError as exc:
        raise MissingServer(
            f'{extra} is not installed ({exc}): pip install "cpadapter[{extra}]", or set server.adapter to another.'
        ) from exc


def options(server: Server, **translated: Any) -> dict[str, Any]:
    """Give the server's own settings: the translated ones, over them those of `adapter_options`."""
    return {**translated, **(server.adapter_options or {})}


def changed_settings(server: Server) -> dict[str, Any]:
    """Give the settings whose value is not the class's default."""
    return {name: getattr(server, name) for name in TRANSLATED if getattr(server, name) != getattr(type(server), name)}


def report_ignored(server: Server, adapter: Adapter) -> None:
    """Log each changed setting that this server cannot follow, once per start."""
    if server.bus is None:
        return
    name = server.adapter or 'uvicorn'
    for setting, value in changed_settings(server).items():
        if setting not in adapter.SETTINGS:
            server.bus.log(f'server.{setting} = {value!r} is ignored: {name} has no such setting.', level=30)


def bind(server: Server, takes: str = 'any') -> socket.socket:
    """Give the bound socket to serve on: one that systemd opened for this process, else one for the settings' address.

    takes: 'any' of those that were opened, 'tcp' for a server that takes no others by itself, 'none'.
    Raises PortInUse if the address cannot be had, StartRefused where the server has no use for what was passed on.
    """
    from ..process.servers import bind_socket
    from ..process.systemd import inherited_socket

    address = server.bind_addr or ('127.0.0.1', 0)
    sock = inherited_socket(address, server)
    if sock is None:
        return bind_socket(address)
    if takes == 'none' or (takes == 'tcp' and isinstance(address_of(sock), str)):
        sock.close()
        kind = 'socket' if takes == 'none' else 'Unix socket'
        raise StartRefused(
            f'{server.adapter} cannot serve on the {kind} that LISTEN_FDS passes on: set server.adapter to another.'
        )
    return sock


def address_of(sock: socket.socket) -> Address:
    """Give the address a socket is bound to, as (host, port) or a socket file."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return name[0], name[1]
    return str(name)


def accepts(address: Address) -> bool:
    """True if something accepts connections at `address`."""
    import socket

    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ':' in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(address) == 0


class InFlight:
    """Counts the requests being served, for servers that do not wait for them."""

    def __init__(self) -> None:
        self._idle = threading.Condition()
        self._count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._idle:
            self._count += 1
        try:
            yield
        finally:
            with self._idle:
                self._count -= 1
                self._idle.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait until none is left; False if `timeout` seconds pass before."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._count, timeout)


def ssl_context(server: Server) -> ssl.SSLContext | None:
    """Give the TLS context the settings describe; None for plain HTTP."""
    if server.ssl_context is not None:
        given: ssl.SSLContext = server.ssl_context
        return given
    if not server.ssl_certificate:
        return None
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.ssl_certificate, server.ssl_private_key)
    if server.ssl_certificate_chain:
        # OpenSSL completes the chain it sends from the trusted certificates.
        context.load_verify_locations(server.ssl_certificate_chain)
    if server.ssl_ciphers:
        context.set_ciphers(server.ssl_ciphers)
    return context


# ---------------------------------------------------------------------- limits


def parser_limit(server: Server) -> int | None:
    """Give the header size at which a server's own parser may give up; None for no limit.

    It leaves room above the setting: the parser's answer differs from server to server, ours is always 413.
    """
    return server.max_request_header_size * 2 + 8192 if server.max_request_header_size else None


TOO_LARGE = b'Request entity too large.'


def wsgi_callable(application: Any, server: Server) -> Any:
    """Give the WSGI callable of `application`, answering 413 to a request over the server's size limits."""
    inner = getattr(application, 'wsgi', application)
    most_headers, most_body = server.max_request_header_size, server.max_request_body_size

    def limited(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        size = sum(len(name) + len(value) for name, value in environ.items() if name[:5] == 'HTTP_')
        length = environ.get('CONTENT_LENGTH') or ''
        if (most_headers and size > most_headers) or (most_body and length.isdigit() and int(length) > most_body):
            start_response(
                '413 Request Entity Too Large',
                [
                    ('Content-Type', 'text/plain'),
                    ('Content-Length', str(len(TOO_LARGE))),
                ],
            )
            return [TOO_LARGE]
        chunks: Iterable[bytes] = inner(environ, start_response)
        return chunks

    return limited


def asgi_callable(application: Any, server: Server) -> Any:
    """Give the ASGI callable of `application`, answering 413 to a request over the server's size limits."""
    inner = getattr(application, 'asgi', application)
    most_headers, most_body = server.max_request_header_size, server.max_request_body_size

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] == 'http':
            size, length = 0, b''
            for name, value in scope['headers']:
                size += len(name) + len(value)
                if name == b'content-length':
                    length = value
            if (most_headers and size > most_headers) or (most_body and length.isdigit() and int(length) > most_body):
                head = [(b'content-type', b'text/plain'), (b'content-length', b'%d' % len(TOO_LARGE))]
                if scope.get('http_version', '1.1') < '2':
                    head.append((b'connection', b'close'))
                await send({'type': 'http.response.start', 'status': 413, 'headers': head})
                await send({'type': 'http.response.body', 'body': TOO_LARGE})
                return
        await inner(scope, receive, send)

    return limited
