"""Request cookies: from Cookie field values to morsels. Knows no request.

SPEC: RFC 6265 5.4 and 4.2.1. Leniency: a pair that is no cookie is left out and the others are kept, because
one bad cookie, often another application's on the same host, must not take the page down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.cookies import SimpleCookie

__all__ = ['parse_cookies']

_MAX_PAIRS = 1000
# An escape inside double quotes: three octal digits, or a character that stands for itself.
_ESCAPE = re.compile(r'\\(?:([0-3][0-7][0-7])|(.))')


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
            coded = value.strip()
            morsel: Morsel[str] = Morsel()
            try:
                morsel.set(name, _unquoted(coded), coded)
            except CookieError:
                continue  # the pair is lost, as said above
            dict.__setitem__(cookie, name, morsel)
    return cookie


def _unquoted(text: str) -> str:
    # As SimpleCookie.value_decode does, which in older Pythons takes quadratic time.
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    if '\\' not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)) if match[1] else match[2], text)


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
