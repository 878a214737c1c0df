"""url(): URLs of the application, from paths. The rules of paths are protocol/uri.py's."""

from __future__ import annotations

from typing import Any

from ..context import current
from ..protocol.uri import is_absolute, remove_dot_segments

__all__ = ['url']


def url(
    path: str = '', qs: Any = '', script_name: str | None = None, base: str | None = None, relative: Any = None
) -> str:
    """Give the URL of a path: absolute by default, not percent-encoded.

    path: below script_name if it begins with '/', else relative to the current path; '' is the current path. What
        is a URL already is given back.
    qs: query string, or pairs or a dict to make one of.
    script_name, base: default to the current request's ('http://host'); base may be ''.
    relative: False or None for an absolute URL (None: as `app.relative_urls` says), 'server' for one without scheme
        and host, True for one relative to the current URL, with '..' as needed.
    Outside a request the base is that of the server's settings.
    """
    if isinstance(qs, (tuple, list, dict)):
        from urllib.parse import urlencode

        qs = urlencode(qs)
    if qs:
        qs = '?' + qs
    if is_absolute(path) or path[:2] == '//':
        return f'{path}{qs}'
    exchange = current()
    app = exchange.app
    if app is not None:
        request = exchange.request
        current_path = request.path_info
        if path[:1] != '/':
            if request.is_index is True:
                if current_path[-1:] != '/':
                    current_path += '/'
            elif request.is_index is False and current_path[-1:] == '/' and current_path != '/':
                current_path = current_path[:-1]
            path = _join(current_path, path)
        if script_name is None:
            script_name = request.script_name
        if base is None:
            base = request.base
        result = f'{base}{script_name}{_normalise(path)}{qs}'
        if relative is None:
            relative = app.relative_urls
    else:
        if base is None:
            base = exchange.site.server.base()
        whole = f'{script_name or ""}{path}'
        if whole[:1] != '/':
            whole = '/' + whole
        result = f'{base}{_normalise(whole)}{qs}'
        if relative is True:
            relative = 'server'
    if relative == 'server':
        return result[len(base) :] if base else result
    if relative:
        return _relative(url(relative=False), result)
    return result


def _join(base: str, path: str) -> str:
    """Resolve a relative path; '?' and '#' in it stay as they are."""
    if not path:
        return base
    if path[0] in '?#':
        return base + path
    return base[: base.rfind('/') + 1] + path


def _normalise(path: str) -> str:
    """Remove dot segments from the path, not from its query or fragment."""
    if './' not in path and not path.endswith(('/..', '/.')):
        return path
    end = min((i for i in (path.find('?'), path.find('#')) if i >= 0), default=len(path))
    return remove_dot_segments(path[:end]) + path[end:]


def _relative(here: str, there: str) -> str:
    old = here.split('/')[:-1]
    new = there.split('/')
    while old and new:
        if old[0] != new[0]:
            break
        old.pop(0)
        new.pop(0)
    return '/'.join(['..'] * len(old) + new)
