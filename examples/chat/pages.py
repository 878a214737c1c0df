"""The chat's page handlers: the page, the WebSocket, the event stream and what is posted.

Whoever has the WebSocket or the event stream of a room open is in that room. Names are not checked: where they
matter, have an authentication tool in front, and take `request.login`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import cpadapter
from cpadapter.lib import sse
from cpadapter.lib.static import serve_file

from .rooms import LONGEST, Refused, Room, Rooms, clean_name

__all__ = ['Chat', 'application', 'config']

STATIC = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'static')


class Chat:
    """One page for all rooms, and three ways to and from a room: /socket/<room>, /events/<room>, /say/<room>."""

    def __init__(self) -> None:
        self.rooms = Rooms()

    @cpadapter.expose
    def index(self) -> Any:
        """Answer `/`: the page, which does the rest by its script."""
        return serve_file(os.path.join(STATIC, 'chat.html'))

    # No text of LONGEST characters has more bytes; what has, closes with 1009.
    @cpadapter.websocket(max_size=4 * LONGEST)
    async def socket(self, ws: Any, room: str, *, name: str) -> None:
        """Talk at `/socket/<room>?name=<name>`: takes messages as plain text, gives {"event": ..., "data": ...}."""
        place, name = self._enter(room, name)
        with place.entered(name):
            await ws.accept()
            telling = asyncio.ensure_future(tell(ws, place))
            try:
                while True:
                    text = await ws.receive_text()
                    try:
                        place.say(name, text)
                    except Refused as refused:
                        await ws.send_json({'event': 'refused', 'data': {'why': str(refused), 'text': text}})
            finally:
                telling.cancel()

    @cpadapter.expose
    @cpadapter.tools.sse(ping=15, retry=1000)
    async def events(self, room: str, *, name: str) -> AsyncIterator[sse.ServerSentEvent]:
        """Answer `/events/<room>?name=<name>`: the same events as a stream, taken up where it broke."""
        place, name = self._enter(room, name)
        with place.entered(name):
            async for event in place.events(sse.last_event_id()):
                yield event

    # JSON, and nothing that a form of another site could send.
    @cpadapter.expose
    @cpadapter.tools.allow(methods=['POST'])
    @cpadapter.tools.json_in()
    @cpadapter.tools.json_out()
    async def say(self, room: str) -> dict[str, str]:
        """Answer a POST of {"name": ..., "text": ...} to `/say/<room>`: {}, or {"why": ...} it was refused."""
        sent = cpadapter.request.json
        try:
            name, text = sent['name'], sent['text']
            if not (isinstance(name, str) and isinstance(text, str)):
                raise TypeError('both are text')
        except (KeyError, TypeError):
            raise cpadapter.HTTPError(400, 'Send {"name": "...", "text": "..."}.') from None
        try:
            self.rooms.find(room).say(clean_name(name), text)
        except Refused as refused:
            cpadapter.response.status = refused.status
            return {'why': str(refused)}
        return {}

    def _enter(self, room: str, name: str) -> tuple[Room, str]:
        """Give room and name as they are; what cannot be had is the answer to the request or handshake."""
        try:
            return self.rooms.find(room), clean_name(name)
        except Refused as refused:
            raise cpadapter.HTTPError(refused.status, str(refused)) from None


async def tell(ws: Any, room: Room) -> None:
    """Tell a WebSocket what happens in a room, for as long as it keeps up."""
    try:
        async with aclosing(room.events()) as events:
            async for event in events:
                await ws.send_json({'event': event.event, 'data': event.data})
        await ws.close(1013, 'You are too far behind.')
    except cpadapter.WebSocketClosed:
        pass  # the page handler, which receives, ends by that


config = {
    '/': {
        'request.show_tracebacks': False,
        'request.body.maxbytes': 16 * LONGEST,
        'response.headers.Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        'response.headers.X-Content-Type-Options': 'nosniff',
        'response.headers.Referrer-Policy': 'same-origin',
    },
    '/static': {'tools.staticdir.on': True, 'tools.staticdir.dir': STATIC},
}

application = cpadapter.Application(Chat(), '', config)
