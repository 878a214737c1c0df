"""CommandError, which ends a command with one line, and that line made of what went wrong elsewhere.

It does not know the commands.
"""

from __future__ import annotations

import os
from typing import Any

from ..core.config import nearest

__all__ = ['CommandError', 'first_line', 'place_of', 'show']


class CommandError(Exception):
    """What ends a command: the message is one line that says what to do.

    code: the exit code. told: it stands on the terminal already.
    """

    def __init__(self, message: str, *, code: int = 1, told: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.told = told


def first_line(exc: BaseException) -> str:
    """Give what an exception says, in one line; its class where it says nothing that stands for itself."""
    # str() of a KeyError is the repr of its key; one of a config file's expressions has what it came of as well.
    text = str(exc)
    if isinstance(exc, KeyError) and exc.args and isinstance(exc.args[0], str):
        text = exc.args[0]
    elif isinstance(exc, ValueError) and len(exc.args) == 3 and isinstance(exc.args[2], tuple) and exc.args[2]:
        text = f'{exc.args[0]} ({exc.args[1]}: {exc.args[2][0]})'
    text = ' '.join(text.split())
    if isinstance(exc, AttributeError) and exc.name and exc.obj is not None:
        near = nearest(exc.name, [name for name in dir(exc.obj) if name[:1] != '_'])
        return text if near is None else f'{text}. Did you mean {near!r}?'
    if not text or (isinstance(exc, (KeyError, AttributeError, NameError)) and ' ' not in text):
        return f'{type(exc).__name__}: {text}'
    return text


def place_of(exc: BaseException) -> str:
    """Name the line of a file where an exception was raised: `app.py, line 3`."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f'{os.path.basename(exc.filename)}, line {exc.lineno}'
    tb = exc.__traceback__
    place = ''
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if not file.startswith('<'):
            place = f'{os.path.basename(file)}, line {tb.tb_lineno}'
        tb = tb.tb_next
    return place


def show(value: Any, limit: int = 80) -> str:
    """Write a value on one line, the same in each run: functions and classes by name, objects without address."""
    import re

    name = getattr(value, '__qualname__', None)
    if isinstance(name, str):
        module = getattr(value, '__module__', None)
        return name if module in (None, 'builtins') else f'{module}.{name}'
    text = re.sub(r' at 0x[0-9a-fA-F]+', '', ' '.join(repr(value).split()))
    return text if len(text) <= limit else text[: limit - 3] + '...'
