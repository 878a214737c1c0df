"""Whether a request comes from a page of this site: what tells a form of ours from one that another site posts.

A browser says where a request comes from and lets no page say otherwise. The tools that act on a POST look here; it
knows neither sessions nor forms.
"""

from __future__ import annotations

from typing import Any

from ..context import current
from ..errors import HTTPError
from ..protocol.uri import join

__all__ = ['is_same_origin', 'local_url', 'require_same_origin']


def is_same_origin(request: Any) -> bool:
    """Say whether the browser sent this request from a page of the site itself, or no browser sent it.

    Sec-Fetch-Site decides where there is one; else the host of Origin, else of Referer, must be that of the request.
    The scheme is not compared: where a proxy ends TLS and the `proxy` tool is off, the application does not know it.
    A client that sends none of the three is no browser, and carries no cookies of somebody else's.

    SPEC: W3C Fetch Metadata; RFC 6454 7; older browsers send Origin with every POST.
    """
    headers = request.headers
    site = headers.get('Sec-Fetch-Site')
    if site is not None:
        return site.strip().lower() in ('same-origin', 'none')
    for name in ('Origin', 'Referer'):
        field = headers.get(name)
        if field is not None:
            scheme, mark, rest = field.strip().partition('://')
            host = rest.split('/', 1)[0].split('?', 1)[0]
            own = request.base.partition('://')[2]
            return bool(mark) and _without_port(host, scheme) == _without_port(own, scheme)
    return True


def _without_port(host: str, scheme: str) -> str:
    """Give a host in lower case, without the port that the scheme means anyway."""
    default = ':443' if scheme.lower() == 'https' else ':80'
    return host.lower().removesuffix(default)


def require_same_origin() -> None:
    """Raise HTTPError(403) if the current request was sent from another site's page."""
    if not is_same_origin(current().request):
        raise HTTPError(403, 'This request was sent from a page of another site.')


def local_url(target: str, base: str, here: str) -> str | None:
    """Give `target`, resolved against the URL `here`, if it stays below the origin `base`; None if it does not.

    None also for what browsers read in ways of their own: backslashes and control characters.
    """
    if '\\' in target or not target.isprintable():
        return None
    url = join(here, target.strip())
    if url == base or (url.startswith(base) and url[len(base)] in '/?#'):
        return url
    return None
