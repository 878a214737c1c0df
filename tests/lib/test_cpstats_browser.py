"""The live page of cpstats in a real browser: it renews itself, pauses and resumes, and runs no text it shows.

Needs selenium, chromium and chromedriver; without them the tests are skipped, except where CI is set.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

import cpadapter
from cpadapter.lib import cpstats

WAIT = 20
FLAGS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run')


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served():
    """Serves counted pages from a thread; gives (base address, the site's numbers)."""

    class Root:
        stats = cpstats.StatsPage()

        @cpadapter.expose
        def index(self, **kwargs):
            raise ValueError('always')

    site = cpadapter.Site('browsed')
    site.config.update({'checker.on': False, 'tools.log_tracebacks.on': False, 'tools.log_headers.on': False})
    site.tree.mount(Root(), '', {'/': {'tools.cpstats.on': True}, '/stats': {'tools.cpstats.on': False}})
    with make_server('127.0.0.1', 0, site.tree.wsgi, Server, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05})
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}', site.tools.cpstats.numbers
        finally:
            server.shutdown()
            thread.join(WAIT)
    site.engine.ensure_exited()


@pytest.fixture
def browser(tmp_path):
    """Starts browsers, with or without script."""
    missing = [name for name in ('chromium', 'chromedriver') if not shutil.which(name)]
    if importlib.util.find_spec('selenium') is None:
        missing.append('selenium')
    if missing:
        (pytest.fail if os.environ.get('CI') else pytest.skip)(f'not installed: {", ".join(missing)}')
    from selenium import webdriver

    started = []

    def start(script=True):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which('chromium')
        for flag in (*FLAGS, f'--user-data-dir={tmp_path / f"profile{len(started)}"}'):
            options.add_argument(flag)
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
        if not script:
            options.add_experimental_option('prefs', {'profile.managed_default_content_settings.javascript': 2})
        service = webdriver.ChromeService(executable_path=shutil.which('chromedriver'))
        driver = webdriver.Chrome(options=options, service=service)
        driver.set_page_load_timeout(WAIT)
        started.append(driver)
        return driver

    yield start
    for driver in started:
        driver.quit()


def shown(driver, name):
    return driver.find_element('css selector', f'[data-text="{name}"]').text


def until(driver, condition):
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.wait import WebDriverWait

    passing = (NoSuchElementException, StaleElementReferenceException)
    WebDriverWait(driver, WAIT, 0.05, ignored_exceptions=passing).until(lambda driver: condition())


def ask(base, query):
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f'{base}/?{query}', timeout=WAIT)
    caught.value.close()


@pytest.mark.parametrize('script', [True, False], ids=['script', 'no script'])
def test_the_page_renews_itself(served, browser, script):
    base, _ = served
    driver = browser(script)
    driver.get(f'{base}/stats/')
    assert shown(driver, 'requests') == '0'
    ask(base, 'q=%3Cscript%3Edocument.title=1%3C/script%3E')
    until(driver, lambda: shown(driver, 'requests') == '1')
    row = driver.find_element('css selector', '[data-table="failures"] tbody tr').text
    assert 'GET /?q=' in row
    assert '500 Internal Server Error' in row
    assert driver.title.startswith('Statistics of process ')
    assert driver.get_log('browser') == []


def test_counting_is_paused_and_resumed_by_buttons(served, browser):
    base, numbers = served
    driver = browser()
    driver.get(f'{base}/stats/')
    for label, enabled in (('Pause', False), ('Resume', True)):
        driver.find_element('css selector', f'.buttons input[value="{label}"]').click()
        until(driver, lambda enabled=enabled: numbers.enabled is enabled)
        until(driver, lambda enabled=enabled: ('Counting is paused.' in driver.page_source) is not enabled)
        assert driver.current_url == f'{base}/stats/'
    assert driver.get_log('browser') == []


def test_a_page_left_without_a_server_says_that_it_is_old(served, browser):
    base, _ = served
    driver = browser()
    driver.get(f'{base}/stats/')
    driver.execute_script('window.fetch = () => Promise.reject(new Error("gone"))')
    until(driver, lambda: 'these numbers are old (gone)' in driver.find_element('id', 'state').text)
