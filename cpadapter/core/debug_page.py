"""The debug page: what an exception that nobody foresaw is answered with where config has `request.debug` on.

Who may see it, what it shows and how: the exceptions with their source lines and local variables, and the request's
values. It is imported when a first page is due. It makes a page and the headers that go with it; when that happens,
what is logged, and what is sent if it fails are the pipeline's business.

Own code, on the standard library: Werkzeug's traceback pages are made to talk to its console by script, show no
values, and know neither groups of exceptions nor what is to be kept secret.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import sys
import sysconfig
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from hashlib import sha256
from html import escape
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote_plus

from ..errors import clean_headers, format_exc, page_type

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

    from .pipeline import Exchange

__all__ = ['DebugPage', 'is_local', 'is_secret', 'make_page', 'may_see']

# Bounds. Exceptions: of chains and groups together. Frames: of one exception, half of them the first, half the last.
MAX_EXCEPTIONS = 20
MAX_FRAMES = 60
MAX_LOCALS = 60
MAX_ROWS = 300
# Characters: of one value, one line of source, one exception's text; and of all values of one page.
MAX_VALUE = 1000
MAX_LINE = 300
MAX_TEXT = 8000
MAX_VALUES = 1_000_000
# Items of one container, and how deep containers are looked into.
MAX_ITEMS = 50
MAX_DEPTH = 4
# Lines of source before and after the current one.
AROUND = 5
# Seconds: after the first no further value is asked for, after the second a page without values is made.
VALUES_TIME = 1.0
WHOLE_TIME = 3.0

MASK = '\u2026'


# --- who may see it -------------------------------------------------------------------------------------------

_OF_PROXIES = frozenset(
    (
        *('cf-connecting-ip', 'client-ip', 'fastly-client-ip', 'forwarded', 'true-client-ip', 'via', 'x-client-ip'),
        *('x-cluster-client-ip', 'x-envoy-external-address', 'x-original-host', 'x-proxyuser-ip', 'x-real-ip'),
    )
)


def may_see(exchange: Exchange) -> bool:
    """Say whether the client may see a debug page: on loopback, or wherever it is with `request.debug_remote`."""
    if is_local(exchange):
        return True
    # Not what merely counts as true: a setting such as 'off' opens nothing.
    if getattr(exchange.request, 'debug_remote', False) is not True:
        return False
    exchange.app.warn_of_debug_pages()
    return True


def is_local(exchange: Exchange) -> bool:
    """Say whether the client is on this machine, as far as can be told: its address, and nothing between.

    The peer is on loopback, and so is `request.remote` if that was set. Host names loopback, since a page of another
    site may reach this server under a name of its own (DNS rebinding). No header tells of a proxy. A request in
    HTTP/1.0 counts as a proxy's: some of them say nothing else. An Origin is on loopback: other sites' scripts are
    shown nothing, whatever the application lets them read.
    """
    head = exchange.head
    if not _is_loopback(head.remote.ip):
        return False
    remote = exchange.request.__dict__.get('remote')
    if remote is not None and not _is_loopback(remote.ip):
        return False
    if head.version < (1, 1) or not _names_loopback(head.get('host')):
        return False
    for name, _ in head.items():
        name = name.lower()
        if name in _OF_PROXIES or name.startswith('x-forwarded'):
            return False
    origin = head.get('origin')
    return origin is None or _names_loopback(origin.partition('://')[2])


def _is_loopback(address: Any) -> bool:
    """Say whether an IP address, as text, is 127.0.0.0/8, ::1, or the former written as the latter."""
    import ipaddress

    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        # No address (a Unix socket's client), or a name.
        return False
    mapped = getattr(ip, 'ipv4_mapped', None)
    return (mapped or ip).is_loopback


def _names_loopback(host: str | None) -> bool:
    """Say whether a Host field, with or without a port, names loopback. SPEC: RFC 6761 6.3 on localhost."""
    if not host:
        return False
    match = re.fullmatch(r'(?:\[([0-9a-f:.]+)\]|([^\[\]:/@\s]+))(?::\d*)?', host.strip().lower())
    if match is None:
        return False
    name = match[1] or match[2].removesuffix('.')
    return name == 'localhost' or name.endswith('.localhost') or _is_loopback(name)


# --- what is kept secret --------------------------------------------------------------------------------------

# What a name holds that bears a secret. "key" counts as a word of its own only, and so does "sid".
_SECRET_WORDS = (
    'passw(?:or)?d|passphrase|passcode|pwd|secret|token|credential|csrf|xsrf|jwt|authorization|cookie'
    '|session[-_.]?id|(?:api|access|private|secret|auth|signing|encryption)[-_.]?key'
    '|(?<![a-z])(?:key|sid)(?![a-z])'
)
_secret_name = re.compile(_SECRET_WORDS, re.IGNORECASE).search

# "name=value", "'name': 'value'" and the like, inside of texts: what stands before the value, and the value.
_ENTRY = re.compile(r"""(?<![\w.-])([\w.-]+)["']?\s*[=:]\s*""")
_ENTRY_VALUE = re.compile(
    r"""b?'(?:\\.|[^'\\])*'|b?"(?:\\.|[^"\\])*"|\[[^\]]*\]|\{[^}]*\}|\([^)]*\)|[^\s,;&)}\]]+""", re.DOTALL
)
# SPEC: RFC 9110 11.4: a scheme, then token68; a word of prose holds no digit.
_CREDENTIALS = re.compile(r'\b(Basic|Bearer|Negotiate)\s+(?=[^\s\'"<>]*[\d=])[^\s\'"<>]{8,}', re.IGNORECASE)

# Characters from which a value is kept out of other texts as well; of cookies, most of which are no secrets, more.
_LONG_ENOUGH = 6
_LONG_COOKIE = 12


def is_secret(name: Any) -> bool:
    """Say whether a name (of a header, parameter, variable, config entry) is that of something secret."""
    if isinstance(name, bytes):
        name = name.decode('latin-1')
    return isinstance(name, str) and _secret_name(name) is not None


class _Mask:
    """Takes secrets out of texts: values of the request, its config and local variables that bear a secret name."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self._sorted: list[str] | None = None

    def add(self, value: Any, least: int = _LONG_ENOUGH) -> None:
        if isinstance(value, (list, tuple)):
            for item in value[:MAX_ITEMS]:
                self.add(item)
            return
        if isinstance(value, (bytes, bytearray)):
            value = bytes(value[:MAX_TEXT]).decode('utf-8', 'replace')
        if isinstance(value, str) and least <= len(value) <= MAX_TEXT and len(self.values) < 300:
            value = str(value)
            self.values.add(value)
            # The same value as URLs, Python and JSON write it.
            for write in (quote, quote_plus, _inside_repr, _inside_json):
                try:
                    self.values.add(write(value))
                except UnicodeError:
                    continue  # a lone surrogate has no such form
            self._sorted = None

    def add_all(self, entries: Any) -> None:
        if isinstance(entries, Mapping):
            for name, value in islice(list(entries.items()), MAX_ROWS):
                # Of a name as common as this one, the value may be any word.
                if name != 'key' and is_secret(name):
                    self.add(value)

    def known(self, text: str) -> str:
        """Take out what is known to be secret, and credentials."""
        if self._sorted is None:
            # The longer first: one may be part of another.
            self._sorted = sorted(self.values, key=len, reverse=True)
        for value in self._sorted:
            if value in text:
                text = text.replace(value, MASK)
        return _CREDENTIALS.sub(rf'\1 {MASK}', text)

    def all(self, text: str) -> str:
        """The same, and what stands in the text beside a secret name."""
        text = _cut(self.known(text), MAX_TEXT)
        parts = []
        done = 0
        for match in _ENTRY.finditer(text):
            if match.start() >= done and is_secret(match[1]):
                value = _ENTRY_VALUE.match(text, match.end())
                if value is not None:
                    parts += [text[done : match.end()], MASK]
                    done = value.end()
        return ''.join(parts) + text[done:]


def _inside_repr(value: str) -> str:
    return repr(value)[1:-1]


def _inside_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _find_secrets(exchange: Exchange, exceptions: list[BaseException]) -> _Mask:
    mask = _Mask()
    for name, value in exchange.head.items():
        lowered = name.lower()
        if lowered == 'cookie':
            for pair in value.split(';'):
                mask.add(pair.partition('=')[2].strip(' "'), _LONG_COOKIE)
        elif is_secret(lowered):
            mask.add(value)
            scheme, _, credentials = value.partition(' ')
            mask.add(credentials)
            if scheme.lower() == 'basic':
                from binascii import a2b_base64

                try:
                    mask.add(a2b_base64(credentials).partition(b':')[2])
                except ValueError:
                    pass  # no base64: there is no password in it
    for field in exchange.head.query.split('&'):
        name, _, value = field.partition('=')
        if is_secret(unquote_plus(name)):
            mask.add(value)
            mask.add(unquote_plus(value))
    mask.add_all(exchange.request.params)
    mask.add_all(exchange.request.__dict__.get('json'))
    mask.add_all(exchange.plan.config)
    for exc in exceptions:
        for frame, _, _ in _frames(exc):
            mask.add_all(frame.f_locals)
    return mask


# --- values ---------------------------------------------------------------------------------------------------

_WHOLE = (bool, float, complex, type(None), type(Ellipsis))


class _Values:
    """Writes values as Python would, bounded in length and, between two of them, in time; secrets masked.

    shown: False writes none of them.
    """

    def __init__(self, mask: _Mask, shown: bool) -> None:
        self.mask = mask
        self.shown = shown
        self._end = time.monotonic() + VALUES_TIME
        self._all_left = MAX_VALUES
        self._left = 0

    def of(self, name: Any, value: Any) -> str:
        """Give the text of what stands under `name`."""
        if is_secret(name):
            return MASK
        if not self.shown or time.monotonic() > self._end:
            return '(not shown: the values took too long)'
        if self._all_left <= 0:
            return '(not shown: the page is long enough)'
        self._left = MAX_VALUE
        text = _cut(self.mask.all(self._write(value, MAX_DEPTH)), 2 * MAX_VALUE)
        self._all_left -= len(text)
        return text

    def _write(self, value: Any, depth: int) -> str:
        try:
            text = self._container(value, depth)
            if text is None:
                text = _cut(self._plain(value), max(self._left, 0))
                self._left -= len(text)
            return text
        except Exception as exc:
            self._left -= 60
            return f'<{type(value).__name__}, whose repr raised {_cut(_only(exc), 200)}>'

    def _plain(self, value: Any) -> str:
        kind = type(value)
        if kind is str:
            # Masked before it is cut, so that no half of a secret stays.
            text = self.mask.known(value[: MAX_VALUE + 1000])
            return repr(text[:MAX_VALUE]) + (MASK if len(value) > MAX_VALUE else '')
        if kind is bytes or kind is bytearray:
            text = repr(value[: MAX_VALUE + 1000])
            return text if len(value) <= MAX_VALUE else f'{text[:MAX_VALUE]}{MASK} ({len(value)} bytes)'
        if kind is int:
            return repr(value) if value.bit_length() < 4000 else f'<int of {value.bit_length()} bits>'
        return repr(value)

    def _container(self, value: Any, depth: int) -> str | None:
        """Write a container of a known kind; None if it is none, or to be written by its own repr."""
        kind = type(value)
        if kind in _WHOLE or kind in (str, int, bytes):
            return None
        if isinstance(value, dict) or (isinstance(value, Mapping) and not isinstance(value, type)):
            inner = self._join(self._entries(value, depth), '{', '}', depth, len(value))
            return inner if kind is dict else f'{kind.__name__}({inner})'
        if kind in (list, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes)) and is_secret(value[0]):
            # A pair of name and value, as header lists have them.
            return f'{"[" if kind is list else "("}{value[0]!r}, {MASK}{"]" if kind is list else ")"}'
        if isinstance(value, tuple) and hasattr(kind, '_fields'):
            fields = zip(kind._fields, value, strict=False)
            texts = (f'{name}={MASK if is_secret(name) else self._write(item, depth - 1)}' for name, item in fields)
            return self._join(texts, f'{kind.__name__}(', ')', depth, len(value))
        if kind is list:
            return self._join((self._write(item, depth - 1) for item in value), '[', ']', depth, len(value))
        if kind is tuple:
            end = ',)' if len(value) == 1 else ')'
            return self._join((self._write(item, depth - 1) for item in value), '(', end, depth, len(value))
        if kind in (set, frozenset) and value:
            start, end = ('{', '}') if kind is set else ('frozenset({', '})')
            return self._join((self._write(item, depth - 1) for item in value), start, end, depth, len(value))
        return None

    def _entries(self, value: Mapping[Any, Any], depth: int) -> Iterator[str]:
        # COMPAT: an `http.cookies.SimpleCookie` is a dict of them; any may be a session's.
        cookies = type(value).__name__ in ('SimpleCookie', 'BaseCookie', 'Morsel')
        for key, item in value.items():
            shown = MASK if cookies or is_secret(key) else self._write(item, depth - 1)
            yield f'{self._write(key, 1)}: {shown}'

    def _join(self, texts: Iterator[str], start: str, end: str, depth: int, size: int) -> str:
        if depth <= 0:
            return f'{start}{MASK}{end}' if size else start + end
        parts: list[str] = []
        for text in texts:
            if len(parts) >= MAX_ITEMS or self._left <= 0:
                parts.append(f'{MASK} ({size} in all)')
                break
            parts.append(text)
            self._left -= 2
        return f'{start}{", ".join(parts)}{end}'


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[:size] + MASK


def _only(exc: BaseException) -> str:
    """Give an exception's type and text, whatever its text does."""
    try:
        return f'{type(exc).__name__}: {exc}' if str(exc) else type(exc).__name__
    except Exception:
        return type(exc).__name__


# --- exceptions, frames and source ----------------------------------------------------------------------------

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES = (
    *{os.path.abspath(sysconfig.get_paths()[name]) + os.sep for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')},
    _HERE,
)
_OF_LIBRARIES = (f'{os.sep}site-packages{os.sep}', f'{os.sep}dist-packages{os.sep}')


def _is_library(filename: str) -> bool:
    """Say whether a file is Python's, an installed package's or this package's; others are the application's."""
    if filename.startswith('<frozen '):
        return True
    if not os.path.isabs(filename):
        return False
    return filename.startswith(_LIBRARIES) or any(part in filename for part in _OF_LIBRARIES)


def _frames(exc: BaseException) -> list[tuple[FrameType, int, int]]:
    """Give (frame, line, last instruction), the innermost last; of too many the first and the last."""
    found = []
    tb: TracebackType | None = exc.__traceback__
    while tb is not None:
        found.append((tb.tb_frame, tb.tb_lineno or 0, tb.tb_lasti))
        tb = tb.tb_next
    return found if len(found) <= MAX_FRAMES else found[: MAX_FRAMES // 2] + found[-MAX_FRAMES // 2 :]


def _members(exc: BaseException) -> list[BaseException]:
    """Give the exceptions of a group; [] of any other."""
    members = getattr(exc, 'exceptions', None)
    if not isinstance(members, (tuple, list)) or not hasattr(exc, 'split'):
        return []
    return [member for member in members if isinstance(member, BaseException)]


def _next(exc: BaseException) -> tuple[str, BaseException | None]:
    """Give what came before an exception, and as what."""
    if exc.__cause__ is not None:
        return 'Caused by', exc.__cause__
    if exc.__context__ is not None and not exc.__suppress_context__:
        return 'Raised while this was being handled', exc.__context__
    return '', None


def _all_exceptions(exc: BaseException) -> list[BaseException]:
    """Give the exceptions that the page shows: chains and groups, the newest first, each once."""
    found: list[BaseException] = []
    waiting = [exc]
    while waiting and len(found) < MAX_EXCEPTIONS:
        one = waiting.pop(0)
        if any(one is other for other in found):
            continue
        found.append(one)
        before = _next(one)[1]
        waiting[:0] = [*_members(one), *([] if before is None else [before])]
    return found


def _message(exc: BaseException) -> tuple[str, str]:
    """Give an exception's type and its text, with notes and, of a SyntaxError, the place."""
    kind = type(exc)
    full = name = f'{kind.__module__}.{kind.__qualname__}'
    if kind.__module__ in ('builtins', '__main__'):
        name = kind.__qualname__
    text = ''.join(traceback.format_exception_only(exc)).rstrip('\n')
    for prefix in (name, full):
        if text == prefix or text.startswith((f'{prefix}: ', f'{prefix}\n')):
            text = text[len(prefix) :].lstrip(': \n')
            break
    if sys.version_info < (3, 11):
        notes = getattr(exc, '__notes__', None)
        if isinstance(notes, (list, tuple)):
            text = '\n'.join([text, *map(str, notes)])
    return name, text


def _columns(code: CodeType, instruction: int, line: int, text: str) -> tuple[int, int] | None:
    """Give the part of a line, as two indices, that an instruction stems from; None if unknown or all of it."""
    if not hasattr(code, 'co_positions') or instruction < 0:
        return None
    position = next(islice(code.co_positions(), instruction // 2, None), None)
    if position is None:
        return None
    first, last, start, end = position
    if first != line or last != line or start is None or end is None:
        return None
    # Python counts bytes of UTF-8.
    data = text.encode('utf-8', 'replace')
    part = len(data[:start].decode('utf-8', 'replace')), len(data[:end].decode('utf-8', 'replace'))
    return part if part[0] < part[1] and text[part[0] : part[1]] != text.strip() else None


def _source(frame: FrameType, line: int) -> list[tuple[int, str]]:
    """Give the (number, text) of lines around one; [] if there is no source to read."""
    filename = frame.f_code.co_filename
    try:
        linecache.checkcache(filename)
        lines = linecache.getlines(filename, frame.f_globals)
    except Exception:
        return []  # loaders may raise anything; the page says that there is no source
    if not 0 < line <= len(lines):
        return []
    first = max(1, line - AROUND)
    return list(enumerate((text.rstrip('\r\n') for text in lines[first - 1 : line + AROUND]), first))


# --- the page -------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --back: #fdfdfc; --box: #f4f4f1; --text: #1c1e21; --dim: #63666b; --edge: #d9d9d4;
  --red: #b3261e; --blue: #2257a8; --now: #ffeeb8; --mark: #ffd75e; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15171a; --box: #1e2125; --text: #e6e6e3; --dim: #9b9ea4; --edge: #363a40; --red: #ff8f85;
    --blue: #8ab4f8; --now: #40381c; --mark: #715d14; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.25rem; }
h1, h2, h3 { margin: 0; font-weight: 600; line-height: 1.25; overflow-wrap: anywhere; }
h1 { color: var(--red); font-size: 1.5rem; }
h2 { color: var(--red); font-size: 1.2rem; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1.1rem; }
p { margin: .35rem 0; overflow-wrap: anywhere; }
a { color: var(--blue); }
code, pre, td, th { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .8125rem; }
pre { margin: 0; tab-size: 4; }
.text { margin: .5rem 0; font-size: .9375rem; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24em;
  overflow: auto; }
.dim, .how { color: var(--dim); }
.how { margin: 2rem 0 .25rem; font-style: italic; }
.warning { margin: 0 0 1rem; padding: .5rem .75rem; border: 1px solid var(--red); color: var(--red); }
.group { margin: .75rem 0 0 .25rem; padding-left: .9rem; border-left: 3px solid var(--edge); }
details { margin: .3rem 0; }
summary { padding: .2rem 0; cursor: pointer; overflow-wrap: anywhere; }
.frame { border: 1px solid var(--edge); border-left: 3px solid var(--edge); border-radius: 3px; }
.frame.own { border-left-color: var(--blue); }
.frame > summary { padding: .3rem .7rem; background: var(--box); }
.frame.library > summary { color: var(--dim); }
.frame.own > summary b { color: var(--blue); }
.source { overflow-x: auto; padding: .3rem 0; }
.source code { display: block; width: max-content; min-width: 100%; padding: 0 .7rem; white-space: pre; }
.source .now { background: var(--now); }
.source i { display: inline-block; min-width: 2.6rem; padding-right: .8rem; color: var(--dim); font-style: normal;
  text-align: right; user-select: none; }
.source mark { background: var(--mark); color: inherit; }
.frame > details, .frame > p { margin: .2rem .7rem .5rem; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .2rem .5rem .2rem 0; border-top: 1px solid var(--edge); text-align: left; vertical-align: top;
  font-weight: 400; white-space: pre-wrap; overflow-wrap: anywhere; }
th { width: 16rem; max-width: 40%; color: var(--dim); }
.whole { overflow: auto; max-height: 32em; padding: .6rem .7rem; border: 1px solid var(--edge);
  background: var(--box); }
footer { margin-top: 2rem; padding-bottom: 2rem; color: var(--dim); font-size: .875rem; }
@media (max-width: 40rem) {
  header, main, footer { padding-left: .7rem; padding-right: .7rem; }
  tr, th, td { display: block; width: auto; max-width: none; }
  td { border-top: 0; padding: 0 0 .3rem .8rem; }
}
"""

# SPEC: CSP level 3: nothing is loaded or run, and of styles only the page's own; no other page frames it.
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    'Content-Security-Policy': _POLICY,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
}

# Characters that cannot be seen, that turn the direction of writing, or that no HTML may hold.
_INVISIBLE = re.compile(
    r'[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]'
)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}'


def _html(text: str) -> str:
    return escape(_INVISIBLE.sub(_visible, text))


class _Writer:
    """Writes one page."""

    def __init__(self, exchange: Exchange, exc: BaseException, values: _Values) -> None:
        self.exchange = exchange
        self.exc = exc
        self.values = values
        self.mask = values.mask
        self.out: list[str] = []

    def page(self) -> str:
        name, text = _message(self.exc)
        text = _cut(self.mask.known(text), MAX_TEXT)
        first = text.partition('\n')[0]
        request_line = f'{self.exchange.head.method} {self.path()}'
        title = f'{name}: {first}' if first else name
        write = self.out.append
        write('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
        write('<meta name="viewport" content="width=device-width, initial-scale=1">\n')
        write('<meta name="robots" content="noindex">\n')
        write(f'<title>{_html(_cut(title, 200))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n')
        if not is_local(self.exchange):
            write('<p class="warning">Whoever can reach this server can see this page: ')
            write('<code>request.debug_remote</code> is on.</p>\n')
        write(f'<h1>{_html(name)}</h1>\n')
        if text:
            write(f'<pre class="text">{_html(text)}</pre>\n')
        write(f'<p class="dim">500 Internal Server Error at <code>{_html(request_line)}</code></p>\n')
        self.place()
        write('</header>\n<main>\n')
        self.write_exceptions()
        self.write_plain_traceback()
        self.write_request()
        write('</main>\n<footer>Shown because <code>request.debug</code> is on. What has the name of a secret is ')
        write('masked; look before you pass this page on.</footer>\n</body>\n</html>\n')
        return ''.join(self.out)

    def path(self) -> str:
        exchange = self.exchange
        query = exchange.head.query
        text = exchange.script_name + exchange.path_info + (f'?{query}' if query else '')
        return _cut(self.mask.all(text), 1000)

    def place(self) -> None:
        """Name the innermost frame of the application's."""
        frames = _frames(self.exc)
        own = [found for found in frames if not _is_library(found[0].f_code.co_filename)]
        if not frames:
            return
        frame, line, _ = (own or frames)[-1]
        code = frame.f_code
        self.out.append(f'<p>{_place(code.co_filename, line)} in <code>{_html(_name_of(code))}</code></p>\n')

    # -- exceptions

    def write_exceptions(self) -> None:
        self.done: list[BaseException] = []
        self.write_chain(self.exc, True)
        if len(self.done) >= MAX_EXCEPTIONS:
            self.out.append('<p class="how">Further exceptions are left out.</p>\n')

    def write_chain(self, exc: BaseException | None, is_first: bool) -> None:
        how = ''
        while exc is not None and len(self.done) < MAX_EXCEPTIONS:
            if any(exc is other for other in self.done):
                self.out.append(f'<p class="how">{how}: the {_html(type(exc).__name__)} that is shown above.</p>\n')
                return
            self.done.append(exc)
            if how:
                self.out.append(f'<p class="how">{how}:</p>\n')
            self.out.append('<section>\n')
            if is_first:
                is_first = False
                self.out.append('<h3>Traceback <span class="dim">(most recent call last)</span></h3>\n')
            else:
                name, text = _message(exc)
                self.out.append(f'<h2>{_html(name)}</h2>\n')
                if text:
                    self.out.append(f'<pre class="text">{_html(_cut(self.mask.known(text), MAX_TEXT))}</pre>\n')
            self.write_frames(exc)
            for member in _members(exc):
                if len(self.done) < MAX_EXCEPTIONS:
                    self.out.append('<div class="group">\n')
                    self.write_chain(member, False)
                    self.out.append('</div>\n')
            self.out.append('</section>\n')
            how, exc = _next(exc)

    def write_frames(self, exc: BaseException) -> None:
        frames = _frames(exc)
        if not frames:
            self.out.append('<p class="dim">There is no traceback: it was never raised.</p>\n')
        owns = [not _is_library(frame.f_code.co_filename) for frame, _, _ in frames]
        opened = [i for i, own in enumerate(owns) if own][-8:] or [len(frames) - 1]
        for i, (frame, line, instruction) in enumerate(frames):
            if i == MAX_FRAMES // 2 and len(frames) == MAX_FRAMES:
                left_out = sum(1 for _ in traceback.walk_tb(exc.__traceback__)) - MAX_FRAMES
                if left_out:
                    self.out.append(f'<p class="dim">{MASK} {left_out} frames are left out {MASK}</p>\n')
            self.write_frame(frame, line, instruction, owns[i], i in opened, i == opened[-1])

    def write_frame(
        self, frame: FrameType, line: int, instruction: int, is_own: bool, is_open: bool, is_inner: bool
    ) -> None:
        code = frame.f_code
        write = self.out.append
        write(f'<details class="frame {"own" if is_own else "library"}"{" open" if is_open else ""}>')
        write(f'<summary>{_place(code.co_filename, line)} in <code>{_html(_name_of(code))}</code></summary>\n')
        source = _source(frame, line)
        if source:
            lines = [text for _, text in source]
            margin = min((len(text) - len(text.lstrip()) for text in lines if text.strip()), default=0)
            write('<pre class="source">')
            for number, text in source:
                part = _columns(code, instruction, line, text) if number == line else None
                write(f'<code{" class=now" if number == line else ""}><i>{number}</i>')
                write(f'{_marked(text, part, margin)}</code>')
            write('</pre>\n')
        else:
            write('<p class="dim">The source cannot be read.</p>\n')
        if not code.co_filename.startswith(_HERE):
            self.write_locals(frame, is_inner)
        write('</details>\n')

    def write_locals(self, frame: FrameType, is_open: bool) -> None:
        variables = list(frame.f_locals.items())
        if frame.f_locals is frame.f_globals:
            # A module's own: what import put there is no news.
            variables = [(name, value) for name, value in variables if not name.startswith('__')]
        if variables:
            shown = ((name, self.values.of(name, value)) for name, value in variables[:MAX_LOCALS])
            self.write_table(f'Local variables ({len(variables)})', shown, len(variables) - MAX_LOCALS, is_open)

    def write_plain_traceback(self) -> None:
        text = _cut(self.mask.known(format_exc(self.exc)), 10 * MAX_TEXT)
        self.out.append('<details><summary>The traceback as text</summary>')
        self.out.append(f'<pre class="whole">{_html(text)}</pre></details>\n')

    # -- the request

    def write_table(self, title: str, rows: Iterable[tuple[Any, str]], more: int = 0, is_open: bool = False) -> None:
        write = self.out.append
        write(f'<details{" open" if is_open else ""}><summary>{_html(title)}</summary>')
        body = [f'<tr><th>{_html(_cut(str(name), 200))}</th><td>{_html(text)}</td></tr>\n' for name, text in rows]
        write(f'<table>{"".join(body)}</table>\n' if body else '<p class="dim">None.</p>\n')
        if more > 0:
            write(f'<p class="dim">{more} more are left out.</p>\n')
        write('</details>\n')

    def write_request(self) -> None:
        exchange = self.exchange
        self.out.append('<h3>Request</h3>\n')
        self.section('Summary', self.summary, is_open=True)
        self.section('Parameters', lambda: self.mapping(exchange.request.params), is_open=True)
        if 'json' in exchange.request.__dict__:
            self.section('JSON', lambda: [('request.json', self.values.of('', exchange.request.__dict__['json']))])
        self.section('Headers', self.headers)
        self.section('Cookies', lambda: [(name, MASK) for name in exchange.request.cookie])
        self.section('Config of the path', lambda: self.mapping(dict(sorted(exchange.plan.config.items()))))
        self.section('Plan', self.plan)
        if exchange.request.scope is None:
            self.section('WSGI environ', lambda: self.mapping(dict(sorted(exchange.request.wsgi_environ.items()))))
        else:
            self.section('ASGI scope', lambda: self.mapping(exchange.request.scope))

    def section(self, title: str, rows: Callable[[], Iterable[tuple[Any, str]]], is_open: bool = False) -> None:
        """Write one table; of values that cannot be read it says so, and the rest of the page stands."""
        try:
            made = list(islice(rows(), MAX_ROWS))
        except Exception as exc:
            made = [('This cannot be shown', self.mask.all(_cut(_only(exc), MAX_VALUE)))]
        self.write_table(title, made, is_open=is_open)

    def mapping(self, entries: Mapping[Any, Any]) -> Iterator[tuple[Any, str]]:
        for name, value in entries.items():
            yield name, self.values.of(name, value)

    def summary(self) -> Iterator[tuple[str, str]]:
        exchange = self.exchange
        request = exchange.request
        yield 'Method', exchange.head.method
        yield 'URL', request.base + self.path()
        yield 'Script name, path', f'{exchange.script_name!r}, {exchange.path_info!r}'
        yield 'Protocol', exchange.head.native_protocol()
        yield 'Client', self.values.of('', request.remote)
        yield 'Login', self.values.of('', request.login)
        yield 'Page handler', self.values.of('', exchange.handler)
        yield 'Its arguments', self.values.of('', exchange.args)
        yield 'Application', self.values.of('', exchange.app)
        yield 'Python', f'{sys.version.partition(" ")[0]}, {sys.executable}'

    def headers(self) -> Iterator[tuple[str, str]]:
        for name, value in self.exchange.request.header_list:
            yield name.title(), MASK if is_secret(name) else _cut(self.mask.all(value), MAX_VALUE)

    def plan(self) -> Iterator[tuple[str, str]]:
        if self.values.shown:
            text = self.exchange.plan.describe()
            yield 'plan.describe()', '\n'.join([_cut(self.mask.all(line), MAX_VALUE) for line in text.splitlines()])


def _name_of(code: CodeType) -> str:
    return str(getattr(code, 'co_qualname', code.co_name))


def _place(filename: str, line: int) -> str:
    folder, name = os.path.split(filename)
    folder = f'{folder}{os.sep}' if folder and not folder.endswith(os.sep) else folder
    # A long path breaks where its parts end.
    folder = _html(folder).replace(os.sep, f'{os.sep}<wbr>')
    return f'<span class="dim">{folder}</span><b>{_html(name)}:{line}</b>'


def _marked(text: str, part: tuple[int, int] | None, margin: int) -> str:
    """Give a line of source as HTML, without its margin, cut, and with `part` of it marked."""
    shown = _cut(text[margin:], MAX_LINE)
    if part is None or part[0] < margin or part[1] - margin > MAX_LINE:
        return _html(shown)
    start, end = part[0] - margin, part[1] - margin
    return f'{_html(shown[:start])}<mark>{_html(shown[start:end])}</mark>{_html(shown[end:])}'


# --- the answer -----------------------------------------------------------------------------------------------


class DebugPage:
    """A page that is ready to be sent. kind: its media type. body: UTF-8."""

    def __init__(self, kind: str, body: bytes) -> None:
        self.kind = kind
        self.body = body

    def set_response(self, exchange: Exchange) -> None:
        """Make the exchange's response this page."""
        response = exchange.response
        clean_headers(500)
        response.status = 500
        response.stream = False
        headers = response.headers
        headers.update(HEADERS)
        headers['Vary'] = 'Accept'
        headers['Content-Type'] = self.kind if self.kind.endswith('json') else f'{self.kind};charset=utf-8'
        response.body = self.body


def make_page(exchange: Exchange, exc: BaseException) -> DebugPage:
    """Make the page that shows an exception and the request, in the media type that the client prefers.

    The work is done in a thread of its own, in this one's context: where the repr of a value never ends, the page
    is made without values when WHOLE_TIME is over, and that thread is left behind.
    """
    kind = page_type(exchange.request.headers.get('Accept'))
    made: list[str] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            made.append(_text(exchange, exc, kind, True))
        except Exception as error:
            failed.append(error)

    thread = Thread(target=copy_context().run, args=(work,), name='cpadapter debug page', daemon=True)
    thread.start()
    thread.join(WHOLE_TIME)
    try:
        if failed:
            raise failed[0]
        text = made[0] if made else _text(exchange, exc, kind, False)
    finally:
        failed.clear()  # no reference cycle through this frame
    return DebugPage(kind, text.encode('utf-8', 'backslashreplace'))


def _text(exchange: Exchange, exc: BaseException, kind: str, with_values: bool) -> str:
    mask = _find_secrets(exchange, _all_exceptions(exc))
    if kind == 'text/html':
        return _Writer(exchange, exc, _Values(mask, with_values)).page()
    whole = mask.known(format_exc(exc))
    if kind == 'text/plain':
        return f'500 Internal Server Error\n\n{whole}'
    name, text = _message(exc)
    problem = {
        'title': 'Internal Server Error',
        'status': 500,
        'detail': mask.known(f'{name}: {text}' if text else name),
        'traceback': whole,
    }
    return json.dumps(problem)
