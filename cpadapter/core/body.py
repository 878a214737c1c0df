"""Request bodies: Entity, RequestBody and Part, with the limits that config sets on them.

A body is read when a page handler or the pipeline asks, blocking or awaited, by one of the processors of forms.py.
Knows no environ, no scope, no loop and no thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from functools import lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..changes import changed
from ..errors import HTTPError
from ..extension.hooks import is_async_callable
from ..extension.namespaces import WatchedDict
from ..protocol.headers import BadHeaderValue, HeaderElement, HeaderMap, header_elements
from ..protocol.multipart import MultipartFault, MultipartFeed, parse_disposition
from ..protocol.params import known_charset
from .forms import (
    BUILT_IN,
    PartReader,
    Run,
    header_map,
    is_length,
    merge_params,
    old_process_multipart,
    process_by_lines,
    process_multipart,
    process_multipart_form_data,
    process_urlencoded,
    read_urlencoded,
    take_part,
    undecodable,
)
from .reader import CHUNK, Offload, SizedReader, closed_on_error, run_blocking, spooled_file, temporary_file

if TYPE_CHECKING:
    from ..typing import BodyReader

__all__ = ['Entity', 'Part', 'RequestBody', 'is_as_shipped']


@lru_cache(maxsize=256)
def _content_type(value: str) -> tuple[str, dict[str, str]]:
    # SPEC: RFC 9110 8.3: one media type; of several the first is taken. Types compare without regard to case.
    first, comma, _ = value.partition(',')
    if comma and '"' not in first:
        value = first
    elements = header_elements('Content-Type', value)
    return (elements[0].value.lower(), elements[0].params) if elements else ('', {})


class _EntityType(type):
    """Makes plans stale when something is set on a class of bodies: short ones are read without one of these."""

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changed()

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        changed()


class Entity(metaclass=_EntityType):
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

    fault: MultipartFault | None = None
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
            self.fault = MultipartFault(str(exc))
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
        if length is not None and is_length(length) and 'chunked' not in (get('Transfer-Encoding') or '').lower():
            self.length = int(length)
        disposition = get('Content-Disposition')
        if disposition:
            try:
                _, found = parse_disposition(disposition)
            except MultipartFault as exc:
                self.fault = exc
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

    def stream(self) -> SizedReader:
        if not isinstance(self.fp, SizedReader):
            self.fp = SizedReader(self.fp, self.length, None)
        return self.fp

    def read(self, size: int | None = None, fp_out: Any = None) -> Any:
        """Read `size` bytes, all if None or negative; fewer only at the end. With fp_out, write them there."""
        return self.stream().read(size, fp_out)

    def readline(self, size: int | None = None) -> bytes:
        """Read a line with its newline, at most `size` bytes of it; b'' at the end."""
        return self.stream().readline(size)

    def readlines(self, sizehint: int | None = None) -> list[bytes]:
        """Read lines until they hold `sizehint` bytes or more; all if None or not positive."""
        return self.stream().readlines(sizehint)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.stream())

    def next(self) -> bytes:
        """Give the next line; StopIteration at the end."""
        return self.__next__()

    async def aread(self, size: int | None = None) -> bytes:
        """As read, for async code."""
        return await self.stream().aread(size)

    async def areadline(self, size: int | None = None) -> bytes:
        """As readline, for async code."""
        return await self.stream().areadline(size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the rest of the body in chunks as they arrive."""
        return self.stream().__aiter__()

    def read_into_file(self, fp_out: Any = None) -> Any:
        """Write the rest of the body to `fp_out`, or to a new make_file(), and return that file, at its end."""
        file = self.make_file() if fp_out is None else fp_out
        with closed_on_error(file if fp_out is None else None):
            self.read(fp_out=file)
        return file

    def make_file(self) -> Any:
        """Give the file that content is written to: a temporary file without a name."""
        return temporary_file()

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
        self.check_charset()
        for charset in self.attempt_charsets:
            try:
                text = value.decode(charset)
            except UnicodeError:
                continue
            self.charset = charset
            return text
        raise undecodable(self.attempt_charsets)

    def check_charset(self) -> None:
        if self._unknown_charset is not None:
            raise HTTPError(415, f'The charset {self._unknown_charset[:40]!r} is not supported.')

    # --- processing ---

    def process(self) -> None:
        """Read the body by the processor of its media type, or of its major type, or by default_proc()."""
        run_blocking(self._process(Run(self, True, None)))

    async def aprocess(self, offload: Offload | None = None) -> None:
        """As process, for async code.

        offload: async function that calls its argument in a thread; files are written there. Without it they are
            written on the loop. Processors that are plain functions run after the body has been read ahead for them.
        """
        await self._process(Run(self, False, offload))

    def default_proc(self) -> Any:
        """Process a body no processor is for: leave it to be read by the page handler."""

    def find_processor(self) -> Callable[[Any], Any] | None:
        kind = self.content_type.value
        return self.processors.get(kind) or self.processors.get(kind.partition('/')[0])

    async def _process(self, run: Run) -> None:
        if self.fault is not None:
            raise HTTPError(self.fault.status, str(self.fault)) from self.fault
        processor = self.find_processor()
        built_in = None if processor is None else BUILT_IN.get(processor)
        if built_in is not None:
            if built_in is not read_urlencoded and not self.part_class.reads_by_events():
                await self._run_custom(process_by_lines, (self, processor), run)
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

    async def _run_custom(self, call: Callable[..., Any], args: tuple[Any, ...], run: Run) -> None:
        # An exception instance, such as HTTPError(415), raises itself: nothing to read for it.
        is_plain = not is_async_callable(call) and not isinstance(call, BaseException)
        if not run.blocking and is_plain:
            spool = await self.stream().read_ahead(self.stream().fetch_waiting, run.offload)
            if spool is not None:
                run.spools.append(spool)
        if run.offload is not None and is_plain and not getattr(call, 'non_blocking', False):
            result = await run.offload(partial(call, *args))
        else:
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
                        return header_map(event)
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
            while line := self.fp.readline(CHUNK):
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

    def make_file(self) -> Any:
        """Give the file that content is written to: a temporary one without a name, in memory while it is short."""
        return spooled_file()

    def read_into_file(self, fp_out: Any = None) -> Any:
        """Write the content to `fp_out`, or to a new make_file(), and return that file at position 0."""
        file = self.make_file() if fp_out is None else fp_out
        with closed_on_error(file if fp_out is None else None):
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

    @classmethod
    def is_stored(cls) -> bool:
        """Say whether content is stored as it arrives: not where a subclass reads it itself."""
        return (
            cls.default_proc is Part.default_proc
            and cls.process is Part.process
            and cls.read_into_file is Part.read_into_file
            and cls.read is Part.read
        )

    @classmethod
    def is_spooled(cls) -> bool:
        """Say whether short content stays in memory: not where a subclass makes files of its own."""
        return cls.make_file is Part.make_file

    @classmethod
    def reads_by_events(cls) -> bool:
        """Say whether parts come from the push parser: not where a subclass reads them line by line.

        COMPAT: part classes may replace the methods that read a part out of the body.
        """
        return (
            getattr(cls.from_fp, '__func__', None) is Part.from_fp.__func__  # type: ignore[attr-defined]
            and getattr(cls.read_headers, '__func__', None) is Part.read_headers.__func__  # type: ignore[attr-defined]
            and cls.read_lines_to_boundary is Part.read_lines_to_boundary
        )

    def close(self) -> None:
        super().close()
        if self._received and isinstance(self.fp, SizedReader) and self.fp.fp is not None:
            self.fp.fp.close()

    def stream(self) -> SizedReader:
        if self.fp is None:
            source = self.file if self.file is not None else BytesIO(self.value or b'')
            self.fp = SizedReader(source, None, None)
        return super().stream()

    async def _process(self, run: Run) -> None:
        if not self._received and self.fault is None:
            processor = self.find_processor()
            if processor is None or processor in BUILT_IN:
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
            self.processors['multipart'] = old_process_multipart

    def stream(self) -> SizedReader:
        if not isinstance(self.fp, SizedReader):
            self.fp = SizedReader(self.fp, self.length, self.maxbytes, self.bufsize, 'Trailer' in self.headers)
        return self.fp

    def _check_length(self) -> None:
        headers = self.headers
        length = headers.get('Content-Length')
        # SPEC: PEP 3333: an empty CONTENT_LENGTH is an absent one.
        if length is None or length == '':
            if self.length_required and not headers.get('Transfer-Encoding'):
                raise HTTPError(411)
        elif not is_length(length):
            raise HTTPError(400, 'Malformed Content-Length Header.')

    async def _process(self, run: Run) -> None:
        if self.processed:
            return
        self._check_length()
        self.processed = True
        self.stream()
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
        stream = self.stream()
        with closed_on_error(file if fp_out is None else None):
            await stream.read_by(None, file, stream.fetch_waiting, offload)
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
        self._check_length()
        self.processed = True
        reader = PartReader(self, Run(self, False, offload), take_part)
        while (part := await reader.next()) is not None:
            yield part


Entity.processors = WatchedDict(
    {
        'application/x-www-form-urlencoded': process_urlencoded,
        'multipart/form-data': process_multipart_form_data,
        'multipart': process_multipart,
    }
)


def _settings() -> list[Any]:
    return [
        {name: value[:] if type(value) is list else value for name, value in vars(cls).items()}
        for cls in (Entity, RequestBody)
    ] + [dict(Entity.processors)]


_SHIPPED = _settings()


def is_as_shipped() -> bool:
    """Say whether nobody has set anything on the classes above: limits, charsets, processors, methods."""
    return _settings() == _SHIPPED
