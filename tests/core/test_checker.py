"""Checker: which config is warned of, in which words."""

import os
import warnings
from types import SimpleNamespace

import pytest

from cpadapter import context
from cpadapter.core.checker import Checker
from cpadapter.core.config import AppConfig, Config
from cpadapter.extension.namespaces import NamespaceSet


class App:
    """The part of an Application that the checker looks at."""

    toolboxes: dict = {}
    namespaces = NamespaceSet(log=None, wsgi=None)

    def __init__(self, config=None, root=None):
        self.config = AppConfig(config or {})
        self.root = root

    def find_config(self, path, key, default=None):
        return self.config.find(path, key, default)

    class request_class:
        namespaces = NamespaceSet(request=None, mine=None)

        @staticmethod
        def dispatch(path):
            exchange = context.current()
            app = exchange.app
            if app.root == 'broken':
                raise RuntimeError('needs a real request')
            config = dict(exchange.site.config)
            config.update(getattr(app.root, '_cp_config', {}))
            prefix = ''
            for section in ('/', *path.split('/')[1:]):
                prefix = prefix.rstrip('/') + '/' + section.strip('/')
                config.update(app.config.get(prefix, {}))
            exchange.request.config = config


def exchange():
    request = SimpleNamespace(
        app=None, config=None, show_tracebacks=True, scheme='http', methods_with_bodies=('POST',), ratio=1.0, body=None
    )
    return SimpleNamespace(site=None, app=None, request=request, response=SimpleNamespace(stream=False))


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(context, 'outside_factory', [exchange])
    token = context._outside_var.set(None)
    tools = SimpleNamespace(gzip=object())
    App.toolboxes = {'tools': tools}
    site = SimpleNamespace(
        config=Config(),
        tree=SimpleNamespace(apps={}),
        engine=SimpleNamespace(timeout=10),
        server=SimpleNamespace(socket_port=8080, socket_timeout=10, wsgi_version=(1, 0), socket_file=None),
        log=SimpleNamespace(screen=True, error_file=''),
        tools=tools,
    )
    for name in ('server', 'engine', 'log', 'checker', 'tree'):
        site.config.namespaces[name] = lambda k, v: None
    site.checker = Checker(site)
    yield site
    context._outside_var.reset(token)


def messages(site, only=None):
    """Run the checks, or the one named, and give what they warn of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        if only is None:
            site.checker()
        else:
            getattr(site.checker, only)()
    assert all(item.category is UserWarning for item in caught)
    return [str(item.message) for item in caught]


def test_good_config_is_not_warned_of(site):
    site.config.update({'server.socket_port': 80, 'server.socket_host': '127.0.0.1', 'server.socket_file': None})
    site.tree.apps[''] = App({'/': {'tools.gzip.on': True, 'mine.x': 1, 'plain': 1}, 'db': {'dsn': 'x', 'a.b': 1}})
    site.tree.apps['/wsgi'] = lambda environ, start_response: []
    assert messages(site) == []


def test_app_without_config_is_named_each_one(site):
    site.tree.apps.update({'': App(), '/b': App(), '/c': App({'/': {'a': 1}})})
    assert messages(site) == [
        "The Application mounted at '' has an empty config.",
        "The Application mounted at '/b' has an empty config.",
    ]


def test_app_without_config_where_global_config_had_paths(site):
    site.checker.global_config_contained_paths = True
    site.tree.apps[''] = App()
    assert messages(site) == [
        (
            "The Application mounted at '' has an empty config. It looks like the config you passed to "
            'cherrypy.config.update() contains application-specific sections. You must explicitly pass '
            'application config via cherrypy.tree.mount(..., config=app_config)'
        )
    ]


def test_brackets_of_section_names(site):
    site.tree.apps[''] = App({'[/x]': {'k': 1}, 'y]': {}})
    text = (
        "The application mounted at '' has config section names with extraneous brackets: {}. "
        'Config *files* need brackets; config *dicts* (e.g. passed to tree.mount) do not.'
    )
    assert messages(site) == [text.format("'[/x]'"), text.format("'y]'")]


def test_sections_that_repeat_the_mount_point(site):
    site.tree.apps['/a'] = App({'/a/x': {'k': 1}, '/ab': {}, '/a': {}, 'a': {}})
    site.tree.apps[''] = App({'/a/x': {'k': 1}})
    text = "The application mounted at '/a' has config entries that start with its script name: {}"
    assert messages(site) == [text.format("'/a/x'"), text.format("'/a'")]


def test_obsolete_and_deprecated_keys(site):
    site.config.update({'log_file': 'x', 'log_file_not_found': True})
    site.tree.apps[''] = App({'/s': {'show_tracebacks': True, 'old.key': 1}, 'db': {'log_file': 1}})
    site.checker.deprecated['old.key'] = 'new.key'
    assert messages(site, 'check_compatibility') == [
        "'log_file' is obsolete. Use 'log.error_file' instead.",
        "'log_file_not_found' is obsolete.",
        "'show_tracebacks' is obsolete. Use 'request.show_tracebacks' instead.\nsection: [/s]",
        "'old.key' is deprecated. Use 'new.key' instead.\nsection: [/s]",
        "'log_file' is obsolete. Use 'log.error_file' instead.\nsection: [db]",
    ]


def test_unknown_namespaces_and_tools(site):
    site.checker.extra_config_namespaces.append('extra')
    site.tree.apps[''] = App(
        {
            '/s': {
                'toobles.x.on': 1,
                'cherrypy.tools.encode.on': 1,
                'cherrypy.toob.x': 1,
                'tools.nosuch.on': 1,
                'extra.x': 1,
                'wsgi.pipeline': [],
                'log.screen': True,
                'hooks.before_handler': 1,
                'response.stream': True,
                'error_page.404': 'x',
                'server.socket_port': 1,
            },
            'free': {'toobles.x': 1},
        }
    )
    assert messages(site, 'check_config_namespaces') == [
        "The config entry 'toobles.x.on' is invalid, because the 'toobles' config namespace is unknown.\nsection: [/s]",
        "The config entry 'cherrypy.tools.encode.on' is invalid; try 'tools.encode.on' instead.\nsection: [/s]",
        (
            "The config entry 'cherrypy.toob.x' is invalid, because the 'cherrypy' config namespace is unknown."
            '\nsection: [/s]'
        ),
        "The config entry 'tools.nosuch.on' may be invalid, because the 'nosuch' tool was not found.\nsection: [/s]",
    ]


def test_types_that_do_not_match_the_default(site):
    site.config.update({'server.socket_port': '80', 'log.error_file': 5, 'request.show_tracebacks': 1})
    site.tree.apps[''] = App({'/s': {'response.stream': 0, 'log.screen': 'no'}})
    text = 'The config entry {!r} in section {!r} is of type {!r}, which does not match the expected type {!r}.'
    assert messages(site) == [
        text.format('server.socket_port', 'server.socket_port', 'str', 'int'),
        text.format('log.error_file', 'log.error_file', 'int', 'str'),
        text.format('request.show_tracebacks', 'request.show_tracebacks', 'int', 'bool'),
        text.format('response.stream', '/s', 'int', 'bool'),
        text.format('log.screen', '/s', 'str', 'bool'),
    ]


def test_types_that_serve_as_well_are_accepted(site, tmp_path):
    site.config.update(
        {
            'server.socket_timeout': 1.5,
            'server.wsgi_version': [1, 0],
            'log.error_file': tmp_path / 'error.log',
            'request.ratio': 1,
            'request.methods_with_bodies': {'POST'},
            'request.body': 'anything',
            'server.socket_port': None,
        }
    )
    assert messages(site, 'check_config_types') == []
    site.config.update({'server.socket_port': True})
    assert len(messages(site, 'check_config_types')) == 1


def test_localhost_as_socket_host(site):
    site.config.update({'server.socket_host': 'localhost'})
    assert messages(site) == [
        (
            "The use of 'localhost' as a socket host can cause problems on newer systems, since 'localhost' can map "
            "to either an IPv4 or an IPv6 address. You should use '127.0.0.1' or '[::1]' instead."
        )
    ]


def test_site_entries_in_app_config(site):
    site.tree.apps[''] = App({'/x': {'server.socket_port': 1, 'engine.y': 'z', 'log.screen': True}, 's': {'tree.x': 1}})
    assert messages(site) == [
        (
            "The application mounted at '' contains the following config entries, which are only allowed in "
            'site-wide config. Move them to a [global] section and pass them to cherrypy.config.update() instead '
            'of tree.mount().\n[/x] server.socket_port = 1\n[/x] engine.y = z'
        )
    ]


@pytest.mark.parametrize(
    ('root', 'directory', 'problem'),
    [
        (None, None, 'tools.staticdir.dir is not set.'),
        (None, 'rel', 'dir is a relative path and no root provided.'),
        (None, '{base}', None),
        (None, '{base}/none', "'{base}/none' (root + dir) is not an existing filesystem path."),
        ('{base}', 'sub', None),
        ('{base}', 'none', "'{base}/none' (root + dir) is not an existing filesystem path."),
        (
            '{base}',
            '/sub',
            (
                'dir is an absolute path, even though a root is provided.\n'
                "If you meant to serve the filesystem folder at '{base}/sub', remove the leading slash from dir.\n"
                "'/sub' (root + dir) is not an existing filesystem path."
            ),
        ),
        ('{base}', '{base}', 'dir is an absolute path, even though a root is provided.'),
        (
            'rel',
            'sub',
            "'rel/sub' is not an absolute path.\n'rel/sub' (root + dir) is not an existing filesystem path.",
        ),
        (None, '~', None),
    ],
)
def test_static_paths(site, tmp_path, root, directory, problem):
    (tmp_path / 'sub').mkdir()

    def fill(text):
        return text and text.format(base=tmp_path)

    root, directory, problem = fill(root), fill(directory), fill(problem)
    section = {'tools.staticdir.on': True}
    if root is not None:
        section['tools.staticdir.root'] = root
    if directory is not None:
        section['tools.staticdir.dir'] = directory
    site.tree.apps[''] = App({'/s': section, 'other': {'tools.staticdir.on': True}})
    wanted = [] if problem is None else [f'{problem}\nsection: [/s]\nroot: {root!r}\ndir: {directory!r}']
    assert messages(site, 'check_static_paths') == wanted


@pytest.mark.parametrize('root', [None, 'broken'])
def test_static_paths_are_inherited_along_the_path(site, root):
    site.config.update({'tools.staticdir.root': os.sep})
    site.tree.apps[''] = App(
        {
            '/s': {'tools.staticdir.on': True, 'tools.staticdir.dir': 'no-such-dir'},
            '/s/t': {'k': 1},
            '/s/off': {'tools.staticdir.on': False},
            '/st': {'k': 1},
        },
        root,
    )
    text = (
        "'/no-such-dir' (root + dir) is not an existing filesystem path.\nsection: [{}]\nroot: '/'\ndir: 'no-such-dir'"
    )
    assert messages(site, 'check_static_paths') == [text.format('/s'), text.format('/s/t')]


def test_config_in_code_counts_for_static_paths(site):
    class Root:
        _cp_config = {'tools.staticdir.on': True}

    site.tree.apps[''] = App({'/': {'k': 1}}, Root())
    assert messages(site) == ['tools.staticdir.dir is not set.\nsection: [/]\nroot: None\ndir: None']


def test_check_leaves_no_trace_on_the_request_seen_outside_of_requests(site):
    site.tree.apps[''] = App({'/s': {'tools.staticdir.on': True}})
    before = context.current()
    messages(site)
    assert context.current() is before
    assert before.app is None
    assert before.request.app is None


def test_checks_can_be_switched_off_and_added(site):
    site.tree.apps[''] = App()
    site.checker.check_skipped_app_config = False
    assert messages(site) == []
    site.checker.check_mine = lambda: warnings.warn('mine', UserWarning, stacklevel=1)
    assert messages(site) == ['mine']
    site.checker.on = False
    assert messages(site) == []


def test_warnings_are_formatted_without_a_place_in_the_code(site, monkeypatch):
    site.tree.apps[''] = App()
    formatwarning = warnings.formatwarning
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        monkeypatch.setattr(warnings, 'showwarning', lambda *args: seen.append(warnings.formatwarning(*args[:4])))
        site.checker()
    assert seen == ["CherryPy Checker:\nThe Application mounted at '' has an empty config.\n\n"]
    assert warnings.formatwarning is formatwarning


def test_two_sites_share_no_settings(site):
    other = Checker(site)
    other.obsolete['x'] = 'y'
    other.extra_config_namespaces.append('x')
    assert 'x' not in site.checker.obsolete
    assert site.checker.extra_config_namespaces == []


def test_checker_runs_early_on_the_start_channel():
    assert Checker.priority == 50
