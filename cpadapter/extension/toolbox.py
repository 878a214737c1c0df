"""Toolboxes: named collections of tools, each a config namespace of its own.

A toolbox gathers the settings that config holds for its tools and gives each tool its name. What the tools do
is not known here. Used as a namespace handler (`with toolbox as handle: handle('gzip.on', True)`) it sets its
tools up on the current request; a compiled plan does the same once for all requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..changes import changed
from ..context import current
from .tools import Tool

__all__ = ['Toolbox']


class Toolbox:
    """A collection of tools under one config namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a tool under `name`, which is also what config and its decorator call it."""
        if isinstance(value, Tool):
            if value._name is None:
                value._name = name
            value.namespace = self.namespace
        before = getattr(self, name, None)
        object.__setattr__(self, name, value)
        if hasattr(value, '_setup') or hasattr(before, '_setup'):
            changed()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tool: ...

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        changed()

    def names(self) -> list[str]:
        """Give the names of the tools here."""
        own = vars(type(self)) | vars(self)
        return [name for name, tool in own.items() if hasattr(tool, '_setup')]

    def __enter__(self) -> Callable[[str, Any], None]:
        settings: dict[str, dict[str, Any]] = {}
        current().request.toolmaps[self.namespace] = settings

        def populate(k: str, v: Any) -> None:
            name, arg = k.split('.', 1)
            settings.setdefault(name, {})[arg] = v

        return populate

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        settings = current().request.toolmaps.get(self.namespace)
        for name, conf in (settings or {}).items():
            if conf.get('on', False):
                getattr(self, name)._setup()

    def register(self, point: str, **kwargs: Any) -> Callable[[Any], Any]:
        """Give a decorator that makes a function a tool at `point`, under `name` or its own name.

        The function itself is returned, undecorated.
        """

        def decorator(func: Any) -> Any:
            setattr(self, kwargs.get('name', func.__name__), Tool(point, func, **kwargs))
            return func

        return decorator

    def __repr__(self) -> str:
        return f'<Toolbox {self.namespace}: {", ".join(sorted(self.names()))}>'
