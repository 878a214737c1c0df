"""The `session_auth` tool: the form, logging in and out, and what must not get past it."""

from __future__ import annotations

import asyncio
import html
import re

import pytest

import cpadapter
from cpadapter.extension.tools import HandlerTool
from cpadapter.lib.cptools import SessionAuth

BAD = 'Wrong name or password.'


def check(username, password):
    return None if password == 'right' else BAD


async def acheck(username, password):
    await asyncio.sleep(0)
    return check(username, password)


@pytest.fixture(params=['check', 'async check'])
def checker(request):
    return acheck if request.param == 'async check' else check


class Browser:
    """Keeps the session's cookie from one request to the next."""

    def __init__(self, client):
        self.client = client
        self.cookie = None

    def send(self, method, target, headers=(), **more):
        headers = dict(headers)
        if self.cookie:
            headers['Cookie'] = self.cookie
        answer = self.client.request(method, target, headers=headers, **more)
        for line in answer.headers.get_all('Set-Cookie'):
            if line.startswith('session_id='):
                self.cookie = line.partition(';')[0]
        return answer

    def get(self, target, **more):
        return self.send('GET', target, **more)

    def post(self, target, **more):
        return self.send('POST', target, **more)

    def log_in(self, target='/do_login', **fields):
        return self.post(target, form={'username': 'ann', 'password': 'right', **fields})


@pytest.fixture
def browse(client, handler):
    """Mounts guarded pages with the tool's settings, and gives a browser."""

    def make(**settings):
        class Root:
            @handler
            def index(self, **kwargs):
                return f'index for {cpadapter.request.login}'

            @handler
            def page(self, **kwargs):
                return f'page for {cpadapter.request.login}'

            @handler
            def put(self):
                cpadapter.session['basket'] = 'full'
                return 'put'

            @handler
            def basket(self):
                return cpadapter.session.get('basket', 'empty')

            @handler
            @cpadapter.config(**{'tools.session_auth.on': False})
            def plant(self):
                cpadapter.session['seen'] = 'before'
                return cpadapter.session.id

            @handler
            @cpadapter.config(**{'tools.session_auth.on': False})
            def xdo_login(self, **kwargs):
                return 'a page of another name'

        config = {'tools.sessions.on': True, 'tools.session_auth.on': True}
        config |= {f'tools.session_auth.{key}': value for key, value in settings.items()}
        client.mount(Root(), '', {'/': config})
        return Browser(client)

    return make


def field(answer, name):
    return html.unescape(re.search(rf'name="{name}"[^>]* value="([^"]*)"', answer.text)[1])


class TestForm:
    def test_a_page_is_withheld_and_the_form_shown(self, browse, checker):
        answer = browse(check_username_and_password=checker).get('/page?a=1&b=2')
        assert answer.status == 401
        assert answer.headers['WWW-Authenticate'] == 'Form'
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        assert answer.headers['Cache-Control'].startswith('no-store')
        assert "frame-ancestors 'none'" in answer.headers['Content-Security-Policy']
        assert '<form method="post" action="do_login">' in answer.text
        assert field(answer, 'from_page') == 'http://testserver/page?a=1&b=2'
        assert 'page for' not in answer.text
        assert 'role="alert"' not in answer.text

    def test_its_status_can_be_chosen(self, browse):
        answer = browse(check_username_and_password=check, status=200).get('/page')
        assert answer.status == 200
        assert 'WWW-Authenticate' not in answer.headers

    def test_it_can_be_asked_for(self, browse):
        answer = browse(check_username_and_password=check).get('/login_screen?from_page=/page&username=ann')
        assert answer.status == 200
        assert (field(answer, 'from_page'), field(answer, 'username')) == ('..', '')

    def test_all_it_holds_is_escaped(self, browse):
        evil = '"><script>alert(1)</script>'
        browser = browse(check_username_and_password=lambda username, password: f'No {username}')
        answer = browser.post('/do_login', form={'username': evil, 'password': 'x', 'from_page': evil})
        assert '<script' not in answer.text
        assert field(answer, 'username') == field(answer, 'from_page') == evil
        assert 'No &quot;&gt;&lt;script&gt;' in answer.text
        answer = browser.get('/%22%3E%3Cscript%3E?a=%22%3E%3Cscript%3E')
        assert '<script' not in answer.text

    def test_the_password_is_never_sent_back(self, browse):
        answer = browse(check_username_and_password=check).log_in(password='hunter2')
        assert 'hunter2' not in answer.text

    @pytest.mark.parametrize('own', [b'<p>own</p>', '<p>\xf6wn</p>'])
    def test_it_can_be_replaced(self, browse, own):
        seen = []

        def login_screen(from_page='..', username='', error_msg='', **kwargs):
            seen.append((from_page, username, error_msg))
            return own

        browser = browse(check_username_and_password=check, login_screen=login_screen)
        assert browser.get('/page').body == (own if isinstance(own, bytes) else own.encode())
        browser.log_in(password='wrong')
        assert seen == [('http://testserver/page', '', ''), ('..', 'ann', BAD)]


class TestLogin:
    def test_who_is_let_in_sees_the_page(self, browse, checker):
        browser = browse(check_username_and_password=checker)
        answer = browser.log_in(from_page='http://testserver/page?a=1')
        assert (answer.status, answer.headers['Location']) == (303, 'http://testserver/page?a=1')
        assert browser.get('/page').text == 'page for ann'
        assert browser.get('/').text == 'index for ann'

    def test_who_is_refused_sees_the_form_again(self, browse, checker):
        browser = browse(check_username_and_password=checker)
        answer = browser.log_in(password='wrong', from_page='/page')
        assert answer.status == 401
        assert f'<p role="alert">{BAD}</p>' in answer.text
        assert (field(answer, 'username'), field(answer, 'from_page')) == ('ann', '/page')
        assert browser.get('/page').status == 401

    def test_nobody_is_refused_by_default(self, browse):
        browser = browse()
        assert browser.log_in(password='whatever').status == 303
        assert browser.get('/page').text == 'page for ann'

    def test_without_from_page_it_leads_up(self, browse):
        browser = browse(check_username_and_password=check)
        assert browser.log_in().headers['Location'] == 'http://testserver/'
        assert browser.log_in(from_page='').headers['Location'] == 'http://testserver/'
        assert browser.log_in('/page/do_login').headers['Location'] == 'http://testserver/'

    @pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT'])
    @pytest.mark.parametrize('action', ['do_login', 'do_logout'])
    def test_only_a_post_does_anything(self, browse, action, method):
        more = {'form': {'username': 'ann', 'password': 'right'}} if method == 'PUT' else {}
        browser = browse(check_username_and_password=check)
        answer = browser.send(method, f'/{action}?username=ann&password=right', **more)
        assert (answer.status, answer.headers['Allow']) == (405, 'POST')
        assert browser.get('/page').status == 401

    @pytest.mark.parametrize('fields', [{'username': 'ann'}, {'password': 'right'}, {}])
    def test_a_missing_field_is_the_clients_mistake(self, browse, fields):
        assert browse(check_username_and_password=check).post('/do_login', form=fields).status == 400

    def test_a_repeated_field_is_the_clients_mistake(self, browse):
        browser = browse(check_username_and_password=check)
        assert browser.post('/do_login', form={'username': ['a', 'b'], 'password': 'right'}).status == 400

    def test_fields_may_have_any_name_where_the_step_is_ones_own(self, browse):
        def log_in(username, password, from_page='..', **fields):
            cpadapter.session['username'] = '+'.join([username, *sorted(fields)])

        browser = browse(do_login=log_in)
        browser.log_in(step='1', kwargs='2')
        assert browser.get('/page').text == 'page for ann+kwargs+step'

    def test_further_fields_do_not_matter(self, browse):
        assert browse(check_username_and_password=check).log_in(more='x').status == 303

    def test_only_the_whole_last_name_of_the_path_counts(self, browse):
        browser = browse(check_username_and_password=check)
        assert browser.post('/xdo_login', form={'username': 'a', 'password': 'right'}).text == 'a page of another name'
        assert browser.log_in('/page/do_login').status == 303


class TestSafety:
    def test_the_id_of_the_session_changes_at_login(self, browse, checker):
        browser = browse(check_username_and_password=checker)
        planted = browser.get('/plant').text
        before = browser.cookie
        browser.log_in()
        assert browser.cookie != before
        assert planted not in browser.cookie
        stranger = Browser(browser.client)
        stranger.cookie = before
        assert stranger.get('/page').status == 401

    def test_what_the_session_held_before_the_login_is_kept(self, browse, client):
        browser = browse(
            check_username_and_password=check, on_check=lambda username: seen.append(dict(cpadapter.session.items()))
        )
        seen = []
        browser.get('/plant')
        browser.log_in()
        browser.get('/page')
        assert seen == [{'seen': 'before', 'username': 'ann'}]

    @pytest.mark.parametrize(
        'target',
        [
            'http://evil.example/',
            '//evil.example/',
            '/\\evil.example/',
            '\\\\evil.example',
            'https:evil.example',
            'javascript:alert(1)',
            'http://testserver.evil.example/',
            'http://testserver@evil.example/',
            'http://testserver:81/',
            'data:text/html,x',
            'http:///evil.example',
            '\thttp://evil.example',
            'http://evil.example\r\nX: y',
        ],
    )
    def test_a_login_leads_to_no_other_site(self, browse, target):
        browser = browse(check_username_and_password=check)
        for answer in (browser.log_in(from_page=target), browser.post('/do_logout', form={'from_page': target})):
            assert answer.status == 303
            location = answer.headers['Location']
            assert location.startswith('http://testserver/')
            assert not location.startswith('http://testserver//')

    @pytest.mark.parametrize(
        ('target', 'location'),
        [
            ('/page', 'http://testserver/page'),
            ('page?x=1', 'http://testserver/page?x=1'),
            ('http://testserver', 'http://testserver'),
            ('http://testserver/a b', 'http://testserver/a%20b'),
            ('?a=1', 'http://testserver/do_login?a=1'),
        ],
    )
    def test_a_login_leads_to_pages_of_the_site(self, browse, target, location):
        assert browse(check_username_and_password=check).log_in(from_page=target).headers['Location'] == location

    @pytest.mark.parametrize('headers', [{'Origin': 'http://evil.example'}, {'Sec-Fetch-Site': 'cross-site'}])
    def test_a_page_of_another_site_logs_nobody_in_or_out(self, browse, headers):
        browser = browse(check_username_and_password=check)
        form = {'username': 'ann', 'password': 'right'}
        assert browser.post('/do_login', form=form, headers=headers).status == 403
        assert browser.get('/page').status == 401
        browser.log_in()
        assert browser.post('/do_logout', form={}, headers=headers).status == 403
        assert browser.get('/page').text == 'page for ann'

    def test_a_page_of_this_site_may(self, browse):
        headers = {'Origin': 'http://testserver', 'Sec-Fetch-Site': 'same-origin'}
        browser = browse(check_username_and_password=check)
        assert browser.post('/do_login', form={'username': 'a', 'password': 'right'}, headers=headers).status == 303

    def test_without_sessions_it_says_so(self, client, handler):
        class Root:
            @handler
            def index(self):
                return 'secret'

        client.mount(Root(), '', {'/': {'tools.session_auth.on': True}})
        answer = client.get('/')
        assert answer.status == 500
        assert 'secret' not in answer.text
        assert any("'tools.sessions.on' must be True" in line for line in client.errors)


class TestLogout:
    def test_it_ends_the_login_and_drops_what_the_session_held(self, browse, checker):
        browser = browse(check_username_and_password=checker)
        browser.log_in()
        browser.get('/put')
        assert browser.get('/basket').text == 'full'
        before = browser.cookie
        answer = browser.post('/do_logout', form={'from_page': '/page'})
        assert (answer.status, answer.headers['Location']) == (303, 'http://testserver/page')
        assert browser.cookie != before
        assert browser.get('/page').status == 401
        browser.log_in()
        assert browser.get('/basket').text == 'empty'

    def test_the_old_session_is_dead(self, browse):
        browser = browse(check_username_and_password=check)
        browser.log_in()
        before = browser.cookie
        browser.post('/do_logout', form={})
        browser.cookie = before
        assert browser.get('/page').status == 401

    def test_nobody_may_log_out_too(self, browse):
        seen = []
        browser = browse(check_username_and_password=check, on_logout=seen.append)
        assert browser.post('/do_logout', form={}).status == 303
        assert seen == [None]


class TestSteps:
    def test_they_are_called_in_turn(self, browse, checker):
        seen = []
        browser = browse(
            check_username_and_password=checker,
            on_login=lambda username: seen.append(('login', username, cpadapter.request.login)),
            on_check=lambda username: seen.append(('check', username, cpadapter.request.login)),
            on_logout=lambda username: seen.append(('logout', username)),
        )
        browser.log_in(password='wrong')
        assert seen == []
        browser.log_in()
        browser.get('/page')
        browser.post('/do_logout', form={})
        assert seen == [('login', 'ann', 'ann'), ('check', 'ann', 'ann'), ('logout', 'ann')]

    def test_they_may_be_async(self, browse):
        seen = []

        def step(name, gives=None):
            async def call(*args, **kwargs):
                await asyncio.sleep(0)
                seen.append((name, *args))
                return gives

            return call

        browser = browse(
            anonymous=step('anonymous'),
            login_screen=step('screen', b'form'),
            on_login=step('login'),
            on_check=step('check'),
            on_logout=step('logout'),
        )
        assert browser.get('/page').body == b'form'
        browser.log_in()
        browser.get('/page')
        browser.post('/do_logout', form={})
        assert seen == [('anonymous',), ('screen',), ('login', 'ann'), ('check', 'ann'), ('logout', 'ann')]

    def test_beside_an_async_one_what_an_async_one_inside_a_plain_function_gives_is_awaited(self, browse):
        async def nobody():
            return None

        async def check(username, password):
            return ''

        browser = browse(anonymous=lambda: nobody(), check_username_and_password=check)
        assert browser.get('/page').status == 401
        browser.log_in()
        assert browser.get('/page').status == 200

    def test_who_is_anonymous_may_have_a_name(self, browse):
        seen = []
        browser = browse(anonymous=lambda: 'guest', on_check=seen.append)
        assert browser.get('/page').text == 'page for guest'
        assert browser.get('/page').text == 'page for guest'
        assert seen == ['guest', 'guest']

    def test_the_name_of_the_key_can_be_chosen(self, browse):
        browser = browse(session_key='who', on_check=lambda username: seen.append(cpadapter.session['who']))
        seen = []
        browser.log_in()
        browser.get('/page')
        assert seen == ['ann']

    def test_whole_steps_can_be_replaced(self, browse):
        def do_login(username, password, from_page='..', **kwargs):
            cpadapter.session['username'] = username.upper()
            cpadapter.response.body = b'own login'
            return True

        def do_check():
            cpadapter.request.login = cpadapter.session.get('username')
            return False

        def do_logout(from_page='..', **kwargs):
            raise cpadapter.HTTPRedirect('/gone')

        browser = browse(do_login=do_login, do_check=do_check, do_logout=do_logout)
        assert browser.get('/page').text == 'page for None'
        assert browser.log_in().body == b'own login'
        assert browser.get('/page').text == 'page for ANN'
        assert browser.post('/do_logout', form={}).headers['Location'] == 'http://testserver/gone'

    def test_debug_tells_each_step_but_no_password(self, browse, client):
        browser = browse(check_username_and_password=check, debug=True)
        browser.log_in()
        browser.get('/page')
        lines = [line for line in client.errors if 'TOOLS.SESSAUTH' in line]
        assert any("'ann' logged in" in line for line in lines)
        assert any("'ann' may pass" in line for line in lines)
        assert not any('right' in line for line in lines)

    def test_an_unknown_setting_is_named(self, browse, client):
        assert browse(check_username='x').get('/page').status == 500
        assert any("'tools.session_auth.check_username' = 'x'" in line for line in client.errors)


def test_a_subclass_serves_with_a_tool_of_its_own(client, handler):
    class Mine(SessionAuth):
        session_key = 'mine'

        def check_username_and_password(self, username, password):
            return check(username, password)

        def do_check(self):
            cpadapter.response.headers['X-Mine'] = 'yes'
            return super().do_check()

    client.site.tools.mine = HandlerTool(lambda **kwargs: Mine().run())

    class Root:
        @handler
        def index(self):
            return f'for {cpadapter.request.login}'

    client.mount(Root(), '', {'/': {'tools.sessions.on': True, 'tools.mine.on': True}})
    browser = Browser(client)
    assert browser.get('/').headers['X-Mine'] == 'yes'
    assert browser.log_in().status == 303
    assert browser.get('/').text == 'for ann'


def test_sessions_in_files_serve_as_well(client, handler, checker, tmp_path):
    from cpadapter.lib.sessions import FileSession

    class Root:
        @handler
        def index(self):
            return f'for {cpadapter.request.login}'

    config = {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': FileSession,
        'tools.sessions.storage_path': str(tmp_path),
        'tools.session_auth.on': True,
        'tools.session_auth.check_username_and_password': checker,
    }
    client.mount(Root(), '', {'/': config})
    browser = Browser(client)
    assert browser.get('/').status == 401
    assert browser.log_in().status == 303
    assert browser.get('/').text == 'for ann'
    assert browser.post('/do_logout', form={}).status == 303
    assert browser.get('/').status == 401
