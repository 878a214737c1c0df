"""Lifespans: ASGI lifespan (spec 2.0) -> engine, our own lifespan inside a parent's, and those of ASGI children.

Startup starts the engine and what is grafted, shutdown stops them. Whoever holds a site first starts it, whoever
lets go last stops it. Async listeners of the engine, and the children, run on the loop the startup came from.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from ..typing import Message, Receive, Scope, Send

__all__ = [
    'ChildLifespan',
    'LoopAwaiter',
    'ensure_child',
    'enter',
    'hold',
    'leave',
    'serve_lifespan',
    'start_lazily',
]

# Seconds that an ASGI application has to answer a shutdown, and then to return.
SHUTDOWN_TIMEOUT = 30
RETURN_TIMEOUT = 5


class LoopAwaiter:
    """Awaits on one loop what a thread asks for, while that thread waits; on the loop thread once that loop has ended.

    RuntimeError if called on that very loop, which could only wait for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def __call__(self, awaitable: Awaitable[Any]) -> Any:
        loop = self.loop
        if not loop.is_running():
            from .bridge import await_on_loop

            return await_on_loop(awaitable)
        if asyncio._get_running_loop() is loop:
            if hasattr(awaitable, 'close'):
                awaitable.close()
            raise RuntimeError(
                'An async listener of the engine, or the lifespan of a grafted application, was to be awaited on the '
                'very event loop that publishes: publish from a thread (asyncio.to_thread), or hold the site by '
                '`async with application.lifespan()`.'
            )
        future = asyncio.run_coroutine_threadsafe(_await(awaitable), loop)
        while True:
            try:
                return future.result(1)
            except FutureTimeoutError:
                if future.done():
                    raise  # the awaitable's own
                if not loop.is_running():
                    raise RuntimeError('The event loop has ended before what was awaited on it.') from None


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


# -- our own lifespan


async def serve_lifespan(opener: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer lifespan messages: startup starts the engine and what is grafted, shutdown stops them."""
    site = opener.site
    while True:
        message = await receive()
        if message['type'] == 'lifespan.startup':
            try:
                await enter(site)
            except BaseException as exc:
                await send({'type': 'lifespan.startup.failed', 'message': _describe(exc)})
                if not isinstance(exc, Exception):
                    raise
                return
            state = scope.get('state')
            if state is not None:
                state.update(site.engine.shared)
            await send({'type': 'lifespan.startup.complete'})
        elif message['type'] == 'lifespan.shutdown':
            try:
                await leave(site)
            except Exception as exc:
                await send({'type': 'lifespan.shutdown.failed', 'message': _describe(exc)})
                return
            await send({'type': 'lifespan.shutdown.complete'})
            return


def _describe(exc: BaseException) -> str:
    """Say in one line what failed; an engine's failures one after the other."""
    get_instances = getattr(exc, 'get_instances', None)
    failures = get_instances() if get_instances is not None else [exc]
    return '; '.join(f'{type(failure).__name__}: {failure}' for failure in failures)


async def _in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, copy_context().run, call)


async def enter(site: Any) -> None:
    """Hold a site: start its engine and what is grafted into its tree, unless somebody holds it or has started it."""
    engine, lifespans = site.engine, site.lifespans
    engine.adopt(LoopAwaiter(asyncio.get_running_loop()))
    lifespans.users += 1
    first = lifespans.users == 1

    def start() -> None:
        engine.ensure_started(anew=first)
        # Where the program owns the process its engine starts by itself; what is async belongs to this loop.
        engine.release('start')
        lifespans.start()

    try:
        await _in_thread(start)
    except BaseException:
        lifespans.users -= 1
        raise


async def leave(site: Any) -> None:
    """Let go of a site; whoever is last stops it."""
    lifespans = site.lifespans
    lifespans.users = max(0, lifespans.users - 1)
    if lifespans.users:
        return

    def stop() -> None:
        try:
            if not site.engine.hosted:
                try:
                    lifespans.stop()
                finally:
                    site.engine.release('stop')
        finally:
            site.engine.ensure_exited()

    await _in_thread(stop)


# What is being started on a loop: requests that come meanwhile wait for the same.
_starts: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, asyncio.Future[Any]]] = WeakKeyDictionary()


async def _once(key: Any, call: Callable[[], Any]) -> None:
    loop = asyncio.get_running_loop()
    starts = _starts.setdefault(loop, {})
    future = starts.get(key)
    if future is None:
        # In no request's context, and not cancelled with one.
        future = starts[key] = loop.run_in_executor(None, Context().run, call)

        def done(future: asyncio.Future[Any]) -> None:
            del starts[key]
            if not future.cancelled():
                future.exception()  # told to whoever waited

        future.add_done_callback(done)
    await asyncio.shield(future)


async def start_lazily(site: Any) -> None:
    """Start a site before its first request, where no lifespan came: once, however many requests are first."""
    engine = site.engine
    engine.adopt(LoopAwaiter(asyncio.get_running_loop()))
    await _once(engine, engine.ensure_started)


async def ensure_child(site: Any, child: Any) -> None:
    """Start a child that was grafted after the start, before its first request."""
    site.engine.adopt(LoopAwaiter(asyncio.get_running_loop()))
    await _once(child, lambda: site.lifespans.ensure(child))


@asynccontextmanager
async def _hold_one(app: Any) -> AsyncIterator[dict[str, Any]]:
    site = getattr(app, 'site', None)
    if site is not None and hasattr(site, 'lifespans'):
        await enter(site)
        try:
            yield site.engine.shared
        finally:
            await leave(site)
        return
    lifespan = ChildLifespan(app, {})
    runs = await lifespan.start()
    try:
        yield lifespan.state
    finally:
        if runs:
            await lifespan.stop()


@asynccontextmanager
async def hold(apps: Iterable[Any]) -> AsyncIterator[dict[str, Any] | None]:
    """Run the lifespans of applications, ours or other ASGI ones, around an `async with` block.

    They start in order and stop in reverse; if one fails to start, those before it are stopped. Gives what they put
    into their states, None if that is nothing.
    """
    state: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for app in apps:
            state.update(await stack.enter_async_context(_hold_one(app)))
        yield state or None


# -- the lifespans of others


class _NoLifespan(Exception):
    """The application answers a lifespan as if it were something else."""


class ChildLifespan:
    """Drives the lifespan of one ASGI application, in a task of its own on the loop that starts it."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        self.app = app
        self.state = state
        self._asked = False
        self._foreign = False

    async def start(self) -> bool:
        """Send the startup; give whether the application has a lifespan.

        It has none if it raises before it receives, returns, or sends something else (spec 2.0, "Scope").
        RuntimeError if it says that it failed, or raises on the startup.
        """
        self.loop = asyncio.get_running_loop()
        self._answer = self.loop.create_future()
        self._stopping = asyncio.Event()
        # In no request's context: it lasts longer than any.
        if sys.version_info >= (3, 11):
            self._task = self.loop.create_task(self._run(), context=Context())
        else:
            self._task = Context().run(self.loop.create_task, self._run())
        try:
            await asyncio.wait((self._task, self._answer), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._task.cancel()
            raise
        if self._answer.done():
            failure = self._answer.result()
            if failure is None:
                return True
            await self._end()
            raise RuntimeError(f'{self.app!r} did not start: {failure}')
        exc = None if self._task.cancelled() else self._task.exception()
        if exc is None or self._foreign or not self._asked:
            return False
        raise RuntimeError(f'{self.app!r} did not start: {type(exc).__name__}: {exc}') from exc

    async def stop(self) -> None:
        """Send the shutdown and wait until the application has returned; RuntimeError if it failed."""
        self._answer = self.loop.create_future()
        self._stopping.set()
        await asyncio.wait((self._task, self._answer), timeout=SHUTDOWN_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done() and not self._task.done():
            await self._end(0)
            raise RuntimeError(f'{self.app!r} did not answer the shutdown within {SHUTDOWN_TIMEOUT} s.')
        failure = self._answer.result() if self._answer.done() else None
        await self._end()
        exc = None if self._task.cancelled() else self._task.exception()
        if failure is None and exc is not None:
            failure = f'{type(exc).__name__}: {exc}'
        if failure is not None:
            raise RuntimeError(f'{self.app!r} did not stop: {failure}') from exc

    async def _end(self, timeout: float = RETURN_TIMEOUT) -> None:
        await asyncio.wait((self._task,), timeout=timeout)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=RETURN_TIMEOUT)

    async def _run(self) -> None:
        scope = {
            'type': 'lifespan',
            'asgi': {'version': '3.0', 'spec_version': '2.0'},
            'state': self.state,
        }
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {'type': 'lifespan.startup'}
        await self._stopping.wait()
        return {'type': 'lifespan.shutdown'}

    async def _send(self, message: Message) -> None:
        kind = message['type']
        if kind not in (
            'lifespan.startup.complete',
            'lifespan.startup.failed',
            'lifespan.shutdown.complete',
            'lifespan.shutdown.failed',
        ):
            self._foreign = True
            raise _NoLifespan(f'{kind!r} is no message of a lifespan.')
        if not self._answer.done():
            failed = kind[-6:] == 'failed'
            self._answer.set_result((message.get('message') or 'it gives no reason') if failed else None)
