"""What cases do inside a request, or on their own, beside the requests they send: functions of the package.

The tables of cases fill these registries; the variant `acts` of the application, and the probes `expressions`, are made
of them. Nothing here knows how they are sent or compared.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

__all__ = ['ACTS', 'EXPRESSIONS', 'MOUNTS', 'SAID', 'TOLD', 'TOOLS', 'inner', 'listen', 'make_root', 'tell']

Function = Callable[[Any], Any]

# Page handlers: attribute of the root -> what it does, and what config it has: a dict, or what makes one.
ACTS: dict[str, tuple[Function, Any]] = {}
# What is asked outside of any request: name of the probe -> the expression.
EXPRESSIONS: dict[str, Function] = {}
# Applications of their own: script name -> what gives (root, config, changes to the application).
MOUNTS: dict[str, Function] = {}
# Tools of the default toolbox, made for these cases: name -> what makes one.
TOOLS: dict[str, Function] = {}
# What hooks and bodies had to say; the page /told gives it, with what was logged since.
TOLD: list[str] = []
# What that page gives: taken from there before the request for it is told of itself.
SAID: list[str] = []


def tell(*words: Any) -> None:
    """Keep a line for the page /told."""
    TOLD.append(' '.join(str(word) for word in words))


def inner(cp: Any, module: str, name: str) -> Any:
    """Give a public name that CherryPy has in a module of its own and cpadapter at its root."""
    found = getattr(cp, name, None)
    return found if found is not None else getattr(importlib.import_module(f'{cp.__name__}.{module}'), name)


# Contexts of lines that are not about requests.
_OTHERS = ('CONFIG', 'ENGINE')


class _Listener(logging.Handler):
    """Tells of each record: its level, and its exception or else its text without the time."""

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().partition('] ')[2].split()
        context = words[0] if words else '-'
        if context in _OTHERS:
            return
        if record.exc_info and record.exc_info[0]:
            tell(record.levelname, context, f'{record.exc_info[0].__name__}: {record.exc_info[1]}')
        elif 'Traceback' in words:
            tell(record.levelname, record.getMessage().splitlines()[-1])
        else:
            # The headers of the request are another tool's business.
            tell(record.levelname, ' '.join(words).partition('Headers:')[0])


def listen(cp: Any) -> Callable[[], Any]:
    """Tell of what is written to the site's error log; gives what ends that."""
    listener = _Listener()
    cp.log.error_log.addHandler(listener)
    return lambda: cp.log.error_log.removeHandler(listener)


def make_root(cp: Any) -> Any:
    """Make the root whose page handlers are the acts."""

    class Root:
        @cp.expose
        def told(self) -> str:
            return '\n'.join(SAID)

    for name, (function, config) in ACTS.items():
        setattr(Root, name, _page(cp, function, config(cp) if callable(config) else config))
    return Root()


def _page(cp: Any, function: Function, config: dict[str, Any]) -> Any:
    def page(self: Any, *args: str, **kwargs: Any) -> Any:
        return function(cp)

    page.exposed = True  # type: ignore[attr-defined]
    page._cp_config = dict(config)  # type: ignore[attr-defined]
    return page
