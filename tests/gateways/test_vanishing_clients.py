"""Clients that die in the middle of an upload or of a download: what page handlers, bodies and hooks see of it.

What the servers themselves do of it differs, and stands in one table. Whatever they do: a cut body is never taken for
a whole one, each body is closed once, the hooks at the end run once and in the request's context, and neither file
nor thread is left.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from live import Live, command, free_port, read_all, reset

pytestmark = pytest.mark.live

MEGABYTE = 1 << 20
# Seconds within which what a client has left is ended.
SOON = 3
# Threads for page handlers, and for what ends requests.
POOLS = 4 + 4

APPLICATION = '''
import asyncio
import collections
import contextvars
import os
import threading

import cpadapter

OWN = contextvars.ContextVar('own', default=None)
told = collections.Counter()
releases = collections.defaultdict(threading.Event)


def begin():
    name = cpadapter.request.params.get('name') or cpadapter.request.query_string.partition('name=')[2]
    OWN.set(name)
    if name:
        told[f'{name} begun'] += 1


def end():
    name = OWN.get()
    if name:
        same = name in cpadapter.request.query_string
        told[f'{name} ended' if same else f'{name} ended elsewhere'] += 1


def watched(read):
    """Run what reads a body; tell how it ended."""
    name = OWN.get()
    try:
        read()
    except BaseException as exc:
        told[f'{name} {type(exc).__name__}'] += 1
        raise
    told[f'{name} whole'] += 1
    return 'got it'


async def watched_later(read):
    name = OWN.get()
    try:
        await read()
    except BaseException as exc:
        told[f'{name} {type(exc).__name__}'] += 1
        raise
    told[f'{name} whole'] += 1
    return 'got it'


class Body:
    """A body without end that tells when it is closed; it waits after its third chunk where it is asked to."""

    def __init__(self, name, waits=False):
        self.name, self.waits, self.made = name, waits, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.made += 1
        if self.made > 1600:
            raise StopIteration
        if self.waits and self.made == 4:
            told[f'{self.name} waits'] += 1
            releases[self.name].wait(20)
        return b'x' * 65536

    def close(self):
        told[f'{self.name} closed'] += 1


def generate(name):
    try:
        for _ in range(1600):
            yield b'x' * 65536
    finally:
        told[f'{name} closed'] += 1


async def generate_later(name, waits=False):
    try:
        for number in range(1600):
            if waits and number == 3:
                told[f'{name} waits'] += 1
                while not releases[name].is_set():
                    await asyncio.sleep(0.01)
            yield b'x' * 65536
    finally:
        told[f'{name} closed'] += 1


class File:
    """A file that tells when it is closed."""

    def __init__(self, name):
        self.name, self.file = name, open('large', 'rb')

    def read(self, size=-1):
        return self.file.read(size)

    def close(self):
        told[f'{self.name} closed'] += 1
        self.file.close()


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
    def told(self):
        return dict(told)

    @cpadapter.expose
    def release(self, whom):
        releases[whom].set()
        return 'released'

    @cpadapter.expose
    def together(self, barrier=threading.Barrier(4)):
        # As many at once as there are threads, so that all of them are made.
        barrier.wait(10)
        return 'well'

    # -- up: processed before the page handler

    @cpadapter.expose
    def form(self, name, file=None):
        told[f'{name} whole'] += 1
        return 'got it'

    @cpadapter.expose
    async def form_later(self, name, file=None):
        told[f'{name} whole'] += 1
        return 'got it'

    # -- up: read by the page handler

    @cpadapter.expose
    @raw
    def read(self, name):
        return watched(cpadapter.request.body.read)

    @cpadapter.expose
    @raw
    def read_pieces(self, name):
        def read():
            while cpadapter.request.body.read(1000):
                pass

        return watched(read)

    @cpadapter.expose
    @raw
    def process(self, name):
        return watched(cpadapter.request.body.process)

    @cpadapter.expose
    @raw
    async def read_later(self, name):
        return await watched_later(cpadapter.request.body.aread)

    @cpadapter.expose
    @raw
    async def iterate_later(self, name):
        async def read():
            async for _ in cpadapter.request.body:
                pass

        return await watched_later(read)

    @cpadapter.expose
    @raw
    async def parts_later(self, name):
        async def read():
            async for part in cpadapter.request.body.aparts():
                part.close()

        return await watched_later(read)

    # -- down

    @cpadapter.expose
    @streamed
    def generated(self, name):
        return generate(name)

    @cpadapter.expose
    @streamed
    async def generated_later(self, name):
        return generate_later(name)

    @cpadapter.expose
    @streamed
    def iterated(self, name):
        return Body(name)

    @cpadapter.expose
    @streamed
    def opened(self, name):
        return File(name)

    @cpadapter.expose
    def served(self, name):
        return cpadapter.lib.static.serve_file(os.path.abspath('large'), 'application/octet-stream')

    @cpadapter.expose
    @streamed
    def waiting(self, name):
        return Body(name, waits=True)

    @cpadapter.expose
    @streamed
    async def waiting_later(self, name):
        return generate_later(name, waits=True)


cpadapter.config.update({'server.thread_pool': 4})
application = cpadapter.tree.mount(
    Root(), '/', {'/': {'hooks.on_start_resource': begin, 'hooks.on_end_request': end}}
)
'''


@dataclass(frozen=True)
class Truth:
    """What a server does where clients vanish.

    streams: it calls the application before an upload is whole; else a cut one never gets there.
    watches: it tells of a client that leaves, or can be asked; else the next chunk that cannot be sent does.
    tells_cut_chunks: it raises where an upload in chunks ends without the last one; else that is the end of the body,
        and only what has an end of its own, such as a multipart body, is known to be cut.
    half_closed_gets_all: a client that says it will send no more gets the rest of its download; else it counts as gone.
    """

    streams: bool = True
    watches: bool = True
    tells_cut_chunks: bool = True
    half_closed_gets_all: bool = False


TRUTHS = {
    'uvicorn': Truth(),
    'gunicorn-asgi': Truth(),
    'gunicorn-gthread': Truth(half_closed_gets_all=True),
    'hypercorn': Truth(),
    'granian-asgi': Truth(),
    'granian-wsgi': Truth(watches=False, tells_cut_chunks=False),
    'waitress': Truth(streams=False, watches=False, half_closed_gets_all=True),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('vanishing')
    (folder / 'pages.py').write_text(APPLICATION, encoding='utf-8')
    (folder / 'large').write_bytes(b'x' * (100 * MEGABYTE))
    yield folder
    (folder / 'large').unlink()


@pytest.fixture(scope='module', params=TRUTHS)
def server(request, folder):
    name = request.param
    pytest.importorskip(name.partition('-')[0])
    own = folder / name
    own.mkdir()
    port = free_port()
    live = Live(command(name, 'pages:application', port), port, folder, own / 'output', TMPDIR=str(own))
    live.own = own
    live.truth = TRUTHS[name]
    try:
        live.ready()
        # Whatever is made once is made now.
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: live.get('/together').text, range(4))) == {'well'}
        assert live.get('/health_later').text == 'well'
        before = threads(live)
        yield live
        live.until(lambda: threads(live) <= before + POOLS, SOON, 'no thread left')
    finally:
        live.kill()


@pytest.fixture(autouse=True)
def nothing_left(server):
    """Whatever a client has done: the server answers at once, and has no file and no connection more than before."""
    before = files(server)
    yield
    assert server.get('/health').text == 'well'
    assert server.get('/health_later').text == 'well'
    server.until(lambda: files(server) <= before, SOON, 'files closed')


@pytest.fixture
def name(request):
    return re.sub(r'\W', '-', request.node.name)


def processes(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as file:
        children = file.read().split()
    return [pid, *(one for child in children for one in processes(int(child)))]


def threads(server):
    return sum(len(os.listdir(f'/proc/{pid}/task')) for pid in processes(server.pid))


def files(server):
    """Give the paths of open files below the server's folders, nameless ones included."""
    found = []
    for pid in processes(server.pid):
        for one in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(FileNotFoundError):
                path = os.readlink(f'/proc/{pid}/fd/{one}')
                if path.startswith(str(server.own.parent)) and 'wgunicorn' not in path:
                    found.append(re.sub(r'#\d+', '#', path))
    return sorted(found)


def told(server):
    return server.get('/told').json()


def await_told(server, *facts):
    """Wait until the application has told each fact, and see that it told each once."""
    server.until(lambda: set(facts) <= set(told(server)), SOON, f'{facts}')
    counts = told(server)
    assert [counts[fact] for fact in facts] == [1] * len(facts)


def end_process(sock):
    """Let the connection end with the process that holds it."""
    with subprocess.Popen(['sleep', '60'], pass_fds=[sock.fileno()]) as process:
        sock.close()
        process.kill()


def half_close(sock):
    sock.shutdown(1)


WAYS = {'killed': end_process, 'RST': reset, 'half-close': half_close}

FORM = 'application/x-www-form-urlencoded'
PARTS = 'multipart/form-data; boundary=b'
OCTETS = 'application/octet-stream'
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'

UPLOADS = {
    'urlencoded': ('form', FORM, b'file='),
    'urlencoded, async': ('form_later', FORM, b'file='),
    'multipart': ('form', PARTS, PART),
    'multipart, async': ('form_later', PARTS, PART),
    'process() by the handler': ('process', PARTS, PART),
    'aparts() by the handler': ('parts_later', PARTS, PART),
    'read()': ('read', OCTETS, b''),
    'read(size)': ('read_pieces', OCTETS, b''),
    'aread()': ('read_later', OCTETS, b''),
    'async for': ('iterate_later', OCTETS, b''),
}


@pytest.mark.parametrize('framing', ['length', 'chunked'])
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('upload', UPLOADS)
def test_a_client_gone_in_its_upload_is_seen_as_gone_and_by_nobody_as_done(server, name, upload, way, framing):
    page, kind, start = UPLOADS[upload]
    length = 'Transfer-Encoding: chunked' if framing == 'chunked' else f'Content-Length: {MEGABYTE}'
    head = f'POST /{page}?name={name} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n{length}\r\n\r\n'.encode()
    data = start + b'x' * (MEGABYTE // 3)
    if framing == 'chunked':
        # It dies between two chunks, where nothing but the missing last one tells.
        data = b'%x\r\n%s\r\n' % (len(data), data)
    position = len(server.printed)
    sock = server.socket()
    sock.sendall(head + data)
    if server.truth.streams:
        await_told(server, f'{name} begun')
    WAYS[way](sock)
    tells = framing == 'length' or server.truth.tells_cut_chunks
    if way == 'half-close':
        # It could still be told.
        with sock:
            answer = read_all(sock)
        assert not tells or b' 200 ' not in answer.partition(b'\r\n')[0]
    if server.truth.streams:
        await_told(server, f'{name} ended')
    counts = {fact.removeprefix(name + ' '): count for fact, count in told(server).items() if fact.startswith(name)}
    assert 'Traceback' not in server.printed[position:]
    if not tells:
        assert (kind != PARTS) == ('whole' in counts)
        return
    assert 'whole' not in counts
    if server.truth.streams:
        if not page.startswith('form'):
            assert counts.pop('ClientDisconnected', 0) + counts.pop('CancelledError', 0) == 1
        assert counts == {'begun': 1, 'ended': 1}


DOWNLOADS = ['generated', 'generated_later', 'iterated', 'opened', 'served']


def begin_download(server, page, name):
    sock = server.socket()
    sock.sendall(f'GET /{page}?name={name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'.encode())
    received = 0
    while received < 65536:
        received += len(sock.recv(65536))
    return sock


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('page', DOWNLOADS)
def test_a_client_gone_in_its_download_closes_the_body_once(server, name, page, way):
    position = len(server.printed)
    sock = begin_download(server, page, name)
    WAYS[way](sock)
    if way == 'half-close':
        with sock:
            rest = len(read_all(sock))
        assert (rest > 99 * MEGABYTE) == server.truth.half_closed_gets_all
    await_told(server, f'{name} ended', *([f'{name} closed'] if page != 'served' else []))
    assert 'Traceback' not in server.printed[position:]


@pytest.mark.parametrize('way', ['killed', 'RST'])
@pytest.mark.parametrize('page', ['waiting', 'waiting_later'])
def test_a_body_that_waits_is_closed_once_when_its_client_has_gone(server, name, page, way):
    position = len(server.printed)
    sock = begin_download(server, page, name)
    await_told(server, f'{name} waits')
    WAYS[way](sock)
    if not (server.truth.watches and page == 'waiting_later'):
        # A thread is not to be ended: the body is closed when it gives its next chunk.
        assert f'{name} closed' not in told(server)
        assert server.get(f'/release?whom={name}').text == 'released'
    await_told(server, f'{name} closed', f'{name} ended')
    assert 'Traceback' not in server.printed[position:]
