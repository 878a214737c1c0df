"""However a request ends, early, late or by force, what follows it runs once, after it, and whole."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextvars import ContextVar, copy_context

import pytest

import cpadapter
from cpadapter import expose
from cpadapter.context import exchange_var
from cpadapter.errors import ClientDisconnected
from cpadapter.gateways.bridge import WorkerPool, pool_for

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
        self.asked = 0
        self.sent = []
        self.left = asyncio.Event()

    def start(self):
        return asyncio.ensure_future(self.app(self.scope, self.receive, self.send))

    async def receive(self):
        self.asked += 1
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]['status']

    @property
    def body(self):
        return b''.join(message.get('body', b'') for message in self.sent)


async def until(true):
    while not true():
        await asyncio.sleep(0.001)


@pytest.fixture
def run(asgi):
    """Runs a coroutine function on the client's loop; no task may be left."""

    def run(main):
        async def whole():
            try:
                return await main()
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, left

        return asgi.loop.run_until_complete(whole())

    return run


class TestLastMessage:
    @pytest.mark.parametrize('path', ['/', '/stream', '/broken_stream', '/hooked'])
    def test_what_the_server_makes_of_it_does_not_hold_the_request(self, asgi, handler, run, path):
        """A server arms its timer for idle connections there, with a copy of the context."""
        seen = []

        class Root:
            @handler
            def index(self):
                return 'x'

            @handler
            def hooked(self):
                return 'x'

            @handler
            def stream(self):
                yield b'x'

            @handler
            def broken_stream(self):
                raise RuntimeError
                yield b'x'

        def at_end():
            seen.append(('hook', exchange_var.get() is not None))

        streamed = {'response.stream': True}
        hooked = {'hooks.on_end_request': at_end}
        app = asgi.mount(Root(), config={'/stream': streamed, '/broken_stream': streamed, '/hooked': hooked})
        connection = Connection(app, path=path)

        async def send(message):
            if message['type'] == 'http.response.body' and not message.get('more_body'):
                seen.append(('last', exchange_var.get() is not None))

        connection.send = send

        async def main():
            await connection.start()

        run(main)
        assert seen == [('last', False), *([('hook', True)] if path == '/hooked' else [])]


class TestCancellation:
    @pytest.mark.parametrize('hooks', ['sync', 'async'])
    @pytest.mark.parametrize('times', [1, 4])
    def test_the_hooks_at_the_end_run_to_their_end(self, asgi, handler, run, hooks, times):
        log = []
        release = threading.Event()

        def first():
            log.append('begun')
            release.wait(10)
            log.append('ended')

        async def first_async():
            log.append('begun')
            await until(release.is_set)
            log.append('ended')

        class Root:
            @handler
            def index(self):
                return 'x'

        def second():
            log.append('second')

        config = {'hooks.on_end_request.1': first if hooks == 'sync' else first_async, 'hooks.on_end_request.2': second}
        app = asgi.mount(Root(), config={'/': config})

        async def main():
            task = Connection(app).start()
            await until(lambda: log)
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main)
        assert log == ['begun', 'ended', 'second']

    def test_the_hooks_run_where_the_threads_for_them_were_busy(self, asgi, run):
        log = []

        class Root:
            @expose
            def index(self):
                return 'x'

        app = asgi.mount(Root(), config={'/': {'hooks.on_end_request': lambda: log.append('end')}})

        async def main():
            release = threading.Event()
            busy = [pool_for(4, 'finish').submit(copy_context(), release.wait, 10) for _ in range(4)]
            connection = Connection(app)
            task = connection.start()
            await until(lambda: len(connection.sent) == 2)
            task.cancel()
            await asyncio.sleep(0)
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait(busy)

        run(main)
        assert log == ['end']

    def test_hooks_at_the_end_do_not_wait_behind_page_handlers(self, asgi, run):
        log = []

        class Root:
            @expose
            async def index(self):
                return 'x'

        app = asgi.mount(Root(), config={'/': {'hooks.on_end_request': lambda: log.append('end')}})

        async def main():
            release = threading.Event()
            pool = app.site.handler_pool()
            busy = [pool.submit(copy_context(), release.wait, 10) for _ in range(pool.size)]
            await Connection(app).start()
            assert log == ['end']
            release.set()
            await asyncio.wait(busy)

        run(main)

    def test_a_request_that_still_waits_for_a_thread_is_never_begun(self, asgi, run):
        log = []

        class Root:
            @expose
            def index(self):
                log.append('handler')

        app = asgi.mount(Root(), config={'/': {'hooks.on_end_request': lambda: log.append('end')}})

        app.site.engine.ensure_started()  # or the request waits for that first

        async def main():
            release = threading.Event()
            pool = app.site.handler_pool()
            busy = [pool.submit(copy_context(), release.wait, 10) for _ in range(pool.size)]
            task = Connection(app).start()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait(busy)

        run(main)
        gc.collect()  # a coroutine that was never awaited would warn
        assert log == ['end']

    @pytest.mark.parametrize('non_blocking', [False, True])
    def test_a_plain_page_handler_that_waits_for_a_coroutine_is_ended_by_it(self, asgi, run, non_blocking):
        log = []

        async def later():
            log.append('later')
            await asyncio.sleep(3600)

        class Root:
            @expose
            def index(self):
                return later()

        app = asgi.mount(
            Root(),
            config={
                '/': {
                    'request.non_blocking': non_blocking,
                    'hooks.on_end_resource': lambda: log.append('resource'),
                    'hooks.on_end_request': lambda: log.append('request'),
                }
            },
        )

        async def main():
            task = Connection(app).start()
            await until(lambda: log)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main)
        assert log == ['later', 'resource', 'request']

    def test_what_a_thread_wants_awaited_too_late_is_closed(self, asgi, run):
        log = []
        release = threading.Event()

        async def later():
            log.append('later')

        class Root:
            @expose
            def index(self):
                log.append('handler')
                release.wait(10)
                return later()

        config = {
            'hooks.on_end_resource': lambda: log.append('resource'),
            'hooks.on_end_request': lambda: log.append('request'),
        }
        app = asgi.mount(Root(), config={'/': config})

        async def main():
            task = Connection(app).start()
            await until(lambda: log)
            task.cancel()
            await asyncio.sleep(0)
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main)
        gc.collect()
        assert log == ['handler', 'resource', 'request']

    def test_a_thread_that_waits_for_the_body_is_woken(self, asgi, run):
        log = []

        class Root:
            @expose
            def index(self):
                log.append(cpadapter.request.rfile.read(2))
                try:
                    cpadapter.request.rfile.read(2)
                except ClientDisconnected:
                    log.append('woken')
                    raise

        config = {'request.process_request_body': False, 'hooks.on_end_request': lambda: log.append('end')}
        app = asgi.mount(Root(), config={'/': config})

        async def main():
            part = {'type': 'http.request', 'body': b'ab', 'more_body': True}
            task = Connection(app, 'POST', headers=[(b'content-length', b'4')], messages=[part]).start()
            await until(lambda: log)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)

        run(main)
        assert log == [b'ab', 'woken', 'end']

    @pytest.mark.skipif(sys.version_info < (3, 11), reason='tasks do not tell whether they are cancelled')
    def test_a_cancellation_of_something_else_is_an_error_like_any_other(self, client, handler):
        async def cancelled():
            task = asyncio.ensure_future(asyncio.sleep(3600))
            task.cancel()
            await task

        class Root:
            @handler
            def index(self):
                return cancelled()

        client.mount(Root())
        assert client.get('/').status == 500
        assert sum('though the request has not' in line for line in client.errors) == 1


class TestLeaving:
    """A client that leaves while a streamed body is made."""

    @pytest.fixture
    def log(self):
        return []

    @pytest.fixture
    def mount(self, asgi, log):
        def mount(root):
            config = {'response.stream': True, 'hooks.on_end_request': lambda: log.append('end')}
            return asgi.mount(root, config={'/': config})

        return mount

    def test_it_is_noticed_before_the_first_chunk(self, mount, run, log):
        class Root:
            @expose
            async def index(self):
                try:
                    log.append('waits')
                    await asyncio.sleep(3600)
                    yield b''
                finally:
                    log.append('closed')

        app = mount(Root())

        async def main():
            connection = Connection(app)
            task = connection.start()
            await until(lambda: log)
            connection.left.set()
            await asyncio.wait_for(task, 5)
            assert not connection.sent

        run(main)
        assert log == ['waits', 'closed', 'end']

    def test_it_ends_a_body_that_ignores_cancellation(self, mount, run, log):
        class Root:
            @expose
            async def index(self):
                try:
                    while True:
                        try:
                            await asyncio.sleep(0.001)
                        except asyncio.CancelledError:
                            pass
                        yield b'x'
                finally:
                    log.append('closed')

        app = mount(Root())

        async def main():
            connection = Connection(app)
            task = connection.start()
            await until(lambda: len(connection.sent) > 3)
            connection.left.set()
            await asyncio.wait_for(task, 5)

        run(main)
        assert log == ['closed', 'end']

    def test_it_ends_a_body_that_never_waits(self, mount, run, log):
        class Root:
            @expose
            async def index(self):
                for _ in range(100_000):
                    log.append('chunk')
                    yield b'x'

        app = mount(Root())

        async def main():
            connection = Connection(app)
            connection.left.set()
            await connection.start()

        run(main)
        assert len(log) < 1000

    def test_a_cancellation_besides_is_not_swallowed(self, mount, run, log):
        class Root:
            @expose
            async def index(self):
                yield b'x'
                await asyncio.sleep(3600)

        app = mount(Root())

        async def main():
            connection = Connection(app)
            task = connection.start()
            await until(lambda: len(connection.sent) == 2)
            connection.left.set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main)
        assert log == ['end']

    @pytest.mark.parametrize('colour', ['sync', 'async'])
    def test_watching_for_it_leaves_the_request_body_to_the_generator(self, mount, run, colour):
        class Root:
            @expose
            def sync(self):
                body = cpadapter.request.body

                def echo():
                    yield b'>'
                    while chunk := body.read(3):
                        yield chunk

                return echo()

            @expose
            async def asynchronous(self):
                body = cpadapter.request.body
                yield b'>'
                while chunk := await body.aread(3):
                    await asyncio.sleep(0.001)
                    yield chunk

            sync._cp_config = asynchronous._cp_config = {'request.process_request_body': False}

        app = mount(Root())
        parts = [{'type': 'http.request', 'body': b'%04d' % i, 'more_body': i < 9} for i in range(10)]

        async def main():
            connection = Connection(
                app,
                'POST',
                '/sync' if colour == 'sync' else '/asynchronous',
                headers=[(b'content-length', b'40'), (b'content-type', b'application/x-own')],
                messages=parts,
            )
            await asyncio.wait_for(connection.start(), 5)
            assert connection.body == b'>' + b''.join(b'%04d' % i for i in range(10))

        run(main)

    def test_a_body_that_misses_the_upload_is_no_error(self, client, handler, log):
        def body():
            raise ClientDisconnected()
            yield b''

        class Root:
            @handler
            def index(self):
                return body()

        client.mount(Root(), config={'/': {'response.stream': True}})
        if client.protocol == 'wsgi':
            assert client.get('/').status == 400
        else:
            connection = Connection(client.app)

            async def main():
                await connection.start()

            client.loop.run_until_complete(main())
            assert not connection.sent
        assert not client.errors


class TestErrors:
    @pytest.mark.parametrize('error', [ConnectionResetError, FileNotFoundError])
    def test_an_oserror_of_the_body_is_logged_and_breaks_the_response_off(self, client, handler, error):
        def body():
            yield b'a'
            raise error('from upstream')

        class Root:
            @handler
            def index(self):
                return body()

        client.mount(Root(), config={'/': {'response.stream': True}})
        answer = client.get('/')
        assert isinstance(answer.error, error)
        assert sum('from upstream' in line for line in client.errors) == 1

    def test_what_cannot_be_iterated_is_500_and_the_hooks_run(self, client, handler):
        ends = []

        class Root:
            @handler
            def index(self):
                return 5

        config = {'response.stream': True, 'tools.encode.on': False, 'hooks.on_end_request': lambda: ends.append(1)}
        client.mount(Root(), config={'/': config})
        assert client.get('/').status == 500
        assert ends == [1]

    @pytest.mark.parametrize('stream', [False, True])
    def test_a_start_response_that_raises_ends_the_request(self, wsgi, handler, stream):
        ends = []

        class Root:
            @handler
            def index(self):
                return [b'a', b'b']

        config = {'response.stream': stream, 'hooks.on_end_request': lambda: ends.append(1)}
        app = wsgi.mount(Root(), config={'/': config})

        def start_response(status, headers, exc_info=None):
            raise ValueError('not with me')

        environ = {
            'REQUEST_METHOD': 'GET', 'PATH_INFO': '/', 'SCRIPT_NAME': '', 'QUERY_STRING': '', 'HTTP_HOST': 'h',
            'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http', 'SERVER_NAME': 'h', 'SERVER_PORT': '80',
        }  # fmt: skip
        with pytest.raises(ValueError, match='not with me'):
            app.wsgi(environ, start_response)
        assert ends == [1]

    def test_a_close_that_ends_the_process_lets_the_hooks_run(self, wsgi, handler):
        ends = []

        class Body:
            def __iter__(self):
                return iter([b'a'])

            def close(self):
                raise SystemExit(3)

        class Root:
            @handler
            def index(self):
                cpadapter.response.headers['Content-Type'] = 'image/png'
                return Body()

        wsgi.mount(Root(), config={'/': {'response.stream': True, 'hooks.on_end_request': lambda: ends.append(1)}})
        with pytest.raises(SystemExit):
            wsgi.get('/')
        assert ends == [1]

    def test_an_internal_redirect_reaches_a_dispatcher_of_the_applications_own(self, client, handler):
        dispatcher = cpadapter.dispatch.Dispatcher()
        threads = []

        def dispatch(path):
            threads.append(threading.current_thread())
            dispatcher(path)

        class Root:
            @handler
            def index(self):
                raise cpadapter.InternalRedirect('/other')

            @handler
            def other(self):
                return 'other'

        client.mount(Root(), config={'/': {'request.dispatch': dispatch}})
        assert client.get('/').text == 'other'
        assert len(threads) == 2
        if client.protocol == 'asgi':
            assert threading.main_thread() not in threads


class TestAsyncBodies:
    """An async iterator that is not sent is closed as one that is."""

    @pytest.mark.parametrize('case', ['sent', 'head', 'no_content', 'too_long', 'refused', 'collected', 'failed'])
    def test_it_is_closed_once_before_the_hooks(self, client, case):
        log = []

        class Body:
            chunks = [b'long']

            def __aiter__(self):
                return self

            async def __anext__(self):
                if not self.chunks:
                    raise RuntimeError('No more.') if case == 'failed' else StopAsyncIteration
                return self.chunks.pop()

            async def aclose(self):
                log.append('closed')

        def refuse():
            if case == 'refused':
                raise cpadapter.HTTPError(402)

        class Root:
            @expose
            async def index(self):
                headers = cpadapter.response.headers
                headers['Content-Type'] = 'image/png'
                if case == 'no_content':
                    cpadapter.response.status = 204
                if case == 'too_long':
                    headers['Content-Length'] = '1'
                return Body()

        config = {
            'response.stream': case not in ('collected', 'failed'),
            'hooks.before_finalize': refuse,
            'hooks.on_end_request': lambda: log.append('end'),
        }
        client.mount(Root(), config={'/': config})
        answer = client.head('/') if case == 'head' else client.get('/')
        assert answer.status == {'no_content': 204, 'too_long': 500, 'refused': 402, 'failed': 500}.get(case, 200)
        assert log == ['closed', 'end']


class TestReading:
    def test_a_client_that_asks_first_is_not_told_to_go_on_by_a_refusal(self, asgi, handler, run):
        def refuse():
            raise cpadapter.HTTPError(403)

        class Root:
            @handler
            def index(self, **fields):
                return 'x'

        app = asgi.mount(Root(), config={'/': {'hooks.on_start_resource': refuse}})

        async def main():
            headers = [(b'expect', b'100-continue'), (b'content-length', b'3')]
            connection = Connection(app, 'POST', headers=headers)
            await connection.start()
            assert (connection.status, connection.asked) == (403, 0)

        run(main)

    def test_a_page_handler_that_never_blocks_gets_its_form(self, asgi, run):
        class Root:
            @expose
            def index(self, a):
                return a

        app = asgi.mount(Root(), config={'/': {'request.non_blocking': True}})

        async def main():
            class Slow(Connection):
                async def receive(self):
                    await asyncio.sleep(0.01)
                    return await super().receive()

            headers = [(b'content-type', b'application/x-www-form-urlencoded'), (b'content-length', b'3')]
            form = {'type': 'http.request', 'body': b'a=1', 'more_body': False}
            connection = Slow(app, 'POST', headers=headers, messages=[form])
            await connection.start()
            assert (connection.status, connection.body) == (200, b'1')

        run(main)

    @pytest.mark.parametrize('non_blocking', [False, True])
    def test_a_coroutine_that_a_plain_page_handler_gives_may_read_it(self, client, non_blocking):
        class Root:
            @expose
            def index(self):
                async def read():
                    return b'<' + await cpadapter.request.body.aread() + b'>'

                return read()

        config = {'request.process_request_body': False, 'request.non_blocking': non_blocking}
        client.mount(Root(), config={'/': config})
        answer = client.post('/', body=b'x' * 200_000, headers=[('Content-Type', 'application/x-own')])
        assert answer.body == b'<' + b'x' * 200_000 + b'>'

    def test_lines_are_read_as_they_are(self, client):
        lines = [b'one\n', b'\n', b'x' * 100_000 + b'\n', b'last']

        class Root:
            @expose
            def index(self):
                stream = cpadapter.request.rfile
                assert [stream.readline(2), stream.readline(-1)] == [b'on', b'e\n']
                assert stream.readlines() == lines[1:]
                assert stream.readline() == b''
                return 'x'

        client.mount(Root(), config={'/': {'request.process_request_body': False}})
        assert client.post('/', body=b''.join(lines)).status == 200


class TestLargeUploads:
    """What is read of a body that comes in many messages."""

    HEADERS = ((b'content-length', b'600000'), (b'content-type', b'application/x-own'))

    @staticmethod
    def messages():
        return [{'type': 'http.request', 'body': bytes([i]) * 100_000, 'more_body': i < 5} for i in range(6)]

    @pytest.mark.parametrize('colour', ['sync', 'async'])
    def test_the_server_is_called_in_the_context_around_the_request(self, asgi, run, colour):
        """What it registers with the loop there, when it reads on, stays with the connection."""
        own = ContextVar('own', default=None)
        seen = []

        class Root:
            @expose
            def sync(self):
                own.set('mine')
                return str(len(cpadapter.request.body.read()))

            @expose
            async def asynchronous(self):
                own.set('mine')
                return str(len(await cpadapter.request.body.aread()))

        app = asgi.mount(Root())
        connection = Connection(
            app, 'POST', '/sync' if colour == 'sync' else '/asynchronous', self.HEADERS, self.messages()
        )
        receive, send = connection.receive, connection.send

        async def watched_receive():
            await asyncio.sleep(0)
            seen.append((exchange_var.get(), own.get()))
            return await receive()

        async def watched_send(message):
            seen.append((exchange_var.get(), own.get()))
            await send(message)

        connection.receive, connection.send = watched_receive, watched_send

        async def main():
            await connection.start()
            assert (connection.status, connection.body) == (200, b'600000')

        run(main)
        assert set(seen) == {(None, None)}
        assert len(seen) == 6 + 2

    def test_a_read_that_is_cancelled_loses_nothing(self, asgi, run):
        class Root:
            @expose
            async def index(self):
                body = cpadapter.request.body
                gathered = asyncio.ensure_future(cpadapter.request.rfile.agather(600_000))
                await until(lambda: connection.asked == 3)
                gathered.cancel()
                await asyncio.wait([gathered])
                release.set()
                return str(len(await body.aread()))

        release = asyncio.Event()
        app = asgi.mount(Root())
        messages = [{'type': 'http.request', 'body': b'x' * 20_000, 'more_body': i < 29} for i in range(30)]
        connection = Connection(app, 'POST', '/', self.HEADERS, messages)
        receive = connection.receive

        async def slow_receive():
            if connection.asked == 2:
                connection.asked = 3
                await release.wait()
            return await receive()

        connection.receive = slow_receive

        async def main():
            await asyncio.wait_for(connection.start(), 5)
            assert (connection.status, connection.body) == (200, b'600000')

        run(main)

    @pytest.mark.parametrize('size', ['None', '1000000'])
    def test_a_body_in_chunks_is_read_up_to_the_limit_only(self, asgi, run, size):
        class Root:
            @expose
            def index(self):
                cpadapter.request.rfile.read(-1 if size == 'None' else int(size))

        app = asgi.mount(Root(), config={'/': {'request.process_request_body': False}})
        app.site.server.max_request_body_size = 150_000
        connection = Connection(app, 'POST', headers=[(b'transfer-encoding', b'chunked')], messages=self.messages())

        async def main():
            await asyncio.wait_for(connection.start(), 5)
            assert (connection.status, connection.asked) == (413, 2)

        try:
            run(main)
        finally:
            del app.site.server.max_request_body_size

    def test_a_slow_upload_stops_no_other_async_page_handler_under_wsgi(self, wsgi):
        begun, release = threading.Event(), threading.Event()

        class Slow:
            def read(self, size):
                begun.set()
                assert release.wait(10)
                return b'x' * size

        class Root:
            @expose
            async def slow(self):
                return str(len(await cpadapter.request.body.aread(10)))

            @expose
            async def index(self):
                return 'well'

        app = wsgi.mount(Root())
        environ = {
            'REQUEST_METHOD': 'POST', 'PATH_INFO': '/slow', 'SCRIPT_NAME': '', 'QUERY_STRING': '', 'HTTP_HOST': 'h',
            'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http', 'SERVER_NAME': 'h', 'SERVER_PORT': '80',
            'CONTENT_LENGTH': '10', 'CONTENT_TYPE': 'application/x-own', 'wsgi.input': Slow(),
        }  # fmt: skip
        answers = []
        thread = threading.Thread(target=lambda: answers.extend(app.wsgi(environ, lambda status, headers: None)))
        thread.start()
        try:
            assert begun.wait(10)
            assert wsgi.get('/').text == 'well'
        finally:
            release.set()
            thread.join(10)
        assert answers == [b'10']

    def test_a_read_given_up_under_wsgi_is_had_by_the_next(self, wsgi):
        release = threading.Event()

        class Slow:
            left = b'0123456789'

            def read(self, size):
                assert release.wait(10)
                data, self.left = self.left[:size], self.left[size:]
                return data

        class Root:
            @expose
            async def index(self):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(cpadapter.request.rfile.aread(6), 0.01)
                release.set()
                pieces = [await cpadapter.request.rfile.aread(4) for _ in range(4)]
                return b'|'.join(pieces)

        app = wsgi.mount(Root(), config={'/': {'request.process_request_body': False}})
        environ = {
            'REQUEST_METHOD': 'POST', 'PATH_INFO': '/', 'SCRIPT_NAME': '', 'QUERY_STRING': '', 'HTTP_HOST': 'h',
            'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http', 'SERVER_NAME': 'h', 'SERVER_PORT': '80',
            'CONTENT_LENGTH': '10', 'wsgi.input': Slow(),
        }  # fmt: skip
        assert b''.join(app.wsgi(environ, lambda status, headers: None)) == b'0123|45|6789|'

    def test_a_file_given_as_the_body_is_closed_once(self, client, handler):
        closed = []

        class File:
            def read(self, size):
                return b''

            def close(self):
                closed.append(1)

        class Root:
            @handler
            def index(self):
                return File()

        client.mount(Root(), config={'/': {'response.stream': True}})
        assert client.get('/').body == b''
        gc.collect()
        assert closed == [1]


class TestWholeBodies:
    @pytest.mark.parametrize('length', ['1', '10'])
    @pytest.mark.parametrize('body', [b'abc', [b'abc']])
    def test_a_wrong_length_is_put_right(self, client, handler, length, body):
        class Root:
            @handler
            def index(self):
                cpadapter.response.headers['Content-Type'] = 'image/png'
                cpadapter.response.headers['Content-Length'] = length
                return body

        client.mount(Root())
        assert client.get('/').headers['Content-Length'] == '3'

    def test_the_length_of_what_head_leaves_out_is_kept(self, client, handler):
        class Root:
            @handler
            def index(self):
                cpadapter.response.headers['Content-Length'] = '7'
                cpadapter.response.headers['Content-Type'] = 'image/png'

        client.mount(Root())
        assert client.head('/').headers['Content-Length'] == '7'

    @pytest.mark.parametrize('name', ['Connection', 'Transfer-Encoding', 'Keep-Alive', 'Upgrade'])
    def test_what_belongs_to_the_connection_is_left_to_the_server(self, client, handler, name):
        class Root:
            @handler
            def index(self):
                cpadapter.response.headers[name] = 'chunked'
                return 'x'

        client.mount(Root())
        assert name.lower() not in client.get('/').headers


class TestPool:
    def test_a_job_never_waits_while_another_thread_could_be_made(self, run):
        pool = WorkerPool(2, 'test')

        async def main():
            release = threading.Event()
            # A thread that exists and sleeps, then two jobs at once of which the second lets the first go.
            await pool.submit(copy_context(), lambda: None)
            first = pool.submit(copy_context(), release.wait, 10)
            second = pool.submit(copy_context(), release.set)
            await asyncio.wait_for(asyncio.gather(first, second), 5)
            assert first.result()

        try:
            run(main)
        finally:
            pool.close()
