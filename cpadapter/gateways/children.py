"""What is grafted: an application that is not ours, the protocol it speaks, and its lifespan beside the engine's.

How one is called is not known here (handover.py), nor how a lifespan is driven (lifespan.py). No event loop is
loaded before an ASGI application is there that needs one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..context import on_a_loop
from ..extension.hooks import is_async_callable

__all__ = ['PROTOCOLS', 'Child', 'Lifespans', 'find_protocol']

# 'both' is an application of this package's own: it is called as the gateway is.
PROTOCOLS = ('wsgi', 'asgi', 'both')

# Seconds that ASGI applications have, when the engine stops, to end what they do after their responses.
TAIL_TIMEOUT = 5


def find_protocol(app: Any) -> str:
    """Say which protocol a callable speaks, 'wsgi' or 'asgi', or 'asgi2' for one called with a scope alone.

    A coroutine function, or what is marked as one (asgiref), is ASGI; for others the number of positional arguments
    it takes tells: two mean WSGI, three ASGI, one ASGI 2. What does not tell counts as WSGI.
    """
    import inspect

    if is_async_callable(app):
        return 'asgi'
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return 'wsgi'  # made in C, say
    least = most = 0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return 'wsgi'
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
    if least <= 2 <= most:
        return 'wsgi'
    if least <= 3 <= most:
        return 'asgi'
    return 'asgi2' if most == 1 else 'wsgi'


class Child:
    """A grafted application.

    protocol: one of PROTOCOLS; None finds it out by looking at the application.
    settled: True when no lifespan is left to start, because it runs or there is none.
    state: what its lifespan's scope['state'] holds, for the scopes of its requests.
    """

    def __init__(self, app: Any, protocol: str | None = None, lifespan: bool = True) -> None:
        if protocol is None:
            protocol = find_protocol(app)
        elif protocol not in PROTOCOLS:
            raise ValueError(f'There is no protocol {protocol!r} for {app!r}: known are wsgi and asgi.')
        self.app = app
        self.call = app
        if protocol == 'asgi2':
            from asgiref.compatibility import double_to_single_callable

            protocol = 'asgi'
            self.call = double_to_single_callable(app)  # type: ignore[no-untyped-call]
        self.protocol = protocol
        self.has_lifespan = lifespan and protocol != 'wsgi'
        self.settled = not self.has_lifespan
        self.lifespan: Any = None
        self.state: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f'<{self.protocol} child {self.app!r}>'


class Lifespans:
    """The lifespans of what is grafted into a site's tree: started after the engine's start, stopped before its stop.

    children: gives them in the order they were mounted in.
    users: how many lifespans and `async with` blocks hold the engine (lifespan.py counts them).
    """

    def __init__(self, engine: Any, children: Callable[[], Iterable[Child]]) -> None:
        self.engine = engine
        self.users = 0
        # Tasks of ASGI children under WSGI that go on after their responses.
        self.tails: set[Any] = set()
        self._children = children
        self._started: list[Child] = []
        self._lock = threading.RLock()
        self._pid = 0
        # After a server of our own has been started at 75, and been stopped at 25: its lifespan does it first.
        engine.subscribe('start', self.start, 100)
        engine.subscribe('stop', self.stop, 30)

    def start(self) -> None:
        """Start those that are not started yet, in order; if one fails, stop what was started and raise its error."""
        self._check_process()
        with self._lock:
            try:
                for child in self._children():
                    self._start(child)
            except BaseException:
                try:
                    self.stop()
                except Exception as exc:
                    # The error of the start is the one to be told.
                    self.engine.log(f'An application that was stopped again failed: {exc}', level=40)
                raise

    def ensure(self, child: Child) -> None:
        """Start one child unless it is; for what was grafted after the start. Safe from any thread."""
        if not child.settled:
            self._check_process()
            with self._lock:
                self._start(child)

    def _start(self, child: Child) -> None:
        if child.settled:
            return
        if child.protocol == 'both':
            engine = child.app.site.engine
            if engine is not self.engine:
                engine.adopt(self.engine.awaiter)
                engine.ensure_started(anew=True)
                self._started.append(child)
        else:
            from .lifespan import ChildLifespan

            child.state = dict(self.engine.shared)
            lifespan = ChildLifespan(child.call, child.state)
            if self.engine.wait_for(lifespan.start()):
                child.lifespan = lifespan
                self._started.append(child)
        child.settled = True

    def stop(self) -> None:
        """Stop what was started, the last first; each is stopped, whatever others raise; then raise the first error."""
        self._check_process()
        failure: Exception | None = None
        if self.tails:
            self._wait_for_tails()
        with self._lock:
            while self._started:
                child = self._started.pop()
                child.settled = False
                lifespan, child.lifespan = child.lifespan, None
                try:
                    if lifespan is None:
                        child.app.site.engine.ensure_exited()
                    elif not lifespan.loop.is_running():
                        self.engine.log(f'{child.app!r} is not told to stop: its event loop has ended.', level=30)
                    else:
                        from .lifespan import LoopAwaiter

                        LoopAwaiter(lifespan.loop)(lifespan.stop())
                except Exception as exc:
                    if failure is not None:
                        self.engine.log(f'Error while stopping: {failure}', level=40)
                    failure = exc
        if failure is not None:
            raise failure

    def _wait_for_tails(self) -> None:
        """Let what goes on after its response come to an end, before its lifespan does."""
        import asyncio

        from .bridge import LoopThread

        tails = {task for task in self.tails if not task.done()}
        if tails and not on_a_loop():
            LoopThread.get().call(asyncio.wait(tails, timeout=TAIL_TIMEOUT))

    def _check_process(self) -> None:
        """After a fork, the lifespans and whoever held the lock have stayed in the parent."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.RLock()
            for child in self._started:
                child.settled = False
                child.lifespan = None
            self._started = []
            self.tails = set()
