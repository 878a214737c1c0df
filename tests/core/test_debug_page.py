"""The debug page: who sees it, what stands in it, what stays secret, and what happens where it cannot be made."""

from __future__ import annotations

import base64
import collections
import dataclasses
import hashlib
import html
import logging
import re
import subprocess
import sys
import threading
import warnings

import pytest

import cpadapter
from cpadapter import HTTPError, HTTPRedirect, InternalRedirect
from cpadapter.core import debug_page
from cpadapter.core.debug_page import is_secret

DEBUG = {'request.debug': True}
BOTH = {'request.debug': True, 'request.debug_remote': True}
LINE = 'cpadapter.engine.no_such_thing()'


def ask(client, target='/', peer='127.0.0.1', host='localhost:8080', method='GET', **more):
    """Send a request from `peer`, None for one without an address, such as comes by a Unix socket."""
    more.setdefault('environ', {'REMOTE_ADDR': peer if peer is not None else ''})
    more.setdefault('scope', {'client': (peer, 4321) if peer is not None else None})
    return client.request(method, target, host=host, **more)


def is_debug_page(answer):
    return 'Content-Security-Policy' in answer.headers


def without_source(text):
    """Leave out the lines of source, which are these tests' own and hold all that they look for."""
    return re.sub(r'<pre class="source">.*?</pre>', '', text, flags=re.DOTALL)


def raising(error):
    """Give a callable that raises."""

    def call(*args, **kwargs):
        raise error

    return call


@pytest.fixture
def root(handler):
    class Root:
        @handler
        def index(self):
            raise ValueError('<unforeseen> & "unescaped"')

        @handler
        def fine(self):
            return 'fine'

        @handler
        def not_found(self):
            raise HTTPError(404)

        @handler
        def own(self):
            raise HTTPError(500)

        @handler
        def away(self):
            raise HTTPRedirect('/fine')

        @handler
        def inside(self):
            raise InternalRedirect('/')

    return Root()


# --- who sees it ----------------------------------------------------------------------------------------------


class TestWhoSeesIt:
    def test_it_is_off_by_default(self, client, root):
        client.mount(root)
        answer = ask(client)
        assert (answer.status, is_debug_page(answer)) == (500, False)
        assert 'Traceback' not in answer.text
        assert cpadapter.Request.debug is False
        assert cpadapter.Request.debug_remote is False

    @pytest.mark.parametrize('peer', ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])
    @pytest.mark.parametrize(
        'host', ['localhost', 'LocalHost:80', 'localhost.', 'shop.localhost:1', '127.0.0.2:80', '[::1]', '[::1]:8080']
    )
    def test_a_client_on_loopback_sees_it(self, wsgi, peer, host):
        wsgi.mount(raiser(), config={'/': DEBUG})
        assert is_debug_page(ask(wsgi, peer=peer, host=host))

    @pytest.mark.parametrize(
        'case',
        [
            {'peer': '10.0.0.1'},
            {'peer': '128.0.0.1'},
            {'peer': '::2'},
            {'peer': '::ffff:10.0.0.1'},
            {'peer': None},
            {'peer': 'localhost'},
            {'host': 'example.org'},
            {'host': 'localhost.example.org'},
            {'host': 'notlocalhost'},
            {'host': '127.0.0.1.example.org'},
            {'host': '10.0.0.1'},
            {'host': '[::2]:80'},
            {'host': ''},
            {'host': None, 'version': '1.0'},
            {'version': '1.0'},
            {'headers': {'Forwarded': 'for=127.0.0.1'}},
            {'headers': {'X-Forwarded-For': '127.0.0.1'}},
            {'headers': {'X-Forwarded-Host': 'localhost'}},
            {'headers': {'X-Forwarded-Proto': 'http'}},
            {'headers': {'X-Real-IP': '127.0.0.1'}},
            {'headers': {'CF-Connecting-IP': '127.0.0.1'}},
            {'headers': {'Via': '1.1 proxy'}},
            {'headers': {'Origin': 'https://example.org'}},
            {'headers': {'Origin': 'null'}},
        ],
        ids=str,
    )
    def test_any_other_gets_the_ordinary_page(self, client, case):
        client.mount(raiser(), config={'/': DEBUG})
        answer = ask(client, **case)
        assert (answer.status, is_debug_page(answer)) == (500, False)
        assert LINE not in answer.text
        assert not any('debug_remote' in line for line in client.errors)

    def test_a_script_of_this_machine_sees_it(self, client):
        client.mount(raiser(), config={'/': DEBUG})
        assert is_debug_page(ask(client, headers={'Origin': 'http://localhost:3000'}))

    def test_an_address_that_the_application_has_put_in_counts_too(self, client):
        def rewrite():
            cpadapter.request.remote = cpadapter.lib.httputil.Host('10.0.0.1', 1)

        client.mount(raiser(), config={'/': {**DEBUG, 'hooks.on_start_resource': rewrite}})
        assert not is_debug_page(ask(client))

    def test_an_address_that_the_application_has_put_in_makes_nobody_local(self, client):
        def rewrite():
            cpadapter.request.remote = cpadapter.lib.httputil.Host('127.0.0.1', 1)

        client.mount(raiser(), config={'/': {**DEBUG, 'hooks.on_start_resource': rewrite}})
        assert not is_debug_page(ask(client, peer='10.0.0.1'))

    def test_others_see_it_where_that_was_asked_for_twice_and_the_log_tells_once(self, client):
        client.mount(raiser(), config={'/': BOTH})
        for case in ({'peer': '10.0.0.1'}, {'host': 'example.org'}, {}):
            answer = ask(client, **case)
            assert is_debug_page(answer)
            assert ('Whoever can reach this server' in answer.text) == bool(case)
        assert sum('request.debug_remote is on: whoever can reach' in line for line in client.errors) == 1

    def test_the_log_tells_before_there_is_a_first_error(self, client, root):
        client.mount(root, config={'/': BOTH})
        assert client.get('/fine').text == 'fine'
        assert sum('request.debug_remote is on: whoever can reach' in line for line in client.errors) == 1

    @pytest.mark.parametrize('config', [{'request.debug_remote': True}, {**DEBUG, 'request.debug_remote': 'off'}])
    def test_asking_for_half_of_it_shows_others_nothing(self, client, config):
        client.mount(raiser(), config={'/': config})
        assert not is_debug_page(ask(client, peer='10.0.0.1'))

    @pytest.mark.parametrize('where', ['global', 'application', 'handler', 'request'])
    def test_it_may_be_asked_for_anywhere_in_config_and_on_the_request(self, client, handler, where):
        class Root:
            @handler
            def index(self):
                if where == 'request':
                    cpadapter.request.debug = True
                raise ValueError('x')

            @handler
            def other(self):
                raise ValueError('x')

        if where == 'handler':
            Root.index._cp_config = DEBUG
        client.mount(Root(), config={'/': DEBUG if where == 'application' else {}})
        if where == 'global':
            client.site.config.update(DEBUG)
        assert is_debug_page(ask(client))
        assert is_debug_page(ask(client, '/other')) == (where in ('global', 'application'))

    @pytest.mark.parametrize('environment', ['production', 'staging', 'embedded'])
    def test_an_environment_that_is_not_for_development_switches_it_off(self, client, environment):
        client.mount(raiser())
        client.site.config.update(BOTH)
        assert is_debug_page(ask(client))
        client.site.config.update({'environment': environment})
        assert not is_debug_page(ask(client))

    def test_a_request_is_not_told_that_it_is_off(self, client, root):
        client.site.config.update({'request.debug': False, 'request.debug_remote': False})
        client.mount(root)
        plans = []
        client.site.config['hooks.on_end_request'] = lambda: plans.append(cpadapter.serving.plan)
        ask(client, '/fine')
        assert 'debug' not in plans[0].request_attrs

    def test_a_request_class_that_has_it_on_can_be_told_that_it_is_off(self, wsgi):
        class Request(cpadapter.Request):
            debug = True

        app = wsgi.mount(raiser())
        app.request_class = Request
        assert is_debug_page(ask(wsgi))
        wsgi.site.config.update({'request.debug': False})
        assert not is_debug_page(ask(wsgi))


def raiser():
    class Root:
        @cpadapter.expose
        def index(self):
            cpadapter.engine.no_such_thing()

    return Root()


# --- when it comes --------------------------------------------------------------------------------------------


class TestWhenItComes:
    def test_an_unforeseen_exception_is_answered_with_it_and_logged_once(self, client, root):
        client.mount(root, config={'/': DEBUG})
        for path in ('/', '/inside'):
            client.records.clear()
            answer = ask(client, path)
            assert (answer.status, is_debug_page(answer)) == (500, True)
            assert sum('ValueError: <unforeseen>' in line for line in client.errors) == 1

    def test_errors_and_redirects_that_were_raised_on_purpose_are_as_ever(self, client, root):
        client.mount(root, config={'/': DEBUG})
        for path, status in (('/fine', 200), ('/not_found', 404), ('/own', 500), ('/away', 303), ('/nope', 404)):
            answer = ask(client, path)
            assert (answer.status, is_debug_page(answer)) == (status, False)

    def test_custom_pages_give_way_to_it(self, client, root):
        def custom(status, message, traceback, version):
            return 'custom'

        for key in ('error_page.500', 'error_page.default'):
            client.mount(root, config={'/': {**DEBUG, key: custom}})
            assert is_debug_page(ask(client))
            assert ask(client, peer='10.0.0.1').text.strip() == 'custom'

    def test_it_gives_way_to_an_answer_of_the_applications_own(self, client, root):
        def sorry():
            cpadapter.response.status = 503
            cpadapter.response.body = [b'sorry']

        client.mount(root, config={'/': {**DEBUG, 'request.error_response': sorry}})
        assert ask(client).text == 'sorry'
        client.mount(root, config={'/': {**DEBUG, 'request.error_response': HTTPError(503).set_response}})
        assert ask(client).status == 503
        client.mount(root, config={'/': {**DEBUG, 'tools.err_redirect.on': True, 'tools.err_redirect.url': '/fine'}})
        assert ask(client).text == 'fine'
        client.mount(root, config={'/': {**DEBUG, 'request.throw_errors': True}})
        assert ask(client).text == 'Unrecoverable error in the server.'

    def test_an_error_response_that_is_the_default_does_not_count_as_ones_own(self, client, root):
        for value in (None, HTTPError(500).set_response):
            client.mount(root, config={'/': {**DEBUG, 'request.error_response': value}})
            assert is_debug_page(ask(client))

    @pytest.mark.parametrize(
        'point', ['on_start_resource', 'before_request_body', 'before_handler', 'before_finalize', 'on_end_resource']
    )
    def test_errors_of_hooks_are_shown(self, client, root, point):
        client.mount(root, config={'/': {**DEBUG, f'hooks.{point}': raising(KeyError('in a hook'))}})
        answer = ask(client, '/fine')
        assert is_debug_page(answer)
        assert 'in a hook' in answer.text

    def test_errors_of_tools_are_shown(self, client, root):
        def broken():
            raise TypeError('of the tool')

        client.site.tools.broken = cpadapter.Tool('before_handler', broken)
        client.mount(root, config={'/': {**DEBUG, 'tools.broken.on': True}})
        answer = ask(client, '/fine')
        assert is_debug_page(answer)
        assert '<h1>TypeError</h1>' in answer.text

    def test_errors_before_there_is_a_page_handler_are_shown(self, client):
        class Root:
            def _cp_dispatch(self, vpath):
                raise LookupError('while dispatching')

        client.mount(Root(), config={'/': DEBUG})
        answer = ask(client, '/a/b?token=abcdefghi')
        assert is_debug_page(answer)
        assert 'while dispatching' in answer.text
        assert 'abcdefghi' not in without_source(answer.text)

    def test_mistakes_in_config_are_shown(self, client, root):
        client.site.config.update(DEBUG)
        client.mount(root, config={'/': {'tools.gzip.on': True, 'tools.gzip.levl': 5}})
        answer = ask(client, '/fine')
        assert is_debug_page(answer)
        assert 'levl' in answer.text

    def test_an_error_before_the_first_chunk_of_a_stream_is_shown(self, client, handler):
        class Root:
            @cpadapter.expose
            @cpadapter.config(**{'response.stream': True})
            def index(self):
                raise ValueError('before the first')
                yield b''

        async def stream(self):
            raise ValueError('before the first')
            yield b''

        if handler.is_async:
            Root.index = cpadapter.expose(stream)
            Root.index._cp_config = {'response.stream': True}
        client.mount(Root(), config={'/': DEBUG})
        answer = ask(client)
        assert is_debug_page(answer)
        assert 'before the first' in answer.text
        assert int(answer.headers['Content-Length']) == len(answer.body)

    def test_hooks_around_the_error_still_run(self, client, root):
        def late():
            cpadapter.response.headers['X-Late'] = cpadapter.response.status

        client.mount(root, config={'/': {**DEBUG, 'hooks.after_error_response': late}})
        assert ask(client).headers['X-Late'] == '500'

    def test_a_request_class_may_still_handle_errors_itself(self, wsgi):
        class Request(cpadapter.Request):
            def handle_error(self):
                super().handle_error()
                cpadapter.response.headers['X-Mine'] = 'yes'

        app = wsgi.mount(raiser(), config={'/': DEBUG})
        app.request_class = Request
        assert LINE in ask(wsgi).text


# --- its form -------------------------------------------------------------------------------------------------


class TestItsForm:
    def test_html_stands_alone_and_may_load_and_run_nothing(self, client, root):
        client.mount(root, config={'/': DEBUG})
        answer = ask(client, headers={'Accept': 'text/html,*/*;q=0.8'})
        text = answer.text
        style = re.search(r'<style>(.*?)</style>', text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer.headers['Content-Security-Policy']
        assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r'<script|<link|<img|<form|<iframe|\sstyle=|\son\w+=|\s(?:src|href)=|url\(', text)
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        assert answer.headers['Cache-Control'] == 'no-store'
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert answer.headers['Referrer-Policy'] == 'no-referrer'
        assert answer.headers['Vary'] == 'Accept'
        assert int(answer.headers['Content-Length']) == len(answer.body)

    def test_its_tags_are_closed(self, client, root):
        from html.parser import HTMLParser

        class Parser(HTMLParser):
            open_tags: list[str] = []

            def handle_starttag(self, tag, attrs):
                if tag not in ('meta', 'wbr'):
                    self.open_tags.append(tag)

            def handle_endtag(self, tag):
                assert self.open_tags.pop() == tag

        client.mount(root, config={'/': DEBUG})
        parser = Parser()
        parser.feed(ask(client).text)
        assert parser.open_tags == []

    def test_a_client_that_wants_text_gets_the_traceback(self, client, root):
        client.mount(root, config={'/': DEBUG})
        answer = ask(client, headers={'Accept': 'text/plain'})
        assert answer.headers['Content-Type'] == 'text/plain;charset=utf-8'
        assert answer.text.startswith('500 Internal Server Error\n\nTraceback (most recent call last):\n')
        assert answer.text.endswith('ValueError: <unforeseen> & "unescaped"\n')
        assert answer.headers['Cache-Control'] == 'no-store'

    @pytest.mark.parametrize('accept', ['application/json', 'application/problem+json, text/html;q=0.1'])
    def test_a_client_that_wants_json_gets_the_problem_with_the_traceback(self, client, root, accept):
        client.mount(root, config={'/': DEBUG})
        answer = ask(client, headers={'Accept': accept})
        assert answer.headers['Content-Type'] == 'application/problem+json'
        problem = answer.json
        assert (problem['status'], problem['title']) == (500, 'Internal Server Error')
        assert problem['detail'] == 'ValueError: <unforeseen> & "unescaped"'
        assert problem['traceback'].startswith('Traceback (most recent call last):\n')

    def test_head_has_no_body_and_the_length_of_get(self, client):
        client.mount(raiser(), config={'/': DEBUG})
        answer = ask(client, method='HEAD')
        assert (answer.status, answer.body, is_debug_page(answer)) == (500, b'', True)
        assert int(answer.headers['Content-Length']) > 1000

    def test_tools_that_encode_leave_it_whole(self, client, root):
        tools = {'tools.gzip.on': True, 'tools.encode.encoding': 'latin-1', 'tools.etags.on': True}
        client.mount(root, config={'/': {**DEBUG, **tools}})
        answer = ask(client, headers={'Accept-Encoding': 'gzip'})
        assert '&lt;unforeseen&gt;' in answer.text
        assert 'Content-Encoding' not in answer.headers
        assert int(answer.headers['Content-Length']) == len(answer.body)

    def test_headers_of_the_page_that_was_to_come_are_gone_and_cookies_stay(self, client, handler):
        class Root:
            @handler
            def index(self):
                headers = cpadapter.response.headers
                headers['Content-Length'] = '5'
                headers['Etag'] = '"x"'
                headers['Cache-Control'] = 'public, max-age=9999'
                headers['Content-Security-Policy'] = "script-src 'unsafe-inline'"
                cpadapter.response.cookie['seen'] = 'yes'
                raise ValueError('x')

        client.mount(Root(), config={'/': DEBUG})
        headers = ask(client).headers
        assert 'Etag' not in headers
        assert headers['Cache-Control'] == 'no-store'
        assert headers['Content-Security-Policy'].startswith("default-src 'none'")
        assert headers['Set-Cookie'].startswith('seen=yes')


# --- what stands in it ----------------------------------------------------------------------------------------


@dataclasses.dataclass
class User:
    name: str
    password: str


Pair = collections.namedtuple('Pair', 'name secret')


class Bad:
    def __repr__(self):
        raise ZeroDivisionError('<no repr>')


def page(client, call, config=None, target='/', source=False, **more):
    """Give the page for what `call` raises, with entities decoded."""

    class Root:
        @cpadapter.expose
        def default(self, *args, **params):
            call()

    client.mount(Root(), config={'/': {**DEBUG, **(config or {})}})
    answer = ask(client, target, **more)
    assert is_debug_page(answer)
    assert not re.search(r'[^\n\t\x20-\x7e\xa0-\uffff]', answer.text)
    text = answer.text if source else without_source(answer.text)
    return html.unescape(re.sub(r'</?(?:mark|wbr)>', '', text))


class TestWhatItShows:
    def test_everything_is_escaped(self, client):
        evil = '<script>alert("1")</script>'

        class Evil(Exception):
            def __repr__(self):
                return evil

        Evil.__qualname__ = evil

        class Root:
            @cpadapter.expose
            def default(self, *args, **params):
                local = evil  # noqa: F841
                thing = {evil: Evil(), evil.encode(): [evil]}  # noqa: F841
                raise Evil(evil)

        client.mount(Root(), config={'/': {**DEBUG, 'mine.evil': evil, evil: 1}})
        answer = ask(
            client,
            f'/{"%3Cscript%3E"}?{"%3Cscript%3Ea"}=%3Cscript%3E&b="><script>',
            headers={'X-Evil': evil, 'Cookie': f'<script>={evil}', 'Referer': f'"{evil}'},
        )
        assert is_debug_page(answer)
        assert '<script' not in answer.text
        assert '&lt;script&gt;' in answer.text

    def test_characters_that_cannot_be_seen_are_shown_by_number(self, client, monkeypatch):
        text = 'a\x00\x1b[31m\u202eb\u200b\ud800\x85c\ufeff'
        # What is logged goes to whoever runs the tests: not everything takes half of a surrogate pair.
        monkeypatch.setattr(logging.getLogger('cpadapter'), 'propagate', False)

        def call():
            raise ValueError(text)

        assert 'a\\x00\\x1b[31m\\u202eb\\u200b\\ud800\\x85c\\ufeff</pre>' in page(client, call)

    def test_frames_are_shown_with_source_and_local_variables(self, client):
        def call():
            number = 41
            return {}[number + 1]

        text = page(client, call, source=True)
        assert '<h1>KeyError</h1>\n<pre class="text">42</pre>' in text
        assert 'return {}[number + 1]</code>' in text
        assert '<tr><th>number</th><td>41</td></tr>' in text
        assert f'<b>test_debug_page.py:{call.__code__.co_firstlineno + 2}</b>' in text
        assert 'class="frame own" open' in text
        assert 'class="frame library">' in text
        assert re.search(r'in <code>(?:Exchange\.)?run</code>', text)

    @pytest.mark.skipif(sys.version_info < (3, 11), reason='Python tells no columns')
    def test_the_part_of_the_line_that_failed_is_marked(self, client):
        class Root:
            @cpadapter.expose
            def index(self):
                return 'äöü' + str([][3]) + 'äöü'

        client.mount(Root(), config={'/': DEBUG})
        assert 'str(<mark>[][3]</mark>)' in ask(client).text

    def test_source_that_cannot_be_read_is_told(self, client):
        names = {}
        exec(compile('def call():\n    raise ValueError("made of text")\n', '<no file>', 'exec'), names)
        text = page(client, names['call'])
        assert '<b><no file>:2</b> in <code>call</code>' in text
        assert 'The source cannot be read.' in text

    def test_long_lines_of_source_are_cut(self, client, tmp_path):
        path = tmp_path / 'long.py'
        path.write_text(f'def call():\n    x = {"1" * 4000!r}; raise ValueError("far right")\n')
        names = {}
        exec(compile(path.read_text(), str(path), 'exec'), names)
        text = page(client, names['call'], source=True)
        source = re.search(r'<code class=now>(.*?)</code>', text.partition('long.py')[2].partition('long.py')[2])[1]
        assert 200 < len(source) < 400

    def test_a_cause_is_shown(self, client):
        def call():
            try:
                raise KeyError('the first')
            except KeyError as exc:
                raise ValueError('the second') from exc

        text = page(client, call)
        assert '<h1>ValueError</h1>' in text
        assert '<p class="how">Caused by:</p>' in text
        assert '<h2>KeyError</h2>\n<pre class="text">\'the first\'</pre>' in text

    def test_what_was_being_handled_is_shown_unless_suppressed(self, client):
        def call(suppress=False):
            try:
                raise KeyError('the first')
            except KeyError:
                if suppress:
                    raise ValueError('the second') from None
                raise ValueError('the second')  # noqa: B904

        text = page(client, call)
        assert '<p class="how">Raised while this was being handled:</p>' in text
        assert '<h2>KeyError</h2>' in text
        text = page(client, lambda: call(True))
        assert '<h2>' not in text

    def test_exceptions_that_lead_back_to_each_other_are_shown_once(self, client):
        def call():
            first, second = KeyError('first'), ValueError('second')
            first.__context__ = second
            second.__context__ = first
            raise second

        text = page(client, call)
        assert text.count('<h2>KeyError</h2>') == 1
        assert 'the ValueError that is shown above' in text

    @pytest.mark.skipif(sys.version_info < (3, 11), reason='Python has no notes')
    def test_notes_are_shown(self, client):
        def call():
            error = ValueError('x')
            error.add_note('a <note>')
            raise error

        assert '<pre class="text">x\na <note></pre>' in page(client, call)

    @pytest.mark.skipif(sys.version_info < (3, 11), reason='Python has no groups')
    def test_the_exceptions_of_a_group_are_shown(self, client):
        def call():
            inner = ExceptionGroup('inner', [TypeError('deep')])  # noqa: F821
            raise ExceptionGroup('outer', [ValueError('flat'), inner])  # noqa: F821

        text = page(client, call)
        assert '<h1>ExceptionGroup</h1>' in text
        for heading in ('<h2>ValueError</h2>', '<h2>ExceptionGroup</h2>', '<h2>TypeError</h2>'):
            assert text.count(heading) == 1
        assert 'it was never raised' in text

    @pytest.mark.skipif(sys.version_info < (3, 11), reason='Python has no groups')
    def test_a_large_group_is_bounded(self, client):
        def call():
            raise ExceptionGroup('many', [ValueError(i) for i in range(500)])  # noqa: F821

        text = page(client, call)
        assert text.count('<h2>ValueError</h2>') == debug_page.MAX_EXCEPTIONS - 1
        assert 'Further exceptions are left out.' in text

    def test_a_syntax_error_is_shown_with_its_place(self, client):
        def call():
            compile('x = = 1', 'written.py', 'exec')

        text = page(client, call)
        assert '<h1>SyntaxError</h1>' in text
        assert 'x = = 1' in text
        assert '^' in text

    def test_endless_recursion_is_bounded(self, client):
        def call(n=0):
            return call(n + 1)

        text = page(client, call)
        assert text.count('<details class="frame') == debug_page.MAX_FRAMES
        assert re.search(r'… \d+ frames are left out …', text)

    def test_an_exception_whose_text_raises_is_shown(self, client):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError('no text')

        def call():
            raise Mute()

        assert 'Mute</h1>' in page(client, call)

    def test_a_repr_that_raises_is_told_as_such(self, client):
        def call():
            bad = Bad()  # noqa: F841
            among = [1, Bad()]  # noqa: F841
            raise ValueError('x')

        told = '<Bad, whose repr raised ZeroDivisionError: <no repr>>'
        text = page(client, call)
        assert f'<td>{told}</td>' in text
        assert f'<td>[1, {told}]</td>' in text

    def test_values_are_bounded_in_length(self, client):
        class Long:
            def __repr__(self):
                return 'z' * 1_000_000

        def call():
            text = 'x' * 1_000_000  # noqa: F841
            data = b'y' * 1_000_000  # noqa: F841
            thing = Long()  # noqa: F841
            numbers = list(range(100_000))  # noqa: F841
            mapping = {i: [{}] * 1000 for i in range(1000)}  # noqa: F841
            power = 10**10_000  # noqa: F841
            loop: list = []
            loop.append(loop)
            deep: list = []
            for _ in range(100_000):
                deep = [deep]
            raise ValueError('x')

        text = page(client, call)
        assert len(text) < 100_000
        assert '49, … (100000 in all)]' in text
        assert 'bits&gt;' in text or 'bits>' in text

    def test_a_slow_repr_stops_the_ones_behind_it(self, client, monkeypatch):
        monkeypatch.setattr(debug_page, 'VALUES_TIME', -1)

        def call():
            number = 41  # noqa: F841
            raise ValueError('the message stays')

        text = page(client, call)
        assert '<tr><th>number</th><td>(not shown: the values took too long)</td></tr>' in text
        assert 'the message stays' in text

    def test_a_repr_that_never_ends_costs_the_values_alone(self, client, monkeypatch):
        monkeypatch.setattr(debug_page, 'WHOLE_TIME', 0.2)
        release = threading.Event()
        left = []

        class Endless:
            def __repr__(self):
                left.append(threading.current_thread())
                release.wait(10)
                return ''

        def call():
            endless = Endless()  # noqa: F841
            raise ValueError('the message stays')

        try:
            text = page(client, call)
            assert 'the message stays' in text
            assert '<th>endless</th><td>(not shown: the values took too long)</td>' in text
        finally:
            release.set()
            left[0].join(10)

    def test_the_request_is_shown(self, client):
        text = page(
            client,
            raising(ValueError('x')),
            {'mine.setting': ['a', 1]},
            '/some/path?a=1&a=2',
            headers={'X-Thing': 'thing', 'Cookie': 'lang=de'},
        )
        assert "<tr><th>a</th><td>['1', '2']</td></tr>" in text
        assert '<tr><th>X-Thing</th><td>thing</td></tr>' in text
        assert '<tr><th>lang</th><td>…</td></tr>' in text
        assert "<tr><th>mine.setting</th><td>['a', 1]</td></tr>" in text
        assert '<td>http://localhost:8080/some/path?a=1&a=2</td>' in text
        assert 'plan (sync)\n' in text
        assert 'request.debug = True' in text
        kind = {'wsgi': 'WSGI environ', 'asgi': 'ASGI scope'}[client.protocol]
        assert f'<summary>{kind}</summary>' in text

    def test_a_request_that_the_application_has_broken_does_not_break_the_page(self, client):
        def call():
            cpadapter.request.params = None
            cpadapter.request.cookie = 5
            raise ValueError('the message stays')

        text = page(client, call)
        assert 'the message stays' in text
        assert text.count('This cannot be shown') == 2


# --- secrets --------------------------------------------------------------------------------------------------


class TestSecrets:
    @pytest.mark.parametrize(
        'name',
        [
            *('password', 'user_password', 'PASSWD', 'newPassword', 'pwd', 'secret', 'client_secret', 'Set-Cookie'),
            *('token', 'csrfToken', 'X-Auth-Token', 'api_key', 'apiKey', 'APIKEY', 'X-Api-Key', 'key', 'api_keys'),
            *('tools.auth_digest.key', 'server.ssl_private_key', 'Authorization', 'Proxy-Authorization', 'Cookie'),
            *('session_id', 'sessionid', 'sid', 'HTTP_COOKIE', 'HTTP_AUTHORIZATION', b'cookie', 'credentials'),
        ],
    )
    def test_names_of_secrets(self, name):
        assert is_secret(name)

    @pytest.mark.parametrize('name', ['monkey', 'keyword', 'keys', 'side', 'author', 'user', 'session', '', 5, None])
    def test_names_of_other_things(self, name):
        assert not is_secret(name)

    def test_no_secret_of_the_request_or_of_a_variable_is_on_the_page(self, client):
        def call():
            password = 'in-a-local'
            user = User('tom', 'in-a-dataclass')  # noqa: F841
            pair = Pair('tom', 'in-a-namedtuple')  # noqa: F841
            nested = {'a': [{'api_key': 'in-a-dict'}]}  # noqa: F841
            pairs = [('X-Token', 'in-a-pair'), (b'cookie', b'in-a-bytes-pair')]  # noqa: F841
            text = '{"secret": "in-a-json-text", "b": 1}'  # noqa: F841
            form = b'a=b&passwd=in-a-form-text&c=d'  # noqa: F841
            headers = cpadapter.request.headers  # noqa: F841
            cookies = cpadapter.request.cookie  # noqa: F841
            environ = cpadapter.request.wsgi_environ  # noqa: F841
            params = cpadapter.request.params  # noqa: F841
            raise ValueError(f'{password} and {cpadapter.request.params["token"]} are wrong')

        credentials = base64.b64encode(b'tom:in-basic-auth').decode()
        sent = {
            'target': '/?token=in%2Da%2Dquery&plain=shown',
            'headers': {
                'Authorization': f'Basic {credentials}',
                'Proxy-Authorization': 'Bearer in-proxy-auth-1',
                'Cookie': 'session_id=in-a-cookie-00001; other=in-another-cookie',
                'X-Api-Key': 'in-a-header',
            },
            'config': {'tools.auth_digest.key': 'in-config', 'mine.secrets': {'a': 'in-deeper-config'}},
        }
        text = page(client, call, **sent)
        assert 'tom' in text
        assert "'shown'" in text
        assert '… and … are wrong' in text
        text = text.partition('</style>')[2]
        assert re.findall(r'in(?:-|%2D)[a-z-]+', text) == []
        assert credentials not in text
        for accept in ('text/plain', 'application/json'):
            answer = ask(client, sent['target'], headers={**sent['headers'], 'Accept': accept})
            assert '… and … are wrong' in (answer.text if accept == 'text/plain' else answer.json['traceback'])
            assert 'in-a-query' not in answer.text

    def test_form_fields_and_json_are_masked_too(self, client, handler):
        class Root:
            @handler
            def form(self, **params):
                raise ValueError('x')

            @handler
            @cpadapter.tools.json_in()
            def json(self):
                raise ValueError('x')

        client.mount(Root(), config={'/': DEBUG})
        fields = {'name': 'shown', 'password': 'in-the-body'}
        for answer in (
            ask(client, '/form', method='POST', form=fields),
            ask(client, '/json', method='POST', json=fields),
        ):
            assert is_debug_page(answer)
            assert '&#x27;shown&#x27;' in answer.text
            assert 'in-the-body' not in without_source(answer.text)

    def test_long_hostile_values_are_masked_in_linear_time(self, client):
        def call():
            raise ValueError('x')

        for text in ('token' * 10_000, 'token=[' * 8000, 'a' * 60_000, 'key.' * 15_000, ' =' * 30_000):
            assert 'X-Hostile' in page(client, call, headers={'X-Hostile': text})


# --- where it cannot be made ----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['make_page', '_text', 'may_see', 'clean_headers'])
def test_where_it_fails_the_ordinary_page_answers_and_the_log_tells(client, root, monkeypatch, name):
    monkeypatch.setattr(debug_page, name, raising(RuntimeError('the page failed')))
    client.mount(root, config={'/': DEBUG})
    answer = ask(client)
    assert (answer.status, is_debug_page(answer)) == (500, False)
    assert 'Powered by' in answer.text
    assert '<unforeseen>' not in answer.text
    assert sum('RuntimeError: the page failed' in line for line in client.errors) == 1


def test_nothing_of_it_is_loaded_before_there_is_one_to_make():
    code = """
import sys
import cpadapter
class Root:
    @cpadapter.expose
    def index(self):
        return 'ok'
    @cpadapter.expose
    def fails(self):
        raise ValueError
app = cpadapter.Application(Root(), '', {'/fails': {'request.debug': False}, '/': {'request.debug': True}})
for path in ('/', '/fails', '/nope'):
    environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'HTTP_HOST': 'localhost', 'REMOTE_ADDR': '127.0.0.1'}
    list(app(environ, lambda status, headers, exc_info=None: print(status)))
print('cpadapter.core.debug_page' in sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split('\n') == ['200 OK', '500 Internal Server Error', '404 Not Found', 'False', '']


# --- the checker ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('config', 'told'),
    [
        ({}, []),
        (DEBUG, []),
        ({'environment': 'production'}, []),
        ({'environment': 'production', **DEBUG}, ["'request.debug' is on in the environment 'production'."]),
        (BOTH, ["'request.debug_remote' shows debug pages"]),
    ],
    ids=str,
)
def test_the_checker_warns_of_debug_pages_that_others_see(wsgi, config, told):
    wsgi.mount(raiser(), config={'/': {'request.show_mismatched_params': True}})
    wsgi.site.config.update(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        wsgi.site.checker.check_debug_pages()
    assert [text for text in told if any(str(item.message).startswith(text) for item in caught)] == told
    assert len(caught) == len(told)
