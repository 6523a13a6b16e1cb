"""The plain door waits for its peers only so long, and for nobody without a bound when it stops."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from numcheck.config import Settings
from numcheck.door import plain_door, reflection, requests
from numcheck.door.patience import Patience
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import index_directory
from numcheck.serving.services import check_service
from numcheck.v1 import registration_pb2, registration_pb2_grpc
from tests.access.node import NOW, secure_node
from tests.api.calls import DEADLINE_S, call_raw, refusal_of
from tests.conformance.calls import call_fields, headers
from tests.conformance.http2 import Frame, Peer, block

THREADS = 2
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@contextlib.contextmanager
def listening(data_dir, **settings) -> Iterator[PlainDoor]:
    published = PublishedIndex()
    published.publish(open_index(index_directory(data_dir)))
    wanted = Settings(data_dir=data_dir, listen="127.0.0.1:0", api_threads=THREADS, **settings)
    one = PlainDoor(wanted, [check_service(published, wanted)], Watches())
    try:
        yield one
    finally:
        one.stop(0)


def half_sent(peer: Peer, count: int, *paths: str) -> None:
    """Calls whose request does not come."""
    for place in range(count):
        peer.send(headers(2 * place + 1, block(call_fields(paths[place % len(paths)]))))
    peer.settle()


def test_calls_whose_request_does_not_come_end_and_others_are_served(data_dir, monkeypatch):
    """They hold every thread for as long as a request may take, and no longer."""
    monkeypatch.setattr(requests, "REQUEST_TIMEOUT_S", 0.2)
    with listening(data_dir) as one, Peer(one.address) as peer, grpc.insecure_channel(one.address) as channel:
        half_sent(peer, 4 * THREADS, "/numcheck.v1.CheckService/CheckNumbers")
        assert call_raw(channel, "CheckNumbers", b"")
        streams, over = {2 * place + 1 for place in range(4 * THREADS)}, set()

        def all_are_over(one: Frame) -> bool:
            over.update({one.stream} if one.ends_stream else ())
            return over == streams

        peer.until(all_are_over)
        assert {dict(peer.fields[one][-1])["grpc-status"] for one in streams} == {"1"}  # CANCELLED


def test_health_is_answered_while_every_thread_waits_for_a_request(data_dir):
    with listening(data_dir) as one, Peer(one.address) as peer, grpc.insecure_channel(one.address) as channel:
        half_sent(peer, 4 * THREADS, "/numcheck.v1.CheckService/CheckNumbers")
        request = health_pb2.HealthCheckRequest()
        assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=DEADLINE_S).status


def test_watches_go_on_while_others_wait_for_their_requests(data_dir):
    with listening(data_dir) as one, Peer(one.address) as peer, grpc.insecure_channel(one.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        next(watch)
        half_sent(peer, 4, "/grpc.health.v1.Health/Watch")
        one.set_serving(serving=True)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING


def test_stranger_is_refused_before_its_request_is_waited_for(tmp_path):
    """Over TLS: sixteen calls, and more, hold no thread; the administrator revokes meanwhile."""
    with secure_node(tmp_path, api_threads=THREADS) as node:
        waiting = threading.Event()

        def never() -> Iterator[bytes]:
            waiting.wait(DEADLINE_S)
            yield b""

        with node.channel("messenger") as messenger, node.channel("administrator") as administrator:
            node.control.callers.revoke("numcheck://service/chat", now=NOW)
            node.control.directory.refresh()
            method = messenger.stream_unary("/numcheck.v1.CheckService/CheckNumbers")
            calls = [method.future(never(), timeout=DEADLINE_S) for _ in range(8 * THREADS)]
            for call in calls:
                assert call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert administrator.unary_unary("/numcheck.v1.CallerService/ListCallers")(b"", timeout=DEADLINE_S)
        waiting.set()


def test_known_caller_that_sends_nothing_keeps_nobody_from_being_served(tmp_path, monkeypatch):
    """It may fill half of the threads, for as long as a request has; not the administrator's, nor health's. The others
    have a moment once, and then their requests have to be there: many moments would add up."""
    monkeypatch.setattr(requests, "REQUEST_TIMEOUT_S", 600)
    monkeypatch.setattr(requests, "CROWDED_TIMEOUT_S", 0)
    given, at_most = Counter[float](), Patience.at_most

    def noting(patience: Patience, timeout_s: float, cancel: Callable[[], object]) -> AbstractContextManager[None]:
        given[timeout_s] += 1
        return at_most(patience, timeout_s, cancel)

    monkeypatch.setattr(Patience, "at_most", noting)
    with secure_node(tmp_path, api_threads=THREADS) as node:
        waiting = threading.Event()

        def never() -> Iterator[bytes]:
            waiting.wait(DEADLINE_S)
            yield b""

        with node.channel("messenger") as messenger, node.channel("administrator") as administrator:
            method = messenger.stream_unary("/numcheck.v1.CheckService/CheckNumbers")
            calls = [method.future(never(), timeout=DEADLINE_S) for _ in range(4 * THREADS)]
            health = messenger.stream_unary("/grpc.health.v1.Health/Check")
            calls += [health.future(never(), timeout=DEADLINE_S) for _ in range(8)]
            for path in ("CallerService/ListCallers", "CheckService/ListOperators"):
                assert administrator.unary_unary(f"/numcheck.v1.{path}")(b"", timeout=DEADLINE_S)
            assert administrator.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=DEADLINE_S)
            assert sum(not call.done() for call in calls) >= THREADS // 2
            waiting.set()
            codes = {call.code() for call in calls}
            assert codes == {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
            assert given[requests.CROWDED_TIMEOUT_S] > 0
            assert given[requests.LATE_TIMEOUT_S] > 0


# --- reflection


def test_bad_bytes_to_reflection_end_their_call_and_the_listener_still_stops(data_dir):
    """Three hundred streams of them, some left open; each is refused as every other bad request."""
    with listening(data_dir) as one, grpc.insecure_channel(one.address) as channel:
        calls = [channel.stream_stream(REFLECTION)(iter([b"\xff\xff\xff"]), timeout=DEADLINE_S) for _ in range(300)]
        codes = {call.code() for call in calls}
        assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert grpc.StatusCode.INVALID_ARGUMENT in codes
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reflection")]


def test_reflection_that_is_asked_nothing_ends(data_dir, monkeypatch):
    monkeypatch.setattr(reflection, "IDLE_TIMEOUT_S", 0.2)
    with listening(data_dir) as one, Peer(one.address) as peer:
        half_sent(peer, 1, REFLECTION)
        assert peer.answer(1).grpc_status == 1  # CANCELLED


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer_the_same(data_dir, version):
    """v1 is v1alpha under another name: it lists both, and has the files of both."""
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.reflection.v1.ServerReflection"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Service"),
    ]
    with listening(data_dir) as one, grpc.insecure_channel(one.address) as channel:
        requests_sent = iter([request.SerializeToString() for request in asked])
        answers = list(channel.stream_stream(method)(requests_sent, timeout=DEADLINE_S))
    listed, file, missing = (reflection_pb2.ServerReflectionResponse.FromString(answer) for answer in answers)
    names = [service.name for service in listed.list_services_response.service]
    assert {"numcheck.v1.CheckService", "grpc.health.v1.Health", *reflection.NAMES} == set(names)
    found = descriptor_pb2.FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
    assert (found.package, found.service[0].method[0].input_type) == (
        "grpc.reflection.v1",
        ".grpc.reflection.v1.ServerReflectionRequest",
    )
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


# --- peers that are stopped, and the end


WATCHER = """
import sys, grpc
from numcheck.v1 import registration_pb2, registration_pb2_grpc
address, *files = sys.argv[1:]
channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(*(open(file, "rb").read() for file in files)))
stub = registration_pb2_grpc.RegistrationServiceStub(channel)
watches = [stub.WatchRegistrations(registration_pb2.WatchRegistrationsRequest(service="chat")) for _ in range(8)]
for watch in watches:
    next(watch)
print("open", flush=True)
sys.stdin.read()
"""


def test_places_of_watchers_that_were_stopped_are_given_to_others(tmp_path, monkeypatch):
    """Eight watches of a process that is stopped, which no watch sends anything to, hold a service's places no longer
    than it takes to see that nobody answers."""
    monkeypatch.setattr(plain_door, "KEEPALIVE_S", 0.5)
    with secure_node(tmp_path) as node:
        files = [str(node.directory / name) for name in ("authority.pem", "messenger.key", "messenger.pem")]
        watcher = subprocess.Popen(
            [sys.executable, "-c", WATCHER, node.addresses["api"], *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watcher.stdout is not None
        try:
            assert watcher.stdout.readline() == "open\n"
            watcher.send_signal(signal.SIGSTOP)
            with node.channel("messenger") as channel:
                assert opened_at_last(registration_pb2_grpc.RegistrationServiceStub(channel))
        finally:
            os.kill(watcher.pid, signal.SIGCONT)
            watcher.kill()  # it has done its part
            watcher.communicate()


def opened_at_last(stub) -> bool:
    """Ask for a watch until there is a place; how often is bounded, by the RetryInfo that comes with a refusal."""
    for _ in range(400):
        watch = stub.WatchRegistrations(registration_pb2.WatchRegistrationsRequest(service="chat"), timeout=DEADLINE_S)
        try:
            next(watch)
        except grpc.RpcError as error:
            refused = refusal_of(error)
            assert refused.reason == "TOO_MANY_STREAMS"
            threading.Event().wait(refused.retry_delay_s)
        else:
            watch.cancel()
            return True
    return False


def test_calls_that_come_when_the_listener_stops_are_told_so(data_dir):
    """With the details of every error, until the connections are told to go: of each kind of call, as grpcio calls
    those that have threads of their own otherwise."""
    with listening(data_dir) as one, grpc.insecure_channel(one.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        assert call_raw(channel, "CheckNumbers", b"")
        one._draining.begin()
        one._draining.leave()
        for call in (
            lambda: call_raw(channel, "CheckNumbers", b""),
            lambda: list(channel.stream_stream(REFLECTION)(iter([b""]), timeout=DEADLINE_S)),
            lambda: list(watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call()
            told = refusal_of(raised.value)
            assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING")
            assert told.retry_delay_s


def test_patience_cancels_what_takes_too_long_and_nothing_else():
    patience = Patience(interval_s=0.01)
    cancelled = threading.Event()
    with patience.at_most(60, lambda: pytest.fail("it was soon done")), patience.at_most(0.01, cancelled.set):
        assert cancelled.wait(DEADLINE_S)
    patience.close()
