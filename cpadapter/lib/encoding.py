"""Text to bytes: the `encode` tool, its negotiation of a charset, and encoders for streamed bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from ..context import current
from ..errors import HTTPError
from ..extension.tools import FilterTool
from ..protocol.headers import header_elements
from ..protocol.iterators import file_generator, is_closable_iterator

__all__ = ['EncodeTool', 'ResponseEncoder', 'UTF8StreamEncoder', 'prepare_iter']


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
        self._fast_type = f'text/html;charset={default_encoding}' if encoding is None and add_charset else None

    def __call__(self, value: Any, exchange: Any) -> Any:
        """Filter a page handler's result: str, bytes, None, a file or an iterable -> what can be a body."""
        if self._fast_type is not None and exchange._response is None and exchange.plan.simple:
            kind = type(value)
            content_type = exchange.content_type
            if content_type is None:
                if kind is str and not exchange.head.has_accept_charset():
                    try:
                        value = value.encode(self.default_encoding, self.errors)
                    except UnicodeError:
                        raise HTTPError(500, self.failmsg % self.default_encoding) from None
                    exchange.content_type = self._fast_type
                    return value
            elif kind is bytes and content_type[:5] != 'text/' and self.text_only:
                return value
        response = exchange.response
        body = prepare_iter(value)
        content_type = response.headers.get('Content-Type')
        if not (self.add_charset and content_type) or (
            self.text_only and not str(content_type).lower().startswith('text/')
        ):
            return body
        if not response.stream and not isinstance(body, (list, tuple)):
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
        if not response.stream:
            response.headers.pop('Content-Length', None)
        return body

    def _encode(self, body: Any, request: Any, response: Any) -> tuple[str, Any]:
        """Choose the charset and encode; raises HTTPError 406 if none fits, 500 if the default one does not."""
        attempted: list[str] = []

        def attempt(charset: str) -> Any:
            if charset in attempted:
                return None
            attempted.append(charset)
            if response.stream:
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
        return encoder(inner(*args, **kwargs), current())

    request.handler = encoded


encode.non_blocking = True  # type: ignore[attr-defined]


class EncodeTool(FilterTool):
    """The `encode` tool: a filter on what the page handler returns."""

    def __init__(self) -> None:
        super().__init__(ResponseEncoder, encode, 'encode', 70)
