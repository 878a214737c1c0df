"""Application: one object tree with its config, and the cache of plans compiled for its page handlers.

`open` turns a request head into an Exchange with a plan; running it is the pipeline's, sending the gateways'.
The instance is itself the callable that every server wants, WSGI or ASGI by how it is called.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from ..changes import changed, changes
from ..context import current, default_site, exchange_var
from ..errors import HTTPError, NotFound
from ..extension.dispatch import LEAF, Dispatcher, is_plain
from ..extension.hooks import is_async_callable
from ..extension.namespaces import NamespaceSet, WatchedDict
from ..gateways.callable import DualCallable
from ..gateways.children import Child
from ..gateways.handover import Handover
from ..gateways.wsgi import run_wsgi, serve_wsgi
from ..protocol.messages import CrossFirst, decode_path
from .config import AppConfig, nearest, unknown_key_message
from .log import LogManager
from .pipeline import Exchange
from .plan import Plan, compile_plan, handler_key, merge_confs
from .request import Request
from .response import Response
from .wsgiapp import AppResponse, CPWSGIApp

if TYPE_CHECKING:
    from ..protocol.messages import RequestHead
    from .config import Source
    from .site import Site

__all__ = ['Application']

# Plans are few, one for each set of config that page handlers share; handlers and paths may be many.
MAX_PLANS = 4096
MAX_HANDLERS = 65536
# Entries of a WSGI pipeline that nothing was added to.
BUILT_IN = len(CPWSGIApp.pipeline)

ICON = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'favicon.ico')


class _SharedToolboxes(dict[str, Any]):
    """Toolboxes that each new application starts with; read, the tools of the default site are among them."""

    def __missing__(self, name: str) -> Any:
        if name != 'tools':
            raise KeyError(name)
        return default_site().tools


class Application(DualCallable):
    """An object tree, with config, that answers `app(environ, start_response)` and `app(scope, receive, send)`.

    root: the tree's root: an instance, class, module or function; None where a dispatcher needs no tree.
    script_name: the prefix of its URLs, '' for none, without trailing slash; None takes whatever the server or the
        application outside of this one mounted it at.
    config: sections as a dict of dicts, a file's name, or an open file.
    site: the Site it belongs to; the default one if not given.
    """

    root: Any = None
    config: Any = {}
    namespaces: NamespaceSet = NamespaceSet()
    toolboxes: Any = _SharedToolboxes()
    log: Any = None
    wsgiapp: Any = None
    request_class: Any = Request
    response_class: Any = Response
    relative_urls: Any = False

    publishes = False
    script_name_doc = 'The prefix of the URLs, without trailing slash; None takes that of what is mounted outside.'

    def __init__(
        self, root: Any, script_name: str | None = '', config: Source | None = None, *, site: Site | None = None
    ) -> None:
        self.site = site if site is not None else default_site()
        self.root = root
        self.script_name = script_name
        self.config = AppConfig(type(self).config)
        self.config.on_file = self.site.note_file
        self.log = LogManager(id(self), self.site.log.logger_root)
        self.wsgiapp = CPWSGIApp(self)
        self.toolboxes: WatchedDict[str, Any] = WatchedDict({'tools': self.site.tools, **type(self).toolboxes})
        self.namespaces = type(self).namespaces.copy()
        self.namespaces['log'] = self._set_log
        self.namespaces['wsgi'] = self.wsgiapp.namespace_handler
        self._plans: dict[Any, Plan] = {}
        self._stamp = -1
        self._reported: set[str] = set()
        self.sections: dict[str, Any] | None = None
        self.root_section: Any = None
        self.serves_icon = False
        self._icon_tool: Any = None
        self._icon_handler: Any = None
        if config:
            self.merge(config)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in _COMPILED_IN:
            changed()

    def __repr__(self) -> str:
        cls = type(self)
        return f'{cls.__module__}.{cls.__name__}({self.root!r}, {self._script_name!r})'

    @property
    def script_name(self) -> Any:
        """The prefix of this application's URLs, without trailing slash.

        Of an application made with None: what is mounted outside of it, while it serves a request; None otherwise.
        """
        if self._script_name is not None:
            return self._script_name
        exchange = current()
        return exchange.script_name if exchange.app is self else None

    @script_name.setter
    def script_name(self, value: str | None) -> None:
        if value:
            value = value.rstrip('/')
            if value and value[0] != '/':
                value = '/' + value
        self._script_name = value

    def _set_log(self, name: str, value: Any) -> None:
        if not hasattr(type(self.log), name) and not hasattr(self.log, name):
            self.report_unknown(f'log.{name}', value, [f'log.{n}' for n in dir(self.log) if n[:1] != '_'])
        setattr(self.log, name, value)

    def merge(self, config: Source) -> None:
        """Merge sections into this application's config; the namespaces see what is new in section '/'."""
        self.namespaces(self.config.merge(config))

    def find_config(self, path: str, key: str, default: Any = None) -> Any:
        """Give the value of `key` in the section nearest to `path`, or `default`."""
        return self.config.find(path, key, default)

    def merged_config(self, confs: Iterable[tuple[int, Any]]) -> dict[str, Any]:
        """Merge global config with the dicts a dispatcher met on its path, in order, into a new flat dict."""
        return merge_confs(self.site.config, confs, self.config)

    def __call__(self, environ: Any, start_response: Any = None, send: Any = None) -> Any:
        """Serve a request: two arguments mean WSGI (PEP 3333), three ASGI 3, one ASGI 2."""
        if send is not None:
            return self.asgi(environ, start_response, send)
        wsgiapp = self.wsgiapp
        if (
            start_response is None
            or type(wsgiapp) is not CPWSGIApp
            or len(wsgiapp.pipeline) != BUILT_IN
            or wsgiapp.response_class is not AppResponse
        ):
            return super().__call__(environ, start_response)
        context = copy_context()
        return context.run(run_wsgi, self, environ, start_response, context)

    def wsgi(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve a WSGI request, through the middleware of `wsgiapp` if there is any."""
        wsgiapp = self.wsgiapp
        if type(wsgiapp) is CPWSGIApp and wsgiapp.is_bare:
            return serve_wsgi(self, environ, start_response)
        return wsgiapp(environ, start_response)  # type: ignore[no-any-return]

    def offload(self, call: Any) -> Any:
        """Call a plain callable in a thread; to be awaited. It never waits behind page handlers."""
        from ..gateways.bridge import offload

        return offload(self.site.step_pool(), call)

    def offload_page(self, call: Any) -> Any:
        """Call a plain page handler in a thread; to be awaited. Raises Overloaded where too many wait already."""
        from ..gateways.bridge import offload

        return offload(self.site.handler_pool(), call)

    def offload_end(self, call: Any) -> Any:
        """The same for what ends a request: it never waits behind page handlers."""
        from ..gateways.bridge import offload, pool_for

        return offload(pool_for(4, 'finish'), call)

    # -- opening

    def open(
        self,
        head: RequestHead,
        request: Request | None = None,
        script_name: str | None = None,
        path_info: str = '/',
        fault: Exception | None = None,
    ) -> Exchange:
        """Find the page handler for `head` and give its Exchange, which is then the current one.

        script_name, path_info: where, as a Tree knows; by default as `head` and this application's own script_name
            say. fault: raised in place of dispatching.
        """
        if self._stamp != changes.count:
            self._refresh(head)
        if script_name is None:
            if self._script_name:
                script_name, path_info, fault = self._place(head)
            else:
                script_name = head.outer
                path_info = head.path
        exchange = Exchange(self, head, script_name, path_info)
        exchange_var.set(exchange)
        # Held from here on: a change of config meanwhile puts new dicts in their place, which what follows is not for.
        routes = self._routes
        arg_routes = self._arg_routes
        route = routes.get(path_info)
        args: Any = ()
        if route is None and arg_routes and '%' not in path_info and path_info[-1:] != '/':
            # PERF: a page handler that takes path segments as arguments is known by the path before them.
            cut = path_info.rfind('/')
            while cut > 0:
                route = arg_routes.get(path_info[:cut])
                if route is not None:
                    args = path_info[cut + 1 :].split('/')
                    break
                cut = path_info.rfind('/', 0, cut)
        if route is not None and request is None and head.fault is None and fault is None:
            # PERF: the walk was done before. What it found is looked up again, and counts if it is still the same.
            node, name, func, marks, steps, confs, exchange.is_index, plan = route
            handler = getattr(node, name, None)
            if type(handler) is MethodType and handler.__func__ is func and func.__dict__ == marks:
                for node, name, child in steps:
                    if getattr(node, name, None) is not child:
                        break
                else:
                    for node, conf, copy in confs:
                        if getattr(node, '_cp_config', None) is not conf or conf != copy:
                            break
                    else:
                        exchange.handler = handler
                        exchange.args = args
                        exchange.plan = plan
                        return exchange
        if self._unusual or request is not None or fault is not None or head.fault is not None:
            return self._open_unusual(exchange, request, fault)
        try:
            handler, exchange.args, is_index, confs = self._find(exchange, path_info)
            exchange.handler = handler
            exchange.is_index = is_index
            if exchange._request is None:
                func = handler.__func__ if type(handler) is MethodType else handler_key(handler)
                if confs is None and (is_index is None or is_index is (path_info[-1:] == '/')):
                    # PERF: no config of its own: the page handler alone says which plan.
                    plans = self._plans_by_handler
                    plan = plans.get(func) if handler is not None or path_info != '/favicon.ico' else None
                    if plan is None:
                        plan = self._plan_for(exchange)
                        if exchange.handler is handler:
                            plans[func] = plan
                else:
                    exchange.confs = confs
                    plan = self._plan_for(exchange)
                exchange.plan = plan
                self._remember(arg_routes if exchange.args else routes, exchange, func, is_index, plan)
                return exchange
            exchange.confs = confs
            exchange.plan = self._plan_for(exchange)
        except Exception as exc:
            self._blame(exchange, exc)
        if exchange._request is not None:
            self._catch_up(exchange, exchange._request)
        return exchange

    def _remember(
        self, routes: dict[str, Any], exchange: Exchange, func: Any, is_index: bool | None, plan: Plan
    ) -> None:
        """Keep what the walk along a path found, if it can be checked by looking at a few attributes again.

        That is so for a method on long-lived nodes, all of them stored: what a property or `__getattr__` gives is
        asked for once a request. Names that need translation stay out, so that clients cannot invent paths to be kept.
        """
        if (
            is_index is None
            or len(routes) >= MAX_HANDLERS
            or type(func) is not FunctionType
            or type(self._dispatcher) is not Dispatcher
        ):
            return
        path_info = exchange.path_info
        args = exchange.args
        if args:
            # Where nothing could stand below the function: neither a node of its own nor a config section.
            rest = '/' + '/'.join(args)
            if is_index or self.sections or not func.__dict__.keys() <= LEAF or not path_info.endswith(rest):
                return
            path_info = path_info[: -len(rest)]
        names = [name for name in path_info.split('/') if name]
        if is_index:
            names.append('index')
        if not names or not all(name.isidentifier() for name in names):
            return
        node = self.root
        nodes = [node]
        steps = []
        for name in names[:-1]:
            child = stored(node, name)
            if child is None or type(child) is MethodType or getattr(node, name, None) is not child:
                return
            steps.append((node, name, child))
            nodes.append(child)
            node = child
        found = stored(node, names[-1])
        if found is not func and getattr(found, '__func__', None) is not func:
            return
        confs: list[tuple[Any, Any, Any]] = []
        for bearer in [*nodes, func]:
            conf = getattr(bearer, '_cp_config', None)
            if conf is not None or bearer is not func:
                confs.append((bearer, conf, None if conf is None else dict(conf)))
        routes[path_info] = (
            *(node, names[-1], func, dict(func.__dict__), tuple(steps), tuple(confs)),
            *(is_index, plan),
        )

    def _place(self, head: RequestHead) -> tuple[str, str, Exception | None]:
        """Give (script_name, path_info, fault) where this application is served alone under its script_name.

        It may stand in what is mounted outside, in the path, or across both; a path outside of it is not found.
        """
        own = self._script_name or ''
        whole = head.outer + head.path
        size = len(own)
        if whole.startswith(own) and (len(whole) == size or whole[size] == '/'):
            return own, whole[size:], None
        if head.path.startswith(own) and (len(head.path) == size or head.path[size] == '/'):
            return head.outer + own, head.path[size:], None
        return head.outer + own, head.path, NotFound(whole)

    def _open_unusual(self, exchange: Exchange, request: Request | None, fault: Exception | None) -> Exchange:
        """Open where more is to be done than to walk the tree: listeners, dispatchers, encodings, faults."""
        if request is not None:
            exchange.adopt(request)
        head = exchange.head
        if head.defers and not self.wsgiapp.is_bare:
            # WSGI middleware stands before it, under ASGI as well.
            return Handover(head, Child(self.wsgi, 'wsgi'), head.outer, head.path, self.site)  # type: ignore[return-value]
        if self.publishes and not head.defers:
            exchange.publish_start()
        try:
            if fault is None and head.fault is not None:
                fault = HTTPError(*head.fault)
            if fault is not None:
                raise fault
            if self.uri_encoding is not None:
                self._decode_path(exchange)
            if self._plain:
                self._dispatcher.open(exchange, exchange.path_info)
            else:
                if head.on_loop:
                    raise CrossFirst
                exchange.request.get_resource(exchange.path_info)
            if exchange.plan is None:
                exchange.plan = self._plan_for(exchange)
            elif exchange._request is not None:
                return exchange
        except Exception as exc:
            self._blame(exchange, exc)
        if exchange._request is not None:
            self._catch_up(exchange, exchange._request)
        return exchange

    def _plan_for(self, exchange: Exchange) -> Plan:
        """Give the plan for the page handler and config that dispatch found; compiled at first sight."""
        plans = self._plans
        confs = exchange.confs or ()
        handler = exchange.handler
        path_info = exchange.path_info
        if handler is None and self.serves_icon and path_info == '/favicon.ico':
            handler = exchange.handler = self._icon()
            exchange.args = ()
        slash = slash_of(exchange.is_index, path_info)
        is_async = self._is_async(handler)
        key: tuple[Any, ...] = (is_async, slash, *[id(conf) for _, conf in confs])
        for depth, conf in confs:
            if 'tools.staticdir.dir' in conf:
                # Where the dict was met says which section it makes.
                key += (*path_info.split('/')[: depth + 1],)
        plan = plans.get(key)
        if plan is None or not plan.keep.is_fresh():
            merged = merge_confs(self.site.config, confs, self.config, path_info)
            plan = compile_plan(self, is_async, merged, slash, _Kept(confs))
            self._keep(plans, key, plan)
        return plan

    def _is_async(self, handler: Any) -> bool:
        """Say whether a page handler is async; found out once for each function or class."""
        key = handler_key(handler)
        known = self._colours.get(key)
        if known is None:
            if len(self._colours) >= MAX_HANDLERS:
                self._colours.clear()
                self._plans_by_handler.clear()
            # Where the key is an id, the handler is kept so that the id stays its own.
            known = self._colours[key] = (is_async_callable(handler), handler if type(key) is int else None)
        return known[0]

    def _icon(self) -> Any:
        """Give the page handler of the packaged icon; None if the root has an icon of its own, or None for one."""
        if hasattr(self.root, 'favicon_ico'):
            return None
        tool = getattr(self.toolboxes.get('tools'), 'staticfile', None)
        if self._icon_tool is not tool:
            self._icon_tool = tool
            self._icon_handler = None if tool is None else tool.handler(filename=ICON)
        return self._icon_handler

    def _blame(self, exchange: Exchange, exc: Exception) -> None:
        """Let the pipeline answer what was raised before there was a plan."""
        exchange.fault = exc
        exchange.handler = None
        exchange.plan = self._fault_plan(exchange.confs)
        exchange.plan.quiet = False

    def _decode_path(self, exchange: Exchange) -> None:
        """Decode the path anew where config names another encoding than UTF-8 for it."""
        path_info = exchange.path_info
        assert self.uri_encoding is not None  # the caller has looked
        encoding = self.uri_encoding(path_info)
        if path_info.isascii() or encoding.lower().replace('-', '') == 'utf8':
            return
        path = decode_path(exchange.head.path_bytes.decode('latin-1'), encoding)
        if path.startswith(exchange.script_name):
            exchange.path_info = path[len(exchange.script_name) :]

    def _catch_up(self, exchange: Exchange, request: Any) -> None:
        """Bring a request that was made before its plan up to the plan; what dispatch put into params stays."""
        values = request.__dict__
        for name in ('config', 'toolmaps', 'error_page', 'hooks', 'handler', 'args', 'is_index', 'error_response'):
            values.pop(name, None)
        exchange.hooks = None
        plan = exchange.plan
        for name, value in plan.request_attrs.items():
            setattr(request, name, value)
        if values.get('params'):
            exchange.path_params = dict(values['params'])

    def dispatch(self, exchange: Exchange, path: str) -> None:
        """Dispatch by whatever dispatcher config names for `path`, and give the exchange its plan."""
        plans = self._plans
        dispatcher = self.config.find(path, 'request.dispatch') or self.request_class.dispatch
        request = exchange.request
        if is_plain(dispatcher):
            dispatcher.open(exchange, path)
            return
        later = dispatcher(path)
        if hasattr(type(later), '__await__'):
            exchange.await_here(later)
        values = request.__dict__
        config = values.get('config')
        if config is None:
            config = self.merged_config(((0, self.root_section),) if self.root_section else ())
        handler = values.get('handler')
        # Whatever the dispatcher has set is the page handler; with its own arguments, where it is a PageHandler.
        inner = getattr(handler, 'callable', None)
        args = values.get('args', ())
        kwargs = values.get('kwargs')
        is_index = exchange.is_index = values.get('is_index')
        exchange.args = args
        target = inner if inner is not None else handler
        exchange.handler = target
        slash = slash_of(is_index, path)
        is_async = self._is_async(target)
        key = (is_async, slash, *[(k, id(v)) for k, v in config.items()])
        plan = plans.get(key)
        if plan is None:
            plan = compile_plan(self, is_async, dict(config), slash, _Kept(()))
            self._keep(plans, key, plan)
        exchange.plan = plan
        params = values.get('params')
        self._catch_up(exchange, request)
        if params:
            exchange.path_params = {**params, **(exchange.path_params or {})}
        if type(handler).__name__ != 'LateParamPageHandler' or kwargs:
            # Kept as it is: a page handler of the dispatcher's own kind, or with arguments of its own.
            request.handler = handler
            request.args = args
            request.kwargs = kwargs or {}

    def _keep(self, plans: dict[Any, Plan], key: Any, plan: Plan) -> None:
        if len(plans) >= MAX_PLANS:
            # Nodes made for each request fill the cache with keys that never come back: start afresh.
            plans.clear()
            self._plans_by_handler.clear()
            self._routes.clear()
            self._arg_routes.clear()
        plans[key] = plan

    def _fault_plan(self, confs: Any) -> Plan:
        """Give the plan for a request that failed before it had one: global config, '/' and what was walked."""
        confs = confs or ([(0, self.root_section)] if self.root_section else [])
        # Where an entry is what failed, what lies above it still holds; the defaults at least, which log the error.
        attempts: list[Any] = [
            *(partial(merge_confs, self.site.config, confs[:size], self.config) for size in range(len(confs), -1, -1)),
            partial(dict, self.site.config.defaults),
            dict,
        ]
        for attempt in attempts:
            config = attempt()
            try:
                return compile_plan(self, False, config, '', _Kept(()))
            except Exception as exc:
                error = exc
        raise error

    def read_sections(self) -> None:
        """Look again at the sections of config that paths have: dispatchers go by what was found."""
        self.sections = {
            path: section
            for path, section in self.config.items()
            if path[:1] == '/' and path != '/' and isinstance(section, Mapping)
        } or None
        self.root_section = self.config.get('/')

    def _refresh(self, head: RequestHead) -> None:
        """Forget plans compiled before the last change, and look again at what they rest on."""
        engine = self.site.engine
        if engine.needs_start:
            if head.on_loop:
                raise CrossFirst  # listeners may wait
            engine.ensure_started()
        stamp = changes.count
        self._plans = {}
        self._colours: dict[Any, tuple[bool, Any]] = {}
        self._plans_by_handler: dict[Any, Plan] = {}
        self._routes: dict[str, Any] = {}
        # The same for what is called with path segments, by the path before them.
        self._arg_routes: dict[str, Any] = {}
        self.read_sections()
        self.publishes = any(map(engine.listens, ('before_request', 'after_request', 'acquire_thread')))
        self._dispatcher = self.request_class.dispatch
        self._plain = (
            is_plain(self._dispatcher)
            and not any('request.dispatch' in section for section in self.config.values() if hasattr(section, 'get'))
            and self.request_class.get_resource is Request.get_resource
        )
        self.uri_encoding: Callable[[str], str] | None = None
        if any('request.uri_encoding' in section for section in self.config.values() if hasattr(section, 'get')):
            self.uri_encoding = self._uri_encoding
        self._unusual = (
            self.publishes
            or self.uri_encoding is not None
            or not self._plain
            or type(self._dispatcher).open is not Dispatcher.open
            or not self.wsgiapp.is_bare
        )
        if self._plain:
            self._find = self._dispatcher.find
        self._stamp = stamp

    def _uri_encoding(self, path: str) -> str:
        return str(self.config.find(path, 'request.uri_encoding', 'utf-8'))

    # -- reports

    def report_unknown(self, key: str, value: Any, known: Iterable[str]) -> None:
        """Write to the error log, once, that a config key is unknown, with the nearest known one."""
        if key in self._reported:
            return
        self._reported.add(key)
        section = next(
            (path for path, entries in self.config.items() if isinstance(entries, Mapping) and key in entries), None
        )
        self.log.error(unknown_key_message(key, value, section, known), 'CONFIG', severity=logging.WARNING)

    def warn_of_debug_pages(self) -> None:
        """Write to the error log, once, that debug pages are for everybody to see."""
        key = 'request.debug_remote'
        if key not in self._reported:
            self._reported.add(key)
            self.log.error(
                'request.debug_remote is on: whoever can reach the server sees debug pages, with source lines and '
                'values, where there should be an error 500.',
                'CONFIG',
                severity=logging.WARNING,
            )

    def report_unknown_namespaces(self, groups: Mapping[str, Any], known: set[str]) -> None:
        """Report namespaces that nobody handles: of keys in this application's paths, and any that look misspelt.

        Elsewhere, in global config and `_cp_config`, applications keep keys of their own.
        """
        names = {*known, 'hooks', 'request', 'response', 'error_page', 'wsgi', 'websocket', *self.namespaces}
        names.update(self.site.config.namespaces)
        for namespace, entries in groups.items():
            if namespace in names:
                continue
            for _, value, key in entries:
                if key in self._reported:
                    continue
                in_path = any(key in entry for path, entry in self.config.items() if path[:1] == '/')
                if in_path or nearest(namespace, names) is not None:
                    self.report_unknown(key, value, sorted(names))

    # -- serving by hand

    def get_serving(self, local: Any, remote: Any, scheme: str, sproto: str) -> tuple[Any, Any]:
        """Make a request and response and let them be the current ones; `request.run(...)` then does the request."""
        request = self.request_class(local, remote, scheme, sproto)
        request.app = self
        exchange = Exchange(self, None)
        exchange.adopt(request)
        exchange_var.set(exchange)
        for channel in ('acquire_thread', 'before_request'):
            self.site.engine.publish(channel)
        return request, exchange.response

    def release_serving(self) -> None:
        """End the current request: publishes after_request, runs its on_end_request hooks, forgets it."""
        exchange = exchange_var.get()
        if exchange is None:
            return
        self.site.engine.publish('after_request')
        request = exchange._request
        if request is not None:
            try:
                request.close()
            except Exception:
                self.log.error(traceback=True, severity=logging.ERROR)
        exchange_var.set(None)


def slash_of(is_index: bool | None, path: str) -> str:
    """Say what the path's slash is: 'missing' at the end of an index page's, 'extra' at another's, else ''."""
    if is_index is None or is_index is (path[-1:] == '/'):
        return ''
    return 'missing' if is_index else 'extra'


def stored(node: Any, name: str) -> Any:
    """Give an attribute as the instance or a class of its own holds it; None if it is computed, or not there."""
    own = getattr(node, '__dict__', None) or {}
    if name in own:
        return own[name]
    for cls in type(node).__mro__:
        if name in cls.__dict__:
            value = cls.__dict__[name]
            return value if isinstance(value, FunctionType) or not hasattr(type(value), '__get__') else None
    return None


class _Kept(tuple):  # type: ignore[type-arg]
    """The config dicts a plan was merged from, with copies, so that a change made in place is noticed."""

    def __new__(cls, confs: Iterable[tuple[int, Any]]) -> _Kept:
        return super().__new__(
            cls, [(conf, None if isinstance(conf, WatchedDict) else dict(conf)) for _, conf in confs]
        )

    def is_fresh(self) -> bool:
        return all(copy is None or conf == copy for conf, copy in self)


_COMPILED_IN = frozenset(('request_class', 'response_class', 'toolboxes', 'config', 'root'))
