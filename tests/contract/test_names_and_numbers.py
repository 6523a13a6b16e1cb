"""The contract that outside clients are generated from, written down a second time: no name and no number of it moves.

A client of contract.proto asks both doors, with classes of its own, in a pool of its own.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_tools import protoc

from numcheck.v1 import check_pb2, number_pb2, numbering_pb2, registration_pb2
from tests.api.calls import DEADLINE_S, refusal
from tests.conformance.conftest import serving_by
from tests.serving import small

CONTRACT = Path(__file__).with_name("contract.proto")
OURS = {**vars(check_pb2), **vars(number_pb2)}

METHODS = {
    numbering_pb2: {
        ("ImportNumberingPlan", True, False),
        ("PushActiveNumbers", True, False),
        ("PushPortings", True, False),
        ("GetOperatorState", False, False),
        ("WatchIndex", False, True),
    },
    registration_pb2: {
        *((name, False, False) for name in ("Register", "GetRegistration", "ListRegistrations", "DeleteRegistration")),
        *((name, False, False) for name in ("RefreshRegistration", "StartVerification", "CompleteVerification")),
        ("ChangeNumber", False, False),
        ("ImportRegistrations", True, True),
        ("SummarizeRegistrations", False, False),
        ("ReverifyRegistrations", False, True),
        ("WatchRegistrations", False, True),
    },
}
HEADER = ["operator_id", "mode", "base_version", "push_id", "data_time"]
CHUNK = ["header", "add", "remove", "add_ranges", "remove_ranges"]
STATES = ["PENDING", "VERIFIED", "REJECTED", "OVERDUE", "REVOKED", "DELETED"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pool.DescriptorPool:
    """The contract's own descriptors."""
    out = tmp_path_factory.mktemp("contract") / "set.bin"
    well_known = Path(protoc.__file__).with_name("_proto")
    arguments = ["protoc", f"-I{CONTRACT.parent}", f"-I{well_known}", f"--descriptor_set_out={out}", str(CONTRACT)]
    assert protoc.main(arguments) == 0
    made = descriptor_pool.DescriptorPool()
    made.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        made.Add(file)
    return made


def shape(field: FieldDescriptor) -> tuple[Any, ...]:
    target = field.message_type or field.enum_type
    return field.name, field.number, field.type, field.is_repeated, field.is_packed, target and target.full_name


def test_every_field_of_the_contract_is_there_with_its_number_and_type(pool: descriptor_pool.DescriptorPool) -> None:
    """Others may be beside them."""
    file = pool.FindFileByName(CONTRACT.name)
    for name, message in file.message_types_by_name.items():
        ours: Descriptor = OURS[name].DESCRIPTOR
        assert {shape(one) for one in message.fields} <= {shape(one) for one in ours.fields}, name
    statuses = file.enum_types_by_name["NumberStatus"].values_by_name
    assert {name: one.number for name, one in statuses.items()} == dict(number_pb2.NumberStatus.items())
    recycled = file.enum_types_by_name["RecycledStatus"].values_by_name
    assert {name: one.number for name, one in recycled.items()} == dict(check_pb2.RecycledStatus.items())
    methods = file.services_by_name["CheckService"].methods
    assert [_method(one) for one in methods] == [
        _method(one) for one in check_pb2.DESCRIPTOR.services_by_name["CheckService"].methods
    ]


def _method(method: Any) -> tuple[str, bool, bool]:
    return method.name, method.client_streaming, method.server_streaming


@pytest.mark.parametrize("module", METHODS, ids=lambda module: module.__name__)
def test_every_method_is_there_and_streams_as_the_contract_has_it(module: Any) -> None:
    (service,) = module.DESCRIPTOR.services_by_name.values()
    assert METHODS[module] <= {_method(method) for method in service.methods}


def test_a_push_and_a_registrations_state_are_spelt_as_the_contract_has_them() -> None:
    header, chunk = numbering_pb2.PushHeader.DESCRIPTOR, numbering_pb2.PushActiveNumbersRequest.DESCRIPTOR
    assert [header.fields_by_name[name].number for name in HEADER] == [1, 2, 3, 4, 5]
    assert [chunk.fields_by_name[name].number for name in CHUNK] == [1, 2, 3, 4, 5]
    assert {"PUSH_MODE_SNAPSHOT", "PUSH_MODE_DELTA"} <= set(numbering_pb2.PushMode.keys())
    states = registration_pb2.RegistrationState.items()
    assert states[1:] == [(f"REGISTRATION_STATE_{name}", place) for place, name in enumerate(STATES, 1)]
    for request in (registration_pb2.StartVerificationRequest, registration_pb2.RefreshRegistrationRequest):
        assert request.DESCRIPTOR.fields_by_name["request_id"].number == 6
    event, evidence = registration_pb2.RegistrationEvent, registration_pb2.Registration
    assert [event.DESCRIPTOR.fields_by_name[name].number for name in ("cause", "index_version")] == [8, 9]
    assert evidence.DESCRIPTOR.fields_by_name["evidence"].is_repeated


@pytest.fixture(scope="module", params=["native", "plain"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_by(request.param, small.fill(tmp_path_factory.mktemp("node") / "var")) as node:
        yield node.address


@pytest.fixture
def ask(pool: descriptor_pool.DescriptorPool, address: str) -> Iterator[Callable[..., Any]]:
    """Call a method of CheckService with the fields of its request."""
    with grpc.insecure_channel(address) as channel:

        def asked(method: str, **fields: Any) -> Any:
            request, response = (
                message_factory.GetMessageClass(pool.FindMessageTypeByName(f"numcheck.v1.{method}{kind}"))
                for kind in ("Request", "Response")
            )
            call = channel.unary_unary(
                f"/numcheck.v1.CheckService/{method}", request.SerializeToString, response.FromString
            )
            return call(request(**fields), timeout=DEADLINE_S)

        yield asked


def test_client_of_the_contract_gets_its_answers(ask: Callable[..., Any]) -> None:
    """What it does not know, such as whether data was made up, it skips."""
    found = ask("CheckNumber", number="8 (916) 123-45-67")
    assert (found.status, found.number, found.ported) == (4, small.ACTIVE, False)
    assert found.serving_operator == found.range_holder
    assert found.serving_operator.tax_id == small.MTS
    operators = {one.operator_id: one.tax_id for one in ask("ListOperators").operators}
    batch = ask("CheckNumbers", numbers=[small.ACTIVE, small.UNALLOCATED, 0, small.NOT_MOBILE], request_id=7)
    assert list(batch.statuses) == [4, 2, 1, 6]
    assert [operators.get(one) for one in batch.operator_ids] == [small.MTS, None, None, small.ROSTELECOM]
    assert batch.index_version == found.index_version


def test_client_of_the_contract_is_refused_as_it_says(ask: Callable[..., Any]) -> None:
    empty = refusal(lambda: ask("CheckNumber"))
    assert (empty.code, empty.violations) == (grpc.StatusCode.INVALID_ARGUMENT, [("number", "NOT_A_NUMBER")])
    behind = refusal(lambda: ask("CheckNumbers", min_index_version=10**9))
    assert (behind.code, behind.domain) == (grpc.StatusCode.UNAVAILABLE, "numcheck")
    assert behind.retry_delay_s is not None
    many = refusal(lambda: ask("CheckNumbers", numbers=[small.ACTIVE] * 65_537))
    assert many.code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(ask("CheckNumbers", numbers=[small.ACTIVE] * 65_536).statuses) == 65_536
