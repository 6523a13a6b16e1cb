"""`numcheck registrations`: the messenger's side, and the keys of what is kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.cli.options import (
    Config,
    DataDir,
    Json,
    OperatorOption,
    Server,
    moment,
    operator_id_of,
    security_of,
    settings_of,
    target_of,
)

if TYPE_CHECKING:
    from numcheck.client import RegistrationClient
    from numcheck.v1 import registration_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="The registrations of a service.")

Service = Annotated[str, typer.Option("--service", help="The service whose registrations they are.")]
Resume = Annotated[str, typer.Option("--resume", help="Where to go on: the token that was printed last.")]


@contextmanager
def _client(service: str, server: str | None, settings: Any) -> "Iterator[RegistrationClient]":
    from numcheck.client import RegistrationClient

    with RegistrationClient(target_of(settings, server), service, security_of(settings)) as client:
        yield client


@app.command("list")
def list_registrations(
    service: Service,
    state: Annotated[
        list[str] | None, typer.Option(help="Only in this state: PENDING, VERIFIED, ... Repeatable.")
    ] = None,
    number: Annotated[str, typer.Option(help="Only of this number.")] = "",
    registered_after: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="MOMENT", help="Only what was registered after it, ISO 8601, else in UTC."),
    ] = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List a service's registrations, in the order in which they were made.

    --json prints every field of each, a line a registration; the table has the most asked for.

    Example: numcheck registrations list --service messenger --state VERIFIED
    """
    states = [one.upper() for one in state or ()]
    known = {"PENDING", "VERIFIED", "REJECTED", "OVERDUE", "REVOKED"}
    if unknown := set(states) - known:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is none of {', '.join(sorted(known))}")
    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        _print_all(partial(client.list, states=states, number=number, registered_after=registered_after), json=json)


@app.command()
def due(
    service: Service,
    days: Annotated[int, typer.Option(min=0, help="Due within so many days.")] = 30,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List who has to refresh their information soon, or should have: the soonest first.

    Example: numcheck registrations due --service messenger --days 30
    """
    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        _print_all(partial(client.list, due_before=datetime.now(UTC) + timedelta(days=days)), json=json)


@app.command()
def get(
    service: Service,
    user_id: Annotated[str, typer.Argument(help="The service's identifier of the user.")],
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Print a user's registration, every field of it.

    Example: numcheck registrations get --service messenger u-1007
    """
    from numcheck.cli.console import print_json, print_rows
    from numcheck.cli.messages import message_fields

    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        fields = message_fields(client.get(user_id))
    if json:
        print_json(fields)
    else:
        print_rows(["field", "value"], _field_rows(fields))


@app.command()
def delete(
    service: Service,
    user_id: Annotated[str, typer.Argument(help="The service's identifier of the user.")],
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Erase a user's registration: number, address and data are gone, the events stay.

    Example: numcheck registrations delete --service messenger u-1007
    """
    from numcheck.cli.console import say

    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        client.delete(user_id)
    say("erased")


@app.command()
def summary(
    service: Service,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Count a service's registrations by state, and those that are due within 30 days.

    Example: numcheck registrations summary --service messenger
    """
    from numcheck.cli.console import out, print_json
    from numcheck.cli.messages import message_fields

    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        fields = message_fields(client.summary())
    counts = {one["state"].lower(): one["registration_count"] for one in fields["states"]}
    counts["due_soon"] = fields["due_soon_count"]
    if json:
        print_json(counts)
    else:
        out.print(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))


@app.command("import")
def import_users(
    service: Service,
    file: Annotated[
        Path,
        typer.Argument(help="CSV with a header, or JSON lines, maybe compressed by gzip or xz; - is standard input."),
    ],
    import_id: Annotated[
        str | None, typer.Option("--import-id", help="The import's name.  (default: made of the file's content)")
    ] = None,
    send_codes: Annotated[
        bool, typer.Option("--send-codes", help="Send codes to those who are not verified by it.")
    ] = False,
    refused: Annotated[
        Path | None, typer.Option("--refused", help="Where the rows that are refused are listed, as CSV.")
    ] = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Bring in users whom the service has already, a row each.

    Columns of CSV, and fields of JSON: user_id, number, network_address.address and .port, registration_data and
    identifier (JSON, or a column each such as registration_data.name), registered_at, refreshed_at and
    possession_proved_at (ISO 8601). Run again, it goes on where it was broken off. Rows that are refused are told by
    their lines, the others go in; the exit status is 1 then.

    Example: numcheck registrations import --service messenger users.csv.gz --refused refused.csv
    """
    from numcheck.cli.console import out, print_json, progress, say
    from numcheck.cli.importing import counts_of, import_file

    with _client(service, server, settings_of(config, data_dir=data_dir)) as client, progress() as report:
        last, found = import_file(client, file, import_id, report, send_codes=send_codes, refused_to=refused, tell=say)
    counts = counts_of(last, found)
    if refused is None:
        for line, reason, field in found.examples:
            say(f"line {line}: {reason} {field}".rstrip())
        if counts["refused"] > len(found.examples):
            say(f"and {counts['refused'] - len(found.examples):,} more; --refused FILE lists all")
    if json:
        print_json(counts)
    else:
        out.print(f"{counts['rows']:,} rows: " + ", ".join(f"{counts[name]:,} {name}" for name in list(counts)[1:]))
    if counts["refused"]:
        raise typer.Exit(1)


@app.command()
def export(
    service: Service,
    file: Annotated[Path, typer.Argument(help="Where to; - is standard output. A name in .gz is compressed.")] = Path(
        "-"
    ),
    csv: Annotated[
        bool, typer.Option("--csv", help="As CSV and not as JSON lines; a name in .csv says the same.")
    ] = False,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write every registration of a service, with all of its fields: what `import` reads.

    Example: numcheck registrations export --service messenger users.csv.gz
    """
    from numcheck.cli.console import say
    from numcheck.cli.exporting import export_to, is_csv

    damaged: list[str] = []
    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        count = export_to(file, client.list(on_damaged=damaged.append), csv=csv or is_csv(file))
    say(f"{count:,} registrations")
    _end_if_damaged(damaged)


@app.command()
def reverify(
    service: Service,
    days: Annotated[int | None, typer.Option(min=0, help="Only those due within so many days.")] = None,
    resume: Resume = "",
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Ask the operators' data again about every VERIFIED registration; what it does not hold any more is revoked.

    If it is broken off it prints the token to go on with.

    Example: numcheck registrations reverify --service messenger
    """
    from numcheck.cli.console import out, print_json, progress, say

    due_before = None if days is None else datetime.now(UTC) + timedelta(days=days)
    last: Any = None
    with _client(service, server, settings_of(config, data_dir=data_dir)) as client, progress() as report:
        try:
            for last in client.reverify(due_before=due_before, resume_token=resume):
                report("verifying again", last.checked_count / (last.total_count or 1))
        except BaseException:
            if last is not None:
                say(f"go on with --resume {last.resume_token}")
            raise
    counts = {name: getattr(last, f"{name}_count") for name in ("checked", "confirmed", "revoked", "unanswered")}
    if json:
        print_json(counts)
    else:
        out.print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


@app.command()
def watch(
    service: Service,
    resume: Resume = "",
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Print what happens to a service's registrations, a line an event, until Ctrl-C.

    A withdrawal's line tells the cause. Each line ends with the token to go on with; --resume 0 begins with the first
    event.

    Example: numcheck registrations watch --service messenger
    """
    import json as formats

    from numcheck.cli.console import out, say
    from numcheck.cli.messages import message_fields

    printed = 0
    with _client(service, server, settings_of(config, data_dir=data_dir)) as client:
        for message in client.watch(resume):
            if not message.HasField("event"):
                say(f"{service} has had {message.head.sequence:,} events; those that come are printed, until Ctrl-C")
                continue
            fields = {**message_fields(message.event), "resume_token": message.resume_token}
            out.print(formats.dumps(fields, ensure_ascii=False) if json else _event_line(fields))
            printed += 1
            if printed == count:
                return


@app.command()
def identifications(
    operator: OperatorOption,
    resume: Resume = "",
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Print which users services identified on an operator's numbers, and when that ended, a line each, until Ctrl-C.

    For operators: only of services whose agreement says so (callers agree --identifications). It begins with the first
    that there is; each line ends with the token to go on with.

    Example: numcheck registrations identifications --operator 1
    """
    import json as formats

    from numcheck.cli.console import out
    from numcheck.client import PushClient

    settings = settings_of(config, data_dir=data_dir)
    with PushClient(target_of(settings, server), security_of(settings)) as client:
        identified = client.watch_identifications(operator_id_of(client, operator), resume)
        for printed, message in enumerate(identified, start=1):
            fields = _identification_fields(message)
            out.print(formats.dumps(fields, ensure_ascii=False) if json else "  ".join(map(str, fields.values())))
            if printed == count:
                return


def _identification_fields(message: Any) -> dict[str, Any]:
    told = message.identification
    return {
        "event_time": told.event_time.ToDatetime(tzinfo=UTC).isoformat(),
        "number": told.number,
        "service": told.service,
        "user_code": told.user_code,
        "ended": told.ended,
        "resume_token": message.resume_token,
    }


@app.command("rotate-keys")
def rotate_keys(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Forget the old keys, a day after a rotation or later.")
    ] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make a new key and encrypt every registration anew under it. The node has to be stopped.

    The old keys stay in the file for a day at least, as the limits of codes need them; then run it with --drop-old.
    Keep a copy of the file after each.

    Example: numcheck registrations rotate-keys --data-dir var
    """
    from numcheck.cli.console import say
    from numcheck.offline.rotation import drop_old_keys, rotate

    settings, now = settings_of(config, data_dir=data_dir), datetime.now(UTC)
    if drop_old:
        say(f"{drop_old_keys(settings, now)} old keys are forgotten; keep a copy of the file of keys")
        return
    rotated = rotate(settings, now)
    say(f"{rotated.registration_count:,} registrations lie under key {rotated.key_id} now")
    say("keep a copy of the file of keys; run it with --drop-old in a day or later")


def _print_all(registrations: "Callable[..., Iterator[pb.Registration]]", *, json: bool) -> None:
    """Print the registrations as they come; name those that the node left out, and end with status 1 then."""
    from numcheck.cli.console import print_json_line, print_rows
    from numcheck.cli.messages import message_fields

    damaged: list[str] = []
    found = map(message_fields, registrations(on_damaged=damaged.append))
    if json:
        for fields in found:
            print_json_line(fields)
    else:
        print_rows(COLUMNS, map(_row, found))
    _end_if_damaged(damaged)


def _field_rows(fields: dict[str, Any]) -> Iterator[list[str]]:
    """Yield each field's name and value; of a list each entry, with what is set in it."""
    for name, value in fields.items():
        if isinstance(value, list):
            yield from ([name, ", ".join(f"{key} {entry[key]}" for key in entry if entry[key])] for entry in value)
        else:
            yield [name, _in_a_line(value)]


def _in_a_line(value: Any) -> str:
    import json as formats

    return value if isinstance(value, str) else "" if value is None else formats.dumps(value, ensure_ascii=False)


def _end_if_damaged(damaged: list[str]) -> None:
    from numcheck.cli.console import say

    for registration_id in damaged:
        say(f"left out: registration {registration_id}, as what is stored of it is not what was written")
    if damaged:
        raise typer.Exit(1)


COLUMNS = ["user", "number", "state", "registered", "refreshed", "due", "verified by", "at"]


def _row(fields: dict[str, Any]) -> list[str]:
    """Return the cells of COLUMNS; moments are in UTC, to the second."""
    evidence = fields["evidence"]
    verified_at = max((one["verified_at"] for one in evidence), default=None)
    moments = fields["registered_at"], fields["refreshed_at"], fields["due_at"], verified_at
    registered, refreshed, due_at, verified = (_to_the_second(one) if one else "" for one in moments)
    number, method = f"+{fields['number']}", "+".join(one["method"].lower() for one in evidence)
    return [fields["user_id"], number, fields["state"], registered, refreshed, due_at, method, verified]


def _to_the_second(moment: str) -> str:
    """Return a moment in UTC such as 2026-11-28T04:30:00Z."""
    return f"{moment[:19]}Z"


def _event_line(fields: dict[str, Any]) -> str:
    kind = f"{fields['kind']} ({fields['cause']})" if fields["cause"] else fields["kind"]
    moment = datetime.fromisoformat(fields["event_time"]).isoformat(timespec="milliseconds")
    return "  ".join((moment, kind, fields["user_id"], fields["state"], fields["resume_token"]))


@app.command()
def webhooks(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Show each webhook: how far it has come, what waits, what is wrong, and which events were passed over.

    An event is passed over if its receiver refused it five times. WatchRegistrations still has it: resume at the
    position before it.

    Example: numcheck registrations webhooks
    """
    from numcheck.cli.console import out, print_json, print_table
    from numcheck.offline.webhooks import webhooks_status

    found = webhooks_status(settings_of(config, data_dir=data_dir))
    if json:
        print_json(found)
        return
    names = ["name", "service", "sequence", "waiting", "problem", "changed_at"]
    print_table("", names, [[str(one[name]) for name in names] for one in found])
    for one in found:
        for letter in one["passed_over"]:
            out.print(
                f"{one['name']}: event {letter['sequence']} was passed over at {letter['at']}: {letter['problem']}"
            )
