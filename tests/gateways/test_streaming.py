"""Streamed bodies: sent as they are made, closed once, whatever ends them."""

from __future__ import annotations

import asyncio
import threading

import pytest

import cpadapter
from cpadapter import HTTPError, expose


class Body:
    """Makes bodies of each kind and counts what happens to them."""

    def __init__(self, kind):
        self.kind = kind
        self.closed = 0
        self.made = 0
        self.fails_at = None
        self.seen = []

    def chunk(self, i):
        if i == self.fails_at:
            raise ValueError('from the body')
        self.made += 1
        return b'chunk%d,' % i

    def __call__(self, count=3):
        return getattr(self, self.kind)(count)

    def generator(self, count):
        try:
            for i in range(count):
                yield self.chunk(i)
        finally:
            self.closed += 1
            self.seen.append(cpadapter.request.path_info)

    async def async_generator(self, count):
        try:
            for i in range(count):
                await asyncio.sleep(0)
                yield self.chunk(i)
        finally:
            self.closed += 1
            self.seen.append(cpadapter.request.path_info)

    def iterator(self, count):
        body = self

        class Iterator:
            i = -1

            def __iter__(self):
                return self

            def __next__(self):
                self.i += 1
                if self.i >= count:
                    raise StopIteration
                return body.chunk(self.i)

            def close(self):
                body.closed += 1
                body.seen.append(cpadapter.request.path_info)

        return Iterator()


KINDS = ['generator', 'async_generator', 'iterator']


@pytest.fixture(params=KINDS)
def body(request):
    return Body(request.param)


@pytest.fixture
def ends():
    return []


@pytest.fixture
def app(client, handler, body, ends):
    class Root:
        @handler
        def index(self, count='3', **kwargs):
            cpadapter.response.headers['Content-Type'] = 'text/plain'
            return body(int(count))

        @handler
        def text(self):
            return body(3)

        @handler
        def sized(self):
            cpadapter.response.headers['Content-Type'] = 'image/png'
            cpadapter.response.headers['Content-Length'] = '21'
            return body(3)

    def end():
        ends.append((cpadapter.request.path_info, body.closed))

    return client.mount(Root(), config={'/': {'response.stream': True, 'hooks.on_end_request': end}})


def test_chunks_are_sent_as_they_are_made(client, app, body, ends):
    answer = client.get('/')
    assert answer.chunks == [b'chunk0,', b'chunk1,', b'chunk2,']
    assert 'Content-Length' not in answer.headers
    assert body.closed == 1
    assert ends == [('/', 1)]
    assert body.seen == ['/']


def test_an_own_length_is_sent(client, app, body):
    answer = client.get('/sized')
    assert (answer.headers['Content-Length'], len(answer.body)) == ('21', 21)


def test_an_empty_body_is_sent_and_closed(client, app, body, ends):
    answer = client.get('/?count=0')
    assert (answer.status, answer.body) == (200, b'')
    assert (body.closed, ends) == (1, [('/', 1)])


def test_text_chunks_are_encoded(client, handler):
    class Root:
        @handler
        def index(self):
            return iter(['a', 'ä', b'b'])

        @handler
        def other(self):
            cpadapter.response.headers['Content-Type'] = 'application/x-own'
            return iter(['a', 'ä', b'b'])

    client.mount(Root(), config={'/': {'response.stream': True}})
    answer = client.get('/')
    assert (answer.text, answer.headers['Content-Type']) == ('aäb', 'text/html;charset=utf-8')
    assert client.get('/other').text == 'aäb'


@pytest.mark.parametrize('path', ['/', '/text'])
def test_an_error_before_the_first_chunk_is_an_error_page(client, app, body, ends, path):
    body.fails_at = 0
    answer = client.get(path)
    assert answer.status == 500
    assert answer.error is None
    assert '500 Internal Server Error' in answer.text
    assert sum('from the body' in line for line in client.errors) == 1
    assert (body.closed, ends) == (1, [(path, 1)])


def test_an_http_error_before_the_first_chunk_is_its_page(client, handler):
    def body():
        raise HTTPError(402, 'pay first')
        yield b''

    class Root:
        @handler
        def index(self):
            return body()

    client.mount(Root(), config={'/': {'response.stream': True}})
    answer = client.get('/')
    assert answer.status == 402
    assert 'pay first' in answer.text


@pytest.mark.parametrize('path', ['/', '/text'])
def test_a_later_error_ends_the_response_where_it_is(client, app, body, ends, path):
    body.fails_at = 2
    answer = client.get(path)
    assert answer.status == 200
    assert answer.chunks == [b'chunk0,', b'chunk1,']
    assert isinstance(answer.error, ValueError)
    assert sum('from the body' in line for line in client.errors) == 1
    assert (body.closed, ends) == (1, [(path, 1)])


def test_a_client_that_leaves_ends_it(client, app, body, ends):
    answer = client.get('/?count=100000', stop_after=2)
    assert answer.left
    assert body.made < 10
    assert (body.closed, ends) == (1, [('/', 1)])
    assert body.seen == ['/']
    assert not client.errors


def test_a_head_request_closes_it_unsent(client, app, body, ends):
    answer = client.head('/')
    assert (answer.status, answer.body) == (200, b'')
    assert ends == [('/', body.closed)]
    if body.kind == 'iterator':
        assert body.closed == 1


def test_hooks_raising_at_the_end_change_nothing(client, handler, body):
    def end():
        raise ValueError('at the end')

    class Root:
        @handler
        def index(self):
            return body(3)

    client.mount(Root(), config={'/': {'response.stream': True, 'hooks.on_end_request': end}})
    answer = client.get('/')
    assert answer.text == 'chunk0,chunk1,chunk2,'
    assert answer.error is None
    assert sum('at the end' in line for line in client.errors) == 1


def test_an_error_in_close_is_logged_and_the_hooks_run(client, handler, ends):
    class Closes:
        def __init__(self):
            self.chunks = iter([b'a', b'b'])

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.chunks)

        def close(self):
            raise ValueError('from close')

    class Root:
        @handler
        def index(self):
            cpadapter.response.headers['Content-Type'] = 'text/css2'
            return Closes()

    config = {'response.stream': True, 'hooks.on_end_request': lambda: ends.append(1), 'tools.encode.on': False}
    client.mount(Root(), config={'/': config})
    answer = client.get('/')
    assert (answer.text, answer.error, ends) == ('ab', None, [1])
    assert sum('from close' in line for line in client.errors) == 1


def test_a_body_that_is_not_streamed_is_closed_too(client, handler, ends):
    body = Body('iterator')

    class Root:
        @handler
        def index(self):
            return body(3)

        @handler
        def binary(self):
            cpadapter.response.headers['Content-Type'] = 'image/png'
            return body(3)

        @handler
        def sized(self):
            cpadapter.response.headers['Content-Type'] = 'image/png'
            cpadapter.response.headers['Content-Length'] = 21
            return body(3)

    client.mount(Root())
    for path in ('/', '/binary', '/sized'):
        body.closed = 0
        assert client.get(path).text == 'chunk0,chunk1,chunk2,'
        assert body.closed == 1, path


def test_a_file_is_streamed_and_closed(client, handler, tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'x' * 200_000)
    opened = []

    class Root:
        @handler
        def index(self):
            cpadapter.response.headers['Content-Type'] = 'image/png'
            opened.append(open(path, 'rb'))  # noqa: SIM115
            return opened[-1]

    for stream in (True, False):
        client.mount(Root(), config={'/': {'response.stream': stream}})
        assert client.get('/').body == b'x' * 200_000
        assert opened[-1].closed
    client.mount(Root(), config={'/': {'response.stream': True}})
    client.get('/', stop_after=1)
    assert opened[-1].closed


@pytest.mark.parametrize('value', [5, [1], [None], iter])
def test_what_is_no_body_is_500(client, handler, value):
    class Root:
        @handler
        def index(self):
            return iter([1]) if value is iter else value

    client.mount(Root(), config={'/': {'response.stream': True}})
    assert client.get('/').status == 500


def test_the_first_chunk_is_sent_before_the_second_is_made(client, handler):
    client.sent = []

    class Root:
        @handler
        def index(self):
            def body():
                yield b'first'
                seen.append(len(received))
                yield b'second'

            return body()

    seen, received = [], []
    client.mount(Root(), config={'/': {'response.stream': True}})
    original = client.app

    if client.protocol == 'asgi':

        async def counting(scope, receive, send):
            async def count(message):
                if message.get('body'):
                    received.append(message)
                await send(message)

            await original(scope, receive, count)

        client.app = counting
    else:

        def counting(environ, start_response):
            result = original(environ, start_response)

            class Counted:
                def __init__(self):
                    self.chunks = iter(result)

                def __iter__(self):
                    return self

                def __next__(self):
                    chunk = next(self.chunks)
                    if chunk:
                        received.append(chunk)
                    return chunk

                def close(self):
                    result.close()

            return Counted()

        client.app = counting
    assert client.get('/').text == 'firstsecond'
    assert seen == [1]


class TestAsgi:
    """What only an ASGI server can do to a body."""

    @pytest.fixture
    def drive(self, asgi):
        """Gives a function that runs one request with a send of the test's own; the task is given to it."""

        def drive(send, receive=None, path='/'):
            async def main():
                gone = asyncio.Event()

                async def silent():
                    await gone.wait()

                scope = {
                    'type': 'http', 'http_version': '1.1', 'method': 'GET', 'path': path, 'query_string': b'',
                    'headers': [(b'host', b'h')],
                }  # fmt: skip
                task = asyncio.ensure_future(asgi.app(scope, receive or silent, lambda message: send(message, task)))
                try:
                    return await task
                finally:
                    for _ in range(5):
                        await asyncio.sleep(0)
                    left = asyncio.all_tasks() - {asyncio.current_task()}
                    assert not left, left

            return asgi.loop.run_until_complete(main())

        return drive

    @pytest.fixture
    def app(self, asgi, handler, body, ends):
        class Root:
            @handler
            def index(self):
                return body(1000)

        config = {'response.stream': True, 'hooks.on_end_request': lambda: ends.append(body.closed)}
        return asgi.mount(Root(), config={'/': config})

    def test_a_send_that_raises_oserror_ends_it_quietly(self, asgi, app, drive, body, ends):
        async def send(message, task):
            if body.made > 2:
                raise ConnectionResetError('gone')

        drive(send)
        assert (body.closed, ends) == (1, [1])
        assert not asgi.errors

    def test_a_cancelled_task_ends_it_and_stays_cancelled(self, asgi, app, drive, body, ends):
        async def send(message, task):
            if body.made == 3:
                task.cancel()
            await asyncio.sleep(0)

        with pytest.raises(asyncio.CancelledError):
            drive(send)
        assert (body.closed, ends) == (1, [1])

    def test_a_task_cancelled_before_the_head_is_sent_runs_the_hooks_too(self, asgi, app, drive, body, ends):
        async def send(message, task):
            task.cancel()
            await asyncio.sleep(0)

        with pytest.raises(asyncio.CancelledError):
            drive(send)
        assert len(ends) == 1

    @pytest.mark.parametrize('body', ['generator'], indirect=True)
    def test_a_thread_in_the_body_is_waited_for(self, asgi, drive, body, ends):
        entered = threading.Event()
        release = threading.Event()
        order = []

        class Root:
            @expose
            def index(self):
                def slow():
                    try:
                        yield b'first'
                        entered.set()
                        release.wait(10)
                        order.append('step over')
                        yield b'second'
                    finally:
                        order.append('closed')

                return slow()

        config = {'response.stream': True, 'hooks.on_end_request': lambda: order.append('end')}
        asgi.mount(Root(), config={'/': config})

        async def send(message, task):
            if message.get('body') == b'first':
                loop = asyncio.get_running_loop()

                def cancel():
                    entered.wait(10)
                    loop.call_soon_threadsafe(task.cancel)
                    loop.call_soon_threadsafe(lambda: loop.call_later(0.05, release.set))

                threading.Thread(target=cancel).start()

        with pytest.raises(asyncio.CancelledError):
            drive(send)
        assert order == ['step over', 'closed', 'end']
        assert not asgi.errors

    def test_a_thread_in_a_page_handler_is_waited_for(self, asgi, drive):
        entered = threading.Event()
        release = threading.Event()
        order = []

        class Root:
            @expose
            def index(self):
                entered.set()
                release.wait(10)
                order.append('handler')
                return 'x'

        asgi.mount(Root(), config={'/': {'hooks.on_end_request': lambda: order.append('end')}})
        sent = []

        async def send(message, task):
            sent.append(message)

        async def main():
            scope = {
                'type': 'http', 'http_version': '1.1', 'method': 'GET', 'path': '/', 'query_string': b'',
                'headers': [(b'host', b'h')],
            }  # fmt: skip

            async def receive():
                await asyncio.sleep(3600)

            task = asyncio.ensure_future(asgi.app(scope, receive, lambda message: send(message, task)))
            while not entered.is_set():
                await asyncio.sleep(0)
            task.cancel()
            asyncio.get_running_loop().call_later(0.05, release.set)
            with pytest.raises(asyncio.CancelledError):
                await task

        asgi.loop.run_until_complete(main())
        assert (order, sent) == (['handler', 'end'], [])

    def test_a_cancelled_async_page_handler_cleans_up(self, asgi, drive):
        order = []

        class Root:
            @expose
            async def index(self):
                try:
                    await asyncio.sleep(3600)
                finally:
                    order.append('handler')

        asgi.mount(Root(), config={'/': {'hooks.on_end_request': lambda: order.append('end')}})

        async def main():
            scope = {
                'type': 'http', 'http_version': '1.1', 'method': 'GET', 'path': '/', 'query_string': b'',
                'headers': [(b'host', b'h')],
            }  # fmt: skip

            async def never(*args):
                raise AssertionError('nothing is received or sent')

            task = asyncio.ensure_future(asgi.app(scope, never, never))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asgi.loop.run_until_complete(main())
        assert order == ['handler', 'end']

    def test_chunks_are_paced_by_the_client(self, asgi, app, drive, body):
        ahead = []

        async def send(message, task):
            ahead.append(body.made - max(len(ahead), 1))
            await asyncio.sleep(0)
            if len(ahead) > 20:
                raise ConnectionResetError()

        drive(send)
        assert max(ahead) <= 2


class TestUploads:
    def test_a_client_that_leaves_while_uploading_gets_no_answer_from_the_handler(self, client, handler, ends):
        seen = []

        class Root:
            @handler
            def index(self, **kwargs):
                seen.append(kwargs)
                return 'never'

        client.mount(Root(), config={'/': {'hooks.on_end_request': lambda: ends.append(1)}})
        for content_type in ('application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'):
            ends.clear()
            answer = client.post('/', body=b'a=1&b=2222222', cut_at=5, headers={'Content-Type': content_type})
            assert answer.status in (None, 400)
            assert seen == []
            assert ends == [1]
        assert not client.errors

    def test_a_handler_that_reads_on_gets_client_disconnected(self, client):
        seen = []

        class Root:
            @expose
            def index(self):
                try:
                    cpadapter.request.body.read()
                except cpadapter.ClientDisconnected as exc:
                    seen.append(exc)
                    raise

            @expose
            async def later(self):
                try:
                    await cpadapter.request.body.aread()
                except cpadapter.ClientDisconnected as exc:
                    seen.append(exc)
                    raise

        client.mount(Root())
        for path in ('/', '/later'):
            client.post(path, body=b'0123456789', cut_at=5, headers={'Content-Type': 'text/plain'})
        assert len(seen) == 2
        assert not client.errors

    def test_a_large_upload_is_read_in_pieces(self, client):
        sizes = []

        class Root:
            @expose
            def index(self):
                while chunk := cpadapter.request.body.read(1000):
                    sizes.append(len(chunk))
                return str(sum(sizes))

        client.mount(Root())
        answer = client.post('/', body=b'x' * 100_000, headers={'Content-Type': 'text/plain'})
        assert answer.text == '100000'
        assert max(sizes) <= 1000

    def test_an_unread_body_does_not_hurt(self, client, handler):
        class Root:
            @handler
            def index(self):
                return 'ok'

        client.mount(Root())
        assert client.post('/', body=b'x' * 1000, headers={'Content-Type': 'text/plain'}).text == 'ok'
        assert client.get('/', body=b'x' * 1000).text == 'ok'
        assert client.post('/nope', body=b'x' * 1000, headers={'Content-Type': 'text/plain'}).status == 404
