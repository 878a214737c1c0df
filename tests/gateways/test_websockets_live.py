"""WebSockets over real servers, with a client library of another house: what travels, who closes, what is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time

import pytest
from live import COMMANDS, Live, command, free_port, reset
from websockets.asyncio.client import connect as aconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.live

PAGES = """
import asyncio, gc, os, resource, threading, time
import cpadapter

counts = {'open': 0, 'ended': 0}
codes = []

class Root:
    @cpadapter.expose
    def health(self):
        return 'fine'

    @cpadapter.expose
    async def state(self):
        cpadapter.response.headers['Content-Type'] = 'application/json'
        import json
        with open('/proc/self/statm') as file:
            rss = int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')
        gc.collect()
        exchanges = sum(type(o).__name__ == 'Exchange' for o in gc.get_objects())
        tasks = len(asyncio.all_tasks())
        return json.dumps({**counts, 'codes': codes, 'rss': rss, 'exchanges': exchanges, 'tasks': tasks}).encode()

    @cpadapter.websocket(subprotocols=['chat.v2', 'chat.v1'])
    async def echo(self, ws, prefix=''):
        counts['open'] += 1
        try:
            async for message in ws:
                await ws.send(prefix + message if prefix else message)
        finally:
            counts['open'] -= 1
            counts['ended'] += 1
            codes.append(ws.close_code)

    @cpadapter.websocket
    def blocking(self, ws):
        try:
            for message in ws:
                ws.send(f'{threading.current_thread().name}:{message}')
        finally:
            codes.append(ws.close_code)

    @cpadapter.websocket
    async def closes(self, ws, code='1000'):
        await ws.accept()
        await ws.close(int(code), 'enough')

    @cpadapter.websocket
    async def raises(self, ws):
        await ws.receive()
        raise ZeroDivisionError('oops')

    @cpadapter.websocket
    async def denied(self, ws):
        cpadapter.response.headers['X-Why'] = 'full'
        raise cpadapter.HTTPError(409, 'The room is full.')

    @cpadapter.websocket(max_size=64 << 20)
    async def large(self, ws):
        async for message in ws:
            await ws.send(str(len(message)))

    @cpadapter.websocket
    async def unread(self, ws):
        await ws.accept()
        await asyncio.sleep(10)

    @cpadapter.websocket
    async def flood(self, ws):
        await ws.accept()
        codes.append('flood')
        sent = 0
        try:
            while True:
                await ws.send(b'x' * 65536)
                counts['open'] = sent = sent + 1
                await asyncio.sleep(0)
        finally:
            codes.append('flooded')

    @cpadapter.websocket
    async def counter(self, ws):
        cpadapter.session['n'] = cpadapter.session.get('n', 0) + 1
        await ws.send(f"{cpadapter.request.login} {cpadapter.session['n']}")
        async for _ in ws:
            pass

config = {'/counter': {
    'tools.sessions.on': True,
    'tools.auth_basic.on': True,
    'tools.auth_basic.realm': 'here',
    'tools.auth_basic.checkpassword': lambda realm, user, password: (user, password) == ('ann', 'secret'),
}}
cpadapter.config.update({'server.thread_pool': 1})
application = cpadapter.tree.mount(Root(), '', config)
"""

SERVERS = {
    'uvicorn': ('uvicorn', ()),
    'uvicorn-websockets-sansio': ('uvicorn', ('--ws', 'websockets-sansio')),
    'uvicorn-wsproto': ('uvicorn', ('--ws', 'wsproto')),
    'hypercorn': ('hypercorn', ()),
    'granian': ('granian-asgi', ()),
    'gunicorn-asgi': ('gunicorn-asgi', ('--graceful-timeout', '2')),
}
# What a server does otherwise than its fellows.
NO_DENIAL = {'gunicorn-asgi'}
NO_CODES = {'hypercorn'}
GOING = {'granian': 1006, 'gunicorn-asgi': 1006}


@contextlib.contextmanager
def serving(name, folder, *options):
    (folder / 'wspages.py').write_text(PAGES)
    server, more = SERVERS[name]
    port = free_port()
    live = Live(command(server, 'wspages:application', port, *more, *options), port, folder, folder / 'output')
    try:
        yield live.ready()
    finally:
        live.kill()


@pytest.fixture(scope='module', params=SERVERS)
def live(request, tmp_path_factory):
    with serving(request.param, tmp_path_factory.mktemp('ws')) as live:
        live.name = request.param
        yield live


def url(live, path):
    return f'ws://127.0.0.1:{live.port}/{path}'


def open_socket(live, path, **more):
    return connect(url(live, path), open_timeout=10, close_timeout=10, proxy=None, **more)


def state(live):
    return live.get('/state').json()


def test_text_binary_and_fragments_come_back(live):
    with open_socket(live, 'echo') as ws:
        ws.send('grüß')
        assert ws.recv(10) == 'grüß'
        ws.send(b'\x00\xff')
        assert ws.recv(10) == b'\x00\xff'
        ws.send(iter(['one ', 'two ', 'three']))
        assert ws.recv(10) == 'one two three'
        ws.send('')
        assert ws.recv(10) == ''
        ws.send('x' * 500_000)
        assert len(ws.recv(10)) == 500_000
    with open_socket(live, 'echo/a?') as ws:
        ws.send('b')
        assert ws.recv(10) == 'ab'


def test_a_ping_is_answered(live):
    with open_socket(live, 'echo') as ws:
        assert ws.ping().wait(10)


def test_the_subprotocol_is_ours_first_choice(live):
    for offered, chosen in ((['chat.v1', 'chat.v2'], 'chat.v2'), (['other', 'chat.v1'], 'chat.v1'), (['other'], None)):
        with open_socket(live, 'echo', subprotocols=offered) as ws:
            ws.send('x')
            assert ws.recv(10) == 'x'
            assert ws.subprotocol == chosen


@pytest.mark.parametrize('code', [1000, 1001, 1008, 1011, 3000, 4999])
def test_our_close_code_and_reason_reach_the_client(live, code):
    with open_socket(live, f'closes/{code}') as ws:
        with pytest.raises(ConnectionClosed):
            ws.recv(10)
        assert (ws.close_code, ws.close_reason) == (code, 'enough')


@pytest.mark.parametrize('code', [1000, 1001, 4001])
def test_the_clients_close_code_reaches_the_handler(live, code):
    before = len(state(live)['codes'])
    with open_socket(live, 'echo') as ws:
        ws.send('x')
        assert ws.recv(10) == 'x'
        ws.close(code, 'bye')
    live.until(lambda: len(state(live)['codes']) > before)
    assert state(live)['codes'][before:] == [1006 if live.name in NO_CODES else code]


def test_an_abrupt_end_ends_the_handler(live):
    before = state(live)
    sock = handshake(live, 'echo')
    sock.sendall(b'\x81\x81\0\0\0\0x')
    assert sock.recv(10) == b'\x81\x01x'
    reset(sock)
    live.until(lambda: state(live)['ended'] > before['ended'])
    assert state(live)['codes'][-1] in (1005, 1006)
    assert live.get('/health').text == 'fine'


def handshake(live, path):
    """Open a socket by hand, on a connection that takes little before it is read from."""
    sock = live.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.sendall(
        f'GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'.encode()
    )
    answer = b''
    while not answer.endswith(b'\r\n\r\n'):
        answer += sock.recv(1)
    assert answer.startswith(b'HTTP/1.1 101 ')
    return sock


def test_a_handler_that_raises_closes_with_1011(live):
    with open_socket(live, 'raises') as ws:
        ws.send('x')
        with pytest.raises(ConnectionClosed):
            ws.recv(10)
        assert ws.close_code == 1011
    assert live.get('/health').text == 'fine'


def test_a_denial_has_status_headers_and_body(live):
    with pytest.raises(InvalidStatus) as info, open_socket(live, 'denied'):
        pass
    response = info.value.response
    if live.name in NO_DENIAL:
        assert response.status_code == 403
        return
    assert response.status_code == 409
    assert b'The room is full.' in response.body
    assert response.headers['X-Why'] == 'full'


@pytest.mark.parametrize('path', ['health', 'nowhere'])
def test_what_is_no_web_socket_denies(live, path):
    with pytest.raises(InvalidStatus) as info, open_socket(live, path):
        pass
    assert info.value.response.status_code == (403 if live.name in NO_DENIAL else 404)


def test_asked_for_by_http_it_answers_426(live):
    answer = live.get('/echo')
    assert answer.status == 426
    assert answer.headers['upgrade'] == 'websocket'
    assert 'There is a WebSocket here' in answer.text


def test_pages_of_other_origins_are_refused(live):
    with pytest.raises(InvalidStatus) as info, open_socket(live, 'echo', origin='https://evil.example'):
        pass
    assert info.value.response.status_code == 403
    with open_socket(live, 'echo', origin=f'http://127.0.0.1:{live.port}') as ws:
        ws.send('x')
        assert ws.recv(10) == 'x'


def test_session_and_basic_auth_work_at_the_handshake(live):
    with pytest.raises(InvalidStatus) as info, open_socket(live, 'counter'):
        pass
    if live.name not in NO_DENIAL:
        assert info.value.response.status_code == 401
        assert 'Basic' in info.value.response.headers['WWW-Authenticate']
    good = {'Authorization': 'Basic YW5uOnNlY3JldA=='}
    with open_socket(live, 'counter', additional_headers=good) as ws:
        assert ws.recv(10) == 'ann 1'
        if live.name == 'granian':
            # It sends no header of an application's with the handshake.
            assert 'Set-Cookie' not in ws.response.headers
            return
        cookie = ws.response.headers['Set-Cookie'].partition(';')[0]
        # While the first is open.
        with open_socket(live, 'counter', additional_headers={**good, 'Cookie': cookie}) as again:
            assert again.recv(10) == 'ann 2'


def test_a_message_over_the_pages_limit_closes_with_1009(live):
    with open_socket(live, 'echo') as ws:
        ws.send('x' * (1 << 20))
        assert len(ws.recv(10)) == 1 << 20
        with pytest.raises(ConnectionClosed):
            ws.send('x' * 10_000_000)
            ws.recv(10)
        assert ws.close_code == 1009


def test_a_page_may_take_more(live):
    with open_socket(live, 'large') as ws:
        ws.send(b'x' * 10_000_000)
        assert ws.recv(20) == '10000000'


def test_plain_handlers_run_beside_pages(live):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(open_socket(live, 'blocking')) for _ in range(5)]
        for i, ws in enumerate(sockets):
            ws.send(str(i))
        answers = [ws.recv(10) for ws in sockets]
        assert [answer.rpartition(':')[2] for answer in answers] == list('01234')
        assert len({answer.partition(':')[0] for answer in answers}) == 5
        # There is one thread for pages.
        assert live.get('/health').text == 'fine'


def test_a_client_that_reads_nothing_stops_the_sender(live):
    before = state(live)
    with handshake(live, 'flood') as sock:
        live.until(lambda: 'flood' in state(live)['codes'][len(before['codes']) :])
        seen = []

        def settled():
            seen.append(state(live)['open'])
            return len(seen) > 3 and len(set(seen[-3:])) == 1

        live.until(settled)
        assert state(live)['rss'] - before['rss'] < 40_000_000
        reset(sock)
    live.until(lambda: 'flooded' in state(live)['codes'][len(before['codes']) :])


def test_messages_that_nobody_takes_are_not_heaped_up(live):
    before = state(live)
    with handshake(live, 'unread') as sock:
        sock.settimeout(1)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 200:
                sock.sendall(b'\x82\xff' + (1_000_000).to_bytes(8, 'big') + bytes(4 + 1_000_000))
                sent += 1
        print(live.name, sent)
        assert sent < 100
        assert state(live)['rss'] - before['rss'] < 120_000_000
        assert live.get('/health').text == 'fine'
        reset(sock)


PINGS = """
import cpadapter
from wspages import Root
cpadapter.quickstart(Root(), '', {'global': {
    'server.adapter': '%s', 'server.socket_port': %d, 'server.websocket_ping_interval': 0.2,
    'server.websocket_max_size': 100, 'log.screen': False, 'engine.autoreload.on': False}})
"""


@pytest.mark.parametrize('name', ['uvicorn', 'hypercorn'])
def test_the_servers_settings_reach_it(name, tmp_path):
    port = free_port()
    (tmp_path / 'wspages.py').write_text(PAGES)
    live = Live([sys.executable, '-c', PINGS % (name, port)], port, tmp_path, tmp_path / 'output')
    try:
        live.ready()
        with handshake(live, 'echo') as sock:
            assert sock.recv(1) == b'\x89'
        with open_socket(live, 'echo') as ws:
            ws.send('x' * 101)
            with pytest.raises(ConnectionClosed):
                ws.recv(10)
            assert ws.close_code == 1009
    finally:
        live.kill()


@pytest.mark.parametrize('name', SERVERS)
def test_a_server_that_ends_ends_the_sockets(name, tmp_path):
    with serving(name, tmp_path) as live:
        with open_socket(live, 'echo') as ws, open_socket(live, 'blocking') as plain:
            for one in (ws, plain):
                one.send('x')
                one.recv(10)
            live.send(signal.SIGTERM)
            for one in (ws, plain):
                with pytest.raises(ConnectionClosed) as info:
                    one.recv(10)
                assert (info.value.rcvd.code if info.value.rcvd else 1006) == GOING.get(name, 1012)
        live.wait(15)
        # Of ours; hypercorn prints one of its own.
        assert '/cpadapter/' not in live.printed


def test_a_thousand_sockets_are_served_at_once(tmp_path):
    number = 1000

    async def talk(live):
        begin = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            sockets = []
            for start in range(0, number, 50):
                opened = [
                    aconnect(url(live, 'echo'), proxy=None, compression=None, open_timeout=20, ping_interval=None)
                    for _ in range(start, start + 50)
                ]
                sockets += await asyncio.gather(*(stack.enter_async_context(one) for one in opened))

            async def ask(ws, text):
                await ws.send(text)
                assert await ws.recv() == text

            await asyncio.gather(*(ask(ws, str(i)) for i, ws in enumerate(sockets)))
            opened = await asyncio.to_thread(state, live)
            assert opened['open'] == number
            took = time.monotonic() - begin
        return opened, took

    with serving('uvicorn', tmp_path, '--backlog', '2048') as live:
        live.get('/health')
        before = state(live)
        opened, took = asyncio.run(asyncio.wait_for(talk(live), 20))
        live.until(lambda: state(live)['open'] == 0)
        after = state(live)
        assert after['exchanges'] <= before['exchanges'] + 1
        assert after['tasks'] <= before['tasks'] + 1
        print(json.dumps({'took': took, 'kB each': (opened['rss'] - before['rss']) / number / 1024}), file=sys.stderr)


def test_the_commands_of_all_asgi_servers_are_here():
    assert {server for server, _ in SERVERS.values()} == {
        name for name in COMMANDS if name in ('uvicorn', 'hypercorn', 'granian-asgi', 'gunicorn-asgi')
    }
