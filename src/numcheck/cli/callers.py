"""`numcheck callers`: who may call, and on whose numbers."""

import json as json_module
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.cli.options import Config, DataDir, Json, Server, security_of, settings_of, target_of

if TYPE_CHECKING:
    from numcheck.client import CallerClient
    from numcheck.config import Settings

app = typer.Typer(no_args_is_help=True, help="Who may call: callers, roles, tokens, agreements.")

ADMINISTRATOR = "numcheck://administrator"
OPERATOR_ID_MAX = 2**32 - 1


def _operator_id(text: str | int) -> int:
    """Return an operator's id; BadParameter for what is none, such as a tax id."""
    if not str(text).isdecimal() or not 1 <= int(text) <= OPERATOR_ID_MAX:
        raise typer.BadParameter(f"{text!r} is no operator's id, such as 1: `numcheck status` lists them, by name")
    return int(text)


Uri = Annotated[str, typer.Argument(metavar="URI", help="Such as numcheck://operator/mts.")]
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="The service, such as chat.")]
OperatorId = Annotated[int, typer.Argument(metavar="OPERATOR_ID", parser=_operator_id)]
Authority = Annotated[
    Path | None, typer.Option("--authority", help="A directory of `callers init`: issue a certificate from it.")
]


@app.command("init")
def init(
    directory: Annotated[Path, typer.Argument(help="An empty directory for the certificates.")] = Path("callers"),
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A host name or address of the node.  (default: localhost)")
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make a small test authority, a certificate for the node, and one for an administrator whom the node knows.

    The directory gets a numcheck.toml that turns TLS on: for the node and for the commands.

    Example: numcheck callers init callers; numcheck serve --config callers/numcheck.toml
    """
    from numcheck.cli.console import say
    from numcheck.offline.authority import SERVER_NAMES, issue_client, issue_server, make_authority
    from numcheck.v1 import caller_pb2

    now = datetime.now(UTC)
    settings = settings_of(config, data_dir=data_dir)
    make_authority(directory, now=now)
    issue_server(directory, name or SERVER_NAMES, now=now)
    issue_client(directory, "administrator", ADMINISTRATOR, now=now)
    with _callers(settings, None, make=True) as callers:
        known = {one.uri for one in callers.list().callers if not one.HasField("revoked_at")}
        if ADMINISTRATOR not in known:
            callers.add(caller_pb2.Caller(uri=ADMINISTRATOR, role=caller_pb2.ROLE_ADMINISTRATOR))
    _write_private(directory / "numcheck.toml", _toml(settings, directory.resolve()))
    say(f"certificates are in {directory}; the node knows {ADMINISTRATOR}")
    say(f"next: numcheck serve --config {directory / 'numcheck.toml'}")


def _toml(settings: "Settings", directory: Path) -> str:
    """Return the settings of this run, with TLS."""
    files = {
        "tls_certificate_file": "server.pem",
        "tls_key_file": "server.key",
        "tls_client_authority_file": "authority.pem",
        "server_authority_file": "authority.pem",
        "client_certificate_file": "administrator.pem",
        "client_key_file": "administrator.key",
    }
    given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set - {"tls_clients"})}
    given |= {"data_dir": settings.data_dir} | {name: directory / file for name, file in files.items()}
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in given.items() if value is not None)


def _toml_value(value: object) -> str:
    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        value = str(value.resolve())
    # A basic string of TOML escapes as JSON does, but for DEL, which JSON leaves as it is.
    return json_module.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: it may hold the database's password."""
    from numcheck.output import OWNER_ONLY, write_whole

    write_whole(path, text.encode(), mode=OWNER_ONLY)


@app.command("add")
def add(
    uri: Uri,
    role: Annotated[str, typer.Option(help="messenger, operator, clearing-house, auditor, administrator or follower.")],
    operator_id: Annotated[
        int | None,
        typer.Option(help="The operator that it acts for, by its id.", metavar="INTEGER", parser=_operator_id),
    ] = None,
    service: Annotated[str | None, typer.Option(help="The service that it acts for.")] = None,
    authority: Authority = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Add a caller; with --authority issue its certificate, for trying out.

    Example: numcheck callers add numcheck://operator/mts --role operator --operator-id 1 --authority callers
    """
    from numcheck.cli.console import say
    from numcheck.offline.authority import issue_client
    from numcheck.v1 import caller_pb2

    name_of_role = _role_name(role)
    with _callers(settings_of(config, data_dir=data_dir), server) as callers:
        callers.add(caller_pb2.Caller(uri=uri, role=name_of_role, operator_id=operator_id, service=service))
    say(f"{uri} may call as {role}")
    if authority is not None:
        name = uri.partition("://")[2].replace("/", "-")
        issue_client(authority, name, uri, now=datetime.now(UTC))
        say(f"its certificate is {authority / name}.pem, the key beside it")


def _role_name(role: str) -> str:
    from numcheck.v1 import caller_pb2

    name = f"ROLE_{role.upper().replace('-', '_')}"
    if name not in [one for one, number in caller_pb2.Role.items() if number]:
        raise typer.BadParameter("a role is messenger, operator, clearing-house, auditor, administrator or follower")
    return name


@app.command("list")
def list_(server: Server = None, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """List every caller that ever was, and the agreements.

    Example: numcheck callers list
    """
    from numcheck.cli.console import out, print_json, print_table

    with _callers(settings_of(config, data_dir=data_dir), server, read=True) as callers:
        found = callers.list()
    rows = [_row(one) for one in found.callers]
    agreements = [
        {"service": one.service, "operator_id": one.operator_id, "identifications": one.identifications}
        for one in found.agreements
    ]
    if json:
        print_json({"callers": rows, "agreements": agreements})
        return
    columns = ["URI", "role", "for", "token", "revoked"]
    print_table(
        "",
        columns,
        [[str(one[column] or "") for column in ("uri", "role", "for", "token", "revoked_at")] for one in rows],
    )
    for one in agreements:
        told = ", which is told whom it identifies" if one["identifications"] else ""
        out.print(f"agreement: {one['service']} with operator {one['operator_id']}{told}")


def _row(one: Any) -> dict[str, Any]:
    from numcheck.v1 import caller_pb2

    role = caller_pb2.Role.Name(one.role).removeprefix("ROLE_").lower().replace("_", "-")
    return {
        "uri": one.uri,
        "role": role,
        "for": one.service or (one.operator_id or None),
        "token": one.has_token or None,
        "added_at": one.added_at.ToJsonString(),
        "revoked_at": one.revoked_at.ToJsonString() if one.HasField("revoked_at") else None,
    }


@app.command("revoke")
def revoke(uri: Uri, server: Server = None, data_dir: DataDir = None, config: Config = None) -> None:
    """Let a caller call nothing any more, within a minute on open connections as well. It cannot be undone.

    Example: numcheck callers revoke numcheck://operator/mts
    """
    from numcheck.cli.console import say

    with _callers(settings_of(config, data_dir=data_dir), server) as callers:
        callers.revoke(uri)
    say(f"{uri} may call nothing any more")


@app.command("token")
def token(uri: Uri, server: Server = None, data_dir: DataDir = None, config: Config = None) -> None:
    """Give a caller a new bearer token; standard output has it, this once. The one before is void.

    Example: numcheck callers token numcheck://service/chat > chat.token
    """
    from numcheck.cli.console import out

    with _callers(settings_of(config, data_dir=data_dir), server) as callers:
        out.print(callers.issue_token(uri))


@app.command("agree")
def agree(
    service: Service,
    operator_id: OperatorId,
    identifications: Annotated[
        bool,
        typer.Option("--identifications", help="Tell the operator whom the service identified on its numbers."),
    ] = False,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Record that a service and an operator have a contract: the service sees the operator's data.

    With --identifications the operator may follow which of its numbers the service identified users on, under codes
    that say nothing of them. Without it that is told to nobody, also if it was before.

    Example: numcheck callers agree chat 1
    """
    from numcheck.cli.console import say

    with _callers(settings_of(config, data_dir=data_dir), server) as callers:
        callers.agree(service, operator_id, identifications=identifications)
        services = {one.service for one in callers.list().callers if not one.HasField("revoked_at")}
    told = ", which is told whom it identifies" if identifications else ""
    say(f"{service} has an agreement with operator {operator_id}{told}")
    if service not in services:
        say(f"note: no caller acts for {service}; `numcheck callers list` has those that there are")


@app.command("end-agreement")
def end_agreement(
    service: Service, operator_id: OperatorId, server: Server = None, data_dir: DataDir = None, config: Config = None
) -> None:
    """Record that a service and an operator have no contract any more.

    Example: numcheck callers end-agreement chat 1
    """
    from numcheck.cli.console import say

    with _callers(settings_of(config, data_dir=data_dir), server) as callers:
        callers.end_agreement(service, operator_id)
    say(f"{service} has no agreement with operator {operator_id}")


@app.command("confirm-restore")
def confirm_restore(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Confirm the callers of a store that was restored from a copy: until then they are refused, as a thief's would be.

    On the node's machine, whether the node runs or not: it takes them within 5 seconds, or when it is started.

    Example: numcheck callers confirm-restore
    """
    from numcheck.cli.console import say
    from numcheck.offline.callers import stored_callers

    with stored_callers(settings_of(config, data_dir=data_dir)) as callers:
        found = callers.all()
        if found.refused:
            say(found.refused)
            for one in found.callers:
                say(f"{one.caller.uri}: {'revoked' if one.revoked_at else f'may call as {one.caller.role}'}")
            for service, operator_id in found.agreements:
                say(f"{service} has an agreement with operator {operator_id}")
            for name in found.damaged:
                say(f"{name}: not as it was written, and counts for nothing")
            if not yes:
                typer.confirm("Are these the callers?", abort=True)
        callers.confirm(found)
    say("the callers are confirmed: a node that runs takes them within 5 seconds")


@contextmanager
def _callers(
    settings: "Settings", server: str | None, *, make: bool = False, read: bool = False
) -> "Iterator[CallerClient]":
    """Yield the callers of the node that is named, by --server or by the settings, or that has the data directory;
    where no node answers, those of the store, which is made only if `make` says so, and not written to `read`. It says
    which it is."""
    from numcheck.cli.console import say
    from numcheck.client import CallerClient
    from numcheck.errors import DataDirInUse, StoreMissing
    from numcheck.offline.callers import local_callers, readable_callers
    from numcheck.serving.stores import answers, asks_node, has_node, store_name
    from numcheck.serving.whereabouts import node_address

    with ExitStack() as stack:
        if not (asks_node(settings, server) or (read and has_node(settings))):
            local = readable_callers(settings) if read else local_callers(settings, say, make=make)
            try:
                service = stack.enter_context(local)
            except DataDirInUse:
                pass  # by a node, which is asked
            except StoreMissing as missing:
                if not answers(address := node_address(settings)):
                    raise StoreMissing(f"{missing}, and no node answers at {address}; --server names one") from None
            else:
                say(f"no node is asked: this is about {store_name(settings)}")
                yield CallerClient.of_methods(service.methods())
                return
        target = target_of(settings, server)
        say(f"this is about the node at {target}")
        yield CallerClient(target, security_of(settings))
