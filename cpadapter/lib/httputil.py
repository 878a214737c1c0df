"""HTTP helpers under CherryPy's module name; the work is done in `protocol/`."""

from __future__ import annotations

from ..protocol.dates import HTTPDate
from ..protocol.headers import (
    RE_HEADER_SPLIT,
    AcceptElement,
    BadHeaderValue,
    CaseInsensitiveDict,
    HeaderElement,
    HeaderMap,
    Host,
    SanitizedHost,
    decode_TEXT,
    decode_TEXT_maybe,
    header_elements,
    header_translate_deletechars,
    header_translate_table,
    parse_header,
    q_separator,
)
from ..protocol.messages import parse_version
from ..protocol.params import image_map_pattern, parse_query_string
from ..protocol.ranges import get_ranges
from ..protocol.status import response_codes, valid_status
from ..protocol.uri import urljoin, urljoin_bytes

__all__ = [
    'RE_HEADER_SPLIT',
    'AcceptElement',
    'BadHeaderValue',
    'CaseInsensitiveDict',
    'HTTPDate',
    'HeaderElement',
    'HeaderMap',
    'Host',
    'SanitizedHost',
    'decode_TEXT',
    'decode_TEXT_maybe',
    'get_ranges',
    'header_elements',
    'header_translate_deletechars',
    'header_translate_table',
    'image_map_pattern',
    'parse_header',
    'parse_query_string',
    'protocol_from_http',
    'q_separator',
    'response_codes',
    'urljoin',
    'urljoin_bytes',
    'valid_status',
]


def protocol_from_http(protocol_str: str) -> tuple[int, int]:
    """Read "HTTP/1.1" into (1, 1), "HTTP/2" into (2, 0). Raises BadHeaderValue if it is no version."""
    version = parse_version(protocol_str)
    if version is None:
        raise BadHeaderValue(f'{protocol_str!r} is not an HTTP version.')
    return version
