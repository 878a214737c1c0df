"""docs/differences.md and the table of differences name the same rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .differences import DIFFERENCES, ELSEWHERE

TOP = Path(__file__).resolve().parents[2]
ROW = re.compile(r'^\| `(?P<key>[a-z0-9-]+)` \| (?P<does>[^|]+) \| (?P<restores>[^|]+) \|$', re.MULTILINE)


@pytest.fixture(scope='module')
def rows() -> list[re.Match[str]]:
    return list(ROW.finditer((TOP / 'docs' / 'differences.md').read_text(encoding='utf-8')))


def test_every_row_is_shown_by_a_case_or_by_a_named_test(rows: list[re.Match[str]]) -> None:
    shown = {entry.row for entry in DIFFERENCES} | set(ELSEWHERE)
    assert {row['key'] for row in rows} == shown


def test_every_line_of_the_table_is_a_whole_row(rows: list[re.Match[str]]) -> None:
    text = (TOP / 'docs' / 'differences.md').read_text(encoding='utf-8')
    lines = [line for line in text.splitlines() if line.startswith('| `')]
    assert len(lines) == len(rows)


def test_keys_are_unique(rows: list[re.Match[str]]) -> None:
    keys = [row['key'] for row in rows]
    assert len(keys) == len(set(keys))


def test_a_row_shown_elsewhere_names_a_test_that_exists() -> None:
    for row, test in ELSEWHERE.items():
        path, _, name = test.partition('::')
        assert f'def {name}(' in (TOP / path).read_text(encoding='utf-8'), row
