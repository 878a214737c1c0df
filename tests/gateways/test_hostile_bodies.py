"""Requests made to cost much are answered at once, by what they deserve, out of a memory that stays what it was.

In process through both gateways, then through real servers. Times are printed by `python -m tests.bench --hostile`.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from hostile_bodies import CASES, make_root
from live import Live, command, free_port, read_all

MEGABYTE = 1 << 20
# What one request may add to the resident memory of its process, beside what it makes the gateway hold of its head.
ROOM = 24 * MEGABYTE
# Far above what any of them takes: only to tell slow from stuck.
SECONDS = 10

on_linux = pytest.mark.skipif(sys.platform != 'linux', reason='memory is read from /proc')


class Memory:
    """The most that processes had in memory since this was made, more than then; in bytes."""

    def __init__(self, *pids):
        self.before = {}
        for pid in pids:
            # Sets the peak back to what is resident now.
            Path(f'/proc/{pid}/clear_refs').write_text('5')
            self.before[pid] = self.read(pid, 'VmRSS')

    def read(self, pid, field):
        with open(f'/proc/{pid}/status', encoding='ascii') as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

    @property
    def grown(self):
        return max(self.read(pid, 'VmHWM') - before for pid, before in self.before.items())


def room(case, pieces=()):
    head = len(case.path) + sum(map(len, case.headers.values()))
    return ROOM + 6 * head + 3 * max(map(len, pieces), default=0)


@on_linux
@pytest.mark.parametrize('colour', ['plain', 'later'])
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.ident)
def test_a_hostile_request_is_answered_and_leaves_the_memory_alone(client, case, colour):
    client.mount(make_root())
    more = {}
    if case.body is not None:
        data = case.body()
        more['body'] = data
        more['pieces'] = [data[i : i + case.piece] for i in range(0, len(data), case.piece)]
    client.get('/')
    memory = Memory('self')
    began = time.monotonic()
    answer = client.request(
        'GET' if case.body is None else 'POST', f'/{colour}{case.path}', headers=case.headers, validated=False, **more
    )
    took = time.monotonic() - began
    grown = memory.grown
    assert answer.status in case.statuses, answer
    assert b'Traceback' not in answer.body
    assert not [line for line in client.errors if 'Traceback' in line]
    assert grown < room(case, more.get('pieces', ())), f'{grown / MEGABYTE:.1f} MB'
    assert took < SECONDS
    assert client.get('/').text == 'well'


# --- real servers ---


@pytest.fixture(scope='module', params=['uvicorn', 'gunicorn-gthread'])
def server(request, tmp_path_factory):
    name = request.param
    pytest.importorskip(name.partition('-')[0])
    folder = tmp_path_factory.mktemp(name)
    port = free_port()
    here = Path(__file__).parent
    live = Live(command(name, 'hostile_bodies:application', port), port, here, folder / 'output', TMPDIR=str(folder))
    try:
        live.ready()
        assert live.get('/').text == 'well'
        yield live
    finally:
        live.kill()


def processes(pid):
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return [pid, *(one for child in children for one in processes(int(child)))]


def framed(case, colour):
    """Give the request's bytes: a head, and a body whose pieces of one byte are chunks."""
    lines = [f'{"GET" if case.body is None else "POST"} /{colour}{case.path} HTTP/1.1', 'Host: localhost']
    lines += [f'{name}: {value}' for name, value in case.headers.items()]
    body = b''
    if case.body is not None:
        body = case.body()
        if case.piece == 1:
            lines.append('Transfer-Encoding: chunked')
            body = b''.join([b'1\r\n%c\r\n' % byte for byte in body]) + b'0\r\n\r\n'
        else:
            lines.append(f'Content-Length: {len(body)}')
    return '\r\n'.join([*lines, 'Connection: close', '', '']).encode('latin-1') + body


def ask(server, request):
    """Send bytes while reading what comes; give the status, None if the server closes without one."""
    with server.socket(SECONDS) as sock:

        def send():
            try:
                sock.sendall(request)
            except OSError:
                pass  # the server has answered and closed: what it answered is what counts

        sender = threading.Thread(target=send)
        sender.start()
        answer = read_all(sock)
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already
        sender.join(SECONDS)
        assert not sender.is_alive()
    assert b'Traceback' not in answer
    return int(answer[9:12]) if answer.startswith(b'HTTP/1.') else None


@pytest.mark.live
@on_linux
@pytest.mark.parametrize('colour', ['plain', 'later'])
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.ident)
def test_a_hostile_request_does_a_server_no_harm(server, case, colour):
    request = framed(case, colour)
    memory = Memory(*processes(server.pid))
    began = time.monotonic()
    status = ask(server, request)
    took = time.monotonic() - began
    # A head too long is for the server to refuse, by whatever it has for that.
    assert status in case.statuses or (case.in_head and status in (None, 400, 413, 414, 431)), status
    assert took < SECONDS
    assert memory.grown < room(case)
    assert server.get('/').text == 'well'
    assert 'Traceback' not in server.printed
