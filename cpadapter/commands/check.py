"""`cpadapter check`: all that is wrong with a site's config, found without serving it."""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING

from .failure import CommandError
from .pages import pages_of
from .serving import check_server

if TYPE_CHECKING:
    from ..core.site import Site

__all__ = ['Findings', 'check']

# What several checks find, each in its own words: it is told once for a key.
KINDS = {
    'unknown': ('is unknown', 'namespace is unknown', 'no such tool for', 'tool was not found'),
    'type': ('of type',),
}
ENTRY = re.compile(r"(?:The config entry|no such tool for) '(?P<key>[^']+)'")


class Findings(logging.Handler):
    """Collects what the error log is told of config, as a handler, and what else is found; each message once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._told: set[tuple[str, str] | None] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # '[time] CONFIG message': who reads this knows when.
        for context in (' CONFIG ', ' ENGINE '):
            _, found, message = text.partition(context)
            if found:
                text = message
                break
        self.add(text)

    def add(self, message: str, where: str = '') -> None:
        """Add a message, with `where` before it, unless it was told, there or elsewhere."""
        message = message.strip()
        bare = message.partition('\nThe application is mounted at')[0]
        kind = next((kind for kind, words in KINDS.items() if any(word in bare for word in words)), None)
        entry = ENTRY.search(bare)
        what = (kind, entry['key']) if kind is not None and entry is not None else None
        if not bare or what in self._told or any(bare in known for known in self.messages):
            return
        if what is not None:
            self._told.add(what)
        self.messages.append(where + message)


def check(site: Site, findings: Findings) -> None:
    """Add what the checker finds, what keeps servers from starting, and what pages could not be compiled for."""
    for server in [site.server, *site.servers.values()]:
        if server.start in site.engine.listeners.get('start', ()):
            try:
                check_server(server)
            except CommandError as error:
                findings.add(str(error))
    for page in pages_of(site):
        for problem in page.problems:
            findings.add(problem, f'{page.url}: ')
    site.checker.on = True
    skip = () if site.checker.global_config_contained_paths else ('check_skipped_app_config',)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        site.checker(skip)
    for warning in caught:
        findings.add(str(warning.message))
