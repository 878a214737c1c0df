"""The `auth_basic` tool: HTTP Basic authentication.

SPEC: RFC 7617. Who may log in is what `checkpassword` says; nothing is known here of where passwords are kept.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPError
from ..extension.hooks import Steps, is_async_callable
from ..extension.tools import Tool
from . import checks
from .checks import checked
from .debug import log_debug

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = [
    'AuthTool',
    'authorization',
    'basic_auth',
    'charset_parameter',
    'checkpassword_dict',
    'decoded',
    'realm_problem',
    'refused',
    'then',
]

_REFUSED = 'You are not authorized to access that resource'


class AuthTool(Tool):
    """A tool that asks who the client is, before the body of its request is read.

    asks: name of the setting that is called with what the client says of itself; it may wait, unless it is marked
    `non_blocking`.
    """

    def __init__(self, callable: Any, asks: str) -> None:
        self.asks = asks
        super().__init__('before_request_body', callable, None, 1)

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        hook = builder.attach(self._point or 'before_request_body', self.callable, priority=priority, **settings)
        asked = settings[self.asks]
        # What an async one gives is awaited where that holds nobody up.
        hook.non_blocking = is_async_callable(asked) or bool(getattr(asked, 'non_blocking', False))


# --- shared with auth_digest ----------------------------------------------------------------------------------


def authorization(exchange: Any) -> str | None:
    """Give the Authorization header of the request, latin-1 text, None if absent."""
    headers = exchange.request.__dict__.get('headers')
    if headers is not None:
        value = headers.get('Authorization')
    else:
        # PERF: without making the map of all headers. COMPAT: Cgi-Authorization is what some CGI servers call it.
        value = exchange.head.get('cgi-authorization') or exchange.head.get('authorization')
    return None if value is None else str(value).strip()


def realm_problem(value: Any) -> str:
    """Say what keeps a realm from being sent; '' if nothing does."""
    return checks.text(value) or ('' if value.isprintable() else 'a header cannot hold it')


def refused(challenge: str) -> HTTPError:
    """Give the error 401 that tells the client how to log in."""
    current().response.headers['WWW-Authenticate'] = challenge
    return HTTPError(401, _REFUSED)


def charset_parameter(accept_charset: str) -> str:
    """Give the part of a challenge that names the charset of names and passwords."""
    charset = accept_charset.upper()
    return '' if charset == 'ISO-8859-1' else f', charset="{charset}"'


def decoded(data: bytes, charset: str) -> str:
    """Decode what a client sent of a name; as ISO-8859-1 where it is not in `charset`."""
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        return data.decode('ISO-8859-1')


def then(value: Any, go_on: Callable[[Any], Any]) -> Any:
    """Give `go_on(value)`; or, where `value` is awaitable, an awaitable of go_on of what it gives."""
    if not hasattr(value, '__await__'):
        return go_on(value)

    async def wait() -> Any:
        exchange = current()
        given = go_on(await (value if exchange.on_loop else exchange.suspend(value)))
        return await given if hasattr(given, '__await__') else given

    return Steps(wait())


# --- the tool -------------------------------------------------------------------------------------------------


def checkpassword_dict(user_password_dict: Mapping[str, str]) -> Callable[[str, str, str], bool]:
    """Give a checkpassword for `basic_auth` that knows the users of a dict {name: password}.

    An empty password lets nobody in. What it does takes as long for unknown users and wrong passwords as for
    right ones.
    """
    from hashlib import sha256
    from hmac import compare_digest

    def checkpassword(realm: str, user: str, password: str) -> bool:
        known = user_password_dict.get(user) or ''
        # Digests, so that not even the length of a password shows in the time that comparing takes.
        given = sha256(password.encode('utf-8', 'surrogatepass')).digest()
        same = compare_digest(given, sha256(str(known).encode('utf-8', 'surrogatepass')).digest())
        return same and bool(known)

    checkpassword.non_blocking = True  # type: ignore[attr-defined]
    return checkpassword


@checked(
    realm=lambda value: checks.realm(value) or realm_problem(value),
    checkpassword=checks.is_callable,
    accept_charset=checks.charset,
)
def basic_auth(
    realm: str,
    checkpassword: Callable[[str, str, str], Any],
    debug: bool = False,
    accept_charset: str = 'utf-8',
) -> Any:
    """Let those in whom `checkpassword` knows, and set `request.login`; HTTPError(401) with a challenge for others.

    realm: what the client is shown; without quotes. checkpassword: called with realm, user and password, text; true
    lets the user in. It may be async: then an awaitable is given.
    accept_charset: of names and passwords; those that are not in it are taken for ISO-8859-1.
    HTTPError(400) for credentials that are none. Raises ValueError for a realm with a quote.

    SPEC: RFC 7617 2: base64 of "user:password", no control characters in either.
    """
    if '"' in realm:
        raise ValueError('Realm cannot contain the " (quote) character.')
    exchange = current()
    field = authorization(exchange)
    if field is not None:
        scheme, space, text = field.partition(' ')
        if not space:
            raise HTTPError(400, 'Bad Request')
        if scheme.lower() == 'basic':
            user, password = _credentials(text, accept_charset)

            def decide(accepted: Any) -> None:
                if not accepted:
                    if debug:
                        _log(f'{user!r} is refused')
                    raise refused(_challenge(realm, accept_charset))
                if debug:
                    _log(f'{user!r} is let in')
                exchange.request.login = user

            return then(checkpassword(realm, user, password), decide)
    if debug:
        _log('there are no credentials')
    raise refused(_challenge(realm, accept_charset))


# SPEC: RFC 4648 4, ASCII only.
_BASE64 = re.compile('[A-Za-z0-9+/]*={0,2}')
# SPEC: RFC 7617 2.
_CONTROL = re.compile('[\x00-\x1f\x7f]')


def _credentials(text: str, charset: str) -> tuple[str, str]:
    try:
        text = text.strip()
        if len(text) % 4 or not _BASE64.fullmatch(text):
            raise ValueError
        data = binascii.a2b_base64(text)
    except ValueError:
        raise HTTPError(400, 'Bad Request') from None
    pair = decoded(data, charset)
    if not pair.isascii():
        from unicodedata import normalize

        pair = normalize('NFC', pair)
    user, colon, password = pair.partition(':')
    if not colon or _CONTROL.search(pair):
        raise HTTPError(400, 'Bad Request')
    return user, password


def _challenge(realm: str, accept_charset: str) -> str:
    escaped = realm.replace('\\', '\\\\')
    return f'Basic realm="{escaped}"{charset_parameter(accept_charset)}'


def _log(text: str) -> None:
    log_debug(text, 'TOOLS.AUTH_BASIC')
