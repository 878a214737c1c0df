"""Small built-in tools that need nothing but the request and the response."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError, HTTPRedirect, InternalRedirect
from ..extension.tools import Tool
from ..protocol.headers import RE_HEADER_SPLIT, AcceptElement, BadHeaderValue
from ..protocol.iterators import is_iterator
from ..protocol.status import valid_status
from . import ClosingIterator

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'EtagsTool',
    'TrailingSlashTool',
    'accept',
    'allow',
    'convert_params',
    'flatten',
    'ignore_headers',
    'log_debug',
    'log_hooks',
    'log_request_headers',
    'log_traceback',
    'redirect',
    'referer',
    'response_headers',
    'trailing_slash',
    'validate_etags',
    'validate_since',
]


def _log() -> Any:
    exchange = current()
    return exchange.app.log if exchange.app is not None else exchange.site.log


def log_debug(text: str, context: str) -> None:
    """Write what a tool with `debug=True` has to say to the error log."""
    _log().error(text, context)


# --- logs -----------------------------------------------------------------------------------------------------


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


def trailing_slash(missing: bool = True, extra: bool = False, status: int | None = None, debug: bool = False) -> None:
    """Redirect an index page asked for without its trailing slash, or any other asked for with one.

    missing, extra: which of the two to mend. status: 3xx, None for 301. The query is kept.
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
    raise HTTPRedirect(url + (f'?{request.query_string}' if request.query_string else ''), status or 301)


class TrailingSlashTool(Tool):
    """The tool is in the plan only of paths that it redirects, or that a hook might yet make it redirect."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        self._check_settings({key: value for key, value in settings.items() if key != 'priority'})
        if builder.slash and settings.get(builder.slash, builder.slash == 'missing'):
            super().compile(builder, settings)


def redirect(url: str = '', internal: bool = True, debug: bool = False) -> None:
    """Redirect, whatever was asked for: to another page handler by default, else the client."""
    if debug:
        log_debug(f'{"internal" if internal else "external"} redirect to {url!r}', 'TOOLS.REDIRECT')
    if internal:
        raise InternalRedirect(url)
    raise HTTPRedirect(url)


# --- what the client may ask ----------------------------------------------------------------------------------


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


def ignore_headers(headers: str | Iterable[str] = ('Range',), debug: bool = False) -> None:
    """Take headers out of `request.headers`, so that nothing later sees them."""
    names = [headers] if isinstance(headers, str) else headers
    request_headers = current().request.headers
    for name in names:
        if request_headers.pop(name, None) is not None and debug:
            log_debug(f'{name} is ignored', 'TOOLS.IGNORE_HEADERS')


def response_headers(headers: Iterable[tuple[str, Any]] | None = None, debug: bool = False) -> None:
    """Set headers of the response, error pages included. headers: (name, value) pairs; the last of a name counts."""
    response = current().response.headers
    for name, value in headers or ():
        response[name] = value
    if debug:
        log_debug(f'set {headers!r}', 'TOOLS.RESPONSE_HEADERS')


# --- parameters -----------------------------------------------------------------------------------------------

_TRUE = frozenset(('true', 'yes', 'on', '1'))
_FALSE = frozenset(('false', 'no', 'off', '0', ''))

# Page handler's function -> {name: type}. Cleared when it has grown: functions made for each request never come back.
_hints: dict[Any, dict[str, Any]] = {}
_MAX_HINTS = 2000


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


def validate_etags(autotags: bool = False, debug: bool = False) -> None:
    """Answer a conditional request by the response's ETag: 304 or 412 is raised, or nothing done.

    autotags: give a 200 response without ETag that of its body's MD5; not to files and streamed ones.
    Looks at 2xx responses only, once a request. It runs after the page handler; one that changes something sets
    ETag to the state before the change and calls this first, so that a failed condition leaves all as it is.

    SPEC: RFC 9110 13.1: If-Match compares strongly, If-None-Match weakly. `If-None-Match: *` fails only where
    there is an ETag, or the method is neither GET nor HEAD.
    """
    exchange = current()
    response = exchange.response
    # COMPAT: an attribute of this name says that the conditions were looked at.
    if hasattr(response, 'ETag'):
        return
    status = 200 if response.status is None else valid_status(response.status)[0]
    etag = response.headers.get('ETag')
    if not etag and autotags and status == 200 and not response.stream and not _is_far(response.body):
        import hashlib

        digest = hashlib.md5(response.collapse_body(), usedforsecurity=False).hexdigest()
        etag = response.headers['ETag'] = f'"{digest}"'
        if debug:
            log_debug(f'ETag is {etag}', 'TOOLS.ETAGS')
    response.ETag = etag  # type: ignore[attr-defined]
    if not 200 <= status <= 299:
        return
    request = exchange.request
    field = request.headers.get('If-Match')
    if field:
        tags = _tags(field)
        if tags and '*' not in tags and (not etag or etag[:2] == 'W/' or etag not in tags):
            raise HTTPError(412, f'If-Match failed: ETag {etag!r} did not match {tags!r}')
    field = request.headers.get('If-None-Match')
    if field:
        tags = _tags(field)
        is_read = request.method in ('GET', 'HEAD')
        if '*' in tags:
            matched = bool(etag) or not is_read
        else:
            matched = bool(etag) and _opaque(etag) in map(_opaque, tags)
        if matched:
            if debug:
                log_debug(f'{etag!r} is one of {tags!r}', 'TOOLS.ETAGS')
            if is_read:
                raise HTTPRedirect([], 304)
            raise HTTPError(412, f'If-None-Match failed: ETag {etag!r} matched {tags!r}')


def _is_far(body: Any) -> bool:
    return getattr(body, 'holds_bytes', False) or hasattr(body, '__aiter__')


class EtagsTool(Tool):
    """Runs on the event loop unless it has to make tags of bodies."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        hook = builder.attach(self._point or 'before_finalize', self.callable, priority=priority, **settings)
        hook.non_blocking = not settings.get('autotags')


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
    request = exchange.request
    headers = request.headers
    since = headers.get('If-Unmodified-Since')
    if (
        since
        and not headers.get('If-Match')
        and (200 <= status <= 299 or status == 412)
        and _is_later(modified, since) is True
    ):
        raise HTTPError(412)
    since = headers.get('If-Modified-Since')
    if (
        since
        and not headers.get('If-None-Match')
        and (200 <= status <= 299 or status == 304)
        and _is_later(modified, since) is False
    ):
        if request.method in ('GET', 'HEAD'):
            raise HTTPRedirect([], 304)
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

# What never waits may run on an event loop.
_NON_BLOCKING: tuple[Any, ...] = (
    *(accept, allow, convert_params, flatten, ignore_headers, log_hooks, log_request_headers, log_traceback),
    *(redirect, referer, response_headers, trailing_slash, validate_since),
)
for _call in _NON_BLOCKING:
    _call.non_blocking = True
