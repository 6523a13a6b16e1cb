"""Health and reflection: what other programs ask before they ask for numbers."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import index_directory
from numcheck.v1 import check_pb2
from tests.rpc.calls import DEADLINE_S
from tests.rpc.listeners import listening
from tests.serving.command import serving

SERVICES = ("", "numcheck.v1.CheckService")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def channel(small_dir):
    with serving(small_dir) as node, grpc.insecure_channel(node.address) as one:
        yield one


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
    """NOT_SERVING until an index is published and said to be, overall and for the service."""
    published = PublishedIndex()
    with listening(published) as (listener, channel):
        assert [check(channel, service) for service in SERVICES] == [NOT_SERVING] * len(SERVICES)
        published.publish(open_index(index_directory(small_dir)))
        listener.set_serving(serving=True)
        assert [check(channel, service) for service in SERVICES] == [SERVING] * len(SERVICES)
        listener.set_serving(serving=False)
        assert [check(channel, service) for service in SERVICES] == [NOT_SERVING] * len(SERVICES)


def test_reflection_lists_every_service(channel):
    assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) == {
        *("numcheck.v1.CheckService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
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
