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


def tool_rows():
    """Give {tool: (on by default, points, settings)} as the table of docs/tools.md has them."""
    text = (ROOT / 'docs' / 'tools.md').read_text(encoding='utf-8')
    found = re.findall(r'^\| \[`(\w+)`\]\(#(\w+)\) \|(.*)\|$', text, flags=re.MULTILINE)
    assert all(name == target for name, target, _ in found)
    rows = {name: [cell.strip() for cell in cells.split('|')] for name, _, cells in found}
    assert len(rows) == len(found)
    assert {len(cells) for cells in rows.values()} == {4}
    return {name: tuple(cells[:3]) for name, cells in rows.items()}


def test_the_table_of_tools_has_each_tool_once_with_an_example_that_uses_it():
    assert list(tool_rows()) == sorted(cpadapter.tools.names())
    text = (ROOT / 'docs' / 'tools.md').read_text(encoding='utf-8')
    examples = dict(re.findall(r'^### (\w+)\n(.*?)(?=^##|\Z)', text, flags=re.MULTILINE | re.DOTALL))
    assert list(examples) == sorted(cpadapter.tools.names())
    for name, example in examples.items():
        code = '\n'.join(match['code'] for match in FENCE.finditer(example) if not match['mark'].strip())
        used = rf'tools\.{name}\.(on|handler|callable)\b|@cpadapter\.tools\.{name}\(|\bXMLRPCController\b'
        assert re.search(used, code), name
        assert 'assert' in code, name


# What has no default and must be given for a plan to be compiled.
REQUIRED = {
    'auth_basic': {'realm': 'x', 'checkpassword': print},
    'auth_digest': {'realm': 'x', 'get_ha1': print, 'key': 'x'},
    'referer': {'pattern': ''},
    'staticdir': {'section': '/', 'dir': '/'},
    'staticfile': {'filename': '/'},
}
# Whose attributes are settings besides, and what else its tool takes.
OWNERS = {
    'caching': (cpadapter.lib.caching.MemoryCache, {'cache_class'}),
    'session_auth': (cpadapter.lib.cptools.SessionAuth, set()),
    'sessions': (cpadapter.lib.sessions.RamSession, {'locking', 'storage_class'}),
    'etags': (None, {'state'}),
}


@pytest.mark.parametrize('name', sorted(cpadapter.tools.names()))
def test_the_table_of_tools_tells_points_priorities_settings_and_defaults(name):
    import inspect

    from cpadapter.core.plan import PlanBuilder

    on, points, told = tool_rows()[name]
    tool = getattr(cpadapter.tools, name)
    assert on == ('yes' if cpadapter.config.get(f'tools.{name}.on') else 'no')

    builder = PlanBuilder('missing')
    tool.compile(builder, dict(REQUIRED.get(name, {})))
    hooks = [f'{point} {hook.priority}' for point, hooks in builder.hooks.items() for hook in hooks]
    assert points == (', '.join(hooks) or 'instead of the error page')

    told = dict(pair.partition('=')[::2] for pair in re.findall(r'`(\w+(?:=[^`]*)?)`', told))
    told.pop('SessionAuth', None)
    told.pop('storage_path', None)
    parameters = inspect.signature(tool.callable).parameters.values()
    settings = {p.name: p.default for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    for left in ('debug', 'failmsg'):
        settings.pop(left, None)
    assert settings.keys() <= told.keys()
    owner, more = OWNERS.get(name, (None, set()))
    for setting, default in told.items():
        if setting in more or (setting not in settings and callable(getattr(owner, setting, None))):
            continue
        known = settings[setting] if setting in settings else getattr(owner, setting)
        if default:
            value = getattr(known, '__name__', known) if isinstance(known, type) else known
            shown = default if isinstance(known, type) else ast.literal_eval(default)
            assert (tuple(value) if isinstance(value, list) else value) == shown, setting
        else:
            # Required, or something that cannot be written down in a cell.
            assert known is inspect.Parameter.empty or callable(known), setting
    if not any(p.kind is p.VAR_KEYWORD for p in parameters) and name not in OWNERS:
        from cpadapter.extension.tools import UnknownSetting

        with pytest.raises(UnknownSetting):
            tool.compile(PlanBuilder('missing'), {**REQUIRED.get(name, {}), 'no_such_setting': 1})
