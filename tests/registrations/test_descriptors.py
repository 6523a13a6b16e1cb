"""I.5: no personal data of a subscriber can pass from operator to messenger, read off the descriptors."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor

from numcheck.v1 import check_pb2, numbering_pb2, operator_pb2, registration_pb2

OPERATORS = numbering_pb2.DESCRIPTOR.services_by_name["NumberingService"]
MESSENGERS = [
    check_pb2.DESCRIPTOR.services_by_name["CheckService"],
    registration_pb2.DESCRIPTOR.services_by_name["RegistrationService"],
]
# Text and bytes that operators, the clearing house and the administrator may send: each names an operator, a range, a
# push or a plan, and none of them a subscriber. A field that comes to be has to be judged before it is added here.
TEXTS_OF_OPERATORS = {
    "PushHeader.push_id",
    "WatchIdentificationsRequest.resume_token",  # made by the node
    "ConfirmPushRequest.confirmation_token",
    "RejectHeldPushRequest.confirmation_token",
    "PortingsHeader.push_id",
    "PlanHeader.series",
    "PlanHeader.source",
    "PortingsSequence.series",  # of the clearing house's files
    "PlanRow.operator_name",
    "PlanRow.tax_id",
    "PlanRow.region",
}
# And numbers: of operators, versions, counts, moments; the subscriber numbers themselves are what may be supplied.
SCALARS_OF_OPERATORS = {
    "PushHeader.operator_id", "PushHeader.mode", "PushHeader.base_version", "PushHeader.skip_not_served",
    "PushHeader.allow_older", "PortingsHeader.allow_older",
    "NumberRange.first", "NumberRange.last",
    "PushActiveNumbersRequest.add", "PushActiveNumbersRequest.remove",
    "ConfirmPushRequest.operator_id",
    "RejectHeldPushRequest.operator_id", "ListHeldPushesRequest.operator_id", "GetOperatorStateRequest.operator_id",
    "WatchIdentificationsRequest.operator_id",
    "GetOperatorStateRequest.without_digest",
    "PortingsSequence.position",
    "PortingsHeader.mode", "PortingsHeader.base_version", "PortingsHeader.skip_not_portable", "PortingsHeader.force",
    "PortedNumbers.operator_id", "PortedNumbers.numbers", "PushPortingsRequest.returned",
    "Timestamp.seconds", "Timestamp.nanos",
}  # fmt: skip
# What messengers are told that came from an operator's side: who serves a number, how fresh its data is, and yes or no.
ABOUT_NUMBERS = {"Operator", "Evidence", "CheckNumberResponse", "CheckNumbersResponse", "ListOperatorsResponse"}
TEXTS_ABOUT_NUMBERS = {
    *("Operator.display_name", "Operator.tax_id", "CheckNumberResponse.region"),
    "ListOperatorsResponse.installation_id",  # random, of the whole installation
}
# Text that a messenger is told and gave itself, or that names something of numcheck's own.
TEXTS_OF_MESSENGERS = {"Evidence.authority", "Evidence.assertion_id"}

TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def fields_of(messages: list[Descriptor]) -> Iterator[FieldDescriptor]:
    """Every field that can be reached from the messages."""
    seen, waiting = set(), list(messages)
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            yield field
            if field.message_type is not None:
                waiting.append(field.message_type)


def name_of(field: FieldDescriptor) -> str:
    return f"{field.containing_type.name}.{field.name}"


def sent(service: ServiceDescriptor) -> list[Descriptor]:
    return [method.input_type for method in service.methods]


def told(service: ServiceDescriptor) -> list[Descriptor]:
    return [method.output_type for method in service.methods]


def test_no_field_can_carry_a_subscribers_data_from_operator_to_messenger() -> None:
    """What operators can send at all is a closed list of fields, none of them a subscriber's but the number."""
    fields = list(fields_of(sent(OPERATORS)))
    assert {name_of(field) for field in fields if field.type in TEXT} == TEXTS_OF_OPERATORS
    plan = {"PlanHeader", "PlanRow"}  # the regulator's, by the administrator
    scalars = [one for one in fields if one.message_type is None and one.type not in TEXT]
    assert {name_of(one) for one in scalars if one.containing_type.name not in plan} == SCALARS_OF_OPERATORS


def test_what_messengers_are_told_of_a_number_is_who_serves_it_and_whether_it_is_active() -> None:
    """In the messages about numbers there is no other text than the operator's and the region's names."""
    fields = [field for service in MESSENGERS for field in fields_of(told(service))]
    about = [field for field in fields if field.containing_type.name in ABOUT_NUMBERS and field.type in TEXT]
    assert {name_of(field) for field in about} <= TEXTS_ABOUT_NUMBERS | TEXTS_OF_MESSENGERS


def test_everything_else_that_messengers_are_told_they_have_said_themselves() -> None:
    """Text in a registration is what the request that made it has, by the same name, or an id of numcheck's own."""
    own_ids = {"registration_id", "verification_id", "inbound_word", "next_page_token", "resume_token", "key", "value"}
    own_ids |= {"cause", "damaged_registration_ids", "hash", "signature", "public_key", "verification_problem"}
    own_ids |= {"reason", "field"}  # of a row of an import that is refused
    given = {field.name for field in fields_of(sent(MESSENGERS[1])) if field.type in TEXT}
    fields = fields_of(told(MESSENGERS[1]))
    texts = {field.name for field in fields if field.type in TEXT and field.containing_type.name not in ABOUT_NUMBERS}
    assert texts <= given | own_ids


def test_a_live_answer_is_yes_or_no_and_a_moment_and_its_question_is_a_number_and_a_name() -> None:
    """Nothing of the user goes to the operator, and nothing of the subscriber comes from it."""
    service = operator_pb2.DESCRIPTOR.services_by_name["SubscriberService"]
    moments = ["Timestamp.seconds", "Timestamp.nanos"]
    asked, answered = fields_of(sent(service)), fields_of(told(service))
    assert [name_of(field) for field in asked] == ["ConfirmNumberRequest.number", "ConfirmNumberRequest.question_id"]
    own = ["ConfirmNumberResponse.answer", "ConfirmNumberResponse.data_time"]
    assert [name_of(field) for field in answered] == [*own, *moments]
