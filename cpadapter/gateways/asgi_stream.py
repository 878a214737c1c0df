"""A streamed body over ASGI: pulled chunk by chunk as the client takes it, and let go when the client goes.

A body that is a file is the server's to send, where it can (pathsend, zerocopysend). One that lasts (lasting.py) is
kept alive while nothing comes, and ended when the server ends: one timer a loop looks after all of those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..context import exchange_var
from ..errors import ClientDisconnected
from ..protocol.files import sendable_run
from ..protocol.iterators import as_bytes, count_body
from .bridge import END_OF_CHUNKS, drive_in_pool, mend_cancellation, next_chunk, pool_for
from .lasting import INTERVAL, OPENING, engine_is_ending, server_is_ending

if TYPE_CHECKING:
    from ..typing import Message, Send

__all__ = ['send_stream']


class _Gone(Exception):
    """The client has left: `send` raised OSError, as the ASGI HTTP specification says since 2.4."""


# Chunks that are sent before the loop gets a chance whatever the body and the server do: neither has to suspend.
_RUN_OF_CHUNKS = 16

# Seconds for which a client that takes nothing may hold up the end of its stream.
_LAST = 1.0


def _file_message(exchange: Any) -> Message | None:
    """Give the message that lets the server send a body that is a file; None where it has none that will do.

    ASGI extensions http.response.zerocopysend, for any part of a file, and http.response.pathsend, for a whole one.
    """
    offered = exchange.head.native.get('extensions')
    if not offered:
        return None
    zero_copy = 'http.response.zerocopysend' in offered
    if not zero_copy and 'http.response.pathsend' not in offered:
        return None
    run = sendable_run(exchange.body, exchange.text_headers())
    if run is None:
        return None
    if zero_copy:
        return {
            'type': 'http.response.zerocopysend',
            'file': run.file,
            'offset': run.start,
            'count': run.length,
            'more_body': False,
        }
    # The server opens the file some time after it took the message, and what runs at the end might take it away.
    if run.path is None or exchange.plan.closes or exchange.hooks is not None or exchange.app.publishes:
        return None
    return {'type': 'http.response.pathsend', 'path': run.path} if run.is_whole() else None


class _Stream:
    """One streamed response: who sends, who watches for the client's leaving, and what keeps it alive.

    begun: whether the head was sent. ended: whether it was ended from here. due: when a body that lasts is to be kept
    alive, by the loop's clock. beat: the task that does so at this moment.
    """

    __slots__ = ('beat', 'begun', 'due', 'ended', 'exchange', 'opening', 'send', 'stopped', 'task', 'watcher')

    def __init__(self, exchange: Any, send: Send) -> None:
        self.exchange = exchange
        self.send = send
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self.watcher: asyncio.Task[None] | None = None
        self.beat: asyncio.Task[None] | None = None
        self.opening: asyncio.TimerHandle | None = None
        self.begun = False
        self.ended = False
        self.stopped = False
        self.due = 0.0

    async def begin(self) -> None:
        self.begun = True
        exchange = self.exchange
        try:
            await self.send(
                {'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()}
            )
        except OSError:
            raise _Gone from None
        if hasattr(exchange.body, 'idle_chunk') and not (
            exchange.plan.closes or exchange.hooks is not None or exchange.app.publishes
        ):
            # PERF: what nobody looks at any more is not held for hours: 1.5 kB for each open stream.
            del exchange.response

    async def put(self, data: bytes, more: bool = False) -> None:
        try:
            await self.send({'type': 'http.response.body', 'body': data, 'more_body': more})
        except OSError:
            raise _Gone from None

    async def pull(self, chunks: Iterator[Any]) -> Any:
        """Give the next chunk of a plain body, which may wait for it: in a thread."""
        exchange = self.exchange
        context = exchange.context
        if context is None:
            context = exchange.context = copy_context()
        return await exchange.site.stream_pool().run(context, next_chunk, chunks, abort=self.abort)

    def abort(self) -> None:
        """Let a thread that waits for the body, or for an event, wait no longer."""
        self.exchange.over = True
        self.exchange.head.abort()

    # -- who leaves

    def watch(self) -> None:
        """Stop when the client leaves."""
        # PERF: the task is the reader's coroutine alone: with one around it an idle stream takes 1 kB more.
        self.watcher = asyncio.ensure_future(self.exchange.head.reader().left())
        self.watcher.add_done_callback(self._left)

    def _left(self, watcher: asyncio.Task[None]) -> None:
        # A server that cannot tell raises; what is sent to a client that has gone raises then, or goes nowhere.
        if not watcher.cancelled() and watcher.exception() is None:
            self.leave()

    def leave(self) -> None:
        """Stop: the client has gone."""
        if self.task is not None:
            self.exchange.disconnected = True
            self._stop()

    def end(self) -> None:
        """Stop: the server ends, or the engine."""
        self.ended = True
        self._stop()

    def _stop(self) -> None:
        if self.task is not None and not self.stopped:
            self.stopped = True
            self.task.cancel()

    # -- a body that lasts

    def keep(self) -> None:
        """Keep it alive from now on, beginning soon, so that the client sees its head before anything comes."""
        loop = asyncio.get_running_loop()
        self.due = float('inf')
        # In no request's context, which the timer would hold.
        self.opening = loop.call_later(OPENING, self.keep_alive, context=Context())
        _keeper_of(loop).add(self)

    def touch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Something was sent: count from now on."""
        ping = self.exchange.body.ping
        self.due = loop.time() + ping if ping else float('inf')

    def keep_alive(self) -> None:
        """Send what is sent where nothing came, while the body is waited for."""
        # A task for the moment it takes: the request's own is inside of the body.
        if self.beat is None and self.task is not None:
            self.beat = asyncio.ensure_future(self._beat())

    async def _beat(self) -> None:
        try:
            if not self.begun:
                await self.begin()
            await self.put(self.exchange.body.idle_chunk(), True)
            self.touch(asyncio.get_running_loop())
        except _Gone:
            self.leave()
        except Exception as exc:
            self.exchange.log_error(exc)
            self.leave()
        finally:
            self.beat = None

    async def settle(self) -> None:
        """Wait until nobody else sends."""
        if self.opening is not None:
            self.opening.cancel()
            self.opening = None
        while (beat := self.beat) is not None:
            await asyncio.wait((beat,))

    async def finish(self) -> None:
        """Send the end of a response that was ended from here, unless the client holds that up."""
        try:
            if self.beat is None:
                if not self.begun:
                    await self.begin()
                await asyncio.wait_for(self.put(b''), _LAST)
        except (_Gone, asyncio.TimeoutError):
            pass  # the connection is closed without it

    def close(self) -> None:
        """Let go of everything that would come back to it."""
        self.task = None
        if self.watcher is not None:
            self.watcher.cancel()
            self.watcher = None
        if self.opening is not None:
            self.opening.cancel()
            self.opening = None
        if self.due:
            if self.beat is not None:
                self.beat.cancel()
            _keeper_of(asyncio.get_running_loop()).streams.discard(self)


class _Keeper:
    """Looks after the streams of one loop that last: once a second, while there are any."""

    __slots__ = ('__weakref__', 'running', 'streams')

    def __init__(self) -> None:
        self.streams: set[_Stream] = set()
        self.running = False

    def add(self, stream: _Stream) -> None:
        self.streams.add(stream)
        if not self.running:
            self.running = True
            # In no request's context, nor in one that two loops would enter at once.
            asyncio.get_running_loop().call_later(INTERVAL, self.look, context=Context())

    def look(self) -> None:
        """Keep alive those that are due, and end those whose server or engine ends."""
        loop = asyncio.get_running_loop()
        streams = list(self.streams)
        if server_is_ending(loop):
            for stream in streams:
                stream.end()
        else:
            now = loop.time()
            ending = {site for site in {stream.exchange.site for stream in streams} if engine_is_ending(site.engine)}
            for stream in streams:
                if stream.due <= now:
                    stream.keep_alive()
                if ending and stream.exchange.site in ending:
                    stream.end()
        self.running = bool(self.streams)
        if self.running:
            loop.call_later(INTERVAL, self.look, context=Context())


_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Keeper] = WeakKeyDictionary()


def _keeper_of(loop: asyncio.AbstractEventLoop) -> _Keeper:
    keeper = _keepers.get(loop)
    if keeper is None:
        keeper = _keepers[loop] = _Keeper()
    return keeper


async def send_stream(exchange: Any, send: Send, outside: Any) -> None:
    """Send a streamed body chunk by chunk, as fast as the client takes it; stop at once when it has gone.

    outside: the exchange around this one, which is the context's again when the last message is sent.
    """
    body = exchange.body
    message = _file_message(exchange)
    if message is not None:
        try:
            await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
            exchange_var.set(outside)
            await send(message)
        except OSError:
            exchange.disconnected = True
        return
    stream = _Stream(exchange, send)
    task: Any = stream.task
    # What is there already needs nobody to watch for the client's leaving.
    watched = not isinstance(body, (list, tuple))
    lasts = hasattr(body, 'idle_chunk')
    counted = count_body(exchange.text_headers())
    chunks: Any = None
    chunk: Any = None
    sent = 0
    try:
        # Looking for what the client sends would tell one that waits for leave to send its body to go on.
        if watched and exchange.head.get('expect') is None:
            stream.watch()
        if lasts:
            stream.keep()
        while True:
            try:
                # PERF: fetched here and not by a function of its own: each takes 0.5 kB while a stream waits.
                if chunks is None:
                    chunks = body.__aiter__() if hasattr(body, '__aiter__') else iter(body)
                if hasattr(chunks, '__anext__'):
                    try:
                        chunk = await chunks.__anext__()
                    except StopAsyncIteration:
                        chunk = END_OF_CHUNKS
                    except asyncio.CancelledError as exc:
                        raise mend_cancellation(exc) from None
                elif watched:
                    chunk = await stream.pull(chunks)
                else:
                    chunk = next_chunk(chunks)
                if chunk is not END_OF_CHUNKS:
                    if type(chunk) is not bytes:
                        chunk = as_bytes(chunk)
                    if counted is not None:
                        counted.take(chunk)
                elif counted is not None:
                    counted.end()
            except Exception as exc:
                if lasts:
                    await stream.settle()
                if stream.begun:
                    if isinstance(exc, ClientDisconnected):
                        raise _Gone from None
                    exchange.log_error(exc)
                    raise
                await _answer_anew(exchange, exc)
                if exchange.disconnected:
                    return
                await stream.begin()
                failed = exchange.body
                exchange_var.set(outside)
                await stream.put(failed if type(failed) is bytes else b''.join(failed))
                return
            if lasts:
                await stream.settle()
                stream.touch(asyncio.get_running_loop())
            if not stream.begun:
                await stream.begin()
                if watched and stream.watcher is None:
                    stream.watch()
            if chunk is END_OF_CHUNKS:
                break
            await stream.put(chunk, True)
            sent += 1
            if not sent % _RUN_OF_CHUNKS:
                await asyncio.sleep(0)
            if stream.stopped:
                # What makes the body has ignored the cancellation.
                raise asyncio.CancelledError
        if stream.watcher is not None:
            stream.watcher.cancel()
        exchange_var.set(outside)
        await stream.put(b'')
    except _Gone:
        exchange.disconnected = True
    except asyncio.CancelledError:
        # By the stream itself, and by nobody else?
        if not stream.stopped or (hasattr(task, 'uncancel') and task.uncancel()):
            raise
        if not exchange.disconnected:
            await stream.finish()
    finally:
        stream.close()


async def _answer_anew(exchange: Any, exc: Exception) -> None:
    """Make the page of an error that came before anything was sent."""
    if exchange.on_loop:
        await exchange.fail(exc)
    else:
        await drive_in_pool(pool_for(4, 'finish'), exchange.fail(exc), exchange.context or copy_context())
