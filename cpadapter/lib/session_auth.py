"""The `session_auth` tool: a login form in front of pages, and the user's name in the session.

It needs the `sessions` tool. Who may log in is the application's to say, by `check_username_and_password`; plain and
async callables may stand for any of the steps. It does not know how sessions are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..context import current, on_a_loop
from ..errors import HTTPError, HTTPRedirect, current_url
from ..extension.hooks import drive, is_async_callable
from ..extension.tools import HandlerTool, UnknownSetting
from . import checks
from .debug import log_debug
from .origin import local_url, require_same_origin

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['SessionAuth', 'SessionAuthTool', 'session_auth']

_FORM = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log in</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 20rem; margin: 15vh auto; padding: 0 1rem; }
label { display: block; margin: .75rem 0; }
input { display: block; width: 100%%; box-sizing: border-box; padding: .4rem; font: inherit; }
[type=submit] { margin-top: 1.25rem; }
[role=alert] { border-left: .25rem solid #c33; padding-left: .75rem; }
</style>
</head>
<body>
<h1>Log in</h1>
%(message)s<form method="post" action="do_login">
<label>Name <input type="text" name="username" value="%(username)s" autocomplete="username" required></label>
<label>Password <input type="password" name="password" autocomplete="current-password" required></label>
<input type="hidden" name="from_page" value="%(from_page)s">
<input type="submit" value="Log in">
</form>
</body>
</html>
"""

# The form loads nothing, and no other site may show it in a frame of its own to have it filled in unseen.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


class SessionAuth:
    """Asks for a name and a password, by a form, and lets through who is logged in.

    Of every page below, the path's last segment `login_screen` shows the form, `do_login` and `do_logout` take a POST.
    Each attribute can be set by config (`tools.session_auth.NAME`): the callables below are then called without self.
    A callable of any step may be async.
    """

    # Where the session keeps the user's name.
    session_key = 'username'
    # The status of the form where a page is withheld or a login refused.
    status = 401
    debug = False

    # -- what an application replaces

    def check_username_and_password(self, username: str, password: str) -> Any:
        """Give None or '' to let the user in, or the text that tells why not; by default nobody is refused."""

    def anonymous(self) -> Any:
        """Give the name that somebody who is not logged in goes by; None asks for a login."""

    def on_login(self, username: str) -> Any:
        """Called once the user is logged in."""

    def on_logout(self, username: str) -> Any:
        """Called once the user is logged out; username is None if nobody was logged in."""

    def on_check(self, username: str) -> Any:
        """Called before each page that a user may see."""

    def login_screen(
        self, from_page: str = '..', username: str = '', error_msg: str = '', **kwargs: Any
    ) -> bytes | str | Any:
        """Give the form as HTML. All three values come from the client: escape them.

        It posts `username`, `password` and `from_page` to `do_login`.
        """
        headers = current().response.headers
        headers['Content-Type'] = 'text/html;charset=utf-8'
        headers['Content-Security-Policy'] = _POLICY
        message = f'<p role="alert">{_escape(error_msg)}</p>\n' if error_msg else ''
        return (_FORM % {'message': message, 'username': _escape(username), 'from_page': _escape(from_page)}).encode()

    # -- the steps

    def run(self) -> bool:
        """Serve one request: True if the response is made, False where the page handler may go on."""
        return bool(drive(self.arun()))

    def do_login(self, username: str, password: str, from_page: str = '..', **kwargs: Any) -> Any:
        """Log in and redirect to from_page; True, with the form as response, if name and password are refused."""
        return drive(self._login(username, password, from_page))

    def do_logout(self, from_page: str = '..', **kwargs: Any) -> Any:
        """Log out, drop what the session holds, and redirect to from_page."""
        return drive(self._logout(from_page))

    def do_check(self) -> Any:
        """Set `request.login`; True, with the form as response, if nobody is logged in."""
        return drive(self._check())

    async def arun(self) -> bool:
        """Do what `run` does, awaiting what is async; what is plain runs in a thread if this runs on a loop."""
        exchange = current()
        request = exchange.request
        if getattr(exchange, 'session', None) is None:
            raise RuntimeError("The tool 'session_auth' needs sessions: 'tools.sessions.on' must be True for its path.")
        name = request.path_info.rpartition('/')[2]
        if name == 'login_screen':
            self._log('login screen asked for')
            return await self._show(200)
        if name == 'do_login' or name == 'do_logout':
            if request.method != 'POST':
                exchange.response.headers['Allow'] = 'POST'
                raise HTTPError(405)
            require_same_origin()
            params = dict(request.params)
            required = ('username', 'password') if name == 'do_login' else ()
            for key in (*required, 'from_page'):
                if key in required and key not in params:
                    raise HTTPError(400, f'Missing parameters: {key}')
                if key in params:
                    params[key] = _one(key, params[key])
            if not self._is_own(name):
                step = getattr(self, name)
                if hasattr(step, '__self__'):
                    params.pop('self', None)  # a field may have any name
                return bool(await self._call(step, **params))
            if name == 'do_login':
                return await self._login(params['username'], params['password'], params.get('from_page', '..'))
            return await self._logout(params.get('from_page', '..'))
        if not self._is_own('do_check'):
            return bool(await self._call(self.do_check))
        return await self._check()

    async def _login(self, username: str, password: str, from_page: str) -> bool:
        refusal = await self._call(self.check_username_and_password, username, password)
        if refusal:
            self._log(f'login of {username!r} refused')
            return await self._show(self.status, from_page=from_page, username=username, error_msg=str(refusal))
        await self._call(self._enter, username)
        self._log(f'{username!r} logged in')
        await self._call(self.on_login, username)
        raise HTTPRedirect(self._target(from_page))

    def _enter(self, username: str) -> None:
        exchange: Any = current()
        # An id that was known before the login, to whoever planted it, is worth nothing after it.
        exchange.session.regenerate()
        exchange.session[self.session_key] = exchange.request.login = username

    async def _logout(self, from_page: str) -> bool:
        username = await self._call(self._leave)
        self._log(f'{username!r} logged out')
        await self._call(self.on_logout, username)
        raise HTTPRedirect(self._target(from_page))

    def _leave(self) -> Any:
        exchange: Any = current()
        session = exchange.session
        username = session.get(self.session_key)
        session.clear()
        session.regenerate()
        exchange.request.login = None
        return username

    async def _check(self) -> bool:
        request = current().request
        username = await self._call(self._known)
        if not username:
            username = await self._call(self.anonymous)
            if not username:
                self._log('nobody is logged in')
                query = request.query_string
                return await self._show(self.status, from_page=current_url() + (f'?{query}' if query else ''))
            await self._call(self._keep, username)
        request.login = username
        self._log(f'{username!r} may pass')
        await self._call(self.on_check, username)
        return False

    def _known(self) -> Any:
        exchange: Any = current()
        return exchange.session.get(self.session_key)

    def _keep(self, username: str) -> None:
        exchange: Any = current()
        exchange.session[self.session_key] = username

    async def _show(self, status: int, **values: str) -> bool:
        """Make the form the response."""
        body = await self._call(self.login_screen, **values)
        response = current().response
        response.status = status
        response.headers['Cache-Control'] = 'no-store'
        if status == 401:
            # SPEC: RFC 9110 15.5.2 wants a challenge; browsers pass over a scheme that they do not know.
            response.headers['Www-Authenticate'] = 'Form'
        response.body = body.encode() if isinstance(body, str) else body
        response.headers.pop('Content-Length', None)
        return True

    def _target(self, from_page: str) -> str:
        """Give where to go: from_page if it is of this site, else where it would go by default."""
        here, base = current_url(), current().request.base
        return local_url(from_page or '/', base, here) or local_url('..', base, here) or base

    def _is_own(self, name: str) -> bool:
        """Say whether a step is the one of this class."""
        return name not in self.__dict__ and getattr(type(self), name) is getattr(SessionAuth, name)

    async def _call(self, step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # A plain step may wait for a database or a session's store.
        if on_a_loop() and not is_async_callable(step):
            result = await current().app.offload(lambda: step(*args, **kwargs))
        else:
            result = step(*args, **kwargs)
        return await result if hasattr(result, '__await__') else result

    def _log(self, text: str) -> None:
        if self.debug:
            log_debug(text, 'TOOLS.SESSAUTH')


def _one(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise HTTPError(400, f'Only one value may be given for the parameter {name!r}.')
    return value


def _escape(text: Any) -> str:
    from html import escape

    return escape(str(text))


_CHECKS: dict[str, Any] = {
    name: checks.is_callable for name, value in vars(SessionAuth).items() if name[0] != '_' and callable(value)
}


@checks.checked(session_key=checks.text, status=checks.status_between(200, 599), **_CHECKS)
def session_auth(**kwargs: Any) -> bool:
    """Ask for a login before any page below; True if the response is made already.

    kwargs: attributes for a SessionAuth, such as check_username_and_password.
    """
    return _made(kwargs).run()


async def asession_auth(**kwargs: Any) -> bool:
    """Do what session_auth does, where one of the callables is async."""
    return await _made(kwargs).arun()


def _made(attributes: dict[str, Any]) -> SessionAuth:
    made = SessionAuth()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


class SessionAuthTool(HandlerTool):
    """The `session_auth` tool: any attribute of SessionAuth is a setting."""

    def _setargs(self) -> None:
        for name in dir(SessionAuth):
            if not name.startswith('_') and not hasattr(type(self), name):
                setattr(self, name, None)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        known = {name for name in dir(SessionAuth) if not name.startswith('_')}
        for name in settings:
            if name not in known:
                raise UnknownSetting(name, known)
        call = self.callable
        if call is session_auth and any(is_async_callable(value) for value in settings.values()):
            call = asession_auth
        builder.attach('before_handler', _handling(call), priority=priority, **settings)


def _handling(call: Any) -> Callable[..., Any]:
    """Give a hook that puts the page handler aside where `call` says that the response is made."""
    if is_async_callable(call):

        async def ahandle(**kwargs: Any) -> None:
            if await call(**kwargs):
                current().request.handler = None

        return ahandle

    def handle(**kwargs: Any) -> None:
        if call(**kwargs):
            current().request.handler = None

    return handle
