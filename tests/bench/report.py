"""The tables, the marks and the JSON file made of what was measured."""

from __future__ import annotations

import platform
import sys
from typing import Any, NamedTuple

from .rows import ASGI_PEERS, IMPORT_PEERS, ROWS, WSGI_PEERS
from .run import Pace, Results

__all__ = ['Mark', 'as_json', 'format_marks', 'format_memory', 'format_missing', 'format_tables', 'judge']

_OURS = 'cpadapter'


class Mark(NamedTuple):
    """One aim of the project and what this run says of it; met is None where the run cannot say."""

    aim: str
    found: str
    met: bool | None


def _grid(lines: list[list[str]], left: int = 1) -> str:
    """Align the cells, those of the first `left` columns to the left; the first line is the heading."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    out = []
    for number, line in enumerate(lines):
        cells = list(zip(line, widths, strict=True))
        parts = [cell.ljust(width) for cell, width in cells[:left]] + [
            cell.rjust(width) for cell, width in cells[left:]
        ]
        out.append('  '.join(parts).rstrip())
        if number == 0:
            out.append('  '.join('-' * width for width in widths))
    return '\n'.join(out)


def _cell(value: float | None, base: float | None, unit: float) -> str:
    if value is None:
        return '-'
    text = f'{value * unit:.2f}' if value * unit < 100 else f'{value * unit:.0f}'
    return text if not base or base <= 0 else f'{text} {f"x{value / base:.2f}":>7}'


def _base(results: Results) -> str:
    measured = {peer for _, peer in results.medians}
    return next((peer for peer in (_OURS, 'bare') if peer in measured), '')


def format_tables(results: Results) -> str:
    """Give one table per protocol and one of imports; ratios are to cpadapter, without it to the bare callable."""
    parts = []
    base = _base(results)
    for protocol, peers in (('wsgi', WSGI_PEERS), ('asgi', ASGI_PEERS)):
        names = [row for row in ROWS if row.startswith(protocol) and any((row, p) in results.medians for p in peers)]
        shown = [peer for peer in peers if any((row, peer) in results.medians for row in ROWS if row in names)]
        if not names:
            continue
        lines = [[protocol.upper(), *shown]]
        for name in names:
            reference = results.best(name, base)
            lines.append([name, *(_cell(results.best(name, peer), reference, 1e6) for peer in shown)])
        ratios = f", and how many times {base}'s" if base else ''
        parts.append(f'Microseconds per request{ratios}:\n\n{_grid(lines)}')
    modules = [module for module in IMPORT_PEERS.values() if module in results.imports]
    if modules:
        reference = results.best_import(_OURS)
        lines = [['import', *modules]]
        lines.append(['', *(_cell(results.best_import(module), reference, 1e3) for module in modules)])
        bare = min(results.imports['']) * 1e3
        parts.append(
            f'Milliseconds that an import adds to a Python process (which takes {bare:.1f}):\n\n{_grid(lines)}'
        )
    return '\n\n'.join(parts)


def format_missing(results: Results) -> str:
    """Say which peers, or rows of peers, were not available, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for (row, peer), reason in results.missing.items():
        reasons.setdefault((peer, reason), []).append(row)
    lines = []
    measured = {peer for _, peer in [*results.medians, *results.memory]}
    for (peer, reason), rows in reasons.items():
        which = f' ({", ".join(rows)})' if peer in measured or len({r for p, r in reasons if p == peer}) > 1 else ''
        lines.append(f'{peer}: not available: {reason}{which}')
    lines += [f'import {module}: not available: {reason}' for module, reason in results.missing_imports.items()]
    return '\n'.join(lines)


def _ratio_mark(results: Results, aim: str, rows: list[str], other: str, least: float) -> Mark:
    """Judge whether on every row the other peer takes at least so many times as long as cpadapter."""
    ratios = {}
    for row in rows:
        ours, theirs = results.best(row, _OURS), results.best(row, other)
        if ours is None or theirs is None:
            return Mark(aim, f'no figures for {row}', None)
        ratios[row] = theirs / ours
    found = ', '.join(f'{row.partition(".")[2]} x{ratio:.2f}' for row, ratio in ratios.items())
    # "Below" the other means faster at all; a factor means that factor.
    met = all(ratio > 1 if least == 1 else ratio >= least for ratio in ratios.values())
    return Mark(aim, found, met)


def judge(results: Results) -> list[Mark]:
    """Compare the figures with the project's aims."""
    common = ['plain', 'params', 'form', 'json-out', 'json-io']
    wsgi, asgi = [f'wsgi.{name}' for name in common], [f'asgi.{name}' for name in common]
    falcon = _ratio_mark(results, "WSGI pages below Falcon's compiled wheel", wsgi, 'falcon', 1)
    if 'compiled' not in results.versions.get('falcon', '') and falcon.met is not None:
        falcon = falcon._replace(found=f'Falcon here has nothing compiled: {falcon.found}', met=None)
    errors = ['wsgi.404', 'wsgi.500']
    tools = [f'wsgi.{name}' for name in ('session', 'gzip', 'static', 'cached', 'records', 'basic')]
    marks = [
        falcon,
        _ratio_mark(results, 'WSGI pages 25 times below CherryPy', wsgi, 'cherrypy', 25),
        _ratio_mark(results, 'ASGI pages below BlackSheep', asgi, 'blacksheep', 1),
        _ratio_mark(results, 'ASGI pages below Falcon', asgi, 'falcon', 1),
        _ratio_mark(results, "sync page under ASGI 5 times below Starlette's", ['asgi.sync32'], 'starlette', 5),
        _ratio_mark(results, 'pages with tools 8 times below CherryPy', tools, 'cherrypy', 8),
        _ratio_mark(results, 'error pages 8 times below CherryPy', errors, 'cherrypy', 8),
    ]
    for protocol in ('wsgi', 'asgi'):
        aim = f'{protocol.upper()} dispatch among 10 and 10,000 equal within 20 %'
        small, large = (results.best(f'{protocol}.{tree}', _OURS) for tree in ('tree10', 'tree10k'))
        if small is None or large is None:
            marks.append(Mark(aim, f'no figures for {protocol}.tree10 and {protocol}.tree10k', None))
        else:
            marks.append(
                Mark(aim, f'large x{large / small:.2f} of small', max(large, small) <= 1.2 * min(large, small))
            )
    aim = "import at most half of CherryPy's time"
    ours, theirs = results.best_import(_OURS), results.best_import('cherrypy')
    if ours is None or theirs is None:
        marks.append(Mark(aim, 'no figures for the imports', None))
    else:
        marks.append(Mark(aim, f'{ours * 1e3:.1f} ms to {theirs * 1e3:.1f} ms', ours <= theirs / 2))
    marks.append(
        Mark(
            '1 GB up and down: below 32 MB more memory, 10 times the speed', 'measured by `upload`, and by a test', None
        )
    )
    marks.append(Mark('10,000 idle connections: memory within 20 % of bare ASGI', 'not measured by this program', None))
    return marks


def format_marks(marks: list[Mark]) -> str:
    words = {True: 'met', False: 'missed', None: 'unknown'}
    return _grid([['aim', '', ''], *([mark.aim, words[mark.met], mark.found] for mark in marks)], left=3)


def format_memory(results: Results) -> str:
    """Give what each step of requests left behind: growth in the later steps is a leak, in the first a cache."""
    lines = [['row', 'peer', 'blocks left per step', 'KiB resident per step']]
    for (row, peer), steps in results.memory.items():
        blocks = ' '.join(f'{step["blocks"]:>6}' for step in steps)
        resident = ' '.join(f'{step["resident"] // 1024:>6}' for step in steps)
        lines.append([row, peer, blocks, resident])
    return f'{results.memory_step} requests per step:\n\n{_grid(lines, left=2)}'


def as_json(results: Results, marks: list[Mark], pace: Pace) -> dict[str, Any]:
    """Give everything measured as JSON can hold it; times in microseconds per request, milliseconds per import."""
    rows: dict[str, dict[str, Any]] = {}
    for (row, peer), medians in results.medians.items():
        values = [round(value * 1e6, 3) for value in medians]
        rows.setdefault(row, {})[peer] = {'best': min(values), 'medians': values}
    imports = {
        module or 'bare': {'best': round(min(times) * 1e3, 3), 'times': [round(value * 1e3, 3) for value in times]}
        for module, times in results.imports.items()
    }
    return {
        'python': sys.version,
        'platform': platform.platform(),
        'pace': vars(pace),
        'versions': results.versions,
        'rows': rows,
        'imports': imports,
        'missing': [{'row': row, 'peer': peer, 'reason': reason} for (row, peer), reason in results.missing.items()],
        'memory': [
            {'row': row, 'peer': peer, 'requests': results.memory_step, 'steps': steps}
            for (row, peer), steps in results.memory.items()
        ],
        'marks': [mark._asdict() for mark in marks],
    }
