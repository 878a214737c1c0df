"""JSON bodies: the tools `json_in` and `json_out`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError
from ..extension.tools import Tool

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['JSONInTool', 'json_handler', 'json_in', 'json_out', 'json_processor']


class _Codec:
    """`json`'s encoder and decoder, imported when one of them is first used."""

    encode: Any
    decode: Any

    def __getattr__(self, name: str) -> Any:
        import json

        self.encode = json.JSONEncoder().encode
        self.decode = json.loads
        return self.__dict__[name]


_codec = _Codec()

DEFAULT_TYPES = ('application/json', 'text/javascript')


def json_processor(entity: Any) -> None:
    """Read a JSON document, UTF-8, into `request.json`; HTTPError 411 without Content-Length, 400 if it is none."""
    if not entity.headers.get('Content-Length') and not entity.headers.get('Transfer-Encoding'):
        raise HTTPError(411)
    body = entity.fp.read()
    request: Any = current().request
    try:
        # A document nested too deeply is no valid one here; int() bounds the digits of numbers.
        request.json = _codec.decode(body.decode('utf-8'))
    except (ValueError, RecursionError):
        raise HTTPError(400, 'Invalid JSON document') from None


def json_in(
    content_type: Any = DEFAULT_TYPES,
    force: bool = True,
    debug: bool = False,
    processor: Any = json_processor,
) -> None:
    """Read a JSON body into `request.json`.

    content_type: media types taken as JSON, exact, parameters ignored. force: any other type is answered 415.
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


class _ShortJSON:
    """Takes a short JSON body without a body object."""

    def __init__(self, media_types: frozenset[str]) -> None:
        self.media_types = media_types

    def take(self, data: bytes, request: Any) -> None:
        """Read `data` into `request.json`; HTTPError 400 if it is no JSON document."""
        try:
            request.json = _codec.decode(data.decode('utf-8'))
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


json_in.non_blocking = True  # type: ignore[attr-defined]


def json_handler(*args: Any, **kwargs: Any) -> Any:
    """Call the page handler that json_out wrapped and give its result as JSON, in UTF-8."""
    request: Any = current().request
    value = request._json_inner_handler(*args, **kwargs)
    if hasattr(value, '__await__'):
        return _encode_later(value)
    return [_codec.encode(value).encode('utf-8')]


async def _encode_later(value: Any) -> list[bytes]:
    return [_codec.encode(await value).encode('utf-8')]


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
        return _codec.encode(value).encode('utf-8')  # type: ignore[no-any-return]


def make_filter(content_type: str | None = 'application/json', debug: bool = False, handler: Any = json_handler) -> Any:
    """Give the filter for json_out's settings; None for a handler of one's own, which has to be called instead."""
    return _JSONFilter(content_type) if handler is json_handler else None
