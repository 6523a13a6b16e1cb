"""Health and reflection: what other programs ask before they ask for numbers."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from numcheck.config import Settings
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import index_directory
from numcheck.v1 import check_pb2
from tests.api.calls import DEADLINE_S, call_raw, refusal
from tests.api.listeners import listening
from tests.serving.command import serving

WATCH_COUNT = 20
COMING_AND_GOING, FLIP_COUNT = 4, 400
SERVICES = ("", "numcheck.v1.CheckService")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def channel(small_dir, tmp_path_factory):
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("health") / "var")
    with serving(data_dir) as node, grpc.insecure_channel(node.address) as one:
        yield one


def assert_told_that_the_node_stops(made):
    refused = refusal(made)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING")
    assert refused.retry_delay_s is not None


def check(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=DEADLINE_S).status


def watch(channel, service):
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE_S)


@pytest.mark.parametrize("service", SERVICES)
def test_health_says_serving_when_the_node_is_ready(channel, service):
    """Overall and for the service; a watch says it at once."""
    assert check(channel, service) == SERVING
    call = watch(channel, service)
    assert next(call).status == SERVING
    call.cancel()


def test_health_knows_no_other_service(channel):
    with pytest.raises(grpc.RpcError) as raised:
        check(channel, "numcheck.v1.NoSuchService")
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_changes_when_the_listener_begins_to_serve(small_dir):
    """NOT_SERVING until an index is published and said to be; whoever watches is told of each change."""
    published = PublishedIndex()
    with listening(published) as (listener, channel):
        watches = [watch(channel, service) for service in SERVICES]
        for service, call in zip(SERVICES, watches, strict=True):
            assert check(channel, service) == next(call).status == NOT_SERVING
        published.publish(open_index(index_directory(small_dir)))
        for status in (SERVING, NOT_SERVING):
            listener.set_serving(serving=status == SERVING)
            for service, call in zip(SERVICES, watches, strict=True):
                assert check(channel, service) == next(call).status == status


def test_watches_end_when_the_listener_does():
    """A drain does not wait for them: each is told NOT_SERVING, and then to ask again, elsewhere or later."""
    listener = PlainDoor(Settings(listen="127.0.0.1:0"), [], Watches())
    listener.set_serving(serving=True)
    with grpc.insecure_channel(listener.address) as channel:
        call = watch(channel, "")
        assert next(call).status == SERVING
        listener.stop(DEADLINE_S)
        assert next(call).status == NOT_SERVING
        assert_told_that_the_node_stops(lambda: next(call))


def test_watches_hold_no_thread_of_the_listener(small_dir):
    """Many more watches than threads are open, and numbers are checked all the same."""
    published = PublishedIndex()
    published.publish(open_index(index_directory(small_dir)))
    with listening(published, api_threads=1) as (_, channel):
        watches = [watch(channel, "") for _ in range(WATCH_COUNT)]
        assert [next(call).status for call in watches] == [NOT_SERVING] * WATCH_COUNT
        assert check_pb2.CheckNumbersResponse.FromString(call_raw(channel, "CheckNumbers", b"")).index_version > 0


def test_watches_that_end_while_the_status_changes_hold_up_nobody():
    """Clients open and cancel watches all the time, the status flips meanwhile, and the next call is answered."""
    with listening(PublishedIndex()) as (listener, channel):
        over = threading.Event()

        def come_and_go():
            while not over.is_set():
                call = watch(channel, "")
                next(call)
                call.cancel()

        with ThreadPoolExecutor(COMING_AND_GOING) as clients:
            ended = [clients.submit(come_and_go) for _ in range(COMING_AND_GOING)]
            for flip in range(FLIP_COUNT):
                listener.set_serving(serving=bool(flip % 2))
                assert check(channel, "") == (SERVING if flip % 2 else NOT_SERVING)
            over.set()
            assert [one.result(DEADLINE_S) for one in ended] == [None] * COMING_AND_GOING


def test_reflection_lists_every_service(channel):
    assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) == {
        "numcheck.v1.AuditService",
        "numcheck.v1.CheckService",
        "numcheck.v1.EditionService",
        "numcheck.v1.CallerService",
        "numcheck.v1.NumberingService",
        "numcheck.v1.RegistrationService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_reflection_resolves_every_file_of_the_service(channel):
    """A client that has nothing but the channel builds the same messages as the generated code."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName("numcheck.v1.CheckService")
    generated = check_pb2.DESCRIPTOR.services_by_name["CheckService"]
    assert [method.name for method in service.methods] == [method.name for method in generated.methods]
    assert service.file.serialized_pb == check_pb2.DESCRIPTOR.serialized_pb
    names = [
        file.name for file in (service.file, *service.file.dependencies, *service.file.dependencies[0].dependencies)
    ]
    assert names == ["numcheck/v1/check.proto", "numcheck/v1/number.proto", "google/protobuf/timestamp.proto"]
