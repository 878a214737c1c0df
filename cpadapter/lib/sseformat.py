"""Server-sent events as bytes: one event, its fields checked when it is made. Knows no request and no stream.

SPEC: WHATWG HTML, "Server-sent events": "Parsing an event stream" says what a browser reads from it.
"""

from __future__ import annotations

import re
from typing import Any

from .jsontools import Codec

__all__ = ['PING', 'ServerSentEvent', 'as_event', 'format_retry', 'is_id']

_codec = Codec()

# SPEC: a line ends at CR LF, LF or CR, and at nothing else: U+2028 stays.
_split_lines = re.compile('\r\n|\r|\n').split

# A comment, which browsers read over, and an end of an event that is none.
PING = b':\n\n'


def is_id(text: str) -> bool:
    """Say whether text can be an event's id: no line break ends it, and with NUL in it browsers ignore it."""
    return not any(char in text for char in '\r\n\0')


def format_retry(milliseconds: int) -> bytes:
    """Give the field by which a browser is told how long to wait before it connects again."""
    # SPEC: digits only, or the field is ignored.
    if type(milliseconds) is not int or milliseconds < 0:
        raise ValueError(f'retry is a whole number of milliseconds, not {milliseconds!r}.')
    return b'retry: %d\n' % milliseconds


class ServerSentEvent:
    """One event, made once and sent to any number of clients.

    data: text, sent line by line; bytes are text in UTF-8; None for an event without data, of which a browser tells
        its page nothing; anything else is sent as JSON, on one line.
    event: its type, 'message' if None. id: what the browser sends back as Last-Event-ID when it connects again; ''
        makes it forget the last one. retry: milliseconds it waits before that. comment: text for nobody.
    ValueError for a line break in `event` or `id`, NUL in `id`, and a `retry` that is no whole number.
    """

    __slots__ = ('comment', 'data', 'encoded', 'event', 'id', 'retry')

    data: Any
    event: str | None
    id: str | None
    retry: int | None
    comment: str | None
    encoded: bytes

    def __init__(
        self,
        data: Any = None,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
    ) -> None:
        fields = bytearray()
        if comment is not None:
            for line in _split_lines(comment):
                fields += b': ' + line.encode('utf-8', 'replace') + b'\n'
        if retry is not None:
            fields += format_retry(retry)
        if id is not None:
            if not is_id(id):
                raise ValueError(f'The id of an event has a line break or NUL in it: {id!r}.')
            fields += b'id: ' + id.encode('utf-8', 'replace') + b'\n'
        if event is not None:
            if '\r' in event or '\n' in event:
                raise ValueError(f'The type of an event has a line break in it: {event!r}.')
            fields += b'event: ' + event.encode('utf-8', 'replace') + b'\n'
        if data is not None:
            for text in _lines_of(data):
                fields += b'data: ' + text + b'\n'
        put = object.__setattr__
        put(self, 'data', data)
        put(self, 'event', event)
        put(self, 'id', id)
        put(self, 'retry', retry)
        put(self, 'comment', comment)
        put(self, 'encoded', bytes(fields) + b'\n')

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f'A ServerSentEvent is not changed: make another for a different {name}.')

    def __bytes__(self) -> bytes:
        return self.encoded

    def __repr__(self) -> str:
        shown = [f'{name}={value!r}' for name in ('event', 'id', 'retry', 'comment') if (value := getattr(self, name))]
        return f'ServerSentEvent({", ".join([repr(self.data), *shown])})'


def _lines_of(data: Any) -> list[bytes]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        data = bytes(data).decode('utf-8', 'replace')
    if isinstance(data, str):
        return [line.encode('utf-8', 'replace') for line in _split_lines(data)]
    return [_codec.encode(data)]


def as_event(item: Any) -> ServerSentEvent | None:
    """Give what a source yields as an event; None stays None."""
    if item is None or type(item) is ServerSentEvent:
        return item
    return item if isinstance(item, ServerSentEvent) else ServerSentEvent(item)
