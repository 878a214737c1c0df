"""Tools and toolboxes."""

from __future__ import annotations

import asyncio

import pytest

import cpadapter
from cpadapter import ErrorTool, HandlerTool, HandlerWrapperTool, HTTPError, Tool, Toolbox


@pytest.fixture
def root(handler):
    class Root:
        @handler
        def index(self):
            return 'page'

        @handler
        def fails(self):
            raise ValueError('x')

    return Root()


class TestTool:
    def test_it_runs_at_its_point_with_the_settings_of_config(self, client, root):
        seen = []

        def call(a=1, b=2):
            seen.append((a, b))

        client.site.tools.mine = Tool('before_handler', call)
        client.mount(root)
        client.get('/')
        assert seen == []
        client.mount(root, config={'/': {'tools.mine.on': True, 'tools.mine.a': 5}})
        client.get('/')
        assert seen == [(5, 2)]

    def test_an_async_tool_runs_too(self, client, root):
        import asyncio

        seen = []

        async def call(a=1):
            await asyncio.sleep(0)
            seen.append((a, cpadapter.request.path_info))

        client.site.tools.mine = Tool('before_handler', call)
        client.mount(root, config={'/': {'tools.mine.on': True}})
        assert client.get('/').text == 'page'
        assert seen == [(1, '/')]

    def test_it_decorates_functions_and_classes(self, client, handler):
        seen = []
        client.site.tools.mine = Tool('before_handler', lambda a=1: seen.append(a))
        mine = client.site.tools.mine

        @mine(a='class')
        class Root:
            @handler
            def index(self):
                return 'x'

            @mine(a='method')
            @handler
            def method(self):
                return 'x'

        client.mount(Root())
        client.get('/')
        client.get('/method')
        assert seen == ['class', 'method']

    def test_decorating_a_subclass_leaves_the_base_alone(self, handler):
        mine = Tool('before_handler', print, 'mine')

        @mine(a=1)
        class Base:
            pass

        @mine(a=2)
        class Sub(Base):
            pass

        assert Base._cp_config['tools.mine.a'] == 1
        assert Sub._cp_config['tools.mine.a'] == 2

    def test_positional_arguments_are_refused(self):
        mine = Tool('before_handler', print, 'mine')
        with pytest.raises(TypeError, match="The 'mine' Tool does not accept positional arguments"):
            mine(lambda: None)

    def test_on_is_refused_as_an_attribute(self):
        mine = Tool('before_handler', print, 'mine')
        for access in (lambda: mine.on, lambda: setattr(mine, 'on', True)):
            with pytest.raises(AttributeError, match='CherryPy Tools cannot be turned on directly'):
                access()

    def test_parameters_are_shown_as_attributes(self):
        def call(first, second=2):
            """The text."""

        mine = Tool('before_handler', call)
        assert (mine.first, mine.second, mine.__doc__) == (None, None, 'The text.')

    def test_the_callable_may_be_called_directly(self):
        assert Tool('before_handler', lambda a: a + 1).callable(1) == 2

    def test_an_unknown_setting_is_500(self, client, root):
        client.site.tools.mine = Tool('before_handler', lambda a=1: None)
        client.mount(root, config={'/': {'tools.mine.on': True, 'tools.mine.nope': 1}})
        assert client.get('/').status == 500

    def test_a_setup_of_the_older_kind_runs_at_each_request(self, client, root):
        seen = []

        class Older(Tool):
            def _setup(self):
                super()._setup()
                seen.append('setup')
                cpadapter.request.hooks.attach('before_finalize', lambda: seen.append('attached'))

        client.site.tools.older = Older('before_handler', lambda a=1: seen.append(a))
        client.mount(root, config={'/': {'tools.older.on': True, 'tools.older.a': 7}})
        for _ in range(2):
            seen.clear()
            assert client.get('/').text == 'page'
            assert seen == ['setup', 7, 'attached']

    def test_any_object_with_a_setup_will_do(self, client, root):
        class Thing:
            _name = 'thing'

            def _setup(self):
                cpadapter.response.headers['X-Thing'] = 'set up'

        client.site.tools.thing = Thing()
        client.mount(root, config={'/': {'tools.thing.on': True}})
        assert client.get('/').headers['X-Thing'] == 'set up'

    def test_a_setup_that_is_async_is_awaited(self, client, root):
        order = []

        class Gate(Tool):
            async def _setup(self):
                await asyncio.sleep(0)
                order.append(self._name)
                if 'shut' in cpadapter.request.query_string:
                    raise HTTPError(403)

        class After(Tool):
            def _setup(self):
                order.append(self._name)

        client.site.tools.gate = Gate('before_handler', lambda: None)
        client.site.tools.then = After('before_handler', lambda: None)
        client.site.tools.last = Gate('before_handler', lambda: None)
        client.mount(root, config={'/': {'tools.gate.on': True, 'tools.then.on': True, 'tools.last.on': True}})
        assert client.get('/').text == 'page'
        assert order == ['gate', 'then', 'last']
        assert client.get('/?shut').status == 403


class TestHandlerTool:
    def test_a_true_result_takes_the_place_of_the_page(self, client, root):
        def serve(serve_it=True):
            cpadapter.response.body = b'served'
            return serve_it

        client.site.tools.serve = HandlerTool(serve)
        client.mount(root, config={'/': {'tools.serve.on': True}})
        assert client.get('/').text == 'served'
        client.mount(root, config={'/': {'tools.serve.on': True, 'tools.serve.serve_it': False}})
        assert client.get('/').text == 'page'

    def test_an_async_one_does_so_too(self, client, root):
        async def serve():
            cpadapter.response.body = b'served'
            return True

        client.site.tools.serve = HandlerTool(serve)
        client.mount(root, config={'/': {'tools.serve.on': True}})
        assert client.get('/').text == 'served'

    def test_an_async_one_inside_a_plain_function_does_so_too(self, client, root):
        async def serve():
            cpadapter.response.body = b'served'
            return True

        tool = client.site.tools.serve = HandlerTool(lambda: serve())
        root.given = tool.handler()
        client.mount(root, config={'/': {'tools.serve.on': True}})
        assert client.get('/').text == 'served'
        client.mount(root)
        assert client.get('/given').text == 'served'

    @pytest.mark.parametrize(('path', 'declined'), [('/', 200), ('/given', 404)])
    def test_an_async_one_inside_a_plain_function_may_refuse_and_decline(self, client, root, path, declined):
        async def gate():
            if 'X-Pass' not in cpadapter.request.headers:
                raise HTTPError(403)
            return False

        tool = client.site.tools.gate = HandlerTool(lambda: gate())
        root.given = tool.handler()
        client.mount(root, config={'/': {'tools.gate.on': path == '/'}})
        assert client.get(path).status == 403
        assert client.get(path, headers={'X-Pass': '1'}).status == declined

    def test_handler_makes_a_page_handler(self, client):
        def serve(text):
            if not text:
                return False
            cpadapter.response.body = [text.encode()]
            return True

        tool = client.site.tools.serve = HandlerTool(serve)

        class Root:
            page = tool.handler(text='from code')
            missing = tool.handler(text='')

        client.mount(Root())
        assert client.get('/page').text == 'from code'
        assert client.get('/missing').status == 404
        client.mount(Root(), config={'/page': {'tools.serve.text': 'from config'}})
        assert client.get('/page').text == 'from config'


class TestHandlerWrapperTool:
    def test_the_lower_priority_is_the_inner_one(self, client, handler):
        class Root:
            @handler
            def index(self, **kwargs):
                return 'page'

        def wrapping(mark):
            def newhandler(inner, *args, **kwargs):
                value = inner(*args, **kwargs)
                if hasattr(value, '__await__'):

                    async def wait():
                        return f'<{mark}>{await value}</{mark}>'

                    return wait()
                return f'<{mark}>{value}</{mark}>'

            return newhandler

        client.site.tools.a = HandlerWrapperTool(wrapping('a'), priority=60)
        client.site.tools.b = HandlerWrapperTool(wrapping('b'), priority=55)
        client.mount(Root(), config={'/': {'tools.a.on': True, 'tools.b.on': True}})
        answer = client.get('/?x=1')
        assert answer.text == '<a><b>page</b></a>'
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'


class TestErrorTool:
    def test_it_makes_the_response_to_an_unforeseen_error(self, client, root):
        def sorry(text='sorry'):
            cpadapter.response.status = 503
            cpadapter.response.body = [text.encode()]

        client.site.tools.sorry = ErrorTool(sorry)
        client.mount(root, config={'/': {'tools.sorry.on': True, 'tools.sorry.text': 'so sorry'}})
        answer = client.get('/fails')
        assert (answer.status, answer.text) == (503, 'so sorry')
        assert client.get('/').text == 'page'


class TestToolbox:
    def test_tools_are_named_after_their_attribute(self):
        box = Toolbox('own')
        box.mine = Tool('before_handler', print)
        assert (box.mine._name, box.mine.namespace) == ('mine', 'own')
        assert 'mine' in box.names()

    def test_register_keeps_the_function(self):
        box = Toolbox('own')

        @box.register('before_handler', priority=10)
        def mine():
            return 'result'

        @box.register('before_handler', name='other')
        def another():
            pass

        assert mine() == 'result'
        assert (box.mine._priority, box.other._name) == (10, 'other')

    @pytest.mark.parametrize('place', ['application', 'request class'])
    def test_a_toolbox_of_ones_own_is_a_namespace(self, client, root, place):
        seen = []
        box = Toolbox('own')
        box.mine = Tool('before_handler', lambda a=1: seen.append(a))
        app = client.mount(root, config={'/': {'own.mine.on': True, 'own.mine.a': 3}})
        if place == 'application':
            app.toolboxes['own'] = box
        else:
            app.request_class = type('Own', (cpadapter.Request,), {})
            app.request_class.namespaces = app.request_class.namespaces.copy()
            app.request_class.namespaces['own'] = box
        assert client.get('/').text == 'page'
        assert seen == [3]

    def test_a_missing_tool_that_is_off_is_ignored(self, client, root):
        client.mount(root, config={'/': {'tools.nosuch.on': False}})
        assert client.get('/').status == 200
        client.mount(root, config={'/': {'tools.nosuch.on': True}})
        assert client.get('/').status == 500

    def test_toolmaps_show_the_settings(self, client, handler):
        class Root:
            @handler
            def index(self):
                return repr(cpadapter.request.toolmaps['tools']['encode'])

        client.mount(Root(), config={'/': {'tools.encode.encoding': 'utf-8'}})
        assert client.get('/').text == "{'on': True, 'encoding': 'utf-8'}"


class TestNamespaces:
    def test_a_context_manager_is_entered_and_left_for_each_request(self, client, root):
        seen = []

        class Namespace:
            def __enter__(self):
                seen.append('enter')
                return lambda k, v: seen.append((k, v))

            def __exit__(self, *exc_info):
                seen.append('exit')

        app = client.mount(root, config={'/': {'own.a': 1}})
        app.request_class = type('Own', (cpadapter.Request,), {})
        app.request_class.namespaces = app.request_class.namespaces.copy()
        app.request_class.namespaces['own'] = Namespace()
        for _ in range(2):
            seen.clear()
            assert client.get('/').status == 200
            assert seen == ['enter', ('a', 1), 'exit']

    def test_a_tool_raising_an_http_error_is_answered(self, client, root):
        def refuse():
            raise HTTPError(402, 'pay')

        client.site.tools.refuse = Tool('on_start_resource', refuse)
        client.mount(root, config={'/': {'tools.refuse.on': True}})
        assert client.get('/').status == 402
