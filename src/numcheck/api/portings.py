"""Translates PushPortings. The rules of portings are in active/, their commit in store/."""

from collections.abc import Iterator

from numcheck.active import PortingsContent, PortingsHeader, PortingsSequence
from numcheck.api.access import this_caller
from numcheck.api.pushing import (
    Outside,
    data_time_of,
    is_snapshot,
    messages_of,
    numbers_of,
    outcome,
    push_id_of,
)
from numcheck.errors import BadPush, NotPortable
from numcheck.store import Pushed, Store
from numcheck.v1 import numbering_pb2

SERIES_LENGTH_MAX = 64


def push_portings(store: Store, outside: Outside, requests: Iterator[bytes]) -> Pushed:
    """Take all portings, or those that changed; nothing changes before the stream has ended."""
    messages = messages_of(numbering_pb2.PushPortingsRequest, requests)
    first = next(messages)
    header = _header(first.header, outside)
    head = store.sets.portings_head()
    if header.push_id is not None:
        pushed = store.sets.try_pushed_portings(header.push_id, now=outside.now())
        if pushed is not None:
            return pushed
    head.check_follower(header)
    content = store.sets.portings_content()
    _take(content, first)
    for message in messages:
        _take(content, message)
    return store.sets.push_portings(header, content, base_version=head.version, now=outside.now(), by=this_caller().uri)


def _header(header: numbering_pb2.PortingsHeader, outside: Outside) -> PortingsHeader:
    return PortingsHeader(
        snapshot=is_snapshot(header.mode),
        base_version=header.base_version,
        push_id=push_id_of(header.push_id),
        data_time=data_time_of(header.data_time, outside.now()),
        skip_not_portable=header.skip_not_portable,
        force=header.force,
        allow_older=header.allow_older,
        sequence=_sequence(header),
    )


def _sequence(header: numbering_pb2.PortingsHeader) -> PortingsSequence | None:
    if not header.HasField("sequence"):
        return None
    series, number = header.sequence.series, header.sequence.position
    if not series.isprintable() or not 0 < len(series) <= SERIES_LENGTH_MAX:
        raise BadPush("header.sequence.series", f"the series is no name of 1 to {SERIES_LENGTH_MAX} plain characters")
    if not 0 < number < 2**63:
        raise BadPush("header.sequence.position", "the position in the series is not positive")
    return PortingsSequence(series, number)


def _take(content: PortingsContent, message: numbering_pb2.PushPortingsRequest) -> None:
    for one in message.ported:
        content.port(one.operator_id, numbers_of(one.numbers))
    if message.returned:
        content.give_back(numbers_of(message.returned))


def portings_message(pushed: Pushed) -> numbering_pb2.PushPortingsResponse:
    """Return the message of the outcome of a push of portings."""
    return numbering_pb2.PushPortingsResponse(
        previous_sequence=pushed.counts.previous_sequence, **outcome(pushed, NotPortable.reason)
    )
