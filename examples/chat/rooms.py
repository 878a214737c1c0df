"""Rooms: who is in them, what was said last, and the channel that tells both to all who are there.

It knows nothing of how they are told. All of it is used on one event loop, under ASGI and WSGI alike, since every
page handler that comes here is async: so there are no locks.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator

from cpadapter.lib.sse import Channel, ServerSentEvent

__all__ = ['LONGEST', 'Person', 'Refused', 'Room', 'Rooms']

LONGEST = 1000  # characters of a message
LONGEST_NAME = 30  # of a person or room
ROOMS = 100
REMEMBERED = 50  # messages that are shown to whoever comes
NAMED = 100  # people that are told by name; the rest are counted
# So many messages in so many seconds are let through.
BURST, PERIOD = 5, 5.0
# Seconds in which all who come and go are told of at once.
PAUSE = 0.2


class Refused(Exception):
    """What somebody wants cannot be had; the text says why. status: what HTTP calls that."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Person:
    """Somebody in a room, in one window or more."""

    def __init__(self) -> None:
        self.windows = 0
        self.times: deque[float] = deque(maxlen=BURST)


class Room:
    """A room, empty at first."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self._said: deque[dict[str, object]] = deque(maxlen=REMEMBERED)
        self._channel = Channel()
        self._last = 0
        self._telling: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """Have somebody in the room for as long as the block runs."""
        person = self.people.setdefault(name, Person())
        person.windows += 1
        self._tell_soon()
        try:
            yield
        finally:
            person.windows -= 1
            if not person.windows:
                del self.people[name]
            self._tell_soon()

    def say(self, name: str, text: str) -> None:
        """Tell everybody; Refused if it is nothing or too much, too soon, or of somebody who is not here."""
        text = text.strip()
        if not 0 < len(text) <= LONGEST:
            raise Refused(f'A message has 1 to {LONGEST} characters.')
        if name not in self.people:
            raise Refused('You are not in this room.', 403)
        times, now = self.people[name].times, time.monotonic()
        if len(times) == BURST and now - times[0] < PERIOD:
            raise Refused('Slowly, please.', 429)
        # Half a surrogate pair, which JSON can write, is no text that could be sent on.
        if not is_text(text):
            raise Refused('This is no text.')
        times.append(now)
        # Milliseconds, and never the same twice: by it a page knows what it has shown already.
        self._last = max(self._last + 1, time.time_ns() // 1_000_000)
        message: dict[str, object] = {'at': self._last, 'name': name, 'text': text}
        self._said.append(message)
        self._channel.publish(message, 'said')

    async def events(self, last_event_id: str | None = None) -> AsyncGenerator[ServerSentEvent, None]:
        """Give what was said, who is there, and then what happens; after a known event, only what came since."""
        news = self._channel.subscribe(last_event_id)
        if last_event_id is None:
            for message in tuple(self._said):
                yield ServerSentEvent(message, 'said')
        yield ServerSentEvent(self._present(), 'people')
        async for event in news:
            yield event

    def _present(self) -> dict[str, object]:
        return {'count': len(self.people), 'names': sorted(self.people)[:NAMED]}

    def _tell_soon(self) -> None:
        """Tell who is there, once for all who come and go in a moment."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(PAUSE, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._channel.publish(self._present(), 'people')


class Rooms:
    """The rooms there are, made when they are asked for; where there are too many, an empty one is forgotten."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def find(self, name: str) -> Room:
        """Give the room of a name; Refused if it cannot be had."""
        name = clean_name(name)
        room = self._rooms.get(name)
        if room is None:
            if len(self._rooms) >= ROOMS:
                self._forget()
            room = self._rooms[name] = Room()
        return room

    def _forget(self) -> None:
        empty = next((name for name, room in self._rooms.items() if not room.people), None)
        if empty is None:
            raise Refused('All rooms are taken.', 503)
        del self._rooms[empty]


def clean_name(name: str) -> str:
    """Give the name of a person or room as it is shown; Refused if it is none."""
    name = ' '.join(name.split())
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and is_text(name)):
        raise Refused(f'A name has 1 to {LONGEST_NAME} characters that can be seen.')
    return name


def is_text(text: str) -> bool:
    """Say whether text can be sent, as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
