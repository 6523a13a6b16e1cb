"""`numcheck demo`: something to try out."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, Json, settings_of


def demo(
    data_dir: DataDir = None,
    config: Config = None,
    numbers: Annotated[int, typer.Option(min=0, help="Active numbers to make up.")] = 10_000_000,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same numbers.")] = None,
    json: Json = False,
) -> None:
    """Fill an empty data directory, or the empty database of database_url, with the bundled registry and a SYNTHETIC
    population.

    The active numbers are made up: they say nothing about any real subscriber.

    Example: numcheck demo --data-dir var --numbers 10000000
    """
    from numcheck.cli.console import print_json, progress, say
    from numcheck.offline.demo import SEED, fill_demo
    from numcheck.serving.stores import store_name

    settings = settings_of(config, data_dir=data_dir)
    with progress() as report:
        filled = fill_demo(
            settings.data_dir,
            number_count=numbers,
            seed=SEED if seed is None else seed,
            now=datetime.now(UTC),
            progress=report,
            url=settings.database,
        )
    if json:
        print_json({"data_dir": str(settings.data_dir), "synthetic": True, **filled.as_dict()})
        return
    say(
        f"{store_name(settings)} holds {filled.range_count:,} ranges of {filled.operator_count} operators "
        f"and {filled.active_count:,} SYNTHETIC active numbers of {filled.number_count:,} allotted"
    )
