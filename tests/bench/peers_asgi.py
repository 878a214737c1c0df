"""The ASGI applications, one function per peer, as in peers_wsgi: async page handlers, and sync ones for kind `sync`.

Annotations are evaluated here (no `from __future__`): BlackSheep reads those of its handlers.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from .pages import make_async_pages, make_pages, make_tree
from .rows import DOCUMENT, HELLO, tree_paths
from .served import Served, Unavailable

__all__ = ['NEEDS', 'PEERS']

# Modules without which a peer cannot serve a row, although it can be imported.
NEEDS = {('starlette', 'asgi.form'): 'python_multipart', ('cpadapter', 'wsgi.session'): 'cpadapter.lib.sessions'}

_HTML = b'text/html; charset=utf-8'


def bare(kind: str, static_file: str) -> Served:
    """The floor: what a page costs when a callable does no more than the page asks for."""

    async def read(receive: Any) -> bytes:
        message = await receive()
        body: bytes = message['body']
        while message['more_body']:
            message = await receive()
            body += message['body']
        return body

    async def index(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        return 200, _HTML, HELLO.encode()

    async def page(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        name = scope['path'].rpartition('/')[2]
        query = parse_qs(scope['query_string'].decode('latin-1'))
        return 200, _HTML, f'{name} {query["q"][0]} {query["z"][0]}'.encode()

    async def form(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        fields = parse_qs((await read(receive)).decode())
        return 200, _HTML, f'{fields["name"][0]}: {fields["text"][0]}'.encode()

    async def json_out(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        return 200, b'application/json', json.dumps(DOCUMENT).encode()

    async def echo(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        data = json.loads(await read(receive))
        answer = {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}
        return 200, b'application/json', json.dumps(answer).encode()

    async def boom(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        raise RuntimeError('raised on purpose')

    async def missing(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        return 404, _HTML, b'Not Found'

    async def sync(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
        text = await asyncio.get_running_loop().run_in_executor(None, lambda: HELLO)
        return 200, _HTML, text.encode()

    def leaf(text: str) -> Any:
        async def answer(scope: Any, receive: Any) -> tuple[int, bytes, bytes]:
            return 200, _HTML, text.encode()

        return answer

    if kind == 'pages':
        pages = {'/': index, '/form': form, '/json': json_out, '/echo': echo, '/boom': boom}
    elif kind == 'sync':
        pages = {'/': sync}
    else:
        pages = {path: leaf(path) for path in tree_paths(kind)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] != 'http':
            raise NotImplementedError(scope['type'])
        path = scope['path']
        handler = pages.get(path) or (page if path.startswith('/page/') else missing)
        try:
            status, media, body = await handler(scope, receive)
        except Exception:
            status, media, body = 500, _HTML, b'Internal Server Error'
        headers = [(b'content-type', media), (b'content-length', str(len(body)).encode())]
        await send({'type': 'http.response.start', 'status': status, 'headers': headers})
        await send({'type': 'http.response.body', 'body': body})

    return Served(app)


def cpadapter(kind: str, static_file: str) -> Served:
    import cpadapter as module

    if kind == 'pages':
        root = make_async_pages(module)
    elif kind == 'sync':
        root = make_pages(module)
    else:
        root = make_tree(module, kind, asynchronous=True)
    return Served(module.Application(root, '', {}))


def falcon(kind: str, static_file: str) -> Served:
    import falcon as module
    from falcon.asgi import App
    from falcon.util import wrap_sync_to_async

    class Leaf:
        def __init__(self, text: str) -> None:
            self.text = text

        async def on_get(self, req: Any, resp: Any) -> None:
            resp.content_type = module.MEDIA_HTML
            resp.text = self.text

    class Sync:
        # Falcon refuses sync responders under ASGI; this is its documented way to run sync code.
        def __init__(self) -> None:
            self.work = wrap_sync_to_async(lambda: HELLO, threadsafe=True)

        async def on_get(self, req: Any, resp: Any) -> None:
            resp.content_type = module.MEDIA_HTML
            resp.text = await self.work()

    class Page:
        async def on_get(self, req: Any, resp: Any, name: str) -> None:
            resp.content_type = module.MEDIA_HTML
            resp.text = f'{name} {req.get_param("q")} {req.get_param("z")}'

    class Form:
        async def on_post(self, req: Any, resp: Any) -> None:
            fields = await req.get_media()
            resp.content_type = module.MEDIA_HTML
            resp.text = f'{fields["name"]}: {fields["text"]}'

    class Json:
        async def on_get(self, req: Any, resp: Any) -> None:
            resp.media = DOCUMENT

    class Echo:
        async def on_post(self, req: Any, resp: Any) -> None:
            data = await req.get_media()
            resp.media = {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}

    class Boom:
        async def on_get(self, req: Any, resp: Any) -> None:
            raise RuntimeError('raised on purpose')

    app = App()
    if kind == 'sync':
        app.add_route('/', Sync())
        return Served(app)
    if kind != 'pages':
        for path in tree_paths(kind):
            app.add_route(path, Leaf(path))
        return Served(app)
    app.add_route('/', Leaf(HELLO))
    app.add_route('/page/{name}', Page())
    app.add_route('/form', Form())
    app.add_route('/json', Json())
    app.add_route('/echo', Echo())
    app.add_route('/boom', Boom())
    return Served(app)


def starlette(kind: str, static_file: str) -> Served:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import BaseRoute, Mount, Route

    def leaf(text: str) -> Any:
        async def endpoint(request: Request) -> Response:
            return HTMLResponse(text)

        return endpoint

    def sync(request: Request) -> Response:
        return HTMLResponse(HELLO)

    async def page(request: Request) -> Response:
        query = request.query_params
        return HTMLResponse(f'{request.path_params["name"]} {query["q"]} {query["z"]}')

    async def form(request: Request) -> Response:
        fields = await request.form()
        return HTMLResponse(f'{fields["name"]}: {fields["text"]}')

    async def json_out(request: Request) -> Response:
        return JSONResponse(DOCUMENT)

    async def echo(request: Request) -> Response:
        data = await request.json()
        return JSONResponse({'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1})

    async def boom(request: Request) -> Response:
        raise RuntimeError('raised on purpose')

    routes: list[BaseRoute] = []
    if kind == 'pages':
        routes += [
            Route('/', leaf(HELLO)),
            Route('/page/{name}', page),
            Route('/form', form, methods=['POST']),
            Route('/json', json_out),
            Route('/echo', echo, methods=['POST']),
            Route('/boom', boom),
        ]
    elif kind == 'sync':
        routes.append(Route('/', sync))
    else:
        # Starlette matches routes one by one: nested mounts are how a large site keeps that short.
        sections: dict[str, dict[str, list[BaseRoute]]] = {}
        for full in tree_paths(kind):
            _, section, branch, name = full.split('/')
            sections.setdefault(section, {}).setdefault(branch, []).append(Route(f'/{name}', leaf(full)))
        for section, branches in sections.items():
            mounts: list[BaseRoute] = [Mount(f'/{branch}', routes=pages) for branch, pages in branches.items()]
            routes.append(Mount(f'/{section}', routes=mounts))
    return Served(Starlette(routes=routes))


def blacksheep(kind: str, static_file: str) -> Served:
    from blacksheep import Application, Request, Response, Router, html, json

    if kind == 'sync':
        raise Unavailable('BlackSheep runs sync handlers on the loop')
    router = Router()

    def leaf(text: str) -> Any:
        async def handler() -> Response:
            return html(text)

        return handler

    if kind != 'pages':
        for path in tree_paths(kind):
            router.add_get(path, leaf(path))
        return Served(Application(router=router))

    async def page(name: str, q: str, z: str) -> Response:
        return html(f'{name} {q} {z}')

    async def form(request: Request) -> Response:
        fields: Any = await request.form()
        return html(f'{fields["name"]}: {fields["text"]}')

    async def json_out() -> Response:
        return json(DOCUMENT)

    async def echo(request: Request) -> Response:
        data = await request.json()
        return json({'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1})

    async def boom() -> Response:
        raise RuntimeError('raised on purpose')

    router.add_get('/', leaf(HELLO))
    router.add_get('/page/{name}', page)
    router.add_post('/form', form)
    router.add_get('/json', json_out)
    router.add_post('/echo', echo)
    router.add_get('/boom', boom)
    return Served(Application(router=router))


PEERS: dict[str, Callable[[str, str], Served]] = {
    'bare': bare,
    'cpadapter': cpadapter,
    'falcon': falcon,
    'starlette': starlette,
    'blacksheep': blacksheep,
}
