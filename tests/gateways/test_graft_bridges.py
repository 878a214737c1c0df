"""Where a grafted application speaks the other protocol: misuse, errors, back-pressure, cancellation, what is left."""

from __future__ import annotations

import asyncio
import gc
import io
import random
import sys
import threading
import weakref

import pytest

import cpadapter
from cpadapter.gateways.bridge import LoopThread

HEAD = {'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]}


def part(body=b'', more=False):
    return {'type': 'http.response.body', 'body': body, 'more_body': more}


class Gateway:
    """Calls the tree as a WSGI server does, step by step."""

    def __init__(self, client):
        self.client = client
        self.tree = client.site.tree

    def start(self, app, path='/x/y', method='GET', body=b'', **environ):
        """Call the application grafted at /x; give the iterable it returned."""
        self.tree.graft(app, '/x', protocol='asgi', lifespan=False)
        self.head = None

        def start_response(status, headers, exc_info=None):
            self.head = status, headers

        made = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'QUERY_STRING': '',
            'SERVER_NAME': 'test',
            'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'HTTP_HOST': 'test',
            'CONTENT_LENGTH': str(len(body)),
            'wsgi.input': io.BytesIO(body),
            'wsgi.errors': sys.stderr,
            'wsgi.url_scheme': 'http',
        }
        return self.tree.wsgi({**made, **environ}, start_response)

    def get(self, app, **more):
        body = self.start(app, **more)
        try:
            return b''.join(body)
        finally:
            if hasattr(body, 'close'):
                body.close()


@pytest.fixture
def gateway(wsgi):
    yield Gateway(wsgi)
    assert tasks_left() == []


def tasks_left():
    """Give the tasks on the loop thread, after what is due has been done."""

    async def look():
        for _ in range(10):
            await asyncio.sleep(0)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    return LoopThread.get().call(look())


def settle(true):
    """Wait, two seconds at the most, for what the loop thread is about to do."""

    async def wait():
        for _ in range(200):
            if true():
                return True
            await asyncio.sleep(0.01)
        return False

    assert LoopThread.get().call(wait())


class TestAsgiUnderWsgi:
    def test_the_scope_says_what_the_environ_said(self, gateway):
        seen = {}

        async def app(scope, receive, send):
            seen.update(scope)
            await send(HEAD)
            await send(part(b'ok'))

        more = {
            'SCRIPT_NAME': '/outer',
            'PATH_INFO': '/x/\xc3\xbc/a/b',
            'RAW_URI': '/outer/x/%C3%BC/a%2Fb?q=%20',
            'QUERY_STRING': 'q=%20',
            'CONTENT_TYPE': 'text/plain',
            'HTTP_X_ONE': '1',
            'REMOTE_ADDR': '10.0.0.1',
            'REMOTE_PORT': '5',
        }
        assert gateway.get(app, method='POST', body=b'ab', **more) == b'ok'
        headers = sorted(seen.pop('headers'))
        assert headers == [
            *((b'content-length', b'2'), (b'content-type', b'text/plain'), (b'host', b'test'), (b'x-one', b'1')),
        ]
        assert seen == {
            'type': 'http',
            'asgi': {'version': '3.0', 'spec_version': '2.5'},
            'http_version': '1.1',
            'method': 'POST',
            'scheme': 'http',
            'path': '/outer/x/ü/a/b',
            'raw_path': b'/outer/x/%C3%BC/a%2Fb',
            'query_string': b'q=%20',
            'root_path': '/outer/x',
            'client': ('10.0.0.1', 5),
            'server': ('test', 80),
            'extensions': {},
        }

    @pytest.mark.parametrize(
        ('messages', 'error'),
        [
            ([], 'returned without giving a response'),
            ([HEAD], 'returned without giving its whole response'),
            ([part(b'x')], 'before http.response.start'),
            ([HEAD, HEAD], 'A second http.response.start'),
            ([{'type': 'websocket.accept'}], 'is no message that can be sent here'),
        ],
    )
    def test_misuse_before_a_chunk_is_an_error_for_the_server(self, gateway, messages, error):
        async def app(scope, receive, send):
            for message in messages:
                await send(message)

        with pytest.raises(RuntimeError, match=error):
            gateway.get(app)
        assert gateway.head is None

    def test_an_error_before_the_first_chunk_leaves_the_head_to_the_server(self, gateway):
        async def app(scope, receive, send):
            await send(HEAD)
            raise LookupError('early')

        with pytest.raises(LookupError, match='early'):
            gateway.get(app)
        assert gateway.head is None

    @pytest.mark.parametrize('how', ['raises', 'returns'])
    def test_an_end_before_the_last_chunk_cuts_the_response(self, gateway, how):
        async def app(scope, receive, send):
            await send(HEAD)
            await send(part(b'one', True))
            if how == 'raises':
                raise LookupError('late')

        body = gateway.start(app)
        assert next(body) == b'one'
        with pytest.raises(LookupError if how == 'raises' else RuntimeError):
            next(body)
        body.close()
        assert gateway.head[0] == '200 OK'

    def test_what_is_sent_after_the_end_is_refused_and_logged(self, gateway):
        async def app(scope, receive, send):
            await send(HEAD)
            await send(part(b'all'))
            await send(part(b'more'))

        assert gateway.get(app) == b'all'
        settle(lambda: any('after the end of the response' in line for line in gateway.client.errors))

    def test_work_after_the_response_goes_on(self, gateway):
        done = threading.Event()

        async def app(scope, receive, send):
            await send(HEAD)
            await send(part(b'all'))
            assert (await receive())['type'] == 'http.request'
            assert (await receive())['type'] == 'http.disconnect'
            await asyncio.sleep(0.01)
            done.set()

        # The body was not read before: the end of the response is all that is told then.
        async def app_that_reads(scope, receive, send):
            await receive()
            await send(HEAD)
            await send(part(b'all'))
            assert (await receive())['type'] == 'http.disconnect'
            done.set()

        assert gateway.get(app_that_reads) == b'all'
        assert done.wait(5)

    def test_the_engine_waits_for_it_when_it_stops(self, gateway):
        ended = []

        async def app(scope, receive, send):
            await send(HEAD)
            await send(part(b'all'))
            await asyncio.sleep(0.2)
            ended.append(True)

        assert gateway.get(app) == b'all'
        gateway.client.site.engine.ensure_exited()
        assert ended == [True]

    def test_a_length_that_is_not_kept_is_an_error(self, gateway):
        async def app(scope, receive, send):
            await send({**HEAD, 'headers': [(b'content-length', b'10')]})
            await send(part(b'short', True))
            await send(part())

        with pytest.raises(RuntimeError, match='5 bytes short'):
            gateway.get(app)

    def test_hop_by_hop_headers_stay_behind(self, gateway):
        async def app(scope, receive, send):
            await send(
                {**HEAD, 'headers': [(b'connection', b'close'), (b'Transfer-Encoding', b'chunked'), (b'a', b'b')]}
            )
            await send(part(b'ok'))

        gateway.get(app)
        assert gateway.head == ('200 OK', [('a', 'b')])

    @pytest.mark.parametrize('method', ['HEAD', 'GET'])
    def test_what_has_no_body_ends_an_endless_one(self, gateway, method):
        ended = []

        async def app(scope, receive, send):
            try:
                await send({**HEAD, 'status': 200 if method == 'HEAD' else 204})
                while True:
                    await send(part(b'x', True))
            finally:
                ended.append(True)

        assert gateway.get(app, method=method) == b''
        assert ended == [True]

    @pytest.mark.parametrize('waits', ['receives', 'sends', 'sleeps', 'ignores'])
    def test_a_client_that_leaves_ends_it_however_it_waits(self, gateway, waits):
        ended = []

        async def app(scope, receive, send):
            try:
                await send(HEAD)
                await send(part(b'one', True))
                if waits == 'receives':
                    while (await receive())['type'] != 'http.disconnect':
                        pass
                    ended.append('told')
                    return
                while waits == 'sends':
                    await send(part(b'x', True))
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    if waits == 'sleeps':
                        raise
                    await asyncio.sleep(0.01)
            except OSError:
                ended.append('told')
            except asyncio.CancelledError:
                ended.append('cancelled')

        body = gateway.start(app)
        assert next(body) == b'one'
        body.close()
        body.close()
        assert ended == {'receives': ['told'], 'sends': ['told'], 'sleeps': ['cancelled'], 'ignores': []}[waits]

    def test_at_most_one_chunk_is_made_ahead(self, gateway):
        made = []

        async def app(scope, receive, send):
            await send(HEAD)
            for number in range(100):
                made.append(number)
                await send(part(b'x', True))
            await send(part())

        body = gateway.start(app)
        for number in range(20):
            next(body)
            tasks_left()  # time for the application to go on
            assert len(made) <= number + 2
        body.close()

    def test_the_body_is_read_as_it_is_asked_for(self, gateway):
        class Input:
            read_so_far = 0

            def read(self, size):
                self.read_so_far += size
                return b'x' * size

        stream = Input()

        async def app(scope, receive, send):
            message = await receive()
            assert message['more_body']
            await send(HEAD)
            await send(part(b'%d' % len(message['body'])))

        assert gateway.get(app, method='POST', CONTENT_LENGTH='100000000', **{'wsgi.input': stream}) == b'65536'
        assert stream.read_so_far == 65536

    def test_both_ways_at_once(self, gateway):
        async def app(scope, receive, send):
            await send(HEAD)
            more = True
            while more:
                message = await receive()
                more = message['more_body']
                await send(part(message['body'].upper(), more))

        assert gateway.get(app, method='POST', body=b'abc' * 100000) == b'ABC' * 100000

    def test_a_cut_body_is_a_disconnect_and_never_a_short_one(self, gateway):
        async def app(scope, receive, send):
            kinds = [(await receive())['type']]
            while kinds[-1] == 'http.request':
                kinds.append((await receive())['type'])
            await send(HEAD)
            await send(part(kinds[-1].encode()))

        more = {'CONTENT_LENGTH': '100', 'wsgi.input': io.BytesIO(b'short')}
        assert gateway.get(app, method='POST', **more) == b'http.disconnect'

    def test_it_is_read_to_the_end_only_where_the_server_ends_it(self, gateway):
        async def app(scope, receive, send):
            body = b''
            more = True
            while more:
                message = await receive()
                body += message['body']
                more = message['more_body']
            await send(HEAD)
            await send(part(body))

        more = {'CONTENT_LENGTH': '', 'wsgi.input': io.BytesIO(b'all')}
        assert gateway.get(app, method='POST', **more) == b''
        more = {'CONTENT_LENGTH': '', 'wsgi.input': io.BytesIO(b'all'), 'wsgi.input_terminated': True}
        assert gateway.get(app, method='POST', **more) == b'all'

    def test_it_sees_no_request_of_ours(self, gateway):
        async def app(scope, receive, send):
            await send(HEAD)
            await send(part(repr(cpadapter.serving.request.app).encode()))

        assert gateway.get(app) == b'None'

    def test_nothing_is_left_after_many_requests_that_end_in_all_ways(self, gateway):
        scopes = []

        class Scope(dict):
            pass

        async def app(scope, receive, send):
            kept = Scope()
            scopes.append(weakref.ref(kept))
            how = choice.choice(['whole', 'raise', 'stream'])
            await send(HEAD)
            if how == 'raise':
                raise LookupError('boom')
            for _ in range(5 if how == 'stream' else 1):
                await send(part(b'x', True))
                kept['x'] = 1
            await send(part(b'end'))

        choice = random.Random(1)
        threads = threading.active_count()
        for _ in range(300):
            try:
                body = gateway.start(app)
                for _ in range(choice.randrange(6)):
                    next(iter(body), None)
                if hasattr(body, 'close'):
                    body.close()
            except LookupError:
                pass
        body = None
        assert tasks_left() == []
        assert threading.active_count() <= threads + 1
        gc.collect()
        assert [ref for ref in scopes if ref() is not None] == []


class Pull:
    """Calls the tree as an ASGI server does whose client takes `allowed` chunks, and then no more until it goes."""

    def __init__(self, allowed, then='blocks'):
        self.allowed = allowed
        self.then = then
        self.sent = []
        self.gone = asyncio.Event()
        self.full = asyncio.Event()

    async def receive(self):
        if not self.sent and self.allowed is not None:
            self.sent.append('asked')
            return {'type': 'http.request', 'body': b'', 'more_body': False}
        await self.gone.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        if message['type'] == 'http.response.body' and message.get('body'):
            if self.allowed <= 0:
                self.full.set()
                if self.then == 'raises':
                    raise OSError('gone')
                await asyncio.Event().wait()
            self.allowed -= 1
        self.sent.append(message)

    def scope(self, kind='http'):
        scope = {
            'type': kind,
            'asgi': {'version': '3.0', 'spec_version': '2.5'},
            'http_version': '1.1',
            'scheme': 'http' if kind == 'http' else 'ws',
            'path': '/x/y',
            'raw_path': b'/x/y',
            'query_string': b'',
            'root_path': '',
            'headers': [(b'host', b'test')],
        }
        if kind == 'http':
            scope['method'] = 'GET'
        return scope


class TestWsgiUnderAsgi:
    @pytest.fixture
    def endless(self, asgi):
        """What an endless WSGI body has done: the chunks it has made, and 'closed'."""
        seen = []

        def app(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain'), ('Connection', 'close')])
            return body()

        def body():
            try:
                while True:
                    seen.append('chunk')
                    yield b'x' * 1000
            finally:
                seen.append('closed')

        asgi.site.tree.graft(app, '/x')
        return seen

    @pytest.mark.parametrize('how', ['disconnect', 'raises', 'cancelled'])
    def test_a_slow_client_holds_one_chunk_and_one_that_goes_closes_it(self, asgi, endless, how):
        async def main():
            pull = Pull(3, 'raises' if how == 'raises' else 'blocks')
            task = asyncio.ensure_future(asgi.app(pull.scope(), pull.receive, pull.send))
            await asyncio.wait_for(pull.full.wait(), 5)
            assert endless.count('chunk') <= 4
            if how != 'raises':
                assert 'closed' not in endless
                if how == 'disconnect':
                    pull.gone.set()
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait((task,), timeout=5)
            assert task.done()
            assert endless[-1] == 'closed'
            assert pull.sent[1]['headers'] == [(b'content-type', b'text/plain')]

        asyncio.run(main())

    def test_an_error_of_a_connection_of_its_own_is_an_error(self, asgi):
        def app(environ, start_response):
            raise ConnectionRefusedError('the database')

        asgi.site.tree.graft(app, '/x')
        with pytest.raises(ConnectionRefusedError):
            asgi.get('/x/')

    def test_start_response_after_the_head_is_an_error(self, asgi):
        def app(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            write(b'one')
            try:
                raise LookupError('late')
            except LookupError:
                start_response('500 Late', [], sys.exc_info())
            return [b'two']

        asgi.site.tree.graft(app, '/x')
        answer = asgi.get('/x/')
        assert isinstance(answer.error, LookupError)

    def test_its_input_is_a_file_of_lines(self, asgi):
        def app(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            stream = environ['wsgi.input']
            return [stream.readline(), b'|', stream.read(3), b'|', b'/'.join(stream)]

        asgi.site.tree.graft(app, '/x')
        assert asgi.post('/x/', body=b'one\ntwo three\nfour\n').text == 'one\n|two| three\n/four\n'


class TestWebSockets:
    def talk(self, asgi, app, protocol):
        asgi.site.tree.graft(app, '/x', protocol=protocol, lifespan=False)
        sent = []
        messages = [{'type': 'websocket.connect'}, {'type': 'websocket.receive', 'text': 'hello'}]

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(asgi.app(Pull(None).scope('websocket'), receive, send))
        return sent

    def test_they_reach_an_asgi_application_as_they_are(self, asgi):
        async def app(scope, receive, send):
            assert (scope['root_path'], scope['path']) == ('/x', '/x/y')
            assert (await receive())['type'] == 'websocket.connect'
            await send({'type': 'websocket.accept'})
            await send({'type': 'websocket.send', 'text': (await receive())['text'].upper()})
            await send({'type': 'websocket.close', 'code': 1000})

        sent = self.talk(asgi, app, 'asgi')
        assert [message['type'] for message in sent] == ['websocket.accept', 'websocket.send', 'websocket.close']
        assert sent[1]['text'] == 'HELLO'

    def test_a_wsgi_application_has_none(self, asgi):
        def app(environ, start_response):
            raise AssertionError('called')

        assert [message['type'] for message in self.talk(asgi, app, 'wsgi')] == ['websocket.close']
