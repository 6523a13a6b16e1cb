"""R13: history that was edited shows. The edits are made behind the store's back, one at a time."""

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine, text

from numcheck.config import Settings
from numcheck.errors import BadEventsFile, BadKeys, EventsAltered
from numcheck.offline.audit import (
    Compared,
    export,
    head_fields,
    head_of,
    lines_of,
    own_public_keys,
    read_head,
    signed_head,
    verify_events,
    verify_export,
    verify_store,
)
from numcheck.registrations.events import Event, SignedHead, links, sign_head
from numcheck.serving.keys import write_keys
from numcheck.store import Store
from numcheck.store.schema import events
from numcheck.store.store import FILE_NAME
from tests.registrations.world import KEYS, SERVICE, START, World, small
from tests.serving.command import run


class Edited:
    """A directory with 20 events of 5 users, one of them erased, and its keys; and an editor without keys."""

    def __init__(self, data_dir: Path, url: str | None) -> None:
        world = World(data_dir, url=url)
        for place, number in enumerate([small.ACTIVE, small.INACTIVE, small.UNKNOWN, small.ACTIVE, small.ACTIVE]):
            world.register(number, f"u{place}")
        world.registrar.delete(SERVICE, "u3")
        world.registrar.refresh(SERVICE, "u4", world.registrar.get(SERVICE, "u4").record.network_address, {"a": "b"})
        write_keys(data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
        world.close()
        self.url = url
        self.settings = Settings(data_dir=data_dir, database_url=url)
        self.store = Store(data_dir, url=url, read_only=True)  # open for all: thousands of edits are looked at
        self._engine = create_engine(
            f"sqlite:///{data_dir / FILE_NAME}"
            if url is None
            else url.replace("postgresql:", "postgresql+psycopg:", 1),
            isolation_level="AUTOCOMMIT",
        )
        self._connection = self._engine.connect()

    def sql(self, statement: str, **values: object) -> list[tuple]:
        result = self._connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []

    def count(self) -> int:
        return verify_events(self.store, KEYS, None).event_count

    def found(self, head: SignedHead | None = None) -> int:
        """Where the first bad entry is said to be."""
        with pytest.raises(EventsAltered) as caught:
            verify_events(self.store, KEYS, head)
        return caught.value.sequence

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
        self.store.close()


@pytest.fixture
def edited(data_dir: Path, url: str | None) -> Iterator[Edited]:
    """On each engine in its turn."""
    one = Edited(data_dir, url)
    yield one
    one.close()


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    one = Edited(data_dir, None)
    one.close()
    return one.settings


COLUMNS = tuple(column.name for column in events.columns)
COUNT = 20
"""Of events: 13 of registrations, and one that closes each of the 7 transactions."""


def changed(value: object, sequence: int) -> Iterator[object]:
    """The value with each of its bytes changed, one at a time, by a bit that differs from event to event.

    Of a long text, which are the digests of rows, some hundred.
    """
    bit = 1 << sequence % 7
    match value:
        case int():
            for place in range(4 if value < 2**31 else 8):
                yield value ^ (bit << 8 * place if place < 7 else 1 << 62)
        case str():
            for place, letter in list(enumerate(value))[:: 1 + len(value) // 100]:
                yield value[:place] + chr(ord(letter) ^ bit or 1) + value[place + 1 :]
        case bytes():
            for place in range(len(value)):
                yield value[:place] + bytes([value[place] ^ bit]) + value[place + 1 :]


def test_an_untouched_chain_is_what_was_written(edited: Edited) -> None:
    assert edited.count() == verify_store(edited.settings, None).event_count == COUNT


def test_every_byte_of_every_event_that_is_changed_shows_where_it_is(edited: Edited) -> None:
    """Each byte of each column of each event: all of them are found."""
    tried = 0
    for sequence in range(1, COUNT + 1):
        (row,) = edited.sql(f"SELECT {', '.join(COLUMNS)} FROM events WHERE sequence = :at", at=sequence)
        for column, value in zip(COLUMNS, row, strict=True):
            for other in changed(value, sequence):
                if column == "sequence" and isinstance(other, int) and other < COUNT + 1:
                    continue  # that is a swap or a removal: see below
                place = other if column == "sequence" else sequence
                edited.sql(f"UPDATE events SET {column} = :new WHERE sequence = :at", new=other, at=sequence)
                assert edited.found() == sequence, (column, value, other)
                edited.sql(f"UPDATE events SET {column} = :old WHERE sequence = :at", old=value, at=place)
                tried += 1
    assert tried > 2_000
    assert edited.count() == COUNT


def test_every_event_that_is_removed_is_named(edited: Edited) -> None:
    for sequence in range(1, COUNT + 1):
        (row,) = edited.sql(f"SELECT {', '.join(COLUMNS)} FROM events WHERE sequence = :at", at=sequence)
        edited.sql("DELETE FROM events WHERE sequence = :at", at=sequence)
        assert edited.found() == sequence
        values = ", ".join(f":{column}" for column in COLUMNS)
        edited.sql(
            f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({values})", **dict(zip(COLUMNS, row, strict=True))
        )
    assert edited.count() == COUNT


def test_every_swap_of_neighbours_is_named(edited: Edited) -> None:
    def swap(sequence: int) -> None:
        for old, new in ((sequence, -1), (sequence + 1, sequence), (-1, sequence + 1)):
            edited.sql("UPDATE events SET sequence = :new WHERE sequence = :old", new=new, old=old)

    for sequence in range(1, COUNT):
        swap(sequence)
        assert edited.found() == sequence
        swap(sequence)
    assert edited.count() == COUNT


def test_every_cut_of_the_tail_shows_whatever_is_done_to_the_head(edited: Edited) -> None:
    """With the head as it was, as an editor without the key can make it, and removed with everything."""
    handed_out = signed_head(edited.settings, START)
    rows = edited.sql("SELECT hash FROM events ORDER BY sequence")
    ((sequence, digest, mac),) = edited.sql("SELECT sequence, hash, mac FROM event_head")
    set_head = "UPDATE event_head SET sequence = :sequence, hash = :digest, mac = :mac"
    for last in range(COUNT - 1, -1, -1):
        edited.sql("DELETE FROM events WHERE sequence > :last", last=last)
        assert edited.found() == last + 1
        if last:
            edited.sql(set_head, sequence=last, digest=rows[last - 1][0], mac=mac)
            assert edited.found() == last
            assert edited.found(handed_out) == last
            edited.sql(set_head, sequence=sequence, digest=digest, mac=mac)
    edited.sql("DELETE FROM event_head")
    edited.sql("DELETE FROM registrations")
    assert edited.found() == 0
    edited.sql("DELETE FROM verifications")
    assert edited.count() == 0  # nothing is left that could show it, but what was handed out:
    assert edited.found(handed_out) == 1


def test_a_chain_that_was_rebuilt_with_the_keys_shows_beside_a_head_that_was_handed_out(edited: Edited) -> None:
    """Even who has everything cannot take back a head."""
    handed_out = signed_head(edited.settings, START)
    for table in ("events", "event_head", "registrations", "verifications"):
        edited.sql(f"DELETE FROM {table}")
    again = World(edited.settings.data_dir, url=edited.url)
    for place in range(10):
        again.register(small.ACTIVE, f"v{place}")
    again.close()
    assert edited.count() == 30  # of them 10 that close a transaction
    assert edited.found(handed_out) == COUNT


def test_the_chain_of_a_directory_is_not_verified_without_its_keys(settings: Settings) -> None:
    """The head could be anybody's; an export is verified by itself."""
    lines = list(export(settings, START))
    (settings.data_dir / "keys.json").unlink()
    with pytest.raises(BadKeys, match="is missing"):
        verify_store(settings, None)
    assert verify_export(lines, None).event_count == COUNT


def test_an_export_verifies_by_itself_and_every_edit_of_its_lines_shows(settings: Settings) -> None:
    """Nothing of the installation is needed; the last line is the signed head."""
    lines = list(export(settings, START))
    assert verify_export(lines, None).event_count == COUNT
    head = head_of(json.loads(lines[-1]))
    edits = [lines[:place] + lines[place + 1 :] for place in range(COUNT)]
    edits += [[*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]] for place in range(COUNT - 1)]
    edits += [[*lines[:place], lines[-1]] for place in range(COUNT)]
    edits += [[*lines[:place], "{}", *lines[place + 1 :]] for place in range(COUNT)]
    for edited in edits:
        with pytest.raises(EventsAltered):
            verify_export(edited, None)
    for cut in range(COUNT + 1):
        for handed_out in (None, head):
            with pytest.raises(EventsAltered):
                verify_export(lines[:cut], handed_out)
    for added in (lines[-1], lines[0], "{}"):
        with pytest.raises(EventsAltered):
            verify_export([*lines, added], None)


def test_every_byte_of_an_export_that_is_changed_shows(settings: Settings) -> None:
    """Each in three ways; no one of these makes a capital of a letter, which hexadecimal digits may be."""
    lines = list(export(settings, START))
    for at, line in enumerate(lines):
        for place, letter in enumerate(line):
            for bit in (1, 4, 64):
                other = line[:place] + chr(ord(letter) ^ bit) + line[place + 1 :]
                with pytest.raises(EventsAltered):
                    verify_export([*lines[:at], other, *lines[at + 1 :]], None)


def test_an_export_that_was_extended_and_signed_by_another_shows_beside_a_head_that_was_handed_out(
    settings: Settings,
) -> None:
    """Whoever adds what never happened can sign it, but not with this installation's key."""
    lines = list(export(settings, START))
    handed_out = head_of(json.loads(lines[-1]))
    last = json.loads(lines[-2])
    event = Event(COUNT + 1, last["at_us"], SERVICE, bytes(16), "registered", 1, "{}", b"")
    event = event._replace(hash=next(links(bytes.fromhex(last["hash"]), [event[:-1]])))
    forged = {**event._asdict(), "registration_id": event.registration_id.hex(), "hash": event.hash.hex()}
    forger = sign_head(Ed25519PrivateKey.generate(), COUNT + 1, event.hash, 0)
    extended = [*lines[:-1], json.dumps(forged), json.dumps(head_fields(forger))]
    assert verify_export(extended, None).event_count == COUNT + 1
    with pytest.raises(EventsAltered, match="key"):
        verify_export(extended, handed_out)


def test_what_an_export_was_compared_with_is_said(settings: Settings) -> None:
    """A history that a stranger wrote and signed is consistent; only what is trusted tells it from ours."""
    lines = list(export(settings, START))
    head = head_of(json.loads(lines[-1]))
    assert own_public_keys(settings) == [head.public_key]
    assert verify_export(lines, None).compared_with is Compared.NOTHING
    assert verify_export(lines, head).compared_with is Compared.HEAD
    assert verify_export(lines, None, [head.public_key]).compared_with is Compared.SIGNING_KEY
    stranger = sign_head(Ed25519PrivateKey.generate(), head.sequence, head.hash, head.signed_at_us)
    forged = [*lines[:-1], json.dumps(head_fields(stranger))]
    assert verify_export(forged, None).public_key == stranger.public_key
    for handed_out, trusted in ((head, []), (None, [head.public_key])):
        with pytest.raises(EventsAltered, match="key"):
            verify_export(forged, handed_out, trusted)


def test_the_head_of_a_service_is_verified_by_its_own_count(settings: Settings) -> None:
    """What a watch is told shows the same, and not how many events others have."""
    lines = list(export(settings, START))
    own = [one for one in map(json.loads, lines[:-1]) if one["service"] == SERVICE]
    assert 0 < len(own) < COUNT
    digest = bytes.fromhex(own[-1]["hash"])
    head = sign_head(KEYS.signing_key, len(own), digest, 0, service=SERVICE)
    assert verify_export(lines, head).event_count == verify_store(settings, head).event_count == COUNT
    for other in (
        sign_head(KEYS.signing_key, len(own), bytes(32), 0, service=SERVICE),
        sign_head(KEYS.signing_key, len(own) + 1, digest, 0, service=SERVICE),
        head._replace(service="other"),
    ):
        with pytest.raises(EventsAltered):
            verify_export(lines, other)
        with pytest.raises(EventsAltered):
            verify_store(settings, other)


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "UTF-8 with its mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, the other end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_exports_and_heads_are_read_however_a_machine_wrote_them(
    settings: Settings, tmp_path: Path, encoding: str
) -> None:
    lines = list(export(settings, START))
    exported, head = tmp_path / "events", tmp_path / "head"
    exported.write_bytes(ENCODINGS[encoding]("\r\n".join(lines)))
    head.write_bytes(ENCODINGS[encoding](json.dumps(json.loads(lines[-1]), indent=2)))
    assert verify_export(lines_of(exported), read_head(head)).event_count == COUNT


def test_the_command_reads_what_other_programs_made_of_its_files(settings: Settings, tmp_path: Path) -> None:
    """A shell that redirects in UTF-16, and gzip; an export that fails leaves no file, and says why in one line."""
    exported, head, compressed = tmp_path / "e.jsonl", tmp_path / "h.json", tmp_path / "e.jsonl.gz"
    assert run("events", "export", exported, "--data-dir", settings.data_dir).status == 0
    head.write_text(run("events", "head", "--data-dir", settings.data_dir).out, encoding="utf-16")
    compressed.write_bytes(gzip.compress(exported.read_bytes()))
    for file in (exported, compressed):
        verified = run("events", "verify", file, "--head", head)
        assert (verified.status, verified.err) == (0, "")
        assert f"{COUNT} events are what was written" in verified.out
    (settings.data_dir / "keys.json").unlink()
    failed = run("events", "export", tmp_path / "none.jsonl", "--data-dir", settings.data_dir)
    assert (failed.status, len(failed.err.splitlines())) == (1, 1)
    assert not (tmp_path / "none.jsonl").exists()


NO_EVENTS = {
    "empty": b"",
    "NUL": bytes(1_000),
    "binary": bytes(range(256)) * 10,
    "not UTF-8": "Иванов".encode("koi8-r"),
    "UTF-16 cut": "{}".encode("utf-16")[:-1],
    "gzip cut": gzip.compress(b"{}" * 1_000)[:-9],
    "gzip damaged": gzip.compress(bytes(10_000))[:20] + b"x" * 30,
    "xz cut": lzma.compress(b"{}" * 1_000)[:-9],
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "long line": b'"' + b"x" * 2**21,
    "number": b"1" * 10_000,
    "list": b"[]",
    "other fields": b'{"sequence": 1e400, "hash": [], "service": {}}',
    "wrong types": json.dumps({name: [] for name in COLUMNS}).encode(),
    "half an event": json.dumps(dict.fromkeys(COLUMNS, "00")).encode(),
    "surrogates": b'{"sequence": 1, "service": "\\ud800", "signature": "00"}',
}


@pytest.mark.parametrize("content", NO_EVENTS)
def test_whatever_file_is_given_there_is_one_line_about_it(tmp_path: Path, content: str) -> None:
    """Never a traceback, neither for events nor for a head."""
    path = tmp_path / "file"
    path.write_bytes(NO_EVENTS[content])
    with pytest.raises((EventsAltered, BadEventsFile)):
        verify_export(lines_of(path), None)
    with pytest.raises((EventsAltered, BadEventsFile)):
        read_head(path)


def test_verify_ends_with_what_it_was_compared_with(settings: Settings, tmp_path: Path) -> None:
    """0: with something that is trusted; 1: altered, or signed by a stranger; 3: with nothing."""
    exported, elsewhere = tmp_path / "events.jsonl.gz", tmp_path / "elsewhere"
    lines = list(export(settings, START))
    exported.write_bytes(gzip.compress("\n".join(lines).encode()))
    elsewhere.mkdir()
    alone = run("events", "verify", exported, "--data-dir", elsewhere)
    assert (alone.status, "compared with nothing" in alone.out, "are what was written" in alone.out) == (3, True, False)
    public_key = json.loads(lines[-1])["public_key"]
    assert public_key in alone.out
    trusted = run("events", "verify", exported, "--data-dir", elsewhere, "--key", public_key)
    assert (trusted.status, "are what was written" in trusted.out) == (0, True)
    stranger = run("events", "verify", exported, "--data-dir", elsewhere, "--key", "00" * 32)
    assert (stranger.status, stranger.err.count("\n")) == (1, 1)
    assert run("events", "verify", exported, "--data-dir", settings.data_dir).status == 0
    target = tmp_path / "failed.jsonl"
    assert run("events", "export", target, "--data-dir", elsewhere).status == 1
    assert not target.exists()
    assert list(tmp_path.glob(".numcheck-*")) == []


@pytest.mark.parametrize("name", ["sequence", "hash", "signed_at_us", "signature", "public_key"])
def test_a_head_that_was_changed_is_not_signed(settings: Settings, name: str) -> None:
    fields = head_fields(signed_head(settings, START))
    value = fields[name]
    fields[name] = value + 1 if isinstance(value, int) else ("0" if value[0] != "0" else "1") + value[1:]
    with pytest.raises(EventsAltered):
        verify_store(settings, head_of(fields))


def test_no_event_tells_who_anybody_is(edited: Edited) -> None:
    """Erasure leaves the chain as it was: there never was a number, an address or an identifier in it."""
    # Hashes and the macs of closing events are left out: any two letters stand in them by chance.
    kept = "SELECT sequence, at_us, service, kind, state, details FROM events WHERE kind <> 'bound'"
    told = " ".join(str(row) for row in edited.sql(kept))
    for secret in ("7916", "203.0.113", "u1", "ivan", "Иванов"):
        assert secret not in told
    assert "messenger" in told
