"""What a WebSocket decides without a connection: codes, origins, settings."""

from __future__ import annotations

import pytest

from cpadapter.core.websocket import SETTINGS, BadMessage, WebSocket, check_setting, normal_origin
from cpadapter.errors import ClientDisconnected, WebSocketClosed


class Connection:
    """Keeps what it is told."""

    subprotocols = ('a', 'b')

    def __init__(self):
        self.sent = []

    async def close(self, code, reason):
        self.sent.append((code, reason))


class Exchange:
    plan = None


@pytest.fixture
def ws():
    ws = WebSocket(Exchange(), Connection())
    ws.state = 'open'
    return ws


def finish(coroutine):
    with pytest.raises(StopIteration) as info:
        coroutine.send(None)
    return info.value.value


@pytest.mark.parametrize(
    'code', [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_codes_that_rfc_6455_lets_be_sent_are_sent(ws, code):
    finish(ws.close(code, 'why'))
    assert ws._connection.sent == [(code, 'why')]
    assert (ws.state, ws.close_code, ws.close_reason, ws.closed) == ('closed', code, 'why', True)


@pytest.mark.parametrize(
    'code', [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, True, 1000.0, '1000', None]
)
def test_other_codes_are_refused(ws, code):
    with pytest.raises(ValueError, match='RFC 6455'):
        ws.close(code).send(None)
    assert ws.state == 'open'


def test_a_reason_has_123_bytes_at_most(ws):
    with pytest.raises(ValueError, match='123 bytes'):
        ws.close(1000, 'ü' * 62).send(None)
    finish(ws.close(1000, 'ü' * 61 + 'x'))
    assert len(ws._connection.sent) == 1


def test_closing_twice_changes_nothing(ws):
    finish(ws.close(4000))
    finish(ws.close(4001))
    assert ws._connection.sent == [(4000, '')]
    assert ws.close_code == 4000


def test_what_is_raised_when_the_peer_has_gone_is_a_client_that_has_gone():
    exc = WebSocketClosed(4000, 'bye')
    assert isinstance(exc, ClientDisconnected)
    assert (exc.code, exc.reason, str(exc)) == (4000, 'bye', 'The WebSocket was closed with 4000: bye.')
    assert str(WebSocketClosed()) == 'The WebSocket was closed with 1006.'
    assert isinstance(BadMessage(1003, 'x'), ValueError)


@pytest.mark.parametrize(
    ('origin', 'normal'),
    [
        ('https://Example.COM', 'https://example.com'),
        ('https://example.com:443', 'https://example.com'),
        ('https://example.com:80', 'https://example.com:80'),
        ('http://example.com:80', 'http://example.com'),
        ('wss://example.com:443', 'https://example.com'),
        (' null ', 'null'),
        ('', ''),
        ('http://[::1]:80', 'http://[::1]'),
    ],
)
def test_origins_are_compared_without_their_usual_port(origin, normal):
    assert normal_origin(origin) == normal


@pytest.mark.parametrize(
    ('name', 'value', 'used'),
    [
        ('origins', None, None),
        ('origins', '*', '*'),
        ('origins', ['https://a', '*'], '*'),
        ('origins', 'https://a:443', frozenset({'https://a'})),
        ('origins', [], frozenset()),
        ('subprotocols', 'a', ('a',)),
        ('subprotocols', ['b', 'a'], ('b', 'a')),
        ('subprotocols', None, ()),
        ('max_size', None, None),
        ('max_size', 5, 5),
        ('idle_timeout', 0.5, 0.5),
    ],
)
def test_settings_are_used_as_they_are_meant(name, value, used):
    assert check_setting(name, value) == (used, '')


def test_each_setting_has_a_default_that_passes_its_check():
    for name, value in SETTINGS.items():
        assert check_setting(name, value)[1] == ''
