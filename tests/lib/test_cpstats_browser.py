"""The live page of cpstats in a real browser: it renews itself, pauses and resumes, and runs no text it shows.

Without a browser the tests are skipped, except where CI is set.
"""

from __future__ import annotations

import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from browser import WAIT, until

import cpadapter
from cpadapter.lib import cpstats


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


def shown(driver, name):
    return driver.find_element('css selector', f'[data-text="{name}"]').text


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
