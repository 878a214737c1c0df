"""Serving the pages of a development tool by themselves: what `profiler.serve` and `covercp.serve` share."""

from __future__ import annotations

from typing import Any

from ..context import current
from ..core.site import Site

__all__ = ['send_html', 'send_text', 'serve_alone']

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>%(title)s</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }
pre { overflow-x: auto; line-height: 1.35; }
ul { list-style: none; padding-left: 1.25rem; }
.missing { background: #e5534b40; }
.excluded { opacity: .6; }
</style>
</head>
<body>
<h1>%(title)s</h1>
%(body)s
</body>
</html>
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def send_html(title: str, body: str) -> bytes:
    """Give a whole page, as the response's content. title and body are HTML: escaped by whoever made them."""
    headers = current().response.headers
    headers['Content-Type'] = 'text/html;charset=utf-8'
    headers['Content-Security-Policy'] = _POLICY
    headers['X-Content-Type-Options'] = 'nosniff'
    return (_PAGE % {'title': title, 'body': body}).encode('utf-8', 'replace')


def send_text(text: str) -> bytes:
    """Give plain text as the response's content, that no browser takes for anything else."""
    headers = current().response.headers
    headers['Content-Type'] = 'text/plain;charset=utf-8'
    headers['X-Content-Type-Options'] = 'nosniff'
    return text.encode('utf-8', 'replace')


def serve_alone(root: Any, port: int, name: str) -> None:
    """Serve `root` on 127.0.0.1 until Ctrl-C, in a site of its own."""
    from .. import server_adapters  # noqa: F401  it tells servers how to start

    site = Site(name)
    site.config.update({'log.screen': True, 'checker.on': False, 'server.socket_port': port})
    site.tree.mount(root)
    site.engine.hosted = False
    site.engine.start()
    site.engine.block()
