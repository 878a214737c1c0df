"""The CherryPy-style pages: one source, given whichever module has CherryPy's names.

Knows only the public programming model. The async classes are for modules that await page handlers.
"""

from __future__ import annotations

import os
from typing import Any

from .rows import DOCUMENT, HELLO, RECORDS, TEXT, TREES

__all__ = ['make_async_pages', 'make_pages', 'make_toolbox_pages', 'make_tree', 'toolbox_config']


def make_pages(cp: Any) -> Any:
    """Give an object of plain page handlers."""

    class Pages:
        @cp.expose
        def index(self) -> str:
            return HELLO

        @cp.expose
        def page(self, name: str, q: str = '', z: str = '') -> str:
            return f'{name} {q} {z}'

        @cp.expose
        def form(self, name: str, text: str) -> str:
            return f'{name}: {text}'

        @cp.expose
        @cp.tools.json_out()
        def json(self) -> Any:
            return DOCUMENT

        @cp.expose
        @cp.tools.json_in()
        @cp.tools.json_out()
        def echo(self) -> Any:
            data = cp.request.json
            return {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}

        @cp.expose
        def boom(self) -> str:
            raise RuntimeError('raised on purpose')

    return Pages()


def make_async_pages(cp: Any) -> Any:
    """Give the same object with async page handlers."""

    class Pages:
        @cp.expose
        async def index(self) -> str:
            return HELLO

        @cp.expose
        async def page(self, name: str, q: str = '', z: str = '') -> str:
            return f'{name} {q} {z}'

        @cp.expose
        async def form(self, name: str, text: str) -> str:
            return f'{name}: {text}'

        @cp.expose
        @cp.tools.json_out()
        async def json(self) -> Any:
            return DOCUMENT

        @cp.expose
        @cp.tools.json_in()
        @cp.tools.json_out()
        async def echo(self) -> Any:
            data = cp.request.json
            return {'name': data['name'], 'tags': len(data['tags']), 'count': data['count'] + 1}

        @cp.expose
        async def boom(self) -> str:
            raise RuntimeError('raised on purpose')

    return Pages()


def make_toolbox_pages(cp: Any) -> Any:
    """Give the pages that are served with built-in tools; see toolbox_config."""

    class Pages:
        @cp.expose
        def session(self) -> str:
            count = cp.session.get('count', 0) + 1
            cp.session['count'] = count
            return f'count {count}'

        @cp.expose
        def gzip(self) -> str:
            return TEXT

        @cp.expose
        def cached(self) -> str:
            return TEXT

        @cp.expose
        def basic(self) -> str:
            return f'hello {cp.request.login}'

        @cp.expose
        @cp.tools.json_out()
        def records(self) -> Any:
            return RECORDS

        @cp.expose
        def off(self) -> str:
            return HELLO

    return Pages()


_SWITCHED_OFF = ('sessions', 'gzip', 'etags', 'caching', 'auth_basic', 'auth_digest', 'proxy', 'json_in', 'expires')


def _check(realm: str, name: str, password: str) -> bool:
    return (name, password) == ('ada', 'secret')


def toolbox_config(static_file: str) -> dict[str, dict[str, Any]]:
    """Give the config of make_toolbox_pages; static_file is the absolute name of the file behind /static."""
    return {
        '/session': {'tools.sessions.on': True},
        '/gzip': {
            'tools.gzip.on': True,
            'tools.etags.on': True,
            'tools.etags.autotags': True,
            'tools.encode.on': True,
        },
        '/cached': {'tools.caching.on': True, 'tools.caching.delay': 3600},
        '/basic': {
            'tools.auth_basic.on': True,
            'tools.auth_basic.realm': 'bench',
            'tools.auth_basic.checkpassword': _check,
        },
        '/off': {
            f'tools.{name}.on': False
            for name in (
                'sessions',
                'gzip',
                'etags',
                'caching',
                'auth_basic',
                'auth_digest',
                'proxy',
                'json_in',
                'expires',
            )
        },
        '/static': {'tools.staticfile.on': True, 'tools.staticfile.filename': static_file},
        '/folder': {'tools.staticdir.on': True, 'tools.staticdir.dir': os.path.dirname(static_file)},
    }


def make_tree(cp: Any, kind: str, asynchronous: bool = False) -> Any:
    """Build a tree of page handlers; each branch is a class of its own, each handler a function of its own."""

    def make_page(text: str) -> Any:
        if asynchronous:

            async def apage(self: Any) -> str:
                return text

            return cp.expose(apage)

        def page(self: Any) -> str:
            return text

        return cp.expose(page)

    sections, branches = TREES[kind]
    root = type('Root', (), {})()
    for s in range(sections):
        section = type(f'Section{s}', (), {})()
        setattr(root, f's{s}', section)
        for b in range(branches):
            pages = {f'p{p}': make_page(f'/s{s}/b{b}/p{p}') for p in range(10)}
            setattr(section, f'b{b}', type(f'Branch{b}', (), pages)())
    return root
