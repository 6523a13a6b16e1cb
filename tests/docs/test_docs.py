"""The reference pages say what the code says."""

import inspect
import re
import runpy
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from numcheck import errors
from numcheck.cli import load_commands
from numcheck.config import RELOADED, Settings
from numcheck.door.plain_door import server_options
from tests.cli.commands import commands, groups
from tests.docs.pages import rows_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/numcheck"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


# --- errors and limits


def test_every_reason_has_its_heading():
    """docs/errors.md has each reason of errors.py as a heading, in the order of errors.py, and no other."""
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass) if "reason" in vars(one)]
    reasons = [one.reason for one in sorted(found, key=lambda one: inspect.getsourcelines(one)[1])]
    assert re.findall(r"^## (.+)$", text_of("docs/errors.md"), re.MULTILINE) == reasons


def default_of(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "one a core"
    return f"`{field.default:,}`" if isinstance(field.default, int) else f"`{field.default}`"


def test_settings_that_are_taken_anew_are_those_of_the_page():
    """docs/limits.md names the settings that SIGHUP changes, and no other."""
    (told,) = re.findall(r"^On SIGHUP .+?\n\n", text_of("docs/limits.md"), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", told)) == RELOADED


def test_every_setting_has_its_row_its_environment_variable_and_its_default():
    """docs/limits.md has each setting of Settings, and no other."""
    rows = [row[:3] for row in rows_of("docs/limits.md", 5)[1:]]
    settings = [[f"`{name}`", f"`NUMCHECK_{name.upper()}`", default_of(name)] for name in Settings.model_fields]
    assert sorted(rows) == sorted(settings)


def first_number(text: str) -> float:
    found = re.search(r"\d[\d_,.]*", text)
    assert found is not None, text
    return float(found[0].replace("_", "").replace(",", "").rstrip("."))


FIXED = [
    (row[1], row[-1].strip("`"))
    for count in (3, 4)
    for row in rows_of("docs/limits.md", count)
    if re.fullmatch(r"`[\w/]+\.(?:pyx?|pxd):\w+`", row[-1])
]


@pytest.mark.parametrize(("value", "where"), FIXED, ids=[where for _, where in FIXED])
def test_fixed_limit_is_the_one_in_the_code(value, where):
    """The code has the value of the table behind the name that the table gives."""
    file, name = where.split(":")
    assigned = re.search(rf"\b{name}\b(?:: [^=\n]+)? = (.+)", (PACKAGE / file).read_text())
    assert assigned is not None, f"{file} has no {name}"
    assert first_number(value) == first_number(assigned[1])


def test_every_option_of_the_plain_door_is_told():
    """docs/limits.md names everything that grpcio is told."""
    assert [name for name, _ in server_options(Settings()) if f"`{name}`" not in text_of("docs/limits.md")] == []


# --- what a page leads to


def anchors_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@EACH_PAGE
def test_every_relative_link_leads_somewhere(page):
    """A link to a file of the project finds the file, and a link to one of its headings the heading."""
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert "://" in link or target.exists(), link
        assert "://" in link or not anchor or anchor in anchors_of(target), link


@EACH_PAGE
def test_every_test_that_is_named_is_there(page):
    """A page that says which test shows something names a test, or a file of tests. A setting is no test."""
    sources = {path: path.read_text() for path in ROOT.glob("tests/**/*.py")}
    named = set(re.findall(r"`(test_\w+)(?:\[.*?\])?`", page.read_text())) - Settings.model_fields.keys()
    assert [name for name in named if not any(f"def {name}(" in text for text in sources.values())] == []
    files = re.findall(r"`(tests/[\w/.]+)`", page.read_text())
    assert [file for file in files if not (ROOT / file).exists()] == []


# --- commands


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """No option's name is cut for want of room."""
    monkeypatch.setenv("COLUMNS", "200")


@cache
def help_of(command: str) -> str:
    """What a command says of itself; empty if there is no such command."""
    shown = CliRunner().invoke(load_commands(), [*command.split(), "--help"], prog_name="numcheck")
    return shown.stdout if shown.exit_code == 0 else ""


def commands_in(page: Path) -> set[tuple[str, tuple[str, ...]]]:
    """Each command that a page names in code, with the options that it names."""
    found = set()
    for line in re.findall(r"`([^`\n]+)`|^    (.+)$", page.read_text(), re.MULTILINE):
        for called in re.findall(r"(?:^|[ /])numcheck ([a-z].*)", "".join(line)):
            words = called.split()
            has_two = words[0] in groups() and len(words) > 1 and not words[1].startswith("--")
            command = " ".join(words[: 2 if has_two else 1])
            found.add((command, tuple(re.findall(r"(?<!\S)(--[\w-]+)", called))))
    return found


@EACH_PAGE
def test_every_command_that_is_named_exists(page):
    """`numcheck NAME --help` answers, and has every option that the page gives it."""
    for command, options in sorted(commands_in(page)):
        shown = help_of(command)
        assert shown, command
        assert [option for option in options if option not in shown] == [], command


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(command):
    """`--help` of each command shows an example of it, and the README names it, or what it belongs to."""
    assert "Example" in help_of(command)
    assert f"numcheck {command}" in help_of(command)
    assert f"`{command.split()[0]}" in text_of("README.md").replace("`numcheck ", "`")


@pytest.mark.skipif(
    f"typer=={version('typer')} " not in text_of("requirements/dev.lock"),
    reason="another Typer than the one that writes the page is installed",
)
def test_page_of_commands_is_what_the_commands_say():
    """docs/commands.md has every command with its arguments and options, to the letter."""
    page = runpy.run_path(str(ROOT / "scripts/generate_commands_page.py"))["page"]
    assert text_of("docs/commands.md") == page(), "run: make reference"


def test_page_of_the_api_is_what_the_protos_say():
    """docs/api.md has every method, message, field and value of proto/, to the letter."""
    page = runpy.run_path(str(ROOT / "scripts/generate_api_page.py"))["page"]
    assert text_of("docs/api.md") == page(), "run: make reference"
