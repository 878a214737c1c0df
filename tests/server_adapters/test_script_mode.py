"""Programs that end in tree.mount(...), engine.start() and engine.block(): the process is theirs, and so is its end."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import sys

import pytest
from live import Live, free_port

pytestmark = pytest.mark.live

SCRIPT = """
import sys
import threading

import cpadapter

{before}


class Root:
    @cpadapter.expose
    def index(self):
        return 'Hello from ' + cpadapter.request.base

    @cpadapter.expose
    async def later(self):
        return 'later'

    @cpadapter.expose
    def leave(self):
        cpadapter.engine.exit()
        return 'leaving'

    @cpadapter.expose
    async def leave_later(self):
        cpadapter.engine.exit()
        return 'leaving later'

    @cpadapter.expose
    def leave_by_thread(self):
        threading.Thread(target=cpadapter.engine.exit).start()
        return 'leaving by thread'


for channel in ('start', 'stop', 'exit'):
    cpadapter.engine.subscribe(channel, lambda channel=channel: print('heard', channel, flush=True))
cpadapter.config.update({{'server.socket_port': {port}, 'server.adapter': {adapter!r}}})
cpadapter.tree.mount(Root(), '/')
cpadapter.engine.start()
print('started', cpadapter.server.base(), flush=True)
{after}
cpadapter.engine.block()
print('unblocked', flush=True)
"""
ADAPTERS = ['uvicorn', 'hypercorn', 'waitress', 'cheroot', 'granian', 'werkzeug', 'wsgiref']


@pytest.fixture
def run(tmp_path):
    """Run the script; it is ended, whatever the test does."""
    programs = []

    def run(adapter='uvicorn', port=None, before='', after='', ready=True):
        pytest.importorskip(adapter or 'uvicorn')
        port = free_port() if port is None else port
        script = tmp_path / 'script.py'
        script.write_text(SCRIPT.format(adapter=adapter, port=port, before=before, after=after), encoding='utf-8')
        words = [sys.executable, '-W', 'error', 'script.py']
        programs.append(Live(words, port, tmp_path, tmp_path / f'output{len(programs)}'))
        if ready:
            # The port may accept connections a little before the engine has started.
            programs[-1].until(lambda: 'started http' in programs[-1].printed, what='the start')
        return programs[-1]

    yield run
    for program in programs:
        program.kill()


def heard(program):
    return re.findall(r'^heard (\w+)$', program.printed, re.MULTILINE)


def check_end(program, code=0):
    """The program has ended by itself, as a program of our own does: everything once, nothing left to complain."""
    assert program.wait(10) == code
    assert heard(program) == ['start', 'stop', 'exit']
    assert 'Traceback' not in program.printed
    assert 'Warning' not in program.printed
    assert program.printed.splitlines()[-1] == 'unblocked'
    assert not program.connects()


@pytest.mark.parametrize('adapter', ADAPTERS)
def test_a_script_serves_on_the_configured_port_once_start_has_returned(run, adapter):
    program = run(adapter)
    assert f'started http://127.0.0.1:{program.port}\n' in program.printed
    assert program.get('/').text == f'Hello from http://127.0.0.1:{program.port}'
    assert program.get('/later').text == 'later'
    assert program.get('/missing').status == 404
    assert heard(program) == ['start']


def test_port_0_takes_a_free_port_and_base_names_it(run):
    program = run(port=0, ready=False)
    found = program.until(lambda: re.search(r'^started http://127\.0\.0\.1:(\d+)$', program.printed, re.MULTILINE))
    program.port = int(found[1])
    assert program.get('/').text == f'Hello from http://127.0.0.1:{program.port}'


def test_the_screen_shows_requests_and_the_bus(run):
    program = run()
    program.get('/')
    program.until(lambda: re.search(r'"GET / HTTP/1\.1" 200', program.printed), 5, 'the request in the log')
    assert f'Serving on http://127.0.0.1:{program.port}' in program.printed
    assert 'ENGINE Bus STARTED' in program.printed


@pytest.mark.parametrize('adapter', ADAPTERS)
def test_ctrl_c_ends_a_script(run, adapter):
    program = run(adapter)
    assert program.get('/later').status == 200
    program.send(signal.SIGINT)
    check_end(program)
    assert 'Keyboard Interrupt: shutting down bus' in program.printed


@pytest.mark.parametrize('adapter', ADAPTERS)
def test_sigterm_ends_a_script_that_subscribed_the_signals(run, adapter):
    program = run(adapter, before='cpadapter.engine.signals.subscribe()')
    assert program.get('/later').status == 200
    program.send(signal.SIGTERM)
    check_end(program)
    assert 'Caught signal SIGTERM.' in program.printed


def test_sigterm_ends_a_script_that_did_not_at_once(run):
    program = run()
    assert program.end(signal.SIGTERM) == -signal.SIGTERM
    assert heard(program) == ['start']


@pytest.mark.parametrize('adapter', ADAPTERS)
@pytest.mark.parametrize('page', ['leave', 'leave_later', 'leave_by_thread'])
def test_exit_from_a_page_handler_ends_the_program_and_the_response_arrives(run, adapter, page):
    program = run(adapter)
    answer = program.get(f'/{page}')
    assert (answer.status, answer.text) == (200, page.replace('leave', 'leaving').replace('_', ' '))
    check_end(program)


def test_exit_from_another_thread_ends_the_program(run):
    program = run(after='threading.Timer(0.2, cpadapter.engine.exit).start()')
    check_end(program)


def test_exit_before_block_ends_the_program(run):
    program = run(after='cpadapter.engine.exit()', ready=False)
    check_end(program)


def test_a_request_in_flight_is_answered_when_the_program_ends(run):
    before = """
import time

@cpadapter.expose
def slow():
    print('entered', flush=True)
    time.sleep(0.5)
    return 'slow but sure'
"""
    program = run(before=before, after='cpadapter.tree.mount(slow, "/slow")')
    connection = program.connection()
    connection.request('GET', '/slow')
    program.until(lambda: 'entered' in program.printed, 5)
    program.send(signal.SIGINT)
    assert connection.getresponse().read() == b'slow but sure'
    connection.close()
    check_end(program)


def test_an_idle_keep_alive_connection_does_not_hold_up_the_end(run):
    program = run()
    connection = program.connection()
    assert program.get('/', connection=connection).status == 200
    program.send(signal.SIGINT)
    check_end(program)
    with pytest.raises((http.client.HTTPException, OSError)):
        program.get('/', connection=connection)
    connection.close()


@pytest.mark.parametrize('adapter', ADAPTERS)
def test_a_port_in_use_is_told_in_one_line_and_ends_the_program_with_1(run, adapter):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        program = run(adapter, port, ready=False)
        assert program.wait(10) == 1
    lines = [line for line in program.printed.splitlines() if 'Cannot serve' in line]
    assert len(lines) == 1
    assert f'Cannot serve on 127.0.0.1 port {port}: the port is in use.' in lines[0]
    assert 'server.socket_port' in lines[0]
    assert 'Traceback' not in program.printed
    assert 'Warning' not in program.printed
    assert 'started' not in program.printed
    assert 'unblocked' not in program.printed


def test_the_engine_can_be_stopped_and_started_again(run):
    after = """
cpadapter.engine.stop()
print('stopped', cpadapter.server.running, flush=True)
cpadapter.engine.start()
print('again', cpadapter.server.running, flush=True)
"""
    program = run(after=after, ready=False)
    program.until(lambda: 'again True' in program.printed)
    assert 'stopped False' in program.printed
    assert program.get('/').status == 200
    program.send(signal.SIGINT)
    assert program.wait() == 0
    assert heard(program) == ['start', 'stop', 'start', 'stop', 'exit']


def test_server_unsubscribe_leaves_an_engine_that_serves_nothing(run):
    program = run(before='cpadapter.server.unsubscribe()', ready=False)
    program.until(lambda: 'Bus STARTED' in program.printed)
    assert not program.connects()
    program.send(signal.SIGINT)
    check_end(program)
