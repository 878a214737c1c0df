"""Idle event streams: what each costs in memory, bare and by page handlers, on one process of uvicorn.

Each application is a server process of its own, started for its turn alone; the client is this process, which opens
the connections and then only holds them. A stream that does not begin, or ends, ends the run.
"""

from __future__ import annotations

import argparse
import os
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ['main']

_ROOT = Path(__file__).resolve().parents[2]
_APPS = ('bare_waiting', 'bare_subscribed', 'generator', 'channel')
_ABOUT = {
    'bare_waiting': 'a bare application that waits for the client to leave',
    'bare_subscribed': 'a bare application with a queue for each client',
    'generator': 'an async generator as page handler',
    'channel': 'a page handler that subscribes to a Channel',
}
_REQUEST = b'GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n'
# Connections that are opened before memory is first looked at, so that what is made once is not counted.
_WARM = 200
_AT_ONCE = 200
_PATIENCE = 60.0
# Descriptors that client and server need besides the connections.
_SPARE = 200


class _Idle(NamedTuple):
    """What one application's idle streams took: bytes a stream, seconds of CPU a second, milliseconds to a page."""

    bytes_each: float
    cpu: float
    answer_ms: float


def _raise_limit(wanted: int) -> int:
    """Allow this process, and those it starts, `wanted` descriptors; give how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _memory_of(pid: int) -> int:
    """Give the resident memory of a process, in bytes."""
    with open(f'/proc/{pid}/status') as file:
        for line in file:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) * 1024
    raise SystemExit('the server has ended')


def _cpu_of(pid: int) -> float:
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class _Clients:
    """Connections, each with one stream on it."""

    def __init__(self, port: int, name: str) -> None:
        self.port = port
        self.request = _REQUEST % name.encode()
        self.open: list[socket.socket] = []

    def grow(self, count: int) -> None:
        """Open streams until there are `count`, some at once; each has told its first event."""
        deadline = time.monotonic() + _PATIENCE
        while len(self.open) < count:
            with selectors.DefaultSelector() as waiting:
                for _ in range(min(_AT_ONCE, count - len(self.open))):
                    sock = socket.create_connection(('127.0.0.1', self.port), 10)
                    self.open.append(sock)
                    sock.sendall(self.request)
                    sock.setblocking(False)
                    waiting.register(sock, selectors.EVENT_READ, bytearray())
                while waiting.get_map():
                    if time.monotonic() > deadline:
                        raise SystemExit(f'{len(waiting.get_map())} streams have not begun')
                    for key, _ in waiting.select(1):
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        if not data:
                            raise SystemExit(f'a stream ended after {bytes(key.data)!r}')
                        key.data.extend(data)
                        if b'data: first\n\n' in key.data:
                            waiting.unregister(key.fileobj)

    def close(self) -> None:
        for sock in self.open:
            sock.close()
        self.open.clear()


def _answer_ms(port: int, name: str) -> float:
    """Give the milliseconds from a new connection to the first event."""
    started = time.perf_counter()
    clients = _Clients(port, name)
    clients.grow(1)
    took = time.perf_counter() - started
    clients.close()
    return took * 1000


def _measure(name: str, count: int, hold: float) -> _Idle:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port: int = sock.getsockname()[1]
    words = ['uvicorn', '--host', '127.0.0.1', '--port', str(port), '--log-level', 'warning']
    words.append(f'tests.bench.idle_pages:{name if name.startswith("bare") else "pages"}')
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, '-m', *words], cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, 'PYTHONPATH': str(_ROOT)},
        )  # fmt: skip
        clients = _Clients(port, name)
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(('127.0.0.1', port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        output.seek(0)
                        raise SystemExit(f'{name} does not serve: {output.read().decode()}') from None
                    time.sleep(0.05)
            clients.grow(_WARM)
            time.sleep(1)
            before = _memory_of(process.pid)
            clients.grow(_WARM + count)
            time.sleep(1)
            each = (_memory_of(process.pid) - before) / count
            busy = _cpu_of(process.pid)
            time.sleep(hold)
            return _Idle(each, (_cpu_of(process.pid) - busy) / hold, _answer_ms(port, name))
        finally:
            clients.close()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(arguments: list[str]) -> None:
    """Run `python -m tests.bench idle`."""
    parser = argparse.ArgumentParser(prog='python -m tests.bench idle', description=__doc__)
    parser.add_argument('--connections', type=int, default=10_000)
    parser.add_argument('--hold', type=float, default=20, help='seconds for which CPU time is looked at')
    parser.add_argument('--apps', default=','.join(_APPS), help='only these, by commas')
    options = parser.parse_args(arguments)
    count = options.connections
    allowed = _raise_limit(count + _WARM + _SPARE)
    if allowed < count + _WARM + _SPARE:
        count = allowed - _WARM - _SPARE
        print(f'this machine allows {allowed} open files: {count} connections in place of {options.connections}')
    print(f'{count} idle event streams on one process of uvicorn\n')
    print(f'{"":<16} {"kB each":>8} {"CPU":>7} {"answer":>9}')
    for name in options.apps.split(','):
        idle = _measure(name, count, options.hold)
        print(
            f'{name:<16} {idle.bytes_each / 1024:>8.1f} {idle.cpu * 100:>6.1f}% {idle.answer_ms:>6.1f} ms'
            f'  {_ABOUT[name]}',
            flush=True,
        )
