"""Ports, threads that serve, and the adapter for foreign servers."""

from __future__ import annotations

import os
import socket
import stat
import threading

import pytest

from cpadapter.core.engine import Engine
from cpadapter.process import servers
from cpadapter.process.servers import PortInUse, ServerAdapter, ServerThread


@pytest.fixture
def taken():
    """The address of a socket that listens."""
    with socket.create_server(('127.0.0.1', 0)) as sock:
        yield sock.getsockname()


@pytest.fixture
def free():
    """The address of a port nobody listens on."""
    with socket.create_server(('127.0.0.1', 0)) as sock:
        return sock.getsockname()


@pytest.fixture
def bus():
    bus = Engine()
    bus.lines = []
    bus.subscribe('log', lambda msg, level: bus.lines.append(msg))
    yield bus
    bus.exit()


# ---------------------------------------------------------------------- ports


def test_an_occupied_port_is_told_from_a_free_one(taken, free):
    servers.wait_for_occupied_port(*taken)
    servers.wait_for_free_port(*free)
    servers.check_port(*free)
    with pytest.raises(PortInUse, match=r'127\.0\.0\.1 port \d+: the port is in use\. .* server\.socket_port'):
        servers.check_port(*taken)
    with pytest.raises(OSError, match='in use'):
        servers.wait_for_free_port(*taken, timeout=0)
    with pytest.raises(OSError, match='Nothing accepts'):
        servers.wait_for_occupied_port(*free, timeout=0)


@pytest.mark.parametrize('check', [servers.check_port, servers.wait_for_free_port, servers.wait_for_occupied_port])
def test_a_port_needs_a_host(check):
    with pytest.raises(ValueError, match='not allowed'):
        check('', 80)


def test_a_client_connects_to_loopback_where_the_server_listens_everywhere():
    assert servers.client_host('0.0.0.0') == '127.0.0.1'
    assert servers.client_host('::') == '::1'
    assert servers.client_host('10.0.0.1') == '10.0.0.1'


def test_binding_to_a_taken_port_says_host_port_and_what_to_do(taken):
    with pytest.raises(PortInUse) as caught:
        servers.bind_socket(taken)
    assert f'127.0.0.1 port {taken[1]}' in str(caught.value)
    assert 'server.socket_port' in str(caught.value)


def test_binding_to_a_foreign_address_names_the_setting():
    with pytest.raises(PortInUse, match=r'192\.0\.2\.1 port 0: .* server\.socket_host'):
        servers.bind_socket(('192.0.2.1', 0))


@pytest.mark.skipif(not hasattr(socket, 'AF_UNIX'), reason='needs Unix sockets')
def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path):
    path = str(tmp_path / 's')
    servers.bind_socket(path).close()
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    with servers.bind_socket(path) as sock:
        sock.listen()
        with pytest.raises(PortInUse, match=r'socket file .* server\.socket_file'):
            servers.bind_socket(path)


@pytest.mark.skipif(not hasattr(socket, 'AF_UNIX'), reason='needs Unix sockets')
def test_a_plain_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / 's'
    path.write_text('precious')
    with pytest.raises(PortInUse):
        servers.bind_socket(str(path))
    assert path.read_text() == 'precious'


# ---------------------------------------------------------------------- ServerThread


def test_a_server_thread_waits_until_started_and_stops():
    def serve(handle):
        handle.stop_with(lambda: None)
        handle.started(('127.0.0.1', 1))
        handle.wait_for_stop()

    thread = ServerThread(serve).start()
    thread.wait()
    assert thread.address == ('127.0.0.1', 1)
    assert thread.alive
    thread.stop()
    thread.stop()
    assert not thread.alive
    thread.wait()


def test_a_server_that_fails_before_it_accepts_is_raised_by_wait():
    def serve(handle):
        raise OSError('no')

    thread = ServerThread(serve, on_failure=pytest.fail).start()
    with pytest.raises(OSError, match='no'):
        thread.wait()


@pytest.mark.parametrize('ending', [None, SystemExit(3)])
def test_a_server_that_gives_up_before_it_accepts_is_an_error(ending):
    def serve(handle):
        if ending is not None:
            raise ending

    with pytest.raises(RuntimeError, match='ended by itself'):
        ServerThread(serve).start().wait()


def test_a_server_that_fails_later_is_reported():
    failures = []
    go = threading.Event()

    def serve(handle):
        handle.started('/s')
        go.wait(5)
        raise OSError('later')

    thread = ServerThread(serve, on_failure=failures.append).start()
    thread.wait()
    go.set()
    thread._thread.join(5)
    assert [str(failure) for failure in failures] == ['later']


def test_stop_before_the_server_said_how_is_not_lost():
    called = threading.Event()
    go = threading.Event()

    def serve(handle):
        go.wait(5)
        handle.stop_with(called.set)

    thread = ServerThread(serve, timeout=-2).start()
    thread.stop()
    go.set()
    assert called.wait(5)


# ---------------------------------------------------------------------- ServerAdapter


class Foreign:
    """An HTTP server of the kind CherryPy adapts."""

    def __init__(self):
        self.ready = False
        self.error = None
        self._end = threading.Event()

    def start(self):
        self.ready = True
        self._end.wait(5)
        if self.error is not None:
            raise self.error

    def stop(self):
        self.ready = False
        self._end.set()


def test_a_foreign_server_follows_the_bus(bus, free):
    foreign = Foreign()
    adapter = ServerAdapter(bus, foreign, free)
    adapter.subscribe()
    bus.start()
    assert foreign.ready
    assert adapter.running
    assert f'Serving on http://127.0.0.1:{free[1]}' in bus.lines
    adapter.wait()
    bus.exit()
    assert not foreign.ready
    assert not adapter.running
    assert f'HTTP Server {foreign} shut down' in bus.lines


def test_an_unsubscribed_adapter_starts_nothing(bus, free):
    adapter = ServerAdapter(bus, Foreign(), free)
    adapter.subscribe()
    adapter.unsubscribe()
    bus.start()
    assert not adapter.running


def test_an_adapter_refuses_an_occupied_port(bus, taken):
    ServerAdapter(bus, Foreign(), taken).subscribe()
    with pytest.raises(SystemExit) as caught:
        bus.start()
    assert caught.value.code == 1
    assert sum('the port is in use' in line for line in bus.lines) == 1
    assert not any('Traceback' in line for line in bus.lines)


def test_an_adapter_without_a_server_says_so(bus):
    with pytest.raises(ValueError, match='No HTTP server'):
        ServerAdapter(bus).start()


def test_an_error_in_a_foreign_server_ends_the_bus(bus):
    foreign = Foreign()
    adapter = ServerAdapter(bus, foreign)
    adapter.subscribe()
    bus.start()
    foreign.error = OSError('gone')
    foreign._end.set()
    bus.wait(bus.states.EXITING, 0.001)
    with pytest.raises(OSError, match='gone'):
        adapter.wait()
    assert any(line.startswith('Error in HTTP server') for line in bus.lines)


def test_a_hosted_adapter_starts_nothing(bus, free):
    foreign = Foreign()
    ServerAdapter(bus, foreign, free).subscribe()
    bus.ensure_started()
    assert not foreign.ready


@pytest.mark.parametrize(
    ('address', 'description'),
    [
        (None, 'unknown interface (dynamic?)'),
        ('/run/s', 'socket file: /run/s'),
        (('127.0.0.1', 8080), 'http://127.0.0.1:8080'),
    ],
)
def test_an_adapter_describes_its_address(bus, address, description):
    assert ServerAdapter(bus, Foreign(), address).description == description
