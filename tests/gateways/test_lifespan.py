"""Lifespans: async listeners of the engine, the lifespans of ASGI children, and ours inside a parent's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import cpadapter
from cpadapter.gateways import lifespan as lifespan_module
from cpadapter.gateways.bridge import LoopThread


class Root:
    @cpadapter.expose
    def index(self):
        return 'ok'

    @cpadapter.expose
    async def later(self):
        return 'later'

    @cpadapter.expose
    @cpadapter.tools.json_out()
    def state(self):
        return sorted(f'{name}={value}' for name, value in cpadapter.request.state.items())


def make_child(name, seen, fails=None, state=None):
    """Make an ASGI application with a lifespan; fails: 'startup', 'shutdown', 'raise' or 'raise late'."""

    async def app(scope, receive, send):
        if scope['type'] == 'http':
            await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
            text = ' '.join(f'{key}={value}' for key, value in sorted(scope.get('state', {}).items()))
            await send({'type': 'http.response.body', 'body': f'{name} {text}'.encode()})
            return
        assert (await receive())['type'] == 'lifespan.startup'
        if fails == 'raise':
            raise LookupError(f'{name} raised')
        if fails == 'startup':
            await send({'type': 'lifespan.startup.failed', 'message': f'{name} has no database'})
            return
        seen.append((name, 'startup', asyncio.get_running_loop()))
        scope['state'].update(state or {})
        await send({'type': 'lifespan.startup.complete'})
        assert (await receive())['type'] == 'lifespan.shutdown'
        seen.append((name, 'shutdown', asyncio.get_running_loop()))
        if fails == 'raise late':
            raise LookupError(f'{name} raised')
        if fails == 'shutdown':
            await send({'type': 'lifespan.shutdown.failed', 'message': f'{name} is stuck'})
        else:
            await send({'type': 'lifespan.shutdown.complete'})

    return app


def told(seen):
    return [entry[:2] for entry in seen]


@pytest.fixture
def site(client):
    client.mount(Root())
    return client.site


class Server:
    """The lifespan side of an ASGI server, in a loop that already runs."""

    def __init__(self, app, state=None):
        self.app = app
        self.state = state
        self.sent = []
        self.answered = asyncio.Event()
        self.messages = asyncio.Queue()

    async def say(self, kind):
        self.answered.clear()
        self.messages.put_nowait({'type': f'lifespan.{kind}'})
        await asyncio.wait_for(self.answered.wait(), 10)
        return self.sent[-1]

    async def send(self, message):
        self.sent.append(message)
        self.answered.set()

    async def __aenter__(self):
        scope = {'type': 'lifespan', 'asgi': {'version': '3.0', 'spec_version': '2.0'}}
        if self.state is not None:
            scope['state'] = self.state
        self.task = asyncio.ensure_future(self.app(scope, self.messages.get, self.send))
        return self

    async def __aexit__(self, *exc):
        await asyncio.wait((self.task,), timeout=5)
        assert self.task.done()


async def ask(app, path, state=None):
    """Send a GET; give (status, body)."""
    sent = []

    async def receive():
        return {'type': 'http.request', 'body': b'', 'more_body': False}

    async def send(message):
        sent.append(message)

    scope = {
        'type': 'http',
        'asgi': {'version': '3.0', 'spec_version': '2.5'},
        'http_version': '1.1',
        'method': 'GET',
        'scheme': 'http',
        'path': path,
        'raw_path': path.encode(),
        'query_string': b'',
        'root_path': '',
        'headers': [(b'host', b'test')],
    }
    if state is not None:
        scope['state'] = state
    await app(scope, receive, send)
    return sent[0]['status'], b''.join(message.get('body', b'') for message in sent[1:]).decode()


async def others():
    """Give the tasks left but the caller's."""
    for _ in range(5):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


class TestListeners:
    def test_async_ones_run_on_the_servers_loop_in_the_order_of_priorities(self, asgi):
        seen = []
        engine = asgi.site.engine

        def plain(name):
            assert threading.current_thread() is not main
            seen.append(name)

        async def later(name):
            await asyncio.sleep(0)
            seen.append(name)
            assert asyncio.get_running_loop() is loops[0]

        main = threading.current_thread()
        loops = []
        for channel in ('start', 'stop', 'exit'):
            engine.subscribe(channel, functools.partial(plain, f'{channel} 1'), 10)
            engine.subscribe(channel, functools.partial(later, f'{channel} 2'), 20)
            engine.subscribe(channel, functools.partial(plain, f'{channel} 3'), 60)
            engine.subscribe(channel, functools.partial(later, f'{channel} 4'), 80)

        async def main_program():
            loops.append(asyncio.get_running_loop())
            async with Server(asgi.app) as server:
                assert (await server.say('startup'))['type'] == 'lifespan.startup.complete'
                assert (await server.say('shutdown'))['type'] == 'lifespan.shutdown.complete'
            assert not await others()

        asyncio.run(main_program())
        assert seen == [f'{channel} {number}' for channel in ('start', 'stop', 'exit') for number in (1, 2, 3, 4)]

    def test_without_a_lifespan_they_run_where_async_pages_do(self, client):
        loops = []

        async def note():
            loops.append(asyncio.get_running_loop())

        class Page:
            @cpadapter.expose
            async def index(self):
                await note()
                return 'ok'

        client.mount(Page())
        client.site.engine.subscribe('start', note)
        client.get('/')
        client.get('/')
        assert len(loops) == 3
        assert loops[0] is loops[1] is loops[2]

    def test_a_failing_one_is_told_with_its_message(self, asgi):
        async def fails():
            raise ValueError('no database')

        asgi.site.engine.subscribe('start', fails)

        async def main():
            async with Server(asgi.app) as server:
                return await server.say('startup')

        assert asyncio.run(main()) == {'type': 'lifespan.startup.failed', 'message': 'ValueError: no database'}

    def test_publishing_on_the_loop_that_would_have_to_run_them_is_an_error(self, asgi):
        async def listener():
            return None

        engine = asgi.site.engine
        engine.subscribe('start', listener)
        engine.subscribe('mine', listener)

        async def main():
            async with asgi.site.tree.lifespan():
                with pytest.raises(Exception, match='publish from a thread'):
                    engine.publish('mine')
                assert await asyncio.to_thread(engine.publish, 'mine') == [None]

        asyncio.run(main())


class TestChildren:
    def run(self, app, *acts, state=None):
        """Send startup, act, and shutdown unless the startup failed; give the server's messages."""

        async def main():
            async with Server(app, state) as server:
                if (await server.say('startup'))['type'] == 'lifespan.startup.complete':
                    for act in acts:
                        await act()
                    await server.say('shutdown')
            assert not await others()
            return server.sent

        return asyncio.run(main())

    def test_they_start_in_order_after_the_engine_and_stop_in_reverse_before_it(self, asgi):
        seen = []
        engine = asgi.site.engine
        for channel in ('start', 'stop', 'exit'):
            engine.subscribe(channel, functools.partial(seen.append, ('engine', channel)))
        for name in ('a', 'b', 'c'):
            asgi.site.tree.graft(make_child(name, seen), f'/{name}')
        sent = self.run(asgi.app)
        assert [message['type'] for message in sent] == ['lifespan.startup.complete', 'lifespan.shutdown.complete']
        assert told(seen) == [
            ('engine', 'start'),
            *((name, 'startup') for name in 'abc'),
            *((name, 'shutdown') for name in 'cba'),
            ('engine', 'stop'),
            ('engine', 'exit'),
        ]

    @pytest.mark.parametrize('how', ['startup', 'raise'])
    def test_a_failing_startup_is_told_and_those_before_it_are_stopped(self, asgi, how):
        seen = []
        engine = asgi.site.engine
        engine.subscribe('stop', functools.partial(seen.append, ('engine', 'stop')))
        tree = asgi.site.tree
        tree.graft(make_child('a', seen), '/a')
        tree.graft(make_child('b', seen), '/b')
        tree.graft(make_child('bad', seen, how), '/bad')
        tree.graft(make_child('never', seen), '/never')
        (message,) = self.run(asgi.app)
        assert message['type'] == 'lifespan.startup.failed'
        assert ('bad has no database' if how == 'startup' else 'LookupError: bad raised') in message['message']
        assert told(seen) == [
            *(('a', 'startup'), ('b', 'startup'), ('b', 'shutdown'), ('a', 'shutdown')),
            ('engine', 'stop'),
        ]

    @pytest.mark.parametrize('how', ['shutdown', 'raise late'])
    def test_a_failing_shutdown_is_told_and_the_others_are_stopped(self, asgi, how):
        seen = []
        engine = asgi.site.engine
        engine.subscribe('stop', functools.partial(seen.append, ('engine', 'stop')))
        for name, fails in (('a', None), ('bad', how), ('c', None)):
            asgi.site.tree.graft(make_child(name, seen, fails), f'/{name}')
        sent = self.run(asgi.app)
        assert sent[-1]['type'] == 'lifespan.shutdown.failed'
        assert ('bad is stuck' if how == 'shutdown' else 'bad raised') in sent[-1]['message']
        assert told(seen)[-4:] == [('c', 'shutdown'), ('bad', 'shutdown'), ('a', 'shutdown'), ('engine', 'stop')]

    def test_one_without_a_lifespan_is_taken_as_such(self, asgi):
        async def raises(scope, receive, send):
            assert scope['type'] == 'http'

        async def returns(scope, receive, send):
            return

        async def answers_anything(scope, receive, send):
            await receive()
            await send({'type': 'http.response.start', 'status': 200, 'headers': []})

        seen = []
        for number, app in enumerate((raises, returns, answers_anything, make_child('z', seen))):
            asgi.site.tree.graft(app, f'/{number}')
        sent = self.run(asgi.app)
        assert [message['type'] for message in sent] == ['lifespan.startup.complete', 'lifespan.shutdown.complete']
        assert told(seen) == [('z', 'startup'), ('z', 'shutdown')]

    def test_one_that_never_answers_the_shutdown_is_ended(self, asgi, monkeypatch):
        monkeypatch.setattr(lifespan_module, 'SHUTDOWN_TIMEOUT', 0.05)
        monkeypatch.setattr(lifespan_module, 'RETURN_TIMEOUT', 0.05)

        async def stays(scope, receive, send):
            await receive()
            await send({'type': 'lifespan.startup.complete'})
            await asyncio.Event().wait()

        asgi.site.tree.graft(stays, '/stays')
        sent = self.run(asgi.app)
        assert 'did not answer the shutdown within 0.05 s' in sent[-1]['message']

    def test_one_mounted_twice_starts_once(self, asgi):
        seen = []
        app = make_child('a', seen)
        asgi.site.tree.graft(app, '/one')
        asgi.site.tree.graft(app, '/two')
        self.run(asgi.app)
        assert told(seen) == [('a', 'startup'), ('a', 'shutdown')]

    def test_one_whose_lifespan_is_somebody_elses_is_left_alone(self, asgi):
        seen = []
        asgi.site.tree.graft(make_child('a', seen), '/a', lifespan=False)
        self.run(asgi.app, lambda: ask(asgi.app, '/a'))
        assert seen == []

    def test_a_tree_of_another_site_starts_with_its_own_children(self, asgi):
        seen = []
        other = cpadapter.Site('other')
        other.config.update({'checker.on': False})
        for channel in ('start', 'stop'):
            other.engine.subscribe(channel, functools.partial(seen.append, ('other', channel)))
        other.tree.graft(make_child('inner', seen), '/inner')
        asgi.site.tree.graft(make_child('first', seen), '/first')
        asgi.site.tree.graft(other.tree, '/other')

        async def act():
            assert await ask(asgi.app, '/other/inner/x') == (200, 'inner ')

        self.run(asgi.app, act)
        assert told(seen) == [
            *(('first', 'startup'), ('other', 'start'), ('inner', 'startup')),
            *(('inner', 'shutdown'), ('other', 'stop'), ('first', 'shutdown')),
        ]

    def test_a_lifespan_after_another_starts_all_anew(self, asgi):
        seen = []
        asgi.site.engine.subscribe('start', functools.partial(seen.append, ('engine', 'start')))
        asgi.site.tree.graft(make_child('a', seen), '/a')
        for _ in range(2):
            seen.clear()
            self.run(asgi.app)
            assert told(seen) == [('engine', 'start'), ('a', 'startup'), ('a', 'shutdown')]

    def test_the_frameworks_run_their_lifespans(self, asgi):
        seen = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            seen.append('startup')
            yield {'db': 'made'}
            seen.append('shutdown')

        starlette = pytest.importorskip('starlette.applications')
        responses = pytest.importorskip('starlette.responses')
        routing = pytest.importorskip('starlette.routing')
        fastapi = pytest.importorskip('fastapi')

        async def index(request):
            return responses.PlainTextResponse(request.state.db)

        asgi.site.tree.graft(starlette.Starlette(routes=[routing.Route('/', index)], lifespan=lifespan), '/s')
        asgi.site.tree.graft(fastapi.FastAPI(routes=[routing.Route('/', index)], lifespan=lifespan), '/f')

        async def act():
            assert await ask(asgi.app, '/s/') == (200, 'made')
            assert await ask(asgi.app, '/f/') == (200, 'made')
            assert seen == ['startup'] * 2

        self.run(asgi.app, act)
        assert seen == ['startup'] * 2 + ['shutdown'] * 2


class TestLazyStart:
    def test_under_wsgi_they_start_once_on_the_loop_of_async_code_and_stop_with_the_engine(self, wsgi):
        seen = []
        for name in ('a', 'b'):
            wsgi.site.tree.graft(make_child(name, seen), f'/{name}')
        barrier = threading.Barrier(8)

        def get(number):
            barrier.wait(10)
            return wsgi.get('/a/' if number % 2 else '/b/').status

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(get, range(8))) == {200}
        assert told(seen) == [('a', 'startup'), ('b', 'startup')]
        loop = LoopThread.get().loop
        wsgi.site.engine.ensure_exited()
        assert told(seen)[2:] == [('b', 'shutdown'), ('a', 'shutdown')]
        assert {entry[2] for entry in seen} == {loop}

    def test_under_asgi_they_start_once_on_the_running_loop(self, asgi):
        seen = []
        for name in ('a', 'b'):
            asgi.site.tree.graft(make_child(name, seen), f'/{name}')
        starts = []
        asgi.site.engine.subscribe('start', functools.partial(starts.append, 1))

        async def main():
            paths = ['/a/', '/b/'] * 4
            answers = await asyncio.gather(*(ask(asgi.app, path) for path in paths))
            assert {status for status, _ in answers} == {200}
            await asyncio.to_thread(asgi.site.engine.ensure_exited)
            assert not await others()
            return asyncio.get_running_loop()

        loop = asyncio.run(main())
        assert starts == [1]
        assert told(seen) == [('a', 'startup'), ('b', 'startup'), ('b', 'shutdown'), ('a', 'shutdown')]
        assert {entry[2] for entry in seen} == {loop}

    def test_what_is_grafted_later_starts_at_its_first_request(self, client):
        client.mount(Root())
        assert client.get('/').text == 'ok'
        seen = []
        app = make_child('late', seen)

        async def check():
            assert await ask(client.app, '/late/') == (200, 'late ')
            assert await ask(client.app, '/late/') == (200, 'late ')
            await asyncio.to_thread(client.site.engine.ensure_exited)

        if client.protocol == 'asgi':
            # The engine belongs to the loop of its first request.
            client.site.engine.awaiter = None
        client.site.tree.graft(app, '/late')
        if client.protocol == 'asgi':
            client.loop.run_until_complete(check())
        else:
            assert client.get('/late/').status == client.get('/late/').status == 200
            client.site.engine.ensure_exited()
        assert told(seen) == [('late', 'startup'), ('late', 'shutdown')]

    def test_a_failing_child_fails_the_request_and_is_tried_again(self, wsgi):
        seen = []
        wsgi.site.tree.graft(make_child('bad', seen, 'startup'), '/bad')
        for _ in range(2):
            with pytest.raises(Exception, match='bad has no database'):
                wsgi.get('/bad/')
        wsgi.site.tree.apps['/bad'] = make_child('good', seen)
        assert wsgi.get('/bad/').status == 200

    def test_a_loop_that_has_ended_is_no_hang_at_the_exit(self, asgi):
        seen = []
        asgi.site.tree.graft(make_child('a', seen), '/a')

        async def main():
            assert (await ask(asgi.app, '/a/'))[0] == 200

        asyncio.run(main())
        asgi.site.engine.ensure_exited()
        assert told(seen) == [('a', 'startup')]
        assert any('its event loop has ended' in record.getMessage() for record in asgi.records)


class TestState:
    def test_what_start_listeners_share_is_in_every_request(self, client, site):
        def share():
            site.engine.shared['db'] = 'pool'

        site.engine.subscribe('start', share)
        assert client.get('/state').json == ['db=pool']
        assert client.get('/state').json == ['db=pool']

    def test_a_request_has_a_copy(self, client):
        class Writes:
            @cpadapter.expose
            def index(self):
                cpadapter.request.state['mine'] = 1
                return str(len(cpadapter.request.state))

        client.mount(Writes())
        client.site.engine.shared['db'] = 'pool'
        assert client.get('/').text == client.get('/').text == '2'
        assert client.site.engine.shared == {'db': 'pool'}

    def test_it_goes_into_the_servers_state_and_the_parents_is_visible(self, asgi):
        asgi.mount(Root())

        async def share():
            asgi.site.engine.shared['db'] = 'pool'

        asgi.site.engine.subscribe('start', share)

        async def main():
            state = {'outer': 1}
            async with Server(asgi.app, state) as server:
                await server.say('startup')
                assert state == {'outer': 1, 'db': 'pool'}
                answer = await ask(asgi.app, '/state', dict(state))
                await server.say('shutdown')
            return answer

        assert asyncio.run(main()) == (200, '["db=pool", "outer=1"]')

    def test_a_child_has_its_own_beside_that_of_those_around_it(self, asgi):
        seen = []
        asgi.site.engine.shared['db'] = 'pool'
        asgi.site.tree.graft(make_child('a', seen, state={'own': 'a'}), '/a')
        asgi.site.tree.graft(make_child('b', seen, state={'own': 'b'}), '/b')

        async def main():
            async with Server(asgi.app, {}) as server:
                await server.say('startup')
                assert await ask(asgi.app, '/a/', {'outer': 1}) == (200, 'a db=pool outer=1 own=a')
                assert await ask(asgi.app, '/b/', {'outer': 1}) == (200, 'b db=pool outer=1 own=b')
                await server.say('shutdown')

        asyncio.run(main())
        assert asgi.site.engine.shared == {'db': 'pool'}


class TestHelper:
    def sites(self, seen, *names):
        made = []
        for name in names:
            site = cpadapter.Site(name)
            site.config.update({'checker.on': False})
            site.tree.mount(Root())
            for channel in ('start', 'stop', 'exit'):
                site.engine.subscribe(channel, functools.partial(seen.append, (name, channel)))
            made.append(site)
        return made

    def test_it_starts_in_order_and_stops_in_reverse(self):
        seen = []
        one, two = self.sites(seen, 'one', 'two')

        async def main():
            async with cpadapter.lifespan(one.tree, two.tree, make_child('child', seen)):
                assert told(seen) == [('one', 'start'), ('two', 'start'), ('child', 'startup')]
                assert await ask(one.tree, '/') == (200, 'ok')
            assert not await others()

        asyncio.run(main())
        assert told(seen)[3:] == [
            ('child', 'shutdown'),
            *(('two', 'stop'), ('two', 'exit'), ('one', 'stop'), ('one', 'exit')),
        ]

    def test_a_failure_unwinds_all(self):
        seen = []
        one, two = self.sites(seen, 'one', 'two')

        async def fails():
            raise ValueError('no database')

        two.engine.subscribe('start', fails)

        async def main():
            with pytest.raises(Exception, match='no database'):
                async with cpadapter.lifespan(one.tree, two.tree):
                    raise AssertionError('not reached')

        asyncio.run(main())
        assert [entry for entry in seen if entry[0] == 'one'] == [('one', 'start'), ('one', 'stop'), ('one', 'exit')]

    def test_an_error_inside_stops_and_passes(self):
        seen = []
        (one,) = self.sites(seen, 'one')

        async def main():
            async with one.tree.lifespan():
                raise LookupError('inside')

        with pytest.raises(LookupError, match='inside'):
            asyncio.run(main())
        assert seen == [('one', 'start'), ('one', 'stop'), ('one', 'exit')]

    def test_two_applications_of_one_site_start_its_engine_once(self):
        seen = []
        (one,) = self.sites(seen, 'one')
        app = one.tree.mount(Root(), '/second')

        async def main():
            assert await ask(one.tree, '/') == (200, 'ok')
            async with cpadapter.lifespan(app, one.tree):
                async with app.lifespan():
                    assert await ask(app, '/second/') == (200, 'ok')
                assert seen == [('one', 'start')]

        asyncio.run(main())
        assert seen == [('one', 'start'), ('one', 'stop'), ('one', 'exit')]

    def test_it_stands_in_a_starlette_parent(self):
        starlette = pytest.importorskip('starlette.applications')
        routing = pytest.importorskip('starlette.routing')
        seen = []
        (one,) = self.sites(seen, 'one')
        one.engine.shared['db'] = 'pool'
        parent = starlette.Starlette(routes=[routing.Mount('/site', one.tree)], lifespan=one.tree.lifespan)

        async def main():
            state = {}
            async with Server(parent, state) as server:
                assert (await server.say('startup'))['type'] == 'lifespan.startup.complete'
                assert seen == [('one', 'start')]
                assert await ask(parent, '/site/state', dict(state)) == (200, '["db=pool"]')
                await server.say('shutdown')

        asyncio.run(main())
        assert seen == [('one', 'start'), ('one', 'stop'), ('one', 'exit')]

    def test_without_arguments_it_is_the_default_sites(self):
        seen = []
        engine = cpadapter.engine
        listener = functools.partial(seen.append, 'start')
        engine.subscribe('start', listener)

        async def main():
            async with cpadapter.lifespan():
                return engine.state

        try:
            assert asyncio.run(main()) is engine.states.STARTED
        finally:
            engine.unsubscribe('start', listener)
        assert seen == ['start']
