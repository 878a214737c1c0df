"""One object that is a WSGI application, an ASGI 3 and an ASGI 2 application, by how it is called.

Servers ask before they call: some look for a coroutine function in `app.__call__`. What they find there is a
function-like object that says it is one and, called, does what calling the application does. It neither opens
nor sends anything itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from .wsgi import serve_wsgi

if TYPE_CHECKING:
    from ..typing import Environ, Receive, Scope, Send, StartResponse

__all__ = ['DualCallable']


async def __call__(scope: Scope, receive: Receive, send: Send) -> None:
    """Only its code object is used: it bears the flag of a coroutine function."""


class _Detectable:
    """What `app.__call__` gives: inspect.iscoroutinefunction says True of it, on every version of Python."""

    __name__ = '__call__'
    __code__ = __call__.__code__
    __defaults__ = None
    __kwdefaults__ = None
    __annotations__: dict[str, Any] = {}

    def __init__(self, target: Any) -> None:
        self.target = target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)

    def __repr__(self) -> str:
        return f'<__call__ of {self.target!r}>'


class DualCallable:
    """Base of what servers are given: `app(environ, start_response)`, `app(scope, receive, send)`, `app(scope)`.

    A subclass has `open(head)`. `wsgi` and `asgi` are the same for one protocol only.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.__dict__['__call__'] = _Detectable(self)
        return self

    def __call__(self, environ: Any, start_response: Any = None, send: Any = None) -> Any:
        """Serve a request: two arguments mean WSGI (PEP 3333), three ASGI 3, one ASGI 2."""
        if send is not None:
            return self.asgi(environ, start_response, send)
        if start_response is not None:
            return self.wsgi(environ, start_response)
        if not isinstance(environ, dict) or 'type' not in environ:
            raise TypeError(
                'An application is called with (environ, start_response) by WSGI servers and with '
                '(scope, receive, send) by ASGI servers.'
            )
        return self._asgi2(environ)

    def wsgi(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a WSGI request."""
        return serve_wsgi(self, environ, start_response)

    plain_wsgi = wsgi

    def asgi(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve an ASGI connection; gives the coroutine to await."""
        from .asgi import serve_asgi

        # From now on the instance finds it without an import.
        type(self).asgi = serve_asgi  # type: ignore[assignment,method-assign]
        return serve_asgi(self, scope, receive, send)

    def lifespan(self, parent: Any = None) -> Any:
        """Give an async context manager that starts the engine and what is grafted, and stops them at its end.

        For the lifespan of an ASGI application this one is mounted in, which forwards none to its mounts: it is
        called there as `async with application.lifespan():`, or given as `Starlette(lifespan=application.lifespan)`.
        parent: the application it is in; not looked at. It gives what `engine.shared` holds, None if that is nothing.
        """
        from .lifespan import hold

        return hold((self,))

    def _asgi2(self, scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
        def instance(receive: Receive, send: Send) -> Awaitable[None]:
            return self.asgi(scope, receive, send)

        return instance
