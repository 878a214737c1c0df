"""The `expires` and `caching` tools: how long others may keep a response, and a shared cache of the site's own.

The rules of RFC 9111 for a shared cache live here, with a store in memory; `Cache` says what another store has to
do. Nothing here runs by itself: what has expired goes when something is stored or looked up. How the page handler
runs, and where a body is sent, is not known here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from threading import Event, RLock
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError, HTTPRedirect
from ..extension.hooks import Hook
from ..extension.tools import Tool, UnknownSetting
from ..protocol.dates import HTTPDate
from ..protocol.headers import RE_HEADER_SPLIT, HeaderMap
from ..protocol.iterators import as_bytes
from ..protocol.status import valid_status
from ..protocol.uri import quote_path
from .cptools import validate_etags, validate_since
from .debug import log_debug

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'AntiStampedeCache',
    'Cache',
    'CachingTool',
    'MemoryCache',
    'Stored',
    'expires',
    'get',
    'tee_output',
]

# --- expires --------------------------------------------------------------------------------------------------

# A date long past, for what is not to be kept at all.
_PAST = 'Sun, 28 Jan 2007 00:00:00 GMT'

_CACHEABLE = ('Etag', 'Last-Modified', 'Age', 'Expires')


def expires(secs: Any = 0, force: bool = False, debug: bool = False) -> None:
    """Set Expires, and for 0 seconds all that keeps caches from keeping the response.

    secs: seconds from now, an int or a timedelta; 0 is not to be kept, a negative one has expired already.
    force: True also replaces headers that are there, and acts on responses without a validator: other ones are
        left alone, since only a response with ETag, Last-Modified, Age or Expires says that it may be kept.
    Raises TypeError for any other kind of `secs`.
    """
    if not isinstance(secs, (int, float)):
        total_seconds = getattr(secs, 'total_seconds', None)
        if total_seconds is None:
            raise TypeError(f'secs is a number of seconds or a timedelta, not {secs!r}.')
        secs = int(total_seconds())
    exchange = current()
    response = exchange.response
    headers = response.headers
    if not force and not any(name in headers for name in _CACHEABLE):
        return
    if secs == 0:
        _set(headers, 'Pragma', 'no-cache', force)
        if exchange.request.protocol >= (1, 1):
            _set(headers, 'Cache-Control', 'no-cache, must-revalidate', force)
        date = _PAST
    else:
        date = HTTPDate(response.time + secs)
    _set(headers, 'Expires', date, force)
    if debug:
        log_debug(f'Expires is {headers["Expires"]}', 'TOOLS.EXPIRES')


def _set(headers: Any, name: str, value: str, force: bool) -> None:
    if force or name not in headers:
        headers[name] = value


expires.non_blocking = True  # type: ignore[attr-defined]


# --- what the headers say -------------------------------------------------------------------------------------

# SPEC: RFC 9110 9.2.1.
_SAFE = frozenset(('GET', 'HEAD', 'OPTIONS', 'TRACE'))
# SPEC: RFC 9110 15.1 names more; those left out are errors, whose pages are made for one client, and what has no body.
_HEURISTIC = frozenset((200, 203, 300, 301, 308))
_REDIRECTS = frozenset((302, 303, 307))
# SPEC: RFC 9111 3.5: what lets an answer to a request with credentials be kept for all.
_SHARED = frozenset(('must-revalidate', 'public', 's-maxage'))
_NEVER_STALE = frozenset(('must-revalidate', 'no-cache', 'proxy-revalidate', 's-maxage'))

_NOTHING: dict[str, str] = {}
_NO_CACHE = {'no-cache': ''}
# SPEC: RFC 9111 1.2.2: a greater number counts as this one.
_LONGEST = 2**31
_MAX_VARY = 20


def _directives(field: str | None) -> dict[str, str]:
    """Read a Cache-Control field into {name: argument or ''}; of a repeated one the first counts.

    SPEC: RFC 9111 5.2: names in any case, arguments with and without quotes.
    """
    if not field:
        return _NOTHING
    return _parsed(field) if len(field) < 200 else _parse(field)


def _parse(field: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in RE_HEADER_SPLIT.split(field):
        name, _, text = member.partition('=')
        name = name.strip().lower()
        if name:
            found.setdefault(name, text.strip().strip('"'))
    return found


# PERF: the same few fields come again and again: 0.1 microseconds, not 1.5.
_parsed = lru_cache(256)(_parse)


def _seconds(text: str) -> int | None:
    """Read delta-seconds; None if it is none."""
    if not (text.isascii() and text.isdigit()):
        return None
    return _LONGEST if len(text) > 9 else int(text)


def _wanted_seconds(directives: dict[str, str], name: str) -> int | None:
    """Give the argument of a directive of the request, None without it; HTTPError(400) if it is no number."""
    text = directives.get(name)
    if text is None:
        return None
    seconds = _seconds(text)
    if seconds is None:
        raise HTTPError(400, 'Invalid Cache-Control header')
    return seconds


def _getter(exchange: Any) -> Callable[[str], Any]:
    """Give what looks up a header of the request, named in lower case, as tools have left it; None if absent."""
    headers = exchange.request.__dict__.get('headers')
    # PERF: without making the map of all headers: 3 microseconds.
    get: Callable[[str], Any] = exchange.head.get if headers is None else headers.get
    return get


_URI_PARTS = ('script_name', 'path_info', 'query_string')
_PLAIN_PATH = re.compile(r'[A-Za-z0-9/._~-]*')


def _uri(exchange: Any) -> str:
    """Give the key of the current request's URI: all by which one resource differs from another, and nothing twice.

    It is `request.base + path`, percent-encoded, with the query where there is one. The gateway has checked Host.
    """
    request = exchange.request
    head = exchange.head
    values = request.__dict__
    if values.keys().isdisjoint(_URI_PARTS):
        # PERF: as the attributes of the request would be, were they asked for: 1.5 microseconds.
        path = exchange.script_name + exchange.path_info
        query = head.query
    else:
        path = request.script_name + request.path_info
        query = request.query_string
    if not _PLAIN_PATH.fullmatch(path):
        path = quote_path(path)
    uri: str = f'{request.base.lower()}{path}?{query}' if query else request.base.lower() + path
    segments = head.segments
    # An escaped slash inside a segment, which the decoded path cannot tell from others.
    return uri if segments is None else f'{uri} {segments!r}'


def _other_uri(exchange: Any, reference: str) -> str | None:
    """Give the key for what Location or Content-Location names, None if that is of another origin.

    SPEC: RFC 9111 4.4: only what has the origin of the request may be invalidated.
    """
    from urllib.parse import unquote, urljoin, urlsplit

    request = exchange.request
    base = request.base
    try:
        parts = urlsplit(urljoin(base + quote_path(request.script_name + request.path_info), reference))
        if f'{parts.scheme}://{parts.netloc}'.lower() != base.lower():
            return None
    except ValueError:
        return None
    path = quote_path(unquote(parts.path)) or '/'
    return f'{base.lower()}{path}?{parts.query}' if parts.query else base.lower() + path


class Stored(tuple[Any, ...]):
    """A stored response: (status line, {header: value}, body, when its request came in seconds since the epoch).

    at: the same by the store's clock. age: what Age said when it came. lifetime: seconds it stays fresh.
    directives: of its Cache-Control.
    """

    at = 0.0
    age = 0
    lifetime = 0.0
    directives: dict[str, str] = _NOTHING

    @property
    def useless_at(self) -> float:
        """When, by the store's clock, neither it nor a stale copy of it is of use any more."""
        end = self.at - self.age + self.lifetime
        if not _NEVER_STALE.isdisjoint(self.directives):
            return end
        return end + max(_seconds(self.directives.get(name, '')) or 0 for name in _STALE)

    def __reduce__(self) -> Any:
        # What other stores write is a plain tuple: a clock means nothing elsewhere.
        return tuple, (tuple(self),)


# SPEC: RFC 5861.
_STALE = ('stale-while-revalidate', 'stale-if-error')


def _lifetime(headers: Any, code: int, directives: dict[str, str], now: float, delay: float) -> float:
    """Give the seconds for which a response is fresh; 0 or less where it may not be kept.

    SPEC: RFC 9111 4.2.1: s-maxage, max-age, Expires, in this order; else `delay`, where its status allows for it.
    What cannot be read says that it is stale.
    """
    for name in ('s-maxage', 'max-age'):
        text = directives.get(name)
        if text is not None:
            return _seconds(text) or 0
    expiry = headers.get('Expires')
    if expiry is not None:
        from werkzeug.http import parse_date

        text = str(expiry)
        try:
            date = parse_date(text) if len(text) < 100 else None
            return date.timestamp() - now if date is not None else 0
        except (ArithmeticError, LookupError, ValueError):
            return 0
    return delay if code in _HEURISTIC else 0


# --- stores ---------------------------------------------------------------------------------------------------


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


class _Work:
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
        self.marks: dict[Any, _Work] = {}

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
        self.marks[key] = _Work()
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
            # URIs whose last answer was none to keep: nobody waits for the next one.
            self._unkept: dict[str, None] = {}

    # -- the contract

    def get(self) -> Any:
        """Give what is stored for the current request, waiting for it in the calling thread while it is made."""
        exchange = current()
        uri = _uri(exchange)
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
        uri = _uri(exchange) if making is None else making.uri
        vary = str(variant[1].get('Vary') or '')
        names = {name.strip().lower() for name in vary.split(',')} - {''}
        if '*' in names or len(names) > _MAX_VARY:
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
            self._unkept.pop(uri, None)
            heappush(self._expiring, (variant.useless_at, self.tot_puts, uri, key))
            self._make_room()

    def delete(self) -> None:
        """Remove every variant of the current request's URI; what is being made of it now is not stored any more."""
        self.delete_uri(_uri(current()))

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

    def begin(self, making: Any, leads: bool, waits: bool) -> _Work | None:
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
                    making.work = table.marks[key] = _Work()
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

    def _mark(self, exchange: Any, uri: str) -> _Work | None:
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


def _variant_key(exchange: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Give the values of the request's headers `names`, None for absent ones.

    Accept-Charset counts always, since text is encoded by it.
    """
    get = _getter(exchange)
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


# --- the tool -------------------------------------------------------------------------------------------------


class Settings:
    """The settings of the tool on one path, and the store they name.

    caches: {class: store}, shared by all paths of a site. values: {attribute of the store: value}.
    """

    def __init__(
        self, caches: dict[Any, Any], invalid_methods: Any, debug: bool, cache_class: Any, values: dict[str, Any]
    ) -> None:
        self._caches = caches
        self._cache: Any = None
        self.invalid_methods = frozenset(
            [invalid_methods] if isinstance(invalid_methods, str) else invalid_methods or ()
        )
        self.debug = debug
        self.cache_class = cache_class
        self.values = values
        # Whether it is looked up as MemoryCache is, and whether no call of it ever waits.
        self.in_memory = self.non_blocking = False
        if isinstance(cache_class, type) and issubclass(cache_class, MemoryCache):
            self.in_memory = cache_class.get is MemoryCache.get and cache_class.find is MemoryCache.find
            own = (cache_class.put, cache_class.delete)
            self.non_blocking = self.in_memory and own == (MemoryCache.put, MemoryCache.delete)

    @property
    def cache(self) -> Any:
        """The store, made when it is first needed."""
        cache = self._cache
        if cache is None or self._caches.get(self.cache_class) is not cache:
            cache = self._caches.get(self.cache_class)
            if cache is None:
                cache = self._caches.setdefault(self.cache_class, self.cache_class())
            for name, value in self.values.items():
                if name not in _OF_A_PATH or not self.in_memory:
                    setattr(cache, name, value)
            self._cache = cache
        return cache

    def limit(self, name: str, cache: Any) -> Any:
        """Give a setting of this path; else what the store has for all."""
        if name in self.values:
            return self.values[name]
        return getattr(cache, name, getattr(MemoryCache, name))


# What holds for the responses of a path, and not for the store.
_OF_A_PATH = frozenset(('antistampede_timeout', 'debug', 'delay', 'maxobj_size'))


class CachingTool(Tool):
    """The `caching` tool of a site, and the site's stores: one per class."""

    def __init__(self) -> None:
        self.caches: dict[Any, Any] = {}
        super().__init__('before_handler', get, 'caching', 90)

    @property
    def cache(self) -> Any:
        """The store in use; None before the first request."""
        return next(iter(self.caches.values()), None)

    def settings(
        self,
        invalid_methods: Any = ('POST', 'PUT', 'DELETE'),
        debug: bool = False,
        cache_class: Any = MemoryCache,
        **values: Any,
    ) -> Settings:
        """Give the settings in the form that requests use. TypeError names one that MemoryCache does not have."""
        if cache_class is MemoryCache:
            known = {name for name in vars(MemoryCache) if name[0] != '_' and not callable(getattr(MemoryCache, name))}
            for name in values:
                if name not in known:
                    raise UnknownSetting(name, known | {'cache_class', 'debug', 'invalid_methods'})
        return Settings(self.caches, invalid_methods, debug, cache_class, values)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        if self.callable is not get:
            builder.attach(self._point or 'before_handler', self.callable, priority=priority, **settings)
            return
        bound = self.settings(**settings)

        def look_up_in_cache() -> Any:
            return _look_up(bound)

        # It leaves page handlers alone but for taking them away: what they give can be filtered as without it.
        look_up_in_cache.neutral = True  # type: ignore[attr-defined]
        hook = builder.attach(self._point or 'before_handler', look_up_in_cache, priority=priority)
        hook.non_blocking = bound.non_blocking


def get(invalid_methods: Any = ('POST', 'PUT', 'DELETE'), debug: bool = False, **kwargs: Any) -> Any:
    """Answer the current request from the cache, or have its response stored.

    invalid_methods: methods that remove what is stored for the URI; all unsafe ones do besides.
    cache_class: makes the store. Any other setting is an attribute of the store: see MemoryCache.
    Sets `request.cached`, and `request.cacheable` where the response may be stored. An answer from the cache has
    Age, and the page handler does not run. HTTPError(504) for `only-if-cached` without such an answer, 400 for a
    number of Cache-Control that is none. Gives None, or an awaitable where another request's response is waited for.

    SPEC: RFC 9111, as a shared cache.
    """
    tool = getattr(current().site.tools, 'caching', None)
    tool = tool if isinstance(tool, CachingTool) else CachingTool()
    return _look_up(tool.settings(invalid_methods, debug, **kwargs))


# Headers that make a request one that cannot be answered from the cache without looking closer.
_SPECIAL = (
    *('cache-control', 'pragma', 'authorization', 'cgi-authorization', 'range', 'if-match', 'if-unmodified-since'),
)


def _look_up(settings: Settings) -> Any:
    exchange = current()
    request = exchange.request
    request.cached = request.cacheable = False  # type: ignore[attr-defined]
    method = request.method
    cache = settings.cache
    if method not in ('GET', 'HEAD') or method in settings.invalid_methods:
        if method in settings.invalid_methods or method not in _SAFE:
            if settings.debug:
                log_debug(f'{method} removes what is stored', 'TOOLS.CACHING')
            cache.delete()
            _attach(request, 'before_finalize', _Invalidation(cache).run, settings.non_blocking)
        return None
    uri = ''
    if settings.in_memory:
        uri = _uri(exchange)
        header = _getter(exchange)
        if request.login is None and not any(map(header, _SPECIAL)):
            # PERF: most requests want nothing in particular: 4 microseconds less.
            stored = cache.find(exchange, uri)
            if stored is not None:
                age = _age(stored, cache, True)
                if age < stored.lifetime:
                    _serve(exchange, cache, stored, age, settings)
                    return None
    question = _Question(exchange, settings, cache, uri)
    while True:
        work = question.ask()
        if work is None:
            return None
        if exchange.on_loop or 'asgi' in (getattr(exchange.head, 'native', None) or ()):
            return question.wait_and_ask(work)
        work.wait(question.time_left())


def _attach(request: Any, point: str, callback: Any, non_blocking: bool, priority: float = 100) -> None:
    hook = Hook(callback, priority=priority)
    hook.non_blocking = non_blocking
    request.hooks[point].append(hook)


class _Invalidation:
    """Removes what an unsafe request may have changed, after it has done so."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def run(self) -> None:
        exchange = current()
        response = exchange.response
        self.cache.delete()
        code = 200 if response.status is None else valid_status(response.status)[0]
        delete_uri = getattr(self.cache, 'delete_uri', None)
        if code >= 400 or delete_uri is None:
            return
        for name in ('Location', 'Content-Location'):
            reference = response.headers.get(name)
            if reference:
                uri = _other_uri(exchange, str(reference))
                if uri is not None:
                    delete_uri(uri)


class _Question:
    """One GET or HEAD: what it wants of the cache."""

    def __init__(self, exchange: Any, settings: Settings, cache: Any, uri: str) -> None:
        self.exchange = exchange
        self.settings = settings
        self.cache = cache
        self.uri = uri
        header = _getter(exchange)
        field = header('cache-control')
        if field:
            directives = _directives(field)
        elif 'no-cache' in (header('pragma') or '').lower():
            # SPEC: RFC 9111 5.4: where there is no Cache-Control.
            directives = _NO_CACHE
        else:
            directives = _NOTHING
        self.directives = directives
        if directives:
            self.max_age = _wanted_seconds(directives, 'max-age')
            self.min_fresh = _wanted_seconds(directives, 'min-fresh')
            self.max_stale = _LONGEST if directives.get('max-stale') == '' else _wanted_seconds(directives, 'max-stale')
        # Conditions on the state of the resource are the page handler's to check.
        self.asks_origin = (
            'no-cache' in directives
            or 'no-store' in directives
            or header('if-match') is not None
            or header('if-unmodified-since') is not None
        )
        self.ranged = header('range') is not None
        # COMPAT: Cgi-Authorization is what some CGI servers call it.
        self.private = exchange.request.login is not None or any(map(header, ('authorization', 'cgi-authorization')))
        self.deadline: float | None = None
        self.waits = True

    def ask(self) -> _Work | None:
        """Answer from the cache, or begin to make the response; or give what makes it already, to be waited for."""
        exchange = self.exchange
        settings = self.settings
        cache = self.cache
        stored = None
        if not self.asks_origin:
            stored = cache.find(exchange, self.uri) if settings.in_memory else cache.get()
            if stored is not None:
                if type(stored) is not Stored:
                    stored = self._judged(stored)
                age = self._age(stored)
                if self._may_use(stored, age):
                    _serve(exchange, cache, stored, age, settings)
                    return None
        if 'only-if-cached' in self.directives:
            raise HTTPError(504)
        if exchange.request.method == 'HEAD' or self.ranged or 'no-store' in self.directives:
            return None
        making = _Making(exchange, settings, cache, self.uri, self.private, stored)
        if settings.in_memory:
            timeout = settings.limit('antistampede_timeout', cache)
            leads = timeout is not None and not (self.private or self.asks_origin)
            if leads and self.deadline is None:
                self.deadline = cache.clock() + timeout
            making.patience = timeout or 0
            work: _Work | None = cache.begin(making, leads, self.waits)
            if work is not None:
                return work
        making.start()
        return None

    def time_left(self) -> float:
        """Give how many seconds it may wait yet; what it does afterwards without an answer, it does itself."""
        left: float = (self.deadline or 0) - self.cache.clock()
        self.waits = left > 0
        return max(left, 0)

    async def wait_and_ask(self, work: _Work | None) -> None:
        """Wait without holding a thread or an event loop, and ask again."""
        exchange = self.exchange
        while work is not None:
            pending = work.await_end(self.time_left())
            await (pending if exchange.on_loop else exchange.suspend(pending))
            work = self.ask()

    def _judged(self, stored: Any) -> Stored:
        """Work out for what another store has kept what Stored knows."""
        judged = Stored(stored)
        status, headers, _, made = stored
        judged.directives = _directives(headers.get('Cache-Control'))
        judged.age = _seconds(str(headers.get('Age', ''))) or 0
        delay = self.settings.limit('delay', self.cache)
        judged.lifetime = _lifetime(headers, valid_status(status)[0], judged.directives, made, delay)
        return judged

    def _age(self, stored: Stored) -> float:
        return _age(stored, self.cache, self.settings.in_memory)

    def _may_use(self, stored: Stored, age: float) -> bool:
        """Say whether the stored response will do. SPEC: RFC 9111 4.2.4 and 5.2.1."""
        if self.private and _SHARED.isdisjoint(stored.directives):
            return False
        if self.ranged and stored[1].get('Accept-Ranges') == 'bytes' and 'only-if-cached' not in self.directives:
            return False
        overdue = age - stored.lifetime
        if self.directives:
            if self.max_age is not None and age > self.max_age:
                return False
            if self.min_fresh is not None and overdue > -self.min_fresh:
                return False
        if overdue < 0:
            return True
        if not _NEVER_STALE.isdisjoint(stored.directives):
            return False
        if self.directives and self.max_stale is not None and overdue <= self.max_stale:
            return True
        window = _seconds(stored.directives.get('stale-while-revalidate', ''))
        return (
            window is not None
            and overdue <= window
            and self.settings.in_memory
            and bool(self.cache.is_making(self.exchange, self.uri))
        )


def _age(stored: Stored, cache: Any, in_memory: bool) -> float:
    """Give the age of a stored response in seconds. SPEC: RFC 9111 4.2.3."""
    since: float = cache.clock() - stored.at if in_memory else time.time() - stored[3]
    return max(0.0, since) + stored.age


def _serve(exchange: Any, cache: Any, stored: Stored, age: float, settings: Settings) -> None:
    """Make a stored response the current one; HTTPRedirect(304) where the client has it already."""
    request = exchange.request
    response = exchange.response
    headers = HeaderMap()
    dict.update(headers, stored[1])
    dict.__setitem__(headers, 'Age', str(int(age)))
    status: str = stored[0]
    response.status = 200 if status == '200 OK' else status
    response.headers = headers
    response.body = stored[2]
    request.handler = None
    request.cached = True
    if exchange.plan is not None and exchange.plan.prepares:
        # What readies the response for a page handler comes after this and may set the type.
        _attach(
            request,
            'before_finalize',
            partial(headers.update, {'Content-Type': stored[1].get('Content-Type')}),
            True,
            0,
        )
    if settings.debug:
        log_debug(f'answered from the cache, age {int(age)}', 'TOOLS.CACHING')
    if hasattr(cache, 'tot_hist'):
        cache.tot_hist += 1
    # SPEC: RFC 9111 4.3.2. The conditions that are left ask whether the client's copy is good.
    header = _getter(exchange)
    if status[:3] == '200' and (header('if-none-match') or header('if-modified-since')):
        try:
            validate_etags()
            validate_since()
        except HTTPRedirect:
            if hasattr(cache, 'tot_non_modified'):
                cache.tot_non_modified += 1
            raise


class _Making:
    """One request that makes a response which may be stored: copies the body as it is sent, and ends in any case.

    stale: what is stored but did not do. void: set when the URI was invalidated, so that nothing is stored.
    """

    def __init__(
        self, exchange: Any, settings: Settings, cache: Any, uri: str, private: bool, stale: Stored | None
    ) -> None:
        self.exchange = exchange
        self.settings = settings
        self.cache = cache
        self.uri = uri
        self.private = private
        self.stale = stale
        self.void = False
        self.work: _Work | None = None
        self.key: Any = None
        self.patience = 0.0
        self.begun = cache.clock() if hasattr(cache, 'clock') else 0.0
        self._copied = False
        self._ended = False
        self._stored: Any = None

    def start(self) -> None:
        request = self.exchange.request
        request.cacheable = True
        request.cache_making = self
        non_blocking = self.settings.non_blocking
        _attach(request, 'before_finalize', tee_output, non_blocking)
        _attach(request, 'on_end_request', self.end, True)
        if self.stale is not None and 'stale-if-error' in self.stale.directives:
            _attach(request, 'after_error_response', self._rescue, True)

    def end(self, unkept: bool = False) -> None:
        """Stop: whoever waits goes on. unkept: whether the answer was none to keep."""
        if not self._ended:
            self._ended = True
            if self.settings.in_memory:
                self.cache.end(self, unkept and self.work is not None)

    def tee(self) -> None:
        """Store the response, or have it stored when it has been sent."""
        response = self.exchange.response
        if self._copied:
            # An error came after all, from a later hook.
            if self._stored is not None:
                self.cache.delete()
            self.end()
            return
        self._copied = True
        code, reason, _ = valid_status(200 if response.status is None else response.status)
        if code >= 500 and self._rescue():
            return
        stored = self._judge(response, code, reason)
        if stored is None:
            self.end(unkept=True)
            return
        body = response.body
        limit = self.settings.limit('maxobj_size', self.cache)
        length = response.headers.get('Content-Length')
        if isinstance(body, (list, tuple)):
            if not all(isinstance(chunk, bytes) for chunk in body):
                self.end()
            else:
                self.store(stored, b''.join(body), None)
        elif length is not None and str(length).isdigit() and int(length) >= limit:
            self.end(unkept=True)
        elif hasattr(body, '__aiter__') and not hasattr(body, '__iter__'):
            response.body = _AsyncTee(self, stored, body, limit)
        elif not response.stream and length is None:
            self.store(stored, response.collapse_body(), None)
        else:
            response.body = _Tee(self, stored, body, limit)

    def store(self, head: tuple[str, dict[str, Any]], body: bytes, length: Any) -> None:
        """Store the whole body with its head. length: what Content-Length said of a body sent piece by piece."""
        status, headers = head
        limit = self.settings.limit('maxobj_size', self.cache)
        if not body or len(body) >= limit:
            self.end(unkept=True)
            return
        if self._ended or self.void or (length is not None and str(length) != str(len(body))):
            self.end()
            return
        response = self.exchange.response
        stored = Stored((status, headers, body, response.time))
        stored.directives = _directives(headers.get('Cache-Control'))
        stored.age = _seconds(str(headers.get('Age', ''))) or 0
        stored.at = self.begun
        delay = self.settings.limit('delay', self.cache)
        stored.lifetime = _lifetime(headers, int(status[:3]), stored.directives, response.time, delay)
        self._stored = stored
        try:
            self.cache.put(stored, len(body))
        finally:
            self.end()
        if self.settings.debug:
            log_debug(f'stored for {stored.lifetime:g} seconds', 'TOOLS.CACHING')

    def _judge(self, response: Any, code: int, reason: str) -> tuple[str, dict[str, Any]] | None:
        """Give status line and headers to store; None if the response may not be. SPEC: RFC 9111 3."""
        exchange = self.exchange
        headers = response.headers
        if code not in _HEURISTIC and code not in _REDIRECTS:
            return None
        directives = _directives(str(headers.get('Cache-Control') or ''))
        if 'no-store' in directives or 'private' in directives or 'no-cache' in directives:
            return None
        if not directives and 'no-cache' in str(headers.get('Pragma') or '').lower():
            return None
        if 'Set-Cookie' in headers or response.__dict__.get('cookie') or 'Content-Range' in headers:
            return None
        vary = {name.strip().lower() for name in str(headers.get('Vary') or '').split(',')}
        if '*' in vary or len(vary) > _MAX_VARY:
            return None
        shared = not _SHARED.isdisjoint(directives)
        request = exchange.request
        if not shared:
            if self.private or request.login is not None:
                return None
            # Whatever looked at the client's cookies may have made the response for this client alone.
            if 'cookie' in request.__dict__ and 'cookie' not in vary:
                return None
        delay = self.settings.limit('delay', self.cache)
        if _lifetime(headers, code, directives, response.time, delay) <= 0:
            return None
        kept = dict(headers)
        kept.pop('Content-Length', None)
        return f'{code} {reason}', kept

    def _rescue(self) -> bool:
        """Put the stale response in the place of an error's, where it allows for that. SPEC: RFC 5861 4."""
        stale = self.stale
        response = self.exchange.response
        code = 200 if response.status is None else valid_status(response.status)[0]
        if stale is None or code < 500 or not _NEVER_STALE.isdisjoint(stale.directives):
            return False
        window = _seconds(stale.directives.get('stale-if-error', ''))
        age = _age(stale, self.cache, self.settings.in_memory)
        if window is None or age - stale.lifetime > window:
            return False
        self.end()
        headers = HeaderMap()
        dict.update(headers, stale[1])
        headers['Age'] = str(int(age))
        response.status, response.headers, response.body = stale[0], headers, stale[2]
        self.exchange.request.cached = True
        return True


def tee_output() -> None:
    """Have the response stored as it is sent, where `get` found that it may be: a hook at before_finalize.

    A body that raises, or is not read to its end, is not stored.
    """
    making = getattr(current().request, 'cache_making', None)
    if making is not None:
        making.tee()


class _Copy:
    """Keeps the chunks that go by, up to a limit; stores them if the end is reached."""

    def __init__(self, making: _Making, head: tuple[str, dict[str, Any]], body: Any, limit: int) -> None:
        self.making = making
        self.head = head
        self.body = body
        self.left = limit
        self.chunks: list[bytes] | None = []
        self.chunked: Any = None

    def keep(self, chunk: Any) -> None:
        if self.chunks is not None:
            data = as_bytes(chunk)
            self.left -= len(data)
            if self.left <= 0:
                self.drop(unkept=True)
            else:
                self.chunks.append(data)

    def drop(self, unkept: bool = False) -> None:
        if self.chunks is not None:
            self.chunks = None
            self.making.end(unkept)

    def done(self) -> None:
        chunks, self.chunks = self.chunks, None
        if chunks is not None:
            length = self.making.exchange.response.headers.get('Content-Length')
            self.making.store(self.head, b''.join(chunks), length)


class _Tee(_Copy):
    def __iter__(self) -> _Tee:
        return self

    def __next__(self) -> Any:
        if self.chunked is None:
            self.chunked = iter(self.body)
        try:
            chunk = next(self.chunked)
        except StopIteration:
            self.done()
            raise
        except BaseException:
            self.drop()
            raise
        self.keep(chunk)
        return chunk

    def close(self) -> None:
        self.drop()
        body, self.body = self.body, ()
        close = getattr(body, 'close', None)
        if close is not None:
            close()


class _AsyncTee(_Copy):
    def __aiter__(self) -> _AsyncTee:
        return self

    async def __anext__(self) -> Any:
        if self.chunked is None:
            self.chunked = self.body.__aiter__()
        try:
            chunk = await self.chunked.__anext__()
        except StopAsyncIteration:
            making = self.making
            if making.settings.non_blocking or not making.exchange.on_loop:
                self.done()
            else:
                await making.exchange.app.offload(self.done)
            raise
        except BaseException:
            self.drop()
            raise
        self.keep(chunk)
        return chunk

    async def aclose(self) -> None:
        self.drop()
        body, self.body = self.body, None
        aclose = getattr(body, 'aclose', None)
        if aclose is not None:
            await aclose()
