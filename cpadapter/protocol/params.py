"""Query strings and urlencoded bodies as dicts. It knows no request: whoever calls decides what an error answers.

A name given once has a str as its value, a name given more often a list of str in the order received.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from encodings.aliases import aliases
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

__all__ = [
    'MAX_FIELDS',
    'TooManyFields',
    'image_map_pattern',
    'known_charset',
    'parse_query_string',
    'parse_urlencoded',
]

MAX_FIELDS = 10_000

# The digits are bounded because int() refuses very long ones.
image_map_pattern = re.compile(r'([0-9]{1,20}),([0-9]{1,20})')


class TooManyFields(ValueError):
    """More fields than allowed; `status` is what to answer unless the caller knows better."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f'More than {limit} fields were sent.')


def parse_query_string(
    query_string: str,
    keep_blank_values: bool = True,
    encoding: str = 'utf-8',
    separators: str = '&',
    max_fields: int = MAX_FIELDS,
) -> dict[str, Any]:
    """Read a query string into a dict of str, or list of str for a repeated name.

    "12,34" alone, as a server-side image map sends it, gives the ints {'x': 12, 'y': 34}.
    '+' is a space; a percent sign that begins no escape stands for itself.
    separators: each character of it separates fields; CherryPy: '&;'. '&' alone by default, because caches
    and proxies before us know no other.
    Raises UnicodeDecodeError if an escaped text is not in `encoding`, LookupError if there is no such encoding,
    TooManyFields above `max_fields` fields.
    """
    if not query_string:
        return {}
    if ',' in query_string:
        match = image_map_pattern.fullmatch(query_string)
        if match is not None:
            return {'x': int(match[1]), 'y': int(match[2])}
    return _parse(query_string, keep_blank_values, encoding, separators, max_fields)


def _parse(text: str, keep_blank_values: bool, encoding: str, separators: str, max_fields: int) -> dict[str, Any]:
    if separators != '&':
        for other in separators:
            text = text.replace(other, '&')
    if '+' in text:
        text = text.replace('+', ' ')
    pieces = text.split('&', max_fields)
    if len(pieces) > max_fields:
        raise TooManyFields(max_fields)
    escaped = '%' in text
    result: dict[str, Any] = {}
    for piece in pieces:
        name, equals, value = piece.partition('=')
        if not value and (not keep_blank_values or not (name or equals)):
            continue
        if escaped and '%' in piece:
            if '%' in name:
                name = _unquote(name, encoding)
            if '%' in value:
                value = _unquote(value, encoding)
        if name not in result:
            result[name] = value
        else:
            _add(result, name, value)
    return result


def _unquote(text: str, encoding: str) -> str:
    if encoding in _ASCII_BASED:
        # PERF: most values have a few escapes, of ASCII characters: no detour by bytes.
        pieces = text.split('%', 20)
        if len(pieces) < 20:
            try:
                result = pieces[0]
                for piece in pieces[1:]:
                    result += _ESCAPES[piece[:2]] + piece[2:]
                return result
            except KeyError:
                pass
    if text.isascii():
        return _unquote_bytes(text.encode('ascii')).decode(encoding)
    return unquote(text, encoding, 'strict')


# A percent sign that no two digits follow stands for itself.
_ESCAPED = re.compile(rb'%([0-9A-Fa-f]{2})')
_PIECE = 16384


def _unquote_bytes(data: bytes) -> bytes:
    if len(data) < 500:
        return unquote_to_bytes(data)
    # PERF: the standard library splits at each percent sign: a megabyte of them takes it 300 ms, this one 10. In
    # pieces, because the pattern takes 30 bytes of memory for each byte while it is at work.
    pieces = []
    at = 0
    while at < len(data):
        end = at + _PIECE
        cut = data.rfind(b'%', end - 2, end)
        if cut >= 0:
            end = cut  # an escape is not cut in two
        pieces.append(_ESCAPED.sub(_octet, data[at:end]))
        at = end
    return b''.join(pieces)


def _octet(match: re.Match[bytes]) -> bytes:
    return _OCTETS[match[1]]


def _add(result: dict[str, Any], name: str, value: str) -> None:
    known = result[name]
    if type(known) is list:
        known.append(value)
    else:
        result[name] = [known, value]


def parse_urlencoded(
    data: bytes, charsets: Iterable[str], max_fields: int = MAX_FIELDS, separators: str = '&'
) -> tuple[dict[str, Any], str]:
    """Read an application/x-www-form-urlencoded body; return (fields, the charset that decoded them all).

    charsets: tried in order; one that is no charset for text is passed over. Blank names and values are kept.
    Raises UnicodeError if none of them decodes every name and value, TooManyFields above `max_fields` fields.
    """
    plain = data.isascii()
    pairs: list[tuple[bytes, bytes]] | None = None
    for charset in charsets:
        codec = charset if charset == 'utf-8' else known_charset(charset)
        if codec is None:
            continue
        try:
            if plain and codec in _ASCII_BASED:
                return _parse(data.decode('ascii'), True, codec, separators, max_fields), charset
            if pairs is None:
                pairs = _split_bytes(data, separators, max_fields)
            result: dict[str, Any] = {}
            for name_bytes, value_bytes in pairs:
                name = name_bytes.decode(codec)
                value = value_bytes.decode(codec)
                if name not in result:
                    result[name] = value
                else:
                    _add(result, name, value)
            return result, charset
        except UnicodeError:
            continue
    raise UnicodeError('The fields could not be decoded by any of the charsets given.')


def _split_bytes(data: bytes, separators: str, max_fields: int) -> list[tuple[bytes, bytes]]:
    for other in separators:
        data = data.replace(other.encode(), b'&')
    pieces = data.replace(b'+', b' ').split(b'&', max_fields)
    if len(pieces) > max_fields:
        raise TooManyFields(max_fields)
    pairs = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition(b'=')
            pairs.append((_unquote_bytes(name), _unquote_bytes(value)))
    return pairs


# Charsets in which ASCII bytes mean what they mean in ASCII.
_ASCII_BASED = frozenset(('utf-8', 'utf8', 'ascii', 'iso8859-1', 'cp1252', 'iso8859-15'))
# The two digits of an escape -> the ASCII character it stands for.
_DIGITS = '0123456789abcdefABCDEF'
_OCTETS = {(high + low).encode(): bytes((int(high + low, 16),)) for high in _DIGITS for low in _DIGITS}
_ESCAPES = {high + low: chr(int(high + low, 16)) for high in '01234567' for low in _DIGITS}

# Text charsets Python has under one name only.
_UNALIASED = [
    *('cp65001', 'cp720', 'cp737', 'cp856', 'cp874', 'cp875', 'cp1006', 'koi8_r', 'koi8_t', 'koi8_u', 'utf_8_sig'),
    *('utf_7', 'mac_arabic', 'mac_croatian', 'mac_farsi', 'mac_romanian', 'tis_620'),
]
# Escape syntaxes and transforms, and codecs whose decoding takes quadratic time (idna, punycode).
_NO_CHARSETS = frozenset(
    (
        *('base64_codec', 'bz2_codec', 'hex_codec', 'quopri_codec', 'rot_13', 'uu_codec', 'zlib_codec'),
        *('raw_unicode_escape', 'unicode_escape', 'idna', 'punycode', 'mbcs', 'oem', 'undefined'),
    )
)
_CHARSETS = frozenset(
    name
    for known in (aliases.items(), ((name, name) for name in [*aliases.values(), *_UNALIASED]))
    for name, codec in known
    if codec not in _NO_CHARSETS
)


def known_charset(name: str) -> str | None:
    """Give Python's name of the text charset a client calls `name`; None if there is none.

    Names are looked up in a fixed set first: asking codecs for every name a client invents would keep each of
    them in memory for ever.
    """
    key = name.strip().lower().replace('-', '_').replace(' ', '_')
    if key not in _CHARSETS:
        return None
    try:
        return codecs.lookup(key).name
    except LookupError:
        # Not built into this Python.
        return None
