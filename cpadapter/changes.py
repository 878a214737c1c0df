"""One counter of everything compiled plans depend on, and nothing else.

Config, sections, namespaces, toolboxes, shared hook maps and bus subscriptions call `changed()` when they
change; an Application compares `changes.count` with the count its plans were compiled at, which is one
integer comparison per request, and compiles anew when it differs. It does not know who changed or why:
changes are rare, so one count serves every site in the process.
"""

from __future__ import annotations

__all__ = ['changed', 'changes']


class _Changes:
    __slots__ = ('count',)

    def __init__(self) -> None:
        self.count = 0


changes = _Changes()


def changed() -> None:
    """Make every compiled plan stale."""
    changes.count += 1
