"""Two readings of one body: the official runtime's and the kernel's. They must be equal, to the byte of the answer."""

from functools import cache

from google.protobuf.message import DecodeError

from numcheck._fast import Table
from numcheck.errors import IndexBehind, MalformedMessage
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.index.world import small_world

WORLD = small_world()
MALFORMED = "malformed"

answer = cache(WORLD.answer)


def by_the_runtime(body: bytes, index_version: int) -> object:
    """What must come of a body: the response that the official runtime writes, or why there is none."""
    try:
        request = CheckNumbersRequest.FromString(body)
    except DecodeError:
        return MALFORMED
    if request.min_index_version > index_version:
        return "behind", request.min_index_version
    answers = [answer(number) for number in request.numbers]
    response = CheckNumbersResponse(
        statuses=[status for status, _ in answers],
        operator_ids=[operator_id for _, operator_id in answers],
        index_version=index_version,
        request_id=request.request_id,
    )
    return response.SerializeToString()


def by_the_kernel(body: bytes, table: Table) -> object:
    """What does come of it."""
    try:
        return table.check_numbers(body, numbers_per_call_max=2**40, echo_request_id=True)
    except MalformedMessage:
        return MALFORMED
    except IndexBehind as behind:
        return "behind", behind.wanted


def is_read_alike(body: bytes, tables: list[Table]) -> bool:
    """Whether all of the tables read a body as the official runtime does."""
    return all(by_the_kernel(body, table) == by_the_runtime(body, table.index_version) for table in tables)
