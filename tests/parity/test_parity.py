"""Every case of the table is answered alike by CherryPy and cpadapter, or as differences.py says."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .cases import CASES
from .differences import DIFFERENCES, UNTRIED, WSGI_ALONE, Difference, difference_for
from .runner import Answer, Case
from .transport import UNSAID

# The name this folder was imported under, and the folder that name begins in.
PACKAGE = __name__.rpartition('.')[0]
START = Path(__file__).resolve().parents[1 + PACKAGE.count('.')]

# By the package's name: the settings that its tools take, such as 'gzip.mime_types' or 'sessions.*'.
TAKEN: dict[str, set[str]] = {}
# By the case's id: the answer, and the settings of tools that its requests had.
Answers = dict[str, tuple[Answer, list[str]]]

# What ASGI cannot say, with the case that asks what came of it.
UNSAYABLE = {f'{case.id}{suffix}' for case in CASES if UNSAID & set(case.environ) for suffix in ('', '-told')}
# The others; a probe sends no requests.
BY_ASGI = [case for case in CASES if case.variant != 'probes' and case.id not in UNSAYABLE]

if importlib.util.find_spec('cherrypy') is None:
    pytest.skip('CherryPy is not installed: cpadapter[dev] brings it', allow_module_level=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # One folder for both, so that messages naming a file agree; they write the same files one after the other.
    return tmp_path_factory.mktemp('parity')


@pytest.fixture(scope='module')
def of_stock(folder: Path) -> Answers:
    return ask('cherrypy', folder, 'wsgi', CASES, '-W', 'ignore')


@pytest.fixture(scope='module')
def stock(of_stock: Answers) -> dict[str, Answer]:
    return {ident: answer for ident, (answer, _) in of_stock.items()}


@pytest.fixture(scope='module')
def ours(folder: Path, stock: dict[str, Answer]) -> dict[str, Answer]:
    answers = ask('cpadapter', folder, 'wsgi', CASES, '-W', 'error')
    return {ident: answer for ident, (answer, _) in answers.items()}


@pytest.fixture(scope='module')
def of_asgi(folder: Path, ours: dict[str, Answer]) -> Answers:
    return ask('cpadapter', folder, 'asgi', BY_ASGI, '-W', 'error')


@pytest.fixture(scope='module')
def ours_by_asgi(of_asgi: Answers) -> dict[str, Answer]:
    return {ident: answer for ident, (answer, _) in of_asgi.items()}


def ask(module: str, folder: Path, protocol: str, asked: list[Case], *options: str) -> Answers:
    """Give every answer of one package, asked for once a run: a case may build on those before it."""
    cases = sorted(asked, key=lambda case: case.variant)
    ran = subprocess.run(
        [sys.executable, *options, '-m', f'{PACKAGE}.answer', module, str(folder), protocol],
        input=''.join(f'{case.id}\n' for case in cases),
        capture_output=True,
        text=True,
        cwd=START,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        timeout=120,
        check=False,
    )
    taken, *answers = [json.loads(line) for line in ran.stdout.splitlines()] or [[]]
    TAKEN[module] = set(taken)
    assert len(answers) == len(cases), ran.stderr
    return {case.id: (answer, settings) for case, (answer, settings) in zip(cases, answers, strict=True)}


def complaints(answer: Answer, wanted: Difference) -> list[str]:
    """Say in which points an answer is not what an entry of the table of differences wants."""
    found = []
    status = answer['status']
    if ' ' not in str(wanted.status):
        status = status.partition(' ')[0]  # the code, or 'raised', or 'probe'
    if status != str(wanted.status):
        found.append(f'status is {answer["status"]!r}, not {wanted.status!r}')
    if not matches(answer['body'], wanted.body):
        found.append(f'body is {answer["body"]!r}, not {wanted.body!r}')
    headers = dict(answer['headers'])
    for name, value in wanted.headers.items():
        if value is None:
            if name in headers:
                found.append(f'{name} is {headers[name]!r}, and should be absent')
        elif not matches(headers.get(name, ''), value):
            found.append(f'{name} is {headers.get(name)!r}, not {value!r}')
    return found


def matches(text: str, wanted: str | re.Pattern[str]) -> bool:
    return text == wanted if isinstance(wanted, str) else wanted.fullmatch(text) is not None


@pytest.mark.parametrize('case', [pytest.param(case, id=case.id) for case in CASES])
def test_both_answer_alike_or_as_the_table_of_differences_says(
    case: Case, stock: dict[str, Answer], ours: dict[str, Answer]
) -> None:
    wanted = difference_for(case.id)
    if wanted is None:
        assert ours[case.id] == stock[case.id]
    else:
        assert not complaints(ours[case.id], wanted)


def without_reason(answer: Answer) -> Answer:
    """Leave out the words of the status line, which ASGI does not send."""
    status = answer['status']
    return {**answer, 'status': status[:3] if status[:3].isdigit() else status}


@pytest.mark.parametrize('case', [pytest.param(case, id=case.id) for case in BY_ASGI])
def test_a_request_is_answered_by_asgi_as_by_wsgi(
    case: Case, ours: dict[str, Answer], ours_by_asgi: dict[str, Answer]
) -> None:
    by_wsgi, by_asgi = without_reason(ours[case.id]), without_reason(ours_by_asgi[case.id])
    assert (by_asgi == by_wsgi) is (case.id not in WSGI_ALONE), f'{by_asgi} by ASGI, {by_wsgi} by WSGI'


def test_what_the_protocols_make_different_is_a_case() -> None:
    assert set(WSGI_ALONE) <= {case.id for case in BY_ASGI}


@pytest.mark.parametrize('entry', DIFFERENCES, ids=lambda entry: f'{entry.row}: {entry.cases}')
def test_each_entry_of_the_table_of_differences_is_used_and_is_one(entry: Difference, stock: dict[str, Answer]) -> None:
    named = [case for case in CASES if difference_for(case.id) is entry]
    assert named, 'no case has this id'
    # The order of names in CherryPy's messages changes from run to run, so it may agree by chance.
    if entry.row != 'mismatch-order':
        alike = [case.id for case in named if not complaints(stock[case.id], entry)]
        assert not alike, 'CherryPy answers so too'


def settings_of_tools() -> set[str]:
    """Give the settings that the built-in tools take, such as 'gzip.mime_types'."""
    from cpadapter import tools
    from cpadapter.lib.caching import MemoryCache
    from cpadapter.lib.cptools import SessionAuth

    names = {
        f'{name}.{parameter.name}'
        for name in tools.names()
        for parameter in inspect.signature(getattr(tools, name).callable).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    # What else the callable takes, these take as attributes, or look up themselves.
    names.update(f'session_auth.{name}' for name in vars(SessionAuth) if name[0] != '_')
    limits = [name for name, value in vars(MemoryCache).items() if name[0] != '_' and isinstance(value, (int, float))]
    names.update(f'caching.{name}' for name in limits)
    names.update(('caching.cache_class', 'sessions.storage_path', 'sessions.locking'))
    names.update(('xmlrpc.encoding', 'xmlrpc.allow_none'))
    return names


def test_every_setting_of_every_tool_is_tried_by_both_protocols(of_stock: Answers, of_asgi: Answers) -> None:
    tried = {setting for ident, (_, settings) in of_stock.items() if ident in of_asgi for setting in settings}
    taken = TAKEN['cherrypy']
    wanted = {key for key in settings_of_tools() if key in taken or f'{key.partition(".")[0]}.*' in taken}
    assert sorted(wanted - tried) == sorted(UNTRIED), 'each is in a case, or in UNTRIED of differences.py with a reason'


def test_every_case_is_built_by_cherrypy(stock: dict[str, Answer]) -> None:
    assert [ident for ident, answer in stock.items() if answer['status'] == 'cannot be built'] == []


def test_case_ids_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
