"""Tree: applications by script_name, and the choice of one for a path, longest first on segment borders.

It opens exchanges on what it chose; a grafted callable, or nobody, is handed over by `Handover`. The applications
themselves, and how an exchange runs, are not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..changes import changes
from ..context import current, default_site
from ..extension.namespaces import WatchedDict
from ..gateways.callable import DualCallable
from ..gateways.children import Child
from ..gateways.handover import Handover
from ..protocol.messages import CrossFirst
from .application import Application
from .wsgiapp import CPWSGIApp

if TYPE_CHECKING:
    from ..protocol.messages import RequestHead
    from .config import Source
    from .site import Site

__all__ = ['Tree']


def _clean(script_name: str) -> str:
    """Strip the trailing slash, add a missing leading one."""
    script_name = script_name.rstrip('/')
    return '/' + script_name if script_name and script_name[0] != '/' else script_name


class Tree(DualCallable):
    """The applications of a site, and the callable that serves them all.

    apps: {script_name: Application or grafted callable}; it may be changed in place.
    """

    apps: Any = {}

    def __init__(self, site: Site | None = None) -> None:
        self.site = site if site is not None else default_site()
        self.apps = WatchedDict()
        self._stamp = -1
        self._only: Any = None
        # What is not found out by looking at an application: {script_name: (application, protocol, lifespan)}.
        self._told: dict[str, tuple[Any, str | None, bool]] = {}
        self._children: dict[int, Child] = {}

    def mount(self, root: Any, script_name: str = '', config: Source | None = None) -> Application:
        """Mount an object tree, or an Application, and give the Application.

        script_name: where; an Application may be given its own or none. A mount of the same name is replaced.
        config: merged into the application's.
        TypeError if script_name is None, ValueError if it differs from the Application's own.
        """
        if script_name is None:
            raise TypeError(
                "The 'script_name' argument may not be None. Application objects may, however, possess a script_name "
                'of None (in order to inspect the WSGI environ for SCRIPT_NAME upon each request). You cannot mount '
                'such Applications on this Tree; you must pass them to a WSGI server interface directly.'
            )
        script_name = _clean(script_name)
        if isinstance(root, Application):
            app = root
            if app._script_name is None:
                raise TypeError(
                    'An Application with a script_name of None cannot be mounted: graft it, or serve it directly.'
                )
            if script_name not in ('', app.script_name):
                raise ValueError(
                    'Cannot specify a different script name and pass an Application instance to cherrypy.mount'
                )
            script_name = app.script_name
        else:
            app = Application(root, script_name, site=self.site)
            if script_name == '' and root is not None:
                app.serves_icon = True
        if config:
            app.merge(config)
        self.apps[script_name] = app
        return app

    def graft(
        self, wsgi_callable: Any, script_name: str = '', protocol: str | None = None, lifespan: bool = True
    ) -> None:
        """Put a WSGI or ASGI application of whatever make at `script_name`, under either gateway.

        protocol: 'wsgi' or 'asgi'; None finds out by looking at the application. Application and Tree objects speak
            both.
        lifespan: False for an ASGI application whose lifespan is somebody else's to run. Others are sent startup when
            the engine has started, and shutdown before it stops.
        ValueError if there is no such protocol.
        """
        script_name = _clean(script_name)
        if protocol not in (None, 'wsgi', 'asgi'):
            raise ValueError(f'There is no protocol {protocol!r} to graft by: known are wsgi and asgi.')
        self._told[script_name] = (wsgi_callable, protocol, lifespan)
        self.apps[script_name] = wsgi_callable

    def children(self) -> Iterator[Child]:
        """Give what is grafted, and the applications of other sites, in the order of mounting, each once."""
        seen = set()
        for script_name, app in list(self.apps.items()):
            if id(app) not in seen and (not isinstance(app, Application) or app.site is not self.site):
                seen.add(id(app))
                yield self._child(script_name, app)

    def _child(self, script_name: str, app: Any) -> Child:
        child = self._children.get(id(app))
        if child is None or child.app is not app:
            told, protocol, lifespan = self._told.get(script_name, (None, None, True))
            if told is not app:
                protocol, lifespan = None, True
            if protocol is None and _is_dual(app):
                protocol = 'both'
            child = self._children[id(app)] = Child(app, protocol, lifespan)
        return child

    def script_name(self, path: str | None = None) -> str | None:
        """Give the script_name of the longest mount that `path` lies in, None if there is none.

        path: from the site's root; None means the current request's.
        """
        if path is None:
            exchange = current()
            if exchange.app is None:
                return '' if '' in self.apps else None
            path = exchange.request.script_name + exchange.request.path_info
            outer = exchange.head.outer if exchange.head is not None else ''
            if outer and path.startswith(outer):
                return self._find(outer, path[len(outer) :])[0]
        apps = self.apps
        path = path.rstrip('/')
        while path not in apps:
            if not path:
                return None
            path = path[: path.rfind('/')] if '/' in path else ''
        return path

    def open(self, head: RequestHead) -> Any:
        """Give the Exchange of the application that `head` is for, or a Handover to what is no Application."""
        if self._stamp != changes.count:
            self._refresh(head)
        app = self._only
        if app is not None:
            return app.open(head)
        outer = head.outer
        path = head.path
        mount, is_whole = self._find(outer, path) if outer else (self.script_name(path), False)
        if mount is None:
            return Handover(head, None, '', path)
        if is_whole:
            return self._open_at(head, mount, '', (outer + path)[len(mount) :])
        return self._open_at(head, mount, outer, path[len(mount) :])

    def _find(self, outer: str, path: str) -> tuple[str | None, bool]:
        """Give (the mount for `path`, whether that names `outer` too: then the two are one prefix)."""
        mount = self.script_name(outer + path)
        if mount is not None and (mount == outer or mount.startswith(outer + '/')):
            return mount, True
        return self.script_name(path), False

    def _open_at(self, head: RequestHead, mount: str, outer: str, rest: str) -> Any:
        app = self.apps[mount]
        if isinstance(app, Application) and (not hasattr(head, 'redirected') or is_bare(app)):
            return app.open(head, None, outer + mount, rest if rest or outer + mount else '/')
        return Handover(head, self._child(mount, app), outer + mount, rest, self.site)

    def _refresh(self, head: RequestHead) -> None:
        engine = self.site.engine
        if engine.needs_start:
            if head.on_loop:
                raise CrossFirst  # listeners may wait
            engine.ensure_started()
        self._stamp = changes.count
        kept = {id(app) for app in self.apps.values()}
        self._children = {key: child for key, child in self._children.items() if key in kept}
        only = self.apps.get('') if len(self.apps) == 1 else None
        self._only = only if type(only) is Application and only._script_name == '' and is_bare(only) else None

    def wsgi(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve a WSGI request."""
        return super().wsgi(environ, start_response)

    def asgi(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Serve an ASGI connection."""
        return super().asgi(scope, receive, send)


def _is_dual(app: Any) -> bool:
    """Say whether an application of ours has an ASGI side: not inside WSGI middleware, or with its own `__call__`."""
    if isinstance(app, Application):
        return is_bare(app)
    return isinstance(app, DualCallable) and type(app).__call__ is DualCallable.__call__


def is_bare(app: Application) -> bool:
    """Say whether nothing stands before an application: WSGI middleware, or a subclass's own `__call__`."""
    wsgiapp = app.wsgiapp
    return (
        type(wsgiapp) is CPWSGIApp
        and wsgiapp.is_bare
        and (type(app) is Application or type(app).__call__ is Application.__call__)
    )
