"""Request bodies: bounded readers, form fields, multipart parts.

Every algorithm is written once, as a coroutine over a function that gives the next bytes: blocking for `read` and
`process`, awaited for `aread` and `aprocess`. Limits are counted as bytes arrive, whatever Content-Length says. Knows
no environ, no scope, no loop and no thread: where a file must not be written on the loop, `offload` was handed in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ClientDisconnected, HTTPError
from ..extension.hooks import is_async_callable
from ..protocol.headers import BadHeaderValue, HeaderElement, HeaderMap, header_elements
from ..protocol.multipart import MultipartFault, MultipartFeed, PartHeaders, parse_boundary, parse_disposition
from ..protocol.params import TooManyFields, known_charset, parse_urlencoded

if TYPE_CHECKING:
    from ..typing import BodyReader

__all__ = [
    'Entity',
    'Part',
    'RequestBody',
    'SizedReader',
    'merge_params',
    'parse_form',
    'process_multipart',
    'process_multipart_form_data',
    'process_urlencoded',
]

T = TypeVar('T')
# Gives at most so many bytes, b'' at the end.
Fetch = Callable[[int], Awaitable[bytes]]
# Calls a function of no arguments where it may block.
Offload = Callable[[Callable[[], Any]], Awaitable[Any]]

# Bytes asked of the stream at once when a whole body is read.
_CHUNK = 65536
# Bytes gathered for one crossing to a thread that writes them.
_BATCH = 262144
# Bytes of a body kept in memory when it is read ahead of a processor that blocks.
_AHEAD = 1048576
# Multipart bodies inside parts of multipart bodies.
_MAX_DEPTH = 4


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    # Run what never suspends, because it was given blocking reads.
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError('An async body processor waits for something: it needs an async page handler and aprocess().')


# --- readers --------------------------------------------------------------------------------------------------


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
        self._stopped = False

    @property
    def buffer(self) -> bytes:
        """Bytes that have arrived and were not yet read."""
        return self._data[self._start :]

    # --- the stream below ---

    async def _block(self, size: int) -> bytes:
        return self.fp.read(size)  # type: ignore[no-any-return]

    async def _wait(self, size: int) -> bytes:
        aread = getattr(self.fp, 'aread', None)
        return self.fp.read(size) if aread is None else await aread(size)  # type: ignore[no-any-return]

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
        self._stopped = True
        self._data, self._start = b'', 0
        self._end()

    def _end(self) -> None:
        self.done = True
        if self.has_trailers and not hasattr(self, 'trailers') and hasattr(self.fp, 'read_trailer_lines'):
            self.trailers = _parse_trailers(self.fp.read_trailer_lines())

    # --- the algorithms ---

    async def _next(self, size: int, fetch: Fetch) -> bytes:
        # What is at hand, else one read of the stream.
        if self._start < len(self._data):
            data = self._data[self._start : self._start + size]
            self._start += len(data)
            return data
        return await self._pull(size, fetch)

    async def _read(self, size: int | None, fp_out: Any, fetch: Fetch, offload: Offload | None) -> bytes | None:
        left = -1 if size is None or size < 0 else size
        step = max(self.bufsize, _CHUNK)
        chunks: list[bytes] = []
        while left:
            data = await self._next(step if left < 0 else min(left, step), fetch)
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
                if len(chunks) * step >= _BATCH:
                    await offload(_Write(fp_out, chunks))
                    chunks = []
        if fp_out is not None:
            if offload is not None and chunks:
                await offload(_Write(fp_out, chunks))
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

    async def _read_ahead(self, fetch: Fetch, offload: Offload | None) -> Any:
        # Take in the rest of the body, so that blocking reads find it at hand; give the file it went to, if any.
        spool: Any = None
        chunks = [self.buffer]
        size = len(chunks[0])
        try:
            while data := await self._pull(_CHUNK, fetch):
                chunks.append(data)
                size += len(data)
                if size > _AHEAD:
                    if spool is None:
                        spool = _temporary_file()
                    await _call(offload, _Write(spool, chunks))
                    chunks, size = [], 0
            if spool is None:
                self._data, self._start = b''.join(chunks), 0
                return None
            await _call(offload, _Write(spool, chunks))
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
        return _finish(self._read(size, fp_out, self._block, None))

    def read1(self, size: int = -1) -> bytes:
        """Read what one read of the stream gives, at most `size` bytes; b'' at the end."""
        return _finish(self._next(size if size > 0 else _CHUNK, self._block)) if size else b''

    def readline(self, size: int | None = None) -> bytes:
        """Read a line with its newline, at most `size` bytes of it; b'' at the end."""
        return _finish(self._readline(size, self._block))

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
        return await self._read(size, None, self._wait, None) or b''

    async def aread1(self, size: int = -1) -> bytes:
        """As read1, for async code."""
        return await self._next(size if size > 0 else _CHUNK, self._wait) if size else b''

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._next(_CHUNK, self._wait):
            yield data


class _Write:
    # A write to come: functools.partial would bind a join done too early, on the loop.
    __slots__ = ('chunks', 'file')

    def __init__(self, file: Any, chunks: list[bytes]) -> None:
        self.file = file
        self.chunks = chunks

    def __call__(self) -> None:
        for chunk in self.chunks:
            self.file.write(chunk)


async def _call(offload: Offload | None, call: Callable[[], Any]) -> Any:
    return call() if offload is None else await offload(call)


@contextmanager
def _closed_on_error(file: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if file is not None:
            file.close()
        raise


def _temporary_file() -> Any:
    from tempfile import TemporaryFile

    return TemporaryFile()


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


# --- entities -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _content_type(value: str) -> tuple[str, dict[str, str]]:
    # SPEC: RFC 9110 8.3: one media type; of several the first is taken. Types compare without regard to case.
    first, comma, _ = value.partition(',')
    if comma and '"' not in first:
        value = first
    elements = header_elements('Content-Type', value)
    return (elements[0].value.lower(), elements[0].params) if elements else ('', {})


class Entity:
    """Headers and a body: the request's own (RequestBody), or a part's of a multipart body (Part).

    fp: the stream to read. headers: HeaderMap, or any mapping with names in Title-Case.
    params: dict to receive form fields. parts: list to receive parts.
    """

    fp: Any = None
    headers: Any = None
    #: The media type: `.value` in lower case, `.params`.
    content_type: Any = None
    default_content_type: str = 'application/x-www-form-urlencoded'
    #: Charsets tried in this order; one the sender named is put first.
    attempt_charsets: list[str] = ['utf-8']
    #: The charset that decoded the text; None before.
    charset: str | None = None
    #: The declared length in bytes; None if unknown.
    length: int | None = None
    name: str | None = None
    filename: str | None = None
    params: dict[str, Any] = None  # type: ignore[assignment]
    parts: list[Any] = None  # type: ignore[assignment]
    part_class: type[Part]
    processors: dict[str, Callable[[Any], Any]]
    #: The content, when it was read: in memory or in a temporary file at position 0.
    value: bytes | None = None
    file: Any = None

    # Limits, None or 0 for none; passing one answers 413.
    #: Fields of an urlencoded body.
    maxfields: int | None = 10_000
    #: What separates the fields of an urlencoded body: '&', or '&;' as it once was.
    separators: str = '&'
    #: Parts of a multipart body, those of multipart parts included.
    maxparts: int | None = 1000
    #: Bytes of one field, as sent, that has no file name.
    max_field_bytes: int | None = 1_048_576
    #: Bytes, and lines, of one part's headers.
    max_header_size: int = 8192
    max_header_count: int = 50

    _fault: MultipartFault | None = None
    _unknown_charset: str | None = None

    def __init__(
        self, fp: Any, headers: Any, params: dict[str, Any] | None = None, parts: list[Any] | None = None
    ) -> None:
        self.fp = fp
        self.headers = headers
        self.params = {} if params is None else params
        self.parts = [] if parts is None else parts
        self.processors = self.processors.copy()
        # PERF: the keys below are in Title-Case already, which saves HeaderMap.get's normalising (0.4 of 2.4 us).
        get = headers.get if type(headers) is not HeaderMap else partial(dict.get, headers)
        declared = get('Content-Type') or self.default_content_type
        # A boundary is new each time: no use in keeping those, nor very long values.
        known = _content_type if len(declared) < 100 and 'boundary' not in declared else _content_type.__wrapped__
        kind = ''
        kind_params: dict[str, str] = {}
        try:
            kind, kind_params = known(declared)
        except BadHeaderValue as exc:
            # Reported when the body is processed: an entity that nobody reads does no harm.
            self._fault = MultipartFault(str(exc))
        self.content_type = HeaderElement(kind, dict(kind_params))
        self.attempt_charsets = attempts = self.attempt_charsets[:]
        charset = kind_params.get('charset')
        if charset:
            charset = charset.strip('\'" ')
            if known_charset(charset) is None:
                self._unknown_charset = charset
            else:
                if charset in attempts:
                    attempts.remove(charset)
                attempts.insert(0, charset)
        length = get('Content-Length')
        if length is not None and _is_length(length) and 'chunked' not in (get('Transfer-Encoding') or '').lower():
            self.length = int(length)
        disposition = get('Content-Disposition')
        if disposition:
            try:
                _, found = parse_disposition(disposition)
            except MultipartFault as exc:
                self._fault = exc
            else:
                self.name = found.get('name')
                self.filename = found.get('filename')

    @property
    def safe_filename(self) -> str | None:
        """The last component of `filename`, fit to name a new file: at most 200 bytes, no control characters.

        None if nothing usable is left. `filename` itself is what the client sent, paths included.
        """
        name = (self.filename or '').replace('\\', '/').rpartition('/')[2].rpartition(':')[2]
        name = ''.join(char for char in name if char.isprintable()).strip(' .')
        if len(name.encode('utf-8', 'replace')) > 200:
            stem, dot, ending = name.rpartition('.')
            ending = f'{dot}{ending}' if stem and len(ending.encode('utf-8', 'replace')) < 20 else ''
            room = 200 - len(ending.encode('utf-8', 'replace'))
            name = name.encode('utf-8', 'replace')[:room].decode('utf-8', 'ignore') + ending
        return name or None

    # --- the body as a file ---

    def _stream(self) -> SizedReader:
        if not isinstance(self.fp, SizedReader):
            self.fp = SizedReader(self.fp, self.length, None)
        return self.fp

    def read(self, size: int | None = None, fp_out: Any = None) -> Any:
        """Read `size` bytes, all if None or negative; fewer only at the end. With fp_out, write them there."""
        return self._stream().read(size, fp_out)

    def readline(self, size: int | None = None) -> bytes:
        """Read a line with its newline, at most `size` bytes of it; b'' at the end."""
        return self._stream().readline(size)

    def readlines(self, sizehint: int | None = None) -> list[bytes]:
        """Read lines until they hold `sizehint` bytes or more; all if None or not positive."""
        return self._stream().readlines(sizehint)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._stream())

    def next(self) -> bytes:
        """Give the next line; StopIteration at the end."""
        return self.__next__()

    async def aread(self, size: int | None = None) -> bytes:
        """As read, for async code."""
        return await self._stream().aread(size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the rest of the body in chunks as they arrive."""
        return self._stream().__aiter__()

    def read_into_file(self, fp_out: Any = None) -> Any:
        """Write the rest of the body to `fp_out`, or to a new make_file(), and return that file, at its end."""
        file = self.make_file() if fp_out is None else fp_out
        with _closed_on_error(file if fp_out is None else None):
            self.read(fp_out=file)
        return file

    def make_file(self) -> Any:
        """Give the file that content is written to: a temporary file without a name."""
        return _temporary_file()

    def close(self) -> None:
        """Close the temporary files of this entity and of its parts."""
        if self.file is not None:
            self.file.close()
        for part in self.parts:
            part.close()
        for value in self.params.values():
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, Part):
                    item.close()

    # --- the body as text ---

    def fullvalue(self) -> str:
        """Give the whole content as text; 400 if no charset of attempt_charsets decodes it."""
        if self.file is not None:
            self.file.seek(0)
            value = self.file.read()
            self.file.seek(0)
        else:
            if self.value is None:
                self.value = self.read()
            value = self.value
        return self.decode_entity(value)

    async def afullvalue(self) -> str:
        """As fullvalue, for async code."""
        if self.file is None and self.value is None:
            self.value = await self.aread()
        return self.fullvalue()

    def decode_entity(self, value: bytes) -> str:
        """Decode bytes with the first of attempt_charsets that can, and keep its name as `charset`.

        Raises HTTPError 400 if none can, 415 if the sender named an unknown charset.
        """
        self._check_charset()
        for charset in self.attempt_charsets:
            try:
                text = value.decode(charset)
            except UnicodeError:
                continue
            self.charset = charset
            return text
        raise _undecodable(self.attempt_charsets)

    def _check_charset(self) -> None:
        if self._unknown_charset is not None:
            raise HTTPError(415, f'The charset {self._unknown_charset[:40]!r} is not supported.')

    # --- processing ---

    def process(self) -> None:
        """Read the body by the processor of its media type, or of its major type, or by default_proc()."""
        _finish(self._process(_Run(self, True, None)))

    async def aprocess(self, offload: Offload | None = None) -> None:
        """As process, for async code.

        offload: async function that calls its argument in a thread; files are written there. Without it they are
            written on the loop. Processors that are plain functions run after the body has been read ahead for them.
        """
        await self._process(_Run(self, False, offload))

    def default_proc(self) -> Any:
        """Process a body no processor is for: leave it to be read by the page handler."""

    def _processor(self) -> Callable[[Any], Any] | None:
        kind = self.content_type.value
        return self.processors.get(kind) or self.processors.get(kind.partition('/')[0])

    async def _process(self, run: _Run) -> None:
        if self._fault is not None:
            raise HTTPError(self._fault.status, str(self._fault)) from self._fault
        processor = self._processor()
        built_in = None if processor is None else _BUILT_IN.get(processor)
        if built_in is not None:
            if built_in is not _urlencoded and not _is_standard(self.part_class):
                await self._run_custom(_process_by_lines, (self, processor), run)
            else:
                await built_in(self, run)
        elif processor is not None:
            await self._run_custom(processor, (self,), run)
        else:
            default = self.default_proc
            if getattr(default, '__func__', None) in (Entity.default_proc, Part.default_proc):
                default()
            else:
                await self._run_custom(default, (), run)

    async def _run_custom(self, call: Callable[..., Any], args: tuple[Any, ...], run: _Run) -> None:
        # An exception instance, such as HTTPError(415), raises itself: nothing to read for it.
        if not run.blocking and not is_async_callable(call) and not isinstance(call, BaseException):
            spool = await self._stream()._read_ahead(self._stream()._wait, run.offload)
            if spool is not None:
                run.spools.append(spool)
        result = call(*args)
        if hasattr(result, '__await__'):
            await result


class Part(Entity):
    """One part of a multipart body.

    Its content is in `value` (bytes) or, if it has a file name or is longer than `maxrambytes`, in `file`, a temporary
    file at position 0.

    boundary: the line that precedes and follows the part, b'--' included.
    """

    default_content_type = 'text/plain'
    # SPEC: RFC 2046 4.1.2 and RFC 7578 4.4.
    attempt_charsets = ['us-ascii', 'utf-8']
    boundary: Any = None
    maxrambytes: int = 1000

    # False for a part made by from_fp whose content still stands in its stream.
    _received = True

    def __init__(self, fp: Any, headers: Any, boundary: Any) -> None:
        super().__init__(fp, headers)
        self.boundary = boundary

    @classmethod
    def from_fp(cls, fp: Any, boundary: bytes) -> Part:
        """Make a part of a stream that stands at its headers: an object with `readline(size)`."""
        part = cls(fp, cls.read_headers(fp), boundary)
        part._received = False
        return part

    @classmethod
    def read_headers(cls, fp: Any) -> HeaderMap:
        """Read header lines up to the empty line. Raises HTTPError 400 on bad ones, 413 on too many."""
        feed = MultipartFeed('b', cls.max_header_size, cls.max_header_count)
        try:
            list(feed.feed(b'--b\r\n'))
            while line := fp.readline(cls.max_header_size + 2):
                for event in feed.feed(line):
                    if isinstance(event, list):
                        return _header_map(event)
        except MultipartFault as exc:
            raise HTTPError(exc.status, str(exc)) from exc
        raise HTTPError(400, 'Illegal end of headers.')

    def read_lines_to_boundary(self, fp_out: Any = None) -> Any:
        """Read the content up to the next boundary line.

        With fp_out, write it there and return None. Without, return bytes, or above maxrambytes a make_file() at
        its end. At the closing boundary `fp.finish()` is called. Raises HTTPError 400 if no boundary comes.
        """
        delimiter = self.boundary
        out, size, made = fp_out, 0, None
        chunks: list[bytes] = []
        # The line break before a boundary belongs to the boundary: it is held back until the next line is known.
        held, at_line_start = b'', True
        try:
            while line := self.fp.readline(_CHUNK):
                if at_line_start and line.startswith(delimiter):
                    tail = line[len(delimiter) :].strip()
                    if tail in (b'', b'--'):
                        if tail and hasattr(self.fp, 'finish'):
                            self.fp.finish()
                        if out is None:
                            return b''.join(chunks)
                        return made
                line = held + line
                at_line_start = line.endswith(b'\n')
                # A CR at the end of a piece may begin the line break.
                keep = 2 if line.endswith(b'\r\n') else 1 if line.endswith((b'\n', b'\r')) else 0
                held = line[len(line) - keep :]
                data = line[: len(line) - keep]
                size += len(data)
                if out is None and size > self.maxrambytes:
                    out = made = self.make_file()
                    for chunk in chunks:
                        out.write(chunk)
                if out is None:
                    chunks.append(data)
                else:
                    out.write(data)
            raise HTTPError(400, 'Illegal end of multipart body.')
        except BaseException:
            if made is not None:
                made.close()
            raise

    def read_into_file(self, fp_out: Any = None) -> Any:
        """Write the content to `fp_out`, or to a new make_file(), and return that file at position 0."""
        file = self.make_file() if fp_out is None else fp_out
        with _closed_on_error(file if fp_out is None else None):
            if self._received:
                self.read(fp_out=file)
            else:
                self.read_lines_to_boundary(fp_out=file)
            file.seek(0)
        return file

    def default_proc(self) -> Any:
        """Store the content: in `file` if there is a file name, else in `value` while it is short."""
        if self.file is not None or self.value is not None:
            return
        if self.filename:
            self.file = self.read_into_file()
            return
        result = self.read() if self._received else self.read_lines_to_boundary()
        if isinstance(result, bytes) and len(result) <= self.maxrambytes:
            self.value = result
        elif isinstance(result, bytes):
            self.file = self.make_file()
            self.file.write(result)
            self.file.seek(0)
        else:
            self.file = result
            self.file.seek(0)

    def close(self) -> None:
        super().close()
        if self._received and isinstance(self.fp, SizedReader) and self.fp.fp is not None:
            self.fp.fp.close()

    def _stream(self) -> SizedReader:
        if self.fp is None:
            source = self.file if self.file is not None else BytesIO(self.value or b'')
            self.fp = SizedReader(source, None, None)
        return super()._stream()

    async def _process(self, run: _Run) -> None:
        if not self._received and self._fault is None:
            processor = self._processor()
            if processor is None or processor in _BUILT_IN:
                # The stream goes on behind this part: only its own bytes may be processed.
                self.default_proc()
                self.fp, self._received = None, True
                if processor is None or self.filename is not None:
                    return
        await super()._process(run)


Entity.part_class = Part


class RequestBody(Entity):
    """The body of a request.

    fp: the stream as the gateway gives it; it is wrapped in a SizedReader when something first reads.
    params: dict to receive form fields.
    request_params: the dict that process() merges `params` into; the pipeline sets it to the request's current one.
    """

    # COMPAT: a body without Content-Type is left unread.
    default_content_type = ''
    bufsize: int = 8192
    #: Bytes allowed, None or 0 for no limit.
    maxbytes: int | None = None
    #: Overrides Part.maxrambytes for this body's parts, unless None.
    maxrambytes: int | None = None
    #: False where a protocol frames bodies without Content-Length, as HTTP/2 does: no 411 then.
    length_required: bool = True
    #: True once process() or aprocess() has begun; set it beforehand and neither does anything.
    processed: bool = False
    #: Names a query or a form may not override: path parameters.
    protected_params: Collection[str] = ()

    _spools: list[Any] | None = None

    def __init__(
        self,
        fp: BodyReader | Any,
        headers: Any,
        params: dict[str, Any] | None = None,
        request_params: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(fp, headers, params)
        self.request_params = {} if request_params is None else request_params
        # SPEC: RFC 2616 3.7.1: ISO-8859-1 was the charset of text/* until RFC 7231.
        if self.content_type.value.startswith('text/') and not any(
            known_charset(charset) == 'iso8859-1' for charset in self.attempt_charsets
        ):
            self.attempt_charsets.append('ISO-8859-1')
        if self.processors.get('multipart') is process_multipart:
            self.processors['multipart'] = _old_process_multipart

    def _stream(self) -> SizedReader:
        if not isinstance(self.fp, SizedReader):
            self.fp = SizedReader(self.fp, self.length, self.maxbytes, self.bufsize, 'Trailer' in self.headers)
        return self.fp

    async def _process(self, run: _Run) -> None:
        if self.processed:
            return
        headers = self.headers
        length = headers.get('Content-Length')
        # SPEC: PEP 3333: an empty CONTENT_LENGTH is an absent one.
        if length is None or length == '':
            if self.length_required and not headers.get('Transfer-Encoding'):
                raise HTTPError(411)
        elif not _is_length(length):
            raise HTTPError(400, 'Malformed Content-Length Header.')
        self.processed = True
        self._stream()
        self._spools = run.spools
        try:
            await super()._process(run)
        except BaseException:
            self.close()
            raise
        merge_params(self.request_params, self.params, self.protected_params)

    def close(self) -> None:
        """Close every temporary file made for this body. Files a page handler wants to keep must not be closed so."""
        super().close()
        for spool in self._spools or ():
            spool.close()

    async def aread_into_file(self, fp_out: Any = None, offload: Offload | None = None) -> Any:
        """As read_into_file, for async code; `offload` as aprocess takes it."""
        file = self.make_file() if fp_out is None else fp_out
        stream = self._stream()
        with _closed_on_error(file if fp_out is None else None):
            await stream._read(None, file, stream._wait, offload)
        return file

    async def aparts(self, offload: Offload | None = None) -> AsyncIterator[Any]:
        """Give the parts of a multipart body as they are complete, for async code; `offload` as aprocess takes it.

        Each part is stored as process() stores it, but neither in `parts` nor in `params`: the caller closes its
        files. On a body processed before, the parts of `parts`.
        """
        if self.processed:
            for part in self.parts:
                yield part
            return
        self.processed = True
        reader = _PartReader(self, _Run(self, False, offload), _take_part)
        while (part := await reader.next()) is not None:
            yield part


# --- processors -----------------------------------------------------------------------------------------------


class _Run:
    # One run over a body: how to read it, and what its limits have left.
    __slots__ = ('blocking', 'max_field', 'max_headers', 'maxparts', 'maxrambytes', 'offload', 'spools')

    def __init__(self, entity: Entity, blocking: bool, offload: Offload | None) -> None:
        self.blocking = blocking
        self.offload = offload
        self.maxparts = entity.maxparts or float('inf')
        self.max_field = entity.max_field_bytes or float('inf')
        self.max_headers = (entity.max_header_size, entity.max_header_count)
        self.maxrambytes: int | None = getattr(entity, 'maxrambytes', None)
        self.spools: list[Any] = []

    def fetch(self, stream: SizedReader) -> Fetch:
        source = stream._block if self.blocking else stream._wait

        async def fetch(size: int) -> bytes:
            return await stream._next(size, source)

        return fetch


def _is_length(value: str) -> bool:
    # SPEC: RFC 9110 8.6: digits only. int() would take signs, spaces, underscores and other scripts' digits.
    return value.isascii() and value.isdigit() and len(value) < 20


def _undecodable(charsets: list[str]) -> HTTPError:
    return HTTPError(
        400, f'The request entity could not be decoded. The following charsets were attempted: {charsets!r}'
    )


def _add_param(params: dict[str, Any], key: str, value: Any) -> None:
    if key not in params:
        params[key] = value
    elif isinstance(params[key], list):
        params[key].append(value)
    else:
        params[key] = [params[key], value]


def merge_params(target: dict[str, Any], extra: Mapping[str, Any], protected: Collection[str] = ()) -> None:
    """Add `extra` to `target`; a name in both gets one flat list, the values of `target` first.

    protected: names of `target` that stay as they are.
    """
    for key, value in extra.items():
        if key not in target:
            target[key] = value
        elif key not in protected:
            known = target[key]
            target[key] = [
                *(known if isinstance(known, list) else [known]),
                *(value if isinstance(value, list) else [value]),
            ]


async def _urlencoded(entity: Entity, run: _Run) -> None:
    entity._check_charset()
    fetch = run.fetch(entity._stream())
    maxfields = entity.maxfields or float('inf')
    max_field = entity.max_field_bytes or float('inf')
    chunks: list[bytes] = []
    separators = size = 0
    while data := await fetch(_CHUNK):
        chunks.append(data)
        separators += data.count(b'&')
        # `size` is that of the field not ended yet: enough to refuse early what never ends.
        last = data.rfind(b'&')
        size = size + len(data) if last < 0 else len(data) - last - 1
        if separators > maxfields or size > max_field:
            raise HTTPError(413)
    data = b''.join(chunks)
    if len(data) > max_field and max(map(len, data.split(b'&'))) > max_field:
        raise HTTPError(413)
    fields, entity.charset = parse_form(
        data, entity.attempt_charsets, entity.maxfields or len(data) + 1, entity.separators
    )
    if not entity.params:
        entity.params.update(fields)
        return
    for key, value in fields.items():
        for item in value if isinstance(value, list) else (value,):
            _add_param(entity.params, key, item)


def parse_form(data: bytes, charsets: list[str], max_fields: int, separators: str = '&') -> tuple[dict[str, Any], str]:
    """Read an urlencoded body into (fields, charset); HTTPError 400 if no charset fits, 413 for too many fields."""
    try:
        return parse_urlencoded(data, charsets, max_fields, separators)
    except TooManyFields as exc:
        raise HTTPError(413, str(exc)) from exc
    except UnicodeError as exc:
        raise _undecodable(charsets) from exc


_Take = Callable[[Entity, Any], None]


async def _multipart(entity: Entity, run: _Run, fetch: Fetch | None = None, depth: int = 0) -> None:
    await _store_parts(_PartReader(entity, run, _take_part, fetch, depth))


async def _form_data(entity: Entity, run: _Run, fetch: Fetch | None = None, depth: int = 0) -> None:
    await _store_parts(_PartReader(entity, run, _take_form_part, fetch, depth))


async def _old_multipart(entity: Entity, run: _Run, fetch: Fetch | None = None, depth: int = 0) -> None:
    await _store_parts(_PartReader(entity, run, _take_old_part, fetch, depth))


async def _store_parts(reader: _PartReader) -> None:
    while (part := await reader.next()) is not None:
        try:
            reader.take(reader.entity, part)
        except BaseException:
            part.close()
            raise


def _take_part(entity: Entity, part: Any) -> None:
    entity.parts.append(part)


def _take_form_part(entity: Entity, part: Any) -> None:
    if part.name is None:
        entity.parts.append(part)
    elif _is_field(part):
        _add_param(entity.params, part.name, part.fullvalue())
        part.close()
    else:
        _add_param(entity.params, part.name, part)


def _take_old_part(entity: Entity, part: Any) -> None:
    # COMPAT: parts of other multipart types are page handler arguments too, under 'parts' if they have no name.
    value = part.fullvalue() if _is_field(part) else part
    entity.parts.append(part)
    _add_param(entity.params, 'parts' if part.name is None else part.name, value)


def _is_field(part: Any) -> bool:
    # A part that holds parts has no text.
    return part.filename is None and (part.value is not None or part.file is not None)


class _PartReader:
    # Pulls the parts of one multipart entity, each received whole. `fetch` is given for a part's own parts.
    _END = object()

    def __init__(self, entity: Entity, run: _Run, take: _Take, fetch: Fetch | None = None, depth: int = 0) -> None:
        self.entity = entity
        self.run = run
        self.take = take
        self.depth = depth
        self._fetch = run.fetch(entity._stream()) if fetch is None else fetch
        self._events: Iterator[PartHeaders | bytes | None] = iter(())
        self._ended = False
        try:
            boundary = parse_boundary(entity.content_type.params.get('boundary'))
        except MultipartFault as exc:
            raise HTTPError(exc.status, str(exc)) from exc
        self._boundary = b'--' + boundary.encode('ascii')
        self._feed = MultipartFeed(boundary, *run.max_headers)

    async def _event(self) -> Any:
        try:
            while True:
                for event in self._events:
                    return event
                if self._ended:
                    return self._END
                # What follows the last boundary is read as well: it counts, and the connection goes on behind it.
                chunk = await self._fetch(_CHUNK)
                if chunk:
                    self._events = self._feed.feed(chunk)
                else:
                    self._feed.close()
                    self._ended = True
        except MultipartFault as exc:
            raise HTTPError(exc.status, str(exc)) from exc

    async def _part_data(self, size: int) -> bytes:
        # The content of the part being received, as a Fetch for a reader of the parts inside it.
        event = await self._event()
        if event is None:
            self._part_ended = True
            return b''
        return event  # type: ignore[no-any-return]

    async def next(self) -> Any:
        """Give the next part, None after the last."""
        headers = await self._event()
        if headers is self._END:
            return None
        run = self.run
        run.maxparts -= 1
        if run.maxparts < 0:
            raise HTTPError(413)
        part = self.entity.part_class(None, _header_map(headers), self._boundary)
        if run.maxrambytes is not None:
            part.maxrambytes = run.maxrambytes
        try:
            await self._receive(part)
        except BaseException:
            part.close()
            raise
        return part

    async def _receive(self, part: Any) -> None:
        if part._fault is not None:
            raise HTTPError(part._fault.status, str(part._fault)) from part._fault
        processor = part._processor()
        is_file = part.filename is not None
        if (processor is not None and processor not in _BUILT_IN) or not _is_plain(type(part)):
            content = await self._collect(part, _temporary_file)
            part.fp = SizedReader(BytesIO(content) if isinstance(content, bytes) else content, None, None)
            result = part.process()
            if hasattr(result, '__await__'):
                await result
        elif processor is None or processor is process_urlencoded or is_file:
            # A file is stored whatever its type.
            content = await self._collect(part, part.make_file)
            if isinstance(content, bytes):
                part.value = content
            else:
                part.file = content
            if processor is process_urlencoded and not is_file:
                data = content if isinstance(content, bytes) else content.read()
                part._check_charset()
                part.params, _ = parse_form(data, part.attempt_charsets, self.entity.maxfields or len(data) + 1)
                if part.file is not None:
                    part.file.seek(0)
        else:
            if self.depth >= _MAX_DEPTH:
                raise HTTPError(400, 'Multipart bodies are nested too deeply.')
            part.part_class = type(part)
            inner = _form_data if processor is process_multipart_form_data else _multipart
            self._part_ended = False
            await inner(part, self.run, self._part_data, self.depth + 1)

    async def _collect(self, part: Any, make_file: Callable[[], Any]) -> Any:
        # Receive the part's content: bytes, or a file at position 0 if it has a name or is too long for memory.
        run = self.run
        offload = run.offload
        is_field = part.filename is None and self.take is not _take_part
        max_size = run.max_field if is_field else float('inf')
        in_memory: float = -1 if part.filename else part.maxrambytes
        if is_field and part.name is not None and self.take is _take_form_part:
            # It becomes text at once.
            in_memory = max_size
        batch = 1 if offload is None else _BATCH
        file: Any = None
        chunks: list[bytes] = []
        size = pending = 0

        def store() -> None:
            nonlocal file
            if file is None:
                file = make_file()
            for chunk in chunks:
                file.write(chunk)

        def store_last() -> None:
            store()
            file.seek(0)

        try:
            while (data := await self._event()) is not None:
                size += len(data)
                if size > max_size:
                    raise HTTPError(413)
                chunks.append(data)
                pending += len(data)
                if size > in_memory and pending >= batch:
                    await _call(offload, store)
                    chunks.clear()
                    pending = 0
            if size <= in_memory:
                return b''.join(chunks)
            await _call(offload, store_last)
            return file
        except BaseException:
            if file is not None:
                file.close()
            raise


def _header_map(headers: PartHeaders) -> HeaderMap:
    found = HeaderMap()
    for name, value in headers:
        found[name] = f'{found[name]}, {value}' if name in found else value
    return found


def _is_plain(cls: Any) -> bool:
    # Parts that do not read their content themselves are given it as it arrives.
    return (
        cls.default_proc is Part.default_proc
        and cls.process is Part.process
        and cls.read_into_file is Part.read_into_file
        and cls.read is Part.read
    )


def _is_standard(cls: Any) -> bool:
    # COMPAT: part classes may replace the methods that read a part line by line out of the body.
    return (
        getattr(cls.from_fp, '__func__', None) is Part.from_fp.__func__  # type: ignore[attr-defined]
        and getattr(cls.read_headers, '__func__', None) is Part.read_headers.__func__  # type: ignore[attr-defined]
        and cls.read_lines_to_boundary is Part.read_lines_to_boundary
    )


def _process_by_lines(entity: Entity, processor: Callable[[Any], Any]) -> None:
    stream = entity._stream()
    try:
        delimiter = b'--' + parse_boundary(entity.content_type.params.get('boundary')).encode('ascii')
    except MultipartFault as exc:
        raise HTTPError(exc.status, str(exc)) from exc
    take: _Take = _TAKES[processor]
    maxparts = entity.maxparts or float('inf')
    max_field = entity.max_field_bytes or float('inf')
    at_line_start = True
    while line := stream.readline(_CHUNK):
        if at_line_start and line.rstrip() in (delimiter, delimiter + b'--'):
            break
        at_line_start = line.endswith(b'\n')
    else:
        if stream.bytes_read:
            raise HTTPError(400, 'Illegal end of multipart body.')
        return
    ended = line.rstrip() != delimiter
    while not ended:
        maxparts -= 1
        if maxparts < 0:
            raise HTTPError(413)
        part = entity.part_class.from_fp(stream, delimiter)
        try:
            part.process()
            if take is not _take_part and part.filename is None and part.file is not None:
                part.file.seek(0, 2)
                if part.file.tell() > max_field:
                    raise HTTPError(413)
                part.file.seek(0)
            take(entity, part)
        except BaseException:
            part.close()
            raise
        ended = stream._stopped


def process_urlencoded(entity: Entity) -> None:
    """Read an application/x-www-form-urlencoded body into `entity.params`.

    Raises HTTPError 400 if no charset decodes all of it, 413 above maxfields or max_field_bytes.
    """
    _finish(_urlencoded(entity, _Run(entity, True, None)))


def process_multipart(entity: Entity) -> None:
    """Read every part of a multipart body into `entity.parts`."""
    _finish(_multipart(entity, _Run(entity, True, None)))


def process_multipart_form_data(entity: Entity) -> None:
    """Read a multipart/form-data body: named parts into `entity.params`, others into `entity.parts`.

    A field becomes text, a part with a file name (also an empty one) or with parts of its own a Part.
    """
    _finish(_form_data(entity, _Run(entity, True, None)))


def _old_process_multipart(entity: Entity) -> None:
    _finish(_old_multipart(entity, _Run(entity, True, None)))


_BUILT_IN: dict[Callable[[Any], Any], Callable[[Any, _Run], Coroutine[Any, Any, None]]] = {
    process_urlencoded: _urlencoded,
    process_multipart: _multipart,
    process_multipart_form_data: _form_data,
    _old_process_multipart: _old_multipart,
}
_TAKES: dict[Callable[[Any], Any], _Take] = {
    process_multipart: _take_part,
    process_multipart_form_data: _take_form_part,
    _old_process_multipart: _take_old_part,
}

Entity.processors = {
    'application/x-www-form-urlencoded': process_urlencoded,
    'multipart/form-data': process_multipart_form_data,
    'multipart': process_multipart,
}
