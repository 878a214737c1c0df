"""One peer in a process of its own: `python -m tests.bench.child PEER ROW...`, one JSON line per message.

First line out: `{"version", "rows": {row: null, or why it is not available}}`, or `{"wrong": text}`. Then each line in,
`{"row", "seconds"}` or `{"row", "memory": requests}`, has one line out. Ends at the end of stdin.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import sys
import tempfile
import traceback
from typing import Any

from . import peers_asgi, peers_wsgi
from .drive import AsgiDriver, Driver, WrongAnswer, WsgiDriver, memory
from .rows import BLACK_BOXES, ROWS, STATIC, Row, varied
from .served import Served, Unavailable, version

__all__ = ['Stand', 'main']


class Stand:
    """The applications of one peer, each built once, and a driver for each row asked for."""

    def __init__(self, peer: str, folder: str) -> None:
        self.peer = peer
        self.static_file = os.path.join(folder, 'bench.css')
        with open(self.static_file, 'wb') as file:
            file.write(STATIC)
        self._built: dict[tuple[str, str], Served | Unavailable] = {}

    def driver(self, row: Row) -> Driver:
        """Give the row's driver, checked and warm. Raises Unavailable, or WrongAnswer."""
        needed = peers_asgi.NEEDS.get((self.peer, row.name))
        if needed is not None and importlib.util.find_spec(needed) is None:
            raise Unavailable(f'needs {needed}')
        key = row.protocol, row.kind
        if key not in self._built:
            self._built[key] = self._build(*key)
        served = self._built[key]
        if isinstance(served, Unavailable):
            raise served
        try:
            driver = (WsgiDriver if row.protocol == 'wsgi' else AsgiDriver)(row, served.app, served.enter)
            driver.prepare()
        except WrongAnswer:
            raise
        except asyncio.TimeoutError:
            raise WrongAnswer(f'{row.name}: no answer in time') from None
        except Exception as error:
            details = repr(error) if self.peer in BLACK_BOXES else f'\n{traceback.format_exc()}'
            raise WrongAnswer(f'{row.name}: the application raised {details}') from None
        return driver

    def _build(self, protocol: str, kind: str) -> Served | Unavailable:
        peers = peers_wsgi.PEERS if protocol == 'wsgi' else peers_asgi.PEERS
        try:
            return peers[self.peer](kind, self.static_file)
        except Unavailable as reason:
            return reason
        except Exception as error:
            return Unavailable(f'{type(error).__name__}: {error}')


def _serve(stand: Stand, names: list[str], say: Any) -> None:
    drivers: dict[str, Driver] = {}
    states: dict[str, str | None] = {}
    for name in names:
        try:
            drivers[name] = stand.driver(ROWS[name])
            states[name] = None
        except Unavailable as reason:
            states[name] = str(reason)
        except WrongAnswer as wrong:
            say({'wrong': str(wrong)})
            return
    # What the applications keep for good must not be searched for garbage during each row's turn.
    gc.collect()
    gc.freeze()
    say({'version': version(stand.peer), 'rows': states})
    # Frameworks may log to stderr, each as it does by default: that is timed, but nobody reads it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    asked = 0
    for line in sys.stdin:
        order = json.loads(line)
        driver = drivers[order['row']]
        if 'memory' in order:
            count = -(-order['memory'] // driver.row.at_once) * driver.row.at_once
            # No path twice, not in the next order either: a cache that only grows must show.
            say(memory(driver, varied(driver.row, range(asked, asked + count)).sent, count))
            asked += count
        else:
            say({'seconds': driver.measure(order['seconds'])})


def main(arguments: list[str]) -> None:
    peer, *names = arguments
    # Whatever a framework prints must not get between the messages.
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + '\n')
        out.flush()

    with tempfile.TemporaryDirectory() as folder:
        try:
            _serve(Stand(peer, folder), names, say)
            AsgiDriver.stop_all()
        except Exception as error:
            say({'wrong': repr(error) if peer in BLACK_BOXES else traceback.format_exc()})
    # Threads that a framework left running must not keep the process.
    os._exit(0)


if __name__ == '__main__':
    main(sys.argv[1:])
