"""The chat without a browser: page, posts and sockets in process; then a client of another house, over real servers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import sys
import time

import pytest
from live import ROOT, Live, command, free_port, reset
from websockets.asyncio.client import connect as aconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wspeer import Peer

import cpadapter
from examples.chat import Chat, config
from examples.chat.rooms import BURST, LONGEST, ROOMS, Refused, Room, Rooms

SERVERS = ['uvicorn', 'hypercorn', 'granian-asgi', 'gunicorn-asgi']
# What a server does not tell of a denial: its status.
NO_DENIAL = {'gunicorn-asgi'}


# -- the page and what is posted to it


def test_the_page_brings_all_it_needs_and_nothing_inline(client):
    client.mount(Chat(), '/chat', config)
    assert client.get('/chat').headers['Location'].endswith('/chat/')
    page = client.get('/chat/')
    assert page.status == 200
    assert page.headers['Content-Type'].startswith('text/html')
    assert "script-src 'self'" in page.headers['Content-Security-Policy']
    parts = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert parts == ['static/chat.css', 'static/chat.js']
    for part, kind in zip(parts, ('text/css', 'text/javascript'), strict=True):
        answer = client.get(f'/chat/{part}')
        assert answer.status == 200
        assert answer.headers['Content-Type'].startswith(kind)
        assert 'http' not in answer.text.replace("replace('http', 'ws')", '')
    assert not re.search(r'<style|\son\w+=|style=|<script>', page.text)
    assert client.errors == []


@pytest.mark.parametrize('field', ['name', 'room', 'text'])
def test_every_field_has_a_label(client, field):
    client.mount(Chat(), '', config)
    page = client.get('/').text
    assert f'id="{field}"' in page
    assert f'<label for="{field}"' in page


@pytest.mark.parametrize(
    ('sent', 'status'),
    [
        ({'name': 'Ann', 'text': 'hi'}, 403),  # not in the room
        ({'name': 'Ann', 'text': ' '}, 400),
        ({'name': 'Ann', 'text': 'x' * (LONGEST + 1)}, 400),
        ({'name': 'Ann', 'text': 'x' * 20 * LONGEST}, 413),
        ({'name': '', 'text': 'hi'}, 400),
        ({'name': 'A\x1bnn', 'text': 'hi'}, 400),
        ({'name': '\ud800', 'text': 'hi'}, 400),
        ({'name': 5, 'text': 'hi'}, 400),
        ({'name': 'Ann'}, 400),
        (['Ann', 'hi'], 400),
        ('hi', 400),
    ],
)
def test_what_cannot_be_said_is_refused(client, sent, status):
    client.mount(Chat(), '', config)
    answer = client.post('/say/lobby', json=sent)
    assert answer.status == status
    assert client.errors == []


def test_a_form_of_another_site_says_nothing(client):
    client.mount(Chat(), '', config)
    assert client.post('/say/lobby', form={'name': 'Ann', 'text': 'hi'}).status == 415
    assert client.get('/say/lobby').status == 405


def test_a_socket_without_a_name_and_a_stream_of_a_bad_one_are_not_opened(client):
    client.mount(Chat(), '', config)
    assert client.get('/events/lobby').status == 404
    assert client.get('/events/lobby?name=%20').status == 400
    assert client.get(f'/events/{"x" * 31}?name=Ann').status == 400


def test_asked_for_by_http_the_socket_says_426(client):
    client.mount(Chat(), '', config)
    assert client.get('/socket/lobby?name=Ann').status == 426


# -- rooms


def test_an_empty_room_gives_way_and_a_full_house_refuses():
    async def run():
        rooms = Rooms()
        with contextlib.ExitStack() as stack:
            for number in range(ROOMS - 1):
                stack.enter_context(rooms.find(str(number)).entered('Ann'))
            empty = rooms.find('empty')
            assert rooms.find('empty') is empty
            taken = rooms.find('another')
            stack.enter_context(taken.entered('Ann'))
            assert rooms.find(' another ') is taken
            with pytest.raises(Refused) as info:
                rooms.find('one more')
            assert info.value.status == 503
        assert not rooms.find('0').people
        rooms.find('one more')

    asyncio.run(run())


def test_who_comes_later_hears_what_was_said_and_who_saw_it_does_not_hear_it_again():
    async def run():
        room = Room()
        with room.entered('Ann'):
            async with contextlib.aclosing(room.events()) as events:
                assert (await anext(events)).data == {'count': 1, 'names': ['Ann']}
                room.say('Ann', 'one')
                seen = await anext(events)
                assert (seen.event, seen.data['text']) == ('said', 'one')
            room.say('Ann', 'two')
            for last, texts in ((None, ['one', 'two']), (seen.id, ['two']), ('of another process', ['one', 'two'])):
                async with contextlib.aclosing(room.events(last)) as events:
                    heard = [await asyncio.wait_for(anext(events), 5) for _ in range(len(texts) + 1)]
                assert [event.data['text'] for event in heard if event.event == 'said'] == texts
            with pytest.raises(Refused):
                room.say('Ann', 'half a \ud800')

    asyncio.run(run())


# -- sockets in process


class Talker(Peer):
    """A socket of the chat: what was said and who is there, as values."""

    def __init__(self, app, name, room='lobby', **more):
        super().__init__(app, f'/socket/{room}?name={name}', **more)

    async def event(self, kind):
        """Give the data of the next event of a kind."""
        while (event := json.loads(await self.get()))['event'] != kind:
            pass
        return event['data']

    async def present(self, *names):
        """Wait until just these are there."""
        while (await self.event('people')) != {'count': len(names), 'names': sorted(names)}:
            pass


@pytest.fixture
def chat():
    site = cpadapter.Site('chat')
    site.config.update({'checker.on': False, 'log.screen': False})
    yield site.tree.mount(Chat(), '', config)
    site.engine.ensure_exited()


def test_two_talk_and_a_third_in_another_room_hears_nothing(chat):
    async def run():
        async with Talker(chat, 'Ann') as ann, Talker(chat, 'B%C3%B6b') as bob, Talker(chat, 'Eve', 'attic') as eve:
            await ann.present('Ann', 'Böb')
            ann.put(' <b>grüß</b>\n')
            for one in (ann, bob):
                told = await one.event('said')
                assert (told['name'], told['text']) == ('Ann', '<b>grüß</b>')
            bob.put('you, too')
            later = await ann.event('said')
            assert (later['name'], later['text']) == ('Böb', 'you, too')
            assert later['at'] > told['at']
            await eve.present('Eve')
            assert eve.messages.empty()
            bob.leave(1000)
            await ann.present('Ann')
            async with Talker(chat, 'Cid') as cid:
                assert [(await cid.event('said'))['text'] for _ in range(2)] == ['<b>grüß</b>', 'you, too']

    asyncio.run(run())


def test_two_windows_of_one_name_are_one_person(chat):
    async def run():
        async with Talker(chat, 'Ann') as one:
            async with Talker(chat, 'Ann') as two:
                await two.present('Ann')
                two.leave()
                await two.end_of_app()
            one.put('still here')
            assert (await one.event('said'))['name'] == 'Ann'

    asyncio.run(run())


def test_messages_that_come_too_fast_or_are_too_long_are_given_back(chat):
    async def run():
        async with Talker(chat, 'Ann') as ann:
            ann.put('x' * (LONGEST + 1))
            assert (await ann.event('refused'))['text'] == 'x' * (LONGEST + 1)
            for number in range(BURST + 1):
                ann.put(str(number))
            told = {'said': [], 'refused': [], 'people': []}
            while len(told['said']) < BURST or not told['refused']:
                event = json.loads(await ann.get())
                told[event['event']].append(event['data'])
            assert [data['text'] for data in told['said']] == [str(number) for number in range(BURST)]
            assert told['refused'] == [{'why': 'Slowly, please.', 'text': str(BURST)}]
            assert ann.state == 'open'

    asyncio.run(run())


def test_bytes_and_what_is_far_too_large_close_the_socket(chat):
    async def run():
        for message, code in ((b'bytes', 1003), ('x' * (4 * LONGEST + 1), 1009), ('ü' * (2 * LONGEST + 1), 1009)):
            async with Talker(chat, 'Ann') as ann:
                ann.put(message)
                await ann.end_of_app()
                assert ann.code == code

    asyncio.run(run())


@pytest.mark.parametrize(
    ('name', 'more', 'status'),
    [('', {}, 400), ('x' * 31, {}, 400), ('Ann', {'origin': 'https://evil.example'}, 403)],
)
def test_who_may_not_come_in_is_denied(chat, name, more, status):
    async def run():
        async with Talker(chat, name, **more) as peer:
            assert await peer.answer() == status
        async with Talker(chat, 'Bob', origin='http://testserver') as bob:
            await bob.present('Bob')

    asyncio.run(run())


def test_who_reads_too_slowly_is_let_go(chat):
    async def run():
        flowing = asyncio.Event()

        class Stalled(Talker):
            async def send(self, message):
                if message['type'] == 'websocket.send':
                    await flowing.wait()
                await super().send(message)

        async with Stalled(chat, 'Slow') as slow, Talker(chat, 'Ann') as ann:
            await ann.present('Ann', 'Slow')
            room = chat.root.rooms.find('lobby')
            for number in range(101):
                room.people['Ann'].times.clear()
                room.say('Ann', str(number))
                await asyncio.sleep(0)
            flowing.set()
            await slow.end_of_app()
            assert slow.code == 1013

    asyncio.run(run())


# -- over servers


@contextlib.contextmanager
def serving(name, folder, *options):
    port = free_port()
    live = Live(command(name, 'examples.chat:application', port, *options), port, ROOT, folder / 'output')
    live.name = name
    try:
        yield live.ready()
        assert 'Traceback' not in live.printed
    finally:
        live.kill()


@pytest.fixture(scope='module', params=SERVERS)
def live(request, tmp_path_factory):
    with serving(request.param, tmp_path_factory.mktemp('chat')) as live:
        yield live


def url(live, name, room='lobby'):
    return f'ws://127.0.0.1:{live.port}/socket/{room}?name={name}'


def join(live, name, room):
    return connect(url(live, name, room), open_timeout=10, close_timeout=10, proxy=None)


def event(ws, kind):
    """Give the data of the next event of a kind."""
    while (told := json.loads(ws.recv(10)))['event'] != kind:
        pass
    return told['data']


def present(ws, *names):
    """Wait until just these are there."""
    while event(ws, 'people')['names'] != sorted(names):
        pass


live_server = pytest.mark.live


@live_server
def test_whole_messages_and_fragments_reach_the_others(live):
    with join(live, 'Ann', 'one') as ann, join(live, 'Bob', 'one') as bob:
        present(ann, 'Ann', 'Bob')
        ann.send('whole')
        assert event(bob, 'said')['text'] == 'whole'
        ann.send(iter(['in ', 'three ', 'parts']))
        assert event(bob, 'said')['text'] == 'in three parts'
        ann.send('ü' * LONGEST)
        assert event(bob, 'said')['text'] == 'ü' * LONGEST


@live_server
def test_pings_are_answered_while_messages_travel(live):
    with join(live, 'Ann', 'two') as ann:
        pongs = [ann.ping(), ann.ping(b'again')]
        ann.send('hi')
        assert all(pong.wait(10) for pong in pongs)
        assert event(ann, 'said')['text'] == 'hi'


@live_server
def test_a_large_message_closes_with_1009_and_nobody_else_is_hurt(live):
    with join(live, 'Ann', 'three') as ann, join(live, 'Bob', 'three') as bob:
        present(bob, 'Ann', 'Bob')
        with pytest.raises(ConnectionClosed):
            ann.send('x' * 1_000_000)
            while True:
                ann.recv(10)
        assert ann.close_code == 1009
        present(bob, 'Bob')
        bob.send('still here')
        assert event(bob, 'said')['text'] == 'still here'


@live_server
def test_who_goes_without_a_word_is_seen_to_leave(live):
    with join(live, 'Bob', 'four') as bob:
        ann = join(live, 'Ann', 'four')
        present(bob, 'Ann', 'Bob')
        begin = time.monotonic()
        reset(ann.socket)
        present(bob, 'Bob')
        assert time.monotonic() - begin < 5
        with contextlib.suppress(Exception):
            ann.close()


@live_server
def test_a_bad_name_is_denied(live):
    with pytest.raises(InvalidStatus) as info, join(live, '%20', 'five'):
        pass
    assert info.value.response.status_code == (403 if live.name in NO_DENIAL else 400)


class Stream:
    """An event stream, read event by event."""

    def __init__(self, live, path, **headers):
        self.connection = http.client.HTTPConnection('127.0.0.1', live.port, timeout=10)
        self.connection.request('GET', path, headers={'Accept': 'text/event-stream', **headers})
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        assert self.response.headers['Content-Type'] == 'text/event-stream;charset=utf-8'

    def event(self, kind):
        """Give id and data of the next event of a kind."""
        fields = {}
        while True:
            line = self.response.readline().decode()
            assert line
            name, _, value = line.rstrip('\n').partition(': ')
            if name:
                fields[name] = value
            elif fields.get('event') == kind:
                return fields.get('id'), json.loads(fields['data'])
            else:
                fields = {}

    def close(self):
        self.response.close()
        self.connection.close()


def say(live, room, **sent):
    return live.request('POST', f'/say/{room}', json.dumps(sent), {'Content-Type': 'application/json'})


@live_server
@pytest.mark.parametrize('name', ['uvicorn', 'gunicorn-gthread'])
def test_a_stream_is_taken_up_where_it_broke(name, tmp_path):
    with serving(name, tmp_path) as live:
        path = '/events/lobby?name=Ann'
        stays = Stream(live, '/events/lobby?name=Bob')
        goes = Stream(live, path)
        while goes.event('people')[1]['count'] != 2:
            pass
        assert say(live, 'lobby', name='Ann', text='one').json() == {}
        last, told = goes.event('said')
        assert (told['name'], told['text']) == ('Ann', 'one')
        goes.close()
        while stays.event('people')[1]['names'] != ['Bob']:
            pass
        for text in ('two', 'three'):
            assert say(live, 'lobby', name='Bob', text=text).status == 200
        assert say(live, 'lobby', name='Ann', text='gone').status == 403
        again = Stream(live, path, **{'Last-Event-ID': last})
        assert [again.event('said')[1]['text'] for _ in range(2)] == ['two', 'three']
        codes = [say(live, 'lobby', name='Bob', text=str(number)).status for number in range(BURST)]
        assert codes == [200] * (BURST - 2) + [429] * 2
        again.close()
        stays.close()


@live_server
def test_stream_and_socket_are_in_one_room(live):
    with join(live, 'Ann', 'six') as ann:
        stream = Stream(live, '/events/six?name=Bob')
        present(ann, 'Ann', 'Bob')
        ann.send('by socket')
        assert stream.event('said')[1]['text'] == 'by socket'
        assert say(live, 'six', name='Bob', text='by POST').status == 200
        while event(ann, 'said')['text'] != 'by POST':
            pass
        stream.close()
        present(ann, 'Ann')


@live_server
def test_one_message_reaches_a_thousand(tmp_path):
    number = 1000
    took = {}

    async def talk(live):
        begin = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            sockets = []
            for start in range(0, number, 50):
                opened = [
                    aconnect(url(live, f'n{i}'), proxy=None, compression=None, open_timeout=20, ping_interval=None)
                    for i in range(start, start + 50)
                ]
                sockets += await asyncio.gather(*(stack.enter_async_context(one) for one in opened))
            took['open'] = time.monotonic() - begin

            async def until(ws, true):
                while not true(json.loads(await ws.recv())):
                    pass

            await until(sockets[0], lambda event: event['data'].get('count') == number)
            begin = time.monotonic()
            await sockets[0].send('to all')
            await asyncio.gather(*(until(ws, lambda event: event['data'].get('text') == 'to all') for ws in sockets))
            took['told'] = time.monotonic() - begin

    with serving('uvicorn', tmp_path, '--backlog', '2048', '--log-level', 'warning') as live:
        asyncio.run(asyncio.wait_for(talk(live), 20))
        with join(live, 'last', 'lobby') as ws:
            # All of them have left.
            present(ws, 'last')
        print(json.dumps(took), file=sys.stderr)


@live_server
def test_the_chat_is_among_the_examples(tmp_path):
    port = free_port()
    live = Live([sys.executable, '-m', 'examples', '--port', str(port)], port, ROOT, tmp_path / 'output')
    try:
        live.ready()
        assert '/chat/' in live.get('/').text
        assert live.get('/chat/static/chat.js').status == 200
        with connect(f'ws://127.0.0.1:{port}/chat/socket/lobby?name=Ann', proxy=None) as ws:
            present(ws, 'Ann')
    finally:
        live.kill()
