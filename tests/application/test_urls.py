"""url(), inside and outside of requests."""

from __future__ import annotations

import pytest

import cpadapter
from cpadapter import url


@pytest.fixture
def ask(client, handler):
    """Gives a function: what url(...) gives while `path` is served."""
    asked = {}

    class D:
        @handler
        def index(self):
            return url(*asked['args'], **asked['kwargs'])

        @handler
        def leaf(self, **query):
            return url(*asked['args'], **asked['kwargs'])

        @handler
        def vp(self, *args):
            return url(*asked['args'], **asked['kwargs'])

    class Root(D):
        d = D()

    app = client.mount(Root(), '/app', {'/': {'tools.trailing_slash.on': False}})
    client.mount(Root(), '/url')
    client.mount(Root(), '')

    def ask(path, *args, **kwargs):
        asked.update(args=args, kwargs=kwargs)
        answer = client.get(path, host='h')
        assert answer.status == 200, answer
        return answer.text

    ask.app = app
    return ask


@pytest.mark.parametrize(
    ('path', 'args', 'kwargs', 'expected'),
    [
        ('/app/d/leaf', (), {}, 'http://h/app/d/leaf'),
        ('/app/d/leaf/', (), {}, 'http://h/app/d/leaf'),
        ('/app/d/leaf?q=1', (), {}, 'http://h/app/d/leaf'),
        ('/app/d', ('p',), {}, 'http://h/app/d/p'),
        ('/app/d/leaf', ('p',), {}, 'http://h/app/d/p'),
        ('/app/d/leaf', ('./p',), {}, 'http://h/app/d/p'),
        ('/app/d/leaf', ('/p',), {}, 'http://h/app/p'),
        ('/app/d/leaf', ('../p',), {}, 'http://h/app/p'),
        ('/app/d/leaf', ('a/./b',), {}, 'http://h/app/d/a/b'),
        ('/app/d/leaf', ('..',), {}, 'http://h/app/'),
        ('/app/d/vp/x/y', ('p',), {}, 'http://h/app/d/vp/x/p'),
        ('/app/d/leaf', ('p/',), {}, 'http://h/app/d/p/'),
        ('/app/d/leaf', ('?x=1',), {}, 'http://h/app/d/leaf?x=1'),
        ('/app/d/leaf', ('/p?x=1',), {}, 'http://h/app/p?x=1'),
        ('/app/d/leaf', ('p#f',), {}, 'http://h/app/d/p#f'),
        ('/app/d/leaf', ('p', 'x=1'), {}, 'http://h/app/d/p?x=1'),
        ('/app/d/leaf', (), {'qs': {'a': 1, 'b': 'c d'}}, 'http://h/app/d/leaf?a=1&b=c+d'),
        ('/app/d/leaf', ('p',), {'script_name': ''}, 'http://h/d/p'),
        ('/app/d/leaf', ('p',), {'script_name': '/zz'}, 'http://h/zz/d/p'),
        ('/app/d/leaf', ('p',), {'base': 'https://x'}, 'https://x/app/d/p'),
        ('/app/d/leaf', ('p',), {'base': ''}, '/app/d/p'),
        ('/app/d/leaf', ('p',), {'relative': True}, 'p'),
        ('/app/d/leaf', ('/p',), {'relative': True}, '../p'),
        ('/app/d/leaf', ('/',), {'relative': True}, '../'),
        ('/app/d/leaf', ('',), {'relative': True}, 'leaf'),
        ('/app/d/leaf', ('../p',), {'relative': True}, '../p'),
        ('/app/d/leaf', ('leaf/p',), {'relative': True}, 'leaf/p'),
        ('/app/d/leaf', ('p',), {'relative': 'server'}, '/app/d/p'),
        ('/app/d/leaf', ('/',), {'relative': 'server'}, '/app/'),
        ('/app/d/leaf', ('p',), {'relative': 'server', 'base': ''}, '/app/d/p'),
        ('/url/leaf', ('/other/../../../page1',), {'script_name': ''}, 'http://h/page1'),
        ('/leaf', ('/ab',), {'relative': True}, 'ab'),
        ('/app/d/leaf', ('/x/..',), {}, 'http://h/app/'),
        ('/app/d/leaf', ('/a/./b/',), {}, 'http://h/app/a/b/'),
        ('/app/d/leaf', ('/x/../..',), {}, 'http://h/app/'),
        ('/app/', ('../p',), {}, 'http://h/app/p'),
        ('/app/d/leaf', ('http://e.com/z',), {}, 'http://e.com/z'),
        ('/app/d/leaf', ('//e.com/z',), {}, '//e.com/z'),
        ('/app/d/leaf', ('/ä b',), {}, 'http://h/app/ä b'),
    ],
)
def test_in_a_request(ask, path, args, kwargs, expected):
    assert ask(path, *args, **kwargs) == expected


def test_an_application_may_choose_relative_urls(ask):
    ask.app.relative_urls = 'server'
    assert ask('/app/d/leaf', 'p') == '/app/d/p'
    ask.app.relative_urls = True
    assert ask('/app/d/leaf', '/p') == '../p'
    assert ask('/app/d/leaf', '/p', relative=False) == 'http://h/app/p'


def test_the_base_may_be_replaced_in_a_request(client, handler):
    class Root:
        @handler
        def index(self):
            cpadapter.request.base = 'https://proxied'
            return url('x')

    client.mount(Root())
    assert client.get('/').text == 'https://proxied/x'


def test_scheme_and_port_come_from_the_request(client, handler):
    class Root:
        @handler
        def index(self):
            return url('x')

    client.mount(Root())
    assert client.get('/', scheme='https', host='h:8443').text == 'https://h:8443/x'


def test_an_outer_prefix_is_part_of_it(client, handler):
    class Root:
        @handler
        def leaf(self):
            return url('/p')

    client.mount(Root(), '/app')
    assert client.get('/app/leaf', prefix='/outer').text == 'http://testserver/outer/app/p'


def test_outside_a_request_the_servers_address_is_the_base():
    assert url('/p') == 'http://127.0.0.1:8080/p'
    assert url('p') == 'http://127.0.0.1:8080/p'
    assert url('/p', script_name='/app') == 'http://127.0.0.1:8080/app/p'
    assert url('/p', qs='a=1', base='http://x') == 'http://x/p?a=1'
    assert url('/p', relative='server') == '/p'
    assert url('/a/../p') == 'http://127.0.0.1:8080/p'
