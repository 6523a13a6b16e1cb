"""PostgreSQL: a node's commit holds nobody up while it waits for the disk, and nobody is told of it before."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from numcheck.errors import StoreUnavailable
from numcheck.store.database import Database
from tests.registrations.world import SERVICE, World, small
from tests.store.engines import PATIENCE_S, Server

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


class Settling:
    """Settling as it is, but held up until it may go on; counts how often it was asked for."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.may_go_on, self.count = threading.Event(), threading.Event(), 0
        self.fails = False
        settle: Callable[[bytes | None], None] = database.settle

        def held_up(mark: bytes | None = None) -> None:
            self.count += 1
            self.asked.set()
            assert self.may_go_on.wait(PATIENCE_S)
            if self.fails:
                raise StoreUnavailable("the connection broke")
            settle(mark)

        monkeypatch.setattr(database, "settle", held_up)


@pytest.fixture
def data_dir(engine: str, tmp_path: Path) -> Path:
    return small.fill(tmp_path / "var")


@pytest.fixture
def worlds(data_dir: Path, server: Server) -> Iterator[list[World]]:
    """Two nodes of one database."""
    url = server.new_database()
    made = [World(data_dir, url=url, seed=seed) for seed in (1, 2)]
    small.fill_store(made[0].store)
    yield made
    for one in made:
        one.close()


def database_of(world: World) -> Database:
    database: Database = world.store._database
    return database


def test_other_nodes_write_while_one_waits_for_its_commit(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain goes on behind an event that nobody was told of yet; then both are there, in their order."""
    waiting, other = worlds
    settling = Settling(database_of(waiting), monkeypatch)
    answered: list[str] = []

    def register() -> None:
        waiting.register(small.ACTIVE, "first")
        answered.append("first")

    thread = threading.Thread(target=register)
    thread.start()
    assert settling.asked.wait(PATIENCE_S)
    other.register(small.ACTIVE, "second")
    assert answered == []
    settling.may_go_on.set()
    thread.join()
    assert answered == ["first"]
    found = [one.registrar.get(SERVICE, name).row for one in worlds for name in ("first", "second")]
    assert found[:2] == found[2:]
    assert found[0].sequence < found[1].sequence
    sequences = [one.sequence for one in other.store.events().all()]
    assert sequences == list(range(1, len(sequences) + 1))


def test_nobody_is_told_of_what_is_not_durable_yet(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row or an event of another node that is newer than what is known to be durable is waited for, once."""
    writer, reader = worlds
    writer.register(small.ACTIVE, "first")
    settling = Settling(database_of(reader), monkeypatch)
    settling.may_go_on.set()
    assert reader.registrar.get(SERVICE, "first").record.user_id == "first"
    assert settling.count == 1
    reader.registrar.get(SERVICE, "first")
    assert reader.registrations.events.of_service(SERVICE, 0) != []
    head = reader.registrations.events.try_head()
    assert head is not None
    assert settling.count == 1
    writer.register(small.ACTIVE, "second")
    settling.fails = True
    with pytest.raises(StoreUnavailable):
        reader.registrations.events.after(head.sequence)
    with pytest.raises(StoreUnavailable):
        reader.registrar.get(SERVICE, "second")
    assert reader.registrar.get(SERVICE, "first").record.user_id == "first"
    settling.fails = False
    assert reader.registrar.get(SERVICE, "second").record.user_id == "second"


def test_a_caller_whose_commit_was_not_waited_for_is_told_so(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was done is unknown to them; a repetition finds it, once it is durable."""
    world, _ = worlds
    settling = Settling(database_of(world), monkeypatch)
    settling.may_go_on.set()
    settling.fails = True
    with pytest.raises(StoreUnavailable):
        world.register(small.ACTIVE, "first")
    settling.fails = False
    assert world.registrar.get(SERVICE, "first").record.user_id == "first"


def test_what_a_crash_took_before_it_was_durable_is_not_acknowledged(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failover, or a server that recovered: whoever settles finds a database that does not have it."""
    world, other = worlds
    world.register(small.ACTIVE, "first")
    database = database_of(world)
    settle = database.settle

    def after_a_crash(mark: bytes | None = None) -> None:
        with database_of(other).writing() as connection:
            connection.exec_driver_sql("DELETE FROM commit_marks")
        settle(mark)

    monkeypatch.setattr(database, "settle", after_a_crash)
    with pytest.raises(StoreUnavailable, match="does not have it"):
        world.register(small.ACTIVE, "second")
    monkeypatch.undo()
    world.register(small.ACTIVE, "third")
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM commit_marks").scalar() == 0
