"""A WSGI application under ASGI: it runs in a pool thread, its input read as it arrives, its body sent as it is made.

PEP 3333. All of a request runs in one thread, which many WSGI applications count on. What is grafted where is not
known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ..errors import ClientDisconnected
from ..protocol.iterators import as_bytes

if TYPE_CHECKING:
    from ..typing import ExcInfo, Message, Send

__all__ = ['serve_wsgi_child']

# Of the connection, which is the server's. SPEC: PEP 3333, "Other HTTP Features": applications may not set them.
_HOP_BY_HOP = frozenset(
    (
        *(b'connection', b'keep-alive', b'proxy-authenticate', b'proxy-authorization'),
        *(b'te', b'trailer', b'transfer-encoding', b'upgrade'),
    )
)


async def serve_wsgi_child(app: Any, environ: dict[str, Any], head: Any, site: Any, send: Send) -> None:
    """Answer an ASGI request by a WSGI application.

    What it raises is raised, unless the client has left; PoolFull where no thread takes it.
    """
    answer = _Answer(app, environ, head, send)
    watcher = None
    # To look for what comes would tell a client that waits for leave to send its body to go on.
    if head.get('expect') is None:
        watcher = asyncio.ensure_future(answer.watch())
    try:
        await site.handler_pool().run(copy_context(), answer.run, abort=answer.abort)
    except (ClientDisconnected, ConnectionError):
        if not answer.gone and not answer.reader.disconnected:
            raise  # a connection of its own, say to a database
    finally:
        if watcher is not None:
            watcher.cancel()


class _Answer:
    """One request of a WSGI application: called, iterated and closed in the thread that calls `run`."""

    def __init__(self, app: Any, environ: dict[str, Any], head: Any, send: Send) -> None:
        self.app = app
        self.environ = environ
        self.loop = asyncio.get_running_loop()
        self.reader = head.reader()
        self.reader.loop = self.loop
        # Whether the client has left.
        self.gone = False
        self._send = send
        self._is_head = head.method == 'HEAD'
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._sent = False
        self._sending: Future[None] | None = None

    # -- on the loop

    async def watch(self) -> None:
        """Wait until the client leaves: what is sent from then on ends the application's body."""
        try:
            await self.reader.left()
        except Exception:
            return  # a server that cannot tell
        self.gone = True
        if self._sending is not None:
            self._sending.cancel()  # some servers go on waiting for a client that has gone

    def abort(self) -> None:
        """Let the thread wait neither for the body nor for the client."""
        self.gone = True
        self.reader.abort()
        if self._sending is not None:
            self._sending.cancel()

    # -- in the thread

    def run(self) -> None:
        body: Iterable[bytes] = self.app(self.environ, self._start_response)
        try:
            # PERF: one crossing in place of two, 120 in place of 170 us, where a list says that it holds one chunk.
            if type(body) in (list, tuple) and len(body) == 1:  # type: ignore[arg-type]
                self._write(as_bytes(body[0]), more=False)  # type: ignore[index]
            else:
                for chunk in body:
                    if chunk:
                        self._write(as_bytes(chunk))
                self._write(b'', more=False)
        finally:
            close = getattr(body, 'close', None)
            if close is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        if self._sent:
            try:
                if exc_info is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
                raise RuntimeError('start_response was called after the head had been sent.')
            finally:
                exc_info = None
        fields = [(name.lower().encode('latin-1'), value.encode('latin-1')) for name, value in headers]
        self._head = int(status[:3]), [field for field in fields if field[0] not in _HOP_BY_HOP]
        return self._write

    def _write(self, data: bytes, more: bool = True) -> None:
        """Send a chunk, after the head where that has not been sent."""
        messages: list[Message] = []
        if not self._sent:
            if self._head is None:
                raise RuntimeError(f'{self.app!r} gave a body before it called start_response.')
            self._sent = True
            messages.append({'type': 'http.response.start', 'status': self._head[0], 'headers': self._head[1]})
        if self._is_head:
            data = b''
        if data or not more:
            messages.append({'type': 'http.response.body', 'body': data, 'more_body': more})
        self._check()
        if messages:
            self._put(messages)

    def _check(self) -> None:
        if self.gone:
            raise ClientDisconnected()

    def _put(self, messages: list[Message]) -> None:
        """Send messages, and wait until the server has taken them."""
        sending = self._sending = asyncio.run_coroutine_threadsafe(self._send_all(messages), self.loop)
        if self.gone:
            sending.cancel()  # it went just now, and saw no message to cancel
        try:
            sending.result()
        except OSError:
            # SPEC: ASGI HTTP 2.4: raised where the client has gone.
            self.gone = True
            raise ClientDisconnected() from None
        except CancelledError:
            raise ClientDisconnected() from None

    async def _send_all(self, messages: list[Message]) -> None:
        for message in messages:
            await self._send(message)
