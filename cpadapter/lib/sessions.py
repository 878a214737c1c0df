"""Sessions: data kept for a client between its requests, and the tool that loads and saves them.

A Session is a dict-like object made for one request; a subclass says where the data is kept: in memory
(RamSession), in files (FileSession), in memcached (MemcachedSession). What the sessions of one class share on one
Site, such as the records in memory and the locks, hangs on that Site. How requests are run, and by what threads or
loops, is not known here, only where waiting is allowed.

A store that waits (`blocking`) is never used on an event loop: the tool's hooks go to a thread there, and the methods
have async twins, such as `asave`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from functools import partial
from typing import TYPE_CHECKING, Any

from ..context import current, default_site
from ..core.engine import states
from ..extension.tools import Tool
from ..process.plugins import Monitor
from ..protocol.iterators import is_iterator
from . import set_vary_header
from .locking import FileLock, KeyedLocks, LockTimeout, lock_seconds

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    'FileSession',
    'MemcachedSession',
    'RamSession',
    'Session',
    'SessionTool',
    'close',
    'expire',
    'init',
    'save',
    'set_response_cookie',
]

# What `generate_id` gives, and what the ids of a class with a `generate_id` of its own may consist of.
_OWN_ID = re.compile(r'[0-9a-f]{40}')
_ANY_ID = re.compile(r'[0-9A-Za-z_-]{16,200}')

# In place of a record that was not asked for yet: None is the record of a session that is not there.
_UNKNOWN: Any = object()

# Seconds between two attempts to take a lock that another process holds: the first, and the longest.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1

# Seconds that a clean-up may take out of a request's time.
_SHORT_SWEEP = 0.01


def _on_a_loop() -> bool:
    """Say whether an event loop runs in this thread, so that nothing here may wait."""
    asyncio = sys.modules.get('asyncio.events')
    return asyncio is not None and asyncio._get_running_loop() is not None


def _log(text: str, severity: int = logging.INFO, traceback: bool = False) -> None:
    exchange = current()
    log = exchange.app.log if exchange.app is not None else exchange.site.log
    log.error(text, 'TOOLS.SESSIONS', severity=severity, traceback=traceback)


def _shortened(id: Any) -> str:
    """Give what of an id may stand in logs: enough to tell two apart, not enough to take one over."""
    return f'{str(id)[:6]}...'


# --- what sessions of one class share -------------------------------------------------------------------------


class _Shared:
    """What the sessions of one class have in common on one site.

    cache: records in memory, id -> (data, expiry). client: of a server that keeps them. locks: by id.
    ready: the classes whose `setup` was called.
    clean_thread: the Monitor that calls `sweep`.
    """

    def __init__(self, site: Any) -> None:
        self.site = site
        self.cache: dict[str, tuple[dict[Any, Any], datetime]] = {}
        self.client: Any = None
        self.locks = KeyedLocks()
        self.ready: set[type] = set()
        self.clean_thread: Monitor | None = None
        # When somebody should have swept, by time.monotonic().
        self.late = float('inf')
        self._sweepers: dict[Any, Session] = {}
        self._mutex = threading.Lock()

    def set_up(self, cls: Any, settings: dict[str, Any]) -> None:
        """Let a class set itself up, once for each site."""
        with self._mutex:
            if cls in self.ready:
                return
            if hasattr(cls, 'setup'):
                cls.setup(**settings)
            self.ready.add(cls)

    def watch(self, session: Session) -> None:
        """See to it that what expires where `session` is kept is removed some day."""
        key = (type(session), getattr(session, 'storage_path', None))
        if key in self._sweepers or not session.clean_freq:
            return
        # A session of no client's, which holds nothing.
        sweeper = type(session).__new__(type(session))
        sweeper.__dict__.update(session.__dict__)
        sweeper.forget()
        with self._mutex:
            self._sweepers[key] = sweeper
            if self.clean_thread is not None:
                return
            engine = self.site.engine
            monitor = Monitor(engine, self.sweep, session.clean_freq * 60, name='Session cleanup')
            self.clean_thread = monitor
            self._postpone()
        monitor.subscribe()
        if engine.state is states.STARTED:
            monitor.start()

    def sweep(self) -> None:
        """Remove what has expired; what goes wrong is logged, and tried again the next time."""
        self._postpone()
        for sweeper in list(self._sweepers.values()):
            try:
                sweeper.clean_up()
            except Exception:
                self.site.log.error('Cleaning up sessions failed.', 'TOOLS.SESSIONS', logging.ERROR, traceback=True)

    def sweep_if_late(self, session: Session) -> None:
        """Remove some of what has expired where no thread does: there are hosts in which threads do not run."""
        self._postpone()
        sweeper = self._sweepers.get((type(session), getattr(session, 'storage_path', None)))
        if sweeper is not None and not sweeper.clean_up_within(_SHORT_SWEEP):
            # Not all of it: the next request that saves goes on, a second later at the earliest.
            self.late = time.monotonic() + 1

    def _postpone(self) -> None:
        if self.clean_thread is not None:
            self.late = time.monotonic() + 1.5 * self.clean_thread.frequency


_homes: dict[type, type] = {}


def _shared_of(site: Any, cls: type) -> _Shared:
    """Give what the sessions of a class share on a site; subclasses of a store share with it."""
    home = _homes.get(cls)
    if home is None:
        mro = cls.__mro__
        home = _homes[cls] = mro[max(0, mro.index(Session) - 1)]
    stores: dict[type, _Shared] | None = site.__dict__.get('session_stores')
    if stores is None:
        stores = site.__dict__.setdefault('session_stores', {})
    shared = stores.get(home)
    if shared is None:
        shared = stores.setdefault(home, _Shared(site))
    return shared


class _SharedAttribute:
    """Shows what is shared: on a session its site's, on the class the default site's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, cls: type) -> Any:
        shared = _shared_of(default_site(), cls) if obj is None else obj.shared
        return getattr(shared, self.name)


# --- the base class -------------------------------------------------------------------------------------------


class Session:
    """The data of one client, as a dict, for one request. What is kept where is said by subclasses.

    A store implements `_exists`, `_load`, `_save`, `_delete`, and where they are of use `clean_up`, `__len__`, the
    class method `setup`, and `_try_lock` with `_unlock` for a lock that holds beyond this process. It may replace
    `acquire_lock` and `release_lock` altogether.

    id: text; what it is set to is told to `id_observers`.
    originalid: the id that the client sent, None if it sent none. missing: there is no session of that id.
    regenerated: the application has asked for another id.
    loaded: the data was asked for; only then it is saved. locked: this request has the session's lock.
    timeout: minutes that the data is kept after it was last saved. clean_freq: minutes between two clean-ups, 0: none.
    lock_timeout: seconds, or a timedelta, to wait for the lock; None waits without limit.
    blocking: whether the store may wait, for a disk or a network, so that it is kept off event loops.
    needs_lock: whether saving takes the lock where the application has not.
    """

    blocking = True
    needs_lock = False

    timeout: float = 60
    clean_freq: float = 5
    lock_timeout: Any = 60
    debug = False
    locked = False
    loaded = False
    missing = False
    regenerated = False
    originalid: str | None = None
    id_observers: list[Callable[[str], Any]] | None = None
    clean_thread: Any = _SharedAttribute('clean_thread')
    # Set where saving waits for the end of a streamed body, and where the cookie stands among the headers.
    saves_late = False
    cookie_is_header = False

    _id: str | None = None
    _data: dict[Any, Any] = {}
    _record: Any = _UNKNOWN
    _lock_key: Any = None
    # Ids whose data is to be deleted, where that could not be waited for.
    _outdated: tuple[str, ...] = ()

    def __init__(self, id: str | None = None, **kwargs: Any) -> None:
        """Take up the session of `id`, or begin a new one; `kwargs` become attributes."""
        self._data = {}
        self.shared = _shared_of(current().site, type(self))
        for name, value in kwargs.items():
            setattr(self, name, value)
        self.id_observers = []
        self.originalid = id
        if id is not None:
            # Nothing is asked for by an id that this class cannot have given.
            if self.is_valid_id(id):
                self._id = id
                if self._exists():
                    return
                self._id = None
            self.missing = True
        self._draw_id()

    # -- ids

    @property
    def id(self) -> Any:
        return self._id

    @id.setter
    def id(self, value: Any) -> None:
        self._id = value
        for observer in self.id_observers or ():
            observer(value)

    @classmethod
    def is_valid_id(cls, id: str) -> bool:
        """Say whether `generate_id` can have given this: others are never looked up."""
        shape = _OWN_ID if cls.generate_id is Session.generate_id else _ANY_ID
        return shape.fullmatch(id) is not None

    def generate_id(self) -> str:
        """Give a new id: 160 random bits as 40 hexadecimal digits."""
        # What secrets.token_hex gives, without the modules that `secrets` imports.
        return os.urandom(20).hex()

    def _draw_id(self) -> None:
        self.id = self.generate_id()
        if type(self).generate_id is not Session.generate_id and not (self.blocking and _on_a_loop()):
            while self._exists():
                self.id = self.generate_id()

    def regenerate(self) -> None:
        """Go on under a new id, with the same data; nothing is left under the old one. To be called at login."""
        self.regenerated = True
        if not self.loaded:
            self.load()
        own_lock = self._has_own_lock()
        was_locked = self.locked
        if self.blocking and own_lock and _on_a_loop():
            self._outdated += (self._id or '',)
        else:
            self.delete()
            if was_locked and not own_lock:
                self.release_lock()
        # A lock of ours stays with the old id, whose requests wait: nobody else can know the new one.
        self._draw_id()
        if was_locked and not own_lock:
            self.acquire_lock()

    # -- the dict

    def _get(self) -> dict[Any, Any]:
        if not self.loaded:
            self.load()
        return self._data

    def __getitem__(self, key: Any) -> Any:
        # PERF: `_get` in place, here and in the two others that are called most.
        if not self.loaded:
            self.load()
        return self._data[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.loaded:
            self.load()
        self._data[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._get()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._get()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get())

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """Give the number of sessions in the store, not of the keys in this one."""
        raise NotImplementedError(f'{type(self).__name__} cannot count its sessions.')

    def get(self, key: Any, default: Any = None) -> Any:
        """Give the value of `key`, or `default`."""
        if not self.loaded:
            self.load()
        return self._data.get(key, default)

    def pop(self, key: Any, default: Any = False) -> Any:
        """Take `key` out and give its value, or `default`.

        CherryPy: without a default, an absent key gives False.
        """
        return self._get().pop(key, default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Give the value of `key`, set to `default` first if absent."""
        return self._get().setdefault(key, default)

    def update(self, d: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        """Set keys from a mapping or pairs."""
        self._get().update(d)

    def clear(self) -> None:
        """Remove all keys."""
        self._get().clear()

    def keys(self) -> KeysView[Any]:
        return self._get().keys()

    def items(self) -> ItemsView[Any, Any]:
        return self._get().items()

    def values(self) -> ValuesView[Any]:
        return self._get().values()

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {_shortened(self._id)}>'

    # -- loading and saving

    def now(self) -> datetime:
        """Give the time by which sessions expire, in UTC."""
        return _clock.now()

    def _refuse_on_loop(self, name: str) -> None:
        if self.blocking and _on_a_loop():
            raise RuntimeError(f'On an event loop this is `await cpadapter.session.a{name}()`: its store may wait.')

    def load(self) -> None:
        """Load the data; {} if nothing is stored under this id, or it has expired."""
        record, self._record = self._record, _UNKNOWN
        if record is _UNKNOWN:
            if self.blocking:
                self._refuse_on_loop('load')
            record = self._load()
        if record is None:
            self._data = {}
        else:
            data, expiry = record
            if expiry.tzinfo is None:
                expiry = _as_aware(expiry)
            self._data = data if expiry > self.now() else {}
        self.loaded = True
        if self.shared.clean_thread is None:
            self.shared.watch(self)

    def fetch(self) -> None:
        """Read what is stored, so that `load` need not wait."""
        self._record = self._load()

    def save(self) -> None:
        """Save the data, if it was loaded, to be kept for another `timeout` minutes; release the lock."""
        try:
            if self.loaded:
                if self.blocking:
                    self._refuse_on_loop('save')
                    if self.needs_lock and not self.locked:
                        self.acquire_lock()
                    self.delete_outdated()
                self._save(self.now() + _clock.minutes(self.timeout))
                if time.monotonic() > self.shared.late:
                    self.shared.sweep_if_late(self)
        finally:
            if self.locked:
                self.release_lock()

    def delete(self) -> None:
        """Delete what is stored; the data at hand stays, and is stored again if it is saved."""
        self._refuse_on_loop('delete')
        self._delete()

    def delete_outdated(self) -> None:
        """Delete what is stored under ids that this session has left."""
        outdated, self._outdated = self._outdated, ()
        id = self._id
        for self._id in outdated:
            self._delete()
        self._id = id

    def forget(self) -> None:
        """Become a session of nobody's, which holds no data and no lock, for cleaning up."""
        self._data = {}
        self._id = self.originalid = None
        self._record = _UNKNOWN
        self._lock_key = None
        self._outdated = ()
        self.id_observers = None
        self.locked = self.loaded = self.saves_late = False

    def clean_up(self) -> None:
        """Remove the expired sessions of the store."""

    def clean_up_within(self, seconds: float) -> bool:
        """Remove some of them, as time allows; say whether that was all. A store may leave it to its thread."""
        return True

    # -- what a store implements

    def _exists(self) -> bool:
        """Say whether there is a session of this id."""
        raise NotImplementedError

    def _load(self) -> Any:
        """Give (data, expiry) of this id; None if there is nothing."""
        raise NotImplementedError

    def _save(self, expiration_time: datetime) -> None:
        """Keep `_data` under this id until then, which is in UTC."""
        raise NotImplementedError

    def _delete(self) -> None:
        """Forget this id; nothing happens if it is not there."""
        raise NotImplementedError

    def _try_lock(self) -> bool:
        """Take the store's lock for this id if it is free; no other request of this process asks meanwhile."""
        return True

    def _unlock(self) -> None:
        """Release what `_try_lock` has taken; nothing happens if that is nothing."""

    # -- locks

    @classmethod
    def _has_own_lock(cls) -> bool:
        return cls.acquire_lock is Session.acquire_lock

    def acquire_lock(self, path: Any = None) -> None:
        """Wait until no other request has this session; nothing happens if this one has it.

        Raises LockTimeout after `lock_timeout`; on an event loop RuntimeError where it would have to wait.
        """
        if self.locked:
            return
        timeout = lock_seconds(self.lock_timeout)
        end = None if timeout is None else time.monotonic() + timeout
        locks, key = self.shared.locks, self._id
        if not locks.take(key, self):
            if _on_a_loop():
                self._refuse_waiting()
            if not locks.acquire(key, self, timeout):
                raise self._timed_out()
        self._lock_key = key
        try:
            self._refuse_on_loop('acquire_lock')
            pause = _FIRST_PAUSE
            while not self._try_lock():
                if end is not None and time.monotonic() >= end:
                    raise self._timed_out()
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        except BaseException:
            locks.release(key, self)
            raise
        self.locked = True

    def _refuse_waiting(self) -> None:
        raise RuntimeError(
            'On an event loop this is `await cpadapter.session.aacquire_lock()`: another request has it.'
        )

    def _timed_out(self) -> LockTimeout:
        return LockTimeout(f'Timeout acquiring lock for {_shortened(self._id)}')

    def try_lock(self) -> bool:
        """Take the lock if that needs no waiting; say whether this request has it."""
        if not self.locked:
            locks, key = self.shared.locks, self._id
            if not locks.take(key, self):
                return False
            self._lock_key = key
            try:
                self.locked = not self.blocking or self._try_lock()
            finally:
                if not self.locked:
                    locks.release(key, self)
        return self.locked

    def release_lock(self, path: Any = None) -> None:
        """Let the next request have this session."""
        if self.blocking:
            self._refuse_on_loop('release_lock')
            self._release()
        else:
            self.locked = False
            self.shared.locks.release(self._lock_key, self)

    def _release(self) -> None:
        try:
            if self.blocking:
                self._unlock()
        finally:
            self.locked = False
            self.shared.locks.release(self._lock_key, self)

    # -- for async code

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Call it in a thread of those that end requests: never queued behind page handlers, which may wait for it."""
        app = current().app
        if app is not None:
            return await app.offload_end(call)
        import asyncio

        return await asyncio.to_thread(call)

    async def aload(self) -> None:
        """The same as `load`, for async code."""
        if self.blocking and self._record is _UNKNOWN:
            await self._in_thread(self.fetch)
        self.load()

    async def asave(self) -> None:
        """The same as `save`, for async code."""
        if not self.blocking:
            self.save()
            return
        if self.loaded and self.needs_lock and not self.locked:
            await self.aacquire_lock()
        await self._in_thread(self.save)

    async def adelete(self) -> None:
        """The same as `delete`, for async code."""
        await self._in_thread(self.delete) if self.blocking else self.delete()

    async def aregenerate(self) -> None:
        """The same as `regenerate`, for async code."""
        if not self.loaded:
            await self.aload()
        await self._in_thread(self.regenerate) if self.blocking else self.regenerate()

    async def aacquire_lock(self) -> None:
        """The same as `acquire_lock`, for async code: no thread waits. What is stored is read along with it."""
        if self.locked:
            return
        if not self._has_own_lock():
            app = current().app
            if app is None:
                await self._in_thread(self.acquire_lock)
            else:
                # Among page handlers: it may wait for long, and those that end requests must not wait behind it.
                await app.offload(self.acquire_lock)
            if not self.loaded:
                await self._in_thread(self.fetch)
            return
        timeout = lock_seconds(self.lock_timeout)
        end = None if timeout is None else time.monotonic() + timeout
        locks, key = self.shared.locks, self._id
        if not await locks.aacquire(key, self, timeout):
            raise self._timed_out()
        self._lock_key = key
        try:
            if self.blocking:
                import asyncio

                pause = _FIRST_PAUSE
                while not await self._in_thread(self._try_lock_and_fetch):
                    if end is not None and time.monotonic() >= end:
                        raise self._timed_out()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except BaseException:
            # Of the cancelled, too, whose thread may have got it. Rare, and no waiting in it.
            self._release()
            raise
        self.locked = True

    def _try_lock_and_fetch(self) -> bool:
        if not self._try_lock():
            return False
        if not self.loaded:
            self.fetch()
        return True

    async def arelease_lock(self) -> None:
        """The same as `release_lock`, for async code."""
        await self._in_thread(self.release_lock) if self.blocking else self.release_lock()

    def end(self) -> None:
        """Do what a request leaves behind that did not save: release the lock, delete what was left."""
        try:
            self.delete_outdated()
        finally:
            if self.locked:
                self.release_lock()


class _Clock:
    """`datetime`, imported when the first session is."""

    now: Callable[[], datetime]
    minutes: Callable[[float], Any]

    def __getattr__(self, name: str) -> Any:
        from datetime import datetime, timedelta, timezone

        self.now = partial(datetime.now, timezone.utc)
        self.minutes = partial(timedelta, 0, 0, 0, 0)
        return self.__dict__[name]


_clock = _Clock()


def _as_aware(moment: datetime) -> datetime:
    """Give a moment with its time zone: stores of an application's own may keep local time."""
    return moment if moment.tzinfo is not None else moment.astimezone()


# --- in memory ------------------------------------------------------------------------------------------------


class RamSession(Session):
    """Sessions in the memory of one process: any value may be kept, and all are gone when the process ends.

    cache: id -> (data, expiry), of all sessions of the site.
    """

    blocking = False
    cache: Any = _SharedAttribute('cache')
    locks: Any = _SharedAttribute('locks')

    _has_own_cache = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if 'cache' in cls.__dict__:
            cls._has_own_cache = True

    def __init__(self, id: str | None = None, **kwargs: Any) -> None:
        if not self._has_own_cache:
            # PERF: asked for three times in a request.
            self.cache = _shared_of(current().site, type(self)).cache
        super().__init__(id, **kwargs)

    @staticmethod
    def take_up(shared: _Shared, id: str | None, settings: dict[str, Any]) -> RamSession | None:
        """Give the session of `id`, made with less ado than by calling the class; None if there is none."""
        # PERF: a third of what __init__ costs, for what most requests need.
        if id is None or _OWN_ID.fullmatch(id) is None:
            return None
        session = RamSession.__new__(RamSession)
        values = session.__dict__
        values.update(settings)
        values['shared'] = shared
        values['cache'] = shared.cache
        values['_data'] = {}
        values['id_observers'] = []
        values['originalid'] = values['_id'] = id
        return session if session._exists() else None

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


# --- in bytes -------------------------------------------------------------------------------------------------


class _Packed:
    """How a store keeps records as bytes. They are pickled; a subclass of it may pack them otherwise."""

    pickle_protocol = 5
    _id: str | None

    def pack(self, record: tuple[dict[Any, Any], datetime]) -> bytes:
        """Give a record, (data, expiry), as bytes."""
        import pickle

        return pickle.dumps(record, self.pickle_protocol)

    def unpack(self, data: bytes) -> Any:
        """Give back the record that `pack` was given; any Exception says that these bytes are none."""
        import pickle

        return pickle.loads(data)

    def _read_record(self, data: bytes) -> Any:
        """Give the record; None, and a line in the log, if the bytes are damaged."""
        try:
            values, expiry = self.unpack(data)
            if not isinstance(values, dict):
                raise TypeError(f'the data is a {type(values).__name__}, not a dict')
            return values, _as_aware(expiry)
        except Exception as exc:
            _log(
                f'The stored session {_shortened(self._id)} is damaged, and taken as empty: {exc!r}',
                logging.WARNING,
            )
            return None


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
        if not _ANY_ID.fullmatch(id):
            raise ValueError(f'{_shortened(id)!r} is no session id, so that no file can bear it.')
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
        self._delete()
        return False

    def _load(self, path: str | None = None) -> Any:
        try:
            with open(path or self._get_file_path(), 'rb') as file:
                data = file.read()
        except FileNotFoundError:
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
        if _on_a_loop():
            raise RuntimeError('On an event loop files are counted by `await asyncio.to_thread(len, session)`.')
        return sum('.' not in name for name in self._names())

    def clean_up(self) -> None:
        self.clean_up_within(float('inf'))

    def clean_up_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        now = self.now()
        for name in self._names():
            if time.monotonic() > end:
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
    cache: Any = _SharedAttribute('client')
    locks: Any = _SharedAttribute('locks')
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
        shared = _shared_of(current().site, cls)
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
            raise RuntimeError(f'memcached has not taken the session {_shortened(self._id)}.')

    def _delete(self) -> None:
        self.cache.delete(self._id, noreply=False)


# --- the cookie -----------------------------------------------------------------------------------------------


class _MorselClass:
    """The class of the session's cookie, made when the first is: http.cookies is imported then."""

    _made: Any = None

    def get(self) -> Any:
        if self._made is None:
            from http.cookies import Morsel

            class SessionMorsel(Morsel):  # type: ignore[type-arg]
                """A cookie whose text is known as long as nobody changes its attributes."""

                known: Any = None

                def OutputString(self, attrs: Any = None) -> str:
                    # PERF: a morsel takes 6 us to spell itself out, this 0.5.
                    known = self.known
                    if attrs is None and known is not None and dict.__eq__(self, known[0]):
                        return f'{self.key}={self.coded_value}{known[1]}'
                    return super().OutputString(attrs)

            self._made = SessionMorsel
        return self._made


_morsel_class = _MorselClass()


class _Cookie:
    """How the cookie of a session is sent: its name and attributes, as `init` describes them."""

    def __init__(
        self,
        path: str | None = None,
        path_header: str | None = None,
        name: str = 'session_id',
        timeout: float | None = 60,
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: str | None = 'Lax',
    ) -> None:
        self.path = path
        self.path_header = path_header
        self.name = name
        self.start = f'{name}='
        self.seconds = round(timeout * 60) if timeout else 0
        self.domain = domain
        self.secure = secure
        self.httponly = httponly
        self.samesite = samesite
        self._made: tuple[Any, Any] = (None, None)

    def send(self, exchange: Any, cookies: Any, id: str) -> None:
        """Put the cookie with `id` among those that are sent."""
        known = self._known(exchange)
        cls = _morsel_class.get()
        morsel = cls.__new__(cls)
        dict.update(morsel, known[0])
        coded = id if id.isalnum() else cookies.value_encode(id)[1]
        morsel.set(self.name, id, coded)
        morsel.known = known
        dict.__setitem__(cookies, self.name, morsel)

    def put_header(self, exchange: Any, headers: Any, id: str) -> None:
        """Put the cookie with `id`, which is alphanumeric, into the headers of a response without other cookies."""
        # PERF: half of what the map of cookies costs.
        dict.__setitem__(headers, 'Set-Cookie', f'{self.start}{id}{self._known(exchange)[1]}')

    def _known(self, exchange: Any) -> Any:
        """Give the cookie's attributes for this request, and their text."""
        secure = self.secure
        if secure is None:
            scheme = exchange.request.__dict__.get('scheme')
            secure = (scheme if scheme is not None else exchange.head.scheme) == 'https'
        path = self.path
        if not path:
            path = (self.path_header and _clean_path(exchange.request.headers.get(self.path_header))) or '/'
        key = (int(time.time()) if self.seconds else 0, path, secure)
        made_for, known = self._made
        if made_for != key:
            known = self._make(*key)
            self._made = (key, known)
        return known

    def _make(self, now: int, path: str, secure: Any) -> tuple[dict[str, Any], str]:
        """Give the cookie's attributes and their text."""
        from http.cookies import Morsel

        from ..protocol.dates import HTTPDate

        morsel: Any = Morsel()
        morsel.set(self.name, 'x', 'x')
        morsel['path'] = path
        if self.seconds:
            # Both: Max-Age is the later and better invention, and there are clients that know the former only.
            morsel['max-age'] = str(self.seconds)
            morsel['expires'] = HTTPDate(now + self.seconds)
        if self.domain is not None:
            morsel['domain'] = self.domain
        if secure:
            morsel['secure'] = True
        if self.httponly:
            morsel['httponly'] = True
        if self.samesite:
            morsel['samesite'] = self.samesite
        return dict(morsel), morsel.OutputString()[len(self.name) + 2 :]

    def sent_id(self, exchange: Any) -> str | None:
        """Give the id that the client sent, as text of any shape; None if it sent none."""
        if exchange.prev is not None:
            # Inside of an internal redirect: the session goes on, whatever the client knows of it.
            inner: str | None = exchange.prev.__dict__.get('_session_id')
            if inner is not None:
                return inner
        values = exchange.request.__dict__
        field = exchange.head.get('cookie')
        if 'cookie' not in values and 'header_list' not in values:
            if field is None:
                return None
            if '"' not in field and len(field) < 8192:
                # PERF: nobody has asked for the cookies yet, so that the one is looked for and no others are made.
                if ';' not in field:
                    field = field.strip()
                    return field[len(self.start) :].lstrip() if field.startswith(self.start) else None
                found = None
                for pair in field.split(';'):
                    name, _, value = pair.partition('=')
                    if name.strip() == self.name:
                        found = value.strip()
                return found
        morsel = exchange.request.cookie.get(self.name)
        return None if morsel is None else morsel.value


def _clean_path(path: Any) -> str | None:
    """Give a path that came in a header, if it can be a cookie's."""
    return path if path and path[0] == '/' and path.isprintable() and ';' not in path and path.isascii() else None


# --- the tool -------------------------------------------------------------------------------------------------


def _find_class(storage_type: str) -> Any:
    name = f'{storage_type.title()}Session'
    # COMPAT: applications put classes of their own into this module to name them so.
    cls = globals().get(name)
    if cls is None:
        raise ValueError(f"'tools.sessions.storage_type' = {storage_type!r}: there is no {name}.")
    return cls


# Settings of `init` that are the cookie's.
_COOKIE_SETTINGS = ('path', 'path_header', 'name', 'domain', 'secure', 'httponly', 'samesite')

_reported: set[str] = set()


class _Settings:
    """The settings of one path, and what requests there do with them: its methods are the tool's hooks.

    All of them are for event loops too: where they have to wait they give what is to be awaited.
    """

    def __init__(
        self,
        storage_type: str | None = None,
        timeout: float = 60,
        clean_freq: float = 5,
        persistent: bool = True,
        storage_class: Any = None,
        **kwargs: Any,
    ) -> None:
        if storage_type:
            storage_class = _find_class(storage_type)
            if 'storage_type' not in _reported:
                _reported.add('storage_type')
                _log('storage_type is deprecated. Supply storage_class instead', logging.WARNING)
        self.storage_class: Any = storage_class or RamSession
        if not (isinstance(self.storage_class, type) and issubclass(self.storage_class, Session)):
            raise TypeError(f"'tools.sessions.storage_class' = {storage_class!r}: a subclass of Session is wanted.")
        cookie = {name: kwargs.pop(name) for name in _COOKIE_SETTINGS if name in kwargs}
        self.cookie = _Cookie(timeout=timeout if persistent else None, **cookie)
        kwargs['timeout'] = timeout
        kwargs['clean_freq'] = clean_freq
        if 'lock_timeout' in kwargs:
            kwargs['lock_timeout'] = lock_seconds(kwargs['lock_timeout'])
        if kwargs.get('storage_path') is not None:
            kwargs['storage_path'] = os.path.abspath(kwargs['storage_path'])
        self.kwargs = kwargs
        self.blocking = self.storage_class.blocking
        self.own_lock = self.storage_class._has_own_lock()
        # Where it only has to be taken, if it is free.
        self.quick_lock = self.own_lock and not self.blocking
        self._ready = False
        # Where the store is RamSession itself: what its sessions share.
        self._plain: _Shared | None = None

    def begin(self, exchange: Any, id: str | None) -> Any:
        """Make the session of a request, and its cookie."""
        if not self._ready:
            self._set_up(exchange)
        session: Any = None
        if self._plain is not None:
            session = RamSession.take_up(self._plain, id, self.kwargs)
        if session is None:
            session = self.storage_class(id, **self.kwargs)
            if not self._ready:
                session.shared.watch(session)
                self._ready = True
                if self.storage_class is RamSession:
                    self._plain = session.shared
        exchange.session = session
        # Of the settings, not of the exchange, which would then be held by what it holds.
        session.id_observers.append(self.tell)
        # PERF: not made before the page handler has run, unless it is looked for: a response would have to be, too.
        exchange.send_cookie = self.send_cookie
        response = exchange._response
        if response is not None and 'cookie' in response.__dict__:
            self.send_cookie(exchange, response.cookie)
        if session.debug:
            sent = 'no id' if id is None else f'the id {_shortened(id)}'
            state = 'new' if id is None else 'unknown' if session.missing else 'known'
            _log(f'The client sent {sent}: the session {_shortened(session.id)} is {state}.')
        return session

    def _set_up(self, exchange: Any) -> None:
        cls = self.storage_class
        site = exchange.site
        _shared_of(site, cls).set_up(cls, self.kwargs)
        if (
            issubclass(cls, RamSession)
            and exchange.head is not None
            and exchange.head.multiprocess
            and site.__dict__.setdefault('session_warned', self) is self
        ):
            _log(
                'Sessions are kept in memory, and the server runs several processes: a client that reaches '
                'another process next time has another session there. FileSession is for several processes.',
                logging.WARNING,
            )

    def send_cookie(self, exchange: Any, cookies: Any) -> None:
        """Put the session's cookie among those that are sent."""
        session = exchange.session
        if session.cookie_is_header:
            session.cookie_is_header = False
            exchange.response.headers.pop('Set-Cookie', None)
        self.cookie.send(exchange, cookies, session.id)

    @staticmethod
    def tell(id: str | None) -> None:
        """Let the response's cookie have the session's new id."""
        exchange = current()
        settings = exchange.__dict__.get('session_settings')
        if settings is not None and id is not None:
            exchange.response.cookie[settings.cookie.name] = id

    # -- hooks

    def open(self) -> Any:
        """Make the session of the request, once; at before_request_body."""
        exchange: Any = current()
        if 'session_settings' in exchange.__dict__:
            return None
        exchange.session_settings = self
        id = self.cookie.sent_id(exchange)
        if not self.blocking:
            self.begin(exchange, id)
            return None
        if exchange.on_loop or _on_a_loop():
            # Read what is stored along with it, unless the lock comes first.
            fetches = self.kwargs.get('locking', 'implicit') not in ('implicit', 'early')

            def begin() -> None:
                session = self.begin(exchange, id)
                if fetches and self.own_lock:
                    session.fetch()

            return _awaited(exchange, exchange.app.offload_end(begin))
        self.begin(exchange, id)
        return None

    open.non_blocking = True  # type: ignore[attr-defined]

    def lock(self) -> Any:
        """Take the session's lock; at before_handler, or before_request_body."""
        exchange = current()
        session = exchange.__dict__.get('session')
        if session is None or session.locked or (self.quick_lock and session.try_lock()):
            return None
        looping = exchange.on_loop or _on_a_loop()
        if not self.own_lock:
            if looping:
                return _awaited(exchange, session.aacquire_lock())
            session.acquire_lock()
            return None
        if not looping and session.try_lock():
            return None
        if looping or getattr(exchange.head, 'loop', None) is not None:
            # In a thread of a loop's, too: whoever has the lock may need one of these threads to go on.
            return _awaited(exchange, session.aacquire_lock())
        session.acquire_lock()
        return None

    lock.non_blocking = True  # type: ignore[attr-defined]

    def save(self) -> Any:
        """Save the session, or leave that to the end of a streamed body; at before_finalize."""
        exchange = current()
        session = exchange.__dict__.get('session')
        if session is None or _is_saved(exchange):
            return None
        response = exchange.response
        if 'cookie' not in response.__dict__:
            headers = response.headers
            id = session._id
            if id.isalnum() and not dict.__contains__(headers, 'Set-Cookie'):
                self.cookie.put_header(exchange, headers, id)
                session.cookie_is_header = True
            else:
                response.cookie  # noqa: B018  it is made by being looked at
        if response.stream:
            session.saves_late = True
            return None
        # What still makes the body may use the session.
        if type(response.body) is not list and is_iterator(response.body):
            if exchange.on_loop:
                return _collapse_and_save(exchange, session)
            response.collapse_body()
        if self.blocking or session.debug:
            return _save(exchange, session)
        session.save()
        return None

    save.failsafe = True  # type: ignore[attr-defined]
    save.non_blocking = True  # type: ignore[attr-defined]

    def keep_private(self) -> None:
        """Say that the response is this client's: no cache may give it, or its cookie, to another."""
        exchange = current()
        if 'session' in exchange.__dict__:
            response = exchange.response
            headers = response.headers
            # PERF: names in the spelling that the map keeps them in are a dict's.
            if not dict.__contains__(headers, 'Cache-Control'):
                dict.__setitem__(headers, 'Cache-Control', 'private')
            if not dict.__contains__(headers, 'Vary'):
                dict.__setitem__(headers, 'Vary', 'Cookie')
            else:
                set_vary_header(response, 'Cookie')

    keep_private.failsafe = True  # type: ignore[attr-defined]
    keep_private.non_blocking = True  # type: ignore[attr-defined]

    def show_cookie(self) -> None:
        """Send the cookie with the page of an unforeseen error, too; at before_error_response."""
        exchange = current()
        if 'session' in exchange.__dict__:
            exchange.response.cookie  # noqa: B018

    show_cookie.failsafe = True  # type: ignore[attr-defined]
    show_cookie.non_blocking = True  # type: ignore[attr-defined]

    def close(self) -> Any:
        """Save what was left to the end, and release the lock however the request went; at on_end_request."""
        exchange = current()
        session = exchange.__dict__.get('session')
        if session is None:
            return None
        if not (session.locked or session.saves_late or session._outdated) and exchange.redirect is None:
            return None
        return _close(exchange, session)

    close.failsafe = True  # type: ignore[attr-defined]
    close.non_blocking = True  # type: ignore[attr-defined]


def _awaited(exchange: Any, awaitable: Any) -> Any:
    """Give what a hook gives so that `awaitable` is awaited, whoever runs the hook."""
    return awaitable if exchange.on_loop else _suspended(exchange, awaitable)


async def _suspended(exchange: Any, awaitable: Any) -> None:
    await exchange.suspend(awaitable)


def _is_saved(exchange: Any) -> bool:
    """Say whether the session was saved before in this request, and that it now is."""
    # COMPAT: applications set this attribute to keep a request from saving.
    values = exchange.request.__dict__
    if values.get('_sessionsaved'):
        return True
    values['_sessionsaved'] = True
    return False


def _save(exchange: Any, session: Any) -> Any:
    """Save the session here, or give what is to be awaited for it."""
    if session.debug:
        _log(f'The session {_shortened(session.id)} is {"saved" if session.loaded else "left alone"}.')
    if not session.blocking:
        session.save()
        return None
    if exchange.on_loop or _on_a_loop():
        return _awaited(exchange, session.asave())
    waits = session.loaded and session.needs_lock and not session.locked
    if waits and getattr(exchange.head, 'loop', None) is not None:
        return _awaited(exchange, session.asave())
    session.save()
    return None


async def _collapse_and_save(exchange: Any, session: Any) -> None:
    await exchange.app.offload(exchange.response.collapse_body)
    saving = _save(exchange, session)
    if saving is not None:
        await saving


def _close(exchange: Any, session: Any) -> Any:
    if session.saves_late:
        session.saves_late = False
        return _save(exchange, session)
    if exchange.redirect is not None and session.loaded:
        # The request that follows finds the session as this one left it.
        exchange.redirect.request.__dict__['_session_id'] = session.id
        if not _is_saved(exchange):
            return _save(exchange, session)
    if not session.locked and not session._outdated:
        return None
    if session.blocking and (exchange.on_loop or _on_a_loop()):
        return _awaited(exchange, exchange.app.offload_end(session.end))
    session.end()
    return None


# --- functions for hooks and handlers -------------------------------------------------------------------------


def init(
    storage_type: str | None = None,
    path: str | None = None,
    path_header: str | None = None,
    name: str = 'session_id',
    timeout: float = 60,
    domain: str | None = None,
    secure: bool | None = None,
    clean_freq: float = 5,
    persistent: bool = True,
    httponly: bool = True,
    debug: bool = False,
    *,
    storage_class: Any = None,
    samesite: str | None = 'Lax',
    **kwargs: Any,
) -> None:
    """Make the session of the current request, once, and set its cookie.

    storage_class: a subclass of Session; None is RamSession. storage_type: 'ram', 'file' or 'memcached', for
        'RamSession' and so on; use storage_class.
    name: the cookie's. path: its Path; else what the request header `path_header` says; else '/'.
    timeout: minutes that data is kept after it was last saved, and the cookie if it is `persistent`; else that lasts
        until the browser is closed.
    domain, httponly, samesite: the cookie's attributes; None and False leave them out. secure: None sets it where
        the request came by https.
    clean_freq: minutes between two clean-ups of the store; 0 is never.
    Any other setting is the store's, and an attribute of the session.
    """
    exchange = current()
    if 'session_settings' in exchange.__dict__:
        return
    settings = _Settings(
        storage_type, timeout, clean_freq, persistent, storage_class,
        path=path, path_header=path_header, name=name, domain=domain, secure=secure, httponly=httponly,
        samesite=samesite, debug=debug, **kwargs,
    )  # fmt: skip
    exchange.session_settings = settings  # type: ignore[attr-defined]
    settings.begin(exchange, settings.cookie.sent_id(exchange))
    exchange.response.cookie  # noqa: B018  made here, since no hook of the tool does it


def save() -> None:
    """Save the current request's session, once, or at the end of the body if that is streamed."""
    exchange = current()
    session = exchange.__dict__.get('session')
    if session is None or _is_saved(exchange):
        return
    response = exchange.response
    if response.stream:
        session.saves_late = True
        return
    if is_iterator(response.body):
        response.collapse_body()
    session.save()


save.failsafe = True  # type: ignore[attr-defined]


def close() -> None:
    """Save the current request's session if that was left to the end, and release its lock."""
    exchange = current()
    session = exchange.__dict__.get('session')
    if session is None:
        return
    if session.saves_late:
        session.saves_late = False
        session.save()
    elif session.locked:
        session.release_lock()


close.failsafe = True  # type: ignore[attr-defined]
close.priority = 90  # type: ignore[attr-defined]


def set_response_cookie(
    path: str | None = None,
    path_header: str | None = None,
    name: str = 'session_id',
    timeout: float | None = 60,
    domain: str | None = None,
    secure: bool | None = None,
    httponly: bool = True,
    samesite: str | None = 'Lax',
) -> None:
    """Set the cookie of the current request's session anew.

    timeout: minutes that the browser keeps it; None and 0 keep it until the browser is closed. The others: see `init`.
    """
    exchange: Any = current()
    cookie = _Cookie(path, path_header, name, timeout, domain, secure, httponly, samesite)
    cookie.send(exchange, exchange.response.cookie, exchange.session.id)


def expire() -> None:
    """Let the browser forget the session's cookie; what is stored stays, see Session.delete.

    KeyError if the `sessions` tool has set no cookie.
    """
    from ..protocol.dates import HTTPDate

    exchange = current()
    name = (exchange.request.config or {}).get('tools.sessions.name', 'session_id')
    morsel = exchange.response.cookie[name]
    morsel['expires'] = HTTPDate(time.time() - 365 * 24 * 3600)
    morsel['max-age'] = ''


class SessionTool(Tool):
    """The `sessions` tool: gives a request its session, locks it, saves it and lets it go.

    locking: 'implicit' locks it before the page handler runs, 'early' before the body is read; with anything else,
        such as 'explicit', the application calls `acquire_lock` and `release_lock`.
    """

    # What the stores and the tool take beside the parameters of `init`.
    STORE_SETTINGS = frozenset(('storage_path', 'lock_timeout', 'servers', 'pickle_protocol', 'locking'))

    def __init__(self) -> None:
        super().__init__('before_request_body', init)

    def compile(self, builder: Any, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._report_unknown(settings)
        made = _Settings(**settings)
        cls: Any = made.storage_class
        if issubclass(cls, FileSession) and settings.get('storage_path', cls.storage_path) is None:
            raise ValueError("'tools.sessions.storage_path' is not set: FileSession keeps its files there.")
        locking = settings.get('locking', 'implicit')
        builder.attach('before_request_body', made.open, priority=priority)
        if locking == 'implicit':
            builder.attach('before_handler', made.lock)
        elif locking == 'early':
            builder.attach('before_request_body', made.lock, priority=60)
        builder.attach('before_finalize', made.save)
        # Behind what sets Cache-Control and Vary by themselves, before what keeps responses.
        builder.attach('before_finalize', made.keep_private, priority=98)
        builder.attach('on_end_request', made.close, priority=90)
        builder.attach('before_error_response', made.show_cookie)

    def _setup(self) -> None:
        self.compile(current().request.hooks, self._merged_args())

    def _report_unknown(self, settings: dict[str, Any]) -> None:
        """Report settings that a store of ours does not have; other stores have settings of their own."""
        cls = settings.get('storage_class') or RamSession
        if cls.__module__ != __name__:
            return
        known = {*init.__code__.co_varnames[: init.__code__.co_argcount + init.__code__.co_kwonlyargcount]}
        known |= self.STORE_SETTINGS
        app = current().app
        for key, value in settings.items():
            if key not in known and not hasattr(cls, key) and app is not None:
                app.report_unknown(
                    f'{self.namespace}.{self._name}.{key}', value, [f'{self.namespace}.{self._name}.{n}' for n in known]
                )

    def regenerate(self) -> None:
        """Give the current session a new id, with the same data, and send its cookie. To be called at login."""
        exchange: Any = current()
        exchange.session.regenerate()
        exchange.session_settings.send_cookie(exchange, exchange.response.cookie)

    async def aregenerate(self) -> None:
        """The same for async code."""
        exchange: Any = current()
        await exchange.session.aregenerate()
        exchange.session_settings.send_cookie(exchange, exchange.response.cookie)
