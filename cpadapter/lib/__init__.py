"""Small functions the built-in tools share; importing it imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..protocol.iterators import file_generator, file_generator_limited, is_closable_iterator, is_iterator

__all__ = [
    'ClosingIterator',
    'field_getter',
    'file_generator',
    'file_generator_limited',
    'is_closable_iterator',
    'is_iterator',
    'request_field',
    'set_vary_header',
]


class ClosingIterator:
    """Yield what `chunks`, made of `body`, yields; closes both, once: at the end, on an error, and on close()."""

    def __init__(self, chunks: Iterator[Any], body: Any) -> None:
        self._chunks = chunks
        self._body = body

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._chunks)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        body, self._body = self._body, None
        for closed in (self._chunks, body):
            close = getattr(closed, 'close', None)
            if close is not None:
                close()


def field_getter(exchange: Any) -> Callable[[str], str | None]:
    """Give a function that gives a request header, named in lower case; its value may have space around it.

    PERF: where nobody has asked for `request.headers`, that is what the gateway has: 0.3 microseconds for each, where
    the map of all of them takes 4.
    """
    request = exchange.request
    own = request.__dict__
    head = exchange.head
    if head is None or 'headers' in own or 'header_list' in own:
        get: Callable[[str], str | None] = request.headers.get
    else:
        get = head.get
    return get


def request_field(exchange: Any, name: str) -> str | None:
    """Give a request header as `request.headers` has it, without making that map where nobody has asked for it.

    name: in lower case.
    """
    value = field_getter(exchange)(name)
    if value is not None:
        # Encoded words are read by the map.
        value = exchange.request.headers.get(name) if '=?' in value else value.strip()
    return value


def set_vary_header(response: Any, header_name: str) -> None:
    """Add a name to the response's Vary field, unless it or '*' is there already."""
    present = response.headers.get('Vary', '')
    names = [name.strip() for name in present.split(',') if name.strip()]
    if '*' not in names and header_name.lower() not in [name.lower() for name in names]:
        names.append(header_name)
        response.headers['Vary'] = ', '.join(names)


def __getattr__(name: str) -> Any:
    """Import a module of this package when it is first named, as `lib.sessions`."""
    from importlib import import_module

    if not name.startswith('_'):
        try:
            return import_module(f'{__name__}.{name}')
        except ModuleNotFoundError as exc:
            if exc.name != f'{__name__}.{name}':
                raise
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
