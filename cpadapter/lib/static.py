"""Files as responses: serve_file and its kin for page handlers, and the tools `staticdir` and `staticfile`.

What is sent is what was opened: length, validators and bytes are those of one open file. How a body gets to the
client is the gateways' business.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from ..context import current
from ..errors import HTTPError, NotFound
from ..protocol.dates import HTTPDate
from ..protocol.iterators import file_generator
from ..protocol.ranges import get_ranges
from .cptools import log_debug, trailing_slash, validate_etags, validate_since

__all__ = [
    'FileBody',
    'content_disposition',
    'content_type_of',
    'is_reserved',
    'serve_download',
    'serve_file',
    'serve_fileobj',
    'staticdir',
    'staticfile',
]

# Bytes a chunk; a body of no more than this is read at once.
CHUNK = 65536

# Never waits for the other end of a FIFO, is not handed to child processes, and does no newline translation.
_OPEN = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)
_NOFOLLOW = getattr(os, 'O_NOFOLLOW', 0)

# COMPAT: CherryPy's own types, in place of those that systems know by other names; any other one is the user's.
_TYPES = {
    '.dwg': ('image/x-dwg', ('image/vnd.dwg', 'application/acad')),
    '.ico': ('image/x-icon', ('image/vnd.microsoft.icon',)),
    '.bz2': ('application/x-bzip2', ('application/x-bzip', 'application/bzip2')),
    '.gz': ('application/x-gzip', ('application/gzip',)),
}

# Windows takes these names for devices, in any folder and with any extension.
_DEVICES = frozenset(
    (
        *('con', 'prn', 'aux', 'nul', 'conin$', 'conout$', 'clock$'),
        *(f'{name}{digit}' for name in ('com', 'lpt') for digit in '0123456789\xb9\xb2\xb3'),
    )
)


def content_type_of(name: str) -> str:
    """Give the media type for a file name by its last extension, 'application/octet-stream' if it is not known.

    The types are those of `mimetypes.types_map`, which an application may extend.
    """
    import mimetypes

    if not mimetypes.inited:
        mimetypes.init()
    extension = os.path.splitext(name)[1].lower()
    known = mimetypes.types_map.get(extension)
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


class FileBody:
    """A body that is a run of bytes of an open file, in chunks; closes the file at the end, on close(), at the last.

    A file that has become shorter raises OSError: what was promised cannot be sent, so that the response ends.
    """

    holds_bytes = True

    def __init__(self, file: Any, start: int | None, length: int) -> None:
        """start: where to read from; None where the file stands."""
        self.file = file
        self.left = length
        self._start = start

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.left <= 0:
            self.close()
            raise StopIteration
        if self._start is not None:
            self.file.seek(self._start)
            self._start = None
        chunk: bytes = self.file.read(min(self.left, CHUNK))
        if not chunk:
            self.close()
            raise OSError(f'{getattr(self.file, "name", self.file)!r} has become shorter while it was served.')
        self.left -= len(chunk)
        return chunk

    def close(self) -> None:
        self.file.close()

    def __del__(self) -> None:
        try:
            self.file.close()
        except Exception:
            pass  # nothing of it is wanted any more


class _PartsBody(FileBody):
    """A multipart/byteranges body. SPEC: RFC 9110 14.6."""

    def __init__(self, file: Any, parts: list[tuple[int, int, bytes]], end: bytes) -> None:
        """parts: (start, stop, what stands before it)."""
        super().__init__(file, None, 0)
        self.length = sum(stop - start + len(head) for start, stop, head in parts) + len(end)
        self._chunks = self._run(parts, end)

    def _run(self, parts: list[tuple[int, int, bytes]], end: bytes) -> Iterator[bytes]:
        for start, stop, head in parts:
            yield head
            self._start = start
            self.left = stop - start
            while self.left:
                yield super().__next__()
        yield end

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self.close()
            raise


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
    return _serve(path, content_type, disposition, name, debug)


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
    import io

    if isinstance(fileobj, io.TextIOBase):
        raise ValueError('serve_fileobj serves files opened in binary mode.')
    start, length = 0, None
    is_stream = False
    try:
        status = os.fstat(fileobj.fileno())
    except (AttributeError, OSError, ValueError):
        pass  # not on disk
    else:
        is_stream = not stat.S_ISREG(status.st_mode)
        if not is_stream:
            _set_modified(current().response.headers, status)
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
    return _respond(fileobj, start, length, content_type, disposition, name)


def _serve(
    path: str, content_type: str | None, disposition: str | None, name: str | None, debug: bool, flags: int = 0
) -> Any:
    headers = current().response.headers
    try:
        # Only a file is opened at all: opening a device may do something. With flags, the caller has looked.
        if not flags and not stat.S_ISREG(os.stat(path).st_mode):
            raise NotFound()
        file = open(path, 'rb', buffering=0, opener=lambda name, _: os.open(name, _OPEN | flags))  # noqa: SIM115
    except PermissionError as exc:
        raise HTTPError(403) from exc
    except (OSError, ValueError) as exc:
        raise NotFound() from exc
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise NotFound()
        _set_modified(headers, status)
        if 'ETag' not in headers:
            headers['ETag'] = f'"{status.st_mtime_ns & 0xFFFFFFFFFFFFFFFF:x}-{status.st_size:x}"'
        if debug:
            log_debug(f'{path!r}, {status.st_size} bytes', 'TOOLS.STATIC')
        return _respond(
            file,
            0,
            status.st_size,
            content_type or content_type_of(path),
            disposition,
            os.path.basename(path) if name is None else name,
        )
    except BaseException:
        file.close()
        raise


# PERF: a date takes 3 microseconds to write, and files have the same one for long.
_dates: dict[int, str] = {}


def _set_modified(headers: Any, status: os.stat_result) -> None:
    try:
        second = status.st_mtime_ns // 10**9
        date = _dates.get(second)
        if date is None:
            if len(_dates) >= 1000:
                _dates.clear()
            date = _dates[second] = HTTPDate(status.st_mtime)
        headers['Last-Modified'] = date
    except (ValueError, OverflowError):
        headers.pop('Last-Modified', None)  # no HTTP date says this time; the other validator is left


def _respond(
    file: Any, start: int, length: int | None, content_type: str | None, disposition: str | None, name: str | None
) -> Any:
    """Set head and body for the `length` bytes from `start` on; the file is closed when this raises."""
    exchange = current()
    request = exchange.request
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
        if request.protocol >= (1, 1):
            headers['Accept-Ranges'] = 'bytes'
            ranges = _ranges_asked(request, response, length)
            if ranges is not None:
                return _respond_partly(file, start, length, ranges)
        headers['Content-Length'] = str(length)
        if length <= CHUNK and request.method != 'HEAD':
            response.body = b''.join(FileBody(file, start or None, length))
        else:
            response.body = FileBody(file, start, length)
    except BaseException:
        file.close()
        raise
    return response.body


def _ranges_asked(request: Any, response: Any, length: int) -> list[tuple[int, int]] | None:
    """Give the ranges to send; None for all of it.

    SPEC: RFC 9110 13.1.5 and 14.2: ranges are for GET; If-Range must be this very ETag, a strong one, or this
    very date.
    """
    field = request.headers.get('Range')
    if not field or request.method != 'GET' or response.status not in (None, 200, '200 OK', '200'):
        return None
    condition = request.headers.get('If-Range')
    if condition is not None:
        condition = condition.strip()
        etag = response.headers.get('ETag')
        is_same = condition == etag and condition[:1] == '"'
        if not is_same and condition != response.headers.get('Last-Modified'):
            return None
    return get_ranges(field, length)


def _respond_partly(file: Any, start: int, length: int, ranges: list[tuple[int, int]]) -> Any:
    response = current().response
    headers = response.headers
    if not ranges:
        headers['Content-Range'] = f'bytes */{length}'
        raise HTTPError(416, 'Invalid Range (first-byte-pos greater than Content-Length)')
    response.status = '206 Partial Content'
    if len(ranges) == 1:
        first, stop = ranges[0]
        headers['Content-Range'] = f'bytes {first}-{stop - 1}/{length}'
        headers['Content-Length'] = str(stop - first)
        response.body = FileBody(file, start + first, stop - first)
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
    body = _PartsBody(file, parts, f'\r\n--{boundary}--\r\n'.encode())
    headers['Content-Type'] = f'multipart/byteranges; boundary={boundary}'
    headers['Content-Length'] = str(body.length)
    response.body = body
    return body


# --- the tools ------------------------------------------------------------------------------------------------


def _concerns(match: str) -> bool:
    request = current().request
    return request.method in ('GET', 'HEAD') and not (match and not re.search(match, request.path_info))


def _attempt(path: str, content_types: dict[str, str] | None, debug: bool, flags: int = 0) -> bool:
    """Serve a file if there is one; say whether there is."""
    content_type = None
    if content_types:
        content_type = content_types.get(os.path.splitext(path)[1].lower()[1:])
    try:
        _serve(path, content_type, None, None, debug, flags)
    except NotFound:
        return False
    return True


def is_reserved(name: str) -> bool:
    """Say whether a path segment means something else than a file's name to Windows."""
    return (
        '\\' in name or ':' in name or name[-1:] in ('.', ' ') or name.partition('.')[0].rstrip(' ').lower() in _DEVICES
    )


def _inside(folder: str, branch: str) -> tuple[str, int]:
    """Give (path, mode) of what `branch` names below `folder`; mode 0 if there is no such thing.

    The path is one without symbolic links below the folder. Raises HTTPError(403) for what lies outside, by its
    dots or by a link.
    """
    names: list[str] = []
    for name in branch.split('/'):
        if name == '..':
            if not names:
                raise HTTPError(403)
            names.pop()
        elif name not in ('', '.'):
            if '\0' in name or (os.name == 'nt' and is_reserved(name)):
                return '', 0
            names.append(name)
    path = folder
    try:
        # PERF: without a link on the way there is nothing to resolve; realpath costs ten times what this does.
        mode = os.stat(path).st_mode
        for name in names:
            path = os.path.join(path, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                return _resolved(folder, names)
    except (OSError, ValueError):
        # Also a name that is too long, or that the file system's encoding cannot hold.
        return path, 0
    return path, mode


def _resolved(folder: str, names: list[str]) -> tuple[str, int]:
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, *names))
    try:
        is_inside = os.path.commonpath((root, path)) == root
    except ValueError:
        is_inside = False  # another drive
    if not is_inside:
        raise HTTPError(403)
    return path, os.lstat(path).st_mode


def staticdir(
    section: str,
    dir: str,
    root: str = '',
    match: str = '',
    content_types: dict[str, str] | None = None,
    index: str = '',
    debug: bool = False,
) -> bool:
    """Serve what is below a folder, at the paths below `section`; say whether there was something to serve.

    section: the path at which `dir` is configured; the framework knows it. dir: the folder, absolute or below
    `root`; '~' is the user's home. match: a regular expression that the path must hold. content_types: types by
    extension, without its dot. index: the file that a folder is served by.
    GET and HEAD only; what is not found is left to the page handler. A path that leads out of the folder, by
    dots or by a symbolic link, is answered 403.
    """
    if not _concerns(match):
        return False
    folder = os.path.expanduser(dir)
    if not os.path.isabs(folder):
        if not root:
            raise ValueError('Static dir requires an absolute dir (or root).')
        folder = os.path.join(os.path.expanduser(root), folder)
    exchange = current()
    path_info: str = exchange.request.path_info
    section = '' if section == 'global' else section.rstrip('/\\')
    branch = path_info[len(section) :].lstrip('/\\')
    path, mode = _inside(folder, branch)
    if debug:
        log_debug(f'{path_info!r} is {path!r}', 'TOOLS.STATICDIR')
    if stat.S_ISREG(mode):
        # A file has no slash after its name.
        return not branch.endswith('/') and _attempt(path, content_types, debug, _NOFOLLOW)
    if not index or not stat.S_ISDIR(mode):
        return False
    path, mode = _inside(folder, f'{branch}/{index}')
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
    return _attempt(path, content_types, debug, _NOFOLLOW)


def staticfile(
    filename: str,
    root: str | None = None,
    match: str = '',
    content_types: dict[str, str] | None = None,
    debug: bool = False,
) -> bool:
    """Serve one file, at each path that this is configured for; say whether it is there.

    filename: absolute, or below `root`. match, content_types: as `staticdir` takes them. GET and HEAD only.
    """
    if not _concerns(match):
        return False
    path = os.path.expanduser(filename)
    if not os.path.isabs(path):
        if not root:
            raise ValueError(f'Static tool requires an absolute filename (got {filename!r}).')
        path = os.path.join(os.path.expanduser(root), path)
    return _attempt(path, content_types, debug)
