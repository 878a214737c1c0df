"""The `caching` tool: what it keeps, answers and removes, and who waits for whom."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpadapter
from cpadapter.extension.tools import HandlerTool
from cpadapter.lib import caching, cptools
from cpadapter.lib.caching import Cache, MemoryCache
from cpadapter.lib.httputil import HTTPDate

OTHER = {'Host': 'other'}


class Clock:
    """The store's clock, moved by the test."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Site:
    """A page that counts its visits: `respond(**headers)` says what it answers with."""

    def __init__(self, client, handler, **settings):
        self.client = client
        self.visits = 0
        self.headers = {}
        self.status = None
        self.body = 'body'
        self.error = None
        self.within = lambda: None
        self.settings = settings
        self.clock = Clock()
        site = self

        def page(*path, **params):
            site.visits += 1
            site.within()
            cpadapter.response.headers.update(site.headers)
            if site.status is not None:
                cpadapter.response.status = site.status
            if site.error is not None:
                raise site.error
            return f'{site.body} {site.visits}' if isinstance(site.body, str) else site.body

        class Root:
            x = staticmethod(handler(page))
            y = staticmethod(handler(page))

        self.mount(Root())

    def mount(self, root, **config):
        named = {f'tools.caching.{name}': value for name, value in self.settings.items()}
        self.client.mount(root, '', {'/': {'tools.caching.on': True, **named, **config}})

    @property
    def cache(self):
        cache = self.client.site.tools.caching.cache
        cache.clock = self.clock
        return cache

    def get(self, target='/x', headers=None, method='GET', **more):
        if self.client.site.tools.caching.cache is None and 'cache_class' not in self.settings:
            self.client.site.tools.caching.caches[MemoryCache] = MemoryCache()
        if isinstance(self.client.site.tools.caching.cache, MemoryCache):
            self.client.site.tools.caching.cache.clock = self.clock
        return self.client.request(method, target, headers=headers or {}, **more)

    def is_stored(self, target='/x', **more):
        """Ask twice; say whether the second answer came from the cache."""
        self.get(target, **more)
        before = self.visits
        answer = self.get(target, **more)
        assert (self.visits == before) == ('Age' in answer.headers)
        return self.visits == before


@pytest.fixture
def site(client, handler):
    return Site(client, handler)


@pytest.fixture
def make_site(client, handler):
    return lambda **settings: Site(client, handler, **settings)


class TestStoring:
    """RFC 9111 section 3: what may be stored."""

    def test_a_page_is_answered_from_the_cache_with_its_age(self, site):
        first = site.get()
        site.clock.now += 7.9
        second = site.get()
        assert (first.status, second.status) == (200, 200)
        assert first.body == second.body == b'body 1'
        assert 'Age' not in first.headers
        assert second.headers['Age'] == '7'
        assert second.headers['Content-Type'] == first.headers['Content-Type']
        assert second.headers['Content-Length'] == '6'

    @pytest.mark.parametrize('status', [203, 301])
    def test_these_statuses_are_stored_without_being_asked(self, site, status):
        site.status = status
        assert site.is_stored()

    @pytest.mark.parametrize('status', [201, 302, 404, 503])
    def test_other_statuses_are_not(self, site, status):
        site.status = status
        assert not site.is_stored()

    @pytest.mark.parametrize('status', [302])
    def test_a_temporary_redirect_is_stored_where_it_says_for_how_long(self, site, status):
        site.status = status
        site.headers = {'Cache-Control': 'max-age=5'}
        assert site.is_stored()

    @pytest.mark.parametrize('error', [cpadapter.HTTPError(404), cpadapter.HTTPError(410), ValueError('x')])
    def test_error_pages_are_not_stored_since_they_suit_one_client(self, site, error):
        site.error = error
        site.headers = {'Cache-Control': 'max-age=5'}
        assert not site.is_stored()

    @pytest.mark.parametrize('field', ['no-store', 'private', 'max-age=0'])
    def test_a_response_that_forbids_it_is_not_stored(self, site, field):
        site.headers = {'Cache-Control': field}
        assert not site.is_stored()

    @pytest.mark.parametrize('field', ['max-age=60', 'max-age=99999999999999'])
    def test_a_response_that_allows_it_is_stored(self, site, field):
        site.headers = {'Cache-Control': field}
        assert site.is_stored()

    def test_pragma_no_cache_forbids_it_where_there_is_no_cache_control(self, site):
        site.headers = {'Pragma': 'no-cache'}
        assert not site.is_stored()
        site.headers = {'Pragma': 'no-cache', 'Cache-Control': 'max-age=5'}
        assert site.is_stored()

    def test_a_request_that_forbids_storing_is_neither_stored_nor_answered_from_the_cache(self, site):
        no_store = {'Cache-Control': 'no-store'}
        site.get(headers=no_store)
        assert 'Age' not in site.get().headers
        assert 'Age' not in site.get(headers=no_store).headers

    def test_a_response_with_a_cookie_is_not_stored(self, site, client, handler):
        def page():
            cpadapter.response.cookie['a'] = 'secret'
            return 'x'

        class Root:
            x = staticmethod(handler(page))

        site.mount(Root())
        for _ in range(2):
            answer = site.get()
            assert 'Age' not in answer.headers
            assert 'a=secret' in answer.headers['Set-Cookie']

    def test_authentication_info_of_one_client_is_not_stored(self, site):
        site.headers = {'Cache-Control': 'public', 'Authentication-Info': 'rspauth="0"'}
        assert site.get().headers['Authentication-Info'] == 'rspauth="0"'
        assert 'Authentication-Info' not in site.get().headers

    def test_a_set_cookie_header_is_not_stored(self, site):
        site.headers = {'Set-Cookie': 'a=1'}
        assert not site.is_stored()

    @pytest.mark.parametrize('sent', [{}, {'Cookie': 'a=1'}])
    def test_a_response_made_by_looking_at_cookies_is_not_stored(self, site, sent):
        site.within = lambda: cpadapter.request.cookie.get('a')
        assert not site.is_stored(headers=sent)

    @pytest.mark.parametrize('headers', [{'Vary': 'Cookie'}, {'Cache-Control': 'must-revalidate'}])
    def test_it_is_where_it_says_that_this_makes_no_harm(self, site, headers):
        site.within = lambda: cpadapter.request.cookie.get('a')
        site.headers = headers
        assert site.is_stored(headers={'Cookie': 'a=1'})

    def test_a_page_with_a_session_is_not_shared(self, client, handler):
        def page():
            cpadapter.session['n'] = cpadapter.session.get('n', 0) + 1
            return str(cpadapter.session['n'])

        class Root:
            x = staticmethod(handler(page))

        client.mount(Root(), '', {'/': {'tools.caching.on': True, 'tools.sessions.on': True}})
        assert [client.get('/x').body for _ in range(3)] == [b'1', b'1', b'1']

    @pytest.mark.parametrize('field', [None, 'max-age=60'])
    def test_the_answer_to_credentials_is_not_stored(self, site, field):
        site.headers = {'Cache-Control': field} if field else {}
        site.get(headers={'Authorization': 'Basic eDp5'})
        assert 'Age' not in site.get().headers
        assert 'Age' in site.get().headers

    @pytest.mark.parametrize('field', ['public', 'must-revalidate, max-age=9', 's-maxage=9'])
    def test_it_is_where_it_says_that_it_is_for_all(self, site, field):
        site.headers = {'Cache-Control': field}
        site.get(headers={'Authorization': 'Basic eDp5'})
        assert 'Age' in site.get().headers
        assert 'Age' in site.get(headers={'Authorization': 'Basic eDp5'}).headers

    def test_who_sends_credentials_is_not_answered_by_what_others_got(self, site):
        site.get()
        assert 'Age' in site.get().headers
        assert 'Age' not in site.get(headers={'Authorization': 'Basic eDp5'}).headers

    def test_a_logged_in_user_counts_as_credentials(self, site):
        site.within = lambda: setattr(cpadapter.request, 'login', 'someone')
        assert not site.is_stored()

    def test_a_part_is_not_stored(self, site):
        site.status = 206
        site.headers = {'Content-Range': 'bytes 0-3/9', 'Cache-Control': 'max-age=60'}
        assert not site.is_stored()

    def test_an_empty_body_is_not_stored(self, site):
        site.body = b''
        assert not site.is_stored()

    def test_a_header_of_the_connection_does_not_come_from_the_store(self, site):
        site.headers = {'X-Own': 'kept'}
        site.get()
        headers = site.get().headers
        assert headers['X-Own'] == 'kept'
        assert 'Server' not in headers


class TestFreshness:
    """RFC 9111 sections 4.2 and 5.2: how long."""

    @pytest.mark.parametrize(
        ('headers', 'seconds'),
        [
            ({}, 600),
            ({'Cache-Control': 'max-age=10'}, 10),
            ({'Age': '590'}, 10),
            ({'Age': '5', 'Cache-Control': 'max-age=10'}, 5),
        ],
    )
    def test_a_response_is_fresh_for_as_long_as_it_says_else_for_the_delay(self, site, headers, seconds):
        site.headers = headers
        site.get()
        site.clock.now += seconds - 0.5
        assert 'Age' in site.get().headers
        assert site.visits == 1
        site.clock.now += 0.5
        site.get()
        assert site.visits == 2

    def test_expires_counts_where_there_is_no_max_age(self, site):
        site.headers = {'Expires': HTTPDate(time.time() + 100)}
        site.get()
        site.clock.now += 90
        assert 'Age' in site.get().headers
        site.clock.now += 11
        assert 'Age' not in site.get().headers

    @pytest.mark.parametrize('text', ['0', 'Sun, 28 Jan 2007 00:00:00 GMT'])
    def test_an_expires_that_is_past_or_no_date_means_stale(self, site, text):
        site.headers = {'Expires': text}
        assert not site.is_stored()

    def test_age_of_what_was_stored_goes_on(self, site):
        site.headers = {'Age': '100'}
        site.get()
        site.clock.now += 5
        assert site.get().headers['Age'] == '105'

    def test_each_path_has_a_delay_of_its_own(self, client, handler):
        site = Site(client, handler)
        config = {'/': {'tools.caching.on': True}, '/y': {'tools.caching.delay': 3}}
        client.mount(client.site.tree.apps[''].root, '', config)
        for path in ('/x', '/y'):
            site.get(path)
        site.clock.now += 10
        assert 'Age' in site.get('/x').headers
        assert 'Age' not in site.get('/y').headers

    def test_a_step_of_the_systems_clock_changes_no_age(self, site, monkeypatch):
        site.get()
        now = time.time()
        monkeypatch.setattr(time, 'time', lambda: now + 86400)
        assert site.get().headers['Age'] == '0'
        monkeypatch.setattr(time, 'time', lambda: now - 86400)
        site.clock.now += 601
        assert 'Age' not in site.get().headers

    @pytest.mark.parametrize('delay', [0, -1])
    def test_without_a_delay_only_what_says_so_is_stored(self, make_site, delay):
        site = make_site(delay=delay)
        assert not site.is_stored()
        site.headers = {'Cache-Control': 'max-age=5'}
        assert site.is_stored()


class TestRequestDirectives:
    """RFC 9111 section 5.2.1."""

    @pytest.fixture
    def stored(self, site):
        site.headers = {'Cache-Control': 'max-age=100'}
        site.get()
        site.clock.now += 50
        return site

    @pytest.mark.parametrize(
        ('field', 'hit'),
        [
            ('max-age=50', True),
            ('max-age=49', False),
            ('no-cache', False),
            ('NO-STORE', False),
            ('only-if-cached', True),
        ],
    )
    def test_they_decide_about_a_fresh_response(self, stored, field, hit):
        assert ('Age' in stored.get(headers={'Cache-Control': field}).headers) is hit

    @pytest.mark.parametrize(('field', 'hit'), [('max-stale=10', True), ('max-stale=9', False), ('', False)])
    def test_they_decide_about_a_stale_one(self, stored, field, hit):
        stored.clock.now += 60
        answer = stored.get(headers={'Cache-Control': field} if field else {})
        assert ('Age' in answer.headers) is hit

    @pytest.mark.parametrize('own', ['must-revalidate'])
    def test_what_must_be_revalidated_is_never_given_stale(self, site, own):
        site.headers = {'Cache-Control': f'max-age=100, {own}'}
        site.get()
        site.clock.now += 110
        assert 'Age' not in site.get(headers={'Cache-Control': 'max-stale'}).headers

    def test_pragma_no_cache_counts_as_no_cache(self, stored):
        assert 'Age' not in stored.get(headers={'Pragma': 'no-cache'}).headers

    def test_pragma_counts_for_nothing_beside_cache_control(self, stored):
        assert 'Age' in stored.get(headers={'Pragma': 'no-cache', 'Cache-Control': 'max-age=60'}).headers

    def test_what_no_cache_made_is_stored_in_the_place_of_the_old(self, stored):
        stored.get(headers={'Cache-Control': 'no-cache'})
        assert stored.get().body == b'body 2'

    @pytest.mark.parametrize('field', ['max-age=x'])
    def test_a_number_that_is_none_is_a_bad_request(self, stored, field):
        answer = stored.get(headers={'Cache-Control': field})
        assert answer.status == 400
        assert 'Invalid Cache-Control header' in answer.text

    def test_only_if_cached_is_answered_504_where_nothing_is_stored(self, site):
        answer = site.get(headers={'Cache-Control': 'only-if-cached'})
        assert (answer.status, site.visits) == (504, 0)

    @pytest.mark.parametrize('more', ['no-cache', 'no-store', 'max-age=1'])
    def test_only_if_cached_is_answered_504_where_what_is_stored_will_not_do(self, stored, more):
        answer = stored.get(headers={'Cache-Control': f'only-if-cached, {more}'})
        assert (answer.status, stored.visits) == (504, 1)


class Revalidated:
    """A page that answers 304 to whoever has what it gives."""

    def __init__(self, client, handler, by='etags', cache_control='max-age=10', **settings):
        self.site = Site(client, handler, **settings)
        self.made = 0
        self.tag = '"one"'
        self.cache_control = cache_control
        self.more = {}

        def page():
            self.made += 1
            headers = cpadapter.response.headers
            headers.update({'Cache-Control': self.cache_control, **self.more})
            if by == 'etags':
                headers['ETag'] = self.tag
            else:
                headers['Last-Modified'] = 'Sun, 06 Nov 1994 08:49:37 GMT'
                cptools.validate_since()
            return 'page'

        class Root:
            x = staticmethod(handler(page))

        self.site.mount(Root(), **{'tools.etags.on': by == 'etags'})
        self.condition = (
            {'If-None-Match': '"one"'} if by == 'etags' else {'If-Modified-Since': 'Sun, 06 Nov 1994 08:49:37 GMT'}
        )

    def get(self, **headers):
        return self.site.get(headers={name.replace('_', '-'): value for name, value in headers.items()})

    def ask(self, **more):
        return self.get(**self.condition, **more)


class TestFreshening:
    """RFC 9111 section 4.3.4: a 304 that answers a client's condition holds for the stored response too."""

    @pytest.mark.parametrize('by', ['etags', 'date'])
    def test_a_304_makes_the_stored_response_fresh_again(self, client, handler, by):
        page = Revalidated(client, handler, by)
        page.get()
        page.site.clock.now += 11
        page.more = {'X-New': 'yes'}
        assert (page.ask().status, page.made) == (304, 2)
        page.site.clock.now += 9
        answer = page.get()
        assert (answer.status, answer.body, answer.headers['Age'], page.made) == (200, b'page', '9', 2)
        assert answer.headers['X-New'] == 'yes'
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        page.site.clock.now += 1
        assert 'Age' not in page.get().headers

    def test_so_does_one_to_a_client_that_asks_the_page_itself(self, client, handler):
        page = Revalidated(client, handler)
        page.get()
        page.site.clock.now += 9
        assert (page.ask(Cache_Control='no-cache').status, page.made) == (304, 2)
        page.site.clock.now += 9
        assert page.get().headers['Age'] == '9'

    def test_a_304_for_another_version_does_not(self, client, handler):
        page = Revalidated(client, handler)
        page.get()
        page.site.clock.now += 11
        page.tag = '"two"'
        assert page.get(If_None_Match='"two"').status == 304
        answer = page.get()
        assert ('Age' in answer.headers, answer.headers['ETag']) == (False, '"two"')

    @pytest.mark.parametrize('field', ['no-store', 'private', 'max-age=0'])
    def test_nor_does_one_that_lets_nobody_keep_it(self, client, handler, field):
        page = Revalidated(client, handler)
        page.get()
        page.site.clock.now += 11
        page.cache_control = field
        assert page.ask().status == 304
        assert 'Age' not in page.get().headers

    def test_what_was_invalidated_meanwhile_is_not_brought_back(self, client, handler):
        page = Revalidated(client, handler)
        page.get()
        page.site.clock.now += 11
        cache = page.site.cache
        cache.put, put = lambda *args: (cache.delete(), put(*args)), cache.put
        assert page.ask().status == 304
        assert cache.store == {}

    def test_a_store_of_ones_own_is_given_the_new_one(self, client, handler):
        class Own(Cache):
            kept = None

            def get(self):
                return self.kept

            def put(self, obj, size):
                self.kept = obj

            def delete(self):
                self.kept = None

        page = Revalidated(client, handler, cache_class=Own)
        page.get()
        cache = client.site.tools.caching.cache
        status, headers, body, made = cache.kept
        cache.kept = (status, headers, body, made - 11)
        assert page.ask().status == 304
        assert (cache.kept[2], page.made) == (b'page', 2)
        assert 'Age' in page.get().headers


class TestStale:
    """RFC 5861: stale-if-error and stale-while-revalidate."""

    @pytest.mark.parametrize('error', [ValueError('x'), cpadapter.HTTPError(503), cpadapter.HTTPError(500)])
    def test_stale_if_error_answers_in_the_place_of_an_error(self, site, error):
        site.headers = {'Cache-Control': 'max-age=10, stale-if-error=20'}
        site.get()
        site.clock.now += 15
        site.error = error
        answer = site.get()
        assert (answer.status, answer.body, answer.headers['Age']) == (200, b'body 1', '15')
        site.clock.now += 20
        assert site.get().status >= 500

    def test_a_response_that_is_stale_at_once_is_kept_for_errors(self, site):
        site.headers = {'Cache-Control': 'max-age=0, stale-if-error=20'}
        assert not site.is_stored()
        site.clock.now += 20
        site.error = ValueError('x')
        answer = site.get()
        assert (answer.status, answer.body, answer.headers['Age']) == (200, b'body 2', '20')
        site.clock.now += 1
        assert site.get().status == 500

    def test_it_does_not_answer_whoever_asks_for_nothing_stored(self, site):
        site.headers = {'Cache-Control': 'max-age=10, stale-if-error=20'}
        site.get()
        site.error = ValueError('x')
        assert site.get(headers={'Cache-Control': 'no-cache'}).status == 500

    def test_it_does_not_hide_what_the_client_did_wrong(self, site):
        site.headers = {'Cache-Control': 'max-age=10, stale-if-error=20'}
        site.get()
        site.clock.now += 15
        site.error = cpadapter.HTTPError(404)
        assert site.get().status == 404

    def test_an_error_is_an_error_where_nothing_allows_for_stale_answers(self, site):
        site.headers = {'Cache-Control': 'max-age=10'}
        site.get()
        site.clock.now += 15
        site.error = ValueError('x')
        assert site.get().status == 500

    def test_stale_while_revalidate_answers_while_another_request_makes_the_new_response(self, wsgi):
        started, go_on = threading.Event(), threading.Event()

        class Root:
            visits = 0

            @cpadapter.expose
            def x(self):
                self.visits += 1
                if self.visits > 1:
                    started.set()
                    assert go_on.wait(10)
                cpadapter.response.headers['Cache-Control'] = 'max-age=10, stale-while-revalidate=20'
                return f'body {self.visits}'

        wsgi.mount(Root(), '', {'/': {'tools.caching.on': True}})
        wsgi.get('/x')
        clock = wsgi.site.tools.caching.cache.clock = Clock()
        for table in wsgi.site.tools.caching.cache.store.values():
            for stored in table.values():
                stored.at = clock.now
        clock.now += 15
        with in_thread(lambda: wsgi.get('/x')) as first:
            assert started.wait(10)
            second = wsgi.get('/x')
            assert (second.body, second.headers['Age']) == (b'body 1', '15')
            go_on.set()
        assert first.answer.body == b'body 2'


class TestKeys:
    """RFC 9111 sections 2 and 4.1: what is stored is found again, and by nobody else."""

    def test_query_and_path_and_host_and_scheme_tell_resources_apart(self, site):
        bodies = {
            site.get(target, **more).body
            for target, more in [
                ('/x', {}),
                ('/y', {}),
                ('/x?a=1', {}),
                ('/x?a=2', {}),
                ('/x/a', {}),
                ('/x', {'headers': OTHER, 'host': None}),
                ('/x', {'scheme': 'https'}),
            ]
        }
        assert len(bodies) == 7

    def test_the_case_of_the_host_does_not_matter(self, site):
        site.get(headers={'Host': 'Some.Host'})
        assert 'Age' in site.get(headers={'Host': 'some.host'}).headers

    def test_an_escaped_question_mark_is_no_query(self, site):
        assert site.get('/x/a%3Fb').body != site.get('/x/a?b').body

    @pytest.mark.parametrize('raw', [True, None])
    def test_an_escaped_slash_is_no_slash(self, site, raw):
        more = {'raw': raw} if raw else {}
        paths = ['/x/a/b', '/x/a%2Fb', '/x/a%252Fb']
        assert len({site.get(path, **more).body for path in paths}) >= (
            3 if raw or site.client.protocol == 'asgi' else 2
        )

    def test_what_headers_claim_of_the_host_is_no_key_unless_it_counts(self, site):
        site.get(headers={'X-Forwarded-Host': 'evil'})
        assert 'Age' in site.get().headers

    def test_a_base_set_by_the_proxy_tool_is_a_key(self, site):
        site.mount(site.client.site.tree.apps[''].root, **{'tools.proxy.on': True, 'tools.proxy.trusted': '127.0.0.9'})
        names = ('one.example', 'two.example', 'one.example')
        bodies = [site.get(headers={'X-Forwarded-Host': name}).body for name in names]
        assert bodies == [b'body 1', b'body 2', b'body 1']

    def test_vary_tells_variants_apart_and_keeps_both(self, site):
        site.headers = {'Vary': 'X-A'}
        one, two = {'X-A': '1'}, {'X-A': '2'}
        assert [site.get(headers=h).body for h in (one, two, one, two)] == [b'body 1', b'body 2', b'body 1', b'body 2']

    def test_values_of_several_headers_are_not_mixed_up(self, site):
        site.headers = {'Vary': 'X-A, X-B'}
        site.get(headers={'X-A': '1', 'X-B': '2'})
        assert 'Age' not in site.get(headers={'X-A': '2', 'X-B': '1'}).headers

    def test_an_absent_header_is_not_an_empty_one(self, site):
        site.headers = {'Vary': 'X-A'}
        site.get()
        assert 'Age' not in site.get(headers={'X-A': ''}).headers

    @pytest.mark.parametrize('field', ['*', ', '.join(f'X-{n}' for n in range(100))])
    def test_a_response_that_varies_by_all_or_by_too_much_is_not_stored(self, site, field):
        site.headers = {'Vary': field}
        assert not site.is_stored()

    @pytest.mark.parametrize('field', [',x-a , ,'])
    def test_vary_is_read_without_regard_to_case_and_space(self, site, field):
        site.headers = {'Vary': field}
        site.get(headers={'X-A': '1'})
        assert 'Age' not in site.get(headers={'X-A': '2'}).headers
        assert 'Age' in site.get(headers={'X-A': '1'}).headers

    def test_a_vary_that_grows_takes_what_was_stored_before_out(self, site):
        site.get(headers={'X-A': '1'})
        site.headers = {'Vary': 'X-A'}
        site.get(headers={'X-A': '2', 'Cache-Control': 'no-cache'})
        assert 'Age' not in site.get(headers={'X-A': '1'}).headers
        assert 'Age' in site.get(headers={'X-A': '2'}).headers

    def test_a_vary_that_shrinks_still_tells_apart(self, site):
        site.headers = {'Vary': 'X-A'}
        site.get(headers={'X-A': '1'})
        site.headers = {}
        site.get(headers={'X-A': '2'})
        assert site.get(headers={'X-A': '1'}).body == b'body 1'
        assert site.get(headers={'X-A': '2'}).body == b'body 2'

    def test_text_encoded_for_one_client_is_not_given_to_another(self, site):
        site.get(headers={'Accept-Charset': 'utf-16'})
        answer = site.get()
        assert answer.body == b'body 2'
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'

    def test_compressed_and_plain_variants_stand_side_by_side(self, site):
        from cpadapter.lib.encoding import decompress

        site.mount(site.client.site.tree.apps[''].root, **{'tools.gzip.on': True})
        gzip = {'Accept-Encoding': 'gzip'}
        answers = [site.get(headers=headers) for headers in (gzip, {}, gzip, {})]
        assert [a.headers.get('Content-Encoding') for a in answers] == ['gzip', None, 'gzip', None]
        assert decompress(answers[2].body) == b'body 1'
        assert answers[3].body == b'body 2'
        assert [('Age' in a.headers) for a in answers] == [False, False, True, True]


class TestMethods:
    def test_head_is_answered_from_what_get_stored(self, site):
        site.get()
        answer = site.get(method='HEAD')
        assert (answer.headers['Age'], answer.headers['Content-Length'], site.visits) == ('0', '6', 1)

    def test_what_head_answers_is_not_stored(self, site):
        site.get(method='HEAD')
        assert site.get().body == b'body 2'

    @pytest.mark.parametrize('method', ['OPTIONS', 'TRACE'])
    def test_a_safe_method_passes_by(self, site, method):
        site.get()
        assert 'Age' not in site.get(method=method).headers
        assert 'Age' in site.get().headers

    @pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH', 'WHATEVER'])
    def test_an_unsafe_method_runs_and_removes_all_variants(self, site, method):
        site.headers = {'Vary': 'X-A'}
        for value in '12':
            site.get(headers={'X-A': value})
        site.get(method=method, body=b'')
        assert site.visits == 3
        assert site.cache.store == {}

    def test_more_methods_may_be_named(self, make_site):
        site = make_site(invalid_methods=['OPTIONS'])
        site.get()
        site.get(method='OPTIONS')
        assert 'Age' not in site.get().headers

    @pytest.mark.parametrize('name', ['Location', 'Content-Location'])
    def test_what_location_names_on_the_same_host_is_removed_too(self, site, name):
        for target in ('/x', '/y?a=1', '/y'):
            site.get(target)
        site.headers = {name: '/y?a=1'}
        site.get('/x', method='POST', body=b'')
        site.headers = {}
        assert 'Age' not in site.get('/y?a=1').headers
        assert 'Age' in site.get('/y').headers

    @pytest.mark.parametrize('reference', ['http://other/y', 'http://[/y'])
    def test_what_it_names_elsewhere_is_not(self, site, reference):
        site.get('/y')
        site.get('/y', headers=OTHER, host=None)
        site.headers = {'Content-Location': reference}
        site.get('/x', method='POST', body=b'')
        site.headers = {}
        assert 'Age' in site.get('/y').headers
        assert 'Age' in site.get('/y', headers=OTHER, host=None).headers

    def test_an_error_removes_nothing_but_the_uri_itself(self, site):
        for target in ('/x', '/y'):
            site.get(target)
        site.headers = {'Location': '/y'}
        site.error = cpadapter.HTTPError(400)
        site.get('/x', method='POST', body=b'')
        site.error = None
        assert 'Age' in site.get('/y').headers
        assert 'Age' not in site.get('/x').headers

    def test_what_was_being_made_when_it_was_invalidated_is_not_stored(self, site):
        cache = []
        site.within = lambda: cache.append(cpadapter.request.app.site.tools.caching.cache.delete())
        site.get()
        assert cache
        site.within = lambda: None
        assert 'Age' not in site.get().headers


class TestConditions:
    """RFC 9111 section 4.3.2."""

    @pytest.fixture
    def stored(self, site):
        site.headers = {'ETag': '"t"', 'Last-Modified': 'Sun, 06 Nov 1994 08:49:37 GMT'}
        site.get()
        return site

    @pytest.mark.parametrize(
        ('headers', 'status'),
        [
            ({'If-None-Match': '"t"'}, 304),
            ({'If-None-Match': 'W/"t"'}, 304),
            ({'If-None-Match': '"a", "t"'}, 304),
            ({'If-None-Match': '*'}, 304),
            ({'If-None-Match': '"u"'}, 200),
            ({'If-Modified-Since': 'Sun, 06 Nov 1994 08:49:37 GMT'}, 304),
            ({'If-Modified-Since': 'Sun, 06 Nov 2094 08:49:37 GMT'}, 304),
            ({'If-Modified-Since': 'Sun, 06 Nov 1993 08:49:37 GMT'}, 200),
            ({'If-Modified-Since': 'once'}, 200),
            ({'If-None-Match': '"u"', 'If-Modified-Since': 'Sun, 06 Nov 2094 08:49:37 GMT'}, 200),
        ],
    )
    @pytest.mark.parametrize('method', ['GET', 'HEAD'])
    def test_a_condition_is_answered_from_the_cache(self, stored, headers, status, method):
        answer = stored.get(headers=headers, method=method)
        assert (answer.status, stored.visits) == (status, 1)
        assert 'Age' in answer.headers
        if status == 304:
            assert answer.headers['ETag'].removeprefix('W/') == '"t"'
            assert stored.cache.tot_non_modified == 1

    @pytest.mark.parametrize('headers', [{'If-Match': '"u"'}, {'If-Unmodified-Since': 'Sun, 06 Nov 1993 08:49:37 GMT'}])
    def test_a_condition_on_the_resource_is_the_page_handlers(self, stored, headers):
        stored.get(headers=headers)
        assert stored.visits == 2

    def test_a_not_modified_of_the_page_handlers_is_not_stored(self, site):
        site.mount(site.client.site.tree.apps[''].root, **{'tools.etags.on': True, 'tools.etags.autotags': True})
        site.body = b'same'
        tag = site.get().headers['ETag']
        site.cache.clear()
        assert site.get(headers={'If-None-Match': tag}).status == 304
        assert site.get().body == b'same'
        assert site.visits == 3

    def test_a_range_is_asked_of_the_page_handler_where_it_offers_ranges(self, stored):
        stored.get(headers={'Range': 'bytes=0-1'})
        assert stored.visits == 1
        stored.headers['Accept-Ranges'] = 'bytes'
        stored.get(headers={'Cache-Control': 'no-cache'})
        assert 'Age' not in stored.get(headers={'Range': 'bytes=0-1'}).headers

    def test_a_static_file_and_its_ranges_stay_whole(self, client, tmp_path):
        (tmp_path / 'f.txt').write_bytes(b'0123456789')

        class Root:
            pass

        tools = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(tmp_path), 'tools.caching.on': True}
        client.mount(Root(), '', {'/': tools})
        ranged = {'Range': 'bytes=2-4'}
        assert client.get('/f.txt', headers=ranged).body == b'234'
        assert client.get('/f.txt').body == b'0123456789'
        answer = client.get('/f.txt', headers=ranged)
        assert (answer.status, answer.body) == (206, b'234')

    def test_what_a_tool_has_answered_is_left_alone(self, client, handler):
        def gate():
            cpadapter.response.status = 403
            cpadapter.response.body = b'not you'
            return cpadapter.request.headers.get('X-Pass') is None

        def page():
            cpadapter.response.headers['Cache-Control'] = 'public, max-age=60'
            return 'for members'

        class Root:
            x = staticmethod(handler(page))

        client.site.tools.gate = HandlerTool(gate)
        client.mount(Root(), '', {'/': {'tools.gate.on': True, 'tools.caching.on': True}})
        assert client.get('/x', headers={'X-Pass': '1'}).text == 'for members'
        assert client.get('/x').text == 'not you'
        assert client.get('/x', headers={'X-Pass': '1'}).text == 'for members'


class TestStreams:
    @pytest.fixture
    def stream(self, client, handler):
        class Site:
            closed = 0
            visits = 0
            chunks = ('a', 'b', 'c')
            fails_at = None
            headers = {}

        def make(self):
            def chunks():
                try:
                    for n, chunk in enumerate(self.chunks):
                        if n == self.fails_at:
                            raise OSError('broken')
                        yield chunk
                finally:
                    self.closed += 1

            async def achunks():
                for chunk in chunks():
                    yield chunk

            def page():
                self.visits += 1
                cpadapter.response.stream = True
                cpadapter.response.headers.update(self.headers)
                return achunks() if handler.is_async else chunks()

            class Root:
                x = staticmethod(handler(page))

            client.mount(Root(), '', {'/': {'tools.caching.on': True}})
            return self

        return make(Site())

    def test_a_stream_is_stored_when_it_has_ended(self, client, stream):
        assert client.get('/x').body == b'abc'
        answer = client.get('/x')
        assert (answer.body, stream.visits, stream.closed) == (b'abc', 1, 1)
        assert answer.headers['Content-Length'] == '3'

    def test_a_stream_that_the_client_left_is_not(self, client, stream):
        client.get('/x', stop_after=1)
        assert stream.closed <= 1
        assert client.get('/x').body == b'abc'
        assert stream.visits == 2

    def test_a_stream_that_raised_is_not(self, client, stream):
        stream.fails_at = 1
        assert client.get('/x').error is not None
        assert stream.closed == 1
        stream.fails_at = None
        assert client.get('/x').body == b'abc'
        assert stream.visits == 2

    def test_a_stream_that_is_shorter_than_it_said_is_not(self, client, stream):
        stream.headers = {'Content-Length': '4'}
        assert client.get('/x').error is not None
        stream.headers = {}
        assert client.get('/x').body == b'abc'
        assert stream.visits == 2

    def test_a_stream_of_too_much_is_sent_whole_and_not_stored(self, client, stream):
        stream.chunks = ['x' * 40000] * 3
        for _ in range(2):
            assert len(client.get('/x').body) == 120000
        assert (stream.visits, stream.closed) == (2, 2)

    def test_a_generator_that_is_no_stream_is_stored(self, client, handler):
        visits = []

        def page():
            visits.append(1)
            return (text for text in ('a', 'b'))

        class Root:
            x = staticmethod(handler(page))

        client.mount(Root(), '', {'/': {'tools.caching.on': True}})
        assert [client.get('/x').body for _ in range(2)] == [b'ab', b'ab']
        assert len(visits) == 1

    def test_an_async_generator_that_is_no_stream_is_stored(self, client):
        visits = []

        class Root:
            @cpadapter.expose
            async def x(self):
                visits.append(1)

                async def chunks():
                    yield 'a'
                    yield 'b'

                return chunks()

        client.mount(Root(), '', {'/': {'tools.caching.on': True}})
        assert [client.get('/x').body for _ in range(2)] == [b'ab', b'ab']
        assert len(visits) == 1


class in_thread:
    """Runs a call in a thread; `answer` is there when the block has ended."""

    def __init__(self, call):
        self.call = call
        self.answer = None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        self.answer = self.call()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.thread.join(15)
        assert not self.thread.is_alive()


class Sent:
    """What an ASGI application has sent."""

    def __init__(self):
        self.status = None
        self.headers = {}
        self.body = b''

    async def receive(self):
        await asyncio.get_running_loop().create_future()

    async def send(self, message):
        if message['type'] == 'http.response.start':
            self.status = message['status']
            self.headers = {name.decode().title(): value.decode() for name, value in message['headers']}
        else:
            self.body += message.get('body', b'')


def begin(client, target='/x'):
    """Begin a request on the running loop; give what will be sent and the task."""
    scope = {
        'type': 'http',
        'asgi': {'version': '3.0', 'spec_version': '2.5'},
        'http_version': '1.1',
        'method': 'GET',
        'scheme': 'http',
        'path': target,
        'raw_path': target.encode(),
        'query_string': b'',
        'root_path': '',
        'headers': [(b'host', b'testserver')],
        'client': ('127.0.0.9', 4321),
        'server': ('127.0.0.1', 8080),
    }
    sent = Sent()
    return sent, asyncio.ensure_future(client.app(scope, sent.receive, sent.send))


class Slow:
    """A page that takes as long as the test lets it, plain or async; `visits` counts."""

    def __init__(self, is_async, ends='returns'):
        self.visits = 0
        self.ends = ends
        self.started = threading.Event()
        self.go_on = threading.Event()
        lock = threading.Lock()
        slow = self

        def begin():
            with lock:
                slow.visits += 1
                slow.started.set()
                return slow.visits

        def end(n):
            if slow.ends == 'raises' and n == 1:
                raise ValueError('the first one fails')
            if slow.ends == 'private':
                cpadapter.response.headers['Cache-Control'] = 'private'
            if slow.ends == 'stale':
                cpadapter.response.headers['Cache-Control'] = 'max-age=0, stale-if-error=60'
            if slow.ends == 'large':
                return 'x' * 100000
            return f'visit {n}'

        class Root:
            if is_async:

                @cpadapter.expose
                async def x(self):
                    n = begin()
                    while not slow.go_on.is_set():
                        await asyncio.sleep(0.005)
                    return end(n)
            else:

                @cpadapter.expose
                def x(self):
                    n = begin()
                    assert slow.go_on.wait(10)
                    return end(n)

            @cpadapter.expose
            @cpadapter.config(**{'request.non_blocking': True, 'tools.caching.on': False})
            def health(self):
                return 'ok'

        self.root = Root()


def ask_at_once(client, slow, count=10, waits_until=lambda: True):
    """Ask for /x by `count` clients at once, let the page go on when all are there; give the answers."""
    if client.protocol == 'wsgi':
        threads = [in_thread(lambda: client.get('/x')) for _ in range(count)]
        for thread in threads:
            thread.thread.start()
        assert slow.started.wait(5)
        waiting(client, count - 1, slow)
        slow.go_on.set()
        for thread in threads:
            thread.thread.join(15)
            assert not thread.thread.is_alive()
        return [thread.answer for thread in threads]

    async def ask():
        def one(target='/x'):
            return begin(client, target)

        asked = [one() for _ in range(count)]
        while not slow.started.is_set():
            await asyncio.sleep(0.005)
        # The loop is free while they wait.
        answer, task = one('/health')
        await asyncio.wait_for(task, 5)
        assert answer.body == b'ok'
        for _ in range(400):
            if is_waiting(client, count - 1, slow):
                break
            await asyncio.sleep(0.005)
        slow.go_on.set()
        await asyncio.wait_for(asyncio.gather(*(task for _, task in asked)), 15)
        return [answer for answer, _ in asked]

    return client.loop.run_until_complete(ask())


def is_waiting(client, count, slow):
    cache = client.site.tools.caching.cache
    marks = [] if cache is None else [mark for table in cache.store.values() for mark in table.marks.values()]
    return slow.visits + sum(len(mark._waiters) for mark in marks) > count


def waiting(client, count, slow):
    for _ in range(400):
        if is_waiting(client, count, slow):
            return
        threading.Event().wait(0.005)


class TestStampede:
    @pytest.fixture(params=[False, True], ids=['sync', 'async'])
    def slow(self, request):
        return lambda *args: Slow(request.param, *args)

    def mount(self, client, slow, **settings):
        config = {'tools.caching.on': True, **{f'tools.caching.{key}': value for key, value in settings.items()}}
        client.mount(slow.root, '', {'/': config})

    def test_one_request_makes_the_response_and_the_others_wait_for_it(self, client, slow):
        slow = slow()
        self.mount(client, slow)
        answers = ask_at_once(client, slow)
        assert [answer.body for answer in answers] == [b'visit 1'] * 10
        assert sum('Age' in answer.headers for answer in answers) == 9
        assert slow.visits == 1

    def test_a_failure_frees_those_who_wait_and_one_of_them_takes_over(self, client, slow):
        slow = slow('raises')
        self.mount(client, slow)
        answers = ask_at_once(client, slow)
        assert sorted(answer.status for answer in answers) == [200] * 9 + [500]
        assert slow.visits == 2

    @pytest.mark.parametrize('ends', ['private', 'large'])
    def test_a_response_that_is_not_stored_frees_all(self, client, slow, ends):
        slow = slow(ends)
        self.mount(client, slow)
        answers = ask_at_once(client, slow)
        assert [answer.status for answer in answers] == [200] * 10
        assert slow.visits == 10
        assert client.site.tools.caching.cache.store == {}

    def test_one_that_is_stale_at_once_lets_nobody_wait_in_turn(self, client, slow):
        slow = slow('stale')
        self.mount(client, slow)
        answers = ask_at_once(client, slow)
        assert [answer.status for answer in answers] == [200] * 10
        assert slow.visits == 10
        cache = client.site.tools.caching.cache
        assert list(cache.store) == list(cache._unkept) == ['http://testserver/x']

    def test_nobody_waits_longer_than_the_timeout(self, wsgi, slow):
        slow = slow()
        self.mount(wsgi, slow, antistampede_timeout=0.05)
        with in_thread(lambda: wsgi.get('/x')) as first:
            assert slow.started.wait(5)
            with in_thread(lambda: wsgi.get('/x')) as second:
                for _ in range(400):
                    if slow.visits == 2:
                        break
                    threading.Event().wait(0.01)
                slow.go_on.set()
        assert {first.answer.body, second.answer.body} == {b'visit 1', b'visit 2'}

    def test_nobody_waits_where_there_is_no_timeout(self, client, slow):
        slow = slow()
        self.mount(client, slow, antistampede_timeout=None)
        answers = ask_at_once(client, slow, 3)
        assert len({answer.body for answer in answers}) == 3

    @pytest.mark.parametrize('headers', [{'Authorization': 'Basic eDp5'}, {'Cache-Control': 'no-cache'}])
    def test_a_request_that_is_nobody_elses_neither_waits_nor_is_waited_for(self, wsgi, slow, headers):
        slow = slow()
        self.mount(wsgi, slow)
        with in_thread(lambda: wsgi.get('/x', headers=headers)):
            assert slow.started.wait(5)
            table = wsgi.site.tools.caching.cache.store
            assert not any(table.marks for table in table.values())
            slow.go_on.set()

    def test_those_who_wait_hold_no_thread(self, asgi):
        slow = Slow(False)

        class Other:
            @cpadapter.expose
            def index(self):
                return 'other'

        slow.root.other = Other()
        asgi.site.config.update({'server.thread_pool': 2})
        self.mount(asgi, slow)

        async def ask():
            asked = [begin(asgi) for _ in range(5)]
            while not is_waiting(asgi, 4, slow):
                await asyncio.sleep(0.005)
            other, task = begin(asgi, '/other/')
            await asyncio.wait_for(task, 3)
            slow.go_on.set()
            await asyncio.gather(*(task for _, task in asked))
            return other, [answer for answer, _ in asked]

        other, answers = asgi.loop.run_until_complete(ask())
        assert other.body == b'other'
        assert [answer.body for answer in answers] == [b'visit 1'] * 5

    def test_a_cancelled_request_frees_those_who_wait(self, asgi):
        slow = Slow(True)
        self.mount(asgi, slow)

        async def ask():
            answers, tasks = [], []
            for _ in range(2):
                answer, task = begin(asgi)
                answers.append(answer)
                tasks.append(task)
                while not slow.started.is_set():
                    await asyncio.sleep(0.005)
            while not is_waiting(asgi, 1, slow):
                await asyncio.sleep(0.005)
            tasks[0].cancel()
            slow.go_on.set()
            await asyncio.wait(tasks, timeout=5)
            assert tasks[0].cancelled()
            return answers[1]

        answer = asgi.loop.run_until_complete(ask())
        assert answer.body == b'visit 2'

    def test_a_waiter_that_is_cancelled_leaves_nothing_behind(self, asgi, slow):
        slow = slow()
        self.mount(asgi, slow)

        async def ask():
            answers, tasks = [], []
            for _ in range(2):
                answer, task = begin(asgi)
                answers.append(answer)
                tasks.append(task)
                while not slow.started.is_set():
                    await asyncio.sleep(0.005)
            while not is_waiting(asgi, 1, slow):
                await asyncio.sleep(0.005)
            tasks[1].cancel()
            await asyncio.wait(tasks[1:], timeout=5)
            slow.go_on.set()
            await asyncio.wait(tasks, timeout=5)
            return answers[0]

        assert asgi.loop.run_until_complete(ask()).body == b'visit 1'
        cache = asgi.site.tools.caching.cache
        assert [table.marks for table in cache.store.values()] == [{}]
        assert cache._making == {}

    def test_what_left_no_trace_is_forgotten(self, client, handler):
        site = Site(client, handler)
        for error in (ValueError('x'), cpadapter.HTTPError(404), cpadapter.HTTPRedirect('/y')):
            site.error = error
            site.get()
        assert site.cache.store == {}
        assert site.cache._making == {}


class TestStore:
    def test_large_bodies_are_not_stored(self, make_site):
        site = make_site(maxobj_size=100)
        site.body = b'x' * 100
        assert not site.is_stored()
        site.body = b'x' * 99
        assert site.is_stored()

    def test_settings_bound_the_store(self, make_site):
        site = make_site(maxobjects=2)
        for target in ('/x?a', '/x?b', '/x?a', '/x?c'):
            site.get(target)
        assert ['Age' in site.get(target).headers for target in ('/x?a', '/x?c', '/x?b')] == [True, True, False]

    def test_counters_tell_what_happened(self, site):
        for _ in range(3):
            site.get()
        assert (site.cache.tot_puts, site.cache.tot_hist) == (1, 2)
        assert site.cache.tot_gets >= 3

    def test_no_thread_is_started(self, wsgi):
        before = threading.active_count()

        class Root:
            @cpadapter.expose
            def x(self):
                return 'x'

        wsgi.mount(Root(), '', {'/': {'tools.caching.on': True}})
        wsgi.get('/x')
        assert threading.active_count() == before

    def test_sites_have_stores_of_their_own(self, make_client, handler):
        one, two = Site(make_client('wsgi'), handler), Site(make_client('wsgi'), handler)
        one.get()
        two.get()
        assert one.cache is not two.cache
        assert two.visits == 1


class Shelf(Cache):
    """The least that a store can be."""

    def __init__(self):
        self.kept = {}
        self.calls = []

    def get(self):
        self.calls.append(('get', self.delay))
        return self.kept.get(cpadapter.url(qs=cpadapter.request.query_string))

    def put(self, obj, size):
        status, headers, body, made = obj
        self.calls.append(('put', size))
        self.kept[cpadapter.url(qs=cpadapter.request.query_string)] = (status, headers, body, made)

    def delete(self):
        self.calls.append(('delete', None))
        self.kept.pop(cpadapter.url(qs=cpadapter.request.query_string), None)

    def clear(self):
        self.kept.clear()


class TestOwnStore:
    @pytest.fixture
    def site(self, make_site):
        return make_site(cache_class=Shelf, delay=60)

    def test_another_class_stores_by_four_calls(self, site):
        site.get()
        answer = site.get()
        assert (answer.body, answer.headers['Age']) == (b'body 1', '0')
        site.get(method='POST', body=b'')
        assert site.get().body == b'body 3'
        assert ('get', 60) in site.cache.calls
        assert ('put', 6) in site.cache.calls

    def test_the_rules_are_the_same(self, site, monkeypatch):
        site.get()
        now = time.time()
        monkeypatch.setattr(time, 'time', lambda: now + 61)
        assert 'Age' not in site.get().headers
        assert site.get(headers={'Cache-Control': 'only-if-cached, max-age=1'}).status in (200, 504)
        site.headers = {'Cache-Control': 'private'}
        site.get(method='POST', body=b'')
        assert not site.is_stored()

    def test_a_memory_cache_may_be_subclassed(self, make_site):
        class Noting(MemoryCache):
            puts = 0

            def put(self, variant, size):
                self.puts += 1
                super().put(variant, size)

        site = make_site(cache_class=Noting, maxobjects=7)
        site.client.site.tools.caching.caches[Noting] = Noting()
        site.get()
        assert 'Age' in site.get().headers
        assert (site.cache.puts, site.cache.maxobjects) == (1, 7)


class TestTool:
    def test_a_setting_that_the_store_does_not_have_is_named(self, make_site):
        site = make_site(maxobjcts=1)
        assert site.get().status == 500
        assert any("did you mean 'maxobjects'" in line.lower() for line in site.client.errors)

    def test_page_handlers_can_tell(self, client, handler):
        seen = []

        def page():
            seen.append((cpadapter.request.cached, cpadapter.request.cacheable))
            return 'x'

        class Root:
            x = staticmethod(handler(page))

        client.mount(Root(), '', {'/': {'tools.caching.on': True}})
        client.get('/x')
        client.post('/x', body=b'')
        assert seen == [(False, True), (False, False)]

    def test_get_can_be_a_hook_of_a_tool_of_ones_own(self, client, handler):
        client.site.tools.mine = cpadapter.Tool('before_handler', caching.get, priority=90)
        visits = []

        def page():
            visits.append(1)
            return 'x'

        class Root:
            x = staticmethod(handler(page))

        client.mount(Root(), '', {'/': {'tools.mine.on': True, 'tools.mine.delay': 60}})
        assert [client.get('/x').body for _ in range(3)] == [b'x'] * 3
        assert len(visits) == 1

    def test_json_out_and_others_come_out_of_the_cache_as_they_went_in(self, client, handler):
        def page():
            return {'a': 1}

        class Root:
            x = staticmethod(handler(page))

        client.mount(Root(), '', {'/': {'tools.caching.on': True, 'tools.json_out.on': True}})
        answers = [client.get('/x') for _ in range(2)]
        assert [(a.json, a.headers['Content-Type']) for a in answers] == [({'a': 1}, 'application/json')] * 2
        assert 'Age' in answers[1].headers

    def test_the_type_the_page_handler_chose_comes_out(self, client, handler):
        def page():
            cpadapter.response.headers['Content-Type'] = 'application/geo+json'
            return {'a': 1}

        class Root:
            x = staticmethod(handler(page))

        client.mount(Root(), '', {'/': {'tools.caching.on': True, 'tools.json_out.on': True}})
        assert [client.get('/x').headers['Content-Type'] for _ in range(2)] == ['application/geo+json'] * 2

    def test_debug_says_what_is_done(self, make_site):
        site = make_site(debug=True)
        site.get()
        site.get()
        site.get(method='POST', body=b'')
        text = '\n'.join(site.client.errors)
        for said in ('stored for 600 seconds', 'answered from the cache, age 0', 'POST removes what is stored'):
            assert f'TOOLS.CACHING {said}' in text

    def test_the_package_shows_the_default_sites_store(self):
        import subprocess
        import sys

        code = (
            'import sys, cpadapter\n'
            'assert "cpadapter.lib.cachestore" not in sys.modules\n'
            'assert not hasattr(cpadapter, "_cache")\n'
            'class Root:\n'
            '    @cpadapter.expose\n'
            '    @cpadapter.tools.caching()\n'
            '    def x(self): return "x"\n'
            'from werkzeug.test import Client\n'
            'Client(cpadapter.Application(Root())).get("/x")\n'
            'assert "http://localhost/x" in cpadapter._cache.store\n'
        )
        subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='abmx-=",; \t019\\', max_size=60))
def test_any_cache_control_of_a_client_is_answered_by_page_or_bad_request(text):
    client = _fuzzed()
    status = client.get('/x', headers={'Cache-Control': text}).status_code
    assert status in (200, 400, 504)


def test_a_hostile_cache_control_is_read_in_linear_time():
    client = _fuzzed()
    for field in (',' * 50000, '"' * 50000, 'a="' * 16000, 'max-age=' + '9' * 50000, '\\"' * 25000):
        began = time.perf_counter()
        assert client.get('/x', headers={'Cache-Control': field}).status_code in (200, 400)
        assert time.perf_counter() - began < 1


def _fuzzed():
    from werkzeug.test import Client

    if not _fuzzers:

        class Root:
            @cpadapter.expose
            def x(self):
                return 'x'

        site = cpadapter.Site('fuzz')
        site.config.update({'checker.on': False})
        site.tree.mount(Root(), '', {'/': {'tools.caching.on': True}})
        _fuzzers.append(Client(site.tree))
    return _fuzzers[0]


_fuzzers = []
