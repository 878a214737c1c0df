"""Real servers in processes of their own, on free ports of 127.0.0.1, for tests: started, asked, ended, always in time.

It knows how each server is called from the command line, and nothing of what the application does. Processes are
ended by their own id, and what they print is kept in a file, so that no pipe can fill up. What Python says there of
things left open or never awaited fails the test, as it would in the test's own process.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What follows the interpreter; {app} is module:name. A `-c` program stands for a server without a command line.
WSGIREF = """
import sys
from pkgutil import resolve_name
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

sys.path.insert(0, '')
with make_server('127.0.0.1', {port}, resolve_name({app!r}), Server) as server:
    server.serve_forever()
"""
WERKZEUG = """
import sys
from pkgutil import resolve_name
from werkzeug.serving import run_simple

sys.path.insert(0, '')
run_simple('127.0.0.1', {port}, resolve_name({app!r}), threaded=True)
"""
GUNICORN = '-m gunicorn --no-control-socket --bind 127.0.0.1:{port}'
COMMANDS = {
    'gunicorn': f'{GUNICORN} {{app}}',
    'gunicorn-2-workers': f'{GUNICORN} --workers 2 {{app}}',
    'gunicorn-gthread': f'{GUNICORN} -k gthread --threads 8 {{app}}',
    'gunicorn-asgi': f'{GUNICORN} -k asgi {{app}}',
    'uvicorn': '-m uvicorn --host 127.0.0.1 --port {port} {app}',
    'hypercorn': '-m hypercorn --bind 127.0.0.1:{port} {app}',
    'waitress': '-m waitress --listen=127.0.0.1:{port} {app}',
    'granian-asgi': '-m granian --interface asgi --host 127.0.0.1 --port {port} {app}',
    'granian-wsgi': '-m granian --interface wsgi --host 127.0.0.1 --port {port} --blocking-threads 4 {app}',
    'cheroot': '-m cheroot --bind 127.0.0.1:{port} {app}',
    'wsgiref': WSGIREF,
    'werkzeug': WERKZEUG,
}

# What Python can only print: nothing of it may come of an application or of cpadapter.
LEFT = re.compile(r'^.*(?:ResourceWarning: |was never awaited|was never retrieved|was destroyed but it is).*$', re.M)
# What server packages themselves leave open when they end: sockets of their own port, clients' connections (cpadapter
# makes none), gunicorn's file for each worker, waitress's file_wrapper.
THEIRS = (
    r"<socket\.socket .*laddr=\('127\.0\.0\.1', {port}\)|unclosed transport <_SelectorSocketTransport "
    r"|<_io\.FileIO name=\d+ mode='rb\+'|<waitress\.wasyncore\."
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port: int = sock.getsockname()[1]
        return port


def command(name: str, app: str, port: int, *options: str) -> list[str]:
    """Give the command line that serves `app` (module:name) by the server `name`."""
    template = COMMANDS[name]
    if template.startswith('-'):
        *words, target = template.format(port=port, app=app).split()
        return [sys.executable, *words, *options, target]
    return [sys.executable, '-c', template.format(port=port, app=app)]


class Answer:
    """A response: status, headers (names in lower case; the last of a name counts), body."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode('utf-8')

    def json(self):
        import json

        return json.loads(self.body)

    def __repr__(self) -> str:
        return f'<Answer {self.status} {self.headers} {self.body[:300]!r}>'


class Live:
    """A program that serves on `port`; `output` is a file for all it prints."""

    def __init__(self, words: list[str], port: int, cwd: Path, output: Path, **environ: str) -> None:
        self.words = words
        self.port = port
        self.output = output
        path = os.pathsep.join([str(ROOT), str(cwd)])
        inherited = {k: v for k, v in os.environ.items() if k not in ('GUNICORN_CMD_ARGS', 'WEB_CONCURRENCY', 'PORT')}
        with output.open('wb') as file:
            self.process = subprocess.Popen(
                words,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**inherited, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1', **environ},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def printed(self) -> str:
        return self.output.read_text(encoding='utf-8', errors='replace')

    def until(self, true, timeout: float = 10, what: str = 'what was awaited'):
        """Wait until `true()` gives something true, and give that; the process must live on meanwhile."""
        deadline = time.monotonic() + timeout
        while True:
            value = true()
            if value:
                return value
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                pass
            else:
                value = true()
                if value:
                    return value
                raise AssertionError(f'The program ended with {self.process.returncode}:\n{self.printed}')
            assert time.monotonic() < deadline, f'{what}: not within {timeout} s:\n{self.printed}'

    def connects(self) -> bool:
        try:
            socket.create_connection(('127.0.0.1', self.port), 1).close()
        except OSError:
            return False
        return True

    def ready(self) -> Live:
        """Wait until connections are accepted."""
        self.until(self.connects, 20, 'accepting connections')
        return self

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM, timeout: float = 10) -> int:
        """Send a signal, wait for the end, give the exit code; AssertionError if it does not come in time."""
        self.send(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 10) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'The program has not ended within {timeout} s:\n{self.printed}') from None

    def kill(self) -> None:
        """Make sure that all that was started is gone; AssertionError if it told of something left open."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of its session have ended
        self.process.wait(10)
        theirs = re.compile(THEIRS.format(port=self.port))
        left = [line for line in LEFT.findall(self.printed) if not theirs.search(line)]
        assert not left, left

    # ------------------------------------------------------------------ asking

    def connection(self, timeout: float = 10) -> http.client.HTTPConnection:
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)

    def socket(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(('127.0.0.1', self.port), timeout)

    def request(self, method: str, path: str, body=None, headers=(), connection=None) -> Answer:
        """Ask once, on a connection of its own unless one is given."""
        with contextlib.ExitStack() as stack:
            if connection is None:
                connection = stack.enter_context(contextlib.closing(self.connection()))
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())

    def get(self, path: str, **more) -> Answer:
        return self.request('GET', path, **more)

    def raw(self, request: bytes, timeout: float = 10) -> bytes:
        """Send bytes, give all that comes until the server closes the connection."""
        with self.socket(timeout) as sock:
            sock.sendall(request)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """Give what comes until the peer closes; a reset ends it like a close."""
    chunks = []
    try:
        while chunk := sock.recv(65536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass  # what was sent before the reset is what counts
    return b''.join(chunks)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    import struct

    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()
