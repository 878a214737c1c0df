"""Answer cases on one package, in a process of its own: `python -m tests.parity.answer MODULE FOLDER PROTOCOL`.

Reads the ids of cases, one a line, and writes one answer a line as JSON, with the settings of tools that were in effect
meanwhile; ends with its input. Neither package sees the other, and what the cases leave behind in the default site ends
with the process.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any


class Settings:
    """Notes which settings of tools the requests of a case had, other than by default: 'gzip.mime_types'."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.noted: set[str] = set()
        module.engine.subscribe('after_request', self.note)

    def note(self) -> None:
        for name, settings in self.module.request.toolmaps.get('tools', {}).items():
            if settings.get('on'):
                tool = getattr(self.module.tools, name, None)
                known = inspect.signature(tool.callable).parameters if hasattr(tool, 'callable') else {}
                self.noted.update(
                    f'{name}.{key}'
                    for key, value in settings.items()
                    if key not in known or not same(known[key].default, value)
                )

    def take(self) -> list[str]:
        taken, self.noted = self.noted, set()
        return sorted(taken)


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def main() -> None:
    # Whatever the package or a page prints must not come between the answers.
    answers = os.fdopen(os.dup(1), 'w', encoding='ascii')
    os.dup2(2, 1)
    module = importlib.import_module(sys.argv[1])

    from .cases import CASES
    from .runner import Side
    from .transport import speak_asgi

    if sys.argv[3] == 'asgi':
        speak_asgi()

    cases = {case.id: case for case in CASES}
    side = Side(module, Path(sys.argv[2]))
    settings = Settings(module)
    for line in sys.stdin:
        try:
            answer = side.answer(cases[line.strip()])
        except Exception as exc:
            answer = {'status': 'cannot be built', 'headers': [], 'body': f'{type(exc).__name__}: {exc}'}
        print(json.dumps([answer, settings.take()]), file=answers, flush=True)


if __name__ == '__main__':
    main()
