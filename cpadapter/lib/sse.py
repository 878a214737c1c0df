"""Server-sent events: the tool `sse`, and EventStream, the response that both make of what a page handler gives.

A stream formats what its source yields, one chunk an event, and knows what is sent where nothing comes; when that is,
and when it is over, the gateways know. Events and channels are in files of their own, and named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..context import current
from ..extension.tools import FilterTool
from ..gateways.lasting import LOOK_AGAIN, OPENING, is_over
from . import checks, request_field
from .checks import checked, optional
from .ssechannel import Channel, Subscription
from .sseformat import PING, ServerSentEvent, as_event, format_retry, is_id

if TYPE_CHECKING:
    import asyncio

__all__ = ['Channel', 'EventStream', 'SSETool', 'ServerSentEvent', 'Subscription', 'last_event_id', 'sse']

_MEDIA_TYPE = 'text/event-stream'


def last_event_id() -> str | None:
    """Give the id of the last event that the client of the current request saw, None if it does not say, or badly."""
    value = request_field(current(), 'last-event-id')
    if value is None:
        return None
    try:
        # SPEC: browsers send UTF-8, where the text of other headers is latin-1.
        value = value.encode('latin-1').decode('utf-8')
    except UnicodeError:
        pass
    return value if is_id(value) and value.isprintable() else None


class EventStream:
    """A response body of server-sent events; made within a request, it sets the response's head too.

    source: an iterable, async or plain: a generator, or what Channel.subscribe gives. What it yields is an event:
        text, bytes in UTF-8, a ServerSentEvent, or something that is sent as JSON; None sends a comment.
    ping: seconds without an event after which a comment is sent, so that nobody on the way takes the connection for
        dead; 0 for never.
    retry: milliseconds that the browser waits before it connects again, told at the beginning.
    """

    # Its chunks are bytes already: what encodes text leaves it alone.
    holds_bytes = True

    def __new__(cls, source: Any, ping: float = 15, retry: int | None = None) -> EventStream:
        if cls is EventStream:
            head = current().head
            threaded = type(source) is Subscription and not hasattr(head, 'receive')
            cls = _AsyncEvents if hasattr(source, '__aiter__') and not threaded else _PlainEvents
        return super().__new__(cls)

    def __init__(self, source: Any, ping: float = 15, retry: int | None = None) -> None:
        self.ping = ping
        self._opening = b'' if retry is None else format_retry(retry)
        self._source = source
        self._chunks: Any = None
        exchange = current()
        if exchange.app is not None:
            response = exchange.response
            response.stream = True
            headers = response.headers
            # SPEC: it is UTF-8 always.
            headers['Content-Type'] = f'{_MEDIA_TYPE};charset=utf-8'
            headers.pop('Content-Length', None)
            if 'Cache-Control' not in headers:
                # What compresses on the way would hold events back.
                headers['Cache-Control'] = 'no-store, no-transform'
            headers['X-Accel-Buffering'] = 'no'

    def idle_chunk(self) -> bytes:
        """Give what is sent where no event came for a while."""
        return self._with_opening(PING)

    def _with_opening(self, chunk: bytes) -> bytes:
        opening = self._opening
        if opening:
            self._opening = b''
            chunk = opening + b'\n' + chunk
        return chunk

    def _format(self, item: Any) -> bytes:
        event = as_event(item)
        return self._with_opening(PING if event is None else event.encoded)


class _AsyncEvents(EventStream):
    """Events of an async source; its chunks are for `async for`."""

    _pending: asyncio.Task[Any] | None = None

    def __aiter__(self) -> _AsyncEvents:
        if self._chunks is None:
            self._chunks = self._source.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        return self._format(await self._chunks.__anext__())

    async def within(self, seconds: float) -> Any:
        """Give the next chunk, None if none came in so many seconds, END_OF_CHUNKS at the end."""
        import asyncio

        from ..gateways.bridge import END_OF_CHUNKS

        async def step() -> Any:
            try:
                return await self.__aiter__().__anext__()
            except StopAsyncIteration:
                return END_OF_CHUNKS

        pending = self._pending
        if pending is None:
            pending = self._pending = asyncio.ensure_future(step())
        done, _ = await asyncio.wait((pending,), timeout=seconds)
        if not done:
            return None
        self._pending = None
        return pending.result()

    async def aclose(self) -> None:
        """Close the source, which waits no longer."""
        pending, self._pending = self._pending, None
        if pending is not None:
            import asyncio

            pending.cancel()
            await asyncio.wait((pending,))
            if not pending.cancelled():
                pending.exception()  # seen, though nobody is left to be told
        aclose = getattr(self._source, 'aclose', None)
        if aclose is not None:
            await aclose()


class _PlainEvents(EventStream):
    """Events of a plain source, which is pulled in a thread; a subscription says itself that nothing has come."""

    def __iter__(self) -> _PlainEvents:
        return self

    def __next__(self) -> bytes:
        exchange = current()
        in_request = exchange.app is not None
        if in_request and is_over(exchange):
            raise StopIteration
        source = self._source
        if type(source) is not Subscription:
            if self._chunks is None:
                self._chunks = iter(source)
            return self._format(next(self._chunks))
        from time import monotonic

        wait = OPENING if self._chunks is None else self.ping
        self._chunks = source
        due = monotonic() + wait if wait else None
        while (event := source.take()) is None:
            left = LOOK_AGAIN if due is None else due - monotonic()
            if left <= 0:
                return self.idle_chunk()
            source.wait(min(left, LOOK_AGAIN))
            if in_request and is_over(exchange):
                raise StopIteration
        return self._with_opening(event.encoded)

    def close(self) -> None:
        """Close the source."""
        close = getattr(self._source, 'close', None)
        if close is not None:
            close()


@checked(ping=checks.number(0), retry=optional(checks.whole_number(0)))
def sse(ping: float = 15, retry: int | None = None) -> None:
    """Send what the page handler gives as server-sent events.

    The page handler is a generator, plain or async, or returns an iterable, or one event; None is no event at all.
    ping: seconds without an event after which a comment is sent; 0 for never.
    retry: milliseconds that the browser waits before it connects again; None leaves that to the browser.
    """
    # What the plan does with the filter, for those who call the tool by themselves.
    exchange = current()
    request = exchange.request
    inner = request.handler
    if inner is None:
        return
    events = make_filter(ping, retry)
    events.prepare(exchange)

    def handler(*args: Any, **kwargs: Any) -> Any:
        value = inner(*args, **kwargs)
        return _later(value, events, exchange) if hasattr(value, '__await__') else events(value, exchange)

    request.handler = handler


sse.non_blocking = True  # type: ignore[attr-defined]


async def _later(value: Any, events: _Events, exchange: Any) -> Any:
    return events(await value, exchange)


class _Events:
    """The filter that makes an EventStream of the page handler's result."""

    def __init__(self, ping: float, retry: int | None) -> None:
        self.ping = ping
        self.retry = retry

    def prepare(self, exchange: Any) -> None:
        """Say beforehand that the response is a stream, so that nobody reads it to its end first."""
        exchange.response.stream = True

    def __call__(self, value: Any, exchange: Any) -> Any:
        if isinstance(value, EventStream):
            return value
        if value is None:
            value = ()
        elif isinstance(value, (str, bytes, Mapping, ServerSentEvent)) or not (
            isinstance(value, Iterable) or hasattr(value, '__aiter__')
        ):
            value = (value,)
        return EventStream(value, self.ping, self.retry)


def make_filter(ping: float = 15, retry: int | None = None) -> _Events:
    """Give the filter for the tool's settings."""
    return _Events(ping, retry)


class SSETool(FilterTool):
    """The `sse` tool: a filter on what the page handler returned."""

    def __init__(self) -> None:
        super().__init__(make_filter, sse, 'sse', 40)
