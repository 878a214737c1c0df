"""The proxies to the current request and response, and per-thread data."""

from __future__ import annotations

import asyncio
import threading

import pytest

import cpadapter
from cpadapter import expose, request, response, serving, thread_data


class TestInRequests:
    def test_attributes_and_items_reach_the_current_ones(self, client, handler):
        class Root:
            @handler
            def index(self):
                assert request.path_info == serving.request.path_info == '/'
                request.mine = 1
                assert serving.request.mine == 1
                del request.mine
                assert not hasattr(request, 'mine')
                response.headers['X-Own'] = 'set'
                assert bool(request)
                assert 'path_info' in dir(serving.request)
                assert type(request) is not type(serving.request)
                return 'ok'

        client.mount(Root())
        assert client.get('/').headers['X-Own'] == 'set'

    def test_extras_on_serving_live_for_one_request(self, client, handler):
        class Root:
            @handler
            def index(self):
                before = getattr(serving, 'mine', None)
                serving.mine = 'something'
                return f'{before} {serving.mine}'

        client.mount(Root())
        assert client.get('/').text == client.get('/').text == 'None something'

    def test_tasks_and_threads_of_a_request_see_their_own(self, asgi):
        class Root:
            @expose
            async def index(self, name):
                async def look():
                    await asyncio.sleep(0)
                    return request.params['name']

                found = await asyncio.gather(*(look() for _ in range(5)))
                found.append(await asyncio.to_thread(lambda: request.params['name']))
                return ','.join(found)

        asgi.mount(Root())

        async def main():
            from inspect import iscoroutinefunction  # noqa: F401

            return await asyncio.gather(*(one(f'n{i}') for i in range(10)))

        async def one(name):
            sent = []

            async def receive():
                await asyncio.Event().wait()

            async def send(message):
                sent.append(message)

            await asgi.app(
                {
                    'type': 'http',
                    'http_version': '1.1',
                    'method': 'GET',
                    'path': '/',
                    'query_string': f'name={name}'.encode(),
                    'headers': [(b'host', b'h')],
                },
                receive,
                send,
            )
            return sent[1]['body'].decode()

        assert asgi.loop.run_until_complete(main()) == [','.join([f'n{i}'] * 6) for i in range(10)]


class TestOutside:
    def test_defaults_are_seen(self):
        assert request.app is None
        assert request.method == 'GET'
        assert response.status in (None, '')
        assert repr(request)

    def test_what_a_thread_writes_no_other_sees(self):
        request.mine = 'main'
        seen = []

        def look():
            seen.append(getattr(request, 'mine', None))
            request.mine = 'thread'

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [None]
        assert request.mine == 'main'
        del request.mine

    def test_there_is_no_session_before_a_tool_makes_one(self):
        with pytest.raises(AttributeError):
            cpadapter.session.anything  # noqa: B018

    def test_load_and_clear(self):
        one, two = cpadapter.Request(), cpadapter.Response()
        serving.load(one, two)
        assert serving.request is one
        assert serving.response is two
        serving.clear()
        assert serving.request is not one


def test_thread_data_belongs_to_a_thread():
    thread_data.value = 1
    seen = []
    thread = threading.Thread(target=lambda: seen.append(hasattr(thread_data, 'value')))
    thread.start()
    thread.join()
    assert (seen, thread_data.value) == ([False], 1)
    thread_data.clear()
    assert not hasattr(thread_data, 'value')


def test_one_start_thread_for_each_thread(wsgi):
    seen = []
    for channel in ('start_thread', 'stop_thread'):
        wsgi.site.engine.subscribe(channel, lambda index, channel=channel: seen.append((channel, index)))

    class Root:
        @expose
        def index(self):
            return 'x'

    wsgi.mount(Root())
    wsgi.get('/')
    wsgi.get('/')
    assert seen == [('start_thread', 1)]
    wsgi.site.engine.graceful()
    assert seen == [('start_thread', 1), ('stop_thread', 1)]
