"""The `client` fixture: a site of its own and a client that calls it in process, as WSGI or as ASGI server.

The WSGI side stands behind wsgiref.validate, the ASGI side behind a checker of messages; both fail the test that
makes the application break a rule. `handler` exposes page handlers, plain or async, as the test's id says.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json as json_module
import logging
import signal
import sys
import warnings
from urllib.parse import unquote_to_bytes, urlencode
from wsgiref import validate

import pytest
from browser import browsers

import cpadapter

TIMEOUT = 20


class Headers(list):
    """The headers of a response as (name, value) pairs, text; looked up without regard to case."""

    def get(self, name, default=None):
        values = self.get_all(name)
        return values[0] if values else default

    def get_all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def __contains__(self, name):
        return any(key.lower() == name.lower() for key, _ in self)

    def __getitem__(self, name):
        if isinstance(name, (int, slice)):
            return super().__getitem__(name)
        values = self.get_all(name)
        assert len(values) == 1, f'{name} is there {len(values)} times in {list(self)}'
        return values[0]


class Answer:
    """What came back.

    status, reason, headers: of the head; reason is None under ASGI, which has none.
    chunks: the parts of the body as sent, empty ones left out.
    error: the exception that ended the body early, None otherwise. It reached the server.
    left: whether the client went before the body had ended.
    """

    def __init__(self):
        self.status = None
        self.reason = None
        self.headers = Headers()
        self.chunks = []
        self.error = None
        self.left = False

    @property
    def body(self):
        return b''.join(self.chunks)

    @property
    def text(self):
        return self.body.decode('utf-8')

    @property
    def json(self):
        return json_module.loads(self.body)

    def __repr__(self):
        return f'<Answer {self.status} {self.headers} {self.body[:300]!r}>'


class Call:
    """A request as a client writes it: percent-encoded target, headers as pairs, the whole body."""

    def __init__(
        self, method, target, headers=None, body=None, form=None, json=None, host='testserver', version='1.1', **more
    ):
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition('?')
        self.version = version
        pairs = list(headers.items()) if hasattr(headers, 'items') else list(headers or ())
        given = {name.lower() for name, _ in pairs}
        if form is not None:
            body = urlencode(form, doseq=True).encode()
            if 'content-type' not in given:
                pairs.append(('Content-Type', 'application/x-www-form-urlencoded'))
        elif json is not None:
            body = json_module.dumps(json).encode()
            if 'content-type' not in given:
                pairs.append(('Content-Type', 'application/json'))
        if host is not None and 'host' not in given:
            pairs.insert(0, ('Host', host))
        self.chunked = more.pop('chunked', False)
        if self.chunked:
            pairs.append(('Transfer-Encoding', 'chunked'))
        elif body is not None and 'content-length' not in given:
            pairs.append(('Content-Length', str(len(body))))
        self.headers = pairs
        self.body = body or b''
        self.prefix = more.pop('prefix', '')
        self.scheme = more.pop('scheme', 'http')
        self.raw = more.pop('raw', None)
        self.environ = more.pop('environ', {})
        self.scope = more.pop('scope', {})
        # False where the validator would refuse what the client sends.
        self.validated = more.pop('validated', True)
        # Chunks after which the client goes away; None reads to the end.
        self.stop_after = more.pop('stop_after', None)
        # Bytes of the body that arrive before the client goes away; None sends it whole.
        self.cut_at = more.pop('cut_at', None)
        # The pieces in which the body arrives; None leaves that to the client.
        self.pieces = more.pop('pieces', None)
        assert not more, f'unknown: {more}'


class Client:
    """Calls `app` in process. `mount` puts object trees into the site's own tree, which is `app` by default."""

    protocol = None

    def __init__(self):
        self.site = cpadapter.Site('test')
        self.site.config.update({'checker.on': False})
        self.app = self.site.tree
        self.sites = [self.site]
        self.records = []
        self.handler = logging.Handler()
        self.handler.emit = self.records.append
        self.error_log = self.site.log.error_log
        self.error_log.addHandler(self.handler)

    @property
    def errors(self):
        """The error log's lines of this site since the test began, without the engine's."""
        lines = map(logging.Formatter().format, self.records)
        return [line for line in lines if 'ENGINE' not in line]

    def mount(self, root, script_name='', config=None):
        return self.site.tree.mount(root, script_name, config)

    def request(self, method, target, **more):
        return self.send(Call(method, target, **more))

    def get(self, target, **more):
        return self.request('GET', target, **more)

    def head(self, target, **more):
        return self.request('HEAD', target, **more)

    def post(self, target, **more):
        return self.request('POST', target, **more)

    def put(self, target, **more):
        return self.request('PUT', target, **more)

    def close(self):
        self.error_log.removeHandler(self.handler)
        for site in self.sites:
            site.engine.ensure_exited()


class _Pieces(io.RawIOBase):
    """A body that arrives in pieces, as a server's stream gives it: each read has what has come, `size` at most."""

    def __init__(self, pieces):
        self.pieces = list(reversed(pieces))

    def read(self, size=-1):
        if not self.pieces:
            return b''
        piece = self.pieces.pop()
        if 0 <= size < len(piece):
            self.pieces.append(piece[size:])
            piece = piece[:size]
        return piece


class _Cut(io.RawIOBase):
    """A client's body that ends early, as a server sees it."""

    def __init__(self, body):
        self.body = body

    def read(self, size=-1):
        chunk, self.body = (self.body[:size], self.body[size:]) if size >= 0 else (self.body, b'')
        return chunk


class WsgiClient(Client):
    protocol = 'wsgi'

    def environ(self, call):
        environ = {
            'REQUEST_METHOD': call.method,
            'SCRIPT_NAME': unquote_to_bytes(call.prefix).decode('latin-1'),
            'PATH_INFO': unquote_to_bytes(call.path).decode('latin-1'),
            'QUERY_STRING': call.query,
            'SERVER_NAME': '127.0.0.1',
            'SERVER_PORT': '8080',
            'SERVER_PROTOCOL': f'HTTP/{call.version}',
            'REMOTE_ADDR': '127.0.0.9',
            'REMOTE_PORT': '4321',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': call.scheme,
            'wsgi.input': io.BytesIO(call.body) if call.cut_at is None else _Cut(call.body[: call.cut_at]),
            'wsgi.errors': sys.stderr,
            'wsgi.multithread': True,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
        }
        if call.pieces is not None:
            environ['wsgi.input'] = _Pieces(call.pieces)
        if call.chunked:
            environ['wsgi.input_terminated'] = True
        if call.raw:
            environ['RAW_URI'] = call.prefix + call.target
        for name, value in call.headers:
            key = name.upper().replace('-', '_')
            if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
                key = 'HTTP_' + key
            if key in environ:
                value = f'{environ[key]}{"; " if key == "HTTP_COOKIE" else ","}{value}'
            environ[key] = value
        environ.update(call.environ)
        return {key: value for key, value in environ.items() if value is not None}

    def send(self, call):
        answer = Answer()
        app = validate.validator(self.app) if call.validated else self.app
        started = []

        def start_response(status, headers, exc_info=None):
            if exc_info is not None and answer.chunks:
                raise exc_info[1].with_traceback(exc_info[2])
            started.append(status)
            answer.status = int(status[:3])
            answer.reason = status[4:]
            answer.headers = Headers(headers)
            return lambda data: answer.chunks.append(data) if data else None

        with warnings.catch_warnings():
            # The validator knows eight methods; HTTP has more.
            warnings.filterwarnings('ignore', 'Unknown REQUEST_METHOD', validate.WSGIWarning)
            result = app(self.environ(call), start_response)
        try:
            chunks = iter(result)
            while True:
                if call.stop_after is not None and len(answer.chunks) >= call.stop_after:
                    answer.left = True
                    break
                try:
                    chunk = next(chunks)
                except StopIteration:
                    break
                if chunk:
                    answer.chunks.append(chunk)
        except Exception as exc:
            answer.error = exc
        finally:
            if hasattr(result, 'close'):
                result.close()
        assert len(started) == 1
        if answer.error is None and not answer.left:
            check_answer(call, answer)
        return answer


class AsgiChecker:
    """Passes messages between an application and a server that never was; AssertionError on a broken rule.

    SPEC: ASGI HTTP messages 2.5.
    """

    def __init__(self, call, answer):
        self.call = call
        self.answer = answer
        self.state = 'head'
        self.fault = None
        self.bodies = self._messages(call)
        self.gone = asyncio.Event()

    def _messages(self, call):
        if call.cut_at is not None:
            yield {'type': 'http.request', 'body': call.body[: call.cut_at], 'more_body': True}
            self.gone.set()
            return
        if call.pieces is not None:
            for piece in call.pieces:
                yield {'type': 'http.request', 'body': piece, 'more_body': True}
            yield {'type': 'http.request', 'body': b'', 'more_body': False}
            return
        # In two messages and an empty last one, so that no reader gets away with looking at the first alone.
        middle = len(call.body) // 2
        if middle:
            yield {'type': 'http.request', 'body': call.body[:middle], 'more_body': True}
            yield {'type': 'http.request', 'body': call.body[middle:], 'more_body': True}
            yield {'type': 'http.request', 'more_body': False}
        else:
            yield {'type': 'http.request', 'body': call.body, 'more_body': False}

    async def receive(self):
        for message in self.bodies:
            return message
        await self.gone.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        try:
            self.check(message)
        except AssertionError as exc:
            # The application may catch it; the test must not miss it.
            self.fault = self.fault or exc
            raise
        await asyncio.sleep(0)

    def check(self, message):
        assert type(message) is dict
        answer = self.answer
        if message['type'] == 'http.response.start':
            assert self.state == 'head', 'a second http.response.start'
            self.state = 'body'
            assert not set(message) - {'type', 'status', 'headers', 'trailers'}
            assert type(message['status']) is int
            answer.status = message['status']
            for pair in message['headers']:
                name, value = pair
                assert type(name) is type(value) is bytes, pair
                assert name
                assert name == name.lower().strip(), pair
                assert not name.startswith(b':'), pair
                assert not any((char < 32 and char != 9) or char == 127 for char in name + value), pair
                answer.headers.append((name.decode('latin-1'), value.decode('latin-1')))
        elif message['type'] == 'http.response.body':
            assert self.state == 'body', f'a body in state {self.state!r}'
            assert not set(message) - {'type', 'body', 'more_body'}
            body = message.get('body', b'')
            assert type(body) is bytes
            if body:
                answer.chunks.append(body)
            if not message.get('more_body', False):
                self.state = 'done'
                self.gone.set()
            elif self.call.stop_after is not None and len(answer.chunks) >= self.call.stop_after:
                answer.left = True
                self.gone.set()
        else:
            raise AssertionError(f'unknown message {message["type"]!r}')


class AsgiClient(Client):
    protocol = 'asgi'

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        # Complains of what is called from the wrong thread.
        self.loop.set_debug(True)
        self.loop.slow_callback_duration = 60
        self.complaints = []
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))

    def scope(self, call):
        scope = {
            'type': 'http',
            'asgi': {'version': '3.0', 'spec_version': '2.5'},
            'http_version': call.version,
            'method': call.method,
            'scheme': call.scheme,
            'path': unquote_to_bytes(call.prefix + call.path).decode('utf-8', 'replace'),
            'raw_path': (call.prefix + call.path).encode('latin-1'),
            'query_string': call.query.encode('latin-1'),
            'root_path': unquote_to_bytes(call.prefix).decode(),
            'headers': [(n.lower().encode('latin-1'), v.encode('latin-1')) for n, v in call.headers],
            'client': ('127.0.0.9', 4321),
            'server': ('127.0.0.1', 8080),
        }
        if call.raw is False:
            del scope['raw_path']
        scope.update(call.scope)
        return scope

    def send(self, call):
        return self.loop.run_until_complete(self.asend(call))

    async def asend(self, call):
        answer = Answer()
        checker = AsgiChecker(call, answer)
        try:
            await self.app(self.scope(call), checker.receive, checker.send)
        except Exception as exc:
            if checker.fault is None and not answer.chunks:
                raise
            answer.error = exc
        if checker.fault is not None:
            raise checker.fault
        for _ in range(5):
            await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f'tasks outlive the request: {left}'
        if answer.error is None and not answer.left and not (call.cut_at is not None and answer.status is None):
            assert checker.state == 'done', f'the response ended in state {checker.state!r}'
            check_answer(call, answer)
        return answer

    def close(self):
        super().close()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        assert not self.complaints, self.complaints


def check_answer(call, answer):
    """What holds for every response that was sent whole. SPEC: RFC 9110 6.4.1, 8.6, 15.3.5, 15.4.5."""
    headers = answer.headers
    assert len(headers.get_all('content-length')) <= 1, answer
    assert 'transfer-encoding' not in headers, answer
    assert 'connection' not in headers, answer
    length = headers.get('content-length')
    if answer.status < 200 or answer.status in (204, 304):
        assert not answer.body, answer
        assert length is None, answer
    elif call.method == 'HEAD':
        assert not answer.body, answer
    elif length is not None:
        assert int(length) == len(answer.body), answer
    assert 'content-type' in headers or answer.status in (204, 304), answer


CLIENTS = {'wsgi': WsgiClient, 'asgi': AsgiClient}


@pytest.fixture
def make_client():
    """Gives clients by protocol, closed at the test's end."""
    made = []

    def make(protocol):
        made.append(CLIENTS[protocol]())
        return made[-1]

    # A request that hangs fails its test, wherever it hangs.
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(TIMEOUT)
    try:
        yield make
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    for one in made:
        one.close()


def _hangs(signum, frame):
    raise TimeoutError(f'no answer within {TIMEOUT} seconds')


@pytest.fixture(params=['wsgi', 'asgi'])
def client(request, make_client):
    return make_client(request.param)


@pytest.fixture
def wsgi(make_client):
    return make_client('wsgi')


@pytest.fixture
def asgi(make_client):
    return make_client('asgi')


def to_async(func):
    """Give an async function of the same signature, defaults and name, that does what `func` does."""
    signature = inspect.signature(func)
    names = {'_func': func}
    written, passed = [], []
    marks = {'/': False, '*': False}
    parameters = list(signature.parameters.values())
    for i, parameter in enumerate(parameters):
        text = parameter.name
        if parameter.kind is parameter.KEYWORD_ONLY and not marks['*']:
            marks['*'] = True
            if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
                written.append('*')
        if parameter.default is not parameter.empty:
            names[f'_default{i}'] = parameter.default
            text += f'=_default{i}'
        stars = {parameter.VAR_POSITIONAL: '*', parameter.VAR_KEYWORD: '**'}.get(parameter.kind, '')
        written.append(stars + text)
        if parameter.kind is parameter.POSITIONAL_ONLY and (
            i + 1 == len(parameters) or parameters[i + 1].kind is not parameter.POSITIONAL_ONLY
        ):
            written.append('/')
        key = f'{parameter.name}=' if parameter.kind is parameter.KEYWORD_ONLY else stars
        passed.append(key + parameter.name)
    source = f'async def {func.__name__}({", ".join(written)}):\n    return _func({", ".join(passed)})\n'
    exec(source, names)
    made = names[func.__name__]
    made.__dict__.update(func.__dict__)
    made.__doc__ = func.__doc__
    return made


class Colour:
    """Exposes page handlers in one colour, `@handler`; `handler.paint` makes one without exposing it."""

    def __init__(self, colour):
        self.colour = colour
        self.is_async = colour == 'async'

    def paint(self, func):
        return to_async(func) if self.is_async else func

    def __call__(self, func):
        return cpadapter.expose(self.paint(func))


@pytest.fixture(params=['sync', 'async'])
def handler(request):
    return Colour(request.param)


@pytest.fixture
def browser(tmp_path):
    """Gives `start(script=True)`, which starts a browser and gives its driver."""
    with browsers(tmp_path) as start:
        yield start
