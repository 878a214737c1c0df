"""Request cookies: from Cookie field values to morsels. Knows no request.

SPEC: RFC 6265 5.4 and 4.2.1. Leniency: a pair that is no cookie is left out and the others are kept, because
one bad cookie, often another application's on the same host, must not take the page down.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.cookies import SimpleCookie

__all__ = ['parse_cookies']

_MAX_PAIRS = 1000


def parse_cookies(fields: Iterable[str]) -> SimpleCookie:
    """Read Cookie field values, latin-1 text, into a SimpleCookie; of one name the last pair counts.

    Pairs beyond the first 1000 are left out, so that a long field costs no more than its length.
    """
    from http.cookies import CookieError, Morsel, SimpleCookie

    cookie = SimpleCookie()
    count = 0
    for field in fields:
        for pair in _pairs(field):
            count += 1
            if count > _MAX_PAIRS:
                return cookie
            name, equals, value = pair.partition('=')
            name = name.strip()
            if not equals or not name or name[0] == '$':
                continue
            real, coded = cookie.value_decode(value.strip())
            morsel: Morsel[str] = Morsel()
            try:
                morsel.set(name, real, coded)
            except CookieError:
                continue  # the pair is lost, as said above
            dict.__setitem__(cookie, name, morsel)
    return cookie


def _pairs(field: str) -> list[str]:
    """Split at semicolons outside double quotes."""
    if '"' not in field:
        return field.split(';')
    pairs = []
    start = 0
    quoted = escaped = False
    for i, char in enumerate(field):
        if escaped:
            escaped = False
        elif char == '\\' and quoted:
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == ';' and not quoted:
            pairs.append(field[start:i])
            start = i + 1
    pairs.append(field[start:])
    return pairs
