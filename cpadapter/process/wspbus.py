"""The bus under CherryPy's names: `Bus` is the Engine, `bus` the one of the default site.

Nothing happens here; see `core.engine`.
"""

from __future__ import annotations

from ..core.engine import ChannelFailures, Engine, states

__all__ = ['Bus', 'ChannelFailures', 'bus', 'states']

Bus = Engine
bus = Bus()
