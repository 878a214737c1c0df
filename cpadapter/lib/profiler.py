"""Profiling of page handlers with `cProfile`, the reports kept in a folder, and pages to read them.

    from cpadapter.lib import profiler

    class Root:
        p = profiler.Profiler('/path/to/a/folder')

        @cpadapter.expose
        def index(self):
            return self.p.run(self._index)

`make_app` profiles every request of a WSGI callable; `serve` shows the reports by themselves, on 127.0.0.1. Nothing
is mounted by itself. Reports are Python's marshal data, which only trusted people may write: the folder is made
readable by its owner alone.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import NotFound
from .viewer import send_html, send_text, serve_alone

__all__ = ['ProfileAggregator', 'Profiler', 'make_app', 'serve']

_REPORT = re.compile(r'cp_[0-9]{4,9}\.prof')

_lock = threading.Lock()


class Profiler:
    """Writes a report for each call of `run` and shows them.

    path: the folder; None is `profile` in the current directory. It is made if it is not there.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = os.path.abspath(path or 'profile')
        os.makedirs(self.path, mode=0o700, exist_ok=True)

    def run(self, func: Callable[..., Any], *args: Any, **params: Any) -> Any:
        """Call `func`, write the report, and give what it returned or raise what it raised.

        Where something else profiles already, `func` is called without a report.
        """
        profile, result = _profiled(func, args, params)
        try:
            return result()
        finally:
            if profile is not None:
                self._keep(profile)

    def _keep(self, profile: Any) -> None:
        profile.create_stats()
        self._write(profile.stats, self._next_number())

    def _next_number(self) -> int:
        return max((int(name[3:-5]) for name in self.statfiles()), default=0) + 1

    def _write(self, stats: dict[Any, Any], number: int) -> int:
        """Write a report under the first free number from `number` on, and give that."""
        import marshal

        while True:
            path = os.path.join(self.path, f'cp_{number:04d}.prof')
            try:
                # No other thread or process has this name, and no link leads elsewhere.
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                number += 1
                continue
            with os.fdopen(file, 'wb') as stream:
                marshal.dump(stats, stream)
            return number

    def statfiles(self) -> list[str]:
        """Give the names of the reports, the oldest first."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        return sorted((name for name in names if _REPORT.fullmatch(name)), key=lambda name: (len(name), name))

    def stats(self, filename: str, sortby: str = 'cumulative') -> str:
        """Give a report as text. ValueError unless `filename` is that of a report in the folder."""
        path = os.path.join(self.path, filename)
        if not _REPORT.fullmatch(filename) or os.path.islink(path) or not os.path.isfile(path):
            raise ValueError(f'{filename!r} is not the name of a report.')
        return _text(path, sortby)

    def index(self) -> bytes:
        """Show the list of reports."""
        return send_html('Profiles', ''.join(self.menu()))

    def menu(self) -> Iterator[str]:
        """Yield the list of reports as HTML."""
        yield '<h2>Profiling runs</h2>\n'
        names = self.statfiles()
        if not names:
            yield '<p>There are none yet.</p>\n'
            return
        yield '<p>Click on one of the runs below to see its report.</p>\n'
        for name in names:
            yield f'<a href="report?filename={name}">{name}</a><br>\n'

    def report(self, filename: str) -> bytes:
        """Show a report as text."""
        if not isinstance(filename, str):
            raise NotFound()  # given more than once
        try:
            text = self.stats(filename)
        except ValueError as exc:
            raise NotFound() from exc
        return send_text(text)

    index.exposed = menu.exposed = report.exposed = True  # type: ignore[attr-defined]


class ProfileAggregator(Profiler):
    """Adds up all calls of `run` in one report."""

    def __init__(self, path: str | None = None) -> None:
        super().__init__(path)
        self._sum: Any = None
        self._number: int | None = None

    def _keep(self, profile: Any) -> None:
        import marshal
        import pstats

        with _lock:
            if self._sum is None:
                self._sum = pstats.Stats(profile)
            else:
                self._sum.add(profile)
            if self._number is None:
                self._number = self._write(self._sum.stats, self._next_number())
                return
            path = os.path.join(self.path, f'cp_{self._number:04d}.prof')
            beside = f'{path}.{os.getpid()}'
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'wb') as stream:
                marshal.dump(self._sum.stats, stream)
            # Whoever reads meanwhile has the old report or the new one, whole.
            os.replace(beside, path)


def _profiled(func: Callable[..., Any], args: Any, params: Any) -> tuple[Any, Callable[[], Any]]:
    """Call `func`; give its profile, None if there can be none, and a function that gives or raises its result."""
    import cProfile

    profile: Any = cProfile.Profile()
    try:
        profile.enable()
    except ValueError:
        # Python 3.12 and later: one at a time in the whole process.
        return None, lambda: func(*args, **params)
    try:
        result = func(*args, **params)
    except BaseException as exc:
        error = exc
    else:
        return profile, lambda: result
    finally:
        profile.disable()

    def fails() -> Any:
        raise error

    return profile, fails


def _text(path: str, sortby: str) -> str:
    import io
    import pstats

    text = io.StringIO()
    stats = pstats.Stats(path, stream=text)
    stats.strip_dirs()
    stats.sort_stats(sortby)
    stats.print_stats()
    return text.getvalue()


class make_app:
    """WSGI middleware that profiles each request, its body included, which is therefore read to its end.

    nextapp: the WSGI callable. path: the folder for the reports. aggregate: one report for all requests.
    """

    def __init__(self, nextapp: Any, path: str | None = None, aggregate: bool = False) -> None:
        self.nextapp = nextapp
        self.aggregate = aggregate
        self.profiler = ProfileAggregator(path) if aggregate else Profiler(path)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        def gather() -> list[bytes]:
            body = self.nextapp(environ, start_response)
            try:
                return list(body)
            finally:
                close = getattr(body, 'close', None)
                if close is not None:
                    close()

        chunks: list[bytes] = self.profiler.run(gather)
        return chunks


def serve(path: str | None = None, port: int = 8080) -> None:
    """Show the reports in a folder at http://127.0.0.1:port/ until Ctrl-C."""
    serve_alone(Profiler(path), port, 'profiler')


if __name__ == '__main__':
    import sys

    serve(sys.argv[1] if len(sys.argv) > 1 else None)
