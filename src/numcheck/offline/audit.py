"""The auditor's side of a data directory: is the chain of events what was written (R13), and what it is about."""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson

from numcheck.config import Settings
from numcheck.errors import BadEventsFile, BadKeys, EventsAltered
from numcheck.inflating import NotInflated, inflated
from numcheck.moments import microseconds
from numcheck.offline.replica import silent, store_to_read
from numcheck.registrations.events import (
    Chain,
    Event,
    SignedHead,
    check_chain,
    check_signature,
    head_fields,
    head_of,
    sign_head,
    sign_newest,
)
from numcheck.registrations.registration import next_at_us
from numcheck.registrations.states import FALLS_DUE
from numcheck.serving.access import KEY_NAME, callers_of, token_key
from numcheck.serving.keys import Keys, kept_keys, keys_path, read_keys
from numcheck.serving.witness import newest_head
from numcheck.store import Bound, Callers, Entry, EventRow, LastTold, Registrations, Store
from numcheck.store.acts import LastActs
from numcheck.store.bindings import GONE, dropped_before_of, entries_of
from numcheck.store.events import BOUND_KIND

T = TypeVar("T")

FILE_SIZE_MAX = 2**44  # bytes of content: a bound of what is inflated, not of what an installation may have
LINE_LENGTH_MAX = 2**20  # an event that closes a transaction has 65,000
HEAD_LINES_MAX = 64

NO_EVENT = (0, Chain.first_hash)


class Compared(StrEnum):
    """The measure with which a history was compared: by itself it may be anybody's."""

    KEYS = "the installation's keys"
    HEAD = "the head that was handed out"
    SIGNING_KEY = "a public key that is trusted"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Verified:
    """A consistent history: its count of events, the hash of the last, and the key that signed it.

    It is the history that was written only as far as the measure that it was compared with can be trusted.
    """

    event_count: int
    hash: bytes
    compared_with: Compared
    public_key: bytes = b""


def verify_store(
    settings: Settings,
    handed_out: SignedHead | None,
    trusted_keys: Collection[bytes] = (),
    say: Callable[[str], None] = silent,
) -> Verified:
    """Follow the whole chain of a data directory; EventsAltered names the first entry that is not what was written.

    Besides the chain: its head, the head that was handed out if one is given, and that every registration and every
    verification is what the events left. BadKeys without the keys: an export needs none. A standby is read, and that
    said, unless it lacks the head that was handed out, or callers that this node has seen.
    """
    with store_to_read(settings, say) as store:
        behind = _behind(store, settings, handed_out)
        verified = None if behind else _verify(store, settings, handed_out)
    if verified is None:
        say(f"the standby is behind {behind}: database_url is read")
        with Store(settings.data_dir, url=settings.database, read_only=True) as store:
            verified = _verify(store, settings, handed_out)
    _check_trusted(verified.event_count, verified.public_key, trusted_keys)
    return verified


def _behind(store: Store, settings: Settings, handed_out: SignedHead | None) -> str:
    """Return what a standby lacks, and may get yet; empty if nothing that is known of."""
    if store.as_of is None:
        return ""
    newest = store.events().try_head()
    if handed_out is not None and (newest is None or newest.sequence < handed_out.sequence):
        return "the head that was handed out"
    callers = _callers(store, settings)
    return "the callers that this node has seen" if callers is not None and callers.are_older else ""


def _callers(store: Store, settings: Settings) -> Callers | None:
    """Return the callers of a store; None where there is no key of theirs."""
    if not (settings.data_dir / KEY_NAME).exists():
        return None
    return callers_of(store, token_key(settings.data_dir))


def _verify(store: Store, settings: Settings, handed_out: SignedHead | None) -> Verified:
    has_keys = keys_path(settings).exists() or store.key_checks() or store.events().try_head() is not None
    keys = read_keys(keys_path(settings)) if has_keys else None
    checks = store.checks()
    checks.schema()
    checks.indices()
    verified = verify_events(store, keys, handed_out)
    # The blocks are those of the heads, which the chain binds. Unbound records are held to their own checksums,
    # which show damage, and changes by somebody who does not know them.
    checks.sets()
    checks.blocks()
    checks.pushes()
    checks.withdrawals()
    if (callers := _callers(store, settings)) is not None:
        callers.whole()
    return verified


def _check_trusted(sequence: int, public_key: bytes, trusted_keys: Collection[bytes]) -> None:
    if trusted_keys and public_key not in trusted_keys:
        raise EventsAltered(sequence, f"the history is signed by key {public_key.hex()}, a stranger's")


def verify_events(store: Store, keys: Keys | None, handed_out: SignedHead | None) -> Verified:
    """Return the same for an open store; without keys there must be no events."""
    with store.one_moment(), closing(LastTold()) as told:
        log, history = store.events(), _History(handed_out)
        acts = LastActs()
        sequence, digest = check_chain(history.followed(_taken(log.all(), told, acts, history)))
        head = log.try_head()
        if (head.sequence, head.hash) != (sequence, digest) if head else sequence:
            raise EventsAltered(sequence + 1, f"the events behind {sequence} are missing, or the head is not theirs")
        if head is not None:
            if keys is None:
                raise BadKeys("the head cannot be checked without the keys that it was written under")
            Chain(keys.keyring).check_head(head.sequence, head.hash, head.key_id, head.mac)
        own_key = None if keys is None else keys.signing_key.public_key().public_bytes_raw()
        history.check_reached(sequence, own_key)
        if keys is not None:
            registrations = store.registrations(Chain(keys.keyring))
            _check_registrations(registrations, told, sequence)
            _check_verifications(registrations, told, sequence)
            _check_confirmations(registrations, told, sequence)
            _check_callers(store.caller_macs(), acts.macs, sequence)
            if store.key_checks():  # with the first of them the data that there was is bound
                store.checks().data(Chain(keys.keyring))
        elif store.has_registrations:
            raise EventsAltered(0, "there are registrations, and no event tells of them")
    return Verified(sequence, digest, Compared.KEYS, own_key or b"")


def verify_export(
    lines: Iterable[str],
    handed_out: SignedHead | None,
    trusted_keys: Collection[bytes] = (),
    *,
    told: LastTold | None = None,
) -> Verified:
    """Follow what `export` wrote, by itself: nothing of the installation is needed.

    It has to end in a signed head: of the same key as the one that was handed out, and of one of the trusted public
    keys if there are any. Without both it is only consistent, whoever has written it. `told` takes what each row is
    bound by.
    """
    ending: list[SignedHead] = []
    history = _History(handed_out)
    sequence, digest = check_chain(history.followed(_noted(_exported(lines, ending), told)))
    if not ending:
        raise EventsAltered(sequence + 1, f"what follows event {sequence} is missing: there is no signed head")
    (head,) = ending
    check_signature(head)
    if head.service or (head.sequence, head.hash) != (sequence, digest):
        raise EventsAltered(sequence + 1, f"the events behind {sequence} are missing, or the head is not theirs")
    history.check_reached(sequence, head.public_key)
    _check_trusted(sequence, head.public_key, trusted_keys)
    by_key = Compared.SIGNING_KEY if trusted_keys else Compared.NOTHING
    return Verified(sequence, digest, by_key if handed_out is None else Compared.HEAD, head.public_key)


class Node(Protocol):
    """A node as an auditor asks it: `numcheck.client.AuditClient` is one."""

    def lines(self, *, after: int = 0) -> Iterable[str]:
        """Return the events behind a position, and the signed head, as `export` writes them."""

    def row_digests(self) -> Iterable[Any]:
        """Return what each row is now, by kind and id."""


def verify_node(node: Node, handed_out: SignedHead | None, trusted_keys: Collection[bytes] = ()) -> Verified:
    """Follow the chain that a node hands out, as an export, and compare each of its rows with the event that bound it.

    That a row's content has its digest is the node's word; that no row is another than events say is not.
    """
    with closing(LastTold()) as told:
        verified = verify_export(node.lines(), handed_out, trusted_keys, told=told)
        if differing := [*_differing(node.row_digests(), told)]:
            # They may have changed since the events were read: then later events say so.
            later = _LaterBound()
            events = later.noted(_exported(node.lines(after=verified.event_count), []))
            check_chain(events, sequence=verified.event_count, previous_hash=verified.hash)
            for one in differing:
                later.check(one, verified.event_count)
    return verified


class _Differing(NamedTuple):
    """A row that is not what the last event about it says: what it is, and what it should be; None: not there."""

    table: Bound
    row_id: bytes
    mac: bytes | None
    entry: Entry | None


def _differing(digests: Iterable[Any], told: LastTold) -> Iterator[_Differing]:
    """Yield the rows that are not as told. Both come by kind and id, and are read side by side."""
    rows = _in_order((Bound(one.kind), one.row_id, one) for one in digests)
    entries = ((table, entry.row_id, entry) for table in Bound for entry in told.entries(table))
    row, entry = next(rows, None), next(entries, None)
    while row is not None or entry is not None:
        if entry is None or (row is not None and row[:2] < entry[:2]):
            assert row is not None
            yield _Differing(row[0], row[1], row[2].mac, None)
            row = next(rows, None)
        elif row is None or entry[:2] < row[:2]:
            yield _Differing(entry[0], entry[1], None, entry[2])
            entry = next(entries, None)
        else:
            if row[2].mac != entry[2].mac:
                yield _Differing(row[0], row[1], row[2].mac, entry[2])
            row, entry = next(rows, None), next(entries, None)


def _in_order(rows: Iterable[tuple[Bound, bytes, Any]]) -> Iterator[tuple[Bound, bytes, Any]]:
    """Yield the rows, each of which has to be whole and to come behind the one before."""
    last: tuple[int, bytes] = (0, b"")
    for table, row_id, one in rows:
        name = _name_of(table, row_id)
        if not one.whole:
            raise EventsAltered(0, f"{name} does not have the content that was written: the node says so")
        if (table, row_id) <= last:
            raise EventsAltered(0, f"{name} is given out of its order")
        last = table, row_id
        yield table, row_id, one


class _LaterBound:
    """Digests that events bind, as they are followed."""

    def __init__(self) -> None:
        self._macs: dict[tuple[Bound, bytes], set[bytes]] = defaultdict(set)
        self._dropped_before = b""

    def noted(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events, and note what they bind once the chain has taken them."""
        for event in events:
            yield event
            if event.kind == BOUND_KIND:
                with _readable(event):
                    self._note(event.details)

    def _note(self, details: str) -> None:
        for table, row_id, mac in entries_of(details):
            self._macs[table, row_id].add(mac)
        self._dropped_before = max(self._dropped_before, dropped_before_of(details))

    def check(self, one: _Differing, sequence: int) -> None:
        """Raise EventsAltered unless one of these events left the row as it is."""
        dropped = one.mac is None and one.table is Bound.VERIFICATIONS and one.row_id < self._dropped_before
        if dropped or (GONE if one.mac is None else one.mac) in self._macs[one.table, one.row_id]:
            return
        name = _name_of(one.table, one.row_id)
        if one.entry is None:
            raise EventsAltered(sequence, f"{name} is there, and no event has bound it")
        what = "missing" if one.mac is None else "not what that event bound"
        raise EventsAltered(one.entry.sequence, f"{name}, which event {one.entry.sequence} bound, is {what}")


def _name_of(table: Bound, row_id: bytes) -> str:
    return f"{table.name.lower()[:-1]} {row_id.hex()}"


def own_public_keys(settings: Settings) -> list[bytes]:
    """Return the public keys that this installation's heads are signed with; none where there is no file of keys."""
    path = keys_path(settings)
    return [read_keys(path).signing_key.public_key().public_bytes_raw()] if path.exists() else []


def _taken(rows: Iterable[EventRow], told: LastTold, acts: LastActs, history: "_History") -> Iterator[Event]:
    """Yield the events, of which `told` or `acts` takes each once the chain has found it to be what was written."""
    for row in rows:
        yield Event._make(row[:-1])
        if row.service_sequence != (history.counts[row.service] if row.service else 0):
            raise EventsAltered(row.sequence, f"event {row.sequence} does not have its place among its service's own")
        if not _note(row, told):
            acts.take(row.kind, row.details)


def _noted(events: Iterable[Event], told: LastTold | None) -> Iterator[Event]:
    """Yield the events, of which `told` takes each once the chain has found it to be what was written."""
    for event in events:
        yield event
        if told is not None:
            with _readable(event):
                _note(event, told)


def _note(event: Event | EventRow, told: LastTold) -> bool:
    """Have `told` take what an event says of a registration, or binds; False if it is an act of administration."""
    if event.kind == BOUND_KIND:
        told.bind(event.sequence, event.details)
    elif event.registration_id:
        told.tell(event.registration_id, event.state, event.details)
    return event.kind == BOUND_KIND or bool(event.registration_id)


@contextmanager
def _readable(event: Event) -> Iterator[None]:
    """Raise EventsAltered where the details of an event cannot be read: a stranger's chain may hold anything."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError):
        raise EventsAltered(event.sequence, f"event {event.sequence} binds nothing that can be read") from None


def _exported(lines: Iterable[str], ending: list[SignedHead]) -> Iterator[Event]:
    """Yield the events of an export, as they are read; the signed head, which is the last line, goes into `ending`."""
    for place, line in enumerate(lines, start=1):
        entry = _read_line(line, place)
        if ending:
            raise EventsAltered(place, "there is something behind the signed head")
        if "signature" in entry:
            ending.append(head_of(entry))
        else:
            yield _event_of(entry)


def signed_head(settings: Settings, now: datetime) -> SignedHead:
    """Return the head of the chain now, signed."""
    with Store(settings.data_dir, url=settings.database, read_only=True) as store:
        keys = kept_keys(store, settings)
        return sign_newest(keys.signing_key, store.events().try_head(), microseconds(now))


def export(settings: Settings, now: datetime, say: Callable[[str], None] = silent) -> Iterator[str]:
    """Every event as a line of JSON, and the signed head as the last line; of a standby, it says so."""
    with store_to_read(settings, say) as store, store.one_moment():
        keys = kept_keys(store, settings)
        sequence, digest = NO_EVENT
        for row in store.events().all():
            fields = Event._make(row[:-1])._asdict()
            yield json.dumps({**fields, "registration_id": row.registration_id.hex(), "hash": row.hash.hex()})
            sequence, digest = row.sequence, row.hash
    yield json.dumps(head_fields(sign_head(keys.signing_key, sequence, digest, microseconds(now))))


def read_head(path: Path) -> SignedHead:
    """Return the signed head in a file; BadEventsFile if it cannot be read, EventsAltered if it is none."""
    lines = [line for _, line in zip(range(HEAD_LINES_MAX), lines_of(path), strict=False)]
    return head_of(_read_line("".join(lines), 0))


def witnessed(settings: Settings) -> SignedHead | None:
    """Return the newest head that the witness' file of the settings has; None if there is no such file or head."""
    return None if settings.witness_file is None else newest_head(settings.witness_file)


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a file of events or of a head: UTF-8, or UTF-16 with its mark; plain, or as gzip or xz makes
    it.

    BadEventsFile if it cannot be read.
    """
    with path.open("rb") as file:
        try:
            content = inflated(file, FILE_SIZE_MAX)
            encoding = "utf-16" if content.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            text = io.TextIOWrapper(content, encoding=encoding)
            while line := text.readline(LINE_LENGTH_MAX + 1):
                if len(line) > LINE_LENGTH_MAX:
                    raise BadEventsFile(f"{path}: a line has more than {LINE_LENGTH_MAX:,} characters")
                yield line
        except UnicodeError:
            raise BadEventsFile(f"{path} is not text in UTF-8, nor in UTF-16 with its mark") from None
        except NotInflated as error:
            raise BadEventsFile(f"{path}: {error}") from None


def _read_line(line: str, sequence: int) -> dict[str, Any]:
    try:
        entry = orjson.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise EventsAltered(sequence, f"entry {sequence} cannot be read" if sequence else "the head cannot be read")
    return entry


def _event_of(entry: dict[str, Any]) -> Event:
    try:
        binary = {name: bytes.fromhex(entry[name]) for name in ("registration_id", "hash")}
        return Event(**{**entry, **binary})
    except (KeyError, TypeError, ValueError):
        sequence = entry.get("sequence", 0)
        raise EventsAltered(sequence if isinstance(sequence, int) else 0, "an entry is no event") from None


class _History:
    """Counts each service's events as they are followed, and compares them with the head that was handed out."""

    def __init__(self, handed_out: SignedHead | None) -> None:
        self._handed_out = handed_out
        self.counts: dict[str, int] = defaultdict(int)
        if handed_out is not None:
            check_signature(handed_out)

    def followed(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events, of which the one that was handed out as a head has to have its hash."""
        head = self._handed_out
        for event in events:
            yield event
            # The chain has found it to be an event, in its place.
            self.counts[event.service] += 1
            if head is not None and self._is_of(head, event) and event.hash != head.hash:
                raise EventsAltered(event.sequence, f"event {event.sequence} is not the one whose head was handed out")

    def _is_of(self, head: SignedHead, event: Event) -> bool:
        if head.service:
            return (event.service, self.counts[event.service]) == (head.service, head.sequence)
        return event.sequence == head.sequence

    def check_reached(self, sequence: int, public_key: bytes | None) -> None:
        """EventsAltered unless the chain, which ends there, has reached the head that was handed out, of its key."""
        head = self._handed_out
        if head is None:
            return
        if public_key is not None and public_key != head.public_key:
            raise EventsAltered(head.sequence, "the head that was handed out is not signed with the chain's key")
        if head.sequence > (self.counts[head.service] if head.service else sequence):
            of = f" of {head.service}" if head.service else ""
            raise EventsAltered(sequence + 1, f"events{of} up to {head.sequence}, which was handed out, are missing")


def _check_registrations(registrations: Registrations, told: LastTold, sequence: int) -> None:
    """Raise EventsAltered unless every registration is what its events left, and there are no others."""
    if (never_bound := told.try_never_bound()) is not None:
        raise EventsAltered(sequence, f"registration {never_bound.hex()} is in events, and none has bound it")
    rows = ((row.registration_id, row.mac, row, whole) for row, whole in registrations.every_registration())
    for entry, row in _bound("registration", rows, told.entries(Bound.REGISTRATIONS), sequence):
        name = f"registration {row.registration_id.hex()}"
        if (row.state, row.due_at_us) != (entry.state, _due_at_us(entry.details)):
            raise EventsAltered(entry.sequence, f"{name} does not stand where its events left it")
        # In other states time does nothing, whatever the row still says.
        if row.state in FALLS_DUE and row.next_at_us != next_at_us(row):
            raise EventsAltered(entry.sequence, f"{name} does not wait for its due time")


def _check_verifications(registrations: Registrations, told: LastTold, sequence: int) -> None:
    """Check the same of every verification."""
    rows = ((row.verification_id, row.mac, row, whole) for row, whole in registrations.every_verification())
    for _ in _bound("verification", rows, told.entries(Bound.VERIFICATIONS), sequence):
        pass


def _check_confirmations(registrations: Registrations, told: LastTold, sequence: int) -> None:
    """Check the same of every confirmation."""
    rows = ((row.confirmation_id, row.mac, row, whole) for row, whole in registrations.every_confirmation())
    for _ in _bound("confirmation", rows, told.entries(Bound.CONFIRMATIONS), sequence):
        pass


def _check_callers(
    found: Mapping[tuple[str, str], bytes], told: Mapping[tuple[str, str], bytes], sequence: int
) -> None:
    """EventsAltered unless the callers and agreements are those that the acts have left, each with the mac it has."""
    for what, name in sorted({*found, *told}):
        if found.get((what, name)) != told.get((what, name)):
            raise EventsAltered(sequence, f"the {what} {name} is not what the acts of administration have left")


def _bound(
    word: str, rows: Iterator[tuple[bytes, bytes, T, bool]], entries: Iterator[Entry], sequence: int
) -> Iterator[tuple[Entry, T]]:
    """Each row that is what the event that bound it last says; EventsAltered names the first that is not.

    Both come by ascending ids, and are read side by side.
    """
    for found, entry in zip_longest(rows, entries):
        if found is None or (entry is not None and entry.row_id < found[0]):
            raise EventsAltered(
                entry.sequence, f"{word} {entry.row_id.hex()}, which event {entry.sequence} bound, is missing"
            )
        row_id, mac, row, whole = found
        if entry is None or row_id < entry.row_id:
            raise EventsAltered(sequence, f"{word} {row_id.hex()} is there, and no event has bound it")
        if not whole:
            raise EventsAltered(entry.sequence, f"{word} {row_id.hex()} is not what event {entry.sequence} bound")
        if mac != entry.mac:
            raise EventsAltered(
                entry.sequence, f"{word} {row_id.hex()} is as it was before event {entry.sequence} bound it anew"
            )
        yield entry, row


def _due_at_us(details: str | None) -> Any:
    try:
        return json.loads(details or "")["due_at_us"]
    except (ValueError, TypeError, KeyError):
        return None
