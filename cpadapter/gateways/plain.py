"""A request head made of plain values: for `Request.run`, tests and gateways of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..protocol.headers import Host
from ..protocol.messages import RequestHead, host_fault, parse_version
from .wsgi import WsgiReader

__all__ = ['PlainHead']


class PlainHead(RequestHead):
    """The head of a request given as values: path is decoded text with the script name."""

    def __init__(
        self,
        request: Any,
        method: str,
        path: str,
        query: str,
        protocol: str,
        headers: list[tuple[str, str]],
        rfile: Any,
    ) -> None:
        self.native = {}
        self._request = request
        self.method = method
        self.path = path or '/'
        self.outer = ''
        self.query = query
        self.segments = None
        self.headers = headers
        self._fields = {name.lower(): value for name, value in headers}
        self._protocol = protocol
        version = parse_version(protocol)
        self.fault = (
            (400, 'The protocol version is malformed.')
            if version is None
            else host_fault(self._fields.get('host'), version)
        )
        length = self._fields.get('content-length')
        self._reader = WsgiReader(
            rfile,
            int(length) if length is not None and length.isascii() and length.isdigit() and len(length) < 20 else None,
            'transfer-encoding' in self._fields,
        )

    def get(self, name: str) -> str | None:
        return self._fields.get(name)

    def has_accept_charset(self) -> bool:
        return 'accept-charset' in self._fields

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self.headers)

    def reader(self) -> WsgiReader:
        return self._reader

    @property
    def scheme(self) -> str:
        scheme: str = self._request.__dict__.get('scheme', 'http')
        return scheme

    @property
    def version(self) -> tuple[int, int]:
        return parse_version(self._protocol) or (1, 1)

    @property
    def server_protocol(self) -> str:
        return 'HTTP/1.1'

    def native_protocol(self) -> str:
        return self._protocol

    @property
    def local(self) -> Host:
        return Host('127.0.0.1', 80)

    @property
    def remote(self) -> Host:
        return Host('127.0.0.1', 1111)

    @property
    def login(self) -> str | None:
        return None

    @property
    def multithread(self) -> bool:
        return True

    @property
    def multiprocess(self) -> bool:
        return False

    @property
    def environ(self) -> dict[str, Any]:
        return self.native  # type: ignore[no-any-return]

    @property
    def path_bytes(self) -> bytes:
        return self.path.encode('utf-8')
