"""Files as responses: serve_file and its kin for page handlers, and the tools `staticdir` and `staticfile`.

What is sent is what was opened: length, validators and bytes are those of one open file. How a body gets to the
client is the gateways' business.
"""

from __future__ import annotations

import io
import os
import re
import stat
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError, InternalRedirect, NotFound
from ..extension.tools import BadSetting, HandlerTool, MissingSetting
from ..protocol.codings import choose_coding
from ..protocol.dates import HTTPDate
from ..protocol.files import CHUNK, FileBody, PartsBody
from ..protocol.headers import BadHeaderValue
from ..protocol.iterators import file_generator
from ..protocol.ranges import get_ranges, merge_ranges
from . import checks, field_getter, request_field, set_vary_header
from .checks import checked, optional
from .cptools import log_debug, trailing_slash, validate_etags, validate_since
from .disk import NOFOLLOW, OpenFile, find_inside, open_file

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'StaticTool',
    'content_disposition',
    'content_type_of',
    'serve_download',
    'serve_file',
    'serve_fileobj',
    'staticdir',
    'staticfile',
]

_set_raw = dict.__setitem__

# Content codings -> extensions of the files that hold them, in the order of preference.
_SIBLINGS = {'br': '.br', 'zstd': '.zst', 'gzip': '.gz'}

# COMPAT: CherryPy's own types, in place of those that systems know by other names; any other one is the user's.
_TYPES = {
    '.dwg': ('image/x-dwg', ('image/vnd.dwg', 'application/acad')),
    '.ico': ('image/x-icon', ('image/vnd.microsoft.icon',)),
    '.bz2': ('application/x-bzip2', ('application/x-bzip', 'application/bzip2')),
    '.gz': ('application/x-gzip', ('application/gzip',)),
}

# The module of that name, once it is needed.
_mimetypes: Any = None


def content_type_of(name: str) -> str:
    """Give the media type for a file name by its last extension, 'application/octet-stream' if it is not known.

    The types are those of `mimetypes.types_map`, which an application may extend.
    """
    return _type_of(os.path.splitext(name)[1].lower())


def _type_of(extension: str) -> str:
    global _mimetypes
    if _mimetypes is None:
        import mimetypes

        _mimetypes = mimetypes
    if not _mimetypes.inited:
        _mimetypes.init()
    known: str | None = _mimetypes.types_map.get(extension)
    ours = _TYPES.get(extension)
    if ours is not None and (known is None or known in ours[1]):
        return ours[0]
    return known or 'application/octet-stream'


def content_disposition(disposition: str, name: str | None) -> str:
    """Give the value of Content-Disposition: `attachment; filename="plan.txt"`, with filename* if it takes more.

    SPEC: RFC 6266 4.3 and RFC 8187 3.2.
    """
    if name is None:
        return disposition
    name = ''.join([char for char in name if char.isprintable()])
    if name.isascii():
        plain = name
    else:
        import unicodedata

        plain = unicodedata.normalize('NFKC', name).encode('ascii', 'ignore').decode()
    escaped = plain.replace('\\', '\\\\').replace('"', '\\"')
    value = f'{disposition}; filename="{escaped}"'
    if plain != name:
        from urllib.parse import quote

        value += f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return value


# --- for page handlers ----------------------------------------------------------------------------------------


def serve_file(
    path: str,
    content_type: str | None = None,
    disposition: str | None = None,
    name: str | None = None,
    debug: bool = False,
) -> Any:
    """Make the file at `path` the response, and give its body; to be returned by a page handler.

    path: absolute. content_type: None goes by the extension. disposition: Content-Disposition, such as
    'attachment', with `name` (None: the file's own) as file name.
    Sets Last-Modified and ETag, answers conditional requests and ranges. Raises ValueError for a relative path,
    NotFound for what is no file, HTTPError(403) for one that may not be read.
    """
    if not os.path.isabs(path):
        raise ValueError(f'{path!r} is not an absolute path.')
    return _serve(path, content_type or None, disposition, name, debug)


def serve_download(path: str, name: str | None = None) -> Any:
    """Do what serve_file does, as an attachment that browsers store under `name`."""
    return serve_file(path, 'application/x-download', 'attachment', name)


def serve_fileobj(
    fileobj: Any,
    content_type: str | None = None,
    disposition: str | None = None,
    name: str | None = None,
    debug: bool = False,
) -> Any:
    """Make what is left to read of a binary file the response, and give its body; the file is closed afterwards.

    content_type: None leaves the header as it is. disposition: as serve_file takes it, without a file name if
    `name` is None. Files on disk get Last-Modified; those and whatever can be sought in, such as BytesIO, have
    Content-Length and answer ranges. Raises ValueError for a file opened in text mode.
    """
    if isinstance(fileobj, io.TextIOBase):
        raise ValueError('serve_fileobj serves files opened in binary mode.')
    start, length = 0, None
    is_stream = False
    on_disk = False
    try:
        status = os.fstat(fileobj.fileno())
    except (AttributeError, OSError, ValueError):
        pass  # not on disk
    else:
        is_stream = not stat.S_ISREG(status.st_mode)
        if not is_stream:
            _set_modified(current().response.headers, status)
            raw = fileobj.raw if type(fileobj) is io.BufferedReader else fileobj
            on_disk = type(raw) is io.FileIO
    if not is_stream:
        # Not the size on disk: what reads from a file may well give other bytes, as a decompressor does.
        try:
            start = fileobj.tell()
            length = max(fileobj.seek(0, 2) - start, 0)
            fileobj.seek(start)
        except (AttributeError, OSError, TypeError, ValueError):
            length = None  # sent as it comes
    if debug:
        log_debug(f'{fileobj!r}, {length} bytes', 'TOOLS.STATIC')
    return _respond_file(fileobj, start, length, content_type, disposition, name, on_disk)


def _set_modified(headers: Any, status: os.stat_result) -> None:
    try:
        headers['Last-Modified'] = HTTPDate(status.st_mtime)
    except (ValueError, OverflowError):
        headers.pop('Last-Modified', None)  # no HTTP date says this time


def _respond_file(
    file: Any,
    start: int,
    length: int | None,
    content_type: str | None,
    disposition: str | None,
    name: str | None,
    on_disk: bool,
) -> Any:
    """Set head and body for the `length` bytes from `start` on; the file is closed when this raises."""
    exchange = current()
    response = exchange.response
    headers = response.headers
    try:
        if content_type is not None:
            headers['Content-Type'] = content_type
        if disposition is not None:
            headers['Content-Disposition'] = content_disposition(disposition, name)
        if 'ETag' in headers:
            validate_etags()
        validate_since()
        if length is None:
            headers.pop('Content-Length', None)
            response.body = file_generator(file)
            return response.body
        ranges = _ranges_asked(exchange, headers, length)
        if ranges is not None:
            return _respond_partly(exchange, file, start, length, ranges, on_disk)
        headers['Content-Length'] = str(length)
        if length <= CHUNK and exchange.request.method != 'HEAD':
            response.body = b''.join(FileBody(file, start or None, length))
        else:
            response.body = FileBody(file, start, length, on_disk)
    except BaseException:
        file.close()
        raise
    return response.body


def _serve(
    path: str,
    content_type: str | None,
    disposition: str | None,
    name: str | None,
    debug: bool,
    flags: int = 0,
    siblings: tuple[str, ...] = (),
) -> Any:
    """Make the file at an absolute path the response. siblings: codings that files beside it may hold."""
    exchange = current()
    headers = exchange.response.headers
    opened = open_file(path, flags)
    try:
        etag, modified = opened.etag, opened.modified
        if content_type is None:
            content_type = _type_of(opened.extension)
        _set_raw(headers, 'Content-Type', content_type)
        if disposition is not None:
            _set_raw(
                headers,
                'Content-Disposition',
                content_disposition(disposition, os.path.basename(path) if name is None else name),
            )
        real_path = path
        if siblings:
            coded = _coded(exchange, path, opened, flags, siblings)
            if coded is not None:
                coding, opened = coded
                # SPEC: RFC 9110 8.8.3.3: each coding is a representation of its own, whose strong tag is its own.
                etag = f'{opened.etag[:-1]}-{coding}"'
                real_path = path + _SIBLINGS[coding]
        if modified is not None:
            _set_raw(headers, 'Last-Modified', modified)
        else:
            headers.pop('Last-Modified', None)
        own = dict.get(headers, 'Etag')
        if own is None:
            _set_raw(headers, 'Etag', etag)
        if debug:
            log_debug(f'{real_path!r}, {opened.size} bytes', 'TOOLS.STATIC')
        return _respond_opened(exchange, headers, opened, own or etag, modified, real_path)
    except BaseException:
        opened.close()
        raise


class _NotAcceptable(HTTPError):
    """The error 406 of a choice by Accept-Encoding, which its page tells as well."""

    def set_response(self) -> Any:
        later = super().set_response()
        set_vary_header(current().response, 'Accept-Encoding')
        return later


def _coded(
    exchange: Any, path: str, opened: OpenFile, flags: int, siblings: tuple[str, ...]
) -> tuple[str, OpenFile] | None:
    """Open the file that holds what `opened` does in a coding that the client prefers, if it is no older.

    `opened` is closed where another one is given. 406 where the client takes neither.
    """
    set_vary_header(exchange.response, 'Accept-Encoding')
    field = request_field(exchange, 'accept-encoding')
    # Parts are of the file itself: a client that has one of it goes on with that.
    if not field or request_field(exchange, 'range') is not None:
        return None
    left = siblings
    while True:
        with HTTPError.handle(BadHeaderValue, 400):
            coding = choose_coding(field, left)
        if coding is None:
            raise _NotAcceptable(406, ', '.join(('identity', *siblings)))
        if coding == 'identity':
            return None
        sibling = None
        try:
            sibling = open_file(path + _SIBLINGS[coding], flags)
        except (NotFound, HTTPError):
            pass  # there is none that can be read: the next one
        if sibling is not None:
            if sibling.mtime_ns >= opened.mtime_ns:
                opened.close()
                _set_raw(exchange.response.headers, 'Content-Encoding', coding)
                return coding, sibling
            sibling.close()
        left = tuple(name for name in left if name != coding)


# What makes a request conditional.
_CONDITIONS = ('if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since')


def _respond_opened(exchange: Any, headers: Any, opened: OpenFile, etag: str, modified: str | None, path: str) -> Any:
    """Answer with what was opened, or with 304, 412, 206 or 416; takes the descriptor over once nothing is raised."""
    response = exchange.response
    get = field_getter(exchange)
    for name in _CONDITIONS:
        if get(name) is not None:
            validate_etags()
            validate_since()
            break
    else:
        response.ETag = etag
    length = opened.size
    data = opened.data
    if not dict.__contains__(headers, 'Content-Encoding'):
        ranges = _ranges_asked(exchange, headers, length)
        if ranges is not None:
            return _respond_partly(exchange, opened, 0, length, ranges, True, path)
    _set_raw(headers, 'Content-Length', str(length))
    if data is not None:
        response.body = data
    else:
        response.body = FileBody(_as_file(opened, path), 0, length, True, path)
    return response.body


def _as_file(opened: OpenFile, path: str) -> Any:
    if opened.data is not None:
        return io.BytesIO(opened.data)
    return io.FileIO(path, 'rb', opener=lambda name, flags: opened.take())


def _ranges_asked(exchange: Any, headers: Any, length: int) -> list[tuple[int, int]] | None:
    """Give the ranges to send, [] if none can be; None for all of it. Says that there are ranges.

    SPEC: RFC 9110 13.1.5 and 14.2: ranges are for GET; If-Range must be this very ETag, a strong one, or this
    very date, a strong one as well.
    """
    request = exchange.request
    if (request.__dict__.get('protocol') or exchange.head.version) < (1, 1):
        return None
    _set_raw(headers, 'Accept-Ranges', 'bytes')
    field = field_getter(exchange)('range')
    if not field or request.method != 'GET' or exchange.response.status not in (None, 200, '200 OK', '200'):
        return None
    condition = request_field(exchange, 'if-range')
    if condition is not None:
        condition = condition.strip()
        is_same = condition == headers.get('ETag') and condition[:1] == '"'
        if not is_same and (condition != headers.get('Last-Modified') or not _is_settled(condition)):
            return None
    ranges = get_ranges(field, length)
    return ranges if ranges is None else merge_ranges(ranges)


def _is_settled(modified: str) -> bool:
    """Say whether the second of a date is over, so that nothing dated in it can change once more.

    SPEC: RFC 9110 8.8.2.2: a date is a strong validator where nothing changed twice during its second.
    """
    from werkzeug.http import parse_date

    date = parse_date(modified)
    return date is not None and date.timestamp() + 1 <= time.time()


def _respond_partly(
    exchange: Any,
    file: Any,
    start: int,
    length: int,
    ranges: list[tuple[int, int]],
    on_disk: bool,
    path: str | None = None,
) -> Any:
    """Answer 206, or 416 where there is no range. file: an OpenFile with its path, or what can be read."""
    response = exchange.response
    headers = response.headers
    if not ranges:
        headers['Content-Range'] = f'bytes */{length}'
        raise HTTPError(416, 'Invalid Range (first-byte-pos greater than Content-Length)')
    response.status = '206 Partial Content'
    if path is not None:
        file = _as_file(file, path)
    if len(ranges) == 1:
        first, stop = ranges[0]
        headers['Content-Range'] = f'bytes {first}-{stop - 1}/{length}'
        headers['Content-Length'] = str(stop - first)
        body = FileBody(file, start + first, stop - first, on_disk and not isinstance(file, io.BytesIO))
        response.body = body if stop - first > CHUNK else b''.join(body)
        return response.body
    boundary = os.urandom(16).hex()
    content_type = headers.get('Content-Type', 'application/octet-stream')
    parts = []
    for first, stop in ranges:
        head = (
            f'\r\n--{boundary}\r\nContent-type: {content_type}\r\n'
            f'Content-range: bytes {first}-{stop - 1}/{length}\r\n\r\n'
        )
        parts.append((start + first, start + stop, head.encode('latin-1', 'replace')))
    many = PartsBody(file, parts, f'\r\n--{boundary}--\r\n'.encode())
    headers['Content-Type'] = f'multipart/byteranges; boundary={boundary}'
    headers['Content-Length'] = str(many.length)
    response.body = many if many.length > CHUNK else b''.join(many)
    return response.body


# --- the tools ------------------------------------------------------------------------------------------------


def _concerns(match: str) -> bool:
    request = current().request
    return request.method in ('GET', 'HEAD') and (not match or re.search(match, request.path_info) is not None)


def _attempt(
    path: str,
    content_types: dict[str, str] | None,
    debug: bool,
    flags: int = 0,
    siblings: tuple[str, ...] = (),
) -> bool:
    """Serve a file if there is one; say whether there is."""
    content_type = None
    if content_types:
        content_type = content_types.get(os.path.splitext(path)[1].lower()[1:])
    try:
        _serve(path, content_type, None, None, debug, flags, siblings)
    except NotFound:
        return False
    return True


def _siblings_of(precompressed: Any) -> tuple[str, ...]:
    """Read the setting of this name: True for every coding there is, or some of them in the order of preference."""
    if not precompressed:
        return ()
    if precompressed is True:
        return tuple(_SIBLINGS)
    names = precompressed.split(',') if isinstance(precompressed, str) else precompressed
    codings = tuple(name.strip().lower() for name in names)
    for coding in codings:
        if coding not in _SIBLINGS:
            raise ValueError(f'There are no precompressed files of the coding {coding!r}: {", ".join(_SIBLINGS)}.')
    return codings


def _precompressed(value: Any) -> str:
    try:
        _siblings_of(value)
    except ValueError as exc:
        return str(exc).rstrip('.')
    except (AttributeError, TypeError):
        return f'it has to be True, or a list of some of {", ".join(_SIBLINGS)}'
    return ''


_CHECKS: dict[str, Any] = {
    'match': optional(checks.regex),
    'content_types': optional(checks.types_by_extension),
    'precompressed': _precompressed,
}


@checked(dir=checks.folder, root=optional(checks.folder), section=checks.text, index=optional(checks.text), **_CHECKS)
def staticdir(
    section: str,
    dir: str,
    root: str = '',
    match: str = '',
    content_types: dict[str, str] | None = None,
    index: str = '',
    debug: bool = False,
    precompressed: bool | str | Iterable[str] = False,
    dotfiles: bool = False,
) -> bool:
    """Serve what is below a folder, at the paths below `section`; say whether there was something to serve.

    section: the path at which `dir` is configured; the framework knows it. dir: the folder, absolute or below
    `root`; '~' is the user's home. match: a regular expression that the path must hold. content_types: types by
    extension, without its dot. index: the file that a folder is served by.
    precompressed: True, or some of 'br', 'zstd' and 'gzip' in the order of preference: where the client takes such
    a coding, `name.br`, `name.zst` or `name.gz` is sent for `name` if it is no older.
    dotfiles: whether names that begin with a dot are served; '.well-known' always is.
    GET and HEAD only; what is not found is left to the page handler. A path that leads out of the folder, by
    dots or by a symbolic link, is answered 403.
    """
    if not _concerns(match):
        return False
    folder = dir
    if type(dir) is not str or folder[:1] != '/' or os.name == 'nt':
        folder = os.path.expanduser(dir)
        if not os.path.isabs(folder):
            if not root:
                raise ValueError('Static dir requires an absolute dir (or root).')
            folder = os.path.join(os.path.expanduser(root), folder)
    siblings = _siblings_of(precompressed)
    exchange = current()
    path_info: str = exchange.request.path_info
    section = '' if section == 'global' else section.rstrip('/\\')
    branch = path_info[len(section) :].lstrip('/')
    if '/.' in path_info:
        _follow_dots(path_info[: len(section)], folder, branch)
    if branch[-1:] not in ('', '/'):
        # A file has no slash after its name.
        # Twice at the most: what was a file the last time may be something else by now.
        for _ in range(2):
            path, mode = find_inside(folder, branch, dotfiles)
            if debug:
                log_debug(f'{path_info!r} is {path!r}', 'TOOLS.STATICDIR')
            if not stat.S_ISREG(mode):
                break
            if _attempt(path, content_types, debug, NOFOLLOW, siblings):
                return True
        else:
            return False
    else:
        path, mode = find_inside(folder, branch, dotfiles)
    if not index or not stat.S_ISDIR(mode):
        return False
    path, mode = find_inside(folder, f'{branch}/{index}')
    if not stat.S_ISREG(mode):
        return False
    if not path_info.endswith('/'):
        # Links of the index page are relative to the folder: the browser has to know that it is in it.
        exchange.request.is_index = True
        settings = dict(exchange.request.toolmaps.get('tools', {}).get('trailing_slash', {}))
        settings.pop('priority', None)
        if settings.pop('on', False):
            trailing_slash(**settings)
    exchange.request.is_index = path_info.endswith('/')
    return _attempt(path, content_types, debug, NOFOLLOW, siblings)


def _follow_dots(section: str, folder: str, branch: str) -> None:
    """Raise InternalRedirect to the path without its '.' and '..', if it has some.

    What config says of a path, such as who may see it, holds for the path that names the file.
    """
    segments = branch.split('/')
    if '.' not in segments and '..' not in segments:
        return
    find_inside(folder, branch)  # HTTPError(403) for what leads out
    names: list[str] = []
    for name in segments:
        if name == '..':
            names.pop()
        elif name not in ('', '.'):
            names.append(name)
    redirect = InternalRedirect('/', current().request.query_string)
    # A '?' in it belongs to the name.
    redirect.path = '/'.join((section, *names)) or '/'
    if segments[-1] in ('', '.', '..') and redirect.path != '/':
        redirect.path += '/'
    raise redirect


@checked(filename=checks.folder, root=optional(checks.folder), **_CHECKS)
def staticfile(
    filename: str,
    root: str | None = None,
    match: str = '',
    content_types: dict[str, str] | None = None,
    debug: bool = False,
    precompressed: bool | str | Iterable[str] = False,
) -> bool:
    """Serve one file, at each path that this is configured for; say whether it is there.

    filename: absolute, or below `root`. match, content_types, precompressed: as `staticdir` takes them. GET and
    HEAD only.
    """
    if not _concerns(match):
        return False
    path = os.path.expanduser(filename)
    if not os.path.isabs(path):
        if not root:
            raise ValueError(f'Static tool requires an absolute filename (got {filename!r}).')
        path = os.path.join(os.path.expanduser(root), path)
    return _attempt(path, content_types, debug, 0, _siblings_of(precompressed))


class StaticTool(HandlerTool):
    """A static tool: a path that would be one only below a `root` is told when the plan is compiled."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        if self.callable in (staticdir, staticfile):
            name = 'dir' if self.callable is staticdir else 'filename'
            if name not in settings:
                # What is misspelt comes first: it may be the one that is missing. The section comes with the folder.
                given = {'section': '', **settings} if name == 'dir' else settings
                self._check_settings({**given, name: ''})
                raise MissingSetting([name])
            if not settings.get('root') and not os.path.isabs(os.path.expanduser(settings[name])):
                raise BadSetting(name, f'it is relative: make it absolute, or set {self.namespace}.{self._name}.root')
        super().compile(builder, settings)
