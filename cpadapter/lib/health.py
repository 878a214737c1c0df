"""The `health` tool: pages that tell a supervisor or a load balancer whether this process lives and takes requests.

Its settings are read into a `Probe` when a plan is compiled; that answers in place of the page handler, before a
session is looked for or a body read, and asks the checks that the application gave. What they look at it does not
know, but for sessions, whose store is asked by `session_store`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..context import current
from ..core.engine import states
from ..errors import HTTPError
from ..extension.hooks import is_async_callable, refuse_awaitable
from ..extension.tools import Tool
from .checks import checked, optional, positive
from .proxy import ProxyRules

if TYPE_CHECKING:
    import asyncio

    from ..core.plan import PlanBuilder

__all__ = ['Check', 'HealthTool', 'Probe', 'health', 'session_store']

# Calls of one check under way at a time. One that hangs leaves a thread behind, and these are all it may leave.
_MOST = 4


class Check:
    """One thing to look at: `call`, plain or async, which raises or gives False where it is not well.

    Plain code runs in a thread of its own, so that a check that hangs keeps neither requests nor the end of the
    program waiting.
    """

    def __init__(self, name: str, call: Callable[[], Any]) -> None:
        self.name = name
        self.failing = False
        self._call = call
        self._is_async = is_async_callable(call)
        # One None for each, since threads may append and pop at once.
        self._under_way: list[None] = []

    async def run(self, timeout: float) -> tuple[str, float]:
        """Give ('', seconds taken) if all is well, else (what is wrong, seconds taken); never raises an Exception."""
        import asyncio

        if len(self._under_way) >= _MOST:
            return 'earlier calls have not come back', 0.0
        start = monotonic()
        self._under_way.append(None)
        future: asyncio.Future[Any] = asyncio.ensure_future(self._call()) if self._is_async else _in_thread(self._ask)
        if self._is_async:
            future.add_done_callback(self._ended)
        try:
            await asyncio.wait((future,), timeout=timeout)
            seconds = monotonic() - start
            if not future.done():
                return f'no answer within {timeout:g} s', seconds
        finally:
            future.cancel()
        if future.cancelled():
            return 'it was cancelled', seconds
        failure = future.exception()
        if failure is not None:
            return f'{type(failure).__name__}: {failure}'.rstrip(': '), seconds
        result = future.result()
        return ('' if result is None or result else f'it gave {result!r}'), seconds

    def _ask(self) -> Any:
        try:
            result = self._call()
            refuse_awaitable(result, 'The check %r', self.name)
            return result
        finally:
            self._under_way.pop()

    def _ended(self, task: Any) -> None:
        self._under_way.pop()
        if not task.cancelled():
            task.exception()  # looked at here, where nobody waits for it any more


def _in_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Call `call` in a new thread, in this context, and give what comes of it; nobody joins the thread at the end."""
    import asyncio
    import threading
    from contextvars import copy_context

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, failure: BaseException | None) -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            # A future takes no StopIteration; what else ends a program does not end this one.
            future.set_exception(failure if type(failure) is not StopIteration else RuntimeError(repr(failure)))
            future.exception()

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as exc:
            failure = exc
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            pass  # the loop is closed: nobody waits for this

    threading.Thread(target=copy_context().run, args=(run,), name='Health check', daemon=True).start()
    return future


class Probe:
    """The settings of the tool for one plan; `answer` and `answer_checked` end the request with what they find."""

    def __init__(
        self,
        ready: bool = True,
        checks: Any = None,
        timeout: float = 5,
        details: bool = False,
        trusted: str | Iterable[str] | None = None,
        log: bool = True,
    ) -> None:
        self.ready = ready
        # Who asks whether the process lives may end it: not because a database is away.
        self.checks = [Check(name, call) for name, call in _named(checks).items()] if ready else []
        self._timeout = timeout
        self._details = details
        self._sources = ProxyRules(trusted=trusted) if trusted else None
        self._log = log

    def answer(self) -> None:
        """Answer by the state of the engine alone."""
        self._begin()
        self._end({}, True)

    async def answer_checked(self) -> None:
        """Ask all checks at once, then answer."""
        import asyncio

        self._begin()
        app: Any = current().app
        results = await asyncio.gather(*[check.run(self._timeout) for check in self.checks])
        shown: dict[str, dict[str, Any]] = {}
        for check, (problem, seconds) in zip(self.checks, results, strict=True):
            shown[check.name] = {'status': 'failing' if problem else 'ok', 'ms': round(seconds * 1000, 2)}
            if problem:
                shown[check.name]['error'] = problem
            if check.failing != bool(problem):
                # Once for each change: probes come every few seconds.
                check.failing = bool(problem)
                text = f'The check {check.name!r} fails: {problem}' if problem else f'The check {check.name!r} is well.'
                severity = logging.WARNING if problem else logging.INFO
                await _in_thread(partial(app.log.error, text, 'HEALTH', severity))
        self._end(shown, not any(problem for problem, _ in results))

    def _begin(self) -> None:
        exchange: Any = current()
        if not self._log:
            exchange.unlogged = True
        if exchange.head.method not in ('GET', 'HEAD'):
            exchange.response.headers['Allow'] = 'GET, HEAD'
            raise HTTPError(405)

    def _end(self, shown: dict[str, dict[str, Any]], well: bool) -> None:
        from json import dumps

        exchange: Any = current()
        state = exchange.site.engine.state
        if self.ready:
            well = well and state is states.STARTED
        content: dict[str, Any] = {'status': 'ok' if well else 'unavailable'}
        if self._details or (self._sources is not None and self._sources.trusts_peer(exchange.request.remote.ip)):
            content['engine'] = state.name
            if shown:
                content['checks'] = shown
        raise _Answer(well, dumps(content).encode())


class _Answer(HTTPError):
    """Ends the request with the answer of a probe; what is left of its hooks, but those of the end, does not run."""

    def __init__(self, well: bool, content: bytes) -> None:
        super().__init__(503)
        self._status = '200 OK' if well else '503 Service Unavailable'
        self._content = content

    def set_response(self) -> None:
        response = current().response
        response.status = self._status
        response.headers['Content-Type'] = 'application/json'
        response.headers['Cache-Control'] = 'no-store'
        response.headers['Content-Length'] = str(len(self._content))
        response.body = self._content


def session_store() -> None:
    """Save a session in the store of the current page's config, read it, and delete it: a check of that store.

    A store with a class method `check`, which is called with the settings of the `sessions` tool, is asked by that.
    """
    from .sessions import Session

    prefix = 'tools.sessions.'
    config = current().request.config or {}
    settings = {key[len(prefix) :]: value for key, value in config.items() if key.startswith(prefix)}
    storage_class = settings.pop('storage_class', None)
    if storage_class is None:
        from . import sessions

        storage_class = sessions.RamSession
    own = getattr(storage_class, 'check', None)
    if own is not None:
        own(**settings)
        return
    kept = {name: value for name, value in settings.items() if name in ('storage_path', 'lock_timeout', 'servers')}
    session: Session = storage_class(None, **kept)
    session.load()
    session['health'] = True
    session.save()
    try:
        again = storage_class(session.id, **kept)
        if again.missing or not again.get('health'):
            raise LookupError('what was saved is not there')
    finally:
        session.delete()


def _named(value: Any) -> dict[str, Callable[[], Any]]:
    """Give checks by name; TypeError for what is none."""
    if value is None:
        return {}
    if callable(value):
        value = (value,)
    if not isinstance(value, Mapping):
        value = {_name_of(call): call for call in value}
    for name, call in value.items():
        if not isinstance(name, str) or not callable(call):
            raise TypeError(f'{name!r}: {call!r}')
    return dict(value)


def _name_of(call: Any) -> str:
    call = getattr(call, 'func', call)  # of a functools.partial
    return str(getattr(call, '__name__', None) or type(call).__name__)


def _checks(value: Any) -> str:
    what = "it has to be a function, a list of them, or a dict of them by name, such as {'database': ping}"
    if isinstance(value, (str, bytes)) or not (callable(value) or isinstance(value, Collection)):
        return what
    try:
        named = _named(value)
    except TypeError:
        return what
    if not callable(value) and len(named) < len(value):
        return 'two of them have one name: give a dict of them by name'
    return ''


def _trusted(value: Any) -> str:
    try:
        ProxyRules(trusted=value)
    except (TypeError, ValueError):
        return "it has to be an address or a network, or 'loopback', 'private', 'unix' or '*', or a list of them"
    return ''


@checked(checks=optional(_checks), timeout=positive, trusted=optional(_trusted))
def health(
    ready: bool = True,
    checks: Any = None,
    timeout: float = 5,
    details: bool = False,
    trusted: str | Iterable[str] | None = None,
    log: bool = True,
) -> None:
    """Answer 200 where this process takes requests, else 503, as JSON, in place of the page handler.

    ready: False answers 200 for as long as the process serves at all, and asks no checks.
    checks: what has to be well besides the engine being started: a function, plain or async, a list of them, or a
        dict of them by name. One that raises, or gives something false that is not None, is not well.
    timeout: seconds that each check has; all run at once.
    details: True tells everybody the state of the engine and of each check; False those in `trusted`, addresses and
        networks as of the `proxy` tool.
    log: False leaves these requests out of the access log.
    """
    Probe(ready, None, timeout, details, trusted, log).answer()


class HealthTool(Tool):
    """The `health` tool: behind `proxy` and basic or digest authentication, before sessions and the body."""

    def __init__(self) -> None:
        super().__init__('before_request_body', health, priority=40)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        probe = Probe(**settings)
        # On the event loop where there is one: whether the process lives is not to wait for a thread.
        builder.is_async = True
        builder.attach(
            'before_request_body', probe.answer_checked if probe.checks else _Quick(probe), priority=priority
        )


class _Quick:
    """The answer of a probe without checks, which never waits."""

    non_blocking = True

    def __init__(self, probe: Probe) -> None:
        self._answer = probe.answer

    def __call__(self) -> None:
        self._answer()
