"""The service grpc.health.v1: whether the node and each of its services answer."""

from collections.abc import Callable, Collection
from typing import Any

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from numcheck.api.calls import CallerWaits, Message, parsed
from numcheck.errors import UnknownService


class Health:
    """Answers NOT_SERVING for every service until `set_serving`."""

    name = health.SERVICE_NAME

    def __init__(self, services: Collection[str], changed: Callable[[], None]) -> None:
        """Answer for these services, and call `changed` whenever the answer may have changed."""
        self._services, self._changed = services, changed
        self._status: int = HealthCheckResponse.NOT_SERVING

    def set_serving(self, *, serving: bool) -> None:
        """Set the answer for every service, and notify the watches."""
        self._status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        self._changed()

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""
        return {"Check": self._check, "Watch": self._watch}

    def _check(self, request: bytes, _call: CallerWaits) -> bytes:
        if parsed(HealthCheckRequest, request).service not in self._services:
            raise UnknownService("this listener has no such service")
        return HealthCheckResponse(status=self._status).SerializeToString()

    def _watch(self, request: bytes) -> Message:
        known = parsed(HealthCheckRequest, request).service in self._services

        def message() -> bytes:
            status = self._status if known else HealthCheckResponse.SERVICE_UNKNOWN
            return HealthCheckResponse(status=status).SerializeToString()

        return message
