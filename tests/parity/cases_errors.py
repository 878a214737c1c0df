"""Cases of Spec B 4: errors, redirects, internal redirects, and the pages they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .acts import MOUNTS
from .table import act, case, expression, read

SHOWN = {'request.show_tracebacks': True}


def error(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        raise cp.HTTPError(*args, **kwargs)

    return function


def redirect(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        raise cp.HTTPRedirect(*args, **kwargs)

    return function


def boom(cp: Any) -> Any:
    raise ValueError('boom')


# 4.1, 4.2 the classes

expression(
    'B4.1-bases',
    lambda cp: [
        [base.__name__ for base in getattr(cp, name).__mro__]
        for name in ('HTTPError', 'NotFound', 'HTTPRedirect', 'InternalRedirect')
    ],
)
for name in ('CherryPyException', 'HTTPError', 'HTTPRedirect', 'InternalRedirect', 'NotFound'):
    expression(f'B4.1-exported-{name}', lambda cp, name=name: issubclass(getattr(cp, name), cp.CherryPyException))
act('B4.1-error-called', lambda cp: cp.HTTPError(410)())
act('B4.1-redirect-called', lambda cp: cp.HTTPRedirect('/x')())


def fields(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        exc = make(cp)
        return exc.status, exc.code, exc.reason, exc._message, exc.args

    return function


for ident, args in {
    'default': (),
    'status': (404,),
    'message': (404, 'gone away'),
    'reason': ("410 Gone fishin'",),
    'reason-and-message': ("410 Gone fishin'", 'back soon'),
    'text': ('404',),
    'message-empty': (404, ''),
    'message-none': (404, None),
    'unknown-code': (499,),
    'float': (404.7,),
    'not-an-error': (200,),
    'redirect': (302,),
    'too-large': (600,),
    'way-too-large': (1000,),
    'word': ('error',),
    'none': (None,),
    'bytes': (b'404',),
    'negative': (-404,),
}.items():
    expression(f'B4.2-{ident}', fields(lambda cp, args=args: cp.HTTPError(*args)))
    act(f'B4.2-{ident}-raised', error(*args))
expression('B4.2-of-a-status', lambda cp: str(cp.HTTPError(404, 'x')))
act('B4.2-message-number', error(409, 5))
act('B4.2-message-bytes', error(409, b'bytes'))
act('B4.2-message-html', error(409, '<b>&"\''))
act('B4.2-message-wide', error(409, 'gr\xfcn \u212b'))
act('B4.2-message-percent', error(409, '100% %(status)s %s'))
act('B4.2-message-lines', error(409, 'one\ntwo'))


def handled(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        with cp.HTTPError.handle(*args, **kwargs):
            raise ValueError('the cause')

    return function


act('B4.2-handle', handled(ValueError))
act('B4.2-handle-status', handled(ValueError, 400))
act('B4.2-handle-message', handled(ValueError, 400, 'said instead'))
act('B4.2-handle-several', handled((KeyError, ValueError), 400))
act('B4.2-handle-another', handled(KeyError, 400))


def own_page(cp: Any) -> Any:
    class Own(cp.HTTPError):  # type: ignore[misc]
        def get_error_page(self, *args: Any, **kwargs: Any) -> bytes:
            return f'own {args} {sorted(kwargs)}'.encode()

    raise Own(409, 'm')


def own_response(cp: Any) -> Any:
    class Own(cp.HTTPError):  # type: ignore[misc]
        def set_response(self) -> None:
            cp.response.status = 418
            cp.response.body = b'own response'

    raise Own(409, 'm')


def own_handler(cp: Any) -> Any:
    class Teapot(cp.HTTPError):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(418, 'short and stout')

    raise Teapot


act('B4.2-own-page', own_page)
act('B4.2-own-response', own_response)
act('B4.2-raised-as-a-class', own_handler)
act('B4.2-set-response-by-hand', lambda cp: cp.HTTPError(409).set_response())
act('B4.2-returned', lambda cp: cp.HTTPError(409))
act('B4.2-not-found', lambda cp: cp.NotFound()())
act('B4.2-not-found-path', lambda cp: cp.NotFound('/some<where>')())
read('B4.2-not-found-args', lambda cp: cp.NotFound().args)
read('B4.2-not-found-of-a-path', lambda cp: (cp.NotFound('/p').args, cp.NotFound('/p').code))

# 4.3 headers that go

SET = (
    *('Accept-Ranges', 'Age', 'ETag', 'Location', 'Retry-After', 'Vary', 'Content-Encoding', 'Content-Length'),
    *('Expires', 'Content-Location', 'Content-MD5', 'Last-Modified', 'Content-Range', 'Cache-Control', 'Allow'),
    *('WWW-Authenticate', 'Content-Language', 'Content-Disposition', 'X-Custom', 'Link', 'Pragma'),
)


def heading(make: Callable[[Any], Exception]) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        for name in SET:
            cp.response.headers[name] = '0' if name == 'Content-Length' else 'of-the-page'
        cp.response.headers['Content-Type'] = 'text/plain'
        raise make(cp)

    return function


for ident, make in {
    '404': lambda cp: cp.HTTPError(404),
    '401': lambda cp: cp.HTTPError(401),
    '405': lambda cp: cp.HTTPError(405),
    '416': lambda cp: cp.HTTPError(416),
    '503': lambda cp: cp.HTTPError(503),
    'other': lambda cp: ValueError('boom'),
    'redirect': lambda cp: cp.HTTPRedirect('/x'),
    'not-modified': lambda cp: cp.HTTPRedirect([], 304),
    'use-proxy': lambda cp: cp.HTTPRedirect('/x', 305),
}.items():
    act(f'B4.3-{ident}', heading(make), show=SET)

# 4.4 redirects

TARGETS: dict[str, Any] = {
    'absolute': 'https://example.com/x?y=1#z',
    'of-the-scheme': '//example.com/x',
    'of-the-root': '/x',
    'beside': 'x',
    'up': '../x',
    'empty': '',
    'query': '?a=2',
    'fragment': '#f',
    'escaped': '/x%20y',
    'markup': '/x?a=<script>&b="c"',
    'single-quote': "/x?a='b'",
    'bytes': b'/gr\xc3\xbcn',
    'list': ['/x', '/y'],
    'tuple': ('/x',),
    'none-of-them': [],
    'mail': 'mailto:a@example.com',
}
for ident, target in TARGETS.items():
    act(f'B4.4-to-{ident}', redirect(target), rest='/deep/er', query='q=1')
    read(f'B4.4-urls-{ident}', lambda cp, target=target: cp.HTTPRedirect(target).urls, rest='/deep/er', query='q=1')
for status in (300, 301, 302, 303, 304, 305, 307, 308, 306, 309, 399):
    act(f'B4.4-status-{status}', redirect('/x', status))
for ident, status in {'low': 299, 'high': 400, 'text': '307', 'reason': '303 X', 'word': 'x'}.items():
    act(f'B4.4-status-{ident}', redirect('/x', status))
act('B4.4-several', redirect(['/x', '/y'], 300))
act('B4.4-nothing-not-modified', redirect([], 304))
act('B4.4-encoding', redirect(b'/gr\xfcn', encoding='latin-1'))
act('B4.4-bad-encoding', redirect(b'/gr\xfcn'))
read('B4.4-fields', lambda cp: (lambda e: (e.urls, e.status, e.args, str(e)))(cp.HTTPRedirect('/x')))
read('B4.4-default-status', lambda cp: (cp.HTTPRedirect.default_status, cp.HTTPRedirect('/x').default_status))
read(
    'B4.4-default-status-1.0',
    lambda cp: (cp.HTTPRedirect.default_status, cp.HTTPRedirect('/x').status),
    environ={'SERVER_PROTOCOL': 'HTTP/1.0'},
)
read('B4.4-status-is-read-only', lambda cp: setattr(cp.HTTPRedirect('/x'), 'status', 301))


def own_default(cp: Any) -> Any:
    class Own(cp.HTTPRedirect):  # type: ignore[misc]
        encoding = 'latin-1'
        default_status = 307

    raise Own(b'/gr\xfcn')


act('B4.4-own-defaults', own_default)
act('B4.4-body-is-left-out', lambda cp: setattr(cp.response, 'body', b'old') or cp.HTTPRedirect('/x')())
expression('B4.4-outside', lambda cp: cp.HTTPRedirect('/x').urls)


def redirecting(cp: Any) -> Any:
    """A mounted application whose pages redirect."""

    class Root:
        @cp.expose
        def index(self) -> str:
            raise cp.HTTPRedirect('beside')

        @cp.expose
        def page(self, *args: str) -> str:
            raise cp.HTTPRedirect('/root')

        @cp.expose
        def within(self) -> str:
            raise cp.HTTPRedirect(cp.url('/page'))

    return Root(), {'/': {}}, lambda app: None


MOUNTS['/redirecting/app'] = redirecting
for name in ('/', '/page', '/within'):
    case(f'B4.4-mounted{name}', '/redirecting/app' + name, variant='acts')

# 4.5 internal redirects


def internal(cp: Any) -> Any:
    """A mounted application whose pages redirect internally."""

    class Root:
        @cp.expose
        def target(self, *args: str, **kwargs: str) -> str:
            request = cp.request
            return ascii(
                (
                    args,
                    sorted(kwargs.items()),
                    request.method,
                    request.path_info,
                    request.headers.get('Content-Length'),
                    request.headers.get('X-Sent'),
                    sorted(cp.response.cookie),
                )
            )

        @cp.expose
        def to(self, *args: str, target: str = '/target', qs: str = '', **kwargs: str) -> str:
            cp.response.headers['X-Lost'] = 'lost'
            cp.response.cookie['lost'] = '1'
            raise cp.InternalRedirect(target, qs)

        @cp.expose
        def fields(self, *args: str) -> str:
            exc = cp.InternalRedirect('sub/x?a=1', 'b=2')
            return ascii((exc.path, exc.query_string, exc.args, exc.request is cp.serving.request))

        @cp.expose
        def same(self) -> str:
            raise cp.InternalRedirect('/same')

        @cp.expose
        def counts(self, n: str = '0') -> str:
            if int(n) > 5:
                return f'counted to {n}'
            raise cp.InternalRedirect('/counts', f'n={int(n) + 1}')

        @cp.expose
        def hooked(self, **kwargs: str) -> str:
            return 'never'

        @cp.expose
        def from_error(self) -> str:
            raise ValueError('boom')

    config = {
        '/hooked': {'hooks.before_request_body.x': raiser(lambda: cp.InternalRedirect('/target', 'from=hook'))},
        '/from_error': {'hooks.before_error_response.x': raiser(lambda: cp.InternalRedirect('/target', 'from=error'))},
    }
    return Root(), config, lambda app: None


def raiser(make: Callable[[], Exception]) -> Callable[[], None]:
    def hook() -> None:
        raise make()

    return hook


MOUNTS['/inner'] = internal
for ident, (path, query) in {
    'absolute': ('/to', ''),
    'relative': ('/to/a', 'target=sub'),
    'up': ('/to/a', 'target=../target'),
    'query': ('/to', 'qs=a%3D1'),
    'query-in-path': ('/to', 'target=/target%3Fb%3D2&qs=a%3D1'),
    'arguments': ('/to', 'target=/target/a/b'),
    'missing': ('/to', 'target=/nosuch'),
    'fields': ('/fields/y', ''),
    'same': ('/same', ''),
    'same-page-other-query': ('/counts', ''),
    'hook': ('/hooked', 'a=1'),
    'from-error': ('/from_error', ''),
}.items():
    case(f'B4.5-{ident}', '/inner' + path, query, variant='acts', headers={'X-Sent': 'kept'})
case('B4.5-url', '/inner/to', 'target=http://example.com/x', variant='acts', ignore=('body',))
case('B4.5-post', '/inner/to', variant='acts', method='POST', body=b'a=1')
case('B4.5-put', '/inner/to', variant='acts', method='PUT', body=b'a=1', headers={'Content-Type': 'a/b'})
case('B4.5-post-unread', '/inner/hooked', variant='acts', method='POST', body=b'a=1')
case('B4.5-delete', '/inner/to', variant='acts', method='DELETE')

# 4.6 error pages


def pages(cp: Any) -> Any:
    """An application with an error page of every kind, each below a path of its own."""

    class Root:
        @cp.expose
        def default(self, *args: str, **kwargs: str) -> str:
            cp.response.headers['Content-Type'] = 'text/plain'
            if kwargs.get('boom'):
                raise ValueError('boom')
            raise cp.HTTPError(int(kwargs.get('code', 409)), kwargs.get('message', '<m>'))

    def page(**kwargs: str) -> str:
        return ascii(sorted((k, v) for k, v in kwargs.items() if k != 'version'))

    def chunks(**kwargs: str) -> Iterator[Any]:
        yield 'gr\xfcn '
        yield b'bytes'

    def failing_chunks(**kwargs: str) -> Iterator[str]:
        yield 'one'
        raise ValueError('in a chunk')

    def heading(**kwargs: str) -> str:
        cp.response.headers['Content-Type'] = 'application/json'
        cp.response.headers['Retry-After'] = '5'
        cp.response.cookie['page'] = '1'
        return '{}'

    def status(**kwargs: str) -> str:
        cp.response.status = 418
        return 'another status'

    class Page:
        def __call__(self, status: str, **kwargs: str) -> str:
            return 'called ' + status

    def fails(**kwargs: str) -> str:
        raise ValueError('<page> failed')

    entries: dict[str, Any] = {
        'callable': page,
        'bytes': lambda **kwargs: b'\xff bytes',
        'text': lambda **kwargs: 'gr\xfcn',
        'empty': lambda **kwargs: '',
        'generator': chunks,
        'generator_fails': failing_chunks,
        'list': lambda **kwargs: ['a'],
        'none': lambda **kwargs: None,
        'number': lambda **kwargs: 5,
        'instance': Page(),
        'headers': heading,
        'status': status,
        'fails': fails,
        'raises_error': lambda **kwargs: cp.HTTPError(410)(),
        'raises_redirect': lambda **kwargs: cp.HTTPRedirect('/x')(),
        'missing_file': '/nonexistent/error page.html',
        'falsy': '',
        'wide_file': str(FILES / 'page.html'),
        'percent_file': str(FILES / 'percent.html'),
        'unknown_file': str(FILES / 'unknown.html'),
    }
    config: dict[str, dict[str, Any]] = {f'/{name}': {'error_page.default': entry} for name, entry in entries.items()}
    config['/code'] = {'error_page.404': page, 'error_page.500': lambda **kwargs: 'own 500'}
    config['/falsy_code'] = {'error_page.409': None, 'error_page.default': lambda **kwargs: 'the default one'}
    return Root(), config, lambda app: None


FILES = Path(__file__).resolve().parent / 'error_pages'
MOUNTS['/pages'] = pages
for name in (
    *('callable', 'bytes', 'text', 'empty', 'generator', 'generator_fails', 'list', 'none', 'number', 'instance'),
    *('headers', 'status', 'fails', 'raises_error', 'raises_redirect', 'missing_file', 'falsy'),
    *('wide_file', 'percent_file', 'unknown_file'),
):
    case(f'B4.6-{name}', f'/pages/{name}', 'message=said', variant='acts', show=('Retry-After',))
for name in ('callable', 'fails', 'wide_file', 'generator', 'status'):
    case(f'B4.6-{name}-boom', f'/pages/{name}', 'boom=1', variant='acts')
case('B4.6-callable-escaped', '/pages/callable', 'message=%3Cb%3E%26%22%27', variant='acts')
case('B4.6-callable-no-message', '/pages/callable', 'message=', variant='acts')
case('B4.6-code', '/pages/code', 'code=404', variant='acts')
case('B4.6-code-another', '/pages/code', 'code=409', variant='acts')
case('B4.6-code-500', '/pages/code', 'boom=1', variant='acts')
case('B4.6-falsy-code', '/pages/falsy_code', variant='acts')
case('B4.6-missing-file-no-message', '/pages/missing_file', 'message=', variant='acts')
case('B4.6-head', '/pages/text', variant='acts', method='HEAD')

for code in (400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 415, 416, 500, 501, 502, 503, 505):
    act(f'B4.6-padding-{code}', error(code, 'm'), lambda cp: {'error_page.default': lambda **kwargs: 'short'})
act('B4.6-padding-long', error(404), lambda cp: {'error_page.default': lambda **kwargs: 'x' * 600})
act('B4.6-padding-exactly', error(404), lambda cp: {'error_page.default': lambda **kwargs: 'x' * 512})
act('B4.6-padding-empty', error(404), lambda cp: {'error_page.default': lambda **kwargs: ''})
act('B4.6-padding-of-boom', boom, lambda cp: {'error_page.default': lambda **kwargs: 'short'})
act('B4.6-type-of-the-default-page', lambda cp: cp.response.headers.update({'Content-Type': 'a/b'}) or error(409)(cp))
act('B4.6-traceback-shown', error(409, 'm'), SHOWN)
act('B4.6-traceback-shown-boom', boom, SHOWN)
act('B4.6-traceback-shown-not-found', lambda cp: cp.NotFound()(), SHOWN)
act('B4.6-traceback-hidden', boom)
act(
    'B4.6-traceback-for-a-callable',
    boom,
    lambda cp: {**SHOWN, 'error_page.500': lambda **kwargs: str(kwargs['traceback'].count('Traceback'))},
)


def chained(cp: Any) -> Any:
    try:
        raise KeyError('first')
    except KeyError as exc:
        raise ValueError('second') from exc


act(
    'B4.6-traceback-of-a-chain',
    chained,
    lambda cp: {**SHOWN, 'error_page.500': lambda **kwargs: str(kwargs['traceback'].count('Traceback'))},
)
act('B4.6-finalize-fails-hidden', lambda cp: setattr(cp.response, 'status', 'ZOO OK'))
act('B4.6-finalize-fails-shown', lambda cp: setattr(cp.response, 'status', 'ZOO OK'), SHOWN)

# 4.7 error_response


def respond(cp: Any) -> Any:
    def function() -> str:
        cp.response.status = 503
        cp.response.headers['Content-Type'] = 'text/plain'
        cp.response.body = b'from error_response'
        return 'given back, and ignored'

    return function


def kept_headers(cp: Any) -> Any:
    cp.response.headers['ETag'] = '"kept"'
    raise ValueError('boom')


act('B4.7-error-response', boom, lambda cp: {'request.error_response': respond(cp)})
act(
    'B4.7-error-response-keeps-headers',
    kept_headers,
    lambda cp: {'request.error_response': respond(cp)},
    show=('ETag',),
)
act('B4.7-error-response-none', boom, {'request.error_response': None})
act('B4.7-error-response-of-an-error', boom, lambda cp: {'request.error_response': cp.HTTPError(502).set_response})
act('B4.7-error-response-sets-nothing', boom, {'request.error_response': lambda: None})
act(
    'B4.7-error-response-by-hook',
    boom,
    lambda cp: {'hooks.before_error_response.x': lambda: setattr(cp.request, 'error_response', respond(cp))},
)
act('B4.7-error-response-not-for-httperror', error(409), lambda cp: {'request.error_response': respond(cp)})
act('B4.7-thrown-shown', boom, {**SHOWN, 'request.throw_errors': True})
act('B4.7-boom-in-error-page-and-shown', boom, {**SHOWN, 'request.error_response': 5})
