"""Ends a stream of grpcio's whose caller sends nothing: it would keep its thread, and there are few."""

from collections.abc import Iterator

import grpc

from numcheck.door.patience import Patience

STALL_TIMEOUT_S = 60.0


class Attended:
    """The requests of a stream, which is cancelled if the next does not come within STALL_TIMEOUT_S."""

    def __init__(self, requests: Iterator[bytes], context: grpc.ServicerContext, patience: Patience) -> None:
        self._requests, self._context, self._patience = requests, context, patience

    def __iter__(self) -> "Attended":
        return self

    def __next__(self) -> bytes:
        with self._patience.at_most(STALL_TIMEOUT_S, self._context.cancel):
            return next(self._requests)
