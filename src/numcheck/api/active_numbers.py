"""Translates PushActiveNumbers. The rules of pushes are in active/, their commit in store/."""

from collections.abc import Iterator

from numcheck.active import PushContent, PushHeader
from numcheck.api.access import own_operator, this_caller
from numcheck.api.pushing import (
    Outside,
    data_time_of,
    is_snapshot,
    messages_of,
    numbers_of,
    outcome,
    push_id_of,
)
from numcheck.errors import NotServed
from numcheck.store import HeldPush, Pushed, Store
from numcheck.timestamps import timestamp_at
from numcheck.v1 import numbering_pb2


def push_active_numbers(store: Store, outside: Outside, requests: Iterator[bytes]) -> Pushed:
    """Take a snapshot or a delta; nothing changes before its caller has ended the stream."""
    messages = messages_of(numbering_pb2.PushActiveNumbersRequest, requests)
    first = next(messages)
    header = _header(first.header, outside)
    own_operator(header.operator_id)
    head = store.sets.head(header.operator_id)
    if header.push_id is not None:
        pushed = store.sets.try_pushed(header.operator_id, header.push_id, now=outside.now())
        if pushed is not None:
            return pushed
    head.check_follower(header)
    content = store.sets.push_content(header.operator_id)
    _take(content, first)
    for message in messages:
        _take(content, message)
    return store.sets.push(
        header, content, base_version=head.version, token=outside.new_token(), now=outside.now(), by=this_caller().uri
    )


def _header(header: numbering_pb2.PushHeader, outside: Outside) -> PushHeader:
    return PushHeader(
        operator_id=header.operator_id,
        snapshot=is_snapshot(header.mode),
        base_version=header.base_version,
        push_id=push_id_of(header.push_id),
        data_time=data_time_of(header.data_time, outside.now()),
        skip_not_served=header.skip_not_served,
        allow_older=header.allow_older,
    )


def _take(content: PushContent, message: numbering_pb2.PushActiveNumbersRequest) -> None:
    if message.add:
        content.add(numbers_of(message.add))
    if message.remove:
        content.remove(numbers_of(message.remove))
    for one in message.add_ranges:
        content.add_range(one.first, one.last)
    for one in message.remove_ranges:
        content.remove_range(one.first, one.last)


def push_message(pushed: Pushed) -> numbering_pb2.PushActiveNumbersResponse:
    """Return the message of a push's outcome."""
    return numbering_pb2.PushActiveNumbersResponse(
        state=numbering_pb2.PUSH_STATE_HELD if pushed.held else numbering_pb2.PUSH_STATE_APPLIED,
        recycled_count=pushed.counts.recycled,
        confirmation_token=pushed.token if pushed.held else "",
        **outcome(pushed, NotServed.reason),
    )


def held_message(held: HeldPush) -> numbering_pb2.HeldPush:
    """Return the message of a push that waits to be confirmed."""
    return numbering_pb2.HeldPush(
        operator_id=held.operator_id,
        push_id=held.push_id,
        mode=numbering_pb2.PUSH_MODE_SNAPSHOT if held.snapshot else numbering_pb2.PUSH_MODE_DELTA,
        data_time=timestamp_at(held.data_time_us),
        expire_time=timestamp_at(held.expires_at_us),
        push=push_message(held.pushed),
    )
