"""What systemd gives a program and hears of it, played by this test: a socket passed on, and a socket for datagrams."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from cpadapter.core.engine import Engine, StartRefused
from cpadapter.core.server import Server
from cpadapter.process import systemd
from cpadapter.server_adapters import settings
from tests.live import ROOT, read_all

TIMEOUT = 20

# Stands for systemd: the socket becomes descriptor 3 of the very process that then runs the program.
PASS_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

PROGRAM = """
import sys
import cpadapter

class Root:
    @cpadapter.expose
    def index(self):
        return 'page'

    @cpadapter.expose
    def again(self):
        cpadapter.engine.restart()
        return 'again'

cpadapter.config.update({'server.adapter': sys.argv[1], 'server.socket_port': int(sys.argv[2]), 'checker.on': False})
if sys.argv[3:] == ['fails']:
    def fails():
        raise LookupError('not foreseen')
    cpadapter.engine.subscribe('start', fails, 90)
cpadapter.quickstart(Root())
"""


@pytest.fixture
def listener():
    """A listening socket, as the manager opens it."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen(16)
        yield sock


@pytest.fixture
def notified(tmp_path):
    """A socket for what a service has to tell; `notified.path` is for NOTIFY_SOCKET."""

    class Notified(socket.socket):
        path = str(tmp_path / 'notify')

        def next(self):
            return self.recv(4096).decode().split('\n')

    with Notified(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(sock.path)
        sock.settimeout(TIMEOUT)
        yield sock


@pytest.fixture
def run(tmp_path):
    """Run a program with a descriptor passed on or not; it is gone when the test ends."""
    started = []

    def _run(*words, passed=None, **environ):
        command = [sys.executable, *words]
        if passed is not None:
            command = [sys.executable, '-c', PASS_ON, str(passed.fileno()), *words]
        with (tmp_path / 'output').open('wb') as output:
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env={**os.environ, 'PYTHONPATH': str(ROOT), **environ},
                pass_fds=() if passed is None else (passed.fileno(),),
                start_new_session=True,
            )
        started.append(process)
        return process

    yield _run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)


def get(port, path='/'):
    with contextlib.closing(http.client.HTTPConnection('127.0.0.1', port, timeout=TIMEOUT)) as connection:
        connection.request('GET', path)
        return connection.getresponse().read().decode()


def activate(monkeypatch, sockets):
    """Make this process one that was given these sockets; they stand at descriptors of their own."""
    numbers = [sock.fileno() for sock in sockets]
    first = 3 if not numbers else min(numbers)
    assert numbers == list(range(first, first + len(numbers)))
    monkeypatch.setattr(systemd, 'FIRST_DESCRIPTOR', first)
    monkeypatch.setattr(systemd, '_taken', {})
    monkeypatch.setenv('LISTEN_PID', str(os.getpid()))
    monkeypatch.setenv('LISTEN_FDS', str(len(numbers)))


@pytest.fixture
def sockets():
    """Two listening sockets at descriptors that follow each other."""
    made = [socket.socket() for _ in range(2)]
    first = 200
    placed = []
    for offset, sock in enumerate(made):
        sock.bind(('127.0.0.1', 0))
        sock.listen(1)
        os.dup2(sock.fileno(), first + offset)
        sock.close()
        placed.append(socket.socket(fileno=first + offset))
    yield placed
    for sock in placed:
        sock.close()


# -- Sockets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('environ', [{}, {'LISTEN_PID': '1', 'LISTEN_FDS': '1'}, {'LISTEN_FDS': '1'}])
def test_a_process_that_was_given_nothing_binds_by_itself(monkeypatch, environ):
    for name in ('LISTEN_PID', 'LISTEN_FDS'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert systemd.inherited_socket(('127.0.0.1', 0)) is None
    server = Server()
    server.socket_port = 0
    with settings.bind(server) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0


@pytest.mark.parametrize('count', ['', 'two', '0', '-1'])
def test_a_count_that_is_none_passes_nothing_on(monkeypatch, count):
    monkeypatch.setenv('LISTEN_PID', str(os.getpid()))
    monkeypatch.setenv('LISTEN_FDS', count)
    assert systemd.inherited_socket(('127.0.0.1', 0)) is None


def test_one_socket_is_taken_whatever_the_address_and_stays_open(monkeypatch, sockets):
    activate(monkeypatch, sockets[:1])
    server = Server()
    for _ in range(2):
        with settings.bind(server) as sock:
            assert sock.getsockname() == sockets[0].getsockname()
    assert sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_of_several_sockets_each_server_gets_its_own(monkeypatch, sockets):
    activate(monkeypatch, sockets)
    servers = [Server() for _ in range(3)]
    servers[0].bind_addr = sockets[1].getsockname()
    servers[2].socket_port = 0
    names = []
    for server in servers:
        with settings.bind(server) as sock:
            names.append(sock.getsockname())
    assert names[:2] == [sockets[1].getsockname(), sockets[0].getsockname()]
    assert names[2] not in names[:2]


@pytest.mark.parametrize('kind', ['file', 'datagram', 'idle', 'closed'])
def test_what_cannot_be_served_on_is_refused(monkeypatch, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        if kind == 'file':
            number = stack.enter_context((tmp_path / 'x').open('w')).fileno()
        elif kind == 'closed':
            number = 250
        else:
            number = stack.enter_context(
                socket.socket(type=socket.SOCK_DGRAM if kind == 'datagram' else socket.SOCK_STREAM)
            ).fileno()
        monkeypatch.setattr(systemd, 'FIRST_DESCRIPTOR', number)
        monkeypatch.setenv('LISTEN_PID', str(os.getpid()))
        monkeypatch.setenv('LISTEN_FDS', '1')
        with pytest.raises(StartRefused, match=f'Descriptor {number}'):
            settings.bind(Server())


@pytest.mark.parametrize(('takes', 'refused'), [('any', False), ('tcp', True), ('none', True)])
def test_a_server_that_takes_no_unix_sockets_refuses_one(monkeypatch, tmp_path, takes, refused):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / 'sock'))
        sock.listen(1)
        activate(monkeypatch, [sock])
        server = Server()
        server.adapter = 'thisone'
        with contextlib.ExitStack() as stack:
            if refused:
                stack.enter_context(pytest.raises(StartRefused, match='thisone cannot serve on the'))
            with settings.bind(server, takes=takes) as given:
                assert settings.address_of(given) == str(tmp_path / 'sock')
    assert (tmp_path / 'sock').exists()


@pytest.mark.live
def test_granian_says_that_it_cannot(run, listener, tmp_path):
    pytest.importorskip('granian')
    process = run('-c', PROGRAM, 'granian', str(listener.getsockname()[1]), passed=listener)
    assert process.wait(TIMEOUT) == 1
    assert 'granian cannot serve on the socket that LISTEN_FDS passes on' in (tmp_path / 'output').read_text()


@pytest.mark.live
@pytest.mark.parametrize('name', ['uvicorn', 'hypercorn', 'waitress', 'wsgiref', 'werkzeug', 'gunicorn'])
def test_a_server_answers_on_a_unix_socket_it_was_given_and_leaves_its_file(run, notified, tmp_path, name):
    pytest.importorskip(name)
    path = str(tmp_path / 'web')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        process = run('-c', PROGRAM, name, '0', passed=listener, NOTIFY_SOCKET=notified.path)
        assert 'READY=1' in notified.next(), (tmp_path / 'output').read_text()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(path)
            client.sendall(b'GET / HTTP/1.0\r\nHost: x\r\n\r\n')
            assert read_all(client).endswith(b'page'), (tmp_path / 'output').read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


@pytest.mark.live
@pytest.mark.parametrize('name', ['uvicorn', 'hypercorn', 'waitress', 'wsgiref', 'werkzeug', 'cheroot', 'gunicorn'])
def test_a_server_answers_on_the_socket_it_was_given(run, listener, notified, tmp_path, name):
    pytest.importorskip(name)
    port = listener.getsockname()[1]
    # The port of the settings would be refused: this process listens there.
    process = run('-c', PROGRAM, name, str(port), passed=listener, NOTIFY_SOCKET=notified.path)
    assert get(port) == 'page', (tmp_path / 'output').read_text()
    # gunicorn says so by itself.
    assert 'READY=1' in notified.next()
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0, (tmp_path / 'output').read_text()
    # What comes now waits for the next process.
    socket.create_connection(('127.0.0.1', port), 5).close()


@pytest.mark.live
def test_a_connection_made_before_the_start_and_during_a_restart_is_answered(run, listener, tmp_path):
    pytest.importorskip('waitress')
    port = listener.getsockname()[1]
    answers = []
    early = threading.Thread(target=lambda: answers.append(get(port)))
    early.start()
    run('-c', PROGRAM, 'waitress', str(port), passed=listener)
    early.join(TIMEOUT)
    assert get(port, '/again') == 'again'
    assert get(port) == 'page', (tmp_path / 'output').read_text()
    assert answers == ['page']


# -- Word of start and end ---------------------------------------------------------------------------------------------


def test_nothing_is_told_to_nobody(monkeypatch):
    monkeypatch.delenv('NOTIFY_SOCKET', raising=False)
    assert systemd.notify('READY=1') is False
    engine = Engine()
    systemd.follow(engine)
    assert engine.listeners['start'] == engine.listeners['stop'] == ()
    monkeypatch.setenv('NOTIFY_SOCKET', 'vsock:2:1234')
    assert systemd.notify('READY=1') is False


def test_lines_are_one_datagram(monkeypatch, notified):
    monkeypatch.setenv('NOTIFY_SOCKET', notified.path)
    assert systemd.notify('READY=1', 'STATUS=grün') is True
    assert notified.next() == ['READY=1', 'STATUS=grün']


@pytest.mark.skipif(sys.platform != 'linux', reason='names of the kernel are of Linux')
def test_a_name_of_the_kernel_is_a_path_too(monkeypatch):
    name = f'cpadapter-test-{os.getpid()}'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f'\0{name}')
        sock.settimeout(TIMEOUT)
        monkeypatch.setenv('NOTIFY_SOCKET', f'@{name}')
        systemd.notify('READY=1')
        assert sock.recv(100) == b'READY=1'


def test_an_engine_of_our_own_tells_of_its_start_and_its_end(monkeypatch, notified):
    monkeypatch.setenv('NOTIFY_SOCKET', notified.path)
    engine = Engine()
    systemd.follow(engine)
    engine.start()
    assert notified.next() == ['READY=1', f'MAINPID={os.getpid()}']
    engine.subscribe('stop', lambda: told.append(notified.next()))
    told = []
    engine.exit()
    assert told == [['STOPPING=1']]


def test_a_hosted_engine_tells_nothing(monkeypatch, notified):
    monkeypatch.setenv('NOTIFY_SOCKET', notified.path)
    engine = Engine()
    systemd.follow(engine)
    engine.ensure_started()
    engine.ensure_exited()
    notified.settimeout(0.2)
    with pytest.raises(TimeoutError):
        notified.next()


def test_a_manager_that_does_not_listen_is_logged(monkeypatch, tmp_path):
    monkeypatch.setenv('NOTIFY_SOCKET', str(tmp_path / 'missing'))
    engine = Engine()
    lines = []
    engine.subscribe('log', lambda msg, level: lines.append((level, msg)))
    systemd.follow(engine)
    engine.start()
    engine.exit()
    assert any(level == 30 and 'STOPPING=1 could not be sent' in msg for level, msg in lines)


@pytest.mark.live
def test_a_program_is_ready_when_it_answers_and_says_that_it_begins_anew_and_ends(run, listener, notified, tmp_path):
    pytest.importorskip('waitress')
    port = listener.getsockname()[1]
    process = run('-c', PROGRAM, 'waitress', str(port), passed=listener, NOTIFY_SOCKET=notified.path)
    assert notified.next() == ['READY=1', f'MAINPID={process.pid}'], (tmp_path / 'output').read_text()
    assert get(port, '/again') == 'again'
    assert notified.next()[0] == 'RELOADING=1'
    assert notified.next() == ['READY=1', f'MAINPID={process.pid}']
    process.send_signal(signal.SIGTERM)
    assert notified.next() == ['STOPPING=1']
    assert process.wait(TIMEOUT) == 0


@pytest.mark.live
def test_a_program_that_does_not_start_never_says_it_is_ready(run, notified):
    pytest.importorskip('waitress')
    process = run('-c', PROGRAM, 'waitress', '0', 'fails', NOTIFY_SOCKET=notified.path)
    assert process.wait(TIMEOUT) != 0
    assert notified.next() == ['STOPPING=1']
    notified.settimeout(0.1)
    with pytest.raises(TimeoutError):
        notified.next()
