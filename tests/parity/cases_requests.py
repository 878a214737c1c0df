"""Cases of Spec B 1: the request, its life, its headers, and what config does to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from .acts import MOUNTS, inner, tell
from .table import act, case, expression, post, read, told

# 1.1 construction


def made(cp: Any) -> Any:
    host = cp.lib.httputil.Host('192.0.2.1', 8080, 'server')
    return cp.Application.request_class(host, cp.lib.httputil.Host('192.0.2.9', 99))


expression('B1.1-made-scheme-and-protocol', lambda cp: (made(cp).scheme, made(cp).server_protocol))
expression('B1.1-made-hosts', lambda cp: (made(cp).local, made(cp).remote))
expression('B1.1-made-state', lambda cp: (made(cp).closed, made(cp).stage, made(cp).app, made(cp).handler))
expression('B1.1-made-unique-ids', lambda cp: str(made(cp).unique_id) == str(made(cp).unique_id))
expression('B1.1-made-unique-id-stays', lambda cp: len({str(i) for i in [made(cp).unique_id] for _ in (1, 2)}))
expression('B1.1-unique-id-is-a-uuid4', lambda cp: made(cp).unique_id.uuid4.version)


def own_error_pages(cp: Any) -> Any:
    request = made(cp)
    request.error_page[404] = 'page'
    return cp.Application.request_class.error_page, made(cp).error_page


expression('B1.1-made-error-page-is-a-copy', own_error_pages)


def own_namespaces(cp: Any) -> Any:
    request = made(cp)
    request.namespaces['mine'] = lambda k, v: None
    return 'mine' in cp.Application.request_class.namespaces, list(request.namespaces)


expression('B1.1-made-namespaces-are-a-copy', own_namespaces)
expression(
    'B1.1-made-by-keywords', lambda cp: cp.Application.request_class(1, 2, scheme='s', server_protocol='p').local
)


def mark(name: str) -> Callable[[], None]:
    return lambda: tell(name)


def channels(cp: Any) -> Any:
    """An application whose root subscribes to the engine's channels while its page is asked for."""
    names = ('acquire_thread', 'before_request', 'after_request', 'release_thread')
    listeners = [(name, mark(name)) for name in names]

    class Root:
        @cp.expose
        def on(self) -> str:
            for name, listener in listeners:
                cp.engine.subscribe(name, listener)
            return 'on'

        @cp.expose
        def page(self) -> str:
            tell('page')
            return 'page'

        @cp.expose
        def again(self) -> str:
            raise cp.InternalRedirect('/page')

        @cp.expose
        def fails(self) -> str:
            raise ValueError('no')

        @cp.expose
        def off(self) -> str:
            for name, listener in listeners:
                cp.engine.unsubscribe(name, listener)
            return 'off'

    return Root(), {'/page': {'hooks.on_end_request.x': mark('on_end_request')}}, lambda app: None


MOUNTS['/channels'] = channels
for name in ('on', 'page', 'again', 'fails', 'off'):
    case(f'B1.1-channels-{name}', f'/channels/{name}', variant='acts')
    if name != 'on':
        told(f'B1.1-channels-{name}')


def closing(cp: Any) -> Any:
    """An application whose requests fail to close."""

    class Request(cp.Application.request_class):  # type: ignore[misc]
        def close(self) -> None:
            super().close()
            raise ValueError('from close')

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'served'

    def change(app: Any) -> None:
        app.request_class = Request

    return Root(), {'/': {}}, change


MOUNTS['/closing'] = closing
case('B1.1-close-raises', '/closing/', variant='acts')
told('B1.1-close-raises')

for ident, environ in {
    'local': {'SERVER_PORT': '8080'},
    'remote-name': {'REMOTE_HOST': 'client.example'},
    'remote-unknown': {'REMOTE_ADDR': None, 'REMOTE_PORT': None},
    'ipv6': {'REMOTE_ADDR': '2001:db8::1', 'SERVER_NAME': '::1'},
    'unix-socket': {'SERVER_PORT': '', 'REMOTE_ADDR': '', 'REMOTE_PORT': ''},
}.items():
    read(
        f'B1.1-hosts-{ident}',
        lambda cp: [(h.ip, h.port, h.name) for h in (cp.request.local, cp.request.remote)],
        environ=environ,
    )
read('B1.1-login-empty', lambda cp: cp.request.login, environ={'LOGON_USER': '', 'REMOTE_USER': ''})
read('B1.1-login-of-logon-user', lambda cp: cp.request.login, environ={'LOGON_USER': 'a', 'REMOTE_USER': 'b'})
read('B1.1-login-when-logon-is-empty', lambda cp: cp.request.login, environ={'LOGON_USER': '', 'REMOTE_USER': 'b'})
read(
    'B1.1-environ-itself',
    lambda cp: (cp.request.wsgi_environ['own.key'], cp.request.wsgi_environ['SERVER_NAME']),
    environ={'own.key': [1]},
)
read('B1.1-prev-none', lambda cp: cp.request.prev)
read('B1.1-slashes-collapse', lambda cp: cp.request.path_info, rest='//a///b')
read('B1.1-query-is-not-unquoted', lambda cp: cp.request.query_string, query='a=%20b%2B&c=+')
read('B1.1-query-of-bytes', lambda cp: cp.request.query_string, query='a=gr\xc3\xbcn')
read('B1.1-path-utf-8', lambda cp: cp.request.path_info, rest='/grün')
read(
    'B1.1-header-list',
    lambda cp: sorted(cp.request.header_list),
    headers={'X-Two-Words': 'Text', 'Accept': '*/*'},
    environ={'REMOTE_HOST': 'r'},
)
read(
    'B1.1-header-authorization-of-cgi',
    lambda cp: cp.request.headers['Authorization'],
    environ={'HTTP_CGI_AUTHORIZATION': 'Basic abc'},
)
read('B1.1-rfile', lambda cp: cp.request.rfile.read(3), method='DELETE', body=b'abcdef')

# 1.2 attributes

read('B1.2-base', lambda cp: cp.request.base)
read('B1.2-base-with-port', lambda cp: cp.request.base, headers={'Host': 'h:8080'})
read('B1.2-base-https', lambda cp: cp.request.base, environ={'wsgi.url_scheme': 'https'})
read('B1.2-base-empty-host', lambda cp: cp.request.base, headers={'Host': ''})
read(
    'B1.2-base-of-the-server',
    lambda cp: cp.request.base,
    environ={'HTTP_HOST': None, 'SERVER_PROTOCOL': 'HTTP/1.0', 'SERVER_PORT': '8080'},
)
read('B1.2-request-line', lambda cp: cp.request.request_line)
read('B1.2-request-line-query', lambda cp: cp.request.request_line, query='a=%20b')
read('B1.2-request-line-decoded-path', lambda cp: cp.request.request_line, rest='/grün und weiß')
read('B1.2-request-line-method', lambda cp: cp.request.request_line, method='PURGE')
read('B1.2-request-line-protocol', lambda cp: cp.request.request_line, environ={'SERVER_PROTOCOL': 'HTTP/1.0'})
read('B1.2-method-lower', lambda cp: cp.request.method, method='get')
read('B1.2-method-unknown', lambda cp: cp.request.method, method='BREW')
read('B1.2-query-none', lambda cp: cp.request.query_string, environ={'QUERY_STRING': None})
read('B1.2-query-encoding', lambda cp: cp.request.query_string_encoding)
for ident, ours, theirs in (
    ('older-client', 'HTTP/1.0', 'HTTP/1.1'),
    ('older-server', 'HTTP/1.1', 'HTTP/1.0'),
    ('both-old', 'HTTP/1.0', 'HTTP/1.0'),
    ('oldest', 'HTTP/0.9', 'HTTP/1.1'),
    ('newer-client', 'HTTP/2.0', 'HTTP/1.1'),
):
    read(
        f'B1.2-protocol-{ident}',
        lambda cp: (cp.request.protocol, cp.request.server_protocol),
        environ={'SERVER_PROTOCOL': ours, 'ACTUAL_SERVER_PROTOCOL': theirs},
    )
read(
    'B1.2-protocol-of-the-response-headers',
    lambda cp: cp.response.headers.protocol,
    environ={'SERVER_PROTOCOL': 'HTTP/1.0'},
)
read('B1.2-params', lambda cp: sorted(cp.request.params.items()), query='a=1&b=&c')
act(
    'B1.2-params-by-hook',
    lambda cp: show(cp),
    lambda cp: {'hooks.before_handler.x': lambda: cp.request.params.update(added='by hook')},
    query='a=1',
)
act(
    'B1.2-params-taken-away-by-hook',
    lambda cp: show(cp),
    lambda cp: {'hooks.before_handler.x': lambda: cp.request.params.pop('a')},
    query='a=1&b=2',
)
read(
    'B1.2-cookie', lambda cp: sorted((k, m.value) for k, m in cp.request.cookie.items()), headers={'Cookie': 'a=1; b=2'}
)
read('B1.2-cookie-none', lambda cp: (type(cp.request.cookie).__name__, len(cp.request.cookie)))
for method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'):
    act(
        f'B1.2-process-request-body-{method}',
        lambda cp: repr(cp.request.process_request_body),
        method=method,
        body=b'',
        headers={'X-Method': method},
    )
read(
    'B1.2-methods-with-bodies-config',
    lambda cp: sorted(cp.request.params.items()),
    {'request.methods_with_bodies': ('PROPFIND',)},
    method='PROPFIND',
    body=b'a=1',
)
read(
    'B1.2-methods-with-bodies-hook',
    lambda cp: sorted(cp.request.params.items()),
    lambda cp: {'hooks.on_start_resource.x': lambda: setattr(cp.request, 'methods_with_bodies', ('DELETE',))},
    method='DELETE',
    body=b'a=1',
)
read('B1.2-body-of-get', lambda cp: (type(cp.request.body).__name__, cp.request.body.params, cp.request.body.length))
read(
    'B1.2-body-of-post', lambda cp: (type(cp.request.body).__name__, cp.request.body.params), method='POST', body=b'a=1'
)
read('B1.2-dispatch', lambda cp: type(cp.request.dispatch).__name__)
read('B1.2-script-name', lambda cp: (cp.request.script_name, cp.request.path_info))
read('B1.2-app', lambda cp: (cp.request.app is cp.tree.apps[''], cp.request.app.script_name))
read('B1.2-config', lambda cp: (cp.request.config['a.b'], type(cp.request.config)), {'a.b': 'set'})
read('B1.2-is-index-false', lambda cp: cp.request.is_index)
read('B1.2-toolmaps', lambda cp: sorted(cp.request.toolmaps), {'tools.encode.encoding': 'utf-8'})
read(
    'B1.2-toolmaps-arguments',
    lambda cp: cp.request.toolmaps['tools']['encode'],
    {'tools.encode.encoding': 'utf-16', 'tools.encode.on': False},
)
read('B1.2-hooks-points', lambda cp: list(cp.request.hooks))
read('B1.2-hooks-are-a-copy', lambda cp: cp.request.hooks is type(cp.request.app).request_class.hooks)
read('B1.2-error-page', lambda cp: cp.request.error_page, {'error_page.404': 'x', 'error_page.default': 'y'})
read(
    'B1.2-flags',
    lambda cp: (cp.request.show_mismatched_params, cp.request.throw_errors, cp.request.closed, cp.request.stage),
)
read('B1.2-throws', lambda cp: [exc.__name__ for exc in cp.request.throws])
read(
    'B1.2-unique-id',
    lambda cp: (len(str(cp.request.unique_id)), str(cp.request.unique_id) == str(cp.request.unique_id)),
)
read('B1.2-namespaces', lambda cp: list(cp.request.namespaces))
read('B1.2-removed', lambda cp: [hasattr(cp.request, n) for n in ('handled', 'body_params')])
read('B1.2-removed-of-the-response', lambda cp: [hasattr(cp.response, n) for n in ('timeout', 'timed_out')])


def keep_own(cp: Any) -> Any:
    cp.request.own = 'kept'
    cp.response.own = 'kept too'
    return cp.request.own, cp.response.own


read('B1.2-own-attribute', keep_own)
read('B1.2-own-attribute-gone', lambda cp: (hasattr(cp.request, 'own'), hasattr(cp.response, 'own')))
act('B1.2-own-attribute-missing', lambda cp: cp.request.never_set)


def show(cp: Any) -> str:
    return ascii(sorted(cp.request.params.items()))


def replaced(value: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Config with a hook that puts another page handler in place."""
    return lambda cp: {'hooks.before_handler.x': lambda: setattr(cp.request, 'handler', value(cp))}


act('B1.2-handler-replaced', lambda cp: 'page', replaced(lambda cp: lambda: 'another'))
act('B1.2-handler-an-error', lambda cp: 'page', replaced(lambda cp: cp.HTTPError(410, 'gone')))
act('B1.2-handler-a-redirect', lambda cp: 'page', replaced(lambda cp: cp.HTTPRedirect('/x')))
act('B1.2-handler-not-found', lambda cp: 'page', replaced(lambda cp: cp.NotFound()))
act('B1.2-handler-none', lambda cp: 'page', replaced(lambda cp: None))


def set_body_and_no_handler(cp: Any) -> Any:
    def hook() -> None:
        cp.response.body = b'by hook'
        cp.request.handler = None

    return {'hooks.before_handler.x': hook}


act('B1.2-handler-none-keeps-the-body', lambda cp: 'page', set_body_and_no_handler)
act('B1.2-handler-of-another-kind', lambda cp: 'page', replaced(lambda cp: str))
act('B1.2-handler-falsy', lambda cp: 'page', replaced(lambda cp: 0))
act('B1.2-handler-not-callable', lambda cp: 'page', replaced(lambda cp: 'text'))
act(
    'B1.2-handler-is-seen-by-hooks',
    lambda cp: 'page ' + cp.request.seen,
    lambda cp: {'hooks.before_handler.x': lambda: setattr(cp.request, 'seen', cp.request.handler.callable.__name__)},
)


def arguments_root(cp: Any) -> Any:
    """Page handlers whose arguments hooks look at and change."""

    def config(change: Callable[[Any], None]) -> dict[str, Any]:
        return {'hooks.before_handler.x': lambda: change(cp.request)}

    def more(request: Any) -> None:
        request.handler.args = ['given', *request.handler.args]

    def named(request: Any) -> None:
        request.handler.kwargs = dict(request.handler.kwargs, named='yes')

    def own(request: Any) -> None:
        request.args = ('of the request',)

    def fewer(request: Any) -> None:
        request.handler.args = ()

    def page(self: Any, *args: str, **kwargs: str) -> str:
        return ascii((args, sorted(kwargs.items())))

    class Root:
        pass

    for name, change in {'more': more, 'named': named, 'own': own, 'fewer': fewer}.items():
        handler = type(page)(page.__code__, page.__globals__)
        handler.exposed = True  # type: ignore[attr-defined]
        handler._cp_config = config(change)  # type: ignore[attr-defined]
        setattr(Root, name, handler)
    return Root(), {'/': {}}, lambda app: None


MOUNTS['/arguments'] = arguments_root
for name in ('more', 'named', 'own', 'fewer'):
    case(f'B1.2-arguments-{name}', f'/arguments/{name}/a/b', 'c=1', variant='acts')


def subclassed(cp: Any) -> Any:
    """An application with a request class of its own, which has hooks, attributes and overridden steps."""

    class Request(cp.Application.request_class):  # type: ignore[misc]
        hooks = cp.Application.request_class.hooks.copy()
        colour = 'green'

        def process_query_string(self) -> None:
            super().process_query_string()
            self.params['steps'] = 'process_query_string'

        def process_headers(self) -> None:
            super().process_headers()
            self.headers['X-Added'] = 'by process_headers'

        def get_resource(self, path: str) -> None:
            super().get_resource('/page' if path == '/renamed' else path)

        def handle_error(self) -> None:
            super().handle_error()
            cp.response.headers['X-Handled'] = 'handle_error'

    Request.hooks.attach('before_finalize', lambda: cp.response.headers.update({'X-Class-Hook': 'ran'}))

    class Root:
        @cp.expose
        def page(self, **kwargs: str) -> str:
            request = cp.request
            return ascii((request.colour, sorted(kwargs.items()), request.headers.get('X-Added')))

        @cp.expose
        def boom(self, **kwargs: str) -> str:
            raise ValueError('boom')

    def change(app: Any) -> None:
        app.request_class = Request

    return Root(), {'/': {}}, change


MOUNTS['/subclass'] = subclassed
for name in ('page', 'renamed', 'boom', 'missing'):
    case(f'B1.2-request-class-{name}', f'/subclass/{name}', 'a=1', variant='acts')


def chain(cp: Any) -> Any:
    """Pages that redirect internally, and the one that looks back."""

    class Root:
        @cp.expose
        def first(self, **kwargs: str) -> str:
            cp.request.own = 'first'
            raise cp.InternalRedirect('/second', 'b=2')

        @cp.expose
        def second(self, **kwargs: str) -> str:
            raise cp.InternalRedirect('/last?c=3')

        @cp.expose
        def last(self, **kwargs: str) -> str:
            prev = cp.request.prev
            looked = [(r.closed, r.query_string, sorted(r.params.items()), r.path_info) for r in (prev, prev.prev)]
            return ascii((looked, prev.prev.prev, prev.prev.own, prev.login, sorted(kwargs.items())))

    return Root(), {'/': {}}, lambda app: None


MOUNTS['/chain'] = chain
case('B1.2-prev', '/chain/first', 'a=1', variant='acts', environ={'REMOTE_USER': 'ann'})
case('B1.2-prev-one', '/chain/second', variant='acts')

# 1.4 the stages of a request

POINTS = (
    'on_start_resource',
    'before_request_body',
    'before_handler',
    'before_finalize',
    'on_end_resource',
    'on_end_request',
    'before_error_response',
    'after_error_response',
)


def stages(cp: Any) -> dict[str, Any]:
    """Config that has each hook point tell what is there."""

    def teller(point: str) -> Callable[[], None]:
        def hook() -> None:
            request, response = cp.request, cp.response
            tell(
                point,
                request.stage,
                sorted(request.params),
                request.process_request_body,
                response.status,
                sys.exc_info()[0].__name__ if sys.exc_info()[0] else '-',
                request.closed,
            )

        return hook

    return {f'hooks.{point}.stages': teller(point) for point in POINTS}


def raising(make: Callable[[Any], Exception]) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        tell('handler', cp.request.stage)
        raise make(cp)

    return function


def answering(value: Any, **attributes: Any) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        tell('handler', cp.request.stage)
        for name, setting in attributes.items():
            setattr(cp.response, name, setting)
        return value

    return function


def stage_case(ident: str, function: Callable[[Any], Any], config: dict[str, Any] | None = None, **more: Any) -> None:
    act(f'B1.4-{ident}', function, lambda cp: {**stages(cp), **(config or {})}, **more)
    told(f'B1.4-{ident}')


stage_case('page', answering('page'), query='q=1')
stage_case('head', answering('page'), method='HEAD')
stage_case('post', answering('page'), method='POST', body=b'b=1', query='q=1')
stage_case('post-without-length', answering('page'), method='POST')
stage_case('body-left-alone', answering('page'), {'request.process_request_body': False}, method='POST', body=b'b=1')
stage_case('error', raising(lambda cp: cp.HTTPError(409, 'conflict')))
stage_case('redirect', raising(lambda cp: cp.HTTPRedirect('/x')))
stage_case('not-found', raising(lambda cp: cp.NotFound()))
stage_case('boom', raising(lambda cp: ValueError('boom')))
stage_case('bad-query', answering('page'), query='a=%FF')
stage_case('bad-status', answering('page', status=781))
stage_case('bad-body', answering(3))
stage_case('generator', lambda cp: iter_telling(cp))
stage_case('streamed', lambda cp: iter_telling(cp), {'response.stream': True})
stage_case('thrown', raising(lambda cp: ValueError('thrown')), {'request.throw_errors': True})
stage_case('thrown-error', raising(lambda cp: cp.HTTPError(410)), {'request.throw_errors': True})
stage_case('throws', raising(lambda cp: KeyError('passes')), {'request.throws': (KeyError,)})
stage_case('handler-gives-none', lambda cp: setattr(cp.response, 'body', b'thrown away'))


def iter_telling(cp: Any) -> Any:
    tell('generator', cp.request.stage, cp.response.status)
    yield 'one'
    yield b'two'
    tell('generator ends', cp.request.stage)


def error_in_generator(cp: Any) -> Any:
    yield 'one'
    raise cp.HTTPError(409, 'from the generator')


act('B1.4-generator-error', error_in_generator)


def redirect_in_generator(cp: Any) -> Any:
    raise cp.HTTPRedirect('/elsewhere')
    yield 'never'


act('B1.4-generator-redirect', redirect_in_generator)


def status_in_generator(cp: Any) -> Any:
    cp.response.status = 202
    cp.response.headers['X-Inside'] = 'set'
    cp.response.cookie['inside'] = 'yes'
    yield 'accepted'


act('B1.4-generator-sets', status_in_generator)
act('B1.4-generator-sets-type', lambda cp: typed(cp))
act('B1.4-generator-sets-type-encode-off', lambda cp: (b for b in type_then(cp)), {'tools.encode.on': False})


def typed(cp: Any) -> Any:
    cp.response.headers['Content-Type'] = 'text/plain'
    yield 'text'


def type_then(cp: Any) -> Any:
    cp.response.headers['Content-Type'] = 'text/plain'
    yield b'text'


# 1.5 what happens to an exception, by its origin

KINDS: dict[str, Callable[[Any], Exception]] = {
    'error': lambda cp: cp.HTTPError(409, 'conflict'),
    'redirect': lambda cp: cp.HTTPRedirect('/elsewhere'),
    'other': lambda cp: ValueError('other'),
}


def raise_once(cp: Any, make: Callable[[Any], Exception]) -> Callable[[], None]:
    def hook() -> None:
        if not getattr(cp.request, 'raised', False):
            cp.request.raised = True
            raise make(cp)

    return hook


def raise_always(cp: Any, make: Callable[[Any], Exception]) -> Callable[[], None]:
    def hook() -> None:
        raise make(cp)

    return hook


def failing_config(cp: Any, point: str, hook: Callable[[], None]) -> dict[str, Any]:
    return {
        f'hooks.{point}.fails': hook,
        'hooks.before_finalize.told': lambda: tell('before_finalize', cp.response.status),
        'hooks.on_end_resource.told': lambda: tell('on_end_resource', cp.response.status),
        'hooks.on_end_request.told': lambda: tell('on_end_request'),
    }


for point in POINTS:
    fails_first = point in ('before_error_response', 'after_error_response')
    for kind, make in KINDS.items():
        act(
            f'B1.5-{point}-{kind}',
            raising(lambda cp: KeyError('first')) if fails_first else answering('page'),
            lambda cp, point=point, make=make: failing_config(cp, point, raise_always(cp, make)),
        )
        told(f'B1.5-{point}-{kind}')
for kind, make in KINDS.items():
    act(
        f'B1.5-before_finalize-once-{kind}',
        answering('page'),
        lambda cp, make=make: failing_config(cp, 'before_finalize', raise_once(cp, make)),
    )
    told(f'B1.5-before_finalize-once-{kind}')
    act(
        f'B1.5-error_response-{kind}',
        raising(lambda cp: KeyError('first')),
        lambda cp, make=make: {'request.error_response': raise_always(cp, make)},
    )
    told(f'B1.5-error_response-{kind}')


def bad_namespace(cp: Any) -> Any:
    """An application whose config has namespaces that fail."""

    def change(app: Any) -> None:
        failing = {f'fail{kind}': _Failing(lambda make=make: make(cp)) for kind, make in KINDS.items()}
        app.toolboxes = {**app.toolboxes, **failing}

    class Root:
        @cp.expose
        def default(self, *args: str) -> str:
            return 'page'

    config = {f'/{kind}': {f'fail{kind}.key': 1} for kind in KINDS}
    return Root(), config, change


class _Failing:
    """A config namespace that raises at each of its keys."""

    def __init__(self, make: Callable[[], Exception]) -> None:
        self.make = make

    def __call__(self, key: str, value: Any) -> None:
        raise self.make()


MOUNTS['/namespace'] = bad_namespace
for kind in KINDS:
    case(f'B1.5-namespace-{kind}', f'/namespace/{kind}', variant='acts')
    told(f'B1.5-namespace-{kind}')

# 1.6 headers


def x_text(cp: Any) -> Any:
    return cp.request.headers.get('X-Text')


for ident, value in {
    'plain': 'text',
    'stripped': '  text \t ',
    'empty': '',
    'word': '=?utf-8?q?gr=C3=BCn?=',
    'word-base64': '=?utf-8?b?4oSr?=',
    'words': '=?utf-8?q?gr=C3?= =?utf-8?q?=BCn?=',
    'word-latin-1': '=?iso-8859-1?q?gr=FCn?=',
    'word-unknown-charset': '=?nosuch?q?x?=',
    'word-bad-bytes': '=?utf-8?q?=FF?=',
    'word-in-text': 'abc =?utf-8?q?d?= e',
    'word-half': '=?utf-8',
    'latin-1': 'gr\xfcn',
}.items():
    read(f'B1.6-text-{ident}', x_text, headers={'X-Text': value})
read('B1.6-title-case', lambda cp: sorted(cp.request.headers), headers={'x-lOWER-caSE': '1'})
read(
    'B1.6-any-case',
    lambda cp: (cp.request.headers['X-ONE'], 'x-one' in cp.request.headers, cp.request.headers.get('x-One')),
    headers={'X-One': '1'},
)
act('B1.6-absent', lambda cp: cp.request.headers['Content-Type'])
read('B1.6-absent-get', lambda cp: cp.request.headers.get('Content-Type', 'none'))
read('B1.6-elements', lambda cp: cp.request.headers.values('Accept'), headers={'Accept': 'a/b;q=0.1, c/d'})
read('B1.6-joined-by-the-server', lambda cp: cp.request.headers['Accept-Charset'], headers={'Accept-Charset': 'a, b'})
for ident, value in {
    'one': 'a=1',
    'two': 'a=1; b=2',
    'same-name': 'a=1; a=2',
    'quoted': 'a="x\\"y"',
    'octal': 'a="gr\\303\\274n"',
    'spaces': 'a=x y; b=2',
    'empty-value': 'a=; b=2',
    'no-value': 'a; b=2',
    'attribute': '$Version=1; a=1; $Path=/',
    'reserved': 'path=1; a=2',
    'comma': 'a=1,b=2',
    'bad-name': 'Something-With,Comma=1; a=2',
    'equals': 'a=b=c',
    'trailing': 'a=1;',
    'non-ascii': 'a=gr\xfcn; b=2',
}.items():
    read(
        f'B1.6-cookie-{ident}',
        lambda cp: sorted((key, morsel.value) for key, morsel in cp.request.cookie.items()),
        headers={'Cookie': value},
    )
act('B1.6-no-host', lambda cp: 'page', environ={'HTTP_HOST': None})
act('B1.6-no-host-1.0', lambda cp: 'page', environ={'HTTP_HOST': None, 'SERVER_PROTOCOL': 'HTTP/1.0'})
read('B1.6-host', lambda cp: (type(cp.request.headers['Host']).__name__, cp.request.headers['Host']))
for ident, value in {
    'line-feed': '=?utf-8?q?h=0Ax?=',
    'line-end': '=?utf-8?q?h=0D=0Ax?=',
    'word': '=?utf-8?q?h?=',
}.items():
    read(
        f'B1.6-host-{ident}',
        lambda cp: (cp.request.headers['Host'], getattr(cp.request.headers['Host'], 'raw', None), cp.request.base),
        headers={'Host': value},
    )
read('B1.6-set-by-the-application', lambda cp: (cp.request.headers.update({'X-A': 'b'}), cp.request.headers['x-a'])[1])

# 1.7 the query string

for ident, query, encoding in (
    ('undecodable', 'a=%FF', None),
    ('undecodable-name', '%FF=1', None),
    ('latin-1', 'a=%FC', 'latin-1'),
    ('utf-16', 'a=%FF%FEA%00', 'utf-16'),
    ('ascii-refuses', 'a=%C3%BC', 'ascii'),
    ('percent', 'a=100%&b=%zz', None),
    ('names', '%C3%BC=1', None),
):
    read(
        f'B1.7-{ident}',
        lambda cp: sorted(cp.request.params.items()),
        {'request.query_string_encoding': encoding} if encoding else {},
        query=query,
    )
read(
    'B1.7-encoding-by-hook',
    lambda cp: sorted(cp.request.params.items()),
    lambda cp: {'hooks.on_start_resource.x': lambda: setattr(cp.request, 'query_string_encoding', 'latin-1')},
    query='a=%FC',
)
read(
    'B1.7-query-string-by-hook',
    lambda cp: sorted(cp.request.params.items()),
    lambda cp: {'hooks.on_start_resource.x': lambda: setattr(cp.request, 'query_string', 'b=2')},
    query='a=1',
)

# 1.8 what config sets


def counted(cp: Any, name: str) -> Callable[..., None]:
    def hook(**kwargs: Any) -> None:
        cp.request.ran = [*getattr(cp.request, 'ran', []), f'{name}{kwargs or ""}']

    return hook


def ran(cp: Any) -> str:
    return ' '.join(getattr(cp.request, 'ran', []))


def with_priority(cp: Any, name: str, priority: int) -> Callable[..., None]:
    hook = counted(cp, name)
    hook.priority = priority  # type: ignore[attr-defined]
    return hook


def dotted_hook() -> None:
    """Be found by its dotted name."""
    tell('found by name')


act('B1.8-hooks-callable', ran, lambda cp: {'hooks.before_handler': counted(cp, 'one')})
act(
    'B1.8-hooks-suffixes',
    ran,
    lambda cp: {'hooks.before_handler.b': counted(cp, 'b'), 'hooks.before_handler.a.c': counted(cp, 'a')},
)
act(
    'B1.8-hooks-priority',
    ran,
    lambda cp: {
        'hooks.before_handler.a': with_priority(cp, 'late', 90),
        'hooks.before_handler.b': counted(cp, 'middle'),
        'hooks.before_handler.c': with_priority(cp, 'early', -5),
    },
)
act(
    'B1.8-hooks-instance',
    ran,
    lambda cp: {
        'hooks.before_handler.a': counted(cp, 'plain'),
        'hooks.before_handler.b': inner(cp, '_cprequest', 'Hook')(counted(cp, 'made'), priority=1, given='x'),
    },
)
act('B1.8-hooks-dotted', lambda cp: 'page', {'hooks.before_handler.x': f'{__name__}.dotted_hook'})
told('B1.8-hooks-dotted')
act('B1.8-hooks-dotted-missing', lambda cp: 'page', {'hooks.before_handler.x': f'{__name__}.no_such_hook'})
act('B1.8-hooks-unknown-point', lambda cp: 'page', {'hooks.before_lunch.x': dotted_hook})
act('B1.8-request', lambda cp: cp.request.colour, {'request.colour': 'red'})
act('B1.8-request-dots', lambda cp: getattr(cp.request, 'a.b'), {'request.a.b': 'dotted'})
read('B1.8-request-body', lambda cp: cp.request.body.bufsize, {'request.body.bufsize': 99}, method='POST', body=b'a=1')
act(
    'B1.8-request-body-charsets',
    show,
    {'request.body.attempt_charsets': ['utf-16']},
    method='POST',
    body=b'a=%FF%FEA%00',
)
act('B1.8-request-body-maxbytes', show, {'request.body.maxbytes': 3}, method='POST', body=b'a=12')
act('B1.8-request-body-maxbytes-exactly', show, {'request.body.maxbytes': 4}, method='POST', body=b'a=12')
act('B1.8-request-show-mismatch', lambda cp: 'page', {'request.show_mismatched_params': False})
act('B1.8-response-status', lambda cp: 'page', {'response.status': 202})
act('B1.8-response-headers', lambda cp: 'page', {'response.headers.x-colour': 'red'})
act('B1.8-response-headers-type', lambda cp: 'page', {'response.headers.content-type': 'text/plain'})
act('B1.8-response-headers-number', lambda cp: 'page', {'response.headers.x-number': 5})
act('B1.8-response-own', lambda cp: cp.response.own, {'response.own': 'mine'})
act('B1.8-response-body', lambda cp: None, {'response.body': b'from config'})
act('B1.8-response-stream', lambda cp: 'streamed', {'response.stream': True})
act('B1.8-error-page', raising(lambda cp: cp.HTTPError(409)), {'error_page.409': lambda **kw: f'own {kw["status"]}'})
act(
    'B1.8-error-page-default',
    raising(lambda cp: cp.HTTPError(409)),
    {'error_page.default': lambda **kw: 'default page'},
)
act(
    'B1.8-error-page-both',
    raising(lambda cp: cp.HTTPError(409)),
    {'error_page.default': lambda **kw: 'default page', 'error_page.409': lambda **kw: 'own page'},
)
act('B1.8-error-page-bad-code', lambda cp: 'page', {'error_page.teapot': 'x'})
read('B1.8-no-dot', lambda cp: cp.request.config['plainkey'], {'plainkey': 1})
read('B1.8-unknown-namespace', lambda cp: cp.request.config['nowhere.key'], {'nowhere.key': 1})


def namespaces_root(cp: Any) -> Any:
    """An application with config namespaces of its own, functions and context managers."""

    def plain(key: str, value: Any) -> None:
        tell('plain', key, value)

    class Managed:
        def __init__(self, swallows: bool) -> None:
            self.swallows = swallows

        def __enter__(self) -> Callable[[str, Any], None]:
            tell('enter', self.swallows)
            return self.set

        def set(self, key: str, value: Any) -> None:
            tell('set', key, value)
            if value == 'fail':
                raise ValueError(f'no {key}')

        def __exit__(self, kind: Any, exc: Any, trace: Any) -> bool:
            tell('exit', kind.__name__ if kind else None)
            return self.swallows

    class Root:
        @cp.expose
        def default(self, *args: str) -> str:
            tell('page')
            return 'page'

    def change(app: Any) -> None:
        app.toolboxes = {**app.toolboxes, 'plain': plain, 'managed': Managed(False), 'swallow': Managed(True)}

    config = {
        '/none': {},
        '/plain': {'plain.a': 1, 'plain.b.c': 2},
        '/managed': {'managed.a': 1},
        '/fails': {'managed.a': 'fail', 'managed.b': 1},
        '/swallows': {'swallow.a': 'fail'},
        '/order': {'swallow.a': 1, 'managed.a': 2, 'plain.a': 3},
    }
    return Root(), config, change


MOUNTS['/namespaces'] = namespaces_root
for name in ('none', 'plain', 'managed', 'fails', 'swallows', 'order'):
    case(f'B1.8-namespaces-{name}', f'/namespaces/{name}', variant='acts')
    told(f'B1.8-namespaces-{name}')


@contextmanager
def class_namespace() -> Any:
    yield lambda key, value: tell('class namespace', key, value)


def class_namespaces(cp: Any) -> Any:
    """An application whose request class has a namespace more."""

    class Request(cp.Application.request_class):  # type: ignore[misc]
        namespaces = cp.Application.request_class.namespaces.copy()

    Request.namespaces['mine'] = lambda key, value: tell('mine', key, value)

    class Root:
        @cp.expose
        def index(self) -> str:
            return ascii(list(cp.request.namespaces)[:6])

    def change(app: Any) -> None:
        app.request_class = Request

    return Root(), {'/': {'mine.key': 'value'}}, change


MOUNTS['/mine'] = class_namespaces
case('B1.8-class-namespace', '/mine/', variant='acts')
told('B1.8-class-namespace')

post('B1.8-form-in-params', '/B1.2-params', 'a=2&d=4', 'a=1', variant='acts')
