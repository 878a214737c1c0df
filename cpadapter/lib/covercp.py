"""Which lines of a running site were executed: `coverage` started with the engine, and pages that show the result.

    cpadapter.engine.subscribe('start', covercp.start)

`serve` shows the result by itself, on 127.0.0.1. The pages show measured files below one folder and no others; they
hold source code, so mount them where only developers come. The package `coverage` is imported when it is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from ..errors import HTTPError, NotFound
from .viewer import send_html, serve_alone

__all__ = ['CoverStats', 'get_tree', 'serve', 'start']

DATA_FILE = 'coverage.cache'
_EXCLUDE = r'python\d\.\d|test|tut\d|tutorial'
_MAX_EXCLUDE = 200

_started: Any = None


def make_coverage(data_file: str | None = None) -> Any:
    """Give a new coverage.Coverage; ImportError names the package to install if it is missing."""
    from importlib import import_module

    try:
        coverage = import_module('coverage')
    except ImportError as exc:
        raise ImportError('covercp needs the package coverage: pip install coverage') from exc
    return coverage.Coverage(data_file=data_file or DATA_FILE)


def the_coverage() -> Any:
    """Give the Coverage that `start` started; a new one, not started, if it did not yet."""
    global _started
    if _started is None:
        _started = make_coverage()
    return _started


def start() -> None:
    """Start measuring; to be subscribed to the engine's channel `start`."""
    the_coverage().start()


start.priority = 20  # type: ignore[attr-defined]


def get_tree(base: str, exclude: str, coverage: Any = None) -> dict[str, Any]:
    """Give the measured files below the folder `base` as a tree: a dict for a folder, None for a file.

    exclude: alternatives separated by `|`, in which a backslash and `d` stand for a digit; what holds one of them
        is left out.
    """
    coverage = coverage if coverage is not None else the_coverage()
    pattern = _pattern(exclude)
    base = os.path.realpath(base)
    tree: dict[str, Any] = {}
    for path in sorted(coverage.get_data().measured_files()):
        if not _is_below(path, base):
            continue
        relative = os.path.relpath(os.path.realpath(path), base)
        if pattern is not None and pattern.search(relative):
            continue
        *folders, name = relative.split(os.sep)
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = None
    return tree


def _pattern(exclude: str) -> re.Pattern[str] | None:
    r"""Compile what a client may ask to be left out: words, `\d` and escaped characters, nothing that can be slow."""
    if len(exclude) > _MAX_EXCLUDE:
        raise HTTPError(400, 'The pattern to exclude is too long.')
    words = []
    for word in exclude.split('|'):
        if word:
            pieces = re.findall(r'\\d|\\.|[^\\]|\\', word)
            words.append(''.join('[0-9]' if piece == '\\d' else re.escape(piece[-1]) for piece in pieces))
    return re.compile('|'.join(words)) if words else None


def _is_below(path: str, folder: str) -> bool:
    """Say whether a path leads below a folder, name by name, symbolic links followed."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    try:
        return os.path.commonpath((path, folder)) == folder
    except ValueError:
        return False  # another drive


def _percent(statements: Any, missing: Any) -> int:
    return 100 - round(100 * len(missing) / len(statements)) if statements else 100


class CoverStats:
    """Pages that show a Coverage's result.

    root: files outside of this folder are not shown; None is the current directory.
    """

    def __init__(self, coverage: Any, root: str | None = None) -> None:
        self.coverage = coverage
        self.root = os.path.realpath(root or os.getcwd())

    def index(self) -> bytes:
        """Show the menu, as a page."""
        return send_html('Coverage', ''.join(self.menu(showpct='1')))

    def menu(self, base: str = '/', pct: str = '50', showpct: str = '', exclude: str = _EXCLUDE) -> Iterator[str]:
        """Yield the tree of measured files as HTML.

        base: a folder below the root, '/' for all. pct: files covered by less than this many percent are marked.
        showpct: not empty to show how much of each file is covered. exclude: as for get_tree.
        """
        if not all(isinstance(value, str) for value in (base, pct, showpct, exclude)):
            raise HTTPError(400, 'Each parameter may be given once.')
        if '\0' in base:
            raise NotFound()
        folder = os.path.realpath(os.path.join(self.root, base.strip('/')))
        if not _is_below(folder, self.root):
            raise NotFound()
        try:
            least = int(pct)
        except ValueError as exc:
            raise HTTPError(400, 'pct is a number.') from exc
        tree = get_tree(folder, exclude, self.coverage)
        return self._menu(tree, os.path.relpath(folder, self.root), least, bool(showpct))

    def _menu(self, tree: dict[str, Any], folder: str, least: int, shows: bool) -> Iterator[str]:
        yield '<h2>Measured files</h2>\n'
        if not tree:
            yield '<p>There are none.</p>\n'
        yield from self._branch(tree, '' if folder == '.' else folder, least, shows)

    def _branch(self, tree: dict[str, Any], folder: str, least: int, shows: bool) -> Iterator[str]:
        from html import escape
        from urllib.parse import quote

        yield '<ul>\n'
        for name, below in sorted(tree.items(), key=lambda item: (item[1] is None, item[0])):
            path = os.path.join(folder, name)
            if below is not None:
                yield f'<li>{escape(name)}/\n'
                yield from self._branch(below, path, least, shows)
                yield '</li>\n'
                continue
            text = ''
            kind = ''
            if shows:
                try:
                    _, statements, _, missing, _ = self.coverage.analysis2(os.path.join(self.root, path))
                except Exception:
                    text = ' (no source)'  # coverage has exceptions of its own for what it cannot read
                else:
                    percent = _percent(statements, missing)
                    text = f' {percent}%'
                    kind = ' class="missing"' if percent < least else ''
            yield f'<li{kind}><a href="report?name={quote(path)}">{escape(name)}</a>{text}</li>\n'
        yield '</ul>\n'

    def annotated_file(self, filename: str, statements: Any, excluded: Any, missing: Any) -> Iterator[str]:
        """Yield the lines of a source file as HTML, those not executed marked.

        statements, excluded, missing: line numbers, as coverage's analysis2 gives them.
        """
        import tokenize
        from html import escape

        executable, left_out, not_run = set(statements), set(excluded), set(missing)
        with tokenize.open(filename) as source:
            for number, line in enumerate(source, 1):
                kind = ''
                if number in not_run:
                    kind = ' class="missing"'
                elif number in left_out:
                    kind = ' class="excluded"'
                mark = '!' if number in not_run else '>' if number in executable else ' '
                yield f'<span{kind}>{number:5} {mark} {escape(line.rstrip())}</span>\n'

    def report(self, name: str) -> bytes:
        """Show a measured file below the root, by its path from there; NotFound for any other."""
        from html import escape

        is_path = isinstance(name, str) and '\0' not in name
        path = os.path.realpath(os.path.join(self.root, name)) if is_path else ''
        measured = {os.path.realpath(file) for file in self.coverage.get_data().measured_files()}
        if path not in measured or not _is_below(path, self.root):
            raise NotFound()
        try:
            filename, statements, excluded, missing, _ = self.coverage.analysis2(path)
            lines = ''.join(self.annotated_file(filename, statements, excluded, missing))
        except (OSError, SyntaxError, UnicodeError) as exc:
            raise NotFound() from exc
        title = f'{escape(os.path.relpath(path, self.root))}: {_percent(statements, missing)}%'
        return send_html(title, f'<pre>{lines}</pre>')

    index.exposed = menu.exposed = report.exposed = True  # type: ignore[attr-defined]


def serve(path: str = DATA_FILE, port: int = 8080, root: str | None = None) -> None:
    """Show the result kept in the file `path` at http://127.0.0.1:port/ until Ctrl-C."""
    measured = make_coverage(path)
    measured.load()
    serve_alone(CoverStats(measured, root), port, 'covercp')


if __name__ == '__main__':
    import sys

    serve(sys.argv[1] if len(sys.argv) > 1 else DATA_FILE)
