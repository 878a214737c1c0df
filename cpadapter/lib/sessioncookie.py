"""The cookie of a session: its attributes, how it is sent, and the id that a client sent in it. It knows no session."""

from __future__ import annotations

import time
from http.cookies import Morsel
from typing import Any

from ..protocol.dates import HTTPDate

__all__ = ['SessionCookie']


class _SessionMorsel(Morsel):  # type: ignore[type-arg]
    """A cookie whose text is known as long as nobody changes its attributes."""

    known: Any = None

    def OutputString(self, attrs: Any = None) -> str:
        # PERF: a morsel takes 6 us to spell itself out, this 0.5.
        known = self.known
        if attrs is None and known is not None and dict.__eq__(self, known[0]):
            return f'{self.key}={self.coded_value}{known[1]}'
        return super().OutputString(attrs)


class SessionCookie:
    """How the cookie of a session is sent: its name and attributes, as `init` describes them."""

    def __init__(
        self,
        path: str | None = None,
        path_header: str | None = None,
        name: str = 'session_id',
        timeout: float | None = 60,
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: str | None = 'Lax',
    ) -> None:
        self.path = path or ('' if path_header else '/')
        self.path_header = path_header
        self.name = name
        self.start = f'{name}='
        self.seconds = round(timeout * 60) if timeout else 0
        self.domain = domain
        self.secure = secure
        self.httponly = httponly
        self.samesite = samesite
        # The second, whether it is secure, and the path, that the attributes were made for last; and these.
        self._made: tuple[Any, Any, Any, Any] = (None, None, None, None)

    def send(self, exchange: Any, cookies: Any, id: str) -> None:
        """Put the cookie with `id` among those that are sent."""
        known = self._known(exchange)
        morsel = _SessionMorsel.__new__(_SessionMorsel)
        dict.update(morsel, known[0])
        coded = id if id.isalnum() else cookies.value_encode(id)[1]
        morsel.set(self.name, id, coded)
        morsel.known = known
        dict.__setitem__(cookies, self.name, morsel)

    def put_header(self, exchange: Any, headers: Any, id: str) -> None:
        """Put the cookie with `id`, which is alphanumeric, into the headers of a response without other cookies."""
        # PERF: half of what the map of cookies costs.
        dict.__setitem__(headers, 'Set-Cookie', f'{self.start}{id}{self._known(exchange)[1]}')

    def _known(self, exchange: Any) -> Any:
        """Give the cookie's attributes for this request, and their text."""
        secure = self.secure
        if secure is None:
            scheme = exchange.request.__dict__.get('scheme')
            secure = (scheme if scheme is not None else exchange.head.scheme) == 'https'
        path = self.path or _clean_path(exchange.request.headers.get(self.path_header)) or '/'
        second = int(time.time()) if self.seconds else 0
        made = self._made
        if made[0] == second and made[1] == secure and made[2] == path:
            return made[3]
        known = self._make(second, path, secure)
        self._made = (second, secure, path, known)
        return known

    def _make(self, now: int, path: str, secure: Any) -> tuple[dict[str, Any], str]:
        """Give the cookie's attributes and their text."""
        morsel: Any = Morsel()
        morsel.set(self.name, 'x', 'x')
        morsel['path'] = path
        if self.seconds:
            # Both: Max-Age is the later and better invention, and there are clients that know the former only.
            morsel['max-age'] = str(self.seconds)
            morsel['expires'] = HTTPDate(now + self.seconds)
        if self.domain is not None:
            morsel['domain'] = self.domain
        if secure:
            morsel['secure'] = True
        if self.httponly:
            morsel['httponly'] = True
        if self.samesite:
            morsel['samesite'] = self.samesite
        return dict(morsel), morsel.OutputString()[len(self.name) + 2 :]

    def sent_id(self, exchange: Any) -> str | None:
        """Give the id that the client sent, as text of any shape; None if it sent none."""
        if exchange.prev is not None:
            # Inside of an internal redirect: the session goes on, whatever the client knows of it.
            inner: str | None = exchange.prev.__dict__.get('carried_session_id')
            if inner is not None:
                return inner
        field = exchange.head.get('cookie')
        values = exchange.request.__dict__
        if 'cookie' not in values and 'header_list' not in values:
            if field is None:
                return None
            if '"' not in field and len(field) < 8192:
                # PERF: nobody has asked for the cookies yet, so that the one is looked for and no others are made.
                if ';' not in field:
                    field = field.strip()
                    return field[len(self.start) :].lstrip() if field.startswith(self.start) else None
                found = None
                for pair in field.split(';'):
                    name, _, value = pair.partition('=')
                    if name.strip() == self.name:
                        found = value.strip()
                return found
        morsel = exchange.request.cookie.get(self.name)
        return None if morsel is None else morsel.value


def _clean_path(path: Any) -> str | None:
    """Give a path that came in a header, if it can be a cookie's."""
    return path if path and path[0] == '/' and path.isprintable() and ';' not in path and path.isascii() else None
