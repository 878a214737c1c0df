"""Answer cases on one package, in a process of its own: `python -m tests.parity.answer MODULE FOLDER PROTOCOL`.

Writes as JSON the settings that the package's tools take. Then reads the ids of cases, one a line, and writes for each
its answer and the settings of tools that its requests had; ends with its input. Neither package sees the other, and
what the cases leave behind in the default site ends with the process.
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
                known = parameters(getattr(self.module.tools, name, None))
                self.noted.update(
                    f'{name}.{key}'
                    for key, value in settings.items()
                    if key not in known or not same(known[key].default, value)
                )

    def take(self) -> list[str]:
        taken, self.noted = self.noted, set()
        return sorted(taken)


def parameters(tool: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(tool.callable).parameters) if hasattr(tool, 'callable') else {}


def taken_settings(module: Any) -> list[str]:
    """Give the settings that the package's tools take; 'name.*' for a tool that takes any."""
    known = {name: parameters(tool) for name, tool in vars(module.tools).items()}
    any_kind = inspect.Parameter.VAR_KEYWORD
    return [f'{name}.{"*" if p.kind is any_kind else key}' for name, taken in known.items() for key, p in taken.items()]


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
    print(json.dumps(taken_settings(module)), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = side.answer(cases[line.strip()])
        except Exception as exc:
            answer = {'status': 'cannot be built', 'headers': [], 'body': f'{type(exc).__name__}: {exc}'}
        print(json.dumps([answer, settings.take()]), file=answers, flush=True)


if __name__ == '__main__':
    main()
