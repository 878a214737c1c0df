"""Error pages and error responses in either colour, for page handlers in either colour, under both protocols."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading

import pytest

import cpadapter
from cpadapter import HTTPError

OWN = contextvars.ContextVar('own', default='nothing')


@pytest.fixture(params=['plain', 'async'])
def paint(request):
    """Gives what makes the code that answers plain or async."""
    if request.param == 'plain':
        return lambda func: func

    def later(func):
        async def call(*args, **kwargs):
            await asyncio.sleep(0)
            return func(*args, **kwargs)

        return call

    return later


@pytest.fixture
def serve(client, handler):
    """Mounts pages that end in errors, under a config."""

    def serve(config):
        class Root:
            @handler
            def refused(self):
                OWN.set('of the page')
                raise HTTPError(403, 'not <you>')

            @handler
            def broken(self):
                OWN.set('of the page')
                raise RuntimeError('why')

            @handler
            def late(self):
                def chunks():
                    raise RuntimeError('late')
                    yield

                cpadapter.response.stream = True
                return chunks()

        client.mount(Root(), '', {'/': config})
        return client

    return serve


@pytest.mark.parametrize(('path', 'code'), [('/refused', 403), ('/broken', 500), ('/late', 500), ('/none', 404)])
def test_an_error_page_is_made_by_code_of_either_colour(serve, paint, path, code):
    seen = []

    @paint
    def page(status, message, traceback, version):
        seen.append((cpadapter.request.path_info, cpadapter.response.status))
        cpadapter.response.headers['X-Made'] = 'here'
        return f'<b>{status}</b> {message}'

    client = serve({f'error_page.{code}': page})
    answer = client.get(path)
    assert answer.status == code
    assert answer.text.startswith(f'<b>{code} ')
    assert answer.headers['X-Made'] == 'here'
    assert seen == [(path, int(seen[0][1]))] or seen[0][0] == path
    if code == 403:
        assert 'not &lt;you&gt;' in answer.text
        assert len(answer.body) > 256  # padded as any other page


def test_an_error_page_sees_the_context_and_the_error(serve, paint):
    seen = []

    @paint
    def page(**kwargs):
        seen.append((OWN.get(), type(sys.exc_info()[1]).__name__))
        return 'page'

    client = serve({'error_page.default': page})
    assert client.get('/broken').status == 500
    assert client.get('/refused').status == 403
    assert seen == [('of the page', 'RuntimeError'), ('of the page', 'HTTPError')]


def test_an_error_page_that_fails_gives_way_to_the_default_one(serve, paint):
    @paint
    def page(**kwargs):
        raise ValueError('no page')

    client = serve({'error_page.default': page})
    answer = client.get('/refused')
    assert answer.status == 403
    assert 'In addition, the custom error page failed' in answer.text
    assert sum('The custom error page failed' in line for line in client.errors) == 1


def test_hooks_and_head_see_an_error_page_as_any_other(serve, paint):
    @paint
    def page(**kwargs):
        return 'x' * 600

    lengths = []

    def look():
        lengths.append(len(cpadapter.response.collapse_body()))

    client = serve({'error_page.403': page, 'hooks.before_finalize': look})
    answer = client.head('/refused')
    assert (answer.status, answer.body, answer.headers['Content-Length']) == (403, b'', '600')
    assert lengths == [600]


def test_an_error_response_is_made_by_code_of_either_colour(serve, paint):
    @paint
    def respond():
        cpadapter.response.status = 503
        cpadapter.response.body = type(sys.exc_info()[1]).__name__.encode()

    client = serve({'request.error_response': respond})
    for path in ('/broken', '/late'):
        answer = client.get(path)
        assert (answer.status, answer.text) == (503, 'RuntimeError')


def test_a_subclass_may_make_its_page_later(client, handler):
    class Refused(HTTPError):
        async def get_error_page(self, *args, **kwargs):
            await asyncio.sleep(0)
            return 'later'

    @handler
    def index(self):
        raise Refused(410)

    client.mount(type('Root', (), {'index': index})())
    answer = client.get('/')
    assert (answer.status, answer.text.strip()) == (410, 'later')


def test_a_plain_error_page_of_an_async_page_stays_off_the_loop(asgi):
    threads = []

    def page(**kwargs):
        threads.append(threading.get_ident())
        return 'page'

    def never_waits(**kwargs):
        threads.append(threading.get_ident())
        return 'quick'

    never_waits.non_blocking = True

    class Root:
        @cpadapter.expose
        async def refused(self):
            raise HTTPError(403)

        @cpadapter.expose
        async def broken(self):
            raise RuntimeError

        @cpadapter.expose
        @cpadapter.config(**{'error_page.403': never_waits})
        async def quick(self):
            raise HTTPError(403)

    asgi.mount(Root(), '', {'/': {'error_page.default': page}})
    for path in ('/refused', '/broken', '/quick'):
        asgi.get(path)
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [False, False, True]


def test_a_tool_that_refuses_shows_an_async_page_too(client, handler):
    async def page(**kwargs):
        await asyncio.sleep(0)
        return 'none of these'

    @handler
    def index(self):
        return 'x' * 1000

    client.mount(type('Root', (), {'index': index})(), '', {'/': {'tools.gzip.on': True, 'error_page.406': page}})
    answer = client.get('/', headers={'Accept-Encoding': 'identity;q=0, zz'})
    assert (answer.status, answer.text.strip()) == (406, 'none of these')
    assert answer.headers['Vary'] == 'Accept-Encoding'
