"""Trees: mounting, grafting, and the choice of an application for a path."""

from __future__ import annotations

import pytest

import cpadapter
from cpadapter import Application, expose


class Named:
    def __init__(self, name):
        self.name = name

    @expose
    def index(self):
        return f'{self.name} {cpadapter.request.script_name}'

    @expose
    def default(self, *args):
        return f'{self.name} default {args!r}'


class Strict:
    @expose
    def index(self):
        return 'strict'


class TestMount:
    def test_the_longest_script_name_wins_on_a_segment_border(self, client):
        for name in ('', '/foo', '/users/fred/blog', '/foo/bar'):
            client.mount(Named(name or 'root'), name)
        for path, text in {
            '/': 'root ',
            '/foo/': '/foo /foo',
            '/foo': None,
            '/foobar': "root default ('foobar',)",
            '/foo/x': "/foo default ('x',)",
            '/foo/bar/': '/foo/bar /foo/bar',
            '/users/fred': "root default ('users', 'fred')",
            '/users/fred/blog/': '/users/fred/blog /users/fred/blog',
            '//foo//bar//x': "/foo/bar default ('x',)",
        }.items():
            answer = client.get(path)
            assert answer.text == text or answer.status == 301, path

    def test_a_404_inside_does_not_fall_back_to_the_root(self, client):
        client.mount(Named('root'))
        client.mount(Strict(), '/isolated')
        assert client.get('/isolated/nope').status == 404

    def test_script_names_are_cleaned(self, client):
        assert client.mount(Named('a'), 'a/').script_name == '/a'
        assert client.mount(Named('r'), '/').script_name == ''
        assert client.get('/a/').text == 'a /a'

    def test_none_is_refused(self, client):
        with pytest.raises(TypeError, match="The 'script_name' argument may not be None"):
            client.mount(Named('x'), None)
        with pytest.raises(TypeError):
            client.mount(Application(Named('x'), None, site=client.site))

    def test_an_application_is_mounted_under_its_own_name(self, client):
        app = Application(Named('own'), '/own', site=client.site)
        assert client.mount(app) is app
        assert client.mount(app, '/own') is app
        assert client.get('/own/').text == 'own /own'
        with pytest.raises(ValueError, match='Cannot specify a different script name'):
            client.mount(app, '/other')

    def test_a_mount_of_the_same_name_is_replaced(self, client):
        client.mount(Named('first'), '/a')
        client.get('/a/')
        client.mount(Named('second'), '/a')
        assert client.get('/a/').text == 'second /a'

    def test_apps_may_be_changed_in_place(self, client):
        client.mount(Named('a'), '/a')
        client.mount(Named('b'), '/b')
        assert client.get('/b/').status == 200
        del client.site.tree.apps['/b']
        assert client.get('/b/').status == 404
        client.site.tree.apps['/c'] = client.site.tree.apps.pop('/a')
        assert client.get('/c/x').text == "a default ('x',)"

    def test_script_name_tells_the_mount_of_a_path(self, client):
        tree = client.site.tree
        assert tree.script_name('/x') is None
        client.mount(Named('a'), '/a')
        assert tree.script_name('/a/b') == '/a'
        assert tree.script_name('/ab') is None
        client.mount(Named('r'))
        assert tree.script_name('/ab') == ''

        class Asks:
            @expose
            def index(self):
                return repr(tree.script_name())

        client.mount(Asks(), '/asks')
        assert client.get('/asks/').text == "'/asks'"
        assert client.get('/asks/', prefix='/outer').text == "'/asks'"
        assert client.get('/', prefix='/asks').text == "'/asks'"

    def test_non_ascii_mounts_match(self, client):
        client.mount(Named('ü'), '/über')
        assert client.get('/%C3%BCber/').text == 'ü /über'

    def test_nobody_at_a_path_is_404_with_a_short_body(self, client):
        client.mount(Named('a'), '/a')
        answer = client.get('/b')
        assert (answer.status, answer.text) == (404, 'Nothing is mounted at this path.')
        assert client.head('/b').status == 404

    def test_the_root_object_is_left_as_it_is(self, client):
        class Slotted:
            __slots__ = ()

            @expose
            def index(self):
                return 'slotted'

        client.mount(Slotted())
        assert client.get('/').text == 'slotted'
        root = Strict()
        client.mount(root)
        assert vars(root) == {}


def wsgi_callable(environ, start_response):
    body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-One', '1'), ('X-One', '2')])
    return [f'{environ["SCRIPT_NAME"]}|{environ["PATH_INFO"]}|'.encode(), body]


class TestGraft:
    def test_a_wsgi_callable_is_called_under_both_protocols(self, client):
        client.mount(Named('root'))
        client.site.tree.graft(wsgi_callable, '/hosted/')
        answer = client.get('/hosted/x/y?z=1')
        assert answer.text == '/hosted|/x/y|'
        assert answer.headers.get_all('X-One') == ['1', '2']
        assert client.get('/hosted').text == '/hosted||'
        assert client.get('/hosted/').text == '/hosted|/|'
        assert client.post('/hosted/x', body=b'posted').text == '/hosted|/x|posted'
        assert client.get('/x', prefix='/outer').text == "root default ('x',)"
        assert client.get('/hosted/x', prefix='/outer').text == '/outer/hosted|/x|'

    def test_its_body_is_streamed_and_closed(self, client):
        seen = []

        class Body:
            def __init__(self):
                self.count = 0

            def __iter__(self):
                return self

            def __next__(self):
                self.count += 1
                seen.append(self.count)
                if self.count > 1000:
                    raise StopIteration
                return b'x' * 10

            def close(self):
                seen.append('closed')

        def app(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return Body()

        client.site.tree.graft(app)
        answer = client.get('/')
        assert (len(answer.chunks), seen[-1]) == (1000, 'closed')
        seen.clear()
        answer = client.get('/', stop_after=3)
        assert seen[-1] == 'closed'
        assert seen.count('closed') == 1
        assert len(seen) < 20

    def test_write_and_exc_info_are_honoured(self, client):
        def writes(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            write(b'written,')
            return [b'returned']

        def changes(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            try:
                raise ValueError()
            except ValueError:
                import sys

                start_response('500 Own', [('Content-Type', 'text/plain')], sys.exc_info())
            return [b'error']

        client.site.tree.graft(writes, '/writes')
        client.site.tree.graft(changes, '/changes')
        assert client.get('/writes').text == 'written,returned'
        if client.protocol == 'asgi':  # the validator takes start_response called once
            assert client.get('/changes').status == 500

    def test_an_error_before_its_head_reaches_the_server(self, client):
        def fails(environ, start_response):
            raise ValueError('from the graft')

        client.site.tree.graft(fails)
        with pytest.raises(ValueError, match='from the graft'):
            client.get('/')

    def test_an_application_inside_middleware_may_be_grafted(self, client):
        app = Application(Named('inner'), None, site=client.site)

        def reversing(environ, start_response):
            return [chunk[::-1] for chunk in app(environ, start_response)]

        client.site.tree.graft(reversing, '/hosted/app2')
        assert client.get('/hosted/app2/').text == 'inner /hosted/app2'[::-1]

    def test_a_virtual_host_may_be_grafted(self, client):
        default = Application(None, site=client.site)
        special = Application(Named('special'), site=client.site)
        vhost = cpadapter.wsgi.VirtualHost(default, {'special.example:81': special})
        client.site.tree.graft(vhost)
        assert client.get('/', host='special.example:81').text == 'special '
        assert client.get('/', host='SPECIAL.example:81').text == 'special '
        assert client.get('/', headers={'X-Forwarded-Host': 'special.example:81'}).text == 'special '
        assert client.get('/').status == 404
        client.site.tree.graft(cpadapter.wsgi.VirtualHost(default, {'s': special}, use_x_forwarded_host=False))
        assert client.get('/', headers={'X-Forwarded-Host': 's'}).status == 404


class TestMiddleware:
    """wsgi.pipeline stands before the application under both protocols."""

    @staticmethod
    def marking(mark, seen):
        def make(nextapp, **settings):
            def middleware(environ, start_response):
                seen.append((mark, settings))

                def started(status, headers, exc_info=None):
                    return start_response(status, [*headers, (f'X-{mark}', 'yes')])

                return nextapp(environ, started)

            return middleware

        return make

    def test_it_is_called_outermost_first_with_its_settings(self, client, handler):
        seen = []

        class Root:
            @handler
            def index(self):
                return 'ok'

        pipeline = [('one', self.marking('One', seen)), ('two', self.marking('Two', seen))]
        client.mount(Root(), config={'/': {'wsgi.pipeline': pipeline, 'wsgi.two.depth': 2}})
        answer = client.get('/')
        assert (answer.text, answer.headers['X-One'], answer.headers['X-Two']) == ('ok', 'yes', 'yes')
        assert seen == [('One', {}), ('Two', {'depth': 2})]

    def test_it_stands_before_an_application_served_alone(self, client, handler):
        seen = []

        class Root:
            @handler
            def index(self):
                return 'ok'

        app = Application(Root(), site=client.site)
        app.wsgiapp.pipeline.append(('one', self.marking('One', seen)))
        app.wsgiapp.head = None
        client.app = app
        assert client.get('/').headers['X-One'] == 'yes'

    def test_it_may_be_added_after_the_first_request(self, client, handler):
        seen = []

        class Root:
            @handler
            def index(self):
                return 'ok'

        app = client.mount(Root())
        assert 'X-One' not in client.get('/').headers
        app.merge({'/': {'wsgi.pipeline': [('one', self.marking('One', seen))]}})
        assert client.get('/').headers['X-One'] == 'yes'
        app.merge({'/': {'other.key': 1}})
        seen.clear()
        client.get('/')
        assert len(seen) == 1

    def test_it_may_be_added_by_hand_after_the_first_request(self, client, handler):
        seen = []

        class Root:
            @handler
            def index(self):
                return 'ok'

        app = client.mount(Root())
        assert 'X-One' not in client.get('/').headers
        app.wsgiapp.pipeline.append(('one', self.marking('One', seen)))
        app.wsgiapp.head = None
        assert client.get('/').headers['X-One'] == 'yes'

    def test_bodies_reach_the_application_through_it(self, client, handler):
        class Root:
            @handler
            def index(self, **kwargs):
                return repr(kwargs)

        client.mount(Root(), config={'/': {'wsgi.pipeline': [('one', self.marking('One', []))]}})
        assert client.post('/?a=1', form={'b': '2'}).text == "{'a': '1', 'b': '2'}"

    def test_a_key_without_an_argument_raises(self, client):
        with pytest.raises(ValueError, match=r'wsgi\.nonsense'):
            client.mount(Strict(), config={'/': {'wsgi.nonsense': 1}})
