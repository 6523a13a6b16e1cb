"""The numcheck command. Exit status: 0 done, 1 refused or failed (one line says why), 2 wrong usage.

Two have 3 as well: `events verify`, consistent, and compared with nothing that is trusted; `status`, told, and no node
serves.
"""

import io
import os
import resource
import sys
from functools import cache
from typing import Annotated

import typer

from numcheck.errors import NumcheckError
from numcheck.printable import printable

ADDRESS_SPACE_MIN = 268_435_456  # bytes; every command needs about half of it to be imported

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"numcheck {version('numcheck')}\n")
        raise typer.Exit


@app.callback()
def _numcheck(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Mobile numbers: are they allotted, whose are they, and are they in service?"""


def main() -> None:
    """Run the command line."""
    _fill_closed_streams()
    # gRPC's core writes to standard error by itself, also when a command succeeds; it reads this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        _check_address_space()
        load_commands()
        app()
    except (NumcheckError, OSError, MemoryError, ImportError, RuntimeError, SystemError) as error:
        line = _in_one_line(error)
        if line is None:
            raise
        sys.stderr.write(f"numcheck: {printable(line)}\n")
        raise SystemExit(1) from None


def _check_address_space() -> None:
    """Raise MemoryError below ADDRESS_SPACE_MIN: amid an import the lack of memory shows as any error whatsoever."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < ADDRESS_SPACE_MIN:
        raise MemoryError


def _fill_closed_streams() -> None:
    """Let standard streams that are closed swallow what is written: a file would get their descriptors, and all that.

    Standard input stays None, so that whoever reads it is told.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for the whole run


@cache
def load_commands() -> typer.Typer:
    """Return the command line with all its commands, which are loaded only now."""
    from numcheck.cli import (
        backup,
        bench,
        callers,
        check,
        config,
        demo,
        events,
        follow,
        plan,
        push,
        registrations,
        serve,
        status,
        withdrawn,
    )

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end a command
    app.command()(serve.serve)
    app.command()(follow.follow)
    app.command()(demo.demo)
    app.add_typer(plan.app, name="plan")
    app.add_typer(push.app, name="push")
    app.command()(check.check)
    app.command()(status.status)
    app.command()(status.ready)
    app.add_typer(withdrawn.app, name="withdrawn")
    app.add_typer(callers.app, name="callers")
    app.add_typer(registrations.app, name="registrations")
    app.add_typer(events.app, name="events")
    app.add_typer(config.app, name="config")
    app.command()(backup.backup)
    app.command()(backup.restore)
    app.add_typer(bench.app, name="bench")
    return app


def _in_one_line(error: Exception) -> str | None:
    """Return what went wrong; None if it is a bug, of which the place is wanted."""
    if isinstance(error, NumcheckError):
        return str(error)
    if isinstance(error, MemoryError) or any(word in str(error) for word in LACK_OF_MEMORY):
        return "not enough memory, or too low a limit for it or for threads (ulimit -v, ulimit -u)"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else None


# In the words of the interpreter, the dynamic linker and the operating system.
LACK_OF_MEMORY = (
    "can't start new thread",
    "failed to map segment",
    "Cannot allocate memory",
    "cannot allocate memory",
    "without setting an exception",  # SystemError: there was no memory for the MemoryError
)
