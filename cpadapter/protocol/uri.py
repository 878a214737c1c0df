"""URIs and paths as text: joining, dot segments, percent-encoding. It knows neither a request nor a host."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ['iri_to_uri', 'is_absolute', 'join', 'join_path', 'remove_dot_segments', 'urljoin', 'urljoin_bytes']

_SLASHES = re.compile('//+')
_SLASHES_BYTES = re.compile(b'//+')

# SPEC: RFC 3986 appendix B, with the scheme held to 3.1: a colon in the first name of a path makes no scheme.
_PARTS = re.compile(r'(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?', re.DOTALL)

# SPEC: RFC 3986 2.2 and 2.3: reserved and unreserved characters, and the percent sign of an escape, stay.
_KEPT = "!#$&'()*+,/:;=?@[]~%"
_PLAIN = re.compile(r"[!#$&'()*+,/:;=?@\[\]~A-Za-z0-9_.-]*")
_LONE_PERCENT = re.compile('%(?![0-9A-Fa-f]{2})')


def urljoin(*atoms: str) -> str:
    """Join the non-empty atoms by '/', each run of slashes made one; '' gives '/'.

    CherryPy: this is for paths only; it makes "http://" into "http:/".
    """
    url = '/'.join([atom for atom in atoms if atom])
    if '//' in url:
        url = _SLASHES.sub('/', url)
    return url or '/'


def urljoin_bytes(*atoms: bytes) -> bytes:
    """Do what urljoin does, for bytes."""
    url = b'/'.join([atom for atom in atoms if atom])
    if b'//' in url:
        url = _SLASHES_BYTES.sub(b'/', url)
    return url or b'/'


def remove_dot_segments(path: str) -> str:
    """Resolve '.' and '..' in a path; '..' never climbs above the root, a final '.' or '..' leaves its slash.

    Source: RFC 3986, section 5.2.4.
    """
    if '.' not in path:
        return path
    names = path.split('/')
    last = len(names) - 1
    at = 0
    while names[at] in ('.', '..'):
        if at == last:
            return ''
        at += 1
    # Each item is one name with the slash before it, as the output buffer of the RFC holds them.
    output = [names[at]] if names[at] else []
    for index in range(at + 1, last + 1):
        name = names[index]
        if name == '..':
            if output:
                output.pop()
        elif name != '.':
            output.append('/' + name)
            continue
        if index == last:
            output.append('/')
    return ''.join(output)


def is_absolute(reference: str) -> bool:
    """Tell whether a reference names its scheme and host itself, as "http://host/" does."""
    match = _PARTS.match(reference)
    return match is not None and match[1] is not None and bool(match[2])


def join_path(base: str, path: str) -> str:
    """Resolve a path against the path `base`, both decoded text in which '?' and '#' mean nothing special."""
    if not path:
        return base
    if path[0] != '/':
        path = base[: base.rfind('/') + 1] + path
    return remove_dot_segments(path)


def join(base: str, ref: str) -> str:
    """Resolve a reference against an absolute URI; neither is decoded or encoded.

    A reference with the scheme of `base` and no host counts as relative ("http:x"), and an empty host counts as
    none ("///x"): browsers read both so, and a Location must mean to them what it meant to its author.

    Source: RFC 3986, section 5.2.2.
    """
    base_match = _PARTS.match(base)
    ref_match = _PARTS.match(ref)
    if base_match is None or ref_match is None:  # pragma: no cover - the pattern matches every text
        raise ValueError(f'not a URI reference: {ref!r}')
    base_scheme, base_host, base_path, base_query, _ = base_match.groups()
    scheme, host, path, query, fragment = ref_match.groups()
    if scheme is not None and (host or scheme.lower() != (base_scheme or '').lower()):
        head = f'{scheme}:' if host is None else f'{scheme}://{host}'
        path = remove_dot_segments(path) if host is not None else path
    elif host:
        head = f'{base_scheme}://{host}' if base_scheme else f'//{host}'
        path = remove_dot_segments(path)
    else:
        head = f'{base_scheme}:' if base_scheme else ''
        if base_host is not None:
            head += f'//{base_host}'
        if not path:
            path = base_path
            query = base_query if query is None else query
        elif path[0] == '/':
            path = remove_dot_segments(path)
        elif base_host is not None and not base_path:
            path = remove_dot_segments('/' + path)
        else:
            path = remove_dot_segments(base_path[: base_path.rfind('/') + 1] + path)
    return f'{head}{path}{query or ""}{fragment or ""}'


def iri_to_uri(text: str) -> str:
    """Percent-encode, as UTF-8, whatever may not stand in a URI; what is encoded already stays as it is.

    A percent sign that begins no escape becomes %25. A surrogate stands for the byte it was
    made from, or becomes U+FFFD.

    Source: RFC 3987, section 3.1.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _LONE_PERCENT.sub('%25', text)
    try:
        data = text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:
        data = re.sub('[\ud800-\udfff]', '\ufffd', text).encode()
    return quote(data, _KEPT)


def quote_path(path: str) -> str:
    """Percent-encode a decoded path as UTF-8, slashes and what RFC 3986 allows in a path kept.

    Source: RFC 3986, section 3.3.
    """
    from urllib.parse import quote

    return quote(path, safe="/:@!$&'()*+,;=~")
