"""Applications: config merged per path, changes in place, reports of unknown keys."""

from __future__ import annotations

import pytest

import cpadapter
from cpadapter import Application, expose


def showing(*keys):
    def show(self, *args):
        config = cpadapter.request.config
        return '|'.join(f'{key}={config.get(key)!r}' for key in keys)

    return show


class TestMerging:
    @pytest.fixture
    def tree(self, handler):
        show = showing('a', 'b', 'c', 'd')

        class Leaf:
            _cp_config = {'b': 'Leaf class', 'c': 'Leaf class'}

            index = handler(show)

            @cpadapter.config(c='method')
            @handler
            def method(self, *args):
                return show(self, *args)

            def hidden(self):
                pass

            hidden._cp_config = {'d': 'hidden'}

            default = handler(show)

        class Child(Leaf):
            _cp_config = {'b': 'Child class'}

        class Root:
            _cp_config = {'a': 'Root class', 'b': 'Root class'}
            leaf = Leaf()
            child = Child()
            instance = Leaf()
            index = handler(show)

        Root.instance._cp_config = {'b': 'instance'}
        return Root()

    @pytest.mark.parametrize(
        ('path', 'sections', 'expected'),
        [
            ('/', {}, "a='Root class'|b='Root class'|c=None|d=None"),
            ('/', {'/': {'a': '/'}}, "a='/'|b='Root class'|c=None|d=None"),
            ('/', {'/': {'a': '/'}, '/index': {'a': '/index'}}, "a='/index'|b='Root class'|c=None|d=None"),
            ('/leaf/', {}, "a='Root class'|b='Leaf class'|c='Leaf class'|d=None"),
            ('/leaf/', {'/': {'b': '/'}}, "a='Root class'|b='Leaf class'|c='Leaf class'|d=None"),
            ('/leaf/', {'/leaf': {'b': '/leaf'}}, "a='Root class'|b='/leaf'|c='Leaf class'|d=None"),
            ('/leaf/method', {'/leaf': {'c': '/leaf'}}, "a='Root class'|b='Leaf class'|c='method'|d=None"),
            ('/leaf/method', {'/leaf/method': {'c': 'x'}}, "a='Root class'|b='Leaf class'|c='x'|d=None"),
            (
                '/leaf/method/x',
                {'/leaf/method/x': {'d': 'vpath'}},
                "a='Root class'|b='Leaf class'|c='method'|d='vpath'",
            ),
            ('/leaf/method/y', {'/leaf/method/x': {'d': 'vpath'}}, "a='Root class'|b='Leaf class'|c='method'|d=None"),
            ('/leaf/hidden', {}, "a='Root class'|b='Leaf class'|c='Leaf class'|d='hidden'"),
            ('/leaf/', {'/leaf/': {'b': 'never'}}, "a='Root class'|b='Leaf class'|c='Leaf class'|d=None"),
            ('//leaf//', {'/leaf': {'d': '/leaf'}}, "a='Root class'|b='Leaf class'|c='Leaf class'|d='/leaf'"),
            ('/child/', {}, "a='Root class'|b='Child class'|c=None|d=None"),
            ('/instance/', {}, "a='Root class'|b='instance'|c=None|d=None"),
            ('/leafy', {'/leaf': {'a': 'never'}}, None),
        ],
    )
    def test_later_and_nearer_wins(self, client, tree, path, sections, expected):
        client.mount(tree, config=sections)
        answer = client.get(path)
        if expected is None:
            assert answer.status == 404
        else:
            assert answer.text == expected

    def test_global_config_comes_first(self, client, handler):
        class Root:
            index = handler(showing('a', 'tools.encode.on'))

        client.site.config['a'] = 'global'
        client.mount(Root())
        assert client.get('/').text == "a='global'|tools.encode.on=True"
        client.mount(Root(), config={'/': {'a': 'app'}})
        assert client.get('/').text.startswith("a='app'")

    def test_mounts_do_not_share_their_sections(self, client, handler):
        class Root:
            index = handler(showing('user'))

        for name in ('', '/foo', '/users/fred/blog'):
            client.mount(Root(), name, {'/': {'user': name or 'root'}})
        for name in ('', '/foo', '/users/fred/blog'):
            assert client.get(f'{name}/').text == f'user={name or "root"!r}'

    def test_a_404_has_the_config_of_its_path(self, client, handler):
        class Root:
            @handler
            def index(self):
                return 'x'

        page = lambda **kwargs: cpadapter.request.config['who']
        client.mount(Root(), config={'/': {'error_page.404': page, 'who': 'root'}, '/sub': {'who': 'sub'}})
        assert client.get('/nope').text.strip() == 'root'
        assert client.get('/sub/nope').text.strip() == 'sub'

    def test_other_sections_are_the_applications_own(self, client, handler):
        class Root:
            @handler
            def index(self):
                return cpadapter.request.app.config['db']['dsn']

        client.mount(Root(), config={'db': {'dsn': 'somewhere'}})
        assert client.get('/').text == 'somewhere'

    def test_find_config_looks_up_the_path(self, client):
        app = client.mount(None, config={'/': {'a': 1}, '/x/y': {'a': 2}, '/x': {'b': 3}})
        assert app.find_config('/x/y/z', 'a') == 2
        assert app.find_config('/x', 'a') == 1
        assert app.find_config('', 'a') == 1
        assert app.find_config('/x/yz', 'a') == 1
        assert app.find_config('/x', 'none', 'default') == 'default'

    def test_config_without_sections_is_refused(self, client):
        with pytest.raises(ValueError, match='Application config must include section headers'):
            client.mount(None, config={'tools.encode.on': True})

    def test_the_callers_dicts_are_left_alone(self, client):
        config = {'/': {'tools.staticdir.dir': 'x'}, 'global': {'a': 1}}
        client.mount(None, config=config)
        client.get('/')
        assert config == {'/': {'tools.staticdir.dir': 'x'}, 'global': {'a': 1}}


class TestChanges:
    """What is changed in place holds from the next request on."""

    @pytest.fixture
    def app(self, client, handler):
        class Root:
            _cp_config = {'response.headers.X-Class': '1'}

            @handler
            def index(self):
                return 'x'

        Root.index._cp_config = {'response.headers.X-Method': '1'}
        self.root = Root
        return client.mount(Root(), config={'/': {'response.headers.X-Section': '1'}})

    def headers(self, client):
        answer = client.get('/')
        assert answer.status == 200
        return {name.lower()[2:]: value for name, value in answer.headers if name.lower().startswith('x-')}

    def test_global_config(self, client, app):
        assert 'global' not in self.headers(client)
        client.site.config['response.headers.X-Global'] = '1'
        assert self.headers(client)['global'] == '1'
        client.site.config.update({'response.headers.X-Global': '2'})
        assert self.headers(client)['global'] == '2'
        del client.site.config['response.headers.X-Global']
        assert 'global' not in self.headers(client)

    def test_a_section(self, client, app):
        assert self.headers(client)['section'] == '1'
        app.config['/']['response.headers.X-Section'] = '2'
        assert self.headers(client)['section'] == '2'
        app.config['/'].pop('response.headers.X-Section')
        assert 'section' not in self.headers(client)
        app.config['/index'] = {'response.headers.X-New': '1'}
        assert self.headers(client)['new'] == '1'
        app.merge({'/index': {'response.headers.X-New': '2'}})
        assert self.headers(client)['new'] == '2'

    def test_a_cp_config_dict(self, client, app):
        assert self.headers(client)['class'] == '1'
        self.root._cp_config['response.headers.X-Class'] = '2'
        assert self.headers(client)['class'] == '2'
        self.root._cp_config = {'response.headers.X-Class': '3'}
        assert self.headers(client)['class'] == '3'
        self.root.index._cp_config['response.headers.X-Method'] = '2'
        assert self.headers(client)['method'] == '2'
        app.root._cp_config = {'response.headers.X-Class': 'instance'}
        assert self.headers(client)['class'] == 'instance'
        del app.root._cp_config
        del self.root._cp_config
        assert 'class' not in self.headers(client)

    def test_a_new_tool_and_a_new_root(self, client, app, handler):
        client.get('/')
        client.site.tools.mine = cpadapter.Tool(
            'before_finalize', lambda: cpadapter.response.headers.update({'X-Tool': '1'})
        )
        app.config['/']['tools.mine.on'] = True
        assert self.headers(client)['tool'] == '1'

        class Other:
            @handler
            def index(self):
                return 'other'

        app.root = Other()
        assert client.get('/').text == 'other'

    def test_a_tool_given_another_callable(self, client, app):
        tool = client.site.tools.mine = cpadapter.Tool(
            'before_finalize', lambda: cpadapter.response.headers.update({'X-Tool': '1'})
        )
        client.site.config['tools.mine.on'] = True
        assert self.headers(client)['tool'] == '1'
        tool.callable = lambda: cpadapter.response.headers.update({'X-Tool': '2'})
        assert self.headers(client)['tool'] == '2'

    def test_a_hook_put_on_the_request_class(self, client, app):
        class Own(cpadapter.Request):
            pass

        client.get('/')
        app.request_class = Own
        client.get('/')
        Own.hooks.attach('before_finalize', lambda: cpadapter.response.headers.update({'X-Hook': '1'}))
        assert self.headers(client)['hook'] == '1'

    def test_a_page_handler_with_path_arguments(self, client, handler):
        """Known by the path before them, it is looked at again at each request."""

        class Node:
            @handler
            def show(self, *args, **params):
                return f'{args} {params}'

        class Root:
            a = Node()

        root = Root()
        app = client.mount(root)

        def ask(path, **more):
            answer = client.get(path, **more)
            return answer.text if answer.status == 200 else answer.status

        assert ask('/a/show/1') == "('1',) {}"
        assert ask('/a/show/2?x=3') == "('2',) {'x': '3'}"
        assert ask('/a/show/2/3/4') == "('2', '3', '4') {}"
        assert ask('/a/show/%C3%A9/%20') == "('é', ' ') {}"
        assert ask('/a/show/x%2Fy', raw=True) == "('x/y',) {}"
        assert ask('/a/show/x%252Fy', raw=True) == "('x%2Fy',) {}"
        assert ask('/a//show//1//2') == "('1', '2') {}"
        assert ask('/a/show/exposed/_cp_config/__init__') == "('exposed', '_cp_config', '__init__') {}"
        assert ask('/a/show/1/') == "('1',) {}"
        assert ask('/a/show') == '() {}'
        assert ask('/a/shown/1') == 404
        assert ask('/a/1/show') == 404

        Node.show.exposed = False
        assert ask('/a/show/1') == 404
        Node.show.exposed = True
        assert ask('/a/show/1') == "('1',) {}"

        Node.show.below = root.a.show
        assert ask('/a/show/below/1') == "('1',) {}"
        del Node.show.below
        assert ask('/a/show/below/1') == "('below', '1') {}"

        app.merge({'/a/show/9': {'response.headers.X': 'nine'}})
        assert 'X' not in client.get('/a/show/8').headers
        assert client.get('/a/show/9').headers['X'] == 'nine'
        del app.config['/a/show/9']
        assert 'X' not in client.get('/a/show/9').headers

        Node._cp_config = {'response.headers.X': 'node'}
        assert client.get('/a/show/9').headers['X'] == 'node'
        Root.a = None
        assert ask('/a/show/1') == 404

    def test_a_property_on_the_way_is_asked_once_a_request(self, client, handler):
        asked = []

        class Node:
            @handler
            def index(self):
                return f'node {len(asked)}'

        class Root:
            @property
            def made(self):
                asked.append('property')
                return Node()

            def __getattr__(self, name):
                if name == 'dynamic':
                    asked.append('getattr')
                    return Node()
                raise AttributeError(name)

        client.mount(Root())
        for path, count in (('/made/', 1), ('/made/', 2), ('/dynamic/', 3), ('/dynamic/', 4)):
            assert client.get(path).text == f'node {count}'

    def test_many_nodes_made_on_the_way_do_not_fill_memory(self, client, handler):
        class Node:
            def __init__(self, name):
                self.name = name
                self._cp_config = {'response.headers.X-Name': name}

            @handler
            def index(self):
                return self.name

        class Root:
            def _cp_dispatch(self, vpath):
                return Node(vpath.pop(0))

        app = client.mount(Root())
        for i in range(50):
            answer = client.get(f'/n{i}/')
            assert (answer.text, answer.headers['X-Name']) == (f'n{i}', f'n{i}')
        assert len(app._plans) <= 4096


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ('key', 'near'),
        [
            ('request.show_traceback', 'request.show_tracebacks'),
            ('response.steam', 'response.stream'),
            ('log.sceen', 'log.screen'),
            ('toools.encode.on', 'tools'),
        ],
    )
    def test_they_are_reported_once_with_the_nearest_name(self, client, handler, key, near):
        class Root:
            @handler
            def index(self):
                return 'x'

            @handler
            def other(self):
                return 'x'

        client.mount(Root(), config={'/': {key: True}})
        for path in ('/', '/other', '/'):
            assert client.get(path).status == 200
        reports = [line for line in client.errors if key in line]
        assert len(reports) == 1
        assert 'unknown' in reports[0]
        assert near in reports[0]

    @pytest.mark.parametrize(
        ('key', 'near'),
        [
            ('tools.encod.on', 'tools.encode'),
            ('tools.encode.encodin', 'encoding'),
            ('hooks.before_handlr', 'before_handler'),
        ],
    )
    def test_a_setting_that_cannot_be_applied_is_500_and_names_the_nearest(self, client, handler, key, near):
        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), config={'/': {key: True}})
        assert client.get('/').status == 500
        text = '\n'.join(client.errors)
        assert key in text
        assert f"Did you mean '{near}" in text or near in text

    def test_what_lies_above_a_setting_that_cannot_be_applied_still_holds(self, client, handler):
        class Root:
            @handler
            def bad(self):
                return 'x'

        config = {'/': {'error_page.default': lambda **kwargs: 'own page'}, '/bad': {'tools.nosuch.on': True}}
        client.mount(Root(), config=config)
        assert (client.get('/bad').status, client.get('/bad').text.strip()) == (500, 'own page')

    def test_plain_data_and_custom_namespaces_are_not_reported(self, client, handler):
        class Root:
            @handler
            def index(self):
                return 'x'

        app = client.mount(Root(), config={'/': {'plain': 1, 'mine.key': 2}})
        app.request_class = type('Own', (cpadapter.Request,), {})
        seen = []
        app.request_class.namespaces = app.request_class.namespaces.copy()
        app.request_class.namespaces['mine'] = lambda k, v: seen.append((k, v))
        client.get('/')
        assert seen == [('key', 2)]
        assert not [line for line in client.errors if 'unknown' in line]


class TestInstances:
    def test_the_usual_attributes(self, client):
        root = object()
        app = Application(root, '/app/', {'/': {'a': 1}}, site=client.site)
        assert (app.root, app.script_name, app.config) == (root, '/app', {'/': {'a': 1}})
        assert app.relative_urls is False
        assert repr(app) == f"cpadapter.core.application.Application({root!r}, '/app')"

    def test_the_class_tells_the_default_tools(self):
        assert Application.toolboxes['tools'] is cpadapter.tools
        with pytest.raises(KeyError):
            Application.toolboxes['nosuch']

    def test_toolboxes_are_its_own(self, client):
        first = Application(None, site=client.site)
        second = Application(None, site=client.site)
        first.toolboxes['mine'] = cpadapter.Toolbox('mine')
        assert 'mine' not in second.toolboxes
        assert 'mine' not in Application.toolboxes

    def test_namespaces_see_the_root_section(self, client):
        seen = []
        app = Application(None, site=client.site)
        app.namespaces['mine'] = lambda k, v: seen.append((k, v))
        app.merge({'/': {'mine.a': 1}, '/sub': {'mine.b': 2}})
        app.merge({'/': {'mine.c': 3}})
        assert seen == [('a', 1), ('c', 3)]

    def test_a_subclass_may_be_mounted(self, client, handler):
        class Own(Application):
            request_class = type('OwnRequest', (cpadapter.Request,), {'extra': 'own'})

        class Root:
            @handler
            def index(self):
                return cpadapter.request.extra

        client.mount(Own(Root(), '/own', site=client.site))
        assert client.get('/own/').text == 'own'

    @pytest.mark.parametrize('script_name', ['', '/own'])
    def test_a_subclass_may_have_a_call_of_its_own(self, client, handler, script_name):
        class Own(Application):
            def __call__(self, environ, start_response):
                environ['own'] = 'seen'
                return super().__call__(environ, start_response)

        class Root:
            @handler
            def index(self):
                return cpadapter.request.wsgi_environ['own']

        client.mount(Own(Root(), script_name, site=client.site))
        assert client.get(script_name + '/').text == 'seen'

    def test_uri_encoding_is_looked_up_by_path(self, wsgi):
        class Root:
            @expose
            def default(self, *args):
                return repr(args)

        wsgi.mount(Root(), config={'/latin': {'request.uri_encoding': 'latin-1'}})
        assert wsgi.get('/x/%C3%A4').text == "('x', 'ä')"
        assert wsgi.get('/latin/%E4').text == "('latin', 'ä')"
        assert wsgi.get('/latin/%C3%A4').text == "('latin', 'Ã¤')"

    def test_get_serving_and_release_serving_frame_a_request(self, client):
        seen = []
        app = Application(None, site=client.site)
        for channel in ('acquire_thread', 'before_request', 'after_request'):
            client.site.engine.subscribe(channel, lambda channel=channel: seen.append(channel))
        request, response = app.get_serving(None, None, 'https', 'HTTP/1.1')
        assert cpadapter.serving.request is request
        assert cpadapter.serving.response is response
        assert request.app is app
        app.release_serving()
        assert cpadapter.request.app is None
        assert seen == ['acquire_thread', 'before_request', 'after_request']


def test_a_misspelt_namespace_of_a_page_handler_is_reported_and_an_own_one_is_not(wsgi):
    class Root:
        @cpadapter.expose
        @cpadapter.config(**{'tolls.gzip.on': True, 'warehouse.shelf': 3})
        def index(self):
            return 'page'

    wsgi.mount(Root())
    assert wsgi.get('/').status == 200
    assert any("'tolls.gzip.on'" in line and "'tools'" in line for line in wsgi.errors)
    assert not any('warehouse' in line for line in wsgi.errors)


def test_page_handlers_that_share_their_config_share_a_plan(wsgi):
    class Root:
        @expose
        def one(self):
            return str(id(cpadapter.serving.plan))

        @expose
        def two(self):
            return str(id(cpadapter.serving.plan))

        @expose
        async def coloured(self):
            return str(id(cpadapter.serving.plan))

        @expose
        @cpadapter.config(**{'response.headers.X-Mine': '1'})
        def own(self):
            return str(id(cpadapter.serving.plan))

    wsgi.mount(Root())
    plans = [wsgi.get(path).text for path in ('/one', '/two', '/coloured', '/own')]
    assert plans[0] == plans[1]
    assert len(set(plans)) == 3
