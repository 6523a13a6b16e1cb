"""`numcheck check`: one number, or a file of millions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from numcheck.cli.options import Column, Config, DataDir, Json, Server, settings_of

Numbers = Annotated[list[str] | None, typer.Argument(metavar="[NUMBER]...", help="As a person writes them.")]


def check(
    numbers: Numbers = None,
    file: Annotated[
        Path | None, typer.Option(help="A text or CSV file with a number a line; - is standard input.")
    ] = None,
    column: Column = None,
    recycled_since: Annotated[
        str | None,
        typer.Option(
            help="A date, or the column of the dates: say too whether each number was withdrawn or recycled since."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the answers go, as CSV.  (default: standard output)")] = None,
    local: Annotated[bool, typer.Option("--local", help="Read the data directory; ask no node.")] = False,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say of each number whether it is allotted, whose it is, and whether it is in service.

    A file keeps its columns and gets status, operator_id and operator beside them. Its numbers are in the one column,
    in that which the header calls number, phone, телефон or the like, or in --column; a file in which that is uncertain
    is refused. A line that holds no number is marked NOT_A_NUMBER in place; if none holds one, the exit status is 1.

    With --recycled-since a fourth column says YES, NO or UNKNOWN (the record of withdrawals does not go back that far)
    of each number; dates are such as 2025-12-01, 2025-12-01T09:00:00+03:00 or 01.12.2025, in UTC if they name no
    offset.

    Examples: numcheck check "+7 916 123-45-67" 89161234567; numcheck check --file in.csv --out out.csv
    """
    if bool(numbers) == (file is not None):
        raise typer.BadParameter("give either numbers or --file")
    if file is None and (out, column, recycled_since) != (None, None, None):
        raise typer.BadParameter("--out, --column and --recycled-since go with --file")
    if json and file is not None:
        raise typer.BadParameter("--json goes with numbers; the answers to a file are CSV")
    settings = settings_of(config, data_dir=data_dir)
    from numcheck.cli.checkers import local_checker, remote_checker

    with local_checker(settings) if local else remote_checker(settings, server) as checker:
        if file is not None:
            _check_file(checker, file, out, column, recycled_since)
        else:
            _check_each(checker, numbers or [], json=json)


def _check_each(checker: Any, numbers: list[str], *, json: bool) -> None:
    from numcheck.cli.console import print_json, print_table
    from numcheck.errors import NotANumber

    results, refused = [], False
    for text in numbers:
        try:
            results.append({"text": text, **checker.check_number(text)})
        except NotANumber as error:
            refused = True
            results.append({"text": text, "status": "NOT_A_NUMBER", "error": str(error)})
    if json:
        print_json(results)
    else:
        print_table("", ["number", "status", "operator", "region", ""], [_row(result) for result in results])
    if refused:
        raise typer.Exit(1)


def _row(result: dict[str, Any]) -> list[str]:
    if "error" in result:
        return [result["text"], result["status"], "", "", result["error"]]
    operator = result["serving_operator"]
    remarks = ["ported"] if result["ported"] else []
    remarks += ["SYNTHETIC data"] if operator and operator["synthetic"] else []
    name = operator["display_name"] if operator else ""
    return [f"+{result['number']}", result["status"], name, result["region"], ", ".join(remarks)]


def _check_file(checker: Any, file: Path, out: Path | None, column: str | None, recycled_since: str | None) -> None:
    from numcheck.cli.console import progress, say
    from numcheck.cli.files import NOT_A_NUMBER, check_file
    from numcheck.cli.reading.layout import ColumnOptions
    from numcheck.cli.reading.since import since_of
    from numcheck.errors import BadNumbersFile

    with progress() as report:
        since = None if recycled_since is None else since_of(recycled_since)
        counts = check_file(checker, file, out, report, wanted=ColumnOptions(column), since=since, tell=say)
    total = sum(counts.values())
    say(f"{total:,} lines: " + (", ".join(f"{count:,} {status}" for status, count in counts.most_common()) or "empty"))
    if checker.synthetic:
        say("the operators' data is SYNTHETIC: made up, for trying out")
    if counts and set(counts) == {NOT_A_NUMBER}:
        raise BadNumbersFile("no line holds a number; --column says in which column they are")
