"""HTTP dates as text. It reads the clock when asked for "now", and nothing else."""

from __future__ import annotations

import math
import time

__all__ = ['HTTPDate']

# Not strftime: its names follow the process's locale.
_DAYS = ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')
_MONTHS = ('', 'Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')

# PERF: the last second formatted, replaced as one tuple so that threads never see half of it.
_last: tuple[int, str] = (-1, '')


def HTTPDate(timeval: float | None = None) -> str:
    """Give `timeval` (seconds since the epoch; None: now) as an HTTP date, "Sun, 06 Nov 1994 08:49:37 GMT".

    Fractions are cut off. Raises ValueError or OverflowError for a time before the year 0 or after the year 9999.

    Source: RFC 9110, section 5.6.7 (IMF-fixdate).
    """
    global _last
    second = math.floor(time.time() if timeval is None else timeval)
    last = _last
    if last[0] == second:
        return last[1]
    try:
        year, month, day, hour, minute, sec, weekday, _, _ = time.gmtime(second)
    except OSError as exc:
        raise OverflowError(f'{timeval!r} is out of the range of dates.') from exc
    if not 0 <= year <= 9999:
        raise ValueError(f'{timeval!r} is out of the range of HTTP dates.')
    text = f'{_DAYS[weekday]}, {day:02d} {_MONTHS[month]} {year:04d} {hour:02d}:{minute:02d}:{sec:02d} GMT'
    if timeval is None:
        _last = (second, text)
    return text
