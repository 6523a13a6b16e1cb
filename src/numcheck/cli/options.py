"""The options that commands share, and the settings that they make."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.config import Settings, load_settings
from numcheck.moments import read_moment

if TYPE_CHECKING:
    from numcheck.client import PushClient, Security

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="NUMCHECK_DATA_DIR", help="Where the store and the index are.  (default: var)"),
]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.", exists=True, dir_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Server = Annotated[
    str | None,
    typer.Option("--server", help="The node to ask, host:port.  (default: the setting server, or the directory's)"),
]
OperatorOption = Annotated[str, typer.Option("--operator", help="The operator: its id or its tax id (INN).")]

Column = Annotated[
    str | None,
    typer.Option("--column", help="The column of the numbers: its name in the header, or its place; the first is 1."),
]


def moment(text: str) -> datetime:
    """Return a moment of ISO 8601 in UTC, converted by its offset; one that has none is in UTC already."""
    try:
        return read_moment(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no moment such as 2026-11-21T03:00:00+03:00") from None


def settings_of(config: Path | None, **overrides: Any) -> Settings:
    """Return the settings of this run: the command line over the environment over the file over the defaults.

    From here on a command may log, and does so as a node does.
    """
    from numcheck.serving.logs import begin_log, take_over

    settings = load_settings(config, **overrides)
    begin_log(settings.log_level, settings.log_format)
    take_over()
    return settings


def target_of(settings: Settings, server: str | None) -> str:
    """Return the node to ask, host:port: the one named, or else the one of these settings; OtherInstallation if what
    answers there is not of the store that they name."""
    from numcheck.serving.whereabouts import node_address

    if named := server or settings.server:
        return named
    target = node_address(settings)
    _check_own(settings, target)
    return target


def _check_own(settings: Settings, target: str) -> None:
    """Raise OtherInstallation if a node of another store answers; where node or store says nothing, it is taken for
    good."""
    from numcheck.client import CheckClient
    from numcheck.errors import CheckRefused, NodeNotReady, NodeUnreachable, OtherInstallation

    with CheckClient(target, security_of(settings)) as client, suppress(CheckRefused, NodeUnreachable, NodeNotReady):
        found = client.installation_id()
        if _own_installation_id(settings) not in (None, found):
            raise OtherInstallation(
                f"the node at {target} is of another installation than {settings.data_dir.resolve()}; "
                "start that one's node, or name the node that is meant with --server"
            )


def _own_installation_id(settings: Settings) -> str | None:
    """Return which installation the data directory is of: as its index says, which is quick to ask, or else its store;
    None if neither is there to say."""
    from numcheck.index.format import try_installation_id

    found = try_installation_id(settings.data_dir)
    if found is None and settings.data_dir.exists():
        from numcheck.serving.stores import try_stored_installation_id

        found = try_stored_installation_id(settings)
    return found


def security_of(settings: Settings) -> "Security":
    """Return how this run's commands reach a node: in plaintext unless the settings say otherwise."""
    from numcheck.client import Security

    files = settings.server_authority_file, settings.client_certificate_file, settings.client_key_file
    authority, certificate, key = (None if file is None else file.read_bytes() for file in files)
    token = None if settings.token is None else settings.token.get_secret_value()
    return Security(authority, certificate, key, token, settings.use_proxy, settings.data_dir)


def operator_id_of(client: "PushClient", text: str) -> int:
    """Return the id of the operator that a person names; UnknownOperator if the node knows none of that name."""
    from numcheck.errors import UnknownOperator

    operators = client.list_operators()
    for operator in operators:
        if text in (str(operator.operator_id), operator.tax_id):
            return operator.operator_id
    raise UnknownOperator(
        f"no operator of this installation has the id or the tax id {text}; `numcheck status` lists them"
    )
