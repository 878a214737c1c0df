"""The `auth_basic` tool."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

import cpadapter
from cpadapter.lib.auth_basic import checkpassword_dict

USERS = {'ada': 'secret', 'col:on': 'x', 'nobody': '', 'jos\u00e9': 'pass\u00e9', 'with': 'a:b'}
CHALLENGE = 'Basic realm="the realm", charset="UTF-8"'


def basic(user, password, charset='utf-8'):
    return {'Authorization': 'Basic ' + base64.b64encode(f'{user}:{password}'.encode(charset)).decode()}


@pytest.fixture
def site(client, handler):
    """Mounts a page that says who is logged in, with the tool's settings, and gives the client."""

    def make(**more):
        def page(**params):
            return f'hello {cpadapter.request.login}'

        class Root:
            x = staticmethod(handler(page))

        wanted = {'realm': 'the realm', 'checkpassword': checkpassword_dict(USERS), **more}
        config = {'tools.auth_basic.on': True, **{f'tools.auth_basic.{k}': v for k, v in wanted.items()}}
        client.mount(Root(), '', {'/': {key: value for key, value in config.items() if value is not ...}})
        return client

    return make


@pytest.mark.parametrize(('user', 'password'), [('ada', 'secret'), ('jos\u00e9', 'pass\u00e9'), ('with', 'a:b')])
def test_a_known_user_is_let_in(site, user, password):
    answer = site().get('/x', headers=basic(user, password))
    assert (answer.status, answer.text) == (200, f'hello {user}')
    assert 'WWW-Authenticate' not in answer.headers


@pytest.mark.parametrize(
    'headers',
    [
        {},
        {'Authorization': 'Bearer abc'},
        {'Authorization': 'Basic-like eDp5'},
        basic('ada', 'wrong'),
        basic('ada', ''),
        basic('ada', 'secret '),
        basic('unknown', 'secret'),
        basic('nobody', ''),
        basic('', ''),
        basic('col', 'on:x'),
    ],
)
def test_anybody_else_is_told_how_to_log_in(site, headers):
    answer = site().get('/x', headers=headers)
    assert answer.status == 401
    assert answer.headers['WWW-Authenticate'] == CHALLENGE
    assert 'You are not authorized to access that resource' in answer.text


@pytest.mark.parametrize('scheme', ['basic', 'BASIC', 'Basic', 'bAsIc'])
def test_the_scheme_is_compared_without_regard_to_case(site, scheme):
    text = basic('ada', 'secret')['Authorization'].partition(' ')[2]
    assert site().get('/x', headers={'Authorization': f'{scheme} {text}'}).status == 200
    assert site().get('/x', headers={'Authorization': f'{scheme}   {text} '}).status == 200


@pytest.mark.parametrize(
    'field',
    [
        'Basic',
        'Basic %%%',
        'Basic eDp5=',
        'Basic eDp5e',
        'Basic eD\u00fcp5',
        'Basic ' + base64.b64encode(b'no colon').decode(),
        'Basic ' + base64.b64encode(b'a\x00b:c').decode(),
        'Basic ' + base64.b64encode(b'a:b\nc').decode(),
        'Basic eDp5 eDp5',
        'Basic eDp5,Basic eDp5',
        'Basic ' + 'A' * 1000001,
    ],
)
def test_credentials_that_are_none_are_a_bad_request(site, field):
    answer = site().get('/x', headers={'Authorization': field})
    assert answer.status == 400
    assert '<p>Bad Request</p>' in answer.text


def test_a_name_that_is_not_in_the_charset_is_taken_for_latin_1(site):
    headers = basic('jos\u00e9', 'pass\u00e9', 'latin-1')
    assert site().get('/x', headers=headers).text == 'hello jos\u00e9'


def test_composed_and_decomposed_characters_are_the_same(site):
    assert site().get('/x', headers=basic('jose\u0301', 'passe\u0301')).text == 'hello jos\u00e9'


@pytest.mark.parametrize(('charset', 'told'), [('utf-8', ', charset="UTF-8"'), ('iso-8859-1', '')])
def test_the_challenge_tells_the_charset(site, charset, told):
    answer = site(accept_charset=charset).get('/x')
    assert answer.headers['WWW-Authenticate'] == f'Basic realm="the realm"{told}'


def test_a_backslash_in_the_realm_is_escaped(site):
    assert site(realm='a\\b').get('/x').headers['WWW-Authenticate'].startswith('Basic realm="a\\\\b"')


@pytest.mark.parametrize('realm', ['a"b', 'a\r\nX-Evil: 1'])
def test_a_realm_that_cannot_be_sent_is_an_error_of_the_application(site, realm):
    client = site(realm=realm)
    answer = client.get('/x')
    assert answer.status == 500
    assert 'X-Evil' not in answer.headers
    assert f"'tools.auth_basic.realm' = {realm!r} in section [/]" in ''.join(client.errors)


@pytest.mark.parametrize('missing', ['realm', 'checkpassword'])
def test_a_missing_setting_is_named(site, missing):
    client = site(**{missing: ...})
    assert client.get('/x', headers=basic('ada', 'secret')).status == 500
    assert any(f"needs the setting '{missing}'" in line for line in client.errors)


def test_checkpassword_may_be_async(site):
    called = []

    async def check(realm, user, password):
        import asyncio

        await asyncio.sleep(0)
        called.append((realm, user, password))
        return password == 'right'

    client = site(checkpassword=check)
    assert client.get('/x', headers=basic('u', 'right')).text == 'hello u'
    assert client.get('/x', headers=basic('u', 'wrong')).status == 401
    assert called[0] == ('the realm', 'u', 'right')


def test_an_error_of_checkpassword_lets_nobody_in(site):
    def check(realm, user, password):
        raise RuntimeError('the database is gone')

    assert site(checkpassword=check).get('/x', headers=basic('ada', 'secret')).status == 500


def test_a_slow_checkpassword_does_not_hold_up_the_event_loop(asgi):
    import threading

    threads = []

    def check(realm, user, password):
        threads.append(threading.current_thread())
        return True

    class Root:
        @cpadapter.expose
        async def x(self):
            return 'x'

    tool = {'tools.auth_basic.on': True, 'tools.auth_basic.realm': 'r', 'tools.auth_basic.checkpassword': check}
    asgi.mount(Root(), '', {'/': tool})
    assert asgi.get('/x', headers=basic('a', 'b')).status == 200
    assert threads != [threading.main_thread()]


def test_it_asks_before_the_body_is_read(client, handler):
    """A stranger's upload is not read."""
    read = []

    class Root:
        @handler
        def x(self, **params):
            return str(sorted(params))

    def processor(body):
        read.append(body)

    config = {
        'tools.auth_basic.on': True,
        'tools.auth_basic.realm': 'r',
        'tools.auth_basic.checkpassword': checkpassword_dict(USERS),
        'request.body.processors': {'application/x-own': processor},
    }
    client.mount(Root(), '', {'/': config})
    more = {'body': b'x' * 100}
    own = {'Content-Type': 'application/x-own'}
    assert client.post('/x', headers=own, **more).status == 401
    assert read == []
    assert client.post('/x', headers={**own, **basic('ada', 'secret')}, **more).status == 200
    assert len(read) == 1


def test_a_missing_page_is_not_told_to_strangers(site):
    client = site()
    assert client.get('/nowhere').status == 401
    assert client.get('/nowhere', headers=basic('ada', 'secret')).status == 404


def test_a_priority_lets_it_wait_for_the_session(client, handler):
    def check(realm, user, password):
        cpadapter.session['user'] = user
        return True

    class Root:
        @handler
        def x(self):
            return cpadapter.session['user']

    config = {
        'tools.sessions.on': True,
        'tools.auth_basic.on': True,
        'tools.auth_basic.realm': 'r',
        'tools.auth_basic.checkpassword': check,
        'tools.auth_basic.priority': 60,
    }
    client.mount(Root(), '', {'/': config})
    assert client.get('/x', headers=basic('ada', 'secret')).text == 'ada'


def test_debug_tells_who_was_let_in_and_no_password(site):
    client = site(debug=True)
    for headers in ({}, basic('ada', 'secret'), basic('ada', 'wrong')):
        client.get('/x', headers=headers)
    text = '\n'.join(client.errors)
    assert "TOOLS.AUTH_BASIC 'ada' is let in" in text
    assert "TOOLS.AUTH_BASIC 'ada' is refused" in text
    assert 'there are no credentials' in text
    assert 'secret' not in text
    assert 'wrong' not in text


class TestCheckpasswordDict:
    def test_it_takes_the_same_steps_for_known_and_unknown_users(self, monkeypatch):
        import hmac

        compared = []

        def compare(a, b):
            compared.append((len(a), len(b)))
            return a == b

        monkeypatch.setattr(hmac, 'compare_digest', compare)
        check = checkpassword_dict({'a': 'p', 'long': 'x' * 100})
        results = [check('r', user, password) for user, password in [('a', 'p'), ('a', 'q'), ('b', 'p'), ('long', 'q')]]
        assert results == [True, False, False, False]
        assert compared == [(32, 32)] * 4

    def test_the_dict_may_change(self):
        users = {}
        check = checkpassword_dict(users)
        assert not check('r', 'a', 'p')
        users['a'] = 'p'
        assert check('r', 'a', 'p')


_app = []


def app():
    if not _app:

        class Root:
            @cpadapter.expose
            def x(self):
                return 'x'

        site = cpadapter.Site('fuzz')
        site.config.update({'checker.on': False})
        tool = {'realm': 'r', 'checkpassword': checkpassword_dict(USERS), 'on': True}
        site.tree.mount(Root(), '', {'/': {f'tools.auth_basic.{key}': value for key, value in tool.items()}})
        _app.append(Client(site.tree))
    return _app[0]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80),
        st.binary(max_size=60).map(lambda data: 'Basic ' + base64.b64encode(data).decode()),
        st.text('Basic =+/eDp5, ', max_size=40).map(lambda text: f'Basic {text}'),
    )
)
def test_any_header_is_answered_400_or_401(field):
    assert app().get('/x', headers={'Authorization': field}).status_code in (400, 401)


def test_a_long_header_is_read_in_linear_time():
    for text in ('A' * 1_000_000, ' ' * 1_000_000, '=' * 1_000_000, ':' * 1_000_000):
        began = time.perf_counter()
        assert app().get('/x', headers={'Authorization': f'Basic {text}x'}).status_code in (400, 401)
        assert time.perf_counter() - began < 1
