"""`numcheck backup` and `restore`: a verified copy of the store, made while its node runs."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, Json, settings_of

KeysDirectory = Annotated[
    Path | None, typer.Option("--keys", help="The directory of the keys, apart from the back-up.", file_okay=False)
]


def backup(
    directory: Annotated[Path, typer.Argument(help="A new directory for the back-up.", file_okay=False)],
    keys: KeysDirectory = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Copy the store as it is at one moment, while its node goes on. Keys are not in the copy: keep them apart.

    With --keys they are copied into another directory. A store in PostgreSQL is backed up by PostgreSQL's own tools.

    Example: numcheck backup /backups/2026-11-28 --keys /safe/numcheck-keys
    """
    from numcheck.cli.console import out, print_json, progress
    from numcheck.offline.backup import back_up, check_apart, copy_keys

    settings = settings_of(config, data_dir=data_dir)
    if keys is not None:
        check_apart(keys, directory)
    with progress() as report:
        made = back_up(settings, directory, datetime.now(UTC), lambda share: report("copying", share))
    copied = [] if keys is None else copy_keys(settings, keys)
    if json:
        print_json({**asdict(made), "directory": str(directory), "keys": [str(file) for file in copied]})
        return
    out.print(f"{directory}: revision {made.revision}, {made.event_count:,} events, {made.size / 1e6:,.1f} MB")
    out.print(
        f"the keys are in {keys}" if keys else "the keys are NOT in it: keep keys.json and token.key in another place"
    )


def restore(
    directory: Annotated[Path, typer.Argument(help="A back-up.", exists=True, file_okay=False)],
    keys: KeysDirectory = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make the store of a data directory that has none from a back-up, once every part of it is verified.

    Verified are its checksum, the chain of events, each set and block, and that the keys are its own: those of --keys,
    or those that the data directory has. The index is built anew when the node starts.

    Example: numcheck restore /backups/2026-11-28 --keys /safe/numcheck-keys --data-dir var
    """
    from numcheck.cli.console import out, print_json
    from numcheck.offline.backup import restore as restore_backup

    settings = settings_of(config, data_dir=data_dir)
    description, verified = restore_backup(settings, directory, keys)
    if json:
        print_json({**asdict(description), "data_dir": str(settings.data_dir), "hash": verified.hash.hex()})
        return
    out.print(
        f"{settings.data_dir}: the store of {description.taken_at}, revision {description.revision}, "
        f"{verified.event_count:,} events; all of it is what was written"
    )
    out.print("what came after that is not in it: `numcheck serve` starts a node, which says who has to push again")
