"""Every built-in tool with a plain page handler and an async one, by WSGI and by ASGI: four times the same answers.

Each row of `TOOLS` is one tool: its settings, the page behind it, what is asked, and what the tool has to show for it.
"""

from __future__ import annotations

import base64
import re
import time
import xmlrpc.client
from dataclasses import dataclass, field
from typing import Any

import pytest

import cpadapter
from cpadapter.lib import auth_basic, auth_digest, xmlrpcutil
from tests.conftest import Colour

PROTOCOLS = ('wsgi', 'asgi')
COLOURS = ('sync', 'async')


def text():
    return 'grün'


def fails():
    raise LookupError('not foreseen')


def returns(value):
    """Give a page that gives `value`."""

    def page():
        return value

    return page


def counts():
    cpadapter.session['n'] = cpadapter.session.get('n', 0) + 1
    return f'{cpadapter.session["n"]} for {cpadapter.request.login}'


def visits():
    """Give a page that counts its calls."""
    seen = []

    def page():
        seen.append(1)
        return f'visit {len(seen)}'

    return page


def parameters(**kwargs):
    return repr(sorted(kwargs.items()))


def number(n):
    return repr(n)


number.__annotations__['n'] = int


def login():
    return cpadapter.request.login


def looks():
    return cpadapter.request.headers.get('X-A', 'none')


def remote():
    return f'{cpadapter.request.base} {cpadapter.request.remote.ip}'


def posted():
    return repr(cpadapter.request.json)


def nested():
    return iter([b'a', iter([b'b', iter([b'c'])])])


def proof(client):
    """Give the digest of ann's password for the challenge that the page sends."""
    challenge = next(
        value
        for value in client.get('/x').headers.get_all('WWW-Authenticate')
        if value.startswith('Digest') and 'algorithm="MD5"' in value
    )
    nonce = re.search(r'nonce="([^"]+)"', challenge)[1]
    opaque = re.search(r'opaque="([^"]+)"', challenge)[1]
    ha1 = auth_digest.md5_hex('ann:r:x')
    ha2 = auth_digest.md5_hex('GET:/x')
    response = auth_digest.md5_hex(f'{ha1}:{nonce}:00000001:c:auth:{ha2}')
    return (
        f'Digest username="ann", realm="r", nonce="{nonce}", uri="/x", algorithm="MD5", qop=auth, nc=00000001, '
        f'cnonce="c", response="{response}", opaque="{opaque}"'
    )


@dataclass
class Row:
    """One tool at work.

    settings: of the tool. page: what handles /x, or makes it where `made`. asks: requests as (method, target, more)
    or calls of the client, which give the header to send or an answer. shows: for each answer the status, and
    headers, the body as text, or None where it need only be the same four times. logs: what the error log has to hold.
    """

    settings: dict[str, Any]
    asks: list[Any]
    shows: list[tuple[int, dict[str, str], str | None]]
    page: Any = text
    made: bool = False
    also: dict[str, Any] = field(default_factory=dict)
    logs: str = ''


GET = ('GET', '/x', {})
ANN = 'Basic ' + base64.b64encode(b'ann:x').decode()


def get(**headers):
    return 'GET', '/x', {'headers': {name.replace('_', '-'): value for name, value in headers.items()}}


def with_cookie(method, target, **more):
    """Give a request with the cookie that came last."""

    def ask(client):
        return client.request(method, target, headers={'Cookie': client.cookie}, **more)

    return ask


def with_proof(client):
    return client.get('/x', headers={'Authorization': proof(client)})


PLAIN = {'content-type': 'text/html;charset=utf-8'}
LOGIN = {'username': 'ann', 'password': 'x', 'from_page': '/x'}
CALL = {'body': xmlrpc.client.dumps(('grün', 1), 'echo').encode(), 'headers': {'Content-Type': 'text/xml'}}

TOOLS = {
    'accept': Row(
        {'media': ['text/html', 'text/plain']},
        [get(Accept='text/plain'), get(Accept='image/png')],
        [(200, PLAIN, 'grün'), (406, {}, None)],
    ),
    'allow': Row(
        {'methods': ['GET']},
        [GET, ('PUT', '/x', {'body': b''})],
        [(200, {'allow': 'GET, HEAD'}, 'grün'), (405, {'allow': 'GET, HEAD'}, None)],
    ),
    'auth_basic': Row(
        {'realm': 'r', 'checkpassword': auth_basic.checkpassword_dict({'ann': 'x'})},
        [GET, get(Authorization=ANN)],
        [(401, {'www-authenticate': 'Basic realm="r", charset="UTF-8"'}, None), (200, PLAIN, 'ann')],
        page=login,
    ),
    'auth_digest': Row(
        {'realm': 'r', 'key': 'k', 'get_ha1': auth_digest.get_ha1_dict_plain({'ann': 'x'})},
        [GET, with_proof],
        [(401, {}, None), (200, PLAIN, 'ann')],
        page=login,
    ),
    'autovary': Row({}, [get(X_A='1')], [(200, {'vary': 'Accept-Charset, X-A'}, '1')], page=looks),
    'caching': Row({}, [GET, GET], [(200, PLAIN, 'visit 1'), (200, {'age': '0'}, 'visit 1')], page=visits, made=True),
    'cpstats': Row({}, [GET], [(200, PLAIN, 'grün')]),
    'decode': Row(
        {'encoding': 'latin-1'},
        [('POST', '/x', {'body': b'a=%FC', 'headers': {'Content-Type': 'application/x-www-form-urlencoded'}})],
        [(200, PLAIN, "[('a', 'ü')]")],
        page=parameters,
    ),
    'encode': Row(
        {'encoding': 'latin-1'},
        [GET],
        [(200, {'content-type': 'text/html;charset=latin-1', 'content-length': '4'}, None)],
    ),
    'err_redirect': Row(
        {'url': '/target', 'internal': True}, [GET], [(200, PLAIN, 'target')], page=fails, logs='not foreseen'
    ),
    'etags': Row(
        {'autotags': True},
        [GET, get(If_None_Match='*')],
        [(200, {'etag': '"7b934a60ddc07b8f5b1134c03430bba6"'}, 'grün'), (304, {}, '')],
    ),
    'expires': Row({'force': True}, [GET], [(200, {'expires': 'Sun, 28 Jan 2007 00:00:00 GMT'}, 'grün')]),
    'flatten': Row({}, [GET], [(200, {}, 'abc')], page=nested),
    'gzip': Row(
        {'compress_level': 9},
        [get(Accept_Encoding='gzip'), GET],
        [(200, {'content-encoding': 'gzip', 'vary': 'Accept-Encoding'}, None), (200, {}, 'a' * 5000)],
        page=returns('a' * 5000),
    ),
    'health': Row(
        {'checks': {'mind': lambda: None}, 'timeout': 30},
        [GET, ('POST', '/x', {'body': b''})],
        [
            (200, {'content-type': 'application/json', 'cache-control': 'no-store'}, '{"status": "ok"}'),
            (405, {'allow': 'GET, HEAD'}, None),
        ],
    ),
    'ignore_headers': Row({'headers': ('X-A',)}, [get(X_A='1')], [(200, PLAIN, 'none')], page=looks),
    'json_in': Row(
        {},
        [('POST', '/x', {'json': {'a': [1]}}), ('POST', '/x', {'body': b'{', 'headers': {'Content-Type': 'text/x'}})],
        [(200, PLAIN, "{'a': [1]}"), (415, {}, None)],
        page=posted,
    ),
    'json_out': Row({}, [GET], [(200, {'content-type': 'application/json'}, '{"a": [1]}')], page=returns({'a': [1]})),
    'log_headers': Row({}, [get(X_A='told')], [(500, {}, None)], page=fails, logs='X-A: told'),
    'log_hooks': Row({}, [GET], [(200, PLAIN, 'grün')], logs='Request Hooks for http://testserver/x:'),
    'log_tracebacks': Row({'severity': 30}, [GET], [(500, {}, None)], page=fails, logs='LookupError: not foreseen'),
    'params': Row(
        {'error': 422},
        [('GET', '/x?n=5', {}), ('GET', '/x?n=five', {})],
        [(200, PLAIN, '5'), (422, {}, None)],
        page=number,
    ),
    'proxy': Row(
        {'base': 'https://own.test', 'local': '', 'trusted': '127.0.0.0/8'},
        [get(X_Forwarded_For='198.51.100.7')],
        [(200, PLAIN, 'https://own.test 198.51.100.7')],
        page=remote,
    ),
    'redirect': Row(
        {'url': '/target', 'internal': False}, [GET], [(303, {'location': 'http://testserver/target'}, None)]
    ),
    'referer': Row(
        {'pattern': 'http://own', 'error': 404},
        [get(Referer='http://own/x'), get(Referer='http://other')],
        [(200, PLAIN, 'grün'), (404, {}, None)],
    ),
    'response_headers': Row({'headers': [('X-Own', 'set')]}, [GET], [(200, {'x-own': 'set'}, 'grün')]),
    'session_auth': Row(
        {'check_username_and_password': lambda name, password: '' if password == 'x' else 'wrong'},
        [
            GET,
            ('POST', '/do_login', {'form': {**LOGIN, 'password': 'y'}}),
            ('POST', '/do_login', {'form': LOGIN}),
            with_cookie('GET', '/x'),
            with_cookie('POST', '/do_logout', form={'from_page': '/x'}),
            with_cookie('GET', '/x'),
        ],
        [
            (401, {}, None),
            (401, {}, None),
            (303, {'location': 'http://testserver/x'}, None),
            (200, PLAIN, '1 for ann'),
            (303, {}, None),
            (401, {}, None),
        ],
        page=counts,
        also={'tools.sessions.on': True},
    ),
    'sessions': Row(
        {'name': 'own_id'},
        [GET, with_cookie('GET', '/x'), GET],
        [(200, PLAIN, '1 for None'), (200, PLAIN, '2 for None'), (200, PLAIN, '1 for None')],
        page=counts,
    ),
    'sse': Row(
        {'ping': 0},
        [GET],
        [(200, {'content-type': 'text/event-stream;charset=utf-8'}, 'data: one\n\ndata: two\n\n')],
        page=returns(['one', 'two']),
    ),
    'staticdir': Row(
        {'index': 'index.html'},
        [('GET', '/x/a.txt', {}), ('GET', '/x/nosuch', {}), ('GET', '/x/a.txt', {'headers': {'Range': 'bytes=1-2'}})],
        [(200, {'content-type': 'text/plain'}, 'abcd'), (200, PLAIN, 'grün'), (206, {}, 'bc')],
    ),
    'staticfile': Row({'content_types': {'txt': 'text/x-own'}}, [GET], [(200, {'content-type': 'text/x-own'}, 'abcd')]),
    'trailing_slash': Row(
        {'extra': True, 'status': 302}, [('GET', '/x/?a=1', {})], [(302, {'location': 'http://testserver/x?a=1'}, None)]
    ),
    'xmlrpc': Row(
        {},
        [('POST', '/calls/', CALL), ('POST', '/calls/', {**CALL, 'body': b'no call'})],
        [(200, {'content-type': 'text/xml;charset=utf-8'}, None), (200, {'content-type': 'text/xml'}, None)],
        logs='method "ERRORMETHOD" is not supported',
    ),
}


def make_root(handler, row):
    """Give a root whose pages are of the handler's colour."""
    page = row.page() if row.made else row.page

    class Calls(xmlrpcutil.XMLRPCController):
        @staticmethod
        @handler
        def echo(*args):
            return list(args)

    class Root:
        calls = Calls()
        target = staticmethod(handler(returns('target')))

    def page_x(*args, **kwargs):
        # What stands behind the file that was not found is asked for by its path.
        return page(**kwargs)

    painted = handler.paint(page if row.page is number else page_x)
    painted.__annotations__ = dict(page.__annotations__)
    painted.exposed = True
    Root.x = staticmethod(painted)
    return Root()


def converse(client, handler, tool, folder):
    """Ask what the tool's row asks; give the answers, and the lines of the error log."""
    row = TOOLS[tool]
    settings = dict(row.settings)
    if tool == 'staticdir':
        settings['dir'] = str(folder)
    if tool == 'staticfile':
        settings['filename'] = str(folder / 'a.txt')
    config = {**row.also, f'tools.{tool}.on': True, **{f'tools.{tool}.{key}': v for key, v in settings.items()}}
    # The pages beside /x are the controller of calls, and where redirects go.
    place = '/x' if tool in ('redirect', 'err_redirect', 'staticdir', 'staticfile') else '/'
    client.mount(make_root(handler, row), '', {place: config})
    client.cookie = ''
    answers = []
    for ask in row.asks:
        answer = ask(client) if callable(ask) else client.request(ask[0], ask[1], **ask[2])
        for cookie in answer.headers.get_all('Set-Cookie'):
            client.cookie = cookie.partition(';')[0]
        answers.append(answer)
    return answers, client.errors


VARYING = re.compile(
    r'((?:session|own)_id=|nonce="|opaque="|cnonce="|rspauth="|nextnonce="|expires=)[^";]+'
    r'|(?<=name="csrf" value=")[^"]+'
)


def reduce(answer):
    """Give the parts of an answer that are the same each time."""
    headers = sorted((name.lower(), VARYING.sub(r'\1...', value)) for name, value in answer.headers)
    return (
        answer.status,
        headers,
        answer.body if answer.headers.get('Content-Encoding') else VARYING.sub('', body(answer)),
    )


def body(answer):
    return answer.body.decode('utf-8', 'replace')


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'a.txt').write_text('abcd')
    return tmp_path


@pytest.mark.parametrize('tool', TOOLS)
def test_a_tool_answers_alike_in_both_colours_and_by_both_protocols(make_client, folder, tool, monkeypatch):
    row = TOOLS[tool]
    now = time.time()
    monkeypatch.setattr(time, 'time', lambda: now)
    seen = {}
    for protocol in PROTOCOLS:
        for colour in COLOURS:
            answers, errors = converse(make_client(protocol), Colour(colour), tool, folder)
            seen[protocol, colour] = [reduce(answer) for answer in answers]
            assert row.logs in '\n'.join(errors), (protocol, colour)
            assert row.logs or not errors, (protocol, colour)
            assert [answer.status for answer in answers] == [status for status, _, _ in row.shows], (protocol, colour)
            for answer, (_, headers, shown) in zip(answers, row.shows, strict=True):
                assert {name: answer.headers.get(name) for name in headers} == headers
                assert shown is None or body(answer) == shown
    first = seen['wsgi', 'sync']
    for which, answers in seen.items():
        assert answers == first, which


def test_no_tool_is_missing_here():
    assert sorted(TOOLS) == sorted(cpadapter.tools.names())
