"""The auditor's side of a data directory: is the chain of events what was written (R13), and the events themselves."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from numcheck.config import Settings
from numcheck.errors import EventsAltered
from numcheck.identity.events import Chain, Event, SignedHead, check_chain, check_signature, sign_head
from numcheck.serving.keys import Keys, keys_path, read_keys
from numcheck.store import Store
from numcheck.store.moments import microseconds

NO_EVENT = (0, Chain.first_hash)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found to be as it was written: so many events, and the hash of the last."""

    event_count: int
    hash: bytes


def verify_store(settings: Settings, handed_out: SignedHead | None) -> Verified:
    """Follow the whole chain of a data directory; EventsAltered names the first entry that is not what was written.

    Besides the chain: its head, the head that was handed out if one is given, and that every registration stands where
    its last event left it.
    """
    keys = read_keys(keys_path(settings)) if keys_path(settings).exists() else None
    with Store(settings.data_dir, url=settings.database, read_only=True) as store, store.one_moment():
        log = store.events()
        standings: dict[bytes, tuple[int, Any]] = {}
        watched = _noting(_matching(map(Event._make, log.all()), handed_out), standings)
        sequence, digest = check_chain(watched)
        head = log.try_head()
        if (head.sequence, head.hash) != (sequence, digest) if head else sequence:
            raise EventsAltered(sequence + 1, f"the events behind {sequence} are missing, or the head is not theirs")
        if head is not None and keys is not None:
            Chain(keys.keyring).check_head(head.sequence, head.hash, head.key_id, head.mac)
        _check_handed_out(handed_out, sequence, keys)
        _check_standings(log.standings(), standings, sequence)
    return Verified(sequence, digest)


def verify_export(lines: Iterable[str], handed_out: SignedHead | None) -> Verified:
    """The same for what `export` wrote, by itself: nothing of the installation is needed."""
    events: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    for line in lines:
        entry = _read_line(line, len(events) + 1)
        (heads if "signature" in entry else events).append(entry)
    chain = _matching(map(_event_of, events), handed_out)
    sequence, digest = check_chain(chain)
    for entry in heads:
        head = head_of(entry)
        check_signature(head)
        if (head.sequence, head.hash) != (sequence, digest):
            raise EventsAltered(sequence + 1, f"the events behind {sequence} are missing, or the head is not theirs")
    _check_handed_out(handed_out, sequence, None)
    return Verified(sequence, digest)


def signed_head(settings: Settings, now: datetime) -> SignedHead:
    """The head of the chain now, signed."""
    keys = read_keys(keys_path(settings))
    with Store(settings.data_dir, url=settings.database, read_only=True) as store:
        head = store.events().try_head()
    sequence, digest = (head.sequence, head.hash) if head else NO_EVENT
    return sign_head(keys.signing_key, sequence, digest, microseconds(now))


def export(settings: Settings, now: datetime) -> Iterator[str]:
    """Every event as a line of JSON, and the signed head as the last line."""
    keys = read_keys(keys_path(settings))
    with Store(settings.data_dir, url=settings.database, read_only=True) as store, store.one_moment():
        sequence, digest = NO_EVENT
        for row in store.events().all():
            fields = {**row._asdict(), "registration_id": row.registration_id.hex(), "hash": row.hash.hex()}
            yield json.dumps(fields)
            sequence, digest = row.sequence, row.hash
    yield json.dumps(head_fields(sign_head(keys.signing_key, sequence, digest, microseconds(now))))


def head_fields(head: SignedHead) -> dict[str, Any]:
    """A signed head as JSON has it."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in head._asdict().items()}


def head_of(fields: dict[str, Any]) -> SignedHead:
    """The signed head that `head_fields` made; EventsAltered if it is none."""
    try:
        binary = {name: bytes.fromhex(fields[name]) for name in ("hash", "signature", "public_key")}
        return SignedHead(sequence=int(fields["sequence"]), signed_at_us=int(fields["signed_at_us"]), **binary)
    except (KeyError, TypeError, ValueError):
        raise EventsAltered(0, "the head is not one that was handed out") from None


def read_head(path: Path) -> SignedHead:
    """The signed head in a file."""
    return head_of(_read_line(path.read_text(encoding="utf-8"), 0))


def _read_line(line: str, sequence: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise EventsAltered(sequence, f"entry {sequence} cannot be read")
    return entry


def _event_of(entry: dict[str, Any]) -> Event:
    try:
        binary = {name: bytes.fromhex(entry[name]) for name in ("registration_id", "hash")}
        return Event(**{**entry, **binary})
    except (KeyError, TypeError, ValueError):
        sequence = entry.get("sequence", 0)
        raise EventsAltered(sequence if isinstance(sequence, int) else 0, "an entry is no event") from None


def _matching(events: Iterable[Event], handed_out: SignedHead | None) -> Iterator[Event]:
    """The events, of which the one that was handed out as a head has to have its hash."""
    for event in events:
        if handed_out is not None and event.sequence == handed_out.sequence and event.hash != handed_out.hash:
            raise EventsAltered(event.sequence, f"event {event.sequence} is not the one whose head was handed out")
        yield event


def _check_handed_out(handed_out: SignedHead | None, sequence: int, keys: Keys | None) -> None:
    if handed_out is None:
        return
    check_signature(handed_out)
    if keys is not None and keys.signing_key.public_key().public_bytes_raw() != handed_out.public_key:
        raise EventsAltered(handed_out.sequence, "the head was not signed by this installation")
    if handed_out.sequence > sequence:
        raise EventsAltered(sequence + 1, f"event {sequence + 1} and all behind it are missing")


def _noting(events: Iterable[Event], standings: dict[bytes, tuple[int, Any]]) -> Iterator[Event]:
    """The events, with where each leaves its registration noted."""
    for event in events:
        try:
            due_at_us = json.loads(event.details)["due_at_us"]
        except (ValueError, TypeError, KeyError):
            due_at_us = None  # the chain will say that it was changed
        standings[event.registration_id] = (event.state, due_at_us)
        yield event


def _check_standings(
    rows: Iterable[tuple[bytes, int, int]], standings: dict[bytes, tuple[int, Any]], sequence: int
) -> None:
    for registration_id, state, due_at_us in rows:
        if standings.pop(registration_id, None) != (state, due_at_us):
            raise EventsAltered(
                sequence, f"registration {registration_id.hex()} does not stand where its events left it"
            )
    if standings:
        missing = next(iter(standings))
        raise EventsAltered(sequence, f"registration {missing.hex()} is missing, though its events are there")
