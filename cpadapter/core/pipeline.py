"""The one request pipeline: Exchange holds a request in the making, `Exchange.run` does it.

`run` is a coroutine that suspends only where a step of the plan is async, so that a plan of plain functions runs
to its end by one `send(None)`. What thread or loop drives it, and how the result is sent, is the gateways'
business: they give a head, and `offload` or `suspend` where the colours differ, and nothing else.

The steps follow one order: on_start_resource, query string, before_request_body, body, before_handler, page
handler, before_finalize, finalize, on_end_resource; on_end_request when the gateway closes the exchange.
"""

from __future__ import annotations

import sys
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..context import current, exchange_var
from ..errors import (
    ClientDisconnected,
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    NotFound,
    Overloaded,
    bare_error,
    format_exc,
)
from ..extension.dispatch import mismatch
from ..extension.hooks import Hook, await_within, call_within, is_async_callable, log_once, run_hooks
from ..protocol.files import FileBody
from ..protocol.headers import BadHeaderValue
from .forms import merge_params, parse_form
from .request import Request, parse_query
from .response import NO_BODY, is_async_body

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..protocol.messages import RequestHead
    from ..typing import BodyReader
    from .application import Application
    from .plan import Plan
    from .response import Response
    from .site import Site
    from .websocket import WebSocket

__all__ = ['Exchange', 'OutsideExchange', 'Suspend', 'current_request', 'current_response']

# Given for the page handler's result where a hook has set the body already.
HANDLED: Any = object()

FORM = 'application/x-www-form-urlencoded'
# As browsers and their libraries write it.
FORMS = frozenset((FORM, *(f'{FORM};{space}charset={name}' for space in (' ', '') for name in ('UTF-8', 'utf-8'))))
TOO_LARGE = 'The entity sent with the request exceeds the maximum allowed bytes.'
# Bytes of a body that is read in one piece.
MAX_SHORT = 1 << 20
UTF8 = ['utf-8']
MAX_FIELDS = 10_000
MAX_REDIRECTS = 50


# Content-Type headers as ASGI wants them.
_TYPES: dict[str, tuple[bytes, bytes]] = {}


class Suspend:
    """Awaited by a pipeline that a thread drives: asks the driver to await something on an event loop for it."""

    __slots__ = ('awaitable',)

    def __init__(self, awaitable: Any) -> None:
        self.awaitable = awaitable

    def __await__(self) -> Any:
        return (yield self)


class Exchange:
    """One request and its response in the making; also what `serving` shows.

    head: what the gateway read; None on the placeholder that stands for "no request".
    status, body and the header methods: the result, once `run` has ended. body is bytes, or an iterable of them.
    redirect: the InternalRedirect that ended this exchange, if one did: the gateway opens the next one.
    """

    plan: Plan = None  # type: ignore[assignment]
    handler: Any = None
    args: Any = ()
    is_index: bool | None = None
    confs: Any = None
    form: dict[str, Any] | None = None
    path_params: dict[str, Any] | None = None
    stage: str | None = None
    status = '200 OK'
    code = 200
    body: Any = b''
    prev: Any = None
    throws = False
    published = False
    fault: Exception | None = None
    on_loop = False
    # Where the steps ran, if not in the gateway's own context: what follows them sees their context variables.
    context: Any = None
    closed = False
    disconnected = False
    # What lasts has to end (gateways/lasting.py); threads in the midst of it look here.
    over = False
    dropped = False
    # Its access line is written.
    logged = False
    # The handshake of a WebSocket was accepted: what comes after it is no response.
    upgraded = False
    # The body is set and the head follows from it: no response was needed.
    answered = False
    visited: tuple[str, ...] = ()
    _site: Site | None = None
    _websocket: WebSocket | None = None
    _reader: Any = None
    _failed_hooks: Any = None
    _length = 0

    def __init__(
        self, app: Application | None, head: RequestHead | None, script_name: str = '', path_info: str = '/'
    ) -> None:
        # PERF: what each request reads, several times over, is set here: a class attribute takes three times as long.
        self.app: Any = app
        self.head: Any = head
        self.script_name = script_name
        self.path_info = path_info
        self.params: dict[str, Any] = {}
        self.hooks: Any = None
        self.redirect: InternalRedirect | None = None
        self.content_type: str | None = None
        self._request: Any = None
        self._response: Any = None

    @property
    def site(self) -> Site:
        """The site of the application, or of the placeholder."""
        site: Site = self._site if self._site is not None else self.app.site
        return site

    @site.setter
    def site(self, site: Site) -> None:
        self._site = site

    # -- what is made when first asked for

    @property
    def request(self) -> Request:
        request = self._request
        if request is None:
            request_class = self.app.request_class if self.app is not None else self.site.request_class
            request = request_class()
            self.adopt(request)
        return request  # type: ignore[no-any-return]

    @request.setter
    def request(self, request: Request) -> None:
        self._request = request

    @request.deleter
    def request(self) -> None:
        self._request = None

    def adopt(self, request: Request) -> None:
        """Make `request` the one of this exchange and give it the attributes that config sets."""
        self._request = request
        request._exchange = self
        request.app = self.app
        plan = self.plan
        if plan is not None and plan.request_attrs:
            for name, value in plan.request_attrs.items():
                setattr(request, name, value)

    @property
    def response(self) -> Response:
        response = self._response
        if response is None:
            response_class = self.app.response_class if self.app is not None else self.site.response_class
            response = self._response = response_class()
            response._exchange = self
            plan = self.plan
            if plan is not None and not plan.simple:
                self._set_response_attrs(response, plan)
            if type(self.__dict__.get('body')) is bytes:
                # The head was known without a response: whoever looks now (log, hooks) sees what is sent.
                response.status = self.status
                response.headers['Content-Length'] = str(self._length if self.dropped else len(self.body))
                response.body = self.body
                response.finalize()
        return response  # type: ignore[no-any-return]

    @response.setter
    def response(self, response: Response) -> None:
        self._response = response

    @response.deleter
    def response(self) -> None:
        self._response = None

    @property
    def websocket(self) -> WebSocket | None:
        """The WebSocket whose handshake this is; None for any other request."""
        found = self._websocket
        if found is None and self.head is not None and self.head.connection is not None:
            from .websocket import WebSocket

            found = self._websocket = WebSocket(self, self.head.connection)
        return found

    def replace_handler(self, handler: Any) -> None:
        """Let something else than what dispatch has found be the page handler."""
        self.handler = handler
        if self._request is not None:
            self._request.__dict__.pop('handler', None)

    def show_answer(self, response: Response) -> None:
        """Let a response that was first asked for after its head was known say what is sent."""
        response.status = self.status
        response.output_status = self.status.encode('latin-1', 'replace')
        dict.__setitem__(response.headers, 'Content-Length', str(self._length if self.dropped else len(self.body)))
        response.body = self.body
        response.header_list = [
            (name.encode('latin-1'), value.encode('latin-1')) for name, value in self._known_headers()
        ]

    def _set_response_attrs(self, response: Response, plan: Plan) -> None:
        for name, value in plan.response_attrs:
            setattr(response, name, value)
        for name, value in plan.response_headers:
            response.headers[name] = value

    def take_content_type(self) -> str:
        """Give the Content-Type that a response starts with."""
        return self.content_type or (self.plan.content_type if self.plan is not None else 'text/html')

    def reader(self) -> BodyReader:
        """Give the body's reader, bounded by server.max_request_body_size."""
        reader = self._reader
        if reader is None:
            reader = self._reader = self.head.reader()
            limit = self.site.server.max_request_body_size
            if limit:
                reader.limit = limit
        return reader  # type: ignore[no-any-return]

    # -- running

    async def run(self, inner: bool = False) -> None:
        """Do the request. Never raises an Exception; InternalRedirect ends in `redirect`, SystemExit passes.

        inner: do the steps only, up to the finalized response, and raise what has none (`Request.respond`).
        """
        plan = self.plan
        try:
            if plan.overridden and not inner:
                await self._run_overridden(plan)
                return
            head = self.head
            try:
                try:
                    if plan.quiet and self.hooks is None:
                        # Nothing of anybody's runs before the page handler.
                        if head.query:
                            if self._request is None and self.path_params is None:
                                self.params = parse_query(head.query, plan.query_encoding, plan.query_separators)
                            else:
                                self._take_query(plan)
                        if head.method != 'GET' and head.method in plan.methods_with_bodies:
                            await self._take_body(plan)
                    else:
                        await self._prepare(plan)
                    for prepare in plan.prepares:
                        prepare(self)
                    # -- the page handler
                    self.stage = 'handler'
                    if self._request is None:
                        handler = self.handler
                        if handler is None:
                            raise NotFound()
                        args = self.args
                        params = self.params
                        try:
                            value = handler(*args, **params) if args or params else handler()
                        except TypeError as exc:
                            error = self._explain(handler, args, params, exc)
                            if error is None:
                                raise
                            raise error from exc
                    else:
                        value = self._call_handler()
                    kind = type(value)
                    if kind is CoroutineType:
                        value = await value if self.on_loop else await Suspend(value)
                        kind = type(value)
                    if kind is not str and kind is not bytes:
                        if hasattr(value, '__await__'):
                            value = await value if self.on_loop else await Suspend(value)
                        if is_async_body(value) and not (self._response is not None and self._response.stream):
                            value = await (self._collect(value) if self.on_loop else Suspend(self._collect(value)))
                        elif self.on_loop and hasattr(value, '__next__') and self._is_read_by_filter(value, plan):
                            value = await self.app.offload(partial(_read_all, value))
                    if value is not HANDLED:
                        for result_filter in plan.filters:
                            value = result_filter(value, self)
                    if self._response is None and type(value) is bytes and plan.plain_end and self.hooks is None:
                        # Nobody has looked at the response: its head is known.
                        self.body = value
                        self.answered = True
                    else:
                        if value is not HANDLED:
                            self.response.body = value
                        if plan.before_finalize or self.hooks is not None:
                            more = self.start_point('before_finalize')
                            if more is not None:
                                await more
                        more = self._finalize()
                        if more is not None:
                            await more
                except (HTTPRedirect, HTTPError) as exc:
                    await self._answer(exc)
                except BadHeaderValue as exc:
                    await self._answer(HTTPError(400, str(exc)))
                finally:
                    if plan.on_end_resource or self.hooks is not None:
                        more = self.start_point('on_end_resource')
                        if more is not None:
                            await more
            except (InternalRedirect, ClientDisconnected):
                raise
            except (HTTPRedirect, HTTPError) as exc:
                # From an on_end_resource hook: honoured as everywhere else.
                await self._answer(exc, hooks=False)
            except Exception as exc:
                await self._answer_unforeseen(exc)
            except BaseException as exc:
                from ..gateways.bridge import mend_cancellation

                mended = mend_cancellation(exc)
                if mended is exc:
                    raise
                try:
                    raise mended
                except Exception as error:
                    await self._answer_unforeseen(error)
                finally:
                    del mended
            # What is finalized is changed by hooks, or by a request's own methods.
            if (plan.on_end_resource or self.hooks is not None or plan.overridden) and self._response is not None:
                self._take_late_changes(self._response)
        except Exception as exc:
            if inner:
                raise
            if not self._give_up(exc):
                return
        if inner:
            return
        if head.method == 'HEAD':
            await self._drop_body()
        log = self.app.log
        if log.wants_access():
            self._log_access(log)

    async def _prepare(self, plan: Plan) -> None:
        """Do all that comes before the page handler: set-up, hooks, query, body."""
        if self.app.publishes and not self.published:
            # The listeners are for the thread that the page handler will run in.
            await self.app.offload(self.publish_start) if self.on_loop else self.publish_start()
        if self.fault is not None:
            # Not kept: its traceback leads back here.
            fault, self.fault = self.fault, None
            raise fault
        if not plan.simple:
            later = self._set_up(plan)
            if later is not None:
                await later
        if plan.on_start_resource or self.hooks is not None:
            more = self.start_point('on_start_resource')
            if more is not None:
                await more
        if self.head.query or plan.overridden:
            self._take_query(plan)
        if plan.before_request_body or self.head.method in plan.methods_with_bodies or self._request is not None:
            await self._take_body(plan)
        if plan.before_handler or self.hooks is not None:
            more = self.start_point('before_handler')
            if more is not None:
                await more

    def _give_up(self, exc: Exception) -> bool:
        """End without a response of the application's; False if there is nothing to log as one."""
        if isinstance(exc, InternalRedirect):
            exc.__traceback__ = None  # it leads back here
            self.redirect = exc
            return False
        if isinstance(exc, ClientDisconnected):
            if self.upgraded:
                return True  # by 101, long ago
            self.disconnected = True
            self.status, self.code, self.body = '400 Bad Request', 400, b''
            self._response = None
            return False
        throws = self.app.wsgiapp.config.get('ExceptionTrapper', {}).get('throws', ())
        if isinstance(exc, (getattr(self._request, 'throws', ()), throws)):
            raise exc
        self._fall_back(exc)
        return True

    def refuse(self, error: HTTPError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Give status, headers and body of the answer to a request of which nothing was run, nor will be; log it.

        No hook, no error page, no thread: those would wait for what there is too much of.
        """
        self.closed = True
        status, body = str(error.status), f'{error.args[1]}\n'.encode()
        response = self.response
        response.status = self.status = '503 Service Unavailable' if status == '503' else status
        response.output_status = self.status.encode('latin-1')
        headers = response.header_list = [
            (b'content-type', b'text/plain;charset=utf-8'),
            (b'content-length', b'%d' % len(body)),
            (b'x-content-type-options', b'nosniff'),
            (b'retry-after', b'%d' % Overloaded.retry_after),
        ]
        log = self.app.log
        if log.wants_access():
            self._log_access(log)
        self._request = self._response = None
        return error.code, headers, b'' if self.head.method == 'HEAD' else body

    def abandon(self) -> None:
        """End without an answer: the run was cancelled because the client had left."""
        body = self.body
        if type(body) is bytes and self._response is not None:
            body = self._response._body
        self.disconnected = True
        self._response = None
        self.body = b''
        self.status, self.code = '499 Client Closed Request', 499
        log = self.app.log
        if not self.logged and log.wants_access():
            self.response.status = self.status
            self._log_access(log)
        self.body = body  # closed at the end

    def _log_access(self, log: Any) -> None:
        self.logged = True
        try:
            log.access()
        except Exception:
            log.error(traceback=True)

    def _call_handler(self) -> Any:
        """Call the page handler as the request has it, which hooks and tools may have changed; HANDLED if none."""
        request = self._request
        if not request.__dict__.keys().isdisjoint(('handler', 'args', 'kwargs')):
            handler = request.handler
            return HANDLED if handler is None else handler()
        handler = self.handler
        if handler is None:
            raise NotFound()
        try:
            return handler(*self.args, **request.params)
        except TypeError as exc:
            error = self._explain(handler, self.args, request.params, exc)
            if error is None:
                raise
            raise error from exc

    def _explain(self, handler: Any, args: Any, params: dict[str, Any], exc: TypeError) -> Exception | None:
        """Say which error of the client's a TypeError from calling a page handler is; None if it is its own."""
        if isinstance(handler, Exception):
            return handler
        return mismatch(handler, args, params, exc)

    def _set_up(self, plan: Plan) -> Coroutine[Any, Any, None] | None:
        """Do what config asks for at each request: attributes, tools with a `_setup` of their own, namespaces."""
        request = self.request
        if plan.response_attrs or plan.response_headers:
            response = self._response
            if response is None:
                response = self.response
            else:
                self._set_response_attrs(response, plan)
        for count, setup in enumerate(plan.setups, 1):
            later = setup(request)
            if later is not None and hasattr(later, '__await__'):
                return self._set_up_later(later, plan.setups[count:])
        return None

    async def _set_up_later(self, later: Any, left: tuple[Any, ...]) -> None:
        """Go on with the set-ups that are left once what an async one gave has been awaited."""
        await (later if self.on_loop else Suspend(later))
        for setup in left:
            later = setup(self.request)
            if later is not None and hasattr(later, '__await__'):
                await (later if self.on_loop else Suspend(later))

    def await_here(self, awaitable: Any) -> Any:
        """Have something awaited on an event loop while this thread waits; for dispatch, which comes before `run`."""
        from ..gateways.bridge import await_on_loop

        return await_on_loop(awaitable, self.head.opened_on)

    def _take_query(self, plan: Plan) -> None:
        request = self._request
        if request is not None:
            request.process_query_string()
            return
        parsed = parse_query(self.head.query, plan.query_encoding, plan.query_separators)
        if self.path_params:
            parsed.update(self.path_params)
        self.params = parsed

    async def _take_body(self, plan: Plan) -> None:
        """Run the before_request_body hooks, then read the body where its method and config say so."""
        head = self.head
        request = self._request
        self.stage = 'before_request_body'
        short = plan.short_bodies
        if self.hooks is None and (
            (plan.plain_form and request is None)
            or (short is not None and (request is None or 'body' not in request.__dict__))
        ):
            # PERF: no body object for a short form, nor for what a tool takes in place of its hook.
            if head.method not in plan.methods_with_bodies:
                return
            media, length = head.declared()
            if length is not None and length <= MAX_SHORT and media is not None:
                limit = self.app.site.server.max_request_body_size
                if limit and length > limit:
                    raise HTTPError(413, TOO_LARGE)
                if media in FORMS if short is None else _is_one_of(media, short.media_types):
                    data = head.read_now(length)
                    if len(data) != length:
                        data = await self._read(length, data)
                    if short is None:
                        self._take_form(data)
                    else:
                        self.form = {}
                        short.take(data, self.request)
                    return
        if request is None:
            process = plan.process_request_body and head.method in plan.methods_with_bodies
        else:
            if head.method not in request.methods_with_bodies:
                request.process_request_body = False
            process = request.process_request_body
        if plan.before_request_body or self.hooks is not None:
            more = self.start_point('before_request_body')
            if more is not None:
                await more
            request = self._request
            if request is not None:
                process = request.process_request_body
        if not process:
            return
        length = self._checked_length()
        if (
            (request is None or 'body' not in request.__dict__)
            and plan.plain_bodies
            and length is not None
            and length <= MAX_SHORT
            and plan.query_separators == '&'
            and head.get('content-type') in FORMS
        ):
            self._take_form(await self._read(length, head.read_now(length)))
        else:
            request = self.request
            body = request.body
            if not hasattr(body, 'aprocess'):
                return  # a hook put something else in its place
            body.request_params = request.params
            body.protected_params = self.path_params or ()
            body.length_required = head.version < (2, 0)
            body.separators = plan.query_separators
            await body.aprocess(self.app.offload if self.on_loop else None)

    def _take_form(self, data: bytes) -> None:
        """Put the fields of a short urlencoded body into params, without a body object."""
        form = self.form = parse_form(data, UTF8, MAX_FIELDS)[0]
        request = self._request
        params = request.params if request is not None else self.params
        if params:
            merge_params(params, form, self.path_params or ())
        else:
            params.update(form)

    async def _read(self, length: int, data: bytes) -> bytes:
        """Read a body of `length` bytes, which are few, after `data`; ClientDisconnected if it ends before."""
        if len(data) != length:
            data += await self.head.read_first(length)
        if len(data) == length:
            return data
        reader = self.reader()
        # A client may send it byte by byte: gathered, that is neither a crossing nor a copy of all for each.
        read = getattr(reader, 'agather', reader.aread)
        parts, got = [data], len(data)
        while got < length:
            more = await read(length - got)
            if not more:
                raise ClientDisconnected(f'The body ended after {got} of {length} bytes.')
            parts.append(more)
            got += len(more)
        return b''.join(parts)

    def _checked_length(self) -> int | None:
        """Give the declared length of the body, None if it comes in chunks; raises HTTPError(411), (400), (413)."""
        head = self.head
        text = head.get('content-length')
        if head.get('transfer-encoding') is not None:
            return None
        if text is None:
            if head.version >= (2, 0):
                return None
            raise HTTPError(411, 'Client must specify Content-Length')
        # SPEC: RFC 9110 8.6: digits only; a list of equal lengths is one length sent twice.
        if not (text.isascii() and text.isdigit()):
            raise HTTPError(400, 'Malformed Content-Length Header.')
        if len(text) > 19:
            raise HTTPError(413)
        length = int(text)
        limit = self.site.server.max_request_body_size
        if limit and length > limit:
            raise HTTPError(413, TOO_LARGE)
        return length

    async def _collect(self, body: Any) -> list[Any]:
        try:
            return [chunk async for chunk in body]
        finally:
            if hasattr(body, 'aclose'):
                await body.aclose()

    def _finalize(self) -> Coroutine[Any, Any, None] | None:
        """Take the finalized response; give what is to be awaited until that is done, if anything is."""
        response = self.response
        body = response._body
        is_iterator = self.on_loop and hasattr(body, '__next__') and not response.stream and type(body) is not FileBody
        if is_iterator and response.headers.get('Content-Length') is None:
            return self._finalize_later(response)
        self._take_result()
        return self._close_body(body) if self.code in NO_BODY and is_async_body(body) else None

    async def _finalize_later(self, response: Response) -> None:
        """Have a plain iterator read in a thread, since it may wait, and take the finalized response."""
        await self.app.offload(response.collapse_body)
        self._take_result()

    def _is_read_by_filter(self, iterator: Any, plan: Plan) -> bool:
        """Say whether a result filter is going to read an iterator to its end: one that is no file, nor streamed."""
        if (self._response is not None and self._response.stream) or hasattr(iterator, 'read'):
            return False
        filters = [getattr(result_filter, '__self__', result_filter) for result_filter in plan.filters]
        return not hasattr(iterator, 'holds_bytes') and any(hasattr(each, 'reads') for each in filters)

    def _take_result(self) -> None:
        """Finalize the response and take its status line and body."""
        response = self.response
        response.finalize()
        self.status = response.status
        self.code = response._code
        self.body = _body_of(response)

    def _take_late_changes(self, response: Response) -> None:
        """Take what on_end_resource hooks did to the finalized response; TypeError for what cannot be sent."""
        hooked = self.plan.on_end_resource or self.hooks is not None
        if hooked and not self.dropped and _body_of(response) is not self.body:
            self._take_result()
        status = response.output_status
        if status is not None and status != self.status.encode('latin-1', 'replace'):
            if not isinstance(status, bytes):
                raise TypeError('response.output_status is not a byte string.')
            line = status.decode('latin-1')
            if not line.isprintable():
                raise ValueError(f'response.output_status holds control characters: {status!r}.')
            self.code = int(line[:3])
            self.status = line
        if '_header_list' in response.__dict__:
            response.text_headers()

    def start_point(self, point: str) -> Coroutine[Any, Any, None] | None:
        """Run the hooks of a point; give None once they have run, or what is to be awaited for those that are left."""
        if self.hooks is not None or point not in self.plan.direct:
            return self.run_point(point)
        # PERF: a coroutine less for each point: 0.6 microseconds.
        self.stage = point
        hooks = getattr(self.plan, point)
        count = 0
        try:
            for hook in hooks:
                count += 1
                result = hook.callback(**hook.kwargs)
                if result is not None and hasattr(result, '__await__'):
                    return self._run_on(point, hooks, count, result)
        except Exception as exc:
            return self._run_on(point, hooks, count, None, exc)
        return None

    async def _run_on(
        self, point: str, hooks: tuple[Hook, ...], count: int, result: Any, failure: Exception | None = None
    ) -> None:
        """Go on with a point of which `count` hooks were run: the last one raised, or gave something to be awaited."""
        ran = list(hooks[:count])
        try:
            await run_hooks(hooks[count:], None, ran, None if self.on_loop else Suspend, result, failure)
        except Exception:
            if point == 'before_finalize':
                self._failed_hooks = ran
            raise

    async def run_point(self, point: str, exc: BaseException | None = None, stage: str | None = None) -> None:
        """Run the hooks of a point: the plan's, or the request's own if it has changed them.

        exc: what is being handled: hooks of errors read sys.exc_info(), in whatever thread they run.
        """
        self.stage = point if stage is None else stage
        if self.hooks is not None:
            hooks = self.hooks.get(point)
            if not hooks:
                return
            hooks = sorted(hooks)
        else:
            hooks = getattr(self.plan, point)
        ran: list[Hook] = []
        try:
            if self.on_loop:
                offload = self.app.offload if point != 'on_end_request' else self.app.offload_end
                if exc is not None:
                    offload = partial(self._offload_within, exc)
                await run_hooks(hooks, offload, ran)
            else:
                await run_hooks(hooks, None, ran, Suspend if exc is None else partial(self._suspend_within, exc))
        except Exception:
            if point == 'before_finalize':
                self._failed_hooks = ran
            raise

    # -- errors

    def _offload_within(self, exc: BaseException, call: Any) -> Any:
        """Call something in the thread pool as if `exc` were being handled there; to be awaited."""
        return self.app.offload(partial(call_within, exc, call))

    def _suspend_within(self, exc: BaseException, awaitable: Any) -> Suspend:
        """Have something awaited on an event loop as if `exc` were being handled there; to be awaited."""
        return Suspend(await_within(exc, awaitable))

    async def _answer_unforeseen(self, exc: Exception) -> None:
        """Make the response to an exception that is no HTTPError or redirect, or raise it where that is asked for."""
        request = self.request
        if isinstance(exc, request.throws) or request.throw_errors or self.throws:
            raise exc
        if 'handle_error' in self.plan.overridden:
            request.handle_error()
        else:
            await self.handle_error(exc)

    async def _answer(self, exc: HTTPError | HTTPRedirect, hooks: bool = True) -> None:
        """Make the response to an HTTPError or HTTPRedirect; before_finalize hooks that ran already stay out."""
        plan = self.plan
        for _ in range(3):
            self.request  # noqa: B018  the error page reads it
            response = self.response
            await self._close_body(response._body)
            response.stream = False
            more = self._set_answer(exc)
            if more is not None:
                await more
            try:
                if hooks and (plan.before_finalize or self.hooks is not None):
                    self.stage = 'before_finalize (HTTPError)'
                    failed = self._failed_hooks
                    if failed is None:
                        await self.run_point('before_finalize', stage=self.stage)
                    else:
                        source = self.hooks['before_finalize'] if self.hooks is not None else plan.before_finalize
                        left = [hook for hook in sorted(source) if hook not in failed]
                        if self.on_loop:
                            await run_hooks(left, self.app.offload)
                        else:
                            await run_hooks(left, None, None, Suspend)
                self._take_result()
                return
            except (HTTPRedirect, HTTPError) as again:
                exc = again
                hooks = False
        raise exc

    def _set_answer(self, exc: HTTPError | HTTPRedirect) -> Any:
        """Make the response that `exc` says; give None, or what is to be awaited until it is made."""
        if self.on_loop and isinstance(exc, HTTPError) and _may_wait(self, exc.set_response):
            return self._make_answer_elsewhere(exc)
        later = exc.set_response()
        if later is None or self.on_loop:
            return later
        return self._suspend_within(exc, later)

    async def _make_answer_elsewhere(self, exc: HTTPError) -> None:
        later = await self._offload_within(exc, exc.set_response)
        if later is not None:
            await later

    async def handle_error(self, exc: BaseException | None = None) -> None:
        """Make the response to an unanticipated exception, which is being handled."""
        plan = self.plan
        request = self.request
        if exc is None:
            exc = sys.exc_info()[1]
        try:
            if plan.before_error_response or self.hooks is not None:
                await self.run_point('before_error_response', exc, stage='on_end_resource')
            response = self.response
            await self._close_body(response._body)
            response.stream = False
            respond = request.error_response or HTTPError(500).set_response
            if not (request.debug and await self._answer_with_debug_page(exc, respond)):
                result: Any
                if self.on_loop and exc is not None and _may_wait(self, respond):
                    result = await self._offload_within(exc, respond)
                else:
                    result = respond()
                if hasattr(result, '__await__'):
                    if self.on_loop:
                        await result
                    else:
                        await (Suspend(result) if exc is None else self._suspend_within(exc, result))
            if plan.after_error_response or self.hooks is not None:
                await self.run_point('after_error_response', stage='on_end_resource')
            self._take_result()
        except HTTPRedirect as redirect:
            redirect.set_response()
            self._take_result()
        finally:
            del exc  # it leads back here

    async def _answer_with_debug_page(self, exc: BaseException | None, respond: Any) -> bool:
        """Make the response a debug page; False, and nothing is done, where it is not to be seen or cannot be made."""
        maker = getattr(respond, '__self__', None)
        if type(maker) is not HTTPError or maker.code != 500:
            return False  # the application has an answer of its own
        from .debug_page import make_page, may_see

        try:
            if exc is None or not may_see(self):
                return False
            if self.on_loop:
                page = await self.app.offload_end(partial(make_page, self, exc))
            else:
                page = make_page(self, exc)
            page.set_response(self)
        except Exception as error:
            log_once(error)
            return False
        return True

    def _fall_back(self, exc: BaseException) -> None:
        """Answer with the bare error, when making the proper response failed or errors are to be thrown."""
        log_once(exc)
        show = self._request.show_tracebacks if self._request is not None else self.show_tracebacks()
        text = format_exc() if show else None
        status, headers, body = bare_error(text)
        self.status = status.decode('latin-1')
        self.code = 500
        self.body = b''.join(body)
        response = self.response
        response.status = self.status
        response.output_status = status
        response._body = [self.body]
        response.header_list = list(headers)

    def show_tracebacks(self) -> bool:
        """Say whether error pages of this request show tracebacks, by its plan or else by global config."""
        if self.plan is not None:
            attrs = self.plan.request_attrs
            if 'show_tracebacks' in attrs:
                return bool(attrs['show_tracebacks'])
            return bool(self.plan.request_class.show_tracebacks)
        return bool(self.site.config.get('request.show_tracebacks', False))

    async def fail(self, exc: BaseException) -> None:
        """Answer anew, with an error page, because a streamed body raised before its first chunk."""
        try:
            try:
                # Hooks and error pages look at the exception being handled, in whatever thread they run.
                raise exc
            except ClientDisconnected as again:
                self._give_up(again)
                return
            except (HTTPError, HTTPRedirect) as again:
                await self._answer(again, hooks=False)
            except Exception as again:
                self.response.headers.pop('Content-Length', None)
                await self.handle_error(again)
        except Exception as error:
            self._fall_back(error)
        if self.head.method == 'HEAD':
            await self._drop_body()

    async def _run_overridden(self, plan: Plan) -> None:
        """Run with a Request subclass that overrides steps: its methods are called where the steps stand."""
        request = self.request
        if 'process_headers' in plan.overridden and self.fault is None:
            try:
                request.process_headers()
            except Exception as exc:
                self.fault = exc
        try:
            if 'respond' in plan.overridden:
                request.respond(self.path_info)
            else:
                await self.run(inner=True)
        except Exception as exc:
            if not self._give_up(exc):
                return
        if self.head.method == 'HEAD':
            await self._drop_body()
        log = self.app.log
        if log.wants_access():
            self._log_access(log)

    # -- the result

    def text_headers(self) -> list[tuple[str, str]]:
        if self._response is not None:
            headers: list[tuple[str, str]] = self._response.text_headers()
            return headers
        if self.dropped or self.disconnected:
            return self._known_headers()
        return [
            ('Content-Type', self.content_type or self.plan.content_type),
            ('Content-Length', str(len(self.body))),
        ]

    def _known_headers(self) -> list[tuple[str, str]]:
        """Give the headers of an answer for which no response was made."""
        if self.disconnected:
            return [('Content-Type', 'text/plain'), ('Content-Length', '0')]
        return [
            ('Content-Type', self.content_type or self.plan.content_type),
            ('Content-Length', str(self._length if self.dropped else len(self.body))),
        ]

    def byte_headers(self) -> list[tuple[bytes, bytes]]:
        if self._response is None and not self.disconnected:
            content_type = self.content_type or self.plan.content_type
            pair = _TYPES.get(content_type)
            if pair is None:
                pair = (b'content-type', content_type.encode('latin-1'))
                if len(_TYPES) < 100:
                    _TYPES[content_type] = pair
            return [pair, (b'content-length', b'%d' % (self._length if self.dropped else len(self.body)))]
        return [(name.lower().encode('latin-1'), value.encode('latin-1')) for name, value in self.text_headers()]

    async def _drop_body(self) -> None:
        """Keep the head, drop the body: HEAD. The body is closed, its length stays told."""
        if type(self.body) is bytes:
            self._length = len(self.body)
        else:
            await self._close_body(self.body)
        self.dropped = True
        self.body = b''

    async def _close_body(self, body: Any) -> None:
        if type(body) is list:
            return
        try:
            if hasattr(body, 'close'):
                body.close()
            elif hasattr(body, 'aclose'):
                await (body.aclose() if self.on_loop else Suspend(body.aclose()))
        except Exception as exc:
            log_once(exc)

    # -- the end

    async def finish(self) -> None:
        """Close the body, then run the on_end_request hooks: once, in the request's context, whatever happened."""
        if self.closed:
            return
        self.closed = True
        body = self.body
        request = self._request
        if request is None and self.plan is not None and self.plan.request_class.close is not Request.close:
            request = self.request
        try:
            if type(body) is not bytes:
                self.body = b''
                await self._close_body(body)
            if request is not None and 'body' in request.__dict__:
                await self._close_body(request.body)
            if self.app.publishes:
                self._publish('after_request')
        finally:
            # Even where closing raised what ends the process.
            if request is not None and type(request).close is not Request.close:
                try:
                    request.close()
                except Exception as exc:
                    log_once(exc)
            else:
                await self.finish_request()
        if self.redirect is None:
            # Request, context and exchange refer to each other: cut here, so that all go when the last user lets go.
            self._request = None
            self._response = None
            self.context = None

    async def finish_request(self) -> None:
        request = self._request
        if request is not None:
            if request.closed:
                return
            request.closed = True
        if self.plan is not None and (self.plan.on_end_request or self.hooks is not None):
            try:
                await self.run_point('on_end_request')
            except Exception as exc:
                log_once(exc)
        self.stage = 'close'

    def close_fast(self) -> bool:
        """End here and now an exchange that has nothing left to do; False, and nothing is done, if it has."""
        plan = self.plan
        if plan.closes and (plan.idle_ends is None or not all(idle(self) for idle in plan.idle_ends)):
            return False
        if self.hooks is not None or self.app.publishes or type(self.body) is not bytes:
            return False
        request = self._request
        if request is not None:
            if 'body' in request.__dict__:
                return False
            request.closed = True
            self._request = None
        self.closed = True
        self._response = None
        if self.context is not None:
            self.context = None
        return True

    def publish_start(self) -> None:
        """Tell the engine's listeners that a request begins."""
        self.published = True
        self._publish('acquire_thread')
        self._publish('before_request')

    def _publish(self, channel: str) -> None:
        try:
            self.site.engine.publish(channel)
        except Exception as exc:
            log_once(exc)

    # -- for gateways

    suspend = Suspend

    def log_error(self, exc: BaseException) -> None:
        """Write an error of the streamed body to the error log, unless it is there already."""
        if not isinstance(exc, ClientDisconnected):
            log_once(exc)

    def follow(self) -> Exchange:
        """Open the exchange that an InternalRedirect leads to; this one must be finished."""
        redirect = self.redirect
        assert redirect is not None  # the gateway has looked
        query = self.head.query
        visited = (*self.visited, self.script_name + self.path_info + (f'?{query}' if query else ''))
        target = self.script_name + redirect.path + (f'?{redirect.query_string}' if redirect.query_string else '')
        recursive = self.app.wsgiapp.config.get('InternalRedirector', {}).get('recursive', False)
        fault: Exception | None = None
        if (not recursive and target in visited) or len(visited) > MAX_REDIRECTS:
            fault = RuntimeError(f'InternalRedirector visited the same URL twice: {target!r}')
        head = self.head.redirected(redirect.path, redirect.query_string)
        exchange: Exchange = self.app.open(head, None, self.script_name, redirect.path, fault)
        exchange.visited = visited
        exchange.prev = redirect.request
        exchange.throws = fault is not None
        self._request = self._response = None
        return exchange


def _body_of(response: Response) -> Any:
    """Give a response's body as gateways take it: bytes where there is one chunk, or none."""
    body = response._body
    if type(body) is list and len(body) <= 1 and not response.stream:
        return body[0] if body else b''
    return body


def _may_wait(exchange: Exchange, respond: Any) -> bool:
    """Say whether what makes the answer to an exception is plain code of the application's."""
    error = getattr(respond, '__self__', None)
    if isinstance(error, HTTPError):
        # An error page of the application's own, if anything.
        request = exchange._request
        pages = exchange.plan.error_page if request is None else request.__dict__.get('error_page')
        if pages is None:
            pages = exchange.plan.error_page
        page = (pages.get(error.code) or pages.get('default')) if pages else None
        if not callable(page):
            return False
        respond = page
    return not (getattr(respond, 'non_blocking', False) or is_async_callable(respond))


def _read_all(iterator: Any) -> list[Any]:
    try:
        return list(iterator)
    finally:
        if hasattr(iterator, 'close'):
            iterator.close()


def _is_one_of(media: str, media_types: frozenset[str]) -> bool:
    """Say whether a Content-Type names one of the media types."""
    return media in media_types or media.partition(';')[0].strip().lower() in media_types


def current_request() -> Any:
    """Give the request being served in this context, or the default one."""
    exchange = exchange_var.get()
    if exchange is None:
        return current().request
    request = exchange._request
    return exchange.request if request is None else request


def current_response() -> Any:
    """Give the response being made in this context, or the default one."""
    exchange = exchange_var.get()
    if exchange is None:
        return current().response
    response = exchange._response
    return exchange.response if response is None else response


class OutsideExchange(Exchange):
    """What `request` and `response` show outside of requests: defaults, and `app` is None."""

    def __init__(self, site: Site) -> None:
        super().__init__(None, None)
        self.site = site
