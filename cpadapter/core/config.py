"""Config: where its entries come from, and how they are merged into a site's and an application's.

Global config is flat, application config has sections named by paths. Both count their own changes, so that
compiled plans know when they are stale. What an entry means is not known here: namespace handlers, registered
by others, are handed the entries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from ..changes import changed
from ..extension.namespaces import NamespaceSet, WatchedDict, add_config
from ..unrepr import parser_class

__all__ = [
    'AppConfig',
    'BaseConfig',
    'Config',
    'Section',
    'Source',
    'environments',
    'load',
    'nearest',
    'require_sections',
    'unknown_key_message',
]

T = TypeVar('T')


class _Readable(Protocol):
    def read(self) -> str | bytes: ...


Source = Mapping[str, Any] | str | os.PathLike[str] | _Readable
OnFile = Callable[[str], None]

environments: dict[str, dict[str, Any]] = {
    'staging': {
        'engine.autoreload.on': False,
        'checker.on': False,
        'tools.log_headers.on': False,
        'request.show_tracebacks': False,
        'request.debug': False,
        'request.debug_remote': False,
        'request.show_mismatched_params': False,
    },
    'production': {
        'engine.autoreload.on': False,
        'checker.on': False,
        'tools.log_headers.on': False,
        'request.show_tracebacks': False,
        'request.debug': False,
        'request.debug_remote': False,
        'request.show_mismatched_params': False,
        'log.screen': False,
    },
    'embedded': {
        'engine.autoreload.on': False,
        'checker.on': False,
        'tools.log_headers.on': False,
        'request.show_tracebacks': False,
        'request.debug': False,
        'request.debug_remote': False,
        'request.show_mismatched_params': False,
        'log.screen': False,
        'engine.SIGHUP': None,
        'engine.SIGTERM': None,
    },
    'test_suite': {
        'engine.autoreload.on': False,
        'checker.on': False,
        'tools.log_headers.on': False,
        'request.show_tracebacks': True,
        'request.show_mismatched_params': True,
        'request.debug': False,
        'request.debug_remote': False,
        'log.screen': False,
    },
}


def load(source: Source, on_file: OnFile | None = None) -> dict[str, Any]:
    """Give the entries of a dict, a config file's name, or an open config file, as a fresh dict.

    A dict is copied one level deep. A file is read once; whoever needs it twice keeps what this gives.
    on_file: called with the name, as given, of a file that was read by name.
    FileNotFoundError if there is no such file; ValueError, or configparser's own errors, on a bad one.
    """
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, (str, os.PathLike)) or hasattr(source, 'read'):
        config: dict[str, Any] = parser_class()().dict_from_file(source)  # type: ignore[attr-defined]
        if on_file is not None and isinstance(source, (str, os.PathLike)):
            on_file(os.fspath(source))
        return config
    raise TypeError(f'Config must be a dict, a file name or an open file, not {type(source).__name__!r}.')


def require_sections(config: Mapping[str, Any]) -> None:
    """Raise ValueError unless every entry of an application's config is a section."""
    if not all(isinstance(entries, Mapping) for entries in config.values()):
        raise ValueError(
            'Application config must include section headers, but the config you tried to merge '
            "doesn't have any sections. Wrap your config in another dict with paths as section "
            "headers, for example: {'/': config}."
        )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name most like `name`, or None if none is like it."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), 1)), None)


def unknown_key_message(key: str, value: Any, section: str | None, known: Iterable[str]) -> str:
    """Say that a config entry is unknown: key, value, section, and the nearest known name.

    section: None for global config.
    known: whole keys, or names of namespaces, tools or settings; the parts of `key` are compared with them too.
    """
    known = list(known)
    near = nearest(key, known)
    for part in key.split('.'):
        if near is None and part not in known:
            near = nearest(part, known)
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + '...'
    place = 'in global config' if section is None else f'in section [{section}]'
    hint = '' if near is None else f' Did you mean {near!r}?'
    return f'The config entry {key!r} = {text} {place} is unknown.{hint}'


class BaseConfig(WatchedDict[str, Any]):
    """Flat config whose entries go to namespace handlers as soon as they are set.

    Only `update()` and item assignment hand entries out; every change is counted. Reading is reading a dict.
    A subclass or an instance may have its own `defaults`, `environments` and `namespaces`; each instance starts
    with a copy of its class's namespaces.
    """

    defaults: dict[str, Any] = {}
    environments: dict[str, dict[str, Any]] = {}
    namespaces: NamespaceSet = NamespaceSet()

    def __init__(self, file: Source | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.namespaces = type(self).namespaces.copy()
        self.on_file: OnFile | None = None
        self.reset()
        if file is not None:
            self.update(file)
        if kwargs:
            self.update(kwargs)

    def reset(self) -> None:
        """Go back to the defaults, and put back what namespace handlers have set, where they know how."""
        self.namespaces.restore()
        dict.clear(self)
        dict.update(self, self.defaults)
        changed()

    def update(self, config: Source) -> None:  # type: ignore[override]
        """Set the entries of a dict, a file's name or an open file, and hand exactly these to the namespaces.

        `environment` names a set of entries to add where `config` does not have the key; KeyError, and nothing
        is set, if there is no such environment. The entries stay set if a namespace handler raises.
        """
        self._apply(load(config, self.on_file))

    def _apply(self, entries: dict[str, Any]) -> None:
        which = entries.get('environment')
        if which:
            if which not in self.environments:
                near = nearest(str(which), self.environments)
                hint = '' if near is None else f' Did you mean {near!r}?'
                raise KeyError(f'There is no config environment {which!r}.{hint}')
            entries = {**self.environments[which], **entries}
        self.store(entries)
        self.namespaces(entries)

    def __setitem__(self, key: str, value: Any) -> None:
        self.store({key: value})
        self.namespaces({key: value})


class Config(BaseConfig):
    """A site's global config. Called with keyword arguments it is a decorator that adds to `_cp_config`.

    Of a source with a 'global' section only that section is taken; the 'checker' namespace hears of others.
    """

    defaults: dict[str, Any] = {
        'tools.log_tracebacks.on': True,
        'tools.log_headers.on': True,
        'tools.trailing_slash.on': True,
        'tools.encode.on': True,
    }
    environments = environments
    namespaces: NamespaceSet = NamespaceSet()

    def _apply(self, entries: dict[str, Any]) -> None:
        own = entries.get('global')
        if isinstance(own, Mapping):
            if len(entries) > 1:
                self.namespaces({'checker.global_config_contained_paths': True})
            entries = dict(own)
        if 'tools.staticdir.dir' in entries:
            entries['tools.staticdir.section'] = 'global'
        super()._apply(entries)

    def __call__(self, /, **kwargs: Any) -> Callable[[T], T]:
        """Give a decorator that adds entries to the `_cp_config` of a page handler or class."""

        def decorator(target: T) -> T:
            add_config(target, kwargs)
            return target

        return decorator


class Section(WatchedDict[str, Any]):
    """The entries of one section of an application's config; `path` is the section's name."""

    __slots__ = ('path',)

    def __init__(self, entries: Mapping[str, Any] | None = None, path: str = '') -> None:
        super().__init__(entries or {})
        self.path = path


class AppConfig(WatchedDict[str, Any]):
    """An application's config: sections by name, each a Section; a dict set as a section is copied.

    A section whose name starts with '/' holds the config of that path, relative to the mount, taken literally:
    no trailing slash, nothing translated or decoded. Other sections are the application's to use.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.on_file: OnFile | None = None
        self._merged: dict[str, Any] = {}
        if config:
            self.store(config)

    def store(self, entries: Mapping[str, Any]) -> None:
        super().store(
            {name: Section(value, name) if isinstance(value, Mapping) else value for name, value in entries.items()}
        )

    def merge(self, config: Source) -> dict[str, Any]:
        """Update sections from a dict, a file's name or an open file.

        Gives the entries of '/' that are new or different since the last merge, for the application's namespaces.
        ValueError, and nothing is set, if an entry is not a section.
        """
        fresh = load(config, self.on_file)
        require_sections(fresh)
        for name, entries in fresh.items():
            section = self.get(name)
            if isinstance(section, Section):
                section.update(entries)
            else:
                self[name] = entries
        before, self._merged = self._merged, dict(self.get('/') or {})
        return {
            key: value for key, value in self._merged.items() if key not in before or not _is_equal(before[key], value)
        }

    def find(self, path: str, key: str, default: Any = None) -> Any:
        """Give the value of `key` in the section nearest to `path`: its own, its parents', that of '/'.

        path: relative to the mount; '' means '/'.
        """
        path = path or '/'
        while True:
            section = self.get(path)
            if section is not None and key in section:
                return section[key]
            if path == '/':
                return default
            slash = path.rfind('/')
            if slash < 0:
                return default
            path = path[:slash] or '/'


def _is_equal(old: Any, new: Any) -> bool:
    try:
        return type(old) is type(new) and (old is new or bool(old == new))
    except Exception:  # a value that cannot be compared counts as new; its namespace handler runs once more
        return False
