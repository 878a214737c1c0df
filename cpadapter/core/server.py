"""Server: the settings CherryPy knows under `server.*`, and start, stop, wait over whatever adapter it was handed.

It opens no socket, makes no thread and knows no server: `launchers` holds the function that does, put there by
`server_adapters`, which stands above this file. In a hosted process the settings only hold values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .engine import Engine

__all__ = ['Address', 'Running', 'Server', 'format_address', 'launchers']

Address = tuple[str, int] | str


class Running(Protocol):
    """A server that was launched."""

    address: Address | None

    @property
    def alive(self) -> bool: ...
    def wait(self) -> None:
        """Wait until it accepts connections; raise what kept it from that."""

    def stop(self) -> None:
        """Let requests in flight end, then return; bounded by the server's `shutdown_timeout`."""


# Set once by server_adapters when it is imported: this file stands below and may not import it.
launchers: list[Callable[[Server], Running]] = []


class Server:
    """Where to listen, and with which limits.

    bus: the engine whose `start` and `stop` channels it follows once subscribed.
    find_application: gives the callable to serve; asked at each start, since the tree may be rebound.
    adapter: name of the server to run (`uvicorn`, `gunicorn`, ...); None means uvicorn.
    adapter_options: further settings handed to that server unchanged, under its own names.
    instance: a foreign server object with start() and stop(), or a callable or dotted name giving one when called
    with this Server; it takes the adapter's place.
    Times are in seconds, sizes in bytes.
    """

    adapter: str | None = None
    adapter_options: Mapping[str, Any] | None = None
    instance: Any = None

    socket_port: int | None = 8080
    socket_file: str | None = None
    socket_queue_size: int = 5
    socket_timeout: float = 10
    accepted_queue_size: int = -1
    accepted_queue_timeout: float = 10
    shutdown_timeout: float = 5
    protocol_version: str = 'HTTP/1.1'
    thread_pool: int = 10
    thread_pool_max: int = -1
    max_request_header_size: int = 500 * 1024
    max_request_body_size: int = 100 * 1024 * 1024
    ssl_context: Any = None
    ssl_certificate: str | None = None
    ssl_certificate_chain: str | None = None
    ssl_private_key: str | None = None
    ssl_ciphers: str | None = None
    ssl_module: str | None = 'builtin'
    statistics: bool = False
    nodelay: bool = True
    wsgi_version: tuple[int, int] = (1, 0)
    peercreds: bool = False
    peercreds_resolve: bool = False
    # Seconds between two pings to a WebSocket's peer, and until the answer must be there; None for neither.
    websocket_ping_interval: float | None = 20
    websocket_ping_timeout: float | None = 20
    # Bytes of a message that the server itself takes; a page may take less (websocket.max_size).
    websocket_max_size: int = 16 * 1024 * 1024
    # Threads for WebSockets with plain page handlers; each holds one as long as it is open.
    websocket_threads: int = 100

    using_apache: bool = False
    using_wsgi: bool = False

    _socket_host: str | None = '127.0.0.1'

    def __init__(self, bus: Engine | None = None, find_application: Callable[[], Any] | None = None) -> None:
        self.bus = bus
        self.find_application = find_application
        self.httpserver: Any = None
        self.interrupt: BaseException | None = None
        self._running: Running | None = None

    # ------------------------------------------------------------------ where

    @property
    def socket_host(self) -> str | None:
        return self._socket_host

    @socket_host.setter
    def socket_host(self, value: str | None) -> None:
        if value == '':
            raise ValueError(
                "The empty string ('') is not an allowed value. "
                "Use '0.0.0.0' instead to listen on all active interfaces (INADDR_ANY)."
            )
        self._socket_host = value

    @property
    def bind_addr(self) -> Address | None:
        """The address asked for: a socket file, or (host, port), or None."""
        if self.socket_file:
            return self.socket_file
        if self.socket_host is None and self.socket_port is None:
            return None
        return self.socket_host or '127.0.0.1', self.socket_port or 0

    @bind_addr.setter
    def bind_addr(self, value: Address | None) -> None:
        if value is None:
            self.socket_file = None
            self.socket_host = None
            self.socket_port = None
        elif isinstance(value, str):
            self.socket_file = value
            self.socket_host = None
            self.socket_port = None
        else:
            try:
                host, port = value
            except (TypeError, ValueError):
                raise ValueError(
                    'bind_addr must be a (host, port) tuple (for TCP sockets) or a string '
                    f'(for Unix domain sockets), not {value!r}'
                ) from None
            self.socket_host, self.socket_port = host, port
            self.socket_file = None

    @property
    def bound_addr(self) -> Address | None:
        """The address in use, with the real port where port 0 was asked for; `bind_addr` when not running."""
        if self._running is not None and self._running.address is not None:
            return self._running.address
        return self.bind_addr

    @property
    def scheme(self) -> str:
        return 'https' if self.ssl_certificate or self.ssl_context is not None else 'http'

    @property
    def description(self) -> str:
        """Where it serves, in words fit for a log."""
        address = self.bound_addr
        if address is None:
            return 'unknown interface (dynamic?)'
        if isinstance(address, str):
            return f'socket file: {address}'
        return format_address(self.scheme, address)

    def base(self) -> str:
        """The start of this server's URLs, e.g. `http://127.0.0.1:8080`; a socket file gives its path."""
        if self.socket_file:
            return self.socket_file
        address = self.bound_addr
        host, port = address if isinstance(address, tuple) else ('127.0.0.1', 0)
        if host in ('0.0.0.0', '::'):
            import socket

            host = socket.gethostname()
        return format_address(self.scheme, (host, port))

    # ------------------------------------------------------------------ running

    @property
    def running(self) -> bool:
        return self._running is not None and self._running.alive

    def has_lifespan(self) -> bool:
        """Say whether start() runs a server that sends the application a lifespan, on a loop in its own thread."""
        return self.instance is None and self.adapter in (None, 'uvicorn', 'hypercorn')

    def subscribe(self) -> None:
        """Follow the engine: start at priority 75, stop at 25."""
        if self.bus is not None:
            self.bus.subscribe('start', self.start, 75)
            self.bus.subscribe('stop', self.stop, 25)

    def unsubscribe(self) -> None:
        """Let the engine start and stop without this server."""
        if self.bus is not None:
            self.bus.unsubscribe('start', self.start)
            self.bus.unsubscribe('stop', self.stop)

    def start(self) -> None:
        """Start serving in the background; returns once connections are accepted. Does nothing when hosted."""
        if self.bus is not None and not self.bus.claim():
            return
        if self.running:
            self._log(f'Already serving on {self.description}')
            return
        if not launchers:
            raise RuntimeError('No server adapters: import cpadapter.server_adapters before Server.start().')
        self.interrupt = None
        running = self._running = launchers[0](self)
        try:
            running.wait()
        except BaseException:
            # Ctrl-C too: a server left half started would keep the process alive.
            self._running = None
            running.stop()
            raise
        self._log(f'Serving on {self.description}')

    start.priority = 75  # type: ignore[attr-defined]

    def wait(self) -> None:
        """Wait until connections are accepted; raise what ended the server if it did."""
        if self.interrupt is not None:
            raise self.interrupt
        if self._running is not None:
            self._running.wait()

    def stop(self) -> None:
        """Refuse new requests, let those in flight end within `shutdown_timeout`, and close."""
        running = self._running
        if running is None:
            return
        description = self.description
        self._running = None
        running.stop()
        self._log(f'HTTP Server {description} shut down')

    stop.priority = 25  # type: ignore[attr-defined]

    def restart(self) -> None:
        """Stop, then start."""
        self.stop()
        self.start()

    def httpserver_from_self(self, httpserver: Any = None) -> tuple[Any, Address | None]:
        """Give (server object, bind_addr); the object is None where the adapter brings its own.

        httpserver: an object, a callable or a dotted name; default `instance`.
        """
        found = self.instance if httpserver is None else httpserver
        if isinstance(found, str):
            from importlib import import_module

            module, _, name = found.rpartition('.')
            found = getattr(import_module(module), name)
        if isinstance(found, type) or (callable(found) and not hasattr(found, 'start')):
            found = found(self)
        return found, self.bind_addr

    def _log(self, msg: str) -> None:
        if self.bus is not None:
            self.bus.log(msg)


def format_address(scheme: str, address: tuple[str, int]) -> str:
    """Write `scheme://host:port`, an IPv6 host in brackets, the scheme's own port left out."""
    host, port = address
    if ':' in host:
        host = f'[{host}]'
    if port == {'http': 80, 'https': 443}[scheme]:
        return f'{scheme}://{host}'
    return f'{scheme}://{host}:{port}'
