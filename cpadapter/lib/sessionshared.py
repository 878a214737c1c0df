"""What the sessions of one class share on one Site: records in memory, locks, and the thread that cleans up.

It knows sessions only as things that can be copied, and asked to clean up where they are kept.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from ..context import default_site
from ..core.engine import states
from ..process.plugins import Monitor
from .locking import KeyedLocks

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ['Shared', 'SharedAttribute', 'Sharing']

# Seconds that a clean-up may take out of a request's time.
_SHORT_SWEEP = 0.01


class Shared:
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
        self._sweepers: dict[Any, Any] = {}
        self._mutex = threading.Lock()

    def set_up(self, cls: Any, settings: dict[str, Any]) -> None:
        """Let a class set itself up, once for each site."""
        with self._mutex:
            if cls in self.ready:
                return
            if hasattr(cls, 'setup'):
                cls.setup(**settings)
            self.ready.add(cls)

    def watch(self, session: Any) -> None:
        """See to it that what expires where `session` is kept is removed some day."""
        key = (type(session), getattr(session, 'storage_path', None))
        if key in self._sweepers or not session.clean_freq:
            return
        # A session of no client's, which holds nothing.
        cls: Any = type(session)
        sweeper = cls.__new__(cls)
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
                self._log_failure()

    def sweep_if_late(self, session: Any) -> None:
        """Remove some of what has expired where no thread does: there are hosts in which threads do not run."""
        self._postpone()
        sweeper = self._sweepers.get((type(session), getattr(session, 'storage_path', None)))
        try:
            if sweeper is not None and not sweeper.clean_up_within(_SHORT_SWEEP):
                # Not all of it: the next request that saves goes on, a second later at the earliest.
                self.late = time.monotonic() + 1
        except Exception:
            # It is not for this request, which has saved, to fail by it.
            self._log_failure()

    def _log_failure(self) -> None:
        self.site.log.error('Cleaning up sessions failed.', 'TOOLS.SESSIONS', logging.ERROR, traceback=True)

    def _postpone(self) -> None:
        if self.clean_thread is not None:
            self.late = time.monotonic() + 1.5 * self.clean_thread.frequency


class Sharing:
    """The base of Session, and of nothing else: what all sessions of one store have together on one site."""

    @classmethod
    def shared_on(cls, site: Any) -> Shared:
        """Give what the sessions of this class share on a site; subclasses of a store share with it."""
        home = _homes.get(cls)
        if home is None:
            mro = cls.__mro__
            # Behind a store come Session, and this class.
            home = _homes[cls] = mro[max(0, mro.index(Sharing) - 2)]
        stores: dict[type, Shared] | None = site.__dict__.get('session_stores')
        if stores is None:
            stores = site.__dict__.setdefault('session_stores', {})
        shared = stores.get(home)
        if shared is None:
            shared = stores.setdefault(home, Shared(site))
        return shared


_homes: dict[type, type] = {}


class SharedAttribute:
    """Shows what is shared: on a session its site's, on the class the default site's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, cls: type[Sharing]) -> Any:
        return getattr(cls.shared_on(default_site()) if obj is None else obj.shared, self.name)
