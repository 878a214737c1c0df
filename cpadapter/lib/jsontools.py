"""JSON bodies: the tools `json_in` and `json_out`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError
from ..extension.tools import Tool
from . import checks
from .checks import checked, optional

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['Codec', 'JSONInTool', 'json_handler', 'json_in', 'json_out', 'json_processor']


class Codec:
    """JSON documents as values and back; its parts are imported when one of them is first used.

    decode: UTF-8 bytes -> value; ValueError or RecursionError if they are no JSON document (RFC 8259: NaN is none).
    encode: value -> UTF-8 bytes, escaped and spaced as json.dumps does; numbers that JSON has not become null.

    msgspec does the work where it is installed, and the standard library what msgspec refuses. Documents mean the
    same with and without it; with it, numbers such as 1e16 are written shorter, and some more types are written:
    datetime, UUID, dataclasses, and bytes (in base64).
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    def __init__(self, fast: bool = True) -> None:
        self.fast = fast

    def __getattr__(self, name: str) -> Any:
        if name not in ('encode', 'decode'):
            raise AttributeError(name)
        self.encode, self.decode = _standard_codec()
        if self.fast:
            try:
                self.encode, self.decode = _msgspec_codec(self.encode, self.decode)
            except ImportError:
                pass  # the extra `fast` was not asked for
        return self.__dict__[name]


def _standard_codec() -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    import json

    def refuse(constant: str) -> Any:
        raise ValueError(f'{constant} is no JSON value.')

    read = json.JSONDecoder(parse_constant=refuse).decode
    write = json.JSONEncoder(allow_nan=False).encode

    def encode(value: Any) -> bytes:
        try:
            return write(value).encode('ascii')
        except ValueError:
            return write(_without_nan(value)).encode('ascii')

    def decode(data: bytes) -> Any:
        return read(data.decode('utf-8'))

    return encode, decode


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def _msgspec_codec(
    standard_encode: Callable[[Any], bytes], standard_decode: Callable[[bytes], Any]
) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    from msgspec import MsgspecError
    from msgspec.json import Decoder, Encoder, format

    read = Decoder().decode
    write = Encoder().encode

    def encode(value: Any) -> bytes:
        try:
            # One line, with a space after commas and colons.
            data: bytes = format(write(value), indent=0)
        except Exception:
            # Such as keys that are None, or lone surrogates: what json can write is written.
            return standard_encode(value)
        if not data.isascii():
            try:
                return standard_encode(value)
            except TypeError:
                pass  # a type that msgspec alone writes
        return data

    def decode(data: bytes) -> Any:
        try:
            return read(data)
        except MsgspecError:
            # Numbers too large for a float, lone surrogates: what json takes is taken.
            return standard_decode(data)

    return encode, decode


_codec = Codec()

DEFAULT_TYPES = ('application/json', 'text/javascript')


def json_processor(entity: Any) -> None:
    """Read a JSON document, UTF-8, into `request.json`; HTTPError 411 without Content-Length, 400 if it is none."""
    if not entity.headers.get('Content-Length') and not entity.headers.get('Transfer-Encoding'):
        raise HTTPError(411)
    body = entity.fp.read()
    request: Any = current().request
    try:
        # A document nested too deeply is no valid one here; int() bounds the digits of numbers.
        request.json = _codec.decode(body)
    except (ValueError, RecursionError):
        raise HTTPError(400, 'Invalid JSON document') from None


@checked(content_type=checks.texts, processor=checks.is_callable)
def json_in(
    content_type: Any = DEFAULT_TYPES,
    force: bool = True,
    debug: bool = False,
    processor: Any = json_processor,
) -> None:
    """Read a JSON body into `request.json`.

    content_type: media types taken as JSON, exact, parameters ignored; without it, `application/*+json` is as well.
    force: any other type is answered 415.
    processor: called with the body entity in place of json_processor.
    """
    request = current().request
    if isinstance(content_type, str):
        content_type = [content_type]
    body = request.body
    if force:
        body.processors.clear()
        body.default_proc = HTTPError(415, f'Expected an entity of content type {", ".join(content_type)}')
    for media_type in content_type:
        body.processors[media_type] = processor
    # SPEC: RFC 6839 3.1: such as application/problem+json.
    sent = body.content_type.value
    if content_type is DEFAULT_TYPES and sent.startswith('application/') and sent.endswith('+json'):
        body.processors[sent] = processor


class _ShortJSON:
    """Takes a short JSON body without a body object."""

    def __init__(self, media_types: frozenset[str]) -> None:
        self.media_types = media_types

    def take(self, data: bytes, request: Any) -> None:
        """Read `data` into `request.json`; HTTPError 400 if it is no JSON document."""
        try:
            request.json = _codec.decode(data)
        except (ValueError, RecursionError):
            raise HTTPError(400, 'Invalid JSON document') from None


class JSONInTool(Tool):
    """The `json_in` tool: a hook that sets the body up, or less where only short JSON bodies come."""

    def __init__(self) -> None:
        super().__init__('before_request_body', json_in, 'json_in', 30)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        media_types = settings.get('content_type', DEFAULT_TYPES)
        if isinstance(media_types, str):
            media_types = [media_types]
        own = settings.get('processor', json_processor) is not json_processor
        super().compile(builder, settings)
        if not own:
            hook = builder.hooks['before_request_body'][-1]
            builder.take_short_bodies(hook, _ShortJSON(frozenset(name.lower() for name in media_types)))


json_in.non_blocking = json_processor.non_blocking = True  # type: ignore[attr-defined]


def json_handler(*args: Any, **kwargs: Any) -> Any:
    """Call the page handler that json_out wrapped and give its result as JSON, in UTF-8."""
    request: Any = current().request
    value = request._json_inner_handler(*args, **kwargs)
    if hasattr(value, '__await__'):
        return _encode_later(value)
    return [_codec.encode(value)]


async def _encode_later(value: Any) -> list[bytes]:
    return [_codec.encode(await value)]


@checked(content_type=optional(checks.text), handler=checks.is_callable)
def json_out(content_type: str | None = 'application/json', debug: bool = False, handler: Any = json_handler) -> None:
    """Wrap the current request's page handler so that its result is sent as JSON.

    content_type: what is sent as Content-Type; None leaves it alone.
    handler: called in place of the page handler, which it finds in `request._json_inner_handler`.
    """
    exchange = current()
    request: Any = exchange.request
    if request.handler is None:
        return
    request._json_inner_handler = request.handler
    request.handler = handler
    if content_type is not None:
        exchange.response.headers['Content-Type'] = content_type


json_out.non_blocking = True  # type: ignore[attr-defined]


class _JSONFilter:
    """The filter that json_out is where nothing else wraps the page handler."""

    def __init__(self, content_type: str | None) -> None:
        self.content_type = content_type

    def prepare(self, exchange: Any) -> None:
        """Set Content-Type before the page handler runs, which may set another."""
        if self.content_type is not None:
            if exchange._response is None:
                exchange.content_type = self.content_type
            else:
                exchange.response.headers['Content-Type'] = self.content_type

    def __call__(self, value: Any, exchange: Any) -> bytes:
        return _codec.encode(value)


def make_filter(content_type: str | None = 'application/json', debug: bool = False, handler: Any = json_handler) -> Any:
    """Give the filter for json_out's settings; None for a handler of one's own, which has to be called instead."""
    return _JSONFilter(content_type) if handler is json_handler else None
