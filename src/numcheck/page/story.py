"""The story of a number: its range in the plan, its porting, its operator's data, and of when each of them is."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from numcheck.index import Index
from numcheck.index.overview import ranges_between
from numcheck.page.plan import operator_facts
from numcheck.plan.country import COUNTRIES
from numcheck.store import Store
from numcheck.v1 import check_pb2


def story_of(index: Index, store: Store, answer: bytes) -> dict[str, Any]:
    """Return the story of a number that CheckNumber has answered about."""
    response = check_pb2.CheckNumberResponse.FromString(answer)
    number = response.number
    operators = {
        role: operator_facts(index, index.operators[message.operator_id])
        for role, message in (("serving", response.serving_operator), ("holder", response.range_holder))
        if message.operator_id in index.operators
    }
    return {
        "number": f"+{number}",
        "status": MessageToDict(response)["status"].removeprefix("NUMBER_STATUS_"),
        "ported": response.ported,
        "region": response.region,
        "index_version": response.index_version,
        "range": next((one._asdict() for one in ranges_between(index, number, number)), None),
        "operators": operators,
        "plan": _series(store, number),
        "portings": _portings(store),
        "record_since": index.record_since or None,
    }


def _series(store: Store, number: int) -> dict[str, Any] | None:
    """Return where the plan's series that has the number came from, and of when it is."""
    for one in store.series():
        country = COUNTRIES.get(one.calling_code)
        if country is not None and number in country and country.series(number) == one.series:
            return {
                "series": f"+{one.calling_code} {one.series}xx",
                "source": one.source,
                "data_time": None if one.data_time is None else one.data_time.timestamp(),
                "imported_at": one.imported_at.timestamp(),
            }
    return None


def _portings(store: Store) -> dict[str, Any] | None:
    head = store.sets.portings_head()
    return {"version": head.version, "data_time": head.data_time_us / 1e6} if head.version else None
