"""Handing a request over to a WSGI callable that is not ours, under either gateway, or answering 404 for nobody.

Under ASGI the callable runs in a pool thread, its body streamed as it is made and its input as it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import ClientDisconnected

if TYPE_CHECKING:
    from ..protocol.messages import RequestHead
    from ..typing import Receive, Scope, Send, StartResponse

__all__ = ['Handover']


class Handover:
    """Stands where an Exchange would, for what is mounted but is no Application.

    app: the WSGI callable, None if there is none.
    """

    plan = None
    # Whether the client has left.
    gone = False

    def __init__(self, head: RequestHead, app: Any, script_name: str, path_info: str, site: Any = None) -> None:
        self.head = head
        self.app = app
        self.script_name = script_name
        self.path_info = path_info
        self.site = site

    def _environ(self) -> dict[str, Any]:
        environ = dict(self.head.environ)
        environ['SCRIPT_NAME'] = self.script_name.encode('utf-8').decode('latin-1')
        environ['PATH_INFO'] = self.path_info.encode('utf-8').decode('latin-1')
        return environ

    def _not_found(self) -> tuple[str, list[tuple[str, str]], bytes]:
        if self.head.fault is not None:
            from ..protocol.status import response_codes

            code, text = self.head.fault
            status, body = f'{code} {response_codes[code][0]}', text.encode()
        else:
            status, body = '404 Not Found', b'Nothing is mounted at this path.'
        headers = [
            ('Content-Type', 'text/plain;charset=utf-8'),
            ('Content-Length', str(len(body))),
            ('X-Content-Type-Options', 'nosniff'),
        ]
        return status, headers, b'' if self.head.method == 'HEAD' else body

    def hand_over(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request."""
        if self.app is None:
            status, headers, body = self._not_found()
            start_response(status, headers)
            return [body]
        result: Iterable[bytes] = self.app(self._environ(), start_response)
        return result

    async def hand_over_asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI request, by running the WSGI callable in a thread."""
        if self.app is None:
            status, headers, body = self._not_found()
            await send(
                {
                    'type': 'http.response.start',
                    'status': int(status[:3]),
                    'headers': [(name.lower().encode(), value.encode()) for name, value in headers],
                }
            )
            await send({'type': 'http.response.body', 'body': body})
            return
        import asyncio
        from contextvars import copy_context

        loop = asyncio.get_running_loop()
        reader: Any = self.head.reader()
        reader.loop = loop
        limit = self.site.server.max_request_body_size if self.site is not None else None
        reader.limit = limit or None

        async def watch() -> None:
            try:
                await reader.left()
            except Exception:
                return  # a server that cannot tell
            self.gone = True

        # To look for what comes would tell a client that waits for leave to send its body to go on.
        watcher = asyncio.ensure_future(watch()) if self.head.get('expect') is None else None
        pool = self.site.handler_pool()
        future = pool.submit(copy_context(), self._run, loop, send)
        try:
            await future
        except asyncio.CancelledError:
            self.gone = True
            reader.abort()
            await pool.wait_for_end(future)
            raise
        except (ClientDisconnected, ConnectionError):
            pass  # nobody is there to be told
        finally:
            if watcher is not None:
                watcher.cancel()

    def _run(self, loop: Any, send: Send) -> None:
        """Run the WSGI callable in this thread; each chunk waits until the server has taken it."""
        import asyncio

        from ..protocol.iterators import as_bytes

        def put(message: dict[str, Any]) -> None:
            if self.gone:
                raise ClientDisconnected()
            asyncio.run_coroutine_threadsafe(send(message), loop).result()  # type: ignore[arg-type]

        head: list[Any] = []
        sent = False

        def send_head() -> None:
            nonlocal sent
            if not head:
                raise RuntimeError('The WSGI callable gave a body before it called start_response.')
            sent = True
            put({'type': 'http.response.start', 'status': int(head[0][:3]), 'headers': head[1]})

        def write(data: bytes) -> None:
            if not sent:
                send_head()
            if data:
                put({'type': 'http.response.body', 'body': data, 'more_body': True})

        def start_response(status: str, headers: Any, exc_info: Any = None, /) -> Any:
            if exc_info is not None:
                try:
                    if sent:
                        raise exc_info[1].with_traceback(exc_info[2])
                finally:
                    exc_info = None
            head[:] = status, [(name.lower().encode('latin-1'), value.encode('latin-1')) for name, value in headers]
            return write

        body = self.app(self._environ(), start_response)
        try:
            for chunk in body:
                if chunk or not sent:
                    write(as_bytes(chunk)) if chunk else None
            if not sent:
                send_head()
            put({'type': 'http.response.body', 'body': b''})
        finally:
            close = getattr(body, 'close', None)
            if close is not None:
                close()
