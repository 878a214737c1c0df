"""XML-RPC: the page handler that calls methods by name, and the `xmlrpc` tool, which turns errors into faults.

Documents are read by a parser that refuses what no call needs: document types, entities, and deep nesting.

Source: http://xmlrpc.com/spec.md
"""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ..context import current
from ..extension.hooks import is_async_callable
from ..extension.tools import ErrorTool
from . import checks

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['XMLRPCController', 'XMLRPCTool', 'on_error', 'parse_call', 'patched_path', 'process_body', 'respond']

# Elements inside each other; three to five of them make one level of an array or struct.
MAX_DEPTH = 300

# Characters of a method's name that are told and logged where there is no such method.
_MAX_NAME = 200

# SPEC: XML 1.0, 2.2. What str holds and UTF-8 does not is among them.
_NOT_IN_XML = '[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]'

_HIDDEN = 'The server encountered an unexpected condition which prevented it from fulfilling the request.'


def parse_call(document: bytes) -> tuple[tuple[Any, ...], str | None]:
    """Read a methodCall into (parameters, method name). Raises ValueError for anything else.

    Neither document types nor entities are read, so that nothing is expanded or fetched; elements may stand at
    most MAX_DEPTH deep.
    """
    from xml.parsers import expat
    from xmlrpc.client import Fault, ResponseError, Unmarshaller

    target = Unmarshaller()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError('The XML document is nested too deeply.')
        target.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(tag)

    def refuse(*args: Any) -> Any:
        raise ValueError('Document types and entities are not allowed.')

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = target.data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    target.xml('', None)  # data() gets text, not bytes in an encoding
    try:
        parser.Parse(document, True)
        return tuple(target.close()), target.getmethodname()
    except (expat.ExpatError, Fault, ResponseError) as exc:
        raise ValueError(str(exc)) from exc
    except (ArithmeticError, AttributeError, LookupError, TypeError) as exc:
        # Elements in another order than the specification has them.
        raise ValueError('The XML document is no XML-RPC call.') from exc


def process_body() -> tuple[tuple[Any, ...], str]:
    """Read the current request's body; give (parameters, method name), 'ERRORMETHOD' if it is no call."""
    body = _body()
    return _read_call(body.read() if body is not None else b'')


def _body() -> Any:
    request = current().request
    return request.body if request.method in request.methods_with_bodies else None


def _read_call(document: bytes) -> tuple[tuple[Any, ...], str]:
    try:
        params, method = parse_call(document)
    except ValueError:
        return ('ERROR PARAMS',), 'ERRORMETHOD'
    return params, method or 'ERRORMETHOD'


def patched_path(path: str) -> str:
    """Give `path` with its final slash and without a leading /RPC2, as clients ask for it."""
    if not path.endswith('/'):
        path += '/'
    return path[5:] if path.startswith('/RPC2/') else path


def respond(body: Any, encoding: str = 'utf-8', allow_none: Any = 0) -> None:
    """Make a value, or a Fault, the current response.

    Raises TypeError for what XML-RPC cannot say, UnsayableValue for text with characters that XML cannot hold.
    """
    from xmlrpc.client import Fault, dumps

    if not isinstance(body, Fault):
        body = (body,)
    text = dumps(body, methodresponse=True, encoding=encoding, allow_none=bool(allow_none))
    wrong = re.search(_NOT_IN_XML, text)
    if wrong is not None:
        raise UnsayableValue(
            f'The result holds the character U+{ord(wrong[0]):04X}, which no XML document may: send bytes in its place.'
        )
    response = current().response
    response.status = '200 OK'
    response.stream = False
    data = text.encode(encoding, 'xmlcharrefreplace')
    response.body = data
    # The header's charset goes before the one in the document (RFC 7303 3): `encode` adds UTF-8 where none is named.
    response.headers['Content-Type'] = 'text/xml' if encoding == 'utf-8' else f'text/xml;charset={encoding}'
    response.headers['Content-Length'] = str(len(data))


@checks.checked(encoding=checks.charset)
def on_error(*args: Any, **kwargs: Any) -> None:
    """Make the exception that is being handled a fault; its text is told where tracebacks are shown."""
    from xmlrpc.client import Fault

    error = sys.exc_info()[1]
    shown = isinstance(error, (UnknownMethod, UnsayableValue)) or current().request.show_tracebacks
    text = str(error) if shown else _HIDDEN
    # Characters that no XML document may hold.
    respond(Fault(1, ''.join([char if char.isprintable() or char in '\t\n' else '\ufffd' for char in text])))


class UnsayableValue(ValueError):
    """Text in a result that would make the answer a document which no client can read."""


class UnknownMethod(Exception):
    """A method that is not there, or not exposed."""


class XMLRPCController:
    """Base of a node whose exposed methods are called by XML-RPC, at the node's own URL.

    `a.b` calls method b of attribute a. What is called must be exposed; a name that begins with '_' is never
    followed. Methods may be async. Config: `tools.xmlrpc.encoding` and `tools.xmlrpc.allow_none`, for answers.
    """

    _cp_config = {'tools.xmlrpc.on': True}

    def default(self, *vpath: Any, **params: Any) -> Any:
        """Call the method that the request's body names, with what is left of the path and its parameters."""
        if current().on_loop:
            return self._default_on_loop(vpath, params)
        arguments, method = process_body()
        result = self._method(method)(*vpath, *arguments, **params)
        if hasattr(result, '__await__'):
            return _answer_later(result)
        return _answer(result)

    default.exposed = True  # type: ignore[attr-defined]

    async def _default_on_loop(self, vpath: tuple[Any, ...], params: dict[str, Any]) -> Any:
        body = _body()
        arguments, method = _read_call(await body.aread() if body is not None else b'')
        call = self._method(method)
        if is_async_callable(call):
            return _answer(await call(*vpath, *arguments, **params))
        result = await current().app.offload(partial(call, *vpath, *arguments, **params))
        return _answer(await result if hasattr(result, '__await__') else result)

    def _method(self, name: str) -> Any:
        found: Any = self
        for part in name.split('.'):
            found = None if part[:1] == '_' else getattr(found, part, None)
            if found is None:
                break
        if not getattr(found, 'exposed', False) or not callable(found) or found == self.default:
            told = name if len(name) <= _MAX_NAME else f'{name[:_MAX_NAME]}...'
            raise UnknownMethod(f'method "{told}" is not supported')
        return found


def _answer(value: Any) -> Any:
    exchange = current()
    settings = exchange.request.toolmaps.get('tools', {}).get('xmlrpc', {})
    respond(value, settings.get('encoding', 'utf-8'), settings.get('allow_none', 0))
    return exchange.response.body


async def _answer_later(value: Any) -> Any:
    return _answer(await value)


class XMLRPCTool(ErrorTool):
    """The `xmlrpc` tool: its settings are read by the controllers, and another one is told when a plan is compiled."""

    SETTINGS = frozenset(('allow_none', 'debug', 'encoding', 'priority'))

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        app = current().app
        for name, value in settings.items():
            if name not in self.SETTINGS and app is not None:
                prefix = f'{self.namespace}.{self._name}.'
                app.report_unknown(prefix + name, value, [prefix + known for known in self.SETTINGS])
        super().compile(builder, settings)


on_error.non_blocking = True  # type: ignore[attr-defined]
