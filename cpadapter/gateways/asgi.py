"""The ASGI border: scope -> head, receive -> body reader, exchange -> send; lifespan -> engine.

ASGI 3.0, HTTP messages spec 2.5, lifespan spec 2.0. A plan of plain functions crosses to the thread pool once, with
the whole run (bridge.py); an async one runs here. Of core it sees an Opener and the Exchange that gives.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Coroutine, Generator, Iterator
from concurrent.futures import CancelledError
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from ..context import exchange_var
from ..errors import ClientDisconnected, HTTPError
from ..protocol.files import sendable_run
from ..protocol.headers import Host
from ..protocol.iterators import LineReader, as_bytes, count_body
from ..protocol.messages import (
    CrossFirst,
    RequestHead,
    collapse,
    decode_path,
    host_fault,
    parse_version,
    segments_of,
    split_outer,
)
from .bridge import END_OF_CHUNKS, drive_in_pool, mend_cancellation, next_chunk, pool_for

if TYPE_CHECKING:
    from ..typing import Message, Receive, Scope, Send

__all__ = ['AsgiHead', 'AsgiReader', 'serve_asgi']

_VERSIONS = {'1.1': (1, 1), '1.0': (1, 0), '2': (2, 0), '3': (3, 0), '2.0': (2, 0), '1': (1, 1)}
_NAMES: dict[str, bytes] = {}
# Hosts that passed the check; bounded, since clients choose them.
GOOD_HOSTS: set[bytes] = set()


class AsgiHead(RequestHead):
    """The head of an ASGI HTTP connection."""

    _environ: dict[str, Any] | None = None
    _reader: AsgiReader | None = None
    _repeated: str | None = None
    # The body was read without a reader.
    _read = False
    on_loop = True
    defers = True
    loop: asyncio.AbstractEventLoop | None = None
    suspend: Any = None
    # The context around the request, where it may have a body; and what receives in it, where much may come.
    around: Context | None = None
    outward: _In | None = None

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.native = scope
        self.receive = receive
        self.method = scope['method']
        # PERF: what is as the class has it is not set.
        get = scope.get
        query = get('query_string')
        if query:
            self.query = decode_path(query.decode('latin-1'), 'utf-8')
        headers = scope['headers']
        fields = self._fields = dict(headers)
        if len(fields) != len(headers):
            self._join_repeated(headers)
        path = scope['path']
        raw = get('raw_path')
        if raw is not None and b'%' in raw:
            path = self._take_raw(path, raw)
        outer = get('root_path')
        if outer:
            outer, path = split_outer(outer, path)
            if self.segments is not None:
                names = [name for name in path.split('/') if name]
                self.segments = self.segments[len(self.segments) - len(names) :]
            self.outer = outer
        if path[:1] != '/' and (path or not outer):
            path = '/' + path
        if '//' in path:
            path = collapse(path)
        self.path = path
        host = fields.get(b'host')
        if host not in GOOD_HOSTS or self._repeated is not None or get('http_version') not in _VERSIONS:
            self._check(host)

    def _check(self, host: bytes | None) -> None:
        version = parse_version(self.native.get('http_version'))
        if version is None:
            self.fault = (400, 'The protocol version is malformed.')
            return
        if self._repeated is not None:
            self.fault = (400, self._repeated)
            return
        self.fault = host_fault(None if host is None else host.decode('latin-1'), version)
        if self.fault is None and host is not None:
            if len(GOOD_HOSTS) >= 1000:
                GOOD_HOSTS.clear()
            GOOD_HOSTS.add(host)

    def _join_repeated(self, headers: Any) -> None:
        """Join repeated fields: SPEC: RFC 9110 5.3, RFC 6265 5.4 for cookies."""
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            values.setdefault(name, []).append(value)
        for name, repeated in values.items():
            if len(repeated) > 1:
                if name == b'host' or (name == b'content-length' and len(set(repeated)) > 1):
                    self._repeated = f'The {name.decode("latin-1")!r} request header is repeated.'
                separator = b'; ' if name == b'cookie' else b', '
                self._fields[name] = repeated[0] if name == b'content-length' else separator.join(repeated)

    def _take_raw(self, path: str, raw: bytes) -> str:
        """Read the path from its raw form, where an encoded slash can be told from a real one."""
        target = raw.split(b'?', 1)[0].decode('latin-1')
        text = decode_path(unquote_to_bytes(target).decode('latin-1'), 'utf-8')
        if text != path and '\ufffd' not in path:
            return path  # something outside has rewritten the path: what it says counts
        if '%2' in target:
            self.segments = segments_of(target, 'utf-8')
            names = [name.replace('/', '%2F') for name in self.segments]
            return '/' + '/'.join(names) + ('/' if target[-1:] == '/' and names else '')
        return text

    def get(self, name: str) -> str | None:
        key = _NAMES.get(name)
        if key is None:
            key = name.encode('latin-1')
            if len(_NAMES) < 500:
                _NAMES[name] = key
        value = self._fields.get(key)
        return None if value is None else value.decode('latin-1')

    def abort(self) -> None:
        """Let no thread wait for the body any longer: the request is cancelled."""
        if self._reader is not None:
            self._reader.abort()

    def has_accept_charset(self) -> bool:
        return b'accept-charset' in self._fields

    def items(self) -> Iterator[tuple[str, str]]:
        for name, value in self.sent():
            if name != 'Remote-Addr' and name != 'Remote-Host':
                yield name, value
        # COMPAT: what the server knows of the client stands among its headers; its own word for it does not count.
        client = self.native.get('client')
        if client and client[0]:
            yield 'Remote-Addr', client[0]

    def sent(self) -> Iterator[tuple[str, str]]:
        """Give the headers that the client sent."""
        for name, value in self._fields.items():
            # A name with an underscore is never let stand beside one with a hyphen.
            if b'_' not in name:
                yield name.decode('latin-1').title(), value.decode('latin-1')

    def reader(self) -> AsgiReader:
        reader = self._reader
        if reader is None:
            length = self.get('content-length')
            good = length is not None and length.isascii() and length.isdigit() and len(length) < 20
            declared = int(length) if good else None  # type: ignore[arg-type]
            receive = self.receive
            if self.around is not None and (declared is None or declared > _ONE_MESSAGE):
                receive = self.outward = _In(self.around, receive)
            reader = self._reader = AsgiReader(receive, declared)
            if self.loop is not None:
                reader.loop = self.loop
                reader.suspend = self.suspend
            if self._read:
                reader.take_in({'type': 'http.request', 'body': b''})
        return reader

    def declared(self) -> tuple[str | None, int | None]:
        fields = self._fields
        media = fields.get(b'content-type')
        text = fields.get(b'content-length')
        if media is not None:
            media = media.decode('latin-1')
        if not text or len(text) > 7 or b'transfer-encoding' in fields or not text.isdigit():
            return media, None
        return media, int(text)

    def read_now(self, length: int) -> bytes:
        reader = self._reader
        return b'' if reader is None else reader.take_whole(length)

    async def read_first(self, length: int) -> bytes:
        # PERF: no reader is made for what comes in one message. In a thread there is one, which knows the loop.
        if self._reader is not None or self.loop is not None:
            return b''
        message = await self.receive()
        body: bytes = message.get('body', b'')
        if message.get('more_body') or len(body) != length or message['type'] == 'http.disconnect':
            self.reader().take_in(message)
            return b''
        self._read = True
        return body

    @property
    def scheme(self) -> str:
        return str(self.native.get('scheme') or 'http')

    @property
    def version(self) -> tuple[int, int]:
        protocol = self.native.get('http_version')
        return _VERSIONS.get(protocol) or parse_version(protocol) or (1, 1)

    @property
    def server_protocol(self) -> str:
        return 'HTTP/1.1'

    def native_protocol(self) -> str:
        version = self.native.get('http_version') or '1.1'
        return f'HTTP/{version}'

    @property
    def local(self) -> Host:
        server = self.native.get('server') or ('', -1)
        return Host('', server[1] if server[1] is not None else -1, server[0])

    @property
    def remote(self) -> Host:
        client = self.native.get('client') or ('', -1)
        return Host(client[0], client[1] if client[1] is not None else -1, '')

    @property
    def login(self) -> str | None:
        return None

    @property
    def multithread(self) -> bool:
        return True

    @property
    def multiprocess(self) -> bool:
        return False

    @property
    def path_bytes(self) -> bytes:
        raw = self.native.get('raw_path')
        if raw is not None:
            return unquote_to_bytes(raw.split(b'?', 1)[0])
        path: str = self.native['path']
        return path.encode('utf-8')

    @property
    def environ(self) -> dict[str, Any]:
        """PEP 3333's view of the scope; `wsgi.input` reads the same body."""
        environ = self._environ
        if environ is None:
            environ = self._environ = make_environ(self)
        return environ

    def redirected(self, path: str, query: str) -> AsgiHead:
        scope = dict(self.native)
        if self.method != 'HEAD':
            scope['method'] = 'GET'
        scope['query_string'] = query.encode('utf-8', 'replace')
        scope['headers'] = [
            (name, value)
            for name, value in self.native['headers']
            if name not in (b'content-length', b'transfer-encoding')
        ] + [(b'content-length', b'0')]

        async def receive() -> Message:
            return {'type': 'http.request', 'body': b'', 'more_body': False}

        scope.pop('raw_path', None)
        scope['path'] = path
        scope['root_path'] = ''
        head = AsgiHead(scope, receive)
        head.on_loop = self.on_loop
        head.outer = self.outer
        head.path = path
        return head


# Bytes of a body for which no server stops reading from the connection.
_ONE_MESSAGE = 16384


class _In:
    """Receives, or sends, in the context around the request.

    A server that stopped reading, because much had come, goes on when asked for more or when it has answered; what it
    then registers with the loop holds a copy of the context it is called in, and is there as long as the connection:
    with the request, and with what page handlers set in context variables, in sight of the next request.
    """

    __slots__ = ('call', 'context')

    def __init__(self, context: Context, call: Receive | Send) -> None:
        self.context = context
        self.call: Any = call

    async def __call__(self, *args: Any) -> Any:
        return await _run_in(self.context, self._do(*args))

    async def _do(self, *args: Any) -> Any:
        # What servers give to be awaited need not have `send` and `throw`: a coroutine does.
        return await self.call(*args)


@types.coroutine
def _run_in(context: Context, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await a coroutine in a context, which is in use by nobody else meanwhile."""
    step: Any = coroutine.send
    given: Any = None
    while True:
        try:
            wanted = context.run(step, given)
        except StopIteration as end:
            return end.value
        try:
            step, given = coroutine.send, (yield wanted)
        except BaseException as exc:
            step, given = coroutine.throw, exc


def make_environ(head: AsgiHead) -> dict[str, Any]:
    """Build the WSGI environ that stands for an ASGI scope."""
    scope = head.native
    server = scope.get('server') or ('localhost', 80)
    client = scope.get('client')
    environ: dict[str, Any] = {
        'REQUEST_METHOD': head.method,
        'SCRIPT_NAME': head.outer.encode('utf-8').decode('latin-1'),
        'PATH_INFO': _environ_path(scope),
        'QUERY_STRING': scope.get('query_string', b'').decode('latin-1'),
        'SERVER_NAME': server[0],
        'SERVER_PORT': str(server[1] if server[1] is not None else ''),
        'SERVER_PROTOCOL': head.native_protocol(),
        'wsgi.version': (1, 0),
        'wsgi.url_scheme': head.scheme,
        'wsgi.input': head.reader(),
        'wsgi.errors': sys.stderr,
        'wsgi.multithread': True,
        'wsgi.multiprocess': False,
        'wsgi.run_once': False,
        'wsgi.input_terminated': True,
        'asgi.scope': scope,
    }
    if client:
        environ['REMOTE_ADDR'] = client[0]
        if client[1] is not None:
            environ['REMOTE_PORT'] = str(client[1])
    for name, value in head.sent():
        key = name.upper().replace('-', '_')
        if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
            key = 'HTTP_' + key
        environ[key] = value
    return environ


def _environ_path(scope: Scope) -> str:
    """Give PATH_INFO as WSGI servers do: each escape undone, each slash kept, bytes as latin-1 text."""
    path: str = scope['path']
    text = path.encode('utf-8', 'replace').decode('latin-1')
    raw = scope.get('raw_path')
    if raw is not None:
        sent = unquote_to_bytes(raw.split(b'?', 1)[0]).decode('latin-1')
        # Where something outside has rewritten the path, what it says counts.
        if decode_path(sent, 'utf-8') == path or '\ufffd' in path:
            text = sent
    outer = scope.get('root_path')
    return text if not outer else split_outer(outer.encode('utf-8').decode('latin-1'), text)[1]


class AsgiReader(LineReader):
    """Reads http.request messages: as they are asked for, never more than `limit`, never a cut body as a whole one.

    `aread` is for code on the loop, or driven from it; `read` waits in a pool thread for the loop to read.
    """

    suspends = True
    # Set where the pipeline is driven by hand: what it awaits is the driver's to await. What others await, on the
    # loop, is not, unless the pipeline is driven there too.
    suspend: Any = None
    driven_on_loop = False

    def __init__(self, receive: Receive, length: int | None) -> None:
        self.receive = receive
        self.length = length
        self.limit: int | None = None
        self.bytes_read = 0
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None  # made in a thread: the head knows
        # What came of the body, and how much of that was read.
        self._buffer = b''
        self._start = 0
        self._more = True
        self.disconnected = False
        # What reads on the loop for a thread that waits.
        self._reading: asyncio.Task[Any] | None = None
        # While somebody watches for the client's leaving: who may call `receive`, and whether a reader wants more.
        self._turn: asyncio.Lock | None = None
        self._wanted: asyncio.Event | None = None

    async def prefetch(self) -> None:
        """Take what is there of the body, so that a short one is whole before a thread is asked for."""
        if self._more and not self._buffer:
            try:
                await self._receive()
            except ClientDisconnected:
                pass  # told to whoever reads on

    async def _receive(self) -> bytes:
        """Give the next piece of the body, b'' at its end."""
        if self._turn is None or self._wanted is None:
            while self._more:
                self.take_in(await self.receive())
                if self._buffer:
                    break
        else:
            self._wanted.set()
            while self._more and not self._buffer:
                async with self._turn:
                    if self._more and not self._buffer:
                        self.take_in(await self.receive())
        if self.disconnected and not self._buffer:
            raise ClientDisconnected()
        return self._buffer

    def take_in(self, message: Message) -> None:
        """Keep what a message holds of the body."""
        if message['type'] == 'http.disconnect':
            # After a whole body it says nothing about that.
            if self._more:
                self._more = False
                self.disconnected = True
        elif self._more:
            body = message.get('body', b'')
            self._buffer = self._buffer[self._start :] + body if self._buffer else body
            self._start = 0
            self._more = message.get('more_body', False)

    async def left(self) -> None:
        """Wait until the client leaves. What comes of the body meanwhile is kept, one message of it, for reading."""
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        while True:
            if self._buffer and self._more:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            async with self._turn:
                if self._buffer and self._more:
                    continue
                message = await self.receive()
                self.take_in(message)
            if message['type'] == 'http.disconnect':
                return
            await asyncio.sleep(0)  # a server that always has a message must not have the loop to itself

    def abort(self) -> None:
        """Let whoever waits for the body wait no longer: what reads it gets ClientDisconnected from now on."""
        if self._more:
            self._more = False
            self.disconnected = True
        if self._reading is not None:
            self._reading.cancel()

    def _count(self, chunk: bytes) -> bytes:
        self.bytes_read += len(chunk)
        if self.limit is not None and self.bytes_read > self.limit:
            raise HTTPError(413)
        return chunk

    def _take(self, size: int) -> bytes:
        buffer = self._buffer
        start = self._start
        # PERF: the rest of a message stays where it is: servers give up to 256 kB at once.
        if size < 0 or len(buffer) - start <= size:
            self._buffer = b''
            self._start = 0
            return self._count(buffer[start:] if start else buffer)
        self._start = start + size
        return self._count(buffer[start : start + size])

    def take_whole(self, length: int) -> bytes:
        """Take the body where all of its `length` bytes are here, else b''."""
        if self._more or (self.limit is not None and length > self.limit) or len(self._buffer) != length or self._start:
            return b''
        return self._take(length)

    async def aread(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            chunks = []
            while chunk := await self.aread(65536):
                chunks.append(chunk)
            return b''.join(chunks)
        if not self._buffer:
            if not self._more:
                if self.disconnected:
                    raise ClientDisconnected()
                return b''
            await self._await(self._receive())
            if not self._buffer:
                return b''
        return self._take(size)

    async def agather(self, size: int) -> bytes:
        """Read as aread does, but wait for as many bytes as were read before; for `size` if those are fewer.

        So nobody makes the process hold more than what was sent already, and it is few pieces for much.
        """
        if not self._buffer and self._more:
            await self._await(self._gather(min(size, max(self.bytes_read, 65536))))
        return await self.aread(size)

    async def _await(self, pending: Any) -> None:
        driven = self.suspend is not None and (self.driven_on_loop or not _has_running_loop())
        await (self.suspend(pending) if driven else pending)

    async def _gather(self, size: int) -> None:
        # PERF: whoever takes all of the body in crosses to a thread, or from one, for each piece: an upload by uvicorn
        # is twice as fast in pieces of 1 MB as in those of 64 kB.
        parts = []
        left = size if self.limit is None else min(size, max(1, self.limit - self.bytes_read + 1))
        try:
            while left > 0 and (part := await self._receive()):
                parts.append(part)
                left -= len(part)
                self._buffer = b''
        except ClientDisconnected:
            pass  # told when what came before has been read
        finally:
            # Also where this is cancelled: nothing of the body may be lost.
            if parts:
                self._buffer = b''.join((*parts, self._buffer))

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, waiting until they are there; fewer only at the end of the body."""
        if size is None or size < 0:
            size = sys.maxsize
        parts = []
        while size > 0:
            if not self._buffer:
                if not self._more:
                    if self.disconnected:
                        raise ClientDisconnected()
                    break
                self._wait(self._gather(size))
                continue
            parts.append(self._take(size))
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def readline(self, size: int = -1) -> bytes:
        """Read up to and with a line feed, `size` bytes at the most; b'' at the end."""
        parts = []
        while size:
            part = self.read(1)
            # The rest of the line, as far as it is there.
            end = (self._buffer.find(b'\n', self._start) + 1 or len(self._buffer)) - self._start
            if part and part != b'\n' and end and size != 1:
                part += self._take(end if size < 0 else min(end, size - 1))
            parts.append(part)
            size -= len(part) if size > 0 else 0
            if not part or part[-1:] == b'\n':
                break
        return b''.join(parts)

    def _wait(self, pending: Any) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self.loop is None or running is self.loop:
            pending.close()
            raise RuntimeError('The body is read by `await request.body.aread()` in an async page handler.')
        try:
            asyncio.run_coroutine_threadsafe(self._read_for_thread(pending), self.loop).result()
        except CancelledError:
            raise ClientDisconnected() from None

    async def _read_for_thread(self, pending: Any) -> None:
        self._reading = asyncio.current_task()
        try:
            await pending
        finally:
            self._reading = None


async def serve_asgi(opener: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI connection to an Application or Tree."""
    kind = scope['type']
    if kind != 'http':
        if kind == 'lifespan':
            await _serve_lifespan(opener, scope, receive, send)
        elif kind == 'websocket':
            await receive()
            await send({'type': 'websocket.close', 'code': 1000, 'reason': ''})
        else:
            raise RuntimeError(f'There is no ASGI connection type {kind!r} here: known are http, websocket, lifespan.')
        return
    outside = exchange_var.get()
    head = AsgiHead(scope, receive)
    if head.method != 'GET':
        head.around = copy_context()
    try:
        exchange = opener.open(head)
    except CrossFirst:
        exchange_var.set(outside)
        exchange = await _open_in_pool(opener, head, opener.open, head)
    if exchange.plan is None:
        exchange_var.set(outside)
        await exchange.hand_over_asgi(scope, receive, send)
        return
    try:
        if exchange.plan.is_async:
            exchange.on_loop = True
            await exchange.run()
        else:
            await _run_in_pool(exchange)
        while exchange.redirect is not None:
            await _finish(exchange)
            try:
                if not exchange.head.on_loop:
                    raise CrossFirst
                exchange = exchange.follow()
            except CrossFirst:
                exchange = await _open_in_pool(opener, exchange.head, exchange.follow)
            if exchange.plan.is_async:
                exchange.on_loop = True
                await exchange.run()
            else:
                await _run_in_pool(exchange)
        body = exchange.body
        if head.outward is not None:
            send = _In(head.outward.context, send)
        if type(body) is not bytes:
            await _stream(exchange, send, outside)
        elif not exchange.disconnected:
            # What the server makes from here on, such as a timer for the idle connection, holds a copy of this
            # context for as long as it likes: not the request with it.
            exchange_var.set(outside)
            try:
                await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
                await send({'type': 'http.response.body', 'body': body})
            except OSError:
                # SPEC: ASGI HTTP 2.4: raised where the client has gone.
                exchange.disconnected = True
            exchange.close_fast()
    finally:
        if not exchange.closed:
            exchange_var.set(exchange)
            await _finish(exchange)
        exchange_var.set(outside)


async def _open_in_pool(opener: Any, head: AsgiHead, call: Any, *args: Any) -> Any:
    """Open an exchange in a thread, where code of the application's may wait."""
    head.on_loop = False
    exchange = await opener.site.handler_pool().submit(copy_context(), call, *args)
    exchange_var.set(exchange)
    return exchange


async def _run_in_pool(exchange: Any) -> None:
    """Run a plan of plain functions in a thread, with all that follows it there; or here if it never blocks."""
    head = exchange.head
    if exchange.plan.non_blocking or (exchange.handler is None and exchange.plan.light):
        reader = None
        if head.method in exchange.plan.methods_with_bodies:
            reader = exchange.reader()
            reader.suspend = exchange.suspend
            reader.driven_on_loop = True
        coroutine = exchange.run()
        try:
            wanted = coroutine.send(None)
        except StopIteration:
            pass
        else:
            await _drive_here(exchange, coroutine, wanted)
        if reader is not None:
            reader.driven_on_loop = False
        return
    # Whoever reads the body in the thread waits for this loop to read it.
    head.loop = asyncio.get_running_loop()
    head.suspend = exchange.suspend
    # A client that asks first whether to send its body is told by whoever reads it.
    if head.method not in _BODILESS and head.get('expect') is None:
        await exchange.reader().prefetch()
    context = exchange.context = copy_context()
    await drive_in_pool(exchange.site.handler_pool(), exchange.run(), context, head.abort)


_BODILESS = frozenset(('GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'))


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _drive_here(exchange: Any, coroutine: Any, wanted: Any) -> None:
    reader = exchange.head.reader()
    while True:
        try:
            # What is awaited here may read the body too.
            reader.driven_on_loop = False
            try:
                value = await wanted.awaitable
            finally:
                reader.driven_on_loop = True
        except BaseException as exc:
            try:
                wanted = coroutine.throw(mend_cancellation(exc))
            except StopIteration:
                return
        else:
            try:
                wanted = coroutine.send(value)
            except StopIteration:
                return


async def _finish(exchange: Any) -> None:
    """Close an exchange; a cancellation waits until that is done."""
    if exchange.closed or exchange.close_fast():
        return
    finishing = asyncio.ensure_future(_close(exchange))
    cancelled: asyncio.CancelledError | None = None
    while not finishing.done():
        try:
            await asyncio.wait((finishing,))
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            cancelled = None
    finishing.result()


async def _close(exchange: Any) -> None:
    """Close an exchange in its own colour; finishing never waits behind page handlers."""
    if exchange.on_loop:
        await exchange.finish()
    else:
        await drive_in_pool(pool_for(4, 'finish'), exchange.finish(), exchange.context or copy_context())


class _Gone(Exception):
    """The client has left: `send` raised OSError, as the ASGI HTTP specification says since 2.4."""


# Chunks that are sent before the loop gets a chance whatever the body and the server do: neither has to suspend.
_RUN_OF_CHUNKS = 16


def _file_message(exchange: Any) -> Message | None:
    """Give the message that lets the server send a body that is a file; None where it has none that will do.

    ASGI extensions http.response.zerocopysend, for any part of a file, and http.response.pathsend, for a whole one.
    """
    offered = exchange.head.native.get('extensions')
    if not offered:
        return None
    zero_copy = 'http.response.zerocopysend' in offered
    if not zero_copy and 'http.response.pathsend' not in offered:
        return None
    run = sendable_run(exchange.body, exchange.text_headers())
    if run is None:
        return None
    if zero_copy:
        return {
            'type': 'http.response.zerocopysend',
            'file': run.file,
            'offset': run.start,
            'count': run.length,
            'more_body': False,
        }
    # The server opens the file some time after it took the message, and what runs at the end might take it away.
    if run.path is None or exchange.plan.closes or exchange.hooks is not None or exchange.app.publishes:
        return None
    return {'type': 'http.response.pathsend', 'path': run.path} if run.is_whole() else None


async def _stream(exchange: Any, send: Send, outside: Any) -> None:
    """Send a streamed body chunk by chunk, as fast as the client takes it; stop at once when it has gone.

    outside: the exchange around this one, which is the context's again when the last message is sent.
    """
    body = exchange.body
    message = _file_message(exchange)
    if message is not None:
        try:
            await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
            exchange_var.set(outside)
            await send(message)
        except OSError:
            exchange.disconnected = True
        return
    context = exchange.context or copy_context()
    chunks: Any = None
    # What is there already needs nobody to watch for the client's leaving.
    watched = not isinstance(body, (list, tuple))

    async def fetch() -> Any:
        nonlocal chunks
        if hasattr(body, '__aiter__'):
            if chunks is None:
                chunks = body.__aiter__()
            try:
                return await chunks.__anext__()
            except StopAsyncIteration:
                return END_OF_CHUNKS
            except asyncio.CancelledError as exc:
                raise mend_cancellation(exc) from None
        if chunks is None:
            chunks = iter(body)
        if watched:
            pool = exchange.site.handler_pool()
            return await pool.run(context, next_chunk, chunks, abort=exchange.head.abort)
        return next_chunk(chunks)

    counted = count_body(exchange.text_headers())

    async def fetch_bytes() -> Any:
        chunk = await fetch()
        if chunk is not END_OF_CHUNKS:
            if type(chunk) is not bytes:
                chunk = as_bytes(chunk)
            if counted is not None:
                counted.take(chunk)
        elif counted is not None:
            counted.end()
        return chunk

    async def put(data: bytes, more: bool = False) -> None:
        try:
            await send({'type': 'http.response.body', 'body': data, 'more_body': more})
        except OSError:
            raise _Gone from None

    async def put_head() -> None:
        try:
            await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
        except OSError:
            raise _Gone from None

    task: Any = asyncio.current_task()

    async def watch() -> None:
        try:
            await exchange.head.reader().left()
        except Exception:
            return  # a server that cannot tell; what is sent to a client that has gone raises, or goes nowhere
        exchange.disconnected = True
        task.cancel()

    watcher: Any = None
    try:
        # Looking for what the client sends would tell one that waits for leave to send its body to go on.
        if watched and exchange.head.get('expect') is None:
            watcher = asyncio.ensure_future(watch())
        try:
            chunk = await fetch_bytes()
        except Exception as exc:
            if exchange.on_loop:
                await exchange.fail(exc)
            else:
                await drive_in_pool(pool_for(4, 'finish'), exchange.fail(exc), context)
            if exchange.disconnected:
                return
            await put_head()
            failed = exchange.body
            exchange_var.set(outside)
            await put(failed if type(failed) is bytes else b''.join(failed))
            return
        await put_head()
        if watched and watcher is None:
            watcher = asyncio.ensure_future(watch())
        sent = 0
        while chunk is not END_OF_CHUNKS:
            await put(chunk, True)
            sent += 1
            if not sent % _RUN_OF_CHUNKS:
                await asyncio.sleep(0)
            if exchange.disconnected:
                # What makes the body has ignored the cancellation.
                raise asyncio.CancelledError
            try:
                chunk = await fetch_bytes()
            except ClientDisconnected:
                raise _Gone from None
            except Exception as exc:
                exchange.log_error(exc)
                raise
        if watcher is not None:
            watcher.cancel()
        exchange_var.set(outside)
        await put(b'')
    except _Gone:
        exchange.disconnected = True
    except asyncio.CancelledError:
        # By the watcher, and by nobody else?
        if not exchange.disconnected or (hasattr(task, 'uncancel') and task.uncancel()):
            raise
    finally:
        if watcher is not None:
            watcher.cancel()


async def _serve_lifespan(opener: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer lifespan messages: startup starts the engine, shutdown stops it; listeners run in a thread."""
    engine = opener.site.engine
    loop = asyncio.get_running_loop()
    while True:
        message = await receive()
        if message['type'] == 'lifespan.startup':
            try:
                await loop.run_in_executor(None, copy_context().run, engine.ensure_started)
            except BaseException as exc:
                await send({'type': 'lifespan.startup.failed', 'message': f'{type(exc).__name__}: {exc}'})
                if not isinstance(exc, Exception):
                    raise
                return
            await send({'type': 'lifespan.startup.complete'})
        elif message['type'] == 'lifespan.shutdown':
            try:
                await loop.run_in_executor(None, copy_context().run, engine.ensure_exited)
            except Exception as exc:
                await send({'type': 'lifespan.shutdown.failed', 'message': f'{type(exc).__name__}: {exc}'})
                return
            await send({'type': 'lifespan.shutdown.complete'})
            return
