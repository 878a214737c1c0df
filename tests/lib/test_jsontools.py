"""JSON in and out."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpadapter
from cpadapter import tools
from cpadapter.lib.jsontools import Codec

CODECS = (Codec(), Codec(fast=False))
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

    @pytest.mark.parametrize('kind', ['application/problem+json', 'Application/LD+JSON; profile="x"'])
    def test_documents_of_a_json_format_are_taken(self, client, root, kind):
        client.mount(root)
        assert client.post('/echo', body=b'[1]', headers={'Content-Type': kind}).json == [1]
        assert client.post('/lenient', body=b'[1]', headers={'Content-Type': kind}).text == '[1] {}'
        assert client.post('/own', body=b'[1]', headers={'Content-Type': kind}).status == 415
        for other in ('text/x+json', 'application/json+xml', 'application/x;+json', 'application/+jsonp'):
            assert client.post('/echo', body=b'[1]', headers={'Content-Type': other}).status == 415, other

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


class TestCodec:
    """Documents are the same bytes and values with msgspec and without."""

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=12,
        )
    )
    @settings(max_examples=200)
    def test_values_are_written_alike_and_read_back(self, value):
        fast, standard = CODECS
        written = fast.encode(value)
        assert json.loads(written) == value
        # A delete character is escaped by one of them only.
        assert written.replace(b'\x7f', b'\\u007f') == standard.encode(value).replace(b'\x7f', b'\\u007f')
        assert fast.decode(written) == standard.decode(written) == value

    @given(st.binary(max_size=20) | st.text('[]{}",:0123456789.eE+-tfnula \\ud8', max_size=20).map(str.encode))
    @settings(max_examples=300)
    def test_what_one_refuses_the_other_refuses(self, data):
        results = []
        for codec in CODECS:
            try:
                results.append(repr(codec.decode(data)))
            except (ValueError, RecursionError):
                results.append('refused')
        assert results[0] == results[1]

    @pytest.mark.parametrize('which', [0, 1])
    def test_numbers_that_json_has_not_become_null(self, which):
        value = {'a': [1.5, float('nan'), (float('inf'),)], 'b': float('-inf')}
        assert CODECS[which].encode(value) == b'{"a": [1.5, null, [null]], "b": null}'

    @pytest.mark.parametrize('which', [0, 1])
    @pytest.mark.parametrize('document', [b'NaN', b'[Infinity]', b'{"a": -Infinity}', b'[1,]', b'\xff', b'', b'01'])
    def test_what_is_no_json_is_refused(self, which, document):
        with pytest.raises(ValueError):
            CODECS[which].decode(document)

    @pytest.mark.parametrize('which', [0, 1])
    def test_what_cannot_be_written_is_a_type_error(self, which):
        with pytest.raises(TypeError):
            CODECS[which].encode({'a': object()})

    def test_msgspec_writes_more_types(self):
        fast, _ = CODECS
        assert fast.encode(datetime(2026, 1, 2, 3, 4, 5)) == b'"2026-01-02T03:04:05"'
        assert json.loads(fast.encode({'é': datetime(2026, 1, 2)})) == {'é': '2026-01-02T00:00:00'}
