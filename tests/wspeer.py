"""A WebSocket's client and server in one, in process: opens a socket on an application, checks all that it is sent.

SPEC: ASGI WebSocket 2.5. AssertionError on a broken rule fails the test, even where the application catches it.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import unquote_to_bytes

TIMEOUT = 10


class Peer:
    """One connection. `messages` is what the application has sent and nobody has taken yet.

    state: 'connecting', then 'open', 'denying', 'denied', 'closed' or 'gone'.
    accepted: the websocket.accept message. status, headers, body: of a denial. code, reason: of the close.
    """

    def __init__(
        self, app, target='/', headers=(), subprotocols=(), denies=True, origin=None, host='testserver', **more
    ):
        self.app = app
        path, _, query = target.partition('?')
        pairs = [('Host', host), *(headers.items() if hasattr(headers, 'items') else headers)]
        if origin is not None:
            pairs.append(('Origin', origin))
        self.scope = {
            'type': 'websocket',
            'asgi': {'version': '3.0', 'spec_version': '2.5'},
            'http_version': '1.1',
            'scheme': 'ws',
            'path': unquote_to_bytes(path).decode(),
            'raw_path': path.encode(),
            'query_string': query.encode(),
            'root_path': '',
            'headers': [(n.lower().encode('latin-1'), v.encode('latin-1')) for n, v in pairs],
            'client': ('127.0.0.9', 4321),
            'server': ('127.0.0.1', 8080),
            'subprotocols': list(subprotocols),
            'extensions': {'websocket.http.response': {}} if denies else {},
            **more,
        }
        self.incoming = asyncio.Queue()
        self.incoming.put_nowait({'type': 'websocket.connect'})
        self.messages = asyncio.Queue()
        self.state = 'connecting'
        self.accepted = None
        self.status = None
        self.headers = []
        self.body = b''
        self.code = None
        self.reason = None
        self.fault = None
        self.received = 0
        self.sends_raise = False
        self.answered = asyncio.Event()
        self.task = None

    async def __aenter__(self):
        self.task = asyncio.ensure_future(self.app.asgi(self.scope, self.receive, self.send))
        return self

    async def __aexit__(self, *exc):
        if exc[0] is None:
            await self.end()
        elif not self.task.done():
            self.task.cancel()
            with contextlib.suppress(BaseException):
                await self.task

    async def end(self):
        """Wait until the application has ended; a connection that is open is closed first."""
        if self.state == 'open':
            self.leave(1000)
        async with _limit():
            await self.task
        if self.fault is not None:
            raise self.fault

    async def end_of_app(self):
        """Wait until the application has ended by itself."""
        async with _limit():
            await self.task
        if self.fault is not None:
            raise self.fault

    # -- the server's side

    async def receive(self):
        self.received += 1
        message = await self.incoming.get()
        if message['type'] == 'websocket.disconnect':
            # Told as often as it is asked for.
            self.incoming.put_nowait(message)
        return message

    async def send(self, message):
        try:
            if self.state == 'gone':
                if self.sends_raise:
                    raise OSError('gone')
                return
            self.check(message)
        except AssertionError as exc:
            self.fault = self.fault or exc
            raise
        await asyncio.sleep(0)

    def check(self, message):
        kind = message['type']
        if kind == 'websocket.accept':
            assert self.state == 'connecting', f'accept in {self.state}'
            assert not set(message) - {'type', 'subprotocol', 'headers'}
            assert message.get('subprotocol') in (None, *self.scope['subprotocols'])
            for name, value in message.get('headers', ()):
                assert type(name) is type(value) is bytes
                assert name == name.lower().strip()
                assert name not in (b'connection', b'upgrade', b'content-type', b'content-length')
                assert not name.startswith(b'sec-websocket-')
            self.state = 'open'
            self.accepted = message
            self.headers = message.get('headers', [])
            self.answered.set()
        elif kind == 'websocket.send':
            assert self.state == 'open', f'send in {self.state}'
            text, data = message.get('text'), message.get('bytes')
            assert (text is None) != (data is None)
            assert type(text) is str or type(data) is bytes
            self.messages.put_nowait(data if text is None else text)
        elif kind == 'websocket.close':
            assert self.state in ('open', 'connecting'), f'close in {self.state}'
            assert len(message.get('reason', '').encode()) <= 123
            if self.state == 'connecting':
                self.status = 403
                self.state = 'denied'
            else:
                self.state = 'closed'
                self.code, self.reason = message.get('code', 1000), message.get('reason', '')
            self.incoming.put_nowait({'type': 'websocket.disconnect', 'code': self.code or 1006, 'reason': ''})
            self.answered.set()
        elif kind == 'websocket.http.response.start':
            assert 'websocket.http.response' in self.scope['extensions']
            assert self.state == 'connecting', f'denial in {self.state}'
            assert type(message['status']) is int
            assert message['status'] >= 200
            self.state = 'denying'
            self.status, self.headers = message['status'], message['headers']
        elif kind == 'websocket.http.response.body':
            assert self.state == 'denying'
            self.body += message.get('body', b'')
            if not message.get('more_body', False):
                self.state = 'denied'
                self.incoming.put_nowait({'type': 'websocket.disconnect', 'code': 1006, 'reason': ''})
                self.answered.set()
        else:
            raise AssertionError(f'unknown message {kind!r}')

    # -- the client's side

    def put(self, message):
        kind = 'text' if isinstance(message, str) else 'bytes'
        self.incoming.put_nowait({'type': 'websocket.receive', kind: message})

    def leave(self, code=1006, reason=''):
        """Close, or go: the server tells the application."""
        self.state = 'gone'
        self.incoming.put_nowait({'type': 'websocket.disconnect', 'code': code, 'reason': reason})

    async def get(self):
        """Give the next message; AssertionError if none comes."""
        async with _limit():
            return await self.messages.get()

    async def ask(self, message):
        self.put(message)
        return await self.get()

    async def answer(self):
        """Wait until the handshake is answered; give the status."""
        async with _limit():
            await self.answered.wait()
        return 101 if self.accepted else self.status

    def header(self, name):
        values = [value.decode('latin-1') for key, value in self.headers if key == name.encode()]
        return values[0] if values else None


class _limit:
    """Fails what takes longer than TIMEOUT."""

    async def __aenter__(self):
        self.task = asyncio.current_task()
        self.timer = asyncio.get_running_loop().call_later(TIMEOUT, self.task.cancel)

    async def __aexit__(self, kind, exc, tb):
        self.timer.cancel()
        if kind is asyncio.CancelledError:
            raise AssertionError(f'nothing came within {TIMEOUT} seconds') from exc
