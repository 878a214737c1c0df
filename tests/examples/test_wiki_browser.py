"""The wiki in a real browser: headless Chromium against gunicorn and uvicorn, each started on a free port.

Without a browser the tests are skipped, except where the environment variable CI is set: there they fail.
Screenshots stay in the test's temporary folder.
"""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import WAIT, until
from live import Live, command, free_port

ROOT = Path(__file__).resolve().parents[2]

SERVERS = ['gunicorn-gthread', 'uvicorn']


@dataclass
class Served:
    """A running wiki: its base address, the folder with its data, and whether its log may tell of errors."""

    base: str
    data: Path
    broken: bool = False


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """Serve the wiki, with fresh data, by the server that the test is run with."""
    port, data = free_port(), tmp_path / 'data'
    words = command(request.param, 'wiki.app:application', port)
    live = Live(words, port, ROOT / 'examples', tmp_path / 'server.log', WIKI_DATA=str(data))
    wiki = Served(f'http://127.0.0.1:{port}', data)
    try:
        live.ready()
        yield wiki
        live.end(timeout=WAIT)
    finally:
        live.kill()
    assert ('Traceback' in live.printed) == wiki.broken


class Reader:
    """A person at the browser: what the tests below do and see, in the words of the wiki."""

    def __init__(self, driver: Any, base: str, folder: Path) -> None:
        from selenium.webdriver.common.by import By

        self.driver = driver
        self.base = base
        self.folder = folder
        self.by = By

    def open(self, path: str) -> None:
        self.driver.get(self.base + path)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(self.by.CSS_SELECTOR, selector)

    def text(self, selector: str = 'main') -> str:
        return str(self.one(selector).text)

    def follow(self, text: str) -> None:
        """Click a link and wait for the page behind it."""
        self.leave(self.driver.find_element(self.by.LINK_TEXT, text).click)

    def press(self, label: str) -> None:
        """Press a button of a form and wait for the answer."""
        self.leave(self.driver.find_element(self.by.XPATH, f'//main//button[.="{label}"]').click)

    def leave(self, act: Callable[[], object]) -> None:
        """Do something that leads to another document, and wait until that is there."""
        from selenium.common.exceptions import WebDriverException

        # A mark on the window that is left: asking for an element of it fails in many ways while it goes.
        self.driver.execute_script('window.left = true')
        act()

        def arrived() -> object:
            try:
                return self.driver.execute_script('return !window.left && document.readyState === "complete"')
            except WebDriverException:
                return False  # between two documents

        self.until(arrived)

    def until(self, condition: Callable[[], object]) -> None:
        until(self.driver, condition)

    def write(self, selector: str, text: str) -> None:
        field = self.one(selector)
        field.clear()
        field.send_keys(text)

    def picture(self, name: str) -> None:
        assert self.driver.save_screenshot(str(self.folder / f'{name}.png'))


@pytest.fixture
def reader(served: Served, browser: Callable[[], Any], tmp_path: Path) -> Reader:
    """Give a person in front of the wiki."""
    return Reader(browser(), served.base, tmp_path)


def create(reader: Reader, title: str, text: str) -> None:
    """Make a page through the page that says it is missing."""
    reader.open(f'/page/{title}')
    reader.follow('Create this page')
    reader.write('#text', text)
    reader.press('Save')
    assert reader.text('h1') == title


def test_page_is_created_from_the_404_page_then_edited_and_its_link_followed(reader: Reader) -> None:
    reader.open('/')
    assert reader.text('h1') == 'Front page'
    reader.picture('front')
    reader.follow('Sandbox')
    assert 'does not exist yet' in reader.text()
    reader.picture('missing')

    reader.follow('Create this page')
    reader.write(
        '#text', "= Plan =\n* ''first'' & <b>second</b>\n** nested\n\nBack to [[Front page]] or [[Elsewhere]]."
    )
    reader.write('#author', 'Zoë')
    reader.press('Preview')
    assert reader.text('.preview h2 + article h2') == 'Plan'
    reader.picture('preview')
    reader.press('Save')
    assert reader.driver.current_url == reader.base + '/page/Sandbox'
    assert reader.text('article li em') == 'first'
    assert '<b>second</b>' in reader.text('article')
    assert reader.text('article a.missing') == 'Elsewhere'
    assert 'Version 1' in reader.text('footer')
    assert 'Zoë' in reader.text('footer')

    reader.follow('Edit')
    assert reader.one('#author').get_attribute('value') == 'Zoë'
    reader.one('#text').send_keys('One line more.')
    reader.write('#summary', 'one line')
    reader.press('Save')
    assert 'One line more.' in reader.text('article')
    reader.picture('page')

    reader.follow('History')
    reader.follow('changes')
    assert reader.text('.diff ins') == '+One line more.'
    reader.picture('changes')
    reader.follow('Back to the page')
    reader.follow('Front page')
    assert reader.text('h1') == 'Front page'
    assert not reader.driver.find_elements(reader.by.CSS_SELECTOR, 'article a.missing')


def test_second_editor_is_told_of_the_conflict_and_keeps_the_text(reader: Reader) -> None:
    create(reader, 'Shared', 'The first text.')
    first = reader.driver.current_window_handle
    reader.follow('Edit')
    reader.driver.switch_to.new_window('tab')
    reader.open('/edit/Shared')
    reader.write('#text', 'The text of the quick one.')
    reader.press('Save')
    reader.driver.close()
    reader.driver.switch_to.window(first)
    reader.write('#text', 'The text of the slow one.')
    reader.press('Save')
    assert 'Edit conflict' in reader.text('[role=alert]')
    assert reader.one('#text').get_attribute('value').strip() == 'The text of the slow one.'
    assert reader.text('.diff del') == '-The text of the quick one.'
    reader.picture('conflict')
    reader.press('Save')
    assert reader.text('article') == 'The text of the slow one.'
    assert 'Version 3' in reader.text('footer')


def test_attachment_is_uploaded_and_downloaded_unchanged(reader: Reader, tmp_path: Path) -> None:
    name = 'plan, é & <x>.bin'
    content = os.urandom(300_000)
    source = tmp_path / name
    source.write_bytes(content)
    create(reader, 'Files', 'See [[file:' + name + ']].')
    assert reader.driver.find_elements(reader.by.CSS_SELECTOR, 'article a.missing')
    reader.one('#file').send_keys(str(source))
    reader.press('Upload')
    assert reader.text('.files a') == name
    assert not reader.driver.find_elements(reader.by.CSS_SELECTOR, 'article a.missing')
    reader.picture('attachment')

    reader.one('.files a').click()
    saved = tmp_path / 'downloads'
    # The browser gives the file its name when it has all of it.
    reader.until(lambda: list(saved.glob('plan, é*.bin')))
    (found,) = saved.iterdir()
    assert found.read_bytes() == content


def test_search_finds_words_and_offers_a_new_page(reader: Reader) -> None:
    create(reader, 'Garden', 'Apples and 100 % pears.')
    reader.write('#q', '100 % apples')
    reader.leave(reader.one('header form button').click)
    assert reader.text('.found a') == 'Garden'
    assert 'Pages found: 1' in reader.text()
    reader.picture('search')
    reader.open('/search?q=kitchen')
    reader.follow('Create the page “Kitchen”')
    assert reader.text('h1') == 'Create Kitchen'
    reader.follow('Recent changes')
    assert reader.text('.versions li:first-child a') == 'Garden'


def test_second_application_gives_the_pages_as_json(reader: Reader) -> None:
    create(reader, 'Data', 'Ünïcode')
    reader.open('/api/pages/Data')
    page = json.loads(reader.text('body pre'))
    assert (page['title'], page['version'], page['text']) == ('Data', 1, 'Ünïcode\n')
    reader.open('/api/pages/Nothing')
    assert json.loads(reader.text('body pre'))['error'] == '404 Not Found'

    body = json.dumps({'text': 'Written by a program.', 'base': 1}).encode()
    put = urllib.request.Request(
        reader.base + '/api/pages/Data', body, {'Content-Type': 'application/json'}, method='PUT'
    )
    with urllib.request.urlopen(put, timeout=WAIT) as answer:
        assert answer.status == 200
    reader.open('/page/Data')
    assert reader.text('article') == 'Written by a program.'


def test_unforeseen_error_gives_a_page_without_internals(reader: Reader, served: Served) -> None:
    reader.open('/')
    database = served.data / 'wiki.sqlite'
    # The last connection that is closed removes the write-ahead log.
    reader.until(lambda: list(served.data.glob('wiki.sqlite*')) == [database])
    served.broken = True
    database.write_bytes(b'this is no database' * 100)
    reader.open('/')
    assert reader.text('h1') == '500 Internal Server Error'
    assert 'database' not in reader.text()
    assert 'wiki.sqlite' not in reader.driver.page_source
    reader.picture('failure')
