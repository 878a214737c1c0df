"""Session: the data of one client for one request, as a mapping; its id, its life, its lock, and twins for async code.

Where data is kept is said by subclasses, and what they share by sessionshared.py. Nothing here knows cookies, hooks or
config, nor how requests are run: only where waiting is allowed. A store that waits (`blocking`) is never used on an
event loop: the methods that would wait refuse, and their async twins, such as `asave`, go to a thread.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from typing import Any

from ..context import current, on_a_loop
from .locking import LockTimeout, lock_seconds
from .sessionshared import SharedAttribute, Sharing

__all__ = ['ANY_ID', 'OWN_ID', 'Session', 'as_aware', 'log_line', 'shortened']

# What `generate_id` gives, and what the ids of a class with a `generate_id` of its own may consist of.
OWN_ID = re.compile(r'[0-9a-f]{40}')
ANY_ID = re.compile(r'[0-9A-Za-z_-]{16,200}')

# In place of a record that was not asked for yet: None is the record of a session that is not there.
_UNKNOWN: Any = object()

# Seconds between two attempts to take a lock that another process holds: the first, and the longest.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def shortened(id: Any) -> str:
    """Give what of an id may stand in logs: enough to tell two apart, not enough to take one over."""
    return f'{str(id)[:6]}...'


def log_line(text: str, severity: int = logging.INFO) -> None:
    """Write a line to the error log of the application, or site, that is being served."""
    exchange = current()
    log = exchange.app.log if exchange.app is not None else exchange.site.log
    log.error(text, 'TOOLS.SESSIONS', severity=severity)


def as_aware(moment: datetime) -> datetime:
    """Give a moment with its time zone: stores of an application's own may keep local time."""
    return moment if moment.tzinfo is not None else moment.astimezone()


_now = partial(datetime.now, timezone.utc)
# PERF: a request asks for the same span as the one before it: 0.05 microseconds in place of 0.3.
_minutes = lru_cache(64)(partial(timedelta, 0, 0, 0, 0))


class Session(Sharing):
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
    clean_thread: Any = SharedAttribute('clean_thread')
    # Set where saving waits for the end of a streamed body, and where the cookie stands among the headers.
    saves_late = False
    cookie_is_header = False

    _id: str | None = None
    _data: dict[Any, Any] = {}
    _record: Any = _UNKNOWN
    # The expiry of the record that was found, where that had not passed.
    _looked_at: Any = None
    _lock_key: Any = None
    # Ids whose data is to be deleted, where that could not be waited for.
    outdated: tuple[str, ...] = ()

    def __init__(self, id: str | None = None, **kwargs: Any) -> None:
        """Take up the session of `id`, or begin a new one; `kwargs` become attributes."""
        self._data = {}
        self.shared = self.shared_on(current().site)
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
        shape = OWN_ID if cls.generate_id is Session.generate_id else ANY_ID
        return shape.fullmatch(id) is not None

    def generate_id(self) -> str:
        """Give a new id: 160 random bits as 40 hexadecimal digits."""
        # What secrets.token_hex gives, without the modules that `secrets` imports.
        return os.urandom(20).hex()

    def _draw_id(self) -> None:
        self.id = self.generate_id()
        if type(self).generate_id is not Session.generate_id and not (self.blocking and on_a_loop()):
            while self._exists():
                self.id = self.generate_id()

    def regenerate(self) -> None:
        """Go on under a new id, with the same data; nothing is left under the old one. To be called at login."""
        self.regenerated = True
        if not self.loaded:
            self.load()
        own_lock = self.has_own_lock()
        was_locked = self.locked
        if self.blocking and own_lock and on_a_loop():
            self.outdated += (self._id or '',)
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
        return f'<{type(self).__name__} {shortened(self._id)}>'

    # -- loading and saving

    def now(self) -> datetime:
        """Give the time by which sessions expire, in UTC."""
        return _now()

    def _refuse_on_loop(self, name: str) -> None:
        if self.blocking and on_a_loop():
            raise RuntimeError(f'On an event loop this is `await cpadapter.session.a{name}()`: its store may wait.')

    def load(self) -> None:
        """Load the data; {} if nothing is stored under this id, or it has expired."""
        record, self._record = self._record, _UNKNOWN
        looked_at, self._looked_at = self._looked_at, None
        if record is _UNKNOWN:
            if self.blocking:
                self._refuse_on_loop('load')
            record = self._load()
        # PERF: what was found to last when the session was taken up, and is still the same, is good for once: this
        # saves 0.2 microseconds.
        if record is not None and (record[1] is looked_at or as_aware(record[1]) > self.now()):
            self._data = record[0]
        else:
            self._data = {}
            if not self.loaded and self._id == self.originalid:
                self._leave_id()
        self.loaded = True
        if self.shared.clean_thread is None:
            self.shared.watch(self)

    def _leave_id(self) -> None:
        """Take another id, where the session is gone since it was taken up: what was given up never comes back.

        While this request waited for the lock, the one that had it may have logged its user in, or out.
        """
        moves_lock = self.locked and not self.has_own_lock()
        if moves_lock:
            if self.blocking and on_a_loop():
                return
            self.release_lock()
        self.missing = True
        self._draw_id()
        if moves_lock:
            self.acquire_lock()

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
                self._save(self.now() + _minutes(self.timeout))
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
        outdated, self.outdated = self.outdated, ()
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
        self.outdated = ()
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
    def has_own_lock(cls) -> bool:
        """Say whether the lock is the one made here."""
        return cls.acquire_lock is Session.acquire_lock

    def acquire_lock(self, path: Any = None) -> None:
        """Wait until no other request has this session; nothing happens if this one has it.

        Raises LockTimeout after `lock_timeout`; on an event loop RuntimeError where it would have to wait.
        """
        if self.locked or (not self.blocking and self.try_lock()):
            return
        if on_a_loop():
            self._refuse_on_loop('acquire_lock')
            raise RuntimeError(
                'On an event loop this is `await cpadapter.session.aacquire_lock()`: another request has it.'
            )
        end = self._end_of_waiting()
        key = self._id
        with self._locking(key, self.shared.locks.acquire(key, self, _seconds_until(end))):
            for pause in self._pauses(end):
                if self._try_lock():
                    break
                time.sleep(pause)

    async def aacquire_lock(self) -> None:
        """The same as `acquire_lock`, for async code: no thread waits. What is stored is read along with it."""
        if self.locked:
            return
        if not self.has_own_lock():
            app = current().app
            # Among page handlers: it may wait for long, and those that end requests must not wait behind it.
            await (self._in_thread(self.acquire_lock) if app is None else app.offload(self.acquire_lock))
            if not self.loaded:
                await self._in_thread(self.fetch)
            return
        end = self._end_of_waiting()
        key = self._id
        with self._locking(key, await self.shared.locks.aacquire(key, self, _seconds_until(end))):
            if self.blocking:
                import asyncio

                for pause in self._pauses(end):
                    if await self._in_thread(self._try_lock_and_fetch):
                        break
                    await asyncio.sleep(pause)

    def _end_of_waiting(self) -> float | None:
        """Give when to stop waiting for the lock, by time.monotonic(); None is never."""
        timeout = lock_seconds(self.lock_timeout)
        return None if timeout is None else time.monotonic() + timeout

    @contextmanager
    def _locking(self, key: Any, taken: bool) -> Iterator[None]:
        """Have the lock when this ends; raises LockTimeout unless it was `taken` from the requests of this process."""
        if not taken:
            raise self._timed_out()
        self._lock_key = key
        try:
            yield
        except BaseException:
            # Of the cancelled, too, whose thread may have got it. Rare, and no waiting in it.
            self._release()
            raise
        self.locked = True

    def _pauses(self, end: float | None) -> Iterator[float]:
        """Give the seconds to rest after each attempt that fails; raises LockTimeout when time is up."""
        pause = _FIRST_PAUSE
        yield pause
        while end is None or time.monotonic() < end:
            pause = min(2 * pause, _LONGEST_PAUSE)
            yield pause
        raise self._timed_out()

    def _timed_out(self) -> LockTimeout:
        return LockTimeout(f'Timeout acquiring lock for {shortened(self._id)}')

    def _try_lock_and_fetch(self) -> bool:
        if not self._try_lock():
            return False
        if not self.loaded:
            self.fetch()
        return True

    def try_lock(self) -> bool:
        """Take the lock if that needs no waiting; say whether this request has it."""
        if self.locked:
            return True
        locks, key = self.shared.locks, self._id
        if not locks.take(key, self):
            return False
        self._lock_key = key
        if not self.blocking:
            self.locked = True
            return True
        try:
            self.locked = self._try_lock()
        finally:
            if not self.locked:
                locks.release(key, self)
        return self.locked

    def release_lock(self, path: Any = None) -> None:
        """Let the next request have this session."""
        if self.blocking:
            self._refuse_on_loop('release_lock')
        self._release()

    def _release(self) -> None:
        try:
            if self.blocking:
                self._unlock()
        finally:
            self.locked = False
            self.shared.locks.release(self._lock_key, self)

    def end(self) -> None:
        """Do what a request leaves behind that did not save: release the lock, delete what was left."""
        try:
            self.delete_outdated()
        finally:
            if self.locked:
                self.release_lock()

    # -- for async code

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Call it in a thread of those that end requests: never queued behind page handlers, which may wait for it."""
        app = current().app
        if app is not None:
            return await app.offload_end(call)
        import asyncio

        return await asyncio.to_thread(call)

    async def _off_loop(self, call: Callable[[], Any]) -> None:
        """Call it here, or in a thread if the store may wait."""
        if self.blocking:
            await self._in_thread(call)
        else:
            call()

    async def aload(self) -> None:
        """The same as `load`, for async code."""
        if self.blocking and self._record is _UNKNOWN:
            await self._in_thread(self.fetch)
        self.load()

    async def asave(self) -> None:
        """The same as `save`, for async code."""
        if self.blocking and self.loaded and self.needs_lock and not self.locked:
            await self.aacquire_lock()
        await self._off_loop(self.save)

    async def adelete(self) -> None:
        """The same as `delete`, for async code."""
        await self._off_loop(self.delete)

    async def aregenerate(self) -> None:
        """The same as `regenerate`, for async code."""
        if not self.loaded:
            await self.aload()
        await self._off_loop(self.regenerate)

    async def arelease_lock(self) -> None:
        """The same as `release_lock`, for async code."""
        await self._off_loop(self.release_lock)


def _seconds_until(end: float | None) -> float | None:
    return None if end is None else end - time.monotonic()
