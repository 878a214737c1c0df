"""An extension as a third party writes one, in a package of its own, used by pages that know nothing of it.

The package is `thirdparty/cp_throttle`: its own layout, public names only, everything switched by config.
"""

from __future__ import annotations

import ast
import sys
import threading
from pathlib import Path

import pytest

import cpadapter

FOLDER = Path(__file__).with_name('thirdparty')


@pytest.fixture(scope='module')
def throttle():
    sys.path.insert(0, str(FOLDER))
    try:
        import cp_throttle

        yield cp_throttle
    finally:
        sys.path.remove(str(FOLDER))
        for name in [name for name in sys.modules if name.partition('.')[0] == 'cp_throttle']:
            del sys.modules[name]


@pytest.fixture(autouse=True)
def fresh(throttle):
    from cp_throttle import tools

    tools.forget()
    for audit in (tools.toolbox.audit, tools.toolbox.async_audit):
        audit.total = 0
        audit.statuses.clear()
    return tools


@pytest.fixture
def root(handler):
    class Old:
        @handler
        def index(self):
            return 'first version'

    class New:
        @handler
        def index(self):
            return 'second version'

        @handler
        def fails(self):
            raise LookupError('gone')

        @handler
        def search(self, q=''):
            return f'found {q}'

    class Root(New):
        v1 = Old()
        v2 = New()

    return Root()


@pytest.fixture
def mount(client, root, throttle):
    """Mount `root` with config and the extension installed for that application."""

    def mount(config, script_name='', pages=root):
        app = client.mount(pages, script_name, config)
        throttle.install(app)
        return app

    return mount


# ---------------------------------------------------------------- what such a package may use


@pytest.mark.parametrize('path', sorted(FOLDER.glob('*/*.py')), ids=lambda path: path.name)
def test_it_imports_public_names_only(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or '').partition('.')[0] == 'cpadapter':
            assert node.module == 'cpadapter'
            assert {alias.name for alias in node.names} <= set(cpadapter.__all__) | {'dispatch'}
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith('cpadapter.')]
        elif isinstance(node, ast.Attribute) and node.attr[:1] == '_' and node.attr[:2] != '__':
            # What a subclass of Tool overrides and calls.
            assert node.attr == '_setup'


def test_it_is_a_package_of_its_own(throttle):
    assert (FOLDER / 'pyproject.toml').is_file()
    assert Path(throttle.__file__).parent == FOLDER / 'cp_throttle'


# ---------------------------------------------------------------- by config only


def test_a_config_file_says_everything(client, mount, tmp_path):
    path = tmp_path / 'site.conf'
    path.write_text(
        """
[/]
request.dispatch = cp_throttle.VersionDispatcher({'1': '/v1', '2': '/v2'}, default = '2')
features.search = True
features.maintenance = False
throttle.limit.on = True
throttle.limit.rate = 3
throttle.slots.on = True
throttle.timed.on = True
hooks.before_finalize = 'cp_throttle.tools.stamp'

[/v1]
throttle.limit.rate = 2
throttle.limit.scope = 'old'
""",
        encoding='utf-8',
    )
    mount(str(path))
    answer = client.get('/')
    assert (answer.status, answer.text) == (200, 'second version')
    assert answer.headers['X-Api-Version'] == '2'
    assert answer.headers['X-Features'] == 'search'
    assert answer.headers['X-RateLimit-Remaining'] == '2'
    assert answer.headers['X-Throttle'] == 'cp_throttle'
    assert answer.headers['Server-Timing'].startswith('page;dur=')
    old = [client.get('/', headers={'X-Api-Version': '1'}) for _ in range(3)]
    assert [answer.status for answer in old] == [200, 200, 429]
    assert old[0].text == 'first version'
    assert int(old[2].headers['Retry-After']) >= 1
    assert client.get('/', headers={'X-Api-Version': '9'}).status == 400
    assert client.get('/search?q=x').text == 'found x'


def test_dict_config_at_global_and_path_level(client, mount):
    client.site.config.update({'throttle.limit.on': True, 'throttle.limit.rate': 1})
    mount({'/search': {'throttle.limit.rate': 2, 'throttle.limit.scope': 's'}, '/v1': {'throttle.limit.on': False}})
    assert [client.get('/').status for _ in range(2)] == [200, 429]
    assert [client.get('/search').status for _ in range(3)] == [200, 200, 429]
    assert [client.get('/v1/').status for _ in range(3)] == [200, 200, 200]


def test_one_application_has_it_and_its_neighbour_does_not(client, mount, root):
    config = {'/': {'throttle.limit.on': True, 'throttle.limit.rate': 0}}
    mount(config)
    client.mount(root, '/other', config)
    assert client.get('/').status == 429
    assert client.get('/other/').status == 200


def test_installed_once_it_holds_for_every_application(client, root, throttle, monkeypatch):
    monkeypatch.setitem(cpadapter.Request.namespaces, 'throttle', None)
    monkeypatch.setitem(cpadapter.Request.namespaces, 'features', None)
    throttle.install()
    config = {'/': {'throttle.limit.on': True, 'throttle.limit.rate': 0}}
    client.mount(root, '', config)
    client.mount(root, '/other', {'/': {'features.search': True}})
    assert client.get('/').status == 429
    assert client.get('/other/').headers['X-Features'] == 'search'


def test_its_tools_may_stand_in_the_usual_toolbox(client, root, fresh):
    client.site.tools.my_limit = cpadapter.Tool('on_start_resource', fresh.limit)
    client.mount(root, '', {'/': {'tools.my_limit.on': True, 'tools.my_limit.rate': 0}})
    assert client.get('/').status == 429


def test_its_tools_decorate_pages(client, handler, mount, fresh):
    class Root:
        @fresh.toolbox.limit(rate=0)
        @handler
        def index(self):
            return 'x'

        @handler
        def free(self):
            return 'y'

    mount({}, pages=Root())
    assert client.get('/').status == 429
    assert client.get('/free').status == 200


# ---------------------------------------------------------------- the namespace


def test_a_namespace_is_a_function(client, root, throttle):
    app = client.mount(root, '', {'/': {'features.beta': 'yes'}, '/search': {'features.beta': False}})
    app.toolboxes['features'] = throttle.set_feature
    seen = []
    app.merge({'/': {'hooks.on_end_request': lambda: seen.append(cpadapter.request.features)}})
    client.get('/')
    client.get('/search')
    assert seen == [{'beta': 'yes'}, {'beta': False}]


def test_a_namespace_is_a_context_manager(client, mount):
    mount({'/': {'features.all': 1.0, 'features.none': 0.0, 'features.b': 1}})
    assert client.get('/').headers['X-Features'] == 'all, b'
    mount({'/': {'features.none': 0.0}})
    assert 'X-Features' not in client.get('/').headers


# ---------------------------------------------------------------- tools of every kind


def test_an_async_hook_waits(client, mount):
    mount({'/': {'throttle.tarpit.on': True, 'throttle.tarpit.after': 1}})
    assert 'X-Waited' not in client.get('/').headers
    assert client.get('/').headers['X-Waited'] == 'yes'


def test_an_async_callable_object_releases_what_it_took(client, mount, fresh):
    mount({'/': {'throttle.slots.on': True, 'throttle.slots.slots': 1}})
    slots = fresh.toolbox.slots.callable
    assert [client.get(path).status for path in ('/', '/fails', '/')] == [200, 500, 200]
    assert slots.taken == 0
    slots.taken = 1
    try:
        assert client.get('/').status == 503
    finally:
        slots.taken = 0


@pytest.mark.parametrize('name', ['audit', 'async_audit'])
def test_a_tool_set_up_for_each_request_attaches_further_hooks(client, mount, fresh, name):
    audit = getattr(fresh.toolbox, name)
    mount({'/': {f'throttle.{name}.on': True, f'throttle.{name}.label': 'a'}})
    for path in ('/', '/', '/fails', '/nowhere'):
        client.get(path)
    assert audit.total == 4
    assert audit.statuses == {'a200': 2, 'a500': 1, 'a404': 1}


def test_what_a_tool_keeps_for_itself_makes_no_plan_stale(client, mount, fresh):
    seen = []
    config = {'throttle.audit.on': True, 'hooks.on_end_request': lambda: seen.append(cpadapter.serving.plan)}
    mount({'/': config})
    for _ in range(3):
        client.get('/')
    assert fresh.toolbox.audit.total == 3
    assert seen[0] is seen[1] is seen[2]


def test_a_handler_tool_serves_in_the_place_of_pages(client, mount):
    mount({'/': {'throttle.maintenance.on': True}, '/search': {'features.maintenance': True}})
    assert client.get('/').text == 'second version'
    answer = client.get('/search')
    assert (answer.status, answer.text, answer.headers['Content-Type']) == (503, 'Back soon.', 'text/plain')


def test_an_async_handler_tool_serves_and_makes_a_page(client, mount, fresh):
    async def well():
        return True

    async def ill():
        return False

    class Root:
        health = fresh.toolbox.health.handler(checks=[well])
        nothing = fresh.toolbox.health.handler()

    config = {'/health': {'throttle.health.verbose': True}}
    mount(config, pages=Root())
    assert client.get('/health').text == '[True]'
    assert client.get('/nothing').status == 404
    config['/'] = {'throttle.health.on': True, 'throttle.health.checks': [well, ill]}
    mount(config, pages=Root())
    answer = client.get('/health')
    assert (answer.status, answer.text) == (503, '[True, False]')


def test_wrappers_of_both_colours_nest(client, mount):
    mount({'/': {'throttle.timed.on': True, 'throttle.deadline.on': True, 'throttle.deadline.seconds': 5}})
    answer = client.get('/search?q=a')
    assert answer.text == 'found a'
    assert answer.headers['Server-Timing'].startswith('page;dur=')
    assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
    assert client.get('/fails').status == 500
    assert client.get('/nowhere').status == 404


def test_an_async_wrapper_does_not_wait_for_a_slow_page(client, mount, handler):
    gate = threading.Event()

    class Root:
        if handler.is_async:

            @cpadapter.expose
            async def index(self):
                import asyncio

                await asyncio.get_running_loop().create_future()
        else:

            @cpadapter.expose
            def index(self):
                gate.wait(0.2)
                return 'late'

    mount({'/': {'throttle.deadline.on': True, 'throttle.deadline.seconds': 0.05}}, pages=Root())
    assert client.get('/').status == 503


def test_error_tools_of_both_colours_answer(client, mount):
    told = []

    async def to(error):
        told.append(error)

    config = {'throttle.apology.on': True, 'throttle.apology.text': 'So sorry.'}
    mount({'/': config, '/fails': {'throttle.report.on': True, 'throttle.report.to': to}})
    answer = client.get('/fails')
    assert (answer.status, answer.text) == (500, 'Somebody has been told.')
    assert [repr(error) for error in told] == ["LookupError('gone')"]
    mount({'/': config})
    assert client.get('/fails').text == 'So sorry.'


def test_a_mistake_in_config_is_told_with_its_place(client, mount):
    mount({'/': {'throttle.limit.on': True}, '/search': {'throttle.limit.rat': 5}})
    assert client.get('/').status == 200
    assert client.get('/search').status == 500
    log = '\n'.join(client.errors)
    assert "'throttle.limit.rat' = 5 in section [/search]" in log
    assert "Did you mean 'rate'?" in log


def test_a_value_that_cannot_be_meant_is_told_as_those_of_built_in_tools_are(client, mount):
    mount({'/': {'throttle.limit.on': True}, '/search': {'throttle.limit.per': '60 s'}})
    assert client.get('/').status == 200
    assert client.get('/search').status == 500
    told = "'throttle.limit.per' = '60 s' in section [/search]: it has to be a number above 0."
    assert any(told in line for line in client.errors)
