"""The server's settings as values, and start and stop over a launcher that listens nowhere."""

from __future__ import annotations

import sys

import pytest

from cpadapter.core import server as server_module
from cpadapter.core.engine import Engine
from cpadapter.core.server import Server


class Launched:
    """What a launcher gives, with no server behind it."""

    def __init__(self, server, error=None):
        self.address = None
        self.alive = True
        self.error = error
        self.server = server

    def wait(self):
        if self.error is not None:
            raise self.error
        self.address = ('127.0.0.1', 4711)

    def stop(self):
        self.alive = False


@pytest.fixture
def launched(monkeypatch):
    """The servers launched during the test."""
    launched = []

    def launch(server):
        launched.append(Launched(server))
        return launched[-1]

    monkeypatch.setattr(server_module, 'launchers', [launch])
    return launched


@pytest.fixture
def engine():
    engine = Engine()
    engine.lines = []
    engine.subscribe('log', lambda msg, level: engine.lines.append(msg))
    yield engine
    engine.exit()


DEFAULTS = {
    'socket_host': '127.0.0.1',
    'socket_port': 8080,
    'socket_file': None,
    'socket_queue_size': 5,
    'socket_timeout': 10,
    'accepted_queue_size': -1,
    'accepted_queue_timeout': 10,
    'shutdown_timeout': 5,
    'protocol_version': 'HTTP/1.1',
    'thread_pool': 10,
    'thread_pool_max': -1,
    'max_request_header_size': 512000,
    'max_request_body_size': 104857600,
    'instance': None,
    'ssl_context': None,
    'ssl_certificate': None,
    'ssl_certificate_chain': None,
    'ssl_private_key': None,
    'ssl_ciphers': None,
    'ssl_module': 'builtin',
    'statistics': False,
    'nodelay': True,
    'wsgi_version': (1, 0),
    'peercreds': False,
    'peercreds_resolve': False,
}


@pytest.mark.parametrize('name', DEFAULTS)
def test_a_setting_has_its_default_and_can_be_set(name):
    server = Server()
    assert getattr(server, name) == DEFAULTS[name]
    setattr(server, name, 'x')
    assert getattr(server, name) == 'x'
    assert getattr(Server(), name) == DEFAULTS[name]


def test_an_unknown_setting_is_accepted():
    server = Server()
    server.my_own = 3
    assert server.my_own == 3


def test_an_empty_host_is_refused():
    with pytest.raises(ValueError, match=r"The empty string \(''\) is not an allowed value\. Use '0\.0\.0\.0' instead"):
        Server().socket_host = ''


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (('1.2.3.4', 99), ('1.2.3.4', 99, None)),
        ('/run/app.sock', (None, None, '/run/app.sock')),
        (None, (None, None, None)),
    ],
)
def test_bind_addr_sets_host_port_or_file(given, expected):
    server = Server()
    server.bind_addr = given
    assert server.bind_addr == given
    assert (server.socket_host, server.socket_port, server.socket_file) == expected


@pytest.mark.parametrize('given', [(1, 2, 3), ('h',), 5])
def test_a_bind_addr_of_another_shape_is_refused(given):
    with pytest.raises(ValueError, match='bind_addr must be a'):
        Server().bind_addr = given


@pytest.mark.parametrize(
    ('settings', 'base', 'description'),
    [
        ({}, 'http://127.0.0.1:8080', 'http://127.0.0.1:8080'),
        ({'socket_port': 80}, 'http://127.0.0.1', 'http://127.0.0.1'),
        ({'socket_port': 443}, 'http://127.0.0.1:443', 'http://127.0.0.1:443'),
        ({'socket_port': 443, 'ssl_certificate': 'c'}, 'https://127.0.0.1', 'https://127.0.0.1'),
        ({'socket_port': 80, 'ssl_certificate': 'c'}, 'https://127.0.0.1:80', 'https://127.0.0.1:80'),
        ({'socket_host': '0.0.0.0'}, 'http://thishost:8080', 'http://0.0.0.0:8080'),
        ({'socket_host': '::'}, 'http://thishost:8080', 'http://[::]:8080'),
        ({'socket_host': '::1'}, 'http://[::1]:8080', 'http://[::1]:8080'),
        ({'socket_file': '/run/a'}, '/run/a', 'socket file: /run/a'),
    ],
)
def test_base_and_description_follow_the_settings(monkeypatch, settings, base, description):
    import socket

    monkeypatch.setattr(socket, 'gethostname', lambda: 'thishost')
    server = Server()
    for name, value in settings.items():
        setattr(server, name, value)
    assert server.base() == base
    assert server.description == description


def test_a_server_without_address_says_so():
    server = Server()
    server.bind_addr = None
    assert server.description == 'unknown interface (dynamic?)'


def test_a_subscribed_server_starts_and_stops_with_the_engine(engine, launched):
    server = Server(engine)
    server.subscribe()
    engine.start()
    assert [one.server for one in launched] == [server]
    assert server.running
    assert server.bound_addr == ('127.0.0.1', 4711)
    assert server.base() == 'http://127.0.0.1:4711'
    assert 'Serving on http://127.0.0.1:4711' in engine.lines
    engine.exit()
    assert not launched[0].alive
    assert not server.running
    assert 'HTTP Server http://127.0.0.1:4711 shut down' in engine.lines


def test_an_unsubscribed_server_does_not_start(engine, launched):
    server = Server(engine)
    server.subscribe()
    server.unsubscribe()
    engine.start()
    assert launched == []


def test_the_server_runs_late_at_start_and_early_at_stop(engine, launched):
    order = []
    server = Server(engine)
    server.subscribe()
    engine.subscribe('start', lambda: order.append(bool(launched)))
    engine.subscribe('start', lambda: order.append(bool(launched)), 80)
    engine.subscribe('stop', lambda: order.append(launched[0].alive), 20)
    engine.subscribe('stop', lambda: order.append(launched[0].alive))
    engine.start()
    engine.exit()
    assert order == [False, True, True, False]


def test_nothing_is_launched_in_a_hosted_process(engine, launched, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['gunicorn'])
    server = Server(engine)
    server.subscribe()
    engine.start()
    server.start()
    server.wait()
    server.stop()
    assert launched == []


def test_a_lazily_started_engine_launches_nothing(engine, launched):
    server = Server(engine)
    server.subscribe()
    engine.ensure_started()
    assert launched == []


def test_start_wait_stop_restart_work_without_the_engine(engine, launched):
    server = Server(engine)
    server.start()
    server.wait()
    server.start()
    assert len(launched) == 1
    server.restart()
    assert [one.alive for one in launched] == [False, True]
    server.stop()
    server.stop()


def test_a_server_that_does_not_come_up_raises_and_is_stopped(engine, monkeypatch):
    failed = Launched(None, OSError('no'))
    monkeypatch.setattr(server_module, 'launchers', [lambda server: failed])
    server = Server(engine)
    with pytest.raises(OSError, match='no'):
        server.start()
    assert not failed.alive
    assert not server.running


def test_wait_raises_what_ended_the_server(engine):
    server = Server(engine)
    server.interrupt = OSError('gone')
    with pytest.raises(OSError, match='gone'):
        server.wait()


class Foreign:
    def __init__(self, server):
        self.server = server

    def start(self):
        pass

    def stop(self):
        pass


@pytest.mark.parametrize('instance', [Foreign, f'{__name__}.Foreign', lambda server: Foreign(server)])
def test_an_instance_may_be_a_class_a_name_or_a_callable(monkeypatch, instance):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Foreign.__module__])
    server = Server()
    server.instance = instance
    found, bind_addr = server.httpserver_from_self()
    assert found.server is server
    assert bind_addr == ('127.0.0.1', 8080)


def test_an_instance_may_be_the_server_object_itself():
    server = Server()
    server.instance = foreign = Foreign(None)
    assert server.httpserver_from_self() == (foreign, ('127.0.0.1', 8080))
    assert Server().httpserver_from_self() == (None, ('127.0.0.1', 8080))
