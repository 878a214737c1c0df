"""Built-in tools before a real browser: logins, prompts, caches, ranges and content codings as Chromium uses them.

Each test runs over uvicorn and over gunicorn's threads. Without a browser they are skipped, except where CI is set.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
import wave

import pytest
from browser import WAIT, DevTools, until
from live import Live, command, free_port

pytestmark = pytest.mark.live

APPLICATION = """
import json
import os

import cpadapter
from cpadapter.lib.auth_basic import checkpassword_dict
from cpadapter.lib.auth_digest import get_ha1_dict_plain

PASSWORDS = {'zoë': 'pâss: wörd', 'ann': 'secret'}
LINES = ''.join(f'<li>line {number} of many, é</li>' for number in range(2000))
seen = []
made = {}


def record():
    request, response = cpadapter.request, cpadapter.response
    seen.append({
        'path': request.path_info,
        'accept_encoding': request.headers.get('Accept-Encoding'),
        'authorization': request.headers.get('Authorization'),
        'range': request.headers.get('Range'),
        'if_range': request.headers.get('If-Range'),
        'status': int(str(response.status or 200)[:3]),
        'challenge': response.headers.get('Www-Authenticate'),
    })


def check(username, password):
    return None if PASSWORDS.get(username) == password else 'Wrong name or password.'


class Private:
    @cpadapter.expose
    def index(self, **kwargs):
        return (
            f'<title>Private</title><h1>Hello {cpadapter.request.login}</h1><p id=q>{kwargs.get("q", "")}</p>'
            '<form method="post" action="do_logout"><input type="hidden" name="from_page" value="/private/">'
            '<button>Log out</button></form>'
        )


class Root:
    private = Private()

    @cpadapter.expose
    def index(self):
        return '<title>Home</title><p>home</p>'

    @cpadapter.expose
    def seen(self):
        return json.dumps(seen)

    @cpadapter.expose
    def foreign(self, target):
        # A page of another site, with a login form that is ours to answer.
        return (
            f'<form method="post" action="{target}"><input name="username" value="ann">'
            '<input name="password" value="secret"><button>Go</button></form>'
        )

    @cpadapter.expose
    def guarded(self, kind, **kwargs):
        return f'<h1>{kind} lets {cpadapter.request.login} in</h1>'

    @cpadapter.expose
    def counted(self, kind):
        made[kind] = made.get(kind, 0) + 1
        return f'<h1>made {made[kind]}</h1><a href="/counted/{kind}">again</a>'

    @cpadapter.expose
    def steady(self):
        made['steady'] = made.get('steady', 0) + 1
        return '<h1>always the same</h1>'

    @cpadapter.expose
    def times_made(self, kind):
        return str(made.get(kind, 0))

    @cpadapter.expose
    def zipped(self, coding):
        return f'<title>{coding}</title><ul>{LINES}</ul>'

    @cpadapter.expose
    def streamed(self):
        yield '<title>streamed</title><ul>'
        for start in range(0, len(LINES), 5000):
            yield LINES[start : start + 5000]
        yield '</ul>'

    @cpadapter.expose
    def player(self):
        return '<title>Player</title><video id="video" src="/files/long.wav" preload="metadata" muted controls></video>'

    @cpadapter.expose
    def words(self):
        return '<title>Words</title><p id="words">-</p><script src="/files/words.js"></script>'


def digest(realm, **settings):
    settings = {'on': True, 'realm': realm, 'key': 'a key', 'get_ha1': get_ha1_dict_plain(PASSWORDS), **settings}
    return {f'tools.auth_digest.{name}': value for name, value in settings.items()}


def gzip(**settings):
    return {f'tools.gzip.{name}': value for name, value in {'on': True, **settings}.items()}


def expires(secs):
    return {'tools.expires.on': True, 'tools.expires.secs': secs, 'tools.expires.force': True}


etags = {'tools.etags.on': True, 'tools.etags.autotags': True}
application = cpadapter.Application(Root(), '', {
    '/': {'tools.encode.on': True, 'hooks.on_end_resource': record},
    '/private': {
        'tools.sessions.on': True,
        'tools.session_auth.on': True,
        'tools.session_auth.check_username_and_password': check,
    },
    '/guarded/basic': {
        'tools.auth_basic.on': True,
        'tools.auth_basic.realm': 'The basic realm',
        'tools.auth_basic.checkpassword': checkpassword_dict(PASSWORDS),
    },
    '/guarded/digest': digest('The digest realm'),
    '/guarded/md5': digest('The older realm', algorithms='MD5'),
    '/guarded/short': digest('The short realm', max_age=1),
    '/counted/shared': {'tools.caching.on': True, **etags, **gzip()},
    '/counted/kept': {'tools.caching.on': True, **expires(600), **etags},
    '/steady': {**expires(0), **etags},
    '/zipped/gzip': gzip(),
    '/zipped/br': gzip(codings='br,zstd,gzip'),
    '/zipped/zstd': gzip(codings='zstd,gzip'),
    '/streamed': {'response.stream': True, **gzip(codings='br,gzip')},
    '/files': {
        'tools.staticdir.on': True,
        'tools.staticdir.dir': os.environ['FILES'],
        'tools.staticdir.precompressed': True,
        **gzip(mime_types='text/*,audio/*'),
    },
})
"""


class Site(Live):
    """A server before the application above, which writes down what it was asked for; `files` is served at /files."""

    def __init__(self, name, folder):
        (folder / 'app.py').write_text(APPLICATION, encoding='utf-8')
        self.files = folder / 'files'
        self.files.mkdir()
        port = free_port()
        super().__init__(command(name, 'app:application', port), port, folder, folder / 'out', FILES=str(self.files))

    def url(self, path):
        return f'http://127.0.0.1:{self.port}{path}'

    def seen(self, path):
        return [one for one in self.get('/seen').json() if one['path'] == path]


@pytest.fixture(params=['uvicorn', 'gunicorn-gthread'])
def site(request, tmp_path):
    live = Site(request.param, tmp_path)
    try:
        yield live.ready()
    finally:
        live.kill()
    assert 'Traceback' not in live.printed, live.printed


@pytest.fixture
def devtools(browser):
    with contextlib.closing(DevTools(browser())) as tools:
        yield tools


# --- the login form -------------------------------------------------------------------------------------------


def session_cookie(devtools, site):
    (cookie,) = devtools.call('Network.getCookies', urls=[site.url('/private/')])['cookies']
    assert cookie['name'] == 'session_id'
    return cookie


def log_in(devtools, name, password):
    for field, text in (('username', name), ('password', password)):
        box = devtools.driver.find_element('name', field)
        box.clear()
        box.send_keys(text)
    devtools.follow('[type=submit]')


def test_login_form_lets_in_with_the_right_password_only_and_logging_out_ends_that(devtools, site, tmp_path):
    driver = devtools.driver
    address = site.url('/private/?q=caf%C3%A9%26x')
    devtools.visit(address)
    assert devtools.last(address).status == 401
    assert driver.title == 'Log in'
    assert driver.find_elements('css selector', '[role=alert]') == []
    driver.save_screenshot(str(tmp_path / 'form.png'))
    planted = session_cookie(devtools, site)
    assert planted['httpOnly']
    assert planted['sameSite'] == 'Lax'
    assert driver.execute_script('return document.cookie') == ''

    log_in(devtools, '<b>"zoë"', 'wrong')
    assert devtools.text('[role=alert]') == 'Wrong name or password.'
    assert driver.find_element('css selector', '[role=alert]').is_displayed()
    assert driver.find_element('name', 'username').get_attribute('value') == '<b>"zoë"'
    assert driver.find_element('name', 'password').get_attribute('value') == ''
    driver.save_screenshot(str(tmp_path / 'refused.png'))

    log_in(devtools, 'zoë', 'pâss: wörd')
    assert driver.current_url == address
    assert devtools.text('h1') == 'Hello zoë'
    assert devtools.text('#q') == 'café&x'
    inside = session_cookie(devtools, site)
    assert inside['value'] != planted['value']
    assert (inside['httpOnly'], inside['sameSite']) == (True, 'Lax')
    assert driver.execute_script('return document.cookie') == ''

    def status_with(cookie):
        return site.get('/private/', headers={'Cookie': f'session_id={cookie["value"]}'}).status

    assert (status_with(planted), status_with(inside)) == (401, 200)

    devtools.follow('button')
    assert driver.current_url == site.url('/private/')
    assert driver.title == 'Log in'
    assert session_cookie(devtools, site)['value'] != inside['value']
    assert status_with(inside) == 401
    # Its own style sheet, and nothing else, was let through; the 401s are told of as well.
    assert not [line for line in driver.get_log('browser') if 'Content Security Policy' in line['message']]


def test_login_form_fits_narrow_and_wide_windows_light_and_dark(devtools, site, tmp_path):
    driver = devtools.driver
    devtools.visit(site.url('/private/'))
    log_in(devtools, 'ann', 'wrong')
    for width, scheme, colour in ((320, 'dark', 'rgb(255, 255, 255)'), (1100, 'light', 'rgb(0, 0, 0)')):
        devtools.call(
            'Emulation.setDeviceMetricsOverride', width=width, height=700, deviceScaleFactor=1, mobile=width < 500
        )
        devtools.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        assert driver.execute_script('return innerWidth') == width
        assert driver.execute_script('return document.documentElement.scrollWidth') <= width
        for selector in ('[role=alert]', 'label', '[name=username]', '[name=password]', '[type=submit]'):
            rect = driver.find_element('css selector', selector).rect
            assert rect['height'] >= 20, selector
            assert 0 <= rect['x'] <= rect['x'] + rect['width'] <= width, selector
        assert driver.execute_script('return getComputedStyle(document.body).color') == colour
        driver.save_screenshot(str(tmp_path / f'form-{width}-{scheme}.png'))


def test_login_form_that_another_site_posts_is_refused(devtools, site):
    target = site.url('/private/do_login')
    devtools.visit(f'http://localhost:{site.port}/foreign?target={target}')
    devtools.follow('button')
    answer = devtools.last(target)
    assert answer.sent['sec-fetch-site'] == 'cross-site'
    assert answer.status == 403
    devtools.visit(site.url('/private/'))
    assert devtools.driver.title == 'Log in'


# --- prompts --------------------------------------------------------------------------------------------------


def parameters(field):
    return {name: value.strip('"') for name, value in re.findall(r'([\w*]+)=("[^"]*"|[^\s,]+)', field)}


@pytest.mark.parametrize(
    ('kind', 'scheme', 'realm'),
    [
        ('basic', 'basic', 'The basic realm'),
        ('digest', 'digest', 'The digest realm'),
        ('md5', 'digest', 'The older realm'),
    ],
)
def test_prompt_is_answered_wrongly_then_rightly(devtools, site, kind, scheme, realm):
    devtools.catch_prompts()
    devtools.answers = [('zoë', 'wrong'), ('zoë', 'pâss: wörd')]
    address = site.url(f'/guarded/{kind}')
    devtools.visit(address)
    assert devtools.text('h1') == f'{kind} lets zoë in'
    assert [(one['scheme'], one['realm']) for one in devtools.prompts] == [(scheme, realm)] * 2
    first, wrong, right = site.seen(f'/guarded/{kind}')
    assert (first['authorization'], first['status']) == (None, 401)
    assert (wrong['status'], right['status']) == (401, 200)
    assert wrong['authorization'].lower().startswith(scheme)
    assert wrong['authorization'] != right['authorization']
    # The browser goes on by itself from there.
    devtools.visit(f'{address}?again=1')
    assert devtools.text('h1') == f'{kind} lets zoë in'
    assert devtools.last(f'{address}?again=1').sent['authorization'].lower().startswith(scheme)
    assert len(devtools.prompts) == 2
    assert [one['status'] for one in site.seen(f'/guarded/{kind}')] == [401, 401, 200, 200]


@pytest.mark.parametrize('kind', ['basic', 'digest'])
def test_cancelled_prompt_leaves_the_error_page(devtools, site, tmp_path, kind):
    devtools.catch_prompts()
    devtools.answers = [('ann', 'guessed')]
    address = site.url(f'/guarded/{kind}')
    devtools.visit(address)
    assert len(devtools.prompts) == 2
    assert devtools.last(address).status == 401
    assert devtools.text('h1, h2').startswith('401 Unauthorized')
    assert 'You are not authorized to access that resource' in devtools.text()
    assert 'lets' not in devtools.text()
    devtools.driver.save_screenshot(str(tmp_path / '401.png'))


@pytest.mark.parametrize(('kind', 'algorithm', 'digits'), [('digest', 'SHA-256', 64), ('md5', 'MD5', 32)])
def test_digest_is_proved_by_the_algorithm_offered_and_counts_its_nonce(devtools, site, kind, algorithm, digits):
    devtools.catch_prompts()
    devtools.answers = [('ann', 'secret')]
    for query in ('', '?a=1&b=%C3%A9', '?c'):
        devtools.visit(site.url(f'/guarded/{kind}{query}'))
    challenged, *proved = site.seen(f'/guarded/{kind}')
    assert [one['status'] for one in proved] == [200] * 3
    offered = parameters(challenged['challenge'])
    assert (offered['algorithm'], offered['qop']) == (algorithm, 'auth')
    for number, (one, query) in enumerate(zip(proved, ('', '?a=1&b=%C3%A9', '?c'), strict=True), 1):
        assert one['authorization'].startswith('Digest ')
        sent = parameters(one['authorization'])
        assert (sent['algorithm'], sent['qop'], sent['username']) == (algorithm, 'auth', 'ann')
        assert sent['nonce'] == offered['nonce']
        assert sent['nc'] == f'{number:08x}'
        assert sent['uri'] == f'/guarded/{kind}{query}'
        assert re.fullmatch(f'[0-9a-f]{{{digits}}}', sent['response'])
    assert len(devtools.prompts) == 1


def test_stale_nonce_is_renewed_without_another_prompt(devtools, site):
    devtools.catch_prompts()
    devtools.answers = [('ann', 'secret')]
    devtools.visit(site.url('/guarded/short'))
    old = parameters(site.seen('/guarded/short')[-1]['authorization'])['nonce']
    made = int(old.partition(':')[0])
    devtools.until(lambda: time.time() > made + 1.1, 'the nonce growing old')
    devtools.visit(site.url('/guarded/short'))
    assert devtools.text('h1') == 'short lets ann in'
    assert len(devtools.prompts) == 1
    *_, refused, renewed = site.seen('/guarded/short')
    assert refused['status'] == 401
    assert parameters(refused['authorization'])['nonce'] == old
    assert parameters(refused['challenge'])['stale'] == 'true'
    assert renewed['status'] == 200
    sent = parameters(renewed['authorization'])
    assert sent['nonce'] == parameters(refused['challenge'])['nonce'] != old
    assert sent['nc'] == '00000001'


# --- caches ---------------------------------------------------------------------------------------------------


def test_cached_page_is_revalidated_and_made_once(devtools, site):
    address = site.url('/counted/shared')
    devtools.visit(address)
    first = devtools.last(address)
    assert (first.status, first.cached) == (200, False)
    assert first.headers['content-encoding'] == 'gzip'
    devtools.visit(site.url('/'))
    devtools.visit(address)
    second = devtools.last(address)
    assert second is not first
    assert second.sent['if-none-match'] == first.headers['etag']
    assert (second.status, second.headers['etag']) == (304, first.headers['etag'])
    assert 'age' in second.headers
    assert devtools.text('h1') == 'made 1'
    assert site.get('/times_made/shared').text == '1'
    assert [one['status'] for one in site.seen('/counted/shared')] == [200, 304]


def test_reload_past_all_caches_makes_the_page_anew(devtools, site):
    address = site.url('/counted/shared')
    devtools.visit(address)
    devtools.leave(lambda: devtools.send('Page.reload', ignoreCache=True))
    assert devtools.last(address).sent['cache-control'] == 'no-cache'
    assert devtools.last(address).status == 200
    assert devtools.text('h1') == 'made 2'
    devtools.visit(site.url('/'))
    devtools.visit(address)
    assert devtools.last(address).status == 304
    assert devtools.text('h1') == 'made 2'


def test_page_that_has_not_expired_is_not_asked_for_again(devtools, site):
    address = site.url('/counted/kept')
    devtools.visit(address)
    devtools.visit(site.url('/'))
    devtools.visit(address)
    assert [one.cached for one in devtools.all_of(address)] == [False, True]
    assert devtools.text('h1') == 'made 1'
    assert len(site.seen('/counted/kept')) == 1


def test_page_that_expires_at_once_is_made_and_revalidated_each_time(devtools, site):
    address = site.url('/steady')
    for status in (200, 304, 304):
        devtools.visit(address)
        assert devtools.last(address).status == status
        assert devtools.last(address).headers['cache-control'] == 'no-cache, must-revalidate'
        assert devtools.text('h1') == 'always the same'
        devtools.visit(site.url('/'))
    assert site.get('/times_made/steady').text == '3'


# --- ranges ---------------------------------------------------------------------------------------------------

SECONDS = 300


def write_sound(path):
    """Write a WAV file of SECONDS, 26 MB, in which no two parts are alike."""
    with wave.open(str(path), 'wb') as file:
        file.setparams((1, 2, 44100, 0, 'NONE', ''))
        for second in range(SECONDS):
            file.writeframes(second.to_bytes(2, 'little') * 44100)


def test_video_is_played_near_its_end_without_what_lies_before(devtools, site, tmp_path):
    driver = devtools.driver
    path = site.files / 'long.wav'
    write_sound(path)
    size = path.stat().st_size
    address = site.url('/files/long.wav')
    devtools.visit(site.url('/player'))

    def video(expression):
        return driver.execute_script(f'return document.getElementById("video").{expression}')

    devtools.until(lambda: video('readyState') >= 1, 'the length')
    assert video('duration') == pytest.approx(SECONDS)
    driver.execute_script(
        'const video = document.getElementById("video");'
        'video.onseeked = () => { window.seeked = video.currentTime; };'
        f'video.currentTime = {SECONDS - 5};'
    )
    devtools.until(lambda: driver.execute_script('return window.seeked'), 'the place')
    assert video('currentTime') == pytest.approx(SECONDS - 5)
    driver.execute_script('return document.getElementById("video").play()')
    devtools.until(lambda: video('currentTime') > SECONDS - 4.5, 'its going on')
    assert video('error') is None
    driver.save_screenshot(str(tmp_path / 'video.png'))

    asked = devtools.all_of(address)
    devtools.until(lambda: not any(one.untold for one in asked), 'what was on the wire')
    # Of a request that Chromium has given up before it went out there is nothing to be read.
    asked = [one for one in asked if 'range' in one.sent]
    assert len(asked) >= 2
    starts = []
    # Chromium wants media as they are: the `gzip` tool and files compressed before keep out of it.
    assert all(one['accept_encoding'].startswith('identity') for one in site.seen('/files/long.wav'))
    for one in asked:
        assert 'content-encoding' not in one.headers
        first, last = re.fullmatch(r'bytes=(\d+)-(\d*)', one.sent['range']).groups()
        if one.status == 304:
            # It has that part already.
            assert one.sent['if-none-match'] == asked[0].headers['etag']
            continue
        first, last = int(first), int(last or size - 1)
        assert one.status == 206
        assert one.headers['content-range'] == f'bytes {first}-{last}/{size}'
        assert one.headers['content-length'] == str(last + 1 - first)
        starts.append(first)
    assert starts[0] == 0
    # What is played comes from the place sought, not from the start.
    assert size * (SECONDS - 20) / SECONDS < max(starts) < size


class Relay:
    """Hands connections on to `site`; cuts the first answer that gets longer than `limit` bytes, after `cut()`."""

    def __init__(self, site, limit, cut=lambda: None):
        self.target = ('127.0.0.1', site.port)
        self.limit = limit
        self.cut = cut
        self.cuts = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(self.target, WAIT)
                self.open += [client, server]
                for source, goal, counted in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self.hand_on, args=(source, goal, counted))
                    self.threads.append(thread)
                    thread.start()

    def hand_on(self, source, goal, counted):
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                goal.sendall(data)
                if counted and passed > self.limit:
                    with self.lock:
                        if not self.cuts:
                            self.cuts += 1
                            self.cut()
                            break
        for sock in (source, goal):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        for sock in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self.threads:
            thread.join(WAIT)


@pytest.mark.parametrize('changed', [False, True], ids=['same file', 'another file meanwhile'])
def test_download_cut_in_the_middle_is_resumed_where_the_file_is_the_same(devtools, site, tmp_path, changed):
    content = os.urandom(8_000_000)
    path = site.files / 'data.bin'
    path.write_bytes(content)
    other = os.urandom(7_000_000)

    def cut():
        if changed:
            new = site.files / 'new'
            new.write_bytes(other)
            new.replace(path)

    with contextlib.closing(Relay(site, 3_000_000, cut)) as relay:
        devtools.driver.execute_script(f'location = "http://127.0.0.1:{relay.port}/files/data.bin"')
        saved = tmp_path / 'downloads' / 'data.bin'
        until(devtools.driver, saved.exists)
    assert relay.cuts == 1
    assert saved.read_bytes() == (other if changed else content)
    first, resumed, *_ = site.seen('/files/data.bin')
    assert (first['range'], first['status']) == (None, 200)
    assert int(re.match(r'bytes=(\d+)-', resumed['range'])[1]) > 1_000_000
    assert resumed['if_range'].startswith('"')
    assert resumed['status'] == (200 if changed else 206)


# --- content codings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('path', 'coding'),
    [('/zipped/gzip', 'gzip'), ('/zipped/br', 'br'), ('/zipped/zstd', 'zstd'), ('/streamed', 'br')],
)
def test_compressed_page_is_read_by_the_browser(devtools, site, path, coding):
    address = site.url(path)
    devtools.visit(address)
    page = devtools.last(address)
    assert page.status == 200
    assert coding in page.sent['accept-encoding'].split(', ')
    assert page.headers['content-encoding'] == coding
    assert 'Accept-Encoding' in page.headers['vary']
    plain = site.get(path)
    assert 'content-encoding' not in plain.headers
    assert page.length == len(plain.body)
    assert page.encoded < page.length / 8
    lines = devtools.driver.execute_script('return [...document.querySelectorAll("li")].map(one => one.textContent)')
    assert lines == [f'line {number} of many, é' for number in range(2000)]


def test_file_compressed_before_is_sent_for_a_script(devtools, site):
    import brotli

    script = 'document.getElementById("words").textContent = "said by a script, é";\n' + '// filler\n' * 5000
    (site.files / 'words.js').write_text(script, encoding='utf-8')
    packed = brotli.compress(script.encode())
    (site.files / 'words.js.br').write_bytes(packed)
    (site.files / 'words.js.gz').write_bytes(b'never sent, since br is preferred')
    address = site.url('/files/words.js')
    devtools.visit(site.url('/words'))
    assert devtools.text('#words') == 'said by a script, é'
    loaded = devtools.last(address)
    assert loaded.headers['content-encoding'] == 'br'
    assert loaded.headers['content-length'] == str(len(packed))
    assert loaded.headers['content-type'].startswith(('text/javascript', 'application/javascript'))
    assert loaded.headers['etag'].endswith('-br"')
    assert loaded.length == len(script.encode())
    assert loaded.encoded < 1000
    # It is revalidated as what it is.
    devtools.leave(lambda: devtools.send('Page.reload'))
    again = devtools.last(address)
    assert again.status == 304
    assert again.sent['if-none-match'] == loaded.headers['etag']
    assert devtools.text('#words') == 'said by a script, é'
