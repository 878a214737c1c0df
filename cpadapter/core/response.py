"""The response: what a page handler, hooks and tools set, and how it becomes a status line, headers and chunks.

A Response is made when something first asks for it; a page that never does costs none. It does not know how the
gateways send what `finalize` makes.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

from ..errors import HTTPError
from ..protocol.dates import HTTPDate
from ..protocol.files import CHUNK, FileBody, make_file_body
from ..protocol.headers import HeaderMap
from ..protocol.iterators import file_generator
from ..protocol.status import valid_status

if TYPE_CHECKING:
    from http.cookies import SimpleCookie

__all__ = ['NO_BODY', 'DefaultText', 'Response', 'ResponseBody', 'is_async_body']

NO_BODY = frozenset((204, 205, 304))

# SPEC: PEP 3333 and ASGI leave the connection and the framing to the server: an application's word on them would
# contradict what the server does.
_OF_THE_CONNECTION = frozenset(('Connection', 'Keep-Alive', 'Te', 'Trailer', 'Transfer-Encoding', 'Upgrade'))

_USUAL = frozenset(
    (
        *('Content-Type', 'Content-Length', 'Content-Encoding', 'Content-Range', 'Content-Disposition', 'Vary', 'Etag'),
        *('Last-Modified', 'Accept-Ranges', 'Cache-Control', 'Expires', 'Age', 'Location', 'Allow', 'Set-Cookie'),
        'X-Content-Type-Options',
    )
)

# Values that many responses have.
_PLAIN = frozenset(
    (
        *('text/html;charset=utf-8', 'application/json', 'text/html', 'text/css', 'nosniff', 'gzip', 'bytes'),
        *('Accept', 'Accept-Encoding', 'Cookie', 'no-store'),
    )
)

SERVER = 'cpadapter'


class DefaultText(str):
    """A header value that is there to be read or replaced; unless replaced, it is left to the server to send."""

    __slots__ = ()


_SERVER = DefaultText(SERVER)


def is_async_body(body: Any) -> bool:
    """Say whether a body gives its chunks to `async for` only."""
    return hasattr(body, '__aiter__') and not hasattr(body, '__iter__')


class ResponseBody:
    """The `body` attribute: takes bytes, None, files and iterables of bytes; gives an iterable."""

    unicode_err = 'Page handlers MUST return bytes. Use tools.encode if you wish to return unicode.'

    def __get__(self, obj: Response | None, objclass: type | None = None) -> Any:
        if obj is None:
            return self
        return obj._body

    def __set__(self, obj: Response, value: Any) -> None:
        if type(value) is bytes:
            obj._body = [value] if value else []
        elif value is None:
            obj._body = []
        elif isinstance(value, str):
            raise ValueError(self.unicode_err)
        elif isinstance(value, (bytearray, memoryview)):
            obj._body = [bytes(value)] if value else []
        elif isinstance(value, bytes):
            obj._body = [value] if value else []
        elif isinstance(value, list):
            if any(isinstance(item, str) for item in value):
                raise ValueError(self.unicode_err)
            obj._body = value
        elif hasattr(value, 'read') and not hasattr(value, 'aread'):
            # SPEC: of a file on disk the length is known, so that it is sent as it is and never held in memory.
            obj._body = make_file_body(value) or file_generator(value)
        else:
            obj._body = value


class _Made:
    """An attribute made at first sight and kept in the instance."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        value = self.make(obj)
        if obj is not None:
            obj.__dict__[self.name] = value
        return value


# PERF: a map that starts empty has nothing to be initialized.
_new_map = HeaderMap.__new__


def _make_headers(response: Response | None) -> HeaderMap:
    headers = _new_map(HeaderMap)
    set_raw = dict.__setitem__
    content_type = 'text/html'
    if response is None:
        now: Any = time()
    else:
        own = response.__dict__
        now = own.get('time')
        if now is None:
            now = own['time'] = time()
        exchange = response._exchange
        if exchange is not None:
            content_type = exchange.content_type or exchange.take_content_type()
            head = exchange.head
            if head is not None and head.version < _HTTP_1_1:
                headers.protocol = exchange.request.protocol
    set_raw(headers, 'Content-Type', content_type)
    set_raw(headers, 'Server', _SERVER)
    last = _last_date
    set_raw(headers, 'Date', last[1] if last[0] == int(now) else _date_at(now))
    return headers


_HTTP_1_1 = (1, 1)


# PERF: the Date of the last second asked for, replaced as one tuple; it takes 2 microseconds to write.
_last_date: tuple[int, DefaultText] = (-1, DefaultText())


def _date_at(seconds: float) -> DefaultText:
    global _last_date
    last = _last_date = (int(seconds), DefaultText(HTTPDate(seconds)))
    return last[1]


def _make_cookie(response: Response | None) -> SimpleCookie:
    from http.cookies import SimpleCookie

    cookie: SimpleCookie = SimpleCookie()
    exchange = None if response is None else response._exchange
    if exchange is not None:
        # Of tools that send a cookie with every response, but need not make one to know that.
        send_cookie = exchange.__dict__.get('send_cookie')
        if send_cookie is not None:
            send_cookie(exchange, cookie)
    return cookie


class Response:
    """One HTTP response.

    status: None (200), an int, or text such as '404 Not Found'; after `finalize`, "<code> <reason>".
    headers: HeaderMap; Server and Date stand in it but are sent only where the application set them itself,
        since every server adds its own.
    cookie: http.cookies.SimpleCookie of the cookies to send.
    body: an iterable of bytes; see ResponseBody for what may be assigned.
    stream: True sends chunk by chunk and computes no Content-Length.
    time: seconds since the epoch, when the response was made.
    """

    status: Any = None
    stream: bool = False
    output_status: bytes | None = None
    headers: Any = _Made(_make_headers)
    cookie: Any = _Made(_make_cookie)
    time: Any = _Made(lambda response: time())
    body: Any = ResponseBody()
    _body: Any = ()
    _exchange: Any = None
    _code: int = 200

    def __init__(self) -> None:
        self._body = []

    @property
    def header_list(self) -> Any:
        """List of (bytes, bytes) once finalized; None before. What is appended here is sent."""
        listed = self.__dict__.get('_header_list')
        if listed is None:
            text = self.__dict__.get('_text_headers')
            if text is None:
                return None
            listed = [(name.encode('latin-1'), value.encode('latin-1')) for name, value in text]
            self.__dict__['_header_list'] = listed
        return listed

    @header_list.setter
    def header_list(self, value: Any) -> None:
        self.__dict__['_header_list'] = value

    def collapse_body(self) -> bytes:
        """Join the body into one bytes object, keep that as the body and give it. Closes what it has read."""
        body = self._body
        if type(body) is list and len(body) <= 1:
            joined = body[0] if body else b''
            if type(joined) is bytes:
                return joined
        try:
            chunks = []
            for chunk in body:
                if isinstance(chunk, str):
                    raise ValueError(ResponseBody.unicode_err)
                chunks.append(chunk)
            joined = b''.join(chunks)
        finally:
            close = getattr(body, 'close', None)
            if close is not None:
                close()
        self._body = [joined] if joined else []
        return joined

    def _flush_body(self) -> None:
        """Read the body to its end and discard it, so that whatever produces it finishes."""
        for _ in self._body:
            pass

    def finalize(self) -> None:
        """Make status line and headers of what has been set. May run again after a later change.

        Raises HTTPError(500) for a status that is none, ValueError for control characters in headers.
        """
        status = self.status
        if status is None or status == 200:
            code, line, self.output_status = 200, '200 OK', b'200 OK'
        else:
            try:
                code, reason, _ = valid_status(status)
            except ValueError as exc:
                raise HTTPError(500, exc.args[0]) from exc
            line = f'{code} {reason}'
            # SPEC: RFC 9112 4: a reason phrase holds no control characters.
            if not line.isprintable():
                line = ''.join(char for char in line if char.isprintable())
            self.output_status = line.encode('latin-1', 'replace')
        self._code = code
        self.status = line
        headers = self.headers
        own = self.__dict__
        if code < 200 or code in NO_BODY:
            headers.pop('Content-Length', None)
            if code in (204, 304):
                # SPEC: RFC 9110 15.3.5 and 15.4.5: there is no content whose type could be told.
                headers.pop('Content-Type', None)
            if not is_async_body(self._body):
                if not self.stream and not isinstance(self._body, FileBody):
                    self._flush_body()
                close = getattr(self._body, 'close', None)
                if close is not None:
                    close()
            self._body = []
            self.stream = False
        elif self.stream:
            if headers.get('Content-Length', '') is None:
                headers.pop('Content-Length')
        elif dict.get(headers, 'Content-Length') is None:
            body = self._body
            if type(body) is list and len(body) == 1 and type(body[0]) is bytes:
                dict.__setitem__(headers, 'Content-Length', str(len(body[0])))
            elif type(body) is FileBody and body.length > CHUNK:
                dict.__setitem__(headers, 'Content-Length', str(body.length))
            else:
                dict.__setitem__(headers, 'Content-Length', str(len(self.collapse_body())))
        else:
            body = self._body
            # PERF: one look at the length that is right, as it is in most cases.
            if type(body) is list and len(body) <= 1:
                chunk = body[0] if body else b''
                if type(chunk) is not bytes or dict.get(headers, 'Content-Length') != str(len(chunk)):
                    self._correct_length()
        if '_header_list' in own:
            del own['_header_list']
        out: list[tuple[str, str]] = []
        own['_text_headers'] = out
        for pair in headers.items():
            name, value = pair
            # PERF: nearly every header there is needs no other look than this: 0.1 microseconds in place of 0.5.
            if type(value) is DefaultText:
                continue
            if type(value) is str and name in _USUAL and (value in _PLAIN or (value.isascii() and value.isprintable())):
                out.append(pair)
            elif name not in _OF_THE_CONNECTION or (code == 426 and self._tells_upgrade(name)):
                try:
                    out.append(headers.output_text(name, value))
                except ValueError:
                    # Out with it, or the page that tells of the error could not be sent either.
                    del headers[name]
                    raise
        cookie = own.get('cookie')
        if cookie:
            for name in sorted(cookie):
                try:
                    morsel = cookie[name]
                    if ';' in str(morsel['path']) or ';' in str(morsel['domain']):
                        raise ValueError(f'The path or domain of the cookie {name!r} holds a semicolon.')
                    out.append(('Set-Cookie', headers.encode_text(morsel.OutputString())))
                except ValueError:
                    del cookie[name]
                    raise

    def _tells_upgrade(self, name: str) -> bool:
        """Say whether a header of the connection is to be sent with a 426."""
        # SPEC: RFC 9110 15.5.22 demands Upgrade of it; PEP 3333 lets no application send one, nor does RFC 9113 8.2.2.
        head = None if self._exchange is None else self._exchange.head
        return name == 'Upgrade' and head is not None and 'asgi' in head.native and bool(head.version < (2, 0))

    def _correct_length(self) -> None:
        """Put right a Content-Length that is not that of the body, which is whole; it may tell one HEAD leaves out."""
        length = str(len(self.collapse_body()))
        head = None if self._exchange is None else self._exchange.head
        if str(self.headers['Content-Length']) != length and (head is None or head.method != 'HEAD'):
            dict.__setitem__(self.headers, 'Content-Length', length)

    def text_headers(self) -> list[tuple[str, str]]:
        """Give the finalized headers as latin-1 text.

        Raises TypeError if something else than bytes was added, ValueError for control characters in it.
        """
        listed = self.__dict__.get('_header_list')
        if listed is None:
            text: list[tuple[str, str]] = self.__dict__['_text_headers']
            return text
        result = []
        for name, value in listed:
            if not isinstance(name, bytes):
                raise TypeError(f'response.header_list key {name!r} is not a byte string.')
            if not isinstance(value, bytes):
                raise TypeError(f'response.header_list value {value!r} is not a byte string.')
            # What `headers` refuses is refused here too: a line break would begin a header, or a response, of its own.
            result.append(HeaderMap.output_text(name.decode('latin-1'), value))
        return result
