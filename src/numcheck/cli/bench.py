"""`numcheck bench`: what this machine does, what it takes for a messenger, and bodies for other load generators."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.cli.options import Config, DataDir, Json, Server, security_of, settings_of

if TYPE_CHECKING:
    from numcheck.bench.plan import Need
    from numcheck.bench.study import Options, Study
    from numcheck.config import Settings

app = typer.Typer()

NUMBERS = 10_000_000
BRIEF_NUMBERS, BRIEF_REGISTRATIONS, BRIEF_SECONDS = 1_000_000, 5_000, 0.3  # of a plan with no report


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    report: Annotated[Path, typer.Option(help="Where the page goes; its JSON goes beside it.", dir_okay=False)] = Path(
        "capacity.html"
    ),
    numbers: Annotated[int, typer.Option(min=200_000, help="Active numbers to make up and measure over.")] = NUMBERS,
    registrations: Annotated[int, typer.Option(min=300, help="Users to register, at most.")] = 20_000,
    seconds: Annotated[float, typer.Option(min=0.05, help="For how long each figure is measured.")] = 1.0,
    curves: Annotated[str, typer.Option(help="Which curves, separated by commas.  (default: all)")] = "",
    server: Server = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --server: measure as well what changes the node's data, for good.")
    ] = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Measure this machine and write the capacity report: a page with plots, and JSON.

    It makes up a population in a directory of its own, which it removes, or in --data-dir if that is given, which has
    to be empty; then it runs nodes on free ports, on cores of their own, and asks them. Nothing else should be at work
    meanwhile. With --server it asks that node instead, from this machine: to put load on a node is to disturb whom it
    serves.

    Example: numcheck bench --report capacity.html
    """
    if context.invoked_subcommand is not None:
        return
    from numcheck.bench.report import as_json, as_page, dumped
    from numcheck.bench.study import Options
    from numcheck.cli.console import print_json, say
    from numcheck.output import write_whole

    settings = settings_of(config, data_dir=data_dir)
    options = Options(numbers, seconds, registrations, _curves(curves), writes=server is None or write)
    now = datetime.now(UTC)
    study = _studied(settings, server, options)
    told = as_json(study, now)
    write_whole(report, as_page(study, now).encode())
    write_whole(report.with_suffix(".json"), dumped(told).encode())
    if json:
        print_json(told)
    else:
        _print(study)
        say(f"the report is in {report}, its JSON in {report.with_suffix('.json')}")


@app.command()
def plan(
    users: Annotated[str, typer.Option(help="Users, such as 100M.")],
    registrations: Annotated[str, typer.Option(help="Registrations at the busiest moment, such as 50k/s.")],
    checks: Annotated[str, typer.Option(help="Numbers checked at the busiest moment, such as 1M/s.")],
    numbers: Annotated[str, typer.Option(help="Active numbers of all operators.")] = "300M",
    batch: Annotated[int, typer.Option(min=1, max=65_536, help="Numbers in a call.")] = 1,
    cores: Annotated[int, typer.Option(min=2, help="Cores of each machine.")] = 16,
    report: Annotated[
        Path | None,
        typer.Option(help="The JSON of a measured machine.  (default: this one, measured for a minute or two)"),
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Tell what it takes to serve so many users: cores, memory, disk, nodes, followers and the database.

    Each line has the curve of the report that it comes from and its margin, and a warning where it goes beyond what
    was measured.

    Example: numcheck bench plan --users 100M --registrations 50k/s --checks 1M/s --report capacity.json
    """
    from numcheck.bench.plan import Measured, Wanted
    from numcheck.bench.plan import plan as planned
    from numcheck.cli.console import print_json

    wanted = Wanted(
        _quantity(users, "users"),
        _quantity(registrations, "registrations"),
        _quantity(checks, "checks"),
        _quantity(numbers, "numbers"),
        batch,
        cores,
    )
    settings = settings_of(config, data_dir=data_dir)
    measured = Measured.of(_read(report) if report is not None else _briefly(settings))
    needs = planned(wanted, measured)
    if json:
        print_json({"needs": [need._asdict() for need in needs], "warnings": list(measured.warnings)})
    else:
        _print_needs(needs, measured.warnings)


@app.command()
def body(
    method: Annotated[str, typer.Argument(help="The method, such as CheckNumbers or Register.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the body goes.  (default: METHOD.body)", dir_okay=False)
    ] = None,
    numbers: Annotated[int, typer.Option(min=1, max=65_536, help="Numbers in a CheckNumbers.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the request as JSON, for grpcurl, ghz and k6.")] = False,
) -> None:
    """Write the body of a call for other load generators, such as h2load: the request, as gRPC frames it.

    Example: numcheck bench body CheckNumbers --numbers 1000 --out checks.body
    """
    from numcheck.bench.bodies import example_request
    from numcheck.bench.generator import framed
    from numcheck.cli.console import out as printed
    from numcheck.cli.console import say
    from numcheck.output import write_whole

    path, request = example_request(method, numbers)
    if json:
        from google.protobuf.json_format import MessageToJson

        printed.print(MessageToJson(request, preserving_proto_field_name=True, indent=None))
        return
    file = out or Path(f"{method}.body")
    write_whole(file, framed(request.SerializeToString()))
    say(f"{file}: a body of {path}")


def _studied(settings: "Settings", server: str | None, options: "Options") -> "Study":
    from numcheck.bench.study import study_other, study_own
    from numcheck.cli.console import progress
    from numcheck.errors import DataDirNotEmpty

    if server is not None:
        with progress() as tell:
            return study_other(_node_of(settings, server), options, tell)
    with TemporaryDirectory(prefix="numcheck-bench-") as temporary, progress() as tell:
        own = settings.data_dir if "data_dir" in settings.model_fields_set else Path(temporary)
        if own.exists() and any(own.iterdir()):
            raise DataDirNotEmpty(f"{own} holds something already; a machine is measured in an empty directory only")
        return study_own(own, options, tell)


def _node_of(settings: "Settings", server: str) -> Any:
    from numcheck.bench.generator import Target
    from numcheck.bench.node import Node
    from numcheck.bench.resources import Cores, cores_here
    from numcheck.nearby import token_for

    security = security_of(settings)
    token = token_for(server, settings.data_dir) if security.is_plaintext else security.token
    files = settings.server_authority_file, settings.client_certificate_file, settings.client_key_file
    return Node(Target(server, security, files, token), None, Cores((), tuple(cores_here())))


def _briefly(settings: "Settings") -> dict[str, Any]:
    """Measure what a plan needs."""
    from numcheck.bench.plan import NEEDED_CURVES, NEEDED_METHODS
    from numcheck.bench.report import as_json
    from numcheck.bench.study import Options

    options = Options(BRIEF_NUMBERS, BRIEF_SECONDS, BRIEF_REGISTRATIONS, NEEDED_CURVES, methods=NEEDED_METHODS)
    return as_json(_studied(settings, None, options), datetime.now(UTC))


def _curves(text: str) -> frozenset[str]:
    from numcheck.bench.study import CURVES

    wanted = frozenset(filter(None, (one.strip() for one in text.split(",")))) or frozenset(CURVES)
    if unknown := wanted - CURVES.keys():
        raise typer.BadParameter(
            f"there is no curve {', '.join(sorted(unknown))}; there are {', '.join(CURVES)}", param_hint="--curves"
        )
    return wanted


def _quantity(text: str, name: str) -> float:
    from numcheck.bench.plan import quantity

    try:
        return quantity(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{name}") from None


def _read(file: Path) -> dict[str, Any]:
    from json import JSONDecodeError, loads

    from numcheck.errors import BadConfiguration

    try:
        found = loads(file.read_text())
    except (JSONDecodeError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise BadConfiguration(f"{file} is no JSON of `numcheck bench`")
    return found


def _print(study: "Study") -> None:
    from numcheck.bench.report import COLUMNS, FULL, facts_of, rows_of
    from numcheck.cli.console import print_lines, print_table

    print_table("", ["machine", ""], [list(row) for row in [*study.machine.items(), *facts_of(study)]])
    print_table("measured", list(COLUMNS), rows_of(study))
    seen = {word for figure in study.figures for word in figure.full.split(" and ")}
    print_lines([""], [f"full: {word}: {meaning}" for word, meaning in FULL.items() if word in seen])


def _print_needs(needs: "list[Need]", warnings: tuple[str, ...]) -> None:
    from numcheck.cli.console import print_table, say

    rows = [[one.what, _written(one), one.source, one.margin] for one in needs]
    print_table("", ["needed", "#", "from", "margin"], rows)
    for one in needs:
        if one.warning:
            say(f"warning: {one.what}: {one.warning}")
    for warning in warnings:
        say(f"warning: {warning}")


def _written(need: "Need") -> str:
    if need.unit == "bytes":
        return f"{need.value / 1e9:,.1f} GB"
    if need.what.startswith(("PostgreSQL", "SQLite")):
        return ""
    return f"{need.value:,.0f}" if need.value >= 10 or need.value == int(need.value) else f"{need.value:.2f}"
