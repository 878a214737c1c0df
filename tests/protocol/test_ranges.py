"""The Range field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter.protocol.ranges import MAX_RANGES, get_ranges, merge_ranges


@pytest.mark.parametrize(
    ('field', 'expected'),
    [
        ('bytes=0-4', [(0, 5)]),
        ('bytes=3-', [(3, 10)]),
        ('bytes=-3', [(7, 10)]),
        ('bytes=-30', [(0, 10)]),
        ('bytes=0-99', [(0, 10)]),
        ('bytes=9-9', [(9, 10)]),
        ('bytes=4-6,2-5', [(4, 7), (2, 6)]),
        ('bytes=0-0,-1', [(0, 1), (9, 10)]),
        ('bytes= 0 - 4 , 5-6', [(0, 5), (5, 7)]),
        ('bytes=0-4,', [(0, 5)]),
        ('Bytes=0-4', [(0, 5)]),
        ('bytes=100-200,0-3', [(0, 4)]),
        ('bytes=00000000000000000000000000-0004', [(0, 5)]),
    ],
)
def test_ranges_are_given_in_the_order_asked_and_within_the_content(field, expected):
    assert get_ranges(field, 10) == expected


@pytest.mark.parametrize('field', ['bytes=10-', 'bytes=50-60', 'bytes=-0', f'bytes={10**30}-', f'bytes={"9" * 5000}-'])
def test_nothing_satisfiable_is_an_empty_list(field):
    assert get_ranges(field, 10) == []


def test_empty_content_satisfies_no_range():
    assert get_ranges('bytes=0-', 0) == []
    assert get_ranges('bytes=-5', 0) == []


@pytest.mark.parametrize(
    'field',
    [
        None,
        '',
        'bytes',
        'bytes=',
        'bytes=,',
        'bytes=-',
        'bytes=5-3',
        'bytes=50-40',
        'bytes=a-b',
        'bytes=1,2',
        'bytes=--5',
        'bytes=1-2-3',
        'bytes=+1-2',
        'bytes=\u0661-\u0662',
        'items=0-4',
        '=0-4',
        '1,2',
    ],
)
def test_malformed_field_is_ignored(field):
    assert get_ranges(field, 10) is None


def test_ranges_that_ask_for_more_than_the_content_are_ignored():
    assert get_ranges('bytes=0-,0-', 10) is None
    assert get_ranges('bytes=0-4,5-9', 10) == [(0, 5), (5, 10)]


def test_too_many_ranges_are_ignored():
    assert len(get_ranges('bytes=' + ','.join(['0-0'] * MAX_RANGES), 10_000)) == MAX_RANGES
    assert get_ranges('bytes=' + ','.join(['0-0'] * (MAX_RANGES + 1)), 10_000) is None


@given(st.one_of(st.text(), st.from_regex(r'bytes=[-0-9, ]*', fullmatch=True)), st.integers(0, 1000))
def test_any_field_gives_ranges_within_the_content_or_none(field, length):
    ranges = get_ranges(field, length)
    if ranges is not None:
        assert all(0 <= start < stop <= length for start, stop in ranges)
        assert sum(stop - start for start, stop in ranges) <= length


@pytest.mark.parametrize(
    ('ranges', 'merged'),
    [
        ([], []),
        ([(0, 5)], [(0, 5)]),
        ([(4, 6), (0, 2)], [(4, 6), (0, 2)]),
        ([(4, 6), (0, 2), (1, 3)], [(0, 3), (4, 6)]),
        ([(0, 2), (2, 4)], [(0, 4)]),
        ([(0, 9), (3, 5)], [(0, 9)]),
    ],
)
def test_ranges_that_meet_are_joined(ranges, merged):
    assert merge_ranges(ranges) == merged
