"""grpc.health.v1 on the API listener: what the node says of itself, without a thread for each watch.

grpcio's own servicer sends to watches with its lock held. A watch that ends meanwhile waits for that lock on the very
thread that would finish the sending, and from then on the listener answers nobody: a few clients that open and close
watches are enough. Here one thread sends, and nothing waits for it: a lock is held only to change the set of watches,
and a watch whose client takes nothing is ended, so that it cannot hold up what the others are told.
"""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SEND_TIMEOUT_S = 5.0


@dataclass(eq=False, slots=True)
class _Watch:
    """A call of Watch under way. `told` is the status that it was sent last; `send` with None ends the call."""

    service: str
    send: Callable[[HealthCheckResponse | None], None]
    cancel: Callable[[], object]
    told: int | None = None


class Health:
    """NOT_SERVING for every service until `set_serving`."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._status: int = HealthCheckResponse.NOT_SERVING
        self._ended = False
        self._watches: set[_Watch] = set()
        self._watches_lock = threading.Lock()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="health")

    def set_serving(self, *, serving: bool) -> None:
        """Say for every service whether it answers; whoever watches is told."""
        self._status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        self._sender.submit(self._tell_all)

    def end(self) -> None:
        """Say NOT_SERVING for good and end every watch, so that a drain waits for none."""
        if self._ended:
            return
        self._status = HealthCheckResponse.NOT_SERVING
        self._ended = True
        self._sender.submit(self._tell_all)

    def close(self) -> None:
        """Give the thread back, once the listener has stopped."""
        self._sender.shutdown()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service as grpcio registers it."""

        def watch(
            request: HealthCheckRequest,
            context: grpc.ServicerContext,
            send_response_callback: Callable[[HealthCheckResponse | None], None],
        ) -> None:
            self._watch(_Watch(request.service, send_response_callback, context.cancel), context)

        # What grpcio calls its own Watch by: on this thread, and with a way to send instead of an iterator to wait for.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        watch.experimental_thread_pool = self._sender  # type: ignore[attr-defined]
        serialization = (HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString)
        return grpc.method_handlers_generic_handler(
            health.SERVICE_NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check, *serialization),
                "Watch": grpc.unary_stream_rpc_method_handler(watch, *serialization),
            },
        )

    def _check(self, request: HealthCheckRequest, context: grpc.ServicerContext) -> HealthCheckResponse:
        if request.service not in self._services:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            return HealthCheckResponse()
        return HealthCheckResponse(status=self._status)

    def _watch(self, watch: _Watch, context: grpc.ServicerContext) -> None:
        with self._watches_lock:
            self._watches.add(watch)
        if context.add_callback(lambda: self._forget(watch)):
            self._tell(watch)
        else:
            self._forget(watch)

    def _forget(self, watch: _Watch) -> None:
        with self._watches_lock:
            self._watches.discard(watch)

    def _tell_all(self) -> None:
        with self._watches_lock:
            watches = list(self._watches)
        for watch in watches:
            self._tell(watch)

    def _tell(self, watch: _Watch) -> None:
        ended = self._ended  # before the status: whoever sees the end sees the status that goes with it
        known = watch.service in self._services
        status = self._status if known else HealthCheckResponse.SERVICE_UNKNOWN
        if status != watch.told:
            watch.told = status
            impatience = threading.Timer(SEND_TIMEOUT_S, watch.cancel)
            impatience.start()
            watch.send(HealthCheckResponse(status=status))
            impatience.cancel()
        if ended:
            watch.send(None)
