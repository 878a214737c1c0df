"""Grafted applications of several frameworks under both gateways: one table of acts for all of them."""

from __future__ import annotations

import asyncio
import gc
import time
from urllib.parse import urlsplit

import grafted
import pytest
from grafted import CHILDREN, CHUNK, CHUNKS

from cpadapter.gateways.bridge import LoopThread
from cpadapter.gateways.children import Child, find_protocol

# Bytes sent, and the pieces they come in, none of them as long as what is read at once.
UPLOAD = bytes(range(256)) * 4096


@pytest.fixture(params=list(CHILDREN))
def child(request, client):
    """The name of a child that is grafted at /hosted."""
    if request.param.startswith('django'):
        pytest.importorskip('django')
    elif request.param not in ('bare_wsgi', 'bare_asgi', 'ours'):
        pytest.importorskip(request.param)
    app = CHILDREN[request.param]()
    if request.param == 'ours':
        client.sites.append(app.site)
    client.site.tree.graft(app, '/hosted', lifespan=False)
    grafted.closed.clear()
    return request.param


@pytest.fixture
def ask(client):
    """Asks the client; what frameworks send on HEAD, or repeat in headers, is theirs."""

    def ask(method, target, **more):
        return client.request(method, target, validated=False, **more)

    return ask


def turn(client):
    """Let the loops do what is due, and the collector find what a framework has left behind in a circle."""
    gc.collect()
    if client.protocol == 'asgi':
        client.loop.run_until_complete(asyncio.sleep(0.01))
    else:
        LoopThread.get().call(asyncio.sleep(0.01))


class TestTable:
    def test_the_path_and_the_query_reach_it(self, child, ask):
        answer = ask('GET', '/hosted/where/a/b?x=1&y=%2F')
        assert (answer.status, answer.json) == (200, ['/hosted', '/where/a/b', 'x=1&y=%2F'])

    def test_text_outside_ascii_and_an_encoded_slash_are_decoded_in_the_path(self, child, ask):
        answer = ask('GET', '/hosted/where/%C3%BCber/a%2Fb')
        assert answer.json == ['/hosted', '/where/über/a/b', '']

    def test_an_encoded_slash_is_decoded_where_the_server_tells_the_target_too(self, child, ask):
        answer = ask('GET', '/hosted/where/%C3%BCber/a%2Fb', raw=True)
        assert answer.json == ['/hosted', '/where/über/a/b', '']

    def test_a_mount_outside_stands_before_its_own(self, child, ask):
        assert ask('GET', '/hosted/where/x', prefix='/outer').json == ['/outer/hosted', '/where/x', '']

    def test_its_url_helper_keeps_the_prefix(self, child, ask):
        for prefix in ('', '/outer'):
            answer = ask('GET', '/hosted/redirect', prefix=prefix)
            assert answer.status in (302, 303)
            assert urlsplit(answer.headers['Location']).path == f'{prefix}/hosted/where/there'

    def test_a_megabyte_posted_comes_back(self, child, ask):
        answer = ask('POST', '/hosted/echo', body=UPLOAD, headers={'Content-Type': 'application/octet-stream'})
        assert answer.status == 200
        assert answer.body == UPLOAD

    def test_a_body_in_chunks_of_no_known_length_comes_back(self, child, ask):
        answer = ask(
            *('POST', '/hosted/echo'),
            body=UPLOAD,
            chunked=True,
            headers={'Content-Type': 'application/octet-stream'},
        )
        # Django's WSGI side reads what Content-Length announces, and nothing without one.
        assert answer.body == (UPLOAD if child != 'django_wsgi' else b'')

    def test_a_body_that_nobody_reads_is_no_trouble(self, child, ask):
        assert ask('POST', '/hosted/where/x', body=b'x' * 100000).json[1] == '/where/x'

    def test_five_megabytes_are_streamed(self, child, ask):
        answer = ask('GET', '/hosted/download')
        assert len(answer.chunks) >= CHUNKS
        assert answer.body == CHUNK * CHUNKS

    def test_cookies_go_both_ways(self, child, ask):
        answer = ask('GET', '/hosted/cookie', headers={'Cookie': 'a=1; b=2'})
        assert answer.text == 'a=1; b=2'
        assert [value.split(';')[0].strip() for value in answer.headers.get_all('Set-Cookie')] == ['one=1', 'two=2']

    def test_head_has_a_head_alone(self, child, ask, client):
        answer = ask('HEAD', '/hosted/cookie')
        assert answer.status == 200
        if client.protocol == 'wsgi':
            return  # what a WSGI application gives on HEAD is its server's to leave out
        if child != 'bare_asgi':
            assert answer.body == b''

    def test_its_error_is_its_own(self, child, ask):
        with grafted.suppressed():
            try:
                answer = ask('GET', '/hosted/boom')
            except LookupError:
                pass  # for the server, which answers 500
            else:
                assert answer.status == 500

    def test_a_client_that_leaves_ends_its_body_at_once(self, child, ask, client):
        before = time.monotonic()
        # Below 2.4 of the specification a server says so by http.disconnect alone, as this client does.
        scope = {'asgi': {'version': '3.0', 'spec_version': '2.3'}}
        answer = ask('GET', '/hosted/endless', stop_after=3, scope=scope)
        assert answer.left
        assert len(answer.chunks) >= 3
        # A framework may leave its generator behind, for the loop to close when nobody refers to it any more.
        while not grafted.closed and time.monotonic() - before < 1:
            turn(client)
        assert [name for name, _ in grafted.closed] == [child]
        if client.protocol == 'wsgi':
            assert grafted.closed[0][1] <= 5


class TestProtocol:
    def test_what_a_callable_speaks_is_found_out(self):
        async def asgi(scope, receive, send): ...
        def wsgi(environ, start_response): ...
        def asgi_in_disguise(scope, receive, send): ...
        def asgi2(scope): ...
        def anything(*args): ...

        class Asgi:
            async def __call__(self, scope, receive, send): ...

        class Wsgi:
            def __init__(self, environ, start_response): ...

        class Asgi2:
            def __init__(self, scope): ...
            async def __call__(self, receive, send): ...

        for app, protocol in (
            *((asgi, 'asgi'), (Asgi(), 'asgi'), (Asgi().__call__, 'asgi'), (asgi_in_disguise, 'asgi')),
            *((wsgi, 'wsgi'), (Wsgi, 'wsgi'), (anything, 'wsgi'), (int, 'wsgi')),
            *((asgi2, 'asgi2'), (Asgi2, 'asgi2')),
        ):
            assert find_protocol(app) == protocol, app

    def test_a_marked_function_is_asgi(self):
        from asgiref.sync import markcoroutinefunction

        def app(*args): ...

        markcoroutinefunction(app)
        assert find_protocol(app) == 'asgi'

    def test_frameworks_are_told_apart(self):
        for name, make in CHILDREN.items():
            if name == 'ours':
                continue
            pytest.importorskip(name.partition('_')[0] if not name.startswith('bare') else 'cpadapter')
            expected = 'wsgi' if name in ('bare_wsgi', 'flask', 'django_wsgi') else 'asgi'
            assert Child(make()).protocol == expected, name

    def test_an_application_of_asgi_2_is_served(self, client):
        class App:
            def __init__(self, scope):
                self.scope = scope

            async def __call__(self, receive, send):
                await send(
                    {'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]}
                )
                await send({'type': 'http.response.body', 'body': self.scope['path'].encode()})

        client.site.tree.graft(App, '/two', lifespan=False)
        assert client.get('/two/x').text == '/two/x'

    def test_what_is_said_wins_over_what_is_seen(self, client):
        def app(*args):
            scope, _, send = args

            async def answer():
                await send(
                    {'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]}
                )
                await send({'type': 'http.response.body', 'body': scope['root_path'].encode()})

            return answer()

        client.site.tree.graft(app, '/said', protocol='asgi', lifespan=False)
        assert client.get('/said/x').text == '/said'

    def test_an_unknown_protocol_is_refused(self, client):
        with pytest.raises(ValueError, match="no protocol 'fcgi'"):
            client.site.tree.graft(lambda environ, start_response: [], '/x', protocol='fcgi')

    def test_the_config_key_grafts_asgi_applications_too(self, client):
        client.site.config.update({'tree.one': {'/one': CHILDREN['bare_asgi']()}})
        assert client.get('/one/where/x').json == ['/one', '/where/x', '']

    def test_a_child_may_be_replaced_by_one_of_the_other_protocol(self, client):
        for name in ('bare_asgi', 'bare_wsgi', 'bare_asgi'):
            client.site.tree.apps['/x'] = CHILDREN[name]()
            assert client.get('/x/where/y').json == ['/x', '/where/y', '']


class TestPrefixes:
    """ASGI servers differ in what they put into path; ours are in tests/gateways/test_protocols.py."""

    @pytest.mark.parametrize('name', ['bare_wsgi', 'bare_asgi', 'starlette', 'ours'])
    def test_a_path_without_the_servers_root_path_gets_it(self, asgi, name):
        pytest.importorskip('starlette')
        app = CHILDREN[name]()
        asgi.site.tree.graft(app, '/hosted', lifespan=False)
        if name == 'ours':
            asgi.sites.append(app.site)
        for path, root_path in (('/hosted/where/x', '/outer'), ('/outer/hosted/where/x', '/outer')):
            scope = {'root_path': root_path, 'path': path, 'raw_path': path.encode()}
            assert asgi.get('/', scope=scope).json == ['/outer/hosted', '/where/x', '']

    def test_a_raw_path_follows_a_path_that_is_put_right(self, asgi):
        seen = []

        async def app(scope, receive, send):
            seen.append((scope['root_path'], scope['path'], scope['raw_path']))
            await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
            await send({'type': 'http.response.body', 'body': b''})

        asgi.site.tree.graft(app, '/hosted', lifespan=False)
        asgi.get('/hosted/a//b%2Fc')
        asgi.get('//hosted//a')
        asgi.get('/hosted', scope={'root_path': '/ä', 'path': '/hosted', 'raw_path': b'/hosted'})
        assert seen == [
            ('/hosted', '/hosted/a//b/c', b'/hosted/a//b%2Fc'),
            ('/hosted', '/hosted/a', b'/hosted/a'),
            ('/ä/hosted', '/ä/hosted', b'/%C3%A4/hosted'),
        ]

    def test_in_a_starlette_parent_the_prefixes_add_up(self, asgi):
        applications = pytest.importorskip('starlette.applications')
        routing = pytest.importorskip('starlette.routing')
        for name in ('starlette', 'flask', 'bare_asgi'):
            asgi.site.tree.graft(CHILDREN[name](), f'/{name}', lifespan=False)
        asgi.app = applications.Starlette(routes=[routing.Mount('/outer', asgi.site.tree)])
        for name in ('starlette', 'flask', 'bare_asgi'):
            answer = asgi.get(f'/outer/{name}/redirect', validated=False)
            assert urlsplit(answer.headers['Location']).path == f'/outer/{name}/where/there'
