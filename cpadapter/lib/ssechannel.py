"""Channels: events told to any number of event streams, from any thread, to streams on any event loop or in threads.

Events are kept once, in order, and a subscription is a place in that order: what it costs does not grow with what it
has not read yet, and one that is left behind ends. It knows nothing of responses.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..context import current
from ..gateways.lasting import is_over
from .sseformat import ServerSentEvent

if TYPE_CHECKING:
    import asyncio

__all__ = ['Channel', 'Subscription']

# Seconds after which a waiting thread looks whether its request has ended.
_LOOK = 0.5


class Channel:
    """Events for whoever subscribes, each sent to all of them.

    history: events kept for those who come back and name the last one they saw.
    queue: events that a subscriber may be behind, if that is more than `history`; one that is further behind ends,
        and its browser connects again.
    Its events get ids of their own, by which they are found again as long as they are kept. A channel belongs to one
    process: with several worker processes, each has its own.
    """

    def __init__(self, history: int = 100, queue: int = 100) -> None:
        if history < 0 or queue < 1:
            raise ValueError('A channel keeps no less than 0 events, and lets a subscriber be 1 behind at least.')
        self.history = history
        self.queue = queue
        self._kept = max(history, queue)
        # Number -> event, the newest numbered `_last`.
        self._events: dict[int, ServerSentEvent] = {}
        self._last = 0
        self._closed = False
        # Ids of an earlier process, or of another channel, must not be taken for this one's.
        self._prefix = f'{time.time_ns():x}-'
        self._lock = threading.Lock()
        self._told = threading.Condition(self._lock)
        self._threads = 0
        self._ports: WeakKeyDictionary[asyncio.AbstractEventLoop, _Port] = WeakKeyDictionary()

    def publish(self, data: Any = None, event: str | None = None, id: str | None = None) -> str:
        """Send an event to all subscribers and give its id; from any thread, and it never waits for them.

        data: as ServerSentEvent takes it, or one of those, which keeps its own id if it has one.
        """
        retry = comment = None
        if isinstance(data, ServerSentEvent):
            made, data = data, data.data
            event = made.event if event is None else event
            id = made.id if id is None else id
            retry, comment = made.retry, made.comment
        with self._lock:
            if self._closed:
                raise RuntimeError('This channel is closed.')
            number = self._last + 1
            told = ServerSentEvent(data, event, f'{self._prefix}{number}' if id is None else id, retry, comment)
            self._events[number] = told
            self._events.pop(number - self._kept, None)
            self._last = number
            self._wake()
        return told.id or ''

    def subscribe(self, last_event_id: str | None = None) -> Subscription:
        """Give the events from now on, for `for` and `async for` alike.

        last_event_id: of the last event that the client saw, as `sse.last_event_id()` gives it: what was published
        since comes first, as far as `history` has it. Of an id that is not known here nobody can say how long ago
        that was, so all of the history comes.
        """
        with self._lock:
            after = self._last
            if last_event_id is not None:
                oldest = max(self._last - self.history, self._last - len(self._events))
                for number in range(self._last, oldest, -1):
                    if self._events[number].id == last_event_id:
                        after = number
                        break
                else:
                    after = oldest
        return Subscription(self, after)

    def close(self) -> None:
        """End all subscriptions once they have read what there is."""
        with self._lock:
            self._closed = True
            self._wake()

    @property
    def waiting(self) -> int:
        """The number of subscribers that wait for an event at this moment."""
        with self._lock:
            return self._threads + sum(len(port.waiters) for port in self._ports.values())

    # -- for subscriptions; with the lock held

    def _wake(self) -> None:
        if self._threads:
            self._told.notify_all()
        for loop, port in list(self._ports.items()):
            if port.waiters and not port.woken:
                # PERF: one wake-up for all that is published until the loop looks.
                port.woken = True
                try:
                    loop.call_soon_threadsafe(self._wake_port, port)
                except RuntimeError:
                    port.waiters.clear()  # the loop is closed, and its tasks are gone

    def _wake_port(self, port: _Port) -> None:
        with self._lock:
            port.woken = False
            waiters, port.waiters = port.waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def take(self, after: int) -> ServerSentEvent | End | None:
        """Give the event that follows number `after`; None if there is none yet, an End if none will be."""
        with self._lock:
            behind = self._last - after
            if not behind:
                return CLOSED if self._closed else None
            return DROPPED if behind > self._kept else self._events[after + 1]

    def wait(self, after: int, timeout: float) -> None:
        """In a thread: wait until something follows number `after`, or the channel closes."""
        with self._told:
            if self._last == after and not self._closed:
                self._threads += 1
                try:
                    self._told.wait(timeout)
                finally:
                    self._threads -= 1

    def waiter(self, after: int) -> asyncio.Future[None] | None:
        """On a loop: give a future of what `wait` waits for, None if it is there; to be given back to `forget`."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        with self._lock:
            if self._last != after or self._closed:
                return None
            port = self._ports.get(loop)
            if port is None:
                port = self._ports[loop] = _Port()
            waiter: asyncio.Future[None] = loop.create_future()
            port.waiters.add(waiter)
            return waiter

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Let go of a waiter that waits no longer."""
        with self._lock:
            port = self._ports.get(waiter.get_loop())
            if port is not None:
                port.waiters.discard(waiter)


class _Port:
    """Who waits on one loop."""

    __slots__ = ('__weakref__', 'waiters', 'woken')

    def __init__(self) -> None:
        self.waiters: set[asyncio.Future[None]] = set()
        self.woken = False


class End:
    """Why a subscription ends."""

    __slots__ = ('reason',)

    def __init__(self, reason: str) -> None:
        self.reason = reason


CLOSED = End('the channel is closed')
DROPPED = End('it was left behind')


class Subscription:
    """The events of a channel from some place on, as ServerSentEvent objects; ends when it was left behind.

    In a thread, within a request, it ends as well when the client has left or the server ends.
    dropped: whether it ended because it was left behind.
    """

    __slots__ = ('_after', '_channel', '_exchange', 'dropped')

    def __init__(self, channel: Channel, after: int) -> None:
        self._channel = channel
        self._after = after
        self._exchange: Any = None
        self.dropped = False

    def take(self) -> ServerSentEvent | None:
        """Give the next event, None if there is none yet, waiting for nothing; StopIteration at the end."""
        event = self._channel.take(self._after)
        if event.__class__ is End:
            self.dropped = event is DROPPED
            raise StopIteration
        if event is not None:
            self._after += 1
        return event  # type: ignore[return-value]

    def wait(self, timeout: float) -> None:
        """In a thread: wait until there is something to take, or the time is over."""
        self._channel.wait(self._after, timeout)

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> ServerSentEvent:
        exchange = self._exchange
        if exchange is None:
            exchange = self._exchange = current()
        while (event := self.take()) is None:
            # Outside of a request nobody leaves.
            if exchange.app is not None and is_over(exchange):
                raise StopIteration
            self.wait(_LOOK)
        return event

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> ServerSentEvent:
        channel = self._channel
        while True:
            event = channel.take(self._after)
            if event is None:
                waiter = channel.waiter(self._after)
                if waiter is not None:
                    try:
                        await waiter
                    finally:
                        channel.forget(waiter)
            elif event.__class__ is End:
                self.dropped = event is DROPPED
                raise StopAsyncIteration
            else:
                self._after += 1
                return event  # type: ignore[return-value]
