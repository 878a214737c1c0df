"""The small tools: what they let pass, refuse, change and set; validators of conditional requests."""

from __future__ import annotations

import datetime
import gc
import time
from typing import Any, Literal, Optional, Union  # noqa: F401  the page handlers' annotations are text

import pytest

import cpadapter
from cpadapter.lib import cptools


def mount(client, func, **config):
    """Mount `func` as the page /x, with tools given as `tool__setting`."""

    class Root:
        @cpadapter.expose
        def target(self):
            return 'target'

    func.exposed = True
    func._cp_config = {f'tools.{key.replace("__", ".")}': value for key, value in config.items()}
    Root.x = staticmethod(func)
    client.mount(Root())


def page(handler, text='ok'):
    """Give a new page handler in the test's colour; what it is given as config stays with it."""

    def func(**params):
        return text

    return handler.paint(func)


# --- response_headers, redirect, err_redirect -----------------------------------------------------------------


def test_response_headers_are_set_and_the_last_of_a_name_counts(client, handler):
    mount(
        client,
        page(handler),
        response_headers__on=True,
        response_headers__headers=[('X-A', '1'), ('x-a', '2'), ('Content-Type', 'text/plain')],
    )
    answer = client.get('/x')
    assert answer.headers['X-A'] == '2'
    assert answer.headers['Content-Type'] == 'text/plain;charset=utf-8'


def test_response_headers_stand_on_error_pages_too(client, handler):
    def func():
        raise cpadapter.HTTPError(410, 'gone')

    mount(client, handler.paint(func), response_headers__on=True, response_headers__headers=[('X-A', '1')])
    answer = client.get('/x')
    assert (answer.status, answer.headers['X-A']) == (410, '1')


def test_response_headers_run_after_another_hook_of_the_point_failed(client, handler):
    mount(
        client,
        page(handler),
        allow__on=True,
        allow__methods=['POST'],
        response_headers__on=True,
        response_headers__headers=[('X-A', '1')],
    )
    answer = client.get('/x')
    assert (answer.status, answer.headers['X-A']) == (405, '1')


def test_redirect_is_internal_by_default(client, handler):
    mount(client, page(handler), redirect__on=True, redirect__url='/target')
    assert client.get('/x').text == 'target'


def test_redirect_sends_the_client_when_it_is_not_internal(client, handler):
    mount(client, page(handler), redirect__on=True, redirect__url='/target', redirect__internal=False)
    answer = client.get('/x')
    assert (answer.status, answer.headers['Location']) == (303, 'http://testserver/target')


@pytest.mark.parametrize(('internal', 'status'), [(True, 200), (False, 303)])
def test_err_redirect_redirects_unanticipated_errors(client, handler, internal, status):
    def func():
        raise ValueError('unanticipated')

    mount(
        client,
        handler.paint(func),
        err_redirect__on=True,
        err_redirect__url='/target',
        err_redirect__internal=internal,
    )
    answer = client.get('/x')
    assert answer.status == status
    assert answer.text == 'target' if internal else answer.headers['Location'] == 'http://testserver/target'


def test_err_redirect_leaves_http_errors_alone(client, handler):
    def func():
        raise cpadapter.HTTPError(410, 'gone')

    mount(client, handler.paint(func), err_redirect__on=True, err_redirect__url='/target')
    assert client.get('/x').status == 410


# --- allow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('methods', 'field'),
    [
        (None, 'GET, HEAD'),
        ([], 'GET, HEAD'),
        ('post', 'POST'),
        (['get'], 'GET, HEAD'),
        (['PUT', 'GET', 'POST'], 'PUT, GET, POST, HEAD'),
        (('HEAD', 'GET'), 'HEAD, GET'),
    ],
)
def test_allow_lists_the_methods_in_the_order_given(client, handler, methods, field):
    mount(client, page(handler), allow__on=True, allow__methods=methods)
    allowed = field.split(', ')[0]
    answer = client.request(allowed, '/x', body=b'' if allowed in ('POST', 'PUT') else None)
    assert (answer.status, answer.headers['Allow']) == (200, field)


def test_a_method_that_is_not_allowed_is_answered_405_with_allow(client, handler):
    mount(client, page(handler), allow__on=True, allow__methods=['POST'])
    answer = client.get('/x')
    assert (answer.status, answer.headers['Allow']) == (405, 'POST')
    assert 'Specified method is invalid for this resource' in answer.text


# --- accept ---------------------------------------------------------------------------------------------------

TYPES = ['text/html', 'application/json', 'text/plain']


@pytest.mark.parametrize(
    ('field', 'chosen'),
    [
        (None, 'text/html'),
        ('', 'text/html'),
        ('*/*', 'text/html'),
        ('text/*', 'text/html'),
        ('application/json', 'application/json'),
        ('Application/JSON', 'application/json'),
        ('application/json;version=2', 'application/json'),
        ('text/html;q=0.5, text/plain', 'text/plain'),
        ('text/html;q=0, */*', 'application/json'),
        ('text/*;q=0.9, */*;q=0.1', 'text/html'),
        ('*/*, text/plain;q=0.5, text/html;q=0.4, application/json;q=0.6', 'application/json'),
        ('text/plain, application/json', 'text/plain'),
        ('text/*, application/json', 'application/json'),
        ('image/png, text/plain;q=0.1', 'text/plain'),
        ('text/html, text/html;q=0', 'text/html'),
        (', text/plain ,', 'text/plain'),
    ],
)
def test_accept_chooses_what_the_client_likes_best(client, handler, field, chosen):
    def func():
        return str(cpadapter.tools.accept.callable(TYPES))

    mount(client, handler.paint(func))
    headers = {} if field is None else {'Accept': field}
    assert client.get('/x', headers=headers).text == chosen


@pytest.mark.parametrize(
    'field', ['image/png', 'text/html;q=0, application/json;q=0, text/plain;q=0', 'text', '*/html']
)
def test_accept_answers_406_where_nothing_fits(client, handler, field):
    mount(client, page(handler), accept__on=True, accept__media=TYPES)
    answer = client.get('/x', headers={'Accept': field})
    assert answer.status == 406
    assert f'Your client sent this Accept header: {field}.' in answer.text
    assert 'But this resource only emits these media types: text/html, application/json, text/plain.' in answer.text


def test_accept_checks_nothing_without_media(client, handler):
    mount(client, page(handler), accept__on=True)
    assert client.get('/x', headers={'Accept': 'image/png'}).text == 'ok'


def test_accept_takes_one_type_as_text(client, handler):
    mount(client, page(handler), accept__on=True, accept__media='text/plain')
    assert client.get('/x', headers={'Accept': 'text/*'}).text == 'ok'
    assert client.get('/x', headers={'Accept': 'text/html'}).status == 406


@pytest.mark.parametrize('q', ['x', '-1', '1e999', ''])
def test_a_weight_that_is_no_number_is_answered_400_and_not_logged(client, handler, q):
    mount(client, page(handler), accept__on=True, accept__media=TYPES)
    answer = client.get('/x', headers={'Accept': f'text/html;q={q}'})
    assert answer.status == 400
    assert 'Malformed HTTP header: `text/html;q=' in answer.text
    assert client.errors == []


# --- referer, ignore_headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'field', 'status'),
    [
        ({}, 'http://testserver/a', 200),
        ({}, 'http://evil/', 403),
        ({}, None, 403),
        ({'accept_missing': True}, None, 200),
        ({'accept': False}, 'http://testserver/a', 403),
        ({'accept': False}, 'http://evil/', 200),
        ({'accept': False}, None, 403),
        ({'error': 404, 'message': 'Nothing here.'}, 'http://evil/', 404),
    ],
)
def test_referer_lets_pass_what_its_pattern_says(client, handler, settings, field, status):
    mount(
        client,
        page(handler),
        referer__on=True,
        referer__pattern='http://testserver/',
        **{f'referer__{key}': value for key, value in settings.items()},
    )
    answer = client.get('/x', headers={'Referer': field} if field else {})
    assert answer.status == status
    if status != 200:
        assert settings.get('message', 'Forbidden Referer header.') in answer.text


def test_ignore_headers_takes_them_out_of_the_request(client, handler):
    def func():
        headers = cpadapter.request.headers
        return repr([headers.get('Range'), headers.get('X-A'), headers.get('X-B')])

    mount(client, handler.paint(func), ignore_headers__on=True, ignore_headers__headers=('range', 'X-A'))
    assert client.get('/x', headers={'Range': 'bytes=0-1', 'X-A': 'a', 'X-B': 'b'}).text == "[None, None, 'b']"


# --- params ---------------------------------------------------------------------------------------------------


def convertible(
    n: int = 0,
    f: float = 0.0,
    b: bool = False,
    o: Optional[int] = None,  # noqa: UP045
    u: int | str = 0,
    many: list[int] = (),
    some: set = frozenset(),
    text: str = '',
    anything: Any = None,
    literal: Literal['a'] = 'a',
    plain=None,
    day: datetime.date.fromisoformat = '',
    unknown: NoSuchType = None,  # noqa: F821
) -> int:
    given = locals()
    defaults = dict(zip(convertible.__code__.co_varnames, convertible.__defaults__, strict=False))
    return repr(next(value for name, value in given.items() if value is not defaults[name]))


@pytest.mark.parametrize(
    ('query', 'value'),
    [
        ('n=7', '7'),
        ('n=-7', '-7'),
        ('f=1.5', '1.5'),
        ('b=True', 'True'),
        ('b=on', 'True'),
        ('o=3', '3'),
        ('u=4', '4'),
        ('u=four', "'four'"),
        ('many=1&many=2', '[1, 2]'),
        ('many=1', '[1]'),
        ('some=a', "{'a'}"),
        ('text=a', "'a'"),
        ('anything=a&anything=b', "['a', 'b']"),
        ('literal=b', "'b'"),
        ('plain=1', "'1'"),
        ('day=2020-02-29', 'datetime.date(2020, 2, 29)'),
        ('unknown=1', "'1'"),
    ],
)
def test_params_become_what_the_annotations_say(client, handler, query, value):
    mount(client, handler.paint(convertible), params__on=True)
    if handler.is_async:
        # The wrapper has no annotations: it names the function that has.
        client.site.tree.apps[''].root.x.__wrapped__ = convertible
    answer = client.get(f'/x?{query}')
    assert (answer.status, answer.text) == (200, value)


def test_false_is_false(client, handler):
    def func(b: bool = True):
        return repr(b)

    mount(client, handler.paint(func), params__on=True)
    client.site.tree.apps[''].root.x.__annotations__ = {'b': bool}
    assert [client.get(f'/x?b={word}').text for word in ('False', 'off', '0', '')] == ['False'] * 4
    assert client.get('/x?b=maybe').status == 400


@pytest.mark.parametrize(
    ('query', 'message'),
    [
        ('n=x', 'invalid literal for int() with base 10: &#x27;x&#x27;'),
        ('many=1&many=x', 'invalid literal for int() with base 10: &#x27;x&#x27;'),
        ('n=1&n=2', 'Only one value may be given for the parameter &#x27;n&#x27;.'),
        ('n=' + '9' * 5000, 'Exceeds the limit'),
        ('day=2020-02-30', 'day is out of range for month'),
    ],
)
def test_params_that_do_not_convert_are_answered_400(client, query, message):
    mount(client, convertible, params__on=True)
    answer = client.get(f'/x?{query}')
    assert answer.status == 400
    assert message in answer.text.replace('&#39;', '&#x27;').replace("'", '&#x27;')


def test_params_answers_with_the_error_that_is_set_for_the_exceptions_that_are_set(client):
    def func(n=None):
        return 'never'

    def convert(text):
        raise KeyError(text)

    func.__annotations__['n'] = convert
    mount(client, func, params__on=True, params__exception=(KeyError, ValueError), params__error=409)
    assert client.get('/x?n=1').status == 409


def test_other_exceptions_of_a_conversion_are_unanticipated_errors(client):
    def convert(text):
        raise KeyError(text)

    def func(n=None):
        return 'never'

    func.__annotations__['n'] = convert
    mount(client, func, params__on=True)
    assert client.get('/x?n=1').status == 500


def test_params_leaves_a_missing_page_missing(client):
    class Root:
        pass

    client.mount(Root(), '', {'/': {'tools.params.on': True}})
    assert client.get('/nosuch?n=1').status == 404


def test_params_converts_for_methods_and_callable_instances(client):
    class Callable:
        exposed = True

        def __call__(self, n: int):
            return repr(n)

    class Root:
        _cp_config = {'tools.params.on': True}
        instance = Callable()

        @cpadapter.expose
        def method(self, n: int):
            return repr(n)

    client.mount(Root())
    assert client.get('/method?n=1').text == '1'
    assert client.get('/instance?n=1').text == '1'


def test_params_never_converts_by_the_annotation_of_the_result(client):
    mount(client, convertible, params__on=True)
    assert client.get('/x?return=x').status == 404


# --- flatten --------------------------------------------------------------------------------------------------


def test_flatten_opens_nested_iterators_and_encodes_their_text(client):
    def func():
        def inner():
            yield 'c'
            yield iter([b'd', 'ü'])

        yield 'a'
        yield inner()
        yield b'e'

    mount(client, func, flatten__on=True)
    assert client.get('/x').text == 'acdüe'


def test_flatten_encodes_in_the_charset_of_the_response(client):
    def func():
        yield iter(['ü'])

    mount(client, func, flatten__on=True, encode__encoding='latin-1')
    assert client.get('/x').body == b'\xfc'


def test_flatten_takes_any_depth(client):
    def nested(depth):
        item = iter([b'deep'])
        for _ in range(depth):
            item = iter([item])
        return item

    mount(client, lambda: nested(5000), flatten__on=True)
    assert client.get('/x').body == b'deep'


def test_flatten_closes_what_it_opened_when_the_client_goes(client):
    closed = []

    def numbers(name):
        try:
            while True:
                yield name.encode()
        finally:
            closed.append(name)

    def func():
        try:
            yield numbers('inner')
        finally:
            closed.append('outer')

    mount(client, func, flatten__on=True)
    func._cp_config['response.stream'] = True
    client.get('/x', stop_after=2)
    gc.collect()
    assert closed == ['inner', 'outer']


def test_flatten_takes_async_bodies(client):
    async def inner():
        yield b'b'

    async def func():
        yield b'a'
        yield inner()
        yield iter([b'c', 'd'])

    mount(client, func, flatten__on=True)
    func._cp_config['response.stream'] = True
    assert client.get('/x').body == b'abcd'


# --- logs -----------------------------------------------------------------------------------------------------


def test_log_headers_does_not_write_credentials(client, handler):
    def func():
        raise ValueError('unanticipated')

    mount(client, handler.paint(func))
    client.get('/x', headers={'Authorization': 'Basic c2VjcmV0', 'Cookie': 'session_id=secret', 'X-Seen': 'seen'})
    text = '\n'.join(client.errors)
    assert 'seen' in text
    assert 'c2VjcmV0' not in text
    assert 'session_id' not in text


def test_log_hooks_writes_the_hooks_by_point(client, handler):
    mount(client, page(handler), log_hooks__on=True, gzip__on=True)
    client.get('/x')
    (line,) = [line for line in client.errors if 'Request Hooks for' in line]
    assert 'http://testserver/x' in line
    assert line.index('before_finalize:') < line.index('gzip') < line.index('on_end_request:')


DEBUGGING = {
    'allow': {},
    'accept': {'media': 'text/html'},
    'referer': {'pattern': '.', 'accept_missing': True},
    'response_headers': {'headers': [('X-A', '1')]},
    'ignore_headers': {'headers': ['X-Gone']},
    'etags': {'autotags': True},
    'expires': {'force': True},
    'gzip': {},
}


@pytest.mark.parametrize('name', DEBUGGING)
def test_debug_writes_to_the_error_log(client, handler, name):
    settings = {f'{name}__{key}': value for key, value in {'on': True, 'debug': True, **DEBUGGING[name]}.items()}
    mount(client, page(handler), **settings)
    headers = {'Accept': 'text/html', 'X-Gone': '1', 'Accept-Encoding': 'gzip'}
    assert client.get('/x', headers=headers).status == 200
    if name != 'allow':
        assert any(f'TOOLS.{name.upper()}' in line for line in client.errors), client.errors


# --- etags ----------------------------------------------------------------------------------------------------


def tagged(handler, etag='"x"', status=None):
    def func(**params):
        response = cpadapter.response
        if etag:
            response.headers['ETag'] = etag
        if status:
            response.status = status
        return 'ok'

    return handler.paint(func)


@pytest.mark.parametrize(
    ('etag', 'headers', 'status'),
    [
        ('"x"', {'If-None-Match': '"x"'}, 304),
        ('"x"', {'If-None-Match': 'W/"x"'}, 304),
        ('W/"x"', {'If-None-Match': '"x"'}, 304),
        ('"x"', {'If-None-Match': '"a", "x"'}, 304),
        ('"x"', {'If-None-Match': '"a,b", "x"'}, 304),
        ('"x"', {'If-None-Match': '*'}, 304),
        (None, {'If-None-Match': '*'}, 200),
        (None, {'If-None-Match': '"x"'}, 200),
        ('"x"', {'If-None-Match': '"y"'}, 200),
        ('"x"', {'If-None-Match': ''}, 200),
        ('"x"', {'If-Match': '"x"'}, 200),
        ('"x"', {'If-Match': '"a", "x"'}, 200),
        ('"x"', {'If-Match': '*'}, 200),
        ('"x"', {'If-Match': '"y"'}, 412),
        ('"x"', {'If-Match': 'W/"x"'}, 412),
        ('W/"x"', {'If-Match': 'W/"x"'}, 412),
        (None, {'If-Match': '"x"'}, 412),
    ],
)
def test_entity_tags_are_compared_as_the_standard_says(client, handler, etag, headers, status):
    mount(client, tagged(handler, etag), etags__on=True)
    answer = client.get('/x', headers=headers)
    assert answer.status == status
    if status == 304:
        # As the client has it, which is weak where a coding was applied.
        sent = headers['If-None-Match']
        assert answer.headers['ETag'] == (f'W/{etag}' if f'W/{etag}' in sent else etag)
        assert 'Content-Type' not in answer.headers


def test_a_failed_condition_says_what_did_not_match(client, handler):
    mount(client, tagged(handler), etags__on=True)
    answer = client.get('/x', headers={'If-Match': '"y"'})
    text = answer.text.replace('&#x27;', "'").replace('&quot;', '"')
    assert """If-Match failed: ETag '"x"' did not match ['"y"']""" in text
    answer = client.put('/x', headers={'If-None-Match': '"x"'}, body=b'')
    assert answer.status == 412
    text = answer.text.replace('&#x27;', "'").replace('&quot;', '"')
    assert """If-None-Match failed: ETag '"x"' matched ['"x"']""" in text


def test_conditions_are_looked_at_for_successful_responses_only(client, handler):
    mount(client, tagged(handler, status=404), etags__on=True)
    assert client.get('/x', headers={'If-None-Match': '"x"'}).status == 404


def test_autotags_tag_the_body(client, handler):
    mount(client, page(handler), etags__on=True, etags__autotags=True)
    answer = client.get('/x')
    assert answer.headers['ETag'] == '"444bcb3a3fcf8389296c49467f27e1d6"'
    answer = client.get('/x', headers={'If-None-Match': answer.headers['ETag']})
    assert (answer.status, answer.body) == (304, b'')


def test_autotags_leave_streams_and_errors_alone(client, handler):
    def func(fail=''):
        if fail:
            raise cpadapter.HTTPError(404)
        return iter([b'a', b'b'])

    mount(client, handler.paint(func), etags__on=True, etags__autotags=True)
    client.site.tree.apps[''].root.x._cp_config['response.stream'] = True
    assert 'ETag' not in client.get('/x').headers
    assert 'ETag' not in client.get('/x?fail=1').headers


def test_a_page_handler_may_check_before_it_changes_anything(client, handler):
    changes = []

    def func():
        cpadapter.response.headers['ETag'] = '"old"'
        cptools.validate_etags()
        changes.append(1)
        cpadapter.response.headers['ETag'] = '"new"'
        return 'changed'

    mount(client, handler.paint(func), etags__on=True)
    assert client.put('/x', headers={'If-Match': '"other"'}, body=b'').status == 412
    assert changes == []
    answer = client.put('/x', headers={'If-Match': '"old"'}, body=b'')
    assert (answer.status, answer.headers['ETag'], changes) == (200, '"new"', [1])


# --- dates ----------------------------------------------------------------------------------------------------

MODIFIED = 'Sun, 06 Nov 1994 08:49:37 GMT'
BEFORE = 'Sun, 06 Nov 1994 08:49:36 GMT'
AFTER = 'Mon, 07 Nov 1994 08:49:37 GMT'
OTHER_ZONE = 'Sun, 06 Nov 1994 03:49:37 -0500'


class Plain:
    paint = staticmethod(lambda func: func)


def dated(handler):
    def func():
        cpadapter.response.headers['Last-Modified'] = MODIFIED
        cptools.validate_since()
        return 'ok'

    return handler.paint(func)


@pytest.mark.parametrize(
    ('headers', 'status'),
    [
        ({'If-Modified-Since': MODIFIED}, 304),
        ({'If-Modified-Since': AFTER}, 304),
        ({'If-Modified-Since': OTHER_ZONE}, 304),
        ({'If-Modified-Since': 'Sunday, 06-Nov-94 08:49:37 GMT'}, 304),
        ({'If-Modified-Since': 'Sun Nov  6 08:49:37 1994'}, 304),
        ({'If-Modified-Since': BEFORE}, 200),
        ({'If-Modified-Since': MODIFIED, 'If-None-Match': '"x"'}, 200),
        ({'If-Unmodified-Since': MODIFIED}, 200),
        ({'If-Unmodified-Since': AFTER}, 200),
        ({'If-Unmodified-Since': BEFORE}, 412),
        ({'If-Unmodified-Since': BEFORE, 'If-Match': '"x"'}, 200),
    ],
)
def test_dates_are_compared_as_times(client, handler, headers, status):
    mount(client, dated(handler))
    assert client.get('/x', headers=headers).status == status


def test_if_modified_since_is_about_reading_only(client, handler):
    mount(client, dated(handler))
    assert client.post('/x', headers={'If-Modified-Since': MODIFIED}, body=b'').status == 200


@pytest.mark.parametrize(
    'date',
    [
        'yesterday',
        '0',
        'Sun, 06 Nov 99999 08:49:37 GMT',
        'Sun, 99 Nov 1994 08:49:37 GMT',
        'Sun, 06 Nov 1994 08:49:37 +999999999999',
        f'Sun, 06 Nov {"9" * 5000} 08:49:37 GMT',
        ',' * 50_000,
        '(' * 50_000,
    ],
)
@pytest.mark.parametrize('field', ['If-Modified-Since', 'If-Unmodified-Since'])
def test_what_is_no_date_is_ignored(wsgi, field, date):
    mount(wsgi, dated(Plain))
    assert wsgi.get('/x', headers={field: date}).status == 200


# --- hostile headers ------------------------------------------------------------------------------------------

HOSTILE = ['"', ',', '"",', 'W/', 'W/"', '*,', ';q=', '\\"', 'a,', '= ', '/*,', ';']


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.parametrize('piece', HOSTILE)
def test_long_hostile_headers_take_linear_time(wsgi, piece):
    def func():
        cpadapter.response.headers['ETag'] = '"x"'
        return 'ok'

    mount(wsgi, func, etags__on=True, gzip__on=True, accept__on=True, accept__media=TYPES)
    field = piece * (50_000 // len(piece))
    for name in ('If-None-Match', 'If-Match', 'Accept', 'Accept-Encoding'):
        taken = min(seconds(lambda name=name: wsgi.get('/x', headers={name: field})) for _ in range(3))
        assert taken < 0.25, name
    assert wsgi.get('/x').status == 200


# --- the tools as objects -------------------------------------------------------------------------------------


def test_built_in_tools_stand_at_their_points_with_their_priorities():
    places = {
        name: (getattr(cpadapter.tools, name)._point, getattr(cpadapter.tools, name)._priority)
        for name in cpadapter.tools.names()
    }
    wanted = {
        **dict.fromkeys(('accept', 'allow', 'redirect', 'response_headers'), ('on_start_resource', 50)),
        **dict.fromkeys(('decode', 'ignore_headers', 'referer'), ('before_request_body', 50)),
        'json_in': ('before_request_body', 30),
        'params': ('before_handler', 15),
        'json_out': ('before_handler', 30),
        **dict.fromkeys(('staticdir', 'staticfile'), ('before_handler', 50)),
        'trailing_slash': ('before_handler', 60),
        'encode': ('before_handler', 70),
        'flatten': ('before_finalize', 45),
        'expires': ('before_finalize', 50),
        'etags': ('before_finalize', 75),
        'gzip': ('before_finalize', 80),
        'log_hooks': ('on_end_request', 100),
        **dict.fromkeys(('log_headers', 'log_tracebacks'), ('before_error_response', 50)),
        **dict.fromkeys(('err_redirect', 'xmlrpc'), (None, 50)),
    }
    assert {name: places.get(name) for name in wanted} == wanted


def test_tools_name_their_settings_as_attributes():
    assert cpadapter.tools.gzip.mime_types is None
    assert cpadapter.tools.staticdir.index is None
    assert cpadapter.tools.referer.accept_missing is None


def test_an_unknown_setting_is_answered_500_and_named_in_the_log(client):
    mount(client, lambda: 'never', staticdir__on=True, staticdir__idnex='x')
    assert client.get('/x').status == 500
    assert any("no setting 'idnex'" in line and "'index'" in line for line in client.errors)
