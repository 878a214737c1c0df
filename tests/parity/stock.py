"""Answer cases on CherryPy, in a process of its own: `python -m tests.parity.stock FOLDER`.

Reads the ids of cases, one a line, and writes one answer a line as JSON; ends with its input. Never imports cpadapter.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    # Whatever CherryPy or a page prints must not come between the answers.
    answers = os.fdopen(os.dup(1), 'w', encoding='ascii')
    os.dup2(2, 1)
    import cherrypy

    from .cases import CASES
    from .runner import Side

    cases = {case.id: case for case in CASES}
    side = Side(cherrypy, Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = side.answer(cases[line.strip()])
        except Exception as exc:
            answer = {'status': 'cannot be built', 'headers': [], 'body': f'{type(exc).__name__}: {exc}'}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
