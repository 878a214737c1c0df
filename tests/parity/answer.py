"""Answer cases on one package, in a process of its own: `python -m tests.parity.answer MODULE FOLDER`.

Reads the ids of cases, one a line, and writes one answer a line as JSON; ends with its input. Neither package sees
the other, and what the cases leave behind in the default site ends with the process.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path


def main() -> None:
    # Whatever the package or a page prints must not come between the answers.
    answers = os.fdopen(os.dup(1), 'w', encoding='ascii')
    os.dup2(2, 1)
    module = importlib.import_module(sys.argv[1])

    from .cases import CASES
    from .runner import Side

    cases = {case.id: case for case in CASES}
    side = Side(module, Path(sys.argv[2]))
    for line in sys.stdin:
        try:
            answer = side.answer(cases[line.strip()])
        except Exception as exc:
            answer = {'status': 'cannot be built', 'headers': [], 'body': f'{type(exc).__name__}: {exc}'}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
