"""R13: a registration or a verification that is not what its last event left shows, and only it is not answered from.

The edits are made behind the store's back. Which columns there are is read from the schema: a new one is bound, or said
not to be, with the reason.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, create_engine, update
from structlog.testing import capture_logs

from numcheck.config import Settings
from numcheck.errors import EventsAltered, ProofNotAccepted, StoreDamaged, UnknownRegistration
from numcheck.offline.audit import signed_head, verify_store
from numcheck.offline.rotation import drop_old_keys, rotate
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import AttestedProof, CodeProof
from numcheck.registrations.registrar import Filters
from numcheck.registrations.states import RegistrationState as State
from numcheck.store.bindings import UNBOUND, bound_columns
from numcheck.store.schema import confirmations, registrations, verifications
from numcheck.store.store import FILE_NAME
from tests.registrations.by_code import last_code
from tests.registrations.edited import Edited
from tests.registrations.world import ADDRESS, SERVICE, START, World, small

TABLES = [registrations, verifications, confirmations]


def fill(world: World) -> None:
    """Registrations in every state but one, verifications in every state, and two confirmations of one service; three
    of one user stand alike."""
    for place, number in enumerate([small.ACTIVE, small.INACTIVE, small.UNKNOWN, small.ACTIVE, small.ACTIVE]):
        world.register(number, f"u{place}", request_id=f"r{place}")
    world.registrar.delete(SERVICE, "u3")
    world.registrar.refresh(SERVICE, "u4", ADDRESS, {"a": "b"})
    started = world.register(small.UNKNOWN + 1, "u5").verification
    assert started is not None
    world.completion.complete(SERVICE, started.verification_id, CodeProof(last_code(world)))
    world.pass_time(minutes=2)
    world.registrar.verify(SERVICE, "u2", method=Method.CODE, network_address=None)
    world.register(small.INACTIVE, "u6")
    world.registrar.change_number(SERVICE, "u6", small.UNKNOWN + 2, ADDRESS)
    for due_before in (START.replace(year=2028), START.replace(year=2029)):
        list(world.reverifier.run(SERVICE, due_before=due_before, place=b""))
        list(world.reverifier.run(SERVICE, due_before=None, place=last_id(world, "u0")))


def last_id(world: World, user_id: str) -> bytes:
    return world.registrar.get(SERVICE, user_id).row.registration_id


def filled(data_dir: Path, url: str | None = None) -> Edited:
    """A store as `fill` leaves it."""
    world = World(data_dir, url=url)
    fill(world)
    world.close()
    return Edited(data_dir, url)


@pytest.fixture
def edited(data_dir: Path, url: str | None) -> Iterator[Edited]:
    """On each engine in its turn."""
    one = filled(data_dir, url)
    assert one.problem() == ""
    yield one
    assert one.problem() == "", "the edits were not undone: the test proves nothing"
    one.close()


def name_of(table: Table, row: dict[str, Any]) -> str:
    return f"{table.name[:-1]} {row[next(iter(table.primary_key)).name].hex()}"


def others(value: Any, of_all: Sequence[Any]) -> list[Any]:
    """The value changed a little, removed, and each that another row has."""
    match value:
        case bytes():
            changed = [bytes([value[0] ^ 1, *value[1:]]), value[:-1], value + b"x"] if value else [b"x"]
        case str():
            changed = [value + " ", value[:-1]]
        case bool():
            changed = [not value]
        case int():
            changed = [value + 1, value - 1]
        case _:
            kind = next((type(one) for one in of_all if one is not None), int)
            changed = [kind()]
    return [one for one in [None, *changed, *of_all] if one != value]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_of_every_row_that_is_changed_shows_and_names_the_row(edited: Edited, table: Table) -> None:
    """All that the schema has: changed, removed, and as another row has it."""
    rows = edited.rows(table)
    tried = 0
    for column in table.columns:
        if column.primary_key:
            continue  # that is a row that was removed and another that was added: see below
        for row in rows:
            for other in others(row[column.name], [one[column.name] for one in rows]):
                if (other is None and not column.nullable) or (
                    column.unique and other in [one[column.name] for one in rows]
                ):
                    continue
                if column.name in UNBOUND[table] and "digest" not in UNBOUND[table][column.name]:
                    continue  # see the test of what follows from other columns
                edited.set(table, row, **{column.name: other})
                assert name_of(table, row) in edited.problem(), (column.name, row[column.name], other)
                edited.set(table, row, **{column.name: row[column.name]})
                tried += 1
    assert tried > 3 * len(bound_columns(table))


def test_every_column_is_bound_or_said_not_to_be_with_the_reason() -> None:
    assert set(UNBOUND) == set(TABLES)
    for table, reasons in UNBOUND.items():
        assert set(bound_columns(table)).isdisjoint(reasons)
        assert {*bound_columns(table), *reasons} == {column.name for column in table.columns}
        assert all(reasons.values())
    assert set(UNBOUND[registrations]) == {"content", "mac", "next_at_us"}


def test_a_registration_that_does_not_wait_for_its_due_time_shows(edited: Edited) -> None:
    """The one column that follows from others: whoever it is taken from would never be overdue."""
    for row in edited.rows(registrations):
        if row["state"] in (State.PENDING, State.VERIFIED):
            for other in (None, row["next_at_us"] + 1):
                edited.set(registrations, row, next_at_us=other)
                assert name_of(registrations, row) in edited.problem()
                edited.set(registrations, row, next_at_us=row["next_at_us"])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_row_that_is_removed_or_added_shows(edited: Edited, table: Table) -> None:
    """In whatever state; added before the others and behind them, as a copy of one."""
    key = next(iter(table.primary_key)).name
    for row in edited.rows(table):
        edited.remove(table, row)
        assert name_of(table, row) in edited.problem()
        for row_id in (bytes(16), b"\xff" * 16):
            added = {**row, key: row_id}
            edited.add(table, added)
            assert edited.problem() != ""
            edited.remove(table, added)
        edited.add(table, row)
        for row_id in (bytes(16), b"\xff" * 16):
            added = {**row, key: row_id, **({"user_tag": None} if table is registrations else {})}
            edited.add(table, added)
            assert name_of(table, added) in edited.problem()
            edited.remove(table, added)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_two_rows_that_are_exchanged_show(edited: Edited, table: Table) -> None:
    """All of them but their ids, digests included."""
    key = next(iter(table.primary_key)).name
    rows = edited.rows(table)
    for place, one in enumerate(rows):
        for other in rows[place + 1 :]:
            for row in (one, other):
                edited.remove(table, row)
            exchanged = [{**other, key: one[key]}, {**one, key: other[key]}]
            for row in exchanged:
                edited.add(table, row)
            assert edited.problem() != "", (one, other)
            for row in exchanged:
                edited.remove(table, row)
            for row in (one, other):
                edited.add(table, row)


def test_every_old_copy_of_a_row_that_is_put_back_shows(data_dir: Path, url: str | None) -> None:
    """The row alone, as it was at any time before: its digests are right, and older than what the chain says."""
    edited = filled(data_dir, url)
    before = {
        table.name: {row[next(iter(table.primary_key)).name]: row for row in edited.rows(table)} for table in TABLES
    }
    world = World(data_dir, url=url, now=START.replace(month=10))
    list(world.reverifier.run(SERVICE, due_before=None, place=b""))
    world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "c"})
    world.registrar.delete(SERVICE, "u6")
    world.registrar.verify(SERVICE, "u2", method=Method.CODE, network_address=None)
    world.close()
    assert edited.problem() == ""
    put_back = 0
    for table in TABLES:
        for row in edited.rows(table):
            old = before[table.name].get(row[next(iter(table.primary_key)).name])
            if old is not None and old != row:
                edited.set(table, row, **old)
                assert name_of(table, row) in edited.problem()
                edited.set(table, row, **row)
                put_back += 1
    for old in before[confirmations.name].values():
        assert old not in edited.rows(confirmations)  # a newer one has taken its place
        edited.add(confirmations, old)
        assert name_of(confirmations, old) in edited.problem()
        edited.remove(confirmations, old)
    assert put_back >= 3
    edited.close()


def test_an_old_copy_of_the_whole_database_shows_beside_a_later_head(data_dir: Path, tmp_path: Path) -> None:
    filled(data_dir).close()
    old = shutil.copytree(data_dir, tmp_path / "old")
    world = World(data_dir, seed=8)
    world.register(small.ACTIVE, "later")
    world.close()
    head = signed_head(Settings(data_dir=data_dir), START)
    assert verify_store(Settings(data_dir=data_dir), head).event_count == head.sequence
    assert verify_store(Settings(data_dir=old), None).event_count < head.sequence
    with pytest.raises(EventsAltered, match="are missing"):
        verify_store(Settings(data_dir=old), head)


def test_every_write_keeps_the_bindings_true(data_dir: Path, url: str | None) -> None:
    """Time that passes, withdrawals in bulk, tries of codes, attested acts, pruning, rotation and dropped keys."""
    edited = filled(data_dir, url)
    policy = {"data_age_max": None, "authorities": frozenset({"esia"})}
    world = World(data_dir, url=url, methods="operator,code,attested", policy=policy, seed=8)
    calendar = Calendar(world.registrations)
    world.pass_time(days=1)
    started = world.registrar.verify(SERVICE, "u1", method=Method.CODE, network_address=None).verification
    assert started is not None
    wrong = f"{(int(last_code(world)) + 1) % 1_000_000:06}"
    for _ in range(3):
        with pytest.raises(ProofNotAccepted):
            world.completion.complete(SERVICE, started.verification_id, CodeProof(wrong))
        assert edited.problem() == ""
    attested = world.registrar.verify(SERVICE, "u6", method=Method.ATTESTED, network_address=None).verification
    assert attested is not None
    world.completion.complete(SERVICE, attested.verification_id, AttestedProof("esia", "a", world.now))
    assert edited.problem() == ""
    for days in (31, 310, 31):
        world.pass_time(days=days)
        calendar.pass_time(world.now)
        assert edited.problem() == ""
    world.close()
    settings = Settings(data_dir=data_dir, database_url=url)
    rotate(settings, world.now, piece_size=2)
    assert verify_store(settings, None).event_count > 0
    world.pass_time(days=2)
    drop_old_keys(settings, world.now)
    assert verify_store(settings, None).event_count > 0
    edited.close()


# --- what is served


@pytest.fixture
def served(data_dir: Path) -> Iterator[World]:
    """An installation on which somebody has exchanged what lies sealed of u0 and u4."""
    filled(data_dir).close()
    world = World(data_dir)
    one, other = (world.registrar.get(SERVICE, user).row for user in ("u0", "u4"))
    engine = create_engine(f"sqlite:///{data_dir / FILE_NAME}")
    with engine.begin() as connection:
        for row, sealed in ((one, other.sealed_record), (other, one.sealed_record)):
            own = registrations.c.registration_id == row.registration_id
            connection.execute(update(registrations).where(own).values(sealed_record=sealed))
    engine.dispose()
    yield world
    world.close()


def test_only_the_registration_that_was_changed_is_refused_and_it_is_named(served: World) -> None:
    for user in ("u0", "u4"):
        with pytest.raises(StoreDamaged, match=r"registration [0-9a-f]{32} is not what was written") as caught:
            served.registrar.get(SERVICE, user)
        assert caught.value.metadata == {"registration_id": caught.value.registration_id}
        with pytest.raises(StoreDamaged):
            served.registrar.refresh(SERVICE, user, ADDRESS, {"a": "b"})
    assert served.registrar.get(SERVICE, "u1").record.user_id == "u1"


def test_one_registration_that_was_changed_does_not_block_the_list_of_its_service(served: World) -> None:
    """Those that are left out are told."""
    page = served.registrar.page(SERVICE, Filters(), size=100, place=None)
    assert sorted(one.record.user_id for one in page.registrations) == ["u1", "u2", "u5", "u6"]
    assert len({error.registration_id for error in page.damaged}) == 2
    assert page.next_place is None


@pytest.mark.parametrize("column", [name for name in bound_columns(registrations) if name != "registration_id"])
def test_a_registration_is_not_served_with_any_column_changed(data_dir: Path, column: str) -> None:
    """It is refused, or no longer found under its user or its service; never answered as it was made."""
    filled(data_dir).close()
    world = World(data_dir)
    row = world.registrar.get(SERVICE, "u2").row
    for other in others(getattr(row, column), []):
        if other is None and not registrations.c[column].nullable:
            continue
        engine = create_engine(f"sqlite:///{data_dir / FILE_NAME}")
        with engine.begin() as connection:
            own = registrations.c.registration_id == row.registration_id
            connection.execute(update(registrations).where(own).values({column: other}))
        engine.dispose()
        with pytest.raises(UnknownRegistration if column == "user_tag" else StoreDamaged):
            world.registrar.get(SERVICE, "u2")
        page = world.registrar.page(SERVICE, Filters(), size=100, place=None)
        assert sorted(one.record.user_id for one in page.registrations) == ["u0", "u1", "u4", "u5", "u6"]
    world.close()


def test_time_goes_on_for_others_and_the_log_names_who_was_changed(served: World) -> None:
    """A row that nobody wrote neither stops the clock nor becomes right by being written anew."""
    with capture_logs() as lines:
        Calendar(served.registrations).pass_time(START.replace(year=2028))
    named = {line["registration_id"] for line in lines if line["event"] == "a registration is not what was written"}
    assert len(named) == 2
    assert served.registrar.get(SERVICE, "u2").state is State.OVERDUE
    with pytest.raises(StoreDamaged):
        served.registrar.get(SERVICE, "u0")
