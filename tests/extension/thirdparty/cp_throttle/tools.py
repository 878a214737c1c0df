"""The toolbox `throttle`: a plain and an async tool of every kind."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import cpadapter as cherrypy
from cpadapter import ErrorTool, HandlerTool, HandlerWrapperTool, HTTPError, Tool, Toolbox

from .flags import is_on

toolbox = Toolbox('throttle')
clock = time.monotonic

_lock = threading.Lock()
_counts: dict[Any, tuple[float, int]] = {}


def forget() -> None:
    """Forget what has been counted so far."""
    with _lock:
        _counts.clear()


def _count(key: Any, per: float) -> tuple[int, float]:
    """Count one more for `key`; give (how many in this span of time, seconds until the next one)."""
    now = clock()
    with _lock:
        since, count = _counts.get(key, (now, 0))
        if now - since >= per:
            since, count = now, 0
        _counts[key] = since, count + 1
    return count + 1, per - (now - since)


# -- hooks


class TooMany(HTTPError):
    """429 with a Retry-After. An error starts from clean headers: its own are set once its response is made."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(429, message)
        self.seconds = seconds

    def set_response(self) -> None:
        super().set_response()
        cherrypy.response.headers['Retry-After'] = str(max(1, round(self.seconds)))


@toolbox.register('on_start_resource', priority=20)
def limit(rate: int = 60, per: float = 60.0, scope: str = '') -> None:
    """Answer 429 to a client that asks more than `rate` times within `per` seconds."""
    count, left = _count((scope, cherrypy.request.remote.ip), per)
    cherrypy.response.headers['X-RateLimit-Remaining'] = str(max(rate - count, 0))
    if count > rate:
        raise TooMany(f'No more than {rate} requests within {per:g} seconds.', left)


def _above_zero(value: Any) -> str:
    return '' if isinstance(value, (int, float)) and value > 0 else 'it has to be a number above 0'


# What can be told of its settings before any request comes.
limit.checks = {
    'rate': lambda value: '' if isinstance(value, int) and value >= 0 else 'it has to be 0 or more',
    'per': _above_zero,
}
# It looks into a dict: nothing to keep an event loop waiting.
limit.non_blocking = True


@toolbox.register('before_handler', priority=5)
async def tarpit(after: int = 10, per: float = 60.0, seconds: float = 0.01) -> None:
    """Let a client wait that has asked more than `after` times within `per` seconds."""
    count, _ = _count(('tarpit', cherrypy.request.remote.ip), per)
    if count > after:
        await asyncio.sleep(seconds)
        cherrypy.response.headers['X-Waited'] = 'yes'


class Slots:
    """An async callable with a state of its own: at most `slots` requests at once, others get 503."""

    def __init__(self) -> None:
        self.taken = 0

    async def __call__(self, slots: int = 10) -> None:
        if self.taken >= slots:
            raise HTTPError(503, 'Too many at once.')
        self.taken += 1
        cherrypy.request.hooks.attach('on_end_request', self.release, failsafe=True)

    async def release(self) -> None:
        await asyncio.sleep(0)
        self.taken -= 1


toolbox.slots = Tool('before_handler', Slots(), priority=10)


class Audit(Tool):
    """Counts requests by status: set up for each request, with a hook at either end of it."""

    def __init__(self) -> None:
        super().__init__('on_start_resource', self.begin, priority=1)
        self.total = 0
        self.statuses: dict[str, int] = {}

    def begin(self, label: str = '') -> None:
        cherrypy.request.audit_label = label
        self.total += 1

    def end(self) -> None:
        status = f'{cherrypy.request.audit_label}{cherrypy.response.status[:3]}'
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def _setup(self) -> None:
        super()._setup()
        cherrypy.request.hooks.attach('on_end_request', self.end, failsafe=True, priority=90)


toolbox.audit = Audit()


class AsyncAudit(Audit):
    """The same with hooks that wait for whatever keeps the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.callable = self.abegin

    async def abegin(self, label: str = '') -> None:
        await asyncio.sleep(0)
        self.begin(label)

    async def aend(self) -> None:
        await asyncio.sleep(0)
        self.end()

    def _setup(self) -> None:
        Tool._setup(self)
        cherrypy.request.hooks.attach('on_end_request', self.aend, failsafe=True, priority=90)


toolbox.async_audit = AsyncAudit()


# -- in place of the page handler


def maintenance(flag: str = 'maintenance', text: str = 'Back soon.') -> bool:
    """Serve a notice in place of every page while a feature flag is on."""
    if not is_on(flag):
        return False
    cherrypy.response.status = 503
    cherrypy.response.headers['Content-Type'] = 'text/plain'
    cherrypy.response.body = text.encode()
    return True


toolbox.maintenance = HandlerTool(maintenance)


async def health(checks: Any = (), verbose: bool = False) -> bool:
    """Serve whether all of `checks`, async functions that give a bool, say yes; declines if there are none."""
    results = [await check() for check in checks]
    if not results:
        return False
    cherrypy.response.status = 200 if all(results) else 503
    cherrypy.response.headers['Content-Type'] = 'text/plain'
    cherrypy.response.body = (repr(results) if verbose else 'ok' if all(results) else 'ill').encode()
    return True


toolbox.health = HandlerTool(health)


# -- around the page handler


def timed(inner: Any, *args: Any, **kwargs: Any) -> Any:
    """Say in a header how long the page handler took; where that is async, until it has been awaited."""
    start = clock()
    value = inner(*args, **kwargs)
    if hasattr(value, '__await__'):
        return _timed(value, start)
    _say_time(start)
    return value


async def _timed(value: Any, start: float) -> Any:
    result = await value
    _say_time(start)
    return result


def _say_time(start: float) -> None:
    cherrypy.response.headers['Server-Timing'] = f'page;dur={(clock() - start) * 1000:.1f}'


toolbox.timed = HandlerWrapperTool(timed, priority=40)


async def deadline(inner: Any, *args: Any, **kwargs: Any) -> Any:
    """Answer 503 if the page handler takes longer than the setting `seconds`."""
    seconds = cherrypy.request.toolmaps['throttle']['deadline'].get('seconds', 5)
    try:
        return await asyncio.wait_for(inner(*args, **kwargs), seconds)
    except asyncio.TimeoutError:
        raise HTTPError(503, 'That took too long.') from None


toolbox.deadline = HandlerWrapperTool(deadline, priority=45)


# -- in place of the error page


def apology(text: str = 'Sorry.') -> None:
    """Answer an exception that nobody foresaw with a sentence."""
    cherrypy.response.status = 500
    cherrypy.response.headers['Content-Type'] = 'text/plain'
    cherrypy.response.body = text.encode()


toolbox.apology = ErrorTool(apology)


async def report(to: Any = None, text: str = 'Somebody has been told.') -> None:
    """Tell `to`, an async function, of an exception that nobody foresaw, and answer with a sentence."""
    import sys

    error = sys.exc_info()[1]
    if to is not None:
        await to(error)
    apology(text)


toolbox.report = ErrorTool(report)


# -- for `hooks.*`, by dotted name


async def stamp() -> None:
    """Mark the response as throttled."""
    await asyncio.sleep(0)
    cherrypy.response.headers['X-Throttle'] = 'cp_throttle'
