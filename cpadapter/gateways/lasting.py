"""Responses that last until somebody ends them, such as event streams: when that is, and how WSGI pulls them.

A server that is told to end waits for its open responses before it tells anybody, so whoever keeps one open has to
look: `is_over` is asked once a second, or twice. Such a body has `idle_chunk()`, which gives what is sent where
nothing came for a while, and `ping`, the seconds of that while. What the chunks mean is not known here.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

__all__ = ['INTERVAL', 'LOOK_AGAIN', 'OPENING', 'is_over', 'lasting_chunks', 'server_is_ending']

# Seconds for which the first chunk is waited for before the head is sent without it: what raises until then has an
# error page.
OPENING = 0.25
# Seconds between two looks at whether it is over: of a loop at all of its streams, and of a thread at its own.
INTERVAL = 1.0
LOOK_AGAIN = 0.5


def server_is_ending(loop: Any = None) -> bool:
    """Say whether the server of this process has been told to end, as far as its handlers of signals show.

    loop: the event loop that it may have given them to. uvicorn's handler is a method of a server with `should_exit`,
    gunicorn's one of a worker with `alive`. Others do not show it, and end by themselves or by a limit they are given.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        if _says_so(signal.getsignal(number)):
            return True
    # Where asyncio handles signals, only the loop knows for whom.
    handlers = getattr(loop, '_signal_handlers', None)
    handle = handlers.get(signal.SIGTERM) if handlers else None
    return handle is not None and _says_so(getattr(handle, '_callback', None))


def _says_so(handler: Any) -> bool:
    owner = getattr(handler, '__self__', None)
    if owner is None:
        return False
    if getattr(owner, 'should_exit', False) is True:
        return True
    return type(owner).__module__.startswith('gunicorn.') and getattr(owner, 'alive', True) is False


def is_over(exchange: Any, loop: Any = None) -> bool:
    """Say whether what lasts has to end: the client has left, the engine stops, or the server does."""
    if exchange.disconnected or exchange.over or engine_is_ending(exchange.site.engine) or server_is_ending(loop):
        return True
    # Under ASGI somebody watches, and says so; under WSGI some servers can be asked.
    return not hasattr(exchange.head, 'receive') and exchange.head.is_disconnected()


def engine_is_ending(engine: Any) -> bool:
    """Say whether an engine that was started is stopping, or has stopped."""
    state, states = engine.state, engine.states
    if state is states.STARTED:
        return False
    return state in (states.STOPPING, states.EXITING) or (state is states.STOPPED and engine.settled)


def lasting_chunks(exchange: Any) -> Iterator[bytes]:
    """Give a thread the chunks of an async body that lasts, an idle one where nothing came for a while."""
    from .bridge import END_OF_CHUNKS, LoopThread

    body, head = exchange.body, exchange.head
    if exchange.context is None:
        exchange.context = copy_context()
    context = exchange.context
    loop = LoopThread.get()
    due = time.monotonic() + OPENING
    while not is_over(exchange, loop.loop):
        chunk = loop.call(body.within(max(0.0, min(LOOK_AGAIN, due - time.monotonic()))), context, head)
        if chunk is END_OF_CHUNKS:
            return
        if chunk is None:
            if time.monotonic() < due:
                continue
            chunk = body.idle_chunk()
        yield chunk
        due = time.monotonic() + (body.ping or sys.maxsize)
