"""`numcheck events`: the auditor's side."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, Json, settings_of

app = typer.Typer(no_args_is_help=True, help="The events of registrations: a chain that an auditor can verify.")

HeadFile = Annotated[
    Path | None,
    typer.Option("--head", help="A signed head that was handed out before.", exists=True, dir_okay=False),
]


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="What `events export` wrote.  (default: the data directory)", exists=True)
    ] = None,
    head: HeadFile = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Follow the whole chain, and name the first entry that is not what was written.

    With --head, also that nothing was cut off or rewritten since that head was handed out. A data directory's
    registrations have to stand where their events left them.

    Example: numcheck events verify --head head.json
    """
    from numcheck.cli.console import out, print_json
    from numcheck.serving.audit import read_head, verify_export, verify_store

    handed_out = None if head is None else read_head(head)
    if file is None:
        verified = verify_store(settings_of(config, data_dir=data_dir), handed_out)
    else:
        with file.open(encoding="utf-8") as lines:
            verified = verify_export(lines, handed_out)
    if json:
        print_json({"event_count": verified.event_count, "hash": verified.hash.hex()})
    else:
        out.print(f"{verified.event_count:,} events are what was written; the last has hash {verified.hash.hex()}")


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="Where it goes.  (default: standard output)")] = None,
    data_dir: DataDir = None,
    config: Config = None,
    _json: Json = True,
) -> None:
    """Write every event as a line of JSON, and the signed head as the last line.

    No event holds a number, an address or a user identifier.

    Example: numcheck events export events.jsonl
    """
    import sys

    from numcheck.output import replacing
    from numcheck.serving.audit import export as export_events

    lines = export_events(settings_of(config, data_dir=data_dir), datetime.now(UTC))
    if file is None:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    else:
        with replacing(file) as written:
            written.writelines(f"{line}\n".encode() for line in lines)


@app.command()
def head(data_dir: DataDir = None, config: Config = None, _json: Json = True) -> None:
    """Print the signed head of the chain, as JSON: keep it where nobody can change it.

    Example: numcheck events head > head.json
    """
    from numcheck.cli.console import print_json
    from numcheck.serving.audit import head_fields, signed_head

    print_json(head_fields(signed_head(settings_of(config, data_dir=data_dir), datetime.now(UTC))))
