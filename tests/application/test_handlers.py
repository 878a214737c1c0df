"""expose and popargs, and how page handlers are called."""

from __future__ import annotations

import functools

import pytest

import cpadapter
from cpadapter import expose, popargs


def show(name, *args, **kwargs):
    parts = [repr(a) for a in args] + [f'{k}={v!r}' for k, v in kwargs.items()]
    return f'{name}({", ".join(parts)})'


class TestExpose:
    def test_every_form_exposes_and_gives_the_same_object(self):
        def func():
            pass

        for form in (expose, expose(), expose('a'), expose(['a', 'b']), expose(alias='a'), expose(alias=('a', 'b'))):
            func.exposed = False
            assert form(func) is func
            assert func.exposed is True
        assert expose(func, 'x') is func
        assert expose(type('C', (), {})).exposed is True

    def test_aliases_are_bound_in_the_class_body(self, client):
        class Root:
            @expose('alias1')
            def first(self):
                return 'first'

            @expose(['alias2', 'a.b', 'x-y'])
            def second(self):
                return 'second'

            def third(self):
                return 'third'

            expose(third, 'alias3')
            expose(third, alias=['alias4'])

            @expose(alias={'alias5'})
            @expose()
            def fourth(self):
                return 'fourth'

        client.mount(Root())
        for path, text in {
            'first': 'first',
            'alias1': 'first',
            'alias2': 'second',
            'a.b': 'second',
            'a_b': 'second',
            'x-y': 'second',
            'x_y': 'second',
            'third': 'third',
            'alias3': 'third',
            'alias4': 'third',
            'alias5': 'fourth',
        }.items():
            assert client.get(f'/{path}').text == text

    def test_instances_partials_static_and_class_methods_are_exposed(self, client):
        class Callable:
            def __call__(self, *args):
                return show('instance', *args)

        def plain(first, second='2'):
            return show('plain', first, second)

        class Root:
            instance = expose(Callable())
            # In a class body, Python 3.14 makes a method of a bare partial.
            partial = staticmethod(expose(functools.partial(plain, 'given')))

            @expose
            @staticmethod
            def static(a='A'):
                return show('static', a)

            @expose
            @classmethod
            def klass(cls):
                return cls.__name__

            @staticmethod
            @expose
            def below():
                return 'below'

        client.mount(Root())
        for path, text in {
            'instance/x': "instance('x')",
            'partial': "plain('given', '2')",
            'partial/3': "plain('given', '3')",
            'static/1': "static('1')",
            'klass': 'Root',
            'below': 'below',
        }.items():
            assert client.get(f'/{path}').text == text

    @pytest.mark.parametrize('target', [len, property(len), 5, b'alias', [5], 'bound'])
    def test_what_cannot_be_exposed_raises_type_error(self, target):
        class Holder:
            def method(self):
                pass

        with pytest.raises(TypeError):
            expose(Holder().method if target == 'bound' else target)(lambda: None)

    def test_config_and_tools_compose_with_it_in_any_order(self, client, handler):
        class Root:
            @cpadapter.config(**{'response.headers.X-One': '1'})
            @handler
            @cpadapter.tools.json_out()
            def one(self):
                return [1]

            @cpadapter.tools.json_out()
            @cpadapter.config(**{'response.headers.X-One': '1'})
            @handler
            def two(self):
                return [1]

        client.mount(Root())
        for path in ('/one', '/two'):
            answer = client.get(path)
            assert (answer.json, answer.headers['X-One']) == ([1], '1')


class TestPopargs:
    @pytest.fixture
    def root(self, handler):
        class Thing:
            def __init__(self, a='-', b='-'):
                self.name = f'{a}{b}'

            @handler
            def index(self, **kwargs):
                return show(f'thing {self.name}', **kwargs)

            @handler
            def method(self, *args):
                return show(f'method {self.name}', *args)

        class Node:
            @handler
            def index(self, **kwargs):
                return show('node', **kwargs)

        @popargs('a')
        class One:
            @handler
            def index(self, a='none', **kwargs):
                return show('one', a, **kwargs)

            @handler
            def act(self, **kwargs):
                return show('act', **kwargs)

        @popargs('a', 'b')
        class Two:
            @handler
            def index(self, **kwargs):
                return show('two', **kwargs)

            @handler
            def act(self, **kwargs):
                return show('act', **kwargs)

        @popargs('a')
        class WithDefault:
            @handler
            def default(self, *args, **kwargs):
                return show('default', *args, **kwargs)

        class Root:
            one = One()
            two = Two()
            to = type('To', (), {'_cp_dispatch': popargs('a', handler=Node())})()
            made = type('Made', (), {'_cp_dispatch': popargs('a', 'b', handler=Thing)})()
            called = type('Called', (), {'_cp_dispatch': popargs('a', handler=lambda a: Thing(a))})()
            none = popargs()(type('Empty', (), {}))()
            default = WithDefault()

        return Root()

    @pytest.mark.parametrize(
        ('path', 'expected'),
        [
            ('/one/', "one('none')"),
            ('/one/1/', "one('1')"),
            ('/one/act', 'act()'),
            ('/one/1/act', "act(a='1')"),
            ('/one/1/?a=2&c=3', "one('1', c='3')"),
            ('/two/1/', "two(a='1')"),
            ('/two/1/2/', "two(a='1', b='2')"),
            ('/two/1/2/act', "act(a='1', b='2')"),
            ('/two/1/act/', "two(a='1', b='act')"),
            ('/to/5/', "node(a='5')"),
            ('/made/x/y/', 'thing xy()'),
            ('/made/x/', 'thing x-()'),
            ('/made/x/y/method/z', "method xy('z')"),
            ('/called/q/', 'thing q-()'),
            ('/made/x/y/?a=1', "thing xy(a='1')"),
            ('/default/x/y', "default('y', a='x')"),
        ],
    )
    def test_segments_become_parameters(self, client, root, path, expected):
        client.mount(root)
        answer = client.get(path)
        assert (answer.status, answer.text) == (200, expected)

    def test_a_body_value_does_not_change_a_segment(self, client, root):
        client.mount(root)
        assert client.post('/one/1/', form={'a': '2', 'c': '3'}).text == "one('1', c='3')"

    def test_without_names_nothing_is_taken(self, client, root):
        client.mount(root)
        assert client.get('/none/x').status == 404

    def test_an_index_behind_it_is_redirected(self, client, root):
        client.mount(root)
        assert client.get('/one/1').headers['Location'] == 'http://testserver/one/1/'

    def test_an_unknown_keyword_raises(self):
        with pytest.raises(TypeError, match=r"cherrypy.popargs\(\) got an unexpected keyword argument 'foo'"):
            popargs('a', foo=1)


class TestArguments:
    """What does not fit a page handler's signature is the client's fault: 404 for path and query, 400 for a body."""

    @pytest.fixture
    def root(self, handler):
        class Callable:
            exposed = True

            def __call__(self, param1):
                return 'called'

        class CallableKw:
            exposed = True

            def __call__(self, **kwargs):
                return 'called'

        class Root:
            callable = Callable()
            callkw = CallableKw()

            @handler
            def no_positional(self):
                return 'ok'

            @handler
            def one_positional(self, param1):
                return f'got {param1}'

            @handler
            def one_default(self, param1='d'):
                return f'got {param1}'

            @handler
            def two(self, a, b):
                return f'{a} {b}'

            @handler
            def varargs(self, first, *args):
                return show('varargs', first, *args)

            @handler
            def varkw(self, **kwargs):
                return show('varkw', **kwargs)

            @handler
            def keyword_only(self, *, name='x'):
                return f'name {name}'

            @handler
            def keyword_required(self, *, name):
                return f'name {name}'

            @handler
            def positional_only(self, a, /, b='B'):
                return f'{a}{b}'

            @staticmethod
            @handler
            def static(first, second='s'):
                return f'{first}{second}'

            @handler
            def fails(self, **kwargs):
                raise TypeError('of its own')

            @handler
            def fails_inside(self, a='a'):
                return len(5)

        return Root()

    @pytest.mark.parametrize(
        ('target', 'status', 'text'),
        [
            ('/no_positional', 200, 'ok'),
            ('/one_positional/foo', 200, 'got foo'),
            ('/one_positional?param1=foo', 200, 'got foo'),
            ('/one_default', 200, 'got d'),
            ('/keyword_only?name=n', 200, 'name n'),
            ('/positional_only/1', 200, '1B'),
            ('/static/1/2', 200, '12'),
            ('/varkw?a=1&cherrypy=2', 200, "varkw(a='1', cherrypy='2')"),
            ('/varkw?self=1&cherrypy=2', 404, 'Unexpected query string parameters: self'),
            ('/callkw?self=1', 404, 'Unexpected query string parameters: self'),
            ('/one_positional', 404, 'Missing parameters: param1'),
            ('/two', 404, 'Missing parameters: a,b'),
            ('/two?b=1', 404, 'Missing parameters: a'),
            ('/one_positional/foo/bar/baz', 404, 'Nothing matches the given URI'),
            ('/no_positional/x', 404, 'Nothing matches the given URI'),
            ('/one_positional/foo?param1=foo', 404, 'Multiple values for parameters: param1'),
            ('/one_positional/foo?x=1&y=2', 404, 'Unexpected query string parameters: x, y'),
            ('/no_positional?param1=foo', 404, 'Unexpected query string parameters: param1'),
            ('/no_positional?%3Cb%3E=1', 404, 'Unexpected query string parameters: &lt;b&gt;'),
            ('/keyword_only/x', 404, 'Nothing matches the given URI'),
            ('/keyword_only?other=1', 404, 'Unexpected query string parameters: other'),
            ('/keyword_required', 404, 'Missing parameters: name'),
            ('/positional_only', 404, 'Missing parameters: a'),
            ('/positional_only?a=1', 404, 'Missing parameters: a'),
            ('/static', 404, 'Missing parameters: first'),
            ('/static/1?third=3', 404, 'Unexpected query string parameters: third'),
            ('/callable', 404, 'Missing parameters: param1'),
            ('/callable/x', 200, 'called'),
            ('/no_positional?self=1', 404, 'Unexpected query string parameters: self'),
        ],
    )
    def test_path_and_query(self, client, root, target, status, text):
        client.mount(root)
        answer = client.get(target)
        assert answer.status == status
        assert text in answer.text

    @pytest.mark.parametrize(
        ('target', 'form', 'status', 'text'),
        [
            ('/one_positional', {'param1': 'foo'}, 200, 'got foo'),
            ('/one_positional/foo', {'param1': 'foo'}, 400, 'Multiple values for parameters: param1'),
            ('/no_positional', {'param1': 'foo', 'b': '1'}, 400, 'Unexpected body parameters: param1, b'),
            ('/no_positional?q=1', {'param1': 'foo'}, 404, 'Unexpected query string parameters: q'),
            ('/no_positional?zz=3', {'zz': '4'}, 400, 'Unexpected body parameters: zz'),
            ('/no_positional/x', {'param1': 'foo'}, 404, 'Nothing matches the given URI'),
            ('/varkw?a=1', {'a': ['2', '3']}, 200, "varkw(a=['1', '2', '3'])"),
            ('/varkw', {'a': ['2', '3'], 'b': ''}, 200, "varkw(a=['2', '3'], b='')"),
        ],
    )
    def test_bodies(self, client, root, target, form, status, text):
        client.mount(root)
        answer = client.post(target, form=form)
        assert answer.status == status
        assert text in answer.text

    def test_the_message_is_hidden_when_config_says_so(self, client, root):
        client.mount(root, config={'/': {'request.show_mismatched_params': False}})
        answer = client.get('/one_positional')
        assert answer.status == 404
        assert 'Nothing matches the given URI' in answer.text
        assert 'param1' not in answer.text
        answer = client.post('/no_positional', form={'a': '1'})
        assert answer.status == 400
        assert 'Unexpected' not in answer.text

    @pytest.mark.parametrize('path', ['/fails', '/fails?a=1', '/fails_inside', '/fails_inside/x'])
    def test_a_type_error_of_the_handlers_own_is_500_and_logged(self, client, root, path):
        client.mount(root)
        assert client.get(path).status == 500
        assert sum('TypeError' in line for line in client.errors) == 1

    def test_a_decorated_handler_is_judged_by_what_it_wraps(self, client):
        def decorate(func):
            @functools.wraps(func)
            def wrapper(*args, **kwargs):
                return func(*args, **kwargs)

            return wrapper

        def supplies(func):
            @functools.wraps(func)
            def wrapper(self, b):
                return func(self, 'given', b)

            return wrapper

        class Root:
            @expose
            @decorate
            def plain(self, a):
                return f'a {a}'

            @expose
            @supplies
            def supplied(self, a, b):
                return f'{a} {b}'

            @expose
            @decorate
            def fails(self, a='1'):
                raise TypeError('of its own')

        client.mount(Root())
        assert client.get('/plain/1').text == 'a 1'
        assert client.get('/plain').status == 404
        assert client.get('/plain/1?x=1').status == 404
        assert client.post('/plain/1', form={'x': '1'}).status == 400
        assert client.get('/supplied/2').text == 'given 2'
        assert client.get('/supplied').status == 404
        assert client.get('/fails').status == 500


class TestResults:
    """What a page handler may return, the encode tool being on."""

    @pytest.mark.parametrize(
        ('value', 'body'),
        [
            ('héllo', 'héllo'.encode()),
            ('', b''),
            (b'abc', b'abc'),
            (b'', b''),
            (None, b''),
            ([b'a', b'b'], b'ab'),
            (['a', 'b', b'c'], b'abc'),
            ((b'a', b'b'), b'ab'),
            (('a', 'b'), b'ab'),
            ([], b''),
            (bytearray(b'abc'), b'abc'),
            (memoryview(b'abc'), b'abc'),
            (lambda: iter([b'a', 'ä']), 'aä'.encode()),
            (lambda: __import__('io').BytesIO(b'file'), b'file'),
            (lambda: __import__('io').StringIO('text file ä'), 'text file ä'.encode()),
        ],
    )
    def test_it_is_sent(self, client, handler, value, body):
        class Root:
            @handler
            def index(self):
                return value() if callable(value) else value

        client.mount(Root())
        answer = client.get('/')
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        assert answer.headers['Content-Length'] == str(len(body))

    @pytest.mark.parametrize('value', [5, 1.5, True, object(), [1], [None], {1: 2}])
    def test_it_is_refused_with_500(self, client, handler, value):
        class Root:
            @handler
            def index(self):
                return value

        client.mount(Root())
        assert client.get('/').status == 500
        assert client.errors

    def test_a_generator_is_read_before_the_head_is_made(self, client, handler):
        class Root:
            @handler
            def index(self):
                def body():
                    yield 'a'
                    cpadapter.response.headers['X-Late'] = 'yes'
                    cpadapter.response.status = 202
                    cpadapter.response.headers['Content-Type'] = 'text/plain'
                    yield b'b'

                return body()

            @handler
            def redirects(self):
                def body():
                    yield 'a'
                    raise cpadapter.HTTPRedirect('/else')

                return body()

        client.mount(Root())
        answer = client.get('/')
        assert (answer.status, answer.text, answer.headers['X-Late']) == (202, 'ab', 'yes')
        assert answer.headers['Content-Type'] == 'text/plain;charset=utf-8'
        assert client.get('/redirects').status == 303

    def test_a_generator_function_may_be_a_page_handler(self, client):
        class Root:
            @expose
            def index(self):
                yield 'a'
                yield cpadapter.request.path_info

            @expose
            async def anext(self):
                yield 'a'
                yield cpadapter.request.path_info

        client.mount(Root())
        assert client.get('/').text == 'a/'
        assert client.get('/anext').text == 'a/anext'

    def test_a_plain_handler_may_give_an_awaitable(self, client):
        async def later(value):
            import asyncio

            await asyncio.sleep(0)
            return f'{value} {cpadapter.request.path_info}'

        class Root:
            @expose
            def index(self):
                return later('awaited')

            @expose
            def fails(self):
                async def fail():
                    raise cpadapter.HTTPError(418 - 1, 'expected')

                return fail()

        client.mount(Root())
        assert client.get('/').text == 'awaited /'
        assert client.get('/fails').status == 417
