"""Feeds of the plain door: calls that send every event, each on a thread of its own: a slow one delays no other.

A client that takes nothing for SEND_TIMEOUT_S is cut off, and resumes where it was. A caller who may not call any more
is refused, with or without events to send. (door/watches.py sends the newest of a state; here nothing may be left out.)
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc

from numcheck.api.access import this_call
from numcheck.api.calls import Feed
from numcheck.door.draining import STOPPING
from numcheck.door.patience import Patience, give_back
from numcheck.door.refusing import refuse
from numcheck.errors import NodeStopping

SEND_TIMEOUT_S = 5.0
THREADS = 40  # more than feeds have slots, so that one too many is refused at once and does not wait
ACCESS_INTERVAL_S = 5.0  # between two checks, within a piece, that the caller may still call
POLL_INTERVAL_S = 0.5  # between two looks for what other nodes and processes have written


class Feeds:
    """Every feed of a listener."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Collection[str]], None]] = []
        self._news = threading.Condition()
        self._news_counts: Counter[str] = Counter()  # by service
        self._ended = False
        self._patience = Patience()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="feed")

    def notify(self, services: Collection[str]) -> None:
        """Wake the feeds of these services: there may be something to send."""
        with self._news:
            self._news_counts.update(services)
            self._news.notify_all()
        for call in self._subscribers:
            call(services)

    def end(self) -> None:
        """End every feed once it has nothing left to send: the node stops, and its drain should wait for no feed."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def close(self) -> None:
        """Give the threads back, once the listener has stopped."""
        give_back(self._threads)
        self._patience.close()

    def subscribe(self, call: Callable[[Collection[str]], None]) -> None:
        """Have `call` run with the services whenever there may be something to send to them."""
        self._subscribers.append(call)

    def method(self, feed_for: Callable[[bytes, grpc.ServicerContext], Feed]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return a server-streaming method: `feed_for` makes the feed of a request, or raises."""

        def feed(
            request: bytes, context: grpc.ServicerContext, send_response_callback: Callable[[bytes | None], None]
        ) -> None:
            try:
                one = feed_for(request, context)
                with ExitStack() as held:
                    for slots in one.slots:
                        held.enter_context(slots.take(one.service))
                    self._run(one, context, send_response_callback)
            except Exception as error:
                if context.is_active():
                    refuse(context, error)

        # Have grpcio call the method on these threads, with a callback that sends instead of an iterator to wait for.
        feed.experimental_non_blocking = True  # type: ignore[attr-defined]
        feed.experimental_thread_pool = self._threads  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(feed)

    def _run(self, feed: Feed, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        context.add_callback(lambda: self.notify([feed.service]))  # a client that goes away ends its wait
        check = this_call().check
        while context.is_active():
            # Read before the piece, so that what comes meanwhile is not slept through.
            seen, ended = self._news_counts[feed.service], self._ended
            check()
            piece = next(feed.pieces, None)
            checked_at = time.monotonic()
            for message in piece or ():
                if time.monotonic() - checked_at > ACCESS_INTERVAL_S:
                    check()
                    checked_at = time.monotonic()
                self._send(message, context, send)
                if not context.is_active():
                    return
            if piece is None:
                send(None)
                return
            if not piece and ended:
                raise NodeStopping(STOPPING)
            if not piece:
                self._wait(feed.service, seen, ended)

    def _wait(self, service: str, seen: int, ended: bool) -> None:
        with self._news:
            self._news.wait_for(
                lambda: self._news_counts[service] != seen or self._ended != ended, timeout=POLL_INTERVAL_S
            )

    def _send(self, message: bytes, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        with self._patience.at_most(SEND_TIMEOUT_S, context.cancel):
            send(message)
