"""The WSGI applications, one function per peer: called with a kind of application, giving it ready to serve.

Each imports its framework when called, in a child process of its own, and leaves the framework's settings alone but
for those a production server needs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

from .pages import make_pages, make_toolbox_pages, make_tree, toolbox_config
from .rows import DOCUMENT, HELLO, tree_paths
from .served import Served

__all__ = ['PEERS']

_HTML = 'text/html; charset=utf-8'


def bare(kind: str, static_file: str) -> Served:
    """The floor: what a page costs when a callable does no more than the page asks for."""

    def index(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        return '200 OK', _HTML, HELLO.encode()

    def page(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        name = environ['PATH_INFO'].rpartition('/')[2]
        query = parse_qs(environ['QUERY_STRING'])
        return '200 OK', _HTML, f'{name} {query["q"][0]} {query["z"][0]}'.encode()

    def form(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        data = environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'])).decode()
        fields = parse_qs(data)
        return '200 OK', _HTML, f'{fields["name"][0]}: {fields["text"][0]}'.encode()

    def json_out(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        return '200 OK', 'application/json', json.dumps(DOCUMENT).encode()

    def echo(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        data = json.loads(environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'])))
        answer = {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}
        return '200 OK', 'application/json', json.dumps(answer).encode()

    def boom(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        raise RuntimeError('raised on purpose')

    def missing(environ: dict[str, Any]) -> tuple[str, str, bytes]:
        return '404 Not Found', _HTML, b'Not Found'

    def leaf(text: str) -> Callable[[dict[str, Any]], tuple[str, str, bytes]]:
        return lambda environ: ('200 OK', _HTML, text.encode())

    if kind == 'pages':
        pages: dict[str, Callable[[dict[str, Any]], tuple[str, str, bytes]]]
        pages = {'/': index, '/form': form, '/json': json_out, '/echo': echo, '/boom': boom}
    else:
        pages = {path: leaf(path) for path in tree_paths(kind)}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        path = environ['PATH_INFO']
        handler = pages.get(path) or (page if path.startswith('/page/') else missing)
        try:
            status, media, body = handler(environ)
        except Exception:
            status, media, body = '500 Internal Server Error', _HTML, b'Internal Server Error'
        start_response(status, [('Content-Type', media), ('Content-Length', str(len(body)))])
        return [body]

    return Served(app)


def _cherrypy_style(module: Any, kind: str, static_file: str) -> Served:
    if kind == 'pages':
        return Served(module.Application(make_pages(module), '', {}))
    if kind == 'tools':
        return Served(module.Application(make_toolbox_pages(module), '', toolbox_config(static_file)))
    return Served(module.Application(make_tree(module, kind), '', {}))


def cpadapter(kind: str, static_file: str) -> Served:
    import cpadapter as module

    return _cherrypy_style(module, kind, static_file)


def cherrypy(kind: str, static_file: str) -> Served:
    import cherrypy as module

    module.config.update({'environment': 'embedded', 'log.screen': False})
    return _cherrypy_style(module, kind, static_file)


def flask(kind: str, static_file: str) -> Served:
    from flask import Flask, jsonify, request

    app = Flask('tests.bench.flask_pages')
    if kind != 'pages':
        for path in tree_paths(kind):
            app.add_url_rule(path, path, lambda path=path: path)
        return Served(app)

    @app.get('/')
    def index() -> str:
        return HELLO

    @app.get('/page/<name>')
    def page(name: str) -> str:
        return f'{name} {request.args["q"]} {request.args["z"]}'

    @app.post('/form')
    def form() -> str:
        return f'{request.form["name"]}: {request.form["text"]}'

    @app.get('/json')
    def json_out() -> Any:
        return jsonify(DOCUMENT)

    @app.post('/echo')
    def echo() -> Any:
        data = request.get_json()
        return jsonify({'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1})

    @app.get('/boom')
    def boom() -> str:
        raise RuntimeError('raised on purpose')

    return Served(app)


def bottle(kind: str, static_file: str) -> Served:
    from bottle import Bottle, request

    app = Bottle()
    if kind != 'pages':
        for path in tree_paths(kind):
            app.route(path, callback=lambda path=path: path)
        return Served(app)

    @app.get('/')
    def index() -> str:
        return HELLO

    @app.get('/page/<name>')
    def page(name: str) -> str:
        return f'{name} {request.query["q"]} {request.query["z"]}'

    @app.post('/form')
    def form() -> str:
        return f'{request.forms["name"]}: {request.forms["text"]}'

    @app.get('/json')
    def json_out() -> Any:
        return DOCUMENT

    @app.post('/echo')
    def echo() -> Any:
        data = request.json
        return {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}

    @app.get('/boom')
    def boom() -> str:
        raise RuntimeError('raised on purpose')

    return Served(app)


def falcon(kind: str, static_file: str) -> Served:
    import falcon as module

    class Leaf:
        def __init__(self, text: str) -> None:
            self.text = text

        def on_get(self, req: Any, resp: Any) -> None:
            resp.content_type = module.MEDIA_HTML
            resp.text = self.text

    class Page:
        def on_get(self, req: Any, resp: Any, name: str) -> None:
            resp.content_type = module.MEDIA_HTML
            resp.text = f'{name} {req.get_param("q")} {req.get_param("z")}'

    class Form:
        def on_post(self, req: Any, resp: Any) -> None:
            fields = req.get_media()
            resp.content_type = module.MEDIA_HTML
            resp.text = f'{fields["name"]}: {fields["text"]}'

    class Json:
        def on_get(self, req: Any, resp: Any) -> None:
            resp.media = DOCUMENT

    class Echo:
        def on_post(self, req: Any, resp: Any) -> None:
            data = req.get_media()
            resp.media = {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}

    class Boom:
        def on_get(self, req: Any, resp: Any) -> None:
            raise RuntimeError('raised on purpose')

    app = module.App()
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


def django(kind: str, static_file: str) -> Served:
    from django import setup
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import include, path

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=['*'], SECRET_KEY='bench', MIDDLEWARE=[], LOGGING_CONFIG=None)
        setup(set_prefix=False)

    def leaf(text: str) -> Callable[[HttpRequest], HttpResponse]:
        return lambda request: HttpResponse(text)

    def page(request: HttpRequest, name: str) -> HttpResponse:
        return HttpResponse(f'{name} {request.GET["q"]} {request.GET["z"]}')

    def form(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f'{request.POST["name"]}: {request.POST["text"]}')

    def json_out(request: HttpRequest) -> HttpResponse:
        return JsonResponse(DOCUMENT)

    def echo(request: HttpRequest) -> HttpResponse:
        data = json.loads(request.body)
        return JsonResponse({'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1})

    def boom(request: HttpRequest) -> HttpResponse:
        raise RuntimeError('raised on purpose')

    # One process has one ROOT_URLCONF setting, so each application here is a module of patterns, made the root one
    # before its turn.
    module = ModuleType(f'tests.bench.django_{kind}')
    sys.modules[module.__name__] = module
    patterns: list[Any] = []
    if kind == 'pages':
        patterns += [
            path('', leaf(HELLO)),
            path('page/<name>', page),
            path('form', form),
            path('json', json_out),
            path('echo', echo),
            path('boom', boom),
        ]
    else:
        # Django matches patterns one by one: nested includes are how a large site keeps that short.
        sections: dict[str, dict[str, list[Any]]] = {}
        for full in tree_paths(kind):
            _, section, branch, name = full.split('/')
            sections.setdefault(section, {}).setdefault(branch, []).append(path(name, leaf(full)))
        for section, branches in sections.items():
            inner = [path(f'{branch}/', include(pages)) for branch, pages in branches.items()]
            patterns.append(path(f'{section}/', include(inner)))
    module.urlpatterns = patterns  # type: ignore[attr-defined]

    def enter() -> None:
        settings.ROOT_URLCONF = module.__name__

    enter()
    return Served(get_wsgi_application(), enter)


PEERS: dict[str, Callable[[str, str], Served]] = {
    'bare': bare,
    'cpadapter': cpadapter,
    'cherrypy': cherrypy,
    'flask': flask,
    'bottle': bottle,
    'falcon': falcon,
    'django': django,
}
