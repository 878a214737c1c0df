"""Running a blocking server in a thread of its own, ports, and the adapter for foreign HTTP servers.

`ServerThread` is what a server adapter's `serve()` is handed: through it, serve() says when it accepts connections
and how to make it return. It knows addresses and callables, not which server or application they belong to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..context import exchange_var
from ..core.engine import StartRefused
from ..core.server import format_address

if TYPE_CHECKING:
    import socket as socket_module

    from ..core.engine import Engine
    from ..core.server import Address

__all__ = [
    'Handle',
    'PortInUse',
    'ServerAdapter',
    'ServerThread',
    'bind_socket',
    'check_port',
    'client_host',
    'launch_foreign',
    'wait_for_free_port',
    'wait_for_occupied_port',
]

FREE_PORT_TIMEOUT = 1.0
OCCUPIED_PORT_TIMEOUT = 5.0
FIRST_INHERITED_DESCRIPTOR = 3


class PortInUse(StartRefused, OSError):
    """The address cannot be had; the message names it and says what to do."""


class Handle:
    """Between a serve() that blocks and whoever ends it, on any thread.

    address: where connections are accepted, from `started` on; (host, port) or a socket file.
    """

    def __init__(self) -> None:
        self.address: Address | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stop_calls: list[Callable[[], object]] = []

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def started(self, address: Address) -> None:
        """Called by serve() once connections are accepted."""
        self.address = address

    def stop_with(self, call: Callable[[], object]) -> None:
        """Called by serve(): `call` makes it return. It is called from another thread, at once if stop() came first."""
        with self._lock:
            self._stop_calls.append(call)
            stopping = self.stopping
        if stopping:
            call()

    def stop(self) -> None:
        """Ask serve() to return."""
        with self._lock:
            if self.stopping:
                return
            self._stopping.set()
            calls = list(self._stop_calls)
        for call in calls:
            call()

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait until stop() is called; False if `timeout` seconds pass before."""
        return self._stopping.wait(timeout)


class ServerThread(Handle):
    """Run `serve(handle)` in a thread until stop().

    on_failure: called in that thread with what ended serve() after it had started, unless stop() was asked for.
    timeout: seconds stop() waits for requests in flight before it gives up on the thread.
    """

    def __init__(
        self,
        serve: Callable[[Handle], object],
        name: str = 'HTTPServer',
        *,
        on_failure: Callable[[BaseException], object] | None = None,
        timeout: float = 5,
    ) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._serve = serve
        self._on_failure = on_failure
        self._timeout = timeout
        self._settled = threading.Event()
        # COMPAT: not a daemon, so a program that ends without engine.block() goes on serving, as CherryPy's does.
        self._thread = threading.Thread(target=self._run)
        self._thread.name = f'{name} {self._thread.name}'
        self._thread.daemon = False

    def start(self) -> ServerThread:
        self._thread.start()
        return self

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def started(self, address: Address) -> None:
        super().started(address)
        self._settled.set()

    def wait(self) -> None:
        """Wait until connections are accepted; raise what ended the server, if it ended instead."""
        self._settled.wait()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Ask serve() to return, and wait for that; from within its own thread, or a request, only ask.

        A page handler may end the program: its response is then sent before serve() returns, and `engine.block()`
        waits for this thread.
        """
        exchange = exchange_var.get()
        if exchange is not None and exchange.app is not None:
            # In a thread of its own: some servers' ways to stop wait for the requests in flight.
            threading.Thread(target=super().stop, name='HTTPServer stopper').start()
            return
        super().stop()
        if threading.current_thread() is not self._thread:
            # Slack, since servers look for the request to stop at intervals of their own.
            self._thread.join(self._timeout + 2)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._serve(self)
        except BaseException as exc:  # SystemExit too: servers use it to give up, and a thread would swallow it
            failure = exc
        if self.stopping:
            if failure is not None and self.error is None and not self._settled.is_set():
                self.error = failure
            self._settled.set()
            return
        if failure is None or isinstance(failure, SystemExit):
            failure = RuntimeError('The server ended by itself; its own log may tell why.')
        self.error = failure
        running = self._settled.is_set()
        self._settled.set()
        if running and self._on_failure is not None:
            self._on_failure(failure)


# ---------------------------------------------------------------------- ports


def client_host(server_host: str) -> str:
    """Give the host a client on this machine connects to, for a server listening on `server_host`."""
    return {'0.0.0.0': '127.0.0.1', '::': '::1', '::0': '::1', '::0.0.0.0': '::1'}.get(server_host, server_host)


def _accepts(host: str, port: int, timeout: float) -> bool:
    """True if something accepts connections there."""
    import socket

    try:
        socket.create_connection((client_host(host), port), timeout=timeout).close()
    except OSError:
        return False
    return True


def check_port(host: str, port: int, timeout: float = 1.0) -> None:
    """Raise PortInUse if something accepts connections on (host, port)."""
    if not host:
        raise ValueError("Host values of '' or None are not allowed.")
    if _accepts(host, port, timeout):
        raise PortInUse(_in_use(host, port))


def wait_for_free_port(host: str, port: int, timeout: float | None = None) -> None:
    """Wait until nothing accepts connections on (host, port); PortInUse after `timeout` seconds (1)."""
    if not host:
        raise ValueError("Host values of '' or None are not allowed.")
    deadline = time.monotonic() + (FREE_PORT_TIMEOUT if timeout is None else timeout)
    while _accepts(host, port, 0.2):
        if time.monotonic() >= deadline:
            raise PortInUse(_in_use(host, port))
        time.sleep(0.05)


def wait_for_occupied_port(host: str, port: int, timeout: float | None = None) -> None:
    """Wait until something accepts connections on (host, port); OSError after `timeout` seconds (5)."""
    if not host:
        raise ValueError("Host values of '' or None are not allowed.")
    deadline = time.monotonic() + (OCCUPIED_PORT_TIMEOUT if timeout is None else timeout)
    while not _accepts(host, port, 0.5):
        if time.monotonic() >= deadline:
            raise OSError(f'Nothing accepts connections on port {port} of {host}.')
        time.sleep(0.05)


def _in_use(host: str, port: int) -> str:
    return (
        f'Cannot serve on {host} port {port}: the port is in use. '
        'Stop the program that listens there, or set server.socket_port to another port (0 takes any free one).'
    )


def bind_socket(address: Address) -> socket_module.socket:
    """Give a bound socket, not listening yet; a socket inherited by socket activation goes before `address`.

    Raises PortInUse if the address is taken, not permitted, or not this machine's.
    Source of the activation protocol: systemd, sd_listen_fds(3).
    """
    import errno
    import os
    import socket

    if os.environ.get('LISTEN_PID') == str(os.getpid()) and 'LISTEN_FDS' not in os.environ:
        return socket.socket(fileno=FIRST_INHERITED_DESCRIPTOR)
    if isinstance(address, str):
        _remove_stale_socket_file(address)
        family, target = socket.AF_UNIX, address
        where = f'socket file {address}'
    else:
        host, port = address
        where = f'{host} port {port}'
        try:
            family, _, _, _, target = socket.getaddrinfo(  # type: ignore[assignment]
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except socket.gaierror:
            raise PortInUse(
                f'Cannot serve on {where}: the host is unknown. Set server.socket_host to an address of this machine.'
            ) from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX and os.name == 'posix':
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE and isinstance(address, tuple):
            raise PortInUse(_in_use(*address)) from None
        advice = {
            errno.EADDRINUSE: 'a server uses it. Stop that server, or set server.socket_file to another path.',
            errno.EACCES: 'not permitted. Set server.socket_port above 1023, or use a path you may write to.',
            errno.EADDRNOTAVAIL: 'not an address of this machine. Set server.socket_host to one that is.',
        }.get(exc.errno or 0, f'{exc.strerror}.')
        raise PortInUse(f'Cannot serve on {where}: {advice}') from None
    return sock


def _remove_stale_socket_file(path: str) -> None:
    """Delete a socket file nobody listens on; anything else is left for bind() to complain about."""
    import os
    import socket
    import stat

    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)


# ---------------------------------------------------------------------- foreign servers


def launch_foreign(
    httpserver: Any, bind_addr: Address | None, *, on_failure: Callable[[BaseException], object]
) -> ServerThread:
    """Run `httpserver.start()` in a thread; it counts as started when its `ready` is true or its port is occupied."""
    if not _is_socket_activated() and isinstance(bind_addr, tuple) and bind_addr[1]:
        wait_for_free_port(*bind_addr)

    def is_ready() -> bool:
        if hasattr(httpserver, 'ready'):
            return bool(httpserver.ready)
        return not isinstance(bind_addr, tuple) or not bind_addr[1] or _accepts(*bind_addr, 0.5)

    def watch(handle: Handle) -> None:
        while not handle.stopping and thread.alive:
            if is_ready():
                found = getattr(httpserver, 'bind_addr', None)
                dynamic = isinstance(bind_addr, tuple) and not bind_addr[1] and isinstance(found, tuple)
                handle.started((found if dynamic else bind_addr) or '')
                return
            time.sleep(0.02)

    def serve(handle: Handle) -> None:
        handle.stop_with(httpserver.stop)
        threading.Thread(target=watch, args=(handle,), name='HTTPServer watcher', daemon=True).start()
        httpserver.start()

    thread = ServerThread(serve, on_failure=on_failure)
    return thread.start()


class ServerAdapter:
    """Follow the bus with a foreign HTTP server: any object with start(), which blocks, and stop().

    httpserver: if it has an attribute `ready`, the start waits for it to be true; else for the port to be occupied.
    bind_addr: (host, port), a socket file, or None for a server that finds its own.
    An error in the server ends the bus.
    """

    def __init__(self, bus: Engine, httpserver: Any = None, bind_addr: Address | None = None) -> None:
        self.bus = bus
        self.httpserver = httpserver
        self.bind_addr = bind_addr
        self.interrupt: BaseException | None = None
        self._thread: ServerThread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.alive

    def subscribe(self) -> None:
        """Follow the bus: start at priority 75, stop at 25."""
        self.bus.subscribe('start', self.start, 75)
        self.bus.subscribe('stop', self.stop, 25)

    def unsubscribe(self) -> None:
        self.bus.unsubscribe('start', self.start)
        self.bus.unsubscribe('stop', self.stop)

    @property
    def bound_addr(self) -> Address | None:
        """The address in use, with the real port where port 0 was asked for."""
        if self._thread is not None and self._thread.address:
            return self._thread.address
        return self.bind_addr

    @property
    def description(self) -> str:
        """Where it serves, in words fit for a log."""
        address = self.bound_addr
        if address is None:
            return 'unknown interface (dynamic?)'
        if isinstance(address, str):
            return f'socket file: {address}'
        secure = getattr(self.httpserver, 'ssl_adapter', None) is not None
        return format_address('https' if secure else 'http', address)

    def start(self) -> None:
        """Start the server in a thread; returns once it is ready. Does nothing in a hosted process."""
        if not self.bus.claim():
            self.bus.log('The server that owns this process serves; no other is started.', level=30)
            return
        if self.running:
            self.bus.log(f'Already serving on {self.description}')
            return
        if self.httpserver is None:
            raise ValueError('No HTTP server has been created.')
        self.interrupt = None
        self._thread = launch_foreign(self.httpserver, self.bind_addr, on_failure=self._failed)
        self.wait()
        self.bus.log(f'Serving on {self.description}')

    start.priority = 75  # type: ignore[attr-defined]

    def _failed(self, error: BaseException) -> None:
        self.interrupt = error
        self.bus.log(f'Error in HTTP server: shutting down\n{error!r}', level=40)
        self.bus.exit()

    def wait(self) -> None:
        """Wait until the server is ready; raise what ended it, if it ended."""
        if self.interrupt is not None:
            raise self.interrupt
        if self._thread is not None:
            self._thread.wait()

    def stop(self) -> None:
        """Stop the server and wait until its port is free."""
        if self._thread is None:
            self.bus.log(f'HTTP Server {self.httpserver} already shut down')
            return
        thread, address = self._thread, self.bound_addr
        self._thread = None
        thread.stop()
        if not _is_socket_activated() and isinstance(address, tuple) and address[1]:
            wait_for_free_port(*address)
        self.bus.log(f'HTTP Server {self.httpserver} shut down')

    stop.priority = 25  # type: ignore[attr-defined]

    def restart(self) -> None:
        """Stop, then start."""
        self.stop()
        self.start()


def _is_socket_activated() -> bool:
    import os

    return os.environ.get('LISTEN_PID') == str(os.getpid())
