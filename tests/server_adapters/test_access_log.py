"""The access line under every server: each atom holds what was asked and answered, whoever parsed the request."""

from __future__ import annotations

import json
import os
import re
import uuid

import pytest

from tests.live import COMMANDS, Live, command, free_port

pytestmark = [pytest.mark.live]

APP = """
import cpadapter

class Root:
    @cpadapter.expose
    def index(self, **more):
        return 'twelve bytes'

    @cpadapter.expose
    def stream(self):
        cpadapter.response.stream = True
        yield 'one'
        yield 'two'

cpadapter.config.update({'log.access_file': 'access.log', 'checker.on': False})
cpadapter.config.update({'log.request_id_from': '127.0.0.1'})
other = cpadapter.tree.mount(Root(), '/json', {'/': {'log.access_file': 'access.json', 'log.json': True}})
other.log.access_log.propagate = False
application = cpadapter.tree
atoms = '{h}|{l}|{u}|{r}|{s}|{b}|{f}|{a}|{o}|{i}|{t}|{z}'
cpadapter.tree.mount(Root(), '', {'/': {'log.access_log_format': atoms}})
"""

SERVERS = [name for name in COMMANDS if name != 'gunicorn-2-workers']


@pytest.fixture
def serve(tmp_path):
    (tmp_path / 'served.py').write_text(APP)
    started = []

    def _serve(name):
        pytest.importorskip(name.partition('-')[0])
        port = free_port()
        live = Live(command(name, 'served:application', port), port, tmp_path, tmp_path / 'output')
        started.append(live)
        return live.ready()

    yield _serve
    for live in started:
        live.kill()


@pytest.mark.parametrize('name', SERVERS)
def test_each_atom_and_the_json_tell_the_same_under_every_server(serve, tmp_path, name):
    live = serve(name)
    agent = {'User-Agent': 'Browser "1"', 'Referer': 'http://example.com/'}
    assert live.get('/?a=%20b', headers=agent).text == 'twelve bytes'
    assert live.get('/stream', headers={'X-Request-Id': 'given-1'}).text == 'onetwo'
    assert live.request('HEAD', '/missing').status == 404
    assert live.get('/json/?a=1', headers={'X-Request-Id': 'given-2'}).status == 200

    def lines():
        found = (tmp_path / 'access.log').read_text().splitlines()
        return found if len(found) == 3 and os.path.getsize(tmp_path / 'access.json') else None

    first, second, third = [line.split('|') for line in live.until(lines, what='three lines')]
    host = f'127.0.0.1:{live.port}'
    assert first[:3] == ['127.0.0.1', '-', '-']
    assert first[3] == 'GET /?a=%20b HTTP/1.1'
    assert first[4:9] == ['200', '12', 'http://example.com/', 'Browser \\"1\\"', host]
    assert uuid.UUID(first[9]).version == 4
    assert re.fullmatch(r'\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\]', first[10])
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z', first[11])
    assert (second[4], second[5], second[9]) == ('200', '-', 'given-1')
    assert third[3].startswith('HEAD /missing HTTP/1.')
    assert third[4] == '404'
    record = json.loads((tmp_path / 'access.json').read_text())
    told = {key: record[key] for key in ('request_id', 'method', 'path', 'remote', 'status', 'bytes')}
    assert told == {
        'request_id': 'given-2',
        'method': 'GET',
        'path': '/json/',
        'remote': '127.0.0.1',
        'status': 200,
        'bytes': 12,
    }
