"""Cases of Spec B 5: request bodies, forms and their parts, and how they reach the page handler."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from .acts import MOUNTS, inner, tell
from .table import case, expression, read, told

FORM = 'application/x-www-form-urlencoded'


def params(cp: Any) -> Any:
    return sorted((key, described(value)) for key, value in cp.request.params.items())


def described(value: Any) -> Any:
    """Show a parameter: text as it is, of a part what it holds."""
    if isinstance(value, list):
        return [described(item) for item in value]
    if isinstance(value, str):
        return value
    held = value.file.read() if value.file else value.value
    return ('part', value.name, value.filename, value.content_type.value, held)


def body(cp: Any) -> Any:
    entity = cp.request.body
    return (
        entity.content_type.value,
        sorted(entity.content_type.params.items()),
        entity.length,
        entity.attempt_charsets,
        entity.charset,
        sorted(entity.params),
        len(entity.parts),
    )


def form(ident: str, data: bytes, content_type: str | None = FORM, config: Any = None, **more: Any) -> None:
    """Post a form, and show the parameters that come of it."""
    headers = {**({} if content_type is None else {'Content-Type': content_type}), **more.pop('headers', {})}
    environ = {'CONTENT_TYPE': None} if content_type is None else {}
    read(ident, params, config, method='POST', body=data, headers=headers, environ=environ, **more)


def whole(cp: Any) -> Any:
    return cp.request.body.read()


# 5.1 when a body is read

for method in ('POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'PROPFIND'):
    read(f'B5.1-{method}', params, method=method, body=b'a=1')
for method in ('POST', 'PUT', 'PATCH', 'DELETE'):
    read(f'B5.1-{method}-without-length', params, method=method)
read('B5.1-length-0', params, method='POST', body=b'')
read('B5.1-not-processed', params, {'request.process_request_body': False}, method='POST', body=b'a=1')
read('B5.1-not-processed-without-length', params, {'request.process_request_body': False}, method='POST')
read(
    'B5.1-not-processed-rfile',
    lambda cp: cp.request.rfile.read(int(cp.request.headers['Content-Length'])),
    {'request.process_request_body': False},
    method='POST',
    body=b'a=1',
)
read(
    'B5.1-hook-says-no',
    lambda cp: (params(cp), cp.request.rfile.read(3)),
    lambda cp: {'hooks.before_request_body.x': lambda: setattr(cp.request, 'process_request_body', False)},
    method='POST',
    body=b'a=1',
)


def read_by_hook(cp: Any) -> dict[str, Any]:
    def hook() -> None:
        cp.request.process_request_body = False
        cp.request.body = cp.request.rfile.read(3)

    return {'hooks.before_request_body.x': hook}


read('B5.1-hook-reads', lambda cp: cp.request.body, read_by_hook, method='POST', body=b'abc')
read(
    'B5.1-methods-without-body-header',
    params,
    {'request.methods_with_bodies': ('POST', 'PROPFIND')},
    method='PROPFIND',
)
for method in ('PUT', 'PATCH', 'PROPFIND'):
    read(
        f'B5.1-plain-{method}',
        whole,
        {'request.methods_with_bodies': ('PUT', 'PATCH', 'PROPFIND')},
        method=method,
        body=b'some text',
        headers={'Content-Type': 'text/plain'},
    )
    read(
        f'B5.1-untyped-{method}',
        whole,
        {'request.methods_with_bodies': ('PUT', 'PATCH', 'PROPFIND')},
        method=method,
        body=b'some text',
        environ={'CONTENT_TYPE': None},
    )
read('B5.1-empty-length', params, method='POST', environ={'CONTENT_LENGTH': '', 'CONTENT_TYPE': ''})

# 5.2 entities

read('B5.2-form', body, method='POST', body=b'a=1')
read('B5.2-form-charset', body, method='POST', body=b'a=1', headers={'Content-Type': f'{FORM};charset=latin-1'})
read('B5.2-form-same-charset', body, method='POST', body=b'a=1', headers={'Content-Type': f'{FORM}; charset="utf-8"'})
read('B5.2-text', body, method='POST', body=b'a=1', headers={'Content-Type': 'text/plain'})
read('B5.2-text-charset', body, method='POST', body=b'a=1', headers={'Content-Type': 'text/plain;charset=utf-16'})
read('B5.2-json', body, method='POST', body=b'{}', headers={'Content-Type': 'application/json; x=1'})
read('B5.2-untyped', body, method='POST', body=b'a=1', environ={'CONTENT_TYPE': None})
read('B5.2-get', body)
for ident, length in {'zero': '0', 'spaces': ' 3 '}.items():
    read(
        f'B5.2-length-{ident}',
        lambda cp: cp.request.body.length,
        method='DELETE',
        body=b'abc',
        environ={'CONTENT_LENGTH': length},
    )
read('B5.2-classes', lambda cp: [base.__name__ for base in type(cp.request.body).__mro__])
read(
    'B5.2-part-class',
    lambda cp: (lambda p: (p.__name__, p.maxrambytes, p.attempt_charsets))(cp.request.body.part_class),
)
read('B5.2-part-defaults', lambda cp: cp.request.body.part_class.default_content_type)
read('B5.2-processors', lambda cp: sorted(cp.request.body.processors))
read('B5.2-processors-are-a-copy', lambda cp: cp.request.body.processors is type(cp.request.body).processors)
read('B5.2-bufsize-and-maxbytes', lambda cp: (cp.request.body.bufsize, cp.request.body.maxbytes))

TEXT = b'one\ntwo\r\n\nfour'
READS: dict[str, Callable[[Any], Any]] = {
    'read': lambda b: b.read(),
    'read-some': lambda b: (b.read(5), b.read(2), b.read()),
    'read-past-the-end': lambda b: (b.read(100), b.read(5), b.read()),
    'read-to-file': lambda b: (lambda f: (b.read(fp_out=f), f.getvalue()))(io.BytesIO()),
    'readline': lambda b: (b.readline(), b.readline(), b.readline(), b.readline(), b.readline()),
    'readlines': lambda b: b.readlines(),
    'lines': lambda b: [*b],
    'next': lambda b: (next(b), next(b)),
    'read-into-file': lambda b: (lambda f: (f.tell(), f.seek(0), f.read()))(b.read_into_file()),
    'readline-then-read': lambda b: (b.readline(), b.read()),
    'fp-read': lambda b: (b.fp.read(3), b.fp.bytes_read, b.fp.read(), b.fp.done),
    'decode': lambda b: b.decode_entity(b'gr\xc3\xbcn'),
    'decode-latin-1': lambda b: b.decode_entity(b'gr\xfcn'),
}
for ident, function in READS.items():
    read(
        f'B5.2-{ident}',
        lambda cp, function=function: function(cp.request.body),
        method='POST',
        body=TEXT,
        headers={'Content-Type': 'text/plain'},
    )
read('B5.2-decode-fails', lambda cp: cp.request.body.decode_entity(b'\xff'), method='POST', body=b'')


def processing(change: Callable[[Any, Any], None]) -> Callable[[Any], dict[str, Any]]:
    return lambda cp: {'hooks.before_request_body.x': lambda: change(cp, cp.request.body)}


def take_json(cp: Any, entity: Any) -> None:
    def process(entity: Any) -> None:
        cp.request.params['taken'] = entity.fp.read().decode()

    entity.processors['application/json'] = process


def take_major(cp: Any, entity: Any) -> None:
    entity.processors['image'] = lambda entity: cp.request.params.update(major=str(entity.length))


def refuse(cp: Any, entity: Any) -> None:
    entity.default_proc = cp.HTTPError(415, 'not that')


def no_processors(cp: Any, entity: Any) -> None:
    entity.processors.clear()


def own_params(cp: Any, entity: Any) -> None:
    entity.processors['a/b'] = lambda entity: entity.params.update(own='set by the processor')


for ident, content_type, change in (
    ('custom', 'application/json', take_json),
    ('custom-parameters', 'application/json;charset=utf-8', take_json),
    ('major', 'image/png', take_major),
    ('refused', 'application/json', refuse),
    ('refused-not-forms', FORM, refuse),
    ('none', FORM, no_processors),
    ('own-params', 'a/b', own_params),
):
    form(f'B5.2-processor-{ident}', b'a=1', content_type, processing(change))
read(
    'B5.2-processors-of-config',
    params,
    lambda cp: {'request.body.processors': {'a/b': lambda entity: cp.request.params.update(by='config')}},
    method='POST',
    body=b'a=1',
    headers={'Content-Type': 'a/b'},
)

# 5.3 urlencoded forms

for ident, data in {
    'one': b'a=1',
    'blank': b'a=&b',
    'empty-key': b'=1',
    'empty-pieces': b'&a=1&&b=2&',
    'plus': b'a=x+y%2Bz',
    'equals': b'a=b=c',
    'repeated': b'a=1&a=2&a=3',
    'utf-8': b'a=gr%C3%BCn&%C3%BC=1',
    'raw-utf-8': 'a=grün'.encode(),
    'latin-1': b'a=gr%FCn',
    'one-bad-of-two': b'a=1&b=%FF',
    'line-end': b'a=1\r\n',
    'null': b'a=%00',
    'only-key': b'a',
    'image-map': b'1,2',
    'order': b'b=1&a=2&b=3',
}.items():
    form(f'B5.3-{ident}', data)
form('B5.3-charset-latin-1', b'a=gr%FCn', f'{FORM};charset=latin-1')
form('B5.3-charset-utf-16', b'a=%FF%FEA%00', f'{FORM};charset=utf-16')
form('B5.3-charset-wrong', b'a=gr%FCn', f'{FORM};charset=ascii')
form('B5.3-charset-falls-back', b'a=gr%C3%BCn', f'{FORM};charset=ascii')
form('B5.3-charset-unknown', b'a=1', f'{FORM};charset=nosuch')
form('B5.3-lone-percent', b'a=100%&b=%zz')
form('B5.3-attempts', b'a=gr%FCn', config={'request.body.attempt_charsets': ['ascii', 'latin-1']})
form('B5.3-attempts-fail', b'a=gr%FCn', config={'request.body.attempt_charsets': ['ascii', 'utf-8']})
read('B5.3-charset-found', lambda cp: cp.request.body.charset, method='POST', body=b'a=1')

# 5.4 multipart

BOUNDARY = 'multipart/form-data; boundary=x'


def parts(*pieces: bytes, end: bytes = b'--x--\r\n') -> bytes:
    return b''.join(b'--x\r\n' + piece + b'\r\n' for piece in pieces) + end


def field(name: str, value: bytes = b'1', *more: str) -> bytes:
    head = '\r\n'.join([f'Content-Disposition: form-data; name="{name}"', *more])
    return head.encode() + b'\r\n\r\n' + value


def file(filename: str, value: bytes = b'data') -> bytes:
    return f'Content-Disposition: form-data; name="f"; {filename}'.encode() + b'\r\n\r\n' + value


for ident, data in {
    'one': parts(field('a')),
    'two': parts(field('a'), field('b', b'2')),
    'repeated': parts(field('a'), field('a', b'2')),
    'empty-value': parts(field('a', b'')),
    'lines': parts(field('a', b'one\r\ntwo\nthree\r\n')),
    'dashes': parts(field('a', b'--y\r\n--')),
    'utf-8': parts(field('a', 'grün'.encode())),
    'latin-1': parts(field('a', b'gr\xfcn')),
    'unnamed': parts(b'Content-Disposition: form-data\r\n\r\nlost', field('a')),
    'no-headers': parts(b'\r\nlost', field('a')),
    'preamble': b'skipped\r\n' + parts(field('a')),
    'epilogue': parts(field('a')) + b'ignored\r\n',
    'no-final-line-end': parts(field('a'), end=b'--x--'),
    'no-parts': b'--x--\r\n',
    'no-boundary-inside': b'nothing here',
    'header-case': parts(b'CONTENT-disposition: form-data; NAME="a"\r\n\r\n1'),
    'unquoted': parts(b'Content-Disposition: form-data; name=a\r\n\r\n1'),
    'charset-of-a-part': parts(field('a', 'ab'.encode('utf-16'), 'Content-Type: text/plain;charset=utf-16')),
    'typed-part': parts(field('a', b'{}', 'Content-Type: application/json')),
    'large-field': parts(field('a', b'x' * 5000)),
    'file': parts(file('filename="a.txt"')),
    'file-empty-name': parts(file('filename=""')),
    'file-empty': parts(file('filename="a.txt"', b'')),
    'file-of-lines': parts(file('filename="a.txt"', b'\r\n\n\r')),
    'file-binary': parts(file('filename="a.bin"', bytes(range(256)))),
    'files': parts(file('filename="a.txt"'), file('filename="b.txt"', b'more')),
    'name-comma': parts(file('filename="foo, bar.csv"')),
    'name-quote': parts(file('filename="file\\"name.csv"')),
    'name-semicolon': parts(file('filename="file;name.csv"')),
    'name-semicolon-space': parts(file('filename="file; name.csv"')),
    'name-backslash': parts(file('filename="C:\\\\dir\\\\a.txt"')),
    'name-path': parts(file('filename="../../etc/passwd"')),
    'name-extended': parts(file("filename*=utf-8''test_%C5%82%C3%B3%C4%85%C3%A4.txt")),
    'name-both': parts(file('filename="plain.txt"; filename*=utf-8\'\'ext%C3%BC.txt')),
    'name-extended-language': parts(file("filename*=iso-8859-1'en'%A3.txt")),
    'name-raw-utf-8': parts(file('filename="grün.txt"')),
    'unclosed': parts(field('a'), end=b''),
    'unclosed-in-headers': b'--x\r\nContent-Disp',
    'headers-without-colon': parts(b'no colon\r\n\r\n1'),
    'line-feeds-only': b'--x\nContent-Disposition: form-data; name="a"\n\n1\n--x--\n',
    'bad-extended': parts(file("filename*=nosuch''a")),
}.items():
    form(f'B5.4-{ident}', data, BOUNDARY)
for ident, content_type in {
    'quoted': 'multipart/form-data; boundary="x"',
    'missing': 'multipart/form-data',
    'empty': 'multipart/form-data; boundary=',
    'too-long': 'multipart/form-data; boundary=' + 'x' * 300,
    'ends-in-space': 'multipart/form-data; boundary="x "',
    'upper-case': 'Multipart/Form-Data; Boundary=x',
}.items():
    form(f'B5.4-boundary-{ident}', parts(field('a')), content_type)
for ident, data in {
    'mixed-unnamed': parts(b'\r\none', b'\r\ntwo'),
    'mixed-one': parts(b'\r\none'),
    'mixed-named': parts(field('a'), b'\r\nunnamed'),
}.items():
    form(f'B5.4-{ident}', data, 'multipart/mixed; boundary=x')
form('B5.4-related', parts(b'\r\none'), 'multipart/related; boundary=x')
read(
    'B5.4-parts',
    lambda cp: [(part.name, part.filename, sorted(part.headers)) for part in cp.request.body.parts],
    method='POST',
    body=parts(field('a'), b'Content-Disposition: form-data\r\nX-Own: 1\r\n\r\nunnamed'),
    headers={'Content-Type': BOUNDARY},
)
read(
    'B5.4-fullvalue',
    lambda cp: [part.fullvalue() for part in cp.request.body.parts],
    method='POST',
    body=parts(b'\r\none', b'\r\n' + b'x' * 1001),
    headers={'Content-Type': 'multipart/mixed; boundary=x'},
)
read(
    'B5.4-kept-in-memory-or-not',
    lambda cp: [part.file is None for part in cp.request.body.parts],
    method='POST',
    body=parts(b'\r\n' + b'x' * 1000, b'\r\n' + b'x' * 1001),
    headers={'Content-Type': 'multipart/mixed; boundary=x'},
)


def own_parts(cp: Any) -> dict[str, Any]:
    class Own(inner(cp, '_cpreqbody', 'Part') if cp.__name__ == 'cherrypy' else part_class(cp)):  # type: ignore[misc]
        maxrambytes = 2

        def process(self) -> None:
            tell('a part', self.name)
            super().process()

    return {'hooks.before_request_body.x': lambda: setattr(cp.request.body, 'part_class', Own)}


def part_class(cp: Any) -> Any:
    from importlib import import_module

    return import_module(f'{cp.__name__}.core.body').Part


form('B5.4-own-part-class', parts(field('a', b'12'), field('b', b'123')), BOUNDARY, own_parts)
told('B5.4-own-part-class')

# 5.5 merging, 5.7 what is answered

form('B5.5-query-and-body', b'a=2', query='a=1')
form('B5.5-query-only', b'', query='a=1')
form('B5.5-query-twice', b'a=3', query='a=1&a=2')
form('B5.5-body-twice', b'a=2&a=3', query='a=1')
form('B5.5-file-and-query', parts(file('filename="a"')), BOUNDARY, query='f=1')
read('B5.5-body-params', lambda cp: cp.request.body.params, method='POST', body=b'a=2', query='a=1&b=1')


def fixed_arguments(cp: Any) -> Any:
    """A page handler that takes two arguments."""

    class Root:
        @cp.expose
        def page(self, a: str, b: str = 'default') -> str:
            return ascii((a, b))

    return Root(), {'/': {}}, lambda app: None


MOUNTS['/fixed'] = fixed_arguments
for ident, (path, query, data) in {
    'fits': ('', '', b'a=1&b=2'),
    'missing': ('', '', b'b=2'),
    'extra-in-the-body': ('', '', b'a=1&c=3'),
    'extra-in-the-query': ('', 'c=3', b'a=1'),
    'extra-in-both': ('', 'c=3', b'a=1&c=4'),
    'given-twice': ('/path', '', b'a=1'),
    'twice-in-path-and-query': ('/path', 'a=1', b''),
    'too-many-segments': ('/1/2/3', '', b''),
}.items():
    case(f'B5.7-arguments-{ident}', '/fixed/page' + path, query, method='POST', body=data, variant='acts')
form('B5.7-maxbytes', b'a=123', config={'request.body.maxbytes': 4})
form('B5.7-maxbytes-multipart', parts(field('a', b'x' * 100)), BOUNDARY, config={'request.body.maxbytes': 50})
form('B5.7-maxbytes-0', b'a=123', config={'request.body.maxbytes': 0})
form('B5.7-unknown-type', b'a=1', 'application/x-nosuch')
form('B5.7-no-type', b'a=1', None)
form('B5.7-bad-type', b'a=1', 'nonsense')
form('B5.7-several-types', b'a=1', f'{FORM}, text/plain')

# 5.6 readers


def reader(cp: Any, data: bytes, length: int | None, maxbytes: int | None = None, bufsize: int = 8192) -> Any:
    if cp.__name__ == 'cherrypy':
        made = inner(cp, '_cpreqbody', 'SizedReader')
    else:
        from importlib import import_module

        made = import_module(f'{cp.__name__}.core.reader').SizedReader
    return made(io.BytesIO(data), length, maxbytes, bufsize)


LINES = b'one\ntwo\nthree'
for ident, function in {
    'read': lambda cp: reader(cp, LINES, 13).read(),
    'read-length': lambda cp: reader(cp, LINES, 5).read(),
    'read-no-length': lambda cp: reader(cp, LINES, None).read(),
    'read-size': lambda cp: (lambda r: (r.read(4), r.bytes_read, r.done, r.read(100), r.done))(reader(cp, LINES, 13)),
    'read-short': lambda cp: (lambda r: (r.read(), r.read(), r.done))(reader(cp, LINES, 99)),
    'read-small-buffer': lambda cp: reader(cp, LINES, 13, bufsize=2).read(),
    'read-fp-out': lambda cp: (lambda f: (reader(cp, LINES, 13).read(fp_out=f), f.getvalue()))(io.BytesIO()),
    'readline': lambda cp: (lambda r: [r.readline() for _ in range(4)])(reader(cp, LINES, 13)),
    'readline-small-buffer': lambda cp: (lambda r: [r.readline() for _ in range(4)])(reader(cp, LINES, 13, bufsize=2)),
    'readlines': lambda cp: reader(cp, LINES, 13).readlines(),
    'readlines-hint': lambda cp: reader(cp, LINES, 13).readlines(5),
    'maxbytes': lambda cp: reader(cp, LINES, 13, 5).read(),
    'maxbytes-exactly': lambda cp: reader(cp, LINES, 13, 13).read(),
    'attributes': lambda cp: (lambda r: (r.length, r.maxbytes, r.bufsize, r.bytes_read, r.done))(reader(cp, LINES, 3)),
}.items():
    expression(f'B5.6-{ident}', function)
