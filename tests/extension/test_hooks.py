"""Hooks and hook maps."""

from __future__ import annotations

import copy
import functools

import pytest

import cpadapter
from cpadapter import HTTPError, HTTPRedirect
from cpadapter.extension.hooks import HOOKPOINTS, Hook, HookMap, hookpoints, is_async_callable, run_hooks


def test_the_points_are_these_in_this_order():
    assert hookpoints is HOOKPOINTS
    assert HOOKPOINTS == [
        'on_start_resource',
        'before_request_body',
        'before_handler',
        'before_finalize',
        'on_end_resource',
        'on_end_request',
        'before_error_response',
        'after_error_response',
    ]


class TestHook:
    def test_settings_come_from_the_callback_unless_given(self):
        def callback(**kwargs):
            return kwargs

        hook = Hook(callback)
        assert (hook.failsafe, hook.priority, hook.kwargs) == (False, 50, {})
        callback.failsafe, callback.priority = True, 10
        hook = Hook(callback, a=1)
        assert (hook.failsafe, hook.priority, hook()) == (True, 10, {'a': 1})
        hook = Hook(callback, False, 70)
        assert (hook.failsafe, hook.priority) == (False, 70)

    def test_hooks_compare_by_priority_alone(self):
        assert Hook(print, priority=1) < Hook(len, priority=2)
        assert not Hook(print) < Hook(len)

    def test_repr_names_everything(self):
        text = repr(Hook(print, failsafe=True, priority=5, k='v'))
        assert 'Hook(callback=<built-in function print>, failsafe=True, priority=5' in text
        assert "k='v'" in text


class TestHookMap:
    def test_it_runs_by_priority_and_keeps_order_among_equals(self):
        seen = []
        hooks = HookMap(['point'])
        for name, priority in (('a', 50), ('b', 10), ('c', 50), ('d', 90)):
            hooks.attach('point', functools.partial(seen.append, name), priority=priority)
        hooks.run('point')
        assert seen == ['b', 'a', 'c', 'd']

    def test_hooks_attached_meanwhile_wait_for_the_next_run(self):
        seen = []
        hooks = HookMap(['point'])

        def attach():
            seen.append('first')
            hooks.attach('point', functools.partial(seen.append, 'later'))

        hooks.attach('point', attach)
        hooks.run('point')
        assert seen == ['first']

    def test_an_unknown_point_raises_key_error(self):
        with pytest.raises(KeyError):
            HookMap(HOOKPOINTS).attach('nowhere', print)

    def test_copies_have_lists_of_their_own(self):
        hooks = HookMap(['point'])
        for other in (hooks.copy(), copy.copy(hooks)):
            other.attach('point', print)
            assert isinstance(other, HookMap)
        assert hooks['point'] == []

    def test_after_an_error_only_failsafe_hooks_run_and_the_last_error_is_raised(self):
        seen = []

        def raises(error):
            raise error

        hooks = HookMap(['point'])
        hooks.attach('point', functools.partial(seen.append, 'before'), priority=1)
        hooks.attach('point', functools.partial(raises, HTTPError(402)), priority=2)
        hooks.attach('point', functools.partial(seen.append, 'skipped'), priority=3)
        hooks.attach('point', functools.partial(seen.append, 'failsafe'), failsafe=True, priority=4)
        hooks.attach('point', functools.partial(raises, HTTPError(409)), failsafe=True, priority=5)
        hooks.attach('point', functools.partial(seen.append, 'last'), failsafe=True, priority=6)
        with pytest.raises(HTTPError) as raised:
            hooks.run('point')
        assert raised.value.code == 409
        assert seen == ['before', 'failsafe', 'last']

    def test_a_base_exception_stops_at_once(self):
        seen = []

        def stops():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            HookMap.run_hooks([Hook(stops), Hook(functools.partial(seen.append, 1), failsafe=True)])
        assert seen == []

    def test_an_async_hook_cannot_run_where_nothing_awaits(self):
        import asyncio

        async def hook():
            await asyncio.sleep(0)

        hooks = HookMap(['point'])
        hooks.attach('point', hook)
        with pytest.raises(RuntimeError, match='async hook'):
            hooks.run('point')

    def test_run_hooks_awaits_async_ones(self):
        import asyncio

        seen = []

        async def hook():
            await asyncio.sleep(0)
            seen.append(1)

        asyncio.run(run_hooks([Hook(hook), Hook(functools.partial(seen.append, 2))]))
        assert seen == [1, 2]


class TestIsAsyncCallable:
    def test_it_looks_through_partials_methods_and_instances(self):
        async def coroutine():
            pass

        class Callable:
            async def __call__(self):
                pass

            async def method(self):
                pass

            def plain(self):
                pass

        for call in (
            coroutine,
            functools.partial(coroutine),
            Callable(),
            Callable().method,
            functools.partial(Callable()),
        ):
            assert is_async_callable(call), call
        for call in (print, len, Callable, Callable().plain, lambda: 1, functools.partial(print), object, 5, None):
            assert not is_async_callable(call), call


class TestInRequests:
    def test_config_takes_callables_hooks_and_dotted_names(self, client, handler):
        seen = []

        class Root:
            @handler
            def index(self):
                return 'x'

        config = {
            'hooks.before_handler': lambda: seen.append('callable'),
            'hooks.before_handler.second': Hook(lambda: seen.append('hook'), priority=10),
            'hooks.before_handler.third': 'builtins.len',
        }
        client.mount(Root(), config={'/': config})
        assert client.get('/').status == 500
        assert seen == ['hook', 'callable']
        assert 'len() takes exactly one argument' in '\n'.join(client.errors)

    def test_a_failsafe_hook_runs_after_an_earlier_one_raised(self, client, handler):
        def fails():
            raise ValueError('first')

        def rescues():
            cpadapter.request.error_response = lambda: setattr(cpadapter.response, 'status', 502)

        class Root:
            @handler
            def index(self):
                return 'x'

        config = {
            'hooks.on_start_resource.a': Hook(fails, priority=10),
            'hooks.on_start_resource.b': Hook(rescues, failsafe=True, priority=20),
        }
        client.mount(Root(), config={'/': config})
        assert client.get('/').status == 502

    def test_a_request_may_attach_hooks_to_itself(self, client, handler):
        seen = []

        class Root:
            @handler
            def index(self):
                for point in ('before_finalize', 'on_end_resource', 'on_end_request'):
                    cpadapter.request.hooks.attach(point, functools.partial(seen.append, point))
                return 'x'

            @handler
            def other(self):
                return 'y'

        client.mount(Root())
        assert client.get('/').text == 'x'
        assert client.get('/other').text == 'y'
        assert seen == ['before_finalize', 'on_end_resource', 'on_end_request']

    def test_a_hook_may_attach_one_to_a_later_point(self, client, handler):
        seen = []

        def attach():
            cpadapter.request.hooks.attach('before_finalize', functools.partial(seen.append, 'late'), priority=5)

        class Root:
            @handler
            def index(self):
                return 'x'

        config = {'hooks.on_start_resource': attach, 'hooks.before_finalize': lambda: seen.append('own')}
        client.mount(Root(), config={'/': config})
        client.get('/')
        assert seen == ['late', 'own']

    def test_the_error_hooks_see_the_exception(self, client, handler):
        import sys

        seen = []

        class Root:
            @handler
            def index(self):
                raise ValueError('the one')

        config = {'hooks.before_error_response': lambda: seen.append(repr(sys.exc_info()[1]))}
        client.mount(Root(), config={'/': config})
        client.get('/')
        assert seen == ["ValueError('the one')"]

    def test_a_redirect_raised_by_a_hook_is_not_logged(self, client, handler):
        def away():
            raise HTTPRedirect('/else')

        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {'hooks.before_handler': away}})
        assert client.get('/').status == 303
        assert client.errors == []
