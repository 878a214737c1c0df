"""The wiki's HTML: functions that take values and give text; every value that is not HTML is escaped here.

Knows how the addresses of the wiki are made; knows neither the request nor the store.
"""

import time
from collections.abc import Callable, Iterable
from html import escape

from .markup import render
from .store import Attachment, Revision

__all__ = ['View']

# Gives the address of a page of the wiki: the parts of its path, and query parameters.
Address = Callable[..., str]

LAYOUT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} · {name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{style}">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<nav aria-label="Wiki">
<a class="name" href="{home}">{name}</a>
<a href="{recent}">Recent changes</a>
<a href="{titles}">All pages</a>
</nav>
<form role="search" action="{search}">
<label class="hidden" for="q">Search the wiki</label>
<input type="search" id="q" name="q" value="{query}" placeholder="Search">
<button>Search</button>
</form>
</header>
<main id="content">
<h1>{title}</h1>
{content}
</main>
<footer><p>{footer}</p></footer>
</body>
</html>
"""


def moment(seconds: float) -> str:
    """Give a Unix time as an HTML time element in UTC."""
    parts = time.gmtime(seconds)
    exact, shown = time.strftime('%Y-%m-%dT%H:%M:%SZ', parts), time.strftime('%d %b %Y, %H:%M UTC', parts)
    return f'<time datetime="{exact}">{shown}</time>'


def size(count: int) -> str:
    """Give a number of bytes in a unit people read."""
    if count < 1024:
        return f'{count} bytes'
    if count < 1024 * 1024:
        return f'{count / 1024:.1f} kB'
    return f'{count / 1024 / 1024:.1f} MB'


def items(lines: Iterable[str], kind: str = '') -> str:
    """Give a list of HTML items."""
    mark = f' class="{kind}"' if kind else ''
    return f'<ul{mark}>\n' + '\n'.join(f'<li>{line}</li>' for line in lines) + '\n</ul>'


class View:
    """The pages of one wiki as HTML; `name` is its title, `address` makes links."""

    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self.address = address

    def layout(self, title: str, content: str, footer: str = '', query: str = '') -> str:
        """Give a whole document; `content` and `footer` are HTML."""
        return LAYOUT.format(
            title=escape(title),
            name=escape(self.name),
            content=content,
            footer=footer,
            query=escape(query),
            style=escape(self.address('style.css')),
            home=escape(self.address('')),
            recent=escape(self.address('recent')),
            titles=escape(self.address('titles')),
            search=escape(self.address('search')),
        )

    def link(self, text: str, *path: str, **query: object) -> str:
        """Give a link to a page of the wiki."""
        return f'<a href="{escape(self.address(*path, **query))}">{escape(text)}</a>'

    def body(self, title: str, text: str, pages: set[str], files: Iterable[Attachment]) -> str:
        """Give wiki text as HTML; `pages` are the existing ones among those it links to."""
        names = {file.name for file in files}

        def resolve(name: str, is_file: bool) -> tuple[str, bool]:
            if is_file:
                return self.address('file', title, name), name in names
            return self.address('page', name), name in pages

        return f'<article>\n{render(text, resolve)}\n</article>'

    def page(self, page: Revision, latest: bool, pages: set[str], files: list[Attachment]) -> str:
        """Give a page as readers see it; an older version says that it is one."""
        notice = ''
        edit = self.link('Edit', 'edit', page.title)
        if not latest:
            notice = (
                f'<p class="notice" role="status">Version {page.number}, saved {moment(page.saved)}. '
                f'{self.link("Show the latest version", "page", page.title)}</p>\n'
            )
            edit = self.link('Edit from this version', 'edit', page.title, revision=page.number)
        actions = f'<nav class="actions" aria-label="Page">{edit} {self.link("History", "history", page.title)}</nav>\n'
        content = notice + actions + self.body(page.title, page.text, pages, files)
        if latest:
            content += self._files(page.title, files)
        return self.layout(page.title, content, f'Version {page.number}, saved {moment(page.saved)}{by(page)}')

    def _files(self, title: str, files: list[Attachment]) -> str:
        lines = [
            f'{self.link(file.name, "file", title, file.name)} <small>{size(file.size)}, {moment(file.added)}</small>'
            for file in files
        ]
        return (
            '\n<section aria-labelledby="attachments">\n<h2 id="attachments">Attachments</h2>\n'
            + (items(lines, 'files') if lines else '<p>None yet.</p>')
            + f'\n<form method="post" enctype="multipart/form-data" action="{escape(self.address("upload", title))}">\n'
            '<label for="file">Add a file</label>\n<input type="file" id="file" name="file" required>\n'
            '<button>Upload</button>\n</form>\n</section>'
        )

    def editor(
        self, title: str, text: str, base: int, author: str, summary: str, preview: str = '', conflict: str = ''
    ) -> str:
        """Give the form to write a page; `preview` and `conflict` are HTML shown above it."""
        verb = 'Edit' if base else 'Create'
        form = (
            f'<form class="editor" method="post" action="{escape(self.address("edit", title))}">\n'
            f'<input type="hidden" name="base" value="{base}">\n'
            '<label for="text">Text of the page</label>\n'
            # A newline right after the tag is not part of the text.
            f'<textarea id="text" name="text" rows="18" spellcheck="true">\n{escape(text)}</textarea>\n'
            f'<p class="hint">{self.link("How to write wiki text", "page", "Wiki text")}</p>\n'
            '<div class="fields">\n'
            f'<div><label for="summary">What changed</label>\n'
            f'<input id="summary" name="summary" maxlength="200" value="{escape(summary)}"></div>\n'
            f'<div><label for="author">Your name</label>\n'
            f'<input id="author" name="author" maxlength="60" autocomplete="name" value="{escape(author)}"></div>\n'
            '</div>\n<p class="buttons">\n'
            '<button name="action" value="save">Save</button>\n'
            '<button name="action" value="preview" class="second">Preview</button>\n'
            f'{self.link("Cancel", "page", title)}\n</p>\n</form>'
        )
        if preview:
            preview = f'<section class="preview" aria-label="Preview">\n<h2>Preview</h2>\n{preview}\n</section>\n'
        return self.layout(f'{verb} {title}', conflict + preview + form)

    def conflict(self, current: Revision | None, changes: list[str]) -> str:
        """Give the notice of an edit conflict: what differs between the saved page and the text in the form."""
        if current is None:
            return '<p class="notice" role="alert">This page does not exist any more. Saving makes it again.</p>\n'
        return (
            f'<div class="notice" role="alert"><p><strong>Edit conflict.</strong> Version {current.number} was saved '
            f'{moment(current.saved)}{by(current)} while you were writing. Your text is below, unsaved. Compare, bring '
            'in what is missing, and save again.</p></div>\n'
            f'<h2>From the saved page to your text</h2>\n{diff(changes)}\n'
        )

    def history(self, title: str, versions: list[Revision]) -> str:
        """Give the list of all versions of a page."""
        lines = []
        for version in versions:
            line = f'{self.link(f"Version {version.number}", "page", title, revision=version.number)} {note(version)}'
            if version.number > 1:
                line += ' ' + self.link('changes', 'diff', title, old=version.number - 1, new=version.number)
            lines.append(line)
        return self.layout(f'History of {title}', items(lines, 'versions') + self._back(title))

    def difference(self, title: str, old: Revision, new: Revision, changes: list[str]) -> str:
        """Give what changed between two versions of a page."""
        heading = f'<p>From version {old.number} to version {new.number}, {note(new)}</p>\n'
        return self.layout(f'Changes of {title}', heading + diff(changes) + self._back(title))

    def _back(self, title: str) -> str:
        return f'\n<p>{self.link("Back to the page", "page", title)}</p>'

    def recent(self, versions: list[Revision]) -> str:
        """Give the last changes over all pages."""
        lines = [
            f'{self.link(version.title, "page", version.title)} {note(version)} '
            f'{self.link("history", "history", version.title)}'
            for version in versions
        ]
        return self.layout('Recent changes', items(lines, 'versions'))

    def titles(self, titles: list[str]) -> str:
        """Give the list of all pages."""
        return self.layout('All pages', items((self.link(title, 'page', title) for title in titles), 'titles'))

    def search(self, query: str, found: list[Revision], offer: str | None) -> str:
        """Give what was found; `offer` is a title that has no page yet."""
        content = ''
        if not query.strip():
            content = '<p>Enter one or more words in the search field above.</p>'
        elif found:
            lines = (f'{self.link(page.title, "page", page.title)}<br>{excerpt(page.text, query)}' for page in found)
            content = f'<p>Pages found: {len(found)}</p>\n' + items(lines, 'found')
        else:
            content = '<p>No page holds all of these words.</p>'
        if offer:
            content += f'\n<p>{self.link(f"Create the page “{offer}”", "edit", offer)}</p>'
        return self.layout('Search', content, query=query)

    def missing(self, title: str | None, message: str) -> str:
        """Give the page for status 404; `title` is a page that may be created, `message` is HTML."""
        if title is None:
            return self.layout('Not found', f'<p>{message}</p>\n<p>{self.link("Go to the front page", "")}</p>')
        return self.layout(
            title,
            '<p class="notice">This page does not exist yet.</p>\n'
            f'<p>{self.link("Create this page", "edit", title)} or '
            f'{self.link("search for it", "search", q=title)}.</p>',
        )

    def failure(self, status: str, message: str, traceback: str) -> str:
        """Give the page for any other error; `message` and `traceback` are HTML."""
        details = f'\n<pre>{traceback}</pre>' if traceback else ''
        return self.layout(status, f'<p class="notice" role="alert">{message}</p>{details}')


def by(version: Revision) -> str:
    """Give the author as the end of a sentence."""
    return f' by {escape(version.author)}' if version.author else ''


def note(version: Revision) -> str:
    """Give when, by whom and why a version was saved."""
    summary = f' <q>{escape(version.summary)}</q>' if version.summary else ''
    return f'<small>{moment(version.saved)}{by(version)}</small>{summary}'


def diff(changes: list[str]) -> str:
    """Give the lines of a unified diff as HTML."""
    if not changes:
        return '<p>No difference.</p>'
    tags = {'+': 'ins', '-': 'del'}
    lines = []
    for line in changes:
        tag = tags.get(line[0], 'span')
        lines.append(f'<{tag}>{escape(line)}</{tag}>')
    return '<pre class="diff">' + '\n'.join(lines) + '</pre>'


def excerpt(text: str, query: str) -> str:
    """Give the part of a text around the first word looked for."""
    lower = text.lower()
    places = [place for place in (lower.find(word.lower()) for word in query.split()) if place >= 0]
    start = max(0, min(places, default=0) - 60)
    cut = ' '.join(text[start : start + 200].split())
    return f'<small>{"…" if start else ""}{escape(cut)}{"…" if start + 200 < len(text) else ""}</small>'
