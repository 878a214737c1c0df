"""SizedReader: the bytes of one body as a bounded file, for blocking and for async code.

Every algorithm is written once, as a coroutine over a function that gives the next bytes: blocking for `read`,
awaited for `aread`. Limits are counted as bytes arrive, whatever Content-Length says. Knows no headers, no forms, no
loop and no thread: where a file must not be written on the loop, `offload` was handed in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from ..errors import ClientDisconnected, HTTPError

__all__ = [
    'BATCH',
    'CHUNK',
    'LARGE',
    'SPOOLED',
    'Fetch',
    'Offload',
    'SizedReader',
    'Write',
    'call_by',
    'closed_on_error',
    'run_blocking',
    'spooled_file',
    'temporary_file',
]

T = TypeVar('T')
# Gives at most so many bytes, b'' at the end.
Fetch = Callable[[int], Awaitable[bytes]]
# Calls a function of no arguments where it may block.
Offload = Callable[[Callable[[], Any]], Awaitable[Any]]

# Bytes asked of the stream at once when a body is read as it comes.
CHUNK = 65536
# PERF: the same when all of it is wanted, which under gunicorn's threads takes a third of the time: it copies what it
# has on each read.
LARGE = 1048576
# Bytes gathered for one crossing to a thread that writes them.
BATCH = 262144
# Bytes of a spooled file that are kept in memory.
SPOOLED = 16384
# Bytes of a body kept in memory when it is read ahead of a processor that blocks.
_AHEAD = 1048576


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never suspends, because it was given blocking reads."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError('An async body processor waits for something: it needs an async page handler and aprocess().')


class SizedReader:
    """A file of the bytes of one body, bounded, with the methods of a binary file open for reading.

    fp: any object with `read(size)` giving at most `size` bytes and b'' at the end; with `aread` too where the async
        methods are used (without it they block); None stands for an empty body.
    length: bytes to come, None to read until the end. maxbytes: None or 0 for no limit.
    bufsize: bytes asked for at once while looking for the end of a line.

    Every reading method raises HTTPError 413 when more than `maxbytes` arrive, or are announced by `length`, and
    ClientDisconnected when the stream ends before `length`: what has been read to the end is whole.
    """

    #: Set at the end if there were trailers and the stream offers them (`read_trailer_lines()`).
    trailers: dict[bytes, bytes]

    def __init__(
        self, fp: Any, length: int | None, maxbytes: int | None, bufsize: int = 8192, has_trailers: bool = False
    ) -> None:
        self.fp = fp
        self.length = length
        self.maxbytes = maxbytes
        self.bufsize = bufsize
        self.bytes_read = 0
        self.done = False
        self.has_trailers = has_trailers
        self._data = b''
        self._start = 0
        self.stopped = False

    @property
    def buffer(self) -> bytes:
        """Bytes that have arrived and were not yet read."""
        return self._data[self._start :]

    # --- the stream below ---

    async def fetch_blocking(self, size: int) -> bytes:
        return self.fp.read(size)  # type: ignore[no-any-return]

    async def fetch_waiting(self, size: int) -> bytes:
        aread = getattr(self.fp, 'aread', None)
        return self.fp.read(size) if aread is None else await aread(size)  # type: ignore[no-any-return]

    async def fetch_gathered(self, size: int) -> bytes:
        gather = getattr(self.fp, 'agather', None)
        return await (self.fetch_waiting(size) if gather is None else gather(size))

    async def _pull(self, size: int, fetch: Fetch) -> bytes:
        # One read of the stream: 1 to `size` bytes, or b'' at the end.
        if self.done:
            return b''
        maxbytes, length, got = self.maxbytes, self.length, self.bytes_read
        if maxbytes and (got > maxbytes or (length is not None and length > maxbytes)):
            raise HTTPError(413)
        if length is not None:
            size = min(size, length - got)
        elif maxbytes:
            # One more than allowed, to tell a body of just maxbytes from a longer one.
            size = min(size, maxbytes - got + 1)
        if size <= 0 or self.fp is None:
            data = b''
        else:
            try:
                data = await fetch(size)
            except HTTPError:
                raise
            except Exception as exc:
                if type(exc).__name__ == 'MaxSizeExceeded':
                    # COMPAT: servers of CherryPy's family announce their own limit so.
                    raise HTTPError(413, f'Maximum request length: {exc.args[1]}' if exc.args[1:] else None) from exc
                if isinstance(exc, OSError) and not isinstance(exc, ClientDisconnected):
                    raise ClientDisconnected('The client left before the body was whole.') from exc
                raise
        if data:
            self.bytes_read = got = got + len(data)
            if maxbytes and got > maxbytes:
                raise HTTPError(413)
            if length is not None and got >= length:
                self._end()
            return data
        if length is not None and got < length:
            raise ClientDisconnected(f'The body ended after {got} of {length} bytes.')
        self._end()
        return b''

    def finish(self) -> None:
        """Read no more: later reads find the end."""
        self.stopped = True
        self._data, self._start = b'', 0
        self._end()

    def _end(self) -> None:
        self.done = True
        if self.has_trailers and not hasattr(self, 'trailers') and hasattr(self.fp, 'read_trailer_lines'):
            self.trailers = _parse_trailers(self.fp.read_trailer_lines())

    # --- the algorithms ---

    async def take(self, size: int, fetch: Fetch) -> bytes:
        # What is at hand, else one read of the stream.
        if self._start < len(self._data):
            data = self._data[self._start : self._start + size]
            self._start += len(data)
            return data
        return await self._pull(size, fetch)

    async def read_by(self, size: int | None, fp_out: Any, fetch: Fetch, offload: Offload | None) -> bytes | None:
        left = -1 if size is None or size < 0 else size
        step = max(self.bufsize, LARGE)
        chunks: list[bytes] = []
        pending = 0
        while left:
            data = await self.take(step if left < 0 else min(left, step), fetch)
            if not data:
                break
            if left > 0:
                left -= len(data)
            if fp_out is None:
                chunks.append(data)
            elif offload is None:
                fp_out.write(data)
            else:
                chunks.append(data)
                pending += len(data)
                if pending >= BATCH:
                    await offload(Write(fp_out, chunks))
                    chunks, pending = [], 0
        if fp_out is not None:
            if offload is not None and chunks:
                await offload(Write(fp_out, chunks))
            return None
        return chunks[0] if len(chunks) == 1 else b''.join(chunks)

    async def _readline(self, size: int | None, fetch: Fetch) -> bytes:
        left = -1 if size is None or size < 0 else size
        chunks: list[bytes] = []
        while left:
            if self._start >= len(self._data):
                self._data, self._start = await self._pull(self.bufsize, fetch), 0
                if not self._data:
                    break
            start = self._start
            limit = len(self._data) if left < 0 else min(len(self._data), start + left)
            newline = self._data.find(b'\n', start, limit)
            end = limit if newline < 0 else newline + 1
            chunks.append(self._data[start:end])
            self._start = end
            if newline >= 0:
                break
            if left > 0:
                left -= end - start
        return chunks[0] if len(chunks) == 1 else b''.join(chunks)

    async def read_ahead(self, fetch: Fetch, offload: Offload | None) -> Any:
        # Take in the rest of the body, so that blocking reads find it at hand; give the file it went to, if any.
        spool: Any = None
        chunks = [self.buffer]
        size = len(chunks[0])
        try:
            while data := await self._pull(CHUNK, fetch):
                chunks.append(data)
                size += len(data)
                if size > _AHEAD:
                    if spool is None:
                        spool = temporary_file()
                    await call_by(offload, Write(spool, chunks))
                    chunks, size = [], 0
            if spool is None:
                self._data, self._start = b''.join(chunks), 0
                return None
            await call_by(offload, Write(spool, chunks))
            self._data, self._start = b'', 0
            self.length, self.bytes_read, self.done = spool.tell(), 0, False
            self.fp = spool
            spool.seek(0)
            return spool
        except BaseException:
            if spool is not None:
                spool.close()
            raise

    # --- the file ---

    def read(self, size: int | None = None, fp_out: Any = None) -> Any:
        """Read `size` bytes, all if None or negative; fewer only at the end. With fp_out, write them there."""
        return run_blocking(self.read_by(size, fp_out, self.fetch_blocking, None))

    def read1(self, size: int = -1) -> bytes:
        """Read what one read of the stream gives, at most `size` bytes; b'' at the end."""
        return run_blocking(self.take(size if size > 0 else CHUNK, self.fetch_blocking)) if size else b''

    def readline(self, size: int | None = None) -> bytes:
        """Read a line with its newline, at most `size` bytes of it; b'' at the end."""
        return run_blocking(self._readline(size, self.fetch_blocking))

    def readlines(self, sizehint: int | None = None) -> list[bytes]:
        """Read lines until they hold `sizehint` bytes or more; all if None or not positive."""
        lines, size = [], 0
        while line := self.readline():
            lines.append(line)
            size += len(line)
            if sizehint is not None and 0 < sizehint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    next = __next__

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    async def aread(self, size: int | None = None) -> bytes:
        """As read, for async code."""
        return await self.read_by(size, None, self.fetch_waiting, None) or b''

    async def aread1(self, size: int = -1) -> bytes:
        """As read1, for async code."""
        return await self.take(size if size > 0 else CHUNK, self.fetch_waiting) if size else b''

    async def areadline(self, size: int | None = None) -> bytes:
        """As readline, for async code."""
        return await self._readline(size, self.fetch_waiting)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.take(CHUNK, self.fetch_waiting):
            yield data


class Write:
    """A write of chunks to a file, done when called: in whatever thread that is."""

    __slots__ = ('chunks', 'file')

    def __init__(self, file: Any, chunks: list[bytes]) -> None:
        self.file = file
        self.chunks = chunks

    def __call__(self) -> None:
        for chunk in self.chunks:
            self.file.write(chunk)


async def call_by(offload: Offload | None, call: Callable[[], Any]) -> Any:
    """Call a function where it may block; here, if there is no such place."""
    return call() if offload is None else await offload(call)


@contextmanager
def closed_on_error(file: Any) -> Iterator[None]:
    """Close a file, if there is one, where the block raises."""
    try:
        yield
    except BaseException:
        if file is not None:
            file.close()
        raise


def temporary_file() -> Any:
    """Give a temporary file without a name."""
    from tempfile import TemporaryFile

    return TemporaryFile()


def spooled_file() -> Any:
    """Give a temporary file without a name that is kept in memory up to SPOOLED bytes, until asked for its fileno().

    A body of a thousand short files would otherwise take a thousand descriptors, about all that a process has.
    """
    return _spooled_class()(SPOOLED)


@cache
def _spooled_class() -> Any:
    from tempfile import SpooledTemporaryFile

    class SpooledFile(SpooledTemporaryFile):  # type: ignore[type-arg]
        # Python 3.10 has them not, and io.TextIOWrapper, which reads uploaded text, asks for them.
        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

    return SpooledFile


def _parse_trailers(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    # SPEC: RFC 9112 7.1.2; names in Title-Case, repeated ones joined, folded lines unfolded with a space.
    trailers: dict[bytes, bytes] = {}
    name = b''
    for line in lines:
        if line[:1] in (b' ', b'\t'):
            if not name:
                raise HTTPError(400, 'Illegal continuation line.')
            trailers[name] += b' ' + line.strip()
            continue
        key, colon, value = line.partition(b':')
        if not colon:
            raise HTTPError(400, 'Illegal header line.')
        name, value = key.strip().title(), value.strip()
        trailers[name] = trailers[name] + b', ' + value if name in trailers else value
    return trailers
