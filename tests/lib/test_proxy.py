"""The `proxy` tool: which headers count, from whom, and what becomes of values that are none."""

from __future__ import annotations

import pytest

import cpadapter
from cpadapter.lib import cptools
from cpadapter.lib.proxy import ProxyRules, parse_forwarded, parse_node

PRIVATE = '127.0.0.9'
STRANGER = '203.0.113.8'


@pytest.fixture
def ask(client, handler):
    """Gives a call that tells (base, scheme, remote ip, port) as a page sees them; `peer` is who connects."""

    def call(headers=(), peer=PRIVATE, target='/x', version='1.1', host='testserver', **settings):
        class Root:
            @handler
            def x(self):
                request = cpadapter.request
                return f'{request.base} {request.scheme} {request.remote.ip} {request.remote.port}'

            @handler
            def url(self):
                return cpadapter.url('/there')

            @handler
            def away(self):
                raise cpadapter.HTTPRedirect('/there')

            @handler
            def inside(self):
                raise cpadapter.InternalRedirect('/x')

            @handler
            def secret(self, **kwargs):
                return cpadapter.request.remote.name or cpadapter.request.remote.ip

        config = {'tools.proxy.on': True, **{f'tools.proxy.{key}': value for key, value in settings.items()}}
        client.mount(Root(), '', {'/': config})
        more = {'environ': {'REMOTE_ADDR': peer}} if client.protocol == 'wsgi' else {'scope': {'client': (peer, 4321)}}
        return client.get(target, headers=headers, version=version, host=host, **more)

    return call


@pytest.mark.parametrize(
    ('headers', 'settings', 'told'),
    [
        ({}, {}, 'http://testserver http 127.0.0.9 4321'),
        # one part each
        ({'X-Forwarded-Host': 'www.example.com'}, {}, 'http://www.example.com http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'www.example.com:81'}, {}, 'http://www.example.com:81 http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': '[2001:db8::1]:81'}, {}, 'http://[2001:db8::1]:81 http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'https://a.example'}, {}, 'https://a.example https 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'HTTPS://a.example/'}, {}, 'https://a.example https 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'https'}, {}, 'https://testserver https 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'HTTPS'}, {}, 'https://testserver https 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'wss'}, {}, 'https://testserver https 127.0.0.9 4321'),
        ({'X-Forwarded-For': '198.51.100.7'}, {}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-For': '198.51.100.7:99'}, {}, 'http://testserver http 198.51.100.7 99'),
        ({'X-Forwarded-For': '2001:DB8::7'}, {}, 'http://testserver http 2001:db8::7 4321'),
        ({'X-Forwarded-For': '[2001:db8::7]:99'}, {}, 'http://testserver http 2001:db8::7 99'),
        ({'X-Forwarded-For': '::ffff:198.51.100.7'}, {}, 'http://testserver http 198.51.100.7 4321'),
        # several values: from the right, past those that are trusted
        ({'X-Forwarded-For': '9.9.9.9, 198.51.100.7'}, {}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-For': '9.9.9.9, 198.51.100.7, 10.0.0.1'}, {}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-For': '10.0.0.5,10.0.0.6'}, {}, 'http://testserver http 10.0.0.5 4321'),
        ({'X-Forwarded-For': ',, 198.51.100.7'}, {}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-Host': 'evil.example, good.example'}, {}, 'http://good.example http 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'https, http'}, {}, 'http://testserver http 127.0.0.9 4321'),
        (
            {
                'X-Forwarded-For': '9.9.9.9, 198.51.100.7, 10.0.0.1',
                'X-Forwarded-Host': 'evil.example, outer.example, inner.example',
                'X-Forwarded-Proto': 'http, https, http',
            },
            {},
            'https://outer.example https 198.51.100.7 4321',
        ),
        # what is no value
        ({'X-Forwarded-Proto': 'javascript'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': ''}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'off'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'a b'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'a.example/admin'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'https://a.example/admin'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'ftp://a.example'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'u:p@a.example'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'a.example:port'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'a' * 2000}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'gr\xfcn.example'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': 'unknown'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': '<script>'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': '9.9.9.9, junk'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': '9.9.9.9, junk, 10.0.0.3'}, {}, 'http://testserver http 10.0.0.3 4321'),
        ({'X-Forwarded-For': '198.51.100.7:port'}, {}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-For': '198.51.100.7:99999'}, {}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-For': '[2001:db8::7'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': '[1.2.3.4]x'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': '1' * 5000}, {}, 'http://testserver http 127.0.0.9 4321'),
        # headers of other names, and none
        ({'X-Host': 'a.example'}, {'local': 'X-Host'}, 'http://a.example http 127.0.0.9 4321'),
        ({'X-Real-Ip': '198.51.100.7'}, {'remote': 'X-Real-IP'}, 'http://testserver http 198.51.100.7 4321'),
        ({'X-Forwarded-Ssl': 'on'}, {'scheme': 'X-Forwarded-Ssl'}, 'https://testserver https 127.0.0.9 4321'),
        ({'X-Forwarded-Ssl': 'off'}, {'scheme': 'X-Forwarded-Ssl'}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Secure': 'on'}, {'scheme': 'X-Secure'}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'a.example'}, {'local': ''}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-For': '198.51.100.7'}, {'remote': ''}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'https'}, {'scheme': None}, 'http://testserver http 127.0.0.9 4321'),
        # the port, where the host that counts has none
        ({'X-Forwarded-Port': '8080'}, {}, 'http://testserver:8080 http 127.0.0.9 4321'),
        (
            {'X-Forwarded-Host': 'a.example', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Port': '8443'},
            {},
            'https://a.example:8443 https 127.0.0.9 4321',
        ),
        (
            {'X-Forwarded-Host': '[::1]', 'X-Forwarded-Port': '81'},
            {},
            'http://[::1]:81 http 127.0.0.9 4321',
        ),
        ({'X-Forwarded-Host': 'a.example:99', 'X-Forwarded-Port': '81'}, {}, 'http://a.example:99 http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '9, 81'}, {}, 'http://testserver:81 http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '9, 81'}, {'trusted': '*'}, 'http://testserver:9 http 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'https', 'X-Forwarded-Port': '443'}, {}, 'https://testserver https 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'https', 'X-Forwarded-Port': '80'}, {}, 'https://testserver https 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '0'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '65536'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '81@a.example'}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '9' * 5000}, {}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '81'}, {'base': 'http://b.example'}, 'http://b.example http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '81'}, {'port': ''}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Port': '81'}, {'port': 'X-Port'}, 'http://testserver:81 http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '81'}, {'forwarded': True}, 'http://testserver http 127.0.0.9 4321'),
        ({'X-Forwarded-Port': '81'}, {'hops': 0}, 'http://testserver http 127.0.0.9 4321'),
        # a configured base
        ({}, {'base': 'https://site.example/'}, 'https://site.example https 127.0.0.9 4321'),
        ({}, {'base': 'site.example'}, 'http://site.example http 127.0.0.9 4321'),
        ({'X-Forwarded-Proto': 'https'}, {'base': 'site.example'}, 'https://site.example https 127.0.0.9 4321'),
        ({'X-Forwarded-Host': 'a.example'}, {'base': 'http://b.example'}, 'http://a.example http 127.0.0.9 4321'),
        (
            {'X-Forwarded-Host': 'a.example'},
            {'base': 'http://b.example/path', 'local': ''},
            'http://b.example/path http 127.0.0.9 4321',
        ),
    ],
)
def test_a_trusted_proxy_tells_base_scheme_and_address(ask, headers, settings, told):
    answer = ask(headers, **settings)
    assert (answer.status, answer.text) == (200, told)


ALL = {'X-Forwarded-For': '9.9.9.9', 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'https'}
TAKEN = 'https://evil.example https 9.9.9.9 4321'


@pytest.mark.parametrize(
    ('peer', 'settings', 'is_taken'),
    [
        ('127.0.0.1', {}, True),
        ('::1', {}, True),
        ('10.20.30.40', {}, True),
        ('172.31.0.1', {}, True),
        ('192.168.1.1', {}, True),
        ('fd00::1', {}, True),
        ('::ffff:10.0.0.1', {}, True),
        ('', {}, True),
        (STRANGER, {}, False),
        ('172.32.0.1', {}, False),
        ('2001:db8::1', {}, False),
        ('nonsense', {}, False),
        (STRANGER, {'trusted': '*'}, True),
        ('nonsense', {'trusted': '*'}, True),
        (STRANGER, {'trusted': STRANGER}, True),
        (STRANGER, {'trusted': ['10.0.0.0/8', '203.0.113.0/24']}, True),
        (STRANGER, {'trusted': '10.0.0.0/8, 203.0.113.8'}, True),
        (STRANGER, {'trusted': '203.0.113.9'}, False),
        ('127.0.0.1', {'trusted': STRANGER}, False),
        ('127.0.0.1', {'trusted': []}, False),
        ('127.0.0.1', {'trusted': 'private'}, False),
        ('127.0.0.1', {'trusted': ['loopback']}, True),
        ('', {'trusted': 'loopback'}, False),
        ('', {'trusted': 'unix'}, True),
        ('2001:db8::5', {'trusted': '2001:db8::/32'}, True),
        (STRANGER, {'hops': 1}, True),
        (STRANGER, {'hops': 0}, False),
        (STRANGER, {'hops': 1, 'trusted': 'loopback'}, False),
        ('127.0.0.1', {'hops': 1, 'trusted': 'loopback'}, True),
    ],
)
def test_headers_count_only_from_a_trusted_peer(ask, peer, settings, is_taken):
    told = ask(ALL, peer=peer, **settings).text
    assert (told == TAKEN) == is_taken
    assert is_taken or told.startswith('http://testserver http ')


def test_a_strangers_headers_leave_the_configured_base(ask):
    answer = ask(ALL, peer=STRANGER, base='https://site.example')
    assert answer.text == f'https://site.example https {STRANGER} 4321'


@pytest.mark.parametrize(
    ('hops', 'told'),
    [
        (1, 'http://c.example http 3.3.3.3 4321'),
        (2, 'https://b.example https 2.2.2.2 4321'),
        (3, 'http://a.example http 1.1.1.1 4321'),
        (4, 'http://a.example http 1.1.1.1 4321'),
    ],
)
def test_hops_count_from_the_right_whatever_the_addresses_are(ask, hops, told):
    headers = {
        'X-Forwarded-For': '1.1.1.1, 2.2.2.2, 3.3.3.3',
        'X-Forwarded-Host': 'a.example, b.example, c.example',
        'X-Forwarded-Proto': 'http, https, http',
    }
    assert ask(headers, peer=STRANGER, hops=hops).text == told


def test_hops_count_without_the_header_of_the_address(ask):
    headers = {'X-Forwarded-Host': 'a.example, b.example, c.example'}
    assert ask(headers, hops=2, remote='').text.startswith('http://b.example ')


def test_where_everybody_is_trusted_the_first_value_counts(ask):
    headers = {
        'X-Forwarded-For': '1.1.1.1, 2.2.2.2',
        'X-Forwarded-Host': 'a.example, b.example',
        'X-Forwarded-Proto': 'https, http',
    }
    assert ask(headers, trusted='*').text == 'https://a.example https 1.1.1.1 4321'


class TestForwarded:
    @pytest.mark.parametrize(
        ('field', 'told'),
        [
            ('for=198.51.100.7', 'http://testserver http 198.51.100.7 4321'),
            ('For="[2001:db8::7]:99"', 'http://testserver http 2001:db8::7 99'),
            ('for=198.51.100.7;proto=https;host=a.example', 'https://a.example https 198.51.100.7 4321'),
            ('host="a.example:81" ; PROTO=HTTPS', 'https://a.example:81 https 127.0.0.9 4321'),
            # from the right, past the trusted ones; what one leaves out the next one inwards tells
            (
                'for=9.9.9.9;host=evil.example, for=198.51.100.7;host=a.example;proto=https, for=10.0.0.1;host=b',
                'https://a.example https 198.51.100.7 4321',
            ),
            ('for=198.51.100.7, for=10.0.0.1;proto=https', 'https://testserver https 198.51.100.7 4321'),
            # who does not say who he is
            ('for=_hidden;host=a.example', 'http://a.example http 127.0.0.9 4321'),
            ('for=unknown', 'http://testserver http 127.0.0.9 4321'),
            ('for=9.9.9.9, for=_hidden, for=10.0.0.3', 'http://testserver http 10.0.0.3 4321'),
            ('for="198.51.100.7:_port"', 'http://testserver http 198.51.100.7 4321'),
            # what is no value, and what a client wrote to swallow the proxy's own
            ('', 'http://testserver http 127.0.0.9 4321'),
            (';;,,;', 'http://testserver http 127.0.0.9 4321'),
            ('junk', 'http://testserver http 127.0.0.9 4321'),
            ('for', 'http://testserver http 127.0.0.9 4321'),
            ('for=9.9.9.9;host="a', 'http://testserver http 127.0.0.9 4321'),
            ('proto=gopher;host="a b"', 'http://testserver http 127.0.0.9 4321'),
            (
                'for=9.9.9.9;host=evil.example;a=", for="[2001:db8::7]";proto=https',
                'http://testserver http 127.0.0.9 4321',
            ),
        ],
    )
    def test_it_is_read_where_nothing_else_is_told(self, ask, field, told):
        assert ask({'Forwarded': field}).text == told

    def test_the_other_headers_win(self, ask):
        headers = {'Forwarded': 'for=9.9.9.9;host=evil.example;proto=https', 'X-Forwarded-For': '198.51.100.7'}
        assert ask(headers).text == 'http://testserver http 198.51.100.7 4321'

    def test_it_may_be_the_only_one_that_counts(self, ask):
        headers = {'Forwarded': 'for=198.51.100.7', 'X-Forwarded-For': '9.9.9.9', 'X-Forwarded-Host': 'evil.example'}
        assert ask(headers, forwarded=True).text == 'http://testserver http 198.51.100.7 4321'
        del headers['Forwarded']
        assert ask(headers, forwarded=True).text == 'http://testserver http 127.0.0.9 4321'

    def test_it_may_be_left_alone(self, ask):
        assert ask({'Forwarded': 'for=9.9.9.9'}, forwarded=False).text == 'http://testserver http 127.0.0.9 4321'

    def test_a_part_that_is_switched_off_stays_off(self, ask):
        field = 'for=9.9.9.9;host=a.example;proto=https'
        answer = ask({'Forwarded': field}, remote='', local='')
        assert answer.text == 'https://testserver https 127.0.0.9 4321'
        assert ask({'Forwarded': field}, scheme='').text == 'http://a.example http 9.9.9.9 4321'

    def test_hops_count_its_elements(self, ask):
        field = 'for=1.1.1.1;host=a.example, for=2.2.2.2;host=b.example, for=3.3.3.3;host=c.example'
        assert ask({'Forwarded': field}, peer=STRANGER, hops=2).text == 'http://b.example http 2.2.2.2 4321'

    def test_a_stranger_is_not_heard(self, ask):
        assert ask({'Forwarded': 'for=9.9.9.9;host=a.example'}, peer=STRANGER).text.startswith('http://testserver ')


def test_urls_and_redirects_follow(ask):
    headers = {'X-Forwarded-Host': 'a.example', 'X-Forwarded-Proto': 'https'}
    assert ask(headers, target='/url').text == 'https://a.example/there'
    assert ask(headers, target='/away').headers['Location'] == 'https://a.example/there'


def test_an_internal_redirect_keeps_what_was_told(ask):
    assert ask(ALL, target='/inside').text == TAKEN


def test_the_access_log_names_the_client(ask, client):
    import logging

    lines = []
    logger = client.site.log.access_log
    collect = logging.Handler()
    collect.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(collect)
    try:
        ask(ALL)
    finally:
        logger.removeHandler(collect)
    assert lines[0].startswith('9.9.9.9 - - ')


def test_the_name_of_the_proxy_is_not_the_clients(wsgi, handler):
    class Root:
        @handler
        def index(self):
            return cpadapter.request.remote.name or 'no name'

    wsgi.mount(Root(), '', {'/': {'tools.proxy.on': True}})
    environ = {'REMOTE_HOST': 'proxy.example'}
    assert wsgi.get('/', environ=environ).text == 'proxy.example'
    assert wsgi.get('/', environ=environ, headers={'X-Forwarded-For': '9.9.9.9'}).text == 'no name'


def test_a_request_without_host_has_the_servers_address(ask):
    assert ask({'X-Forwarded-Proto': 'https'}, version='1.0', host=None).text.startswith('https://127.0.0.1')


def test_debug_says_what_was_taken(ask, client):
    ask(ALL, debug=True)
    assert any('TOOLS.PROXY' in line and 'evil.example' in line and '9.9.9.9' in line for line in client.errors)


def test_off_it_reads_nothing(client, handler):
    class Root:
        @handler
        def index(self):
            return cpadapter.request.base

    client.mount(Root())
    assert client.get('/', headers=ALL).text == 'http://testserver'


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'trusted': '10.0.0.300'}, "'tools.proxy.trusted' = '10.0.0.300'"),
        ({'trusted': ['10.0.0.1', 'somebody']}, "'somebody' is no address or network"),
        ({'hops': -1}, "'tools.proxy.hops' = -1"),
        ({'hops': '2'}, "'tools.proxy.hops' = '2'"),
        ({'hops': True}, "'tools.proxy.hops' = True"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(settings, message, ask, client):
    with pytest.raises(ValueError) as caught:
        ProxyRules(**settings)
    assert message in str(caught.value)
    assert ask(**settings).status == 500
    assert any(message in line for line in client.errors)


def test_a_stranger_tells_no_port(ask):
    told = f'http://testserver http {STRANGER} 4321'
    assert ask({'X-Forwarded-Port': '81', 'X-Forwarded-Host': 'a.example'}, peer=STRANGER).text == told


def test_settings_are_read_once_for_a_plan(ask, client, monkeypatch):
    made = []
    before = ProxyRules.__init__
    monkeypatch.setattr(
        ProxyRules, '__init__', lambda self, *args, **kw: (made.append(kw), before(self, *args, **kw))[0]
    )
    ask(ALL, trusted=['10.0.0.0/8'])
    for _ in range(3):
        client.get('/x')
    assert len(made) == 1


def test_the_function_may_be_called_by_itself(client, handler):
    class Root:
        @handler
        def index(self):
            cptools.proxy(local='X-Host', trusted=['127.0.0.9'])
            return cpadapter.url('/x')

    client.mount(Root())
    assert client.get('/', headers={'X-Host': 'a.example'}).text == 'http://a.example/x'


def test_the_answer_about_peers_is_remembered_within_bounds():
    rules = ProxyRules()
    for number in range(3000):
        rules.trusts_peer(f'8.8.{number // 250}.{number % 250}')
    assert len(rules.peers) <= 1000


@pytest.mark.parametrize('size', [50_000, 100_000])
@pytest.mark.parametrize('piece', [',', '"', ';', '\\', '="', 'a=', 'for=1.1.1.1,', 'a="b";', ' ', '\t,', '[', ':'])
def test_long_hostile_headers_are_read_at_once(piece, size):
    import time

    text = (piece * size)[:size]
    began = time.perf_counter()
    parse_forwarded(text)
    parse_forwarded('for="' + text)
    parse_node(text)
    assert time.perf_counter() - began < 1


def test_hostile_headers_are_no_error(ask):
    for piece in (',', '"', ';', '\\', '[', 'for=', '=' * 9, '1.1.1.1,', '\xff'):
        text = (piece * 3000)[:9000]
        headers = dict.fromkeys(('X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto'), text)
        for hops in (None, 2):
            assert ask(headers, hops=hops).status == 200
            assert ask({'Forwarded': text}, hops=hops).status == 200


@pytest.mark.parametrize(
    ('field', 'elements'),
    [
        ('for=a', [{'for': 'a'}]),
        ('for=a,for=b', [{'for': 'a'}, {'for': 'b'}]),
        (' for=a ; By="x, y;z" , , for="q\\"r"', [{'for': 'a', 'by': 'x, y;z'}, {'for': 'q"r'}]),
        ('for=a,', [{'for': 'a'}]),
        ('for=', [{'for': ''}]),
        ('for=a b', []),
        ('for = a', []),
        ('for="a"b', []),
        ('=a', []),
    ],
)
def test_forwarded_is_read_by_its_grammar(field, elements):
    assert parse_forwarded(field) == elements
