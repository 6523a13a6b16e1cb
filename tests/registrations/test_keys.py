"""R12: the keys' file, and what a stolen database tells without it."""

import base64
import hashlib
import ipaddress
import itertools
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from numcheck.config import Settings
from numcheck.errors import BadKeys, RegistrationExists
from numcheck.offline.audit import signed_head, verify_store
from numcheck.offline.rotation import drop_old_keys, rotate
from numcheck.registrations.events import Chain
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registrar import Filters
from numcheck.registrations.sealing import Key, Keyring
from numcheck.serving.keys import keys_path, make_keys, read_keys, use_keys, write_keys
from numcheck.serving.registrations import keys_of
from numcheck.store import Store
from tests.registrations.by_code import complete, last_code
from tests.registrations.world import DATA, SERVICE, START, World, small
from tests.serving.command import run, serving


def test_the_first_start_makes_the_keys_warns_and_the_second_is_quiet(data_dir: Path) -> None:
    """0400, in a file of their own; the warning names it and asks for a copy."""
    with serving(data_dir) as node:
        assert "keep a copy" in node.process.line_with("keys.json was made")
    path = data_dir / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    made = path.read_bytes()
    with serving(data_dir) as node:
        assert not [line for line in node.process.lines if "keys.json" in line]
    assert path.read_bytes() == made


def test_lost_keys_are_never_replaced(world: World) -> None:
    """Where something lies under keys, new ones would hide that it cannot be read."""
    world.register(small.ACTIVE)
    with pytest.raises(BadKeys, match="is missing"):
        keys_of(world.store, Settings(data_dir=world.data_dir), lambda _line: None)
    assert not (world.data_dir / "keys.json").exists()


def test_a_node_does_not_start_with_keys_that_others_can_read(data_dir: Path) -> None:
    make_keys(data_dir / "keys.json", START)
    (data_dir / "keys.json").chmod(0o440)
    ended = run("serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0")
    assert (
        ended.status,
        ended.err.splitlines()[-1].split(": ")[1].endswith("others than its owner; chmod 400 it"),
    ) == (
        1,
        True,
    )


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": 2}', '{"format": 1, "keys": [], "signing_key": ""}', "\x80"],
)
def test_what_is_no_file_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o400)
    with pytest.raises(BadKeys):
        read_keys(path)


def test_keys_that_are_read_are_those_that_were_made(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys.json", START)
    again = read_keys(tmp_path / "keys.json")
    assert again.keyring.newest.secret == made.keyring.newest.secret
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_of_two_nodes_that_make_keys_for_one_empty_store_one_starts(data_dir: Path, url: str | None) -> None:
    """On each engine: the other says which file it needs, and nothing lies under its keys."""
    stores = [Store(data_dir, url=url) for _ in range(2)] if url else [Store(data_dir, url=url)] * 2
    rings = [Keyring([Key(1, bytes([place]) * 32)]) for place in range(2)]
    results: list[object] = [None, None]
    barrier = threading.Barrier(2)

    def start(place: int) -> None:
        barrier.wait()
        try:
            use_keys(stores[place], stores[place].registrations(Chain(rings[place])), rings[place])
        except BadKeys as refusal:
            results[place] = refusal

    threads = [threading.Thread(target=start, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (refusal,) = [one for one in results if one is not None]
    first = rings[results.index(None)]
    assert "copy of the first node's file" in str(refusal)
    assert stores[0].key_checks() == {1: first.newest.check_value}
    first.check(stores[0].key_checks())
    for store in stores:
        store.close()


@pytest.mark.parametrize("use", [rotate, drop_old_keys, signed_head])
def test_nobody_is_asked_for_a_copy_of_keys_that_never_were(world: World, use: Callable[..., object]) -> None:
    """A store that no node has served yet: its directory is filled, and that is all."""
    world.close()
    (world.data_dir / "keys.json").unlink(missing_ok=True)
    with pytest.raises(BadKeys, match="there are no keys and no events yet"):
        use(Settings(data_dir=world.data_dir), START)


def test_a_node_does_not_start_with_keys_that_are_not_its_stores(world: World) -> None:
    """One line says so; neither with others of the same id, nor with those of before a rotation, nor without any."""
    path, settings = world.data_dir / "keys.json", Settings(data_dir=world.data_dir)
    make_keys(path, START)
    old, ours = path.read_bytes(), read_keys(path).keyring
    use_keys(world.store, world.store.registrations(Chain(ours)), ours)
    world.close()
    rotate(settings, START)
    for content, line in (
        (old, "does not have key 2, which the store is used with"),
        (
            None,
            "is missing: the registrations cannot be read without it; restore your copies of",
        ),
    ):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o400)
        ended = run("serve", "--data-dir", world.data_dir, "--listen", "127.0.0.1:0")
        assert ended.status == 1
        assert line in ended.err.splitlines()[-1]
    with pytest.raises(BadKeys, match="key 1 in the file of keys is not the one"):
        Keyring([Key(1, bytes(32))]).check({1: ours.newest.check_value})


NUMBER, USER, ADDRESS6 = small.UNKNOWN + 4_321, "user-zebra-17", "2001:db8:77::beef"


def encodings() -> Iterator[bytes]:
    """A number, an address, a user and his data in every form that a careless program might store."""
    for number in (NUMBER, NUMBER - 70_000_000_000):
        decimal = str(number).encode()
        yield decimal
        yield from (number.to_bytes(8, order) for order in ("big", "little"))
        yield number.to_bytes(5, "big")
        yield from (base64.b64encode(decimal), base64.b64encode(number.to_bytes(8, "big"))[:10])
        yield from (decimal.hex().encode(), number.to_bytes(5, "big").hex().encode())
        for digits in (decimal, b"+" + decimal, number.to_bytes(8, "big")):
            for name in ("md5", "sha1", "sha256", "blake2b"):
                digest = hashlib.new(name, digits).digest()
                yield digest[:16]
                yield digest.hex().encode()[:32]
        bcd = decimal if len(decimal) % 2 == 0 else decimal + b"f"
        yield bytes.fromhex(bcd.decode())
        yield bytes.fromhex("".join(bcd.decode()[i + 1] + bcd.decode()[i] for i in range(0, len(bcd), 2)))
        varint, rest = bytearray(), number
        while rest:
            varint.append(rest & 0x7F | (0x80 if rest > 0x7F else 0))
            rest >>= 7
        yield bytes(varint)
    yield from (ADDRESS6.encode(), ipaddress.ip_address(ADDRESS6).packed)
    yield from (USER.encode(), USER.encode("utf-16-le"), base64.b64encode(USER.encode())[:16])
    yield from ("Зайцев".encode(), "Зайцев".encode("utf-16-le"), b"\\u0417\\u0430\\u0439")


def stolen(world: World) -> Iterator[tuple[str, bytes]]:
    """What a thief finds, by its name: the files of the database, and what its own commands say of every row."""
    if world.url is None:
        yield from ((path.name, path.read_bytes()) for path in world.data_dir.iterdir() if path.is_file())
        return
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        (where,) = connection.execute("SELECT pg_relation_filepath('registrations')").fetchone() or ("",)
        ((data,),) = connection.execute("SHOW data_directory").fetchall()
        names = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for kind, directory in (("file", Path(data, where).parent), ("log", Path(data, "pg_wal"))):
            for path in directory.iterdir():
                # The server takes some away, and makes them anew.
                with suppress(FileNotFoundError, IsADirectoryError):
                    yield f"{kind} {path.name}", path.read_bytes()
        for name, form in itertools.product(names, ("text", "csv", "binary")):
            with connection.cursor() as cursor, cursor.copy(f"COPY {name} TO STDOUT (FORMAT {form})") as rows:
                yield f"{form} of {name}", b"".join(map(bytes, rows))


LONG_SIZE = 7  # of what is also looked for in the log of all databases, where five bytes may meet by chance


def test_a_stolen_database_tells_no_number_and_no_address(each_world: World) -> None:
    """R12: every file beside the keys is searched, after a registration that had a code, a refresh and an erasure."""
    world = each_world
    address = NetworkAddress.checked(ADDRESS6, 50_812)
    fields = {"network_address": address, "registration_data": {"name": "Зайцев"}, "identifier": {"login": USER}}
    world.register(NUMBER, USER, request_id=USER, **fields)
    assert world.courier is not None
    code = world.courier.sent[-1][1]
    world.registrar.refresh(SERVICE, USER, address, {"name": "Зайцев"})
    world.register(NUMBER, USER + "2", **fields)
    world.registrar.delete(SERVICE, USER + "2")
    found = world.registrar.get(SERVICE, USER).row
    sealed_size = 0
    for name, content in stolen(world):
        sealed_size += found.sealed_record in content  # it is the registration that is looked at
        for wanted in encodings():
            assert (name.startswith("log") and len(wanted) < LONG_SIZE) or wanted not in content, (name, wanted)
        assert name.startswith("log") or re.search(rb"(?<!\d)%b(?!\d)" % code.encode(), content) is None, name
    assert sealed_size
    if world.url is None:
        world.close()
        for name, content in stolen(world):
            assert not [wanted for wanted in encodings() if wanted in content], name


# --- rotation


@pytest.fixture
def rotated(world: World) -> tuple[World, Settings]:
    """Three users, one erased, a code under way; then the keys are rotated with the node stopped."""
    for place, number in enumerate([small.ACTIVE, small.UNKNOWN, small.ACTIVE]):
        world.register(number, f"u{place}", request_id="r1")
    world.registrar.delete(SERVICE, "u2")
    write_keys(world.data_dir / "keys.json", world.keys.keyring, world.keys.signing_key)
    world.close()
    settings = Settings(data_dir=world.data_dir)
    assert rotate(settings, START).registration_count == 2
    return World(world.data_dir, keys=read_keys(keys_path(settings)), seed=9), settings


def test_rotated_keys_open_what_was_there_and_find_it(rotated: tuple[World, Settings]) -> None:
    """R12: nothing lies under the old key; numbers and users are found, and the chain verifies."""
    world, settings = rotated
    assert [world.registrar.get(SERVICE, f"u{place}").record.registration_data for place in (0, 1)] == [DATA, DATA]
    found = world.registrar.page(SERVICE, Filters(number=small.UNKNOWN), size=9, place=None).registrations
    assert [one.record.user_id for one in found] == ["u1"]
    assert {one.row.key_id for one in found} == {2}
    with pytest.raises(RegistrationExists):
        world.register(small.ACTIVE, "u0")
    assert verify_store(settings, None).event_count == len(list(world.store.events().all()))
    world.close()


def test_limits_of_codes_outlive_a_rotation(rotated: tuple[World, Settings]) -> None:
    """R8: the old key finds what was sent under it."""
    world, _ = rotated
    assert world.register(small.UNKNOWN, "u9").problem == "TOO_MANY_CODES"
    world.pass_time(seconds=60)
    assert world.register(small.UNKNOWN, "u8").problem == ""
    world.close()


def test_a_repeated_request_is_known_after_a_rotation(rotated: tuple[World, Settings]) -> None:
    """I.2a: until the old key is dropped; afterwards it is refused like another's, and makes nothing twice."""
    world, settings = rotated
    known = world.registrar.get(SERVICE, "u1")
    assert world.register(small.UNKNOWN, "u1", request_id="r1").registration == known
    world.close()
    drop_old_keys(settings, START + timedelta(days=1))
    world = World(settings.data_dir, keys=read_keys(keys_path(settings)), seed=10)
    with pytest.raises(RegistrationExists):
        world.register(small.UNKNOWN, "u1", request_id="r1")
    world.close()


def test_a_proof_whose_key_was_dropped_is_not_accepted(data_dir: Path) -> None:
    """R8: like any that is over; nothing is said of the keys."""
    world = World(data_dir, methods="code")
    outcome = world.register(small.UNKNOWN)
    code = last_code(world)
    assert complete(world, outcome, code)
    write_keys(world.data_dir / "keys.json", world.keys.keyring, world.keys.signing_key)
    world.close()
    settings = Settings(data_dir=data_dir)
    rotate(settings, START)
    world = World(data_dir, keys=read_keys(keys_path(settings)), seed=9)
    assert complete(world, outcome, code)
    world.close()
    drop_old_keys(settings, START + timedelta(days=1))
    world = World(data_dir, keys=read_keys(keys_path(settings)), seed=10)
    assert not complete(world, outcome, code)
    world.close()


def test_old_keys_are_dropped_a_day_later_and_not_before(rotated: tuple[World, Settings]) -> None:
    """Afterwards everything is still read: with the newest key alone."""
    world, settings = rotated
    world.close()
    with pytest.raises(BadKeys, match="a day"):
        drop_old_keys(settings, START + timedelta(days=1) - timedelta(microseconds=1))
    assert drop_old_keys(settings, START + timedelta(days=1)) == 1
    keys = read_keys(keys_path(settings))
    assert [key.key_id for key in keys.keyring.keys] == [2]
    again = World(settings.data_dir, keys=keys, seed=11)
    assert again.registrar.get(SERVICE, "u1").record.number == small.UNKNOWN
    again.registrar.delete(SERVICE, "u1")
    again.close()
    verify_store(settings, None)


def test_a_rotation_that_was_broken_off_goes_on(world: World) -> None:
    """The new key is durable before anything lies under it; what lies under both is read, and the rest follows."""
    for place in range(5):
        world.register(small.ACTIVE, f"u{place}")
    write_keys(world.data_dir / "keys.json", world.keys.keyring, world.keys.signing_key)
    world.close()
    settings = Settings(data_dir=world.data_dir)

    def breaking(count: int) -> None:
        if count >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(settings, START, piece_size=2, progress=breaking)
    halfway = World(settings.data_dir, keys=read_keys(keys_path(settings)), seed=12)
    assert {halfway.registrar.get(SERVICE, f"u{place}").row.key_id for place in range(5)} == {1, 2}
    halfway.close()
    assert rotate(settings, START, piece_size=2).registration_count == 5
    with Store(settings.data_dir) as store:
        assert store.events().try_head() is not None
