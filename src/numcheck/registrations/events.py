"""The chain of events (R13): what an event is, byte by byte, and how a chain that was edited shows.

Invariants: an event's hash covers its own bytes and the hash before it, so that no event can be changed, removed, moved
or inserted without every later hash changing; the head's MAC takes a key that is not in the store, and a signed head
that was handed out cannot be taken back. No event holds a number, an address or a user identifier.

The bytes of event n: the JSON array [n, at, service, registration_id, kind, state, details] with no space, non-ASCII
characters escaped; `at` in microseconds since 1970, `registration_id` in hexadecimal, `details` a string. Its hash is
SHA-256 over the hash before it (32 zero bytes before the first) and those bytes. docs/auditors.md says so to
auditors.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from numcheck.errors import EventsAltered
from numcheck.registrations.sealing import Keyring
from numcheck.store.events import EventHead, ToldEvent

FIRST_HASH = bytes(32)
_HEAD_PREFIX = b"numcheck event head 1\0"
_SERVICE_HEAD_PREFIX = b"numcheck service head 1\0"


class Event(NamedTuple):
    """Something that happened, most often to a registration, with its place in the chain."""

    sequence: int
    at_us: int
    service: str
    registration_id: bytes
    kind: str
    state: int
    details: str
    hash: bytes


class Basis(NamedTuple):
    """The grounds of an event about a registration: why its number was withdrawn, and which data; empty if nothing."""

    cause: str
    index_version: int


def basis_of(details: str) -> Basis:
    """Return what the details of an event say of that."""
    said = orjson.loads(details)
    versions = (one["index_version"] for one in said.get("evidence", ()) if "index_version" in one)
    return Basis(said.get("cause", ""), said.get("revision") or next(versions, 0))


class SignedHead(NamedTuple):
    """The newest event of a moment, signed: what an auditor keeps.

    With a service it is that service's newest event, and `sequence` its place among the service's own.
    """

    sequence: int
    hash: bytes
    signed_at_us: int
    signature: bytes
    public_key: bytes
    service: str = ""


def links(previous_hash: bytes, events: Iterable[ToldEvent], *, text: Callable[[str], str] = quoted) -> Iterator[bytes]:
    """Yield the hash of each of some events that follow one another; `text` makes a text a JSON string."""
    digest = previous_hash
    for sequence, at_us, service, registration_id, kind, state, details in events:
        place = f'{sequence:d},{at_us:d},{text(service)},"{registration_id.hex()}"'
        line = f"[{place},{text(kind)},{state:d},{text(details)}]"
        digest = hashlib.sha256(digest + line.encode()).digest()
        yield digest


def _follows(previous_hash: bytes, event: Event) -> bool:
    try:
        return next(links(previous_hash, [event[:-1]])) == event.hash
    except (AttributeError, TypeError, ValueError):  # damage has made another type of a column
        return False


def check_chain(events: Iterable[Event], *, sequence: int = 0, previous_hash: bytes = FIRST_HASH) -> tuple[int, bytes]:
    """Follow the chain from behind `sequence`; its last sequence and hash. EventsAltered names the first bad entry."""
    for event in events:
        if event.sequence != sequence + 1:
            raise EventsAltered(sequence + 1, f"event {sequence + 1} is missing")
        if not _follows(previous_hash, event):
            raise EventsAltered(event.sequence, f"event {event.sequence} is not what was written")
        sequence, previous_hash = event.sequence, event.hash
    return sequence, previous_hash


class Chain:
    """How this installation links and heads its events."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    first_hash = FIRST_HASH

    @property
    def newest_key_id(self) -> int:
        """The key that new digests are made with."""
        return self._keyring.newest.key_id

    def links(self, previous_hash: bytes, events: Iterable[ToldEvent]) -> Iterator[bytes]:
        """Yield the hash of each of some events that follow one another."""
        return links(previous_hash, events, text=cache(quoted))  # of what is written together much is the same

    def binder(self, key_id: int) -> Callable[[bytes], bytes]:
        """Return what makes the digest of some bytes under a key; StoreDamaged if there is no such key."""
        return self._keyring[key_id].bind

    def bind_each(self, key_id: int, plains: Iterable[bytes]) -> list[bytes]:
        """Return the digest of each of many under a key; StoreDamaged if there is no such key."""
        return self._keyring[key_id].bind_each(plains)

    def head_mac(self, sequence: int, digest: bytes) -> tuple[int, bytes]:
        """Return the newest key's id, and its MAC of a head."""
        key = self._keyring.newest
        return key.key_id, key.head_mac(sequence, digest)

    def check_head(self, sequence: int, digest: bytes, key_id: int, mac: bytes) -> None:
        """EventsAltered if the stored head is not one that this installation wrote."""
        if not hmac.compare_digest(self._keyring[key_id].head_mac(sequence, digest), mac):
            raise EventsAltered(sequence, f"the head, event {sequence}, is not what was written")


def sign_head(
    key: Ed25519PrivateKey, sequence: int, digest: bytes, signed_at_us: int, *, service: str = ""
) -> SignedHead:
    """Return a head that can be handed out: of the whole chain, or of a service."""
    head = SignedHead(sequence, digest, signed_at_us, b"", key.public_key().public_bytes_raw(), service)
    return head._replace(signature=key.sign(_signed(head)))


def sign_newest(key: Ed25519PrivateKey, newest: EventHead | None, signed_at_us: int) -> SignedHead:
    """Return the head of the whole chain, to be handed out; None is that of a chain without events."""
    sequence, digest = (0, FIRST_HASH) if newest is None else (newest.sequence, newest.hash)
    return sign_head(key, sequence, digest, signed_at_us)


def check_signature(head: SignedHead) -> None:
    """EventsAltered if the head was not signed by the key that it names."""
    try:
        public_key = Ed25519PublicKey.from_public_bytes(head.public_key)
        public_key.verify(head.signature, _signed(head))
    except (InvalidSignature, ValueError, OverflowError):
        raise EventsAltered(head.sequence, "the head's signature is not its key's") from None


def _signed(head: SignedHead) -> bytes:
    prefix = _SERVICE_HEAD_PREFIX + head.service.encode() + b"\0" if head.service else _HEAD_PREFIX
    return prefix + head.sequence.to_bytes(8, "big") + head.signed_at_us.to_bytes(8, "big") + head.hash


def head_fields(head: SignedHead) -> dict[str, Any]:
    """Return a signed head as JSON has it."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in head._asdict().items()}


def head_of(fields: dict[str, Any]) -> SignedHead:
    """Return the signed head that `head_fields` made; EventsAltered if it is none."""
    try:
        binary = {name: bytes.fromhex(fields[name]) for name in ("hash", "signature", "public_key")}
        places = {name: fields[name] for name in ("sequence", "signed_at_us")}
        service = fields["service"]
        if not all(type(place) is int for place in places.values()) or not isinstance(service, str):
            raise TypeError
        return SignedHead(**{**places, **binary}, service=service)
    except (KeyError, TypeError, ValueError):
        raise EventsAltered(0, "the head is not one that was handed out") from None
