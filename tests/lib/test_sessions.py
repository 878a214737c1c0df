"""Sessions: what is kept, for whom, how long and under which id; who waits for whom; and what goes wrong."""

from __future__ import annotations

import asyncio
import datetime
import gc
import os
import pickle
import re
import stat
import subprocess
import sys
import threading
import types

import pytest

import cpadapter
from cpadapter import expose
from cpadapter.lib import sessionbase, sessions, sessionstores
from cpadapter.lib.locking import LockTimeout
from tests.conftest import Answer, AsgiChecker, Call, to_async

ID = re.compile(r'[0-9a-f]{40}')


class Browser:
    """Keeps cookies between requests, as a browser does."""

    def __init__(self, client):
        self.client = client
        self.cookies = {}

    def call(self, target, **more):
        return {'headers': [*more.pop('headers', ()), *self.header()], **more}

    def header(self):
        return [('Cookie', '; '.join(f'{k}={v}' for k, v in self.cookies.items()))] if self.cookies else []

    def take(self, answer):
        for text in answer.headers.get_all('Set-Cookie'):
            name, _, value = text.partition(';')[0].partition('=')
            self.cookies[name] = value
        return answer

    def request(self, method, target, **more):
        return self.take(self.client.request(method, target, **self.call(target, **more)))

    def get(self, target, **more):
        return self.request('GET', target, **more)

    async def aget(self, target):
        return self.take(await self.client.asend(Call('GET', target, headers=self.header())))

    @property
    def id(self):
        return self.cookies.get('session_id')


@pytest.fixture
def browser(client):
    return Browser(client)


def pages(handler):
    class Root:
        @handler
        def index(self):
            return 'untouched'

        @handler
        def count(self):
            session = cpadapter.session
            session['count'] = session.get('count', 0) + 1
            return str(session['count'])

        @handler
        def show(self):
            return repr(sorted(cpadapter.session.items()))

        @handler
        def put(self, key, value):
            cpadapter.session[key] = value
            return 'put'

        @handler
        def boom(self):
            cpadapter.session['boom'] = 1
            raise RuntimeError('boom')

        @handler
        def error(self):
            cpadapter.session['error'] = 1
            raise cpadapter.HTTPError(402)

        @handler
        def redirect(self):
            cpadapter.session['redirect'] = 1
            raise cpadapter.HTTPRedirect('/show')

        @handler
        def inside(self):
            cpadapter.session['inside'] = 1
            raise cpadapter.InternalRedirect('/show')

        @handler
        def login(self):
            cpadapter.tools.sessions.regenerate()
            return 'in'

        @handler
        def bare_regenerate(self):
            cpadapter.session.regenerate()
            return 'in'

        @handler
        def expire(self):
            sessions.expire()
            return 'gone'

        @handler
        def delete(self):
            cpadapter.session.clear()
            return 'cleared'

        @handler
        def chunks(self):
            def body():
                yield b'a'
                cpadapter.session['late'] = cpadapter.session.get('late', 0) + 1
                yield b'b'

            return body()

    return Root


@pytest.fixture(params=['ram', 'file'])
def kind(request, tmp_path):
    """Settings of each store."""
    if request.param == 'ram':
        return {'tools.sessions.on': True}
    return {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': sessions.FileSession,
        'tools.sessions.storage_path': str(tmp_path / 'sessions'),
    }


@pytest.fixture
def file_kind(tmp_path):
    return {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': sessions.FileSession,
        'tools.sessions.storage_path': str(tmp_path / 'sessions'),
    }


def shared(client, cls=sessions.RamSession):
    return client.site.session_stores[cls]


def ram_ids(client):
    return set(shared(client).cache)


# --- data -----------------------------------------------------------------------------------------------------


def test_data_is_kept_from_request_to_request(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    assert [browser.get('/count').text for _ in range(3)] == ['1', '2', '3']
    assert browser.get('/show').text == "[('count', 3)]"
    assert ID.fullmatch(browser.id)


def test_two_browsers_have_two_sessions(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    other = Browser(browser.client)
    browser.get('/count')
    assert [other.get('/count').text, other.get('/count').text, browser.get('/count').text] == ['1', '2', '2']
    assert browser.id != other.id


def test_an_error_the_page_foresaw_saves_and_another_does_not(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    assert browser.get('/put?key=a&value=1').status == 200
    assert browser.get('/error').status == 402
    assert browser.get('/redirect').status == 303
    first = browser.id
    failed = browser.get('/boom')
    assert failed.status == 500
    assert failed.headers['Set-Cookie'].startswith(f'session_id={first};')
    assert browser.get('/show').text == "[('a', '1'), ('error', 1), ('redirect', 1)]"
    assert browser.id == first


def test_a_changed_value_of_a_failed_request_is_not_kept(browser, handler):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    browser.get('/put?key=boom&value=before')
    browser.get('/boom')
    assert browser.get('/show').text == "[('boom', 'before')]"


def test_the_session_goes_through_an_internal_redirect(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    assert browser.get('/inside').text == "[('inside', 1)]"
    assert browser.get('/show').text == "[('inside', 1)]"


def test_a_body_made_late_may_use_the_session(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    assert browser.get('/chunks').text == 'ab'
    assert browser.get('/show').text == "[('late', 1)]"


def test_what_a_streamed_body_writes_is_kept(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': kind, '/chunks': {'response.stream': True}})
    assert browser.get('/chunks').text == 'ab'
    assert browser.get('/chunks').text == 'ab'
    assert browser.get('/show').text == "[('late', 2)]"


def test_an_async_streamed_body_may_use_the_session(browser, kind):
    class Root(pages(expose)):
        @expose
        async def stream(self):
            cpadapter.response.stream = True

            async def body():
                yield b'a'
                await asyncio.sleep(0)
                cpadapter.session['n'] = cpadapter.session.get('n', 0) + 1
                yield b'b'

            return body()

    browser.client.mount(Root(), '', {'/': kind})
    assert browser.get('/stream').text == 'ab'
    assert browser.get('/stream').text == 'ab'
    assert browser.get('/show').text == "[('n', 2)]"


def test_hooks_may_use_the_session(browser, handler, kind):
    def before():
        cpadapter.session['before'] = 1

    def after():
        cpadapter.session['after'] = 1

    config = {**kind, 'hooks.before_handler.x': cpadapter.Hook(before, priority=55)}
    config['hooks.before_finalize.y'] = cpadapter.Hook(after, priority=40)
    browser.client.mount(pages(handler)(), '', {'/': config})
    browser.get('/')
    assert browser.get('/show').text == "[('after', 1), ('before', 1)]"


def test_the_mapping_is_whole(browser, handler):
    def page():
        session = cpadapter.session
        assert session
        session.update({'a': 1, 'b': 2})
        session.update([('c', 3)])
        assert 'a' in session
        assert 'z' not in session
        assert session.setdefault('d', 4) == 4
        assert session.pop('d') == 4
        assert session.pop('d', 'none') == 'none'
        assert session.pop('d') is False
        del session['c']
        with pytest.raises(KeyError):
            session['c']
        assert sorted(session) == sorted(session.keys()) == ['a', 'b']
        assert sorted(session.values()) == [1, 2]
        assert session.get('q') is None
        assert len(session) == 0  # of the sessions that are stored
        session.clear()
        assert list(session.items()) == []
        return 'ok'

    class Root:
        x = staticmethod(handler(page))

    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True}})
    assert browser.get('/x').text == 'ok', browser.client.errors


def test_without_the_tool_there_is_no_session_and_the_error_says_so(client, handler):
    def page():
        for use in (
            lambda: cpadapter.session['a'],
            lambda: cpadapter.session.get('a'),
            lambda: bool(cpadapter.session),
            lambda: setattr(cpadapter.session, 'a', 1),
        ):
            with pytest.raises(AttributeError, match=r'`sessions` tool'):
                use()
        with pytest.raises(KeyError):
            sessions.expire()
        assert not hasattr(cpadapter.session, 'id')
        sessions.save()
        sessions.close()
        return 'ok'

    class Root:
        x = staticmethod(handler(page))

    client.mount(Root())
    assert client.get('/x').text == 'ok', client.errors


def test_a_request_that_ends_before_its_session_begins_ends_well(browser, handler, kind):
    config = {**kind, 'tools.allow.on': True, 'tools.allow.methods': ['GET']}
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert browser.request('DELETE', '/').status == 405
    assert browser.get('/nosuch').status == 404
    assert not browser.client.errors


def test_attributes_of_the_store_are_seen_through_the_proxy(browser, handler):
    class Root(pages(handler)):
        @handler
        def look(self):
            session = cpadapter.session
            assert session is not None
            assert session.cache is cpadapter.serving.session.cache
            assert session._data == {}
            session.note = 'mine'
            return f'{session.locked} {session.loaded} {session.timeout} {session.extra} {session.note}'

    config = {'tools.sessions.on': True, 'tools.sessions.extra': 'given', 'tools.sessions.timeout': 7}
    browser.client.mount(Root(), '', {'/': config})
    assert browser.get('/look').text == 'True False 7 given mine'


def test_each_site_has_its_own_sessions(client, handler):
    other = cpadapter.Site('other')
    client.sites.append(other)
    config = {'/': {'tools.sessions.on': True}}
    client.mount(pages(handler)(), '', config)
    other.config.update({'checker.on': False})
    other.tree.mount(pages(handler)(), '', config)
    browser = Browser(client)
    browser.get('/count')
    first = browser.id
    client.app = other.tree
    assert browser.get('/count').text == '1'
    assert browser.id != first
    assert ram_ids(client) == {first}
    assert set(other.session_stores[sessions.RamSession].cache) == {browser.id}
    assert first not in sessions.RamSession.cache


# --- ids ------------------------------------------------------------------------------------------------------

BAD_IDS = [
    'a' * 40,
    '../../../../../../etc/passwd',
    '..',
    '.',
    '/etc/passwd',
    '%2e%2e%2f',
    'x' * 10_000,
    '*',
    'session-*',
    'C:\\x',
    'NUL',
    'é' * 40,
    'A' * 40,
    'a' * 39,
    'a' * 41,
    '"a\\000b"',
]


@pytest.mark.parametrize('bad', BAD_IDS, ids=lambda bad: bad[:20])
def test_an_id_the_store_does_not_know_is_never_taken_up(browser, handler, kind, bad, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    headers = [('Cookie', f'session_id={bad}')]
    answer = browser.client.get('/count', headers=headers)
    assert (answer.status, answer.text) == (200, '1')
    browser.take(answer)
    assert ID.fullmatch(browser.id)
    assert browser.id != bad
    assert browser.client.get('/count', headers=headers).text == '1'
    assert not browser.client.errors
    assert {path.name for path in tmp_path.rglob('*')} <= {
        'sessions',
        *(path.name for path in (tmp_path / 'sessions').glob('session-*')),
    }


def test_a_lock_file_is_no_session(browser, handler, file_kind, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    folder = tmp_path / 'sessions'
    (folder / f'session-{browser.id}.lock').write_bytes(b'')
    answer = browser.client.get('/count', headers=[('Cookie', f'session_id={browser.id}.lock')])
    assert (answer.status, answer.text) == (200, '1')


def test_ids_are_drawn_anew_and_untouched_sessions_are_not_stored(browser, handler):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    seen = set()
    for _ in range(20):
        browser.get('/')
        seen.add(browser.id)
    assert len(seen) == 20
    assert not ram_ids(browser.client)


def test_originalid_and_missing_tell_what_was_sent(browser, handler, kind):
    class Root(pages(handler)):
        @handler
        def told(self):
            session = cpadapter.session
            return repr((session.originalid, session.missing, session.originalid == session.id))

    browser.client.mount(Root(), '', {'/': kind})
    assert browser.get('/told').text == '(None, False, False)'
    browser.get('/count')
    assert browser.get('/told').text == f"('{browser.id}', False, True)"
    wrong = 'f' * 40
    assert browser.client.get('/told', headers=[('Cookie', f'session_id={wrong}')]).text == f"('{wrong}', True, False)"


@pytest.mark.parametrize('page', ['/login', '/bare_regenerate'])
def test_a_login_rotates_the_id_and_keeps_the_data(browser, handler, kind, page):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    browser.get('/put?key=cart&value=full')
    before = browser.id
    answer = browser.get(page)
    assert len(answer.headers.get_all('Set-Cookie')) == 1
    assert 'Max-Age=3600' in answer.headers['Set-Cookie']
    assert browser.id != before
    assert browser.get('/show').text == "[('cart', 'full')]"
    # The old id is dead.
    answer = browser.client.get('/show', headers=[('Cookie', f'session_id={before}')])
    assert answer.text == '[]'
    assert before not in answer.headers['Set-Cookie']


def test_rotation_keeps_what_was_set_before_it(browser, handler, kind):
    class Root(pages(handler)):
        @handler
        def mixed(self):
            cpadapter.session['a'] = 1
            cpadapter.session.regenerate()
            assert cpadapter.session.regenerated
            cpadapter.session['b'] = 2
            return cpadapter.session.id

    browser.client.mount(Root(), '', {'/': kind})
    assert browser.get('/mixed').text == browser.id
    assert browser.get('/show').text == "[('a', 1), ('b', 2)]"


def test_rotation_that_fails_later_leaves_nothing_under_the_old_id(browser, handler, kind):
    class Root(pages(handler)):
        @handler
        def half(self):
            cpadapter.session.regenerate()
            raise RuntimeError

    browser.client.mount(Root(), '', {'/': kind})
    browser.get('/put?key=a&value=1')
    old = browser.id
    assert browser.get('/half').status == 500
    assert browser.client.get('/show', headers=[('Cookie', f'session_id={old}')]).text == '[]'


def test_an_id_that_was_given_up_while_a_request_waited_stays_dead(wsgi, kind, handler):
    entered, go_on = threading.Event(), threading.Event()

    class Root(pages(handler)):
        @expose
        def login(self):
            cpadapter.session['user'] = 'ada'
            entered.set()
            assert go_on.wait(10)
            cpadapter.tools.sessions.regenerate()
            return 'in'

    wsgi.mount(Root(), '', {'/': kind})
    browser = Browser(wsgi)
    browser.get('/put?key=old&value=1')
    known = browser.header()
    answers = {}

    def ask(target):
        answers[target] = wsgi.get(target, headers=known)

    threads = [threading.Thread(target=ask, args=(target,)) for target in ('/login', '/count')]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    locks = shared(wsgi, kind.get('tools.sessions.storage_class', sessions.RamSession)).locks
    for _ in range(1000):
        if locks._queues:
            break
        threading.Event().wait(0.005)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers['/count'].text == '1'
    ids = {ID.search(answer.headers['Set-Cookie'])[0] for answer in answers.values()}
    assert len(ids) == 2
    assert browser.id not in ids
    answer = wsgi.get('/show', headers=known)
    assert answer.text == '[]'
    assert browser.id not in answer.headers['Set-Cookie']
    assert len(locks) == 0


def test_a_store_with_a_lock_of_its_own_moves_it_when_the_session_is_gone(client):
    taken = []

    class Own(sessions.RamSession):
        def acquire_lock(self, path=None):
            taken.append(self.id)
            self.locked = True

        def release_lock(self, path=None):
            taken.remove(self.id)
            self.locked = False

    class Root(pages(expose)):
        @expose
        def gone(self):
            cpadapter.session.cache.clear()
            cpadapter.session['new'] = 1
            return f'{cpadapter.session.missing} {taken == [cpadapter.session.id]}'

    client.mount(Root(), '', {'/': {'tools.sessions.on': True, 'tools.sessions.storage_class': Own}})
    browser = Browser(client)
    browser.get('/count')
    before = browser.id
    assert browser.get('/gone').text == 'True True'
    assert browser.id != before
    assert taken == []
    assert browser.get('/show').text == "[('new', 1)]"


def test_id_observers_hear_of_a_new_id(browser, handler):
    heard = []

    class Root(pages(handler)):
        @handler
        def observed(self):
            cpadapter.session.id_observers.append(heard.append)
            cpadapter.session.regenerate()
            return cpadapter.session.id

    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True}})
    assert heard == []
    assert [browser.get('/observed').text] == heard


def test_ids_of_a_class_of_ones_own_are_drawn_until_free(browser, handler):
    drawn = ['own-id-0123456789'] * 2 + ['own-id-9876543210']

    class Own(sessions.RamSession):
        def generate_id(self):
            return drawn.pop(0)

    config = {'tools.sessions.on': True, 'tools.sessions.storage_class': Own}
    browser.client.mount(pages(handler)(), '', {'/': config})
    other = Browser(browser.client)
    assert browser.get('/count').text == '1'
    assert other.get('/count').text == '1'
    assert (browser.id, other.id) == ('own-id-0123456789', 'own-id-9876543210')
    assert browser.get('/count').text == '2'


# --- the cookie -----------------------------------------------------------------------------------------------


def parts(answer):
    return answer.headers['Set-Cookie'].split('; ')


def test_the_cookie_is_safe_by_default(browser, handler):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    first, *rest = parts(browser.get('/'))
    assert first == f'session_id={browser.id}'
    assert [part for part in rest if not part.startswith('expires=')] == [
        'HttpOnly',
        'Max-Age=3600',
        'Path=/',
        'SameSite=Lax',
    ]
    assert 'Secure' in parts(browser.get('/', scheme='https'))


def test_each_attribute_of_the_cookie_can_be_set(browser, handler):
    settings = {
        'name': 'temp', 'path': '/x', 'domain': 'example.com', 'secure': True, 'httponly': False,
        'samesite': 'Strict', 'timeout': 0.5,
    }  # fmt: skip
    config = {'tools.sessions.on': True, **{f'tools.sessions.{key}': value for key, value in settings.items()}}
    browser.client.mount(pages(handler)(), '', {'/': config})
    first, *rest = parts(browser.get('/count'))
    assert first.startswith('temp=')
    assert [part for part in rest if not part.startswith('expires=')] == [
        'Domain=example.com',
        'Max-Age=30',
        'Path=/x',
        'SameSite=Strict',
        'Secure',
    ]
    assert browser.get('/count').text == '2'


def test_switched_off_attributes_are_left_out(browser, handler):
    settings = {'secure': False, 'httponly': False, 'samesite': None, 'persistent': False}
    config = {'tools.sessions.on': True, **{f'tools.sessions.{key}': value for key, value in settings.items()}}
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert parts(browser.get('/', scheme='https')) == [f'session_id={browser.id}', 'Path=/']
    # A fresh cookie after a login lasts no longer.
    assert parts(browser.get('/login', scheme='https')) == [f'session_id={browser.id}', 'Path=/']


@pytest.mark.parametrize(
    ('sent', 'path'), [('/app', '/app'), ('/a; Domain=evil.example', '/'), ('evil', '/'), ('', '/')]
)
def test_the_path_may_come_in_a_header(browser, handler, sent, path):
    config = {'tools.sessions.on': True, 'tools.sessions.path_header': 'X-Path'}
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert f'Path={path}' in parts(browser.get('/', headers=[('X-Path', sent)]))
    assert 'Path=/' in parts(browser.get('/'))


def test_expire_lets_the_browser_forget_the_cookie(browser, handler):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    browser.get('/count')
    sent = parts(browser.get('/expire'))
    expires = next(part for part in sent if part.startswith('expires='))[8:]
    from email.utils import parsedate_to_datetime

    assert parsedate_to_datetime(expires) < datetime.datetime.now(datetime.timezone.utc)
    assert not any(part.startswith('Max-Age') for part in sent)
    assert ram_ids(browser.client) == {browser.id}


def test_the_page_may_change_the_cookie(browser, handler):
    class Root(pages(handler)):
        @handler
        def change(self):
            cpadapter.response.cookie['session_id']['samesite'] = 'None'
            cpadapter.response.cookie['other'] = '1'
            return 'ok'

        @handler
        def again(self):
            sessions.set_response_cookie(path='/again', timeout=None)
            return 'ok'

    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True}})
    answer = browser.get('/change')
    assert len(answer.headers.get_all('Set-Cookie')) == 2
    assert any('SameSite=None' in cookie for cookie in answer.headers.get_all('Set-Cookie'))
    assert parts(browser.get('/again'))[1:] == ['HttpOnly', 'Path=/again', 'SameSite=Lax']


@pytest.mark.parametrize('point', ['on_start_resource', 'before_finalize', 'on_end_resource'])
def test_another_cookie_stands_beside_that_of_the_session(browser, handler, point):
    def other():
        cpadapter.response.cookie['other'] = '1'

    config = {'tools.sessions.on': True, f'hooks.{point}.x': cpadapter.Hook(other, priority=60)}
    browser.client.mount(pages(handler)(), '', {'/': config})
    names = [cookie.partition('=')[0] for cookie in browser.get('/count').headers.get_all('Set-Cookie')]
    assert sorted(names) == (['session_id'] if point == 'on_end_resource' else ['other', 'session_id'])


def test_a_cookie_header_of_the_page_stays(browser, handler):
    class Root(pages(handler)):
        @handler
        def own(self):
            cpadapter.response.headers['Set-Cookie'] = 'own=1'
            return 'ok'

    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True}})
    names = [cookie.partition('=')[0] for cookie in browser.get('/own').headers.get_all('Set-Cookie')]
    assert sorted(names) == ['own', 'session_id']


@pytest.mark.parametrize(
    'field',
    ['a=1; session_id={}; b=2', 'session_id={};a=1', ' session_id={} ', 'q="x;y"; session_id={}', 'session_id="{}"'],
)
def test_the_id_is_found_among_other_cookies(browser, handler, field):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    browser.get('/count')
    answer = browser.client.get('/count', headers=[('Cookie', field.format(browser.id))], validated=False)
    assert answer.text == '2'


def test_no_cache_may_share_a_response_with_a_session(browser, handler):
    class Root(pages(handler)):
        @handler
        def public(self):
            cpadapter.response.headers['Cache-Control'] = 'public, max-age=60'
            cpadapter.response.headers['Vary'] = 'Accept'
            return 'ok'

    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True}})
    headers = browser.get('/count').headers
    assert (headers['Cache-Control'], headers['Vary']) == ('private', 'Cookie')
    headers = browser.get('/public').headers
    assert (headers['Cache-Control'], headers['Vary']) == ('public, max-age=60', 'Accept, Cookie')
    headers = browser.get('/error').headers
    assert headers['Cache-Control'] == 'private'
    assert 'Cookie' in headers['Vary']


def test_expires_still_says_what_caches_must_do(browser, handler):
    config = {'tools.expires.on': True, 'tools.expires.force': True, 'tools.sessions.on': True}
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert browser.get('/count').headers['Cache-Control'] == 'no-cache, must-revalidate'


# --- settings -------------------------------------------------------------------------------------------------


def test_unknown_settings_are_reported_once_with_the_nearest(browser, handler):
    config = {'tools.sessions.on': True, 'tools.sessions.timeuot': 5}
    browser.client.mount(pages(handler)(), '', {'/': config})
    browser.get('/')
    browser.get('/count')
    found = [line for line in browser.client.errors if 'timeuot' in line]
    assert len(found) == 1
    assert 'tools.sessions.timeout' in found[0]


def test_a_file_store_without_a_path_is_refused(client, handler):
    config = {'tools.sessions.on': True, 'tools.sessions.storage_class': sessions.FileSession}
    client.mount(pages(handler)(), '', {'/': config})
    assert client.get('/').status == 500
    assert "'tools.sessions.storage_path' is not set" in client.errors[0]


def test_storage_type_names_a_class(browser, handler, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, '_reported', set())
    config = {
        'tools.sessions.on': True,
        'tools.sessions.storage_type': 'file',
        'tools.sessions.storage_path': str(tmp_path),
    }
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert [browser.get('/count').text, browser.get('/count').text] == ['1', '2']
    assert [path.name for path in tmp_path.iterdir()] == [f'session-{browser.id}']
    assert sum('storage_type is deprecated' in line for line in browser.client.errors) == 1


def test_an_unknown_storage_type_is_refused(client, handler):
    client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True, 'tools.sessions.storage_type': 'tape'}})
    assert client.get('/').status == 500
    assert 'TapeSession' in client.errors[0]


def test_a_storage_class_that_is_none_is_refused(client, handler):
    client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True, 'tools.sessions.storage_class': dict}})
    assert client.get('/').status == 500
    assert 'a subclass of Session is wanted' in client.errors[0]


def test_setup_is_called_once_for_each_class(browser, handler):
    calls = []

    class One(sessions.RamSession):
        @classmethod
        def setup(cls, **kwargs):
            calls.append((cls.__name__, kwargs['color']))

    class Two(One):
        pass

    base = {'tools.sessions.on': True, 'tools.sessions.color': 'red'}
    config = {
        '/': {**base, 'tools.sessions.storage_class': One},
        '/count': {**base, 'tools.sessions.storage_class': Two},
    }
    browser.client.mount(pages(handler)(), '', config)
    for path in ('/', '/count', '/', '/count'):
        browser.get(path)
    assert calls == [('One', 'red'), ('Two', 'red')]


def test_the_tool_works_beside_tools_set_up_at_each_request(browser, handler, kind):
    class Old(cpadapter.Tool):
        def _setup(self):
            super()._setup()

    browser.client.site.tools.old = Old('before_handler', lambda: None)
    browser.client.mount(pages(handler)(), '', {'/': {**kind, 'tools.old.on': True}})
    assert [browser.get('/count').text for _ in range(3)] == ['1', '2', '3']
    answer = browser.get('/login')
    assert len(answer.headers.get_all('Set-Cookie')) == 1


def test_init_may_be_a_hook_of_ones_own(browser, handler):
    config = {
        'hooks.before_request_body.s': sessions.init,
        'hooks.before_finalize.s': sessions.save,
        'hooks.on_end_request.s': sessions.close,
    }
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert [browser.get('/count').text for _ in range(3)] == ['1', '2', '3']


def test_debug_tells_what_happens_without_telling_ids(browser, handler):
    config = {'tools.sessions.on': True, 'tools.sessions.debug': True}
    browser.client.mount(pages(handler)(), '', {'/': config})
    browser.get('/count')
    browser.get('/count')
    lines = [line for line in browser.client.errors if 'TOOLS.SESSIONS' in line]
    assert len(lines) == 4
    assert not any(browser.id in line for line in lines)


def test_several_processes_with_sessions_in_memory_are_warned_of_once(wsgi):
    wsgi.mount(pages(expose)(), '', {'/': {'tools.sessions.on': True}, '/count': {'tools.sessions.timeout': 5}})
    for path in ('/', '/count', '/'):
        wsgi.get(path, environ={'wsgi.multiprocess': True})
    assert sum('several processes' in line for line in wsgi.errors) == 1


# --- a store of an application's own --------------------------------------------------------------------------


def test_a_store_as_cherrypy_has_them(browser, handler):
    """With the methods that the stores of applications have: locks of threads, times without zone."""
    kept = {}
    locks = {}
    threads = set()

    class Own(sessions.Session):
        def _exists(self):
            return self.id in kept

        def _load(self):
            threads.add(threading.current_thread().name)
            data, expiry = kept.get(self.id, ({}, None))
            return (dict(data), expiry) if expiry else None

        def _save(self, expiration_time):
            assert self.locked
            threads.add(threading.current_thread().name)
            kept[self.id] = (self._data, expiration_time.astimezone().replace(tzinfo=None))

        def _delete(self):
            kept.pop(self.id, None)

        def acquire_lock(self):
            locks.setdefault(self.id, threading.Lock()).acquire(timeout=5)
            self.locked = True

        def release_lock(self):
            locks[self.id].release()
            self.locked = False

        def __len__(self):
            return len(kept)

    config = {'tools.sessions.on': True, 'tools.sessions.storage_class': Own}
    browser.client.mount(pages(handler)(), '', {'/': config})
    assert [browser.get('/count').text for _ in range(3)] == ['1', '2', '3']
    assert browser.get('/boom').status == 500
    assert browser.get('/show').text == "[('count', 3)]"
    assert not any(lock.locked() for lock in locks.values())
    if handler.is_async or browser.client.protocol == 'asgi':
        assert all(name.startswith('cpadapter-') for name in threads), threads


class TestMemcached:
    @pytest.fixture
    def servers(self, monkeypatch):
        kept = {}

        class HashClient:
            def __init__(self, servers, **options):
                self.servers = servers

            def get(self, key):
                return kept.get(key, (None,))[0]

            def set(self, key, value, expire, noreply):
                kept[key] = (value, expire)
                return True

            def delete(self, key, noreply):
                return kept.pop(key, None) is not None

        module = types.ModuleType('pymemcache.client.hash')
        module.HashClient = HashClient
        for name in ('pymemcache', 'pymemcache.client'):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, 'pymemcache.client.hash', module)
        return kept

    def test_data_is_kept(self, browser, handler, servers):
        config = {'tools.sessions.on': True, 'tools.sessions.storage_class': sessions.MemcachedSession}
        config['tools.sessions.servers'] = ['one:11211']
        browser.client.mount(pages(handler)(), '', {'/': config})
        assert [browser.get('/count').text for _ in range(3)] == ['1', '2', '3']
        assert list(servers) == [browser.id]
        assert shared(browser.client, sessions.MemcachedSession).client.servers == ['one:11211']
        assert sessions.MemcachedSession.cache is None
        in_an_hour = datetime.datetime.now().timestamp() + 3600
        assert abs(servers[browser.id][1] - in_an_hour) < 60
        with pytest.raises(NotImplementedError):
            len(sessions.MemcachedSession())

    def test_without_its_client_the_error_names_the_extra(self, client, handler, monkeypatch):
        monkeypatch.setitem(sys.modules, 'pymemcache', None)
        config = {'tools.sessions.on': True, 'tools.sessions.storage_class': sessions.MemcachedSession}
        client.mount(pages(handler)(), '', {'/': config})
        assert client.get('/').status == 500
        assert 'cpadapter[memcached]' in client.errors[0]


# --- files ----------------------------------------------------------------------------------------------------


def test_files_are_for_their_owner_and_nothing_else_is_left(browser, handler, file_kind, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    folder = tmp_path / 'sessions'
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [f'session-{browser.id}']
    assert stat.S_IMODE((folder / f'session-{browser.id}').stat().st_mode) == 0o600
    data, expiry = pickle.loads((folder / f'session-{browser.id}').read_bytes())
    assert data == {'count': 1}
    assert expiry.tzinfo is not None


@pytest.mark.parametrize(
    'content',
    [b'', b'garbage', pickle.dumps({'a': 1}), pickle.dumps((1, 2)), pickle.dumps(({'a': 1}, 'x'))[:-5], b'\x80\x05'],
)
def test_a_damaged_file_is_a_new_session_and_one_line_in_the_log(browser, handler, file_kind, tmp_path, content):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    (tmp_path / 'sessions' / f'session-{browser.id}').write_bytes(content)
    assert browser.get('/count').text == '1'
    assert browser.get('/count').text == '2'
    assert len(browser.client.errors) == 1
    assert 'is damaged' in browser.client.errors[0]
    assert browser.id not in browser.client.errors[0]


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='needs a file of another user')
def test_a_file_that_another_user_wrote_is_not_loaded(browser, handler, file_kind, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    path = tmp_path / 'sessions' / f'session-{browser.id}'
    path.write_bytes(pickle.dumps(Planted(tmp_path / 'ran')))
    os.utime(path, (2**31, 2**31))
    os.chown(path, 12345, 12345)
    assert browser.get('/count').text == '1'
    assert not (tmp_path / 'ran').exists()
    assert sum('another user' in line for line in browser.client.errors) == 1
    assert browser.get('/count').text == '2'


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('what', ['folder', 'link', 'loop'])
@pytest.mark.parametrize('expired', [False, True])
def test_what_is_no_file_of_a_session_is_a_new_session(browser, handler, file_kind, tmp_path, what, expired):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    path = tmp_path / 'sessions' / f'session-{browser.id}'
    other = tmp_path / 'other'
    path.replace(other)
    if what == 'folder':
        path.mkdir()
    else:
        path.symlink_to(other if what == 'link' else path)
    os.utime(path if what == 'folder' else other, (1, 1) if expired else (2**31, 2**31))
    before = browser.id
    assert browser.get('/count').text == '1'
    assert browser.id != before
    assert browser.get('/count').text == '2'


def test_a_file_damaged_in_place_is_a_new_session_too(browser, handler, file_kind, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    path = tmp_path / 'sessions' / f'session-{browser.id}'
    times = path.stat()
    path.write_bytes(b'garbage')
    os.utime(path, (times.st_atime, times.st_mtime))
    assert browser.get('/count').text == '1'
    assert browser.get('/count').text == '2'
    assert len(browser.client.errors) == 1


def test_a_file_with_local_time_is_read(browser, handler, file_kind, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    folder = tmp_path / 'sessions'
    folder.mkdir()
    later = datetime.datetime.now() + datetime.timedelta(minutes=5)
    (folder / f'session-{"a" * 40}').write_bytes(pickle.dumps(({'count': 41}, later)))
    browser.cookies['session_id'] = 'a' * 40
    assert browser.get('/count').text == '42'
    assert browser.id == 'a' * 40


def test_a_folder_that_went_away_is_made_again(browser, handler, file_kind, tmp_path):
    import shutil

    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')
    shutil.rmtree(tmp_path / 'sessions')
    assert [browser.get('/count').text, browser.get('/count').text] == ['1', '2']


def test_a_write_that_fails_leaves_the_old_data(browser, handler, file_kind, tmp_path, monkeypatch):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    browser.get('/count')

    def full(source, target):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(sessionstores.os, 'replace', full)
        assert browser.get('/count').status == 500
    assert browser.get('/count').text == '2'
    assert len(list((tmp_path / 'sessions').iterdir())) == 1


def test_data_that_cannot_be_pickled_is_an_error_and_the_old_stays(browser, handler, file_kind):
    class Root(pages(handler)):
        @handler
        def bad(self):
            cpadapter.session['x'] = threading.Lock()
            return 'no'

    browser.client.mount(Root(), '', {'/': file_kind})
    browser.get('/count')
    assert browser.get('/bad').status == 500
    assert browser.get('/count').text == '2'


def test_file_sessions_are_counted(browser, handler, file_kind):
    class Root(pages(handler)):
        @expose
        def number(self):
            return str(len(cpadapter.session))

    browser.client.mount(Root(), '', {'/': file_kind})
    for _ in range(3):
        Browser(browser.client).get('/count')
    assert browser.get('/number').text == '3'


# --- expiry ---------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        shift = datetime.timedelta(0)

        def pass_minutes(self, minutes):
            self.shift += datetime.timedelta(minutes=minutes)

    clock = Clock()
    monkeypatch.setattr(
        sessions.Session, 'now', lambda self: datetime.datetime.now(datetime.timezone.utc) + clock.shift
    )
    return clock


def test_data_expires_when_it_was_not_saved_for_the_timeout(browser, handler, kind, clock):
    browser.client.mount(pages(handler)(), '', {'/': {**kind, 'tools.sessions.timeout': 10}})
    assert browser.get('/count').text == '1'
    clock.pass_minutes(9)
    assert browser.get('/count').text == '2'
    clock.pass_minutes(9)
    assert browser.get('/count').text == '3'
    first = browser.id
    clock.pass_minutes(11)
    assert browser.get('/count').text == '1'
    assert browser.id != first


def test_expired_sessions_are_cleaned_up_and_others_are_not(browser, handler, kind, clock, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': {**kind, 'tools.sessions.timeout': 10}})
    for _ in range(5):
        Browser(browser.client).get('/count')
    clock.pass_minutes(9)
    browser.get('/count')
    clock.pass_minutes(2)
    (store,) = browser.client.site.session_stores.values()
    store.sweep()
    if store.cache:
        assert set(store.cache) == {browser.id}
    else:
        assert [path.name for path in (tmp_path / 'sessions').iterdir()] == [f'session-{browser.id}']
    assert len(store.locks) == 0
    assert browser.get('/count').text == '2'


def test_remains_of_killed_processes_are_cleaned_up(browser, handler, file_kind, clock, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': {**file_kind, 'tools.sessions.timeout': 600}})
    browser.get('/count')
    folder = tmp_path / 'sessions'
    for name in (f'session-{"b" * 40}.lock', f'session-{"b" * 40}.012345.tmp', 'unrelated', 'unrelated.lock'):
        (folder / name).write_bytes(b'')
    clock.pass_minutes(61)
    browser.client.site.session_stores[sessions.FileSession].sweep()
    assert {path.name for path in folder.iterdir()} == {f'session-{browser.id}', 'unrelated', 'unrelated.lock'}


def test_a_failing_clean_up_is_logged_and_tried_again(browser, handler, monkeypatch):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    browser.get('/count')

    def fail(self):
        raise OSError('store is away')

    monkeypatch.setattr(sessions.RamSession, 'clean_up', fail)
    shared(browser.client).sweep()
    shared(browser.client).sweep()
    assert sum('store is away' in line for line in browser.client.errors) == 2


def test_the_clean_up_thread_begins_with_the_first_session_and_ends_with_the_engine(browser, handler):
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == 'Session cleanup']

    before = set(threads())
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True}})
    browser.get('/')
    browser.get('/count')
    (mine,) = set(threads()) - before
    assert shared(browser.client).clean_thread.frequency == 300
    browser.client.site.engine.ensure_exited()
    mine.join(5)
    assert not mine.is_alive()


def test_clean_freq_0_starts_no_thread(browser, handler):
    browser.client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True, 'tools.sessions.clean_freq': 0}})
    browser.get('/count')
    assert shared(browser.client).clean_thread is None


def test_requests_clean_up_where_no_thread_runs(browser, handler, clock, kind, tmp_path):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    for _ in range(3):
        Browser(browser.client).get('/count')
    (store,) = browser.client.site.session_stores.values()
    clock.pass_minutes(120)
    browser.get('/count')
    left = len(store.cache) or len(list((tmp_path / 'sessions').iterdir()))
    assert left == 4
    store.late = 0
    browser.get('/count')
    left = len(store.cache) or len(list((tmp_path / 'sessions').iterdir()))
    assert left == 1


def test_a_clean_up_that_fails_does_not_fail_the_request_that_does_it(browser, handler, kind, monkeypatch):
    browser.client.mount(pages(handler)(), '', {'/': kind})
    browser.get('/count')
    (store,) = browser.client.site.session_stores.values()
    cls = kind.get('tools.sessions.storage_class', sessions.RamSession)
    monkeypatch.setattr(cls, 'clean_up_within', lambda self, seconds: 1 / 0)
    store.late = 0
    assert browser.get('/count').text == '2'
    assert any('Cleaning up sessions failed' in line for line in browser.client.errors)
    assert browser.get('/count').text == '3'


def test_a_file_that_cannot_be_removed_keeps_no_other_one_there(browser, handler, file_kind, tmp_path, clock):
    browser.client.mount(pages(handler)(), '', {'/': file_kind})
    for _ in range(3):
        Browser(browser.client).get('/count')
    folder = tmp_path / 'sessions'
    for letter in 'am9':
        stuck = folder / f'session-{letter * 40}'
        stuck.mkdir()
        os.utime(stuck, (1, 1))
    clock.pass_minutes(120)
    (store,) = browser.client.site.session_stores.values()
    store.sweep()
    assert {path.name for path in folder.iterdir()} == {f'session-{letter * 40}' for letter in 'am9'}
    assert any('Cleaning up sessions failed' in line for line in browser.client.errors)


def test_a_clean_up_goes_on_where_the_last_one_had_no_time_left(
    client, handler, file_kind, tmp_path, clock, monkeypatch
):
    client.mount(pages(handler)(), '', {'/': file_kind})
    for _ in range(6):
        Browser(client).get('/count')
    (store,) = client.site.session_stores.values()
    (sweeper,) = store._sweepers.values()
    looked_at = []
    ticks = iter(range(1000))

    class Time:
        monotonic = staticmethod(lambda: next(ticks))

    class Os:
        def __getattr__(self, name):
            return getattr(os, name)

        def stat(self, path):
            looked_at.append(path)
            return os.stat(path)

    monkeypatch.setattr(sessionstores, 'time', Time)
    monkeypatch.setattr(sessionstores, 'os', Os())
    done = [sweeper.clean_up_within(2.5) for _ in range(3)]
    assert done == [False, False, True]
    assert len(looked_at) == len(set(looked_at)) == 6


def test_importing_starts_no_thread_and_loads_nothing_heavy():
    program = (
        'import sys, threading, cpadapter, cpadapter.lib.sessions\n'
        'heavy = {"pickle", "datetime", "http.cookies", "asyncio", "hashlib", "secrets", "pymemcache"}\n'
        'heavy |= {"cpadapter.lib.sessionbase", "cpadapter.lib.sessionstores"}\n'
        'print(threading.active_count(), sorted(heavy & set(sys.modules)))\n'
    )
    ran = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=20, check=True)
    assert ran.stdout.strip() == '1 []'


# --- locks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('locking', ['implicit', 'early'])
def test_the_lock_is_free_however_the_request_ended(browser, handler, kind, locking):
    def refuse():
        raise cpadapter.HTTPError(403)

    def break_down():
        raise RuntimeError('in a hook')

    config = {
        '/': {**kind, 'tools.sessions.locking': locking},
        '/delete': {'hooks.before_handler.x': cpadapter.Hook(refuse, priority=55)},
        '/put': {'hooks.before_finalize.x': cpadapter.Hook(break_down, priority=10)},
        '/login': {'hooks.before_finalize.x': cpadapter.Hook(refuse, priority=60)},
        '/expire': {'hooks.before_handler.x': cpadapter.Hook(break_down, priority=90)},
        '/chunks': {'response.stream': True},
    }
    browser.client.mount(pages(handler)(), '', config)
    browser.get('/count')
    (store,) = browser.client.site.session_stores.values()
    expected = {
        '/': 200, '/delete': 403, '/boom': 500, '/error': 402, '/redirect': 303, '/inside': 200, '/expire': 500,
        '/put?key=a&value=1': 500, '/put': 500, '/login': 403, '/chunks': 200, '/nosuch': 404,
    }  # fmt: skip
    for path, status in expected.items():
        assert browser.get(path).status == status, path
        assert len(store.locks) == 0, path
    assert browser.get('/chunks', stop_after=1).left
    assert len(store.locks) == 0


def test_a_held_lock_is_waited_for_and_no_longer_than_it_says(browser, handler, kind):
    browser.client.mount(pages(handler)(), '', {'/': {**kind, 'tools.sessions.lock_timeout': 0.05}})
    browser.get('/count')
    (store,) = browser.client.site.session_stores.values()
    assert store.locks.take(browser.id, 'somebody')
    assert browser.get('/count').status == 500
    assert 'Timeout acquiring lock' in browser.client.errors[0]
    assert browser.id not in browser.client.errors[0]
    store.locks.release(browser.id, 'somebody')
    assert browser.get('/count').text == '2'
    assert len(store.locks) == 0


@pytest.mark.parametrize(
    ('key', 'value', 'told'),
    [
        ('path', 'a\nb', 'cookie'),
        ('path', '/a; Domain=x', 'cookie'),
        ('domain', 'a;b', 'cookie'),
        ('lock_timeout', 'soon', 'a timedelta'),
        ('locking', 'implict', "'implicit'"),
        ('locking', 'explict', "'explicit'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(client, handler, key, value, told):
    client.mount(pages(handler)(), '', {'/': {'tools.sessions.on': True, f'tools.sessions.{key}': value}})
    assert client.get('/').status == 500
    text = ''.join(client.errors)
    assert f"'tools.sessions.{key}' = {value!r} in section [/]" in text
    assert told in text


@pytest.mark.parametrize('locking', ['by hand', None, False])
def test_any_other_word_leaves_the_lock_to_the_page_handler(browser, handler, locking):
    config = {'tools.sessions.on': True, 'tools.sessions.locking': locking}

    class Root:
        @handler
        def index(self):
            return str(cpadapter.session.locked)

    browser.client.mount(Root(), '', {'/': config})
    assert browser.get('/').text == 'False'


def test_a_lock_timeout_that_is_none_is_refused(client, handler):
    config = {'tools.sessions.on': True, 'tools.sessions.lock_timeout': 'soon'}
    client.mount(pages(handler)(), '', {'/': config})
    assert client.get('/').status == 500
    assert 'numeric seconds or a timedelta' in client.errors[0]


def test_explicit_locking_leaves_it_to_the_page_and_saves_all_the_same(browser, kind):
    class Root(pages(expose)):
        @expose
        def locked(self):
            session = cpadapter.session
            assert not session.locked
            session.acquire_lock()
            session.acquire_lock()
            assert session.locked
            session['n'] = session.get('n', 0) + 1
            session.release_lock()
            return str(session['n'])

        @expose
        async def alocked(self):
            session = cpadapter.session
            await session.aacquire_lock()
            assert session.locked
            session['n'] = session.get('n', 0) + 1
            await session.arelease_lock()
            assert not session.locked
            return str(session['n'])

    browser.client.mount(Root(), '', {'/': {**kind, 'tools.sessions.locking': 'explicit'}})
    assert [browser.get(path).text for path in ('/locked', '/alocked', '/locked', '/alocked')] == ['1', '2', '3', '4']
    assert browser.get('/count').text == '1'
    assert not browser.client.errors


def test_async_pages_use_the_async_methods_of_a_store_that_waits(browser, kind):
    class Root(pages(expose)):
        @expose
        async def all(self):
            session = cpadapter.session
            await session.aload()
            session['a'] = 1
            await session.aregenerate()
            await session.asave()
            assert not session.locked
            session['b'] = 2
            await session.asave()
            await session.adelete()
            await session.asave()
            return 'ok'

        @expose
        async def wrong(self):
            session = cpadapter.session
            if not session.blocking:
                return 'ok'
            for name in ('save', 'delete', 'release_lock'):
                session.loaded = True
                with pytest.raises(RuntimeError, match=f'await cpadapter.session.a{name}'):
                    getattr(session, name)()
                session.locked = True
            with pytest.raises(RuntimeError, match='to_thread'):
                len(session)
            session.loaded = False
            return 'ok'

    browser.client.mount(Root(), '', {'/': kind})
    assert browser.get('/all').text == 'ok', browser.client.errors
    assert browser.get('/show').text == "[('a', 1), ('b', 2)]"


def test_a_page_on_the_loop_cannot_wait_for_a_lock_by_the_plain_method(asgi):
    class Root(pages(expose)):
        @expose
        async def wait(self):
            store = cpadapter.session.shared
            assert store.locks.take(cpadapter.session.id, 'somebody')
            with pytest.raises(RuntimeError, match=r'await cpadapter\.session\.aacquire_lock'):
                cpadapter.session.acquire_lock()
            store.locks.release(cpadapter.session.id, 'somebody')
            return 'ok'

    asgi.mount(Root(), '', {'/': {'tools.sessions.on': True, 'tools.sessions.locking': 'explicit'}})
    assert asgi.get('/wait').text == 'ok', asgi.errors


def test_a_session_at_work_is_not_cleaned_away(browser, clock):
    class Root(pages(expose)):
        @expose
        def slow(self):
            clock.pass_minutes(100)
            cpadapter.session.shared.sweep()
            return str(len(cpadapter.session.cache))

    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True}})
    browser.get('/count')
    assert browser.get('/slow').text == '1'
    assert browser.get('/count').text == '1'


# --- many at once ---------------------------------------------------------------------------------------------


class Counting:
    """A page that would lose counts if two requests ran it at once."""

    @expose
    def plain(self):
        seen = cpadapter.session.get('n', 0)
        threading.Event().wait(0.0005)
        cpadapter.session['n'] = seen + 1
        return str(seen + 1)

    @expose
    async def asynchronous(self):
        seen = cpadapter.session.get('n', 0)
        await asyncio.sleep(0.0005)
        cpadapter.session['n'] = seen + 1
        return str(seen + 1)

    @expose
    def total(self):
        return str(cpadapter.session.get('n'))

    @expose
    def start(self):
        cpadapter.session['n'] = 0
        return '0'

    @expose
    async def health(self):
        return 'well'


def test_threads_on_one_session_lose_no_count(wsgi, kind):
    wsgi.mount(Counting(), '', {'/': kind})
    browser = Browser(wsgi)
    browser.get('/start')
    failed = []

    def work(number):
        mine = Browser(wsgi)
        mine.cookies = dict(browser.cookies)
        for i in range(15):
            answer = mine.get('/asynchronous' if (i + number) % 3 == 0 else '/plain')
            if answer.status != 200:
                failed.append(answer)

    # The fixture's validator looks at warnings, which are the process's.
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, wsgi.errors
    assert browser.get('/total').text == '120'
    (store,) = wsgi.site.session_stores.values()
    assert len(store.locks) == 0


def run(asgi, main):
    return asgi.loop.run_until_complete(main())


async def ask(asgi, path, cookie):
    """Ask without waiting for the tasks of others, as the client's own method does."""
    call = Call('GET', path, headers=[('Cookie', cookie)])
    answer = Answer()
    checker = AsgiChecker(call, answer)
    await asgi.app(asgi.scope(call), checker.receive, checker.send)
    assert checker.fault is None
    return answer


def test_requests_at_once_on_one_session_lose_no_count_and_leave_the_loop_free(asgi, kind):
    # Fewer threads than waiting requests: who waits must hold none, or who has the lock could not go on.
    asgi.site.config.update({'server.thread_pool': 2})
    asgi.mount(Counting(), '', {'/': kind, '/health': {'tools.sessions.on': False}})
    browser = Browser(asgi)
    browser.get('/start')
    cookie = f'session_id={browser.id}'

    async def main():
        requests = [ask(asgi, '/asynchronous' if i % 2 else '/plain', cookie) for i in range(40)]
        tasks = [asyncio.ensure_future(request) for request in requests]
        longest = 0.0
        while not all(task.done() for task in tasks):
            begun = asgi.loop.time()
            assert (await ask(asgi, '/health', cookie)).text == 'well'
            longest = max(longest, asgi.loop.time() - begun)
            await asyncio.sleep(0.002)
        return [task.result() for task in tasks], longest

    answers, longest = run(asgi, main)
    assert [answer.status for answer in answers] == [200] * 40, asgi.errors
    assert sorted(int(answer.text) for answer in answers) == list(range(1, 41))
    assert longest < 1
    assert browser.get('/total').text == '40'


def test_a_cancelled_request_frees_the_lock_it_holds_or_waits_for(asgi, kind, handler):
    reached = asyncio.Event()

    class Root(Counting):
        @expose
        async def hold(self):
            cpadapter.session['held'] = 1
            reached.set()
            await asyncio.sleep(30)

    asgi.mount(Root(), '', {'/': kind})
    browser = Browser(asgi)
    browser.get('/start')
    cookie = f'session_id={browser.id}'
    waiting_page = '/asynchronous' if handler.is_async else '/plain'
    (store,) = asgi.site.session_stores.values()

    async def main():
        holder = asyncio.ensure_future(ask(asgi, '/hold', cookie))
        await reached.wait()
        waiters = [asyncio.ensure_future(ask(asgi, waiting_page, cookie)) for _ in range(3)]
        while len(store.locks._queues.get(browser.id, ())) < 3:
            await asyncio.sleep(0.001)
        waiters[0].cancel()
        await asyncio.wait(waiters[:1])
        assert waiters[0].cancelled()
        holder.cancel()
        await asyncio.wait([holder])
        return await asyncio.gather(*waiters[1:])

    assert [answer.text for answer in run(asgi, main)] == ['1', '2']
    assert len(store.locks) == 0
    assert browser.get('/total').text == '2'


def test_no_file_is_touched_on_the_event_loop(asgi, file_kind, monkeypatch, tmp_path):
    touched = []
    folder = str(tmp_path / 'sessions')
    for name in ('open', 'stat', 'replace', 'unlink', 'listdir', 'utime'):
        real = getattr(os, name)

        def watched(*args, real=real, name=name, **kwargs):
            if str(args[0]).startswith(folder) and sessionbase.on_a_loop():
                touched.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, watched)

    class Root(pages(lambda func: expose(to_async(func)))):
        @expose
        @cpadapter.config(**{'request.non_blocking': True})
        def light(self):
            cpadapter.session['light'] = cpadapter.session.get('light', 0) + 1
            return str(cpadapter.session['light'])

    asgi.mount(Root(), '', {'/': file_kind, '/chunks': {'response.stream': True}})
    browser = Browser(asgi)
    for path in ('/count', '/light', '/login', '/error', '/boom', '/chunks', '/nosuch', '/inside', '/expire'):
        browser.get(path)
    assert browser.get('/light').text == '2'
    assert touched == []


def test_nothing_of_a_request_outlives_it(wsgi, kind):
    class Marked:
        pass

    class Root(pages(expose)):
        @expose
        def mark(self):
            cpadapter.serving.session.mark = Marked()
            return self.count()

    wsgi.mount(Root(), '', {'/': kind})
    browser = Browser(wsgi)
    for _ in range(3):
        browser.get('/mark')
    gc.collect()
    assert sum(type(thing) is Marked for thing in gc.get_objects()) == 0


@pytest.mark.parametrize('name', [*sessions.__all__, 'LockTimeout'])
def test_names_are_found_where_applications_look_for_them(name):
    program = f'from cpadapter.lib import sessions; assert {name!r} in dir(sessions); print(sessions.{name}.__name__)'
    ran = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=20, check=True)
    assert ran.stdout.strip() == name


def test_a_name_that_is_nowhere_is_an_attribute_error():
    with pytest.raises(AttributeError, match='TapeSession'):
        sessions.TapeSession  # noqa: B018


@pytest.mark.parametrize('settings', [{}, {'tools.sessions.storage_type': 'ram'}])
def test_a_class_put_in_place_of_the_default_one_is_used(browser, handler, monkeypatch, settings):
    class Own(sessions.RamSession):
        pass

    class Root(pages(handler)):
        @handler
        def kind(self):
            return type(cpadapter.serving.session).__name__

    monkeypatch.setattr(sessions, 'RamSession', Own)
    browser.client.mount(Root(), '', {'/': {'tools.sessions.on': True, **settings}})
    assert browser.get('/kind').text == 'Own'


def test_lock_timeout_is_the_error_of_the_locking_module():
    assert issubclass(LockTimeout, Exception)
    assert sessions.LockTimeout is LockTimeout
