"""Config text -> Python values.

The expressions of a config file, the file format around them, and dotted names of modules and attributes are
read here. What the values mean, and which keys exist, is not known here.

A config file is code: an expression may call anything that can be imported. Never read one from a stranger.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ast
    from configparser import ConfigParser

__all__ = ['Parser', 'attributes', 'modules', 'parser_class', 'unrepr']

Parser: type[ConfigParser]  # made by __getattr__, at first use

_PACKAGE = __name__.partition('.')[0]

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    'Add': operator.add,
    'Sub': operator.sub,
    'Mult': operator.mul,
    'Div': operator.truediv,
    'FloorDiv': operator.floordiv,
    'Mod': operator.mod,
    'Pow': operator.pow,
    'BitOr': operator.or_,
    'BitAnd': operator.and_,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    'UAdd': operator.pos,
    'USub': operator.neg,
    'Not': operator.not_,
    'Invert': operator.invert,
}


def unrepr(s: str) -> Any:
    """Evaluate a restricted Python expression; empty text, or a comment, gives ''.

    Taken: literals (with sets, and `*` and `**` inside displays), arithmetic, `not`, subscripts and slices, attributes,
    calls, and names: an importable module first, then a builtin. `cherrypy` names this package unless a module of
    that name has been imported. What follows a `;` is ignored.
    TypeError names what is not taken or cannot be resolved; SyntaxError on anything else that is not an expression.

    CherryPy: `f(*args)` passes `args` as one argument; set, slice, `-`, `/`, `**` and `not` are refused.
    """
    if not s or all(not line or line.startswith('#') for line in map(str.strip, s.splitlines())):
        return ''
    return _value(_parse(s.strip()))


def _parse(text: str) -> ast.expr:
    import ast

    try:
        # In brackets an expression may go on over the continuation lines of a config file.
        return ast.parse(f'(\n{text}\n)', mode='eval').body
    except SyntaxError as exc:
        try:
            first = ast.parse(f'_ = {text}').body[0]
        except SyntaxError:
            raise exc from None
        if isinstance(first, ast.Assign) and len(first.targets) == 1:
            return first.value
        raise


def _value(node: ast.AST) -> Any:
    import ast

    match node:
        case ast.Constant(value=constant):
            return constant
        case ast.Name(id=name):
            return _resolve(name)
        case ast.Attribute(value=parent, attr=attr):
            return _attribute(_value(parent), attr)
        case ast.List(elts=items):
            return _items(items)
        case ast.Tuple(elts=items):
            return tuple(_items(items))
        case ast.Set(elts=items):
            return set(_items(items))
        case ast.Dict(keys=keys, values=values):
            result: dict[Any, Any] = {}
            for key, value in zip(keys, values, strict=True):
                if key is None:
                    result.update(_value(value))
                else:
                    result[_value(key)] = _value(value)
            return result
        case ast.BinOp(left=left, op=op, right=right):
            return _known(_BINARY, op)(_value(left), _value(right))
        case ast.UnaryOp(op=op, operand=operand):
            return _known(_UNARY, op)(_value(operand))
        case ast.Subscript(value=parent, slice=index):
            return _value(parent)[_value(index)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(*(None if part is None else _value(part) for part in (lower, upper, step)))
        case ast.Call(func=func, args=args, keywords=keywords):
            call = _value(func)
            # COMPAT: a keyword written out wins over the same key of a `**mapping`; Python refuses the call.
            settings = {keyword.arg: _value(keyword.value) for keyword in keywords if keyword.arg is not None}
            for keyword in keywords:
                if keyword.arg is None:
                    settings = {**settings, **{k: v for k, v in _value(keyword.value).items() if k not in settings}}
            return call(*_items(args), **settings)
    raise TypeError(f'unrepr does not recognize {type(node).__name__!r}')


def _items(nodes: list[ast.expr]) -> list[Any]:
    import ast

    items: list[Any] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            items.extend(_value(node.value))
        else:
            items.append(_value(node))
    return items


def _known(table: dict[str, Callable[..., Any]], op: ast.AST) -> Callable[..., Any]:
    name = type(op).__name__
    if name not in table:
        raise TypeError(f'unrepr does not recognize {name!r}')
    return table[name]


def _resolve(name: str) -> Any:
    import builtins

    try:
        return modules(name)
    except ModuleNotFoundError as exc:
        if exc.name != name:  # the module is there, and something that it imports is not
            raise
    try:
        return getattr(builtins, name)
    except AttributeError:
        raise TypeError(f'unrepr could not resolve the name {name!r}') from None


def _attribute(owner: Any, name: str) -> Any:
    """Give an attribute, or a submodule that nobody has imported yet."""
    try:
        return getattr(owner, name)
    except AttributeError:
        if not hasattr(owner, '__path__'):
            raise
        submodule = f'{owner.__name__}.{name}'
        try:
            return modules(submodule)
        except ModuleNotFoundError as exc:
            if exc.name != submodule:
                raise
        raise


def modules(modulePath: str) -> Any:
    """Import the module of a dotted name and give it.

    `cherrypy` and `cherrypy.x` mean this package and its submodule, unless a module `cherrypy` has been imported.
    """
    from importlib import import_module

    first, dot, rest = modulePath.partition('.')
    if first == 'cherrypy' and 'cherrypy' not in sys.modules:
        modulePath = _PACKAGE + dot + rest
    return import_module(modulePath)


def attributes(full_attribute_name: str) -> Any:
    """Import the module of `package.module.attribute` and give the attribute.

    AttributeError if the module has none of that name; ValueError if the name has no dot.
    """
    path, dot, name = full_attribute_name.rpartition('.')
    if not dot:
        raise ValueError(f'{full_attribute_name!r} names no attribute; write package.module.attribute.')
    module = modules(path)
    try:
        return getattr(module, name)
    except AttributeError:
        raise AttributeError(f'{path!r} object has no attribute {name!r}') from None


def _double_lone_percents(text: str) -> str:
    return re.sub(r'%%|%\(|%', lambda match: '%%' if match[0] == '%' else match[0], text)


@cache
def parser_class() -> type[ConfigParser]:
    """Give the Parser class; made at first use, for configparser is slow to import."""
    from configparser import BasicInterpolation, ConfigParser

    class Interpolation(BasicInterpolation):
        """`%(name)s` is what the option `name` says, `%%` is '%', and so is a '%' before anything else."""

        def before_get(self, parser: Any, section: Any, option: Any, value: Any, defaults: Any) -> str:
            others = {name: text and _double_lone_percents(text) for name, text in defaults.items()}
            return super().before_get(parser, section, option, _double_lone_percents(value), others)

    class Parser(ConfigParser):
        """A ConfigParser whose option names keep their case and whose values are Python expressions."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault('interpolation', Interpolation())
            super().__init__(*args, **kwargs)

        def optionxform(self, optionstr: str) -> str:
            return optionstr

        def read(self, filenames: Any, encoding: str | None = None) -> list[str]:  # type: ignore[override]
            """Read one file name, or several; unlike ConfigParser's, a missing file raises.

            encoding: UTF-8 by default.
            """
            import os

            if isinstance(filenames, (str, bytes, os.PathLike)):
                filenames = [filenames]
            for filename in filenames:
                with open(filename, encoding=encoding or 'utf-8-sig') as file:
                    self.read_file(file, source=os.fsdecode(filename))
            return [os.fsdecode(filename) for filename in filenames]

        def as_dict(self, raw: bool = False, vars: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
            """Give {section: {option: value}} with every value evaluated; ValueError names the one that fails."""
            result: dict[str, dict[str, Any]] = {}
            for section in self.sections():
                result[section] = {}
                for option in self.options(section):
                    text = self.get(section, option, raw=raw, vars=vars)
                    try:
                        value = unrepr(text)
                    except Exception as exc:
                        raise ValueError(
                            f'Config error in section: {section!r}, option: {option!r}, value: {text!r}. '
                            'Config values must be valid Python.',
                            type(exc).__name__,
                            exc.args,
                        ) from exc
                    result[section][option] = value
            return result

        def dict_from_file(self, file: Any) -> dict[str, dict[str, Any]]:
            """Read a file name or an open file, text or UTF-8 bytes, and give `as_dict()`."""
            if hasattr(file, 'read'):
                text = file.read()
                if isinstance(text, bytes):
                    text = text.decode('utf-8-sig')
                source = str(getattr(file, 'name', '<???>'))
                self.read_string(text, source=source)
            else:
                source = str(file)
                self.read(file)
            try:
                return self.as_dict()
            except ValueError as exc:
                # Below the message, which code may compare; Python 3.10 has no notes.
                if hasattr(exc, 'add_note'):
                    exc.add_note(f'The config file is {source!r}.')
                raise

        @classmethod
        def load(cls, input: Any) -> dict[str, Any]:
            """Give the dict of a file name or open file; a dict is copied, one level deep."""
            if isinstance(input, Mapping):
                return dict(input)
            return cls().dict_from_file(input)

    Parser.__qualname__ = 'Parser'
    return Parser


def __getattr__(name: str) -> Any:
    if name == 'Parser':
        return parser_class()
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
