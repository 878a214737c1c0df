"""A small site in one file: pages, a form, a streamed page, a redirect, error pages, an async page, engine hooks.

Run it alone with `python hello.py`, or let a server import it; the callable is the same for all of them:

    gunicorn hello:application
    uvicorn hello:application
    hypercorn hello:application
    waitress-serve --listen=127.0.0.1:8000 hello:application
    granian --interface asgi hello:application
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from html import escape

import cpadapter

LAYOUT = """<!DOCTYPE html>
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

# How often each engine channel was heard in this process.
heard = {'start': 0, 'stop': 0}


def html(title: str, content: str) -> str:
    """Give a whole document; `title` is plain text, `content` is HTML."""
    return LAYOUT.format(title=escape(title), content=content)


def link(path: str, text: str) -> str:
    """Give a link to `path` inside this application, wherever it is mounted."""
    return f'<a href="{escape(cpadapter.url(path, relative="server"))}">{escape(text)}</a>'


def whole_number(text: str, highest: int) -> int:
    """Read a count between 1 and `highest` from a request parameter; anything else is the client's error."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= highest):
        raise cpadapter.HTTPError(400, f'Expected a whole number from 1 to {highest}.')
    return int(text)


def not_found(status: str, message: str, traceback: str, version: str) -> str:
    """Make the page for 404; the arguments come already escaped for HTML."""
    cpadapter.response.headers['Content-Type'] = 'text/html;charset=utf-8'
    return html('Nothing here', f'<p>{message}</p>\n<p>{link("/", "Back to the first page")}</p>')


def on_start() -> None:
    """Count and tell that the engine has started in this process."""
    heard['start'] += 1
    print(f'hello: engine start in process {os.getpid()}', file=sys.stderr, flush=True)


def on_stop() -> None:
    """Count and tell that the engine stops in this process."""
    heard['stop'] += 1
    print(f'hello: engine stop in process {os.getpid()}', file=sys.stderr, flush=True)


class Root:
    """The page handlers: every exposed method is a page, named by its path."""

    @cpadapter.expose
    def index(self) -> str:
        """Answer `/`: an overview of the other pages."""
        pages = [
            ('/greet/Ada?times=3', 'Path and query parameters'),
            ('/form', 'A form'),
            ('/numbers?upto=20', 'A page sent while it is made'),
            ('/away', 'A redirect'),
            ('/later', 'An async page'),
            ('/hooks', 'Engine hooks'),
            ('/missing', 'A page that does not exist'),
            ('/broken', 'A page that raises'),
        ]
        return html('Hello', '<ul>\n' + '\n'.join(f'<li>{link(*page)}</li>' for page in pages) + '\n</ul>')

    @cpadapter.expose
    def greet(self, name: str = 'world', times: str = '1') -> str:
        """Answer `/greet/<name>?times=<n>`: a path parameter and a query parameter."""
        line = f'<p>Hello, {escape(name)}!</p>\n'
        return html('Greeting', line * whole_number(times, 100))

    @cpadapter.expose
    def form(self, name: str = '', message: str = '') -> str:
        """Answer `/form`: GET shows the form, POST shows what was sent."""
        if cpadapter.request.method == 'POST':
            return html('Sent', f'<p><b id="name">{escape(name)}</b> says:</p>\n<p id="message">{escape(message)}</p>')
        return html(
            'A form',
            '<form method="post">\n'
            '<p><label>Your name <input name="name" required></label></p>\n'
            '<p><label>Message <textarea name="message"></textarea></label></p>\n'
            '<p><button>Send</button></p>\n'
            '</form>',
        )

    @cpadapter.expose
    @cpadapter.config(**{'response.stream': True})
    def numbers(self, upto: str = '10') -> Iterator[str]:
        """Answer `/numbers`: plain text, each line sent as soon as it is made."""
        highest = whole_number(upto, 1_000_000)
        cpadapter.response.headers['Content-Type'] = 'text/plain'
        return (f'{number}\n' for number in range(1, highest + 1))

    @cpadapter.expose
    def away(self) -> None:
        """Answer `/away` by a redirect to another page."""
        raise cpadapter.HTTPRedirect(cpadapter.url('/greet/traveller'))

    @cpadapter.expose
    async def later(self) -> str:
        """Answer `/later` after a short wait that holds no thread."""
        await asyncio.sleep(0.05)
        return html('Later', '<p>This page was awaited.</p>')

    @cpadapter.expose
    def hooks(self) -> str:
        """Answer `/hooks`: this process and how often its engine started and stopped."""
        cpadapter.response.headers['Content-Type'] = 'text/plain'
        return f'pid {os.getpid()}\nstart {heard["start"]}\nstop {heard["stop"]}\n'

    @cpadapter.expose
    def broken(self) -> str:
        """Answer `/broken`: an error nobody foresaw, hence the page for status 500."""
        raise RuntimeError('This page always fails.')


config = {'/': {'error_page.404': not_found, 'request.show_tracebacks': False}}

cpadapter.engine.subscribe('start', on_start)
cpadapter.engine.subscribe('stop', on_stop)

cpadapter.tree.mount(Root(), '/', config)
application = cpadapter.tree

if __name__ == '__main__':
    cpadapter.quickstart(Root(), '/', config)
