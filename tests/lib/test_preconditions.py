"""Conditions that are looked at before the page handler runs: `tools.etags.state`."""

from __future__ import annotations

import pytest

import cpadapter

THEN = 784111777
DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'


def mount(client, handler, state, colour='sync', **config):
    """Mount a page that counts its runs; `state` is what the thing it is about is in."""
    ran = []

    def page():
        ran.append(cpadapter.request.method)
        return 'done'

    def ask():
        return state

    async def ask_later():
        return state

    class Root:
        x = staticmethod(handler(page))

    config = {
        'tools.etags.on': True,
        'tools.etags.state': ask_later if colour == 'async' else ask,
        'request.methods_with_bodies': (),
        **config,
    }
    client.mount(Root(), '', {'/x': config})
    return ran


@pytest.mark.parametrize('colour', ['sync', 'async'])
@pytest.mark.parametrize('method', ['PUT', 'DELETE', 'POST', 'PATCH'])
@pytest.mark.parametrize(
    ('state', 'headers', 'passes'),
    [
        ('"a"', {}, True),
        ('"a"', {'If-Match': '"a"'}, True),
        ('"a"', {'If-Match': '"b", "a"'}, True),
        ('"a"', {'If-Match': '*'}, True),
        ('"a"', {'If-Match': '"b"'}, False),
        ('"a"', {'If-Match': 'W/"a"'}, False),
        ('"a"', {'If-None-Match': '*'}, False),
        ('"a"', {'If-None-Match': '"a"'}, False),
        ('"a"', {'If-None-Match': 'W/"a"'}, False),
        ('"a"', {'If-None-Match': '"b"'}, True),
        (None, {}, True),
        (None, {'If-Match': '*'}, False),
        (None, {'If-Match': '"a"'}, False),
        (None, {'If-None-Match': '"a"'}, True),
        ((None, THEN), {'If-Modified-Since': DATE}, True),
        ((None, THEN), {'If-Unmodified-Since': DATE}, True),
        ((None, THEN + 1), {'If-Unmodified-Since': DATE}, False),
        (('"a"', THEN + 1), {'If-Unmodified-Since': DATE, 'If-Match': '"a"'}, True),
        (('"a"', THEN), {'If-Unmodified-Since': DATE, 'If-Match': '"b"'}, False),
    ],
)
def test_a_condition_that_fails_keeps_the_page_handler_from_running(
    client, handler, colour, method, state, headers, passes
):
    ran = mount(client, handler, state, colour)
    answer = client.request(method, '/x', headers=headers)
    assert answer.status == (200 if passes else 412)
    assert ran == ([method] if passes else [])
    if passes:
        assert 'ETag' not in answer.headers
        assert 'Last-Modified' not in answer.headers


def test_a_read_of_what_the_client_has_is_answered_without_the_page_handler(client, handler):
    ran = mount(client, handler, ('"a"', THEN))
    answer = client.get('/x', headers={'If-None-Match': '"a"'})
    assert (answer.status, answer.headers['ETag']) == (304, '"a"')
    answer = client.get('/x', headers={'If-Modified-Since': DATE})
    assert answer.status == 304
    assert ran == []
    answer = client.get('/x', headers={'If-None-Match': '"b"'})
    assert (answer.status, answer.headers['ETag'], answer.headers['Last-Modified']) == (200, '"a"', DATE)
    assert ran == ['GET']


def test_a_changed_state_is_told_before_that_the_client_has_it(client, handler):
    ran = mount(client, handler, ('"a"', THEN + 1))
    changed = {'If-Unmodified-Since': DATE, 'If-None-Match': '"a"'}
    assert client.get('/x', headers=changed).status == 412
    assert client.get('/x', headers={**changed, 'If-Match': '"a"'}).status == 304
    assert ran == []


def test_creation_is_guarded_by_a_star(client, handler):
    ran = mount(client, handler, None)
    assert client.put('/x', headers={'If-None-Match': '"a"'}).status == 200
    assert ran == ['PUT']


def test_a_page_handler_may_tag_the_new_state(client, handler):
    def page():
        cpadapter.response.headers['ETag'] = '"new"'
        return 'done'

    class Root:
        x = staticmethod(handler(page))

    config = {'tools.etags.on': True, 'tools.etags.state': lambda: '"old"', 'request.methods_with_bodies': ()}
    client.mount(Root(), '', {'/x': config})
    answer = client.put('/x', headers={'If-Match': '"old"'})
    assert (answer.status, answer.headers['ETag']) == (200, '"new"')
