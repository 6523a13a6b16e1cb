"""What is true of an engine and its schema, and how its errors are told."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from numcheck.errors import BadConfiguration, StoreDamaged, StoreFailed, StoreMissing, StoreTooNew, StoreUnavailable
from numcheck.store import Store, migrations
from numcheck.store import engine as engine_module
from numcheck.store.database import Database
from numcheck.store.schema import installation, metadata
from tests.active.sets import active_set_of
from tests.store.engines import URLS, open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST = 79160000000


@pytest.fixture
def database(data_dir):
    one = Database(data_dir.with_suffix(".db"), url=URLS.get(data_dir), read_only=False)
    yield one
    one.close()


def test_migrated_schema_is_what_the_program_speaks_of(database):
    """Every table and column: alembic would find nothing to change."""
    with database.writing() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def statements(dialect, tables) -> list[str]:
    """What makes the tables and their indexes, word by word."""
    made = [CreateTable(one) for one in tables.sorted_tables]
    made += [CreateIndex(index) for one in tables.sorted_tables for index in sorted(one.indexes, key=lambda i: i.name)]
    return [str(one.compile(dialect=dialect)) for one in made]


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=lambda one: one.name)
def test_steps_make_what_the_program_speaks_of_to_the_word(dialect):
    """What alembic does not compare as well: checks, variants, what counts by itself. A step that is added is to be
    added here: the first one is written out for good."""
    first = ScriptDirectory(str(migrations.__path__[0])).get_revision("0001").module
    assert first.metadata is not metadata
    assert statements(dialect, first.metadata) == statements(dialect, metadata)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("version", ["0002", "9999", "x"])
def test_store_with_a_newer_schema_is_refused(data_dir, version, read_only):
    behind_its_back(data_dir, f"UPDATE alembic_version SET version_num = '{version}'")
    with pytest.raises(StoreTooNew, match=version):
        open_store(data_dir, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("statement", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
def test_store_that_does_not_say_its_schema_is_refused(data_dir, statement, read_only):
    behind_its_back(data_dir, statement)
    with pytest.raises(StoreDamaged, match="does not say which schema"):
        open_store(data_dir, read_only=read_only)


def test_empty_database_is_not_to_be_read(server, tmp_path):
    with pytest.raises(StoreMissing):
        Store(tmp_path, url=server.new_database(), read_only=True)


def behind_its_back(data_dir, statement: str) -> None:
    """A store that was made, and changed by something else."""
    with open_store(data_dir) as store, store._database.writing() as connection:
        connection.execute(text(statement))


def test_nodes_that_begin_at_once_on_an_empty_database_all_find_one_store(server, tmp_path):
    url, together = server.new_database(), Barrier(4)

    def begin(number: int) -> str:
        together.wait()
        with Store(tmp_path / str(number), url=url) as store:
            return store.installation_id

    with ThreadPoolExecutor(4) as nodes:
        assert len(set(nodes.map(begin, range(4)))) == 1


def test_each_installation_has_a_name_of_its_own(data_dir, tmp_path):
    with open_store(data_dir) as store, Store(tmp_path / "other") as other:
        assert len(store.installation_id) == 32
        assert store.installation_id != other.installation_id


@pytest.mark.parametrize(("default", "found"), [("off", "on"), ("remote_apply", "remote_apply"), ("on", "on")])
def test_commit_is_durable_whatever_the_server_takes_for_enough(server, tmp_path, default, found):
    """Raised where it is too little; an installation may ask for more."""
    url = server.new_database()
    database = Database(tmp_path, url=url, read_only=False)
    with database.writing() as connection:
        connection.execute(text(f"ALTER DATABASE {make_url(url).database} SET synchronous_commit = {default}"))
    database.close()
    database = Database(tmp_path, url=url, read_only=False)
    with database.reading() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == found
        assert connection.scalar(text("SHOW statement_timeout")) == "5min"
    database.close()


def test_node_whose_connections_are_all_in_use_says_that_the_store_is_unavailable(server, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "POOL_SIZE", 1)
    with Store(tmp_path, url=server.new_database()) as store:
        pool = store._database._reader.pool
        pool._max_overflow, pool._timeout = 0, 0.01
        with store._database.reading(), pytest.raises(StoreUnavailable, match="in use"):
            store.ranges()


def test_newest_step_is_the_head():
    script = ScriptDirectory(str(migrations.__path__[0]))
    assert script.get_heads() == [migrations.HEAD]


def test_reading_sees_one_revision_while_another_thread_commits(database):
    with database.reading() as before:
        assert before.scalar(select(installation.c.revision)) == 0
        with database.writing() as connection:
            connection.execute(installation.update().values(revision=7))
        assert before.scalar(select(installation.c.revision)) == 0
    with database.reading() as after:
        assert after.scalar(select(installation.c.revision)) == 7


def test_nothing_is_left_of_a_transaction_that_raises(database):
    def fail(connection):
        connection.execute(installation.update().values(revision=7))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        fail(connection)
    with database.reading() as connection:
        assert connection.scalar(select(installation.c.revision)) == 0


def test_reading_cannot_write(database):
    with pytest.raises(StoreUnavailable), database.reading() as connection:
        connection.execute(installation.update().values(revision=7))


def test_statement_that_fails_is_told_without_its_values(database):
    with pytest.raises(StoreFailed) as told, database.writing() as connection:
        connection.execute(text("INSERT INTO installation (id, revision) VALUES (2, 79161234567)"))
    assert "79161234567" not in str(told.value)


def test_store_may_be_only_read_once_it_is_there(data_dir):
    with open_store(data_dir):
        pass
    with open_store(data_dir, read_only=True) as store, pytest.raises(StoreUnavailable):
        store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="rows.csv", now=NOW)


@pytest.mark.parametrize(
    "url",
    [
        *("x", "mysql://user:secret@host/db", "postgresql://user:secret@host:port/db"),
        *("postgresql://user:secret@host:70000/db", "postgresql://user:secret@one:5432,two:0/db"),
        "postgresql://user:secret@host/db?nonsense=secret",
    ],
)
def test_url_that_is_none_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(BadConfiguration) as refused:
        Store(tmp_path, url=url)
    assert "secret" not in str(refused.value)


def test_of_several_hosts_the_one_that_answers_and_takes_changes_is_used(server, tmp_path):
    """One of them is away. Where none takes changes it is said so, and whoever says `any` may read."""
    url = server.new_database()
    several = url.replace("?host=", "?host=/nowhere,")
    with Store(tmp_path / "a", url=several) as store:
        store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="rows.csv", now=NOW)
        assert len(store.ranges()) == 1
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        Store(tmp_path / "b", url=several)
    with Store(tmp_path / "c", url=f"{several}&target_session_attrs=any", read_only=True) as store:
        assert len(store.ranges()) == 1


def test_database_that_is_away_is_unavailable_and_then_used_again(server, tmp_path):
    """Whatever was acknowledged is there; the same store object goes on."""
    with Store(tmp_path, url=server.new_database()) as store:
        store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="rows.csv", now=NOW)
        server.stop()
        try:
            with pytest.raises(StoreUnavailable, match="does not answer"):
                store.sets.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, now=NOW)
            with pytest.raises(StoreUnavailable):
                store.ranges()
        finally:
            server.start()
        store.sets.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, now=NOW)
        assert list(store.sets.active_set(1)) == [FIRST]
