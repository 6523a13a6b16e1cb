"""The reference pages say what the code says."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from numcheck import errors
from numcheck.active import ActiveSet
from numcheck.config import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def test_every_reason_has_its_heading():
    """docs/errors.md has each reason of errors.py as a heading, and no other."""
    reasons = {one.reason for _, one in inspect.getmembers(errors, inspect.isclass) if "reason" in vars(one)}
    assert set(re.findall(r"^#{2,3} ([A-Z][A-Z_]+)$", text_of("docs/errors.md"), re.MULTILINE)) == reasons


def test_every_setting_has_its_row_and_its_default():
    """docs/limits.md has each setting of Settings, with the default that the code has."""
    settings_part = text_of("docs/limits.md").split("## Fixed")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", settings_part, re.MULTILINE))
    fields = Settings.model_fields.items()
    expected = {name: f"`{field.default}`" if field.default_factory is None else "one a core" for name, field in fields}
    assert rows == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    """A link to a file of the project finds the file."""
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_digest_that_operators_are_told_is_the_digest():
    """The program of docs/format.md computes ActiveSet.digest() on its own."""
    program: dict = {}
    exec(text_of("docs/format.md").split("```python\n")[1].split("```")[0], program)
    numbers = [79_000_000_000, 79_000_000_007, 79_161_234_567, 79_999_999_999]
    assert program["digest_of"](numbers) == ActiveSet.from_numbers(numbers).digest().hex()


@pytest.mark.parametrize("command", ["serve", "demo", "plan import", "plan show", "plan diff", "check", "status"])
def test_every_command_of_the_readme_has_help_with_an_example(command):
    """`--help` of each command that the README names shows an example of it."""
    assert f"numcheck {command}" in text_of("README.md") or f"`{command}" in text_of("README.md").replace(
        "numcheck ", ""
    )
    run = [sys.executable, "-m", "numcheck", *command.split(), "--help"]
    shown = subprocess.run(run, capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": ""}).stdout
    assert "Example" in shown
    assert f"numcheck {command}" in shown
