"""Small built-in tools that need nothing but the request and the response; here, too, under the names CherryPy gave
them, are two that have files of their own: `proxy` and `session_auth`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError, HTTPRedirect, InternalRedirect
from ..extension.hooks import is_async_callable
from ..extension.tools import Tool
from ..protocol.dates import HTTPDate
from ..protocol.headers import RE_HEADER_SPLIT, AcceptElement, BadHeaderValue, HeaderMap
from ..protocol.iterators import is_iterator
from ..protocol.status import valid_status
from . import ClosingIterator, checks, field_getter, request_field
from .checks import checked, optional
from .debug import log_debug
from .proxy import ProxyTool, proxy
from .session_auth import SessionAuth, SessionAuthTool, session_auth

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'AutovaryTool',
    'EtagsTool',
    'MonitoredHeaderMap',
    'ProxyTool',
    'SessionAuth',
    'SessionAuthTool',
    'TrailingSlashTool',
    'accept',
    'allow',
    'autovary',
    'convert_params',
    'flatten',
    'ignore_headers',
    'log_debug',
    'log_hooks',
    'log_request_headers',
    'log_traceback',
    'proxy',
    'redirect',
    'referer',
    'response_headers',
    'session_auth',
    'trailing_slash',
    'validate_etags',
    'validate_since',
]


def _log() -> Any:
    exchange = current()
    return exchange.app.log if exchange.app is not None else exchange.site.log


# --- logs -----------------------------------------------------------------------------------------------------


@checked(severity=checks.whole_number())
def log_traceback(severity: int = logging.ERROR, debug: bool = False) -> None:
    """Write the traceback of the exception being handled to the error log, unless it is there already."""
    import sys

    exc = sys.exc_info()[1]
    if exc is None or getattr(exc, '_cp_logged', False):
        return
    try:
        exc._cp_logged = True  # type: ignore[attr-defined]
    except AttributeError:
        pass  # a slotted exception may be logged twice
    _log().error('', 'HTTP', severity=severity, traceback=True)


# Headers whose values let whoever reads them act as the client.
_SECRET = frozenset(('authorization', 'cookie', 'proxy-authorization'))


def log_request_headers(debug: bool = False) -> None:
    """Write the request's headers to the error log as received; the values of those with credentials are left out."""
    lines = [
        f'  {name}: {"[not shown]" if name.lower() in _SECRET else value}'
        for name, value in current().request.header_list
    ]
    _log().error('\nRequest Headers:\n' + '\n'.join(lines), 'HTTP')


def log_hooks(debug: bool = False) -> None:
    """Write the request's hooks to the error log, by hook point and in the order they run in."""
    from ..errors import current_url

    lines = []
    for point, hooks in current().request.hooks.items():
        if hooks:
            lines.append(f' {point}:')
            lines.extend(f'    {hook!r}' for hook in sorted(hooks))
    _log().error(f'\nRequest Hooks for {current_url()}:\n' + '\n'.join(lines), 'HTTP')


# --- redirects ------------------------------------------------------------------------------------------------


@checked(status=optional(checks.status_between(300, 399)))
def trailing_slash(missing: bool = True, extra: bool = False, status: int | None = None, debug: bool = False) -> None:
    """Redirect an index page asked for without its trailing slash, or any other asked for with one.

    missing, extra: which of the two to mend. The query is kept.
    status: 3xx; None is 301 for GET and HEAD, else 308, which lets no client drop method and body.
    """
    request = current().request
    path = request.path_info
    if request.is_index is True:
        if missing and not path.endswith('/'):
            new_url = path + '/'
        else:
            return
    elif request.is_index is False and extra and path.endswith('/') and path != '/':
        new_url = path[:-1]
    else:
        return
    from ..protocol.uri import quote_path

    url = f'{request.base}{quote_path(request.script_name + new_url)}'
    # SPEC: RFC 9110 15.4.2 and 15.4.9.
    status = status or (301 if request.method in ('GET', 'HEAD') else 308)
    raise HTTPRedirect(url + (f'?{request.query_string}' if request.query_string else ''), status)


class TrailingSlashTool(Tool):
    """The tool is in the plan only of paths that it redirects, or that a hook might yet make it redirect."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        self._check_settings({key: value for key, value in settings.items() if key != 'priority'})
        if builder.slash and settings.get(builder.slash, builder.slash == 'missing'):
            super().compile(builder, settings)


@checked(url=checks.texts)
def redirect(url: str = '', internal: bool = True, debug: bool = False) -> None:
    """Redirect, whatever was asked for: to another page handler by default, else the client."""
    if debug:
        log_debug(f'{"internal" if internal else "external"} redirect to {url!r}', 'TOOLS.REDIRECT')
    if internal:
        raise InternalRedirect(url)
    raise HTTPRedirect(url)


# --- what the client may ask ----------------------------------------------------------------------------------


@checked(methods=optional(checks.tokens))
def allow(methods: str | Iterable[str] | None = None, debug: bool = False) -> None:
    """Set Allow, and answer 405 to any other method.

    methods: names in any case; None or empty is GET and HEAD. HEAD comes with GET.
    """
    listed = [methods] if isinstance(methods, str) else list(methods or ())
    names = [name.upper() for name in listed if name] or ['GET', 'HEAD']
    if 'GET' in names and 'HEAD' not in names:
        names.append('HEAD')
    exchange = current()
    exchange.response.headers['Allow'] = ', '.join(names)
    method = exchange.head.method if exchange._request is None else exchange.request.method
    if method not in names:
        if debug:
            log_debug(f'{method} is none of {names}', 'TOOLS.ALLOW')
        raise HTTPError(405)


@checked(media=optional(checks.texts))
def accept(media: str | Iterable[str] | None = None, debug: bool = False) -> str | None:
    """Give the media type, of those the resource can emit, that the client likes best; 406 if it takes none.

    media: one type or several, the preferred one first; None or empty means no check, and gives None.
    No header of the response is set. Types and ranges are compared without regard to case.

    SPEC: RFC 9110 12.5.1: the most specific range that matches a type says its weight. Types of equal weight:
    the one matched more specifically, then the one the client listed first, then the one `media` lists first.
    """
    if not media:
        return None
    offered = [media] if isinstance(media, str) else list(media)
    if not offered:
        return None
    field = current().request.headers.get('Accept')
    if not field or not field.strip():
        return offered[0]
    # Range -> (weight, place); of a range listed twice the first counts.
    ranges: dict[str, tuple[float, int]] = {}
    with HTTPError.handle(BadHeaderValue, 400):
        for place, member in enumerate(RE_HEADER_SPLIT.split(field)):
            element = AcceptElement.from_str(member)
            if element.value:
                ranges.setdefault(element.value.lower(), (element.qvalue, -place))  # type: ignore[attr-defined]
    best = None
    chosen = None
    for place, kind in enumerate(offered):
        name = kind.partition(';')[0].strip().lower()
        for specificity, key in enumerate((name, f'{name.partition("/")[0]}/*', '*/*')):
            if key in ranges:
                weight, order = ranges[key]
                rank = (weight, -specificity, order, -place)
                if weight > 0 and (best is None or rank > best):
                    best, chosen = rank, kind
                break
    if chosen is None:
        raise HTTPError(
            406,
            f'Your client sent this Accept header: {field}. '
            f'But this resource only emits these media types: {", ".join(offered)}.',
        )
    if debug:
        log_debug(f'{chosen} is the best of {offered} for {field!r}', 'TOOLS.ACCEPT')
    return chosen


@checked(pattern=checks.regex, error=checks.error_status, message=optional(checks.text))
def referer(
    pattern: str,
    accept: bool = True,
    accept_missing: bool = False,
    error: int = 403,
    message: str = 'Forbidden Referer header.',
    debug: bool = False,
) -> None:
    """Answer with an error by what Referer says.

    pattern: a regular expression, matched at the beginning of the header. accept: True lets matching ones pass,
    False all others. accept_missing: whether requests without the header pass. error, message: the answer.
    """
    value = current().request.headers.get('Referer')
    if value is None:
        passes = accept_missing
    else:
        passes = (re.match(pattern, value) is not None) == bool(accept)
    if debug:
        log_debug(f'Referer {value!r} {"passes" if passes else "is refused"}', 'TOOLS.REFERER')
    if not passes:
        raise HTTPError(error, message)


@checked(headers=checks.field_names)
def ignore_headers(headers: str | Iterable[str] = ('Range',), debug: bool = False) -> None:
    """Take headers out of `request.headers`, so that nothing later sees them."""
    names = [headers] if isinstance(headers, str) else headers
    request_headers = current().request.headers
    for name in names:
        if request_headers.pop(name, None) is not None and debug:
            log_debug(f'{name} is ignored', 'TOOLS.IGNORE_HEADERS')


@checked(headers=optional(checks.fields))
def response_headers(headers: Iterable[tuple[str, Any]] | None = None, debug: bool = False) -> None:
    """Set headers of the response, error pages included. headers: (name, value) pairs; the last of a name counts."""
    response = current().response.headers
    for name, value in headers or ():
        response[name] = value
    if debug:
        log_debug(f'set {headers!r}', 'TOOLS.RESPONSE_HEADERS')


# --- Vary -----------------------------------------------------------------------------------------------------

_NOT_IN_VARY = ('Content-Disposition', 'Content-Length', 'Content-Type')


class MonitoredHeaderMap(HeaderMap):
    """Request headers that remember which of them were asked for, present or not, in `accessed_headers`."""

    def __init__(self) -> None:
        super().__init__()
        self.accessed_headers: set[str] = set()

    def __getitem__(self, key: Any) -> Any:
        self.accessed_headers.add(self.transform_key(key))
        return super().__getitem__(key)

    def __contains__(self, key: Any) -> bool:
        self.accessed_headers.add(self.transform_key(key))
        return super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Give the value of `key`, or `default`."""
        self.accessed_headers.add(self.transform_key(key))
        return super().get(key, default)


@checked(ignore=optional(checks.field_names))
def autovary(ignore: str | Iterable[str] | None = None, debug: bool = False) -> None:
    """Set Vary to the names of the request headers that hooks, tools and the page handler look at.

    ignore: names to leave out; None is the three that say what a body is, which no cache asks about.
    What Vary holds already stays. The names are sorted.
    """
    _watch_headers()
    # Behind everything that might still look at a header, and before a cache takes the response.
    current().request.hooks.attach('before_finalize', _set_vary, priority=95, ignore=ignore, debug=debug)


def _watch_headers() -> None:
    request = current().request
    watched = MonitoredHeaderMap()
    dict.update(watched, request.headers)
    request.headers = watched


def _set_vary(ignore: str | Iterable[str] | None, debug: bool) -> None:
    exchange = current()
    request = exchange.request
    headers = exchange.response.headers
    names = {name.strip() for name in str(headers.get('Vary', '')).split(',') if name.strip()}
    if '*' in names:
        return
    names |= getattr(request.headers, 'accessed_headers', set())
    if 'cookie' in request.__dict__:
        names.add('Cookie')
    is_error_page = str(exchange.stage).endswith('(HTTPError)')
    if 'charset=' in str(headers.get('Content-Type', '')) and _is_on(exchange, 'encode') and not is_error_page:
        names.add('Accept-Charset')  # the encode tool reads it where there is one
    ignored = _NOT_IN_VARY if ignore is None else [ignore] if isinstance(ignore, str) else ignore
    left_out = {name.title() for name in ignored}
    named = sorted(name for name in names if name.title() not in left_out)
    if named:
        headers['Vary'] = ', '.join(named)
    if debug:
        log_debug(f'Vary is {named}', 'TOOLS.AUTOVARY')


def _is_on(exchange: Any, name: str) -> bool:
    return bool(exchange.plan.toolmaps.get('tools', {}).get(name, {}).get('on'))


class AutovaryTool(Tool):
    """The `autovary` tool: it watches from the first hook on."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        builder.attach('on_start_resource', _watch_headers, priority=priority)
        settings = {'ignore': None, 'debug': False, **settings}
        builder.attach('before_finalize', _set_vary, priority=95, **settings)


# --- parameters -----------------------------------------------------------------------------------------------

_TRUE = frozenset(('true', 'yes', 'on', '1'))
_FALSE = frozenset(('false', 'no', 'off', '0', ''))

# Page handler's function -> {name: type}. Cleared when it has grown: functions made for each request never come back.
_hints: dict[Any, dict[str, Any]] = {}
_MAX_HINTS = 2000


@checked(exception=checks.exceptions, error=checks.error_status)
def convert_params(exception: Any = ValueError, error: int = 400) -> None:
    """Convert parameters to the types that the page handler's annotations name.

    int, float and any other callable get the text. bool knows true/yes/on/1 and false/no/off/0; `X | None` and
    other unions take the first member that converts; list[X], tuple[X, ...] and set[X] take all values of a
    repeated parameter, every other type exactly one.
    exception: what a conversion raises (a class or a tuple of them) becomes HTTPError(error) with its text.
    """
    exchange = current()
    request = exchange.request
    handler = request.__dict__.get('handler', exchange.handler)
    handler = getattr(handler, 'callable', handler)
    if handler is None or isinstance(handler, Exception):
        return  # nothing was found: there is nothing to convert for
    params = request.params
    if not params:
        return
    for name, kind in _types_of(handler).items():
        if name in params:
            with HTTPError.handle(exception, error):
                params[name] = _converted(name, kind, params[name], error)


def _types_of(handler: Any) -> dict[str, Any]:
    """Give the annotations of a page handler that can be resolved, by parameter name."""
    while hasattr(handler, 'func') and hasattr(handler, 'keywords'):  # functools.partial
        handler = handler.func
    func = getattr(handler, '__func__', handler)
    if not hasattr(func, '__code__'):
        func = getattr(type(func).__call__, '__func__', type(func).__call__)
    found = _hints.get(func)
    if found is None:
        from typing import get_type_hints

        while hasattr(func, '__wrapped__') and not getattr(func, '__annotations__', None):
            func = func.__wrapped__
        try:
            found = get_type_hints(func)
        except Exception:
            # One name that is known to type checkers alone: take those that resolve by themselves.
            found = {}
            for name, annotation in getattr(func, '__annotations__', {}).items():
                if isinstance(annotation, str):
                    try:
                        annotation = eval(annotation, getattr(func, '__globals__', {}))
                    except Exception:
                        continue
                found[name] = annotation
        found.pop('return', None)
        if len(_hints) >= _MAX_HINTS:
            _hints.clear()
        _hints[func] = found
    return found


def _converted(name: str, kind: Any, value: Any, error: int) -> Any:
    """Convert one parameter's value, text or a list of it; what is of the wanted type already stays."""
    from typing import get_args, get_origin

    origin = get_origin(kind)
    container = origin or kind
    if container in (list, tuple, set, frozenset):
        values = value if isinstance(value, list) else [value]
        members = [member for member in get_args(kind) if member is not Ellipsis]
        if len(members) == 1:
            values = [_converted(name, members[0], item, error) for item in values]
        return container(values)
    if origin is not None and (origin is _union() or getattr(origin, '__name__', '') == 'UnionType'):
        members = [member for member in get_args(kind) if member is not type(None)]
        for member in members[:-1]:
            try:
                return _converted(name, member, value, error)
            except (HTTPError, ValueError, TypeError):
                continue
        return _converted(name, members[-1], value, error)
    if kind is Any:
        return value
    if not isinstance(kind, type):
        return kind(value) if callable(kind) and origin is None else value
    if isinstance(value, list):
        raise HTTPError(error, f'Only one value may be given for the parameter {name!r}.')
    if kind is bool and isinstance(value, str):
        word = value.strip().lower()
        if word not in _TRUE and word not in _FALSE:
            raise ValueError(f'invalid literal for bool: {value!r}')
        return word in _TRUE
    return value if kind is object or isinstance(value, kind) else kind(value)


def _union() -> Any:
    from typing import Union

    return Union


# --- the body -------------------------------------------------------------------------------------------------


def flatten(debug: bool = False) -> None:
    """Make a body that yields iterators, at any depth, one that yields their items; text is encoded.

    Only iterators are opened (generators, and what is its own iterator): lists and tuples are not.
    """
    response = current().response
    body = response.body
    encoding = _charset_of(response)
    if hasattr(body, '__aiter__') and not hasattr(body, '__iter__'):
        response.body = _aflattened(body, encoding)
    else:
        response.body = ClosingIterator(_flattened(body, encoding), body)


def _charset_of(response: Any) -> str:
    from ..protocol.headers import parse_header

    return parse_header(str(response.headers.get('Content-Type', '')))[1].get('charset') or 'utf-8'


def _flattened(body: Any, encoding: str) -> Any:
    # A stack in place of recursion: how deep a body is nested is the application's affair. The body itself is
    # closed by ClosingIterator.
    stack = [iter(body)]
    try:
        while stack:
            for item in stack[-1]:
                if isinstance(item, str):
                    yield item.encode(encoding)
                elif not isinstance(item, bytes) and is_iterator(item):
                    stack.append(item)
                    break
                else:
                    yield item
            else:
                done = stack.pop()
                if stack:
                    _close(done)
    finally:
        while len(stack) > 1:
            _close(stack.pop())


async def _aflattened(body: Any, encoding: str) -> Any:
    try:
        async for item in body:
            if hasattr(item, '__aiter__'):
                async for inner in _aflattened(item, encoding):
                    yield inner
            else:
                for inner in _flattened([item], encoding):
                    yield inner
    finally:
        aclose = getattr(body, 'aclose', None)
        if aclose is not None:
            await aclose()


def _close(body: Any) -> None:
    close = getattr(body, 'close', None)
    if close is not None:
        close()


# --- validators -----------------------------------------------------------------------------------------------

# SPEC: RFC 9110 8.8.3. Each attempt ends at the next quote or comma, so the search is linear.
_ETAG = re.compile(r'(?:W/)?"[^"]*"|[^\s,]+')


def _tags(field: str) -> list[str]:
    return _ETAG.findall(field)


def _opaque(tag: str) -> str:
    return tag[2:] if tag[:2] == 'W/' else tag


@checked(state=optional(checks.is_callable))
def validate_etags(autotags: bool = False, debug: bool = False) -> None:
    """Answer a conditional request by the response's ETag: 304 or 412 is raised, or nothing done.

    autotags: give a 200 response without ETag that of its body's MD5; not to files and streamed ones.
    Looks at 2xx responses only, once a request. It runs after the page handler; one that changes something sets
    ETag to the state before the change and calls this first, so that a failed condition leaves all as it is. The
    tool's setting `state` does that for it: see EtagsTool.

    SPEC: RFC 9110 13.1: If-Match compares strongly, If-None-Match weakly. `If-None-Match: *` fails only where
    there is an ETag, or the method is neither GET nor HEAD.
    """
    exchange = current()
    response = exchange.response
    # COMPAT: an attribute of this name says that the conditions were looked at.
    if 'ETag' in response.__dict__:
        return
    status = 200 if response.status is None else valid_status(response.status)[0]
    headers = response.headers
    etag = dict.get(headers, 'Etag')
    if not etag and autotags and status == 200 and not response.stream and not _is_far(response.body):
        digest = _load_md5()(response.collapse_body(), usedforsecurity=False).hexdigest()
        etag = f'"{digest}"'
        dict.__setitem__(headers, 'Etag', etag)
        if debug:
            log_debug(f'ETag is {etag}', 'TOOLS.ETAGS')
    response.ETag = etag  # type: ignore[attr-defined]
    if not 200 <= status <= 299:
        return
    get = field_getter(exchange)
    field = get('if-match')
    if field:
        field = request_field(exchange, 'if-match') or ''
        tags = _tags(field)
        if tags and '*' not in tags and (not etag or etag[:2] == 'W/' or etag not in tags):
            raise HTTPError(412, f'If-Match failed: ETag {etag!r} did not match {tags!r}')
    field = get('if-none-match')
    if field:
        # SPEC: RFC 9110 13.2.2: that the state is another one than the client thinks comes first.
        _check_unmodified(exchange, status)
        field = request_field(exchange, 'if-none-match') or ''
        tags = _tags(field)
        is_read = exchange.request.method in ('GET', 'HEAD')
        if '*' in tags:
            matched = bool(etag) or not is_read
        else:
            matched = etag is not None and _opaque(etag) in map(_opaque, tags)
        if matched:
            if debug:
                log_debug(f'{etag!r} is one of {tags!r}', 'TOOLS.ETAGS')
            if is_read:
                if etag and etag not in tags and f'W/{etag}' in tags:
                    # SPEC: RFC 9110 15.4.5: what a 200 would have said, which is weak once a coding is applied.
                    headers['Etag'] = f'W/{etag}'
                raise HTTPRedirect([], 304)
            raise HTTPError(412, f'If-None-Match failed: ETag {etag!r} matched {tags!r}')


_md5: Any = None


def _load_md5() -> Any:
    global _md5
    if _md5 is None:
        from hashlib import md5

        _md5 = md5
    return _md5


def _is_far(body: Any) -> bool:
    if type(body) is list:
        return False
    return getattr(body, 'holds_bytes', False) or hasattr(body, '__aiter__')


class EtagsTool(Tool):
    """The `etags` tool: validate_etags after the page handler and, with the setting `state`, before it as well.

    state: a plain or async callable without arguments that gives the state of what the request is about, before the
    page handler runs: its ETag, with its quotes; (ETag or None, seconds since the epoch of the last change); or None
    if it does not exist. A condition that fails is answered 412, or 304, and the page handler does not run.
    Runs on the event loop unless it has to make tags of bodies.
    """

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        state = settings.pop('state', None)
        self._check_settings(settings)
        if state is not None:
            builder.attach('before_handler', _check_later if is_async_callable(state) else _check_now, state=state)
        hook = builder.attach(self._point or 'before_finalize', self.callable, priority=priority, **settings)
        hook.non_blocking = not settings.get('autotags')


def _check_now(state: Any) -> None:
    _check_state(state())


async def _check_later(state: Any) -> None:
    _check_state(await state())


# After whoever refuses the request, before a cache answers it.
_check_now.priority = _check_later.priority = 75  # type: ignore[attr-defined]


def _check_state(state: Any) -> None:
    """Answer a conditional request by the state of what it is about: 304 or 412 is raised, or nothing done."""
    exchange = current()
    response = exchange.response
    headers = response.headers
    etag, modified = state if isinstance(state, tuple) else (state, None)
    if state is None and request_field(exchange, 'if-match'):
        # SPEC: RFC 9110 13.1.1: even '*' is false where there is nothing.
        raise HTTPError(412, 'If-Match failed: there is nothing at this address.')
    if etag is not None:
        headers['Etag'] = etag
    if modified is not None:
        headers['Last-Modified'] = HTTPDate(modified)
    validate_etags()
    validate_since()
    if exchange.request.method not in ('GET', 'HEAD'):
        # What follows changes it: these are no validators of the answer.
        headers.pop('Etag', None)
        headers.pop('Last-Modified', None)


def validate_since() -> None:
    """Answer a conditional request by the response's Last-Modified: 304 or 412 is raised, or nothing done.

    Dates that are none are ignored, and so is a date where the client sent entity tags as well.

    SPEC: RFC 9110 13.1.3, 13.1.4 and 13.2.2.
    """
    exchange = current()
    response = exchange.response
    modified = response.headers.get('Last-Modified')
    if not modified:
        return
    status = 200 if response.status is None else valid_status(response.status)[0]
    _check_unmodified(exchange, status)
    since = request_field(exchange, 'if-modified-since')
    if (
        since
        # SPEC: RFC 9110 13.1.3: it says nothing about any other method.
        and exchange.request.method in ('GET', 'HEAD')
        and not request_field(exchange, 'if-none-match')
        and (200 <= status <= 299 or status == 304)
        and _is_later(modified, since) is False
    ):
        raise HTTPRedirect([], 304)


def _check_unmodified(exchange: Any, status: int) -> None:
    since = request_field(exchange, 'if-unmodified-since')
    if not since or not (200 <= status <= 299 or status == 412) or request_field(exchange, 'if-match'):
        return
    modified = exchange.response.headers.get('Last-Modified')
    if modified and _is_later(modified, since) is True:
        raise HTTPError(412)


# Longer than any date with its comments; what parses them is not made for hostile text.
_MAX_DATE = 100


def _is_later(modified: str, since: str) -> bool | None:
    """Say whether the first of two dates is the later one; None if one of them is no date."""
    if modified.strip() == since.strip():
        return False
    if len(since) > _MAX_DATE:
        return None
    from werkzeug.http import parse_date

    try:
        first, second = parse_date(modified), parse_date(since)
    except (ArithmeticError, LookupError, ValueError):
        return None
    return first > second if first is not None and second is not None else None


# --- marks ----------------------------------------------------------------------------------------------------

# COMPAT: its headers stand on error pages too.
response_headers.failsafe = True  # type: ignore[attr-defined]
trailing_slash.neutral = True  # type: ignore[attr-defined]  # leaves the page handler alone

# What never waits may run on an event loop; what is logged may be for a slow disk.
_NON_BLOCKING: tuple[Any, ...] = (
    *(accept, allow, convert_params, flatten, ignore_headers, redirect, referer, response_headers),
    *(trailing_slash, validate_since, autovary, _watch_headers, _set_vary),
)
for _call in _NON_BLOCKING:
    _call.non_blocking = True
