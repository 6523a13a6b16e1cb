"""Calls that are told of every event, each on a thread of the feeds' own: a slow one waits for itself alone.

A feed's client that takes nothing for SEND_TIMEOUT_S is cut off: it resumes where it was. (rpc/watches.py is for what
has one newest state; here nothing may be left out.)
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from numcheck.errors import TooManyStreams
from numcheck.rpc.calls import refuse

SEND_TIMEOUT_S = 5.0
FEEDS_MAX = 32
POLL_INTERVAL_S = 0.5  # at which what another node or process has written is seen

Pieces = Iterator[list[bytes]]
"""What a feed sends next, again and again: nothing, if there is nothing now."""


class Feeds:
    """Every feed of a listener."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(FEEDS_MAX)
        self._news = threading.Condition()
        self._news_count = 0
        self._ended = False
        # More threads than places, so that one too many is refused at once and does not wait.
        self._threads = ThreadPoolExecutor(FEEDS_MAX + 8, thread_name_prefix="feed")

    def tell(self) -> None:
        """Say that there may be something to send."""
        with self._news:
            self._news_count += 1
            self._news.notify_all()

    def end(self) -> None:
        """End every feed, so that a drain waits for none."""
        self._ended = True
        self.tell()

    def close(self) -> None:
        """Give the threads back, once the listener has stopped."""
        self._threads.shutdown()

    def method(
        self, pieces_for: Callable[[bytes, grpc.ServicerContext], Pieces]
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A server-streaming method: `pieces_for` makes of a request what its feed sends, or raises."""

        def feed(
            request: bytes, context: grpc.ServicerContext, send_response_callback: Callable[[bytes | None], None]
        ) -> None:
            if not self._places.acquire(blocking=False):
                refuse(context, TooManyStreams("as many feeds as this node serves at once are open"))
            try:
                self._run(pieces_for(request, context), context, send_response_callback)
            except Exception as error:
                if context.is_active():
                    refuse(context, error)
            finally:
                self._places.release()

        # What grpcio calls a method by on these threads, and with a way to send instead of an iterator to wait for.
        feed.experimental_non_blocking = True  # type: ignore[attr-defined]
        feed.experimental_thread_pool = self._threads  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(feed)

    def _run(self, pieces: Pieces, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        context.add_callback(self.tell)  # whoever goes away is not waited for
        while context.is_active():
            seen, ended = self._news_count, self._ended  # before reading: what comes meanwhile is not slept through
            piece = next(pieces)
            for message in piece:
                self._send(message, context, send)
                if not context.is_active():
                    return
            if not piece and ended:
                send(None)
                return
            if not piece:
                with self._news:
                    self._news.wait_for(lambda: self._news_count != seen, POLL_INTERVAL_S)  # noqa: B023 - used here

    @staticmethod
    def _send(message: bytes, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        impatience = threading.Timer(SEND_TIMEOUT_S, context.cancel)
        impatience.start()
        try:
            send(message)
        finally:
            impatience.cancel()
