"""The ASGI border of WebSockets: scope -> head and connection, exchange -> denial; and the threads of plain handlers.

ASGI WebSocket messages spec 2.5. What is done with a connection in which state is core's (core/websocket.py).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from ..context import exchange_var
from ..errors import HTTPError, WebSocketClosed
from ..protocol.messages import CrossFirst, RequestHead
from .asgi_head import AsgiHead
from .asgi_reader import Around
from .asgi_steps import finish, open_in_pool
from .asgi_stream import send_stream
from .bridge import WorkerPool, offload
from .lifespan import start_lazily

if TYPE_CHECKING:
    from ..typing import Message, Receive, Scope, Send

__all__ = ['Connection', 'WebSocketHead', 'serve_websocket']

_SCHEMES = {'ws': 'http', 'wss': 'https'}
# Messages sent in a row by a page handler that does not receive, after which the client's leaving is looked for.
_UNHEARD = 16
# Seconds that a peer has to take a close when the server cancels.
_GOING = 1
_DENIAL = 'websocket.http.response'


class Connection:
    """The messages of one WebSocket. It is made on the loop that it is used on; `wait` is for threads.

    subprotocols: what the client offers. lock: held by whoever answers the handshake.
    """

    __slots__ = (
        '_aborted',
        '_body_read',
        '_denies',
        '_denying',
        '_loop',
        '_pending',
        '_receive',
        '_send',
        '_site',
        '_unheard',
        '_waiting',
        'closed',
        'lock',
        'subprotocols',
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, site: Any) -> None:
        self.subprotocols = list(scope.get('subprotocols') or ())
        self.lock = asyncio.Lock()
        self.closed = False
        self._receive = receive
        self._send = send
        self._site = site
        self._denies = _DENIAL in (scope.get('extensions') or ())
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Future[Any]] = []
        self._aborted = False
        # A message that is being received ahead of who asks for it, never more than one; and what was sent since
        # somebody did.
        self._pending: asyncio.Future[Message] | None = None
        self._unheard = 0
        self._body_read = False
        self._denying = False

    async def begin(self) -> bool:
        """Take the message that opens it; False if the client has gone before."""
        return bool((await self._receive())['type'] == 'websocket.connect')

    async def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        await self._put({'type': 'websocket.accept', 'subprotocol': subprotocol, 'headers': headers})

    async def receive(self, timeout: float | None) -> str | bytes | None:
        """Give the next message; None if none comes within `timeout` seconds. WebSocketClosed if none will."""
        self._unheard = 0
        pending = self._listen() if timeout is not None else self._pending
        if pending is None:
            message = await self._receive()
        else:
            # Not cancelled with whoever waits: a message that comes is not lost.
            await asyncio.wait((pending,), timeout=timeout)
            if not pending.done():
                return None
            message = pending.result()
            self._pending = None
        if message['type'] == 'websocket.disconnect':
            self._lose(message)
        text = message.get('text')
        data: str | bytes = (message.get('bytes') or b'') if text is None else text
        return data

    def _listen(self) -> asyncio.Future[Message]:
        """Begin to receive one message, for whoever asks next; give the future of it."""
        pending = self._pending
        if pending is None:
            pending = self._pending = asyncio.ensure_future(self._receive())
        return pending

    def _lose(self, message: Message) -> NoReturn:
        self.closed = True
        code = message.get('code')
        raise WebSocketClosed(1005 if code is None else code, message.get('reason') or '')

    async def send(self, message: str | bytes) -> None:
        pending = self._pending
        if pending is not None and pending.done() and pending.exception() is None:
            left = pending.result()
            if left['type'] == 'websocket.disconnect':
                self._lose(left)
        self._unheard += 1
        if not self._unheard % _UNHEARD:
            # Some servers take what is sent to a client that has gone: only who receives is told. And they need not
            # let anybody else run meanwhile.
            self._listen()
            await asyncio.sleep(0)
        if isinstance(message, str):
            await self._put({'type': 'websocket.send', 'text': message})
        else:
            await self._put({'type': 'websocket.send', 'bytes': message})

    async def _put(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            # SPEC: ASGI WebSocket 2.4: raised where the client has gone.
            self.closed = True
            raise WebSocketClosed(1006) from None

    async def close(self, code: int, reason: str) -> None:
        """Close it, if it is not; a client that has gone need not be told."""
        if self.closed:
            return
        self.closed = True
        try:
            await self._put({'type': 'websocket.close', 'code': code, 'reason': reason})
        except WebSocketClosed:
            pass

    async def go_away(self, exc: BaseException) -> None:
        """Tell the peer that the server goes, if `exc` is a cancellation; nobody waits long for that."""
        if isinstance(exc, asyncio.CancelledError):
            try:
                await asyncio.wait_for(self.close(1012, ''), _GOING)
            except Exception:
                pass  # the server has gone so far that it sends nothing

    async def release(self) -> None:
        """Let nothing be received any more."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
            await asyncio.wait((pending,))
            if not pending.cancelled():
                pending.exception()  # nobody else looks at it

    async def deny(self, exchange: Any, outside: Any) -> None:
        """Answer the handshake with the response of an exchange; with 403 where the server sends no other."""
        self.closed = True
        if not self._denies:
            try:
                await self._put({'type': 'websocket.close', 'code': 1000, 'reason': ''})
            except WebSocketClosed:
                exchange.disconnected = True
            return
        body = exchange.body
        self._denying = True
        if type(body) is not bytes:
            await send_stream(exchange, self._put_denial, outside)
            return
        try:
            await self._put_denial(
                {'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()}
            )
            await self._put_denial({'type': 'http.response.body', 'body': body})
        except OSError:
            exchange.disconnected = True

    async def _put_denial(self, message: Message) -> None:
        message['type'] = f'websocket.{message["type"]}'
        await self._send(message)

    async def receive_body(self) -> Message:
        """Receive the body of the handshake, which has none; then, while it is being denied, the client's leaving."""
        if not self._body_read:
            self._body_read = True
            return {'type': 'http.request', 'body': b'', 'more_body': False}
        if not self._denying:
            # What comes next is for whoever receives messages.
            await self._loop.create_future()
        while (await self._receive())['type'] != 'websocket.disconnect':
            pass
        return {'type': 'http.disconnect'}

    # -- for plain page handlers

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Call a plain page handler in a thread of its own; HTTPError(503) if all of those are taken."""
        threads = _take_thread(self._site)
        try:
            return await offload(threads.pool, call)
        finally:
            _give_thread(self._site, threads)

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """In a thread: have a coroutine run on the loop, and wait for its result."""
        if threading.get_ident() == getattr(self._loop, '_thread_id', None):
            coroutine.close()
            raise RuntimeError('A BlockingWebSocket would stop the event loop here: it is for threads.')
        if self._aborted:
            coroutine.close()
            raise WebSocketClosed(1006)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._waiting.append(future)
        if self._aborted:
            future.cancel()
        try:
            return future.result()
        except CancelledError:
            raise WebSocketClosed(1006) from None
        finally:
            self._waiting.remove(future)
            del future  # an exception leads back here

    def abort(self) -> None:
        """Let no thread wait any longer: the request is cancelled."""
        self._aborted = True
        for future in tuple(self._waiting):
            future.cancel()


class _Threads:
    """The threads of one site's plain WebSocket handlers; there while there is one of those."""

    def __init__(self, size: int) -> None:
        self.pool = WorkerPool(size, 'cpadapter-websocket')
        self.busy = 0


_threads: WeakKeyDictionary[Any, _Threads] = WeakKeyDictionary()
_threads_lock = threading.Lock()


def _take_thread(site: Any) -> _Threads:
    with _threads_lock:
        size = max(1, int(site.server.websocket_threads))
        threads = _threads.get(site)
        if threads is None or threads.pool.pid != os.getpid():
            threads = _threads[site] = _Threads(size)
        threads.pool.size = size
        if threads.busy < size:
            threads.busy += 1
            return threads
    raise HTTPError(503, 'No more WebSockets can be served at the moment.')


def _give_thread(site: Any, threads: _Threads) -> None:
    with _threads_lock:
        threads.busy -= 1
        if threads.busy:
            return
        if _threads.get(site) is threads:
            del _threads[site]
    threads.pool.close()


class WebSocketHead(AsgiHead):
    """The head of a WebSocket handshake: that of a GET, by http or https."""

    def __init__(self, scope: Scope, connection: Connection) -> None:
        super().__init__({**scope, 'method': 'GET'}, connection.receive_body)
        self.native = scope
        self.connection = connection

    @property
    def scheme(self) -> str:
        scheme = str(self.native.get('scheme') or 'ws')
        return _SCHEMES.get(scheme, scheme)

    def abort(self) -> None:
        self.connection.abort()

    def is_disconnected(self) -> bool:
        """Say whether the connection is known to be closed: whoever receives messages is told first."""
        closed: bool = self.connection.closed
        return closed

    left = RequestHead.left

    def redirected(self, path: str, query: str) -> WebSocketHead:
        scope = {**self.native, 'query_string': query.encode('utf-8', 'replace'), 'path': path, 'root_path': ''}
        scope.pop('raw_path', None)
        head = WebSocketHead(scope, self.connection)
        head.on_loop = self.on_loop
        head.outer = self.outer
        head.path = path
        return head


async def serve_websocket(opener: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket to an Application or Tree."""
    outside = exchange_var.get()
    # What the server registers with the loop meanwhile holds no copy of the request's context.
    around = copy_context()
    connection = Connection(scope, Around(around, receive), Around(around, send), opener.site)
    head = WebSocketHead(scope, connection)
    try:
        exchange = opener.open(head)
    except CrossFirst:
        exchange_var.set(outside)
        if opener.site.engine.needs_start:
            await start_lazily(opener.site)
        exchange = await open_in_pool(opener.site.step_pool(), head, opener.open, head)
    if exchange.plan is None:
        exchange_var.set(outside)
        await exchange.hand_over_asgi(scope, receive, send)
        return
    try:
        if not await connection.begin():
            return
        await _run(exchange)
        while exchange.redirect is not None:
            await finish(exchange)
            try:
                if not exchange.head.on_loop:
                    raise CrossFirst
                exchange = exchange.follow()
            except CrossFirst:
                exchange = await open_in_pool(opener.site.step_pool(), exchange.head, exchange.follow)
            await _run(exchange)
        if exchange.upgraded:
            await connection.close(1011, '')
        elif not exchange.disconnected:
            await connection.deny(exchange, outside)
    finally:
        if not exchange.closed:
            exchange_var.set(exchange)
            await finish(exchange)
        exchange_var.set(outside)
        await connection.release()


async def _run(exchange: Any) -> None:
    """Run an exchange on the loop, whatever the colour of its page handler; a page of HTTP is not found."""
    handler = exchange.handler
    page = handler if hasattr(handler, '__code__') or hasattr(handler, '__func__') else type(handler).__call__
    if handler is not None and not getattr(page, 'is_websocket', False) and not isinstance(handler, Exception):
        exchange.replace_handler(HTTPError(404, 'There is no WebSocket at this path.'))
    exchange.on_loop = True
    if not (exchange.plan.is_async or exchange.plan.light):
        # With hooks of its own, a request has plain ones that may wait run in a thread.
        exchange.request.hooks  # noqa: B018
    await exchange.run()
