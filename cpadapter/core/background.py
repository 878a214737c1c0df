"""Background work: what an application does after its responses, owned by its site.

Plain callables run in threads of their own, async ones on an event loop: the server's, or under WSGI the one that
serves async page handlers. How much may be open is bounded, and the engine's stop waits for it, for a while. It knows
an exchange by what it attaches to it: a hook at its end.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..context import current, exchange_var
from ..errors import Overloaded
from ..extension.hooks import Hook, is_async_callable

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from contextvars import Context

    from .site import Site

__all__ = ['Background', 'background']

# Threads for plain callables.
THREADS = 4
# Seconds that a cancelled one has to come to its end.
GRACE = 1


def background(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Have `call(*args, **kwargs)` done when the response to the current request has been sent; at once outside of one.

    It runs in the context variables of the caller, but has no current request. A plain callable runs in a thread, an
    async one on the event loop. What it raises is logged. The engine's stop waits `background.timeout` seconds for it.
    Raises Overloaded where `background.limit` calls are open already, TypeError for what cannot be called.
    """
    current().site.background.add(call, *args, **kwargs)


class _Job:
    """One call: open from when it was asked for until it has ended."""

    __slots__ = ('call', 'context', 'log', 'loop', 'name', 'task')

    def __init__(self, call: Callable[[], Any], name: str, context: Context, log: Any) -> None:
        self.call: Any = call
        self.name = name
        self.context: Any = context
        self.log = log
        self.loop: AbstractEventLoop | None = None
        self.task: Any = None


class Background:
    """The background work of one site.

    limit: how many calls may be open, waiting or running; 0 is as many as come.
    timeout: seconds that the engine's stop waits for them.
    """

    limit: int = 1000
    timeout: float = 10

    def __init__(self, site: Site) -> None:
        self.site = site
        self._jobs: set[_Job] = set()
        self._pool: Any = None
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many calls are open."""
        return len(self._jobs)

    def __bool__(self) -> bool:
        return True

    def add(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """As `background`, for this site."""
        if not callable(call):
            if hasattr(call, 'close'):
                call.close()  # a coroutine: it is not to complain that nobody has awaited it
            raise TypeError(
                f'Background work is a callable and its arguments, not {type(call).__name__}: '
                'background(send, message), not background(send(message)).'
            )
        _watch(self)
        exchange = exchange_var.get()
        context = copy_context()
        context.run(exchange_var.set, None)
        log = self.site.log if exchange is None or exchange.app is None else exchange.app.log
        job = _Job(_bind(call, args, kwargs), getattr(call, '__qualname__', repr(call)), context, log)
        with self._changed:
            if self.limit and len(self._jobs) >= self.limit:
                error = Overloaded(f'{len(self._jobs)} calls are open in the background already (background.limit).')
            else:
                error = None
                self._jobs.add(job)
        if error is not None:
            self.site.note_overload(error)
            raise error
        if is_async_callable(call):
            job.loop = _find_loop(exchange)
        if exchange is None or exchange.closed or exchange.head is None:
            self._start(job)
        else:
            hook = Hook(self._start, True, _LAST, job=job)
            hook.non_blocking = True
            exchange.request.hooks['on_end_request'].append(hook)

    def _start(self, job: _Job) -> None:
        if job.loop is not None:
            try:
                job.loop.call_soon_threadsafe(self._start_task, job)
            except RuntimeError:
                self._lose(job)  # its loop has been closed
            return
        pool = self._pool
        if pool is None:
            from ..gateways.bridge import WorkerPool

            with self._changed:
                pool = self._pool
                if pool is None:
                    name = f'cpadapter-{self.site.name}-background' if self.site.name else 'cpadapter-background'
                    pool = self._pool = WorkerPool(THREADS, name)
        pool.start(job.context, lambda: self._run(job))

    def _run(self, job: _Job) -> None:
        try:
            result = job.call()
            if hasattr(result, '__await__'):
                from ..gateways.bridge import LoopThread

                LoopThread.get().call(_wait_for(result))
        except BaseException:
            self._tell(job)
        finally:
            self._end(job)

    def _start_task(self, job: _Job) -> None:
        context = job.context
        job.task = context.run(job.loop.create_task, self._await(job))  # type: ignore[union-attr]

    async def _await(self, job: _Job) -> None:
        from asyncio import CancelledError

        try:
            await job.call()
        except CancelledError:
            job.log.error(f'Background work was cancelled: {job.name}', 'BACKGROUND', severity=logging.WARNING)
        except Exception:
            self._tell(job)
        finally:
            self._end(job)

    def _tell(self, job: _Job) -> None:
        job.log.error(f'Background work failed: {job.name}', 'BACKGROUND', severity=logging.ERROR, traceback=True)

    def _lose(self, job: _Job) -> None:
        job.log.error(
            f'Background work was lost, for its event loop has ended: {job.name}',
            'BACKGROUND',
            severity=logging.ERROR,
        )
        self._end(job)

    def _end(self, job: _Job) -> None:
        with self._changed:
            self._jobs.discard(job)
            self._changed.notify_all()
        # Nothing that it refers to lives on by it.
        job.call = job.context = job.task = None

    def end(self) -> None:
        """Wait for what is open, `timeout` seconds; then cancel what is async, and log what has not ended."""
        if not self._jobs and self._pool is None:
            return
        here = _running_loop()

        def is_left() -> list[_Job]:
            return [job for job in self._jobs if job.loop is None or (job.loop is not here and job.loop.is_running())]

        self._wait(is_left, self.timeout)
        with self._changed:
            jobs = list(self._jobs)
        for job in jobs:
            if job.loop is not None and job.loop.is_running():
                task = job.task
                if task is not None:
                    job.loop.call_soon_threadsafe(task.cancel)
        self._wait(lambda: [job for job in is_left() if job.loop is not None], GRACE)
        with self._changed:
            jobs = [job for job in self._jobs if job.loop is None or job.loop is not here]
        for job in jobs:
            if job.loop is not None and not job.loop.is_running():
                self._lose(job)
                continue
            job.log.error(
                f'Background work has not ended within {self.timeout} s: {job.name}',
                'BACKGROUND',
                severity=logging.ERROR,
            )
        with self._changed:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _wait(self, is_left: Callable[[], list[_Job]], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            while is_left() and (left := deadline - time.monotonic()) > 0:
                # A loop that ends tells nobody.
                self._changed.wait(min(left, 0.2))

    def forget(self) -> None:
        """In a child process: what was open is the parent's."""
        self._jobs = set()
        self._pool = None
        self._changed = threading.Condition()


# After every other hook.
_LAST = float('inf')


def _bind(call: Callable[..., Any], args: Any, kwargs: Any) -> Callable[[], Any]:
    from functools import partial

    return partial(call, *args, **kwargs) if args or kwargs else call


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


def _running_loop() -> Any:
    asyncio = sys.modules.get('asyncio.events')
    return None if asyncio is None else asyncio._get_running_loop()


def _find_loop(exchange: Any) -> Any:
    """Give the loop for async work: the running one, the one that serves the request, or that of async code in WSGI."""
    loop = _running_loop()
    if loop is None and exchange is not None and exchange.head is not None:
        loop = exchange.head.reader().loop if exchange.on_loop else getattr(exchange.head, 'loop', None)
    if loop is None:
        from ..gateways.bridge import LoopThread

        loop = LoopThread.get().loop
    return loop


_watched: WeakSet[Background] = WeakSet()
_hooked: list[bool] = []


def _watch(work: Background) -> None:
    """See to it that `work` hears of forks; the hook is set with the first work there is."""
    if work in _watched:
        return
    _watched.add(work)
    if not _hooked and hasattr(os, 'register_at_fork'):
        _hooked.append(True)
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for work in list(_watched):
        work.forget()
