"""Errors, redirects and error pages, on an exchange that is only as real as they need it."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter import errors
from cpadapter.context import exchange_var
from cpadapter.errors import (
    PADDED,
    CherryPyException,
    ClientDisconnected,
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    NotFound,
    bare_error,
    clean_headers,
    current_url,
    format_exc,
    get_error_page,
)
from cpadapter.protocol.headers import HeaderMap
from cpadapter.protocol.status import response_codes


class Response:
    def __init__(self):
        self.status = None
        self.stream = True
        self.headers = HeaderMap({'Content-Type': 'text/plain', 'Server': 's'})
        self.body = b'before'

    def collapse_body(self):
        return self.body


def make_exchange(**attributes):
    request = SimpleNamespace(
        base='http://h',
        script_name='/app',
        path_info='/d/leaf',
        is_index=False,
        protocol=(1, 1),
        headers=HeaderMap(),
        error_page={},
        show_tracebacks=False,
    )
    request.__dict__.update(attributes)
    server = SimpleNamespace(base=lambda: 'http://127.0.0.1:8080')
    app = SimpleNamespace(log=SimpleNamespace(error=lambda *args, **kwargs: None))
    site = SimpleNamespace(server=server)
    return SimpleNamespace(request=request, _request=request, response=Response(), app=app, site=site, head=None)


@pytest.fixture
def exchange():
    exchange = make_exchange()
    token = exchange_var.set(exchange)
    yield exchange
    exchange_var.reset(token)


@pytest.fixture
def request_(exchange):
    return exchange.request


@pytest.fixture
def response(exchange):
    return exchange.response


# --- HTTPError ------------------------------------------------------------------------------------------------


def test_exceptions_share_a_base(exchange):
    for exception in (HTTPError(), NotFound(), HTTPRedirect('/'), InternalRedirect('/'), ClientDisconnected()):
        assert isinstance(exception, CherryPyException)
    assert issubclass(ClientDisconnected, ConnectionError)


@pytest.mark.parametrize(
    ('args', 'code', 'reason', 'message'),
    [
        ((), 500, 'Internal Server Error', response_codes[500][1]),
        ((404,), 404, 'Not Found', 'Nothing matches the given URI'),
        ((404, ''), 404, 'Not Found', 'Nothing matches the given URI'),
        ((404, 'gone'), 404, 'Not Found', 'gone'),
        (("410 Gone fishin'", 'm'), 410, "Gone fishin'", 'm'),
        ((499,), 499, '', ''),
        ((500, 5), 500, 'Internal Server Error', '5'),
        ((500, b'caf\xc3\xa9\xff'), 500, 'Internal Server Error', 'café\ufffd'),
        ((500, ['a']), 500, 'Internal Server Error', "['a']"),
    ],
)
def test_error_knows_code_reason_and_message(args, code, reason, message):
    error = HTTPError(*args)
    assert (error.code, error.reason, error._message) == (code, reason, message)
    assert error.status == (args[0] if args else 500)
    assert error.args == (*args, *(500, None)[len(args) :])


@pytest.mark.parametrize('status', ['x', 781, '99', object()])
def test_illegal_status_is_an_error_500(status):
    with pytest.raises(HTTPError, match='Illegal response status from server') as caught:
        HTTPError(status)
    assert caught.value.code == 500


@pytest.mark.parametrize('status', [200, '302', None, 399])
def test_status_that_is_no_error_is_a_value_error(status):
    with pytest.raises(ValueError, match=r'^status must be between 400 and 599\.$'):
        HTTPError(status)


def test_calling_an_error_raises_it(exchange):
    for exception in (HTTPError(415, 'no'), NotFound(), HTTPRedirect('/')):
        with pytest.raises(CherryPyException) as caught:
            exception()
        assert caught.value is exception


def test_handle_turns_one_exception_into_another():
    with pytest.raises(HTTPError) as caught, HTTPError.handle(KeyError, 404, 'none'):
        raise KeyError('a')
    assert caught.value.args == (404, 'none')
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(HTTPError) as caught, HTTPError.handle((KeyError, ValueError), 400):
        raise ValueError('its own text')
    assert caught.value.args == (400, 'its own text')
    with pytest.raises(TypeError), HTTPError.handle(KeyError, 404):
        raise TypeError


def test_error_sets_the_response(response):
    response.headers.update({'Content-Length': 6, 'ETag': 'x', 'Cache-Control': 'no-store'})
    HTTPError("410 Gone fishin'", 'm').set_response()
    assert response.status == "410 Gone fishin'"
    assert response.stream is False
    assert b'<p>m</p>' in response.body
    assert dict(response.headers) == {
        'Content-Type': 'text/html;charset=utf-8',
        'Server': 's',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
        'Vary': 'Accept',
        'Content-Length': str(len(response.body)),
    }


STALE = """Accept-Ranges Age ETag Location Retry-After Vary Content-Encoding Content-Length Expires Content-Location
Content-MD5 Last-Modified Content-Range"""
KEPT = 'Cache-Control Allow WWW-Authenticate Set-Cookie Content-Language Content-Disposition X-Own'


def test_headers_of_the_page_not_sent_are_taken_out(response):
    response.headers = HeaderMap(dict.fromkeys(f'{STALE} {KEPT}'.split(), 'x'))
    clean_headers(416)
    assert set(response.headers) == {name.title() for name in KEPT.split()} | {'Content-Range'}
    clean_headers(404)
    assert set(response.headers) == {name.title() for name in KEPT.split()}


def test_subclass_may_make_its_own_page(response):
    class Teapot(HTTPError):
        def get_error_page(self, *args, **kwargs):
            return f'{args} {kwargs["message"]} é'

    Teapot(418, 'short').set_response()
    assert response.body == '(418,) short é'.encode()


# --- padding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('status', [400, 401, 403, 404, 405, 406, 408, 409, 410, 416, 500, 501, 503, 505])
def test_small_html_page_is_padded_with_spaces(exchange, response, tmp_path, status):
    template = tmp_path / 'page.html'
    template.write_text('%(message)s')
    exchange.request.error_page = {status: str(template)}
    HTTPError(status, 'short').set_response()
    size = PADDED.get(status)
    expected = b'short' if size is None else b'short'.ljust(size + 1)
    assert response.body == expected
    assert response.headers.get('Content-Length') == (None if size is None else str(len(expected)))


@pytest.mark.parametrize(('length', 'padded'), [(0, 0), (1, 513), (512, 513), (513, 513), (514, 514)])
def test_only_a_body_no_longer_than_the_limit_is_padded(request_, response, length, padded):
    response.headers['Content-Type'] = 'text/html'
    request_.error_page = {404: lambda **kwargs: 'x' * length}
    HTTPError(404).set_response()
    assert len(response.body) == padded
    assert response.headers['Content-Length'] == str(padded)


def test_page_that_is_no_html_is_not_padded(request_, response):
    request_.error_page = {404: lambda **kwargs: 'x'}
    HTTPError(404).set_response()
    assert response.body == b'x'
    assert response.headers['Content-Type'] == 'text/plain'


def test_padding_sizes():
    assert {size: [code for code in PADDED if PADDED[code] == size] for size in (512, 256)} == {
        512: [400, 404, 406, 408, 409, 500, 501, 505],
        256: [403, 405, 410],
    }


# --- NotFound -------------------------------------------------------------------------------------------------


def test_not_found_names_the_current_path(exchange):
    error = NotFound()
    assert (error.code, error.args) == (404, (404, "The path '/app/d/leaf' was not found."))
    assert NotFound('/x')._message == "The path '/x' was not found."


def test_path_in_a_404_is_cut_and_escaped(request_, response):
    NotFound('/<script>' + 'a' * 1000).set_response()
    assert b"<p>The path '/&lt;script&gt;" + b'a' * 191 + b"' was not found.</p>" in response.body


# --- default page ---------------------------------------------------------------------------------------------


def test_default_page_is_well_formed(exchange):
    page = get_error_page('404 Not Found', message='a<b> & "c"', traceback='Trace <module>').decode()
    assert page.endswith('</html>\n')
    root = ElementTree.fromstring(page)
    space = '{http://www.w3.org/1999/xhtml}'
    assert root.find(f'.//{space}title').text == '404 Not Found'
    assert root.find(f'.//{space}h2').text == '404 Not Found'
    assert root.find(f'.//{space}p').text == 'a<b> & "c"'
    assert root.find(f".//{space}pre[@id='traceback']").text == 'Trace <module>'
    powered = ''.join(root.find(f".//{space}div[@id='powered_by']").itertext())
    assert powered == 'Powered by cpadapter'
    assert '<p>a&lt;b&gt; &amp; "c"</p>' in page
    assert '<pre id="traceback">Trace &lt;module&gt;</pre>' in page


def test_page_has_defaults_for_all_it_shows(exchange):
    page = get_error_page(404, message=None, traceback=None).decode()
    assert page.count('404 Not Found') == 2
    assert '<p>Nothing matches the given URI</p>' in page
    assert '<pre id="traceback"></pre>' in page
    assert get_error_page("410 Gone fishin'").decode().count("410 Gone fishin'") == 2


@given(st.text())
def test_any_message_makes_a_well_formed_page(message):
    token = exchange_var.set(make_exchange())
    try:
        ElementTree.fromstring(get_error_page(500, message=message, traceback=message))
        HTTPError(404, message).set_response()
    finally:
        exchange_var.reset(token)


def test_traceback_is_shown_only_if_asked_for(request_, response):
    def answer():
        try:
            try:
                raise ValueError('inner')
            except ValueError:
                raise HTTPError(404) from None
        except HTTPError as error:
            error.set_response()
        return response.body

    assert b'Traceback' not in answer()
    request_.show_tracebacks = True
    assert b'<pre id="traceback">Traceback (most recent call last):' in answer()


# --- negotiation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('accept', 'expected'),
    [
        (None, 'text/html;charset=utf-8'),
        ('', 'text/html;charset=utf-8'),
        ('*/*', 'text/html;charset=utf-8'),
        ('text/*', 'text/html;charset=utf-8'),
        ('image/png', 'text/html;charset=utf-8'),
        ('text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text/html;charset=utf-8'),
        ('text/html, application/json', 'text/html;charset=utf-8'),
        ('text/html;q=0.9, application/json;q=0.8', 'text/html;charset=utf-8'),
        ('*/*, application/json;q=0.1', 'text/html;charset=utf-8'),
        ('application/json;q=0', 'text/html;charset=utf-8'),
        ('application/json;q=x, a', 'text/html;charset=utf-8'),
        ('application/problem+json', 'application/problem+json'),
        ('application/json', 'application/problem+json'),
        ('Application/JSON', 'application/problem+json'),
        ('application/json, text/plain, */*', 'application/problem+json'),
        ('text/html;q=0.5, application/json', 'application/problem+json'),
        ('application/vnd.api+json, application/json;q=0.5', 'application/problem+json'),
        ('text/plain', 'text/plain;charset=utf-8'),
        ('text/plain, application/json;q=0.5', 'text/plain;charset=utf-8'),
    ],
)
def test_default_page_is_html_unless_another_type_is_preferred_by_name(request_, response, accept, expected):
    if accept is not None:
        request_.headers['Accept'] = accept
    HTTPError(404).set_response()
    assert response.headers['Content-Type'] == expected
    assert response.headers['Vary'] == 'Accept'
    assert response.headers['X-Content-Type-Options'] == 'nosniff'


def test_problem_is_told_as_json(request_, response):
    request_.headers['Accept'] = 'application/problem+json'
    HTTPError("410 Gone fishin'", 'a <b>').set_response()
    assert json.loads(response.body) == {'title': "Gone fishin'", 'status': 410, 'detail': 'a <b>'}
    assert 'Content-Length' not in response.headers
    problem = json.loads(get_error_page(500, traceback='Trace'))
    assert problem['traceback'] == 'Trace'


def test_problem_is_told_as_text(request_):
    request_.headers['Accept'] = 'text/plain'
    assert get_error_page(404, message='a <b> é', traceback='Trace\n').decode() == '404 Not Found\n\na <b> é\n\nTrace\n'


def test_vary_is_extended_once(request_, response):
    response.headers['Vary'] = 'Cookie'
    get_error_page(404)
    get_error_page(404)
    assert response.headers['Vary'] == 'Cookie, Accept'


# --- custom pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('result', 'expected'),
    [
        ('é', 'é'.encode()),
        (b'\xff', b'\xff'),
        ('', b''),
        ((item for item in ['é', b'\xff']), b'\xc3\xa9\xff'),
        (iter(['a', 'b']), b'ab'),
    ],
)
def test_callable_gives_text_bytes_or_an_iterator(request_, response, result, expected):
    request_.error_page = {404: lambda **kwargs: result}
    assert get_error_page(404) == expected
    assert response.headers['Content-Type'] == 'text/plain'


def test_callable_gets_escaped_text(request_, monkeypatch):
    monkeypatch.setattr(errors, '_version_text', '1.2')
    seen = {}
    request_.error_page = {404: lambda **kwargs: seen.update(kwargs) or ''}
    get_error_page('404 <x>', message='<b>"&', traceback='<t>')
    assert seen == {
        'status': '404 &lt;x&gt;',
        'message': '&lt;b&gt;"&amp;',
        'traceback': '&lt;t&gt;',
        'version': '1.2',
    }
    get_error_page(404, version='mine')
    assert seen['version'] == 'mine'


def test_callable_may_set_headers_and_status(request_, response):
    def page(**kwargs):
        response.headers['Retry-After'] = '5'
        response.headers['Content-Type'] = 'application/json'
        response.status = 503
        return '{}'

    request_.error_page = {'default': page}
    HTTPError(500).set_response()
    assert (response.status, response.headers['Retry-After'], response.body) == (503, '5', b'{}')


def test_entry_of_the_code_comes_before_the_default_and_falsy_ones_are_skipped(request_):
    request_.error_page = {404: lambda **kwargs: 'code', 'default': lambda **kwargs: 'default', 500: None}
    assert get_error_page(404) == b'code'
    assert get_error_page(500) == b'default'
    request_.error_page = {404: ''}
    assert b'</html>' in get_error_page(404)


@pytest.mark.parametrize(('result', 'name'), [([], 'list'), (None, 'NoneType'), (5, 'int'), ({}, 'dict')])
def test_callable_that_gives_something_else_falls_back(request_, result, name):
    request_.error_page = {404: lambda **kwargs: result}
    page = get_error_page(404, message='m').decode()
    assert (
        '<p>m<br />In addition, the custom error page failed:\n<br />ValueError: error page function did not return '
        f'a bytestring, str or an iterator - returned object of type {name}.</p>'
    ) in page


def test_an_async_callable_gives_what_is_to_be_awaited(request_):
    async def page(status, message, **kwargs):
        return f'{status}: {message}'

    request_.error_page = {404: page}
    assert asyncio.run(await_it(get_error_page(404, message='<m>'))) == b'404 Not Found: &lt;m&gt;'


def test_an_async_generator_is_read_to_its_end(request_):
    async def page(**kwargs):
        yield 'a'
        yield b'b'

    request_.error_page = {404: page}
    assert asyncio.run(await_it(get_error_page(404))) == b'ab'


def test_an_async_callable_that_fails_falls_back(request_):
    async def page(**kwargs):
        raise RuntimeError('<why>')

    request_.error_page = {404: page}
    content = asyncio.run(await_it(get_error_page(404, message='m'))).decode()
    assert '<p>m<br />In addition, the custom error page failed:\n<br />RuntimeError: &lt;why&gt;</p>' in content


async def await_it(awaitable):
    return await awaitable


@pytest.mark.parametrize('error', [RuntimeError('<script>'), HTTPError(400, '<script>'), SystemError('<script>')])
def test_callable_that_raises_falls_back_to_an_escaped_note(request_, error):
    def page(**kwargs):
        raise error

    request_.error_page = {404: page}
    content = get_error_page(404, message='').decode()
    assert '<p>In addition, the custom error page failed:\n<br />' in content
    assert '&lt;script&gt;' in content
    assert '<script>' not in content


def test_generator_that_raises_falls_back(request_):
    def page(**kwargs):
        yield 'a'
        raise RuntimeError('late')

    request_.error_page = {404: page}
    assert b'RuntimeError: late' in get_error_page(404)


def test_redirect_from_a_callable_is_no_redirect(request_, response):
    def page(**kwargs):
        raise HTTPRedirect('/elsewhere')

    request_.error_page = {404: page}
    HTTPError(404).set_response()
    assert response.status == 404
    assert b'HTTPRedirect' in response.body


def test_file_is_filled_in(request_, response, tmp_path):
    template = tmp_path / 'page.html'
    template.write_bytes('<i>%(status)s</i>\r\n%(message)s %(traceback)s 100%% é'.encode())
    request_.error_page = {404: str(template)}
    assert get_error_page(404, message='<m>').decode() == '<i>404 Not Found</i>\r\n&lt;m&gt;  100% é'
    assert response.headers['Content-Type'] == 'text/html;charset=utf-8'


@pytest.mark.parametrize('text', ['%(unknown)s', '100%', '%(message)d', '\udcff'])
def test_broken_template_falls_back(request_, tmp_path, text):
    template = tmp_path / 'page.html'
    template.write_bytes(text.encode('utf-8', 'surrogateescape'))
    request_.error_page = {404: template}
    assert b'In addition, the custom error page failed:' in get_error_page(404)


def test_missing_file_falls_back(request_):
    request_.error_page = {404: 'no-such-file.html'}
    assert (
        b'<p>m<br />In addition, the custom error page failed:\n<br />FileNotFoundError: [Errno 2] '
        b"No such file or directory: 'no-such-file.html'</p>"
    ) in get_error_page(404, message='m')
    request_.headers['Accept'] = 'text/plain'
    assert b'm\nIn addition, the custom error page failed:\nFileNotFoundError' in get_error_page(404, message='m')


# --- HTTPRedirect ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('is_index', 'path', 'url'),
    [
        (False, '/d/leaf', 'http://h/app/d/leaf'),
        (False, '/d/leaf/', 'http://h/app/d/leaf'),
        (False, '/', 'http://h/app/'),
        (True, '/d', 'http://h/app/d/'),
        (True, '/', 'http://h/app/'),
        (None, '/d/', 'http://h/app/d/'),
        (None, '', 'http://h/app/'),
        (False, '/a?b#c%20', 'http://h/app/a%3Fb%23c%2520'),
    ],
)
def test_current_url_follows_the_kind_of_page(request_, is_index, path, url):
    request_.is_index = is_index
    request_.path_info = path
    assert current_url() == url


@pytest.mark.parametrize(
    ('url', 'resolved'),
    [
        ('http://x/y', 'http://x/y'),
        ('//x/y', 'http://x/y'),
        ('/y', 'http://h/y'),
        ('y', 'http://h/app/d/y'),
        ('../y', 'http://h/app/y'),
        ('', 'http://h/app/d/leaf'),
        ('?q=1', 'http://h/app/d/leaf?q=1'),
        (b'/caf\xc3\xa9', 'http://h/café'),
        ('/\\evil', 'http://h/\\evil'),
        ('///evil', 'http://h/evil'),
        ('http:evil', 'http://h/app/d/evil'),
    ],
)
def test_redirect_is_resolved_against_the_current_url(exchange, url, resolved):
    redirect = HTTPRedirect(url)
    assert redirect.urls == [resolved]
    assert redirect.args == ([resolved], 303)
    assert str(redirect) == f'({[resolved]!r}, 303)'


def test_outside_a_request_the_server_is_the_base(exchange):
    exchange.app = None
    assert HTTPRedirect('/y').urls == ['http://127.0.0.1:8080/y']
    assert HTTPRedirect('').urls == ['http://127.0.0.1:8080/']


def test_redirect_takes_several_urls_and_an_encoding(exchange):
    assert HTTPRedirect(['/a', b'/\xe9'], 300, encoding='latin-1').urls == ['http://h/a', 'http://h/é']


def test_default_status_follows_the_protocol(request_):
    assert HTTPRedirect('/').status == HTTPRedirect.default_status == 303
    request_.protocol = (1, 0)
    assert HTTPRedirect('/').status == HTTPRedirect('/').default_status == 302


@pytest.mark.parametrize('status', [200, 400, '303 X', 'x'])
def test_status_that_is_no_redirect_is_a_value_error(exchange, status):
    with pytest.raises(ValueError):
        HTTPRedirect('/', status)


def test_status_may_be_text_and_cannot_be_set(exchange):
    redirect = HTTPRedirect('/', '301')
    assert redirect.status == 301
    with pytest.raises(AttributeError):
        redirect.status = 302


@pytest.mark.parametrize('char', ['\r', '\n', '\0', '\t', '\x7f', '\x1b'])
@pytest.mark.parametrize('make', [str, str.encode, lambda text: ['/', text]])
def test_control_character_in_a_url_is_refused(exchange, char, make):
    with pytest.raises(ValueError, match='Illegal control character in redirect URL'):
        HTTPRedirect(make(f'/a{char}Set-Cookie: b'))


@pytest.mark.parametrize(
    ('status', 'text'),
    [
        (300, 'This resource can be found at '),
        (301, 'This resource has permanently moved to '),
        (302, 'This resource resides temporarily at '),
        (303, 'This resource can be found at '),
        (307, 'This resource has moved temporarily to '),
        (308, 'This resource has been moved to '),
    ],
)
def test_redirect_says_where_to_go(response, status, text):
    response.headers.update({'Content-Length': 5, 'X-Own': 'x', 'ETag': 'e'})
    HTTPRedirect(['/a?b&c', '/d'], status).set_response()
    assert response.status == status
    assert response.stream is False
    assert dict(response.headers) == {
        'Content-Type': 'text/html;charset=utf-8',
        'Server': 's',
        'X-Own': 'x',
        'Etag': 'e',
        'Location': 'http://h/a?b&c',
    }
    lines = [
        f'{text}<a href="http://h/a?b&amp;c">http://h/a?b&amp;c</a>.',
        f'{text}<a href="http://h/d">http://h/d</a>.',
    ]
    assert response.body == '<br />\n'.join(lines).encode()


@pytest.mark.parametrize(
    ('url', 'location'),
    [
        ('/é', 'http://h/%C3%A9'),
        ('/\x85\u2028', 'http://h/%C2%85%E2%80%A8'),
        ('/a b"c\'d<script>', "http://h/a%20b%22c'd%3Cscript%3E"),
        ('/\\evil', 'http://h/%5Cevil'),
        ('/%C3%A9%', 'http://h/%C3%A9%25'),
    ],
)
def test_location_is_a_uri_and_the_page_well_formed(response, url, location):
    HTTPRedirect(url).set_response()
    assert response.headers['Location'] == location
    assert b'<script>' not in response.body
    link = ElementTree.fromstring(b'<p>' + response.body + b'</p>').find('a')
    assert link.get('href') == location
    assert link.text == f'http://h{url}'


@given(st.text())
def test_any_url_makes_a_redirect_or_a_value_error(url):
    exchange = make_exchange()
    token = exchange_var.set(exchange)
    try:
        HTTPRedirect(url).set_response()
    except ValueError:
        return
    finally:
        exchange_var.reset(token)
    ElementTree.fromstring(b'<p>' + exchange.response.body + b'</p>')
    assert exchange.response.headers['Location'].isascii()
    assert exchange.response.headers.output()


def test_not_modified_has_no_body_and_no_representation_headers(response):
    names = """Allow Content-Encoding Content-Language Content-Length Content-Location Content-MD5 Content-Range
    Content-Type Expires Last-Modified"""
    response.headers = HeaderMap(dict.fromkeys(names.split(), 'x'), Etag='e', Vary='v', Date='d')
    response.headers['Cache-Control'] = 'c'
    HTTPRedirect([], 304).set_response()
    assert response.status == 304
    assert response.body is None
    assert set(response.headers) == {'Etag', 'Vary', 'Date', 'Cache-Control'}


def test_use_proxy_has_a_location_only(response):
    HTTPRedirect('/é', 305).set_response()
    assert response.headers['Location'] == 'http://h/%C3%A9'
    assert response.headers['Content-Type'] == 'text/plain'
    assert response.body is None


@pytest.mark.parametrize('status', [306, 309, 399])
def test_redirect_that_says_nothing_is_a_value_error(exchange, status):
    with pytest.raises(ValueError, match=f'^The {status} status code is unknown.$'):
        HTTPRedirect('/', status).set_response()


def test_redirect_to_nowhere_is_an_index_error(exchange):
    with pytest.raises(IndexError):
        HTTPRedirect([]).set_response()


# --- InternalRedirect -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('args', 'path', 'query'),
    [
        (('/x',), '/x', ''),
        (('/x', 'a=1'), '/x', 'a=1'),
        (('/x?b=2', 'a=1'), '/x', 'b=2'),
        (('x',), '/d/x', ''),
        (('../../../x',), '/x', ''),
        (('',), '/d/leaf', ''),
        (('/a#b',), '/a#b', ''),
        (('http://h/x',), 'http://h/x', ''),
        (('//h/x',), '//h/x', ''),
    ],
)
def test_internal_redirect_stays_within_the_application(request_, args, path, query):
    redirect = InternalRedirect(*args)
    assert (redirect.path, redirect.query_string) == (path, query)
    assert redirect.args == (path, query)
    assert redirect.request is request_


# --- last resorts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('extra', 'body'),
    [
        (None, b'Unrecoverable error in the server.'),
        ('é', 'Unrecoverable error in the server.\né'.encode()),
        (b'\xff', b'Unrecoverable error in the server.\n\xff'),
    ],
)
def test_bare_error_needs_nothing(extra, body):
    headers = [(b'Content-Type', b'text/plain'), (b'Content-Length', str(len(body)).encode())]
    assert bare_error(extra) == (b'500 Internal Server Error', headers, [body])


def test_exception_being_handled_is_formatted():
    assert format_exc() == ''
    assert format_exc((None, None, None)) == ''
    try:
        try:
            raise KeyError('inner')
        except KeyError as inner:
            raise ValueError('outer') from inner
    except ValueError as error:
        text, others = format_exc(), {format_exc(error), format_exc((type(error), error, error.__traceback__))}
    assert others == {text}
    assert "KeyError: 'inner'" in text
    assert text.endswith('ValueError: outer\n')


def test_version_is_empty_where_the_package_is_not_installed(monkeypatch):
    import importlib.metadata

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(errors, '_version_text', None)
    monkeypatch.setattr(importlib.metadata, 'version', missing)
    assert errors._version() == ''
