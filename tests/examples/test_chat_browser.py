"""The chat in two windows of headless Chromium that talk to each other: by WebSocket, and without by events and POST.

Without a browser the tests are skipped, except where the environment variable CI is set: there they fail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import WAIT, browsers, until
from live import ROOT, Live, command, free_port

pytestmark = pytest.mark.live

BY_SOCKET = ['uvicorn', 'hypercorn', 'granian-asgi', 'gunicorn-asgi']
BY_EVENTS = ['gunicorn-gthread']
APP = 'examples.chat:application'


class Window:
    """Somebody at a browser: what the tests below do and see."""

    def __init__(self, driver: Any, name: str) -> None:
        self.driver = driver
        self.name = name

    def one(self, id: str) -> Any:
        return self.driver.find_element('id', id)

    def text(self, id: str) -> str:
        return str(self.one(id).text)

    def until(self, true: Callable[[], object]) -> Any:
        return until(self.driver, true)

    def join(self, live: Live, room: str) -> None:
        # A fragment alone would not load the page again.
        self.driver.get('about:blank')
        self.driver.get(f'http://127.0.0.1:{live.port}/#{room}')
        assert self.one('room').get_attribute('value') == room
        self.one('name').clear()
        self.one('name').send_keys(self.name)
        self.driver.find_element('css selector', '#join button').click()

    def status(self, text: str) -> None:
        self.until(lambda: self.text('status') == text)

    def connected(self, way: str) -> None:
        self.status(f'Connected by {way}')

    def say(self, text: str) -> None:
        self.one('text').send_keys(text + '\n')

    @property
    def said(self) -> list[tuple[str, str]]:
        """Who said what, as it is shown."""
        script = """return [...document.querySelectorAll('#log li')].map(
            item => [item.querySelector('b').textContent, item.querySelector('p').textContent])"""
        return [tuple(pair) for pair in self.driver.execute_script(script)]

    def hears(self, *said: tuple[str, str]) -> None:
        self.until(lambda: self.said[-len(said) :] == list(said))

    def sees(self, *names: str) -> None:
        self.until(lambda: self.text('people').split('\n') == list(names))
        self.until(lambda: self.text('here') == f'Here: {len(names)}')

    def complaints(self) -> list[str]:
        """Give what the browser has against the page since it was asked last."""
        return [entry['message'] for entry in self.driver.get_log('browser')]


@pytest.fixture(scope='module')
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Window, Window]]:
    """Two browsers, each with a profile of its own, for all tests here."""
    with browsers(tmp_path_factory.mktemp('windows')) as start:
        yield Window(start(), 'Ann'), Window(start(), 'Bob')


@pytest.fixture
def two(windows: tuple[Window, Window]) -> Iterator[tuple[Window, Window]]:
    """The browsers, at no page before and after."""
    yield windows
    for window in windows:
        window.driver.get('about:blank')
        window.complaints()


@contextlib.contextmanager
def serving(name: str, folder: Path, port: int = 0) -> Iterator[Live]:
    port = port or free_port()
    live = Live(command(name, APP, port), port, ROOT, folder / 'output')
    try:
        yield live.ready()
        assert 'Traceback' not in live.printed
    finally:
        live.kill()


@pytest.mark.parametrize('name', BY_SOCKET + BY_EVENTS)
def test_two_windows_talk_to_each_other(two: tuple[Window, Window], name: str, tmp_path: Path) -> None:
    ann, bob = two
    with serving(name, tmp_path) as live:
        for window in two:
            window.join(live, 'garden')
            window.connected('server-sent events' if name in BY_EVENTS else 'WebSocket')
        ann.sees('Ann', 'Bob')
        bob.sees('Ann', 'Bob')
        ann.say('Hello <b>Bob</b> & <script>alert(1)</script>')
        first = ('Ann', 'Hello <b>Bob</b> & <script>alert(1)</script>')
        bob.hears(first)
        bob.say('grüß dich')
        for window in two:
            window.hears(first, ('Bob', 'grüß dich'))
        assert ann.one('text').get_attribute('value') == ''
        assert len(ann.driver.find_elements('css selector', '#log .mine')) == 1

        # What is told again, as after a break, is shown once.
        ann.driver.execute_script('events.said({at: latest, name: "Bob", text: "again"})')
        assert ann.said == [first, ('Bob', 'grüß dich')]

        # More than may be said at once is given back.
        for number in range(5):
            bob.say(str(number))
        bob.until(lambda: bob.text('why') == 'Slowly, please.')
        assert bob.one('text').get_attribute('value') == '4'
        ann.hears(('Bob', '3'))

        bob.one('leave').click()
        ann.sees('Ann')
        assert bob.one('join').is_displayed()
        for window in two:
            assert [text for text in window.complaints() if ' 426' not in text and ' 429 ' not in text] == []


@pytest.mark.parametrize('name', ['uvicorn', 'gunicorn-gthread'])
def test_windows_come_back_when_the_server_does(two: tuple[Window, Window], name: str, tmp_path: Path) -> None:
    ann, bob = two
    way = 'server-sent events' if name in BY_EVENTS else 'WebSocket'
    with serving(name, tmp_path) as live:
        for window in two:
            window.join(live, 'garden')
            window.connected(way)
        ann.say('before')
        bob.hears(('Ann', 'before'))
        live.end(timeout=WAIT)
        for window in two:
            window.status('Connecting again…')
            assert not window.one('send').is_enabled()
    with serving(name, tmp_path, live.port):
        for window in two:
            window.connected(way)
        bob.say('after')
        for window in two:
            window.hears(('Bob', 'after'))
            assert window.said == [('Ann', 'before'), ('Bob', 'after')]


def test_keyboard_and_narrow_windows_are_enough(two: tuple[Window, Window], tmp_path: Path) -> None:
    ann, _ = two
    metrics = {'width': 320, 'height': 560, 'deviceScaleFactor': 1, 'mobile': True}
    with serving('uvicorn', tmp_path) as live:
        ann.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
        try:
            ann.join(live, 'a-room-with-a-rather-long-name')
            ann.connected('WebSocket')
            # The field has the focus.
            for text in ('x' * 300, 'one\ue008\ue007\ue000two'):
                ann.driver.switch_to.active_element.send_keys(text + '\n')
            ann.hears(('Ann', 'x' * 300), ('Ann', 'one\ntwo'))
            wide = 'return [document.documentElement, ...document.querySelectorAll("#chat *")].map(e => e.scrollWidth)'
            assert max(ann.driver.execute_script(wide)) <= 320
            assert ann.one('send').rect['y'] + ann.one('send').rect['height'] <= 560
        finally:
            ann.driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
