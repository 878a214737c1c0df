"""What requests do with the sessions of one path: make one, lock it, save it, let it go. These are the tool's hooks.

The settings are worked out once. Where the data is kept is not known here, nor how waiting is done: a hook that has to
wait gives what is to be awaited.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from ..context import current, on_a_loop
from ..protocol.iterators import is_iterator
from . import set_vary_header
from .locking import lock_seconds
from .sessionbase import Session, log_line, shortened
from .sessioncookie import SessionCookie
from .sessionstores import RamSession

__all__ = ['SessionHooks', 'is_saved']

# Settings that are the cookie's.
_COOKIE_SETTINGS = ('path', 'path_header', 'name', 'domain', 'secure', 'httponly', 'samesite')


def _is_over(exchange: Any) -> bool:
    """Say whether the end of the request has nothing to do with its session."""
    session = exchange.__dict__.get('session')
    return session is None or (
        exchange.redirect is None and not (session.locked or session.saves_late or session.outdated)
    )


class SessionHooks:
    """The settings of one path, and what requests there do with them: its methods are the tool's hooks.

    All of them are for event loops too: where they have to wait they give what is to be awaited.
    """

    def __init__(
        self,
        storage_class: Any,
        timeout: float = 60,
        clean_freq: float = 5,
        persistent: bool = True,
        **kwargs: Any,
    ) -> None:
        if not (isinstance(storage_class, type) and issubclass(storage_class, Session)):
            raise TypeError(f"'tools.sessions.storage_class' = {storage_class!r}: a subclass of Session is wanted.")
        cls: Any = storage_class
        self.storage_class = cls
        cookie = {name: kwargs.pop(name) for name in _COOKIE_SETTINGS if name in kwargs}
        self.cookie = SessionCookie(timeout=timeout if persistent else None, **cookie)
        kwargs['timeout'] = timeout
        kwargs['clean_freq'] = clean_freq
        if 'lock_timeout' in kwargs:
            kwargs['lock_timeout'] = lock_seconds(kwargs['lock_timeout'])
        if kwargs.get('storage_path') is not None:
            kwargs['storage_path'] = os.path.abspath(kwargs['storage_path'])
        self.kwargs = kwargs
        self.blocking = cls.blocking
        self.own_lock = cls.has_own_lock()
        # Where what was sent as an id, and is one, can stand in a header as it is.
        self.own_ids = cls.is_valid_id.__func__ is Session.is_valid_id.__func__  # type: ignore[attr-defined]
        # Where it only has to be taken, if it is free.
        self.quick_lock = self.own_lock and not self.blocking
        self._ready = False
        # Where the store is RamSession itself: what its sessions here have in common.
        self._outline: dict[str, Any] | None = None
        # PERF: bound once. Of the settings, not of the exchange, which would then be held by what it holds.
        self._send_cookie = self.send_cookie

    def begin(self, exchange: Any, id: str | None) -> Any:
        """Make the session of a request, and its cookie."""
        session: Any = None
        if self._outline is not None and id is not None:
            session = RamSession.take_up(id, self._outline, _tell)
        if session is None:
            session = self._make(exchange, id)
        exchange.session = session
        # PERF: not made before the page handler has run, unless it is looked for: a response would have to be, too.
        exchange.send_cookie = self._send_cookie
        response = exchange._response
        if response is not None and 'cookie' in response.__dict__:
            self.send_cookie(exchange, response.cookie)
        if session.debug:
            sent = 'no id' if id is None else f'the id {shortened(id)}'
            state = 'new' if id is None else 'unknown' if session.missing else 'known'
            log_line(f'The client sent {sent}: the session {shortened(session.id)} is {state}.')
        return session

    def _make(self, exchange: Any, id: str | None) -> Any:
        if not self._ready:
            self._set_up(exchange)
        cls = self.storage_class
        session = cls(id, **self.kwargs)
        session.id_observers.append(_tell)
        if not self._ready:
            session.shared.watch(session)
            self._ready = True
            if cls is RamSession:
                self._outline = RamSession.outline(session.shared, self.kwargs)
        return session

    def _set_up(self, exchange: Any) -> None:
        cls = self.storage_class
        site = exchange.site
        cls.shared_on(site).set_up(cls, self.kwargs)
        if (
            issubclass(cls, RamSession)
            and exchange.head is not None
            and exchange.head.multiprocess
            and site.__dict__.setdefault('session_warned', self) is self
        ):
            log_line(
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
        if exchange.on_loop or on_a_loop():
            # Read what is stored along with it, unless the lock comes first.
            fetches = self.kwargs.get('locking', 'implicit') not in ('implicit', 'early')

            def begin() -> None:
                session = self.begin(exchange, id)
                if fetches and self.own_lock:
                    session.fetch()

            return exchange.app.offload_end(begin)
        self.begin(exchange, id)
        return None

    open.non_blocking = True  # type: ignore[attr-defined]

    def lock(self) -> Any:
        """Take the session's lock; at before_handler, or before_request_body."""
        exchange = current()
        session = exchange.__dict__.get('session')
        if session is None or session.locked or (self.quick_lock and session.try_lock()):
            return None
        looping = exchange.on_loop or on_a_loop()
        if not self.own_lock:
            if looping:
                return session.aacquire_lock()
            session.acquire_lock()
            return None
        if not looping and session.try_lock():
            return None
        if looping or getattr(exchange.head, 'loop', None) is not None:
            # In a thread of a loop's, too: whoever has the lock may need one of these threads to go on.
            return session.aacquire_lock()
        session.acquire_lock()
        return None

    lock.non_blocking = True  # type: ignore[attr-defined]

    def save(self) -> Any:
        """Save the session, or leave that to the end of a streamed body; at before_finalize."""
        exchange = current()
        session = exchange.__dict__.get('session')
        if session is None or is_saved(exchange):
            return None
        response = exchange.response
        if 'cookie' not in response.__dict__:
            headers = response.headers
            id = session.id
            # An id that was taken up unchanged is one that the class has made.
            if ((id is session.originalid and self.own_ids) or id.isalnum()) and not dict.__contains__(
                headers, 'Set-Cookie'
            ):
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
            dict.setdefault(headers, 'Cache-Control', 'private')
            if dict.setdefault(headers, 'Vary', 'Cookie') != 'Cookie':
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
        exchange: Any = current()
        return None if _is_over(exchange) else _close(exchange, exchange.session)

    close.idle = _is_over  # type: ignore[attr-defined]
    close.failsafe = True  # type: ignore[attr-defined]
    close.non_blocking = True  # type: ignore[attr-defined]


def _tell(id: str | None) -> None:
    """Let the response's cookie have the session's new id."""
    exchange = current()
    hooks = exchange.__dict__.get('session_settings')
    if hooks is not None and id is not None:
        exchange.response.cookie[hooks.cookie.name] = id


def is_saved(exchange: Any) -> bool:
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
        log_line(f'The session {shortened(session.id)} is {"saved" if session.loaded else "left alone"}.')
    if not session.blocking:
        session.save()
        return None
    if exchange.on_loop or on_a_loop():
        return session.asave()
    waits = session.loaded and session.needs_lock and not session.locked
    if waits and getattr(exchange.head, 'loop', None) is not None:
        return session.asave()
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
        exchange.redirect.request.__dict__['carried_session_id'] = session.id
        if not is_saved(exchange):
            return _save(exchange, session)
    if not session.locked and not session.outdated:
        return None
    if session.blocking and (exchange.on_loop or on_a_loop()):
        return exchange.app.offload_end(session.end)
    session.end()
    return None
