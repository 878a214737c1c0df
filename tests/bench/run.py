"""The parent's half: starts one child per peer, gives them turns, and keeps what they measured.

Knows no framework, and not what the figures mean.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rows import BLACK_BOXES, IMPORT_PEERS, Row

__all__ = ['Abort', 'Pace', 'Results', 'measure', 'measure_imports', 'measure_memory']

_ROOT = Path(__file__).resolve().parents[2]
_PREPARE_LIMIT = 180.0
_TURN_LIMIT = 60.0


class Abort(Exception):
    """The run is worthless; the text says why."""


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds of one slice (in seconds) per row and peer, and starts of a process per import."""

    rounds: int
    slice: float
    imports: int


@dataclass
class Results:
    """Everything measured. Medians are seconds per request, one per slice; imports are seconds per process."""

    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    medians: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    imports: dict[str, list[float]] = field(default_factory=dict)
    missing_imports: dict[str, str] = field(default_factory=dict)
    memory: dict[tuple[str, str], list[dict[str, int]]] = field(default_factory=dict)
    memory_step: int = 0

    def best(self, row: str, peer: str) -> float | None:
        """Give the least of the medians, None if that was not measured."""
        medians = self.medians.get((row, peer))
        return min(medians) if medians else None

    def best_import(self, module: str) -> float | None:
        """Give what the import adds to the least time of a bare Python process."""
        times, bare = self.imports.get(module), self.imports.get('')
        return min(times) - min(bare) if times and bare else None


class _Child:
    """One peer's process."""

    def __init__(self, peer: str, rows: list[Row]) -> None:
        self.peer = peer
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, '-m', 'tests.bench.child', peer, *(row.name for row in rows)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=_ROOT, text=True
        )

    def hear(self, limit: float) -> dict[str, Any]:
        """Wait for the child's next message."""
        assert self.process.stdout is not None
        timer = threading.Timer(limit, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            tail = '' if self.peer in BLACK_BOXES else self.errors.read().decode('utf-8', 'replace')[-3000:]
            raise Abort(f'{self.peer}: no answer from its process (exit code {self.process.returncode})\n{tail}')
        message: dict[str, Any] = json.loads(line)
        if 'wrong' in message:
            raise Abort(f'{self.peer}: wrong answer: {message["wrong"]}')
        return message

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + '\n')
        self.process.stdin.flush()
        return self.hear(_TURN_LIMIT)

    def end(self) -> None:
        try:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()


def _with_children(
    rows: list[Row], peers: list[str], results: Results, note: Callable[[str], None]
) -> tuple[dict[str, _Child], list[tuple[Row, list[str]]]]:
    """Start the children and wait until all are ready; give them with the peers that serve each row."""
    children: dict[str, _Child] = {}
    try:
        for peer in peers:
            own = [row for row in rows if peer in row.peers]
            if own:
                children[peer] = _Child(peer, own)
        for peer, child in children.items():
            ready = child.hear(_PREPARE_LIMIT)
            for row, reason in ready['rows'].items():
                if reason is not None:
                    results.missing[row, peer] = reason
            able = [row for row, reason in ready['rows'].items() if reason is None]
            if able:
                results.versions[peer] = ready['version']
            note(f'{peer} {ready["version"]}: {len(able)} of {len(ready["rows"])} rows ready')
    except BaseException:
        _end(children)
        raise
    turns = []
    for row in rows:
        able = [peer for peer in row.peers if peer in children and (row.name, peer) not in results.missing]
        if able:
            turns.append((row, able))
    return children, turns


def _end(children: dict[str, _Child]) -> None:
    for child in children.values():
        child.end()


def measure(rows: list[Row], peers: list[str], pace: Pace, results: Results, note: Callable[[str], None]) -> None:
    """Give every row and peer a short turn, round after round: whatever drifts hits all of them alike."""
    children, turns = _with_children(rows, peers, results, note)
    try:
        started = time.monotonic()
        for number in range(pace.rounds):
            for row, able in turns:
                first = number % len(able)
                for peer in able[first:] + able[:first]:
                    answer = children[peer].ask({'row': row.name, 'seconds': pace.slice})
                    results.medians.setdefault((row.name, peer), []).append(answer['seconds'])
            note(f'round {number + 1} of {pace.rounds}, {time.monotonic() - started:.0f} s')
    finally:
        _end(children)


def measure_memory(
    rows: list[Row], peers: list[str], step: int, steps: int, results: Results, note: Callable[[str], None]
) -> None:
    """Serve `steps` times `step` requests of each row, one process per row and peer, and keep what each step left."""
    results.memory_step = step
    for row in rows:
        children, turns = _with_children([row], peers, results, lambda text: None)
        try:
            for _, able in turns:
                for peer in able:
                    note(f'{row.name}, {peer}')
                    results.memory[row.name, peer] = [
                        {
                            key: int(value)
                            for key, value in children[peer].ask({'row': row.name, 'memory': step}).items()
                        }
                        for _ in range(steps)
                    ]
        finally:
            _end(children)


def _start(code: str, cache: str) -> float:
    # Installed packages come with bytecode, a checkout may not: all have it in one place here.
    environment = {**os.environ, 'PYTHONPYCACHEPREFIX': cache}
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    took = time.perf_counter() - start
    if done.returncode:
        lines = done.stdout.decode('utf-8', 'replace').strip().splitlines()
        raise ImportError(lines[-1] if lines else f'exit code {done.returncode}')
    return took


def measure_imports(peers: list[str], pace: Pace, results: Results, note: Callable[[str], None]) -> None:
    """Time whole processes that import one module and end, in turn with processes that import none."""
    with tempfile.TemporaryDirectory() as cache:
        _measure_imports(peers, pace, results, cache)
    note('imports are done')


def _measure_imports(peers: list[str], pace: Pace, results: Results, cache: str) -> None:
    modules = ['']
    for peer, module in IMPORT_PEERS.items():
        if peer not in peers:
            continue
        try:
            # A directory without code can be imported too, so ask for a file. This also writes the bytecode.
            _start(f'import {module}; assert {module}.__file__, "no such module"', cache)
        except ImportError as error:
            results.missing_imports[module] = str(error)
        else:
            modules.append(module)
    for number in range(pace.imports):
        first = number % len(modules)
        for module in modules[first:] + modules[:first]:
            results.imports.setdefault(module, []).append(_start(f'import {module}' if module else 'pass', cache))
