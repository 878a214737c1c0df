"""The rows of the benchmark: what is sent, what must come back, and who takes part.

Values only. Nothing here knows a framework, a process or a clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = [
    'ASGI_PEERS',
    'BLACK_BOXES',
    'DOCUMENT',
    'HELLO',
    'IMPORT_PEERS',
    'RECORDS',
    'ROWS',
    'STATIC',
    'TEXT',
    'TREES',
    'WSGI_PEERS',
    'Row',
    'Sent',
    'tree_paths',
    'varied',
]

HELLO = '<!DOCTYPE html><title>Hello</title><p>Hello, world.'
DOCUMENT = {'id': 17, 'name': 'Ada', 'tags': ['a', 'b', 'c'], 'address': {'city': 'London', 'zip': 'W1'}, 'ok': True}
RECORDS = [{**DOCUMENT, 'id': n, 'price': n * 1.25, 'note': f'record {n}', 'parent': None} for n in range(200)]
TEXT = '<!DOCTYPE html><title>List</title><ul>' + ''.join(f'<li>Item {n}: caf\u00e9.' for n in range(80)) + '</ul>'
STATIC = ''.join(f'.column-{n} {{ width: {n}%; margin: 0 auto; }}\n' for n in range(200)).encode()

# A tree is given by its number of sections and of branches in each; a branch has ten page handlers. Both trees are
# equally deep, so a path takes the same steps in both and only the number of handlers differs.
TREES = {'tree10': (1, 1), 'tree10k': (10, 100)}

WSGI_PEERS = ('bare', 'cpadapter', 'cherrypy', 'flask', 'bottle', 'falcon', 'django')
ASGI_PEERS = ('bare', 'cpadapter', 'falcon', 'starlette', 'blacksheep')
# What is imported for each peer; the root package of Starlette holds nothing.
IMPORT_PEERS = {
    'cpadapter': 'cpadapter',
    'cherrypy': 'cherrypy',
    'flask': 'flask',
    'falcon': 'falcon',
    'starlette': 'starlette.applications',
}
# Measured from outside only: no profile and no traceback of these is ever shown.
BLACK_BOXES = ('cherrypy',)
_PAIR = ('bare', 'cpadapter', 'cherrypy')


@dataclass(frozen=True)
class Sent:
    """One request, and the body of its right answer.

    answer: bytes for that very body, a pattern it must match in full, None for any body but an empty one; anything
    else is what the body must mean as JSON.
    """

    path: str
    query: str = ''
    method: str = 'GET'
    media: str = ''
    body: bytes = b''
    answer: Any = None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    kind: which of a peer's applications serves it (`pages`, `tree10`, `tree10k`, `tools`, `sync`).
    raises: the page handler raises on purpose, and an ASGI application may pass that on after it has answered.
    cookie: a first answer's cookie is sent back with every request.
    headers: sent besides those of a browser.
    at_once: how many requests run together.
    """

    name: str
    about: str
    sent: tuple[Sent, ...]
    peers: tuple[str, ...]
    kind: str = 'pages'
    status: int = 200
    media: str = 'text/html'
    raises: bool = False
    cookie: bool = False
    gzip: bool = False
    at_once: int = 1
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def protocol(self) -> str:
        return self.name.partition('.')[0]


def tree_paths(kind: str) -> list[str]:
    """List the paths of every page handler of that tree; a handler answers with its path."""
    sections, branches = TREES[kind]
    return [f'/s{s}/b{b}/p{p}' for s in range(sections) for b in range(branches) for p in range(10)]


def _visits(paths: list[str]) -> tuple[Sent, ...]:
    return tuple(Sent(path, answer=path.encode()) for path in paths)


_FORM = 'application/x-www-form-urlencoded'
_JSON = 'application/json'
_PAGE = Sent('/page/world', 'q=search&z=12', answer=b'world search 12')
_MISSING = Sent('/missing')
_ECHO = Sent(
    '/echo',
    method='POST',
    media=_JSON,
    body=b'{"name": "Ada Lovelace", "tags": ["x", "y"], "address": {"city": "London"}, "count": 3}',
    answer={'name': 'Ada Lovelace', 'tags': 2, 'count': 4},
)
_LARGE = tree_paths('tree10k')


def _common(protocol: str, peers: tuple[str, ...]) -> list[Row]:
    """Give the rows that both protocols have."""
    form = Sent(
        '/form', method='POST', media=_FORM, body=b'name=Ada&text=some+words+%26+more', answer=b'Ada: some words & more'
    )
    return [
        Row(f'{protocol}.plain', 'a plain page', (Sent('/', answer=HELLO.encode()),), peers),
        Row(f'{protocol}.params', 'one path and two query parameters', (_PAGE,), peers),
        Row(f'{protocol}.form', 'an urlencoded form of two fields', (form,), peers),
        Row(f'{protocol}.json-out', 'JSON out', (Sent('/json', answer=DOCUMENT),), peers, media=_JSON),
        Row(f'{protocol}.json-io', 'JSON in and out', (_ECHO,), peers, media=_JSON),
        Row(f'{protocol}.404', 'no such page', (_MISSING,), peers, status=404, media=''),
        Row(
            f'{protocol}.500', 'a page handler that raises', (Sent('/boom'),), peers, status=500, media='', raises=True
        ),
        # 100 requests in both rows, so that what is copied for each is as often in the processor's caches: in the small
        # tree each page ten times, in the large one 100 pages from all over it. tree10k-all then visits all of them.
        Row(f'{protocol}.tree10', 'every page of a tree of 10', _visits(tree_paths('tree10') * 10), peers, 'tree10'),
        Row(f'{protocol}.tree10k', '100 pages of a tree of 10,000', _visits(_LARGE[::101]), peers, 'tree10k'),
    ]


_ROWS = [
    *_common('wsgi', WSGI_PEERS),
    Row('wsgi.tree10k-all', 'every page of a tree of 10,000', _visits(_LARGE), _PAIR, 'tree10k'),
    Row(
        'wsgi.session',
        'a page that counts in a session kept in memory',
        (Sent('/session', answer=re.compile(rb'count ([2-9]|\d{2,})')),),
        ('cpadapter', 'cherrypy'),
        'tools',
        cookie=True,
    ),
    Row(
        'wsgi.gzip',
        'a page with gzip, etags and encode',
        (Sent('/gzip', answer=TEXT.encode()),),
        ('cpadapter', 'cherrypy'),
        'tools',
        gzip=True,
    ),
    Row(
        'wsgi.cached',
        'a page out of the cache',
        (Sent('/cached', answer=TEXT.encode()),),
        ('cpadapter', 'cherrypy'),
        'tools',
    ),
    Row(
        'wsgi.basic',
        'a page with basic authentication',
        (Sent('/basic', answer=b'hello ada'),),
        ('cpadapter', 'cherrypy'),
        'tools',
        headers=(('Authorization', 'Basic YWRhOnNlY3JldA=='),),
    ),
    Row(
        'wsgi.static',
        'a static file',
        (Sent('/static', answer=STATIC),),
        ('cpadapter', 'cherrypy'),
        'tools',
        media='text/css',
    ),
    Row(
        'wsgi.staticdir',
        'a file of a static folder',
        (Sent('/folder/bench.css', answer=STATIC),),
        ('cpadapter', 'cherrypy'),
        'tools',
        media='text/css',
    ),
    Row(
        'wsgi.records',
        'JSON of 200 records',
        (Sent('/records', answer=RECORDS),),
        ('cpadapter', 'cherrypy'),
        'tools',
        media=_JSON,
    ),
    Row(
        'wsgi.off',
        'a page with nine tools switched off',
        (Sent('/off', answer=HELLO.encode()),),
        ('cpadapter', 'cherrypy'),
        'tools',
    ),
    *_common('asgi', ASGI_PEERS),
    Row(
        'asgi.sync32',
        'a sync page handler, 32 requests at once',
        (Sent('/', answer=HELLO.encode()),),
        ('bare', 'cpadapter', 'falcon', 'starlette'),
        'sync',
        at_once=32,
    ),
]
ROWS = {row.name: row for row in _ROWS}


def varied(row: Row, numbers: range) -> Row:
    """Give the row with a path of its own for each number, where its page allows that: caches must stay bounded."""
    sent = row.sent[0]
    if sent == _PAGE:
        answer = '{} search 12'
        pages = [replace(sent, path=f'/page/w{n}', answer=answer.format(f'w{n}').encode()) for n in numbers]
    elif sent == _MISSING:
        pages = [replace(sent, path=f'/missing{n}') for n in numbers]
    else:
        return row
    return replace(row, sent=tuple(pages))
