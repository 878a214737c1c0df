"""Malformed requests: answered 4xx with a clear body, never with a traceback, never left hanging."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cpadapter

FORM = {'Content-Type': 'application/x-www-form-urlencoded'}


@pytest.fixture
def app(client, handler):
    @cpadapter.popargs('a')
    class Sub:
        @handler
        def index(self, **kwargs):
            return 'sub'

    class Root:
        sub = Sub()

        @handler
        def index(self, **kwargs):
            return cpadapter.url('/')

        @handler
        def default(self, *args, **kwargs):
            # Everything that reads the request does so here.
            request = cpadapter.request
            dict(request.headers), dict(request.cookie), request.base, request.remote, request.request_line
            return repr((args, kwargs))

    return client.mount(Root(), config={'/': {'request.show_tracebacks': True}})


def is_clear(answer, *statuses):
    """What every refusal must look like."""
    assert answer.status in statuses, answer
    assert answer.error is None
    assert answer.body
    assert answer.headers['Content-Type'].startswith('text/')
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    return True


class TestHosts:
    @pytest.mark.parametrize(
        'host',
        [
            'a b', 'a/b', 'x/admin?', 'a\\b', 'user@host', 'a,b', 'h:port', 'h:80:80', '[::1', '::1', '[zz]', 'a#b',
            'h:-1', '<script>', '"h"', 'h\t1', '%', '%zz', 'a' * 2000, '[' + ':' * 2000 + ']', 'é/',
        ],
    )  # fmt: skip
    def test_a_malformed_host_is_400(self, client, app, host):
        answer = client.get('/', host=host)
        assert is_clear(answer, 400)
        assert 'Host' in answer.text
        assert '<script>' not in answer.text

    @pytest.mark.parametrize(
        'host',
        ['h', 'H.Example.org', 'h:80', 'h:', '127.0.0.1', '[::1]:81', 'under_score', 'xn--bcher-kva.ch', 'h.', ''],
    )
    def test_a_good_host_is_served(self, client, app, host):
        assert client.get('/', host=host).status == 200

    def test_a_missing_host_is_400_for_http_1_1_alone(self, client, app):
        answer = client.get('/', host=None)
        assert is_clear(answer, 400)
        assert 'requires a' in answer.text
        for version in ('1.0', '2', '3'):
            assert client.get('/', host=None, version=version).status == 200

    def test_two_hosts_are_400(self, client, app):
        assert is_clear(client.get('/', headers=[('Host', 'a'), ('Host', 'b')], host=None), 400)
        assert is_clear(client.get('/', headers=[('Host', 'a'), ('Host', 'a')], host=None), 400)

    def test_a_host_seen_before_is_checked_for_each_version(self, client, app):
        assert client.get('/', host='good').status == 200
        assert is_clear(client.get('/', host='good', version='x'), 400)
        assert is_clear(client.get('/', host=None), 400)


class TestProtocols:
    @pytest.mark.parametrize('version', ['9.9.9', 'x', '1.1x', '11', '1,1', ' 1.1', '1.', '-1', '1.1\n'])
    def test_a_malformed_version_is_400(self, client, app, version):
        answer = client.get('/', version=version)
        assert is_clear(answer, 400)
        assert 'protocol version' in answer.text

    def test_no_version_at_all_is_served(self, client, app):
        assert client.get('/', environ={'SERVER_PROTOCOL': None}, scope={'http_version': ''}).status == 200

    @pytest.mark.parametrize('method', ['G E T', '', 'GET\r\n', '<b>', 'x' * 10_000, 'É', '\0'])
    def test_a_strange_method_is_served_or_refused_clearly(self, client, app, method):
        answer = client.request(method, '/') if client.protocol == 'asgi' or method else client.request('X', '/')
        assert answer.status == 200 or is_clear(answer, 400, 405, 501)


class TestPaths:
    @pytest.mark.parametrize(
        'path',
        [
            '/%', '/%zz', '/%2', '/%u1234', '/%00', '/%FF%FE', '/%C0%AF..%C0%AF', '/%ED%A0%80', '/../..', '/..%2f..%2f',
            '/%2e%2e/%2e%2e', '//evil.example/x', '/\\evil', '/a' * 5000, '/' * 5000, '/%2F' * 2000, '/%252F%25',
            '/' + 'a' * 100_000, '/\r\nX: y', '/%0d%0aX:%20y', '/ ', '/?', '/;/;', '/a;b=c', '/[', '/*',
            '/__class__/__init__/__globals__', '/sub/%2F/%2f', '/sub/%', '/default', '/%C3%A4/\xff',
        ],
    )  # fmt: skip
    @pytest.mark.parametrize('raw', [False, True])
    def test_a_strange_path_is_served_or_404(self, client, app, path, raw):
        answer = client.get(path, raw=raw)
        assert answer.status in (200, 301) or is_clear(answer, 400, 404, 414), answer
        assert answer.status < 500
        if answer.status == 301:
            assert answer.headers['Location'].startswith('http://testserver/')
        assert not [line for line in client.errors if 'Traceback' in line]

    @pytest.mark.parametrize('path', ['*', 'http://h/x', '', 'no/slash', 'created.example.com:3128'])
    def test_a_target_that_is_no_path(self, client, app, path):
        environ = {'PATH_INFO': path}
        scope = {'path': path, 'raw_path': path.encode()}
        answer = client.get('/', environ=environ, scope=scope, validated=False)
        assert answer.status in (200, 404)

    def test_a_slash_redirect_stays_on_the_host(self, client, app):
        for path in ('//sub', '///sub', '/sub//x', '//evil.example/../sub'):
            answer = client.get(path)
            if answer.status == 301:
                assert answer.headers['Location'].startswith('http://testserver/sub')


class TestQueries:
    @pytest.mark.parametrize(
        'query',
        [
            '%', '%zz=%', 'a=%FF', '%FF=a', '&&&&', '=', '==', 'a==b', 'a=%00', 'a=%C0%AF', 'a=%ED%A0%80', '1,2&', '1,',
            ',1', '9' * 5000 + ',1', 'self=1', 'cherrypy=1', '__class__=1', 'a[b][c]=1', '?', 'a=\r\nX: y', '%0d%0a',
            'a=' + 'x' * 1_000_000, '&'.join(f'k{i}' for i in range(20_000)), 'a=1&' * 20_000, 'ä=ö',
        ],
    )  # fmt: skip
    def test_a_strange_query_is_served_or_refused(self, client, app, query):
        for path in ('/', '/other', '/sub/x/'):
            answer = client.get(f'{path}?{query}')
            assert answer.status == 200 or is_clear(answer, 400, 404, 414), answer
        assert not [line for line in client.errors if 'Traceback' in line]


class TestContentLengths:
    @pytest.mark.parametrize('length', ['-1', '+1', '1.5', 'x', '0x10', '1 2', '1,2', '1_0', '\xb2', '1e3', '--', '5;'])
    def test_junk_is_400(self, client, app, length):
        assert is_clear(_raw(client, 'POST', [('Content-Length', length), *FORM.items()]), 400)

    def test_absurd_sizes_are_413(self, client, app):
        for length in ('9' * 19, '9' * 20, '9' * 5000, str(2**63), str(2**64)):
            assert is_clear(_raw(client, 'POST', [('Content-Length', length), *FORM.items()]), 413)
            assert is_clear(_raw(client, 'POST', [('Content-Length', length), ('Content-Type', 'text/x')]), 413)

    def test_two_different_lengths_are_400(self, client, app):
        headers = [('Content-Length', '3'), ('Content-Length', '4'), *FORM.items()]
        assert is_clear(_raw(client, 'POST', headers), 400)

    def test_none_at_all_is_411(self, client, app):
        assert is_clear(client.request('POST', '/', headers=FORM), 411)
        assert is_clear(client.request('PUT', '/'), 411)

    def test_junk_with_a_get_is_no_matter(self, client, app):
        assert _raw(client, 'GET', [('Content-Length', 'x')]).status in (200, 400)


def _raw(client, method, headers):
    """Send a Content-Length that the WSGI validator would refuse to pass on."""
    return client.request(method, '/', headers=headers, validated=False)


class TestBodies:
    @pytest.mark.parametrize(
        ('content_type', 'body'),
        [
            ('application/x-www-form-urlencoded', b'a=%FF'),
            ('application/x-www-form-urlencoded', b'%'),
            ('application/x-www-form-urlencoded', b'\xff\xfe'),
            ('application/x-www-form-urlencoded; charset=nope', b'a=1'),
            ('application/x-www-form-urlencoded; charset=utf-16', b'a'),
            ('application/x-www-form-urlencoded;;;charset', b'a=1'),
            ('multipart/form-data', b'--x\r\n\r\n--x--'),
            ('multipart/form-data; boundary=', b'--x'),
            ('multipart/form-data; boundary="', b'--x'),
            ('multipart/form-data; boundary=' + 'x' * 300, b'--x'),
            ('multipart/form-data; boundary=x', b''),
            ('multipart/form-data; boundary=x', b'--x'),
            ('multipart/form-data; boundary=x', b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nunended'),
            ('multipart/form-data; boundary=x', b'--x\r\nNo colon here\r\n\r\na\r\n--x--\r\n'),
            ('multipart/form-data; boundary=x', b'--x\r\n' + b'A: b\r\n' * 5000 + b'\r\na\r\n--x--\r\n'),
            ('multipart/form-data; boundary=x', b'--x\r\n\r\n\r\n' * 3000 + b'--x--\r\n'),
            ('/', b'x'),
            ('text', b'x'),
            (';', b'x'),
            ('a/b/c', b'x'),
            ('\xff/\xff', b'x'),
            ('x' * 65536, b'x'),
            ('text/plain; ' + 'a="' * 20_000, b'x'),
        ],
    )
    def test_a_strange_body_is_served_or_refused(self, client, app, content_type, body):
        answer = client.post('/other', body=body, headers={'Content-Type': content_type})
        assert answer.status == 200 or is_clear(answer, 400, 413, 415), answer

    @pytest.mark.parametrize('body', [b'', b'{', b'nope', b'\xff', b'[' * 100_000, b'{"a":' + b'9' * 10_000 + b'}'])
    def test_json_that_is_none_is_400(self, client, handler, body):
        class Root:
            @cpadapter.tools.json_in()
            @handler
            def index(self):
                return repr(cpadapter.request.json)

        client.mount(Root())
        assert is_clear(client.post('/', body=body, headers={'Content-Type': 'application/json'}), 400)
        assert is_clear(client.post('/', body=b'1', headers={'Content-Type': 'text/plain'}), 415)
        assert not [line for line in client.errors if 'Traceback' in line]


class TestHeaders:
    @pytest.mark.parametrize(
        ('name', 'value'),
        [
            ('Accept-Charset', 'utf-8;q=x'),
            ('Accept-Charset', 'utf-8;q=-1'),
            ('Accept-Charset', 'nope'),
            ('Accept-Charset', ',' * 10_000),
            ('Accept', 'text/html;q=1e999'),
            ('Accept', ';q=' * 10_000),
            ('Cookie', 'a' * 50_000),
            ('Cookie', ';' * 50_000),
            ('Cookie', '"' * 50_000),
            ('Cookie', 'a="\\'),
            ('Cookie', 'Bad,Name=1'),
            ('Cookie', '=__Host-x=1'),
            ('X-Text', '=?utf-8?q?=FF?='),
            ('X-Text', '=?nope?b?!!?='),
            ('X-Text', '=?utf-8?b?a?= ' * 3000),
            ('X-Long', 'x' * 1_000_000),
            ('Range', 'bytes=' + '0-,' * 5000),
            ('If-Modified-Since', 'yesterday'),
            ('Expect', 'the unexpected'),
            ('X-Forwarded-Host', 'a/b'),
            ('X-\xe9', 'x'),
        ],
    )
    def test_a_strange_header_is_served_or_refused(self, client, app, name, value):
        for path in ('/', '/other', '/nope/nope'):
            answer = client.get(path, headers={name: value})
            assert answer.status == 200 or is_clear(answer, 400, 404, 406, 417), answer

    def test_a_name_with_an_underscore_does_not_shadow_one_with_a_hyphen(self, asgi):
        class Root:
            @cpadapter.expose
            def index(self):
                return cpadapter.request.headers.get('X-Real-Ip', 'none')

        asgi.mount(Root())
        assert asgi.get('/', headers=[('x-real-ip', 'good'), ('x_real_ip', 'evil')]).text == 'good'
        assert asgi.get('/', headers=[('x_real_ip', 'evil')]).text == 'none'

    def test_many_repeated_headers_are_joined_in_linear_time(self, asgi):
        class Root:
            @cpadapter.expose
            def index(self):
                return str(len(cpadapter.request.headers['X-Many']))

        asgi.mount(Root())
        assert int(asgi.get('/', headers=[('X-Many', 'x')] * 100_000).text) >= 200_000


class TestErrorPages:
    def test_what_the_client_sent_is_escaped_and_cut(self, client, handler):
        client.mount(None)
        answer = client.get('/%3Cscript%3Ealert(1)%3C/script%3E' + 'x' * 10_000)
        assert '<script>' not in answer.text
        assert len(answer.text) < 3000

    def test_tracebacks_are_not_in_them(self, client, handler):
        class Root:
            @handler
            def index(self, n='1'):
                return str(int(n))

        client.mount(Root())
        for target in ('/?n=x', '/?m=1', '/a/b', '/?n=%FF'):
            answer = client.get(target)
            assert answer.status in (404, 500)
            assert 'Traceback' not in answer.text
            assert '.py' not in answer.text

    def test_nobody_mounted_is_a_clear_404(self, client):
        assert is_clear(client.get('/x'), 404)
        assert client.head('/x').status == 404
        assert is_clear(client.get('/x', host='a b'), 400)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(st.characters(max_codepoint=255), max_size=30),
    query=st.text(st.characters(max_codepoint=255), max_size=30),
    host=st.text(st.characters(max_codepoint=255, blacklist_characters='\r\n\0'), max_size=20),
    cookie=st.text(st.characters(max_codepoint=255, blacklist_characters='\r\n\0'), max_size=30),
)
def test_nothing_a_client_writes_gives_a_500(client, app, path, query, host, cookie):
    target = f'/{path.replace("?", "")}?{query}'
    answer = client.get(target, host=host, headers={'Cookie': cookie, 'Accept-Charset': cookie})
    assert answer.status < 500, answer
