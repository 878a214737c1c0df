"""Multipart bodies as values: boundary, part headers, Content-Disposition, and an incremental event feed.

Over the push parser of the `multipart` package, which is imported with the first multipart body. Knows bytes and
limits only: no request, no file, no HTTPError. What a client got wrong is a MultipartFault, which bears the status
to answer with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from .params import known_charset

__all__ = [
    'MultipartFault',
    'MultipartFeed',
    'PartHeaders',
    'decode_header_bytes',
    'parse_boundary',
    'parse_disposition',
]

# Header name (Title-Case) and value pairs of one part, in the order received.
PartHeaders = list[tuple[str, str]]

# SPEC: RFC 2046 5.1.1 allows 70 characters of a smaller set; CherryPy takes any 201 printable ones, and so do we.
_BOUNDARY = re.compile('[ -~]{0,200}[!-~]')
# Unrolled, so that a quote that never closes costs one pass. Clients that escape nothing put quotes inside of quotes:
# where a name goes on right behind one, it has not ended.
_QUOTED = re.compile(r'"([^"\\]*(?:(?:\\.|"(?=[^\s;,]))[^"\\]*)*)"')
_CONTROL = re.compile(r'[\x00-\x08\x0a-\x1f\x7f]')
_CONTROL_BYTES = re.compile(rb'[\x00-\x08\x0a-\x1f\x7f]')
_BAD_PERCENT = re.compile('%(?![0-9A-Fa-f]{2})')


class MultipartFault(ValueError):
    """A multipart body that breaks the syntax (status 400) or a limit (status 413)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def decode_header_bytes(raw: bytes, charset: str = 'iso-8859-1') -> str:
    """Decode a part header's bytes: UTF-8 as browsers send, else `charset`, else ISO-8859-1.

    Source: RFC 7578, section 5.1. CherryPy: ISO-8859-1 only.
    """
    for codec in ('utf-8', charset):
        try:
            return raw.decode(codec)
        except UnicodeError:
            continue
    return raw.decode('iso-8859-1')


# --- header values --------------------------------------------------------------------------------------------


def parse_boundary(value: str | None) -> str:
    """Give the boundary named by a Content-Type's `boundary` parameter.

    value: the parameter, with or without its quotes; None if absent.
    Raises MultipartFault unless it is 1 to 201 printable ASCII characters, the last one no space.

    Source: RFC 2046, section 5.1.1.
    """
    boundary = (value or '').strip('"')
    if not _BOUNDARY.fullmatch(boundary):
        raise MultipartFault(f'Invalid boundary in multipart form: {boundary[:80]!r}')
    return boundary


def parse_disposition(value: str) -> tuple[str, dict[str, str]]:
    """Read a Content-Disposition value in one pass.

    Returns the type in lower case and the parameters, names in lower case. In quoted text the escapes of a quote
    and of a backslash are undone, other backslashes kept (paths of old browsers). Where no quote is escaped so, the
    `%22` that browsers write for one is undone instead; their `%0D` and `%0A` are not. `filename*` (RFC 8187) is
    decoded and replaces `filename`.
    Raises MultipartFault if `filename*` is malformed, if a name has a control character, or if a parameter is repeated.

    Source: RFC 6266, section 4; RFC 7578, section 4.2; WHATWG HTML, multipart/form-data encoding.
    """
    params: dict[str, str] = {}
    end = len(value)
    semicolon = value.find(';')
    kind = (value if semicolon < 0 else value[:semicolon]).strip().lower()
    position = end if semicolon < 0 else semicolon + 1
    while position < end:
        stop = value.find(';', position)
        if stop < 0:
            stop = end
        equals = value.find('=', position, stop)
        if equals < 0:
            # A piece without "=" says nothing; a trailing semicolon leaves an empty one.
            position = stop + 1
            continue
        name = value[position:equals].strip().lower()
        start = equals + 1
        while start < end and value[start] in ' \t':
            start += 1
        if value[start : start + 1] == '"':
            quoted = _QUOTED.match(value, start)
            if quoted is None:
                # No closing quote: what follows is the value.
                text, position = value[start + 1 :], end
            else:
                text, position = quoted[1], quoted.end()
                stop = value.find(';', position)
                position = end if stop < 0 else stop + 1
            text = _unescape(text)
        else:
            text, position = value[start:stop].strip(), stop + 1
        if name in params:
            raise MultipartFault(f'Content-Disposition repeats the parameter {name[:40]!r}.')
        params[name] = text
    extended = params.get('filename*')
    if extended is not None:
        params['filename'] = _parse_extended(extended)
    for name in ('name', 'filename'):
        if name in params and _CONTROL.search(params[name]):
            raise MultipartFault(f'Content-Disposition has a control character in {name!r}.')
    return kind, params


def _unescape(text: str) -> str:
    if '\\"' not in text:
        text = text.replace('%22', '"')
        if '\\' not in text:
            return text
    return '\\'.join([piece.replace('\\"', '"') for piece in text.split('\\\\')])


def _parse_extended(value: str) -> str:
    # SPEC: RFC 8187 3.2.1: charset'[language]'pct-encoded.
    charset, first, rest = value.partition("'")
    _, second, text = rest.partition("'")
    codec = known_charset(charset)
    if not (first and second) or codec is None or not text.isascii() or _BAD_PERCENT.search(text):
        raise MultipartFault('Content-Disposition has a malformed filename*.')
    try:
        return unquote_to_bytes(text).decode(codec)
    except UnicodeError as exc:
        raise MultipartFault('Content-Disposition has a malformed filename*.') from exc


# --- the body -------------------------------------------------------------------------------------------------


@cache
def _parser_class() -> Any:
    import multipart  # type: ignore[import-untyped, unused-ignore]

    class SegmentParser(multipart.PushMultipartParser):  # type: ignore[misc, unused-ignore]
        """The push parser for parts of any multipart type, with limits over a part's whole header section."""

        section_size = 0
        section_lines = 0
        section_limit = 0

        def _on_segment_headerline(self, line: bytes) -> None:
            # Called for each header line, also a folded one: folding would otherwise escape the count.
            limit = self.section_limit
            if line.find(b'\n', 0, limit + 2) >= 0:
                raise multipart.ParserError('Invalid line break in segment header')
            if _CONTROL_BYTES.search(line):
                raise multipart.ParserError('Control character in segment header')
            self.section_size += len(line) + 2
            self.section_lines += 1
            if self.section_size - 2 > limit or self.section_lines > self.max_header_count:
                raise multipart.ParserLimitReached('Maximum segment header length exceeded')
            super()._on_segment_headerline(line)
            # SPEC: RFC 7578 4.8: a Content-Length of a part means nothing; boundaries alone delimit.
            self._segment_limit = -1

        def _create_segment(self, headerlist: PartHeaders) -> Any:
            self.section_size = self.section_lines = 0
            segment = multipart.MultipartSegment([])
            segment.headerlist = list(headerlist)
            return segment

        def stands_at_content(self) -> bool:
            """Say whether a part's headers have been read, and nothing behind them."""
            segment = self._segment
            return segment is not None and not (segment.complete or segment.bytes_received or self._buffer)

    return SegmentParser


class MultipartFeed:
    """Turns chunks of a multipart body into events, the same ones however the body is cut into chunks.

    For each part: its headers (PartHeaders), its content as non-empty bytes, then None. What precedes the first
    boundary and follows the last is skipped. Works in linear time and keeps no more than one chunk and one part's
    header section.

    boundary: as parse_boundary gives it.
    max_header_size: bytes of one part's header section, without the empty line.
    max_header_count: header lines of one part, folded lines counted.

    Source: RFC 2046, section 5.1.1. Line breaks around boundaries and headers are CRLF; anything else there is a fault.
    """

    #: How header bytes that are not UTF-8 are decoded.
    charset = 'iso-8859-1'

    def __init__(self, boundary: str, max_header_size: int = 8192, max_header_count: int = 50) -> None:
        self._dashes = b'--' + boundary.encode('ascii')
        self._limits = (max_header_size, max_header_count)
        self._parser: Any = None
        # Bytes not yet given to the parser.
        self._held = b''
        self._in_preamble = False
        self._empty = True

    def feed(self, chunk: bytes) -> Iterator[PartHeaders | bytes | None]:
        """Give the events `chunk` brings; use them all before the next chunk.

        Raises MultipartFault on malformed input and on a limit passed.
        """
        if not chunk:
            return
        self._empty = False
        if self._parser is None:
            chunk = self._skip_preamble(chunk)
            if not chunk:
                return
            self._parser = self._open()
        elif self._held:
            chunk = self._held + chunk
            self._held = b''
        # SPEC: RFC 2046 5.1.1: a part without content may end in the boundary right behind its headers, whose line
        # break is that of the empty line. The parser wants one of the boundary's own: there it is given one.
        parser = self._parser
        dashes = self._dashes
        start = 0
        while start < len(chunk):
            if parser.stands_at_content():
                rest = chunk[start : start + len(dashes)]
                if rest == dashes:
                    yield from self._parse(b'\r\n')
                elif dashes.startswith(rest):
                    self._held = chunk[start:]
                    return
            stop = self._find_content(chunk, start)
            yield from self._parse(chunk[start:stop] if start or stop < len(chunk) else chunk)
            start = stop

    def close(self) -> None:
        """Say that the body has ended.

        Raises MultipartFault if the closing boundary did not come, unless the body was empty altogether.
        """
        if self._empty:
            return
        if self._parser is None:
            raise MultipartFault('Illegal end of multipart body.')
        import multipart

        try:
            self._parser.close()
        except multipart.MultipartError as exc:
            raise MultipartFault('Illegal end of multipart body.') from exc

    def _find_content(self, chunk: bytes, start: int) -> int:
        """Give where content may begin with a boundary: the chunk is cut there. Its end, if nowhere."""
        dashes = self._dashes
        size = len(chunk)
        # The empty line before may have begun in an earlier chunk.
        for near in range(start + 1, min(start + 4, size)):
            if chunk.startswith(dashes, near) or dashes.startswith(chunk[near : near + len(dashes)]):
                return near
        found = chunk.find(b'\r\n\r\n' + dashes, start)
        if found >= 0:
            return found + 4
        # Or with the beginning of one, which goes on in the next chunk.
        last = chunk.rfind(b'\r\n\r\n', max(start, size - len(dashes) - 3))
        if last >= 0 and last + 4 < size and dashes.startswith(chunk[last + 4 :]):
            return last + 4
        return size

    def _parse(self, data: bytes) -> Iterator[PartHeaders | bytes | None]:
        import multipart

        try:
            for event in self._parser.parse(data):
                yield event if event is None or isinstance(event, bytes) else self._decode(event.headerlist)
        except multipart.MultipartError as exc:
            raise _fault(exc) from exc

    def _decode(self, headers: PartHeaders) -> PartHeaders:
        # The parser has read them as ISO-8859-1, which keeps every byte.
        return [
            (name, value if value.isascii() else decode_header_bytes(value.encode('iso-8859-1'), self.charset))
            for name, value in headers
        ]

    def _open(self) -> Any:
        size, count = self._limits
        # One byte more than the limit: the parser counts the CR of a line it has not seen the end of.
        parser = _parser_class()(
            self._dashes[2:], max_header_size=size + 1, max_header_count=count, header_charset='iso-8859-1'
        )
        parser.section_limit = size
        return parser

    def _skip_preamble(self, chunk: bytes) -> bytes:
        """Give the bytes from the first boundary on, b'' while there is none."""
        data = self._held + chunk
        dashes = self._dashes
        if not self._in_preamble:
            if data.startswith(dashes):
                self._held = b''
                return data
            if dashes.startswith(data):
                self._held = data
                return b''
            self._in_preamble = True
        delimiter = b'\r\n' + dashes
        index = data.find(delimiter)
        if index < 0:
            self._held = data[-(len(delimiter) - 1) :]
            return b''
        self._held = b''
        return data[index + 2 :]


def _fault(exc: Any) -> MultipartFault:
    text = exc.args[0] if exc.args else 'syntax error'
    if exc.http_status == 413:
        return MultipartFault(f'The multipart body is over a limit: {text}.', 413)
    return MultipartFault(f'The multipart body is malformed: {text}.')
