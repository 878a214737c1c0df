"""The request: everything a page handler, a hook or a tool may want to know of what the client asked.

A Request is made when something first asks for it, and each of its attributes likewise: what nobody reads is
never computed. It reads the exchange it belongs to and the head that came from the gateway. It does not know
how a request is run; `run` here only keeps the seam by which one can be run from plain values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError, HTTPRedirect, InternalRedirect, NotFound
from ..extension.dispatch import Dispatcher, LateParamPageHandler
from ..extension.hooks import HOOKPOINTS, Hook, HookMap, drive
from ..extension.namespaces import NamespaceSet
from ..protocol.headers import HeaderMap, Host, SanitizedHost, decode_TEXT_maybe
from ..protocol.messages import parse_version
from ..protocol.params import parse_query_string
from ..unrepr import attributes

if TYPE_CHECKING:
    from http.cookies import SimpleCookie

    from .pipeline import Exchange

__all__ = ['LazyUUID4', 'Request', 'parse_query']


class LazyUUID4:
    """A random UUID made at first use: `str()` gives its text, `.uuid4` the uuid.UUID."""

    __slots__ = ('_uuid4',)

    @property
    def uuid4(self) -> Any:
        try:
            return self._uuid4
        except AttributeError:
            from uuid import uuid4

            self._uuid4: Any = uuid4()
            return self._uuid4

    def __str__(self) -> str:
        return str(self.uuid4)


def parse_query(query: str, encoding: str, separators: str) -> dict[str, Any]:
    """Read a query string; HTTPError(404) if its bytes are no text in `encoding`, 400 if it has too many fields."""
    try:
        return parse_query_string(query, True, encoding, separators)
    except (UnicodeDecodeError, LookupError) as exc:
        raise HTTPError(
            404,
            'The given query string could not be processed. Query strings for this resource must be encoded '
            f'with {encoding!r}.',
        ) from exc
    except ValueError as exc:
        raise HTTPError(400, str(exc)) from exc


class _Lazy:
    """An attribute computed from the exchange at first sight and kept in the instance, where it can be replaced.

    default: gives the value seen on the class, and on a request that belongs to no exchange.
    """

    __slots__ = ('compute', 'default', 'name')

    def __init__(self, compute: Callable[[Any, Any], Any], default: Callable[[], Any]) -> None:
        self.compute = compute
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        if obj is None:
            return self.default()
        exchange = obj._exchange
        value = self.default() if exchange is None or exchange.head is None else self.compute(obj, exchange)
        obj.__dict__[self.name] = value
        return value


class _Property(property):
    """A property that is None on the class, as the attribute it stands for would be."""

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        return None if obj is None else super().__get__(obj, cls)


class _Hooks:
    """The hooks of a request class, which its requests share; on a request a copy, which the pipeline then reads."""

    def __get__(self, obj: Any, cls: type | None = None) -> HookMap:
        if obj is None:
            hooks: HookMap = cls.class_hooks  # type: ignore[union-attr]
            return hooks
        exchange = obj._exchange
        plan = exchange.plan if exchange is not None else None
        hooks = type(obj).class_hooks.copy() if plan is None else plan.hook_map()
        obj.__dict__['hooks'] = hooks
        if exchange is not None:
            exchange.hooks = hooks
        return hooks


class _Namespaces:
    """The config namespaces that a request class adds; on a request all there are, in a set of its own."""

    def __get__(self, obj: Any, cls: type | None = None) -> NamespaceSet:
        if obj is None:
            added: NamespaceSet = cls.class_namespaces  # type: ignore[union-attr]
            return added
        # What a plan does once for all its requests, for whoever hands out config himself.
        namespaces = NamespaceSet(
            hooks=partial(_set_hook, obj),
            request=partial(_set_attribute, obj),
            response=_set_response,
            error_page=partial(_set_error_page, obj),
        )
        toolboxes = getattr(obj.app, 'toolboxes', None) or {'tools': current().site.tools}
        for more in ({'tools': toolboxes['tools']}, type(obj).class_namespaces, toolboxes):
            dict.update(namespaces, more)
        obj.__dict__['namespaces'] = namespaces
        return namespaces


def _set_hook(request: Request, key: str, value: Any) -> None:
    hook = value if isinstance(value, Hook) else Hook(attributes(value) if isinstance(value, str) else value)
    request.hooks[key.partition('.')[0]].append(hook)


def _set_attribute(request: Request, key: str, value: Any) -> None:
    if key.startswith('body.'):
        setattr(request.body, key[5:], value)
    else:
        setattr(request, key, value)


def _set_response(key: str, value: Any) -> None:
    response = current().response
    if key.startswith('headers.'):
        response.headers[key[8:]] = value
    else:
        setattr(response, key, value)


def _set_error_page(request: Request, key: str, value: Any) -> None:
    request.error_page[key if key == 'default' else int(key)] = value


def _no_cookies() -> SimpleCookie:
    from http.cookies import SimpleCookie

    return SimpleCookie()


def _headers(request: Request, exchange: Exchange) -> HeaderMap:
    headers = HeaderMap()
    set_raw = dict.__setitem__
    titled = exchange.head.titled()
    if 'header_list' in request.__dict__:
        titled = ((name.title(), value) for name, value in request.header_list)
    for name, value in titled:
        value = value.strip()
        if '=?' in value and name != 'Host':
            value = decode_TEXT_maybe(value)
        set_raw(headers, name, value)
    host = headers.get('Host')
    if host is not None:
        set_raw(headers, 'Host', SanitizedHost(host))
    return headers


def _cookie(request: Request, exchange: Exchange) -> SimpleCookie:
    from ..protocol.cookies import parse_cookies

    return parse_cookies([value for name, value in request.header_list if name.title() == 'Cookie'])


def _base(request: Request, exchange: Exchange) -> str:
    host = exchange.head.get('host')
    if host:
        host = str(SanitizedHost(host.strip()))
    else:
        local = request.local
        host = local.name or local.ip
    return f'{request.scheme}://{host}'


def _request_line(request: Request, exchange: Exchange) -> str:
    head = exchange.head
    query = f'?{request.query_string}' if request.query_string else ''
    path = head.path
    if exchange.app.uri_encoding is not None or exchange.prev is not None:
        path = exchange.script_name[len(head.outer) :] + exchange.path_info
    return f'{request.method} {head.outer}{path}{query} {head.native_protocol()}'


def _body(request: Request, exchange: Exchange) -> Any:
    from .body import RequestBody

    body = RequestBody(request.rfile, request.headers, request_params=request.params)
    form = exchange.form
    if form is not None:
        body.params = form
        body.processed = True
        # It was read without this object: what reads on finds the end.
        stream = body.stream()
        stream.bytes_read = body.length or 0
        stream.finish()
        if exchange.head.get('content-type') == 'application/x-www-form-urlencoded':
            # Forms are read without a body only where UTF-8 is the charset to try.
            body.charset = 'utf-8'
    plan = exchange.plan
    if plan is not None:
        for name, value in plan.body_attrs:
            setattr(body, name, value)
    return body


def _handler(request: Request, exchange: Exchange) -> Any:
    if exchange.plan is None:
        return None
    handler = exchange.handler
    if handler is None:
        return NotFound()
    if isinstance(handler, (HTTPError, HTTPRedirect)):
        return handler
    page = LateParamPageHandler.__new__(LateParamPageHandler)
    page.callable = handler
    return page


def _error_response(request: Request, exchange: Exchange | None) -> Any:
    plan = exchange.plan if exchange is not None else None
    if plan is not None and plan.error_response is not None:
        return plan.error_response
    return HTTPError(500).set_response


def _config(request: Request, exchange: Exchange) -> Any:
    return None if exchange.plan is None else dict(exchange.plan.config)


def _state(request: Request, exchange: Exchange) -> dict[str, Any]:
    shared = exchange.site.engine.shared
    native = exchange.head.native
    state: dict[str, Any] | None = native.get('state') if 'asgi' in native else None
    if state is None:
        return dict(shared)
    # SPEC: ASGI lifespan 2.0, "Lifespan State": each request has a copy, which may be added to.
    for name, value in shared.items():
        state.setdefault(name, value)
    return state


def _process_request_body(request: Request, exchange: Exchange) -> bool:
    # Until the body's turn comes, hooks may still change which methods have one.
    return exchange.stage in (None, 'on_start_resource') or request.method in request.methods_with_bodies


def _protocol(request: Request, exchange: Exchange) -> tuple[int, int]:
    # HTTP/2 and later offer all that (1, 1) does; what looks at request.protocol asks for that.
    version: tuple[int, int] = exchange.head.version
    return min(version, parse_version(exchange.head.server_protocol) or (1, 1), (1, 1))


class Request:
    """One HTTP request. Any further attribute may be set on it; it lives as long as the request."""

    _exchange: Exchange | None = None

    prev: Any = _Lazy(lambda r, x: x.prev if x.prev is not None else x.head.previous, lambda: None)
    local: Any = _Lazy(lambda r, x: x.head.local, lambda: Host('127.0.0.1', 80))
    remote: Any = _Lazy(lambda r, x: x.head.remote, lambda: Host('127.0.0.1', 1111))
    scheme: Any = _Lazy(lambda r, x: x.head.scheme, lambda: 'http')
    server_protocol: Any = _Lazy(lambda r, x: x.head.server_protocol, lambda: 'HTTP/1.1')
    base: Any = _Lazy(_base, str)
    request_line: Any = _Lazy(_request_line, str)
    method: Any = _Lazy(lambda r, x: x.head.method, lambda: 'GET')
    query_string: Any = _Lazy(lambda r, x: x.head.query, str)
    query_string_encoding: str = 'utf8'
    query_string_separators: str = '&'
    protocol: Any = _Lazy(_protocol, lambda: (1, 1))
    params: Any = _Lazy(lambda r, x: x.params, dict)
    header_list: Any = _Lazy(lambda r, x: list(x.head.items()), list)
    headers: Any = _Lazy(_headers, HeaderMap)
    cookie: Any = _Lazy(_cookie, _no_cookies)
    rfile: Any = _Lazy(lambda r, x: x.reader(), lambda: None)
    process_request_body: Any = _Lazy(_process_request_body, lambda: True)
    methods_with_bodies: Any = ('POST', 'PUT', 'PATCH')
    body: Any = _Lazy(_body, lambda: None)
    dispatch: Any = Dispatcher()
    script_name: Any = _Lazy(lambda r, x: x.script_name, str)
    path_info: Any = _Lazy(lambda r, x: x.path_info, lambda: '/')
    login: Any = _Lazy(lambda r, x: x.head.login, lambda: None)
    app: Any = None
    handler: Any = _Lazy(_handler, lambda: None)
    args: Any = _Lazy(lambda r, x: tuple(x.args or ()), tuple)
    kwargs: Any = _Lazy(lambda r, x: {}, dict)
    toolmaps: Any = _Lazy(lambda r, x: {} if x.plan is None else x.plan.toolmaps_copy(), dict)
    config: Any = _Lazy(_config, lambda: None)
    is_index: Any = _Lazy(lambda r, x: x.is_index, lambda: None)
    hooks: Any = _Hooks()
    class_hooks: HookMap = HookMap(HOOKPOINTS)
    error_response: Any = _Lazy(_error_response, lambda: HTTPError(500).set_response)
    error_page: Any = _Lazy(lambda r, x: {} if x.plan is None else dict(x.plan.error_page), dict)
    show_tracebacks: bool = False
    debug: bool = False
    debug_remote: bool = False
    show_mismatched_params: bool = True
    throws: Any = (KeyboardInterrupt, SystemExit, InternalRedirect)
    throw_errors: bool = False
    on_disconnect: str = 'finish'
    closed: bool = False
    multithread: Any = _Lazy(lambda r, x: x.head.multithread, lambda: True)
    multiprocess: Any = _Lazy(lambda r, x: x.head.multiprocess, lambda: False)
    wsgi_environ: Any = _Lazy(lambda r, x: x.head.environ, dict)
    scope: Any = _Lazy(lambda r, x: x.head.native if 'asgi' in x.head.native else None, lambda: None)
    websocket: Any = _Lazy(lambda r, x: x.websocket, lambda: None)
    state: Any = _Lazy(_state, dict)
    unique_id: Any = _Lazy(lambda r, x: LazyUUID4(), lambda: None)
    namespaces: Any = _Namespaces()
    class_namespaces: NamespaceSet = NamespaceSet()

    def __init__(
        self, local_host: Any = None, remote_host: Any = None, scheme: str = 'http', server_protocol: str = 'HTTP/1.1'
    ) -> None:
        """Make a request from plain values; inside an exchange the pipeline makes it and passes none of them."""
        if local_host is not None:
            self.local = local_host
            self.remote = remote_host
            self.scheme = scheme
            self.server_protocol = server_protocol
            self.unique_id = LazyUUID4()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get('hooks')
        if isinstance(own, HookMap):
            # A map that a subclass assigns is its own; requests still get copies.
            cls.class_hooks = own
            del cls.hooks
        else:
            cls.class_hooks = cls.class_hooks.copy()
        cls.class_hooks.shared = True
        added = cls.__dict__.get('namespaces')
        if isinstance(added, NamespaceSet):
            cls.class_namespaces = added
            del cls.namespaces

    def _get_stage(self) -> str | None:
        return self._exchange.stage if self._exchange is not None else None

    def _set_stage(self, value: str | None) -> None:
        if self._exchange is not None:
            self._exchange.stage = value

    # What is being done: a hook point's name, 'run', 'process_headers', 'handler', 'close', ...; None before.
    stage: Any = _Property(_get_stage, _set_stage)

    def process_query_string(self) -> None:
        """Put the fields of the query string into `params`; what the path gave stays."""
        parsed = parse_query(self.query_string, self.query_string_encoding, self.query_string_separators)
        exchange = self._exchange
        if exchange is not None and exchange.path_params:
            parsed.update(exchange.path_params)
        self.params.update(parsed)

    def process_headers(self) -> None:
        """Look at the headers as a whole: raises HTTPError(400) for what the gateway found wrong with them."""
        fault = self._exchange.head.fault if self._exchange is not None else None
        if fault is not None:
            raise HTTPError(*fault)

    def get_resource(self, path: str) -> None:
        """Dispatch: set `handler`, `config` and `is_index` for `path`."""
        exchange = self._exchange
        if exchange is not None and exchange.app is not None:
            exchange.app.dispatch(exchange, path)

    def respond(self, path_info: str) -> None:
        """Do the request at `path_info` and finalize the response."""
        drive(self._exchange.run(inner=True))  # type: ignore[union-attr]

    def handle_error(self) -> None:
        """Make the response to the unanticipated exception that is being handled."""
        drive(self._exchange.handle_error())  # type: ignore[union-attr]

    def run(self, method: str, path: str, query_string: str | None, req_protocol: str, headers: Any, rfile: Any) -> Any:
        """Do a request made of plain values, in the calling thread, and give the finalized response.

        path: decoded, with the script name. headers: (name, value) pairs. rfile: a readable object or None.
        Meant for tests and adapters of one's own: gateways open an exchange instead.
        """
        from ..gateways.plain import PlainHead

        app = self.app
        head = PlainHead(self, method, path, query_string or '', req_protocol, list(headers), rfile)
        exchange = app.open(head, request=self)
        drive(exchange.run())
        if exchange.redirect is not None:
            raise exchange.redirect
        return exchange.response

    def is_disconnected(self) -> bool:
        """Say whether the client has left: from now on nobody reads the response.

        In a plain page it is asked of the server. In an async one the first call begins to watch, and says what is
        known so far; what comes after the next await says what is so then. False where the server cannot tell.
        """
        exchange = self._exchange
        if exchange is None or exchange.head is None:
            return False
        return exchange.disconnected or exchange.head.is_disconnected()

    async def disconnected(self) -> None:
        """Wait, in async code, until the client leaves; for ever where the server cannot tell."""
        exchange = self._exchange
        if exchange is not None and not exchange.disconnected:
            await exchange.head.left()

    def close(self) -> None:
        """Run the on_end_request hooks, once."""
        if not self.closed and self._exchange is not None:
            drive(self._exchange.finish_request())

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.script_name}{self.path_info}>'


Request.class_hooks.shared = True
