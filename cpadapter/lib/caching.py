"""The `expires` tool: how long clients and proxies may keep a response."""

from __future__ import annotations

from typing import Any

from ..context import current
from ..protocol.dates import HTTPDate

__all__ = ['expires']

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
        from .cptools import log_debug

        log_debug(f'Expires is {headers["Expires"]}', 'TOOLS.EXPIRES')


def _set(headers: Any, name: str, value: str, force: bool) -> None:
    if force or name not in headers:
        headers[name] = value


expires.non_blocking = True  # type: ignore[attr-defined]
