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


ASGI = ('uvicorn', 'gunicorn-asgi', 'hypercorn')
WSGI = ('gunicorn-gthread',)
SERVERS = ASGI + WSGI
ROOTED = {
    'uvicorn': ('--root-path', '/api'),
    'hypercorn': ('--root-path', '/api'),
    'gunicorn-asgi': ('--root-path', '/api'),
}
# Bytes that a server keeps of what it has taken from `send`: up to its mark, and the chunk that goes beyond it.
SERVERS_OWN = 65536 + CHUNK
# Seconds after which something is a hang.
SOON = 5


# ---------------------------------------------------------------------- the rows


def at_once(server, page, name):
    """Four meet in their page handlers, each of which then takes 0.4 s."""
    # Threads and connections are made by the first ones.
    for _ in range(2):
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            assert [one.text for one in pool.map(server.get, [f'/{page}'] * 4)] == ['met'] * 4
        took = time.monotonic() - began
    assert 0.4 <= took < 0.75


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


MATRIX = (
    Row('four requests of 0.4 s take 0.4 s', at_once, ('meet', 'meet_later')),
    Row('a request body is streamed', streamed_up, ('upload', 'upload_later')),
    Row('a cut upload is an error', cut_upload, ('upload', 'upload_later', 'form', 'form_later')),
    Row(
        'who leaves closes the iterator within 1 s',
        closed_within_a_second,
        ('endless', 'endless_later', 'ticking', 'ticking_later', 'sleeping_later', 'waiting_later', 'events')
        + ('events_later', 'sleeping_events_later'),
    ),
    Row('who leaves closes a WSGI application under ASGI', closed_within_a_second, ('grafted_wsgi/',), ASGI),
    Row('who leaves cancels an ASGI application under WSGI', closed_within_a_second, ('grafted_asgi/',), WSGI),
    Row('a slow client holds two chunks', slow_client, ('endless', 'endless_later')),
    Row('lifespan is handled', lifespan, ('',)),
    Row('underscores never shadow hyphens', headers_apart, ('real_ip', 'real_ip_later')),
    Row('a body in chunks ends', chunked_to_a_graft, ('grafted_asgi/',)),
)


def in_kernel(sock):
    """Give the bytes that the system holds of what the server has sent to a socket of ours."""
    (_, ours), (_, theirs) = sock.getsockname(), sock.getpeername()
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
    while time.monotonic() - since < 0.4:
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
