"""Plans: what config says about a page handler, compiled once."""

from __future__ import annotations

import functools

import pytest

import cpadapter
from cpadapter import Tool, expose
from cpadapter.core.plan import compile_plan, handler_key, merge_confs
from cpadapter.extension.hooks import Hook, is_async_callable


@pytest.fixture
def compile(make_client):
    app = make_client('wsgi').mount(None)

    def compile(config=(), handler=None, slash=''):
        merged = merge_confs(app.site.config, [(0, dict(config))], app.config)
        return compile_plan(app, is_async_callable(handler or named), merged, slash)

    compile.app = app
    return compile


def names(hooks):
    return [hook.callback.__name__ for hook in hooks]


def named(name, **attributes):
    def call(**kwargs):
        pass

    call.__name__ = name
    call.__dict__.update(attributes)
    return call


def test_hooks_are_sorted_by_priority_and_keep_their_order_among_equals(compile):
    tools = compile.app.site.tools
    tools.first = Tool('before_handler', named('first'), priority=10)
    tools.second = Tool('before_handler', named('second', priority=20))
    tools.third = Tool('before_handler', named('third'))
    plan = compile(
        {
            'tools.third.on': True,
            'hooks.before_handler.a': named('a'),
            'hooks.before_handler.b': Hook(named('b'), priority=5),
            'tools.second.on': True,
            'tools.first.on': True,
        }
    )
    assert names(plan.before_handler) == ['b', 'first', 'second', 'a', 'third']
    plan = compile(
        {
            'tools.encode.on': False,
            'tools.first.on': True,
            'tools.first.priority': 99,
            'hooks.before_handler': named('a'),
        }
    )
    assert names(plan.before_handler) == ['a', 'first']


def test_a_tool_that_is_off_costs_nothing(compile):
    compile.app.site.tools.mine = Tool('before_handler', named('mine'))
    assert names(compile({'tools.mine.on': False}).before_handler) == []
    assert compile({'tools.mine.on': False}).toolmaps['tools']['mine'] == {'on': False}


@pytest.mark.parametrize('slash', ['', 'missing', 'extra'])
def test_trailing_slash_is_in_the_plan_only_where_it_may_redirect(compile, slash):
    def has(**settings):
        config = {f'tools.trailing_slash.{key}': value for key, value in settings.items()}
        return 'trailing_slash' in names(compile(config, slash=slash).before_handler)

    assert has() is (slash == 'missing')
    assert has(extra=True) is (slash != '')
    assert has(missing=False) is False


def test_the_colour_is_that_of_the_handler_or_a_hook(compile):
    async def coroutine():
        pass

    class Callable:
        async def __call__(self):
            pass

    assert not compile().is_async
    assert compile(handler=coroutine).is_async
    assert compile(handler=functools.partial(coroutine)).is_async
    assert compile(handler=Callable()).is_async
    assert compile({'hooks.before_handler': coroutine}).is_async


def test_attributes_and_bodies_are_taken_from_config(compile):
    plan = compile({'request.login': 'x', 'request.body.maxbytes': 5, 'response.stream': True})
    assert plan.request_attrs['login'] == 'x'
    assert plan.body_attrs == (('maxbytes', 5),)
    assert plan.response_attrs == (('stream', True),)


def test_errors_name_the_key_the_value_and_the_nearest_name(compile):
    with pytest.raises(KeyError, match=r"hooks\.before_handel.*Did you mean 'hooks\.before_handler'"):
        compile({'hooks.before_handel': named('x')})
    with pytest.raises(AttributeError, match=r"Did you mean 'tools\.encode'"):
        compile({'tools.encod.on': True})
    with pytest.raises(TypeError, match=r"tools\.encode\.encodin.*Did you mean 'encoding'"):
        compile({'tools.encode.encodin': 'x'})
    with pytest.raises(ValueError, match=r"'hooks\.before_handler' = 'main'"):
        compile({'hooks.before_handler': 'main'})
    with pytest.raises(ValueError, match=r'error_page\.x'):
        compile({'error_page.x': 'y'})
    with pytest.raises(ValueError, match=r'tools\.encode'):
        compile({'tools.encode': True})


def test_a_key_that_is_no_text_is_plain_data(compile):
    assert compile({5: 'x'}).config[5] == 'x'


def test_describe_tells_what_was_compiled(compile):
    text = compile({'hooks.before_handler': named('mine'), 'request.login': 'x', 'error_page.404': 'f'}).describe()
    assert 'plan (sync)' in text
    assert 'before_handler 50' in text
    assert "request.login = 'x'" in text
    assert "error_page.404 = 'f'" in text


def test_staticdir_section_is_where_the_directory_was_named():
    section = {'tools.staticdir.dir': 'x'}
    merged = merge_confs({}, [(1, section)], {'/static': section}, '/static/a/b')
    assert merged['tools.staticdir.section'] == '/static'
    merged = merge_confs({}, [(2, {'tools.staticdir.dir': 'x'})], {}, '/a/b/c')
    assert merged['tools.staticdir.section'] == '/a/b'
    assert 'tools.staticdir.section' not in section


def test_paths_in_global_config_are_left_out():
    assert merge_confs({'/': {'a': 1}, 'b': 2}, [], {}) == {'b': 2}


def test_methods_share_a_key_and_instances_do_by_class():
    class Root:
        def page(self):
            pass

        def __call__(self):
            pass

    assert handler_key(Root().page) is handler_key(Root().page)
    assert handler_key(Root()) is handler_key(Root())
    assert handler_key(lambda: 1) != handler_key(lambda: 1)


def test_instances_with_config_of_their_own_do_not_share_it(client):
    class Callable:
        exposed = True

        def __init__(self, name):
            self._cp_config = {'response.headers.X-Name': name}

        def __call__(self):
            return 'x'

    class Root:
        a = Callable('a')
        b = Callable('b')

        @expose
        def index(self):
            return 'x'

    client.mount(Root())
    for _ in range(2):
        assert client.get('/a').headers['X-Name'] == 'a'
        assert client.get('/b').headers['X-Name'] == 'b'
    assert cpadapter.request.app is None
