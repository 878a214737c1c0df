"""The lifespans of several applications as one, for whatever runs them all: a parent's lifespan, a test, a script."""

from __future__ import annotations

from typing import Any

__all__ = ['lifespan']


def lifespan(*applications: Any) -> Any:
    """Give an async context manager that starts applications in order and stops them in reverse.

    applications: trees and Applications, which start their site's engine and what is grafted there, once however many
        of a site there are; and other ASGI applications, whose own lifespans run. None means the default site.
    If one fails to start, those before it are stopped and its error is raised. It gives what they share, as the dict
    that a Starlette lifespan yields; None if that is nothing.
    """
    from ..gateways.lifespan import hold

    if not applications:
        from ..environment.defaults import tree

        applications = (tree,)
    return hold(applications)
