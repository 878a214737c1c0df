"""Text to bytes and bytes to fewer: the tools `encode`, `decode` and `gzip`, and what they are made of.

How bytes become fewer is compressors.py's; which coding a client prefers is protocol/codings.py's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError
from ..extension.tools import FilterTool, Tool
from ..protocol.codings import choose_coding
from ..protocol.files import make_file_body
from ..protocol.headers import BadHeaderValue, header_elements
from ..protocol.iterators import file_generator, is_closable_iterator
from ..protocol.params import known_charset
from ..protocol.status import valid_status
from . import ClosingIterator, checks, request_field, set_vary_header
from .checks import checked, optional
from .compressors import CODINGS, compress_whole, load_compressor, make_compressor

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'EncodeTool',
    'GzipTool',
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
        return make_file_body(value) or file_generator(value)
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
    # An iterator that is no stream is read to its end.
    reads = True
    # Of an encoder made for one response: what it encodes, and the charsets that were tried.
    body: Any = ()
    attempted_charsets: set[str] = set()

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
        if is_file or (isinstance(body, (list, tuple)) and not any(isinstance(chunk, str) for chunk in body)):
            # Nothing is encoded: these bytes are in what their maker says, and no client can have another.
            if 'charset=' not in str(content_type).lower():
                charset = self.encoding or self.default_encoding
                response.headers['Content-Type'] = _with_charset(str(content_type), charset)
        else:
            charset, body = self._encode(body, exchange.request, response)
            response.headers['Content-Type'] = _with_charset(str(content_type), charset)
        if not response.stream and not is_file:
            response.headers.pop('Content-Length', None)
        return body

    def encode_stream(self, encoding: str) -> bool:
        """Let `body` be encoded as it is read; False if that charset is not known, or was tried before."""
        if not self._is_new(encoding):
            return False
        body = self._stream(self.body, encoding)
        if body is None:
            return False
        self.body = body
        return True

    def encode_string(self, encoding: str) -> bool:
        """Encode the text in `body`, which is read whole; False if the charset cannot, or was tried before."""
        if not self._is_new(encoding):
            return False
        body = self.body = list(self.body)
        try:
            self.body = [chunk.encode(encoding, self.errors) if isinstance(chunk, str) else chunk for chunk in body]
        except (LookupError, UnicodeError):
            return False
        return True

    def find_acceptable_charset(self) -> str:
        """Encode `body` in a charset that the current request accepts, and name it; raises HTTPError 406 or 500."""
        exchange = current()
        charset, self.body = self._encode(self.body, exchange.request, exchange.response)
        return charset

    def _is_new(self, charset: str) -> bool:
        if charset in self.attempted_charsets:
            return False
        self.attempted_charsets = {*self.attempted_charsets, charset}
        return True

    def _encode(self, body: Any, request: Any, response: Any) -> tuple[str, Any]:
        """Choose the charset and encode; raises HTTPError 406 if none fits, 500 if the default one does not."""
        attempted: list[str] = []

        def attempt(charset: str, is_own: bool = False) -> Any:
            if charset in attempted:
                return None
            attempted.append(charset)
            # What a client names may be no charset, or one that takes the square of a text's length (punycode).
            if not is_own and known_charset(charset) is None:
                return None
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
                encoded = attempt(self.encoding, True)
                if encoded is not None:
                    return self.encoding, encoded
        elif not elements:
            encoded = attempt(self.default_encoding, True)
            if encoded is not None:
                return self.default_encoding, encoded
            raise HTTPError(500, self.failmsg % self.default_encoding)
        else:
            for element in wanted:
                charset = self.default_encoding if element.value == '*' else element.value
                encoded = attempt(charset, element.value == '*')
                if encoded is not None:
                    return charset, encoded
            # SPEC: RFC 9110 12.5.2: a charset that the client did not ask for is better than none, unless it says no.
            refused = {element.value.lower() for element in elements if not element.qvalue}  # type: ignore[attr-defined]
            if self.default_encoding.lower() not in refused and '*' not in refused:
                encoded = attempt(self.default_encoding, True)
                if encoded is not None:
                    return self.default_encoding, encoded
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


def _failmsg(value: Any) -> str:
    try:
        value % 'utf-8'
    except (TypeError, ValueError):
        return "it has to be text with one '%r', for the charset"
    return checks.text(value)


def _with_charset(content_type: str, charset: str) -> str:
    """Set the charset parameter, keeping the others: 'text/html;charset=utf-8'."""
    value, *params = [piece.strip() for piece in content_type.split(';')]
    kept = [param for param in params if param and not param.lower().startswith('charset=')]
    return ';'.join([value, *kept, f'charset={charset}'])


@checked(
    encoding=optional(checks.charset),
    default_encoding=checks.charset,
    errors=checks.error_handler,
    failmsg=optional(_failmsg),
)
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


@checked(encoding=optional(checks.charsets), default_encoding=optional(checks.charsets))
def decode(encoding: Any = None, default_encoding: Any = 'utf-8') -> None:
    """Say which charsets the request's body is tried in.

    encoding: one or a list; these and no others, whatever the client declares.
    default_encoding: one or a list, tried after the ones in force; only without `encoding`.
    """
    # Where the request does not read its body, the page handler may.
    body = current().request.body
    if encoding is not None:
        body.attempt_charsets = [encoding] if isinstance(encoding, str) else list(encoding)
    elif default_encoding:
        more = [default_encoding] if isinstance(default_encoding, str) else list(default_encoding)
        # COMPAT: a charset in force already stands there twice, as the message of a failure shows.
        body.attempt_charsets = [*body.attempt_charsets, *more]


decode.non_blocking = True  # type: ignore[attr-defined]


# --- gzip -----------------------------------------------------------------------------------------------------


def _codings(value: Any) -> str:
    problem = checks.texts(value)
    if not problem:
        try:
            for coding in _codings_of(value):
                load_compressor(coding)
        except (ImportError, ValueError) as exc:
            return str(exc).rstrip('.')
    return problem


# Bodies of more bytes than this are compressed while they are sent.
_STREAMED = 1 << 20
# Bytes that are compressed on an event loop, which then waits for 0.2 milliseconds.
_SHORT = 16384

_set_raw = dict.__setitem__


@checked(
    compress_level=checks.whole_number(-1, 9), mime_types=checks.texts, codings=_codings, min_size=checks.number(0)
)
def gzip(
    compress_level: int = 5,
    mime_types: str | Iterable[str] = ('text/html', 'text/plain'),
    debug: bool = False,
    codings: str | Iterable[str] = ('gzip',),
    min_size: int = 0,
) -> Any:
    """Compress the body, if the client takes one of `codings` and the body is of one of `mime_types`.

    compress_level: 1 (fast) to 9 (small). mime_types: exact types, 'text/*' or 'application/*+xml', listed or
        parted by commas.
    codings: of 'gzip', 'br' and 'zstd', in the order of preference; the client's weights come first.
    min_size: bytes; a shorter body stays as it is. That of a stream is not known.
    Vary names Accept-Encoding whatever is decided. Bodies that are empty, encoded already, parts of something
    (206), marked `Cache-Control: no-transform`, or come from a cache stay as they are. A streamed body is flushed
    chunk by chunk. A strong ETag becomes a weak one, since it names the bytes of another representation, and ranges
    are no longer offered.
    406 is answered where neither a coding nor the body as it is will do.

    SPEC: RFC 9110 12.5.3.
    """
    exchange = current()
    response = exchange.response
    headers = response.headers
    if dict.__contains__(headers, 'Vary'):
        set_vary_header(response, 'Accept-Encoding')
    else:
        _set_raw(headers, 'Vary', 'Accept-Encoding')
    body = response.body
    if not body or getattr(exchange.request, 'cached', False):
        return None
    field = request_field(exchange, 'accept-encoding')
    if not field:
        return None
    # PERF: keys in Title-Case are found by dict's own methods, at a quarter of what a map costs that takes any.
    get = dict.get
    if get(headers, 'Content-Encoding', 'identity') != 'identity' or get(headers, 'Content-Range') is not None:
        return None
    status = response.status
    if status is not None and status != 200 and valid_status(status)[0] in (204, 206, 304):
        return None
    offered = codings if type(codings) is tuple else _codings_of(codings)
    try:
        coding = choose_coding(field, offered)
    except BadHeaderValue as exc:
        raise HTTPError(400, str(exc)) from exc
    if coding is None:
        return _refuse(response, offered)
    if coding == 'identity' or not _fits_any(get(headers, 'Content-Type', ''), mime_types):
        return None
    control = get(headers, 'Cache-Control')
    if control is not None and 'no-transform' in str(control).lower():
        return None
    size = len(body[0]) if type(body) is list and len(body) == 1 and type(body[0]) is bytes else None
    length = get(headers, 'Content-Length')
    if min_size:
        known = size if size is not None else getattr(body, 'length', None)
        if known is None and isinstance(body, (list, tuple)):
            known = sum(map(len, body))
        if known is None and length is not None:
            known = int(length)
        if known is not None and known < min_size:
            return None
    if debug:
        from .cptools import log_debug

        log_debug(f'{get(headers, "Content-Type")} is compressed as {coding} for {field!r}', 'TOOLS.GZIP')
    if length is not None:
        dict.pop(headers, 'Content-Length')
    _set_raw(headers, 'Content-Encoding', coding)
    dict.pop(headers, 'Accept-Ranges', None)
    etag = get(headers, 'Etag')
    if etag and not etag.startswith('W/'):
        _set_raw(headers, 'Etag', f'W/{etag}')
    if size is not None and not response.stream:
        if size > _SHORT and exchange.on_loop:
            return exchange.app.offload(lambda: _compress_now(response, coding, compress_level))
        response.body = compress_whole(body[0], coding, compress_level)
        return None
    if hasattr(body, '__aiter__') and not hasattr(body, '__iter__'):
        response.body = _acompressed(body, coding, compress_level)
        return None
    if length is None:
        length = getattr(body, 'length', None)
    if length is not None and not isinstance(body, (list, tuple)) and int(length) > _STREAMED:
        response.stream = True
    if response.stream:
        response.body = ClosingIterator(
            _compressed(body, coding, compress_level, not hasattr(body, 'holds_bytes')), body
        )
    elif exchange.on_loop:
        return exchange.app.offload(lambda: _compress_now(response, coding, compress_level))
    else:
        # Now and not when the response is finalized: what reading the body raises has an error page.
        _compress_now(response, coding, compress_level)
    return None


gzip.non_blocking = True  # type: ignore[attr-defined]  # on a loop, what takes its time goes to a thread


class GzipTool(Tool):
    """The `gzip` tool: its list of codings is read when the plan is compiled."""

    def __init__(self) -> None:
        super().__init__('before_finalize', gzip, 'gzip', 80)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        if 'codings' in settings:
            settings['codings'] = _codings_of(settings['codings'])
        super().compile(builder, settings)


def _codings_of(codings: str | Iterable[str]) -> tuple[str, ...]:
    names = codings.split(',') if isinstance(codings, str) else codings
    found = tuple(name.strip().lower() for name in names)
    for name in found:
        if name not in CODINGS:
            raise ValueError(f'There is no content coding {name!r} here: {", ".join(CODINGS)}.')
    return found


def _refuse(response: Any, offered: tuple[str, ...]) -> Any:
    close = getattr(response.body, 'close', None)
    if close is not None:
        close()
    later = HTTPError(406, ', '.join(('identity', *offered))).set_response()
    set_vary_header(response, 'Accept-Encoding')
    return later


# (Content-Type, patterns) -> whether it is of them; bounded.
_fitting: dict[tuple[str, tuple[str, ...]], bool] = {}


def _fits_any(content_type: Any, patterns: str | Iterable[str]) -> bool:
    if isinstance(patterns, str):
        patterns = tuple(patterns.split(','))
    key = (str(content_type), patterns if type(patterns) is tuple else tuple(patterns))
    fits = _fitting.get(key)
    if fits is None:
        bare = key[0].partition(';')[0].strip().lower()
        fits = any(_fits(bare, pattern) for pattern in key[1])
        if len(_fitting) >= 500:
            _fitting.clear()
        _fitting[key] = fits
    return fits


def _fits(content_type: str, pattern: str) -> bool:
    """Say whether a media type is `pattern`, which may have '*' for its subtype or before its suffix."""
    pattern = pattern.strip().lower()
    before, star, after = pattern.partition('*')
    if not star or pattern == '*/*':
        return star != '' or content_type == pattern
    return (
        len(content_type) > len(before) + len(after)
        and content_type.startswith(before)
        and content_type.endswith(after)
    )


def _compress_now(response: Any, coding: str, level: int) -> None:
    body = response.body
    if type(body) is list and len(body) == 1 and type(body[0]) is bytes:
        response.body = compress_whole(body[0], coding, level)
        return
    response.body = [b''.join(ClosingIterator(_compressed(body, coding, level), body))]


def compress(body: Iterable[bytes], compress_level: int) -> Iterator[bytes]:
    """Give the chunks of `body` as a gzip file, chunk by chunk; closing it closes the body.

    compress_level: 0 to 9, or -1 for zlib's own choice. The file's time is now.
    """
    return ClosingIterator(_compressed(body, 'gzip', compress_level), body)


def _compressed(body: Iterable[bytes], coding: str, level: int, flushed: bool = False) -> Iterator[bytes]:
    made = make_compressor(coding, level)
    for chunk in body:
        if isinstance(chunk, str):
            chunk = chunk.encode('utf-8')
        piece = made.feed(chunk, flushed)
        if piece:
            yield piece
    yield made.end()


async def _acompressed(body: Any, coding: str, level: int) -> AsyncIterator[bytes]:
    made = make_compressor(coding, level)
    try:
        async for chunk in body:
            if isinstance(chunk, str):
                chunk = chunk.encode('utf-8')
            piece = made.feed(chunk, True)
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
