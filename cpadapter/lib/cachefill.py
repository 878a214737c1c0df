"""Filling the store of the `caching` tool: responses are copied as they are sent, and stored when they are whole.

Which requests it is done for is not known here, nor what the headers mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..context import on_a_loop
from ..extension.hooks import Hook
from ..protocol.headers import HeaderMap
from ..protocol.iterators import as_bytes
from ..protocol.status import valid_status
from . import field_getter
from .cachestore import Stored, Work
from .debug import log_debug
from .freshness import allows_stale, fresh_seconds, is_confirmed, may_store, read_directives, stale_seconds

if TYPE_CHECKING:
    from .cachelookup import Settings

__all__ = ['Making', 'answer_with', 'attach_hook']

# The gateway counts bytes itself; Authentication-Info proves something to one client.
_OF_ONE_ANSWER = ('Content-Length', 'Authentication-Info')


def attach_hook(request: Any, point: str, callback: Any, non_blocking: bool, priority: float = 100) -> None:
    """Have something called in one request alone."""
    hook = Hook(callback, priority=priority)
    hook.non_blocking = non_blocking
    request.hooks[point].append(hook)


def _header_map(fields: dict[str, Any]) -> HeaderMap:
    headers = HeaderMap()
    dict.update(headers, fields)
    return headers


def answer_with(response: Any, stored: Stored, age: float) -> None:
    """Make a response the stored one."""
    status, fields, body, _ = stored
    headers = _header_map(fields)
    dict.__setitem__(headers, 'Age', str(int(age)))
    response.status = 200 if status == '200 OK' else status
    response.headers = headers
    response.body = body


class Making:
    """One request that makes a response which may be stored: copies the body as it is sent, and ends in any case.

    stale: what is stored but did not do. rescues: whether it may stand in for an error, if it allows for that itself.
    void: set when the URI was invalidated, so that nothing is stored.
    """

    def __init__(
        self,
        exchange: Any,
        settings: Settings,
        cache: Any,
        uri: str,
        private: bool,
        stale: Stored | None,
        rescues: bool,
    ) -> None:
        self.exchange = exchange
        self.settings = settings
        self.cache = cache
        self.uri = uri
        self.private = private
        self.stale = stale
        self.rescues = rescues and stale is not None and 'stale-if-error' in stale.directives
        self.void = False
        self.work: Work | None = None
        self.key: Any = None
        self.patience = 0.0
        self.begun = cache.clock() if hasattr(cache, 'clock') else 0.0
        self._copied = False
        self._ended = False
        self._stored: Any = None

    def start(self) -> None:
        """Have the response stored as it is sent."""
        request = self.exchange.request
        request.cacheable = True
        request.cache_making = self
        non_blocking = self.settings.non_blocking
        attach_hook(request, 'before_finalize', self.tee, non_blocking)
        attach_hook(request, 'on_end_request', self.end, True)
        if self.rescues:
            attach_hook(request, 'after_error_response', self._rescue, True)

    def end(self, unkept: bool = False) -> None:
        """Stop: whoever waits goes on. unkept: whether the answer was none to keep."""
        if not self._ended:
            self._ended = True
            if self.settings.in_memory:
                self.cache.end(self, unkept and self.work is not None)

    def tee(self) -> Any:
        """Store the response, or have it stored when it has been sent. Gives None, or what is to be awaited."""
        response = self.exchange.response
        if self._copied:
            # An error came after all, from a later hook.
            if self._stored is not None:
                self.cache.delete()
            self.end()
            return None
        self._copied = True
        code, reason, _ = valid_status(200 if response.status is None else response.status)
        if (code >= 500 and self._rescue()) or (code == 304 and self._freshen(response)):
            return None
        head = self._judge(response, response.headers, code, reason)
        if head is None:
            self.end(unkept=True)
            return None
        body = response.body
        limit = self.settings.limit('maxobj_size', self.cache)
        length = response.headers.get('Content-Length')
        if isinstance(body, (list, tuple)):
            if not all(isinstance(chunk, bytes) for chunk in body):
                self.end()
            else:
                self.store(head, b''.join(body), None)
        elif length is not None and str(length).isdigit() and int(length) >= limit:
            self.end(unkept=True)
        elif hasattr(body, '__aiter__') and not hasattr(body, '__iter__'):
            response.body = _AsyncTee(self, head, body, limit)
        elif response.stream or length is not None:
            response.body = _Tee(self, head, body, limit)
        elif on_a_loop():
            # What a plain iterator does between its chunks may take its time.
            return self._collapse_and_store(head, response)
        else:
            self.store(head, response.collapse_body(), None)
        return None

    async def _collapse_and_store(self, head: tuple[str, dict[str, Any]], response: Any) -> None:
        self.store(head, await self.exchange.app.offload(response.collapse_body), None)

    def store(self, head: tuple[str, dict[str, Any]], body: bytes, length: Any) -> None:
        """Store the whole body with its head. length: what Content-Length said of a body sent piece by piece."""
        status, headers = head
        limit = self.settings.limit('maxobj_size', self.cache)
        if not body or len(body) >= limit:
            self.end(unkept=True)
            return
        if self._ended or self.void or (length is not None and str(length) != str(len(body))):
            self.end()
            return
        obj = (status, headers, body, self.exchange.response.time)
        stored = Stored.judge(obj, self.settings.limit('delay', self.cache), self.begun)
        self._stored = stored
        try:
            self.cache.put(stored, len(body))
        finally:
            # One that is stale at once does for errors, and there is nothing in it to wait for.
            self.end(unkept=stored.lifetime <= 0 and 'stale-while-revalidate' not in stored.directives)
        if self.settings.debug:
            log_debug(f'stored for {stored.lifetime:g} seconds', 'TOOLS.CACHING')

    def _freshen(self, response: Any) -> bool:
        """Store the stale response anew, where this 304 says that it still holds. SPEC: RFC 9111 4.3.4."""
        stale = self.stale
        if stale is None:
            return False
        header = field_getter(self.exchange)
        status, fields, body, _ = stale
        headers = _header_map(fields)
        since = None if header('if-none-match') else header('if-modified-since')
        if not is_confirmed(headers, response.headers, since):
            return False
        headers.pop('Age', None)
        for name, value in response.headers.items():
            # SPEC: RFC 9111 3.2: what says how the content is coded, and how long it is, stays with the content.
            if not name.startswith('Content-'):
                headers[name] = value
        code, reason, _ = valid_status(status)
        head = self._judge(response, headers, code, reason)
        if head is None:
            return False
        self.store(head, body, None)
        return True

    def _judge(self, response: Any, headers: Any, code: int, reason: str) -> tuple[str, dict[str, Any]] | None:
        """Give status line and headers to store; None if the response may not be."""
        request = self.exchange.request
        credentials = self.private or request.login is not None
        if response.__dict__.get('cookie') or not may_store(code, headers, credentials, 'cookie' in request.__dict__):
            return None
        fresh = fresh_seconds(code, headers, response.time, self.settings.limit('delay', self.cache))
        if fresh <= 0 and not stale_seconds(read_directives(headers.get('Cache-Control'))):
            return None
        kept = dict(headers)
        for name in _OF_ONE_ANSWER:
            kept.pop(name, None)
        return f'{code} {reason}', kept

    def _rescue(self) -> bool:
        """Put the stale response in the place of an error's, where it allows for that. SPEC: RFC 5861 4."""
        stale = self.stale
        response = self.exchange.response
        code = 200 if response.status is None else valid_status(response.status)[0]
        if stale is None or not self.rescues or code < 500:
            return False
        age = stale.age_by(self.cache.clock() if self.settings.in_memory else None)
        if not allows_stale(stale.directives, 'stale-if-error', age - stale.lifetime):
            return False
        self.end()
        answer_with(response, stale, age)
        self.exchange.request.cached = True
        return True


class _Copy:
    """Keeps the chunks that go by, up to a limit; stores them if the end is reached."""

    def __init__(self, making: Making, head: tuple[str, dict[str, Any]], body: Any, limit: int) -> None:
        self.making = making
        self.head = head
        self.body = body
        self.left = limit
        self.chunks: list[bytes] | None = []
        self.chunked: Any = None

    def keep(self, chunk: Any) -> Any:
        """Give the chunk again."""
        if self.chunks is not None:
            data = as_bytes(chunk)
            self.left -= len(data)
            if self.left <= 0:
                self.drop(unkept=True)
            else:
                self.chunks.append(data)
        return chunk

    def drop(self, unkept: bool = False) -> None:
        if self.chunks is not None:
            self.chunks = None
            self.making.end(unkept)

    def done(self) -> None:
        chunks, self.chunks = self.chunks, None
        if chunks is not None:
            length = self.making.exchange.response.headers.get('Content-Length')
            self.making.store(self.head, b''.join(chunks), length)


class _Tee(_Copy):
    def __iter__(self) -> _Tee:
        return self

    def __next__(self) -> Any:
        if self.chunked is None:
            self.chunked = iter(self.body)
        try:
            chunk = next(self.chunked)
        except StopIteration:
            self.done()
            raise
        except BaseException:
            self.drop()
            raise
        return self.keep(chunk)

    def close(self) -> None:
        self.drop()
        body, self.body = self.body, ()
        close = getattr(body, 'close', None)
        if close is not None:
            close()


class _AsyncTee(_Copy):
    def __aiter__(self) -> _AsyncTee:
        return self

    async def __anext__(self) -> Any:
        if self.chunked is None:
            self.chunked = self.body.__aiter__()
        try:
            chunk = await self.chunked.__anext__()
        except StopAsyncIteration:
            making = self.making
            if making.settings.non_blocking or not making.exchange.on_loop:
                self.done()
            else:
                await making.exchange.app.offload(self.done)
            raise
        except BaseException:
            self.drop()
            raise
        return self.keep(chunk)

    async def aclose(self) -> None:
        self.drop()
        body, self.body = self.body, None
        aclose = getattr(body, 'aclose', None)
        if aclose is not None:
            await aclose()
