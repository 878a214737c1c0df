"""The layout of the package: who may import whom, what importing it does, and what every module has.

The sources are read with `ast`; nothing here knows what the modules do.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import cpadapter

PACKAGE = Path(cpadapter.__file__).parent

# Modules from the top of the package to its bottom: each imports only what stands below it. `folder/*` is every
# module of a folder that is not listed by name; those of one such line may import each other, but not in a circle.
# A folder's own name is its __init__. A new file outside of a `/*` folder is given its place here.
LAYOUT = """
__main__
daemon
compat
testing/*
testing
commands/check
commands/tree
commands/settings
commands/pages
commands/origins
commands/serving
commands/loading
commands/demo
commands/failure
commands
mounts/*
mounts
application/lifespans
application/startup
application/urls
application/handlers
application
environment/defaults
environment/proxies
environment
lib/*
lib/httputil
lib/reprconf
lib
server_adapters
server_adapters/*
server_adapters/settings
process
process/plugins
process/servers
process/systemd
process/wspbus
core/site
core/tree
core/application
core/wsgiapp
core/checker
core/plan
core/pipeline
core/websocket
core/debug_page
core/background
core/config
core/request
core/response
core/body
core/forms
core/reader
core/log
core/logfiles
core/logformats
core/engine
core/server
core
gateways/callable
gateways/plain
gateways/handover
gateways/children
gateways/wsgi
gateways/asgi
gateways/asgi_websocket
gateways/asgi_stream
gateways/asgi_head
gateways/asgi_reader
gateways/asgi_steps
gateways/asgi_child
gateways/wsgi_child
gateways/lifespan
gateways/lasting
gateways/bridge
gateways
extension/toolbox
extension/tools
extension/dispatch
extension/namespaces
extension/hooks
extension
errors
context
changes
protocol/messages
protocol/multipart
protocol/cookies
protocol/codings
protocol/headers
protocol/status
protocol/params
protocol/files
protocol/iterators
protocol/ranges
protocol/dates
protocol/uri
protocol
unrepr
typing
"""
ORDER = LAYOUT.split()

# May import the package root: compat.install() when it is called, and what users' tests are made with.
SEES_ROOT = ('testing/',)
SEES_ROOT_WHEN_CALLED = ('compat', '__main__')

# What `import cpadapter` must not load: servers, event loops, and what is slow to import and seldom needed.
SLOW = """
asyncio concurrent.futures selectors socket ssl socketserver http.server http.client http.cookies wsgiref email
html.parser xml tempfile uuid inspect dataclasses difflib configparser subprocess multiprocessing importlib.metadata
asgiref werkzeug multipart uvicorn gunicorn hypercorn waitress granian cheroot cherrypy routes msgspec django flask
starlette redis pymemcache brotli backports compression zlib hashlib mimetypes
"""
HEAVY = SLOW.split()


class Import(NamedTuple):
    """An import of one module by another; `names` are what it takes from there."""

    importer: str
    imported: str
    names: tuple[str, ...]
    line: int
    in_function: bool


def sources() -> dict[str, ast.Module]:
    """Give the syntax trees of all modules by their place, such as 'core/plan', or 'core' for its __init__."""
    trees = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        place = path.relative_to(PACKAGE).with_suffix('').as_posix()
        if place == '__init__':
            place = ''
        trees[place.removesuffix('/__init__')] = ast.parse(path.read_text(encoding='utf-8'), str(path))
    return trees


SOURCES = sources()
FOLDERS = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob('__init__.py')} - {'.'}


def is_for_types(node: ast.AST) -> bool:
    """Say whether a statement is `if TYPE_CHECKING:`, whose imports never run."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == 'TYPE_CHECKING'


def imports_of(place: str) -> Iterator[Import]:
    """Give what a module imports from the package, at its top and inside functions, but for types."""

    def resolve(node: ast.ImportFrom) -> str | None:
        if node.level == 0:
            module = node.module or ''
            if module.split('.')[0] != 'cpadapter':
                return None
            return '/'.join(module.split('.')[1:])
        parts = place.split('/') if place else []
        if place not in FOLDERS and place:
            parts = parts[:-1]
        parts = parts[: len(parts) - (node.level - 1)]
        return '/'.join([*parts, *(node.module.split('.') if node.module else [])])

    def walk(nodes: list[ast.stmt], in_function: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split('.')[0] == 'cpadapter':
                        yield Import(place, '/'.join(alias.name.split('.')[1:]), (), node.lineno, in_function)
            elif isinstance(node, ast.ImportFrom):
                module = resolve(node)
                if module is not None:
                    modules = [a.name for a in node.names if f'{module}/{a.name}'.lstrip('/') in SOURCES]
                    for name in modules:
                        yield Import(place, f'{module}/{name}'.lstrip('/'), (), node.lineno, in_function)
                    names = tuple(alias.name for alias in node.names if alias.name not in modules)
                    if names:
                        yield Import(place, module, names, node.lineno, in_function)
            elif not is_for_types(node):
                inside = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                for field in ('body', 'orelse', 'finalbody'):
                    yield from walk(getattr(node, field, []), inside)
                for handler in getattr(node, 'handlers', []):
                    yield from walk(handler.body, inside)

    yield from walk(SOURCES[place].body, False)


IMPORTS = [found for place in SOURCES for found in imports_of(place)]


def rank(place: str) -> int | None:
    """Give a module's line in ORDER, None if it has none."""
    if place in ORDER:
        return ORDER.index(place)
    wildcard = f'{place.rpartition("/")[0]}/*'
    return ORDER.index(wildcard) if wildcard in ORDER else None


def described(found: Import) -> str:
    what = f' ({", ".join(found.names)})' if found.names else ''
    return f'{found.importer}.py:{found.line} imports {found.imported or "the package root"}{what}'


def modules() -> list[str]:
    """Give the names of all modules that hold more than a docstring."""
    return [
        '.'.join(['cpadapter', *place.split('/')]) if place else 'cpadapter'
        for place, tree in SOURCES.items()
        if len(tree.body) > 1
    ]


def load(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        if exc.name is not None and exc.name.split('.')[0] != 'cpadapter':
            pytest.skip(f'{exc.name} is not installed')
        raise


def test_every_module_has_a_place_in_the_order():
    assert [place for place in SOURCES if place and rank(place) is None] == []


def test_modules_import_only_what_stands_below_them():
    wrong = []
    for found in IMPORTS:
        if not found.importer or not found.imported:
            continue
        here, there = rank(found.importer), rank(found.imported)
        if here is not None and there is not None and (there < here or (there == here and '*' not in ORDER[here])):
            wrong.append(described(found))
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    below: dict[str, set[str]] = {}
    for found in IMPORTS:
        if found.importer and found.imported:
            below.setdefault(found.importer, set()).add(found.imported)
    done: set[str] = set()

    def follow(place: str, path: list[str]) -> None:
        assert place not in path, ' -> '.join([*path, place])
        if place not in done:
            for imported in sorted(below.get(place, ())):
                follow(imported, [*path, place])
            done.add(place)

    for place in SOURCES:
        follow(place, [])


def test_nobody_imports_the_package_root():
    wrong = [
        described(found)
        for found in IMPORTS
        if not found.imported
        and found.importer
        and not found.importer.startswith(SEES_ROOT)
        and not (found.importer in SEES_ROOT_WHEN_CALLED and found.in_function)
    ]
    assert wrong == []


def test_no_private_name_is_imported_from_another_file():
    wrong = [
        described(found)
        for found in IMPORTS
        if any(name.startswith('_') and not name.endswith('__') for name in found.names)
    ]
    assert wrong == []


def test_no_module_at_the_root_is_named_like_a_public_object():
    modules_here = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    clashes = [
        name
        for name in modules_here
        if hasattr(cpadapter, name) and getattr(cpadapter, name) is not sys.modules.get(f'cpadapter.{name}')
    ]
    assert clashes == []
    assert modules_here.isdisjoint(set(cpadapter.__all__) - {'lib', 'process'})
    assert modules_here.isdisjoint({'servers', 'session', 'serving', 'thread_data', 'checker'})


@pytest.mark.parametrize('name', modules())
def test_a_module_postpones_annotations_and_lists_what_it_offers(name):
    place = name.removeprefix('cpadapter').removeprefix('.').replace('.', '/')
    tree = SOURCES[place]
    assert any(isinstance(node, ast.ImportFrom) and node.module == '__future__' for node in tree.body)
    if place == '__main__':
        return
    module = load(name)
    offered = getattr(module, '__all__', None)
    assert offered is not None, f'{name} has no __all__'
    assert [missing for missing in offered if not hasattr(module, missing)] == []
    assert len(set(offered)) == len(offered)


@pytest.mark.parametrize('place', list(SOURCES), ids=lambda place: place or 'cpadapter')
def test_a_module_opens_with_a_docstring_and_so_does_all_it_offers(place):
    tree = SOURCES[place]
    assert ast.get_docstring(tree), 'no paragraph at the top'
    offered: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == '__all__' for t in node.targets):
            offered = set(ast.literal_eval(node.value))
    assert [
        node.name
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name in offered
        and not ast.get_docstring(node)
    ] == []


IMPORTING = """
import atexit, logging, signal, sys, threading, warnings

class Recorder(logging.Handler):
    def emit(self, record):
        found.append(f'logged {record.getMessage()!r}')

found = []
recorder = Recorder(1)
logging.root.addHandler(recorder)
register = atexit.register
atexit.register = lambda call, *args, **kwargs: (found.append(f'atexit {call!r}'), register(call, *args, **kwargs))
loaded = set(sys.modules)
filters = list(warnings.filters)
hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
path = list(sys.path), list(sys.meta_path), list(sys.path_hooks)

import cpadapter

found += [f'thread {thread!r}' for thread in threading.enumerate() if thread is not threading.main_thread()]
found += [f'signal {number!r}' for number, handler in signals.items() if signal.getsignal(number) is not handler]
if filters != warnings.filters:
    found.append('warnings filters')
if hooks != (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning):
    found.append('an exception or warnings hook')
if path != (sys.path, sys.meta_path, sys.path_hooks):
    found.append('the import system')
if 'cherrypy' in sys.modules:
    found.append('cherrypy')
loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
found += [f'handlers of {logger}' for logger in [*loggers, logging.root] if logger.handlers not in ([], [recorder])]
if cpadapter.engine.state is not cpadapter.engine.states.STOPPED:
    found.append('the engine')
heavy = HEAVY
found += [name for name in sorted(set(sys.modules) - loaded) if any((name + '.').startswith(h + '.') for h in heavy)]
print(found)
"""


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that finds this package first."""
    return subprocess.run(
        [sys.executable, *options, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(PACKAGE.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_the_package_has_no_effect():
    done = run_python(IMPORTING.replace('= HEAVY', f'= {HEAVY!r}'), '-W', 'error')
    assert (done.stdout.strip(), done.stderr, done.returncode) == ('[]', '', 0)


def test_importing_the_package_loads_no_file_of_a_server_adapter():
    done = run_python('import sys, cpadapter; print(*[name for name in sys.modules if "server_adapters." in name])')
    assert (done.stdout.strip(), done.stderr) == ('', '')
