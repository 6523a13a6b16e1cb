"""The client's side of an import: rows in messages, in one call after the other until all are durable."""

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import grpc

from numcheck.client.failures import let_go, names_a_delay, reason_of, refusal_of
from numcheck.client.patience import FIRST_PAUSE_S, PATIENCE_S, Patience, Tell
from numcheck.errors import ConcurrentImport, RegistrationRefused
from numcheck.v1 import registration_pb2 as pb

ROWS_PER_MESSAGE = 4_000
MESSAGE_SIZE = 700_000  # bytes of rows; a message may have a MiB, and a row has 21 KB at most

RowsFrom = Callable[[int], Iterator[pb.ImportedRegistration]]
"""Gives an import's rows from a place on: the same rows each time."""
Answers = Iterator[pb.ImportRegistrationsResponse]


class ImportCalls:
    """An import that takes as many calls as it needs: while its node is away for a while, or cuts it."""

    def __init__(self, method: Any, target: str, header: pb.ImportHeader, rows_from: RowsFrom, tell: Tell) -> None:
        self._method, self._target, self._header, self._rows_from = method, target, header, rows_from
        self._tell, self._patience = tell, Patience(target, RegistrationRefused, PATIENCE_S, tell)

    def answers(self) -> Answers:
        """Yield each answer; RegistrationRefused, NodeNotReady, NodeUnreachable, or what the rows raise."""
        row_count, moved_at = 0, time.monotonic()
        while True:
            call = self._patience.call(self._begin)
            try:
                for answer in call.answers():
                    if answer.row_count > row_count:
                        row_count, moved_at = answer.row_count, time.monotonic()
                    yield answer
                return
            except grpc.RpcError as error:
                refusal = refusal_of(error, self._target, RegistrationRefused)
                is_over = call.error or not _may_go_on(error) or time.monotonic() - moved_at > PATIENCE_S
                let_go(error)
            finally:
                call.close()
            if is_over:
                raise call.error or refusal
            self._tell(f"{refusal}; going on from row {row_count:,}")
            time.sleep(FIRST_PAUSE_S)

    def _begin(self) -> "_Call":
        return _Call(self._method, self._header, self._rows_from)


class _Call:
    """One call of an import. It sends rows once it has told all that was refused before."""

    def __init__(self, method: Any, header: pb.ImportHeader, rows_from: RowsFrom) -> None:
        """Begin it, and wait for the answer to its header."""
        self.error: Exception | None = None  # of the rows
        self._header, self._rows_from = header, rows_from
        self._first_place: SimpleQueue[int | None] = SimpleQueue()
        self._call = method(self._requests())
        try:
            self._first = next(self._call)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, if it has not ended."""
        self._first_place.put(None)
        self._call.cancel()

    def answers(self) -> Answers:
        """Yield its answers."""
        yield self._first
        told_count = len(self._first.refused)
        while told_count < self._first.refused_count:
            answer = next(self._call)
            told_count += len(answer.refused)
            yield answer
        self._first_place.put(self._first.row_count)
        yield from self._call

    def _requests(self) -> Iterator[pb.ImportRegistrationsRequest]:
        """Yield what is sent, on a thread of gRPC's; what the rows raise ends the call."""
        yield pb.ImportRegistrationsRequest(header=self._header)
        place = self._first_place.get()
        try:
            if place is not None:
                yield from _messages(self._rows_from(place))
        except Exception as error:
            self.error = error
            self._call.cancel()


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
        return names_a_delay(error)  # else a message is too large
    return code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or reason == ConcurrentImport.reason
