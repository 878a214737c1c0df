"""The numbers behind `cpstats`, and the tool that gathers them: one set for each site in each process.

A request adds to a few counters and histograms of fixed size, under one lock; what is shown (rates, percentiles,
tables) is worked out when somebody looks. How it is shown is cpstats.py's.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any

from ..context import current
from ..extension.tools import Tool, UnknownSetting
from . import checks
from .checks import optional

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['BOUNDS', 'SECONDS', 'AppStatistics', 'Histogram', 'Page', 'StatsTool', 'average_uriset_time']

# Upper bounds of the latency histogram's buckets, in seconds; a last bucket takes what is slower.
BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

# How many seconds back requests are counted second by second.
SECONDS = 60

# Page handlers counted each for itself; an application that makes them for each request has no end of them.
_MAX_PAGES = 300
_MAX_URISETS = 300
_MAX_FAILURES = 50
# Characters of a request line that are kept: URLs may be very long.
_MAX_LINE = 300


class Histogram:
    """Counts of durations by bucket, with their sum, the shortest and the longest, in seconds."""

    __slots__ = ('counts', 'maximum', 'minimum', 'total')

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.minimum = 0.0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        if seconds > self.maximum:
            self.maximum = seconds
        if seconds < self.minimum or not self.total:
            self.minimum = seconds
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Estimate the duration that `share` (0 to 1) of all stay below; 0.0 if there are none.

        Within its bucket the durations are taken to be spread evenly, between the shortest and the longest at most.
        """
        wanted = share * self.count
        if not wanted:
            return 0.0
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= wanted:
                low = BOUNDS[index - 1] if index else 0.0
                high = BOUNDS[index] if index < len(BOUNDS) else self.maximum
                low, high = max(low, self.minimum), min(high, self.maximum)
                return low + (high - low) * (wanted - below) / count
            below += count
        return self.maximum


class Page:
    """What is known of one page handler: how often it ran, how long, and how often it failed."""

    __slots__ = ('client_errors', 'errors', 'histogram', 'last_failure', 'name', 'requests')

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self.client_errors = 0
        self.errors = 0
        self.last_failure = ''
        self.histogram = Histogram()


class _Open:
    """A request that is being served."""

    __slots__ = ('began', 'exchange', 'head', 'number', 'time')

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.head = exchange.head
        self.time = time.time()
        self.began = time.perf_counter()
        self.number = 0


def average_uriset_time(s: Any) -> float:
    """Give Sum by Count of one record of 'URI Set Tracking', 0 if nothing was counted."""
    count = s['Count']
    return s['Sum'] / count if count else 0


class AppStatistics:
    """The numbers of one site in this process.

    namespace: what cpstats shows under 'CherryPy Applications': numbers, functions of the namespace that work one out,
        dicts and lists of records. Its entry 'Enabled' switches the counting.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: dict[int, _Open] = {}
        self.started: float | None = None
        self._numbers = 0
        self.requests = 0
        self.client_errors = 0
        self.errors = 0
        self.streams = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.histogram = Histogram()
        self.pages: dict[Any, Page] = {}
        self.failures: deque[dict[str, Any]] = deque(maxlen=_MAX_FAILURES)
        # One slot for each of the last seconds: the second it was last used for, requests, errors.
        self._slots = [[0, 0, 0] for _ in range(SECONDS)]
        self.slow: list[dict[str, Any]] = []
        self.urisets: dict[Any, dict[str, Any]] = {}
        self.namespace = self._make_namespace()

    def _make_namespace(self) -> dict[str, Any]:
        def rate(amount: Any) -> Any:
            return lambda s: amount() / (self.uptime() or 1)

        def share(amount: Any) -> Any:
            return lambda s: amount() / (self.requests or 1)

        return {
            'Enabled': True,
            'Process ID': lambda s: _getpid(),
            'Server Version': lambda s: _version(),
            'Start Time': lambda s: self.start_time(),
            'Current Time': lambda s: time.time(),
            'Uptime': lambda s: self.uptime(),
            'Current Requests': lambda s: len(self.open),
            'Open Streams': lambda s: len(self.open_streams()),
            'Total Requests': lambda s: self.requests,
            'Total Streams': lambda s: self.streams,
            'Total Time': lambda s: self.histogram.total,
            'Total Bytes Read': lambda s: self.bytes_read,
            'Total Bytes Written': lambda s: self.bytes_written,
            'Client Errors': lambda s: self.client_errors,
            'Server Errors': lambda s: self.errors,
            'Requests/Second': rate(lambda: self.requests),
            'Requests/Second (last minute)': lambda s: self.recent_rate(SECONDS),
            'Bytes Read/Second': rate(lambda: self.bytes_read),
            'Bytes Written/Second': rate(lambda: self.bytes_written),
            'Bytes Read/Request': share(lambda: self.bytes_read),
            'Bytes Written/Request': share(lambda: self.bytes_written),
            'Latency': lambda s: self.latencies(),
            'Pages': lambda s: self.page_records(),
            'Requests': lambda s: self.open_records(),
            'Failures': lambda s: self.failure_records(),
        }

    @property
    def enabled(self) -> bool:
        return bool(self.namespace['Enabled'])

    # -- counting

    def begin(self, exchange: Any) -> _Open:
        """Count a request in."""
        record = _Open(exchange)
        with self.lock:
            if self.started is None:
                self.started = record.time
            self._numbers += 1
            record.number = self._numbers
            self.open[record.number] = record
        return record

    def end(self, record: _Open, uriset: Any, slow_queries: float | None, slow_queries_count: int) -> None:
        """Count a request out, whose exchange is the current one."""
        seconds = time.perf_counter() - record.began
        exchange = record.exchange
        if exchange.redirect is not None:
            # Nothing was answered: the request goes on as another exchange.
            with self.lock:
                self.open.pop(record.number, None)
            return
        code = exchange.code
        read = 0
        if record.head.method not in _WITHOUT_BODY:
            read = record.head.reader().bytes_read
        written, streamed = _written(exchange)
        is_slow = bool(slow_queries) and not streamed and seconds >= slow_queries  # type: ignore[operator]
        told = self._told(record, seconds, written) if is_slow or code >= 500 else {}
        second = int(time.monotonic())
        with self.lock:
            self.open.pop(record.number, None)
            self.requests += 1
            self.bytes_read += read
            if type(written) is int:
                self.bytes_written += written
            page = self._page(exchange, code)
            page.requests += 1
            slot = self._slots[second % SECONDS]
            if slot[0] != second:
                slot[0], slot[1], slot[2] = second, 0, 0
            slot[1] += 1
            if streamed:
                # How long a stream stays open says nothing of how fast pages are.
                self.streams += 1
            else:
                self.histogram.add(seconds)
                page.histogram.add(seconds)
            if code >= 500:
                self.errors += 1
                slot[2] += 1
                page.errors += 1
                page.last_failure = told['Request-Line']
                self.failures.append(told)
            elif code >= 400:
                self.client_errors += 1
                page.client_errors += 1
            if is_slow:
                self._keep_slow(told, slow_queries_count)
            if uriset:
                self._count_uriset(uriset, seconds)

    def _page(self, exchange: Any, code: int) -> Page:
        """Give the record of the exchange's page handler; functions of one class, mounted twice, count apart."""
        handler = exchange.handler
        func = getattr(handler, '__func__', handler)
        named = func is not None and not isinstance(func, Exception)
        if not named or (hasattr(func, 'func') and hasattr(func, 'keywords')):  # functools.partial
            func = 'no page' if code == 404 else 'other'
        elif not hasattr(func, '__code__'):
            func = type(func)
        key = (exchange.script_name, func)
        page = self.pages.get(key)
        if page is None:
            if len(self.pages) >= _MAX_PAGES:
                key, named = ('', 'other'), False
                page = self.pages.get(key)
                if page is not None:
                    return page
            if isinstance(key[1], str):
                name = '(not found)' if key[1] == 'no page' else '(others)'
            else:
                name = f'{func.__module__}.{func.__qualname__}'
            page = self.pages[key] = Page(f'{name} at {key[0]}' if key[0] else name)
        return page

    def _keep_slow(self, told: dict[str, Any], most: int) -> None:
        # COMPAT: the two tables are there once there is something in them.
        if not self.slow:
            self.namespace['Slow Queries'] = self.slow
        self.slow.append(told)
        if len(self.slow) > most:
            del self.slow[: len(self.slow) - most]

    def _count_uriset(self, uriset: Any, seconds: float) -> None:
        record = self.urisets.get(uriset)
        if record is None:
            if len(self.urisets) >= _MAX_URISETS:
                return
            if not self.urisets:
                self.namespace['URI Set Tracking'] = self.urisets
            record = self.urisets[uriset] = {
                'Min': seconds,
                'Max': seconds,
                'Count': 0,
                'Sum': 0.0,
                'Avg': average_uriset_time,
            }
        record['Count'] += 1
        record['Sum'] += seconds
        record['Min'] = min(record['Min'], seconds)
        record['Max'] = max(record['Max'], seconds)

    def _told(self, record: _Open, seconds: float, written: Any) -> dict[str, Any]:
        """Give the record of a request that has ended, as cpstats shows it."""
        exchange = record.exchange
        request = exchange.request
        head = record.head
        return {
            'Bytes Read': 0 if head.method in _WITHOUT_BODY else head.reader().bytes_read,
            'Bytes Written': written,
            'Client': _address(request.remote),
            'End Time': record.time + seconds,
            'Processing Time': seconds,
            'Request-Line': request.request_line[:_MAX_LINE],
            'Response Status': exchange.status,
            'Start Time': record.time,
        }

    # -- looking

    def start_time(self) -> float:
        """Give when the first request was counted, in seconds since the epoch; now, if none was."""
        return time.time() if self.started is None else self.started

    def uptime(self) -> float:
        """Give the seconds since the first request."""
        return 0.0 if self.started is None else time.time() - self.started

    def last_seconds(self) -> list[tuple[int, int]]:
        """Give (requests, server errors) of each of the last SECONDS whole seconds, the oldest first."""
        now = int(time.monotonic())
        with self.lock:
            slots = {slot[0]: (slot[1], slot[2]) for slot in self._slots}
        return [slots.get(second, (0, 0)) for second in range(now - SECONDS + 1, now + 1)]

    def recent_rate(self, seconds: int) -> float:
        """Give the requests per second of the last `seconds`, the one that is not over left out."""
        seconds = max(1, min(seconds, SECONDS - 1, int(self.uptime()) or 1))
        return sum(count for count, _ in self.last_seconds()[-seconds - 1 : -1]) / seconds

    def open_streams(self) -> list[_Open]:
        """Give the requests whose response is on its way, piece by piece."""
        return [record for record in list(self.open.values()) if type(record.exchange.body) is not bytes]

    def latencies(self) -> dict[str, dict[str, float]]:
        """Give percentiles of the time that responses took, streams left out, in seconds."""
        with self.lock:
            histogram = self.histogram
            return {name: {'Seconds': histogram.quantile(share)} for name, share in PERCENTILES.items()}

    def page_records(self) -> dict[str, dict[str, Any]]:
        """Give a record for each page handler."""
        records: dict[str, dict[str, Any]] = {}
        with self.lock:
            for page in self.pages.values():
                name = page.name
                # Functions made by one `def` share their name.
                while name in records:
                    name += "'"
                records[name] = {
                    'Requests': page.requests,
                    'Client Errors': page.client_errors,
                    'Server Errors': page.errors,
                    'Sum': page.histogram.total,
                    'p50': page.histogram.quantile(0.5),
                    'p95': page.histogram.quantile(0.95),
                    'Max': page.histogram.maximum,
                    'Last Failure': page.last_failure,
                }
        return records

    def open_records(self) -> dict[int, dict[str, Any]]:
        """Give a record for each request that is being served, by its number."""
        now = time.perf_counter()
        return {
            record.number: {
                # The connection's other end: what a proxy tells is not known from outside of the request.
                'Client': _address(record.head.remote),
                'Processing Time': now - record.began,
                'Request-Line': _line(record.head),
                'Start Time': record.time,
                'Streams': type(record.exchange.body) is not bytes,
            }
            for record in list(self.open.values())
        }

    def failure_records(self) -> list[dict[str, Any]]:
        """Give the last responses with a status of 500 and above, the newest last."""
        with self.lock:
            return list(self.failures)


PERCENTILES = {'50 %': 0.5, '90 %': 0.9, '95 %': 0.95, '99 %': 0.99, '99.9 %': 0.999}

_WITHOUT_BODY = ('GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE')


def _written(exchange: Any) -> tuple[Any, bool]:
    """Give the bytes of the response's body, 'chunked' where nobody knows, and whether it was streamed."""
    if exchange.dropped or exchange.disconnected:
        return 0, False
    if exchange.answered or exchange.body:
        return len(exchange.body), False
    response = exchange.response
    length = response.headers.get('Content-Length')
    text = '' if length is None else str(length)
    if text.isascii() and text.isdigit():
        return int(text), bool(response.stream)
    return 'chunked', bool(response.stream)


def _address(host: Any) -> str:
    return f'[{host.ip}]:{host.port}' if ':' in host.ip else f'{host.ip}:{host.port}'


def _line(head: Any) -> str:
    query = f'?{head.query}' if head.query else ''
    return f'{head.method} {head.outer}{head.path}{query}'[:_MAX_LINE]


def _getpid() -> int:
    import os

    return os.getpid()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version('cpadapter')
    except PackageNotFoundError:
        return ''  # run from a folder that was not installed


class StatsTool(Tool):
    """The `cpstats` tool: counts the requests of all paths it is on for; its site's numbers are in `numbers`."""

    def __init__(self) -> None:
        self.numbers = AppStatistics()
        super().__init__('on_end_request', self.record_stop)

    def record_start(self) -> None:
        """Count the current request in, unless counting is paused."""
        if self.numbers.enabled:
            exchange: Any = current()
            exchange.cpstats_record = self.numbers.begin(exchange)

    @checks.checked(slow_queries=optional(checks.number(0)), slow_queries_count=optional(checks.whole_number(0)))
    def record_stop(
        self,
        uriset: Any = None,
        slow_queries: float | None = 1.0,
        slow_queries_count: int = 100,
        debug: bool = False,
        **kwargs: Any,
    ) -> None:
        """Count the current request out.

        uriset: a name under which the times of all paths with it are counted together.
        slow_queries: seconds from which on a request is listed as slow; 0 or None lists none.
        slow_queries_count: how many of those are kept, the newest.
        """
        exchange: Any = current()
        record = getattr(exchange, 'cpstats_record', None)
        if record is not None:
            exchange.cpstats_record = None
            self.numbers.end(record, uriset, slow_queries, slow_queries_count)

    record_start.non_blocking = True  # type: ignore[attr-defined]
    record_stop.non_blocking = True  # type: ignore[attr-defined]

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        for name in settings:
            if name not in _SETTINGS:
                raise UnknownSetting(name, _SETTINGS)
        # Before every other hook, and whatever became of those at the end.
        builder.attach('on_start_resource', self.record_start, priority=-1)
        builder.attach('on_end_request', self.record_stop, failsafe=True, priority=priority, **settings)


_SETTINGS = {'uriset', 'slow_queries', 'slow_queries_count', 'debug'}
