"""The tools `gzip` and `decode`, and the functions compress and decompress."""

from __future__ import annotations

import gc
import gzip as standard_gzip
import io
import random
import zlib

import pytest

import cpadapter
from cpadapter.lib import encoding

TEXT = 'Grüße ' * 500


def mount(client, func, **config):
    class Root:
        x = staticmethod(func)

    func.exposed = True
    func._cp_config = {key.replace('__', '.'): value for key, value in {'tools__gzip__on': True, **config}.items()}
    client.mount(Root())


def page(handler, text=TEXT, **headers):
    def func():
        cpadapter.response.headers.update({name.replace('_', '-'): value for name, value in headers.items()})
        return text

    return handler.paint(func)


def is_compressed(answer):
    return answer.headers.get('Content-Encoding') == 'gzip'


# --- whether --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('field', 'compressed'),
    [
        ('gzip', True),
        ('GZIP', True),
        ('x-gzip', True),
        ('gzip;q=0.1', True),
        ('gzip, deflate, br', True),
        ('br;q=1, gzip;q=0.5', True),
        ('gzip, identity', True),
        ('identity;q=0.5, gzip', True),
        ('*', True),
        ('br, *;q=0.1', True),
        ('gzip, *;q=0', True),
        ('identity;q=0, gzip', True),
        (None, False),
        ('', False),
        ('identity', False),
        ('identity, gzip;q=0.5', False),
        ('br', False),
        ('deflate', False),
        ('gzip;q=0', False),
        ('gzip;q=0, *', False),
        ('x-gzip;q=0, br', False),
    ],
)
def test_the_client_decides_by_weight(client, handler, field, compressed):
    mount(client, page(handler))
    answer = client.get('/x', headers={} if field is None else {'Accept-Encoding': field})
    assert answer.status == 200
    assert is_compressed(answer) == compressed
    assert (encoding.decompress(answer.body) if compressed else answer.body).decode() == TEXT
    assert answer.headers['Vary'] == 'Accept-Encoding'


@pytest.mark.parametrize('field', ['identity;q=0', '*;q=0', 'gzip;q=0, identity;q=0', 'gzip;q=0, *;q=0', 'br, *;q=0'])
def test_406_only_where_nothing_will_do_and_vary_stays(client, handler, field):
    mount(client, page(handler))
    answer = client.get('/x', headers={'Accept-Encoding': field})
    assert (answer.status, answer.headers['Vary']) == (406, 'Accept, Accept-Encoding')
    assert 'identity, gzip' in answer.text


@pytest.mark.parametrize('field', ['gzip;q=x', 'gzip;q=-1, br', 'gzip, br;q=1e999'])
def test_a_weight_that_is_no_number_is_answered_400(client, handler, field):
    mount(client, page(handler))
    assert client.get('/x', headers={'Accept-Encoding': field}).status == 400
    assert client.errors == []


@pytest.mark.parametrize(
    ('content_type', 'mime_types', 'compressed'),
    [
        ('text/plain', None, True),
        ('TEXT/HTML; charset=latin-1', None, True),
        ('application/json', None, False),
        ('image/png', None, False),
        ('text/css', ['text/*'], True),
        ('application/json', ['text/*'], False),
        ('image/svg+xml', ['image/*+xml'], True),
        ('image/png', ['image/*+xml'], False),
        ('image/+xml', ['image/*+xml'], False),
        ('application/a+b+xml', ['application/*+xml'], True),
        ('a/b/c', ['a/b/*'], True),
        ('nonsense', ['text/*'], False),
        ('application/json', ['text/html', 'application/json'], True),
        ('application/json', 'text/*, application/json', True),
        ('text/html', 'text/html', True),
        ('image/png', 'text/*', False),
    ],
)
def test_the_media_type_decides(client, handler, content_type, mime_types, compressed):
    config = {} if mime_types is None else {'tools__gzip__mime_types': mime_types}
    mount(client, page(handler, TEXT.encode(), Content_Type=content_type), **config)
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert (answer.status, is_compressed(answer)) == (200, compressed)


@pytest.mark.parametrize(
    'headers', [{'Content_Encoding': 'br'}, {'Content_Range': 'bytes 0-1/5'}, {'Content_Encoding': 'gzip'}]
)
def test_what_is_encoded_or_a_part_is_not_compressed(client, handler, headers):
    mount(client, page(handler, b'raw', **headers))
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert answer.body == b'raw'
    assert answer.headers.get_all('Content-Encoding') == [v for k, v in headers.items() if k == 'Content_Encoding']


def test_what_is_empty_or_from_a_cache_is_not_compressed(client, handler):
    mount(client, page(handler, ''))
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert (answer.body, is_compressed(answer)) == (b'', False)

    def cached():
        cpadapter.request.cached = True
        return 'cached'

    mount(client, handler.paint(cached))
    assert client.get('/x', headers={'Accept-Encoding': 'gzip'}).text == 'cached'


# --- what changes with it -------------------------------------------------------------------------------------


def test_vary_keeps_what_it_named(client, handler):
    mount(client, page(handler, Vary='Cookie'))
    assert client.get('/x').headers['Vary'] == 'Cookie, Accept-Encoding'
    mount(client, page(handler, Vary='accept-encoding'))
    assert client.get('/x').headers['Vary'] == 'accept-encoding'


def test_a_strong_etag_becomes_weak_and_still_matches(client, handler):
    mount(client, page(handler), tools__etags__on=True, tools__etags__autotags=True)
    plain = client.get('/x')
    packed = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert packed.headers['ETag'] == 'W/' + plain.headers['ETag']
    headers = {'Accept-Encoding': 'gzip', 'If-None-Match': packed.headers['ETag']}
    answer = client.get('/x', headers=headers)
    assert (answer.status, answer.body) == (304, b'')


def test_ranges_are_not_offered_for_a_compressed_body(client, handler):
    mount(client, page(handler, Accept_Ranges='bytes', ETag='W/"x"'))
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert 'Accept-Ranges' not in answer.headers
    assert answer.headers['ETag'] == 'W/"x"'


def test_head_tells_what_get_tells(client, handler):
    mount(client, page(handler))
    headers = {'Accept-Encoding': 'gzip'}
    answers = [client.request(method, '/x', headers=headers) for method in ('HEAD', 'GET')]
    head, get = [[pair for pair in answer.headers if pair[0].lower() != 'content-length'] for answer in answers]
    assert head == get


def test_error_pages_are_compressed_too(client, handler):
    def func():
        raise cpadapter.HTTPError(410, 'gone')

    mount(client, handler.paint(func))
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert (answer.status, is_compressed(answer)) == (410, True)
    assert b'gone' in encoding.decompress(answer.body)


# --- streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('stream', [False, True])
def test_generators_are_compressed(client, stream):
    def func():
        for number in range(1000):
            yield f'{number}\n'

    mount(client, func, response__stream=stream)
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert encoding.decompress(answer.body) == b''.join(b'%d\n' % number for number in range(1000))
    assert ('Content-Length' in answer.headers) != stream


@pytest.mark.parametrize('stream', [False, True])
def test_async_generators_are_compressed(client, stream):
    async def func():
        for number in range(1000):
            yield f'{number}\n'

    mount(client, func, response__stream=stream)
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert encoding.decompress(answer.body) == b''.join(b'%d\n' % number for number in range(1000))


@pytest.mark.parametrize('asynchronous', [False, True])
def test_a_compressed_stream_is_closed_when_the_client_goes(client, asynchronous):
    closed = []
    noise = random.Random(1)

    if asynchronous:

        async def func():
            try:
                while True:
                    yield noise.randbytes(100_000)
            finally:
                closed.append(1)

    else:

        def func():
            try:
                while True:
                    yield noise.randbytes(100_000)
            finally:
                closed.append(1)

    mount(client, func, response__stream=True)
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'}, stop_after=3)
    assert answer.left
    gc.collect()
    assert closed == [1]


def test_an_error_in_the_body_is_a_500_page(client):
    def func():
        yield 'begun'
        raise ValueError('unanticipated')

    mount(client, func)
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert (answer.status, is_compressed(answer)) == (500, False)


# --- compress, decompress -------------------------------------------------------------------------------------


@pytest.mark.parametrize(('level', 'strength'), [(1, 4), (5, 0), (9, 2)])
def test_compress_makes_a_gzip_file(level, strength):
    chunks = [b'one ', b'', b'two ' * 10_000]
    packed = b''.join(encoding.compress(chunks, level))
    assert packed[:4] == b'\x1f\x8b\x08\x00'
    assert packed[8:10] == bytes((strength, 255))
    assert standard_gzip.decompress(packed) == encoding.decompress(packed) == b''.join(chunks)


def test_compress_gives_chunks_as_it_goes():
    asked = []

    def chunks():
        for number in range(100):
            asked.append(number)
            yield random.Random(number).randbytes(10_000)

    packed = encoding.compress(chunks(), 5)
    assert next(packed)[:2] == b'\x1f\x8b'
    assert asked == [0]
    assert next(packed)
    assert len(asked) < 20


def test_closing_what_was_compressed_closes_the_body():
    class Body:
        closed = 0

        def __iter__(self):
            return iter([b'a'])

        def close(self):
            self.closed += 1

    for consume in (lambda packed: packed.close(), lambda packed: (list(packed), packed.close())):
        body = Body()
        consume(encoding.compress(body, 5))
        assert body.closed == 1


@pytest.mark.parametrize('data', [b'', b'plain', b'\x1f\x8b\x08\x00', standard_gzip.compress(b'a' * 100, mtime=0)[:-9]])
def test_decompress_refuses_what_is_no_whole_gzip_file(data):
    if data:
        with pytest.raises((OSError, EOFError, zlib.error)):
            encoding.decompress(data)
    else:
        assert encoding.decompress(data) == b''


# --- decode ---------------------------------------------------------------------------------------------------


def decoding(client, handler, **settings):
    class Root:
        @handler
        def x(self, text='none'):
            return ascii(text)

    config = {'tools.decode.on': True, **{f'tools.decode.{key}': value for key, value in settings.items()}}
    client.mount(Root(), '', {'/': config})


FORM = {'Content-Type': 'application/x-www-form-urlencoded'}


def test_decode_tries_the_encoding_that_is_set_whatever_is_declared(client, handler):
    decoding(client, handler, encoding='utf-16')
    body = b'text=' + ''.join(f'%{byte:02x}' for byte in 'ü'.encode('utf-16')).encode()
    body = b'%ff%fet%00e%00x%00t%00=' + body.partition(b'=')[2]
    headers = {'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8'}
    answer = client.post('/x', headers=headers, body=body)
    assert (answer.status, answer.text) == (200, ascii('ü'))


def test_decode_answers_400_where_no_encoding_fits(client, handler):
    decoding(client, handler, encoding=['us-ascii', 'utf-8'])
    answer = client.post('/x', headers=FORM, body=b'text=%ff')
    assert answer.status == 400
    assert 'The request entity could not be decoded.' in answer.text


def test_decode_adds_the_default_encoding(client, handler):
    decoding(client, handler, default_encoding=['latin-1', 'utf-8'])
    assert client.post('/x', headers=FORM, body=b'text=%FC').text == ascii('ü')
    assert client.post('/x', headers=FORM, body=b'text=%C3%BC').text == ascii('ü')


def test_decode_leaves_requests_without_body_alone(client, handler):
    decoding(client, handler, encoding='utf-16')
    assert client.get('/x?text=%C3%BC').text == ascii('ü')


def test_files_are_compressed_and_large_ones_while_they_are_sent(client, handler, tmp_path):
    large = tmp_path / 'large.txt'
    large.write_bytes(random.Random(1).randbytes(40_000) * 40)
    small = tmp_path / 'small.txt'
    small.write_bytes(b'small' * 100)

    for path, streamed in ((large, True), (small, False)):

        def func(path=str(path)):
            return cpadapter.lib.static.serve_file(path)

        mount(client, handler.paint(func))
        answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
        assert encoding.decompress(answer.body) == path.read_bytes()
        assert ('Content-Length' in answer.headers) != streamed
        assert client.head('/x', headers={'Accept-Encoding': 'gzip'}).status == 200
        assert io.BytesIO(client.get('/x').body).read() == path.read_bytes()


# --- other codings --------------------------------------------------------------------------------------------


def unpack(coding, data):
    if coding == 'br':
        return pytest.importorskip('brotli').decompress(data)
    if coding == 'zstd':
        return pytest.importorskip('backports.zstd').decompress(data)
    return encoding.decompress(data)


@pytest.mark.parametrize('coding', ['gzip', 'br', 'zstd'])
@pytest.mark.parametrize('size', [1, 500, 20_000, 3_000_000])
def test_each_coding_gives_back_what_went_in(client, handler, coding, size):
    text = ''.join(chr(97 + number % 23) for number in range(size))
    mount(client, page(handler, text), tools__gzip__codings=['zstd', 'br', 'gzip'])
    answer = client.get('/x', headers={'Accept-Encoding': coding})
    assert answer.headers['Content-Encoding'] == coding
    assert unpack(coding, answer.body).decode() == text
    assert client.get('/x', headers={'Accept-Encoding': 'gzip, br, zstd'}).headers['Content-Encoding'] == 'zstd'


@pytest.mark.parametrize('level', [-1, 0, 1, 5, 9])
@pytest.mark.parametrize('size', [0, 1, 255, 256, 511, 512, 1553, 16_384, 16_385, 70_000])
def test_bodies_of_every_size_and_level_are_whole(level, size):
    from cpadapter.lib.compressors import compress_whole

    data = random.Random(size).randbytes(size // 2) * 2 + b'x' * (size % 2)
    packed = compress_whole(data, 'gzip', level)
    assert encoding.decompress(packed) == data
    assert compress_whole(data, 'gzip', level) == packed


@pytest.mark.parametrize('coding', ['gzip', 'br', 'zstd'])
def test_a_stream_is_flushed_chunk_by_chunk(client, handler, coding):
    unpackers = {
        'gzip': lambda: zlib.decompressobj(31).decompress,
        'br': lambda: pytest.importorskip('brotli').Decompressor().process,
        'zstd': lambda: pytest.importorskip('backports.zstd').ZstdDecompressor().decompress,
    }
    unpacked = unpackers[coding]()

    if handler.is_async:

        async def chunks():
            for number in range(3):
                yield b'chunk %d;' % number
    else:

        def chunks():
            for number in range(3):
                yield b'chunk %d;' % number

    def func():
        return chunks()

    mount(client, handler.paint(func), response__stream=True, tools__gzip__codings='gzip,br,zstd')
    answer = client.get('/x', headers={'Accept-Encoding': coding})
    assert [unpacked(chunk) for chunk in answer.chunks[:3]] == [b'chunk 0;', b'chunk 1;', b'chunk 2;']


@pytest.mark.parametrize(
    ('codings', 'words'), [('deflate', "no content coding 'deflate'"), ('br', 'needs the extra cpadapter[brotli]')]
)
def test_a_coding_that_is_not_there_is_told_before_the_page_handler_runs(client, handler, monkeypatch, codings, words):
    from cpadapter.lib import compressors

    monkeypatch.setattr(compressors, '_loaded', {})

    def import_module(name):
        raise ImportError(name)

    monkeypatch.setattr(compressors, 'import_module', import_module)
    ran = []

    def func():
        ran.append(1)

    mount(client, handler.paint(func), tools__gzip__codings=codings)
    assert client.get('/x').status == 500
    assert not ran
    assert any(words in line for line in client.errors)


@pytest.mark.parametrize('level', [10, -2, '5', None])
def test_a_level_that_there_is_not_is_told_by_its_key(client, handler, level):
    mount(client, page(handler), tools__gzip__compress_level=level)
    assert client.get('/x').status == 500
    assert any(f"'tools.gzip.compress_level' = {level!r}" in line for line in client.errors)


def test_short_bodies_stay_as_they_are_where_a_size_is_set(client, handler):
    mount(client, page(handler, 'x' * 99), tools__gzip__min_size=100)
    answer = client.get('/x', headers={'Accept-Encoding': 'gzip'})
    assert not is_compressed(answer)
    assert answer.headers['Vary'] == 'Accept-Encoding'
    client.site.tree.apps.clear()
    mount(client, page(handler, 'x' * 100), tools__gzip__min_size=100)
    assert is_compressed(client.get('/x', headers={'Accept-Encoding': 'gzip'}))


def test_no_transform_is_kept_to(client, handler):
    mount(client, page(handler, Cache_Control='public, no-transform'))
    assert not is_compressed(client.get('/x', headers={'Accept-Encoding': 'gzip'}))


@pytest.mark.parametrize('pattern', ['*/*', 'text/*', '*', 'TEXT/HTML'])
def test_patterns_name_types(client, handler, pattern):
    mount(client, page(handler), tools__gzip__mime_types=[pattern])
    assert is_compressed(client.get('/x', headers={'Accept-Encoding': 'gzip'}))


def test_what_a_compressed_page_is_tagged_with_is_recognized_and_told_again(client, handler):
    mount(client, page(handler), tools__etags__on=True, tools__etags__autotags=True)
    headers = {'Accept-Encoding': 'gzip'}
    tag = client.get('/x', headers=headers).headers['ETag']
    assert tag.startswith('W/"')
    again = client.get('/x', headers={**headers, 'If-None-Match': tag})
    assert (again.status, again.headers['ETag']) == (304, tag)
    plain = client.get('/x').headers['ETag']
    assert f'W/{plain}' == tag
    assert client.get('/x', headers={'If-None-Match': plain}).headers['ETag'] == plain


def test_long_bodies_are_compressed_off_the_event_loop(asgi, monkeypatch):
    import threading

    threads = set()
    whole = encoding.compress_whole

    def noted(*args):
        threads.add(threading.current_thread() is threading.main_thread())
        return whole(*args)

    monkeypatch.setattr(encoding, 'compress_whole', noted)

    async def long():
        return 'x' * 100_000

    mount(asgi, long)
    assert is_compressed(asgi.get('/x', headers={'Accept-Encoding': 'gzip'}))
    assert threads == {False}
    asgi.site.tree.apps.clear()
    threads.clear()

    async def short():
        return 'x' * 1000

    mount(asgi, short)
    assert is_compressed(asgi.get('/x', headers={'Accept-Encoding': 'gzip'}))
    assert threads == {True}
