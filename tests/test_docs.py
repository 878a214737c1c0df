"""The Python blocks of the documentation run: each by itself, in a fresh Python and an empty folder.

A block that opens with ```python no-run is only compiled: it shows code that needs more than the package. Warnings
are errors, and nothing may be left running when a block ends.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cpadapter
from cpadapter.core.body import RequestBody
from cpadapter.core.config import environments

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(cpadapter.__file__).parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]

FENCE = re.compile(r'^```python(?P<mark>[^\n]*)\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\((?!https?:|#)(?P<target>[^)#\s]+)(?:#[^)\s]*)?\)')

MISSING = 77

RUNNER = f"""
import sys
try:
    exec(compile(sys.stdin.read(), sys.argv[1], 'exec'), {{'__name__': 'block'}})
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition('.')[0] == 'cpadapter':
        raise
    print(exc)
    sys.exit({MISSING})
"""


def blocks() -> Iterator[object]:
    """Give (page, code with the page's line numbers, whether to run it) for every Python block."""
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for match in FENCE.finditer(text):
            line = text.count('\n', 0, match.start()) + 1
            mark = match['mark'].strip()
            assert mark in ('', 'no-run'), f'{page.name}:{line}: unknown mark {mark!r}'
            yield pytest.param(page, '\n' * line + match['code'], not mark, id=f'{page.name}:{line}')


@pytest.mark.parametrize(('page', 'code', 'runs'), list(blocks()))
def test_a_block_runs(page, code, runs, tmp_path):
    name = page.relative_to(ROOT).as_posix()
    compile(code, name, 'exec')
    if not runs:
        return
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', RUNNER, name],
        input=code,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(PACKAGE.parent), 'PYTHONIOENCODING': 'utf-8'},
        capture_output=True,
        encoding='utf-8',
        timeout=60,
        check=False,
    )
    if done.returncode == MISSING and not os.environ.get('CI'):
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize('page', [*PAGES, ROOT / 'CHANGELOG.md'], ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    targets = [match['target'] for match in LINK.finditer(page.read_text(encoding='utf-8'))]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def rows(section):
    """Give ([key, ...], [cell, ...]) for each row of the tables of a section of docs/config.md."""
    text = (ROOT / 'docs' / 'config.md').read_text(encoding='utf-8')
    text = re.split(rf'^#+ {re.escape(section)}$', text, maxsplit=1, flags=re.MULTILINE)[1]
    text = re.split(r'^#', text, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.strip()[1:-1].split('|') for line in text.splitlines() if re.match(r'\| `[a-z_]+\.', line)]
    return [(re.findall(r'`([^`]+)`', keys), [cell.strip() for cell in cells]) for keys, *cells in lines]


def test_the_environments_are_those_of_the_manual():
    shown: dict[str, dict[str, object]] = {name: {} for name in ('staging', 'production', 'embedded', 'test_suite')}
    for keys, cells in rows('Environments'):
        for name, cell in zip(shown, cells, strict=True):
            if cell:
                shown[name].update(dict.fromkeys(keys, ast.literal_eval(cell)))
    assert shown == {name: environments[name] for name in shown}


@pytest.mark.parametrize(
    ('section', 'owner'),
    [
        ('server', cpadapter.core.server.Server()),
        ('checker', cpadapter.checker),
        ('request', cpadapter.Request),
        ('request.body', RequestBody),
        ('response', cpadapter.Response),
    ],
)
def test_the_defaults_of_the_manual_are_those_of_the_code(section, owner):
    compared = 0
    for keys, cells in rows(section):
        try:
            default = ast.literal_eval(cells[0].strip('`'))
        except (SyntaxError, ValueError):
            continue
        name = keys[0].removeprefix(f'{section}.')
        if len(keys) == 1 and name.islower() and '.' not in name and hasattr(owner, name):
            assert getattr(owner, name) == default, keys[0]
            compared += 1
    assert compared


def test_every_setting_of_the_server_is_in_the_manual():
    shown = {key.removeprefix('server.') for keys, _ in rows('server') for key in keys}
    settings = {name for name in vars(cpadapter.core.server.Server) if not name.startswith('_')}
    settings = {name for name in settings if not callable(getattr(cpadapter.core.server.Server, name))}
    told = {'bound_addr', 'description', 'running', 'scheme', 'using_apache', 'using_wsgi'}
    assert settings - shown - told == set()


def test_the_table_of_tools_tells_each_tool_with_its_point_priority_and_settings():
    import inspect

    import cpadapter

    text = (ROOT / 'docs' / 'config.md').read_text(encoding='utf-8')
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if len(cells) == 5 and cells[0].strip('` ') in cpadapter.tools.names():
            rows[cells[0].strip('` ')] = cells
    assert sorted(rows) == sorted(cpadapter.tools.names())
    for name, (_, on, point, settings, _) in rows.items():
        tool = getattr(cpadapter.tools, name)
        assert (on == 'yes') == bool(cpadapter.config.get(f'tools.{name}.on')), name
        assert point == (f'{tool._point}, {tool._priority}' if tool._point else 'instead of the error page'), name
        for parameter in inspect.signature(tool.callable).parameters.values():
            if parameter.name not in ('debug', 'failmsg', 'args', 'kwargs'):
                assert f'`{parameter.name}' in settings, (name, parameter.name)
