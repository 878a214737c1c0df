"""The pages of a site without serving it: the object trees walked, each page dispatched, its plan compiled.

It starts no engine and runs no page handler, hook or listener. A node that makes others on request (`_cp_dispatch`)
is told as such, since what it gives is known only to it.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Iterator, Mapping
from contextvars import Context
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from ..context import exchange_var
from ..core.application import Application, slash_of
from ..core.pipeline import Exchange
from ..core.plan import PlanBuilder, compile_plan, merge_confs
from ..extension.dispatch import MethodDispatcher, RoutesDispatcher, is_plain
from ..extension.hooks import HOOKPOINTS, is_async_callable
from ..extension.tools import compiles
from ..gateways.plain import PlainHead
from ..protocol.headers import Host
from .failure import first_line, show

if TYPE_CHECKING:
    from ..core.plan import Plan
    from ..core.site import Site

__all__ = ['Page', 'find_page', 'hooks_of', 'json_value', 'pages_of', 'tools_of']

# A tree that is larger than this is no tree of pages.
MOST_NODES = 100_000
# How what is wrong with config names an entry.
ENTRY = re.compile(r"'(?P<key>[^'\s]+)' = ")
SIMPLE = (str, bytes, int, float, complex, bool, list, tuple, dict, set, frozenset, ModuleType, type(None))
METHODS = (FunctionType, MethodType, BuiltinFunctionType)


class Page:
    """One URL: what dispatch finds for it, and the plan it has.

    problems: what keeps its plan from being compiled; `plan` is then what it would be without these entries, or None.

    url: with the script_name; `*` stands for whatever follows. method: '' for any. note: what it is if no page handler.
    target: the page handler. confs: (depth, dict) pairs as they are merged.
    """

    def __init__(self, app: Any, url: str, path: str = '/', method: str = '', note: str = '') -> None:
        self.app = app
        self.url = url
        self.path = path
        self.method = method
        self.note = note
        self.target: Any = None
        self.slash = ''
        self.confs: list[tuple[int, Any]] = []
        self.config: dict[str, Any] = {}
        self.plan: Plan | None = None
        self.problems: list[str] = []

    @property
    def name(self) -> str:
        """The page handler's full name, or what stands in its place."""
        if self.target is None:
            return self.note
        func = getattr(self.target, '__func__', self.target)
        if not hasattr(func, '__qualname__'):
            func = type(func)
        return f'{func.__module__}.{func.__qualname__}'

    @property
    def signature(self) -> str:
        """What it takes, without annotations: `(title, *, revision='')`."""
        if self.target is None:
            return ''
        try:
            signature = inspect.signature(self.target)
        except (TypeError, ValueError):
            return '(...)'
        bare = [
            param.replace(annotation=inspect.Parameter.empty)
            if param.default is inspect.Parameter.empty
            else param.replace(annotation=inspect.Parameter.empty, default=_Shown(param.default))
            for param in signature.parameters.values()
        ]
        return str(inspect.Signature(bare))

    @property
    def colour(self) -> str:
        """Say `async`, `plain` or `websocket`; '' where there is no page handler."""
        if self.target is None:
            return ''
        if getattr(self.target, 'is_websocket', False):
            return 'websocket'
        return 'async' if is_async_callable(self.target) else 'plain'


class _Shown:
    """A default value, written the same in each run."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return show(self.value, 40)


def pages_of(site: Site) -> Iterator[Page]:
    """Give the pages of all applications, in order of script_name, then as the tree has them by name."""
    for script_name, app in sorted(site.tree.apps.items()):
        if isinstance(app, Application):
            yield from _pages_of_app(app, script_name)
        else:
            yield Page(app, f'{script_name}/*', note=f'grafted: {show(app)}')


def _pages_of_app(app: Application, script_name: str) -> Iterator[Page]:
    app.read_sections()
    seen = set()
    for path, shown, node in _walk(app.root):
        dispatcher = _dispatcher(app, path)
        if isinstance(dispatcher, MethodDispatcher):
            methods = [
                name for name in dir(node) if name.isupper() and name[0] != '_' and callable(getattr(node, name, None))
            ]
        else:
            methods = ['']
        for method in methods:
            page = find_page(app, path, method, script_name + shown)
            if page.target is not None or page.problems:
                seen.add(path)
                yield page
    for shown in _dispatching(app.root):
        yield Page(app, script_name + shown, note='by _cp_dispatch: what follows is known only to it')
    for section in sorted(app.config):
        dispatcher = _dispatcher(app, section) if section[:1] == '/' else None
        if isinstance(dispatcher, RoutesDispatcher):
            yield from _routes(app, script_name, dispatcher)
    for section in sorted(app.sections or {}):
        if section not in seen and section + '/' not in seen:
            page = find_page(app, section, '', script_name + section)
            page.url += '/*'
            page.note = 'no page handler; tools may answer'
            yield page
    if app.serves_icon and not hasattr(app.root, 'favicon_ico'):
        yield Page(app, script_name + '/favicon.ico', note='the icon of the package')


def _dispatcher(app: Application, path: str) -> Any:
    return app.config.find(path, 'request.dispatch') or app.request_class.dispatch


def _routes(app: Application, script_name: str, dispatcher: RoutesDispatcher) -> Iterator[Page]:
    for route in dispatcher.mapper.matchlist:
        page = Page(app, f'{script_name}/{str(route.routepath).lstrip("/")}', note='by a route')
        controller = dispatcher.controllers.get(route.defaults.get('controller'))
        action = route.defaults.get('action')
        page.target = getattr(controller, action, None) if action else controller
        yield page


def find_page(app: Application, path: str, method: str = '', url: str | None = None) -> Page:
    """Dispatch a path inside an application and compile the plan that a request for it would have."""
    page = Page(app, f'{app.script_name or ""}{path}' if url is None else url, path, method)
    Context().run(_compile, page)
    return page


def _compile(page: Page) -> None:
    app, path = page.app, page.path
    app.read_sections()
    here = Host('127.0.0.1', 80, 'localhost')
    request = app.request_class(here, here, 'http', 'HTTP/1.1')
    request.app = app
    fields = [('Host', 'localhost')]
    head = PlainHead(request, page.method or 'GET', path, '', 'HTTP/1.1', fields, io.BytesIO())
    exchange = Exchange(app, head, app.script_name or '', path)
    exchange.adopt(request)
    exchange_var.set(exchange)
    dispatcher = _dispatcher(app, path)
    try:
        if is_plain(dispatcher):
            dispatcher.open(exchange, path)
            target, is_index, page.confs = exchange.handler, exchange.is_index, list(exchange.confs or ())
            page.config = merge_confs(app.site.config, page.confs, app.config, path)
        else:
            dispatcher(path)
            handler = request.handler
            target, is_index = getattr(handler, 'callable', None) or handler, request.is_index
            page.config = dict(request.config or app.site.config)
        if callable(target) and not isinstance(target, BaseException):
            page.target = target
        page.slash = slash_of(is_index, path)
    except Exception as exc:
        page.problems.append(first_line(exc))
        return
    keep = tuple((conf, None) for _, conf in page.confs)
    config = dict(page.config)
    dropped: list[str] = []
    while page.plan is None:
        try:
            page.plan = compile_plan(app, is_async_callable(target), config, page.slash, keep)
        except Exception as exc:
            problem = first_line(exc)
            entry = ENTRY.search(problem)
            key = '' if entry is None else entry['key']
            # A tool that lacks what was dropped is no news.
            if not any(key.endswith('.on') and bad.startswith(key[:-2]) for bad in dropped):
                page.problems.append(problem)
            # On without the entry it names, to find what else is wrong.
            if key not in config:
                return
            del config[key]
            dropped.append(key)


# ---------------------------------------------------------------------- the tree


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Give the attributes of a node that may be pages or lead to some; what is computed is not asked for."""
    if isinstance(node, METHODS):
        names = set(vars(getattr(node, '__func__', node)) if hasattr(node, '__dict__') else ()) - {'__wrapped__'}
    else:
        names = set(dir(node))
    for name in sorted(names):
        if name[:2] == '__' or name in ('_cp_config', '_cp_dispatch', 'exposed'):
            continue
        try:
            static = inspect.getattr_static(node, name)
        except AttributeError:
            continue  # made up by __getattr__
        if isinstance(static, property) or (hasattr(type(static), '__set__') and not hasattr(static, 'exposed')):
            continue
        child = getattr(node, name, None)
        if not isinstance(child, SIMPLE):
            yield name, child


def _may_lead(node: Any) -> bool:
    return not isinstance(node, SIMPLE) and type(node).__module__ not in ('builtins', 'threading', 'sqlite3', 'logging')


def _leading(root: Any) -> set[int]:
    """Give the ids of the nodes that are pages or lead to one."""
    leading: set[int] = set()
    seen: set[int] = set()
    kept = []

    def look(node: Any, depth: int) -> bool:
        if id(node) in seen or len(seen) >= MOST_NODES or depth > 40:
            return id(node) in leading
        seen.add(id(node))
        kept.append(node)
        found = _is_exposed(node) or _dispatches(node)
        if isinstance(node, METHODS):
            found |= any(look(child, depth + 1) for _, child in list(_children(node)))
        elif _may_lead(node):
            for _, child in _children(node):
                if look(child, depth + 1):
                    found = True
        if found:
            leading.add(id(node))
        return found

    look(root, 0)
    return leading


def _is_exposed(node: Any) -> bool:
    return bool(getattr(node, 'exposed', False)) and not isinstance(node, SIMPLE)


def _dispatches(node: Any) -> bool:
    return not isinstance(node, METHODS) and callable(getattr(node, '_cp_dispatch', None))


def _nodes(root: Any) -> Iterator[tuple[str, Any]]:
    """Give (path, node) for each node that is a page or leads to one; a node within itself only once."""
    leading = _leading(root)

    def descend(node: Any, path: str, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
        yield path, node
        if isinstance(node, METHODS):
            own = {name: child for name, child in _children(node) if _is_exposed(child)}
        else:
            own = dict(_children(node)) if _may_lead(node) or node is root else {}
        for name, child in own.items():
            # A method is made anew each time it is asked for: it is known by its function.
            key = id(child)
            exposed = _is_exposed(child)
            if key in above or not (exposed or key in leading):
                continue
            yield from descend(child, f'{path}/{name}', (*above, key))

    yield from descend(root, '', (id(root),))


def _walk(root: Any) -> Iterator[tuple[str, str, Any]]:
    """Give (path to dispatch, path to show, node) for each page: an index page is shown as its folder."""
    for path, node in _nodes(root):
        if not _is_exposed(node):
            continue
        parent, _, name = path.rpartition('/')
        if name == 'index':
            yield f'{parent}/', f'{parent}/', node
        elif name == 'default':
            yield path, f'{parent}/*', node
        else:
            yield path or '/', path or '/', node


def _dispatching(root: Any) -> Iterator[str]:
    for path, node in _nodes(root):
        if _dispatches(node):
            yield f'{path}/*'


# ---------------------------------------------------------------------- what a plan holds


def tools_of(page: Page) -> list[dict[str, Any]]:
    """Give the tools that are on: name, settings, hooks as [{'point', 'priority'}, ...], a note if there are none."""
    found = []
    for namespace, name, conf in _tools_on(page):
        settings = {key: value for key, value in conf.items() if key != 'on'}
        parts = _compiled(page, namespace, name, settings)
        hooks, note = [], 'set up at each request'
        if parts is not None:
            hooks = [{'point': point, 'priority': hook.priority} for point, hook in _attached(parts)]
            note = 'nothing to do here' if parts.error_response is None else 'answers unexpected errors'
        found.append(
            {'name': f'{namespace}.{name}', 'settings': settings, 'hooks': hooks, 'note': None if hooks else note}
        )
    return found


def _tools_on(page: Page) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for namespace, tools in ({} if page.plan is None else page.plan.toolmaps).items():
        for name, conf in tools.items():
            if conf.get('on'):
                yield namespace, name, conf


def _compiled(page: Page, namespace: str, name: str, settings: dict[str, Any]) -> PlanBuilder | None:
    """Give what one tool contributes to a plan; None if it is set up at each request."""
    box = page.app.toolboxes.get(namespace) or page.app.request_class.namespaces.get(namespace)
    tool = getattr(box, name, None)
    if tool is None or not compiles(tool):
        return None
    builder = PlanBuilder(page.slash)
    tool.compile(builder, dict(settings))
    return builder


def _attached(builder: PlanBuilder) -> list[tuple[str, Any]]:
    return [(point, hook) for point, hooks in builder.hooks.items() for hook in hooks]


def hooks_of(page: Page) -> list[dict[str, Any]]:
    """Give the hooks that are no tool's: point, priority, name of the callback."""
    if page.plan is None:
        return []
    of_tools: list[tuple[str, float, str]] = []
    for namespace, name, conf in _tools_on(page):
        parts = _compiled(page, namespace, name, {key: value for key, value in conf.items() if key != 'on'})
        if parts is not None:
            of_tools += [(point, hook.priority, _callback_name(hook)) for point, hook in _attached(parts)]
    found = []
    for point in HOOKPOINTS:
        for hook in getattr(page.plan, point):
            what = (point, hook.priority, _callback_name(hook))
            if what in of_tools:
                of_tools.remove(what)
            elif type(hook).__name__ != 'OffloadHook':
                found.append({'point': point, 'priority': hook.priority, 'callback': what[2]})
    return found


def _callback_name(hook: Any) -> str:
    call = getattr(hook, 'filter', hook.callback)
    return show(call) if hasattr(call, '__qualname__') else show(type(call))


def json_value(value: Any) -> Any:
    """Give a value as JSON has it; one that JSON has not, as it is shown."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): json_value(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(entry) for entry in value]
    return show(value, 1000)
