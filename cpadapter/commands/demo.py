"""The pages of `cpadapter demo`: small, complete, and without any file of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from typing import Any

from ..application.handlers import expose
from ..application.urls import url
from ..context import current
from ..errors import HTTPError

__all__ = ['Demo', 'config']

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ font: 1.05rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem }}</style>
</head>
<body>
<h1>{title}</h1>
{content}
</body>
</html>
"""

config: dict[str, dict[str, Any]] = {'/': {'tools.gzip.on': True}, '/numbers': {'response.stream': True}}


def _page(title: str, content: str) -> str:
    return PAGE.format(title=escape(title), content=content)


class Demo:
    """A form, a page that is sent while it is made, an async page, and one that fails."""

    @expose
    def index(self) -> str:
        """Answer `/`: what there is, and what serves it."""
        request = current().request
        links = [
            ('/greet?name=Ada', 'A page with a parameter, and a form'),
            ('/numbers', 'A page that is sent while it is made'),
            ('/later', 'An async page'),
            ('/teapot', 'An error page'),
        ]
        items = '\n'.join(
            f'<li><a href="{escape(url(path, relative="server"))}">{text}</a></li>' for path, text in links
        )
        version = '.'.join(map(str, sys.version_info[:3]))
        return _page(
            'cpadapter works',
            f'<p>Python {version}, by {"WSGI" if request.scope is None else "ASGI"}.</p>\n<ul>\n{items}\n</ul>',
        )

    @expose
    def greet(self, name: str = 'world') -> str:
        """Answer `/greet?name=<name>`: a greeting, and a form to change it."""
        return _page(
            f'Hello, {name}!',
            '<form><p><label>Your name <input name="name"></label> <button>Greet</button></p></form>',
        )

    @expose
    def numbers(self) -> Iterator[str]:
        """Answer `/numbers`: plain text, each line sent as soon as it is made."""
        current().response.headers['Content-Type'] = 'text/plain'
        return (f'{number}\n' for number in range(1, 101))

    @expose
    async def later(self) -> str:
        """Answer `/later` after a short wait that holds no thread."""
        import asyncio

        await asyncio.sleep(0.1)
        return _page('Later', '<p>This page was awaited.</p>')

    @expose
    def teapot(self) -> str:
        """Answer `/teapot` by an error."""
        raise HTTPError(418, 'No coffee here.')
