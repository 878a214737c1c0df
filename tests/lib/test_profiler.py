"""The profiler: reports in a folder, the pages that show them, and what they refuse."""

from __future__ import annotations

import os
import stat
import threading

import pytest

import cpadapter
from cpadapter.lib.profiler import ProfileAggregator, Profiler, make_app


def work(number, by=1):
    return sum(range(number)) * by


@pytest.fixture
def profiler(tmp_path):
    return Profiler(str(tmp_path / 'reports'))


def test_a_run_gives_the_result_and_writes_a_report(profiler):
    assert profiler.run(work, 10, by=2) == 90
    assert profiler.statfiles() == ['cp_0001.prof']
    text = profiler.stats('cp_0001.prof')
    assert 'Ordered by: cumulative time' in text
    assert '(work)' in text
    assert 'Ordered by: internal time' in profiler.stats('cp_0001.prof', sortby='tottime')


def test_what_is_raised_is_raised_and_reported(profiler):
    with pytest.raises(ZeroDivisionError):
        profiler.run(lambda: 1 / 0)
    assert profiler.statfiles() == ['cp_0001.prof']


def test_reports_are_numbered_on_and_never_written_over(profiler):
    for _ in range(3):
        profiler.run(work, 1)
    again = Profiler(profiler.path)
    again.run(work, 1)
    assert again.statfiles() == [f'cp_000{number}.prof' for number in (1, 2, 3, 4)]


def test_the_folder_and_the_reports_are_the_owners_alone(profiler):
    profiler.run(work, 1)
    assert stat.S_IMODE(os.stat(profiler.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(profiler.path, 'cp_0001.prof')).st_mode) == 0o600


def test_the_folder_is_in_the_current_one_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Profiler().path == str(tmp_path / 'profile')


def test_threads_write_a_report_each(profiler):
    threads = [threading.Thread(target=profiler.run, args=(work, 100)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(profiler.statfiles()) <= 8


def test_within_another_profile_the_function_still_runs(profiler):
    assert profiler.run(lambda: profiler.run(work, 10)) == 45


@pytest.mark.parametrize(
    'name',
    [
        '../cp_0001.prof',
        '/etc/passwd',
        'cp_0002.prof',
        'cp_0001.prof\n',
        'cp_0001.prof\0',
        'sub/cp_0001.prof',
        'cp_0001.prof/../cp_0001.prof',
        'cp_1.prof',
        'cp_\u0661\u0661\u0661\u0661.prof',
        'link',
        'cp_0009.prof',
        '',
        '.',
    ],
)
def test_only_names_of_reports_are_read(profiler, client, handler, name):
    profiler.run(work, 1)
    os.symlink('/etc/hostname', os.path.join(profiler.path, 'cp_0009.prof'))
    os.symlink('cp_0001.prof', os.path.join(profiler.path, 'link'))
    os.rename(os.path.join(profiler.path, 'cp_0001.prof'), os.path.join(os.path.dirname(profiler.path), 'cp_0001.prof'))
    profiler.run(work, 1)
    with pytest.raises(ValueError, match='is not the name of a report'):
        profiler.stats(name)
    from urllib.parse import quote

    client.mount(profiler, '/p')
    assert client.get(f'/p/report?filename={quote(name)}').status == 404
    assert client.get(f'/p/report?filename={quote(name)}&filename=cp_0002.prof').status == 404


def test_the_pages_show_the_reports(profiler, client):
    client.mount(profiler)
    assert 'There are none yet.' in client.get('/').text
    profiler.run(work, 1)
    answer = client.get('/')
    assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
    assert "default-src 'none'" in answer.headers['Content-Security-Policy']
    assert '<a href="report?filename=cp_0001.prof">cp_0001.prof</a>' in answer.text
    assert '<a href="report?filename=cp_0001.prof">' in client.get('/menu').text
    answer = client.get('/report?filename=cp_0001.prof')
    assert answer.headers['Content-Type'] == 'text/plain;charset=utf-8'
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    assert '(work)' in answer.text


def test_an_aggregator_adds_up_in_one_report(tmp_path):
    profiler = ProfileAggregator(str(tmp_path))
    for _ in range(5):
        assert profiler.run(work, 10) == 45
    assert profiler.statfiles() == ['cp_0001.prof']
    line = next(line for line in profiler.stats('cp_0001.prof').splitlines() if '(work)' in line)
    assert line.split()[0] == '5'
    assert os.listdir(tmp_path) == ['cp_0001.prof']


def test_a_page_can_be_profiled(profiler, client, handler):
    class Root:
        @handler
        def index(self):
            return profiler.run(lambda: f'{work(10)} at {cpadapter.request.path_info}')

    client.mount(Root())
    assert client.get('/').text == '45 at /'
    assert '(work)' in profiler.stats('cp_0001.prof')


@pytest.mark.parametrize('aggregate', [False, True])
def test_the_middleware_profiles_each_request_with_its_body(tmp_path, wsgi, aggregate):
    closed = []

    class Root:
        @cpadapter.expose
        @cpadapter.config(**{'response.stream': True})
        def index(self):
            def chunks():
                try:
                    yield str(work(10)).encode()
                finally:
                    closed.append(True)

            return chunks()

    wsgi.mount(Root())
    wsgi.app = make_app(wsgi.site.tree.wsgi, str(tmp_path), aggregate)
    for _ in range(2):
        assert wsgi.get('/').body == b'45'
    assert closed == [True, True]
    names = wsgi.app.profiler.statfiles()
    assert len(names) == (1 if aggregate else 2)
    assert '(work)' in wsgi.app.profiler.stats(names[0])


def test_nothing_is_mounted_by_itself():
    assert not any(isinstance(app.root, Profiler) for app in cpadapter.tree.apps.values())
