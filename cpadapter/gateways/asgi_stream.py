"""A streamed body over ASGI: pulled chunk by chunk as the client takes it, and let go when the client goes.

A body that is a file is the server's to send, where it can (pathsend, zerocopysend).
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ..context import exchange_var
from ..errors import ClientDisconnected
from ..protocol.files import sendable_run
from ..protocol.iterators import as_bytes, count_body
from .bridge import END_OF_CHUNKS, drive_in_pool, mend_cancellation, next_chunk, pool_for

if TYPE_CHECKING:
    from ..typing import Message, Send

__all__ = ['send_stream']


class _Gone(Exception):
    """The client has left: `send` raised OSError, as the ASGI HTTP specification says since 2.4."""


# Chunks that are sent before the loop gets a chance whatever the body and the server do: neither has to suspend.
_RUN_OF_CHUNKS = 16


def _file_message(exchange: Any) -> Message | None:
    """Give the message that lets the server send a body that is a file; None where it has none that will do.

    ASGI extensions http.response.zerocopysend, for any part of a file, and http.response.pathsend, for a whole one.
    """
    offered = exchange.head.native.get('extensions')
    if not offered:
        return None
    zero_copy = 'http.response.zerocopysend' in offered
    if not zero_copy and 'http.response.pathsend' not in offered:
        return None
    run = sendable_run(exchange.body, exchange.text_headers())
    if run is None:
        return None
    if zero_copy:
        return {
            'type': 'http.response.zerocopysend',
            'file': run.file,
            'offset': run.start,
            'count': run.length,
            'more_body': False,
        }
    # The server opens the file some time after it took the message, and what runs at the end might take it away.
    if run.path is None or exchange.plan.closes or exchange.hooks is not None or exchange.app.publishes:
        return None
    return {'type': 'http.response.pathsend', 'path': run.path} if run.is_whole() else None


async def send_stream(exchange: Any, send: Send, outside: Any) -> None:
    """Send a streamed body chunk by chunk, as fast as the client takes it; stop at once when it has gone.

    outside: the exchange around this one, which is the context's again when the last message is sent.
    """
    body = exchange.body
    message = _file_message(exchange)
    if message is not None:
        try:
            await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
            exchange_var.set(outside)
            await send(message)
        except OSError:
            exchange.disconnected = True
        return
    context = exchange.context or copy_context()
    chunks: Any = None
    # What is there already needs nobody to watch for the client's leaving.
    watched = not isinstance(body, (list, tuple))

    async def fetch() -> Any:
        nonlocal chunks
        if hasattr(body, '__aiter__'):
            if chunks is None:
                chunks = body.__aiter__()
            try:
                return await chunks.__anext__()
            except StopAsyncIteration:
                return END_OF_CHUNKS
            except asyncio.CancelledError as exc:
                raise mend_cancellation(exc) from None
        if chunks is None:
            chunks = iter(body)
        if watched:
            pool = exchange.site.handler_pool()
            return await pool.run(context, next_chunk, chunks, abort=exchange.head.abort)
        return next_chunk(chunks)

    counted = count_body(exchange.text_headers())

    async def fetch_bytes() -> Any:
        chunk = await fetch()
        if chunk is not END_OF_CHUNKS:
            if type(chunk) is not bytes:
                chunk = as_bytes(chunk)
            if counted is not None:
                counted.take(chunk)
        elif counted is not None:
            counted.end()
        return chunk

    async def put(data: bytes, more: bool = False) -> None:
        try:
            await send({'type': 'http.response.body', 'body': data, 'more_body': more})
        except OSError:
            raise _Gone from None

    async def put_head() -> None:
        try:
            await send({'type': 'http.response.start', 'status': exchange.code, 'headers': exchange.byte_headers()})
        except OSError:
            raise _Gone from None

    task: Any = asyncio.current_task()

    async def watch() -> None:
        try:
            await exchange.head.reader().left()
        except Exception:
            return  # a server that cannot tell; what is sent to a client that has gone raises, or goes nowhere
        exchange.disconnected = True
        task.cancel()

    watcher: Any = None
    try:
        # Looking for what the client sends would tell one that waits for leave to send its body to go on.
        if watched and exchange.head.get('expect') is None:
            watcher = asyncio.ensure_future(watch())
        try:
            chunk = await fetch_bytes()
        except Exception as exc:
            if exchange.on_loop:
                await exchange.fail(exc)
            else:
                await drive_in_pool(pool_for(4, 'finish'), exchange.fail(exc), context)
            if exchange.disconnected:
                return
            await put_head()
            failed = exchange.body
            exchange_var.set(outside)
            await put(failed if type(failed) is bytes else b''.join(failed))
            return
        await put_head()
        if watched and watcher is None:
            watcher = asyncio.ensure_future(watch())
        sent = 0
        while chunk is not END_OF_CHUNKS:
            await put(chunk, True)
            sent += 1
            if not sent % _RUN_OF_CHUNKS:
                await asyncio.sleep(0)
            if exchange.disconnected:
                # What makes the body has ignored the cancellation.
                raise asyncio.CancelledError
            try:
                chunk = await fetch_bytes()
            except ClientDisconnected:
                raise _Gone from None
            except Exception as exc:
                exchange.log_error(exc)
                raise
        if watcher is not None:
            watcher.cancel()
        exchange_var.set(outside)
        await put(b'')
    except _Gone:
        exchange.disconnected = True
    except asyncio.CancelledError:
        # By the watcher, and by nobody else?
        if not exchange.disconnected or (hasattr(task, 'uncancel') and task.uncancel()):
            raise
    finally:
        if watcher is not None:
            watcher.cancel()
