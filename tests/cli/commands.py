"""Every command of Typer's tree: what is said of all of them is held for each."""

from functools import cache
from typing import Any

from typer.main import get_command

from numcheck.cli import load_commands


@cache
def commands() -> tuple[str, ...]:
    """Every command, as it is typed after `numcheck`."""
    found: list[str] = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        for name, one in getattr(command, "commands", {}).items():
            walk(one, (*path, name))
        if path and (not hasattr(command, "commands") or command.invoke_without_command):
            found.append(" ".join(path))

    walk(get_command(load_commands()), ())
    return tuple(sorted(found))


@cache
def groups() -> frozenset[str]:
    """The words that stand before several commands."""
    return frozenset(command.split()[0] for command in commands() if " " in command)
