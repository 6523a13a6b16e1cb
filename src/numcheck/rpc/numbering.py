"""NumberingService over the API listener: translation only. A push's rules are in active/, its commit in store/."""

import threading
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc

from numcheck.active import PushContent, PushHeader
from numcheck.errors import BadPush, ConcurrentPush, NotServed, StaleBase, TooManyStreams
from numcheck.rpc.calls import parsed, refusing, refusing_push, timestamp
from numcheck.store import Pushed, Store
from numcheck.v1 import numbering_pb2

SERVICE_NAME = "numcheck.v1.NumberingService"
PUSH_ID_LENGTH_MAX = 128
CLOCK_SKEW_MAX = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NumberingService:
    """Takes pushes into the store."""

    name = SERVICE_NAME

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], datetime],
        new_token: Callable[[], str],
        changed: Callable[[], None],
        push_count_max: int,
    ) -> None:
        """`changed` is called after each commit; at most `push_count_max` pushes are under way at once."""
        self._store, self._now, self._new_token, self._changed = store, now, new_token, changed
        self._push_places = threading.BoundedSemaphore(push_count_max)

    def push_active_numbers(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """A snapshot or a delta: nothing is changed before its stream has ended as its caller meant it to."""
        if not self._push_places.acquire(blocking=False):
            raise TooManyStreams("as many pushes as this node takes at once are under way")
        try:
            return _push_message(self._push(requests, context)).SerializeToString()
        finally:
            self._push_places.release()

    def _push(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Pushed:
        first = parsed(numbering_pb2.PushActiveNumbersRequest, next(requests, b""))
        header = self._header(first)
        head_version = self._store.head(header.operator_id).version
        if header.push_id is not None:
            pushed = self._store.try_pushed(header.operator_id, header.push_id)
            if pushed is not None:
                return pushed
        if not header.snapshot and header.base_version != head_version:
            raise StaleBase(header.base_version, head_version)
        content = self._store.push_content(header.operator_id)
        _take(content, first)
        for request in requests:
            message = parsed(numbering_pb2.PushActiveNumbersRequest, request)
            if message.HasField("header"):
                raise BadPush("header", "only the first message has a header")
            _take(content, message)
        if not context.is_active():
            raise ConcurrentPush("the caller went away")
        pushed = self._store.push(header, content, base_version=head_version, token=self._new_token(), now=self._now())
        self._changed()
        return pushed

    def _header(self, first: numbering_pb2.PushActiveNumbersRequest) -> PushHeader:
        if not first.HasField("header"):
            raise BadPush("header", "the first message has no header")
        header = first.header
        if header.mode not in (numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA):
            raise BadPush("header.mode", "the mode is neither SNAPSHOT nor DELTA")
        if len(header.push_id) > PUSH_ID_LENGTH_MAX:
            raise BadPush("header.push_id", f"the push_id has more than {PUSH_ID_LENGTH_MAX} characters")
        return PushHeader(
            operator_id=header.operator_id,
            snapshot=header.mode == numbering_pb2.PUSH_MODE_SNAPSHOT,
            base_version=header.base_version,
            push_id=header.push_id or None,
            data_time=self._data_time(header),
            skip_not_served=header.skip_not_served,
        )

    def _data_time(self, header: numbering_pb2.PushHeader) -> datetime:
        try:
            data_time = header.data_time.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise BadPush("header.data_time", "the data_time is no moment") from None
        if data_time <= EPOCH:
            raise BadPush("header.data_time", "the header has no data_time")
        if data_time > self._now() + CLOCK_SKEW_MAX:
            raise BadPush("header.data_time", "the data_time is ahead of the node's clock")
        return data_time

    def confirm_push(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """A held push that its operator means."""
        message = parsed(numbering_pb2.ConfirmPushRequest, request)
        pushed = self._store.confirm_push(message.operator_id, message.confirmation_token, now=self._now())
        self._changed()
        return numbering_pb2.ConfirmPushResponse(push=_push_message(pushed)).SerializeToString()

    def get_operator_state(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """The head of an operator's active set."""
        operator_id = parsed(numbering_pb2.GetOperatorStateRequest, request).operator_id
        head, digest = self._store.digest(operator_id)
        moment = EPOCH + timedelta(microseconds=head.data_time_us)
        return numbering_pb2.GetOperatorStateResponse(
            operator_id=operator_id,
            version=head.version,
            number_count=head.number_count,
            data_time=timestamp(moment) if head.version else None,
            digest=digest,
        ).SerializeToString()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service as grpcio registers it; with no (de)serialiser, grpcio passes bytes."""
        unary, push = grpc.unary_unary_rpc_method_handler, grpc.stream_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "PushActiveNumbers": push(refusing_push(self.push_active_numbers)),
                "ConfirmPush": unary(refusing(self.confirm_push)),
                "GetOperatorState": unary(refusing(self.get_operator_state)),
            },
        )


def _take(content: PushContent, message: numbering_pb2.PushActiveNumbersRequest) -> None:
    if message.add:
        content.add(array("Q", message.add))
    if message.remove:
        content.remove(array("Q", message.remove))
    for one in message.add_ranges:
        content.add_range(one.first, one.last)
    for one in message.remove_ranges:
        content.remove_range(one.first, one.last)


def _push_message(pushed: Pushed) -> numbering_pb2.PushActiveNumbersResponse:
    counts = pushed.counts
    return numbering_pb2.PushActiveNumbersResponse(
        state=numbering_pb2.PUSH_STATE_HELD if pushed.held else numbering_pb2.PUSH_STATE_APPLIED,
        version=pushed.version,
        index_version=pushed.revision,
        added_count=counts.added,
        already_added_count=counts.already_added,
        removed_count=counts.removed,
        already_removed_count=counts.already_removed,
        number_count=counts.number_count,
        refused_count=counts.refused,
        refused=[
            numbering_pb2.RefusedNumber(number=number, reason=NotServed.reason) for number in counts.refused_examples
        ],
        confirmation_token=pushed.token if pushed.held else "",
    )
