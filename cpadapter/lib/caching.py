"""The `expires` and `caching` tools: how long others may keep a response, and a shared cache of the site's own.

What the cache does is in other files, loaded once a plan has the tool: the rules of RFC 9111 in `freshness`, the store
in `cachestore`, answering from it in `cachelookup`, filling it in `cachefill`. No request is looked at here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..context import current
from ..extension.tools import Tool
from ..protocol.dates import HTTPDate
from . import checks
from .checks import checked, optional
from .debug import log_debug

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder
    from .cachestore import AntiStampedeCache, Cache, MemoryCache, Stored

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


def __getattr__(name: str) -> Any:
    # PERF: whoever does not cache does without the store: 1.8 milliseconds of the import.
    if name in __all__:
        from . import cachestore

        return getattr(cachestore, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


# --- expires --------------------------------------------------------------------------------------------------

# A date long past, for what is not to be kept at all.
_PAST = 'Sun, 28 Jan 2007 00:00:00 GMT'

_CACHEABLE = ('Etag', 'Last-Modified', 'Age', 'Expires')


@checked(secs=checks.span)
def expires(secs: Any = 0, force: bool = False, debug: bool = False) -> None:
    """Set Expires, and for 0 seconds all that keeps caches from keeping the response.

    secs: seconds from now, an int or a timedelta; 0 is not to be kept, a negative one has expired already.
    force: True also replaces headers that are there, and acts on responses without a validator: other ones are
        left alone, since only a response with ETag, Last-Modified, Age or Expires says that it may be kept.
    Raises TypeError for any other kind of `secs`, if there are headers to set.
    """
    exchange = current()
    response = exchange.response
    headers = response.headers
    if not force and not any(name in headers for name in _CACHEABLE):
        return
    if not isinstance(secs, (int, float)):
        total_seconds = getattr(secs, 'total_seconds', None)
        if total_seconds is None:
            raise TypeError(f'secs is a number of seconds or a timedelta, not {secs!r}.')
        secs = int(total_seconds())
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


# --- the cache ------------------------------------------------------------------------------------------------


class CachingTool(Tool):
    """The `caching` tool of a site, and the site's stores: one per class."""

    def __init__(self) -> None:
        self.caches: dict[Any, Any] = {}
        super().__init__('before_handler', get, 'caching', 90)

    @property
    def cache(self) -> Any:
        """The store in use; None before the first request."""
        return next(iter(self.caches.values()), None)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        if self.callable is not get:
            builder.attach(self._point or 'before_handler', self.callable, priority=priority, **settings)
            return
        from .cachelookup import Settings, look_up

        bound = Settings(self.caches, **settings)

        def look_up_in_cache() -> Any:
            return look_up(bound)

        # It leaves page handlers alone but for taking them away: what they give can be filtered as without it.
        look_up_in_cache.neutral = True  # type: ignore[attr-defined]
        hook = builder.attach(self._point or 'before_handler', look_up_in_cache, priority=priority)
        hook.non_blocking = bound.non_blocking


@checked(
    invalid_methods=optional(checks.tokens),
    cache_class=checks.is_callable,
    delay=checks.number(),
    maxobjects=checks.number(0),
    maxobj_size=checks.number(0),
    maxsize=checks.number(0),
    antistampede_timeout=optional(checks.number(0)),
    expire_freq=checks.number(0),
)
def get(invalid_methods: Any = ('POST', 'PUT', 'DELETE'), debug: bool = False, **kwargs: Any) -> Any:
    """Answer the current request from the cache, or have its response stored.

    invalid_methods: methods that remove what is stored for the URI; all unsafe ones do besides.
    cache_class: makes the store. Any other setting is an attribute of the store: see MemoryCache.
    Sets `request.cached`, and `request.cacheable` where the response may be stored. An answer from the cache has
    Age, and the page handler does not run. HTTPError(504) for `only-if-cached` without such an answer, 400 for a
    number of Cache-Control that is none. Gives None, or an awaitable where another request's response is waited for.

    SPEC: RFC 9111, as a shared cache.
    """
    from .cachelookup import Settings, look_up

    tool = getattr(current().site.tools, 'caching', None)
    caches = tool.caches if isinstance(tool, CachingTool) else {}
    return look_up(Settings(caches, invalid_methods, debug, **kwargs))


def tee_output() -> Any:
    """Have the response stored as it is sent, where `get` found that it may be: a hook at before_finalize.

    A body that raises, or is not read to its end, is not stored.
    """
    making = getattr(current().request, 'cache_making', None)
    return making.tee() if making is not None else None
