"""From a root object to something served: quickstart runs a server, wsgi_app and asgi_app give a callable.

Each mounts on the default site's tree unless it is handed another site. How a server is run is the adapters' part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# server_adapters tells core.server how to start one; without it Server.start() could not.
from .. import server_adapters
from ..core.config import load, require_sections
from ..core.engine import ChannelFailures, StartRefused, find_host

if TYPE_CHECKING:
    from ..core.site import Site

__all__ = ['asgi_app', 'quickstart', 'wsgi_app']

EX_SOFTWARE = 70


def quickstart(
    root: Any = None,
    script_name: str = '',
    config: Any = None,
    *,
    site: Site | None = None,
    server: str | None = None,
) -> None:
    """Mount `root` and serve the site until Ctrl-C or SIGTERM.

    config: a dict, a file's name or an open file, with sections; its [global] section is the site's, the others are
    the application's. ValueError before anything has changed if it has no sections.
    server: name of the server to run; default: the setting `server.adapter`, else uvicorn.
    Ends with SystemExit: 1 if the server cannot start (port in use, not installed; one line in the log), 70 if a
    listener of the engine failed. Where a server already runs this process, it only mounts: that server serves.
    """
    site = site or _default_site()
    _mount(site, root, script_name, config)
    if server is not None:
        site.server.adapter = server
    engine = site.engine
    host = find_host()
    if host is not None:
        engine.log(f'quickstart() only mounts here: {host} runs this process and serves.')
        return
    adapter = server_adapters.find(site.server.adapter)
    if adapter.FORKS and site.server.instance is None and _follows(site):
        _run_forking(site, adapter)
        return
    engine.hosted = False
    if engine.on_own is None:
        _show_log(site)
    signals = getattr(engine, 'signals', None)
    if signals is not None:
        signals.subscribe()
    try:
        try:
            engine.start()
            engine.block()
        except KeyboardInterrupt:  # before block() was there to catch it
            engine.log('Keyboard Interrupt: shutting down bus')
            engine.exit()
    except ChannelFailures:
        raise SystemExit(EX_SOFTWARE) from None  # the log has it, with tracebacks


def wsgi_app(root: Any = None, script_name: str = '', config: Any = None, *, site: Site | None = None) -> Any:
    """Give the WSGI callable of the site's tree, after mounting `root` if there is one.

    config: as for quickstart.
    """
    site = site or _default_site()
    if root is not None or config:
        _mount(site, root, script_name, config)
    return site.tree.wsgi


def asgi_app(root: Any = None, script_name: str = '', config: Any = None, *, site: Site | None = None) -> Any:
    """Give the ASGI callable of the site's tree, after mounting `root` if there is one.

    config: as for quickstart.
    """
    site = site or _default_site()
    if root is not None or config:
        _mount(site, root, script_name, config)
    return site.tree.asgi


def _default_site() -> Site:
    from ..environment.defaults import site

    return site


def _mount(site: Site, root: Any, script_name: str, config: Any) -> None:
    entries: dict[str, Any] = {}
    if config:
        entries = load(config, site.config.on_file)
        require_sections(entries)
        site.config.update(entries)
    # With nothing new to mount, what is there stays: quickstart() also serves a tree mounted before.
    if root is not None or script_name.rstrip('/') not in site.tree.apps:
        site.tree.mount(root, script_name, entries)


def _follows(site: Site) -> bool:
    """True unless the program said server.unsubscribe(): then it wants the engine alone."""
    return site.server.start in site.engine.listeners.get('start', ())


def _show_log(site: Site) -> None:
    """Log to the screen in a process of our own, unless config says otherwise; for a site whose engine does not."""
    if 'log.screen' not in site.config:
        site.log.screen = True


def _run_forking(site: Site, adapter: server_adapters.Adapter) -> None:
    """Give this process to a server with workers; the engine starts in each of them, never in this master."""
    from ..server_adapters.settings import report_ignored

    engine, server = site.engine, site.server
    (engine.on_own or (lambda: _show_log(site)))()
    report_ignored(server, adapter)

    def started(address: Any) -> None:
        engine.log(f'Serving on {server.description}')

    try:
        adapter.serve(site.tree, server, started=started)
    except StartRefused as exc:
        engine.log(str(exc), level=40)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        engine.log('Keyboard Interrupt: shutting down bus')
