"""Rows of registrations, verifications and codes, as they are read and written."""

from typing import NamedTuple


class RegistrationRow(NamedTuple):
    """A row of the registrations."""

    registration_id: bytes
    service: str
    user_tag: bytes | None
    number_tag: bytes | None
    request_tag: bytes | None
    key_id: int
    sealed_record: bytes | None
    sealed_number: bytes | None
    state: int
    registered_at_us: int
    refreshed_at_us: int
    due_at_us: int
    next_at_us: int | None
    evidence: str | None = None
    confirmed_by: int | None = None
    proofs: str | None = None
    verification_id: bytes | None = None
    reminded_of_us: int | None = None
    as_of_revision: int = 0  # of a new registration made when it is written, as is all that follows
    sequence: int = 0
    content: bytes = b""  # the digests: see bindings.py
    mac: bytes = b""


class Standing(NamedTuple):
    """The state of a registration: all that an operation on millions of them reads."""

    registration_id: bytes
    service: str
    key_id: int
    content: bytes
    state: int
    refreshed_at_us: int
    due_at_us: int
    reminded_of_us: int | None
    evidence: str | None
    confirmed_by: int | None
    proofs: str | None
    as_of_revision: int
    verification_id: bytes | None
    sequence: int
    mac: bytes


class VerificationRow(NamedTuple):
    """A row of the verifications."""

    verification_id: bytes
    registration_id: bytes
    service: str
    number_tag: bytes
    key_id: int
    method: str
    state: int
    started_at_us: int
    as_of_revision: int
    expires_at_us: int
    next_code_at_us: int
    secret_mac: bytes
    tries: int
    attempt_id: bytes
    alternatives: str
    given: str
    channel: str
    network_tag: bytes
    sealed_change: bytes | None = None
    mac: bytes = b""  # made when the row is written: see bindings.py


class TryRow(NamedTuple):
    """A row of the tries, but for its id and whether it was wrong."""

    service: str
    number_tag: bytes
    user_tag: bytes
    network_tag: bytes
    at_us: int


class Asked(NamedTuple):
    """The moment of a code, who asked for it, and of which service."""

    at_us: int
    user_tag: bytes
    network_tag: bytes
    service: str


class SendRow(NamedTuple):
    """A row of the codes that were sent."""

    verification_id: bytes
    at_us: int
    service: str
    number_tag: bytes
    user_tag: bytes
    block_tag: bytes
    network_tag: bytes
    completed: bool = False


class RequestRow(NamedTuple):
    """A row of the requests that may be repeated."""

    request_tag: bytes
    said_tag: bytes
    at_us: int
    verification_id: bytes
    problem: str


class SealedRow(NamedTuple):
    """The columns that tell whose a registration is."""

    registration_id: bytes
    key_id: int
    sealed_record: bytes


class NumberRow(NamedTuple):
    """The columns of a registration for bulk verification: its number, and those that tell whether to write it."""

    registration_id: bytes
    key_id: int
    sealed_number: bytes
    refreshed_at_us: int
    due_at_us: int
    confirmed_by: int | None
    sequence: int
