"""Tools: hooks, handlers and handler wrappers that are switched on by config.

A tool says once, when a plan is compiled, what it contributes (`compile`): hooks with their settings bound, a
filter on the page handler's result, an error response, or nothing at all. A tool written for CherryPy overrides
`_setup` instead; that runs for each request, as it always did. Which tools exist is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..changes import changed
from ..context import current
from ..errors import NotFound
from .hooks import is_async_callable
from .namespaces import add_config

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'BadSetting',
    'ErrorTool',
    'FilterTool',
    'HandlerTool',
    'HandlerWrapperTool',
    'MissingSetting',
    'Tool',
    'UnknownSetting',
    'compiles',
    'parameter_names',
    'required_names',
]


def parameter_names(call: Any) -> tuple[list[str], set[str], bool]:
    """Give (positional names in order without self, all accepted names, whether ** is taken) of a callable.

    Read from code objects: inspect.signature is ten times slower, and the names are all that is wanted.
    """
    if hasattr(call, 'func') and hasattr(call, 'args') and hasattr(call, 'keywords'):  # functools.partial
        names, accepted, open_ended = parameter_names(call.func)
        bound_names = names[: len(call.args)]
        return names[len(bound_names) :], accepted.difference(bound_names), open_ended
    if isinstance(call, type):
        call = call.__init__  # type: ignore[misc]
        bound = True
    elif hasattr(call, '__func__'):
        call, bound = call.__func__, True
    elif hasattr(call, '__code__'):
        bound = False
    else:
        call = getattr(type(call), '__call__', call)  # noqa: B004
        bound = True
    code = getattr(call, '__code__', None)
    if code is None:
        return [], set(), True
    names = list(code.co_varnames[: code.co_argcount])
    if bound:
        names = names[1:]
    accepted = set(names) | set(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])
    return names, accepted, bool(code.co_flags & 0x08)


def required_names(call: Any) -> list[str]:
    """Give the names of a callable's parameters that have no default, in order, without self."""
    names, _, _ = parameter_names(call)
    bound: Any = ()
    while hasattr(call, 'func') and hasattr(call, 'args') and hasattr(call, 'keywords'):  # functools.partial
        bound = {*bound, *call.keywords}
        call = call.func
    if isinstance(call, type):
        call = call.__init__  # type: ignore[misc]
    elif not hasattr(call, '__code__') and not hasattr(call, '__func__'):
        call = getattr(type(call), '__call__', call)  # noqa: B004
    call = getattr(call, '__func__', call)
    optional = len(getattr(call, '__defaults__', None) or ())
    code = getattr(call, '__code__', None)
    if code is not None:
        keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        defaults = getattr(call, '__kwdefaults__', None) or {}
        names = [*names[: len(names) - optional], *(name for name in keywords if name not in defaults)]
    return [name for name in names if name not in bound]


_ON_ERROR = (
    'CherryPy Tools cannot be turned on directly. Instead, turn them on via config, '
    'or use them as decorators on your page handlers.'
)


# The attributes of a tool that plans rest on.
PLANNED = frozenset(
    ('_name', '_point', '_priority', '_setup', 'callable', 'compile', 'make_filter', 'namespace', 'newhandler')
)

_Decorated = TypeVar('_Decorated')


class Tool:
    """A callable that runs at one hook point of every request for which config says `tools.<name>.on`.

    point: one of hooks.HOOKPOINTS.
    callable: called with the settings of config as keyword arguments; plain or async. An attribute `checks` of it, a
        dict, may name for each setting a function that gives '' for a good value, else what is wrong with it.
    name: by default the attribute of the toolbox it is assigned to.
    priority: lower runs first.
    """

    namespace = 'tools'
    callable: Any

    def __init__(self, point: str | None, callable: Any, name: str | None = None, priority: float = 50) -> None:
        self._point = point
        self.callable = callable
        self._name = name
        self._priority = priority
        self.__doc__ = getattr(callable, '__doc__', None)
        self._setargs()

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        # What an extension keeps on its tool, such as a counter, is in no plan unless a `compile` of its own reads it.
        if name in PLANNED or type(self).compile.__module__ != __name__:
            changed()

    @property
    def on(self) -> bool:
        raise AttributeError(_ON_ERROR)

    @on.setter
    def on(self, value: bool) -> None:
        raise AttributeError(_ON_ERROR)

    def _setargs(self) -> None:
        """Set one attribute per parameter of the callable, all None: they document the settings."""
        names, _, _ = parameter_names(self.callable)
        for name in names:
            if not hasattr(type(self), name):
                setattr(self, name, None)

    def _merged_args(self, d: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give `d` overlaid by the settings that config holds for this tool and request, without `on`."""
        conf = dict(d) if d else {}
        toolmaps = current().request.toolmaps
        conf.update(toolmaps.get(self.namespace, {}).get(self._name, {}))
        conf.pop('on', None)
        return conf

    def __call__(self, *args: Any, **kwargs: Any) -> Callable[[_Decorated], _Decorated]:
        """Give a decorator that switches the tool on, with these settings, for a page handler or class."""
        if args:
            raise TypeError(
                f'The {self._name!r} Tool does not accept positional arguments; you must use keyword arguments.'
            )

        def tool_decorator(f: _Decorated) -> _Decorated:
            prefix = f'{self.namespace}.{self._name}.'
            settings = {f'{prefix}on': True, **{prefix + key: value for key, value in kwargs.items()}}
            decorated: _Decorated = add_config(f, settings)
            return decorated

        return tool_decorator

    def _setup(self) -> None:
        """Attach the tool to the current request. A subclass that overrides this is set up at each request."""
        conf = self._merged_args()
        priority = self._take_priority(conf)
        current().request.hooks.attach(self._point, self.callable, priority=priority, **conf)

    def _take_priority(self, settings: dict[str, Any]) -> float:
        priority: float | None = settings.pop('priority', None)
        if priority is None:
            priority = getattr(self.callable, 'priority', self._priority)
        return priority

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        """Put this tool's hooks, with `settings` bound, into the plan that `builder` is making.

        settings: a fresh dict without `on`. UnknownSetting names one that the callable does not take, MissingSetting
        those that it needs; both are TypeErrors.
        """
        priority = self._take_priority(settings)
        self._check_settings(settings)
        builder.attach(self._point or 'before_handler', self.callable, priority=priority, **settings)

    def check(self, settings: dict[str, Any]) -> None:
        """Raise BadSetting for a value that could only fail once a request comes, as `checks` of the callable says.

        settings: those of config, without `on`. The plan calls it before `compile`.
        """
        checks = getattr(self.callable, 'checks', None) or {}
        for key, value in settings.items():
            check = _check_priority if key == 'priority' else checks.get(key)
            problem = check(value) if check is not None else ''
            if problem:
                raise BadSetting(key, problem)

    def _check_settings(self, settings: dict[str, Any]) -> None:
        _, accepted, open_ended = parameter_names(self.callable)
        for key in settings:
            if key not in accepted and not open_ended:
                raise UnknownSetting(key, accepted)
        missing = [name for name in required_names(self.callable) if name not in settings]
        if missing:
            raise MissingSetting(missing)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.namespace}.{self._name} at {self._point}>'


def _check_priority(value: Any) -> str:
    return '' if value is None or isinstance(value, (int, float)) else 'it has to be a number'


class BadSetting(ValueError):
    """A tool's setting that cannot be meant; the plan adds key, value and path. problem: 'it has to be a number'."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f'the setting {key!r}: {problem}')
        self.key = key
        self.problem = problem


class MissingSetting(TypeError):
    """Settings of a tool that have no default and are not in config; the plan adds the path."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f'it needs {" and ".join(map(repr, names))}')
        self.names = names


class UnknownSetting(TypeError):
    """A tool's setting that its callable has no parameter for; the plan adds key, value and path."""

    def __init__(self, key: str, accepted: set[str]) -> None:
        super().__init__(f'unexpected setting {key!r}; it takes: {", ".join(sorted(accepted)) or "none"}')
        self.key = key
        self.accepted = accepted


def compiles(tool: Any) -> bool:
    """Say whether `tool` can be compiled: False if something overrides `_setup` further down than `compile`."""
    if '_setup' in getattr(tool, '__dict__', ()):
        return False
    for cls in type(tool).__mro__:
        if 'compile' in cls.__dict__:
            return True
        if '_setup' in cls.__dict__:
            return False
    return False


class HandlerTool(Tool):
    """A tool whose callable may serve the whole response: a true result skips the page handler."""

    def __init__(self, callable: Any, name: str | None = None) -> None:
        super().__init__('before_handler', callable, name)

    def handler(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Give an exposed page handler that calls the tool; config overrides `kwargs`; NotFound if it declines."""

        if is_async_callable(self.callable):

            async def handle_func(*a: Any, **kw: Any) -> Any:
                return _body_if(await self.callable(*args, **self._merged_args(kwargs)))

        else:

            def handle_func(*a: Any, **kw: Any) -> Any:  # type: ignore[misc]
                taken = self.callable(*args, **self._merged_args(kwargs))
                # A wrapper of an async callable looks plain until it is called.
                return _later(taken, _body_if) if hasattr(taken, '__await__') else _body_if(taken)

        handle_func.exposed = True  # type: ignore[attr-defined]
        return handle_func

    def _wrapper(self) -> Callable[..., Any]:
        call = self.callable
        if is_async_callable(call):

            async def awrapper(**kwargs: Any) -> None:
                _skip_if(await call(**kwargs))

            return awrapper

        def wrapper(**kwargs: Any) -> Any:
            taken = call(**kwargs)
            if hasattr(taken, '__await__'):
                return _later(taken, _skip_if)
            if taken:
                current().request.handler = None
            return None

        return wrapper

    def _setup(self) -> None:
        conf = self._merged_args()
        priority = self._take_priority(conf)
        current().request.hooks.attach(self._point, self._wrapper(), priority=priority, **conf)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        builder.attach('before_handler', self._wrapper(), priority=priority, **settings)


def _body_if(taken: Any) -> Any:
    if not taken:
        raise NotFound()
    return current().response.body


def _skip_if(taken: Any) -> None:
    if taken:
        current().request.handler = None


async def _later(awaitable: Any, decide: Callable[[Any], Any]) -> Any:
    return decide(await awaitable)


class HandlerWrapperTool(Tool):
    """A tool that calls the page handler itself: `newhandler(inner, *args, **kwargs)` stands in its place.

    A lower priority wraps first, so it is the innermost. To an async `newhandler` the page handler, whatever its
    colour, is something to be awaited: `value = await inner(*args, **kwargs)`; a plain one runs in a thread then. A
    plain `newhandler` gets the value of a plain page handler, and an awaitable from an async one.
    """

    def __init__(
        self, newhandler: Any, point: str = 'before_handler', name: str | None = None, priority: float = 50
    ) -> None:
        self.newhandler = newhandler
        super().__init__(point, self.wrap, name, priority)
        self.__doc__ = getattr(newhandler, '__doc__', None)

    def _setargs(self) -> None:
        pass

    def wrap(self, *args: Any, **kwargs: Any) -> None:
        """Put the new handler in place of the request's. Settings of config are not passed on."""
        exchange = current()
        request = exchange.request
        inner = request.handler
        newhandler = self.newhandler
        if is_async_callable(newhandler):
            if inner is not None:
                inner = _awaitable(inner, exchange)

            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                return await newhandler(inner, *args, **kwargs)

        else:

            def wrapped(*args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
                return newhandler(inner, *args, **kwargs)

        request.handler = wrapped

    wrap.non_blocking = True  # type: ignore[attr-defined]

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        super().compile(builder, settings)
        if is_async_callable(self.newhandler):
            builder.is_async = True

    @property
    def callable(self) -> Any:
        return self.wrap

    @callable.setter
    def callable(self, value: Any) -> None:
        pass


def _awaitable(inner: Any, exchange: Any) -> Callable[..., Any]:
    """Give the async twin of a page handler, or of what wraps it: plain code stays off the event loop."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        if exchange.on_loop and exchange.plan.plain_page and not is_async_callable(inner):
            value = await exchange.app.offload_page(partial(inner, *args, **kwargs))
        else:
            value = inner(*args, **kwargs)
        return await value if hasattr(value, '__await__') else value

    return call


class ErrorTool(Tool):
    """A tool that replaces the response to an unanticipated error; the last one set up wins."""

    def __init__(self, callable: Any, name: str | None = None) -> None:
        super().__init__(None, callable, name)

    def _wrapper(self) -> Callable[[], Any]:
        def respond() -> Any:
            return self.callable(**self._merged_args())

        # Calling an async function waits for nothing yet.
        call = self.callable
        respond.non_blocking = is_async_callable(call) or getattr(call, 'non_blocking', False)  # type: ignore[attr-defined]
        return respond

    def _setup(self) -> None:
        current().request.error_response = self._wrapper()

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        self._check_settings({key: value for key, value in settings.items() if key != 'priority'})
        builder.error_response = self._wrapper()


class FilterTool(Tool):
    """A tool that changes what the page handler returned, such as encoding it.

    make_filter(**settings) gives `filter(value, exchange) -> value`, or None where the callable has to run as the
    hook it is. Where nothing else wraps the page handler after it, the pipeline calls the filter on the handler's
    result, with no wrapper in between; elsewhere it wraps `request.handler` at its priority.
    prepare(exchange), if given, runs at the tool's hook point, before the page handler.
    """

    def __init__(
        self,
        make_filter: Callable[..., Callable[[Any, Any], Any] | None],
        callable: Any,
        name: str | None = None,
        priority: float = 50,
    ) -> None:
        self.make_filter = make_filter
        super().__init__('before_handler', callable, name, priority)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        result_filter = self.make_filter(**settings)
        if result_filter is None:
            builder.attach('before_handler', self.callable, priority=priority, **settings)
        else:
            builder.add_filter(result_filter, priority)
