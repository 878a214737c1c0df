"""The encode tool."""

from __future__ import annotations

import codecs

import pytest

import cpadapter
from cpadapter.lib import encoding
from cpadapter.lib.encoding import UTF8StreamEncoder, prepare_iter

TEXT = 'sümpfe €'


@pytest.fixture
def root(handler):
    class Root:
        @handler
        def index(self):
            return TEXT

        @handler
        def latin(self):
            return 'é'

        @handler
        def typed(self, type):
            cpadapter.response.headers['Content-Type'] = type
            return TEXT.encode()

        @handler
        def generated(self):
            return iter([TEXT, b' and bytes'])

    return Root()


def test_utf_8_is_the_default(client, root):
    client.mount(root)
    answer = client.get('/')
    assert (answer.text, answer.headers['Content-Type']) == (TEXT, 'text/html;charset=utf-8')


@pytest.mark.parametrize(
    ('accept', 'charset'),
    [
        ('utf-8', 'utf-8'),
        ('utf-16', 'utf-16'),
        ('utf-16;q=0.5, utf-8', 'utf-8'),
        ('*', 'utf-8'),
        ('nope, utf-16', 'utf-16'),
        ('utf-8;q=0, utf-16', 'utf-16'),
        ('iso-8859-1, *;q=0.1', 'utf-8'),
    ],
)
def test_the_charset_is_negotiated(client, root, accept, charset):
    client.mount(root)
    answer = client.get('/', headers={'Accept-Charset': accept})
    assert answer.status == 200
    assert answer.headers['Content-Type'] == f'text/html;charset={charset}'
    assert answer.body.decode(charset) == TEXT


@pytest.mark.parametrize('field', ['us-ascii', 'foo', 'us-ascii, iso-8859-1;q=0', 'utf-16;q=0', 'x' * 1000])
@pytest.mark.parametrize('path', ['/latin', '/generated'])
def test_what_a_client_cannot_have_is_not_held_against_it(client, root, field, path):
    client.mount(root)
    answer = client.get(path, headers={'Accept-Charset': field})
    assert (answer.status, answer.headers['Content-Type']) == (200, 'text/html;charset=utf-8')
    assert answer.body == client.get(path).body


@pytest.mark.parametrize(
    'name',
    ['punycode', 'idna', 'rot13', 'hex', 'zlib_codec', 'unicode_escape', 'undefined', 'no-such', 'x' * 50000],
)
@pytest.mark.parametrize('path', ['/', '/generated'])
def test_a_client_gets_no_codec_that_is_no_charset(client, root, name, path):
    client.mount(root, config={'/generated': {'response.stream': True}})
    answer = client.get(path, headers={'Accept-Charset': f'{name}, utf-16;q=0.5'})
    assert (answer.status, answer.headers['Content-Type']) == (200, 'text/html;charset=utf-16')


def test_names_of_charsets_that_clients_invent_are_not_kept(client, root):
    import encodings

    client.mount(root)
    known = len(encodings._cache)
    for number in range(20):
        assert client.get('/', headers={'Accept-Charset': f'invented-{number}, utf-8'}).text == TEXT
    assert len(encodings._cache) < known + 20


def test_a_codec_that_takes_quadratic_time_is_not_used(client):
    text = ''.join(chr(0x4E00 + number) for number in range(20000))

    class Root:
        @cpadapter.expose
        def index(self):
            return text

    client.mount(Root())
    answer = client.get('/', headers={'Accept-Charset': 'punycode, idna, utf-8;q=0.1'})
    assert answer.text == text


@pytest.mark.parametrize('field', [None, 'utf-16', 'no-such', 'utf-8;q=0'])
@pytest.mark.parametrize(
    ('sent', 'received'),
    [
        ('text/plain', 'text/plain;charset=utf-8'),
        ('text/plain;charset=iso-8859-1', 'text/plain;charset=iso-8859-1'),
        ('text/plain; Charset=iso-8859-1', 'text/plain; Charset=iso-8859-1'),
    ],
)
def test_bytes_keep_the_charset_that_their_page_names(client, handler, field, sent, received):
    class Root:
        @cpadapter.expose
        @handler
        def index(self):
            cpadapter.response.headers['Content-Type'] = sent
            return b'\xe9'

    client.mount(Root())
    answer = client.get('/', headers={} if field is None else {'Accept-Charset': field})
    assert (answer.body, answer.headers['Content-Type']) == (b'\xe9', received)


def test_406_if_none_fits(client, root):
    client.mount(root)
    for field in ('us-ascii, utf-8;q=0', 'us-ascii, *;q=0', 'UTF-8;q=0.0'):
        answer = client.get('/', headers={'Accept-Charset': field})
        assert answer.status == 406
        assert f'Your client sent this Accept-Charset header: {field}.' in answer.text
        assert 'We tried these charsets: ' in answer.text
    client.mount(root, config={'/': {'tools.encode.encoding': 'us-ascii'}})
    answer = client.get('/')
    assert answer.status == 406
    assert 'did not send an Accept-Charset header' in answer.text


def test_one_encoding_may_be_demanded(client, root):
    client.mount(root, config={'/': {'tools.encode.encoding': 'UTF-16'}})
    answer = client.get('/')
    assert answer.body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    assert client.get('/', headers={'Accept-Charset': 'utf-8'}).status == 406


def test_500_if_the_default_one_does_not_fit(client, root):
    client.mount(root, config={'/': {'tools.encode.default_encoding': 'us-ascii'}})
    answer = client.get('/')
    assert answer.status == 500
    assert 'Response body could not be encoded with' in answer.text
    config = {'tools.encode.default_encoding': 'us-ascii', 'tools.encode.errors': 'xmlcharrefreplace'}
    client.mount(root, config={'/': config})
    assert client.get('/').body == b's&#252;mpfe &#8364;'


@pytest.mark.parametrize(
    ('sent', 'received'),
    [
        ('text/plain', 'text/plain;charset=utf-8'),
        ('TEXT/CSS', 'TEXT/CSS;charset=utf-8'),
        ('text/plain;format=flowed', 'text/plain;format=flowed;charset=utf-8'),
        ('image/png', 'image/png'),
        ('application/json', 'application/json'),
    ],
)
def test_only_text_types_get_a_charset(client, root, sent, received):
    client.mount(root)
    answer = client.get('/typed', headers={}) if sent is None else client.get(f'/typed?type={sent.replace(";", "%3B")}')
    assert (answer.headers['Content-Type'], answer.text) == (received, TEXT)


def test_other_types_get_one_when_asked_to(client, root):
    client.mount(root, config={'/': {'tools.encode.text_only': False}})
    assert client.get('/typed?type=application/xml').headers['Content-Type'] == 'application/xml;charset=utf-8'
    client.mount(root, config={'/': {'tools.encode.add_charset': False}})
    assert client.get('/typed?type=text/plain').headers['Content-Type'] == 'text/plain'


@pytest.mark.parametrize('stream', [True, False])
def test_generators_are_encoded(client, root, stream):
    client.mount(root, config={'/': {'response.stream': stream}})
    assert client.get('/generated').text == f'{TEXT} and bytes'
    answer = client.get('/generated', headers={'Accept-Charset': 'nope, utf-8'})
    assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'


def test_a_wrapper_of_the_handler_sees_text(client, handler):
    class Root:
        @handler
        def index(self):
            return 'x'

    def wrap():
        inner = cpadapter.request.handler

        def wrapped(*args, **kwargs):
            value = inner(*args, **kwargs)
            if hasattr(value, '__await__'):

                async def wait():
                    return await value + 'ü'

                return wait()
            return value + 'ü'

        cpadapter.request.handler = wrapped

    client.mount(Root(), config={'/': {'hooks.before_handler': wrap}})
    assert client.get('/').text == 'xü'


def test_utf8_stream_encoder_passes_bytes_and_closes():
    closed = []

    def body():
        try:
            yield 'ä'
            yield b'b'
            yield 'c'
        finally:
            closed.append(1)

    encoder = UTF8StreamEncoder(body())
    assert next(encoder) == 'ä'.encode()
    assert next(encoder) == b'b'
    assert encoder.gi_frame is not None
    encoder.close()
    assert closed == [1]


def test_prepare_iter_makes_chunks():
    import io

    assert prepare_iter('a') == ['a']
    assert prepare_iter(b'') == prepare_iter(None) == prepare_iter('') == []
    assert list(prepare_iter(io.BytesIO(b'ab'))) == [b'ab']
    assert prepare_iter([1]) == [1]


# --- ResponseEncoder by itself --------------------------------------------------------------------------------


def test_encode_string_encodes_what_is_there_once_for_each_charset():
    encoder = encoding.ResponseEncoder()
    encoder.body = ['grün ', b'bytes', '☃']
    assert not encoder.encode_string('latin-1')
    assert not encoder.encode_string('no-such-charset')
    assert encoder.encode_string('utf-8')
    assert b''.join(encoder.body) == 'grün bytes☃'.encode()
    assert not encoder.encode_string('utf-8')
    assert encoder.attempted_charsets == {'latin-1', 'no-such-charset', 'utf-8'}
    assert encoding.ResponseEncoder.attempted_charsets == set()


def test_encode_stream_encodes_as_it_is_read():
    encoder = encoding.ResponseEncoder(errors='replace')
    made = []
    encoder.body = (made.append(text) or text for text in ('ü', '☃'))
    assert not encoder.encode_stream('no-such-charset')
    assert encoder.encode_stream('latin-1')
    assert made == []
    assert list(encoder.body) == [b'\xfc', b'?']
    assert not encoder.encode_stream('latin-1')


@pytest.mark.parametrize(
    ('field', 'charset'), [(None, 'utf-8'), ('latin-1', 'latin-1'), ('x-none, utf-16;q=0.5', 'utf-16')]
)
def test_find_acceptable_charset_encodes_as_the_request_wants(client, field, charset):
    found = []

    class Root:
        @cpadapter.expose
        def x(self):
            encoder = encoding.ResponseEncoder()
            encoder.body = ['grün']
            found.append(encoder.find_acceptable_charset())
            return encoder.body

        x._cp_config = {'tools.encode.on': False}

    client.mount(Root())
    answer = client.get('/x', headers={} if field is None else {'Accept-Charset': field})
    assert found == [charset]
    assert answer.body == 'grün'.encode(charset)
