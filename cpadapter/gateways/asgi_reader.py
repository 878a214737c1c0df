"""The body of an ASGI request, read from `receive` as it is asked for, on the loop or from a thread.

Of the request it knows the declared length and no more; what is done with the bytes is not known here.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import CancelledError
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ..errors import ClientDisconnected, HTTPError
from ..protocol.iterators import LineReader
from .bridge import run_in

if TYPE_CHECKING:
    from ..typing import Message, Receive, Send

__all__ = ['ONE_MESSAGE', 'Around', 'AsgiReader']

# Bytes of a body for which no server stops reading from the connection.
ONE_MESSAGE = 16384


class Around:
    """Receives, or sends, in the context around the request.

    A server that stopped reading, because much had come, goes on when asked for more or when it has answered; what it
    then registers with the loop holds a copy of the context it is called in, and is there as long as the connection:
    with the request, and with what page handlers set in context variables, in sight of the next request.
    """

    __slots__ = ('call', 'context')

    def __init__(self, context: Context, call: Receive | Send) -> None:
        self.context = context
        self.call: Any = call

    async def __call__(self, *args: Any) -> Any:
        return await run_in(self.context, self._do(*args))

    async def _do(self, *args: Any) -> Any:
        # What servers give to be awaited need not have `send` and `throw`: a coroutine does.
        return await self.call(*args)


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class AsgiReader(LineReader):
    """Reads http.request messages: as they are asked for, never more than `limit`, never a cut body as a whole one.

    `aread` is for code on the loop, or driven from it; `read` waits in a pool thread for the loop to read.
    """

    suspends = True
    # Set where the pipeline is driven by hand: what it awaits is the driver's to await. What others await, on the
    # loop, is not, unless the pipeline is driven there too.
    suspend: Any = None
    driven_on_loop = False

    def __init__(self, receive: Receive, length: int | None) -> None:
        self.receive = receive
        self.length = length
        self.limit: int | None = None
        self.bytes_read = 0
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None  # made in a thread: the head knows
        # What came of the body, and how much of that was read.
        self._buffer = b''
        self._start = 0
        self._more = True
        self.disconnected = False
        # The client has left, whether its body was whole or not.
        self.gone = False
        # What reads on the loop for a thread that waits.
        self._reading: asyncio.Task[Any] | None = None
        # While somebody watches for the client's leaving: who may call `receive`, and whether a reader wants more.
        self._turn: asyncio.Lock | None = None
        self._wanted: asyncio.Event | None = None
        # Whether one who watches has seen it leave, or has given up.
        self._watched: asyncio.Future[bool] | None = None

    async def prefetch(self) -> None:
        """Take what is there of the body, so that a short one is whole before a thread is asked for."""
        if self._more and not self._buffer:
            try:
                await self._receive()
            except ClientDisconnected:
                pass  # told to whoever reads on

    async def _receive(self) -> bytes:
        """Give the next piece of the body, b'' at its end."""
        if self._turn is None or self._wanted is None:
            while self._more:
                self.take_in(await self.receive())
                if self._buffer:
                    break
        else:
            self._wanted.set()
            while self._more and not self._buffer:
                async with self._turn:
                    if self._more and not self._buffer:
                        self.take_in(await self.receive())
        if self.disconnected and not self._buffer:
            raise ClientDisconnected()
        return self._buffer

    def take_in(self, message: Message) -> None:
        """Keep what a message holds of the body."""
        if message['type'] == 'http.disconnect':
            self.gone = True
            # After a whole body it says nothing about that.
            if self._more:
                self._more = False
                self.disconnected = True
        elif self._more:
            body = message.get('body', b'')
            self._buffer = self._buffer[self._start :] + body if self._buffer else body
            self._start = 0
            self._more = message.get('more_body', False)

    async def left(self) -> None:
        """Wait until the client leaves. What comes of the body meanwhile is kept, one message of it, for reading.

        Any number may wait: one of them receives, and another one goes on when that one is cancelled.
        """
        while not self.gone:
            watched = self._watched
            if watched is not None:
                if await asyncio.shield(watched):
                    return
                continue
            watched = self._watched = asyncio.get_running_loop().create_future()
            try:
                await self._watch()
            finally:
                self._watched = None
                watched.set_result(self.gone)

    async def _watch(self) -> None:
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        while self._more and not self.gone:
            if self._buffer:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            async with self._turn:
                if self._buffer or not self._more:
                    continue
                self.take_in(await self.receive())
            if not self.gone:
                await asyncio.sleep(0)  # a server that always has a message must not have the loop to itself
        # PERF: once the body is whole nobody else receives: an idle stream takes 1 kB less without lock and event.
        self._turn = self._wanted = None
        while not self.gone:
            self.take_in(await self.receive())
            if not self.gone:
                await asyncio.sleep(0)

    def abort(self) -> None:
        """Let whoever waits for the body wait no longer: what reads it gets ClientDisconnected from now on."""
        if self._more:
            self._more = False
            self.disconnected = True
        if self._reading is not None:
            self._reading.cancel()

    def _count(self, chunk: bytes) -> bytes:
        self.bytes_read += len(chunk)
        if self.limit is not None and self.bytes_read > self.limit:
            raise HTTPError(413)
        return chunk

    def _take(self, size: int) -> bytes:
        buffer = self._buffer
        start = self._start
        # PERF: the rest of a message stays where it is: servers give up to 256 kB at once.
        if size < 0 or len(buffer) - start <= size:
            self._buffer = b''
            self._start = 0
            return self._count(buffer[start:] if start else buffer)
        self._start = start + size
        return self._count(buffer[start : start + size])

    def take_whole(self, length: int) -> bytes:
        """Take the body where all of its `length` bytes are here, else b''."""
        if self._more or (self.limit is not None and length > self.limit) or len(self._buffer) != length or self._start:
            return b''
        return self._take(length)

    async def aread(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            chunks = []
            while chunk := await self.aread(65536):
                chunks.append(chunk)
            return b''.join(chunks)
        if not self._buffer:
            if not self._more:
                if self.disconnected:
                    raise ClientDisconnected()
                return b''
            await self._await(self._receive())
            if not self._buffer:
                return b''
        return self._take(size)

    async def agather(self, size: int) -> bytes:
        """Read as aread does, but wait for as many bytes as were read before; for `size` if those are fewer.

        So nobody makes the process hold more than what was sent already, and it is few pieces for much.
        """
        if not self._buffer and self._more:
            await self._await(self._gather(min(size, max(self.bytes_read, 65536))))
        return await self.aread(size)

    async def _await(self, pending: Any) -> None:
        driven = self.suspend is not None and (self.driven_on_loop or not _has_running_loop())
        await (self.suspend(pending) if driven else pending)

    async def _gather(self, size: int) -> None:
        # PERF: whoever takes all of the body in crosses to a thread, or from one, for each piece: an upload by uvicorn
        # is twice as fast in pieces of 1 MB as in those of 64 kB.
        parts = []
        left = size if self.limit is None else min(size, max(1, self.limit - self.bytes_read + 1))
        try:
            while left > 0 and (part := await self._receive()):
                parts.append(part)
                left -= len(part)
                self._buffer = b''
        except ClientDisconnected:
            pass  # told when what came before has been read
        finally:
            # Also where this is cancelled: nothing of the body may be lost.
            if parts:
                self._buffer = b''.join((*parts, self._buffer))

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, waiting until they are there; fewer only at the end of the body."""
        if size is None or size < 0:
            size = sys.maxsize
        parts = []
        while size > 0:
            if not self._buffer:
                if not self._more:
                    if self.disconnected:
                        raise ClientDisconnected()
                    break
                self._wait(self._gather(size))
                continue
            parts.append(self._take(size))
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def readline(self, size: int = -1) -> bytes:
        """Read up to and with a line feed, `size` bytes at the most; b'' at the end."""
        parts = []
        while size:
            part = self.read(1)
            # The rest of the line, as far as it is there.
            end = (self._buffer.find(b'\n', self._start) + 1 or len(self._buffer)) - self._start
            if part and part != b'\n' and end and size != 1:
                part += self._take(end if size < 0 else min(end, size - 1))
            parts.append(part)
            size -= len(part) if size > 0 else 0
            if not part or part[-1:] == b'\n':
                break
        return b''.join(parts)

    def _wait(self, pending: Any) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self.loop is None or running is self.loop:
            pending.close()
            raise RuntimeError('The body is read by `await request.body.aread()` in an async page handler.')
        try:
            asyncio.run_coroutine_threadsafe(self._read_for_thread(pending), self.loop).result()
        except CancelledError:
            raise ClientDisconnected() from None

    async def _read_for_thread(self, pending: Any) -> None:
        self._reading = asyncio.current_task()
        try:
            await pending
        finally:
            self._reading = None
