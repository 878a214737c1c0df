"""One object for every server: how it is called, where it is mounted, when its engine starts and stops."""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import threading

import pytest

import cpadapter
from cpadapter import expose


class Root:
    @expose
    def index(self):
        return f'plain {cpadapter.request.script_name}|{cpadapter.request.path_info}|{cpadapter.url("/x")}'

    @expose
    async def later(self):
        await asyncio.sleep(0)
        return f'async {cpadapter.request.script_name}|{cpadapter.request.path_info}|{cpadapter.url("/x")}'

    @expose
    def page(self, *args):
        return repr(args)


def scope_for(path='/', **more):
    return {
        'type': 'http',
        'asgi': {'version': '3.0'},
        'http_version': '1.1',
        'method': 'GET',
        'scheme': 'http',
        'path': path,
        'query_string': b'',
        'headers': [(b'host', b'h')],
        **more,
    }


def run_asgi(call, scope):
    """Drive an ASGI 3 callable, or what stands for one; give the messages it sent."""
    sent = []

    async def main():
        async def receive():
            return {'type': 'http.request', 'body': b'', 'more_body': False}

        async def send(message):
            sent.append(message)

        await call(scope, receive, send)

    asyncio.run(main())
    return sent


class TestCallForms:
    @pytest.fixture(params=['application', 'tree'])
    def app(self, request, asgi):
        app = asgi.mount(Root())
        return app if request.param == 'application' else asgi.site.tree

    def test_two_arguments_are_wsgi_and_three_asgi(self, app, wsgi):
        wsgi.app = app
        assert wsgi.get('/').text.startswith('plain')
        assert run_asgi(app, scope_for())[1]['body'].startswith(b'plain')

    def test_one_argument_is_asgi_2(self, app):
        def asgi_2(scope, receive, send):
            return app(scope)(receive, send)

        assert run_asgi(asgi_2, scope_for())[1]['body'].startswith(b'plain')

    def test_each_protocol_has_a_callable_of_its_own(self, app, wsgi):
        wsgi.app = app.wsgi
        assert wsgi.get('/').text.startswith('plain')
        assert run_asgi(app.asgi, scope_for())[1]['body'].startswith(b'plain')

    def test_servers_find_a_coroutine_function(self, app):
        assert inspect.iscoroutinefunction(app.__call__)
        assert asyncio.iscoroutinefunction(app.__call__)
        assert callable(app)
        assert not inspect.isclass(app)
        assert not inspect.iscoroutinefunction(app.wsgi)

    def test_what_they_find_can_be_called(self, app):
        assert run_asgi(app.__call__, scope_for())[1]['body'].startswith(b'plain')
        started = []
        environ = {
            'REQUEST_METHOD': 'GET', 'PATH_INFO': '/', 'HTTP_HOST': 'h', 'wsgi.input': io.BytesIO(), 'SERVER_NAME': 'h',
            'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http',
        }  # fmt: skip
        assert b''.join(app.__call__(environ, lambda status, headers, exc_info=None: started.append(status)))
        assert started == ['200 OK']

    def test_other_calls_raise_a_clear_error(self, app):
        with pytest.raises(TypeError, match='environ, start_response'):
            app({})
        with pytest.raises(TypeError):
            app()

    def test_an_unknown_connection_type_raises(self, app):
        with pytest.raises(RuntimeError, match='ASGI connection type'):
            run_asgi(app, {'type': 'carrier-pigeon'})

    def test_a_subclass_is_detected_too(self, asgi):
        class Own(cpadapter.Application):
            pass

        assert inspect.iscoroutinefunction(Own(Root(), site=asgi.site).__call__)

    def test_a_minimal_scope_is_enough(self, app):
        scope = {'type': 'http', 'method': 'GET', 'path': '/', 'headers': [(b'host', b'h')], 'http_version': '1.1'}
        assert run_asgi(app, scope)[0]['status'] == 200


class TestAsyncUnderWsgi:
    def test_one_loop_serves_all_requests(self, wsgi):
        loops = set()

        class Pages:
            @expose
            async def index(self):
                loops.add((asyncio.get_running_loop(), threading.current_thread().name))
                return 'x'

        wsgi.mount(Pages())
        threads = [threading.Thread(target=wsgi.get, args=('/',)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        wsgi.get('/')
        assert len(loops) == 1

    def test_a_call_from_that_very_loop_is_a_clear_error(self, wsgi):
        class Pages:
            @expose
            async def index(self):
                return 'inner'

            @expose
            async def nested(self):
                from wsgiref.util import setup_testing_defaults

                environ = {'HTTP_HOST': 'h', 'PATH_INFO': '/'}
                setup_testing_defaults(environ)
                try:
                    b''.join(wsgi.site.tree.wsgi(environ, lambda *args: None))
                except RuntimeError as exc:
                    return f'refused: {exc}'
                return 'served'

        wsgi.mount(Pages())
        assert 'event loop' in wsgi.get('/nested').text

    def test_async_hooks_run_too(self, client, handler):
        seen = []

        async def hook():
            await asyncio.sleep(0)
            seen.append(cpadapter.request.path_info)

        class Pages:
            @handler
            def index(self):
                return 'x'

        points = ('on_start_resource', 'before_handler', 'before_finalize', 'on_end_resource', 'on_end_request')
        client.mount(Pages(), config={'/': {f'hooks.{point}': hook for point in points}})
        assert client.get('/').text == 'x'
        assert seen == ['/'] * 5

    def test_plain_hooks_of_an_async_plan_run_in_a_thread(self, asgi):
        names = []

        def blocking():
            names.append(threading.current_thread() is threading.main_thread())

        def quick():
            names.append(threading.current_thread() is threading.main_thread())

        quick.non_blocking = True

        class Pages:
            @expose
            async def index(self):
                return 'x'

        asgi.mount(Pages(), config={'/': {'hooks.before_handler.a': blocking, 'hooks.before_handler.b': quick}})
        assert asgi.get('/').text == 'x'
        assert names == [False, True]


class TestPlainUnderAsgi:
    def test_a_plain_page_handler_runs_in_a_thread_unless_it_says_it_never_blocks(self, asgi):
        seen = []

        class Pages:
            @expose
            def index(self):
                seen.append(threading.current_thread() is threading.main_thread())
                return 'x'

            @cpadapter.config(**{'request.non_blocking': True})
            @expose
            def quick(self):
                seen.append(threading.current_thread() is threading.main_thread())
                return 'x'

        asgi.mount(Pages())
        asgi.get('/')
        asgi.get('/quick')
        assert seen == [False, True]

    def test_as_many_run_at_once_as_there_are_threads(self, asgi):
        barrier = threading.Barrier(4, timeout=10)

        class Pages:
            @expose
            def index(self):
                barrier.wait()
                return 'x'

        asgi.mount(Pages())
        asgi.site.server.thread_pool = 4
        from urllib.parse import quote  # noqa: F401

        async def main():
            tasks = [asgi.app(scope_for(), *_quiet()) for _ in range(8)]
            await asyncio.gather(*tasks)

        asgi.loop.run_until_complete(main())

    def test_async_pages_are_served_while_all_threads_are_busy(self, asgi):
        release = threading.Event()

        class Pages:
            @expose
            def slow(self):
                release.wait(10)
                return 'x'

            @expose
            async def quick(self):
                return 'y'

        asgi.mount(Pages())
        asgi.site.server.thread_pool = 1

        async def main():
            slow = [asyncio.ensure_future(asgi.app(scope_for('/slow'), *_quiet())) for _ in range(3)]
            await asyncio.sleep(0.01)
            await asgi.app(scope_for('/quick'), *_quiet())
            assert not any(task.done() for task in slow)
            release.set()
            await asyncio.gather(*slow)

        asgi.loop.run_until_complete(main())


def _quiet():
    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        pass

    return receive, send


class TestLifespan:
    def drive(self, app, *types):
        sent = []

        async def main():
            messages = iter([{'type': f'lifespan.{name}'} for name in types])

            async def receive():
                return next(messages)

            async def send(message):
                sent.append(message)

            await app({'type': 'lifespan', 'asgi': {'version': '3.0', 'spec_version': '2.0'}}, receive, send)

        asyncio.run(main())
        return sent

    def test_it_starts_and_stops_the_engine_once(self, asgi):
        seen = []
        engine = asgi.site.engine
        for channel in ('start', 'stop', 'exit'):
            engine.subscribe(channel, functools.partial(seen.append, channel))
        asgi.mount(Root())
        assert self.drive(asgi.app, 'startup', 'shutdown') == [
            {'type': 'lifespan.startup.complete'},
            {'type': 'lifespan.shutdown.complete'},
        ]
        assert seen == ['start', 'stop', 'exit']

    def test_requests_in_between_start_nothing(self, asgi):
        seen = []
        asgi.site.engine.subscribe('start', functools.partial(seen.append, 'start'))
        asgi.mount(Root())
        asgi.get('/')
        assert seen == ['start']
        self.drive(asgi.app, 'startup', 'shutdown')
        assert seen == ['start']

    def test_a_failing_start_is_told(self, asgi):
        def fails():
            raise ValueError('no database')

        asgi.site.engine.subscribe('start', fails)
        asgi.mount(Root())
        (message,) = self.drive(asgi.app, 'startup')
        assert message['type'] == 'lifespan.startup.failed'
        assert 'no database' in message['message']

    def test_a_failing_stop_is_told_and_the_others_run(self, asgi):
        seen = []

        def fails():
            raise ValueError('stuck')

        asgi.site.engine.subscribe('stop', fails, priority=10)
        asgi.site.engine.subscribe('stop', functools.partial(seen.append, 'other'), priority=90)
        asgi.mount(Root())
        sent = self.drive(asgi.app, 'startup', 'shutdown')
        assert [message['type'] for message in sent] == ['lifespan.startup.complete', 'lifespan.shutdown.failed']
        assert 'stuck' in sent[1]['message']
        assert seen == ['other']

    def test_without_it_the_first_request_starts_the_engine_once(self, client):
        seen = []
        client.site.engine.subscribe('start', functools.partial(seen.append, 'start'))
        client.mount(Root())
        assert seen == []
        client.get('/')
        client.get('/nope')
        assert seen == ['start']


class TestPrefixes:
    """SCRIPT_NAME and root_path: what is mounted outside of us."""

    @pytest.mark.parametrize('path', ['/', '/later'])
    def test_an_outer_prefix_is_part_of_script_name(self, client, path):
        client.mount(Root())
        word = 'plain' if path == '/' else 'async'
        assert client.get(path, prefix='/api').text == f'{word} /api|{path}|http://testserver/api/x'

    def test_a_root_path_counts_whether_or_not_the_path_holds_it(self, asgi):
        asgi.mount(Root())
        for path in ('/api/', '/'):
            answer = asgi.get('/', scope={'path': path, 'raw_path': path.encode(), 'root_path': '/api'})
            assert answer.text == 'plain /api|/|http://testserver/api/x', path

    def test_a_mount_without_its_slash_is_redirected(self, client):
        client.mount(Root(), '/app')
        assert client.get('/app').headers['Location'] == 'http://testserver/app/'
        assert client.get('/app', prefix='/outer').headers['Location'] == 'http://testserver/outer/app/'

    @pytest.mark.parametrize('root_path', ['/api', '/api/'])
    def test_it_is_cut_off_on_a_segment_border_only(self, asgi, root_path):
        asgi.mount(Root())
        answer = asgi.get('/', scope={'path': '/apix/y', 'raw_path': b'/apix/y', 'root_path': root_path})
        assert answer.status == 404
        assert '/api/apix/y' in answer.text
        answer = asgi.get('/', scope={'path': '/api/page/y', 'raw_path': b'/api/page/y', 'root_path': root_path})
        assert answer.text == "('y',)"

    def test_an_application_may_be_served_alone(self, client):
        app = cpadapter.Application(Root(), '/app', site=client.site)
        client.app = app
        assert client.get('/app/').text == 'plain /app|/|http://testserver/app/x'
        assert client.get('/', prefix='/app').text == 'plain /app|/|http://testserver/app/x'
        assert client.get('/app/', prefix='/outer').text == 'plain /outer/app|/|http://testserver/outer/app/x'
        assert client.get('/application').status == 404
        assert client.get('/other/x').status == 404
        assert client.get('/').status == 404

    def test_a_script_name_of_none_takes_what_is_outside(self, client):
        app = cpadapter.Application(Root(), None, site=client.site)
        client.app = app
        assert client.get('/').text == 'plain |/|http://testserver/x'
        assert client.get('/', prefix='/outer').text == 'plain /outer|/|http://testserver/outer/x'
        assert app.script_name is None
        assert 'None' in repr(app)

    def test_a_mount_that_names_the_outer_prefix_is_found(self, client):
        client.mount(Root(), '/outer/app')
        assert client.get('/app/', prefix='/outer').text == 'plain /outer/app|/|http://testserver/outer/app/x'

    def test_a_non_ascii_prefix_is_decoded(self, client):
        client.mount(Root(), '/ä')
        assert client.get('/%C3%A4/', prefix='/%C3%B6').text == 'plain /ö/ä|/|http://testserver/ö/ä/x'


class TestHosts:
    """Mounted inside other people's applications."""

    def ask(self, app, target, **scope):
        sent = run_asgi(app, scope_for(target, raw_path=target.encode(), **scope))
        return sent[0]['status'], b''.join(message.get('body', b'') for message in sent[1:]).decode()

    def test_starlette_mounts(self, asgi):
        routing = pytest.importorskip('starlette.routing')
        applications = pytest.importorskip('starlette.applications')
        asgi.mount(Root())
        mounted = applications.Starlette(routes=[routing.Mount('/api', asgi.app)])
        assert self.ask(mounted, '/api/') == (200, 'plain /api|/|http://h/api/x')
        assert self.ask(mounted, '/api/later') == (200, 'async /api|/later|http://h/api/x')
        assert self.ask(mounted, '/api/page/a%2Fb')[0] == 200
        assert self.ask(mounted, '/apix/')[0] == 404
        later = applications.Starlette()
        later.mount('/deep/er', asgi.app)
        assert self.ask(later, '/deep/er/') == (200, 'plain /deep/er|/|http://h/deep/er/x')
        assert self.ask(later, '/deep/er/', root_path='/outer')[0] in (200, 404)

    def test_a_starlette_tree_below_a_mount_of_ours(self, asgi):
        routing = pytest.importorskip('starlette.routing')
        applications = pytest.importorskip('starlette.applications')
        asgi.mount(Root(), '/own')
        outer = applications.Starlette(routes=[routing.Mount('/api', asgi.app)])
        assert self.ask(outer, '/api/own/') == (200, 'plain /api/own|/|http://h/api/own/x')

    def test_fastapi_mounts(self, asgi):
        fastapi = pytest.importorskip('fastapi')
        asgi.mount(Root())
        outer = fastapi.FastAPI()
        outer.mount('/api', asgi.app)
        assert self.ask(outer, '/api/') == (200, 'plain /api|/|http://h/api/x')

    def test_the_werkzeug_dispatcher_mounts(self, wsgi):
        from werkzeug.middleware.dispatcher import DispatcherMiddleware

        tree = wsgi.site.tree
        wsgi.mount(Root())
        wsgi.app = DispatcherMiddleware(lambda environ, start_response: [], {'/api': tree})
        assert wsgi.get('/api/').text == 'plain /api|/|http://testserver/api/x'
        assert wsgi.get('/api/later').text == 'async /api|/later|http://testserver/api/x'
        assert wsgi.get('/api').headers['Location'] == 'http://testserver/api/'


class TestWhatIsSent:
    """The same request is the same to an application, whatever its server speaks."""

    def test_path_and_query_of_the_environ_are_as_wsgi_servers_write_them(self, client, handler):
        class Root:
            @handler
            def index(self, *args, **kwargs):
                environ = cpadapter.request.wsgi_environ
                return repr([environ[key] for key in ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING')])

            index.exposed = True
            default = index

        client.mount(Root())
        answer = client.get('/a//b%2Fc/%C3%A9%25?q=%C3%A9', prefix='/outer')
        assert answer.text == repr(['/outer', '/a//b/c/\xc3\xa9%', 'q=%C3%A9'])

    def test_a_path_rewritten_outside_is_the_environs(self, asgi, handler):
        class Root:
            @handler
            def other(self):
                return cpadapter.request.wsgi_environ['PATH_INFO']

        asgi.mount(Root())
        assert asgi.get('/sent%20', scope={'path': '/other'}).text == '/other'

    def test_the_query_of_an_internal_redirect_may_hold_any_text(self, client, handler):
        class Root:
            @handler
            def index(self):
                raise cpadapter.InternalRedirect('/other', 'a=\u0142&b=\xe9&c=%C3%A9')

            @handler
            def other(self, **kwargs):
                return repr(kwargs)

        client.mount(Root())
        assert client.get('/').text == repr({'a': '\u0142', 'b': '\xe9', 'c': '\xe9'})

    def test_chunks_that_the_server_does_not_decode_are_refused(self, wsgi, handler):
        import socket

        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

        wsgi.mount(Root())
        ours, theirs = socket.socketpair()
        with ours, theirs, theirs.makefile('rb') as stream:
            # As wsgiref gives it; nobody ends it.
            ours.sendall(b'3\r\na=1\r\n0\r\n\r\n')
            environ = {'wsgi.input': stream, 'wsgi.input_terminated': None}
            for more in ({}, {'CONTENT_LENGTH': '3'}):
                answer = wsgi.post('/', form={'a': '1'}, chunked=True, environ={**environ, **more}, validated=False)
                assert answer.status == 411
