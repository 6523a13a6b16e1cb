"""Translates ImportNumberingPlan. The rules of plans are in plan/, their commit in store/."""

from collections.abc import Iterator

from numcheck.api.access import this_caller
from numcheck.api.pushing import Outside, messages_of, moment_of
from numcheck.errors import BadPlan
from numcheck.plan import Allotment, Country, country_of, plan_of
from numcheck.store import PlanImport, Store
from numcheck.v1 import numbering_pb2

SOURCE_LENGTH_MAX = 256
ROWS_MAX = 1_000_000  # sixty times the Russian mobile plan: an administrator's mistake must not fill the memory


def import_numbering_plan(store: Store, outside: Outside, requests: Iterator[bytes]) -> PlanImport:
    """Take a country's plan, or some of its series; nothing changes before the stream has ended."""
    messages = messages_of(numbering_pb2.ImportNumberingPlanRequest, requests, BadPlan)
    first = next(messages)
    country = _country(first.header)
    series, rows = _series(first.header, country), _rows(first)
    for message in messages:
        rows += _rows(message)
        if len(rows) > ROWS_MAX:
            raise BadPlan("rows", f"the plan has more than {ROWS_MAX:,} rows")
    plan = plan_of(country, series, rows)
    header = first.header
    return store.import_plan(
        plan,
        source=header.source,
        now=outside.now(),
        data_time=moment_of(header.data_time, BadPlan) if header.HasField("data_time") else None,
        series=series,
        force=header.force,
        allow_older=header.allow_older,
        by=this_caller().uri,
    )


def _country(header: numbering_pb2.PlanHeader) -> Country:
    if not header.source.isprintable():
        raise BadPlan("header.source", "the source holds a control character")
    if not header.source or len(header.source) > SOURCE_LENGTH_MAX:
        raise BadPlan("header.source", f"the source is missing or has more than {SOURCE_LENGTH_MAX} characters")
    try:
        return country_of(header.calling_code)
    except KeyError:
        raise BadPlan("header.calling_code", "this program knows no country of that calling code") from None


def _series(header: numbering_pb2.PlanHeader, country: Country) -> set[str]:
    every = set(country.first_digits)
    if not every.issuperset(header.series):
        raise BadPlan("header.series", f"{country.name} has the series {', '.join(sorted(every))}")
    return set(header.series) or every


def _rows(message: numbering_pb2.ImportNumberingPlanRequest) -> list[Allotment]:
    return [Allotment(one.first, one.last, one.operator_name, one.tax_id, one.region) for one in message.rows]


def plan_message(imported: PlanImport) -> numbering_pb2.ImportNumberingPlanResponse:
    """Return the message of an import's outcome."""
    return numbering_pb2.ImportNumberingPlanResponse(
        index_version=imported.revision,
        range_count=imported.range_count,
        number_count=imported.number_count,
        added_count=imported.added,
        removed_count=imported.removed,
        moved_count=imported.moved,
        lost=[
            numbering_pb2.LostNumbers(operator_id=operator_id, number_count=count)
            for operator_id, count in imported.lost.items()
        ],
        renamed=[numbering_pb2.RenamedOperator(**one._asdict()) for one in imported.renamed],
    )
