"""Query strings and urlencoded bodies."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter.protocol.params import TooManyFields, known_charset, parse_query_string, parse_urlencoded


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('', {}),
        ('a=1', {'a': '1'}),
        ('a=1&b=2', {'a': '1', 'b': '2'}),
        ('a=1&b=2&a=3', {'a': ['1', '3'], 'b': '2'}),
        ('a=1&a=2&a=3', {'a': ['1', '2', '3']}),
        ('a', {'a': ''}),
        ('a=', {'a': ''}),
        ('=1', {'': '1'}),
        ('=', {'': ''}),
        ('&&', {}),
        ('a=1&', {'a': '1'}),
        ('a=b=c', {'a': 'b=c'}),
        ('a=+%20', {'a': '  '}),
        ('a+b=c+d', {'a b': 'c d'}),
        ('a=%2B', {'a': '+'}),
        ('a=%zz&b=%&%=%4', {'a': '%zz', 'b': '%', '%': '%4'}),
        ('a%3Db=%26', {'a=b': '&'}),
        ('%C3%A9=%c3%a9', {'é': 'é'}),
        ('é=é%C3%A9', {'é': 'éé'}),
        ('a=%00', {'a': '\0'}),
        ('a=%u0041', {'a': '%u0041'}),
        ('a;b=1', {'a;b': '1'}),
        ('name[key]=1', {'name[key]': '1'}),
    ],
)
def test_query_is_read(query, expected):
    assert parse_query_string(query) == expected


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('12,34', {'x': 12, 'y': 34}),
        ('12,34&a=1', {'12,34': '', 'a': '1'}),
        ('1,2,3', {'1,2,3': ''}),
        ('1,2\n', {'1,2\n': ''}),
        ('\u0661,\u0662', {'\u0661,\u0662': ''}),
        ('9' * 5000 + ',1', {'9' * 5000 + ',1': ''}),
    ],
)
def test_image_map_is_read_only_where_it_is_the_whole_query(query, expected):
    assert parse_query_string(query) == expected


def test_blank_values_can_be_left_out():
    assert parse_query_string('a=&b&c=1&=', keep_blank_values=False) == {'c': '1'}


def test_semicolon_separates_only_where_asked_for():
    assert parse_query_string('a=1;b=2&c=3', separators='&;') == {'a': '1', 'b': '2', 'c': '3'}
    assert parse_query_string('a=1;b=2&c=3', separators=';') == {'a': '1', 'b': '2', 'c': '3'}


def test_escapes_are_decoded_strictly_in_the_encoding():
    assert parse_query_string('a=%E9', encoding='latin-1') == {'a': 'é'}
    with pytest.raises(UnicodeDecodeError):
        parse_query_string('a=%E9')
    with pytest.raises(UnicodeDecodeError):
        parse_query_string('é=%E9')
    with pytest.raises(UnicodeDecodeError):
        parse_query_string('a=%C0%AF')


def test_number_of_fields_is_limited():
    assert len(parse_query_string('&'.join(f'a{n}=' for n in range(10_000)))) == 10_000
    with pytest.raises(TooManyFields):
        parse_query_string('&' * 10_000)
    with pytest.raises(TooManyFields):
        parse_query_string('a=%41&b', max_fields=1)


@given(st.lists(st.tuples(st.text(), st.text())))
def test_query_is_read_as_it_was_written(pairs):
    expected = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    parsed = parse_query_string(urlencode(pairs))
    assert {name: value if type(value) is list else [value] for name, value in parsed.items()} == expected


@given(st.text())
def test_any_query_is_read_or_a_decoding_error(query):
    try:
        parsed = parse_query_string(query)
    except UnicodeDecodeError:
        return
    assert set(parsed) == {name for name, _ in parse_qsl(query, keep_blank_values=True)} or ',' in query


@pytest.mark.parametrize(
    ('data', 'charsets', 'fields', 'charset'),
    [
        (b'', ['utf-8'], {}, 'utf-8'),
        (b'a=1&b=2&a=3&c&=', ['utf-8'], {'a': ['1', '3'], 'b': '2', 'c': '', '': ''}, 'utf-8'),
        (b'a=%C3%A9+%zz%', ['utf-8'], {'a': 'é %zz%'}, 'utf-8'),
        (b'a=\xc3\xa9', ['utf-8'], {'a': 'é'}, 'utf-8'),
        (b'a=\xe9', ['utf-8', 'ISO-8859-1'], {'a': 'é'}, 'ISO-8859-1'),
        (b'a=%E9', ['us-ascii', 'utf-8', 'ISO-8859-1'], {'a': 'é'}, 'ISO-8859-1'),
        (b'\xff\xfeq\x00=\xff\xfe\xa3\x00', ['utf-16', 'utf-8'], {'q': '£'}, 'utf-16'),
        (b'a=1', ['no-such', 'idna', 'utf-8'], {'a': '1'}, 'utf-8'),
        (b'a=1;b=2', ['utf-8'], {'a': '1;b=2'}, 'utf-8'),
        (b'12,34', ['utf-8'], {'12,34': ''}, 'utf-8'),
    ],
)
def test_form_is_decoded_by_the_first_charset_that_fits_all_of_it(data, charsets, fields, charset):
    assert parse_urlencoded(data, charsets) == (fields, charset)


@pytest.mark.parametrize('charsets', [['utf-8'], ['us-ascii', 'utf-8'], ['no-such'], []])
def test_form_that_no_charset_fits_is_an_error(charsets):
    with pytest.raises(UnicodeError):
        parse_urlencoded(b'ok=1&a=%E9', charsets)
    with pytest.raises(UnicodeError):
        parse_urlencoded(b'ok=1&a=\xe9', charsets)


@pytest.mark.parametrize('data', [b'&' * 3, b'\xe9&&&', b'a&b&c&d'])
def test_number_of_form_fields_is_limited(data):
    with pytest.raises(TooManyFields):
        parse_urlencoded(data, ['utf-8', 'latin-1'], max_fields=3)


def test_form_separators_can_be_chosen():
    assert parse_urlencoded(b'a=1;b=\xe9', ['latin-1'], separators='&;')[0] == {'a': '1', 'b': 'é'}


@given(st.binary(), st.lists(st.sampled_from(['utf-8', 'us-ascii', 'utf-16', 'big5', 'utf-7'])))
def test_any_form_is_decoded_or_a_unicode_error(data, charsets):
    try:
        _, charset = parse_urlencoded(data, charsets)
    except UnicodeError:
        return
    assert charset in charsets


@pytest.mark.parametrize(
    ('name', 'codec'),
    [
        ('UTF-8', 'utf-8'),
        ('utf8', 'utf-8'),
        (' iso-8859-1 ', 'iso8859-1'),
        ('Windows-1252', 'cp1252'),
        ('koi8-u', 'koi8-u'),
        ('Shift_JIS', 'shift_jis'),
        ('', None),
        ('bogus', None),
        ('a\0b', None),
        ('idna', None),
        ('punycode', None),
        ('rot13', None),
        ('hex', None),
        ('base64', None),
        ('unicode_escape', None),
        ('undefined', None),
        ('.utf_8', None),
    ],
)
def test_only_charsets_for_text_are_known(name, codec):
    assert known_charset(name) == codec


@given(st.text())
def test_any_charset_name_is_answered(name):
    known_charset(name)


@pytest.mark.parametrize('piece', ['%', '%41', '%4', '%zz', 'a%C3%A9', '%%41', 'abc'])
@pytest.mark.parametrize('shift', range(4))
def test_long_values_are_unescaped_as_short_ones_are(piece, shift):
    # Longer than what is unescaped at once, so that borders fall on every place of an escape.
    text = 'x' * shift + piece * (40_000 // len(piece))
    assert parse_query_string('a=' + text) == {'a': unquote(text)}
    assert parse_urlencoded(b'a=' + text.encode(), ['utf-8'])[0] == {'a': unquote(text)}
    latin = parse_urlencoded(b'a=\xff' + text.encode(), ['utf-8', 'latin-1'])[0]
    assert latin == {'a': '\xff' + unquote(text, 'latin-1')}
