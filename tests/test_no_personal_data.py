"""Clause I.5: operators supply numbers and nothing else of their subscribers. No field that operators send or that
messengers receive is for a subscriber's personal data; each is listed here with what it is about.

The lists are the claim: a new field fails until somebody has said what it is, and a field that can hold any text needs
a reason of its own why that text is none of a subscriber's.
"""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

import numcheck.v1
from numcheck.v1 import edition_pb2

# What operators, the clearing house and the administrator send and get, and what messengers ask and get. Any other
# service is one of which somebody has to say first whose data it carries.
SERVICES = {
    *("AuditService", "CallerService", "CheckService", "EditionService", "NumberingService", "SubscriberService"),
}
# Messages that go as bytes in a field of another.
CARRIED = (edition_pb2.Edition, edition_pb2.PublishedCallers)
# What a messenger says of its own users comes back to it alone, and no operator calls there (tests/access): what its
# answers may carry of an operator's is held in tests/registrations.
OF_THE_MESSENGERS_OWN_USERS = {"RegistrationService"}

# Whether a number is in service, and who serves it, is what the clause asks operators to supply.
SUBSCRIBER_NUMBERS = {
    "CheckNumberResponse.number",
    "ConfirmNumberRequest.number",
    "CheckNumbersRequest.numbers",
    "CheckRecycledRequest.numbers",
    "Identification.number",  # of a messenger's own user, told to the operator that serves it
    "NumberRange.first",
    "NumberRange.last",
    "PlanRow.first",  # of a range of the numbering plan, in service or not
    "PlanRow.last",
    "PortedNumbers.numbers",
    "PushActiveNumbersRequest.add",
    "PushActiveNumbersRequest.remove",
    "PushPortingsRequest.returned",
    "RefusedNumber.number",
}

# Any text or bytes could stand in these; why no subscriber's do.
TEXTS = {
    "Agreement.service": "the name of a messenger",
    "Identification.service": "the name of a messenger",
    "Identification.user_code": "the registration_id: random, made by the node",
    "WatchIdentificationsRequest.resume_token": "as WatchIdentificationsResponse.resume_token",
    "WatchIdentificationsResponse.resume_token": "a place in the outbox, made by the node",
    "ChainEvent.details": "JSON that numcheck makes: due times and evidence, what rows are bound by, who administered",
    "ChainEvent.hash": "SHA-256 of an event",
    "ChainEvent.kind": "a word of docs/auditors.md",
    "ChainEvent.registration_id": "random, made by the node",
    "ChainEvent.service": "the name of a messenger",
    "ChainHead.hash": "as ChainEvent.hash",
    "ChainHead.public_key": "of the installation",
    "ChainHead.signature": "of the installation",
    "RowDigest.mac": "a keyed digest, from which nothing can be read",
    "RowDigest.row_id": "random, made by the node",
    "Caller.service": "the name of a messenger",
    "Caller.uri": "a program that may call: of a messenger, an operator, the clearing house or an administrator",
    "IssueTokenRequest.uri": "as Caller.uri",
    "IssueTokenResponse.token": "random, made by the node",
    "RevokeCallerRequest.uri": "as Caller.uri",
    "CheckNumberRequest.number": "the number as the messenger's user wrote it: never from an operator",
    "CheckNumberResponse.region": "where the numbering plan allots a whole range, from the regulator's file",
    "ConfirmNumberRequest.question_id": "random, made by the node",
    "ConfirmPushRequest.confirmation_token": "random, made by the node",
    "Edition.installation_id": "random, made with the store",
    "EditionFile.name": "the name of a file of the index",
    "EditionFile.sha256": "SHA-256 of a file",
    "FetchFileRequest.sha256": "SHA-256 of a file",
    "FetchFileResponse.content": "a piece of the index: which numbers are in service, and who serves them; or callers",
    "PublishedCaller.token_tag": "a keyed hash of a program's token",
    "PublishedCallers.tag_key": "random, made by the node",
    "WatchEditionsResponse.edition": "an Edition, whose own fields are listed",
    "WatchEditionsResponse.public_key": "of the installation",
    "WatchEditionsResponse.signature": "of the installation",
    "GetOperatorStateResponse.digest": "a hash of a whole active set, from which no number can be read",
    "HeldPush.push_id": "as PushHeader.push_id, to whom gave it",
    "Operator.display_name": "a company that holds ranges, from the regulator's file",
    "Operator.tax_id": "that company's, from the regulator's file",
    "PlanHeader.series": "first digits of codes",
    "PlanHeader.source": "the name of the regulator's file",
    "PlanRow.operator_name": "a company that holds a range, from the regulator's file",
    "ListOperatorsResponse.installation_id": "random, made with the store",
    "PlanRow.region": "where a whole range is allotted",
    "PlanRow.tax_id": "that company's, from the regulator's file",
    "PortingsHeader.push_id": "the clearing house's own name for a push, about no number; at most 128 characters",
    "PortingsSequence.series": "the clearing house's own name for a series of files; at most 64 characters",
    "PushActiveNumbersResponse.confirmation_token": "random, made by the node",
    "PushHeader.push_id": "the operator's own name for a push, about no number; at most 128 characters",
    "RenamedOperator.new_name": "as PlanRow.operator_name",
    "RenamedOperator.old_name": "as PlanRow.operator_name",
    "RejectHeldPushRequest.confirmation_token": "random, made by the node",
    "RefusedNumber.reason": "a word of docs/errors.md",
}

# Of a push, a plan or an index version as a whole; of one number only what the numbering plan says of it.
ABOUT_NO_SUBSCRIBER = {
    "operators": {"operator_id", "operator_ids", "serving_operator", "range_holder", "operators", "synthetic"},
    "versions": {
        *("version", "base_version", "data_version", "head_version", "index_version", "min_index_version"),
        "request_id",
        *("sequence", "previous_sequence", "sequences", "position", "after_sequence"),
    },
    "counts": {
        *("added_count", "already_added_count", "removed_count", "already_removed_count", "number_count"),
        *("refused_count", "range_count", "moved_count", "recycled_count"),
    },
    "the standing of a number": {"status", "statuses", "ported", "answer", "ended"},
    "what a push is to do, and what became of it": {
        *("mode", "state", "force", "skip_not_served", "skip_not_portable", "calling_code", "without_digest"),
        "allow_older",
    },
    "what a program may call, and is told": {"role", "has_token", "identifications"},
    "what a row of the store is": {"kind", "whole"},
    "what a set of callers, or a file, is": {"revision", "size", "offset"},
    "moments, in seconds": {"since_unix_s", "record_since_unix_s"},
    "messages, whose own fields are listed": {
        *("caller", "callers", "agreement", "agreements"),
        *("header", "add_ranges", "remove_ranges", "ported", "refused", "push", "rows", "lost", "held_pushes"),
        *("renamed", "identification", "events", "head", "files"),
    },
}
# At which a whole set was true, an event happened or a head was signed, when a push came in or is over, when a program
# was let in and out, and when a messenger identified a user of its own.
MOMENTS = {
    *("event_time", "data_time", "first_push_time", "expire_time", "added_at", "revoked_at", "signed_at", "current_at"),
}
FREE = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def methods() -> Iterator[MethodDescriptor]:
    for module in pkgutil.iter_modules(numcheck.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"numcheck.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                if service.name in OF_THE_MESSENGERS_OWN_USERS:
                    continue
                assert service.name in SERVICES, f"whose data does {service.name} carry?"
                yield from service.methods


def fields_of(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """Every field at any depth; a moment is one field, whatever it is made of."""
    if message.full_name in seen or message.full_name == "google.protobuf.Timestamp":
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None:
            yield from fields_of(field.message_type, seen)


def name_of(field: FieldDescriptor) -> str:
    return f"{field.containing_type.name}.{field.name}"


def every_field() -> list[FieldDescriptor]:
    seen: set[str] = set()
    return [
        field
        for method in methods()
        for message in (method.input_type, method.output_type)
        for field in fields_of(message, seen)
    ] + [field for message in CARRIED for field in fields_of(message.DESCRIPTOR, seen)]


def is_known(field: FieldDescriptor) -> bool:
    if field.type in FREE:
        return name_of(field) in TEXTS
    if field.message_type is not None and field.message_type.full_name.startswith("google.protobuf."):
        return field.message_type.name == "Timestamp" and field.name in MOMENTS
    return name_of(field) in SUBSCRIBER_NUMBERS or any(field.name in names for names in ABOUT_NO_SUBSCRIBER.values())


def test_no_field_is_for_a_subscribers_personal_data() -> None:
    """Of operators' pushes and messengers' answers, every field at any depth, and both directions of each method."""
    fields = every_field()
    assert [name_of(field) for field in fields if not is_known(field)] == []
    assert {"PushHeader.push_id", "CheckNumberResponse.number", "Operator.tax_id"} <= {name_of(one) for one in fields}


def test_the_lists_name_no_field_that_is_gone() -> None:
    fields = every_field()
    assert {*TEXTS, *SUBSCRIBER_NUMBERS} <= {name_of(field) for field in fields}
    assert set().union(*ABOUT_NO_SUBSCRIBER.values()) <= {field.name for field in fields}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_text_has_its_reason(name: str) -> None:
    assert len(TEXTS[name]) > 10


def test_a_field_of_personal_data_would_be_found() -> None:
    """A name, an address, a birthday or any other message, wherever it is put."""
    file = descriptor_pb2.FileDescriptorProto(name="subscriber.proto", package="t", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    subscriber = file.message_type.add(name="Subscriber")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind) in enumerate(
        [("full_name", kinds.TYPE_STRING), ("passport", kinds.TYPE_BYTES), ("age", kinds.TYPE_UINT32)], 1
    ):
        subscriber.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    moment = ".google.protobuf.Timestamp"
    subscriber.field.add(name="born", number=4, type=kinds.TYPE_MESSAGE, type_name=moment, label=kinds.LABEL_OPTIONAL)
    outer = file.message_type.add(name="Outer")
    outer.field.add(
        name="header", number=1, type=kinds.TYPE_MESSAGE, type_name=".t.Subscriber", label=kinds.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    fields = fields_of(pool.FindMessageTypeByName("t.Outer"), set())
    assert [field.name for field in fields if not is_known(field)] == ["full_name", "passport", "age", "born"]
