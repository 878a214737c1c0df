"""`cpadapter tree`: every URL with its page handler and what the compiled plan holds, as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .failure import show
from .pages import hooks_of, json_value, pages_of, tools_of

if TYPE_CHECKING:
    from ..core.site import Site
    from .origins import Origins
    from .pages import Page

__all__ = ['as_json', 'as_text']

INDENT = ' ' * 4


def as_json(site: Site, origins: Origins) -> str:
    """Give a JSON array with an object for each URL."""
    import json

    return json.dumps([_describe(page, origins) for page in pages_of(site)], indent=2)


def _describe(page: Page, origins: Origins) -> dict[str, Any]:
    described: dict[str, Any] = {
        'url': page.url,
        'method': page.method or None,
        'handler': page.name or None,
        'signature': page.signature or None,
        'colour': page.colour or None,
    }
    if page.plan is not None:
        come_from = origins.of_request(page.app, page.path, page.confs, page.target)
        described['config'] = {
            key: {'value': json_value(value), 'origin': come_from.get(key, 'the dispatcher')}
            for key, value in page.config.items()
        }
        described['tools'] = [{**tool, 'settings': json_value(tool['settings'])} for tool in tools_of(page)]
        described['hooks'] = hooks_of(page)
        described['runs'] = 'async' if page.plan.is_async else 'plain'
    if page.problems:
        described['problems'] = page.problems
    return described


def as_text(site: Site, origins: Origins) -> Iterator[str]:
    """Give lines: for each URL its page handler, then config of its path and class, tools and hooks, indented.

    What a URL has of these just as one above has is not repeated: that one is named.
    """
    told: dict[tuple[str, ...], str] = {}
    for page in pages_of(site):
        method = f'{page.method} ' if page.method else ''
        colour = f'  [{page.colour}]' if page.colour else ''
        yield f'{method}{page.url}  {page.name}{page.signature}{colour}'
        for problem in page.problems:
            yield f'{INDENT}problem {problem}'
        details = tuple(_details(page, origins))
        if details in told:
            yield f'{INDENT}as {told[details]}'
        elif details:
            told[details] = f'{method}{page.url}'
            yield from details


def _details(page: Page, origins: Origins) -> Iterator[str]:
    if page.plan is None:
        return
    come_from = origins.of_request(page.app, page.path, page.confs, page.target)
    own = {key for _, conf in page.confs for key in conf}
    for key, value in page.config.items():
        if key in own:
            yield f'{INDENT}config  {key} = {show(value)}  # {come_from[key]}'
    for tool in tools_of(page):
        places = ', '.join(f'{hook["point"]} {hook["priority"]}' for hook in tool['hooks']) or tool['note']
        settings = ''.join(f' {key}={show(value, 40)}' for key, value in tool['settings'].items())
        yield f'{INDENT}tool    {tool["name"].removeprefix("tools.")}  {places}{settings}'
    for hook in hooks_of(page):
        yield f'{INDENT}hook    {hook["callback"]}  {hook["point"]} {hook["priority"]}'
