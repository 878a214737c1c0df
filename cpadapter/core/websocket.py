"""The exchange once the client has upgraded: WebSocket for async page handlers, BlockingWebSocket for plain ones.

What may be done in which state, which close codes there are, whom an origin lets in and what a page handler's end
means is decided here. How messages travel is the gateway's: `connection` is what it gave, and knows nothing of this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..context import current
from ..errors import HTTPError, WebSocketClosed
from ..extension.dispatch import mismatch
from ..extension.hooks import call_within, log_once

if TYPE_CHECKING:
    from .pipeline import Exchange

__all__ = ['SETTINGS', 'BadMessage', 'BlockingWebSocket', 'WebSocket', 'check_setting']

# The entries of the `websocket` config namespace.
SETTINGS: dict[str, Any] = {'origins': None, 'max_size': 1 << 20, 'subprotocols': (), 'idle_timeout': None}

# SPEC: RFC 6455 7.4.1 and IANA's registry: 1004 to 1006 and 1015 are never sent, 1016 to 2999 mean nothing yet.
_SENDABLE = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
# SPEC: RFC 6455 5.5: a control frame carries 125 bytes, of which the code takes two.
_MAX_REASON = 123

# Headers of a page that say nothing of a handshake, or are the server's to send with it.
_NOT_IN_101 = frozenset(
    (
        *(b'accept-ranges', b'age', b'connection', b'etag', b'expires', b'keep-alive', b'last-modified', b'te'),
        *(b'trailer', b'transfer-encoding', b'upgrade'),
    )
)
_NO_PREFIXES = (b'content-', b'sec-websocket-')


class BadMessage(ValueError):
    """A message of another kind than was asked for; left to itself it closes the WebSocket with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class WebSocket:
    """A WebSocket, as an async page handler has it: accepted by the first use of it, or by `accept`.

    subprotocols: those that the client offers, in its order. subprotocol: the one chosen, or None.
    state: 'connecting' until the handshake is answered, then 'open', then 'closed'.
    close_code, close_reason: of what closed it, on either side; None and '' before. 1005: the peer gave no code;
        1006: it went without a word.
    codec: what `send_json` and `receive_json` use: encode(value) -> bytes, decode(bytes) -> value.

    One task receives at a time; any number send.
    """

    __slots__ = (
        '__weakref__',
        '_connection',
        '_exchange',
        '_gone',
        '_idle_timeout',
        '_max_size',
        '_origins',
        '_receiving',
        '_wanted',
        'close_code',
        'close_reason',
        'codec',
        'state',
        'subprotocol',
        'subprotocols',
    )

    def __init__(self, exchange: Exchange, connection: Any) -> None:
        self._exchange = ref(exchange)
        self._connection = connection
        settings: Mapping[str, Any] = getattr(exchange.plan, 'websocket', None) or SETTINGS
        self._origins = settings['origins']
        self._max_size = settings['max_size']
        self._wanted: tuple[str, ...] = settings['subprotocols']
        self._idle_timeout = settings['idle_timeout']
        self.subprotocols: tuple[str, ...] = tuple(connection.subprotocols)
        self.subprotocol: str | None = None
        self.codec: Any = None
        self.close_code: int | None = None
        self.close_reason = ''
        self.state = 'connecting'
        # The peer has closed it, or is gone: what is tried after that is no mistake.
        self._gone = False
        self._receiving = False

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.state}{"" if self.close_code is None else f" {self.close_code}"}>'

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent or received any more."""
        return self.state == 'closed'

    # -- the handshake

    async def accept(self, subprotocol: str | None = None, headers: Any = ()) -> None:
        """Answer the handshake; the before_finalize hooks run now, and `response.headers` and cookies are sent.

        subprotocol: one of those offered, '' for none; None takes the first of `websocket.subprotocols` that is.
        headers: further ones, pairs or a mapping.
        Raises RuntimeError if it was answered before, ValueError for a subprotocol that the client does not offer.
        """
        if subprotocol and subprotocol not in self.subprotocols:
            raise ValueError(f'The client does not offer the subprotocol {subprotocol!r}, but {self.subprotocols!r}.')
        async with self._connection.lock:
            if self.state == 'open':
                raise RuntimeError('This WebSocket is accepted already.')
            if self.state == 'closed':
                self._refuse()
            await self._accept(subprotocol, headers)

    async def _accept(self, subprotocol: str | None, headers: Any = ()) -> None:
        exchange = self._exchange()
        if exchange is None or current() is not exchange:
            raise RuntimeError('This WebSocket is not accepted yet: only its own page handler can do that.')
        if subprotocol is None:
            subprotocol = next((name for name in self._wanted if name in self.subprotocols), None)
        response = exchange.response
        response.status = 101
        response.stream = False
        response.body = None
        for name, value in headers.items() if hasattr(headers, 'items') else headers:
            response.headers[name] = value
        stage = exchange.stage
        try:
            await exchange.run_point('before_finalize')
            exchange.stage = stage
            response.body = None
            response.finalize()
            pairs = [
                (name, value)
                for name, value in exchange.byte_headers()
                if name not in _NOT_IN_101 and not name.startswith(_NO_PREFIXES)
            ]
        except BaseException:
            # What is raised instead has a status of its own; where none is set, it is the usual one.
            response.status = None
            raise
        try:
            await self._connection.accept(subprotocol or None, pairs)
        except WebSocketClosed as exc:
            self._lose(exc)
            raise
        self.subprotocol = subprotocol or None
        self.state = 'open'
        exchange.status, exchange.code, exchange.upgraded = response.status, 101, True

    async def _open(self) -> None:
        """Make sure that it is open: accept it if nobody has, raise if it is closed."""
        if self.state == 'connecting':
            async with self._connection.lock:
                if self.state == 'connecting':
                    await self._accept(None)
        if self.state == 'closed':
            self._refuse()

    def _refuse(self) -> None:
        if self._gone:
            raise WebSocketClosed(self.close_code or 1006, self.close_reason)
        raise RuntimeError(f'This WebSocket was closed by this side before, with {self.close_code}.')

    def _lose(self, exc: WebSocketClosed) -> None:
        """Take note that the peer has closed it or gone."""
        if self.state != 'closed':
            self.state = 'closed'
            self._gone = True
            self.close_code, self.close_reason = exc.code, exc.reason

    # -- messages

    async def receive(self) -> str | bytes:
        """Give the next message, str or bytes, as the peer sent it.

        Raises WebSocketClosed once the peer has closed it or gone, and where it is closed for what the peer does:
        1009 for a message over `websocket.max_size`, 1001 for silence of `websocket.idle_timeout`.
        """
        await self._open()
        if self._receiving:
            raise RuntimeError('Another task waits for a message of this WebSocket already.')
        self._receiving = True
        try:
            message: str | bytes | None = await self._connection.receive(self._idle_timeout)
        except WebSocketClosed as exc:
            self._lose(exc)
            raise
        finally:
            self._receiving = False
        if message is None:
            await self._cut(1001, 'Nothing came for too long.')
        elif self._is_too_large(message):
            await self._cut(1009, f'A message may have {self._max_size} bytes.')
        return message  # type: ignore[return-value]

    def _is_too_large(self, message: str | bytes) -> bool:
        most: int | None = self._max_size
        if most is None or len(message) * (4 if isinstance(message, str) else 1) <= most:
            return False
        return len(message.encode('utf-8', 'replace') if isinstance(message, str) else message) > most

    async def _cut(self, code: int, reason: str) -> None:
        """Close it for what the peer has done, and raise."""
        await self.close(code, reason)
        self._gone = True
        raise WebSocketClosed(code, reason)

    async def receive_text(self) -> str:
        """Give the next message, which must be text; BadMessage, a ValueError, if it is bytes."""
        message = await self.receive()
        if not isinstance(message, str):
            raise BadMessage(1003, 'Text is wanted here, not bytes.')
        return message

    async def receive_bytes(self) -> bytes:
        """Give the next message, which must be bytes; BadMessage, a ValueError, if it is text."""
        message = await self.receive()
        if isinstance(message, str):
            raise BadMessage(1003, 'Bytes are wanted here, not text.')
        return message

    async def receive_json(self) -> Any:
        """Give the value of the next message, text or bytes; BadMessage, a ValueError, if it is no JSON document."""
        message = await self.receive()
        try:
            return self._json().decode(message.encode('utf-8') if isinstance(message, str) else message)
        except (ValueError, RecursionError) as exc:
            raise BadMessage(1007, 'A JSON document is wanted here.') from exc

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a message: str as text, bytes as binary; waits while the peer takes less than is sent.

        Raises WebSocketClosed if the peer has closed it or gone, TypeError for anything else than str and bytes.
        """
        if not isinstance(message, (str, bytes)):
            if not isinstance(message, (bytearray, memoryview)):
                raise TypeError(f'A message is str or bytes, not {type(message).__name__}: use send_json() for values.')
            message = bytes(message)
        elif isinstance(message, str):
            # SPEC: RFC 6455 5.6: text is valid UTF-8. Told here, and not by the server once it has closed.
            message.isascii() or message.encode('utf-8')
        await self._open()
        try:
            await self._connection.send(message)
        except WebSocketClosed as exc:
            self._lose(exc)
            raise

    async def send_json(self, value: Any) -> None:
        """Send a value as a JSON document, a text message."""
        await self.send(self._json().encode(value).decode('utf-8'))

    def _json(self) -> Any:
        codec = self.codec
        if codec is None:
            codec = self.codec = _Json()
        return codec

    async def close(self, code: int = 1000, reason: str = '') -> None:
        """Close it; before it is accepted that denies the handshake, with 403. Closed already, it stays as it is.

        code: RFC 6455 7.4.1 has the meanings; 4000 to 4999 are an application's own. reason: 123 bytes of UTF-8.
        Raises ValueError for a code that is not sent, and a reason that is too long.
        """
        if type(code) is not int or not (code in _SENDABLE or 3000 <= code <= 4999):
            raise ValueError(f'{code!r} is no code to close a WebSocket with: see RFC 6455 7.4.')
        if len(reason.encode('utf-8')) > _MAX_REASON:
            raise ValueError(f'The reason for closing a WebSocket has {_MAX_REASON} bytes at most: {reason!r}.')
        if self.state == 'closed':
            return
        was_open = self.state == 'open'
        self.state = 'closed'
        self.close_code, self.close_reason = code, reason
        if was_open:
            await self._connection.close(code, reason)

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self

    async def __anext__(self) -> str | bytes:
        if self.state == 'closed':
            raise StopAsyncIteration
        try:
            return await self.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None

    # -- the page handler

    def check_origin(self) -> None:
        """Raise HTTPError(403) if the page that opens this WebSocket is none that may.

        A browser names the page's origin and lets no page name another; what sends no Origin is no browser, and
        carries no cookies of somebody else's. By default the host must be that of `request.base`. The scheme is not
        compared then: where a proxy ends TLS and the `proxy` tool is off, the application does not know it.

        SPEC: RFC 6455 10.2; RFC 6454 7.
        """
        exchange: Any = current()
        # PERF: a map of all headers would be kept as long as the socket: 1 kB.
        origin = exchange.head.get('origin')
        origins = self._origins
        if origin is None or origins == '*':
            return
        origin = normal_origin(origin)
        if origins is None:
            host = normal_origin(exchange.request.base).partition('://')[2]
            # Either scheme's own port may stand in neither, one, or both.
            allowed = origin.partition('://')[2] == host if '://' in origin else False
        else:
            allowed = origin in origins
        if not allowed:
            raise HTTPError(403, 'This WebSocket is not open to pages of that origin.')

    async def run(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], blocks: bool) -> Any:
        """Call a page handler with this WebSocket, and see to it that the peer is told how that ends.

        call, args: the function and what the pipeline calls it with: the object it is bound to, if it is, comes first.
        blocks: it is a plain function, and runs in a thread of its own, with a BlockingWebSocket.
        Gives or raises what makes the denial, if nothing was accepted; raises WebSocketClosed if something was.
        """
        exchange: Any = current()
        handler = exchange.handler
        if args and (args[0] is getattr(handler, '__self__', handler)):
            call, args = MethodType(call, args[0]), args[1:]
        self.check_origin()
        given: Any = BlockingWebSocket(self) if blocks else self
        step = partial(_call, call, (given, *args), kwargs)
        try:
            value = await self._connection.in_thread(step) if blocks else step()
            if hasattr(value, '__await__'):
                value = await value
        except BaseException as exc:
            if not exchange.upgraded:
                raise
            await self._end_badly(exchange, exc)
        else:
            if not exchange.upgraded:
                return self._denial(exchange, value)
            await self.close()
        # No result, nor anything that tools make of one: the pipeline takes it for a client that has gone.
        raise WebSocketClosed(self.close_code or 1006, self.close_reason)

    def _denial(self, exchange: Any, value: Any) -> Any:
        """Give what answers a handshake that nobody has accepted."""
        if self._gone:
            raise WebSocketClosed(self.close_code or 1006, self.close_reason)
        response = exchange.response
        if value is None and response.status is None and not response.body:
            raise HTTPError(403, 'This WebSocket was not accepted.')
        if response.status in (None, 200):
            response.status = 403
        return value

    async def _end_badly(self, exchange: Any, exc: BaseException) -> None:
        """Close an accepted WebSocket for what its page handler has raised; raise on what ends more than that."""
        if not isinstance(exc, Exception):
            from ..gateways.bridge import mend_cancellation

            mended = mend_cancellation(exc)
            if not isinstance(mended, Exception):
                was_open, self.state = self.state == 'open', 'closed'
                if was_open:
                    self.close_code = 1012
                    await self._connection.go_away(exc)
                raise exc
            exc = mended
        code, reason = 1011, ''
        if isinstance(exc, BadMessage):
            code, reason = exc.code, exc.reason
        elif not (self._gone and isinstance(exc, WebSocketClosed)):
            try:
                await exchange.run_point('before_error_response', exc)
            except Exception as again:
                # The answer is given: what a hook would have in place of it, an error page or a redirect, is not.
                call_within(again, partial(log_once, again))
            call_within(exc, partial(log_once, exc))
        await self.close(code, reason)


def _call(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a page handler; HTTPError where the path and the query do not fit its parameters."""
    try:
        return call(*args, **kwargs)
    except TypeError as exc:
        error = mismatch(call, args, kwargs, exc)
        if error is None:
            raise
        raise error from exc


class BlockingWebSocket:
    """The same for a plain page handler, which runs in a thread of its own: its methods wait.

    Names, results and errors are WebSocket's; `for message in ws` ends when the peer closes. It may be used by
    several threads, of which one receives at a time.
    """

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self._wait = ws._connection.wait

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.state}>'

    @property
    def subprotocols(self) -> tuple[str, ...]:
        return self._ws.subprotocols

    @property
    def subprotocol(self) -> str | None:
        return self._ws.subprotocol

    @property
    def state(self) -> str:
        return self._ws.state

    @property
    def closed(self) -> bool:
        return self._ws.closed

    @property
    def close_code(self) -> int | None:
        return self._ws.close_code

    @property
    def close_reason(self) -> str:
        return self._ws.close_reason

    def accept(self, subprotocol: str | None = None, headers: Any = ()) -> None:
        self._wait(self._ws.accept(subprotocol, headers))

    def receive(self) -> str | bytes:
        message: str | bytes = self._wait(self._ws.receive())
        return message

    def receive_text(self) -> str:
        message: str = self._wait(self._ws.receive_text())
        return message

    def receive_bytes(self) -> bytes:
        message: bytes = self._wait(self._ws.receive_bytes())
        return message

    def receive_json(self) -> Any:
        return self._wait(self._ws.receive_json())

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        self._wait(self._ws.send(message))

    def send_json(self, value: Any) -> None:
        self._wait(self._ws.send_json(value))

    def close(self, code: int = 1000, reason: str = '') -> None:
        self._wait(self._ws.close(code, reason))

    def __iter__(self) -> Iterator[str | bytes]:
        return self

    def __next__(self) -> str | bytes:
        if self._ws.closed:
            raise StopIteration
        try:
            return self.receive()
        except WebSocketClosed:
            raise StopIteration from None


class _Json:
    """JSON by the standard library, for whoever was given no other codec."""

    def __init__(self) -> None:
        import json

        self.encode = lambda value: json.dumps(value).encode()
        self.decode = json.loads


# -- config


def normal_origin(origin: str) -> str:
    """Give an origin in lower case, without the port that its scheme means anyway."""
    scheme, mark, host = origin.strip().lower().partition('://')
    if scheme in ('ws', 'wss'):
        scheme = 'http' + scheme[2:]
    return f'{scheme}{mark}{host.removesuffix(":443" if scheme == "https" else ":80")}'


def check_setting(name: str, value: Any) -> tuple[Any, str]:
    """Give (the value of a setting as it is used, '' or what is wrong with it)."""
    if name == 'max_size':
        good = value is None or (type(value) is int and value > 0)
        return value, '' if good else 'a number of bytes is wanted, or None for no limit'
    if name == 'idle_timeout':
        good = value is None or (isinstance(value, (int, float)) and value > 0)
        return value, '' if good else 'a number of seconds is wanted, or None for no limit'
    if value is None:
        return SETTINGS[name], ''
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable) or not all(isinstance(name, str) and name for name in names):
        return value, 'a list of names is wanted'
    if name == 'subprotocols':
        return tuple(names), ''
    if '*' in names:
        return '*', ''
    for origin in names:
        scheme, mark, host = origin.partition('://')
        if origin != 'null' and (not scheme or not mark or not host or '/' in host):
            return value, f"{origin!r} is no origin: one is written 'https://example.com', without a path"
    return frozenset(map(normal_origin, names)), ''
