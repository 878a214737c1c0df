"""`StatsPage`, which shows what the `cpstats` tool counts: a live page, JSON, and Prometheus's text.

Importing it makes `logging.statistics`, where any library may keep numbers of its own, and puts the default site's
there; the page of another site shows that site's in their place. The counting is appstats.py's, the page's look is
statspage.py's. Mount the page where only those who may see it come: it tells addresses and request lines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from ..context import current, default_site
from ..errors import HTTPError, HTTPRedirect
from .appstats import BOUNDS, SECONDS, AppStatistics, StatsTool, average_uriset_time
from .origin import require_same_origin
from .statspage import Html, make_page, policy

__all__ = [
    'ByteCountWrapper',
    'StatsPage',
    'StatsTool',
    'appstats',
    'average_uriset_time',
    'extrapolate_statistics',
    'iso_format',
    'pause_resume',
    'proc_time',
]

APPLICATIONS = 'CherryPy Applications'

# Rows of each table of the page.
_ROWS = 20

# COMPAT: the place that libraries agreed on; Python itself does not have it.
if not hasattr(logging, 'statistics'):
    logging.statistics = {}  # type: ignore[attr-defined]
_statistics: dict[str, Any] = logging.statistics  # type: ignore[attr-defined]


def numbers_of(site: Any) -> AppStatistics:
    """Give the numbers of a site; those of its tool, or empty ones if that was taken out."""
    numbers = getattr(getattr(site.tools, 'cpstats', None), 'numbers', None)
    return numbers if numbers is not None else AppStatistics()


appstats: dict[str, Any] = numbers_of(default_site()).namespace
_statistics.setdefault(APPLICATIONS, appstats)


def extrapolate_statistics(scope: Any) -> Any:
    """Give a copy of statistics with every function in them called, with the dict it stands in, down to the leaves."""
    if isinstance(scope, dict):
        made = {}
        for key, value in list(scope.items()):
            if callable(value):
                value = value(scope)
            made[key] = extrapolate_statistics(value)
        return made
    if isinstance(scope, (list, tuple)):
        return [extrapolate_statistics(value) for value in list(scope)]
    return scope


def proc_time(s: Any) -> float:
    """Give the seconds since the 'Start Time' of a record."""
    started: float = s['Start Time']
    return time.time() - started


def iso_format(v: float) -> str:
    """Give a time in seconds since the epoch as local date and time, '2026-01-31 23:59:59'."""
    return time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(v))


def pause_resume(ns: str) -> Callable[[Any], str]:
    """Give a function that makes the buttons to pause and resume a namespace, from the value of its 'Enabled'."""

    def buttons(enabled: Any) -> str:
        from html import escape

        name = escape(ns)
        forms = []
        for action, label, usable in (('pause', 'Pause', enabled), ('resume', 'Resume', not enabled)):
            disabled = '' if usable else ' disabled="disabled"'
            forms.append(
                f'<form action="{action}" method="POST">'
                f'<input type="hidden" name="namespace" value="{name}" />'
                f'<input type="submit" value="{label}"{disabled} /></form>'
            )
        return Html('\n'.join(forms))

    return buttons


class ByteCountWrapper:
    """A file that counts, in `bytes_read`, what is read from it."""

    def __init__(self, rfile: Any) -> None:
        self.rfile = rfile
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        """Read as the file does."""
        return self._counted(self.rfile.read(size))

    def readline(self, size: int = -1) -> bytes:
        """Read a line as the file does."""
        return self._counted(self.rfile.readline(size))

    def readlines(self, sizehint: int = 0) -> list[bytes]:
        """Read lines up to the end, or until they have `sizehint` bytes together."""
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if 0 < sizehint <= total:
                break
        return lines

    def close(self) -> None:
        """Close the file."""
        self.rfile.close()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._counted(next(self.rfile))

    def next(self) -> bytes:
        """Give the next line."""
        return self.__next__()

    def _counted(self, data: bytes) -> bytes:
        self.bytes_read += len(data)
        return data


def _seconds(value: Any) -> str:
    """Give a duration in the unit that suits it."""
    if not isinstance(value, (int, float)):
        return str(value)
    if value < 1:
        return f'{value * 1000:.1f} ms'
    return f'{value:.2f} s' if value < 100 else f'{value:,.0f} s'


def _size(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    for unit in ('B', 'kB', 'MB'):
        if value < 1000:
            return f'{value:.0f} {unit}' if unit == 'B' else f'{value:.1f} {unit}'
        value /= 1000
    return f'{value:.1f} GB'


_RECORD = {
    'Bytes Read': '%s',
    'Bytes Written': '%s',
    'Client': '%s',
    'End Time': None,
    'Processing Time': '%.3f',
    'Request-Line': '%s',
    'Response Status': '%s',
    'Start Time': iso_format,
}


class StatsPage:
    """A tree of pages to mount: the live page, `data` (JSON), `metrics` (Prometheus), `pause` and `resume`.

    formatting: how to show what the namespaces hold, in their structure: None hides an entry, text is a % format, a
        callable makes the text.
    """

    # Looking never waits; so a site whose threads are all busy can still be looked at.
    _cp_config = {'request.non_blocking': True}

    formatting: dict[str, Any] = {
        APPLICATIONS: {
            'Enabled': pause_resume(APPLICATIONS),
            'Bytes Read/Request': '%.3f',
            'Bytes Read/Second': '%.3f',
            'Bytes Written/Request': '%.3f',
            'Bytes Written/Second': '%.3f',
            'Current Time': iso_format,
            'Requests/Second': '%.3f',
            'Requests/Second (last minute)': '%.3f',
            'Start Time': iso_format,
            'Total Time': '%.3f',
            'Uptime': '%.3f',
            'Latency': {'Seconds': '%.4f'},
            'Pages': {'Sum': '%.3f', 'p50': '%.4f', 'p95': '%.4f', 'Max': '%.4f'},
            'Requests': _RECORD,
            'Slow Queries': _RECORD,
            'Failures': _RECORD,
            'URI Set Tracking': {'Min': '%.3f', 'Max': '%.3f', 'Avg': '%.3f', 'Sum': '%.3f'},
        },
    }

    def __init__(self) -> None:
        pass

    # -- pages

    def index(self) -> bytes:
        """Show the numbers; the page renews itself, with or without script."""
        from secrets import token_urlsafe

        nonce = token_urlsafe(16)
        headers = self._headers('text/html;charset=utf-8')
        headers['Content-Security-Policy'] = policy(nonce)
        further = [entry for entry in self.get_namespaces() if entry[0] != APPLICATIONS]
        return make_page(self._view(), pause_resume(APPLICATIONS), further, nonce).encode('utf-8', 'replace')

    def live(self) -> bytes:
        """Give what the page's script puts into the page, as JSON: texts and the heights of bars."""
        return self._json(self._view())

    def data(self) -> bytes:
        """Give all namespaces as JSON."""
        return self._json(extrapolate_statistics(self._namespaces()), indent=4, sort_keys=True)

    def metrics(self) -> bytes:
        """Give the site's numbers in Prometheus's text format, each marked with this process's id."""
        self._headers('text/plain;version=0.0.4;charset=utf-8')
        return _metrics(numbers_of(current().site), current().site.name).encode('utf-8', 'replace')

    def pause(self, namespace: str) -> NoReturn:
        """Stop the counting of a namespace; POST only."""
        self._switch(namespace, False)

    def resume(self, namespace: str) -> NoReturn:
        """Go on with the counting of a namespace; POST only."""
        self._switch(namespace, True)

    index.exposed = live.exposed = data.exposed = metrics.exposed = True  # type: ignore[attr-defined]
    pause.exposed = resume.exposed = True  # type: ignore[attr-defined]

    def _switch(self, namespace: str, enabled: bool) -> NoReturn:
        exchange = current()
        if exchange.request.method != 'POST':
            exchange.response.headers['Allow'] = 'POST'
            raise HTTPError(405)
        require_same_origin()
        if not isinstance(namespace, str):
            raise HTTPError(400, 'Only one namespace may be given.')
        found = self._namespaces().get(namespace)
        if not isinstance(found, dict):
            raise HTTPError(404, f'There is no namespace {namespace!r}.')
        found['Enabled'] = enabled
        raise HTTPRedirect('./')

    def _headers(self, content_type: str) -> Any:
        headers = current().response.headers
        headers['Content-Type'] = content_type
        headers['Cache-Control'] = 'no-store'
        headers['X-Content-Type-Options'] = 'nosniff'
        return headers

    def _json(self, value: Any, **options: Any) -> bytes:
        import json

        self._headers('application/json')
        return json.dumps(value, default=str, **options).encode()

    # -- namespaces

    def _namespaces(self) -> dict[str, Any]:
        """Give all namespaces, with the current site's applications in the place of the default site's."""
        site = current().site
        if site is default_site():
            return _statistics
        return {**_statistics, APPLICATIONS: numbers_of(site).namespace}

    def get_namespaces(self) -> Iterator[tuple[str, list[tuple[str, Any]], list[tuple[str, list[Any], list[Any]]]]]:
        """Give (title, scalars, collections) of each namespace: (name, value) and (name, headings, rows), formatted.

        A namespace is left out if it is no dict. The first heading of a dict of records is 'ID'.
        """
        for title, namespace in sorted(extrapolate_statistics(self._namespaces()).items()):
            if not isinstance(namespace, dict):
                continue
            formatting = self.formatting.get(title, {})
            scalars = []
            collections = []
            for name, value in sorted(namespace.items()):
                form = formatting.get(name, pause_resume(title) if name == 'Enabled' else '')
                if isinstance(value, dict):
                    headings, rows = self.get_dict_collection(value, form)
                    collections.append((name, ['ID', *headings], rows))
                elif isinstance(value, list):
                    collections.append((name, *self.get_list_collection(value, form)))
                elif form is not None:
                    scalars.append((name, _formatted(value, form)))
            yield title, scalars, collections

    def get_dict_collection(self, v: dict[Any, Any], formatting: Any) -> tuple[list[Any], list[list[Any]]]:
        """Give (headings, rows) of a dict of records; each row begins with the record's key."""
        headings = _headings(v.values(), formatting)
        return headings, [[key, *_row(record, headings, formatting)] for key, record in sorted(v.items(), key=_order)]

    def get_list_collection(self, v: list[Any], formatting: Any) -> tuple[list[Any], list[list[Any]]]:
        """Give (headings, rows) of a list of records."""
        headings = _headings(v, formatting)
        return headings, [_row(record, headings, formatting) for record in v]

    # -- the live page

    def _view(self) -> dict[str, Any]:
        """Give what the page shows, as texts, numbers for bars, and rows of texts."""
        numbers = numbers_of(current().site)
        latency = numbers.latencies()
        seconds = numbers.last_seconds()
        pages = numbers.page_records()
        slowest = sorted(pages.items(), key=lambda item: -item[1]['p95'])[:_ROWS]
        failing = sorted(pages.items(), key=lambda item: (-item[1]['Server Errors'], -item[1]['Client Errors']))
        with numbers.lock:
            counts = list(numbers.histogram.counts)
            slow = list(numbers.slow)
        share = numbers.errors / (numbers.requests or 1)
        open_records = numbers.open_records()
        return {
            'enabled': numbers.enabled,
            'texts': {
                'process': str(numbers.namespace['Process ID'](None)),
                'site': current().site.name,
                'version': numbers.namespace['Server Version'](None),
                'now': iso_format(time.time()),
                'since': iso_format(numbers.start_time()),
                'rate': f'{numbers.recent_rate(10):,.1f}',
                'rate-minute': f'{numbers.recent_rate(SECONDS):,.1f}',
                'requests': f'{numbers.requests:,}',
                'current': f'{len(numbers.open):,}',
                'streams': f'{len(numbers.open_streams()):,}',
                'p50': _seconds(latency['50 %']['Seconds']),
                'p95': _seconds(latency['95 %']['Seconds']),
                'p99': _seconds(latency['99 %']['Seconds']),
                'longest': _seconds(numbers.histogram.maximum),
                'errors': f'{numbers.errors:,}',
                'error-share': f'{share:.2%}',
                'client-errors': f'{numbers.client_errors:,}',
                'read': _size(numbers.bytes_read),
                'written': _size(numbers.bytes_written),
            },
            'bars': {'seconds': [list(pair) for pair in seconds], 'latency': [[count, 0] for count in counts]},
            'tables': {
                'slowest': [
                    [
                        name,
                        f'{page["Requests"]:,}',
                        *[_seconds(page[key]) for key in ('p50', 'p95', 'Max')],
                        _seconds(page['Sum']),
                    ]
                    for name, page in slowest
                ],
                'failing': [
                    [
                        name,
                        f'{page["Server Errors"]:,}',
                        f'{page["Client Errors"]:,}',
                        f'{(page["Server Errors"] + page["Client Errors"]) / page["Requests"]:.1%}',
                        page['Last Failure'],
                    ]
                    for name, page in failing[:_ROWS]
                    if page['Server Errors'] or page['Client Errors']
                ],
                'open': [
                    [
                        record['Request-Line'],
                        record['Client'],
                        _seconds(record['Processing Time']),
                        'streams' if record['Streams'] else 'works',
                    ]
                    for _, record in sorted(open_records.items())[:_ROWS]
                ],
                'slow': [_told(record, 'Processing Time') for record in slow[: -_ROWS - 1 : -1]],
                'failures': [
                    _told(record, 'Response Status') for record in numbers.failure_records()[: -_ROWS - 1 : -1]
                ],
            },
        }


def _told(record: dict[str, Any], key: str) -> list[str]:
    value = record[key]
    return [
        iso_format(record['Start Time']),
        record['Request-Line'],
        _seconds(value) if isinstance(value, float) else str(value),
        record['Client'],
    ]


def _order(item: tuple[Any, Any]) -> tuple[str, Any]:
    key = item[0]
    return ('', key) if isinstance(key, (int, float)) else (type(key).__name__, str(key))


def _headings(records: Any, formatting: Any) -> list[Any]:
    forms = formatting if isinstance(formatting, dict) else {}
    names = {name for record in records if isinstance(record, dict) for name in record}
    return sorted((name for name in names if forms.get(name, '') is not None), key=str)


def _row(record: Any, headings: list[Any], formatting: Any) -> list[Any]:
    if not isinstance(record, dict):
        return [record, *['' for _ in headings[1:]]]
    forms = formatting if isinstance(formatting, dict) else {}
    return [_formatted(record[name], forms.get(name, '')) if name in record else '' for name in headings]


def _formatted(value: Any, form: Any) -> Any:
    """Apply one entry of `formatting`; a value that the format does not suit is shown as it is."""
    if not form:
        return value
    try:
        return form(value) if callable(form) else form % (value,)
    except (TypeError, ValueError):
        return value


# -- Prometheus --------------------------------------------------------------------------------------------------


def _metrics(numbers: AppStatistics, site_name: str) -> str:
    """Write the numbers as metrics. Source: Prometheus's text exposition format, version 0.0.4."""
    own = {'pid': str(numbers.namespace['Process ID'](None)), **({'site': site_name} if site_name else {})}
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, samples: list[tuple[str, dict[str, str], Any]]) -> None:
        lines.append(f'# HELP cpadapter_{name} {text}')
        lines.append(f'# TYPE cpadapter_{name} {kind}')
        for suffix, labels, value in samples:
            pairs = ','.join(f'{key}="{_label(label)}"' for key, label in {**own, **labels}.items())
            lines.append(f'cpadapter_{name}{suffix}{{{pairs}}} {value}')

    def one(name: str, kind: str, text: str, value: Any) -> None:
        metric(name, kind, text, [('', {}, value)])

    streams = len(numbers.open_streams())
    pages = numbers.page_records()
    with numbers.lock:
        counts = list(numbers.histogram.counts)
        total = numbers.histogram.total
        requests, errors, client_errors = numbers.requests, numbers.errors, numbers.client_errors
    one('start_time_seconds', 'gauge', 'When the first request was counted.', round(numbers.start_time(), 3))
    one('counting', 'gauge', '1 while requests are counted, 0 while that is paused.', int(numbers.enabled))
    one('requests_in_progress', 'gauge', 'Requests being served.', len(numbers.open))
    one('open_streams', 'gauge', 'Responses being sent piece by piece.', streams)
    metric(
        'requests_total',
        'counter',
        'Requests answered, by kind of status.',
        [
            ('', {'status': '5xx'}, errors),
            ('', {'status': '4xx'}, client_errors),
            ('', {'status': 'other'}, requests - errors - client_errors),
        ],
    )
    one('streams_total', 'counter', 'Responses that were streams.', numbers.streams)
    one('request_bytes_total', 'counter', 'Bytes of the bodies of requests.', numbers.bytes_read)
    one('response_bytes_total', 'counter', 'Bytes of the bodies of responses, as far as known.', numbers.bytes_written)
    samples: list[tuple[str, dict[str, str], Any]] = []
    below = 0
    for bound, count in zip((*map(str, BOUNDS), '+Inf'), counts, strict=True):
        below += count
        samples.append(('_bucket', {'le': bound}, below))
    samples += [('_sum', {}, total), ('_count', {}, below)]
    metric('request_duration_seconds', 'histogram', 'Time that responses took, streams left out.', samples)
    for name, key, text in (
        ('page_requests_total', 'Requests', 'Requests by page handler.'),
        ('page_errors_total', 'Server Errors', 'Responses of status 500 and above by page handler.'),
        ('page_duration_seconds_total', 'Sum', 'Time that responses took by page handler, streams left out.'),
    ):
        metric(name, 'counter', text, [('', {'page': page}, record[key]) for page, record in pages.items()])
    return '\n'.join(lines) + '\n'


def _label(text: str) -> str:
    return text.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')
