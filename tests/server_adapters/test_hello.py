"""examples/hello.py, unchanged, under every server: the same pages, and the engine's start and stop in each process.

What differs from server to server is one table, `SERVED`; docs/deploying.md says the same in words.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import time
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from live import COMMANDS, ROOT, Live, command, free_port, read_all

pytestmark = pytest.mark.live

# `python hello.py`, but on a port of the test's choice.
PROGRAM = (
    'import runpy, cpadapter; cpadapter.config.update({{"server.socket_port": {port}}}); '
    'runpy.run_path("hello.py", run_name="__main__")'
)


@dataclass(frozen=True)
class Served:
    """What is expected of a server.

    needs: the package it comes from.
    keeps_alive: more than one request on a connection.
    closes_after_stream: but a body of unknown length ends the connection.
    chunked: HTTP/1.1 with a body of unknown length in chunks; else the body ends with the connection.
    asgi: the engine starts at lifespan startup, else at the first request.
    terminated: exit code after SIGTERM; negative where the signal itself ends the process.
    stops: `stop` is published after SIGTERM. Not where the signal's default action ends the process at once.
    interrupted: exit code after SIGINT, which every server turns into an end that Python sees.
    rests: seconds of rest before SIGINT. One that comes while cheroot hands a connection to a thread can make it wait
        for that thread for ever; the next one ends it.
    """

    needs: str
    keeps_alive: bool = True
    closes_after_stream: bool = False
    chunked: bool = True
    asgi: bool = False
    terminated: int = 0
    stops: bool = True
    interrupted: int = 0
    rests: float = 0
    workers: int = 1


SERVED = {
    'gunicorn': Served('gunicorn', keeps_alive=False),
    'gunicorn-2-workers': Served('gunicorn', keeps_alive=False, workers=2),
    'gunicorn-gthread': Served('gunicorn'),
    'gunicorn-asgi': Served('gunicorn', asgi=True),
    'uvicorn': Served('uvicorn', asgi=True, terminated=-signal.SIGTERM),
    'hypercorn': Served('hypercorn', asgi=True),
    'waitress': Served('waitress', closes_after_stream=True, terminated=-signal.SIGTERM, stops=False),
    'granian-asgi': Served('granian', asgi=True),
    'granian-wsgi': Served('granian'),
    'cheroot': Served('cheroot', terminated=-signal.SIGTERM, stops=False, interrupted=-signal.SIGINT, rests=0.5),
    'wsgiref': Served(
        'wsgiref',
        keeps_alive=False,
        chunked=False,
        terminated=-signal.SIGTERM,
        stops=False,
        interrupted=-signal.SIGINT,
    ),
    'werkzeug': Served('werkzeug', keeps_alive=False, terminated=-signal.SIGTERM, stops=False),
    'quickstart': Served('uvicorn', asgi=True),
}


def launch(name, output):
    port = free_port()
    if name == 'quickstart':
        words = [sys.executable, '-c', PROGRAM.format(port=port)]
    else:
        words = command(name, 'hello:application', port)
    return Live(words, port, EXAMPLES, output)


EXAMPLES = ROOT / 'examples'


@pytest.fixture(scope='module')
def fleet(request, tmp_path_factory):
    """The servers that the collected tests name, started side by side."""
    names = {item.callspec.params['server'] for item in request.session.items if 'server' in params_of(item)}
    folder = tmp_path_factory.mktemp('hello')
    with contextlib.ExitStack() as stack:
        fleet = {}
        for name in SERVED:
            if name in names and present(name):
                fleet[name] = launch(name, folder / name)
                stack.callback(fleet[name].kill)
        yield fleet


def params_of(item):
    return item.callspec.params if hasattr(item, 'callspec') and item.path.name == 'test_hello.py' else ()


def present(name):
    try:
        __import__(SERVED[name].needs)
    except ImportError:
        return False
    return True


@pytest.fixture(scope='module', params=SERVED)
def server(request, fleet):
    """A server that all tests of the pages share."""
    if request.param not in fleet:
        pytest.skip(f'needs {SERVED[request.param].needs}')
    live = fleet[request.param].ready()
    live.expected = SERVED[request.param]
    return live


@pytest.fixture(params=SERVED)
def mortal(request, tmp_path):
    """A server of the test's own, to be ended by it."""
    if not present(request.param):
        pytest.skip(f'needs {SERVED[request.param].needs}')
    live = launch(request.param, tmp_path / 'output')
    live.expected = SERVED[request.param]
    try:
        yield live.ready()
    finally:
        live.kill()


def test_every_server_of_the_table_is_tested():
    assert set(SERVED) == {*COMMANDS, 'quickstart'}


# ---------------------------------------------------------------------- pages


def test_the_first_page_links_to_the_others(server):
    answer = server.get('/')
    assert answer.status == 200
    assert answer.headers['content-type'] == 'text/html;charset=utf-8'
    assert answer.headers['content-length'] == str(len(answer.body))
    for path in ('/greet/Ada?times=3', '/form', '/numbers?upto=20', '/away', '/later', '/hooks', '/missing'):
        assert f'<a href="{path}">' in answer.text


def test_path_and_query_parameters_arrive(server):
    answer = server.get('/greet/Ad%C3%A9%20%3Cb%3E?times=2')
    assert answer.status == 200
    assert answer.text.count('<p>Hello, Adé &lt;b&gt;!</p>') == 2
    assert server.get('/greet/Ada?times=many').status == 400
    assert server.get('/greet/Ada/too/much').status == 404


def test_a_posted_form_arrives(server):
    form = urlencode({'name': 'Zoë', 'message': 'a & b\r\n<i>'})
    headers = {'Content-Type': 'application/x-www-form-urlencoded'}
    answer = server.request('POST', '/form', form, headers)
    assert answer.status == 200
    assert '<b id="name">Zoë</b>' in answer.text
    assert '<p id="message">a &amp; b\r\n&lt;i&gt;</p>' in answer.text
    assert server.request('POST', '/form', 'unknown=1', headers).status == 400


def test_a_streamed_page_arrives_whole(server):
    answer = server.get('/numbers?upto=3000')
    assert answer.status == 200
    assert answer.body == b''.join(b'%d\n' % number for number in range(1, 3001))
    assert 'content-length' not in answer.headers


def test_a_streamed_page_is_sent_as_it_is_made(server):
    sent = server.raw(b'GET /numbers?upto=5 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
    head, _, body = sent.partition(b'\r\n\r\n')
    if server.expected.chunked:
        assert b'transfer-encoding: chunked' in head.lower()
        assert body == b''.join(b'2\r\n%d\n\r\n' % number for number in range(1, 6)) + b'0\r\n\r\n'
    else:
        assert b'transfer-encoding' not in head.lower()
        assert body == b'1\n2\n3\n4\n5\n'


def test_a_redirect_leads_to_the_address_the_client_used(server):
    answer = server.get('/away')
    assert answer.status == 303
    assert answer.headers['location'] == f'http://127.0.0.1:{server.port}/greet/traveller'


@pytest.mark.parametrize('path', ['/', '/numbers?upto=5', '/later', '/missing', '/broken'])
def test_head_has_the_head_of_get_and_no_body(server, path):
    request = f'HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'
    head, _, body = server.raw(request.encode()).partition(b'\r\n\r\n')
    assert body == b''
    get = server.get(path)
    assert int(head.split()[1]) == get.status
    fields = dict(line.lower().split(b': ', 1) for line in head.split(b'\r\n')[1:])
    assert fields[b'content-type'].decode() == get.headers['content-type'].lower()
    if 'content-length' in get.headers:
        assert fields[b'content-length'].decode() == get.headers['content-length']


def test_a_missing_page_is_answered_by_the_applications_own_page(server):
    answer = server.get('/missing/%3Cscript%3E')
    assert answer.status == 404
    assert answer.headers['content-type'] == 'text/html;charset=utf-8'
    assert '<h1>Nothing here</h1>' in answer.text
    assert '<script>' not in answer.text


def test_a_page_that_raises_is_answered_500_and_tells_nothing(server):
    answer = server.get('/broken')
    assert answer.status == 500
    assert 'Traceback' not in answer.text
    assert 'always fails' not in answer.text
    assert '500 Internal Server Error' in answer.text
    server.until(lambda: 'RuntimeError: This page always fails.' in server.printed, 5, 'the error in the log')


def test_an_async_page_is_answered(server):
    assert '<p>This page was awaited.</p>' in server.get('/later').text


def test_a_connection_serves_several_requests(server):
    with contextlib.closing(server.connection()) as connection:
        connection.connect()
        first = connection.sock
        headers = {'Content-Type': 'application/x-www-form-urlencoded'}
        for number in range(3):
            assert f'Hello, {number}!' in server.get(f'/greet/{number}', connection=connection).text
            assert server.get('/missing', connection=connection).status == 404
            form = urlencode({'name': f'n{number}'})
            answer = server.request('POST', '/form', form, headers, connection)
            assert f'<b id="name">n{number}</b>' in answer.text
            assert server.get('/broken', connection=connection).status == 500
            assert server.get('/later', connection=connection).status == 200
        assert (connection.sock is first) == server.expected.keeps_alive
        assert server.get('/numbers?upto=3', connection=connection).body == b'1\n2\n3\n'
        assert 'Hello, again!' in server.get('/greet/again', connection=connection).text
        kept = server.expected.keeps_alive and not server.expected.closes_after_stream
        assert (connection.sock is first) == kept


def test_the_engine_has_started_once(server):
    answers = [server.get('/hooks').text for _ in range(4)]
    for answer in answers:
        assert re.fullmatch(r'pid \d+\nstart 1\nstop 0\n', answer)


def test_no_server_header_is_sent_twice(server):
    sent = server.raw(b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
    names = [line.partition(b':')[0].lower() for line in sent.partition(b'\r\n\r\n')[0].split(b'\r\n')[1:]]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------------- the end


def heard(live, what):
    """Give the processes that said it, in order."""
    return [int(pid) for pid in re.findall(rf'^hello: engine {what} in process (\d+)$', live.printed, re.MULTILINE)]


def ask_all_workers(live):
    """Let each worker serve requests; give their processes.

    A worker of gunicorn's sync kind that has taken a connection waits for its request and takes no other: as many
    connections at once reach as many workers.
    """
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(live.socket()) for _ in range(live.expected.workers)]
        answers = []
        for connection in connections:
            connection.sendall(b'GET /hooks HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n')
        for connection in connections:
            connection.sendall(b'\r\n')
            answers.append(read_all(connection))
    # The loop for async pages has its thread running when the end comes.
    assert live.get('/later').status == 200
    return {int(re.search(rb'pid (\d+)\nstart 1\n', answer)[1]) for answer in answers}


def test_sigterm_ends_the_server_its_way_and_stop_is_heard_where_python_ends_by_itself(mortal):
    pids = ask_all_workers(mortal)
    assert len(pids) == mortal.expected.workers
    assert mortal.end(signal.SIGTERM) == mortal.expected.terminated
    assert sorted(heard(mortal, 'start')) == sorted(pids)
    assert sorted(heard(mortal, 'stop')) == (sorted(pids) if mortal.expected.stops else [])


@pytest.mark.parametrize(
    'mortal', [name for name in SERVED if SERVED[name].terminated or name == 'quickstart'], indirect=True
)
def test_ctrl_c_ends_a_server_with_one_stop(mortal):
    pids = ask_all_workers(mortal)
    time.sleep(mortal.expected.rests)
    assert mortal.end(signal.SIGINT) == mortal.expected.interrupted
    assert heard(mortal, 'start') == heard(mortal, 'stop') == list(pids)


@pytest.mark.parametrize('mortal', ['uvicorn', 'hypercorn', 'granian-asgi'], indirect=True)
def test_an_asgi_server_starts_and_stops_the_engine_without_a_request(mortal):
    mortal.until(lambda: heard(mortal, 'start'), 10, 'engine start')
    mortal.end()
    assert len(heard(mortal, 'start')) == 1
    assert heard(mortal, 'stop') == heard(mortal, 'start')


@pytest.mark.parametrize('mortal', ['gunicorn', 'waitress', 'granian-wsgi'], indirect=True)
def test_a_wsgi_server_that_served_nothing_has_neither_started_nor_stopped_the_engine(mortal):
    mortal.end(signal.SIGINT)
    assert heard(mortal, 'start') == heard(mortal, 'stop') == []


@pytest.mark.parametrize('adapter', ['waitress', 'cheroot', 'wsgiref', 'werkzeug'])
def test_quickstart_publishes_stop_on_sigterm_with_a_server_that_alone_would_not(adapter, tmp_path):
    pytest.importorskip(adapter)
    port = free_port()
    program = PROGRAM.replace('{port}}}', f'{{port}}, "server.adapter": {adapter!r}}}}}')
    live = Live([sys.executable, '-c', program.format(port=port)], port, EXAMPLES, tmp_path / 'output')
    try:
        assert live.ready().get('/hooks').status == 200
        assert live.end(signal.SIGTERM) == 0
        assert heard(live, 'start') == heard(live, 'stop') == [live.pid]
    finally:
        live.kill()


OWN_HANDLER = 'import signal, sys; signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())\n'


@pytest.mark.parametrize('name', ['wsgiref', 'werkzeug'])
def test_a_program_that_turns_sigterm_into_an_ordinary_end_publishes_stop(name, tmp_path):
    pytest.importorskip(name)
    port = free_port()
    interpreter, option, code = command(name, 'hello:application', port)
    live = Live([interpreter, option, OWN_HANDLER + code], port, EXAMPLES, tmp_path / 'output')
    try:
        assert live.ready().get('/hooks').status == 200
        # What is asked is how a server at rest ends, not what SystemExit does to one that is handing out a request.
        time.sleep(0.5)
        assert live.end(signal.SIGTERM) == 0
        assert heard(live, 'start') == heard(live, 'stop') == [live.pid]
    finally:
        live.kill()
