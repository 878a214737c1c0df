"""The ContextVar of the current exchange; nothing else is global.

Whoever needs "the current request" reads it here. Outside a request `current()` gives a placeholder whose
`app` is None, made once per context so that what one thread writes on it no other thread sees. Whether the caller
stands on an event loop, where nothing may wait, is asked here too.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .core.pipeline import Exchange
    from .core.site import Site

__all__ = ['current', 'default_site', 'exchange_var', 'on_a_loop', 'outside_factory']

exchange_var: ContextVar[Exchange | None] = ContextVar('cpadapter.exchange', default=None)
_outside_var: ContextVar[Exchange | None] = ContextVar('cpadapter.outside', default=None)

# Set once by core.site when it is imported: this file stands below core and may not import it.
outside_factory: list[Callable[[], Any]] = []


def current() -> Exchange:
    """Give the exchange being served in this context, or this context's placeholder (its `app` is None)."""
    exchange = exchange_var.get()
    if exchange is None:
        exchange = _outside_var.get()
        if exchange is None:
            exchange = outside_factory[0]()
            _outside_var.set(exchange)
    return exchange


def default_site() -> Site:
    """Give the site of whatever is made without being told its site."""
    return outside_factory[0]().site  # type: ignore[no-any-return]


def on_a_loop() -> bool:
    """Say whether an event loop runs in the calling thread. It loads no asyncio."""
    asyncio = sys.modules.get('asyncio.events')
    return asyncio is not None and asyncio._get_running_loop() is not None
