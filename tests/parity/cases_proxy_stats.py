"""Cases of Spec C 1.3 and 2.9: the tools `proxy`, `autovary` and `session_auth`, and the functions of `cpstats`."""

from __future__ import annotations

import io
import logging
import re
import sys
from typing import Any
from urllib.parse import urlencode

from .table import expression, read
from .transport import hand_over

__all__: list[str] = []

# Whom the proxy tool believes.
NEAR = {'REMOTE_ADDR': '127.0.0.1'}

# --- proxy


def told_by_proxy(cp: Any) -> Any:
    request = cp.request
    return request.base, request.remote.ip, cp.url('/x')


def proxied(
    ident: str,
    headers: dict[str, str],
    environ: dict[str, Any] = NEAR,
    function: Any = told_by_proxy,
    **settings: Any,
) -> None:
    config = {'tools.proxy.on': True, **{f'tools.proxy.{name}': value for name, value in settings.items()}}
    read(f'C1.3-proxy-{ident}', function, config, headers=headers, environ=environ)


proxied('nothing-told', {})
proxied('host', {'X-Forwarded-Host': 'www.example.test'})
proxied('host-port', {'X-Forwarded-Host': 'www.example.test:8080'})
proxied('host-v6', {'X-Forwarded-Host': '[2001:db8::1]:8080'})
proxied('host-url', {'X-Forwarded-Host': 'https://www.example.test'})
proxied('host-own-header', {'X-Host': 'www.example.test'}, local='X-Host')
proxied('host-off', {'X-Forwarded-Host': 'www.example.test'}, local='')
proxied('for', {'X-Forwarded-For': '198.51.100.7'})
proxied('for-private-proxy', {'X-Forwarded-For': '198.51.100.7, 192.168.0.20'})
proxied('for-private-client', {'X-Forwarded-For': '192.168.0.21, 192.168.0.20'})
proxied('for-v6', {'X-Forwarded-For': '2001:db8::7'})
proxied('for-own-header', {'X-Real-Ip': '198.51.100.7'}, remote='X-Real-IP')
proxied('for-off', {'X-Forwarded-For': '198.51.100.7'}, remote='')
proxied('scheme', {'X-Forwarded-Proto': 'https'})
proxied('scheme-ssl-on', {'X-Forwarded-Ssl': 'on'}, scheme='X-Forwarded-Ssl')
proxied('scheme-off', {'X-Forwarded-Proto': 'https'}, scheme='')
proxied('scheme-empty', {'X-Forwarded-Proto': ''})
proxied('base', {}, base='http://www.site.test')
proxied('base-host', {}, base='www.site.test')
proxied('base-host-scheme', {'X-Forwarded-Proto': 'https'}, base='www.site.test')
proxied('base-and-host', {'X-Forwarded-Host': 'www.example.test'}, base='http://www.site.test')
proxied('base-path', {'X-Forwarded-Host': 'www.example.test'}, base='http://www.site.test/path', local='')
proxied('debug', {'X-Forwarded-Host': 'www.example.test'}, debug=True)
proxied('all', {'X-Forwarded-Host': 'a.test', 'X-Forwarded-For': '198.51.100.7', 'X-Forwarded-Proto': 'https'}, NEAR)

# Where they differ: whom to believe,
proxied('stranger', {'X-Forwarded-Host': 'www.example.test'}, {})
proxied('stranger-base', {'X-Forwarded-Host': 'www.example.test'}, {}, base='http://www.site.test')
proxied('for-spoofed', {'X-Forwarded-For': '9.9.9.9, 198.51.100.7'})
proxied('host-spoofed', {'X-Forwarded-Host': 'evil.test, good.test'})
proxied('port', {'X-Forwarded-Port': '8080'})
# what counts as a value,
proxied('for-junk', {'X-Forwarded-For': 'junk'})
proxied('for-port', {'X-Forwarded-For': '198.51.100.7:80'})
proxied('host-junk', {'X-Forwarded-Host': 'a b'})
proxied('host-url-path', {'X-Forwarded-Host': 'http://a.test/x'})
proxied('scheme-javascript', {'X-Forwarded-Proto': 'javascript'})
proxied('scheme-list', {'X-Forwarded-Proto': 'https,http'})
proxied('scheme-ssl-off', {'X-Forwarded-Ssl': 'off'}, scheme='X-Forwarded-Ssl')
proxied('base-slash', {}, base='http://www.site.test/')
# what is rewritten,
proxied('rewrites-scheme', {'X-Forwarded-Proto': 'https'}, function=lambda cp: cp.request.scheme)
proxied(
    'rewrites-name',
    {'X-Forwarded-For': '198.51.100.7'},
    {**NEAR, 'REMOTE_HOST': 'proxy.test'},
    function=lambda cp: cp.request.remote.name,
)
# and what is read.
proxied('forwarded', {'Forwarded': 'for=198.51.100.7;host=a.test;proto=https'})

# --- autovary


def look(cp: Any) -> Any:
    headers = cp.request.headers
    headers.get('Accept-Language')
    headers['Host']
    'If-Modified-Since' in headers  # noqa: B015
    headers.elements('Range')
    return cp.tools.accept.callable(['text/html', 'text/plain'])


def varied(ident: str, function: Any = look, more: Any = None, **settings: Any) -> None:
    config = {'tools.autovary.on': True, **{f'tools.autovary.{name}': value for name, value in settings.items()}}
    read(f'C1.3-autovary-{ident}', function, {**config, **(more or {})}, show=('Vary',))


def look_at_nothing(cp: Any) -> Any:
    return None


def refuse(cp: Any) -> Any:
    cp.request.headers.get('X-A')
    raise cp.HTTPError(402)


def set_vary(cp: Any) -> Any:
    cp.response.headers['Vary'] = 'X-Own'
    return cp.request.headers.get('X-A')


varied('each-way')
varied('ignore', ignore={'Host', 'Range'})
varied('ignore-nothing', lambda cp: cp.request.headers.get('Content-Type'), ignore=set())
varied('ignored-by-default', lambda cp: cp.request.headers.get('Content-Type'))
varied('debug', debug=True)
varied('own', set_vary)
varied('gzip', look_at_nothing, {'tools.gzip.on': True})
varied('nothing', look_at_nothing)
varied('map', lambda cp: type(cp.request.headers).__name__)
varied('accessed', lambda cp: (cp.request.headers.get('X-A'), 'X-A' in cp.request.headers.accessed_headers)[1])
varied('cookies', lambda cp: list(cp.request.cookie))
varied('error', refuse)

# --- session_auth


class Talk:
    """A conversation with an application guarded by session_auth, which keeps its cookie."""

    def __init__(self, cp: Any, **settings: Any) -> None:
        class Root:
            @cp.expose
            def index(self, **kwargs: Any) -> str:
                return f'index for {cp.request.login}'

            @cp.expose
            def page(self, **kwargs: Any) -> str:
                cp.session['seen'] = cp.session.get('seen', 0) + 1
                return f'page for {cp.request.login}, {cp.session["seen"]}'

        settings = {'check_username_and_password': check, **settings}
        config = {f'tools.session_auth.{name}': value for name, value in settings.items()}
        # The session's hooks first.
        self.app = cp.Application(
            Root(), '', {'/': {'tools.sessions.on': True, 'tools.session_auth.on': True, **config}}
        )
        self.cookie = ''
        self.ids: list[str] = []

    def ask(self, method: str, path: str, query: str = '', **fields: str) -> tuple[str, str, str]:
        """Give (status code, location or the form's values, page)."""
        body = urlencode(fields).encode()
        environ = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'QUERY_STRING': query,
            'SERVER_NAME': 'h',
            'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '127.0.0.1',
            'HTTP_HOST': 'h',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(body),
            'wsgi.errors': sys.stderr,
            'wsgi.multithread': True,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
        }
        if method == 'POST':
            environ |= {'CONTENT_LENGTH': str(len(body)), 'CONTENT_TYPE': 'application/x-www-form-urlencoded'}
        if self.cookie:
            environ['HTTP_COOKIE'] = self.cookie
        started: list[Any] = []
        chunks = hand_over(self.app, environ, lambda status, headers, exc_info=None: started.append((status, headers)))
        try:
            text = b''.join(chunks).decode('latin-1')
        finally:
            getattr(chunks, 'close', lambda: None)()
        status, headers = started[-1]
        told = {name.lower(): value for name, value in headers}
        for name, value in headers:
            if name.lower() == 'set-cookie' and value.startswith('session_id='):
                self.cookie = value.partition(';')[0]
                self.ids.append(self.cookie)
        code = status[:3]
        if '<form method="post" action="do_login">' in text:
            fields_shown = [
                re.search(rf'name="{name}"[^>]*? value="([^"]*)"', text) for name in ('username', 'from_page')
            ]
            return code, 'form', str([match and match[1] for match in fields_shown])
        if code >= '300':
            return code, told.get('location', told.get('allow', '')), ''
        return code, '', text

    def log_in(self, **fields: str) -> tuple[str, str, str]:
        return self.ask('POST', '/do_login', **{'username': 'ann', 'password': 'right', **fields})


def check(username: str, password: str) -> str | None:
    return None if password == 'right' else 'wrong'


def talked(ident: str, function: Any, **settings: Any) -> None:
    """Compare what `function` makes of a Talk; the form's status is set to 200 unless that is the question."""
    settings = {'status': 200, **settings}
    expression(f'C1.3-session_auth-{ident}', lambda cp: function(Talk(cp, **settings)))


def steps(**replaced: Any) -> tuple[list[Any], dict[str, Any]]:
    seen: list[Any] = []
    names = ('on_login', 'on_logout', 'on_check')
    return seen, {name: (lambda who, name=name: seen.append((name, who))) for name in names} | replaced


talked('form', lambda talk: talk.ask('GET', '/page', 'a=1'))
talked('form-asked-for', lambda talk: talk.ask('GET', '/login_screen', 'from_page=/x&username=u'))
talked('login-get', lambda talk: talk.ask('GET', '/do_login'))
talked('logout-get', lambda talk: talk.ask('GET', '/do_logout'))
talked('refused', lambda talk: talk.log_in(password='no', from_page='/x'))
talked('login', lambda talk: talk.log_in())
talked('login-from', lambda talk: talk.log_in(from_page='http://h/page?a=1'))
talked('login-from-empty', lambda talk: talk.log_in(from_page=''))
talked('login-from-relative', lambda talk: talk.log_in(from_page='page'))
talked('login-more-fields', lambda talk: talk.log_in(more='x'))
talked('login-deep', lambda talk: talk.ask('POST', '/a/do_login', username='u', password='right'))
talked('page', lambda talk: [talk.log_in(), talk.ask('GET', '/page'), talk.ask('GET', '/page')])
talked('logout', lambda talk: [talk.log_in(), talk.ask('POST', '/do_logout', x='1'), talk.ask('GET', '/page')])
talked('logout-from', lambda talk: talk.ask('POST', '/do_logout', from_page='/page'))
talked('anonymous', lambda talk: talk.ask('GET', '/page'), anonymous=lambda: 'guest')
talked('session-key', lambda talk: [talk.log_in(), talk.ask('GET', '/page')], session_key='who')
talked('debug', lambda talk: [talk.log_in(), talk.ask('GET', '/page')], debug=True)
talked('own-screen', lambda talk: talk.ask('GET', '/page'), login_screen=lambda *args, **kwargs: b'own form')
talked('own-run', lambda talk: talk.ask('GET', '/page'), run=lambda: False)
talked('own-check', lambda talk: talk.ask('GET', '/page'), do_check=lambda: False)
talked('own-login', lambda talk: talk.log_in(), do_login=lambda username, password, **kwargs: username + password == '')
talked(
    'own-logout', lambda talk: talk.ask('POST', '/do_logout', x='1'), do_logout=lambda **kwargs: sorted(kwargs) == []
)


def called_steps(cp: Any) -> Any:
    seen, settings = steps()
    talk = Talk(cp, status=200, **settings)
    talk.log_in(password='no')
    talk.log_in()
    talk.ask('GET', '/page')
    talk.ask('POST', '/do_logout', x='1')
    return seen


expression('C1.3-session_auth-steps', called_steps)

# Where they differ.
talked('form-status', lambda talk: talk.ask('GET', '/page'), status=401)
talked('escaped', lambda talk: talk.log_in(password='no', username='<b>', from_page='<i>'))
talked('open-redirect', lambda talk: talk.log_in(from_page='http://evil.test/'))
talked('open-redirect-slashes', lambda talk: talk.log_in(from_page='//evil.test/'))
talked('missing-field', lambda talk: talk.ask('POST', '/do_login', username='u'))
talked('other-name', lambda talk: talk.ask('POST', '/xdo_login', username='u', password='right'))
talked(
    'new-id', lambda talk: [talk.ask('GET', '/page'), talk.log_in(), len(set(talk.ids[-2:]))][-1], anonymous=lambda: 'x'
)
talked(
    'logout-drops-all',
    lambda talk: [
        talk.log_in(),
        talk.ask('GET', '/page'),
        talk.ask('POST', '/do_logout', x='1'),
        talk.log_in(),
        talk.ask('GET', '/page'),
    ][-1],
)

# --- cpstats


def stats(cp: Any) -> Any:
    from importlib import import_module

    return import_module(f'{cp.__name__}.lib.cpstats')


SCOPE = {'a': lambda s: s['b'] + 1, 'b': 3, 'e': {'f': lambda s: 9}, 'l': [{'d': lambda s: 5}]}
RECORDS = {'b': {'x': 3}, 'a': {'x': 1, 'y': 2.5, 'z': 0}}


def with_namespace(function: Any) -> Any:
    """Call with a StatsPage and a namespace of its own in logging.statistics."""

    def call(cp: Any) -> Any:
        module = stats(cp)
        logging.statistics['Mine'] = {'n': 1.5, 'd': {'k': {'v': 1}}, 'l': [{'v': 2}]}  # type: ignore[attr-defined]
        try:
            return function(module, module.StatsPage())
        finally:
            del logging.statistics['Mine']  # type: ignore[attr-defined]

    return call


def read_lines(cp: Any) -> Any:
    file = stats(cp).ByteCountWrapper(io.BytesIO(b'one\ntwo\nthree\n'))
    return file.readline(), file.bytes_read, file.read(2), file.readlines(), file.bytes_read


NAMES = (
    *('Bytes Read/Request', 'Bytes Read/Second', 'Bytes Written/Request', 'Bytes Written/Second', 'Current Requests'),
    *('Current Time', 'Enabled', 'Requests', 'Requests/Second', 'Server Version', 'Start Time', 'Total Bytes Read'),
    *('Total Bytes Written', 'Total Requests', 'Total Time', 'Uptime'),
)

expression('C2.9-extrapolate', lambda cp: stats(cp).extrapolate_statistics(SCOPE))
expression('C2.9-average', lambda cp: stats(cp).average_uriset_time({'Count': 4, 'Sum': 2.0}))
expression('C2.9-average-none', lambda cp: stats(cp).average_uriset_time({'Count': 0, 'Sum': 2.0}))
expression('C2.9-proc-time', lambda cp: stats(cp).proc_time({'Start Time': 0}) > 1e9)
expression('C2.9-iso-format', lambda cp: stats(cp).iso_format(0))
expression('C2.9-byte-count', read_lines)
expression(
    'C2.9-dict-collection', lambda cp: stats(cp).StatsPage().get_dict_collection(RECORDS, {'x': '%.2f', 'z': None})
)
expression(
    'C2.9-list-collection', lambda cp: stats(cp).StatsPage().get_list_collection([{'x': 1, 'y': 2}], {'y': '%d!'})
)
expression('C2.9-names', lambda cp: [name for name in NAMES if name not in stats(cp).appstats])
expression('C2.9-logging-statistics', lambda cp: [stats(cp), 'CherryPy Applications' in logging.statistics][1])  # type: ignore[attr-defined]
expression(
    'C2.9-namespace', with_namespace(lambda module, page: next(n for n in page.get_namespaces() if n[0] == 'Mine'))
)
expression(
    'C2.9-exposed',
    lambda cp: [
        bool(getattr(getattr(stats(cp).StatsPage, name), 'exposed', False))
        for name in ('index', 'data', 'pause', 'resume')
    ],
)
