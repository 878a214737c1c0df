"""Header fields: case-insensitive maps, list elements, parameters, encoded words, and their way onto the wire.

It knows no request and no response. What a client sent wrong raises BadHeaderValue, which says what to answer;
what an application set wrong raises ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MethodType
from typing import Any, Generic, TypeVar

from .params import known_charset
from .uri import iri_to_uri

__all__ = [
    'MAX_ELEMENTS',
    'RE_HEADER_SPLIT',
    'AcceptElement',
    'BadHeaderValue',
    'CaseInsensitiveDict',
    'HeaderElement',
    'HeaderMap',
    'Host',
    'SanitizedHost',
    'decode_TEXT',
    'decode_TEXT_maybe',
    'header_elements',
    'header_translate_deletechars',
    'header_translate_table',
    'parse_header',
    'q_separator',
]

# A list field with more members than this is refused: servers' own limits on header size allow about as many.
MAX_ELEMENTS = 2000

header_translate_table = None
header_translate_deletechars = bytes(range(32)) + b'\x7f'

q_separator = re.compile(r'; *q *=', re.IGNORECASE)


class BadHeaderValue(ValueError):
    """A header field the client sent that cannot be read; `status` is what to answer."""

    status = 400


# --- splitting and parameters ---------------------------------------------------------------------------------


def _split(text: str, separator: str) -> list[str]:
    """Split at each `separator` that stands outside double quotes; a quote never closed runs to the end.

    SPEC: RFC 9110 5.6.4 quoted-string. Each find begins where the last one ended: linear for any input.
    """
    if '"' not in text:
        return text.split(separator)
    parts = []
    start = at = 0
    quote = text.find('"')
    end = text.find(separator)
    while end >= 0:
        if quote < 0 or end < quote:
            parts.append(text[start:end])
            start = at = end + 1
        else:
            at = _closing_quote(text, quote) + 1
            if not at:
                break
            quote = text.find('"', at)
        if end < at:
            end = text.find(separator, at)
    parts.append(text[start:])
    return parts


def _closing_quote(text: str, quote: int) -> int:
    """Find the end of the quoted string that begins at `quote`; -1 if it has none."""
    at = quote
    while True:
        at = text.find('"', at + 1)
        if at < 0 or text[at - 1] != '\\':
            return at
        before = at - 1
        while text[before] == '\\':
            before -= 1
        if (at - before) % 2:
            return at


class _HeaderSplit:
    """Offers the `split` of a compiled pattern, done by scanning."""

    def split(self, text: str) -> list[str]:
        return _split(text, ',')


# COMPAT: a compiled pattern in CherryPy, of which only `split` is of use; no pattern does this in linear time.
RE_HEADER_SPLIT = _HeaderSplit()


def parse_header(line: str) -> tuple[str, dict[str, str]]:
    r"""Read 'value; name=text; name="quoted"' into (value, {name: text}).

    Names are lower-cased, quotes taken off, `\\` and `\"` inside them unescaped; other backslashes stay, since
    file names hold them. Pieces without '=' are passed over; of a repeated name the last counts.
    """
    if ';' not in line:
        return line.strip(), {}
    value, *pieces = _split(line, ';')
    return value.strip(), dict(_parameters(pieces))


def _parameters(pieces: Iterable[str]) -> Iterator[tuple[str, str]]:
    for piece in pieces:
        name, equals, text = piece.partition('=')
        if equals:
            yield name.strip().lower(), _unquoted(text.strip())


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
        if '\\' in text:
            text = '\\'.join([part.replace('\\"', '"') for part in text.split('\\\\')])
    return text


class HeaderElement:
    """One member of a list field: a value and its parameters."""

    def __init__(self, value: str, params: dict[str, Any] | None = None) -> None:
        self.value = value
        self.params: dict[str, Any] = {} if params is None else params

    def __lt__(self, other: HeaderElement) -> bool:
        return self.value < other.value

    def __str__(self) -> str:
        if not self.params:
            return self.value
        return ';'.join([self.value, *[f'{name}={text}' for name, text in self.params.items()]])

    def __bytes__(self) -> bytes:
        return str(self).encode('latin-1', 'replace')

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {str(self)!r}>'

    @staticmethod
    def parse(elementstr: str) -> tuple[str, dict[str, Any]]:
        """Read "token;name=text" into (value, parameters)."""
        return parse_header(elementstr)

    @classmethod
    def from_str(cls, elementstr: str) -> HeaderElement:
        """Make an element of its text."""
        value, params = cls.parse(elementstr)
        return cls(value, params)


# SPEC: RFC 9110 12.4.2 has at most three decimals and no sign; more decimals do no harm.
_WEIGHT = re.compile(r'[0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+')


class AcceptElement(HeaderElement):
    """One member of an Accept field (and of Accept-Charset, -Encoding, -Language, and TE).

    The parameters before `q` belong to the media range; `params['q']` is an element of its own, whose value is
    the weight and whose parameters are those after it.
    """

    @staticmethod
    def parse(elementstr: str) -> tuple[str, dict[str, Any]]:
        """Read one member; `q` is known in both cases of the letter."""
        if ';' not in elementstr:
            return elementstr.strip(), {}
        value, *pieces = _split(elementstr, ';')
        params: dict[str, Any] = {}
        for index, piece in enumerate(pieces):
            name, equals, text = piece.partition('=')
            if not equals:
                continue
            name = name.strip().lower()
            text = _unquoted(text.strip())
            if name == 'q':
                params['q'] = HeaderElement(text, dict(_parameters(pieces[index + 1 :])))
                break
            params[name] = text
        return value.strip(), params

    @property
    def qvalue(self) -> float:
        """The weight, 0.0 to 1.0; 1.0 if none is given. Raises BadHeaderValue if it is no number."""
        weight = self.params.get('q')
        if weight is None:
            return 1.0
        text = weight.value if isinstance(weight, HeaderElement) else str(weight)
        if not _WEIGHT.fullmatch(text):
            raise BadHeaderValue(f'Malformed HTTP header: `{self}`')
        return min(float(text), 1.0)

    def __lt__(self, other: HeaderElement) -> bool:
        return _rank(self) < _rank(other)


def _rank(element: HeaderElement) -> tuple[float, str]:
    return (element.qvalue if isinstance(element, AcceptElement) else 1.0), str(element)


def header_elements(fieldname: str, fieldvalue: str | None) -> list[HeaderElement]:
    """Split a list field into its members.

    Members of Accept, Accept-* and TE come best first: by weight, then the greater text first, which puts
    "text/html;level=1" before "text/html" before "text/*" before "*/*". All others keep the order received.
    An empty member is an element with the value ''.
    Raises BadHeaderValue for a weight that is no number (where there are two members or more), and for more
    than MAX_ELEMENTS members.
    """
    if not fieldvalue:
        return []
    name = fieldname.lower()
    is_accept = name.startswith('accept') or name == 'te'
    cls = AcceptElement if is_accept else HeaderElement
    members = _split(fieldvalue, ',')
    if len(members) > MAX_ELEMENTS:
        raise BadHeaderValue(f'Too many members in the {fieldname} header.')
    elements: list[HeaderElement] = [cls.from_str(member) for member in members]
    if is_accept and len(elements) > 1:
        elements.sort(key=_rank, reverse=True)
    return elements


# --- encoded words --------------------------------------------------------------------------------------------

# SPEC: RFC 2047 section 2. Each attempt ends at the next question mark, so the search is linear.
_WORD = re.compile(r'=\?([^?\s]*)\?([bBqQ])\?([^?\s]*)\?=')
_Q_ESCAPE = re.compile(rb'=([0-9A-Fa-f]{2})')


def decode_TEXT(value: str) -> str:
    """Decode the RFC 2047 encoded words in `value`, leniently: what cannot be decoded stays as it is.

    Space between two encoded words is no part of the text; bytes of neighbours in one charset are decoded
    together, since a character may be split between them.
    """
    output: list[str] = []
    run: list[bytes] = []
    run_charset = ''
    run_start = run_end = 0

    def flush() -> None:
        if run:
            try:
                output.append(b''.join(run).decode(run_charset))
            except (UnicodeError, LookupError):
                output.append(value[run_start:run_end])
            run.clear()

    at = 0
    for match in _WORD.finditer(value):
        charset = known_charset(match[1].partition('*')[0])
        data = _word_bytes(match[2], match[3])
        if charset is None or data is None:
            continue
        between = value[at : match.start()]
        joined = bool(at) and between.isspace()
        if between and not joined:
            flush()
            output.append(between)
        elif charset != run_charset:
            flush()
        if not run:
            run_start = match.start()
        run.append(data)
        run_charset = charset
        at = run_end = match.end()
    flush()
    output.append(value[at:])
    return ''.join(output)


def _word_bytes(kind: str, text: str) -> bytes | None:
    try:
        data = text.encode('ascii')
    except UnicodeEncodeError:
        return None
    if kind in 'qQ':
        return _Q_ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), data.replace(b'_', b' '))
    import binascii

    try:
        return binascii.a2b_base64(data + b'=' * (-len(data) % 4))
    except ValueError:
        return None


def decode_TEXT_maybe(value: str) -> str:
    """Do what decode_TEXT does, if anything in `value` looks like an encoded word."""
    return decode_TEXT(value) if '=?' in value else value


# --- maps -----------------------------------------------------------------------------------------------------

_ABSENT: Any = object()


class CaseInsensitiveDict(dict[str, Any]):
    """A dict whose keys are the same in any spelling; they are kept, and iterated, in Title-Case.

    A key that is not text is taken by its text (None is 'None'), bytes as latin-1.
    """

    # A key asked for in Title-Case is found by dict itself, at dict's speed; the others come by __missing__ or a
    # second look.

    def __init__(self, *args: Any, **kargs: Any) -> None:
        super().__init__()
        if args or kargs:
            self.update(*args, **kargs)

    @staticmethod
    def transform_key(key: Any) -> str:
        """Give the spelling under which a key is kept."""
        if type(key) is str:
            return key.title()
        if isinstance(key, bytes):
            return key.decode('latin-1').title()
        return str(key).title()

    def __missing__(self, key: Any) -> Any:
        name = self.transform_key(key)
        value = dict.get(self, name, _ABSENT)
        if value is _ABSENT:
            raise KeyError(name)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        dict.__setitem__(self, self.transform_key(key), value)

    def __delitem__(self, key: Any) -> None:
        dict.__delitem__(self, self.transform_key(key))

    def __contains__(self, key: Any) -> bool:
        return dict.__contains__(self, key) or dict.__contains__(self, self.transform_key(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """Give the value of `key`, or `default`."""
        value = dict.get(self, key, _ABSENT)
        if value is _ABSENT:
            return dict.get(self, self.transform_key(key), default)
        return value

    def pop(self, key: Any, default: Any = _ABSENT) -> Any:
        """Take `key` out and give its value, or `default`; KeyError if neither is there."""
        if default is _ABSENT:
            return dict.pop(self, self.transform_key(key))
        return dict.pop(self, self.transform_key(key), default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Give the value of `key`, set to `default` first if absent."""
        return dict.setdefault(self, self.transform_key(key), default)

    def update(self, *args: Any, **kargs: Any) -> None:
        """Set keys from a mapping or pairs, and from keyword arguments."""
        if len(args) > 1:
            raise TypeError(f'update expected at most 1 argument, got {len(args)}')
        if args:
            source = args[0]
            pairs = ((key, source[key]) for key in source.keys()) if hasattr(source, 'keys') else source  # noqa: SIM118
            for key, value in pairs:
                self[key] = value
        for key, value in kargs.items():
            self[key] = value

    def copy(self: _Map) -> _Map:
        """Give a map of the same class with the same items."""
        new = type(self)()
        dict.update(new, self)
        return new

    def __or__(self: _Map, other: Mapping[Any, Any]) -> _Map:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        new = self.copy()
        new.update(other)
        return new

    def __ror__(self: _Map, other: Mapping[Any, Any]) -> _Map:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        new = type(self)()
        new.update(other)
        new.update(self)
        return new

    def __ior__(self: _Map, other: Any) -> _Map:  # type: ignore[override,misc]
        self.update(other)
        return self


_Map = TypeVar('_Map', bound=CaseInsensitiveDict)
_R = TypeVar('_R')


class _EitherMethod(Generic[_R]):
    """A method of the class that, called on an instance, sees the instance: its own settings count there."""

    def __init__(self, function: Callable[..., _R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: Any) -> Callable[..., _R]:
        return MethodType(self._function, owner if instance is None else instance)


# SPEC: RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# SPEC: RFC 9110 5.5: no control characters in a field value but TAB.
_CONTROL = re.compile('[\x00-\x08\x0a-\x1f\x7f]')
_CONTROL_BYTES = re.compile(rb'[\x00-\x08\x0a-\x1f\x7f]')
# C1 control characters are no octets to send as they are: they go as an encoded word.
_C1 = re.compile('[\x80-\x9f]')

_URI_FIELDS = frozenset(('Location', 'Content-Location'))
_ILLEGAL = 'Illegal control character in'

# Names known to be tokens, so that the pattern is asked only about others.
_COMMON = frozenset(
    (
        *('Accept-Ranges', 'Age', 'Allow', 'Cache-Control', 'Content-Disposition', 'Content-Encoding'),
        *('Content-Language', 'Content-Length', 'Content-Range', 'Content-Type', 'Date', 'Etag', 'Expires'),
        *('Last-Modified', 'Location', 'Pragma', 'Retry-After', 'Server', 'Set-Cookie', 'Vary', 'Www-Authenticate'),
        'X-Content-Type-Options',
    )
)


class HeaderMap(CaseInsensitiveDict):
    """The headers of one message.

    A value may be str, bytes (sent as they are), or anything with a text. `encodings` are tried in order on a
    str; where none fits, it goes as an RFC 2047 encoded word if `use_rfc_2047`. All three settings may be made
    on the class or on one map.
    CherryPy: `protocol` decides about encoded words too; here it only records what the client speaks.
    """

    protocol: tuple[int, int] = (1, 1)
    encodings: list[str] = ['ISO-8859-1']
    use_rfc_2047: bool = True

    def elements(self, key: Any) -> list[HeaderElement]:
        """Give the members of a list field, as header_elements orders them; [] if it is absent."""
        value = self.get(key)
        if isinstance(value, bytes):
            value = value.decode('latin-1')
        elif value is not None and not isinstance(value, str):
            value = str(value)
        return header_elements(self.transform_key(key), value)

    def values(self, key: Any = _ABSENT) -> Any:
        """Give the values of the members of the list field `key`; without a key, what dict.values gives."""
        if key is _ABSENT:
            return dict.values(self)
        return [element.value for element in self.elements(key)]

    def output(self) -> list[tuple[bytes, bytes]]:
        """Give all headers as (name, value) bytes, in order.

        Raises ValueError for a name that is no token and for a control character in a value.
        """
        items: list[tuple[bytes, bytes]] = self.encode_header_items(self.items())
        return items

    @_EitherMethod
    def output_text(self, name: str, value: Any) -> tuple[str, str]:
        """Give one header as latin-1 text for the wire; a URI in a field that holds one is percent-encoded.

        Raises ValueError for a name that is no token and for a control character in the value.
        """
        if name not in _COMMON and not _TOKEN.fullmatch(name):
            problem = _ILLEGAL if '\t' in name or _CONTROL.search(name) else 'Illegal'
            raise ValueError(f'{problem} response header name {name!r}.')
        # PERF: plain ASCII text, nearly every value there is, skips the general way: 0.25 microseconds, not 1.15.
        if type(value) is str and value.isascii() and value.isprintable():
            return name, value
        if isinstance(value, str):
            if _CONTROL.search(value):
                raise ValueError(f'{_ILLEGAL} response header {name}: {value!r}.')
            if name in _URI_FIELDS:
                return name, iri_to_uri(value)
        elif isinstance(value, bytes) and _CONTROL_BYTES.search(value):
            raise ValueError(f'{_ILLEGAL} response header {name}: {value!r}.')
        return name, self.encode_header_item(value).decode('latin-1')

    @_EitherMethod
    def encode_text(self, text: Any) -> str:
        """Encode one value as encode_header_item does, and give it as latin-1 text."""
        if type(text) is str and text.isascii() and text.isprintable():
            return text
        return self.encode_header_item(text).decode('latin-1')

    @_EitherMethod
    def encode_header_items(self, header_items: Iterable[tuple[Any, Any]]) -> list[tuple[bytes, bytes]]:
        """Encode (name, value) pairs for the wire, as `output` does."""
        encoded = []
        for name, value in header_items:
            name, value = self.output_text(name.decode('latin-1') if isinstance(name, bytes) else str(name), value)
            encoded.append((name.encode('latin-1'), value.encode('latin-1')))
        return encoded

    @_EitherMethod
    def encode_header_item(self, item: Any) -> bytes:
        """Encode one value: bytes as they are, str by `encode`, anything else by its text.

        Raises ValueError for a control character; TAB is allowed.
        """
        if isinstance(item, str):
            item = self.encode(item)
        elif not isinstance(item, bytes):
            item = self.encode(str(item))
        if _CONTROL_BYTES.search(item):
            raise ValueError(f'{_ILLEGAL} response header: {item!r}.')
        return bytes(item)

    @_EitherMethod
    def encode(self, v: str) -> bytes:
        """Encode text by the first of `encodings` that fits, else as one RFC 2047 word in UTF-8.

        Raises ValueError if neither is possible.
        """
        if not (self.use_rfc_2047 and _C1.search(v)):
            for encoding in self.encodings:
                try:
                    return v.encode(encoding)
                except UnicodeEncodeError:
                    continue
        if self.use_rfc_2047:
            if _CONTROL.search(v):
                raise ValueError(f'{_ILLEGAL} response header: {v!r}.')
            import binascii

            # A word longer than RFC 2047's 75 characters, because a folded field is worse (RFC 9112 5.2).
            return b'=?utf-8?b?%s?=' % binascii.b2a_base64(v.encode('utf-8', 'replace'), newline=False)
        raise ValueError(f'Could not encode header part {v!r} using any of the encodings {self.encodings!r}.')


# --- hosts ----------------------------------------------------------------------------------------------------


class Host:
    """One end of the connection: `ip`, `port` (-1 if unknown) and `name`, which is the ip if None is given."""

    ip = '0.0.0.0'
    port = 80
    name = 'unknown.tld'

    def __init__(self, ip: str, port: int, name: str | None = None) -> None:
        self.ip = ip
        self.port = port
        self.name = ip if name is None else name

    def __repr__(self) -> str:
        return f'httputil.Host({self.ip!r}, {self.port!r}, {self.name!r})'


class SanitizedHost(str):
    """A Host field without the CR and LF it held; `raw` keeps them. Gives a plain str if there were none."""

    dangerous = re.compile(r'[\n\r]')
    raw: str

    def __new__(cls, raw: str) -> SanitizedHost:
        clean = cls.dangerous.sub('', raw)
        if clean == raw:
            return raw  # type: ignore[return-value]
        instance = super().__new__(cls, clean)
        instance.raw = raw
        return instance
