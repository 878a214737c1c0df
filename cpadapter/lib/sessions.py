"""The `sessions` tool, and the functions that stand for it in hooks and page handlers.

Sessions themselves, their stores, their cookie and what the tool's hooks do are in the files `session*` beside this
one, which are loaded with the first session; whatever applications need of them has its name here.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from ..context import current
from ..extension.tools import Tool
from ..protocol.iterators import is_iterator
from . import checks
from .checks import checked, optional

if TYPE_CHECKING:
    from .locking import LockTimeout as LockTimeout
    from .sessionbase import Session
    from .sessionhooks import SessionHooks
    from .sessionstores import FileSession, MemcachedSession, RamSession

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

# Where names of this module are that are looked for when they are first asked for.
_HOMES = {
    'Session': 'sessionbase',
    'RamSession': 'sessionstores',
    'FileSession': 'sessionstores',
    'MemcachedSession': 'sessionstores',
    'LockTimeout': 'locking',
}

_reported: set[str] = set()


def __getattr__(name: str) -> Any:
    """Import what is not here from the file that has it."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    found = getattr(import_module(f'.{_HOMES[name]}', __package__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def _make_hooks(storage_type: str | None = None, storage_class: Any = None, **settings: Any) -> SessionHooks:
    """Give the hooks for the settings of a path."""
    from .sessionbase import log_line
    from .sessionhooks import SessionHooks

    # COMPAT: applications put classes of their own into this module, for a `storage_type` or in place of RamSession.
    module = sys.modules[__name__]
    if storage_type:
        name = f'{storage_type.title()}Session'
        storage_class = getattr(module, name, None)
        if storage_class is None:
            raise ValueError(f"'tools.sessions.storage_type' = {storage_type!r}: there is no {name}.")
        if 'storage_type' not in _reported:
            _reported.add('storage_type')
            log_line('storage_type is deprecated. Supply storage_class instead', logging.WARNING)
    return SessionHooks(storage_class or module.RamSession, **settings)


def _cookie_text(value: Any) -> str:
    """Check what stands in a cookie as it is. SPEC: RFC 6265 4.1.1."""
    problem = checks.text(value)
    return problem or ('' if value.isprintable() and ';' not in value else 'a cookie cannot hold it')


def _locking(value: Any) -> str:
    """Check against slips of the pen: any other word leaves the lock to the application."""
    from ..core.config import nearest

    known = ('implicit', 'early', 'explicit')
    near = nearest(value, known) if isinstance(value, str) and value not in known else None
    return (
        f'it looks like {near!r}, and is another word: that would leave the lock to the page handlers' if near else ''
    )


def _lock_timeout(value: Any) -> str:
    from .locking import lock_seconds

    try:
        lock_seconds(value)
    except ValueError as exc:
        return str(exc).rstrip('.')
    return ''


@checked(
    storage_type=optional(checks.text),
    storage_class=optional(checks.is_class),
    name=checks.cookie_name,
    timeout=optional(checks.number(0)),
    clean_freq=optional(checks.number(0)),
    path=optional(_cookie_text),
    path_header=optional(checks.field_name),
    domain=optional(_cookie_text),
    samesite=optional(checks.samesite),
    storage_path=optional(checks.folder),
    locking=optional(_locking),
    lock_timeout=_lock_timeout,
)
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
    hooks = _make_hooks(
        storage_type, storage_class, timeout=timeout, clean_freq=clean_freq, persistent=persistent,
        path=path, path_header=path_header, name=name, domain=domain, secure=secure, httponly=httponly,
        samesite=samesite, debug=debug, **kwargs,
    )  # fmt: skip
    exchange.session_settings = hooks  # type: ignore[attr-defined]
    hooks.begin(exchange, hooks.cookie.sent_id(exchange))
    exchange.response.cookie  # noqa: B018  made here, since no hook of the tool does it


def save() -> None:
    """Save the current request's session, once, or at the end of the body if that is streamed."""
    exchange = current()
    session = exchange.__dict__.get('session')
    if session is None:
        return
    from .sessionhooks import is_saved

    if is_saved(exchange):
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
    from .sessioncookie import SessionCookie

    exchange: Any = current()
    cookie = SessionCookie(path, path_header, name, timeout, domain, secure, httponly, samesite)
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
        from .sessionstores import FileSession

        priority = self._take_priority(settings)
        self._report_unknown(settings)
        made = _make_hooks(**settings)
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
        from . import sessionstores

        cls = settings.get('storage_class') or sessionstores.RamSession
        if cls.__module__ != sessionstores.__name__:
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
