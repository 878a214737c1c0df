"""Server-sent events: their bytes, channels, the tool and the response under both protocols."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpadapter
from cpadapter.lib import sse

TYPE = 'text/event-stream;charset=utf-8'


def parse(data: bytes):
    """Read a stream as a browser does: (type, data, last event id) of each event, and the last retry told.

    SPEC: WHATWG HTML, "Interpreting an event stream".
    """
    text = data.decode('utf-8').replace('\r\n', '\n').replace('\r', '\n')
    events, lines, event, last_id, retry = [], [], '', '', None
    for line in text.split('\n')[:-1]:
        if not line:
            if lines:
                events.append((event or 'message', '\n'.join(lines), last_id))
            lines, event = [], ''
            continue
        name, _, value = line.partition(':')
        value = value[1:] if value[:1] == ' ' else value
        if name == 'data':
            lines.append(value)
        elif name == 'event':
            event = value
        elif name == 'id' and '\0' not in value:
            last_id = value
        elif name == 'retry' and value.isascii() and value.isdigit():
            retry = int(value)
    return events, retry


texts = st.text(st.characters(exclude_categories=['Cs']))
words = texts.filter(lambda text: not set(text) & set('\r\n\0'))


@given(texts, words, words, st.integers(0, 10**9), texts)
def test_a_browser_reads_what_was_written(data, event, id, retry, comment):
    made = sse.ServerSentEvent(data, event, id, retry, comment)
    expected = data.replace('\r\n', '\n').replace('\r', '\n')
    assert parse(bytes(made)) == ([(event or 'message', expected, id)], retry)


@pytest.mark.parametrize(
    ('data', 'sent'),
    [
        ('', b'data: \n\n'),
        ('a\r\nb\rc\nd\u2028e', 'data: a\ndata: b\ndata: c\ndata: d\u2028e\n\n'.encode()),
        (b'\xc3\xa4\xff', 'data: ä\ufffd\n\n'.encode()),
        ('\ud800', b'data: ?\n\n'),
        ({'a': [1, 'x\ny']}, b'data: {"a": [1, "x\\ny"]}\n\n'),
        (0, b'data: 0\n\n'),
        (None, b'\n'),
    ],
)
def test_data_is_lines_or_json(data, sent):
    assert bytes(sse.ServerSentEvent(data)) == sent


@pytest.mark.parametrize(
    'fields', [{'event': 'a\nb'}, {'event': 'a\r'}, {'id': 'a\n'}, {'id': 'a\0'}, {'retry': -1}, {'retry': '5'}]
)
def test_fields_that_would_be_read_as_others_are_refused(fields):
    with pytest.raises(ValueError):
        sse.ServerSentEvent('x', **fields)


def test_an_event_is_not_changed():
    with pytest.raises(AttributeError, match='make another'):
        sse.ServerSentEvent('x').data = 'y'


# --- channels -------------------------------------------------------------------------------------------------


def data_of(events):
    return [event.data for event in events]


def test_a_closed_channel_ends_its_subscriptions_after_what_is_there():
    channel = sse.Channel()
    one, two = channel.subscribe(), channel.subscribe()
    channel.publish('a')
    channel.publish({'b': 1}, event='kind')
    channel.close()
    assert data_of(one) == data_of(two) == ['a', {'b': 1}]
    assert data_of(channel.subscribe()) == []
    with pytest.raises(RuntimeError, match='closed'):
        channel.publish('c')


@pytest.mark.parametrize(
    ('seen', 'rest'), [(4, [5]), (3, [4, 5]), (2, [3, 4, 5]), (1, [3, 4, 5]), (5, []), (None, []), ('other', [3, 4, 5])]
)
def test_a_subscriber_that_comes_back_resumes_as_far_as_history_has_it(seen, rest):
    channel = sse.Channel(history=3, queue=10)
    ids = {n: channel.publish(n) for n in range(1, 6)}
    assert len(set(ids.values())) == 5
    subscription = channel.subscribe(ids.get(seen, seen))
    channel.close()
    assert data_of(subscription) == rest


def test_ids_of_another_channel_are_not_taken_for_its_own():
    first, second = sse.Channel(), sse.Channel()
    assert first.publish('a') != second.publish('a')


def test_a_subscriber_that_is_left_behind_ends():
    channel = sse.Channel(history=0, queue=3)
    slow, fast = channel.subscribe(), channel.subscribe()
    for n in range(3):
        channel.publish(n)
    assert next(fast).data == 0
    channel.publish(3)
    with pytest.raises(StopIteration):
        next(slow)
    assert slow.dropped
    assert [next(fast).data for _ in range(3)] == [1, 2, 3]
    assert not fast.dropped


def test_events_reach_threads_and_loops_from_any_thread_and_nobody_is_left():
    channel = sse.Channel(queue=1000)
    got = {'thread': [], 0: [], 1: []}

    def read():
        got['thread'] = data_of(channel.subscribe())

    async def aread(name):
        got[name] = [event.data async for event in channel.subscribe()]

    def loop():
        async def both():
            await asyncio.gather(aread(0), aread(1))

        asyncio.run(both())

    threads = [threading.Thread(target=read), threading.Thread(target=loop)]
    for thread in threads:
        thread.start()
    deadline = threading.Event()
    while channel.waiting < 3:
        assert not deadline.wait(0.01)
    writers = [threading.Thread(target=lambda: [channel.publish(n) for n in range(50)]) for _ in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    channel.close()
    for thread in threads:
        thread.join(10)
    assert got['thread'] == got[0] == got[1]
    assert sorted(got[0]) == sorted(list(range(50)) * 3)
    assert channel.waiting == 0


def test_a_cancelled_subscriber_leaves_nothing_behind():
    channel = sse.Channel()

    async def main():
        task = asyncio.ensure_future(channel.subscribe().__anext__())
        await asyncio.sleep(0)
        assert channel.waiting == 1
        task.cancel()
        await asyncio.wait((task,))
        assert channel.waiting == 0

    asyncio.run(main())


# --- the tool and the response --------------------------------------------------------------------------------


@pytest.fixture
def closed():
    return []


@pytest.fixture
def pages(client, handler, closed):
    channel = sse.Channel()
    channel.publish('old', id='1')

    def plain():
        try:
            yield 'one'
            yield {'n': 2}
            yield None
            yield sse.ServerSentEvent('three', 'kind', '3')
        finally:
            closed.append(cpadapter.request.path_info)

    async def later():
        try:
            yield 'one'
            yield {'n': 2}
            yield None
            await asyncio.sleep(0)
            yield sse.ServerSentEvent('three', 'kind', '3')
        finally:
            closed.append(cpadapter.request.path_info)

    class Root:
        @handler
        def plain(self):
            return plain()

        @handler
        def later(self):
            return later()

        @handler
        def listed(self):
            return ['a', 'b']

        @handler
        def single(self):
            return {'a': 1}

        @handler
        def nothing(self):
            return None

        @handler
        def channel(self):
            channel.publish('new', id='2')
            channel.close()
            return channel.subscribe(sse.last_event_id())

        @handler
        def asked(self):
            return repr(sse.last_event_id())

        @handler
        def missing(self):
            def body():
                raise cpadapter.NotFound()
                yield

            return body()

        @handler
        @cpadapter.config(**{'tools.sse.on': False})
        def response(self):
            return sse.EventStream(['a', 'b'], retry=7)

    config = {
        'tools.sse.on': True,
        'tools.sse.retry': 2000,
        'tools.gzip.on': True,
        'tools.gzip.mime_types': ['*/*'],
        'tools.etags.on': True,
        'tools.etags.autotags': True,
        'tools.caching.on': True,
    }
    return client.mount(Root(), config={'/': config})


@pytest.mark.parametrize('path', ['/plain', '/later'])
def test_what_a_generator_yields_is_sent_event_by_event(client, pages, closed, path):
    for _ in range(2):
        answer = client.get(path, headers={'Accept-Encoding': 'gzip', 'Accept-Charset': 'utf-16'})
        assert answer.headers['Content-Type'] == TYPE
        assert answer.headers['Cache-Control'] == 'no-store, no-transform'
        assert answer.headers['X-Accel-Buffering'] == 'no'
        for name in ('Content-Length', 'Content-Encoding', 'ETag'):
            assert name not in answer.headers
        assert answer.chunks == [
            b'retry: 2000\n\ndata: one\n\n',
            b'data: {"n": 2}\n\n',
            b':\n\n',
            b'id: 3\nevent: kind\ndata: three\n\n',
        ]
    assert closed == [path, path]
    assert not client.errors


@pytest.mark.parametrize(
    ('path', 'events'),
    [
        ('/listed', ['a', 'b']),
        ('/single', ['{"a": 1}']),
        ('/nothing', []),
        ('/channel', []),
        ('/response', ['a', 'b']),
    ],
)
def test_other_things_are_streams_too(client, pages, path, events):
    answer = client.get(path)
    assert (answer.status, answer.headers['Content-Type']) == (200, TYPE)
    assert [event[1] for event in parse(answer.body)[0]] == events


def test_a_client_that_comes_back_resumes(client, pages):
    answer = client.get('/channel', headers={'Last-Event-ID': '1'})
    assert parse(answer.body)[0] == [('message', 'new', '2')]


@pytest.mark.parametrize(
    ('sent', 'seen'), [('a-1', 'a-1'), ('\xc3\xa4', 'ä'), ('\xe4', 'ä'), ('a\tb', None), ('', ''), (None, None)]
)
def test_last_event_id_is_text_without_control_characters(client, pages, sent, seen):
    answer = client.get('/asked', headers={} if sent is None else {'Last-Event-ID': sent})
    assert parse(answer.body)[0] == [('message', repr(seen), '')]


def test_a_head_request_has_the_head_alone(client, pages):
    answer = client.head('/later')
    assert (answer.status, answer.headers['Content-Type'], answer.body) == (200, TYPE, b'')


def test_an_error_before_the_first_event_has_its_page(client, pages):
    answer = client.get('/missing')
    assert (answer.status, answer.headers['Content-Type'][:9]) == (404, 'text/html')


@pytest.mark.parametrize('path', ['/plain', '/later'])
def test_a_client_that_leaves_closes_the_generator(client, pages, closed, path):
    assert client.get(path, stop_after=1).left
    assert closed == [path]
    assert not client.errors


@pytest.mark.parametrize('source', ['generator', 'subscription'])
def test_while_nothing_comes_a_comment_is_sent(client, handler, source):
    channel = sse.Channel()

    async def silent():
        await asyncio.sleep(60)
        yield 'never'

    class Root:
        @handler
        def index(self):
            return sse.EventStream(silent() if source == 'generator' else channel.subscribe(), ping=0.01, retry=5)

    client.mount(Root())
    answer = client.get('/', stop_after=2)
    assert answer.chunks[:2] == [b'retry: 5\n\n:\n\n', b':\n\n']
    assert channel.waiting == 0


@pytest.mark.parametrize('source', ['generator', 'subscription', 'plain'])
def test_an_engine_that_stops_ends_the_streams_cleanly(client, handler, source):
    channel = sse.Channel()
    closed = []

    async def silent():
        try:
            await asyncio.sleep(60)
            yield 'never'
        finally:
            closed.append('generator')

    def plain():
        try:
            yield from channel.subscribe()
        finally:
            closed.append('plain')

    sources = {'generator': silent, 'subscription': channel.subscribe, 'plain': plain}

    class Root:
        @handler
        def index(self):
            threading.Timer(0.1, client.site.engine.stop).start()
            return sse.EventStream(sources[source]())

    client.mount(Root())
    answer = client.get('/')
    assert (answer.status, answer.error, parse(answer.body)[0]) == (200, None, [])
    assert closed == ([] if source == 'subscription' else [source])


@pytest.mark.parametrize('colour', ['plain', 'later'])
def test_request_and_response_can_be_looked_at_while_it_is_sent(client, handler, colour):
    def look(number):
        return [number, cpadapter.request.params['a'], bool(cpadapter.response.headers['Content-Type'])]

    def plain():
        yield look(1)
        yield look(2)

    async def later():
        yield look(1)
        yield look(2)

    class Root:
        @handler
        @cpadapter.tools.sse()
        def index(self, a):
            return {'plain': plain, 'later': later}[colour]()

    client.mount(Root())
    assert [data for _, data, _ in parse(client.get('/?a=x').body)[0]] == ['[1, "x", true]', '[2, "x", true]']
    assert not client.errors


@pytest.mark.parametrize('colour', ['plain', 'later'])
def test_an_error_after_the_first_event_is_logged_and_breaks_the_stream(client, handler, colour):
    def plain():
        yield 'one'
        raise ValueError('from the source')

    async def later():
        yield 'one'
        raise ValueError('from the source')

    class Root:
        @handler
        @cpadapter.tools.sse()
        def index(self):
            return {'plain': plain, 'later': later}[colour]()

    client.mount(Root())
    answer = client.get('/')
    assert answer.chunks == [b'data: one\n\n']
    assert isinstance(answer.error, ValueError)
    assert sum('from the source' in line for line in client.errors) == 1


def test_settings_that_cannot_be_meant_are_refused(client, handler):
    class Root:
        @handler
        @cpadapter.tools.sse(ping=-1)
        def index(self):
            return []

    client.mount(Root())
    assert client.get('/').status == 500
    assert any('tools.sse.ping' in line for line in client.errors)
