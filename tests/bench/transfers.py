"""Uploads over a socket: `upload` compares their speed with CherryPy's own server, `latency` looks at the event loop.

Each server is a process of its own, started for its turn alone; the client is this process, which only sends. A
wrong answer ends the run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

__all__ = ['main']

_ROOT = Path(__file__).resolve().parents[2]
_MEGABYTE = 1 << 20
_APP = 'tests.bench.transfer_pages:application'
_GUNICORN = ['gunicorn', '--no-control-socket', '--bind', '127.0.0.1:{port}', '--timeout', '600']
_SERVERS = {
    'cherrypy': ['tests.bench.transfer_pages', '{port}'],
    'gunicorn': [*_GUNICORN, '-k', 'gthread', '--threads', '8', _APP],
    'gunicorn-asgi': [*_GUNICORN, '-k', 'asgi', _APP],
    'uvicorn': ['uvicorn', '--host', '127.0.0.1', '--port', '{port}', '--log-level', 'warning', _APP],
}
# One megabyte each. Bytes of packed files have a line feed now and then; text has many; an empty image has none.
_CONTENTS = {
    'packed': Random(1).randbytes(_MEGABYTE),
    'text': (b'A line of text of some length, as there are many in a log file or in a table.\r\n' * 15000)[:_MEGABYTE],
    'zeros': bytes(_MEGABYTE),
}
_PATIENCE = 600.0


@contextmanager
def _serving(name: str) -> Iterator[int]:
    """Run a server and give its port; uploads go to a folder of its own, which is removed."""
    with socket.socket() as sock, tempfile.TemporaryDirectory() as folder:
        sock.bind(('127.0.0.1', 0))
        port: int = sock.getsockname()[1]
        sock.close()
        words = [word.format(port=port) for word in _SERVERS[name]]
        environ = {**os.environ, 'TMPDIR': folder, 'PYTHONPATH': str(_ROOT)}
        with open(os.path.join(folder, 'output'), 'wb') as output:
            process = subprocess.Popen(
                [sys.executable, '-m', *words], cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environ,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(('127.0.0.1', port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise SystemExit(f'{name} does not serve') from None
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ask(port: int, head: str, length: int, pieces: Iterator[bytes]) -> tuple[bytes, float]:
    """Send one request, give the body of its answer and the seconds from the first byte sent to the last received."""
    with socket.create_connection(('127.0.0.1', port), _PATIENCE) as sock:
        began = time.perf_counter()
        sock.sendall(f'{head}Host: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n'.encode())
        for piece in pieces:
            sock.sendall(piece)
        received = []
        while data := sock.recv(65536):
            received.append(data)
        took = time.perf_counter() - began
    first, _, body = b''.join(received).partition(b'\r\n\r\n')
    if b' 200 ' not in first.split(b'\r\n')[0]:
        raise SystemExit(f'wrong answer: {first[:500]!r}')
    return body, took


def _get(port: int, path: str) -> bytes:
    return _ask(port, f'GET {path} HTTP/1.1\r\n', 0, iter(()))[0]


def _upload(port: int, path: str, megabytes: int, content: bytes, multipart: bool) -> float:
    """Upload so many megabytes and give the seconds that took."""
    kind, start, end = 'application/octet-stream', b'', b''
    if multipart:
        kind = 'multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW'
        start = (
            b'------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n'
            b'Content-Disposition: form-data; name="file"; filename="large.bin"\r\n'
            b'Content-Type: application/octet-stream\r\n\r\n'
        )
        end = b'\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n'

    def pieces() -> Iterator[bytes]:
        yield start
        for _ in range(megabytes):
            yield content
        yield end

    size = megabytes * _MEGABYTE
    head = f'POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\n'
    body, took = _ask(port, head, len(start) + size + len(end), pieces())
    # CherryPy and our own page may answer in chunks: the number stands in it either way.
    if str(size).encode() not in body:
        raise SystemExit(f'wrong answer: {body[:500]!r} for {size} bytes')
    return took


def _available(names: list[str]) -> list[str]:
    able = [name for name in names if importlib.util.find_spec(name.partition('-')[0]) is not None]
    for name in names:
        if name not in able:
            print(f'{name}: not available')
    return able


def _compare(servers: list[str], contents: list[str], megabytes: int) -> None:
    print(f'{megabytes} MB as multipart/form-data, read by the page handler:\n')
    print(f'{"content":<8} {"server":<14} {"MB/s":>7}  times CherryPy')
    for content in contents:
        theirs = None
        for name in servers:
            with _serving(name) as port:
                _upload(port, '/upload', 1, _CONTENTS[content], True)
                speed = megabytes / _upload(port, '/upload', megabytes, _CONTENTS[content], True)
            if name == 'cherrypy':
                theirs = speed
            ratio = f'x{speed / theirs:.1f}' if theirs else '-'
            print(f'{content:<8} {name:<14} {speed:7.1f}  {ratio}', flush=True)


def _probe(servers: list[str], megabytes: int) -> None:
    print(f'Lag of the event loop while {megabytes} MB come, looked at every 5 ms:\n')
    print(f'{"server":<14} {"page":<28} {"looks":>6} {"p99 ms":>7} {"max ms":>7} {"MB/s":>7}')
    pages = [
        ('idle', '', False),
        ('multipart, sync handler', '/upload', True),
        ('multipart, async handler', '/upload_later', True),
        ('raw, sync handler', '/raw', False),
        ('raw, async handler', '/raw_later', False),
    ]
    for name in servers:
        with _serving(name) as port:
            for about, path, multipart in pages:
                if path:
                    _upload(port, path, 1, _CONTENTS['packed'], multipart)
                _get(port, '/start')
                if path:
                    speed = f'{megabytes / _upload(port, path, megabytes, _CONTENTS["packed"], multipart):7.1f}'
                else:
                    time.sleep(1)
                    speed = f'{"-":>7}'
                lags = sorted(json.loads(_get(port, '/stop')))
                most, p99 = lags[-1] * 1e3, lags[len(lags) * 99 // 100] * 1e3
                print(f'{name:<14} {about:<28} {len(lags):>6} {p99:7.1f} {most:7.1f} {speed}', flush=True)


def main(arguments: list[str]) -> None:
    """Read the command line after `python -m tests.bench` and run."""
    parser = argparse.ArgumentParser(prog='python -m tests.bench', description=__doc__)
    parser.add_argument('what', choices=['upload', 'latency'])
    parser.add_argument('--megabytes', type=int, metavar='N', help='of one upload; 1024, or 200 for latency')
    parser.add_argument('--servers', metavar='A,B', help=f'of {", ".join(_SERVERS)}')
    parser.add_argument('--contents', metavar='A,B', default='packed', help=f'of {", ".join(_CONTENTS)}')
    options = parser.parse_args(arguments)
    if options.servers is not None:
        servers = options.servers.split(',')
    else:
        servers = list(_SERVERS) if options.what == 'upload' else ['uvicorn', 'gunicorn-asgi']
    for word, known in [
        *((name, _SERVERS) for name in servers),
        *((c, _CONTENTS) for c in options.contents.split(',')),
    ]:
        if word not in known:
            parser.error(f'no {word!r}; there are: {", ".join(known)}')
    if options.what == 'upload':
        _compare(_available(servers), options.contents.split(','), options.megabytes or 1024)
    else:
        _probe(_available(servers), options.megabytes or 200)
