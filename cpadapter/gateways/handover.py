"""Handing a connection over to what is grafted, or answering 404 for nobody, under either gateway.

Who speaks which protocol is children.py's to say; how the two meet is wsgi_child.py's and asgi_child.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocol.messages import RequestHead
    from ..typing import Receive, Scope, Send, StartResponse
    from .children import Child

__all__ = ['Handover']


class Handover:
    """Stands where an Exchange would, for what is mounted but is no Application.

    child: what is grafted, None if there is nothing.
    script_name, path_info: where; they are the path, with the slashes collapsed.
    """

    plan = None

    def __init__(
        self, head: RequestHead, child: Child | None, script_name: str, path_info: str, site: Any = None
    ) -> None:
        self.head = head
        self.child = child
        self.script_name = script_name
        self.path_info = path_info
        self.site = site

    def _environ(self) -> dict[str, Any]:
        environ = dict(self.head.environ)
        environ['SCRIPT_NAME'] = self.script_name.encode('utf-8').decode('latin-1')
        environ['PATH_INFO'] = self._decoded().encode('utf-8').decode('latin-1')
        return environ

    def _decoded(self) -> str:
        """Give path_info with each escape undone: SPEC: RFC 3875 4.1.5. The tree leaves an encoded slash as %2F."""
        path_info = self.path_info
        segments = self.head.segments
        if segments is None:
            return path_info
        count = sum(1 for name in path_info.split('/') if name)
        names = segments[len(segments) - count :]
        return ('/' + '/'.join(names) if names else '') + ('/' if path_info[-1:] == '/' else '')

    def _state(self, child: Child) -> dict[str, Any]:
        return {**self.site.engine.shared, **child.state}

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
        child = self.child
        if child is None:
            status, headers, body = self._not_found()
            start_response(status, headers)
            return [body]
        if not child.settled:
            self.site.lifespans.ensure(child)
        result: Iterable[bytes]
        if child.protocol == 'asgi':
            from .asgi_child import serve_asgi_child

            result = serve_asgi_child(
                *(child.call, self.head, self.script_name, self._decoded(), self._state(child)),
                start_response,
                self._report,
                self.site.lifespans.tails,
            )
        elif child.protocol == 'both':
            result = child.app.wsgi(self._environ(), start_response)
        else:
            result = child.app(self._environ(), start_response)
        return result

    async def hand_over_asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI connection of type http or websocket."""
        child = self.child
        if child is not None and child.protocol != 'wsgi':
            if not child.settled:
                from .lifespan import ensure_child

                await ensure_child(self.site, child)
            from .asgi_child import child_scope

            scope = child_scope(scope, self.script_name, self._decoded(), self._state(child))
            await (child.call if child.protocol == 'asgi' else child.app.asgi)(scope, receive, send)
        elif scope['type'] == 'websocket':
            # SPEC: ASGI WebSocket 2.5: closed before it was accepted, the server answers 403.
            await receive()
            await send({'type': 'websocket.close', 'code': 1000, 'reason': ''})
        elif child is None:
            status, headers, body = self._not_found()
            await send(
                {
                    'type': 'http.response.start',
                    'status': int(status[:3]),
                    'headers': [(name.lower().encode(), value.encode()) for name, value in headers],
                }
            )
            await send({'type': 'http.response.body', 'body': body})
        else:
            from .wsgi_child import serve_wsgi_child

            reader: Any = self.head.reader()
            reader.limit = self.site.server.max_request_body_size or None
            await serve_wsgi_child(child.app, self._environ(), self.head, self.site, send)

    def _report(self, exc: BaseException) -> None:
        """Log what a child raised when its response was whole, or its client had gone."""
        from traceback import format_exception

        text = ''.join(format_exception(type(exc), exc, exc.__traceback__))
        self.site.log.error(f'{self.child!r} failed after its response:\n{text}', 'GRAFT', severity=40)
