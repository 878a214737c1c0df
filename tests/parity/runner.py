"""A case, how it is sent to a site through WSGI, and what of the answer is compared.

What two packages may rightly say in their own words (the layout of an error page, a traceback, a version, the
package's own name) is reduced here to what must be equal. Knows nothing of the application or of the cases.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import application

__all__ = ['Answer', 'Case', 'Side']

Answer = dict[str, Any]

COMPARED_HEADERS = ('Location', 'Allow', 'Content-Type', 'Content-Length', 'Set-Cookie')


@dataclass(frozen=True)
class Case:
    """One request, or one call of a probe, against one variant of the application.

    id: starts with the section of the rule it shows.
    path: PATH_INFO after the server unquoted it; text is sent as UTF-8, bytes as they are.
    environ: keys to set in the environ after everything else; None deletes one.
    call: name of a probe to run outside of any request, instead of sending the request.
    show: names of further headers to compare. ignore: parts of the answer not to compare.
    """

    id: str
    path: str | bytes = '/'
    query: str = ''
    method: str = 'GET'
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    variant: str = 'base'
    environ: dict[str, Any] = field(default_factory=dict)
    call: str = ''
    show: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class Side:
    """One of the two packages, with the variant of the application built last."""

    def __init__(self, module: Any, folder: Path) -> None:
        self.module = module
        self.folder = folder
        self.variant = ''
        self.site = application.Site(module, folder)

    def answer(self, case: Case) -> Answer:
        """Build the case's variant if another one stands, and give what the case yields."""
        if self.variant != case.variant:
            self.variant = ''
            self.site = application.build(self.module, case.variant, self.folder)
            self.variant = case.variant
        if case.call:
            return {'status': 'probe', 'headers': [], 'body': self._probe(case.call)}
        return self._send(case)

    def _probe(self, name: str) -> str:
        try:
            return reduce_text(self.site.probes[name]())
        except Exception as exc:  # a probe may well show that something raises
            return reduce_text(f'{type(exc).__name__}: {exc}')

    def _send(self, case: Case) -> Answer:
        sent: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            sent.append((status, headers))
            return lambda data: None

        try:
            body = collect(self.site.wsgi(make_environ(case), start_response))
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt) and not sent and case.path != '/throws':
                raise
            return {'status': f'raised {type(exc).__name__}', 'headers': [], 'body': reduce_text(str(exc))}
        status, headers = sent[-1]
        return reduce_answer(status, headers, body, case)


def make_environ(case: Case) -> dict[str, Any]:
    path = case.path if isinstance(case.path, bytes) else case.path.encode('utf-8')
    environ: dict[str, Any] = {
        'REQUEST_METHOD': case.method,
        'SCRIPT_NAME': '',
        'PATH_INFO': path.decode('latin-1'),
        'QUERY_STRING': case.query,
        'SERVER_NAME': 'server.name',
        'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1',
        'REMOTE_ADDR': '192.0.2.7',
        'REMOTE_PORT': '4444',
        'HTTP_HOST': 'h',
        'wsgi.version': (1, 0),
        'wsgi.url_scheme': 'http',
        'wsgi.input': io.BytesIO(case.body or b''),
        'wsgi.errors': sys.stderr,
        'wsgi.multithread': True,
        'wsgi.multiprocess': False,
        'wsgi.run_once': False,
    }
    if case.body is not None:
        environ['CONTENT_LENGTH'] = str(len(case.body))
        environ['CONTENT_TYPE'] = 'application/x-www-form-urlencoded'
    for name, value in case.headers.items():
        key = name.upper().replace('-', '_')
        environ[key if key in ('CONTENT_TYPE', 'CONTENT_LENGTH') else f'HTTP_{key}'] = value
    for key, value in case.environ.items():
        if value is None:
            environ.pop(key, None)
        else:
            environ[key] = value
    return environ


def collect(chunks: Any) -> bytes:
    try:
        return b''.join(chunks)
    finally:
        close = getattr(chunks, 'close', None)
        if close is not None:
            close()


def reduce_answer(status: str, headers: list[tuple[str, str]], body: bytes, case: Case) -> Answer:
    try:
        text = body.decode('utf-8')
    except UnicodeDecodeError:
        text = body.decode('latin-1')
    reduced = reduce_error_page(text)
    names = {name.lower() for name in (*COMPARED_HEADERS, *case.show)} - {name.lower() for name in case.ignore}
    if reduced is not None or (case.method == 'HEAD' and status >= '4'):
        # The length of a page in each package's own words.
        names.discard('content-length')
    kept = sorted(
        [name.title(), reduce_text(value)]
        for name, value in headers
        if name.lower() in names
        or (name.lower().startswith('x-') and name.lower() not in ('x-content-type-options', *case.ignore))
    )
    if 'body' in case.ignore:
        reduced = '[ignored]'
    return {'status': status, 'headers': kept, 'body': reduce_text(text) if reduced is None else reduced}


ERROR_PAGE = re.compile(r'<h2>(?P<status>[^<]*)</h2>.*?<p>(?P<message>.*?)</p>(?P<rest>.*)', re.DOTALL)
TRACEBACK = re.compile(r'<pre id="traceback"[^>]*>(.*?)</pre>', re.DOTALL)
UNRECOVERABLE = 'Unrecoverable error in the server.'
DATE = re.compile(r'\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT')


def reduce_error_page(text: str) -> str | None:
    """Give the status, message and the presence of a traceback of an error page; None for any other body."""
    if UNRECOVERABLE in text:
        return text.partition(UNRECOVERABLE)[0] + '[unrecoverable]' + (' [traceback]' if 'Traceback' in text else '')
    match = ERROR_PAGE.search(text)
    if match is None or 'id="traceback"' not in text:
        return None
    traceback = TRACEBACK.search(text)
    shown = ' [traceback]' if traceback and traceback[1].strip() else ''
    return f'[error page] {match["status"]} | {reduce_text(match["message"].strip())}{shown}'


def reduce_text(text: str) -> str:
    """Replace what differs from run to run, and each package's own name, by fixed words."""
    text = DATE.sub('[date]', text)
    text = re.sub(r'0x[0-9a-f]{6,}', '0x', text)
    text = re.sub(r'session_id=\w+', 'session_id=[id]', text)
    text = re.sub(r"<class '(?:\w+\.)+(\w+)'>", r"<class '\1'>", text)
    text = re.sub(r'(?i)\b(cherrypy|cpadapter)/[0-9][\w.]*', '[version]', text)
    text = re.sub(r'\b(cpadapter\.errors|cherrypy\._cperror)\.', '', text)
    return re.sub(r'\bcpadapter\b', 'cherrypy', text)
