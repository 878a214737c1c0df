"""The `autovary` tool, and the header map that remembers what was asked for."""

from __future__ import annotations

import pytest

import cpadapter
from cpadapter.lib.cptools import MonitoredHeaderMap


@pytest.fixture
def vary(client, handler):
    """Gives a call that tells the Vary of a page which does what `look` says."""

    def call(look=lambda: None, headers=(), method='GET', answer='text', form=None, more=(), **settings):
        class Root:
            @handler
            def index(self, **kwargs):
                look()
                return answer

        config = {'tools.autovary.on': True, **{f'tools.autovary.{key}': value for key, value in settings.items()}}
        client.mount(Root(), '', {'/': {**config, **dict(more)}})
        got = client.request(method, '/', headers=headers, form=form)
        return got.headers.get('Vary')

    return call


def test_each_way_of_asking_counts(vary):
    def look():
        headers = cpadapter.request.headers
        headers.get('Accept-Encoding')
        assert headers['Host'] == 'testserver'
        assert 'If-Modified-Since' not in headers
        assert 'range' not in headers
        cpadapter.tools.accept.callable(['text/html', 'text/plain'])

    expected = 'Accept, Accept-Charset, Accept-Encoding, Host, If-Modified-Since, Range'
    assert vary(look) == expected


def test_elements_count(vary):
    assert vary(lambda: cpadapter.request.headers.elements('accept-language')) == 'Accept-Charset, Accept-Language'


def test_headers_that_other_tools_look_at_count(vary):
    more = {
        'tools.gzip.on': True,
        'tools.referer.on': True,
        'tools.referer.pattern': '',
        'tools.referer.accept_missing': True,
    }
    assert vary(more=more) == 'Accept-Charset, Accept-Encoding, Referer'


def test_cookies_count_once_somebody_looks_at_them(vary):
    assert vary(lambda: cpadapter.request.cookie, headers={'Cookie': 'a=1'}) == 'Accept-Charset, Cookie'
    assert vary(headers={'Cookie': 'a=1'}) == 'Accept-Charset'


def test_what_the_framework_reads_for_itself_does_not_count(vary):
    assert vary(method='POST', form={'a': '1'}) == 'Accept-Charset'


def test_without_anything_read_there_is_no_vary(vary):
    assert vary(more={'tools.encode.on': False}, answer=b'bytes') is None


def test_the_names_to_ignore_can_be_chosen(vary):
    def look():
        for name in ('Content-Type', 'Content-Length', 'X-One', 'X-Two'):
            cpadapter.request.headers.get(name)

    assert vary(look) == 'Accept-Charset, X-One, X-Two'
    assert vary(look, ignore=['accept-charset', 'X-ONE']) == 'Content-Length, Content-Type, X-Two'
    assert vary(look, ignore=()) == 'Accept-Charset, Content-Length, Content-Type, X-One, X-Two'


def test_vary_of_the_page_is_kept(vary):
    def look():
        cpadapter.response.headers['Vary'] = 'X-Own'
        cpadapter.request.headers.get('X-A')

    assert vary(look) == 'Accept-Charset, X-A, X-Own'


def test_vary_by_everything_stays(vary):
    def look():
        cpadapter.response.headers['Vary'] = '*'
        cpadapter.request.headers.get('X-A')

    assert vary(look) == '*'


def test_an_error_page_varies_by_what_was_read(vary):
    def look():
        cpadapter.request.headers.get('X-A')
        raise cpadapter.HTTPError(403)

    assert 'X-A' in vary(look)


def test_debug_says_what_was_found(vary, client):
    vary(lambda: cpadapter.request.headers.get('X-A'), debug=True)
    assert any('TOOLS.AUTOVARY' in line and 'X-A' in line for line in client.errors)


def test_the_headers_are_the_same_map_to_whoever_reads_them(vary):
    seen = {}

    def look():
        headers = cpadapter.request.headers
        seen.update(name=headers['x-a'], kind=type(headers), items=dict(headers.items()))

    vary(look, headers={'X-A': 'b'})
    assert (seen['name'], seen['kind'], seen['items']['X-A']) == ('b', MonitoredHeaderMap, 'b')


def test_the_function_may_be_called_by_itself(client, handler):
    from cpadapter.lib import cptools

    class Root:
        @handler
        def index(self):
            cptools.autovary()
            return cpadapter.request.headers.get('X-A', 'none')

    client.mount(Root())
    assert client.get('/').headers['Vary'] == 'Accept-Charset, X-A'


def test_the_map_remembers_names_in_title_case():
    headers = MonitoredHeaderMap()
    headers['A-b'] = '1'
    assert headers.accessed_headers == set()
    headers.get('x-GET')
    with pytest.raises(KeyError):
        headers['x-item']
    assert b'x-in' not in headers
    assert headers.elements('a-B')[0].value == '1'
    assert headers.values('x-values') == []
    assert headers.accessed_headers == {'X-Get', 'X-Item', 'X-In', 'A-B', 'X-Values'}
    assert list(headers) == ['A-B']
