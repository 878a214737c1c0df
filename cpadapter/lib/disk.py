"""Files below a folder: which file a path names, whether it may be served, and opening it. It knows no request.

A path is compared name by name, never as text. Symbolic links are followed to what lies inside the folder only.
"""

from __future__ import annotations

import os
import stat
import threading
import time

from ..errors import HTTPError, NotFound
from ..protocol.dates import HTTPDate
from ..protocol.files import CHUNK

__all__ = ['NOFOLLOW', 'OpenFile', 'find_inside', 'forget', 'is_reserved', 'kept', 'open_file']

# Never waits for the other end of a FIFO, is not handed to child processes, and does no newline translation.
_OPEN = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)
# For open_file: the last name of the path is no symbolic link.
NOFOLLOW = getattr(os, 'O_NOFOLLOW', 0)

# Windows takes these names for devices, in any folder and with any extension.
_DEVICES = frozenset(
    (
        *('con', 'prn', 'aux', 'nul', 'conin$', 'conout$', 'clock$'),
        *(f'{name}{digit}' for name in ('com', 'lpt') for digit in '0123456789\xb9\xb2\xb3'),
    )
)


def is_reserved(name: str) -> bool:
    """Say whether a path segment means something else than a file's name to Windows."""
    return (
        '\\' in name or ':' in name or name[-1:] in ('.', ' ') or name.partition('.')[0].rstrip(' ').lower() in _DEVICES
    )


class OpenFile:
    """A regular file as it was found: its validators, and its bytes or what they are read from.

    data: all of it, where it is small; then there is no descriptor. descriptor: -1 once it was closed or taken.
    etag: strong, of length and time of change. modified: HTTP date; None if no HTTP date says that time.
    mtime_ns: nanoseconds since the epoch. extension: the path's last, in lower case.
    """

    __slots__ = ('data', 'descriptor', 'etag', 'extension', 'identity', 'modified', 'mtime_ns', 'size')

    def __init__(self, path: str, status: os.stat_result) -> None:
        self.descriptor = -1
        self.data: bytes | None = None
        self.identity = _identity(status)
        self.size = status.st_size
        mtime_ns = self.mtime_ns = status.st_mtime_ns
        self.etag = f'"{mtime_ns & 0xFFFFFFFFFFFFFFFF:x}-{self.size:x}"'
        self.modified: str | None
        try:
            self.modified = HTTPDate(mtime_ns // 10**9)
        except (ValueError, OverflowError):
            self.modified = None  # the other validator is left
        self.extension = os.path.splitext(path)[1].lower()

    def take(self) -> int:
        """Give the descriptor, for the caller to close."""
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor

    def close(self) -> None:
        """Close it, unless that was done or the descriptor was taken."""
        descriptor = self.take()
        if descriptor >= 0:
            os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # What is written to a file changes the last of these, whatever is done to its other times.
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)


# Small files by the path they were found at, with their bytes; of no more than _MAX_KEPT bytes together.
# PERF: one look at the file (2 microseconds) in place of opening, reading and closing it, and of writing its
# validators (10).
_kept: dict[str, OpenFile] = {}
_kept_bytes = 0
# Of the count; who only looks a file up goes without.
_lock = threading.Lock()
_MAX_KEPT = 8 << 20
_MAX_FILES = 4000

# Seconds. A file changed since then may change again without any of its times telling, so its bytes are not kept. The
# larger one is for file systems that keep whole seconds, or two of them.
_UNSETTLED = 0.1
_UNSETTLED_COARSE = 3


def forget() -> None:
    """Forget the files that were found."""
    with _lock:
        _forget()


def _forget() -> None:
    global _kept_bytes
    _kept.clear()
    _kept_bytes = 0


def kept() -> tuple[int, int]:
    """Give how many files are kept, and of how many bytes together."""
    return len(_kept), _kept_bytes


def _keep(path: str, found: OpenFile, status: os.stat_result) -> None:
    global _kept_bytes
    unsettled = _UNSETTLED if status.st_mtime_ns % 10**9 else _UNSETTLED_COARSE
    with _lock:
        _drop(path)
        if not max(status.st_mtime, status.st_ctime) < time.time() - unsettled:
            return
        if _kept_bytes + found.size > _MAX_KEPT or len(_kept) >= _MAX_FILES:
            _forget()
        _kept_bytes += found.size
        _kept[path] = found


def _drop(path: str) -> None:
    global _kept_bytes
    found = _kept.pop(path, None)
    if found is not None:
        _kept_bytes -= found.size


def open_file(path: str, flags: int = 0) -> OpenFile:
    """Open the regular file at `path`; NotFound if there is none, HTTPError(403) if it may not be read.

    flags: NOFOLLOW where the caller has looked at every name of the path but the last. The bytes of a small file come
    with it, and are kept; they count as long as nothing about the file has changed, which is looked at each time.
    """
    try:
        kept = _kept.get(path)
        if kept is not None:
            if _identity(os.lstat(path) if flags else os.stat(path)) == kept.identity:
                return kept
            with _lock:
                _drop(path)
        # Only a file is opened at all: opening a device may do something.
        if not stat.S_ISREG((os.lstat(path) if flags else os.stat(path)).st_mode):
            raise NotFound()
        descriptor = os.open(path, _OPEN | flags)
    except (OSError, ValueError) as exc:
        if path in _kept:
            with _lock:
                _drop(path)
        if isinstance(exc, PermissionError):
            raise HTTPError(403) from exc
        raise NotFound() from exc
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound()
        found = OpenFile(path, status)
        if found.size > CHUNK:
            found.descriptor = descriptor
            return found
        for _ in range(_ATTEMPTS):
            data = os.pread(descriptor, CHUNK + 1, 0) if hasattr(os, 'pread') else _read(descriptor)
            after = os.fstat(descriptor)
            if len(data) == found.size and _identity(after) == found.identity:
                break
            # Somebody writes to it just now.
            found = OpenFile(path, after)
        else:
            raise OSError(f'{path!r} changes all the time while it is read.')
        found.data = data
        _keep(path, found, status)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return found


_ATTEMPTS = 5


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    data = b''
    while len(data) <= CHUNK and (more := os.read(descriptor, CHUNK + 1 - len(data))):
        data += more
    return data


def find_inside(folder: str, branch: str, hidden: bool = True) -> tuple[str, int]:
    """Give (path, mode) of what `branch`, with slashes, names below `folder`; mode 0 if there is no such thing.

    The path is one without symbolic links below the folder. hidden: False finds no name that begins with a dot, but
    for '.well-known' (RFC 8615).
    Raises HTTPError(403) for what lies outside, by its dots or by a link.
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
            if not hidden and name[0] == '.' and name != '.well-known':
                return '', 0
            names.append(name)
    path = folder
    mode = 0
    last = len(names) - 1
    try:
        if last < 0:
            mode = os.stat(path).st_mode
        # PERF: without a link on the way there is nothing to resolve; realpath costs ten times what this does.
        for index, name in enumerate(names):
            path = f'{path}{os.sep}{name}' if path[-1:] != os.sep else path + name
            if index == last and path in _kept:
                # A file was there: open_file looks whether it still is.
                return path, stat.S_IFREG
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                return _resolved(folder, names, hidden)
    except (OSError, ValueError):
        # Also a name that is too long, or that the file system's encoding cannot hold.
        return path, 0
    return path, mode


def _resolved(folder: str, names: list[str], hidden: bool) -> tuple[str, int]:
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, *names))
    try:
        is_inside = os.path.commonpath((root, path)) == root
    except ValueError:
        is_inside = False  # another drive
    if not is_inside:
        raise HTTPError(403)
    if not hidden:
        inner = os.path.relpath(path, root).split(os.sep)
        if any(name[0] == '.' and name not in ('.', '.well-known') for name in inner):
            return '', 0
    return path, os.lstat(path).st_mode
