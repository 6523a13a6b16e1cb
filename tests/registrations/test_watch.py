"""WatchRegistrations at the public boundary: every event, in order, at least once, whoever is slow."""

import hashlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from numcheck.api.registration import FEEDS_MAX, FEEDS_PER_SERVICE_MAX
from numcheck.registrations.events import SignedHead, check_signature
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal_of
from tests.registrations.test_service import SETTINGS, register_request
from tests.serving import small
from tests.serving.command import PLAIN, Node, serving

DEADLINE_S = 30.0
Watch = Callable[..., "grpc.Call"]


@pytest.fixture(scope="module")
def node(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("watched") / "var")
    with serving(data_dir, env={**SETTINGS, "NUMCHECK_API_THREADS": "4"}) as one:
        yield one


@pytest.fixture
def channel(node: Node) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(node.address, options=[("grpc.use_local_subchannel_pool", 1)]) as one:
        yield one


@pytest.fixture
def stub(channel: grpc.Channel) -> RegistrationServiceStub:
    return RegistrationServiceStub(channel)


@pytest.fixture
def service(request: pytest.FixtureRequest) -> str:
    """The test's own."""
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:32]


def watch(stub: RegistrationServiceStub, service: str, token: str = ""):
    call = stub.WatchRegistrations(
        pb.WatchRegistrationsRequest(service=service, resume_token=token), timeout=DEADLINE_S
    )
    return call, next(call)


def kinds(call: Iterator[pb.WatchRegistrationsResponse], count: int) -> list[str]:
    return [pb.RegistrationEventKind.Name(next(call).event.kind)[24:] for _ in range(count)]


def test_a_watch_begins_with_a_signed_head_and_tells_what_happens_from_then_on(
    stub: RegistrationServiceStub, service: str
) -> None:
    """R13: what happened before is not told, and the head can be kept."""
    stub.Register(register_request(service, user_id="before"))
    call, first = watch(stub, service)
    assert not first.HasField("event")
    head = first.head
    signed_at_us = head.signed_at.ToMicroseconds()
    check_signature(SignedHead(head.sequence, head.hash, signed_at_us, head.signature, head.public_key, service))
    assert first.resume_token == (f"{head.sequence}-{head.hash[:8].hex()}" if head.sequence else "0")
    registration = stub.Register(register_request(service)).registration
    told = [next(call), next(call)]
    assert [one.event.user_id for one in told] == ["u1", "u1"]
    assert told[1].event.registration_id == registration.registration_id
    assert [one.event.state for one in told] == [pb.REGISTRATION_STATE_PENDING, pb.REGISTRATION_STATE_VERIFIED]
    positions = [int(one.resume_token.partition("-")[0]) for one in (first, *told)]
    assert positions == list(range(head.sequence, head.sequence + 3)), "a service's own events have no gap"
    assert [one.event.sequence for one in told] == positions[1:]
    stub.DeleteRegistration(pb.DeleteRegistrationRequest(service=service, user_id="u1"))
    assert next(call).event.kind == pb.REGISTRATION_EVENT_KIND_DELETED
    call.cancel()


def test_a_token_misses_nothing_whatever_broke_the_stream(stub: RegistrationServiceStub, service: str) -> None:
    """At least once: from each token, exactly what came behind it; from 0, everything; never another service's."""
    call, _ = watch(stub, service)
    for place in range(5):
        stub.Register(register_request(service, user_id=f"u{place}"))
        stub.Register(register_request(f"not-{service}", user_id=f"u{place}"))
    told = [next(call) for _ in range(10)]
    call.cancel()
    for place, one in enumerate(told):
        again, first = watch(stub, service, one.resume_token)
        assert first.resume_token == one.resume_token
        assert [next(again) for _ in told[place + 1 :]] == told[place + 1 :]
        again.cancel()
    again, _ = watch(stub, service, "0")
    assert [next(again) for _ in told] == told
    again.cancel()


@pytest.mark.parametrize("token", ["-1", "x", "999999999", "1.5", "9" * 5_000])
def test_a_token_that_was_never_given_out_is_refused(stub: RegistrationServiceStub, service: str, token: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        watch(stub, service, token)
    assert refusal_of(caught.value).violations == [("resume_token", "BAD_REGISTRATION")]


def test_watches_hold_no_thread_of_the_listener_and_one_too_many_is_refused(
    node: Node, stub: RegistrationServiceStub, service: str
) -> None:
    """The node has 4 threads: 32 watches are open, 8 of a service, and everything else is answered."""
    other_channel = grpc.insecure_channel(node.address, options=[("grpc.use_local_subchannel_pool", 1)])
    other = RegistrationServiceStub(other_channel)  # a connection has no more than 32 calls under way
    services = [f"{place}-{service}" for place in range(FEEDS_MAX // FEEDS_PER_SERVICE_MAX)]
    calls = [watch(stub, one)[0] for one in services for _ in range(FEEDS_PER_SERVICE_MAX)]
    calls.pop().cancel()
    with pytest.raises(grpc.RpcError) as caught:
        watch(other, services[0])
    assert refusal_of(caught.value).reason == "TOO_MANY_STREAMS"
    for one in services:
        stub.Register(register_request(one))
    assert all(kinds(call, 2) == ["REGISTERED", "CONFIRMED"] for call in calls)
    calls.append(watch_when_there_is_a_place(other, service))
    with pytest.raises(grpc.RpcError) as caught:
        watch(other, f"{service}-too")
    assert refusal_of(caught.value).reason == "TOO_MANY_STREAMS"
    for call in calls:
        call.cancel()
    watch_when_there_is_a_place(other, service).cancel()
    other_channel.close()


def watch_when_there_is_a_place(stub: RegistrationServiceStub, service: str) -> grpc.Call:
    """A watch, once one that was cancelled has given its place back."""
    for _ in range(200):
        try:
            return watch(stub, service)[0]
        except grpc.RpcError:
            time.sleep(0.05)
    raise AssertionError("no place came back")


@pytest.fixture
def plain_node(small_dir: Path, tmp_path: Path) -> Iterator[Node]:
    data_dir = shutil.copytree(small_dir, tmp_path / "var")
    with serving(data_dir, command=(*PLAIN, "serve"), env=SETTINGS) as one:
        yield one


def test_a_watcher_that_takes_nothing_delays_nobody_and_is_cut_off(plain_node: Node, service: str) -> None:
    """A plain door cuts it off after 5 s, and it resumes where it was; the other sees each event at once."""
    data = {"text": "x" * 16_000}
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0)]
    with (
        grpc.insecure_channel(plain_node.address, options=options) as slow_channel,
        grpc.insecure_channel(plain_node.address) as channel,
    ):
        stub = RegistrationServiceStub(channel)
        for place in range(1_000):
            stub.Register(register_request(service, user_id=f"{'u' * 200}{place}", registration_data={"a": "b"}))
        slow, _ = watch(RegistrationServiceStub(slow_channel), service, "0")
        quick, _ = watch(stub, service)
        began = time.monotonic()
        for place in range(20):
            stub.Register(register_request(service, user_id=f"v{place}", registration_data=data))
            assert kinds(quick, 2) == ["REGISTERED", "CONFIRMED"]
        assert time.monotonic() - began < 60, "a watch that waits for the other has its events 5 s later each"
        quick.cancel()
        threading.Event().wait(6)
        told = []
        with pytest.raises(grpc.RpcError) as caught:
            told.extend(slow)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
        again, _ = watch(RegistrationServiceStub(slow_channel), service, told[-1].resume_token if told else "0")
        assert len(told) + len([next(again) for _ in range(2_040 - len(told))]) == 2_040
        again.cancel()


def test_a_stopping_node_ends_its_watches(data_dir: Path, service: str) -> None:
    """Drained at once: a watch is not waited for, and is told why it ends behind everything that happened."""
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        call, _ = watch(stub, service)
        stub.Register(register_request(service, small.ACTIVE))
        node.process.signal(signal.SIGTERM)
        assert [next(call).event.kind for _ in range(2)] == [1, 3]
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        told = refusal_of(caught.value)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING")
        assert told.retry_delay_s
        assert node.process.wait() == 0
