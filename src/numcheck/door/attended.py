"""Ends a stream of grpcio's whose caller sends nothing: it would hold its thread, and there are few."""

import threading
import time
from collections.abc import Iterator

import grpc

STALL_TIMEOUT_S = 60.0


class Attended:
    """The requests of a stream, which is cancelled if its caller lets the node wait for one for STALL_TIMEOUT_S."""

    def __init__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
        self._requests, self._context = requests, context
        self._timeout_s = STALL_TIMEOUT_S
        self._waiting_since: float | None = None  # None: not waiting; what the node itself takes is not the caller's
        self._done = threading.Event()

    def __enter__(self) -> "Attended":
        threading.Thread(target=self._attend, name="push-attendant", daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._done.set()

    def __iter__(self) -> "Attended":
        return self

    def __next__(self) -> bytes:
        self._waiting_since = time.monotonic()
        try:
            return next(self._requests)
        finally:
            self._waiting_since = None

    def _attend(self) -> None:
        while not self._done.wait(max(self._patience_s(), 0)):
            if self._patience_s() <= 0:
                self._context.cancel()
                return

    def _patience_s(self) -> float:
        since = self._waiting_since
        return self._timeout_s if since is None else since + self._timeout_s - time.monotonic()
