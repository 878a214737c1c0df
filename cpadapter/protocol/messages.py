"""What crosses the border from a gateway to core: the head of one request.

A RequestHead that exists is valid: the gateway has decoded the path, checked Host and the protocol version, or
has put what was wrong into `fault`, an (HTTP status, message) pair that the pipeline answers as it answers any
error. It knows neither WSGI nor ASGI beyond `native`, the environ or scope it was made from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..typing import BodyReader
    from .headers import Host

__all__ = [
    'CrossFirst',
    'RequestHead',
    'collapse',
    'decode_path',
    'host_fault',
    'parse_version',
    'segments_of',
    'split_outer',
]


class CrossFirst(BaseException):
    """Raised by `open` on an event loop where code of the application's is needed to dispatch, which may wait.

    The gateway then opens the exchange in a thread.
    """


class RequestHead:
    """One request's head, made by a gateway, read by core.

    native: the WSGI environ or the ASGI scope, as the server gave it.
    method: as received.
    outer: what is mounted outside of us (SCRIPT_NAME, root_path), no trailing slash, decoded.
    path: decoded text below `outer`, starting with '/', duplicate slashes kept; an encoded slash is left as %2F
        where the server lets us know of it.
    segments: None, or the path's decoded names where a name holds an encoded slash or percent sign.
    query: query string as received, latin-1 text, not percent-decoded.
    fault: None, or (status, message) of what is wrong with the request as a whole.
    """

    native: Any
    method: str
    outer: str = ''
    path: str
    query: str = ''
    segments: list[str] | None = None
    fault: tuple[int, str] | None = None
    # True while the gateway opens the exchange on an event loop, where nothing may wait.
    on_loop = False
    # The event loop that waits while a thread opens the exchange, if one does.
    opened_on: Any = None
    # True where the thread that runs the page handler is not the one that opens the exchange.
    defers = False
    # The messages of a WebSocket, if this is the head of its handshake.
    connection: Any = None
    # The request that something outside redirected from, if it says so.
    previous: Any = None

    def get(self, name: str) -> str | None:
        """Give the header `name` (lower case, hyphens) as latin-1 text, None if absent; repeated ones joined."""
        raise NotImplementedError

    def has_accept_charset(self) -> bool:
        """Say whether there is an Accept-Charset header; asked at each request, few clients send one."""
        raise NotImplementedError

    def items(self) -> Iterator[tuple[str, str]]:
        """Give all headers as (name, value), latin-1 text, in the order the server keeps."""
        raise NotImplementedError

    def titled(self) -> Iterator[tuple[str, str]]:
        """Give all headers with their names in Title-Case."""
        for name, value in self.items():
            yield name.title(), value

    def reader(self) -> BodyReader:
        """Give the reader of the body: the same one at each call."""
        raise NotImplementedError

    def declared(self) -> tuple[str | None, int | None]:
        """Give (Content-Type, Content-Length) as far as they are plain: the length is None for any but 0 to 9999999.

        None stands for a body in chunks, no length, or one that needs a closer look.
        """
        raise NotImplementedError

    def read_now(self, length: int) -> bytes:
        """Take what can be had, without awaiting, of a body of `length` bytes; the reader gives the rest."""
        return b''

    async def read_first(self, length: int) -> bytes:
        """Take what comes first of a body of `length` bytes; the reader gives the rest."""
        return b''

    def is_disconnected(self) -> bool:
        """Say whether the client is known to have left."""
        return False

    async def left(self) -> None:
        """Wait, on an event loop, until the client leaves: for ever where nobody can tell."""
        raise NotImplementedError

    @property
    def scheme(self) -> str:
        raise NotImplementedError

    @property
    def version(self) -> tuple[int, int]:
        """The protocol version the client spoke, e.g. (1, 1), (2, 0)."""
        raise NotImplementedError

    @property
    def server_protocol(self) -> str:
        """What the server itself speaks, e.g. 'HTTP/1.1'."""
        raise NotImplementedError

    @property
    def local(self) -> Host:
        raise NotImplementedError

    @property
    def remote(self) -> Host:
        raise NotImplementedError

    @property
    def login(self) -> str | None:
        raise NotImplementedError

    @property
    def multithread(self) -> bool:
        raise NotImplementedError

    @property
    def multiprocess(self) -> bool:
        raise NotImplementedError

    @property
    def environ(self) -> dict[str, Any]:
        """A WSGI environ: the server's own, or one built faithfully from the ASGI scope."""
        raise NotImplementedError

    def redirected(self, path: str, query: str) -> RequestHead:
        """Give the head of an internal redirect: GET (HEAD stays HEAD), no body, all else kept."""
        raise NotImplementedError


# SPEC: RFC 9112 2.3; HTTP/2 and HTTP/3 are told as 'HTTP/2', 'HTTP/2.0', '2', '3' by servers.
_VERSION = re.compile(r'(?:HTTP/)?(\d)(?:\.(\d))?\Z', re.ASCII)


def parse_version(text: str | None) -> tuple[int, int] | None:
    """Read a protocol version: 'HTTP/1.1', '1.1', 'HTTP/2' -> (2, 0).

    None or empty counts as HTTP/1.1, which is what a server that says nothing speaks. None if it is no version.
    """
    if not text:
        return (1, 1)
    match = _VERSION.match(text)
    return (int(match[1]), int(match[2] or 0)) if match else None


# SPEC: RFC 9110 7.2 and RFC 3986 3.2.2: reg-name, IPv4, or a bracketed IP literal, with an optional port.
_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,}(?:%25[\w.~-]+)?\]|[\w.~!$&'()*+;=-]*(?:%[0-9A-Fa-f]{2}[\w.~!$&'()*+;=-]*)*)(?::\d*)?\Z"
)
_MAX_HOST = 1024


def host_fault(host: str | None, version: tuple[int, int]) -> tuple[int, str] | None:
    """Say what is wrong with a Host field, as (status, message); None if it is good.

    SPEC: RFC 9110 7.2 demands 400 for a missing, repeated or malformed Host in HTTP/1.1.
    """
    if host is None:
        # An HTTP/2 or HTTP/3 request may carry :authority only; servers hand it on as Host, or not at all.
        return (400, "HTTP/1.1 requires a 'Host' request header.") if version == (1, 1) else None
    if len(host) > _MAX_HOST or not _HOST.match(host.strip(' \t')):
        return (400, "The 'Host' request header is malformed.")
    return None


def decode_path(path: str, encoding: str) -> str:
    """Decode a path given as latin-1 text by `encoding`; the text itself where its bytes do not decode."""
    if path.isascii():
        return path
    try:
        return path.encode('latin-1').decode(encoding)
    except (UnicodeError, LookupError):
        return path


def collapse(path: str) -> str:
    """Make one slash of several."""
    while '//' in path:
        path = path.replace('//', '/')
    return path


def segments_of(raw_path: str, encoding: str) -> list[str]:
    """Split a percent-encoded path into its decoded names, so that %2F stays inside the name it stands in."""
    return [decode_path(unquote_to_bytes(name).decode('latin-1'), encoding) for name in raw_path.split('/') if name]


def split_outer(outer: str, path: str) -> tuple[str, str]:
    """Cut `outer` (root_path) off `path` where it stands there on a segment border; give (outer, rest).

    Some servers send a path that holds the root_path, some send one that does not: both are right by one or
    another version of the ASGI specification. `/api` is not cut off `/apix/y`.
    """
    outer = outer.rstrip('/')
    if outer and path.startswith(outer):
        rest = path[len(outer) :]
        if not rest or rest[0] == '/':
            return outer, rest
    return outer, path
