"""Applications of several frameworks that all answer the same few paths, to be grafted by tests.

Each is made by a function of CHILDREN. Their paths:

    where/...   what the application sees of the path, as JSON; POST too
    echo        the body that was posted, sent back as it comes
    download    5 MB in 80 chunks
    endless     chunks until the client goes; `closed` is told when that ends
    redirect    to where/there, by the framework's own helper
    cookie      the cookies that came, and two set
    boom        an error
"""

from __future__ import annotations

import asyncio
import contextlib
import json

CHUNK = bytes(range(256)) * 256
CHUNKS = 80
# The names of the applications whose endless body has been ended, and how many chunks it had given.
closed: list[tuple[str, int]] = []


def endless(name, made=None):
    count = 0
    try:
        while True:
            count += 1
            yield b'x' * 1000
    finally:
        closed.append((name, count))


async def aendless(name):
    count = 0
    try:
        while True:
            count += 1
            yield b'x' * 1000
            await asyncio.sleep(0)
    finally:
        closed.append((name, count))


async def adownload():
    for _ in range(CHUNKS):
        yield CHUNK


# -- no framework


def bare_wsgi():
    def app(environ, start_response):
        path = environ['PATH_INFO']
        plain = [('Content-Type', 'text/plain')]
        if path.startswith('/where'):
            text = [environ[key].encode('latin-1').decode() for key in ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING')]
            start_response('200 OK', [('Content-Type', 'application/json')])
            return [json.dumps(text).encode()]
        if path == '/echo':
            start_response('200 OK', plain)
            return iter(lambda: environ['wsgi.input'].read(50000), b'')
        if path == '/download':
            start_response('200 OK', [*plain, ('Content-Length', str(CHUNKS * len(CHUNK)))])
            return (CHUNK for _ in range(CHUNKS))
        if path == '/endless':
            start_response('200 OK', plain)
            return endless('bare_wsgi')
        if path == '/redirect':
            start_response('302 Found', [*plain, ('Location', environ['SCRIPT_NAME'] + '/where/there')])
            return [b'there']
        if path == '/cookie':
            start_response('200 OK', [*plain, ('Set-Cookie', 'one=1'), ('Set-Cookie', 'two=2')])
            return [environ.get('HTTP_COOKIE', '').encode()]
        raise LookupError('boom')

    return app


def bare_asgi():
    async def app(scope, receive, send):
        assert scope['type'] == 'http'
        prefix = scope['root_path']
        path = scope['path'].removeprefix(prefix)

        async def start(status, *headers, kind=b'text/plain'):
            headers = [(b'content-type', kind), *headers]
            await send({'type': 'http.response.start', 'status': status, 'headers': headers})

        async def body(data=b'', more=False):
            await send({'type': 'http.response.body', 'body': data, 'more_body': more})

        if path.startswith('/where'):
            await start(200, kind=b'application/json')
            await body(json.dumps([prefix, path, scope['query_string'].decode()]).encode())
        elif path == '/echo':
            await start(200)
            more = True
            while more:
                message = await receive()
                assert message['type'] == 'http.request', message
                more = message.get('more_body', False)
                await body(message.get('body', b''), True)
            await body()
        elif path == '/download':
            await start(200, (b'content-length', b'%d' % (CHUNKS * len(CHUNK))))
            async for chunk in adownload():
                await body(chunk, True)
            await body()
        elif path == '/endless':
            await start(200)
            task = asyncio.current_task()

            async def watch():
                while (await receive())['type'] != 'http.disconnect':
                    pass
                task.cancel()

            watcher = asyncio.ensure_future(watch())
            chunks = aendless('bare_asgi')
            try:
                async for chunk in chunks:
                    await body(chunk, True)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                await chunks.aclose()
                watcher.cancel()
        elif path == '/redirect':
            await start(302, (b'location', prefix.encode() + b'/where/there'))
            await body(b'there')
        elif path == '/cookie':
            await start(200, (b'set-cookie', b'one=1'), (b'set-cookie', b'two=2'))
            await body(dict(scope['headers']).get(b'cookie', b''))
        else:
            raise LookupError('boom')

    return app


# -- frameworks


def flask():
    from flask import Flask, Response, jsonify, make_response, redirect, request, url_for

    app = Flask('grafted')

    @app.route('/where/<path:rest>', methods=['GET', 'POST'])
    def where(rest):
        return jsonify([request.script_root, request.path, request.query_string.decode()])

    @app.post('/echo')
    def echo():
        stream = request.stream
        return Response(iter(lambda: stream.read(50000), b''), mimetype='text/plain')

    @app.get('/download')
    def download():
        return Response((CHUNK for _ in range(CHUNKS)), mimetype='text/plain')

    @app.get('/endless')
    def forever():
        return Response(endless('flask'), mimetype='text/plain')

    @app.get('/redirect')
    def away():
        return redirect(url_for('where', rest='there'))

    @app.get('/cookie')
    def cookie():
        response = make_response(request.headers.get('Cookie', ''))
        response.set_cookie('one', '1')
        response.set_cookie('two', '2')
        return response

    @app.get('/boom')
    def boom():
        raise LookupError('boom')

    return app


def _django():
    from django.conf import settings

    if not settings.configured:
        import django

        settings.configure(
            ROOT_URLCONF='grafted_urls',
            ALLOWED_HOSTS=['*'],
            SECRET_KEY='grafted',
            LOGGING_CONFIG=None,
            DATABASES={},
            USE_TZ=True,
        )
        django.setup()


def django_wsgi():
    _django()
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


def django_asgi():
    _django()
    from django.core.handlers.asgi import ASGIHandler

    class Lowering(ASGIHandler):
        """Django sends the names of headers as they are spelt; servers are used to that, a strict checker is not."""

        async def __call__(self, scope, receive, send):
            async def lower(message):
                if 'headers' in message:
                    message['headers'] = [(name.lower(), value.strip()) for name, value in message['headers']]
                await send(message)

            await super().__call__(scope, receive, lower)

    return Lowering()


def _starlette_routes(name):
    from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
    from starlette.routing import Route

    async def where(request):
        path = request.scope['path'].removeprefix(request.scope['root_path'])
        return JSONResponse([request.scope['root_path'], path, request.url.query])

    async def echo(request):
        return StreamingResponse(request.stream(), media_type='text/plain')

    async def download(request):
        return StreamingResponse(adownload(), media_type='text/plain')

    async def forever(request):
        return StreamingResponse(aendless(name), media_type='text/plain')

    async def away(request):
        return RedirectResponse(request.url_for('where', rest='there'), 302, {'content-type': 'text/plain'})

    async def cookie(request):
        response = PlainTextResponse(request.headers.get('cookie', ''))
        response.set_cookie('one', '1')
        response.set_cookie('two', '2')
        return response

    async def boom(request):
        raise LookupError('boom')

    return [
        Route('/where/{rest:path}', where, methods=['GET', 'POST'], name='where'),
        Route('/echo', echo, methods=['POST']),
        Route('/download', download),
        Route('/endless', forever),
        Route('/redirect', away),
        Route('/cookie', cookie),
        Route('/boom', boom),
    ]


def starlette():
    from starlette.applications import Starlette

    return Starlette(routes=_starlette_routes('starlette'))


def fastapi():
    from fastapi import FastAPI

    return FastAPI(routes=_starlette_routes('fastapi'))


def ours():
    import cpadapter

    class Root:
        _cp_config = {'response.stream': True}

        @cpadapter.expose
        @cpadapter.tools.json_out()
        def where(self, *rest, **params):
            request = cpadapter.request
            path = request.wsgi_environ['PATH_INFO'].encode('latin-1').decode()
            return [request.script_name, path, request.query_string]

        @cpadapter.expose
        def echo(self):
            cpadapter.response.headers['Content-Type'] = 'text/plain'
            return iter(lambda: cpadapter.request.body.fp.read(50000), b'')

        echo._cp_config = {'request.process_request_body': False}

        @cpadapter.expose
        def download(self):
            return (CHUNK for _ in range(CHUNKS))

        @cpadapter.expose
        async def endless(self):
            return aendless('ours')

        @cpadapter.expose
        def redirect(self):
            raise cpadapter.HTTPRedirect(cpadapter.url('/where/there'), 302)

        @cpadapter.expose
        def cookie(self):
            cpadapter.response.cookie['one'] = '1'
            cpadapter.response.cookie['two'] = '2'
            return cpadapter.request.headers.get('Cookie', '')

        @cpadapter.expose
        def boom(self):
            raise LookupError('boom')

    site = cpadapter.Site('grafted')
    site.config.update({'checker.on': False})
    site.tree.mount(Root())
    return site.tree


CHILDREN = {
    'bare_wsgi': bare_wsgi,
    'bare_asgi': bare_asgi,
    'flask': flask,
    'django_wsgi': django_wsgi,
    'django_asgi': django_asgi,
    'starlette': starlette,
    'fastapi': fastapi,
    'ours': ours,
}


def suppressed():
    """Keep what a framework logs of an error that is expected out of the way."""
    import logging

    @contextlib.contextmanager
    def quiet():
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)

    return quiet()
