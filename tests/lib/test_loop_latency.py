"""No tool keeps the event loop waiting: async pages with tools that read, write, compress and ask.

What a tool waits for is made slow by hand (`SLOW` seconds). Meanwhile a probe on the same loop measures the worst
delay of a callback: far less, if the waiting is done elsewhere. A busy machine may delay the probe as well, so that the
best of a few tries counts; what does wait on the loop does so at every try.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import random
import sys
import time
import xmlrpc.client

import pytest

import cpadapter
from cpadapter import ErrorTool, HandlerTool, HandlerWrapperTool, HTTPError, Tool
from cpadapter.lib import auth_digest, covercp, disk, profiler, xmlrpcutil
from cpadapter.lib.caching import MemoryCache
from cpadapter.lib.sessions import FileSession, RamSession
from tests.conftest import Answer, AsgiChecker, Call

SLOW = 0.4
BOUND = 0.15
TRIES = 4


class Root:
    @cpadapter.expose
    async def index(self):
        await asyncio.sleep(0)
        return 'page'

    @cpadapter.expose
    async def counts(self):
        session = cpadapter.session
        session['n'] = session.get('n', 0) + 1
        return str(session['n'])

    @cpadapter.expose
    async def big(self):
        return TEXT

    @cpadapter.expose
    async def fails(self):
        raise LookupError('not foreseen')

    @cpadapter.expose
    async def refuses(self):
        raise HTTPError(402)

    @cpadapter.expose
    def plain(self):
        time.sleep(SLOW)
        return 'plain'


# 12 MB that compress about as well as prose does: some tenths of a second of work.
TEXT = ' '.join(random.Random(1).choices([f'word{n}' for n in range(5000)], k=1_400_000))


async def get(asgi, target, headers=None, method='GET', **more):
    call = Call(method, target, headers=headers or {}, **more)
    answer = Answer()
    checker = AsgiChecker(call, answer)
    await asgi.app(asgi.scope(call), checker.receive, checker.send)
    return answer


def measure(asgi, *calls):
    """Send requests at once; give (worst delay of a probe in seconds, answers).

    calls: each a target, (target, headers), or a dict of what a Call takes.
    """

    async def probe(delays):
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            delays.append(time.perf_counter() - start - 0.005)

    async def run():
        delays = []
        probing = asyncio.ensure_future(probe(delays))
        await asyncio.sleep(0.01)
        try:
            asked = [call if isinstance(call, tuple) else (call,) for call in calls]
            answers = await asyncio.gather(
                *[get(asgi, **one) if isinstance(one, dict) else get(asgi, one, *more) for one, *more in asked]
            )
            await asyncio.sleep(0.01)
        finally:
            probing.cancel()
        return max(delays), answers

    return asgi.loop.run_until_complete(run())


@pytest.fixture
def free(asgi):
    """Give what asserts that requests leave the loop free while each takes at least `takes` seconds."""
    asgi.loop.set_debug(False)

    def free(*calls, status=200, takes=SLOW, bound=BOUND):
        worst = None
        for _ in range(TRIES):
            start = time.perf_counter()
            delay, answers = measure(asgi, *calls)
            took = time.perf_counter() - start
            assert {answer.status for answer in answers} == {status}, answers
            assert took >= takes
            worst = delay if worst is None else min(worst, delay)
            if worst < bound:
                return answers
        raise AssertionError(f'the loop was held up for {worst:.3f} seconds')

    return free


def slowly(result=None):
    """Give a function that takes its time."""

    def call(*args, **kwargs):
        time.sleep(SLOW)
        return result(*args, **kwargs) if callable(result) else result

    return call


def basic(user, password):
    from base64 import b64encode

    return {'Authorization': 'Basic ' + b64encode(f'{user}:{password}'.encode()).decode()}


def test_the_probe_notices_what_waits_on_the_loop(asgi, free):
    class Waits:
        @cpadapter.expose
        async def index(self):
            time.sleep(SLOW)
            return 'x'

    asgi.mount(Waits())
    with pytest.raises(AssertionError, match='held up'):
        free('/')


# ---------------------------------------------------------------- built-in tools

# The tools that read, write, or call what may: each is named by a test below, which fails if it waits on the loop.
WAITING = {
    'auth_basic': 'test_basic_authentication_with_a_slow_checkpassword',
    'auth_digest': 'test_digest_authentication_with_a_file_on_a_slow_disk',
    'caching': 'test_caching_with_a_slow_store',
    'encode': 'test_what_a_plain_generator_of_an_async_page_gives',
    'etags': 'test_a_big_body_with_an_etag',
    'gzip': 'test_a_big_body_compressed',
    'health': 'test_slow_checks_of_health_and_the_log_of_what_they_find',
    'json_in': 'test_a_slow_processor_of_json',
    'log_headers': 'test_a_log_on_a_slow_disk',
    'log_hooks': 'test_a_log_on_a_slow_disk',
    'log_tracebacks': 'test_a_log_on_a_slow_disk',
    'session_auth': 'test_a_login_with_a_slow_check_of_the_password',
    'sessions': 'test_sessions_with_a_slow_store',
    'staticdir': 'test_files_on_a_slow_disk',
    'staticfile': 'test_files_on_a_slow_disk',
    'xmlrpc': 'test_a_slow_call_beside_an_async_hook',
}
# These look at the request or the response, and change it, in memory.
RECKONING = frozenset(
    (
        *('accept', 'allow', 'autovary', 'cpstats', 'decode', 'err_redirect', 'expires', 'flatten'),
        *('ignore_headers', 'json_out', 'params', 'proxy', 'redirect', 'referer', 'response_headers', 'sse'),
        'trailing_slash',
    )
)


def test_every_tool_is_known_to_wait_or_not():
    assert RECKONING.isdisjoint(WAITING)
    assert sorted({*RECKONING, *WAITING}) == sorted(cpadapter.tools.names())
    assert set(WAITING.values()) <= set(globals())


@pytest.mark.parametrize('base', [FileSession, RamSession])
@pytest.mark.parametrize('step', ['_load', '_save', '_exists'])
def test_sessions_with_a_slow_store(asgi, free, tmp_path, base, step):
    class Slow(base):
        # RamSession is asked on the loop; what is made of it, and waits, says so.
        blocking = True

    setattr(Slow, step, slowly(getattr(base, step)))
    config = {'tools.sessions.on': True, 'tools.sessions.storage_class': Slow}
    if base is FileSession:
        config['tools.sessions.storage_path'] = str(tmp_path)
    asgi.mount(Root(), '', {'/': config})
    cookie = asgi.get('/counts').headers['Set-Cookie'].partition(';')[0]
    free(('/counts', {'Cookie': cookie}))


def test_sessions_whose_lock_another_request_holds(asgi, free, tmp_path):
    class Holds(Root):
        @cpadapter.expose
        def held(self):
            time.sleep(SLOW)
            return 'x'

    config = {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': FileSession,
        'tools.sessions.storage_path': str(tmp_path),
    }
    asgi.mount(Holds(), '', {'/': config})
    cookie = {'Cookie': asgi.get('/counts').headers['Set-Cookie'].partition(';')[0]}
    free(('/held', cookie), ('/counts', cookie), ('/counts', cookie))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'big.bin'
    path.write_bytes(os.urandom(1 << 20) * 32)
    (tmp_path / 'small.txt').write_text('small')
    return tmp_path


@pytest.mark.parametrize('tool', ['staticdir', 'staticfile'])
def test_a_big_file(asgi, free, folder, tool):
    config = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder)}
    if tool == 'staticfile':
        config = {'tools.staticfile.on': True, 'tools.staticfile.filename': str(folder / 'big.bin')}
    asgi.mount(Root(), '', {'/big': config})
    target = '/big/big.bin' if tool == 'staticdir' else '/big'
    answers = free(target, target, target, takes=0)
    assert {len(answer.body) for answer in answers} == {32 << 20}


def slow_os(*calls):
    """Give the module `os` as a disk shows it that takes its time for these calls."""

    class Slow:
        def __getattr__(self, name):
            return slowly(getattr(os, name)) if name in calls else getattr(os, name)

    return Slow()


@pytest.mark.parametrize('tool', ['staticdir', 'staticfile'])
@pytest.mark.parametrize('calls', [('stat', 'lstat'), ('open',), ('fstat',), ('pread',), ('close',)])
def test_files_on_a_slow_disk(asgi, free, folder, tool, calls, monkeypatch):
    monkeypatch.setattr(disk, 'os', slow_os(*calls))
    # Kept open, a file would not be asked for again.
    monkeypatch.setattr(disk, '_keep', lambda *args: None)
    config = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder)}
    if tool == 'staticfile':
        config = {'tools.staticfile.on': True, 'tools.staticfile.filename': str(folder / 'small.txt')}
    asgi.mount(Root(), '', {'/index': config})
    free('/index/small.txt' if tool == 'staticdir' else '/index')


@pytest.mark.parametrize('step', ['get', 'put', 'delete'])
def test_caching_with_a_slow_store(asgi, free, step):
    class Slow(MemoryCache):
        pass

    setattr(Slow, step, slowly(getattr(MemoryCache, step)))
    config = {'tools.caching.on': True, 'tools.caching.cache_class': Slow}
    if step == 'delete':
        config['tools.caching.invalid_methods'] = ('GET',)
    asgi.mount(Root(), '', {'/': config})
    targets = iter(f'/?n={n}' for n in range(100))

    class Parameters(Root):
        @cpadapter.expose
        async def index(self, n):
            return n

    asgi.mount(Parameters(), '', {'/': config})
    worst = min(measure(asgi, next(targets), next(targets))[0] for _ in range(TRIES))
    assert worst < BOUND
    free('/?n=1', takes=SLOW if step != 'put' else 0)


def test_caching_what_a_plain_generator_of_an_async_page_gives(asgi, free):
    class Generates:
        @cpadapter.expose
        async def index(self):
            def body():
                yield b'a'
                time.sleep(SLOW)
                yield b'b'

            return body()

    asgi.mount(Generates(), '', {'/': {'tools.caching.on': True, 'tools.encode.on': False}})
    free(('/', {'Cache-Control': 'no-cache'}))
    assert 'Age' in asgi.get('/').headers


@pytest.mark.parametrize('encode', [True, False])
def test_what_a_plain_generator_of_an_async_page_gives(asgi, free, encode):
    class Generates:
        @cpadapter.expose
        async def index(self):
            def body():
                yield 'a' if encode else b'a'
                time.sleep(SLOW)
                cpadapter.response.headers['X-Late'] = 'yes'
                yield 'b' if encode else b'b'

            return body()

    asgi.mount(Generates(), '', {'/': {'tools.encode.on': encode}})
    (answer,) = free('/')
    assert (answer.body, answer.headers['Content-Length'], answer.headers['X-Late']) == (b'ab', '2', 'yes')


def test_a_big_body_compressed(asgi, free):
    config = {'tools.gzip.on': True, 'tools.gzip.compress_level': 6}
    asgi.mount(Root(), '', {'/': config})
    (answer,) = free(('/big', {'Accept-Encoding': 'gzip'}), takes=0.15)
    assert answer.headers['Content-Encoding'] == 'gzip'


def test_a_big_body_with_an_etag(asgi, free):
    asgi.mount(Root(), '', {'/': {'tools.etags.on': True, 'tools.etags.autotags': True}})
    free('/big', takes=0)


def test_basic_authentication_with_a_slow_checkpassword(asgi, free):
    config = {
        'tools.auth_basic.on': True,
        'tools.auth_basic.realm': 'x',
        'tools.auth_basic.checkpassword': slowly(True),
    }
    asgi.mount(Root(), '', {'/': config})
    free(*[('/', basic('ann', 'x'))] * 4)


def test_slow_checks_of_health_and_the_log_of_what_they_find(asgi, free, monkeypatch):
    asgi.mount(Root(), '', {'/': {'tools.health.on': True, 'tools.health.checks': {'one': slowly(), 'two': slowly()}}})
    free('/')

    def fails():
        raise LookupError('not foreseen')

    app = asgi.mount(Root(), '/failing', {'/': {'tools.health.on': True, 'tools.health.checks': fails}})
    monkeypatch.setattr(app.log, 'error', slowly())
    # What is logged is a change: the first time only.
    free('/failing/', status=503, takes=0)


def test_digest_authentication_with_a_slow_look_up(asgi, free):
    config = {
        'tools.auth_digest.on': True,
        'tools.auth_digest.realm': 'x',
        'tools.auth_digest.key': 'secret',
        'tools.auth_digest.get_ha1': slowly(None),
    }
    asgi.mount(Root(), '', {'/': config})
    nonce = auth_digest.synthesize_nonce('x', 'secret')
    header = (
        f'Digest username="ann", realm="x", nonce="{nonce}", uri="/", algorithm="MD5", qop=auth, nc=00000001, '
        f'cnonce="c", response="{"0" * 32}"'
    )
    free(('/', {'Authorization': header}), status=401)


def test_digest_authentication_with_a_file_on_a_slow_disk(asgi, free, tmp_path, monkeypatch):
    users = tmp_path / 'users'
    users.write_text(f'ann:x:{"0" * 32}\n')
    monkeypatch.setattr(auth_digest, 'open', slowly(open), raising=False)
    config = {
        'tools.auth_digest.on': True,
        'tools.auth_digest.realm': 'x',
        'tools.auth_digest.key': 'secret',
        'tools.auth_digest.get_ha1': auth_digest.get_ha1_file_htdigest(str(users)),
    }
    asgi.mount(Root(), '', {'/': config})
    nonce = auth_digest.synthesize_nonce('x', 'secret')
    header = (
        f'Digest username="ann", realm="x", nonce="{nonce}", uri="/", algorithm="MD5", qop=auth, nc=00000001, '
        f'cnonce="c", response="{"0" * 32}"'
    )
    free(('/', {'Authorization': header}), status=401)


def test_a_login_with_a_slow_check_of_the_password(asgi, free):
    config = {
        'tools.sessions.on': True,
        'tools.session_auth.on': True,
        'tools.session_auth.check_username_and_password': slowly('wrong'),
    }
    asgi.mount(Root(), '', {'/': config})
    form = {'username': 'ann', 'password': 'x', 'from_page': '/'}
    free({'method': 'POST', 'target': '/do_login', 'form': form}, status=401)


def test_a_slow_processor_of_json(asgi, free):
    asgi.mount(Root(), '', {'/': {'tools.json_in.on': True, 'tools.json_in.processor': slowly()}})
    free({'method': 'POST', 'target': '/', 'json': [1]})


def test_a_slow_call_beside_an_async_hook(asgi, free):
    async def hook():
        await asyncio.sleep(0)

    class Calls(xmlrpcutil.XMLRPCController):
        @cpadapter.expose
        def slow(self):
            time.sleep(SLOW)
            return 1

    asgi.mount(Calls(), '', {'/': {'hooks.on_start_resource': hook}})
    body = xmlrpc.client.dumps((), 'slow').encode()
    (answer,) = free({'method': 'POST', 'target': '/', 'body': body, 'headers': {'Content-Type': 'text/xml'}})
    assert b'<int>1</int>' in answer.body


def test_a_login_form_with_a_slow_step(asgi, free):
    config = {
        'tools.sessions.on': True,
        'tools.session_auth.on': True,
        'tools.session_auth.anonymous': slowly('guest'),
    }
    asgi.mount(Root(), '', {'/': config})
    free('/')


def test_json_parameters_and_other_tools_that_only_reckon(asgi, free):
    config = {
        **{f'tools.{name}.on': True for name in ('json_out', 'autovary', 'cpstats', 'expires', 'flatten', 'params')},
        **{f'tools.{name}.on': True for name in ('allow', 'response_headers', 'proxy', 'ignore_headers', 'log_hooks')},
    }
    asgi.mount(Root(), '', {'/': config})
    free(*['/'] * 50, takes=0)


def test_the_page_of_statistics(asgi, free):
    from cpadapter.lib.cpstats import StatsPage

    class Counted(Root):
        stats = StatsPage()

    asgi.mount(Counted(), '', {'/': {'tools.cpstats.on': True}})
    for n in range(50):
        asgi.get('/' if n % 2 else '/fails')
    for target in ('/stats/', '/stats/data', '/stats/metrics'):
        free(target, takes=0)


@pytest.mark.parametrize(
    ('tool', 'target'), [('log_tracebacks', '/fails'), ('log_headers', '/fails'), ('log_hooks', '/')]
)
def test_a_log_on_a_slow_disk(asgi, free, tool, target):
    others = {f'tools.{name}.on': False for name in ('log_tracebacks', 'log_headers')}
    asgi.mount(Root(), '', {'/': {**others, f'tools.{tool}.on': True}})
    handler = logging.Handler()
    handler.emit = slowly()
    # The engine has its say once, before any request.
    handler.addFilter(lambda record: 'HTTP' in record.getMessage())
    asgi.error_log.addHandler(handler)
    try:
        free(target, status=500 if target == '/fails' else 200)
    finally:
        asgi.error_log.removeHandler(handler)


class Measured:
    """Stands for coverage's numbers, of no file at all, which take their time."""

    def get_data(self):
        time.sleep(SLOW)
        return self

    def measured_files(self):
        return []


@pytest.mark.parametrize('page', ['profiler', 'covercp'])
def test_pages_of_reports_on_a_slow_disk_beside_an_async_hook(asgi, free, page, tmp_path, monkeypatch):
    async def hook():
        await asyncio.sleep(0)

    class More(Root):
        pass

    if page == 'profiler':
        More.reports = profiler.Profiler(str(tmp_path))
        monkeypatch.setattr(profiler, 'os', slow_os('listdir'))
        target, status = '/reports/', 200
    else:
        More.reports = covercp.CoverStats(Measured(), str(tmp_path))
        target, status = '/reports/report?name=x.py', 404
    asgi.mount(More(), '', {'/': {'hooks.on_start_resource': hook}})
    free(target, status=status)


def test_logs_written_to_files(asgi, free, tmp_path):
    app = asgi.mount(Root())
    app.log.access_file = str(tmp_path / 'access.log')
    app.log.error_file = str(tmp_path / 'error.log')
    try:
        free(*['/fails'] * 30, status=500, takes=0)
    finally:
        app.log.access_file = app.log.error_file = ''
    assert (tmp_path / 'access.log').read_text().count('\n') >= 30
    assert (tmp_path / 'error.log').read_text().count('LookupError') >= 30


# ---------------------------------------------------------------- hooks and tools of one's own


@pytest.mark.parametrize(
    ('point', 'target', 'status'),
    [
        *((point, '/', 200) for point in ('on_start_resource', 'before_request_body', 'before_handler')),
        *((point, '/', 200) for point in ('before_finalize', 'on_end_resource', 'on_end_request')),
        *((point, '/fails', 500) for point in ('before_error_response', 'after_error_response')),
        ('before_finalize', '/refuses', 402),
    ],
)
@pytest.mark.parametrize('attached', [False, True])
def test_a_slow_plain_hook(asgi, free, point, target, status, attached):
    call = slowly()
    config = {f'hooks.{point}': call}
    if attached:
        if point == 'on_start_resource':
            point = 'before_handler'
        config = {'hooks.on_start_resource': lambda: cpadapter.request.hooks.attach(point, call)}
    asgi.mount(Root(), '', {'/': config})
    free(target, status=status)


def test_a_slow_plain_error_tool(asgi, free):
    asgi.site.tools.answer = ErrorTool(slowly(lambda: setattr(cpadapter.response, 'body', b'sorry')))
    asgi.mount(Root(), '', {'/': {'tools.answer.on': True}})
    free('/fails')


def test_a_slow_plain_handler_tool(asgi, free):
    def serve():
        time.sleep(SLOW)
        cpadapter.response.body = io.BytesIO(b'served')
        return True

    tool = asgi.site.tools.serve = HandlerTool(serve)

    class More(Root):
        served = tool.handler()

    asgi.mount(More(), '', {'/fails': {'tools.serve.on': True}})
    free('/fails', '/served')


def test_a_slow_plain_tool_of_the_older_kind(asgi, free):
    class Older(Tool):
        def _setup(self):
            super()._setup()

    asgi.site.tools.older = Older('before_handler', slowly())
    asgi.mount(Root(), '', {'/': {'tools.older.on': True}})
    free('/')


@pytest.mark.parametrize('kind', ['hook', 'tool', 'wrapper', 'wrappers', 'older tool', 'attached hook'])
def test_a_slow_plain_page_beside_async_extensions(asgi, free, kind):
    async def extension():
        await asyncio.sleep(0)

    async def wrapper(inner, *args, **kwargs):
        return await inner(*args, **kwargs)

    class Older(Tool):
        def _setup(self):
            super()._setup()

    tools = asgi.site.tools
    tools.one, tools.two = Tool('before_handler', extension), HandlerWrapperTool(wrapper)
    tools.three = HandlerWrapperTool(lambda inner, *args, **kwargs: inner(*args, **kwargs), priority=40)
    tools.four = Older('before_handler', extension)
    config = {
        'hook': {'hooks.before_finalize': extension},
        'tool': {'tools.one.on': True},
        'wrapper': {'tools.two.on': True},
        'wrappers': {'tools.two.on': True, 'tools.three.on': True},
        'older tool': {'tools.four.on': True},
        'attached hook': {
            'hooks.on_start_resource': lambda: cpadapter.request.hooks.attach('before_finalize', extension)
        },
    }[kind]
    asgi.mount(Root(), '', {'/': config})
    free('/plain', '/plain')


def test_hooks_of_errors_see_the_exception_from_their_thread(asgi, free):
    seen = []

    def look():
        time.sleep(SLOW)
        seen.append(repr(sys.exc_info()[1]))

    asgi.mount(Root(), '', {'/': {'hooks.before_error_response': look}})
    free('/fails', status=500)
    assert set(seen) == {"LookupError('not foreseen')"}
