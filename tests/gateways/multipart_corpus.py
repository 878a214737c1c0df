"""Multipart bodies and what they mean: those of real clients (multipart_recorded.py), and legal, odd and broken ones.

Values only: nothing here knows a gateway. Bodies are as they stand on the wire; the boundary of those made here is
`b` unless their Content-Type says otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from multipart_recorded import RECORDED

__all__ = ['BODIES', 'Body', 'File', 'Group']

FORM = 'multipart/form-data; boundary=b'
MIXED = 'multipart/mixed; boundary=b'
ALL_BYTES = bytes(range(256))


class File(NamedTuple):
    """A part that is kept as one: it has a file name (maybe an empty one), or is among the parts without a name."""

    filename: str | None
    type: str
    content: bytes


class Group(NamedTuple):
    """A part that holds parts; `params` are the fields of a form in a form."""

    type: str
    parts: list[Any]
    params: dict[str, Any] = {}


class Body(NamedTuple):
    """A body, and what becomes of it: `status`, and if that is 200, the fields and the parts that are no fields."""

    ident: str
    kind: str
    data: bytes
    params: dict[str, Any]
    parts: list[Any]
    status: int


BODIES: list[Body] = []


def good(ident: str, data: bytes, params: dict[str, Any], parts: Any = (), kind: str = FORM) -> None:
    BODIES.append(Body(ident, kind, data, params, list(parts), 200))


def bad(ident: str, data: bytes, status: int = 400, kind: str = FORM) -> None:
    BODIES.append(Body(ident, kind, data, {}, [], status))


def part(disposition: bytes | None, content: bytes, *headers: bytes) -> bytes:
    """Give a part with the boundary line before it and the line break after it."""
    lines = [b'--b', *headers] if disposition is None else [b'--b', b'Content-Disposition: ' + disposition, *headers]
    return b'\r\n'.join([*lines, b'', content]) + b'\r\n'


def field(name: bytes, content: bytes, *headers: bytes) -> bytes:
    return part(b'form-data; name="%s"' % name, content, *headers)


END = b'--b--\r\n'
X = field(b'x', b'1')
NULL = 'application/octet-stream'

# --- real clients ---

BINARY = ALL_BYTES + b'\r\n--\r\n\r\n------\r\n'
FIELDS = {'a': ['1', '2'], 'empty': '', 'text': 'zażółć €', 'lines': 'x\r\ny', 'spaced': '  two  spaces '}
FILES = {
    'note': 'hi',
    'up': [File('hello.txt', 'text/plain', b'hello\r\nworld\r\n'), File('data.bin', NULL, BINARY)],
    'none': File('empty.txt', 'text/plain', b''),
}
QUOTED = ['a"b.txt', 'c\\d.txt', 'e;f, g.txt', 'łódź €.txt', 'h"i%.txt', "j'k.txt"]
# aiohttp percent-encodes where nothing says that it does, so nothing is undone but what browsers write so.
ENCODED = [
    *('a"b.txt', 'c%5Cd.txt', 'e%3Bf%2C%20g.txt', '%C5%82%C3%B3d%C5%BA%20%E2%82%AC.txt', 'h%2522i%25.txt'),
    'j%27k.txt',
]
NAMES = {'na"me': '1', 'na me;=': '2', 'nazwa ł': '3'}
HTML = {'Node.js 20.20.2 fetch', 'Chromium 156.0.8078.79'}
MEANINGS: dict[str, dict[str, Any]] = {
    'fields': FIELDS,
    'files': FILES,
    'headers': {'j': '{"a":1}', 'f': File('x', 'text/plain', b'x'), 't': 'YWJj'},
    'mixed': {
        'group': Group(
            'multipart/mixed',
            [File('hello.txt', 'text/plain', b'hello\r\nworld\r\n'), File(None, 'text/plain', b'in')],
        ),
        'last': '1',
    },
    'chunked': {'f': File('stdin.txt', 'text/plain', b'hello')},
    'form': {
        't': 'a\r\nb',
        'none': File('', NULL, b''),
        'up': [File('one.txt', 'text/plain', b'one'), File('tw"o.txt', NULL, b'two')],
        '_charset_': 'UTF-8',
    },
    'form-1252': {
        '_charset_': 'windows-1252',
        'price': '10 €',
        'other': '&#322;',
        'up': File('€é.txt', 'text/plain', b'x'),
    },
    'form-latin1': {'_charset_': 'windows-1252', 'n': 'é', 'é': 'x'},
    'empty-form': {},
}


def meaning(client: str, scenario: str) -> dict[str, Any]:
    if scenario.startswith('filenames'):
        names = ENCODED if 'aiohttp' in client else QUOTED
        if client in HTML:
            # Browsers write a line break as %0D and %0A; that is not undone.
            names = [*names, 'l%0Am.txt']
        return {'f': [File(name, 'text/plain', b'x') for name in names]}
    if scenario == 'names':
        if client in HTML:
            return {**NAMES, 'new%0D%0Aline': '4'}
        if 'curl' in client:
            return {'na"me': '1', 'nazwa ł': '3'}
        return NAMES
    return MEANINGS[scenario]


for (client, scenario), (kind, data) in RECORDED.items():
    good(f'{client}: {scenario}', data, meaning(client, scenario), kind=kind)

# --- boundaries ---

good('one field', X + END, {'x': '1'})
good('closing boundary without a line break', X + b'--b--', {'x': '1'})
good('closing boundary and anything', X + b'--b--anything', {'x': '1'})
good('preamble', b'This is a message\r\nof two lines.\r\n' + X + END, {'x': '1'})
good('preamble of an empty line', b'\r\n' + X + END, {'x': '1'})
good('preamble with near boundaries', b'--\r\n-b\r\n--a\r\n x--b\r\n' + X + END, {'x': '1'})
good('long preamble', b'.' * 5000 + b'\r\n' + X + END, {'x': '1'})
good('epilogue', X + b'--b--\r\nepilogue\r\n--b\r\n\r\nno part\r\n--b--\r\n', {'x': '1'})
good('spaces behind the last boundary', X + b'--b-- \r\n', {'x': '1'})
bad('spaces behind a boundary', b'--b  \r\n' + X[5:] + END, 400)
bad('spaces behind a boundary between parts', X + b'--b \t\r\n' + X[5:] + END, 400)
good('no parts', b'--b--\r\n', {})
good('no parts, in the middle of a line', b'--b--', {})
good('no bytes', b'', {})
for name, text in {
    'of one character': 'x',
    'of 70 characters': 'y' * 70,
    'of 201 characters': 'z' * 201,
    'of all characters it may have': "aZ09'()+_,-./:=?",
    'that begins with dashes': '-----x-----',
    'that ends in dashes': 'x--',
    'with a space': 'a b',
}.items():
    mark = text.encode()
    good(
        f'boundary {name}', (X + END).replace(b'--b', b'--' + mark), {'x': '1'},
        kind=f'multipart/form-data; boundary="{text}"',
    )  # fmt: skip
good('boundary in quotes', X + END, {'x': '1'}, kind='multipart/form-data; boundary="b"')
good('boundary among parameters', X + END, {'x': '1'}, kind='multipart/form-data; a=1;  Boundary=b ; charset=utf-8')
good('type in capitals', X + END, {'x': '1'}, kind='Multipart/Form-Data; BOUNDARY=b')
good('boundary that is the start of another line', field(b'x', b'--a\r\n-b\r\n- -b\r\n --b') + END,
     {'x': '--a\r\n-b\r\n- -b\r\n --b'})  # fmt: skip
good('inner boundary that the outer one begins with',
     part(b'form-data; name="g"', b'--bi\r\n\r\ninner\r\n--bi--', b'Content-Type: multipart/mixed; boundary=bi')
     .replace(b'--b\r\n', b'--b-outer\r\n', 1) + b'--b-outer--',
     {'g': Group('multipart/mixed', [File(None, 'text/plain', b'inner')])},
     kind='multipart/form-data; boundary=b-outer')  # fmt: skip
for name, kind in {
    'no boundary': 'multipart/form-data',
    'empty boundary': 'multipart/form-data; boundary=',
    'empty boundary in quotes': 'multipart/form-data; boundary=""',
    'boundary of 202 characters': 'multipart/form-data; boundary=' + 'b' * 202,
    'boundary of 10 kB': 'multipart/form-data; boundary=' + 'b' * 10_000,
    'boundary that ends in a space': 'multipart/form-data; boundary="b "',
    'boundary with a letter that is not ASCII': 'multipart/form-data; boundary="\xe9"',
    'another boundary': 'multipart/form-data; boundary=c',
    'boundary in other capitals': 'multipart/form-data; boundary=B',
    'boundary longer than that of the body': 'multipart/form-data; boundary=bb',
}.items():
    bad(name, X + END, kind=kind)
bad('boundary shorter than that of the body', (X + END).replace(b'--b', b'--bb'))
bad('boundary with more behind it', b'--bx\r\n' + X[5:] + END)
bad('boundary with more behind it, later', X + b'--b x\r\n' + X[5:] + END)
bad('content that begins with a boundary and more', field(b'x', b'--bx') + END)
bad('spaces without end behind a boundary', b'--b' + b' ' * 101 + b'\r\n' + X[5:] + END)
bad('no closing boundary', X)
bad('no closing boundary, no line break', X[:-2])
bad('half a closing boundary', X + b'--b-')
bad('boundary and nothing', b'--b')
bad('boundary line and nothing', b'--b\r\n')
bad('headers and nothing', b'--b\r\nContent-Disposition: form-data; name="x"\r\n')
bad('empty line and nothing', b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n')
bad('no boundary anywhere', b'a=1&b=2')
bad('line breaks only', b'\r\n' * 100)
bad('boundary inside the first line', b'x' + X + b'y')
bad('part behind the first part without its boundary', X[:-2] + X)

# --- line breaks ---

good('line feeds in content', field(b'x', b'a\nb\n--b\n') + END, {'x': 'a\nb\n--b\n'})
good('bare CR in content', field(b'x', b'a\rb\r--b\r') + END, {'x': 'a\rb\r--b\r'})
good('content that ends in CR', field(b'x', b'a\r') + END, {'x': 'a\r'})
good('content that ends in a line break', field(b'x', b'a\r\n') + END, {'x': 'a\r\n'})
good('content of line breaks', field(b'x', b'\r\n' * 50) + END, {'x': '\r\n' * 50})
good('content of CRs', field(b'x', b'\r' * 99) + END, {'x': '\r' * 99})
good('content of dashes', field(b'x', b'--\r\n--\r\n--') + END, {'x': '--\r\n--\r\n--'})
bad('line feeds everywhere', (X + END).replace(b'\r\n', b'\n'))
bad('CRs everywhere', (X + END).replace(b'\r\n', b'\r'))
bad('line feed behind the boundary', b'--b\n' + X[5:] + END)
bad('line feed behind a header', X.replace(b'"x"\r\n', b'"x"\n') + END)
bad('line feeds between headers', field(b'x', b'1', b'A: b\nC: d') + END)
bad('CR between headers', field(b'x', b'1', b'A: b\rC: d') + END)
bad('line feed before the closing boundary', X[:-2] + b'\n' + END)

# --- headers ---

good('no headers', part(None, b'1') + END, {}, [File(None, 'text/plain', b'1')])
good('no disposition', part(None, b'1', b'Content-Type: text/html') + END, {}, [File(None, 'text/html', b'1')])
good('no headers and no content', b'--b\r\n\r\n--b--', {}, [File(None, 'text/plain', b'')])
good('no content, and the line break that ends the headers is the boundary\'s',
     b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + X + END, {'a': '', 'x': '1'})  # fmt: skip
good('header names in any capitals', b'--b\r\nCONTENT-disposition: FORM-DATA; NAME="x"\r\n\r\n1\r\n' + END, {'x': '1'})
good('no space behind a colon', X.replace(b': ', b':') + END, {'x': '1'})
good('space before a colon', X.replace(b': ', b' \t: \t ') + END, {'x': '1'})
good('spaces behind a value', X.replace(b'"x"', b'"x" \t ') + END, {'x': '1'})
good('unknown headers', field(b'x', b'1', b'X-Own: 1', b'X-Own-2: 2', b'Content-Foo:') + END, {'x': '1'})
good('folded header', X.replace(b'; name', b';\r\n name') + END, {'x': '1'})
good('header folded with tabs, twice', X.replace(b'; name', b'\r\n\t;\r\n\t\tname') + END, {'x': '1'})
good('content length, which says nothing', field(b'x', b'1', b'Content-Length: 1') + END, {'x': '1'})
good('wrong content length', field(b'x', b'123', b'Content-Length: 1') + END, {'x': '123'})
good('transfer encoding base64, which says nothing',
     field(b'x', b'YWJj', b'Content-Transfer-Encoding: base64') + END, {'x': 'YWJj'})  # fmt: skip
good('transfer encoding of a file',
     part(b'form-data; name="f"; filename="a"', b'=41', b'Content-Transfer-Encoding: quoted-printable') + END,
     {'f': File('a', 'text/plain', b'=41')})  # fmt: skip
good('type twice', field(b'x', b'1', b'Content-Type: text/plain', b'Content-Type: text/html') + END, {'x': '1'})
good('50 headers', field(b'x', b'1', *[b'A: b'] * 49) + END, {'x': '1'})
good('headers of 8192 bytes', field(b'x', b'1', b'A: ' + b'x' * (8192 - 45)) + END, {'x': '1'})
bad('51 headers', field(b'x', b'1', *[b'A: b'] * 50) + END, 413)
bad('headers of 8193 bytes', field(b'x', b'1', b'A: ' + b'x' * (8193 - 45)) + END, 413)
bad('huge header', b'--b\r\nA: ' + b'x' * 20_000, 413)
bad('headers of a part over the limit together', field(b'x', b'1', *[b'A: ' + b'x' * 500] * 20) + END, 413)
bad('header without a colon', field(b'x', b'1', b'no colon') + END)
bad('header without a name', field(b'x', b'1', b': value') + END)
bad('header name with a space', field(b'x', b'1', b'A b: c') + END)
bad('header name with a letter that is not ASCII', field(b'x', b'1', b'\xc3\xa9: c') + END)
bad('folded line first', b'--b\r\n A: b\r\n\r\n1\r\n' + END)
bad('folded line of spaces', field(b'x', b'1', b'A: b', b'  ') + END)
bad('NUL in a header', field(b'x', b'1', b'A: b\x00') + END)
bad('control character in a header', field(b'x', b'1', b'A: \x1b[31m') + END)
bad('boundary among headers', b'--b\r\nContent-Disposition: form-data; name="x"\r\n--b--')
bad('disposition twice', field(b'x', b'1', b'Content-Disposition: form-data; name="y"') + END)

# --- names ---


def named(ident: str, parameters: bytes, name: str) -> None:
    good(ident, part(b'form-data; ' + parameters, b'1') + END, {name: '1'})


named('name without quotes', b'name=x', 'x')
named('name with spaces around it', b'name = "x" ;', 'x')
named('empty name', b'name=""', '')
named('empty name without quotes', b'name=', '')
named('name with a semicolon', b'name="a;b=c"', 'a;b=c')
named('name in UTF-8', b'name="za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87"', 'zażółć')
named('name in ISO-8859-1', b'name="\xe9"', 'é')
named('name with an escaped quote', b'name="a\\"b"', 'a"b')
named('name with quotes that nothing escapes', b'name="a"b"c"', 'a"b"c')
named('name with a quote that nothing escapes before a space', b'name="a" b"', 'a')
named('name with an escaped backslash', b'name="a\\\\b"', 'a\\b')
named('name with %22', b'name="a%22b"', 'a"b')
named('name with other percent signs', b'name="100%25 %zz %"', '100%25 %zz %')
named('name that never closes its quote', b'name="a; b', 'a; b')
named('name with a tab', b'name="a\tb"', 'a\tb')
named('name of Python', b'name="__class__"', '__class__')
named('name with an encoded word, which is none here', b'name="=?utf-8?q?a?="', '=?utf-8?q?a?=')
named('long name', b'name="%s"' % (b'n' * 2000), 'n' * 2000)
good('no name', part(b'form-data', b'1') + X + END, {'x': '1'}, [File(None, 'text/plain', b'1')])
good('disposition of another type', part(b'attachment; name="x"', b'1') + END, {'x': '1'})
good('disposition that is empty', part(b'', b'1') + END, {}, [File(None, 'text/plain', b'1')])
good('a name many times', field(b'x', b'1') * 5 + END, {'x': ['1'] * 5})
bad('a name twice in one part', part(b'form-data; name=a; name=b', b'1') + END)

# --- file names ---


def file_named(ident: str, parameters: bytes, name: str) -> None:
    data = part(b'form-data; name="f"; ' + parameters, b'1', b'Content-Type: text/csv')
    good(ident, data + END, {'f': File(name, 'text/csv', b'1')})


file_named('file name', b'filename="a.csv"', 'a.csv')
file_named('file name without quotes', b'filename=a.csv', 'a.csv')
file_named('empty file name', b'filename=""', '')
file_named('file name with a comma', b'filename="foo, bar.csv"', 'foo, bar.csv')
file_named('file name with an escaped quote', b'filename="file\\"name.csv"', 'file"name.csv')
file_named('file name with a semicolon and a space', b'filename="file; name.csv"', 'file; name.csv')
file_named('file name that is a path', b'filename="../../etc/passwd"', '../../etc/passwd')
file_named('file name that is a path of Windows', b'filename="C:\\dir\\a.csv"', 'C:\\dir\\a.csv')
file_named('path of Windows with %22', b'filename="C:\\dir\\a%22b"', 'C:\\dir\\a"b')
file_named('file name in UTF-8', 'filename="日本語.csv"'.encode(), '日本語.csv')
file_named('file name with half a character', b'filename="\xc3.csv"', 'Ã.csv')
file_named('file name that is extended', b"filename*=UTF-8''na%C3%AFve%20file.csv", 'naïve file.csv')
file_named('extended file name beside a plain one', b'filename="x.csv"; filename*=utf-8\'pl\'%C5%82.csv', 'ł.csv')
file_named('extended file name in ISO-8859-1', b"filename*=iso-8859-1''%A3.csv", '£.csv')
file_named('extended file name with a slash', b"filename*=utf-8''..%2Fx", '../x')
for name, value in {
    'without its quotes': b'utf-8',
    'with one quote': b"utf-8'x",
    'of no charset': b"''x",
    'of an unknown charset': b"x-none''x",
    'of a codec that is no charset': b"zlib''x",
    'with a bad escape': b"utf-8''%zz",
    'that its charset cannot have': b"utf-8''%ff",
    'with a line break': b"utf-8''a%0D%0Ab",
    'with a NUL': b"utf-8''a%00",
    'not in ASCII': b"utf-8''\xc3\xa9",
}.items():
    bad(f'extended file name {name}', part(b'form-data; name="f"; filename*=' + value, b'1') + END)

# --- content ---

good('file of no bytes', part(b'form-data; name="f"; filename="a"', b'') + END, {'f': File('a', 'text/plain', b'')})
good('file of all bytes', part(b'form-data; name="f"; filename="a"', ALL_BYTES * 3) + END,
     {'f': File('a', 'text/plain', ALL_BYTES * 3)})  # fmt: skip
good('file with lines like boundaries',
     part(b'form-data; name="f"; filename="a"', b'\r\n--\r\n--a\r\n-b--\n--b\r\r\n--\r\n-') + END,
     {'f': File('a', 'text/plain', b'\r\n--\r\n--a\r\n-b--\n--b\r\r\n--\r\n-')})  # fmt: skip
good('file of 5000 bytes', part(b'form-data; name="f"; filename="a"', b'0123456789' * 500) + END,
     {'f': File('a', 'text/plain', b'0123456789' * 500)})  # fmt: skip
good('file without a name for the field', part(b'form-data; filename="a"', b'1') + END, {},
     [File('a', 'text/plain', b'1')])  # fmt: skip
good('field of 5000 bytes', field(b'x', b'0123456789' * 500) + END, {'x': '0123456789' * 500})
good('field of spaces', field(b'x', b'  \t ') + END, {'x': '  \t '})
good('field with a NUL', field(b'x', b'a\0b') + END, {'x': 'a\0b'})
good('fields and files of one name', X + part(b'form-data; name="x"; filename="a"', b'2') + X + END,
     {'x': ['1', File('a', 'text/plain', b'2'), '1']})  # fmt: skip
good('1000 parts', field(b'x', b'') * 1000 + END, {'x': [''] * 1000})
bad('1001 parts', field(b'x', b'') * 1001 + END, 413)
bad('1001 parts without headers', b'--b\r\n\r\n' * 1001 + END, 413)

# --- charsets ---

UTF16 = 'é€'.encode('utf-16')
good('field in UTF-8', field(b'x', 'é€'.encode()) + END, {'x': 'é€'})
good('field with a charset', field(b'x', b'\xe9', b'Content-Type: text/plain; charset=iso-8859-1') + END, {'x': 'é'})
good('charset in quotes and capitals', field(b'x', b'\x80', b'Content-Type: text/plain; Charset="CP1252"') + END,
     {'x': '€'})  # fmt: skip
good('field in UTF-16', field(b'x', UTF16, b'Content-Type: text/plain;charset=utf-16') + END, {'x': 'é€'})
good('charset that does not fit, where UTF-8 does',
     field(b'x', 'é'.encode(), b'Content-Type: a/b; charset=ascii') + END, {'x': 'é'})  # fmt: skip
good('field of JSON', field(b'x', b'{"a": 1}', b'Content-Type: application/json') + END, {'x': '{"a": 1}'})
good('file with a charset, which is its own business',
     part(b'form-data; name="f"; filename="a"', UTF16, b'Content-Type: text/plain; charset=none-such') + END,
     {'f': File('a', 'text/plain', UTF16)})  # fmt: skip
bad('field that is not UTF-8', field(b'x', b'\xff') + END)
bad('field in half a character', field(b'x', 'é'.encode()[:1]) + END)
bad('field of an unknown charset', field(b'x', b'1', b'Content-Type: text/plain; charset=none-such') + END, 415)
for name in (b'zlib', b'base64', b'idna', b'unicode_escape', b'undefined', b'rot13'):
    bad(f'field of {name.decode()}', field(b'x', b'1', b'Content-Type: text/plain; charset=' + name) + END, 415)
# SPEC: RFC 7578 4.6.
CHARSET = field(b'_charset_', b'iso-8859-2')
good('_charset_ first', CHARSET + field(b'x', b'\xb3') + END, {'_charset_': 'iso-8859-2', 'x': 'ł'})
good('_charset_ for names', CHARSET + field(b'\xb3', b'1') + END, {'_charset_': 'iso-8859-2', 'ł': '1'})
good('_charset_, and a part that names its own',
     CHARSET + field(b'x', b'\xe9', b'Content-Type: text/plain; charset=iso-8859-1') + END,
     {'_charset_': 'iso-8859-2', 'x': 'é'})  # fmt: skip
good('_charset_ that is no charset', field(b'_charset_', b'none-such') + field(b'x', 'é'.encode()) + END,
     {'_charset_': 'none-such', 'x': 'é'})  # fmt: skip
good('_charset_ that is empty', field(b'_charset_', b'') + X + END, {'_charset_': '', 'x': '1'})
good('_charset_ that is long', field(b'_charset_', b'utf-8' * 300) + X + END, {'_charset_': 'utf-8' * 300, 'x': '1'})
good('_charset_ of a file', part(b'form-data; name="_charset_"; filename="a"', b'utf-16') + X + END,
     {'_charset_': File('a', 'text/plain', b'utf-16'), 'x': '1'})  # fmt: skip
good('two of _charset_', CHARSET + field(b'_charset_', b'utf-8') + field(b'x', 'é'.encode()) + END,
     {'_charset_': ['iso-8859-2', 'utf-8'], 'x': 'é'})  # fmt: skip
bad('_charset_ too late', field(b'x', b'\xb3') + CHARSET + END)

# --- parts of parts ---

INNER = b'--i\r\nContent-Disposition: file; filename="1.txt"\r\n\r\none\r\n--i\r\n\r\ntwo\r\n--i--'
OF_I = b'Content-Type: multipart/mixed; boundary=i'
ONE_TWO = [File('1.txt', 'text/plain', b'one'), File(None, 'text/plain', b'two')]
good('files in a multipart/mixed part', field(b'g', INNER, OF_I) + X + END,
     {'g': Group('multipart/mixed', ONE_TWO), 'x': '1'})  # fmt: skip
good('parts of parts with a preamble and an epilogue', field(b'g', b'pre\r\n' + INNER + b'\r\npost', OF_I) + END,
     {'g': Group('multipart/mixed', ONE_TWO)})  # fmt: skip
good('no parts in a part', field(b'g', b'', OF_I) + END, {'g': Group('multipart/mixed', [])})
good('a form in a form',
     field(b'g', INNER.replace(b'file; file', b'form-data; name="f"; file'), OF_I.replace(b'mixed', b'form-data'))
     + END, {'g': Group('multipart/form-data', [ONE_TWO[1]], {'f': ONE_TWO[0]})})  # fmt: skip
good('a file that is multipart, which is not looked into',
     part(b'form-data; name="f"; filename="a"', INNER, OF_I) + END,
     {'f': File('a', 'multipart/mixed', INNER)})  # fmt: skip
bad('parts of parts without an end', field(b'g', b'--i\r\n\r\none', OF_I) + END)
bad('parts of parts without a boundary', field(b'g', INNER, b'Content-Type: multipart/mixed') + END)
bad('the outer end inside the inner part', field(b'g', b'--i\r\n\r\none\r\n--b--\r\n--i--', OF_I) + END)
NESTED = b'\r\n\r\nx\r\n'
for number in range(6):
    NESTED = b'\r\nContent-Type: multipart/mixed; boundary=n%d\r\n\r\n--n%d%s--n%d--\r\n' % (
        number, number, NESTED, number,
    )  # fmt: skip
bad('parts of parts of parts of parts of parts of parts', b'--b' + NESTED + END)

# --- other multipart types ---

good('mixed', part(None, b'one') + part(None, b'two') + END, {'parts': ['one', 'two']},
     [File(None, 'text/plain', b'one'), File(None, 'text/plain', b'two')], MIXED)  # fmt: skip
good('mixed, one part', part(None, b'one') + END, {'parts': 'one'}, [File(None, 'text/plain', b'one')], MIXED)
good('mixed with names', field(b'x', b'1') + part(b'attachment; filename="a"', b'2') + END,
     {'x': '1', 'parts': File('a', 'text/plain', b'2')},
     [File(None, 'text/plain', b'1'), File('a', 'text/plain', b'2')], MIXED)  # fmt: skip
good('related', part(None, b'{}', b'Content-Type: application/json', b'Content-ID: <1>') + END, {'parts': '{}'},
     [File(None, 'application/json', b'{}')], 'multipart/related; type="application/json"; boundary=b')  # fmt: skip
bad('mixed without an end', part(None, b'one'), kind=MIXED)
