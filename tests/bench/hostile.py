"""Requests made to cost much: how long each takes in process, and what it adds to the memory of the process.

The requests are those of tests/gateways/hostile_bodies.py, which the tests send too; these are the figures.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..gateways.hostile_bodies import CASES, Case, application

__all__ = ['print_hostile']


def _parts(case: Case, colour: str) -> tuple[str, str, str, bytes]:
    path, _, query = f'/{colour}{case.path}'.partition('?')
    return 'GET' if case.body is None else 'POST', path, query, b'' if case.body is None else case.body()


class _Stream:
    def __init__(self, data: bytes, piece: int) -> None:
        self.data, self.piece, self.at = data, piece, 0

    def read(self, size: int = -1) -> bytes:
        size = self.piece if size < 0 else min(size, self.piece)
        data = self.data[self.at : self.at + size]
        self.at += len(data)
        return data


def _wsgi(case: Case, colour: str) -> Callable[[], int]:
    method, path, query, data = _parts(case, colour)
    environ: dict[str, Any] = {
        'REQUEST_METHOD': method, 'SCRIPT_NAME': '', 'PATH_INFO': path, 'QUERY_STRING': query, 'SERVER_NAME': 'h',
        'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'HTTP_HOST': 'h', 'wsgi.version': (1, 0),
        'wsgi.url_scheme': 'http', 'wsgi.input': _Stream(data, case.piece), 'wsgi.errors': sys.stderr,
        'wsgi.multithread': True, 'wsgi.multiprocess': False, 'wsgi.run_once': False,
    }  # fmt: skip
    for name, value in case.headers.items():
        key = name.upper().replace('-', '_')
        environ[key if key == 'CONTENT_TYPE' else f'HTTP_{key}'] = value
    if case.body is not None:
        environ['CONTENT_LENGTH'] = str(len(data))

    def call() -> int:
        heads: list[str] = []
        chunks: Any = application(environ, lambda status, headers, exc_info=None: heads.append(status))
        try:
            for _ in chunks:
                pass
        finally:
            if hasattr(chunks, 'close'):
                chunks.close()
        return int(heads[0][:3])

    return call


def _asgi(case: Case, colour: str) -> Callable[[], int]:
    method, path, query, data = _parts(case, colour)
    headers = [(b'host', b'h')]
    headers += [(name.lower().encode(), value.encode('latin-1')) for name, value in case.headers.items()]
    if case.body is not None:
        headers.append((b'content-length', b'%d' % len(data)))
    scope = {
        'type': 'http', 'asgi': {'version': '3.0'}, 'http_version': '1.1', 'method': method, 'scheme': 'http',
        'path': path, 'raw_path': path.encode(), 'query_string': query.encode(), 'headers': headers,
    }  # fmt: skip
    pieces = [data[i : i + case.piece] for i in range(0, len(data), case.piece)][::-1] or [b'']
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        if pieces:
            return {'type': 'http.request', 'body': pieces.pop(), 'more_body': bool(pieces)}
        await asyncio.sleep(3600)
        return {'type': 'http.disconnect'}

    async def send(message: dict[str, Any]) -> None:
        if 'status' in message:
            statuses.append(message['status'])

    def call() -> int:
        _loop().run_until_complete(application(scope, receive, send))
        return statuses[0]

    return call


_loops: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    if not _loops:
        _loops.append(asyncio.new_event_loop())
    return _loops[0]


def _memory(field: str) -> int:
    for line in Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def print_hostile() -> None:
    """Print a line for each request: status, milliseconds and MB for each gateway and colour of page handler."""
    import cpadapter

    cpadapter.config.update({'log.screen': False})
    linux = sys.platform == 'linux'
    ways = [(f'{gateway.__name__[1:]} {colour}', gateway, colour) for gateway in (_wsgi, _asgi) for colour in
            ('plain', 'later')]  # fmt: skip
    for _, gateway, colour in ways:
        gateway(CASES[0], colour)()
    print(f'{"status, ms, MB added":<40}' + ''.join(f'{name:>21}' for name, _, _ in ways))
    for case in CASES:
        row = f'{case.ident:<40}'
        for _, gateway, colour in ways:
            call = gateway(case, colour)
            if linux:
                Path('/proc/self/clear_refs').write_text('5')
            before = _memory('VmRSS') if linux else 0
            begun = time.perf_counter()
            status = call()
            took = time.perf_counter() - begun
            added = (_memory('VmHWM') - before) / 1024 if linux else 0.0
            right = ' ' if status in case.statuses else '!'
            row += f'{status:>5}{right}{took * 1e3:>8.1f}{added:>7.1f}'
        print(row, flush=True)
    _loop().close()
