"""The numcheck command. Exit status: 0 done, 1 refused or failed (one line says why), 2 wrong usage.

`events verify` has 3 as well: consistent, and compared with nothing that is trusted.
"""

import io
import sys

import typer

from numcheck.errors import NumcheckError
from numcheck.printable import printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Whether a mobile number is allotted, whose it is, and whether it is in service.",
)


def main() -> None:
    """Run the command line."""
    from numcheck.cli import bench, check, demo, events, identities, plan, push, registrations, serve, status

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end a command
    app.command()(serve.serve)
    app.command()(demo.demo)
    app.add_typer(plan.app, name="plan")
    app.add_typer(push.app, name="push")
    app.command()(check.check)
    app.command()(status.status)
    app.add_typer(identities.app, name="identities")
    app.add_typer(registrations.app, name="registrations")
    app.add_typer(events.app, name="events")
    app.command()(bench.bench)
    try:
        app()
    except (NumcheckError, OSError) as error:
        sys.stderr.write(f"numcheck: {printable(_in_one_line(error))}\n")
        raise SystemExit(1) from None


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)
