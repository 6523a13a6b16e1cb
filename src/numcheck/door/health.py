"""grpc.health.v1 on the API listener: what the node says of itself, asked for or watched."""

from collections.abc import Collection

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from numcheck.api.calls import parsed, refusing
from numcheck.door.watches import Message, Watches
from numcheck.errors import UnknownService


class Health:
    """NOT_SERVING for every service until `set_serving`."""

    name = health.SERVICE_NAME

    def __init__(self, services: Collection[str], watches: Watches) -> None:
        self._services, self._watches = services, watches
        self._status: int = HealthCheckResponse.NOT_SERVING

    def set_serving(self, *, serving: bool) -> None:
        """Say for every service whether it answers; whoever watches is told."""
        self._status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        self._watches.tell()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service as grpcio registers it."""
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(refusing(self._check)),
            "Watch": self._watches.method(self._watch),
        }
        return grpc.method_handlers_generic_handler(self.name, methods)

    def _check(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        if parsed(HealthCheckRequest, request).service not in self._services:
            raise UnknownService("this listener has no such service")
        return HealthCheckResponse(status=self._status).SerializeToString()

    def _watch(self, request: bytes) -> Message:
        known = parsed(HealthCheckRequest, request).service in self._services

        def message() -> bytes:
            status = self._status if known else HealthCheckResponse.SERVICE_UNKNOWN
            return HealthCheckResponse(status=status).SerializeToString()

        return message
