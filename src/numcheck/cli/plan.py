"""`numcheck plan`: the regulator's registry files."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.cli.options import Config, DataDir, Json, Server, security_of, settings_of, target_of

if TYPE_CHECKING:
    from numcheck.config import Settings
    from numcheck.plan import Change, NumberingPlan, PlanDiff, Reading

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
        help="Import even if more than a tenth of a series ends or moves to another operator, as by an older file.",
    ),
]


@app.command("import")
def import_(
    files: Files,
    data_dir: DataDir = None,
    config: Config = None,
    server: Server = None,
    skip_bad: SkipBad = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Replace the plan with the regulator's files: each series (3xx, 4xx, 8xx, 9xx) that their rows speak of.

    A file with a bad row is refused whole, and the plan stays as it was. So is one that would end more than a tenth of
    a series or move it to other operators, as a damaged or a much older file would, unless it is forced. A node that
    has the data directory open takes the plan over its API.

    Example: numcheck plan import DEF-9xx.csv ABC-3xx.csv
    """
    from numcheck.cli.console import print_json, say
    from numcheck.errors import MovesTooMuch, PlanShrinks, PushRefused
    from numcheck.plan import RefusedRegistryFile, read_files
    from numcheck.printable import printable

    settings = settings_of(config, data_dir=data_dir)
    try:
        reading = read_files(files, skip_bad=skip_bad)
    except RefusedRegistryFile as refused:
        _say_each("refused", refused.problems)
        raise
    _say_each("skipped", reading.problems)
    _say_each("note", reading.notes)
    source = printable(", ".join(file.name for file in files))
    try:
        result = _import(settings, reading.plan, source, server, force=force)
    except (PlanShrinks, MovesTooMuch, PushRefused) as refused:
        if getattr(refused, "refusal", refused.reason) in (PlanShrinks.reason, MovesTooMuch.reason):
            say("note: `numcheck plan diff OLD NEW` tells what would change; --force imports it all the same")
        raise
    result = {**_import_result(reading), **result}
    if json:
        print_json(result)
    else:
        _tell_import(result)


def _import(
    settings: "Settings", plan: "NumberingPlan", source: str, server: str | None, *, force: bool
) -> dict[str, Any]:
    """Import over the node that is named, by --server or by the settings, or that has the data directory; where no node
    answers, into the store, which is made if need be."""
    from numcheck.cli.console import say
    from numcheck.errors import DataDirInUse, NodeUnreachable
    from numcheck.serving.plans import import_plan
    from numcheck.serving.stores import answers, names_node, store_name

    target, server = target_of(settings, server), server or settings.server
    if server is not None or (names_node(settings) and answers(target)):
        return _import_over_node(plan, source, settings, target, force=force)
    try:
        imported = import_plan(settings, plan, source=source, now=datetime.now(UTC), force=force, announce=say)
    except DataDirInUse as in_use:
        try:
            return _import_over_node(plan, source, settings, target, force=force)
        except NodeUnreachable as unreachable:
            raise DataDirInUse(f"{in_use}; {unreachable}; --server names another address") from None
    changes = _changes(imported.added, imported.removed, imported.moved, imported.lost)
    return {"revision": imported.revision, "imported_into": store_name(settings), **changes}


def _import_over_node(
    plan: "NumberingPlan", source: str, settings: "Settings", server: str, *, force: bool
) -> dict[str, Any]:
    """A running node holds the data directory: it takes the plan over the API."""
    from numcheck.cli.console import say
    from numcheck.client import PushClient
    from numcheck.v1 import numbering_pb2

    say(f"a node has the plan: importing over its API at {server}")
    header = numbering_pb2.PlanHeader(
        calling_code=plan.country.calling_code,
        source=source[:SOURCE_LENGTH_MAX],
        series=sorted(plan.series),
        force=force,
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
    into = f"the node at {server}"
    counts = _changes(done.added_count, done.removed_count, done.moved_count, lost)
    return {"revision": done.index_version, "imported_into": into, **counts}


def _changes(added: int, removed: int, moved: int, lost: "Mapping[int, int]") -> dict[str, Any]:
    return {
        "added": added,
        "removed": removed,
        "moved": moved,
        "lost": [{"operator_id": operator_id, "active_numbers": count} for operator_id, count in lost.items()],
    }


def _tell_import(result: dict[str, Any]) -> None:
    from numcheck.cli.console import say

    series = ", ".join(f"{one}xx" for one in result["series"])
    say(
        f"imported {result['ranges']:,} ranges, {result['numbers']:,} numbers, {result['operators']:,} operators into "
        f"{result['imported_into']}; it replaces series {series}; revision {result['revision']}"
    )
    say(f"{result['added']:,} numbers added, {result['removed']:,} removed, {result['moved']:,} with another operator")
    for one in result["lost"]:
        lost = f"{one['active_numbers']:,} active numbers"
        say(f"operator {one['operator_id']} lost the ranges of {lost}: they count no more")


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
    """Say how much of the plan each operator holds.

    Example: numcheck plan show
    """
    from numcheck.cli.console import print_json, print_table
    from numcheck.serving.status import plan_holdings

    holdings = plan_holdings(settings_of(config, data_dir=data_dir))
    if json:
        print_json(holdings)
        return
    columns = ["#id", "INN", "operator", "#ranges", "#mobile numbers", "#other numbers", "#active"]
    counts = ("ranges", "mobile_numbers", "other_numbers", "active")
    rows = [
        [str(one["operator_id"]), one["tax_id"] or "", one["display_name"], *(f"{one[count]:,}" for count in counts)]
        for one in holdings
    ]
    total = ["", "", f"{len(rows):,} operators", *(f"{sum(one[count] for one in holdings):,}" for count in counts)]
    print_table("", columns, [*rows, total])


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
