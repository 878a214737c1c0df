"""The request as page handlers, hooks and tools see it."""

from __future__ import annotations

import gc
import weakref

import pytest

import cpadapter
from cpadapter import HTTPError, Request, expose
from cpadapter.core.request import LazyUUID4


@pytest.fixture
def see(client, handler):
    """Gives a function: what `look(request)` gives while a request is served."""
    found = []

    class Root:
        @handler
        def index(self, **kwargs):
            found.append(looks[0](cpadapter.request))
            return 'seen'

        @handler
        def default(self, *args, **kwargs):
            found.append(looks[0](cpadapter.request))
            return 'seen'

    looks = [None]
    app = client.mount(Root(), '/app')
    client.mount(Root(), '')

    def see(look, target='/', method='GET', **more):
        looks[0] = look
        answer = client.request(method, target, **more)
        assert answer.status == 200, answer
        return found.pop()

    see.app = app
    see.client = client
    see.is_async = handler.is_async
    return see


class TestAttributes:
    def test_the_request_line_is_told(self, see):
        assert see(lambda r: (r.method, r.query_string), '/a?x=1&y=%20') == ('GET', 'x=1&y=%20')
        assert see(lambda r: r.request_line, '/a%20b?x=%20') == 'GET /a b?x=%20 HTTP/1.1'
        assert see(lambda r: r.request_line, '/', version='1.0') == 'GET / HTTP/1.0'
        assert see(lambda r: r.method, method='BREW') == 'BREW'

    def test_path_info_and_script_name_are_apart(self, see):
        def look(r):
            return r.script_name, r.path_info

        assert see(look, '/') == ('', '/')
        assert see(look, '/x//y/') == ('', '/x/y/')
        assert see(look, '/app/') == ('/app', '/')
        assert see(look, '/app/x') == ('/app', '/x')
        assert see(look, '/app/x', prefix='/outer') == ('/outer/app', '/x')
        assert see(look, '/%C3%A4') == ('', '/ä')

    @pytest.mark.parametrize(
        ('version', 'expected'),
        [('1.0', (1, 0)), ('1.1', (1, 1)), ('2', (1, 1)), ('2.0', (1, 1)), ('3', (1, 1)), ('0.9', (0, 9))],
    )
    def test_the_protocol_is_the_lesser_of_both(self, see, version, expected):
        assert see(lambda r: r.protocol, version=version) == expected

    def test_hosts_and_scheme(self, see):
        local, remote, scheme = see(lambda r: (r.local, r.remote, r.scheme), scheme='https')
        assert (local.ip, local.port, local.name) == ('', 8080, '127.0.0.1')
        assert (remote.ip, remote.port, remote.name) == ('127.0.0.9', 4321, '')
        assert scheme == 'https'

    def test_base_is_made_of_the_host_header(self, see):
        assert see(lambda r: r.base, host='example.org:81') == 'http://example.org:81'
        assert see(lambda r: r.base, host='[::1]:81', scheme='https') == 'https://[::1]:81'
        assert see(lambda r: r.base, host=None, version='1.0') == 'http://127.0.0.1'

    def test_headers_are_looked_up_without_regard_to_case(self, see):
        headers = see(lambda r: r.headers, headers={'X-Some-Thing': ' a b ', 'user-agent': 'me'})
        assert headers['x-some-thing'] == headers['X-SOME-THING'] == 'a b'
        assert headers['User-Agent'] == 'me'
        assert 'X-Absent' not in headers
        with pytest.raises(KeyError):
            headers['Content-Type']

    def test_repeated_headers_are_joined(self, see):
        pairs = [('Accept-Charset', 'a'), ('Accept-Charset', 'b'), ('Cookie', 'x=1'), ('Cookie', 'y=2')]
        headers, cookie = see(lambda r: (r.headers, r.cookie), headers=pairs)
        assert headers['Accept-Charset'].replace(' ', '') == 'a,b'
        assert (cookie['x'].value, cookie['y'].value) == ('1', '2')

    def test_encoded_words_are_decoded_and_bad_ones_kept(self, see):
        headers = see(lambda r: r.headers, headers={'X-Text': '=?utf-8?q?gr=C3=BCn?=', 'X-Bad': 'a =?nope?q?b?= c'})
        assert headers['X-Text'] == 'grün'
        assert headers['X-Bad']

    def test_bad_cookies_are_dropped_and_the_others_kept(self, see):
        cookie = see(lambda r: r.cookie, headers={'Cookie': 'a=1; Bad,Name=2; =3; b="q;x"; a=4; novalue'})
        assert {name: morsel.value for name, morsel in cookie.items()} == {'a': '4', 'b': 'q;x'}

    def test_login_comes_from_the_server(self, wsgi):
        class Root:
            @expose
            def index(self):
                return repr(cpadapter.request.login)

        wsgi.mount(Root())
        assert wsgi.get('/').text == 'None'
        assert wsgi.get('/', environ={'REMOTE_USER': ''}).text == 'None'
        assert wsgi.get('/', environ={'REMOTE_USER': 'jo'}).text == "'jo'"
        assert wsgi.get('/', environ={'REMOTE_USER': 'jo', 'LOGON_USER': 'al'}).text == "'al'"

    def test_wsgi_headers_come_from_the_environ(self, wsgi):
        class Root:
            @expose
            def index(self):
                headers = cpadapter.request.headers
                return '|'.join([headers['Remote-Addr'], headers['Authorization'], str('Content-Type' in headers)])

        wsgi.mount(Root())
        environ = {'HTTP_CGI_AUTHORIZATION': 'Basic x', 'CONTENT_TYPE': '', 'CONTENT_LENGTH': ''}
        assert wsgi.get('/', environ=environ).text == '127.0.0.9|Basic x|False'

    def test_the_address_among_the_headers_is_the_servers_word(self, client, wsgi):
        class Root:
            @expose
            def index(self):
                headers = cpadapter.request.headers
                return f'{headers["Remote-Addr"]} {headers.get("Remote-Host")}'

        client.mount(Root())
        assert client.get('/').text == '127.0.0.9 None'
        sent = {'Remote-Addr': '6.6.6.6', 'Remote-Host': 'forged'}
        assert client.get('/', headers=sent).text == '127.0.0.9 None'
        wsgi.mount(Root())
        assert wsgi.get('/', headers=sent, environ={'REMOTE_HOST': 'known'}).text == '127.0.0.9 known'

    def test_missing_environ_keys_have_defaults(self, wsgi):
        class Root:
            @expose
            def index(self):
                r = cpadapter.request
                return f'{r.multithread} {r.multiprocess} {r.remote.ip!r} {r.remote.port}'

        wsgi.mount(Root())
        environ = {'REMOTE_ADDR': None, 'REMOTE_PORT': None}
        assert wsgi.get('/', environ=environ).text == "True False '' -1"

    def test_the_environ_is_there_under_both_protocols(self, see):
        environ = see(lambda r: r.wsgi_environ, '/app/x?y=1', headers={'X-Own': 'z'})
        assert environ['REQUEST_METHOD'] == 'GET'
        assert environ['QUERY_STRING'] == 'y=1'
        assert environ['HTTP_X_OWN'] == 'z'
        assert environ['HTTP_HOST'] == 'testserver'
        assert environ['SERVER_PROTOCOL'] == 'HTTP/1.1'
        assert environ['wsgi.url_scheme'] == 'http'
        assert environ['REMOTE_ADDR'] == '127.0.0.9'

    def test_own_attributes_live_for_one_request(self, see):
        def look(r):
            before = getattr(r, 'mine', 'nothing')
            r.mine = 'something'
            return before, r.mine

        assert see(look) == ('nothing', 'something')
        assert see(look) == ('nothing', 'something')

    def test_unique_id_is_one_text_for_each_request(self, see):
        first = see(lambda r: (str(r.unique_id), str(r.unique_id), r.unique_id.uuid4))
        assert first[0] == first[1] == str(first[2])
        assert see(lambda r: str(r.unique_id)) != first[0]
        lazy = LazyUUID4()
        assert str(lazy) == str(lazy)

    def test_app_and_config_are_there(self, see):
        app, config = see(lambda r: (r.app, r.config), '/app/')
        assert app is see.app
        assert config['tools.encode.on'] is True

    def test_is_index_says_how_the_handler_was_reached(self, see):
        assert see(lambda r: r.is_index, '/') is True
        assert see(lambda r: r.is_index, '/x') is False
        assert see(lambda r: r.is_index, '/x/') is True
        assert see(lambda r: r.is_index, '/index') is False

    def test_stage_names_what_is_done(self, see):
        assert see(lambda r: r.stage) == 'handler'

    def test_the_defaults_are_seen_outside_of_requests(self):
        request = cpadapter.request
        assert request.app is None
        assert (request.method, request.path_info, request.script_name, request.params) == ('GET', '/', '', {})
        assert (request.remote.ip, request.remote.port) == ('127.0.0.1', 1111)
        assert request.hooks.keys() == dict.fromkeys(cpadapter.extension.hooks.HOOKPOINTS).keys()

    @pytest.mark.parametrize(
        ('name', 'value'),
        {
            'prev': None,
            'scheme': 'http',
            'server_protocol': 'HTTP/1.1',
            'base': '',
            'request_line': '',
            'method': 'GET',
            'query_string': '',
            'query_string_encoding': 'utf8',
            'protocol': (1, 1),
            'params': {},
            'header_list': [],
            'headers': {},
            'rfile': None,
            'process_request_body': True,
            'methods_with_bodies': ('POST', 'PUT', 'PATCH'),
            'body': None,
            'script_name': '',
            'path_info': '/',
            'login': None,
            'app': None,
            'handler': None,
            'toolmaps': {},
            'config': None,
            'is_index': None,
            'error_page': {},
            'show_tracebacks': False,
            'show_mismatched_params': True,
            'throws': (KeyboardInterrupt, SystemExit, cpadapter.InternalRedirect),
            'throw_errors': False,
            'closed': False,
            'stage': None,
            'unique_id': None,
        }.items(),
    )
    def test_each_attribute_has_its_default(self, name, value):
        assert getattr(Request, name) == value
        assert getattr(cpadapter.request, name) == value

    def test_each_attribute_is_set_when_its_step_comes(self, client, handler):
        """Spec B 1.2: what hooks see, point by point, under both protocols."""
        seen = {}

        def look(point):
            def hook():
                r = cpadapter.request
                seen[point] = {
                    'stage': r.stage,
                    'params': dict(r.params),
                    'body': dict(r.body.params),
                    'process': r.process_request_body,
                    'handler': r.handler.callable.__name__,
                    'found': (r.is_index, r.config['own.key'], r.toolmaps['tools']['encode']['on']),
                    'headers': (r.headers['X-One'], r.cookie['a'].value),
                    'path': (r.script_name, r.path_info, r.query_string, r.base),
                    'closed': r.closed,
                }

            return hook

        points = (
            *('on_start_resource', 'before_request_body', 'before_handler'),
            *('before_finalize', 'on_end_resource', 'on_end_request'),
        )

        class Root:
            @handler
            def page(self, **kwargs):
                look('handler')()
                return 'page'

        config = {f'hooks.{point}.look': look(point) for point in points}
        client.mount(Root(), '/app', config={'/': {**config, 'own.key': 1, 'tools.encode.on': True}})
        headers = {'x-one': '1', 'cookie': 'a=2'}
        assert client.post('/app/page?q=1', form={'b': '2'}, headers=headers).status == 200

        def each(name):
            return [seen[point][name] for point in (*points[:3], 'handler', *points[3:])]

        assert each('stage') == [*points[:3], 'handler', *points[3:]]
        both = {'q': '1', 'b': '2'}
        assert each('params') == [{}, {'q': '1'}, *[both] * 5]
        assert each('body') == [{}, {}, *[{'b': '2'}] * 5]
        assert each('process') == [True] * 7
        assert each('handler') == ['page'] * 7
        assert each('found') == [(False, 1, True)] * 7
        assert each('headers') == [('1', '2')] * 7
        assert each('path') == [('/app', '/page', 'q=1', 'http://testserver')] * 7
        assert each('closed') == [False] * 6 + [True]

    def test_a_form_says_in_which_charset_it_was_read(self, see):
        assert see(lambda r: r.body.charset, method='POST', form={'a': '1'}) == 'utf-8'

    def test_the_request_line_of_an_internal_redirect_has_the_script_name(self, client, handler):
        class Root:
            @handler
            def index(self):
                raise cpadapter.InternalRedirect('/page', 'a=1')

            @handler
            def page(self, **kwargs):
                return cpadapter.request.request_line

        client.mount(Root(), '/app')
        assert client.get('/app/').text == 'GET /app/page?a=1 HTTP/1.1'


class TestNamespaces:
    def test_a_request_has_a_set_of_its_own_in_order(self, client, handler):
        class Own(Request):
            namespaces = Request.namespaces.copy()

        Own.namespaces['mine'] = lambda key, value: None

        class Root:
            @handler
            def index(self):
                namespaces = cpadapter.request.namespaces
                namespaces['late'] = None
                return ' '.join(namespaces)

        app = client.mount(Root())
        app.request_class = Own
        assert client.get('/').text == 'hooks request response error_page tools mine late'
        assert list(Own.namespaces) == ['mine']
        assert list(Request.namespaces) == []

    def test_it_hands_out_config_to_the_request_being_served(self, client, handler):
        def respond():
            cpadapter.response.headers['X-Hook'] = 'ran'

        class Root:
            @handler
            def index(self):
                cpadapter.request.namespaces(
                    {
                        'hooks.before_finalize.own': respond,
                        'request.colour': 'red',
                        'request.body.bufsize': 5,
                        'response.status': 202,
                        'response.headers.x-own': 'set',
                        'error_page.404': 'page',
                        'error_page.default': 'other',
                        'tools.expires.on': True,
                        'tools.expires.secs': 5,
                    }
                )
                r = cpadapter.request
                return f'{r.colour} {r.body.bufsize} {sorted(map(str, r.error_page))} {r.toolmaps["tools"]["expires"]}'

        client.mount(Root())
        answer = client.get('/')
        assert answer.status == 202
        assert answer.text == "red 5 ['404', 'default'] {'on': True, 'secs': 5}"
        assert (answer.headers['X-Own'], answer.headers['X-Hook']) == ('set', 'ran')


class TestParams:
    @pytest.mark.parametrize(
        ('query', 'expected'),
        [
            ('', {}),
            ('a=1&b=2', {'a': '1', 'b': '2'}),
            ('a=1&a=2', {'a': ['1', '2']}),
            ('a&b=', {'a': '', 'b': ''}),
            ('=1', {'': '1'}),
            ('a=x+y%20z', {'a': 'x y z'}),
            ('a=1;b=2', {'a': '1;b=2'}),
            ('a=%C3%A4', {'a': 'ä'}),
            ('223,114', {'x': 223, 'y': 114}),
            ('1,2,3', {'1,2,3': ''}),
            ('12,34&a=1', {'12,34': '', 'a': '1'}),
            ('name[key]=1', {'name[key]': '1'}),
            ('a=100%&b=%zz', {'a': '100%', 'b': '%zz'}),
        ],
    )
    def test_a_query_is_read(self, see, query, expected):
        assert see(lambda r: dict(r.params), f'/?{query}') == expected

    def test_an_undecodable_query_is_404(self, client, handler):
        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

        client.mount(Root(), config={'/latin': {'request.query_string_encoding': 'latin-1'}})
        answer = client.get('/?a=%FF')
        assert answer.status == 404
        assert 'Query strings for this resource must be encoded with' in answer.text

        class Latin(Root):
            pass

        client.mount(Latin(), config={'/': {'request.query_string_encoding': 'latin-1'}})
        assert client.get('/?a=%FF').text == "{'a': 'ÿ'}"

    def test_the_separators_may_be_set(self, client, handler):
        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

        client.mount(Root(), config={'/': {'request.query_string_separators': '&;'}})
        assert client.get('/?a=1;b=2&c=3').text == "{'a': '1', 'b': '2', 'c': '3'}"

    def test_too_many_fields_are_400_or_413(self, client, handler):
        class Root:
            @handler
            def index(self, **kwargs):
                return str(len(kwargs))

        client.mount(Root())
        assert client.get('/?' + '&'.join(f'a{i}=' for i in range(10_000))).text == '10000'
        assert client.get('/?' + '&' * 20_000).status in (200, 400)
        assert client.get('/?' + 'a&' * 10_001).status == 400
        answer = client.post('/', body=b'a&' * 10_001, headers={'Content-Type': 'application/x-www-form-urlencoded'})
        assert answer.status == 413

    def test_query_and_body_are_one_list_in_order(self, see):
        def look(r):
            return dict(r.params), dict(r.body.params)

        both = see(look, '/?a=1&b=2', 'POST', form={'a': ['2', '3'], 'c': '4'})
        assert both == ({'a': ['1', '2', '3'], 'b': '2', 'c': '4'}, {'a': ['2', '3'], 'c': '4'})

    def test_a_form_in_another_spelling_is_read_too(self, see):
        headers = {'Content-Type': 'Application/X-WWW-Form-Urlencoded; charset=utf-8'}
        assert see(lambda r: dict(r.params), '/', 'POST', body=b'a=%C3%A4+b', headers=headers) == {'a': 'ä b'}

    def test_params_grow_step_by_step(self, client, handler):
        seen = {}

        def note(name):
            def hook():
                seen[name] = dict(cpadapter.request.params)

            return hook

        points = ('on_start_resource', 'before_request_body', 'before_handler')

        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

        client.mount(Root(), config={'/': {f'hooks.{point}': note(point) for point in points}})
        assert client.post('/?q=1', form={'b': '2'}).text == "{'q': '1', 'b': '2'}"
        assert seen == {
            'on_start_resource': {},
            'before_request_body': {'q': '1'},
            'before_handler': {'q': '1', 'b': '2'},
        }

    def test_hooks_may_edit_or_replace_params(self, client, handler):
        def edit():
            cpadapter.request.params['added'] = 'yes'
            cpadapter.request.params.pop('a')

        def replace():
            cpadapter.request.params = {'new': '1'}

        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

            @handler
            def replaced(self, **kwargs):
                return repr(kwargs)

        config = {'/': {'hooks.before_handler': edit}, '/replaced': {'hooks.before_request_body': replace}}
        client.mount(Root(), config=config)
        assert client.get('/?a=1&b=2').text == "{'b': '2', 'added': 'yes'}"
        config['/']['hooks.before_handler'] = None
        client.mount(Root(), config={'/replaced': {'hooks.before_request_body': replace}})
        assert client.post('/replaced?a=1', form={'b': '2'}).text == "{'new': '1', 'b': '2'}"

    def test_handler_args_may_be_changed_by_hooks(self, client, handler):
        def change():
            page = cpadapter.request.handler
            assert page.args == ('a',)
            page.args = ('b', 'c')
            page.kwargs = {'k': 'v'}

        class Root:
            @handler
            def leaf(self, *args, **kwargs):
                return repr((args, kwargs))

        client.mount(Root(), config={'/': {'hooks.before_handler': change}})
        assert client.get('/leaf/a?x=1').text == "(('b', 'c'), {'x': '1', 'k': 'v'})"

    def test_hooks_may_replace_the_handler(self, client, handler):
        def another():
            cpadapter.request.handler = lambda: 'another'

        def none():
            cpadapter.request.handler = None
            cpadapter.response.body = b'set by a hook'

        def error():
            cpadapter.request.handler = HTTPError(402, 'pay')

        class Root:
            @handler
            def default(self, *args):
                return 'own'

        config = {
            '/another': {'hooks.before_handler': another},
            '/none': {'hooks.before_handler': none},
            '/error': {'hooks.before_handler': error},
        }
        client.mount(Root(), config=config)
        assert client.get('/x').text == 'own'
        assert client.get('/another').text == 'another'
        assert client.get('/none').text == 'set by a hook'
        assert client.get('/error').status == 402


class TestBodies:
    def test_411_400_and_413(self, client, handler):
        class Root:
            @handler
            def index(self, **kwargs):
                return 'read'

        client.mount(Root())
        client.site.server.max_request_body_size = 100
        assert client.request('POST', '/').status == 411
        for method in ('POST', 'PUT', 'PATCH'):
            assert client.request(method, '/', body=b'').status == 200
        form = {'Content-Type': 'application/x-www-form-urlencoded'}
        assert client.post('/', body=b'a' * 100, headers=form).status == 200
        assert client.post('/', body=b'a' * 101, headers=form).status == 413
        assert client.post('/', body=b'a' * 101, headers={'Content-Type': 'text/plain'}).status == 413
        assert client.post('/', body=b'a' * 200, headers=form, chunked=True).status == 413

    def test_chunked_bodies_need_no_length(self, see):
        form = {'Content-Type': 'application/x-www-form-urlencoded'}
        look = lambda r: dict(r.params)
        assert see(look, '/', 'POST', body=b'a=1&b=2', headers=form, chunked=True) == {'a': '1', 'b': '2'}

    def test_http_2_needs_no_length(self, see):
        look = lambda r: dict(r.params)
        assert see(look, '/', 'POST', version='2') == {}

    def test_the_body_may_be_read_by_the_handler(self, see):
        plain = {'Content-Type': 'text/plain'}
        if see.is_async and see.client.protocol == 'asgi':
            return  # where it would block the loop: see test_an_async_handler_reads_it_async
        assert see(lambda r: r.body.read(), '/', 'POST', body=b'some text', headers=plain) == b'some text'
        assert see(lambda r: r.body.read(4), '/', 'PUT', body=b'abcdef') == b'abcd'

    def test_an_async_handler_reads_it_async(self, client):
        class Root:
            @expose
            async def index(self):
                return await cpadapter.request.body.aread(4) + await cpadapter.request.body.aread()

            @expose
            async def blocks(self):
                return cpadapter.request.body.read()

        client.mount(Root())
        assert client.post('/', body=b'some text').text == 'some text'
        if client.protocol == 'asgi':
            assert client.post('/blocks', body=b'some text').status == 500
            assert 'aread' in '\n'.join(client.errors)

    def test_a_hook_may_take_the_body_itself(self, client, handler):
        def take():
            request = cpadapter.request
            request.process_request_body = False
            request.mine = request.rfile.read(5)

        class Root:
            @handler
            def index(self):
                return cpadapter.request.mine

        client.mount(Root(), config={'/': {'hooks.before_request_body': take}})
        assert client.post('/', body=b'first second').text == 'first'

    def test_bodies_of_other_methods_are_left_unread(self, see):
        assert see(lambda r: dict(r.params), '/', 'DELETE', body=b'a=1') == {}
        see.app.merge({'/': {'request.methods_with_bodies': ('POST', 'PROPFIND')}})
        form = {'Content-Type': 'application/x-www-form-urlencoded'}
        assert see(lambda r: dict(r.params), '/app/', 'PROPFIND', body=b'a=1', headers=form) == {'a': '1'}


class TestSubclasses:
    def test_an_application_may_have_its_own_request_class(self, client, handler):
        class Own(Request):
            extra = 'class attribute'

            def shout(self):
                return self.path_info.upper()

        class Root:
            @handler
            def default(self, *args):
                return f'{cpadapter.request.shout()} {cpadapter.request.extra}'

        app = client.mount(Root())
        app.request_class = Own
        assert client.get('/abc').text == '/ABC class attribute'

    def test_lifecycle_methods_may_be_overridden(self, client, handler):
        calls = []

        class Own(Request):
            def process_headers(self):
                calls.append('process_headers')
                super().process_headers()

            def get_resource(self, path):
                calls.append('get_resource')
                super().get_resource(path.lower())

            def process_query_string(self):
                calls.append('process_query_string')
                super().process_query_string()
                self.params['own'] = '1'

            def handle_error(self):
                calls.append('handle_error')
                super().handle_error()

            def close(self):
                calls.append('close')
                super().close()

        class Root:
            @handler
            def leaf(self, **kwargs):
                if 'fail' in kwargs:
                    raise ValueError('asked for')
                return repr(kwargs)

        app = client.mount(Root())
        app.request_class = Own
        assert client.get('/LEAF?a=1').text == "{'a': '1', 'own': '1'}"
        assert sorted(calls) == ['close', 'get_resource', 'process_headers', 'process_query_string']
        assert client.get('/LEAF').text == "{'own': '1'}"
        calls.clear()
        assert client.get('/leaf?fail=1').status == 500
        assert 'handle_error' in calls
        assert calls.count('close') == 1

    def test_respond_may_be_overridden(self, client):
        class Own(Request):
            def respond(self, path_info):
                super().respond(path_info)
                cpadapter.response.headers['X-Late'] = 'not sent'
                cpadapter.response.header_list.append((b'X-Own', b'sent'))

        class Root:
            @expose
            def index(self):
                return 'ok'

        app = client.mount(Root())
        app.request_class = Own
        answer = client.get('/')
        assert (answer.text, answer.headers['X-Own']) == ('ok', 'sent')

    def test_an_init_of_ones_own_runs_for_each_request(self, client, handler):
        class Own(Request):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.started = 'yes'

        class Root:
            @handler
            def index(self):
                return cpadapter.request.started

        app = client.mount(Root())
        app.request_class = Own
        assert client.get('/').text == 'yes'

    def test_hooks_of_a_subclass_are_its_own(self, client, handler):
        seen = []

        class Own(Request):
            pass

        Own.hooks.attach('before_handler', lambda: seen.append('own'))

        class Root:
            @handler
            def index(self):
                return 'ok'

        app = client.mount(Root())
        client.get('/')
        assert seen == []
        app.request_class = Own
        client.get('/')
        assert seen == ['own']
        Own.hooks.attach('before_handler', lambda: seen.append('later'))
        client.get('/')
        assert seen == ['own', 'own', 'later']

    def test_run_does_a_request_made_of_plain_values(self, client):
        class Root:
            @expose
            def index(self, a='-'):
                return f'index {a}'

        app = client.mount(Root())
        request, _ = app.get_serving(None, None, 'http', 'HTTP/1.1')
        try:
            response = request.run('GET', '/', 'a=1', 'HTTP/1.1', [('Host', 'h')], None)
            assert response.output_status == b'200 OK'
            assert b''.join(response.body) == b'index 1'
            assert (b'Content-Length', b'7') in response.header_list
        finally:
            app.release_serving()


def test_requests_and_responses_are_collected_after_the_request(client, handler, monkeypatch):
    made = []
    # pytest keeps the records, and so the frames of exceptions.
    monkeypatch.setattr(client.site.log.error_log, 'propagate', False)

    class Root:
        @handler
        def index(self):
            made.append(weakref.ref(cpadapter.serving.request))
            made.append(weakref.ref(cpadapter.serving.response))
            return 'ok'

        @handler
        def fails(self):
            made.append(weakref.ref(cpadapter.serving.request))
            raise ValueError('x')

    client.mount(Root())
    client.get('/')
    client.get('/fails')
    client.records.clear()
    gc.collect()
    assert [ref for ref in made if ref() is not None] == []


class TestShortBodies:
    """Short forms and JSON documents are read before there is a body object, which shows nothing of that."""

    @pytest.mark.parametrize('kind', ['form', 'json'])
    def test_what_reads_on_finds_the_end(self, client, colour_of_reading, kind):
        client.mount(colour_of_reading, config={'/': {'tools.json_in.on': kind == 'json'}})
        answer = client.post('/', **{kind: {'a': '1'}})
        length = 3 if kind == 'form' else 10
        assert answer.text == repr([b'', b'', [], b'', length, True])

    @pytest.fixture(params=['plain', 'async'])
    def colour_of_reading(self, request):
        def read(rest):
            body = cpadapter.request.body
            return repr([rest, body.readline(), body.readlines(), body.fp.read(), body.fp.bytes_read, body.fp.done])

        class Plain:
            @cpadapter.expose
            def index(self, **kwargs):
                return read(cpadapter.request.body.read())

        class Async:
            @cpadapter.expose
            async def index(self, **kwargs):
                return read(await cpadapter.request.body.aread())

        return {'plain': Plain, 'async': Async}[request.param]()

    def test_what_is_set_on_the_classes_of_bodies_holds_for_them(self, client, handler, monkeypatch):
        from cpadapter.core.body import Entity, RequestBody

        def own(entity):
            entity.params['own'] = entity.fp.read().decode()

        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

            @handler
            @cpadapter.tools.json_in()
            def json(self):
                return repr(cpadapter.request.json)

        client.mount(Root())
        kind = 'application/x-www-form-urlencoded'
        assert client.post('/', form={'a': '\xe9'}).text == repr({'a': '\xe9'})
        with monkeypatch.context() as patch:
            patch.setattr(RequestBody, 'maxbytes', 5)
            assert client.post('/', form={'a': '123456'}).status == 413
            assert client.post('/json', json='123456').status == 413
        with monkeypatch.context() as patch:
            patch.setattr(Entity, 'attempt_charsets', ['latin-1'])
            assert client.post('/', body=b'a=%e9', headers={'Content-Type': kind}).text == repr({'a': '\xe9'})
        with monkeypatch.context() as patch:
            patch.setitem(Entity.processors, kind, own)
            assert client.post('/', form={'a': '1'}).text == repr({'own': 'a=1'})
        assert client.post('/', body=b'a=%e9', headers={'Content-Type': kind}).status == 400
