"""Serve a site in a process of its own: checks first, then the background, the pid file, the user, the server.

What can be known to fail is told before anything has started, and while the terminal is there: a process that goes
to the background says to the one that stays whether it has started. Options and config files are not known here.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .. import server_adapters
from ..core.engine import ChannelFailures, StartRefused
from ..process import plugins
from ..server_adapters import settings
from .failure import CommandError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.server import Server
    from ..core.site import Site

__all__ = ['check_server', 'is_on_terminal', 'serve']

STARTED = b'started'


def check_server(server: Server) -> server_adapters.Adapter | None:
    """Give the adapter that will serve; CommandError for settings it could not start with."""
    if server.instance is not None:
        return None
    try:
        adapter = server_adapters.find(server.adapter)
    except ValueError as exc:
        raise CommandError(str(exc)) from exc
    if server.socket_port is not None and not isinstance(server.socket_port, int):
        raise CommandError(f'server.socket_port = {server.socket_port!r} is no number: leave out the quotes.')
    for name in ('ssl_certificate', 'ssl_private_key', 'ssl_certificate_chain'):
        file = getattr(server, name)
        if file:
            try:
                open(file, 'rb').close()
            except OSError as exc:
                raise CommandError(f'server.{name} = {file!r} cannot be read: {exc.strerror}.') from exc
    try:
        settings.ssl_context(server)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise CommandError(
            f'server.ssl_certificate = {server.ssl_certificate!r}, server.ssl_private_key = '
            f'{server.ssl_private_key!r} are no certificate and its key in PEM format: {first_line(exc)}.'
        ) from exc
    return adapter


def serve(
    site: Site,
    *,
    daemonize: bool = False,
    pidfile: str | None = None,
    user: str | None = None,
    group: str | None = None,
    umask: int | None = None,
) -> None:
    """Start the engine and its servers, and wait until they are told to end.

    daemonize: go on in the background; the process that called ends with 0 once the engine has started there, and
        with 1, and a line on stderr, if it has not.
    user, group, umask: what the process runs as once its sockets are open; group: default that of the user.
    CommandError if it cannot start.
    """
    engine = site.engine
    if daemonize and not hasattr(os, 'fork'):
        raise CommandError('-d: this system has no daemons; leave it out, and let a service manager run it.', code=2)
    uid, gid = _ids(user, group)
    forking = None
    for server in [site.server, *site.servers.values()]:
        if server.start in engine.listeners.get('start', ()):
            adapter = check_server(server)
            if adapter is not None and adapter.FORKS and server is site.server:
                forking = adapter
    if pidfile is not None:
        _check_writable(pidfile)
    if daemonize:
        if not site.log.error_file:
            print('cpadapter: nothing is logged: a daemon has no screen; set log.error_file.', file=sys.stderr)
        site.config.update({'log.screen': False})
    if forking is not None:
        adapter = forking

        def run(started: Callable[[], object]) -> None:
            _run_forking(site, adapter, started, daemonize, pidfile, user=uid, group=gid, umask=umask)

    else:
        if daemonize:
            plugins.Daemonizer(engine).subscribe()
        if pidfile is not None:
            plugins.PIDFile(engine, pidfile).subscribe()
        if uid is not None or gid is not None or umask is not None:
            plugins.DropPrivileges(engine, umask, uid, gid).subscribe()
        signals = getattr(engine, 'signal_handler', None)
        if signals is not None:
            signals.subscribe()

        def run(started: Callable[[], object]) -> None:
            _run(site, started)

    if daemonize:
        _detached(run)
    else:
        run(lambda: None)


def is_on_terminal(site: Site) -> bool:
    """Say whether errors of the log are on the terminal: by the screen, or for want of any handler."""
    return bool(site.log.screen) or not site.log.error_log.hasHandlers()


def _ids(user: str | None, group: str | None) -> tuple[int | None, int | None]:
    """Look up a user and a group, by name or number."""
    if user is None and group is None:
        return None, None
    try:
        import grp
        import pwd
    except ImportError:
        raise CommandError('--user and --group: this system has no such users and groups.', code=2) from None
    uid = gid = None
    if user is not None:
        try:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except KeyError:
            raise CommandError(f'--user {user}: there is no such user here.') from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if group is not None:
        try:
            gid = grp.getgrgid(int(group)).gr_gid if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise CommandError(f'--group {group}: there is no such group here.') from None
    if os.geteuid() != 0 and (uid, gid) != (os.getuid(), os.getgid()):
        raise CommandError('--user and --group: only root can become somebody else; start as root or leave them out.')
    return uid, gid


def _check_writable(pidfile: str) -> None:
    folder = os.path.dirname(os.path.abspath(pidfile))
    if not os.path.isdir(folder):
        raise CommandError(f'The pid file {pidfile!r} cannot be written: there is no folder {folder}.')
    if os.path.isdir(pidfile) or not os.access(pidfile if os.path.exists(pidfile) else folder, os.W_OK):
        raise CommandError(f'The pid file {pidfile!r} cannot be written: not permitted. Give another one with -p.')


def _run(site: Site, started: Callable[[], object]) -> None:
    engine = site.engine
    errors: list[str] = []

    def collect(msg: str, level: int = 20) -> None:
        if level >= 40:
            errors.append(msg)

    engine.subscribe('log', collect)
    engine.hosted = False
    try:
        engine.start()
    except SystemExit as exc:
        if not errors:
            raise
        # A refusal is one line of the log.
        raise CommandError(errors[0], told=is_on_terminal(site)) from exc
    except ChannelFailures as exc:
        found = exc.get_instances()[0]
        raise CommandError(
            f'The engine has not started: {type(found).__name__}: {first_line(found)}. The error log has more.'
        ) from found
    except KeyboardInterrupt:
        return
    engine.unsubscribe('log', collect)
    started()
    engine.block()


def _run_forking(
    site: Site,
    adapter: server_adapters.Adapter,
    started: Callable[[], object],
    daemonize: bool,
    pidfile: str | None,
    **owner: Any,
) -> None:
    """Give this process to a server with workers, which writes the pid file and changes the user by itself."""
    engine, server = site.engine, site.server
    own = {'pidfile': pidfile, **owner}
    server.adapter_options = {
        **{name: value for name, value in own.items() if value is not None},
        **(server.adapter_options or {}),
    }
    if engine.on_own is not None:
        engine.on_own()
    settings.report_ignored(server, adapter)

    def serving(address: Any) -> None:
        engine.log(f'Serving on {server.description}')
        started()

    try:
        if daemonize:
            plugins.Daemonizer.daemonize(logger=engine.log)
        adapter.serve(site.tree, server, started=serving)
    except StartRefused as exc:
        engine.log(str(exc), level=40)
        raise CommandError(str(exc), told=is_on_terminal(site)) from exc
    except KeyboardInterrupt:
        engine.log('Keyboard Interrupt: shutting down bus')


def _detached(run: Callable[[Callable[[], object]], None]) -> None:
    """Run in a child; this process ends when the child says that it has started, or why it has not."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, 'rb') as pipe:
            said = pipe.read()
        if said != STARTED:
            why = said.decode('utf-8', 'replace') or 'it ended before it had started; its log may say why.'
            print(f'cpadapter: {why}', file=sys.stderr, flush=True)
        # What the program wants done at its end, the child does.
        os._exit(0 if said == STARTED else 1)
    os.close(reading)

    def tell(what: bytes) -> None:
        os.write(writing, what)
        os.close(writing)

    try:
        run(lambda: tell(STARTED))
    except CommandError as error:
        try:
            tell(str(error).encode())
        except OSError:
            pass  # it had started: what fails later is in the log
        error.told = True
        raise
