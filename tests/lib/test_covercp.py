"""covercp: what is measured, the pages that show it, and which files they keep to themselves.

A stand-in has the three methods of coverage.Coverage that the pages call; where the package is there, it is used too.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from urllib.parse import quote

import pytest

import cpadapter
from cpadapter.lib import covercp

SOURCE = """def used():
    return '<b>'


def unused():  # pragma: no cover
    return 1


def missed():
    return 2
"""


class Stand:
    """Says of each file in `files` which of its lines ran."""

    def __init__(self, files):
        self.files = {str(file) for file in files}

    def get_data(self):
        return self

    def measured_files(self):
        return set(self.files)

    def analysis2(self, name):
        assert name in self.files, name
        return name, [1, 2, 9, 10], [5, 6], [10], '10'


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'site'
    for name in ('main.py', 'shop/basket.py', 'shop/<b>.py', 'test/test_x.py', 'unmeasured.py'):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SOURCE)
    (tmp_path / 'outside.py').write_text(SOURCE)
    (tmp_path / 'site-evil').mkdir()
    (tmp_path / 'site-evil' / 'x.py').write_text(SOURCE)
    (folder / 'link.py').symlink_to(tmp_path / 'outside.py')
    return folder


@pytest.fixture
def stand(root):
    measured = [root / name for name in ('main.py', 'shop/basket.py', 'shop/<b>.py', 'test/test_x.py', 'link.py')]
    return Stand([*measured, root.parent / 'outside.py', root.parent / 'site-evil' / 'x.py'])


@pytest.fixture
def pages(client, root, stand):
    client.mount(covercp.CoverStats(stand, str(root)))
    return client


def test_the_tree_holds_measured_files_below_the_folder(root, stand):
    assert covercp.get_tree(str(root), 'test', stand) == {'main.py': None, 'shop': {'<b>.py': None, 'basket.py': None}}
    assert covercp.get_tree(str(root / 'shop'), '', stand) == {'<b>.py': None, 'basket.py': None}
    assert 'test' in covercp.get_tree(str(root), '', stand)
    assert covercp.get_tree(str(root), r'ba\wket|mai\n\.py|tes\d', stand) == {
        'shop': {'<b>.py': None, 'basket.py': None},
        'test': {'test_x.py': None},
    }


def test_the_menu_lists_files_and_how_much_of_them_ran(pages):
    answer = pages.get('/')
    assert answer.status == 200
    assert '<a href="report?name=main.py">main.py</a> 75%' in answer.text
    assert 'shop/%3Cb%3E.py">&lt;b&gt;.py</a>' in answer.text
    assert 'outside' not in answer.text
    assert 'unmeasured' not in answer.text
    assert 'test_x' not in answer.text
    assert "default-src 'none'" in answer.headers['Content-Security-Policy']


def test_the_menu_takes_its_settings(pages):
    assert 'class="missing"' in pages.get('/menu?showpct=1&pct=80').text
    assert 'class="missing"' not in pages.get('/menu?showpct=1&pct=70').text
    assert '%</' not in pages.get('/menu').text
    assert 'main.py' not in pages.get('/menu?base=/shop').text
    assert 'report?name=shop/basket.py' in pages.get('/menu?base=/shop').text
    assert 'test_x' in pages.get('/menu?exclude=').text
    assert pages.get('/menu?pct=x').status == 400
    assert pages.get(f'/menu?exclude={"a" * 300}').status == 400


@pytest.mark.parametrize('base', ['/..', '/../site-evil', '../../etc', '/shop/../..', '%00'])
def test_the_menu_shows_no_folder_outside(pages, base):
    assert pages.get(f'/menu?base={base}').status == 404


def test_a_pattern_to_exclude_is_never_slow(root, stand):
    began = time.perf_counter()
    stand.files.add(str(root / ('a' * 200 + '!')))
    covercp.get_tree(str(root), '(a+)+$', stand)
    covercp.get_tree(str(root), '(a|a)*b' * 20, stand)
    assert time.perf_counter() - began < 1


def test_a_report_marks_the_lines(pages):
    answer = pages.get('/report?name=main.py')
    assert answer.status == 200
    assert '<h1>main.py: 75%</h1>' in answer.text
    assert '<span>    2 &gt;' not in answer.text
    assert '<span>    2 >     return &#x27;&lt;b&gt;&#x27;</span>' in answer.text
    assert '<span class="missing">   10 !     return 2</span>' in answer.text
    assert '<span class="excluded">    6       return 1</span>' in answer.text
    assert pages.get(f'/report?name={quote("shop/<b>.py")}').status == 200
    assert '<h1>shop/&lt;b&gt;.py' in pages.get(f'/report?name={quote("shop/<b>.py")}').text


@pytest.mark.parametrize(
    'name',
    ['/etc/passwd', '../outside.py', '../site-evil/x.py', 'unmeasured.py', 'link.py', 'shop', '', 'nothing.py', 'a\0b'],
)
def test_a_report_of_any_other_file_is_not_found(pages, root, name):
    assert pages.get(f'/report?name={quote(name)}').status == 404
    assert pages.get(f'/report?name={quote(str(root.parent / name))}').status == 404


@pytest.mark.parametrize('query', ['base=/&base=/', 'pct=1&pct=2', 'showpct=&showpct=1', 'exclude=a&exclude=b'])
def test_parameters_of_the_menu_are_given_once(pages, query):
    assert pages.get(f'/menu?{query}').status == 400


def test_a_report_is_of_one_file(pages):
    assert pages.get('/report?name=main.py&name=main.py').status == 404


def test_a_measured_file_that_is_gone_is_not_found(pages, root):
    (root / 'main.py').unlink()
    assert pages.get('/report?name=main.py').status == 404


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'coverage', None)
    monkeypatch.setattr(covercp, '_started', None)
    with pytest.raises(ImportError, match='pip install coverage'):
        covercp.start()


def test_it_starts_early_and_once(monkeypatch):
    started = []

    class Coverage:
        def __init__(self, data_file=None):
            self.data_file = data_file

        def start(self):
            started.append(self.data_file)

    monkeypatch.setattr(covercp, '_started', None)
    monkeypatch.setitem(sys.modules, 'coverage', type(sys)('coverage'))
    sys.modules['coverage'].Coverage = Coverage
    site = cpadapter.Site('measured')
    site.engine.subscribe('start', covercp.start)
    assert covercp.start.priority == 20
    site.engine.start()
    site.engine.exit()
    assert started == ['coverage.cache']


@pytest.mark.skipif(importlib.util.find_spec('coverage') is None, reason='coverage is not installed')
def test_a_real_measurement_is_shown(client, tmp_path):
    module = tmp_path / 'measured.py'
    module.write_text(SOURCE + '\nused()\n')
    coverage = covercp.make_coverage(str(tmp_path / 'data'))
    coverage.start()
    exec(compile(module.read_text(), str(module), 'exec'), {})
    coverage.stop()
    client.mount(covercp.CoverStats(coverage, str(tmp_path)))
    assert 'measured.py' in client.get('/').text
    assert 'class="missing"' in client.get('/report?name=measured.py').text
