"""Pieces that the methods which take pushes share: reading their messages and headers, and their answers."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.api.calls import parsed
from numcheck.errors import BadPush, NumcheckError
from numcheck.moments import CLOCK_SKEW_MAX, EPOCH
from numcheck.store import Pushed
from numcheck.timestamps import timestamp_at
from numcheck.v1 import numbering_pb2

PUSH_ID_LENGTH_MAX = 128

Bad = Callable[[str, str], NumcheckError]


class Outside(NamedTuple):
    """The clock and random tokens: only a process has them."""

    now: Callable[[], datetime]
    new_token: Callable[[], str]


def messages_of(message_type: Any, requests: Iterator[bytes], bad: Bad = BadPush) -> Iterator[Any]:
    """Yield each message of a push; the first has to have a header, and no other may."""
    first = parsed(message_type, next(requests, b""))
    if not first.HasField("header"):
        raise bad("header", "the first message has no header")
    yield first
    for request in requests:
        message = parsed(message_type, request)
        if message.HasField("header"):
            raise bad("header", "only the first message has a header")
        yield message


def is_snapshot(mode: int) -> bool:
    """Return True for SNAPSHOT and False for DELTA; BadPush for any other mode."""
    if mode not in (numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA):
        raise BadPush("header.mode", "the mode is neither SNAPSHOT nor DELTA")
    return mode == numbering_pb2.PUSH_MODE_SNAPSHOT


def push_id_of(push_id: str) -> str | None:
    """Return the caller's name for the push; None without one; BadPush if it is too long."""
    if not is_storable(push_id):
        raise BadPush("header.push_id", "the push_id holds a NUL character")
    if len(push_id) > PUSH_ID_LENGTH_MAX:
        raise BadPush("header.push_id", f"the push_id has more than {PUSH_ID_LENGTH_MAX} characters")
    return push_id or None


def is_storable(text: str) -> bool:
    """Return True if every engine can keep the text: PostgreSQL takes any character but NUL."""
    return "\0" not in text


def moment_of(stamp: Timestamp, bad: Bad = BadPush) -> datetime:
    """Return the moment of a header's data_time; raise `bad` if it is none."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise bad("header.data_time", "the data_time is no moment") from None


def data_time_of(stamp: Timestamp, now: datetime) -> datetime:
    """Return the moment of the pushed data; BadPush without one, or if it is before 1970 or ahead of the clock."""
    data_time = moment_of(stamp)
    if data_time == EPOCH:
        raise BadPush("header.data_time", "the header has no data_time")
    if data_time < EPOCH:
        raise BadPush("header.data_time", "the data_time is before 1970")
    if data_time > now + CLOCK_SKEW_MAX:
        raise BadPush("header.data_time", "the data_time is ahead of the node's clock")
    return data_time


def numbers_of(field: Iterable[int]) -> "array[int]":
    """Return a repeated field of numbers in the form that the rules take."""
    return array("Q", field)


def outcome(pushed: Pushed, refusal: str) -> dict[str, Any]:
    """Return the fields common to the answers to all pushes; `refusal` is the reason of refused numbers."""
    counts = pushed.counts
    refused = [numbering_pb2.RefusedNumber(number=number, reason=refusal) for number in counts.refused_examples]
    return {
        "version": pushed.version,
        "index_version": pushed.revision,
        "added_count": counts.added,
        "already_added_count": counts.already_added,
        "removed_count": counts.removed,
        "already_removed_count": counts.already_removed,
        "number_count": counts.number_count,
        "refused_count": counts.refused,
        "refused": refused,
        "first_push_time": timestamp_at(pushed.received_at_us),
        "head_version": pushed.head_version,
    }
