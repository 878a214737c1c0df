"""Requests that are cancelled, cut off or left at any moment: what page handlers are told of it, and nothing is left.

The first part tells a page handler, of either colour, that its client has left; the second sends thousands of
requests that end at random, in process and over uvicorn, and counts what is left. CPADAPTER_TEST_REQUESTS sets how
many they are.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import logging
import os
import random
import socket
import threading
import time

import pytest
from live import Live, command, free_port, reset

import cpadapter
from cpadapter import expose
from cpadapter.core.pipeline import Exchange
from cpadapter.lib.locking import KeyedLocks

REQUESTS = int(os.environ.get('CPADAPTER_TEST_REQUESTS', '5000'))
WHOLE = {'type': 'http.request', 'body': b'', 'more_body': False}


class Connection:
    """One ASGI connection by hand: messages are given one by one, then nothing comes until `leave`."""

    def __init__(self, app, method='GET', path='/', headers=(), messages=(WHOLE,)):
        self.scope = {
            'type': 'http', 'http_version': '1.1', 'method': method, 'path': path, 'query_string': b'',
            'headers': [(b'host', b'h'), *headers],
        }  # fmt: skip
        self.app = app
        self.messages = list(messages)
        self.sent = []
        self.left = asyncio.Event()

    def start(self):
        return asyncio.ensure_future(self.app(self.scope, self.receive, self.send))

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        self.sent.append(message)


async def until(true):
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def run(asgi, main):
    """Run a test on the client's loop; nothing may be at work there afterwards."""

    async def whole():
        await asyncio.wait_for(main(), 10)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asgi.loop.run_until_complete(whole())


# -- being told


def test_a_plain_page_is_told_that_its_client_has_left(asgi):
    told = []

    @expose
    def index(self):
        told.append(cpadapter.request.is_disconnected())
        leave()
        told.append(cpadapter.request.is_disconnected())
        return 'x'

    asgi.mount(type('Root', (), {'index': index})())

    def leave():
        asgi.loop.call_soon_threadsafe(connection.left.set)

    async def main():
        nonlocal connection
        connection = Connection(asgi.app)
        await connection.start()

    connection = None
    run(asgi, main)
    assert told == [False, True]


def test_an_async_page_is_told_that_its_client_has_left(asgi):
    told = []

    @expose
    async def index(self):
        request = cpadapter.request
        told.append(request.is_disconnected())
        await asyncio.sleep(0)
        told.append(request.is_disconnected())
        connection.left.set()
        await request.disconnected()
        told.append(request.is_disconnected())
        return 'x'

    asgi.mount(type('Root', (), {'index': index})())

    async def main():
        nonlocal connection
        connection = Connection(asgi.app)
        await connection.start()

    connection = None
    run(asgi, main)
    assert told == [False, False, True]


def test_asking_loses_nothing_of_the_body(asgi, handler):
    if handler.is_async:

        async def index(self):
            assert not cpadapter.request.is_disconnected()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not cpadapter.request.is_disconnected()
            return await cpadapter.request.body.aread()
    else:

        def index(self):
            assert not cpadapter.request.is_disconnected()
            assert not cpadapter.request.is_disconnected()
            return cpadapter.request.body.read()

    index._cp_config = {'request.process_request_body': False}
    asgi.mount(type('Root', (), {'index': expose(index)})())
    pieces = [b'one', b'two', b'three', b'four']
    answer = asgi.post('/', body=b''.join(pieces), pieces=pieces, headers={'Content-Type': 'text/plain'})
    assert answer.body == b''.join(pieces)


def test_asking_does_not_tell_a_client_to_send_its_body(asgi, handler):
    asked = []

    class Waiting(Connection):
        async def receive(self):
            asked.append(1)
            return await super().receive()

    @handler
    def index(self):
        assert not cpadapter.request.is_disconnected()
        return 'x'

    index._cp_config = {'request.process_request_body': False}
    asgi.mount(type('Root', (), {'index': index})())

    async def main():
        headers = [(b'expect', b'100-continue'), (b'content-length', b'3')]
        await Waiting(asgi.app, 'POST', headers=headers).start()

    run(asgi, main)
    assert asked == []


def test_the_page_that_was_redirected_to_is_told_as_well(asgi):
    told = []

    class Root:
        @expose
        async def index(self):
            cpadapter.request.is_disconnected()
            raise cpadapter.InternalRedirect('/other')

        @expose
        async def other(self):
            told.append(cpadapter.request.is_disconnected())
            connection.left.set()
            await cpadapter.request.disconnected()
            told.append(cpadapter.request.is_disconnected())
            return 'x'

    asgi.mount(Root())

    async def main():
        nonlocal connection
        connection = Connection(asgi.app)
        await connection.start()

    connection = None
    run(asgi, main)
    assert told == [False, True]


def test_under_wsgi_a_server_that_can_tell_is_asked(wsgi, handler):
    @handler
    def index(self):
        return str(cpadapter.request.is_disconnected())

    wsgi.mount(type('Root', (), {'index': index})())
    assert wsgi.get('/').text == 'False'
    assert wsgi.get('/', environ={'waitress.client_disconnected': lambda: True}).text == 'True'
    ours, theirs = socket.socketpair()
    with ours:
        assert wsgi.get('/', environ={'gunicorn.socket': ours}).text == 'False'
        theirs.send(b'the next request')
        assert wsgi.get('/', environ={'gunicorn.socket': ours}).text == 'False'
        theirs.close()
        ours.recv(100)
        assert wsgi.get('/', environ={'gunicorn.socket': ours}).text == 'True'


def test_outside_of_requests_nobody_has_left():
    assert cpadapter.Request().is_disconnected() is False


# -- the policy


class Watched:
    """Pages and hooks that tell how they end."""

    def __init__(self, asgi, **config):
        self.told = told = []
        hooks = {
            'hooks.on_end_resource': lambda: told.append('end of resource'),
            'hooks.on_end_request': lambda: told.append('end of request'),
            'tools.sessions.on': True,
            **config,
        }
        self.release = threading.Event()
        watched = self

        class Root:
            @expose
            async def later(self):
                told.append('begun')
                cpadapter.session['x'] = 1
                try:
                    await asyncio.sleep(0.2 if config.get('request.on_disconnect') != 'cancel' else 30)
                    told.append('finished')
                except asyncio.CancelledError:
                    told.append('cancelled')
                    raise
                return 'x'

            @expose
            async def stubborn(self):
                told.append('begun')
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    pass
                await asyncio.sleep(0)
                return 'x'

            @expose
            @cpadapter.config(**{'response.stream': True})
            async def stream(self):
                told.append('begun')
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    pass

                async def chunks():
                    told.append('made')
                    yield 'x'

                return chunks()

            @expose
            def plain(self):
                told.append('begun')
                assert watched.release.wait(5)
                return 'x'

            @expose
            @cpadapter.config(**{'request.process_request_body': False})
            def reading(self):
                told.append('begun')
                try:
                    cpadapter.request.body.read()
                except cpadapter.ClientDisconnected:
                    told.append('gone')
                    raise

        app = asgi.mount(Root(), '', {'/': hooks})
        self.lines = lines = []
        app.log.access_log.addFilter(lambda record: lines.append(record.getMessage()))
        app.log.access_log.setLevel('INFO')


def leave(asgi, watched, path, **more):
    """Ask, and leave once the page has begun; give what was sent."""
    sent = []

    async def main():
        connection = Connection(asgi.app, path=path, **more)
        task = connection.start()
        await until(lambda: 'begun' in watched.told)
        connection.left.set()
        if path == '/plain':
            await asyncio.sleep(0.05)
            watched.release.set()
        await task
        sent.extend(connection.sent)

    run(asgi, main)
    return sent


def test_an_async_page_finishes_by_default_when_its_client_leaves(asgi):
    watched = Watched(asgi)
    leave(asgi, watched, '/later')
    assert watched.told == ['begun', 'finished', 'end of resource', 'end of request']


def test_an_async_page_is_cancelled_where_config_says_so(asgi):
    watched = Watched(asgi, **{'request.on_disconnect': 'cancel'})
    assert leave(asgi, watched, '/later') == []
    assert watched.told == ['begun', 'cancelled', 'end of resource', 'end of request']
    assert [line for line in watched.lines if '/later' in line and ' 499 ' in line] == watched.lines != []
    assert held() == 0
    assert asgi.errors == []


@pytest.mark.parametrize('path', ['/stubborn', '/stream'])
def test_a_page_that_goes_on_after_its_cancellation_sends_nothing(asgi, path):
    watched = Watched(asgi, **{'request.on_disconnect': 'cancel'})
    assert leave(asgi, watched, path) == []
    assert watched.told == ['begun', 'end of resource', 'end of request']
    assert len(watched.lines) == 1


def test_a_plain_page_that_reads_its_body_is_woken(asgi):
    watched = Watched(asgi, **{'request.on_disconnect': 'cancel'})
    headers = [(b'content-length', b'100')]
    part = {'type': 'http.request', 'body': b'x', 'more_body': True}
    assert leave(asgi, watched, '/reading', method='POST', headers=headers, messages=[part]) == []
    assert watched.told == ['begun', 'gone', 'end of resource', 'end of request']


def test_a_plain_page_at_work_comes_to_its_end_and_is_logged_once(asgi):
    watched = Watched(asgi, **{'request.on_disconnect': 'cancel'})
    assert leave(asgi, watched, '/plain') == []
    assert watched.told == ['begun', 'end of resource', 'end of request']
    assert len(watched.lines) == 1


def test_a_plain_page_that_waits_for_a_thread_is_not_begun_for_who_has_left(asgi):
    watched = Watched(asgi, **{'request.on_disconnect': 'cancel'})
    asgi.site.config.update({'server.thread_pool': 1})
    asgi.site.engine.ensure_started()

    async def main():
        first = Connection(asgi.app, path='/plain')
        at_work = first.start()
        await until(lambda: 'begun' in watched.told)
        second = Connection(asgi.app, path='/plain')
        waiting = second.start()
        await asyncio.sleep(0.01)
        second.left.set()
        await asyncio.wait_for(waiting, 2)
        assert second.sent == []
        watched.release.set()
        await at_work
        assert first.sent[0]['status'] == 200

    run(asgi, main)
    assert watched.told.count('begun') == 1
    assert watched.told.count('end of request') == 2


def test_a_cancellation_by_the_server_passes_through(asgi):
    watched = Watched(asgi, **{'request.on_disconnect': 'cancel'})

    async def main():
        connection = Connection(asgi.app, path='/later')
        task = connection.start()
        await until(lambda: 'begun' in watched.told)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(asgi, main)
    assert watched.told == ['begun', 'cancelled', 'end of resource', 'end of request']


def test_a_client_that_stays_gets_its_answer_under_either_policy(client, handler):
    @handler
    def index(self):
        return 'x'

    client.mount(type('Root', (), {'index': index})(), '', {'/': {'request.on_disconnect': 'cancel'}})
    assert client.get('/').text == 'x'


def test_another_policy_fails_by_name(client):
    client.mount(type('Root', (), {'index': expose(lambda self: 'x')})(), '', {'/': {'request.on_disconnect': 'abort'}})
    assert client.get('/').status == 500
    assert any("'request.on_disconnect' = 'abort' in section [/]" in line for line in client.errors)


def test_finish_costs_no_watcher(asgi, monkeypatch):
    from cpadapter.gateways.asgi_head import AsgiHead

    monkeypatch.setattr(AsgiHead, 'watch', None)
    asgi.mount(type('Root', (), {'index': expose(lambda self: 'x')})())
    assert asgi.get('/').text == 'x'


# -- thousands


def held():
    """Give the number of session locks that are held."""
    return sum(len(one) for one in gc.get_objects() if type(one) is KeyedLocks)


def of_requests(older=()):
    """Give what lives and belongs to requests, but for `older`; placeholders for "no request" are no such thing."""
    gc.collect()
    known = {id(one) for one in older}
    return [
        one
        for one in gc.get_objects()
        if (
            type(one) is Exchange
            or (type(one) in (cpadapter.Request, cpadapter.Response) and type(one._exchange) is Exchange)
        )
        and id(one) not in known
    ]


def descriptors():
    found = []
    for one in os.listdir('/proc/self/fd'):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f'/proc/self/fd/{one}'))
    return sorted(path for path in found if 'pipe' not in path)


PAGES = """
import asyncio
import time

import cpadapter

ended = []


class Failure(Exception):
    pass


def nap():
    time.sleep(0.0005)


class Root:
    @cpadapter.expose
    def sync(self):
        nap()
        return 'x'

    @cpadapter.expose
    async def later(self):
        await asyncio.sleep(0.001)
        return 'x'

    @cpadapter.expose
    @cpadapter.config(**{'request.on_disconnect': 'cancel'})
    async def cancelled(self):
        await asyncio.sleep(0.002)
        return 'x'

    @cpadapter.expose
    @cpadapter.config(**{'request.on_disconnect': 'cancel'})
    def cancelled_sync(self):
        nap()
        return 'x'

    @cpadapter.expose
    @cpadapter.config(**{'response.stream': True})
    def stream(self):
        def chunks():
            for _ in range(5):
                nap()
                yield 'x' * 1000

        return chunks()

    @cpadapter.expose
    @cpadapter.config(**{'response.stream': True})
    async def stream_later(self):
        async def chunks():
            for _ in range(5):
                await asyncio.sleep(0)
                yield 'x' * 1000

        return chunks()

    @cpadapter.expose
    def upload(self, file=None):
        return file.filename if file is not None else 'none'

    @cpadapter.expose
    async def upload_later(self, file=None):
        await asyncio.sleep(0)
        return file.filename if file is not None else 'none'

    @cpadapter.expose
    @cpadapter.config(**{'tools.sessions.on': True})
    def session(self):
        nap()
        cpadapter.session['count'] = cpadapter.session.get('count', 0) + 1
        return 'x'

    @cpadapter.expose
    @cpadapter.config(**{'tools.sessions.on': True})
    async def session_later(self):
        await asyncio.sleep(0.0005)
        cpadapter.session['count'] = cpadapter.session.get('count', 0) + 1
        return 'x'

    @cpadapter.expose
    def broken(self):
        raise Failure

    @cpadapter.expose
    async def broken_later(self):
        raise Failure

    @cpadapter.expose
    @cpadapter.config(**{'request.process_request_body': False})
    async def asking(self):
        cpadapter.request.is_disconnected()
        await asyncio.sleep(0)
        return str(cpadapter.request.is_disconnected())


config = {'/': {'hooks.on_end_request': lambda: ended.append(1)}}
KINDS = [name for name in vars(Root) if not name.startswith('_')]
"""
BODY = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b'x' * 3000 + b'\r\n--b--\r\n'
)  # fmt: skip


class Errant:
    """A server's side of a request that ends somehow."""

    def __init__(self, kind, chance):
        self.kind = kind
        self.leave_after = chance.choice([None, 0, 1, 2, 3])
        self.raises = chance.random() < 0.3
        self.sent = 0
        self.left = asyncio.Event()
        headers = [(b'host', b'h')]
        self.messages = [WHOLE]
        method = 'GET'
        if kind.startswith('upload'):
            method = 'POST'
            headers += [(b'content-type', b'multipart/form-data; boundary=b'), (b'content-length', b'%d' % len(BODY))]
            cut = chance.choice([len(BODY), len(BODY), 0, 50, 2000])
            whole = cut == len(BODY)
            self.messages = [
                {'type': 'http.request', 'body': BODY[: cut // 2], 'more_body': True},
                {'type': 'http.request', 'body': BODY[cut // 2 : cut], 'more_body': not whole},
            ]
            if not whole:
                self.left.set()
        elif kind.startswith('session'):
            headers.append((b'cookie', b'session_id=' + chance.choice(SESSIONS)))
        self.scope = {
            'type': 'http', 'http_version': '1.1', 'method': method, 'path': f'/{kind}', 'query_string': b'',
            'headers': headers,
        }  # fmt: skip

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        if self.leave_after is not None and self.sent >= self.leave_after:
            self.left.set()
            if self.raises:
                raise OSError('gone')
        self.sent += 1
        await asyncio.sleep(0)


SESSIONS = [b'']


def pages():
    names = {'__name__': 'pages'}
    exec(PAGES, names)
    return names


def test_nothing_is_left_of_thousands_of_requests_that_end_at_random(asgi, monkeypatch):
    others = set(threading.enumerate())  # pools of tests before this one
    older = of_requests()  # what tests before this one have kept
    count = REQUESTS * 4 // 5
    names = pages()
    ended, kinds = names['ended'], names['KINDS']
    asgi.mount(names['Root'](), '', names['config'])
    asgi.site.config.update({'server.thread_pool': 4})
    # What keeps records for a report keeps tracebacks, and what they lead to.
    monkeypatch.setattr(asgi.error_log, 'propagate', False)
    asgi.error_log.removeHandler(asgi.handler)
    asgi.error_log.addHandler(logging.NullHandler())
    asgi.loop.set_debug(False)
    chance = random.Random(1)
    for _ in range(3):
        cookie = asgi.get('/session').headers['Set-Cookie']
        SESSIONS.append(cookie.partition('=')[2].partition(';')[0].encode())
    for kind in kinds:
        asgi.get(f'/{kind}')
    before = descriptors()
    begun = 0
    ended.clear()

    async def serve(errant):
        nonlocal begun
        begun += 1
        await asgi.app(errant.scope, errant.receive, errant.send)

    async def one(errant, steps, leaves):
        """Let the request be cancelled, or left, after some turns of the loop."""
        task = asyncio.ensure_future(serve(errant))
        if steps is not None:
            for _ in range(steps):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                await asyncio.sleep(0.001)
            if leaves:
                errant.left.set()
            else:
                task.cancel()
        try:
            await asyncio.wait_for(task, 10)
        except (asyncio.CancelledError, cpadapter.ClientDisconnected):
            pass

    async def many(work):
        for errant in work:
            await one(errant, chance.choice([None, 0, 1, 2, 3, 5, 8]), chance.random() < 0.5)

    async def everything():
        work = (Errant(chance.choice(kinds), chance) for _ in range(count))
        await asyncio.gather(*(many(work) for _ in range(32)))
        for _ in range(10):
            await asyncio.sleep(0)
        left.extend(asyncio.all_tasks() - {asyncio.current_task()})

    left = []
    began = time.monotonic()
    asgi.loop.run_until_complete(everything())
    assert left == []
    print(f'{begun} requests in process: {time.monotonic() - began:.1f} s')
    assert len(ended) == begun
    assert begun > count * 0.8
    assert held() == 0
    assert descriptors() == before
    # Those of our pools, each as large as it may be.
    mine = [thread for thread in threading.enumerate() if thread not in others]
    names = collections.Counter(thread.name.rpartition('-')[0] for thread in mine)
    sizes = {'handlers': 4, 'steps': 4, 'streams': 40, 'finish': 4}
    for name, number in names.items():
        if name.startswith('cpadapter-'):
            assert number <= sizes[name.rpartition('-')[2]], names
    del names
    # A busy machine lets threads end after the loop has: what they hand over is taken when it runs again.
    deadline = time.monotonic() + 5
    while (kept := of_requests(older)) and time.monotonic() < deadline:
        del kept
        asgi.loop.run_until_complete(asyncio.sleep(0.05))
    assert collections.Counter(type(one).__name__ for one in kept) == {}
    assert asgi.get('/session_later', headers={'Cookie': f'session_id={SESSIONS[1].decode()}'}).status == 200


SERVED = (
    PAGES
    + """
import gc
import json
import logging
import os
import threading

from cpadapter.core.pipeline import Exchange
from cpadapter.lib.locking import KeyedLocks

begun = []


class Watched(Root):
    @cpadapter.expose
    async def left_over(self):
        gc.collect()
        there = gc.get_objects()
        return json.dumps({
            'begun': len(begun),
            'ended': len(ended),
            # gunicorn keeps tasks of its own for connections that have been closed.
            'tasks': sum('/cpadapter/' in task.get_coro().cr_code.co_filename for task in asyncio.all_tasks()),
            'threads': threading.active_count(),
            'files': len(os.listdir('/proc/self/fd')),
            'exchanges': sum(type(one) is Exchange for one in there),
            'unfinished': sum(type(one) is Exchange and not one.closed for one in there),
            'requests': sum(isinstance(one, cpadapter.Request) and one._exchange is not None for one in there),
            'held': sum(len(one) for one in there if type(one) is KeyedLocks),
        })


application = cpadapter.tree.mount(Watched(), '/', config)
inner = application
cpadapter.config.update({'server.thread_pool': 4})


async def application(scope, receive, send):
    if scope['type'] == 'http':
        begun.append(scope['path'])
    await inner(scope, receive, send)
"""
)

# gunicorn's timers for bodies keep the context they were made in until their time has come.
KEPT = {
    'uvicorn': ('tasks', 'files', 'exchanges', 'requests', 'held'),
    'gunicorn-asgi': ('tasks', 'files', 'unfinished', 'requests', 'held'),
}


@pytest.mark.live
@pytest.mark.parametrize('server', list(KEPT))
def test_nothing_is_left_of_clients_that_are_cut_off_at_random(server, tmp_path):
    pytest.importorskip(server.partition('-')[0])
    count = REQUESTS // 10
    names = pages()
    kinds = names['KINDS']
    (tmp_path / 'pages.py').write_text(SERVED, encoding='utf-8')
    port = free_port()
    live = Live(command(server, 'pages:application', port), port, tmp_path, tmp_path / 'output')
    chance = random.Random(2)
    try:
        live.ready()
        cookies = [live.get('/session').headers['set-cookie'].partition(';')[0] for _ in range(3)]
        for kind in kinds:
            live.get(f'/{kind}')
        first = live.get('/left_over').json()

        async def one():
            kind = chance.choice(kinds)
            reader, writer = await asyncio.open_connection('127.0.0.1', port)
            head = f'GET /{kind} HTTP/1.1\r\nHost: a\r\nCookie: {chance.choice(cookies)}\r\n\r\n'.encode()
            if kind.startswith('upload'):
                head = (
                    f'POST /{kind} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n'
                    f'Content-Length: {len(BODY)}\r\n\r\n'
                ).encode() + BODY[: chance.choice([len(BODY), 0, 100, 2000])]
            writer.write(head)
            await writer.drain()
            how = chance.random()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                if how < 0.3:
                    # Half a form is never answered.
                    await asyncio.wait_for(reader.read(chance.choice([1, 100, 3000])), 0.1)
                elif how < 0.8:
                    await asyncio.sleep(chance.random() * 0.01)
            if chance.random() < 0.5:
                writer.transport.abort()
            else:
                writer.close()

        async def everything():
            async def many(number):
                for _ in range(number):
                    await one()

            await asyncio.gather(*(many(count // 20) for _ in range(20)))

        began = time.monotonic()
        asyncio.run(asyncio.wait_for(everything(), 60))
        last = {}

        def settled():
            last.update(live.get('/left_over').json())
            # It is one itself, and has not ended.
            return last['ended'] == last['begun'] - 1 and all(last[key] <= first[key] for key in KEPT[server])

        with contextlib.suppress(AssertionError):
            live.until(settled, 5)
        print(f'{last["begun"]} requests over {server}: {time.monotonic() - began:.1f} s; left: {last}')
    finally:
        live.kill()
    assert last['begun'] > count * 0.7
    assert last['ended'] == last['begun'] - 1
    more = {key: last[key] for key in KEPT[server] if last[key] > first[key]}
    assert more == {}
    assert last['threads'] <= 1 + 4 + 4 + 4 + 40
    # Each error that was logged is one of the page's own.
    assert live.printed.count('Traceback') == live.printed.count('pages.Failure')


SEVERAL = """
import asyncio
import time

import cpadapter

told = []


class Root:
    @cpadapter.expose
    @cpadapter.config(**{'request.on_disconnect': 'cancel'})
    async def cancelled(self):
        told.append('cancelled begun')
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            told.append('cancelled cancelled')
            raise

    @cpadapter.expose
    async def asking(self):
        told.append('asking begun')
        await cpadapter.request.disconnected()
        told.append('asking told')

    @cpadapter.expose
    def plain(self):
        told.append('plain begun')
        for _ in range(400):
            if cpadapter.request.is_disconnected():
                told.append('plain told')
                break
            time.sleep(0.01)

    @cpadapter.expose
    async def finished(self):
        told.append('finished begun')
        await asyncio.sleep(0.5)
        told.append('finished told')

    @cpadapter.expose
    @cpadapter.tools.json_out()
    async def told(self):
        return told


application = cpadapter.tree.mount(Root())
"""


@pytest.mark.live
@pytest.mark.parametrize('server', ['uvicorn', 'hypercorn', 'granian-asgi', 'gunicorn-asgi'])
def test_each_server_tells_that_a_client_has_left(server, tmp_path):
    pytest.importorskip(server.partition('-')[0])
    (tmp_path / 'pages.py').write_text(SEVERAL, encoding='utf-8')
    port = free_port()
    live = Live(command(server, 'pages:application', port), port, tmp_path, tmp_path / 'output')
    try:
        live.ready()
        for number, page in enumerate(['cancelled', 'asking', 'plain', 'finished']):
            sock = live.socket()
            sock.sendall(f'GET /{page} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
            live.until(lambda: f'{page} begun' in live.get('/told').json(), 5)  # noqa: B023
            if number % 2:
                reset(sock)
            else:
                sock.close()
            end = 'cancelled' if page == 'cancelled' else 'told'
            live.until(lambda: f'{page} {end}' in live.get('/told').json(), 3, f'{page} is told')  # noqa: B023
        assert 'Traceback' not in live.printed
    finally:
        live.kill()


@pytest.mark.live
@pytest.mark.parametrize('server', ['gunicorn-gthread', 'gunicorn'])
def test_gunicorn_tells_under_wsgi_as_well(server, tmp_path):
    pytest.importorskip('gunicorn')
    (tmp_path / 'pages.py').write_text(SEVERAL.replace('told.append(', "print('TOLD', "), encoding='utf-8')
    port = free_port()
    live = Live(command(server, 'pages:application', port), port, tmp_path, tmp_path / 'output')
    try:
        live.ready()
        for page in ('plain', 'asking'):
            sock = live.socket()
            sock.sendall(f'GET /{page} HTTP/1.1\r\nHost: a\r\n\r\n'.encode())
            live.until(lambda: f'TOLD {page} begun' in live.printed, 5)  # noqa: B023
            sock.close()
            live.until(lambda: f'TOLD {page} told' in live.printed, 3)  # noqa: B023
    finally:
        live.kill()
