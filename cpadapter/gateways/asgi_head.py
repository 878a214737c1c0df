"""The head of an ASGI connection: scope -> RequestHead, checked; and the WSGI environ that stands for it.

ASGI HTTP messages spec 2.5. The body is the reader's (asgi_reader.py), the answer the gateway's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextvars import Context
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from ..context import on_a_loop
from ..protocol.headers import Host
from ..protocol.messages import (
    RequestHead,
    collapse,
    decode_path,
    host_fault,
    parse_version,
    segments_of,
    split_outer,
)
from .asgi_reader import ONE_MESSAGE, Around, AsgiReader

if TYPE_CHECKING:
    from ..typing import Message, Receive, Scope

__all__ = ['AsgiHead', 'make_environ']

_VERSIONS = {'1.1': (1, 1), '1.0': (1, 0), '2': (2, 0), '3': (3, 0), '2.0': (2, 0), '1': (1, 1)}
_NAMES: dict[str, bytes] = {}
# Turns of the loop in which a server that knows of a client's leaving tells it.
_LOOKS = 5
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
    outward: Around | None = None
    # What watches for the client's leaving, if anybody has asked; and the head that was redirected to this one.
    watching: asyncio.Task[None] | None = None
    origin: AsgiHead | None = None

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

    def is_disconnected(self) -> bool:
        if self.origin is not None:
            return self.origin.is_disconnected()
        reader = self.reader()
        if reader.gone:
            return True
        loop = reader.loop
        if on_a_loop():
            self.watch()
        elif loop is not None:
            try:
                asyncio.run_coroutine_threadsafe(self._look(), loop).result()
            except RuntimeError:
                return True  # the loop has been closed
        return reader.gone

    async def _look(self) -> None:
        """Give what the server has to tell the time to be told."""
        self.watch()
        for _ in range(_LOOKS):
            if self.reader().gone:
                break
            await asyncio.sleep(0)

    async def left(self) -> None:
        if self.origin is not None:
            await self.origin.left()
        elif (watching := self.watch()) is None:
            await asyncio.get_running_loop().create_future()  # nobody will ever tell
        else:
            await asyncio.shield(watching)
            if not self.reader().gone:
                await asyncio.get_running_loop().create_future()

    def watch(self) -> asyncio.Task[None] | None:
        """Watch, from now until `unwatch`, for the client's leaving; give the task that ends when it has left.

        None where a client waits for leave to send its body: looking for what it sends would tell it to go on.
        """
        if self.origin is not None:
            return self.origin.watch()
        watching = self.watching
        if watching is None and (self.get('expect') is None or self._read):
            # In no request's context: what the server then registers with the loop keeps the one it is called in.
            context = Context()
            watching = self.watching = context.run(asyncio.ensure_future, self._watch(self.reader()))
        return watching

    @staticmethod
    async def _watch(reader: AsgiReader) -> None:
        try:
            await reader.left()
        except Exception:
            pass  # a server that cannot tell; what is sent to a client that has gone raises, or goes nowhere

    def unwatch(self) -> None:
        if self.watching is not None:
            self.watching.cancel()

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
            if self.around is not None and (declared is None or declared > ONE_MESSAGE):
                receive = self.outward = Around(self.around, receive)
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

        taken = False

        async def receive() -> Message:
            nonlocal taken
            if not taken:
                taken = True
                return {'type': 'http.request', 'body': b'', 'more_body': False}
            await self.reader().left()
            return {'type': 'http.disconnect'}

        scope.pop('raw_path', None)
        scope['path'] = path
        scope['root_path'] = ''
        head = AsgiHead(scope, receive)
        head.origin = self
        head.on_loop = self.on_loop
        head.outer = self.outer
        head.path = path
        return head


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
