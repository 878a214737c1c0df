"""The `expires` tool."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime

import pytest

import cpadapter

PAST = 'Sun, 28 Jan 2007 00:00:00 GMT'


@pytest.fixture
def get(client, handler):
    """Gives a call of a page with the tool's settings; headers the page sets itself in `own`."""

    def call(version='1.1', own=(), **settings):
        def page():
            cpadapter.response.headers.update(dict(own))
            return 'ok'

        class Root:
            x = staticmethod(handler(page))

        config = {'tools.expires.on': True, **{f'tools.expires.{key}': value for key, value in settings.items()}}
        client.mount(Root(), '', {'/': config})
        return client.get('/x', version=version)

    return call


def age(answer, name='Expires'):
    """Give how many seconds from now a date is."""
    return (parsedate_to_datetime(answer.headers[name]) - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def test_a_response_without_validator_is_left_alone(get):
    headers = get(secs=60).headers
    assert 'Expires' not in headers
    assert 'Cache-Control' not in headers


@pytest.mark.parametrize('name', ['ETag', 'Last-Modified', 'Age', 'Expires'])
def test_a_response_with_a_validator_expires(get, name):
    answer = get(secs=60, own={name: PAST})
    if name == 'Expires':
        assert answer.headers['Expires'] == PAST
    else:
        assert 50 < age(answer) <= 60
    assert 'Pragma' not in answer.headers


@pytest.mark.parametrize(
    ('secs', 'seconds'),
    [
        (3600, 3600),
        (-3600, -3600),
        (datetime.timedelta(hours=1), 3600),
        (datetime.timedelta(days=1, seconds=1), 86401),
    ],
)
def test_seconds_and_timedeltas_count_from_now(get, secs, seconds):
    assert seconds - 10 < age(get(secs=secs, force=True)) <= seconds


@pytest.mark.parametrize('secs', [0, datetime.timedelta()])
def test_no_seconds_keep_caches_from_keeping_it(get, secs):
    headers = get(secs=secs, force=True).headers
    assert (headers['Expires'], headers['Pragma']) == (PAST, 'no-cache')
    assert headers['Cache-Control'] == 'no-cache, must-revalidate'


def test_an_old_client_gets_no_cache_control(get):
    headers = get(version='1.0', secs=0, force=True).headers
    assert headers['Pragma'] == 'no-cache'
    assert 'Cache-Control' not in headers


def test_what_the_page_set_itself_stays_unless_forced(get):
    own = {'ETag': '"x"', 'Cache-Control': 'private', 'Pragma': 'x'}
    headers = get(secs=0, own=own).headers
    assert (headers['Cache-Control'], headers['Pragma'], headers['Expires']) == ('private', 'x', PAST)
    headers = get(secs=0, own=own, force=True).headers
    assert (headers['Cache-Control'], headers['Pragma']) == ('no-cache, must-revalidate', 'no-cache')


def test_other_kinds_of_seconds_are_an_error_of_the_application(get, client):
    assert get(secs='60', force=True).status == 500
    assert "'tools.expires.secs' = '60' in section [" in ''.join(client.errors)
