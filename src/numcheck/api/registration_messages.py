"""Messages about registrations that go by the thousand, from bytes and to bytes without an object for each."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any, cast

from numcheck._wire import Layout
from numcheck.api.wire import reader_of
from numcheck.registrations.events import basis_of
from numcheck.registrations.evidence import fields_from_json
from numcheck.registrations.history import Told, token_of
from numcheck.registrations.policy import Method
from numcheck.registrations.registration import Outcome, Registration, Verification
from numcheck.registrations.states import EventKind
from numcheck.store import RegistrationRow
from numcheck.timestamps import set_timestamp
from numcheck.v1 import registration_pb2 as pb

# Each gives the values of a request, in the order of the fields' numbers.
read_register = reader_of(pb.RegisterRequest)
read_get_registration = reader_of(pb.GetRegistrationRequest)
read_refresh = reader_of(pb.RefreshRegistrationRequest)
read_start_verification = reader_of(pb.StartVerificationRequest)
read_change_number = reader_of(pb.ChangeNumberRequest)
read_import = reader_of(pb.ImportRegistrationsRequest)
read_imported = reader_of(pb.ImportedRegistration)

KINDS: dict[str, int] = {
    kind.value: pb.RegistrationEventKind.Value(f"REGISTRATION_EVENT_KIND_{kind.upper()}") for kind in EventKind
}
MOMENTS = {f"{field.name}_us": field.name for field in pb.Evidence.DESCRIPTOR.fields if field.message_type}
"""Fields of an entry that are moments, by their names in the store; every other has one name in both."""


@cache
def layout_of(response_type: Any) -> Layout:
    """Return the layout of a type of responses."""
    return Layout(response_type.DESCRIPTOR)


def outcome_answer(response_type: Any, outcome: Outcome) -> bytes:
    """Return the response of one of the types that tell what a call has come to: they have the same fields."""
    told = None if outcome.verification is None else _verification_values(outcome.verification)
    return layout_of(response_type).write((_values(outcome.registration), told, outcome.problem))


def registration_answer(registration: Registration) -> bytes:
    """Return the response to GetRegistration."""
    return layout_of(pb.GetRegistrationResponse).write((_values(registration),))


def page_answer(registrations: Iterable[Registration], page_token: str, damaged_ids: Sequence[str]) -> bytes:
    """Return the response to ListRegistrations."""
    return layout_of(pb.ListRegistrationsResponse).write(([*map(_values, registrations)], page_token, damaged_ids))


def event_messages(told: Iterable[Told]) -> list[bytes]:
    """Return the messages of WatchRegistrations that tell events."""
    write = layout_of(pb.WatchRegistrationsResponse).write
    return [write((_event_values(one), token_of(one.event.service_sequence, one.event.hash), None)) for one in told]


# --- the values of messages within


def _values(registration: Registration) -> tuple[Any, ...]:
    """Return the values of a registration."""
    row, record = registration
    return (
        row.service,
        record.user_id,
        row.registration_id.hex(),
        record.number,
        record.identifier,
        record.network_address,
        record.registration_data,
        row.state,
        row.registered_at_us,
        row.refreshed_at_us,
        row.due_at_us,
        _entries(row, record.assertion_id),
    )


def _verification_values(verification: Verification) -> tuple[Any, ...]:
    return (
        verification.verification_id.hex(),
        verification.method.wire_number,
        verification.state,
        verification.expires_at_us,
        verification.next_code_at_us,
        verification.word,
        verification.channel,
    )


def _event_values(told: Told) -> tuple[Any, ...]:
    event, user_id = told
    cause, index_version = basis_of(event.details)
    return (
        event.service_sequence,
        event.at_us,
        KINDS[event.kind],
        event.registration_id.hex(),
        user_id or "",
        event.state,
        event.hash,
        cause,
        index_version,
    )


def _entries(row: RegistrationRow, assertion_id: str) -> list[bytes]:
    """Return the entries of a row's evidence, those of what the user proved first."""
    texts = [text for text in (row.proofs, row.evidence) if text]
    if assertion_id:
        return list(chain.from_iterable(_entries_of(text, assertion_id) for text in texts))
    return list(chain.from_iterable(map(_usual_entries_of, texts)))


@lru_cache(4_096)
def _usual_entries_of(text: str) -> list[bytes]:
    """Return the same of evidence without an assertion: many rows have the same."""
    return _entries_of(text, "")


def _entries_of(text: str, assertion_id: str) -> list[bytes]:
    """Return the entries of a row's text; the name of the user's assertion is in their record alone."""
    return [_evidence(fields, assertion_id).SerializeToString() for fields in fields_from_json(text)]


def _evidence(fields: Mapping[str, Any], assertion_id: str) -> pb.Evidence:
    message = pb.Evidence()
    for name, value in fields.items():
        if name == "method":
            message.method = cast("pb.VerificationMethod", Method(value).wire_number)
        elif name in MOMENTS:
            set_timestamp(getattr(message, MOMENTS[name]), value)
        else:
            setattr(message, name, value)
    if message.method == Method.ATTESTED.wire_number:
        message.assertion_id = assertion_id
    return message
