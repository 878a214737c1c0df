"""A browser's EventSource: events of all kinds, and a stream that broke is taken up where it was.

Without a browser the tests are skipped, except where CI is set.
"""

from __future__ import annotations

import pytest
from browser import until
from live import Live, command, free_port

pytestmark = pytest.mark.live

APP = '''
import cpadapter
from cpadapter.lib import sse

channel = sse.Channel()
broken = []
PAGE = """<!doctype html><title>events</title><link rel="icon" href="data:,"><pre id="log"></pre><script>
const log = text => document.getElementById('log').textContent += text + '|'
const source = new EventSource('/events')
source.onopen = () => log('open')
source.onmessage = event => log(event.data)
source.addEventListener('kind', event => log('kind ' + JSON.parse(event.data).a))
</script>"""


class Root:
    @cpadapter.expose
    def index(self):
        return PAGE

    @cpadapter.expose
    @cpadapter.tools.sse(retry=100)
    async def events(self):
        async for event in channel.subscribe(sse.last_event_id()):
            if event.event == 'break' and not broken:
                broken.append(event)
                return
            yield event

    @cpadapter.expose
    def say(self, text, kind=None):
        if kind == 'kind':
            channel.publish({'a': text}, 'kind')
        else:
            channel.publish(text, kind)
        return 'said'

    @cpadapter.expose
    def waiting(self):
        return str(channel.waiting)


cpadapter.config.update({'checker.on': False})
application = cpadapter.Application(Root())
'''


@pytest.mark.parametrize('name', ['uvicorn', 'gunicorn-gthread'])
def test_a_browser_reads_events_and_takes_a_broken_stream_up_where_it_was(tmp_path, browser, name):
    (tmp_path / 'served.py').write_text(APP)
    port = free_port()
    live = Live(command(name, 'served:application', port), port, tmp_path, tmp_path / 'output')
    try:
        live.ready()
        driver = browser()
        driver.get(f'http://127.0.0.1:{port}/')

        def shown():
            return driver.find_element('id', 'log').text

        until(driver, lambda: shown() == 'open|')
        live.get('/say?text=one%0D%0Atwo')
        live.get('/say?text=3&kind=kind')
        until(driver, lambda: shown() == 'open|one\ntwo|kind 3|')
        # The stream ends; what is told before the browser is back is told to it then.
        live.get('/say?text=x&kind=break')
        live.get('/say?text=meanwhile')
        until(driver, lambda: 'meanwhile|' in shown())
        live.get('/say?text=last')
        until(driver, lambda: shown().endswith('last|'))
        assert shown() == 'open|one\ntwo|kind 3|open|meanwhile|last|'
    finally:
        live.kill()
