"""JSON in and out."""

from __future__ import annotations

import json

import pytest

import cpadapter
from cpadapter import tools

JSON = {'Content-Type': 'application/json'}


@pytest.fixture
def root(handler):
    class Root:
        @tools.json_out()
        @handler
        def out(self, n='1'):
            return {'n': int(n), 'text': 'ä', 'list': [None, True]}

        @tools.json_out(content_type='application/own+json')
        @handler
        def typed(self):
            return []

        @tools.json_out(content_type=None)
        @handler
        def untyped(self):
            cpadapter.response.headers['Content-Type'] = 'text/own'
            return []

        @tools.json_out()
        @handler
        def unserialisable(self):
            return object()

        @tools.json_out()
        @handler
        def refuses(self):
            raise cpadapter.HTTPError(402, 'pay')

        @tools.json_in()
        @tools.json_out()
        @handler
        def echo(self):
            return cpadapter.request.json

        @tools.json_in(force=False)
        @handler
        def lenient(self, **kwargs):
            return f'{getattr(cpadapter.request, "json", "none")} {kwargs}'

        @tools.json_in(content_type=['application/own'])
        @handler
        def own(self):
            return repr(cpadapter.request.json)

    return Root()


class TestOut:
    def test_results_are_sent_as_json(self, client, root):
        client.mount(root)
        answer = client.get('/out?n=5')
        assert answer.json == {'n': 5, 'text': 'ä', 'list': [None, True]}
        assert answer.headers['Content-Type'] == 'application/json'
        assert answer.headers['Content-Length'] == str(len(answer.body))

    def test_the_type_may_be_another(self, client, root):
        client.mount(root)
        assert client.get('/typed').headers['Content-Type'] == 'application/own+json'
        assert client.get('/untyped').headers['Content-Type'].startswith('text/own')

    def test_what_cannot_be_json_is_500(self, client, root):
        client.mount(root)
        assert client.get('/unserialisable').status == 500
        assert 'JSON serializable' in '\n'.join(client.errors)

    def test_error_pages_are_not_json(self, client, root):
        client.mount(root)
        answer = client.get('/refuses')
        assert answer.status == 402
        assert answer.headers['Content-Type'].startswith('text/html')

    def test_a_head_request_has_the_length(self, client, root):
        client.mount(root)
        answer = client.head('/out')
        assert answer.headers['Content-Length'] == str(len(client.get('/out').body))

    def test_a_handler_of_ones_own_makes_the_json(self, client, handler):
        def upper(*args, **kwargs):
            value = cpadapter.request._json_inner_handler(*args, **kwargs)
            if hasattr(value, '__await__'):

                async def wait():
                    return [(await value).upper().encode()]

                return wait()
            return [value.upper().encode()]

        class Root:
            @handler
            def index(self):
                return 'text'

        client.mount(Root(), config={'/': {'tools.json_out.on': True, 'tools.json_out.handler': upper}})
        answer = client.get('/')
        assert (answer.text, answer.headers['Content-Type']) == ('TEXT', 'application/json')

    def test_other_hooks_may_wrap_what_it_wraps(self, client, handler):
        class Root:
            @handler
            def index(self):
                return [1]

        seen = []
        config = {'tools.json_out.on': True, 'hooks.before_handler': lambda: seen.append(cpadapter.request.handler)}
        client.mount(Root(), config={'/': config})
        assert client.get('/').json == [1]
        assert len(seen) == 1


class TestIn:
    @pytest.mark.parametrize('value', [{'a': [1, 'ä']}, [], 'text', 0, None, True])
    def test_bodies_are_read(self, client, root, value):
        client.mount(root)
        for method in ('POST', 'PUT', 'PATCH'):
            assert client.request(method, '/echo', body=json.dumps(value).encode(), headers=JSON).json == value

    def test_a_charset_and_case_in_the_type_are_no_matter(self, client, root):
        client.mount(root)
        headers = {'Content-Type': 'Application/JSON; charset=utf-8'}
        assert client.post('/echo', body=b'[1]', headers=headers).json == [1]
        assert client.post('/echo', body=b'[1]', headers={'Content-Type': 'text/javascript'}).json == [1]

    def test_a_chunked_body_is_read(self, client, root):
        client.mount(root)
        assert client.post('/echo', body=b'{"a": 1}', headers=JSON, chunked=True).json == {'a': 1}

    def test_refusals(self, client, root):
        client.mount(root)
        assert client.post('/echo', body=b'{nope', headers=JSON).status == 400
        assert client.post('/echo', body=b'', headers=JSON).status == 400
        assert client.post('/echo', body=b'\xff', headers=JSON).status == 400
        assert client.post('/echo', headers=JSON).status == 411
        answer = client.post('/echo', body=b'a=1', headers={'Content-Type': 'application/x-www-form-urlencoded'})
        assert answer.status == 415
        assert 'Expected an entity of content type application/json, text/javascript' in answer.text
        assert client.post('/echo', body=b'[]', headers={'Content-Type': 'application/jsonx'}).status == 415

    def test_other_types_pass_where_it_is_not_forced(self, client, root):
        client.mount(root)
        assert client.post('/lenient', json=[1]).text == '[1] {}'
        assert client.post('/lenient', form={'a': '1'}).text == "none {'a': '1'}"

    def test_the_types_may_be_others(self, client, root):
        client.mount(root)
        assert client.post('/own', body=b'[1]', headers={'Content-Type': 'application/own'}).text == '[1]'
        assert client.post('/own', body=b'[1]', headers=JSON).status == 415

    def test_a_get_request_needs_no_body(self, client, root):
        client.mount(root)
        assert client.get('/lenient').text == 'none {}'

    def test_another_processor_may_be_used(self, client, handler):
        def processor(entity):
            cpadapter.request.json = entity.fp.read().upper().decode()

        class Root:
            @handler
            def index(self):
                return cpadapter.request.json

        client.mount(Root(), config={'/': {'tools.json_in.on': True, 'tools.json_in.processor': processor}})
        assert client.post('/', body=b'[abc]', headers=JSON).text == '[ABC]'
