"""RFC 9111 for a shared cache, as functions of header values and of times that the caller gives.

What may be stored, for how long it is fresh, what a request accepts, and what an unsafe request invalidates. No
request, no store and no clock is known here. Directives are dicts {name in lower case: argument or ''}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..errors import HTTPError
from ..protocol.headers import RE_HEADER_SPLIT
from ..protocol.uri import quote_path

__all__ = [
    'SAFE_METHODS',
    'Wishes',
    'allows_stale',
    'delta_seconds',
    'fresh_seconds',
    'invalidated_uri',
    'is_confirmed',
    'is_for_all',
    'may_store',
    'read_directives',
    'selecting_names',
    'stale_seconds',
    'uri_key',
]

# SPEC: RFC 9110 9.2.1.
SAFE_METHODS = frozenset(('GET', 'HEAD', 'OPTIONS', 'TRACE'))

# SPEC: RFC 9110 15.1 names more; those left out are errors, whose pages are made for one client, and what has no body.
_HEURISTIC = frozenset((200, 203, 300, 301, 308))
_REDIRECTS = frozenset((302, 303, 307))
_UNSHARED = frozenset(('no-cache', 'no-store', 'private'))
# SPEC: RFC 9111 3.5: what lets an answer to a request with credentials be kept for all.
_SHARED = frozenset(('must-revalidate', 'public', 's-maxage'))
_NEVER_STALE = frozenset(('must-revalidate', 'no-cache', 'proxy-revalidate', 's-maxage'))
# SPEC: RFC 5861.
_STALE = ('stale-while-revalidate', 'stale-if-error')

_NOTHING: dict[str, str] = {}
_NO_CACHE = {'no-cache': ''}
# SPEC: RFC 9111 1.2.2: a greater number counts as this one.
_LONGEST = 2**31
_MAX_VARY = 20


# --- reading --------------------------------------------------------------------------------------------------


def read_directives(field: Any) -> dict[str, str]:
    """Read a Cache-Control field, None if absent; of a repeated directive the first counts. Not to be changed.

    SPEC: RFC 9111 5.2: names in any case, arguments with and without quotes.
    """
    if not field:
        return _NOTHING
    field = str(field)
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


def delta_seconds(value: Any) -> int | None:
    """Read a number of seconds; None if it is none. SPEC: RFC 9111 1.2.2."""
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        return None
    return _LONGEST if len(text) > 9 else int(text)


def selecting_names(vary: Any) -> frozenset[str] | None:
    """Read a Vary field into names of headers, in lower case; None where no key can be made of it: '*', or too many."""
    if not vary:
        return frozenset()
    names = frozenset([name.strip().lower() for name in str(vary).split(',')]) - {''}
    return None if '*' in names or len(names) > _MAX_VARY else names


# --- storing --------------------------------------------------------------------------------------------------


def may_store(code: int, headers: Any, credentials: bool, saw_cookies: bool) -> bool:
    """Say whether the response to a GET may be kept for all, if it is fresh at all. SPEC: RFC 9111 3.

    headers: of the response. credentials: whether its request had any, or a user who is logged in.
    saw_cookies: whether something looked at the request's cookies, and so may have made it for one client alone.
    """
    if code not in _HEURISTIC and code not in _REDIRECTS:
        return False
    directives = read_directives(headers.get('Cache-Control'))
    if not _UNSHARED.isdisjoint(directives):
        return False
    if not directives and 'no-cache' in str(headers.get('Pragma') or '').lower():
        return False
    names = selecting_names(headers.get('Vary'))
    if names is None or 'Set-Cookie' in headers or 'Content-Range' in headers:
        return False
    return is_for_all(directives) or not (credentials or (saw_cookies and 'cookie' not in names))


def is_for_all(directives: dict[str, str]) -> bool:
    """Say whether a response may be given to others although it answers a request with credentials, and to those."""
    return not _SHARED.isdisjoint(directives)


def fresh_seconds(code: int, headers: Any, now: float, delay: float) -> float:
    """Give the seconds for which a response made at `now` is fresh; 0 or less where it may not be kept.

    SPEC: RFC 9111 4.2.1: s-maxage, max-age, Expires, in this order; else `delay`, where its status allows for it.
    What cannot be read says that it is stale.
    """
    directives = read_directives(headers.get('Cache-Control'))
    for name in ('s-maxage', 'max-age'):
        text = directives.get(name)
        if text is not None:
            return delta_seconds(text) or 0
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


def is_confirmed(stored: Any, headers: Any, since: str | None) -> bool:
    """Say whether a 304 says that what is stored still holds. SPEC: RFC 9111 4.3.4.

    stored, headers: of the stored response and of the 304, looked up without regard to case.
    since: If-Modified-Since of its request, where that is what the 304 answers, and it has no validator itself.
    """
    tag = headers.get('ETag')
    if tag:
        return bool(stored.get('ETag') == tag)
    date = headers.get('Last-Modified') or since
    return bool(date) and str(stored.get('Last-Modified')) == str(date)


# --- using ----------------------------------------------------------------------------------------------------


def allows_stale(directives: dict[str, str], name: str, overdue: float) -> bool:
    """Say whether a directive of RFC 5861 lets a response be used that has been stale for `overdue` seconds."""
    window = None if not _NEVER_STALE.isdisjoint(directives) else delta_seconds(directives.get(name, ''))
    return window is not None and overdue <= window


def stale_seconds(directives: dict[str, str]) -> int:
    """Give for how long a stale response is still of use, to whoever does not ask for one."""
    if not _NEVER_STALE.isdisjoint(directives):
        return 0
    return max(delta_seconds(directives.get(name, '')) or 0 for name in _STALE)


class Wishes:
    """What a request asks of a cache: by Cache-Control, or by Pragma where it has none.

    HTTPError(400) for a number of seconds that is none. SPEC: RFC 9111 5.2.1 and 5.4.
    """

    def __init__(self, cache_control: str | None, pragma: str | None = None) -> None:
        if cache_control:
            self.directives = read_directives(cache_control)
        else:
            self.directives = _NO_CACHE if 'no-cache' in (pragma or '').lower() else _NOTHING
        self.max_age = self._seconds('max-age')
        self.min_fresh = self._seconds('min-fresh')
        self.max_stale = _LONGEST if self.directives.get('max-stale') == '' else self._seconds('max-stale')

    def _seconds(self, name: str) -> int | None:
        text = self.directives.get(name)
        if text is None:
            return None
        seconds = delta_seconds(text)
        if seconds is None:
            raise HTTPError(400, 'Invalid Cache-Control header')
        return seconds

    def accept(self, age: float, lifetime: float, directives: dict[str, str], is_renewed: Callable[[], bool]) -> bool:
        """Say whether a stored response of this age, lifetime and Cache-Control will do. SPEC: RFC 9111 4.2.4.

        is_renewed: whether another request makes a new one meanwhile; called only where that counts.
        """
        overdue = age - lifetime
        if self.max_age is not None and age > self.max_age:
            return False
        if self.min_fresh is not None and overdue > -self.min_fresh:
            return False
        if overdue < 0:
            return True
        if not _NEVER_STALE.isdisjoint(directives):
            return False
        if self.max_stale is not None and overdue <= self.max_stale:
            return True
        return allows_stale(directives, 'stale-while-revalidate', overdue) and is_renewed()


# --- keys and invalidation ------------------------------------------------------------------------------------


def uri_key(base: str, path: str, query: str) -> str:
    """Give what one resource differs from another by: its URI. path: percent-encoded; '' has no query."""
    return f'{base.lower()}{path}?{query}' if query else base.lower() + path


def invalidated_uri(base: str, path: str, reference: str) -> str | None:
    """Give the key of what Location or Content-Location names, None if that is of another origin.

    base, path: of the request, the path decoded. SPEC: RFC 9111 4.4: only what has the request's origin may go.
    """
    from urllib.parse import unquote, urljoin, urlsplit

    try:
        parts = urlsplit(urljoin(base + quote_path(path), reference))
        scheme, _, host = base.partition('://')
        if _origin(parts.scheme, parts.netloc) != _origin(scheme, host):
            return None
    except ValueError:
        return None
    return uri_key(base, quote_path(unquote(parts.path)) or '/', parts.query)


def _origin(scheme: str, host: str) -> tuple[str, str]:
    """Give what two URLs of one origin have in common: without the port that the scheme means anyway."""
    scheme = scheme.lower()
    return scheme, host.lower().removesuffix({'http': ':80', 'https': ':443'}.get(scheme, ':'))
