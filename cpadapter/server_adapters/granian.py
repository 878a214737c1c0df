"""granian: ASGI, its embedded server, on an event loop in the serving thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .settings import SHARED, accepts, address_of, asgi_callable, bind, needs, options

if TYPE_CHECKING:
    from ..core.server import Address, Server
    from ..process.servers import Handle

__all__ = ['FORKS', 'SETTINGS', 'serve']

FORKS = False
SETTINGS = SHARED | {
    'accepted_queue_size',
    'socket_queue_size',
    'ssl_certificate',
    'ssl_private_key',
    'thread_pool',
}


def serve(
    application: Any,
    server: Server,
    *,
    started: Callable[[Address], object] | None = None,
    handle: Handle | None = None,
) -> None:
    """Serve until `handle.stop()`, embedded: one worker, in this process."""
    with needs('granian'):
        from granian.constants import Interfaces
        from granian.server.embed import Server as EmbeddedServer
    import asyncio
    from pathlib import Path

    # granian binds by itself: bind first, so that an address in use is told in our words, and port 0 has a number.
    sock = bind(server, takes='none')
    address = address_of(sock)
    sock.close()
    translated: dict[str, Any] = {
        'interface': Interfaces.ASGI,
        'log_enabled': False,
        'log_access': False,
    }
    if isinstance(address, str):
        Path(address).unlink(missing_ok=True)
        translated['uds'] = Path(address)
    else:
        translated['address'], translated['port'] = address
    if server.socket_queue_size != type(server).socket_queue_size:
        translated['backlog'] = max(128, server.socket_queue_size)
    if server.ssl_certificate and server.ssl_private_key:
        translated['ssl_cert'] = Path(server.ssl_certificate)
        translated['ssl_key'] = Path(server.ssl_private_key)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        serving = EmbeddedServer(asgi_callable(application, server), **options(server, **translated))
        if handle is not None:
            handle.stop_with(lambda: loop.call_soon_threadsafe(serving.stop))
        task = loop.create_task(serving.serve())
        if started is not None:
            while not task.done():
                if await loop.run_in_executor(None, accepts, address):
                    started(address)
                    break
                await asyncio.sleep(0.02)
        await task

    asyncio.run(main())
