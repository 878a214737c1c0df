"""Cases of Spec A 4, 7 and Spec C 1.1: how tools, hooks, toolboxes, namespaces and dispatchers are put to use.

One application for each dispatcher, with tools switched on and off along its paths; and tools called by hand.
"""

from __future__ import annotations

import xmlrpc.client
from typing import Any

from .acts import MOUNTS, TOOLS, inner, tell
from .table import act, case, told

__all__: list[str] = []

MARKS = ('X-One', 'X-Two', 'X-Ran')


def header_tool(cp: Any, name: str, word: str = '1') -> Any:
    """Give a function that sets a header, whose argument is a setting."""

    def mark(value: str = word) -> None:
        cp.response.headers[name] = value

    return mark


def ran(cp: Any, word: str) -> Any:
    """Give a hook that adds a word to the header X-Ran."""

    def hook(**kwargs: Any) -> None:
        before = cp.response.headers.get('X-Ran', '')
        cp.response.headers['X-Ran'] = f'{before} {word}{sorted(kwargs.items()) or ""}'.strip()

    return hook


TOOLS['e_one'] = lambda cp: cp.Tool('before_finalize', header_tool(cp, 'X-One'))
TOOLS['e_two'] = lambda cp: cp.Tool('before_handler', header_tool(cp, 'X-Two'), 'e_two', 20)


def tree_root(cp: Any, pages: Any) -> Any:
    """Give a tree of `pages`: three nodes, the middle one with config of its own."""

    class Leaf(pages):  # type: ignore[misc]
        pass

    @cp.tools.e_two(value='class')
    class Middle(pages):  # type: ignore[misc]
        leaf = Leaf()
        other = Leaf()
        other._cp_config = {'tools.e_one.on': False}

    class Root(pages):  # type: ignore[misc]
        middle = Middle()
        plain = Leaf()

    return Root()


# What the sections of each application say of the tools.
SECTIONS: dict[str, dict[str, Any]] = {
    '/': {'tools.e_one.on': True, 'tools.e_one.value': 'root'},
    '/middle': {'tools.e_one.value': 'middle'},
    '/middle/leaf': {'tools.e_one.on': False, 'tools.e_two.value': 'leaf'},
    '/middle/leaf/deeper': {'tools.e_one.on': True},
    '/plain': {'tools.e_two.on': True, 'tools.e_two.priority': 10},
}
PATHS = ('/', '/middle/', '/middle/leaf/', '/middle/leaf/deeper', '/middle/other/', '/plain/', '/plain/x', '/nosuch')


def pages_of(cp: Any) -> Any:
    class Pages:
        @cp.expose
        def index(self) -> str:
            return 'index'

        @cp.expose
        @cp.tools.e_one(value='decorated')
        def default(self, *args: str) -> str:
            return 'default ' + '/'.join(args)

    return Pages


def method_pages_of(cp: Any) -> Any:
    class Pages:
        exposed = True

        def GET(self, *args: str) -> str:
            return 'GET ' + '/'.join(args)

        @cp.tools.e_one(value='of the method')
        def POST(self, *args: str, **kwargs: str) -> str:
            return 'POST ' + '/'.join(args)

        def PUT(self, *args: str) -> Any:
            raise cp.HTTPError(409, 'put')

    return Pages


def tree_app(cp: Any) -> Any:
    return tree_root(cp, pages_of(cp)), SECTIONS, lambda app: None


def method_app(cp: Any) -> Any:
    sections = {**SECTIONS, '/': {**SECTIONS['/'], 'request.dispatch': cp.dispatch.MethodDispatcher()}}
    return tree_root(cp, method_pages_of(cp)), sections, lambda app: None


def routes_app(cp: Any) -> Any:
    class Controller:
        _cp_config = {'tools.e_two.on': True, 'tools.e_two.value': 'controller'}

        def index(self, **kwargs: str) -> str:
            return 'index'

        def show(self, name: str) -> str:
            return 'show ' + name

        show._cp_config = {'tools.e_one.value': 'action'}  # type: ignore[attr-defined]

        def encoded(self) -> bytes:
            return b'[1]'

        encoded._cp_config = {  # type: ignore[attr-defined]
            'tools.response_headers.on': True,
            'tools.response_headers.headers': [('Content-Type', 'application/json')],
        }

    dispatcher = cp.dispatch.RoutesDispatcher()
    dispatcher.connect('index', '/', controller=Controller(), action='index')
    dispatcher.connect('show', '/show/{name}', controller=Controller(), action='show')
    dispatcher.connect('encoded', '/middle/leaf', controller=Controller(), action='encoded')
    sections = {**SECTIONS, '/': {**SECTIONS['/'], 'request.dispatch': dispatcher}}
    return None, sections, lambda app: None


def xmlrpc_app(cp: Any, **settings: Any) -> Any:
    private = getattr(cp, '_cptools', None)
    controller = private.XMLRPCController if private else cp.lib.xmlrpcutil.XMLRPCController

    class Calls(controller):  # type: ignore[misc]
        @cp.expose
        def echo(self, *args: Any) -> Any:
            return list(args)

        @cp.expose
        def nothing(self) -> None:
            return None

        @cp.expose
        def raises(self) -> Any:
            raise cp.HTTPError(409, 'in a call')

        @cp.expose
        @cp.tools.e_two(value='of the method')
        def page(self) -> str:
            return 'page'

    sections = {
        '/': {
            'request.dispatch': cp.dispatch.XMLRPCDispatcher(),
            'tools.e_one.on': True,
            **{f'tools.xmlrpc.{name}': value for name, value in settings.items()},
        },
    }
    return Calls(), sections, lambda app: None


def host_app(cp: Any) -> Any:
    hosts = {'one.test': '/middle', 'two.test': '/plain', 'three.test': '/middle/leaf'}
    sections = {**SECTIONS, '/': {**SECTIONS['/'], 'request.dispatch': cp.dispatch.VirtualHost(**hosts)}}
    return tree_root(cp, pages_of(cp)), sections, lambda app: None


def nested_host_app(cp: Any) -> Any:
    chosen = cp.dispatch.VirtualHost(cp.dispatch.MethodDispatcher(), use_x_forwarded_host=False, **{'a.test': '/plain'})
    sections = {**SECTIONS, '/': {**SECTIONS['/'], 'request.dispatch': chosen}}
    return tree_root(cp, method_pages_of(cp)), sections, lambda app: None


def own_dispatch_app(cp: Any) -> Any:
    """A dispatcher of one's own: it takes the last segment for a language."""

    class Language(cp.dispatch.Dispatcher):  # type: ignore[misc]
        def __call__(self, path_info: str) -> Any:
            head, _, language = path_info.rpartition('/')
            result = super().__call__(head or '/')
            cp.serving.request.params['language'] = language
            return result

    class Root:
        @cp.expose
        def index(self, language: str = '') -> str:
            return 'index ' + language

        @cp.expose
        @cp.tools.e_two()
        def page(self, language: str = '') -> str:
            return 'page ' + language

    sections = {'/': {**SECTIONS['/'], 'request.dispatch': Language()}, '/page': {'tools.e_one.value': 'of the page'}}
    return Root(), sections, lambda app: None


def boxes_app(cp: Any) -> Any:
    """Toolboxes and namespaces of the application's own."""

    class Root(pages_of(cp)):  # type: ignore[misc]
        @cp.expose
        def off(self) -> str:
            return 'off'

        @cp.expose
        def refused(self) -> str:
            return 'never'

        @cp.expose
        def noted(self) -> str:
            return repr(cp.request.noted)

    box = type(cp.tools)('mybox')
    box.first = cp.Tool('before_finalize', ran(cp, 'first'), priority=60)
    box.second = cp.Tool('before_finalize', ran(cp, 'second'))

    @box.register('before_finalize', name='third', priority=10)
    def by_decorator(**kwargs: Any) -> None:
        ran(cp, 'third')(**kwargs)

    @box.register('on_start_resource')
    def refuse(code: int = 403) -> None:
        raise cp.HTTPError(code, 'by the box')

    def note(key: str, value: Any) -> None:
        cp.serving.request.noted = [*getattr(cp.serving.request, 'noted', []), (key, value)]

    def change(app: Any) -> None:
        # Not into what the class may share.
        app.toolboxes = {**app.toolboxes, 'mybox': box}
        app.request_class = type('Request', (app.request_class,), {})
        app.request_class.namespaces = app.request_class.namespaces.copy()
        app.request_class.namespaces['notes'] = note

    sections = {
        '/': {'mybox.first.on': True, 'mybox.second.on': True, 'mybox.second.word': 1},
        '/off': {'mybox.first.on': False, 'mybox.third.on': True},
        '/third': {'mybox.third.on': True, 'mybox.third.priority': 95},
        '/refused': {'mybox.refuse.on': True, 'mybox.refuse.code': 410},
        '/noted': {'notes.a': 1, 'notes.b.c': [2]},
    }
    return Root(), sections, change


APPS: dict[str, Any] = {
    'tree': (tree_app, PATHS),
    'method': (method_app, PATHS),
    'routes': (routes_app, ('/', '/show/ann', '/middle/leaf', '/show', '/nosuch')),
    'xmlrpc': (xmlrpc_app, ('/page', '/page/', '/echo/a/b', '/nosuch')),
    'xmlrpc-latin': (lambda cp: xmlrpc_app(cp, encoding='iso-8859-1', allow_none=1), ('/page',)),
    'host': (host_app, ('/', '/leaf/', '/x')),
    'nested-host': (nested_host_app, ('/', '/middle/')),
    'own': (own_dispatch_app, ('/en', '/page/de', '/nosuch/fr', '/')),
    'boxes': (boxes_app, ('/', '/off', '/third', '/refused', '/noted', '/nosuch')),
}
SECTION = {'routes': 'A4.2', 'xmlrpc': 'A4.3', 'method': 'A4.1', 'host': 'A4.4', 'nested-host': 'A4.4', 'boxes': 'A7.6'}


def section(name: str) -> str:
    return SECTION.get(name.partition('-latin')[0], 'A7.4' if name == 'tree' else 'A4.0')


for name, (make, paths) in APPS.items():
    MOUNTS[f'/e/{name}'] = make
    for path in paths:
        for method in ('GET', 'HEAD', 'POST', 'PUT') if name == 'method' else ('GET', 'POST'):
            case(
                f'{section(name)}-tools-{name}-{method}{path}',
                f'/e/{name}{path}',
                method=method,
                body=b'' if method in ('POST', 'PUT') else None,
                variant='acts',
                show=MARKS,
            )
for name in ('host', 'nested-host'):
    for host in ('one.test', 'two.test', 'three.test', 'a.test', 'a.test:80', 'other.test'):
        for path in ('/', '/leaf/'):
            for field in ('Host', 'X-Forwarded-Host'):
                case(
                    f'A4.4-tools-{name}-{field}-{host}{path}',
                    f'/e/{name}{path}',
                    headers={field: host},
                    variant='acts',
                    show=MARKS,
                )
for name in ('xmlrpc', 'xmlrpc-latin'):
    for called, arguments in {'echo': ('gr\xfcn', 1), 'nothing': (), 'raises': (), 'page': (), 'nosuch': ()}.items():
        case(
            f'A4.3-tools-{name}-{called}',
            f'/e/{name}/',
            method='POST',
            body=xmlrpc.client.dumps(arguments, called).encode(),
            headers={'Content-Type': 'text/xml'},
            variant='acts',
            show=MARKS,
        )

# --- hooks by config

POINTS = (
    *('on_start_resource', 'before_request_body', 'before_handler', 'before_finalize', 'on_end_resource'),
    *('on_end_request', 'before_error_response', 'after_error_response'),
)


def page(cp: Any) -> str:
    return 'page'


def refuses(cp: Any) -> Any:
    raise cp.HTTPError(402, 'pay')


def fails(cp: Any) -> Any:
    raise LookupError('not foreseen')


def hook(cp: Any, word: str, *, priority: float | None = None, failsafe: bool = False, error: Any = None) -> Any:
    def call(**kwargs: Any) -> None:
        tell(word, sorted(kwargs.items()), cp.response.status)
        if error is not None:
            raise error(cp)

    if priority is not None:
        call.priority = priority  # type: ignore[attr-defined]
    if failsafe:
        call.failsafe = True  # type: ignore[attr-defined]
    return call


def heard(ident: str, function: Any, config: Any, **more: Any) -> None:
    act(f'B3.2-{ident}', function, config, **more)
    told(f'B3.2-{ident}')


for ident, function in {'page': page, 'refuses': refuses, 'fails': fails}.items():
    heard(f'every-point-{ident}', function, lambda cp: {f'hooks.{point}': hook(cp, point) for point in POINTS})
    heard(
        f'every-point-named-{ident}',
        function,
        lambda cp: {
            f'hooks.{point}.{name}': hook(cp, f'{point} {name}', priority=priority)
            for point in POINTS
            for name, priority in (('late', 90), ('early', 1), ('middle', None))
        },
    )
for point in ('on_start_resource', 'before_request_body', 'before_handler', 'before_finalize'):
    for ident, error in {
        'error': lambda cp: cp.HTTPError(418, 'hook'),
        'redirect': lambda cp: cp.HTTPRedirect('/x'),
    }.items():
        heard(
            f'raising-{ident}-at-{point}',
            page,
            lambda cp, point=point, error=error: {
                f'hooks.{point}.a': hook(cp, 'raises', priority=10, error=error),
                f'hooks.{point}.b': hook(cp, 'after'),
                f'hooks.{point}.c': hook(cp, 'safe', failsafe=True),
                'hooks.on_end_request': hook(cp, 'end'),
            },
        )


def attaches(point: str, **settings: Any) -> Any:
    def attach(cp: Any) -> str:
        cp.request.hooks.attach(point, hook(cp, f'attached at {point}'), **settings)
        return 'page'

    return attach


for point in ('before_finalize', 'on_end_resource', 'on_end_request'):
    heard(f'attached-at-{point}', attaches(point), {})
    heard(f'attached-with-settings-at-{point}', attaches(point, priority=5, failsafe=True, word='w'), {})

# --- tools called, and made into page handlers


def handler_tool(cp: Any) -> Any:
    def serve(name: str = 'default', miss: bool = False) -> bool:
        cp.response.body = f'served {name}'.encode()
        return not miss

    return inner(cp, '_cptools', 'HandlerTool')(serve, 'e_serve')


TOOLS['e_serve'] = handler_tool


def handlers_app(cp: Any) -> Any:
    class Root:
        plain = cp.tools.e_serve.handler()
        named = cp.tools.e_serve.handler(name='by keyword')
        positional = cp.tools.e_serve.handler('by position')
        missed = cp.tools.e_serve.handler(miss=True)
        configured = cp.tools.e_serve.handler(name='not this')

    return Root(), {'/configured': {'tools.e_serve.name': 'by config'}}, lambda app: None


MOUNTS['/e/handlers'] = handlers_app
for name in ('plain', 'named', 'positional', 'missed', 'configured', 'nosuch'):
    case(f'C1.1-handler-{name}', f'/e/handlers/{name}', variant='acts')
    case(f'C1.1-handler-{name}-head', f'/e/handlers/{name}', method='HEAD', variant='acts')

for ident, function in {
    'allow': lambda cp: cp.tools.allow.callable(['PUT']),
    'response_headers': lambda cp: cp.tools.response_headers.callable([('X-One', 'called')]),
    'ignore_headers': lambda cp: str(cp.tools.ignore_headers.callable(('X-A',)) or cp.request.headers.get('X-A')),
    'redirect': lambda cp: cp.tools.redirect.callable('/x', internal=False),
    'referer': lambda cp: cp.tools.referer.callable('http://own', error=404),
    'expires': lambda cp: str(cp.tools.expires.callable(secs=60, force=True) or 'Expires' in cp.response.headers),
    'trailing_slash': lambda cp: cp.tools.trailing_slash.callable(missing=True),
    'proxy': lambda cp: str(cp.tools.proxy.callable(base='http://www.site.test') or cp.request.base),
    'etags': lambda cp: str(cp.tools.etags.callable(autotags=True)),
    'attributes': lambda cp: str([cp.tools.gzip.mime_types, cp.tools.referer.pattern, cp.tools.staticdir.dir]),
}.items():
    act(f'C1.1-called-{ident}', function, headers={'X-A': '1'}, show=MARKS)

# --- wrappers of page handlers, error tools, priorities, what has only _setup


def wrapping(cp: Any, word: str, point: str, priority: float) -> Any:
    def wrap(inner_handler: Any, *args: Any, **kwargs: Any) -> Any:
        tell('wrapper', word, args, sorted(kwargs))
        return f'{word}[{inner_handler(*args, **kwargs)}]'

    return inner(cp, '_cptools', 'HandlerWrapperTool')(wrap, point, f'e_{word}', priority)


TOOLS['e_late'] = lambda cp: wrapping(cp, 'late', 'before_handler', 80)
TOOLS['e_soon'] = lambda cp: wrapping(cp, 'soon', 'before_handler', 20)
TOOLS['e_body'] = lambda cp: wrapping(cp, 'body', 'before_request_body', 50)

for ident, names in {
    'late': ('late',),
    'soon': ('soon',),
    'at-another-point': ('body',),
    'three': ('late', 'soon', 'body'),
    'reversed': ('body', 'soon', 'late'),
}.items():
    config = {f'tools.e_{name}.on': True for name in names}
    heard(f'wrappers-{ident}', page, config)
    heard(f'wrappers-{ident}-of-an-error', refuses, config)
heard('wrappers-priority', page, {'tools.e_late.on': True, 'tools.e_soon.on': True, 'tools.e_soon.priority': 99})
heard('wrapper-and-json', lambda cp: {'a': 1}, {'tools.e_late.on': True, 'tools.json_out.on': True})


def fallback(cp: Any) -> Any:
    def answer(code: int = 503, text: str = 'fallback') -> None:
        cp.response.status = code
        cp.response.body = [text.encode()]
        cp.response.headers['Content-Type'] = 'text/plain'

    return inner(cp, '_cptools', 'ErrorTool')(answer, 'e_fallback')


TOOLS['e_fallback'] = fallback
for ident, settings in {
    'default': {},
    'settings': {'tools.e_fallback.code': 500, 'tools.e_fallback.text': 't'},
}.items():
    for suffix, function in {'fails': fails, 'refuses': refuses, 'page': page}.items():
        act(f'C1.1-error-tool-{ident}-{suffix}', function, {'tools.e_fallback.on': True, **settings})
heard(
    'error-tool-and-hooks',
    fails,
    lambda cp: {
        'tools.e_fallback.on': True,
        'hooks.before_error_response': hook(cp, 'before'),
        'hooks.after_error_response': hook(cp, 'after'),
    },
)


class Older:
    """A Tool whose `_setup` attaches a hook for each of its settings."""

    def __new__(cls, cp: Any) -> Any:
        class OlderTool(cp.Tool):  # type: ignore[misc]
            def _setup(self) -> None:
                settings = self._merged_args()
                cp.serving.request.hooks.attach('before_finalize', hook(cp, f'older {sorted(settings.items())}'))
                super()._setup()

        return OlderTool('on_end_resource', lambda word='': tell('older tool', word), priority=30)


TOOLS['e_older'] = Older
heard('older', page, {'tools.e_older.on': True})
heard('older-settings', page, {'tools.e_older.on': True, 'tools.e_older.word': 'w'})
heard('older-error', refuses, {'tools.e_older.on': True})
