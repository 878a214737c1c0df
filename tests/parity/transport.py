"""Hands a request to a callable as a server of this process's protocol would: WSGI, or ASGI told of the same environ.

Whoever sends writes an environ and gets a status, headers and chunks, whichever way they went. Knows nothing of the
application or of the cases.
"""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

__all__ = ['UNSAID', 'hand_over', 'speak_asgi', 'speaks_asgi']

# Keys of an environ that a scope has no word for.
UNSAID = frozenset(
    (
        *('REMOTE_USER', 'LOGON_USER', 'REMOTE_HOST', 'ACTUAL_SERVER_PROTOCOL', 'HTTP_CGI_AUTHORIZATION', 'own.key'),
        *('wsgi.multithread', 'wsgi.multiprocess', 'wsgi.input_terminated', 'RAW_URI', 'REQUEST_URI'),
    )
)

_LOOPS: list[asyncio.AbstractEventLoop] = []


def speak_asgi() -> None:
    """Send by ASGI from now on."""
    _LOOPS.append(asyncio.new_event_loop())


def speaks_asgi() -> bool:
    return bool(_LOOPS)


def hand_over(app: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Call `app` as WSGI servers do; or as ASGI servers do, and give all that came as if it had come by WSGI."""
    if not _LOOPS:
        chunks: Iterable[bytes] = app(environ, start_response)
        return chunks
    status, headers, body = _LOOPS[0].run_until_complete(_ask(app, environ))
    start_response(f'{status} {phrase(status)}', headers)
    return [body]


def phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return '-'


async def _ask(app: Any, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    gone = asyncio.Event()
    bodies = iter([{'type': 'http.request', 'body': environ['wsgi.input'].read(), 'more_body': False}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in bodies:
            return message
        await gone.wait()
        return {'type': 'http.disconnect'}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message['type'] == 'http.response.body' and not message.get('more_body'):
            gone.set()

    await app(make_scope(environ), receive, send)
    start, *rest = sent
    headers = [(name.decode('latin-1').title(), value.decode('latin-1')) for name, value in start['headers']]
    return start['status'], headers, b''.join(message.get('body', b'') for message in rest)


def make_scope(environ: dict[str, Any]) -> dict[str, Any]:
    """Say in a scope what an environ says, but what `UNSAID` names. SPEC: ASGI HTTP messages 2.5."""
    outer = environ['SCRIPT_NAME'].encode('latin-1')
    path = outer + environ['PATH_INFO'].encode('latin-1')
    # A slash that a WSGI server left escaped is one more slash in an ASGI server's path, and escaped in the raw one.
    raw = re.sub('%25(2[fF])', r'%\1', quote(path, safe="/!$&'()*+,;=:@"))
    path = re.sub(b'%2[fF]', b'/', path)
    # An empty length or type is none in an environ.
    told = [key for key in ('CONTENT_TYPE', 'CONTENT_LENGTH') if environ.get(key)]
    told += [key for key in environ if key.startswith('HTTP_') and key not in UNSAID]
    fields = [
        (key.removeprefix('HTTP_').replace('_', '-').lower().encode(), environ[key].encode('latin-1')) for key in told
    ]
    client, server = environ.get('REMOTE_ADDR'), environ.get('SERVER_NAME')
    return {
        'type': 'http',
        'asgi': {'version': '3.0', 'spec_version': '2.5'},
        'http_version': environ.get('SERVER_PROTOCOL', 'HTTP/1.1').partition('/')[2],
        'method': environ['REQUEST_METHOD'],
        'scheme': environ['wsgi.url_scheme'],
        'path': path.decode('utf-8', 'replace'),
        'raw_path': raw.encode(),
        'query_string': environ.get('QUERY_STRING', '').encode('latin-1'),
        'root_path': outer.decode('utf-8', 'replace'),
        'headers': fields,
        'client': (client, port_of(environ.get('REMOTE_PORT'))) if client else None,
        'server': (server, port_of(environ.get('SERVER_PORT'))) if server else None,
    }


def port_of(text: str | None) -> int | None:
    return int(text) if text else None
