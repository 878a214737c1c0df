"""Statuses as applications give them."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter.protocol.status import response_codes, status_line, valid_status

OK = (200, 'OK', 'Request fulfilled, document follows')


@pytest.mark.parametrize(
    ('status', 'expected'),
    [
        (None, OK),
        ('', OK),
        (0, OK),
        (b'', OK),
        (200, OK),
        (HTTPStatus.OK, OK),
        (200.9, OK),
        ('200', OK),
        ('200 ', OK),
        (b'404', (404, 'Not Found', 'Nothing matches the given URI')),
        ('201 Made by hand', (201, 'Made by hand', 'Document created, URL follows')),
        ("410 Gone fishin'", (410, "Gone fishin'", 'URI no longer exists and has been permanently removed')),
        ('431 My custom error', (431, 'My custom error', response_codes[431][1])),
        (298, (298, '', '')),
        (100, (100, 'Continue', 'Request received, please continue')),
        (599, (599, '', '')),
    ],
)
def test_status_is_read_in_every_accepted_form(status, expected):
    assert valid_status(status) == expected
    assert type(valid_status(status)[0]) is int


@pytest.mark.parametrize(
    ('status', 'shown'),
    [
        ('error', "'error'"),
        (b'404 X', "b'404 X'"),
        ('  200 x', "''"),
        ('200\tx', r"'200\tx'"),
        ('2_00', "'2_00'"),
        ('٢٠٠', "'٢٠٠'"),
        ('9' * 5000, repr('9' * 5000)),
        (float('nan'), 'nan'),
        (float('inf'), 'inf'),
        (object, "<class 'object'>"),
        ([200], '[200]'),
    ],
)
def test_status_that_is_no_number_is_refused(status, shown):
    with pytest.raises(ValueError) as caught:
        valid_status(status)
    assert str(caught.value) == f'Illegal response status from server ({shown} is non-numeric).'


@pytest.mark.parametrize(('status', 'code'), [(781, 781), ('99', 99), (-200, -200), ('-2', -2), (True, 1), (600, 600)])
def test_status_out_of_range_is_refused(status, code):
    with pytest.raises(ValueError) as caught:
        valid_status(status)
    assert str(caught.value) == f'Illegal response status from server ({code} is out of range).'


@pytest.mark.parametrize('char', ['\r', '\n', '\0', '\t', '\x7f', '\x85', '\u2028'])
def test_control_characters_are_left_out_of_a_reason(char):
    assert valid_status(f'200 fine{char}Set-Cookie: a=b') == (200, 'fineSet-Cookie: a=b', OK[2])


def test_reason_of_control_characters_only_falls_back_to_the_table():
    assert valid_status('404 \r\n')[1] == 'Not Found'


def test_status_line_keeps_the_space_before_an_empty_reason():
    assert status_line(200) == '200 OK'
    assert status_line(298) == '298 '


@pytest.mark.parametrize(
    ('code', 'reason'),
    [
        (413, 'Request Entity Too Large'),
        (414, 'Request-URI Too Long'),
        (416, 'Requested Range Not Satisfiable'),
        (422, 'Unprocessable Entity'),
    ],
)
def test_reasons_do_not_follow_the_python_version(code, reason):
    assert response_codes[code][0] == reason


@given(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.binary(max_size=8), st.from_regex(r'\d{3} .*')))
def test_any_status_is_read_or_a_value_error(status):
    try:
        code, reason, _ = valid_status(status)
    except ValueError:
        return
    assert 100 <= code <= 599
    assert '\r' not in reason
    assert '\n' not in reason
