"""Hooks: callables that run at the named points of a request, in order of priority.

Hook, HookMap and HOOKPOINTS live here. How the pipeline replays a plan's hooks, and what a failing one does to
the request, is core/pipeline.py's; the rules for one point are `run_hooks`, used by both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import partial
from typing import Any

from ..changes import changed
from ..context import current
from ..errors import HTTPError, HTTPRedirect, InternalRedirect

__all__ = [
    'HOOKPOINTS',
    'Hook',
    'HookMap',
    'Steps',
    'await_within',
    'call_within',
    'hookpoints',
    'is_async_callable',
    'log_once',
    'refuse_awaitable',
    'run_hooks',
]

HOOKPOINTS = hookpoints = [
    'on_start_resource',
    'before_request_body',
    'before_handler',
    'before_finalize',
    'on_end_resource',
    'on_end_request',
    'before_error_response',
    'after_error_response',
]

QUIET = (HTTPError, HTTPRedirect, InternalRedirect)

_CO_COROUTINE = 0x80 | 0x100  # CO_COROUTINE | CO_ITERABLE_COROUTINE, as in inspect.CO_*


def is_async_callable(call: Any) -> bool:
    """Say whether calling `call` gives an awaitable: async functions and methods, partials and instances of them.

    This alone decides what counts as async, once, when a plan is compiled.
    """
    while True:
        if hasattr(call, 'func') and hasattr(call, 'args') and hasattr(call, 'keywords'):  # functools.partial
            call = call.func
            continue
        call = getattr(call, '__func__', call)
        code = getattr(call, '__code__', None)
        if code is not None:
            if code.co_flags & _CO_COROUTINE:
                return True
            # COMPAT: asgiref and asyncio mark plain functions that return an awaitable.
            return getattr(call, '_is_coroutine', None) is not None or hasattr(call, '_is_coroutine_mark')
        if isinstance(call, type) or not callable(call):
            return False
        inner = getattr(type(call), '__call__', None)  # noqa: B004
        if inner is None or inner is getattr(type(inner), '__call__', None) or not hasattr(inner, '__code__'):  # noqa: B004
            return False
        call = inner


def refuse_awaitable(result: Any, what: str, *names: Any) -> None:
    """Raise TypeError if `result` is something to await, which nobody would; `what % names` says who gave it."""
    # The class is asked: an object may answer to any name.
    if hasattr(type(result), '__await__'):
        if hasattr(result, 'close'):
            result.close()
        raise TypeError(f'{what % names} has to be a plain callable, not an async one.')


class Hook:
    """A callback, bound to its keyword arguments, that runs at one hook point.

    failsafe: True runs it even if an earlier hook of the point raised; None takes `callback.failsafe`, else False.
    priority: lower runs first; None takes `callback.priority`, else 50.
    non_blocking: True says that a plain callback never waits, so that it may run on an event loop; taken from
        `callback.non_blocking`.
    """

    callback: Any = None
    failsafe = False
    priority: float = 50
    kwargs: dict[str, Any] = {}

    def __init__(
        self, callback: Any, failsafe: bool | None = None, priority: float | None = None, **kwargs: Any
    ) -> None:
        self.callback = callback
        self.failsafe = getattr(callback, 'failsafe', False) if failsafe is None else failsafe
        self.priority = getattr(callback, 'priority', 50) if priority is None else priority
        self.kwargs = kwargs
        self.is_async = is_async_callable(callback)
        self.non_blocking = bool(getattr(callback, 'non_blocking', False))

    def __lt__(self, other: Hook) -> bool:
        return self.priority < other.priority

    def __call__(self) -> Any:
        return self.callback(**self.kwargs)

    def __repr__(self) -> str:
        cls = type(self)
        settings = ''.join(f', {key}={value!r}' for key, value in self.kwargs.items())
        return (
            f'{cls.__module__}.{cls.__name__}(callback={self.callback!r}, '
            f'failsafe={self.failsafe!r}, priority={self.priority!r}{settings})'
        )


class HookMap(dict[str, list[Hook]]):
    """Hook lists by hook point. A map on a Request class is shared by its requests; each request has a copy."""

    shared = False

    def __new__(cls, points: Iterable[str] | None = None) -> HookMap:
        self = super().__new__(cls)
        for point in points or ():
            self[point] = []
        return self

    def __init__(self, points: Iterable[str] | None = None) -> None:
        pass

    def __reduce__(self) -> Any:
        return (dict, (dict(self),))

    def attach(
        self,
        point: str,
        callback: Any,
        failsafe: bool | None = None,
        priority: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Append a Hook to `point`; KeyError names the nearest point if there is no such one."""
        hooks = self.get(point)
        if hooks is None:
            from difflib import get_close_matches

            near = get_close_matches(point, list(self), 1)
            raise KeyError(f'There is no hook point {point!r}' + (f'; did you mean {near[0]!r}?' if near else '.'))
        hooks.append(Hook(callback, failsafe, priority, **kwargs))
        if self.shared:
            changed()

    def run(self, point: str) -> None:
        """Run the hooks of `point` by priority; hooks attached meanwhile wait for the next run."""
        drive(run_hooks(sorted(self[point])))

    @classmethod
    def run_hooks(cls, hooks: Iterable[Hook]) -> None:
        drive(run_hooks(hooks))

    def copy(self) -> HookMap:
        new = type(self)()
        for point, hooks in self.items():
            new[point] = hooks[:]
        return new

    __copy__ = copy

    def __repr__(self) -> str:
        cls = type(self)
        return f'{cls.__module__}.{cls.__name__}(points={list(self)!r})'


def drive(coroutine: Any) -> Any:
    """Run a coroutine that never suspends to its end and give its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError('An async hook cannot run here: the code that runs the hooks is not async.')


async def run_hooks(
    hooks: Iterable[Hook],
    offload: Callable[[Callable[[], Any]], Any] | None = None,
    ran: list[Hook] | None = None,
    suspend: Callable[[Any], Any] | None = None,
    given: Any = None,
    failure: Exception | None = None,
) -> None:
    """Run hooks in the order given; after one raised, run only the failsafe ones, then raise the last error.

    offload: where the caller runs on an event loop, an async function that calls its argument in a thread;
        plain hooks go there unless they are marked non-blocking.
    ran: collects the hooks that were started.
    suspend: where the caller runs in a thread, what has an event loop await an async hook for it.
    given, failure: of the hook before these, which was called already: what is to be awaited for it, what it raised.

    HTTPError, HTTPRedirect and InternalRedirect are not logged; any other Exception is, once, with its traceback.
    """
    if given is not None:
        try:
            await (given if suspend is None or type(given) is Steps else suspend(given))
        except Exception as exc:
            failure = exc
        given = None
    if failure is not None and not isinstance(failure, QUIET):
        call_within(failure, partial(log_once, failure))
    for hook in hooks:
        if failure is not None and not hook.failsafe:
            continue
        if ran is not None:
            ran.append(hook)
        try:
            if offload is not None and not hook.is_async and not hook.non_blocking:
                result = await offload(hook)
            else:
                result = hook.callback(**hook.kwargs) if type(hook) is Hook else hook()
            if hook.is_async or hasattr(result, '__await__'):
                await (result if suspend is None or type(result) is Steps else suspend(result))
        except Exception as exc:
            if not isinstance(exc, QUIET):
                log_once(exc)
            failure = exc
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # no reference cycle through this frame


class Steps:
    """What a plain hook gives that has more to do after something was awaited.

    coroutine: goes on in the thread the hook ran in; only what it passes to `exchange.suspend` is awaited on an event
        loop. Any other awaitable a plain hook gives is awaited there as a whole.
    """

    __slots__ = ('coroutine',)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.coroutine.__await__()


def call_within(exc: BaseException, call: Callable[[], Any]) -> Any:
    """Call `call` in a thread that is not handling `exc` so that sys.exc_info() shows it there all the same."""
    traceback = exc.__traceback__
    try:
        raise exc
    except BaseException:
        exc.__traceback__ = traceback  # as it was: this frame is no part of the story
        return call()
    finally:
        del exc, traceback  # no reference cycle through this frame


async def await_within(exc: BaseException, awaitable: Any) -> Any:
    """Await where `exc` is not being handled so that sys.exc_info() shows it there all the same."""
    traceback = exc.__traceback__
    try:
        raise exc
    except BaseException:
        exc.__traceback__ = traceback
        return await awaitable
    finally:
        del exc, traceback


def log_once(exc: BaseException) -> None:
    """Write the traceback to the error log unless this exception is there already."""
    if getattr(exc, '_cp_logged', False):
        return
    try:
        exc._cp_logged = True  # type: ignore[attr-defined]
    except AttributeError:
        pass  # slotted exceptions can be logged twice; nothing else is lost
    exchange = current()
    log = exchange.app.log if exchange.app is not None else exchange.site.log
    log.error(traceback=True, severity=logging.ERROR)
