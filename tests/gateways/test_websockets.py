"""WebSockets without a server: every state, every misuse, what hooks and tools see, and that nothing is left."""

from __future__ import annotations

import asyncio
import base64
import contextvars
import gc
import threading
import time
import weakref

import pytest
from conftest import Answer, AsgiChecker, Call
from wspeer import Peer

import cpadapter
from cpadapter.core.websocket import BlockingWebSocket, WebSocket

COLOURS = ['async', 'sync']


@pytest.fixture
def run(asgi):
    """Runs a coroutine on the client's loop; what was left to it must have ended."""

    def run(coroutine):
        asgi.loop.run_until_complete(coroutine)
        left = [task for task in asyncio.all_tasks(asgi.loop) if not task.done()]
        assert not left
        assert not asgi.complaints

    return run


@pytest.fixture(params=COLOURS)
def colour(request):
    return request.param


def tracebacks(client):
    return [line for line in client.errors if 'Traceback' in line]


async def get(client, path, cookie=''):
    """Ask for a page over HTTP, while sockets are open."""
    call = Call('GET', path, headers={'Cookie': cookie})
    checker = AsgiChecker(call, Answer())
    await client.app(client.scope(call), checker.receive, checker.send)
    return checker.answer.text


def echo_page(colour, **settings):
    if colour == 'async':

        @cpadapter.websocket(**settings)
        async def echo(self, ws, *vpath, **params):
            async for message in ws:
                await ws.send(message)
    else:

        @cpadapter.websocket(**settings)
        def echo(self, ws, *vpath, **params):
            for message in ws:
                ws.send(message)

    return echo


def tree(**pages):
    return type('Root', (), pages)()


def page(colour, steps, **settings):
    """Make a page handler of a generator: what it yields is awaited, if it is to be."""
    if colour == 'async':

        @cpadapter.websocket(**settings)
        async def handler(self, ws, *vpath, **params):
            steps_of = steps(ws, *vpath, **params)
            try:
                value = next(steps_of)
                while True:
                    try:
                        result = await value if hasattr(value, '__await__') else value
                    except Exception as exc:
                        value = steps_of.throw(exc)
                    else:
                        value = steps_of.send(result)
            except StopIteration as end:
                return end.value
    else:

        @cpadapter.websocket(**settings)
        def handler(self, ws, *vpath, **params):
            steps_of = steps(ws, *vpath, **params)
            try:
                value = next(steps_of)
                while True:
                    value = steps_of.send(value)
            except StopIteration as end:
                return end.value

    return handler


def test_messages_come_back_as_they_were_sent(asgi, run, colour):
    app = asgi.mount(tree(echo=echo_page(colour)))

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.ask('grüß') == 'grüß'
            assert await peer.ask(b'\x00\xff') == b'\x00\xff'
            assert await peer.ask('') == ''
            assert await peer.ask(b'') == b''

    run(talk())
    assert not asgi.errors


def test_the_handler_returns_and_the_socket_closes_with_1000(asgi, run, colour):
    def steps(ws):
        yield ws.send('bye')

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.get() == 'bye'
            await peer.end_of_app()
            assert (peer.code, peer.reason, peer.state) == (1000, '', 'closed')

    run(talk())


def test_iteration_ends_when_the_peer_closes_and_tells_code_and_reason(asgi, run, colour):
    seen = []
    if colour == 'async':

        @cpadapter.websocket
        async def index(self, ws):
            async for _ in ws:
                pass
            seen.append((ws.state, ws.closed, ws.close_code, ws.close_reason))
    else:

        @cpadapter.websocket
        def index(self, ws):
            for _ in ws:
                pass
            seen.append((ws.state, ws.closed, ws.close_code, ws.close_reason))

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.answer()
            peer.leave(4001, 'enough')

    run(talk())
    assert seen == [('closed', True, 4001, 'enough')]
    assert not asgi.errors


@pytest.mark.parametrize('code', [1001, 1006, 1012])
def test_what_a_server_says_when_it_goes_ends_iteration_quietly(asgi, run, colour, code):
    app = asgi.mount(tree(echo=echo_page(colour)))

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.ask('a') == 'a'
            peer.leave(code)

    run(talk())
    assert not asgi.errors


def test_receiving_from_and_sending_to_a_peer_that_has_gone_raises_web_socket_closed(asgi, run, colour):
    seen = []

    def steps(ws):
        yield ws.accept()
        try:
            yield ws.receive()
        except cpadapter.WebSocketClosed as exc:
            seen.append((exc.code, exc.reason))
        for again in (ws.receive, lambda: ws.send('x'), lambda: ws.send_json(1)):
            try:
                yield again()
            except cpadapter.ClientDisconnected as exc:
                seen.append((exc.code, exc.reason))
        yield ws.close()

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app) as peer:
            await peer.answer()
            peer.leave(1001, 'away')

    run(talk())
    assert seen == [(1001, 'away')] * 4
    assert not asgi.errors


def test_a_send_that_fails_is_the_peers_leaving(asgi, run):
    @cpadapter.websocket
    async def index(self, ws):
        await ws.accept()
        while True:
            await ws.send('x')

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.get()
            peer.sends_raise = True
            peer.state = 'gone'

    run(talk())
    assert not asgi.errors


# -- the handshake


def test_the_first_subprotocol_of_ours_that_the_client_offers_is_chosen(asgi, run, colour):
    seen = []

    def steps(ws):
        yield ws.accept()
        seen.append((ws.subprotocols, ws.subprotocol))

    app = asgi.mount(tree(index=page(colour, steps, subprotocols=['v3', 'v2', 'v1'])))

    async def talk():
        for offered in (['v1', 'v2'], ['x'], []):
            async with Peer(app, subprotocols=offered) as peer:
                await peer.answer()

    run(talk())
    assert seen == [(('v1', 'v2'), 'v2'), (('x',), None), ((), None)]


def test_accept_names_a_subprotocol_that_is_offered_and_no_other(asgi, run):
    @cpadapter.websocket(subprotocols='b')
    async def default(self, ws, name):
        await ws.accept('' if name == 'none' else name)

    app = asgi.mount(tree(default=default))

    async def talk():
        async with Peer(app, '/a', subprotocols=['a', 'b']) as peer:
            await peer.end_of_app()
            assert peer.accepted['subprotocol'] == 'a'
        async with Peer(app, '/none', subprotocols=['a', 'b']) as peer:
            await peer.end_of_app()
            assert peer.accepted['subprotocol'] is None
        async with Peer(app, '/c', subprotocols=['a', 'b']) as peer:
            assert await peer.answer() == 500

    run(talk())
    assert 'does not offer' in asgi.errors[0]


def test_headers_of_accept_and_of_the_response_go_out_but_none_that_describes_a_page(asgi, run):
    @cpadapter.websocket
    async def index(self, ws):
        cpadapter.response.headers['X-One'] = '1'
        cpadapter.response.headers['Upgrade'] = 'h2c'
        cpadapter.response.headers['ETag'] = '"x"'
        cpadapter.response.headers['Sec-WebSocket-Protocol'] = 'x'
        cpadapter.response.cookie['a'] = 'b'
        await ws.accept(headers={'X-Two': 'zwei'})

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.end_of_app()
            assert sorted(peer.headers) == [(b'set-cookie', b'a=b'), (b'x-one', b'1'), (b'x-two', b'zwei')]

    run(talk())


def test_a_header_with_a_line_break_denies_the_handshake(asgi, run):
    @cpadapter.websocket
    async def index(self, ws):
        await ws.accept(headers=[('X', 'a\r\nSet-Cookie: b')])

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.answer() in (400, 500)
            assert peer.header('set-cookie') is None

    run(talk())


# -- denial


@pytest.mark.parametrize('denies', [True, False])
def test_an_error_before_acceptance_is_the_denial(asgi, run, colour, denies):
    def steps(ws):
        raise cpadapter.HTTPError(402, 'Pay first.')
        yield

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app, denies=denies) as peer:
            assert await peer.answer() == (402 if denies else 403)
            if denies:
                assert b'Pay first.' in peer.body
                assert peer.header('content-type') == 'text/html;charset=utf-8'
                assert int(peer.header('content-length')) == len(peer.body)

    run(talk())
    assert not asgi.errors


def test_a_redirect_before_acceptance_is_the_denial(asgi, run, colour):
    def steps(ws):
        raise cpadapter.HTTPRedirect('/elsewhere')
        yield

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.answer() == 303
            assert peer.header('location') == 'http://testserver/elsewhere'

    run(talk())


def test_an_exception_before_acceptance_is_a_500_logged_once(asgi, run, colour):
    def steps(ws):
        raise ZeroDivisionError('oops')
        yield

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.answer() == 500
            assert b'oops' not in peer.body

    run(talk())
    assert len(tracebacks(asgi)) == 1
    assert 'ZeroDivisionError: oops' in asgi.errors[0]


def test_a_handler_that_accepts_nothing_denies_with_403_and_its_result(asgi, run, colour):
    def nothing(ws):
        return None
        yield

    def text(ws):
        return 'No room.'
        yield

    def teapot(ws):
        cpadapter.response.status = 418
        return 'No coffee.'
        yield

    def closes(ws):
        yield ws.close(4000)

    pages = {steps.__name__: page(colour, steps) for steps in (nothing, text, teapot, closes)}
    app = asgi.mount(tree(**pages), config={'/': {'tools.encode.on': True}})

    async def talk():
        for path, status, body in (
            ('nothing', 403, b'was not accepted'),
            ('text', 403, b'No room.'),
            ('teapot', 418, b'No coffee.'),
            ('closes', 403, b''),
        ):
            async with Peer(app, f'/{path}') as peer:
                assert await peer.answer() == status, path
                assert body in peer.body

    run(talk())
    assert not asgi.errors


def test_a_streamed_denial_is_sent_chunk_by_chunk_and_stops_when_the_client_goes(asgi, run):
    ended = []

    def chunks():
        try:
            while True:
                yield b'x' * 100
        finally:
            ended.append(1)

    @cpadapter.websocket
    async def index(self, ws):
        cpadapter.response.stream = True
        return chunks()

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            while len(peer.body) < 1000:
                await asyncio.sleep(0)
            assert peer.status == 403
            peer.leave()

    run(talk())
    assert ended == [1]


def test_a_page_of_http_does_not_run_for_a_handshake(asgi, run, handler):
    ran = []

    @handler
    def index(self, **params):
        ran.append(1)
        return 'page'

    app = asgi.mount(tree(index=index))

    async def talk():
        for target in ('/', '/?a=1', '/nowhere'):
            async with Peer(app, target) as peer:
                assert await peer.answer() == 404

    run(talk())
    assert not ran


def test_arguments_that_do_not_fit_give_404(asgi, run, colour):
    ran = []

    def steps(ws, a, b='2'):
        ran.append((a, b))
        yield ws.accept()

    if colour == 'async':

        @cpadapter.websocket
        async def room(self, ws, a, b='2'):
            ran.append((a, b))
            await ws.accept()
    else:

        @cpadapter.websocket
        def room(self, ws, a, b='2'):
            ran.append((a, b))
            ws.accept()

    app = asgi.mount(tree(room=room))

    async def talk():
        for target, status in (
            ('/room/1', 101),
            ('/room?a=1&b=3', 101),
            ('/room', 404),
            ('/room/1/2/3', 404),
            ('/room/1?ws=2', 404),
            ('/room/1?self=2', 404),
            ('/room/1?c=2', 404),
        ):
            async with Peer(app, target) as peer:
                assert await peer.answer() == status, target

    run(talk())
    assert ran == [('1', '2'), ('1', '3')]
    assert not asgi.errors


def test_a_type_error_of_the_handlers_own_is_a_500(asgi, run, colour):
    def steps(ws):
        len(5)
        yield

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.answer() == 500

    run(talk())
    assert len(tracebacks(asgi)) == 1


def test_an_internal_redirect_leads_to_another_web_socket(asgi, run, colour):
    def steps(ws):
        raise cpadapter.InternalRedirect('/echo?a=1')
        yield

    app = asgi.mount(tree(index=page(colour, steps), echo=echo_page(colour)))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.ask('x') == 'x'

    run(talk())


def test_a_client_that_goes_before_the_answer_is_answered_nothing(asgi, run):
    waiting = asyncio.Event()

    @cpadapter.websocket
    async def index(self, ws):
        await waiting.wait()
        await ws.receive()

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await asyncio.sleep(0)
            peer.state = 'gone'
            peer.sends_raise = True
            waiting.set()
            await peer.end_of_app()
            assert peer.accepted is None

    run(talk())
    assert not asgi.errors


def test_a_connection_that_begins_with_its_end_runs_nothing(asgi, run):
    app = asgi.mount(tree(index=echo_page('async')))

    async def talk():
        peer = Peer(app)
        peer.incoming = asyncio.Queue()
        peer.incoming.put_nowait({'type': 'websocket.disconnect', 'code': 1006})
        async with peer:
            await peer.end_of_app()
            assert peer.state == 'connecting'

    run(talk())


# -- misuse


MISUSES = {
    'accept-twice': lambda ws: ws.accept(),
    'wrong-type': lambda ws: ws.send(5),
    'wrong-json': lambda ws: ws.send_json(object()),
    'surrogate': lambda ws: ws.send('\ud800'),
    'close-999': lambda ws: ws.close(999),
    'close-1005': lambda ws: ws.close(1005),
    'close-1016': lambda ws: ws.close(1016),
    'close-5000': lambda ws: ws.close(5000),
    'close-text': lambda ws: ws.close('1000'),
    'long-reason': lambda ws: ws.close(1000, 'ü' * 62),
}


@pytest.mark.parametrize('case', MISUSES)
def test_misuse_raises_in_the_handler_and_closes_with_1011(asgi, run, colour, case):
    if colour == 'async':

        @cpadapter.websocket
        async def index(self, ws):
            await ws.send('first')
            await MISUSES[case](ws)
    else:

        @cpadapter.websocket
        def index(self, ws):
            ws.send('first')
            MISUSES[case](ws)

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            assert await peer.get() == 'first'
            await peer.end_of_app()
            assert peer.code == 1011

    run(talk())
    assert len(tracebacks(asgi)) == 1
    assert 'Traceback' in asgi.errors[0]


def test_send_and_receive_after_close_raise_a_clear_error(asgi, run, colour):
    seen = []
    if colour == 'async':

        @cpadapter.websocket
        async def index(self, ws):
            await ws.accept()
            await ws.close(4000, 'done')
            await ws.close(4001)
            for call in (lambda: ws.send('x'), ws.receive, ws.accept):
                with pytest.raises(RuntimeError, match='closed by this side before, with 4000') as info:
                    await call()
                seen.append(info.value)
            async for _ in ws:
                raise AssertionError
            await ws.send('x')
    else:

        @cpadapter.websocket
        def index(self, ws):
            ws.accept()
            ws.close(4000, 'done')
            ws.close(4001)
            for call in (lambda: ws.send('x'), ws.receive, ws.accept):
                with pytest.raises(RuntimeError, match='closed by this side before, with 4000') as info:
                    call()
                seen.append(info.value)
            for _ in ws:
                raise AssertionError
            ws.send('x')

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.end_of_app()
            assert (peer.code, peer.reason) == (4000, 'done')

    run(talk())
    assert len(seen) == 3
    assert len(tracebacks(asgi)) == 1


def test_two_tasks_cannot_receive_at_once_and_can_send(asgi, run):
    seen = []

    @cpadapter.websocket
    async def index(self, ws):
        first = asyncio.ensure_future(ws.receive())
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match='Another task'):
            await ws.receive()
        await asyncio.gather(*(ws.send(str(i)) for i in range(5)))
        seen.append(await first)

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            assert sorted([await peer.get() for _ in range(5)]) == list('01234')
            peer.put('x')
            await peer.end_of_app()

    run(talk())
    assert seen == ['x']


def test_tasks_that_begin_together_accept_once(asgi, run):
    @cpadapter.websocket
    async def index(self, ws):
        await asyncio.gather(*(ws.send('x') for _ in range(5)))

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            assert [await peer.get() for _ in range(5)] == ['x'] * 5

    run(talk())
    assert not asgi.errors


def test_a_message_of_another_kind_closes_with_its_code_and_is_no_error_of_ours(asgi, run, colour):
    pages = {name: _asks_for(colour, name) for name in ('receive_text', 'receive_bytes', 'receive_json')}
    app = asgi.mount(tree(**pages))

    async def talk():
        for name, message, code in (
            ('receive_text', b'x', 1003),
            ('receive_bytes', 'x', 1003),
            ('receive_json', '{', 1007),
            ('receive_json', b'\xff', 1007),
            ('receive_json', '[' * 100_000, 1007),
        ):
            async with Peer(app, f'/{name}') as peer:
                peer.put(message)
                await peer.end_of_app()
                assert peer.code == code

    run(talk())
    assert not asgi.errors


def _asks_for(colour, name):
    if colour == 'async':

        @cpadapter.websocket
        async def asks(self, ws):
            while True:
                await ws.send_json([await getattr(ws, name)()])
    else:

        @cpadapter.websocket
        def asks(self, ws):
            while True:
                ws.send_json([getattr(ws, name)()])

    return asks


def test_json_goes_both_ways(asgi, run, colour):
    app = asgi.mount(tree(receive_json=_asks_for(colour, 'receive_json')))

    async def talk():
        async with Peer(app, '/receive_json') as peer:
            assert await peer.ask('{"a": "ü"}') == '[{"a": "\\u00fc"}]'
            assert await peer.ask(b'null') == '[null]'

    run(talk())
    assert not asgi.errors


# -- errors after acceptance


@pytest.mark.parametrize(
    'error', [ZeroDivisionError('x'), cpadapter.HTTPError(404), cpadapter.HTTPRedirect('http://x/'), TimeoutError('x')]
)
def test_a_handler_that_raises_closes_with_1011_and_is_logged_once(asgi, run, colour, error):
    ran = []
    error = type(error)(*error.args[:1])

    if colour == 'async':

        @cpadapter.websocket
        async def index(self, ws):
            for _ in range(3):
                await ws.receive()
            raise error
    else:

        @cpadapter.websocket
        def index(self, ws):
            for _ in range(3):
                ws.receive()
            raise error

    points = ('on_start_resource', 'before_handler', 'before_finalize', 'before_error_response', 'on_end_resource')
    config = {f'hooks.{point}': lambda point=point: ran.append(point) for point in (*points, 'on_end_request')}
    app = asgi.mount(tree(index=index), config={'/': config})

    async def talk():
        async with Peer(app) as peer:
            for _ in range(3):
                peer.put('x')
            await peer.end_of_app()
            assert peer.code == 1011

    run(talk())
    assert len(tracebacks(asgi)) == 1
    assert type(error).__name__ in asgi.errors[0]
    assert ran == [*points, 'on_end_request']


def test_the_leaving_of_another_peer_is_an_error_of_this_handler(asgi, run):
    others = []

    @cpadapter.websocket
    async def first(self, ws):
        others.append(ws)
        async for _ in ws:
            pass

    @cpadapter.websocket
    async def second(self, ws):
        await ws.accept()
        await others[0].send('x')

    app = asgi.mount(tree(first=first, second=second))

    async def talk():
        async with Peer(app, '/first') as peer:
            await peer.answer()
        async with Peer(app, '/second') as peer:
            await peer.end_of_app()
            assert peer.code == 1011

    run(talk())
    assert len(tracebacks(asgi)) == 1


def test_a_message_reaches_the_peers_of_other_handlers_once_they_are_accepted(asgi, run):
    others = []
    accept = asyncio.Event()

    @cpadapter.websocket
    async def first(self, ws):
        others.append(ws)
        await accept.wait()
        async for _ in ws:
            pass

    @cpadapter.websocket
    async def second(self, ws):
        while not others:
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match='not accepted yet'):
            await others[0].send('early')
        accept.set()
        async for message in ws:
            await others[0].send(message)

    app = asgi.mount(tree(first=first, second=second))

    async def talk():
        async with Peer(app, '/first') as one, Peer(app, '/second') as two:
            await two.answer()
            await one.answer()
            two.put('hello')
            assert await one.get() == 'hello'

    run(talk())
    assert not asgi.errors


# -- hooks, tools, context


def test_hooks_run_like_a_pages_and_before_finalize_at_the_handshake(asgi, run, colour):
    ran = []

    def steps(ws):
        ran.append('handler')
        yield ws.accept()
        ran.append('accepted')

    points = ('on_start_resource', 'before_request_body', 'before_handler', 'before_finalize')
    ends = ('on_end_resource', 'on_end_request')
    threads = set()

    def note(point):
        ran.append(point)
        threads.add(threading.current_thread())

    config = {f'hooks.{point}': lambda point=point: note(point) for point in (*points, *ends)}
    app = asgi.mount(tree(index=page(colour, steps)), config={'/': config})

    async def talk():
        async with Peer(app):
            pass

    run(talk())
    assert ran == [*points[:3], 'handler', 'before_finalize', 'accepted', *ends]
    # A plain hook may wait.
    assert threading.main_thread() not in threads


def test_async_hooks_run_too(asgi, run, colour):
    ran = []

    async def hook():
        await asyncio.sleep(0)
        ran.append(cpadapter.request.path_info)

    config = {'hooks.before_handler': hook, 'hooks.before_finalize': hook, 'hooks.on_end_request': hook}
    app = asgi.mount(tree(echo=echo_page(colour)), config={'/': config})

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.ask('x') == 'x'
            assert len(ran) == 2

    run(talk())
    assert ran == ['/echo'] * 3


def test_a_before_finalize_hook_that_raises_denies(asgi, run, colour):
    def refuse():
        raise cpadapter.HTTPError(401)

    app = asgi.mount(tree(echo=echo_page(colour)), config={'/': {'hooks.before_finalize': refuse}})

    async def talk():
        async with Peer(app, '/echo') as peer:
            peer.put('x')
            assert await peer.answer() == 401

    run(talk())


def test_a_handler_that_survives_a_failed_acceptance_denies_with_a_status_of_its_own(asgi, run):
    def refuse():
        raise cpadapter.HTTPError(401)

    @cpadapter.websocket
    async def index(self, ws):
        with pytest.raises(cpadapter.HTTPError):
            await ws.accept()
        return b'No.'

    app = asgi.mount(tree(index=index), config={'/': {'hooks.before_finalize': refuse}})

    async def talk():
        async with Peer(app) as peer:
            assert await peer.answer() in (401, 403)

    run(talk())


def test_tools_that_make_bodies_leave_the_handshake_alone(asgi, run, colour):
    tools = ('gzip', 'etags', 'encode', 'json_out', 'json_in', 'caching', 'flatten', 'decode', 'expires')
    config = {f'tools.{name}.on': True for name in tools}
    config['tools.etags.autotags'] = True
    app = asgi.mount(tree(echo=echo_page(colour)), config={'/': config})

    async def talk():
        for _ in range(2):
            async with Peer(app, '/echo', headers={'Accept-Encoding': 'gzip', 'If-None-Match': '*'}) as peer:
                assert await peer.ask('x') == 'x'
                assert peer.header('content-encoding') is None

    run(talk())
    assert not asgi.errors


def test_basic_auth_denies_and_admits(asgi, run, colour):
    seen = []

    def steps(ws):
        yield ws.accept()
        seen.append(cpadapter.request.login)

    config = {
        'tools.auth_basic.on': True,
        'tools.auth_basic.realm': 'here',
        'tools.auth_basic.checkpassword': lambda realm, user, password: (user, password) == ('ann', 'secret'),
    }
    app = asgi.mount(tree(index=page(colour, steps)), config={'/': config})
    good = {'Authorization': 'Basic ' + base64.b64encode(b'ann:secret').decode()}

    async def talk():
        async with Peer(app) as peer:
            assert await peer.answer() == 401
            assert peer.header('www-authenticate').startswith('Basic realm="here"')
        async with Peer(app, headers=good) as peer:
            assert await peer.answer() == 101

    run(talk())
    assert seen == ['ann']


@pytest.mark.parametrize('store', ['ram', 'file'])
@pytest.mark.parametrize('locking', ['implicit', 'early', 'explicit'])
def test_a_session_is_sent_and_saved_at_the_handshake_and_never_locked_while_open(
    asgi, run, colour, locking, store, tmp_path
):
    def steps(ws):
        if locking == 'explicit' and colour == 'sync':
            cpadapter.session.acquire_lock()
        elif locking == 'explicit':
            yield cpadapter.session.aacquire_lock()
        cpadapter.session['n'] = cpadapter.session.get('n', 0) + 1
        yield ws.accept()
        yield ws.receive()

    @cpadapter.expose
    def read(self):
        return str(cpadapter.session['n'])

    config = {
        'tools.sessions.on': True,
        'tools.sessions.locking': locking,
        'tools.sessions.lock_timeout': 2,
    }
    if store == 'file':
        config['tools.sessions.storage_class'] = cpadapter.lib.sessions.FileSession
        config['tools.sessions.storage_path'] = str(tmp_path)
    app = asgi.mount(tree(index=page(colour, steps), read=read), config={'/': config})

    async def talk():
        async with Peer(app) as peer:
            await peer.answer()
            cookie = peer.header('set-cookie').partition(';')[0]
            assert 'HttpOnly' in peer.header('set-cookie')
            for _ in range(2):
                text = await get(asgi, '/read', cookie)
                assert text == '1'
            async with Peer(app, headers={'Cookie': cookie}) as other:
                assert await other.answer() == 101
                other.put('x')
            text = await get(asgi, '/read', cookie)
            assert text == '2'
            peer.put('x')

    run(talk())
    assert not asgi.errors


def test_request_and_its_base_are_those_of_http(asgi, run, colour):
    seen = []

    def steps(ws):
        request = cpadapter.request
        seen.append((request.method, request.base, request.scheme, cpadapter.url('/x'), request.params))
        seen.append((type(ws), type(request.websocket), request.scope['type'], request.wsgi_environ['REQUEST_METHOD']))
        yield ws.accept()

    app = asgi.mount(tree(index=page(colour, steps)))

    async def talk():
        async with Peer(app, '/', scheme='wss') as peer:
            assert await peer.answer() == 101

    run(talk())
    assert seen[0] == ('GET', 'https://testserver', 'https', 'https://testserver/x', {})
    assert seen[1] == (WebSocket if colour == 'async' else BlockingWebSocket, WebSocket, 'websocket', 'GET')


def test_context_variables_of_hooks_reach_the_handler_and_those_of_the_handler_its_end(asgi, run, colour):
    variable = contextvars.ContextVar('variable', default='none')
    seen = []

    def begin():
        variable.set('hook')

    def end():
        seen.append(variable.get())

    def steps(ws):
        seen.append(variable.get())
        yield ws.accept()
        variable.set('handler')

    app = asgi.mount(
        tree(index=page(colour, steps)), config={'/': {'hooks.before_handler': begin, 'hooks.on_end_request': end}}
    )

    async def talk():
        async with Peer(app):
            pass
        assert variable.get() == 'none'

    run(talk())
    assert seen == ['hook', 'handler']


def test_one_access_line_says_101_or_the_denials_status(asgi, run, colour):
    app = asgi.mount(tree(echo=echo_page(colour)))
    lines = []
    import logging

    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    app.log.access_log.addHandler(handler)

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.ask('x') == 'x'
            assert not lines
        async with Peer(app, '/nowhere') as peer:
            await peer.answer()

    run(talk())
    assert len(lines) == 2
    assert '"GET /echo HTTP/1.1" 101 -' in lines[0]
    assert '"GET /nowhere HTTP/1.1" 404' in lines[1]


def test_nothing_is_left_of_an_exchange(asgi, run, colour):
    kept = []

    def steps(ws):
        exchange = cpadapter.serving.request._exchange
        kept.extend(map(weakref.ref, (exchange, exchange.request, exchange.request.websocket)))
        yield ws.accept()
        try:
            yield ws.receive()
        finally:
            del exchange

    app = asgi.mount(tree(index=page(colour, steps)), config={'/': {'tools.sessions.on': True}})

    async def talk():
        for _ in range(3):
            async with Peer(app) as peer:
                await peer.answer()

    run(talk())
    assert len(kept) == 9

    def left():
        gc.collect()
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith('cpadapter-websocket')]
        return threads + [ref() for ref in kept if ref() is not None]

    # The thread of a plain handler ends by itself.
    limit = time.monotonic() + 5
    while left():
        assert time.monotonic() < limit, left()


def test_cancelled_by_the_server_the_handler_and_the_hooks_clean_up(asgi, run, colour):
    ran = []
    if colour == 'async':

        @cpadapter.websocket
        async def index(self, ws):
            try:
                async for _ in ws:
                    pass
            finally:
                ran.append('handler')
    else:

        @cpadapter.websocket
        def index(self, ws):
            try:
                while True:
                    ws.receive()
            finally:
                ran.append('handler')

    app = asgi.mount(tree(index=index), config={'/': {'hooks.on_end_request': lambda: ran.append('end')}})

    async def talk():
        peer = Peer(app)
        await peer.__aenter__()
        await peer.answer()
        await asyncio.sleep(0.05)
        peer.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await peer.task
        assert peer.code == 1012

    run(talk())
    assert ran == ['handler', 'end']
    assert not asgi.errors


# -- settings


@pytest.mark.parametrize(
    ('origin', 'setting', 'status'),
    [
        (None, None, 101),
        ('http://testserver', None, 101),
        ('https://testserver', None, 101),
        ('HTTP://TestServer:80', None, 101),
        ('http://testserver:8080', None, 403),
        ('http://evil', None, 403),
        ('http://testserver.evil', None, 403),
        ('http://evil/testserver', None, 403),
        ('null', None, 403),
        ('', None, 403),
        ('testserver', None, 403),
        ('http://evil', '*', 101),
        ('https://app.example', ['https://app.example'], 101),
        ('https://app.example:443', ['https://app.example'], 101),
        ('http://app.example', ['https://app.example'], 403),
        ('https://app.example.evil', ['https://app.example'], 403),
        ('http://testserver', ['https://app.example'], 403),
        ('null', 'null', 101),
    ],
)
def test_only_pages_of_allowed_origins_open_a_socket(asgi, run, origin, setting, status):
    ran = []

    @cpadapter.websocket
    async def index(self, ws):
        ran.append(1)
        await ws.accept()

    app = asgi.mount(tree(index=index), config={'/': {} if setting is None else {'websocket.origins': setting}})

    async def talk():
        async with Peer(app, origin=origin) as peer:
            assert await peer.answer() == status

    run(talk())
    assert bool(ran) is (status == 101)


def test_behind_a_proxy_the_origin_is_compared_with_the_host_that_the_client_asked_for(asgi, run):
    app = asgi.mount(
        tree(echo=echo_page('async')),
        config={'/': {'tools.proxy.on': True, 'tools.proxy.base': 'https://public.example'}},
    )

    async def talk():
        async with Peer(app, '/echo', origin='https://public.example') as peer:
            assert await peer.ask('x') == 'x'
        async with Peer(app, '/echo', origin='http://testserver') as peer:
            assert await peer.answer() == 403

    run(talk())


def test_a_message_over_the_limit_closes_with_1009_and_ends_iteration(asgi, run, colour):
    app = asgi.mount(tree(echo=echo_page(colour, max_size=10)))

    async def talk():
        for good, bad in (('x' * 10, 'x' * 11), ('ü' * 5, 'ü' * 6), (b'x' * 10, b'x' * 11)):
            async with Peer(app, '/echo') as peer:
                assert await peer.ask(good) == good
                peer.put(bad)
                await peer.end_of_app()
                assert peer.code == 1009

    run(talk())
    assert not asgi.errors


def test_silence_beyond_the_idle_timeout_closes_with_1001(asgi, run, colour):
    app = asgi.mount(tree(echo=echo_page(colour, idle_timeout=0.05)))

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.ask('x') == 'x'
            await peer.end_of_app()
            assert peer.code == 1001

    run(talk())
    assert not asgi.errors


def test_a_handler_that_gives_up_waiting_loses_no_message_and_leaves_no_task(asgi, run):
    @cpadapter.websocket(idle_timeout=30)
    async def index(self, ws):
        await ws.send('ready')
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(ws.receive(), 0.02)
            await ws.send('waited')
        await ws.send(await ws.receive())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ws.receive(), 0.02)

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            assert [await peer.get() for _ in range(3)] == ['ready', 'waited', 'waited']
            assert await peer.ask('x') == 'x'
            await peer.end_of_app()

    run(talk())
    assert not asgi.errors


def test_one_who_only_sends_learns_that_the_peer_has_gone_where_the_server_does_not_raise(asgi, run, colour):
    sent = []
    if colour == 'async':

        @cpadapter.websocket
        async def index(self, ws):
            assert not cpadapter.request.is_disconnected()
            try:
                while True:
                    await ws.send('x')
                    sent.append(1)
            finally:
                sent.append(cpadapter.request.is_disconnected())
    else:

        @cpadapter.websocket
        def index(self, ws):
            assert not cpadapter.request.is_disconnected()
            try:
                while True:
                    ws.send('x')
                    sent.append(1)
            finally:
                sent.append(cpadapter.request.is_disconnected())

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.answer()
            peer.leave(1001)
            await peer.end_of_app()

    run(talk())
    assert sent[-1] is True
    assert len(sent) < 100
    assert not asgi.errors


def test_messages_are_taken_from_the_server_as_the_handler_asks_for_them(asgi, run):
    go = asyncio.Event()

    @cpadapter.websocket
    async def index(self, ws):
        await ws.accept()
        await go.wait()
        await ws.receive()

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.answer()
            for _ in range(100):
                peer.put('x' * 1000)
            await asyncio.sleep(0.01)
            assert peer.received == 1
            go.set()
            await peer.end_of_app()
            assert peer.received == 2

    run(talk())


@pytest.mark.parametrize(
    'entry',
    [
        {'websocket.origins': 5},
        {'websocket.origins': ['example.com']},
        {'websocket.origins': ['https://example.com/path']},
        {'websocket.max_size': '1M'},
        {'websocket.max_size': 0},
        {'websocket.idle_timeout': -1},
        {'websocket.subprotocols': [b'x']},
    ],
)
def test_a_setting_that_is_none_is_named_when_the_plan_is_compiled(asgi, run, entry):
    app = asgi.mount(tree(echo=echo_page('async')), config={'/': entry})

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.answer() == 500

    run(talk())
    assert f'{next(iter(entry))!r} = ' in asgi.errors[0]
    assert 'in section [/]' in asgi.errors[0]


def test_a_misspelt_setting_is_reported_with_the_nearest_name(asgi, run):
    app = asgi.mount(tree(echo=echo_page('async')), config={'/': {'websocket.max_sise': 5}})

    async def talk():
        async with Peer(app, '/echo') as peer:
            assert await peer.ask('long enough') == 'long enough'

    run(talk())
    assert 'websocket.max_sise' in asgi.errors[0]
    assert "'websocket.max_size'" in asgi.errors[0]


# -- plain handlers


def test_plain_handlers_have_threads_of_their_own_and_beyond_them_the_handshake_is_denied(asgi, run):
    asgi.site.config.update({'server.websocket_threads': 2, 'server.thread_pool': 1})

    @cpadapter.expose
    def other(self):
        return 'page'

    app = asgi.mount(tree(echo=echo_page('sync'), other=other))

    async def talk():
        async with Peer(app, '/echo') as one, Peer(app, '/echo') as two:
            assert await one.ask('1') == '1'
            assert await two.ask('2') == '2'
            async with Peer(app, '/echo') as three:
                assert await three.answer() == 503
            assert await get(asgi, '/other') == 'page'
        async with Peer(app, '/echo') as again:
            assert await again.ask('x') == 'x'

    run(talk())


def test_a_blocking_socket_is_refused_on_the_event_loop(asgi, run):
    kept = []

    @cpadapter.websocket
    def index(self, ws):
        ws.accept()
        kept.append(ws)
        ws.receive()

    app = asgi.mount(tree(index=index))

    async def talk():
        async with Peer(app) as peer:
            await peer.answer()
            while not kept:
                await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match='event loop'):
                kept[0].send('x')

    run(talk())


# -- HTTP


def test_asked_for_by_http_it_answers_426(client, colour):
    client.mount(tree(echo=echo_page(colour)))
    answer = client.get('/echo/1?a=2')
    assert answer.status == 426
    assert 'a client has to open it as one' in answer.text
    # PEP 3333 leaves it to the server.
    assert answer.headers.get('Upgrade') == ('websocket' if client.protocol == 'asgi' else None)
    if client.protocol == 'asgi':
        assert client.get('/echo', version='2').headers.get('Upgrade') is None
    assert client.post('/echo', form={'a': '1'}).status == 426
    assert not client.errors


# -- the decorator


def test_the_mark_combines_with_other_decorators_in_any_order(asgi, run):
    limit = asgi.site.tools.response_headers(headers=[('X-Tool', '1')])

    class Root:
        @cpadapter.websocket
        @limit
        async def one(self, ws):
            await ws.accept()

        @limit
        @cpadapter.websocket
        async def two(self, ws):
            await ws.accept()

        @cpadapter.expose
        @cpadapter.websocket
        @cpadapter.expose('drei')
        async def three(self, ws):
            await ws.accept()

        @cpadapter.websocket('vier.x', max_size=5)
        async def four(self, ws):
            await ws.accept()

        @cpadapter.websocket
        @staticmethod
        async def five(ws, a='0'):
            await ws.send(a)

        @staticmethod
        @cpadapter.websocket
        async def six(ws, a='0'):
            await ws.send(a)

        @cpadapter.websocket
        @classmethod
        async def seven(cls, ws, a='0'):
            await ws.send(a + cls.__name__)

        class Eight:
            @cpadapter.websocket
            async def __call__(self, ws, a='0'):
                await ws.send(a)

        eight = Eight()
        eight.exposed = True

    root = Root()

    @cpadapter.websocket()
    async def nine(ws, a='0'):
        await ws.send(a)

    root.nine = nine
    app = asgi.mount(root)

    async def talk():
        for path in ('one', 'two', 'three', 'four', 'vier_x'):
            async with Peer(app, f'/{path}') as peer:
                assert await peer.answer() == 101, path
                assert peer.header('x-tool') == ('1' if path in ('one', 'two') else None)
        for path, text in (('five', '7'), ('six', '7'), ('seven', '7Root'), ('eight', '7'), ('nine', '7')):
            async with Peer(app, f'/{path}/7') as peer:
                assert await peer.get() == text, path

    run(talk())
    assert not asgi.errors
    assert Root.four._cp_config == {'websocket.max_size': 5}


def test_what_is_no_function_cannot_be_marked():
    class Page:
        def method(self, ws):
            pass

    for wrong in (Page, Page().method, 5.0):
        with pytest.raises(TypeError):
            cpadapter.websocket(wrong)
    with pytest.raises(TypeError, match='no setting'):
        cpadapter.websocket(max_sise=5)
    with pytest.raises(TypeError, match='aliases once'):
        cpadapter.websocket('a', alias='b')


def test_a_method_dispatcher_leads_to_a_web_socket_by_get(asgi, run, colour):
    class Resource:
        exposed = True
        GET = echo_page(colour)

        @cpadapter.expose
        def POST(self):
            return 'page'

    config = {'/': {'request.dispatch': cpadapter.dispatch.MethodDispatcher()}}
    app = asgi.mount(tree(res=Resource()), config=config)

    async def talk():
        async with Peer(app, '/res') as peer:
            assert await peer.ask('x') == 'x'

    run(talk())


def test_a_dispatcher_of_ones_own_leads_to_one_and_not_to_a_page(asgi, run, colour):
    inner = cpadapter.dispatch.Dispatcher()

    def dispatch(path_info):
        return inner(path_info)

    ran = []

    @cpadapter.expose
    def other(self):
        ran.append(1)

    app = asgi.mount(tree(echo=echo_page(colour), other=other), config={'/': {'request.dispatch': dispatch}})

    async def talk():
        async with Peer(app, '/echo/1') as peer:
            assert await peer.ask('x') == 'x'
        async with Peer(app, '/other') as peer:
            assert await peer.answer() == 404

    run(talk())
    assert not ran


def test_a_tree_leads_to_the_application_below_its_mount(asgi, run, colour):
    asgi.mount(tree(), '')
    asgi.mount(tree(echo=echo_page(colour)), '/sub')

    async def talk():
        async with Peer(asgi.app, '/sub/echo') as peer:
            assert await peer.ask('x') == 'x'
        async with Peer(asgi.app, '/echo') as peer:
            assert await peer.answer() == 404

    run(talk())


def test_an_encoded_slash_stays_inside_its_argument(asgi, run):
    seen = []

    @cpadapter.websocket
    async def room(self, ws, name):
        seen.append(name)
        await ws.accept()

    app = asgi.mount(tree(room=room))

    async def talk():
        async with Peer(app, '/room/a%2Fb') as peer:
            assert await peer.answer() == 101

    run(talk())
    assert seen in (['a/b'], ['a%2Fb'])


def test_a_handshake_with_a_bad_host_is_denied(asgi, run):
    app = asgi.mount(tree(echo=echo_page('async')))

    async def talk():
        async with Peer(app, '/echo', host='a b') as peer:
            assert await peer.answer() == 400

    run(talk())
