"""Background work: after the response, in its context but not in its request, bounded, waited for, never silent."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from live import Live, command, free_port

import cpadapter
from cpadapter.errors import Overloaded

OWN = contextvars.ContextVar('own', default='nothing')


def until(true):
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


class Work:
    """A callable of either colour that tells what it sees, and waits where it is asked to."""

    def __init__(self, is_async):
        self.told = []
        self.release = threading.Event()
        self.call = self.later if is_async else self.plain

    def look(self, *args, **kwargs):
        try:
            request = cpadapter.request.path_info, cpadapter.request.app
        except Exception as exc:
            request = exc
        self.told.append((args, kwargs, OWN.get(), request))

    def plain(self, *args, **kwargs):
        self.look(*args, **kwargs)

    async def later(self, *args, **kwargs):
        await asyncio.sleep(0)
        self.look(*args, **kwargs)


@pytest.fixture(params=['plain', 'async'])
def work(request):
    return Work(request.param == 'async')


@pytest.fixture
def settle(client):
    """Gives `settle()`, which waits until a client's site has no background work open."""

    def settle():
        deadline = time.monotonic() + 5
        while len(client.site.background):
            assert time.monotonic() < deadline
            if client.protocol == 'asgi':
                client.loop.run_until_complete(asyncio.sleep(0.002))
            else:
                threading.Event().wait(0.002)

    return settle


def serve(client, page, config=None):
    class Root:
        index = cpadapter.expose(page)

    client.mount(Root(), '', {'/': config or {}})


@pytest.fixture
def quiet(client, monkeypatch):
    """A client that takes it that tasks outlive their request: they are the site's."""
    if client.protocol == 'asgi':

        async def asend(call):
            from conftest import Answer, AsgiChecker

            answer = Answer()
            checker = AsgiChecker(call, answer)
            await client.app(client.scope(call), checker.receive, checker.send)
            assert checker.fault is None
            return answer

        monkeypatch.setattr(client, 'asend', asend)
    return client


def test_it_runs_after_the_response_in_its_context_and_outside_of_its_request(quiet, handler, work, settle):
    order = []

    @handler.paint
    def page(self):
        OWN.set('of the request')
        cpadapter.background(work.call, 1, x=2)
        order.append(('page', len(work.told)))
        return 'x'

    serve(quiet, page, {'hooks.on_end_request': lambda: order.append(('end', len(work.told)))})
    assert quiet.get('/').text == 'x'
    settle()
    assert order == [('page', 0), ('end', 0)]
    assert work.told == [((1,), {'x': 2}, 'of the request', ('/', None))]
    assert OWN.get() == 'nothing'


def test_each_call_runs_once(quiet, handler, work, settle):
    @handler.paint
    def page(self):
        for number in range(3):
            cpadapter.background(work.call, number)
        return 'x'

    serve(quiet, page)
    for _ in range(5):
        quiet.get('/')
    settle()
    assert sorted(args[0] for args, *_ in work.told) == sorted([0, 1, 2] * 5)


def test_it_runs_where_the_request_failed(quiet, handler, work, settle):
    @handler.paint
    def page(self):
        cpadapter.background(work.call)
        raise RuntimeError

    serve(quiet, page)
    assert quiet.get('/').status == 500
    settle()
    assert len(work.told) == 1


def test_a_hook_at_the_end_may_ask_for_it(quiet, handler, work, settle):
    @handler.paint
    def page(self):
        return 'x'

    serve(quiet, page, {'hooks.on_end_request': lambda: cpadapter.background(work.call)})
    quiet.get('/')
    settle()
    assert len(work.told) == 1


def test_a_stream_is_sent_first(quiet, handler, work, settle):
    seen = []

    @handler.paint
    def page(self):
        cpadapter.background(work.call)

        def chunks():
            seen.append(len(work.told))
            yield 'x'
            seen.append(len(work.told))

        return chunks()

    serve(quiet, page, {'response.stream': True})
    assert quiet.get('/').text == 'x'
    settle()
    assert (seen, len(work.told)) == ([0, 0], 1)


def test_outside_of_a_request_it_begins_at_once(work):
    site = cpadapter.Site('other')
    site.background.add(work.call, 1)
    until(lambda: not len(site.background))
    assert work.told[0][0] == (1,)
    site.engine.exit()


def test_async_work_of_an_asgi_request_runs_on_the_servers_loop(asgi, handler):
    loops = []

    async def later():
        loops.append(asyncio.get_running_loop())

    @handler.paint
    def page(self):
        cpadapter.background(later)
        return 'x'

    serve(asgi, page)
    asgi.get('/')
    asgi.loop.run_until_complete(asyncio.sleep(0.01))
    assert loops == [asgi.loop]


def test_async_work_of_wsgi_requests_runs_on_the_loop_of_their_async_pages(wsgi):
    loops = []

    async def later():
        loops.append(asyncio.get_running_loop())

    class Root:
        @cpadapter.expose
        def plain(self):
            cpadapter.background(later)
            return 'x'

        @cpadapter.expose
        async def async_(self):
            loops.append(asyncio.get_running_loop())
            cpadapter.background(later)
            return 'x'

    wsgi.mount(Root())
    wsgi.get('/plain')
    wsgi.get('/async_')
    until(lambda: len(loops) == 3)
    assert len(set(loops)) == 1


def test_an_error_is_logged_once_with_its_traceback(quiet, work, settle):
    def fail(*args, **kwargs):
        raise RuntimeError('a secret cause')

    async def fail_later():
        await asyncio.sleep(0)
        fail()

    call = fail if work.call == work.plain else fail_later
    serve(quiet, lambda self: cpadapter.background(call))
    quiet.get('/')
    settle()
    assert len(quiet.errors) == 1
    assert f'Background work failed: {call.__qualname__}' in quiet.errors[0]
    assert 'RuntimeError: a secret cause' in quiet.errors[0]
    assert 'Traceback' in quiet.errors[0]


def test_more_than_the_limit_is_refused_at_the_call(quiet, handler, settle):
    quiet.site.config.update({'background.limit': 2})
    release = threading.Event()

    @handler.paint
    def page(self):
        cpadapter.background(release.wait, 5)
        return 'x'

    serve(quiet, page)
    try:
        assert [quiet.get('/').status for _ in range(4)] == [200, 200, 503, 503]
        answer = quiet.get('/')
        assert answer.headers['Retry-After'] == '5'
        assert 'background.limit' in answer.text
    finally:
        release.set()
    settle()
    assert quiet.get('/').status == 200
    settle()


def test_what_is_refused_outside_of_a_request_is_an_error_that_names_the_limit():
    site = cpadapter.Site('other')
    site.background.limit = 1
    release = threading.Event()
    site.background.add(release.wait, 5)
    with pytest.raises(Overloaded) as caught:
        site.background.add(release.wait, 5)
    assert 'background.limit' in caught.value.args[1]
    release.set()
    site.engine.exit()


def test_a_coroutine_in_place_of_its_function_is_refused():
    async def later():
        pass

    with pytest.raises(TypeError, match='background\\(send, message\\)'):
        cpadapter.background(later())


def test_an_unknown_setting_is_reported(client):
    client.site.config.update({'background.limits': 3})
    assert any('background.limits' in line for line in client.errors)


def test_plain_work_has_no_more_than_four_threads(client):
    site = client.site
    release = threading.Event()
    names = set()

    def look():
        names.add(threading.current_thread().name)
        release.wait(5)

    for _ in range(20):
        site.background.add(look)
    until(lambda: len(names) == 4)
    release.set()
    until(lambda: not len(site.background))
    assert names == {f'cpadapter-test-background-{number}' for number in range(1, 5)}


def test_stop_waits_for_it(work):
    site = cpadapter.Site('other')
    site.engine.ensure_started()
    ended = []

    def plain():
        threading.Event().wait(0.1)
        ended.append(1)

    async def later():
        await asyncio.sleep(0.1)
        ended.append(1)

    site.background.add(plain if work.call == work.plain else later)
    site.engine.stop()
    assert ended == [1]
    site.engine.exit()


def test_stop_waits_no_longer_than_the_timeout_and_says_what_is_left():
    site = cpadapter.Site('other')
    site.config.update({'background.timeout': 0.1})
    lines = []
    site.log.error_log.addFilter(lambda record: lines.append(record.getMessage()))
    release = threading.Event()
    told = []

    def plain():
        release.wait(10)

    async def later():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            told.append('cancelled')
            raise

    site.engine.ensure_started()
    site.background.add(plain)
    site.background.add(later)
    began = time.monotonic()
    site.engine.exit()
    assert time.monotonic() - began < 3
    release.set()
    assert told == ['cancelled']
    text = '\n'.join(lines)
    assert 'Background work has not ended within 0.1 s: ' in text
    assert 'plain' in text
    assert 'Background work was cancelled: ' in text


def test_no_thread_is_left_after_the_exit():
    site = cpadapter.Site('other')
    site.engine.ensure_started()
    site.background.add(int)
    until(lambda: not len(site.background))
    threads = [thread for thread in threading.enumerate() if thread.name.startswith('cpadapter-other-')]
    assert len(threads) == 1
    site.engine.exit()
    threads[0].join(5)
    assert not threads[0].is_alive()


def test_nothing_of_it_is_there_before_it_is_used():
    code = (
        'import sys, threading, cpadapter\n'
        'assert threading.active_count() == 1\n'
        'assert "asyncio" not in sys.modules\n'
        'cpadapter.engine.ensure_started()\n'
        'assert threading.active_count() == 1\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=20, cwd=os.getcwd())


def test_a_forked_child_has_work_of_its_own():
    code = """
import os, threading, time
import cpadapter
release = threading.Event()
cpadapter.background(release.wait, 5)
child = os.fork()
if not child:
    assert len(cpadapter.Site.default().background) == 0
    done = threading.Event()
    cpadapter.background(done.set)
    os._exit(0 if done.wait(5) else 3)
assert os.waitpid(child, 0)[1] == 0
release.set()
"""
    subprocess.run([sys.executable, '-W', 'error', '-c', code], check=True, timeout=20, cwd=os.getcwd())


SERVED = """
import asyncio
import time

import cpadapter


class Root:
    @cpadapter.expose
    def index(self):
        cpadapter.background(plain)
        cpadapter.background(later)
        return 'x'

    @cpadapter.expose
    async def async_(self):
        cpadapter.background(plain)
        cpadapter.background(later)
        return 'x'


def plain():
    time.sleep(1)
    print('PLAIN', flush=True)


async def later():
    await asyncio.sleep(1)
    print('LATER', flush=True)


application = cpadapter.tree.mount(Root())
"""


@pytest.mark.live
@pytest.mark.parametrize('server', ['uvicorn', 'gunicorn-gthread', 'gunicorn-asgi', 'waitress', 'hypercorn'])
def test_a_server_that_is_told_to_end_waits_for_it(server, tmp_path):
    pytest.importorskip(server.partition('-')[0])
    (tmp_path / 'pages.py').write_text(SERVED, encoding='utf-8')
    port = free_port()
    live = Live(command(server, 'pages:application', port), port, tmp_path, tmp_path / 'output')
    try:
        live.ready()
        assert live.get('/').text == live.get('/async_').text == 'x'
        assert 'PLAIN' not in live.printed
        live.end(signal.SIGTERM if server != 'waitress' else signal.SIGINT)
        assert live.printed.count('PLAIN') == 2
        assert live.printed.count('LATER') == 2
    finally:
        live.kill()
