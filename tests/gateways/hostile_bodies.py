"""Requests made to cost their server more than their client: what is sent, and what may come back.

`application` is what they are sent to, under `/plain` with plain page handlers and under `/later` with async ones.
Used by test_hostile_bodies.py, by the servers that starts, and by the benchmark.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import cpadapter

__all__ = ['CASES', 'Case', 'application', 'make_root']

MEGABYTE = 1 << 20
FORM = {'Content-Type': 'application/x-www-form-urlencoded'}
MULTIPART = {'Content-Type': 'multipart/form-data; boundary=b'}
JSON = {'Content-Type': 'application/json'}
START = b'--b\r\nContent-Disposition: form-data; name="a"\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
END = b'\r\n--b--\r\n'


class Case(NamedTuple):
    """One request.

    path: below /plain or /later. body: makes the bytes; None for GET. statuses: what answers it right.
    in_head: it is the head that is hostile, which servers bound before the application sees it.
    piece: bytes that arrive at once.
    """

    ident: str
    path: str
    headers: dict[str, str]
    body: Callable[[], bytes] | None
    statuses: tuple[int, ...]
    in_head: bool = False
    piece: int = 65536


CASES: list[Case] = []


def post(ident: str, headers: dict[str, str], body: Callable[[], bytes], *statuses: int, **more: Any) -> None:
    CASES.append(Case(ident, more.pop('path', '/form'), headers, body, statuses, **more))


def get(ident: str, headers: dict[str, str], *statuses: int, **more: Any) -> None:
    CASES.append(Case(ident, more.pop('path', '/form'), headers, None, statuses, in_head=True))


# --- multipart ---

post('30000 parts', MULTIPART, lambda: (START + b'\r\n') * 30_000 + END[2:], 413)
post('30000 parts without headers', MULTIPART, lambda: b'--b\r\n\r\n' * 30_000 + END[2:], 413)
post('100000 empty files', MULTIPART, lambda: (FILE + b'\r\n') * 100_000 + END[2:], 413)
post('a header line of 1 MB', MULTIPART, lambda: START + b'A: ' + b'x' * MEGABYTE + b'\r\n\r\n' + END, 413)
post('1 MB of header lines', MULTIPART, lambda: START + b'A: b\r\n' * (MEGABYTE // 6) + b'\r\n' + END, 413)
post('1 MB of folded header lines', MULTIPART, lambda: START + b' b\r\n' * (MEGABYTE // 4) + b'\r\n' + END, 413)
post('headers without end, byte by byte', MULTIPART, lambda: START + b'A' * 9000, 413, piece=1)
post('a field of 10 MB', MULTIPART, lambda: START + b'\r\n' + b'x' * 10 * MEGABYTE + END, 413)
post('a name of 8 kB of quotes', MULTIPART, lambda: START[:-3] + b'"' * 8000 + b'\r\n\r\n' + END, 200, 400)
post('a name of 8 kB of backslashes', MULTIPART, lambda: START[:-3] + b'\\' * 8000 + b'\r\n\r\n' + END, 200, 400)
post('a file of 10 MB of line breaks', MULTIPART, lambda: FILE + b'\r\n' * 5 * MEGABYTE + END, 200)
post('a file of 10 MB of almost boundaries', MULTIPART, lambda: FILE + b'\r\n--a' * 2 * MEGABYTE + END, 200)
post('10 MB before the first boundary', MULTIPART, lambda: b'\r\n--' * 5 * (MEGABYTE // 2) + b'x', 400)
post('10 MB behind the last boundary', MULTIPART, lambda: FILE + END + b'--b\r\n' * 2 * MEGABYTE, 200)
post('no end', MULTIPART, lambda: FILE + b'x' * MEGABYTE, 400)
post('spaces behind a boundary', MULTIPART, lambda: b'--b' + b' ' * MEGABYTE, 400)
post('a boundary of 10 MB', {'Content-Type': 'multipart/form-data; boundary=' + 'b' * 10 * MEGABYTE}, lambda: FILE, 400,
     in_head=True)  # fmt: skip
post('10000 parameters of the type', {'Content-Type': 'multipart/form-data' + '; a="b' * 10_000}, lambda: FILE, 400,
     in_head=True)  # fmt: skip


def nested() -> bytes:
    data = b'\r\n\r\nx\r\n'
    for number in range(3000):
        data = b'\r\nContent-Type: multipart/mixed; boundary=n%d\r\n\r\n--n%d%s' % (number, number, data)
    return b'--b' + data


post('3000 multipart bodies in each other', MULTIPART, nested, 400)

# --- urlencoded ---

post('300000 fields', FORM, lambda: b'a=1&' * 300_000, 413)
post('300000 names', FORM, lambda: b'&'.join(b'%x=' % number for number in range(300_000)), 413)
post('1 MB of &', FORM, lambda: b'&' * MEGABYTE, 413)
post('10000 fields', FORM, lambda: b'&'.join([b'a'] * 10_000), 200)
post('10 MB of percent signs', FORM, lambda: b'a=' + b'%' * 10 * MEGABYTE, 413)
post('1 MB of percent signs', FORM, lambda: b'a=' + b'%' * (MEGABYTE - 2), 200)
post('1 MB of escapes', FORM, lambda: b'a=' + b'%41' * (MEGABYTE // 3 - 2), 200)
for charset in ('zlib', 'idna', 'punycode', 'unicode_escape', 'x' * 5000):
    kind = f'{FORM["Content-Type"]}; charset={charset}'
    post(f'charset {charset[:20]}', {'Content-Type': kind}, lambda: b'a=' + b'x' * 100_000, 400, 415)
post('charset utf-16 on odd bytes', {'Content-Type': FORM['Content-Type'] + '; charset=utf-16'},
     lambda: b'a=%D8%D8%D8' * 10_000, 400)  # fmt: skip
post('bytes that are not UTF-8', FORM, lambda: b'a=' + b'\xff' * 500_000, 400)

# --- JSON ---

post('200000 open lists', JSON, lambda: b'[' * 200_000, 400, path='/json')
post('200000 lists in each other', JSON, lambda: b'[' * 200_000 + b']' * 200_000, 400, path='/json')
post('200000 open objects', JSON, lambda: b'{"a":' * 200_000, 400, path='/json')
post('1000 lists in each other, in short', JSON, lambda: b'[' * 30_000, 400, path='/json')
post('a number of 100000 digits', JSON, lambda: b'9' * 100_000, 400, path='/json')
post('an exponent of 100000 digits', JSON, lambda: b'1e' + b'9' * 100_000, 200, 400, path='/json')
post('NaN', JSON, lambda: b'[NaN, Infinity, -Infinity]', 400, path='/json')
post('100000 equal keys', JSON, lambda: b'{' + b'"a":1,' * 100_000 + b'"a":2}', 200, path='/json')
post('a lone surrogate', JSON, lambda: b'"\\ud800"', 200, path='/json')
post('UTF-16', JSON, lambda: '"a"'.encode('utf-16'), 400, path='/json')
post('1 MB of open text', JSON, lambda: b'"' + b'\\"' * (MEGABYTE // 2), 400, path='/json')
post('1 MB of spaces', JSON, lambda: b' ' * MEGABYTE, 400, path='/json')

# --- how it arrives ---

post('100000 pieces of a byte', FORM, lambda: b'a=' + b'x' * 100_000, 200, piece=1)
post('100000 pieces of a byte, of a file', MULTIPART, lambda: FILE + b'\r\n' * 50_000 + END, 200, piece=1)
post('100000 pieces of a byte, unread', {'Content-Type': 'x/y'}, lambda: b'x' * 100_000, 200, piece=1)
post('10 MB in one piece', MULTIPART, lambda: FILE + b'x' * 10 * MEGABYTE + END, 200, piece=20 * MEGABYTE)
post('10 MB in one piece, by lines', {'Content-Type': 'x/y'}, lambda: (b'x' * 99 + b'\n') * 100_000, 200,
     path='/lines', piece=20 * MEGABYTE)  # fmt: skip

# --- the head ---

get('100000 cookies', {'Cookie': '; '.join(f'c{number}=1' for number in range(100_000))}, 200, path='/cookies')
get('a cookie of backslashes', {'Cookie': 'a="' + '\\' * 200_000 + '"'}, 200, path='/cookies')
get('a cookie of escapes', {'Cookie': 'a="' + '\\101' * 50_000 + '"'}, 200, path='/cookies')
get('50000 ranges', {'Range': 'bytes=' + '0-,' * 50_000}, 200, path='/file')
get('50000 ranges of a byte', {'Range': 'bytes=' + ','.join(f'{n}-{n}' for n in range(50_000))}, 200, path='/file')
get('a range of 100000 digits', {'Range': 'bytes=0-' + '9' * 100_000}, 206, path='/file')
get('50000 media types', {'Accept': 'a/b;q=0.5,' * 50_000}, 400, 406, path='/accept')
get('50000 codings', {'Accept-Encoding': 'x;q=0.5,' * 50_000}, 200, 400, path='/zipped')
get('50000 charsets', {'Accept-Charset': 'x;q=0.5,' * 50_000}, 400, path='/form')
get('50000 entity tags', {'If-None-Match': '"a", ' * 50_000}, 200, 400, path='/tagged')
get('a date of 100000 characters', {'If-Modified-Since': 'Mon, ' * 20_000}, 200, path='/file')
get('a query of 1 MB', {}, 200, path='/form?a=' + 'x' * MEGABYTE)
get('a query of 1 MB of fields', {}, 400, 404, 413, 414, path='/form?' + 'a=1&' * (MEGABYTE // 4))
get('a query of 1 MB of percent signs', {}, 200, path='/form?a=' + '%' * MEGABYTE)
get('a query of 1 MB of escapes', {}, 200, path='/form?a=' + '%41' * (MEGABYTE // 3))
get('a query of 1 MB that is not UTF-8', {}, 404, path='/form?a=' + '%ff' * (MEGABYTE // 3))


def make_pages(paint: Callable[[Any], Any]) -> Any:
    """Give the pages; `paint` makes a function async, or leaves it."""

    class Pages:
        @cpadapter.expose
        @paint
        def form(self, **kwargs):
            return str(len(kwargs))

        @cpadapter.expose
        @cpadapter.tools.json_in()
        @paint
        def json(self):
            return type(cpadapter.request.json).__name__

        @cpadapter.expose
        @paint
        def cookies(self):
            return str(len(cpadapter.request.cookie))

        @cpadapter.expose
        @paint
        def file(self):
            return cpadapter.lib.static.serve_file(os.path.abspath(__file__), 'text/plain')

        @cpadapter.expose
        @cpadapter.tools.accept(media=['text/plain'])
        @paint
        def accept(self):
            return 'accepted'

        @cpadapter.expose
        @cpadapter.tools.gzip()
        @paint
        def zipped(self):
            return 'zipped'

        @cpadapter.expose
        @cpadapter.tools.etags(autotags=True)
        @paint
        def tagged(self):
            return 'tagged'

    return Pages()


class PlainPages:
    @cpadapter.expose
    def lines(self):
        return str(sum(1 for _ in iter(cpadapter.request.body.readline, b'')))


class LaterPages:
    @cpadapter.expose
    async def lines(self):
        count = 0
        while await cpadapter.request.body.areadline():
            count += 1
        return str(count)


def make_root() -> Any:
    """Give the object tree."""

    def plain(function):
        return function

    def later(function):
        async def page(*args, **kwargs):
            return function(*args, **kwargs)

        return page

    class Root:
        @cpadapter.expose
        def index(self):
            return 'well'

    root: Any = Root()
    root.plain, root.later = make_pages(plain), make_pages(later)
    root.plain.lines, root.later.lines = PlainPages().lines, LaterPages().lines
    return root


application = cpadapter.Application(make_root())
