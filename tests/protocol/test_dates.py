"""HTTP dates."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter.protocol import dates
from cpadapter.protocol.dates import HTTPDate


def test_date_has_the_fixed_form():
    assert HTTPDate(784111777) == 'Sun, 06 Nov 1994 08:49:37 GMT'
    assert HTTPDate(0) == 'Thu, 01 Jan 1970 00:00:00 GMT'


def test_fraction_is_cut_off():
    assert HTTPDate(784111777.999) == 'Sun, 06 Nov 1994 08:49:37 GMT'


def test_now_is_the_default():
    before = int(time.time())
    text = HTTPDate()
    assert text in [HTTPDate(second) for second in range(before, int(time.time()) + 1)]


def test_one_second_is_formatted_once(monkeypatch):
    monkeypatch.setattr(dates.time, 'time', lambda: 1000.0)
    first = HTTPDate()
    monkeypatch.setattr(dates.time, 'time', lambda: 1000.9)
    assert HTTPDate() is first
    monkeypatch.setattr(dates.time, 'time', lambda: 1001.0)
    assert HTTPDate() == 'Thu, 01 Jan 1970 00:16:41 GMT'


def test_a_clock_that_is_set_back_is_followed(monkeypatch):
    monkeypatch.setattr(dates.time, 'time', lambda: 5000.0)
    HTTPDate()
    monkeypatch.setattr(dates.time, 'time', lambda: 0.0)
    assert HTTPDate() == 'Thu, 01 Jan 1970 00:00:00 GMT'


@pytest.mark.parametrize(('seconds', 'year'), [(-11644473600, 'Mon, 01 Jan 1601'), (253402300799, 'Fri, 31 Dec 9999')])
def test_far_years_have_four_digits(seconds, year):
    assert HTTPDate(seconds).startswith(year)


@given(st.integers(0, 253402300799))
def test_date_is_what_the_standard_library_makes(seconds):
    assert HTTPDate(seconds) == formatdate(seconds, usegmt=True)


@given(st.floats())
def test_any_time_gives_a_date_or_the_documented_errors(seconds):
    try:
        assert HTTPDate(seconds).endswith(' GMT')
    except (ValueError, OverflowError):
        pass
