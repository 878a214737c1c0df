"""Dispatchers, as a client sees what they find."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

import cpadapter
from cpadapter import dispatch
from cpadapter.extension.dispatch import is_plain


def show(name, *args, **kwargs):
    parts = [repr(a) for a in args] + [f'{k}={v!r}' for k, v in kwargs.items()]
    return f'{name}({", ".join(parts)})'


@pytest.fixture
def tree(handler):
    class Sub:
        @handler
        def index(self):
            return 'sub.index()'

        @handler
        def leaf(self, *args, **kwargs):
            return show('sub.leaf', *args, **kwargs)

        def hidden(self):
            return 'never seen'

        @handler
        def translated_html(self):
            return 'translated'

    class WithDefault:
        @handler
        def default(self, *args, **kwargs):
            return show('dir.default', *args, **kwargs)

        def hidden(self):
            return 'never seen'

        @handler
        def plain(self):
            return 'dir.plain()'

    class IndexOnly:
        @handler
        def index(self):
            return 'only.index()'

    class Root:
        sub = Sub()
        dir = WithDefault()
        only = IndexOnly()
        nothing = object()
        number = 5
        items = [1, 2]
        _cp_data = 'x'

        @handler
        def index(self, **kwargs):
            return show('index', **kwargs)

        @handler
        def method(self, *args):
            return show('method', *args)

        @handler
        def two(self, a, b='B'):
            return show('two', a, b)

    setattr(Root, 'Von Bülow', handler(lambda_free))
    return Root


def lambda_free(self):
    return 'with a space'


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('/', 'index()'),
        ('', 'index()'),
        ('/index', 'index()'),
        ('/index/', 'index()'),
        ('/sub/', 'sub.index()'),
        ('//sub//', 'sub.index()'),
        ('/sub/leaf', 'sub.leaf()'),
        ('/sub/leaf/', 'sub.leaf()'),
        ('/sub/leaf/a/b', "sub.leaf('a', 'b')"),
        ('//sub//leaf//a', "sub.leaf('a')"),
        ('/sub/leaf/a?x=1', "sub.leaf('a', x='1')"),
        ('/sub/translated.html', 'translated'),
        ('/sub/translated-html', 'translated'),
        ('/sub/translated:html', 'translated'),
        ('/sub/leaf/a.b-c', "sub.leaf('a.b-c')"),
        ('/dir', 'dir.default()'),
        ('/dir/', 'dir.default()'),
        ('/dir/x', "dir.default('x')"),
        ('/dir/x/', "dir.default('x')"),
        ('/dir/hidden', "dir.default('hidden')"),
        ('/dir/hidden/y', "dir.default('hidden', 'y')"),
        ('/dir/default', 'dir.default()'),
        ('/dir/default/a', "dir.default('a')"),
        ('/dir/plain', 'dir.plain()'),
        ('/dir/__class__', "dir.default('__class__')"),
        ('/method/a/b', "method('a', 'b')"),
        ('/two/1', "two('1', 'B')"),
        ('/two/1/2', "two('1', '2')"),
        ('/two/1?b=2', "two('1', '2')"),
        ('/Von%20B%C3%BClow', 'with a space'),
        ('/Von%20B%FClow', 'with a space'),
        ('/method/%C3%A4', "method('ä')"),
        ('/method/./..', "method('.', '..')"),
    ],
)
def test_a_path_leads_to(client, tree, path, expected):
    client.mount(tree())
    answer = client.get(path)
    assert (answer.status, answer.text) == (200, expected)


@pytest.mark.parametrize(
    'path',
    [
        '/nope',
        '/index/surplus',
        '/sub/nope',
        '/sub/hidden',
        '/only/x',
        '/nothing',
        '/nothing/x',
        '/number',
        '/number/real',
        '/items/append',
        '/_cp_data',
        '/__class__',
        '/__class__/',
        '/__dict__/x',
        '/sub/__init__',
        '/sub/leaf/../../../etc/passwd/__globals__?x',
        '/%2E%5Fclass__',
        '/--class--',
        '/sub/..',
    ],
)
def test_a_path_leads_nowhere(client, tree, path):
    client.mount(tree())
    answer = client.get(path)
    if 'leaf' in path:
        assert answer.status == 200  # dots are segments like any other
    else:
        assert answer.status == 404
        assert 'Traceback' not in answer.text


def test_the_path_is_named_in_the_404_page_and_escaped(client, tree):
    client.mount(tree(), '/app')
    answer = client.get('/app/%3Cb%3E')
    assert answer.status == 404
    assert 'The path &#x27;/app/&lt;b&gt;&#x27; was not found.' in answer.text.replace('&#39;', '&#x27;').replace(
        "'", '&#x27;'
    )
    assert '<b>' not in answer.text


@pytest.mark.parametrize('path', ['/sub', '/only'])
def test_an_index_without_its_slash_is_redirected_for_every_method(client, tree, path):
    client.mount(tree(), '/app')
    for method in ('GET', 'POST', 'DELETE'):
        answer = client.request(method, f'/app{path}?a=1', body=b'' if method == 'POST' else None)
        status = 301 if method == 'GET' else 308
        assert (answer.status, answer.headers['Location']) == (status, f'http://testserver/app{path}/?a=1')


def test_every_method_runs_the_page_handler(client, tree):
    client.mount(tree())
    for method in ('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'get', 'M-SEARCH', 'X' * 1000):
        answer = client.request(method, '/method/a', body=b'' if method in ('POST', 'PUT', 'PATCH') else None)
        assert (answer.status, answer.text) == (200, "method('a')"), method


class TestWhatCountsAsTree:
    def test_a_root_of_none_answers_404(self, client):
        client.mount(None)
        assert client.get('/').status == 404
        assert client.get('/a/b').status == 404

    def test_a_function_as_root_handles_every_path(self, client, handler):
        @handler
        def root(*args, **kwargs):
            return show('root', *args, **kwargs)

        client.mount(root)
        assert client.get('/').text == 'root()'
        assert client.get('/a/b?c=d').text == "root('a', 'b', c='d')"
        assert client.get('/__call__/x').text == "root('__call__', 'x')"

    def test_a_class_and_a_module_may_be_roots(self, client, handler):
        import types

        @handler
        def index(*args):
            return 'module'

        module = types.ModuleType('pages')
        module.index = index
        client.mount(module)
        assert client.get('/').text == 'module'

        class Root:
            @staticmethod
            @handler
            def index():
                return 'class'

        client.mount(Root)
        assert client.get('/').text == 'class'

    def test_an_exposed_instance_is_a_page_handler_and_its_children_are_reachable(self, client, handler):
        class Callable:
            exposed = True

            @handler
            def child(self):
                return 'child'

        def call(self, *args):
            return show('called', *args)

        Callable.__call__ = handler.paint(call)

        class Root:
            cal = Callable()

        client.mount(Root())
        assert client.get('/cal/child').text == 'child'
        assert client.get('/cal/x/y').text == "called('x', 'y')"

    def test_an_intermediate_index_gets_no_positional_arguments(self, client, handler):
        class Dir:
            @handler
            def index(self):
                return 'index'

        class Root:
            dir2 = Dir()

            @handler
            def default(self, *args):
                return show('default', *args)

        client.mount(Root())
        assert client.get('/dir2/5/3/sir').text == "default('dir2', '5', '3', 'sir')"
        assert client.get('/dir2/index').text == 'index'

    def test_a_nested_default_without_exposure_is_not_used_implicitly(self, client, handler):
        class Inner:
            @handler
            def default(self, *args):
                return show('inner', *args)

        class Root:
            default = Inner()

        client.mount(Root())
        assert client.get('/x').status == 404
        assert client.get('/default/x').text == "inner('x')"

    def test_default_may_be_an_exposed_object(self, client, handler):
        class Inner:
            exposed = True

        Inner.__call__ = handler.paint(lambda_call)

        class Root:
            default = Inner()

        client.mount(Root())
        assert client.get('/x/y').text == "object('x', 'y')"

    def test_the_tree_is_walked_anew_at_each_request(self, client, handler):
        class Root:
            pass

        root = Root()
        client.mount(root)
        assert client.get('/late').status == 404

        @handler
        def late():
            return 'late'

        root.late = late
        assert client.get('/late').text == 'late'
        del root.late
        assert client.get('/late').status == 404


def lambda_call(self, *args):
    return show('object', *args)


class TestCpDispatch:
    @pytest.fixture
    def root(self, handler):
        class Node:
            def __init__(self, name):
                self.name = name

            @handler
            def index(self):
                return f'{self.name}.index'

            @handler
            def method(self, *args):
                return show(f'{self.name}.method', *args)

        class First:
            def _cp_dispatch(self, vpath):
                return Node(vpath.pop(0))

        class Last:
            def _cp_dispatch(self, vpath):
                return Node(vpath.pop())

        class All:
            def _cp_dispatch(self, vpath):
                names = '-'.join(vpath)
                del vpath[:]
                return Node(names)

        class NoPop:
            def _cp_dispatch(self, vpath):
                return Node('kept')

        class Nothing:
            def _cp_dispatch(self, vpath):
                return None

            @handler
            def default(self, *args):
                return show('default', *args)

        class Grows:
            def _cp_dispatch(self, vpath):
                vpath.append('more')
                return self

        class Lists:
            def _cp_dispatch(self, vpath):
                return vpath

        class Raises:
            def _cp_dispatch(self, vpath):
                raise {
                    '404': cpadapter.NotFound,
                    '402': lambda: cpadapter.HTTPError(402, 'pay'),
                    'go': lambda: cpadapter.HTTPRedirect('/gone'),
                }.get(vpath[0], RuntimeError)()

        class Params:
            def _cp_dispatch(self, vpath):
                cpadapter.request.params['user'] = vpath.pop(0)
                return self

            @handler
            def index(self, **kwargs):
                return show('index', **kwargs)

        class Exposed:
            @cpadapter.expose
            def _cp_dispatch(self, *args):
                return 'a page'

        class NotCallable:
            _cp_dispatch = 'no'

        class Root:
            first = First()
            last = Last()
            all = All()
            nopop = NoPop()
            nothing = Nothing()
            grows = Grows()
            lists = Lists()
            raises = Raises()
            params = Params()
            shown = Exposed()
            notcallable = NotCallable()

        return Root()

    @pytest.mark.parametrize(
        ('path', 'expected'),
        [
            ('/first/a/', 'a.index'),
            ('/first/a/method/b', "a.method('b')"),
            ('/last/method/b/z', "z.method('b')"),
            ('/all/a/b/', 'a-b.index'),
            ('/nopop/anything/method/x', "kept.method('x')"),
            ('/nothing/a/b', "default('a', 'b')"),
            ('/params/bob/', "index(user='bob')"),
            ('/params/bob/?user=eve&x=1', "index(user='bob', x='1')"),
        ],
    )
    def test_it_leads_to(self, client, root, path, expected):
        client.mount(root)
        answer = client.get(path)
        assert (answer.status, sorted(answer.text)) == (200, sorted(expected))

    @pytest.mark.parametrize(
        ('path', 'status'),
        [
            ('/first/', 404),
            ('/grows/a', 500),
            ('/lists/a/b', 404),
            ('/notcallable/x', 404),
            ('/shown/x', 404),
            ('/raises/404', 404),
            ('/raises/402', 402),
            ('/raises/go', 303),
            ('/raises/other', 500),
        ],
    )
    def test_it_leads_nowhere(self, client, root, path, status):
        client.mount(root)
        assert client.get(path).status == status

    def test_the_message_tells_of_an_added_segment(self, client, root):
        client.mount(root, config={'/': {'request.show_tracebacks': True}})
        answer = client.get('/grows/a')
        assert 'A vpath segment was added.' in answer.text
        assert 'A vpath segment was added.' in '\n'.join(client.errors)

    def test_an_error_raised_there_is_answered_with_the_config_of_the_path(self, client, root):
        def custom(status, message, traceback, version):
            return f'custom {status}'

        client.mount(root, config={'/raises': {'error_page.402': custom, 'error_page.500': custom}})
        assert client.get('/raises/402').text.strip() == 'custom 402 Payment Required'
        assert client.get('/raises/other').text.strip() == 'custom 500 Internal Server Error'

    def test_a_body_value_does_not_change_what_the_path_gave(self, client, root):
        client.mount(root)
        assert client.post('/params/bob/', form={'user': 'eve'}).text == "index(user='bob')"

    def test_another_method_name_may_be_chosen(self, client, handler):
        class Root:
            def dynamic(self, vpath):
                vpath.pop(0)
                return self

            @handler
            def page(self):
                return 'found'

        config = {'/': {'request.dispatch': dispatch.Dispatcher('dynamic')}}
        client.mount(Root(), config=config)
        assert client.get('/whatever/page').text == 'found'

    def test_an_async_one_is_awaited(self, client, handler):
        seen = ContextVar('seen', default='')

        class Node:
            @handler
            def page(self, *args):
                return f'{seen.get()} {args}'

        class Root:
            async def _cp_dispatch(self, vpath):
                await asyncio.sleep(0)
                name = vpath.pop(0)
                if name == 'secret':
                    raise cpadapter.HTTPError(403)
                seen.set(name)
                return Node() if name == 'node' else None

        client.mount(Root())
        assert client.get('/secret/page').status == 403
        assert client.get('/none/page').status == 404
        assert client.get('/node/page/x').text == "node ('x',)"


class TestMethodDispatcher:
    @pytest.fixture
    def app(self, client, handler):
        class Resource:
            exposed = True
            FOO = 'not a method'
            _PRIV = staticmethod(print)

            def other(self):
                return 'never'

        def get(self, *args, **kwargs):
            return show('GET', *args, **kwargs)

        def post(self, **kwargs):
            return show('POST', **kwargs)

        Resource.GET = handler.paint(get)
        Resource.POST = cpadapter.config(**{'response.headers.X-Method': 'POST'})(handler.paint(post))

        class Own:
            exposed = True

            def HEAD(self):
                cpadapter.response.headers['X-Own'] = 'yes'
                return ''

            def GET(self):
                return 'got'

        class Empty:
            exposed = True

        class Root:
            at = Resource()
            own = Own()
            empty = Empty()

        class Collection:
            default = Resource()

        Root.collection = Collection()
        Root.indexed = type('Indexed', (), {'index': Resource()})()
        return client.mount(Root(), config={'/': {'request.dispatch': dispatch.MethodDispatcher()}})

    def test_the_method_is_called_and_allow_is_told(self, client, app):
        answer = client.get('/at/x?y=1')
        assert (answer.status, answer.text) == (200, "GET('x', y='1')")
        assert answer.headers['Allow'] == 'GET, HEAD, POST'

    def test_config_of_the_method_counts(self, client, app):
        answer = client.post('/at', form={'a': '1'})
        assert answer.text == "POST(a='1')"
        assert answer.headers['X-Method'] == 'POST'

    def test_another_method_is_answered_405(self, client, app):
        for method in ('DELETE', 'OPTIONS', 'FOO', '_PRIV', 'OTHER', '__INIT__'):
            answer = client.request(method, '/at')
            assert answer.status == 405
            assert answer.headers['Allow'] == 'GET, HEAD, POST'

    def test_head_falls_back_to_get(self, client, app):
        answer = client.head('/at')
        assert answer.status == 200
        assert answer.headers['Content-Length'] == str(len('GET()'))

    def test_an_own_head_is_preferred(self, client, app):
        assert client.head('/own').headers['X-Own'] == 'yes'

    def test_lower_case_methods_are_found(self, client, app):
        assert client.request('get', '/at').text == 'GET()'

    def test_a_missing_resource_is_404_without_allow(self, client, app):
        answer = client.get('/nope')
        assert answer.status == 404
        assert 'Allow' not in answer.headers

    def test_a_resource_without_methods_allows_none(self, client, app):
        answer = client.get('/empty')
        assert (answer.status, answer.headers['Allow']) == (405, '')

    def test_a_default_resource_takes_segments(self, client, app):
        assert client.get('/collection/x').text == "GET('x')"
        assert client.get('/collection').text == 'GET()'

    def test_an_index_resource_is_redirected(self, client, app):
        assert client.get('/indexed').status == 301
        assert client.get('/indexed/').text == 'GET()'


class TestChoiceOfDispatcher:
    def test_the_most_specific_section_wins(self, client):
        class Resource:
            exposed = True

            def GET(self):
                return 'by method'

        class Root:
            rest = Resource()

            @cpadapter.expose
            def index(self):
                return 'by name'

        client.mount(Root(), config={'/rest': {'request.dispatch': dispatch.MethodDispatcher()}})
        assert client.get('/').text == 'by name'
        assert client.get('/rest').text == 'by method'

    def test_a_function_may_be_a_dispatcher(self, client, handler):
        @handler
        def found(*args, **kwargs):
            return show('found', *args, **kwargs)

        def by_hand(path_info):
            cpadapter.request.handler = dispatch.LateParamPageHandler(found, path_info)
            cpadapter.request.config = {**cpadapter.request.app.site.config, 'response.headers.X-Own': '1'}

        client.mount(None, config={'/': {'request.dispatch': by_hand}})
        answer = client.get('/any/thing?a=1')
        assert answer.text == "found('/any/thing', a='1')"
        assert answer.headers['X-Own'] == '1'

    def test_a_subclass_may_change_the_path(self, client, handler):
        class Lower(dispatch.Dispatcher):
            def __call__(self, path_info):
                return super().__call__(path_info.lower())

        class Root:
            @handler
            def page(self, *args):
                return show('page', *args)

        client.mount(Root(), config={'/': {'request.dispatch': Lower()}})
        assert client.get('/PAGE/X').text == "page('x')"
        assert not is_plain(Lower())

    def test_a_subclass_may_find_the_handler(self, client, handler):
        class Own(dispatch.Dispatcher):
            def find_handler(self, path):
                func, vpath = super().find_handler(path)
                vpath.append('added')
                return func, vpath

        class Root:
            @handler
            def index(self, *args):
                return show('index', *args)

            @handler
            def page(self, *args):
                return show('page', *args)

        client.mount(Root(), config={'/': {'request.dispatch': Own()}})
        assert client.get('/page/x').text == "page('x', 'added')"
        assert client.get('/').text == "index('added')"

    def test_an_async_dispatcher_is_awaited(self, client, handler):
        @handler
        def page():
            return f'page for {cpadapter.request.path_info}'

        async def by_hand(path_info):
            await asyncio.sleep(0)
            if path_info == '/closed':
                raise cpadapter.HTTPError(403)
            cpadapter.request.handler = page

        client.mount(None, config={'/': {'request.dispatch': by_hand}})
        assert client.get('/any').text == 'page for /any'
        assert client.get('/closed').status == 403

    def test_a_translate_table_of_ones_own(self, client, handler):
        class Root:
            @handler
            def a_b(self):
                return 'found'

        client.mount(Root(), config={'/': {'request.dispatch': dispatch.Dispatcher(translate={ord('~'): '_'})}})
        assert client.get('/a~b').text == 'found'
        assert client.get('/a-b').status == 404

    def test_a_translate_table_must_be_a_dict(self):
        with pytest.raises(ValueError, match=r'The translate argument must be a dict\.'):
            dispatch.Dispatcher(translate=[])


class TestVirtualHost:
    @pytest.fixture
    def app(self, client, handler):
        class Domain:
            @handler
            def index(self):
                return f'domain {cpadapter.request.path_info} {cpadapter.url("x")}'

            @handler
            def page(self, *args):
                return show('domain page', *args)

        class Root:
            mydom = Domain()

            @handler
            def index(self):
                return 'root'

            @handler
            def single(self, *args):
                return show('single', *args)

        vhost = dispatch.VirtualHost(**{'www.My.org': '/mydom', 'other.org:81': 'mydom/', 'single.org': '/single'})
        return client.mount(Root(), config={'/': {'request.dispatch': vhost}})

    @pytest.mark.parametrize(
        ('host', 'path', 'expected'),
        [
            ('www.my.org', '/page/a', "domain page('a')"),
            ('WWW.MY.ORG', '/page/a', "domain page('a')"),
            ('other.org:81', '/page', 'domain page()'),
            ('other.org', '/', 'root'),
            ('single.org', '/a/b', "single('a', 'b')"),
            ('www.my.org', '/', 'domain / http://www.my.org/x'),
        ],
    )
    def test_the_host_chooses(self, client, app, host, path, expected):
        assert client.get(path, host=host).text == expected

    def test_x_forwarded_host_counts_unless_empty(self, client, app):
        assert client.get('/page', headers={'X-Forwarded-Host': 'www.my.org'}).text == 'domain page()'
        assert client.get('/page', host='www.my.org', headers={'X-Forwarded-Host': ''}).text == 'domain page()'


class TestRoutes:
    @pytest.fixture
    def app(self, client, handler):
        pytest.importorskip('routes')

        class City:
            def __init__(self):
                self.population = 5

            @handler
            def index(self, **kwargs):
                return show('index', **dict(sorted(kwargs.items())))

            def _private(self, **kwargs):
                return 'never'

        City.update = cpadapter.config(**{'response.headers.X-Action': 'update'})(handler.paint(update))
        routing = dispatch.RoutesDispatcher()
        routing.connect('city', '/city/{action}/{id}', City)
        routing.mapper.connect('/only', controller='city', action='index', conditions={'method': ['POST']})
        return client.mount(None, config={'/': {'request.dispatch': routing}})

    def test_actions_are_found(self, client, app):
        assert client.get('/city/index/3').text == "index(id='3')"
        answer = client.get('/city/update/4')
        assert (answer.text, answer.headers['X-Action']) == ("update('4')", 'update')

    def test_path_parameters_win(self, client, app):
        assert client.get('/city/index/3?id=9&x=1').text == "index(id='3', x='1')"
        assert client.post('/city/index/3', form={'id': '9'}).text == "index(id='3')"

    def test_conditions_count(self, client, app):
        assert client.get('/only').status == 404
        assert client.post('/only', form={}).text == 'index()'

    def test_no_match_and_private_names_are_404(self, client, app):
        for path in ('/', '/city', '/city/nope/1', '/city/_private/1', '/city/__init__/1'):
            assert client.get(path).status == 404, path


def update(self, id):
    return show('update', id)


class TestPathsWithSlashes:
    """A slash written as %2F is part of a name."""

    @pytest.fixture
    def app(self, client, handler):
        @cpadapter.popargs('name')
        class Popped:
            @handler
            def index(self, name=None):
                return f'popped {name!r}'

        class Root:
            popped = Popped()

            @handler
            def page(self, *args):
                return show('page', *args)

        return client.mount(Root(), '/app')

    @pytest.mark.parametrize(
        ('path', 'expected'),
        [
            ('/app/page/a%2Fb', "page('a/b')"),
            ('/app/page/a%2fb/c', "page('a/b', 'c')"),
            ('/app/page/a%252Fb', "page('a%2Fb')"),
            ('/app/page/100%25', "page('100%')"),
            ('/app/popped/x%2Fy/', "popped 'x/y'"),
        ],
    )
    def test_where_the_raw_target_is_known(self, client, app, path, expected):
        assert client.get(path, raw=True).text == expected

    def test_where_the_server_keeps_it_in_the_path(self, wsgi):
        class Root:
            @cpadapter.expose
            def page(self, *args):
                return show('page', *args)

        wsgi.mount(Root())
        answer = wsgi.get('/', environ={'PATH_INFO': '/page/a%2Fb/c%2fd'})
        assert answer.text == "page('a/b', 'c/d')"
