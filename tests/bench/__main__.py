"""The command line: chooses rows, peers and pace, runs them and prints the tables."""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time

from . import idle, transfers
from .child import Stand
from .doubling import format_growths, measure_growths
from .drive import AsgiDriver, WrongAnswer
from .hostile import print_hostile
from .report import as_json, format_marks, format_memory, format_missing, format_tables, judge
from .rows import ASGI_PEERS, BLACK_BOXES, IMPORT_PEERS, ROWS, WSGI_PEERS, Row
from .run import Abort, Pace, Results, measure, measure_imports, measure_memory
from .served import Unavailable, version

__all__ = ['main']

_QUICK = Pace(rounds=9, slice=0.06, imports=8)
_FULL = Pace(rounds=30, slice=0.1, imports=40)
_PEERS = list(dict.fromkeys([*WSGI_PEERS, *ASGI_PEERS, *IMPORT_PEERS]))


def _choose_rows(text: str | None) -> tuple[list[Row], bool]:
    """Read --rows: full names, `wsgi` or `asgi`, or the part after the dot. Also says whether to time imports."""
    if text is None:
        return list(ROWS.values()), True
    chosen: dict[str, Row] = {}
    imports = False
    for word in text.split(','):
        found = {name: row for name, row in ROWS.items() if word in (name, *name.split('.', 1))}
        if not found and word != 'import':
            raise SystemExit(f'no row {word!r}; there are: {", ".join(ROWS)}, import')
        chosen.update(found)
        imports = imports or word == 'import'
    return list(chosen.values()), imports


def _choose_peers(text: str | None) -> list[str]:
    if text is None:
        return _PEERS
    peers = text.split(',')
    for peer in peers:
        if peer not in _PEERS:
            raise SystemExit(f'no peer {peer!r}; there are: {", ".join(_PEERS)}')
    return peers


def _note(text: str) -> None:
    print(f'  {text}', file=sys.stderr, flush=True)


def _profile(peer: str, name: str) -> None:
    """Print where one peer spends its time on one row, in this process."""
    if peer in BLACK_BOXES:
        raise SystemExit(f'{peer} is only measured from outside; a profile would show its insides')
    if name not in ROWS or peer not in ROWS[name].peers:
        able = [row.name for row in ROWS.values() if peer in row.peers]
        raise SystemExit(f'{peer} has no row {name!r}; there are: {", ".join(able)}')
    with tempfile.TemporaryDirectory() as folder:
        kept = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            driver = Stand(peer, folder).driver(ROWS[name])
            count = max(driver.batch, round(2 / driver.measure(0.2)) // driver.row.at_once * driver.row.at_once)
            profiler = cProfile.Profile()
            profiler.enable()
            driver.run(count)
            profiler.disable()
            AsgiDriver.stop_all()
        except Unavailable as reason:
            raise SystemExit(f'{peer}: not available: {reason}') from None
        except WrongAnswer as wrong:
            raise SystemExit(f'{peer}: wrong answer: {wrong}') from None
        finally:
            os.dup2(kept, 2)
    print(f'{peer} {version(peer)}, {name}, {count} requests; this thread only, the profiler itself included')
    pstats.Stats(profiler).sort_stats('tottime').print_stats(40)
    sys.stdout.flush()
    # Threads that a framework left running must not keep the process.
    os._exit(0)


def main() -> None:
    if sys.argv[1:2] in (['upload'], ['latency']):
        transfers.main(sys.argv[1:])
        return
    if sys.argv[1:2] == ['idle']:
        idle.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog='python -m tests.bench', description=__doc__)
    parser.add_argument('--quick', action='store_true', help='short turns, below two minutes altogether')
    parser.add_argument('--rows', metavar='A,B', help='only these: a full name, wsgi, asgi, or the part after the dot')
    parser.add_argument('--peers', metavar='A,B', help='only these')
    parser.add_argument('--json', metavar='FILE', help='also write everything measured there')
    parser.add_argument('--list', action='store_true', help='list the rows and end')
    parser.add_argument('--profile', nargs=2, metavar=('PEER', 'ROW'), help='print a profile of one row and end')
    parser.add_argument('--doubling', action='store_true', help='time parsers on input of n, 2n and 4n bytes and end')
    parser.add_argument('--hostile', action='store_true', help='time requests made to cost much, and end')
    parser.add_argument('--memory', action='store_true', help='measure what requests leave in memory, not time')
    options = parser.parse_args()
    if options.list:
        for row in ROWS.values():
            print(f'{row.name:<16} {row.about}')
        print(f'{"import":<16} importing the package, in a new process')
        return
    if options.doubling:
        print(format_growths(measure_growths(_note)))
        return
    if options.hostile:
        print_hostile()
        return
    if options.profile:
        _profile(*options.profile)
        return
    rows, imports = _choose_rows(options.rows)
    peers = _choose_peers(options.peers)
    pace = _QUICK if options.quick else _FULL
    results = Results()
    started = time.monotonic()
    try:
        if options.memory:
            step, steps = (500, 4) if options.quick else (5000, 6)
            if options.peers is None:
                peers = ['bare', 'cpadapter', 'cherrypy']
            measure_memory(rows, peers, step, steps, results, _note)
        else:
            measure(rows, peers, pace, results, _note)
            if imports:
                measure_imports(peers, pace, results, _note)
    except Abort as reason:
        raise SystemExit(f'aborted: {reason}') from None
    marks = [] if options.memory else judge(results)
    print('\n'.join(f'{peer} {text}' for peer, text in results.versions.items()))
    for part in (format_missing(results), format_memory(results) if options.memory else format_tables(results)):
        if part:
            print(f'\n{part}')
    if marks:
        print(f'\n{format_marks(marks)}')
    print(f'\nTook {time.monotonic() - started:.0f} s.')
    if options.json:
        with open(options.json, 'w') as file:
            json.dump(as_json(results, marks, pace), file, indent=1)


if __name__ == '__main__':
    main()
