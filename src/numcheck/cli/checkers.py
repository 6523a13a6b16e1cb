"""Checks numbers for the command line: by asking a node, or straight from a data directory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from numcheck import e164
from numcheck.active import Operator
from numcheck.cli.options import security_of, target_of
from numcheck.client import CheckClient, Checked
from numcheck.config import Settings
from numcheck.errors import IndexDamaged, IndexMissing
from numcheck.status import NumberStatus
from numcheck.v1 import check_pb2

if TYPE_CHECKING:
    from numcheck.index import Index


class Checker(Protocol):
    """A source of answers about numbers."""

    default_region: str
    numbers_per_call_max: int
    operator_names: dict[int, str]
    synthetic: bool

    def check_number(self, text: str) -> dict[str, Any]:
        """Return the facts of one number, as a person writes it; NotANumber if it cannot be read."""

    def check_batches(self, batches: Iterable[Sequence[int]]) -> Iterator[Checked]:
        """Statuses and operators of each batch, in its order."""

    def check_recycled(self, numbers: Sequence[int], since: Sequence[int]) -> Sequence[int]:
        """Return the RecycledStatus of each number since its moment, in seconds since 1970."""


class LocalChecker:
    """Answers from an index."""

    def __init__(self, index: "Index", settings: Settings) -> None:
        self._index = index
        self.default_region = settings.default_region
        self.numbers_per_call_max = settings.numbers_per_call_max
        self.operator_names = {one.operator_id: one.display_name for one in index.operators.values()}
        self.synthetic = index.synthetic

    def check_number(self, text: str) -> dict[str, Any]:
        """See Checker."""
        facts = self._index.facts(e164.parse(text, self.default_region))
        return {
            "number": facts.number,
            "status": facts.status.name,
            "serving_operator": _operator_row(facts.serving_operator),
            "range_holder": _operator_row(facts.range_holder),
            "ported": facts.ported,
            "region": facts.region,
            "index_version": self._index.index_version,
        }

    def check_batches(self, batches: Iterable[Sequence[int]]) -> Iterator[Checked]:
        """See Checker."""
        for batch in batches:
            request = check_pb2.CheckNumbersRequest(numbers=batch).SerializeToString()
            answer = self._index.table.check_numbers(request, numbers_per_call_max=self.numbers_per_call_max)
            response = check_pb2.CheckNumbersResponse.FromString(answer)
            yield Checked(response.statuses, response.operator_ids, response.index_version)

    def check_recycled(self, numbers: Sequence[int], since: Sequence[int]) -> Sequence[int]:
        """See Checker."""
        request = check_pb2.CheckRecycledRequest(numbers=numbers, since_unix_s=since).SerializeToString()
        return self._index.check_recycled(request, numbers_per_call_max=self.numbers_per_call_max)


class RemoteChecker:
    """Answers from a node."""

    def __init__(self, client: CheckClient, settings: Settings) -> None:
        self._client = client
        self.default_region = settings.default_region
        self.numbers_per_call_max = settings.numbers_per_call_max
        operators = client.list_operators()
        self.operator_names = {one.operator_id: one.display_name for one in operators}
        self.synthetic = any(one.synthetic for one in operators)

    def check_number(self, text: str) -> dict[str, Any]:
        """See Checker."""
        number = e164.parse(text, self.default_region)
        response = self._client.check_number(e164.format_number(number))
        return {
            "number": response.number,
            "status": NumberStatus(response.status).name,
            "serving_operator": _message_row(response, "serving_operator"),
            "range_holder": _message_row(response, "range_holder"),
            "ported": response.ported,
            "region": response.region,
            "index_version": response.index_version,
        }

    def check_batches(self, batches: Iterable[Sequence[int]]) -> Iterator[Checked]:
        """See Checker."""
        return self._client.check_batches(batches)

    def check_recycled(self, numbers: Sequence[int], since: Sequence[int]) -> Sequence[int]:
        """See Checker."""
        return self._client.check_recycled(numbers, since)


@contextmanager
def local_checker(settings: Settings) -> Iterator[Checker]:
    """Check from the data directory. IndexMissing or IndexDamaged say what to do about it."""
    from numcheck.index import open_index
    from numcheck.serving.freshness import fresh_since
    from numcheck.serving.publishing import check_history, index_directory

    try:
        index = open_index(index_directory(settings.data_dir), fresh_since=fresh_since(settings, datetime.now(UTC)))
        check_history(settings, index)
    except (IndexMissing, IndexDamaged) as error:
        raise type(error)(f"{error}; `numcheck serve` builds it anew") from None
    yield LocalChecker(index, settings)


@contextmanager
def remote_checker(settings: Settings, target: str | None) -> Iterator[Checker]:
    """Check by asking the node at `target`, by default the configured one. NodeUnreachable if none answers."""
    with CheckClient(target_of(settings, target), security_of(settings)) as client:
        yield RemoteChecker(client, settings)


def _operator_row(operator: Operator | None) -> dict[str, Any] | None:
    if operator is None:
        return None
    return {
        "operator_id": operator.operator_id,
        "display_name": operator.display_name,
        "tax_id": operator.tax_id,
        "data_version": operator.data_version,
        "data_time": None if operator.data_time is None else operator.data_time.isoformat(),
        "synthetic": operator.synthetic,
    }


def _message_row(response: check_pb2.CheckNumberResponse, field: str) -> dict[str, Any] | None:
    if not response.HasField(field):
        return None
    message = getattr(response, field)
    has_data = message.HasField("data_time")
    return _operator_row(
        Operator(
            operator_id=message.operator_id,
            display_name=message.display_name,
            tax_id=message.tax_id or None,
            data_version=message.data_version,
            data_time=message.data_time.ToDatetime(tzinfo=UTC) if has_data else None,
            synthetic=message.synthetic,
        )
    )
