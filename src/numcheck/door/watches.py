"""Calls that are told of every change, without a thread for each.

One thread sends to all of them, and nothing waits for it: a lock is held only to change the set of watches. (grpcio's
own health servicer sends with its lock held; a watch that ends meanwhile waits for that lock on the very thread that
would finish the sending, and from then on the listener answers nobody.) Other threads begin watches, as a client may
take its time to send its request. A watch whose client takes nothing is ended, so that it cannot hold up what others
are told; so is one that cannot be told what it is to be told, and one whose caller may not call any more, whether or
not there is something to tell. When the node stops every watch ends with UNAVAILABLE, at which clients reconnect.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from numcheck.api.access import this_call
from numcheck.api.calls import Message
from numcheck.api.errors import log_failure
from numcheck.door.draining import STOPPING
from numcheck.door.patience import Patience, give_back
from numcheck.door.refusing import finish, refuse
from numcheck.errors import NodeStopping

SEND_TIMEOUT_S = 5.0
BEGINNING_MAX = 8  # at once; others wait
ACCESS_INTERVAL_S = 15.0  # at which it is asked again whether a watch's caller may call


@dataclass(eq=False, slots=True)
class _Watch:
    """A call under way. `told` is what it was sent last; `send` with None ends the call; `check` raises if its caller
    may not make it any more."""

    message: Message
    send: Callable[[bytes | None], None]
    context: grpc.ServicerContext
    check: Callable[[], object]
    told: bytes | None = None


class Watches:
    """Every watch of a listener, of whatever method."""

    def __init__(self, *, access_interval_s: float = ACCESS_INTERVAL_S) -> None:
        self._access_interval_s = access_interval_s
        self._closed = threading.Event()
        self._watches: set[_Watch] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._patience = Patience()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="watches")
        self._beginners = ThreadPoolExecutor(BEGINNING_MAX, thread_name_prefix="watches-begin")
        self._followers: list[Callable[[], None]] = []
        threading.Thread(target=self._ask_again, name="watches-access", daemon=True).start()

    def tell(self) -> None:
        """Say that something may have changed: each watch whose message is another now is sent it."""
        if not self._ended:
            self._sender.submit(self._tell_all)
        for follow in self._followers:
            follow()

    def follow(self, follow: Callable[[], None]) -> None:
        """Have `follow` called whenever something may have changed."""
        self._followers.append(follow)

    def end(self) -> None:
        """Tell every watch what there is still to tell, and end it, so that a drain waits for none."""
        if not self._ended:
            self._ended = True
            self._sender.submit(self._tell_all)

    def close(self) -> None:
        """Give the threads back, once the listener has stopped; what changes from then on is told nobody."""
        self._ended = True
        self._closed.set()
        give_back(self._beginners)
        give_back(self._sender)
        self._patience.close()

    def method(self, message_for: Callable[[bytes], Message]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A server-streaming method: `message_for` makes of a request what its watch is told, or raises."""

        def watch(
            request: bytes, context: grpc.ServicerContext, send_response_callback: Callable[[bytes | None], None]
        ) -> None:
            try:
                one = _Watch(message_for(request), send_response_callback, context, this_call().check)
                one.message()
            except Exception as error:
                refuse(context, error)
            self._add(one)

        # What grpcio calls a method by on these threads, and with a way to send instead of an iterator to wait for.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        watch.experimental_thread_pool = self._beginners  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(watch)

    def _ask_again(self) -> None:
        while not self._closed.wait(self._access_interval_s):
            self.tell()

    def _add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.add(watch)
        if watch.context.add_callback(lambda: self._forget(watch)):
            self._sender.submit(self._try_tell, watch)
        else:
            self._forget(watch)

    def _forget(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.discard(watch)

    def _tell_all(self) -> None:
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            self._try_tell(watch)

    def _try_tell(self, watch: _Watch) -> None:
        """Tell one watch; what fails for it ends it, and the others are told all the same."""
        if watch not in self._watches:
            return  # it has ended
        try:
            watch.check()
            self._tell(watch)
        except Exception as error:
            log_failure(error)
            self._forget(watch)
            finish(watch.context, watch.send, error)

    def _tell(self, watch: _Watch) -> None:
        ended = self._ended  # before the message: whoever sees the end sees the message that goes with it
        while (message := watch.message()) != watch.told:
            watch.told = message
            with self._patience.at_most(SEND_TIMEOUT_S, watch.context.cancel):
                watch.send(message)
        if ended:
            raise NodeStopping(STOPPING)
