"""The bus under CherryPy's names: `Bus` is the Engine, `bus` the engine of the default site.

Nothing happens here; see `core.engine`.
"""

from __future__ import annotations

from ..core.engine import ChannelFailures, Engine, states

__all__ = ['Bus', 'ChannelFailures', 'bus', 'states']

Bus = Engine
bus: Engine


def __getattr__(name: str) -> Engine:
    # Asked for when used: the default site is made later than this module, which its plugins import.
    if name == 'bus':
        from ..core.site import Site

        return Site.default().engine
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
