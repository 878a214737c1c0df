"""What a page handler raises instead of returning: errors, redirects, and the pages they become.

It reads the current request and writes to the current response, both through `context`; it does not know when
that happens, nor what runs before and after it. Only plain text and lower modules are needed to make a page, so
that one can be made whatever has failed.
"""

from __future__ import annotations

import re
import sys
import traceback as _traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from .context import current
from .protocol.headers import BadHeaderValue, header_elements
from .protocol.status import valid_status
from .protocol.uri import iri_to_uri, is_absolute, join, join_path

__all__ = [
    'PADDED',
    'CherryPyException',
    'ClientDisconnected',
    'HTTPError',
    'HTTPRedirect',
    'InternalRedirect',
    'NotFound',
    'Overloaded',
    'WebSocketClosed',
    'bare_error',
    'clean_headers',
    'current_url',
    'format_exc',
    'get_error_page',
    'page_type',
]

# What stands in "Powered by": a product token without a version.
PRODUCT = 'cpadapter'

# How much of a path the default 404 shows.
_SHOWN_PATH = 200


class CherryPyException(Exception):
    """Base of the exceptions by which an application steers its response."""


class ClientDisconnected(CherryPyException, ConnectionError):
    """The client left before it had sent its request's body, or taken its response."""


class WebSocketClosed(ClientDisconnected):
    """The peer of a WebSocket has closed it, or is gone: nothing more can be received or sent.

    code, reason: as the peer gave them (RFC 6455 7.4); 1005 if it gave no code, 1006 if it went without a word.
    """

    def __init__(self, code: int = 1006, reason: str = '') -> None:
        super().__init__(f'The WebSocket was closed with {code}{f": {reason}" if reason else ""}.')
        self.code = code
        self.reason = reason


# --- redirects ------------------------------------------------------------------------------------------------

# SPEC: RFC 3986 3.3: these would end the path of the URL they are put into; a percent sign would begin an escape.
_PATH_ESCAPES = str.maketrans({'%': '%25', '?': '%3F', '#': '%23'})
_CONTROL = re.compile('[\x00-\x1f\x7f]')

_REDIRECT_TEXT = {
    300: 'This resource can be found at ',
    301: 'This resource has permanently moved to ',
    302: 'This resource resides temporarily at ',
    303: 'This resource can be found at ',
    307: 'This resource has moved temporarily to ',
    308: 'This resource has been moved to ',
}

# SPEC: RFC 9110 15.4.5: a 304 carries no representation metadata but what caches are updated by.
_NOT_IN_304 = (
    *('Allow', 'Content-Encoding', 'Content-Language', 'Content-Length', 'Content-Location', 'Content-Md5'),
    *('Content-Range', 'Content-Type', 'Expires', 'Last-Modified'),
)


def current_url() -> str:
    """Give the URL of the current request without its query; outside a request, that of the server.

    An index page's URL ends in a slash, that of any other page does not, however it was asked for.
    """
    exchange = current()
    if exchange.app is None:
        return f'{exchange.site.server.base()}/'
    request = exchange.request
    path = request.path_info or '/'
    if request.is_index is True:
        if not path.endswith('/'):
            path += '/'
    elif request.is_index is False and path.endswith('/') and path != '/':
        path = path[:-1]
    return f'{request.base}{(request.script_name + path).translate(_PATH_ESCAPES)}'


class _DefaultStatus:
    """303 for a client that speaks HTTP/1.1, else 302; read from the class or an instance."""

    def __get__(self, instance: object, owner: object) -> int:
        # SPEC: RFC 1945 knows no 303.
        return 303 if current().request.protocol >= (1, 1) else 302


class HTTPRedirect(CherryPyException):
    """Raised to send the client to another URL.

    urls: one URL or several, str or bytes; each is resolved against the current URL, without its query:
        "/x" begins at the server's root (the script name is not put in), "x" beside the current page.
        For a URL of the application, `url()` makes one.
    status: 300 to 399; None is 303, or 302 for an HTTP/1.0 client.
    encoding: of bytes; None takes the class's.
    Raises ValueError for another status and for a control character in a URL.
    """

    encoding = 'utf-8'
    default_status = _DefaultStatus()
    urls: Any = None

    def __init__(self, urls: Any, status: Any = None, encoding: str | None = None) -> None:
        base = None
        self.urls = []
        for url in (urls,) if isinstance(urls, (str, bytes)) else urls:
            text = url.decode(encoding or self.encoding) if isinstance(url, bytes) else str(url)
            if _CONTROL.search(text):
                raise ValueError(f'Illegal control character in redirect URL {text!r}.')
            if base is None:
                base = current_url()
            self.urls.append(join(base, text))
        code = self.default_status if status is None else int(status)
        if not 300 <= code <= 399:
            raise ValueError('status must be between 300 and 399.')
        self._status = code
        super().__init__(self.urls, code)

    @property
    def status(self) -> int:
        """The status, an int."""
        return self._status

    def set_response(self) -> None:
        """Make the current response this redirect; its other headers stay.

        Raises ValueError for a status that says nothing (306, 309 to 399).
        """
        response = current().response
        headers = response.headers
        status = self.status
        response.status = status
        response.stream = False
        text = _REDIRECT_TEXT.get(status)
        if text is not None:
            headers['Content-Type'] = 'text/html;charset=utf-8'
            headers['Location'] = iri_to_uri(self.urls[0])
            lines = [f'{text}<a href={_quote_attribute(iri_to_uri(url))}>{_escape(url)}</a>.' for url in self.urls]
            response.body = re.sub(_NOT_IN_HTML, '\ufffd', '<br />\n'.join(lines)).encode()
            headers.pop('Content-Length', None)
        elif status == 304:
            for name in _NOT_IN_304:
                headers.pop(name, None)
            response.body = None
        elif status == 305:
            headers['Location'] = iri_to_uri(self.urls[0])
            response.body = None
            headers.pop('Content-Length', None)
        else:
            raise ValueError(f'The {status} status code is unknown.')

    def __call__(self) -> NoReturn:
        """Raise this very redirect: it may stand where a page handler is wanted."""
        raise self


class InternalRedirect(CherryPyException):
    """Raised to serve the request by another page handler, as a GET, without asking the client.

    path: decoded, within the application; relative to the current path unless it begins with '/'. What follows
        a '?' in it replaces `query_string`.
    Attributes: `request` (the one that raised it), `path`, `query_string`.
    """

    def __init__(self, path: str, query_string: str = '') -> None:
        self.request = current().request
        self.query_string = query_string
        if '?' in path:
            path, self.query_string = path.split('?', 1)
        if not is_absolute(path) and not path.startswith('//'):
            path = join_path(self.request.path_info, path)
        self.path = path
        super().__init__(path, self.query_string)


# --- errors ---------------------------------------------------------------------------------------------------

# COMPAT: Internet Explorer replaced error pages no longer than this by its own; the padding spaces are kept
# because clients and tests compare lengths. Bytes, by status.
PADDED = {
    400: 512,
    403: 256,
    404: 512,
    405: 256,
    406: 512,
    408: 512,
    409: 512,
    410: 256,
    500: 512,
    501: 512,
    505: 512,
}

# Headers that describe the page which was to be sent, not the error page sent instead.
_STALE = frozenset(
    (
        *('Accept-Ranges', 'Age', 'Content-Encoding', 'Content-Length', 'Content-Location', 'Content-Md5', 'Etag'),
        *('Expires', 'Last-Modified', 'Location', 'Retry-After', 'Vary'),
    )
)


def clean_headers(status: int) -> None:
    """Take out of the current response the headers that describe a page no longer sent."""
    headers = current().response.headers
    if _STALE.isdisjoint(headers) and not dict.__contains__(headers, 'Content-Range'):
        return
    for name in list(headers):
        # SPEC: RFC 9110 15.5.17: a 416 tells the length by Content-Range.
        if name in _STALE or (name == 'Content-Range' and status != 416):
            del headers[name]


class HTTPError(CherryPyException):
    """Raised to answer with an error page.

    status: 400 to 599, or "410 Gone fishing" with a reason of its own.
    message: what the page says; None or '' gives the status's usual text. It may hold any text: pages escape it.
    Attributes: `status` as given, `code` (int), `reason`.
    Raises HTTPError(500) for a status that is none, ValueError for one outside 400 to 599.
    """

    status: Any = None
    code: Any = None
    reason: Any = None

    def __init__(self, status: Any = 500, message: Any = None) -> None:
        self.status = status
        try:
            self.code, self.reason, default = valid_status(status)
        except ValueError as exc:
            raise HTTPError(500, str(exc)) from exc
        if not 400 <= self.code <= 599:
            raise ValueError('status must be between 400 and 599.')
        self._message = _text(message) or default
        super().__init__(status, message)

    def set_response(self) -> Any:
        """Make the current response this error's page.

        Gives None; or, where the page is made by async code, what is to be awaited until it is there.
        """
        exchange = current()
        response = exchange.response
        clean_headers(self.code)
        response.status = self.status
        response.stream = False
        request = exchange.request
        traceback = format_exc() if request.show_tracebacks else None
        dict.__setitem__(response.headers, 'X-Content-Type-Options', 'nosniff')
        page = self.get_error_page(self.status, traceback=traceback, message=self._message)
        if hasattr(page, '__await__'):
            return self._set_page_later(response, page)
        self._set_page(response, page)
        return None

    async def _set_page_later(self, response: Any, page: Any) -> None:
        self._set_page(response, await page)

    def _set_page(self, response: Any, page: Any) -> None:
        # PERF: names in Title-Case need no look at how they are written.
        headers = response.headers
        body: Any = page.encode('utf-8', 'replace') if isinstance(page, str) else page
        # An error page callable may have set one, for a body of its own making.
        dict.pop(headers, 'Content-Length', None)
        size = PADDED.get(self.code)
        if size is not None and str(dict.get(headers, 'Content-Type', '')).lower().startswith('text/html'):
            if type(body) is not bytes:
                response.body = body
                body = response.collapse_body()
            if 0 < len(body) <= size:
                body = body.ljust(size + 1)
            dict.__setitem__(headers, 'Content-Length', str(len(body)))
        response.body = body

    def get_error_page(self, *args: Any, **kwargs: Any) -> Any:
        """Give the page's content, as the function of this name does; a subclass may make its own, str or bytes."""
        return get_error_page(*args, **kwargs)

    def __call__(self) -> NoReturn:
        """Raise this very error: it may stand where a page handler or a body processor is wanted."""
        raise self

    @classmethod
    @contextmanager
    def handle(
        cls, exception: type[BaseException] | tuple[type[BaseException], ...], status: Any = 500, message: str = ''
    ) -> Iterator[None]:
        """Turn an `exception` raised inside the `with` block into this error; its own text if no message is given."""
        try:
            yield
        except exception as exc:
            raise cls(status, message or str(exc)) from exc


class NotFound(HTTPError):
    """Raised to answer 404.

    path: what was not found; None is the current path, with its script name. The page shows 200 characters of it.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            exchange = current()
            # PERF: where there is no request yet it would say what the exchange does.
            request = exchange.request if exchange.app is None or exchange._request is not None else exchange
            path = request.script_name + request.path_info
        super().__init__(404, f"The path '{path[:_SHOWN_PATH]}' was not found.")


class Overloaded(HTTPError):
    """Raised where so much waits already that no more is taken: 503, with Retry-After.

    message: names the setting that bounds it.
    """

    # Seconds.
    retry_after = 5

    def __init__(self, message: str) -> None:
        super().__init__(503, message)

    def set_response(self) -> Any:
        later = super().set_response()
        current().response.headers['Retry-After'] = str(self.retry_after)
        return later


# --- pages ----------------------------------------------------------------------------------------------------

_PAGE_START = """<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="en">
<head>
<meta charset="utf-8" />
<title>%(status)s</title>
<style>
#traceback { color: #a00; overflow: auto; }
#powered_by { margin-top: 2em; border-top: 1px solid; font-style: italic; }
</style>
</head>
<body>
<h2>%(status)s</h2>
<p>"""
_PAGE_MIDDLE = """</p>
<pre id="traceback">"""
_PAGE_END = f"""</pre>
<div id="powered_by"><span>Powered by {PRODUCT}</span></div>
</body>
</html>
"""
# PERF: the start of the page by status line; bounded, since an application may make lines of its own.
_starts: dict[str, str] = {}

# Characters that no XML or HTML document may hold, however written.
_NOT_IN_HTML = '[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]'


def get_error_page(status: Any, **kwargs: Any) -> Any:
    """Give the content of an error page, by the current request's `error_page` entries or the default one.

    status: as for HTTPError. kwargs: `message`, `traceback`, `version`; what is missing or None gets its default.
    An entry may be a callable, called with status, message, traceback and version, each HTML-escaped text, or the
    name of a UTF-8 file in which they are put by "%(message)s" and so on. Where it fails, the default page says so.
    Returns bytes; after an async callable, what gives them when awaited. Sets Content-Type, except after a callable.

    The default page is HTML; for a client that names application/problem+json (RFC 9457), application/json or
    text/plain in Accept, and does not want HTML as much, it is that.
    """
    code, reason, message = valid_status(status)
    values = {'status': f'{code} {reason}', 'message': message, 'traceback': ''}
    values.update((name, _text(value)) for name, value in kwargs.items() if value is not None)

    exchange = current()
    entries = exchange.request.error_page
    entry = entries.get(code) or entries.get('default')
    failure = ''
    if entry:
        values.setdefault('version', _version())
        escaped = {name: _escape(value) for name, value in values.items()}
        try:
            if callable(entry):
                page = entry(**escaped)
                if hasattr(page, '__await__') or hasattr(page, '__anext__'):
                    return _await_page(exchange, code, reason, values, page)
                return _page_of_callable(page)
            with open(entry, encoding='utf-8', newline='') as template:
                page = (template.read() % escaped).encode('utf-8', 'replace')
        except Exception as exc:
            failure = _tell_failure(exchange, exc)
        else:
            exchange.response.headers['Content-Type'] = 'text/html;charset=utf-8'
            return page
    return _default_page(exchange, code, reason, values, failure)


def _tell_failure(exchange: Any, exc: Exception) -> str:
    """Write to the error log that an error page failed; give the line that the default page says of it."""
    log = exchange.app.log if exchange.app is not None else exchange.site.log
    log.error('The custom error page failed.', traceback=True, severity=40)
    return _traceback.format_exception_only(exc)[-1].rstrip()


async def _await_page(exchange: Any, code: int, reason: str, values: dict[str, str], page: Any) -> Any:
    try:
        if hasattr(page, '__await__'):
            page = await page
        if hasattr(page, '__anext__'):
            page = iter([chunk async for chunk in page])
        return _page_of_callable(page)
    except Exception as exc:
        return _default_page(exchange, code, reason, values, _tell_failure(exchange, exc))


def _page_of_callable(page: Any) -> bytes:
    if isinstance(page, str):
        return page.encode('utf-8')
    if isinstance(page, bytes):
        return page
    if hasattr(type(page), '__next__'):
        # Read to its end here, where a failure can still be answered with another page.
        return b''.join([chunk.encode('utf-8') if isinstance(chunk, str) else chunk for chunk in page])
    raise ValueError(
        'error page function did not return a bytestring, str or an iterator - '
        f'returned object of type {type(page).__name__}.'
    )


def _default_page(exchange: Any, code: int, reason: str, values: dict[str, str], failure: str) -> bytes:
    headers = exchange.response.headers
    kind = page_type(_accept(exchange))
    # The page depends on Accept: a cache must not give one client's kind to another.
    vary = headers.get('Vary')
    if not vary:
        dict.__setitem__(headers, 'Vary', 'Accept')
    elif 'accept' not in [name.strip() for name in vary.lower().split(',')]:
        headers['Vary'] = f'{vary}, Accept'
    message = values['message']
    traceback = values['traceback']
    if kind == 'text/html':
        dict.__setitem__(headers, 'Content-Type', 'text/html;charset=utf-8')
        message = _escape(message)
        if failure:
            message += '<br />' if message else ''
            message += f'In addition, the custom error page failed:\n<br />{_escape(failure)}'
        status = values['status']
        start = _starts.get(status)
        if start is None:
            start = _PAGE_START % {'status': _in_html(_escape(status))}
            if len(_starts) < 100:
                _starts[status] = start
        page = f'{start}{_in_html(message)}{_PAGE_MIDDLE}{_in_html(_escape(traceback)) if traceback else ""}{_PAGE_END}'
        return page.encode()
    if failure:
        message += '\n' if message else ''
        message += f'In addition, the custom error page failed:\n{failure}'
    if kind == 'text/plain':
        headers['Content-Type'] = 'text/plain;charset=utf-8'
        parts = [part for part in (values['status'], message, traceback.rstrip()) if part]
        return ('\n\n'.join(parts) + '\n').encode('utf-8', 'replace')
    headers['Content-Type'] = 'application/problem+json'
    problem: dict[str, Any] = {'title': reason, 'status': code, 'detail': message}
    if traceback:
        problem['traceback'] = traceback
    import json

    return json.dumps(problem).encode()


def _in_html(text: str) -> str:
    return text if text.isprintable() else re.sub(_NOT_IN_HTML, '\ufffd', text)


def _accept(exchange: Any) -> str | None:
    # PERF: the headers are not made for this one, unless somebody has asked for them, and may have changed them.
    request = exchange.request
    if exchange.head is None or 'headers' in request.__dict__ or 'header_list' in request.__dict__:
        return request.headers.get('Accept')  # type: ignore[no-any-return]
    return exchange.head.get('accept')  # type: ignore[no-any-return]


_JSON = ('application/problem+json', 'application/json')


def page_type(accept: str | None) -> str:
    """Choose an error page's media type: HTML unless another is named and HTML is not wanted as much.

    accept: the Accept field. Gives 'text/html', 'application/problem+json' or 'text/plain'.
    """
    if not accept or ('json' not in accept.lower() and 'text/plain' not in accept.lower()):
        return 'text/html'
    try:
        weights = {element.value.lower(): element.qvalue for element in header_elements('Accept', accept)}  # type: ignore[attr-defined]
    except BadHeaderValue:
        return 'text/html'
    json_weight = max(weights.get(name, 0.0) for name in _JSON)
    plain_weight = weights.get('text/plain', 0.0)
    best = max(json_weight, plain_weight)
    if 'text/html' in weights:
        if best <= weights['text/html']:
            return 'text/html'
    elif not best or best < weights.get('text/*', weights.get('*/*', 0.0)):
        return 'text/html'
    return _JSON[0] if json_weight >= plain_weight else 'text/plain'


_version_text: str | None = None


def _version() -> str:
    """Give the package's version, for error pages of one's own that show it."""
    global _version_text
    if _version_text is None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            _version_text = version('cpadapter')
        except PackageNotFoundError:
            # Run from a folder that was not installed.
            _version_text = ''
    return _version_text


def bare_error(extrabody: str | bytes | None = None) -> tuple[bytes, list[tuple[bytes, bytes]], list[bytes]]:
    """Give (status, headers, body) of the answer when nothing else can be made; it asks nothing of anyone.

    extrabody: text added after a newline, e.g. a traceback.
    """
    body = b'Unrecoverable error in the server.'
    if extrabody is not None:
        body += b'\n' + (extrabody.encode('utf-8', 'replace') if isinstance(extrabody, str) else extrabody)
    headers = [(b'Content-Type', b'text/plain'), (b'Content-Length', b'%d' % len(body))]
    return b'500 Internal Server Error', headers, [body]


def format_exc(exc: Any = None) -> str:
    """Format an exception, or an exc_info triple; None is the one being handled. '' if there is none."""
    if exc is None:
        exc = sys.exc_info()[1]
    elif isinstance(exc, tuple):
        exc = exc[1]
    if exc is None:
        return ''
    return ''.join(_traceback.format_exception(exc))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ''
    if isinstance(value, bytes):
        return value.decode('utf-8', 'replace')
    return str(value)


def _escape(text: str) -> str:
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')


def _quote_attribute(text: str) -> str:
    # What iri_to_uri gives holds no double quote.
    return f'"{_escape(text)}"'
