"""docs/clauses.md: each clause has a test that says which clause it is about."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ((?:I{1,2}|E)\.\d[a-z]?) \|.*\|$", re.M)
CLAUSES = ("I.1", "I.2a", "I.2b", "I.3a", "I.3b", "I.4", "I.5", "I.6", "II.1", "II.2", "II.3", "E.1", "E.2", "E.4")
"""The clauses of the decree that ask for something; the page may have no other and lack none."""


def rows() -> dict[str, str]:
    page = (ROOT / "docs/clauses.md").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in ROW.finditer(page)}


def docstrings() -> Iterator[tuple[str, str]]:
    """Every test's name, with its docstring."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node.name, ast.get_docstring(node) or ""


def cites(text: str, clause: str) -> bool:
    """Whether the text has the clause by its whole name."""
    return re.search(rf"(?<![\w.]){re.escape(clause)}(?![\w])", text) is not None


def test_the_page_has_every_clause_and_no_other() -> None:
    assert tuple(rows()) == CLAUSES


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_clause_names_tests_that_are_there_and_one_of_them_cites_it(clause: str) -> None:
    """A test that is renamed, or that speaks of the clause no more, has to be replaced on the page."""
    named, known = re.findall(r"`(test_\w+)`", rows()[clause]), dict(docstrings())
    assert named
    assert [name for name in named if name not in known] == []
    assert any(cites(known[name], clause) for name in named), named


def test_a_clause_is_told_from_those_whose_names_begin_alike() -> None:
    assert cites("I.2a: one", "I.2a")
    assert cites("by I.1, II.1", "I.1")
    for text, clause in (("II.1", "I.1"), ("I.2a", "I.2"), ("I.10", "I.1"), ("", "I.1")):
        assert not cites(text, clause)
