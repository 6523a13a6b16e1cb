"""What is true of an engine and its schema, and how its errors are told."""

from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from numcheck.active import ActiveSet
from numcheck.errors import BadConfiguration, StoreDamaged, StoreUnavailable
from numcheck.store import Store, migrations
from numcheck.store.database import Database
from numcheck.store.schema import installation, metadata
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
    with pytest.raises((StoreUnavailable, StoreDamaged)), database.reading() as connection:
        connection.execute(installation.update().values(revision=7))


def test_statement_that_fails_is_told_without_its_values(database):
    with pytest.raises((StoreDamaged, StoreUnavailable)) as told, database.writing() as connection:
        connection.execute(text("INSERT INTO installation (id, revision) VALUES (2, 79161234567)"))
    assert "79161234567" not in str(told.value)


def test_store_may_be_only_read_once_it_is_there(data_dir):
    with open_store(data_dir):
        pass
    with open_store(data_dir, read_only=True) as store, pytest.raises(StoreUnavailable):
        store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="rows.csv", now=NOW)


@pytest.mark.parametrize("url", ["x", "mysql://user:secret@host/db", "postgresql://user:secret@host:port/db"])
def test_url_that_is_none_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(BadConfiguration) as refused:
        Store(tmp_path, url=url)
    assert "secret" not in str(refused.value)


def test_database_that_is_away_is_unavailable_and_then_used_again(server, tmp_path):
    """Whatever was acknowledged is there; the same store object goes on."""
    with Store(tmp_path, url=server.new_database()) as store:
        store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="rows.csv", now=NOW)
        server.stop()
        try:
            with pytest.raises(StoreUnavailable, match="does not answer"):
                store.replace_active_set(1, ActiveSet.from_numbers([FIRST]), data_time=NOW, now=NOW)
            with pytest.raises(StoreUnavailable):
                store.ranges()
        finally:
            server.start()
        store.replace_active_set(1, ActiveSet.from_numbers([FIRST]), data_time=NOW, now=NOW)
        assert list(store.active_set(1)) == [FIRST]
