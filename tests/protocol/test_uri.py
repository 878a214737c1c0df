"""URIs and paths."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpadapter.protocol.uri import (
    iri_to_uri,
    is_absolute,
    join,
    join_path,
    remove_dot_segments,
    urljoin,
    urljoin_bytes,
)


@pytest.mark.parametrize(
    ('atoms', 'expected'),
    [
        ((), '/'),
        (('', ''), '/'),
        (('/', '/'), '/'),
        (('', '/'), '/'),
        (('//',), '/'),
        (('a',), 'a'),
        (('sn', 'p'), 'sn/p'),
        (('/sn', ''), '/sn'),
        (('/sn/', ''), '/sn/'),
        (('/sn', '/'), '/sn/'),
        (('/sn/', '/'), '/sn/'),
        (('/sn', 'p'), '/sn/p'),
        (('/sn', '/p'), '/sn/p'),
        (('/sn/', 'p'), '/sn/p'),
        (('/sn/', '/p/'), '/sn/p/'),
        (('a/', '/b', '', 'c//d'), 'a/b/c/d'),
        (('http://a', 'b'), 'http:/a/b'),
    ],
)
def test_atoms_are_joined_by_single_slashes(atoms, expected):
    assert urljoin(*atoms) == expected
    assert urljoin_bytes(*[atom.encode() for atom in atoms]) == expected.encode()


def literal_remove_dot_segments(path: str) -> str:
    """Follow the steps of RFC 3986 5.2.4 word by word."""
    output = ''
    while path:
        if path.startswith('../'):
            path = path[3:]
        elif path.startswith(('./', '/./')):
            path = path[2:]
        elif path == '/.':
            path = '/'
        elif path.startswith('/../') or path == '/..':
            path = '/' + path[4:]
            output = output[: max(output.rfind('/'), 0)]
        elif path in ('.', '..'):
            path = ''
        else:
            name = re.match('/?[^/]*', path)[0]
            output += name
            path = path[len(name) :]
    return output


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('/a/b/c/./../../g', '/a/g'),
        ('mid/content=5/../6', 'mid/6'),
        ('/..', '/'),
        ('/x/..', '/'),
        ('/a/./b/', '/a/b/'),
        ('/a/.', '/a/'),
        ('/other/../../../page1', '/page1'),
        ('/a/..b/.c', '/a/..b/.c'),
        ('..', ''),
        ('', ''),
    ],
)
def test_dot_segments_are_removed(path, expected):
    assert remove_dot_segments(path) == expected
    assert literal_remove_dot_segments(path) == expected


@given(st.text('/.a', max_size=16))
def test_dot_segments_are_removed_as_the_rfc_writes_it(path):
    assert remove_dot_segments(path) == literal_remove_dot_segments(path)


# SPEC: RFC 3986 5.4.1 and 5.4.2, against http://a/b/c/d;p?q.
@pytest.mark.parametrize(
    ('ref', 'expected'),
    [
        ('g:h', 'g:h'),
        ('g', 'http://a/b/c/g'),
        ('./g', 'http://a/b/c/g'),
        ('g/', 'http://a/b/c/g/'),
        ('/g', 'http://a/g'),
        ('//g', 'http://g'),
        ('?y', 'http://a/b/c/d;p?y'),
        ('g?y', 'http://a/b/c/g?y'),
        ('#s', 'http://a/b/c/d;p?q#s'),
        ('g#s', 'http://a/b/c/g#s'),
        ('g?y#s', 'http://a/b/c/g?y#s'),
        (';x', 'http://a/b/c/;x'),
        ('g;x', 'http://a/b/c/g;x'),
        ('g;x?y#s', 'http://a/b/c/g;x?y#s'),
        ('', 'http://a/b/c/d;p?q'),
        ('.', 'http://a/b/c/'),
        ('./', 'http://a/b/c/'),
        ('..', 'http://a/b/'),
        ('../', 'http://a/b/'),
        ('../g', 'http://a/b/g'),
        ('../..', 'http://a/'),
        ('../../g', 'http://a/g'),
        ('../../../g', 'http://a/g'),
        ('/./g', 'http://a/g'),
        ('/../g', 'http://a/g'),
        ('g.', 'http://a/b/c/g.'),
        ('..g', 'http://a/b/c/..g'),
        ('./g/.', 'http://a/b/c/g/'),
        ('g/../h', 'http://a/b/c/h'),
        ('g;x=1/../y', 'http://a/b/c/y'),
        ('g?y/../x', 'http://a/b/c/g?y/../x'),
        ('g#s/../x', 'http://a/b/c/g#s/../x'),
        ('http:g', 'http://a/b/c/g'),
    ],
)
def test_reference_is_resolved_as_the_rfc_lists(ref, expected):
    assert join('http://a/b/c/d;p?q', ref) == expected


@pytest.mark.parametrize(
    ('ref', 'expected'),
    [
        ('https://x/a?b#c', 'https://x/a?b#c'),
        ('HTTP://x', 'HTTP://x'),
        ('http://x/a/../b', 'http://x/b'),
        ('mailto:a@b', 'mailto:a@b'),
        ('/\\evil', 'http://h/\\evil'),
        ('///evil', 'http://h/evil'),
        ('http:evil', 'http://h/evil'),
        ('http:///evil', 'http://h/evil'),
        ('/.//evil', 'http://h//evil'),
        ('a b:c', 'http://h/a b:c'),
        ('\thttp://evil', 'http://h/\thttp://evil'),
    ],
)
def test_only_a_named_host_leaves_the_host(ref, expected):
    assert join('http://h', ref) == expected


@pytest.mark.parametrize(
    ('ref', 'expected'),
    [('http://a/', True), ('x://a', True), ('/a', False), ('//a', False), ('http:a', False), ('', False)],
)
def test_absolute_reference_names_scheme_and_host(ref, expected):
    assert is_absolute(ref) is expected


@pytest.mark.parametrize(
    ('base', 'path', 'expected'),
    [
        ('/a/b', '', '/a/b'),
        ('/a/b', 'c', '/a/c'),
        ('/a/b', '/c', '/c'),
        ('/a/b/', '../c', '/a/c'),
        ('/a?/b#', 'c', '/a?/c'),
        ('/a', '../../x', '/x'),
    ],
)
def test_path_is_resolved_within_a_path(base, path, expected):
    assert join_path(base, path) == expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ("http://h/a?b=c&d=e#f;g,h!$'()*+@[]~", "http://h/a?b=c&d=e#f;g,h!$'()*+@[]~"),
        ('/é', '/%C3%A9'),
        ('/%C3%A9', '/%C3%A9'),
        ('/100%', '/100%25'),
        ('/%zz', '/%25zz'),
        ('/a b"<script>\\', '/a%20b%22%3Cscript%3E%5C'),
        ('/a\r\nb\x85\u2028', '/a%0D%0Ab%C2%85%E2%80%A8'),
        ('/\udce9', '/%E9'),
        ('/\ud800', '/%EF%BF%BD'),
        ('', ''),
    ],
)
def test_text_is_percent_encoded(text, expected):
    assert iri_to_uri(text) == expected


@given(st.text())
def test_encoding_is_ascii_idempotent_and_reversible(text):
    uri = iri_to_uri(text)
    assert uri.isascii()
    assert uri.isprintable()
    assert ' ' not in uri
    assert iri_to_uri(uri) == uri
    if '%' not in text:
        assert unquote_to_bytes(uri) == text.encode()


@given(st.text(':/?#.a', max_size=20))
def test_any_reference_is_resolved(ref):
    assert join('http://h/x/y?z', ref)
