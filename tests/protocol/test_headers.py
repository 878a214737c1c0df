"""Header values, elements and maps."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter.protocol.headers import (
    MAX_ELEMENTS,
    RE_HEADER_SPLIT,
    AcceptElement,
    BadHeaderValue,
    CaseInsensitiveDict,
    HeaderElement,
    HeaderMap,
    Host,
    SanitizedHost,
    decode_TEXT,
    decode_TEXT_maybe,
    header_elements,
    parse_header,
    q_separator,
)

# --- parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('', ('', {})),
        ('a', ('a', {})),
        ('a;', ('a', {})),
        ('a; b', ('a', {})),
        (' a ; B = c ', ('a', {'b': 'c'})),
        ('a;b=', ('a', {'b': ''})),
        ('a;b=1;b=2', ('a', {'b': '2'})),
        (';x=1', ('', {'x': '1'})),
        (r'form-data; name="a\"b;c"; filename=x', ('form-data', {'name': 'a"b;c', 'filename': 'x'})),
        (r'a; b="C:\dir\file"', ('a', {'b': r'C:\dir\file'})),
        (r'a; b="c\\"; d="\\\""', ('a', {'b': 'c\\', 'd': '\\"'})),
        ('a; b="open; c=d', ('a', {'b': '"open; c=d'})),
        ('a; b="', ('a', {'b': '"'})),
        ('a; b=""', ('a', {'b': ''})),
        ('a;b="x"y', ('a', {'b': '"x"y'})),
        (r'a\"; b="c;d"', ('a\\"; b="c', {})),
        ('a; filename="foo, bar.csv"', ('a', {'filename': 'foo, bar.csv'})),
    ],
)
def test_parameters_are_read(line, expected):
    assert parse_header(line) == expected


def naive_split(text: str, separator: str) -> list[str]:
    parts = ['']
    quoted = escaped = False
    for char in text:
        if char == separator and not quoted:
            parts.append('')
            continue
        parts[-1] += char
        if escaped:
            escaped = False
        elif quoted and char == '\\':
            escaped = True
        elif char == '"':
            quoted = not quoted
    return parts


@given(st.text('a,"\\', max_size=24))
def test_splitting_follows_quotes_and_escapes(text):
    assert RE_HEADER_SPLIT.split(text) == naive_split(text, ',')


@given(st.text())
def test_any_line_has_a_value_and_parameters(line):
    value, params = parse_header(line)
    assert isinstance(value, str)
    assert all(name == name.lower() for name in params)


# --- elements -------------------------------------------------------------------------------------------------


def texts(name: str, value: str | None) -> list[str]:
    return [str(element) for element in header_elements(name, value)]


def test_members_keep_their_order():
    assert texts('X-Forwarded-For', 'c, a, b') == ['c', 'a', 'b']
    assert texts('Connection', 'close') == ['close']


@pytest.mark.parametrize('name', ['Accept', 'accept', 'Accept-Language', 'TE', 'te', 'Te'])
def test_members_of_accept_fields_come_best_first(name):
    assert texts(name, 'a;q=0.3, b, c;q=0.7') == ['b', 'c;q=0.7', 'a;q=0.3']


def test_more_specific_media_ranges_come_first_where_weights_are_equal():
    value = 'text/*, text/html, text/html;level=1, */*'
    assert texts('Accept', value) == ['text/html;level=1', 'text/html', 'text/*', '*/*']


@pytest.mark.parametrize('value', [None, ''])
def test_absent_field_has_no_members(value):
    assert header_elements('Accept', value) == []


def test_empty_members_are_kept():
    assert [element.value for element in header_elements('X', 'a,,b,')] == ['a', '', 'b', '']
    assert texts('Accept', 'b,') == ['b', '']


def test_commas_in_quotes_do_not_split():
    assert [element.params for element in header_elements('X', r'a;b="c,\",d", e;f=g')] == [{'b': 'c,",d'}, {'f': 'g'}]


@pytest.mark.parametrize(
    ('text', 'weight'),
    [
        ('a', 1.0),
        ('a;q=0.5', 0.5),
        ('a; q = 0.4', 0.4),
        ('a;Q=0.4', 0.4),
        ('a;q=0.5;ext=1', 0.5),
        ('a;q=0.5;q=0.7', 0.5),
        ('a;q="0.5"', 0.5),
        ('a;q=1.', 1.0),
        ('a;q=.5', 0.5),
        ('a;q=7', 1.0),
        ('a;x=";q=0.1"', 1.0),
        ('', 1.0),
    ],
)
def test_weight_is_read(text, weight):
    assert AcceptElement.from_str(text).qvalue == weight


@pytest.mark.parametrize('q', ['', 'abc', '-1', '1e999', 'nan', 'inf', '\u0660.\u0665', '0x1', '9' * 5000, '0.5 x'])
def test_weight_that_is_no_number_is_a_bad_request(q):
    element = AcceptElement.from_str(f'a;q={q}')
    with pytest.raises(BadHeaderValue) as caught:
        _ = element.qvalue
    assert caught.value.status == 400
    assert str(caught.value) == f'Malformed HTTP header: `a;q={q}`'
    with pytest.raises(BadHeaderValue):
        header_elements('Accept', f'a;q={q}, b')
    assert len(header_elements('Accept', f'a;q={q}')) == 1


def test_parameters_after_the_weight_belong_to_it():
    element = AcceptElement.from_str('text/html;level=1;q=0.3;ext=2')
    assert (element.value, element.params['level'], str(element)) == ('text/html', '1', 'text/html;level=1;q=0.3;ext=2')
    assert element.params['q'].params == {'ext': '2'}


def test_accept_elements_compare_by_weight_then_text():
    low, high, text = (AcceptElement.from_str(item) for item in ('a;q=0.1', 'b;q=0.2', 'c;q=0.2'))
    assert low < high < text


def test_element_has_text_bytes_and_order():
    element = HeaderElement.from_str('a;b=c; d="x;y"')
    assert str(element) == 'a;b=c;d=x;y'
    assert bytes(element) == b'a;b=c;d=x;y'
    assert repr(element) == "<HeaderElement 'a;b=c;d=x;y'>"
    assert HeaderElement('a') < HeaderElement('b')
    assert HeaderElement('a').params == {}


def test_number_of_members_is_limited():
    assert len(header_elements('X', ',' * (MAX_ELEMENTS - 1))) == MAX_ELEMENTS
    with pytest.raises(BadHeaderValue):
        header_elements('X', ',' * MAX_ELEMENTS)


@given(st.sampled_from(['Accept', 'X']), st.one_of(st.text(), st.text('a,;"\\q=0.1 ')))
def test_any_field_has_members_or_is_a_bad_request(name, value):
    try:
        header_elements(name, value)
    except BadHeaderValue:
        assert name == 'Accept'


@pytest.mark.parametrize('unit', [',', ';', '"', '\\', '"\\', 'a;q=1,', 'a;b="', '\\"', ';q=', '=?', '=?a?q?', ' '])
def test_hostile_fields_are_read_or_refused(unit):
    value = unit * (65536 // len(unit))
    for read in (parse_header, decode_TEXT, q_separator.split, lambda text: header_elements('Accept', text)):
        try:
            read(value)
        except BadHeaderValue:
            pass


# --- encoded words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('plain', 'plain'),
        ('=?utf-8?q?=E2=84=ABngstr=C3=B6m?=', '\u212bngstr\xf6m'),
        ('=?utf-8?b?4oSrbmdzdHLDtm0=?=', '\u212bngstr\xf6m'),
        ('=?utf-8?b?4oSrbmdzdHLDtm0?=', '\u212bngstr\xf6m'),
        ('=?UTF-8*en?Q?a_b?=', 'a b'),
        ('abc =?utf-8?q?=C3=A9?= d', 'abc é d'),
        ('=?iso-8859-1?q?=E9?= =?iso-8859-1?q?=E8?=', 'éè'),
        ('=?iso-8859-1?q?=E9?= =?utf-8?q?=C3=A8?=', 'éè'),
        ('=?utf-8?q?=C3?= =?utf-8?q?=A9?=', 'é'),
        ('=?utf-8?q?a?= b =?utf-8?q?c?=', 'a b c'),
        ('=?no-such?q?abc?=', '=?no-such?q?abc?='),
        ('=?idna?q?abc?=', '=?idna?q?abc?='),
        ('=?utf-8?q?=E9?=', '=?utf-8?q?=E9?='),
        ('=?utf-8?q?=E9?= =?iso-8859-1?q?=E9?=', '=?utf-8?q?=E9?=é'),
        ('=?utf-8?b?a?=', '=?utf-8?b?a?='),
        ('=?utf-8?q?\xe9?=', '=?utf-8?q?\xe9?='),
        ('=?utf-8?x?abc?=', '=?utf-8?x?abc?='),
        ('=?', '=?'),
    ],
)
def test_encoded_words_are_decoded_leniently(value, expected):
    assert decode_TEXT(value) == expected
    assert decode_TEXT_maybe(value) == expected


@given(st.one_of(st.text(), st.text('=?utf-8qbQB_ \r\n')))
def test_any_text_is_decoded(value):
    assert isinstance(decode_TEXT(value), str)


# --- maps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('spelling', ['Content-Type', 'content-type', 'CONTENT-TYPE', 'cOnTeNt-tYpE', b'content-type'])
def test_key_is_found_in_any_spelling(spelling):
    headers = HeaderMap({'content-type': 'a'})
    assert headers[spelling] == 'a'
    assert headers.get(spelling) == 'a'
    assert spelling in headers
    assert headers.setdefault(spelling, 'b') == 'a'
    headers[spelling] = 'c'
    assert list(headers.items()) == [('Content-Type', 'c')]
    assert headers.pop(spelling) == 'c'
    headers[spelling] = 'd'
    del headers[spelling]
    assert not headers


def test_absent_key_is_reported_by_its_kept_spelling():
    headers = HeaderMap()
    with pytest.raises(KeyError, match='Content-Type'):
        headers['content-type']
    with pytest.raises(KeyError):
        headers.pop('content-type')
    with pytest.raises(KeyError):
        del headers['content-type']
    assert headers.get('content-type') is None
    assert headers.get('content-type', 1) == 1
    assert headers.pop('content-type', 2) == 2
    assert 'content-type' not in headers


def test_key_that_is_no_text_is_taken_by_its_text():
    headers = CaseInsensitiveDict({None: 1, 5: 2})
    assert headers == {'None': 1, '5': 2}
    assert headers[None] == 1
    assert headers.get(5) == 2


@pytest.mark.parametrize(
    'make',
    [
        lambda: HeaderMap({'etag': 1}),
        lambda: HeaderMap([('ETAG', 1)]),
        lambda: HeaderMap(etag=1),
        lambda: HeaderMap({'etag': 1}).copy(),
        lambda: copy.copy(HeaderMap({'etag': 1})),
        lambda: copy.deepcopy(HeaderMap({'etag': 1})),
        lambda: pickle.loads(pickle.dumps(HeaderMap({'etag': 1}))),
        lambda: HeaderMap() | {'etag': 1},
        lambda: {'etag': 1} | HeaderMap(),
        lambda: HeaderMap.fromkeys(['etag'], 1),
    ],
)
def test_keys_are_normalised_however_a_map_is_made(make):
    headers = make()
    assert type(headers) is HeaderMap
    assert list(headers.items()) == [('Etag', 1)]


def test_update_normalises_keys():
    headers = HeaderMap({'Etag': 1})
    headers.update({'ETAG': 2})
    headers.update([('eTag', 3)], vary='x')
    headers |= {'VARY': 'y'}
    assert headers == {'Etag': 3, 'Vary': 'y'}
    with pytest.raises(TypeError):
        headers.update({}, {})


def test_union_with_what_is_no_mapping_is_refused():
    with pytest.raises(TypeError):
        HeaderMap() | 1
    with pytest.raises(TypeError):
        1 | HeaderMap()


def test_later_operand_of_a_union_wins():
    assert (HeaderMap(a=1) | {'A': 2}) == {'A': 2}
    assert ({'a': 1} | HeaderMap(A=2)) == {'A': 2}


def test_subclass_may_normalise_otherwise():
    class Upper(HeaderMap):
        @staticmethod
        def transform_key(key):
            return str(key).upper()

    headers = Upper({'etag': 1})
    assert (headers['Etag'], list(headers)) == (1, ['ETAG'])


def test_elements_and_values_of_a_field():
    headers = HeaderMap({'Accept': 'a;q=0.5, b', 'Content-Length': 5, 'X': b'c, d'})
    assert [str(element) for element in headers.elements('accept')] == ['b', 'a;q=0.5']
    assert headers.values('accept') == ['b', 'a']
    assert headers.values('content-length') == ['5']
    assert headers.values('x') == ['c', 'd']
    assert headers.elements('Nope') == []
    assert list(headers.values()) == ['a;q=0.5, b', 5, b'c, d']


# --- output ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('plain', b'plain'),
        ('', b''),
        ('a\tb', b'a\tb'),
        (18, b'18'),
        (None, b'None'),
        (b'bytes \xff', b'bytes \xff'),
        ('é', b'\xe9'),
        ('\u212bngstr\xf6m', b'=?utf-8?b?4oSrbmdzdHLDtm0=?='),
        ('a\x85b', b'=?utf-8?b?YcKFYg==?='),
        ('a\u2028b', b'=?utf-8?b?YeKAqGI=?='),
        ('a\ud800', b'=?utf-8?b?YT8=?='),
    ],
)
def test_values_are_encoded(value, expected):
    assert HeaderMap({'bytes-header': value}).output() == [(b'Bytes-Header', expected)]
    assert HeaderMap.encode_header_item(value) == expected
    assert HeaderMap().encode_text(value) == expected.decode('latin-1')
    assert HeaderMap().output_text('X', value) == ('X', expected.decode('latin-1'))


CONTROLS = [chr(code) for code in range(32) if code != 9] + ['\x7f']


@pytest.mark.parametrize('char', CONTROLS)
@pytest.mark.parametrize('make', [str, str.encode, lambda text: text + 'ℵ'])
def test_control_character_in_a_value_is_refused(char, make):
    with pytest.raises(ValueError, match='Illegal control character in response header X'):
        HeaderMap({'X': make(f'a{char}b')}).output()
    with pytest.raises(ValueError, match='Illegal control character'):
        HeaderMap.encode_header_item(make(f'a{char}b'))


@pytest.mark.parametrize('char', [*CONTROLS, '\t'])
def test_control_character_in_a_name_is_refused(char):
    with pytest.raises(ValueError, match='Illegal control character in response header name'):
        HeaderMap({f'X{char}y': 'a'}).output()


@pytest.mark.parametrize('name', ['', 'a b', 'a:b', 'é', 'a\x85', 'a\u2028', 'a"b'])
def test_name_that_is_no_token_is_refused(name):
    with pytest.raises(ValueError, match='Illegal response header name'):
        HeaderMap({name: 'a'}).output()


def test_order_of_setting_is_kept():
    headers = HeaderMap({'b': 1, 'a': 2})
    headers['c-d'] = 3
    assert headers.output() == [(b'B', b'1'), (b'A', b'2'), (b'C-D', b'3')]


@pytest.mark.parametrize('name', ['Location', 'content-location'])
def test_uri_in_a_field_for_one_is_percent_encoded(name):
    assert HeaderMap({name: 'http://h/é ℵ%20'}).output()[0][1] == b'http://h/%C3%A9%20%E2%84%B5%20'
    with pytest.raises(ValueError, match='Illegal control character'):
        HeaderMap({name: '/é\r\nX: y'}).output()


def test_encodings_and_encoded_words_can_be_set_on_one_map_or_the_class():
    headers = HeaderMap({'X': 'ℵ'})
    headers.encodings = ['utf-8']
    assert headers.output() == [(b'X', 'ℵ'.encode())]
    assert HeaderMap({'X': 'ℵ'}).output() == [(b'X', b'=?utf-8?b?4oS1?=')]

    class Plain(HeaderMap):
        use_rfc_2047 = False

    with pytest.raises(ValueError, match=r"part 'ℵ' using any of the encodings \['ISO-8859-1'\]"):
        Plain({'X': 'ℵ'}).output()
    with pytest.raises(ValueError, match='Could not encode'):
        Plain.encode('ℵ')


def test_http_1_0_client_gets_encoded_words_too():
    headers = HeaderMap({'X': 'ℵ'})
    headers.protocol = (1, 0)
    assert headers.output() == [(b'X', b'=?utf-8?b?4oS1?=')]


def test_pairs_are_encoded_on_the_class():
    assert HeaderMap.encode_header_items([(b'A', 'b'), ('C', 1)]) == [(b'A', b'b'), (b'C', b'1')]


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.binary(), st.integers())))
def test_output_never_holds_a_control_character(items):
    try:
        output = HeaderMap(items).output()
    except ValueError:
        return
    for name, value in output:
        assert not any((byte < 32 and byte != 9) or byte == 127 for byte in name + value)


# --- hosts ----------------------------------------------------------------------------------------------------


def test_host_without_a_name_is_named_by_its_ip():
    host = Host('1.2.3.4', 80)
    assert (host.ip, host.port, host.name) == ('1.2.3.4', 80, '1.2.3.4')
    assert repr(Host('1.2.3.4', 80, 'n')) == "httputil.Host('1.2.3.4', 80, 'n')"
    assert Host('', -1, '').name == ''
    assert (Host.ip, Host.port, Host.name) == ('0.0.0.0', 80, 'unknown.tld')


def test_sanitized_host_keeps_what_it_was_made_from():
    host = SanitizedHost('a\r\nb')
    assert host == 'ab'
    assert host.raw == 'a\r\nb'


def test_clean_host_is_a_plain_str():
    assert type(SanitizedHost('ab')) is str
