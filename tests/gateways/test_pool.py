"""The threads that plain code crosses to under ASGI: how many wait, who waits for whom, and what crosses with it.

In process where that is enough; over uvicorn where it is about time.
"""

from __future__ import annotations

import asyncio
import contextvars
import http.client
import socket
import statistics
import threading
import time
from contextvars import copy_context

import pytest
from live import Live, command, free_port, read_all

import cpadapter
from cpadapter.gateways.bridge import PoolFull, WorkerPool

OWN = contextvars.ContextVar('own', default='nothing')


class Gate:
    """Pages that wait until they are let go, and tell how many are waiting."""

    def __init__(self):
        self.opened = threading.Event()
        self.inside = threading.Semaphore(0)

    def wait(self):
        self.inside.release()
        assert self.opened.wait(10)

    def full(self, count):
        """Wait, off the loop, until `count` are inside."""
        for _ in range(count):
            assert self.inside.acquire(timeout=10)


def start(asgi, target, **more):
    """Begin a request; give its task."""
    from conftest import Call

    class Quiet(Call):
        """A call whose neighbours are at work while it ends."""

    return asyncio.ensure_future(ask(asgi, Quiet('GET', target, **more)))


async def ask(asgi, call):
    from conftest import Answer, AsgiChecker

    answer = Answer()
    checker = AsgiChecker(call, answer)
    await asgi.app(asgi.scope(call), checker.receive, checker.send)
    assert checker.fault is None
    return answer


async def until(true):
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


@pytest.fixture
def gate(asgi):
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def busy(asgi, gate):
    """A site of two threads that two pages hold, and a third page that waits for one of them."""
    asgi.site.config.update({'server.thread_pool': 2, 'server.accepted_queue_size': 1})
    begun = asgi.begun = []
    ended = asgi.ended = []

    class Root:
        @cpadapter.expose
        def slow(self):
            begun.append(1)
            gate.wait()
            return 'slow'

        @cpadapter.expose
        @cpadapter.config(**{'hooks.on_end_request': lambda: ended.append(1)})
        def plain(self):
            begun.append(1)
            return 'plain'

        @cpadapter.expose
        async def later(self):
            return 'later'

        @cpadapter.expose
        @cpadapter.config(**{'hooks.before_handler': lambda: ended.append(threading.current_thread().name)})
        async def hooked(self):
            return 'hooked'

        @cpadapter.expose
        @cpadapter.config(**{'hooks.before_handler': paused})
        def mixed(self):
            begun.append(1)
            return 'mixed'

        @cpadapter.expose
        @cpadapter.config(**{'response.stream': True})
        async def stream(self):
            return iter(['a', 'b'])

    async def run(test):
        slow = [start(asgi, '/slow') for _ in range(2)]
        await until(lambda: len(begun) == 2)
        third = start(asgi, '/slow')
        await asyncio.sleep(0)
        try:
            await test()
        finally:
            gate.opened.set()
            answers = await asyncio.gather(*slow, third)
        assert [answer.text for answer in answers] == ['slow'] * 3

    asgi.mount(Root())
    return lambda test: asgi.loop.run_until_complete(run(test))


async def paused():
    await asyncio.sleep(0)


def test_a_request_more_than_the_queue_holds_is_answered_503_at_once(asgi, busy):
    async def test():
        answer = await start(asgi, '/plain')
        assert answer.status == 503
        assert answer.headers['Retry-After'] == '5'
        assert 'server.accepted_queue_size' in answer.text
        assert asgi.begun == [1, 1]
        assert asgi.ended == []

    busy(test)


def test_refusing_takes_no_thread(asgi, busy):
    async def test():
        before = set(threading.enumerate())
        for _ in range(5):
            assert (await start(asgi, '/plain')).status == 503
        assert set(threading.enumerate()) == before

    busy(test)


def test_refusals_are_logged_once_a_second_and_each_has_its_access_line(asgi, busy):
    lines = []
    log = asgi.site.tree.apps[''].log
    log.access_log.addFilter(lambda record: lines.append(record.getMessage()))
    log.access_log.setLevel('INFO')

    async def test():
        for _ in range(5):
            await start(asgi, '/plain')
        assert len([line for line in asgi.errors if 'too busy' in line]) == 1
        assert len([line for line in lines if '/plain' in line and ' 503 ' in line]) == 5

    busy(test)


def test_head_is_refused_without_a_body(asgi, busy):
    from conftest import Call

    async def test():
        answer = await ask(asgi, Call('HEAD', '/plain'))
        assert (answer.status, answer.body) == (503, b'')

    busy(test)


@pytest.mark.parametrize('target', ['/later', '/hooked', '/stream'])
def test_what_needs_no_thread_for_its_page_is_served_beside_a_full_queue(asgi, busy, target):
    async def test():
        answer = await asyncio.wait_for(start(asgi, target), 5)
        assert answer.status == 200

    busy(test)


def test_a_plain_page_in_an_async_plan_is_refused_as_an_error_of_its_own(asgi, busy):
    async def test():
        answer = await asyncio.wait_for(start(asgi, '/mixed'), 5)
        assert answer.status == 503
        assert answer.headers['Retry-After'] == '5'
        assert asgi.begun == [1, 1]

    busy(test)


def test_who_leaves_while_he_waits_makes_room(asgi, busy):
    async def test():
        assert (await start(asgi, '/plain')).status == 503

    async def make_room():
        pool = asgi.site.handler_pool()
        pool.limit = 2
        waiting = start(asgi, '/plain')
        await asyncio.sleep(0)
        asgi.site.server.accepted_queue_size = 2
        assert (await start(asgi, '/plain')).status == 503
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 1)
        waiting = start(asgi, '/plain')
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asgi.site.server.accepted_queue_size = 2
    busy(make_room)


def test_who_waits_longer_than_the_timeout_is_answered_503_and_not_run(asgi, busy):
    asgi.site.config.update({'server.accepted_queue_size': 5, 'server.accepted_queue_timeout': 0.05})
    made = []
    pool = asgi.site.handler_pool()
    assert pool.timeout == 10 or pool.timeout == 0.05

    async def test():
        answer = await asyncio.wait_for(start(asgi, '/plain'), 5)
        assert answer.status == 503
        assert 'waited 0.05 s' in answer.text
        assert asgi.begun == [1, 1]
        made.append(answer)

    # The third page would wait too long as well: it is asked for with more patience.
    asgi.site.config.update({'server.accepted_queue_size': 5, 'server.accepted_queue_timeout': 10})

    async def patient():
        asgi.site.config.update({'server.accepted_queue_timeout': 0.05})
        await test()

    busy(patient)
    assert made


@pytest.mark.parametrize(('size', 'limit'), [(-1, 1000), (0, None), (7, 7)])
def test_the_queue_is_as_long_as_the_setting_says(asgi, size, limit):
    asgi.site.config.update({'server.thread_pool': 10, 'server.accepted_queue_size': size})
    assert asgi.site.handler_pool().limit == limit


def test_a_pool_of_another_size_takes_the_place_of_the_first_whose_threads_end(asgi):
    asgi.site.config.update({'server.thread_pool': 2})
    asgi.mount(type('Root', (), {'index': cpadapter.expose(lambda self: threading.current_thread().name)})())
    name = asgi.get('/').text
    thread = next(thread for thread in threading.enumerate() if thread.name == name)
    asgi.site.config.update({'server.thread_pool': 3})
    assert asgi.get('/').status == 200
    thread.join(5)
    assert not thread.is_alive()


def test_finishing_never_waits_behind_pages(asgi, gate):
    asgi.site.config.update({'server.thread_pool': 1})
    ended = []

    class Root:
        @cpadapter.expose
        def slow(self):
            gate.wait()
            return 'slow'

        @cpadapter.expose
        @cpadapter.config(**{'hooks.on_end_request': lambda: ended.append(1)})
        async def later(self):
            return 'later'

        @cpadapter.expose
        @cpadapter.config(**{'hooks.on_end_request': lambda: ended.append(1)})
        def plain(self):
            started.release()
            assert queued.wait(5)
            return 'plain'

    asgi.mount(Root())
    started = threading.Semaphore(0)
    queued = threading.Event()

    async def run():
        first = start(asgi, '/plain')
        assert await asyncio.to_thread(started.acquire, True, 5)
        slow = [start(asgi, '/slow') for _ in range(5)]
        await asyncio.sleep(0)
        queued.set()
        await asyncio.wait_for(first, 5)
        await asyncio.wait_for(start(asgi, '/later'), 5)
        assert ended == [1, 1]
        gate.opened.set()
        await asyncio.gather(*slow)

    asgi.loop.run_until_complete(run())


def test_a_run_that_has_begun_goes_on_before_those_that_wait(asgi, gate):
    asgi.site.config.update({'server.thread_pool': 1})
    reached = []

    class Root:
        @cpadapter.expose
        def slow(self):
            gate.wait()
            return 'slow'

        @cpadapter.expose
        def suspending(self):
            return answer()

    async def answer():
        # Awaited on the loop: the thread is free meanwhile, and taken by another page.
        slow.append(start(asgi, '/slow'))
        await asyncio.to_thread(gate.full, 1)
        reached.append(1)
        return 'done'

    slow = []
    asgi.mount(Root())

    async def run():
        answered = await asyncio.wait_for(start(asgi, '/suspending'), 5)
        assert answered.text == 'done'
        gate.opened.set()
        await asyncio.gather(*slow)

    asgi.loop.run_until_complete(run())
    assert reached == [1]


# -- crossing


def counted(asgi, monkeypatch):
    asgi.site.engine.ensure_started()  # or the first request has it started in a thread
    crossings = []
    submit = WorkerPool.submit

    def count(self, context, call, *args):
        crossings.append(self.name)
        return submit(self, context, call, *args)

    monkeypatch.setattr(WorkerPool, 'submit', count)
    return crossings


def test_a_plain_page_crosses_once_with_its_hooks(asgi, monkeypatch):
    names = []

    class Root:
        @cpadapter.expose
        @cpadapter.config(**{'hooks.before_handler': lambda: names.append(threading.get_ident())})
        def index(self):
            names.append(threading.get_ident())
            return 'x'

    asgi.mount(Root())
    crossings = counted(asgi, monkeypatch)
    assert asgi.get('/').text == 'x'
    assert crossings == ['cpadapter-test-handlers']
    assert len(set(names)) == 1
    assert names[0] != threading.get_ident()


def test_a_plain_page_in_an_async_plan_crosses_once(asgi, monkeypatch):
    class Root:
        @cpadapter.expose
        @cpadapter.tools.json_out()
        @cpadapter.config(**{'hooks.before_handler': paused})
        def index(self):
            return threading.current_thread().name

    asgi.mount(Root())
    crossings = counted(asgi, monkeypatch)
    assert asgi.get('/').json.startswith('cpadapter-test-handlers')
    assert crossings == ['cpadapter-test-handlers']


def test_an_async_page_and_one_that_never_blocks_cross_not_at_all(asgi, monkeypatch):
    class Root:
        @cpadapter.expose
        async def later(self):
            return 'x'

        @cpadapter.expose
        @cpadapter.config(**{'request.non_blocking': True})
        def quick(self):
            return 'x'

    asgi.mount(Root())
    crossings = counted(asgi, monkeypatch)
    assert asgi.get('/later').text == asgi.get('/quick').text == 'x'
    assert crossings == []


def test_context_variables_cross_both_ways(asgi, wsgi):
    def plain_before():
        assert OWN.get() == 'nothing'
        OWN.set('set by a plain hook')

    async def async_before():
        assert OWN.get() == 'set by a plain hook'
        OWN.set('set by an async hook')

    plain_before.priority = 10
    async_before.priority = 20
    seen = []
    hooks = cpadapter.config(
        **{
            'hooks.before_handler.1': plain_before,
            'hooks.before_handler.2': async_before,
            'hooks.on_end_request': lambda: seen.append(OWN.get()),
        }
    )

    class Root:
        @cpadapter.expose
        @hooks
        def plain(self):
            found = OWN.get()
            OWN.set('set by the page')
            return found

        @cpadapter.expose
        @hooks
        async def later(self):
            found = OWN.get()
            OWN.set('set by the page')
            return found

    for client in (asgi, wsgi):
        client.mount(Root())
        for target in ('/plain', '/later'):
            assert client.get(target).text == 'set by an async hook'
    assert seen == ['set by the page'] * 4
    assert OWN.get() == 'nothing'


# -- the pool itself


def test_a_pool_refuses_what_it_has_no_room_for():
    release = threading.Event()

    async def run():
        pool = WorkerPool(1, 'test')
        pool.limit = 1
        futures = [pool.submit(copy_context(), release.wait, 5) for _ in range(2)]
        with pytest.raises(PoolFull, match='1 requests wait for one of 1 threads'):
            pool.submit(copy_context(), release.wait, 5)
        release.set()
        await asyncio.gather(*futures)
        assert await pool.run(copy_context(), lambda: 1) == 1
        pool.close()

    asyncio.run(run())


def test_what_was_withdrawn_is_not_run_and_leaves_its_room():
    release = threading.Event()
    ran = []

    async def run():
        pool = WorkerPool(1, 'test')
        pool.limit = 1
        first = pool.submit(copy_context(), release.wait, 5)
        waiting = asyncio.ensure_future(pool.run(copy_context(), ran.append, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 1)
        assert not first.done()
        second = pool.submit(copy_context(), ran.append, 2)
        release.set()
        await asyncio.gather(first, second)
        pool.close()

    asyncio.run(run())
    assert ran == [2]


def test_a_job_that_comes_after_the_close_is_done_all_the_same():
    async def run():
        pool = WorkerPool(2, 'test')
        await pool.run(copy_context(), int)
        pool.close()
        assert await asyncio.wait_for(pool.run(copy_context(), lambda: 1), 5) == 1
        pool.close()

    asyncio.run(run())


# -- over a server

SLOW = """
import threading
import time

import cpadapter

ended = []


class Root:
    @cpadapter.expose
    def slow(self):
        time.sleep(0.2)
        return 'slow'

    @cpadapter.expose
    async def later(self):
        return 'later'

    @cpadapter.expose
    @cpadapter.config(**{'hooks.on_end_request': lambda: ended.append(time.monotonic())})
    async def finishing(self, begun):
        ended.clear()
        return str(time.monotonic())

    @cpadapter.expose
    async def ended(self):
        return repr(ended)

    @cpadapter.expose
    async def threads(self):
        return str(threading.active_count())


cpadapter.config.update({'server.thread_pool': 10, 'server.accepted_queue_size': 100})
application = cpadapter.tree.mount(Root())
"""


@pytest.mark.live
def test_two_hundred_slow_pages_hold_up_nothing_but_slow_pages(tmp_path):
    pytest.importorskip('uvicorn')
    (tmp_path / 'pages.py').write_text(SLOW, encoding='utf-8')
    port = free_port()
    live = Live(command('uvicorn', 'pages:application', port), port, tmp_path, tmp_path / 'output')
    try:
        live.ready()
        assert live.get('/later').text == 'later'
        request = b'GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
        began = time.monotonic()
        socks = [socket.create_connection(('127.0.0.1', port), 20) for _ in range(200)]
        for sock in socks:
            sock.sendall(request)
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
        waits, finishing = [], []
        while time.monotonic() - began < 1.5:
            at = time.perf_counter()
            assert live.get('/later', connection=connection).text == 'later'
            waits.append(time.perf_counter() - at)
            answered = float(live.get('/finishing?begun=1', connection=connection).text)
            ended = live.until(lambda: eval(live.get('/ended', connection=connection).text), 2)
            finishing.append(ended[0] - answered)
        connection.close()
        answers = []
        for sock in socks:
            with sock:
                answers.append(read_all(sock))
        took = time.monotonic() - began
    finally:
        live.kill()
    codes = [int(answer.split()[1]) for answer in answers]
    assert codes.count(200) == 110
    assert codes.count(503) == 90
    refused = next(answer for answer in answers if answer.split()[1] == b'503')
    assert b'retry-after: 5' in refused.lower()
    assert statistics.median(waits) < 0.05
    # Of some hundreds, one may meet a garbage collection or another process.
    assert sorted(waits)[int(len(waits) * 0.95)] < 0.05
    assert statistics.median(finishing) < 0.05
    assert took > 110 / 10 * 0.2 * 0.9
    assert live.printed.count('too busy') <= 3
    print(
        f'{len(waits)} async pages beside 200 slow ones: median {statistics.median(waits) * 1000:.1f} ms, '
        f'worst {max(waits) * 1000:.1f} ms; finishing: worst {max(finishing) * 1000:.1f} ms'
    )
