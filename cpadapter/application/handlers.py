"""Making page handlers: expose and popargs. What dispatchers make of them is not known here."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import MethodType
from typing import Any

from ..context import current
from ..extension.dispatch import punctuation_to_underscores

__all__ = ['expose', 'popargs']


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
