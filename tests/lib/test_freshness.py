"""RFC 9111 as functions of header values: what may be stored, for how long, what a request accepts, what has to go."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpadapter
from cpadapter.lib.freshness import (
    Wishes,
    allows_stale,
    delta_seconds,
    fresh_seconds,
    invalidated_uri,
    is_confirmed,
    is_for_all,
    may_store,
    read_directives,
    selecting_names,
    stale_seconds,
    uri_key,
)
from cpadapter.lib.httputil import HTTPDate

NOW = 1_000_000_000.0


def storable(headers=(), code=200, credentials=False, saw_cookies=False, delay=600):
    headers = dict(headers)
    return may_store(code, headers, credentials, saw_cookies) and fresh_seconds(code, headers, NOW, delay) > 0


class TestReading:
    @pytest.mark.parametrize(
        ('field', 'directives'),
        [
            (None, {}),
            ('', {}),
            (' , ,', {}),
            ('no-cache', {'no-cache': ''}),
            ('Max-Age=5,PUBLIC', {'max-age': '5', 'public': ''}),
            ('max-age = "5" ', {'max-age': '5'}),
            ('max-age=1, max-age=2', {'max-age': '1'}),
            ('private="A, B", x=1', {'private': 'A, B', 'x': '1'}),
            ('=5', {}),
        ],
    )
    def test_directives_are_read_without_regard_to_case_quotes_and_space(self, field, directives):
        assert read_directives(field) == directives

    @pytest.mark.parametrize(
        ('text', 'seconds'),
        [('0', 0), ('60', 60), (60, 60), ('9' * 30, 2**31), ('', None), ('-1', None), ('1.5', None), ('\u0661', None)],
    )
    def test_seconds_are_digits_and_large_numbers_count_as_the_largest(self, text, seconds):
        assert delta_seconds(text) == seconds

    @pytest.mark.parametrize(
        ('field', 'names'),
        [
            (None, set()),
            ('', set()),
            (' x-a ', {'x-a'}),
            ('X-A,', {'x-a'}),
            (',X-A , ,', {'x-a'}),
            ('X-A, x-a, X-B', {'x-a', 'x-b'}),
            ('*', None),
            (' * ', None),
            ('X-A, *', None),
            (', '.join(f'X-{n}' for n in range(20)), {f'x-{n}' for n in range(20)}),
            (', '.join(f'X-{n}' for n in range(100)), None),
        ],
    )
    def test_vary_names_headers_and_all_or_too_many_make_no_key(self, field, names):
        assert selecting_names(field) == names

    def test_hostile_fields_are_read_in_linear_time(self):
        for field in (',' * 50000, '"' * 50000, 'a="' * 16000, 'max-age=' + '9' * 50000, '\\"' * 25000):
            began = time.perf_counter()
            read_directives(field)
            selecting_names(field)
            assert time.perf_counter() - began < 1


class TestStoring:
    """RFC 9111 section 3."""

    @pytest.mark.parametrize('code', [200, 203, 300, 301, 308])
    def test_these_statuses_are_stored_without_being_asked(self, code):
        assert storable(code=code)

    @pytest.mark.parametrize('code', [201, 202, 204, 206, 302, 303, 307, 400, 404, 410, 500, 503])
    def test_other_statuses_are_not(self, code):
        assert not storable(code=code)

    @pytest.mark.parametrize('code', [302, 303, 307])
    def test_a_temporary_redirect_is_stored_where_it_says_for_how_long(self, code):
        assert storable({'Cache-Control': 'max-age=5'}, code)

    @pytest.mark.parametrize('code', [206, 304, 404, 410, 500])
    def test_parts_and_errors_are_not_stored_whatever_they_say(self, code):
        assert not storable({'Cache-Control': 'public, max-age=5'}, code)

    @pytest.mark.parametrize(
        'field',
        [
            'no-store',
            'private',
            'Private',
            'PRIVATE, max-age=60',
            'no-cache',
            'no-cache="Set-Cookie"',
            'private="X-Own"',
            'max-age=0',
            's-maxage=0, max-age=60',
            'max-age=soon',
            'max-age=',
            'max-age=-1',
            ' no-store ,max-age=60',
        ],
    )
    def test_a_response_that_forbids_it_is_not_stored(self, field):
        assert not storable({'Cache-Control': field})

    @pytest.mark.parametrize('field', ['public', 'max-age=60', 's-maxage=60', 'max-age="60"', 'max-age=99999999999999'])
    def test_a_response_that_allows_it_is_stored(self, field):
        assert storable({'Cache-Control': field})

    def test_pragma_no_cache_forbids_it_where_there_is_no_cache_control(self):
        assert not storable({'Pragma': 'no-cache'})
        assert storable({'Pragma': 'no-cache', 'Cache-Control': 'max-age=5'})

    @pytest.mark.parametrize('headers', [{'Set-Cookie': 'a=1'}, {'Content-Range': 'bytes 0-3/9'}, {'Vary': '*'}])
    def test_what_is_for_one_client_or_a_part_is_not_stored_even_if_public(self, headers):
        assert not storable(headers)
        assert not storable({**headers, 'Cache-Control': 'public'})

    @pytest.mark.parametrize(
        ('headers', 'stored'),
        [
            ({}, False),
            ({'Cache-Control': 'max-age=60'}, False),
            ({'Cache-Control': 'public'}, True),
            ({'Cache-Control': 'must-revalidate, max-age=9'}, True),
            ({'Cache-Control': 's-maxage=9'}, True),
            ({'Vary': 'Cookie'}, False),
        ],
    )
    def test_the_answer_to_credentials_is_stored_only_where_it_says_that_it_is_for_all(self, headers, stored):
        assert storable(headers, credentials=True) is stored
        assert is_for_all(read_directives(headers.get('Cache-Control'))) is stored

    @pytest.mark.parametrize(
        ('headers', 'stored'),
        [
            ({}, False),
            ({'Cache-Control': 'max-age=60'}, False),
            ({'Vary': 'X-A'}, False),
            ({'Vary': 'X-A, cookie'}, True),
            ({'Cache-Control': 'public'}, True),
            ({'Cache-Control': 's-maxage=9'}, True),
            ({'Cache-Control': 'must-revalidate, max-age=9'}, True),
        ],
    )
    def test_what_was_made_by_looking_at_cookies_is_stored_only_with_one_of_four_exceptions(self, headers, stored):
        assert storable(headers, saw_cookies=True) is stored


class TestFreshness:
    """RFC 9111 section 4.2."""

    @pytest.mark.parametrize(
        ('headers', 'seconds'),
        [
            ({}, 600),
            ({'Cache-Control': 'public'}, 600),
            ({'Cache-Control': 'max-age=10'}, 10),
            ({'Cache-Control': 's-maxage=20, max-age=10'}, 20),
            ({'Cache-Control': 'max-age=10, s-maxage=20'}, 20),
            ({'Cache-Control': 'max-age=10, max-age=99'}, 10),
            ({'Cache-Control': 'max-age=soon'}, 0),
            ({'Expires': HTTPDate(NOW + 100)}, 100),
            ({'Expires': HTTPDate(NOW + 100), 'Cache-Control': 'max-age=7'}, 7),
            ({'Expires': HTTPDate(NOW - 100)}, -100),
        ],
    )
    def test_a_response_is_fresh_for_as_long_as_it_says_else_for_the_delay(self, headers, seconds):
        assert fresh_seconds(200, headers, NOW, 600) == seconds

    @pytest.mark.parametrize('text', ['0', '-1', 'tomorrow', 'Sun, 28 Jan 2001 00:00:00 GMT', 'x' * 1000, ''])
    def test_an_expires_that_is_past_or_no_date_means_stale(self, text):
        assert fresh_seconds(200, {'Expires': text}, NOW, 600) <= 0

    @pytest.mark.parametrize('delay', [0, -1])
    def test_without_a_delay_only_what_says_so_is_fresh(self, delay):
        assert not storable(delay=delay)
        assert storable({'Cache-Control': 'max-age=5'}, delay=delay)


def accepted(field, age, own='max-age=100', is_renewed=False, pragma=None):
    directives = read_directives(own)
    lifetime = fresh_seconds(200, {'Cache-Control': own}, NOW, 600)
    return Wishes(field, pragma).accept(age, lifetime, directives, lambda: is_renewed)


class TestWishes:
    """RFC 9111 section 5.2.1."""

    @pytest.mark.parametrize(
        ('field', 'hit'),
        [
            ('', True),
            ('max-age=50', True),
            ('max-age=49', False),
            ('max-age=0', False),
            ('min-fresh=50', True),
            ('min-fresh=51', False),
            ('max-stale', True),
            ('only-if-cached', True),
            ('x-unknown=1', True),
            ('max-age=60, min-fresh=10', True),
        ],
    )
    def test_they_decide_about_a_fresh_response(self, field, hit):
        assert accepted(field, 50) is hit

    @pytest.mark.parametrize(
        ('field', 'hit'),
        [
            ('max-stale', True),
            ('max-stale=10', True),
            ('max-stale=9', False),
            ('max-stale, max-age=60', False),
            ('max-age=600', False),
            ('min-fresh=0', False),
            ('', False),
            (None, False),
        ],
    )
    def test_they_decide_about_a_stale_one(self, field, hit):
        assert accepted(field, 110) is hit

    @pytest.mark.parametrize('age', [99.9, 100])
    def test_a_response_is_stale_once_its_age_is_its_lifetime(self, age):
        assert accepted(None, age) is (age < 100)

    @pytest.mark.parametrize('own', ['must-revalidate', 'proxy-revalidate', 's-maxage=100'])
    def test_what_must_be_revalidated_is_never_given_stale(self, own):
        own = f'max-age=100, {own}, stale-if-error=50, stale-while-revalidate=50'
        assert accepted(None, 90, own)
        assert not accepted('max-stale', 110, own, is_renewed=True)
        assert not allows_stale(read_directives(own), 'stale-if-error', 10)
        assert stale_seconds(read_directives(own)) == 0

    @pytest.mark.parametrize(
        ('field', 'pragma', 'directives'),
        [
            (None, 'no-cache', {'no-cache': ''}),
            (None, 'x, No-Cache', {'no-cache': ''}),
            (None, 'x', {}),
            ('max-age=60', 'no-cache', {'max-age': '60'}),
        ],
    )
    def test_pragma_counts_where_there_is_no_cache_control(self, field, pragma, directives):
        assert Wishes(field, pragma).directives == directives

    @pytest.mark.parametrize('field', ['max-age=x', 'max-age=', 'max-age=-1', 'max-stale=x', 'min-fresh=1.5'])
    def test_a_number_that_is_none_is_a_bad_request(self, field):
        with pytest.raises(cpadapter.HTTPError) as caught:
            Wishes(field)
        assert caught.value.code == 400

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet='abmx-=",; \t019\\', max_size=60))
    def test_any_field_is_read_or_a_bad_request(self, text):
        try:
            assert set(Wishes(text).directives) == set(read_directives(text))
        except cpadapter.HTTPError as exc:
            if exc.code != 400:
                raise


class TestStale:
    """RFC 5861."""

    @pytest.mark.parametrize(
        ('age', 'is_renewed', 'hit'), [(115, True, True), (120, True, True), (121, True, False), (115, False, False)]
    )
    def test_stale_while_revalidate_holds_while_another_request_makes_the_new_one(self, age, is_renewed, hit):
        assert accepted(None, age, 'max-age=100, stale-while-revalidate=20', is_renewed) is hit

    @pytest.mark.parametrize(
        ('own', 'overdue', 'allowed'),
        [
            ('stale-if-error=20', 20, True),
            ('stale-if-error=20', 21, False),
            ('stale-if-error=x', 1, False),
            ('max-age=9', 0, False),
        ],
    )
    def test_stale_if_error_holds_for_as_long_as_it_says(self, own, overdue, allowed):
        assert allows_stale(read_directives(own), 'stale-if-error', overdue) is allowed

    def test_a_stale_response_is_of_use_for_the_longer_of_both(self):
        assert stale_seconds(read_directives('stale-if-error=5, stale-while-revalidate=30')) == 30
        assert stale_seconds(read_directives('max-age=9')) == 0


class TestConfirmation:
    """RFC 9111 section 4.3.4."""

    @pytest.mark.parametrize(
        ('stored', 'headers', 'since', 'confirmed'),
        [
            ({'ETag': '"a"'}, {'ETag': '"a"'}, None, True),
            ({'ETag': 'W/"a"'}, {'ETag': 'W/"a"'}, None, True),
            ({'ETag': '"a"'}, {'ETag': '"b"'}, None, False),
            ({'ETag': '"a"', 'Last-Modified': 'x'}, {'ETag': '"b"', 'Last-Modified': 'x'}, 'x', False),
            ({}, {'ETag': '"b"'}, None, False),
            ({'Last-Modified': 'x'}, {'Last-Modified': 'x'}, None, True),
            ({'Last-Modified': 'x'}, {'Last-Modified': 'y'}, 'x', False),
            ({'Last-Modified': 'x'}, {}, 'x', True),
            ({'Last-Modified': 'x'}, {}, 'y', False),
            ({'Last-Modified': 'x'}, {}, None, False),
            ({}, {}, None, False),
        ],
    )
    def test_a_304_confirms_what_has_its_validator(self, stored, headers, since, confirmed):
        assert is_confirmed(stored, headers, since) is confirmed


class TestInvalidation:
    """RFC 9111 section 4.4."""

    @pytest.mark.parametrize(
        ('reference', 'key'),
        [
            ('/y?a=1', 'http://host/y?a=1'),
            ('/y', 'http://host/y'),
            ('http://HOST/y', 'http://host/y'),
            ('http://host:80/y', 'http://host/y'),
            ('//host:443/y', None),
            ('z', 'http://host/x/z'),
            ('?b', 'http://host/x/y?b'),
            ('http://host', 'http://host/'),
            ('/a%62c/d e', 'http://host/abc/d%20e'),
            ('http://other/y', None),
            ('https://host/y', None),
            ('//other/y', None),
            ('http://host:81/y', None),
            ('http://[/y', None),
        ],
    )
    def test_what_a_location_names_goes_where_it_has_the_origin_of_the_request(self, reference, key):
        assert invalidated_uri('http://Host', '/x/y', reference) == key

    @pytest.mark.parametrize(
        ('base', 'reference'), [('https://host:443', 'https://host/y'), ('https://host', 'https://host:443/y')]
    )
    def test_the_port_that_the_scheme_means_anyway_makes_no_difference(self, base, reference):
        assert invalidated_uri(base, '/x', reference) == f'{base}/y'

    def test_a_key_is_the_uri_with_its_query_where_there_is_one(self):
        assert uri_key('HTTP://Host', '/A', 'B=c') == 'http://host/A?B=c'
        assert uri_key('http://host', '/A', '') == 'http://host/A'
