"""`numcheck bench`: what this machine does, as a report."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from numcheck.cli.options import Config, DataDir, Json, settings_of

if TYPE_CHECKING:
    from numcheck.cli.capacity import Measured

NUMBERS = 10_000_000
HEAD = """# What this machine does

Measured by `numcheck bench` at {at}, over {numbers:,} SYNTHETIC active numbers of the bundled plan.
One client in Python asked a node in a process of its own on the same machine, so that the rates of a client are lower
bounds: plan with a second of one core, where it stands.

"""


def bench(
    report: Annotated[Path, typer.Option(help="Where the report goes.", dir_okay=False)] = Path("capacity.md"),
    numbers: Annotated[int, typer.Option(min=200_000, help="Active numbers to make up and measure over.")] = NUMBERS,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long each thing is measured.")] = 2.0,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Measure this machine and write the capacity report.

    It makes up a population in a directory of its own, which it removes, or in --data-dir if that is given, which has
    to be empty; then it runs a node on free ports and asks it. Nothing else should be at work meanwhile.

    Example: numcheck bench --report capacity.md
    """
    from numcheck.cli.capacity import machine, measure
    from numcheck.cli.console import print_json, print_table, progress, say
    from numcheck.offline.demo import SEED, fill_demo
    from numcheck.output import write_whole

    settings = settings_of(config, data_dir=data_dir)
    now = datetime.now(UTC)
    with TemporaryDirectory(prefix="numcheck-bench-") as temporary, progress() as tell:
        directory = settings.data_dir if "data_dir" in settings.model_fields_set else Path(temporary)
        fill_demo(directory, number_count=numbers, seed=SEED, now=now, progress=tell)
        measured = measure(directory, seconds, tell)
    facts = machine()
    head = HEAD.format(at=f"{now:%Y-%m-%d %H:%M} UTC", numbers=numbers)
    write_whole(report, (head + _tables(facts, measured)).encode())
    if json:
        rows = [one._asdict() for one in measured]
        print_json({"machine": facts, "active_numbers": numbers, "measured": rows, "report": str(report)})
    else:
        print_table("", ["what", "#measured", "unit"], [[one.what, _written(one.value), one.unit] for one in measured])
        say(f"the report is in {report}")


def _tables(facts: dict[str, str], measured: "list[Measured]") -> str:
    lines = ["| machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    lines += ["| what | measured | unit |", "|---|---|---|"]
    lines += [f"| {one.what} | {_written(one.value)} | {one.unit} |" for one in measured]
    return "\n".join(lines) + "\n"


def _written(value: float) -> str:
    """Three digits that count, and all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
