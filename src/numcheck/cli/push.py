"""`numcheck push`: what an operator or the clearing house knows, over the API."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.cli.options import (
    Column,
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
    from google.protobuf.timestamp_pb2 import Timestamp

    from numcheck.active.clearing_house import FileName, Member, Portings
    from numcheck.cli.reading.statuses import Statuses
    from numcheck.client import PushClient
    from numcheck.config import Settings
    from numcheck.v1 import numbering_pb2

VERSION_MAX = 2**64 - 1
WAYS_OUT = {
    "NOT_SERVED": "--refused FILE tells the first 100 of them; --skip-not-served pushes the others all the same",
    "OLDER_DATA": "--allow-older pushes it all the same",
}
"""Ways on for a person whose push was refused, by its reason."""

app = typer.Typer(no_args_is_help=True, help="Push active numbers or portings to a node.")

NumbersFile = Annotated[
    Path,
    typer.Argument(dir_okay=False, help="A number or a range (first-last) a line, or a CSV file; - is standard input."),
]
AllowOlder = Annotated[
    bool, typer.Option("--allow-older", help="Push even if the data is older than what the node has.")
]
Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, metavar="FILE...")]
TOLD_MAX = 20


@app.command("active")
def active(
    file: NumbersFile,
    operator: OperatorOption,
    column: Column = None,
    status_column: Annotated[
        str | None,
        typer.Option(help="The column that says which rows are in service: its name in the header, or its place."),
    ] = None,
    active_values: Annotated[
        str | None, typer.Option(help="What it says of a number in service, comma-separated.  (default: 1,yes,да, ...)")
    ] = None,
    inactive_values: Annotated[
        str | None, typer.Option(help="What it says of a number that is not.  (default: 0,no,нет, ...)")
    ] = None,
    every_row: Annotated[
        bool, typer.Option("--every-row", help="Every row is in service, whatever other columns say.")
    ] = False,
    count: Annotated[
        int | None, typer.Option(min=0, help="How many rows the file has; another count refuses it.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="The SHA-256 of the file; another one refuses it.")
    ] = None,
    delta: Annotated[
        bool, typer.Option("--delta", help="Change the set instead of replacing it; a line with - in front removes.")
    ] = False,
    base_version: Annotated[
        int | None, typer.Option(help="The version that a delta changes.  (default: the head)", min=0, max=VERSION_MAX)
    ] = None,
    data_time: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="MOMENT",
            help="When the data was true, such as 2026-11-21T03:00:00+03:00; without an offset it is in UTC.  "
            "(default: the file's time; of a pipe, now)",
        ),
    ] = None,
    skip_not_served: Annotated[
        bool, typer.Option("--skip-not-served", help="Leave out numbers that the operator does not serve.")
    ] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Mean it, even if it removes much.")] = False,
    allow_older: AllowOlder = False,
    refused: Annotated[
        Path | None, typer.Option(help="Where the first 100 numbers go that the operator does not serve.")
    ] = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Push an operator's active numbers: the whole set, or with --delta what has changed.

    A file is text or CSV, plain or compressed by gzip or xz; - is standard input. A row that is not understood refuses
    it. Say how long it is: --count or --sha256, or a last line such as "# count 99990".

    A push whose connection is cut, or whose node starts anew, is sent again for up to three minutes, as the same push:
    nothing is done twice. The same command run again does nothing, and says so: a push is known by its numbers and by
    when they were true, the file's time unless --data-time says it. Data that is older than the node's is refused.

    Example: numcheck push active --operator 7740000076 numbers.txt
    """
    from numcheck.cli.console import progress, say
    from numcheck.cli.number_files import Expected, NumberFile, Reading
    from numcheck.cli.reading.layout import ColumnOptions
    from numcheck.cli.reading.source import opened
    from numcheck.client.push import DELTA, SNAPSHOT
    from numcheck.timestamps import timestamp
    from numcheck.v1 import numbering_pb2

    settings = settings_of(config, data_dir=data_dir)
    wanted = ColumnOptions(column, status_column, every_row=every_row)
    how = Reading(delta, settings.default_region, wanted, _statuses(active_values, inactive_values))
    with opened(file, again=True) as source, _client(settings, server) as client, progress() as report:
        operator_id = operator_id_of(client, operator)
        numbers = NumberFile(source, how, Expected(count, sha256))
        say(numbers.told)
        true_at = data_time or source.moment
        header = numbering_pb2.PushHeader(
            operator_id=operator_id,
            mode=DELTA if delta else SNAPSHOT,
            base_version=_base_version(client, operator_id, delta=delta) if base_version is None else base_version,
            push_id=_push_id(
                client,
                operator_id,
                f"{numbers.digest()}/{'delta' if delta else 'snapshot'}/{true_at.isoformat()}",
                allow_older=allow_older,
            ),
            data_time=timestamp(true_at),
            skip_not_served=skip_not_served,
            allow_older=allow_older,
        )
        try:
            pushed = client.push_active(header, lambda: numbers.pieces(lambda share: report("pushing", share)))
        except Exception as error:
            _write_refused(refused, getattr(error, "refusal_metadata", {}).get("not_served", "").split(","))
            if way_out := WAYS_OUT.get(getattr(error, "refusal", "")):
                say(f"note: {way_out}")
            raise
        if confirm and pushed.confirmation_token:
            pushed = client.confirm_push(operator_id, pushed.confirmation_token)
    _write_refused(refused, [str(one.number) for one in pushed.refused])
    _tell_active(operator_id, pushed, json=json)


@app.command("confirm")
def confirm(
    token: Annotated[str, typer.Argument(help="What the held push was answered with.")],
    operator: OperatorOption,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Apply a push that is held because it removes much.

    Example: numcheck push confirm --operator 7740000076 kq3vB0
    """
    settings = settings_of(config, data_dir=data_dir)
    with _client(settings, server) as client:
        operator_id = operator_id_of(client, operator)
        pushed = client.confirm_push(operator_id, token)
    _tell_active(operator_id, pushed, json=json)


@app.command("reject")
def reject(
    token: Annotated[str, typer.Argument(help="What the held push was answered with.")],
    operator: OperatorOption,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Drop a push that is held and was not meant: it changes nothing, and may be pushed again.

    Example: numcheck push reject --operator 7740000076 kq3vB0
    """
    from numcheck.cli.console import say

    settings = settings_of(config, data_dir=data_dir)
    with _client(settings, server) as client:
        client.reject_push(operator_id_of(client, operator), token)
    say("the held push is dropped; nothing has changed")


@app.command("held")
def held(
    operator: Annotated[
        str | None, typer.Option("--operator", help="Whose: an id or a tax id.  (default: everybody's)")
    ] = None,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List the pushes that wait to be confirmed; everybody's, if the administrator asks.

    Example: numcheck push held --operator 7740000076
    """
    from numcheck.cli.console import out, print_json

    settings = settings_of(config, data_dir=data_dir)
    with _client(settings, server) as client:
        found = client.list_held_pushes(operator_id_of(client, operator) if operator else 0)
    if json:
        print_json([_held_push(one) for one in found])
    elif not found:
        out.print("no push waits to be confirmed")
    else:
        for one in found:
            out.print(_held_line(one))


@app.command("renew")
def renew(
    operator: OperatorOption,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say that an operator's active numbers are true still, now: a delta without a number.

    The node answers UNKNOWN from data that is older than its data_age_max_s.

    Example: numcheck push renew --operator 7740000076
    """
    from numcheck.client.push import DELTA
    from numcheck.errors import BadPush
    from numcheck.timestamps import timestamp
    from numcheck.v1 import numbering_pb2

    settings = settings_of(config, data_dir=data_dir)
    with _client(settings, server) as client:
        operator_id, now = operator_id_of(client, operator), datetime.now(UTC)
        head_version = _head_version(client, operator_id)
        if not head_version:
            raise BadPush("header.base_version", "the operator has pushed no active numbers: nothing can be renewed")
        header = numbering_pb2.PushHeader(
            operator_id=operator_id,
            mode=DELTA,
            base_version=head_version,
            push_id=f"renewed/{now.isoformat()}",
            data_time=timestamp(now),
        )
        pushed = client.push_active(header, list)
    _tell_active(operator_id, pushed, json=json)


def _client(settings: "Settings", server: str | None) -> "PushClient":
    """Return a client that says why it waits, if it does."""
    from numcheck.cli.console import say
    from numcheck.client import PushClient

    return PushClient(target_of(settings, server), security_of(settings), tell=say)


def _statuses(active: str | None, inactive: str | None) -> "Statuses":
    from numcheck.cli.reading.statuses import statuses_of

    try:
        return statuses_of(active, inactive)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _base_version(client: "PushClient", operator_id: int, *, delta: bool) -> int:
    """Return the head that a delta changes; a snapshot changes none."""
    return _head_version(client, operator_id) if delta else 0


def _head_version(client: "PushClient", operator_id: int) -> int:
    return client.state(operator_id, digest=False).version


def _push_id(client: "PushClient", operator_id: int, name: str, *, allow_older: bool) -> str:
    """Return the name of a push. One that may go back is meant anew whenever the head is another."""
    return f"{name}/over {_head_version(client, operator_id)}" if allow_older else name


def _write_refused(target: Path | None, numbers: list[str]) -> None:
    from numcheck.output import OWNER_ONLY, write_whole

    if target is not None and any(numbers):
        rows = "".join(f"{number}\n" for number in numbers)
        write_whole(target, f"number\n{rows}".encode(), mode=OWNER_ONLY)


def _tell_active(operator_id: int, pushed: "numbering_pb2.PushActiveNumbersResponse", *, json: bool) -> None:
    from numcheck.cli.console import print_json, say
    from numcheck.errors import PushHeld

    if json:
        print_json(
            {"operator_id": operator_id, "state": "HELD" if pushed.confirmation_token else "APPLIED", **_counts(pushed)}
        )
    else:
        say(_line(pushed))
    if pushed.confirmation_token:
        raise PushHeld(
            "the push is held, as it removes much; if that is meant: "
            f"numcheck push confirm --operator {operator_id} {pushed.confirmation_token}"
        )


def _counts(pushed: Any) -> dict[str, Any]:
    counts = {
        "version": pushed.version,
        "index_version": pushed.index_version,
        "added": pushed.added_count,
        "already_added": pushed.already_added_count,
        "removed": pushed.removed_count,
        "already_removed": pushed.already_removed_count,
        "numbers": pushed.number_count,
        "refused": pushed.refused_count,
        "pushed_before_at": _moment(pushed.first_push_time) if pushed.HasField("first_push_time") else None,
        "head_version": pushed.head_version,
    }
    if recycled := getattr(pushed, "recycled_count", 0):
        counts["recycled"] = recycled
    token = getattr(pushed, "confirmation_token", "")
    return {**counts, "confirmation_token": token} if token else counts


def _moment(stamp: "Timestamp") -> str:
    return stamp.ToDatetime(UTC).isoformat(timespec="seconds")


def _held_push(held: "numbering_pb2.HeldPush") -> dict[str, Any]:
    from numcheck.client.push import SNAPSHOT

    return {
        "operator_id": held.operator_id,
        "push_id": held.push_id,
        "mode": "SNAPSHOT" if held.mode == SNAPSHOT else "DELTA",
        "data_time": _moment(held.data_time),
        "expires_at": _moment(held.expire_time),
        **_counts(held.push),
    }


def _held_line(held: "numbering_pb2.HeldPush") -> str:
    told = _held_push(held)
    return (
        f"operator {held.operator_id}: a {told['mode'].lower()} of {told['data_time']}, pushed at "
        f"{told['pushed_before_at']}, would add {told['added']:,} and remove {told['removed']:,}; until "
        f"{told['expires_at']}: numcheck push confirm --operator {held.operator_id} {told['confirmation_token']}"
    )


def _line(pushed: Any) -> str:
    """Return what became of a push, in a line; of one that was pushed before, that nothing was done now."""
    if not pushed.HasField("first_push_time"):
        return _done(pushed)
    since = ", as others were applied since" if pushed.version and pushed.head_version != pushed.version else ""
    return (
        f"pushed before at {_moment(pushed.first_push_time)} ({_done(pushed)}); nothing done; "
        f"head is version {pushed.head_version}{since}"
    )


def _done(pushed: Any) -> str:
    made = f"version {pushed.version}" if pushed.version else "not applied yet"
    line = (
        f"{made}: {pushed.added_count:,} added, {pushed.already_added_count:,} there already, "
        f"{pushed.removed_count:,} removed; {pushed.number_count:,} numbers"
    )
    if recycled := getattr(pushed, "recycled_count", 0):
        line = f"{line}; {recycled:,} recycled"
    return f"{line}; {pushed.refused_count:,} refused" if pushed.refused_count else line


# --- portings


@app.command("portings")
def portings(
    files: Files,
    operators: Annotated[
        Path | None, typer.Option(help="The clearing house's Operators file.", exists=True, dir_okay=False)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Push even if more than a tenth of all portings ends or goes on to another.")
    ] = False,
    skip_not_portable: Annotated[
        bool, typer.Option("--skip-not-portable", help="Leave out numbers that no mobile range holds.")
    ] = False,
    allow_older: AllowOlder = False,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Push the clearing house's files, in the order of their names: Port_All, Port_All_Full, Port_Increment,
    Return_Increment, as CSV or ZIP; the Operators file says whose its codes are.

    Each file is one push, known by its name and content: one that was pushed before changes nothing. One that is older
    than what the node has, by the time in its name, is refused; if one before it is missing, by the number in its name,
    a warning says which. An increment without a row changes nothing; all portings without a row are refused.

    Example: numcheck push portings Operators_202608190000_1.zip Port_Increment_202608190200_17.zip
    """
    from numcheck.active.clearing_house import file_name, in_order, of_one_moment, read_operators, read_portings
    from numcheck.cli.console import print_json
    from numcheck.errors import BadPortingsFile

    names = [file_name(path) for path in [*files, *([operators] if operators else [])]]
    books = [name for name in names if name.kind == "Operators"]
    if not books:
        raise BadPortingsFile("the files name operators by the clearing house's codes: give its Operators file, too")
    members = read_operators(in_order(books)[-1])
    options = {"force": force, "skip_not_portable": skip_not_portable, "allow_older": allow_older}
    results = []
    settings = settings_of(config, data_dir=data_dir)
    with _client(settings, server) as client:
        by_tax_id = {one.tax_id: one.operator_id for one in client.list_operators() if one.tax_id}
        for together in of_one_moment(name for name in names if name.kind != "Operators"):
            for name, found in zip(together, read_portings(together), strict=True):
                results.append(_push_portings(client, name, found, members, by_tax_id, options, quiet=json))
    if json:
        print_json(results)


def _push_portings(
    client: "PushClient",
    name: "FileName",
    found: "Portings",
    members: "dict[str, Member]",
    by_tax_id: dict[str, int],
    options: dict[str, bool],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from numcheck.active.clearing_house import sequence_warning
    from numcheck.cli.console import say
    from numcheck.client.push import DELTA, SNAPSHOT
    from numcheck.timestamps import timestamp
    from numcheck.v1 import numbering_pb2

    if not (found.ported or found.returned):
        _check_empty(name)
    ported: dict[int, Any] = {}
    for code, operator_id in _operators_of(found.ported, members, by_tax_id).items():
        if operator_id in ported:
            ported[operator_id] = ported[operator_id] + found.ported[code]
        else:
            ported[operator_id] = found.ported[code]
    header = numbering_pb2.PortingsHeader(
        mode=SNAPSHOT if name.is_snapshot else DELTA,
        base_version=_base_version(client, 0, delta=not name.is_snapshot),
        push_id=_push_id(client, 0, name.push_id(), allow_older=options["allow_older"]),
        data_time=timestamp(name.time),
        sequence=numbering_pb2.PortingsSequence(series=name.kind, position=name.sequence) if name.sequence else None,
        **options,
    )
    pushed = client.push_portings(header, ported, found.returned)
    warning = sequence_warning(name, pushed.previous_sequence)
    if warning and not pushed.HasField("first_push_time"):
        say(f"warning: {name.path.name}: {warning}")
    if not quiet:
        say(f"{name.path.name}: {_line(pushed)}")
    return {"file": name.path.name, **_counts(pushed), "warning": warning}


def _check_empty(name: "FileName") -> None:
    """Pass over a file without a row: of an increment that may be right, and it may be cut behind its header."""
    from numcheck.cli.console import say
    from numcheck.errors import BadPortingsFile

    if name.is_snapshot:
        raise BadPortingsFile(f"{name.path.name}: no row; all portings would end")
    say(
        f"{name.path.name}: no row, so nothing is pushed but its place in the sequence; if the house counts any, the "
        "file is cut: fetch it again"
    )


def _operators_of(codes: Any, members: "dict[str, Member]", by_tax_id: dict[str, int]) -> dict[str, int]:
    """Return the operator of each code; UnknownOperator names every code that is nobody's here."""
    from numcheck.errors import UnknownOperator

    found, unknown = {}, []
    for code in codes:
        member = members.get(code)
        operator_id = by_tax_id.get(member.tax_id or "") if member else None
        if operator_id is None:
            unknown.append(
                f"{code} ({member.name}, {member.tax_id or 'no tax id'})" if member else f"{code} (not listed)"
            )
        else:
            found[code] = operator_id
    if unknown:
        more = f" and {len(unknown) - TOLD_MAX} more" if len(unknown) > TOLD_MAX else ""
        raise UnknownOperator(f"no operator of this installation is {', '.join(sorted(unknown)[:TOLD_MAX])}{more}")
    return found
