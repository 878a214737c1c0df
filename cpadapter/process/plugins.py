"""Plugins: objects that follow a bus by having methods named like its channels.

They know the bus and the operating system, no request and no server. Where a host owns the process, those that would
change the process (signals, daemon, pid file, privileges, reloading) leave it alone and say which of the host's own
options does the same.
"""

from __future__ import annotations

import os
import signal as _signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.engine import StartRefused, find_host

if TYPE_CHECKING:
    from ..core.engine import Engine

__all__ = [
    'Autoreloader',
    'BackgroundTask',
    'Daemonizer',
    'DropPrivileges',
    'Monitor',
    'PIDFile',
    'PerpetualTimer',
    'SignalHandler',
    'SimplePlugin',
    'ThreadManager',
    'equip',
]

# What does the same where a server owns the process. A server that is not listed has no such option.
HOST_OPTIONS = {
    'Daemonizer': {'gunicorn': '--daemon', 'hypercorn': '--daemon'},
    'PIDFile': {'gunicorn': '--pid', 'hypercorn': '--pid', 'granian': '--pid-file'},
    'DropPrivileges': {'gunicorn': '--user --group --umask', 'hypercorn': '--user --group --umask'},
    'Autoreloader': {
        'gunicorn': '--reload --reload-extra-file',
        'uvicorn': '--reload',
        'hypercorn': '--reload',
        'granian': '--reload',
    },
}


def describe_host_option(feature: str) -> str:
    """Say in one line that the host does what `feature` did, and by which option."""
    known = HOST_OPTIONS[feature]
    host = find_host()
    if host in known:
        return f'{feature} does nothing here: {host} owns the process, use its option {known[host]}.'
    choices = ', '.join(f'{name} {option}' for name, option in known.items())
    if host is not None:
        return f'{feature} does nothing here: {host} owns the process and has no option for it ({choices} do).'
    return f'{feature} does nothing here: the server owns the process, use its own option ({choices}).'


class SimplePlugin:
    """Follow the bus on every channel this object has a method for.

    subscribe() and unsubscribe() consider the channels that exist when they are called.
    """

    bus: Engine

    def __init__(self, bus: Engine) -> None:
        self.bus = bus

    def _methods(self) -> Iterable[tuple[str, Callable[..., Any]]]:
        for channel in list(self.bus.listeners):
            method = getattr(self, channel, None)
            if callable(method):
                yield channel, method

    def subscribe(self) -> None:
        for channel, method in self._methods():
            self.bus.subscribe(channel, method)

    def unsubscribe(self) -> None:
        for channel, method in self._methods():
            self.bus.unsubscribe(channel, method)


# COMPAT: a plain class has no attribute of that name, and code asks for SimplePlugin.bus.
SimplePlugin.bus = None  # type: ignore[assignment]


class SignalHandler:
    """Turn the signals of the operating system into channels of the bus.

    handlers: what is subscribed to which signal's channel; change it before subscribe().
    The operating system is asked for a signal only in a process of our own, from the engine's start on; in a hosted
    process only the channels exist, since a replaced SIGTERM handler breaks the host's shutdown.
    """

    handlers: dict[str, Callable[..., Any]]
    signals: ClassVar[dict[int, str]] = {number: number.name for number in _signal.Signals}

    def __init__(self, bus: Engine) -> None:
        self.bus = bus
        self.handlers = {
            'SIGTERM': bus.exit,
            'SIGHUP': self.handle_SIGHUP,
            'SIGUSR1': bus.graceful,
        }
        self._previous: dict[int, Any] = {}
        self._wanted: list[int] = []
        self._pid = os.getpid()

    def subscribe(self, *, force: bool = False) -> None:
        """Subscribe `handlers`; with `force`, take the signals themselves even if the process is hosted."""
        for name, listener in self.handlers.items():
            if hasattr(_signal, name):  # not every system has SIGHUP
                self.set_handler(name, listener, force=force)
        self.bus.subscribe('start', self._start, 5)

    def unsubscribe(self) -> None:
        """Give the signals back to whoever had them."""
        self.bus.unsubscribe('start', self._start)
        for name, listener in self.handlers.items():
            self.bus.unsubscribe(name, listener)
        for number in list(self._previous):
            self._restore(number)
        self._wanted.clear()

    def set_handler(
        self, signal: int | str, listener: Callable[..., Any] | None = None, *, force: bool = False
    ) -> None:
        """Publish on the channel named like `signal` when it comes; subscribe `listener` there if given.

        signal: a name or a number; ValueError if this system has none such.
        """
        if isinstance(signal, str):
            number = getattr(_signal, signal, None)
            if not signal.startswith('SIG') or number is None:
                raise ValueError(f'No such signal: {signal!r}')
        else:
            number = signal
            if number not in self.signals:
                raise ValueError(f'No such signal: {signal!r}')
        name = self.signals[number]
        if listener is not None:
            self.bus.subscribe(name, listener)
        elif name not in self.bus.listeners:
            self.bus.listeners[name] = ()
        if number not in self._wanted:
            self._wanted.append(number)
        if force or not self.bus.hosted:
            self._install(number)

    def ignore(self, signal: str) -> None:
        """Drop one signal: its handler, its channel's listener, and the hold on the signal itself."""
        listener = self.handlers.pop(signal, None)
        if listener is not None:
            self.bus.unsubscribe(signal, listener)
        number = getattr(_signal, signal, None)
        if number in self._wanted:
            self._wanted.remove(number)
        if number in self._previous:
            self._restore(number)

    def _start(self) -> None:
        if self.bus.hosted:
            host = find_host() or 'the server'
            self.bus.log(f'Signals are left to {host}, which owns this process.')
            return
        for number in self._wanted:
            self._install(number)

    def _install(self, number: int) -> None:
        if number in self._previous:
            return
        name = self.signals[number]
        if threading.current_thread() is not threading.main_thread():
            self.bus.log(f'Cannot listen for {name}: signals can only be set in the main thread.', level=30)
            return
        self._previous[number] = _signal.signal(number, self._handle_signal)
        self.bus.log(f'Listening for {name}.')

    def _restore(self, number: int) -> None:
        previous = self._previous.pop(number)
        if previous is None:  # installed by something that is not Python
            previous = _signal.SIG_DFL
        name = self.signals[number]
        self.bus.log(f'Restoring {name} handler {previous!r}.')
        try:
            _signal.signal(number, previous)
        except ValueError:
            self.bus.log(f'Unable to restore {name} handler {previous!r}.', level=40, traceback=True)

    def _handle_signal(self, number: int | None = None, frame: Any = None) -> None:
        name = self.signals[number or 0]
        self.bus.log(f'Caught signal {name}.')
        self.bus.publish(name)

    def handle_SIGHUP(self) -> None:
        """Restart a daemon; exit a program whose terminal went away."""
        if self._is_daemonized():
            self.bus.log('SIGHUP: restarting the daemon.')
            self.bus.restart()
        else:
            self.bus.log('SIGHUP: exiting, since this is no daemon.')
            self.bus.exit()

    def _is_daemonized(self) -> bool:
        return self._pid != os.getpid() and not (sys.stdin is not None and sys.stdin.isatty())


class _ProcessPlugin(SimplePlugin):
    """A plugin that would change the process: in a hosted one, subscribe() says what to use instead."""

    def subscribe(self) -> None:
        if find_host() is not None or (self.bus.hosted and self.bus.settled):
            self.bus.log(describe_host_option(type(self).__name__), level=30)
            return
        super().subscribe()

    def _may_act(self) -> bool:
        if self.bus.hosted:
            self.bus.log(describe_host_option(type(self).__name__), level=30)
        return not self.bus.hosted


class DropPrivileges(_ProcessPlugin):
    """Give up user, group and umask once the engine has started.

    uid, gid: names or numbers; None leaves them.
    """

    def __init__(
        self, bus: Engine, umask: int | None = None, uid: int | str | None = None, gid: int | str | None = None
    ) -> None:
        super().__init__(bus)
        self.umask = umask
        self.uid = uid
        self.gid = gid
        self.finalized = False

    @property
    def uid(self) -> int | None:
        return self._uid

    @uid.setter
    def uid(self, value: int | str | None) -> None:
        if isinstance(value, str):
            import pwd

            value = pwd.getpwnam(value).pw_uid
        self._uid = value

    @property
    def gid(self) -> int | None:
        return self._gid

    @gid.setter
    def gid(self, value: int | str | None) -> None:
        if isinstance(value, str):
            import grp

            value = grp.getgrnam(value).gr_gid
        self._gid = value

    @property
    def umask(self) -> int | None:
        return self._umask

    @umask.setter
    def umask(self, value: int | None) -> None:
        self._umask = value

    def start(self) -> None:
        """Do it, once; StartRefused where it cannot be done: serving on with all privileges would be worse."""
        if not self._may_act() or self.finalized or self.uid is self.gid is self.umask is None:
            return
        if not (self.uid is self.gid is None):
            self._change_owner()
        if self.umask is not None:
            old = os.umask(self.umask)
            self.bus.log(f'umask old: {old:03o}, new: {self.umask:03o}')
        self.finalized = True

    def _change_owner(self) -> None:
        if not hasattr(os, 'setuid'):
            raise StartRefused('DropPrivileges: this system has no users and groups to change to; leave uid and gid.')
        self.bus.log(f'Started as uid: {os.getuid()} gid: {os.getgid()}')
        try:
            # The groups first: without the user's rights they could not be left any more.
            if os.geteuid() == 0:
                os.setgroups([])
            if self.gid is not None:
                os.setgid(self.gid)
            if self.uid is not None:
                os.setuid(self.uid)
        except PermissionError:
            raise StartRefused(
                f'DropPrivileges: not permitted to become uid {self.uid}, gid {self.gid}. '
                'Start as root, or as the user it shall run as, with uid and gid left out.'
            ) from None
        self.bus.log(f'Running as uid: {os.getuid()} gid: {os.getgid()}')

    start.priority = 77  # type: ignore[attr-defined]


class Daemonizer(_ProcessPlugin):
    """Send the process to the background, as its own session without a terminal.

    stdin, stdout, stderr: files these are redirected to. The umask and the current folder stay as they are.
    """

    def __init__(
        self, bus: Engine, stdin: str = '/dev/null', stdout: str = '/dev/null', stderr: str = '/dev/null'
    ) -> None:
        super().__init__(bus)
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.finalized = False

    def start(self) -> None:
        """Do it, once: a restarted engine is in the background already."""
        if self.finalized:
            self.bus.log('Already in the background.')
            return
        if not self._may_act():
            return
        if threading.active_count() > 1:
            names = ', '.join(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
            self.bus.log(f'Threads that run already do not come along to the background: {names}.', level=30)
        self.daemonize(self.stdin, self.stdout, self.stderr, self.bus.log)
        self.finalized = True

    start.priority = 65  # type: ignore[attr-defined]

    @staticmethod
    def daemonize(
        stdin: str = '/dev/null',
        stdout: str = '/dev/null',
        stderr: str = '/dev/null',
        logger: Callable[[str], object] = lambda msg: None,
    ) -> None:
        """Go on in a child of a child of this process, in a session of its own; this process exits with 0.

        StartRefused if one of the files cannot be opened, or python-daemon is not installed.
        """
        try:
            from daemon.daemon import detach_process_context  # type: ignore[import-untyped]
        except ImportError as exc:
            raise StartRefused(
                f'python-daemon is not installed ({exc}): pip install "cpadapter[daemon]", '
                'or let a service manager run it in the background.'
            ) from exc
        opened = []
        try:
            for name, flags in (
                (stdin, os.O_RDONLY),
                (stdout, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
                (stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
            ):
                opened.append(os.open(name, flags, 0o666))
        except OSError as exc:
            raise StartRefused(f'Daemonizer cannot open {exc.filename}: {exc.strerror}.') from None
        # What is buffered would be written once by each process.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        detach_process_context()
        for number, source in enumerate(opened):
            os.dup2(source, number)
            if source > 2:
                os.close(source)
        logger(f'Daemonized to PID: {os.getpid()}')


class PIDFile(_ProcessPlugin):
    """Write the process id into a file while the engine runs."""

    def __init__(self, bus: Engine, pidfile: str | os.PathLike[str]) -> None:
        super().__init__(bus)
        self.pidfile = pidfile
        self.finalized = False

    def start(self) -> None:
        if self.finalized:
            self.bus.log(f'PID {os.getpid()} already written to {os.fspath(self.pidfile)}.')
        elif self._may_act():
            with open(self.pidfile, 'w', encoding='ascii') as file:
                file.write(f'{os.getpid()}\n')
            self.bus.log(f'PID {os.getpid()} written to {os.fspath(self.pidfile)}.')
            self.finalized = True

    start.priority = 70  # type: ignore[attr-defined]

    def exit(self) -> None:
        if not self.finalized:
            return
        try:
            os.remove(self.pidfile)
        except OSError as exc:
            self.bus.log(f'PID file {os.fspath(self.pidfile)} is left behind: {exc.strerror}.', level=30)
        else:
            self.bus.log(f'PID file removed: {os.fspath(self.pidfile)}.')
        self.finalized = False


class PerpetualTimer(threading.Timer):
    """A threading.Timer that calls its function again and again, until cancelled or until the function raises."""

    def __init__(self, *args: Any, bus: Engine | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bus = bus

    def run(self) -> None:
        while not self.finished.wait(self.interval):
            try:
                self.function(*self.args, **self.kwargs)
            except Exception:
                if self.bus is None:
                    raise
                self.bus.log(f'Error in perpetual timer thread function {self.function!r}.', level=40, traceback=True)
                return


class BackgroundTask(threading.Thread):
    """A daemon thread that sleeps `interval` seconds, calls `function`, and so on, until cancelled.

    It ends when the function raises, which is logged if there is a bus.
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        bus: Engine | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.interval = interval
        self.function = function
        self.args = args
        self.kwargs = kwargs or {}
        self.bus = bus
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End the thread at its next wake-up, which is now if it sleeps."""
        self._cancelled.set()

    def run(self) -> None:
        while not self._cancelled.wait(self.interval):
            try:
                self.function(*self.args, **self.kwargs)
            except Exception:
                if self.bus is None:
                    raise
                self.bus.log(f'Error in background task thread function {self.function!r}.', level=40, traceback=True)
                return


class Monitor(SimplePlugin):
    """Call `callback` every `frequency` seconds, in a thread, while the engine runs; never if frequency <= 0.

    name: of the thread; default: the class's name.
    """

    callback: Callable[[], Any] | None = None
    frequency: float = 60
    thread: BackgroundTask | None = None

    def __init__(
        self, bus: Engine, callback: Callable[[], Any], frequency: float = 60, name: str | None = None
    ) -> None:
        super().__init__(bus)
        self.callback = callback
        self.frequency = frequency
        self.thread = None
        self.name = name

    @property
    def _thread_name(self) -> str:
        return self.name or type(self).__name__

    def start(self) -> None:
        if self.frequency <= 0 or self.callback is None:
            return
        # After a fork the thread object is there and its thread is not.
        if self.thread is not None and self.thread.is_alive():
            self.bus.log(f'Monitor thread {self._thread_name!r} already started.')
            return
        self.thread = BackgroundTask(self.frequency, self.callback, bus=self.bus)
        self.thread.name = self._thread_name
        self.thread.start()
        self.bus.log(f'Started monitor thread {self._thread_name!r}.')

    start.priority = 70  # type: ignore[attr-defined]

    def stop(self) -> None:
        if self.thread is None:
            self.bus.log(f'No thread running for {self._thread_name}.')
            return
        self.thread.cancel()
        self.bus.log(f'Stopped thread {self._thread_name!r}.')
        self.thread = None

    def graceful(self) -> None:
        """Renew the thread."""
        self.stop()
        self.start()


class Autoreloader(Monitor):
    """Collect the files whose change calls for a restart.

    files: further files to watch, such as config files; pass them to the server's own reloader.
    match: only modules whose name matches this regular expression are watched.
    In a hosted process no thread runs and nothing restarts.
    """

    files: set[str]
    frequency: float = 1
    match: str = '.*'

    def __init__(self, bus: Engine, frequency: float = 1, match: str = '.*') -> None:
        super().__init__(bus, self.run, frequency)
        self.files = set()
        self.match = match

    def sysfiles(self) -> set[str]:
        """Give the files of the loaded modules that match."""
        import re

        wanted = re.compile(self.match)
        found = set()
        for name, module in list(sys.modules.items()):
            if wanted.match(name):
                loader = getattr(module, '__loader__', None)
                file = getattr(loader, 'archive', None) or getattr(module, '__file__', None)
                if file:
                    found.add(os.path.abspath(file))
        return found

    def start(self) -> None:
        """Start nothing: whoever runs the process reloads it."""

    start.priority = 70  # type: ignore[attr-defined]

    def stop(self) -> None:
        if self.thread is not None:
            super().stop()

    def graceful(self) -> None:
        """Nothing to renew."""

    def run(self) -> None:
        """Say once who reloads."""
        self.bus.log(describe_host_option('Autoreloader'), level=30)


# COMPAT: the class shows the attribute; each instance has its own set.
Autoreloader.files = None  # type: ignore[assignment]


class ThreadManager(SimplePlugin):
    """Number the threads that serve requests, for listeners that set up and tear down something per thread.

    The first request of a thread publishes `start_thread` with its index, 1 and up, no index twice between two
    stops; `release_thread`, `stop` and `graceful` publish `stop_thread` with it.
    """

    threads: dict[int, int]

    def __init__(self, bus: Engine) -> None:
        super().__init__(bus)
        self.threads = {}
        self._last = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def acquire_thread(self) -> None:
        ident = threading.get_ident()
        if ident in self.threads:
            return
        with self._lock:
            self._last += 1
            index = self.threads[ident] = self._last
        self.bus.publish('start_thread', index)

    # Without these listeners a request need not pass through here (see Engine.listens).
    acquire_thread.serves = ('start_thread', 'stop_thread')  # type: ignore[attr-defined]

    def release_thread(self) -> None:
        index = self.threads.pop(threading.get_ident(), None)
        if index is not None:
            self.bus.publish('stop_thread', index)

    def start(self) -> None:
        if self._pid != os.getpid():  # the threads known so far stayed in the parent
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._last = 0
            self.threads.clear()

    def stop(self) -> None:
        with self._lock:
            indexes = list(self.threads.values())
            self.threads.clear()
            self._last = 0
        for index in indexes:
            self.bus.publish('stop_thread', index)

    graceful = stop


# COMPAT: the class shows the attribute; each instance has its own dict.
ThreadManager.threads = None  # type: ignore[assignment]


def equip(engine: Engine) -> None:
    """Give an engine the plugins CherryPy's has: `signal_handler` (also `signals`), `autoreload`, `thread_manager`.

    Only the thread manager is subscribed, which neither logs nor starts anything.
    """
    engine.signal_handler = engine.signals = SignalHandler(engine)
    engine.autoreload = Autoreloader(engine)
    engine.thread_manager = ThreadManager(engine)
    engine.thread_manager.subscribe()
