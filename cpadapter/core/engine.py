"""Engine: states, channels, start and stop, once per process.

It does not know what its listeners do: no signal, no server and no plugin is named here. The only threads it makes
are the ones its own API promises: `start_with_callback`, and the ticker behind the channel `main` when no program
stands in `block()`. Whether this process is ours or belongs to a host (gunicorn, uvicorn, a framework's runner) is
decided here, because starting, stopping and exiting mean different things in the two cases.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback as _traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload
from weakref import WeakSet

from ..changes import changed
from ..context import on_a_loop
from ..extension.hooks import is_async_callable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ['CHANNELS', 'ChannelFailures', 'Engine', 'StartRefused', 'State', 'find_host', 'states']

Listener = TypeVar('Listener', bound=Callable[..., Any])

CHANNELS = (
    'start',
    'stop',
    'exit',
    'graceful',
    'log',
    'main',
    'before_request',
    'after_request',
    'acquire_thread',
    'start_thread',
    'release_thread',
    'stop_thread',
)

DEFAULT_PRIORITY = 50
EX_SOFTWARE = 70


class State:
    """One state of an engine; prints as `states.NAME`."""

    __slots__ = ('name',)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f'states.{self.name}'


class States:
    """The five states of an engine, reachable as `engine.states.STARTED` and so on."""

    STOPPED = State('STOPPED')
    STARTING = State('STARTING')
    STARTED = State('STARTED')
    STOPPING = State('STOPPING')
    EXITING = State('EXITING')


states = States()


class ChannelFailures(Exception):
    """What the listeners of one publication raised; true if anything was."""

    delimiter: ClassVar[str] = '\n'

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._exceptions: list[BaseException] = []

    def handle_exception(self) -> None:
        """Add the exception being handled."""
        exc = sys.exc_info()[1]
        if exc is not None:
            self._exceptions.append(exc)

    def get_instances(self) -> list[BaseException]:
        """Give a copy of the list of exceptions, in the order they came."""
        return list(self._exceptions)

    def __str__(self) -> str:
        return self.delimiter.join(map(repr, self._exceptions))

    __repr__ = __str__

    def __bool__(self) -> bool:
        return bool(self._exceptions)


class StartRefused(Exception):
    """A start listener's plain refusal: the message says it all, so it is logged as one line, with no traceback."""


# Program names that mean "this process belongs to a server": sys.argv[0] without directory and .py or .exe.
HOST_PROGRAMS = {
    'gunicorn': 'gunicorn',
    'uvicorn': 'uvicorn',
    'hypercorn': 'hypercorn',
    'granian': 'granian',
    'daphne': 'daphne',
    'waitress-serve': 'waitress',
    'waitress': 'waitress',
    'cheroot': 'cheroot',
    'uwsgi': 'uwsgi',
    'mod_wsgi': 'mod_wsgi',
    'mod_wsgi-express': 'mod_wsgi',
    'fastapi': 'fastapi',
    'flask': 'flask',
    'django-admin': 'django',
    'manage': 'django',
}


def find_host() -> str | None:
    """Name the server or runner that owns this process; None if no known one does.

    It reads the program's name, so it also holds in the worker processes a server spawns, and the marks that
    servers which embed Python leave behind.
    """
    for module, name in (('uwsgi', 'uwsgi'), ('mod_wsgi', 'mod_wsgi')):
        if module in sys.modules:
            return name
    software = os.environ.get('SERVER_SOFTWARE', '').partition('/')[0]
    if software == 'gunicorn' and 'gunicorn.arbiter' in sys.modules:
        return software
    argv = getattr(sys, 'argv', None) or ['']
    directory, program = os.path.split(argv[0])
    program = os.path.splitext(program)[0] if program.endswith(('.py', '.exe', '.pyw')) else program
    if program == '__main__':  # python -m uvicorn
        program = os.path.basename(directory)
    if program == 'manage' and 'django' not in sys.modules:
        return None
    return HOST_PROGRAMS.get(program)


class Engine:
    """Channels with listeners, and five states that publish on them.

    `subscribe` puts a callable on a channel, `publish` calls what is there. `start`, `stop`, `exit`, `restart` and
    `graceful` publish on the channels of those names.

    hosted: True while another program owns the process. There, `block` returns at once, `restart` only warns and
    `exit` publishes without touching the process. A program that calls `start()` and is no known server's own
    (`find_host`) takes ownership.
    settled: True when nothing is left to start lazily in this process; gateways test it before `ensure_started()`.
    shared: what `start` listeners leave for pages, such as clients and pools: it is in each request's `request.state`,
        and in scope['state'] of an ASGI lifespan that starts the engine.
    awaiter: awaits what async listeners give, on the event loop that serves; None stands for the process's loop thread.
    on_own: called once, when the engine takes ownership of the process (a Site turns on screen logging there).
    """

    states = states
    execv = False
    # COMPAT: kept so it can be set. Descriptors have not been inheritable by default since PEP 446.
    max_cloexec_files: ClassVar[int] = 20000

    listeners: dict[str, tuple[Callable[..., Any], ...]]
    state: State
    # Set by process.plugins.equip(); declared here for those who write `engine.autoreload.unsubscribe()`.
    autoreload: Any
    signal_handler: Any
    signals: Any
    thread_manager: Any

    def __init__(self) -> None:
        self.listeners = dict.fromkeys(CHANNELS, ())
        self._priorities: dict[tuple[str, Callable[..., Any]], int] = {}
        self._registration = threading.Lock()
        self.state = states.STOPPED
        self.settled = False
        self.on_own: Callable[[], None] | None = None
        self.shared: dict[str, Any] = {}
        self.awaiter: Callable[[Any], Any] | None = None
        # In a process of our own: async listeners of a channel that a server's lifespan calls on its loop.
        self._held: dict[str, tuple[Callable[..., Any], ...]] = {}
        # None: not decided yet, which counts as hosted.
        self._hosted: bool | None = None
        self._lock = threading.RLock()
        self._pid = 0
        self._stopped = False
        self._exiting = False
        self._exit_failed = False
        self._ticker: threading.Thread | None = None

    # ------------------------------------------------------------------ channels

    @overload
    def subscribe(self, channel: str, callback: Listener, priority: int | None = None) -> Listener: ...
    @overload
    def subscribe(
        self, channel: str, callback: None = None, priority: int | None = None
    ) -> Callable[[Listener], Listener]: ...
    def subscribe(self, channel: str, callback: Any = None, priority: int | None = None) -> Any:
        """Put `callback` on `channel`, which is made if it is new; without a callback, give a decorator.

        priority: lower runs earlier; equals run in the order of subscription. Default: the callback's own
        `priority` attribute, else 50. Subscribing the same callable again only changes its priority.
        """
        if callback is None:
            return lambda callback: self.subscribe(channel, callback, priority)
        if priority is None:
            priority = getattr(callback, 'priority', DEFAULT_PRIORITY)
        with self._registration:
            self._priorities[channel, callback] = priority
            found = list(self.listeners.get(channel, ()))
            if callback not in found:
                found.append(callback)
            found.sort(key=lambda listener: self._priorities.get((channel, listener), DEFAULT_PRIORITY))
            self.listeners[channel] = tuple(found)
        changed()
        if channel == 'main' and self.state is states.STARTED and self.hosted:
            self._start_ticker()
        return callback

    def unsubscribe(self, channel: str, callback: Callable[..., Any]) -> None:
        """Take `callback` off `channel`; one that is not there is ignored."""
        with self._registration:
            found = self.listeners.get(channel, ())
            if callback not in found:
                return
            self.listeners[channel] = tuple(listener for listener in found if listener != callback)
            self._priorities.pop((channel, callback), None)
        changed()

    def publish(self, channel: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Call the listeners of `channel` by ascending priority; give the list of their results.

        An async listener is awaited (`wait_for`) before the next one is called.
        A listener that raises is logged and the others still run; then ChannelFailures is raised.
        KeyboardInterrupt and SystemExit propagate at once, an exit code of 0 becoming 1 if a listener failed before.
        """
        found = self.listeners.get(channel)
        if not found:
            return []
        return self._call(channel, found, args, kwargs)

    def _call(self, channel: str, found: Iterable[Callable[..., Any]], args: Any, kwargs: Any) -> list[Any]:
        results = []
        failures: ChannelFailures | None = None
        for listener in found:
            try:
                result = listener(*args, **kwargs)
                if result is not None and hasattr(type(result), '__await__'):
                    result = self.wait_for(result)
                results.append(result)
            except SystemExit as exc:
                if failures and exc.code in (0, None):
                    exc.code = 1
                raise
            except Exception as exc:
                failures = failures or ChannelFailures()
                failures.handle_exception()
                # A failing log cannot be told about through the log.
                if channel != 'log' and not isinstance(exc, StartRefused):
                    self.log(f'Error in {channel!r} listener {listener!r}', level=40, traceback=True)
        if failures:
            raise failures
        return results

    def wait_for(self, awaitable: Any) -> Any:
        """Await something while the calling thread waits, and give its result.

        It runs on the event loop of the server that started this engine by its lifespan or its first request, so that
        what is made there serves async pages; under WSGI, where those run, on the process's loop thread.
        RuntimeError if called on that very loop.
        """
        if self.awaiter is not None:
            return self.awaiter(awaitable)
        from ..gateways.bridge import await_on_loop

        return await_on_loop(awaitable)

    def _hold_async(self, channel: str) -> None:
        """Leave async listeners of `start` or `stop` to the lifespan of the server that another one starts or stops.

        It comes from that server's own loop, where async pages run: before the first request when the server starts,
        after the last one when it stops. What is held is skipped by `_publish_unheld`.
        """
        found = self.listeners.get(channel, ())
        for index, listener in enumerate(found):
            has_lifespan = getattr(getattr(listener, '__self__', None), 'has_lifespan', None)
            if has_lifespan is not None and has_lifespan():
                around = found[:index] if channel == 'start' else found[index:]
                self._held[channel] = tuple(one for one in around if is_async_callable(one))
                return

    def release(self, channel: str) -> None:
        """Call what is held of a channel, unless that was done; ChannelFailures is raised as by `publish`."""
        held = self._held.pop(channel, ())
        if held:
            self._call(channel, held, (), {})

    def _publish_unheld(self, channel: str) -> None:
        """Publish `start` or `stop`; what is held comes last if no lifespan has called it meanwhile.

        After a failed start nothing more of it is called; to stop, all are.
        """
        if self._hosted is False:
            self._hold_async(channel)
        held = self._held.get(channel)
        if not held:
            self.publish(channel)
            return
        failures: ChannelFailures | None = None
        try:
            self._call(channel, [one for one in self.listeners[channel] if one not in held], (), {})
        except ChannelFailures as exc:
            if channel == 'start':
                self._held.pop(channel, None)
                raise
            failures = exc
        try:
            self.release(channel)
        except ChannelFailures as exc:
            failures = failures or exc
        if failures is not None:
            raise failures

    def adopt(self, awaiter: Callable[[Any], Any] | None) -> None:
        """Take what awaits on a server's loop, unless there is another one already."""
        if self.awaiter is None:
            self.awaiter = awaiter

    def listens(self, channel: str) -> bool:
        """True if publishing on `channel` would reach anyone.

        A listener with an attribute `serves`, a tuple of channels, counts only while one of those has listeners:
        the thread manager numbers threads for the listeners of `start_thread` and `stop_thread`, for nobody else.
        """
        for listener in self.listeners.get(channel, ()):
            serves = getattr(listener, 'serves', None)
            if serves is None or any(self.listeners.get(served) for served in serves):
                return True
        return False

    def log(self, msg: str = '', level: int = 20, traceback: bool = False) -> None:
        """Publish `msg` on the channel `log`; with `traceback`, the one of the exception being handled follows it."""
        if traceback:
            msg += '\n' + _traceback.format_exc()
        self.publish('log', msg, level)

    # ------------------------------------------------------------------ ownership

    @property
    def hosted(self) -> bool:
        return self._hosted is not False

    @hosted.setter
    def hosted(self, value: bool) -> None:
        taken = self._hosted is not False and not value
        self._hosted = bool(value)
        if taken and self.on_own is not None:
            self.on_own()

    def claim(self) -> bool:
        """Take ownership of the process unless a host has it; True if it is ours, now or already."""
        if self._hosted is None and find_host() is None and not on_a_loop():
            self.hosted = False
        return self._hosted is False

    # ------------------------------------------------------------------ states

    def start(self) -> None:
        """Publish `start` and become STARTED; a program that calls it takes ownership of the process (`claim`).

        If a listener fails, the engine exits again and ChannelFailures is raised. In a process of our own where
        each failure is a StartRefused, the program ends instead: one line per refusal, exit code 1.
        """
        if self.state is states.EXITING and self._hosted:
            self._hosted = None  # an earlier life as a hosted engine decides nothing about this one
        owned = self.claim()
        try:
            with self._lock:
                self._start()
        except ChannelFailures as failures:
            if owned and all(isinstance(exc, StartRefused) for exc in failures.get_instances()):
                raise SystemExit(1) from None
            raise

    @property
    def needs_start(self) -> bool:
        """True while `ensure_started` would have something to do."""
        return not (self.settled or self._hosted is False)

    def ensure_started(self, anew: bool = False) -> None:
        """Start a hosted engine unless it was started in this process already; safe from any thread.

        Gateways call it on lifespan startup, or before the first request where there is no lifespan. It does
        nothing where the program owns the process. What `start` raises is raised, and the next call tries again.
        anew: start also what has exited, as the startup of another lifespan asks for and a late request does not.
        """
        if self._hosted is False or (self.settled and not (anew and self.state is states.EXITING)):
            return
        with self._lock:
            if anew and self.state is states.EXITING:
                self.settled = False
            if self.settled or self.state is states.STARTING or not self.hosted:
                return
            self._hosted = True
            self._start()

    def ensure_exited(self) -> None:
        """End a hosted engine on lifespan shutdown or in a worker's exit hook; nothing where the program owns it."""
        if self._hosted is not False and self._pid == os.getpid():
            self.exit()

    def _start(self) -> None:
        _watch(self)
        self._pid = os.getpid()
        self._stopped = self._exiting = self._exit_failed = False
        self.state = states.STARTING
        self.log('Bus STARTING')
        try:
            self._publish_unheld('start')
        except (KeyboardInterrupt, SystemExit):
            self.exit()
            raise
        except ChannelFailures as failures:
            self._report_refusal(failures)
            try:
                self.exit()
            except ChannelFailures:
                pass  # logged by publish; why it did not start is what the caller must learn
            raise
        self._pid = os.getpid()  # a listener may have forked to become a daemon
        if self.state is not states.STARTING:
            # A listener, or a signal, called exit() meanwhile.
            if not self.hosted:
                raise SystemExit(EX_SOFTWARE)
            return
        self.state = states.STARTED
        self.settled = True
        self.log('Bus STARTED')
        if self.hosted and self.listeners.get('main'):
            self._start_ticker()

    def _report_refusal(self, failures: ChannelFailures) -> None:
        refusals = [exc for exc in failures.get_instances() if isinstance(exc, StartRefused)]
        for exc in refusals:
            self.log(str(exc), level=40)
        if len(refusals) < len(failures.get_instances()):
            self.log('Shutting down due to error in start listener:', level=40, traceback=True)

    def stop(self) -> None:
        """Publish `stop` and become STOPPED, also if a listener fails, which then raises ChannelFailures."""
        self.state = states.STOPPING
        self.log('Bus STOPPING')
        try:
            self._publish_unheld('stop')
        finally:
            self._stopped = True
            self.state = states.STOPPED
            self.log('Bus STOPPED')

    def exit(self) -> None:
        """Stop unless that was done, then publish `exit`; each listener is called once, whatever others raise.

        CherryPy: ends the process with code 70 if a listener fails. Here ChannelFailures is raised after the last
        one; in a process of our own `block()` ends with that code. A second call does nothing.
        """
        if self._exiting:
            return
        self._exiting = True
        failures: ChannelFailures | None = None
        try:
            if not self._stopped:
                try:
                    self.stop()
                except ChannelFailures as exc:
                    failures = exc
            self.state = states.EXITING
            self.log('Bus EXITING')
            try:
                self.publish('exit')
            except ChannelFailures as exc:
                failures = failures or exc
            self.awaiter = None
            self.log('Bus EXITED')
        except (KeyboardInterrupt, SystemExit):
            self._exiting = False  # what was cut short can be finished by another call
            raise
        if failures is not None:
            self._exit_failed = True
            raise failures

    def restart(self) -> None:
        """Exit, and run the program anew when `block()` ends; in a hosted process, only say who can do that."""
        if self.hosted:
            host = find_host() or 'the server that runs this process'
            self.log(f'engine.restart() does nothing here: {host} owns the process, use its own reload.', level=30)
            return
        self.execv = True
        self.exit()

    def graceful(self) -> None:
        """Publish `graceful`: listeners renew what they hold (log files, threads); the state stays."""
        self.log('Bus graceful')
        self.publish('graceful')

    # ------------------------------------------------------------------ waiting

    def block(self, interval: float = 0.1) -> None:
        """Wait until the engine exits, publishing `main` every `interval` seconds; returns at once when hosted.

        Ctrl-C exits the engine. Then the other threads are joined, and a requested restart takes place.
        Raises SystemExit(70) if a `stop` or `exit` listener failed.
        """
        if self.hosted:
            return
        try:
            self.wait(states.EXITING, interval, 'main')
        except (KeyboardInterrupt, OSError):
            self.log('Keyboard Interrupt: shutting down bus')
            self._exit_from_block()
        except SystemExit:
            self.log('SystemExit raised: shutting down bus')
            self._exit_from_block()
            raise
        except ChannelFailures:
            # From a listener of `main`, or from exit() in a signal handler; publish has logged it.
            self._exit_from_block()
            raise SystemExit(EX_SOFTWARE) from None
        self.log('Waiting for child threads to terminate...')
        for thread in threading.enumerate():
            if (
                thread is not threading.current_thread()
                and thread is not threading.main_thread()
                and not thread.daemon
                and not isinstance(thread, threading._DummyThread)
            ):
                thread.join()
        if self.execv:
            self._do_execv()
        if self._exit_failed:
            raise SystemExit(EX_SOFTWARE)

    def _exit_from_block(self) -> None:
        try:
            self.exit()
        except ChannelFailures:
            pass  # logged by publish; block() turns it into the exit code

    def wait(self, state: State | Iterable[State], interval: float = 0.1, channel: str | None = None) -> None:
        """Wait for one state, or any of several, publishing `channel` every `interval` seconds meanwhile."""
        wanted = (state,) if isinstance(state, State) else tuple(state)
        while self.state not in wanted:
            time.sleep(interval)
            if channel is not None:
                self.publish(channel)

    def start_with_callback(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> threading.Thread:
        """Start, and call `func` in a new thread once STARTED; give the thread. `func` is not called if start fails."""

        def call() -> None:
            self.wait((states.STARTED, states.EXITING))
            if self.state is states.STARTED:
                func(*(args or ()), **(kwargs or {}))

        thread = threading.Thread(target=call)
        thread.name = f'Bus Callback {thread.name}'
        if self.state is states.EXITING:
            self.state = states.STOPPED  # the end of an earlier run must not end the wait
        thread.start()
        self.start()
        return thread

    def _do_execv(self) -> None:
        """Replace this process by a new run of the same command line."""
        command = [sys.executable, *sys.orig_argv[1:]]
        self.log(f'Re-spawning {" ".join(command)}')
        os.execv(sys.executable, command)

    def _start_ticker(self) -> None:
        """Publish `main` from a thread: a hosted engine has no block() to do it."""
        with self._lock:
            if self._ticker is None or not self._ticker.is_alive():
                self._ticker = threading.Thread(target=self._tick, name='Bus Ticker', daemon=True)
                self._ticker.start()

    def _tick(self, interval: float = 0.1) -> None:
        while self.state is states.STARTED and self.listeners.get('main'):
            try:
                self.publish('main')
            except ChannelFailures:
                self.log("The channel 'main' stops: a listener failed.", level=40)
                return
            time.sleep(interval)


_watched: WeakSet[Engine] = WeakSet()
_hooks_installed: list[bool] = []
# The child process of multiprocessing in which the finalizer stands; a forked child of that one needs its own.
_finalized_pid = [0]


def _watch(engine: Engine) -> None:
    """See to it that `engine` hears of forks and of the end of the process; hooks are set at the first start only."""
    _watched.add(engine)
    _watch_child_process()
    if not _hooks_installed:
        import atexit

        _hooks_installed.append(True)
        atexit.register(_at_exit)
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=_after_fork)


def _watch_child_process() -> None:
    """Hear of the end of a process that multiprocessing forked: it ends without atexit, but runs finalizers."""
    process = sys.modules.get('multiprocessing.process')
    if process is None or process.parent_process() is None or _finalized_pid[0] == os.getpid():
        return
    from multiprocessing.util import Finalize

    _finalized_pid[0] = os.getpid()
    Finalize(None, _at_child_exit, exitpriority=0)


def _at_child_exit() -> None:
    """Exit the hosted engines; those of a program of our own wait for atexit, or for block() as in any process."""
    for engine in list(_watched):
        if engine._pid == os.getpid() and engine.hosted and engine.state is not states.EXITING:
            try:
                engine.exit()
            except ChannelFailures:
                pass  # logged by publish; the process is ending, nobody is left to catch it


def _after_fork() -> None:
    """Make a started engine startable anew in a child: its threads stayed in the parent."""
    for engine in list(_watched):
        engine._lock = threading.RLock()
        engine._registration = threading.Lock()
        if engine.state is states.STARTED:  # while STARTING, a listener is becoming a daemon: the start goes on
            engine.state = states.STOPPED
            engine.settled = False
            engine._hosted = None
            engine._ticker = None
            engine.awaiter = None
            engine._held.clear()
            changed()  # an application asks for the start only where something has changed since its last request


def _at_exit() -> None:
    """Exit the engines this process started; a program that left its own one running is warned."""
    for engine in list(_watched):
        if engine._pid != os.getpid() or engine.state is states.EXITING:
            continue
        try:
            if not engine.hosted:
                import warnings

                warnings.warn(
                    f'The program ends while its engine is {engine.state!r}. It is shut down now; '
                    'call engine.block() after engine.start(), or engine.exit() before the program ends.',
                    RuntimeWarning,
                    stacklevel=1,
                )
        finally:  # where warnings are errors, this one is told by atexit; the engine exits all the same
            try:
                engine.exit()
            except ChannelFailures:
                pass  # logged by publish; the interpreter is ending, nobody is left to catch it
