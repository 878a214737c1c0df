"""ASGI lifespan (spec 2.0) -> engine: startup starts it, shutdown stops it."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..typing import Receive, Scope, Send

__all__ = ['serve_lifespan']


async def serve_lifespan(opener: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer lifespan messages: startup starts the engine, shutdown stops it; listeners run in a thread."""
    engine = opener.site.engine
    loop = asyncio.get_running_loop()
    while True:
        message = await receive()
        if message['type'] == 'lifespan.startup':
            try:
                await loop.run_in_executor(None, copy_context().run, engine.ensure_started)
            except BaseException as exc:
                await send({'type': 'lifespan.startup.failed', 'message': f'{type(exc).__name__}: {exc}'})
                if not isinstance(exc, Exception):
                    raise
                return
            await send({'type': 'lifespan.startup.complete'})
        elif message['type'] == 'lifespan.shutdown':
            try:
                await loop.run_in_executor(None, copy_context().run, engine.ensure_exited)
            except Exception as exc:
                await send({'type': 'lifespan.shutdown.failed', 'message': f'{type(exc).__name__}: {exc}'})
                return
            await send({'type': 'lifespan.shutdown.complete'})
            return
