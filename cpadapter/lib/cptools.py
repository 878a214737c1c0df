"""Small built-in tools that need nothing but the request and the response."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..context import current
from ..errors import HTTPRedirect
from ..extension.tools import Tool

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['TrailingSlashTool', 'log_request_headers', 'log_traceback', 'trailing_slash']


def _log() -> Any:
    exchange = current()
    return exchange.app.log if exchange.app is not None else exchange.site.log


def log_traceback(severity: int = logging.ERROR, debug: bool = False) -> None:
    """Write the traceback of the exception being handled to the error log, unless it is there already."""
    import sys

    exc = sys.exc_info()[1]
    if exc is None or getattr(exc, '_cp_logged', False):
        return
    try:
        exc._cp_logged = True  # type: ignore[attr-defined]
    except AttributeError:
        pass  # a slotted exception may be logged twice
    _log().error('', 'HTTP', severity=severity, traceback=True)


def log_request_headers(debug: bool = False) -> None:
    """Write the request's headers to the error log, names and values as received."""
    lines = [f'  {name}: {value}' for name, value in current().request.header_list]
    _log().error('\nRequest Headers:\n' + '\n'.join(lines), 'HTTP')


def trailing_slash(missing: bool = True, extra: bool = False, status: int | None = None, debug: bool = False) -> None:
    """Redirect an index page asked for without its trailing slash, or any other asked for with one.

    missing, extra: which of the two to mend. status: 3xx, None for 301. The query is kept.
    """
    request = current().request
    path = request.path_info
    if request.is_index is True:
        if missing and not path.endswith('/'):
            new_url = path + '/'
        else:
            return
    elif request.is_index is False and extra and path.endswith('/') and path != '/':
        new_url = path[:-1]
    else:
        return
    from ..protocol.uri import quote_path

    url = f'{request.base}{quote_path(request.script_name + new_url)}'
    raise HTTPRedirect(url + (f'?{request.query_string}' if request.query_string else ''), status or 301)


trailing_slash.neutral = True  # type: ignore[attr-defined]  # leaves the page handler alone
trailing_slash.non_blocking = True  # type: ignore[attr-defined]
log_traceback.non_blocking = True  # type: ignore[attr-defined]
log_request_headers.non_blocking = True  # type: ignore[attr-defined]


class TrailingSlashTool(Tool):
    """The tool is in the plan only of paths that it redirects, or that a hook might yet make it redirect."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        self._check_settings({key: value for key, value in settings.items() if key != 'priority'})
        if builder.slash and settings.get(builder.slash, builder.slash == 'missing'):
            super().compile(builder, settings)
