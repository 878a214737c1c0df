"""What the static tools do beyond CherryPy's: precompressed files, names with dots, files kept in memory."""

from __future__ import annotations

import gzip
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import cpadapter
from cpadapter.lib import disk, static

PAGE = b'<p>a page</p>' * 20


@pytest.fixture
def folder(tmp_path):
    disk.forget()
    (tmp_path / 'page.html').write_bytes(PAGE)
    (tmp_path / 'page.html.gz').write_bytes(gzip.compress(PAGE))
    (tmp_path / 'page.html.br').write_bytes(b'as brotli')
    (tmp_path / 'alone.css').write_bytes(b'p {}')
    return tmp_path


def mount(client, folder, **settings):
    section = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder)}
    section.update({f'tools.staticdir.{key}': value for key, value in settings.items()})
    client.mount(None, '', {'/s': section})


def get(client, path='/s/page.html', field=None, **headers):
    headers = {name.replace('_', '-'): value for name, value in headers.items()}
    if field is not None:
        headers['Accept-Encoding'] = field
    return client.get(path, headers=headers)


# --- precompressed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('field', 'coding', 'body'),
    [
        (None, None, PAGE),
        ('gzip', 'gzip', gzip.compress),
        ('gzip, br', 'br', b'as brotli'),
        ('zstd, gzip;q=0.5', 'gzip', gzip.compress),
        ('br;q=0.1, identity', None, PAGE),
        ('zstd', None, PAGE),
    ],
)
def test_the_coding_that_the_client_prefers_is_sent(client, folder, field, coding, body):
    mount(client, folder, precompressed=True)
    answer = get(client, field=field)
    assert answer.status == 200
    assert answer.headers.get('Content-Encoding') == coding
    assert answer.headers['Vary'] == 'Accept-Encoding'
    assert answer.headers['Content-Type'] == 'text/html'
    if callable(body):
        assert gzip.decompress(answer.body) == PAGE
    else:
        assert answer.body == body


def test_each_coding_has_a_strong_tag_of_its_own_that_is_recognized(client, folder):
    mount(client, folder, precompressed=['gzip', 'br'])
    tags = {field: get(client, field=field).headers['ETag'] for field in (None, 'gzip', 'br')}
    assert len(set(tags.values())) == 3
    for field, tag in tags.items():
        assert tag[0] == '"'
        answer = get(client, field=field, If_None_Match=tag)
        assert (answer.status, answer.headers['ETag'], answer.headers['Vary']) == (304, tag, 'Accept-Encoding')
    assert get(client, field='gzip', If_None_Match=tags['br']).status == 200


def test_a_sibling_older_than_its_file_is_not_sent(client, folder):
    mount(client, folder, precompressed=True)
    old = time.time() - 100
    os.utime(folder / 'page.html.br', (old, old))
    assert get(client, field='br, gzip').headers['Content-Encoding'] == 'gzip'
    os.utime(folder / 'page.html.gz', (old, old))
    answer = get(client, field='br, gzip')
    assert 'Content-Encoding' not in answer.headers
    assert answer.body == PAGE


def test_parts_are_of_the_file_itself(client, folder):
    mount(client, folder, precompressed=True)
    answer = get(client, field='gzip', Range='bytes=0-2')
    assert (answer.status, answer.body) == (206, PAGE[:3])
    assert 'Content-Encoding' not in answer.headers


def test_the_setting_says_which_codings_and_in_what_order(client, folder):
    mount(client, folder, precompressed='gzip, br')
    assert get(client, field='br, gzip').headers['Content-Encoding'] == 'gzip'
    assert get(client, '/s/alone.css', field='br, gzip').body == b'p {}'
    for field in ('identity;q=0', '*;q=0'):
        answer = get(client, field=field)
        assert (answer.status, answer.headers['Vary']) == (406, 'Accept, Accept-Encoding')


def test_without_the_setting_siblings_are_files_like_any_other(client, folder):
    mount(client, folder)
    answer = get(client, field='gzip')
    assert answer.body == PAGE
    assert 'Vary' not in answer.headers
    answer = get(client, '/s/page.html.gz', field='gzip')
    assert answer.headers['Content-Type'] == 'application/x-gzip'
    assert 'Content-Encoding' not in answer.headers


def test_an_index_file_and_staticfile_know_siblings_too(client, folder):
    section = {
        'tools.staticfile.on': True,
        'tools.staticfile.filename': str(folder / 'page.html'),
        'tools.staticfile.precompressed': 'br',
    }
    config = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(folder)}
    more = {'tools.staticdir.index': 'page.html', 'tools.staticdir.precompressed': True}
    client.mount(None, '', {'/f': section, '/s': {**config, **more}})
    assert get(client, '/f', field='br').body == b'as brotli'
    assert get(client, '/s/', field='br').body == b'as brotli'


def test_a_precompressed_file_is_not_compressed_again(client, folder):
    section = {
        'tools.staticdir.on': True,
        'tools.staticdir.dir': str(folder),
        'tools.staticdir.precompressed': True,
        'tools.gzip.on': True,
    }
    client.mount(None, '', {'/s': section})
    answer = get(client, field='br, gzip;q=0.5')
    assert (answer.headers['Content-Encoding'], answer.body) == ('br', b'as brotli')
    assert answer.headers['Vary'] == 'Accept-Encoding'
    answer = get(client, '/s/alone.css', field='gzip')
    assert answer.body == b'p {}'


def test_a_coding_that_is_none_is_told(client, folder):
    mount(client, folder, precompressed='deflate')
    assert get(client).status == 500
    assert any("no precompressed files of the coding 'deflate'" in line for line in client.errors)


def test_a_sibling_that_leads_elsewhere_is_not_followed(client, folder, tmp_path_factory):
    secret = tmp_path_factory.mktemp('other') / 'secret'
    secret.write_bytes(b'secret')
    (folder / 'alone.css.gz').symlink_to(secret)
    mount(client, folder, precompressed=True)
    assert get(client, '/s/alone.css', field='gzip').body == b'p {}'


# --- names with dots ------------------------------------------------------------------------------------------


def test_names_that_begin_with_a_dot_are_not_served_but_where_asked_for(client, folder):
    (folder / '.git').mkdir()
    (folder / '.git' / 'config').write_text('secret')
    (folder / '.env').write_text('secret')
    (folder / '.well-known').mkdir()
    (folder / '.well-known' / 'x').write_text('known')
    (folder / 'link').symlink_to('.env')
    mount(client, folder)
    for path in ('.env', '.git/config', 'link', '.well-known/../.env', './.env', '%2eenv', '.well-known/.x'):
        assert client.get(f'/s/{path}').status == 404, path
    assert client.get('/s/.well-known/x').text == 'known'
    client.site.tree.apps.clear()
    mount(client, folder, dotfiles=True)
    for path in ('.env', '.git/config', 'link'):
        assert client.get(f'/s/{path}').text == 'secret', path


# --- files kept in memory -------------------------------------------------------------------------------------


@pytest.fixture
def settled(monkeypatch):
    """Keep files that have just been written, as if they had stood for a while."""
    monkeypatch.setattr(disk, '_UNSETTLED', -1)
    monkeypatch.setattr(disk, '_UNSETTLED_COARSE', -1)


def test_a_small_file_is_opened_once(client, folder, settled, monkeypatch):
    mount(client, folder)
    assert get(client).body == PAGE
    with monkeypatch.context() as patched:
        patched.setattr(os, 'open', None)
        assert get(client).body == PAGE
        assert get(client, Range='bytes=1-3').body == PAGE[1:4]
        assert get(client, If_None_Match='*').status == 304
        assert client.head('/s/page.html').headers['Content-Length'] == str(len(PAGE))


@pytest.mark.parametrize('how', ['write', 'same times', 'replace', 'remove', 'link', 'folder'])
def test_what_is_kept_counts_only_while_the_file_is_the_same(client, folder, settled, how):
    mount(client, folder)
    path = folder / 'page.html'
    assert get(client).body == PAGE
    status = path.stat()
    other = PAGE[::-1]
    if how == 'write':
        path.write_bytes(other)
    elif how == 'same times':
        path.write_bytes(other)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == 'replace':
        (folder / 'new').write_bytes(other)
        os.utime(folder / 'new', ns=(status.st_atime_ns, status.st_mtime_ns))
        (folder / 'new').replace(path)
    else:
        path.unlink()
        if how == 'link':
            (folder / 'new').write_bytes(other)
            path.symlink_to('new')
        elif how == 'folder':
            path.mkdir()
    answer = get(client)
    if how in ('remove', 'folder'):
        assert answer.status == 404
    else:
        assert answer.body == other


def test_a_file_that_has_just_changed_is_not_kept(folder):
    path = str(folder / 'page.html')
    later = time.time() + 1000
    os.utime(path, (later, later))
    first = disk.open_file(path)
    assert disk.open_file(path) is not first


def test_what_is_kept_is_bounded(folder, settled, monkeypatch):
    monkeypatch.setattr(disk, '_MAX_KEPT', 3000)
    for number in range(30):
        path = folder / f'{number}.txt'
        path.write_bytes(bytes(1000))
        disk.open_file(str(path))
        assert sum(found.size for found in disk._kept.values()) <= 3000
    assert disk._kept
    disk.forget()
    assert disk.kept() == (0, 0)


def test_the_bytes_that_are_kept_are_counted_exactly(folder, settled, monkeypatch):
    monkeypatch.setattr(disk, '_MAX_KEPT', 10_000)
    disk.forget()
    steady = folder / 'steady.txt'
    steady.write_bytes(bytes(100))
    disk.open_file(str(steady))
    path = folder / 'changing.txt'
    for number in range(30):
        path.write_bytes(bytes(1000 + number))
        disk.open_file(str(path))
        assert disk.kept() == (2, 1100 + number)
    path.unlink()
    with pytest.raises(cpadapter.NotFound):
        disk.open_file(str(path))
    assert disk.kept() == (1, 100)


def test_the_bytes_that_are_kept_are_counted_exactly_by_many_threads(folder, settled, monkeypatch):
    monkeypatch.setattr(disk, '_MAX_KEPT', 5000)
    disk.forget()
    paths = [folder / f'{number}.txt' for number in range(8)]
    for path in paths:
        path.write_bytes(bytes(1000))

    def work(number):
        for turn in range(100):
            path = paths[(number + turn) % 8]
            if turn % 5 == 0:
                path.write_bytes(bytes(900 + turn))
            try:
                disk.open_file(str(path))
            except OSError:
                pass  # another thread writes to it all the time

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert disk.kept()[1] == sum(found.size for found in disk._kept.values()) <= 5000


def test_a_file_that_is_written_to_while_it_is_read_is_read_again(folder, monkeypatch):
    path = folder / 'page.html'
    read = os.pread
    reads = []

    def reading(*args):
        reads.append(args)
        data = read(*args)
        if len(reads) == 1:
            path.write_bytes(b'another, longer text' * 100)
        return data

    monkeypatch.setattr(os, 'pread', reading)
    found = disk.open_file(str(path))
    assert found.data == b'another, longer text' * 100
    assert found.size == len(found.data)
    assert len(reads) == 2


def test_a_file_without_permission_is_not_served_from_memory(client, folder, settled):
    if os.geteuid() == 0:
        pytest.skip('root may read anything')
    mount(client, folder)
    assert get(client).body == PAGE
    (folder / 'page.html').chmod(0)
    assert get(client).status == 403


# --- ranges ---------------------------------------------------------------------------------------------------


def test_ranges_that_overlap_are_sent_as_one(client, handler, folder):
    def page():
        return static.serve_file(str(folder / 'page.html'))

    class Root:
        x = staticmethod(handler(page))

    client.mount(Root())
    answer = client.get('/x', headers={'Range': 'bytes=4-7,0-4,2-5'})
    assert (answer.status, answer.headers['Content-Range']) == (206, f'bytes 0-7/{len(PAGE)}')
    assert answer.body == PAGE[:8]


def test_serve_file_by_a_tool_of_ones_own_keeps_the_type_given(client, handler, folder):
    def page():
        return static.serve_file(str(folder / 'page.html'), content_type='text/x-own')

    class Root:
        x = staticmethod(handler(page))

    client.mount(Root())
    assert client.get('/x').headers['Content-Type'] == 'text/x-own;charset=utf-8'
    assert cpadapter.lib.static.content_type_of('x.HTML') == 'text/html'
