"""Watches of the plain door: calls that send a state whenever it changes, without a thread for each.

One thread sends to all of them, and nothing waits for it: a lock is taken only to change the set of watches. (grpcio's
own health servicer sends under its lock; a watch that ends meanwhile waits for that lock on the very thread that would
finish the sending, and from then on the listener answers nobody.) Other threads begin watches, as a client may take its
time to send its request. A watch is ended if its client takes nothing, so that it cannot delay the others; if its
message cannot be made; and if its caller may not call any more, with or without a change. When the node stops every
watch ends with UNAVAILABLE, at which clients reconnect.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from numcheck.api.access import this_call
from numcheck.api.calls import Message
from numcheck.api.errors import log_failure
from numcheck.deadline import Deadline
from numcheck.door.draining import STOPPING
from numcheck.door.patience import Patience, give_back
from numcheck.door.refusing import finish, refuse
from numcheck.errors import NodeStopping

SEND_TIMEOUT_S = 5.0
BEGINNING_MAX = 8  # at once; others wait
ACCESS_INTERVAL_S = 15.0  # between two checks that a watch's caller may still call


@dataclass(eq=False, slots=True)
class _Watch:
    """A call under way. `sent` is its last message; `send` with None ends the call; `check` raises once its caller may
    not make it any more."""

    message: Message
    send: Callable[[bytes | None], None]
    context: grpc.ServicerContext
    check: Callable[[], object]
    sent: bytes | None = None


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
        self._subscribers: list[Callable[[], None]] = []
        threading.Thread(target=self._ask_again, name="watches-access", daemon=True).start()

    def notify(self) -> None:
        """Send its message to each watch whose message has changed."""
        if not self._ended:
            self._sender.submit(self._send_all)
        for call in self._subscribers:
            call()

    def subscribe(self, call: Callable[[], None]) -> None:
        """Have `call` run whenever something may have changed."""
        self._subscribers.append(call)

    def end(self) -> None:
        """Send what has changed, and end every watch, so that a drain waits for none."""
        if not self._ended:
            self._ended = True
            self._sender.submit(self._send_all)

    def close(self, deadline: Deadline | None = None) -> None:
        """Give the threads back, once the listener has stopped; later changes are sent to nobody."""
        self._ended = True
        self._closed.set()
        give_back(self._beginners, self._sender, deadline=deadline)
        self._patience.close()

    def method(self, message_for: Callable[[bytes], Message]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return a server-streaming method: `message_for` makes the message function of a request, or raises."""

        def watch(
            request: bytes, context: grpc.ServicerContext, send_response_callback: Callable[[bytes | None], None]
        ) -> None:
            try:
                one = _Watch(message_for(request), send_response_callback, context, this_call().check)
                one.message()
            except Exception as error:
                refuse(context, error)
            self._add(one)

        # Have grpcio call the method on these threads, with a callback that sends instead of an iterator to wait for.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        watch.experimental_thread_pool = self._beginners  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(watch)

    def _ask_again(self) -> None:
        while not self._closed.wait(self._access_interval_s):
            self.notify()

    def _add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.add(watch)
        if watch.context.add_callback(lambda: self._forget(watch)):
            self._sender.submit(self._try_send, watch)
        else:
            self._forget(watch)

    def _forget(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.discard(watch)

    def _send_all(self) -> None:
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            self._try_send(watch)

    def _try_send(self, watch: _Watch) -> None:
        """Send to one watch; an error ends this watch, and no other."""
        if watch not in self._watches:
            return  # it has ended
        try:
            watch.check()
            self._send(watch)
        except Exception as error:
            log_failure(error)
            self._forget(watch)
            finish(watch.context, watch.send, error)

    def _send(self, watch: _Watch) -> None:
        ended = self._ended  # read before the message, so that no change before the end is left out
        while (message := watch.message()) != watch.sent:
            watch.sent = message
            with self._patience.at_most(SEND_TIMEOUT_S, watch.context.cancel):
                watch.send(message)
        if ended:
            raise NodeStopping(STOPPING)
