"""The helpers under `lib` and `lib.httputil`."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cpadapter import lib
from cpadapter.lib import httputil

PUBLIC = [
    'AcceptElement',
    'CaseInsensitiveDict',
    'HTTPDate',
    'HeaderElement',
    'HeaderMap',
    'Host',
    'RE_HEADER_SPLIT',
    'SanitizedHost',
    'decode_TEXT',
    'decode_TEXT_maybe',
    'get_ranges',
    'header_elements',
    'header_translate_deletechars',
    'header_translate_table',
    'image_map_pattern',
    'parse_header',
    'parse_query_string',
    'protocol_from_http',
    'q_separator',
    'response_codes',
    'urljoin',
    'urljoin_bytes',
    'valid_status',
]


@pytest.mark.parametrize('name', PUBLIC)
def test_name_is_offered(name):
    assert hasattr(httputil, name)
    assert name in httputil.__all__


def test_control_characters_have_their_table():
    assert httputil.header_translate_table is None
    assert httputil.header_translate_deletechars == bytes(range(32)) + b'\x7f'


@pytest.mark.parametrize(('text', 'version'), [('HTTP/1.1', (1, 1)), ('HTTP/1.0', (1, 0)), ('HTTP/2', (2, 0))])
def test_protocol_is_read(text, version):
    assert httputil.protocol_from_http(text) == version


@pytest.mark.parametrize('text', ['HTTP', 'HTTP/x.y', 'FTP/1.1', 'HTTP/1.1 '])
def test_protocol_that_is_none_is_a_bad_request(text):
    with pytest.raises(httputil.BadHeaderValue):
        httputil.protocol_from_http(text)


def test_importing_lib_imports_nothing_heavy():
    heavy = ['asyncio', 'email', 'http.server', 'http.client', 'socket', 'tempfile', 'uuid', 'werkzeug', 'multipart']
    code = f'import sys, cpadapter.lib.httputil; print([name for name in {heavy!r} if name in sys.modules])'
    shown = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=30, check=True).stdout
    assert shown.strip() == '[]'


class Closable:
    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def close(self):
        pass


class NeedsArgument(Closable):
    def close(self, how):
        pass


@pytest.mark.parametrize(
    ('obj', 'is_iterator', 'is_closable'),
    [
        ((x for x in ()), True, True),
        (Closable(), True, True),
        (NeedsArgument(), True, False),
        (iter([]), True, False),
        (io.BytesIO(), True, True),
        ([], False, False),
        ('text', False, False),
        (5, False, False),
        (None, False, False),
    ],
)
def test_iterators_are_told_apart(obj, is_iterator, is_closable):
    assert lib.is_iterator(obj) is is_iterator
    assert lib.is_closable_iterator(obj) is is_closable


def test_file_is_read_in_chunks_and_closed_at_its_end():
    file = io.BytesIO(b'abcde')
    assert list(lib.file_generator(file, 2)) == [b'ab', b'cd', b'e']
    assert file.closed


def test_file_is_closed_when_its_generator_is_dropped():
    file = io.BytesIO(b'abcde')
    generator = lib.file_generator(file, chunkSize=2)
    assert generator.next() == b'ab'
    del generator
    gc.collect()
    assert file.closed


def test_limited_generator_stops_at_its_count():
    file = io.BytesIO(b'abcdefgh')
    assert list(lib.file_generator_limited(file, 5, 2)) == [b'ab', b'cd', b'e']
    assert file.read() == b'fgh'
    assert list(lib.file_generator_limited(io.BytesIO(b'ab'), 9)) == [b'ab']


@pytest.mark.parametrize(
    ('present', 'expected'),
    [
        (None, 'Accept'),
        ('', 'Accept'),
        ('Cookie', 'Cookie, Accept'),
        ('Cookie,accept', 'Cookie,accept'),
        ('*', '*'),
    ],
)
def test_vary_names_a_header_once(present, expected):
    headers = httputil.HeaderMap({} if present is None else {'Vary': present})
    lib.set_vary_header(SimpleNamespace(headers=headers), 'Accept')
    assert headers['Vary'] == expected
