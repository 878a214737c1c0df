"""Cases of Spec C 2.3 and 2.4: static files, `encode`, `gzip`, `etags`, and each of their arguments."""

# What opens files here is the packages' to close.
# ruff: noqa: SIM115

from __future__ import annotations

import atexit
import io
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .acts import MOUNTS
from .table import act, case, expression, read

# Each package answers in a process of its own, which has its own folder with the same files.
_FOLDER = tempfile.TemporaryDirectory(prefix='parity-static')
atexit.register(_FOLDER.cleanup)
_TOP = Path(_FOLDER.name) / 'st'
_THEN = 784111777
_SHOWN = ('Accept-Ranges', 'Content-Range', 'Content-Disposition', 'Content-Encoding')
TEXT = 'gr\xfcn und blau ' * 20


def make_files() -> Path:
    """Write the files to be served, once, and give their folder."""
    if not _TOP.exists():
        (_TOP / 'sub').mkdir(parents=True)
        for name, text in {
            'a.txt': '0123456789',
            'page.html': '<p>page</p>',
            'index.html': '<p>index</p>',
            'sub/index.html': '<p>sub</p>',
            'sub/b.css': 'p {}',
            'a b.txt': 'blank',
            'gr\xfcn.txt': 'green',
            'nothing.txt': '',
            'own.xyz': 'own',
            'nosuch-type.qqq': 'unknown',
            'archive.gz': 'not really',
            'UPPER.TXT': 'upper',
            'large.bin': '0123456789abcdef' * 10_000,
        }.items():
            path = _TOP / name
            path.write_text(text, encoding='utf-8')
            os.utime(path, (_THEN, _THEN))
    return _TOP


def file(name: str) -> str:
    return str(make_files() / name)


# --- staticdir ------------------------------------------------------------------------------------------------


def static_root(cp: Any) -> Any:
    top = make_files()

    class Root:
        @cp.expose
        def default(self, *args: str) -> str:
            return 'page handler of ' + '/'.join(args)

    def staticdir(**settings: Any) -> dict[str, Any]:
        return {'tools.staticdir.on': True, **{f'tools.staticdir.{key}': value for key, value in settings.items()}}

    def staticfile(**settings: Any) -> dict[str, Any]:
        return {'tools.staticfile.on': True, **{f'tools.staticfile.{key}': value for key, value in settings.items()}}

    config = {
        '/d': staticdir(dir=str(top)),
        '/index': staticdir(dir=str(top), index='index.html'),
        '/root': staticdir(dir='sub', root=str(top)),
        '/no-root': staticdir(dir='sub'),
        '/no-dir': {'tools.staticdir.on': True},
        '/match': staticdir(dir=str(top), match=r'\.(txt|css)$'),
        '/types': staticdir(dir=str(top), content_types={'xyz': 'text/x-own', 'txt': 'text/x-other'}),
        '/section': staticdir(dir=str(top), section='/section/deeper'),
        '/debug': staticdir(dir=str(top), debug=True),
        '/off': staticdir(dir=str(top), on=False),
        '/index-missing': staticdir(dir=str(top), index='nosuch.html'),
        '/priority': staticdir(dir=str(top), priority=10),
        '/f': staticfile(filename=str(top / 'a.txt')),
        '/f-root': staticfile(filename='a.txt', root=str(top)),
        '/f-no-root': staticfile(filename='a.txt'),
        '/f-match': staticfile(filename=str(top / 'a.txt'), match='yes'),
        '/f-types': staticfile(filename=str(top / 'own.xyz'), content_types={'xyz': 'text/x-own'}),
        '/f-missing': staticfile(filename=str(top / 'nosuch')),
        '/f-folder': staticfile(filename=str(top / 'sub')),
        '/f-debug': staticfile(filename=str(top / 'a.txt'), debug=True),
    }
    return Root(), config, lambda app: None


MOUNTS['/files'] = static_root


def static(ident: str, path: str, **more: Any) -> None:
    case(f'C2.3-{ident}', f'/files{path}', variant='acts', show=_SHOWN, **more)


for name in (
    *('a.txt', 'page.html', 'sub/b.css', 'a b.txt', 'gr\xfcn.txt', 'nothing.txt', 'archive.gz', 'UPPER.TXT'),
    *('nosuch.txt', 'sub', 'sub/', '', 'sub/../a.txt', './a.txt', 'sub//b.css', 'own.xyz', 'x' * 400),
):
    static(f'dir-{name[:20]}', f'/d/{name}')
    static(f'dir-head-{name[:20]}', f'/d/{name}', method='HEAD')
static('dir-large', '/d/large.bin')
static('dir-unknown-type', '/d/nosuch-type.qqq')
static('dir-slash-after-a-file', '/d/a.txt/')
for method in ('POST', 'PUT', 'DELETE', 'OPTIONS'):
    static(f'dir-{method}', '/d/a.txt', method=method, body=b'' if method in ('POST', 'PUT') else None)
for path in ('', '/', '/sub', '/sub/', '/a.txt', '/nosuch/'):
    static(f'index{path}', f'/index{path}')
static('index-query', '/index', query='a=1&b=2')
static('index-missing', '/index-missing/')
static('root', '/root/b.css')
for ident in ('no-root', 'no-dir'):
    static(ident, f'/{ident}/b.css')
for name in ('a.txt', 'sub/b.css', 'page.html'):
    static(f'match-{name}', f'/match/{name}')
for name in ('own.xyz', 'a.txt', 'page.html', 'UPPER.TXT'):
    static(f'types-{name}', f'/types/{name}')
static('debug', '/debug/a.txt')
static('off', '/off/a.txt')
static('priority', '/priority/a.txt')
static('section', '/section/deeper/a.txt')

# --- staticfile -----------------------------------------------------------------------------------------------

for ident, path in {
    'file': '/f',
    'file-below': '/f/extra/path',
    'file-root': '/f-root',
    'file-no-root': '/f-no-root',
    'file-match': '/f-match/yes',
    'file-no-match': '/f-match/no',
    'file-types': '/f-types',
    'file-missing': '/f-missing',
    'file-folder': '/f-folder',
    'file-debug': '/f-debug',
}.items():
    static(ident, path)
static('file-post', '/f', method='POST', body=b'')

# --- ranges and conditions ------------------------------------------------------------------------------------

for value in (
    *('bytes=0-3', 'bytes=2-', 'bytes=-3', 'bytes=-30', 'bytes=0-99', 'bytes=10-', 'bytes=20-30', 'bytes=5-2'),
    *('bytes=-', 'bytes=0-0,20-', 'bytes=9-9', 'bytes=0-9'),
    # Where they differ: what makes no sense is ignored, or cannot be satisfied.
    *('bytes=abc', 'abc', 'bytes=', 'items=0-1', 'bytes=-0', 'bytes=--1'),
):
    static(f'range-{value}', '/d/a.txt', headers={'Range': value})
static('range-1.0', '/d/a.txt', headers={'Range': 'bytes=0-3'}, environ={'SERVER_PROTOCOL': 'HTTP/1.0'})
static('range-large', '/d/large.bin', headers={'Range': 'bytes=1-90000'})
static('range-parts', '/d/a.txt', headers={'Range': 'bytes=0-1,4-5'}, ignore=('body', 'content-length', 'content-type'))

DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
LATER = 'Mon, 07 Nov 1994 08:49:37 GMT'
EARLIER = 'Sat, 05 Nov 1994 08:49:37 GMT'
for field in ('If-Modified-Since', 'If-Unmodified-Since'):
    for ident, when in {'same': DATE, 'earlier': EARLIER, 'later': LATER, 'none': 'no date'}.items():
        static(f'{field}-{ident}', '/d/a.txt', headers={field: when})
        static(f'{field}-{ident}-head', '/d/a.txt', headers={field: when}, method='HEAD')

# --- serve_file and its kin -----------------------------------------------------------------------------------


def act_of(ident: str, function: Any, config: Any = None, **more: Any) -> None:
    act(f'C2.3-{ident}', function, config, show=_SHOWN, **more)


act_of('serve-file', lambda cp: cp.lib.static.serve_file(file('a.txt')))
act_of('serve-file-type', lambda cp: cp.lib.static.serve_file(file('a.txt'), 'text/x-own'))
act_of('serve-file-disposition', lambda cp: cp.lib.static.serve_file(file('a.txt'), None, 'attachment'))
act_of('serve-file-name', lambda cp: cp.lib.static.serve_file(file('a.txt'), None, 'inline', 'other name.txt'))
act_of(
    'serve-file-wide', lambda cp: cp.lib.static.serve_file(file('a.txt'), disposition='attachment', name='a\u2603.txt')
)
act_of('serve-file-debug', lambda cp: cp.lib.static.serve_file(file('a.txt'), debug=True))
act_of('serve-file-relative', lambda cp: cp.lib.static.serve_file('a.txt'))
act_of('serve-file-missing', lambda cp: cp.lib.static.serve_file(file('nosuch')))
act_of('serve-file-folder', lambda cp: cp.lib.static.serve_file(file('sub')))
act_of('serve-file-nul', lambda cp: cp.lib.static.serve_file(file('a') + '\0'))
act_of('serve-download', lambda cp: cp.lib.static.serve_download(file('a.txt')))
act_of('serve-download-name', lambda cp: cp.lib.static.serve_download(file('a.txt'), 'b.txt'))
act_of('serve-fileobj', lambda cp: cp.lib.static.serve_fileobj(open(file('a.txt'), 'rb')))
act_of(
    'serve-fileobj-all',
    lambda cp: cp.lib.static.serve_fileobj(open(file('a.txt'), 'rb'), 'text/x-own', 'attachment', 'n.txt', True),
)
act_of('serve-fileobj-no-name', lambda cp: cp.lib.static.serve_fileobj(open(file('a.txt'), 'rb'), None, 'attachment'))
act_of('serve-bytes', lambda cp: cp.lib.static.serve_fileobj(io.BytesIO(b'0123456789')))
act_of(
    'serve-bytes-range', lambda cp: cp.lib.static.serve_fileobj(io.BytesIO(b'012345')), headers={'Range': 'bytes=1-2'}
)
act_of('returned-file', lambda cp: open(file('a.txt'), 'rb'))
act_of('returned-large-file', lambda cp: open(file('large.bin'), 'rb'))
act_of('returned-large-file-head', lambda cp: open(file('large.bin'), 'rb'), method='HEAD')
act_of('returned-bytes-file', lambda cp: io.BytesIO(b'0123456789'))
act_of('returned-text-file', lambda cp: open(file('gr\xfcn.txt'), encoding='utf-8'))


def from_here(cp: Any) -> Any:
    opened = open(file('a.txt'), 'rb')
    opened.read(4)
    return opened


act_of('returned-file-read-from', from_here)

# --- encode ---------------------------------------------------------------------------------------------------

ENCODE = {
    'plain': {},
    'encoding': {'encoding': 'latin-1'},
    'encoding-upper': {'encoding': 'UTF-8'},
    'encoding-fails': {'encoding': 'us-ascii'},
    'default': {'default_encoding': 'latin-1'},
    'default-fails': {'default_encoding': 'us-ascii'},
    'errors': {'default_encoding': 'us-ascii', 'errors': 'replace'},
    'failmsg': {'default_encoding': 'us-ascii', 'failmsg': 'It is not %r.'},
    'no-charset': {'add_charset': False},
    'debug': {'debug': True},
    'off': {'on': False},
    'not-text-only': {'text_only': False},
}
FIELDS = {
    '': None,
    '-utf-8': 'utf-8',
    '-latin-1': 'iso-8859-1',
    '-weights': 'us-ascii, iso-8859-1;q=0.5',
    '-any': '*',
    '-utf-16': 'utf-16;q=0.9, *;q=0',
}
for ident, settings in ENCODE.items():
    config = {'tools.encode.on': True, **{f'tools.encode.{key}': value for key, value in settings.items()}}
    for suffix, field in FIELDS.items():
        headers = {} if field is None else {'Accept-Charset': field}
        act(f'C2.4-encode-{ident}{suffix}', lambda cp: 'gr\xfcn', config, headers=headers)


def chunks(cp: Any) -> Iterator[Any]:
    yield 'gr\xfcn '
    yield b'bytes '
    yield 'blau'


def as_json(cp: Any) -> Any:
    cp.response.headers['Content-Type'] = 'application/json'
    return b'{}'


ON = {'tools.encode.on': True}
act('C2.4-encode-generator', chunks, ON)
act('C2.4-encode-stream', chunks, {**ON, 'response.stream': True})
act('C2.4-encode-list', lambda cp: ['gr\xfcn', b'x'], ON)
act('C2.4-encode-none', lambda cp: None, ON)
act('C2.4-encode-empty', lambda cp: '', ON)
act('C2.4-encode-json', as_json, ON)
act('C2.4-encode-json-not-text-only', as_json, {**ON, 'tools.encode.text_only': False})

for ident, function in {
    'prepare-text': lambda e: e.prepare_iter('a'),
    'prepare-bytes': lambda e: e.prepare_iter(b'a'),
    'prepare-none': lambda e: e.prepare_iter(None),
    'prepare-empty': lambda e: e.prepare_iter(''),
    'prepare-list': lambda e: e.prepare_iter(['a']),
    'prepare-file': lambda e: list(e.prepare_iter(io.BytesIO(b'a' * 70_000)))[1:] == [b'a' * (70_000 - 65_536)],
    'utf-8-stream': lambda e: list(e.UTF8StreamEncoder(iter(['gr\xfcn', b'x']))),
    'compressed': lambda e: e.decompress(b''.join(e.compress([b'a', b'b' * 100_000], 5))) == b'a' + b'b' * 100_000,
    'encoder-defaults': lambda e: [
        getattr(e.ResponseEncoder, name)
        for name in ('default_encoding', 'failmsg', 'encoding', 'errors', 'text_only', 'add_charset', 'debug')
    ],
}.items():
    expression(f'C2.4-{ident}', lambda cp, function=function: function(cp.lib.encoding))

# --- gzip -----------------------------------------------------------------------------------------------------

PACKED = {'ignore': ('body', 'content-length'), 'show': (*_SHOWN, 'Vary')}
GZIP = {
    'plain': {},
    'level-0': {'compress_level': 0},
    'level-1': {'compress_level': 1},
    'level-9': {'compress_level': 9},
    'types': {'mime_types': ['application/json']},
    'types-pattern': {'mime_types': ['text/*']},
    'types-suffix': {'mime_types': ['application/*+xml']},
    'debug': {'debug': True},
    'off': {'on': False},
    'priority': {'priority': 60},
}
for ident, settings in GZIP.items():
    config = {'tools.gzip.on': True, **{f'tools.gzip.{key}': value for key, value in settings.items()}}
    act(f'C1.3-gzip-{ident}', lambda cp: TEXT, config, headers={'Accept-Encoding': 'gzip'}, **PACKED)
for field in (
    'gzip',
    'x-gzip',
    'gzip, deflate',
    'gzip;q=0',
    'identity',
    'identity, gzip;q=0.5',
    'gzip;q=0.5, br;q=1',
    '',
):
    act(
        f'C1.3-gzip-for-{field}', lambda cp: TEXT, {'tools.gzip.on': True}, headers={'Accept-Encoding': field}, **PACKED
    )
# Where they differ: what is not listed, and what is refused.
for field in ('br', 'deflate', '*', 'identity;q=0', '*;q=0', 'gzip;q=0, identity;q=0'):
    act(
        f'C1.3-gzip-for-{field}', lambda cp: TEXT, {'tools.gzip.on': True}, headers={'Accept-Encoding': field}, **PACKED
    )
for ident, function in {
    'none': lambda cp: None,
    'file': lambda cp: cp.lib.static.serve_file(file('a.txt')),
    'generator': chunks,
    'error': lambda cp: (_ for _ in ()).throw(cp.HTTPError(404, 'gone')),
    'redirect': lambda cp: (_ for _ in ()).throw(cp.HTTPRedirect('/x')),
}.items():
    act(f'C1.3-gzip-of-{ident}', function, {'tools.gzip.on': True}, headers={'Accept-Encoding': 'gzip'}, **PACKED)
act('C1.3-gzip-without-field', lambda cp: TEXT, {'tools.gzip.on': True}, show=('Vary',))
act(
    'C1.3-gzip-head',
    lambda cp: TEXT,
    {'tools.gzip.on': True},
    method='HEAD',
    headers={'Accept-Encoding': 'gzip'},
    **PACKED,
)


def varied(cp: Any) -> str:
    cp.response.headers['Vary'] = 'Accept-Language, accept-encoding'
    return TEXT


act('C1.3-gzip-vary-once', varied, {'tools.gzip.on': True}, headers={'Accept-Encoding': 'gzip'}, **PACKED)

# --- etags ----------------------------------------------------------------------------------------------------


def tagged(cp: Any) -> str:
    cp.response.headers['ETag'] = '"t"'
    return 'tagged'


ETAGS = {'tools.etags.on': True}
AUTO = {**ETAGS, 'tools.etags.autotags': True}
act('C1.3-etags-auto', lambda cp: 'page', AUTO, show=('ETag',))
act('C1.3-etags-no-auto', lambda cp: 'page', ETAGS, show=('ETag',))
act('C1.3-etags-debug', lambda cp: 'page', {**AUTO, 'tools.etags.debug': True}, show=('ETag',))
act('C1.3-etags-auto-empty', lambda cp: '', AUTO, show=('ETag',))
for method in ('GET', 'HEAD', 'POST'):
    for field in ('If-Match', 'If-None-Match'):
        for value in ('"t"', '"u"', '"u", "t"', '*'):
            act(
                f'C1.3-etags-{method}-{field}-{value}',
                tagged,
                ETAGS,
                method=method,
                body=b'' if method == 'POST' else None,
                headers={field: value},
                show=('ETag',),
            )


def modified(cp: Any) -> str:
    cp.response.headers['Last-Modified'] = DATE
    cp.lib.cptools.validate_since()
    return 'modified'


for method in ('GET', 'POST'):
    for field in ('If-Modified-Since', 'If-Unmodified-Since'):
        act(
            f'C2.3-validate-since-{method}-{field}',
            modified,
            method=method,
            body=b'' if method == 'POST' else None,
            headers={field: DATE},
        )

# --- lib ------------------------------------------------------------------------------------------------------

expression('B6.3-file-generator-called', lambda cp: list(cp.lib.file_generator(io.BytesIO(b'abcdef'), 4)))
expression('B6.3-file-generator-limited', lambda cp: list(cp.lib.file_generator_limited(io.BytesIO(b'abcdef'), 5, 2)))
for ident, thing in {'generator': (x for x in ()), 'list': [], 'iterator': iter([]), 'file': io.BytesIO()}.items():
    expression(f'B6.3-is-iterator-{ident}', lambda cp, thing=thing: cp.lib.is_iterator(thing))
    expression(f'B6.3-is-closable-{ident}', lambda cp, thing=thing: cp.lib.is_closable_iterator(thing))


def varies(cp: Any) -> Any:
    for name in ('A', 'B', 'a', 'B'):
        cp.lib.set_vary_header(cp.response, name)
    return re.sub(', ', '|', cp.response.headers['Vary'])


read('B6.3-set-vary', varies)
