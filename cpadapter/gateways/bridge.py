"""The one file that crosses between threads and event loops.

Sync work from a loop goes to a pool of our own threads: one hand-over and one return a request, many returns in
one wake-up of the loop. A pool whose queue is bounded refuses what is too much. Async work from a thread goes to one
loop in a thread of its own, one per process, made at first need. What is run is not known here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context, copy_context
from errno import EPIPE
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from ..context import exchange_var
from ..errors import ClientDisconnected, Overloaded

__all__ = [
    'LoopThread',
    'PoolFull',
    'WorkerPool',
    'await_on_loop',
    'close_pools',
    'drive_in_pool',
    'mend_cancellation',
    'pool_for',
    'run_in',
    'run_on_loop',
    'sync_chunks',
    'take_over',
]


class _Port:
    """Where a loop takes the results that threads have for it."""

    __slots__ = ('done', 'ended', 'late', 'loop', 'woken')

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.done: deque[tuple[asyncio.Future[Any], bool, Any]] = deque()
        self.woken = False
        # Futures that were cancelled while a thread was at work for them -> futures of that work's end; and those
        # whose work has ended.
        self.late: dict[asyncio.Future[Any], asyncio.Future[None]] = {}
        self.ended: WeakSet[asyncio.Future[Any]] = WeakSet()

    def deliver(self, future: asyncio.Future[Any], ok: bool, result: Any) -> None:
        """Hand over a result; called by any thread."""
        self.done.append((future, ok, result))
        if not self.woken:
            # PERF: one wake-up for all that is done until the loop looks; each costs a system call.
            self.woken = True
            try:
                self.loop.call_soon_threadsafe(self._take)
            except RuntimeError:
                pass  # the loop is closed: nobody waits for the result any more

    def _take(self) -> None:
        self.woken = False
        done = self.done
        while done:
            future, ok, result = done.popleft()
            if future.done():
                waiter = self.late.pop(future, None)
                if waiter is None:
                    self.ended.add(future)
                elif not waiter.done():
                    waiter.set_result(None)
                continue
            if ok:
                future.set_result(result)
            else:
                future.set_exception(result)


class _Raised(Exception):
    """Carries a StopIteration, which a Future cannot hold, or a GeneratorExit, which would close what awaits it."""


class PoolFull(Exception):
    """A pool does not take what was submitted, or has not begun with it in time; nothing of it was run."""


class WorkerPool:
    """Threads that run plain callables for event loops; made as they are needed, up to `size`.

    limit: how many jobs may wait for a thread; None is as many as come.
    timeout: seconds that a job waits at the most; None is as long as it takes.
    They are daemon threads: a handler that never returns does not keep the process.
    """

    limit: int | None = None
    timeout: float | None = None

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.name = name
        self.pid = os.getpid()
        self._queue: SimpleQueue[Any] = SimpleQueue()
        # What is in the queue -> what is to be done. Whoever takes it out of here does it, or has withdrawn it.
        self._waiting: dict[Any, tuple[Any, ...]] = {}
        self._threads = 0
        # Jobs that were submitted and have not ended.
        self._open = 0
        self._lock = threading.Lock()
        self._ports: WeakKeyDictionary[asyncio.AbstractEventLoop, _Port] = WeakKeyDictionary()

    def submit(self, context: Context, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run `call(*args)` in a thread and in `context`; give the running loop's future of its result.

        Raises PoolFull where as many wait already as may; the future does where it has waited too long.
        """
        loop = asyncio.get_running_loop()
        port = self._ports.get(loop)
        if port is None:
            port = self._ports[loop] = _Port(loop)
        future = loop.create_future()
        # Counted and not guessed from who sleeps: a thread that has just been woken still looks idle.
        with self._lock:
            if self.limit is not None and self._open >= self.size + self.limit:
                raise PoolFull(f'{self._open - self.size} requests wait for one of {self.size} threads')
            self._open += 1
            crowded = self._open > self._threads
        self._waiting[future] = (port, context, call, args)
        self._queue.put(future)
        if crowded:
            if self._threads < self.size:
                self._grow()
            elif self.timeout is not None:
                # In no request's context: a cancelled timer keeps its own until its time has come.
                timer = loop.call_later(self.timeout, self._expire, future, context=Context())
                future.add_done_callback(lambda _: timer.cancel())
        return future

    def start(self, context: Context, call: Callable[[], None]) -> None:
        """Run `call()` in a thread and in `context`; nobody waits for it. It must not raise."""
        job = object()
        with self._lock:
            self._open += 1
            crowded = self._open > self._threads
        self._waiting[job] = (None, context, call, ())
        self._queue.put(job)
        if crowded and self._threads < self.size:
            self._grow()

    def withdraw(self, job: Any) -> bool:
        """Take back what no thread has begun with; False where one has."""
        if self._waiting.pop(job, None) is None:
            return False
        with self._lock:
            self._open -= 1
        return True

    def _expire(self, future: asyncio.Future[Any]) -> None:
        if not future.done() and self.withdraw(future):
            future.set_exception(PoolFull(f'a request has waited {self.timeout} s for one of {self.size} threads'))

    async def run(
        self, context: Context, call: Callable[..., Any], *args: Any, abort: Callable[[], None] | None = None
    ) -> Any:
        """Run `call(*args)` in a thread and give its result; cancelled, wait until no thread is at it any more.

        What follows a cancelled request closes bodies and runs hooks: never beside a thread that uses them.
        abort: called when cancelled, to wake a thread that waits for what will not come.
        """
        future = self.submit(context, call, *args)
        try:
            return await future
        except asyncio.CancelledError:
            if not self.withdraw(future):
                if abort is not None:
                    abort()
                await self.wait_for_end(future)
            raise

    async def wait_for_end(self, future: asyncio.Future[Any]) -> None:
        """Wait until no thread is at work any more for a future that was cancelled."""
        loop = future.get_loop()
        port = self._ports[loop]
        if future.cancelled() and future not in port.ended:
            waiter = port.late[future] = loop.create_future()
            while not waiter.done():
                try:
                    await asyncio.wait([waiter])
                except asyncio.CancelledError:
                    continue

    def _grow(self) -> None:
        with self._lock:
            if self._threads >= self.size:
                return
            self._threads += 1
            number = self._threads
        # In no request's context, which a free-threaded Python would hand on to the thread.
        try:
            Context().run(threading.Thread(target=self._work, name=f'{self.name}-{number}', daemon=True).start)
        except RuntimeError:
            # The system gives no more threads: those there are do the work.
            with self._lock:
                self._threads -= 1
            if not self._threads:
                raise

    def _work(self) -> None:
        get = self._queue.get
        waiting = self._waiting
        lock = self._lock
        while True:
            future = get()
            if future is None:
                self._leave()
                return
            job = waiting.pop(future, None)
            if job is None:
                continue  # it was withdrawn
            port, context, call, args = job
            ok = True
            result = None
            if port is None or not future.cancelled():
                try:
                    result = context.run(call, *args)
                except (StopIteration, GeneratorExit) as exc:
                    ok, result = False, _Raised(exc)
                except BaseException as exc:
                    ok, result = False, exc
            with lock:
                self._open -= 1
            if port is not None:
                port.deliver(future, ok, result)
            # Nothing of the request may live on in an idle thread.
            job = port = future = context = call = args = result = None

    def _leave(self) -> None:
        with self._lock:
            self._threads -= 1
            last = not self._threads
        if last and self._waiting:
            # Submitted by somebody who had the pool in hand when it was closed.
            self._grow()

    def close(self) -> None:
        """Let the threads end once they have done what was submitted."""
        for _ in range(self._threads):
            self._queue.put(None)


_pools: dict[tuple[int, str], WorkerPool] = {}
_pools_lock = threading.Lock()


def pool_for(size: int, purpose: str = 'handlers') -> WorkerPool:
    """Give this process's pool of `size` threads for a purpose; 'finish' is never queued behind 'handlers'."""
    key = (os.getpid(), f'{purpose}-{size}')
    pool = _pools.get(key)
    if pool is None:
        with _pools_lock:
            pool = _pools.get(key)
            if pool is None:
                pool = _pools[key] = WorkerPool(size, f'cpadapter-{purpose}')
    return pool


def close_pools() -> None:
    """Let the threads of this process's pools end when they have done their work; who asks later gets others."""
    # Without the lock: the end of a process waits for nobody who may hold it.
    for key in list(_pools):
        pool = _pools.pop(key, None) if key[0] == os.getpid() else None
        if pool is not None:
            pool.close()


# -- sync plans under ASGI


class _Steps:
    """A coroutine of plain steps that threads drive, and where it has come to.

    result: what it wants awaited, or, once `done`, what it has given.
    """

    __slots__ = ('coroutine', 'done', 'result', 'started')

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.started = False
        self.done = False
        self.result: Any = None

    def send(self, value: Any) -> None:
        """Go on in the calling thread, up to what is to be awaited next or to the end."""
        self.started = True
        self.done = True  # also where it raises
        try:
            wanted = self.coroutine.send(value)
        except StopIteration as end:
            self.result = end.value
        else:
            self.result = wanted.awaitable
            self.done = False

    def throw(self, exc: BaseException) -> None:
        """Go on with `exc` raised where the coroutine waits."""
        self.done = True
        try:
            wanted = self.coroutine.throw(exc)
        except StopIteration as end:
            self.result = end.value
        else:
            self.result = wanted.awaitable
            self.done = False


async def drive_in_pool(
    pool: WorkerPool,
    coroutine: Coroutine[Any, Any, Any],
    context: Context,
    abort: Callable[[], None] | None = None,
    later: Callable[[], WorkerPool] | None = None,
) -> Any:
    """Run a coroutine of plain steps in the pool; where it wants something awaited, do that here, thread freed.

    later: gives the pool to go on in, where what has begun never waits behind what has not.
    Raises PoolFull where nothing of it was run. Cancelled, the coroutine ends before this does: by the CancelledError
    where it waits for something, after its step where a thread is at it, and not at all where none has begun.
    """
    steps = _Steps(coroutine)
    step: Callable[[Any], None] = steps.send
    given: Any = None
    try:
        while True:
            try:
                await pool.run(context, step, given, abort=abort)
            except asyncio.CancelledError as exc:
                if not steps.started:
                    coroutine.close()
                if steps.done or not steps.started:
                    raise
                if hasattr(steps.result, 'close'):
                    steps.result.close()
                step, given = steps.throw, exc
                continue
            except PoolFull:
                coroutine.close()
                raise
            if steps.done:
                return steps.result
            try:
                step, given = steps.send, await run_in(context, _await(steps.result))
            except BaseException as exc:
                step, given = steps.throw, mend_cancellation(exc)
            if later is not None:
                pool = later()
    finally:
        given = None  # an exception leads back here


@types.coroutine
def run_in(context: Context, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await a coroutine in a context, which is in use by nobody else meanwhile."""
    step: Any = coroutine.send
    given: Any = None
    while True:
        try:
            wanted = context.run(step, given)
        except StopIteration as end:
            return end.value
        try:
            step, given = coroutine.send, (yield wanted)
        except BaseException as exc:
            step, given = coroutine.throw, exc


def mend_cancellation(exc: BaseException) -> BaseException:
    """Give `exc`, or a RuntimeError in its place where it is a CancelledError and the running task is not cancelled.

    Then it comes from something else that was awaited, and is an error like any other. Before Python 3.11 a task
    does not tell, and each counts as its own.
    """
    if isinstance(exc, asyncio.CancelledError) and sys.version_info >= (3, 11):
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return exc  # in a thread: the driver has looked
        if task is not None and not task.cancelling():
            mended = RuntimeError('What was awaited has been cancelled, though the request has not.')
            mended.__cause__ = exc
            return mended
    return exc


async def offload(pool: WorkerPool, call: Callable[[], Any]) -> Any:
    """Call a plain callable in the pool; what it sets in context variables is set here afterwards.

    Raises Overloaded where the pool does not take it.
    """
    context = copy_context()
    exchange: Any = exchange_var.get()
    abort = None
    if exchange is not None:
        # The call may read the body, which then has to come from this loop.
        exchange.head.reader().loop = asyncio.get_running_loop()
        abort = getattr(exchange.head, 'abort', None)
    try:
        return await pool.run(context, call, abort=abort)
    except PoolFull as exc:
        raise Overloaded(str(exc)) from None
    finally:
        take_over(context)


def take_over(context: Context) -> None:
    """Set here what has been set in `context`."""
    for variable, value in context.items():
        if variable.get(None) is not value:
            variable.set(value)


_END = object()


def next_chunk(iterator: Iterator[Any]) -> Any:
    """Give the next item, or END_OF_CHUNKS: StopIteration cannot cross."""
    return next(iterator, _END)


END_OF_CHUNKS = _END


# -- async plans under WSGI


class _Waiting:
    """A thread that waits for a coroutine on a loop, and does meanwhile what would block that loop."""

    __slots__ = ('_jobs', '_loop')

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[Any] = SimpleQueue()

    def is_here(self) -> bool:
        """Say whether the caller runs on that loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def start(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Let the thread call something; give the loop's future of its result."""
        future = self._loop.create_future()
        self._jobs.put((future, call, args))
        return future

    def end(self) -> None:
        self._jobs.put(None)

    def work(self, timeout: float | None = None) -> bool:
        """In the thread: do what is asked for, until the end; False after `timeout` seconds without a sign."""
        try:
            while (job := self._jobs.get(timeout=timeout)) is not None:
                future, call, args = job
                try:
                    ok, result = True, call(*args)
                except Exception as exc:
                    ok, result = False, exc
                self._loop.call_soon_threadsafe(_settle, future, ok, result)
                job = future = result = None
        except Empty:
            return False
        return True


def _settle(future: asyncio.Future[Any], ok: bool, result: Any) -> None:
    if future.done():
        return
    if ok:
        future.set_result(result)
    else:
        future.set_exception(result)


class LoopThread:
    """An event loop in a daemon thread, for async code called from threads; one per process, by `get()`."""

    _current: LoopThread | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.pid = os.getpid()
        # Made in no request's context: the loop keeps the one it is made in, and with it the request, for ever.
        context = Context()
        self.loop = context.run(asyncio.new_event_loop)
        self.thread = threading.Thread(target=self._run, name='cpadapter-loop', daemon=True)
        context.run(self.thread.start)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    @classmethod
    def get(cls) -> LoopThread:
        """Give this process's loop thread, made now if there is none (or if it was the parent's, before a fork)."""
        current = cls._current
        if current is None or current.pid != os.getpid():
            with cls._lock:
                current = cls._current
                if current is None or current.pid != os.getpid():
                    current = cls._current = LoopThread()
        return current

    @classmethod
    def close(cls, timeout: float = 5) -> None:
        """Stop this process's loop thread, if it has one, and close its loop; its tasks are cancelled.

        timeout: seconds that they have to end then. Called from the loop itself, it stops when the others have ended.
        """
        # Without the lock: the end of a process waits for nobody who may hold it.
        current, cls._current = cls._current, None
        if current is None or current.pid != os.getpid():
            return
        loop = current.loop
        if threading.current_thread() is current.thread:
            # Whoever calls this is one of the tasks, and a thread waits for its result.
            ending = loop.create_task(current._end_after(timeout))
            _tasks.add(ending)
            return
        ended = asyncio.run_coroutine_threadsafe(current._cancel_all(timeout), loop)
        try:
            ended.result(timeout=timeout + 1)
        except Exception:
            ended.cancel()  # something blocks the loop: the thread is a daemon, and goes with the process
        loop.call_soon_threadsafe(loop.stop)
        current.thread.join(timeout=timeout)

    async def _cancel_all(self, timeout: float) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        await asyncio.get_running_loop().shutdown_asyncgens()

    async def _end_after(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while len(asyncio.all_tasks()) > 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        try:
            await self._cancel_all(1)
        finally:
            _tasks.clear()
            self.loop.stop()

    def call(
        self,
        coroutine: Coroutine[Any, Any, Any],
        context: Context | None = None,
        head: Any = None,
        gone: Callable[[], bool] | None = None,
    ) -> Any:
        """Run a coroutine on the loop, in `context` or a copy of the caller's, and wait for its result.

        head: of the request whose body the coroutine may read; its reader has the waiting thread read.
        gone: asked by the waiting thread now and then; once it says True the coroutine is cancelled.
        RuntimeError if called from the loop itself, which could only wait for ever.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            coroutine.close()
            raise RuntimeError(
                'An async page handler was called over WSGI from the event loop that would have to run it: '
                'call the application from a thread, or over ASGI.'
            )
        if context is None:
            context = copy_context()
        waiting = _Waiting(self.loop)
        outcome: list[Any] = []
        started: list[asyncio.Task[None]] = []

        async def run() -> None:
            try:
                outcome.extend((True, await coroutine))
            except BaseException as exc:
                outcome.extend((False, mend_cancellation(exc)))
            finally:
                if sys.version_info < (3, 11):
                    _carry_over(context)
                waiting.end()

        def start() -> None:
            if sys.version_info >= (3, 11):
                task = self.loop.create_task(run(), context=context)
            else:
                task = context.run(self.loop.create_task, run())
            started.append(task)
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

        if head is not None:
            head.lend(waiting)
        self.loop.call_soon_threadsafe(start)
        try:
            if gone is not None:
                while not waiting.work(LOOK_AGAIN):
                    if gone():
                        self.loop.call_soon_threadsafe(lambda: started[0].cancel())
                        waiting.work()
                        break
            else:
                waiting.work()
        except BaseException:
            # A signal's: what follows must not run beside the task.
            self.loop.call_soon_threadsafe(lambda: started[0].cancel())
            waiting.work(CANCEL_TIMEOUT)
            raise
        finally:
            if head is not None:
                head.lend(None)
        ok, result = outcome
        if not ok:
            try:
                raise result
            finally:
                del result, outcome
        return result


def _after_fork() -> None:
    """Forget, in a child, the pools and the loop whose threads stayed in the parent, and locks they may have held."""
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()
    LoopThread._lock = threading.Lock()
    LoopThread._current = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)


# Seconds between two looks of a thread that waits for a body's next chunk for its client's leaving.
LOOK_AGAIN = 0.5

# Seconds that a cancelled task has to come to its end, where a signal ends the thread that waits for it.
CANCEL_TIMEOUT = 5

# A loop holds its tasks weakly.
_tasks: set[asyncio.Task[None]] = set()


def _carry_over(context: Context) -> None:
    """Set in `context` what the running task has set: before Python 3.11 a task only works on a copy."""
    for variable, value in copy_context().items():
        if context.get(variable, _END) is not value:
            context.run(variable.set, value)


def run_on_loop(exchange: Any, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run an async exchange's coroutine on the loop thread while the calling thread waits."""
    exchange.on_loop = True
    context = exchange.context
    if context is None:
        context = exchange.context = copy_context()
    return LoopThread.get().call(coroutine, context, exchange.head)


async def _await(awaitable: Any) -> Any:
    return await awaitable


def await_on_loop(awaitable: Any, loop: asyncio.AbstractEventLoop | None = None) -> Any:
    """Await something while the calling thread waits, in the context variables of both.

    loop: one that runs in another thread; None is the loop thread's.
    """
    exchange = exchange_var.get()
    context = copy_context()

    async def awaited() -> Any:
        try:
            return await awaitable
        finally:
            _carry_over(context)

    try:
        if loop is not None:
            return asyncio.run_coroutine_threadsafe(awaited(), loop).result()
        return LoopThread.get().call(_await(awaitable), context, None if exchange is None else exchange.head)
    finally:
        take_over(context)


def sync_chunks(exchange: Any) -> Iterator[bytes]:
    """Give the chunks of a body to a thread: those of an async iterator are fetched from the loop one by one."""
    body = exchange.body
    if not hasattr(body, '__aiter__') or hasattr(body, '__iter__'):
        return iter(body)
    if exchange.context is None:
        exchange.context = copy_context()
    return _fetch_chunks(body, exchange, exchange.context)


def _fetch_chunks(body: Any, exchange: Any, context: Context) -> Iterator[bytes]:
    head = exchange.head
    loop = LoopThread.get()
    iterator = body.__aiter__()

    async def fetch() -> Any:
        try:
            return await iterator.__anext__()
        except StopAsyncIteration:
            return _END

    def gone() -> bool:
        exchange.disconnected = head.is_disconnected()
        return bool(exchange.disconnected)

    while True:
        try:
            chunk = loop.call(fetch(), context, head, gone)
        except asyncio.CancelledError:
            if not exchange.disconnected:
                raise
            # Servers are quiet about the number of this error.
            raise ClientDisconnected(EPIPE, 'The client has left while the body was waited for.') from None
        if chunk is _END:
            return
        yield chunk
