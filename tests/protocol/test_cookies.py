"""Cookie fields as morsels."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpadapter.protocol.cookies import parse_cookies


def read(*fields):
    return {name: morsel.value for name, morsel in parse_cookies(fields).items()}


@pytest.mark.parametrize(
    ('field', 'cookies'),
    [
        ('a=1', {'a': '1'}),
        ('a=1; b=2', {'a': '1', 'b': '2'}),
        ('a=1;b=2;', {'a': '1', 'b': '2'}),
        (' a = 1 ; b=', {'a': '1', 'b': ''}),
        ('a=b=c', {'a': 'b=c'}),
        ('a="b c"; d=e', {'a': 'b c', 'd': 'e'}),
        ('a="x;y"; d=e', {'a': 'x;y', 'd': 'e'}),
        (r'a="\"\\\073\101\x"', {'a': '"\\;Ax'}),
        ('a="', {'a': '"'}),
        ('a=""', {'a': ''}),
        ('$Version=1; a=1; $Path=/', {'a': '1'}),
        ('a', {}),
        ('=1; a=2', {'a': '2'}),
        ('=__Host-x; a=2', {'a': '2'}),
        ('bad name=1; a=2; b,c=3', {'a': '2'}),
        ('expires=1; a=2', {'a': '2'}),
        ('', {}),
        (';;; ; ', {}),
    ],
)
def test_a_field_is_read(field, cookies):
    assert read(field) == cookies


def test_of_one_name_the_last_counts():
    assert read('a=1; a=2', 'a=3; b=4') == {'a': '3', 'b': '4'}


def test_what_was_sent_is_kept_as_it_was_coded():
    morsel = parse_cookies([r'a="\101"'])['a']
    assert (morsel.value, morsel.coded_value) == ('A', r'"\101"')


def test_pairs_beyond_the_first_1000_are_left_out():
    cookies = read('; '.join(f'c{number}={number}' for number in range(100_000)))
    assert len(cookies) == 1000
    assert cookies['c999'] == '999'


@settings(max_examples=150, deadline=None)
@given(st.text('"\\01a7é;\n', max_size=12))
def test_values_are_unquoted_as_simple_cookie_does(value):
    real, coded = SimpleCookie().value_decode(f'"{value}"')
    found = parse_cookies([f'a="{value}"'])
    if 'a' in found and found['a'].coded_value == coded:
        assert found['a'].value == real


@pytest.mark.parametrize('piece', ['\\', '\\"', '"\\', '\\0', '\\07', '\\101', '"', ';', '=', 'a=;', '; a="', ' '])
def test_a_hostile_field_is_read_in_one_pass(piece):
    # Quadratic work on 200 kB would take minutes.
    for field in (piece * 200_000, 'a="' + piece * 200_000, f'a="{piece * 200_000}"'):
        parse_cookies([field[:200_000] + field[-1]])
