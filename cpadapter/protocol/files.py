"""Bodies that are runs of bytes of an open file: read in chunks, or handed to a server that sends files itself.

What is promised is counted: a file that has become shorter raises, one that has grown is cut. It knows no request,
and not which server takes what.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from .iterators import count_body, file_generator

__all__ = ['CHUNK', 'FileBody', 'FileRun', 'PartsBody', 'WrappedFile', 'make_file_body', 'sendable_run']

# Bytes a chunk; a body of no more than this is read at once.
CHUNK = 65536

_ON_DISK = (io.BufferedReader, io.BufferedRandom)


def _shorter(file: Any) -> OSError:
    return OSError(f'{getattr(file, "name", file)!r} has become shorter while it was served.')


class FileRun:
    """Some bytes of a file on disk, for whoever sends them without this process reading them.

    file: the open file. start, length: which bytes. path: the absolute path under which the whole of it can be opened
    again; None where it is not known or only a part is wanted.
    """

    __slots__ = ('file', 'length', 'path', 'start')

    def __init__(self, file: Any, start: int, length: int, path: str | None) -> None:
        self.file = file
        self.start = start
        self.length = length
        self.path = path

    def is_whole(self) -> bool:
        """Say whether it is all that the file holds now."""
        return self.start == 0 and os.fstat(self.file.fileno()).st_size == self.length


class FileBody(file_generator):
    """A body that is a run of bytes of an open file, in chunks; closes the file at the end, on close(), at the last.

    A file that has become shorter raises OSError: what was promised cannot be sent, so that the response ends.
    """

    holds_bytes = True

    def __init__(
        self, file: Any, start: int | None, length: int, on_disk: bool = False, path: str | None = None
    ) -> None:
        """start: where to read from; None where the file stands. on_disk: its fileno holds these very bytes.

        path: the absolute path of the file, if it will be there until the response has been sent.
        """
        super().__init__(file, CHUNK)
        self.length = length
        self.left = length
        self._start = start
        self._on_disk = on_disk
        self._path = path

    def __next__(self) -> bytes:
        if self.left <= 0:
            self.close()
            raise StopIteration
        if self._start is not None:
            self.input.seek(self._start)
            self._start = None
        chunk: bytes = self.input.read(min(self.left, CHUNK))
        if not chunk:
            self.close()
            raise _shorter(self.input)
        self.left -= len(chunk)
        return chunk

    next = __next__

    def run(self) -> FileRun | None:
        """Give what a server may send in place of this body; None where it has to be read."""
        if not self._on_disk or self._start is None or self.left != self.length:
            return None
        return FileRun(self.input, self._start, self.length, self._path)


class PartsBody(FileBody):
    """A multipart/byteranges body. SPEC: RFC 9110 14.6."""

    def __init__(self, file: Any, parts: list[tuple[int, int, bytes]], end: bytes) -> None:
        """parts: (start, stop, what stands before it)."""
        super().__init__(file, None, sum(stop - start + len(head) for start, stop, head in parts) + len(end))
        self._chunks = self._read_parts(parts, end)

    def _read_parts(self, parts: list[tuple[int, int, bytes]], end: bytes) -> Iterator[bytes]:
        for start, stop, head in parts:
            yield head
            self._start = start
            self.left = stop - start
            while self.left:
                yield super().__next__()
        yield end

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self.close()
            raise

    next = __next__


def make_file_body(file: Any) -> FileBody | None:
    """Give the body for what is left to read of a file opened by `open(..., 'rb')`; None for anything else.

    What merely reads from a file, as a decompressor does, gives other bytes than are on disk, and is none of these.
    """
    kind = type(file)
    if kind is io.FileIO:
        raw = file
    elif kind in _ON_DISK and type(file.raw) is io.FileIO:
        raw = file.raw
    else:
        return None
    try:
        status = os.fstat(raw.fileno())
        if not stat.S_ISREG(status.st_mode) or not raw.readable():
            return None
        start = file.tell()
        if kind is io.BufferedRandom:
            file.flush()
            status = os.fstat(raw.fileno())
    except (OSError, ValueError):
        return None  # what is wrong with it is found by reading it
    return FileBody(file, start, max(status.st_size - start, 0), True)


def sendable_run(body: Any, headers: list[tuple[str, str]]) -> FileRun | None:
    """Give what a server may send in place of `body`, if it is just what the headers announce and worth it."""
    if type(body) is not FileBody or body.length <= CHUNK:
        return None
    run = body.run()
    if run is not None:
        counted = count_body(headers)
        if counted is None or counted.length != run.length:
            return None
    return run


class WrappedFile:
    """What `wsgi.file_wrapper` is given: a file that ends where the run ends, with positions as in the file itself.

    A server that takes the descriptor finds it at the run's start. ended: called once, by close(), which raises OSError
    if the file is shorter than the run by then. failed: told of such an error before.
    """

    mode = 'rb'

    def __init__(self, run: FileRun, ended: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        self._run = run
        self._file = run.file
        self._position = run.start
        self._stop = run.start + run.length
        self._ended: Callable[[], None] | None = ended
        self._failed = failed
        self._told = False
        self._descriptor: int = run.file.fileno()
        # Past what a buffered reader has taken in: the descriptor itself has to stand there.
        os.lseek(self._descriptor, run.start, os.SEEK_SET)
        self._pread = getattr(os, 'pread', None)

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._stop)[whence]
        self._position = max(self._run.start, min(base + offset, self._stop))
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = self._stop - self._position
        if size is None or size < 0 or size > left:
            size = left
        if not size:
            return b''
        if self._pread is not None:
            data: bytes = self._pread(self._descriptor, size, self._position)
        else:
            self._file.seek(self._position)
            data = self._file.read(size)
        if not data:
            self._fail()
        self._position += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk

    def close(self) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        # SPEC: RFC 9112 6.3: fewer bytes than announced must end the connection; who sends by the descriptor does not
        # see that the end came too soon.
        try:
            is_short = os.fstat(self._descriptor).st_size < self._stop
        except OSError:
            is_short = False  # closed by somebody: nothing can be told any more
        try:
            if is_short and not self._told:
                self._fail()
        finally:
            ended()

    def _fail(self) -> None:
        self._told = True
        try:
            raise _shorter(self._file)
        except OSError as exc:
            # What is being handled is what is logged.
            self._failed(exc)
            raise
