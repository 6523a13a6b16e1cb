"""Calls that are told of every event, each on a thread of the feeds' own: a slow one waits for itself alone.

A feed's client that takes nothing for SEND_TIMEOUT_S is cut off: it resumes where it was. Whoever may not call any more
is refused, whether or not there is something to tell. (door/watches.py is for what has one newest state; here nothing
may be left out.)
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
THREADS = 40  # more than feeds have places, so that one too many is refused at once and does not wait
ACCESS_INTERVAL_S = 5.0  # at which it is asked again, within a piece, whether a feed's caller may call
POLL_INTERVAL_S = 0.5  # at which what another node or process has written is seen


class Feeds:
    """Every feed of a listener."""

    def __init__(self) -> None:
        self._followers: list[Callable[[Collection[str]], None]] = []
        self._news = threading.Condition()
        self._news_counts: Counter[str] = Counter()  # by service
        self._ended = False
        self._patience = Patience()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="feed")

    def tell(self, services: Collection[str]) -> None:
        """Say that there may be something to send to these services."""
        with self._news:
            self._news_counts.update(services)
            self._news.notify_all()
        for follow in self._followers:
            follow(services)

    def end(self) -> None:
        """End every feed that has nothing to send, as the node stops, so that a drain waits for none."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def close(self) -> None:
        """Give the threads back, once the listener has stopped."""
        give_back(self._threads)
        self._patience.close()

    def follow(self, follow: Callable[[Collection[str]], None]) -> None:
        """Have `follow` called with the services that there may be something to send to."""
        self._followers.append(follow)

    def method(self, feed_for: Callable[[bytes, grpc.ServicerContext], Feed]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return a server-streaming method: `feed_for` makes of a request what its feed sends, or raises."""

        def feed(
            request: bytes, context: grpc.ServicerContext, send_response_callback: Callable[[bytes | None], None]
        ) -> None:
            try:
                one = feed_for(request, context)
                with ExitStack() as held:
                    for places in one.places:
                        held.enter_context(places.one(one.service))
                    self._run(one, context, send_response_callback)
            except Exception as error:
                if context.is_active():
                    refuse(context, error)

        # What grpcio calls a method by on these threads, and with a way to send instead of an iterator to wait for.
        feed.experimental_non_blocking = True  # type: ignore[attr-defined]
        feed.experimental_thread_pool = self._threads  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(feed)

    def _run(self, feed: Feed, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        context.add_callback(lambda: self.tell([feed.service]))  # whoever goes away is not waited for
        check = this_call().check
        while context.is_active():
            # Before reading: what comes meanwhile is not slept through.
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
