"""The Range field against a length. It knows no file and no response."""

from __future__ import annotations

import re

__all__ = ['MAX_RANGES', 'get_ranges', 'merge_ranges']

# A field with more ranges than this is ignored: RFC 9110 14.2 lets a server refuse "many small ranges".
MAX_RANGES = 200

_RANGE = re.compile(r'\s*([0-9]*)\s*-\s*([0-9]*)\s*', re.ASCII)
_HUGE = 10**20


def get_ranges(headervalue: str | None, content_length: int) -> list[tuple[int, int]] | None:
    """Read a Range field against a representation of `content_length` bytes.

    headervalue: the value as received, e.g. "bytes=0-99,-5"; None or '' gives None.
    Returns half-open (start, stop) pairs in the order asked, each within the content; [] if none of them can be
    satisfied (answer 416); None if the field is to be ignored: another unit, bad syntax, a stop before its start,
    more than MAX_RANGES ranges, or several that add up to more than the whole content.

    Source: RFC 9110, section 14.2.
    """
    if not headervalue:
        return None
    unit, equals, ranges = headervalue.partition('=')
    if not equals or unit.strip().lower() != 'bytes' or ranges.count(',') >= MAX_RANGES:
        return None
    result = []
    found = False
    for spec in ranges.split(','):
        if not spec.strip():
            # SPEC: RFC 9110 5.6.1: empty list elements are ignored.
            continue
        match = _RANGE.fullmatch(spec)
        if match is None:
            return None
        first, last = match.groups()
        found = True
        if first:
            start = _number(first)
            stop = content_length if not last else _number(last) + 1
            if stop <= start and last:
                return None
            if start < content_length:
                result.append((start, min(stop, content_length)))
        elif last:
            length = min(_number(last), content_length)
            if length:
                result.append((content_length - length, content_length))
        else:
            return None
    if not found or (len(result) > 1 and sum(stop - start for start, stop in result) > content_length):
        return None
    return result


def merge_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give half-open ranges that hold the same bytes, each once: in the order asked where none of them meet.

    Where some overlap or touch they are joined, and all come in ascending order.

    Source: RFC 9110, section 15.3.7.2.
    """
    if len(ranges) < 2:
        return ranges
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged if len(merged) < len(ranges) else ranges


def _number(digits: str) -> int:
    # int() refuses very long digit strings with a ValueError; any such number is past every length.
    digits = digits.lstrip('0')
    return int(digits or '0') if len(digits) <= 20 else _HUGE
