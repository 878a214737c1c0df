"""The `auth_digest` tool: HTTP Digest authentication.

SPEC: RFC 7616. Who may log in is what `get_ha1` says: it gives HA1, the hash of "user:realm:password", or None. What
the nonces of this process were used for is kept here, in bounded memory; nonces themselves need none, since they
are signed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import Any

from ..context import current
from ..errors import HTTPError
from ..extension.tools import BadSetting, parameter_names
from ..protocol.headers import RE_HEADER_SPLIT
from . import checks
from .auth_basic import AuthTool, authorization, charset_parameter, decoded, realm_problem, refused, then
from .checks import checked, optional
from .debug import log_debug

__all__ = [
    'DEFAULT_CHARSET',
    'FALLBACK_CHARSET',
    'TRACE',
    'DigestTool',
    'H',
    'HttpDigestAuthorization',
    'NonceCounts',
    'authentication_info',
    'digest_auth',
    'get_ha1_dict',
    'get_ha1_dict_plain',
    'get_ha1_file_htdigest',
    'md5_hex',
    'qop_auth',
    'qop_auth_int',
    'synthesize_nonce',
    'valid_algorithms',
    'valid_qops',
    'www_authenticate',
]

DEFAULT_CHARSET = 'UTF-8'
FALLBACK_CHARSET = 'ISO-8859-1'

qop_auth = 'auth'
qop_auth_int = 'auth-int'
valid_qops = (qop_auth, qop_auth_int)
valid_algorithms = ('MD5', 'MD5-sess', 'SHA-256', 'SHA-256-sess', 'SHA-512-256', 'SHA-512-256-sess')

_ALGORITHMS = {name.lower(): name for name in valid_algorithms}
_HASHES = {'MD5': 'md5', 'SHA-256': 'sha256', 'SHA-512-256': 'sha512_256'}


def TRACE(msg: str) -> None:
    """Write what the tool has to say to the error log."""
    log_debug(msg, 'TOOLS.AUTH_DIGEST')


def md5_hex(s: str) -> str:
    """Give the MD5 of a text's UTF-8, in hexadecimal digits."""
    return _hash(s.encode('utf-8', 'surrogatepass'), 'MD5')


H = md5_hex


def _hash(data: bytes, algorithm: str) -> str:
    """Give the hash of `data` by an algorithm's name, with or without -sess, in hexadecimal digits."""
    import hashlib

    name = _HASHES[algorithm.removesuffix('-sess')]
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()


def _hash_text(text: str, algorithm: str) -> str:
    return _hash(text.encode('utf-8', 'surrogatepass'), algorithm)


def _is_equal(one: str, other: str) -> bool:
    """Compare text in a time that tells nothing of it."""
    from hmac import compare_digest

    return compare_digest(one.encode('utf-8', 'surrogatepass'), other.encode('utf-8', 'surrogatepass'))


def _user_of(names: Iterable[str], realm: str, userhash: str, algorithm: str) -> str | None:
    """Give the one of `names` that was hashed; None if there is none. SPEC: RFC 7616 3.4.4."""
    found = None
    for name in names:
        # To the end in any case: the time taken must not tell who is among them.
        if _is_equal(_hash_text(f'{name}:{realm}', algorithm), userhash.lower()):
            found = name
    return found


# --- who may log in -------------------------------------------------------------------------------------------


def get_ha1_dict_plain(user_password_dict: Mapping[str, str]) -> Callable[..., str | None]:
    """Give a get_ha1 that knows the users of a dict {name: password}; an empty password lets nobody in."""

    def get_ha1(realm: str, username: str, algorithm: str = 'MD5') -> str | None:
        password = user_password_dict.get(username)
        # As much work for a user who is not known: the time taken must not tell.
        ha1 = _hash_text(f'{username}:{realm}:{password or ""}', algorithm)
        return ha1 if password else None

    get_ha1.algorithms = ('SHA-256', 'MD5')  # type: ignore[attr-defined]
    get_ha1.non_blocking = True  # type: ignore[attr-defined]
    get_ha1.username_of = partial(_user_of, user_password_dict)  # type: ignore[attr-defined]
    return get_ha1


def get_ha1_dict(user_ha1_dict: Mapping[str, str]) -> Callable[..., str | None]:
    """Give a get_ha1 that knows the users of a dict {name: HA1}, hexadecimal; its length tells the algorithm."""

    def get_ha1(realm: str, username: str, algorithm: str = 'MD5') -> str | None:
        return _of_algorithm(user_ha1_dict.get(username), algorithm)

    get_ha1.non_blocking = True  # type: ignore[attr-defined]
    get_ha1.username_of = partial(_user_of, user_ha1_dict)  # type: ignore[attr-defined]
    return get_ha1


def get_ha1_file_htdigest(filename: str) -> Callable[..., str | None]:
    """Give a get_ha1 that reads a file of "user:realm:HA1" lines at each call; the first line that fits counts."""

    def get_ha1(realm: str, username: str, algorithm: str = 'MD5') -> str | None:
        found: str | None = None
        # To its end in any case: the time taken must not tell who is in it.
        for user, of_realm, ha1 in read():
            if (user, of_realm) == (username, realm) and found is None:
                found = _of_algorithm(ha1, algorithm)
        return found

    def read() -> Iterator[tuple[str, str, str]]:
        with open(filename, encoding='utf-8') as file:
            for line in file:
                user, _, rest = line.rstrip('\r\n').partition(':')
                of_realm, _, ha1 = rest.rpartition(':')
                yield user, of_realm, ha1

    def username_of(realm: str, userhash: str, algorithm: str) -> str | None:
        return _user_of((user for user, of_realm, _ in read() if of_realm == realm), realm, userhash, algorithm)

    get_ha1.username_of = username_of  # type: ignore[attr-defined]
    return get_ha1


def _of_algorithm(ha1: str | None, algorithm: str) -> str | None:
    return ha1 if ha1 and len(ha1) == (32 if algorithm.startswith('MD5') else 64) else None


# --- nonces ---------------------------------------------------------------------------------------------------


def _sign(text: str, key: str) -> str:
    from hmac import digest

    return digest(str(key).encode('utf-8'), text.encode('utf-8', 'surrogatepass'), 'sha256').hex()[:32]


def _salt(length: int = 16) -> str:
    from secrets import token_hex

    return token_hex(length // 2)


def synthesize_nonce(s: str, key: str, timestamp: float | None = None) -> str:
    """Make a nonce for the realm `s`: "<seconds>:<salt and signature by key>".

    key: what only the servers know. timestamp: seconds since the epoch, for a nonce that is the same each time;
    None is now, and a nonce that was never there before.
    """
    seconds = int(time.time() if timestamp is None else timestamp)
    salt = _salt() if timestamp is None else '0' * 16
    return f'{seconds}:{salt}{_sign(f"{seconds}:{salt}:{s}", key)}'


_NONCE = re.compile('([0-9]{1,12}):([0-9a-f]{16})([0-9a-f]{32})')

# How far back of the highest count of a nonce others may come in: parallel requests overtake each other.
_WINDOW = 256


class NonceCounts:
    """Which counts of which nonces were used: each once. Of bounded size; the oldest nonces go first.

    Another object with this `use` may share them between processes.
    """

    def __init__(self, size: int = 10000) -> None:
        self.size = size
        self._lock = Lock()
        # Nonce -> (when it was made, highest count, bits of the counts used below it).
        self._used: dict[str, tuple[int, int, int]] = {}
        # Nonces made then or earlier that are not in there may have been.
        self._floor = 0

    def use(self, nonce: str, made: int, count: int, max_age: float) -> bool:
        """Say whether `count` of a good nonce is used for the first time; it counts as used from then on.

        made: when the nonce was made, in seconds since the epoch. max_age: seconds after which it is no good.
        """
        with self._lock:
            used = self._used.pop(nonce, None)
            if used is None:
                if made <= self._floor:
                    return False
                used = (made, 0, 0)
                self._make_room(max_age)
            _, highest, bits = used
            if count > highest:
                bits = ((bits << (count - highest)) | 1) & ((1 << _WINDOW) - 1) if count - highest < _WINDOW else 1
                highest = count
                fresh = True
            else:
                bit = 1 << (highest - count) if highest - count < _WINDOW else 0
                fresh = bool(bit) and not bits & bit
                bits |= bit
            self._used[nonce] = (made, highest, bits)
            return fresh

    def _make_room(self, max_age: float) -> None:
        oldest = time.time() - max_age
        while self._used:
            nonce = next(iter(self._used))
            made = self._used[nonce][0]
            if made >= oldest and len(self._used) < self.size:
                return
            del self._used[nonce]
            if made >= oldest:
                self._floor = max(self._floor, made)


# --- the header -----------------------------------------------------------------------------------------------

# SPEC: RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(.)', re.DOTALL)
_COUNT = re.compile('[0-9A-Fa-f]{8}')
_REQUIRED = ('username', 'realm', 'nonce', 'uri', 'response')


class HttpDigestAuthorization:
    """An Authorization header of the Digest scheme, read.

    auth_header: latin-1 text; its bytes are decoded as `accept_charset`, else as ISO-8859-1.
    http_method: of the request. Raises ValueError for a header that is not complete or contradicts itself.
    Attributes: realm, username, nonce, uri, response, algorithm, cnonce, opaque, qop, nc, as sent; those left out
    are None but `algorithm`, which is MD5 then, and spelled as valid_algorithms has it. userhash: whether `username`
    is a hash of the name.

    SPEC: RFC 7616 3.4.
    """

    scheme = 'digest'

    def __init__(
        self, auth_header: str, http_method: str, debug: bool = False, accept_charset: str = DEFAULT_CHARSET
    ) -> None:
        self.http_method = http_method
        self.debug = debug
        if not self.matches(auth_header):
            raise ValueError('Authorization scheme is not "Digest"')
        text = decoded(auth_header.encode('latin-1', 'replace'), accept_charset)
        params = self._parse(text.strip().partition(' ')[2])
        self.auth_header = text
        self.realm = params.get('realm')
        self.username = params.get('username')
        self.nonce: str = params.get('nonce', '')
        self.uri: str = params.get('uri', '')
        self.method = http_method
        self.response: str = params.get('response', '')
        self.cnonce = params.get('cnonce')
        self.opaque = params.get('opaque')
        self.qop = params.get('qop')
        self.nc = params.get('nc')
        algorithm = params.get('algorithm', 'MD5')
        self.algorithm: str = _ALGORITHMS.get(algorithm.lower(), '')
        userhash = params.get('userhash', 'false').lower()
        self.userhash = userhash == 'true'
        if self.username is None and 'username*' in params:
            self.username = self._extended(params['username*'])
        if userhash not in ('true', 'false') or (self.userhash and 'username*' in params):
            raise ValueError(self.errmsg(f'Unsupported value for userhash: {userhash!r}'))
        if not all((self.username, self.realm, self.nonce, self.uri, self.response)):
            raise ValueError(self.errmsg(f'Not all of {", ".join(_REQUIRED)} are there.'))
        if not self.algorithm:
            raise ValueError(self.errmsg(f'Unsupported value for algorithm: {algorithm!r}'))
        if self.qop is not None:
            if self.qop not in valid_qops:
                raise ValueError(self.errmsg(f'Unsupported value for qop: {self.qop!r}'))
            if not (self.cnonce and self.nc):
                raise ValueError(self.errmsg('If qop is sent then cnonce and nc MUST be present'))
            if not _COUNT.fullmatch(self.nc) or not int(self.nc, 16):
                raise ValueError(self.errmsg(f'nc is not eight hexadecimal digits: {self.nc!r}'))
        elif self.nc or (self.cnonce and not self.algorithm.endswith('-sess')):
            raise ValueError(self.errmsg('If qop is not sent, neither cnonce nor nc can be present'))
        if self.algorithm.endswith('-sess') and not self.cnonce:
            raise ValueError(self.errmsg('A session algorithm needs cnonce'))

    def _parse(self, text: str) -> dict[str, str]:
        params: dict[str, str] = {}
        for member in RE_HEADER_SPLIT.split(text):
            member = member.strip(' \t')
            if not member:
                continue
            name, equals, value = member.partition('=')
            name, value = name.rstrip(' \t').lower(), value.lstrip(' \t')
            if not equals or not _TOKEN.fullmatch(name) or name in params:
                raise ValueError(self.errmsg(f'Not a list of parameters, or one is repeated: {name!r}'))
            if value[:1] == '"':
                match = _QUOTED.fullmatch(value)
                if match is None:
                    raise ValueError(self.errmsg(f'The quotes of {name!r} do not close.'))
                value = _ESCAPED.sub(r'\1', match[1])
            params[name] = value
        return params

    def _extended(self, value: str) -> str:
        """Read the value of username*. SPEC: RFC 8187 3.2, of which RFC 7616 takes UTF-8 alone."""
        from urllib.parse import unquote

        charset, _, rest = value.partition("'")
        if charset.lower() != 'utf-8':
            raise ValueError(self.errmsg(f'Unsupported charset of username*: {charset!r}'))
        try:
            return unquote(rest.partition("'")[2], errors='strict')
        except UnicodeDecodeError as exc:
            raise ValueError(self.errmsg('username* is no UTF-8.')) from exc

    @classmethod
    def matches(cls, header: str) -> bool:
        """Say whether an Authorization header is of this scheme."""
        return header.strip().partition(' ')[0].lower() == cls.scheme

    def errmsg(self, s: str) -> str:
        """Give the text of an error about this header."""
        return f'Digest Authorization header: {s}'

    def validate_nonce(self, s: str, key: str) -> bool:
        """Say whether the nonce was made for the realm `s` with this key."""
        from hmac import compare_digest

        match = _NONCE.fullmatch(self.nonce)
        if match is None:
            return False
        valid = compare_digest(_sign(f'{match[1]}:{match[2]}:{s}', key), match[3])
        if self.debug:
            TRACE(f'the nonce is {"valid" if valid else "not ours"}')
        return valid

    @property
    def nonce_made(self) -> int:
        """When the nonce was made, in seconds since the epoch; 0 if it does not say."""
        seconds = self.nonce.partition(':')[0]
        return int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) <= 12 else 0

    def is_nonce_stale(self, max_age_seconds: float = 600) -> bool:
        """Say whether the nonce was made longer ago than that, or does not say when."""
        return self.nonce_made + max_age_seconds <= time.time()

    def HA2(self, entity_body: str | bytes = '') -> str:
        """Give HA2: the hash of method and uri, and for qop=auth-int of the body, as sent."""
        text = f'{self.http_method}:{self.uri}'
        if self.qop == qop_auth_int:
            body = entity_body.encode('utf-8') if isinstance(entity_body, str) else entity_body
            text += f':{_hash(body, self.algorithm)}'
        return _hash_text(text, self.algorithm)

    def request_digest(self, ha1: str, entity_body: str | bytes = '') -> str:
        """Give what `response` has to be. ha1: of the algorithm without -sess."""
        return self._digest(ha1, self.HA2(entity_body))

    def response_digest(self, ha1: str) -> str:
        """Give `rspauth`, for qop=auth: what proves to the client that the server knows its HA1.

        SPEC: RFC 7616 3.5.
        """
        return self._digest(ha1, _hash_text(f':{self.uri}', self.algorithm))

    def _digest(self, ha1: str, ha2: str) -> str:
        if self.algorithm.endswith('-sess'):
            ha1 = _hash_text(f'{ha1}:{self.nonce}:{self.cnonce}', self.algorithm)
        middle = f'{self.nonce}:{self.nc}:{self.cnonce}:{self.qop}' if self.qop else self.nonce
        return _hash_text(f'{ha1}:{middle}:{ha2}', self.algorithm)


def authentication_info(auth: HttpDigestAuthorization, ha1: str, nextnonce: str | None = None) -> str:
    """Give the value of an Authentication-Info header; '' where there is nothing to say.

    auth: what the client sent, and was found right. nextnonce: what it is to use from now on; None leaves that to it.
    SPEC: RFC 7616 3.5. The proof is given for qop=auth: auth-int would need the body that is still to come.
    """
    parts = [] if nextnonce is None else [f'nextnonce="{nextnonce}"']
    cnonce = auth.cnonce
    if auth.qop == qop_auth and cnonce and cnonce.isascii() and cnonce.isprintable():
        parts += [f'rspauth="{auth.response_digest(ha1)}"', f'qop={qop_auth}', f'nc={auth.nc}']
        parts.append(f'cnonce={_quoted(cnonce)}')
    return ', '.join(parts)


def _quoted(text: str) -> str:
    escaped = text.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"'


def www_authenticate(
    realm: str,
    key: str,
    algorithm: str = 'MD5',
    nonce: str | None = None,
    qop: str = qop_auth,
    stale: bool = False,
    accept_charset: str = DEFAULT_CHARSET,
    opaque: str | None = None,
    userhash: bool = False,
) -> str:
    """Give a challenge: the value of a WWW-Authenticate header.

    nonce: None makes one. stale: True tells the client that only its nonce was bad, not the password.
    userhash: True asks for a hash in place of the user's name.
    Raises ValueError for an algorithm or qop that is unknown.
    """
    if qop not in (*valid_qops, 'auth,auth-int', ''):
        raise ValueError(f'Unsupported value for qop: {qop!r}')
    if algorithm not in valid_algorithms:
        raise ValueError(f'Unsupported value for algorithm: {algorithm!r}')
    if nonce is None:
        nonce = synthesize_nonce(realm, key)
    # COMPAT: algorithm and stale in quotes, against RFC 7616 3.3; clients take both.
    parts = [f'realm={_quoted(realm)}', f'nonce="{nonce}"', f'algorithm="{algorithm}"']
    if qop:
        parts.append(f'qop="{qop}"')
    if opaque is not None:
        parts.append(f'opaque="{opaque}"')
    if stale:
        parts.append('stale="true"')
    if userhash:
        parts.append('userhash=true')
    return f'Digest {", ".join(parts)}{charset_parameter(accept_charset)}'


# --- the tool -------------------------------------------------------------------------------------------------


class DigestTool(AuthTool):
    """The `auth_digest` tool of a site, and the counts of its nonces."""

    def __init__(self) -> None:
        self.counts = NonceCounts()
        super().__init__(digest_auth, 'get_ha1')

    def check(self, settings: dict[str, Any]) -> None:
        super().check(settings)
        if settings.get('userhash') and not hasattr(settings.get('get_ha1'), 'username_of'):
            raise BadSetting('userhash', '`get_ha1` needs an attribute `username_of` for it, which finds names by hash')


def _algorithms(value: Any) -> str:
    problem = checks.texts(value)
    if not problem:
        for name in [value] if isinstance(value, str) else value:
            if name not in valid_algorithms:
                return f'there is no algorithm {name!r}: {", ".join(valid_algorithms)}'
            try:
                _hash(b'', name)
            except ValueError:
                return f'the hashlib of this Python has no {name}'
    return problem


def _counts_problem(value: Any) -> str:
    return '' if callable(getattr(value, 'use', None)) else 'it has to be a NonceCounts, or have a `use` as that has'


def _key(value: Any) -> str:
    return '' if value not in (None, '', b'') else 'it has to be a secret, and that is known to everybody'


@checked(
    realm=realm_problem,
    get_ha1=checks.is_callable,
    key=_key,
    accept_charset=checks.charset,
    algorithms=optional(_algorithms),
    max_age=checks.number(0),
    nonce_counts=optional(_counts_problem),
)
def digest_auth(
    realm: str,
    get_ha1: Callable[..., Any],
    key: str,
    debug: bool = False,
    accept_charset: str = 'utf-8',
    algorithms: Iterable[str] | str | None = None,
    max_age: float = 600,
    check_uri: bool = True,
    without_qop: bool = False,
    nonce_counts: Any = None,
    userhash: bool = False,
) -> Any:
    """Let those in who prove that they know their password, and set `request.login`; HTTPError(401) for others.

    Their responses have an Authentication-Info header, with a new nonce once three quarters of `max_age` are over.
    get_ha1: called with realm and user, and with the algorithm ('MD5', 'SHA-256'...) if it takes a third argument;
    gives HA1 in hexadecimal digits, None for unknown users. It may be async: then an awaitable is given.
    key: any secret text; the same in all processes of a site. accept_charset: of names.
    algorithms: those offered, the preferred one first; None is what `get_ha1.algorithms` says, else MD5.
    max_age: seconds that a nonce is good for. check_uri: False where something outside changes paths before they
    come here. without_qop: True also takes RFC 2069's answers, which can be replayed. nonce_counts: a NonceCounts,
    or what does the same for several processes; None is that of the site. userhash: True asks clients for a hash in
    place of the name, which `get_ha1.username_of(realm, hash, algorithm)` finds the name by, None if there is none.
    HTTPError(400) for a header that cannot be read, and for a proof that is for another URI.
    """
    exchange = current()
    if algorithms is None:
        algorithms = getattr(get_ha1, 'algorithms', ('MD5',))
    offered = [algorithms] if isinstance(algorithms, str) else list(algorithms)
    opaque = _sign(f'opaque:{realm}', key)

    def refuse(why: str, stale: bool = False) -> HTTPError:
        if debug:
            TRACE(why)
        nonce = synthesize_nonce(realm, key)
        challenges = [
            www_authenticate(realm, key, name, nonce, 'auth', stale, accept_charset, opaque, userhash)
            for name in offered
        ]
        if len(challenges) > 1:
            # SPEC: RFC 7616 3.7: one header each; few clients find a second challenge inside a first one.
            exchange.request.hooks.attach('on_end_resource', _add_challenges, challenges=challenges[1:])
        return refused(challenges[0])

    field = authorization(exchange)
    if field is None or not HttpDigestAuthorization.matches(field):
        raise refuse('there are no credentials')
    with HTTPError.handle(ValueError, 400, 'The Authorization header could not be parsed.'):
        auth = HttpDigestAuthorization(field, exchange.request.method, debug, accept_charset)
    plain = auth.algorithm.removesuffix('-sess')

    def decide(username: str | None, ha1: Any) -> None:
        # SPEC: RFC 7616 3.4.3: the body of what has none is empty; that of others has not been read yet.
        same = _is_equal(auth.request_digest(ha1 or '0' * 32, b''), auth.response.lower())
        if not same or not ha1 or username is None:
            raise refuse('the proof is wrong')
        if auth.is_nonce_stale(max_age):
            raise refuse('the nonce is too old', True)
        if check_uri and not _is_target(exchange, auth.uri):
            raise HTTPError(400, 'The Authorization header is for another URI.')
        if auth.nc is not None:
            counts = nonce_counts
            if counts is None:
                counts = _counts_of(exchange.site)
            if not counts.use(auth.nonce, auth.nonce_made, int(auth.nc, 16), max_age):
                raise refuse('the nonce was used so before', True)
        if debug:
            TRACE(f'{username!r} is let in')
        exchange.request.login = username
        ages = auth.is_nonce_stale(max_age * 0.75)
        info = authentication_info(auth, ha1, synthesize_nonce(realm, key) if ages else None)
        if info:
            exchange.response.headers['Authentication-Info'] = info

    if auth.realm != realm or not auth.validate_nonce(realm, key):
        raise refuse('the realm or the nonce is not ours')
    if auth.opaque is not None and auth.opaque != opaque:
        raise refuse('opaque is not ours')
    if auth.algorithm not in offered and plain not in offered:
        raise refuse(f'{auth.algorithm} was not offered')
    if auth.qop is None and not without_qop:
        raise refuse('there is no qop')
    if auth.qop == qop_auth_int and _has_body(exchange):
        raise refuse('auth-int was not offered')
    if auth.userhash and not userhash:
        raise refuse('userhash was not offered')

    def look_up(username: str | None) -> Any:
        # A hash of nobody's name is looked up like a name: that takes as long.
        args = (realm, username or auth.username, plain)
        return then(get_ha1(*args[: 3 if _takes_algorithm(get_ha1) else 2]), partial(decide, username))

    if not auth.userhash:
        return look_up(auth.username)
    find: Any = get_ha1
    return then(find.username_of(realm, auth.username, plain), look_up)


def _counts_of(site: Any) -> Any:
    tool = getattr(site.tools, 'auth_digest', None)
    return tool.counts if isinstance(tool, DigestTool) else _counts


# For those who call digest_auth in a toolbox of their own.
_counts = NonceCounts()


def _takes_algorithm(get_ha1: Any) -> bool:
    names, accepted, _ = parameter_names(get_ha1)
    return len(names) > 2 or 'algorithm' in accepted


def _add_challenges(challenges: list[str]) -> None:
    response = current().response
    if response.header_list is not None:
        response.header_list.extend((b'WWW-Authenticate', text.encode('latin-1', 'replace')) for text in challenges)


_add_challenges.non_blocking = True  # type: ignore[attr-defined]


def _has_body(exchange: Any) -> bool:
    length = exchange.head.get('content-length')
    return bool(length and length.strip('0')) or exchange.head.get('transfer-encoding') is not None


def _is_target(exchange: Any, uri: str) -> bool:
    """Say whether `uri` is what the request asks for. SPEC: RFC 7616 3.4: the target as in the request line.

    Escapes and the absolute form make no difference: servers hand the path on decoded.
    """
    from urllib.parse import unquote

    head = exchange.head
    path, _, query = uri.partition('?')
    scheme, colon, rest = path.partition('://')
    if colon and scheme.lower() in ('http', 'https'):
        path = '/' + rest.partition('/')[2]
    target = head.outer + head.path
    path = unquote(path)
    return bool(query == head.query and path in (target, unquote(target)))
