"""What goes wrong between a client, a server and page handlers, on real servers: what client, log and hooks see of it.

After each fault the server must still answer, have logged what was nobody's fault of the client's, and keep nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from live import Live, command, free_port, reset

pytestmark = pytest.mark.live

MEGABYTE = 1 << 20

APPLICATION = '''
import asyncio
import collections
import threading
import time

import cpadapter

told = collections.Counter()
releases = {}


def tell(what):
    told[what] += 1


def ended():
    name = cpadapter.request.params.get('name')
    if name:
        tell(f'{name} ended')


class Closing:
    """A body that tells when it is closed; it fails where it is asked to."""

    def __init__(self, name, chunks, fails_at=None, fails_in_close=False):
        self.name, self.left, self.fails_at, self.fails_in_close = name, iter(chunks), fails_at, fails_in_close
        self.made = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.made == self.fails_at:
            raise RuntimeError(f'{self.name} fails here')
        self.made += 1
        return next(self.left)

    def close(self):
        tell(f'{self.name} closed')
        if self.fails_in_close:
            raise RuntimeError(f'{self.name} fails in close')


def repeat(chunk, count):
    for _ in range(count):
        yield chunk


def download(name):
    try:
        for _ in range(1600):
            yield b'x' * 65536
    finally:
        tell(f'{name} closed')


async def download_later(name):
    try:
        for _ in range(1600):
            yield b'x' * 65536
    finally:
        tell(f'{name} closed')


def failing_page(**kwargs):
    raise RuntimeError('the error page fails too')


def failing_hook():
    raise RuntimeError('hook fails: ' + cpadapter.request.params['name'])


streamed = cpadapter.config(**{'response.stream': True})
raw_body = cpadapter.config(**{'request.process_request_body': False})


class Root:
    @cpadapter.expose
    def health(self):
        return 'well'

    @cpadapter.expose
    @cpadapter.tools.json_out()
    def told(self):
        return dict(told)

    # -- uploads

    @cpadapter.expose
    def form(self, name, file=None):
        tell(f'{name} handled')
        return 'got it'

    @cpadapter.expose
    @raw_body
    def read(self, name):
        tell(f'{name} entered')
        try:
            cpadapter.request.body.fp.read()
        except Exception as exc:
            tell(f'{name} {type(exc).__name__}')
            raise
        tell(f'{name} read')
        return 'got it'

    @cpadapter.expose
    @raw_body
    async def read_later(self, name):
        tell(f'{name} entered')
        try:
            await cpadapter.request.body.fp.aread()
        except Exception as exc:
            tell(f'{name} {type(exc).__name__}')
            raise
        tell(f'{name} read')
        return 'got it'

    # -- downloads

    @cpadapter.expose
    @streamed
    def download(self, name):
        return download(name)

    @cpadapter.expose
    @streamed
    async def download_later(self, name):
        return download_later(name)

    @cpadapter.expose
    async def wait(self, name):
        releases[name] = asyncio.Event()
        releases[name, 'loop'] = asyncio.get_running_loop()
        tell(f'{name} entered')
        try:
            await asyncio.wait_for(releases[name].wait(), 30)
        except asyncio.CancelledError:
            tell(f'{name} cancelled')
            raise
        tell(f'{name} released')
        return 'x' * 100000

    @cpadapter.expose
    def wait_in_thread(self, name):
        releases[name] = threading.Event()
        tell(f'{name} entered')
        tell(f'{name} released' if releases[name].wait(30) else f'{name} forgotten')
        return 'x' * 100000

    @cpadapter.expose
    def release(self, whom):
        if (whom, 'loop') in releases:
            releases[whom, 'loop'].call_soon_threadsafe(releases[whom].set)
        else:
            releases[whom].set()
        return 'released'

    # -- responses

    @cpadapter.expose
    def text(self, status='200'):
        cpadapter.response.status = status
        return 'a text of 24 characters.'

    @cpadapter.expose
    async def text_later(self, status='200'):
        cpadapter.response.status = status
        return 'a text of 24 characters.'

    @cpadapter.expose
    @streamed
    def body(self, name, status='200'):
        cpadapter.response.status = status
        return Closing(name, [b'one', b'two'])

    @cpadapter.expose
    def collected(self, name, status='200'):
        cpadapter.response.status = status
        return Closing(name, [b'one', b'two'])

    @cpadapter.expose
    def lies(self, length):
        cpadapter.response.headers['Content-Length'] = length
        return b'0123456789'

    @cpadapter.expose
    @streamed
    def lies_streamed(self, length):
        cpadapter.response.headers['Content-Length'] = length
        return repeat(b'01234', 2)

    @cpadapter.expose
    @streamed
    async def lies_streamed_later(self, length):
        cpadapter.response.headers['Content-Length'] = length

        async def chunks():
            yield b'01234'
            yield b'01234'

        return chunks()

    @cpadapter.expose
    @streamed
    def fails(self, name, at):
        return Closing(name, repeat(b'chunk', 10), int(at))

    @cpadapter.expose
    @streamed
    async def fails_later(self, name, at):
        async def chunks():
            try:
                for number in range(10):
                    if number == int(at):
                        raise RuntimeError(f'{name} fails here')
                    yield b'chunk'
            finally:
                tell(f'{name} closed')

        return chunks()

    @cpadapter.expose
    @streamed
    def fails_in_close(self, name):
        return Closing(name, [b'one', b'two'], fails_in_close=True)

    @cpadapter.expose
    @cpadapter.config(**{'hooks.on_end_request': failing_hook})
    def fails_at_end(self, name):
        return 'the response stands'

    @cpadapter.expose
    @cpadapter.config(**{'error_page.500': failing_page, 'error_page.404': failing_page})
    def fails_twice(self, status='500'):
        if status == '404':
            raise cpadapter.NotFound()
        raise RuntimeError('the first failure')


Root.fails_at_end._cp_config['hooks.on_end_request.2'] = ended
application = cpadapter.tree.mount(Root(), '/', {'/': {'hooks.on_end_request': ended}})
'''

SERVERS = ('uvicorn', 'gunicorn-gthread', 'gunicorn-asgi')
# Seconds within which what a client has left is ended.
SOON = 5


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('faults')
    (folder / 'pages.py').write_text(APPLICATION, encoding='utf-8')
    return folder


def launch(stack, name, folder, module='pages', options=(), **environ):
    """Start a server with a folder of its own for temporary files."""
    pytest.importorskip(name.partition('-')[0])
    port = free_port()
    own = folder / f'{name}-{port}'
    own.mkdir()
    words = command(name, f'{module}:application', port, *options)
    live = Live(words, port, folder, own / 'output', TMPDIR=str(own), **environ)
    stack.callback(live.kill)
    live.own = own
    live.name = name
    return live.ready()


@pytest.fixture(scope='module', params=SERVERS)
def server(request, folder):
    with contextlib.ExitStack() as stack:
        yield launch(stack, request.param, folder)


@pytest.fixture(autouse=True)
def still_well(request):
    """Whatever a test has done to a server: it answers at once, and has no temporary file and no descriptor more."""
    if 'server' not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue('server')
    assert server.get('/health').text == 'well'
    # The loop for async pages has descriptors of its own, once.
    assert server.get('/text_later').status == 200
    before = descriptors(server)
    yield
    assert server.get('/health').text == 'well'
    server.until(lambda: descriptors(server) <= before + 1, SOON, 'descriptors closed')
    assert temporary_files(server) == []


def descriptors(server):
    """Give how many descriptors the server's processes hold."""
    count = 0
    for pid in processes(server.pid):
        with contextlib.suppress(FileNotFoundError):
            count += len(os.listdir(f'/proc/{pid}/fd'))
    return count


def processes(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as file:
        children = file.read().split()
    return [pid, *(one for child in children for one in processes(int(child)))]


def temporary_files(server):
    """Give what the application has left in its folder; gunicorn keeps a file of its own there for each worker."""
    return [path.name for path in server.own.iterdir() if path.name != 'output' and 'wgunicorn' not in path.name]


@pytest.fixture
def name(request):
    """A name for what a test looks at, told to the application in the query."""
    return re.sub(r'\W', '-', request.node.name)


def told(server):
    return server.get('/told').json()


def await_told(server, *facts, timeout=SOON):
    """Wait until the application has told each fact, and see that it told each once."""
    server.until(lambda: set(facts) <= set(told(server)), timeout, f'{facts}')
    counts = told(server)
    assert [counts[fact] for fact in facts] == [1] * len(facts)


def logged_since(server, position):
    return server.printed[position:]


def begin(server, request):
    """Send a request, or part of one, and give the socket."""
    sock = server.socket()
    sock.sendall(request)
    return sock


def head(path, **headers):
    lines = ''.join(f'{name.replace("_", "-")}: {value}\r\n' for name, value in headers.items())
    return f'GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n'.encode()


def split(answer):
    """Give (status, headers by lower-case name, body as sent) of a raw response."""
    lines, _, body = answer.partition(b'\r\n\r\n')
    first, *fields = lines.decode('latin-1').split('\r\n')
    return int(first.split()[1]), dict(field.lower().split(': ', 1) for field in fields), body


closings = pytest.mark.parametrize('close', [lambda sock: sock.close(), reset], ids=['FIN', 'RST'])


# ---------------------------------------------------------------------- clients that leave


@closings
@pytest.mark.parametrize('page', ['form', 'read', 'read_later'])
def test_a_client_gone_in_the_middle_of_its_upload_is_no_error_of_the_application(server, name, page, close):
    position = len(server.printed)
    kind = 'multipart/form-data; boundary=b' if page == 'form' else 'application/octet-stream'
    request = f'POST /{page}?name={name} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {10 * MEGABYTE}'
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' if page == 'form' else b''
    sock = begin(server, request.encode() + b'\r\n\r\n' + part + b'x' * (10 * MEGABYTE // 10))
    if page != 'form':
        await_told(server, f'{name} entered')
    close(sock)
    await_told(server, f'{name} ended')
    counts = told(server)
    assert f'{name} handled' not in counts
    assert f'{name} read' not in counts
    if page != 'form':
        assert counts[f'{name} ClientDisconnected'] == 1
    assert 'Traceback' not in logged_since(server, position)


@closings
@pytest.mark.parametrize('page', ['download', 'download_later'])
def test_a_client_gone_in_the_middle_of_its_download_closes_the_body_once(server, name, page, close):
    position = len(server.printed)
    sock = begin(server, head(f'/{page}?name={name}'))
    received = 0
    while received < 65536:
        received += len(sock.recv(65536))
    close(sock)
    await_told(server, f'{name} closed', f'{name} ended')
    assert 'Traceback' not in logged_since(server, position)


@closings
@pytest.mark.parametrize('page', ['wait', 'wait_in_thread'])
def test_a_page_handler_whose_client_has_gone_finishes_quietly(server, name, page, close):
    position = len(server.printed)
    sock = begin(server, head(f'/{page}?name={name}'))
    await_told(server, f'{name} entered')
    close(sock)
    assert server.get(f'/release?whom={name}').text == 'released'
    await_told(server, f'{name} ended')
    counts = told(server)
    assert f'{name} released' in counts or f'{name} cancelled' in counts
    assert 'Traceback' not in logged_since(server, position)


# ---------------------------------------------------------------------- responses without a body


@pytest.mark.parametrize('page', ['text', 'text_later'])
@pytest.mark.parametrize('status', ['200', '204', '304'])
def test_head_and_bodiless_statuses_send_no_body(server, page, status):
    more = head(f'/{page}?status=200', Connection='close')
    for method in (b'HEAD', b'GET'):
        if (method, status) == (b'GET', '200'):
            continue
        # A body would be read as the beginning of the second response.
        answer = server.raw(head(f'/{page}?status={status}').replace(b'GET', method, 1) + more)
        code, headers, rest = split(answer)
        assert code == int(status)
        assert headers.get('content-length') == ('24' if status == '200' else None)
        assert 'transfer-encoding' not in headers
        assert split(rest)[0] == 200
        assert split(rest)[2] == b'a text of 24 characters.'


@pytest.mark.parametrize('page', ['body', 'collected'])
@pytest.mark.parametrize('case', ['HEAD 200', 'GET 204', 'GET 304', 'HEAD 204'])
def test_a_body_that_is_not_sent_is_closed(server, name, page, case):
    method, status = case.split()
    request = head(f'/{page}?name={name}&status={status}').replace(b'GET', method.encode(), 1)
    code, headers, rest = split(server.raw(request + head('/text', Connection='close')))
    assert code == int(status)
    assert headers.get('content-length') == ('6' if (page, case) == ('collected', 'HEAD 200') else None)
    assert split(rest)[2] == b'a text of 24 characters.'
    await_told(server, f'{name} closed', f'{name} ended')


# ---------------------------------------------------------------------- a wrong Content-Length


@pytest.mark.parametrize('length', [4, 25])
def test_a_wrong_content_length_of_a_whole_body_is_put_right(server, length):
    answer = server.raw(head(f'/lies?length={length}') + head('/text', Connection='close'))
    code, headers, rest = split(answer)
    assert (code, headers['content-length'], rest[:10]) == (200, '10', b'0123456789')
    assert split(rest[10:])[2] == b'a text of 24 characters.'


@pytest.mark.parametrize(('length', 'sent'), [(7, b'01234'), (25, b'0123401234')])
@pytest.mark.parametrize('page', ['lies_streamed', 'lies_streamed_later'])
def test_a_streamed_body_of_another_length_than_announced_ends_the_connection(server, page, length, sent):
    position = len(server.printed)
    answer = server.raw(head(f'/{page}?length={length}') + head('/text', Connection='close'))
    code, headers, rest = split(answer)
    assert (code, headers['content-length']) == (200, str(length))
    assert rest == sent  # what exceeds the length is not sent, and no other response follows
    server.until(lambda: f'Content-Length of {length}' in logged_since(server, position), SOON, 'the error in the log')


def test_a_streamed_body_whose_first_chunk_is_too_long_is_answered_by_the_page_for_500(server):
    answer = server.get('/lies_streamed?length=3')
    assert answer.status == 500
    assert '500 Internal Server Error' in answer.text


# ---------------------------------------------------------------------- bodies that fail


@pytest.mark.parametrize('page', ['fails', 'fails_later'])
def test_a_body_that_fails_before_its_first_chunk_is_answered_by_the_page_for_500(server, name, page):
    position = len(server.printed)
    answer = server.get(f'/{page}?name={name}&at=0')
    assert answer.status == 500
    assert '500 Internal Server Error' in answer.text
    assert 'Traceback' not in answer.text
    await_told(server, f'{name} closed', f'{name} ended')
    log = logged_since(server, position)
    assert log.count(f'RuntimeError: {name} fails here') == 1


@pytest.mark.parametrize('page', ['fails', 'fails_later'])
def test_a_body_that_fails_later_ends_the_connection_and_is_logged(server, name, page):
    position = len(server.printed)
    answer = server.raw(head(f'/{page}?name={name}&at=3') + head('/text', Connection='close'))
    code, headers, rest = split(answer)
    assert code == 200
    assert headers['transfer-encoding'] == 'chunked'
    assert rest == b'5\r\nchunk\r\n' * 3  # no last chunk, no error page, no second response
    await_told(server, f'{name} closed', f'{name} ended')
    log = logged_since(server, position)
    assert 'Traceback' in log
    assert f'RuntimeError: {name} fails here' in log


def test_an_error_in_close_is_logged_and_the_response_stands(server, name):
    position = len(server.printed)
    answer = server.get(f'/fails_in_close?name={name}')
    assert (answer.status, answer.body) == (200, b'onetwo')
    await_told(server, f'{name} closed', f'{name} ended')
    assert logged_since(server, position).count(f'RuntimeError: {name} fails in close') == 1


def test_an_error_in_a_hook_at_the_end_is_logged_and_the_response_stands(server, name):
    position = len(server.printed)
    with contextlib.closing(server.connection()) as connection:
        for _ in range(2):
            answer = server.get(f'/fails_at_end?name={name}', connection=connection)
            assert (answer.status, answer.text) == (200, 'the response stands')
    server.until(lambda: logged_since(server, position).count(f'hook fails: {name}') == 2, SOON, 'two lines in the log')


@pytest.mark.parametrize('status', ['500', '404'])
def test_an_error_page_that_fails_is_replaced_by_the_plain_one(server, status):
    position = len(server.printed)
    answer = server.get(f'/fails_twice?status={status}')
    assert answer.status == int(status)
    assert 'Traceback' not in answer.text
    assert 'In addition, the custom error page failed' in answer.text
    assert 'the first failure' not in answer.text
    assert status in answer.text
    server.until(lambda: 'the error page fails too' in logged_since(server, position), SOON, 'the error in the log')


# ---------------------------------------------------------------------- starting late, and in forks

LATE = """
import os
import threading
import time

import cpadapter

starts = []
begun = threading.Event()


def slow_start():
    starts.append(threading.get_ident())
    begun.set()
    time.sleep(0.3)
    starts.append('done')


cpadapter.engine.subscribe('start', slow_start)


class Root:
    @cpadapter.expose
    def index(self):
        return f'{len(starts)}'

    @cpadapter.expose
    async def later(self):
        return f'{len(starts)}'


application = cpadapter.tree.mount(Root())
"""


@pytest.mark.parametrize(
    ('name', 'options'),
    [('uvicorn', ('--lifespan', 'off')), ('gunicorn-gthread', ()), ('waitress', ()), ('gunicorn-asgi', ())],
)
def test_without_lifespan_the_engine_starts_once_before_the_first_of_many_requests(name, options, tmp_path):
    (tmp_path / 'late.py').write_text(LATE, encoding='utf-8')
    if name == 'gunicorn-asgi':
        options = ('--asgi-lifespan', 'off')
    with contextlib.ExitStack() as stack:
        server = launch(stack, name, tmp_path, 'late', options)
        barrier = threading.Barrier(16)

        def ask(number):
            barrier.wait(10)
            return server.get('/later' if number % 2 else '/').text

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(ask, range(16))) == {'2'}


FORKED = '''
import os
import random
import sys
import threading
import time

import cpadapter
from cpadapter.gateways import bridge
from cpadapter.process.plugins import Monitor

MASTER = os.getpid()
beats = []
starts = []


def beat():
    beats.append(os.getpid())


cpadapter.engine.subscribe('start', lambda: starts.append(os.getpid()))
Monitor(cpadapter.engine, beat, 0.05).subscribe()


class Root:
    @cpadapter.expose
    @cpadapter.tools.json_out()
    def index(self):
        return {'pid': os.getpid(), 'starts': starts, 'beats': beats[-3:], 'state': repr(cpadapter.engine.state)}

    @cpadapter.expose
    @cpadapter.tools.json_out()
    def later_pid(self):
        time.sleep(0.05)
        return self.index()

    @cpadapter.expose
    async def later(self):
        return threading.current_thread().name


application = cpadapter.tree.mount(Root())


def warm_up(path):
    """Serve a request in the master: the engine starts, threads and the loop for async pages are made there."""
    environ = {
        'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'SERVER_PROTOCOL': 'HTTP/1.1', 'HTTP_HOST': 'a',
        'SERVER_NAME': 'a', 'SERVER_PORT': '80', 'wsgi.url_scheme': 'http',
    }
    return b''.join(application(environ, lambda status, headers: None))


if os.environ.get('ENGINE') == 'started':
    cpadapter.engine.start()
warm_up('/later')
warm_up('/')


def hold():
    """Hold every lock of the package in a thread that does not live on in the workers."""
    with bridge._pools_lock, bridge.LoopThread._lock, cpadapter.engine._lock, cpadapter.engine._registration:
        held.set()
        time.sleep(60)


held = threading.Event()
if os.environ.get('LOCKS') == 'held':
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
'''


@pytest.mark.parametrize('locks', ['free', 'held'])
@pytest.mark.parametrize('engine', ['started', 'unstarted'])
@pytest.mark.parametrize('name', ['gunicorn', 'gunicorn-asgi'])
def test_workers_forked_from_a_warm_master_have_an_engine_threads_and_a_loop_of_their_own(
    name, engine, locks, tmp_path
):
    (tmp_path / 'forked.py').write_text(FORKED, encoding='utf-8')
    with contextlib.ExitStack() as stack:
        options = ('--preload', '--workers', '2')
        server = launch(stack, name, tmp_path, 'forked', options, ENGINE=engine, LOCKS=locks)
        seen = {}

        def look():
            # Several at once, so that no worker gets them all.
            with ThreadPoolExecutor(4) as pool:
                for answer in pool.map(lambda _: server.get('/later_pid').json(), range(4)):
                    seen[answer['pid']] = answer
            return len(seen) == 2 and all(set(one['beats']) == {pid} for pid, one in seen.items())

        server.until(look, 10, 'two workers with a monitor each')
        for pid, answer in seen.items():
            assert pid != server.pid
            assert answer['starts'].count(pid) == 1
            assert set(answer['starts']) <= {pid, server.pid}
            assert answer['state'] == 'states.STARTED'
        for _ in range(4):
            assert server.get('/later').status == 200
        assert server.end() == 0
