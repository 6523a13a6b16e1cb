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
PUBLIC_KEY_SIZE = 32  # bytes, Ed25519
NOT_COMPARED = 3
"""Exit status: consistent, and compared with nothing that is trusted."""


@app.command()
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(help="What `events export` wrote.  (default: the data directory)", exists=True, dir_okay=False),
    ] = None,
    head: HeadFile = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The public key that the history has to be signed with: 64 hex digits.")
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Follow the whole chain, and name the first entry or row that is not what was written.

    With --head, also that nothing was cut off or rewritten since that head was handed out. In a data directory every
    registration and verification has to be what the events left. A file is compared with --head, with --key, or with
    the key of the data directory, if there is one.

    Exit status: 0 it is what was written, 1 it is not, 3 it is consistent and was compared with nothing: whoever wrote
    it may have made it up.

    Example: numcheck events verify --head head.json
    """
    from numcheck.cli.console import out, print_json
    from numcheck.offline.audit import Compared, lines_of, own_public_keys, read_head, verify_export, verify_store

    handed_out = None if head is None else read_head(head)
    trusted = [] if key is None else [_public_key(key)]
    settings = settings_of(config, data_dir=data_dir)
    if file is None:
        verified = verify_store(settings, handed_out, trusted)
    else:
        own = [] if trusted or handed_out else own_public_keys(settings)
        verified = verify_export(lines_of(file), handed_out, trusted or own)
    compared = verified.compared_with is not Compared.NOTHING
    if json:
        print_json(
            {
                "event_count": verified.event_count,
                "hash": verified.hash.hex(),
                "public_key": verified.public_key.hex(),
                "compared_with": verified.compared_with.name,
            }
        )
    elif not verified.event_count and file is None:
        out.print("there are no events yet")
    elif compared:
        out.print(f"{verified.event_count:,} events are what was written; the last has hash {verified.hash.hex()}")
        out.print(f"compared with {verified.compared_with.value}; signed by key {verified.public_key.hex()}")
    else:
        out.print(f"{verified.event_count:,} events are consistent; the last has hash {verified.hash.hex()}")
        out.print(
            f"signed by key {verified.public_key.hex()}, compared with nothing: whoever wrote the file may have made "
            "it up; give --head or --key"
        )
    if not compared:
        raise typer.Exit(NOT_COMPARED)


def _public_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_SIZE:
        raise typer.BadParameter(f"a public key has {2 * PUBLIC_KEY_SIZE} hexadecimal digits")
    return key


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

    from numcheck.offline.audit import export as export_events
    from numcheck.output import replacing

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
    from numcheck.offline.audit import head_fields, signed_head

    print_json(head_fields(signed_head(settings_of(config, data_dir=data_dir), datetime.now(UTC))))
