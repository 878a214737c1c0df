"""What the wiki keeps: versions, conflicts, search and attachments, without any request."""

import io
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from examples.wiki.store import Conflict, Store, clean_file_name, difference


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(str(tmp_path / 'data'))) as opened:
        yield opened


def test_new_store_has_its_first_pages(store: Store) -> None:
    assert store.titles() == ['Front page', 'Wiki text']


def test_each_save_keeps_the_versions_before(store: Store) -> None:
    store.save('Page', 'one', 0)
    store.save('Page', 'two', 1, author='Ada', summary='why')
    assert [(page.number, page.text, page.author) for page in store.history('Page')] == [
        (2, 'two', 'Ada'),
        (1, 'one', ''),
    ]
    assert store.page('Page') == store.page('Page', 2)
    assert store.page('Page', 3) is None
    assert store.page('Other') is None
    assert store.recent(1) == store.history('Page')[:1]


def test_unchanged_text_makes_no_version(store: Store) -> None:
    first = store.save('Page', 'same', 0)
    assert store.save('Page', 'same', 1, summary='nothing') == first


@pytest.mark.parametrize('base', [0, 1, 3])
def test_save_from_another_version_than_the_latest_is_a_conflict(store: Store, base: int) -> None:
    store.save('Page', 'one', 0)
    latest = store.save('Page', 'two', 1)
    with pytest.raises(Conflict) as conflict:
        store.save('Page', 'three', base)
    assert conflict.value.current == latest
    assert store.page('Page') == latest


def test_one_of_many_writers_at_once_wins(tmp_path: Path) -> None:
    folder = str(tmp_path / 'data')
    ready = threading.Barrier(6)
    outcomes: list[str] = []

    def write(text: str) -> None:
        ready.wait(timeout=10)
        with closing(Store(folder)) as store:
            try:
                store.save('Page', text, 0)
            except Conflict:
                outcomes.append('conflict')
            else:
                outcomes.append('saved')

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(outcomes) == ['conflict'] * 5 + ['saved']


@pytest.mark.parametrize(
    ('words', 'titles'),
    [
        ('pear', ['Fruit']),
        ('PEAR 100', ['Fruit']),
        ('0%', ['Fruit']),
        ('%', ['Fruit']),
        ('_', []),
        ('pear nothing', []),
        ('apple', ['Apple', 'Fruit']),
        ('\0', []),
        ('', []),
    ],
)
def test_search_finds_pages_that_hold_all_words(store: Store, words: str, titles: list[str]) -> None:
    store.save('Fruit', 'An apple, 100% pears!', 0)
    store.save('Apple', 'Red or green.', 0)
    assert [page.title for page in store.search(words, 10)] == titles


def test_search_looks_at_the_latest_version_only(store: Store) -> None:
    store.save('Page', 'gooseberry', 0)
    store.save('Page', 'elder', 1)
    assert store.search('gooseberry', 10) == []


def test_attachment_is_read_back_and_replaced_by_one_of_the_same_name(store: Store) -> None:
    store.save('Page', 'text', 0)
    store.attach('Page', '../../notes.txt', io.BytesIO(b'old'))
    added = store.attach('Page', 'notes.txt', io.BytesIO(b'newer'))
    assert store.attachments('Page') == [added]
    assert (added.name, added.size) == ('notes.txt', 5)
    content = store.open_attachment('Page', 'notes.txt')
    assert content is not None
    with content:
        assert content.read() == b'newer'


@pytest.mark.parametrize('name', ['../../wiki.sqlite', '..', '', 'other.txt', '/etc/passwd'])
def test_only_stored_names_are_opened(store: Store, name: str) -> None:
    store.save('Page', 'text', 0)
    store.attach('Page', 'notes.txt', io.BytesIO(b'x'))
    assert store.open_attachment('Page', name) is None
    assert store.open_attachment('Missing', 'notes.txt') is None


def test_failed_upload_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError('gone')

    store.save('Page', 'text', 0)
    with pytest.raises(OSError, match='gone'):
        store.attach('Page', 'notes.txt', Broken())
    assert store.attachments('Page') == []
    assert [path for path in (tmp_path / 'data' / 'attachments').rglob('*') if path.is_file()] == []


def test_attachment_needs_a_page(store: Store) -> None:
    with pytest.raises(KeyError):
        store.attach('Missing', 'notes.txt', io.BytesIO(b'x'))


@pytest.mark.parametrize(
    ('sent', 'kept'),
    [
        ('plan.pdf', 'plan.pdf'),
        ('C:\\Users\\me\\plan.pdf', 'plan.pdf'),
        ('../../etc/passwd', 'passwd'),
        ('.htaccess', 'htaccess'),
        ('a\r\nb\0.txt', 'a__b_.txt'),
        ('é' * 200 + '.txt', 'é' * 58 + '.txt'),
    ],
)
def test_file_name_is_cleaned(sent: str, kept: str) -> None:
    assert clean_file_name(sent) == kept


@pytest.mark.parametrize('name', ['', '/', '...', 'folder/', '  '])
def test_file_name_without_a_usable_part_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match='usable'):
        clean_file_name(name)


def test_difference_has_marked_lines() -> None:
    assert difference('a\nb\n', 'a\nc\n') == ['@@ -1,2 +1,2 @@', ' a', '-b', '+c']
    assert difference('a', 'a') == []
