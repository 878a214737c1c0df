"""Where the `caching` tool keeps responses: `Cache` says what a store has to do, `MemoryCache` is one in memory.

Of bounded size, and nothing here runs by itself: what has expired goes when something is stored or looked up. Whether
a response may be stored or used is not decided here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from threading import Event, RLock
from typing import Any

from ..context import current
from ..protocol.status import valid_status
from ..protocol.uri import quote_path
from . import field_getter
from .debug import log_debug
from .freshness import delta_seconds, fresh_seconds, read_directives, selecting_names, stale_seconds, uri_key

__all__ = ['AntiStampedeCache', 'Cache', 'MemoryCache', 'Stored', 'Work', 'request_uri']


class Stored(tuple[Any, ...]):
    """A stored response: (status line, {header: value}, body, when its request came in seconds since the epoch).

    at: the same by the store's clock. age: what Age said when it came. lifetime: seconds it stays fresh.
    directives: of its Cache-Control.
    """

    at = 0.0
    age = 0
    lifetime = 0.0
    directives: dict[str, str] = read_directives(None)

    @classmethod
    def judge(cls, obj: Any, delay: float, at: float = 0.0) -> Stored:
        """Make one of a plain tuple, by what its headers say. delay: seconds it is fresh if they say nothing."""
        stored = cls(obj)
        status, headers, _, made = obj
        stored.at = at
        stored.age = delta_seconds(headers.get('Age', '')) or 0
        stored.lifetime = fresh_seconds(valid_status(status)[0], headers, made, delay)
        stored.directives = read_directives(headers.get('Cache-Control'))
        return stored

    def age_by(self, now: float | None) -> float:
        """Give its age in seconds. now: by the store's clock; None takes the system's. SPEC: RFC 9111 4.2.3."""
        since: float = time.time() - self[3] if now is None else now - self.at
        return max(0.0, since) + self.age

    @property
    def useless_at(self) -> float:
        """When, by the store's clock, neither it nor a stale copy of it is of use any more."""
        return self.at - self.age + self.lifetime + stale_seconds(self.directives)

    def __reduce__(self) -> Any:
        # What other stores write is a plain tuple: a clock means nothing elsewhere.
        return tuple, (tuple(self),)


class Cache:
    """What a store has to do. Each call concerns the current request; all but `clear` may wait.

    The objects are tuples (status line, {header: value}, body, time): see Stored.
    """

    def get(self) -> Any:
        """Give what is stored for the current request, or None."""
        raise NotImplementedError

    def put(self, obj: Any, size: int) -> None:
        """Store `obj`, whose body has `size` bytes, for the current request."""
        raise NotImplementedError

    def delete(self) -> None:
        """Remove all that is stored for the URI of the current request."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove everything."""
        raise NotImplementedError


class Work:
    """Work that others may wait for, until it ends, however it ends."""

    begun = 0.0

    def __init__(self) -> None:
        self.ended = False
        self._waiters: dict[int, Callable[[], Any]] = {}
        self._lock = RLock()

    def end(self) -> None:
        """Wake whoever waits."""
        with self._lock:
            self.ended = True
            waiters, self._waiters = self._waiters, {}
        for wake in waiters.values():
            wake()

    def _add(self, wake: Callable[[], Any]) -> int:
        """Have `wake` called at the end, which must be still to come; give a number for it, 0 if it has."""
        with self._lock:
            if self.ended:
                return 0
            number = id(wake)
            self._waiters[number] = wake
            return number

    def wait(self, timeout: float) -> None:
        """Wait in the calling thread."""
        event = Event()
        wake = event.set
        number = self._add(wake)
        if number:
            event.wait(timeout)
            self._waiters.pop(number, None)

    async def await_end(self, timeout: float) -> None:
        """Wait on the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def set_result() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(set_result)
            except RuntimeError:
                pass  # the loop is closed, and nobody waits on it

        number = self._add(wake)
        if number:
            try:
                await asyncio.wait((future,), timeout=timeout)
            finally:
                self._waiters.pop(number, None)


class AntiStampedeCache(dict[Any, Any]):
    """The variants of one URI, {values of the selecting headers: value}, and the marks of those being made.

    selecting_headers: names, in lower case, of the request's headers by which the variants differ.
    """

    selecting_headers: tuple[str, ...] = ()

    def __init__(self, owner: MemoryCache | None = None, uri: str = '') -> None:
        super().__init__()
        self.owner = owner
        self.uri = uri
        self.marks: dict[Any, Work] = {}

    def wait(self, key: Any, timeout: float | None = 5, debug: bool = False) -> Any:
        """Give the value of `key`; if there is none, wait for whoever makes it, else leave a mark and give None.

        timeout: seconds to wait, in the calling thread; None does not wait. Whoever gets None makes the value and
        sets it, which wakes those who wait.
        """
        value = self.get(key)
        if value is not None:
            return value
        mark = self.marks.get(key)
        if mark is not None and timeout is not None:
            if debug:
                log_debug(f'waiting up to {timeout} seconds', 'TOOLS.CACHING')
            mark.wait(timeout)
            value = self.get(key)
            if value is not None:
                return value
        elif mark is not None:
            return None
        self.marks[key] = Work()
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        mark = self.marks.pop(key, None)
        if mark is not None:
            mark.end()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        if self.owner is not None:
            self.owner.forget(self, (key,))

    def pop(self, key: Any, *default: Any) -> Any:
        found = key in self
        value = super().pop(key, *default)
        if found and self.owner is not None:
            self.owner.forget(self, (key,))
        return value

    def clear(self) -> None:
        """Remove the values; what is being made may still be set."""
        keys = list(self)
        super().clear()
        if self.owner is not None:
            self.owner.forget(self, keys)


class MemoryCache(Cache):
    """A store in this process's memory, of bounded size: what was used least recently goes first.

    maxobjects: responses kept. maxobj_size: bytes; a body of as many or more is not stored. maxsize: bytes of all
    bodies, headers and keys. delay: seconds a response that says nothing itself is fresh for.
    antistampede_timeout: seconds that requests wait for a response which another one is making; None does not wait.
    expire_freq: seconds, at least, between two looks for what has expired, which are taken when something is stored.
    cursize: bytes stored. store: {URI: AntiStampedeCache}.
    """

    maxobjects = 1000
    maxobj_size = 100000
    maxsize = 10000000
    delay: float = 600
    antistampede_timeout: float | None = 5
    expire_freq: float = 0.1
    debug = False

    # Ages are taken by it: a step of the system's clock neither keeps responses for ever nor drops them all.
    clock = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.lock = RLock()
        # URI -> what makes a response for it now.
        self._making: dict[str, list[Any]] = {}
        self.clear()

    def clear(self) -> None:
        """Remove everything and reset the counters; what is being made now is not stored any more."""
        with self.lock:
            for makings in self._making.values():
                for making in makings:
                    making.void = True
            self.store: dict[str, AntiStampedeCache] = {}
            self.cursize = 0
            self.tot_puts = self.tot_gets = self.tot_hist = self.tot_expires = self.tot_non_modified = 0
            # (URI, key) of all that is stored -> bytes, what was used least recently first.
            self._sizes: dict[tuple[str, Any], int] = {}
            # Heap of (when useless, number, URI, key); what was replaced meanwhile is passed over.
            self._expiring: list[tuple[float, int, str, Any]] = []
            self._swept = 0.0
            # URIs whose last answer was none to keep, or stale at once: nobody waits for the next one.
            self._unkept: dict[str, None] = {}

    # -- the contract

    def get(self) -> Any:
        """Give what is stored for the current request, waiting for it in the calling thread while it is made."""
        exchange = current()
        uri = request_uri(exchange)
        stored = self.find(exchange, uri)
        timeout = self.antistampede_timeout
        if stored is None and timeout is not None:
            mark = self._mark(exchange, uri)
            if mark is not None:
                mark.wait(timeout)
                stored = self.find(exchange, uri)
        return stored

    def put(self, variant: Any, size: int) -> None:
        """Store a response for the current request, unless it is too large or the URI was invalidated meanwhile."""
        exchange = current()
        making = getattr(exchange.request, 'cache_making', None)
        limit = self.maxobj_size if making is None else making.settings.limit('maxobj_size', self)
        if size >= limit:
            return
        uri = request_uri(exchange) if making is None else making.uri
        names = selecting_names(variant[1].get('Vary'))
        if names is None:
            return
        if not isinstance(variant, Stored):
            variant = Stored(variant)
            variant.at = self.clock()
            variant.lifetime = self.delay
        with self.lock:
            if making is not None and making.void:
                return
            table = self.store.get(uri)
            if table is None:
                table = self.store[uri] = AntiStampedeCache(self, uri)
            if not names.issubset(table.selecting_headers):
                # Variants told apart by fewer headers could be found by requests they are not for.
                table.clear()
                self.store[uri] = table
                table.selecting_headers = tuple(sorted(names.union(table.selecting_headers)))
            key = _variant_key(exchange, table.selecting_headers)
            if key in table:
                del table[key]
                self.store[uri] = table
            total = size + _weight(variant[1], uri, key)
            if total > self.maxsize:
                self._drop_if_empty(table)
                return
            table[key] = variant
            self._sizes[uri, key] = total
            self.cursize += total
            self.tot_puts += 1
            if variant.lifetime > 0:
                self._unkept.pop(uri, None)
            heappush(self._expiring, (variant.useless_at, self.tot_puts, uri, key))
            self._make_room()

    def delete(self) -> None:
        """Remove every variant of the current request's URI; what is being made of it now is not stored any more."""
        self.delete_uri(request_uri(current()))

    # -- for the tool

    def find(self, exchange: Any, uri: str) -> Any:
        """Give what is stored for a request, or None; it does not wait."""
        self.tot_gets += 1
        table = self.store.get(uri)
        if table is None:
            return None
        key = _variant_key(exchange, table.selecting_headers)
        with self.lock:
            size = self._sizes.pop((uri, key), None)
            if size is None:
                return None
            self._sizes[uri, key] = size
            return table.get(key)

    def delete_uri(self, uri: str) -> None:
        """Remove every variant of a URI, given as the store's key."""
        with self.lock:
            for making in self._making.get(uri, ()):
                making.void = True
            table = self.store.get(uri)
            if table is not None:
                table.clear()

    def begin(self, making: Any, leads: bool, waits: bool) -> Work | None:
        """Enter what makes a response; or give what makes the same one already, where it should wait for that.

        leads: whether others may wait for it. waits: whether it is ready to wait itself.
        """
        uri = making.uri
        with self.lock:
            table = self.store.get(uri)
            if leads and uri not in self._unkept:
                key = _variant_key(making.exchange, () if table is None else table.selecting_headers)
                mark = None if table is None else table.marks.get(key)
                # One that has taken longer than anybody waits is waited for no more: the next to come leads.
                if mark is not None and mark.begun + making.patience > self.clock():
                    if waits:
                        return mark
                else:
                    if table is None:
                        table = self.store[uri] = AntiStampedeCache(self, uri)
                    making.work = table.marks[key] = Work()
                    making.work.begun = self.clock()
                    making.key = key
            self._making.setdefault(uri, []).append(making)
        return None

    def end(self, making: Any, unkept: bool) -> None:
        """Take out what made a response and wake those who wait for it; what it has not stored stays unstored.

        unkept: whether the answer was none to keep.
        """
        uri = making.uri
        with self.lock:
            works = self._making.get(uri)
            if works is not None and making in works:
                works.remove(making)
                if not works:
                    del self._making[uri]
            if unkept and len(uri) < 2000:
                self._unkept.pop(uri, None)
                self._unkept[uri] = None
                if len(self._unkept) > self.maxobjects:
                    del self._unkept[next(iter(self._unkept))]
            table = self.store.get(uri)
            if table is not None:
                if making.work is not None and table.marks.get(making.key) is making.work:
                    del table.marks[making.key]
                self._drop_if_empty(table)
        if making.work is not None:
            making.work.end()

    def is_making(self, exchange: Any, uri: str) -> bool:
        """Say whether another request is making the response that this one asks for."""
        return self._mark(exchange, uri) is not None

    def _mark(self, exchange: Any, uri: str) -> Work | None:
        table = self.store.get(uri)
        return None if table is None else table.marks.get(_variant_key(exchange, table.selecting_headers))

    # -- room

    def forget(self, table: AntiStampedeCache, keys: Iterable[Any]) -> None:
        """Count out what was removed from a table."""
        with self.lock:
            if self.store.get(table.uri) is not table:
                return  # its values went with the rest
            for key in keys:
                self.cursize -= self._sizes.pop((table.uri, key), 0)
            self._drop_if_empty(table)

    def _drop_if_empty(self, table: AntiStampedeCache) -> None:
        if not table and not table.marks and self.store.get(table.uri) is table:
            del self.store[table.uri]

    def _remove(self, uri: str, key: Any) -> None:
        table = self.store.get(uri)
        if table is not None and key in table:
            del table[key]
        else:
            self.cursize -= self._sizes.pop((uri, key), 0)

    def _make_room(self) -> None:
        now = self.clock()
        if now - self._swept >= self.expire_freq:
            self._sweep(now)
        sizes = self._sizes
        while sizes and (self.cursize > self.maxsize or len(sizes) > self.maxobjects):
            self._remove(*next(iter(sizes)))
        if len(self._expiring) > 2 * len(sizes) + 100:
            # Mostly of what is there no more.
            self._expiring = [item for item in self._expiring if self._is_current(item)]
            heapify(self._expiring)

    def _is_current(self, item: tuple[float, int, str, Any]) -> bool:
        table = self.store.get(item[2])
        stored = None if table is None else table.get(item[3])
        return stored is not None and bool(stored.useless_at == item[0])

    def _sweep(self, now: float) -> None:
        self._swept = now
        expiring = self._expiring
        while expiring and expiring[0][0] <= now:
            item = heappop(expiring)
            if self._is_current(item):
                self._remove(item[2], item[3])
                self.tot_expires += 1

    def expire_cache(self) -> None:
        """Remove what has expired. CherryPy: it never returns, and is for a thread of its own."""
        with self.lock:
            self._sweep(self.clock())


# --- what a response is found by ------------------------------------------------------------------------------

_URI_PARTS = ('script_name', 'path_info', 'query_string')
_PLAIN_PATH = re.compile(r'[A-Za-z0-9/._~-]*')


def request_uri(exchange: Any) -> str:
    """Give the key of a request's URI: all by which one resource differs from another, and nothing twice.

    It is `request.base + path`, percent-encoded, with the query where there is one. The gateway has checked Host.
    """
    request = exchange.request
    head = exchange.head
    if request.__dict__.keys().isdisjoint(_URI_PARTS):
        # PERF: as the attributes of the request would be, were they asked for: 1.5 microseconds.
        path = exchange.script_name + exchange.path_info
        query = head.query
    else:
        path = request.script_name + request.path_info
        query = request.query_string
    uri = uri_key(request.base, path if _PLAIN_PATH.fullmatch(path) else quote_path(path), query)
    segments = head.segments
    # An escaped slash inside a segment, which the decoded path cannot tell from others.
    return uri if segments is None else f'{uri} {segments!r}'


def _variant_key(exchange: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Give the values of the request's headers `names`, None for absent ones.

    Accept-Charset counts always, since text is encoded by it.
    """
    get = field_getter(exchange)
    charset = get('accept-charset')
    if not names and charset is None:
        return ()
    values = [get(name) for name in (*names, 'accept-charset')]
    return tuple([value.strip() if isinstance(value, str) else value for value in values])


def _weight(headers: Any, uri: str, key: tuple[Any, ...]) -> int:
    """Give the bytes of a response's headers and of what it is found by."""
    weight = len(uri) + sum(len(str(value)) for value in key if value is not None)
    for name, value in headers.items():
        weight += len(name) + len(value if isinstance(value, (str, bytes)) else str(value))
    return weight
