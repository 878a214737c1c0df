"""Drives one application in process: builds requests, checks the answers once, and times batches of requests.

Knows WSGI, ASGI and the rows; no framework.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import cycle, islice
from typing import Any
from wsgiref.util import FileWrapper

from .rows import Row, Sent

__all__ = ['AsgiDriver', 'Driver', 'WrongAnswer', 'WsgiDriver', 'memory']

# What a desktop browser sends to a site that has set no cookie.
_BROWSER = {
    'Host': 'www.example.com',
    'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
    'Accept': 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'Accept-Language': 'en-GB,en;q=0.5',
    'Accept-Encoding': 'gzip, deflate, br',
    'Connection': 'keep-alive',
}
_BATCH = 0.004
_PATIENCE = 20.0


class WrongAnswer(Exception):
    """An application did not answer as the row asks; nothing measured with it would mean anything."""


def _headers(row: Row, sent: Sent, cookie: str) -> dict[str, str]:
    headers = {**_BROWSER, **dict(row.headers)}
    if sent.method == 'POST':
        headers['Content-Type'] = sent.media
        headers['Content-Length'] = str(len(sent.body))
    if cookie:
        headers['Cookie'] = cookie
    return headers


def _check(row: Row, sent: Sent, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Raise WrongAnswer unless this is the answer that the row asks for. Header names come in lower case."""

    def wrong(what: str) -> WrongAnswer:
        return WrongAnswer(f'{row.name}: {sent.method} {sent.path}: {what}; status {status}, body {body[:300]!r}')

    if status != row.status:
        raise wrong(f'status {row.status} expected')
    fields = dict(headers)
    if not fields.get('content-type', '').startswith(row.media):
        raise wrong(f'content type {row.media} expected, not {fields.get("content-type")!r}')
    length = fields.get('content-length')
    if length is not None and int(length) != len(body):
        raise wrong(f'Content-Length {length}, but {len(body)} bytes')
    if row.gzip:
        if fields.get('content-encoding') != 'gzip' or 'etag' not in fields:
            raise wrong(f'a gzipped body with an ETag expected, headers {headers}')
        body = gzip.decompress(body)
    answer = sent.answer
    if answer is None:
        right = bool(body)
    elif isinstance(answer, bytes):
        right = body == answer
    elif isinstance(answer, re.Pattern):
        right = answer.fullmatch(body) is not None
    else:
        right = json.loads(body) == answer
    if not right:
        raise wrong(f'another body expected: {str(answer)[:300]}')


class Driver:
    """One row on one application: `prepare()`, then `measure()` as often as wanted."""

    def __init__(self, row: Row, app: Any, enter: Callable[[], None] | None = None) -> None:
        self.row = row
        self.app = app
        self.enter = enter or (lambda: None)
        self.cookie = ''
        self.batch = row.at_once
        self.tolerated: tuple[type[Exception], ...] = (RuntimeError,) if row.raises else ()
        self.requests: Iterator[Any] = iter(())

    def prepare(self) -> None:
        """Check every kind of answer, warm up, and find how many requests make a batch of a few milliseconds."""
        self.enter()
        row = self.row
        if row.cookie:
            _, headers, _ = self.answer(row.sent[0])
            self.cookie = '; '.join(value.partition(';')[0] for name, value in headers if name == 'set-cookie')
            if not self.cookie:
                raise WrongAnswer(f'{row.name}: a cookie expected, headers {headers}')
        for sent in row.sent[:: max(1, len(row.sent) // 200)]:
            status, headers, body = self.answer(sent)
            _check(row, sent, status, headers, body)
        self.requests = cycle([self.template(sent) for sent in row.sent])
        step = row.at_once
        self.run(-(-max(len(row.sent), 2 * step) // step) * step)
        took = self.run(step)
        while took < _BATCH / 4:
            step *= 2
            took = self.run(step)
        self.batch = max(1, round(_BATCH / took * step / row.at_once)) * row.at_once

    def measure(self, seconds: float) -> float:
        """Give the seconds per request: the median over batches that together took about this long."""
        self.enter()
        gc.collect()
        deadline = time.perf_counter() + seconds
        taken: list[float] = []
        while not taken or time.perf_counter() < deadline:
            taken.append(self.run(self.batch))
        return statistics.median(taken) / self.batch

    def answer(self, sent: Sent) -> tuple[int, list[tuple[str, str]], bytes]:
        """Serve one request and keep the whole answer: status, headers with lower-case names, body."""
        raise NotImplementedError

    def template(self, sent: Sent) -> Any:
        """Give what `run` copies for each such request."""
        raise NotImplementedError

    def run(self, count: int) -> float:
        """Serve that many requests, and give the seconds they took."""
        raise NotImplementedError


def _ignore_write(data: bytes) -> None:
    pass


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    return _ignore_write


class WsgiDriver(Driver):
    errors = open(os.devnull, 'w')  # noqa: SIM115

    def template(self, sent: Sent) -> tuple[dict[str, Any], bytes]:
        environ = {
            'REQUEST_METHOD': sent.method,
            'SCRIPT_NAME': '',
            'PATH_INFO': sent.path,
            'QUERY_STRING': sent.query,
            'SERVER_NAME': '127.0.0.1',
            'SERVER_PORT': '8000',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'SERVER_SOFTWARE': 'bench',
            'REMOTE_ADDR': '127.0.0.1',
            'REMOTE_PORT': '54321',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': None,
            'wsgi.errors': self.errors,
            'wsgi.multithread': True,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
            'wsgi.file_wrapper': FileWrapper,
        }
        for name, value in _headers(self.row, sent, self.cookie).items():
            key = name.upper().replace('-', '_')
            environ[key if key.startswith('CONTENT_') else f'HTTP_{key}'] = value
        return environ, sent.body

    def answer(self, sent: Sent) -> tuple[int, list[tuple[str, str]], bytes]:
        started: list[Any] = []
        written: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            started[:] = status, headers
            return written.append

        template, data = self.template(sent)
        environ = {**template, 'wsgi.input': BytesIO(data)}
        result = self.app(environ, start_response)
        try:
            written.extend(result)
        finally:
            if hasattr(result, 'close'):
                result.close()
        if not started:
            raise WrongAnswer(f'{self.row.name}: start_response was not called')
        return int(started[0].split()[0]), [(n.lower(), v) for n, v in started[1]], b''.join(written)

    def run(self, count: int) -> float:
        app = self.app
        start_response = _start_response
        start = time.perf_counter()
        for template, data in islice(self.requests, count):
            environ = template.copy()
            environ['wsgi.input'] = BytesIO(data)
            result = app(environ, start_response)
            try:
                for _ in result:
                    pass
            finally:
                close = getattr(result, 'close', None)
                if close is not None:
                    close()
        return time.perf_counter() - start


class _Exchange:
    """The server's half of one request: the body comes in one message, after which the client just stays."""

    __slots__ = ('body',)

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body

    async def receive(self) -> dict[str, Any]:
        body = self.body
        if body is None:
            await asyncio.Event().wait()
        self.body = None
        return {'type': 'http.request', 'body': body, 'more_body': False}

    async def send(self, message: dict[str, Any]) -> None:
        pass


class _Recorder(_Exchange):
    __slots__ = ('messages',)

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)


class _Lifespan:
    """Starts an application as a server does, and stops it; one that knows no lifespan is served all the same."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {'type': 'lifespan', 'asgi': {'version': '3.0', 'spec_version': '2.0'}, 'state': {}}

        async def start() -> asyncio.Task[None]:
            task: asyncio.Task[None] = asyncio.ensure_future(app(scope, self.inbox.get, self.outbox.put))
            await self.tell(task, 'lifespan.startup')
            return task

        self.task = loop.run_until_complete(start())

    async def tell(self, task: asyncio.Task[None], kind: str) -> None:
        await self.inbox.put({'type': kind})
        heard = asyncio.ensure_future(self.outbox.get())
        await asyncio.wait({task, heard}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if heard.done() and heard.result()['type'] == f'{kind}.failed':
            raise WrongAnswer(f'{kind} failed: {heard.result().get("message")}')
        heard.cancel()
        if task.done():
            task.exception()

    def stop(self) -> None:
        if not self.task.done():
            self.loop.run_until_complete(self.tell(self.task, 'lifespan.shutdown'))


class AsgiDriver(Driver):
    loop: asyncio.AbstractEventLoop | None = None
    _lifespans: dict[int, _Lifespan] = {}

    def __init__(self, row: Row, app: Any, enter: Callable[[], None] | None = None) -> None:
        super().__init__(row, app, enter)
        if AsgiDriver.loop is None:
            AsgiDriver.loop = asyncio.new_event_loop()
        self.own_loop = AsgiDriver.loop
        if id(app) not in self._lifespans:
            self._lifespans[id(app)] = _Lifespan(app, self.own_loop)

    @classmethod
    def stop_all(cls) -> None:
        """Send every application its shutdown."""
        for lifespan in cls._lifespans.values():
            lifespan.stop()
        cls._lifespans.clear()

    def template(self, sent: Sent) -> tuple[dict[str, Any], bytes]:
        scope = {
            'type': 'http',
            'asgi': {'version': '3.0', 'spec_version': '2.3'},
            'http_version': '1.1',
            'server': ('127.0.0.1', 8000),
            'client': ('127.0.0.1', 54321),
            'scheme': 'http',
            'method': sent.method,
            'root_path': '',
            'path': sent.path,
            'raw_path': sent.path.encode('ascii'),
            'query_string': sent.query.encode('ascii'),
            'headers': [(n.lower().encode(), v.encode()) for n, v in _headers(self.row, sent, self.cookie).items()],
            'state': {},
        }
        return scope, sent.body

    def answer(self, sent: Sent) -> tuple[int, list[tuple[str, str]], bytes]:
        scope, data = self.template(sent)
        recorder = _Recorder(data)

        async def serve() -> None:
            try:
                await asyncio.wait_for(self.app(scope, recorder.receive, recorder.send), _PATIENCE)
            except self.tolerated:
                pass  # Passed on for the server to log; the answer itself is checked below.

        self.own_loop.run_until_complete(serve())
        messages = recorder.messages
        kinds = [message['type'] for message in messages]
        bodies = [message for message in messages if message['type'] == 'http.response.body']
        if kinds[:1] != ['http.response.start'] or not bodies or bodies[-1].get('more_body', False):
            raise WrongAnswer(f'{self.row.name}: {sent.path}: an incomplete answer: {messages}')
        headers = [(bytes(n).decode().lower(), bytes(v).decode('latin-1')) for n, v in messages[0].get('headers', [])]
        return messages[0]['status'], headers, b''.join(message.get('body', b'') for message in bodies)

    def run(self, count: int) -> float:
        if self.row.at_once > 1:
            return self.own_loop.run_until_complete(self._run_together(count))
        return self.own_loop.run_until_complete(self._run_in_turn(count))

    async def _run_in_turn(self, count: int) -> float:
        app = self.app
        tolerated = self.tolerated
        start = time.perf_counter()
        for template, data in islice(self.requests, count):
            scope = template.copy()
            scope['headers'] = template['headers'].copy()
            scope['state'] = {}
            exchange = _Exchange(data)
            try:
                await app(scope, exchange.receive, exchange.send)
            except tolerated:
                pass  # Passed on for the server to log, after the answer.
        return time.perf_counter() - start

    async def _run_together(self, count: int) -> float:
        app = self.app
        start = time.perf_counter()
        for _ in range(count // self.row.at_once):
            calls = []
            for template, data in islice(self.requests, self.row.at_once):
                scope = template.copy()
                scope['headers'] = template['headers'].copy()
                scope['state'] = {}
                exchange = _Exchange(data)
                calls.append(app(scope, exchange.receive, exchange.send))
            await asyncio.gather(*calls)
        return time.perf_counter() - start


def memory(driver: Driver, sent: tuple[Sent, ...], count: int) -> dict[str, int]:
    """Serve that many of these requests and give what stayed: memory blocks Python holds, and bytes resident."""
    driver.enter()
    driver.requests = cycle([driver.template(one) for one in sent])
    driver.run(driver.row.at_once)
    gc.collect()
    resident = _resident_bytes()
    blocks = sys.getallocatedblocks()
    driver.run(count)
    gc.collect()
    blocks = sys.getallocatedblocks() - blocks
    return {'blocks': blocks, 'resident': _resident_bytes() - resident}


def _resident_bytes() -> int:
    """Give this process's resident memory, 0 where nothing can tell."""
    try:
        import psutil
    except ImportError:
        return 0
    return int(psutil.Process().memory_info().rss)
