"""Parsers on input of n, 2n and 4n bytes, plain and hostile: how their time grows.

Linear work doubles with its input, so the ratios are about 2; quadratic work shows 4. A limit that refuses long input
shows as a ratio of about 1. The figures are for reading: a busy machine may spoil one, so no test asserts them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ['SUSPICIOUS', 'Growth', 'format_growths', 'measure_growths']

# A ratio above this says that something is not linear.
SUSPICIOUS = 3.0
_BASE = 20_000
_LIMIT = 20.0

_TEXTS = {
    'semicolons': ';',
    'commas': ',',
    'quotes': '"',
    'backslashes': '\\',
    'escaped quotes': '\\"',
    'quotes and backslashes': '"\\',
    'equals signs': '=',
    'ampersands': '&',
    'percent signs': '%',
    'escapes': '%41',
    'plus signs': '+',
    'spaces': ' ',
    'tabs': '\t',
    'brackets': '([{<',
    'open lists': '[',
    'open objects': '{"a":',
    'words': 'word ',
    'parameters': ';a=b',
    'quoted parameters': ';a="b\\"c"',
    'open parameters': ';a="b',
    'members': 'a/b;q=0.5,',
    'encoded words': '=?utf-8?q?a?= ',
    'open encoded words': '=?utf-8?q?',
    'ranges': '0-,',
    'digits': '9',
    'dashes': '-',
    'line breaks': '\r\n',
    'beyond ASCII': 'é',
}
_CONTENTS = {
    'line breaks': b'\r\n',
    'CRs': b'\r',
    'line feeds': b'\n',
    'zeros': b'\0',
    'dashes': b'--',
    'almost boundaries': b'\r\n--boundarX',
    'starts of boundaries': b'\r\n--b',
    'boundaries without a line break': b'--boundary',
}


class Growth(NamedTuple):
    """Seconds for n, 2n and 4n bytes; the first may be 0.0 where a clock sees nothing."""

    parser: str
    text: str
    seconds: list[float]

    @property
    def ratios(self) -> list[float]:
        return [later / max(earlier, 1e-9) for earlier, later in zip(self.seconds, self.seconds[1:], strict=False)]

    @property
    def is_suspicious(self) -> bool:
        # What takes a moment only is noise, and so is one ratio out of two; above a second it is not.
        return (self.seconds[-1] > 1e-3 and min(self.ratios) > SUSPICIOUS) or self.seconds[-1] > 1.0


def _headers(kind: str) -> Any:
    from cpadapter.protocol.headers import HeaderMap

    return HeaderMap({'Content-Type': kind, 'Transfer-Encoding': 'chunked'})


def _process(kind: str, data: bytes) -> None:
    from cpadapter.core.body import RequestBody

    body = RequestBody(io.BytesIO(data), _headers(kind))
    # The limits would hide what comes behind them.
    body.maxparts = body.maxfields = body.max_field_bytes = 0
    try:
        body.process()
        if body.value is None and not body.params:
            body.read()
    finally:
        body.close()


def _lines(data: bytes) -> None:
    from cpadapter.core.body import RequestBody

    body = RequestBody(io.BytesIO(data), _headers('text/plain'))
    while body.readline():
        pass


def _parsers() -> dict[str, Callable[[str], Any]]:
    import json

    from werkzeug.http import parse_accept_header, parse_date

    from cpadapter.core.body import RequestBody
    from cpadapter.protocol.cookies import parse_cookies
    from cpadapter.protocol.headers import decode_TEXT, header_elements, parse_header, q_separator
    from cpadapter.protocol.messages import host_fault, parse_version
    from cpadapter.protocol.multipart import MultipartFeed, parse_boundary, parse_disposition
    from cpadapter.protocol.params import known_charset, parse_query_string, parse_urlencoded
    from cpadapter.protocol.ranges import get_ranges
    from cpadapter.protocol.uri import iri_to_uri, join

    many = 10**9

    def part_headers(text: str) -> None:
        data = text.encode('utf-8')
        for _ in MultipartFeed('b', many, many).feed(b'--b\r\nA: ' + data + b'\r\n\r\n'):
            pass

    def content_type(text: str) -> None:
        RequestBody(None, _headers('multipart/form-data; boundary=' + text)).close()

    def json_document(text: str) -> None:
        json.loads('[' + text)

    return {
        'query string': lambda text: parse_query_string(text, max_fields=many),
        'query string, & and ;': lambda text: parse_query_string(text, separators='&;', max_fields=many),
        'form': lambda text: parse_urlencoded(text.encode('latin-1'), ['utf-8', 'latin-1'], many),
        'form in UTF-16': lambda text: parse_urlencoded(text.encode('latin-1'), ['utf-16', 'latin-1'], many),
        'charset name': known_charset,
        'Accept': lambda text: header_elements('Accept', text),
        'Accept, one weight': lambda text: header_elements('Accept', 'a;q=' + text),
        'list field': lambda text: header_elements('X-List', text),
        'parameters': parse_header,
        'quoted parameters': lambda text: parse_header('a; b="' + text),
        'weights': q_separator.split,
        'encoded words': decode_TEXT,
        'cookies': lambda text: parse_cookies([text]),
        'cookie in quotes': lambda text: parse_cookies([f'a="{text}"']),
        'many cookie fields': lambda text: parse_cookies([text[i : i + 10] for i in range(0, len(text), 10)]),
        'Range': lambda text: get_ranges('bytes=' + text, 10**6),
        'Host': lambda text: host_fault(text, (1, 1)),
        'version': parse_version,
        'Content-Type of a body': content_type,
        'boundary': parse_boundary,
        'Content-Disposition': lambda text: parse_disposition('form-data; ' + text),
        'name of a part': lambda text: parse_disposition('form-data; name="' + text),
        'filename*': lambda text: parse_disposition("form-data; filename*=utf-8''" + text),
        'headers of a part': part_headers,
        'date (werkzeug)': parse_date,
        'Accept (werkzeug)': parse_accept_header,
        'URI': iri_to_uri,
        'reference': lambda text: join('/a/b', text),
        'JSON': json_document,
        'lines of a body': lambda text: _lines(text.encode('latin-1')),
        'urlencoded body': lambda text: _process('application/x-www-form-urlencoded', text.encode('latin-1')),
    }


def _bodies() -> dict[str, Callable[[bytes], Any]]:
    from cpadapter.core.body import Part

    class ByLines(Part):
        """A part class that reads its own parts, which is the other way through a multipart body."""

        @classmethod
        def read_headers(cls, fp: Any) -> Any:
            return super().read_headers(fp)

    def by_lines(data: bytes) -> None:
        from cpadapter.core.body import RequestBody

        body = RequestBody(io.BytesIO(data), _headers('multipart/form-data; boundary=boundary'))
        body.part_class = ByLines
        body.max_field_bytes = 0
        try:
            body.process()
        finally:
            body.close()

    kind = 'multipart/form-data; boundary=boundary'
    start = b'--boundary\r\nContent-Disposition: form-data; name="a"%s\r\n\r\n'
    end = b'\r\n--boundary--\r\n'
    return {
        'field': lambda data: _process(kind, start % b'' + data + end),
        'file': lambda data: _process(kind, start % b'; filename="x"' + data + end),
        'preamble': lambda data: _process(kind, data + b'\r\n' + start % b'' + end),
        'epilogue': lambda data: _process(kind, start % b'' + end + data),
        'field, by lines': lambda data: by_lines(start % b'' + data + end),
        'parts': lambda data: _process(kind, (start % b'' + b'\r\n') * (len(data) // 60) + end[2:]),
    }


def _clock(call: Callable[[Any], Any], argument: Any) -> float:
    best = _LIMIT
    for _ in range(3):
        begun = time.perf_counter()
        try:
            call(argument)
        except Exception as error:
            # Refusing is an answer too; what may be raised is for the tests to say.
            if not isinstance(error, (ValueError, RecursionError)) and type(error).__name__ != 'HTTPError':
                raise
        best = min(best, time.perf_counter() - begun)
        if best > 0.05:
            break
    return best


def measure_growths(note: Callable[[str], None] = lambda text: None) -> list[Growth]:
    """Time every parser on every kind of input."""
    growths = []
    for parser, call in _parsers().items():
        for name, piece in _TEXTS.items():
            seconds = [_clock(call, piece * (_BASE * factor // len(piece))) for factor in (1, 2, 4)]
            growths.append(Growth(parser, name, seconds))
        note(parser)
    for parser, feed in _bodies().items():
        for name, content in _CONTENTS.items():
            seconds = [_clock(feed, content * (_BASE * 4 * factor // len(content))) for factor in (1, 2, 4)]
            growths.append(Growth(f'multipart: {parser}', name, seconds))
        note(parser)
    return growths


def format_growths(growths: list[Growth]) -> str:
    """Give a line for each parser, its slowest input, and one for each that looks more than linear."""
    lines = [f'{"parser":<28} {"slowest input":<32} {"ms for n":>9} {"2n / n":>7} {"4n / 2n":>7}']

    def line(growth: Growth) -> str:
        first, second = growth.ratios
        return f'{growth.parser:<28} {growth.text:<32} {growth.seconds[0] * 1e3:>9.2f} {first:>7.2f} {second:>7.2f}'

    for parser in dict.fromkeys(growth.parser for growth in growths):
        lines.append(line(max((one for one in growths if one.parser == parser), key=lambda one: one.seconds[-1])))
    suspicious = [growth for growth in growths if growth.is_suspicious]
    lines.append(f'\n{len(growths)} kinds of input; more than linear: {len(suspicious) or "none"}')
    lines.extend(map(line, suspicious))
    return '\n'.join(lines)
