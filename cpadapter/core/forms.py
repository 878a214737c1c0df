"""Form fields and multipart parts: what the processors of a body do with its bytes.

Each algorithm is a coroutine over the body's reader, so that `process` and `aprocess` are the same code. What an
entity is, and which processor it takes, is body.py's business; of entities and parts this file uses what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import HTTPError
from ..protocol.headers import HeaderMap
from ..protocol.multipart import MultipartFault, MultipartFeed, PartHeaders, parse_boundary
from ..protocol.params import TooManyFields, known_charset, parse_urlencoded
from .reader import BATCH, CHUNK, LARGE, SPOOLED, Fetch, Offload, SizedReader, call_by, run_blocking, temporary_file

if TYPE_CHECKING:
    from .body import Entity

__all__ = [
    'BUILT_IN',
    'PartReader',
    'Run',
    'header_map',
    'is_length',
    'merge_params',
    'old_process_multipart',
    'parse_form',
    'process_by_lines',
    'process_multipart',
    'process_multipart_form_data',
    'process_urlencoded',
    'read_urlencoded',
    'take_part',
    'undecodable',
]

# Multipart bodies inside parts of multipart bodies.
_MAX_DEPTH = 4


class Run:
    """One run over a body: how to read it, and what its limits have left."""

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
        source = stream.fetch_blocking if self.blocking else stream.fetch_gathered

        async def fetch(size: int) -> bytes:
            return await stream.take(size, source)

        return fetch


def is_length(value: str) -> bool:
    """Say whether a Content-Length field holds a length."""
    # SPEC: RFC 9110 8.6: digits only. int() would take signs, spaces, underscores and other scripts' digits.
    return value.isascii() and value.isdigit() and len(value) < 20


def undecodable(charsets: list[str]) -> HTTPError:
    """Give the error to raise where none of the charsets fits."""
    return HTTPError(
        400, f'The request entity could not be decoded. The following charsets were attempted: {charsets!r}'
    )


def add_param(params: dict[str, Any], key: str, value: Any) -> None:
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


async def read_urlencoded(entity: Entity, run: Run) -> None:
    """Do what process_urlencoded does, by the reads of `run`."""
    entity.check_charset()
    fetch = run.fetch(entity.stream())
    maxfields = entity.maxfields or float('inf')
    max_field = entity.max_field_bytes or float('inf')
    chunks: list[bytes] = []
    separators = size = 0
    while data := await fetch(CHUNK):
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
            add_param(entity.params, key, item)


def parse_form(data: bytes, charsets: list[str], max_fields: int, separators: str = '&') -> tuple[dict[str, Any], str]:
    """Read an urlencoded body into (fields, charset); HTTPError 400 if no charset fits, 413 for too many fields."""
    try:
        return parse_urlencoded(data, charsets, max_fields, separators)
    except TooManyFields as exc:
        raise HTTPError(413, str(exc)) from exc
    except UnicodeError as exc:
        raise undecodable(charsets) from exc


_Take = Callable[['Entity', Any], None]


async def _multipart(entity: Entity, run: Run, fetch: Fetch | None = None, depth: int = 0) -> None:
    await _store_parts(PartReader(entity, run, take_part, fetch, depth))


async def _form_data(entity: Entity, run: Run, fetch: Fetch | None = None, depth: int = 0) -> None:
    await _store_parts(PartReader(entity, run, _take_form_part, fetch, depth))


async def _old_multipart(entity: Entity, run: Run, fetch: Fetch | None = None, depth: int = 0) -> None:
    await _store_parts(PartReader(entity, run, _take_old_part, fetch, depth))


async def _store_parts(reader: PartReader) -> None:
    while (part := await reader.next()) is not None:
        try:
            reader.take(reader.entity, part)
        except BaseException:
            part.close()
            raise


def take_part(entity: Entity, part: Any) -> None:
    """Keep a part in `entity.parts`, whatever its name."""
    entity.parts.append(part)


def _take_form_part(entity: Entity, part: Any) -> None:
    if part.name is None:
        entity.parts.append(part)
    elif _is_field(part):
        add_param(entity.params, part.name, part.fullvalue())
        part.close()
    else:
        add_param(entity.params, part.name, part)


def _take_old_part(entity: Entity, part: Any) -> None:
    # COMPAT: parts of other multipart types are page handler arguments too, under 'parts' if they have no name.
    value = part.fullvalue() if _is_field(part) else part
    entity.parts.append(part)
    add_param(entity.params, 'parts' if part.name is None else part.name, value)


def _is_field(part: Any) -> bool:
    # A part that holds parts has no text.
    return part.filename is None and (part.value is not None or part.file is not None)


class PartReader:
    """Pulls the parts of one multipart entity, each received whole.

    take: what becomes of each part. fetch: gives the bytes of a part that has parts itself.
    """

    _END = object()

    def __init__(self, entity: Entity, run: Run, take: _Take, fetch: Fetch | None = None, depth: int = 0) -> None:
        self.entity = entity
        self.run = run
        self.take = take
        self.depth = depth
        self._fetch = run.fetch(entity.stream()) if fetch is None else fetch
        self._events: Iterator[PartHeaders | bytes | None] = iter(())
        self._ended = False
        try:
            boundary = parse_boundary(entity.content_type.params.get('boundary'))
        except MultipartFault as exc:
            raise HTTPError(exc.status, str(exc)) from exc
        self._boundary = b'--' + boundary.encode('ascii')
        self._feed = MultipartFeed(boundary, *run.max_headers)
        self._is_form = entity.content_type.value == 'multipart/form-data'
        self._charset: str | None = None

    async def _event(self) -> Any:
        try:
            while True:
                for event in self._events:
                    return event
                if self._ended:
                    return self._END
                # What follows the last boundary is read as well: it counts, and the connection goes on behind it.
                chunk = await self._fetch(LARGE)
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
        part = self.entity.part_class(None, header_map(headers), self._boundary)
        if run.maxrambytes is not None:
            part.maxrambytes = run.maxrambytes
        if self._charset is not None and 'charset' not in part.content_type.params:
            part.attempt_charsets.insert(0, self._charset)
        try:
            await self._receive(part)
        except BaseException:
            part.close()
            raise
        if self._is_form and part.name == '_charset_' and part.filename is None:
            self._take_charset(part.value)
        return part

    def _take_charset(self, value: bytes | None) -> None:
        # SPEC: RFC 7578 4.6: the charset of the fields that follow and name none, and of their names (HTML 4.10.21.8).
        # What is no charset is a field like any other.
        charset = known_charset(value.decode('latin-1')) if value and len(value) <= 40 else None
        if charset is not None:
            self._charset = self._feed.charset = charset

    async def _receive(self, part: Any) -> None:
        if part.fault is not None:
            raise HTTPError(part.fault.status, str(part.fault)) from part.fault
        processor = part.find_processor()
        is_file = part.filename is not None
        if (processor is not None and processor not in BUILT_IN) or not part.is_stored():
            content = await self._collect(part, temporary_file)
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
                part.check_charset()
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
        is_field = part.filename is None and self.take is not take_part
        max_size = run.max_field if is_field else float('inf')
        in_memory: float = -1 if part.filename else part.maxrambytes
        if is_field and part.name is not None and self.take is _take_form_part:
            # It becomes text at once.
            in_memory = max_size
        batch = 1 if offload is None else BATCH
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
                    await call_by(offload, store)
                    chunks.clear()
                    pending = 0
            if size <= in_memory:
                return b''.join(chunks)
            # What is short enough to stay in memory needs no thread to be written in.
            short = file is None and size <= SPOOLED and part.is_spooled()
            await call_by(None if short else offload, store_last)
            return file
        except BaseException:
            if file is not None:
                file.close()
            raise


def header_map(headers: PartHeaders) -> HeaderMap:
    """Give the headers of a part by name, repeated ones joined."""
    found = HeaderMap()
    for name, value in headers:
        found[name] = f'{found[name]}, {value}' if name in found else value
    return found


def process_by_lines(entity: Entity, processor: Callable[[Any], Any]) -> None:
    """Read a multipart body for a part class that reads its parts line by line.

    processor: the built-in one whose part class this is.
    """
    stream = entity.stream()
    try:
        delimiter = b'--' + parse_boundary(entity.content_type.params.get('boundary')).encode('ascii')
    except MultipartFault as exc:
        raise HTTPError(exc.status, str(exc)) from exc
    take: _Take = _TAKES[processor]
    maxparts = entity.maxparts or float('inf')
    max_field = entity.max_field_bytes or float('inf')
    at_line_start = True
    while line := stream.readline(CHUNK):
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
            if take is not take_part and part.filename is None and part.file is not None:
                part.file.seek(0, 2)
                if part.file.tell() > max_field:
                    raise HTTPError(413)
                part.file.seek(0)
            take(entity, part)
        except BaseException:
            part.close()
            raise
        ended = stream.stopped


def process_urlencoded(entity: Entity) -> None:
    """Read an application/x-www-form-urlencoded body into `entity.params`.

    Raises HTTPError 400 if no charset decodes all of it, 413 above maxfields or max_field_bytes.
    """
    run_blocking(read_urlencoded(entity, Run(entity, True, None)))


def process_multipart(entity: Entity) -> None:
    """Read every part of a multipart body into `entity.parts`."""
    run_blocking(_multipart(entity, Run(entity, True, None)))


def process_multipart_form_data(entity: Entity) -> None:
    """Read a multipart/form-data body: named parts into `entity.params`, others into `entity.parts`.

    A field becomes text, a part with a file name (also an empty one) or with parts of its own a Part.
    """
    run_blocking(_form_data(entity, Run(entity, True, None)))


def old_process_multipart(entity: Entity) -> None:
    """Read every part of a multipart body into `entity.parts` and, by its name, into `entity.params`."""
    run_blocking(_old_multipart(entity, Run(entity, True, None)))


BUILT_IN: dict[Callable[[Any], Any], Callable[[Any, Run], Coroutine[Any, Any, None]]] = {
    process_urlencoded: read_urlencoded,
    process_multipart: _multipart,
    process_multipart_form_data: _form_data,
    old_process_multipart: _old_multipart,
}
_TAKES: dict[Callable[[Any], Any], _Take] = {
    process_multipart: take_part,
    process_multipart_form_data: _take_form_part,
    old_process_multipart: _take_old_part,
}
