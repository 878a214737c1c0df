"""Where the config of a request comes from: which file and line, which class, which environment.

Files are read as lines of text here, never evaluated: what a key means does not matter, only where it stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.application import Application
    from ..core.site import Site

__all__ = ['Origins']

SECTION = re.compile(r'^\[(?P<name>[^\]]*)\]')
ENTRY = re.compile(r'^(?P<key>[^\s#;:=\[][^:=]*?)\s*[:=]')


class Origins:
    """Answers where entries of config come from.

    files: config files in the order they were read; those that applications were mounted with are known anyway.
    given: keys set on the command line. environment: the one named there, which goes over files.
    """

    def __init__(
        self, site: Site, files: Iterable[str] = (), given: Iterable[str] = (), environment: str | None = None
    ) -> None:
        self.site = site
        self.given = set(given)
        self.environment = environment
        noted = getattr(getattr(site.engine, 'autoreload', None), 'files', ())
        read = [*files]
        read = [*sorted(name for name in noted if name not in read and not name.endswith('.py')), *read]
        # (section, key) -> 'file, line n'; of several, the last one read.
        self._lines: dict[tuple[str, str], str] = {}
        for name in read:
            self._scan(name)

    def _scan(self, name: str) -> None:
        try:
            with open(name, encoding='utf-8-sig', errors='replace') as file:
                lines = file.read().splitlines()
        except OSError:
            return  # gone since it was read: its entries are told without a line
        section = 'global'
        for number, line in enumerate(lines, 1):
            match = SECTION.match(line)
            if match:
                section = match['name']
                continue
            match = ENTRY.match(line)
            if match:
                self._lines[section, match['key'].strip()] = f'{os.path.basename(name)}, line {number}'

    def of_global(self, key: str) -> str:
        """Say where an entry of global config comes from."""
        site = self.site
        value = site.config.get(key)
        line = self._lines.get(('global', key))
        if key in self.given or (key == 'environment' and self.environment):
            return 'command line'
        environment = site.config.get('environment')
        settings = site.config.environments.get(environment, {}) if isinstance(environment, str) else {}
        named = f'environment {environment!r}' if key in settings and settings[key] == value else None
        if named and (self.environment or line is None):
            return named
        if line is not None:
            return f'[global] ({line})'
        if key in site.config.defaults and site.config.defaults[key] == value:
            return 'default'
        return 'global config, set in code'

    def of_conf(self, app: Application, conf: Mapping[str, Any], key: str, bearers: Mapping[int, str]) -> str:
        """Say where an entry of one of the dicts on a path comes from; bearers: names by id of a `_cp_config`."""
        for section, entries in app.config.items():
            if entries is conf:
                line = self._lines.get((section, key))
                return f'[{section}]' + (f' ({line})' if line else ' in code')
        return bearers.get(id(conf), 'a _cp_config')

    def of_request(self, app: Application, path: str, confs: Iterable[tuple[int, Any]], handler: Any) -> dict[str, str]:
        """Give {key: origin} for the config that a request for `path` has; confs: the dicts a dispatcher met there."""
        bearers = _bearers(app.root, path, handler)
        origins = {key: self.of_global(key) for key in self.site.config if key[:1] != '/'}
        for _, conf in confs:
            for key in conf:
                origins[key] = self.of_conf(app, conf, key, bearers)
        return origins


def _bearers(root: Any, path: str, handler: Any) -> dict[int, str]:
    """Name who bears each `_cp_config` on a path: the class or function whose attribute it is."""
    nodes = [root]
    for name in [name for name in path.split('/') if name]:
        node = getattr(nodes[-1], name.replace('.', '_').replace('-', '_'), None)
        if node is None:
            break
        nodes.append(node)
    for node in list(nodes):
        nodes.extend(child for child in (getattr(node, 'index', None), getattr(node, 'default', None)) if child)
    nodes.append(handler)
    found: dict[int, str] = {}
    for node in nodes:
        conf = getattr(node, '_cp_config', None)
        if conf is not None and id(conf) not in found:
            found[id(conf)] = f'_cp_config of {_bearer_name(node)}'
    return found


def _bearer_name(node: Any) -> str:
    if hasattr(node, '__qualname__'):
        return str(node.__qualname__)
    if '_cp_config' in getattr(node, '__dict__', ()):
        return f'an instance of {type(node).__qualname__}'
    owner = next((cls for cls in type(node).__mro__ if '_cp_config' in cls.__dict__), type(node))
    return owner.__qualname__
