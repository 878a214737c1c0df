"""What every ASGI connection to an Application does with its exchange: opened in a thread, if need be, and closed."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Any

from ..context import exchange_var
from .bridge import WorkerPool, drive_in_pool, pool_for, take_over

__all__ = ['finish', 'open_in_pool']


async def open_in_pool(pool: WorkerPool, head: Any, call: Any, *args: Any) -> Any:
    """Open an exchange in a thread, where code of the application's may wait."""
    head.on_loop = False
    head.opened_on = asyncio.get_running_loop()
    context = copy_context()
    exchange = await pool.run(context, call, *args)
    take_over(context)
    exchange_var.set(exchange)
    return exchange


async def finish(exchange: Any) -> None:
    """Close an exchange; a cancellation waits until that is done."""
    if exchange.closed or exchange.close_fast():
        return
    finishing = asyncio.ensure_future(_close(exchange))
    cancelled: asyncio.CancelledError | None = None
    while not finishing.done():
        try:
            await asyncio.wait((finishing,))
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            cancelled = None
    finishing.result()


async def _close(exchange: Any) -> None:
    """Close an exchange in its own colour; finishing never waits behind page handlers."""
    if exchange.on_loop:
        await exchange.finish()
    else:
        await drive_in_pool(pool_for(4, 'finish'), exchange.finish(), exchange.context or copy_context())
