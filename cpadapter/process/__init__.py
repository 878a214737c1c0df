"""CherryPy's `process` package: the bus, its plugins, and adapters for foreign HTTP servers, over `core.engine`.

`plugins` and `servers` are loaded when they are first named. It knows neither requests nor applications.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import wspbus

if TYPE_CHECKING:
    from . import plugins, servers
    from .wspbus import bus

__all__ = ['bus', 'plugins', 'servers', 'wspbus']


def __getattr__(name: str) -> Any:
    if name == 'bus':
        return wspbus.bus
    if name in ('plugins', 'servers'):
        from importlib import import_module

        return import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
