"""Cases of Spec B 2 and 3: the response, its body, how it is streamed and closed; hooks, tools and toolboxes."""

from __future__ import annotations

import http
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .acts import MOUNTS, TOOLS, inner, tell
from .table import act, case, expression, read, told

OFF = {'tools.encode.on': False}
STREAM = {'response.stream': True}


def setting(value: Any, **attributes: Any) -> Callable[[Any], Any]:
    """A page handler that sets attributes of the response and gives `value`."""

    def function(cp: Any) -> Any:
        for name, what in attributes.items():
            setattr(cp.response, name, what)
        return value

    return function


def heading(value: Any, headers: dict[Any, Any]) -> Callable[[Any], Any]:
    """A page handler that sets headers of the response and gives `value`."""

    def function(cp: Any) -> Any:
        for name, what in headers.items():
            cp.response.headers[name] = what
        return value

    return function


# 2.1 attributes


def made(cp: Any) -> Any:
    return cp.Application.response_class()


expression('B2.1-made', lambda cp: (made(cp).status, made(cp).header_list, made(cp).body, made(cp).stream))
expression('B2.1-made-headers', lambda cp: list(made(cp).headers))
expression('B2.1-made-type', lambda cp: made(cp).headers['Content-Type'])
expression('B2.1-made-cookie', lambda cp: (type(made(cp).cookie).__name__, len(made(cp).cookie)))
expression('B2.1-made-date', lambda cp: (lambda r: r.headers['Date'] == cp.lib.httputil.HTTPDate(r.time))(made(cp)))
expression('B2.1-unicode-err', lambda cp: cp.Application.response_class.body.unicode_err)
read('B2.1-status-in-the-handler', lambda cp: cp.response.status)
read('B2.1-headers-in-the-handler', lambda cp: list(cp.response.headers))
read('B2.1-header-list-in-the-handler', lambda cp: cp.response.header_list)
read('B2.1-time', lambda cp: cp.response.headers['Date'] == cp.lib.httputil.HTTPDate(cp.response.time))


UNCOMPARED = (b'Server', b'Date', b'X-Content-Type-Options')


def finalized(cp: Any) -> dict[str, Any]:
    def look() -> None:
        response = cp.response
        names = [name for name, value in response.header_list if name not in UNCOMPARED]
        tell(response.status, response.output_status, names, response.body)

    return {'hooks.on_end_resource.look': look}


act('B2.1-finalized', lambda cp: 'page', finalized)
told('B2.1-finalized')
act('B2.1-finalized-error', lambda cp: cp.HTTPError(409, 'no')(), lambda cp: {**finalized(cp), **plain_page(cp)})
told('B2.1-finalized-error')
act('B2.1-finalized-cookies', lambda cp: cp.response.cookie.load('b=2; a=1'), finalized)
told('B2.1-finalized-cookies')


def plain_page(cp: Any) -> dict[str, Any]:
    return {'error_page.default': lambda **kwargs: b'the error'}


def appending(*pairs: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda cp: {'hooks.on_end_resource.append': lambda: cp.response.header_list.extend(pairs)}


act(
    'B2.1-header-list-twice',
    lambda cp: 'page',
    appending((b'WWW-Authenticate', b'Basic realm="a"'), (b'WWW-Authenticate', b'Digest realm="b"')),
    show=('WWW-Authenticate',),
)
act('B2.1-header-list-of-numbers', lambda cp: 'page', appending((2, 3)))
act('B2.1-header-list-of-text', lambda cp: 'page', appending((b'X-A', 'text')))
act(
    'B2.1-output-status-of-text',
    lambda cp: 'page',
    lambda cp: {'hooks.on_end_resource.x': lambda: setattr(cp.response, 'output_status', '200 OK')},
)
act(
    'B2.1-output-status-late',
    lambda cp: 'page',
    lambda cp: {'hooks.on_end_resource.x': lambda: setattr(cp.response, 'output_status', b'202 Late')},
)
act(
    'B2.1-body-late',
    lambda cp: 'page',
    lambda cp: {'hooks.on_end_resource.x': lambda: setattr(cp.response, 'body', [b'late'])},
)

# 2.2 the body


class Readable(io.BytesIO):
    def close(self) -> None:
        if not self.closed:
            tell('closed')
        super().close()


GIVEN: dict[str, Callable[[], Any]] = {
    'text': lambda: 'h\xe9llo',
    'text-empty': str,
    'bytes': lambda: b'abc',
    'bytes-empty': bytes,
    'none': lambda: None,
    'list': lambda: [b'a', b'b'],
    'list-empty': list,
    'list-of-text': lambda: ['a', '\xe9'],
    'list-mixed': lambda: ['a', b'b'],
    'tuple': lambda: (b'a', b'b'),
    'tuple-of-text': lambda: ('a', 'b'),
    'set': lambda: {b'a'},
    'generator': lambda: (b for b in (b'a', b'b')),
    'generator-of-text': lambda: (t for t in ('a', '\xe9')),
    'generator-mixed': lambda: (t for t in ('a', b'b')),
    'generator-empty': lambda: iter(()),
    'generator-with-none': lambda: (t for t in ('a', None)),
    'map': lambda: map(str.encode, 'ab'),
    'file': lambda: Readable(b'of a file'),
    'file-of-text': lambda: io.StringIO('of a text file'),
    'int': lambda: 3,
    'float': lambda: 1.5,
    'true': lambda: True,
    'zero': lambda: 0,
    'object': object,
    'list-of-int': lambda: [1],
    'list-nested': lambda: [[b'a'], [b'b']],
    'dict-of-bytes': lambda: {b'k': 1},
    'dict-of-text': lambda: {'k': 1},
    'dict-empty': dict,
    'class': lambda: Readable,
    'exception': lambda: ValueError('returned'),
    'bytes-subclass': lambda: type('Own', (bytes,), {})(b'own'),
    'text-subclass': lambda: type('Own', (str,), {})('own'),
    'bytearray': lambda: bytearray(b'array'),
    'memoryview': lambda: memoryview(b'view'),
}
for ident, give in GIVEN.items():
    act(f'B2.2-{ident}', lambda cp, give=give: give())
    act(f'B2.2-{ident}-encode-off', lambda cp, give=give: give(), OFF)
for ident in (
    'bytes',
    'generator',
    'generator-of-text',
    'list-of-text',
    'file',
    'none',
    'bytes-empty',
    'int',
):
    act(f'B2.2-{ident}-streamed', lambda cp, give=GIVEN[ident]: give(), STREAM)
for ident in ('text', 'bytes', 'list-of-text', 'generator-of-text', 'file', 'none'):
    act(f'B2.2-{ident}-image', lambda cp, give=GIVEN[ident]: typed(cp, 'image/png', give()))
    act(f'B2.2-{ident}-text-plain', lambda cp, give=GIVEN[ident]: typed(cp, 'text/plain', give()))
act('B2.2-file-is-closed', lambda cp: Readable(b'x' * 70000))
told('B2.2-file-is-closed')
act('B2.2-request-body', lambda cp: cp.request.body, method='POST', body=b'echoed', headers={'Content-Type': 'a/b'})


def typed(cp: Any, media_type: str, value: Any) -> Any:
    cp.response.headers['Content-Type'] = media_type
    return value


def assigned(cp: Any, value: Any) -> Any:
    response = made(cp)
    response.body = value
    return response.body


expression('B2.2-setter-bytes', lambda cp: (assigned(cp, b'a'), assigned(cp, b'')))
expression('B2.2-setter-none', lambda cp: assigned(cp, None))
expression('B2.2-setter-text', lambda cp: assigned(cp, 'a'))
expression('B2.2-setter-text-empty', lambda cp: assigned(cp, ''))
expression('B2.2-setter-list-with-text', lambda cp: assigned(cp, [b'a', 'b']))
expression('B2.2-setter-list-itself', lambda cp: (lambda body: assigned(cp, body) is body)([b'a']))
expression('B2.2-setter-tuple-itself', lambda cp: (lambda body: assigned(cp, body) is body)((b'a',)))
expression('B2.2-setter-iterator-itself', lambda cp: (lambda body: assigned(cp, body) is body)(iter([b'a'])))
expression('B2.2-setter-file', lambda cp: list(assigned(cp, io.BytesIO(b'abc'))))
expression('B2.2-setter-file-in-chunks', lambda cp: [len(chunk) for chunk in assigned(cp, io.BytesIO(b'a' * 70000))])
expression('B2.2-setter-number', lambda cp: assigned(cp, 3))


def collapsed(cp: Any, value: Any) -> Any:
    response = made(cp)
    response.body = value
    return response.collapse_body(), response.body


expression('B2.2-collapse', lambda cp: collapsed(cp, [b'a', b'b']))
expression('B2.2-collapse-nothing', lambda cp: collapsed(cp, []))
expression('B2.2-collapse-generator', lambda cp: collapsed(cp, (b for b in (b'a', b''))))


def flushed(cp: Any) -> Any:
    taken: list[int] = []
    response = made(cp)
    response.body = (taken.append(n) or b'' for n in range(3))  # type: ignore[func-returns-value]
    response._flush_body()
    return taken


expression('B2.2-flush', flushed)

# 2.3 the status

STATUSES: dict[str, Any] = {
    'none': None,
    'empty': '',
    'zero': 0,
    'int': 201,
    'http-status': http.HTTPStatus.ACCEPTED,
    'float': 201.9,
    'text': '201',
    'text-reason': '201 As you like',
    'bytes': b'202',
    'bytes-reason': b'202 Reason',
    'no-reason-known': 298,
    'own-of-unknown': '431 My custom error',
    'redirect': 305,
    'too-small': 99,
    'too-large': 600,
    'unknown-large': 781,
    'word': 'error',
    'negative': -200,
    'list': [200],
    'space-before': ' 200',
    'space-after': '200 ',
    'two-spaces': '200  Two',
    'reason-latin-1': '200 gr\xfcn',
    'reason-line-end': '200 OK\r\nX-Injected: 1',
    'true': True,
    'no-content': 204,
    'reset-content': 205,
    'not-modified': 304,
    'continue': 100,
    'error': 404,
}
for ident, status in STATUSES.items():
    act(f'B2.3-{ident}', setting('body', status=status))
act('B2.3-empty-and-nothing', setting(None, status=''))
act('B2.3-after-an-error', lambda cp: cp.HTTPError("410 Gone fishin'", 'no')())

# 2.4 finalize

act('B2.4-length', lambda cp: 'h\xe9llo')
act('B2.4-length-of-the-handler', heading(b'abc', {'Content-Length': 3}), OFF)
act('B2.4-length-none', heading(b'abc', {'Content-Length': None}), OFF)
act('B2.4-length-too-long', heading(b'abc', {'Content-Length': '5'}), OFF)
act('B2.4-length-too-short', heading(b'abc', {'Content-Length': '1'}), OFF)
act('B2.4-length-of-text-is-dropped', heading('abc', {'Content-Length': '5'}))
act('B2.4-length-case', heading(b'abc', {'content-length': 3}), OFF)
act('B2.4-streamed', setting('abc', stream=True))
act('B2.4-streamed-length', heading(b'abc', {'Content-Length': '3'}), {**OFF, **STREAM})
act('B2.4-streamed-length-none', heading(b'abc', {'Content-Length': None}), {**OFF, **STREAM})
for status in (204, 205, 304, 199):
    act(f'B2.4-no-body-{status}', setting('body', status=status))
    act(f'B2.4-no-body-{status}-streamed', setting('body', status=status, stream=True))
act('B2.4-no-body-runs-the-generator', lambda cp: (setattr(cp.response, 'status', 204), telling(cp))[1])
told('B2.4-no-body-runs-the-generator')


def telling(cp: Any) -> Iterator[str]:
    tell('begins')
    try:
        yield 'one'
        yield 'two'
    finally:
        tell('ends', cp.request.path_info, cp.request.closed)


HEADERS: dict[str, dict[Any, Any]] = {
    'text': {'X-A': 'text'},
    'number': {'X-A': 5},
    'none': {'X-A': None},
    'bytes': {'X-A': b'bytes'},
    'bytes-high': {'X-A': b'\xff\xfe'},
    'name-bytes': {b'X-A': 'of bytes'},
    'latin-1': {'X-A': 'gr\xfcn'},
    'word': {'X-A': '\u212bngstr\xf6m'},
    'empty': {'X-A': ''},
    'list': {'X-A': ['a', 'b']},
    'tab': {'X-A': 'a\tb'},
    'line-feed': {'X-A': 'a\nb'},
    'line-end': {'X-A': 'a\r\nX-B: c'},
    'null': {'X-A': 'a\0b'},
    'delete': {'X-A': 'a\x7fb'},
    'name-line-feed': {'X-A\n': 'x'},
    'two-cases': {'x-a': '1', 'X-A': '2'},
    'etag': {'ETag': '"x"', 'WWW-Authenticate': 'Basic'},
    'space-around': {'X-A': ' x '},
    'bytes-and-cookie': {'Bytes-Header': b'bytes'},
}
for ident, headers in HEADERS.items():
    act(f'B2.4-header-{ident}', heading('body', headers), show=('Bytes-Header', 'ETag', 'WWW-Authenticate'))
act('B2.4-header-types-collapse', heading('body', {'content-type': 'text/plain', 'CONTENT-TYPE': 'text/css'}))
act('B2.4-header-type-deleted', lambda cp: cp.response.headers.pop('Content-Type') and b'x')
act('B2.4-header-type-none', heading(b'x', {'Content-Type': None}))
act('B2.4-header-update', lambda cp: cp.response.headers.update({'x-lower': '1', 'content-type': 'text/css'}) or 'x')
act('B2.4-location-is-left', heading('x', {'Location': '/relative'}))
act(
    'B2.4-allow-and-vary',
    heading('x', {'Allow': 'GET, HEAD', 'Vary': 'Accept', 'Cache-Control': 'no-cache'}),
    show=('Vary', 'Cache-Control'),
)

# 2.5 methods and protocols

act('B2.5-head', lambda cp: 'h\xe9llo', method='HEAD')
act('B2.5-head-generator', telling, method='HEAD')
told('B2.5-head-generator')
act('B2.5-head-streamed', telling, STREAM, method='HEAD')
act('B2.5-head-error', lambda cp: cp.HTTPError(409)(), lambda cp: plain_page(cp), method='HEAD')
act('B2.5-head-redirect', lambda cp: cp.HTTPRedirect('/x')(), method='HEAD')
act('B2.5-head-boom', lambda cp: 1 / 0, lambda cp: plain_page(cp), method='HEAD')
act('B2.5-redirect-1.0', lambda cp: cp.HTTPRedirect('/x')(), environ={'SERVER_PROTOCOL': 'HTTP/1.0'})
act('B2.5-page-1.0', lambda cp: 'page', environ={'SERVER_PROTOCOL': 'HTTP/1.0'})

# 2.6 cookies


def cookie(*names: str, **attributes: Any) -> Callable[[Any], str]:
    def function(cp: Any) -> str:
        for name in names or ('a',):
            cp.response.cookie[name] = 'value of ' + name
            for key, value in attributes.items():
                cp.response.cookie[name][key.replace('_', '-')] = value
        return 'page'

    return function


act('B2.6-one', cookie())
act('B2.6-order-of-names', cookie('b', 'a', 'C'))
act('B2.6-path-and-domain', cookie(path='/x', domain='example.com'))
act('B2.6-max-age', cookie(max_age=3600))
act('B2.6-secure', cookie(secure=True, httponly=True))
act('B2.6-same-site', cookie(samesite='Lax'))
act('B2.6-version-and-comment', cookie(version=1, comment='a b'))
act('B2.6-expires-0', cookie(expires=0))
act('B2.6-expires-text', cookie(expires='Thu, 01 Jan 1970 00:00:00 GMT'))


def odd_cookie(value: str) -> Callable[[Any], str]:
    def function(cp: Any) -> str:
        cp.response.cookie['a'] = value
        return 'page'

    return function


for ident, value in {
    'quotes': 'a"b',
    'semicolon': 'a;b',
    'comma': 'a, b',
    'latin-1': 'gr\xfcn',
    'wide': '\u212b',
    'line-feed': 'a\nb',
    'empty': '',
}.items():
    act(f'B2.6-value-{ident}', odd_cookie(value))
act('B2.6-of-the-request-not-copied', lambda cp: 'page', headers={'Cookie': 'a=1'})


def cookie_then(make: Callable[[Any], Exception]) -> Callable[[Any], Any]:
    def function(cp: Any) -> Any:
        cp.response.cookie['a'] = '1'
        raise make(cp)

    return function


act('B2.6-and-an-error', cookie_then(lambda cp: cp.HTTPError(409)))
act('B2.6-and-a-redirect', cookie_then(lambda cp: cp.HTTPRedirect('/x')))
act('B2.6-and-boom', cookie_then(lambda cp: ValueError('boom')))
act('B2.6-not-twice', cookie_then(lambda cp: cp.HTTPError(409)), finalized)

# 2.7 streaming and closing


def ends(cp: Any) -> dict[str, Any]:
    return {**STREAM, 'hooks.on_end_request.told': lambda: tell('on_end_request', cp.request.closed)}


act('B2.7-context-while-streaming', lambda cp: (t for t in (n + cp.request.path_info for n in 'ab')), STREAM)
act('B2.7-ends', telling, ends)
told('B2.7-ends')


def too_late(cp: Any) -> Iterator[str]:
    yield 'one'
    cp.response.status = 404
    cp.response.headers['X-Late'] = 'late'


act('B2.7-too-late', too_late, STREAM)


def fails_first(cp: Any) -> Iterator[str]:
    raise ValueError('first')
    yield ''


def fails_first_quietly(cp: Any) -> Iterator[str]:
    raise cp.HTTPError(409, 'first')
    yield ''


def fails_later(cp: Any) -> Iterator[str]:
    yield 'one'
    raise ValueError('later')


for function in (fails_first, fails_first_quietly, fails_later):
    act(f'B2.7-{function.__name__}', function, ends)
    told(f'B2.7-{function.__name__}')


class Closable:
    """An iterator that tells when it is closed."""

    def __init__(self, cp: Any, fails: bool = False) -> None:
        self.chunks = iter([b'a', b'b'])
        self.fails = fails

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.chunks)

    def close(self) -> None:
        tell('closed')
        if self.fails:
            raise ValueError('from close')


act('B2.7-closable', Closable, lambda cp: {**ends(cp), **OFF})
told('B2.7-closable')
act('B2.7-closable-not-streamed', Closable, OFF)
told('B2.7-closable-not-streamed')
act('B2.7-closable-head', Closable, OFF, method='HEAD')
told('B2.7-closable-head')
act('B2.7-close-fails', lambda cp: Closable(cp, fails=True), lambda cp: {**ends(cp), **OFF})
told('B2.7-close-fails')
act('B2.7-error-is-streamed', lambda cp: cp.HTTPError(418, 'short')(), lambda cp: {**STREAM, **plain_page(cp)})
act('B2.7-padded-error-is-streamed', lambda cp: cp.HTTPError(404, 'short')(), lambda cp: {**STREAM, **plain_page(cp)})

# 3.1 hooks


def hook_of(cp: Any) -> Any:
    return inner(cp, '_cprequest', 'Hook')


def hook_map(cp: Any, points: Any = ('one', 'two')) -> Any:
    return inner(cp, '_cprequest', 'HookMap')(points)


def plain(**kwargs: Any) -> Any:
    tell('plain', sorted(kwargs.items()))
    return 'given'


def attributed() -> None:
    pass


attributed.failsafe = True  # type: ignore[attr-defined]
attributed.priority = 7  # type: ignore[attr-defined]

expression('B3.1-hook', lambda cp: (lambda h: (h.failsafe, h.priority, h.kwargs))(hook_of(cp)(plain)))
expression('B3.1-hook-keywords', lambda cp: (lambda h: (h.failsafe, h.priority, h.kwargs))(hook_of(cp)(plain, a=1)))
expression('B3.1-hook-of-attributes', lambda cp: (lambda h: (h.failsafe, h.priority))(hook_of(cp)(attributed)))
expression(
    'B3.1-hook-over-attributes', lambda cp: (lambda h: (h.failsafe, h.priority))(hook_of(cp)(attributed, False, 3))
)
expression('B3.1-hook-called', lambda cp: hook_of(cp)(plain, a=1)())
expression('B3.1-hook-order', lambda cp: hook_of(cp)(plain, priority=1) < hook_of(cp)(plain, priority=2))
expression(
    'B3.1-hook-repr', lambda cp: repr(hook_of(cp)(plain, priority=1, k='v')).partition('Hook')[2].split(', ')[1:]
)
expression('B3.1-map', lambda cp: dict(hook_map(cp)))
expression('B3.1-map-attach', lambda cp: (lambda m: (m.attach('one', plain), len(m['one'])))(hook_map(cp)))
expression('B3.1-map-attach-unknown', lambda cp: hook_map(cp).attach('three', plain))


def copied(cp: Any) -> Any:
    first = hook_map(cp)
    first.attach('one', plain)
    second = first.copy()
    second.attach('one', plain)
    return len(first['one']), len(second['one']), type(second) is type(first)


expression('B3.1-map-copy', copied)


def ran(cp: Any, *names: str) -> Any:
    """Attach hooks told by name, "early:10" or "late:90!" (failsafe) or "bad:5?" (raising), and run them."""
    order: list[str] = []
    hooks = hook_map(cp)
    for name in names:
        label, _, rest = name.partition(':')

        def hook(label: str = label, rest: str = rest) -> None:
            order.append(label)
            if '?' in rest:
                raise ValueError(label)
            if '#' in rest:
                raise cp.HTTPError(409, label)
            if '*' in rest:
                raise KeyboardInterrupt(label)
            if '+' in rest:
                hooks.attach('one', lambda: order.append('attached'))

        hooks.attach('one', hook, failsafe='!' in rest, priority=int(rest.strip('?!#*+') or 50))
    try:
        hooks.run('one')
    except BaseException as exc:
        order.append(f'{type(exc).__name__}{exc.args[-1:]}')
    return order


for ident, names in {
    'in-order': ('a:', 'b:', 'c:'),
    'priorities': ('late:90', 'early:1', 'middle:'),
    'negative': ('zero:0', 'below:-1', 'above:101'),
    'fails': ('a:1', 'bad:2?', 'c:3'),
    'failsafe-runs': ('bad:1?', 'plain:2', 'safe:3!'),
    'quiet': ('bad:1#', 'plain:2', 'safe:3!'),
    'second-failure': ('bad:1?', 'worse:2!?', 'plain:3', 'safe:4!'),
    'second-quiet': ('bad:1?', 'quiet:2!#', 'safe:4!'),
    'keyboard': ('stop:1*', 'safe:2!'),
    'attached-while-running': ('adds:1+', 'b:2'),
    'nothing': (),
}.items():
    expression(f'B3.1-run-{ident}', lambda cp, names=names: ran(cp, *names))

# 3.2 hook points

expression(
    'B3.2-points', lambda cp: list(cp.Application.request_class.hooks) if cp.Application.request_class.hooks else None
)


def attaching(cp: Any) -> Any:
    """Attach hooks from hooks and from the handler, to points that are still to come."""

    def attach(point: str) -> Callable[[], None]:
        return lambda: cp.request.hooks.attach(point, lambda: tell('attached to', point))

    return {
        'hooks.on_start_resource.a': attach('on_start_resource'),
        'hooks.on_start_resource.b': attach('before_request_body'),
        'hooks.before_request_body.a': attach('before_handler'),
        'hooks.before_handler.a': attach('before_finalize'),
        'hooks.before_finalize.a': attach('on_end_resource'),
        'hooks.on_end_resource.a': attach('on_end_request'),
    }


act('B3.2-attach', lambda cp: 'page', attaching)
told('B3.2-attach')
act(
    'B3.2-attach-in-the-handler',
    lambda cp: cp.request.hooks.attach('on_end_request', lambda a: tell('attached in the handler', a), a=1),
)
told('B3.2-attach-in-the-handler')
act('B3.2-attach-unknown', lambda cp: cp.request.hooks.attach('before_lunch', plain))


def failsafe_first(cp: Any) -> dict[str, Any]:
    def change() -> None:
        def respond() -> None:
            cp.response.status = 502
            cp.response.body = b'changed'

        cp.request.error_response = respond

    change.failsafe = True  # type: ignore[attr-defined]

    def fail() -> None:
        raise ValueError('fails first')

    return {'hooks.on_start_resource.a': fail, 'hooks.on_start_resource.b': change}


act('B3.2-failsafe-changes-error-response', lambda cp: 'page', failsafe_first)


def look_at_error(cp: Any) -> dict[str, Any]:
    def look(point: str) -> Callable[[], None]:
        def hook() -> None:
            import sys

            tell(point, repr(sys.exc_info()[1]), cp.response.status)

        return hook

    return {f'hooks.{point}.look': look(point) for point in ('before_error_response', 'after_error_response')}


act('B3.2-error-seen-by-hooks', lambda cp: {}['missing'], look_at_error)
told('B3.2-error-seen-by-hooks')
act(
    'B3.2-after-error-response-changes',
    lambda cp: 1 / 0,
    lambda cp: {'hooks.after_error_response.x': lambda: setattr(cp.response, 'status', 503)},
)
act(
    'B3.2-before-finalize-changes',
    lambda cp: 'page',
    lambda cp: {'hooks.before_finalize.x': lambda: setattr(cp.response, 'body', b'changed')},
)
act(
    'B3.2-before-finalize-of-an-error',
    lambda cp: cp.HTTPError(409)(),
    lambda cp: {
        'hooks.before_finalize.x': lambda: cp.response.headers.update({'X-Finalized': str(cp.response.status)})
    },
)

# 3.3 tools


def tool(cp: Any, **kwargs: Any) -> Any:
    return cp.Tool('before_handler', plain, **kwargs)


def documented(first: Any, second: int = 2, **kwargs: Any) -> None:
    """Say it is documented."""


class CallableTool:
    def __call__(self, alpha: Any, beta: Any = None) -> None:
        """Be called."""


expression('B3.3-attributes', lambda cp: (lambda t: (t._point, t._name, t._priority, t.namespace))(tool(cp)))
expression('B3.3-attributes-named', lambda cp: (lambda t: (t._name, t._priority))(tool(cp, name='n', priority=3)))
expression('B3.3-doc', lambda cp: cp.Tool('before_handler', documented).__doc__)
expression('B3.3-arguments', lambda cp: (lambda t: (t.first, t.second))(cp.Tool('before_handler', documented)))
expression('B3.3-arguments-of-a-callable', lambda cp: cp.Tool('before_handler', CallableTool()).beta)
expression('B3.3-on-read', lambda cp: tool(cp).on)
expression('B3.3-on-set', lambda cp: setattr(tool(cp), 'on', True))
expression('B3.3-positional', lambda cp: tool(cp, name='x')('positional'))
expression('B3.3-direct-call', lambda cp: tool(cp).callable(a=1))


def decorated(cp: Any, **kwargs: Any) -> Any:
    decorate = tool(cp, name='mine')(**kwargs)

    def page() -> None:
        pass

    return decorate(page) is page, sorted(page._cp_config.items())  # type: ignore[attr-defined]


expression('B3.3-decorates', lambda cp: decorated(cp))
expression('B3.3-decorates-with-arguments', lambda cp: decorated(cp, a=1, priority=3))
expression('B3.3-decorates-off', lambda cp: decorated(cp, on=False))


def decorated_class(cp: Any) -> Any:
    class Page:
        _cp_config = {'a': 1}

    tool(cp, name='mine')(x=2)(Page)
    return sorted(Page._cp_config.items())


expression('B3.3-decorates-a-class', decorated_class)


def marking(cp: Any) -> Any:
    def mark(word: str = 'marked', **kwargs: Any) -> None:
        cp.response.headers['X-Mark'] = f'{word} {sorted(kwargs.items()) or ""}'

    return mark


def appender(cp: Any, name: str) -> Any:
    def append(word: str = '') -> None:
        cp.request.ran = [*getattr(cp.request, 'ran', []), name + word]

    return append


def answerer(cp: Any) -> Any:
    def answer(word: str = 'answered', miss: bool = False) -> bool:
        cp.response.body = word.encode()
        return not miss

    return answer


def wrapper(cp: Any, name: str) -> Any:
    def wrap(inner_handler: Any, *args: Any, **kwargs: Any) -> Any:
        result = inner_handler(*args, **kwargs)
        return f'{name}({result})'

    return wrap


def error_answer(cp: Any) -> Any:
    def answer(word: str = 'from the error tool', status: int = 502) -> None:
        cp.response.status = status
        cp.response.body = word.encode()

    return answer


class SetUp:
    """No Tool, but what can be set up."""

    _name = 't_setup'

    def __init__(self, cp: Any) -> None:
        self.cp = cp

    def _setup(self) -> None:
        settings = self.cp.request.toolmaps['tools']['t_setup']
        self.cp.request.hooks.attach('before_finalize', lambda: tell('set up', sorted(settings)))


TOOLS['t_mark'] = lambda cp: cp.Tool('before_finalize', marking(cp))
TOOLS['t_a'] = lambda cp: cp.Tool('before_handler', appender(cp, 'a'))
TOOLS['t_b'] = lambda cp: cp.Tool('before_handler', appender(cp, 'b'))
TOOLS['t_early'] = lambda cp: cp.Tool('before_handler', appender(cp, 'early'), priority=5)
TOOLS['t_answer'] = lambda cp: inner(cp, '_cptools', 'HandlerTool')(answerer(cp))
TOOLS['t_outer'] = lambda cp: inner(cp, '_cptools', 'HandlerWrapperTool')(wrapper(cp, 'outer'), priority=60)
TOOLS['t_inner'] = lambda cp: inner(cp, '_cptools', 'HandlerWrapperTool')(wrapper(cp, 'inner'), priority=40)
TOOLS['t_error'] = lambda cp: inner(cp, '_cptools', 'ErrorTool')(error_answer(cp))
TOOLS['t_error_too'] = lambda cp: inner(cp, '_cptools', 'ErrorTool')(error_answer(cp))
TOOLS['t_setup'] = SetUp


def ran_tools(cp: Any) -> str:
    return ' '.join(getattr(cp.request, 'ran', []))


act('B3.3-on', lambda cp: 'page', {'tools.t_mark.on': True})
act('B3.3-off', lambda cp: 'page', {'tools.t_mark.on': False})
act('B3.3-argument', lambda cp: 'page', {'tools.t_mark.on': True, 'tools.t_mark.word': 'said', 'tools.t_mark.k': 1})
act('B3.3-unknown-argument', lambda cp: 'page', {'tools.t_a.on': True, 'tools.t_a.nosuch': 1})
act('B3.3-truthy', lambda cp: 'page', {'tools.t_mark.on': 1})
act('B3.3-order-of-config', ran_tools, {'tools.t_b.on': True, 'tools.t_a.on': True})
act('B3.3-order-of-priority', ran_tools, {'tools.t_b.on': True, 'tools.t_early.on': True})
act('B3.3-order-changed', ran_tools, {'tools.t_a.on': True, 'tools.t_b.on': True, 'tools.t_b.priority': 1})
act(
    'B3.3-order-with-hooks',
    ran_tools,
    lambda cp: {'tools.t_a.on': True, 'hooks.before_handler.x': appender(cp, 'hook'), 'tools.t_b.on': True},
)
act('B3.3-handler-tool', lambda cp: 'page', {'tools.t_answer.on': True})
act('B3.3-handler-tool-misses', lambda cp: 'page', {'tools.t_answer.on': True, 'tools.t_answer.miss': True})
act(
    'B3.3-handler-tool-before-others',
    lambda cp: 'page',
    {'tools.t_answer.on': True, 'tools.t_a.on': True, 'tools.t_mark.on': True},
)
act('B3.3-wrapper', lambda cp: 'page', {'tools.t_inner.on': True})
act('B3.3-wrappers', lambda cp: 'page', {'tools.t_outer.on': True, 'tools.t_inner.on': True})
act('B3.3-wrapper-of-an-error', lambda cp: cp.HTTPError(409)(), {'tools.t_outer.on': True})
act('B3.3-wrapper-encodes', lambda cp: 'h\xe9', {'tools.t_outer.on': True, 'tools.encode.on': True})
act('B3.3-error-tool', lambda cp: 1 / 0, {'tools.t_error.on': True})
act('B3.3-error-tool-argument', lambda cp: 1 / 0, {'tools.t_error.on': True, 'tools.t_error.status': 503})
act(
    'B3.3-error-tools',
    lambda cp: 1 / 0,
    {'tools.t_error.on': True, 'tools.t_error_too.on': True, 'tools.t_error_too.word': 'the last'},
)
act('B3.3-error-tool-of-an-httperror', lambda cp: cp.HTTPError(409)(), {'tools.t_error.on': True})
act('B3.3-set-up', lambda cp: 'page', {'tools.t_setup.on': True, 'tools.t_setup.a': 1})
told('B3.3-set-up')
act('B3.3-err-redirect', lambda cp: 1 / 0, {'tools.err_redirect.on': True, 'tools.err_redirect.url': '/told'})
act(
    'B3.3-err-redirect-external',
    lambda cp: 1 / 0,
    {'tools.err_redirect.on': True, 'tools.err_redirect.url': '/x', 'tools.err_redirect.internal': False},
)
act(
    'B3.3-merged-arguments',
    lambda cp: ascii(sorted(cp.tools.t_mark._merged_args({'word': 'given', 'd': 1}).items())),
    {'tools.t_mark.word': 'config', 'tools.t_mark.k': 2},
)


def handler_pages(cp: Any) -> Any:
    """Page handlers made of a HandlerTool."""
    handler_tool = cp.tools.t_answer

    class Root:
        made = handler_tool.handler(word='of the handler')
        configured = handler_tool.handler(word='of the handler')
        missing = handler_tool.handler(miss=True)

    return Root(), {'/configured': {'tools.t_answer.word': 'of the config'}}, lambda app: None


MOUNTS['/handlers'] = handler_pages
for name in ('made', 'configured', 'missing'):
    case(f'B3.3-handler-page-{name}', f'/handlers/{name}', variant='acts')

DEFAULT_TOOLS = (
    *('allow', 'response_headers', 'accept', 'redirect', 'json_in', 'decode', 'ignore_headers', 'referer'),
    *('params', 'json_out', 'staticdir', 'staticfile', 'trailing_slash', 'encode', 'expires', 'etags', 'gzip'),
    *('log_tracebacks', 'log_headers', 'log_hooks', 'err_redirect', 'xmlrpc'),
    *('sessions', 'session_auth', 'proxy', 'autovary'),
)
for name in DEFAULT_TOOLS:
    expression(
        f'B3.3-default-{name}',
        lambda cp, name=name: (lambda t: (t._name, t._point, t._priority, t.namespace))(getattr(cp.tools, name)),
    )
act(
    'B3.3-response-headers-after-a-failure',
    lambda cp: 'page',
    lambda cp: {
        'hooks.on_start_resource.a': lambda: cp.HTTPError(409)(),
        'tools.response_headers.on': True,
        'tools.response_headers.headers': [('X-Failsafe', 'yes')],
    },
)

# 3.4 toolboxes


def toolbox(cp: Any) -> Any:
    return type(cp.tools)('box')


def boxed(cp: Any, **kwargs: Any) -> Any:
    box = toolbox(cp)
    box.mine = tool(cp, **kwargs)
    return box.mine._name, box.mine.namespace


expression('B3.4-names-a-tool', boxed)
expression('B3.4-anything-else', lambda cp: (lambda box: (setattr(box, 'x', 5), box.x))(toolbox(cp)))


def registered(cp: Any, **kwargs: Any) -> Any:
    box = toolbox(cp)

    def mine() -> str:
        return 'mine'

    same = box.register('before_handler', **kwargs)(mine) is mine
    found = getattr(box, kwargs.get('name', 'mine'))
    return same, found._name, found._point, found._priority, found.callable()


expression('B3.4-register', registered)
expression('B3.4-register-named', lambda cp: registered(cp, name='other', priority=7))
act('B3.4-missing-and-on', lambda cp: 'page', {'tools.nosuch.on': True})
act('B3.4-missing-and-off', lambda cp: 'page', {'tools.nosuch.on': False})
act('B3.4-key-without-argument', lambda cp: 'page', {'tools.t_mark': True})


def own_toolbox(cp: Any) -> Any:
    """An application with a toolbox of its own."""
    box = type(cp.tools)('own')
    box.mark = cp.Tool('before_finalize', marking(cp))

    class Root:
        @cp.expose
        @box.mark(word='by decorator')
        def decorated(self) -> str:
            return ascii(cp.request.toolmaps['own'])

        @cp.expose
        def default(self, *args: str) -> str:
            return ascii(cp.request.toolmaps['own'])

    def change(app: Any) -> None:
        app.toolboxes = {**app.toolboxes, 'own': box}

    config = {'/on': {'own.mark.on': True, 'own.mark.word': 'by config'}, '/missing': {'own.nosuch.on': True}}
    return Root(), config, change


MOUNTS['/own-toolbox'] = own_toolbox
for name in ('off', 'on', 'decorated', 'missing'):
    case(f'B3.4-own-toolbox-{name}', f'/own-toolbox/{name}', variant='acts')


def toolbox_of_the_request_class(cp: Any) -> Any:
    """An application whose request class brings a toolbox."""
    box = type(cp.tools)('classbox')
    box.mark = cp.Tool('before_finalize', marking(cp))

    class Request(cp.Application.request_class):  # type: ignore[misc]
        namespaces = cp.Application.request_class.namespaces.copy()

    Request.namespaces['classbox'] = box

    class Root:
        @cp.expose
        @box.mark(word='by the class')
        def index(self) -> str:
            return 'page'

    def change(app: Any) -> None:
        app.request_class = Request

    return Root(), {'/': {}}, change


MOUNTS['/class-toolbox'] = toolbox_of_the_request_class
case('B3.4-toolbox-of-the-request-class', '/class-toolbox/', variant='acts')

# 8 the rest of the checklist

act(
    'B8-expectation-failed',
    lambda cp: cp.HTTPError(417)(),
    method='POST',
    body=b'a',
    headers={'Expect': '100-continue'},
)
act(
    'B8-output-error-is-named',
    lambda cp: 'page',
    lambda cp: {**appending((2, 3))(cp), 'request.show_tracebacks': True},
)
read('B8-unique-id-of-another-request', lambda cp: str(cp.request.unique_id) != str(made_request(cp).unique_id))


def made_request(cp: Any) -> Any:
    return cp.Application.request_class(None, None)


def static_handler(cp: Any) -> Any:
    """A page handler made of the staticfile tool, with the file config names in place of its own."""

    class Root:
        page = cp.tools.staticfile.handler(filename=FILE)
        other = cp.tools.staticfile.handler(filename='/nonexistent')

    return Root(), {'/other': {'tools.staticfile.filename': FILE}}, lambda app: None


FILE = str(Path(__file__).resolve().parent / 'error_pages' / 'percent.html')
MOUNTS['/static-handler'] = static_handler
for name in ('page', 'other'):
    case(f'B8-static-handler-{name}', f'/static-handler/{name}', variant='acts')
