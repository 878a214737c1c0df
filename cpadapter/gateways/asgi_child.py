"""An ASGI application grafted under either gateway: its scope, and, under WSGI, its run on the process's loop thread.

ASGI HTTP messages spec 2.5. Under ASGI it is handed the server's own receive and send; under WSGI a server's thread
pulls its messages one by one, and reads the request's body where the application asks for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from ..errors import ClientDisconnected
from ..protocol.iterators import CountedBody, as_bytes, count_body
from ..protocol.messages import decode_path
from ..protocol.status import response_codes
from .bridge import LoopThread

if TYPE_CHECKING:
    from ..typing import Environ, Message, Scope, StartResponse

__all__ = ['child_scope', 'serve_asgi_child']

# What stays as it is in a path; as uvicorn and others give it.
_SAFE = "/!$&'()*+,;=:@-._~"
_HOP_BY_HOP = frozenset(
    (
        *('connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization'),
        *('te', 'trailer', 'transfer-encoding', 'upgrade'),
    )
)
# What a parent of the Starlette family leaves of its own routing, which a child of that family would take for its own.
_ROUTING = frozenset(('app', 'app_root_path', 'endpoint', 'path_params', 'route', 'router'))
# Bytes of the request's body that are read at once.
_PIECE = 65536
# Seconds that an application has to end once its client has left: at each step, and after it was cancelled.
_GRACE = 0.6
_CANCEL_TIMEOUT = 5


class _Gone(OSError):
    """The client has left. SPEC: ASGI HTTP 2.4: `send` raises an OSError then."""

    def __init__(self) -> None:
        super().__init__('The client has left.')


def child_scope(scope: Scope, script_name: str, path_info: str, state: dict[str, Any]) -> dict[str, Any]:
    """Give a copy of a connection's scope for what is mounted at `script_name`, which `path_info` follows.

    What a framework around us has added, such as a user or a session, stays, but for its routing.
    SPEC: ASGI HTTP 2.5: root_path is the mount, path holds it too; raw_path is as the client sent it.
    """
    scope = {key: value for key, value in scope.items() if key not in _ROUTING}
    path = scope['path']
    if path != script_name and not path.startswith(script_name + '/'):
        # A server that leaves its root_path out of the path, or a path with slashes that the tree has collapsed.
        scope['path'] = script_name + path_info
        if scope.get('raw_path') is not None:
            scope['raw_path'] = quote(scope['path'].encode('utf-8', 'surrogateescape'), _SAFE).encode()
    scope['root_path'] = script_name
    outer = scope.get('state')
    if outer or state:
        scope['state'] = {**(outer or {}), **state}
    return scope


def _scope_of(environ: Environ) -> dict[str, Any]:
    """Build the ASGI scope that stands for a WSGI environ."""
    get = environ.get
    sent = get('SCRIPT_NAME', '').rstrip('/') + get('PATH_INFO', '')
    data = sent.encode('latin-1', 'replace') or b'/'
    raw = get('RAW_URI') or get('REQUEST_URI') or ''
    if raw[:1] != '/' and '://' in raw:
        raw = '/' + raw.split('://', 1)[1].partition('/')[2]
    raw_path = raw.split('?', 1)[0].encode('latin-1', 'replace')
    if unquote_to_bytes(raw_path) != data:
        raw_path = quote(data, _SAFE).encode()  # something outside has rewritten the path
    headers = []
    for key, value in environ.items():
        if key[:5] == 'HTTP_':
            if key not in ('HTTP_CONTENT_TYPE', 'HTTP_CONTENT_LENGTH'):
                headers.append((key[5:].replace('_', '-').lower().encode('latin-1'), value.encode('latin-1')))
        elif key in ('CONTENT_TYPE', 'CONTENT_LENGTH') and value:
            headers.append((key.replace('_', '-').lower().encode(), value.encode('latin-1')))
    address = get('REMOTE_ADDR')
    return {
        'type': 'http',
        'asgi': {'version': '3.0', 'spec_version': '2.5'},
        'http_version': get('SERVER_PROTOCOL', 'HTTP/1.1').partition('/')[2] or '1.1',
        'method': environ['REQUEST_METHOD'].upper(),
        'scheme': get('wsgi.url_scheme', 'http'),
        'path': decode_path(data.decode('latin-1'), 'utf-8'),
        'raw_path': raw_path,
        'query_string': get('QUERY_STRING', '').encode('latin-1', 'replace'),
        'root_path': '',
        'headers': headers,
        'client': (address, _port(get('REMOTE_PORT'))) if address else None,
        'server': (get('SERVER_NAME', ''), _port(get('SERVER_PORT'))),
        'extensions': {},
    }


def _port(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def serve_asgi_child(
    app: Any,
    head: Any,
    script_name: str,
    path_info: str,
    state: dict[str, Any],
    start_response: StartResponse,
    report: Callable[[BaseException], None],
    tails: set[Any],
) -> Any:
    """Answer a WSGI request by an ASGI application: give the iterable of its body, once its head and a chunk are there.

    report: told what it raises when nobody waits for it any more. What it raises before its first chunk is raised
    here, what it raises later by the iterable.
    tails: holds its task while that goes on after its last message.
    """
    scope = child_scope(_scope_of(head.environ), script_name, path_info, state)
    answer = _Answer(app, scope, head, report, tails)
    try:
        first, ended = answer.pull()
        status, headers = answer.head()
        start_response(status, headers)
    except BaseException:
        answer.close()
        raise
    if scope['method'] == 'HEAD' or status[:3] in ('204', '304'):
        answer.close()
        return []
    counted = count_body(headers)
    if counted is None and ended:
        return [first] if first else []
    return _Body(answer, first, ended, counted)


class _Body:
    """What the WSGI server iterates and closes."""

    __slots__ = ('_answer', '_counted', '_ended', '_first')

    def __init__(self, answer: _Answer, first: bytes, ended: bool, counted: CountedBody | None) -> None:
        self._answer = answer
        self._first = first
        self._ended = ended
        self._counted = counted

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk, self._first = self._first, b''
        if not chunk and not self._ended:
            chunk, self._ended = self._answer.pull()
        counted = self._counted
        if not chunk:
            if counted is not None:
                counted.end()
            raise StopIteration
        if counted is not None:
            counted.take(chunk)
        return chunk

    def close(self) -> None:
        self._answer.close()


class _Answer:
    """One request of an ASGI application on the loop thread; `pull` and `close` are called by the server's thread.

    Everything else runs on the loop. At any moment one chunk, at the most, waits for the server's thread; the
    application waits in `send` until it has been taken.
    """

    def __init__(
        self, app: Any, scope: dict[str, Any], head: Any, report: Callable[[BaseException], None], tails: set[Any]
    ) -> None:
        self._app = app
        self._scope = scope
        self._request = head
        self._report = report
        self._tails = tails
        self._loop_thread = LoopThread.get()
        self._context = copy_context()
        self._reader = head.reader()
        self._task: asyncio.Task[None] | None = None
        self._started: Message | None = None
        self._chunk = b''
        # Whether the last message has come; whether the client has gone.
        self._ended = False
        self._gone = False
        # Whether what is sent then is refused; how many wait for the client to leave, and for it to take a chunk.
        self._over = False
        self._listening = 0
        self._sending = 0
        # Whether the server's thread is there to read and to take a chunk.
        self._here = False
        self._whole = False
        self._waiters: list[asyncio.Future[None]] = []

    # -- in the server's thread

    def pull(self) -> tuple[bytes, bool]:
        """Wait for the next chunk; give (it, whether it was the last). The application's error is raised."""
        result: tuple[bytes, bool] = self._loop_thread.call(self._take(), self._context, self._request)
        return result

    def head(self) -> tuple[str, list[tuple[str, str]]]:
        """Give the arguments of start_response."""
        message: Any = self._started
        code = message['status']
        reason = response_codes[code][0] if code in response_codes else 'Unknown'
        headers = [
            (bytes(name).decode('latin-1'), bytes(value).decode('latin-1'))
            for name, value in message.get('headers', ())
        ]
        return f'{code} {reason}', [field for field in headers if field[0].lower() not in _HOP_BY_HOP]

    def close(self) -> None:
        """End the application unless it has given its whole response: tell it that the client has gone, cancel it."""
        if not self._ended and not self._gone:
            self._loop_thread.call(self._leave(), self._context)

    # -- on the loop

    async def _take(self) -> tuple[bytes, bool]:
        if self._gone:
            raise _Gone()
        if self._task is None:
            loop = asyncio.get_running_loop()
            if sys.version_info >= (3, 11):
                self._task = loop.create_task(self._run(), context=self._context)
            else:
                self._task = loop.create_task(self._run())
            self._task.add_done_callback(self._done)
            _tasks.add(self._task)
        self._here = True
        self._stir()
        try:
            await self._until(lambda: self._chunk or self._ended or self._task.done())  # type: ignore[union-attr]
        finally:
            self._here = False
        chunk, self._chunk = self._chunk, b''
        self._stir()
        if not chunk and not self._ended:
            self._gone = self._over = True
            raise self._failure()
        return chunk, self._ended

    def _failure(self) -> BaseException:
        task = self._task
        if task is None or task.cancelled():
            return RuntimeError(f'{self._app!r} was cancelled before it had given its whole response.')
        exc = task.exception()
        if exc is not None:
            return exc
        what = 'a response' if self._started is None else 'its whole response'
        return RuntimeError(f'{self._app!r} returned without giving {what}.')

    async def _leave(self) -> None:
        self._gone = True
        listens, sends = self._listening > 0, self._sending > 0
        self._stir()
        task = self._task
        if task is None or task.done():
            return
        # Whoever listens for it in `receive` puts things in order; where somebody sends, that raises; what waits for
        # anything else, or goes on, is cancelled.
        if listens:
            await asyncio.wait((task,), timeout=_GRACE)
        self._over = True
        self._stir()
        if sends and not task.done():
            await asyncio.wait((task,), timeout=_GRACE)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCEL_TIMEOUT)
        # A generator that the application has left behind is closed by the loop when nobody refers to it any more: the
        # traceback of what ended the task does.
        self._task = task = None
        await asyncio.sleep(0)

    def _done(self, task: asyncio.Task[None]) -> None:
        _tasks.discard(task)
        self._tails.discard(task)
        self._stir()
        # Of a response that is whole, or whose client has gone, nobody asks how it went on.
        exc = None if task.cancelled() else task.exception()
        if exc is not None and (self._ended or self._gone) and not _tells_of_leaving(exc):
            self._report(exc)

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _until(self, true: Callable[[], Any]) -> None:
        while not true():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _stir(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _receive(self) -> Message:
        self._listening += 1
        try:
            return await self._next_message()
        finally:
            self._listening -= 1

    async def _next_message(self) -> Message:
        while not self._whole:
            await self._until(lambda: self._here or self._gone or self._ended)
            if self._gone or self._ended:
                break
            if self._whole:
                continue  # read by another task meanwhile
            reader = self._reader
            try:
                data = await reader.aread(_PIECE)
            except ClientDisconnected:
                return {'type': 'http.disconnect'}
            if not data or (reader.length is not None and reader.bytes_read >= reader.length):
                self._whole = True
            return {'type': 'http.request', 'body': data, 'more_body': not self._whole}
        await self._until(lambda: self._gone or self._ended)
        return {'type': 'http.disconnect'}

    async def _send(self, message: Message) -> None:
        if self._gone:
            await self._refuse()
        kind = message['type']
        if self._ended:
            raise RuntimeError(f'{kind!r} was sent after the end of the response.')
        if kind == 'http.response.start':
            if self._started is not None:
                raise RuntimeError('A second http.response.start was sent.')
            self._started = message
        elif kind == 'http.response.body':
            if self._started is None:
                raise RuntimeError('http.response.body was sent before http.response.start.')
            await self._put(as_bytes(message.get('body', b'')), message.get('more_body', False))
        else:
            raise RuntimeError(f'{kind!r} is no message that can be sent here.')

    async def _put(self, chunk: bytes, more: bool) -> None:
        # Two tasks may send at once.
        await self._until(lambda: not self._chunk or self._gone)
        if self._gone:
            await self._refuse()
        self._chunk = bytes(chunk)
        self._ended = not more
        if not more:
            self._tails.add(self._task)
        self._stir()
        if more:
            self._sending += 1
            try:
                await self._until(lambda: not self._chunk or self._gone)
            finally:
                self._sending -= 1
            if self._gone:
                await self._refuse()

    async def _refuse(self) -> None:
        await self._until(lambda: self._over)
        raise _Gone()


def _tells_of_leaving(exc: BaseException | None) -> bool:
    """Say whether an error is, or has come of, what `send` raises where the client has gone."""
    while exc is not None:
        if isinstance(exc, (_Gone, ClientDisconnected)):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


# A loop holds its tasks weakly.
_tasks: set[asyncio.Task[None]] = set()
