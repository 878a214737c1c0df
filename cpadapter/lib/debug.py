"""What a tool with `debug=True` has to say, on its way to the error log."""

from __future__ import annotations

from ..context import current

__all__ = ['log_debug']


def log_debug(text: str, context: str) -> None:
    """Write what a tool with `debug=True` has to say to the error log."""
    exchange = current()
    log = exchange.app.log if exchange.app is not None else exchange.site.log
    log.error(text, context)
