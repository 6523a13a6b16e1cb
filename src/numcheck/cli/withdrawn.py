"""`numcheck withdrawn`: what operators and numbering plans took from subscribers, day by day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, settings_of

app = typer.Typer(no_args_is_help=True, help="The record of withdrawals, which CheckRecycled answers from.")

FORM = "%Y-%m-%d"
DAY = timedelta(days=1)


@app.callback()
def _withdrawn() -> None:
    """Keep `export` a command of its own."""


@app.command()
def export(
    date: Annotated[datetime, typer.Argument(formats=[FORM], help="The day, in UTC, such as 2026-11-27.")],
    out: Annotated[Path | None, typer.Option(help="Where the file goes.  (default: standard output)")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write each number that was withdrawn, recycled or taken by a plan on a day, a line each: number,cause.

    A withdrawal is of the day when this installation learnt of it. The causes are removed, recycled and plan. The file
    has numbers of every operator: whom it is for has to have an agreement with each. It appears whole, or not at all;
    the exit status is 1 if the record does not go back to that day.

    Example: numcheck withdrawn export 2026-11-27 --out withdrawn-2026-11-27.csv
    """
    from numcheck.cli.console import say
    from numcheck.offline.withdrawn import write_withdrawn

    settings = settings_of(config, data_dir=data_dir)
    first = date.replace(tzinfo=UTC)
    count = write_withdrawn(settings, first, first + DAY, out, say)
    say(f"{count:,} numbers")
