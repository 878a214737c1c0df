"""What the wiki keeps: pages and their history in SQLite, attachments as files beside it; it knows no requests.

A `Store` holds one database connection, opened for one request and used by one thread at a time. Several processes
may have a store on the same folder.
"""

import difflib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

__all__ = ['Attachment', 'Conflict', 'Revision', 'Store', 'clean_file_name', 'difference']

SCHEMA = """
CREATE TABLE page (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL UNIQUE,
    latest INTEGER NOT NULL
);
CREATE TABLE revision (
    page INTEGER NOT NULL REFERENCES page (id),
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    author TEXT NOT NULL,
    summary TEXT NOT NULL,
    saved REAL NOT NULL,
    PRIMARY KEY (page, number)
);
CREATE INDEX revision_saved ON revision (saved);
CREATE TABLE attachment (
    page INTEGER NOT NULL REFERENCES page (id),
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    added REAL NOT NULL,
    PRIMARY KEY (page, name)
);
PRAGMA user_version = 1;
"""

FIRST_PAGES = {
    'Front page': """\
Welcome to the wiki. ''Everybody'' may change every page.

= Where to go =

* [[Wiki text]] tells how pages are written.
* [[Sandbox]] does not exist yet: follow the link and write it.
""",
    'Wiki text': """\
A blank line starts a new paragraph.

= Headings =

 = A heading =
 == A smaller one ==

= Lists =

* one mark is one level
** two marks are two levels
# this list has numbers

 * one mark is one level
 ** two marks are two levels
 # this list has numbers

= Words and links =

'''strong''', ''emphasised'', `code`, [[Front page]], [[Front page|with a label]], https://example.org/

 '''strong''', ''emphasised'', `code`, [[Front page]], [[Front page|with a label]], https://example.org/

A line that begins with a space is shown as it is. `[[file:plan.pdf]]` links to an attachment of the same page.
""",
}

COLUMNS = 'page.title, revision.number, revision.text, revision.author, revision.summary, revision.saved'
MAX_FILE_NAME = 120  # bytes of UTF-8


@dataclass(frozen=True)
class Revision:
    """One saved version of a page; `number` counts from 1, `saved` is a Unix time."""

    title: str
    number: int
    text: str
    author: str
    summary: str
    saved: float


@dataclass(frozen=True)
class Attachment:
    """One uploaded file of a page; `size` in bytes, `added` a Unix time."""

    name: str
    size: int
    added: float


class Conflict(Exception):
    """The page was saved by somebody else since the editor opened it; `.current` is what it holds now, or None."""

    def __init__(self, current: Revision | None) -> None:
        super().__init__('edit conflict')
        self.current = current


def clean_file_name(name: str) -> str:
    """Give the last part of a file name sent by a client, safe to use in a folder of ours.

    Raises ValueError if nothing usable is left.
    """
    name = os.path.basename(name.replace('\\', '/'))
    name = ''.join(char if char.isprintable() else '_' for char in name)
    name = ' '.join(name.split()).lstrip('.')
    stem, extension = os.path.splitext(name)
    extension = extension.encode()[:20].decode(errors='ignore')
    stem = stem.encode()[: MAX_FILE_NAME - len(extension.encode())].decode(errors='ignore')
    if not stem:
        raise ValueError('no usable file name')
    return stem + extension


def difference(old: str, new: str) -> list[str]:
    """Give the lines of a unified diff, each with its mark in front, without the two lines that name files."""
    return list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm='', n=3))[2:]


class Store:
    """Pages, history and attachments in one folder, which is made if it is missing."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        # The request may be finished by another thread than the one that served it, never by two at once.
        self.database = sqlite3.connect(
            os.path.join(folder, 'wiki.sqlite'), timeout=10, isolation_level=None, check_same_thread=False
        )
        try:
            if not self._version():
                self._create()
        except BaseException:
            self.database.close()
            raise

    def close(self) -> None:
        """Close the database connection."""
        self.database.close()

    def page(self, title: str, number: int | None = None) -> Revision | None:
        """Give the latest version of a page, or the version `number`; None if there is none."""
        if number is None:
            found = self._revisions('WHERE title = ? AND number = latest', title)
        else:
            found = self._revisions('WHERE title = ? AND number = ?', title, number)
        return found[0] if found else None

    def history(self, title: str) -> list[Revision]:
        """Give all versions of a page, the newest first."""
        return self._revisions('WHERE title = ? ORDER BY number DESC', title)

    def recent(self, limit: int) -> list[Revision]:
        """Give the last saved versions over all pages, the newest first."""
        return self._revisions('ORDER BY saved DESC, revision.rowid DESC LIMIT ?', limit)

    def search(self, words: str, limit: int) -> list[Revision]:
        """Give the pages that hold every one of the words in title or text, those with all in the title first."""
        # SQLite would end a pattern at the first NUL.
        parts = words.replace('\0', ' ').split()[:10]
        patterns = ['%' + part.replace('!', '!!').replace('%', '!%').replace('_', '!_') + '%' for part in parts]
        if not patterns:
            return []
        condition = ' AND '.join(["(title || ' ' || text) LIKE ? ESCAPE '!'"] * len(patterns))
        in_title = ' AND '.join(["title LIKE ? ESCAPE '!'"] * len(patterns))
        return self._revisions(
            f'WHERE number = latest AND {condition} ORDER BY ({in_title}) DESC, title LIMIT ?',
            *patterns,
            *patterns,
            limit,
        )

    def titles(self) -> list[str]:
        """Give the titles of all pages, sorted."""
        return [title for (title,) in self.database.execute('SELECT title FROM page ORDER BY title')]

    def existing(self, titles: Iterable[str]) -> set[str]:
        """Give those of the titles that have a page."""
        find = 'SELECT 1 FROM page WHERE title = ?'
        return {title for title in titles if self.database.execute(find, (title,)).fetchone()}

    def save(self, title: str, text: str, base: int, author: str = '', summary: str = '') -> Revision:
        """Save a new version of a page and give it; an unchanged text gives the version there is.

        base: number of the version the text was made from, 0 for a new page.
        Raises Conflict if the page has moved on from `base`.
        """
        with self._transaction():
            current = self.page(title)
            if (current.number if current else 0) != base:
                raise Conflict(current)
            if current and current.text == text:
                return current
            return self._add(Revision(title, base + 1, text, author, summary, time.time()))

    def attachments(self, title: str) -> list[Attachment]:
        """Give the attachments of a page, sorted by name."""
        rows = self.database.execute(
            'SELECT name, size, added FROM attachment JOIN page ON page.id = page WHERE title = ? ORDER BY name',
            (title,),
        )
        return [Attachment(*row) for row in rows]

    def attach(self, title: str, name: str, content: IO[bytes]) -> Attachment:
        """Keep a copy of `content` as an attachment of an existing page; the same name replaces the older one.

        Raises KeyError if there is no such page, ValueError if the name holds nothing usable.
        """
        name = clean_file_name(name)
        folder = self._attachment_folder(title)
        if folder is None:
            raise KeyError(title)
        os.makedirs(folder, exist_ok=True)
        # The dot keeps a half-written copy apart from every clean name.
        handle, unfinished = tempfile.mkstemp(prefix='.', dir=folder)
        try:
            with os.fdopen(handle, 'wb') as copy:
                shutil.copyfileobj(content, copy)
                new = Attachment(name, copy.tell(), time.time())
            with self._transaction():
                self.database.execute(
                    'INSERT OR REPLACE INTO attachment VALUES ((SELECT id FROM page WHERE title = ?), ?, ?, ?)',
                    (title, new.name, new.size, new.added),
                )
                os.replace(unfinished, os.path.join(folder, name))
        except BaseException:
            if os.path.exists(unfinished):
                os.unlink(unfinished)
            raise
        return new

    def open_attachment(self, title: str, name: str) -> IO[bytes] | None:
        """Open an attachment for reading; None if the page has none of that name."""
        folder = self._attachment_folder(title)
        # Only names that were stored are ever joined to a path.
        if folder is None or name not in {attachment.name for attachment in self.attachments(title)}:
            return None
        try:
            return open(os.path.join(folder, name), 'rb')
        except FileNotFoundError:
            return None

    def _attachment_folder(self, title: str) -> str | None:
        row = self.database.execute('SELECT id FROM page WHERE title = ?', (title,)).fetchone()
        return os.path.join(self.folder, 'attachments', str(row[0])) if row else None

    def _revisions(self, rest: str, *values: object) -> list[Revision]:
        query = f'SELECT {COLUMNS} FROM revision JOIN page ON page.id = revision.page {rest}'
        return [Revision(*row) for row in self.database.execute(query, values)]

    def _add(self, new: Revision) -> Revision:
        """Write a new version of a page; the caller holds the write lock."""
        self.database.execute(
            'INSERT INTO page (title, latest) VALUES (?, ?) ON CONFLICT (title) DO UPDATE SET latest = excluded.latest',
            (new.title, new.number),
        )
        self.database.execute(
            'INSERT INTO revision VALUES ((SELECT id FROM page WHERE title = ?), ?, ?, ?, ?, ?)',
            (new.title, new.number, new.text, new.author, new.summary, new.saved),
        )
        return new

    def _version(self) -> int:
        return int(self.database.execute('PRAGMA user_version').fetchone()[0])

    def _create(self) -> None:
        """Make the tables and the first pages, unless another process was quicker."""
        deadline = time.monotonic() + 10
        while True:
            try:
                self.database.execute('PRAGMA journal_mode = WAL')
                break
            except sqlite3.OperationalError:
                # Another process is at it. SQLite does not wait for this one lock by itself.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        with self._transaction():
            if self._version():
                return
            for statement in SCHEMA.split(';'):
                self.database.execute(statement)
            for title, text in FIRST_PAGES.items():
                self._add(Revision(title, 1, text, '', 'Made with the wiki', time.time()))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock of the database; commit at the end, roll back on any error."""
        self.database.execute('BEGIN IMMEDIATE')
        try:
            yield
        except BaseException:
            self.database.execute('ROLLBACK')
            raise
        self.database.execute('COMMIT')
