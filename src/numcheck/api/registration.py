"""RegistrationService: translation only. The rules are in registrations/."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from numcheck import e164
from numcheck.api.access import own_service
from numcheck.api.calls import CallerWaits, Feed, Pieces, parsed
from numcheck.api.errors import log_failure
from numcheck.api.fields import network_address_of
from numcheck.api.importing import Imports
from numcheck.api.registration_messages import (
    event_messages,
    outcome_answer,
    page_answer,
    read_change_number,
    read_get_registration,
    read_refresh,
    read_register,
    read_start_verification,
    registration_answer,
)
from numcheck.api.slots import Slots
from numcheck.errors import BadRegistration, NotANumber, ProofNotAccepted
from numcheck.moments import microseconds
from numcheck.registrations import record as records
from numcheck.registrations import ways
from numcheck.registrations.completion import Completion
from numcheck.registrations.events import SignedHead
from numcheck.registrations.history import History, token_of
from numcheck.registrations.importing import Importer
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import AttestedProof, CodeProof, InboundProof, Proof
from numcheck.registrations.record import Record
from numcheck.registrations.registrar import LISTED, Filters, Registrar, checked_moment
from numcheck.registrations.reverifier import Reverifier
from numcheck.registrations.states import RegistrationState
from numcheck.registrations.ways import ANY_WAY, Way
from numcheck.steps import Steps
from numcheck.timestamps import timestamp_at
from numcheck.v1 import registration_pb2 as pb

SERVICE_NAME = "numcheck.v1.RegistrationService"
PAGE_ROWS_DEFAULT = 100
MARK_SIZE = 3  # bytes; with them a page_token is 36 characters, without padding
FEEDS_MAX = 32
FEEDS_PER_SERVICE_MAX = 8
REVERIFYING_MAX = 2  # each keeps a core busy
REVERIFYING_PER_SERVICE_MAX = 1

METHODS_ASKED: dict[int, Method | None] = {
    pb.VERIFICATION_METHOD_UNSPECIFIED: None,
    **{method.wire_number: method for method in Method},
}
CHANNELS: dict[int, str] = {pb.CODE_CHANNEL_UNSPECIFIED: "", pb.CODE_CHANNEL_SMS: "sms", pb.CODE_CHANNEL_CALL: "call"}


def caller_service(service: str) -> str:
    """Return the service that a call is about: a messenger's own, or the one that the administrator names.

    Raise BadRegistration, or NotPermitted.
    """
    own_service(records.check_service(service))
    return service


class Rules(NamedTuple):
    """The parts that know the answers."""

    registrar: Registrar
    completion: Completion
    history: History
    reverifier: Reverifier
    importer: Importer


class RegistrationService:
    """Asks the rules, and says what they answered."""

    name = SERVICE_NAME

    def __init__(
        self, rules: Rules, asked: Callable[[int], None], *, now: Callable[[], datetime], default_region: str
    ) -> None:
        """`asked` counts numbers about which an answer tells something: what becomes of a user depends on theirs."""
        self._asked = asked
        self._registrar, self._completion, self._history, self._reverifier, importer = rules
        self._now, self._default_region = now, default_region
        feeds, reverifying = (
            Slots(FEEDS_MAX, FEEDS_PER_SERVICE_MAX),
            Slots(REVERIFYING_MAX, REVERIFYING_PER_SERVICE_MAX),
        )
        self._watching, self._reverifying = (feeds,), (feeds, reverifying)
        self._imports = Imports(importer, caller_service, asked, default_region=default_region)

    def register(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Record a user."""
        service, request_id, user_id, identifier, number, address, data, *way = read_register(request)
        caller_service(service)
        record = Record(
            records.check_user_id(user_id),
            e164.parse(number, self._default_region),
            records.check_identifier(identifier),
            network_address_of(address),
            records.check_registration_data(data),
        )
        recording = self._registrar.register(service, records.check_request_id(request_id), record, way=_way(*way))
        self._asked(1)
        outcome = yield from recording
        return outcome_answer(pb.RegisterResponse, outcome)

    def get_registration(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Tell a registration."""
        service, user_id = read_get_registration(request)
        found = yield from self._registrar.get(caller_service(service), records.check_user_id(user_id))
        return registration_answer(found)

    def list_registrations(self, request: bytes, _context: CallerWaits) -> bytes:
        """Tell a page of registrations."""
        message = parsed(pb.ListRegistrationsRequest, request)
        service = caller_service(message.service)
        filters = Filters(
            states=[_state(state) for state in sorted(set(message.states))],
            number=e164.parse(message.number, self._default_region) if message.number else None,
            due_before=_try_field_moment(message, "due_before"),
            registered_after=_try_field_moment(message, "registered_after"),
        )
        mark = _mark(service, filters)
        page = self._registrar.page(
            service, filters, size=message.page_size or PAGE_ROWS_DEFAULT, place=_place(message.page_token, mark)
        )
        for error in page.damaged:
            log_failure(error)
        damaged_ids = [error.registration_id for error in page.damaged]
        return page_answer(page.registrations, _page_token(page.next_place, mark), damaged_ids)

    def delete_registration(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Erase a registration."""
        message = parsed(pb.DeleteRegistrationRequest, request)
        service = caller_service(message.service)
        yield from self._registrar.delete(service, records.check_user_id(message.user_id))
        return pb.DeleteRegistrationResponse().SerializeToString()

    def refresh_registration(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Take a user's information anew."""
        service, user_id, data, address, channel, request_id, *named = read_refresh(request)
        outcome = yield from self._registrar.refresh(
            caller_service(service),
            records.check_user_id(user_id),
            network_address_of(address),
            records.check_registration_data(data),
            way=_way(channel, *named),
            request_id=records.check_request_id(request_id),
        )
        return outcome_answer(pb.RefreshRegistrationResponse, outcome)

    def start_verification(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Start a verification."""
        service, user_id, method, channel, address, request_id, *named = read_start_verification(request)
        if method not in METHODS_ASKED:
            raise BadRegistration("method", "there is no such method")
        outcome = yield from self._registrar.verify(
            caller_service(service),
            records.check_user_id(user_id),
            method=METHODS_ASKED[method],
            network_address=None if address is None else network_address_of(address),
            way=_way(channel, *named),
            request_id=records.check_request_id(request_id),
        )
        return outcome_answer(pb.StartVerificationResponse, outcome)

    def complete_verification(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Give a verification what it waits for."""
        message = parsed(pb.CompleteVerificationRequest, request)
        service, proof = caller_service(message.service), self._proof(message)
        try:
            verification_id = bytes.fromhex(message.verification_id)
        except ValueError:
            raise ProofNotAccepted from None
        outcome = yield from self._completion.complete(service, verification_id, proof)
        return outcome_answer(pb.CompleteVerificationResponse, outcome)

    def change_number(self, request: bytes, _context: CallerWaits) -> Steps[bytes]:
        """Start to give a user another number."""
        service, request_id, user_id, number, address, *way = read_change_number(request)
        changing = self._registrar.change_number(
            caller_service(service),
            records.check_user_id(user_id),
            e164.parse(number, self._default_region),
            network_address_of(address),
            way=_way(*way),
            request_id=records.check_request_id(request_id),
        )
        self._asked(1)
        outcome = yield from changing
        return outcome_answer(pb.ChangeNumberResponse, outcome)

    def _proof(self, message: pb.CompleteVerificationRequest) -> Proof:
        match message.WhichOneof("proof"):
            case "code":
                return CodeProof(message.code)
            case "inbound_act":
                act = message.inbound_act
                number = self._from_number(act)
                return InboundProof(number, act.text, _moment(act, "received_at", "inbound_act."))
            case "attested_act":
                attested = message.attested_act
                attested_at = _moment(attested, "attested_at", "attested_act.")
                return AttestedProof(attested.authority, attested.assertion_id, attested_at)
            case _:
                raise BadRegistration("proof", "there is no proof")

    def _from_number(self, act: pb.InboundAct) -> int:
        try:
            return e164.parse(act.from_number, self._default_region)
        except NotANumber as error:
            raise NotANumber(str(error), "inbound_act.from_number") from None

    def summarize_registrations(self, request: bytes, _context: CallerWaits) -> bytes:
        """Tell how many registrations there are."""
        message = parsed(pb.SummarizeRegistrationsRequest, request)
        summary = self._registrar.summary(caller_service(message.service))
        return pb.SummarizeRegistrationsResponse(
            states=[
                pb.StateCount(state=cast("Any", state), registration_count=count)
                for state, count in summary.states.items()
            ],
            due_soon_count=summary.due_soon_count,
        ).SerializeToString()

    def reverify_registrations(self, request: bytes, _context: CallerWaits) -> Feed:
        """Verify again in bulk, with progress."""
        message = parsed(pb.ReverifyRegistrationsRequest, request)
        service = caller_service(message.service)
        due_before = _try_field_moment(message, "due_before")
        place = _registration_id(message.resume_token)
        return Feed(service, self._reverified(service, due_before, place), self._reverifying)

    def _reverified(self, service: str, due_before: datetime | None, place: bytes) -> Pieces:
        for progress in self._reverifier.run(service, due_before=due_before, place=place):
            yield [
                pb.ReverifyRegistrationsResponse(
                    checked_count=progress.checked,
                    confirmed_count=progress.confirmed,
                    revoked_count=progress.revoked,
                    unanswered_count=progress.unanswered,
                    total_count=progress.total,
                    resume_token=progress.place.hex() if progress.place else "",
                ).SerializeToString()
            ]

    def watch_registrations(self, request: bytes, _context: CallerWaits) -> Feed:
        """Tell every event from a position on."""
        message = parsed(pb.WatchRegistrationsRequest, request)
        service = caller_service(message.service)
        head = self._history.signed_head(service, microseconds(self._now()))
        token = message.resume_token or token_of(head.sequence, head.hash)
        sequence = self._history.position_of(service, token)
        if sequence is None:
            raise BadRegistration("resume_token", "the resume_token was not given out by WatchRegistrations")
        first = pb.WatchRegistrationsResponse(resume_token=token, head=_head_message(head))
        return Feed(service, self._told(service, sequence, first), self._watching)

    def _told(self, service: str, sequence: int, first: pb.WatchRegistrationsResponse) -> Pieces:
        yield [first.SerializeToString()]
        while True:
            told = self._history.after(service, sequence)
            sequence = told[-1].event.service_sequence if told else sequence
            yield event_messages(told)

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""
        return {
            "Register": self.register,
            "GetRegistration": self.get_registration,
            "ListRegistrations": self.list_registrations,
            "DeleteRegistration": self.delete_registration,
            "RefreshRegistration": self.refresh_registration,
            "StartVerification": self.start_verification,
            "CompleteVerification": self.complete_verification,
            "ChangeNumber": self.change_number,
            "ImportRegistrations": self._imports.answers,
            "SummarizeRegistrations": self.summarize_registrations,
            "ReverifyRegistrations": self.reverify_registrations,
            "WatchRegistrations": self.watch_registrations,
        }


# --- what comes in


def _way(code_channel: int, code_channel_name: str, language: str) -> Way:
    if not (code_channel or code_channel_name or language):
        return ANY_WAY
    if code_channel not in CHANNELS:
        raise BadRegistration("code_channel", "there is no such channel")
    if code_channel and code_channel_name:
        raise BadRegistration("code_channel_name", "code_channel and code_channel_name exclude each other")
    channel = CHANNELS[code_channel] or ways.check_channel(code_channel_name)
    return Way(channel, ways.check_language(language))


def _state(number: int) -> RegistrationState:
    """Return a state that can be listed."""
    if number not in LISTED:
        raise BadRegistration("states", "no registration is listed in such a state")
    return RegistrationState(number)


def _moment(message: Any, field: str, parent: str = "") -> datetime:
    if not message.HasField(field):
        raise BadRegistration(parent + field, "there is no moment")
    try:
        return checked_moment(getattr(message, field).ToDatetime(tzinfo=UTC), parent + field)
    except (ValueError, OverflowError):
        raise BadRegistration(parent + field, "that is no moment") from None


def _try_field_moment(message: Any, field: str) -> datetime | None:
    return _moment(message, field) if message.HasField(field) else None


def _mark(service: str, filters: Filters) -> bytes:
    """Return a mark of a page's service and filters, which shows no more than two digits of the number."""
    number = None if filters.number is None else filters.number % 100
    told = repr((service, *map(int, filters.states), number, filters.due_before, filters.registered_after))
    return hashlib.sha256(told.encode()).digest()[:MARK_SIZE]


def _place(token: str, mark: bytes) -> tuple[int, bytes] | None:
    if not token:
        return None
    try:
        place = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        place = b""
    if len(place) != 24 + MARK_SIZE or place[0] > 0x7F:  # what comes first is a moment, never negative
        raise BadRegistration("page_token", "the page_token was not given out by ListRegistrations")
    if place[24:] != mark:
        raise BadRegistration("page_token", "the page_token was given out for another service or other filters")
    return int.from_bytes(place[:8], "big"), place[8:24]


def _registration_id(token: str) -> bytes:
    """Return the position in a resume_token of ReverifyRegistrations; without one, the beginning."""
    try:
        place = bytes.fromhex(token)
    except ValueError:
        place = b"?"
    if len(place) not in (0, 16) or place.hex() != token:
        raise BadRegistration("resume_token", "the resume_token was not given out by ReverifyRegistrations")
    return place


# --- what goes out


def _head_message(head: SignedHead) -> pb.EventHead:
    return pb.EventHead(
        sequence=head.sequence,
        hash=head.hash,
        signed_at=timestamp_at(head.signed_at_us),
        signature=head.signature,
        public_key=head.public_key,
    )


def _page_token(place: tuple[int, bytes] | None, mark: bytes) -> str:
    return "" if place is None else base64.urlsafe_b64encode(place[0].to_bytes(8, "big") + place[1] + mark).decode()
