"""Config namespaces: which handler gets the config entries of which prefix.

NamespaceSet hands entries out, AttributeNamespace is a handler that sets the attributes of any object. Where
config comes from, how it is merged, and what the entries of a request do is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..changes import changed
from .hooks import refuse_awaitable

__all__ = [
    'AttributeNamespace',
    'NamespaceSet',
    'WatchedDict',
    'add_config',
]

K = TypeVar('K')
V = TypeVar('V')

_MISSING: Any = object()
_SCALARS = frozenset([bool, int, float, complex, str, bytes, type(None)])
_CONTAINERS = (dict, list, set, bytearray)


def _is_unchanged(old: Any, new: Any) -> bool:
    """Say whether nobody can tell `new` in place of `old`.

    A list, dict or set always counts as changed: assigned again, it may have been changed in place before.
    """
    if type(old) is not type(new):
        return False
    if type(old) in _SCALARS:
        return bool(old == new)
    if type(old) is tuple:
        return len(old) == len(new) and all(map(_is_unchanged, old, new))
    return old is new and not isinstance(old, _CONTAINERS)


class WatchedDict(dict[K, V]):
    """A dict that calls `changed()` whenever its content changes; reading it is reading a plain dict.

    Assigning the equal value again, of the same type, changes nothing, unless it is a list, dict or set.
    `copy()` gives a plain dict.
    """

    __slots__ = ()

    def store(self, entries: Mapping[K, V]) -> None:
        """Set several entries, then call `changed()` once if any differs from before."""
        before = [self.get(key, _MISSING) for key in entries]
        dict.update(self, entries)
        # After the fact: a plan compiled in between is stale too, rather than fresh with the old values.
        if not all(map(_is_unchanged, before, entries.values())):
            changed()

    def __setitem__(self, key: K, value: V) -> None:
        self.store({key: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.store(dict(*args, **kwargs))

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # dict itself overloads this
        self.store(dict(other))
        return self

    def setdefault(self, key: K, default: Any = None, /) -> Any:
        if key not in self:
            self.store({key: default})
        return self[key]

    def __delitem__(self, key: K) -> None:
        super().__delitem__(key)
        changed()

    def pop(self, key: K, /, *default: Any) -> Any:
        if key not in self:
            return super().pop(key, *default)
        value = super().pop(key)
        changed()
        return value

    def popitem(self) -> tuple[K, V]:
        item = super().popitem()
        changed()
        return item

    def clear(self) -> None:
        super().clear()
        changed()


class NamespaceSet(WatchedDict[str, Any]):
    """Config namespaces and their handlers: for an entry `namespace.rest`, `handler(rest, value)` is called.

    A handler that is a context manager is entered first, entries or none, and `__enter__` gives what is called;
    a true result of its `__exit__` swallows an exception. Handlers run in the order they were registered.
    """

    __slots__ = ()

    def __call__(self, config: Mapping[str, Any]) -> None:
        """Hand out the entries of `config`; keys without a dot are plain data."""
        entries: dict[str, list[tuple[str, Any]]] = {}
        for key, value in config.items():
            if isinstance(key, str) and '.' in key:
                namespace, rest = key.split('.', 1)
                entries.setdefault(namespace, []).append((rest, value))
        for namespace, handler in list(self.items()):
            if hasattr(type(handler), '__exit__'):
                with handler as handle:
                    for rest, value in entries.get(namespace, ()):
                        refuse_awaitable(handle(rest, value), 'The handler of the config namespace %r', namespace)
            else:
                for rest, value in entries.get(namespace, ()):
                    refuse_awaitable(handler(rest, value), 'The handler of the config namespace %r', namespace)

    def restore(self) -> None:
        """Undo what the entries handed out so far have done, as far as the handlers have a `restore()` for it."""
        for handler in reversed(list(self.values())):
            restore = getattr(handler, 'restore', None)
            if callable(restore):
                restore()

    def copy(self) -> NamespaceSet:
        """Give another set with the same handlers."""
        return type(self)(self)

    __copy__ = copy

    def __repr__(self) -> str:
        cls = type(self)
        return f'{cls.__module__}.{cls.__name__}({dict.__repr__(self)})'


class AttributeNamespace:
    """A handler that sets attributes of one object, whatever their names, and can put the old values back.

    owner: gives the object at the time of each entry, for a site's server or log may be replaced.
    """

    def __init__(self, owner: Callable[[], Any]) -> None:
        self.owner = owner
        # (id of the owner, name) -> owner, whether the owner itself held the name, value before, value since
        self._before: dict[tuple[int, str], tuple[Any, bool, Any, Any]] = {}

    def __call__(self, name: str, value: Any) -> None:
        self.set(self.owner(), name, value)

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of any object, so that `restore()` undoes it."""
        key = (id(owner), name)
        entry = self._before.get(key)
        if entry is not None and self._holds(owner, name, entry[3]):
            _, held, before, _ = entry
        else:
            held, before = name in getattr(owner, '__dict__', ()), getattr(owner, name, _MISSING)
        setattr(owner, name, value)
        # Read back: a property may have made something else of the value.
        self._before[key] = (owner, held, before, getattr(owner, name, _MISSING))

    def restore(self) -> None:
        """Put back every attribute that still has the value set last; one that code has set since stays."""
        entries = list(self._before.items())
        self._before.clear()
        for (_, name), (owner, held, before, since) in reversed(entries):
            if not self._holds(owner, name, since):
                continue
            if before is _MISSING or (not held and name in getattr(owner, '__dict__', ())):
                if hasattr(owner, name):
                    delattr(owner, name)
            else:
                setattr(owner, name, before)

    @staticmethod
    def _holds(owner: Any, name: str, value: Any) -> bool:
        now = getattr(owner, name, _MISSING)
        return now is value or bool(type(now) is type(value) and now == value)


def add_config(target: Any, settings: Mapping[str, Any]) -> Any:
    """Add entries to the `_cp_config` of a function, class or instance, and give the target back.

    An inherited `_cp_config` is copied, never changed: what decorates a subclass does not reach its base.
    """
    carrier: Any = target.__func__ if isinstance(target, (staticmethod, classmethod)) else target
    carrier._cp_config = {**(getattr(carrier, '_cp_config', None) or {}), **settings}
    changed()
    return target
