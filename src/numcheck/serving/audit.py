"""The auditor's side of a data directory: is the chain of events what was written (R13), and the events themselves."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from numcheck.config import Settings
from numcheck.errors import BadKeys, EventsAltered
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
    its last event left it. BadKeys without the keys, under which the head was written: an export needs none.
    """
    with Store(settings.data_dir, url=settings.database, read_only=True) as store:
        has_keys = keys_path(settings).exists() or store.events().try_head() is not None
        keys = read_keys(keys_path(settings)) if has_keys else None
        return verify_events(store, keys, handed_out)


def verify_events(store: Store, keys: Keys | None, handed_out: SignedHead | None) -> Verified:
    """The same for an open store; without keys there must be no events."""
    with store.one_moment():
        log = store.events()
        sequence, digest = check_chain(_matching(map(Event._make, log.all()), handed_out))
        head = log.try_head()
        if (head.sequence, head.hash) != (sequence, digest) if head else sequence:
            raise EventsAltered(sequence + 1, f"the events behind {sequence} are missing, or the head is not theirs")
        if head is not None:
            if keys is None:
                raise BadKeys("the head cannot be checked without the keys that it was written under")
            Chain(keys.keyring).check_head(head.sequence, head.hash, head.key_id, head.mac)
        own_key = None if keys is None else keys.signing_key.public_key().public_bytes_raw()
        _check_handed_out(handed_out, sequence, own_key)
        with closing(log.last_events()) as last_events:
            _check_standings(log.standings(), last_events, sequence)
    return Verified(sequence, digest)


def verify_export(lines: Iterable[str], handed_out: SignedHead | None) -> Verified:
    """The same for what `export` wrote, by itself: nothing of the installation is needed.

    It has to end in a signed head, of the same key as the one that was handed out.
    """
    ending: list[SignedHead] = []
    sequence, digest = check_chain(_matching(_exported(lines, ending), handed_out))
    if not ending:
        raise EventsAltered(sequence + 1, f"what follows event {sequence} is missing: there is no signed head")
    (head,) = ending
    check_signature(head)
    if (head.sequence, head.hash) != (sequence, digest):
        raise EventsAltered(sequence + 1, f"the events behind {sequence} are missing, or the head is not theirs")
    _check_handed_out(handed_out, sequence, head.public_key)
    return Verified(sequence, digest)


def _exported(lines: Iterable[str], ending: list[SignedHead]) -> Iterator[Event]:
    """The events of an export, as they are read; the signed head, which is the last line, goes into `ending`."""
    for place, line in enumerate(lines, start=1):
        entry = _read_line(line, place)
        if ending:
            raise EventsAltered(place, "there is something behind the signed head")
        if "signature" in entry:
            ending.append(head_of(entry))
        else:
            yield _event_of(entry)


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


def _check_handed_out(handed_out: SignedHead | None, sequence: int, public_key: bytes | None) -> None:
    if handed_out is None:
        return
    check_signature(handed_out)
    if public_key is not None and public_key != handed_out.public_key:
        raise EventsAltered(handed_out.sequence, "the head that was handed out is not signed with the chain's key")
    if handed_out.sequence > sequence:
        raise EventsAltered(sequence + 1, f"event {sequence + 1} and all behind it are missing")


def _check_standings(
    rows: Iterator[tuple[bytes, int, int]], last_events: Iterator[tuple[bytes, int, str]], sequence: int
) -> None:
    """Every registration stands where its last event left it: both come by ascending ids, and are read side by side."""
    for row, last in zip_longest(rows, last_events):
        if row is None or (last is not None and last[0] < row[0]):
            raise EventsAltered(sequence, f"registration {last[0].hex()} is missing, though its events are there")
        if last is None or row != (last[0], last[1], _due_at_us(last[2])):
            raise EventsAltered(sequence, f"registration {row[0].hex()} does not stand where its events left it")


def _due_at_us(details: str) -> Any:
    try:
        return json.loads(details)["due_at_us"]
    except (ValueError, TypeError, KeyError):
        return None  # the chain will say that it was changed
