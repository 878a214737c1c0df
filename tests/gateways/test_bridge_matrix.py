"""What the borders between WSGI, ASGI, threads and event loops must do, row by row, over real servers.

One table: a row says what must hold, over which servers, for which pages. The times are those of the application and
of the socket, by the one clock that all processes of a machine share; what the system's buffers hold is subtracted
from what a slow client has not taken. What no socket shows, a `send` that raises, is shown by calling the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from live import Live, command, free_port, read_all, reset

import cpadapter

CHUNK = 65536

APPLICATION = '''
import asyncio
import threading
import time
import urllib.request

import cpadapter
from cpadapter.lib import sse

CHUNK = b'x' * 65536
told = {}
made = {}
channel = sse.Channel()
starts = []
four = threading.Barrier(4)
met = []
arrived = {}
releases = {}


def tell(name, what):
    told.setdefault(name, []).append((what, time.monotonic()))


class Told:
    """Tells when what it stands around has ended, and by what."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        pass

    def __exit__(self, kind, error, traceback):
        tell(self.name, 'closed')


def name_of_request():
    return cpadapter.request.query_string.partition('name=')[2]


def begun():
    if name := name_of_request():
        tell(name, 'begun')


def ended():
    if name := name_of_request():
        tell(name, 'ended')


async def grafted_asgi(scope, receive, send):
    """An ASGI application: sends without end, or tells how much it was sent."""
    kind, _, name = scope['query_string'].decode().partition('=')
    if kind == 'count':
        count, more = 0, True
        while more:
            message = await receive()
            if message['type'] == 'http.disconnect':
                return
            count += len(message.get('body', b''))
            more = message.get('more_body', False)
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
        await send({'type': 'http.response.body', 'body': b'%d' % count})
        return
    try:
        with Told(name):
            await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
            while True:
                await send({'type': 'http.response.body', 'body': CHUNK, 'more_body': True})
    except OSError:
        pass
    finally:
        tell(name, 'ended')


def grafted_wsgi(environ, start_response):
    name = environ['QUERY_STRING'].partition('=')[2]
    start_response('200 OK', [('Content-Type', 'text/plain')])
    try:
        with Told(name):
            while True:
                yield CHUNK
    finally:
        tell(name, 'ended')


streamed = cpadapter.config(**{'response.stream': True})
raw = cpadapter.config(**{'request.process_request_body': False})


class Root:
    @cpadapter.expose
    def health(self):
        return 'well'

    @cpadapter.expose
    async def health_later(self):
        return 'well'

    @cpadapter.expose
    @cpadapter.tools.json_out()
    def told(self, of):
        return {'told': told.get(of, []), 'made': made.get(of, 0)}

    # -- at once

    @cpadapter.expose
    def meet(self):
        # Nobody goes on before all four are here.
        four.wait(5)
        time.sleep(0.4)
        return 'met'

    @cpadapter.expose
    async def meet_later(self):
        met.append(1)
        while len(met) % 4:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.4)
        return 'met'

    @cpadapter.expose
    def long(self, seconds):
        print('entered', flush=True)
        time.sleep(float(seconds))
        return 'done'

    @cpadapter.expose
    async def long_later(self, seconds):
        print('entered', flush=True)
        await asyncio.sleep(float(seconds))
        return 'done'

    # -- up

    @cpadapter.expose
    @raw
    def upload(self, name):
        try:
            while part := cpadapter.request.body.read(CHUNK_SIZE):
                arrived[name] = arrived.get(name, 0) + len(part)
        except Exception as exc:
            tell(name, type(exc).__name__)
            raise
        tell(name, 'whole')
        return str(arrived.get(name, 0))

    @cpadapter.expose
    @raw
    async def upload_later(self, name):
        try:
            while part := await cpadapter.request.body.aread(CHUNK_SIZE):
                arrived[name] = arrived.get(name, 0) + len(part)
        except Exception as exc:
            tell(name, type(exc).__name__)
            raise
        tell(name, 'whole')
        return str(arrived.get(name, 0))

    @cpadapter.expose
    def arrived(self, of):
        return str(arrived.get(of, 0))

    @cpadapter.expose
    def form(self, name, field=''):
        tell(name, 'whole')
        return 'got it'

    @cpadapter.expose
    async def form_later(self, name, field=''):
        tell(name, 'whole')
        return 'got it'

    @cpadapter.expose
    @raw
    def hold(self, name):
        cpadapter.request.body.read(CHUNK_SIZE)
        tell(name, 'held')
        releases.setdefault(name, threading.Event()).wait(10)
        return 'held'

    @cpadapter.expose
    @raw
    async def hold_later(self, name):
        await cpadapter.request.body.aread(CHUNK_SIZE)
        tell(name, 'held')
        while not releases.setdefault(name, threading.Event()).is_set():
            await asyncio.sleep(0.01)
        return 'held'

    @cpadapter.expose
    def release(self, of):
        releases.setdefault(of, threading.Event()).set()
        return 'released'

    @cpadapter.expose
    @raw
    def refuse(self):
        raise cpadapter.HTTPError(403)

    @cpadapter.expose
    @raw
    async def refuse_later(self):
        raise cpadapter.HTTPError(403)

    @cpadapter.expose
    def fail(self, field):
        raise RuntimeError('as it was told')

    @cpadapter.expose
    async def fail_later(self, field):
        raise RuntimeError('as it was told')

    @cpadapter.expose
    @cpadapter.config(**{'request.body.maxbytes': 10})
    def little(self, field=''):
        return 'little'

    @cpadapter.expose
    def ask_itself(self, port, path):
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/{path}', timeout=5) as answer:
            return answer.read()

    # -- down

    @cpadapter.expose
    @streamed
    def endless(self, name):
        with Told(name):
            while True:
                made[name] = made.get(name, 0) + 1
                yield CHUNK

    @cpadapter.expose
    @streamed
    async def endless_later(self, name):
        with Told(name):
            while True:
                made[name] = made.get(name, 0) + 1
                yield CHUNK

    @cpadapter.expose
    @streamed
    def ticking(self, name):
        with Told(name):
            while True:
                yield CHUNK
                time.sleep(0.05)

    @cpadapter.expose
    @streamed
    async def ticking_later(self, name):
        with Told(name):
            while True:
                yield CHUNK
                await asyncio.sleep(0.05)

    @cpadapter.expose
    @streamed
    async def sleeping_later(self, name):
        with Told(name):
            yield CHUNK
            await asyncio.sleep(30)
            yield CHUNK

    @cpadapter.expose
    @streamed
    async def waiting_later(self, name):
        with Told(name):
            yield CHUNK
            await asyncio.Event().wait()

    @cpadapter.expose
    @cpadapter.tools.sse()
    def events(self, name):
        with Told(name):
            yield 'x' * 65536
            for event in channel.subscribe():
                yield event

    @cpadapter.expose
    @cpadapter.tools.sse()
    async def events_later(self, name):
        with Told(name):
            yield 'x' * 65536
            async for event in channel.subscribe():
                yield event

    @cpadapter.expose
    @cpadapter.tools.sse()
    async def sleeping_events_later(self, name):
        with Told(name):
            yield 'x' * 65536
            await asyncio.sleep(30)

    # -- what else comes with a request

    @cpadapter.expose
    def started(self):
        return f'{len(starts)} {cpadapter.engine.state}'

    @cpadapter.expose
    def real_ip(self):
        return cpadapter.request.headers.get('X-Real-Ip', '')

    @cpadapter.expose
    async def real_ip_later(self):
        return cpadapter.request.headers.get('X-Real-Ip', '')

    @cpadapter.expose
    def nowhere(self, field):
        raise cpadapter.NotFound()

    @cpadapter.expose
    def default(self, *path):
        return f'{cpadapter.request.script_name}|{cpadapter.request.path_info}'


CHUNK_SIZE = 8192
cpadapter.config.update({'checker.on': False, 'server.thread_pool': 8, 'server.max_request_body_size': 0})
cpadapter.engine.subscribe('start', lambda: (starts.append(1), print('engine started', flush=True)))
cpadapter.engine.subscribe('stop', lambda: print('engine stopped', flush=True))
cpadapter.engine.subscribe('exit', lambda: print('engine exited', flush=True))
cpadapter.tree.graft(grafted_asgi, '/grafted_asgi', protocol='asgi')
cpadapter.tree.graft(grafted_wsgi, '/grafted_wsgi', protocol='wsgi')
cpadapter.tree.mount(Root(), '', {'/': {'hooks.on_start_resource': begun, 'hooks.on_end_request': ended}})
application = cpadapter.tree
'''


# What gives 20 requests of 2 s the time to end after a SIGTERM, and a thread each where a server has its own.
OPTIONS = {
    'uvicorn': (),
    'gunicorn-asgi': ('--graceful-timeout', '10'),
    'hypercorn': ('--graceful-timeout', '10'),
    'gunicorn-gthread': ('--graceful-timeout', '10', '--threads', '24'),
}
ASGI = ('uvicorn', 'gunicorn-asgi', 'hypercorn')
WSGI = ('gunicorn-gthread',)
SERVERS = ASGI + WSGI
# Bytes that a server keeps of what it has taken from `send` before it makes the application wait.
SERVERS_OWN = 65536
# Seconds after which something is a hang.
SOON = 5


# ---------------------------------------------------------------------- the rows


def at_once(server, page, name):
    """Four meet in their page handlers, each of which then takes 0.4 s."""
    assert server.get('/health').text == server.get('/health_later').text == 'well'
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert [one.text for one in pool.map(server.get, [f'/{page}'] * 4)] == ['met'] * 4
    assert 0.4 <= time.monotonic() - began < 0.75


def streamed_up(server, page, name):
    """What has come of a body is read while the rest is still to be sent."""
    with server.socket() as sock:
        sock.sendall(
            f'POST /{page}?name={name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: x/y\r\n'
            f'Content-Length: {4 * CHUNK}\r\n\r\n'.encode()
        )
        for number in range(1, 5):
            sock.sendall(b'x' * CHUNK)
            # A piece of a body may be held back until a read of the application's is full.
            expected = number * CHUNK - (8192 if number < 4 else 0)
            server.until(lambda least=expected: int(server.get(f'/arrived?of={name}').text) >= least, SOON, 'a piece')
        assert read_all(sock).endswith(b'%d' % (4 * CHUNK))


def cut_upload(server, page, name):
    """Five bytes of ten, and the client goes: an error where the body is read, and nobody takes it for whole."""
    for way, close in (('FIN', lambda sock: sock.close()), ('RST', reset)):
        own = f'{name}-{way}'
        kind = 'application/x-www-form-urlencoded' if page.startswith('form') else 'x/y'
        sock = server.socket()
        sock.sendall(
            f'POST /{page}?name={own} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n'
            'Content-Length: 10\r\n\r\nfield'.encode()
        )
        server.until(lambda own=own: told(server, own), SOON, 'the beginning')
        close(sock)
        facts = server.until(lambda own=own: ends(server, own), SOON, 'the end')
        assert 'whole' not in facts
        if kind == 'x/y':
            assert 'ClientDisconnected' in facts


def closed_within_a_second(server, page, name):
    """The application's time of its `finally` against the client's of its close."""
    for way, close in (('FIN', lambda sock: sock.close()), ('RST', reset)):
        own = f'{name}-{way}'
        sock = server.socket()
        sock.sendall(f'GET /{page}?name={own} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
        received = 0
        while received < CHUNK:
            received += len(sock.recv(CHUNK))
        left = time.monotonic()
        close(sock)
        facts = server.until(lambda own=own: ends(server, own), SOON, 'the end')
        assert facts['closed'] - left < 1
        assert facts['ended'] >= facts['closed']


def slow_client(server, page, name):
    """Two chunks at the most are made beyond what the server has taken, however long the client takes nothing."""
    with server.socket() as sock:
        sock.sendall(f'GET /{page}?name={name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'.encode())
        taken = 0
        for goal in (1, 40 * CHUNK):
            while taken < goal:
                taken += len(sock.recv(CHUNK))
            ahead = at_rest(lambda: server.get(f'/told?of={name}').json()['made'] * CHUNK - in_kernel(sock))
            assert ahead - taken <= 2 * CHUNK + SERVERS_OWN
    server.until(lambda: ends(server, name), SOON, 'the end')


def lifespan(server, page, name):
    """The engine has started before the first request, once; its end is looked at where servers are ended."""
    assert {server.get('/started').text for _ in range(4)} == {'1 states.STARTED'}


def headers_apart(server, page, name):
    """A header whose name has an underscore stands for no other."""
    for pair in ('x_real_ip: evil\r\nx-real-ip: good', 'x-real-ip: good\r\nX_Real_IP: evil'):
        answer = server.raw(f'GET /{page} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{pair}\r\n\r\n'.encode())
        assert answer.endswith(b'\r\n\r\ngood')
    alone = server.raw(f'GET /{page} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx_real_ip: evil\r\n\r\n'.encode())
    assert b'evil' not in alone


def chunked_to_a_graft(server, page, name):
    """The end of a body in chunks is the server's to tell, across both borders."""
    body = b'4000\r\n' + b'x' * 0x4000 + b'\r\n'
    answer = server.raw(
        f'POST /{page}?count= HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'.encode()
        + b'Transfer-Encoding: chunked\r\n\r\n' + body * 3 + b'0\r\n\r\n'
    )  # fmt: skip
    assert b'\r\n49152' in answer


class Row(NamedTuple):
    """A row of the matrix: what must hold, for pages of either colour, over which servers."""

    must_be: str
    check: Callable[[Any, str, str], None]
    pages: tuple[str, ...]
    servers: tuple[str, ...] = SERVERS


STREAMS = (
    *('endless', 'endless_later', 'ticking', 'ticking_later', 'sleeping_later', 'waiting_later'),
    *('events', 'events_later', 'sleeping_events_later'),
)
MATRIX = (
    Row('four requests of 0.4 s take 0.4 s', at_once, ('meet', 'meet_later')),
    Row('a request body is streamed', streamed_up, ('upload', 'upload_later')),
    Row('a cut upload is an error', cut_upload, ('upload', 'upload_later', 'form', 'form_later')),
    Row(
        'who leaves closes the iterator within 1 s',
        closed_within_a_second,
        STREAMS,
    ),
    Row('who leaves closes a WSGI application under ASGI', closed_within_a_second, ('grafted_wsgi/',), ASGI),
    Row('who leaves cancels an ASGI application under WSGI', closed_within_a_second, ('grafted_asgi/',), WSGI),
    Row('a slow client holds two chunks', slow_client, ('endless', 'endless_later')),
    Row('lifespan is handled', lifespan, ('',)),
    Row('underscores never shadow hyphens', headers_apart, ('real_ip', 'real_ip_later')),
    Row('a body in chunks ends', chunked_to_a_graft, ('grafted_asgi/',)),
)


def in_kernel(sock, up=False):
    """Give the bytes that the system holds of what the server has sent to a socket of ours; or we to it."""
    (_, ours), (_, theirs) = sock.getsockname(), sock.getpeername()
    if up:
        ours, theirs = theirs, ours
    held = 0
    with open('/proc/net/tcp', encoding='ascii') as file:
        for line in file.readlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            sent, received = (int(queue, 16) for queue in queues.split(':'))
            pair = int(local.rpartition(':')[2], 16), int(remote.rpartition(':')[2], 16)
            if pair == (theirs, ours):
                held += sent
            elif pair == (ours, theirs):
                held += received
    return held


def at_rest(measure):
    """Give what `measure` says once it has said so for a while."""
    deadline = time.monotonic() + SOON
    value, since = measure(), time.monotonic()
    while time.monotonic() - since < 0.25:
        assert time.monotonic() < deadline, 'it never comes to rest'
        threading.Event().wait(0.05)
        if (now := measure()) != value:
            value, since = now, time.monotonic()
    return value


def ends(server, name):
    """Give what was told of a request and when, each once, where it has ended; else nothing."""
    facts = told(server, name)
    return facts if 'ended' in facts else None


def told(server, name):
    facts = server.get(f'/told?of={name}').json()['told']
    assert len(dict(facts)) == len(facts), facts
    return dict(facts)


# ---------------------------------------------------------------------- over sockets


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Gives `start(name, *options)`, which gives a server that runs until the end."""
    with contextlib.ExitStack() as stack:

        def start(name, *options, **environ):
            pytest.importorskip(name.partition('-')[0])
            folder = tmp_path_factory.mktemp('matrix')
            (folder / 'pages.py').write_text(APPLICATION, encoding='utf-8')
            port = free_port()
            live = Live(command(name, 'pages:application', port, *options), port, folder, folder / 'output', **environ)
            stack.callback(live.kill)
            live.name = name
            return live.ready()

        yield start


@pytest.fixture(scope='module', params=SERVERS)
def server(request, start):
    return start(request.param)


@pytest.mark.live
@pytest.mark.skipif(sys.platform != 'linux', reason='what the system holds is read from /proc')
@pytest.mark.parametrize(
    ('row', 'page'), [pytest.param(row, page, id=f'{row.must_be}-{page}') for row in MATRIX for page in row.pages]
)
def test_a_row_of_the_matrix_holds(server, row, page, request):
    if server.name not in row.servers:
        pytest.skip('another border')
    position = len(server.printed)
    row.check(server, page, re.sub(r'\W+', '-', request.node.callspec.id))
    assert server.get('/health').text == server.get('/health_later').text == 'well'
    assert 'Traceback' not in server.printed[position:]


@pytest.mark.live
@pytest.mark.parametrize('name', SERVERS)
def test_a_root_path_is_taken_off_at_a_border_of_segments_only(start, name):
    # SPEC: PEP 3333 leaves SCRIPT_NAME to the server; gunicorn's WSGI workers take it from the environment.
    rooted = start(name, SCRIPT_NAME='/api') if name in WSGI else start(name, '--root-path', '/api')
    seen = {path: rooted.get(path) for path in ('/api/y', '/apix/y')}
    assert seen['/api/y'].text in ('/api|/y', '/api|/api/y')  # uvicorn puts the root in front of what has it already
    assert seen['/apix/y'].text == '/api|/apix/y'


@pytest.mark.live
@pytest.mark.parametrize('name', SERVERS)
def test_requests_in_flight_are_answered_after_sigterm_and_the_engine_stops_once(start, name):
    live = start(name, *OPTIONS[name])
    assert live.get('/health').text == live.get('/health_later').text == 'well'
    with contextlib.ExitStack() as stack:
        # Under ASGI two of the plain ones wait for one of the 8 threads.
        pages = ['long?seconds=1'] * 10 + ['long_later?seconds=2'] * 10
        socks = [stack.enter_context(live.socket()) for _ in pages]
        for sock, page in zip(socks, pages, strict=True):
            sock.sendall(f'GET /{page} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
        live.until(lambda: live.printed.count('entered') >= 18, SOON, 'all in their handlers')
        live.send(signal.SIGTERM)
        live.until(lambda: not answers(live), SOON, 'new ones refused')
        for sock in socks:
            answer = read_all(sock)
            assert answer.startswith(b'HTTP/1.1 200'), answer
            assert b'done' in answer
    # uvicorn raises the signal again, once it has ended.
    assert live.wait() in (0, -signal.SIGTERM if name == 'uvicorn' else 0)
    told = [line for line in live.printed.splitlines() if line.startswith('engine ')]
    assert told == ['engine started', 'engine stopped', 'engine exited']
    assert 'Traceback' not in live.printed


def answers(server):
    """Say whether a new connection is taken and answered."""
    try:
        with server.socket(0.5) as sock:
            sock.sendall(b'GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
            return b'well' in read_all(sock)
    except OSError:
        return False


@pytest.mark.live
@pytest.mark.parametrize('server', ASGI, indirect=True)
def test_forty_slow_bodies_hold_no_thread(server):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.socket()) for _ in range(40)]
        for number, sock in enumerate(socks):
            sock.sendall(
                f'POST /form{"_later" * (number % 2)}?name=slow-{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'
                'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nfield'.encode()
            )
        for number in range(40):
            server.until(lambda number=number: told(server, f'slow-{number}'), SOON, 'the beginning')
        # There are 8 threads; each of the 40 has been asked for by a request that has begun.
        for path in ('/health', '/health_later'):
            began = time.monotonic()
            assert server.get(path).text == 'well'
            assert time.monotonic() - began < 0.5
        for sock in socks:
            sock.sendall(b'=1234')
        for sock in socks:
            assert read_all(sock).endswith(b'got it')


@pytest.mark.live
@pytest.mark.skipif(sys.platform != 'linux', reason='what the system holds is read from /proc')
@pytest.mark.parametrize('page', ['hold', 'hold_later'])
def test_nothing_is_read_ahead_of_a_slow_handler(server, page):
    name = f'{server.name}-{page}'
    sent = 0
    with server.socket(0.3) as sock:
        sock.sendall(f'POST /{page}?name={name} HTTP/1.1\r\nHost: a\r\nContent-Length: {200 << 20}\r\n\r\n'.encode())
        with contextlib.suppress(TimeoutError):
            while sent < 100 << 20:
                sent += sock.send(b'x' * CHUNK)
        assert 'held' in told(server, name)
        held = at_rest(lambda: sent - in_kernel(sock, up=True))
    # hypercorn takes in most before it stops: ten pieces for the application, beside what is on its way.
    assert held < 32 * CHUNK
    assert server.get(f'/release?of={name}').text == 'released'


@pytest.mark.live
@pytest.mark.parametrize('page', ['refuse', 'refuse_later'])
def test_who_is_refused_in_his_upload_is_told_and_nothing_is_taken_for_his_next_request(server, page):
    inner = b'GET /health HTTP/1.1\r\nHost: a\r\n\r\n'
    with server.socket() as sock:
        sock.sendall(f'POST /{page} HTTP/1.1\r\nHost: a\r\nContent-Length: {50 << 20}\r\n\r\n'.encode() + inner)
        answer = sock.recv(CHUNK)
        assert b' 403 ' in answer.partition(b'\r\n')[0]
        sock.settimeout(1)
        with contextlib.suppress(OSError):
            for _ in range(200):
                sock.sendall(inner * 100)
        with contextlib.suppress(OSError):
            while more := sock.recv(CHUNK):
                answer += more
    assert answer.count(b'HTTP/1.1 ') == 1


# The others tell each client to go on, before or whenever the application is called.
@pytest.mark.live
@pytest.mark.parametrize('server', ['uvicorn', 'gunicorn-asgi'], indirect=True)
@pytest.mark.parametrize('page', ['refuse', 'refuse_later'])
def test_who_asks_before_he_uploads_is_refused_without_being_told_to(server, page):
    with server.socket() as sock:
        sock.sendall(f'POST /{page} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n'.encode())
        first = sock.recv(CHUNK)
    assert first.startswith(b'HTTP/1.1 403 ')


@pytest.mark.live
@pytest.mark.parametrize('path', ['fail', 'fail_later', 'little', 'refuse', 'nowhere'])
def test_a_connection_answers_rightly_or_closes_after_an_error(server, path):
    body = b'field=' + b'x' * 100
    form = b'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n' % len(body)
    bad = b'POST /%s HTTP/1.1\r\nHost: a\r\n' % path.encode() + form + body
    answer = server.raw(bad + b'GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    code = {'fail': 500, 'fail_later': 500, 'little': 413, 'refuse': 403, 'nowhere': 404}[path]
    assert answer.startswith(b'HTTP/1.1 %d ' % code)
    # Either nothing follows, or what was asked for.
    assert answer.count(b'HTTP/1.1 ') == 1 + answer.endswith(b'well')


@pytest.mark.live
@pytest.mark.parametrize('path', ['health', 'health_later'])
def test_a_plain_page_may_ask_its_own_server(server, path):
    assert server.get(f'/ask_itself?port={server.port}&path={path}').text == 'well'


# ---------------------------------------------------------------------- what no socket shows


class Peer:
    """Calls an application as an ASGI server does; after `takes` chunks `send` raises, or waits for ever."""

    def __init__(self, app: Any, takes: int, raises: BaseException | None = None) -> None:
        self.app = app
        self.takes = takes
        self.raises = raises
        self.asked = 0
        self.full = asyncio.Event()
        self.gone = asyncio.Event()

    async def receive(self):
        self.asked += 1
        if self.asked == 1:
            return {'type': 'http.request', 'body': b'', 'more_body': False}
        await self.gone.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        if message['type'] == 'http.response.body' and self.takes:
            self.takes -= 1
        elif message['type'] == 'http.response.body' or not self.takes:
            if self.raises is not None:
                raise self.raises
            self.full.set()
            await asyncio.Event().wait()

    def start(self, path):
        scope = {
            'type': 'http', 'http_version': '1.1', 'method': 'GET', 'path': path, 'query_string': b'',
            'headers': [(b'host', b'h')],
        }  # fmt: skip
        return asyncio.ensure_future(self.app(scope, self.receive, self.send))


@pytest.fixture
def log():
    return []


@pytest.fixture
def app(asgi, log, tmp_path):
    (tmp_path / 'file').write_bytes(b'x' * 10 * CHUNK)

    class File:
        """A file that tells of its close."""

        def __init__(self):
            self.file = open(tmp_path / 'file', 'rb')  # noqa: SIM115

        def read(self, size=-1):
            return self.file.read(size)

        def close(self):
            log.append('closed')
            self.file.close()

    class Root:
        @cpadapter.expose
        def plain(self):
            try:
                while True:
                    log.append('made')
                    yield b'x' * CHUNK
            finally:
                log.append('closed')

        @cpadapter.expose
        async def later(self):
            try:
                while True:
                    log.append('made')
                    yield b'x' * CHUNK
            finally:
                log.append('closed')

        @cpadapter.expose
        def file(self):
            cpadapter.response.headers['Content-Type'] = 'image/png'
            return File()

        @cpadapter.expose
        async def file_later(self):
            return self.file()

    config = {'response.stream': True, 'hooks.on_end_request': lambda: log.append('ended')}
    return asgi.mount(Root(), config={'/': config})


@pytest.mark.parametrize('takes', [0, 1, 3])
@pytest.mark.parametrize('error', [OSError, ConnectionResetError, BrokenPipeError])
@pytest.mark.parametrize('page', ['plain', 'later', 'file', 'file_later'])
def test_a_send_that_raises_closes_the_body_and_gives_the_thread_back(asgi, app, log, page, error, takes):
    peer = Peer(asgi.app, takes, error('gone'))
    before = threading.active_count()

    async def main():
        await asyncio.wait_for(peer.start(f'/{page}'), SOON)
        assert log[-2:] == ['closed', 'ended']
        assert log.count('closed') == log.count('ended') == 1
        # The threads that did it wait for others to do: four more requests need no more of them.
        once = threading.active_count()
        for _ in range(4):
            await asyncio.wait_for(Peer(asgi.app, 1, error('gone')).start(f'/{page}'), SOON)
        assert threading.active_count() <= max(once, before + 4)

    asgi.loop.run_until_complete(main())
    assert not asgi.errors


@pytest.mark.parametrize('takes', [0, 1, 5])
@pytest.mark.parametrize('page', ['plain', 'later'])
def test_one_chunk_is_made_beyond_what_send_has_taken(asgi, app, log, page, takes):
    peer = Peer(asgi.app, takes)

    async def main():
        task = peer.start(f'/{page}')
        await asyncio.wait_for(peer.full.wait(), SOON)
        # Time for whoever would make more.
        await asyncio.sleep(0.1)
        assert log.count('made') == takes + 1
        peer.gone.set()
        await asyncio.wait_for(task, SOON)
        assert log.count('made') == takes + 1

    asgi.loop.run_until_complete(main())
    assert log[-2:] == ['closed', 'ended']
    assert not asgi.errors


def test_an_engine_that_exits_lets_open_streams_of_plain_generators_go_on(asgi):
    go_on = threading.Event()

    class Root:
        @cpadapter.expose
        def index(self):
            yield b'one'
            go_on.wait(SOON)
            yield b'two'
            yield b'three'

    asgi.mount(Root(), config={'/': {'response.stream': True}})
    sent = []

    class Reader(Peer):
        async def send(self, message):
            sent.append(message.get('body'))

    async def main():
        task = Reader(asgi.app, 0).start('/')
        while b'one' not in sent:
            await asyncio.sleep(0.001)
        asgi.site.engine.exit()
        go_on.set()
        await asyncio.wait_for(task, SOON)

    asgi.loop.run_until_complete(main())
    assert sent == [None, b'one', b'two', b'three', b'']
    # The thread that made the first chunk has ended with its pool; the one after it belongs to the next pool.
    deadline = time.monotonic() + SOON
    while sum(thread.name.startswith('cpadapter-test-streams') for thread in threading.enumerate()) > 1:
        assert time.monotonic() < deadline, 'the threads of a closed pool end'
    assert not asgi.errors


@pytest.mark.parametrize('error', [GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_of_anybodys_leaves_nothing_behind(client, handler, error):
    ended = []

    class Root:
        @handler
        def index(self):
            raise error('from nowhere')

        @handler
        def fine(self):
            return 'fine'

    client.mount(Root(), config={'/': {'hooks.on_end_request': lambda: ended.append(1)}})
    raised: BaseException | None = None
    try:
        assert client.get('/').status == 500
    except BaseException as exc:
        raised = exc
    # Where the server is told, it is by an error that a loop can hand on.
    assert raised is None or error in (type(raised), type(raised.args[0]))
    assert ended == [1]
    assert cpadapter.request.app is None
    assert client.get('/fine').text == 'fine'
