"""The WSGI pipeline of an application: middleware around it, named and configured by `wsgi.*`.

Also what CherryPy calls the pieces of its own pipeline. Trapping errors and following internal redirects is done
by the request pipeline itself, under both protocols; the two classes of those names do it for other callables.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..changes import changed
from ..context import current
from ..errors import InternalRedirect, bare_error, format_exc
from ..protocol.messages import decode_path
from ..protocol.uri import urljoin

if TYPE_CHECKING:
    from ..typing import Environ, StartResponse, WSGIApp

__all__ = ['AppResponse', 'CPWSGIApp', 'ExceptionTrapper', 'InternalRedirector', 'VirtualHost']


class VirtualHost:
    """A WSGI application that hands on to another by the host asked for.

    default: serves every host not in `domains`.
    domains: host (with port, if it is not the default one) -> WSGI application; compared without regard to case.
    use_x_forwarded_host: take X-Forwarded-Host, when the client sent one, in place of Host.
    """

    default: Any = None
    domains: Any = {}
    use_x_forwarded_host: bool = True

    def __init__(self, default: Any, domains: dict[str, Any] | None = None, use_x_forwarded_host: bool = True) -> None:
        self.default = default
        self.domains = domains or {}
        self.use_x_forwarded_host = use_x_forwarded_host

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        domain = environ.get('HTTP_HOST', '')
        if self.use_x_forwarded_host:
            domain = environ.get('HTTP_X_FORWARDED_HOST', '') or domain
        app = self.domains.get(domain)
        if app is None:
            domain = domain.lower()
            app = next((app for name, app in self.domains.items() if name.lower() == domain), self.default)
        result: Iterable[bytes] = app(environ, start_response)
        return result


class InternalRedirector:
    """WSGI middleware that answers an InternalRedirect by calling the application again.

    recursive: True allows a URL to be visited twice.
    """

    def __init__(self, nextapp: Any, recursive: bool = False) -> None:
        self.nextapp = nextapp
        self.recursive = recursive

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        visited: list[str] = []
        while True:
            environ = environ.copy()
            try:
                result: Iterable[bytes] = self.nextapp(environ, start_response)
                return result
            except InternalRedirect as redirect:
                from io import BytesIO

                script_name = environ.get('SCRIPT_NAME', '')
                query = environ.get('QUERY_STRING', '')
                visited.append(urljoin(script_name, environ.get('PATH_INFO', '')) + (f'?{query}' if query else ''))
                target = urljoin(script_name, redirect.path) + (
                    f'?{redirect.query_string}' if redirect.query_string else ''
                )
                if not self.recursive and target in visited:
                    raise RuntimeError(f'InternalRedirector visited the same URL twice: {target!r}') from redirect
                if environ.get('REQUEST_METHOD') != 'HEAD':
                    environ['REQUEST_METHOD'] = 'GET'
                environ['PATH_INFO'] = redirect.path
                environ['QUERY_STRING'] = redirect.query_string
                environ['wsgi.input'] = BytesIO()
                environ['CONTENT_LENGTH'] = '0'
                environ['cherrypy.previous_request'] = redirect.request


class ExceptionTrapper:
    """WSGI middleware that logs what escapes the application and answers a bare 500.

    throws: exceptions that are let through.
    """

    def __init__(self, nextapp: Any, throws: Any = (KeyboardInterrupt, SystemExit)) -> None:
        self.nextapp = nextapp
        self.throws = throws

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return _Trapped(self, environ, start_response)


class _Trapped:
    """The response of a trapped application; once headers are out an error ends the connection."""

    def __init__(self, trapper: ExceptionTrapper, environ: Environ, start_response: StartResponse) -> None:
        self.throws = trapper.throws
        self.start_response = start_response
        self.started = False
        self.response: Any = self._trap(trapper.nextapp, environ, start_response)
        self.iterator = iter(self.response)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.started = True
        chunk: bytes = self._trap(next, self.iterator)
        return chunk

    def close(self) -> None:
        close = getattr(self.response, 'close', None)
        if close is not None:
            close()

    def _trap(self, func: Callable[..., Any], *args: Any) -> Any:
        try:
            return func(*args)
        except StopIteration:
            raise
        except self.throws:
            raise
        except Exception:
            exchange = current()
            log = exchange.app.log if exchange.app is not None else exchange.site.log
            log.error(traceback=True, severity=logging.ERROR)
            status, headers, body = bare_error(format_exc() if exchange.show_tracebacks() else None)
            self.start_response(
                status.decode('latin-1'),
                [(name.decode('latin-1'), value.decode('latin-1')) for name, value in headers],
                sys.exc_info(),  # type: ignore[arg-type]
            )
            self.iterator = iter(())
            return b''.join(body) if self.started else body


class AppResponse:
    """The response of an application below its middleware; `wsgi.response_class` may name a subclass."""

    # Environ keys that are headers without an HTTP_ in front, and one under another name.
    headerNames: Any = {
        'HTTP_CGI_AUTHORIZATION': 'Authorization',
        'CONTENT_LENGTH': 'Content-Length',
        'CONTENT_TYPE': 'Content-Type',
        'REMOTE_HOST': 'Remote-Host',
        'REMOTE_ADDR': 'Remote-Addr',
    }

    def __init__(self, environ: Environ, start_response: StartResponse, cpapp: Any) -> None:
        self.cpapp = cpapp
        self.environ = environ
        self.start_response = start_response
        self.run()

    def run(self) -> None:
        """Do the request; a subclass may change `environ` before, or look at the result after."""
        self.iter_response: Any = self.cpapp.plain_wsgi(self.environ, self.start_response)
        self._iterator = iter(self.iter_response)

    def translate_headers(self, environ: Environ) -> Iterator[tuple[str, str]]:
        """Give the request's headers of an environ as (name, value) pairs."""
        for key, value in environ.items():
            if key in self.headerNames:
                yield self.headerNames[key], value
            elif key[:5] == 'HTTP_':
                yield key[5:].replace('_', '-'), value

    def recode_path_qs(self, path: str, qs: str) -> tuple[str, str]:
        """Decode a path and a query, latin-1 text, by the application's `request.uri_encoding` (UTF-8)."""
        encoding = self.cpapp.find_config(path, 'request.uri_encoding', 'utf-8')
        return decode_path(path, encoding), decode_path(qs, encoding)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk: bytes = next(self._iterator)
        return chunk

    def close(self) -> None:
        close = getattr(self.iter_response, 'close', None)
        if close is not None:
            close()


class CPWSGIApp:
    """An application behind its WSGI middleware.

    pipeline: list of (name, factory): `factory(nextapp, **config[name])` gives a WSGI application; the first entry
        is the outermost.
    config: settings by name. head: the outermost callable; set it to None after changing either.
    """

    pipeline: Any = [('ExceptionTrapper', ExceptionTrapper), ('InternalRedirector', InternalRedirector)]
    response_class: Any = AppResponse
    config: Any = {}
    head: Any = None

    def __init__(self, cpapp: Any, pipeline: Any = None) -> None:
        self.cpapp = cpapp
        self.pipeline: list[tuple[str, Any]] = list(type(self).pipeline)
        if pipeline:
            self.pipeline.extend(pipeline)
        self.config: dict[str, dict[str, Any]] = {}
        self.head = None

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == 'head' and value is None:
            changed()  # a tree may have kept that nothing stands before the application

    def tail(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application itself, below all middleware."""
        if self.response_class is AppResponse:
            return self.cpapp.plain_wsgi(environ, start_response)  # type: ignore[no-any-return]
        result: Iterable[bytes] = self.response_class(environ, start_response, self.cpapp)
        return result

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        head: WSGIApp | None = self.head
        if head is None:
            head = self.tail
            for name, factory in reversed(self.pipeline):
                head = factory(head, **self.config.get(name, {}))
            self.head = head
        return head(environ, start_response)

    def namespace_handler(self, k: str, v: Any) -> None:
        """Handle `wsgi.pipeline`, `wsgi.response_class` and `wsgi.<name>.<argument>`."""
        if k == 'pipeline':
            self.pipeline.extend(entry for entry in v if entry not in self.pipeline)
        elif k == 'response_class':
            self.response_class = v
        else:
            name, dot, arg = k.partition('.')
            if not dot:
                raise ValueError(
                    f"'wsgi.{k}' = {v!r}: known are 'wsgi.pipeline', 'wsgi.response_class' and "
                    "'wsgi.<name>.<argument>'."
                )
            self.config.setdefault(name, {})[arg] = v
        self.head = None

    @property
    def is_bare(self) -> bool:
        """Whether nothing stands before the application but what the request pipeline does itself."""
        return self.pipeline == type(self).pipeline and self.response_class is AppResponse
