"""`cpadapter config`: the config that a request for a path has, each key with its value and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.application import Application
from .failure import CommandError, show
from .pages import find_page

if TYPE_CHECKING:
    from ..core.site import Site
    from .origins import Origins

__all__ = ['lines']


def lines(site: Site, path: str, origins: Origins) -> Iterator[str]:
    """Give a line for each key, sorted: `key = value  origin`.

    path: as a client asks for it, with the script_name. CommandError if no application of ours answers there.
    """
    script_name = site.tree.script_name(path)
    app = None if script_name is None else site.tree.apps.get(script_name)
    if not isinstance(app, Application):
        config = dict(site.config)
        come_from = {key: origins.of_global(key) for key in config}
        if app is not None:
            raise CommandError(f'{path} is answered by what is grafted at {script_name or "/"}: it has no config here.')
    else:
        page = find_page(app, path[len(script_name or '') :] or '/')
        config, come_from = page.config, origins.of_request(app, page.path, page.confs, page.target)
        for problem in page.problems:
            yield f'# {problem}'
    width = max((len(key) for key in config), default=0)
    for key in sorted(config):
        yield f'{key:<{width}} = {show(config[key])}  # {come_from.get(key, "the dispatcher")}'
