"""Shapes that cross the borders between gateways and core, and the WSGI and ASGI callables.

Only Protocols and aliases live here; nothing is run. Gateways see core as an `Opener` and nothing more; core
sees a gateway as a `RequestHead` (protocol/messages.py) and a `BodyReader`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from types import TracebackType

    from .protocol.messages import RequestHead

__all__ = [
    'ASGIApp',
    'BodyReader',
    'Environ',
    'ExcInfo',
    'Exchange',
    'Message',
    'Opener',
    'Receive',
    'Scope',
    'Send',
    'StartResponse',
    'WSGIApp',
]

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, 'TracebackType | None']


class StartResponse(Protocol):
    """PEP 3333: start_response(status, headers, exc_info=None) -> write."""

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]: ...


WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyReader(Protocol):
    """The request's body as a gateway gives it.

    length: bytes declared by Content-Length, None if undeclared.
    suspends: whether `aread` may.
    """

    length: int | None
    suspends: bool

    def read(self, size: int = -1, /) -> bytes:
        """Give up to `size` bytes (-1: all), blocking; b'' at the end.

        Raises errors.ClientDisconnected if the client left before the body was whole.
        """

    async def aread(self, size: int = -1, /) -> bytes:
        """The same for async code; under WSGI it suspends on an event loop only."""


class Exchange(Protocol):
    """One request and its response, as a gateway drives it (core/pipeline.py)."""

    is_async: bool
    status: str
    body: Any

    async def run(self) -> None:
        """Do the request; afterwards `status`, `body` and the header lists are set. Never raises Exception."""

    def text_headers(self) -> list[tuple[str, str]]:
        """Headers for start_response: latin-1 text, names as spelt."""

    def byte_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers for ASGI: names in lower case."""


class Opener(Protocol):
    """Whoever can answer a request head: an Application or a Tree."""

    def open(self, head: RequestHead, /) -> Any:
        """Find the page handler for `head` and give its Exchange; never raises Exception."""
