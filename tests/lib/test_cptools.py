"""The built-in tools that are on by default: trailing_slash, log_tracebacks, log_headers."""

from __future__ import annotations

import pytest

import cpadapter


@pytest.fixture
def root(handler):
    class Sub:
        @handler
        def index(self):
            return 'index'

        @handler
        def leaf(self):
            return 'leaf'

    class Root:
        sub = Sub()

        @handler
        def index(self):
            return 'root'

        @handler
        def fails(self):
            raise ValueError('the error')

        @handler
        def refuses(self):
            raise cpadapter.HTTPError(402)

    return Root()


class TestTrailingSlash:
    @pytest.mark.parametrize(
        ('target', 'settings', 'expected'),
        [
            ('/sub', {}, '301 http://testserver/sub/'),
            ('/sub?a=1&b=%20', {}, '301 http://testserver/sub/?a=1&b=%20'),
            ('/sub/', {}, '200'),
            ('/sub/leaf/', {}, '200'),
            ('/sub/leaf', {}, '200'),
            ('/sub', {'missing': False}, '200'),
            ('/sub/leaf/', {'extra': True}, '301 http://testserver/sub/leaf'),
            ('/sub/leaf/?a=1', {'extra': True}, '301 http://testserver/sub/leaf?a=1'),
            ('/sub', {'status': 307}, '307 http://testserver/sub/'),
            ('/sub', {'on': False}, '200'),
            ('/', {'extra': True}, '200'),
        ],
    )
    def test_it_redirects_or_not(self, client, root, target, settings, expected):
        config = {f'tools.trailing_slash.{key}': value for key, value in settings.items()}
        client.mount(root, config={'/': config})
        answer = client.get(target)
        if '?' in target and answer.status == 404:
            pytest.fail('the page was called')
        found = f'{answer.status} {answer.headers["Location"]}' if answer.status // 100 == 3 else str(answer.status)
        assert found == expected

    @pytest.mark.parametrize(
        ('method', 'settings', 'status'),
        [
            ('HEAD', {}, 301),
            ('POST', {}, 308),
            ('PUT', {}, 308),
            ('DELETE', {}, 308),
            ('POST', {'status': 301}, 301),
        ],
    )
    def test_a_redirected_method_keeps_its_body(self, client, root, method, settings, status):
        config = {f'tools.trailing_slash.{key}': value for key, value in settings.items()}
        client.mount(root, config={'/': config})
        answer = client.request(method, '/sub', body=b'')
        assert (answer.status, answer.headers['Location']) == (status, 'http://testserver/sub/')

    def test_odd_characters_in_the_path_are_escaped(self, client, handler):
        class Root:
            def _cp_dispatch(self, vpath):
                vpath.pop(0)
                return self.sub

            class Sub:
                @handler
                def index(self):
                    return 'x'

            sub = Sub()

        client.mount(Root())
        answer = client.get('/%C3%A4%20%22%3Cb%3E')
        assert answer.headers['Location'] == 'http://testserver/%C3%A4%20%22%3Cb%3E/'


class TestLogs:
    def test_an_unforeseen_error_is_logged_once_with_its_traceback(self, client, root):
        client.mount(root)
        client.get('/fails', headers={'X-Own': 'shown'})
        text = '\n'.join(client.errors)
        assert text.count('ValueError: the error') == 1
        assert 'Traceback (most recent call last)' in text
        assert 'X-Own: shown' in text or 'X-OWN: shown' in text

    def test_a_foreseen_one_is_not(self, client, root):
        client.mount(root)
        client.get('/refuses')
        client.get('/nope')
        assert client.errors == []

    def test_both_may_be_switched_off(self, client, root):
        client.mount(root, config={'/': {'tools.log_headers.on': False}})
        client.get('/fails', headers={'X-Own': 'shown'})
        assert 'shown' not in '\n'.join(client.errors)
        client.records.clear()
        client.mount(root, config={'/': {'tools.log_headers.on': False, 'tools.log_tracebacks.on': False}})
        client.get('/fails')
        assert client.errors == []

    def test_control_characters_stay_in_their_line(self, client, root):
        client.mount(root)
        client.get('/fails', headers={'X-Own': 'a\x1b[31mb'})
        assert '\x1b' not in '\n'.join(client.errors)
