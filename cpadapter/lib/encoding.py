"""Text to bytes and bytes to fewer: the tools `encode`, `decode` and `gzip`, and what they are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from ..context import current
from ..errors import HTTPError
from ..extension.tools import FilterTool
from ..protocol.headers import BadHeaderValue, header_elements
from ..protocol.iterators import file_generator, is_closable_iterator
from ..protocol.status import valid_status
from . import ClosingIterator, set_vary_header

__all__ = [
    'EncodeTool',
    'ResponseEncoder',
    'UTF8StreamEncoder',
    'compress',
    'decode',
    'decompress',
    'gzip',
    'prepare_iter',
]


class UTF8StreamEncoder:
    """Encode the text items of an iterator as UTF-8, pass bytes through, and close it when closed.

    Attributes that are not its own are those of the iterator.
    """

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        item = next(self._iterator)
        return item.encode('utf-8') if isinstance(item, str) else item

    next = __next__

    def close(self) -> None:
        if is_closable_iterator(self._iterator):
            self._iterator.close()  # type: ignore[attr-defined]

    def __getattr__(self, attr: str) -> Any:
        if attr.startswith('__'):
            raise AttributeError(attr)
        return getattr(self._iterator, attr)


class _StreamEncoder:
    """Encode the text chunks of any iterable as they are asked for; closes what it reads."""

    def __init__(self, body: Iterable[Any], charset: str, errors: str) -> None:
        self._body = body
        self._iterator = iter(body)
        self._charset = charset
        self._errors = errors

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._iterator)
        return chunk.encode(self._charset, self._errors) if isinstance(chunk, str) else chunk

    def close(self) -> None:
        close = getattr(self._body, 'close', None)
        if close is not None:
            close()


class _AsyncStreamEncoder:
    """The same for async iterables."""

    def __init__(self, body: Any, charset: str, errors: str) -> None:
        self._body = body
        self._iterator = body.__aiter__()
        self._charset = charset
        self._errors = errors

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._iterator.__anext__()
        return chunk.encode(self._charset, self._errors) if isinstance(chunk, str) else chunk

    async def aclose(self) -> None:
        aclose = getattr(self._body, 'aclose', None)
        if aclose is not None:
            await aclose()


def prepare_iter(value: Any) -> Any:
    """Give a page handler's result as an iterable of chunks: text and bytes as one chunk, files in chunks."""
    if isinstance(value, (str, bytes)):
        return [value] if value else []
    if value is None:
        return []
    if isinstance(value, (bytearray, memoryview)):
        return [bytes(value)] if value else []
    if hasattr(value, 'read') and not hasattr(value, 'aread'):
        return file_generator(value)
    return value


class ResponseEncoder:
    """Encodes what a page handler returns, in a charset that the client accepts.

    encoding: the only charset to use; None negotiates. default_encoding: what is tried first.
    errors: as str.encode takes it. text_only: leave bodies alone whose Content-Type is not text/*.
    add_charset: False switches all of it off.
    """

    default_encoding = 'utf-8'
    failmsg = 'Response body could not be encoded with %r.'
    encoding: str | None = None
    errors = 'strict'
    text_only = True
    add_charset = True
    debug = False

    def __init__(
        self,
        encoding: str | None = None,
        default_encoding: str = 'utf-8',
        errors: str = 'strict',
        text_only: bool = True,
        add_charset: bool = True,
        failmsg: str | None = None,
        debug: bool = False,
    ) -> None:
        self.encoding = encoding.lower() if encoding else None
        self.default_encoding = default_encoding
        self.errors = errors
        self.text_only = text_only
        self.add_charset = add_charset
        if failmsg is not None:
            self.failmsg = failmsg
        self.debug = debug
        # What Content-Type becomes where nobody has looked at the response; None if that is not known beforehand.
        self._type = f'text/html;charset={default_encoding}' if encoding is None and add_charset else None

    def __call__(self, value: Any, exchange: Any) -> Any:
        """Filter a page handler's result: str, bytes, None, a file or an iterable -> what can be a body."""
        if exchange._response is None and self._type is not None:
            content_type = exchange.content_type
            if content_type is None:
                if type(value) is str and not exchange.head.has_accept_charset():
                    try:
                        encoded = value.encode(self.default_encoding, self.errors)
                    except UnicodeError:
                        raise HTTPError(500, self.failmsg % self.default_encoding) from None
                    exchange.content_type = self._type
                    return encoded
            elif type(value) is bytes and content_type[:5] != 'text/' and self.text_only:
                return value
        response = exchange.response
        body = prepare_iter(value)
        content_type = response.headers.get('Content-Type')
        if not (self.add_charset and content_type) or (
            self.text_only and not str(content_type).lower().startswith('text/')
        ):
            return body
        # A file is bytes throughout, and not read here: neither its chunks nor its length change.
        is_file = getattr(body, 'holds_bytes', False)
        if not response.stream and not is_file and not isinstance(body, (list, tuple)):
            # What a generator does to the response counts, so that it is read before anything is decided.
            try:
                body = list(body)
            finally:
                close = getattr(value, 'close', None)
                if close is not None:
                    close()
            content_type = response.headers.get('Content-Type') or content_type
        charset, body = self._encode(body, exchange.request, response)
        response.headers['Content-Type'] = _with_charset(str(content_type), charset)
        if not response.stream and not is_file:
            response.headers.pop('Content-Length', None)
        return body

    def _encode(self, body: Any, request: Any, response: Any) -> tuple[str, Any]:
        """Choose the charset and encode; raises HTTPError 406 if none fits, 500 if the default one does not."""
        attempted: list[str] = []

        def attempt(charset: str) -> Any:
            if charset in attempted:
                return None
            attempted.append(charset)
            if response.stream or getattr(body, 'holds_bytes', False):
                return self._stream(body, charset)
            try:
                return [c.encode(charset, self.errors) if isinstance(c, str) else c for c in body]
            except (LookupError, UnicodeError):
                return None

        field = request.headers.get('Accept-Charset')
        elements = header_elements('Accept-Charset', field)
        wanted = [element for element in elements if element.qvalue > 0]  # type: ignore[attr-defined]
        names = [element.value.lower() for element in wanted]
        if self.encoding is not None:
            if not elements or '*' in names or self.encoding in names:
                encoded = attempt(self.encoding)
                if encoded is not None:
                    return self.encoding, encoded
        elif not elements:
            encoded = attempt(self.default_encoding)
            if encoded is not None:
                return self.default_encoding, encoded
            raise HTTPError(500, self.failmsg % self.default_encoding)
        else:
            for element in wanted:
                charset = self.default_encoding if element.value == '*' else element.value
                encoded = attempt(charset)
                if encoded is not None:
                    return charset, encoded
            if '*' not in names and not any(e.value.lower() == 'iso-8859-1' for e in elements):
                encoded = attempt('iso-8859-1')
                if encoded is not None:
                    return 'iso-8859-1', encoded
        if field is None:
            message = 'Your client did not send an Accept-Charset header.'
        else:
            message = f'Your client sent this Accept-Charset header: {field}.'
        raise HTTPError(406, f'{message} We tried these charsets: {", ".join(sorted(attempted))}.')

    def _stream(self, body: Any, charset: str) -> Any:
        import codecs

        try:
            codecs.lookup(charset)
        except LookupError:
            return None
        if getattr(body, 'holds_bytes', False):
            return body
        if isinstance(body, (list, tuple)):
            return [c.encode(charset, self.errors) if isinstance(c, str) else c for c in body]
        if hasattr(body, '__aiter__'):
            return _AsyncStreamEncoder(body, charset, self.errors)
        return _StreamEncoder(body, charset, self.errors)


def _with_charset(content_type: str, charset: str) -> str:
    """Set the charset parameter, keeping the others: 'text/html;charset=utf-8'."""
    value, *params = [piece.strip() for piece in content_type.split(';')]
    kept = [param for param in params if param and not param.lower().startswith('charset=')]
    return ';'.join([value, *kept, f'charset={charset}'])


def encode(
    encoding: str | None = None,
    default_encoding: str = 'utf-8',
    errors: str = 'strict',
    text_only: bool = True,
    add_charset: bool = True,
    failmsg: str | None = None,
    debug: bool = False,
) -> None:
    """Wrap the current request's page handler so that its result is encoded."""
    exchange = current()
    request = exchange.request
    inner = request.handler
    if inner is None:
        return
    encoder = ResponseEncoder(encoding, default_encoding, errors, text_only, add_charset, failmsg, debug)

    def encoded(*args: Any, **kwargs: Any) -> Any:
        value = inner(*args, **kwargs)
        if hasattr(value, '__await__') or hasattr(value, '__aiter__'):
            return _encode_later(value, encoder, exchange)
        return encoder(value, exchange)

    request.handler = encoded


async def _encode_later(value: Any, encoder: ResponseEncoder, exchange: Any) -> Any:
    if hasattr(value, '__await__'):
        value = await value
    if hasattr(value, '__aiter__') and not hasattr(value, '__iter__') and not exchange.response.stream:
        value = [chunk async for chunk in value]
    return encoder(value, exchange)


encode.non_blocking = True  # type: ignore[attr-defined]


class EncodeTool(FilterTool):
    """The `encode` tool: a filter on what the page handler returns."""

    def __init__(self) -> None:
        super().__init__(ResponseEncoder, encode, 'encode', 70)


# --- decode ---------------------------------------------------------------------------------------------------


def decode(encoding: Any = None, default_encoding: Any = 'utf-8') -> None:
    """Say which charsets the request's body is tried in.

    encoding: one or a list; these and no others, whatever the client declares.
    default_encoding: one or a list, tried after the ones in force; only without `encoding`.
    """
    request = current().request
    if not request.process_request_body:
        return
    body = request.body
    if encoding is not None:
        body.attempt_charsets = [encoding] if isinstance(encoding, str) else list(encoding)
    elif default_encoding:
        more = [default_encoding] if isinstance(default_encoding, str) else list(default_encoding)
        body.attempt_charsets = [*body.attempt_charsets, *(name for name in more if name not in body.attempt_charsets)]


decode.non_blocking = True  # type: ignore[attr-defined]


# --- gzip -----------------------------------------------------------------------------------------------------

# Bodies of more bytes than this are compressed while they are sent.
_STREAMED = 1 << 20


def gzip(compress_level: int = 5, mime_types: Iterable[str] = ('text/html', 'text/plain'), debug: bool = False) -> None:
    """Compress the body, if the client takes gzip and the body is of one of `mime_types`.

    compress_level: 1 (fast) to 9 (small). mime_types: exact types, 'text/*' or 'application/*+xml'.
    Vary names Accept-Encoding whatever is decided. Bodies that are empty, encoded already, parts of something
    (206), or come from a cache stay as they are. A strong ETag becomes a weak one, since it names the bytes of
    another representation, and ranges are no longer offered.
    406 is answered where neither gzip nor the body as it is will do.

    SPEC: RFC 9110 12.5.3: what is not listed is as '*' says, and the body as it is always will do unless
    `identity;q=0` or `*;q=0` says otherwise.
    """
    exchange = current()
    request = exchange.request
    response = exchange.response
    headers = response.headers
    set_vary_header(response, 'Accept-Encoding')
    if not response.body or getattr(request, 'cached', False):
        return
    field = request.headers.get('Accept-Encoding')
    if not field:
        return
    if headers.get('Content-Encoding', 'identity') != 'identity' or 'Content-Range' in headers:
        return
    if valid_status(response.status)[0] in (204, 206, 304):
        return
    weights: dict[str, float] = {}
    with HTTPError.handle(BadHeaderValue, 400):
        for element in header_elements('Accept-Encoding', field):
            weights.setdefault(element.value.lower(), element.qvalue)  # type: ignore[attr-defined]
    anything = weights.get('*', 0.0)
    wanted = max(weights.get('gzip', 0.0), weights.get('x-gzip', 0.0))
    if 'gzip' not in weights and 'x-gzip' not in weights:
        wanted = anything
    if not wanted:
        if weights.get('identity', weights.get('*')) == 0:
            _refuse(response)
        return
    if weights.get('identity', 0.0) > wanted:
        return
    content_type = str(headers.get('Content-Type', '')).partition(';')[0].strip().lower()
    if not any(_fits(content_type, pattern) for pattern in mime_types):
        return
    if debug:
        from .cptools import log_debug

        log_debug(f'{content_type} is compressed for {field!r}', 'TOOLS.GZIP')
    length = headers.pop('Content-Length', None)
    headers['Content-Encoding'] = 'gzip'
    headers.pop('Accept-Ranges', None)
    etag = headers.get('ETag')
    if etag and not etag.startswith('W/'):
        headers['ETag'] = f'W/{etag}'
    body = response.body
    if hasattr(body, '__aiter__') and not hasattr(body, '__iter__'):
        response.body = _acompress(body, compress_level)
        return
    if length is not None and not isinstance(body, (list, tuple)) and int(length) > _STREAMED:
        response.stream = True
    if response.stream:
        response.body = compress(body, compress_level)
    else:
        # Now and not when the response is finalized: a tool's hook does not stand in the way of an event loop.
        response.body = [b''.join(compress(body, compress_level))]


def _refuse(response: Any) -> None:
    close = getattr(response.body, 'close', None)
    if close is not None:
        close()
    HTTPError(406, 'identity, gzip').set_response()
    set_vary_header(response, 'Accept-Encoding')


def _fits(content_type: str, pattern: str) -> bool:
    """Say whether a media type is `pattern`, which may have '*' for its subtype or before its suffix."""
    pattern = pattern.strip().lower()
    before, star, after = pattern.partition('*')
    if not star:
        return content_type == pattern
    return (
        len(content_type) > len(before) + len(after)
        and content_type.startswith(before)
        and content_type.endswith(after)
    )


class _Gzip:
    """Makes the pieces of a gzip member: `head`, then `feed` for each chunk, then `end`. SPEC: RFC 1952 2.3."""

    def __init__(self, level: int) -> None:
        import time
        import zlib

        self._crc32 = zlib.crc32
        self._crc = zlib.crc32(b'')
        self._size = 0
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        seconds = int(time.time()) & 0xFFFFFFFF
        strength = {9: 2, 1: 4}.get(level, 0)
        self.head = b'\x1f\x8b\x08\x00' + seconds.to_bytes(4, 'little') + bytes((strength, 255))

    def feed(self, chunk: bytes) -> bytes:
        self._crc = self._crc32(chunk, self._crc)
        self._size += len(chunk)
        return self._deflate.compress(chunk)

    def end(self) -> bytes:
        size = self._size & 0xFFFFFFFF
        return self._deflate.flush() + self._crc.to_bytes(4, 'little') + size.to_bytes(4, 'little')


def compress(body: Iterable[bytes], compress_level: int) -> Iterator[bytes]:
    """Give the chunks of `body` as a gzip file, chunk by chunk; closing it closes the body.

    compress_level: 0 to 9, or -1 for zlib's own choice. The file's time is now.
    """
    return ClosingIterator(_compress(body, compress_level), body)


def _compress(body: Iterable[bytes], level: int) -> Iterator[bytes]:
    made = _Gzip(level)
    yield made.head
    for chunk in body:
        piece = made.feed(chunk)
        if piece:
            yield piece
    yield made.end()


async def _acompress(body: Any, level: int) -> AsyncIterator[bytes]:
    made = _Gzip(level)
    yield made.head
    try:
        async for chunk in body:
            piece = made.feed(chunk)
            if piece:
                yield piece
    finally:
        aclose = getattr(body, 'aclose', None)
        if aclose is not None:
            await aclose()
    yield made.end()


def decompress(body: bytes) -> bytes:
    """Give what a gzip file holds. Raises OSError, EOFError or zlib.error if it is none."""
    from gzip import decompress as gunzip

    return gunzip(body)
