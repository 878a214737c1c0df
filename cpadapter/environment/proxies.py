"""Proxies to the request, response and session being served in this context, and per-thread data.

They read context.py at each access and keep nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from ..context import current, exchange_var
from ..core.pipeline import current_request, current_response

__all__ = ['ServingProxy', 'ThreadData', 'request', 'response', 'serving', 'session', 'thread_data']


class _Proxy:
    """Forwards everything to an attribute of the current exchange, made if it is not there yet."""

    __slots__ = ('__attrname__', '__dict__')

    def __init__(self, attrname: str) -> None:
        object.__setattr__(self, '__attrname__', attrname)

    def _get(self) -> Any:
        return getattr(current(), object.__getattribute__(self, '__attrname__'))

    def __getattr__(self, name: str) -> Any:
        if name == '__attrname__':
            raise AttributeError(name)  # a copy in the making has none yet
        return getattr(getattr(current(), self.__attrname__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(getattr(current(), self.__attrname__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(getattr(current(), self.__attrname__), name)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """What is set on the class and the instance, as one dict."""
        child = getattr(current(), self.__attrname__)
        return {**vars(type(child)), **vars(child)}

    def __getitem__(self, key: Any) -> Any:
        return self._get()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._get()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._get()

    def __len__(self) -> int:
        return len(self._get())

    def __bool__(self) -> bool:
        return bool(self._get())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get())

    def __repr__(self) -> str:
        return f'<proxy of {self.__attrname__}>'


class _RequestProxy(_Proxy):
    """Forwards to the current request."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        # PERF: asked first, where `__getattr__` would be asked after a search that fails.
        if name[:1] == '_' and name in _OWN:
            return object.__getattribute__(self, name)
        return getattr(current_request(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(current_request(), name, value)


class _ResponseProxy(_Proxy):
    """Forwards to the current response."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name[:1] == '_' and name in _OWN:
            return object.__getattribute__(self, name)
        return getattr(current_response(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(current_response(), name, value)


# What a proxy answers for itself: its kind, and what the interpreter asks instances for.
_OWN = frozenset(dir(_Proxy)) - {'__doc__'}


class _SessionProxy(_Proxy):
    """Forwards to the session of the current request; AttributeError where the `sessions` tool has made none."""

    __slots__ = ()

    def _get(self) -> Any:
        found = current().__dict__.get('session')
        if found is None:
            raise AttributeError(
                'There is no session: the `sessions` tool is not on for this request, or has not run yet '
                '(tools.sessions.on).'
            )
        return found

    def __getattribute__(self, name: str) -> Any:
        if name[:1] == '_' and name in _OWN_OF_SESSION:
            return object.__getattribute__(self, name)
        found = current().__dict__.get('session')
        return getattr(self._get() if found is None else found, name)

    def __getattr__(self, name: str) -> Any:
        # Asked where the other one has raised, which says it all: not the base class's, which says something else.
        return getattr(self._get(), name)

    def __getitem__(self, key: Any) -> Any:
        found = current().__dict__.get('session')
        return (self._get() if found is None else found)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        found = current().__dict__.get('session')
        (self._get() if found is None else found)[key] = value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get(), name)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        child = self._get()
        return {**vars(type(child)), **vars(child)}


_OWN_OF_SESSION = frozenset(dir(_SessionProxy)) - {'__doc__'}


class ServingProxy:
    """The exchange being served: `request`, `response`, `session` and whatever extensions keep for one request."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(current(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(current(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(current(), name)

    def load(self, request: Any, response: Any) -> None:
        """Let these be the current request and response."""
        exchange = request._exchange if getattr(request, '_exchange', None) is not None else None
        if exchange is None:
            from ..core.pipeline import Exchange

            exchange = Exchange(getattr(request, 'app', None), None)
            exchange.site = exchange.app.site if exchange.app is not None else current().site
            request._exchange = exchange
        exchange.request = request
        exchange.response = response
        exchange_var.set(exchange)

    def clear(self) -> None:
        """Forget the current request and all that was kept for it."""
        exchange_var.set(None)

    def __repr__(self) -> str:
        return '<serving>'


class ThreadData(threading.local):
    """Attributes of one thread; they stay from request to request."""

    def clear(self) -> None:
        """Remove all attributes of this thread."""
        self.__dict__.clear()


request: Any = _RequestProxy('request')
response: Any = _ResponseProxy('response')
session: Any = _SessionProxy('session')
serving = ServingProxy()
thread_data = ThreadData()
