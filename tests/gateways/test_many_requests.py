"""Many requests at once through a real server: each response belongs to its request, and nothing is left behind.

Every request carries a random token in its path, query, a header and, for POST, its body. The page handlers put it
where requests keep things, let others run, and compare. CPADAPTER_TEST_REQUESTS sets how many requests are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets

import pytest
from live import Live, command, free_port

pytestmark = pytest.mark.live

REQUESTS = int(os.environ.get('CPADAPTER_TEST_REQUESTS', '10000'))
AT_ONCE = 64
MEGABYTE = 1 << 20

APPLICATION = '''
import asyncio
import contextvars
import gc
import os
import random
import threading
import time

import cpadapter
from cpadapter.core.pipeline import Exchange

TOKEN = contextvars.ContextVar('token', default=None)
LOCAL = threading.local()
mixed_up = []
ended = set()


def keep(path, q):
    """Put the token where requests keep things; all of it must be fresh."""
    request, response = cpadapter.request, cpadapter.response
    if TOKEN.get() is not None or hasattr(request, 'token') or 'X-Token' in response.headers:
        mixed_up.append(('not fresh', path, TOKEN.get(), vars(request).get('token')))
    TOKEN.set(path)
    request.token = path
    response.headers['X-Token'] = path


def compare(path, q, where):
    request = cpadapter.request
    seen = {
        'path': path,
        'query': q,
        'params': request.params['q'],
        'path_info': request.path_info.rsplit('/', 1)[1],
        'header': request.headers['X-Token'],
        'body': request.body.params['q'] if request.method == 'POST' else path,
        'attribute': request.token,
        'context': TOKEN.get(),
        'response': cpadapter.response.headers['X-Token'],
    }
    if set(seen.values()) != {path}:
        mixed_up.append((where, seen))


def pause():
    return random.random() * 0.002


def page(path, size):
    return path + 'x' * int(size)


class Pages:
    @cpadapter.expose
    def sync(self, path, q, size):
        keep(path, q)
        LOCAL.token = path
        time.sleep(pause())
        compare(path, q, 'sync')
        if LOCAL.token != path:
            mixed_up.append(('thread', path, LOCAL.token))
        return page(path, size)

    @cpadapter.expose
    async def later(self, path, q, size):
        keep(path, q)
        await asyncio.sleep(0)
        compare(path, q, 'later')
        await asyncio.sleep(pause())
        await asyncio.create_task(self.nested(path, q))
        compare(path, q, 'later, at last')
        return page(path, size)

    async def nested(self, path, q):
        compare(path, q, 'task')
        await asyncio.sleep(0)
        compare(path, q, 'task, at last')

    @cpadapter.expose
    @cpadapter.config(**{'response.stream': True})
    def stream(self, path, q, size):
        keep(path, q)

        def chunks():
            for character in page(path, size):
                compare(path, q, 'stream')
                yield character
                time.sleep(pause() / 20)

        return chunks()

    @cpadapter.expose
    @cpadapter.config(**{'response.stream': True})
    async def stream_later(self, path, q, size):
        keep(path, q)

        async def chunks():
            for character in page(path, size):
                compare(path, q, 'stream later')
                yield character
                await asyncio.sleep(0)

        return chunks()

    @cpadapter.expose
    def broken(self, path, q, size):
        keep(path, q)
        time.sleep(pause())
        compare(path, q, 'broken')
        raise RuntimeError(path)


class Hooked(Pages):
    """The same pages with hooks around them, which see what the page handlers see."""


def at_start():
    cpadapter.request.seen_at_start = cpadapter.request.headers['X-Token']


def at_end():
    request = cpadapter.request
    if not request.token == request.seen_at_start == request.params['q']:
        mixed_up.append(('end', request.token, request.seen_at_start))
    ended.add(request.token)


class Root(Pages):
    hooked = Hooked()

    @cpadapter.expose
    @cpadapter.tools.json_out()
    def alive(self):
        gc.collect()
        found = {'Exchange': 0, 'Request': 0, 'Response': 0}
        for one in gc.get_objects():
            kind = type(one)
            if kind is Exchange:
                found['Exchange'] += 1
            elif kind in (cpadapter.Request, cpadapter.Response) and type(one._exchange) is Exchange:
                found[kind.__name__] += 1
        with open('/proc/self/statm') as file:
            resident = int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
        hooked = len(ended)
        return {'found': found, 'resident': resident, 'mixed_up': mixed_up[:5], 'hooked': hooked}


hooks = {'hooks.on_start_resource': at_start, 'hooks.on_end_request': at_end}
application = cpadapter.tree.mount(Root(), '/', {'/hooked': hooks})
'''
KINDS = ('sync', 'later', 'stream', 'stream_later', 'broken')
OPTIONS = {'gunicorn-gthread': ('--keep-alive', '30')}


@pytest.fixture(params=['uvicorn', 'gunicorn-gthread', 'gunicorn-asgi'])
def server(request, tmp_path):
    pytest.importorskip(request.param.partition('-')[0])
    (tmp_path / 'pages.py').write_text(APPLICATION, encoding='utf-8')
    port = free_port()
    words = command(request.param, 'pages:application', port, *OPTIONS.get(request.param, ()))
    live = Live(words, port, tmp_path, tmp_path / 'output')
    try:
        yield live.ready()
    finally:
        live.kill()


class Answers:
    """What came wrong, and how many answers came."""

    def __init__(self):
        self.count = 0
        self.hooked = 0
        self.wrong = []


async def read_answer(reader):
    """Give (status, headers, body) of one response; its body has a length or comes in chunks."""
    head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1').split('\r\n')
    headers = dict(line.lower().split(': ', 1) for line in head[1:] if line)
    if 'content-length' in headers:
        body = await reader.readexactly(int(headers['content-length']))
    else:
        assert headers['transfer-encoding'] == 'chunked', head
        chunks = []
        while size := int(await reader.readuntil(b'\r\n'), 16):
            chunks.append((await reader.readexactly(size + 2))[:-2])
        assert await reader.readexactly(2) == b'\r\n'
        body = b''.join(chunks)
    return int(head[0].split()[1]), headers, body


async def converse(port, work, answers):
    """Make requests over one connection as long as there is work."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    try:
        for kind in work:
            token = secrets.token_hex(8)
            hooked = random.random() < 0.5
            size = random.choice((0, 1, 7, 30))
            fields = f'q={token}&size={size}'
            path = f'{"/hooked" if hooked else ""}/{kind}/{token}'
            common = f'HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Token: {token}\r\n'
            if random.random() < 0.3:
                form = f'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(fields)}'
                request = f'POST {path} {common}{form}\r\n\r\n{fields}'
            else:
                request = f'GET {path}?{fields} {common}\r\n'
            writer.write(request.encode())
            status, headers, body = await read_answer(reader)
            answers.count += 1
            answers.hooked += hooked
            if kind == 'broken':
                right = status == 500 and headers.get('x-token') == token and token.encode() not in body
            else:
                right = status == 200 and headers.get('x-token') == token and body == token.encode() + b'x' * size
            if not right:
                answers.wrong.append((kind, token, status, headers, body[:200]))
    finally:
        writer.close()
        await writer.wait_closed()


async def ask(port, count, answers):
    work = iter([random.choice(KINDS) for _ in range(count)])
    everybody = asyncio.gather(*(converse(port, work, answers) for _ in range(AT_ONCE)))
    await asyncio.wait_for(everybody, 120)


# What /alive itself takes: it asks for no request, no response.
OWN = {'Exchange': 1, 'Request': 0, 'Response': 0}


def left_over(server, hooked):
    """Give what /alive tells once the last requests have ended."""
    told = {}
    # One connection for all: servers keep what belongs to a connection until they notice its end.
    with contextlib.closing(server.connection()) as connection:

        def settled():
            told.update(server.get('/alive', connection=connection).json())
            return told['found'] == OWN and told['hooked'] == hooked

        try:
            server.until(settled, 5)
        except AssertionError:
            pass  # the test says what is wrong with it
    return told


def test_each_response_belongs_to_its_request_and_nothing_is_left(server):
    answers = Answers()
    resident = []
    for _ in range(2):
        asyncio.run(ask(server.port, REQUESTS // 2, answers))
        assert answers.wrong[:3] == []
        told = left_over(server, answers.hooked)
        assert told['mixed_up'] == []
        assert told['found'] == OWN
        assert told['hooked'] == answers.hooked
        resident.append(told['resident'])
    assert answers.count == REQUESTS // 2 * 2
    assert resident[1] - resident[0] < 5 * MEGABYTE
