"""Checker: warns of config that cannot do what its author meant, once, when the engine starts.

It looks at a site's global config and at the config of the applications in its tree, and only warns. It sets
nothing, and does not know how requests are served: the config of a path is asked for on a request of its own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Container, Iterator, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..context import current
from .plan import compile_plan

if TYPE_CHECKING:
    from .site import Site

__all__ = ['Checker']


class _Site(Protocol):
    config: Any
    tree: Any
    engine: Any
    server: Any
    log: Any
    tools: Any


_OBSOLETE: dict[str, str | None] = {
    'server.default_content_type': 'tools.response_headers.headers',
    'log_access_file': 'log.access_file',
    'log_config_options': None,
    'log_file': 'log.error_file',
    'log_file_not_found': None,
    'log_request_headers': 'tools.log_headers.on',
    'log_to_screen': 'log.screen',
    'show_tracebacks': 'request.show_tracebacks',
    'throw_errors': 'request.throw_errors',
    'profiler.on': 'cherrypy.tree.mount(profiler.make_app(cherrypy.Application(Root())))',
}

# Served by the application and its plans, whether or not they are registered anywhere.
_BUILT_IN_NAMESPACES = ('hooks', 'request', 'response', 'error_page', 'tools', 'log', 'wsgi', 'websocket')

_SITE_NAMESPACES = ('engine.', 'server.', 'tree.', 'checker.')

_TYPES = frozenset([bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset])

# What may stand for what, besides subclasses.
_ALIKE: dict[type, tuple[type, ...]] = {
    int: (int, float),
    float: (int, float),
    str: (str, os.PathLike),
    list: (list, tuple, set, frozenset),
    tuple: (list, tuple, set, frozenset),
    set: (list, tuple, set, frozenset),
    frozenset: (list, tuple, set, frozenset),
    dict: (Mapping,),
}


class Checker:
    """The checks of one site's config: each is a method `check_*`, and warns with a UserWarning.

    A check is switched off by setting its attribute to False, and added by setting `check_anything` to a
    callable without arguments; `on = False` switches all of them off.
    """

    priority = 50

    on: bool = True
    global_config_contained_paths: bool = False

    def __init__(self, site: _Site) -> None:
        self._site = site
        # Namespaces to take as known.
        self.extra_config_namespaces: list[str] = []
        # Old key -> new key, or None if nothing takes its place.
        self.obsolete: dict[str, str | None] = dict(_OBSOLETE)
        self.deprecated: dict[str, str | None] = {}
        # Key -> type, filled at the first check: the objects it is read from may be replaced until then.
        self.known_config_types: dict[str, type] = {}

    def __call__(self, skip: Container[str] = ()) -> None:
        """Run every check that is on and not in `skip`, in alphabetical order."""
        if not self.on:
            return
        previous = warnings.formatwarning
        warnings.formatwarning = self.formatwarning
        try:
            for name in sorted(dir(self)):
                if name.startswith('check_') and name not in skip:
                    check = getattr(self, name)
                    if check and callable(check):
                        check()
        finally:
            warnings.formatwarning = previous

    def formatwarning(self, message: Any, category: Any, filename: Any, lineno: Any, line: Any = None) -> str:
        """Format a warning without the place in the code, which is never the user's."""
        return f'CherryPy Checker:\n{message}\n\n'

    # ---------------------------------------------------------------- the checks

    def check_app_config_entries_dont_start_with_script_name(self) -> None:
        """Warn of sections that repeat the mount point of their application."""
        for script_name, app in self._apps():
            mount = _atoms(script_name)
            for section in self._paths(app):
                if mount and _atoms(section)[: len(mount)] == mount:
                    self._warn(
                        f'The application mounted at {script_name!r} has config entries that '
                        f'start with its script name: {section!r}'
                    )

    def check_site_config_entries_in_app_config(self) -> None:
        """Warn of entries in application config that only global config can hold."""
        for script_name, app in self._apps():
            lines = [
                f'[{section}] {key} = {value}'
                for section, entries in self._paths(app).items()
                for key, value in entries.items()
                if str(key).startswith(_SITE_NAMESPACES)
            ]
            if lines:
                self._warn(
                    f'The application mounted at {script_name!r} contains the following config entries, '
                    'which are only allowed in site-wide config. Move them to a [global] section and '
                    'pass them to cherrypy.config.update() instead of tree.mount().\n' + '\n'.join(lines)
                )

    def check_skipped_app_config(self) -> None:
        """Warn of applications without any config."""
        for script_name, app in self._apps():
            if not app.config:
                message = f'The Application mounted at {script_name!r} has an empty config.'
                if self.global_config_contained_paths:
                    message += (
                        ' It looks like the config you passed to cherrypy.config.update() contains '
                        'application-specific sections. You must explicitly pass application config '
                        'via cherrypy.tree.mount(..., config=app_config)'
                    )
                self._warn(message)

    def check_app_config_brackets(self) -> None:
        """Warn of section names that kept the brackets of a config file."""
        for script_name, app in self._apps():
            for section in app.config:
                if str(section).startswith('[') or str(section).endswith(']'):
                    self._warn(
                        f'The application mounted at {script_name!r} has config section names with extraneous '
                        f'brackets: {section!r}. Config *files* need brackets; config *dicts* '
                        '(e.g. passed to tree.mount) do not.'
                    )

    def check_static_paths(self) -> None:
        """Warn of static directories that cannot be served."""
        for _, app in self._apps():
            for section in self._paths(app):
                config = self._config_at(app, section)
                if not config.get('tools.staticdir.on', False):
                    continue
                root, directory = config.get('tools.staticdir.root'), config.get('tools.staticdir.dir')
                problem = _static_problem(root, directory)
                if problem:
                    self._warn(f'{problem}\nsection: [{section}]\nroot: {root!r}\ndir: {directory!r}')

    def check_plans(self) -> None:
        """Warn of settings that the requests for a path would fail by: they are compiled as the first one would."""
        told: set[tuple[str, str]] = set()
        for script_name, app in self._apps():
            for section in self._paths(app) or ('/',):
                problem = self._plan_problem(app, self._config_at(app, section))
                if problem and (script_name, problem) not in told:
                    # Once for what several sections inherit.
                    told.add((script_name, problem))
                    self._warn(f'{problem}\nThe application is mounted at {script_name!r}.')

    def _plan_problem(self, app: Any, config: Mapping[str, Any]) -> str | None:
        if not hasattr(app, 'report_unknown'):
            return None  # a plan is compiled for an Application, and not for what only looks like one from here

        def compile() -> None:
            exchange = current()
            exchange.site = cast('Site', self._site)
            exchange.app = app
            compile_plan(app, False, dict(config))

        try:
            Context().run(compile)
        except Exception as exc:
            return str(exc)
        return None

    def check_compatibility(self) -> None:
        """Warn of keys that have other names now."""
        for section, key, _ in self._all_entries():
            place = '' if section is None else f'\nsection: [{section}]'
            for state, names in (('obsolete', self.obsolete), ('deprecated', self.deprecated)):
                if key in names:
                    use = '' if names[key] is None else f' Use {names[key]!r} instead.'
                    self._warn(f'{key!r} is {state}.{use}{place}')

    def check_config_namespaces(self) -> None:
        """Warn of entries in path sections that no namespace and no tool will take."""
        for _, app in self._apps():
            known = {
                *_BUILT_IN_NAMESPACES,
                *app.toolboxes,
                *app.namespaces,
                *app.request_class.namespaces,
                *self._site.config.namespaces,
                *self.extra_config_namespaces,
            }
            for section, entries in self._paths(app).items():
                for key in entries:
                    namespace, dot, rest = str(key).partition('.')
                    if dot:
                        problem = self._namespace_problem(app, key, namespace, rest, known)
                        if problem:
                            self._warn(f'The config entry {key!r} {problem}\nsection: [{section}]')

    def _namespace_problem(self, app: Any, key: str, namespace: str, rest: str, known: set[str]) -> str | None:
        if namespace not in known:
            if namespace in ('cherrypy', 'cpadapter') and rest.partition('.')[0] in known:
                return f'is invalid; try {rest!r} instead.'
            return f'is invalid, because the {namespace!r} config namespace is unknown.'
        if namespace == 'tools':
            tool = rest.partition('.')[0]
            if getattr(app.toolboxes.get('tools', self._site.tools), tool, None) is None:
                return f'may be invalid, because the {tool!r} tool was not found.'
        return None

    def check_config_types(self) -> None:
        """Warn of values that are of another type than the default they replace."""
        if not self.known_config_types:
            self._find_known_types()
        for section, key, value in self._all_entries():
            expected = self.known_config_types.get(key)
            if value is not None and expected is not None and not _is_of_type(value, expected):
                self._warn(
                    f'The config entry {key!r} in section {key if section is None else section!r} is of type '
                    f'{type(value).__name__!r}, which does not match the expected type {expected.__name__!r}.'
                )

    def check_debug_pages(self) -> None:
        """Warn of debug pages that strangers can see, and of those in an environment that is not for development."""
        environment = self._site.config.get('environment')
        for section, key, value in self._all_entries():
            place = '' if section is None else f'\nsection: [{section}]'
            if key == 'request.debug_remote' and value:
                self._warn(
                    "'request.debug_remote' shows debug pages, with source lines and values, to everybody who can "
                    f'reach the server.{place}'
                )
            elif key == 'request.debug' and value and environment:
                self._warn(f"'request.debug' is on in the environment {environment!r}.{place}")

    def check_localhost(self) -> None:
        """Warn of a socket host that may be one of two addresses."""
        if self._site.config.get('server.socket_host') == 'localhost':
            self._warn(
                "The use of 'localhost' as a socket host can cause problems on newer systems, since "
                "'localhost' can map to either an IPv4 or an IPv6 address. You should use '127.0.0.1' "
                "or '[::1]' instead."
            )

    # ---------------------------------------------------------------- what they look at

    def _warn(self, message: str) -> None:
        warnings.warn(message, UserWarning, stacklevel=3)

    def _apps(self) -> list[tuple[str, Any]]:
        """Give the mount points and Applications; other callables in the tree have no config of ours."""
        return [
            (script_name, app)
            for script_name, app in list(self._site.tree.apps.items())
            if hasattr(app, 'find_config') and isinstance(getattr(app, 'config', None), dict)
        ]

    def _paths(self, app: Any) -> dict[str, Mapping[str, Any]]:
        """Give the sections of an application that belong to paths."""
        return {
            section: entries
            for section, entries in app.config.items()
            if str(section).startswith('/') and isinstance(entries, Mapping)
        }

    def _all_entries(self) -> Iterator[tuple[str | None, str, Any]]:
        """Give (section, key, value) of all config; the section of an entry of global config is None."""
        for config in (self._site.config, *(app.config for _, app in self._apps())):
            for name, value in config.items():
                if isinstance(value, Mapping):
                    for key, entry in value.items():
                        yield name, key, entry
                elif config is self._site.config:
                    yield None, name, value

    def _config_at(self, app: Any, section: str) -> Mapping[str, Any]:
        """Give the config that a request below `section` would have."""
        path = section.rstrip('/') + '/dummy.html'

        def dispatch() -> dict[str, Any]:
            exchange = current()
            exchange.site = cast('Site', self._site)
            exchange.app = app
            request = exchange.request
            request.app = app
            request.path_info = path
            if hasattr(app, 'read_sections'):
                app.read_sections()
            app.find_config(path, 'request.dispatch', app.request_class.dispatch)(path)
            return dict(request.config or {})

        try:
            return Context().run(dispatch)
        except Exception:
            # A dispatcher or a `_cp_dispatch` that needs a real request; `_cp_config` is left out then.
            config = dict(self._site.config)
            for name, entries in sorted(self._paths(app).items(), key=lambda item: len(item[0])):
                if _atoms(section)[: len(_atoms(name))] == _atoms(name):
                    config.update(entries)
            return config

    def _find_known_types(self) -> None:
        def look(namespace: str, owner: Any) -> None:
            for name in dir(owner):
                if name.startswith('_'):
                    continue
                try:
                    # What config has set on an instance already is what is to be checked.
                    value = getattr(type(owner), name, None)
                    if type(value) not in _TYPES:
                        value = getattr(owner, name)
                except Exception:
                    continue  # not a setting then: it has no value as things stand
                if type(value) in _TYPES:
                    self.known_config_types[f'{namespace}.{name}'] = type(value)

        def look_at_defaults() -> None:
            exchange = current()
            exchange.site = cast('Site', self._site)
            look('request', exchange.request)
            look('response', exchange.response)

        # An empty context has a request of its own, which nobody else will ever see.
        Context().run(look_at_defaults)
        for name in ('server', 'engine', 'log'):
            look(name, getattr(self._site, name))


def _atoms(path: str) -> list[str]:
    return [atom for atom in path.split('/') if atom]


def _is_of_type(value: Any, expected: type) -> bool:
    if isinstance(value, bool) or expected is bool:
        return isinstance(value, bool) and expected is bool
    return isinstance(value, _ALIKE.get(expected, (expected,)))


def _static_problem(root: Any, directory: Any) -> str | None:
    if directory is None:
        return 'tools.staticdir.dir is not set.'
    directory = os.path.expanduser(directory)
    problems = []
    path = directory
    if os.path.isabs(directory):
        if root:
            problem = 'dir is an absolute path, even though a root is provided.'
            meant = os.path.join(root, directory[1:])
            if os.path.exists(meant):
                problem += (
                    f'\nIf you meant to serve the filesystem folder at {meant!r}, remove the leading slash from dir.'
                )
            problems.append(problem)
    elif not root:
        return 'dir is a relative path and no root provided.'
    else:
        path = os.path.join(root, directory)
        if not os.path.isabs(path):
            problems.append(f'{path!r} is not an absolute path.')
    if not os.path.exists(path):
        problems.append(f'{path!r} (root + dir) is not an existing filesystem path.')
    return '\n'.join(problems) or None
