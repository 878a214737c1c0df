"""Plans: what config, tools and hooks say about one page handler, worked out once and replayed by each request.

`compile_plan` merges config, splits it by namespace, asks each tool what it contributes and sorts the hooks. A
Plan is frozen; what a request changes, it changes on its own copy. Neither knows an exchange: the pipeline does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from types import MethodType
from typing import TYPE_CHECKING, Any

from ..errors import CherryPyException
from ..extension.hooks import HOOKPOINTS, Hook, HookMap, is_async_callable, refuse_awaitable
from ..extension.tools import BadSetting, MissingSetting, UnknownSetting, compiles
from .config import nearest
from .request import Request

if TYPE_CHECKING:
    from .application import Application

__all__ = ['ConfigError', 'FilterHook', 'Plan', 'PlanBuilder', 'compile_plan', 'handler_key', 'merge_confs']

# What a subclass of Request may override; the pipeline then calls the method where it stands.
LIFECYCLE = ('process_headers', 'get_resource', 'process_query_string', 'respond', 'handle_error')


class ConfigError(CherryPyException):
    """A config entry that cannot be applied; the message names key, value and the nearest known name."""


def merge_confs(
    site_config: dict[str, Any], confs: Iterable[tuple[int, Any]], sections: Any, path_info: str = ''
) -> dict[str, Any]:
    """Merge global config and the dicts met on the path, later ones winning, into a new flat dict.

    confs: (number of path segments that led to it, dict) pairs.
    `tools.staticdir.section` is set to the path of the section or node that named `tools.staticdir.dir` last.
    """
    merged = dict(site_config)
    for key in [key for key in merged if key[:1] == '/']:
        del merged[key]
    for depth, conf in confs:
        merged.update(conf)
        if 'tools.staticdir.dir' in conf:
            section = next((path for path, section in sections.items() if section is conf), None)
            if section is None:
                section = '/' + '/'.join([name for name in path_info.split('/') if name][:depth])
            merged['tools.staticdir.section'] = section
    return merged


class PlanBuilder:
    """Collects what tools contribute while a plan is compiled; tools see this and nothing of core.

    slash: 'missing' where an index page was asked for without its slash, 'extra' where another page was asked for
        with one, else ''. A tool that this makes idle contributes nothing.
    is_async: set to True by a tool that needs an event loop for something else than its hooks.
    """

    def __init__(self, slash: str) -> None:
        self.slash = slash
        self.hooks: dict[str, list[Hook]] = {point: [] for point in HOOKPOINTS}
        self.error_response: Any = None
        self.is_async = False
        self.short_bodies: tuple[Hook, Any] | None = None

    def attach(
        self,
        point: str,
        callback: Any,
        failsafe: bool | None = None,
        priority: float | None = None,
        **kwargs: Any,
    ) -> Hook:
        """Attach a hook; ConfigError names the nearest point if there is no such one."""
        hook = Hook(callback, failsafe, priority, **kwargs)
        self.attach_hook(point, hook)
        return hook

    def attach_hook(self, point: str, hook: Hook) -> None:
        hooks = self.hooks.get(point)
        if hooks is None:
            near = nearest(point, HOOKPOINTS)
            raise ConfigError(f'There is no hook point {point!r}' + (f'; did you mean {near!r}?' if near else '.'))
        hooks.append(hook)

    def take_short_bodies(self, hook: Hook, taker: Any) -> None:
        """Let short bodies of `taker.media_types` go to `taker.take(data, request)`, in place of running `hook`.

        That is so where `hook` is the only one before the body; elsewhere it runs, and a body object is made.
        """
        self.short_bodies = (hook, taker)

    def add_filter(self, result_filter: Callable[[Any, Any], Any], priority: float) -> None:
        """Add a filter on the page handler's result; it stands for a hook that wraps the handler at `priority`."""
        self.hooks['before_handler'].append(FilterHook(result_filter, priority))


class FilterHook(Hook):
    """A result filter in the place of the hook that would wrap the page handler."""

    def __init__(self, result_filter: Any, priority: float) -> None:
        super().__init__(self.wrap, False, priority)
        self.filter = result_filter
        self.non_blocking = True
        self.is_async = False

    def wrap(self) -> None:
        """Wrap `request.handler`: what the hook does where it cannot be a filter."""
        from ..context import current

        exchange = current()
        request = exchange.request
        inner = request.handler
        if inner is None:
            return
        prepare = getattr(self.filter, 'prepare', None)
        if prepare is not None:
            prepare(exchange)
        result_filter = self.filter

        def filtered(*args: Any, **kwargs: Any) -> Any:
            value = inner(*args, **kwargs)
            if hasattr(value, '__await__'):
                return _filter_awaited(value, result_filter, exchange)
            return result_filter(value, exchange)

        request.handler = filtered


# The points of every request; hooks of errors that may wait go to a thread by themselves, wherever the rest runs.
_WAYS = tuple(point for point in HOOKPOINTS if not point.endswith('error_response'))


class OffloadHook(Hook):
    """Has a plain page handler, with what wraps it, called in a thread: the last hook before it in an async plan."""

    def __init__(self) -> None:
        super().__init__(self.wrap, False, inf)
        self.non_blocking = True

    def wrap(self) -> None:
        from ..context import current

        exchange = current()
        request = exchange.request
        inner = request.handler
        if not callable(inner) or isinstance(inner, BaseException) or is_async_callable(inner):
            return
        offload = exchange.app.offload_page

        def elsewhere(*args: Any, **kwargs: Any) -> Any:
            return offload(partial(inner, *args, **kwargs) if args or kwargs else inner)

        request.handler = elsewhere


async def _filter_awaited(value: Any, result_filter: Any, exchange: Any) -> Any:
    return result_filter(await value, exchange)


class Plan:
    """What every request to one page handler under one config does. Frozen after it was compiled.

    hooks of each point, e.g. `before_handler`: tuples of Hook, sorted.
    filters: functions (value, exchange) -> value on the page handler's result, innermost first.
    prepares: what filters want done just before the page handler.
    websocket: the settings of WebSockets, None for the usual ones.
    setups: tools and namespaces that are set up at each request, as calls that take the request.
    direct: the points whose hooks are called where the pipeline runs, one after another.
    plain_bodies: nothing was set on bodies or their classes, so that a short one may be read without a body object.
    plain_page: the page handler is plain, and may wait, where the plan is async for the sake of a hook.
    cancels: the run is cancelled when the client leaves.
    """

    __slots__ = (
        'after_error_response',
        'app',
        'before_error_response',
        'before_finalize',
        'before_handler',
        'before_request_body',
        'body_attrs',
        'cancels',
        'closes',
        'config',
        'content_type',
        'direct',
        'error_page',
        'error_response',
        'filters',
        'idle_ends',
        'is_async',
        'keep',
        'light',
        'methods_with_bodies',
        'non_blocking',
        'on_end_request',
        'on_end_resource',
        'on_start_resource',
        'overridden',
        'plain_bodies',
        'plain_end',
        'plain_form',
        'plain_page',
        'prepares',
        'process_request_body',
        'query_encoding',
        'query_separators',
        'quiet',
        'request_attrs',
        'request_class',
        'response_attrs',
        'response_headers',
        'setups',
        'short_bodies',
        'simple',
        'toolmaps',
        'websocket',
    )

    app: Application
    keep: Any
    light: bool
    config: dict[str, Any]
    request_class: Any
    request_attrs: dict[str, Any]
    body_attrs: tuple[tuple[str, Any], ...]
    response_attrs: tuple[tuple[str, Any], ...]
    response_headers: tuple[tuple[str, Any], ...]
    error_page: dict[Any, Any]
    error_response: Any
    setups: tuple[Any, ...]
    on_start_resource: tuple[Hook, ...]
    before_request_body: tuple[Hook, ...]
    before_handler: tuple[Hook, ...]
    before_finalize: tuple[Hook, ...]
    on_end_resource: tuple[Hook, ...]
    on_end_request: tuple[Hook, ...]
    before_error_response: tuple[Hook, ...]
    after_error_response: tuple[Hook, ...]
    filters: tuple[Any, ...]
    prepares: tuple[Any, ...]
    content_type: str
    direct: frozenset[str]
    methods_with_bodies: Any
    process_request_body: bool
    query_encoding: str
    query_separators: str
    overridden: frozenset[str]
    non_blocking: bool
    is_async: bool
    cancels: bool
    closes: bool
    idle_ends: tuple[Callable[[Any], bool], ...] | None
    simple: bool
    quiet: bool
    plain_bodies: bool
    plain_end: bool
    plain_form: bool
    plain_page: bool
    short_bodies: Any
    websocket: dict[str, Any] | None

    def __init__(self) -> None:
        self.toolmaps: dict[str, dict[str, dict[str, Any]]] = {}

    def hook_map(self) -> HookMap:
        """Give a HookMap of this plan's hooks that a request may change."""
        hooks = HookMap(HOOKPOINTS)
        for point in HOOKPOINTS:
            hooks[point] = list(getattr(self, point))
        return hooks

    def toolmaps_copy(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {ns: {name: dict(conf) for name, conf in tools.items()} for ns, tools in self.toolmaps.items()}

    def describe(self) -> str:
        """Say in text what was compiled: hooks by point, filters, attributes, per-request set-ups."""
        lines = [f'plan ({"async" if self.is_async else "sync"}{", plain page handler" if self.plain_page else ""})']
        for point in HOOKPOINTS:
            for hook in getattr(self, point):
                lines.append(f'  {point} {hook.priority}: {hook.callback!r} {hook.kwargs or ""}'.rstrip())
        lines.extend(f'  filter: {result_filter!r}' for result_filter in self.filters)
        lines.extend(f'  request.{name} = {value!r}' for name, value in self.request_attrs.items())
        lines.extend(f'  request.body.{name} = {value!r}' for name, value in self.body_attrs)
        lines.extend(f'  response.{name} = {value!r}' for name, value in self.response_attrs)
        lines.extend(f'  response.headers.{name} = {value!r}' for name, value in self.response_headers)
        lines.extend(f'  error_page.{code} = {value!r}' for code, value in self.error_page.items())
        lines.extend(f'  at each request: {setup!r}' for setup in self.setups)
        return '\n'.join(lines)


def compile_plan(app: Application, is_async: bool, merged: dict[str, Any], slash: str = '', keep: Any = ()) -> Plan:
    """Compile the plan for page handlers under the flat config `merged`; those of one colour share it.

    is_async: the colour of the page handlers. slash: as PlanBuilder has it.
    keep: the dicts that the plan's cache key is made of; held so that the key stays theirs.
    Raises ConfigError for an unknown hook point, tool or setting, naming key, value and the nearest known name.
    """
    plan = Plan()
    plan.app = app
    plan.keep = keep
    plan.config = merged
    request_class = plan.request_class = app.request_class
    builder = PlanBuilder(slash)
    for point, hooks in request_class.hooks.items():
        builder.hooks.setdefault(point, []).extend(hooks)

    groups: dict[str, list[tuple[str, Any, str]]] = {}
    for key, value in merged.items():
        if not isinstance(key, str):
            continue  # plain data, as in NamespaceSet
        namespace, dot, rest = key.partition('.')
        if dot:
            groups.setdefault(namespace, []).append((rest, value, key))

    for rest, value, key in groups.get('hooks', ()):
        _add_hook(plan, builder, rest, value, key)

    request_attrs: dict[str, Any] = {}
    body_attrs: list[tuple[str, Any]] = []
    for rest, value, key in groups.get('request', ()):
        if rest[:5] == 'body.':
            body_attrs.append((rest[5:], value))
        elif rest in OFF_BY_DEFAULT and value is False and not getattr(request_class, rest, True):
            # PERF: environments switch these off; where they never were on, no request need be told.
            continue
        else:
            request_attrs[rest] = value
            if rest not in CONFIG_ONLY and not hasattr(request_class, rest):
                app.report_unknown(key, value, [f'request.{n}' for n in dir(request_class) if n[:1] != '_'])
    plan.request_attrs = request_attrs
    plan.body_attrs = tuple(body_attrs)

    response_attrs: list[tuple[str, Any]] = []
    response_headers: list[tuple[str, Any]] = []
    for rest, value, key in groups.get('response', ()):
        if rest[:8] == 'headers.':
            response_headers.append((rest[8:], value))
        else:
            response_attrs.append((rest, value))
            if not hasattr(app.response_class, rest):
                app.report_unknown(key, value, [f'response.{n}' for n in dir(app.response_class) if n[:1] != '_'])
    plan.response_attrs = tuple(response_attrs)
    plan.response_headers = tuple(response_headers)

    plan.error_page = dict(getattr(request_class, 'error_page', None) or {})
    for rest, value, key in groups.get('error_page', ()):
        plan.error_page[rest if rest == 'default' else _code(plan, rest, value, key)] = value

    entries = groups.get('websocket')
    plan.websocket = None if entries is None else _websocket_settings(plan, entries)

    setups: list[Any] = []
    toolboxes = dict(app.toolboxes)
    known_namespaces = dict(request_class.namespaces)
    for namespace in [*known_namespaces, *toolboxes]:
        box = toolboxes.get(namespace)
        if box is None:
            box = known_namespaces[namespace]
        entries = groups.get(namespace, [])
        if hasattr(box, 'register') and hasattr(box, 'names'):
            _add_tools(plan, builder, box, namespace, entries, setups)
        elif entries or hasattr(box, '__exit__'):
            setups.append(NamespaceSetup(namespace, box, [(rest, value) for rest, value, _ in entries]))
    plan.setups = tuple(setups)
    app.report_unknown_namespaces(groups, {*known_namespaces, *toolboxes})

    for point in HOOKPOINTS:
        setattr(plan, point, tuple(sorted(builder.hooks[point])))
    plan.before_handler, plan.filters, plan.prepares = _take_filters(plan.before_handler)
    plan.error_response = builder.error_response
    from .body import is_as_shipped

    plan.plain_bodies = not body_attrs and is_as_shipped()
    plan.short_bodies = None
    if builder.short_bodies is not None and not setups and plan.plain_bodies:
        hook, taker = builder.short_bodies
        if plan.before_request_body == (hook,) and request_attrs.get('process_request_body', True):
            plan.short_bodies = taker

    plan.content_type = 'text/html'
    setting = request_attrs.get
    if setting('debug') and setting('debug_remote') is True:
        app.warn_of_debug_pages()
    plan.methods_with_bodies = frozenset(setting('methods_with_bodies', _default(request_class, 'methods_with_bodies')))
    plan.process_request_body = setting('process_request_body', _default(request_class, 'process_request_body'))
    plan.query_encoding = setting('query_string_encoding', _default(request_class, 'query_string_encoding'))
    plan.query_separators = setting('query_string_separators', _default(request_class, 'query_string_separators'))
    plan.overridden = _overridden(request_class)
    plan.non_blocking = bool(setting('non_blocking', False))
    plan.cancels = _is_cancelled(plan, setting('on_disconnect', _default(request_class, 'on_disconnect')))
    # The colour is that of the page handler, or of any hook that runs with it.
    plan.is_async = (
        is_async or builder.is_async or any(hook.is_async for point in HOOKPOINTS for hook in getattr(plan, point))
    )
    plan.plain_page = plan.is_async and not is_async and not plan.non_blocking
    if plan.plain_page:
        plan.before_handler += (OffloadHook(),)
    plan.direct = frozenset(
        point
        for point in HOOKPOINTS
        if all(
            type(h) is Hook and not h.is_async and (h.non_blocking or not plan.is_async) for h in getattr(plan, point)
        )
    )
    plan.closes = bool(plan.on_end_request) or request_class.close is not Request.close
    # Hooks that can say beforehand that they have nothing to do.
    idles: list[Any] = [getattr(hook.callback, 'idle', None) for hook in plan.on_end_request]
    plan.idle_ends = tuple(idles) if all(idles) and request_class.close is Request.close else None
    plan.simple = not (plan.setups or plan.overridden or plan.response_attrs or plan.response_headers) and (
        request_class.__init__ is Request.__init__
    )
    plan.light = (
        plan.simple
        and all(hook.non_blocking for point in _WAYS for hook in getattr(plan, point))
        and not any(callable(page) for page in plan.error_page.values())
    )
    plan.quiet = (
        plan.simple
        and 'GET' not in plan.methods_with_bodies
        and not (plan.on_start_resource or plan.before_request_body or plan.before_handler)
        and not app.publishes
    )
    plan.plain_form = (
        plan.simple
        and plan.plain_bodies
        and not plan.before_request_body
        and plan.query_separators == '&'
        and bool(plan.process_request_body)
    )
    plan.plain_end = plan.simple and not plan.before_finalize
    return plan


# Keys of the request namespace that are read from config alone.
CONFIG_ONLY = frozenset(('uri_encoding', 'dispatch', 'non_blocking'))

OFF_BY_DEFAULT = ('debug', 'debug_remote')


def _is_cancelled(plan: Plan, policy: Any) -> bool:
    """Say whether a policy for clients that leave is to cancel; ValueError for one that there is not."""
    if policy not in ('finish', 'cancel'):
        key = 'request.on_disconnect'
        where = _entry(plan, key, policy) if key in plan.config else f'{key} = {policy!r}'
        raise ValueError(f"{where}: what is done when a client leaves is 'finish' or 'cancel'.")
    return bool(policy == 'cancel')


def _default(request_class: Any, name: str) -> Any:
    return getattr(request_class, name)


def _overridden(request_class: Any) -> frozenset[str]:
    """Name the lifecycle methods that a subclass of Request overrides."""
    return frozenset(name for name in LIFECYCLE if getattr(request_class, name) is not getattr(Request, name))


def _entry(plan: Plan, key: str, value: Any) -> str:
    """Name a config entry in a message: key, value, and where it stands."""
    app = plan.app
    holders = [conf for conf, *_ in plan.keep if key in conf]
    sections = [path for path, conf in app.config.items() if isinstance(conf, Mapping) and key in conf]
    if holders:
        path = next((path for path in sections if app.config[path] is holders[-1]), None)
        place = 'in a _cp_config' if path is None else f'in section [{path}]'
    elif sections:
        # A dispatcher that merges by itself does not say which of them it took.
        place = f'in section [{max(sections, key=len)}]'
    else:
        place = 'in global config' if key in app.site.config else 'in a _cp_config'
    text = repr(value)
    return f'{key!r} = {text if len(text) <= 60 else text[:57] + "..."} {place}'


def _code(plan: Plan, rest: str, value: Any, key: str) -> int:
    try:
        return int(rest)
    except ValueError:
        raise ValueError(
            f"{_entry(plan, key, value)}: an error page is named by a status code or 'default', not {rest!r}."
        ) from None


def _websocket_settings(plan: Plan, entries: list[tuple[str, Any, str]]) -> dict[str, Any]:
    """Give the settings of WebSockets, checked; unknown ones are reported."""
    from .websocket import SETTINGS, check_setting

    settings = dict(SETTINGS)
    for rest, value, key in entries:
        if rest not in SETTINGS:
            plan.app.report_unknown(key, value, [f'websocket.{name}' for name in SETTINGS])
            continue
        settings[rest], problem = check_setting(rest, value)
        if problem:
            raise ConfigError(f'{_entry(plan, key, value)}: {problem}.')
    return settings


def _add_hook(plan: Plan, builder: PlanBuilder, rest: str, value: Any, key: str) -> None:
    point = rest.split('.', 1)[0]
    if point not in builder.hooks:
        near = nearest(point, HOOKPOINTS)
        hint = f' Did you mean {"hooks." + near!r}?' if near else ''
        raise KeyError(f'{_entry(plan, key, value)}: there is no hook point {point!r}.{hint}')
    if isinstance(value, str):
        from ..unrepr import attributes

        try:
            value = attributes(value)
        except (ImportError, AttributeError, ValueError) as exc:
            raise type(exc)(f'{_entry(plan, key, value)}: {exc}') from exc
    if not callable(value):
        raise TypeError(f'{_entry(plan, key, value)}: a hook is a callable, its dotted name, or a Hook.')
    builder.attach_hook(point, value if isinstance(value, Hook) else Hook(value))


def _add_tools(
    plan: Plan,
    builder: PlanBuilder,
    box: Any,
    namespace: str,
    entries: list[tuple[str, Any, str]],
    setups: list[Any],
) -> None:
    """Collect the settings of a toolbox's tools and compile those that are on, in order of first appearance."""
    settings: dict[str, dict[str, Any]] = {}
    keys: dict[tuple[str, str], str] = {}
    for rest, value, key in entries:
        name, dot, arg = rest.partition('.')
        if not dot:
            raise ValueError(
                f'{_entry(plan, key, value)}: a tool is switched by {key + ".on"!r}, and set by {key + ".<setting>"!r}.'
            )
        settings.setdefault(name, {})[arg] = value
        keys[name, arg] = key
    plan.toolmaps[namespace] = settings
    dynamic = any(
        conf.get('on') and getattr(box, name, None) is not None and not compiles(getattr(box, name))
        for name, conf in settings.items()
    )
    for name, conf in settings.items():
        tool = getattr(box, name, None)
        if not conf.get('on'):
            if tool is None:
                plan.app.report_unknown(
                    keys[name, next(iter(conf))], next(iter(conf.values())), [f'{namespace}.{n}' for n in box.names()]
                )
            continue
        if tool is None:
            near = nearest(name, box.names())
            hint = f' Did you mean {namespace + "." + near!r}?' if near else ''
            raise AttributeError(
                f'{type(box).__name__!r} object has no attribute {name!r}: '
                f'there is no such tool for {_entry(plan, keys[name, "on"], conf["on"])}.{hint}'
            )
        own = {key: value for key, value in conf.items() if key != 'on'}
        switch = keys[name, 'on']
        try:
            if hasattr(tool, 'check'):
                tool.check(own)
        except BadSetting as exc:
            raise ValueError(f'{_entry(plan, keys[name, exc.key], conf[exc.key])}: {exc.problem}.') from None
        if not compiles(tool):
            setups.append(ToolSetup(box, name))
            callables = (getattr(tool, 'newhandler', getattr(tool, 'callable', None)), tool._setup)
            builder.is_async |= any(map(is_async_callable, callables))
            continue
        # A tool of the older kind is set up at each request: so are its neighbours, to keep their order.
        part = PlanBuilder(builder.slash) if dynamic else builder
        try:
            tool.compile(part, own)
        except UnknownSetting as exc:
            near = nearest(exc.key, exc.accepted)
            hint = f' Did you mean {near!r}?' if near else ''
            raise TypeError(
                f'{_entry(plan, keys[name, exc.key], conf[exc.key])}: the {name!r} tool has no setting {exc.key!r}; '
                f'it takes: {", ".join(sorted(exc.accepted)) or "none"}.{hint}'
            ) from None
        except BadSetting as exc:
            raise ValueError(f'{_entry(plan, keys[name, exc.key], conf[exc.key])}: {exc.problem}.') from None
        except MissingSetting as exc:
            raise TypeError(
                f'{_entry(plan, switch, conf["on"])}: the {name!r} tool needs the setting '
                f'{" and ".join(map(repr, exc.names))}; give {f"{namespace}.{name}.{exc.names[0]}"!r} as well.'
            ) from None
        except ConfigError:
            raise
        except Exception as exc:
            # Whatever it is, it is of this entry.
            raise ConfigError(f'{_entry(plan, switch, conf["on"])}: {exc}') from exc
        if dynamic:
            setup = CompiledSetup(box, name, conf, part)
            setups.append(setup)
            builder.is_async |= part.is_async or any(hook.is_async for _, hook in setup.hooks)


class NamespaceSetup:
    """Applies a custom config namespace to each request: a callable (key, value), or a context manager of one."""

    def __init__(self, name: str, handler: Any, entries: list[tuple[str, Any]]) -> None:
        self.name = name
        self.handler = handler
        self.entries = entries

    def __call__(self, request: Any) -> None:
        handler = self.handler
        if not hasattr(handler, '__exit__'):
            self._hand_out(handler)
            return
        with handler as handle:
            self._hand_out(handle)

    def _hand_out(self, handle: Any) -> None:
        for key, value in self.entries:
            refuse_awaitable(handle(key, value), 'The handler of the config namespace %r', self.name)

    def __repr__(self) -> str:
        return f'namespace {self.handler!r} {self.entries!r}'


class ToolSetup:
    """Calls the `_setup` of a tool at each request; gives what is to be awaited of an async one."""

    def __init__(self, box: Any, name: str) -> None:
        self.box = box
        self.name = name

    def __call__(self, request: Any) -> Any:
        return getattr(self.box, self.name)._setup()

    def __repr__(self) -> str:
        return f'tool {self.box.namespace}.{self.name}'


class CompiledSetup(ToolSetup):
    """Attaches at each request what a tool was compiled to; calls its `_setup` if `request.toolmaps` says otherwise."""

    def __init__(self, box: Any, name: str, conf: dict[str, Any], part: PlanBuilder) -> None:
        super().__init__(box, name)
        self.conf = conf
        self.hooks = [(point, hook) for point, hooks in part.hooks.items() for hook in hooks]
        self.error_response = part.error_response

    def __call__(self, request: Any) -> Any:
        toolmaps = request.__dict__.get('toolmaps')
        if toolmaps is not None:
            conf = toolmaps.get(self.box.namespace, {}).get(self.name, {})
            if conf != self.conf:
                return super().__call__(request) if conf.get('on') else None
        if self.hooks:
            attached = request.hooks
            for point, hook in self.hooks:
                attached[point].append(hook)
        if self.error_response is not None:
            request.error_response = self.error_response
        return None


def _take_filters(hooks: tuple[Hook, ...]) -> tuple[tuple[Hook, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Take the filters off the end of the before_handler hooks: those that nothing wraps afterwards.

    Neutral hooks, which neither read nor replace the page handler, may stand between them.
    """
    rest: list[Hook] = []
    filters: list[Any] = []
    taking = True
    for hook in reversed(hooks):
        if taking and isinstance(hook, FilterHook):
            filters.append(hook)
            continue
        if not getattr(hook.callback, 'neutral', False):
            taking = False
        rest.append(hook)
    filters.reverse()
    rest.reverse()
    found = [hook.filter for hook in filters]
    prepares = tuple(f.prepare for f in found if getattr(f, 'prepare', None) is not None)
    # PERF: a bound method is called in half the time that an object with __call__ is.
    return tuple(rest), tuple([f if hasattr(f, '__code__') else f.__call__ for f in found]), prepares


def handler_key(handler: Any) -> Any:
    """Give what a page handler is known by for long: the function of a method, the class of a callable object.

    What is made anew for each request, a method or a node of `_cp_dispatch`, so shares one plan.
    """
    if type(handler) is MethodType:
        return handler.__func__
    if hasattr(handler, '__code__') or not hasattr(type(handler).__call__, '__code__'):
        return id(handler)
    return type(handler)
