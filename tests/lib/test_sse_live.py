"""Event streams over real servers: comments and events as they come, clients that leave, servers that end."""

from __future__ import annotations

import signal
import time

import pytest
from live import Live, command, free_port

pytestmark = pytest.mark.live

APP = """
import asyncio
import queue
import time

import cpadapter
from cpadapter.lib import sse

channel = sse.Channel()


def say(text):
    print(text, flush=True)


class Root:
    @cpadapter.expose
    def health(self):
        return 'ok'

    @cpadapter.expose
    def say(self, text):
        return channel.publish(text)

    @cpadapter.expose
    def slow(self):
        time.sleep(1)
        return 'slow'

    @cpadapter.expose
    @cpadapter.tools.sse()
    def ticks(self):
        while True:
            time.sleep(0.05)
            yield 'tick'

    @cpadapter.expose
    @cpadapter.tools.sse(ping=1)
    async def later(self):
        try:
            yield 'first'
            await asyncio.sleep(600)
        finally:
            say('closed')

    @cpadapter.expose
    @cpadapter.tools.sse(ping=1)
    async def queued(self):
        try:
            yield 'first'
            await asyncio.Queue().get()
        finally:
            say('closed')

    @cpadapter.expose
    @cpadapter.tools.sse(ping=1)
    def plain(self):
        try:
            yield 'first'
            for event in channel.subscribe(sse.last_event_id()):
                yield event
        finally:
            say('closed')

    @cpadapter.expose
    @cpadapter.tools.sse(ping=1)
    def subscribed(self):
        return channel.subscribe(sse.last_event_id())


cpadapter.config.update({'checker.on': False, 'server.thread_pool': 4})
application = cpadapter.Application(Root())
cpadapter.engine.subscribe('stop', lambda: say('stopped'))
"""
SERVERS = ['uvicorn', 'gunicorn-asgi', 'gunicorn-gthread', 'hypercorn']
# Exit codes: uvicorn raises the signal again, once it has ended.
CODES = (0, -signal.SIGTERM)


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(name, *options):
        (tmp_path / 'served.py').write_text(APP)
        port = free_port()
        words = command(name, 'served:application', port, *options)
        servers.append(Live(words, port, tmp_path, tmp_path / f'output{len(servers)}'))
        return servers[-1].ready()

    yield start
    for live in servers:
        live.kill()


def open_stream(live, path, *until, **headers):
    """Ask for a stream and read up to each of the texts; give the connection and what came."""
    sock = live.socket(15)
    lines = ''.join(f'{name.replace("_", "-")}: {value}\r\n' for name, value in headers.items())
    sock.sendall(f'GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n'.encode())
    return sock, read_until(sock, *until)


def read_until(sock, *texts, data=b''):
    for text in texts:
        while text not in data:
            more = sock.recv(65536)
            assert more, f'it ended before {text!r}: {data!r}'
            data += more
    return data


@pytest.mark.parametrize('name', SERVERS)
def test_events_come_as_they_are_told_and_a_client_resumes(serve, name):
    live = serve(name)
    sock, _ = open_stream(live, '/subscribed', b'event-stream', b':\n\n')
    try:
        first = live.get('/say?text=one').text
        read_until(sock, f'id: {first}\ndata: one\n\n'.encode())
        # Each comment is on its way by itself.
        read_until(sock, b':\n\n')
    finally:
        sock.close()
    live.get('/say?text=two')
    again, data = open_stream(live, '/subscribed', b'data: two\n\n', Last_Event_ID=first)
    again.close()
    assert b'data: one' not in data


@pytest.mark.parametrize('path', ['/later', '/queued', '/plain'])
@pytest.mark.parametrize('name', ['uvicorn', 'gunicorn-asgi', 'hypercorn', 'gunicorn-gthread'])
def test_a_generator_is_closed_soon_after_its_client_has_left(serve, name, path):
    live = serve(name)
    sock, _ = open_stream(live, path, b'data: first\n\n')
    sock.close()
    started = time.monotonic()
    live.until(lambda: 'closed' in live.printed, 10, 'the close')
    # Under WSGI it is noticed once a second, or when a comment cannot be sent.
    assert time.monotonic() - started < (3.5 if name == 'gunicorn-gthread' else 1.5)
    assert live.get('/health').text == 'ok'
    assert 'Traceback' not in live.printed


@pytest.mark.parametrize('name', ['uvicorn', 'gunicorn-asgi'])
def test_streams_do_not_wait_behind_page_handlers_that_fill_the_pool(serve, name):
    live = serve(name)
    # Four threads, a second each: ten seconds of work.
    slow = [live.socket() for _ in range(40)]
    sock, _ = open_stream(live, '/ticks', b'data: tick\n\n')
    try:
        for one in slow:
            one.sendall(b'GET /slow HTTP/1.1\r\nHost: test\r\n\r\n')
        read_until(slow[0], b'slow')
        started = time.monotonic()
        data = b''
        while data.count(b'data: tick') < 20:
            data += sock.recv(65536)
        assert time.monotonic() - started < 4
    finally:
        sock.close()
        for one in slow:
            one.close()


@pytest.mark.parametrize('path', ['/later', '/subscribed', '/plain'])
@pytest.mark.parametrize('name', SERVERS)
def test_a_server_that_is_told_to_end_ends_in_spite_of_open_streams(serve, name, path):
    live = serve(name)
    sock, _ = open_stream(live, path, b'event-stream', b'\n\n')
    try:
        live.send(signal.SIGTERM)
        rest = b''
        while chunk := sock.recv(65536):
            rest += chunk
        assert live.wait(10) in CODES
    finally:
        sock.close()
    # hypercorn shows it to nobody, and closes the connection after its grace time.
    assert name == 'hypercorn' or rest.endswith(b'0\r\n\r\n')
    assert ('closed' in live.printed) == (path != '/subscribed')
    assert 'stopped' in live.printed


@pytest.mark.parametrize(
    ('name', 'options'), [('granian-asgi', ['--workers-kill-timeout', '2']), ('waitress', []), ('gunicorn', [])]
)
def test_other_servers_end_in_time_too(serve, name, options):
    live = serve(name, *options)
    sock, _ = open_stream(live, '/later', b'data: first\n\n')
    try:
        live.send(signal.SIGTERM)
        while sock.recv(65536):
            pass
        assert live.wait(10) in CODES
    finally:
        sock.close()
