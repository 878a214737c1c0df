"""The order of one request, and what becomes of errors, by where they are raised."""

from __future__ import annotations

import pytest

import cpadapter
from cpadapter import HTTPError, HTTPRedirect, InternalRedirect, NotFound, expose
from cpadapter.extension.hooks import HOOKPOINTS


def hooks_noting(seen, points=HOOKPOINTS, **raising):
    def make(point):
        def hook():
            seen.append(point)
            if point in raising:
                raise raising[point]

        return hook

    return {f'hooks.{point}.note': make(point) for point in points}


@pytest.fixture
def root(handler):
    class Root:
        @handler
        def index(self, **kwargs):
            return 'ok'

        @handler
        def http(self, code='402', **kwargs):
            raise HTTPError(int(code), 'the message')

        @handler
        def redirect(self, to='/else', status=None):
            raise HTTPRedirect(to, status)

        @handler
        def fails(self, **kwargs):
            raise ValueError('<unforeseen>')

        @handler
        def internal(self, to='/target?a=1', **kwargs):
            raise InternalRedirect(to)

        @handler
        def target(self, **kwargs):
            request = cpadapter.request
            prev = request.prev
            return (
                f'{request.method} {request.path_info} {kwargs} prev={prev and prev.path_info} {prev and prev.closed}'
            )

        @handler
        def not_found(self):
            raise NotFound()

    return Root()


class TestOrder:
    def test_hooks_run_in_order(self, client, root):
        seen = []
        client.mount(root, config={'/': hooks_noting(seen)})
        assert client.get('/').text == 'ok'
        assert seen == [
            'on_start_resource',
            'before_request_body',
            'before_handler',
            'before_finalize',
            'on_end_resource',
            'on_end_request',
        ]

    def test_an_http_error_runs_before_finalize_once(self, client, root):
        seen = []
        client.mount(root, config={'/': hooks_noting(seen)})
        assert client.get('/http').status == 402
        assert seen[3:] == ['before_finalize', 'on_end_resource', 'on_end_request']

    def test_an_unforeseen_error_runs_the_error_hooks(self, client, root):
        seen = []
        client.mount(root, config={'/': hooks_noting(seen)})
        assert client.get('/fails').status == 500
        assert seen[3:] == ['on_end_resource', 'before_error_response', 'after_error_response', 'on_end_request']

    def test_an_internal_redirect_ends_one_request_and_does_the_next(self, client, root):
        seen = []
        client.mount(root, config={'/': hooks_noting(seen)})
        assert client.get('/internal').status == 200
        first, second = seen[: seen.index('on_end_request') + 1], seen[seen.index('on_end_request') + 1 :]
        assert first == [*HOOKPOINTS[:3], 'on_end_resource', 'on_end_request']
        assert second == HOOKPOINTS[:6]

    def test_engine_listeners_hear_of_each_request(self, client, root):
        seen = []
        for channel in ('acquire_thread', 'before_request', 'after_request'):
            client.site.engine.subscribe(channel, lambda channel=channel: seen.append(channel))
        client.mount(root)
        client.get('/')
        assert seen == ['acquire_thread', 'before_request', 'after_request']
        seen.clear()
        client.get('/internal')
        assert seen == ['acquire_thread', 'before_request', 'after_request'] * 2
        seen.clear()
        assert client.get('/nope').status == 404
        assert seen == ['acquire_thread', 'before_request', 'after_request']

    def test_the_status_is_text_when_the_resource_ends(self, client, root):
        seen = []

        def note():
            seen.append((cpadapter.response.status, cpadapter.response.output_status))

        client.mount(root, config={'/': {'hooks.on_end_resource': note, 'hooks.on_end_request': note}})
        client.get('/')
        assert seen == [('200 OK', b'200 OK')] * 2


class TestErrors:
    @pytest.mark.parametrize('point', ['on_start_resource', 'before_request_body', 'before_handler', 'before_finalize'])
    def test_a_hook_may_answer_with_an_error_or_redirect(self, client, root, point):
        for error, status in ((HTTPError(418 - 1), 417), (HTTPRedirect('http://h/x'), 303)):
            seen = []
            client.mount(root, config={'/': hooks_noting(seen, **{point: error})})
            assert client.get('/').status == status
            assert seen[-2:] == ['on_end_resource', 'on_end_request']
            assert seen.count('before_finalize') == 1

    @pytest.mark.parametrize('point', HOOKPOINTS[:5])
    def test_an_unforeseen_error_of_a_hook_is_500_and_logged_once(self, client, root, point):
        seen = []
        client.mount(root, config={'/': hooks_noting(seen, **{point: ValueError('from a hook')})})
        assert client.get('/').status == 500
        assert sum('ValueError: from a hook' in line for line in client.errors) == 1
        assert seen[-1] == 'on_end_request'

    def test_on_end_resource_may_answer_with_an_error(self, client, root):
        client.mount(root, config={'/': hooks_noting([], on_end_resource=HTTPError(409))})
        assert client.get('/').status == 409

    def test_an_error_at_the_very_end_is_logged_and_the_response_stands(self, client, root):
        client.mount(root, config={'/': hooks_noting([], on_end_request=ValueError('too late'))})
        assert client.get('/').text == 'ok'
        assert sum('ValueError: too late' in line for line in client.errors) == 1

    @pytest.mark.parametrize('point', ['before_error_response', 'after_error_response'])
    def test_an_error_while_answering_an_error_gives_the_last_resort(self, client, root, point):
        for error in (ValueError('x'), HTTPError(404)):
            client.mount(root, config={'/': hooks_noting([], **{point: error})})
            answer = client.get('/fails')
            assert (answer.status, answer.headers['Content-Type']) == (500, 'text/plain')
            assert answer.text == 'Unrecoverable error in the server.'
        client.mount(root, config={'/': hooks_noting([], **{point: HTTPRedirect('http://h/x')})})
        assert client.get('/fails').status == 303

    def test_tracebacks_are_shown_only_when_asked_for(self, client, root):
        client.mount(root)
        for path in ('/fails', '/http', '/nope'):
            assert 'Traceback' not in client.get(path).text
        client.mount(root, config={'/': {'request.show_tracebacks': True}})
        answer = client.get('/fails')
        assert 'Traceback (most recent call last)' in answer.text
        assert '<unforeseen>' not in answer.text
        assert '&lt;unforeseen&gt;' in answer.text
        client.mount(root)
        client.site.config['request.show_tracebacks'] = True
        assert 'Traceback' in client.get('/fails').text

    def test_the_last_resort_shows_tracebacks_only_when_asked_for(self, client, root):
        client.mount(root, config={'/': {'request.throw_errors': True}})
        answer = client.get('/fails')
        assert (answer.status, answer.text) == (500, 'Unrecoverable error in the server.')
        client.mount(root, config={'/': {'request.throw_errors': True, 'request.show_tracebacks': True}})
        assert 'ValueError: <unforeseen>' in client.get('/fails').text

    def test_errors_before_there_is_a_plan_use_what_config_there_is(self, client, root):
        def custom(status, message, traceback, version):
            return f'custom {status}'

        client.mount(root, config={'/': {'error_page.default': custom}})
        answer = client.get('/', host=None)
        assert (answer.status, answer.text.strip()) == (400, 'custom 400 Bad Request')
        assert client.get('/nope').text.strip() == 'custom 404 Not Found'

    def test_an_error_response_of_none_gives_the_default_page(self, client, root):
        client.mount(root, config={'/': {'request.error_response': None}})
        assert client.get('/fails').status == 500

    def test_error_response_may_be_replaced(self, client, handler):
        def sorry():
            cpadapter.response.status = 503
            cpadapter.response.body = [b'sorry']

        class Root:
            @handler
            def index(self):
                raise ValueError('x')

        client.mount(Root(), config={'/': {'request.error_response': sorry}})
        answer = client.get('/')
        assert (answer.status, answer.text) == (503, 'sorry')

    def test_an_exception_may_be_a_page_handler(self, client):
        class Root:
            gone = expose(HTTPError(410, 'gone for good'))
            moved = expose(HTTPRedirect('http://h/there'))

        client.mount(Root())
        assert client.get('/gone').status == 410
        assert client.get('/moved').status == 303

    def test_handle_turns_one_exception_into_another(self, client, handler):
        class Root:
            @handler
            def index(self, n):
                with HTTPError.handle(ValueError, 400):
                    return str(int(n))

        client.mount(Root())
        assert client.get('/?n=5').text == '5'
        answer = client.get('/?n=x')
        assert answer.status == 400
        assert 'invalid literal' in answer.text


class TestErrorPages:
    def test_the_default_page(self, client, root):
        client.mount(root)
        answer = client.get('/http')
        assert answer.status == 402
        assert '<title>402 Payment Required</title>' in answer.text
        assert '<p>the message</p>' in answer.text
        assert '<pre id="traceback"></pre>' in answer.text
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'

    def test_a_callable_a_file_and_a_default(self, client, root, tmp_path):
        def page(status, message, traceback, version):
            cpadapter.response.headers['Content-Type'] = 'text/plain'
            return f'{status}|{message}'

        template = tmp_path / 'page.html'
        template.write_text('file %(status)s %(message)s')
        config = {'error_page.402': page, 'error_page.409': str(template), 'error_page.default': page}
        client.mount(root, config={'/': config})
        answer = client.get('/http')
        assert (answer.text.strip(), answer.headers['Content-Type']) == (
            '402 Payment Required|the message',
            'text/plain',
        )
        assert client.get('/http?code=409').text.strip() == 'file 409 Conflict the message'
        assert client.get('/fails').text.startswith('500 Internal Server Error|')
        assert client.get('/nope').status == 404

    @pytest.mark.parametrize('result', [b'bytes', 'text ä', iter])
    def test_a_callable_may_give_bytes_text_or_an_iterator(self, client, root, result):
        client.mount(
            root,
            config={'/': {'error_page.402': lambda **kwargs: iter(['gen', 'erated']) if result is iter else result}},
        )
        answer = client.get('/http')
        assert answer.status == 402
        assert answer.body in (b'bytes', 'text ä'.encode(), b'generated')

    def test_a_failing_page_is_replaced_by_the_default_one(self, client, root):
        def page(**kwargs):
            raise ValueError('<evil>')

        client.mount(root, config={'/': {'error_page.default': page, 'error_page.409': '/no/such/file'}})
        answer = client.get('/http')
        assert answer.status == 402
        assert 'In addition, the custom error page failed' in answer.text
        assert '<evil>' not in answer.text
        assert client.get('/http?code=409').status == 409

    def test_headers_of_the_page_that_was_to_be_sent_are_left_out(self, client, handler):
        class Root:
            @handler
            def index(self):
                headers = cpadapter.response.headers
                headers.update({'ETag': '"x"', 'Last-Modified': 'x', 'Content-Encoding': 'gzip', 'X-Own': 'kept'})
                headers['Content-Length'] = '1000'
                headers['WWW-Authenticate'] = 'Basic'
                raise HTTPError(401)

        client.mount(Root())
        answer = client.get('/')
        assert answer.status == 401
        assert not {'etag', 'last-modified', 'content-encoding'} & {name.lower() for name, _ in answer.headers}
        assert (answer.headers['X-Own'], answer.headers['WWW-Authenticate']) == ('kept', 'Basic')

    def test_an_own_reason_is_sent(self, client, handler):
        class Root:
            @handler
            def index(self):
                raise HTTPError("410 Gone fishin'")

        client.mount(Root())
        answer = client.get('/')
        assert answer.status == 410
        assert answer.reason in (None, "Gone fishin'")
        assert 'Gone fishin' in answer.text


class TestRedirects:
    @pytest.mark.parametrize(
        ('to', 'location'),
        [
            ('/x', 'http://testserver/x'),
            ('x', 'http://testserver/app/x'),
            ('', 'http://testserver/app/redirect'),
            ('?q=1', 'http://testserver/app/redirect?q=1'),
            ('http://h/y', 'http://h/y'),
            ('//h/y', 'http://h/y'),
            ('/ä b', 'http://testserver/%C3%A4%20b'),
        ],
    )
    def test_the_location_is_absolute_and_escaped(self, client, handler, to, location):
        class Root:
            @handler
            def redirect(self, **kwargs):
                raise HTTPRedirect(to)

        client.mount(Root(), '/app')
        answer = client.get('/app/redirect?old=1')
        assert (answer.status, answer.headers['Location']) == (303, location)
        assert answer.text.startswith('This resource can be found at <a href=')

    def test_http_1_0_gets_302(self, client, root):
        client.mount(root)
        assert client.get('/redirect', version='1.0').status == 302

    @pytest.mark.parametrize('status', [300, 301, 302, 303, 305, 307, 308])
    def test_each_status_is_sent(self, client, root, status):
        client.mount(root)
        assert client.get(f'/redirect?status={status}').status == status

    def test_304_has_no_representation_headers(self, client, handler):
        class Root:
            @handler
            def index(self):
                cpadapter.response.headers.update({'ETag': '"x"', 'Content-Language': 'en'})
                raise HTTPRedirect([], 304)

        client.mount(Root())
        answer = client.get('/')
        assert (answer.status, answer.headers['ETag'], answer.body) == (304, '"x"', b'')
        assert 'Content-Type' not in answer.headers
        assert 'Content-Language' not in answer.headers

    def test_bad_statuses_are_500(self, client, root):
        client.mount(root)
        for status in (200, 299, 400, 306, 399):
            assert client.get(f'/redirect?status={status}').status == 500

    def test_a_head_request_is_redirected_alike(self, client, root):
        client.mount(root)
        answer = client.head('/redirect')
        assert (answer.status, answer.headers['Location'], answer.body) == (303, 'http://testserver/else', b'')


class TestInternalRedirects:
    def test_get_and_post_arrive_as_get(self, client, root):
        client.mount(root)
        expected = "GET /target {'a': '1'} prev=/internal True"
        assert client.get('/internal').text == expected
        assert client.post('/internal', form={'b': '2'}).text == expected

    def test_head_stays_head(self, client, root):
        client.mount(root)
        answer = client.head('/internal')
        assert (answer.status, answer.body) == (200, b'')
        assert answer.headers['Content-Length'] == str(len("HEAD /target {'a': '1'} prev=/internal True"))

    def test_it_works_below_a_mount_and_an_outer_prefix(self, client, root):
        client.mount(root, '/app')
        assert client.get('/app/internal').text == "GET /target {'a': '1'} prev=/internal True"
        assert client.get('/app/internal', prefix='/outer').text == "GET /target {'a': '1'} prev=/internal True"

    def test_relative_and_non_ascii_targets(self, client, handler):
        class Sub:
            @handler
            def index(self):
                raise InternalRedirect('cousin?t=6')

            @handler
            def cousin(self, t='-'):
                return f'cousin {t}'

            @handler
            def umlaut(self):
                raise InternalRedirect('/vp/ä b/c')

        class Root:
            sub = Sub()

            @handler
            def vp(self, *args):
                return repr(args)

        client.mount(Root())
        assert client.get('/sub/').text == 'cousin 6'
        assert client.get('/sub/umlaut').text == "('ä b', 'c')"

    def test_a_url_visited_twice_is_500(self, client, handler):
        class Root:
            @handler
            def a(self):
                raise InternalRedirect('/b')

            @handler
            def b(self):
                raise InternalRedirect('/a')

        client.mount(Root(), config={'/': {'request.show_tracebacks': True}})
        answer = client.get('/a')
        assert answer.status == 500
        assert answer.headers['Content-Type'] == 'text/plain'
        assert "InternalRedirector visited the same URL twice: '/a'" in answer.text
        client.mount(Root())
        answer = client.get('/a')
        assert (answer.status, answer.text) == (500, 'Unrecoverable error in the server.')

    def test_another_query_is_another_url_up_to_a_limit(self, client, handler):
        class Root:
            @handler
            def count(self, n):
                if n == '0':
                    return 'landed'
                raise InternalRedirect(f'/count?n={int(n) - 1}')

        client.mount(Root())
        assert client.get('/count?n=10').text == 'landed'
        assert client.get('/count?n=1000').status == 500

    def test_recursion_may_be_allowed(self, client, handler):
        calls = []

        class Root:
            @handler
            def again(self):
                calls.append(1)
                if len(calls) < 4:
                    raise InternalRedirect('/again')
                return 'done'

        client.mount(Root(), config={'/': {'wsgi.InternalRedirector.recursive': True}})
        assert client.get('/again').text == 'done'

    def test_hooks_may_redirect_before_the_body_is_read(self, client, root):
        def away():
            if cpadapter.request.path_info == '/':
                raise InternalRedirect('/target')

        client.mount(root, config={'/': {'hooks.before_request_body': away}})
        assert client.post('/', form={'a': '1'}).text == 'GET /target {} prev=/ True'

    def test_it_may_answer_an_error(self, client, root):
        def away():
            raise InternalRedirect('/target')

        client.mount(root, config={'/fails': {'hooks.before_error_response': away}})
        assert client.get('/fails').text == 'GET /target {} prev=/fails True'

    def test_config_is_that_of_the_target(self, client, handler):
        class Root:
            @handler
            def index(self):
                cpadapter.response.headers['X-First'] = 'lost'
                raise InternalRedirect('/target')

            @cpadapter.config(**{'response.headers.X-Own': 'target'})
            @handler
            def target(self):
                return 'target'

        client.mount(Root())
        answer = client.get('/')
        assert answer.headers['X-Own'] == 'target'
        assert 'X-First' not in answer.headers


class TestPassingThrough:
    """SystemExit and KeyboardInterrupt reach the server; what the request holds is let go all the same."""

    @pytest.mark.parametrize('error', [SystemExit, KeyboardInterrupt])
    @pytest.mark.parametrize('where', ['handler', 'hook'])
    def test_it_reaches_the_server_after_the_cleanup(self, client, handler, error, where):
        seen = []

        def raises():
            raise error('stop')

        class Root:
            @handler
            def index(self):
                if where == 'handler':
                    raises()
                return 'x'

            @handler
            def fine(self):
                return 'fine'

        config = {'hooks.on_end_request': lambda: seen.append(cpadapter.request.path_info)}
        if where == 'hook':
            config['hooks.before_handler.a'] = lambda: raises() if cpadapter.request.path_info == '/' else None
        client.mount(Root(), config={'/': config})
        with pytest.raises(error):
            client.get('/')
        assert seen == ['/']
        assert cpadapter.request.app is None
        assert client.get('/fine').text == 'fine'

    def test_throws_may_be_extended(self, client, handler):
        class Own(Exception):
            pass

        class Root:
            @handler
            def index(self):
                raise Own()

        client.mount(Root(), config={'/': {'request.throws': (Own, InternalRedirect)}})
        with pytest.raises(Own):
            client.get('/')


class TestContext:
    def test_each_request_has_its_own_context_variables(self, client):
        from contextvars import ContextVar

        variable = ContextVar('variable', default='unset')
        seen = []

        def note():
            seen.append(variable.get())
            variable.set('set by hook')

        class Root:
            @expose
            def plain(self):
                seen.append(variable.get())
                variable.set('set by handler')
                return 'x'

            @expose
            async def coroutine(self):
                return self.plain()

        end = lambda: seen.append(variable.get())
        client.mount(Root(), config={'/': {'hooks.before_handler': note, 'hooks.on_end_request': end}})
        for path in ('/plain', '/coroutine', '/plain'):
            seen.clear()
            client.get(path)
            assert seen == ['unset', 'set by hook', 'set by handler'], path
        assert variable.get() == 'unset'

    def test_what_was_current_is_current_again(self, client, handler):
        class Inner:
            @handler
            def index(self):
                return cpadapter.request.path_info

        client.mount(Inner())
        assert cpadapter.request.app is None
        client.get('/')
        assert cpadapter.request.app is None
