"""The table that the cases are written into, and the words they are written with.

Knows nothing of what any case shows.
"""

from __future__ import annotations

import re
from typing import Any

from .acts import ACTS, EXPRESSIONS, Function
from .runner import Case

__all__ = ['CASES', 'act', 'case', 'expression', 'post', 'probe', 'read', 'told']

CASES: list[Case] = []


def case(ident: str, path: str | bytes = '/', query: str = '', **more: Any) -> None:
    """Send one request."""
    CASES.append(Case(ident, path, query, **more))


def post(ident: str, path: str, body: str = '', query: str = '', **more: Any) -> None:
    """Send one request with a body."""
    case(ident, path, query, method=more.pop('method', 'POST'), body=body.encode(), **more)


def probe(ident: str, name: str) -> None:
    """Call a probe, outside of any request."""
    CASES.append(Case(ident, call=name, variant='probes'))


def expression(ident: str, function: Function) -> None:
    """Compare the repr of what `function` gives, called with the package outside of any request."""
    EXPRESSIONS[ident] = function
    CASES.append(Case(ident, call=ident, variant='expressions'))


def act(ident: str, function: Function, config: Any = None, *, rest: str = '', query: str = '', **more: Any) -> None:
    """Send a request to a page handler of its own, which gives what `function` does, called with the package.

    config: of the page handler; a dict, or a function of the package that gives one. rest: further segments.
    """
    name = re.sub(r'\W', '_', ident)
    assert name not in ACTS, ident
    ACTS[name] = (function, config or {})
    CASES.append(Case(ident, f'/{name}{rest}', query, variant='acts', **more))


def read(ident: str, function: Function, config: Any = None, **more: Any) -> None:
    """Like `act`, answered with the text of what `function` gives."""
    act(ident, lambda cp: ascii(function(cp)), config, **more)


def told(ident: str) -> None:
    """Compare what the cases before had hooks tell, after their requests ended, and what was logged."""
    CASES.append(Case(f'{ident}-told', '/told', variant='acts'))
