"""The stores: sessions in memory (RamSession), in files (FileSession), in memcached (MemcachedSession).

Each is told by Session what to do with one record. Requests, cookies and event loops are not known here.
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..context import current, on_a_loop
from .locking import FileLock
from .sessionbase import ANY_ID, OWN_ID, Session, as_aware, log_line, shortened
from .sessionshared import Shared, SharedAttribute

__all__ = ['FileSession', 'MemcachedSession', 'RamSession']


class RamSession(Session):
    """Sessions in the memory of one process: any value may be kept, and all are gone when the process ends.

    cache: id -> (data, expiry), of all sessions of the site.
    """

    blocking = False
    cache: Any = SharedAttribute('cache')
    locks: Any = SharedAttribute('locks')

    _has_own_cache = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if 'cache' in cls.__dict__:
            cls._has_own_cache = True

    def __init__(self, id: str | None = None, **kwargs: Any) -> None:
        if not self._has_own_cache:
            # PERF: asked for three times in a request.
            self.cache = self.shared_on(current().site).cache
        super().__init__(id, **kwargs)

    @staticmethod
    def outline(shared: Shared, settings: dict[str, Any]) -> dict[str, Any]:
        """Give what `take_up` makes sessions of: what those with the same settings have in common."""
        outline = dict(settings, shared=shared, cache=shared.cache)
        # PERF: room for what is set later, in the outline and in the request: a dict that grows is made anew.
        names = ('id_observers', 'originalid', '_id', '_data', '_looked_at', '_lock_key')
        return {**outline, **dict.fromkeys(names), 'loaded': False, 'locked': False, 'cookie_is_header': False}

    @staticmethod
    def take_up(id: str, outline: dict[str, Any], observer: Any) -> RamSession | None:
        """Give the session of `id`, made with less ado than by calling the class; None if there is none."""
        # PERF: 1.2 microseconds in place of 2.8, for what most requests need.
        record = outline['cache'].get(id)
        if record is None or OWN_ID.fullmatch(id) is None:
            return None
        values = outline.copy()
        values['id_observers'] = [observer]
        values['originalid'] = values['_id'] = id
        values['_data'] = {}
        expiry = values['_looked_at'] = record[1]
        session = RamSession.__new__(RamSession)
        session.__dict__ = values
        return session if expiry > session.now() else None

    def _exists(self) -> bool:
        record = self.cache.get(self._id)
        return record is not None and record[1] > self.now()

    def _load(self) -> Any:
        record = self.cache.get(self._id)
        # A copy: what a request sets counts if it is saved, and not otherwise.
        return None if record is None else (dict(record[0]), record[1])

    def _save(self, expiration_time: datetime) -> None:
        self.cache[self._id] = (self._data, expiration_time)

    def _delete(self) -> None:
        self.cache.pop(self._id, None)

    def __len__(self) -> int:
        return len(self.cache)

    def clean_up(self) -> None:
        self.clean_up_within(float('inf'))

    def clean_up_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        now = self.now()
        cache, locks = self.cache, self.shared.locks
        for id, (_, expiry) in list(cache.items()):
            # One in use is left to the request that uses it.
            if expiry <= now and locks.take(id, self):
                try:
                    record = cache.get(id)
                    if record is not None and record[1] <= now:
                        del cache[id]
                finally:
                    locks.release(id, self)
                if time.monotonic() > end:
                    return False
        return True


class _Packed:
    """How a store keeps records as bytes. They are pickled; a subclass of it may pack them otherwise."""

    pickle_protocol = 5
    _id: str | None

    def pack(self, record: tuple[dict[Any, Any], datetime]) -> bytes:
        """Give a record, (data, expiry), as bytes."""
        return pickle.dumps(record, self.pickle_protocol)

    def unpack(self, data: bytes) -> Any:
        """Give back the record that `pack` was given; any Exception says that these bytes are none."""
        return pickle.loads(data)

    def _read_record(self, data: bytes) -> Any:
        """Give the record; None, and a line in the log, if the bytes are damaged."""
        try:
            values, expiry = self.unpack(data)
            if not isinstance(values, dict):
                raise TypeError(f'the data is a {type(values).__name__}, not a dict')
            return values, as_aware(expiry)
        except Exception as exc:
            log_line(
                f'The stored session {shortened(self._id)} is damaged, and taken as empty: {exc!r}',
                logging.WARNING,
            )
            return None


# What is no better the next time.
_NEVER_READABLE = (errno.EACCES, errno.EISDIR, errno.ELOOP, errno.EPERM)
_READ = os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0) | getattr(os, 'O_NOFOLLOW', 0)


def _open_own(path: str, flags: int) -> int:
    """Open a file for reading; PermissionError for one that another user wrote, whose pickle may hold anything."""
    fd = os.open(path, _READ)
    if hasattr(os, 'geteuid') and os.fstat(fd).st_uid != os.geteuid():
        os.close(fd)
        raise PermissionError(errno.EPERM, 'its file belongs to another user')
    return fd


class FileSession(Session, _Packed):
    """Sessions in files, one each, in the folder `storage_path`; several processes may share it.

    The files are pickles: whoever can write to the folder can make this process run code. A folder that is not there
    is made, for its owner only.
    """

    needs_lock = True
    storage_path: Any = None

    SESSION_PREFIX = 'session-'
    LOCK_SUFFIX = '.lock'
    TEMPORARY_SUFFIX = '.tmp'

    _file_lock: FileLock | None = None
    # Names of files that a clean-up had no time for.
    _unswept: list[str] = []

    def __init__(self, id: str | None = None, **kwargs: Any) -> None:
        path = kwargs.get('storage_path', self.storage_path)
        if path is None:
            raise KeyError('storage_path')
        if not isinstance(path, str) or not os.path.isabs(path):
            path = os.path.abspath(path)
        kwargs['storage_path'] = path
        super().__init__(id, **kwargs)

    @classmethod
    def setup(cls, **kwargs: Any) -> None:
        """Make the folder. Settings stay with the sessions: another site may have others."""
        os.makedirs(kwargs.get('storage_path') or cls.storage_path, 0o700, exist_ok=True)

    def _get_file_path(self) -> str:
        id = self._id or ''
        if not ANY_ID.fullmatch(id):
            raise ValueError(f'{shortened(id)!r} is no session id, so that no file can bear it.')
        return f'{self.storage_path}{os.sep}{self.SESSION_PREFIX}{id}'

    def _exists(self) -> bool:
        try:
            # A file is dated by the moment it expires at.
            if os.stat(self._get_file_path()).st_mtime > self.now().timestamp():
                return True
        except OSError:
            return False
        # Expired, damaged, or written by something that dates files as usual.
        record = self._load()
        if record is not None:
            return bool(record[1] > self.now())
        try:
            self._delete()
        except (PermissionError, IsADirectoryError):
            pass  # it stays, to be found no better the next time
        return False

    def _load(self, path: str | None = None) -> Any:
        try:
            with open(path or self._get_file_path(), 'rb', opener=_open_own) as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno not in _NEVER_READABLE:
                raise
            log_line(f'The stored session {shortened(self._id)} is taken as empty: {exc.strerror}', logging.WARNING)
            return None
        return self._read_record(data)

    def _save(self, expiration_time: datetime) -> None:
        path = self._get_file_path()
        data = self.pack((self._data, expiration_time))
        temporary = f'{path}.{os.urandom(6).hex()}{self.TEMPORARY_SUFFIX}'
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)
        fd = self._in_folder(lambda: os.open(temporary, flags, 0o600))
        try:
            with open(fd, 'wb') as file:
                file.write(data)
            expiry = expiration_time.timestamp()
            os.utime(temporary, (expiry, expiry))
            # Whole or not at all, whenever the process is killed.
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _in_folder(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except FileNotFoundError:
            os.makedirs(self.storage_path, 0o700, exist_ok=True)
            return make()

    def _delete(self) -> None:
        try:
            os.unlink(self._get_file_path())
        except FileNotFoundError:
            pass

    def _try_lock(self) -> bool:
        lock = FileLock(self._get_file_path() + self.LOCK_SUFFIX)
        if not self._in_folder(lock.take):
            return False
        self._file_lock = lock
        return True

    def _unlock(self) -> None:
        lock, self._file_lock = self._file_lock, None
        if lock is not None:
            lock.release()

    def forget(self) -> None:
        super().forget()
        self._file_lock = None

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.storage_path) if name.startswith(self.SESSION_PREFIX)]
        except FileNotFoundError:
            return []

    def __len__(self) -> int:
        if on_a_loop():
            raise RuntimeError('On an event loop files are counted by `await asyncio.to_thread(len, session)`.')
        return sum('.' not in name for name in self._names())

    def clean_up(self) -> None:
        self._unswept = []
        self.clean_up_within(float('inf'))

    def clean_up_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        now = self.now()
        # What there was no time for comes first: else the same files would be looked at each time.
        names, self._unswept = self._unswept or self._names(), []
        failed: OSError | None = None
        for number, name in enumerate(names):
            if time.monotonic() > end:
                self._unswept = names[number:]
                return False
            path = os.path.join(self.storage_path, name)
            try:
                if '.' not in name:
                    if os.stat(path).st_mtime <= now.timestamp():
                        self._remove_expired(path, now)
                elif os.stat(path).st_mtime < now.timestamp() - 3600:
                    # Left behind by a process that was killed.
                    self._remove_remains(path)
            except FileNotFoundError:
                pass  # another process was quicker
            except OSError as exc:
                failed = exc  # the others can go all the same
        if failed is not None:
            raise failed
        return True

    def _remove_expired(self, path: str, now: datetime) -> None:
        """Remove one session if it has expired, unless a request is at it."""
        id = os.path.basename(path)[len(self.SESSION_PREFIX) :]
        lock = FileLock(path + self.LOCK_SUFFIX)
        locks = self.shared.locks
        if not locks.take(id, self):
            return
        try:
            if lock.take():
                try:
                    record = self._load(path)
                    if record is None or record[1] <= now:
                        os.unlink(path)
                finally:
                    lock.release()
        finally:
            locks.release(id, self)

    def _remove_remains(self, path: str) -> None:
        if path.endswith(self.TEMPORARY_SUFFIX):
            os.unlink(path)
        elif path.endswith(self.LOCK_SUFFIX):
            lock = FileLock(path)
            if lock.take():
                lock.release()


class MemcachedSession(Session, _Packed):
    """Sessions in memcached, which forgets them by itself; needs the extra `cpadapter[memcached]`.

    servers: 'host:port' of each. Locks hold within one process: requests of one client to two processes may overlap.
    """

    servers: Any = ['localhost:11211']
    cache: Any = SharedAttribute('client')
    locks: Any = SharedAttribute('locks')
    # COMPAT: kept so that it can be taken; the client's connections are its own affair.
    mc_lock = threading.RLock()

    @classmethod
    def setup(cls, **kwargs: Any) -> None:
        """Make the client that the sessions of a site share."""
        from importlib import import_module

        try:
            client: Any = import_module('pymemcache.client.hash')
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(
                "MemcachedSession needs pymemcache: pip install 'cpadapter[memcached]'.", name=exc.name
            ) from exc
        servers = kwargs.get('servers', cls.servers)
        servers = [servers] if isinstance(servers, str) else list(servers)
        shared = cls.shared_on(current().site)
        shared.client = client.HashClient(servers, use_pooling=True, connect_timeout=1, timeout=1)

    def _exists(self) -> bool:
        return self.cache.get(self._id) is not None

    def _load(self) -> Any:
        data = self.cache.get(self._id)
        return None if data is None else self._read_record(data)

    def _save(self, expiration_time: datetime) -> None:
        data = self.pack((self._data, expiration_time))
        # Seconds since the epoch, which memcached tells from a span of time by their size.
        if not self.cache.set(self._id, data, expire=int(expiration_time.timestamp()), noreply=False):
            raise RuntimeError(f'memcached has not taken the session {shortened(self._id)}.')

    def _delete(self) -> None:
        self.cache.delete(self._id, noreply=False)
