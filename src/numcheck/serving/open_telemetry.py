"""Traces by OpenTelemetry, handed to a collector as OTLP over HTTP. Needs the extra `traces`.

Invariants: no call waits for the collector; spans wait in memory, as many as the SDK's queue holds, and the newest are
dropped beyond that. What is traced is in `numcheck.spans`, with the rule that nothing in it is personal.
"""

import logging
import random
import threading
from collections.abc import Sequence
from importlib.metadata import version
from urllib.parse import urlsplit

import requests
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from numcheck.config import Settings
from numcheck.deadline import Deadline
from numcheck.door.rates import Rates
from numcheck.errors import CallRateExceeded
from numcheck.hosts import is_loopback
from numcheck.spans import Fact, Parent

TIMEOUT_S = 3.0  # for the collector to take a batch, its repetitions among it
TRACES = "traces"

log = structlog.get_logger()


class OpenTelemetry:
    """Begins traces: of a share of all calls, and of those that callers have sampled; so many a second at most."""

    def __init__(self, settings: Settings, processor: SpanProcessor) -> None:
        """Give each span that has ended to `processor`."""
        about = {"service.name": "numcheck", "service.version": version("numcheck")}
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(about), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("numcheck")
        self._rates = Rates({TRACES: float(settings.traces_per_second_max)})
        self._share = 0.0
        self.take(settings)

    def take(self, settings: Settings) -> None:
        """Take the share anew."""
        self._share = settings.traces_percent / 100

    def close(self) -> None:
        """Hand over the spans that have ended, for TIMEOUT_S: a collector that answers a byte now and then would take
        any time."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        Deadline(TIMEOUT_S).join(ending)

    def begin(self, name: str, began_ns: int, parent: Parent | None, *, is_call: bool) -> "TracedSpan | None":
        """Begin a trace, or go on with a caller's; None if it is not kept."""
        wanted = random.random() < self._share if parent is None else parent.sampled
        if not wanted or not self._has_room():
            return None
        kind = SpanKind.SERVER if is_call else SpanKind.INTERNAL
        span = self._tracer.start_span(name, _context_of(parent), kind, start_time=began_ns)
        return TracedSpan(self._tracer, span) if span.is_recording() else None

    def _has_room(self) -> bool:
        try:
            self._rates.take(TRACES, "")
        except CallRateExceeded:
            return False
        return True


class TracedSpan:
    """A span of OpenTelemetry's, as `numcheck.spans` has it."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer, self._span = tracer, span

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to."""
        return format_trace_id(self._span.get_span_context().trace_id)

    @property
    def span_id(self) -> str:
        """Its own name in the trace."""
        return format_span_id(self._span.get_span_context().span_id)

    def part(self, name: str, began_ns: int) -> "TracedSpan":
        """Begin a span that is a part of this one."""
        context = set_span_in_context(self._span, Context())
        return TracedSpan(self._tracer, self._tracer.start_span(name, context, start_time=began_ns))

    def tell(self, **facts: Fact) -> None:
        """Add facts."""
        self._span.set_attributes(facts)

    def end(self, problem: str = "") -> None:
        """End it; `problem` is a word for its failure."""
        if problem:
            self._span.set_status(Status(StatusCode.ERROR, problem))
        self._span.end()


def _context_of(parent: Parent | None) -> Context:
    if parent is None:
        return Context()
    ids = int(parent.trace_id, 16), int(parent.span_id, 16)
    caller = SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(caller), Context())


def batches_to(url: str, *, use_proxy: bool) -> SpanProcessor:
    """Return what posts spans to a collector, many at a time. `use_proxy`: the environment's proxies count.

    Headers and certificates are those of OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_HEADERS.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # `Reporting` says it, once
    session = requests.Session()
    session.trust_env = use_proxy and not is_loopback(urlsplit(url).hostname or "")
    return BatchSpanProcessor(Reporting(OTLPSpanExporter(url, timeout=TIMEOUT_S, session=session)))


class Reporting(SpanExporter):
    """An exporter that says in the log once that spans cannot be handed over, and once that they can be again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._fails = exporter, False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand over spans."""
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log.warning("traces cannot be handed over: they are lost until the collector takes them")
        elif self._fails and not fails:
            log.info("traces are handed over again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """End a hand-over that is being repeated."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Hand over what waits in the exporter."""
        return self._exporter.force_flush(timeout_millis)
