"""The one event loop for async code under WSGI: made after the fork, shared by all requests, closed at the end."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
import time
from weakref import WeakSet

import pytest
from live import Live, command, free_port

import cpadapter
from cpadapter.gateways.bridge import LoopThread

OWN = contextvars.ContextVar('own', default='nothing')

# A client that keeps its connections, made at the first request of a process, asks a server of the test's.
SHARED = """
import asyncio
import os
import threading

import httpx

import cpadapter
from cpadapter.gateways import bridge

assert bridge.LoopThread._current is None
clients = []


class Root:
    @cpadapter.expose
    @cpadapter.tools.json_out()
    async def index(self, url):
        if not clients:
            clients.append(httpx.AsyncClient())
        answers = await asyncio.gather(*(clients[0].get(url) for _ in range(2)))
        loops = [thread for thread in threading.enumerate() if thread.name == 'cpadapter-loop']
        return {
            'pid': os.getpid(),
            'texts': [answer.text for answer in answers],
            'loop': id(asyncio.get_running_loop()),
            'loops': len(loops),
        }



cpadapter.engine.subscribe('exit', lambda: print('EXIT', flush=True))
application = cpadapter.tree.mount(Root())
"""
ANSWERING = """
connections = set()


async def application(scope, receive, send):
    if scope['type'] != 'http':
        return
    connections.add(tuple(scope['client']))
    body = str(len(connections)).encode()
    headers = [(b'content-length', b'%d' % len(body))]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})
"""


@pytest.mark.live
def test_requests_share_a_client_and_its_connections_in_each_worker(tmp_path):
    for name in ('gunicorn', 'httpx', 'uvicorn'):
        pytest.importorskip(name)
    (tmp_path / 'shared.py').write_text(SHARED, encoding='utf-8')
    (tmp_path / 'answering.py').write_text(ANSWERING, encoding='utf-8')
    ports = free_port(), free_port()
    words = command('gunicorn-gthread', 'shared:application', ports[0], '--workers', '2', '--preload')
    live = Live(words, ports[0], tmp_path, tmp_path / 'output')
    other = Live(command('uvicorn', 'answering:application', ports[1]), ports[1], tmp_path, tmp_path / 'other')
    try:
        live.ready()
        other.ready()
        found = {}
        deadline = time.monotonic() + 10
        asked = 0
        while (len(found) < 2 or asked < 40) and time.monotonic() < deadline:
            told = live.get(f'/?url=http://127.0.0.1:{ports[1]}/').json()
            found.setdefault(told['pid'], set()).add((told['loop'], told['loops']))
            count = max(map(int, told['texts']))
            asked += 1
        assert len(found) == 2
        # One loop in each process, in one thread.
        assert [len(loops) for loops in found.values()] == [1, 1]
        assert {loops for one in found.values() for _, loops in one} == {1}
        # Two connections for each worker, and not two for each request.
        assert count <= 4 + 1
        assert live.pid not in found
        live.end(signal.SIGTERM)
        assert 'Traceback' not in live.printed
        assert live.printed.count('EXIT') >= 2
    finally:
        live.kill()
        other.kill()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Let sites that tests before these have left running keep no loop."""
    monkeypatch.setattr('cpadapter.core.site._sites', WeakSet())


def loops():
    return [thread for thread in threading.enumerate() if thread.name == 'cpadapter-loop']


def test_the_loop_is_closed_when_the_engine_exits(wsgi):
    seen = []

    class Root:
        @cpadapter.expose
        async def index(self):
            seen.append(asyncio.get_running_loop())
            return 'x'

    wsgi.mount(Root())
    wsgi.get('/')
    thread = LoopThread.get().thread
    wsgi.site.engine.exit()
    thread.join(5)
    assert not thread.is_alive()
    assert seen[0].is_closed()


def test_another_site_keeps_the_loop(wsgi, make_client):
    class Root:
        @cpadapter.expose
        async def index(self):
            return str(id(asyncio.get_running_loop()))

    other = make_client('wsgi')
    other.mount(Root())
    wsgi.mount(Root())
    first = other.get('/').text
    assert wsgi.get('/').text == first
    wsgi.site.engine.exit()
    assert other.get('/').text == first


def test_what_runs_on_the_loop_is_cancelled_at_the_end(wsgi):
    ended = []

    async def forever():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    class Root:
        tasks = []

        @cpadapter.expose
        async def index(self):
            self.tasks.append(asyncio.get_running_loop().create_task(forever()))
            await asyncio.sleep(0)
            return 'x'

    wsgi.mount(Root())
    wsgi.get('/')
    wsgi.site.engine.exit()
    assert ended == [1]


def test_an_async_page_may_end_the_engine_and_is_answered(wsgi):
    class Root:
        @cpadapter.expose
        async def index(self):
            wsgi.site.engine.exit()
            await asyncio.sleep(0.01)
            return 'gone'

    wsgi.mount(Root())
    wsgi.site.engine.ensure_started()
    assert wsgi.get('/').text == 'gone'
    deadline = time.monotonic() + 5
    while loops():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_context_variables_of_what_a_plain_page_has_awaited_cross_both_ways(client):
    async def later():
        assert OWN.get() == 'of the page'
        await asyncio.sleep(0)
        OWN.set('of what was awaited')
        return 'x'

    seen = []

    class Root:
        @cpadapter.expose
        def index(self):
            OWN.set('of the page')
            return later()

    client.mount(Root(), '', {'/': {'hooks.on_end_resource': lambda: seen.append(OWN.get())}})
    assert client.get('/').text == 'x'
    assert seen == ['of what was awaited']
