"""The ASGI border: scope -> head, exchange -> send.

ASGI 3.0, HTTP messages spec 2.5. A plan of plain functions crosses to the thread pool once, with the whole run
(bridge.py); an async one runs here. Of core it sees an Opener and the Exchange that gives.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ..context import exchange_var
from ..errors import Overloaded
from ..protocol.messages import CrossFirst
from .asgi_head import AsgiHead
from .asgi_reader import Around
from .asgi_steps import finish, open_in_pool
from .asgi_stream import send_stream
from .bridge import PoolFull, WorkerPool, drive_in_pool, mend_cancellation
from .lifespan import serve_lifespan, start_lazily

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..typing import Receive, Scope, Send

__all__ = ['serve_asgi']


async def serve_asgi(opener: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI connection to an Application or Tree."""
    kind = scope['type']
    if kind != 'http':
        if kind == 'lifespan':
            await serve_lifespan(opener, scope, receive, send)
        elif kind == 'websocket':
            from .asgi_websocket import serve_websocket

            await serve_websocket(opener, scope, receive, send)
        else:
            raise RuntimeError(f'There is no ASGI connection type {kind!r} here: known are http, websocket, lifespan.')
        return
    outside = exchange_var.get()
    head = AsgiHead(scope, receive)
    if head.method != 'GET':
        head.around = copy_context()
    try:
        exchange = opener.open(head)
    except CrossFirst:
        exchange_var.set(outside)
        try:
            exchange = await _open_later(opener, head, outside)
        except PoolFull as full:
            await _refuse(opener.site, None, send, full)
            return
    if exchange.plan is None:
        exchange_var.set(outside)
        try:
            await exchange.hand_over_asgi(scope, receive, send)
        except PoolFull as full:
            await _refuse(opener.site, None, send, full)
        return
    try:
        plan = exchange.plan
        if plan.cancels:
            await _run_watched(exchange, _run(exchange))
        elif plan.is_async:
            exchange.on_loop = True
            await exchange.run()
        else:
            await _run_in_pool(exchange, exchange.site.handler_pool())
        while exchange.redirect is not None:
            await finish(exchange)
            try:
                if not exchange.head.on_loop:
                    raise CrossFirst
                exchange = exchange.follow()
            except CrossFirst:
                exchange = await open_in_pool(opener.site.step_pool(), exchange.head, exchange.follow)
            running = _run(exchange, begun=True)
            await (_run_watched(exchange, running) if exchange.plan.cancels else running)
        body = exchange.body
        if head.outward is not None:
            send = Around(head.outward.context, send)
        if type(body) is not bytes:
            if not exchange.disconnected:
                await send_stream(exchange, send, outside)
        elif not exchange.disconnected:
            # What the server makes from here on, such as a timer for the idle connection, holds a copy of this
            # context for as long as it likes: not the request with it.
            exchange_var.set(outside)
            try:
                await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
                await send({'type': 'http.response.body', 'body': body})
            except OSError:
                # SPEC: ASGI HTTP 2.4: raised where the client has gone.
                exchange.disconnected = True
            exchange.close_fast()
    except PoolFull as full:
        await _refuse(exchange.site, exchange, send, full)
    finally:
        try:
            if not exchange.closed:
                exchange_var.set(exchange)
                await finish(exchange)
        finally:
            exchange_var.set(outside)
            if head.watching is not None:
                head.unwatch()


async def _open_later(opener: Any, head: AsgiHead, outside: Any) -> Any:
    """Open an exchange for which something has to be done first that may wait: start the engine, or dispatch."""
    if opener.site.engine.needs_start:
        await start_lazily(opener.site)
        try:
            return opener.open(head)
        except CrossFirst:
            exchange_var.set(outside)
    return await open_in_pool(opener.site.handler_pool(), head, opener.open, head)


async def _refuse(site: Any, exchange: Any, send: Send, full: PoolFull) -> None:
    """Answer a request of which nothing was run, because too many wait for a thread: 503, made here and now."""
    error = Overloaded(f'The server is too busy: {full} (server.thread_pool, server.accepted_queue_size).')
    site.note_overload(error)
    if exchange is not None:
        code, headers, body = exchange.refuse(error)
        exchange_var.set(None)
    else:
        body = f'{error.args[1]}\n'.encode()
        code = error.code
        headers = [
            (b'content-type', b'text/plain;charset=utf-8'),
            (b'content-length', b'%d' % len(body)),
            (b'retry-after', b'%d' % error.retry_after),
        ]
    try:
        await send({'type': 'http.response.start', 'status': code, 'headers': headers})
        await send({'type': 'http.response.body', 'body': body})
    except OSError:
        pass  # the client has not waited for it


async def _run(exchange: Any, begun: bool = False) -> None:
    """Run an exchange by its colour. begun: others have run for this request, so that it is not refused."""
    if exchange.plan.is_async:
        exchange.on_loop = True
        await exchange.run()
    else:
        await _run_in_pool(exchange, exchange.site.step_pool() if begun else exchange.site.handler_pool())


async def _run_watched(exchange: Any, running: Coroutine[Any, Any, None]) -> None:
    """Run an exchange, and cancel it when the client leaves: `request.on_disconnect` says so."""
    leaving = exchange.head.watch()
    if leaving is None:
        await running
        return
    task: Any = asyncio.current_task()
    over = cancelled = False

    def left(leaving: asyncio.Task[None]) -> None:
        nonlocal cancelled
        if not over and exchange.head.is_disconnected():
            cancelled = True
            task.cancel()

    leaving.add_done_callback(left)
    try:
        await running
    except asyncio.CancelledError:
        # By the watcher, and by nobody else?
        if not cancelled or (hasattr(task, 'uncancel') and task.uncancel()):
            raise
        exchange.abandon()
    else:
        if cancelled:
            # The page handler has seen to the cancellation itself.
            exchange.disconnected = True
            if hasattr(task, 'uncancel'):
                task.uncancel()
    finally:
        over = True
        leaving.remove_done_callback(left)


async def _run_in_pool(exchange: Any, pool: WorkerPool) -> None:
    """Run a plan of plain functions in a thread, with all that follows it there; or here if it never blocks."""
    head = exchange.head
    if exchange.plan.non_blocking or (exchange.handler is None and exchange.plan.light):
        reader = None
        if head.method in exchange.plan.methods_with_bodies:
            reader = exchange.reader()
            reader.suspend = exchange.suspend
            reader.driven_on_loop = True
        coroutine = exchange.run()
        try:
            wanted = coroutine.send(None)
        except StopIteration:
            pass
        else:
            await _drive_here(exchange, coroutine, wanted)
        if reader is not None:
            reader.driven_on_loop = False
        return
    # Whoever reads the body in the thread waits for this loop to read it.
    head.loop = asyncio.get_running_loop()
    head.suspend = exchange.suspend
    # A client that asks first whether to send its body is told by whoever reads it.
    if head.method not in _BODILESS and head.get('expect') is None:
        await exchange.reader().prefetch()
    context = exchange.context = copy_context()
    await drive_in_pool(pool, exchange.run(), context, head.abort, exchange.site.step_pool)


_BODILESS = frozenset(('GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'))


async def _drive_here(exchange: Any, coroutine: Any, wanted: Any) -> None:
    reader = exchange.head.reader()
    while True:
        try:
            # What is awaited here may read the body too.
            reader.driven_on_loop = False
            try:
                value = await wanted.awaitable
            finally:
                reader.driven_on_loop = True
        except BaseException as exc:
            try:
                wanted = coroutine.throw(mend_cancellation(exc))
            except StopIteration:
                return
        else:
            try:
                wanted = coroutine.send(value)
            except StopIteration:
                return
