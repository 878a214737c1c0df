"""The handler of the built-in log files, which follows a file that is moved away. Loaded with the first such file.

It knows paths and records, not what is logged.
"""

from __future__ import annotations

import logging
from logging.handlers import WatchedFileHandler

__all__ = ['LogFile']


class LogFile(WatchedFileHandler):
    """Appends records to a file in UTF-8, and opens it anew where another program has moved or deleted it.

    A file that cannot be opened then is told on stderr, by `logging`, and costs the record; never the request.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, mode='a', encoding='utf-8', errors='backslashreplace')

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except Exception:
            self.handleError(record)
