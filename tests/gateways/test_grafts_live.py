"""Grafted applications and lifespans over real servers: what arrives, what is held, what is closed, what is told."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from live import Live, command, free_port

pytestmark = pytest.mark.live

PAGES = f"""
import asyncio
import json
import os
import sys
import threading

sys.path.insert(0, {str(Path(__file__).parent)!r})

import cpadapter
import grafted

seen = []
made = dict(plain=0, later=0)
CHUNK = b'x' * 65536


def plain_endless():
    try:
        while True:
            made['plain'] += 1
            yield CHUNK
    finally:
        seen.append('plain closed')


async def later_endless():
    try:
        while True:
            made['later'] += 1
            yield CHUNK
            await asyncio.sleep(0)
    finally:
        seen.append('later closed')


def wsgi(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/endless':
        return plain_endless()
    write = []
    for piece in iter(lambda: environ['wsgi.input'].read(65536), b''):
        write.append(len(piece))
    return [json.dumps([environ['SCRIPT_NAME'], environ['PATH_INFO'], sum(write)]).encode()]


async def asgi(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            message = await receive()
            seen.append(message['type'])
            await send(dict(type=message['type'] + '.complete'))
            if message['type'] == 'lifespan.shutdown':
                print('child told to stop', flush=True)
                return
    await send(dict(type='http.response.start', status=200, headers=[(b'content-type', b'text/plain')]))
    path = scope['path'].removeprefix(scope['root_path'])
    if path == '/endless':
        stopping = asyncio.ensure_future(left(receive))
        task = asyncio.current_task()
        # A server may go on waiting for a client that has gone.
        stopping.add_done_callback(lambda stopping: stopping.cancelled() or task.cancel())
        chunks = later_endless()
        try:
            async for chunk in chunks:
                await send(dict(type='http.response.body', body=chunk, more_body=True))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            await chunks.aclose()
            stopping.cancel()
        return
    length = 0
    more = True
    while more:
        message = await receive()
        length += len(message.get('body', b''))
        more = message.get('more_body', False)
    body = json.dumps([scope['root_path'], path, length]).encode()
    await send(dict(type='http.response.body', body=body))


async def left(receive):
    while (await receive())['type'] != 'http.disconnect':
        pass


async def fails(scope, receive, send):
    message = await receive()
    await send(dict(type='lifespan.startup.failed', message='the child has no database'))


class Root:
    @cpadapter.expose
    @cpadapter.tools.json_out()
    def seen(self):
        return dict(made, seen=seen, threads=threading.active_count())


async def share():
    cpadapter.engine.shared['loop'] = id(asyncio.get_running_loop())


async def stopped():
    print('engine told to stop', flush=True)


cpadapter.engine.subscribe('start', share)
cpadapter.engine.subscribe('stop', stopped)
application = cpadapter.tree
application.mount(Root())
application.graft(wsgi, '/wsgi')
application.graft(asgi, '/asgi')
application.graft(grafted.flask(), '/flask')
application.graft(grafted.starlette(), '/starlette')
if os.environ.get('GRAFT_FAILS'):
    application.graft(fails, '/fails')
"""

SERVERS = ('uvicorn', 'gunicorn-gthread', 'gunicorn-asgi', 'hypercorn')


@contextlib.contextmanager
def serving(name, tmp_path, *options, **environ):
    (tmp_path / 'pages.py').write_text(PAGES, encoding='utf-8')
    pytest.importorskip(name.partition('-')[0])
    pytest.importorskip('flask')
    pytest.importorskip('starlette')
    port = free_port()
    words = command(name, 'pages:application', port, *options)
    server = Live(words, port, tmp_path, tmp_path / 'output', **environ)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(params=SERVERS)
def server(request, tmp_path):
    with serving(request.param, tmp_path) as server:
        yield server.ready()


def until(true, timeout, what):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_both_kinds_are_reached_fed_and_closed(server):
    body = b'y' * 1_000_000
    for kind in ('wsgi', 'asgi'):
        answer = server.request('POST', f'/{kind}/a%2Fb/c?x=1', body)
        assert answer.json() == [f'/{kind}', '/a/b/c', 1_000_000]
        chunks = server.request('POST', f'/{kind}/x', iter([b'z' * 100_000] * 3))
        assert chunks.json() == [f'/{kind}', '/x', 300_000]
    for framework in ('flask', 'starlette'):
        assert server.get(f'/{framework}/where/x?q=1').json() == [f'/{framework}', '/where/x', 'q=1']
        # Starlette, also when served alone, loses a body it echoes where a server speaks an older version than 2.4.
        if framework == 'flask' or 'gunicorn' in server.words[2]:
            assert server.request('POST', f'/{framework}/echo', body).body == body
        answer = server.get(f'/{framework}/redirect')
        assert answer.headers['location'].endswith(f'/{framework}/where/there')
        assert server.get(f'/{framework}/boom').status == 500
    assert len(server.get('/starlette/download').body) == 80 * 65536
    assert server.get('/seen').json()['seen'].count('lifespan.startup') == 1
    # A client that leaves: the generator of each is closed.
    for kind, name in (('wsgi', 'plain'), ('asgi', 'later')):
        with server.socket() as sock:
            sock.sendall(f'GET /{kind}/endless HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
            assert sock.recv(65536)
        left = time.monotonic()
        until(lambda name=name: f'{name} closed' in server.get('/seen').json()['seen'], 5, f'{kind} is closed')
        # One that is being sent to knows with the next chunk; the rest is the machine's.
        assert time.monotonic() - left < 3
    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert 'child told to stop' in server.printed
    assert server.printed.index('child told to stop') < server.printed.index('engine told to stop')


@pytest.mark.parametrize('kind', ['wsgi', 'asgi'])
def test_a_client_that_does_not_read_holds_little(server, kind):
    name = {'wsgi': 'plain', 'asgi': 'later'}[kind]
    with socket.socket() as sock:
        # What the two kernels keep, and nothing else, is between the application and its client.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(10)
        sock.connect(('127.0.0.1', server.port))
        sock.sendall(f'GET /{kind}/endless HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        assert sock.recv(1)
        counts = []

        def steady():
            counts.append(server.get('/seen').json()[name])
            return len(counts) > 20 and len(set(counts[-20:])) == 1

        until(steady, 15, 'the generator pauses')
        # Kernels grow what they buffer up to some megabytes.
        assert counts[-1] < 160


@pytest.mark.parametrize('name', ['uvicorn', 'hypercorn', 'granian-asgi', 'gunicorn-asgi'])
def test_a_failing_startup_ends_the_server_with_the_message(name, tmp_path):
    with serving(name, tmp_path, GRAFT_FAILS='1') as server:
        # hypercorn ends with 0 whatever the application's startup said.
        assert (server.wait(20) != 0) == (name != 'hypercorn')
        assert 'the child has no database' in server.printed
        assert not server.connects()


def test_no_lifespan_at_all_is_no_hindrance(tmp_path):
    with serving('uvicorn', tmp_path, '--lifespan', 'off') as server:
        server.ready()
        assert server.get('/asgi/x').json() == ['/asgi', '/x', 0]
        assert server.get('/seen').json()['seen'] == ['lifespan.startup']
        assert server.end() in (0, -signal.SIGTERM)


OWN = """
import asyncio
import os
import sys
import urllib.request

import cpadapter

loops = {}


def note(name):
    loops.setdefault(id(asyncio.get_running_loop()), []).append(name)


async def start():
    if os.environ.get('FAILS'):
        raise LookupError('no database')
    note('start')


async def stop():
    note('stop')


async def child(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            message = await receive()
            note(message['type'])
            await send({'type': message['type'] + '.complete'})
            if message['type'] == 'lifespan.shutdown':
                return
    note('child')
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'child'})


class Root:
    @cpadapter.expose
    async def index(self):
        note('page')
        return 'page'


cpadapter.engine.subscribe('start', start)
cpadapter.engine.subscribe('stop', stop)
cpadapter.tree.mount(Root())
cpadapter.tree.graft(child, '/child')
cpadapter.config.update({
    'server.socket_port': int(sys.argv[2]),
    'server.adapter': sys.argv[1],
    'engine.autoreload.on': False,
})
cpadapter.engine.start()
for path in ('/', '/child/'):
    urllib.request.urlopen(f'http://127.0.0.1:{sys.argv[2]}{path}').read()
cpadapter.engine.exit()
print(*loops.values())
"""


def run_own(tmp_path, name, **environ):
    (tmp_path / 'own.py').write_text(OWN, encoding='utf-8')
    pytest.importorskip(name)
    port = free_port()
    live = Live([sys.executable, 'own.py', name, str(port)], port, tmp_path, tmp_path / 'output', **environ)
    try:
        return live.wait(20), live.printed
    finally:
        live.kill()


@pytest.mark.parametrize('name', ['uvicorn', 'hypercorn', 'waitress'])
def test_in_a_process_of_our_own_all_that_is_async_shares_the_loop_of_the_pages(name, tmp_path):
    code, printed = run_own(tmp_path, name)
    assert code == 0, printed
    kinds = ['start', 'lifespan.startup', 'page', 'child', 'lifespan.shutdown', 'stop']
    assert printed.splitlines()[-1] == str(kinds), printed


@pytest.mark.parametrize('name', ['uvicorn', 'hypercorn', 'waitress'])
def test_a_failing_async_listener_ends_a_process_of_our_own(name, tmp_path):
    code, printed = run_own(tmp_path, name, FAILS='1')
    assert code not in (0, None)
    assert 'no database' in printed
