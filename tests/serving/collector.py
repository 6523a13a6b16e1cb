"""A collector of the tests: takes traces as OTLP over HTTP, and has what came as OpenTelemetry's own messages."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.delivery.gateway import Gateway, gateway_running

PATIENCE_S = 60.0


class Collector:
    """The spans that a node has handed over so far."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.env = {
            "NUMCHECK_TRACES_URL": gateway.url,
            "NUMCHECK_TRACES_PERCENT": "100",
            "NUMCHECK_TRACES_PER_SECOND_MAX": "100000",
            "OTEL_BSP_SCHEDULE_DELAY": "50",  # milliseconds
        }

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        """The bodies that came, read by the official runtime."""
        with self._gateway.came:
            return [ExportTraceServiceRequest.FromString(one.body) for one in self._gateway.got]

    @property
    def spans(self) -> list[Span]:
        """Every span that came."""
        scopes = (scope for one in self.requests for resource in one.resource_spans for scope in resource.scope_spans)
        return [span for scope in scopes for span in scope.spans]

    @property
    def text(self) -> str:
        """All of it, as text and as bytes."""
        with self._gateway.came:
            bodies = [one.body for one in self._gateway.got]
        return "\n".join([*map(str, self.requests), *(repr(body) for body in bodies), *(body.hex() for body in bodies)])

    def until(self, *names: str) -> list[Span]:
        """Every span, once there are some of these names."""

        def are_there() -> bool:
            return set(names) <= {span.name for span in self.spans}

        with self._gateway.came:
            assert self._gateway.came.wait_for(are_there, PATIENCE_S), {span.name for span in self.spans}
        return self.spans


def facts_of(span: Span) -> Mapping[str, str | int | bool]:
    """The attributes of a span."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port of loopback."""
    with gateway_running() as gateway:
        yield Collector(gateway)
