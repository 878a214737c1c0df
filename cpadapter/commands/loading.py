"""What a command line names, loaded: folders, modules, applications, config files.

Whatever fails is a CommandError that says in one line what to do. What is done with what was loaded is not known here.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..core.application import Application
from ..core.config import load
from ..core.tree import Tree
from .failure import CommandError, first_line, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..core.site import Site

__all__ = ['add_paths', 'default_site', 'load_config', 'load_module', 'load_target', 'set_address', 'set_environment']

# Modules of a package, and attributes of a module, where the application is looked for, in this order.
MODULES = ('app', 'application', 'wsgi', 'asgi')
ATTRIBUTES = ('application', 'app')


def default_site() -> Site:
    """Give the site of the package's module-level names."""
    from ..environment.defaults import site

    return site


def add_paths(paths: Iterable[str]) -> None:
    """Put folders before all others that modules are looked for in: the last given comes first."""
    for path in paths:
        sys.path.insert(0, path)


def load_module(name: str) -> Any:
    """Import a module by its dotted name."""
    try:
        return import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + '.')):
            raise CommandError(
                f'There is no module {name!r} here ({os.getcwd()}) or on the path: '
                'check the name, or give its folder with -P.'
            ) from exc
        raise CommandError(f'{name} cannot be imported: {_why(exc)}. Install what is missing.') from exc
    except Exception as exc:
        raise CommandError(f'{name} cannot be imported: {_why(exc)}.') from exc


def _why(exc: BaseException) -> str:
    text = first_line(exc).rstrip('.')
    name = type(exc).__name__
    place = place_of(exc)
    return (text if text.startswith(name) else f'{name}: {text}') + (f' ({place})' if place else '')


def load_target(text: str) -> Site:
    """Import `module`, `module:attribute`, or the path of a package or file, and give the site to serve.

    A package without an application of its own is asked for that of its module `app`, `application`, `wsgi` or `asgi`.
    The attribute may be a tree, an Application, a WSGI or ASGI callable, or the root of an object tree; by default
    `application` or `app`, if there is one, else whatever the module mounts on the default site.
    """
    name, colon, attribute = text.partition(':')
    if os.sep in name or name.endswith('.py') or name in ('.', '..'):
        name = _module_at(name)
    module = load_module(name)
    if colon:
        found: Any = module
        for part in attribute.split('.'):
            found = getattr(found, part, None)
        if found is None:
            raise CommandError(f'The module {name!r} has no attribute {attribute!r}: check the name after the colon.')
        return _mounted(found, text)
    site = default_site()
    if hasattr(module, '__path__') and not _has_application(module) and not site.tree.apps:
        for inner in MODULES:
            if find_spec(f'{name}.{inner}') is not None:
                module = load_module(f'{name}.{inner}')
                break
    for attribute in ATTRIBUTES:
        found = getattr(module, attribute, None)
        if callable(found) and not isinstance(found, type):
            return _mounted(found, text)
    return site


def _has_application(module: Any) -> bool:
    return any(callable(getattr(module, attribute, None)) for attribute in ATTRIBUTES)


def _module_at(path: str) -> str:
    """Give the dotted name of the package or module at `path`, whose topmost folder is put on the path."""
    full = os.path.abspath(path)
    if not os.path.exists(full):
        raise CommandError(f'There is no file or folder {path!r}: give a path, or module:application.')
    if os.path.isdir(full) and not os.path.exists(os.path.join(full, '__init__.py')):
        raise CommandError(f'The folder {path!r} is no package: it has no __init__.py. Name a file in it.')
    folder, name = os.path.split(full.removesuffix('.py'))
    names = [name]
    while os.path.exists(os.path.join(folder, '__init__.py')):
        folder, name = os.path.split(folder)
        names.insert(0, name)
    sys.path.insert(0, folder)
    return '.'.join(names)


def _mounted(found: Any, text: str) -> Site:
    """Give the site that serves what was named, mounted on it if it was not."""
    if isinstance(found, (Tree, Application)):
        site = found.site
        if isinstance(found, Application) and found not in site.tree.apps.values():
            if found.script_name is None:
                site.tree.graft(found)
            else:
                site.tree.mount(found, found.script_name)
        return site
    site = default_site()
    if any(found is app for app in site.tree.apps.values()):
        return site
    if isinstance(found, type):
        found = found()
    if getattr(found, 'exposed', False) or any(
        getattr(getattr(type(found), name, None), 'exposed', False) for name in dir(type(found))
    ):
        site.tree.mount(found)
    elif callable(found):
        site.tree.graft(found)
    else:
        raise CommandError(
            f'{text} is nothing to serve: name a tree, an Application, a WSGI or ASGI callable, or an object with '
            'exposed page handlers.'
        )
    return site


def load_config(site: Site, files: Iterable[str], note: Callable[[CommandError], Any] | None = None) -> None:
    """Update the site's config from files, in order; where one application is mounted, it gets the sections.

    note: called with what is wrong with a file, and the rest is read; by default it is raised.
    """
    for file in files:
        try:
            entries = _read(file, site)
        except CommandError as error:
            if note is None:
                raise
            note(error)
            continue
        apps = list(site.tree.apps.values())
        takers = [site.config.update]
        if len(apps) == 1 and isinstance(apps[0], Application):
            takers.append(apps[0].merge)
        for take in takers:
            try:
                take(entries)
            except Exception as exc:
                problem = CommandError(f'Config file {file}: {first_line(exc)}')
                if note is None:
                    raise problem from exc
                note(problem)
                own = entries.get('global')
                if isinstance(exc, KeyError) and isinstance(own, dict) and own.pop('environment', None):
                    # Nothing was set, for the sake of this one entry.
                    _set_entries(site, own, file, note)


def _set_entries(site: Site, entries: dict[str, Any], file: str, note: Callable[[CommandError], Any]) -> None:
    """Set entries of global config; what is wrong with them goes to `note`."""
    try:
        site.config.update({'global': entries})
    except Exception as exc:
        note(CommandError(f'Config file {file}: {first_line(exc)}'))


def _read(file: str, site: Site) -> dict[str, Any]:
    try:
        return load(file, site.config.on_file)
    except FileNotFoundError as exc:
        if exc.filename is None or os.fspath(exc.filename) == file:
            raise CommandError(f'There is no config file {file!r} (looked in {os.getcwd()}).') from exc
        raise CommandError(f'Config file {file}: {first_line(exc)}') from exc
    except OSError as exc:
        if exc.filename == file:
            raise CommandError(f'The config file {file!r} cannot be read: {exc.strerror}.') from exc
        raise CommandError(f'Config file {file}: {first_line(exc)}') from exc
    except Exception as exc:
        raise CommandError(f'Config file {file}: {first_line(exc)}') from exc


def set_environment(site: Site, name: str) -> None:
    """Set one of the named sets of settings, which goes over what files say."""
    try:
        site.config.update({'environment': name})
    except KeyError as exc:
        known = ', '.join(site.config.environments)
        raise CommandError(f'{first_line(exc)} Known: {known}.') from exc


def set_address(site: Site, address: str) -> None:
    """Set where to listen: `host:port`, `:port`, `host`, `[::1]:port` or `unix:PATH`."""
    if address.startswith('unix:'):
        site.config.update({'server.socket_file': address[5:]})
        return
    host, colon, port = address.rpartition(':')
    if not colon or address.endswith(']'):
        host, port = address, ''
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise CommandError(f'--bind {address}: the port is a number up to 65535, as in 127.0.0.1:8080.', code=2)
    entries: dict[str, Any] = {'server.socket_file': None}
    if host:
        entries['server.socket_host'] = host.strip('[]')
    if port:
        entries['server.socket_port'] = int(port)
    site.config.update(entries)
