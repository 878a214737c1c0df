"""The WSGI border: environ -> head and body reader; exchange -> start_response and an iterable.

PEP 3333. Each request runs in a Context of its own; an async page handler runs on the process's event loop while
the server's thread waits (bridge.py). Of core it sees an Opener and the Exchange that gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import ClientDisconnected, HTTPError
from ..protocol.files import CHUNK, WrappedFile, sendable_run
from ..protocol.headers import Host
from ..protocol.iterators import LineReader, as_bytes, count_body
from ..protocol.messages import RequestHead, collapse, decode_path, host_fault, parse_version, segments_of
from .lasting import lasting_chunks

if TYPE_CHECKING:
    from ..typing import Environ, StartResponse

__all__ = ['WsgiHead', 'WsgiReader', 'run_wsgi', 'serve_wsgi']

_VERSIONS: dict[str | None, tuple[int, int]] = {'HTTP/1.1': (1, 1), 'HTTP/1.0': (1, 0), 'HTTP/2': (2, 0)}
# Hosts that passed the check; bounded, since clients choose them.
_GOOD_HOSTS: set[str] = set()
_ENVIRON_KEYS: dict[str, str] = {'content-type': 'CONTENT_TYPE', 'content-length': 'CONTENT_LENGTH'}


class WsgiHead(RequestHead):
    """The head of a WSGI request."""

    _reader: WsgiReader | None = None
    # The thread that waits for async code, if one does: it reads for that.
    waiting: Any = None
    # Bytes of the body that were read before a reader was asked for.
    _taken = 0

    def __init__(self, environ: Environ) -> None:
        self.native = environ
        get = environ.get
        self.method = environ['REQUEST_METHOD']
        # PERF: what is as the class has it is not set.
        query = get('QUERY_STRING')
        if query:
            self.query = query if query.isascii() else decode_path(query, 'utf-8')
        path = get('PATH_INFO', '')
        outer = get('SCRIPT_NAME')
        if outer:
            outer = outer.rstrip('/')
            if not outer.isascii():
                outer = decode_path(outer, 'utf-8')
            self.outer = outer
        if path[:1] != '/' and (path or not outer):
            # SPEC: PEP 3333: PATH_INFO begins with a slash. Where it does not, the server has cut SCRIPT_NAME off in
            # the midst of a segment: /api off /apix/y, which does not lie in it.
            inside = environ.get('SCRIPT_NAME', '')
            path = inside + path if inside[:1] == '/' and inside[-1:] != '/' else '/' + path
        if '//' in path:
            path = collapse(path)
        if not path.isascii():
            path = decode_path(path, 'utf-8')
        self.path = path
        raw = get('RAW_URI') or get('REQUEST_URI')
        if raw is not None and '%2' in raw:
            self._take_raw(raw)
        if get('HTTP_HOST') not in _GOOD_HOSTS or get('SERVER_PROTOCOL') not in _VERSIONS:
            self._check()

    def _check(self) -> None:
        environ = self.native
        version = parse_version(environ.get('SERVER_PROTOCOL'))
        if version is None:
            self.fault = (400, 'The protocol version is malformed.')
            return
        host = environ.get('HTTP_HOST')
        self.fault = host_fault(host, version)
        if self.fault is None and host:
            if len(_GOOD_HOSTS) >= 1000:
                _GOOD_HOSTS.clear()
            _GOOD_HOSTS.add(host)

    def _take_raw(self, raw: str) -> None:
        """Take the path from the request target, where an encoded slash can be told from a real one."""
        raw = raw.split('?', 1)[0]
        if raw[:1] != '/' and '://' in raw:
            raw = '/' + raw.split('://', 1)[1].partition('/')[2]
        segments = segments_of(raw, 'utf-8')
        whole = '/' + '/'.join(segments) + ('/' if raw[-1:] == '/' and segments else '')
        if whole != collapse(self.outer + self.path):
            return  # something outside has rewritten the path: what it says counts
        outer = [name for name in self.outer.split('/') if name]
        if segments[: len(outer)] != outer:
            return
        self.segments = segments[len(outer) :]
        text = [name.replace('/', '%2F') for name in self.segments]
        self.path = '/' + '/'.join(text) + ('/' if raw[-1:] == '/' and text else '')

    def get(self, name: str) -> str | None:
        key = _ENVIRON_KEYS.get(name)
        if key is None:
            key = 'HTTP_' + name.upper().replace('-', '_')
            if len(_ENVIRON_KEYS) < 500:
                _ENVIRON_KEYS[name] = key
        value: str | None = self.native.get(key)
        # PEP 3333: CONTENT_TYPE and CONTENT_LENGTH may be empty or absent, which is the same.
        return value if value or key[0] == 'H' else None

    def has_accept_charset(self) -> bool:
        return 'HTTP_ACCEPT_CHARSET' in self.native

    def items(self) -> Iterator[tuple[str, str]]:
        for key, value in self.native.items():
            if key[:5] == 'HTTP_':
                if key == 'HTTP_CGI_AUTHORIZATION':
                    yield 'Authorization', value
                elif key not in _SERVERS_OWN:
                    yield key[5:].replace('_', '-'), value
            elif key in _PLAIN_HEADERS and value:
                yield _PLAIN_HEADERS[key], value

    def titled(self) -> Iterator[tuple[str, str]]:
        known = _TITLES.get
        for key, value in self.native.items():
            name = known(key)
            if name is None:
                name = _title_of(key)
            if name and (value or key[0] == 'H'):
                yield name, value

    def reader(self) -> WsgiReader:
        reader = self._reader
        if reader is None:
            stream = self.native.get('wsgi.input')
            terminated = bool(self.native.get('wsgi.input_terminated'))
            chunked = self.get('transfer-encoding') is not None
            # SPEC: RFC 9112 6.3: where both are sent, the length says nothing.
            length = None if chunked else self.get('content-length')
            good = length is not None and length.isascii() and length.isdigit() and len(length) < 20
            reader = self._reader = WsgiReader(
                stream,
                int(length) if good else None,  # type: ignore[arg-type]
                chunked or terminated,
            )
            reader.undecoded = chunked and not terminated and _is_connection(stream)
            reader.waiting = self.waiting
            reader.skip(self._taken)
        return reader

    def lend(self, waiting: Any) -> None:
        """Let the body be read by a thread that waits for the event loop; None: by whoever asks for it."""
        self.waiting = waiting
        if self._reader is not None:
            self._reader.waiting = waiting

    def declared(self) -> tuple[str | None, int | None]:
        environ = self.native
        text = environ.get('CONTENT_LENGTH')
        media = environ.get('CONTENT_TYPE')
        if not text or len(text) > 7 or 'HTTP_TRANSFER_ENCODING' in environ or not (text.isascii() and text.isdigit()):
            return media, None
        return media, int(text)

    def read_now(self, length: int) -> bytes:
        # PERF: no reader is made for what comes in one piece.
        if self._reader is not None or self.waiting is not None or not length:
            return b''
        try:
            data: bytes = self.native['wsgi.input'].read(length)
        except Exception as exc:
            _raise_read_error(exc)
        self._taken = len(data)
        return data

    def is_disconnected(self) -> bool:
        # PEP 3333 has no word for it; these servers have one of their own.
        asked = self.native.get(_WAITRESS)
        if asked is not None:
            return bool(asked())
        connection = self.native.get('gunicorn.socket')
        return connection is not None and _is_at_end(connection)

    async def left(self) -> None:
        import asyncio

        while not self.is_disconnected():
            await asyncio.sleep(_LOOK_AGAIN)

    @property
    def scheme(self) -> str:
        return str(self.native.get('wsgi.url_scheme') or 'http')

    @property
    def version(self) -> tuple[int, int]:
        protocol = self.native.get('SERVER_PROTOCOL')
        return _VERSIONS.get(protocol) or parse_version(protocol) or (1, 1)

    @property
    def server_protocol(self) -> str:
        return str(self.native.get('ACTUAL_SERVER_PROTOCOL') or 'HTTP/1.1')

    def native_protocol(self) -> str:
        return self.native.get('SERVER_PROTOCOL') or 'HTTP/1.1'

    @property
    def local(self) -> Host:
        environ = self.native
        return Host('', _port(environ.get('SERVER_PORT', 80)), environ.get('SERVER_NAME', ''))

    @property
    def remote(self) -> Host:
        environ = self.native
        return Host(
            environ.get('REMOTE_ADDR') or '', _port(environ.get('REMOTE_PORT') or -1), environ.get('REMOTE_HOST') or ''
        )

    @property
    def login(self) -> str | None:
        return self.native.get('LOGON_USER') or self.native.get('REMOTE_USER') or None

    @property
    def multithread(self) -> bool:
        return bool(self.native.get('wsgi.multithread', True))

    @property
    def multiprocess(self) -> bool:
        return bool(self.native.get('wsgi.multiprocess', False))

    @property
    def environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = self.native
        return environ

    @property
    def path_bytes(self) -> bytes:
        """The path as bytes, percent-decoded."""
        path: str = self.native.get('PATH_INFO', '')
        return path.encode('latin-1', 'replace')

    @property
    def previous(self) -> Any:
        """The request that middleware redirected from, if it says so."""
        return self.native.get('cherrypy.previous_request')

    def redirected(self, path: str, query: str) -> WsgiHead:
        from io import BytesIO

        environ = dict(self.native)
        if self.method != 'HEAD':
            environ['REQUEST_METHOD'] = 'GET'
        environ['QUERY_STRING'] = query.encode('utf-8', 'replace').decode('latin-1')
        environ['PATH_INFO'] = path.encode('utf-8').decode('latin-1')
        environ['CONTENT_LENGTH'] = '0'
        environ['wsgi.input'] = BytesIO()
        for key in ('RAW_URI', 'REQUEST_URI', 'HTTP_TRANSFER_ENCODING'):
            environ.pop(key, None)
        head = WsgiHead(environ)
        head.outer = self.outer
        head.path = path
        return head


# What waitress says it by, where it looks.
_WAITRESS = 'waitress.client_disconnected'

# Seconds between two looks for a client's leaving.
_LOOK_AGAIN = 0.25


def _is_at_end(connection: Any) -> bool:
    """Say whether the other end of a socket has closed it, without taking anything from it."""
    import socket

    if not isinstance(connection, socket.socket) or hasattr(connection, 'cipher'):
        return False  # of TLS, what the socket holds says nothing
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


# Environ keys -> header names, '' for what is no header; bounded, since clients choose names.
_TITLES: dict[str, str] = {}


def _title_of(key: str) -> str:
    if key == 'HTTP_CGI_AUTHORIZATION':
        name = 'Authorization'
    elif key[:5] == 'HTTP_':
        name = '' if key in _SERVERS_OWN else key[5:].replace('_', '-').title()
    else:
        name = _PLAIN_HEADERS.get(key, '')
    if len(_TITLES) < 1000:
        _TITLES[key] = name
    return name


# Headers of the client's that bear the name of what the server tells: its word alone counts.
_SERVERS_OWN = frozenset(('HTTP_CONTENT_TYPE', 'HTTP_CONTENT_LENGTH', 'HTTP_REMOTE_ADDR', 'HTTP_REMOTE_HOST'))

_PLAIN_HEADERS = {
    'CONTENT_TYPE': 'Content-Type',
    'CONTENT_LENGTH': 'Content-Length',
    'REMOTE_ADDR': 'Remote-Addr',
    'REMOTE_HOST': 'Remote-Host',
}


def _is_connection(stream: Any) -> bool:
    """Say whether a stream is the bare connection, as wsgiref gives it: chunks come with their sizes, and no end."""
    return type(getattr(stream, 'raw', None)).__name__ == 'SocketIO'


def _port(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


class WsgiReader(LineReader):
    """Reads wsgi.input: never beyond Content-Length, never more than `limit`, never a cut body as a whole one.

    length: bytes declared, None if the body comes in chunks.
    limit: bytes that may be read before HTTPError(413), None for no limit.
    """

    suspends = False
    # The body comes in chunks, which this server does not decode.
    undecoded = False
    # As WsgiHead has it; and what it reads, or has read, for somebody who did not wait for it.
    waiting: Any = None
    _pending: Any = None

    def __init__(self, stream: Any, length: int | None, terminated: bool) -> None:
        self.stream = stream
        self.length = length
        self.limit: int | None = None
        self.bytes_read = 0
        # Without a length, only a server that ends the stream itself can be read to the end.
        self._left = length if length is not None else (-1 if terminated else 0)

    def read(self, size: int = -1) -> bytes:
        if self._left == 0 or size == 0:
            return b''
        if self.undecoded:
            raise HTTPError(411, 'This server takes no request bodies in chunks: send Content-Length.')
        if size is None or size < 0:
            return b''.join(iter(lambda: self.read(65536), b''))
        if self._left > 0:
            size = min(size, self._left)
        try:
            chunk: bytes = self.stream.read(size)
        except Exception as exc:
            _raise_read_error(exc)
        if not chunk:
            if self._left > 0:
                self._left = 0
                raise ClientDisconnected()
            self._left = 0
            return b''
        if self._left > 0:
            self._left -= len(chunk)
        self.bytes_read += len(chunk)
        if self.limit is not None and self.bytes_read > self.limit:
            self._left = 0
            raise HTTPError(413)
        return chunk

    def skip(self, size: int) -> None:
        """Count bytes that were read from the stream already."""
        self.bytes_read += size
        if self._left > 0:
            self._left -= size

    async def agather(self, size: int) -> bytes:
        """Read as aread does, but wait for `size` bytes, or the end: one crossing where the stream gives less."""
        return await self.aread(size, self._gather)

    def _gather(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := self.read(size)):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b''.join(parts)

    async def aread(self, size: int = -1, read: Callable[[int], bytes] | None = None) -> bytes:
        waiting = self.waiting
        if waiting is None or size == 0 or not waiting.is_here():
            return self.read(size)
        if size is None or size < 0:
            chunks = []
            while chunk := await self.aread(65536):
                chunks.append(chunk)
            return b''.join(chunks)
        from asyncio import CancelledError, shield

        # On the event loop of all async page handlers: a slow client must not stop the others.
        pending = self._pending
        if pending is None:
            if self._left == 0:
                return b''
            pending = self._pending = waiting.start(read or self.read, size)
        try:
            data: bytes = await shield(pending)
        except CancelledError:
            raise  # whoever reads on gets what comes
        except BaseException:
            self._pending = None
            raise
        self._pending = None
        if len(data) > size:
            rest = pending.get_loop().create_future()
            rest.set_result(data[size:])
            self._pending = rest
        return data[:size]


def _raise_read_error(exc: Exception) -> NoReturn:
    """Raise what a server's error of reading means; servers have their own for gone clients, time-outs, limits."""
    if isinstance(exc, ClientDisconnected):
        raise exc
    if type(exc).__name__ in ('MaxSizeExceeded', 'RequestEntityTooLarge'):
        raise HTTPError(413) from exc
    if isinstance(exc, (OSError, EOFError)) or 'Disconnect' in type(exc).__name__:
        raise ClientDisconnected() from exc
    if type(exc).__module__.partition('.')[0] in ('gunicorn', 'cheroot', 'waitress', 'h11'):
        raise HTTPError(400, 'The request body is malformed.') from exc
    raise exc


def serve_wsgi(opener: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Serve one request to an Application or Tree."""
    context = copy_context()
    return context.run(run_wsgi, opener, environ, start_response, context)


def run_wsgi(opener: Any, environ: Environ, start_response: StartResponse, context: Context) -> Iterable[bytes]:
    """Serve one request in `context`, which is the current one and the request's own."""
    exchange = opener.open(WsgiHead(environ))
    plan = exchange.plan
    if plan is None:
        # Nothing of ours is mounted there: a WSGI application, or nobody.
        result: Iterable[bytes] = exchange.hand_over(start_response)
        return result
    try:
        if plan.is_async:
            _drive(exchange, exchange.run())
        else:
            # PERF: _drive in place: a plan of plain functions ends at the first send.
            coroutine = exchange.run()
            try:
                wanted = coroutine.send(None)
            except StopIteration:
                pass
            else:
                _drive_on(coroutine, wanted)
        while exchange.redirect is not None:
            _drive(exchange, exchange.finish())
            exchange = exchange.follow()
            _drive(exchange, exchange.run())
        body = exchange.body
        if type(body) is not bytes:
            wrapped = _wrap_file(exchange, start_response, context)
            if wrapped is not None:
                return wrapped
            return _start_stream(exchange, start_response, context)
        start_response(exchange.status, exchange.text_headers())
    except BaseException:
        _drive(exchange, exchange.finish())
        raise
    if exchange.close_fast():
        return [body]
    return _ClosingBody(exchange, iter((body,) if body else ()), context)


def _drive(exchange: Any, coroutine: Any) -> Any:
    """Run a coroutine of an exchange to its end: here if it never suspends, else on the process's event loop."""
    if exchange.plan.is_async:
        from .bridge import run_on_loop

        return run_on_loop(exchange, coroutine)
    try:
        wanted = coroutine.send(None)
    except StopIteration as done:
        return done.value
    return _drive_on(coroutine, wanted)


def _drive_on(coroutine: Any, wanted: Any) -> Any:
    """Go on with a coroutine of plain steps one of which gave something awaitable after all."""
    from .bridge import await_on_loop

    while True:
        try:
            result = await_on_loop(wanted.awaitable)
        except BaseException as exc:
            try:
                wanted = coroutine.throw(exc)
            except StopIteration as done:
                return done.value
        else:
            try:
                wanted = coroutine.send(result)
            except StopIteration as done:
                return done.value


def _start_stream(exchange: Any, start_response: StartResponse, context: Context) -> Iterable[bytes]:
    """Start a streamed body: the first chunk is asked for before the head is sent, so that its error is a page."""
    from .bridge import sync_chunks

    first: Any = b''
    try:
        # An async body that lasts says something where nothing comes.
        chunks = lasting_chunks(exchange) if hasattr(exchange.body, 'within') else sync_chunks(exchange)
        counted = count_body(exchange.text_headers())
        if counted is not None:
            chunks = counted.check(chunks)
        first = next(chunks, b'')
        if type(first) is not bytes:
            first = as_bytes(first)
    except Exception as exc:
        _drive(exchange, exchange.fail(exc))
        body = exchange.body
        chunks = iter((body,) if type(body) is bytes else body)
        first = b''
    start_response(exchange.status, exchange.text_headers())
    return _ClosingBody(exchange, chunks, context, first)


# Modules of wrappers that send no more than Content-Length says, from where the file stands: they take ranges too.
# gunicorn sends and closes inside the request; waitress does both later, in the thread that serves all connections.
_COUNTING = frozenset(('gunicorn.http.wsgi', 'waitress.buffers'))
_LATE = frozenset(('waitress.buffers',))


def _wrap_file(exchange: Any, start_response: StartResponse, context: Context) -> Iterable[bytes] | None:
    """Start a body that is a file by the server's own means of sending one; None where it has none that will do.

    PEP 3333, "Optional Platform-Specific File Handling": what is returned is the wrapper itself.
    """
    wrapper = exchange.head.native.get('wsgi.file_wrapper')
    if wrapper is None:
        return None
    run = sendable_run(exchange.body, exchange.text_headers())
    if run is None:
        return None
    module = getattr(wrapper, '__module__', None)
    # Others may send up to the end of the file, whatever was announced.
    if module not in _COUNTING and not run.is_whole():
        return None
    if module in _LATE and (exchange.plan.closes or exchange.hooks is not None or exchange.app.publishes):
        # Hooks may wait, and so would every connection.
        return None

    def ended() -> None:
        context.run(_drive, exchange, exchange.finish())

    def failed(exc: BaseException) -> None:
        context.run(exchange.log_error, exc)

    file = WrappedFile(run, ended, failed)
    start_response(exchange.status, exchange.text_headers())
    body: Iterable[bytes] = wrapper(file, CHUNK)
    return body


class _ClosingBody:
    """The iterable a server gets where something is left to do: each step runs in the request's context."""

    __slots__ = ('_chunks', '_context', '_exchange', '_first')

    def __init__(self, exchange: Any, chunks: Iterator[bytes], context: Context, first: bytes = b'') -> None:
        self._exchange = exchange
        self._chunks = chunks
        self._context = context
        self._first = first

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first = self._first
        if first:
            self._first = b''
            return first
        try:
            chunk: bytes = self._context.run(next, self._chunks)
            if type(chunk) is not bytes:
                chunk = as_bytes(chunk)
        except StopIteration:
            raise
        except Exception as exc:
            exchange = self._exchange
            self._context.run(exchange.log_error, exc)
            if exchange.disconnected and isinstance(exc, ClientDisconnected) and _WAITRESS in exchange.head.native:
                # It would log what it is told with a traceback; the connection is closed already.
                raise StopIteration from None
            raise
        return chunk

    def close(self) -> None:
        exchange = self._exchange
        self._context.run(_drive, exchange, exchange.finish())
