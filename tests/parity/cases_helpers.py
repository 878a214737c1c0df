"""Cases of Spec B 6 and 7: lib.httputil, lib, the proxies of the context, and the log."""

from __future__ import annotations

import io
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .acts import MOUNTS, tell
from .table import act, case, expression, read, told

Function = Callable[[Any], Any]


def http(ident: str, function: Function) -> None:
    """Ask lib.httputil, outside of any request."""
    expression(ident, lambda cp: function(cp.lib.httputil))


# 6.1 functions and data

for code in (200, 303, 308, 404, 413, 414, 416, 418, 422, 500, 503):
    http(f'B6.1-response-code-{code}', lambda h, code=code: h.response_codes[code])
http('B6.1-response-code-unknown', lambda h: h.response_codes.get(299))
for ident, status in {
    'none': None,
    'empty': '',
    'int': 404,
    'text': '404',
    'reason': '404 Nowhere',
    'unknown': 298,
    'bytes': b'404',
    'float': 404.9,
    'word': 'error',
    'out-of-range': 781,
    'low': 99,
    'list': [404],
    'bytes-reason': b'404 Nowhere',
}.items():
    http(f'B6.1-valid-status-{ident}', lambda h, status=status: h.valid_status(status))
for ident, when in {'epoch': 0, 'fraction': 784111777.9, 'late': 4102444800, 'before-the-epoch': -1.5}.items():
    http(f'B6.1-date-{ident}', lambda h, when=when: h.HTTPDate(when).encode())
http('B6.1-date-now', lambda h: len(h.HTTPDate()))
for atoms in (
    ('/sn', ''),
    ('/sn/', ''),
    ('', ''),
    ('', '/'),
    ('/', '/'),
    ('/sn', '/p'),
    ('/sn/', '/p'),
    ('sn', 'p'),
    ('/a', '', '/b'),
    ('//a//', '//b//'),
    ('http://h', 'p'),
    (),
):
    http(f'B6.1-urljoin-{"+".join(atoms) or "nothing"}', lambda h, atoms=atoms: h.urljoin(*atoms))
for atoms in ((b'/sn', b''), (b'', b''), (b'//a//', b'//b')):
    http(f'B6.1-urljoin-bytes-{b"+".join(atoms).decode()}', lambda h, atoms=atoms: h.urljoin_bytes(*atoms))
for text in ('HTTP/1.1', 'HTTP/1.0', 'HTTP/0.9', 'HTTP/2', 'HTTP/x.y', ''):
    http(f'B6.1-protocol-{text or "empty"}', lambda h, text=text: h.protocol_from_http(text))
RANGES: dict[str, Any] = {
    'none': None,
    'empty': '',
    'first-byte': 'bytes=0-0',
    'some': 'bytes=2-5',
    'open': 'bytes=4-',
    'last': 'bytes=-3',
    'last-more': 'bytes=-300',
    'two': 'bytes=0-1,4-5',
    'order-kept': 'bytes=4-5,0-1',
    'past-the-end': 'bytes=8-100',
    'after-the-end': 'bytes=100-',
    'one-after-the-end': 'bytes=0-1,100-',
    'backwards': 'bytes=5-2',
    'nothing': 'bytes=-',
    'last-none': 'bytes=-0',
    'spaces': 'bytes=0-1, 2-3',
    'unit': 'items=0-1',
    'no-equals': 'bytes 0-1',
    'no-dash': 'bytes=5',
    'word': 'bytes=a-b',
    'double-dash': 'bytes=--5',
}
for ident, value in RANGES.items():
    http(f'B6.1-ranges-{ident}', lambda h, value=value: h.get_ranges(value, 8))
ELEMENTS: dict[str, tuple[str, Any]] = {
    'none': ('Accept', None),
    'empty': ('Accept', ''),
    'one': ('Accept', 'text/html'),
    'weights': ('Accept', 'a/a;q=0.2, b/b, c/c;q=0.7'),
    'specific-first': ('Accept', 'text/*, text/html, */*, text/html;level=1'),
    'extension': ('Accept', 'text/html;level=1;q=0.5;ext=2'),
    'q-spaces': ('Accept', 'a/a; q = 0.5, b/b;q=0.1'),
    'q-zero': ('Accept-Encoding', 'gzip;q=0, identity'),
    'q-word': ('Accept', 'a;q=abc, b'),
    'q-word-alone': ('Accept', 'a;q=abc'),
    'q-capital': ('Accept', 'a;Q=0.1, b;q=0.5'),
    'trailing-comma': ('Accept', 'a,'),
    'te': ('TE', 'a;q=0.1, b'),
    'charset': ('Accept-Charset', 'utf-8, iso-8859-1;q=0.5, *;q=0.1'),
    'quoted-comma': ('X-List', 'a="1,2", b'),
    'quoted-pair': ('X-List', 'a;x="1\\"2"'),
    'not-accept': ('X-List', 'a, c, b'),
    'type': ('Content-Type', 'text/html; charset=utf-8'),
    'parameter-case': ('Content-Type', 'text/html; Charset=UTF-8'),
    'empty-parameter': ('Content-Type', 'text/html;'),
    'flag': ('X-List', 'a;flag;b=1'),
}
for ident, (name, value) in ELEMENTS.items():
    http(
        f'B6.1-elements-{ident}',
        lambda h, name=name, value=value: [
            (type(e).__name__, e.value, sorted((k, str(v)) for k, v in e.params.items()), str(e))
            for e in h.header_elements(name, value)
        ],
    )
for ident, text in {
    'plain': 'abc',
    'q': '=?utf-8?q?gr=C3=BCn?=',
    'b': '=?utf-8?b?4oSr?=',
    'underscore': '=?utf-8?q?a_b?=',
    'two-words': '=?utf-8?q?a?= =?utf-8?q?b?=',
    'mixed': 'abc =?utf-8?q?d?= e',
    'unknown': '=?nosuch?q?d?=',
}.items():
    http(f'B6.1-decode-{ident}', lambda h, text=text: h.decode_TEXT(text))
    http(f'B6.1-decode-maybe-{ident}', lambda h, text=text: h.decode_TEXT_maybe(text))
for ident, query in {
    'plain': 'a=1&b=2',
    'empty': '',
    'blank': 'a=&b',
    'repeated': 'a=1&a=2&a=3',
    'plus': 'a=x+y%2B',
    'utf-8': 'a=%C3%BC',
    'undecodable': 'a=%FF',
    'lone-percent': 'a=100%&b=%zz',
    'image-map': '12,34',
    'image-map-more': '12,34&a=1',
    'semicolon': 'a=1;b=2',
    'equals': 'a=b=c',
    'empty-pieces': '&&a=1&',
    'no-key': '=1',
    'raw': 'a=gr\xfcn',
}.items():
    http(f'B6.1-query-{ident}', lambda h, query=query: h.parse_query_string(query))
http('B6.1-query-no-blank-values', lambda h: h.parse_query_string('a=&b=1', keep_blank_values=False))
http('B6.1-query-encoding', lambda h: h.parse_query_string('a=%FC', encoding='latin-1'))
http('B6.1-query-of-keywords', lambda h: h.parse_query_string('a=1', keep_blank_values=True, encoding='utf-8'))
for ident, line in {
    'value': 'text/html',
    'parameter': 'text/html; charset=utf-8',
    'quoted': 'form-data; name="a b"',
    'escaped': 'form-data; name="a\\"b"',
    'backslashes': 'form-data; filename="C:\\\\a"',
    'semicolon': 'form-data; name="a;b"; x=1',
    'trailing': 'text/html;',
    'flag': 'text/html; flag; a=1',
    'case': 'Text/HTML; CharSet=UTF-8',
    'spaces': 'a ; b = c',
    'empty': '',
    'unclosed': 'a; b="c',
    'equals': 'a; b=c=d',
}.items():
    http(f'B6.1-parse-header-{ident}', lambda h, line=line: h.parse_header(line))
http('B6.1-split', lambda h: h.RE_HEADER_SPLIT.split('a, "b, c", d'))
http('B6.1-q-separator', lambda h: h.q_separator.split('a;b=1; q =0.5;c', maxsplit=1))
http('B6.1-image-map-pattern', lambda h: [bool(h.image_map_pattern.match(t)) for t in ('1,2', '1,', 'a', '12,34')])
http('B6.1-translate', lambda h: (h.header_translate_table, h.header_translate_deletechars))

# 6.2 classes


def filled(h: Any) -> Any:
    return h.CaseInsensitiveDict({'one-two': 1}, three=3)


DICT: dict[str, Callable[[Any], Any]] = {
    'made': lambda d: sorted(d.items()),
    'get': lambda d: (d['ONE-TWO'], d.get('one-Two'), d.get('absent'), d.get('absent', 5)),
    'missing': lambda d: d['absent'],
    'in': lambda d: ('ONE-two' in d, 'absent' in d),
    'set': lambda d: (d.__setitem__('ONE-TWO', 2), sorted(d.items())),
    'del': lambda d: (d.__delitem__('ONE-two'), sorted(d.items())),
    'del-missing': lambda d: d.__delitem__('absent'),
    'pop': lambda d: (d.pop('oNe-tWo'), d.pop('absent', 5), sorted(d.items())),
    'pop-missing': lambda d: d.pop('absent'),
    'setdefault': lambda d: (d.setdefault('ONE-TWO', 9), d.setdefault('new', 8), sorted(d.items())),
    'none': lambda d: (d.__setitem__(None, 1), sorted(d)),
    'number': lambda d: (d.__setitem__(5, 1), sorted(d)),
    'update': lambda d: (d.update({'x-y': 1}), sorted(d)),
    'or': lambda d: sorted(d | {'x-y': 1}),
    'copy': lambda d: type(d.copy()).__name__,
    'length': lambda d: (len(d), bool(d), list(d)),
    'equal': lambda d: d == {'One-Two': 1, 'Three': 3},
}
for ident, function in DICT.items():
    http(f'B6.2-dict-{ident}', lambda h, function=function: function(filled(h)))


def headers(h: Any) -> Any:
    return h.HeaderMap({'accept': 'a/a;q=0.1, b/b', 'x-text': 'text'})


MAP: dict[str, Callable[[Any], Any]] = {
    'settings': lambda m: (m.protocol, m.encodings, m.use_rfc_2047),
    'elements': lambda m: [str(e) for e in m.elements('ACCEPT')],
    'elements-absent': lambda m: m.elements('absent'),
    'values': lambda m: m.values('accept'),
    'values-absent': lambda m: m.values('absent'),
    'output': lambda m: m.output(),
    'output-kinds': lambda m: (m.update({'A': 5, 'B': b'b', 'C': None}), m.output())[1],
    'encode': lambda m: m.encode('gr\xfcn'),
    'encode-wide': lambda m: m.encode('\u212bngstr\xf6m'),
    'encode-long': lambda m: m.encode('\u212b' * 100),
    'encode-item': lambda m: [m.encode_header_item(item) for item in ('a', b'b', 5)],
    'encode-items': lambda m: list(m.encode_header_items([('a', 'b'), (b'c', 5)])),
    'te': lambda m: (m.update({'TE': 'a;q=0.1, b'}), [str(e) for e in m.elements('TE')])[1],
}
for ident, function in MAP.items():
    http(f'B6.2-map-{ident}', lambda h, function=function: function(headers(h)))


def strict(h: Any) -> Any:
    class Strict(h.HeaderMap):  # type: ignore[misc]
        use_rfc_2047 = False

    return Strict


http('B6.2-map-no-words', lambda h: strict(h).encode('\u212b'))
http('B6.2-map-no-words-latin-1', lambda h: strict(h).encode('gr\xfcn'))


def other_encodings(h: Any) -> Any:
    class Own(h.HeaderMap):  # type: ignore[misc]
        encodings = ['ascii', 'utf-8']

    return Own.encode('gr\xfcn')


http('B6.2-map-encodings', other_encodings)
act(
    'B6.2-echo-of-a-word',
    lambda cp: cp.response.headers.update({'Etag': cp.request.headers['If-Match']}),
    headers={'If-Match': '=?utf-8?q?=E2=84=ABngstr=C3=B6m?='},
    show=('ETag',),
)
http('B6.2-element', lambda h: (lambda e: (e.value, e.params, str(e)))(h.HeaderElement('v')))
http('B6.2-element-parameters', lambda h: (lambda e: (str(e), bytes(e)))(h.HeaderElement('v', {'a': '1', 'b': 'x y'})))
http('B6.2-element-from-text', lambda h: (lambda e: (e.value, e.params))(h.HeaderElement.from_str('v;a=1')))
http('B6.2-element-parse', lambda h: h.HeaderElement.parse('v; a="1;2"'))
http('B6.2-element-order', lambda h: h.HeaderElement('a') < h.HeaderElement('b'))
http(
    'B6.2-accept', lambda h: (lambda e: (e.value, e.qvalue, sorted(e.params)))(h.AcceptElement.from_str('a/b;c=1;q=.5'))
)
http('B6.2-accept-default', lambda h: h.AcceptElement.from_str('a').qvalue)
http('B6.2-accept-text', lambda h: str(h.AcceptElement.from_str('a/b;c=1;q=0.5;d=2')))
http('B6.2-accept-order', lambda h: h.AcceptElement.from_str('a;q=0.1') < h.AcceptElement.from_str('b;q=0.2'))
http('B6.2-accept-order-equal', lambda h: h.AcceptElement.from_str('b') < h.AcceptElement.from_str('a'))
http('B6.2-accept-negative', lambda h: h.AcceptElement.from_str('a;q=-1').qvalue)
http('B6.2-host', lambda h: (lambda x: (x.ip, x.port, x.name, repr(x)))(h.Host('1.2.3.4', 80, 'n')))
http('B6.2-host-without-name', lambda h: repr(h.Host('1.2.3.4', 80)))
http('B6.2-host-empty-name', lambda h: repr(h.Host('1.2.3.4', 80, '')))
http('B6.2-host-defaults', lambda h: (h.Host.ip, h.Host.port, h.Host.name))
http('B6.2-sanitized', lambda h: (lambda s: (s, s.raw, isinstance(s, str)))(h.SanitizedHost('a\r\nb')))
http('B6.2-sanitized-plain', lambda h: type(h.SanitizedHost('ab')))
act('B6.2-malformed-accept', lambda cp: 'page', {'tools.gzip.on': True}, headers={'Accept-Encoding': 'a;q=x, b'})
act('B6.2-malformed-charset', lambda cp: 'page', headers={'Accept-Charset': 'utf-8;q=abc, x'})
act('B6.2-malformed-in-a-handler', lambda cp: cp.request.headers.elements('Accept'), headers={'Accept': 'a;q=abc, b'})

# 6.3 lib


class Endless:
    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return 1


class Closing(Endless):
    def close(self) -> None:
        pass


class ClosingWith(Endless):
    def close(self, how: int) -> None:
        pass


ITERATORS: dict[str, Callable[[], Any]] = {
    'generator': lambda: (n for n in ()),
    'list': list,
    'list-iterator': lambda: iter([]),
    'own': Endless,
    'closing': Closing,
    'closing-with-argument': ClosingWith,
    'file': io.BytesIO,
    'text': str,
    'none': lambda: None,
    'class': lambda: Endless,
}
for ident, make in ITERATORS.items():
    expression(
        f'B6.3-iterator-{ident}',
        lambda cp, make=make: (cp.lib.is_iterator(make()), cp.lib.is_closable_iterator(make())),
    )


def chunks(cp: Any, size: int) -> Any:
    file = io.BytesIO(b'x' * 100)
    return [len(chunk) for chunk in cp.lib.file_generator(file, size)], file.closed


expression('B6.3-file-generator', lambda cp: chunks(cp, 40))
expression('B6.3-file-generator-default', lambda cp: [len(c) for c in cp.lib.file_generator(io.BytesIO(b'x' * 70000))])
expression('B6.3-file-generator-keyword', lambda cp: list(cp.lib.file_generator(io.BytesIO(b'abc'), chunkSize=2)))
expression('B6.3-limited', lambda cp: list(cp.lib.file_generator_limited(io.BytesIO(b'abcdef'), 4, 3)))
expression('B6.3-limited-short', lambda cp: list(cp.lib.file_generator_limited(io.BytesIO(b'ab'), 4)))


def vary(*names: str) -> Function:
    def function(cp: Any) -> str:
        for name in names:
            cp.lib.set_vary_header(cp.response, name)
        return str(cp.response.headers.get('Vary'))

    return function


act('B6.3-vary', vary('Accept'))
act('B6.3-vary-two', vary('Accept', 'Cookie'))
act('B6.3-vary-twice', vary('Accept', 'Accept'))

# 7.1 proxies and what they show outside of a request

expression('B7.1-request-is-no-request', lambda cp: isinstance(cp.request, list))
expression('B7.1-outside', lambda cp: (cp.request.app, cp.request.local, cp.request.remote, cp.request.method))
expression('B7.1-outside-response', lambda cp: (cp.response.status, cp.response.body, sorted(cp.response.headers)))
expression('B7.1-bool', lambda cp: (bool(cp.request), bool(cp.response)))
expression('B7.1-dict', lambda cp: {'method', 'scheme', 'app', 'run'} <= set(cp.request.__dict__))
expression('B7.1-own-attribute-missing', lambda cp: cp.request.never_set)
expression(
    'B7.1-serving-attribute', lambda cp: (setattr(cp.serving, 'own', 1), cp.serving.own, delattr(cp.serving, 'own'))
)


def in_a_thread(cp: Any) -> Any:
    import threading

    seen: list[Any] = []
    cp.thread_data.own = 'main'
    thread = threading.Thread(target=lambda: seen.append(hasattr(cp.thread_data, 'own')))
    thread.start()
    thread.join()
    return seen, cp.thread_data.own


expression('B7.1-thread-data', in_a_thread)
read('B7.1-dict-in-a-request', lambda cp: 'own' in (setattr(cp.request, 'own', 1), cp.request.__dict__)[1])
read('B7.1-serving', lambda cp: (cp.serving.request.path_info, cp.serving.response.status))
read('B7.1-serving-own', lambda cp: (setattr(cp.serving, 'own', 1), cp.serving.own)[1])
read('B7.1-serving-own-gone', lambda cp: hasattr(cp.serving, 'own'))
read('B7.1-set-through-the-proxy', lambda cp: (setattr(cp.request, 'x', 1), cp.serving.request.x)[1])
read(
    'B7.1-delete-through-the-proxy',
    lambda cp: (setattr(cp.request, 'x', 1), delattr(cp.request, 'x'), hasattr(cp.request, 'x')),
)
read('B7.1-thread-data-stays', lambda cp: (setattr(cp.thread_data, 'kept', 1), cp.thread_data.kept)[1])
read('B7.1-thread-data-stayed', lambda cp: cp.thread_data.kept)


# 7.2 the log


def said(cp: Any, *args: Any, **kwargs: Any) -> Any:
    """Give the record that `log.error` makes, without its time."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    cp.log.error_log.addHandler(handler)
    try:
        cp.log.error(*args, **kwargs)
    finally:
        cp.log.error_log.removeHandler(handler)
    record = records[0]
    text = re.sub(r'^\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\]', '[time]', record.getMessage())
    return record.levelname, text, bool(record.exc_info)


expression('B7.2-error', lambda cp: said(cp, 'message'))
expression('B7.2-error-nothing', lambda cp: said(cp))
expression('B7.2-error-context', lambda cp: said(cp, 'message', 'CONTEXT'))
expression('B7.2-error-severity', lambda cp: said(cp, 'message', severity=logging.WARNING))
expression('B7.2-error-percent', lambda cp: said(cp, '100% %s %(x)s'))
expression('B7.2-error-number', lambda cp: said(cp, 5))
expression('B7.2-error-traceback-of-nothing', lambda cp: said(cp, 'm', traceback=True)[:2])
expression('B7.2-error-wide', lambda cp: said(cp, 'gr\xfcn \u212b'))


def with_traceback(cp: Any) -> Any:
    try:
        raise ValueError('x')
    except ValueError:
        return said(cp, 'm', traceback=True)


expression('B7.2-error-traceback', with_traceback)
expression('B7.2-time', lambda cp: bool(re.fullmatch(r'\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\]', cp.log.time())))
expression('B7.2-no-handlers-attribute', lambda cp: hasattr(cp.log, 'handlers'))
expression('B7.2-appid', lambda cp: cp.log.appid)
expression('B7.2-format', lambda cp: cp.log.access_log_format)


def manager(cp: Any, appid: Any = None) -> Any:
    return type(cp.log)(appid, 'own.root')


def loggers(cp: Any, appid: Any = None) -> Any:
    log = manager(cp, appid)
    return (
        log.error_log.name,
        log.access_log.name,
        log.error_log.getEffectiveLevel(),
        log.screen,
        log.error_file,
        log.wsgi,
    )


expression('B7.2-loggers', loggers)
expression('B7.2-loggers-of-an-application', lambda cp: loggers(cp, 'id'))


def switched(cp: Any, name: str, *values: Any) -> Any:
    log = manager(cp, name)
    seen = []
    for value in values:
        setattr(log, name, value)
        kinds = [getattr(h, '_cpbuiltin', None) for logger in (log.error_log, log.access_log) for h in logger.handlers]
        seen.append((getattr(log, name), [kind for kind in kinds if kind]))
    return seen


expression('B7.2-screen', lambda cp: switched(cp, 'screen', True, True, False, 1, 0))
expression('B7.2-wsgi', lambda cp: switched(cp, 'wsgi', True, False))


def files(cp: Any, name: str) -> Any:
    log = manager(cp, 'files ' + name)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, 'first.log'), Path(folder, 'second.log')
        seen = []
        for path in (first, first, second, '', None):
            setattr(log, name, str(path) if path else path)
            seen.append(Path(getattr(log, name)).name)
        setattr(log, name, str(first))
        if name == 'error_file':
            log.error('one')
            first.rename(second)
            log.error('two')
            log.reopen_files()
            log.error('three')
        seen.append(len(first.read_text().splitlines()))
        seen.append(len(second.read_text().splitlines()))
        setattr(log, name, '')
        return seen


expression('B7.2-error-file', lambda cp: files(cp, 'error_file'))
expression('B7.2-access-file', lambda cp: files(cp, 'access_file'))


def routed(cp: Any) -> Any:
    """An application with loggers of its own, which the page writes to."""

    class Root:
        @cp.expose
        def index(self) -> str:
            cp.log('by cherrypy.log')
            cp.log.error('by cherrypy.log.error')
            cp.request.app.log('by the application')
            return 'logged'

    def change(app: Any) -> None:
        handler = logging.Handler()
        handler.emit = lambda record: tell('application:', record.getMessage().partition('] ')[2])  # type: ignore[method-assign]
        app.log.error_log.addHandler(handler)

    return Root(), {'/': {}}, change


MOUNTS['/routed'] = routed
case('B7.2-routed', '/routed/', variant='acts')
told('B7.2-routed')


def configured_log(cp: Any) -> Any:
    class Root:
        @cp.expose
        def index(self) -> str:
            return ascii((cp.request.app.log.rot_maxBytes, cp.request.app.log.access_log_format))

    return Root(), {'/': {'log.rot_maxBytes': 5, 'log.access_log_format': '{s}'}}, lambda app: None


MOUNTS['/log-config'] = configured_log
case('B7.2-config', '/log-config/', variant='acts')

# 7.3 the access line


def accessed(cp: Any) -> Any:
    """An application whose access lines are told, with every atom."""

    class Root:
        @cp.expose
        def default(self, *args: str, **kwargs: str) -> Any:
            kind = args[0] if args else ''
            if kind == 'error':
                raise cp.HTTPError(409)
            if kind == 'redirect':
                raise cp.HTTPRedirect('/x')
            if kind == 'boom':
                raise ValueError('boom')
            if kind == 'internal':
                raise cp.InternalRedirect('/page')
            if kind == 'login':
                cp.request.login = 'gr\xfcn "x"'
            if kind == 'stream':
                cp.response.stream = True
                return iter([b'chunk'])
            if kind == 'status':
                cp.response.status = '299 Own'
            return 'page'

    def change(app: Any) -> None:
        handler = logging.Handler()

        def emit(record: logging.LogRecord) -> None:
            line = re.sub(r'\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\]', '[time]', record.getMessage())
            tell('access:', re.sub(r'[0-9a-f]{8}-[-0-9a-f]{27}', '[id]', line))

        handler.emit = emit  # type: ignore[method-assign]
        app.log.access_log.addHandler(handler)
        app.log.access_log_format = '{h} {l} {u} {t} "{r}" {s} {b} "{f}" "{a}" {o} {i}'

    return Root(), {'/': {'error_page.default': lambda **kwargs: 'short'}}, change


MOUNTS['/access'] = accessed
SENT = {'Referer': 'http://from/"here"', 'User-Agent': 'Browzuh (1.0\r\n\t\t.3)'}
for ident, more in {
    'page': {},
    'error': {},
    'redirect': {},
    'missing/a/b': {},
    'internal': {},
    'login': {},
    'stream': {},
    'status': {},
    'head': {'method': 'HEAD'},
    'post': {'method': 'POST', 'body': b'a=1'},
    'query': {'query': 'a=%20"b"'},
    'headers': {'headers': SENT},
    'host': {'environ': {'HTTP_HOST': 'h\xe9'}},
    'remote-user': {'environ': {'REMOTE_USER': 'ann'}},
    'remote-name': {'environ': {'REMOTE_HOST': 'client.example'}},
    'slashed\\path': {},
    'gr\xfcn': {},
    'protocol': {'environ': {'SERVER_PROTOCOL': 'HTTP/1.0'}},
}.items():
    case(f'B7.3-{ident}', f'/access/{ident}', variant='acts', **more)
    told(f'B7.3-{ident}')


def line_format(text: str) -> Callable[[Any], Any]:
    def make(cp: Any) -> Any:
        class Root:
            @cp.expose
            def index(self) -> str:
                return 'page'

        def change(app: Any) -> None:
            handler = logging.Handler()
            handler.emit = lambda record: tell('access:', record.getMessage())  # type: ignore[method-assign]
            app.log.access_log.addHandler(handler)
            app.log.access_log_format = text

        return Root(), {'/': {}}, change

    return make


for number, text in enumerate(('{s}', '{s:>5}|{h!r}', '{{}} {m}', 'plain', '%(s)s {s}', '{')):
    MOUNTS[f'/format{number}'] = line_format(text)
    case(f'B7.3-format-{text}', f'/format{number}/', variant='acts')
    if text not in ('{{}} {m}', '{'):
        told(f'B7.3-format-{text}')
