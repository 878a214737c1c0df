"""What `idle` serves: event streams that are told one event and then nothing, bare and by page handlers.

The bare ones are what one would write by hand for the same: a comment each 15 seconds, and an end when the client
leaves. `bare_waiting` waits for nothing but that; `bare_subscribed` waits for events of a queue as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import cpadapter
from cpadapter.lib import sse

__all__ = ['bare_subscribed', 'bare_waiting', 'pages']

_HEAD = {
    'type': 'http.response.start',
    'status': 200,
    'headers': [(b'content-type', b'text/event-stream;charset=utf-8'), (b'cache-control', b'no-store')],
}
_FIRST = {'type': 'http.response.body', 'body': b'data: first\n\n', 'more_body': True}
_PING = {'type': 'http.response.body', 'body': b':\n\n', 'more_body': True}
_SECONDS = 15


async def _serve_lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({'type': message['type'] + '.complete'})
        if message['type'] == 'lifespan.shutdown':
            return


async def bare_waiting(scope: Any, receive: Any, send: Any) -> None:
    """Serve streams on which nothing happens until the client leaves."""
    if scope['type'] == 'lifespan':
        await _serve_lifespan(receive, send)
        return
    await send(_HEAD)
    await send(_FIRST)
    while True:
        try:
            message = await asyncio.wait_for(receive(), _SECONDS)
        except asyncio.TimeoutError:
            await send(_PING)
            continue
        if message['type'] == 'http.disconnect':
            return


_queues: set[asyncio.Queue[bytes]] = set()


async def bare_subscribed(scope: Any, receive: Any, send: Any) -> None:
    """Serve streams that wait for events, each in a queue of its own."""
    if scope['type'] == 'lifespan':
        await _serve_lifespan(receive, send)
        return

    async def tell() -> None:
        await send(_HEAD)
        await send(_FIRST)
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), _SECONDS)
            except asyncio.TimeoutError:
                await send(_PING)
                continue
            await send({'type': 'http.response.body', 'body': event, 'more_body': True})

    queue: asyncio.Queue[bytes] = asyncio.Queue(100)
    _queues.add(queue)
    telling = asyncio.ensure_future(tell())
    try:
        while (await receive())['type'] != 'http.disconnect':
            pass
    finally:
        _queues.discard(queue)
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


class _Pages:
    def __init__(self) -> None:
        self.news = sse.Channel()
        self.news.publish('first', id='1')

    @cpadapter.expose
    @cpadapter.tools.sse()
    async def channel(self) -> Any:
        return self.news.subscribe('0')

    @cpadapter.expose
    @cpadapter.tools.sse()
    async def generator(self) -> AsyncIterator[str]:
        yield 'first'
        await asyncio.get_running_loop().create_future()


pages = cpadapter.Site('idle').tree
pages.mount(_Pages())
