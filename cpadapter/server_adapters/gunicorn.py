"""gunicorn: WSGI or ASGI worker processes under a master; owns the process, its signals included."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, address_of, asgi_callable, bind, needs, options, wsgi_callable

if TYPE_CHECKING:
    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = True
SETTINGS = SHARED | {
    'accepted_queue_size',
    'socket_queue_size',
    'socket_timeout',
    'ssl_certificate',
    'ssl_ciphers',
    'ssl_context',
    'ssl_private_key',
    'thread_pool',
    'websocket_max_size',
}


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Run gunicorn's master in this process, which must be the main thread, until a signal or `handle.stop()`.

    One worker with threads unless `adapter_options` says otherwise; the engine starts in each worker.
    """
    with needs('gunicorn'):
        from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
    import os
    import signal

    # gunicorn binds by itself: bind first, so that an address in use is told in our words, and port 0 has a number.
    sock = bind(server)
    address = address_of(sock)
    sock.close()
    bus = server.bus

    def when_ready(arbiter: Any) -> None:
        if started is not None:
            started(address)

    def post_worker_init(worker: Any) -> None:
        if bus is not None:
            bus.ensure_started()

    def worker_exit(arbiter: Any, worker: Any) -> None:
        # Ctrl-C reaches the worker and the master, which then signals the worker again: once is enough, and
        # gunicorn's handlers would raise SystemExit in the midst of a `stop` listener.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if bus is not None:
            bus.ensure_exited()

    translated: dict[str, Any] = {
        'bind': f'unix:{address}'
        if isinstance(address, str)
        else '{}:{}'.format(f'[{address[0]}]' if ':' in address[0] else address[0], address[1]),
        'workers': 1,
        'worker_class': 'gthread',
        'threads': server.thread_pool,
        'keepalive': int(server.socket_timeout),
        'graceful_timeout': int(server.shutdown_timeout),
        'loglevel': 'warning',
        'when_ready': when_ready,
        'post_worker_init': post_worker_init,
        'worker_exit': worker_exit,
    }
    if server.socket_queue_size != type(server).socket_queue_size:
        translated['backlog'] = server.socket_queue_size
    if server.websocket_max_size != type(server).websocket_max_size:
        # Of its ASGI worker, since 25.
        translated['websocket_max_message_size'] = server.websocket_max_size
    for theirs, value in (
        ('certfile', server.ssl_certificate),
        ('keyfile', server.ssl_private_key),
        ('ciphers', server.ssl_ciphers),
    ):
        if value:
            translated[theirs] = value
    if server.ssl_context is not None:
        translated['ssl_context'] = lambda config, default_factory: server.ssl_context
    settings = options(server, **translated)
    callable_of = wsgi_callable
    if 'asgi' in str(settings['worker_class']).lower() or 'uvicorn' in str(settings['worker_class']).lower():
        callable_of = asgi_callable
    elif server.accepted_queue_size > 0:
        settings.setdefault('worker_connections', server.accepted_queue_size)

    class Application(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return callable_of(application, server)

    if handle is not None:
        handle.stop_with(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        Application().run()
    except SystemExit as exc:
        if exc.code:
            raise
