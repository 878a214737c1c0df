"""The sessions tool: its variants of the application, and the cases. Ids begin with the section of Spec C.

The callable of these variants keeps cookies between requests, as a browser does: `X-Jar` names the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .application import PLAIN, Later, Wsgi, variant
from .table import case as add_case
from .transport import speaks_asgi

__all__: list[str] = []

# The cookie as CherryPy sends it: its attributes are compared by cases of their own.
BASE: dict[str, Any] = {'tools.sessions.on': True, 'tools.sessions.httponly': False, 'tools.sessions.samesite': None}


class Jar:
    """Passes requests on with the cookies that earlier responses set."""

    def __init__(self, app: Wsgi) -> None:
        self.app = app
        self.cookies: dict[str, dict[str, str]] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        cookies = self.cookies.setdefault(environ.pop('HTTP_X_JAR', ''), {})
        if cookies and 'HTTP_COOKIE' not in environ:
            environ['HTTP_COOKIE'] = '; '.join(f'{name}={value}' for name, value in cookies.items())

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            for name, value in headers:
                if name == 'Set-Cookie':
                    key, _, rest = value.partition('=')
                    cookies[key] = rest.partition(';')[0]
            return start_response(status, headers, exc_info)

        return self.app(environ, start)


def session_root(cp: Any) -> Any:
    """Give pages that use the session in each way; where ids are told, only whether they are what they should be."""

    class Root:
        @cp.expose
        def index(self) -> str:
            return 'untouched'

        @cp.expose
        def count(self) -> str:
            cp.session['count'] = cp.session.get('count', 0) + 1
            return str(cp.session['count'])

        @cp.expose
        def show(self) -> str:
            return repr(sorted(cp.session.items()))

        @cp.expose
        def put(self, key: str, value: str) -> str:
            cp.session[key] = value
            return 'put'

        @cp.expose
        def pop(self) -> str:
            session = cp.session
            return repr((session.pop('none'), session.pop('none', 'default'), session.setdefault('kept', 1)))

        @cp.expose
        def dictionary(self) -> str:
            session = cp.session
            session.update({'a': 1, 'b': 2})
            del session['b']
            return repr(
                ('a' in session, 'b' in session, list(session.keys()), list(session.values()), session.get('x'))
            )

        @cp.expose
        def iterated(self) -> str:
            cp.session['a'] = 1
            try:
                return repr(list(cp.session))
            except KeyError:
                return 'KeyError'

        @cp.expose
        def cleared(self) -> str:
            cp.session.clear()
            return self.show()

        @cp.expose
        def state(self) -> str:
            session = cp.session
            before = (session.loaded, session.missing, session.regenerated, session.originalid == session.id)
            session.get('x')
            return repr((before, session.loaded, session.locked, session.timeout, session.clean_freq, len(session.id)))

        @cp.expose
        def stored(self) -> str:
            return str(len(cp.session))

        @cp.expose
        def truth(self) -> str:
            return str(bool(cp.session))

        @cp.expose
        def fail(self) -> str:
            cp.session['failed'] = 1
            raise RuntimeError('on purpose')

        @cp.expose
        def error(self) -> str:
            cp.session['error'] = 1
            raise cp.HTTPError(402, 'pay')

        @cp.expose
        def redirect(self) -> str:
            cp.session['redirected'] = 1
            raise cp.HTTPRedirect('/show')

        @cp.expose
        def inside(self) -> str:
            cp.session['inside'] = 1
            raise cp.InternalRedirect('/show')

        @cp.expose
        def regenerate(self) -> str:
            cp.session['loaded'] = 1
            before = cp.session.id
            cp.session.regenerate()
            return repr((before == cp.session.id, cp.session.regenerated))

        @cp.expose
        def regenerate_unread(self) -> str:
            cp.session.regenerate()
            return self.show()

        @cp.expose
        def tool_regenerate(self) -> str:
            cp.session['loaded'] = 1
            cp.tools.sessions.regenerate()
            return 'regenerated'

        @cp.expose
        def expire(self) -> str:
            cp.lib.sessions.expire()
            return 'expired'

        @cp.expose
        def delete(self) -> str:
            cp.session.delete()
            return 'deleted'

        @cp.expose
        def generator(self) -> Any:
            yield 'a'
            cp.session['late'] = cp.session.get('late', 0) + 1
            yield 'b'

        @cp.expose
        def streamed(self) -> Any:
            return self.generator()

        @cp.expose
        def explicit(self) -> str:
            session = cp.session
            session.acquire_lock()
            session['n'] = session.get('n', 0) + 1
            held = session.locked
            session.release_lock()
            return repr((session['n'], held, session.locked))

        @cp.expose
        def lockless(self) -> str:
            return str(cp.session.locked)

        @cp.expose
        def none(self) -> str:
            try:
                return str(cp.session.get('x'))
            except AttributeError:
                return 'AttributeError'

        @cp.expose
        def none_expired(self) -> str:
            try:
                cp.lib.sessions.expire()
            except KeyError as exc:
                return f'KeyError {exc}'
            return 'no error'

        @cp.expose
        def attribute(self) -> str:
            return repr((cp.session.color, cp.serving.session.color))

        @cp.expose
        def cookie(self) -> str:
            morsel = cp.response.cookie['session_id']
            morsel['comment'] = 'changed'
            return morsel['path']

        @cp.expose
        def set_cookie(self) -> str:
            cp.lib.sessions.set_response_cookie(path='/set', timeout=1, httponly=False)
            return 'set'

    return Root()


def sections(base: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the config: one path for each argument of the tool."""
    settings: dict[str, dict[str, Any]] = {
        '/': base,
        '/streamed': {'response.stream': True},
        '/explicit': {'tools.sessions.locking': 'explicit'},
        '/lockless': {'tools.sessions.locking': 'explicit'},
        '/none': {'tools.sessions.on': False},
        '/none_expired': {'tools.sessions.on': False},
        '/attribute': {'tools.sessions.color': 'red'},
        '/allowed': {'tools.allow.on': True, 'tools.allow.methods': ['PUT']},
    }
    return settings


COOKIES: dict[str, dict[str, Any]] = {
    'name': {'name': 'my_session_id'},
    'path': {'path': '/sub'},
    'path_header': {'path_header': 'X-Path'},
    'domain': {'domain': 'example.com'},
    'secure': {'secure': True},
    'httponly': {'httponly': True},
    'temporary': {'persistent': False},
    'short': {'timeout': 5},
    'fraction': {'timeout': 0.5},
    'early': {'locking': 'early'},
    'default': {},
    'typed': {'storage_type': 'ram'},
}


def mount_cookies(cp: Any) -> None:
    """Mount the pages once for each set of the cookie's settings."""
    for name, settings in COOKIES.items():
        base = {'tools.sessions.on': True} if name == 'default' else dict(BASE)
        base.update({f'tools.sessions.{key}': value for key, value in settings.items()})
        cp.tree.mount(session_root(cp), f'/{name}', {'/': base})


@variant
def sessions_variant(cp: Any, folder: Path) -> Wsgi:
    """Sessions in memory."""
    cp.config.update(PLAIN)
    cp.lib.sessions.RamSession.cache.clear()
    cp.tree.mount(session_root(cp), '', sections(BASE))
    mount_cookies(cp)
    return Jar(Later(cp))


@variant
def file_sessions_variant(cp: Any, folder: Path) -> Wsgi:
    """Sessions in files."""
    cp.config.update(PLAIN)
    path = folder / f'sessions-{cp.__name__}-{"asgi" if speaks_asgi() else "wsgi"}'
    path.mkdir()
    base = {
        **BASE,
        'tools.sessions.storage_class': cp.lib.sessions.FileSession,
        'tools.sessions.storage_path': str(path),
    }
    cp.tree.mount(session_root(cp), '', sections(base))
    return Jar(Later(cp))


def case(ident: str, path: str, query: str = '', jar: str = 'one', headers: Any = None, **more: Any) -> None:
    add_case(ident, path, query, headers={'X-Jar': jar, **(headers or {})}, **more)


def common(store: str, variant_name: str) -> None:
    """Add the cases that both stores have."""

    def add(ident: str, *arguments: Any, **more: Any) -> None:
        case(f'C2.1-{store}-{ident}', *arguments, variant=variant_name, **more)

    add('untouched', '/')
    add('first', '/count')
    add('second', '/count')
    add('show', '/show')
    add('another', '/count', jar='two')
    add('head', '/count', method='HEAD')
    add('state', '/state')
    add('state-new', '/state', jar='new')
    add('stored', '/stored')
    add('pop', '/pop')
    add('dictionary', '/dictionary', jar='dictionary')
    add('iterated', '/iterated', jar='iterated')
    add('error', '/error', jar='errors')
    add('redirect', '/redirect', jar='errors')
    add('after-errors', '/show', jar='errors')
    add('fail', '/fail', jar='errors')
    add('after-fail', '/show', jar='errors')
    add('missing-page', '/nosuch')
    add('refused-method', '/allowed')
    add('inside', '/inside', jar='inside')
    add('after-inside', '/show', jar='inside')
    add('inside-known-put', '/put', 'key=a&value=1', jar='known')
    add('inside-known', '/inside', jar='known')
    add('after-inside-known', '/show', jar='known')
    add('generator', '/generator', jar='generator')
    add('after-generator', '/show', jar='generator')
    add('streamed', '/streamed', jar='streamed')
    add('streamed-again', '/streamed', jar='streamed')
    add('after-streamed', '/show', jar='streamed')
    add('explicit', '/explicit', jar='explicit')
    add('after-explicit', '/show', jar='explicit')
    add('lockless', '/lockless')
    add('regenerate', '/regenerate')
    add('after-regenerate', '/show')
    add('tool-regenerate', '/tool_regenerate')
    add('after-tool-regenerate', '/show')
    add('unread-put', '/put', 'key=a&value=1', jar='unread')
    add('regenerate-unread', '/regenerate_unread', jar='unread')
    add('cleared', '/cleared')
    add('expire', '/expire')
    add('delete', '/delete', jar='two')
    add('after-delete', '/show', jar='two')
    add('none', '/none')
    add('none-expired', '/none_expired')
    add('attribute', '/attribute')
    add('unknown-id', '/state', headers={'Cookie': f'session_id={"a" * 40}'})
    add('empty-id', '/state', headers={'Cookie': 'session_id='})
    for name, ident in {
        'parent': '../../../../etc/passwd',
        'lock': f'{"a" * 40}.lock',
        'absolute': '/etc/passwd',
    }.items():
        add(f'bad-id-{name}', '/count', headers={'Cookie': f'session_id={ident}'}, ignore=('Content-Length',))


common('ram', 'sessions')
common('file', 'file_sessions')


def cookies(add: Callable[..., None]) -> None:
    add('C2.1-truth', '/truth', jar='truth')
    for name in COOKIES:
        add(f'C2.1-cookie-{name}', f'/{name}/count', headers={'X-Path': '/from/header'}, jar=name)
        add(f'C2.1-cookie-{name}-again', f'/{name}/count', jar=name)
        add(f'C2.1-cookie-{name}-regenerate', f'/{name}/tool_regenerate', jar=name)
        add(f'C2.1-cookie-{name}-expire', f'/{name}/expire', jar=name)
    add('C2.1-cookie-changed', '/cookie')
    add('C2.1-cookie-set', '/set_cookie')


cookies(lambda *arguments, **more: case(*arguments, variant='sessions', **more))
