"""Files as responses: serve_file and its kin, the tools staticdir and staticfile, and the packaged icon."""

from __future__ import annotations

import gc
import gzip
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import cpadapter
from cpadapter.lib import disk, static

needs_posix = pytest.mark.skipif(os.name != 'posix', reason='needs FIFOs and permissions')

LARGE = bytes(range(256)) * 1024  # 256 KiB


@pytest.fixture
def folder(tmp_path):
    """A folder to serve, beside one that must not be reached."""
    top = tmp_path / 'st'
    (top / 'sub' / 'deep').mkdir(parents=True)
    (top / 'empty').mkdir()
    (top / 'a.txt').write_bytes(b'0123456789')
    (top / 'large.bin').write_bytes(LARGE)
    (top / 'index.html').write_text('<p>index</p>')
    (top / 'sub' / 'index.html').write_text('<p>sub</p>')
    (top / 'sub' / '100%41.txt').write_text('percent')
    (top / 'sub' / 'grün.txt').write_text('grün')
    (top / 'nothing.txt').touch()
    (tmp_path / 'st-evil').mkdir()
    (tmp_path / 'st-evil' / 'x.txt').write_text('evil')
    (tmp_path / 'secret.txt').write_text('secret')
    return top


def serve(client, handler, func):
    func.__name__ = 'func'

    class Root:
        page = staticmethod(handler(func))

    client.mount(Root())


def mount_dir(client, folder, handler=None, **settings):
    class Root:
        @cpadapter.expose
        def page(self):
            return 'page'

    if handler is not None:

        def default(*args, **params):
            return 'page handler of ' + '/'.join(args)

        Root.default = staticmethod(handler(default))
    config = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder), **settings}
    client.mount(Root(), '', {'/s': config})


# --- serve_file -----------------------------------------------------------------------------------------------


def test_serve_file_sends_the_file_with_validators(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    os.utime(folder / 'a.txt', (784111777, 784111777))
    answer = client.get('/page')
    assert (answer.status, answer.body) == (200, b'0123456789')
    assert answer.headers['Content-Type'] == 'text/plain;charset=utf-8'
    assert answer.headers['Last-Modified'] == 'Sun, 06 Nov 1994 08:49:37 GMT'
    assert answer.headers['Accept-Ranges'] == 'bytes'
    assert re.fullmatch(r'"[0-9a-f]+-a"', answer.headers['ETag'])
    assert 'Content-Disposition' not in answer.headers


def test_large_files_are_sent_in_chunks_and_closed(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'large.bin')))
    answer = client.get('/page')
    assert answer.body == LARGE
    assert max(map(len, answer.chunks)) <= 65536
    answer = client.get('/page', stop_after=1)
    assert answer.left


def test_large_text_files_keep_their_length_and_get_a_charset(client, handler, folder):
    (folder / 'large.txt').write_bytes(b'text ' * 50_000)
    serve(client, handler, lambda: static.serve_file(str(folder / 'large.txt')))
    answer = client.get('/page')
    assert len(answer.body) == 250_000
    assert len(answer.chunks) > 1
    assert answer.headers['Content-Type'] == 'text/plain;charset=utf-8'
    assert client.get('/page', headers={'Accept-Charset': 'nosuch;q=1, utf-8;q=0.1'}).body == answer.body


@pytest.mark.parametrize('name', ['a.txt', 'large.bin', 'nothing.txt'])
def test_head_tells_what_get_tells(client, handler, folder, name):
    serve(client, handler, lambda: static.serve_file(str(folder / name)))
    head, get = client.head('/page'), client.get('/page')
    assert (head.status, head.body) == (200, b'')
    assert head.headers == get.headers


@pytest.mark.parametrize('name', ['nosuch.txt', 'sub', 'a.txt/', 'a\0b.txt', 'x' * 5000, 'a.txt/b'])
def test_what_is_no_file_is_not_found(client, handler, folder, name):
    serve(client, handler, lambda: static.serve_file(f'{folder}/{name}'))
    assert client.get('/page').status == 404


def test_a_relative_path_is_an_error_of_the_application(client, handler):
    serve(client, handler, lambda: static.serve_file('a.txt'))
    assert client.get('/page').status == 500
    assert any("ValueError: 'a.txt' is not an absolute path." in line for line in client.errors)


@needs_posix
def test_fifos_and_devices_are_refused_without_waiting(client, handler, folder):
    os.mkfifo(folder / 'fifo')
    for path in (str(folder / 'fifo'), '/dev/zero', '/dev/tty'):
        serve(client, handler, lambda path=path: static.serve_file(path))
        assert client.get('/page').status == 404


@needs_posix
@pytest.mark.skipif(os.name == 'posix' and os.geteuid() == 0, reason='root reads everything')
def test_a_file_that_may_not_be_read_is_answered_403(client, handler, folder):
    (folder / 'a.txt').chmod(0)
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    assert client.get('/page').status == 403


def test_a_file_that_becomes_shorter_ends_the_response_early(client, handler, folder):
    serve(client, handler, lambda: cut(static.serve_file(str(folder / 'large.bin'))))

    def cut(body):
        os.truncate(folder / 'large.bin', 100_000)
        return body

    answer = client.get('/page')
    assert isinstance(answer.error, OSError)
    assert len(answer.body) <= 100_000


def test_a_file_that_is_replaced_or_removed_is_sent_as_it_was(client, handler, folder):
    def func():
        body = static.serve_file(str(folder / 'large.bin'))
        os.replace(folder / 'a.txt', folder / 'large.bin')
        os.remove(folder / 'large.bin')
        return body

    serve(client, handler, func)
    assert client.get('/page').body == LARGE


@pytest.mark.parametrize('when', [-(1 << 40), 1 << 40, -1, 0])
def test_any_modification_time_is_served(client, handler, folder, when):
    try:
        os.utime(folder / 'a.txt', (when, when))
    except OSError:
        pytest.skip('the file system has no such time')
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    answer = client.get('/page')
    assert (answer.status, answer.body) == (200, b'0123456789')
    assert client.get('/page', headers={'If-None-Match': answer.headers['ETag']}).status == 304


# --- conditions -----------------------------------------------------------------------------------------------


def test_conditional_requests_are_answered_by_either_validator(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    first = client.get('/page')
    for name, validator in (('If-None-Match', 'ETag'), ('If-Modified-Since', 'Last-Modified')):
        answer = client.get('/page', headers={name: first.headers[validator]})
        assert (answer.status, answer.body) == (304, b'')
        assert answer.headers['ETag'] == first.headers['ETag']
    headers = {'If-None-Match': '"other"', 'If-Modified-Since': first.headers['Last-Modified']}
    assert client.get('/page', headers=headers).status == 200
    assert client.get('/page', headers={'If-Match': '"other"'}).status == 412
    assert client.get('/page', headers={'If-Match': first.headers['ETag']}).status == 200
    assert client.get('/page', headers={'If-Unmodified-Since': 'Sun, 06 Nov 1994 08:49:37 GMT'}).status == 412


def test_a_changed_file_has_another_etag(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    before = client.get('/page').headers['ETag']
    (folder / 'a.txt').write_bytes(b'changed')
    os.utime(folder / 'a.txt', ns=(1, 1))
    assert client.get('/page').headers['ETag'] != before


def test_an_etag_of_the_page_handlers_own_counts(client, handler, folder):
    def func():
        cpadapter.response.headers['ETag'] = '"own"'
        return static.serve_file(str(folder / 'a.txt'))

    serve(client, handler, func)
    assert client.get('/page').headers['ETag'] == '"own"'
    assert client.get('/page', headers={'If-None-Match': '"own"'}).status == 304


# --- ranges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('field', 'content_range', 'body'),
    [
        ('bytes=0-3', 'bytes 0-3/10', b'0123'),
        ('bytes=2-', 'bytes 2-9/10', b'23456789'),
        ('bytes=-3', 'bytes 7-9/10', b'789'),
        ('bytes=-30', 'bytes 0-9/10', b'0123456789'),
        ('bytes=0-99', 'bytes 0-9/10', b'0123456789'),
        ('bytes=0-0,20-', 'bytes 0-0/10', b'0'),
        ('Bytes = 1-1', 'bytes 1-1/10', b'1'),
    ],
)
def test_one_range_is_sent_as_206(client, handler, folder, field, content_range, body):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    answer = client.get('/page', headers={'Range': field})
    assert (answer.status, answer.headers['Content-Range'], answer.body) == (206, content_range, body)


@pytest.mark.parametrize('field', ['bytes=10-', 'bytes=20-30', 'bytes=-0'])
def test_ranges_beyond_the_end_are_answered_416(client, handler, folder, field):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    answer = client.get('/page', headers={'Range': field})
    assert (answer.status, answer.headers['Content-Range']) == (416, 'bytes */10')
    assert 'Invalid Range (first-byte-pos greater than Content-Length)' in answer.text
    assert 'Last-Modified' not in answer.headers


@pytest.mark.parametrize(
    'field',
    [
        *('bytes=5-2', 'bytes=-', 'bytes=abc', 'abc', 'bytes=', 'items=0-1', 'bytes=--1', 'bytes=1-2-3'),
        'bytes=' + '0-,' * 5000,
        'bytes=' + ','.join(f'{n}-{n}' for n in range(0, 20000, 2)),
        'bytes=0-9,0-9',
        'bytes=0-' + '9' * 50_000 + 'x',
    ],
)
def test_ranges_that_make_no_sense_are_ignored(client, handler, folder, field):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    answer = client.get('/page', headers={'Range': field})
    assert (answer.status, answer.body) == (200, b'0123456789')


def test_an_old_client_and_other_methods_get_the_whole(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    answer = client.get('/page', headers={'Range': 'bytes=0-1'}, version='1.0')
    assert (answer.status, answer.body) == (200, b'0123456789')
    assert 'Accept-Ranges' not in answer.headers
    assert client.head('/page', headers={'Range': 'bytes=0-1'}).status == 200
    assert client.post('/page', headers={'Range': 'bytes=0-1'}, body=b'').status == 200


def test_http_2_knows_ranges(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    assert client.get('/page', headers={'Range': 'bytes=0-1'}, version='2').status == 206


def parse_parts(answer):
    """Read a multipart/byteranges body into (head lines, data) pairs."""
    boundary = re.fullmatch(r'multipart/byteranges; boundary=([0-9a-f]+)', answer.headers['Content-Type'])[1]
    begin, *parts, end = answer.body.split(f'\r\n--{boundary}'.encode())
    assert (begin, end) == (b'', b'--\r\n')
    return [part.removeprefix(b'\r\n').split(b'\r\n\r\n', 1) for part in parts]


def test_several_ranges_are_sent_as_parts(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    answer = client.get('/page', headers={'Range': 'bytes=0-1,4-5,-2'})
    assert answer.status == 206
    assert 'Content-Range' not in answer.headers
    assert parse_parts(answer) == [
        [b'Content-type: text/plain\r\nContent-range: bytes 0-1/10', b'01'],
        [b'Content-type: text/plain\r\nContent-range: bytes 4-5/10', b'45'],
        [b'Content-type: text/plain\r\nContent-range: bytes 8-9/10', b'89'],
    ]


def test_parts_of_large_files_are_sent_in_chunks(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'large.bin')))
    answer = client.get('/page', headers={'Range': 'bytes=1-99999,-100001'})
    assert [data for _, data in parse_parts(answer)] == [LARGE[1:100_000], LARGE[-100_001:]]
    assert max(map(len, answer.chunks)) <= 65536
    assert client.get('/page', headers={'Range': 'bytes=1-99999,-100001'}, stop_after=2).left


@pytest.mark.parametrize(
    ('condition', 'status'),
    [
        ('{etag}', 206),
        ('{modified}', 206),
        ('"other"', 200),
        ('W/{etag}', 200),
        ('Sun, 06 Nov 1994 08:49:38 GMT', 200),
        ('nonsense', 200),
        ('', 200),
    ],
)
def test_a_range_is_sent_only_of_what_if_range_names(client, handler, folder, condition, status):
    os.utime(folder / 'a.txt', (784111777, 784111777))
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    first = client.get('/page').headers
    condition = condition.format(etag=first['ETag'], modified=first['Last-Modified'])
    answer = client.get('/page', headers={'Range': 'bytes=0-1', 'If-Range': condition})
    assert answer.status == status


def test_a_date_is_no_strong_validator_before_its_second_is_over(client, handler, folder, monkeypatch):
    os.utime(folder / 'a.txt', (784111777, 784111777))
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    headers = {'Range': 'bytes=0-1', 'If-Range': client.get('/page').headers['Last-Modified']}
    for now, status in ((784111777.9, 200), (784111778.0, 206), (784111776.0, 200)):
        monkeypatch.setattr(static, 'time', SimpleNamespace(time=lambda now=now: now))
        assert client.get('/page', headers=headers).status == status


def test_a_folder_may_be_a_path_object(client, folder):
    mount_dir(client, folder, **{'tools.staticdir.dir': folder})
    assert client.get('/s/a.txt').body == b'0123456789'
    mount_dir(client, folder, **{'tools.staticdir.dir': Path(folder.name), 'tools.staticdir.root': folder.parent})
    assert client.get('/s/a.txt').body == b'0123456789'


def test_a_part_is_not_compressed(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt')))
    client.site.config['tools.gzip.on'] = True
    answer = client.get('/page', headers={'Range': 'bytes=0-1', 'Accept-Encoding': 'gzip'})
    assert (answer.status, answer.body) == (206, b'01')
    answer = client.get('/page', headers={'Accept-Encoding': 'gzip'})
    assert gzip.decompress(answer.body) == b'0123456789'
    assert answer.headers['ETag'].startswith('W/')
    # The tag of a compressed answer does not allow a range of the plain one.
    headers = {'Range': 'bytes=0-1', 'If-Range': answer.headers['ETag']}
    assert client.get('/page', headers=headers).status == 200


# --- types and names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('a.html', 'text/html'),
        ('a.TXT', 'text/plain'),
        ('a.ico', 'image/x-icon'),
        ('a.dwg', 'image/x-dwg'),
        ('a.tar.gz', 'application/x-gzip'),
        ('a.bz2', 'application/x-bzip2'),
        ('a', 'application/octet-stream'),
        ('a.nosuch', 'application/octet-stream'),
        ('.html', 'application/octet-stream'),
    ],
)
def test_the_extension_gives_the_type(name, kind):
    assert static.content_type_of(name) == kind


def test_an_application_may_extend_the_types(monkeypatch):
    import mimetypes

    static.content_type_of('a.txt')
    monkeypatch.setitem(mimetypes.types_map, '.parity', 'application/x-parity')
    monkeypatch.setitem(mimetypes.types_map, '.ico', 'image/x-own')
    assert static.content_type_of('a.parity') == 'application/x-parity'
    assert static.content_type_of('a.ico') == 'image/x-own'


SNOWMAN = 'has_utf-8_character_☃.html'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('plan.txt', 'attachment; filename="plan.txt"'),
        (
            SNOWMAN,
            'attachment; filename="has_utf-8_character_.html"; filename*=UTF-8\'\'has_utf-8_character_%E2%98%83.html',
        ),
        ('a"b;.txt', 'attachment; filename="a\\"b;.txt"'),
        ('a\\b.txt', 'attachment; filename="a\\\\b.txt"'),
        ('a\r\nSet-Cookie: x=1\0\x7f\x85.txt', 'attachment; filename="aSet-Cookie: x=1.txt"'),
        ('ﬁ\u2028.txt', 'attachment; filename="fi.txt"; filename*=UTF-8\'\'%EF%AC%81.txt'),
        ("it's 5%.txt", 'attachment; filename="it\'s 5%.txt"'),
        ('\udcff.txt', 'attachment; filename=".txt"'),
        (None, 'attachment'),
    ],
)
def test_file_names_are_escaped_in_content_disposition(name, value):
    assert static.content_disposition('attachment', name) == value


def test_serve_download_is_an_attachment(client, handler, folder):
    serve(client, handler, lambda name=None: static.serve_download(str(folder / 'a.txt'), name))
    headers = client.get('/page').headers
    assert headers['Content-Type'] == 'application/x-download'
    assert headers['Content-Disposition'] == 'attachment; filename="a.txt"'
    headers = client.get('/page?name=b%22%E2%98%83').headers
    assert headers['Content-Disposition'] == 'attachment; filename="b\\""; filename*=UTF-8\'\'b%22%E2%98%83'


def test_serve_file_takes_type_disposition_and_name(client, handler, folder):
    serve(client, handler, lambda: static.serve_file(str(folder / 'a.txt'), 'image/x-own', 'inline', 'b.own'))
    headers = client.get('/page').headers
    assert (headers['Content-Type'], headers['Content-Disposition']) == ('image/x-own', 'inline; filename="b.own"')


# --- serve_fileobj --------------------------------------------------------------------------------------------


def test_an_open_file_is_served_from_where_it_stands(client, handler, folder):
    opened = []

    def func():
        file = open(folder / 'a.txt', 'rb')  # noqa: SIM115
        opened.append(file)
        file.read(4)
        return static.serve_fileobj(file, 'text/plain')

    serve(client, handler, func)
    answer = client.get('/page')
    assert answer.body == b'456789'
    assert 'Last-Modified' in answer.headers
    assert client.get('/page', headers={'Range': 'bytes=1-2'}).body == b'56'
    assert client.get('/page', headers={'If-Modified-Since': answer.headers['Last-Modified']}).status == 304
    assert [file.closed for file in opened] == [True, True, True]


@pytest.mark.parametrize('data', [b'0123456789', LARGE])
def test_a_buffer_in_memory_answers_ranges(client, handler, data):
    serve(client, handler, lambda: static.serve_fileobj(io.BytesIO(data), 'application/x-data'))
    answer = client.get('/page')
    assert answer.body == data
    assert 'Last-Modified' not in answer.headers
    answer = client.get('/page', headers={'Range': 'bytes=-3'})
    assert (answer.status, answer.body) == (206, data[-3:])


def test_the_content_type_is_left_as_it_is(client, handler):
    def func():
        cpadapter.response.headers['Content-Type'] = 'application/x-own'
        return static.serve_fileobj(io.BytesIO(b'data'), disposition='attachment')

    serve(client, handler, func)
    headers = client.get('/page').headers
    assert (headers['Content-Type'], headers['Content-Disposition']) == ('application/x-own', 'attachment')


def test_what_decompresses_has_the_length_of_what_it_gives(client, handler, tmp_path):
    with gzip.open(tmp_path / 'a.gz', 'wb') as file:
        file.write(b'0123456789' * 1000)

    def func():
        return static.serve_fileobj(gzip.open(tmp_path / 'a.gz'), 'application/x-data')

    serve(client, handler, func)
    assert client.get('/page').body == b'0123456789' * 1000
    gc.collect()


@needs_posix
def test_a_pipe_is_sent_as_it_comes(client, handler):
    def func():
        reading, writing = os.pipe()
        os.write(writing, b'piped')
        os.close(writing)
        return static.serve_fileobj(os.fdopen(reading, 'rb'), 'application/x-data')

    serve(client, handler, func)
    answer = client.get('/page', headers={'Range': 'bytes=0-1'})
    assert (answer.status, answer.body) == (200, b'piped')


def test_a_temporary_file_is_served(client, handler):
    def func():
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(b'temporary')
        file.seek(0)
        return static.serve_fileobj(file, 'application/x-data')

    serve(client, handler, func)
    assert client.get('/page').body == b'temporary'


def test_text_files_are_refused(client, handler):
    serve(client, handler, lambda: static.serve_fileobj(io.StringIO('text')))
    assert client.get('/page').status == 500
    assert any('binary mode' in line for line in client.errors)


# --- staticdir ------------------------------------------------------------------------------------------------


def test_staticdir_serves_what_is_below_its_folder(client, handler, folder):
    mount_dir(client, folder, handler)
    answer = client.get('/s/a.txt')
    assert (answer.status, answer.body, answer.headers['Content-Type']) == (200, b'0123456789', 'text/plain')
    assert client.get('/s/sub/gr%C3%BCn.txt').text == 'grün'
    assert client.get('/s/large.bin').body == LARGE
    assert client.get('/s/a.txt', headers={'Range': 'bytes=0-1'}).body == b'01'
    assert client.head('/s/a.txt').headers['Content-Length'] == '10'
    assert client.get('/s/nothing.txt').body == b''


def test_what_is_not_there_is_left_to_the_page_handler(client, handler, folder):
    mount_dir(client, folder, handler)
    assert client.get('/s/nosuch.txt').text == 'page handler of s/nosuch.txt'
    assert client.get('/s/sub').text == 'page handler of s/sub'
    assert client.get('/s/sub/').text == 'page handler of s/sub'
    assert client.get('/s/a.txt/').text == 'page handler of s/a.txt'
    assert client.post('/s/a.txt', body=b'').text == 'page handler of s/a.txt'


def test_what_nothing_answers_is_not_found(client, folder):
    mount_dir(client, folder)
    assert client.get('/s/nosuch.txt').status == 404
    assert client.get('/s/a.txt').status == 200
    assert client.get('/page').text == 'page'


def test_paths_are_decoded_once(client, folder):
    mount_dir(client, folder)
    assert client.get('/s/sub/100%2541.txt').text == 'percent'
    assert client.get('/s/%2561.txt').status == 404
    assert client.get('/s/%61.txt').status == 200


OUTSIDE = [
    '/s/../secret.txt',
    '/s/../st-evil/x.txt',
    '/s/%2e%2e/secret.txt',
    '/s/%2e%2e/st-evil/x.txt',
    '/s/%2E%2E/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
    '/s/sub/../../secret.txt',
    '/s/sub/%2e%2e/%2e%2e/secret.txt',
    '/s/..%2fsecret.txt',
    '/s/..%2f..%2f..%2f..%2f..%2fetc/passwd',
    '/s/%252e%252e/secret.txt',
    '/s/..%5csecret.txt',
    '/s/..%5c..%5cst-evil%5cx.txt',
    '/s/%5c../secret.txt',
    '/s/.%00./secret.txt',
    '/s/a.txt%00.html',
    '/s/%00',
    '/s//etc/passwd',
    '/s///etc/passwd',
    '/s/C:/Windows/win.ini',
    '/s/C:%5cWindows%5cwin.ini',
    '/s/%5c%5cserver%5cshare',
    '/s/NUL',
    '/s/con.txt',
    '/s/a.txt::$DATA',
    '/s/a.txt.',
    '/s/a.txt%20',
    '/s/..%c0%afsecret.txt',
    '/s/%c0%ae%c0%ae/secret.txt',
    '/s/%ff%fe/secret.txt',
    '/s/%ed%a0%80',
    '/s/' + 'x' * 5000,
    '/s/' + 'x/' * 2500,
    '/s/' + '../' * 2000 + 'etc/passwd',
]


@pytest.mark.parametrize('raw', [False, True])
@pytest.mark.parametrize('path', OUTSIDE)
def test_nothing_outside_of_the_folder_is_served(client, folder, path, raw):
    mount_dir(client, folder, **{'tools.staticdir.index': 'x.txt'})
    answer = client.get(path, **({'raw': True} if raw else {}))
    assert answer.status in (403, 404), answer
    for text in (b'secret', b'evil', b'root:', b'0123456789'):
        assert text not in answer.body.replace(path.encode(), b'').partition(b'<p>')[0]
    assert client.errors == []


def test_dots_that_stay_inside_are_followed(client, folder):
    mount_dir(client, folder)
    assert client.get('/s/sub/../a.txt').body == b'0123456789'
    assert client.get('/s/./a.txt').body == b'0123456789'


@pytest.mark.parametrize(
    'path',
    [
        '/s/sub/b.css',
        '/s/./sub/b.css',
        '/s/.//sub//b.css',
        '/s/x/../sub/b.css',
        '/s/%2e/sub/b.css',
        '/s/x/%2e%2e/sub/b.css',
        '/s/%5csub/b.css',
        '/s/./sub/nosuch',
    ],
)
@pytest.mark.parametrize('raw', [False, True])
def test_dots_do_not_lead_past_the_config_of_a_folder(client, folder, path, raw):
    (folder / 'x').mkdir()
    (folder / 'sub' / 'b.css').write_text('secret')

    class Root:
        pass

    static = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder)}
    client.mount(Root(), '', {'/s': static, '/s/sub': {'tools.allow.on': True, 'tools.allow.methods': 'PUT'}})
    answer = client.get(path, **({'raw': True} if raw else {}))
    assert answer.status == (404 if '%5c' in path else 405)
    assert b'secret' not in answer.body


def test_dots_before_a_slash_give_the_folder_and_the_query_stays(client, folder):
    (folder / 'q?r.txt').write_text('asked')
    mount_dir(client, folder, **{'tools.staticdir.index': 'index.html'})
    for path in ('/s/./sub/', '/s/sub/.', '/s/sub/deep/..', '/s/sub/deep/../'):
        assert client.get(path).text == '<p>sub</p>', path
    assert client.get('/s/./q%3Fr.txt?x=1').text == 'asked'
    assert client.get('/s/./sub?x=1').headers['Location'].endswith('/s/sub/?x=1')


@pytest.mark.parametrize(
    'name',
    ['NUL', 'nul.txt', 'CON', 'com1.tar.gz', 'LPT9', 'COM¹', 'conin$', 'AUX .x', 'a.', 'a ', 'a:b', 'C:', 'a\\b'],
)
def test_names_that_windows_reserves_are_known(name):
    assert disk.is_reserved(name)


@pytest.mark.parametrize('name', ['null', 'console.txt', 'com', 'com10', 'a.con', 'a b', '.hidden', 'nul-1'])
def test_other_names_are_not_reserved(name):
    assert not disk.is_reserved(name)


def test_symbolic_links_are_followed_only_inside(client, folder):
    (folder / 'inside').symlink_to(folder / 'sub')
    (folder / 'b.txt').symlink_to('a.txt')
    (folder / 'out.txt').symlink_to(folder.parent / 'secret.txt')
    (folder / 'out').symlink_to(folder.parent)
    (folder / 'evil').symlink_to(folder.parent / 'st-evil')
    (folder / 'loop').symlink_to('loop')
    (folder / 'broken').symlink_to('nosuch')
    mount_dir(client, folder)
    assert client.get('/s/b.txt').body == b'0123456789'
    assert client.get('/s/inside/gr%C3%BCn.txt').text == 'grün'
    for path in ('out.txt', 'out/secret.txt', 'out/nosuch.txt', 'evil/x.txt', 'out/st/../secret.txt'):
        assert client.get(f'/s/{path}').status in (403, 404), path
    for path in ('loop', 'loop/x', 'broken'):
        assert client.get(f'/s/{path}').status == 404, path


def test_a_folder_that_is_a_link_itself_is_served(client, folder):
    (folder.parent / 'current').symlink_to(folder)
    mount_dir(client, folder.parent / 'current')
    assert client.get('/s/a.txt').body == b'0123456789'
    assert client.get('/s/../secret.txt').status == 403


@needs_posix
def test_special_files_are_not_there(client, handler, folder):
    os.mkfifo(folder / 'fifo')
    mount_dir(client, folder, handler)
    assert client.get('/s/fifo').text == 'page handler of s/fifo'


# --- index, match, types, root --------------------------------------------------------------------------------

INDEX = {'tools.staticdir.index': 'index.html'}


def test_a_folder_is_served_by_its_index(client, handler, folder):
    mount_dir(client, folder, handler, **INDEX)
    assert client.get('/s/').text == '<p>index</p>'
    assert client.get('/s/sub/').text == '<p>sub</p>'
    assert client.get('/s/empty/').text == 'page handler of s/empty'


@pytest.mark.parametrize(('path', 'target'), [('/s', '/s/'), ('/s/sub', '/s/sub/'), ('/s/sub?a=1', '/s/sub/?a=1')])
def test_a_folder_asked_for_without_slash_is_redirected(client, handler, folder, path, target):
    mount_dir(client, folder, handler, **INDEX)
    answer = client.get(path)
    assert (answer.status, answer.headers['Location']) == (301, f'http://testserver{target}')


def test_without_the_trailing_slash_tool_the_index_is_served_in_place(client, handler, folder):
    mount_dir(client, folder, handler, **INDEX, **{'tools.trailing_slash.on': False})
    assert client.get('/s/sub').text == '<p>sub</p>'


def test_the_slash_redirect_stays_on_the_host(client, handler, folder):
    (folder / 'evil').mkdir()
    (folder / 'evil' / 'index.html').write_text('<p>evil</p>')

    class Root:
        pass

    config = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder), **INDEX}
    client.mount(Root(), '', {'/': config})
    for path in ('//evil', '///evil', '/%5cevil', '//testserver/../evil'):
        answer = client.get(path)
        assert answer.status in (301, 403, 404)
        if answer.status == 301:
            assert answer.headers['Location'].startswith('http://testserver/')


def test_match_chooses_by_the_path(client, handler, folder):
    mount_dir(client, folder, handler, **{'tools.staticdir.match': r'\.txt$'})
    assert client.get('/s/a.txt').body == b'0123456789'
    assert client.get('/s/large.bin').text == 'page handler of s/large.bin'


def test_content_types_win_where_they_name_the_extension(client, handler, folder):
    mount_dir(client, folder, handler, **{'tools.staticdir.content_types': {'txt': 'text/x-own'}})
    assert client.get('/s/a.txt').headers['Content-Type'] == 'text/x-own'
    assert client.get('/s/large.bin').headers['Content-Type'] == 'application/octet-stream'


def test_a_relative_folder_needs_a_root(client, handler, folder):
    mount_dir(client, 'st', handler, **{'tools.staticdir.root': str(folder.parent)})
    assert client.get('/s/a.txt').body == b'0123456789'


def test_a_relative_folder_without_root_is_an_error_of_the_application(client, folder):
    mount_dir(client, 'st')
    assert client.get('/s/a.txt').status == 500
    told = (
        "'tools.staticdir.dir' = 'st' in section [/s]: it is relative: make it absolute, or set tools.staticdir.root."
    )
    assert any(told in line for line in client.errors)


def test_home_is_expanded(client, folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    mount_dir(client, '~/st')
    assert client.get('/s/a.txt').body == b'0123456789'


def test_staticdir_is_usable_as_a_page_handler(client, folder):
    class Root:
        s = cpadapter.tools.staticdir.handler(section='/s', dir=str(folder))

    client.mount(Root())
    answer = client.get('/s/a.txt')
    assert (answer.body, answer.headers['Content-Type']) == (b'0123456789', 'text/plain;charset=utf-8')
    assert client.get('/s/nosuch').status == 404


def test_staticdir_on_a_class_knows_its_section(client, folder):
    class Files:
        _cp_config = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder)}

    class Root:
        files = Files()

    client.mount(Root())
    client.mount(Root(), '/app')
    assert client.get('/files/a.txt').body == b'0123456789'
    assert client.get('/app/files/sub/index.html').text == '<p>sub</p>'


def test_serving_files_leaves_none_open(client, folder):
    if not Path('/proc/self/fd').exists():
        pytest.skip('cannot count open files')
    mount_dir(client, folder)
    client.get('/s/a.txt')
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(5):
        client.get('/s/a.txt')
        client.get('/s/large.bin', stop_after=1)
        client.head('/s/large.bin')
        client.get('/s/large.bin', headers={'If-None-Match': '*'})
        client.get('/s/large.bin', headers={'Range': 'bytes=999999999-'})
        client.get('/s/large.bin', headers={'Range': 'bytes=0-1,3-4'}, stop_after=1)
    assert len(os.listdir('/proc/self/fd')) == before


# --- staticfile -----------------------------------------------------------------------------------------------


def mount_file(client, **settings):
    class Root:
        @cpadapter.expose
        def default(self, *args):
            return 'page handler'

    config = {'tools.staticfile.on': True, **{f'tools.staticfile.{key}': value for key, value in settings.items()}}
    client.mount(Root(), '', {'/f': config})


def test_staticfile_serves_its_file_there_and_below(client, folder):
    mount_file(client, filename=str(folder / 'a.txt'))
    assert client.get('/f').body == b'0123456789'
    assert client.get('/f/extra').body == b'0123456789'
    assert client.post('/f', body=b'').text == 'page handler'


def test_staticfile_takes_a_root_match_and_types(client, folder):
    mount_file(client, filename='a.txt', root=str(folder), match='^/f$', content_types={'txt': 'text/x-own'})
    assert client.get('/f').headers['Content-Type'] == 'text/x-own'
    assert client.get('/f/extra').text == 'page handler'


def test_a_missing_file_is_left_to_the_page_handler(client, folder):
    mount_file(client, filename=str(folder / 'nosuch'))
    assert client.get('/f').text == 'page handler'


def test_a_relative_file_without_root_is_an_error_of_the_application(client):
    mount_file(client, filename='a.txt')
    assert client.get('/f').status == 500
    text = "'tools.staticfile.filename' = 'a.txt' in section [/f]: it is relative: make it absolute, or set "
    assert any(text in line for line in client.errors)


# --- the icon -------------------------------------------------------------------------------------------------

ICON = Path(cpadapter.__file__).with_name('favicon.ico').read_bytes()


def icon_root(**attributes):
    return type('Root', (), {'index': staticmethod(cpadapter.expose(lambda: 'index')), **attributes})()


def test_a_root_application_serves_the_packaged_icon(client):
    root = icon_root()
    client.mount(root)
    answer = client.get('/favicon.ico')
    assert (answer.status, answer.headers['Content-Type'], answer.body) == (200, 'image/x-icon', ICON)
    assert client.head('/favicon.ico').headers['Content-Length'] == str(len(ICON))
    assert client.get('/favicon.ico', headers={'If-None-Match': answer.headers['ETag']}).status == 304
    assert client.get('/nosuch').status == 404
    assert client.get('/nosuch/favicon.ico').status == 404
    assert client.get('/favicon.ico').body == ICON
    assert client.get('/').text == 'index'
    assert not hasattr(root, 'favicon_ico')


def test_the_icon_is_not_served_below_a_mount(client):
    client.mount(icon_root(), '/app')
    assert client.get('/app/favicon.ico').status == 404
    assert client.get('/favicon.ico').status == 404


def test_a_root_says_none_or_has_an_icon_of_its_own(client):
    client.mount(icon_root(favicon_ico=None))
    assert client.get('/favicon.ico').status == 404
    client.mount(icon_root(favicon_ico=staticmethod(cpadapter.expose(lambda: b'own'))))
    assert client.get('/favicon.ico').body == b'own'


def test_config_names_another_icon(client, folder):
    client.mount(icon_root(), '', {'/favicon.ico': {'tools.staticfile.filename': str(folder / 'a.txt')}})
    assert client.get('/favicon.ico').body == b'0123456789'


def test_roots_of_any_kind_have_the_icon(client):
    client.mount(5)
    assert client.get('/favicon.ico').body == ICON

    class Slots:
        __slots__ = ()

    client.mount(Slots())
    assert client.get('/favicon.ico').body == ICON


def test_the_icon_holds_two_pictures():
    assert ICON[:6] == b'\0\0\1\0\2\0'
    assert (ICON[6], ICON[22]) == (16, 32)
    assert ICON.count(b'\x89PNG\r\n\x1a\n') == 2
    assert len(ICON) < 1000


def test_the_types_of_the_system_are_not_changed():
    import subprocess

    code = (
        'import mimetypes\nbefore = dict(mimetypes.types_map)\nfrom cpadapter.lib import static\n'
        "mimetypes.init()\nwhole = dict(mimetypes.types_map)\nstatic.content_type_of('a.ico')\n"
        'print(whole == mimetypes.types_map)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ('True', '')
