"""Settings of tools that cannot be meant: told when a plan is compiled, with key, value, place and what to change."""

from __future__ import annotations

import datetime
import inspect
import pathlib
import re
import warnings

import pytest

import cpadapter
from cpadapter.extension.tools import required_names
from cpadapter.lib import checks
from cpadapter.lib.sessions import RamSession

BAD = [
    ('accept', {'media': 5}, 'media', 'text, or a list'),
    ('accept', {'media': ['text/html', None]}, 'media', 'None is none'),
    ('accept', {'media': iter(['text/html'])}, 'media', 'text, or a list'),
    ('allow', {'methods': 'GET, POST'}, 'methods', "as a list, such as ['GET', 'POST']"),
    ('allow', {'methods': ['GET', 1]}, 'methods', '1 is none'),
    ('auth_basic', {'realm': 'a "b"', 'checkpassword': print}, 'realm', 'quote'),
    ('auth_basic', {'realm': 'a', 'checkpassword': {'ann': 'x'}}, 'checkpassword', 'can be called'),
    ('auth_basic', {'realm': 'a', 'checkpassword': print, 'accept_charset': 'uft-8'}, 'accept_charset', 'no charset'),
    ('auth_digest', {'realm': 'a', 'get_ha1': {}, 'key': 'k'}, 'get_ha1', 'can be called'),
    ('auth_digest', {'realm': 'a', 'get_ha1': print, 'key': 'k', 'algorithms': 'sha1'}, 'algorithms', 'SHA-256'),
    ('auth_digest', {'realm': 'a', 'get_ha1': print, 'key': 'k', 'max_age': '1 h'}, 'max_age', 'number'),
    ('autovary', {'ignore': ['Accept Charset']}, 'ignore', 'no name of a header'),
    ('caching', {'delay': '10'}, 'delay', 'number'),
    ('caching', {'maxsize': -1}, 'maxsize', '0 or more'),
    ('caching', {'cache_class': 'MemoryCache'}, 'cache_class', 'can be called'),
    ('cpstats', {'slow_queries': 'slow'}, 'slow_queries', 'number'),
    ('cpstats', {'slow_queries_count': 1.5}, 'slow_queries_count', 'whole number of 0 or more'),
    ('decode', {'encoding': 'uft-8'}, 'encoding', "'utf-8'"),
    ('decode', {'default_encoding': ['utf-8', 7]}, 'default_encoding', '7 is none'),
    ('encode', {'encoding': 'uft-8'}, 'encoding', "no charset 'uft-8'"),
    ('encode', {'default_encoding': 'rot13'}, 'default_encoding', 'no charset'),
    ('encode', {'errors': 'lenient'}, 'errors', "'replace'"),
    ('encode', {'failmsg': 'no place'}, 'failmsg', "'%r'"),
    ('err_redirect', {'url': 404}, 'url', 'text'),
    ('etags', {'state': '"tag"'}, 'state', 'can be called'),
    ('expires', {'secs': '3600'}, 'secs', 'seconds or a timedelta'),
    ('expires', {'secs': None}, 'secs', 'seconds or a timedelta'),
    ('expires', {'secs': 10**12}, 'secs', 'no date'),
    ('expires', {'secs': float('nan')}, 'secs', 'no date'),
    ('gzip', {'compress_level': 10}, 'compress_level', 'from -1 to 9'),
    ('gzip', {'compress_level': '5'}, 'compress_level', 'whole number'),
    ('gzip', {'mime_types': None}, 'mime_types', 'text, or a list'),
    ('gzip', {'codings': ['gzip', 'compress']}, 'codings', "'compress'"),
    ('gzip', {'min_size': '1k'}, 'min_size', 'number'),
    ('ignore_headers', {'headers': None}, 'headers', 'text, or a list'),
    ('ignore_headers', {'headers': 'Range, If-Range'}, 'headers', 'no name of a header'),
    ('json_in', {'content_type': None}, 'content_type', 'text, or a list'),
    ('json_in', {'processor': 'json'}, 'processor', 'can be called'),
    ('json_out', {'handler': 'json'}, 'handler', 'can be called'),
    ('json_out', {'content_type': ['application/json']}, 'content_type', 'text'),
    ('params', {'exception': 'ValueError'}, 'exception', "'ValueError' is none"),
    ('params', {'exception': (ValueError, 5)}, 'exception', '5 is none'),
    ('params', {'error': 200}, 'error', 'from 400 to 599'),
    ('proxy', {'base': 'ftp://a.example'}, 'base', 'https://www.example.com'),
    ('proxy', {'local': 'X Forwarded Host'}, 'local', 'no name of a header'),
    ('proxy', {'port': 8080}, 'port', 'no name of a header'),
    ('proxy', {'trusted': 'nobody'}, 'trusted', 'no address or network'),
    ('proxy', {'trusted': 5}, 'trusted', 'text, or a list'),
    ('proxy', {'hops': 'two'}, 'hops', '0 or more'),
    ('redirect', {'url': 404}, 'url', 'text'),
    ('referer', {'pattern': 'https://('}, 'pattern', 'no regular expression'),
    ('referer', {'pattern': b'x'}, 'pattern', 'a regular expression'),
    ('referer', {'pattern': re.compile(b'x')}, 'pattern', 'not bytes'),
    ('referer', {'pattern': 'x', 'error': 302}, 'error', 'from 400 to 599'),
    ('referer', {'pattern': 'x', 'error': 'forbidden'}, 'error', 'from 400 to 599'),
    ('response_headers', {'headers': {'X-Mine': 'a'}}, 'headers', "[('X-Mine', 'a')]"),
    ('response_headers', {'headers': [('X-Mine', 'a', 'b')]}, 'headers', 'no pair'),
    ('response_headers', {'headers': ('X-Mine', 'a')}, 'headers', "'X-Mine' is no pair"),
    ('response_headers', {'headers': [('X Mine', 'a')]}, 'headers', 'no name of a header'),
    ('response_headers', {'headers': [('X-Mine', ['a'])]}, 'headers', "['a'] is none"),
    ('response_headers', {'headers': 'X-Mine: a'}, 'headers', 'a list'),
    ('session_auth', {'on_login': 'tell'}, 'on_login', 'can be called'),
    ('session_auth', {'status': 99}, 'status', 'from 200 to 599'),
    ('sessions', {'storage_class': 'ram'}, 'storage_class', 'class'),
    ('sessions', {'timeout': '60'}, 'timeout', 'number'),
    ('sessions', {'name': 'my session'}, 'name', 'no name of a cookie'),
    ('sessions', {'samesite': 'maybe'}, 'samesite', "'Lax'"),
    ('staticdir', {'dir': 5}, 'dir', 'a path'),
    ('staticdir', {'dir': 'files'}, 'dir', 'or set tools.staticdir.root'),
    ('staticdir', {'dir': '/files', 'match': '('}, 'match', 'no regular expression'),
    ('staticdir', {'dir': '/files', 'content_types': 'text/x'}, 'content_types', 'a dict'),
    ('staticdir', {'dir': '/files', 'content_types': {'x': 5}}, 'content_types', 'text'),
    ('staticdir', {'dir': '/files', 'index': ['index.html']}, 'index', 'text'),
    ('staticdir', {'dir': '/files', 'precompressed': 'lzma'}, 'precompressed', "'lzma'"),
    ('staticdir', {'dir': '/files', 'precompressed': 5}, 'precompressed', 'True, or a list'),
    ('staticfile', {'filename': 5}, 'filename', 'a path'),
    ('staticfile', {'filename': 'a.txt'}, 'filename', 'or set tools.staticfile.root'),
    ('staticfile', {'filename': '/a.txt', 'match': '['}, 'match', 'no regular expression'),
    ('trailing_slash', {'status': 200}, 'status', 'from 300 to 399'),
    ('log_tracebacks', {'severity': 'ERROR'}, 'severity', 'whole number'),
    ('xmlrpc', {'encoding': 'uft-8'}, 'encoding', 'no charset'),
    ('gzip', {'priority': 'first'}, 'priority', 'number'),
]


class Root:
    @cpadapter.expose
    def index(self):
        return 'served'


@pytest.mark.parametrize(('tool', 'settings', 'key', 'words'), BAD, ids=lambda part: part if type(part) is str else '')
def test_it_is_told_with_key_value_place_and_what_to_change(client, tool, settings, key, words):
    config = {f'tools.{tool}.{name}': value for name, value in settings.items()}
    client.mount(Root(), '', {'/': {'tools.sessions.on': True, f'tools.{tool}.on': True, **config}})
    assert client.get('/').status == 500
    [line] = {line.splitlines()[-1] for log in client.errors for line in [log] if f"'tools.{tool}.{key}' = " in log}
    shown = repr(settings[key])
    shown = shown if len(shown) <= 60 else shown[:57]
    place, _, problem = line.partition(f"'tools.{tool}.{key}' = {shown}")[2].partition(': ')
    assert place == ' in section [/]'
    assert words in problem


GOOD = [
    ('accept', {'media': ('text/html', 'text/plain')}),
    ('accept', {'media': None}),
    ('allow', {'methods': 'post'}),
    ('allow', {'methods': {'GET', 'PROPFIND'}}),
    ('allow', {'methods': ['', 'GET']}),
    ('autovary', {'ignore': 'X-Mine'}),
    ('caching', {'antistampede_timeout': None, 'invalid_methods': ['PUT']}),
    ('cpstats', {'slow_queries': None, 'uriset': 'all'}),
    ('decode', {'encoding': ['utf-8', 'latin-1'], 'default_encoding': None}),
    ('encode', {'encoding': 'UTF8', 'errors': 'xmlcharrefreplace', 'failmsg': 'no %s'}),
    ('expires', {'secs': datetime.timedelta(days=1)}),
    ('expires', {'secs': -3600}),
    ('expires', {'secs': 0.5}),
    ('gzip', {'mime_types': 'text/*,application/json', 'codings': 'gzip', 'compress_level': -1}),
    ('ignore_headers', {'headers': 'Range'}),
    ('json_in', {'content_type': 'text/json'}),
    ('json_out', {'content_type': None}),
    ('params', {'exception': (ValueError, TypeError), 'error': '422 Not understood'}),
    ('proxy', {'base': 'http://www.example.com:81', 'local': None, 'remote': '', 'trusted': [], 'hops': 0}),
    ('proxy', {'base': 'https://www.example.com/app', 'port': ''}),
    ('referer', {'pattern': re.compile('https://'), 'accept_missing': True, 'message': None}),
    ('response_headers', {'headers': [('X-Mine', 5), [b'X-Own', b'a']]}),
    ('response_headers', {'headers': {'X-Mine': 'a'}.items()}),
    ('session_auth', {'check_username_and_password': lambda u, p: None}),
    ('sessions', {'storage_class': RamSession, 'timeout': 0.5, 'clean_freq': 0, 'samesite': None, 'name': 'sid'}),
    ('staticdir', {'dir': pathlib.Path('/nowhere')}),
    ('staticdir', {'dir': '', 'root': pathlib.Path('/nowhere'), 'content_types': {}, 'match': re.compile('x')}),
    ('staticdir', {'dir': '~', 'precompressed': ['br', 'gzip'], 'match': None}),
    ('staticfile', {'filename': pathlib.Path('/nowhere/a.txt')}),
    ('trailing_slash', {'status': 308}),
    ('xmlrpc', {'encoding': 'latin-1', 'allow_none': 1}),
    ('gzip', {'priority': 1.5}),
]


@pytest.mark.parametrize(('tool', 'settings'), GOOD, ids=lambda part: part if type(part) is str else '')
def test_what_works_is_not_refused(site, tool, settings):
    getattr(site.tools, tool).check(settings)


@pytest.fixture
def site():
    return cpadapter.Site('checks')


# Any value has a meaning for these: those that are yes or no, and what is handed on to others.
ANYTHING = {
    *('debug', 'on', 'force', 'internal', 'missing', 'extra', 'accept_missing', 'autotags', 'text_only', 'add_charset'),
    *(
        'check_uri',
        'details',
        'log',
        'ready',
        'userhash',
        'without_qop',
        'forwarded',
        'dotfiles',
        'persistent',
        'httponly',
        'secure',
        'allow_none',
    ),
    *('uriset', 'nonce_counts', 'key', 'self', 'args', 'kwargs'),
}
# `accept` is yes or no for `referer`.
YES_OR_NO = {('referer', 'accept')}


def settings_of(tool):
    parameters = inspect.signature(tool.callable).parameters.values()
    return {each.name: each.default for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}


def test_each_setting_of_each_tool_is_looked_at(site):
    unchecked = [
        (name, setting)
        for name in site.tools.names()
        for setting in settings_of(getattr(site.tools, name))
        if setting not in ANYTHING and setting not in (getattr(site.tools, name).callable.__dict__.get('checks') or {})
    ]
    assert set(unchecked) - YES_OR_NO == set()


def test_each_default_passes(site):
    for name in site.tools.names():
        tool = getattr(site.tools, name)
        given = {key: value for key, value in settings_of(tool).items() if value is not inspect.Parameter.empty}
        tool.check(given)


@pytest.mark.parametrize(
    ('tool', 'settings', 'missing'),
    [
        ('referer', {}, "'pattern'"),
        ('staticdir', {}, "'dir'"),
        ('staticfile', {'root': '/'}, "'filename'"),
        ('auth_basic', {'realm': 'a'}, "'checkpassword'"),
        ('auth_digest', {}, "'realm' and 'get_ha1' and 'key'"),
    ],
)
def test_what_has_no_default_is_asked_for(client, tool, settings, missing):
    config = {f'tools.{tool}.{name}': value for name, value in settings.items()}
    client.mount(Root(), '', {'/': {f'tools.{tool}.on': True, **config}})
    assert client.get('/').status == 500
    first = missing.split(' ')[0].strip("'")
    told = (
        f"'tools.{tool}.on' = True in section [/]: the '{tool}' tool needs the setting {missing}; "
        f"give 'tools.{tool}.{first}' as well."
    )
    assert any(told in line for line in client.errors)


def test_another_fault_of_a_tool_is_told_with_its_place(client):
    class Odd(cpadapter.Tool):
        def compile(self, builder, settings):
            raise LookupError('no such table')

    client.site.tools.odd = Odd('before_handler', print)
    client.mount(Root(), '', {'/': {'tools.odd.on': True}})
    assert client.get('/').status == 500
    assert any("'tools.odd.on' = True in section [/]: no such table" in line for line in client.errors)


def test_a_tool_of_ones_own_has_checks_of_its_own(client):
    @checks.checked(rate=checks.whole_number(1, 9))
    def limit(rate=5):
        """Do nothing."""

    client.site.tools.limit = cpadapter.Tool('before_handler', limit)
    client.mount(Root(), '', {'/': {'tools.limit.on': True, 'tools.limit.rate': 10}})
    assert client.get('/').status == 500
    told = "'tools.limit.rate' = 10 in section [/]: it has to be a whole number from 1 to 9."
    assert any(told in line for line in client.errors)


def told_by_the_checker(site):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        site.checker()
    return [str(warning.message).splitlines() for warning in caught]


def test_the_checker_tells_it_when_the_engine_starts():
    site = cpadapter.Site('checked')
    config = {'/a': {'tools.gzip.on': True, 'tools.gzip.compress_level': 99}, '/a/b': {'tools.gzip.mime_types': 'a/b'}}
    site.tree.mount(Root(), '', config)
    site.tree.mount(Root(), '/app', {'/': {'tools.referer.on': True}, '/c': {'tools.gzip.on': True}})
    first, second = told_by_the_checker(site)
    assert first == [
        "'tools.gzip.compress_level' = 99 in section [/a]: it has to be a whole number from -1 to 9.",
        "The application is mounted at ''.",
    ]
    assert second[0].startswith("'tools.referer.on' = True in section [/]: the 'referer' tool needs")
    assert second[1] == "The application is mounted at '/app'."


def test_the_checker_says_nothing_of_what_works(tmp_path):
    site = cpadapter.Site('checked')
    settings = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(tmp_path), 'tools.gzip.on': True}
    site.tree.mount(Root(), '', {'/': {'tools.sessions.on': True}, '/files': settings})
    assert told_by_the_checker(site) == []


def test_the_checker_looks_at_the_folders_of_a_real_application():
    site = cpadapter.Site('checked')
    site.tree.mount(Root(), '', {'/files': {'tools.staticdir.on': True, 'tools.staticdir.dir': '/no/such/folder'}})
    [told] = told_by_the_checker(site)
    assert told[0] == "'/no/such/folder' (root + dir) is not an existing filesystem path."


@pytest.mark.parametrize(
    ('call', 'names'),
    [
        (lambda a, b, c=1, *, d, e=2: None, ['a', 'b', 'd']),
        (lambda *args, **kwargs: None, []),
        (datetime.timedelta, []),
        (Root().index, []),
        (type('C', (), {'__call__': lambda self, a, b=1: None})(), ['a']),
        (type('D', (), {'__init__': lambda self, a, b=1: None}), ['a']),
        (__import__('functools').partial(lambda a, b, c: None, 1, c=2), ['b']),
    ],
)
def test_required_names(call, names):
    assert required_names(call) == names


def test_a_misspelt_setting_of_xmlrpc_is_reported_once_and_the_tool_works(client):
    client.mount(Root(), '', {'/': {'tools.xmlrpc.on': True, 'tools.xmlrpc.encodng': 'utf-8'}})
    assert [client.get('/').status for _ in range(2)] == [200, 200]
    [line] = [line for line in client.errors if 'encodng' in line]
    assert "Did you mean 'tools.xmlrpc.encoding'?" in line
