"""LogManager and GlobalLog: the error and access logs of a site and of each application, over `logging`.

Lives here: what one access line holds, how text is made safe to stand in a log, and the built-in screen, file and
`wsgi.errors` handlers; records as JSON and request ids are in logformats.py, the handler of files in logfiles.py. It
adds no handler until one is asked for, so that under a host everything propagates to the host's logging. It does not
know who owns the process, when an access line is due, or the engine: whoever wants files reopened subscribes
`reopen_files` to the `graceful` channel.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from string import Formatter
from typing import Any

from ..context import current, exchange_var
from .logformats import read_sources, request_id, response_facts, utc_time

__all__ = ['ATOMS', 'GlobalLog', 'LogManager', 'WSGIErrorHandler', 'logfmt', 'response_facts']

_INFO = logging.INFO
_ROOT = logging.getLogger()
_MONTHS = ('', 'Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')

# The last second told by LogManager.time and its text; replaced as one object, so threads need no lock.
_last_time: tuple[int, str] = (-1, '')


# -- Text that is safe to log ------------------------------------------------------------------------------------------

# What an access line's atom may hold as it is: printable ASCII without the double quote.
_PLAIN = bytes(code for code in range(0x20, 0x7F) if code != 0x22)
_ESCAPES = {code: f'\\x{code:02x}' for code in (*range(0x20), *range(0x7F, 0x100))}
_ESCAPES.update({ord('\n'): '\\n', ord('\r'): '\\r', ord('\t'): '\\t', ord('"'): '\\"'})

# Controls, line separators, marks that turn the direction of writing, lone surrogates. Tab and line feed are apart.
_UNSAFE = r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
# Compiled by `re` at first use, and kept there: most messages are printable.
_UNSAFE_IN_MESSAGE = _UNSAFE + r'|\n(?=[^ \t\n])'
_UNSAFE_IN_RECORD = _UNSAFE + r'|\n(?=\[)'


def _escape_atom(value: str) -> str:
    # COMPAT: a backslash stays single, as CherryPy writes it.
    return value.encode('utf-8', 'backslashreplace').decode('latin-1').translate(_ESCAPES)


def _escape_match(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char == '\n':
        # The line goes on, one space in: whatever it says, it cannot pass for a record of its own.
        return '\n '
    return _ESCAPES[code] if code < 0x100 else f'\\u{code:04x}'


class _ErrorFormatter(logging.Formatter):
    """The record's message and traceback, as `logging` lays them out, with control characters escaped.

    Every record of an error log begins with "[": a line of a traceback that does so too (an exception's message may
    hold anything) is moved in by one space.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if text.isprintable() else re.sub(_UNSAFE_IN_RECORD, _escape_match, text)


# This file, as frames name it.
_HERE = _escape_match.__code__.co_filename

logfmt = logging.Formatter('%(message)s')
_error_format = _ErrorFormatter('%(message)s')


# -- The atoms of an access line ---------------------------------------------------------------------------------------


def _remote_host(log: LogManager, exchange: Any, facts: tuple[str, str]) -> Any:
    remote = exchange.request.remote
    return remote.name or remote.ip or '-'


def _identity(log: LogManager, exchange: Any, facts: tuple[str, str]) -> str:
    return '-'


def _user(log: LogManager, exchange: Any, facts: tuple[str, str]) -> Any:
    return exchange.request.login or '-'


def _local_time(log: LogManager, exchange: Any, facts: tuple[str, str]) -> str:
    return log.time()


def _request_line(log: LogManager, exchange: Any, facts: tuple[str, str]) -> Any:
    return exchange.request.request_line


def _status(log: LogManager, exchange: Any, facts: tuple[str, str]) -> str:
    return facts[0]


def _length(log: LogManager, exchange: Any, facts: tuple[str, str]) -> str:
    return facts[1]


def _referer(log: LogManager, exchange: Any, facts: tuple[str, str]) -> Any:
    return exchange.request.headers.get('Referer', '')


def _user_agent(log: LogManager, exchange: Any, facts: tuple[str, str]) -> Any:
    return exchange.request.headers.get('User-Agent', '')


def _host(log: LogManager, exchange: Any, facts: tuple[str, str]) -> Any:
    return exchange.request.headers.get('Host', '-')


def _unique_id(log: LogManager, exchange: Any, facts: tuple[str, str]) -> str:
    return request_id(exchange)


def _utc_time(log: LogManager, exchange: Any, facts: tuple[str, str]) -> str:
    return utc_time(time.time())


Atom = Callable[['LogManager', Any, 'tuple[str, str]'], Any]

# Each takes the manager, the exchange and its response_facts; a value that is no str is turned into one by str().
ATOMS: dict[str, Atom] = {
    'h': _remote_host,
    'l': _identity,
    'u': _user,
    't': _local_time,
    'r': _request_line,
    's': _status,
    'b': _length,
    'f': _referer,
    'a': _user_agent,
    'o': _host,
    'i': _unique_id,
    'z': _utc_time,
}


class _LineFormat:
    """One compiled access_log_format; frozen once made.

    `source` is the string it was compiled from. Raises KeyError for a name that is no atom, IndexError for a field
    without a name, ValueError for braces that do not match.
    """

    __slots__ = ('_atoms', '_names', '_needs_facts', '_template', 'source')

    def __init__(self, source: str) -> None:
        self.source = source
        names: list[str] = []
        template = ''
        plain = True
        for literal, field, spec, conversion in Formatter().parse(source):
            template += literal.replace('%', '%%')
            if field is None:
                continue
            names.append(_atom_name(field))
            template += '%s'
            if field != names[-1] or spec or conversion:
                plain = False
                names += [_atom_name(inner) for _, inner, _, _ in Formatter().parse(spec or '') if inner is not None]
        self._names = tuple(names)
        self._atoms = tuple(ATOMS[name] for name in names)
        self._needs_facts = 's' in names or 'b' in names
        # For `%`; None when a field has a conversion, a spec or an index, which only str.format knows.
        self._template = template if plain else None

    def line(self, log: LogManager, exchange: Any) -> str:
        """Give the access line of an exchange, every atom escaped."""
        facts = response_facts(exchange) if self._needs_facts else ('-', '-')
        values = [atom(log, exchange, facts) for atom in self._atoms]
        try:
            joined = ''.join(values)
        except TypeError:
            values = [str(value) for value in values]
            joined = ''.join(values)
        # PERF: one look at all values together, not one at each, saves 1.3 microseconds a line.
        if not joined.isascii() or joined.encode().translate(None, _PLAIN):
            values = [_escape_atom(value) for value in values]
        if self._template is None:
            return self.source.format(**dict(zip(self._names, values, strict=True)))
        return self._template % tuple(values)


def _atom_name(field: str) -> str:
    name = re.split(r'[.\[]', field, maxsplit=1)[0]
    if not name or name.isdigit():
        raise IndexError(f'access_log_format: {{{field}}} names no atom; the atoms are {", ".join(ATOMS)}')
    if name not in ATOMS:
        raise KeyError(f'access_log_format: no atom {name!r}; the atoms are {", ".join(ATOMS)}')
    return name


# -- Handlers ----------------------------------------------------------------------------------------------------------


class WSGIErrorHandler(logging.Handler):
    """Writes records to the `wsgi.errors` of the request being served; drops them where there is none."""

    def emit(self, record: logging.LogRecord) -> None:
        exchange: Any = exchange_var.get()
        environ = getattr(exchange.request, 'wsgi_environ', None) if exchange is not None else None
        stream = environ.get('wsgi.errors') if environ else None
        if stream is None:
            return
        try:
            stream.write(self.format(record) + '\n')
            stream.flush()
        except Exception:
            self.handleError(record)


def _builtin_handler(logger: logging.Logger, kind: str) -> logging.Handler | None:
    for handler in logger.handlers:
        if getattr(handler, '_cpbuiltin', None) == kind:
            return handler
    return None


def _add_builtin(logger: logging.Logger, kind: str, handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    handler._cpbuiltin = kind  # type: ignore[attr-defined]
    logger.addHandler(handler)


def _remove_builtin(logger: logging.Logger, kind: str) -> None:
    handler = _builtin_handler(logger, kind)
    if handler is not None:
        logger.removeHandler(handler)
        handler.close()


def _set_file(logger: logging.Logger, path: str | os.PathLike[str] | None, formatter: logging.Formatter) -> None:
    if not path:
        _remove_builtin(logger, 'file')
        return
    path = os.path.abspath(os.fspath(path))
    if path == _file_of(logger):
        return
    # Opened before the old one is closed: if the path is no good, the old log stays.
    from .logfiles import LogFile

    handler = LogFile(path)
    _remove_builtin(logger, 'file')
    _add_builtin(logger, 'file', handler, formatter)


def _file_of(logger: logging.Logger) -> str:
    handler = _builtin_handler(logger, 'file')
    return handler.baseFilename if isinstance(handler, logging.FileHandler) else ''


def _writes_info(logger: logging.Logger) -> bool:
    return any(handler.level <= _INFO for handler in logger.handlers)


def _always(self: LogManager) -> bool:
    return True


# -- The managers ------------------------------------------------------------------------------------------------------


class LogManager:
    """The error log and the access log of one application, or with appid None of a whole site.

    Its loggers are `<logger_root>.error` and `<logger_root>.access`, with `.<appid>` behind when there is one, so
    that an application's records propagate to the site's loggers. The site's two get level INFO unless a level was
    set on them before; an application's have none of their own. Handlers come only when a property below asks.
    """

    appid: Any = None
    logger_root: str = None  # type: ignore[assignment]
    error_log: logging.Logger = None  # type: ignore[assignment]
    access_log: logging.Logger = None  # type: ignore[assignment]

    # Text for str.format over ATOMS; may be assigned at any time, on an instance or a class.
    access_log_format = '{h} {l} {u} {t} "{r}" {s} {b} "{f}" "{a}"'

    # Whose X-Request-Id is taken for the request's id: addresses and networks, 'unix' and '*', as one text or a list.
    # None is what the site's log says.
    request_id_from: Any = None

    _line_format: _LineFormat | None = None
    _json = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A subclass with an access() of its own may need no handler: it is to be called always.
        if 'access' in cls.__dict__ and 'wants_access' not in cls.__dict__:
            cls.wants_access = _always  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'request_id_from' and value:
            read_sources(value)
        super().__setattr__(name, value)
        # The same for an access() put on the instance.
        if name == 'access':
            super().__setattr__('wants_access', lambda: True)

    def __init__(self, appid: Any = None, logger_root: str = 'cpadapter') -> None:
        self.appid = appid
        self._set_loggers(logger_root)

    def _set_loggers(self, logger_root: str) -> None:
        self.logger_root = logger_root
        loggers = []
        for kind in ('error', 'access'):
            name = f'{logger_root}.{kind}'
            logger = logging.getLogger(name)
            if logger.level == logging.NOTSET:
                logger.setLevel(_INFO)
            loggers.append(logger if self.appid is None else logging.getLogger(f'{name}.{self.appid}'))
        self.error_log, self.access_log = loggers

    def rename(self, logger_root: str) -> None:
        """Write through the loggers of another root from now on; built-in handlers move along."""
        before = self.error_log, self.access_log
        self._set_loggers(logger_root)
        for old, new in zip(before, (self.error_log, self.access_log), strict=True):
            if old is new:
                continue
            for handler in [handler for handler in old.handlers if hasattr(handler, '_cpbuiltin')]:
                old.removeHandler(handler)
                _remove_builtin(new, handler._cpbuiltin)
                new.addHandler(handler)

    # -- Writing --

    def error(self, msg: str = '', context: str = '', severity: int = _INFO, traceback: bool = False) -> None:
        """Write "[time] context msg" to the error log, not only errors.

        traceback: add the exception being handled, if any. `%` means nothing in msg. Control characters are written
        as `\\x1b` and the like; tabs stay, and a line feed stays a line feed, but the next line begins with a space.
        Raises TypeError when msg or context is no str.
        """
        text = ' '.join((self.time(), context, msg))
        if not text.isprintable():
            text = re.sub(_UNSAFE_IN_MESSAGE, _escape_match, text)
        exc_info = sys.exc_info() if traceback else None
        if exc_info is not None and exc_info[0] is None:
            exc_info = None
        # The record is to name the caller's file and line, by whichever door of this file the call came in.
        depth = 2
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename == _HERE:
            frame = frame.f_back
            depth += 1
        # What the text is made of, for formatters that tell the parts apart.
        self.error_log.log(severity, text, exc_info=exc_info, stacklevel=depth, extra={'cp_parts': (msg, context)})

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Write to the error log: the same as `error`."""
        self.error(*args, **kwargs)

    def wants_access(self) -> bool:
        """Tell whether any handler would write an access line now; cheap enough to ask for every request.

        Also true when `access` was replaced, on the instance or in a subclass.
        """
        # PERF: nothing is kept between calls, since logging tells nobody when handlers change. Most often there is no
        # handler at all, which takes two attributes a logger to see.
        logger: logging.Logger | None = self.access_log
        while logger is not None:
            if logger.handlers:
                return self._reaches_handler()
            logger = logger.parent
        return False

    def _reaches_handler(self) -> bool:
        """Tell whether a record of the access log would come to a handler that writes it."""
        logger: logging.Logger | None = self.access_log
        while logger is not None:
            if logger.handlers and _writes_info(logger):
                return self.access_log.isEnabledFor(_INFO)
            if not logger.propagate:
                return False
            logger = logger.parent
        return False

    def access(self, exchange: Any = None) -> None:
        """Write the access line of an exchange, None for the current one; none where the `health` tool says so.

        What fails while the line is made (a misspelt atom, say) is written to the error log with its traceback.
        """
        logger = self.access_log
        if not logger.isEnabledFor(_INFO):
            return
        token = None
        try:
            if exchange is None:
                exchange = current()
            else:
                # Formatters and filters ask for the current one.
                token = exchange_var.set(exchange)
            if getattr(exchange, 'unlogged', False):
                return
            line = self.access_line(exchange)
            if type(logger) is logging.Logger:
                # PERF: logger.log would look up the caller's file and line, always these: 1.5 of 4 microseconds.
                logger.handle(logger.makeRecord(logger.name, _INFO, _HERE, 0, line, (), None, 'access'))
            else:
                logger.log(_INFO, line)
        except Exception:
            self.error(f'no access line from {self.access_log_format!r}', 'LOG', severity=logging.ERROR, traceback=True)
        finally:
            if token is not None:
                exchange_var.reset(token)

    def access_line(self, exchange: Any = None) -> str:
        """Give the access line of an exchange, None for the current one, by `access_log_format`.

        Raises KeyError, IndexError or ValueError when the format is no good.
        """
        source = self.access_log_format
        line_format = self._line_format
        if line_format is None or line_format.source is not source:
            line_format = self._line_format = _LineFormat(source)
        return line_format.line(self, current() if exchange is None else exchange)

    def time(self) -> str:
        """Give the local time as "[22/Nov/2026:12:32:19]", the month in English whatever the locale."""
        global _last_time
        second = int(time.time())
        last = _last_time
        if last[0] == second:
            return last[1]
        now = time.localtime(second)
        text = (
            f'[{now.tm_mday:02d}/{_MONTHS[now.tm_mon]}/{now.tm_year:04d}'
            f':{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}]'
        )
        _last_time = (second, text)
        return text

    # -- Built-in handlers --

    @property
    def json(self) -> bool:
        """Whether the built-in handlers write each record as one JSON object a line (logformats.JSONFormatter)."""
        return self._json

    @json.setter
    def json(self, wanted: object) -> None:
        self._json = bool(wanted)
        for logger in (self.error_log, self.access_log):
            for handler in logger.handlers:
                if hasattr(handler, '_cpbuiltin'):
                    handler.setFormatter(self._formatter(logger))

    def _formatter(self, logger: logging.Logger) -> logging.Formatter:
        if self._json:
            from .logformats import JSONFormatter

            return JSONFormatter()
        return logfmt if logger is self.access_log else _error_format

    @property
    def screen(self) -> bool:
        """Whether the error log goes to stderr and the access log to stdout; on if either does."""
        return any(_builtin_handler(logger, 'screen') is not None for logger in (self.error_log, self.access_log))

    @screen.setter
    def screen(self, wanted: object) -> None:
        for logger, stream in ((self.error_log, sys.stderr), (self.access_log, sys.stdout)):
            if not wanted:
                _remove_builtin(logger, 'screen')
            elif _builtin_handler(logger, 'screen') is None:
                _add_builtin(logger, 'screen', logging.StreamHandler(stream), self._formatter(logger))

    @property
    def error_file(self) -> str:
        """The absolute path of the file the error log is appended to; '' for none."""
        return _file_of(self.error_log)

    @error_file.setter
    def error_file(self, path: str | os.PathLike[str] | None) -> None:
        _set_file(self.error_log, path, self._formatter(self.error_log))

    @property
    def access_file(self) -> str:
        """The absolute path of the file the access log is appended to; '' for none."""
        return _file_of(self.access_log)

    @access_file.setter
    def access_file(self, path: str | os.PathLike[str] | None) -> None:
        _set_file(self.access_log, path, self._formatter(self.access_log))

    @property
    def wsgi(self) -> bool:
        """Whether the error log goes to the `wsgi.errors` of the request being served."""
        return _builtin_handler(self.error_log, 'wsgi') is not None

    @wsgi.setter
    def wsgi(self, wanted: object) -> None:
        if not wanted:
            _remove_builtin(self.error_log, 'wsgi')
        elif not self.wsgi:
            _add_builtin(self.error_log, 'wsgi', WSGIErrorHandler(), self._formatter(self.error_log))

    def reopen_files(self) -> None:
        """Open every file of both logs anew, also handlers that users added: after a log rotation."""
        for logger in (self.error_log, self.access_log):
            for handler in logger.handlers:
                if not isinstance(handler, logging.FileHandler) or handler.stream is None:
                    continue
                handler.acquire()
                try:
                    # 'w' becomes 'a': a file that was not moved away keeps what it holds.
                    stream: Any = open(  # noqa: SIM115
                        handler.baseFilename,
                        handler.mode.replace('w', 'a'),
                        encoding=handler.encoding,
                        errors=handler.errors,
                    )
                    handler.stream.close()
                    handler.stream = stream
                finally:
                    handler.release()


class GlobalLog(LogManager):
    """The log of a site: during a request, calling it and `access` go to the log of the application serving it.

    `error` always writes to the site's own log.
    """

    wants_access = LogManager.wants_access

    def _served(self, exchange: Any) -> LogManager | None:
        log = getattr(exchange.app, 'log', None)
        return None if log is self else log

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Write to the error log of the application being served, outside a request to the site's."""
        (self._served(current()) or self).error(*args, **kwargs)

    def access(self, exchange: Any = None) -> None:
        """Write the access line of an exchange, None for the current one, to its application's access log."""
        if exchange is None:
            exchange = current()
        log = self._served(exchange)
        if log is None:
            LogManager.access(self, exchange)
        else:
            log.access(exchange)
