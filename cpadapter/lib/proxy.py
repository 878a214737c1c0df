"""The `proxy` tool: what the client asked for, as the proxies in front of the server tell it.

Settings are read once, into a `ProxyRules`, which then changes the base, the scheme and the remote address of each
request. Headers count only as far as the proxies that wrote them are trusted; a value that is none is passed over,
never an error. It does not know what other tools make of the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..context import current
from ..extension.tools import Tool
from ..protocol.headers import Host
from ..protocol.messages import host_fault
from . import checks
from .checks import checked, optional
from .debug import log_debug

if TYPE_CHECKING:
    from ..core.plan import PlanBuilder

__all__ = ['ProxyRules', 'ProxyTool', 'parse_forwarded', 'parse_node', 'proxy']

# Words for networks in `trusted`. SPEC: RFC 1122 3.2.1.3, RFC 1918, RFC 3927, RFC 4193, RFC 4291 2.5.
_NETWORKS = {
    'loopback': ('127.0.0.0/8', '::1/128'),
    'private': ('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10'),
}
_DEFAULT = ('loopback', 'private', 'unix')

# Longer than any address with its port and zone.
_MAX_ADDRESS = 100
# Proxies in a row; what lies beyond is not looked at.
_MAX_HOPS = 50
# Peers whose answer is remembered; bounded, since strangers are among them.
_MAX_PEERS = 1000

_HOPS = 'it is the number of proxies, 0 or more'

_SCHEMES = {'http': 'http', 'https': 'https', 'ws': 'http', 'wss': 'https'}


class ProxyRules:
    """The settings of the `proxy` tool, checked and ready; `apply` does the work for the current request.

    The settings are those of `proxy`. Raises ValueError for one that cannot be meant, naming its config key.
    """

    def __init__(
        self,
        base: str | None = None,
        local: str | None = 'X-Forwarded-Host',
        remote: str | None = 'X-Forwarded-For',
        scheme: str | None = 'X-Forwarded-Proto',
        debug: bool = False,
        trusted: str | Iterable[str] | None = None,
        hops: int | None = None,
        forwarded: bool | None = None,
        port: str | None = 'X-Forwarded-Port',
    ) -> None:
        if hops is not None and (isinstance(hops, bool) or not isinstance(hops, int) or hops < 0):
            raise ValueError(f"'tools.proxy.hops' = {hops!r}: {_HOPS}.")
        self.base = base.rstrip('/') if base else ''
        self.local = local or ''
        self.remote = remote or ''
        self.scheme = scheme or ''
        self.port = port or ''
        self.debug = debug
        self.hops = hops
        self.forwarded = forwarded
        # Where proxies are counted, their addresses say nothing, unless they are asked for as well.
        words, self._networks = _read_trusted(trusted if trusted is not None else _DEFAULT if hops is None else '*')
        self._everyone = '*' in words
        self._unix = self._everyone or 'unix' in words
        self.peers: dict[str, bool] = {}

    def _is_trusted(self, address: Any) -> bool:
        return self._everyone or any(
            address.version == network.version and address in network for network in self._networks
        )

    def trusts_peer(self, ip: str) -> bool:
        """Say whether the other end of the connection is a trusted proxy; '' is that of a Unix socket."""
        if self._everyone:
            return True
        known = self.peers.get(ip)
        if known is None:
            address, _ = parse_node(ip)
            known = self._unix if address is None and not ip else address is not None and self._is_trusted(address)
            if len(self.peers) >= _MAX_PEERS:
                self.peers.clear()
            self.peers[ip] = known
        return known

    def apply(self) -> None:
        """Set base, scheme and remote address of the current request."""
        request = current().request
        headers = request.headers
        scheme = host = port = ''
        if self.hops != 0 and self.trusts_peer(request.remote.ip):
            told = [headers.get(name) for name in (self.remote, self.scheme, self.local) if name]
            standard = headers.get('Forwarded') if self.forwarded is not False else None
            if self.forwarded or (standard and not any(told)):
                scheme, host = self._take_forwarded(request, standard or '')
            elif any(told) or (self.port and headers.get(self.port)):
                scheme, host, port = self._take_plain(request, headers)
        if not (scheme or host or port or self.base or self.debug):
            return
        if self.base and not host:
            port = ''
        own_scheme, _, own_host = request.base.partition('://')
        # What is configured says more than what is told, unless a proxy names the host itself.
        if not host:
            host = self.base or own_host
        if '://' not in host:
            host = f'{scheme or own_scheme}://{host}'
        request.base = _with_port(host, port) if port else host
        named = _SCHEMES.get(host.partition('://')[0].lower())
        request.scheme = named or scheme or own_scheme
        if self.debug:
            log_debug(f'base {request.base!r}, remote {request.remote.ip!r}', 'TOOLS.PROXY')

    apply.non_blocking = True  # type: ignore[attr-defined]

    # -- X-Forwarded-* and their like

    def _take_plain(self, request: Any, headers: Any) -> tuple[str, str, str]:
        """Take the remote address from its header; give (scheme, host, port), '' for what is not told."""
        depth = self.hops or 1
        if self.remote:
            field = headers.get(self.remote)
            if field:
                nodes = field.rsplit(',', _MAX_HOPS)
                depth = self._take_remote(request, [parse_node(node) for node in reversed(nodes)])
        if self._everyone and self.hops is None:
            depth = _MAX_HOPS  # what the first proxy wrote, whoever that was
        scheme = host = port = ''
        if self.scheme:
            scheme = self._scheme(_pick(headers.get(self.scheme), depth))
        if self.local:
            host = _checked_base(_pick(headers.get(self.local), depth))
        if self.port:
            port = _checked_port(_pick(headers.get(self.port), depth))
        return scheme, host, port

    def _scheme(self, value: str) -> str:
        value = value.lower()
        if value in ('on', 'off') and 'ssl' in self.scheme.lower():
            return 'https' if value == 'on' else 'http'
        return _SCHEMES.get(value, '')

    def _take_remote(self, request: Any, nodes: list[tuple[Any, int | None]]) -> int:
        """Walk the addresses from the nearest outwards while they are trusted, and keep where that ends.

        nodes: (address or None, port or None), the nearest first. Gives how many were walked, the last one included.
        An address that is none ends the walk: beyond it nobody vouches for anything.
        """
        depth = 0
        found = None
        for address, port in nodes:
            depth += 1
            if address is None:
                break
            found = address, port
            if depth == self.hops if self.hops is not None else not self._is_trusted(address):
                break
        if found is not None:
            # The port is the connection's where none is told; the name was the proxy's.
            request.remote = Host(str(found[0]), request.remote.port if found[1] is None else found[1], '')
        return depth

    # -- Forwarded

    def _take_forwarded(self, request: Any, field: str) -> tuple[str, str]:
        """Do what _take_plain does, from a Forwarded header. SPEC: RFC 7239."""
        elements = parse_forwarded(field)
        if not elements:
            return '', ''
        elements = elements[::-1][:_MAX_HOPS]
        nodes = [parse_node(element.get('for', '')) for element in elements]
        if self.remote:
            depth = self._take_remote(request, nodes)
        else:
            depth = self.hops or 1
        # The element of the outermost trusted proxy counts, and what it leaves out, as the next one inwards tells it.
        scheme = host = ''
        for element in elements[:depth][::-1]:
            if self.scheme and not scheme:
                scheme = _SCHEMES.get(element.get('proto', '').lower(), '')
            if self.local and not host:
                host = _checked_base(element.get('host', ''))
        return scheme, host


def _read_trusted(trusted: str | Iterable[str]) -> tuple[set[str], list[Any]]:
    """Read the setting of this name into (those of '*' and 'unix' that it holds, networks); ValueError for others."""
    from ipaddress import ip_network

    words: set[str] = set()
    networks: list[Any] = []
    for entry in trusted.split(',') if isinstance(trusted, str) else trusted:
        word = str(entry).strip()
        if word in ('*', 'unix'):
            words.add(word)
        elif word:
            for text in _NETWORKS.get(word, (word,)):
                try:
                    networks.append(ip_network(text, strict=False))
                except ValueError as exc:
                    raise ValueError(
                        f"'tools.proxy.trusted' = {trusted!r}: {word!r} is no address or network, and none of "
                        f"the words '*', 'loopback', 'private', 'unix'."
                    ) from exc
    return words, networks


def _pick(field: str | None, depth: int) -> str:
    """Give the value that the outermost trusted proxy wrote, of a list to which each proxy adds one at its end."""
    if not field:
        return ''
    values = field.rsplit(',', depth)
    return (values[-depth] if len(values) >= depth else values[0]).strip()


# SPEC: RFC 3986 3.2: what may stand before the host of a base.
_SCHEMED = r'(?i:(https?)://([^/]*)/?)'


def _checked_base(value: str) -> str:
    """Give 'host[:port]' or 'scheme://host[:port]' as it was told, '' if it is neither."""
    match = re.fullmatch(_SCHEMED, value)
    host = match[2] if match else value
    if not host or not host.isascii() or host_fault(host, (1, 0)) is not None:
        return ''
    return f'{match[1].lower()}://{host}' if match else host


def _checked_port(value: str) -> str:
    """Give a port as it was told; '' for what is none, and for those of http and https, which no address names."""
    good = value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) <= 65535
    return str(int(value)) if good and int(value) not in (80, 443) else ''


def _with_port(base: str, port: str) -> str:
    """Add a port to a base that has none."""
    return base if re.search(r':[0-9]*\Z', base.partition('://')[2]) else f'{base}:{port}'


def parse_node(text: str) -> tuple[Any, int | None]:
    """Read one address, as X-Forwarded-For and Forwarded's `for` have them, into (address, port).

    '192.0.2.1', '192.0.2.1:80', '2001:db8::1', '[2001:db8::1]', '[2001:db8::1]:80'. The address is an object of
    `ipaddress`, an IPv4 address even where it was written as IPv6; None for '_hidden', 'unknown' and for no address.

    Source: RFC 7239, section 6.
    """
    from ipaddress import ip_address

    text = text.strip()
    if not text or len(text) > _MAX_ADDRESS:
        return None, None
    port = ''
    if text[0] == '[':
        text, bracket, rest = text[1:].partition(']')
        if not bracket or (rest and rest[0] != ':'):
            return None, None
        port = rest[1:]
        if '.' in text and ':' not in text:
            return None, None
    elif text.count(':') == 1:
        text, _, port = text.partition(':')
    try:
        address: Any = ip_address(text)
    except ValueError:
        return None, None
    mapped = getattr(address, 'ipv4_mapped', None)
    # An obfuscated port ('_secret') is none.
    good = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    return mapped or address, int(port) if good else None


# Compiled by `re` at first use, and kept there: few requests have the header.
# SPEC: RFC 7239 4. Unquoted values may hold what an address with its port does, though it should be quoted.
_PAIR = r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)[ \t]*([;,]|\Z)"""
_EMPTY = r'[ \t]*([;,]|\Z)'


def parse_forwarded(field: str) -> list[dict[str, str]]:
    """Read a Forwarded header into one dict of lower-case names for each proxy, in the order they stand in.

    [] if any of it is malformed: a quote that a client left open must not swallow what the proxy added.

    Source: RFC 7239, section 4.
    """
    pair, empty = re.compile(_PAIR).match, re.compile(_EMPTY).match
    elements: list[dict[str, str]] = [{}]
    at = 0
    end = len(field)
    while at < end:
        match = pair(field, at)
        if match is not None:
            value = match[2]
            if value[:1] == '"':
                value = re.sub(r'\\(.)', r'\1', value[1:-1])
            elements[-1][match[1].lower()] = value
            mark = match[3]
        else:
            match = empty(field, at)
            if match is None:
                return []
            mark = match[1]
        if mark == ',' and elements[-1]:
            elements.append({})
        at = match.end()
    if not elements[-1]:
        elements.pop()
    return elements


# --- the tool -------------------------------------------------------------------------------------------------


def _header(value: Any) -> str:
    return checks.field_name(value) if value else ''


def _base(value: Any) -> str:
    problem = checks.text(value)
    if not problem and value:
        match = re.fullmatch(r'(?:([^:/]*)://)?[^\s/?#][^\s?#]*', value)
        if match is None or (match[1] or 'http').lower() not in _SCHEMES:
            return "it has to be a host, or a scheme with it, such as 'https://www.example.com'"
    return problem


def _trusted(value: Any) -> str:
    problem = '' if isinstance(value, (tuple, list, set, frozenset)) else checks.texts(value)
    if not problem:
        try:
            _read_trusted(value)
        except ValueError as exc:
            return str(exc).partition(': ')[2].rstrip('.')
    return problem


def _hops(value: Any) -> str:
    return _HOPS if checks.whole_number(0)(value) else ''


@checked(
    base=optional(_base),
    local=_header,
    remote=_header,
    scheme=_header,
    port=_header,
    trusted=optional(_trusted),
    hops=optional(_hops),
)
def proxy(
    base: str | None = None,
    local: str | None = 'X-Forwarded-Host',
    remote: str | None = 'X-Forwarded-For',
    scheme: str | None = 'X-Forwarded-Proto',
    debug: bool = False,
    trusted: str | Iterable[str] | None = None,
    hops: int | None = None,
    forwarded: bool | None = None,
    port: str | None = 'X-Forwarded-Port',
) -> None:
    """Change `request.base`, `request.scheme` and `request.remote` to what a proxy in front of the server tells.

    base: 'http://host' or 'host' to use where no header names one. local, remote, scheme: the headers that tell the
        host, the client's address and the scheme; '' or None leaves that part alone.
    trusted: who may tell: addresses and networks, one or several, and the words 'loopback', 'private', 'unix' (the
        peer of a Unix socket) and '*'. None is the first three words, or '*' where `hops` is set.
    hops: the number of proxies in front, which are then counted; None goes by `trusted`, past every trusted address.
    forwarded: True reads Forwarded (RFC 7239) instead of the three headers, False never does, None where a request
        has none of the three.
    port: the header that tells the port, where the host that counts has none and `base` is not it; '' or None reads
        none. 80 and 443 go without saying, whatever the scheme.

    Addresses are read from the right, where the nearest proxy wrote. The scheme is http or https, a host what the
    Host header may be; any other value is passed over.
    """
    if trusted is not None and not isinstance(trusted, str):
        trusted = tuple(trusted)
    _rules(base, local, remote, scheme, debug, trusted, hops, forwarded, port).apply()


@lru_cache(64)
def _rules(*settings: Any) -> ProxyRules:
    return ProxyRules(*settings)


class ProxyTool(Tool):
    """The `proxy` tool: its settings are read when a plan is compiled."""

    def compile(self, builder: PlanBuilder, settings: dict[str, Any]) -> None:
        priority = self._take_priority(settings)
        self._check_settings(settings)
        if self.callable is not proxy:
            builder.attach(self._point or 'before_request_body', self.callable, priority=priority, **settings)
            return
        builder.attach(self._point or 'before_request_body', ProxyRules(**settings).apply, priority=priority)


proxy.non_blocking = True  # type: ignore[attr-defined]
