"""Every adapter, with its real server on a free port: start, answer, limits, stop."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading

import pytest

from cpadapter import server_adapters
from cpadapter.core.engine import Engine
from cpadapter.core.server import Server
from cpadapter.process.servers import Handle

pytestmark = [pytest.mark.live]

ADAPTERS = server_adapters.NAMES
THREADED = [name for name in ADAPTERS if name != 'gunicorn']
WSGI = ('waitress', 'cheroot', 'wsgiref', 'werkzeug')


class Application:
    """One page under both protocols; /slow answers when `go` is set, and sets `entered` before."""

    def __init__(self):
        self.entered = threading.Event()
        self.go = threading.Event()

    def wsgi(self, environ, start_response):
        if environ['PATH_INFO'] == '/slow':
            self.entered.set()
            self.go.wait(5)
        body = f'{environ["wsgi.url_scheme"]} {environ["REQUEST_METHOD"]}'.encode()
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
        return [body]

    async def asgi(self, scope, receive, send):
        import asyncio

        if scope['type'] == 'lifespan':
            for _ in range(2):
                message = await receive()
                await send({'type': f'{message["type"]}.complete'})
            return
        if scope['path'] == '/slow':
            self.entered.set()
            await asyncio.get_running_loop().run_in_executor(None, self.go.wait, 5)
        body = f'{scope["scheme"]} {scope["method"]}'.encode()
        headers = [(b'content-type', b'text/plain'), (b'content-length', b'%d' % len(body))]
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        await send({'type': 'http.response.body', 'body': body})


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def engine():
    engine = Engine()
    engine.lines = []
    engine.subscribe('log', lambda msg, level: engine.lines.append(msg))
    yield engine
    engine.exit()


@pytest.fixture
def server(engine, application):
    """A subscribed server for a free port."""
    server = Server(engine, lambda: application)
    server.socket_port = 0
    server.subscribe()
    return server


def require(name):
    pytest.importorskip('wsgiref' if name == 'wsgiref' else name)


def get(server, path='/', headers=(), method='GET', body=None):
    """Give (status, body) of one request on a connection of its own."""
    host, port = server.bound_addr
    connection = http.client.HTTPConnection(host, port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize('name', THREADED)
def test_a_server_answers_once_the_engine_has_started_and_no_more_after_exit(engine, server, name):
    require(name)
    server.adapter = name
    threads = threading.active_count()
    engine.start()
    assert server.socket_port == 0
    assert server.bound_addr[1] != 0
    server.wait()
    assert get(server) == (200, b'http GET')
    assert f'Serving on {server.base()}' in engine.lines
    address = server.bound_addr
    engine.exit()
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=1)
    assert not server.running
    assert threading.active_count() <= threads + 1  # an executor's idle thread may outlive its loop by a moment


@pytest.mark.parametrize('name', THREADED)
def test_a_request_in_flight_is_answered_during_exit(engine, server, application, name):
    require(name)
    server.adapter = name
    engine.start()
    answers = []
    client = threading.Thread(target=lambda: answers.append(get(server_view, '/slow')))
    server_view = type('View', (), {'bound_addr': server.bound_addr})
    client.start()
    assert application.entered.wait(5)
    leaving = threading.Thread(target=engine.exit)
    leaving.start()
    engine.wait(engine.states.STOPPING, 0.001)
    application.go.set()
    client.join(5)
    leaving.join(8)
    assert answers == [(200, b'http GET')]
    assert engine.state is engine.states.EXITING


@pytest.mark.parametrize('name', THREADED)
def test_a_server_can_be_stopped_and_started_again(engine, server, name):
    require(name)
    server.adapter = name
    engine.start()
    server.stop()
    server.start()
    assert get(server)[0] == 200


@pytest.mark.parametrize('name', THREADED)
def test_size_limits_are_answered_413(engine, server, name):
    require(name)
    server.adapter = name
    server.max_request_body_size = 200
    server.max_request_header_size = 500
    engine.start()
    assert get(server, headers={'X-Long': 'x' * 200})[0] == 200
    assert get(server, method='POST', body=b'x' * 100)[0] == 200
    assert get(server, method='POST', body=b'x' * 201)[0] == 413


@pytest.mark.parametrize('name', THREADED)
def test_a_long_header_block_is_answered_413(engine, server, name):
    require(name)
    server.adapter = name
    server.max_request_header_size = 500
    engine.start()
    assert get(server, headers={'X-Long': 'x' * 500})[0] == 413


@pytest.mark.parametrize('name', THREADED)
def test_a_port_in_use_ends_the_program_with_one_line_and_code_1(engine, server, name):
    require(name)
    server.adapter = name
    with socket.create_server(('127.0.0.1', 0)) as taken:
        server.socket_port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            engine.start()
    assert caught.value.code == 1
    lines = [line for line in engine.lines if not line.startswith('Bus')]
    assert len(lines) == 1
    assert f'127.0.0.1 port {server.socket_port}' in lines[0]


@pytest.mark.skipif(not hasattr(socket, 'AF_UNIX'), reason='needs Unix sockets')
@pytest.mark.parametrize('name', THREADED)
def test_a_server_listens_on_a_socket_file(engine, server, name, tmp_path):
    require(name)
    server.adapter = name
    server.socket_file = path = str(tmp_path / 's')
    engine.start()
    assert server.description == f'socket file: {path}'
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(path)
        sock.sendall(b'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        answer = b''
        while chunk := sock.recv(4096):
            answer += chunk
    assert answer.split(b'\r\n', 1)[0].split()[1] == b'200'
    assert answer.endswith(b'http GET')


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    """Files of a certificate for 127.0.0.1 and its key."""
    if shutil.which('openssl') is None:
        pytest.skip('needs openssl')
    directory = tmp_path_factory.mktemp('tls')
    certificate, key = str(directory / 'cert.pem'), str(directory / 'key.pem')
    request = 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1'
    subprocess.run(
        [*request.split(), '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
        check=True,
        capture_output=True,
        timeout=10,
    )
    return certificate, key


@pytest.mark.parametrize('name', [name for name in THREADED if name != 'waitress'])
def test_a_server_speaks_tls(engine, server, name, certificate):
    require(name)
    server.adapter = name
    server.ssl_certificate, server.ssl_private_key = certificate
    engine.start()
    assert server.base().startswith('https://127.0.0.1:')
    context = ssl.create_default_context(cafile=certificate[0])
    connection = http.client.HTTPSConnection(*server.bound_addr, timeout=5, context=context)
    with contextlib.closing(connection):
        connection.request('GET', '/')
        assert connection.getresponse().read() == b'https GET'


def test_a_setting_the_server_does_not_have_is_reported_once(engine, server):
    require('uvicorn')
    server.thread_pool_max = 20
    server.socket_timeout = 3
    engine.start()
    assert engine.lines.count('server.thread_pool_max = 20 is ignored: uvicorn has no such setting.') == 1
    assert not any('socket_timeout' in line for line in engine.lines)


def test_adapter_options_reach_the_server_under_its_own_names(engine, server):
    require('uvicorn')
    server.adapter_options = {'root_path': '/sub', 'no_such_option': 1}
    with pytest.raises(Exception, match='no_such_option'):
        engine.start()


def test_the_default_server_is_uvicorn():
    assert server_adapters.find(None) is server_adapters.find('uvicorn')


def test_an_unknown_server_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"'uvicron': there is no such server\. Did you mean 'uvicorn'\?"):
        server_adapters.find('uvicron')


def test_a_missing_server_is_one_line_naming_the_extra(engine, server, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    with pytest.raises(SystemExit) as caught:
        engine.start()
    assert caught.value.code == 1
    assert sum('cpadapter[uvicorn]' in line for line in engine.lines) == 1
    assert not any('Traceback' in line for line in engine.lines)


def test_a_server_with_workers_is_refused_inside_a_running_program(engine, server):
    server.adapter = 'gunicorn'
    with pytest.raises(SystemExit):
        engine.start()
    assert any('gunicorn runs worker processes' in line and 'quickstart()' in line for line in engine.lines)


@pytest.mark.parametrize('name', ADAPTERS)
def test_an_adapter_says_what_it_is(name):
    adapter = server_adapters.find(name)
    assert adapter.FORKS is (name == 'gunicorn')
    assert {'socket_host', 'socket_port', 'socket_file', 'thread_pool'} <= adapter.SETTINGS


@pytest.mark.parametrize('name', ADAPTERS)
def test_importing_an_adapter_does_not_import_its_server(name):
    code = f'import sys, cpadapter.server_adapters.{name}; print({name!r} in sys.modules)'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=10)
    assert result.stdout == 'False\n', result.stderr


@pytest.mark.parametrize('name', ['waitress', 'uvicorn'])
def test_serve_takes_a_bare_callable_and_a_handle(name):
    require(name)
    bare = Application()
    server = Server()
    server.socket_port = 0
    handle = Handle()
    ready = threading.Event()
    addresses = []

    def started(address):
        addresses.append(address)
        ready.set()

    serve = importlib.import_module(f'cpadapter.server_adapters.{name}').serve
    page = bare.wsgi if name in WSGI else bare.asgi
    thread = threading.Thread(target=serve, args=(page, server), kwargs={'started': started, 'handle': handle})
    thread.start()
    assert ready.wait(5)
    view = type('View', (), {'bound_addr': addresses[0]})
    assert get(view) == (200, b'http GET')
    handle.stop()
    thread.join(5)
    assert not thread.is_alive()


class Foreign:
    """A server object of the kind CherryPy adapts, over a WSGI server."""

    def __init__(self, settings):
        from wsgiref.simple_server import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log_message(self, format, *args):
                pass

        self.ready = False
        self.inner = make_server('127.0.0.1', 0, settings.find_application().wsgi, handler_class=Quiet)
        self.bind_addr = self.inner.server_address

    def start(self):
        self.ready = True
        self.inner.serve_forever(poll_interval=0.01)

    def stop(self):
        self.inner.shutdown()
        self.inner.server_close()


def test_a_foreign_server_instance_takes_the_adapters_place(engine, server):
    server.instance = Foreign
    engine.start()
    assert isinstance(server.httpserver, Foreign)
    assert get(server) == (200, b'http GET')
    engine.exit()
    assert not server.running


# ---------------------------------------------------------------------- programs

PROGRAM = """
    import sys
    from cpadapter.application.startup import quickstart
    from cpadapter.core.engine import Engine
    from cpadapter.core.server import Server
    from cpadapter.process.plugins import equip

    class Tree:
        apps = {}
        def mount(self, root, script_name='', config=None):
            self.apps[script_name] = root
        def wsgi(self, environ, start_response):
            start_response('200 OK', [('Content-Length', '2')])
            return [b'ok']
        async def asgi(self, scope, receive, send):
            if scope['type'] == 'lifespan':
                for _ in range(2):
                    message = await receive()
                    await send({'type': message['type'] + '.complete'})
                return
            await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'2')]})
            await send({'type': 'http.response.body', 'body': b'ok'})

    class Site:
        config = {}
        log = type('Log', (), {})()
        tree = Tree()
        engine = Engine()
        server = Server(engine, lambda: Site.tree)

    equip(Site.engine)
    Site.server.subscribe()
    Site.server.socket_port = int(sys.argv[2])
    Site.engine.subscribe('log', lambda msg, level: print('ENGINE', msg, flush=True))
    Site.engine.subscribe('stop', lambda: print('stopping', flush=True))
    quickstart(object(), site=Site, server=sys.argv[1])
    print('done')
"""


@contextlib.contextmanager
def program(name, port):
    """Run the program above; it is ended after 10 seconds at the latest."""
    environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, [os.getcwd(), os.environ.get('PYTHONPATH')]))}
    warnings = ['-W', 'error']
    if name == 'gunicorn':
        # Ctrl-C is its quick shutdown: a worker that had just answered leaves its sockets to the system.
        warnings += ['-W', 'ignore::ResourceWarning']
    process = subprocess.Popen(
        [sys.executable, *warnings, '-c', textwrap.dedent(PROGRAM), name, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
    )
    timer = threading.Timer(10, process.kill)
    timer.start()
    with process:
        try:
            yield process
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as sock:
        return sock.getsockname()[1]


@pytest.mark.parametrize('name', ADAPTERS)
@pytest.mark.parametrize('ending', [signal.SIGINT, signal.SIGTERM], ids=['ctrl-c', 'sigterm'])
def test_quickstart_says_where_it_serves_and_ends_cleanly(name, ending):
    require(name)
    port = free_port()
    with program(name, port) as process:
        awaited = {f'ENGINE Serving on http://127.0.0.1:{port}\n', 'ENGINE Bus STARTED\n'}
        for line in process.stdout:
            awaited.discard(line)
            if not awaited:
                break
        view = type('View', (), {'bound_addr': ('127.0.0.1', port)})
        assert get(view) == (200, b'ok')
        if ending is signal.SIGINT:
            os.killpg(process.pid, ending)  # as a terminal does: workers get it too
        else:
            process.send_signal(ending)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert 'Traceback' not in err
    assert out.splitlines().count('stopping') == 1
    assert out.splitlines().count('ENGINE Bus EXITED') == 1
    assert 'done' in out.splitlines()


@pytest.mark.parametrize('name', ADAPTERS)
def test_quickstart_on_a_port_in_use_is_one_line_and_code_1(name):
    require(name)
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with program(name, port) as process:
            out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert err == ''
    told = [line for line in out.splitlines() if line.startswith('ENGINE') and 'Bus' not in line]
    told = [line for line in told if not line.startswith('ENGINE Listening for')]
    assert len(told) == 1
    assert told[0].startswith(f'ENGINE Cannot serve on 127.0.0.1 port {port}: the port is in use. Stop the program')
    assert 'server.socket_port' in told[0]
    assert 'done' not in out
