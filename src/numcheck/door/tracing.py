"""Traces the calls of a door's methods: a span of each call, with a part for each stretch of rules and each step.

A method that is traced has another function: where there is no tracer, calls cost nothing more. Watches and feeds,
which last for days, are not traced.
"""

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from google.rpc import code_pb2

from numcheck import spans
from numcheck.access import Runs
from numcheck.api.access import this_caller
from numcheck.api.calls import CallerWaits, served
from numcheck.api.errors import status_of
from numcheck.errors import NumcheckError
from numcheck.spans import Span, part_of
from numcheck.steps import Alone, Step, Steps, advanced

NS = 1_000_000_000
UNTRACED = frozenset({Runs.WATCH, Runs.FEED})
OWN = "/numcheck."  # health and reflection are not
IN_STEPS = frozenset({Runs.LOOKUP, Runs.GROUPED})
WAIT, RULES, STORE, OTHERS = "wait", "rules", "store", "others"
"""Parts of a call: until it began, this program's code, a step into the store, a step that waits for others."""
FAILURES = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Statuses that are a server's failure, as OpenTelemetry counts them; others are the caller's."""


def traced(path: str, runs: Runs, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a method, which traces its calls; the same function where they are not traced."""
    if runs in UNTRACED or not path.startswith(OWN) or not spans.is_traced():
        return answer
    if runs in IN_STEPS:
        return _in_steps(path, answer)
    return _as_stream(path, answer) if runs is Runs.EXCHANGE else _whole(path, answer)


def _whole(path: str, answer: Callable[..., bytes]) -> Callable[..., bytes]:
    @wraps(answer)
    def call_traced(request: Any, call: Any) -> bytes:
        span = _begun(path, call)
        if span is None:
            return answer(request, call)
        with _Outcome(span, call), part_of(span, RULES):
            return answer(request, call)

    return call_traced


def _as_stream(path: str, answer: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    @wraps(answer)
    def call_traced(requests: Iterator[bytes], call: Any) -> Iterator[bytes]:
        span = _begun(path, call)
        if span is None:
            yield from answer(requests, call)
            return
        with _Outcome(span, call), part_of(span, RULES):
            yield from answer(requests, call)

    return call_traced


def _in_steps(path: str, answer: Callable[..., Steps[bytes]]) -> Callable[..., Steps[bytes]]:
    @wraps(answer)
    def call_traced(request: bytes, call: Any) -> Steps[bytes]:
        span = _begun(path, call)
        if span is None:
            return (yield from answer(request, call))
        with _Outcome(span, call):
            return (yield from _steps_traced(span, answer(request, call)))

    return call_traced


def _steps_traced(span: Span, steps: Steps[bytes]) -> Steps[bytes]:
    outcome: Any = None
    while True:
        try:
            with part_of(span, RULES):
                step = advanced(steps, outcome)
        except StopIteration as end:
            answer: bytes = end.value
            return answer
        outcome = yield from _step_traced(span, step)


def _step_traced(span: Span, step: Step) -> Steps[Any]:
    """Take a step, and return what it comes to: a value, or an exception. One of many calls is traced in each."""
    if isinstance(step, Alone):

        def run() -> Any:
            with part_of(span, OTHERS):
                return step.run()

        return (yield from _outcome_of(Alone(run)))
    store = span.part(STORE, time.time_ns())
    outcome = yield from _outcome_of(step)
    store.end(type(outcome).__name__ if isinstance(outcome, Exception) else "")
    return outcome


def _outcome_of(step: Step) -> Steps[Any]:
    try:
        return (yield step)
    except Exception as error:
        return error


def _begun(path: str, call: Any) -> Span | None:
    """Begin a call's span, from when it came, and give its log lines the trace; None if it is not traced."""
    known, now = served(), time.time_ns()
    came = now - int(getattr(call, "waited_s", 0.0) * NS)  # grpcio does not tell
    span = spans.begin_call(path, spans.parent_of(known.trace_parent) if known else None, came_ns=came)
    if span is None:
        return None
    facts: dict[str, spans.Fact] = {"rpc.system.name": "grpc", "rpc.method": path[1:]}
    if known is not None:
        known.trace_id = span.trace_id
        facts["numcheck.request_id"] = known.request_id
    span.tell(**facts, **{"numcheck.role": str(this_caller().role)})
    if came < now:
        span.part(WAIT, came).end()
    return span


class _Outcome:
    """Ends a call's span with the status that the block comes to."""

    def __init__(self, span: Span, call: CallerWaits) -> None:
        self._span, self._call = span, call

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        status = self._status(error)
        self._span.tell(**{"rpc.response.status_code": status})
        if isinstance(error, NumcheckError):
            self._span.tell(**{"error.type": error.reason})
        self._span.end(status if status in FAILURES else "")

    def _status(self, error: BaseException | None) -> str:
        if error is None:
            return "OK"
        # What is no Exception ends a generator that nobody asks any more; doors raise errors of theirs as callers go.
        if not isinstance(error, Exception) or not (isinstance(error, NumcheckError) or self._call.is_active()):
            return "CANCELLED"
        name: str = code_pb2.Code.Name(status_of(error).code)
        return name
