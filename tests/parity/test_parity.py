"""Every case of the table is answered alike by CherryPy and cpadapter, or as differences.py says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .cases import CASES
from .differences import DIFFERENCES, Difference, difference_for
from .runner import Answer, Case

# The name this folder was imported under, and the folder that name begins in.
PACKAGE = __name__.rpartition('.')[0]
START = Path(__file__).resolve().parents[1 + PACKAGE.count('.')]

if importlib.util.find_spec('cherrypy') is None:
    pytest.skip('CherryPy is not installed: cpadapter[dev] brings it', allow_module_level=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # One folder for both, so that messages naming a file agree; they write the same files one after the other.
    return tmp_path_factory.mktemp('parity')


@pytest.fixture(scope='module')
def stock(folder: Path) -> dict[str, Answer]:
    return ask('cherrypy', folder, 'wsgi', CASES, '-W', 'ignore')


@pytest.fixture(scope='module')
def ours(folder: Path, stock: dict[str, Answer]) -> dict[str, Answer]:
    return ask('cpadapter', folder, 'wsgi', CASES, '-W', 'error')


@pytest.fixture(scope='module')
def ours_by_asgi(folder: Path, ours: dict[str, Answer]) -> dict[str, Answer]:
    return ask('cpadapter', folder, 'asgi', SAID_BY_BOTH, '-W', 'error')


def ask(module: str, folder: Path, protocol: str, asked: list[Case], *options: str) -> dict[str, Answer]:
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
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(answers) == len(cases), ran.stderr
    return {case.id: answer for case, answer in zip(cases, answers, strict=True)}


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


@pytest.mark.parametrize('entry', DIFFERENCES, ids=lambda entry: f'{entry.row}: {entry.cases}')
def test_each_entry_of_the_table_of_differences_is_used_and_is_one(entry: Difference, stock: dict[str, Answer]) -> None:
    named = [case for case in CASES if difference_for(case.id) is entry]
    assert named, 'no case has this id'
    # The order of names in CherryPy's messages changes from run to run, so it may agree by chance.
    if entry.row != 'mismatch-order':
        alike = [case.id for case in named if not complaints(stock[case.id], entry)]
        assert not alike, 'CherryPy answers so too'


def test_every_case_is_built_by_cherrypy(stock: dict[str, Answer]) -> None:
    assert [ident for ident, answer in stock.items() if answer['status'] == 'cannot be built'] == []


def test_case_ids_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
