"""Translates CheckService.

CheckNumbers and its stream pass the request's bytes to the kernel and the kernel's bytes back: no protobuf object a
request, no Python object a number.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from numcheck import e164
from numcheck._budget import numbers_of
from numcheck.active import Operator
from numcheck.api.access import CallersIndex
from numcheck.api.asking import STATUSES_TAG, answered_count
from numcheck.api.calls import CallerWaits, parsed
from numcheck.index import AgreedIndex, Index, PublishedIndex
from numcheck.timestamps import timestamp
from numcheck.v1 import check_pb2, number_pb2

SERVICE_NAME = "numcheck.v1.CheckService"
NUMBER_SIZE = 8


class CheckService:
    """Answers from the published index, each request from one version of it."""

    name = SERVICE_NAME

    def __init__(
        self,
        published: PublishedIndex | AgreedIndex | CallersIndex,
        *,
        default_region: str,
        numbers_per_call_max: int,
        asked: Callable[[int], None] = lambda _count: None,
        spend: Callable[[bytes], None] = lambda _numbers: None,
    ) -> None:
        """Call `asked` with the count of numbers in each answer, and before that `spend` with the numbers, eight bytes
        each: it raises if their caller may not ask about them."""
        self._published, self._asked, self._spend = published, asked, spend
        self._default_region = default_region
        self._numbers_per_call_max = numbers_per_call_max
        self._listed: tuple[Mapping[int, Operator] | None, bytes] = None, b""  # the operators listed last

    def check_number(self, request: bytes, _call: CallerWaits) -> bytes:
        """Answer about one number, as a person writes it."""
        text = parsed(check_pb2.CheckNumberRequest, request).number
        index = self._published.get()
        facts = index.facts(e164.parse(text, self._default_region))
        response = check_pb2.CheckNumberResponse(
            status=cast("number_pb2.NumberStatus", facts.status),
            number=facts.number,
            serving_operator=_try_operator_message(facts.serving_operator),
            range_holder=_try_operator_message(facts.range_holder),
            ported=facts.ported,
            region=facts.region,
            index_version=index.index_version,
        )
        self._spend(facts.number.to_bytes(NUMBER_SIZE, "little"))
        self._asked(1)
        return response.SerializeToString()

    def check_numbers(self, request: bytes, _call: CallerWaits) -> bytes:
        """Answer about many numbers, bytes in and bytes out."""
        table = self._published.get().table
        return self._told(request, table.check_numbers(request, numbers_per_call_max=self._numbers_per_call_max))

    def check_streamed_numbers(self, request: bytes, _call: CallerWaits) -> bytes:
        """Answer one message of a stream, from the index that is newest then."""
        table = self._published.get().table
        return self._told(
            request, table.check_numbers(request, numbers_per_call_max=self._numbers_per_call_max, echo_request_id=True)
        )

    def _told(self, request: bytes, response: bytes) -> bytes:
        self._spend(numbers_of(request))
        self._asked(answered_count(response))
        return response

    def check_recycled(self, request: bytes, _call: CallerWaits) -> bytes:
        """Answer about many numbers, each with a moment: bytes in and bytes out."""
        index = self._published.get()
        statuses = index.check_recycled(request, numbers_per_call_max=self._numbers_per_call_max)
        self._spend(numbers_of(request))
        self._asked(len(statuses))
        rest = check_pb2.CheckRecycledResponse(
            record_since_unix_s=index.record_since, index_version=index.index_version
        ).SerializeToString()
        # Two serialised messages, joined, are one message with the fields of both.
        return (_packed_statuses(statuses) if statuses else b"") + rest

    def list_operators(self, request: bytes, _call: CallerWaits) -> bytes:
        """List every operator in the index, by id."""
        parsed(check_pb2.ListOperatorsRequest, request)
        index = self._published.get()
        if index.operators is not self._listed[0]:
            self._listed = index.operators, _list_of(index)
        return self._listed[1]

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""
        return {
            "CheckNumber": self.check_number,
            "CheckNumbers": self.check_numbers,
            "StreamCheckNumbers": self.check_streamed_numbers,
            "CheckRecycled": self.check_recycled,
            "ListOperators": self.list_operators,
        }


def _packed_statuses(statuses: bytes) -> bytes:
    """Return the statuses, an octet each, as field 1 of a message."""
    size, varint = len(statuses), bytearray()
    while size >= 0x80:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    return b"".join([bytes([STATUSES_TAG]), varint, bytes([size]), statuses])


def _list_of(index: Index) -> bytes:
    messages = [operator_message(index.operators[operator_id]) for operator_id in sorted(index.operators)]
    response = check_pb2.ListOperatorsResponse(operators=messages, installation_id=index.installation_id)
    return response.SerializeToString()


def _try_operator_message(operator: Operator | None) -> number_pb2.Operator | None:
    return None if operator is None else operator_message(operator)


def operator_message(operator: Operator) -> number_pb2.Operator:
    """Return the operator's message."""
    return number_pb2.Operator(
        operator_id=operator.operator_id,
        display_name=operator.display_name,
        tax_id=operator.tax_id or "",
        data_version=operator.data_version,
        data_time=timestamp(operator.data_time),
        synthetic=operator.synthetic,
    )
