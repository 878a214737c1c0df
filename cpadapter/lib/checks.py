"""What the settings of tools may be: functions that give '' for a good value, else what is wrong with it.

`checked` marks a tool's callable with them; a plan asks them when it is compiled. They know no tool and no request, and
refuse only what could not work once a request comes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from ..protocol.dates import HTTPDate
from ..protocol.status import valid_status

__all__ = [
    'charset',
    'charsets',
    'checked',
    'cookie_name',
    'error_handler',
    'error_status',
    'exceptions',
    'field_name',
    'field_names',
    'fields',
    'folder',
    'is_callable',
    'is_class',
    'number',
    'optional',
    'positive',
    'realm',
    'regex',
    'samesite',
    'span',
    'status_between',
    'text',
    'texts',
    'tokens',
    'types_by_extension',
    'whole_number',
]

Check = Callable[[Any], str]
_Call = TypeVar('_Call', bound=Callable[..., Any])

# SPEC: RFC 9110 5.6.2.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def checked(**checks: Check) -> Callable[[_Call], _Call]:
    """Give a decorator that sets `checks` of a tool's callable: a check for each setting it names."""

    def decorator(call: _Call) -> _Call:
        call.checks = checks  # type: ignore[attr-defined]
        return call

    return decorator


def optional(check: Check) -> Check:
    """Give a check that lets None pass as well."""
    return lambda value: '' if value is None else check(value)


# --- text -----------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """Check text."""
    return '' if isinstance(value, str) else 'it has to be text'


def texts(value: Any) -> str:
    """Check text, or a list of it that can be read more than once."""
    if isinstance(value, str):
        return ''
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Collection):
        return 'it has to be text, or a list or tuple of it'
    wrong = [item for item in value if not isinstance(item, str)]
    return f'it has to be text, or a list of it, and {_shown(wrong[0])} is none' if wrong else ''


def tokens(value: Any) -> str:
    """Check one name of a method, or a list of them."""
    problem = texts(value)
    if not problem:
        for name in [value] if isinstance(value, str) else value:
            if name and not re.fullmatch(_TOKEN, name):
                return f"{_shown(name)} is no name of a method; give several as a list, such as ['GET', 'POST']"
    return problem


def field_name(value: Any) -> str:
    """Check the name of a header."""
    if not isinstance(value, str) or not re.fullmatch(_TOKEN, value):
        return f"{_shown(value)} is no name of a header, such as 'X-Mine'"
    return ''


def realm(value: Any) -> str:
    """Check the realm of a challenge, which stands between quotes there."""
    if not isinstance(value, str):
        return 'it has to be text'
    return 'it cannot contain the " (quote) character' if '"' in value else ''


def cookie_name(value: Any) -> str:
    """Check the name of a cookie."""
    good = isinstance(value, str) and re.fullmatch(_TOKEN, value)
    return '' if good else f"{_shown(value)} is no name of a cookie, such as 'session_id'"


def samesite(value: Any) -> str:
    """Check the attribute SameSite of a cookie; '' and False leave it out."""
    good = not value or (isinstance(value, str) and value.lower() in ('lax', 'strict', 'none'))
    return '' if good else "it has to be 'Lax', 'Strict' or 'None', or None to leave the attribute out"


def field_names(value: Any) -> str:
    """Check one name of a header, or a list of them."""
    problem = texts(value)
    if not problem:
        for name in [value] if isinstance(value, str) else value:
            problem = problem or field_name(name)
    return problem


def fields(value: Any) -> str:
    """Check (name, value) pairs of headers."""
    example = "give a list of pairs, such as [('X-Mine', 'a')]"
    if isinstance(value, Mapping):
        return f'a dict is not taken: {example}'
    if isinstance(value, (str, bytes)) or not isinstance(value, Collection):
        return f'it has to be a list: {example}'
    for pair in value:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            return f'{_shown(pair)} is no pair: {example}'
        name, content = pair
        problem = field_name(name.decode('latin-1') if isinstance(name, bytes) else name)
        if problem:
            return problem
        if isinstance(content, (list, tuple, dict, set)):
            return f'the value of {name!r} has to be text, and {_shown(content)} is none'
    return ''


def types_by_extension(value: Any) -> str:
    """Check media types by extension."""
    if not isinstance(value, Mapping):
        return "it has to be a dict of types by extension, such as {'xyz': 'text/plain'}"
    for name, kind in value.items():
        if not isinstance(name, str) or not isinstance(kind, str):
            return f"{name!r}: {kind!r} is not text by text, as in {{'xyz': 'text/plain'}}"
    return ''


def regex(value: Any) -> str:
    """Check a regular expression, as text or compiled."""
    if isinstance(value, re.Pattern):
        return '' if isinstance(value.pattern, str) else 'it has to be a regular expression for text, not bytes'
    if not isinstance(value, str):
        return 'it has to be a regular expression'
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as exc:
        return f'it is no regular expression ({exc}); re.escape() gives one for plain text'
    return ''


def folder(value: Any) -> str:
    """Check the path of a file or folder: text, or a Path."""
    spelled = value if isinstance(value, str) else _spelled(value)
    if not isinstance(spelled, str):
        return 'it has to be a path, as text'
    return 'it holds a zero byte' if '\0' in spelled else ''


def _spelled(value: Any) -> Any:
    spell = getattr(type(value), '__fspath__', None)
    return spell(value) if spell is not None else None


def charset(value: Any) -> str:
    """Check the name of a charset that Python has."""
    if not isinstance(value, str):
        return 'it has to be the name of a charset'
    try:
        '.'.encode(value)
    except (LookupError, UnicodeError, ValueError):
        return f"there is no charset {_shown(value)}; a usual one is 'utf-8'"
    return ''


def charsets(value: Any) -> str:
    """Check one name of a charset, or a list of them."""
    problem = texts(value)
    if not problem:
        for name in [value] if isinstance(value, str) else value:
            problem = problem or charset(name)
    return problem


def error_handler(value: Any) -> str:
    """Check a name that `str.encode` takes as its `errors`."""
    import codecs

    try:
        codecs.lookup_error(value)
    except (LookupError, TypeError):
        return "it has to be one of the names str.encode takes for `errors`, such as 'strict' or 'replace'"
    return ''


# --- numbers --------------------------------------------------------------------------------------------------


def number(least: float | None = None) -> Check:
    """Give a check for a finite number, of no less than `least`."""

    def check(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
            return 'it has to be a number'
        if least is not None and value < least:
            return f'it has to be a number of {least} or more'
        return ''

    return check


_not_negative = number(0)


def whole_number(least: int | None = None, most: int | None = None) -> Check:
    """Give a check for an int from `least` to `most`."""

    def check(value: Any) -> str:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and (least is None or value >= least) and (most is None or value <= most):
            return ''
        bounds = '' if least is None else f' of {least} or more' if most is None else f' from {least} to {most}'
        return f'it has to be a whole number{bounds}'

    return check


def positive(value: Any) -> str:
    """Check a number above 0."""
    return '' if _not_negative(value) == '' and value else 'it has to be a number above 0'


def span(value: Any) -> str:
    """Check seconds from now, a number or a timedelta, that lead to a date."""
    seconds = value
    if not isinstance(seconds, (int, float)):
        total_seconds = getattr(value, 'total_seconds', None)
        seconds = total_seconds() if total_seconds is not None else None
    if seconds is None:
        return 'it has to be a number of seconds or a timedelta'
    try:
        HTTPDate(time.time() + seconds)
    except (ArithmeticError, ValueError):
        return 'no date is as far away'
    return ''


def status_between(least: int, most: int) -> Check:
    """Give a check for a status: an int, or text that begins with one."""

    def check(value: Any) -> str:
        try:
            code = valid_status(value)[0]
        except (TypeError, ValueError):
            code = 0
        return '' if value and least <= code <= most else f'it has to be a status from {least} to {most}'

    return check


error_status = status_between(400, 599)


# --- code -----------------------------------------------------------------------------------------------------


def is_callable(value: Any) -> str:
    """Check what can be called."""
    return '' if callable(value) else 'it has to be something that can be called'


def is_class(value: Any) -> str:
    """Check a class."""
    return '' if isinstance(value, type) else 'it has to be a class'


def exceptions(value: Any) -> str:
    """Check an exception's class, or a tuple of them."""
    for item in value if isinstance(value, tuple) else (value,):
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            return f'it has to be an exception, or a tuple of them, and {_shown(item)} is none'
    return ''


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f'{shown[:37]}...'
