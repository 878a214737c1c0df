"""Cases of Spec C 1.3: the arguments of the tools that have no file of their own here, each set and each left alone.

What a tool logs is told by the case after, whose id ends in `-told`.
"""

from __future__ import annotations

import datetime
import importlib
import io
import json
import logging
from collections.abc import Callable
from typing import Any

from .acts import tell
from .table import act, expression, told

__all__: list[str] = []

Function = Callable[[Any], Any]


def page(cp: Any) -> Any:
    return 'page'


def fails(cp: Any) -> Any:
    raise LookupError('not foreseen')


def refuses(cp: Any) -> Any:
    raise cp.HTTPError(402, 'pay')


def redirects(cp: Any) -> Any:
    raise cp.HTTPRedirect('/x')


def tooled(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Give the config that switches a tool on with these settings."""
    return {f'tools.{name}.on': True, **{f'tools.{name}.{key}': value for key, value in settings.items()}}


def tool(
    name: str,
    ident: str,
    settings: dict[str, Any] | None = None,
    function: Function = page,
    also: dict[str, Any] | None = None,
    **more: Any,
) -> None:
    """Send a request to a page with the tool `name`; `also` is further config."""
    act(f'C1.3-{name}-{ident}', function, {**tooled(name, settings or {}), **(also or {})}, **more)


def logged(name: str, ident: str, settings: dict[str, Any] | None = None, **more: Any) -> None:
    """Like `tool`, and compare what hooks told and what was logged."""
    tool(name, ident, settings, **more)
    told(f'C1.3-{name}-{ident}')


def sent(text: str = '', media: str | None = 'application/x-www-form-urlencoded', **more: Any) -> dict[str, Any]:
    """Give what makes the request a POST of `text`."""
    headers = {**more.pop('headers', {}), **({'Content-Type': media} if media else {})}
    return {'method': more.pop('method', 'POST'), 'body': text.encode(), 'headers': headers, **more}


# --- accept

MEDIA: dict[str, Any] = {
    'none': None,
    'empty': [],
    'text': 'text/html',
    'list': ['text/html', 'application/json'],
    'tuple': ('text/plain', 'image/png'),
}
for ident, media in MEDIA.items():
    for suffix, field in {
        'absent': None,
        'blank': '',
        'any': '*/*',
        'range': 'image/*, text/*;q=0.5',
        'exact': 'application/json;q=0.9, text/html;q=0.2',
        'parameter': 'text/html;level=1',
        'other': 'audio/mpeg',
    }.items():
        headers = {} if field is None else {'Accept': field}
        tool('accept', f'{ident}-{suffix}', {'media': media}, headers=headers)
tool('accept', 'debug', {'media': 'text/html', 'debug': True}, headers={'Accept': 'text/html'})
tool('accept', 'bad-weight', {'media': 'text/html'}, headers={'Accept': 'text/html;q=x'})
tool('accept', 'late', {'media': 'text/html', 'priority': 90}, headers={'Accept': 'image/png'})
for ident, field in {
    'best': 'text/html;q=0.5, application/json',
    'first': '*/*',
    'none': '',
    'refused': 'image/png',
    # Where they differ: what is excluded, written in capitals, or as good as another.
    'excluded': 'text/html;q=0, */*',
    'capitals': 'TEXT/HTML',
    'tie': 'application/json, text/html',
}.items():
    act(
        f'C1.3-accept-called-{ident}',
        lambda cp: cp.tools.accept.callable(['text/html', 'application/json']),
        headers={'Accept': field},
    )

# --- allow

for ident, methods in {
    'default': None,
    'text': 'PUT',
    'lower': ['get', 'put'],
    'get': ['GET'],
    'head': ['HEAD'],
    'post': ['POST', 'PUT'],
    'tuple': ('DELETE', 'GET'),
    'empty': [],
}.items():
    for method in ('GET', 'HEAD', 'PUT'):
        body = b'' if method == 'PUT' else None
        tool('allow', f'{ident}-{method}', {'methods': methods}, method=method, body=body)
tool('allow', 'debug', {'methods': ['GET'], 'debug': True})
tool('allow', 'priority', {'methods': ['PUT'], 'priority': 5})

# --- response_headers, redirect, referer

for ident, headers in {
    'none': None,
    'one': [('X-One', '1')],
    'twice': [('X-One', '1'), ('X-One', '2')],
    'tuple': (('X-One', '1'), ('Content-Type', 'text/plain')),
    'type': [('Content-Type', 'application/x-own')],
}.items():
    for suffix, function in {'page': page, 'error': refuses, 'fails': fails, 'redirect': redirects}.items():
        tool('response_headers', f'{ident}-{suffix}', {'headers': headers}, function)
tool('response_headers', 'debug', {'headers': [('X-One', '1')], 'debug': True})


def overrides(cp: Any) -> str:
    cp.response.headers['X-One'] = 'page'
    return 'page'


tool('response_headers', 'overridden', {'headers': [('X-One', '1')]}, overrides)
tool('response_headers', 'before', {'headers': [('X-One', '1')]}, also=tooled('allow', {'methods': ['PUT']}))

for ident, settings in {
    'default': {},
    'external': {'url': '/x', 'internal': False},
    'external-relative': {'url': 'x/../y', 'internal': False},
    'external-whole': {'url': 'https://other.test/z', 'internal': False},
    'debug': {'url': '/x', 'internal': False, 'debug': True},
    'internal-debug': {'url': '/told', 'debug': True},
}.items():
    tool('redirect', ident, settings)
    tool('err_redirect', ident, settings, fails)
    tool('err_redirect', f'{ident}-of-an-error', settings, refuses)
    tool('err_redirect', f'{ident}-unneeded', settings)
old = {'environ': {'SERVER_PROTOCOL': 'HTTP/1.0'}}
tool('redirect', 'external-1.0', {'url': '/x', 'internal': False}, **old)
tool('err_redirect', 'external-1.0', {'url': '/x', 'internal': False}, fails, **old)
tool('redirect', 'post', {'url': '/told'}, **sent('a=1'))

for ident, settings in {
    'pattern': {},
    'refused': {'accept': False},
    'missing': {'accept_missing': True},
    'refused-missing': {'accept': False, 'accept_missing': True},
    'error': {'error': 404},
    'message': {'message': 'From elsewhere.'},
    'error-message': {'error': 418, 'message': 'Not <so>.'},
    'debug': {'debug': True},
}.items():
    for suffix, field in {'own': 'http://own.test/x', 'other': 'http://other.test/', 'none': None}.items():
        headers = {} if field is None else {'Referer': field}
        tool('referer', f'{ident}-{suffix}', {'pattern': r'http://own\.test/', **settings}, headers=headers)
tool('referer', 'middle', {'pattern': 'own'}, headers={'Referer': 'http://own.test'})

# --- decode, ignore_headers


def parameters(cp: Any) -> str:
    return ascii((sorted(cp.request.params.items()), cp.request.body.attempt_charsets))


FORM = 'application/x-www-form-urlencoded'
for ident, settings in {
    'default': {},
    'encoding': {'encoding': 'latin-1'},
    'encoding-list': {'encoding': ['us-ascii', 'utf-16']},
    'encoding-utf-16': {'encoding': 'utf-16'},
    'default_encoding': {'default_encoding': 'latin-1'},
    'default_encoding-list': {'default_encoding': ['us-ascii', 'cp1252']},
    'both': {'encoding': 'utf-8', 'default_encoding': 'latin-1'},
}.items():
    tool('decode', f'{ident}-utf-8', settings, parameters, **sent('a=%C3%BC'))
    tool('decode', f'{ident}-latin-1', settings, parameters, **sent('a=%FC'))
    tool('decode', f'{ident}-named', settings, parameters, **sent('a=%FC', f'{FORM};charset=iso-8859-1'))
    tool('decode', f'{ident}-query', settings, parameters, query='a=%C3%BC')


def fields(cp: Any) -> str:
    headers = cp.request.headers
    return ascii([(name, headers.get(name)) for name in ('Range', 'X-One', 'If-Match')])


RANGE = {'Range': 'bytes=0-1', 'X-One': '1', 'If-Match': '"a"'}
for ident, settings in {
    'default': {},
    'headers': {'headers': ('X-One',)},
    'headers-list': {'headers': ['x-one', 'IF-MATCH', 'Absent']},
    'debug': {'debug': True},
    'none-named': {'headers': ()},
}.items():
    tool('ignore_headers', ident, settings, fields, headers=RANGE)

# --- json_in, json_out


def document(cp: Any) -> str:
    return ascii((getattr(cp.request, 'json', 'absent'), sorted(cp.request.params.items())))


def processor_of(cp: Any) -> Callable[[Any], None]:
    def process(entity: Any) -> None:
        cp.serving.request.json = ('own', entity.fp.read())

    return process


JSON = 'application/json'
for ident, settings in {
    'default': {},
    'content_type': {'content_type': 'application/x-own'},
    'content_type-list': {'content_type': ['application/x-own', 'text/json']},
    'force-off': {'force': False},
    'force-off-own': {'force': False, 'content_type': 'application/x-own'},
    'debug': {'debug': True},
}.items():
    for suffix, more in {
        'object': sent('{"a": [1, 2.5, null, true, "\xfc"]}', JSON),
        'javascript': sent('"text"', 'text/javascript'),
        'own': sent('[1]', 'application/x-own'),
        'form': sent('a=1'),
        'none': {},
    }.items():
        tool('json_in', f'{ident}-{suffix}', settings, document, **more)
for ident, text in {'empty': '', 'broken': '{"a":', 'two': '1 2', 'number': '1e3', 'text': '"\\ud83d\\ude00"'}.items():
    tool('json_in', ident, {}, document, **sent(text, JSON))
tool('json_in', 'charset', {}, document, **sent('"a"', f'{JSON}; charset=utf-8'))
tool('json_in', 'not-utf-8', {}, document, method='POST', body=b'"\xfc"', headers={'Content-Type': JSON})
for method in ('PUT', 'PATCH', 'DELETE'):
    tool('json_in', method, {}, document, **sent('1', JSON, method=method))
tool('json_in', 'query', {}, document, query='a=1', **sent('1', JSON))
act(
    'C1.3-json_in-processor',
    document,
    lambda cp: tooled('json_in', {'processor': processor_of(cp)}),
    **sent('[1]', JSON),
)
act(
    'C1.3-json_in-processor-own-type',
    document,
    lambda cp: tooled('json_in', {'processor': processor_of(cp), 'content_type': 'text/x-own', 'force': False}),
    **sent('[1]', 'text/x-own'),
)

VALUES: dict[str, Function] = {
    'dict': lambda cp: {'a': [1, 2.5, None, True], 'b': {'c': '\xfc'}},
    'text': lambda cp: 'gr\xfcn',
    'none': lambda cp: None,
    'number': lambda cp: 7,
    'empty': lambda cp: [],
    'keys': lambda cp: {1: 'a', None: 'b', False: 'c'},
    'unknown': lambda cp: object(),
    'error': refuses,
    'fails': fails,
}
for ident, function in VALUES.items():
    tool('json_out', ident, {}, function)
tool('json_out', 'head', {}, VALUES['dict'], method='HEAD')
for ident, content_type in {'own': 'application/x-own', 'none': None, 'text': 'text/plain'}.items():
    tool('json_out', f'content_type-{ident}', {'content_type': content_type}, VALUES['dict'])
tool('json_out', 'debug', {'debug': True}, VALUES['dict'])


def own_handler(cp: Any) -> Callable[..., Any]:
    def handler(*args: Any, **kwargs: Any) -> Any:
        value = cp.serving.request._json_inner_handler(*args, **kwargs)
        return json.dumps(value, sort_keys=True, indent=1).encode()

    return handler


act('C1.3-json_out-handler', VALUES['dict'], lambda cp: tooled('json_out', {'handler': own_handler(cp)}))
act(
    'C1.3-json_out-handler-and-type',
    VALUES['dict'],
    lambda cp: tooled('json_out', {'handler': own_handler(cp), 'content_type': 'text/x-own'}),
)


def typed(cp: Any) -> Any:
    cp.response.headers['Content-Type'] = 'application/x-late'
    return [1]


tool('json_out', 'type-of-the-page', {}, typed)
tool('json_out', 'with-json_in', {}, lambda cp: {'got': cp.request.json}, tooled('json_in', {}), **sent('[1]', JSON))
tool('json_out', 'with-gzip-off', {}, VALUES['dict'], tooled('gzip', {}), headers={'Accept-Encoding': 'gzip'})

# --- expires, flatten, trailing_slash


def dated(cp: Any) -> str:
    cp.response.headers['Last-Modified'] = 'Sun, 06 Nov 1994 08:49:37 GMT'
    return 'dated'


def expired(cp: Any) -> str:
    cp.response.headers['Expires'] = 'Sun, 06 Nov 1994 08:49:37 GMT'
    cp.response.headers['Cache-Control'] = 'max-age=5'
    cp.response.headers['Pragma'] = 'own'
    return 'expired'


CACHING = {'show': ('Expires', 'Cache-Control', 'Pragma')}
for ident, settings in {
    'default': {},
    'secs': {'secs': 60},
    'secs-negative': {'secs': -60},
    'secs-delta': {'secs': datetime.timedelta(days=1, seconds=5)},
    'secs-text': {'secs': 'soon'},
    'force': {'force': True},
    'force-secs': {'force': True, 'secs': 60},
    'debug': {'debug': True, 'secs': 60},
}.items():
    for suffix, function in {'page': page, 'dated': dated, 'expired': expired}.items():
        tool('expires', f'{ident}-{suffix}', settings, function, **CACHING)
tool('expires', 'force-1.0', {'force': True}, dated, **old, **CACHING)


def nested(cp: Any) -> Any:
    yield b'a'
    yield (part for part in (b'b', iter([b'c', b'd'])))


for ident, settings in {'default': {}, 'debug': {'debug': True}, 'priority': {'priority': 10}}.items():
    tool('flatten', ident, settings, nested)
    tool('flatten', f'{ident}-text', settings)
tool('flatten', 'streamed', {}, nested, {'response.stream': True})
tool('flatten', 'error', {}, refuses)


def slashed(cp: Any) -> Any:
    """Give an index page that says its path, with what is called below it."""
    return cp.request.path_info


for ident, settings in {
    'default': {},
    'missing-off': {'missing': False},
    'extra': {'extra': True},
    'extra-only': {'missing': False, 'extra': True},
    'status': {'extra': True, 'status': 307},
    'debug': {'extra': True, 'debug': True},
    'off': {'on': False, 'extra': True},
}.items():
    config = tooled('trailing_slash', settings)
    for suffix, rest in {'': '', '-slash': '/', '-query': '/'}.items():
        query = 'a=1&b=%20' if suffix == '-query' else ''
        act(f'C1.3-trailing_slash-{ident}{suffix}', slashed, config, rest=rest, query=query)


# --- log_tracebacks, log_headers, log_hooks

for ident, settings in {
    'default': {},
    'severity': {'severity': logging.WARNING},
    'severity-debug': {'severity': logging.DEBUG, 'debug': True},
    'off': {'on': False},
}.items():
    logged('log_tracebacks', ident, settings, function=fails)
logged('log_tracebacks', 'of-an-error', {}, function=refuses)
for ident, settings in {'default': {}, 'debug': {'debug': True}, 'off': {'on': False}}.items():
    logged('log_headers', ident, settings, function=fails, headers={'X-One': '1'})


def hooks_logged(cp: Any) -> str:
    """Give the priorities of the hooks that run when the request ends."""
    return str([hook.priority for hook in cp.request.hooks['on_end_request']])


for ident, settings in {'default': {}, 'debug': {'debug': True}, 'priority': {'priority': 5}}.items():
    tool('log_hooks', ident, settings, hooks_logged)

# --- params


def annotated(**annotations: Any) -> Function:
    """Give a page handler, for `handler_of`, with these annotations."""

    def handler(**kwargs: Any) -> str:
        return ascii(sorted(kwargs.items()))

    handler.__annotations__ = annotations
    return handler


def pair(text: str) -> tuple[str, ...]:
    left, right = text.split('-')
    return left, right


def refusing(text: str) -> Any:
    raise KeyError(text)


def convert(ident: str, query: str, settings: dict[str, Any] | None = None, **annotations: Any) -> None:
    expression(f'C1.3-params-{ident}', lambda cp: converted(cp, annotations, query, settings or {}))


def converted(cp: Any, annotations: dict[str, Any], query: str, settings: dict[str, Any]) -> Any:
    """Ask an application of one page with these annotations."""
    from .cases_auth_caching import Talk

    talk = Talk(cp, lambda cp, n: '', tooled('params', settings))
    handler = annotated(**annotations)
    handler.exposed = True  # type: ignore[attr-defined]
    talk.app.root.x = handler
    code, _, text = talk.ask('/x', query)
    return code, text


convert('whole', 'n=5', n=int)
convert('fraction', 'n=5.5', n=float)
convert('bad', 'n=x', n=int)
convert('absent', '', n=int)
convert('other', 'm=1', n=int)
convert('own', 'p=a-b', p=pair)
convert('own-bad', 'p=ab', p=pair)
convert('text', 'p=a', p=str)
convert('error', 'n=x', {'error': 404}, n=int)
convert('exception', 'n=x', {'exception': KeyError}, n=refusing)
convert('exception-other', 'n=x', {'exception': KeyError, 'error': 422}, n=int)
convert('exception-tuple', 'n=x', {'exception': (KeyError, ValueError), 'error': 410}, n=refusing)
convert('priority', 'n=1', {'priority': 5}, n=int)
# Where they differ.
convert('twice', 'n=1&n=2', n=int)
convert('named', 'n=1', n='int')
convert('bool', 'n=False', n=bool)

# --- cpstats


def counting(settings: dict[str, Any]) -> Function:
    """Give what makes the config: the tool is there once its module is imported."""

    def config(cp: Any) -> dict[str, Any]:
        importlib.import_module(f'{cp.__name__}.lib.cpstats')
        return tooled('cpstats', settings)

    return config


def counted(cp: Any) -> str:
    numbers = logging.statistics[f'{"CherryPy" if cp.__name__ == "cherrypy" else "cpadapter"} Applications']  # type: ignore[attr-defined]
    return 'slow queries kept' if 'Slow Queries' in str(numbers) else str(sorted(numbers))


for ident, settings in {
    'default': {},
    'uriset': {'uriset': 'mine'},
    'slow_queries': {'slow_queries': 0.0},
    'slow_queries-none': {'slow_queries': None},
    'slow_queries_count': {'slow_queries': 0.0, 'slow_queries_count': 2},
    'debug': {'debug': True},
}.items():
    act(f'C1.3-cpstats-{ident}', page, counting(settings))
    act(f'C1.3-cpstats-{ident}-again', page, counting(settings))
    act(f'C1.3-cpstats-{ident}-error', refuses, counting(settings))
    act(f'C1.3-cpstats-{ident}-fails', fails, counting(settings))

# --- autovary, gzip, etags, encode: what the other files leave


def reads(cp: Any) -> str:
    return ascii([cp.request.headers.get('X-A'), 'X-B' in cp.request.headers])


for ident, settings in {
    'ignore-set': {'ignore': {'X-A'}},
    'ignore-all': {'ignore': ['X-A', 'X-B', 'Accept-Charset']},
    'priority': {'priority': 1},
}.items():
    tool('autovary', ident, settings, reads, show=('Vary',))
tool('etags', 'priority', {'autotags': True, 'priority': 90}, show=('ETag',))
tool('encode', 'priority', {'priority': 20}, lambda cp: 'gr\xfcn')
tool('proxy', 'priority', {'priority': 60, 'base': 'http://www.site.test'}, lambda cp: cp.request.base)


# --- sessions and session_auth: what the other files leave


def kept(cp: Any) -> str:
    cp.session['a'] = 1
    session = cp.session
    return ascii((session.timeout, session.clean_freq, session.debug, session.locked, sorted(session.items())))


for ident, settings in {
    'clean_freq': {'clean_freq': 0},
    'clean_freq-float': {'clean_freq': 7.5},
    'debug': {'debug': True, 'clean_freq': 0},
    'timeout': {'timeout': 3, 'clean_freq': 0},
    'locking-early': {'locking': 'early', 'clean_freq': 0},
    'locking-explicit': {'locking': 'explicit', 'clean_freq': 0},
    'priority': {'priority': 40, 'clean_freq': 0},
}.items():
    tool('sessions', ident, {'httponly': True, 'samesite': None, **settings}, kept)


def cleaned_up(cp: Any) -> str:
    """Give the answer of a file object, whose session is saved before it is read."""
    cp.session['a'] = 1
    return io.BytesIO(b'file').read().decode()


tool('sessions', 'file', {'clean_freq': 0, 'samesite': None, 'httponly': True}, cleaned_up)


# --- what the tools are

NAMES = (
    *('accept', 'allow', 'auth_basic', 'auth_digest', 'autovary', 'decode', 'err_redirect', 'etags', 'expires'),
    *('flatten', 'gzip', 'ignore_headers', 'json_in', 'json_out', 'log_headers', 'log_hooks', 'log_tracebacks'),
    *('params', 'proxy', 'redirect', 'referer', 'response_headers', 'staticdir', 'staticfile', 'trailing_slash'),
    *('caching', 'encode', 'session_auth', 'sessions', 'xmlrpc'),
)


def positional(cp: Any, name: str) -> str:
    try:
        getattr(cp.tools, name)('a')
    except TypeError as exc:
        return str(exc)
    return 'taken'


def switched(cp: Any, name: str) -> str:
    try:
        getattr(cp.tools, name).on = True
    except AttributeError as exc:
        return str(exc)
    return 'taken'


def decorated(cp: Any, name: str) -> Any:
    @getattr(cp.tools, name)(a=1, priority=3)
    def handler() -> None: ...

    return sorted(handler._cp_config.items())


for name in NAMES:
    expression(f'C1.1-{name}-positional', lambda cp, name=name: positional(cp, name))
    expression(f'C1.1-{name}-on', lambda cp, name=name: switched(cp, name))
    expression(f'C1.1-{name}-decorated', lambda cp, name=name: decorated(cp, name))
    expression(
        f'C1.1-{name}-is', lambda cp, name=name: (getattr(cp.tools, name)._name, getattr(cp.tools, name).namespace)
    )


def noted(cp: Any) -> str:
    tell('the page')
    return 'page'


logged('allow', 'told', {'methods': ['GET']}, function=noted)
