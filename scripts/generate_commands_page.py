"""Generates docs/commands.md from the commands' own help: `make reference`.

Typer writes the page (`typer utils docs`); tests/docs/test_docs.py writes it again and compares.
"""

from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from numcheck.cli import load_commands

PAGE = Path(__file__).parent.parent / "docs/commands.md"


def page() -> str:
    """Return the page of all commands with their arguments and options."""
    command = get_command(load_commands())
    return get_docs_for_click(obj=command, ctx=typer.Context(command), name="numcheck").strip() + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
