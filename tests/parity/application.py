"""The application: its variants, each built on whichever package is handed in.

`build(cherrypy_module, variant, folder)` gives a Site: the WSGI callable of that variant and its probes, which are
calls made outside of any request. A variant starts from a reset config and a new tree, so that the order in which
variants are built does not matter.
"""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import acts, pages
from .pages import show
from .transport import hand_over

__all__ = ['VARIANTS', 'Site', 'build']

Wsgi = Callable[..., Any]

# Tracebacks are shown or not by each package's own default: asked for by name wherever that is not the question.
QUIET: dict[str, Any] = {'log.screen': False, 'checker.on': False, 'engine.autoreload.on': False}
PLAIN: dict[str, Any] = {**QUIET, 'request.show_tracebacks': False}


@dataclass
class Site:
    """What a variant offers to the runner."""

    module: Any
    folder: Path
    wsgi: Wsgi | None = None
    probes: dict[str, Callable[[], str]] = field(default_factory=dict)


VARIANTS: dict[str, Callable[[Any, Path], Wsgi]] = {}

# What the variant built last put into registries that outlive it, to be taken out before the next is built.
LEFTOVERS: list[Callable[[], Any]] = []


def variant(build_variant: Callable[[Any, Path], Wsgi]) -> Callable[[Any, Path], Wsgi]:
    VARIANTS[build_variant.__name__.removesuffix('_variant')] = build_variant
    return build_variant


def build(cp: Any, name: str, folder: Path) -> Site:
    """Build the variant `name` on the package `cp`; `folder` is where it may write its config files."""
    while LEFTOVERS:
        LEFTOVERS.pop()()
    cp.config.reset()
    cp.tree = type(cp.tree)()
    site = Site(cp, folder)
    if name == 'probes':
        from .probes import make_probes

        cp.config.update(PLAIN)
        site.probes = make_probes(cp, folder)
    elif name == 'expressions':
        cp.config.update(PLAIN)
        site.probes = {ident: expressed(cp, function) for ident, function in acts.EXPRESSIONS.items()}
    else:
        site.wsgi = VARIANTS[name](cp, folder)
    return site


def expressed(cp: Any, function: Callable[[Any], Any]) -> Callable[[], str]:
    return lambda: ascii(function(cp))


def report(cp: Any) -> Callable[[], None]:
    """Make the hook that tells in headers what the dispatcher and the mount made of the path."""

    def tell() -> None:
        request = cp.request
        headers = cp.response.headers
        headers['X-Index'] = str(request.is_index)
        headers['X-Path'] = ascii((request.script_name, request.path_info))

    return tell


def reporting(cp: Any) -> dict[str, Any]:
    return {**PLAIN, 'hooks.before_finalize.report': report(cp)}


@variant
def base_variant(cp: Any, folder: Path) -> Wsgi:
    """The handler tree at the root; every kind of root and dispatch below prefixes of their own."""
    cp.config.update(reporting(cp))
    cp.tree.mount(pages.tree_root(cp), '', {'/': {}})
    cp.tree.mount(pages.with_default(cp, pages.tree_root(cp)), '/wd', {'/': {}})
    cp.tree.mount(pages.exposure_root(cp), '/x', {'/': {}})
    cp.tree.mount(pages.function_root(cp), '/fn', {'/': {}})
    cp.tree.mount(pages.class_root(cp), '/class', {'/': {}})
    cp.tree.mount(pages.module_root(cp), '/module', {'/': {}})
    cp.tree.mount(pages.callable_root(cp), '/callable', {'/': {}})
    cp.tree.mount(None, '/none', {'/': {}})
    cp.tree.mount(pages.argument_root(cp), '/args', {'/': {}})
    cp.tree.mount(pages.parameter_root(cp), '/par', {'/': {}})
    cp.tree.mount(
        pages.dispatcher_root(cp),
        '/d',
        {
            '/': {'error_page.404': own_error_page, 'error_page.500': own_error_page},
            '/renamed': {'request.dispatch': cp.dispatch.Dispatcher('dynamic')},
            '/conf/one': {'one': 'first'},
            '/conf/one/two': {'two': 'second'},
            '/conf/one/two/conf': {'three': 'third'},
        },
    )
    return Later(cp)


def own_error_page(status: str, message: str, traceback: str, version: str) -> str:
    return f'own page: {status} | {message}'


class Later:
    """The package's current tree, read at each call as a server does that was given the module's attribute."""

    def __init__(self, cp: Any) -> None:
        self.cp = cp

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return hand_over(self.cp.tree, environ, start_response)


@variant
def dispatchers_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 4: every other dispatcher, and subclasses of the default one."""
    cp.config.update(reporting(cp))
    methods = cp.dispatch.MethodDispatcher()
    cp.tree.mount(
        pages.method_root(cp),
        '/m',
        {'/': {'request.dispatch': methods}, '/thing': {'who': 'section'}, '/withindex': {'who': 'section'}},
    )
    cp.tree.mount(
        pages.tree_root(cp),
        '/mixed',
        {'/both': {'request.dispatch': methods}, '/both/method': {'request.dispatch': cp.dispatch.Dispatcher()}},
    )

    class Lowering(cp.dispatch.Dispatcher):  # type: ignore[misc]
        def __call__(self, path_info: str) -> Any:
            return super().__call__(path_info.lower())

    class Finding(cp.dispatch.Dispatcher):  # type: ignore[misc]
        def find_handler(self, path: str) -> Any:
            func, vpath = super().find_handler(path)
            return func, ['found', *vpath]

    def hand_made(path_info: str) -> None:
        cp.request.config = dict(
            cp.config, **{'tools.response_headers.on': True, 'tools.response_headers.headers': [('X-Hand', 'made')]}
        )
        cp.request.handler = lambda: 'hand made ' + path_info

    translation = {ord('-'): 'X', ord('_'): '_'}
    cp.tree.mount(pages.tree_root(cp), '/lower', {'/': {'request.dispatch': Lowering()}})
    cp.tree.mount(pages.tree_root(cp), '/find', {'/': {'request.dispatch': Finding()}})
    cp.tree.mount(pages.tree_root(cp), '/hand', {'/': {'request.dispatch': hand_made}})

    class Translated:
        @cp.expose
        def aXb(self) -> str:
            return 'translated by hand'

        @cp.expose
        def a_b(self) -> str:
            return 'a_b'

    cp.tree.mount(Translated(), '/tr', {'/': {'request.dispatch': cp.dispatch.Dispatcher(translate=translation)}})

    class Ignored:
        _cp_config = {'request.dispatch': methods}

        @cp.expose
        def index(self) -> str:
            return 'default dispatcher ' + type(cp.request.dispatch).__name__

    cp.tree.mount(Ignored(), '/ignored', {'/': {}})
    mount_virtual_hosts(cp)
    return Later(cp)


def mount_virtual_hosts(cp: Any) -> None:
    class Domain:
        def __init__(self, name: str) -> None:
            self.name = name

        @cp.expose
        def index(self) -> str:
            return 'index of ' + self.name

        @cp.expose
        def page(self, *args: str, **kwargs: Any) -> str:
            return show(self.name, args, kwargs)

        @cp.expose
        def url(self) -> str:
            return str(cp.url('here')) + ' ' + cp.request.path_info

        @cp.expose
        def conf(self) -> str:
            return str(cp.request.config.get('who')) + ' ' + str(cp.request.config.get('tools.staticdir.section'))

    class Root(Domain):
        d2 = Domain('domain 2')
        d3 = Domain('domain 3')

        @cp.expose
        def dom4(self, *args: str) -> str:
            return show('domain 4', args)

    hosts = {'www.d2.com': '/d2', 'www.d3.com:8080': '/d3/', 'www.d4.com': '/dom4', 'bare.com': 'd2', 'Case.Com': '/d2'}
    config = {
        '/': {'request.dispatch': cp.dispatch.VirtualHost(**hosts)},
        '/conf': {'who': 'unprefixed'},
        '/d2/conf': {'who': 'prefixed', 'tools.staticdir.dir': '/nowhere'},
    }
    cp.tree.mount(Root('root'), '/vh', config)
    direct = cp.dispatch.VirtualHost(use_x_forwarded_host=False, **hosts)
    cp.tree.mount(Root('root'), '/vhdirect', {'/': {'request.dispatch': direct}})


@variant
def routes_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 4.2."""
    cp.config.update(reporting(cp))

    class City:
        def __init__(self, name: str = 'default city') -> None:
            self.name = name

        _cp_config = {'who': 'controller'}

        def index(self, **kwargs: Any) -> str:
            return show('index ' + self.name, (), kwargs)

        def update(self, **kwargs: Any) -> str:
            return show('update ' + self.name, (), kwargs)

        def conf(self, key: str, **kwargs: Any) -> str:
            return str(cp.request.config.get(key))

        conf._cp_config = {'own': 'handler', 'who': 'handler'}  # type: ignore[attr-defined]

        def _private(self, **kwargs: Any) -> str:
            return 'private'

        @cp.expose
        def hidden(self, **kwargs: Any) -> str:
            return 'exposed'

    def function(**kwargs: Any) -> str:
        return show('function', (), kwargs)

    class Made(City):
        pass

    dispatcher = cp.dispatch.RoutesDispatcher()
    dispatcher.connect('main', '/', City('main'), action='index')
    dispatcher.connect('city', '/city/{action}/{id}', City('city'))
    dispatcher.connect('only', '/only/{id}', City('only'), action='update', conditions={'method': ['PUT']})
    dispatcher.connect('function', '/function/{x}', function)
    dispatcher.connect('made', '/made/{x}', Made, action='index')
    dispatcher.connect('conf', '/conf/{key}', City('conf'), action='conf')
    dispatcher.mapper.connect('direct', '/direct/{x}', controller='city', action='index')
    full = cp.dispatch.RoutesDispatcher(full_result=True)
    full.connect('city', '/city/{action}/{id}', City('full'))
    cp.tree.mount(
        None,
        '/r',
        {
            '/': {'request.dispatch': dispatcher, 'root': 'section'},
            '/conf': {'path': 'conf'},
            '/conf/last': {'last': 'atom', 'own': 'section'},
        },
    )
    cp.tree.mount(None, '/full', {'/': {'request.dispatch': full}})
    return Later(cp)


@variant
def xmlrpc_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 4.3."""
    cp.config.update(reporting(cp))

    class Nested:
        @cp.expose
        def add(self, a: int, b: int) -> int:
            return a + b

        def unexposed(self) -> int:
            return 1

    # CherryPy has the controller in a private module.
    private = getattr(cp, '_cptools', None)
    controller = private.XMLRPCController if private else cp.lib.xmlrpcutil.XMLRPCController

    class Calls(controller):  # type: ignore[misc]
        nested = Nested()

        @cp.expose
        def foo(self) -> str:
            return 'Hello world!'

        @cp.expose
        def return_list(self) -> list[int]:
            return [1, 2, 3]

        @cp.expose
        def echo(self, *args: Any) -> Any:
            return list(args)

        @cp.expose
        def fault(self) -> Any:
            return xmlrpc.client.Fault(5, 'returned')

        @cp.expose
        def raises(self) -> Any:
            raise ValueError('custom message')

        def unexposed(self) -> str:
            return 'no'

        @cp.expose
        def unicode(self) -> str:
            return 'grün'

    class Root:
        xmlrpc = Calls()
        xr = Calls()

        @cp.expose
        def index(self) -> str:
            return 'page'

    cp.tree.mount(Root(), '', {'/': {'request.dispatch': cp.dispatch.XMLRPCDispatcher(), 'tools.xmlrpc.allow_none': 0}})
    return Later(cp)


class UrlPages:
    """What `url()` gives: Spec A 6. The arguments come as JSON in the query."""

    def __init__(self, cp: Any) -> None:
        self.cp = cp

    def call(self, a: str, k: str) -> str:
        args = json.loads(a)
        if len(args) > 1 and isinstance(args[1], list):
            args[1] = [tuple(pair) for pair in args[1]]
        return str(self.cp.url(*args, **json.loads(k)))


def url_root(cp: Any) -> Any:
    call = UrlPages(cp).call

    class Branch:
        @cp.expose
        def index(self, a: str = '[]', k: str = '{}') -> str:
            return call(a, k)

        @cp.expose
        def leaf(self, a: str = '[]', k: str = '{}') -> str:
            return call(a, k)

        @cp.expose
        def vp(self, *args: str, a: str = '[]', k: str = '{}') -> str:
            return call(a, k)

        @cp.expose
        def based(self, a: str = '[]', k: str = '{}') -> str:
            cp.request.base = 'https://proxy.example'
            return call(a, k)

    class Bare:
        """A default, so that the path without slash is served."""

        @cp.expose
        def default(self, *args: str, a: str = '[]', k: str = '{}') -> str:
            return call(a, k)

    class Unslashed:
        """Reached as an index without its slash."""

        _cp_config = {'tools.trailing_slash.on': False}

        @cp.expose
        def index(self, a: str = '[]', k: str = '{}') -> str:
            return call(a, k)

    class Root(Branch):
        d = Branch()
        url = Branch()
        bare = Bare()
        unslashed = Unslashed()

        @cp.expose
        def baseurl(self, a: str = '[]', k: str = '{}') -> str:
            return call(a, k)

        @cp.expose
        def redirect_via_url(self, path: str) -> str:
            raise cp.HTTPRedirect(cp.url(path))

        @cp.expose
        def redirect(self, to: str, status: str = '') -> str:
            raise cp.HTTPRedirect(json.loads(to), int(status) if status else None)

        @cp.expose
        def tree_name(self) -> str:
            return str(cp.tree.script_name())

        @cp.expose
        def extra(self) -> str:
            return str(cp.url('/extra'))

    return Root()


@variant
def url_variant(cp: Any, folder: Path) -> Wsgi:
    cp.config.update(PLAIN)
    cp.tree.mount(url_root(cp), '', {'/': {}})
    cp.tree.mount(url_root(cp), '/app', {'/': {}})
    relative = cp.tree.mount(url_root(cp), '/rel', {'/': {}})
    relative.relative_urls = True
    server = cp.tree.mount(url_root(cp), '/srv', {'/': {}})
    server.relative_urls = 'server'
    return Later(cp)


class Blog:
    """The blog of Spec A 12: one class, mounted several times."""


def blog_root(cp: Any) -> Any:
    class NoIndex:
        @cp.expose
        def default(self, *args: str) -> str:
            raise cp.HTTPRedirect('contact')

    class Users:
        @cp.expose
        def default(self, user: str) -> str:
            return 'user ' + user

    class Root:
        defnoindex = NoIndex()
        users = Users()

        @cp.expose
        def index(self, name: str = 'world') -> str:
            return 'hello ' + name

        @cp.expose
        def contact(self) -> str:
            return 'contact'

        @cp.expose
        def script_name(self) -> str:
            return str(cp.tree.script_name())

        @cp.expose
        def user(self) -> str:
            return str(cp.request.config.get('user'))

        @cp.expose
        def app_user(self) -> str:
            return str(cp.request.app.config['/'].get('user'))

        @cp.expose
        def url(self) -> str:
            return str(cp.url('/extra'))

        @cp.expose
        def redirect_via_url(self, path: str) -> str:
            raise cp.HTTPRedirect(cp.url(path))

        @cp.expose
        def info(self) -> str:
            request = cp.request
            return repr((request.script_name, request.path_info, request.base))

    return Root


@variant
def mounts_variant(cp: Any, folder: Path) -> Wsgi:
    """One class at four mounts; an isolated application; grafts."""
    cp.config.update(reporting(cp))
    Root = blog_root(cp)
    for place in ('', '/foo', '/users/fred/blog', '/corp/blog'):
        cp.tree.mount(Root(), place, {'/': {'user': place.split('/')[-1]} if place != '/foo' else {}})

    class Isolated:
        @cp.expose
        def index(self) -> str:
            return 'made it'

    cp.tree.mount(Isolated(), '/isolated', {'/': {}})
    cp.tree.mount(Isolated(), '/slashed/', {'/': {}})

    def plain_wsgi(environ: Any, start_response: Any) -> Any:
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [repr((environ['SCRIPT_NAME'], environ['PATH_INFO'], environ.get('QUERY_STRING'))).encode()]

    class Reversing:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __call__(self, environ: Any, start_response: Any) -> Any:
            chunks = self.inner(environ, start_response)
            try:
                return [chunk[::-1] for chunk in chunks]
            finally:
                if hasattr(chunks, 'close'):
                    chunks.close()

    class Hosted:
        @cp.expose
        def index(self) -> str:
            return 'hosted'

        @cp.expose
        def info(self) -> str:
            return repr((cp.request.script_name, cp.request.path_info, cp.url('/x')))

    cp.tree.graft(plain_wsgi, '/hosted/app1')
    cp.tree.graft(Reversing(cp.Application(Hosted(), script_name=None)), '/hosted/app2')
    cp.tree.graft(cp.Application(Hosted(), script_name='/hosted/app3'), '/hosted/app3/')
    cp.tree.graft(cp.Application(Hosted(), script_name=None), '/hosted/app4')
    return Later(cp)


@variant
def noroot_variant(cp: Any, folder: Path) -> Wsgi:
    cp.config.update(PLAIN)
    Root = blog_root(cp)
    cp.tree.mount(Root(), '/only', {'/': {}})
    cp.tree.mount(Root(), 'unslashed', {'/': {}})
    cp.tree.mount(Root(), '/grün', {'/': {}})
    return Later(cp)


@variant
def direct_variant(cp: Any, folder: Path) -> Wsgi:
    """Applications called by the server with no tree between; chosen by a header."""
    cp.config.update(PLAIN)
    Root = blog_root(cp)
    config = {'/': {}}
    applications = {
        'empty': cp.Application(Root(), '', config),
        'app': cp.Application(Root(), '/app', config),
        'none': cp.Application(Root(), None, config),
        'slash': cp.Application(Root(), '/app/', config),
        'root none': cp.Application(None, '', config),
    }

    def choose(environ: Any, start_response: Any) -> Any:
        return hand_over(applications[environ.pop('HTTP_X_CHOOSE')], environ, start_response)

    return choose


@variant
def virtualhost_variant(cp: Any, folder: Path) -> Wsgi:
    """The WSGI VirtualHost, grafted at the root: Spec A 5.4 and 12."""
    cp.config.update(PLAIN)

    class Root:
        def __init__(self, name: str) -> None:
            self.name = name

        @cp.expose
        def index(self) -> str:
            return 'welcome to ' + self.name

        @cp.expose
        def url(self) -> str:
            return str(cp.url('/x'))

    one = cp.Application(Root('one'), '', {'/': {}})
    two = cp.Application(Root('two'), '', {'/': {}})
    default = cp.Application(None)
    domains = {'www.one.example': one, 'www.two.example:8080': two}
    cp.tree.graft(cp.wsgi.VirtualHost(default, domains))
    cp.tree.graft(cp.wsgi.VirtualHost(default, domains, use_x_forwarded_host=False), '/direct')
    return Later(cp)


def redirect_root(cp: Any) -> Any:
    class Deep:
        @cp.expose
        def relative(self) -> str:
            raise cp.InternalRedirect('cousin?t=6')

        @cp.expose
        def cousin(self, t: str = '') -> str:
            return 'cousin ' + t + ' ' + str(cp.request.prev and cp.request.prev.path_info)

    def redirect_early() -> None:
        if cp.request.params.get('early'):
            raise cp.InternalRedirect('/target', 'from=hook')

    def redirect_late() -> None:
        raise cp.InternalRedirect('/target', 'from=error')

    class Root:
        deep = Deep()

        @cp.expose
        def index(self) -> str:
            return 'home'

        @cp.expose
        def target(self, **kwargs: Any) -> str:
            prev = cp.request.prev
            return show(cp.request.method + ' target', (), kwargs) + repr(
                (prev and prev.path_info, prev and prev.query_string, prev and prev.closed)
            )

        @cp.expose
        def go(self, to: str, query: str = '') -> str:
            raise cp.InternalRedirect(to, query)

        @cp.expose
        def count(self, n: str = '0') -> str:
            if int(n) < 3:
                raise cp.InternalRedirect('/count', f'n={int(n) + 1}')
            chain = []
            request = cp.request
            while request is not None:
                chain.append(request.query_string)
                request = request.prev
            return repr(chain)

        @cp.expose
        def loop(self) -> str:
            raise cp.InternalRedirect('/loop')

        @cp.expose
        def pair(self) -> str:
            raise cp.InternalRedirect('/pair_back')

        @cp.expose
        def pair_back(self) -> str:
            raise cp.InternalRedirect('/pair')

        @cp.expose
        @cp.config(**{'hooks.before_request_body': redirect_early})
        def hooked(self, early: str = '') -> str:
            return 'not redirected'

        @cp.expose
        @cp.config(**{'hooks.before_error_response': redirect_late})
        def erring(self) -> str:
            raise ValueError('to be redirected')

        @cp.expose
        @cp.config(**{'request.error_response': None})
        def emptied(self) -> str:
            raise ValueError('emptied')

        @cp.expose
        @cp.config(**{'tools.redirect.on': True, 'tools.redirect.url': '/target'})
        def tool(self) -> str:
            return 'not redirected'

        @cp.expose
        @cp.config(**{'tools.redirect.on': True, 'tools.redirect.url': '/target', 'tools.redirect.internal': False})
        def tool_external(self) -> str:
            return 'not redirected'

        @cp.expose
        @cp.config(**{'tools.err_redirect.on': True, 'tools.err_redirect.url': '/target'})
        def err_tool(self) -> str:
            raise ValueError('redirected')

        @cp.expose
        @cp.config(who='first')
        def conf_from(self) -> str:
            raise cp.InternalRedirect('/conf_to')

        @cp.expose
        def conf_to(self) -> str:
            return str(cp.request.config.get('who'))

        @cp.expose
        @cp.config(**{'response.stream': True})
        def streamed(self) -> Any:
            yield 'begun '
            raise cp.InternalRedirect('/target')

        @cp.expose
        def cookies(self) -> str:
            cp.response.cookie['lost'] = '1'
            cp.response.headers['X-Lost'] = '1'
            raise cp.InternalRedirect('/target')

    return Root()


@variant
def internal_variant(cp: Any, folder: Path) -> Wsgi:
    cp.config.update(PLAIN)
    cp.tree.mount(redirect_root(cp), '', {'/': {}})
    cp.tree.mount(redirect_root(cp), '/app', {'/': {}})
    cp.tree.mount(redirect_root(cp), '/recursive', {'/': {'wsgi.InternalRedirector.recursive': True}})
    return Later(cp)


class Replacing:
    """Middleware that replaces one text by another."""

    def __init__(self, nextapp: Any, old: str = '', new: str = '') -> None:
        self.nextapp = nextapp
        self.old, self.new = old.encode(), new.encode()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        chunks = self.nextapp(environ, start_response)
        try:
            return [chunk.replace(self.old, self.new) if self.old else chunk for chunk in chunks]
        finally:
            if hasattr(chunks, 'close'):
                chunks.close()


class Casing:
    """Middleware that changes the case of the body."""

    def __init__(self, nextapp: Any, to: str = 'upper') -> None:
        self.nextapp = nextapp
        self.to = to

    def __call__(self, environ: Any, start_response: Any) -> Any:
        chunks = self.nextapp(environ, start_response)
        try:
            return [getattr(chunk, self.to)() for chunk in chunks]
        finally:
            if hasattr(chunks, 'close'):
                chunks.close()


class Marking:
    """Middleware that adds its name in front of the body, once for each time it stands in the pipeline."""

    def __init__(self, nextapp: Any) -> None:
        self.nextapp = nextapp

    def __call__(self, environ: Any, start_response: Any) -> Any:
        chunks = self.nextapp(environ, start_response)
        try:
            return [b'marked ' + b''.join(chunks)]
        finally:
            if hasattr(chunks, 'close'):
                chunks.close()


def failing(nextapp: Any) -> Wsgi:
    def fail(environ: Any, start_response: Any) -> Any:
        if environ['PATH_INFO'].endswith('/fail'):
            raise ValueError('from the middleware')
        return nextapp(environ, start_response)

    return fail


@variant
def pipeline_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 5.4: the WSGI pipeline."""
    cp.config.update(PLAIN)

    def bad_header(key: Any, value: Any) -> Callable[[], None]:
        return lambda: cp.response.header_list.append((key, value))

    def bad_status() -> None:
        cp.response.output_status = '200 OK'

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'Hello World'

        @cp.expose
        def boom(self) -> str:
            raise ValueError('boom')

        @cp.expose
        @cp.config(**{'request.throw_errors': True})
        def thrown(self) -> str:
            raise ValueError('thrown')

        @cp.expose
        @cp.config(**{'request.throw_errors': True, 'request.show_tracebacks': False})
        def thrown_quiet(self) -> str:
            raise ValueError('thrown')

        @cp.expose
        @cp.config(**{'request.throw_errors': True})
        def thrown_404(self) -> str:
            raise cp.HTTPError(404)

        @cp.expose
        @cp.config(**{'hooks.on_end_resource': bad_header(2, b'x')})
        def key_2(self) -> str:
            return 'x'

        @cp.expose
        @cp.config(**{'hooks.on_end_resource': bad_header(b'X-Name', 'text')})
        def value_text(self) -> str:
            return 'x'

        @cp.expose
        @cp.config(**{'hooks.on_end_resource': bad_status})
        def status_text(self) -> str:
            return 'x'

        @cp.expose
        def exits(self) -> str:
            raise SystemExit(3)

        @cp.expose
        @cp.config(**{'response.stream': True})
        def stream_first(self) -> Any:
            raise ValueError('before the first chunk')
            yield 'never'

        @cp.expose
        @cp.config(**{'response.stream': True})
        def stream_later(self) -> Any:
            yield 'begun '
            raise ValueError('later')

    cp.tree.mount(Root(), '', {'/': {}})
    replaced = cp.Application(Root(), '/replaced')
    replaced.wsgiapp.pipeline.append(('casing', Casing))
    replaced.merge(
        {
            '/': {
                'wsgi.pipeline': [('replace', Replacing), ('failing', failing)],
                'wsgi.replace.old': 'HELLO',
                'wsgi.replace.new': 'goodbye',
                'wsgi.unknown.key': 1,
                'wsgi.casing.to': 'upper',
            }
        }
    )
    cp.tree.mount(replaced)
    twice = cp.tree.mount(Root(), '/twice', {'/': {'wsgi.pipeline': [('marking', Marking)]}})
    twice.merge({'/': {'who': 'second'}})
    late = cp.tree.mount(Root(), '/late', {'/': {}})
    late.wsgiapp.pipeline.append(('casing', Casing))
    late.wsgiapp.config['casing'] = {'to': 'swapcase'}

    cp.tree.mount(Root(), '/catching', {'/': {'wsgi.ExceptionTrapper.throws': (ValueError,)}})
    return Later(cp)


@variant
def response_class_variant(cp: Any, folder: Path) -> Wsgi:
    cp.config.update(PLAIN)

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'Hello World'

    class Shouting(cp.wsgi.AppResponse):  # type: ignore[misc]
        def __next__(self) -> bytes:
            chunk: bytes = super().__next__()
            return chunk.upper()

    cp.tree.mount(Root(), '/shouting', {'/': {'wsgi.response_class': Shouting}})
    return Later(cp)


CONFIG = {
    '/': {'who': 'section root', 'only.root': 1},
    '/branch': {'section': '/branch', 'code': 'section branch'},
    '/branch/index': {'at': 'section index'},
    '/branch/leaf': {'leaf': 'section leaf'},
    '/branch/leaf/x': {'at': 'section vpath'},
    '/branch/a.b': {'at': 'dot'},
    '/branch/a_b': {'at': 'underscore'},
    '/branch/z/w': {'at': 'slash'},
    '/branch/z%2Fw': {'at': 'escaped'},
    '/branch/default': {'at': 'default'},
    '/branch/y': {'dflt': 'section y'},
    '/branch/leaf2/': {'at': 'trailing'},
    '/fr': {'at': 'fr'},
    '/withhidden/hidden': {'at': 'hidden section'},
    'database': {'dsn': 'memory', 'nested': {'a': [1]}},
    'global': {'inert': 'yes', 'who': 'app global'},
}


@variant
def config_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 7.3, 7.4: config from dicts, code and sections."""
    cp.config.update({**PLAIN, 'site': 'wide', 'who': 'global', 'only.global': 2, 'tools.unknown.on': False})
    cp.tree.mount(pages.value_root(cp), '', CONFIG)
    cp.tree.mount(pages.value_root(cp), '/bare', {'/': {}})
    cp.tree.mount(
        pages.value_root(cp),
        '/static',
        {
            '/': {'tools.staticdir.root': '/nowhere'},
            '/branch': {'tools.staticdir.dir': 'files'},
        },
    )
    return Later(cp)


FILE_GLOBAL = """
[global]
log.screen: False
checker.on: False
engine.autoreload.on: False
request.show_tracebacks: False
from.file = "global"

[/ignored]
who = "not global"
"""

FILE_APP = """
# a comment
; another comment
[DEFAULT]
ones: "11"
twos = "22"

[/]
who: "section root"
neg = -1
flt: 1.5
cplx: 2j
nothing = None
empty:
byt: b"abc"
true = True
ellipsis = ...
joined = "a" "b"
lst = [1, 'two', (3, 4)]
dct: {'a': 1, "b": [2]}
plus = 1 + 2
times: "ab" * 2
stradd: %(ones)s + %(twos)s + "33"
percent = "100%%"
name: os.path
attr = os.path.join("a", "b")
sub: {'k': 'v'}['k']
idx: [1, 2, 3][1]
call: dict(a=1, **{'b': 2})
builtin = sorted([3, 1, 2])
inline: 5  # comment
continued: [1,
    2,
    3]
CaseSensitive = 1
casesensitive: 2

[/branch]
section = "branch"

[/methods]
request.dispatch = cherrypy.dispatch.MethodDispatcher()

[own section]
key = {"any": "thing"}
"""

FILE_SUPERSET = {
    'f_minus': '1 - 2',
    'f_divide': '1 / 2',
    'f_power': '2 ** 3',
    'f_not': 'not True',
    'f_set': '{1}',
    'f_star': 'complex(*[1, 2])',
    'f_compare': '1 < 2',
    'f_lambda': 'lambda: 1',
    'f_comprehension': '[x for x in (1, 2)]',
    'f_fstring': 'f"{1}"',
    'f_and': 'True and False',
    'f_conditional': '1 if True else 2',
    'f_slice': '[1, 2, 3][0:1]',
    'f_unknown': 'foo',
    'f_syntax': '1 +',
}


@variant
def files_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 7.1: config read from a file by name, and from an open file."""
    global_file = folder / 'global.conf'
    global_file.write_text(FILE_GLOBAL)
    app_file = folder / 'application.conf'
    app_file.write_text(FILE_APP)
    cp.config.update(str(global_file))

    class Root(type(pages.value_root(cp))):  # type: ignore[misc]
        methods = pages.method_root(cp)

        @cp.expose
        def typed(self, key: str) -> str:
            value = cp.request.config.get(key, 'absent')
            if isinstance(value, dict):
                return f'dict {sorted(value.items())!r}'
            return f'{type(value).__name__} {value!r}'

        @cp.expose
        def name(self) -> str:
            return str(cp.request.config['name'].__name__)

        @cp.expose
        def watched(self) -> str:
            names = {Path(name).name for name in cp.engine.autoreload.files}
            return repr(sorted(names & {'global.conf', 'application.conf'}))

    cp.tree.mount(Root(), '', str(app_file))
    with app_file.open() as opened:
        cp.tree.mount(Root(), '/opened', opened)
    return Later(cp)


def environment_variant(name: str) -> Callable[[Any, Path], Wsgi]:
    def build_variant(cp: Any, folder: Path) -> Wsgi:
        cp.config.update({**QUIET, 'environment': name})
        return environment_site(cp)

    return build_variant


def environment_site(cp: Any) -> Wsgi:
    class Root(type(pages.value_root(cp))):  # type: ignore[misc]
        @cp.expose
        def setting(self, key: str) -> str:
            return repr(cp.config.get(key, 'absent'))

        @cp.expose
        def positional(self, param1: str) -> str:
            return 'positional ' + param1

    cp.tree.mount(Root(), '', {'/': {}})
    return Later(cp)


for _name in ('staging', 'production', 'embedded', 'test_suite'):
    VARIANTS[_name] = environment_variant(_name)


@variant
def bare_variant(cp: Any, folder: Path) -> Wsgi:
    """No setting but those that keep the site silent."""
    cp.config.update(QUIET)

    class Root(type(pages.value_root(cp))):  # type: ignore[misc]
        @cp.expose
        def fields(self, **kwargs: Any) -> str:
            return str(len(kwargs))

    cp.tree.mount(Root(), '', {'/': {}})
    return Later(cp)


@variant
def restored_variant(cp: Any, folder: Path) -> Wsgi:
    """Every setting of the last column of docs/differences.md: both packages answer alike again."""
    cp.config.update(
        {
            **QUIET,
            'request.show_tracebacks': True,
            'request.query_string_separators': '&;',
            'response.headers.Server': 'CherryPy/18.10.0',
        }
    )

    class Root(type(pages.value_root(cp))):  # type: ignore[misc]
        @cp.expose
        def keywords(self, **kwargs: Any) -> str:
            return show('keywords', (), kwargs)

    cp.tree.mount(Root(), '', {'/': {}})
    return Later(cp)


@variant
def namespaces_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 7.5 and 7.6: namespaces, toolboxes, hooks and tools."""
    seen: list[str] = []
    cp.config.namespaces['parity_db'] = lambda k, v: seen.append(f'{k}={v}')
    LEFTOVERS.append(lambda: cp.config.namespaces.pop('parity_db', None))
    cp.config.update({**PLAIN, 'parity_db.one': 1, 'environment_less': True})
    cp.config['parity_db.two'] = 2
    cp.config.setdefault('parity_db.three', 3)

    trace: list[str] = []

    def note(text: str) -> Callable[[], None]:
        return lambda: trace.append(text)

    def mark(name: str = 'X-Mark', value: str = 'default') -> None:
        cp.response.headers[name] = (cp.response.headers.get(name, '') + ' ' + value).strip()

    def early(value: str = 'early') -> None:
        mark('X-Order', value)

    early.priority = 10  # type: ignore[attr-defined]
    cp.tools.parity_mark = cp.Tool('before_finalize', mark)
    cp.tools.parity_late = cp.Tool('before_finalize', lambda value='late': mark('X-Order', value), priority=90)
    cp.tools.parity_early = cp.Tool('before_finalize', early)
    cp.tools.parity_first = cp.Tool('before_finalize', lambda value='first': mark('X-Order', value))
    cp.tools.parity_second = cp.Tool('before_finalize', lambda value='second': mark('X-Order', value))

    def fail() -> None:
        mark('X-Hook', 'fail')
        raise cp.HTTPError(418, 'hook')

    def safe() -> None:
        mark('X-Hook', 'safe')

    safe.failsafe = True  # type: ignore[attr-defined]

    def unsafe() -> None:
        mark('X-Hook', 'unsafe')

    class Manager:
        """A namespace handler that is a context manager."""

        def __enter__(self) -> Any:
            cp.request.parity_entered = []
            return lambda k, v: cp.request.parity_entered.append((k, v))

        def __exit__(self, *exc_info: Any) -> bool:
            cp.request.parity_entered.append('exit')
            return False

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'index'

        @cp.expose
        def global_seen(self) -> str:
            return repr(seen)

        @cp.expose
        def config_seen(self) -> str:
            return repr(sorted((k, v) for k, v in cp.config.items() if k.startswith('parity_db')))

        @cp.expose
        def app_seen(self) -> str:
            return repr(sorted(app_seen))

        @cp.expose
        def raw(self) -> str:
            return repr(sorted(getattr(cp.request, 'raw_seen', [])))

        @cp.expose
        def managed(self) -> str:
            return repr(cp.request.parity_entered)

        @cp.expose
        @cp.tools.parity_mark(value='decorated')
        def decorated(self) -> str:
            return 'decorated'

        @cp.expose
        @cp.tools.parity_mark(value='decorated')
        def off(self) -> str:
            return 'off in its section'

        @cp.expose
        @cp.tools.parity_mark(value='decorated')
        def on(self) -> str:
            return 'section / cannot switch it off'

        @cp.expose
        @cp.tools.parity_late()
        @cp.tools.parity_second()
        @cp.tools.parity_first()
        @cp.tools.parity_early()
        def ordered(self) -> str:
            return 'ordered'

        @cp.expose
        @cp.tools.parity_late(priority=1)
        @cp.tools.parity_first()
        def prioritised(self) -> str:
            return 'prioritised'

        @cp.expose
        @cp.config(**{'tools.parity_mark.on': True, 'tools.parity_mark.nosuch': 1})
        def bad_argument(self) -> str:
            return 'never'

        @cp.expose
        @cp.config(**{'tools.nosuch.on': True})
        def bad_tool(self) -> str:
            return 'never'

        @cp.expose
        @cp.config(**{'tools.nosuch.on': False, 'tools.nosuch.arg': 1})
        def bad_tool_off(self) -> str:
            return 'not on'

        @cp.expose
        @cp.config(**{'tools.gzip': True})
        def two_dots(self) -> str:
            return 'never'

        @cp.expose
        @cp.config(**{'hooks.nosuch': lambda: None})
        def bad_hook(self) -> str:
            return 'never'

        @cp.expose
        @cp.config(
            **{
                'hooks.before_finalize.a': lambda: mark('X-Hook', 'a'),
                'hooks.before_finalize.b': lambda: mark('X-Hook', 'b'),
            }
        )
        def two_hooks(self) -> str:
            return 'two hooks'

        @cp.expose
        @cp.config(**{'hooks.before_handler.a': fail, 'hooks.before_handler.b': unsafe, 'hooks.before_handler.c': safe})
        def failsafe(self) -> str:
            return 'never'

        @cp.expose
        @cp.config(**{'error_page.nosuch': 'x'})
        def bad_error_page(self) -> str:
            return 'never'

        @cp.expose
        @cp.config(**{'error_page.418': own_error_page})
        def own_page(self) -> str:
            raise cp.HTTPError(418, '<short & stout>')

        @cp.expose
        @cp.config(**{'error_page.default': own_error_page})
        def own_default(self) -> str:
            raise ValueError('unanticipated')

        @cp.expose
        @cp.config(**{'error_page.404': str(folder / 'page.html')})
        def own_file(self) -> str:
            raise cp.HTTPError(404, 'of the file')

        @cp.expose
        @cp.config(**{'error_page.404': str(folder / 'no such page.html')})
        def own_file_missing(self) -> str:
            raise cp.HTTPError(404, 'no file')

        @cp.expose
        @cp.config(**{'response.headers.X-Config': 'header', 'response.status': 202})
        def response_keys(self) -> str:
            return 'accepted'

        @cp.expose
        @cp.config(**{'request.parity': 'attribute', 'no_dot': 1, 'foreign.key': 2, 'server.y': 3, 'log.x': 4})
        def request_keys(self) -> str:
            return repr(
                (
                    cp.request.parity,
                    cp.request.config['no_dot'],
                    cp.request.config['foreign.key'],
                    hasattr(cp.server, 'y'),
                    hasattr(cp.request, 'y'),
                )
            )

        @cp.expose
        @cp.config(**{'box.stamp.on': True, 'box.stamp.text': 'boxed'})
        def boxed(self) -> str:
            return 'boxed'

        @cp.expose
        def box_off(self) -> str:
            return 'not boxed'

        @cp.expose
        @cp.config(**{'tools.params.on': True})
        def tool_params(self, n: int) -> str:
            return repr(n)

        tool_params.__annotations__['n'] = int

        @cp.expose
        @cp.config(**{'request.error_response': lambda: setattr(cp.response, 'body', b'own error response')})
        def own_response(self) -> str:
            raise ValueError('x')

    (folder / 'page.html').write_text('<b>%(status)s</b> %(message)s\n')
    app_seen: list[tuple[str, Any]] = []
    app = cp.Application(Root(), '')
    app.namespaces['parity_app'] = lambda k, v: app_seen.append((k, v))
    app.request_class.namespaces['parity_raw'] = lambda k, v: setattr(
        cp.request, 'raw_seen', [*getattr(cp.request, 'raw_seen', []), (k, v)]
    )
    app.request_class.namespaces['parity_manager'] = Manager()
    box = type(cp.tools)('box')
    box.stamp = cp.Tool('before_finalize', lambda text='': mark('X-Stamp', text))
    app.toolboxes['box'] = box
    LEFTOVERS.append(lambda: app.toolboxes.pop('box', None))
    LEFTOVERS.append(lambda: app.request_class.namespaces.pop('parity_raw', None))
    LEFTOVERS.append(lambda: app.request_class.namespaces.pop('parity_manager', None))
    app.merge(
        {
            '/': {'parity_app.a': 1, 'tools.parity_mark.on': False},
            '/off': {'tools.parity_mark.on': False, 'parity_app.b': 2},
            '/raw': {'parity_raw.x': 1, 'parity_raw.y.z': 2},
            '/managed': {'parity_manager.k': 'v'},
        }
    )
    cp.tree.mount(app)
    return Later(cp)


@variant
def order_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 11: the order of one request."""
    points = (
        'on_start_resource',
        'before_request_body',
        'before_handler',
        'before_finalize',
        'on_end_resource',
        'on_end_request',
        'before_error_response',
        'after_error_response',
    )
    finished: list[str] = []

    def step(point: str) -> Callable[[], None]:
        def hook() -> None:
            request = cp.request
            if not hasattr(request, 'steps'):
                request.steps = []
            request.steps.append(
                f'{point}[{",".join(sorted(request.params))}|{request.process_request_body}|{request.stage}]'
            )
            if point == 'on_end_resource':
                cp.response.header_list.append((b'X-Steps', '; '.join(request.steps).encode()))
            if point == 'on_end_request':
                finished[:] = request.steps

        return hook

    class Root:
        @cp.expose
        def page(self, **kwargs: Any) -> str:
            return 'page'

        @cp.expose
        def boom(self, **kwargs: Any) -> str:
            raise ValueError('boom')

        @cp.expose
        def error(self, **kwargs: Any) -> str:
            raise cp.HTTPError(409, 'conflict')

        @cp.expose
        def redirect(self, **kwargs: Any) -> str:
            raise cp.HTTPRedirect('/page')

        @cp.expose
        def last(self) -> str:
            return '; '.join(finished)

    cp.config.update({**PLAIN, **{f'hooks.{point}.step': step(point) for point in points}})
    cp.tree.mount(Root(), '', {'/': {}, '/last': {'hooks.on_end_request.step': lambda: None}})
    return Later(cp)


@variant
def wire_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 3.4, 3.5, 5.4, 8: what reaches the request from the environ."""
    cp.config.update(PLAIN)

    class Root(type(pages.value_root(cp))):  # type: ignore[misc]
        @cp.expose
        def echo(self, *args: str, **kwargs: Any) -> str:
            request = cp.request
            return ascii((args, sorted(kwargs.items()), request.path_info, request.query_string, request.request_line))

        @cp.expose
        def attributes(self) -> str:
            request = cp.request
            return repr(
                (
                    tuple(request.local)[:3]
                    if hasattr(request.local, '__iter__')
                    else (request.local.ip, request.local.port, request.local.name),
                    (request.remote.ip, request.remote.port, request.remote.name),
                    request.scheme,
                    request.login,
                    request.multithread,
                    request.multiprocess,
                    request.base,
                    request.protocol,
                    request.server_protocol,
                    request.method,
                )
            )

        @cp.expose
        def cookie(self) -> str:
            return repr(sorted((k, m.value) for k, m in cp.request.cookie.items()))

        @cp.expose
        def set_cookie(self) -> str:
            cp.response.cookie['name'] = 'value'
            cp.response.cookie['name']['path'] = '/'
            cp.response.cookie['name']['max-age'] = 3600
            return 'set'

        @cp.expose
        def status(self, code: str) -> str:
            cp.response.status = code
            return 'status'

        @cp.expose
        def header_out(self, value: str) -> str:
            cp.response.headers['X-Out'] = value
            return 'header'

    latin = {'/': {}, '/echo': {'request.uri_encoding': 'latin-1'}}
    cp.tree.mount(Root(), '', {'/': {'request.error_page_marker': 1}})
    cp.tree.mount(Root(), '/latin', latin)
    return Later(cp)


@variant
def favicon_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec A 5.2: the icon of a root application."""
    cp.config.update(PLAIN)

    class Root:
        @cp.expose
        def index(self) -> str:
            return repr(hasattr(type(self), 'favicon_ico'))

    cp.tree.mount(Root(), '', {'/': {}})
    cp.tree.mount(Root(), '/below', {'/': {}})
    return Later(cp)


@variant
def favicon_override_variant(cp: Any, folder: Path) -> Wsgi:
    cp.config.update(PLAIN)
    (folder / 'own.ico').write_bytes(b'own icon')
    (folder / 'default.ico').write_bytes(b'default icon')

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'index'

    class OwnHandler(Root):
        favicon_ico = cp.tools.staticfile.handler(filename=str(folder / 'default.ico'))

    section = {'tools.staticfile.filename': str(folder / 'own.ico')}
    cp.tree.mount(OwnHandler(), '', {'/favicon.ico': section})
    cp.tree.mount(Root(), '/tool', {'/favicon.ico': {**section, 'tools.staticfile.on': True}})
    return Later(cp)


@variant
def favicon_config_variant(cp: Any, folder: Path) -> Wsgi:
    """The icon the mount provides, with another file named in its section."""
    cp.config.update(PLAIN)
    (folder / 'own.ico').write_bytes(b'own icon')

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'index'

    cp.tree.mount(Root(), '', {'/favicon.ico': {'tools.staticfile.filename': str(folder / 'own.ico')}})
    return Later(cp)


@variant
def favicon_none_variant(cp: Any, folder: Path) -> Wsgi:
    cp.config.update(PLAIN)

    class Root:
        favicon_ico = None

        @cp.expose
        def index(self) -> str:
            return 'index'

    cp.tree.mount(Root(), '', {'/': {}})
    return Later(cp)


@variant
def favicon_slots_variant(cp: Any, folder: Path) -> Wsgi:
    """A root that takes no attributes; its application is built by hand where mounting refuses it."""
    cp.config.update(PLAIN)

    class Root:
        __slots__ = ()

        @cp.expose
        def index(self) -> str:
            return 'index'

    try:
        cp.tree.mount(Root(), '', {'/': {}})
    except AttributeError:
        pass  # the tree stays empty, and answers so
    return Later(cp)


@variant
def acts_variant(cp: Any, folder: Path) -> Wsgi:
    """Spec B: page handlers that belong to one case each, and what hooks and the log tell of them."""
    acts.TOLD.clear()
    cp.config.update(PLAIN)
    for name, make in acts.TOOLS.items():
        setattr(cp.tools, name, make(cp))
        LEFTOVERS.append(lambda name=name: delattr(cp.tools, name))
    LEFTOVERS.append(acts.listen(cp))
    cp.tree.mount(acts.make_root(cp), '', {'/': {}})
    for script_name, make in acts.MOUNTS.items():
        root, config, change = make(cp)
        change(cp.tree.mount(root, script_name, config))
    return Telling(cp)


class Telling(Later):
    """Forgets what was told before, at each request but those for it."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ['PATH_INFO'] == '/told':
            acts.SAID[:], acts.TOLD[:] = acts.TOLD[:], []
        else:
            acts.TOLD.clear()
        return super().__call__(environ, start_response)
