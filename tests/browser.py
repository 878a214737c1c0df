"""Headless Chromium for tests, and its DevTools: what was asked for and answered on the wire, as the browser saw it.

It needs selenium (with the websocket-client that comes with it), chromium and chromedriver: without them a test is
skipped, except where the environment variable CI is set: there it fails. It knows nothing of servers and pages.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import itertools
import json
import os
import select
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WAIT = 20  # seconds for a page or what it shows, far more than either needs
FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
    '--window-size=1100,900',
)


def unavailable(reason: str) -> None:
    """Skip the test, or fail it where nothing may be missing."""
    (pytest.fail if os.environ.get('CI') else pytest.skip)(reason)


@contextlib.contextmanager
def browsers(folder: Path) -> Iterator[Callable[..., Any]]:
    """Give a function that starts a browser and gives its driver; all of them are ended at last.

    `start(script=False)` starts one that runs no script. Each has an empty profile below `folder`; downloads come
    into `folder`/downloads.
    """
    missing = [name for name in ('chromium', 'chromedriver') if not shutil.which(name)]
    missing += [name for name in ('selenium', 'websocket') if importlib.util.find_spec(name) is None]
    if missing:
        unavailable(f'not installed: {", ".join(missing)}')
    from selenium import webdriver

    downloads = folder / 'downloads'
    downloads.mkdir(exist_ok=True)

    with contextlib.ExitStack() as stack:
        numbers = itertools.count()

        def start(script: bool = True) -> Any:
            options = webdriver.ChromeOptions()
            options.binary_location = shutil.which('chromium')
            for flag in (*FLAGS, f'--user-data-dir={folder / f"profile{next(numbers)}"}'):
                options.add_argument(flag)
            options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
            preferences: dict[str, object] = {'download.default_directory': str(downloads)}
            if not script:
                preferences['profile.managed_default_content_settings.javascript'] = 2
            options.add_experimental_option('prefs', preferences)
            service = webdriver.ChromeService(executable_path=shutil.which('chromedriver'))
            driver = webdriver.Chrome(options=options, service=service)
            stack.callback(driver.quit)
            driver.set_page_load_timeout(WAIT)
            return driver

        yield start


def until(driver: Any, condition: Callable[[], object]) -> Any:
    """Wait until `condition()` is true, and give what it gave; elements that come and go meanwhile do not matter."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.wait import WebDriverWait

    passing = (NoSuchElementException, StaleElementReferenceException)
    return WebDriverWait(driver, WAIT, 0.05, ignored_exceptions=passing).until(lambda driver: condition())


class Loaded:
    """One request of the browser and the answer it got in the end: after redirects, and after what a prompt asked for.

    status: of the answer on the wire: 304 where the browser then showed what it had. sent, headers: of request and
    answer as they were on the wire, names in lower case. encoded: bytes that came, head and body. length: bytes of
    the body once decoded. cached: whether the network was not asked. done: whether the answer has ended, and all of
    this is known.
    """

    def __init__(self) -> None:
        self.url = ''
        self.status = 0
        self.sent: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.encoded = 0
        self.length = 0
        self.cached = False
        self.ended = False
        # What was on the wire is told of apart from the rest, sooner or later.
        self.untold = {'sent', 'headers'}

    @property
    def done(self) -> bool:
        return self.ended and not self.untold

    def __repr__(self) -> str:
        return f'<Loaded {vars(self)}>'


class DevTools:
    """The DevTools protocol of the driver's window, by a connection of our own: selenium hands no events on.

    answers: to prompts for a name and a password, taken in order; when there is none left, the prompt is cancelled.
    prompts: the challenges that the browser asked its user about.
    One thread: events wait in the connection until `call`, `until`, `visit` or `leave` looks at them. So does each
    request once prompts are caught: selenium's own `get` would wait for ever.
    """

    def __init__(self, driver: Any) -> None:
        import websocket

        self.driver = driver
        address = driver.capabilities['goog:chromeOptions']['debuggerAddress']
        with urllib.request.urlopen(f'http://{address}/json/list', timeout=WAIT) as answer:
            (window,) = [target for target in json.load(answer) if target['id'] == driver.current_window_handle]
        self._socket = websocket.create_connection(window['webSocketDebuggerUrl'], WAIT, suppress_origin=True)
        self._numbers = itertools.count(1)
        self._results: dict[int, dict[str, Any]] = {}
        self._loaded: collections.defaultdict[str, Loaded] = collections.defaultdict(Loaded)
        self.answers: list[tuple[str, str]] = []
        self.prompts: list[dict[str, str]] = []
        # Loader ids: of the document that is shown, and of those that are there with all that belongs to them.
        self._shown = ''
        self._complete: set[str] = set()
        for domain in ('Page', 'Network'):
            self.call(f'{domain}.enable')
        self.call('Page.setLifecycleEventsEnabled', enabled=True)
        # The page that a browser starts with comes when it comes: it must not be taken for one that is awaited.
        self.visit('about:blank')

    def close(self) -> None:
        """Let go of the browser, and of the prompts and requests that wait here, so that it can be asked to quit."""
        self._socket.close()

    def catch_prompts(self) -> None:
        """Have prompts answered by `answers` from now on."""
        self.call('Fetch.enable', handleAuthRequests=True)

    def send(self, method: str, **params: Any) -> int:
        """Send a command, give its number."""
        number = next(self._numbers)
        self._socket.send(json.dumps({'id': number, 'method': method, 'params': params}))
        return number

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and give its result; AssertionError if it fails."""
        number = self.send(method, **params)
        self.until(lambda: number in self._results, method)
        result = self._results.pop(number)
        assert 'error' not in result, f'{method}: {result}'
        return result['result']

    def until(self, true: Callable[[], object], what: str = 'what was awaited') -> Any:
        """Take in events until `true()` gives something true, and give that."""
        deadline = time.monotonic() + WAIT
        while True:
            value = true()
            if value:
                return value
            assert time.monotonic() < deadline, f'{what}: not within {WAIT} s; {list(self._loaded.values())}'
            if select.select([self._socket.sock], [], [], 0.05)[0]:
                self._take(json.loads(self._socket.recv()))

    def visit(self, url: str) -> None:
        """Go to a page, as by its address typed in, and wait until it is there."""
        loader = ''

        def navigated() -> bool:
            nonlocal loader
            if number in self._results:
                result = self._results.pop(number)['result']
                assert 'errorText' not in result, f'{url}: {result}'
                loader = result['loaderId']
            return loader in self._complete

        number = self.send('Page.navigate', url=url)
        self.until(navigated, url)

    def follow(self, selector: str) -> None:
        """Click on what leads to another page, and wait until that is there."""
        self.leave(self.driver.find_element('css selector', selector).click)

    def leave(self, act: Callable[[], object]) -> None:
        """Do something that leads to another page, and wait until that is there."""
        left = self._shown
        act()
        self.until(lambda: self._shown != left and self._shown in self._complete, 'the page')

    def all_of(self, url: str) -> list[Loaded]:
        """Give what was asked for at a URL so far, in that order."""
        return [loaded for loaded in self._loaded.values() if loaded.url == url]

    def last(self, url: str) -> Loaded:
        """Give what was asked for last at a URL, once all of it is there."""
        self.until(lambda: self.all_of(url) and self.all_of(url)[-1].done, url)
        return self.all_of(url)[-1]

    def text(self, selector: str = 'body') -> str:
        return str(self.driver.find_element('css selector', selector).text)

    # ------------------------------------------------------------------ events

    def _take(self, message: dict[str, Any]) -> None:
        if 'id' in message:
            self._results[message['id']] = message
            return
        act = getattr(self, '_on_' + message['method'].replace('.', '_'), None)
        if act is not None:
            act(message['params'])

    def _on_Page_frameNavigated(self, params: dict[str, Any]) -> None:
        if 'parentId' not in params['frame']:
            self._shown = params['frame']['loaderId']

    def _on_Page_lifecycleEvent(self, params: dict[str, Any]) -> None:
        if params['name'] == 'load':
            self._complete.add(params['loaderId'])

    def _on_Network_requestWillBeSent(self, params: dict[str, Any]) -> None:
        self._loaded[params['requestId']].url = params['request']['url']

    def _on_Network_requestWillBeSentExtraInfo(self, params: dict[str, Any]) -> None:
        loaded = self._loaded[params['requestId']]
        loaded.sent = lowered(params['headers'])
        loaded.untold.discard('sent')

    def _on_Network_responseReceivedExtraInfo(self, params: dict[str, Any]) -> None:
        loaded = self._loaded[params['requestId']]
        loaded.status, loaded.headers = params['statusCode'], lowered(params['headers'])
        loaded.untold.discard('headers')

    def _on_Network_responseReceived(self, params: dict[str, Any]) -> None:
        loaded, response = self._loaded[params['requestId']], params['response']
        loaded.cached = response['fromDiskCache']
        if not params['hasExtraInfo']:
            # The network was not asked: it has nothing to tell.
            loaded.status, loaded.headers = response['status'], lowered(response['headers'])
            loaded.untold.clear()

    def _on_Network_dataReceived(self, params: dict[str, Any]) -> None:
        self._loaded[params['requestId']].length += params['dataLength']

    def _on_Network_loadingFinished(self, params: dict[str, Any]) -> None:
        loaded = self._loaded[params['requestId']]
        loaded.encoded, loaded.ended = int(params['encodedDataLength']), True

    def _on_Fetch_requestPaused(self, params: dict[str, Any]) -> None:
        self.send('Fetch.continueRequest', requestId=params['requestId'])

    def _on_Fetch_authRequired(self, params: dict[str, Any]) -> None:
        self.prompts.append(params['authChallenge'])
        answer = {'response': 'CancelAuth'}
        if self.answers:
            name, password = self.answers.pop(0)
            answer = {'response': 'ProvideCredentials', 'username': name, 'password': password}
        self.send('Fetch.continueWithAuth', requestId=params['requestId'], authChallengeResponse=answer)


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
