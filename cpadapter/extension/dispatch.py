"""Dispatchers: from a path to a page handler and the config that applies to it.

The default dispatcher walks the object tree; the others look up methods, routes or hosts and leave the walk to it.
What a dispatcher finds goes to the exchange (`found`); merging config and compiling plans is core's business.

A dispatcher of one's own is any callable that takes path_info and sets `request.handler` and `request.config`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import CherryPyException, HTTPError, HTTPRedirect, NotFound
from ..protocol.messages import CrossFirst
from ..protocol.uri import urljoin

if TYPE_CHECKING:
    from ..core.pipeline import Exchange

__all__ = [
    'Dispatcher',
    'LateParamPageHandler',
    'MethodDispatcher',
    'PageHandler',
    'RoutesDispatcher',
    'VirtualHost',
    'XMLRPCDispatcher',
    'is_plain',
    'mismatch',
    'punctuation_to_underscores',
    'test_callable_spec',
    'validate_translator',
]

EXPOSED = {'exposed': True}
NOTHING: dict[str, Any] = {}
# A function with these attributes only has nothing below it.
LEAF = frozenset(('exposed', '_cp_config', '__wrapped__'))

# (page handler or None, positional arguments, is_index, config dicts met with their depth)
Found = tuple[Any, Sequence[str], 'bool | None', 'list[tuple[int, Any]] | None']

punctuation_to_underscores = str.maketrans(string.punctuation, '_' * len(string.punctuation))


class PageHandler:
    """A page handler with the arguments it will be called with; `request.handler` is one after dispatch."""

    def __init__(self, callable: Any, *args: Any, **kwargs: Any) -> None:
        self.callable = callable
        self.args = args
        self.kwargs = kwargs

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments, kept in `request.args`."""
        args: tuple[Any, ...] = current().request.args
        return args

    @args.setter
    def args(self, args: Sequence[Any]) -> None:
        current().request.args = tuple(args)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments, kept in `request.kwargs`."""
        kwargs: dict[str, Any] = current().request.kwargs
        return kwargs

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        current().request.kwargs = kwargs

    def __call__(self) -> Any:
        return call_handler(self.callable, self.args, self.kwargs)


class LateParamPageHandler(PageHandler):
    """A page handler that takes `request.params` as they are at the moment of the call."""

    @property
    def kwargs(self) -> dict[str, Any]:
        request = current().request
        kwargs = dict(request.params)
        if request.kwargs:
            kwargs.update(request.kwargs)
        return kwargs

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        current().request.kwargs = kwargs


def call_handler(call: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a page handler; a TypeError that means the client's arguments do not fit becomes a 404 or 400."""
    try:
        return call(*args, **kwargs)
    except TypeError as exc:
        error = mismatch(call, args, kwargs, exc)
        if error is not None:
            raise error from exc
        raise


def mismatch(call: Any, args: Sequence[Any], kwargs: dict[str, Any], exc: TypeError) -> HTTPError | None:
    """Say which HTTPError a TypeError from calling a page handler stands for; None if it is the handler's own.

    Only the call itself may fail so: an exception from inside the handler's body, however alike, is left alone.
    A decorated handler is judged by its own signature first, then by the one functools.wraps names.
    """
    try:
        test_callable_spec(call, args, kwargs)
    except HTTPError as error:
        return error
    wrapped = getattr(call, '__wrapped__', None)
    if wrapped is None:
        return None
    seen = set()
    while hasattr(wrapped, '__wrapped__') and id(wrapped) not in seen:
        seen.add(id(wrapped))
        wrapped = wrapped.__wrapped__
    code = getattr(wrapped, '__code__', None)
    tb = exc.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code is code:
            return None
        tb = tb.tb_next
    bound: Any = wrapped
    if isinstance(call, MethodType) and not isinstance(wrapped, MethodType):
        bound = MethodType(wrapped, call.__self__)
    try:
        test_callable_spec(bound, args, kwargs)
    except HTTPError as error:
        return error
    return None


def test_callable_spec(callable: Any, callable_args: Sequence[Any], callable_kwargs: dict[str, Any]) -> None:
    """Raise the HTTPError for arguments that `callable` does not take; None if it takes them.

    Missing parameters, surplus path segments and unknown query parameters give 404; unknown or repeated
    parameters that came in the body give 400. The message is shown if `request.show_mismatched_params`.
    """
    import inspect

    try:
        parameters = list(inspect.signature(callable, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):
        return  # a builtin tells no signature: its TypeError is its own
    request = current().request
    show = getattr(request, 'show_mismatched_params', False)
    kinds = inspect.Parameter
    positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    by_name = {p.name for p in parameters if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    varargs = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
    varkw = any(p.kind is kinds.VAR_KEYWORD for p in parameters)
    filled = [p.name for p in positional[: len(callable_args)]]
    missing = [
        p.name
        for i, p in enumerate(parameters)
        if p.default is kinds.empty
        and p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
        and p.name not in filled
        and (p.name not in callable_kwargs or p.kind is kinds.POSITIONAL_ONLY)
    ]
    if missing:
        raise HTTPError(404, f'Missing parameters: {",".join(missing)}' if show else None)
    if len(callable_args) > len(positional) and not varargs:
        raise HTTPError(404)
    body_params = _body_params(request)
    multiple = [name for name in filled if name in callable_kwargs and name in by_name]
    if multiple:
        status = 404 if any(name not in body_params for name in multiple) else 400
        raise HTTPError(status, f'Multiple values for parameters: {",".join(multiple)}' if show else None)
    if varkw:
        # What a method is bound to cannot be given by name.
        func = getattr(callable, '__func__', type(callable).__call__)
        code = None if isinstance(callable, (FunctionType, type)) else getattr(func, '__code__', None)
        bound = () if code is None or code.co_posonlyargcount else code.co_varnames[: min(code.co_argcount, 1)]
        extra = [name for name in bound if name in callable_kwargs]
    else:
        extra = [name for name in callable_kwargs if name not in by_name]
    if not extra:
        return
    in_query = [name for name in extra if name not in body_params]
    if in_query:
        raise HTTPError(404, f'Unexpected query string parameters: {", ".join(in_query)}' if show else None)
    raise HTTPError(400, f'Unexpected body parameters: {", ".join(extra)}' if show else None)


test_callable_spec.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest thinks


def _body_params(request: Any) -> dict[str, Any]:
    body = getattr(request, 'body', None)
    return getattr(body, 'params', None) or {}


def validate_translator(t: Any) -> None:
    """Raise ValueError unless `t` is a dict, as str.translate wants it."""
    if not isinstance(t, dict):
        raise ValueError('The translate argument must be a dict.')


class Dispatcher:
    """The default dispatcher: walks a tree of objects, one attribute a path segment.

    dispatch_method_name: the method a node may have to dispatch names that are not its attributes.
    translate: a table for str.translate, applied to a segment before it is looked up as an attribute.
    """

    dispatch_method_name: str = '_cp_dispatch'

    def __init__(
        self, dispatch_method_name: str | None = None, translate: dict[int, Any] = punctuation_to_underscores
    ) -> None:
        validate_translator(translate)
        self.translate = translate
        if dispatch_method_name:
            self.dispatch_method_name = dispatch_method_name
        # Identifiers hold no punctuation but the underscore, so that the usual table leaves them as they are.
        self._skip_identifiers = translate is punctuation_to_underscores

    def __call__(self, path_info: str) -> None:
        """Set `request.handler`, `request.config` and `request.is_index` for `path_info`."""
        request = current().request
        func, vpath = self.find_handler(path_info)
        request.handler = LateParamPageHandler(func, *vpath) if func is not None else NotFound()

    def find_handler(self, path: str) -> tuple[Any, list[str]]:
        """Give (page handler, the segments it gets as positional arguments); (None, []) if there is none.

        Sets `request.config` and `request.is_index` as it goes.
        """
        exchange = current()
        func, vpath, is_index, confs = self.find(exchange, path)
        request = exchange.request
        request.config = exchange.app.merged_config(confs or ())
        request.is_index = is_index
        return func, list(vpath)

    def open(self, exchange: Exchange, path: str) -> None:
        """Find the page handler for the pipeline, without a Request: sets handler, args, is_index and confs."""
        exchange.handler, exchange.args, exchange.is_index, exchange.confs = self.find(exchange, path)

    def find(self, exchange: Exchange, path: str) -> Found:
        """Walk the tree along `path`; give (page handler or None, vpath, is_index, confs).

        confs: (depth, dict) pairs in the order they are merged, each `_cp_config` and each config section met;
            None if there are none.
        """
        app = exchange.app
        node = app.root
        sections = app.sections
        confs = None
        conf = getattr(node, '_cp_config', None)
        if conf:
            confs = [(0, conf)]
        conf = app.root_section
        if conf:
            if confs is None:
                confs = [(0, conf)]
            else:
                confs.append((0, conf))

        names = values = [name for name in path.split('/') if name] if path != '/' else []
        if '%2' in path:
            segments = exchange.head.segments
            if segments is not None and len(segments) >= len(names):
                # The last ones: a mount's own names stand before them.
                values = segments[len(segments) - len(names) :]
            else:
                # COMPAT: servers that keep an encoded slash in PATH_INFO leave it to us.
                values = [name.replace('%2F', '/').replace('%2f', '/') for name in names]
        count = len(names)
        plain = self._skip_identifiers
        dispatch_name = self.dispatch_method_name
        # The nodes passed, one for each step; a step takes one segment unless a dispatch method took more.
        trail = [node]
        consumed: list[int] | None = None
        position = 0
        curpath = ''
        popped_args = False
        while position < count:
            name = names[position]
            sub = None
            step = 1
            if node is not None:
                if not plain or not name.isidentifier():
                    name = name.translate(self.translate)
                # PERF: asking a method for what it has not costs six times what asking its function does.
                bearer = node.__func__ if type(node) is MethodType else node
                if name[:2] != '__':
                    sub = getattr(bearer, name, None)
                    if type(sub) is MethodType and sections is None:
                        func = sub.__func__
                        marks = func.__dict__ if type(func) is FunctionType else NOTHING
                        if marks == EXPOSED:
                            # PERF: a function with no other attribute has neither config nor anything below it.
                            return sub, values[position + 1 :], False, confs
                        if marks.keys() <= LEAF and marks.get('exposed'):
                            conf = marks.get('_cp_config')
                            if conf:
                                confs = [*(confs or ()), (len(trail), conf)]
                            return sub, values[position + 1 :], False, confs
                if sub is None:
                    dispatch = getattr(bearer, dispatch_name, None) if dispatch_name else None
                    if (
                        dispatch is not None
                        and not popped_args
                        and callable(dispatch)
                        and not getattr(dispatch, 'exposed', False)
                    ):
                        if exchange.head.on_loop and not hasattr(dispatch, 'pops_args'):
                            raise CrossFirst
                        rest = values[position:]
                        try:
                            sub, step = self._ask(dispatch, node, rest, names, position)
                        except BaseException:
                            # The error page is chosen by the config walked so far.
                            exchange.confs = confs
                            raise
                        if len(rest) < len(values) - position and rest != values[position + step :]:
                            # Segments were taken from elsewhere than the front.
                            values = values[: position + step] + rest
                            names = names[: position + step] + rest
                        popped_args = sub is node and getattr(dispatch, 'pops_args', False)
                        if step != 1 and consumed is None:
                            consumed = list(range(len(trail)))
                    else:
                        popped_args = False
                else:
                    popped_args = False
                if sub is not None:
                    conf = getattr(sub.__func__ if type(sub) is MethodType else sub, '_cp_config', None)
                    if conf:
                        if confs is None:
                            confs = []
                        confs.append((len(trail), conf))
            if sections is not None:
                for name in names[position : position + step]:
                    curpath = f'{curpath}/{name}'
                    conf = sections.get(curpath)
                    if conf is not None:
                        if confs is None:
                            confs = []
                        confs.append((len(trail), conf))
            position += step
            node = sub
            trail.append(node)
            if consumed is not None:
                consumed.append(position)

        # The hidden index at the end of every path.
        sub = None
        if node is not None:
            sub = getattr(node.__func__ if type(node) is MethodType else node, 'index', None)
            if type(sub) is MethodType and sections is None:
                bearer = sub.__func__
                if type(bearer) is FunctionType and bearer.__dict__ == EXPOSED:
                    # PERF: a function with no attribute but that one has no config and no default either.
                    return sub, (), True, confs
        if sub is not None or sections is not None:
            conf = getattr(sub.__func__ if type(sub) is MethodType else sub, '_cp_config', None)
            section = None if sections is None else sections.get(curpath + '/index')
            if conf or section:
                confs = (confs or []) + [(len(trail), source) for source in (conf, section) if source]
            if sub is not None:
                trail.append(sub)

        slashed = path[-1:] == '/'
        depth = len(trail)
        while depth:
            depth -= 1
            candidate = trail[depth]
            if candidate is None:
                continue
            bearer = candidate.__func__ if type(candidate) is MethodType else candidate
            default = getattr(bearer, 'default', None)
            if default is not None and getattr(default, 'exposed', False):
                conf = getattr(default, '_cp_config', None)
                if conf:
                    # Merged after its node, before what lies deeper.
                    if confs is None:
                        confs = []
                    at = len(confs)
                    while at and confs[at - 1][0] > depth:
                        at -= 1
                    confs.insert(at, (depth, conf))
                return default, self._rest(values, depth, consumed), slashed, confs
            if getattr(bearer, 'exposed', False):
                if candidate is sub:
                    return candidate, (), True, confs
                return candidate, self._rest(values, depth, consumed), False, confs
        return None, (), None, confs

    @staticmethod
    def _rest(values: list[str], depth: int, consumed: list[int] | None) -> list[str]:
        """Give the segments left when the node at `depth` was reached."""
        if consumed is not None:
            depth = consumed[depth] if depth < len(consumed) else len(values)
        return values[depth:]

    def _ask(self, dispatch: Any, node: Any, rest: list[str], names: list[str], position: int) -> tuple[Any, int]:
        """Let a node's dispatch method take segments off `rest`; give (the node it leads to, how many it took)."""
        before = len(rest)
        sub = dispatch(vpath=rest)
        # The class is asked: an object may answer to any name.
        if hasattr(type(sub), '__await__'):
            sub = current().await_here(sub)
        if len(rest) > before:
            raise CherryPyException(
                'A vpath segment was added.  Custom dispatchers may only remove elements.  '
                f'While trying to process {names[position]} in {names}'
            )
        if isinstance(sub, (list, tuple)):
            sub = None
        # Where it took none, the segment it was asked about counts as used.
        return sub, (before - len(rest)) or 1


class MethodDispatcher(Dispatcher):
    """Dispatches to the method of a resource that is named as the request's: GET, POST, ...

    The resource must be exposed, its methods need not be. Every response bears an Allow header; 405 if the
    resource has no such method; HEAD falls back to GET.
    """

    def __call__(self, path_info: str) -> None:
        exchange = current()
        request = exchange.request
        resource, vpath = self.find_handler(path_info)
        if resource is None:
            request.handler = NotFound()
            return
        func = self._method(exchange, resource)
        if func is None:
            request.handler = HTTPError(405)
            return
        conf = getattr(func, '_cp_config', None)
        if conf:
            request.config.update(conf)
        request.handler = LateParamPageHandler(func, *vpath)

    def open(self, exchange: Exchange, path: str) -> None:
        resource, exchange.args, exchange.is_index, exchange.confs = self.find(exchange, path)
        if resource is None:
            exchange.handler = None
            return
        func = self._method(exchange, resource)
        if func is None:
            exchange.handler = HTTPError(405)
            return
        conf = getattr(func, '_cp_config', None)
        if conf:
            exchange.confs = [*(exchange.confs or ()), (len(exchange.confs or ()) + 1, conf)]
        exchange.handler = func

    def _method(self, exchange: Exchange, resource: Any) -> Any:
        allowed = [
            name
            for name in dir(resource)
            if name.isupper() and name[0] != '_' and callable(getattr(resource, name, None))
        ]
        if 'GET' in allowed and 'HEAD' not in allowed:
            allowed.append('HEAD')
        allowed.sort()
        exchange.response.headers['Allow'] = ', '.join(allowed)
        method = exchange.head.method.upper()
        if method not in allowed:
            return None
        func = getattr(resource, method, None)
        if func is None and method == 'HEAD':
            func = getattr(resource, 'GET', None)
        return func


class RoutesDispatcher:
    """Dispatches by the route table of the `routes` package: `pip install 'cpadapter[routes]'`.

    full_result: True keeps `controller` and `action` in `request.params`.
    mapper_options: passed to routes.Mapper.
    """

    def __init__(self, full_result: bool = False, **mapper_options: Any) -> None:
        try:
            import routes
        except ImportError as exc:
            raise ImportError(
                "RoutesDispatcher needs the routes package: pip install 'cpadapter[routes]'", name='routes'
            ) from exc
        self.full_result = full_result
        self.controllers: dict[str, Any] = {}
        self.mapper = routes.Mapper(**mapper_options)
        self.mapper.controller_scan = self.controllers.keys

    def connect(self, name: str, route: str, controller: Any, **kwargs: Any) -> None:
        """Register `controller` under `name` and connect `route` to it."""
        self.controllers[name] = controller
        self.mapper.connect(name, route, controller=name, **kwargs)

    def redirect(self, url: str) -> None:
        raise HTTPRedirect(url)

    def __call__(self, path_info: str) -> None:
        request = current().request
        func = self.find_handler(path_info)
        request.handler = LateParamPageHandler(func) if func is not None else NotFound()

    def find_handler(self, path_info: str) -> Any:
        """Give the action that the routes lead to, None if there is none; sets request.config and params."""
        import routes

        exchange = current()
        request = exchange.request
        config = routes.request_config()
        config.mapper = self.mapper
        if hasattr(request, 'wsgi_environ'):
            config.environ = request.wsgi_environ
        config.host = request.headers.get('Host', None)
        config.protocol = request.scheme
        config.redirect = self.redirect
        result = self.mapper.match(path_info)
        config.mapper_dict = result
        params: dict[str, Any] = {}
        if result:
            params = result.copy()
        if not self.full_result:
            params.pop('controller', None)
            params.pop('action', None)
        exchange.path_params = dict(params)
        request.params.update(params)

        app = exchange.app
        confs: list[tuple[int, Any]] = []

        def add(node: Any) -> None:
            conf = getattr(node, '_cp_config', None)
            if conf:
                confs.append((0, conf))

        add(app.root)
        if app.root_section:
            confs.append((0, app.root_section))
        sections = app.sections or {}
        atoms = [name for name in path_info.split('/') if name]
        last = atoms.pop() if atoms else None
        curpath = ''
        for atom in atoms:
            curpath = f'{curpath}/{atom}'
            if curpath in sections:
                confs.append((0, sections[curpath]))
        handler = None
        if result:
            controller = self.controllers.get(result.get('controller'))
            if isinstance(controller, type):
                controller = controller()
            add(controller)
            action = result.get('action')
            if controller is None:
                handler = None
            elif action is not None:
                # Private and special names are no actions.
                handler = None if str(action)[:1] == '_' else getattr(controller, action, None)
                add(handler)
            else:
                handler = controller
        if last is not None and f'{curpath}/{last}' in sections:
            confs.append((0, sections[f'{curpath}/{last}']))
        request.config = app.merged_config(confs)
        return handler


def XMLRPCDispatcher(next_dispatcher: Any = Dispatcher()) -> Callable[[str], Any]:  # noqa: B008
    """Give a dispatcher for XML-RPC: a leading /RPC2 is dropped, the path counts as one that ends in a slash."""

    def xmlrpc_dispatch(path_info: str) -> Any:
        path = path_info if path_info.endswith('/') else path_info + '/'
        if path.startswith('/RPC2/'):
            path = path[5:]
        result = next_dispatcher(path)
        # Clients do not follow a redirect of a POST: the slash that was added here is never asked of them.
        request = current().request
        if request.is_index and not path_info.endswith('/'):
            request.is_index = None
        return result

    return xmlrpc_dispatch


def VirtualHost(
    next_dispatcher: Any = Dispatcher(),  # noqa: B008
    use_x_forwarded_host: bool = True,
    **domains: str,
) -> Callable[[str], Any]:
    """Give a dispatcher that puts a prefix before the path by the host asked for.

    domains: host (with port, if it is not the default one) -> prefix; compared without regard to case.
    use_x_forwarded_host: take X-Forwarded-Host, when the client sent one, in place of Host. Anyone can send it:
        leave it on only behind a proxy that sets or removes it.
    """
    prefixes = {domain.lower(): prefix for domain, prefix in domains.items()}

    def vhost_dispatch(path_info: str) -> Any:
        request = current().request
        header = request.headers.get
        domain = header('Host', '')
        if use_x_forwarded_host:
            domain = header('X-Forwarded-Host', '') or domain
        prefix = prefixes.get(domain.lower(), '')
        if prefix:
            path_info = urljoin(prefix, path_info)
            if path_info[:1] != '/':
                path_info = '/' + path_info
        result = next_dispatcher(path_info)
        # The section is what stands behind the prefix, as static tools compare it with the browser's path.
        section = request.config.get('tools.staticdir.section')
        if section and prefix:
            bare = '/' + prefix.strip('/')
            if section.startswith(bare):
                request.config['tools.staticdir.section'] = section[len(bare) :]
        return result

    return vhost_dispatch


def is_plain(dispatcher: Any) -> bool:
    """Say whether `dispatcher.open` may stand for calling it: nobody overrode what is called by name."""
    for cls in type(dispatcher).__mro__:
        if 'open' in cls.__dict__ and cls in (Dispatcher, MethodDispatcher):
            return True
        if '__call__' in cls.__dict__ or 'find_handler' in cls.__dict__ or 'find' in cls.__dict__:
            return False
    return False
