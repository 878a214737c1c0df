"""The wiki's page handlers: the wiki itself and a second application that gives its pages as JSON.

Both are mounted by `mount`; each request that needs it gets a store of its own.
"""

import json
import mimetypes
import os
from html import unescape
from typing import IO, Any
from urllib.parse import quote, unquote

import cpadapter

from .markup import link_targets, normalise_title
from .store import Attachment, Conflict, Revision, Store, difference
from .views import View

__all__ = ['CONFIG_FILE', 'Api', 'Wiki', 'mount']

FOLDER = os.path.dirname(os.path.abspath(__file__))
CONFIG_FILE = os.environ.get('WIKI_CONFIG', os.path.join(FOLDER, 'wiki.conf'))
FRONT_PAGE = 'Front page'
NAME_COOKIE = 'wiki_name'
HTML = 'text/html;charset=utf-8'

# Only types that cannot run scripts in the reader's browser are named; all others are plain bytes.
SAFE_TYPES = {'image/png', 'image/jpeg', 'image/gif', 'image/webp', 'application/pdf', 'text/plain'}


def settings() -> Any:
    """Give the section [settings] of the configuration of the application that serves this request."""
    return cpadapter.request.app.config['settings']


def store() -> Store:
    """Give the store of this request, opened at the first call and closed when the request ends."""
    request = cpadapter.request
    opened: Store | None = getattr(request, 'store', None)
    if opened is None:
        opened = request.store = Store(os.path.join(FOLDER, settings()['data']))
        request.hooks.attach('on_end_request', opened.close)
    return opened


def address(*path: str, **query: object) -> str:
    """Give the address of a page of this application: the parts of its path, and query parameters."""
    where: str = cpadapter.url('/' + '/'.join(quote(part, safe='') for part in path), query, relative='server')
    return where


def view() -> View:
    """Give the wiki's HTML, with links for the place where the wiki is mounted."""
    return View(settings()['name'], address)


def known_title(text: str) -> str:
    """Give the title named by a request; raise 404 if it cannot be one."""
    try:
        return normalise_title(text)
    except ValueError:
        raise cpadapter.NotFound() from None


def whole_number(text: str) -> int:
    """Read a number sent by a client; raise 400 if it is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise cpadapter.HTTPError(400, 'Expected a whole number.')
    return int(text)


def clean_text(text: str) -> str:
    """Give text as it is stored: newlines as one character, one at the end."""
    return text.replace('\r\n', '\n').replace('\r', '\n').replace('\0', '').rstrip() + '\n'


def missing(title: str) -> Exception:
    """Give the error to raise for a page that does not exist; its error page offers to create it."""
    cpadapter.request.missing_title = title
    return cpadapter.NotFound()


def not_found_page(status: str, message: str, traceback: str, version: str) -> str:
    """Make the page for 404; the arguments come already escaped for HTML."""
    cpadapter.response.headers['Content-Type'] = HTML
    title: str | None = getattr(cpadapter.request, 'missing_title', None)
    return view().missing(title, message)


def error_page(status: str, message: str, traceback: str, version: str) -> str:
    """Make the page for all other errors; the arguments come already escaped for HTML."""
    cpadapter.response.headers['Content-Type'] = HTML
    return view().failure(status, message, traceback)


def only(*methods: str) -> None:
    """Raise 405 unless the request has one of the methods."""
    if cpadapter.request.method not in methods:
        cpadapter.response.headers['Allow'] = ', '.join(methods)
        raise cpadapter.HTTPError(405)


class Wiki:
    """The wiki for people."""

    _cp_config = {
        'error_page.404': not_found_page,
        'error_page.default': error_page,
    }

    @cpadapter.expose
    def index(self) -> str:
        """Answer `/`: the front page."""
        return self.page(FRONT_PAGE)

    @cpadapter.expose
    def page(self, title: str, *, revision: str = '') -> str:
        """Answer `/page/<title>`: the page as readers see it, with ?revision=<number> an older version of it."""
        name = known_title(title)
        if name != title:
            raise cpadapter.HTTPRedirect(address('page', name), 301)
        latest = store().page(title)
        if latest is None:
            raise missing(title)
        shown: Revision | None = latest
        if revision:
            shown = store().page(title, whole_number(revision))
            if shown is None:
                raise cpadapter.HTTPError(404, 'The page has no such version.')
        assert shown is not None
        pages = store().existing(link_targets(shown.text))
        return view().page(shown, shown.number == latest.number, pages, store().attachments(title))

    @cpadapter.expose
    def edit(
        self,
        title: str,
        *,
        text: str = '',
        base: str = '0',
        author: str = '',
        summary: str = '',
        action: str = 'save',
        revision: str = '',
    ) -> str:
        """Answer `/edit/<title>`: GET gives the form, POST saves or shows a preview."""
        only('GET', 'HEAD', 'POST')
        title = known_title(title)
        if cpadapter.request.method != 'POST':
            return self._empty_editor(title, revision)
        author, summary = ' '.join(author.split())[:60], ' '.join(summary.split())[:200]
        text = clean_text(text)
        number = whole_number(base)
        if action == 'preview':
            preview = view().body(title, text, store().existing(link_targets(text)), store().attachments(title))
            return view().editor(title, text, number, author, summary, preview=preview)
        try:
            store().save(title, text, number, author, summary)
        except Conflict as conflict:
            return self._conflict(conflict.current, title, text, author, summary)
        self._remember(author)
        raise cpadapter.HTTPRedirect(address('page', title))

    def _empty_editor(self, title: str, revision: str) -> str:
        """Give the form with the latest text, or that of an older version to start from."""
        latest = store().page(title)
        start = store().page(title, whole_number(revision)) if revision else latest
        cookie = cpadapter.request.cookie.get(NAME_COOKIE)
        return view().editor(
            title,
            start.text if start else '',
            latest.number if latest else 0,
            unquote(cookie.value)[:60] if cookie else '',
            f'Back to version {start.number}' if revision and start else '',
        )

    def _conflict(self, current: Revision | None, title: str, text: str, author: str, summary: str) -> str:
        """Give the form again, with what somebody else saved meanwhile; the next save is made from that."""
        cpadapter.response.status = 409
        notice = view().conflict(current, difference(current.text, text) if current else [])
        return view().editor(title, text, current.number if current else 0, author, summary, conflict=notice)

    def _remember(self, author: str) -> None:
        """Keep the editor's name for the next edit."""
        cookie = cpadapter.response.cookie
        cookie[NAME_COOKIE] = quote(author, safe='')
        cookie[NAME_COOKIE].update({'path': address(''), 'samesite': 'Lax', 'httponly': True, 'max-age': 30_000_000})

    @cpadapter.expose
    def history(self, title: str) -> str:
        """Answer `/history/<title>`: all versions of a page."""
        title = known_title(title)
        versions = store().history(title)
        if not versions:
            raise missing(title)
        return view().history(title, versions)

    @cpadapter.expose
    def diff(self, title: str, *, old: str, new: str) -> str:
        """Answer `/diff/<title>?old=<number>&new=<number>`: what changed between two versions."""
        title = known_title(title)
        before, after = store().page(title, whole_number(old)), store().page(title, whole_number(new))
        if before is None or after is None:
            raise cpadapter.HTTPError(404, 'The page has no such version.')
        return view().difference(title, before, after, difference(before.text, after.text))

    @cpadapter.expose
    def upload(self, title: str, *, file: Any = None) -> None:
        """Answer `/upload/<title>`: POST keeps a file as an attachment of the page."""
        only('POST')
        title = known_title(title)
        content: IO[bytes] | None = getattr(file, 'file', None)
        if content is None:
            raise cpadapter.HTTPError(400, 'Choose a file to upload.')
        try:
            store().attach(title, file.filename, content)
        except KeyError:
            raise missing(title) from None
        except ValueError:
            raise cpadapter.HTTPError(400, 'The file has no usable name.') from None
        raise cpadapter.HTTPRedirect(address('page', title) + '#attachments')

    # Sent as it was uploaded, in pieces; the file is closed when the client goes away.
    @cpadapter.expose
    @cpadapter.config(**{'response.stream': True, 'tools.encode.on': False})
    def file(self, title: str, name: str) -> IO[bytes]:
        """Answer `/file/<title>/<name>`: an attachment, to be saved by the browser."""
        content = store().open_attachment(known_title(title), name)
        if content is None:
            raise cpadapter.NotFound()
        kind = mimetypes.guess_type(name)[0]
        plain = name.encode('ascii', 'replace').decode().replace('?', '_').replace('"', '_')
        cpadapter.response.headers.update(
            {
                'Content-Type': kind if kind in SAFE_TYPES else 'application/octet-stream',
                # SPEC: RFC 6266 4.3: old clients read the first name, all others the second.
                'Content-Disposition': f'attachment; filename="{plain}"; filename*=UTF-8\'\'{quote(name, safe="")}',
                'Content-Length': str(os.fstat(content.fileno()).st_size),
            }
        )
        return content

    @cpadapter.expose
    def recent(self) -> str:
        """Answer `/recent`: the last changes."""
        return view().recent(store().recent(50))

    @cpadapter.expose
    def titles(self) -> str:
        """Answer `/titles`: all pages."""
        return view().titles(store().titles())

    @cpadapter.expose
    def search(self, *, q: str = '') -> str:
        """Answer `/search?q=<words>`: the pages that hold all the words."""
        offer = None
        try:
            title = normalise_title(q)
        except ValueError:
            pass  # the words looked for cannot be a title, so nothing is offered
        else:
            offer = None if store().existing([title]) else title
        return view().search(q, store().search(q, 50), offer)

    @cpadapter.expose
    def style_css(self) -> bytes:
        """Answer `/style.css`: the style sheet."""
        cpadapter.response.headers['Content-Type'] = 'text/css'
        cpadapter.response.headers['Cache-Control'] = 'max-age=300'
        with open(os.path.join(FOLDER, 'style.css'), 'rb') as sheet:
            return sheet.read()


def send_json(value: object) -> bytes:
    """Give `value` as a JSON document."""
    cpadapter.response.headers['Content-Type'] = 'application/json'
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b'\n'


def json_error(status: str, message: str, traceback: str, version: str) -> bytes:
    """Make the document for an error; the arguments come escaped for HTML, which JSON does not need."""
    return send_json({'error': unescape(status), 'message': unescape(message)})


class Api:
    """The wiki for programs: the same pages as JSON."""

    _cp_config = {
        'error_page.default': json_error,
    }

    @cpadapter.expose
    def index(self) -> bytes:
        """Answer `/`: the addresses there are."""
        only('GET', 'HEAD')
        return send_json({'pages': address('pages'), 'recent': address('recent')})

    @cpadapter.expose
    def pages(self, title: str = '') -> bytes:
        """Answer `/pages`: all titles; `/pages/<title>`: one page, which PUT saves."""
        if not title:
            only('GET', 'HEAD')
            return send_json([{'title': name, 'address': address('pages', name)} for name in store().titles()])
        only('GET', 'HEAD', 'PUT')
        title = known_title(title)
        if cpadapter.request.method == 'PUT':
            return self._save(title)
        page = store().page(title)
        if page is None:
            raise cpadapter.HTTPError(404, 'There is no such page.')
        return send_json(describe(page, store().attachments(title)))

    @cpadapter.expose
    def recent(self) -> bytes:
        """Answer `/recent`: the last changes, without the texts."""
        only('GET', 'HEAD')
        return send_json([{**describe(version, []), 'text': None} for version in store().recent(50)])

    def _save(self, title: str) -> bytes:
        """Save the page sent as {"text": ..., "base": number of the version it was made from, 0 if new}."""
        request = cpadapter.request
        if request.headers.get('Content-Type', '').partition(';')[0].strip().lower() != 'application/json':
            raise cpadapter.HTTPError(415, 'Send application/json.')
        try:
            sent = json.loads(request.body.read())
            text, base = clean_text(sent['text']), sent['base']
            author, summary = str(sent.get('author', ''))[:60], str(sent.get('summary', ''))[:200]
            (text + author + summary).encode()
            if type(base) is not int:
                raise TypeError('base is a whole number')
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise cpadapter.HTTPError(400, 'Send {"text": "...", "base": <number>}.') from None
        try:
            page = store().save(title, text, base, author, summary)
        except Conflict as conflict:
            number = conflict.current.number if conflict.current else 0
            raise cpadapter.HTTPError(409, f'The page is at version {number}.') from None
        if page.number == 1:
            cpadapter.response.status = 201
        return send_json(describe(page, store().attachments(title)))


def describe(page: Revision, files: list[Attachment]) -> dict[str, object]:
    """Give a version of a page as JSON values."""
    return {
        'title': page.title,
        'version': page.number,
        'text': page.text,
        'author': page.author,
        'summary': page.summary,
        'saved': page.saved,
        'attachments': [{'name': file.name, 'size': file.size} for file in files],
    }


def mount(tree: Any, prefix: str = '', config: Any = CONFIG_FILE) -> Any:
    """Mount the wiki at `prefix` and its JSON at `prefix`/api; give the application of the wiki."""
    tree.mount(Api(), prefix + '/api', config)
    return tree.mount(Wiki(), prefix, config)
