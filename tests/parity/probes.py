"""Calls made outside of any request: the parts of the application API that no request shows.

Each probe gives a text; one that raises gives the exception's type and message.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .application import FILE_SUPERSET, PLAIN, QUIET, Replacing

__all__ = ['DEFAULTS', 'FIND_PATHS', 'TREE_PATHS', 'UNREPR', 'URLS_OUTSIDE', 'make_probes']

# What `url` is asked for outside of a request: name -> (args, kwargs).
URLS_OUTSIDE: dict[str, tuple[list[Any], dict[str, Any]]] = {
    'path': (['/p'], {}),
    'empty': ([], {}),
    'relative-path': (['p'], {}),
    'script_name': (['/p'], {'script_name': '/app'}),
    'base': (['/p'], {'base': 'http://b'}),
    'qs': (['/p'], {'qs': 'a=1'}),
    'qs-dict': (['/p'], {'qs': {'a': 'b c'}}),
    'dots': (['/a/./b/../c'], {}),
    'relative-server': (['/p'], {'relative': 'server'}),
    'relative-false': (['/p'], {'relative': False}),
}

TREE_PATHS = ('/', '', '/foo', '/foo/', '/foo/bar', '/foobar', '/foo/bar/baz', '/other', '/a/b/c', '/a/b', '/a')

FIND_PATHS = (
    ('/', 'k'),
    ('', 'k'),
    ('/a', 'k'),
    ('/a/b', 'k'),
    ('/a/b/c', 'k'),
    ('/ab', 'k'),
    ('/a/', 'k'),
    ('a', 'k'),
    ('/a/b', 'root'),
    ('/x', 'root'),
    ('/x', 'absent'),
    ('/a/b/', 'k'),
)

UNREPR = {
    'int': '1',
    'float': '1.5',
    'complex': '2j',
    'str': "'a'",
    'bytes': "b'a'",
    'none': 'None',
    'true': 'True',
    'false': 'False',
    'ellipsis': '...',
    'joined': "'a' 'b'",
    'list': "[1, 'a']",
    'tuple': '(1, 2)',
    'empty-tuple': '()',
    'dict': "{'a': 1}",
    'add': '1 + 2',
    'multiply': "'a' * 3",
    'negative': '-1',
    'module': 'os.path.sep',
    'builtin': 'len([1, 2])',
    'subscript': "{'a': 5}['a']",
    'keyword-call': 'dict(a=1)',
    'mapping-call': "dict(**{'a': 1})",
    'explicit-wins': "dict(a=2, **{'b': 1})",
    'comment': '5 # five',
    'empty': '',
    'positive': '+1',
    'nested': '[[1], {2: (3,)}]',
    'attribute-chain': 'xmlrpc.client.Fault.__name__',
}

DEFAULTS = {
    'request': (
        'prev',
        'scheme',
        'server_protocol',
        'base',
        'request_line',
        'method',
        'query_string',
        'query_string_encoding',
        'protocol',
        'params',
        'header_list',
        'rfile',
        'process_request_body',
        'methods_with_bodies',
        'body',
        'script_name',
        'path_info',
        'login',
        'app',
        'handler',
        'toolmaps',
        'config',
        'is_index',
        'error_page',
        'show_mismatched_params',
        'throws',
        'throw_errors',
        'closed',
        'stage',
    ),
    'response': ('stream', 'body', 'status'),
    'server': (
        'socket_host',
        'socket_port',
        'socket_file',
        'socket_queue_size',
        'socket_timeout',
        'accepted_queue_size',
        'accepted_queue_timeout',
        'shutdown_timeout',
        'protocol_version',
        'thread_pool',
        'thread_pool_max',
        'max_request_header_size',
        'max_request_body_size',
        'instance',
        'ssl_context',
        'ssl_certificate',
        'ssl_certificate_chain',
        'ssl_private_key',
        'ssl_ciphers',
        'ssl_module',
        'statistics',
        'nodelay',
        'wsgi_version',
        'peercreds',
        'peercreds_resolve',
    ),
    'engine.autoreload': ('frequency', 'match'),
    'log': ('error_file', 'access_file', 'wsgi', 'access_log_format'),
}


def make_probes(cp: Any, folder: Path) -> dict[str, Callable[[], str]]:
    probes: dict[str, Callable[[], str]] = {}

    def probe(func: Callable[[], str]) -> Callable[[], str]:
        probes[func.__name__] = func
        return func

    def fresh_tree() -> Any:
        cp.tree = type(cp.tree)()
        return cp.tree

    def raised(call: Callable[[], Any]) -> str:
        try:
            call()
        except Exception as exc:
            return type(exc).__name__
        return 'nothing'

    # 1.1

    @probe
    def expose_bound_method() -> str:
        class Page:
            def method(self) -> None: ...

        return repr(cp.expose(Page().method))

    @probe
    def expose_alias_bytes() -> str:
        return raised(lambda: cp.expose(lambda: None, alias=b'ab'))

    @probe
    def expose_returns_the_same() -> str:
        def function() -> None: ...

        class Page: ...

        return repr(
            (
                cp.expose(function) is function,
                cp.expose(Page) is Page,
                cp.expose()(function) is function,
                cp.expose('alias')(function) is function,
                cp.expose(function, 'alias') is function,
                function.exposed,
                Page.exposed,
            )
        )  # type: ignore[attr-defined]

    @probe
    def expose_alias_in_a_function() -> str:
        class Page:
            @cp.expose(['one', 'two.three'])
            def page(self) -> None: ...

        return repr((Page.one is Page.page, Page.two_three is Page.page))  # type: ignore[attr-defined]

    @probe
    def expose_property() -> str:
        return type(cp.expose(property(lambda self: None))).__name__

    # 2

    @probe
    def translate_must_be_a_dict() -> str:
        return repr(cp.dispatch.Dispatcher(translate='text'))

    @probe
    def dispatch_method_name() -> str:
        return repr((cp.dispatch.Dispatcher.dispatch_method_name, cp.dispatch.Dispatcher('x').dispatch_method_name))

    @probe
    def popargs_unknown_keyword() -> str:
        return repr(cp.popargs('a', foo=1))

    # 3.1

    @probe
    def errors_are_callable() -> str:
        said = []
        for error in (cp.HTTPError(402, 'm'), cp.NotFound('/x'), cp.HTTPRedirect('http://h/x')):
            try:
                error()
            except cp.CherryPyException as exc:
                said.append(type(exc).__name__)
        return repr(said)

    # 5.1

    @probe
    def script_name_is_stripped() -> str:
        return repr([cp.Application(None, name).script_name for name in ('', '/', '/x', '/x/', '/x//')])

    @probe
    def application_repr() -> str:
        return re.sub(r'^[\w.]+\.', '', repr(cp.Application(None, '/x')))

    @probe
    def application_repr_without_script_name() -> str:
        return re.sub(r'^[\w.]+\.', '', repr(cp.Application(None, script_name=None)))

    @probe
    def application_members() -> str:
        app = cp.Application(None, '/x')
        return repr((app.root, app.config, app.relative_urls, sorted(app.namespaces), sorted(app.toolboxes)))

    @probe
    def application_config_is_its_own() -> str:
        one, two = cp.Application(None), cp.Application(None)
        one.config['/'] = {'a': 1}
        return repr(two.config)

    @probe
    def toolboxes_are_per_application() -> str:
        one, two = cp.Application(None), cp.Application(None)
        one.toolboxes['parity_shared'] = object()
        try:
            return repr('parity_shared' in two.toolboxes)
        finally:
            del one.toolboxes['parity_shared']

    @probe
    def get_serving() -> str:
        app = cp.Application(None, '/x')
        request, response = app.get_serving(('127.0.0.1', 80), ('127.0.0.1', 1111), 'http', 'HTTP/1.1')
        try:
            return repr(
                (
                    request.app is app,
                    cp.serving.request is request,
                    cp.serving.response is response,
                    type(request).__name__,
                    type(response).__name__,
                )
            )
        finally:
            app.release_serving()

    # 5.2

    @probe
    def mount_gives_the_application() -> str:
        tree = fresh_tree()
        app = tree.mount(None, '/x/')
        return repr((type(app).__name__, sorted(tree.apps), tree.apps['/x'] is app))

    @probe
    def mount_without_script_name() -> str:
        try:
            cp.tree.mount(None, None)
        except TypeError as exc:
            # The rest of the message is each package's own advice.
            return str(exc)[:50]
        return 'mounted'

    @probe
    def mount_of_an_application_without_script_name() -> str:
        try:
            fresh_tree().mount(cp.Application(None, script_name=None))
        except Exception as exc:
            return type(exc).__name__
        return 'mounted'

    @probe
    def mount_of_an_application_elsewhere() -> str:
        return repr(fresh_tree().mount(cp.Application(None, '/a'), '/b'))

    @probe
    def mount_of_an_application_at_its_name() -> str:
        tree = fresh_tree()
        app = cp.Application(None, '/a')
        return repr(
            (tree.mount(app) is app, tree.mount(app, '/a') is app, tree.mount(app, '/a/') is app, list(tree.apps))
        )

    @probe
    def mount_replaces() -> str:
        tree = fresh_tree()
        first, second = tree.mount(None, '/a'), tree.mount(None, '/a/')
        return repr((first is second, tree.apps['/a'] is second))

    @probe
    def mount_without_slash() -> str:
        tree = fresh_tree()
        tree.mount(None, 'a')
        return repr(sorted(tree.apps))

    @probe
    def mount_sets_the_icon() -> str:
        class Root: ...

        class Below: ...

        root, below = Root(), Below()
        fresh_tree().mount(root, '')
        cp.tree.mount(below, '/b')
        return repr((hasattr(root, 'favicon_ico'), hasattr(below, 'favicon_ico')))

    @probe
    def mount_of_a_root_without_attributes() -> str:
        class Root:
            __slots__ = ()

        return type(fresh_tree().mount(Root(), '')).__name__

    @probe
    def mount_of_a_number() -> str:
        return type(fresh_tree().mount(5, '')).__name__

    @probe
    def graft_gives_none() -> str:
        tree = fresh_tree()

        def application(environ: Any, start_response: Any) -> Any: ...

        return repr((tree.graft(application, '/g/'), tree.apps['/g'] is application))

    for path in TREE_PATHS:

        def tree_script_name(path: str = path) -> str:
            tree = fresh_tree()
            for place in ('/foo', '/foo/bar', '/a/b'):
                tree.mount(None, place)
            return repr(tree.script_name(path))

        probes[f'tree_script_name {path}'] = tree_script_name

    @probe
    def tree_script_name_with_a_root() -> str:
        tree = fresh_tree()
        tree.mount(None, '')
        tree.mount(None, '/foo')
        return repr([tree.script_name(path) for path in ('/', '/foobar', '/foo/x', '/x')])

    @probe
    def tree_script_name_outside() -> str:
        tree = fresh_tree()
        tree.mount(None, '/foo')
        return repr(tree.script_name())

    # 5.3

    class Halt(Exception):
        """Raised where quickstart would start the engine."""

    def halted(call: Callable[[], None]) -> str:
        def halt(*args: Any, **kwargs: Any) -> None:
            raise Halt

        engine = cp.engine
        signals = getattr(engine, 'signals', None)
        names = [name for name in ('start', 'block') if hasattr(engine, name)]
        hosted = getattr(engine, 'hosted', None)
        for name in names:
            setattr(engine, name, halt)
        if signals is not None:
            signals.subscribe = lambda: None
        try:
            call()
        except Halt:
            return 'started'
        except Exception as exc:
            return type(exc).__name__
        finally:
            for name in names:
                delattr(engine, name)
            if hosted is not None:
                engine.hosted = hosted
            if signals is not None:
                del signals.subscribe
        return 'returned'

    @probe
    def quickstart_with_a_dict() -> str:
        fresh_tree()
        config = {'global': {'parity.quick': 1, **QUIET}, '/': {'a': 1}}
        said = halted(lambda: cp.quickstart(None, '/q', config))
        return repr(
            (
                said,
                cp.config.get('parity.quick'),
                cp.tree.apps['/q'].config['/'],
                'parity.quick' in cp.tree.apps['/q'].config['global'],
            )
        )

    @probe
    def quickstart_without_a_global_section() -> str:
        fresh_tree()
        said = halted(lambda: cp.quickstart(None, '/q', {'/': {'a': 1}}))
        return repr((said, cp.config.get('/'), cp.tree.apps['/q'].config))

    @probe
    def quickstart_with_an_open_file() -> str:
        fresh_tree()
        said = halted(lambda: cp.quickstart(None, '/q', io.StringIO('[global]\nparity.file = 1\n[/]\na = 2\n')))
        return repr((said, cp.config.get('parity.file'), cp.tree.apps['/q'].config.get('/')))

    @probe
    def quickstart_with_a_flat_dict() -> str:
        fresh_tree()
        said = halted(lambda: cp.quickstart(None, '/q', {'parity.flat': 1}))
        return repr((said, cp.config.get('parity.flat')))

    # 5.4

    @probe
    def wsgi_names() -> str:
        return repr(
            [
                hasattr(cp.wsgi, name)
                for name in ('AppResponse', 'CPWSGIApp', 'ExceptionTrapper', 'InternalRedirector', 'VirtualHost')
            ]
        )

    @probe
    def pipeline_defaults() -> str:
        wsgiapp = cp.Application(None).wsgiapp
        return repr(([name for name, _ in wsgiapp.pipeline], wsgiapp.config, wsgiapp.head is None))

    @probe
    def pipeline_key_without_dot() -> str:
        return raised(lambda: cp.Application(None).merge({'/': {'wsgi.nodot': 1}}))

    @probe
    def pipeline_merged_twice() -> str:
        app = cp.Application(None)
        app.merge({'/': {'wsgi.pipeline': [('replace', Replacing)]}})
        app.merge({'/': {'other': 1}})
        return repr([name for name, _ in app.wsgiapp.pipeline])

    # 6

    for name, (args, kwargs) in URLS_OUTSIDE.items():

        def url_outside(args: list[Any] = args, kwargs: dict[str, Any] = kwargs) -> str:
            return outside(lambda: str(cp.url(*args, **kwargs)))

        probes[f'url_outside {name}'] = url_outside

    def outside(call: Callable[[], str]) -> str:
        """Run in a thread of its own, which has never seen a request."""
        said: list[str] = []

        def run() -> None:
            try:
                said.append(call())
            except Exception as exc:
                said.append(f'{type(exc).__name__}: {exc}')

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return said[0]

    def with_server(**settings: Any) -> str:
        before = {key: getattr(cp.server, key) for key in settings}
        try:
            for key, value in settings.items():
                setattr(cp.server, key, value)
            return str(cp.server.base())
        finally:
            for key, value in before.items():
                setattr(cp.server, key, value)

    @probe
    def server_base() -> str:
        return with_server()

    @probe
    def server_base_port_80() -> str:
        return with_server(socket_port=80)

    @probe
    def server_base_ssl() -> str:
        return with_server(ssl_certificate='cert.pem', socket_port=443)

    @probe
    def server_base_ssl_port() -> str:
        return with_server(ssl_certificate='cert.pem', socket_port=8443)

    @probe
    def server_base_name() -> str:
        return with_server(socket_host='site.example', socket_port=8080)

    @probe
    def server_base_socket_file() -> str:
        return with_server(socket_file='/run/site.sock')

    @probe
    def server_base_any_host_is_this_host() -> str:
        import socket

        return with_server(socket_host='0.0.0.0', socket_port=80).replace(socket.gethostname(), '[host]')

    # 7.1

    for name, text in UNREPR.items():

        def unrepr(text: str = text) -> str:
            value = cp.lib.reprconf.unrepr(text)
            return f'{type(value).__name__} {value!r}'

        probes[f'unrepr {name}'] = unrepr

    for name, text in FILE_SUPERSET.items():

        def file_value(name: str = name, text: str = text) -> str:
            app = cp.Application(None)
            try:
                app.merge(io.StringIO(f'[/]\n{name} = {text}\n'))
            except ValueError as exc:
                if name in ('f_unknown',):
                    return f'ValueError {exc.args!r}'
                return 'ValueError ' + str(exc.args[0])
            value = app.config['/'][name]
            return 'a function' if callable(value) else f'{type(value).__name__} {value!r}'

        probes[f'file {name}'] = file_value

    def file_error(text: str) -> str:
        try:
            cp.Application(None).merge(io.StringIO(text))
        except Exception as exc:
            return type(exc).__name__
        return 'merged'

    @probe
    def file_missing() -> str:
        try:
            cp.config.update(str(folder / 'no such file.conf'))
        except OSError as exc:
            return type(exc).__name__
        return 'read'

    @probe
    def file_without_section() -> str:
        return file_error('a = 1\n')

    @probe
    def file_with_a_duplicate_option() -> str:
        return file_error('[/]\na = 1\na = 2\n')

    @probe
    def file_with_a_duplicate_section() -> str:
        return file_error('[/]\na = 1\n[/]\nb = 2\n')

    @probe
    def file_with_an_option_without_value() -> str:
        return file_error('[/]\na\n')

    @probe
    def file_with_a_bare_percent() -> str:
        return file_error('[/]\na = "100%"\n')

    @probe
    def file_naming_the_package() -> str:
        app = cp.Application(None)
        app.merge(io.StringIO('[/]\nrequest.dispatch = cherrypy.dispatch.MethodDispatcher()\n'))
        return repr(isinstance(app.config['/']['request.dispatch'], cp.dispatch.MethodDispatcher))

    @probe
    def reprconf_api() -> str:
        reprconf = cp.lib.reprconf
        parser = reprconf.Parser()
        parser.read_string('[a]\nx = 1 + 1\nRaw: "%(y)s"\ny = 3\n')
        return repr(
            (
                parser.as_dict(raw=True),
                reprconf.modules('os.path').__name__,
                reprconf.attributes('os.path.join').__name__,
            )
        )

    @probe
    def reprconf_attributes_missing() -> str:
        return repr(cp.lib.reprconf.attributes('os.nope'))

    @probe
    def reprconf_load() -> str:
        path = folder / 'load.conf'
        path.write_text('[a]\nx = 1\n')
        with path.open() as opened:
            loaded = cp.lib.reprconf.Parser.load(opened)
        return repr((cp.lib.reprconf.Parser.load(str(path)), loaded, cp.lib.reprconf.Parser.load({'b': 1})))

    @probe
    def namespace_set() -> str:
        said: list[Any] = []

        class Manager:
            def __enter__(self) -> Any:
                said.append('enter')
                return lambda k, v: said.append((k, v))

            def __exit__(self, *exc_info: Any) -> bool:
                said.append(('exit', exc_info[0]))
                return True

        def fail(k: str, v: Any) -> None:
            raise ValueError(k)

        spaces = cp.lib.reprconf.NamespaceSet()
        spaces['b'] = lambda k, v: said.append(('b', k, v))
        spaces['a'] = lambda k, v: said.append(('a', k, v))
        spaces['m'] = Manager()
        spaces({'a.x': 1, 'plain': 2, 'b.y.z': 3, 'unknown.k': 4, 'a.w': 5})
        return repr(said)

    @probe
    def namespace_set_swallows() -> str:
        class Manager:
            def __enter__(self) -> Any:
                def fail(k: str, v: Any) -> None:
                    raise ValueError(k)

                return fail

            def __exit__(self, kind: Any, value: Any, traceback: Any) -> bool:
                return kind is not None and str(value) == 'swallowed'

        spaces = cp.lib.reprconf.NamespaceSet()
        spaces['m'] = Manager()
        spaces({'m.swallowed': 1})
        try:
            spaces({'m.raised': 1})
        except ValueError as exc:
            return f'raised {exc}'
        return 'swallowed both'

    # 7.2

    def restored(call: Callable[[], str]) -> str:
        try:
            return call()
        finally:
            cp.config.reset()
            cp.config.update(PLAIN)

    @probe
    def config_defaults() -> str:
        cp.config.reset()
        return restored(lambda: repr(sorted((k, v) for k, v in cp.config.items() if k.startswith('tools.'))))

    @probe
    def config_update_takes_the_global_section() -> str:
        cp.config.update({'global': {'parity.g': 1}, '/path': {'parity.p': 2}})
        return restored(lambda: repr((cp.config.get('parity.g'), cp.config.get('/path'))))

    @probe
    def config_update_without_a_global_section() -> str:
        cp.config.update({'/path': {'parity.p': 2}, 'my': {'my.dir': 'x'}, 'plain': 3})
        return restored(lambda: repr((cp.config['/path'], cp.config['my']['my.dir'], cp.config['plain'])))

    @probe
    def config_update_of_the_callers_dict() -> str:
        section = {'tools.staticdir.dir': '/x', 'environment': 'staging'}
        cp.config.update({'global': section})
        return restored(lambda: repr(sorted(section)))

    @probe
    def config_update_sets_the_static_section() -> str:
        cp.config.update({'tools.staticdir.dir': '/x'})
        return restored(lambda: repr(cp.config.get('tools.staticdir.section')))

    @probe
    def config_unknown_environment() -> str:
        try:
            cp.config.update({'environment': 'nosuch', 'parity.e': 1})
        except KeyError as exc:
            kind = type(exc).__name__
            return restored(lambda: f'{kind} {cp.config.get("parity.e")}')
        return 'updated'

    @probe
    def config_environment_by_item() -> str:
        cp.config['environment'] = 'production'
        return restored(lambda: repr(cp.config.get('tools.log_headers.on')))

    @probe
    def config_environment_gives_way() -> str:
        cp.config.update({'environment': 'production', 'request.show_mismatched_params': True})
        return restored(
            lambda: repr((cp.config.get('request.show_mismatched_params'), cp.config.get('tools.log_headers.on')))
        )

    @probe
    def config_own_environment() -> str:
        cp.config.environments['parity'] = {'parity.env': 'mine'}
        try:
            cp.config.update({'environment': 'parity'})
            return restored(lambda: repr(cp.config.get('parity.env')))
        finally:
            del cp.config.environments['parity']

    for name in ('staging', 'production', 'embedded', 'test_suite'):

        def environment(name: str = name) -> str:
            return repr(sorted((k, v) for k, v in cp.config.environments[name].items()))

        probes[f'environment {name}'] = environment

    @probe
    def config_namespace_failing() -> str:
        def fail(k: str, v: Any) -> None:
            raise ValueError(k)

        cp.config.namespaces['parity_fail'] = fail
        try:
            cp.config.update({'parity_fail.x': 1})
        except ValueError:
            return restored(lambda: repr(cp.config.get('parity_fail.x')))
        finally:
            del cp.config.namespaces['parity_fail']
        return 'updated'

    @probe
    def config_namespace_calls() -> str:
        said: list[Any] = []
        cp.config.namespaces['parity_calls'] = lambda k, v: said.append((k, v))
        try:
            cp.config.update({'parity_calls.a': 1})
            cp.config['parity_calls.b'] = 2
            cp.config.setdefault('parity_calls.c', 3)
            cp.config.pop('parity_calls.a')
            cp.config.update({'other': 1})
            return restored(lambda: repr(said))
        finally:
            del cp.config.namespaces['parity_calls']

    @probe
    def config_reset_restores_what_it_set() -> str:
        before = cp.server.socket_port
        cp.config.update({'server.socket_port': 9999})
        cp.config.reset()
        try:
            return restored(lambda: repr(cp.server.socket_port == before))
        finally:
            cp.server.socket_port = before

    @probe
    def config_decorates_functions_and_classes() -> str:
        @cp.config(a=1)
        @cp.config(b=2)
        def function() -> None: ...

        @cp.config(c=3)
        class Page: ...

        return repr((sorted(function._cp_config.items()), Page._cp_config))  # type: ignore[attr-defined]

    @probe
    def config_decorates_a_subclass() -> str:
        @cp.config(a=1)
        class Base: ...

        @cp.config(b=2)
        class Derived(Base): ...

        return repr((sorted(Base._cp_config), sorted(Derived._cp_config)))  # type: ignore[attr-defined]

    @probe
    def tool_decorates_a_subclass() -> str:
        @cp.tools.gzip()
        class Base: ...

        @cp.tools.etags(autotags=True)
        class Derived(Base): ...

        return repr((sorted(Base._cp_config), sorted(Derived._cp_config)))  # type: ignore[attr-defined]

    # 7.3

    @probe
    def merge_flat() -> str:
        cp.Application(None).merge({'a': 1})
        return 'merged'

    @probe
    def merge_leaves_the_callers_dict() -> str:
        given = {'/': {'a': 1}, '/x': {'tools.staticdir.dir': 'y'}}
        app = cp.Application(None)
        app.merge(given)
        app.merge({'/': {'b': 2}})
        return repr((given, sorted(app.config['/'].items())))

    @probe
    def merge_runs_the_namespaces_of_the_root_section() -> str:
        said: list[Any] = []
        app = cp.Application(None)
        app.namespaces['parity'] = lambda k, v: said.append((k, v))
        app.merge({'/': {'parity.a': 1}, '/x': {'parity.b': 2}})
        return repr(said)

    @probe
    def merge_again_applies_what_changed() -> str:
        said: list[Any] = []
        app = cp.Application(None)
        app.namespaces['parity'] = lambda k, v: said.append((k, v))
        app.merge({'/': {'parity.a': 1}})
        app.merge({'/': {'parity.b': 2}})
        app.merge({'/x': {'parity.c': 3}})
        return repr(said)

    @probe
    def merge_sets_the_log() -> str:
        app = cp.Application(None)
        app.merge({'/': {'log.parity': 'set'}})
        return repr(app.log.parity)

    for path, key in FIND_PATHS:

        def find_config(path: str = path, key: str = key) -> str:
            app = cp.Application(None)
            app.merge({'/': {'k': 'root', 'root': 1}, '/a': {'k': 'a'}, '/a/b': {'k': 'ab'}})
            return repr(app.find_config(path, key, 'default'))

        probes[f'find_config {path} {key}'] = find_config

    # 7.5

    @probe
    def server_namespace() -> str:
        before = cp.server.socket_port
        try:
            cp.config.update({'server.socket_port': 8123, 'server.parity_unknown': 'set'})
            return restored(lambda: repr((cp.server.socket_port, cp.server.parity_unknown)))
        finally:
            cp.server.socket_port = before

    @probe
    def server_namespace_empty_host() -> str:
        try:
            cp.config.update({'server.socket_host': ''})
        finally:
            cp.server.socket_host = '127.0.0.1'
            cp.config.reset()
            cp.config.update(PLAIN)
        return 'updated'

    @probe
    def server_namespace_second_server() -> str:
        cp.config.update({'server.parity2.socket_port': 8124, 'server.parity2.on': False})
        return restored(lambda: repr((cp.servers['parity2'].socket_port, type(cp.servers['parity2']).__name__)))

    @probe
    def engine_namespace() -> str:
        cp.config.update({'engine.parity': 'set', 'engine.autoreload.frequency': 1})
        return restored(lambda: repr(cp.engine.parity))

    @probe
    def engine_namespace_unknown_plugin() -> str:
        try:
            cp.config.update({'engine.parity_nosuch.x': 1})
        except AttributeError:
            return restored(lambda: 'AttributeError')
        return 'updated'

    @probe
    def engine_namespace_plugin() -> str:
        class Plugin:
            said: list[str] = []

            def subscribe(self) -> None:
                self.said.append('subscribed')

            def unsubscribe(self) -> None:
                self.said.append('unsubscribed')

        cp.engine.parity_plugin = Plugin()
        cp.config.update({'engine.parity_plugin.on': True, 'engine.parity_plugin.x': 7})
        cp.config.update({'engine.parity_plugin.on': False})
        return restored(lambda: repr((Plugin.said, cp.engine.parity_plugin.x)))

    @probe
    def engine_namespace_signal() -> str:
        def handle() -> None: ...

        cp.config.update({'engine.SIGHUP': handle})
        try:
            return restored(lambda: repr(handle in cp.engine.listeners['SIGHUP']))
        finally:
            cp.engine.unsubscribe('SIGHUP', handle)

    @probe
    def engine_namespace_signal_none() -> str:
        def handle() -> None: ...

        cp.engine.subscribe('SIGTERM', handle)
        cp.config.update({'engine.SIGTERM': None})
        try:
            return restored(lambda: repr(handle in cp.engine.listeners.get('SIGTERM', ())))
        finally:
            cp.engine.unsubscribe('SIGTERM', handle)

    @probe
    def tree_namespace() -> str:
        fresh_tree()

        def application(environ: Any, start_response: Any) -> Any: ...

        named = cp.Application(None, '/named')
        cp.config.update({'tree.one': {'/grafted': application}, 'tree.two': named})
        return restored(lambda: repr((sorted(cp.tree.apps), cp.tree.apps['/named'] is named)))

    @probe
    def log_namespace() -> str:
        cp.config.update({'log.parity': 'set'})
        return restored(lambda: repr(cp.log.parity))

    @probe
    def checker_namespace() -> str:
        cp.config.update({'checker.parity': 'set'})
        return restored(lambda: repr(cp.checker.parity))

    # 7.6

    @probe
    def tool_with_a_positional_argument() -> str:
        return repr(cp.tools.gzip(5))

    @probe
    def tool_on_is_refused() -> str:
        cp.tools.gzip.on = True
        return 'set'

    @probe
    def tool_on_cannot_be_read() -> str:
        return repr(cp.tools.gzip.on)

    @probe
    def tool_decorator_writes_config() -> str:
        @cp.tools.gzip(compress_level=1)
        def page() -> None: ...

        return repr(sorted(page._cp_config.items()))  # type: ignore[attr-defined]

    @probe
    def toolbox_register() -> str:
        box = type(cp.tools)('parity')

        @box.register('before_finalize', name='renamed', priority=7)
        def function() -> None: ...

        @box.register('before_handler')
        def plain() -> None: ...

        return repr(
            (
                callable(function),
                box.renamed._priority,
                box.renamed._point,
                box.renamed._name,
                box.plain._name,
                box.renamed.namespace,
            )
        )

    @probe
    def toolbox_names_a_tool() -> str:
        box = type(cp.tools)('parity')
        box.given = cp.Tool('before_handler', lambda: None)
        return repr((box.given._name, box.given.namespace))

    # 8

    for owner, names in DEFAULTS.items():
        for name in names:

            def default(owner: str = owner, name: str = name) -> str:
                value: Any = cp
                for part in (*owner.split('.'), name):
                    value = getattr(value, part)
                return repr(value)

            probes[f'default {owner}.{name}'] = lambda default=default: outside(default)

    @probe
    def hook_points() -> str:
        return repr(sorted(cp.request.hooks))

    # 9

    @probe
    def checker_leaves_no_application_behind() -> str:
        fresh_tree().mount(None, '/c', {'/s': {'tools.staticdir.on': True, 'tools.staticdir.dir': '/nowhere'}})
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            cp.checker.check_static_paths()
        try:
            return repr(cp.request.app is None)
        finally:
            cp.request.app = None

    def checked(check: str) -> str:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            getattr(cp.checker, check)()
        return '\n'.join(str(warning.message) for warning in caught)

    @probe
    def checker_reports_every_empty_application() -> str:
        fresh_tree().mount(None, '/c1')
        cp.tree.mount(None, '/c2')
        said = checked('check_skipped_app_config')
        return repr([f'/c{n}' in said for n in (1, 2)])

    # 10

    @probe
    def names() -> str:
        return repr(
            [
                name
                for name in [
                    'HTTPError',
                    'HTTPRedirect',
                    'InternalRedirect',
                    'NotFound',
                    'CherryPyException',
                    'dispatch',
                    'tools',
                    'Tool',
                    'Application',
                    'wsgi',
                    'process',
                    'tree',
                    'engine',
                    'quickstart',
                    'serving',
                    'request',
                    'response',
                    'thread_data',
                    'log',
                    'expose',
                    'popargs',
                    'url',
                    'config',
                    'server',
                    'checker',
                    'lib',
                    '__version__',
                ]
                if not hasattr(cp, name)
            ]
        )

    @probe
    def all_names() -> str:
        return repr(
            sorted(
                {
                    'HTTPError',
                    'HTTPRedirect',
                    'InternalRedirect',
                    'NotFound',
                    'CherryPyException',
                    'dispatch',
                    'tools',
                    'Tool',
                    'Application',
                    'wsgi',
                    'process',
                    'tree',
                    'engine',
                    'quickstart',
                    'serving',
                    'request',
                    'response',
                    'thread_data',
                    'log',
                    'expose',
                    'popargs',
                    'url',
                    'config',
                }
                - set(cp.__all__)
            )
        )

    @probe
    def proxy_items() -> str:
        def run() -> str:
            app = cp.Application(None, '/x')
            request, _ = app.get_serving(('127.0.0.1', 80), ('127.0.0.1', 1111), 'http', 'HTTP/1.1')
            try:
                cp.request.parity = 'attribute'
                said = [request.parity, hasattr(cp.request, 'parity')]
                del cp.request.parity
                said += [hasattr(request, 'parity'), bool(cp.request)]
                return repr(said)
            finally:
                app.release_serving()

        return outside(run)

    @probe
    def serving_load_and_clear() -> str:
        def run() -> str:
            request, response = type(cp.serving.request), type(cp.serving.response)
            made = (request(('127.0.0.1', 80), ('127.0.0.1', 1111)), response())
            cp.serving.load(*made)
            said = [cp.serving.request is made[0], cp.serving.response is made[1]]
            cp.serving.clear()
            said.append(cp.serving.request is made[0])
            return repr(said)

        return outside(run)

    @probe
    def module_attributes_are_assignable() -> str:
        cp.parity_attribute = 'set'
        tree = type(cp.tree)()
        cp.tree = tree
        said = [cp.parity_attribute, cp.tree is tree]
        del cp.parity_attribute
        return repr(said)

    return probes
