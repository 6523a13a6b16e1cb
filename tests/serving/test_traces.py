"""Traces: which spans a node makes, whose trace they belong to, and that nothing in them is personal.

A collector of the test's own reads what comes as OpenTelemetry's messages.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from numcheck import spans
from numcheck.access import METHODS, Caller, Role, Runs
from numcheck.api import access, calls
from numcheck.config import Settings, load_settings
from numcheck.door.native_door import LACKING
from numcheck.door.tracing import traced
from numcheck.errors import BadConfiguration, StoreUnavailable, TooManyNumbers
from numcheck.serving.checks import problems_of
from numcheck.serving.open_telemetry import OpenTelemetry
from numcheck.serving.tracing import tracing
from numcheck.steps import Alone, Steps, Together, alone
from numcheck.v1 import numbering_pb2
from numcheck.v1.check_pb2 import CheckNumberRequest, CheckNumbersRequest
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.delivery.gateway import gateway_running
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.collector import collecting, facts_of
from tests.serving.command import NUMCHECK, PLAIN, serving

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00"
MALFORMED = {
    "empty": "",
    "cut": SAMPLED[:-1],
    "in capitals": SAMPLED.upper(),
    "no trace": f"00-{'0' * 32}-{SPAN_ID}-01",
    "no span": f"00-{TRACE_ID}-{'0' * 16}-01",
    "version ff": f"ff{SAMPLED[2:]}",
    "longer than version 00 is": f"{SAMPLED}-00",
    "text": "79167654321".rjust(55, "x"),
}
DOORS = {"plain": (*PLAIN, "serve"), **({"native": (*NUMCHECK, "serve")} if LACKING is None else {})}
REGISTER = "/numcheck.v1.RegistrationService/Register"
PATIENCE_S = 30


# --- in memory: what a door's method becomes


class Waits:
    """A call, as far as its trace knows it."""

    def __init__(self, trace_parent: str = "", *, is_active: bool = True) -> None:
        self.trace_parent, self._is_active = trace_parent, is_active

    def is_active(self) -> bool:
        return self._is_active

    def time_remaining(self) -> float | None:
        return None


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where the spans go of everything that is traced."""
    kept = InMemorySpanExporter()
    tracer = OpenTelemetry(settings(traces_percent=0), SimpleSpanProcessor(kept))
    spans.trace_with(tracer)
    caller = Caller("numcheck://service/chat", Role.MESSENGER, service="chat")
    nobody = access._call.set(access.Call(caller, lambda _reason: None, lambda: None))
    yield kept
    access._call.reset(nobody)
    calls.serve_nobody()
    spans.trace_with(None)
    tracer.close()


def settings(**changes: Any) -> Settings:
    return load_settings(**{"traces_per_second_max": 1_000, **changes})


def serve(call: Waits) -> Waits:
    """Note that this thread serves the call."""
    calls.serve_again(calls.Served(call, lambda one: str(one.trace_parent)))
    return call


def tree(found: tuple[ReadableSpan, ...]) -> list[tuple[str, str]]:
    """Each span's name, with that of the span that it is a part of, in the order in which they began."""
    names = {span.context.span_id: span.name for span in found if span.context}
    ordered = sorted(found, key=lambda span: span.start_time or 0)
    return [(span.name, names.get(span.parent.span_id, "the caller") if span.parent else "") for span in ordered]


def steps(_request: bytes, _call: Waits) -> Steps[bytes]:
    looked: bytes = yield Together(list, b"looked")
    sent: bytes = yield Alone(lambda: send(b"sent"))
    with pytest.raises(StoreUnavailable):
        yield Together(fail, b"")
    return looked + sent


def send(what: bytes) -> bytes:
    with spans.part("courier") as tell:
        tell(courier="one")
    return what


def fail(_arguments: object) -> Any:
    raise StoreUnavailable("the store is away")


def test_a_call_in_steps_has_a_span_with_its_rules_its_store_and_whom_it_waits_for(
    exporter: InMemorySpanExporter,
) -> None:
    """All of the caller's trace; what a step came to reaches the call as it does without."""
    answer = alone(traced(REGISTER, Runs.GROUPED, steps)(b"", serve(Waits(SAMPLED))))
    assert answer == b"lookedsent"
    found, name = exporter.get_finished_spans(), REGISTER[1:]
    assert tree(found) == [
        (name, "the caller"),
        *(("rules", name), ("store", name), ("rules", name), ("others", name), ("courier", "others")),
        *(("rules", name), ("store", name), ("rules", name)),
    ]
    assert {f"{span.context.trace_id:032x}" for span in found if span.context} == {TRACE_ID}
    whole = found[-1]
    assert dict(whole.attributes or {}) | {"numcheck.request_id": ""} == {
        "rpc.system.name": "grpc",
        "rpc.method": name,
        "rpc.response.status_code": "OK",
        "numcheck.request_id": "",
        "numcheck.role": "messenger",
    }
    known = calls.served()
    assert known is not None
    assert (known.trace_id, known.request_id) == (TRACE_ID, (whole.attributes or {})["numcheck.request_id"])


def test_steps_that_many_calls_take_together_are_in_the_trace_of_each(exporter: InMemorySpanExporter) -> None:
    """However calls take turns on one thread, no part of one is in the trace of another."""
    parents = [f"00-{i + 1:032x}-{SPAN_ID}-01" for i in range(3)]
    served = [Waits(parent) for parent in parents]
    begun = [traced(REGISTER, Runs.GROUPED, steps)(b"", serve(one)) for one in served]
    waiting: list[tuple[Waits, Steps[bytes], Any]] = [(one, run, None) for one, run in zip(served, begun, strict=True)]
    while waiting:
        call, run, outcome = waiting.pop(0)
        serve(call)
        try:
            step = run.throw(outcome) if isinstance(outcome, Exception) else run.send(outcome)
        except StopIteration:
            continue
        try:
            outcome = step.run() if isinstance(step, Alone) else step.run([step.argument])[0]
        except StoreUnavailable as error:
            outcome = error
        waiting.append((call, run, outcome))
    by_trace: dict[int, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        assert span.context is not None
        by_trace.setdefault(span.context.trace_id, []).append(span)
    assert sorted(by_trace) == [1, 2, 3]
    assert len({json.dumps(tree(tuple(found))) for found in by_trace.values()}) == 1
    assert {len(found) for found in by_trace.values()} == {9}


@pytest.mark.parametrize("parent", [*MALFORMED.values(), NOT_SAMPLED])
@pytest.mark.parametrize("runs", [Runs.GROUPED, Runs.QUICK, Runs.EXCHANGE])
def test_a_call_that_is_not_sampled_is_answered_the_same_and_leaves_nothing(
    exporter: InMemorySpanExporter, parent: str, runs: Runs
) -> None:
    answers = {Runs.GROUPED: steps, Runs.EXCHANGE: lambda _requests, _call: iter([b"x"])}
    answer = traced(REGISTER, runs, answers.get(runs, lambda _request, _call: b"x"))(b"", serve(Waits(parent)))
    assert (alone(answer) if runs is Runs.GROUPED else b"".join(answer if runs is Runs.EXCHANGE else [answer])) in (
        *(b"x", b"lookedsent"),
    )
    assert exporter.get_finished_spans() == ()


def raising(error: Exception) -> Callable[..., Any]:
    def answer(_request: bytes, _call: Waits) -> bytes:
        with spans.part("store"):
            raise error

    return answer


@pytest.mark.parametrize(
    ("error", "status", "reason", "is_failure"),
    [
        (TooManyNumbers(7, 5), "INVALID_ARGUMENT", "TOO_MANY_NUMBERS", False),
        (StoreUnavailable("away"), "UNAVAILABLE", "STORE_UNAVAILABLE", True),
        (ValueError("79167654321"), "INTERNAL", None, True),
    ],
)
def test_a_call_that_fails_is_told_by_its_status_and_its_reason_alone(
    exporter: InMemorySpanExporter, error: Exception, status: str, reason: str | None, is_failure: bool
) -> None:
    with pytest.raises(type(error)):
        traced(REGISTER, Runs.QUICK, raising(error))(b"", serve(Waits(SAMPLED)))
    *parts, whole = exporter.get_finished_spans()
    assert whole.attributes is not None
    assert (whole.attributes["rpc.response.status_code"], whole.attributes.get("error.type")) == (status, reason)
    assert whole.status.is_ok == (not is_failure)
    assert {part.status.description for part in parts} == {type(error).__name__}
    assert not any(span.events or "7654321" in span.to_json() for span in (*parts, whole))


def test_a_call_whose_caller_has_gone_is_cancelled(exporter: InMemorySpanExporter) -> None:
    call = serve(Waits(SAMPLED, is_active=False))
    with pytest.raises(ValueError, match="gone"):
        traced(REGISTER, Runs.QUICK, raising(ValueError("gone")))(b"", call)
    run = traced(REGISTER, Runs.GROUPED, steps)(b"", serve(Waits(SAMPLED)))
    next(run)
    run.close()
    ended = [one for one in exporter.get_finished_spans() if one.name == REGISTER[1:]]
    assert [(one.attributes or {})["rpc.response.status_code"] for one in ended] == ["CANCELLED"] * 2


def test_nothing_is_traced_without_a_tracer_and_methods_stay_what_they_are() -> None:
    assert traced(REGISTER, Runs.GROUPED, steps) is steps
    with spans.work("builder") as tell, spans.part("store") as tell_part:
        tell(index_version=1)
        tell_part(use="read")
        assert spans.trace_id() == ""


@pytest.mark.parametrize("runs", [Runs.WATCH, Runs.FEED])
def test_watches_feeds_health_and_reflection_are_not_traced(exporter: InMemorySpanExporter, runs: Runs) -> None:
    assert traced(REGISTER, runs, steps) is steps
    assert traced("/grpc.health.v1.Health/Check", Runs.QUICK, steps) is steps
    assert exporter.get_finished_spans() == ()


def test_every_method_of_the_api_is_traced_but_watches_and_feeds(exporter: InMemorySpanExporter) -> None:
    untraced = {path for path, one in METHODS.items() if traced(path, one.runs, steps) is steps}
    lasting = {path for path, one in METHODS.items() if one.runs in (Runs.WATCH, Runs.FEED)}
    assert untraced == lasting | {path for path in METHODS if not path.startswith("/numcheck.v1.")}
    assert exporter.get_finished_spans() == ()


def test_so_many_traces_are_begun_in_a_second_whatever_callers_sample() -> None:
    tracer = OpenTelemetry(settings(traces_per_second_max=5), SimpleSpanProcessor(InMemorySpanExporter()))
    parent = spans.parent_of(SAMPLED)
    begun = [tracer.begin("x", 0, parent, is_call=True) for _ in range(10_000)]
    assert 5 <= sum(one is not None for one in begun) < 1_000  # a few more for each second that the loop takes


@pytest.mark.parametrize(("percent", "kept"), [(0, 0), (100, 200)])
def test_the_share_is_of_calls_whose_callers_do_not_say(percent: int, kept: int) -> None:
    """It can be changed while the node runs."""
    tracer = OpenTelemetry(settings(traces_percent=50), SimpleSpanProcessor(InMemorySpanExporter()))
    tracer.take(settings(traces_percent=percent))
    sampled, unsampled = spans.parent_of(SAMPLED), spans.parent_of(NOT_SAMPLED)
    assert sum(tracer.begin("x", 0, None, is_call=True) is not None for _ in range(200)) == kept
    assert tracer.begin("x", 0, sampled, is_call=True) is not None
    assert tracer.begin("x", 0, unsampled, is_call=True) is None


@pytest.mark.parametrize("text", MALFORMED.values())
def test_a_malformed_traceparent_is_no_parent(text: str) -> None:
    assert spans.parent_of(text) is None


@pytest.mark.parametrize("text", [SAMPLED, f"cc{SAMPLED[2:]}", f"cc{SAMPLED[2:]}-what-the-future-brings"])
def test_a_traceparent_is_read_as_the_specification_says(text: str) -> None:
    """A later version is read as far as this one knows it (W3C Trace Context, 3.2.4 and 4.3)."""
    assert spans.parent_of(text) == spans.Parent(TRACE_ID, SPAN_ID, sampled=True)
    assert spans.parent_of(NOT_SAMPLED) == spans.Parent(TRACE_ID, SPAN_ID, sampled=False)
    assert spans.parent_of(f"00-{TRACE_ID}-{SPAN_ID}-03") == spans.Parent(TRACE_ID, SPAN_ID, sampled=True)


# --- a node


def push(channel: grpc.Channel, data_dir: Path) -> int:
    """Push a number of an operator that has none; the version of the index that has it."""
    with_data = numbering_pb2.PushHeader(
        operator_id=operator_id_of(data_dir, small.SCARTEL), mode=numbering_pb2.PUSH_MODE_SNAPSHOT, push_id="first"
    )
    with_data.data_time.GetCurrentTime()
    request = numbering_pb2.PushActiveNumbersRequest(header=with_data, add=[small.UNKNOWN])
    pushed = NumberingServiceStub(channel).PushActiveNumbers(iter([request]), timeout=PATIENCE_S)
    return int(pushed.index_version)


def operator_id_of(data_dir: Path, tax_id: str) -> int:
    from numcheck.store import Store  # noqa: PLC0415

    with Store(data_dir, read_only=True) as store:
        return next(one.operator_id for one in store.operators() if one.tax_id == tax_id)


@pytest.mark.parametrize("door", DOORS)
def test_a_node_traces_calls_their_parts_and_its_own_work(data_dir: Path, tmp_path: Path, door: str) -> None:
    """A registration by a courier, a push that is built and an event that is posted; the log has the same trace, and so
    have the requests to the gateway and to the webhook's receiver."""
    key = tmp_path / "secret.key"
    key.write_bytes(b"a key of enough bytes for both of them")
    with gateway_running() as gateway, collecting() as collector:
        gateway.answers = [400]
        config = tmp_path / "numcheck.toml"
        config.write_text(
            f"verification_methods = 'code'\n[[couriers]]\nname = 'sms'\nurl = '{gateway.url}'\nsecret_file = '{key}'\n"
            f"[[webhooks]]\nname = 'backend'\nservice = 'chat'\nurl = '{gateway.url}'\nsecret_file = '{key}'\n"
        )
        command = DOORS[door]
        env = {**collector.env, "NUMCHECK_LISTEN": "127.0.0.1:0", "NUMCHECK_THREADS": "1"}
        with (
            serving(data_dir, "--config", config, command=command, env=env) as node,
            grpc.insecure_channel(node.address) as channel,
        ):
            push(channel, data_dir)
            RegistrationServiceStub(channel).Register(
                register_request("chat", small.UNKNOWN), timeout=PATIENCE_S, metadata=[("traceparent", SAMPLED)]
            )
            found = collector.until(REGISTER[1:], "builder", "webhook")
            line = json.loads(node.process.line_with("a code was not handed over"))
    own = [span for span in found if span.trace_id.hex() == TRACE_ID]
    by_id = {span.span_id: span for span in own}
    (whole,) = (span for span in own if span.name == REGISTER[1:])
    assert whole.parent_span_id.hex() == SPAN_ID
    assert {"rules", "store", "courier"} <= {span.name for span in own}
    assert all(span.parent_span_id in by_id for span in own if span is not whole)
    (courier,) = (span for span in own if span.name == "courier")
    assert facts_of(courier) == {"courier": "sms", "channel": "sms"}
    asked = [one for one in gateway.got if "cloudevents" not in one.headers["content-type"]]
    assert {one.headers["traceparent"] for one in asked} == {f"00-{TRACE_ID}-{courier.span_id.hex()}-01"}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in found)
    assert (line["trace_id"], line["request_id"]) == (TRACE_ID, facts_of(whole)["numcheck.request_id"])
    webhook = next(span for span in found if span.name == "webhook")
    told = [one.headers["traceparent"] for one in gateway.got if one not in asked]
    assert f"00-{webhook.trace_id.hex()}-{webhook.span_id.hex()}-01" in told
    assert facts_of(webhook)["webhook"] == "backend"
    assert facts_of(webhook)["problem"] == "the receiver answered with status 400"
    assert any(span.name == "store" and span.trace_id != own[0].trace_id for span in found)
    resource = {one.key: one.value.string_value for one in collector.requests[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "numcheck"
    assert not [canary for canary in (str(small.UNKNOWN)[1:], "203.0.113.7", "Иванов") if canary in collector.text]


@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
def test_native_checks_are_traced_only_if_their_callers_sample_them(data_dir: Path) -> None:
    """The loop answers all others, and so many a second at most are handed to Python; the answers are the same."""
    request = CheckNumbersRequest(numbers=[small.ACTIVE, small.INACTIVE])
    path = "numcheck.v1.CheckService/CheckNumbers"
    with collecting() as collector:
        env = {**collector.env, "NUMCHECK_TRACES_PERCENT": "0", "NUMCHECK_TRACES_PER_SECOND_MAX": "3"}
        env["NUMCHECK_THREADS"] = "1"
        began = time.monotonic()
        with serving(data_dir, env=env) as node, grpc.insecure_channel(node.address) as channel:
            stub = CheckServiceStub(channel)
            untraced = stub.CheckNumbers(request, timeout=PATIENCE_S)
            sampled = [[("traceparent", SAMPLED)]] * 50
            others = [[("traceparent", parent)] for parent in (NOT_SAMPLED, *MALFORMED.values())]
            for metadata in (*sampled, *others, [("traceparent", SAMPLED)] * 2):
                assert stub.CheckNumbers(request, timeout=PATIENCE_S, metadata=metadata) == untraced
            collector.until(path)
        found = [span for span in collector.spans if span.name == path]
    assert 3 <= len(found) <= 3 * (time.monotonic() - began + 2)
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in found} == {(TRACE_ID, SPAN_ID)}


def test_a_collector_that_takes_no_end_does_not_hold_the_end_of_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that answers a byte now and then."""
    monkeypatch.setattr("numcheck.serving.open_telemetry.TIMEOUT_S", 0.05)
    asked, never = threading.Event(), threading.Event()

    class Endless(SpanProcessor):
        def shutdown(self) -> None:
            asked.set()
            never.wait()

    OpenTelemetry(Settings(data_dir=tmp_path), Endless()).close()
    assert asked.is_set()
    never.set()


def test_a_collector_that_is_away_harms_nobody_and_is_told_once(data_dir: Path) -> None:
    env = {
        "NUMCHECK_TRACES_URL": "http://127.0.0.1:9/v1/traces",
        "NUMCHECK_TRACES_PERCENT": "100",
        "NUMCHECK_THREADS": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
    }
    with serving(data_dir, env=env) as node, grpc.insecure_channel(node.address) as channel:
        ask = CheckServiceStub(channel).CheckNumber
        ask(CheckNumberRequest(number="8 (916) 123-45-67"), timeout=PATIENCE_S, metadata=[("traceparent", SAMPLED)])
        node.process.line_with("traces cannot be handed over")
        node.process.signal(signal.SIGTERM)
        assert node.process.wait() == 0
    assert len([line for line in node.process.lines if "traces cannot" in line]) == 1
    assert not [line for line in node.process.lines if "a library complains" in line]


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://", "http://user:secret@collector/v1"])
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadConfiguration, match="traces_url: must be the URL") as refused:
        load_settings(traces_url=url)
    assert "secret" not in str(refused.value)


def test_traces_without_the_extra_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    wanted = load_settings(traces_url="http://127.0.0.1:4318/v1/traces", listen="127.0.0.1:0")
    assert problems_of(wanted) == ["traces_url needs the extra traces: pip install 'numcheck[traces]'"]
    with pytest.raises(BadConfiguration, match="needs the extra"), tracing(wanted):
        pass
    assert not spans.is_traced()


def test_no_proxy_of_the_environment_is_used_unless_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never to loopback."""
    with collecting() as collector, gateway_running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        for use_proxy in (False, True):
            wanted = load_settings(
                traces_url=collector.env["NUMCHECK_TRACES_URL"], traces_percent=100, use_proxy=use_proxy
            )
            with tracing(wanted), spans.work("builder"):
                pass
        assert len(collector.spans) == 2
        assert proxy.got == []
