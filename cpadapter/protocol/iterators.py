"""Iterators over response bodies: telling them apart, and reading files in chunks. Knows no request."""

from __future__ import annotations

from collections.abc import Iterator
from types import GeneratorType
from typing import Any

__all__ = [
    'CountedBody',
    'LineReader',
    'as_bytes',
    'count_body',
    'file_generator',
    'file_generator_limited',
    'is_closable_iterator',
    'is_iterator',
]


def as_bytes(chunk: Any) -> bytes:
    """Give a streamed chunk as bytes: text is encoded as UTF-8; TypeError for what is neither."""
    if isinstance(chunk, str):
        return chunk.encode('utf-8')
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f'A streamed body gives bytes, not {type(chunk).__name__}.')


class CountedBody:
    """Counts a streamed body against the length it was announced with; RuntimeError where they differ.

    SPEC: RFC 9110 8.6: what follows the announced length would be read as the next response, and where it is not
    reached the next response would be read as the rest of this one. Raised, it makes the server close the connection.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.left = length

    def take(self, chunk: bytes) -> None:
        """Count a chunk that is about to be sent."""
        self.left -= len(chunk)
        if self.left < 0:
            raise RuntimeError(f'The body is longer than its Content-Length of {self.length}.')

    def end(self) -> None:
        """Check that all has come."""
        if self.left:
            raise RuntimeError(f'The body ends {self.left} bytes short of its Content-Length of {self.length}.')

    def check(self, chunks: Iterator[Any]) -> Iterator[bytes]:
        """Give the chunks, as bytes, counting them."""
        for chunk in chunks:
            data = as_bytes(chunk)
            self.take(data)
            yield data
        self.end()


def count_body(headers: list[tuple[str, str]]) -> CountedBody | None:
    """Give the counter for a body announced by these headers; None if they name no length."""
    for name, value in headers:
        if name.lower() == 'content-length' and value.isascii() and value.isdigit():
            return CountedBody(int(value))
    return None


def is_iterator(obj: Any) -> bool:
    """Say whether `obj` is a generator, or an object whose iter() is itself."""
    if isinstance(obj, GeneratorType):
        return True
    if not hasattr(obj, '__iter__'):
        return False
    return iter(obj) is obj


def is_closable_iterator(obj: Any) -> bool:
    """Say whether `obj` is an iterator whose `close` can be called without arguments."""
    if not is_iterator(obj):
        return False
    if isinstance(obj, GeneratorType):
        return True
    close = getattr(obj, 'close', None)
    if not callable(close):
        return False
    import inspect

    try:
        inspect.signature(close).bind()
    except (TypeError, ValueError):
        return False
    return True


class file_generator:
    """Yield the chunks of a readable object; closes it once: at the end, on close() or when collected.

    input: an object with `read(size)` giving bytes.
    chunkSize: bytes a chunk.
    """

    _closed = False

    def __init__(self, input: Any, chunkSize: int = 65536) -> None:
        self.input = input
        self.chunkSize = chunkSize

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk: bytes = self.input.read(self.chunkSize)
        if chunk:
            return chunk
        self.close()
        raise StopIteration

    next = __next__

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        close = getattr(self.input, 'close', None)
        if close is not None:
            close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            pass  # a file that cannot be closed any more loses nothing that was not lost before


def file_generator_limited(fileobj: Any, count: int, chunk_size: int = 65536) -> Iterator[bytes]:
    """Yield at most `count` bytes of a readable object, in chunks of at most `chunk_size` bytes."""
    remaining = count
    while remaining > 0:
        chunk = fileobj.read(min(chunk_size, remaining))
        if not chunk:
            return
        remaining -= len(chunk)
        yield chunk


class LineReader:
    """Lines for an object that can only `read`.

    A server's own readline is never used, since it may read beyond the body.
    """

    def read(self, size: int = -1, /) -> bytes:
        raise NotImplementedError

    def readline(self, size: int = -1) -> bytes:
        """Read up to and with a line feed, `size` bytes at the most; b'' at the end."""
        line = bytearray()
        while size < 0 or len(line) < size:
            byte = self.read(1)
            if not byte:
                break
            line += byte
            if byte == b'\n':
                break
        return bytes(line)

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Read all lines, or as many as it takes to have `hint` bytes."""
        lines: list[bytes] = []
        total = 0
        while (hint <= 0 or total < hint) and (line := self.readline()):
            lines.append(line)
            total += len(line)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line
