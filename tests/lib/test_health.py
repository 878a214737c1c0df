"""The `health` tool: what it answers, what checks may be and do, whom it tells what, and what it leaves alone."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

import cpadapter
from cpadapter.lib import checks, health
from cpadapter.lib.sessions import FileSession, RamSession

PAGE = '/health'


class Root:
    @cpadapter.expose
    def index(self):
        return 'page'


def mount(client, also=None, **settings):
    """Mount an application with the tool at /health, and give it."""
    config = {'tools.health.on': True, **{f'tools.health.{key}': value for key, value in settings.items()}}
    return client.mount(Root(), '', {'/': also or {}, PAGE: config})


def refuses():
    raise ConnectionRefusedError('nobody at home')


async def arefuses():
    await asyncio.sleep(0)
    raise ConnectionRefusedError('nobody at home')


async def awell():
    await asyncio.sleep(0)


# -- Readiness and liveness --------------------------------------------------------------------------------------------


def test_a_started_engine_is_ready_where_no_page_handler_is(client):
    mount(client)
    answer = client.get(PAGE)
    assert answer.status == 200
    assert answer.json == {'status': 'ok'}
    assert answer.headers.get('Content-Type') == 'application/json'
    assert answer.headers.get('Cache-Control') == 'no-store'
    assert client.head(PAGE).status == 200
    assert client.get('/').text == 'page'


@pytest.mark.parametrize('checked', [False, True])
def test_an_engine_that_stops_is_not_ready_and_lives(client, checked):
    mount(client, checks=awell if checked else None)
    client.mount(Root(), '/live', {PAGE: {'tools.health.on': True, 'tools.health.ready': False}})
    assert client.get(PAGE).status == 200
    engine = client.site.engine
    engine.state = engine.states.STOPPING
    answer = client.get(PAGE)
    assert (answer.status, answer.json) == (503, {'status': 'unavailable'})
    assert answer.headers.get('Cache-Control') == 'no-store'
    assert client.get(f'/live{PAGE}').status == 200
    engine.state = engine.states.STARTED
    assert client.get(PAGE).status == 200


def test_liveness_asks_no_checks(client):
    mount(client, ready=False, checks=refuses)
    assert client.get(PAGE).status == 200


def test_other_methods_are_refused(client):
    mount(client)
    answer = client.post(PAGE, body=b'x')
    assert (answer.status, answer.headers.get('Allow')) == (405, 'GET, HEAD')


def test_it_stands_before_a_page_handler_of_either_colour(client, handler):
    class Pages:
        @cpadapter.tools.health(checks=awell)
        @handler
        def here(self):
            raise AssertionError('not to be called')

    client.mount(Pages())
    assert client.get('/here').json == {'status': 'ok'}


# -- Checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('check', [refuses, arefuses, lambda: False, lambda: 0])
def test_a_check_that_raises_or_gives_false_makes_it_unavailable(client, check):
    mount(client, checks={'good': awell, 'bad': check})
    answer = client.get(PAGE)
    assert (answer.status, answer.json) == (503, {'status': 'unavailable'})


@pytest.mark.parametrize('check', [awell, lambda: None, lambda: True, lambda: 'well'])
def test_a_check_that_gives_none_or_something_true_is_well(client, check):
    mount(client, checks=[check])
    assert client.get(PAGE).status == 200


def test_details_name_each_check_with_its_time_and_error(client):
    mount(client, details=True, checks={'a': awell, 'b': refuses, 'c': lambda: False, 'd': lambda: awell()})
    shown = client.get(PAGE).json
    assert (shown['status'], shown['engine']) == ('unavailable', 'STARTED')
    assert list(shown['checks']) == ['a', 'b', 'c', 'd']
    assert shown['checks']['a']['status'] == 'ok'
    assert 'error' not in shown['checks']['a']
    assert all(check['ms'] >= 0 for check in shown['checks'].values())
    assert shown['checks']['b']['error'] == 'ConnectionRefusedError: nobody at home'
    assert shown['checks']['c']['error'] == 'it gave False'
    assert 'plain callable' in shown['checks']['d']['error']


def test_functions_are_named_by_their_names(client):
    mount(client, details=True, checks=[awell, refuses])
    assert list(client.get(PAGE).json['checks']) == ['awell', 'refuses']


@pytest.mark.parametrize('colour', ['sync', 'async'])
def test_a_check_that_takes_too_long_is_not_waited_for(client, colour):
    go = threading.Event()

    async def ahangs():
        await asyncio.sleep(60)

    mount(client, details=True, timeout=0.05, checks={'slow': ahangs if colour == 'async' else go.wait, 'good': awell})
    shown = client.get(PAGE).json['checks']
    go.set()
    assert shown['slow']['error'] == 'no answer within 0.05 s'
    assert 50 <= shown['slow']['ms'] < 5000
    assert shown['good']['status'] == 'ok'


def test_a_check_that_hangs_is_called_four_times_at_most(client):
    calls, go = [], threading.Event()

    def hangs():
        calls.append(1)
        go.wait(30)

    mount(client, details=True, timeout=0.02, checks=hangs)
    errors = [client.get(PAGE).json['checks']['hangs']['error'] for _ in range(6)]
    assert len(calls) == 4
    assert errors[4:] == ['earlier calls have not come back'] * 2
    go.set()
    for thread in threading.enumerate():
        if thread.name == 'Health check':
            thread.join(10)
    assert client.get(PAGE).status == 200


def test_checks_run_side_by_side(client):
    meeting = threading.Barrier(2, timeout=10)
    # A barrier gives each caller a number, and one of them 0, which is false.
    mount(client, checks={'one': lambda: meeting.wait() < 2, 'two': lambda: meeting.wait() < 2})
    assert client.get(PAGE).status == 200


def test_checks_know_their_request_and_wait_where_nothing_else_does(client):
    seen = []

    async def on_a_loop():
        seen.append((cpadapter.request.path_info, asyncio.get_running_loop()))

    def in_a_thread():
        seen.append((cpadapter.request.path_info, threading.current_thread().daemon))

    mount(client, checks=[on_a_loop, in_a_thread])
    assert client.get(PAGE).status == 200
    assert {path for path, _ in seen} == {PAGE}
    assert True in [value for _, value in seen]


def test_a_change_is_logged_once(client):
    well = []
    mount(client, checks={'mind': lambda: bool(well)})
    for _ in range(3):
        assert client.get(PAGE).status == 503
    well.append(1)
    for _ in range(2):
        assert client.get(PAGE).status == 200
    assert [line.partition('] ')[2] for line in client.errors] == [
        "HEALTH The check 'mind' fails: it gave False",
        "HEALTH The check 'mind' is well.",
    ]


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        ({'checks': 'ping'}, 'it has to be a function, a list of them, or a dict'),
        ({'checks': {'a': 1}}, 'it has to be a function, a list of them, or a dict'),
        ({'checks': (call for call in [awell])}, 'it has to be a function, a list of them, or a dict'),
        ({'checks': [lambda: 1, lambda: 2]}, 'two of them have one name'),
        ({'timeout': 0}, 'it has to be a number above 0'),
        ({'trusted': 'home'}, 'it has to be an address or a network'),
        ({'redy': False}, "Did you mean 'ready'?"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_told(client, settings, told):
    mount(client, **settings)
    assert client.get(PAGE).status == 500
    assert told in '\n'.join(client.errors)


def test_the_checks_of_settings_take_what_works():
    told = health.health.checks['checks']
    assert told(None) == told(awell) == told([awell, refuses]) == told({'a': awell}) == told(()) == ''
    assert health.health.checks['timeout'] is checks.positive


# -- Whom it tells what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('trusted', 'address', 'told'),
    [
        (None, '127.0.0.1', False),
        ('10.0.0.0/8', '127.0.0.1', False),
        ('10.0.0.0/8', '10.1.2.3', True),
        (['loopback', '10.0.0.1'], '127.0.0.1', True),
    ],
)
def test_details_are_for_those_who_are_trusted(client, trusted, address, told):
    mount(client, trusted=trusted, checks=awell)
    more = {'environ': {'REMOTE_ADDR': address}} if client.protocol == 'wsgi' else {'scope': {'client': (address, 5)}}
    assert ('checks' in client.get(PAGE, **more).json) == told


def test_who_asks_is_whom_the_proxy_tool_found(client):
    mount(client, {'tools.proxy.on': True, 'tools.proxy.trusted': 'loopback'}, trusted='loopback')
    assert 'engine' in client.get(PAGE).json
    assert 'engine' not in client.get(PAGE, headers={'X-Forwarded-For': '198.51.100.7'}).json


def test_authentication_stands_before_it(client):
    login = {
        'tools.auth_basic.on': True,
        'tools.auth_basic.realm': 'x',
        'tools.auth_basic.checkpassword': lambda realm, name, password: False,
    }
    mount(client, login)
    assert client.get(PAGE).status == 401


# -- What it leaves alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('checked', [False, True])
def test_it_never_begins_a_session(client, checked, tmp_path):
    sessions = {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': FileSession,
        'tools.sessions.storage_path': str(tmp_path),
    }
    mount(client, sessions, checks=awell if checked else None)
    answer = client.get(PAGE)
    assert answer.status == 200
    assert answer.headers.get('Set-Cookie') is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('log', [True, False])
def test_its_access_lines_may_be_left_out(client, log):
    app = mount(client, log=log)
    lines = []
    collector = logging.Handler()
    collector.emit = lambda record: lines.append(record.getMessage())
    app.log.access_log.addHandler(collector)
    assert client.get(PAGE).status == 200
    assert client.post(PAGE).status == 405
    assert len(lines) == (2 if log else 0)
    client.get('/')
    assert len(lines) == (3 if log else 1)


def test_encoding_and_compression_leave_the_answer_readable(client):
    mount(client, {'tools.encode.on': True, 'tools.gzip.on': True, 'tools.etags.on': True})
    assert client.get(PAGE, headers={'Accept-Encoding': 'gzip'}).json == {'status': 'ok'}


# -- Session stores ----------------------------------------------------------------------------------------------------


def sessions_of(storage_class, **more):
    return {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': storage_class,
        **{f'tools.sessions.{key}': value for key, value in more.items()},
    }


def test_a_store_is_asked_by_saving_a_session_and_leaves_nothing(client, tmp_path):
    folder = tmp_path / 'sessions'
    mount(client, sessions_of(FileSession, storage_path=str(folder)), checks=health.session_store, details=True)
    assert client.get(PAGE).json['checks']['session_store']['status'] == 'ok'
    assert list(folder.iterdir()) == []


def test_the_default_store_is_asked_too(client):
    mount(client, {'tools.sessions.on': True}, checks=health.session_store)
    assert client.get(PAGE).status == 200


def test_a_store_that_fails_makes_it_unavailable(client):
    class Away(RamSession):
        blocking = True

        def _save(self, expiration_time):
            raise ConnectionRefusedError('nobody at home')

    mount(client, sessions_of(Away), checks=health.session_store, details=True)
    answer = client.get(PAGE)
    assert answer.status == 503
    assert 'nobody at home' in answer.json['checks']['session_store']['error']


def test_a_store_that_forgets_makes_it_unavailable(client):
    class Forgets(RamSession):
        def _save(self, expiration_time):
            pass

    mount(client, sessions_of(Forgets), checks=health.session_store)
    assert client.get(PAGE).status == 503


def test_a_store_may_have_a_check_of_its_own(client):
    asked = []

    class Own(RamSession):
        @classmethod
        def check(cls, **settings):
            asked.append(settings)

    mount(client, sessions_of(Own, timeout=5), checks=health.session_store)
    assert client.get(PAGE).status == 200
    assert asked == [{'on': True, 'timeout': 5}]
