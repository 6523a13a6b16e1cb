"""`numcheck events`: the auditor's side."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numcheck.cli.options import Config, DataDir, Json, security_of, settings_of

if TYPE_CHECKING:
    from numcheck.client import AuditClient
    from numcheck.config import Settings

app = typer.Typer(no_args_is_help=True, help="The events of registrations: a chain that an auditor can verify.")

HeadFile = Annotated[
    Path | None,
    typer.Option("--head", help="A signed head that was handed out before.", exists=True, dir_okay=False),
]
Audited = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="A node to ask, host:port, instead of reading the data directory.  (default: the setting server, unless a "
        "data directory or database_url is named)",
    ),
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
    server: Audited = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Follow the whole chain, and name the first entry or row that is not what was written.

    With --head, also that nothing was cut off or rewritten since that head was handed out. In a data directory every
    registration and verification has to be what the events left. A file is compared with --head, with --key, or with
    the key of the data directory, if there is one. Without --head the newest one of witness_file counts, if the
    settings name that. With --server a node is asked, as an auditor: its chain is followed as a file is, and every row
    has to have the digest that the events bound; no key of the installation is needed.

    Exit status: 0 it is what was written, 1 it is not, 3 it is consistent and was compared with nothing: whoever wrote
    it may have made it up.

    Example: numcheck events verify --head head.json
    """
    from numcheck.cli.console import out, print_json, say
    from numcheck.offline.audit import (
        Compared,
        lines_of,
        own_public_keys,
        read_head,
        verify_export,
        verify_node,
        verify_store,
        witnessed,
    )

    if file is not None and server is not None:
        raise typer.BadParameter("a file is verified by itself: without --server")
    settings = settings_of(config, data_dir=data_dir)
    node = _node(settings, server) if file is None else None
    handed_out = witnessed(settings) if head is None else read_head(head)
    trusted = [] if key is None else [_public_key(key)]
    if node is not None:
        verified = verify_node(_auditor(settings, node), handed_out, trusted)
    elif file is None:
        verified = verify_store(settings, handed_out, trusted, say)
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
    elif not verified.event_count and file is None and node is None:
        out.print("there are no events yet")
    elif compared:
        out.print(f"{verified.event_count:,} events are what was written; the last has hash {verified.hash.hex()}")
        out.print(f"compared with {verified.compared_with.value}; signed by key {verified.public_key.hex()}")
    else:
        out.print(f"{verified.event_count:,} events are consistent; the last has hash {verified.hash.hex()}")
        out.print(
            f"signed by key {verified.public_key.hex()}, compared with nothing: whoever wrote them may have made them "
            "up; give --head or --key"
        )
    if not compared:
        raise typer.Exit(NOT_COMPARED)


def _node(settings: "Settings", server: str | None) -> str | None:
    """Return the node to ask, and tell which; None for the store, which a person names who has both."""
    from numcheck.cli.console import say

    has_store = settings.model_fields_set & {"data_dir", "database_url"}
    node = server or (None if has_store else settings.server)
    if node:
        say(f"this is about the node at {node}")
    return node


def _auditor(settings: "Settings", server: str) -> "AuditClient":
    from numcheck.client import AuditClient

    return AuditClient(server, security_of(settings))


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
    server: Audited = None,
    data_dir: DataDir = None,
    config: Config = None,
    _json: Json = True,
) -> None:
    """Write every event as a line of JSON, and the signed head as the last line.

    No event holds a number, an address or a user identifier. With --server a node is asked, as an auditor.

    Example: numcheck events export events.jsonl
    """
    import sys

    from numcheck.cli.console import say
    from numcheck.offline.audit import export as export_events
    from numcheck.output import replacing

    settings = settings_of(config, data_dir=data_dir)
    node = _node(settings, server)
    lines = export_events(settings, datetime.now(UTC), say) if node is None else _auditor(settings, node).lines()
    if file is None:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    else:
        with replacing(file) as written:
            written.writelines(f"{line}\n".encode() for line in lines)


@app.command()
def head(server: Audited = None, data_dir: DataDir = None, config: Config = None, _json: Json = True) -> None:
    """Print the signed head of the chain, as JSON: keep it where nobody can change it.

    With --server a node is asked, as an auditor.

    Example: numcheck events head > head.json
    """
    from numcheck.cli.console import print_json
    from numcheck.offline.audit import signed_head
    from numcheck.registrations.events import head_fields

    settings = settings_of(config, data_dir=data_dir)
    if node := _node(settings, server):
        print_json(_auditor(settings, node).head())
    else:
        print_json(head_fields(signed_head(settings, datetime.now(UTC))))


@app.command()
def evidence(
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The user, as the messenger names them.")],
    service: Annotated[str, typer.Option("--service", help="The messenger, such as chat.")],
    file: Annotated[Path | None, typer.Option("--out", help="Where the JSON goes.  (default: standard output)")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Where a page to print goes: one file of HTML.")] = None,
    number: Annotated[bool, typer.Option("--number", help="Have the telephone number in it.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
    _json: Json = True,
) -> None:
    """Write the evidence for one user as JSON, and as a page to print: what each step confirmed, by whose data.

    It has the registration's events, with the proof that they are in the chain, and the public key; whoever gets it
    verifies it by itself. Of the user it says what was asked for: their identifier, and with --number their number.

    Example: numcheck events evidence u-1007 --service chat --out u-1007.json --page u-1007.html
    """
    import json

    from numcheck.cli.console import print_json
    from numcheck.offline.evidence import evidence as evidence_of
    from numcheck.offline.evidence_page import page_of
    from numcheck.output import OWNER_ONLY, write_whole

    settings = settings_of(config, data_dir=data_dir)
    bundle = evidence_of(settings, service, user_id, datetime.now(UTC), with_number=number)
    if page is not None:
        write_whole(page, page_of(bundle).encode(), mode=OWNER_ONLY)
    if file is None:
        print_json(bundle)
    else:
        write_whole(file, json.dumps(bundle, ensure_ascii=False, indent=2).encode(), mode=OWNER_ONLY)
