"""What a peer hands over, and how a peer says that it cannot.

Knows no framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

__all__ = ['Served', 'Unavailable', 'version']

_DISTRIBUTIONS = {'cherrypy': 'CherryPy'}


class Served(NamedTuple):
    """One application; `enter`, if any, is called before each slice of time in which it answers."""

    app: Any
    enter: Callable[[], None] | None = None


class Unavailable(Exception):
    """This peer has no such application here; the text says why."""


def version(peer: str) -> str:
    """Name the version of a peer that has been imported, and whether parts of it are compiled."""
    if peer == 'bare':
        return f'Python {sys.version.split()[0]}'
    try:
        text = metadata.version(_DISTRIBUTIONS.get(peer, peer))
    except metadata.PackageNotFoundError:
        text = str(getattr(sys.modules.get(peer), '__version__', 'version unknown'))
    compiled = [
        name
        for name, module in list(sys.modules.items())
        if name.startswith(peer + '.') and (getattr(module, '__file__', None) or '').endswith(('.so', '.pyd'))
    ]
    return f'{text} ({len(compiled)} compiled modules)' if compiled else text
