"""The multipart feed and the values around it, without any request."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpadapter.protocol.multipart import (
    MultipartFault,
    MultipartFeed,
    decode_header_bytes,
    parse_boundary,
    parse_disposition,
)

VALID = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\ny\r\n'
    b'--b\r\nContent-Type: text/plain\r\nX-Folded: one\r\n two\r\n\r\n\r\n--b--\r\nepilogue'
)


def events(chunks, **limits):
    """Give the parts as (headers, content), or the status of the fault."""
    feed = MultipartFeed('b', **limits)
    parts = []
    try:
        for chunk in chunks:
            for event in feed.feed(chunk):
                if isinstance(event, list):
                    parts.append((event, []))
                elif event is not None:
                    parts[-1][1].append(event)
        feed.close()
    except MultipartFault as exc:
        return exc.status
    return [(headers, b''.join(content)) for headers, content in parts]


def by_bytes(data):
    return [data[i : i + 1] for i in range(len(data))]


# --- boundary ---


@pytest.mark.parametrize(
    'value', ['b', '"quoted"', 'with space x', "'()+_,-./:=?", 'x' * 201, '----WebKitFormBoundary7MA4']
)
def test_a_boundary_of_printable_characters_is_taken(value):
    assert parse_boundary(value) == value.strip('"')


@pytest.mark.parametrize(
    'value', [None, '', '""', 'ends in space ', 'x' * 202, 'x' * 300, 'b\r\n', 'b\n', 'é', 'a\x00b']
)
def test_any_other_boundary_is_a_fault(value):
    with pytest.raises(MultipartFault, match='Invalid boundary') as caught:
        parse_boundary(value)
    assert caught.value.status == 400


# --- Content-Disposition ---


@pytest.mark.parametrize(
    ('value', 'params'),
    [
        ('form-data', {}),
        ('form-data; name=a', {'name': 'a'}),
        ('form-data; name="a"; filename="foo, bar.csv"', {'name': 'a', 'filename': 'foo, bar.csv'}),
        ('form-data; name="a"; filename="file;name.csv"', {'name': 'a', 'filename': 'file;name.csv'}),
        ('form-data; name="a"; filename="file; name.csv"', {'name': 'a', 'filename': 'file; name.csv'}),
        (r'form-data; name="a"; filename="file\"name.csv"', {'name': 'a', 'filename': 'file"name.csv'}),
        ('form-data; name="a"; filename="file%22name.csv"', {'name': 'a', 'filename': 'file"name.csv'}),
        (r'form-data; name="a"; filename="C:\dir\a%22b"', {'name': 'a', 'filename': 'C:\\dir\\a"b'}),
        (r'form-data; name="a"; filename="a\"b%22c"', {'name': 'a', 'filename': 'a"b%22c'}),
        (r'form-data; name="a"; filename="back\\slash"', {'name': 'a', 'filename': 'back\\slash'}),
        (r'form-data; name="a"; filename="C:\temp\new.txt"', {'name': 'a', 'filename': r'C:\temp\new.txt'}),
        ('form-data; NAME = "a" ; filename=""', {'name': 'a', 'filename': ''}),
        ('form-data; name="a";', {'name': 'a'}),
        ('form-data; junk; name="a"', {'name': 'a'}),
        ('form-data; name="never closed; filename=x', {'name': 'never closed; filename=x'}),
        ('form-data; name="a"b"; filename="c"d.txt"', {'name': 'a"b', 'filename': 'c"d.txt'}),
        ('form-data; name="a""; filename=""', {'name': 'a"', 'filename': ''}),
        ('form-data; name="a"b', {'name': 'a'}),
        ('form-data; name="a" junk; filename=x', {'name': 'a', 'filename': 'x'}),
        ("form-data; filename=x; filename*=utf-8''test_%C5%82%C3%B3%C4%85%C3%A4.txt", {'filename': 'test_łóąä.txt'}),
        ("form-data; filename*=ISO-8859-1'en'%A3.txt", {'filename': '£.txt'}),
    ],
)
def test_disposition_parameters_round_trip(value, params):
    kind, found = parse_disposition(value)
    found.pop('filename*', None)
    assert (kind, found) == ('form-data', params)


@pytest.mark.parametrize(
    'value',
    [
        'form-data; filename*=x',
        "form-data; filename*=utf-8'x",
        "form-data; filename*=nonsense''x",
        "form-data; filename*=''x",
        "form-data; filename*=utf-8''%zz",
        "form-data; filename*=utf-8''%",
        "form-data; filename*=utf-8''%ff",
        "form-data; filename*=idna''xn--a",
        "form-data; filename*=utf-8''é",
        "form-data; filename*=utf-8''a%00b",
        "form-data; filename*=utf-8''a%0D%0Ab",
        'form-data; name="a\x01"',
        'form-data; name=a; name=b',
    ],
)
def test_a_malformed_disposition_is_a_fault(value):
    with pytest.raises(MultipartFault) as caught:
        parse_disposition(value)
    assert caught.value.status == 400


@given(st.text(max_size=200))
def test_no_disposition_raises_anything_else(value):
    try:
        parse_disposition('form-data; ' + value)
    except MultipartFault:
        pass


@pytest.mark.parametrize('piece', ['"', '\\', '\\"', ';', '=', ';=', ';a=', '; ', ' ', '="', ';a="\\', ',', '%', '%22'])
def test_a_hostile_disposition_is_read_in_one_pass(piece):
    # Quadratic work on 200 kB would take minutes.
    for value in (piece * 200_000, 'form-data; name="' + piece * 200_000):
        try:
            parse_disposition(value[:200_000])
        except MultipartFault:
            pass


def test_header_bytes_are_utf8_first():
    assert decode_header_bytes('ł'.encode()) == 'ł'
    assert decode_header_bytes(b'\xe9') == 'é'


# --- the feed ---


def test_parts_come_with_headers_and_content():
    assert events([VALID]) == [
        ([('Content-Disposition', 'form-data; name="a"')], b'x\r\ny'),
        ([('Content-Type', 'text/plain'), ('X-Folded', 'one two')], b''),
    ]


def test_any_cut_gives_the_same_events():
    whole = events([VALID])
    assert events(by_bytes(VALID)) == whole
    rng = random.Random(4)
    for _ in range(50):
        cuts = sorted(rng.sample(range(len(VALID)), 6))
        assert events([VALID[i:j] for i, j in zip([0, *cuts], [*cuts, len(VALID)], strict=True)]) == whole


def test_every_prefix_is_a_fault_except_the_empty_one():
    end = VALID.index(b'--b--') + len(b'--b--')
    assert events([]) == []
    for i in range(1, end):
        assert events([VALID[:i]]) == 400, VALID[:i]
        assert events(by_bytes(VALID[:i])) == 400, VALID[:i]
    assert events([VALID[:end]]) == events([VALID])


@pytest.mark.parametrize(
    'preamble',
    [b'\r\n', b'ignore me\r\n', b'--\r\nx\r\n', b'\r\n\r\n--\r\n', b'a' * 500 + b'\r\n'],
)
def test_a_preamble_is_skipped(preamble):
    assert events([preamble + VALID]) == events([VALID]) == events(by_bytes(preamble + VALID))


def test_a_boundary_inside_a_preamble_line_is_none():
    data = b'xxxxxxxxxx' + VALID[: VALID.index(b'\r\n--b')] + b'\r\n--b--'
    assert events([data]) == events(by_bytes(data)) == []


def test_near_boundaries_are_content():
    content = b'\r\n--\r\n--a\r\n-b--\n--b\r\r\n--'
    data = b'--b\r\nA: b\r\n\r\n' + content + b'\r\n--b--'
    assert events([data]) == events(by_bytes(data)) == [([('A', 'b')], content)]


@pytest.mark.parametrize(
    'data',
    [
        b'--b\nA: b\n\nx\n--b--\n',
        b'--b\r\nA: b\n\nx\r\n--b--\r\n',
        b'--b\r\nA: b\nC: d\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nno colon\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\n: no name\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nbad name: v\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\n folded first\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nA: b\x00c\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nA: b\rc\r\n\r\nx\r\n--b--\r\n',
        b'--bX\r\nA: b\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nA: b\r\n\r\nx\r\n--bX',
        b'--b\r\nA: b\r\n\r\nx',
        b'nothing like multipart',
        b'--b',
        b'--b\r\n',
        b'--b x\r\nA: b\r\n\r\nx\r\n--b--\r\n',
        b'--b -\r\n',
        b'--b \r\nA: b\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nA: b\r\n\r\nx\r\n--b \r\n\r\ny\r\n--b--\r\n',
        b'--b\r\nA: b\r\n\r\n--bX\r\n\r\n--b--\r\n',
        b'--b\r\nA: b\r\n \r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nA: b\r\n--b--\r\n',
    ],
)
def test_broken_bodies_are_faults_however_they_are_cut(data):
    assert events([data]) == events(by_bytes(data)) == 400


@pytest.mark.parametrize(
    ('data', 'parts'),
    [
        # SPEC: RFC 2046 5.1.1: the line break before the boundary is the boundary's, so it may end the headers.
        (b'--b\r\nA: b\r\n\r\n--b\r\nC: d\r\n\r\nx\r\n--b--', [([('A', 'b')], b''), ([('C', 'd')], b'x')]),
        (b'--b\r\n\r\n--b--', [([], b'')]),
        (b'--b\r\n\r\n\r\n--b--', [([], b'')]),
        (b'--b\r\nA: b\r\n\r\n\r\n--b--', [([('A', 'b')], b'')]),
        (b'--b\r\nA: b\r\n\r\n\r\n\r\n--b--', [([('A', 'b')], b'\r\n')]),
        (b'--b\r\n\r\nx\r\n--b--  \r\n', [([], b'x')]),
        (b'--b\r\nContent-Length: 3\r\n\r\nx\r\n--b--', [([('Content-Length', '3')], b'x')]),
        (b'--b\r\nA : b\r\n\tc\r\n\r\nx\r\n--b--', [([('A', 'b c')], b'x')]),
        (b'--b--', []),
        (b'--b--anything', []),
    ],
)
def test_the_letter_of_the_rfc_is_followed(data, parts):
    assert events([data]) == events(by_bytes(data)) == parts


def test_header_limits_hold_for_one_line_and_for_the_whole_section():
    def body(*lines):
        return b'--b\r\n' + b'\r\n'.join(lines) + b'\r\n\r\nx\r\n--b--'

    fits = b'A: ' + b'x' * 97
    for cut in (lambda data: [data], by_bytes):
        assert events(cut(body(fits)), max_header_size=100) == [([('A', 'x' * 97)], b'x')]
        assert events(cut(body(fits + b'x')), max_header_size=100) == 413
        assert events(cut(body(b'A: ' + b'x' * 60, b'B: ' + b'x' * 60)), max_header_size=100) == 413
        assert events(cut(body(*[b'A: b'] * 50))) != 413
        assert events(cut(body(*[b'A: b'] * 51))) == 413
        # Folded lines count: joining them costs as much as new ones.
        assert events(cut(body(b'A: b', *[b' x'] * 50))) == 413
        assert events(cut(b'--b\r\nA: ' + b'x' * 9000)) == 413


def test_headers_limits_begin_anew_with_each_part():
    part = b'--b\r\nA: ' + b'x' * 80 + b'\r\n\r\nx\r\n'
    assert len(events([part * 5 + b'--b--'], max_header_size=100)) == 5


def test_part_headers_are_utf8_or_latin_1():
    data = b'--b\r\nA: \xc5\x82\r\nB: \xe9\r\n\r\n\r\n--b--'
    assert events([data]) == events(by_bytes(data)) == [([('A', 'ł'), ('B', 'é')], b'')]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [b'--b', b'--', b'\r\n', b'\r', b'\n', b'A: b', b':', b'--b--', b' ', b'x', b'--b\r\nA: b\r\n\r\n', b'\xff']
        )
    ).map(b''.join),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_cutting_never_changes_the_outcome(data, cuts):
    whole = events([data])
    assert events(by_bytes(data)) == whole
    marks = sorted({min(cut, len(data)) for cut in cuts})
    assert events([data[i:j] for i, j in zip([0, *marks], [*marks, len(data)], strict=True)]) == whole
