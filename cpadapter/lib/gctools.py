"""Looking for objects that outlive their request: what is alive, and who holds it.

Importing it subscribes `request_counter` to the default site's engine. `GCRoot` is a tree of pages for tests; it looks
at every object in the process, so mount it nowhere else.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from ..context import default_site
from ..core.pipeline import Exchange
from ..core.request import Request
from ..core.response import Response
from ..process.plugins import SimplePlugin
from .viewer import send_text

__all__ = ['GCRoot', 'ReferrerTree', 'RequestCounter', 'get_context', 'get_instances', 'request_counter']

# Seconds to wait for other requests to end.
_WAIT = 5
_PAUSE = 0.1


class ReferrerTree:
    """Finds who refers to an object, and who to those, as nested (referrer, its own referrers) pairs.

    ignore: objects to pass over. maxdepth: how far to go. maxparents: how many referrers of one object to follow.
    """

    peek_length = 40

    def __init__(self, ignore: Any = None, maxdepth: int = 2, maxparents: int = 10) -> None:
        self.ignore = list(ignore or ())
        self.maxdepth = maxdepth
        self.maxparents = maxparents
        self._passed_over = {id(item) for item in self.ignore}
        # Lists of this search itself.
        self._looking: list[Any] = []

    def ascend(self, obj: Any, depth: int = 1) -> list[Any]:
        """Give the referrers of `obj` as a list of (referrer, list); text stands where there are too many."""
        import sys
        from types import FrameType

        found = gc.get_referrers(obj)
        # What looks is no reason for what it looks at to be alive.
        mine = {id(found), id(sys._getframe()), id(self.ignore), *self._passed_over, *map(id, self._looking)}
        parents = [
            item
            for item in found
            if id(item) not in mine and not (isinstance(item, FrameType) and item.f_code.co_filename == __file__)
        ]
        if len(parents) > self.maxparents:
            return [(f'[{len(parents)} referrers]', [])]
        tree: list[Any] = []
        if depth >= self.maxdepth:
            tree.extend((parent, []) for parent in parents)
            return tree
        self._looking += [found, parents, tree]
        try:
            for parent in parents:
                tree.append((parent, self.ascend(parent, depth + 1)))
        finally:
            del self._looking[-3:]
        return tree

    def peek(self, s: str) -> str:
        """Shorten a text to about `peek_length` characters, its beginning and its end."""
        if len(s) <= self.peek_length:
            return s
        half = self.peek_length // 2
        return f'{s[:half]}...{s[-half:]}'

    def format(self, tree: list[Any]) -> list[str]:
        """Give the lines that show a tree, deeper referrers moved in."""
        lines: list[str] = []
        self._add(lines, tree, 1)
        return lines

    def _add(self, lines: list[str], tree: list[Any], depth: int) -> None:
        for parent, grandparents in tree:
            lines.append('    ' * depth + (parent if isinstance(parent, str) else self._shown(parent)))
            self._add(lines, grandparents, depth + 1)

    def _shown(self, obj: Any) -> str:
        try:
            text = repr(obj)
        except Exception as exc:
            text = f'repr failed: {type(exc).__name__}'
        context = get_context(obj)
        return self.peek(f'{type(obj).__name__} {text}') + (f' {context}' if context else '')


def get_instances(cls: type) -> list[Any]:
    """Give the living instances of a class that the garbage collector tracks."""
    # By type(): isinstance would ask proxies what they stand for.
    return [obj for obj in gc.get_objects() if issubclass(type(obj), cls)]


def get_context(obj: Any) -> str:
    """Say which request an object belongs to, or where a frame stands; '' for any other object."""
    if isinstance(obj, Request):
        exchange = obj._exchange
        if exchange is not None and exchange.head is not None:
            return f'path={exchange.path_info};stage={exchange.stage}'
        return 'path=;stage='
    if isinstance(obj, Response):
        return f'status={obj.status}'
    if isinstance(obj, Exchange):
        return f'path={obj.path_info};stage={obj.stage}'
    code = getattr(obj, 'f_code', None)
    if code is not None:
        return f'{code.co_filename}:{obj.f_lineno} {code.co_name}'
    return ''


class RequestCounter(SimplePlugin):
    """Counts the requests being served, by the engine's channels, in `count`."""

    def __init__(self, bus: Any) -> None:
        super().__init__(bus)
        self.count = 0

    def start(self) -> None:
        """Begin at 0."""
        self.count = 0

    def before_request(self) -> None:
        """Count a request in."""
        self.count += 1

    def after_request(self) -> None:
        """Count a request out."""
        self.count -= 1


request_counter = RequestCounter(default_site().engine)
request_counter.subscribe()


class GCRoot:
    """Pages for tests: `index`, and `stats`, which names what outlived its request."""

    # (class, how few, how many there should be while `stats` runs alone, what to say)
    classes: list[tuple[type, int, int, str]] = [
        (Request, 0, 2, 'Should be 1 in this request and 1 outside of any.'),
        (Response, 0, 2, 'Should be 1 in this request and 1 outside of any.'),
    ]

    def index(self) -> str:
        """Greet."""
        return 'Hello, world!'

    def stats(self) -> bytes:
        """Give 'Statistics:' and, on further lines, everything that should not be there."""
        lines = ['Statistics:']
        deadline = time.monotonic() + _WAIT
        while request_counter.count > 1 and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        if request_counter.count > 1:
            lines.append('Not all requests closed properly.')
        gc.collect()
        if gc.garbage:
            lines.append(f'{len(gc.garbage)} objects cannot be freed.')
        for obj in get_instances(Exchange):
            if obj.closed:
                lines.append(f'An exchange outlives its end: {get_context(obj)}')
                lines.extend(self._referrers(obj))
        for cls, least, most, message in self.classes:
            found = get_instances(cls)
            if not least <= len(found) <= most:
                lines.append(f'{len(found)} instances of {cls.__name__}: {message}')
                for obj in found:
                    lines.append(f'  {get_context(obj)}')
                    lines.extend(self._referrers(obj))
        return send_text('\n'.join(lines))

    def _referrers(self, obj: Any) -> list[str]:
        tree = ReferrerTree(ignore=[obj], maxdepth=3)
        return tree.format(tree.ascend(obj))

    index.exposed = stats.exposed = True  # type: ignore[attr-defined]
