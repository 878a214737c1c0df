"""`serve` as a daemon, in processes of their own: into the background, as another user, again, and to the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from live import ROOT, Live, free_port

import cpadapter
from cpadapter.daemon import start

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='there are no daemons here')

APP = """
import os

import cpadapter


class Root:
    @cpadapter.expose
    def index(self):
        return f'{os.getpid()} {os.getuid()} {os.getsid(0)} {cpadapter.request.app.config["own"]["name"]}'


cpadapter.tree.mount(Root())
"""
CONF = """
[global]
server.socket_port = {port}
log.error_file = 'logs/error.log'
log.access_file = 'logs/access.log'

[own]
name = 'mine'
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # ended, and nobody has asked for its exit code
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return os.path.exists('/proc/self/stat') is False


def until(true, what, timeout=15):
    deadline = time.monotonic() + timeout
    while not (value := true()):
        assert time.monotonic() < deadline, f'{what}: not within {timeout} s'
        time.sleep(0.02)
    return value


class Folder:
    """A folder with an application and a config file, and the daemons that are started there."""

    def __init__(self, path):
        self.path = path
        self.port = free_port()
        (path / 'myapp.py').write_text(APP)
        (path / 'site.conf').write_text(CONF.format(port=self.port))
        for name in ('run', 'logs'):
            (path / name).mkdir()

    def command(self, *words):
        return subprocess.run(
            [sys.executable, '-m', 'cpadapter', *words],
            cwd=self.path,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1'},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def pidfile(self):
        return self.path / 'run' / 'pid'

    def pid(self):
        """Give the number in the pid file; 0 if there is none."""
        try:
            return int(self.pidfile.read_text() or 0)
        except FileNotFoundError:
            return 0

    def get(self):
        from urllib.request import ProxyHandler, build_opener

        with build_opener(ProxyHandler({})).open(f'http://127.0.0.1:{self.port}/', timeout=10) as response:
            return response.read().decode()

    def log(self):
        return (self.path / 'logs' / 'error.log').read_text()

    def end(self):
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not alive(pid), 'the end of the daemon')


@pytest.fixture
def folder():
    pytest.importorskip('daemon.daemon')
    # Not in pytest's folder, where only its owner may go: a daemon that has become somebody else works here.
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield from folder_at(Path(name))


def folder_at(path):
    folder = Folder(path)
    yield folder
    pid = folder.pid()
    if pid and alive(pid):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.live
def test_a_daemon_serves_in_the_background_as_another_user_until_sigterm(folder):
    words = ['serve', '-d', '-p', 'run/pid', '-e', 'production', '-c', 'site.conf', '-i', 'myapp']
    uid = os.getuid()
    if uid == 0:
        uid = 65534
        os.chown(folder.path / 'run', uid, -1)
        words += ['--user', str(uid)]
    done = folder.command(*words)
    assert (done.stdout, done.stderr, done.returncode) == ('', '', 0)
    # It serves as soon as the command has ended.
    pid, its_uid, session, name = folder.get().split()
    assert int(pid) == folder.pid()
    assert int(its_uid) == uid
    assert int(session) not in (int(pid), os.getsid(0))
    assert name == 'mine'
    folder.end()
    assert not folder.pidfile.exists()
    log = folder.log()
    for line in (f'Daemonized to PID: {pid}', 'Caught signal SIGTERM.', 'PID file removed', 'Bus EXITED'):
        assert line in log
    assert '"GET / HTTP/1.1" 200' in (folder.path / 'logs' / 'access.log').read_text()


@pytest.mark.live
def test_sighup_restarts_a_daemon(folder):
    assert folder.command('-d', '-p', 'run/pid', '-c', 'site.conf', '-i', 'myapp').returncode == 0
    first = folder.pid()
    os.kill(first, signal.SIGHUP)
    second = until(lambda: folder.pid() not in (0, first) and folder.pid(), 'another pid')
    until(lambda: folder.log().count('Bus STARTED') == 2, 'the second start')
    assert int(folder.get().split()[0]) == second
    assert not alive(first)
    folder.end()


@pytest.mark.live
@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['-c', 'nothere.conf'], "There is no config file 'nothere.conf'"),
        (['-e', 'prodction'], "Did you mean 'production'?"),
        (['-i', 'nothere'], "There is no module 'nothere'"),
        (['-p', 'nothere/pid'], 'there is no folder'),
        (['--server', 'unicorn'], "Did you mean 'gunicorn'?"),
    ],
)
def test_what_is_wrong_is_told_before_the_terminal_is_left(folder, words, said):
    done = folder.command('-d', '-p', 'run/pid', '-c', 'site.conf', '-i', 'myapp', *words)
    assert said in done.stderr
    assert (done.stderr.count('\n'), done.stdout, done.returncode) == (1, '', 1)
    assert not folder.pidfile.exists()
    log = folder.path / 'logs' / 'error.log'
    assert not log.exists() or 'Daemonized' not in log.read_text()


@pytest.mark.live
def test_a_daemon_that_cannot_start_says_so_on_the_terminal_it_has_left(folder):
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', folder.port))
        sock.listen()
        done = folder.command('-d', '-p', 'run/pid', '-c', 'site.conf', '-i', 'myapp')
    assert f'port {folder.port}: the port is in use.' in done.stderr
    assert (done.stderr.count('\n'), done.returncode) == (1, 1)
    assert 'Daemonized to PID' in folder.log()
    until(lambda: not folder.pidfile.exists(), 'the removal of the pid file')


@pytest.mark.live
def test_a_daemon_without_a_log_is_warned_of(folder):
    (folder.path / 'site.conf').write_text(f'[global]\nserver.socket_port = {folder.port}\n[own]\nname = 1\n')
    done = folder.command('-d', '-p', 'run/pid', '-c', 'site.conf', '-i', 'myapp')
    assert 'set log.error_file' in done.stderr
    assert done.returncode == 0
    folder.end()


@pytest.mark.live
def test_gunicorn_writes_the_pid_file_of_a_daemon_by_itself(folder):
    pytest.importorskip('gunicorn')
    done = folder.command('-d', '-p', 'run/pid', '-c', 'site.conf', '-i', 'myapp', '--server', 'gunicorn')
    assert (done.stderr, done.returncode) == ('', 0)
    worker = int(until(lambda: folder.get(), 'an answer').split()[0])
    assert worker != folder.pid() != 0
    folder.end()
    until(lambda: not alive(worker), 'the end of the worker')
    assert not folder.pidfile.exists()


@pytest.mark.live
def test_in_the_foreground_it_serves_what_was_named_where_it_was_told(folder):
    words = [sys.executable, '-m', 'cpadapter', 'serve', 'myapp.py', '-c', 'site.conf', '-p', 'run/pid', '--bind']
    port = free_port()
    live = Live([*words, f'127.0.0.1:{port}'], port, folder.path, folder.path / 'output')
    try:
        live.ready()
        until(folder.pid, 'the pid file')
        assert live.get('/').text.split()[0] == str(live.pid) == str(folder.pid())
        assert live.end(signal.SIGTERM) == 0
        assert f'Serving on http://127.0.0.1:{port}' in live.printed
        assert not folder.pidfile.exists()
    finally:
        live.kill()


# ---------------------------------------------------------------------- daemon.start

STARTING = """
import cpadapter
from cpadapter import daemon

cpadapter.server.unsubscribe()
cpadapter.engine.subscribe('main', cpadapter.engine.exit)
daemon.start({arguments})
"""


def started(path, arguments, code=''):
    return subprocess.run(
        [sys.executable, '-W', 'error', '-c', STARTING.format(arguments=arguments) + code],
        cwd=path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_start_imports_then_reads_files_then_sets_the_environment(tmp_path):
    (tmp_path / 'first.py').write_text(APP + "\ncpadapter.config.update({'order': 'import'})\n")
    (tmp_path / 'a.conf').write_text("[global]\norder = 'a'\nlog.screen = True\n[own]\nname = 'a'\n")
    (tmp_path / 'b.conf').write_text("[global]\norder = 'b'\n[/]\ntools.gzip.on = True\n")
    code = """
app = cpadapter.tree.apps['']
print(cpadapter.config['order'], cpadapter.config['log.screen'], app.config['own'], app.config['/'])
print(cpadapter.engine.state)
"""
    arguments = "configfiles=['a.conf', 'b.conf'], environment='production', imports=['first'], pidfile='pid'"
    done = started(tmp_path, arguments, code)
    assert done.stdout.splitlines() == ["b False {'name': 'a'} {'tools.gzip.on': True}", 'states.EXITING']
    assert (done.stderr, done.returncode) == ('', 0)
    assert not (tmp_path / 'pid').exists()


def test_start_takes_one_gateway_at_most(tmp_path):
    done = started(tmp_path, 'fastcgi=True, scgi=True')
    assert re.search('ENGINE You may only specify one of the cgi, fastcgi, and scgi options.', done.stderr)
    assert done.returncode == 1


def test_start_ends_with_one_line_where_something_is_wrong(tmp_path):
    done = started(tmp_path, "imports=['nothere']")
    assert done.stderr.startswith("cpadapter: There is no module 'nothere'")
    assert (done.stderr.count('\n'), done.returncode) == (1, 1)


def test_a_failing_listener_ends_the_start_with_1(tmp_path):
    (tmp_path / 'failing.py').write_text("import cpadapter\ncpadapter.engine.subscribe('start', lambda: 1 / 0)\n")
    done = started(tmp_path, "imports=['failing']")
    assert 'ZeroDivisionError: division by zero. The error log has more.' in done.stderr
    assert done.returncode == 1


def test_start_has_the_parameters_of_cherrypys():
    import inspect

    assert list(inspect.signature(start).parameters) == [
        'configfiles',
        'daemonize',
        'environment',
        'fastcgi',
        'scgi',
        'pidfile',
        'imports',
        'cgi',
    ]
    assert cpadapter.daemon.start is start
