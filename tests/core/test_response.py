"""The response: what page handlers set, and what a client gets of it."""

from __future__ import annotations

import http
import io

import pytest

import cpadapter
from cpadapter import Response


@pytest.fixture
def give(client, handler):
    """Gives a function: the answer to a page handler that runs `make(response)`."""
    makes = [None]

    class Root:
        @handler
        def index(self, **kwargs):
            return makes[0](cpadapter.response)

    client.mount(Root())

    def give(make, method='GET', **more):
        makes[0] = make
        return client.request(method, '/', **more)

    give.client = client
    return give


def setting(name, value, result='text'):
    def make(response):
        setattr(response, name, value)
        return result

    return make


class TestStatus:
    @pytest.mark.parametrize(
        ('status', 'code', 'reason'),
        [
            (None, 200, 'OK'),
            ('', 200, 'OK'),
            (201, 201, 'Created'),
            (201.0, 201, 'Created'),
            ('202', 202, 'Accepted'),
            ('203 My Own', 203, 'My Own'),
            (http.HTTPStatus.ACCEPTED, 202, 'Accepted'),
            (b'202', 202, 'Accepted'),
            ('298', 298, ''),
            ('431 My custom error', 431, 'My custom error'),
            (404, 404, 'Not Found'),
            (599, 599, ''),
        ],
    )
    def test_it_is_sent(self, give, status, code, reason):
        answer = give(setting('status', status))
        assert (answer.status, answer.text) == (code, 'text')
        assert answer.reason in (None, reason)

    @pytest.mark.parametrize(
        ('status', 'text'), [(781, 'is out of range'), ('error', 'is non-numeric'), (99, 'is out of range')]
    )
    def test_a_bad_one_is_500(self, give, status, text):
        answer = give(setting('status', status))
        assert answer.status == 500
        assert f'Illegal response status from server ({status!r}' in answer.text.replace('&#x27;', "'")
        assert text in answer.text

    def test_control_characters_in_the_reason_are_left_out(self, give):
        answer = give(setting('status', '200 Fine\r\nX-Evil: 1'))
        assert answer.status == 200
        assert 'X-Evil' not in answer.headers

    @pytest.mark.parametrize('status', [204, 205, 304])
    def test_responses_without_content_have_none(self, give, status):
        for value in ('text', [b'a'], iter([b'a', b'b']), io.BytesIO(b'x'), None):
            answer = give(lambda response, v=value: setting('status', status, v)(response))
            assert (answer.status, answer.body) == (status, b'')
            assert 'Content-Length' not in answer.headers

    @pytest.mark.parametrize('status', [204, 304])
    def test_neither_do_streamed_ones(self, give, status):
        closed = []

        def body():
            try:
                yield b'a'
                yield b'b'
            finally:
                closed.append(True)

        def make(response):
            response.stream = True
            response.status = status
            response.headers['Content-Length'] = '2'
            made = body()
            next(made)
            return made

        answer = give(make)
        assert (answer.status, answer.body, closed) == (status, b'', [True])


class TestHeaders:
    def test_the_usual_ones(self, give):
        answer = give(lambda response: 'ä')
        assert list(map(str.lower, dict(answer.headers))) == ['content-type', 'content-length']
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        assert answer.headers['Content-Length'] == '2'

    def test_server_and_date_can_be_read_and_are_sent_only_when_set(self, give):
        def make(response):
            assert response.headers['Server']
            assert response.headers['Date'].endswith('GMT')
            return 'x'

        answer = give(make)
        assert 'Server' not in answer.headers
        assert 'Date' not in answer.headers

        def own(response):
            response.headers['Server'] = 'mine/1'
            return 'x'

        assert give(own).headers['Server'] == 'mine/1'

    def test_case_variants_are_one_header(self, give):
        def make(response):
            response.headers['content-type'] = 'text/plain'
            response.headers['CONTENT-TYPE'] = 'text/css'
            response.headers.update({'x-one': '1'})
            response.headers['X-One'] = '2'
            return b'body'

        answer = give(make)
        assert answer.headers['Content-Type'].startswith('text/css')
        assert answer.headers['X-One'] == '2'

    def test_values_of_other_types_are_sent_as_text(self, give):
        def make(response):
            response.headers['X-Int'] = 5
            response.headers['X-Bytes'] = b'bytes'
            response.headers['X-Latin'] = 'é'
            response.headers['X-Commas'] = 'a, b'
            return 'x'

        answer = give(make)
        assert (answer.headers['X-Int'], answer.headers['X-Bytes']) == ('5', 'bytes')
        assert answer.headers['X-Latin'] == 'é'
        assert answer.headers['X-Commas'] == 'a, b'

    @pytest.mark.parametrize('char', ['\r', '\n', '\0', '\x7f', '\x1b'])
    @pytest.mark.parametrize('place', ['value', 'name', 'cookie', 'redirect'])
    def test_a_control_character_is_500_and_never_sent(self, give, char, place):
        def make(response):
            if place == 'value':
                response.headers['X-Own'] = f'a{char}Set-Cookie: b'
            elif place == 'name':
                response.headers[f'X-O{char}wn'] = 'a'
            elif place == 'cookie':
                response.cookie['a'] = 'b'
                response.cookie['a']['path'] = f'/{char}x'
            else:
                raise cpadapter.HTTPRedirect(f'/a{char}b')
            return 'x'

        answer = give(make)
        assert answer.status == 500
        assert 'Set-Cookie' not in answer.headers
        assert 'ontrol character' in '\n'.join(give.client.errors)

    @pytest.mark.parametrize('place', ['header', 'cookie'])
    def test_the_error_page_for_one_is_made_without_it(self, client, handler, place):
        class Root:
            @handler
            def index(self):
                response = cpadapter.response
                response.headers['X-Good'] = 'kept'
                if place == 'header':
                    response.headers['X-Bad'] = 'a\nb'
                else:
                    response.cookie['bad'] = '1'
                    response.cookie['bad']['path'] = '/\n'
                return 'x'

        client.mount(Root(), config={'/': {'error_page.500': lambda **kwargs: 'own page'}})
        answer = client.get('/')
        assert (answer.status, answer.text.strip()) == (500, 'own page')
        assert answer.headers['X-Good'] == 'kept'
        assert 'X-Bad' not in answer.headers
        assert 'Set-Cookie' not in answer.headers

    def test_they_know_what_the_client_speaks(self, give):
        def make(response):
            return str(response.headers.protocol)

        assert give(make).text == '(1, 1)'
        assert give(make, version='1.0').text == '(1, 0)'

    def test_a_header_may_be_sent_twice_through_header_list(self, client, handler):
        def add():
            cpadapter.response.header_list.extend(
                [(b'WWW-Authenticate', b'Negotiate'), (b'WWW-Authenticate', b'Basic realm="x"')]
            )

        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {'hooks.on_end_resource': add}})
        assert client.get('/').headers.get_all('WWW-Authenticate') == ['Negotiate', 'Basic realm="x"']

    @pytest.mark.parametrize(
        'pair',
        [(b'X-A', b'b\r\nX-Evil: 1'), (b'X-A', b'b\x00'), (b'X-A\r\nX-Evil', b'1'), (b'X A', b'1'), (b'', b'1')],
        ids=repr,
    )
    def test_what_headers_refuse_is_refused_there_too(self, client, handler, pair):
        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(
            Root(), config={'/': {'hooks.on_end_resource': lambda: cpadapter.response.header_list.append(pair)}}
        )
        answer = client.get('/')
        assert answer.status == 500
        assert [name.lower() for name, _ in answer.headers] == ['content-type', 'content-length']
        assert 'response header' in '\n'.join(client.errors)

    def test_control_characters_in_the_status_line_are_refused(self, client, handler):
        def change():
            cpadapter.response.output_status = b'200 OK\r\nX-Evil: 1'

        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {'hooks.on_end_resource': change}})
        assert client.get('/').status == 500
        assert 'response.output_status holds control characters' in '\n'.join(client.errors)

    def test_what_is_not_bytes_there_is_500_and_named(self, client, handler):
        def add():
            cpadapter.response.header_list.append((2, 3))

        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {'hooks.on_end_resource': add}})
        assert client.get('/').status == 500
        assert 'response.header_list key 2 is not a byte string.' in '\n'.join(client.errors)

    def test_an_own_content_length_is_kept_for_bytes(self, give):
        def make(response):
            response.headers['Content-Type'] = 'image/png'
            response.headers['Content-Length'] = '3'
            return b'abc'

        answer = give(make)
        assert answer.headers['Content-Length'] == '3'


class TestCookies:
    def test_they_are_sent_sorted_by_name(self, give):
        def make(response):
            response.cookie['b'] = '2'
            response.cookie['a'] = '1'
            response.cookie['a']['path'] = '/x'
            response.cookie['a']['httponly'] = True
            return 'x'

        first, second = give(make).headers.get_all('Set-Cookie')
        assert first.startswith('a=1;')
        assert 'HttpOnly' in first
        assert 'Path=/x' in first
        assert second == 'b=2'

    def test_errors_and_redirects_keep_them(self, give):
        for error in (cpadapter.HTTPError(403), cpadapter.HTTPRedirect('/x'), ValueError('x')):

            def make(response, error=error):
                response.cookie['a'] = '1'
                response.headers['X-Own'] = 'kept'
                response.headers['ETag'] = '"gone"'
                raise error

            answer = give(make)
            assert answer.headers.get_all('Set-Cookie') == ['a=1']
            assert answer.headers['X-Own'] == 'kept'
            assert ('ETag' in answer.headers) is (answer.status == 303)

    @pytest.mark.parametrize('attribute', ['path', 'domain'])
    def test_an_attribute_cannot_add_another(self, give, attribute):
        def make(response):
            response.cookie['a'] = 'x;y'
            response.cookie['b'] = '1'
            response.cookie['b'][attribute] = '/x; SameSite=None'

        answer = give(make)
        assert answer.status == 500
        assert answer.headers.get_all('Set-Cookie') == ['a="x\\073y"']

    def test_request_cookies_are_not_sent_back(self, give):
        assert 'Set-Cookie' not in give(lambda response: 'x', headers={'Cookie': 'a=1'}).headers


class TestDefaults:
    def test_a_new_response_has_them(self):
        response = cpadapter.Response()
        assert (response.status, response.header_list, response.body, response.stream) == (None, None, [], False)
        assert list(response.headers) == ['Content-Type', 'Server', 'Date']
        assert response.headers['Content-Type'] == 'text/html'
        assert response.headers['Date'] == cpadapter.lib.httputil.HTTPDate(response.time)
        assert not response.cookie

    def test_each_attribute_is_set_when_its_step_comes(self, client, handler):
        seen = []

        def look():
            response = cpadapter.response
            seen.append((response.status, response.output_status, response.header_list and len(response.header_list)))

        class Root:
            @handler
            def index(self):
                look()
                return 'page'

        points = ('before_handler', 'before_finalize', 'on_end_resource', 'on_end_request')
        client.mount(Root(), config={'/': {f'hooks.{point}.look': look for point in points}})
        client.get('/')
        assert seen == [(None, None, None)] * 3 + [('200 OK', b'200 OK', 2)] * 2


class TestBody:
    def test_the_setter_takes_what_can_be_a_body(self):
        response = Response()
        for value, expected in [(b'', []), (b'a', [b'a']), (None, []), ([b'a'], [b'a']), (bytearray(b'a'), [b'a'])]:
            response.body = value
            assert response.body == expected
        response.body = io.BytesIO(b'x' * 100_000)
        assert [len(chunk) for chunk in response.body] == [65536, 100_000 - 65536]

    def test_the_setter_refuses_text(self):
        response = Response()
        for value in ('a', '', ['a'], [b'a', 'b']):
            with pytest.raises(ValueError, match=r'Page handlers MUST return bytes\. Use tools\.encode'):
                response.body = value
        assert Response.body.unicode_err.startswith('Page handlers MUST return bytes')

    def test_collapse_body_joins_and_keeps(self):
        response = Response()
        response.body = iter([b'a', b'b'])
        assert response.collapse_body() == b'ab'
        assert response.body == [b'ab']

    def test_without_encode_text_is_500(self, client, handler):
        class Root:
            @handler
            def default(self, kind):
                return {'str': 'a', 'list': ['a'], 'tuple': ('a',), 'bytes': b'a'}[kind]

        client.mount(Root(), config={'/': {'tools.encode.on': False}})
        assert client.get('/bytes').text == 'a'
        for kind in ('str', 'list', 'tuple'):
            assert client.get(f'/{kind}').status == 500

    def test_a_handler_that_returns_none_discards_a_body_it_set(self, give):
        def make(response):
            response.body = b'discarded'

        assert give(make).body == b''

    def test_a_hook_may_wrap_the_body(self, client, handler):
        def wrap():
            cpadapter.response.body = [b'<', cpadapter.response.collapse_body(), b'>']

        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {'hooks.before_finalize': wrap}})
        answer = client.get('/')
        assert answer.text == '<x>'

    def test_the_request_body_may_be_echoed(self, client):
        class Root:
            @cpadapter.expose
            def index(self):
                return cpadapter.request.body

        client.mount(Root())
        answer = client.post('/', body=b'x' * 200_000, headers={'Content-Type': 'application/octet-stream'})
        assert answer.body == b'x' * 200_000


class TestHead:
    @pytest.mark.parametrize('value', ['text', b'text', [b'te', b'xt'], iter])
    def test_it_has_the_length_and_no_body(self, give, value):
        make = (lambda response: iter([b'te', b'xt'])) if value is iter else (lambda response: value)
        answer = give(make, 'HEAD')
        assert (answer.status, answer.body) == (200, b'')
        assert answer.headers['Content-Length'] == '4'

    def test_an_error_page_has_the_length_and_no_body(self, client):
        client.mount(None)
        length = len(client.get('/').body)
        answer = client.head('/')
        assert (answer.status, answer.body) == (404, b'')
        assert answer.headers['Content-Length'] == str(length)

    def test_a_streamed_body_is_closed_and_not_sent(self, give):
        closed = []

        def body():
            try:
                yield b'a'
            finally:
                closed.append(1)

        def make(response):
            response.stream = True
            made = body()
            next(made)
            return made

        answer = give(make, 'HEAD')
        assert (answer.status, answer.body, closed) == (200, b'', [1])
        assert 'Content-Length' not in answer.headers


class TestConfig:
    def test_response_entries_set_attributes_and_headers(self, client, handler):
        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {'response.status': 202, 'response.headers.X-Own': 'yes'}})
        answer = client.get('/')
        assert (answer.status, answer.headers['X-Own']) == (202, 'yes')

    def test_a_subclass_may_be_used(self, client, handler):
        class Own(Response):
            def finalize(self):
                self.headers['X-Own'] = 'yes'
                super().finalize()

        class Root:
            @handler
            def index(self):
                return 'x'

            @handler
            def plain(self):
                return b'x'

        app = client.mount(Root())
        app.response_class = Own
        assert client.get('/').headers['X-Own'] == 'yes'
        assert client.get('/plain').headers['X-Own'] == 'yes'
        assert client.get('/nope').headers['X-Own'] == 'yes'

    def test_finalize_may_run_twice(self):
        response = Response()
        response.cookie['a'] = '1'
        response.body = b'x'
        response.finalize()
        first = list(response.header_list)
        response.finalize()
        assert response.header_list == first
        assert response.output_status == b'200 OK'
        assert response.status == '200 OK'
