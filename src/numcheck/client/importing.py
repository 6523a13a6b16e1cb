"""The client's side of an import: rows in messages, one stream after the other until all are durable."""

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import grpc

from numcheck.client.failures import reason_of, registration_refusal_of
from numcheck.client.patience import FIRST_PAUSE_S, PATIENCE_S, Patience, Tell
from numcheck.errors import ConcurrentImport
from numcheck.v1 import registration_pb2 as pb

ROWS_PER_MESSAGE = 4_000
MESSAGE_SIZE = 700_000  # bytes of rows; a message may have a MiB, and a row 21 KB

RowsFrom = Callable[[int], Iterator[pb.ImportedRegistration]]
"""Gives an import's rows from a place on, again and again the same."""


class ImportCall:
    """An import that goes on over as many calls as it takes, while the node is away for a while or cuts it."""

    def __init__(self, method: Any, target: str, header: pb.ImportHeader, rows_from: RowsFrom, tell: Tell) -> None:
        self._method, self._target, self._header, self._rows_from = method, target, header, rows_from
        self._tell, self._patience = tell, Patience(target, PATIENCE_S, tell)
        self._error: Exception | None = None

    def answers(self) -> Iterator[pb.ImportRegistrationsResponse]:
        """Yield each answer; RegistrationRefused, NodeNotReady, NodeUnreachable, or what the rows raise."""
        row_count, moved_at = -1, time.monotonic()
        while True:
            begin: SimpleQueue[int | None] = SimpleQueue()
            call, answer = self._patience.call(lambda: self._begun(begin))
            try:
                for answer in self._all(call, answer, begin):
                    if answer.row_count > row_count:
                        row_count, moved_at = answer.row_count, time.monotonic()
                    yield answer
                return
            except grpc.RpcError as error:
                if self._error is not None:
                    raise self._error from None
                refusal = registration_refusal_of(error, self._target)
                if not _may_go_on(error) or time.monotonic() - moved_at > PATIENCE_S:
                    raise refusal from None
            finally:
                begin.put(None)
                call.cancel()
            self._tell(f"{refusal}; going on from row {max(row_count, 0):,}")
            time.sleep(FIRST_PAUSE_S)

    def _begun(self, begin: "SimpleQueue[int | None]") -> tuple[Any, pb.ImportRegistrationsResponse]:
        """Return a call and the answer to its header."""
        call = self._method(self._requests(begin, calls := []))
        calls.append(call)
        try:
            return call, next(call)
        except BaseException:
            begin.put(None)
            raise

    def _all(
        self, call: Any, answer: pb.ImportRegistrationsResponse, begin: "SimpleQueue[int | None]"
    ) -> Iterator[pb.ImportRegistrationsResponse]:
        """Yield the answers of a call; rows are sent once all that was refused before is known."""
        yield answer
        known = 0
        while known < answer.refused_count:
            answer = next(call)
            known += len(answer.refused)
            yield answer
        begin.put(answer.row_count)
        yield from call

    def _requests(
        self, begin: "SimpleQueue[int | None]", calls: list[Any]
    ) -> Iterator[pb.ImportRegistrationsRequest]:
        """Yield what is sent, on a thread of gRPC's; what the rows raise ends the call."""
        yield pb.ImportRegistrationsRequest(header=self._header)
        place = begin.get()
        if place is None:
            return
        try:
            yield from _messages(self._rows_from(place))
        except Exception as error:
            self._error = error
            for call in calls:
                call.cancel()


def _messages(rows: Iterator[pb.ImportedRegistration]) -> Iterator[pb.ImportRegistrationsRequest]:
    some: list[pb.ImportedRegistration] = []
    size = 0
    for row in rows:
        size += row.ByteSize()
        if some and (size > MESSAGE_SIZE or len(some) == ROWS_PER_MESSAGE):
            yield pb.ImportRegistrationsRequest(rows=some)
            some, size = [], row.ByteSize()
        some.append(row)
    if some:
        yield pb.ImportRegistrationsRequest(rows=some)


def _may_go_on(error: Any) -> bool:
    """Return True if the import can go on in another call."""
    code, reason = error.code(), reason_of(error)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return reason is not None  # else a message is too large
    passing = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    return passing or reason == ConcurrentImport.reason
