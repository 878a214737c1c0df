"""Whatever bytes or text a client sends, each parser gives a value or raises what its docstring names, nothing else."""

from __future__ import annotations

import http.cookies
import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpadapter.core.body import RequestBody
from cpadapter.errors import ClientDisconnected, HTTPError
from cpadapter.protocol.cookies import parse_cookies
from cpadapter.protocol.dates import HTTPDate
from cpadapter.protocol.headers import (
    AcceptElement,
    BadHeaderValue,
    HeaderMap,
    decode_TEXT,
    decode_TEXT_maybe,
    header_elements,
    parse_header,
)
from cpadapter.protocol.messages import host_fault, parse_version
from cpadapter.protocol.multipart import MultipartFault, MultipartFeed, parse_boundary, parse_disposition
from cpadapter.protocol.params import TooManyFields, known_charset, parse_query_string, parse_urlencoded
from cpadapter.protocol.ranges import MAX_RANGES, get_ranges

checked = settings(max_examples=150, deadline=None)


def text_of(*pieces, alphabet=None):
    """Give texts that look like the real thing more often than chance would have it, and others."""
    odd = ['\0', '\r\n', '\t', ' ', '"', '\\', '%', '%zz', '%00', '%ff', 'é', 'ÿ', '\x85', "'", ',', ';', '=']
    made = st.lists(st.sampled_from([*pieces, *odd]), max_size=25).map(''.join)
    return made | st.text(alphabet or st.characters(max_codepoint=255), max_size=60)


ANY_TEXT = text_of('a', '1', '&', '+', '-', '*', '/', ':', '.') | st.text(max_size=60)


# --- queries and forms ---


@checked
@given(
    text_of('a=1', '&', ';', '=', '+', '%C3%A9', '1,2', '%C3') | st.text(max_size=60),
    st.booleans(),
    st.sampled_from(['utf-8', 'latin-1', 'utf-16', 'ascii', 'shift_jis']),
    st.sampled_from(['&', '&;']),
    st.integers(0, 20),
)
def test_a_query_gives_texts_or_a_documented_error(query, blanks, encoding, separators, most):
    try:
        found = parse_query_string(query, blanks, encoding, separators, most)
    except (UnicodeDecodeError, TooManyFields):
        return
    for name, value in found.items():
        assert isinstance(name, str)
        values = value if isinstance(value, list) else [value]
        assert all(isinstance(one, (str, int)) for one in values)
    assert sum(len(value) if isinstance(value, list) else 1 for value in found.values()) <= max(most, 2)


@given(st.text(max_size=20), st.text(max_size=20))
@checked
def test_an_encoding_that_does_not_exist_is_a_lookup_error(name, value):
    with pytest.raises(LookupError):
        parse_query_string(f'{name}=%41&{value}', encoding='no-such-charset')


@checked
@given(
    st.binary(max_size=60) | text_of('a=1', '&', ';', '+', '%C3%A9').map(lambda text: text.encode('latin-1')),
    st.lists(st.sampled_from(['utf-8', 'ascii', 'latin-1', 'utf-16', 'zlib', 'none-such', 'utf-7']), max_size=3),
    st.integers(0, 20),
    st.sampled_from(['&', '&;']),
)
def test_a_form_gives_texts_or_a_documented_error(data, charsets, most, separators):
    try:
        found, charset = parse_urlencoded(data, charsets, most, separators)
    except (UnicodeError, TooManyFields):
        return
    assert charset in charsets
    assert all(isinstance(name, str) for name in found)


@checked
@given(ANY_TEXT)
@example('x' * 10_000)
@example('utf-8\0')
def test_a_charset_is_known_or_not(name):
    codec = known_charset(name)
    if codec is not None:
        assert isinstance(b''.decode(codec), str)


# --- header fields ---


@checked
@given(st.sampled_from(['Accept', 'accept-language', 'TE', 'X-Other', 'Content-Type', '']), ANY_TEXT | st.none())
def test_a_list_field_gives_members_or_a_bad_header_value(name, value):
    try:
        members = header_elements(name, value)
    except BadHeaderValue:
        return
    for member in members:
        assert isinstance(member.value, str)
        assert str(member) or not member.value
        bytes(member), repr(member)


@checked
@given(text_of('a/b', ';q=', '0.5', '1', '*/*', ', ', 'Q=', '1e999', '-1', 'nan', '٣', '1.', '.5'))
def test_a_weight_lies_between_0_and_1_or_is_a_bad_header_value(value):
    try:
        members = header_elements('Accept', value)
        weights = [member.qvalue for member in members if isinstance(member, AcceptElement)]
    except BadHeaderValue:
        return
    assert weights == sorted(weights, reverse=True)
    assert all(0 <= weight <= 1 for weight in weights)


@checked
@given(text_of('text/html', 'charset', 'boundary', '*', "utf-8''", 'b') | st.text(max_size=60))
def test_parameters_are_read_from_any_text(value):
    kind, params = parse_header(value)
    assert isinstance(kind, str)
    assert all(isinstance(text, str) for pair in params.items() for text in pair)


@checked
@given(text_of('=?', '?=', '?q?', '?b?', 'utf-8', '=E2', 'YQ==', '_', '=', '*en') | st.text(max_size=60))
def test_encoded_words_are_decoded_or_left_in_any_text(value):
    assert isinstance(decode_TEXT(value), str)
    assert decode_TEXT_maybe(value) == (decode_TEXT(value) if '=?' in value else value)


@checked
@given(st.lists(text_of('a=b', '; ', '$Path=/', '"', '\\073', '__Host-x') | st.text(max_size=60), max_size=4))
def test_cookies_are_read_or_left_out(fields):
    cookies = parse_cookies(fields)
    assert isinstance(cookies, http.cookies.SimpleCookie)
    for name, morsel in cookies.items():
        assert morsel.key == name
        assert '=' not in name
        assert isinstance(morsel.value, str)
        morsel.OutputString()


@checked
@given(
    text_of('bytes=', '0-', '-5', '1-2', ',', '-', '9' * 30, 'BYTES', '٣-', '+1-2', '0x1-') | st.text(max_size=60),
    st.integers(0, 1000) | st.sampled_from([0, 10**12, 10**30]),
)
def test_ranges_lie_within_the_content_or_are_ignored(field, length):
    ranges = get_ranges(field, length)
    if ranges is None:
        return
    assert len(ranges) <= MAX_RANGES
    assert all(0 <= start < stop <= length for start, stop in ranges)
    assert len(ranges) < 2 or sum(stop - start for start, stop in ranges) <= length


@checked
@given(ANY_TEXT | st.none(), st.sampled_from([(1, 0), (1, 1), (2, 0)]))
def test_a_host_is_fine_or_has_a_fault_to_answer(host, version):
    fault = host_fault(host, version)
    assert fault is None or (fault[0] == 400 and isinstance(fault[1], str))


@checked
@given(text_of('1', '.', 'HTTP/', '0', '2', '٣') | st.none() | st.text(max_size=10))
def test_a_version_is_two_numbers_or_none(text):
    version = parse_version(text)
    assert version is None or (len(version) == 2 and all(isinstance(number, int) for number in version))


@checked
@given(st.floats() | st.integers() | st.none())
def test_a_date_is_made_or_refused_as_documented(second):
    try:
        text = HTTPDate(second)
    except (ValueError, OverflowError):
        return
    assert len(text) == 29
    assert text.endswith(' GMT')
    assert second is None or math.isfinite(second)


# --- multipart ---


def outcome(parse, *args):
    """Give (result, None) or (None, the fault)."""
    try:
        return parse(*args), None
    except (MultipartFault, HTTPError) as fault:
        return None, fault


@checked
@given(ANY_TEXT | st.none())
def test_a_boundary_is_ascii_or_a_fault(value):
    boundary, fault = outcome(parse_boundary, value)
    if fault is None:
        assert 0 < len(boundary) <= 201
        boundary.encode('ascii')
    else:
        assert fault.status == 400


@checked
@given(
    text_of('form-data', '; ', 'name', 'filename', 'filename*', "utf-8''", '%C3%A9', '\\"', '%22')
    | st.text(max_size=60)
)
def test_a_disposition_is_read_or_a_fault(value):
    found, fault = outcome(parse_disposition, value)
    if fault is not None:
        assert fault.status == 400
        return
    kind, params = found
    assert kind == kind.strip().lower()
    for name in ('name', 'filename'):
        assert params.get(name, '').isprintable() or not any(char < ' ' and char != '\t' for char in params[name])


PIECES = [
    b'--b', b'--b\r\n', b'--b--', b'\r\n', b'\r\n--b\r\n', b'\r', b'\n', b'-', b' ', b'\t', b'A: b', b':',
    b'A: b\r\n\r\n',
    b'Content-Disposition: form-data; name="a"\r\n', b'Content-Disposition: form-data; name="f"; filename="x"\r\n',
    b'Content-Type: text/plain; charset=utf-16\r\n', b'Content-Type: multipart/mixed; boundary=i\r\n', b'--i', b'--i--',
    b'_charset_', b'\xff\xfe', b'\0', b'x' * 50,
]  # fmt: skip
BODIES = st.lists(st.sampled_from(PIECES), max_size=20).map(b''.join) | st.binary(max_size=60)


@checked
@given(BODIES, st.lists(st.integers(0, 200), max_size=6), st.integers(1, 60), st.integers(0, 4))
def test_a_multipart_body_gives_parts_or_a_fault_however_it_is_cut(data, cuts, size, count):
    def parse(chunks):
        feed = MultipartFeed('b', size, count)
        parts = []
        open_part = False
        for chunk in chunks:
            for event in feed.feed(chunk):
                assert open_part is not isinstance(event, list)
                if event is None:
                    open_part = False
                elif open_part:
                    assert event
                    parts[-1][1] += event
                else:
                    open_part = True
                    parts.append([event, b''])
        feed.close()
        assert not open_part
        return parts

    def told(chunks):
        parts, fault = outcome(parse, chunks)
        # Of two faults in one body, the cuts say which is seen first.
        assert fault is None or fault.status in (400, 413)
        return parts if fault is None else 'fault'

    marks = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    whole = told([data])
    assert told([data[i : i + 1] for i in range(len(data))]) == whole
    assert told([data[i:j] for i, j in pairwise(marks)]) == whole


class _Stream:
    def __init__(self, data, step):
        self.data, self.step = data, step

    def read(self, size=-1):
        size = self.step if size < 0 else min(size, self.step)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


@checked
@given(
    text_of('multipart/form-data', '; boundary=b', 'application/x-www-form-urlencoded', ';charset=utf-16', 'text/plain')
    | st.sampled_from(['multipart/form-data; boundary=b', 'multipart/mixed; boundary=b', 'multipart/x; boundary=""']),
    text_of('form-data', '; name=a', '; filename*=') | st.none(),
    st.none() | st.integers(0, 300).map(str) | text_of('1', '-1', '+1', '٣', '1_0', '9' * 30),
    BODIES,
    st.integers(1, 40),
    st.sampled_from([None, 0, 10]),
)
def test_a_request_body_is_processed_or_answers(kind, disposition, length, data, step, most):
    headers = HeaderMap()
    headers['Content-Type'] = kind
    if disposition is not None:
        headers['Content-Disposition'] = disposition
    if length is None:
        headers['Transfer-Encoding'] = 'chunked'
    else:
        headers['Content-Length'] = length
    body = RequestBody(_Stream(data, step), headers)
    body.maxbytes = most

    def process():
        body.process()
        if not body.params and not body.parts:
            body.fullvalue()

    try:
        _, error = outcome(process)
    except ClientDisconnected:
        assert length
    else:
        assert error is None or error.code in (400, 411, 413, 415)
    finally:
        body.close()
