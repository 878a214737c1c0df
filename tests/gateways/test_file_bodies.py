"""Bodies that are files: handed to servers that send files themselves, else sent in chunks; closed once in any case."""

# The framework closes what page handlers open.
# ruff: noqa: SIM115

from __future__ import annotations

import asyncio
import contextvars
import gzip
import http.client
import io
import os
import tempfile
import threading
from wsgiref.util import FileWrapper

import pytest
from live import Live, command, free_port

import cpadapter
from cpadapter.gateways import bridge
from cpadapter.lib import static
from cpadapter.protocol.files import CHUNK, FileBody, PartsBody, make_file_body

LARGE = bytes(range(256)) * 1024  # 256 KiB
NOTE = contextvars.ContextVar('note', default=None)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / 'large.bin'
    file.write_bytes(LARGE)
    return str(file)


class Wrapper:
    """A server's wrapper that says what it was given; it sends as one that only iterates does."""

    made = []

    def __init__(self, filelike, size=8192):
        self.filelike = filelike
        self.size = size
        self.close = filelike.close
        type(self).made.append(self)

    def __iter__(self):
        return iter(lambda: self.filelike.read(self.size), b'')


def wrapper(module='server.of.ones.own'):
    return type('FileWrapper', (Wrapper,), {'made': [], '__module__': module})


def mount(client, func, **config):
    class Root:
        page = staticmethod(func)

    func.exposed = True
    func._cp_config = {'response.headers.Content-Type': 'application/octet-stream', **config}
    client.mount(Root())


def ask(client, kind, headers=(), method='GET'):
    return client.request(method, '/page', environ={'wsgi.file_wrapper': kind}, headers=dict(headers), validated=False)


# --- WSGI -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('opened', [False, True])
def test_a_whole_file_goes_to_the_servers_wrapper(wsgi, path, opened):
    mount(wsgi, lambda: open(path, 'rb') if opened else static.serve_file(path))
    kind = wrapper()
    answer = ask(wsgi, kind)
    assert answer.body == LARGE
    assert answer.headers['Content-Length'] == str(len(LARGE))
    (made,) = kind.made
    with pytest.raises(OSError):
        os.fstat(made.filelike.fileno())


def test_the_wrapper_itself_is_what_the_server_gets(wsgi, path):
    mount(wsgi, lambda: static.serve_file(path))
    call = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/page', 'SERVER_PROTOCOL': 'HTTP/1.1', 'HTTP_HOST': 'x'}
    kind = wrapper()
    result = wsgi.app({**call, 'wsgi.file_wrapper': kind}, lambda status, headers, exc_info=None: None)
    assert type(result) is kind
    descriptor = result.filelike.fileno()
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    assert os.fstat(descriptor).st_size == len(LARGE)
    result.close()
    result.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    ('module', 'wrapped'),
    [('gunicorn.http.wsgi', True), ('waitress.buffers', True), ('server.of.ones.own', False)],
)
def test_a_part_goes_to_wrappers_that_keep_to_content_length(wsgi, path, module, wrapped):
    mount(wsgi, lambda: static.serve_file(path))
    kind = wrapper(module)
    answer = ask(wsgi, kind, {'Range': 'bytes=1000-200999'})
    assert (answer.status, answer.body) == (206, LARGE[1000:201_000])
    assert bool(kind.made) == wrapped
    if wrapped:
        file = kind.made[0].filelike
        assert file.seek(0) == 1000
        assert file.seek(0, 2) == 201_000
        assert file.seek(-10, 1) == 200_990


def test_a_file_that_was_read_from_is_sent_from_there(wsgi, path):
    def page():
        file = open(path, 'rb')
        file.read(10)
        return file

    mount(wsgi, page)
    for kind, wrapped in ((wrapper('gunicorn.http.wsgi'), True), (wrapper(), False)):
        answer = ask(wsgi, kind)
        assert (answer.body, bool(kind.made)) == (LARGE[10:], wrapped)
        assert answer.headers['Content-Length'] == str(len(LARGE) - 10)


def test_no_wrapper_where_bytes_are_needed_or_few_or_none(wsgi, path, tmp_path):
    (tmp_path / 'small.bin').write_bytes(b'small')
    pages = {
        'head': (lambda: static.serve_file(path), {}, 'HEAD'),
        'gzip': (lambda: static.serve_file(path), {'tools.gzip.on': True, 'tools.gzip.mime_types': ['*/*']}, 'GET'),
        'small': (lambda: static.serve_file(str(tmp_path / 'small.bin')), {}, 'GET'),
        'bytes': (lambda: io.BytesIO(LARGE), {}, 'GET'),
        'text': (lambda: open(path, encoding='latin-1', newline=''), {'tools.encode.text_only': False}, 'GET'),
    }
    for name, (func, config, method) in pages.items():
        kind = wrapper('gunicorn.http.wsgi')
        mount(wsgi, func, **config)
        answer = ask(wsgi, kind, {'Accept-Encoding': 'gzip'}, method)
        assert answer.status == 200, name
        assert not kind.made, name
        wsgi.site.tree.apps.clear()


def test_what_only_reads_from_a_file_is_read(wsgi, tmp_path):
    packed = tmp_path / 'a.gz'
    packed.write_bytes(gzip.compress(LARGE * 2))
    mount(wsgi, lambda: gzip.open(packed))
    kind = wrapper('gunicorn.http.wsgi')
    assert ask(wsgi, kind).body == LARGE * 2
    assert not kind.made


def test_a_length_of_the_page_handlers_own_is_not_the_servers_to_keep(wsgi, path):
    def page():
        body = static.serve_file(path)
        cpadapter.response.headers['Content-Length'] = '5'
        return body

    mount(wsgi, page)
    kind = wrapper('gunicorn.http.wsgi')
    answer = ask(wsgi, kind)
    assert not kind.made
    assert answer.status == 500


def test_close_ends_the_request_once_in_its_context(wsgi, path):
    seen = []

    def ended():
        seen.append((NOTE.get(), cpadapter.request.path_info, opened[0].closed))

    opened = []

    def page():
        NOTE.set('mine')
        opened.append(open(path, 'rb'))
        return opened[0]

    mount(wsgi, page, **{'hooks.on_end_request': ended})
    kind = wrapper('gunicorn.http.wsgi')
    answer = wsgi.get('/page', environ={'wsgi.file_wrapper': kind}, validated=False, stop_after=1)
    kind.made[0].filelike.close()
    assert answer.left
    assert seen == [('mine', '/page', True)]


def test_waitress_is_given_no_file_where_hooks_wait_for_the_end(wsgi, path):
    mount(wsgi, lambda: static.serve_file(path), **{'hooks.on_end_request': lambda: None})
    kind = wrapper('waitress.buffers')
    assert ask(wsgi, kind).body == LARGE
    assert not kind.made


@pytest.mark.parametrize('reads', [True, False])
def test_a_wrapped_file_that_shrinks_raises_and_is_logged(wsgi, path, reads):
    def page():
        body = static.serve_file(path)
        os.truncate(path, 100)
        return body

    mount(wsgi, page)
    kind = wrapper('gunicorn.http.wsgi')
    if reads:
        answer = ask(wsgi, kind)
        assert isinstance(answer.error, OSError)
        assert answer.body == LARGE[:100]
    else:
        call = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/page', 'SERVER_PROTOCOL': 'HTTP/1.1', 'HTTP_HOST': 'x'}
        result = wsgi.app({**call, 'wsgi.file_wrapper': kind}, lambda status, headers, exc_info=None: None)
        with pytest.raises(OSError, match='shorter'):
            result.close()
    assert sum('become shorter' in line for line in wsgi.errors) == 1
    with pytest.raises(OSError):
        os.fstat(kind.made[0].filelike.fileno())


def test_a_wrapped_file_that_grows_is_cut(wsgi, path):
    def page():
        body = static.serve_file(path)
        with open(path, 'ab') as file:
            file.write(b'more')
        return body

    mount(wsgi, page)
    for kind in (wrapper('gunicorn.http.wsgi'), wrapper()):
        answer = ask(wsgi, kind)
        assert len(answer.body) == int(answer.headers['Content-Length'])


def test_the_standard_librarys_wrapper_serves(wsgi, path):
    mount(wsgi, lambda: static.serve_file(path))
    assert ask(wsgi, FileWrapper).body == LARGE


# --- ASGI -----------------------------------------------------------------------------------------------------


def drive(client, extensions, headers=(), method='GET', sending=None):
    """Serve one request by a server that offers these extensions; give its messages."""
    messages = []
    scope = {
        'type': 'http',
        'asgi': {'version': '3.0', 'spec_version': '2.3'},
        'http_version': '1.1',
        'method': method,
        'path': '/page',
        'raw_path': b'/page',
        'root_path': '',
        'query_string': b'',
        'headers': [(b'host', b'x'), *((n.lower().encode(), v.encode()) for n, v in dict(headers).items())],
        'extensions': {name: {} for name in extensions},
    }

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        if message['type'] == 'http.response.zerocopysend':
            file = message['file']
            data = os.pread(file.fileno(), message['count'], message['offset'])
            message = {**message, 'data': data}
        messages.append(message)
        if sending is not None:
            sending(message)

    asyncio.run(client.app(scope, receive, send))
    return messages


def test_a_served_file_is_sent_by_its_path(asgi, path):
    mount(asgi, lambda: static.serve_file(path))
    head, body = drive(asgi, ['http.response.pathsend'])
    assert dict(head['headers'])[b'content-length'] == str(len(LARGE)).encode()
    assert body == {'type': 'http.response.pathsend', 'path': path}


@pytest.mark.parametrize('case', ['part', 'handler', 'hook', 'head', 'grown'])
def test_no_path_is_sent_where_it_would_not_do(asgi, path, case):
    def page():
        if case == 'handler':
            return open(path, 'rb')
        body = static.serve_file(path)
        if case == 'grown':
            with open(path, 'ab') as file:
                file.write(b'more')
        return body

    mount(asgi, page, **({'hooks.on_end_request': lambda: None} if case == 'hook' else {}))
    headers = {'Range': 'bytes=1-99999'} if case == 'part' else {}
    messages = drive(asgi, ['http.response.pathsend'], headers, 'HEAD' if case == 'head' else 'GET')
    assert {message['type'] for message in messages} == {'http.response.start', 'http.response.body'}
    sent = b''.join(message.get('body', b'') for message in messages)
    assert sent == (b'' if case == 'head' else LARGE[1:100_000] if case == 'part' else LARGE)


@pytest.mark.parametrize('case', ['whole', 'part', 'handler', 'hook'])
def test_any_run_of_a_file_is_sent_by_its_descriptor(asgi, path, case):
    order = []

    def page():
        if case == 'handler':
            file = open(path, 'rb')
            file.read(7)
            return file
        return static.serve_file(path)

    mount(asgi, page, **({'hooks.on_end_request': lambda: order.append('ended')} if case == 'hook' else {}))
    headers = {'Range': 'bytes=1-99999'} if case == 'part' else {}
    _, body = drive(
        asgi,
        ['http.response.pathsend', 'http.response.zerocopysend'],
        headers,
        sending=lambda message: order.append('sent') if 'data' in message else None,
    )
    assert body['data'] == {'part': LARGE[1:100_000], 'handler': LARGE[7:]}.get(case, LARGE)
    assert body['file'].closed
    assert order == (['sent', 'ended'] if case == 'hook' else ['sent'])


def test_a_small_file_crosses_to_a_thread_once_and_is_one_message(asgi, tmp_path, monkeypatch):
    (tmp_path / 'a.txt').write_bytes(b'small')
    crossings = []
    submit = bridge.WorkerPool.submit

    def counted(self, *args):
        crossings.append(threading.current_thread())
        return submit(self, *args)

    monkeypatch.setattr(bridge.WorkerPool, 'submit', counted)
    asgi.mount(None, '', {'/page': {'tools.staticfile.on': True, 'tools.staticfile.filename': str(tmp_path / 'a.txt')}})
    messages = drive(asgi, [])
    assert [message.get('body') for message in messages] == [None, b'small']
    assert len(crossings) == 1


def test_a_file_is_never_read_on_the_event_loop(asgi, path, monkeypatch):
    threads = set()
    read = FileBody.__next__

    def noted(self):
        threads.add(threading.current_thread())
        return read(self)

    monkeypatch.setattr(FileBody, '__next__', noted)

    async def page():
        return open(path, 'rb')

    for func in (page, lambda: open(path, 'rb')):
        mount(asgi, func)
        messages = drive(asgi, [])
        assert b''.join(message.get('body', b'') for message in messages) == LARGE
        asgi.site.tree.apps.clear()
    assert threads
    assert threading.main_thread() not in threads


# --- either ---------------------------------------------------------------------------------------------------


def test_a_file_of_a_page_handlers_has_its_length_and_is_not_held_in_memory(client, handler, path):
    opened = []

    def page():
        opened.append(open(path, 'rb'))
        return opened[-1]

    mount(client, handler.paint(page))
    answer = client.get('/page')
    assert answer.body == LARGE
    assert answer.headers['Content-Length'] == str(len(LARGE))
    assert max(map(len, answer.chunks)) <= CHUNK
    assert opened[-1].closed
    head = client.head('/page')
    assert head.headers['Content-Length'] == str(len(LARGE))
    assert opened[-1].closed
    client.get('/page', stop_after=1)
    assert opened[-1].closed


def test_only_real_files_have_a_run_of_bytes(tmp_path, path):
    with tempfile.SpooledTemporaryFile() as spooled, io.BytesIO(b'x') as memory, open(path) as text:
        assert [make_file_body(file) for file in (spooled, memory, text)] == [None, None, None]
    with open(path, 'rb') as file:
        body = make_file_body(file)
        assert body.run().length == len(LARGE)
        next(body)
        assert body.run() is None
        assert PartsBody(file, [(0, 1, b'')], b'').run() is None
    assert make_file_body(file) is None
    with open(path, 'rb', buffering=0) as raw:
        assert make_file_body(raw).run().is_whole()
    with open(path, 'r+b') as both:
        both.write(b'12345')
        assert b''.join(make_file_body(both)) == LARGE[5:]
    with open(tmp_path / 'w', 'wb', buffering=0) as written:
        assert make_file_body(written) is None


# --- on real servers ------------------------------------------------------------------------------------------

APPLICATION = """
import collections
import os
import threading

import cpadapter
from cpadapter.lib.static import serve_file
from cpadapter.protocol import files

HERE = os.path.dirname(os.path.abspath(__file__))
told = collections.Counter()


def counted(cls, name, word):
    inner = getattr(cls, name)

    def call(*args):
        told[word] += 1
        return inner(*args)

    setattr(cls, name, call)


counted(files.FileBody, '__next__', 'read')
counted(files.WrappedFile, '__init__', 'wrapped')
counted(files.WrappedFile, 'read', 'wrapped read')


class Root:
    @cpadapter.expose
    def told(self):
        words = ', '.join(f'{word}={count}' for word, count in sorted(told.items()))
        told.clear()
        return words.encode()

    @cpadapter.expose
    def handler(self):
        return open(os.path.join(HERE, 'large.bin'), 'rb')

    @cpadapter.expose
    def hooked(self):
        return serve_file(os.path.join(HERE, 'large.bin'))

    hooked._cp_config = {'hooks.on_end_request': lambda: told.update(['ended'])}

    @cpadapter.expose
    def changing(self, by):
        path = os.path.join(HERE, f'{threading.get_ident()}.bin')
        with open(path, 'wb') as file:
            file.write(bytes(2_000_000))
        body = serve_file(path)
        os.truncate(path, 2_000_000 + int(by))
        return body


application = cpadapter.Application(Root(), '', {
    '/': {'tools.encode.on': False},
    '/s': {'tools.staticdir.on': True, 'tools.staticdir.dir': HERE},
})
"""

# Server -> what sends a whole file, a part, one of a page handler's, one with an on_end_request hook.
MEANS = {
    'gunicorn': 'wrapped wrapped wrapped wrapped',
    'gunicorn-gthread': 'wrapped wrapped wrapped wrapped',
    'waitress': 'wrapped wrapped wrapped read',
    'wsgiref': 'wrapped read wrapped wrapped',
    'werkzeug': 'read read read read',
    'cheroot': 'read read read read',
    'granian-wsgi': 'read read read read',
    'gunicorn-asgi': 'read read read read',
    'uvicorn': 'read read read read',
    'hypercorn': 'read read read read',
    'granian-asgi': 'nothing read read read',
}


@pytest.mark.live
@pytest.mark.parametrize('name', MEANS)
def test_servers_send_files_by_the_means_they_have(name, tmp_path):
    pytest.importorskip(name.partition('-')[0])
    (tmp_path / 'filesapp.py').write_text(APPLICATION)
    content = bytes(range(256)) * 12_000  # 3 MB
    (tmp_path / 'large.bin').write_bytes(content)
    port = free_port()
    live = Live(command(name, 'filesapp:application', port), port, tmp_path, tmp_path / 'output.txt')
    try:
        live.ready()
        used = []
        for path, headers, want in (
            ('/s/large.bin', {}, content),
            ('/s/large.bin', {'Range': 'bytes=1000-2000999'}, content[1000:2_001_000]),
            ('/handler', {}, content),
            ('/hooked', {}, content),
        ):
            live.get('/told')
            answer = live.get(path, headers=headers)
            assert answer.body == want
            assert answer.headers['content-length'] == str(len(want))
            said = live.get('/told').text
            used.append('wrapped' if 'wrapped=1' in said else 'read' if 'read=' in said else 'nothing')
        assert ' '.join(used) == MEANS[name]
        grown = live.get('/changing?by=1000000')
        assert grown.body == bytes(2_000_000)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            live.get('/changing?by=-1900000')
        # One connection after the other stays in step.
        assert live.get('/s/large.bin', headers={'Range': 'bytes=0-9'}).body == content[:10]
    finally:
        live.kill()
