"""The config building blocks under CherryPy's module name; nothing is defined here.

What they do is in `unrepr`, `extension.namespaces` and `core.config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.config import BaseConfig as Config
from ..extension.namespaces import NamespaceSet
from ..unrepr import attributes, modules, parser_class, unrepr

if TYPE_CHECKING:
    from ..unrepr import Parser

__all__ = ['Config', 'NamespaceSet', 'Parser', 'attributes', 'modules', 'unrepr']


def __getattr__(name: str) -> Any:
    if name == 'Parser':
        return parser_class()
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
