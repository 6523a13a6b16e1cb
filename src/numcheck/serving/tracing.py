"""Makes the traces of a process that serves, if its settings want them. Imports the extra `traces` only then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from numcheck import spans
from numcheck.config import Settings
from numcheck.errors import BadConfiguration

NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check_tracing(settings: Settings) -> None:
    """Raise BadConfiguration if traces are wanted and the extra is not there."""
    if settings.traces_url is not None and not all(map(_is_there, NEEDED)):
        raise BadConfiguration("traces_url needs the extra traces: pip install 'numcheck[traces]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it is in
        return False


@contextmanager
def tracing(settings: Settings) -> Iterator[Callable[[Settings], None]]:
    """Trace during the block, if the settings say so; yield a function that takes settings anew."""
    check_tracing(settings)
    if settings.traces_url is None:
        yield lambda _settings: None
        return
    from numcheck.serving.open_telemetry import OpenTelemetry, batches_to  # noqa: PLC0415  # needs the extra

    tracer = OpenTelemetry(settings, batches_to(settings.traces_url, use_proxy=settings.use_proxy))
    spans.trace_with(tracer)
    try:
        yield tracer.take
    finally:
        spans.trace_with(None)
        tracer.close()
