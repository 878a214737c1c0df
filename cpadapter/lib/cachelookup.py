"""Answering a request from the store of the `caching` tool, or finding that its response is to be made and stored.

How a response gets into the store is not known here, nor what the headers mean.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..context import current
from ..errors import HTTPError, HTTPRedirect
from ..extension.hooks import Steps
from ..extension.tools import UnknownSetting
from ..protocol.status import valid_status
from . import field_getter
from .cachefill import Making, answer_with, attach_hook
from .cachestore import MemoryCache, Stored, Work, request_uri
from .cptools import validate_etags, validate_since
from .debug import log_debug
from .freshness import SAFE_METHODS, Wishes, invalidated_uri, is_for_all

__all__ = ['Settings', 'look_up']

# What holds for the responses of a path, and not for the store.
_OF_A_PATH = frozenset(('antistampede_timeout', 'debug', 'delay', 'maxobj_size'))


class Settings:
    """The settings of the tool on one path, and the store they name. TypeError names one that MemoryCache lacks.

    caches: {class: store}, shared by all paths of a site. values: {attribute of the store: value}.
    """

    def __init__(
        self,
        caches: dict[Any, Any],
        /,
        invalid_methods: Any = ('POST', 'PUT', 'DELETE'),
        debug: bool = False,
        cache_class: Any = MemoryCache,
        **values: Any,
    ) -> None:
        if cache_class is MemoryCache:
            known = {name for name in vars(MemoryCache) if name[0] != '_' and not callable(getattr(MemoryCache, name))}
            for name in values:
                if name not in known:
                    raise UnknownSetting(name, known | {'cache_class', 'debug', 'invalid_methods'})
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


# Headers that make a request one that cannot be answered from the cache without looking closer.
_SPECIAL = (
    *('cache-control', 'pragma', 'authorization', 'cgi-authorization', 'range', 'if-match', 'if-unmodified-since'),
)


def look_up(settings: Settings) -> Any:
    """Answer the current request from the store, or have its response stored: see `caching.get`."""
    exchange = current()
    request = exchange.request
    request.cached = request.cacheable = False  # type: ignore[attr-defined]
    method = request.method
    cache = settings.cache
    if method not in ('GET', 'HEAD') or method in settings.invalid_methods:
        if method in settings.invalid_methods or method not in SAFE_METHODS:
            if settings.debug:
                log_debug(f'{method} removes what is stored', 'TOOLS.CACHING')
            cache.delete()
            attach_hook(request, 'before_finalize', _Invalidation(cache).run, settings.non_blocking)
        return None
    if request.__dict__.get('handler', request) is None:
        # A tool has made the response, perhaps to say that this client may not see the page.
        return None
    uri = ''
    if settings.in_memory:
        uri = request_uri(exchange)
        header = field_getter(exchange)
        if request.login is None and not any(map(header, _SPECIAL)):
            # PERF: most requests want nothing in particular: 4 microseconds less.
            stored = cache.find(exchange, uri)
            if stored is not None:
                age = stored.age_by(cache.clock())
                if age < stored.lifetime:
                    _serve(exchange, cache, stored, age, settings)
                    return None
    question = _Question(exchange, settings, cache, uri)
    while True:
        work = question.ask()
        if work is None:
            return None
        if exchange.on_loop or 'asgi' in (getattr(exchange.head, 'native', None) or ()):
            return Steps(question.wait_and_ask(work))
        work.wait(question.time_left())


class _Invalidation:
    """Removes what an unsafe request may have changed, after it has done so."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def run(self) -> None:
        exchange = current()
        request, response = exchange.request, exchange.response
        self.cache.delete()
        code = 200 if response.status is None else valid_status(response.status)[0]
        delete_uri = getattr(self.cache, 'delete_uri', None)
        if code >= 400 or delete_uri is None:
            return
        for name in ('Location', 'Content-Location'):
            reference = response.headers.get(name)
            if reference:
                uri = invalidated_uri(request.base, request.script_name + request.path_info, str(reference))
                if uri is not None:
                    delete_uri(uri)


class _Question:
    """One GET or HEAD: what it wants of the cache."""

    def __init__(self, exchange: Any, settings: Settings, cache: Any, uri: str) -> None:
        self.exchange = exchange
        self.settings = settings
        self.cache = cache
        self.uri = uri
        header = field_getter(exchange)
        self.wishes = Wishes(header('cache-control'), header('pragma'))
        asked = self.wishes.directives
        # Conditions on the state of the resource are the page handler's to check.
        self.asks_origin = (
            'no-cache' in asked
            or 'no-store' in asked
            or header('if-match') is not None
            or header('if-unmodified-since') is not None
        )
        self.ranged = header('range') is not None
        # COMPAT: Cgi-Authorization is what some CGI servers call it.
        self.private = exchange.request.login is not None or any(map(header, ('authorization', 'cgi-authorization')))
        self.deadline: float | None = None
        self.waits = True

    def ask(self) -> Work | None:
        """Answer from the cache, or begin to make the response; or give what makes it already, to be waited for."""
        exchange = self.exchange
        settings = self.settings
        cache = self.cache
        stored = cache.find(exchange, self.uri) if settings.in_memory else cache.get()
        if stored is not None:
            if type(stored) is not Stored:
                stored = Stored.judge(stored, settings.limit('delay', cache))
            age = stored.age_by(cache.clock() if settings.in_memory else None)
            if not self.asks_origin and self._may_use(stored, age):
                _serve(exchange, cache, stored, age, settings)
                return None
        if 'only-if-cached' in self.wishes.directives:
            raise HTTPError(504)
        if exchange.request.method == 'HEAD' or self.ranged or 'no-store' in self.wishes.directives:
            return None
        making = Making(exchange, settings, cache, self.uri, self.private, stored, not self.asks_origin)
        if settings.in_memory:
            timeout = settings.limit('antistampede_timeout', cache)
            leads = timeout is not None and not (self.private or self.asks_origin)
            if leads and self.deadline is None:
                self.deadline = cache.clock() + timeout
            making.patience = timeout or 0
            work: Work | None = cache.begin(making, leads, self.waits)
            if work is not None:
                return work
        making.start()
        return None

    def time_left(self) -> float:
        """Give how many seconds it may wait yet; what it does afterwards without an answer, it does itself."""
        left: float = (self.deadline or 0) - self.cache.clock()
        self.waits = left > 0
        return max(left, 0)

    async def wait_and_ask(self, work: Work | None) -> None:
        """Wait without holding a thread or an event loop, and ask again."""
        exchange = self.exchange
        while work is not None:
            pending = work.await_end(self.time_left())
            await (pending if exchange.on_loop else exchange.suspend(pending))
            work = self.ask()

    def _may_use(self, stored: Stored, age: float) -> bool:
        if self.private and not is_for_all(stored.directives):
            return False
        wishes = self.wishes
        if self.ranged and stored[1].get('Accept-Ranges') == 'bytes' and 'only-if-cached' not in wishes.directives:
            return False
        return wishes.accept(age, stored.lifetime, stored.directives, self._is_renewed)

    def _is_renewed(self) -> bool:
        return self.settings.in_memory and bool(self.cache.is_making(self.exchange, self.uri))


def _serve(exchange: Any, cache: Any, stored: Stored, age: float, settings: Settings) -> None:
    """Make a stored response the current one; HTTPRedirect(304) where the client has it already."""
    request = exchange.request
    response = exchange.response
    # What proves to this client who answers is its own.
    info = response.headers.get('Authentication-Info') if request.login is not None else None
    answer_with(response, stored, age)
    if info is not None:
        response.headers['Authentication-Info'] = info
    request.handler = None
    request.cached = True
    if exchange.plan is not None and exchange.plan.prepares:
        # What readies the response for a page handler comes after this and may set the type.
        put_back = partial(response.headers.update, {'Content-Type': stored[1].get('Content-Type')})
        attach_hook(request, 'before_finalize', put_back, True, 0)
    if settings.debug:
        log_debug(f'answered from the cache, age {int(age)}', 'TOOLS.CACHING')
    if hasattr(cache, 'tot_hist'):
        cache.tot_hist += 1
    # SPEC: RFC 9111 4.3.2. The conditions that are left ask whether the client's copy is good.
    header = field_getter(exchange)
    if stored[0][:3] == '200' and (header('if-none-match') or header('if-modified-since')):
        try:
            validate_etags()
            validate_since()
        except HTTPRedirect:
            if hasattr(cache, 'tot_non_modified'):
                cache.tot_non_modified += 1
            raise
