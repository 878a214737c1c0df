"""Cases of Spec C 1.3, 2.2 and 2.6: the tools `caching`, `expires`, `auth_basic` and `auth_digest`, and their modules.

Each case is a conversation with an application of its own; what counts of each answer goes into a list.
"""

from __future__ import annotations

import base64
import importlib
import io
import sys
import time
from collections.abc import Callable
from hashlib import md5, sha256
from typing import Any

from .table import expression
from .transport import hand_over

__all__: list[str] = []

Headers = dict[str, str]


class Talk:
    """A conversation with an application of one page, /x; `visits` counts its calls.

    page: called with the package and the number of the visit; gives the body.
    """

    def __init__(self, cp: Any, page: Callable[[Any, int], Any], config: dict[str, Any]) -> None:
        talk = self
        self.cp = cp
        self.visits = 0
        self.later = 0.0
        self.sent: list[tuple[str, str]] = []

        class Root:
            @cp.expose
            def default(self, *args: str, **kwargs: str) -> Any:
                talk.visits += 1
                return page(cp, talk.visits)

        # One package keeps its store in the module, the other with the tool.
        if hasattr(cp, '_cache'):
            if '_cache' in vars(cp):
                del cp._cache
            else:
                cp.tools.caching.caches.clear()
        self.app = cp.Application(Root(), '', {'/': {**config, 'hooks.on_start_resource.later': self.tell_time}})

    def tell_time(self) -> None:
        self.cp.response.time = time.time() + self.later

    def wait(self, seconds: float) -> None:
        """Let the package's cache think that time has passed."""
        self.later += seconds
        cache = getattr(self.cp, '_cache', None)
        if hasattr(cache, 'clock'):
            cache.clock = lambda: time.monotonic() + self.later

    def ask(
        self,
        path: str = '/x',
        query: str = '',
        method: str = 'GET',
        body: bytes | None = None,
        host: str = 'h',
        **headers: str,
    ) -> tuple[int, Headers, str]:
        """Give (status code, headers by lower-case names, body); of an error page its message."""
        environ = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'QUERY_STRING': query,
            'SERVER_NAME': 'h',
            'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '127.0.0.1',
            'HTTP_HOST': host,
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(body or b''),
            'wsgi.errors': sys.stderr,
            'wsgi.multithread': True,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
        }
        if body is not None:
            environ |= {'CONTENT_LENGTH': str(len(body)), 'CONTENT_TYPE': 'application/x-www-form-urlencoded'}
        environ.update({f'HTTP_{name.upper()}': value for name, value in headers.items()})
        started: list[Any] = []
        chunks = hand_over(self.app, environ, lambda status, headers, exc_info=None: started.append((status, headers)))
        try:
            text = b''.join(chunks).decode('latin-1')
        finally:
            getattr(chunks, 'close', lambda: None)()
        status, sent = started[-1]
        self.sent = sent
        if '<h2>' in text:
            text = text.partition('<p>')[2].partition('</p>')[0]
        return int(status[:3]), {name.lower(): value for name, value in sent}, text


# --- caching


def seen(answer: tuple[int, Headers, str]) -> tuple[int, str, str | None]:
    """Give status, body and Age."""
    code, headers, body = answer
    return code, body, headers.get('age')


def cached(
    ident: str,
    *asked: Any,
    page: Callable[[Any, int], Any] = lambda cp, n: f'visit {n}',
    also: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """Ask one question after the other; a number waits as many seconds, a callable is called with the talk."""

    def conversation(cp: Any) -> Any:
        config = {'tools.caching.on': True, **(also or {})}
        config.update({f'tools.caching.{name}': value for name, value in settings.items()})
        talk = Talk(cp, page, config)
        answers: list[Any] = []
        for question in asked:
            if isinstance(question, (int, float)):
                talk.wait(question)
            elif callable(question):
                answers.append(question(talk))
            else:
                answers.append(seen(talk.ask(**question)))
        return answers

    expression(f'C2.2-{ident}', conversation)


GET: dict[str, Any] = {}


def get(**more: Any) -> dict[str, Any]:
    return more


def answering(body: Any = None, **headers: str) -> Callable[[Any, int], Any]:
    """Give a page that sets these headers."""

    def page(cp: Any, n: int) -> Any:
        for name, value in headers.items():
            cp.response.headers[name.replace('_', '-')] = value
        return f'visit {n}' if body is None else body

    return page


def stream(cp: Any, n: int) -> Any:
    cp.response.stream = True
    return (f'{text} {n}' for text in ('a', 'b'))


def fail(cp: Any, n: int) -> Any:
    if n < 3:
        raise ValueError('n')
    return f'visit {n}'


cached('twice', GET, GET)
cached('age', GET, 7, GET)
cached('delay-over', GET, 10, GET, GET, delay=5)
cached('delay-default', GET, 590, GET, 20, GET)
cached('queries', get(query='a=1'), get(query='a=2'), get(query='a=1'))
cached('paths', get(path='/x/a'), get(path='/x/b'), get(path='/x/a'))
cached('hosts', GET, get(host='other'), GET, get(host='other'))
cached('head', GET, get(method='HEAD'), GET)
for method in ('POST', 'PUT', 'DELETE'):
    cached(f'invalidated-by-{method}', GET, get(method=method, body=b''), GET, GET)
cached('invalid-methods', GET, get(method='DELETE'), GET, GET, invalid_methods=('DELETE',))
cached('variants', get(x_a='1'), get(x_a='2'), get(x_a='1'), get(x_a='2'), page=answering(Vary='X-A'))
cached('request-pragma', GET, get(pragma='no-cache'), GET)
cached('request-no-cache', GET, get(cache_control='no-cache'), GET)
cached('request-max-age', GET, 10, get(cache_control='max-age=20'), get(cache_control='max-age=5'), GET)
cached('request-max-age-bad', GET, get(cache_control='max-age=x'))
cached('request-no-store', get(cache_control='no-store'), GET, GET)
cached('response-no-store', GET, GET, page=answering(Cache_Control='no-store'))
cached('response-pragma', GET, GET, page=answering(Pragma='no-cache'))
cached('empty', GET, GET, page=answering(''))
cached('stream', GET, GET, page=stream)
cached('error-500', GET, GET, GET, GET, page=fail, also={'tools.log_tracebacks.on': False})
cached('maxobj_size', GET, GET, page=answering(b'x' * 50), maxobj_size=40)
cached('maxobj_size-fits', GET, GET, maxobj_size=40)
cached('maxobjects', get(query='1'), get(query='2'), get(query='2'), maxobjects=5)
cached('maxsize', GET, GET, maxsize=5)
cached('maxsize-fits', GET, GET, maxsize=1000)
cached('antistampede_timeout', GET, GET, antistampede_timeout=None)
cached('expire_freq', GET, GET, expire_freq=1)
cached('debug', GET, GET, get(method='POST', body=b''), debug=True)
cached('priority', GET, GET, priority=95)
MODIFIED = answering(Last_Modified='Sun, 06 Nov 1994 08:49:37 GMT')
cached('not-modified', GET, get(if_modified_since='Sun, 06 Nov 1994 08:49:37 GMT'), GET, page=MODIFIED)
cached('modified', GET, get(if_modified_since='Sun, 06 Nov 1993 08:49:37 GMT'), page=MODIFIED)
TAGGED = answering(ETag='"t"')
cached('etags', GET, get(if_none_match='"t"'), get(if_none_match='"u"'), page=TAGGED, also={'tools.etags.on': True})


def compressed(talk: Talk) -> Any:
    _, headers, _ = talk.ask(accept_encoding='gzip')
    return headers.get('content-encoding'), headers.get('age')


cached('gzip', GET, compressed, GET, compressed, also={'tools.gzip.on': True})
cached('expires', GET, lambda t: 'expires' in t.ask()[1], also={'tools.expires.on': True, 'tools.expires.secs': 60})


def flags(cp: Any, n: int) -> Any:
    return f'{cp.request.cached} {cp.request.cacheable}'


cached('flags', lambda t: t.ask()[2], lambda t: t.ask(method='POST', body=b'')[2], page=flags)
cached('store', GET, lambda t: sorted(t.cp._cache.store))
cached('store-cleared', GET, lambda t: t.cp._cache.store['http://h/x'].clear(), GET)
cached('counters', GET, GET, lambda t: (t.cp._cache.tot_puts, t.cp._cache.tot_hist, t.cp._cache.tot_non_modified))
cached('query-in-store', get(query='a=1'), lambda t: sorted(t.cp._cache.store))
cached('hand-cleared', GET, lambda t: t.cp._cache.clear(), GET)
cached('headers', GET, lambda t: t.ask()[1].get('x-own'), page=answering(X_Own='kept'))


def own_store(cp: Any) -> Any:
    base = importlib.import_module(f'{cp.__name__}.lib.caching').Cache
    noted: list[Any] = []

    class Shelf(base):  # type: ignore[misc]
        kept: Any = None

        def get(self) -> Any:
            noted.append('get')
            return self.kept

        def put(self, obj: Any, size: int) -> None:
            noted.append(('put', size, len(obj), obj[0]))
            self.kept = obj

        def delete(self) -> None:
            noted.append('delete')
            self.kept = None

    talk = Talk(
        cp,
        lambda cp, n: f'visit {n}',
        {'tools.caching.on': True, 'tools.caching.cache_class': Shelf, 'tools.caching.delay': 60},
    )
    return [seen(talk.ask()), seen(talk.ask()), noted[:]]


expression('C2.2-cache_class', own_store)


def contract(cp: Any) -> Any:
    cache = importlib.import_module(f'{cp.__name__}.lib.caching').Cache()
    raised = []
    for call in (cache.get, lambda: cache.put(None, 0), cache.delete, cache.clear):
        try:
            call()
        except Exception as exc:
            raised.append(type(exc).__name__)
    return raised


def defaults(cp: Any) -> Any:
    memory = importlib.import_module(f'{cp.__name__}.lib.caching').MemoryCache
    names = ('maxobjects', 'maxobj_size', 'maxsize', 'delay', 'antistampede_timeout', 'expire_freq', 'debug')
    return [getattr(memory, name) for name in names]


def stampede(cp: Any) -> Any:
    table = importlib.import_module(f'{cp.__name__}.lib.caching').AntiStampedeCache()
    first = table.wait('k')
    second = table.wait('k', timeout=0.01)
    table['k'] = 'v'
    return first, second, table.wait('k'), table.wait('k', 1, True)


expression('C2.2-contract', contract)
expression('C2.2-defaults', defaults)
expression('C2.2-anti-stampede-cache', stampede)

# Where they differ: what is answered from the cache,
for method in ('PATCH', 'OPTIONS', 'WHATEVER'):
    cached(f'method-{method}', GET, get(method=method, body=b''), GET)
cached('method-unsafe-and-unnamed', GET, get(method='PUT', body=b''), GET, invalid_methods=('POST',))
cached('head-fills', get(method='HEAD'), GET)
cached('authorization', get(authorization='Bearer a'), GET)
cached('answer-to-authorization', GET, get(authorization='Bearer a'))
cached('request-no-store-hit', GET, get(cache_control='no-store'))
cached('request-min-fresh', GET, 590, get(cache_control='min-fresh=20'))
cached('request-only-if-cached', get(cache_control='only-if-cached'))
cached('condition-on-the-origin', GET, get(if_match='"u"'), page=answering(ETag='"t"'))
# what is kept,
for ident, field in {
    'private': 'private',
    'no-cache': 'no-cache',
    'max-age-0': 'max-age=0',
    's-maxage': 's-maxage=0, max-age=60',
}.items():
    cached(f'response-{ident}', GET, GET, page=answering(Cache_Control=field))
cached('response-max-age', GET, 20, GET, page=answering(Cache_Control='max-age=10'))
cached('response-expires', GET, GET, page=answering(Expires='Sun, 06 Nov 1994 08:49:37 GMT'))
cached('response-vary-all', get(x_a='1'), get(x_a='2'), page=answering(Vary='*'))
cached('response-cookie', GET, GET, page=answering(Set_Cookie='a=1'))


def look_at_cookie(cp: Any, n: int) -> Any:
    return f'{sorted(cp.request.cookie)} {n}'


def error_404(cp: Any, n: int) -> Any:
    raise cp.HTTPError(404, f'visit {n}')


def redirect(cp: Any, n: int) -> Any:
    raise cp.HTTPRedirect(f'/{n}')


def status_201(cp: Any, n: int) -> Any:
    cp.response.status = 201
    return f'visit {n}'


cached('response-cookies-read', get(cookie='a=1'), get(cookie='b=1'), page=look_at_cookie)
cached('response-404', GET, GET, page=error_404)
cached('response-303', lambda t: t.ask()[1]['location'], lambda t: t.ask()[1]['location'], page=redirect)
cached('response-201', GET, GET, page=status_201)
# how it is found,
cached('variants-swapped', get(x_a='1', x_b='2'), get(x_a='2', x_b='1'), page=answering(Vary='X-A, X-B'))
cached('age-at-the-limit', GET, 5, GET, delay=5)


def more_than_fits(talk: Talk) -> Any:
    for n in range(8):
        talk.ask(query=f'n={n}')
    return seen(talk.ask(query='n=7'))[2]


cached('more-objects-than-fit', more_than_fits, maxobjects=3)


def two_delays(cp: Any) -> Any:
    config = {'tools.caching.on': True, 'tools.caching.delay': 1000}
    talk = Talk(cp, lambda cp, n: f'visit {n}', config)
    talk.app.merge({'/x': {'tools.caching.delay': 5}})
    answers = [seen(talk.ask('/y')), seen(talk.ask('/x'))]
    talk.wait(10)
    return [*answers, seen(talk.ask('/y')), seen(talk.ask('/x'))]


expression('C2.2-delays-of-two-paths', two_delays)
# and what counts as a setting.
cached('setting-unknown', lambda t: t.ask()[0], maxobjcts=5)

# --- auth_basic

USERS = {'ada': 'secret', 'colon': 'a:b', 'empty': '', 'jos\u00e9': 'pass\u00e9'}


def basic_talk(cp: Any, **settings: Any) -> Talk:
    module = importlib.import_module(f'{cp.__name__}.lib.auth_basic')
    wanted = {'realm': 'the realm', 'checkpassword': module.checkpassword_dict(USERS), **settings}
    config = {f'tools.auth_basic.{name}': value for name, value in wanted.items() if value is not None}
    return Talk(cp, lambda cp, n: ascii(cp.request.login), {'tools.auth_basic.on': True, **config})


def basic(ident: str, *fields: str | None, **settings: Any) -> None:
    """Ask with each of these Authorization fields; None is none."""

    def conversation(cp: Any) -> Any:
        talk = basic_talk(cp, **settings)
        answers = []
        for field in fields:
            code, headers, body = talk.ask(**({} if field is None else {'authorization': field}))
            answers.append((code, headers.get('www-authenticate'), body))
        return answers

    expression(f'C1.3-auth_basic-{ident}', conversation)


def encoded(text: str, charset: str = 'utf-8', scheme: str = 'Basic') -> str:
    return f'{scheme} {base64.b64encode(text.encode(charset)).decode()}'


basic('none', None)
basic('good', encoded('ada:secret'), encoded('colon:a:b'), encoded('jos\u00e9:pass\u00e9'))
basic('refused', encoded('ada:wrong'), encoded('ada:'), encoded('unknown:x'), encoded('empty:'), encoded(':'))
basic('scheme-case', encoded('ada:secret', scheme='BASIC'), encoded('ada:secret', scheme='basic'))
basic('other-scheme', 'Bearer abc', 'Digest username="ada"')
basic('malformed', 'Basic', 'Basic x', 'Basic YWRh', 'Basic YWRh=')
basic('latin-1', encoded('jos\u00e9:pass\u00e9', 'latin-1'))
basic('decomposed', encoded('jose\u0301:passe\u0301'))
basic('charset', None, encoded('jos\u00e9:pass\u00e9', 'latin-1'), accept_charset='iso-8859-1')
basic('charset-upper', None, accept_charset='ISO-8859-1')
basic('charset-other', None, encoded('ada:secret'), accept_charset='us-ascii')
basic('realm-quote', None, realm='a"b')
basic('debug', None, encoded('ada:secret'), debug=True)
basic('priority', encoded('ada:secret'), None, priority=5)
basic('own-check', encoded('ada:x'), encoded('bob:x'), checkpassword=lambda realm, user, password: user == 'ada')
basic('check-fails', encoded('ada:x'), checkpassword=lambda realm, user, password: 1 / 0)
basic('no-realm', encoded('ada:secret'), realm=None)
basic('no-check', encoded('ada:secret'), checkpassword=None)


def check_dict(cp: Any) -> Any:
    check = importlib.import_module(f'{cp.__name__}.lib.auth_basic').checkpassword_dict(USERS)
    pairs = [('ada', 'secret'), ('ada', 'x'), ('unknown', 'x'), ('empty', ''), ('jos\u00e9', 'pass\u00e9')]
    return [bool(check('r', user, password)) for user, password in pairs]


expression('C1.3-auth_basic-dict', check_dict)

# Where they differ: what is base64 and what is a name, and when it is asked.
basic('junk-in-base64', 'Basic YWRh*OnNlY3JldA==')
basic('controls', encoded('ada\x00:secret'))
expression('C1.3-auth_basic-before-the-body', lambda cp: basic_talk(cp).ask(method='POST')[0])

# --- auth_digest

KEY = 'a565c27146791cfb'
REALM = 'the realm'
HASHES = {'MD5': md5, 'SHA-256': sha256}


def digest_talk(cp: Any, **settings: Any) -> Talk:
    module = importlib.import_module(f'{cp.__name__}.lib.auth_digest')
    ha1 = {user: module.md5_hex(f'{user}:{REALM}:{password}') for user, password in USERS.items()}
    wanted = {'realm': REALM, 'get_ha1': module.get_ha1_dict(ha1), 'key': KEY, **settings}
    config = {f'tools.auth_digest.{name}': value for name, value in wanted.items() if value is not None}
    return Talk(cp, lambda cp, n: ascii(cp.request.login), {'tools.auth_digest.on': True, **config})


def read_challenge(challenge: str) -> dict[str, str]:
    assert challenge.startswith('Digest ')
    return {name: value.strip('"') for name, _, value in (part.partition('=') for part in challenge[7:].split(', '))}


def proof(
    nonce: str,
    user: str = 'ada',
    password: str = 'secret',
    algorithm: str = 'MD5',
    qop: str | None = 'auth',
    method: str = 'GET',
    uri: str = '/x',
    **changed: Any,
) -> str:
    def hashed(text: str) -> str:
        return HASHES[algorithm.removesuffix('-sess')](text.encode()).hexdigest()

    params: dict[str, Any] = {
        'username': user,
        'realm': REALM,
        'nonce': nonce,
        'uri': uri,
        'algorithm': algorithm,
        'qop': qop,
        'nc': '00000001' if qop else None,
        'cnonce': 'abc' if qop else None,
    }
    params.update({name: value for name, value in changed.items() if name in params})
    ha1 = hashed(f'{user}:{params["realm"]}:{password}')
    if algorithm.endswith('-sess'):
        ha1 = hashed(f'{ha1}:{nonce}:abc')
    ha2 = hashed(f'{method}:{uri}' + (f':{hashed("")}' if qop == 'auth-int' else ''))
    middle = f'{nonce}:{params["nc"]}:{params["cnonce"]}:{qop}' if qop else nonce
    params['response'] = hashed(f'{ha1}:{middle}:{ha2}')
    params.update(changed)
    written = ', '.join(f'{name}="{value}"' for name, value in params.items() if value is not None)
    return f'Digest {written}'.encode().decode('latin-1')


def digest(ident: str, *proofs: dict[str, Any] | str | None, **settings: Any) -> None:
    """Ask for a challenge, then with each of these proofs; each answer shows what does not change from run to run."""

    def conversation(cp: Any) -> Any:
        talk = digest_talk(cp, **settings)
        nonce = read_challenge(talk.ask()[1]['www-authenticate'])['nonce']
        answers = []
        for given in proofs:
            field = given
            if isinstance(given, dict):
                field = proof(**{'nonce': nonce, **given})
            code, headers, body = talk.ask(**({} if field is None else {'authorization': field}))
            challenge = headers.get('www-authenticate')
            shown = None
            if challenge is not None:
                params = read_challenge(challenge)
                shown = [(name, value) for name, value in params.items() if name not in ('nonce', 'opaque')]
            answers.append((code, shown, body))
        return answers

    expression(f'C1.3-auth_digest-{ident}', conversation)


GOOD: dict[str, Any] = {}

digest('none', None)
digest('good', GOOD)
digest('next-count', {'nc': '00000001'}, {'nc': '00000002'})
digest('refused', {'password': 'wrong'}, {'user': 'unknown'}, {'nonce': '1:x'}, {'nonce': 'x'}, {'response': 'x'})
digest('name', {'user': 'jos\u00e9', 'password': 'pass\u00e9'})
digest('other-scheme', 'Basic eDp5', 'Digested x')
for missing in ('username', 'realm', 'nonce', 'uri', 'response', 'nc', 'cnonce'):
    digest(f'missing-{missing}', {missing: None})
digest('unknown', {'algorithm': 'MD5', 'qop': 'auth', 'response': 'x'}, 'Digest algorithm="X"', 'Digest qop="y"')
digest('empty', 'Digest ')
digest('charset', None, accept_charset='iso-8859-1')
digest('charset-upper', None, accept_charset='ISO-8859-1')
digest('debug', GOOD, None, debug=True)
digest('priority', GOOD, priority=5)
digest('other-realm', {'realm': 'other'})
digest('other-key', {'password': 'wrong'}, key='another')
digest('no-realm', None, realm=None)


def in_function(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda cp: function(importlib.import_module(f'{cp.__name__}.lib.auth_digest'))


HEADER = (
    'Digest username="a", realm="r", nonce="n", uri="/u", response="x", '
    'algorithm=MD5, qop=auth, nc=00000001, cnonce="c"'
)


def attributes(module: Any) -> Any:
    auth = module.HttpDigestAuthorization(HEADER, 'GET')
    names = ('realm', 'username', 'nonce', 'uri', 'response', 'algorithm', 'cnonce', 'qop', 'nc', 'opaque')
    return [getattr(auth, name) for name in names]


def digests(module: Any) -> Any:
    auth = module.HttpDigestAuthorization(HEADER, 'GET')
    return auth.HA2(), auth.request_digest('0' * 32), auth.errmsg('x'), auth.scheme


def stale(module: Any) -> Any:
    found = []
    for seconds in (0, 599, 601, 10**6):
        nonce = module.synthesize_nonce(REALM, KEY, int(time.time()) - seconds)
        auth = module.HttpDigestAuthorization(HEADER.replace('"n"', f'"{nonce}"'), 'GET')
        found.append(
            (
                *(auth.validate_nonce(REALM, KEY), auth.validate_nonce('s', KEY), auth.validate_nonce(REALM, 'k')),
                *(auth.is_nonce_stale(), auth.is_nonce_stale(max_age_seconds=10)),
            )
        )
    return found


def hashes(module: Any) -> Any:
    plain = module.get_ha1_dict_plain(USERS)
    kept = module.get_ha1_dict({'ada': '0' * 32})
    return [plain('r', 'ada'), plain('r', 'unknown'), plain('r', 'empty'), kept('r', 'ada'), kept('r', 'unknown')]


def matches(module: Any) -> Any:
    return [
        bool(module.HttpDigestAuthorization.matches(text)) for text in ('Digest x', 'digest x', 'Basic x', 'Digestx x')
    ]


def challenge(module: Any) -> Any:
    return [
        module.www_authenticate('r', 'k', nonce='n'),
        module.www_authenticate('r', 'k', 'MD5', 'n', 'auth', True, 'ISO-8859-1'),
        module.www_authenticate('r', 'k', nonce='n', qop='auth-int'),
    ]


expression('C2.6-auth_digest-attributes', in_function(attributes))
expression('C2.6-auth_digest-digests', in_function(digests))
expression('C2.6-auth_digest-stale', in_function(stale))
expression('C2.6-auth_digest-hashes', in_function(hashes))
expression('C2.6-auth_digest-matches', in_function(matches))
expression('C2.6-auth_digest-challenge', in_function(challenge))
expression('C2.6-auth_digest-H', in_function(lambda module: (module.H('a'), module.md5_hex('\u00e9'))))
expression(
    'C2.6-auth_digest-constants',
    in_function(
        lambda module: (
            module.qop_auth,
            module.qop_auth_int,
            tuple(module.valid_qops),
            module.DEFAULT_CHARSET,
            module.FALLBACK_CHARSET,
        )
    ),
)


def old_nonce(cp: Any) -> Any:
    module = importlib.import_module(f'{cp.__name__}.lib.auth_digest')
    talk = digest_talk(cp)
    nonce = module.synthesize_nonce(REALM, KEY, int(time.time()) - 700)
    code, headers, _ = talk.ask(authorization=proof(nonce))
    return code, read_challenge(headers['www-authenticate']).get('stale')


def from_file(cp: Any) -> Any:
    import tempfile

    module = importlib.import_module(f'{cp.__name__}.lib.auth_digest')
    with tempfile.NamedTemporaryFile('w', suffix='.htdigest') as file:
        file.write(f'bob:r:{"1" * 32}\nada:q:{"2" * 32}\nada:r:{"3" * 32}\nada:r:{"4" * 32}\n')
        file.flush()
        get_ha1 = module.get_ha1_file_htdigest(file.name)
        return get_ha1('r', 'ada'), get_ha1('r', 'bob'), get_ha1('r', 'x')


expression('C1.3-auth_digest-old-nonce', old_nonce)
expression('C2.6-auth_digest-file', from_file)

# Where they differ: what is offered,
expression('C1.3-auth_digest-opaque', lambda cp: 'opaque' in digest_talk(cp).ask()[1]['www-authenticate'])


def offered(cp: Any) -> Any:
    module = importlib.import_module(f'{cp.__name__}.lib.auth_digest')
    talk = digest_talk(cp, get_ha1=module.get_ha1_dict_plain(USERS))
    talk.ask()
    return [read_challenge(value)['algorithm'] for name, value in talk.sent if name.lower() == 'www-authenticate']


expression('C1.3-auth_digest-algorithms-offered', offered)
expression('C2.6-auth_digest-algorithms', in_function(lambda module: tuple(module.valid_algorithms)))
digest('md5-sess', {'algorithm': 'MD5-sess'})
digest('auth-int', {'qop': 'auth-int'})
# and what is taken.
digest('replayed', GOOD, GOOD)
digest('without-qop', {'qop': None})
digest('other-uri', {'uri': '/y'})
digest('bad-count', {'nc': '1'})
expression('C1.3-auth_digest-before-the-body', lambda cp: digest_talk(cp).ask(method='POST')[0])
expression(
    'C2.6-auth_digest-nonces-differ',
    in_function(lambda module: module.synthesize_nonce('r', 'k') != module.synthesize_nonce('r', 'k')),
)
expression(
    'C2.6-auth_digest-nonce',
    in_function(lambda module: len(module.synthesize_nonce('r', 'k', 1000).partition(':')[2])),
)
