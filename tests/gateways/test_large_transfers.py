"""Large bodies through real servers, up and down: all of it arrives, and the process's memory stays what it was.

CPADAPTER_TEST_MEGABYTES sets the size of one body. What is sent is a block of random bytes over and over, of a length
that fits no buffer, checked by length and CRC-32 where it arrives.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from live import Live, command, free_port

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != 'linux', reason='memory is read from /proc'),
]

MEGABYTE = 1 << 20
SIZE = int(os.environ.get('CPADAPTER_TEST_MEGABYTES', '64')) * MEGABYTE
# What a body may add to the resident memory of the server's processes.
ROOM = 32 * MEGABYTE
BLOCK = random.Random(1).randbytes(MEGABYTE + 7)
SECONDS = 60 + SIZE / MEGABYTE / 4

APPLICATION = """
import contextvars
import gc
import os
import zlib

import cpadapter
from cpadapter.core.pipeline import Exchange

TOKEN = contextvars.ContextVar('token', default=None)
SIZE = int(os.environ['SIZE'])
with open('block', 'rb') as file:
    BLOCK = file.read()
made = {}


class Sum:
    def __init__(self):
        self.size = self.crc = 0

    def add(self, data):
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    def __str__(self):
        return f'{self.size} {self.crc}'


def sum_of(file):
    total = Sum()
    while data := file.read(65536):
        total.add(data)
    return str(total)


def blocks(name):
    left = SIZE
    while left:
        for start in range(0, len(BLOCK), 65536):
            data = BLOCK[start : start + 65536][:left]
            if not data:
                return
            left -= len(data)
            made[name] = made.get(name, 0) + len(data)
            yield data


streamed = cpadapter.config(**{'response.stream': True})
raw = cpadapter.config(**{'request.process_request_body': False})


class Root:
    @cpadapter.expose
    def index(self):
        return 'well'

    @cpadapter.expose
    async def later(self):
        return 'well'

    @cpadapter.expose
    def made(self, name):
        return str(made.get(name, 0))

    @cpadapter.expose
    @cpadapter.tools.json_out()
    def alive(self):
        gc.collect()
        exchanges = sum(type(one) is Exchange for one in gc.get_objects())
        return {'exchanges': exchanges, 'token': TOKEN.get()}

    @cpadapter.expose
    @cpadapter.tools.json_out()
    async def alive_later(self):
        return self.alive()

    # -- up

    @cpadapter.expose
    async def token_later(self):
        TOKEN.set('of another request')
        return await self.read_later()

    @cpadapter.expose
    def form(self, file, note):
        return f'{sum_of(file.file)} {note}'

    @cpadapter.expose
    async def form_later(self, file, note):
        return f'{sum_of(file.file)} {note}'

    @cpadapter.expose
    @raw
    async def parts_later(self):
        told = []
        async for part in cpadapter.request.body.aparts():
            if part.filename:
                told.append(sum_of(part.file))
                part.file.close()
            else:
                told.append(part.fullvalue())
        return ' '.join(told)

    @cpadapter.expose
    def read(self):
        total = Sum()
        while data := cpadapter.request.body.read(65536):
            total.add(data)
        return str(total)

    @cpadapter.expose
    async def read_later(self):
        total = Sum()
        while data := await cpadapter.request.body.aread(65536):
            total.add(data)
        return str(total)

    @cpadapter.expose
    async def iterate_later(self):
        total = Sum()
        async for data in cpadapter.request.body:
            total.add(data)
        return str(total)

    @cpadapter.expose
    def into_file(self):
        with cpadapter.request.body.read_into_file() as file:
            file.seek(0)
            return sum_of(file)

    @cpadapter.expose
    async def into_file_later(self):
        with await cpadapter.request.body.aread_into_file() as file:
            file.seek(0)
            return sum_of(file)

    # -- down

    @cpadapter.expose
    @streamed
    def generated(self, name=''):
        return blocks(name)

    @cpadapter.expose
    @streamed
    async def generated_later(self, name=''):
        async def chunks():
            for data in blocks(name):
                yield data

        return chunks()

    @cpadapter.expose
    @streamed
    def opened(self, name=''):
        return open('large', 'rb')

    @cpadapter.expose
    def served(self):
        return cpadapter.lib.static.serve_file(os.path.abspath('large'), 'application/octet-stream')


cpadapter.config.update({'server.max_request_body_size': 0})
static = {'tools.staticfile.on': True, 'tools.staticfile.filename': os.path.abspath('large')}
application = cpadapter.tree.mount(Root(), '/', {'/static': static})
"""

SERVERS = ('uvicorn', 'gunicorn-gthread', 'gunicorn-asgi', 'hypercorn', 'granian-asgi', 'granian-wsgi', 'waitress')


# As many threads as there are slow clients, and some.
OPTIONS = {'granian-wsgi': ('--blocking-threads', '16'), 'waitress': ('--threads', '16')}


def repeated(size):
    """Give the content of a body of so many bytes, in large pieces."""
    whole, rest = divmod(size, len(BLOCK))
    for _ in range(whole):
        yield BLOCK
    yield BLOCK[:rest]


def sum_of(chunks):
    size = crc = 0
    for data in chunks:
        size += len(data)
        crc = zlib.crc32(data, crc)
    return f'{size} {crc}'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('large')
    (folder / 'pages.py').write_text(APPLICATION, encoding='utf-8')
    (folder / 'block').write_bytes(BLOCK)
    with (folder / 'large').open('wb') as file:
        for data in repeated(SIZE):
            file.write(data)
    yield folder
    (folder / 'large').unlink()


@pytest.fixture(scope='module')
def expected():
    """What both sides must have seen of a whole body."""
    return sum_of(repeated(SIZE))


@pytest.fixture(scope='module', params=SERVERS)
def server(request, folder):
    name = request.param
    pytest.importorskip(name.partition('-')[0])
    own = folder / name
    own.mkdir()
    port = free_port()
    words = command(name, 'pages:application', port, *OPTIONS.get(name, ()))
    live = Live(words, port, folder, own / 'output', TMPDIR=str(own), SIZE=str(SIZE))
    live.name = name
    live.own = own
    try:
        live.ready()
        # What is made once is no part of what a body takes: modules, threads, loops, connections.
        for page in ('form', 'form_later', 'parts_later'):
            assert upload(live, page, 300_000, 'multipart').startswith('300000 ')
        for page in ('read', 'read_later'):
            assert upload(live, page, 300_000, 'octets').startswith('300000 ')
        assert live.get('/').text == 'well'
        yield live
    finally:
        live.kill()


def processes(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as file:
        children = file.read().split()
    return [pid, *(one for child in children for one in processes(int(child)))]


class Memory:
    """The most resident memory that any of a server's processes had more than at the beginning; in bytes."""

    def __init__(self, server):
        self.pids = processes(server.pid)
        self.before = {}
        for pid in self.pids:
            # Sets the peak back to what is resident now.
            with open(f'/proc/{pid}/clear_refs', 'w') as file:
                file.write('5')
            self.before[pid] = self.read(pid, 'VmRSS')

    def read(self, pid, field):
        with open(f'/proc/{pid}/status', encoding='ascii') as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

    @property
    def grown(self):
        return max(self.read(pid, 'VmHWM') - self.before[pid] for pid in self.pids)


def framed(kind, size, chunks=None):
    """Give the headers of an upload and its pieces."""
    chunks = repeated(size) if chunks is None else chunks
    if kind != 'multipart':
        return {'Content-Type': 'application/octet-stream', 'Content-Length': str(size)}, chunks
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
    end = b'\r\n--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nkept\r\n--b--\r\n'
    length = len(start) + size + len(end)
    headers = {'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': str(length)}
    return headers, (piece for pieces in ((start,), chunks, (end,)) for piece in pieces)


def upload(server, page, size, kind, chunks=None):
    headers, pieces = framed(kind, size, chunks)
    with contextlib.closing(server.connection(SECONDS)) as connection:
        return server.request('POST', f'/{page}', pieces, headers, connection).text


def record(server, what, memory, seconds):
    if 'CPADAPTER_TEST_MEGABYTES' in os.environ:
        speed = SIZE / MEGABYTE / seconds
        print(f'{server.name:<17} {what:<16} +{memory.grown / MEGABYTE:5.1f} MB {speed:7.0f} MB/s', flush=True)


@pytest.mark.parametrize(
    ('page', 'kind'),
    [
        ('form', 'multipart'),
        ('form_later', 'multipart'),
        ('parts_later', 'multipart'),
        ('read', 'octets'),
        ('read_later', 'octets'),
        ('iterate_later', 'octets'),
        ('into_file', 'octets'),
        ('into_file_later', 'octets'),
    ],
)
def test_a_large_upload_arrives_whole_and_stays_out_of_memory(server, expected, page, kind):
    memory = Memory(server)
    began = time.monotonic()
    answer = upload(server, page, SIZE, kind)
    record(server, page, memory, time.monotonic() - began)
    assert answer == (f'{expected} kept' if kind == 'multipart' else expected)
    assert memory.grown < ROOM
    server.until(lambda: not temporary_files(server), 5, 'no temporary file')


def temporary_files(server):
    return [path.name for path in server.own.iterdir() if path.name != 'output' and 'wgunicorn' not in path.name]


@pytest.mark.parametrize('page', ['generated', 'generated_later', 'opened', 'served', 'static'])
def test_a_large_download_arrives_whole_and_stays_out_of_memory(server, expected, page):
    memory = Memory(server)
    began = time.monotonic()
    with contextlib.closing(server.connection(SECONDS)) as connection:
        connection.request('GET', f'/{page}')
        response = connection.getresponse()
        assert response.status == 200
        answer = sum_of(iter(lambda: response.read(MEGABYTE), b''))
    record(server, page, memory, time.monotonic() - began)
    assert answer == expected
    assert memory.grown < ROOM


@pytest.mark.parametrize(
    ('page', 'kind'),
    [('form', 'multipart'), ('form_later', 'multipart'), ('read', 'octets'), ('token_later', 'octets')],
)
def test_a_connection_keeps_nothing_of_its_last_upload(server, page, kind):
    """A server that stops reading for a while and goes on when asked may do that in the context of who asks."""
    with contextlib.closing(server.connection(SECONDS)) as connection:
        for _ in range(3):
            headers, pieces = framed(kind, 3 * MEGABYTE)
            assert server.request('POST', f'/{page}', pieces, headers, connection).status == 200
        for look in ('/alive', '/alive_later'):
            own = {'exchanges': 1, 'token': None}
            server.until(lambda: server.get(look, connection=connection).json() == own, 3, f'{own} by {look}')  # noqa: B023


# ---------------------------------------------------------------------- slow clients

# Bytes a second, and for how many seconds; in steps of an eighth of a second.
PACE = 64 * 1024
TICKS = 24 if 'CPADAPTER_TEST_MEGABYTES' in os.environ else 12
# What is made ahead of a slow client: what sockets and servers hold of it.
AHEAD = 30 * MEGABYTE


def send_slowly(server, page, kind, ticks):
    """Upload at PACE and give the answer."""
    step = PACE // 8

    def chunks():
        for _ in range(TICKS):
            yield BLOCK[:step]
            ticks.wait(1 / 8)

    return upload(server, page, TICKS * step, kind, chunks())


def read_slowly(server, page, ticks):
    """Download at PACE for a while, then go; give the bytes that were read."""
    received = 0
    with server.socket() as sock:
        sock.sendall(f'GET /{page}?name={page} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
        for _ in range(TICKS):
            received += len(sock.recv(PACE // 8))
            ticks.wait(1 / 8)
    return received


def test_slow_clients_cost_neither_memory_nor_the_time_of_others(server):
    memory = Memory(server)
    nobody = threading.Event()
    up = [('form', 'multipart'), ('form_later', 'multipart'), ('read', 'octets'), ('read_later', 'octets')]
    # waitress itself keeps 16 MB of each response ready in memory.
    down = ['generated', 'generated_later', 'opened'][: 1 if server.name == 'waitress' else 3]
    slowest = 0.0
    with ThreadPoolExecutor(len(up) + len(down)) as pool:
        uploads = [pool.submit(send_slowly, server, page, kind, nobody) for page, kind in up]
        downloads = [pool.submit(read_slowly, server, page, nobody) for page in down]
        while not all(one.done() for one in uploads):
            for path in ('/', '/later'):
                began = time.monotonic()
                assert server.get(path).text == 'well'
                slowest = max(slowest, time.monotonic() - began)
                nobody.wait(0.02)
        for one, (_, kind) in zip(uploads, up, strict=True):
            expected = sum_of([BLOCK[: PACE // 8]] * TICKS)
            assert one.result() == (f'{expected} kept' if kind == 'multipart' else expected)
        assert [one.result() > PACE for one in downloads] == [True] * len(downloads)
    assert slowest < 1
    assert memory.grown < ROOM
    assert int(server.get('/made?name=generated').text) < AHEAD
    assert int(server.get('/made?name=generated_later').text) < AHEAD
