"""Small functions the built-in tools share; importing it imports none of them."""

from __future__ import annotations

from typing import Any

from ..protocol.iterators import file_generator, file_generator_limited, is_closable_iterator, is_iterator

__all__ = ['file_generator', 'file_generator_limited', 'is_closable_iterator', 'is_iterator', 'set_vary_header']


def set_vary_header(response: Any, header_name: str) -> None:
    """Add a name to the response's Vary field, unless it or '*' is there already."""
    present = response.headers.get('Vary', '')
    names = [name.strip() for name in present.split(',') if name.strip()]
    if '*' not in names and header_name.lower() not in [name.lower() for name in names]:
        names.append(header_name)
        response.headers['Vary'] = ', '.join(names)


def __getattr__(name: str) -> Any:
    """Import a module of this package when it is first named, as `lib.sessions`."""
    from importlib import import_module
    from importlib.util import find_spec

    if not name.startswith('_') and find_spec(f'{__name__}.{name}') is not None:
        return import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
