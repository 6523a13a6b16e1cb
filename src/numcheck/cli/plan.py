"""`numcheck plan`: the regulator's registry files."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from numcheck.cli.options import Config, DataDir, Json, Server, moment, security_of, settings_of, target_of

if TYPE_CHECKING:
    from numcheck.config import Settings
    from numcheck.plan import Change, Dated, PlanDiff, Reading
    from numcheck.store import Meant

app = typer.Typer(no_args_is_help=True, help="The numbering plan: import, show, compare.")

NAMED_MAX = 100
SOURCE_LENGTH_MAX = 256  # of ImportNumberingPlan

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, metavar="FILE...")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out instead of refusing the file.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Import even if more than a tenth of a series ends or moves to another operator. It allows no older file.",
    ),
]
AllowOlder = Annotated[
    bool, typer.Option("--allow-older", help="Import even if a series is newer than the file. It forces nothing else.")
]
DataTime = Annotated[
    datetime | None,
    typer.Option(
        parser=moment,
        metavar="MOMENT",
        help="When the files were true, such as 2026-08-19.  (default: the day in each file's name, if it has one)",
    ),
]
RENAMINGS_TOLD = 3


@app.command("import")
def import_(
    files: Files,
    data_dir: DataDir = None,
    config: Config = None,
    server: Server = None,
    skip_bad: SkipBad = False,
    force: Force = False,
    data_time: DataTime = None,
    allow_older: AllowOlder = False,
    json: Json = False,
) -> None:
    """Replace the plan with the regulator's files: each series (3xx, 4xx, 8xx, 9xx) that their rows speak of.

    A file with a bad row is refused whole, and the plan stays as it was. So is one that would end more than a tenth of
    a series or move it to other operators, as a damaged file would, unless it is forced, and one that is older than the
    series, by the day in its name, unless that is allowed. Files of several days are imported one day after the other,
    the oldest first. A node that has the data directory open takes the plan over its API.

    Example: numcheck plan import DEF-9xx_2026-08-19.csv ABC-3xx_2026-08-19.csv
    """
    from numcheck.cli.console import print_json
    from numcheck.errors import NumcheckError
    from numcheck.plan import RefusedRegistryFile, dated, read_files
    from numcheck.printable import printable

    settings = settings_of(config, data_dir=data_dir)
    try:
        reading = read_files(files, skip_bad=skip_bad)
    except RefusedRegistryFile as refused:
        _say_each("refused", refused.problems)
        raise
    _say_each("skipped", reading.problems)
    _say_each("note", reading.notes)
    meant: Meant = {"force": force, "allow_older": allow_older}
    done: list[_Done] = []
    for part in dated(reading, data_time):
        source = printable(", ".join(file.name for file in files if file.name in part.sources))
        try:
            done.append(_import(settings, part, source, server, meant))
        except NumcheckError as refused:
            _say_way_out(refused, done)
            raise
    result = {**_import_result(reading), **_together(done)}
    if json:
        print_json(result)
    else:
        _tell_import(result, done)
    _warn_undated(done)
    _warn_of_names(done)


class _Done(NamedTuple):
    """The effect of an import of the files of one day. `number_count` is of the whole plan; `renamed` has an operator's
    id, its old and its new name, and its count of numbers."""

    part: "Dated"
    revision: int
    into: str
    number_count: int
    added: int
    removed: int
    moved: int
    lost: "Mapping[int, int]"
    renamed: Sequence[tuple[int, str, str, int]]


def _import(settings: "Settings", part: "Dated", source: str, server: str | None, meant: "Meant") -> _Done:
    """Import over the node that is named, by --server or by the settings, or that has the data directory; where no node
    answers, into the store, which is made if need be."""
    from numcheck.cli.console import say
    from numcheck.errors import DataDirInUse, NodeUnreachable
    from numcheck.offline.plans import import_plan
    from numcheck.serving.stores import asks_node, store_name

    if asks_node(settings, server):
        return _import_over_node(part, source, settings, target_of(settings, server), meant)
    now = datetime.now(UTC)
    try:
        done = import_plan(settings, part.plan, source=source, data_time=part.data_time, now=now, announce=say, **meant)
    except DataDirInUse as in_use:
        try:
            return _import_over_node(part, source, settings, target_of(settings, server), meant)
        except NodeUnreachable as unreachable:
            raise DataDirInUse(f"{in_use}; {unreachable}; --server names another address") from None
    counts = done.number_count, done.added, done.removed, done.moved, done.lost, done.renamed
    return _Done(part, done.revision, store_name(settings), *counts)


def _import_over_node(part: "Dated", source: str, settings: "Settings", server: str, meant: "Meant") -> _Done:
    """Return a running node holds the data directory: it takes the plan over the API."""
    from numcheck.cli.console import say
    from numcheck.client import PushClient
    from numcheck.timestamps import timestamp
    from numcheck.v1 import numbering_pb2

    say(f"a node has the plan: importing over its API at {server}")
    plan = part.plan
    header = numbering_pb2.PlanHeader(
        calling_code=plan.country.calling_code,
        source=source[:SOURCE_LENGTH_MAX],
        series=sorted(plan.series),
        data_time=timestamp(part.data_time),
        **meant,
    )
    rows = [
        numbering_pb2.PlanRow(
            first=one.first,
            last=one.last,
            operator_name=plan.holders[one.holder_key].name,
            tax_id=plan.holders[one.holder_key].tax_id or "",
            region=one.region,
        )
        for one in plan.ranges
    ]
    with PushClient(server, security_of(settings)) as client:
        done = client.import_plan(header, rows)
    lost = {one.operator_id: one.number_count for one in done.lost}
    renamed = [(one.operator_id, one.old_name, one.new_name, one.number_count) for one in done.renamed]
    counts = done.number_count, done.added_count, done.removed_count, done.moved_count, lost, renamed
    return _Done(part, done.index_version, f"the node at {server}", *counts)


def _say_way_out(refused: Exception, done: Sequence[_Done]) -> None:
    """Say what imports a file all the same that was refused, and what is imported already."""
    from numcheck.cli.console import say
    from numcheck.errors import MovesTooMuch, OlderData, PlanShrinks

    looked = "note: `numcheck plan diff OLD NEW` tells what would change"
    ways = {
        PlanShrinks.reason: f"{looked}; --force imports it all the same",
        MovesTooMuch.reason: f"{looked}; --force imports it all the same",
        OlderData.reason: f"{looked}; --allow-older imports it all the same",
    }
    reason = getattr(refused, "refusal", getattr(refused, "reason", ""))
    if reason in ways:
        say(ways[reason])
    for one in done:
        say(f"note: imported already: series {_series_of(one.part)}, of {_day(one.part.data_time)}")


def _series_of(part: "Dated") -> str:
    return ", ".join(f"{one}xx" for one in sorted(part.plan.series))


def _day(data_time: datetime | None) -> str:
    return "a day that is not known" if data_time is None else data_time.isoformat().removesuffix("T00:00:00+00:00")


def _together(done: Sequence[_Done]) -> dict[str, Any]:
    """Return what the imports of every day did."""
    lost: Counter[int] = Counter()
    for one in done:
        lost.update(one.lost)
    return {
        "revision": done[-1].revision,
        "imported_into": done[-1].into,
        "data_times": {
            series: one.part.data_time and one.part.data_time.isoformat()
            for one in done
            for series in sorted(one.part.plan.series)
        },
        "added": sum(one.added for one in done),
        "removed": sum(one.removed for one in done),
        "moved": sum(one.moved for one in done),
        "lost": [{"operator_id": operator_id, "active_numbers": count} for operator_id, count in sorted(lost.items())],
        "renamed": [
            {"operator_id": operator_id, "old_name": old_name, "new_name": new_name, "numbers": count}
            for one in done
            for operator_id, old_name, new_name, count in one.renamed
        ],
    }


def _tell_import(result: dict[str, Any], done: Sequence[_Done]) -> None:
    from numcheck.cli.console import say

    series = ", ".join(f"{one}xx" for one in result["series"])
    say(
        f"imported {result['ranges']:,} ranges, {result['numbers']:,} numbers, {result['operators']:,} operators into "
        f"{result['imported_into']}; it replaces series {series}; revision {result['revision']}"
    )
    say(f"{result['added']:,} numbers added, {result['removed']:,} removed, {result['moved']:,} with another operator")
    for part in done:
        if part.part.data_time is not None:
            say(f"series {_series_of(part.part)}: data of {_day(part.part.data_time)}")
    for one in result["lost"]:
        lost = f"{one['active_numbers']:,} active numbers"
        say(f"operator {one['operator_id']} lost the ranges of {lost}: they count no more")


def _warn_undated(done: Sequence[_Done]) -> None:
    """Warn of data of no known moment: it guards against nothing older."""
    from numcheck.cli.console import say

    for one in done:
        if one.part.data_time is None:
            say(
                f"warning: series {_series_of(one.part)}: nobody knows of when the data is, so that an older file may "
                "undo it: no day is in the file's name, and --data-time says none"
            )


def _warn_of_names(done: Sequence[_Done]) -> None:
    """Name the operators that go by other names now; warn if they hold much, as where columns are exchanged."""
    from numcheck.cli.console import say
    from numcheck.plan import changes_too_much

    renamed = sorted((one for part in done for one in part.renamed), key=lambda one: -one[3])
    if not renamed:
        return
    number_count = sum(count for *_, count in renamed)
    largest = "; ".join(f"{old_name} -> {new_name}" for _, old_name, new_name, _ in renamed[:RENAMINGS_TOLD])
    told = f"{len(renamed):,} operators with {number_count:,} numbers go by another name now: {largest}"
    if changes_too_much(number_count, done[-1].number_count):
        say(f"warning: {told}; more than a tenth of the plan: look whether columns of the file are exchanged")
    else:
        say(f"note: {told}")


def _say_each(what: str, lines: Iterable[object]) -> None:
    from numcheck.cli.console import say

    for count, line in enumerate(lines):
        if count == NAMED_MAX:
            say(f"{what}: and more")
            return
        say(f"{what}: {line}")


def _import_result(reading: "Reading") -> dict[str, Any]:
    return {
        "series": sorted(reading.plan.series),
        "ranges": len(reading.plan.ranges),
        "numbers": reading.plan.number_count,
        "operators": len(reading.plan.holders),
        "skipped": [_problem_row(problem) for problem in reading.problems],
        "notes": [str(note) for note in reading.notes],
    }


def _problem_row(problem: Any) -> dict[str, Any]:
    return {
        "file": problem.source,
        "line": problem.line_number,
        "reason": str(problem.reason),
        "detail": problem.detail,
    }


@app.command()
def show(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Say how much of the plan each operator holds, and of when each series is.

    Example: numcheck plan show
    """
    from numcheck.cli.console import print_json, print_table
    from numcheck.offline.status import plan_status

    status = plan_status(settings_of(config, data_dir=data_dir))
    if json:
        print_json(status)
        return
    holdings = status["operators"]
    columns = ["#id", "INN", "operator", "#ranges", "#mobile numbers", "#other numbers", "#active"]
    counts = ("ranges", "mobile_numbers", "other_numbers", "active")
    rows = [
        [str(one["operator_id"]), one["tax_id"] or "", one["display_name"], *(f"{one[count]:,}" for count in counts)]
        for one in holdings
    ]
    total = ["", "", f"{len(rows):,} operators", *(f"{sum(one[count] for one in holdings):,}" for count in counts)]
    print_table("", columns, [*rows, total])
    series = [[one["series"], one["data_time"] or "not known", one["source"]] for one in status["series"]]
    print_table("of when it is", ["series", "data of", "from"], series)


@app.command("diff")
def diff_(
    old: File,
    new: File,
    skip_bad: SkipBad = False,
    _data_dir: DataDir = None,
    _config: Config = None,
    json: Json = False,
) -> None:
    """Say what changed between two registry files, by numbers and by operator, whatever the spelling.

    It reads the two files and nothing else, whatever --data-dir and --config say.

    Example: numcheck plan diff DEF-9xx_2026-04-20.csv DEF-9xx_2026-08-19.csv
    """
    from numcheck.cli.console import print_json
    from numcheck.plan import diff, read_files

    found = diff(*(read_files([file], skip_bad=skip_bad).plan for file in (old, new)))
    if json:
        print_json(_diff_result(found))
    else:
        _print_diff(found)


def _diff_result(found: "PlanDiff") -> dict[str, Any]:
    return {
        "added": found.added,
        "removed": found.removed,
        "another_operator": found.moved,
        "unchanged": found.unchanged,
        "changes": [_change_row(change) for change in found.changes],
    }


def _change_row(change: "Change") -> dict[str, Any]:
    old, new = change.old_holder, change.new_holder
    return {
        "first": change.first,
        "last": change.last,
        "kind": "another_operator" if change.kind == "moved" else change.kind,
        "old_tax_id": old and old.tax_id,
        "old_operator": old and old.name,
        "new_tax_id": new and new.tax_id,
        "new_operator": new and new.name,
    }


def _print_diff(found: "PlanDiff") -> None:
    from numcheck.cli.console import out, print_table

    out.print(f"{found.added:,} numbers added")
    out.print(f"{found.removed:,} numbers removed")
    out.print(f"{found.moved:,} numbers with another operator")
    out.print(f"{found.unchanged:,} numbers unchanged")
    changed = [one for one in found.by_holder.values() if one.added or one.removed or one.moved_in or one.moved_out]
    changed.sort(key=lambda one: -(one.added + one.removed + one.moved_in + one.moved_out))
    rows = [
        [one.holder.tax_id or "", one.holder.name]
        + [f"{count:,}" for count in (one.added, one.removed, one.moved_in, one.moved_out, one.new_count)]
        for one in changed
    ]
    if rows:
        print_table("", ["INN", "operator", "#added", "#removed", "#moved in", "#moved out", "#holds now"], rows)
    moved = [change for change in found.changes if change.kind != "added"]
    if moved:
        rows = [
            [f"+{one.first}", f"+{one.last}", one.kind, _name(one.old_holder), _name(one.new_holder)] for one in moved
        ]
        more = f" (the first {NAMED_MAX} of {len(rows):,}; --json has all)" if len(rows) > NAMED_MAX else ""
        columns = ["first", "last", "what", "from", "to"]
        print_table(f"removed, or with another operator{more}", columns, rows[:NAMED_MAX])


def _name(holder: Any) -> str:
    return "" if holder is None else str(holder.name)
