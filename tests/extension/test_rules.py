"""The rules of the extension layer in whole requests: both protocols, plain and async hooks, tools and pages."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading

import pytest

import cpadapter
from cpadapter import ErrorTool, HandlerTool, HandlerWrapperTool, Hook, HTTPError, Tool, Toolbox
from cpadapter.extension.hooks import HOOKPOINTS

ON_ERRORS = ('before_error_response', 'after_error_response')


@pytest.fixture(params=['plain hook', 'async hook'])
def paint(request):
    """Make a plain function an async one, or leave it."""

    def paint(call):
        if request.param == 'plain hook':
            return call

        async def painted(*args, **kwargs):
            await asyncio.sleep(0.001)
            return call(*args, **kwargs)

        return painted

    return paint


@pytest.fixture
def root(handler):
    class Root:
        @handler
        def index(self):
            return 'page'

        @handler
        def fails(self):
            raise LookupError('the one')

        @handler
        def refuses(self):
            raise HTTPError(402)

    return Root()


# ---------------------------------------------------------------- hooks attached while a request runs


@pytest.mark.parametrize('point', HOOKPOINTS[1:])
def test_a_hook_attached_at_run_time_runs_at_its_point(client, root, paint, point):
    seen = []

    def attached(mark):
        seen.append((mark, cpadapter.request.path_info))

    def attach():
        cpadapter.request.hooks.attach(point, paint(attached), mark='own')

    client.mount(root, '', {'/': {'hooks.on_start_resource': attach}})
    path = '/fails' if point in ON_ERRORS else '/'
    assert client.get(path).status == (500 if point in ON_ERRORS else 200)
    assert seen == [('own', path)]
    seen.clear()
    client.mount(root)
    client.get(path)
    assert seen == []


def test_one_attached_to_the_point_that_runs_waits_for_the_next_run(client, root, paint):
    seen = []

    def attach():
        cpadapter.request.hooks.attach('before_finalize', paint(lambda: seen.append('ran')))

    client.mount(root, '', {'/': {'hooks.before_finalize': attach}})
    client.get('/')
    assert seen == []


@pytest.mark.parametrize('point', ['before_finalize', 'on_end_resource', 'on_end_request'])
def test_a_page_attaches_hooks_too(client, handler, paint, point):
    seen = []

    class Root:
        @handler
        def index(self):
            cpadapter.request.hooks.attach(point, paint(lambda: seen.append(point)), priority=5)
            return 'x'

    client.mount(Root())
    assert client.get('/').text == 'x'
    assert seen == [point]


def test_an_attached_hook_takes_its_place_by_priority(client, root, paint):
    seen = []

    def attach():
        for priority in (70, 30):
            cpadapter.request.hooks.attach(
                'before_finalize', paint(lambda priority=priority: seen.append(priority)), priority=priority
            )

    config = {'hooks.on_start_resource': attach, 'hooks.before_finalize': lambda: seen.append('config')}
    client.mount(root, '', {'/': config})
    client.get('/')
    assert seen == [30, 'config', 70]


def test_an_unknown_point_names_the_nearest(client, root):
    def attach():
        cpadapter.request.hooks.attach('before_handlers', print)

    client.mount(root, '', {'/': {'hooks.on_start_resource': attach}})
    assert client.get('/').status == 500
    assert "did you mean 'before_handler'?" in '\n'.join(client.errors)


# ---------------------------------------------------------------- priorities and failsafe hooks


def test_hooks_of_both_colours_run_by_priority(client, root):
    seen = []

    async def later(mark):
        await asyncio.sleep(0)
        seen.append(mark)

    config = {
        'hooks.before_handler.a': Hook(later, priority=30, mark='async 30'),
        'hooks.before_handler.b': Hook(seen.append, priority=20),
        'hooks.before_handler.c': Hook(later, priority=10, mark='async 10'),
    }
    config['hooks.before_handler.b'] = Hook(lambda: seen.append('plain 20'), priority=20)
    client.mount(root, '', {'/': config})
    assert client.get('/').text == 'page'
    assert seen == ['async 10', 'plain 20', 'async 30']


@pytest.mark.parametrize('error_class', [HTTPError, ValueError])
def test_after_an_error_failsafe_hooks_run_and_others_do_not(client, root, paint, error_class):
    seen = []

    def fails():
        raise error_class(409)

    config = {
        'hooks.before_handler.a': Hook(paint(lambda: seen.append('before')), priority=1),
        'hooks.before_handler.b': Hook(paint(fails), priority=2),
        'hooks.before_handler.c': Hook(paint(lambda: seen.append('skipped')), priority=3),
        'hooks.before_handler.d': Hook(paint(lambda: seen.append('failsafe')), failsafe=True, priority=4),
    }
    client.mount(root, '', {'/': config})
    assert client.get('/').status == (409 if error_class is HTTPError else 500)
    assert seen == ['before', 'failsafe']
    traces = [line for line in client.errors if 'Traceback' in line]
    assert len(traces) == (0 if error_class is HTTPError else 1)


def test_the_last_error_of_a_point_is_the_one_answered(client, root, paint):
    def fails(code):
        raise HTTPError(code)

    config = {
        'hooks.before_handler.a': Hook(paint(fails), priority=1, code=402),
        'hooks.before_handler.b': Hook(paint(fails), failsafe=True, priority=2, code=409),
    }
    client.mount(root, '', {'/': config})
    assert client.get('/').status == 409


def test_before_finalize_runs_again_for_an_error_and_not_for_an_unforeseen_one(client, root, paint):
    seen = []
    client.mount(root, '', {'/': {'hooks.before_finalize': paint(lambda: seen.append(1))}})
    for path, times in (('/', 1), ('/refuses', 1), ('/fails', 0)):
        seen.clear()
        client.get(path)
        assert len(seen) == times, path


@pytest.mark.parametrize('point', ['on_end_resource', 'on_end_request'])
def test_what_ends_a_request_runs_whatever_happened(client, root, paint, point):
    seen = []
    client.mount(root, '', {'/': {f'hooks.{point}': paint(lambda: seen.append(cpadapter.request.path_info))}})
    for path in ('/', '/refuses', '/fails', '/nowhere'):
        client.get(path)
    assert seen == ['/', '/refuses', '/fails', '/nowhere']


def test_hooks_of_errors_see_the_exception(client, root, paint):
    seen = []

    def look():
        seen.append(repr(sys.exc_info()[1]))

    def attach():
        cpadapter.request.hooks.attach('before_error_response', paint(look))

    config = {'hooks.before_error_response': paint(look), 'hooks.on_start_resource': attach}
    client.mount(root, '', {'/': config})
    assert client.get('/fails').status == 500
    assert seen == ["LookupError('the one')"] * 2


def test_the_traceback_in_the_log_is_that_of_the_page_alone(client, root):
    client.mount(root, '', {'/': {'hooks.before_error_response': lambda: None}})
    client.get('/fails')
    trace = next(line for line in client.errors if 'LookupError' in line)
    assert 'call_within' not in trace
    assert 'await_within' not in trace


# ---------------------------------------------------------------- a plain page beside async hooks


def test_a_plain_page_beside_an_async_hook_runs_in_a_thread(client):
    seen = {}

    async def hook():
        await asyncio.sleep(0)
        seen['hook'] = threading.get_ident()

    class Root:
        @cpadapter.expose
        def index(self, a, b='2'):
            seen['page'] = threading.get_ident()
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return f'{a} {b}'

    client.mount(Root(), '', {'/': {'hooks.before_handler': hook}})
    assert client.get('/?a=1').text == '1 2'
    assert seen['hook'] != seen['page']
    assert client.get('/').status == 404
    assert client.get('/?a=1&c=2').status == 404
    assert client.get('/nowhere').status == 404


def test_it_does_not_where_it_says_that_it_never_waits(client):
    seen = {}

    async def hook():
        seen['hook'] = threading.get_ident()

    class Root:
        @cpadapter.expose
        def index(self):
            seen['page'] = threading.get_ident()
            return 'x'

    client.mount(Root(), '', {'/': {'hooks.before_handler': hook, 'request.non_blocking': True}})
    assert client.get('/').text == 'x'
    assert seen['hook'] == seen['page']


def test_what_a_hook_sets_in_context_variables_is_seen_by_the_page_and_the_hooks_after_it(client, root, handler):
    variable = contextvars.ContextVar('variable', default='unset')
    seen = []

    async def hook():
        variable.set('set')

    class Root:
        @handler
        def index(self):
            seen.append(variable.get())
            return 'x'

    config = {'hooks.before_handler': hook, 'hooks.before_finalize': lambda: seen.append(variable.get())}
    client.mount(Root(), '', {'/': config})
    assert client.get('/').text == 'x'
    assert seen == ['set', 'set']


def test_a_plain_page_beside_an_async_hook_reads_the_body(client):
    async def hook():
        await asyncio.sleep(0)

    class Root:
        @cpadapter.expose
        def index(self):
            return cpadapter.request.body.fp.read()

    client.mount(Root(), '', {'/': {'hooks.before_handler': hook, 'request.process_request_body': False}})
    body = b'abc' * 10000
    assert client.post('/', body=body, headers={'Content-Type': 'text/plain'}).body == body


def test_a_plain_page_beside_an_async_hook_gives_an_iterator(client):
    async def hook():
        await asyncio.sleep(0)

    class Root:
        @cpadapter.expose
        def index(self):
            yield 'a'
            yield 'b'

    client.mount(Root(), '', {'/': {'hooks.before_handler': hook, 'response.stream': True}})
    assert client.get('/').text == 'ab'


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize('point', HOOKPOINTS)
def test_a_tool_runs_at_every_point(client, root, paint, point):
    seen = []
    client.site.tools.mine = Tool(point, paint(lambda a=1: seen.append(a)))
    client.mount(root, '', {'/': {'tools.mine.on': True, 'tools.mine.a': point}})
    client.get('/fails' if point in ON_ERRORS else '/')
    assert seen == [point]


def test_the_order_at_one_point_is_hooks_of_config_then_tools_then_what_is_attached(client, root, paint):
    seen = []

    def marked(mark):
        return paint(lambda: seen.append(mark))

    client.site.tools.second = Tool('before_finalize', marked('second'))
    client.site.tools.first = Tool('before_finalize', marked('first'))
    config = {
        'tools.first.on': True,
        'hooks.before_finalize': marked('config'),
        'tools.second.on': True,
        'hooks.on_start_resource': lambda: cpadapter.request.hooks.attach('before_finalize', marked('attached')),
    }
    client.mount(root, '', {'/': config})
    client.get('/')
    assert seen == ['config', 'first', 'second', 'attached']


def test_priority_comes_from_config_before_the_callable_before_the_tool(client, root, paint):
    seen = []

    def marked(mark, **attributes):
        call = paint(lambda: seen.append(mark))
        for name, value in attributes.items():
            setattr(call, name, value)
        return call

    client.site.tools.a = Tool('before_handler', marked('tool 40'), priority=40)
    client.site.tools.b = Tool('before_handler', marked('callable 30', priority=30), priority=90)
    client.site.tools.c = Tool('before_handler', marked('config 20', priority=95), priority=95)
    config = {'tools.a.on': True, 'tools.b.on': True, 'tools.c.on': True, 'tools.c.priority': 20}
    client.mount(root, '', {'/': config})
    client.get('/')
    assert seen == ['config 20', 'callable 30', 'tool 40']


def test_settings_may_stand_apart_from_the_switch(client, root):
    seen = []
    client.site.tools.mine = Tool('before_handler', lambda a=1, b=2: seen.append((a, b)))
    client.site.config.update({'tools.mine.a': 'global'})
    client.mount(root, '', {'/': {'tools.mine.b': 'app'}, '/fails': {'tools.mine.on': True}})
    client.get('/')
    client.get('/fails')
    assert seen == [('global', 'app')]


def test_a_deeper_level_switches_off_what_stands_above(client, handler):
    seen = []
    mine = client.site.tools.mine = Tool('before_handler', lambda: seen.append(cpadapter.request.path_info))

    class Root:
        @handler
        def index(self):
            return ''

        @handler
        def a(self):
            return ''

        @mine()
        @handler
        def b(self):
            return ''

    client.site.config.update({'tools.mine.on': True})
    config = {'/': {'tools.mine.on': False}, '/a': {'tools.mine.on': True}, '/b/c': {'tools.mine.on': False}}
    client.mount(Root(), '', config)
    for path in ('/', '/a', '/b'):
        client.get(path)
    assert seen == ['/a', '/b']
    client.mount(Root(), '', {'/b': {'tools.mine.on': False}})
    seen.clear()
    client.get('/b')
    assert seen == []


def test_decorators_of_tools_and_config_combine_in_any_order(handler):
    mine = Tool('before_handler', print, 'mine')

    @mine(sep='a')
    @cpadapter.config(**{'other.key': 1})
    class One:
        pass

    @cpadapter.config(**{'other.key': 1})
    @mine(sep='a')
    @handler
    def two():
        pass

    expected = {'tools.mine.on': True, 'tools.mine.sep': 'a', 'other.key': 1}
    assert expected == One._cp_config == two._cp_config


def test_a_static_method_is_decorated_outside_or_inside(client):
    client.site.tools.mine = mine = Tool('before_handler', lambda: cpadapter.response.headers.update({'X-Mine': 'y'}))

    class Root:
        @mine()
        @cpadapter.expose
        @staticmethod
        def outside():
            return 'x'

        @staticmethod
        @mine()
        @cpadapter.expose
        def inside():
            return 'x'

    client.mount(Root())
    for path in ('/outside', '/inside'):
        answer = client.get(path)
        assert (answer.text, answer.headers['X-Mine']) == ('x', 'y'), path


def test_a_tool_called_as_a_function_is_no_hook(client, handler):
    class Root:
        @handler
        def index(self):
            chosen = client.site.tools.accept.callable(['text/plain', 'text/html'])
            return f'{chosen} {client.site.tools.accept.media}'

    client.mount(Root())
    assert client.get('/', headers={'Accept': 'text/html'}).text == 'text/html None'


def test_an_error_tool_makes_the_answer_with_the_exception_at_hand(client, root, paint):
    def answer(text):
        cpadapter.response.status = 503
        cpadapter.response.body = f'{text} {sys.exc_info()[1]!r}'.encode()

    client.site.tools.answer = ErrorTool(paint(answer))
    client.mount(root, '', {'/': {'tools.answer.on': True, 'tools.answer.text': 'sorry for'}})
    answer = client.get('/fails')
    assert (answer.status, answer.text) == (503, "sorry for LookupError('the one')")
    assert client.get('/refuses').status == 402
    assert client.get('/').text == 'page'


def test_an_error_tool_that_raises_is_answered_by_the_bare_page(client, root, paint):
    def answer():
        raise ZeroDivisionError

    client.site.tools.answer = ErrorTool(paint(answer))
    client.mount(root, '', {'/': {'tools.answer.on': True}})
    assert client.get('/fails').status == 500
    assert 'ZeroDivisionError' in '\n'.join(client.errors)


def test_the_last_error_tool_set_up_wins(client, root, paint):
    def answer(text):
        cpadapter.response.body = text.encode()

    client.site.tools.one = ErrorTool(paint(answer))
    client.site.tools.two = ErrorTool(paint(answer))
    config = {'tools.two.on': True, 'tools.one.on': True, 'tools.one.text': '1', 'tools.two.text': '2'}
    client.mount(root, '', {'/': config})
    assert client.get('/fails').text == '1'


def test_handler_gives_a_page_whose_settings_config_overrides(client, paint):
    def serve(text, times=1):
        if not text:
            return False
        cpadapter.response.body = (text * times).encode()
        return True

    tool = client.site.tools.serve = HandlerTool(paint(serve))

    class Root:
        page = tool.handler(text='code')
        positional = tool.handler('first', times=2)
        declines = tool.handler(text='')

    client.mount(Root(), '', {'/page': {'tools.serve.text': 'config'}})
    assert client.get('/page').text == 'config'
    assert client.get('/positional').text == 'firstfirst'
    assert client.get('/declines').status == 404


def test_an_async_wrapper_awaits_pages_of_either_colour(client, handler):
    class Root:
        @handler
        def index(self, **kwargs):
            return f'page {sorted(kwargs.items())}'

        @handler
        def fails(self):
            raise HTTPError(402)

    async def newhandler(inner, *args, **kwargs):
        await asyncio.sleep(0)
        return f'<{await inner(*args, **kwargs)}>'

    client.site.tools.wrapped = HandlerWrapperTool(newhandler)
    client.mount(Root(), '', {'/': {'tools.wrapped.on': True}})
    answer = client.get('/?a=1')
    assert answer.text == "<page [('a', '1')]>"
    assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
    assert client.get('/fails').status == 402
    assert client.get('/?x=%FF').status in (200, 404)


def test_a_wrapper_meets_none_where_a_tool_has_served_already(client, root):
    seen = []

    def serve():
        cpadapter.response.body = b'served'
        return True

    def newhandler(inner, *args, **kwargs):
        seen.append(inner)
        return cpadapter.response.body

    client.site.tools.serve = HandlerTool(serve)
    client.site.tools.wrapped = HandlerWrapperTool(newhandler, priority=60)
    client.mount(root, '', {'/': {'tools.serve.on': True, 'tools.wrapped.on': True}})
    assert client.get('/').text == 'served'
    assert seen == [None]


def test_a_wrapper_gets_no_settings(client, handler):
    class Root:
        @handler
        def index(self):
            return 'page'

    seen = []

    def newhandler(inner, *args, **kwargs):
        seen.append((args, kwargs, cpadapter.request.toolmaps['tools']['wrapped']))
        return inner(*args, **kwargs)

    client.site.tools.wrapped = HandlerWrapperTool(newhandler)
    client.mount(Root(), '', {'/': {'tools.wrapped.on': True, 'tools.wrapped.a': 1}})
    assert client.get('/').text == 'page'
    assert seen == [((), {}, {'on': True, 'a': 1})]


# ---------------------------------------------------------------- tools of the older kind, and their neighbours


class Older(Tool):
    def _setup(self):
        super()._setup()


@pytest.fixture
def beside(client):
    """Config that has a tool set up at each request beside others."""
    client.site.tools.older = Older('before_handler', lambda: None)
    return {'tools.older.on': True}


def test_an_async_tool_of_the_older_kind_is_awaited(client, root, paint):
    seen = []
    client.site.tools.older = Older('before_handler', paint(lambda a: seen.append(a)))
    client.mount(root, '', {'/': {'tools.older.on': True, 'tools.older.a': 5}})
    assert client.get('/').text == 'page'
    assert seen == [5]


def test_tools_do_the_same_beside_one_of_the_older_kind(client, handler, beside):
    class Root:
        @handler
        def index(self):
            return cpadapter.request.headers.get('X-Looked-At', 'none')

        @handler
        def fails(self):
            raise LookupError('the one')

    def answer():
        cpadapter.response.body = b'sorry'

    client.site.tools.answer = ErrorTool(answer)
    beside.update({'tools.autovary.on': True, 'tools.json_out.on': True, 'tools.answer.on': True})
    client.mount(Root(), '', {'/': beside})
    answer = client.get('/')
    assert answer.text.strip() == '"none"'
    assert 'X-Looked-At' in answer.headers['Vary']
    assert client.get('/fails').text == 'sorry'


def test_a_setting_that_a_neighbour_does_not_take_is_refused_too(client, root, beside):
    beside.update({'tools.gzip.on': True, 'tools.gzip.compres_level': 3})
    client.mount(root, '', {'/': beside})
    assert client.get('/').status == 500
    assert "Did you mean 'compress_level'?" in '\n'.join(client.errors)


def test_a_tool_may_change_the_settings_of_one_set_up_after_it(client, root):
    seen = []

    class Changes(Tool):
        def _setup(self):
            cpadapter.request.toolmaps['tools']['mine']['a'] = 'changed'
            cpadapter.request.toolmaps['tools']['off']['on'] = False

    client.site.tools.changes = Changes('before_handler', None)
    client.site.tools.mine = Tool('before_handler', lambda a: seen.append(a))
    client.site.tools.off = Tool('before_handler', lambda: seen.append('off'))
    config = {'tools.changes.on': True, 'tools.mine.on': True, 'tools.mine.a': 1, 'tools.off.on': True}
    client.mount(root, '', {'/': config})
    client.get('/')
    assert seen == ['changed']


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ('key', 'value', 'hint'),
    [
        ('tools.gzip.compres_level', 3, "Did you mean 'compress_level'?"),
        ('tools.gzp.on', True, "Did you mean 'tools.gzip'?"),
        ('hooks.before_handlr', 'builtins.print', "Did you mean 'hooks.before_handler'?"),
        ('tools.gzip', True, "'tools.gzip.on'"),
        ('error_page.4o4', 'x.html', "a status code or 'default'"),
        ('hooks.before_handler', 'no_such_module.call', 'no_such_module'),
        ('hooks.before_handler', 5, 'a hook is a callable'),
    ],
)
@pytest.mark.parametrize('place', ['global config', 'section [/]', 'section [/fails]', 'a _cp_config'])
def test_a_mistake_in_config_is_told_with_key_value_place_and_nearest_name(client, handler, key, value, hint, place):
    class Root:
        @handler
        def fails(self):
            return 'x'

    entries = {key: value, 'tools.gzip.on': True}
    config = {'/': {}}
    if place == 'global config':
        client.site.config.update(entries)
    elif place == 'a _cp_config':
        Root._cp_config = entries
    else:
        config[place[9:-1]] = entries
    client.mount(Root(), '', config)
    assert client.get('/fails').status == 500
    log = '\n'.join(client.errors)
    assert f'{key!r} = {value!r} in {place}' in log
    assert hint in log


def test_a_partial_takes_what_is_left_of_its_parameters(client, root):
    import functools

    seen = []

    def call(first, second=2):
        seen.append((first, second))

    client.site.tools.mine = Tool('before_handler', functools.partial(call, 'bound'))
    client.mount(root, '', {'/': {'tools.mine.on': True, 'tools.mine.second': 3}})
    assert client.get('/').status == 200
    assert seen == [('bound', 3)]
    client.mount(root, '', {'/': {'tools.mine.on': True, 'tools.mine.secnd': 3}})
    assert client.get('/').status == 500
    assert "Did you mean 'second'?" in '\n'.join(client.errors)


# ---------------------------------------------------------------- toolboxes


def test_a_box_used_as_a_context_manager_sets_its_tools_up(client, handler):
    seen = []
    box = Toolbox('own')
    box.mine = Tool('before_finalize', lambda a: seen.append(a))

    class Root:
        @handler
        def index(self):
            with box as handle:
                handle('mine.on', True)
                handle('mine.a', 3)
                handle('other.on', False)
                with pytest.raises(ValueError, match='unpack'):
                    handle('mine', True)
            return repr(cpadapter.request.toolmaps['own'])

    client.mount(Root())
    assert client.get('/').text == "{'mine': {'on': True, 'a': 3}, 'other': {'on': False}}"
    assert seen == [3]


def test_what_a_box_keeps_besides_tools_makes_no_plan_stale():
    from cpadapter.changes import changes

    box = Toolbox('own')
    before = changes.count
    box.counter = 1
    assert changes.count == before
    box.mine = Tool('before_handler', print)
    assert changes.count > before
    before = changes.count
    box.mine = None
    assert changes.count > before


def test_the_attributes_that_plans_rest_on_make_them_stale(client, root):
    seen = []
    tool = client.site.tools.mine = Tool('before_handler', lambda: seen.append('first'))
    client.mount(root, '', {'/': {'tools.mine.on': True}})
    client.get('/')
    tool.callable = lambda: seen.append('second')
    client.get('/')
    assert seen == ['first', 'second']


# ---------------------------------------------------------------- namespaces of requests


def test_namespaces_run_in_their_order_the_applications_boxes_last(client, root):
    seen = []

    class Space:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(f'enter {self.name}')
            return lambda k, v: seen.append(f'{self.name} {k}={v}')

        def __exit__(self, *exc_info):
            seen.append(f'exit {self.name}')

    app = client.mount(root, '', {'/': {'second.a': 1, 'first.b': 2, 'first.c.d': 3}})
    app.request_class = type('Own', (cpadapter.Request,), {'namespaces': cpadapter.Request.namespaces.copy()})
    app.request_class.namespaces['first'] = Space('first')
    app.toolboxes['second'] = Space('second')
    app.toolboxes['third'] = Space('third')
    assert client.get('/').text == 'page'
    assert seen == [
        *('enter first', 'first b=2', 'first c.d=3', 'exit first'),
        *('enter second', 'second a=1', 'exit second'),
        *('enter third', 'exit third'),
    ]


@pytest.mark.parametrize('swallows', [True, False])
def test_a_namespace_that_raises_is_answered_unless_it_swallows_that(client, root, swallows):
    class Space:
        def __enter__(self):
            return self.handle

        def handle(self, key, value):
            raise ZeroDivisionError

        def __exit__(self, exc_type, exc, traceback):
            return swallows and exc_type is ZeroDivisionError

    app = client.mount(root, '', {'/': {'own.a': 1}})
    app.toolboxes['own'] = Space()
    assert client.get('/').status == (200 if swallows else 500)
