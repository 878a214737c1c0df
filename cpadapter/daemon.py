"""The command line, `cpadapter` or `python -m cpadapter`, and `start`, which is `cpadapter serve` as a function.

Options are read here, in the letters of CherryPy's cherryd, and handed to the sub-commands in `commands`. It is
imported when it is used, never by the package.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .commands.failure import CommandError
from .commands.loading import (
    add_paths,
    default_site,
    load_config,
    load_module,
    load_target,
    set_address,
    set_environment,
)

if TYPE_CHECKING:
    import argparse

    from .core.site import Site

__all__ = ['main', 'run', 'start']

ONE_GATEWAY = 'You may only specify one of the cgi, fastcgi, and scgi options.'
COMMANDS = ('serve', 'check', 'tree', 'config', 'demo')


def start(
    configfiles: Iterable[str] | None = None,
    daemonize: bool = False,
    environment: str | None = None,
    fastcgi: bool = False,
    scgi: bool = False,
    pidfile: str | None = None,
    imports: Iterable[str] | None = None,
    cgi: bool = False,
) -> None:
    """Import modules, read config files, start the default site's engine, and wait until it exits.

    configfiles: names of files; the sections of each reach the application, if exactly one is mounted.
    environment: goes over what files say. fastcgi, scgi, cgi: one of them in place of the HTTP server.
    SystemExit(1), after a line on stderr, if something is wrong or the engine does not start.
    """
    try:
        sys.path.insert(0, '')
        for name in imports or ():
            load_module(name)
        site = default_site()
        load_config(site, configfiles or ())
        if environment is not None:
            set_environment(site, environment)
        _serve(site, daemonize, pidfile, {'fastcgi': fastcgi, 'scgi': scgi, 'cgi': cgi})
    except CommandError as error:
        raise SystemExit(_report(error)) from error


def run() -> None:
    """Run the command line of this process; SystemExit with its exit code unless that is 0."""
    code = main()
    if code:
        raise SystemExit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default this process's, and give the exit code.

    0: done; 1: it cannot be done, or `check` found something; 2: wrong options. Options without a sub-command are
    those of `serve`, as cherryd has them.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0][:1] == '-' and words[0] not in ('-h', '--help', '--version'):
        words.insert(0, 'serve')
    parser = _parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    if words[0][:1] != '-' and words[0] not in COMMANDS:
        print(
            f'cpadapter: there is no command {words[0]!r}: use one of {", ".join(COMMANDS)}; to serve an application, '
            f'cpadapter serve {words[0]}',
            file=sys.stderr,
        )
        return 2
    options = parser.parse_args(words)
    try:
        code: int = options.call(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read, `head` say, has seen enough. Nothing is left to be written when the process ends.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CommandError as error:
        if options.traceback:
            raise
        return _report(error)
    except KeyboardInterrupt:
        return 130
    return code


def _report(error: CommandError) -> int:
    if not error.told:
        print(f'cpadapter: {error}', file=sys.stderr, flush=True)
    return error.code


# ---------------------------------------------------------------------- options


def _parser() -> argparse.ArgumentParser:
    import argparse

    class Version(argparse.Action):
        """Prints the version, looked up only then."""

        def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
            # The package is there, since this is one of its modules; nobody imports its root.
            print(f'cpadapter {sys.modules[__package__ or ""].__version__}')
            parser.exit()

    parser = argparse.ArgumentParser(
        prog='cpadapter',
        description="Serve, check and show applications. Options without a command are those of 'serve'.",
    )
    parser.add_argument('--version', action=Version, nargs=0, help='print the version and exit')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')

    def add(name: str, call: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        command.set_defaults(call=call)
        command.add_argument('--traceback', action='store_true', help='show where an error comes from')
        return command

    serve = add('serve', _run_serve, 'serve an application')
    _add_sources(serve)
    _add_serving(serve)
    serve.add_argument('-f', dest='fastcgi', action='store_true', help='a FastCGI server in place of HTTP')
    serve.add_argument('-s', dest='scgi', action='store_true', help='an SCGI server in place of HTTP')
    serve.add_argument('-x', dest='cgi', action='store_true', help='answer one request by CGI')

    check = add('check', _run_check, 'say what is wrong with config; exit code 1 if anything is')
    _add_sources(check)

    tree = add('tree', _run_tree, 'show every URL with its page handler, config, tools and hooks')
    _add_sources(tree)
    tree.add_argument('--json', action='store_true', help='as a JSON array')

    config = add('config', _run_config, 'show the config of a path, and where each value comes from')
    config.add_argument('path', metavar='PATH', help='as a client asks for it: /wiki/page')
    _add_sources(config)

    demo = add('demo', _run_demo, 'serve a few pages that come with the package')
    _add_serving(demo)
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'target', nargs='?', metavar='APPLICATION', help='module, module:attribute, or the path of a package or file'
    )
    parser.add_argument(
        '-c', '--config', action='append', default=[], metavar='FILE', help='config file; may be repeated'
    )
    parser.add_argument('-e', '--environment', metavar='NAME', help='staging, production, embedded, test_suite')
    parser.add_argument(
        '-i', '--import', dest='imports', action='append', default=[], metavar='MODULE', help='import; may be repeated'
    )
    parser.add_argument(
        '-P', '--Path', dest='paths', action='append', default=[], metavar='DIR', help='put first on sys.path'
    )


def _add_serving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-d', dest='daemonize', action='store_true', help='go to the background')
    parser.add_argument('-p', '--pidfile', metavar='FILE', help='write the process id there')
    parser.add_argument('--server', metavar='NAME', help='uvicorn, gunicorn, hypercorn, waitress, ...')
    parser.add_argument('--bind', metavar='ADDRESS', help='HOST:PORT, :PORT or unix:PATH')
    parser.add_argument('--user', metavar='NAME', help='run as this user once the sockets are open')
    parser.add_argument('--group', metavar='NAME', help='and as this group; default: that of the user')
    parser.add_argument('--umask', type=_octal, metavar='OCTAL', help='for the files it makes: 027')


def _octal(text: str) -> int:
    return int(text, 8)


# ---------------------------------------------------------------------- commands


def _load(options: Any, note: Any = None) -> Site:
    """Import and configure what the options name, in cherryd's order; then what only this command line has."""
    add_paths(options.paths)
    sys.path.insert(0, '')
    for name in options.imports:
        load_module(name)
    site = default_site() if options.target is None else load_target(options.target)
    load_config(site, options.config, note)
    if options.environment is not None:
        try:
            set_environment(site, options.environment)
        except CommandError as error:
            if note is None:
                raise
            note(error)
    return site


def _apply(site: Site, options: Any) -> None:
    if options.bind is not None:
        set_address(site, options.bind)
    if options.server is not None:
        site.config.update({'server.adapter': options.server})


def _run_serve(options: Any) -> int:
    site = _load(options)
    _apply(site, options)
    gateways = {name: getattr(options, name) for name in ('fastcgi', 'scgi', 'cgi')}
    _serve(
        site,
        options.daemonize,
        options.pidfile,
        gateways,
        user=options.user,
        group=options.group,
        umask=options.umask,
    )
    return 0


def _serve(site: Site, daemonize: bool, pidfile: str | None, gateways: dict[str, bool], **owner: Any) -> None:
    from .commands.serving import is_on_terminal, serve

    wanted = [name for name, on in gateways.items() if on]
    if len(wanted) > 1:
        site.log.error(ONE_GATEWAY, 'ENGINE', severity=40)
        raise CommandError(ONE_GATEWAY, told=is_on_terminal(site))
    if wanted:
        _use_gateway(site, wanted[0])
    serve(site, daemonize=daemonize, pidfile=pidfile, **owner)


def _use_gateway(site: Site, name: str) -> None:
    """Put a FastCGI, SCGI or CGI server in the HTTP server's place."""
    from .process import servers

    cls = getattr(servers, {'fastcgi': 'FlupFCGIServer', 'scgi': 'FlupSCGIServer', 'cgi': 'FlupCGIServer'}[name], None)
    if cls is None:
        raise CommandError(
            f'There is no {name} server here yet: serve HTTP, and let the web server in front pass requests on to it.'
        )
    site.engine.autoreload.unsubscribe()
    site.server.unsubscribe()
    address = site.server.bind_addr
    servers.ServerAdapter(site.engine, cls(application=site.tree, bindAddress=address), address).subscribe()


def _origins(site: Site, options: Any) -> Any:
    from .commands.origins import Origins

    return Origins(site, options.config, (), options.environment)


def _inspect(options: Any, note: Any = None) -> Site:
    """Load for a look: nothing of it is served, and findings are printed, not logged to the screen."""
    site = _load(options, note)
    site.log.screen = False
    return site


def _run_tree(options: Any) -> int:
    from .commands import tree

    site = _inspect(options)
    origins = _origins(site, options)
    if not site.tree.apps:
        raise CommandError('No application is mounted: name one, or import the module that mounts it with -i.')
    if options.json:
        print(tree.as_json(site, origins))
    else:
        for line in tree.as_text(site, origins):
            print(line)
    return 0


def _run_config(options: Any) -> int:
    from .commands import settings

    if options.path[:1] != '/':
        raise CommandError(f'config {options.path}: a path begins with a slash: /wiki/page.', code=2)
    site = _inspect(options)
    for line in settings.lines(site, options.path, _origins(site, options)):
        print(line)
    return 0


def _run_check(options: Any) -> int:
    import logging

    from .commands.check import Findings, check

    findings = Findings()
    logger = logging.getLogger(default_site().log.logger_root)
    logger.addHandler(findings)
    try:
        try:
            site = _inspect(options, lambda error: findings.add(str(error)))
            check(site, findings)
        except CommandError as error:
            findings.add(str(error))
    finally:
        logger.removeHandler(findings)
    for message in findings.messages:
        first, *rest = message.splitlines()
        print(f'- {first}')
        for line in rest:
            print(f'  {line}')
    count = len(findings.messages)
    print('Nothing found.' if not count else f'{count} finding{"s" if count > 1 else ""}.')
    return 1 if count else 0


def _run_demo(options: Any) -> int:
    from .commands.demo import Demo, config
    from .commands.serving import serve

    site = default_site()
    site.tree.mount(Demo(), '', config)
    _apply(site, options)
    serve(
        site,
        daemonize=options.daemonize,
        pidfile=options.pidfile,
        user=options.user,
        group=options.group,
        umask=options.umask,
    )
    return 0
