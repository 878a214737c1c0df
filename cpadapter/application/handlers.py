"""Making page handlers: expose, websocket and popargs. What dispatchers make of them is not known here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import update_wrapper
from types import MethodType
from typing import Any

from ..context import current
from ..errors import HTTPError
from ..extension.dispatch import punctuation_to_underscores
from ..extension.hooks import is_async_callable
from ..extension.namespaces import add_config

__all__ = ['expose', 'popargs', 'websocket']


def expose(func: Any = None, alias: Any = None) -> Any:
    """Let a function, class or callable object be reached by its URL; also under each alias.

    Used bare (`@expose`), called (`@expose()`, `@expose('a')`, `@expose(['a', 'b'])`, `@expose(alias=...)`), or as a
    statement in a class body (`expose(func, 'a')`). Aliases are bound where the call stands; one that holds
    punctuation is bound as the dispatcher translates it, too.
    TypeError for what cannot bear the mark, such as a builtin, a property or a bound method.
    """

    def mark(target: Any) -> Any:
        _expose(target)
        if alias is not None:
            _bind(target, [alias] if isinstance(alias, str) else alias, frame)
        return target

    if func is not None and not _is_alias(func):
        frame = sys._getframe(1)
        return mark(func)
    if func is not None:
        if alias is not None:
            raise TypeError('expose() takes the aliases once: first, or as alias=.')
        alias = func
    frame = sys._getframe(1)
    return mark


def _is_alias(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, (bytes, bytearray)):
        raise TypeError(f'An alias is a str, not {type(value).__name__}.')
    if callable(value) or isinstance(value, (staticmethod, classmethod, property)):
        return False
    return isinstance(value, Iterable)


def _expose(target: Any) -> None:
    marked: Any = target.__func__ if isinstance(target, (staticmethod, classmethod)) else target
    if isinstance(marked, MethodType):
        raise TypeError(f'{target!r} is bound already: expose the function in the class body.')
    try:
        marked.exposed = True
    except (AttributeError, TypeError) as exc:
        raise TypeError(
            f'{target!r} cannot be exposed: expose a function, a class, or an object that takes attributes.'
        ) from exc


def _bind(target: Any, aliases: Iterable[str], frame: Any) -> None:
    names = frame.f_locals
    for name in aliases:
        if not isinstance(name, str):
            raise TypeError(f'An alias is a str, not {type(name).__name__}.')
        names[name.replace('.', '_')] = target
        names[name.translate(punctuation_to_underscores)] = target


def websocket(func: Any = None, alias: Any = None, **settings: Any) -> Any:
    """Make a function a page handler of WebSockets, and expose it: it is called with the WebSocket before the rest.

    `async def chat(self, ws, *vpath, **params)` has a WebSocket, a plain function a BlockingWebSocket and a thread of
    its own. Used bare, called, and with aliases, as `expose` is; in any order with other decorators.
    settings: entries of the `websocket` config namespace for this handler: origins, max_size, subprotocols,
        idle_timeout.
    What is given is a plain function whatever the handler's colour: asked for by HTTP it answers 426, with no event
    loop. TypeError for what is no function, and for a setting that there is not.
    """
    from ..core.websocket import SETTINGS

    for name in settings:
        if name not in SETTINGS:
            raise TypeError(f'websocket() has no setting {name!r}; there are {", ".join(SETTINGS)}.')

    def mark(target: Any) -> Any:
        if isinstance(target, (staticmethod, classmethod)):
            page: Any = type(target)(_make_page(target.__func__))
        else:
            page = _make_page(target)
        _expose(page)
        if settings:
            add_config(page, {f'websocket.{name}': value for name, value in settings.items()})
        if alias is not None:
            _bind(page, [alias] if isinstance(alias, str) else alias, frame)
        return page

    if func is not None and not _is_alias(func):
        frame = sys._getframe(1)
        return mark(func)
    if func is not None:
        if alias is not None:
            raise TypeError('websocket() takes the aliases once: first, or as alias=.')
        alias = func
    frame = sys._getframe(1)
    return mark


def _make_page(func: Callable[..., Any]) -> Any:
    """Give the page handler that calls `func` with a WebSocket."""
    if not callable(func) or isinstance(func, (type, MethodType)):
        raise TypeError(f'{func!r} cannot be a page handler of WebSockets: a function is wanted.')
    blocks = not is_async_callable(func)

    def page(*args: Any, **kwargs: Any) -> Any:
        exchange = current()
        ws = exchange.websocket
        if ws is None:
            raise _UpgradeRequired()
        if ws.codec is None:
            ws.codec = _codec()
        return ws.run(func, args, kwargs, blocks)

    update_wrapper(page, func)
    page.is_websocket = True  # type: ignore[attr-defined]
    return page


class _UpgradeRequired(HTTPError):
    """The answer to whoever asks for a WebSocket by HTTP: 426, naming the protocol to upgrade to."""

    def __init__(self) -> None:
        super().__init__(426, 'There is a WebSocket here: a client has to open it as one, through an ASGI server.')

    def set_response(self) -> Any:
        later = super().set_response()
        current().response.headers['Upgrade'] = 'websocket'
        return later


_made: list[Any] = []


def _codec() -> Any:
    """Give the JSON codec of the tools, made at first use."""
    if not _made:
        from ..lib.jsontools import Codec

        _made.append(Codec())
    return _made[0]


def popargs(*args: str, **kwargs: Any) -> Any:
    """Take path segments as parameters: a class decorator, or the value of a class's `_cp_dispatch`.

    args: names, in order, of the parameters that the next segments become in `request.params`.
    handler: an object to go on with, or a class or callable to call with the parameters, giving that object;
        in the latter case they are not put into `request.params`.
    """
    handler = kwargs.pop('handler', None)
    for key in kwargs:
        raise TypeError(f'cherrypy.popargs() got an unexpected keyword argument {key!r}')
    calls = handler is not None and (callable(handler) or isinstance(handler, type))

    def decorated(cls_or_self: Any = None, vpath: list[str] | None = None) -> Any:
        if isinstance(cls_or_self, type):
            # A class decorator: the class's own dispatch.
            cls_or_self._cp_dispatch = decorated  # type: ignore[attr-defined]
            return cls_or_self
        if vpath is None:
            vpath = []
        taken: dict[str, Any] = {}
        for name in args:
            if not vpath:
                break
            taken[name] = vpath.pop(0)
        if handler is not None:
            if calls:
                return handler(**taken)
            current().request.params.update(taken)
            return handler
        if not taken:
            return None
        current().request.params.update(taken)
        return cls_or_self

    # The dispatcher goes on in the same node, without asking it again for the next segment.
    decorated.pops_args = handler is None  # type: ignore[attr-defined]
    return decorated
