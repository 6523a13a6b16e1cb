"""Programs of neighbouring versions on one store: the newer brings it up to date, and the older then opens it no more.

The newer program is this one with a step of its own behind the steps that there are: such as a release may add, which
adds a table and a column that may be empty.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from numcheck.errors import StoreMissing, StoreTooNew
from numcheck.store import Store, migrations
from numcheck.store.migrations import HEAD
from tests.active.sets import active_set_of
from tests.store.engines import open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST = 79160000000
BEFORE, AFTER = row(916, 0, 99, "Альфа", "7740000076"), row(917, 0, 99, "Альфа", "7740000076")
NEXT = "9998"
STEP = f'''
from alembic import op
from sqlalchemy import Column, Integer, String

revision, down_revision, branch_labels, depends_on = "{NEXT}", "{HEAD}", None, None


def upgrade():
    op.create_table("novelties", Column("novelty_id", Integer, primary_key=True))
    op.add_column("operators", Column("novelty", String, nullable=True))
'''
BROKEN = f"{STEP}    raise RuntimeError('the machine is gone')\n"
As = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> As:
    """Opens stores as the next version of the program does."""
    steps = tmp_path / "migrations"
    shutil.copytree(migrations.__path__[0], steps, ignore=shutil.ignore_patterns("__pycache__"))

    @contextmanager
    def as_newer(step: str = STEP) -> Iterator[None]:
        (steps / "versions" / f"{NEXT}_next.py").write_text(step)
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "HEAD", NEXT)
            patch.setattr(migrations, "__file__", str(steps / "__init__.py"))
            yield

    return as_newer


def contents(store: Store) -> tuple:
    """What a store holds that this module writes, and which installation it is of."""
    numbers = [list(store.active_set(one.operator_id)) for one in store.operators()]
    return store.installation_id, store.revision, store.ranges(), store.operators(), numbers


def fill(data_dir: Path) -> tuple:
    with open_store(data_dir) as store:
        store.import_plan(plan(BEFORE), source="a.csv", now=NOW)
        store.replace_active_set(1, active_set_of([FIRST, FIRST + 7]), data_time=NOW, synthetic=False, now=NOW)
        return contents(store)


def test_store_of_the_version_before_is_brought_up_to_date_and_holds_what_it_held(data_dir: Path, newer: As) -> None:
    held = fill(data_dir)
    with newer():
        with pytest.raises(StoreMissing, match="of an older numcheck"):
            open_store(data_dir, read_only=True)
        with open_store(data_dir) as store:
            assert contents(store) == held
            with store._database.reading() as connection:
                assert inspect(connection).has_table("novelties")
        with open_store(data_dir, read_only=True) as store:
            assert contents(store) == held


@pytest.mark.parametrize("read_only", [False, True])
def test_store_that_a_newer_version_has_brought_up_to_date_is_refused_and_left_alone(
    data_dir: Path, newer: As, *, read_only: bool
) -> None:
    held = fill(data_dir)
    with newer(), open_store(data_dir):
        pass
    with pytest.raises(StoreTooNew, match=f"schema {NEXT}; this numcheck knows {HEAD}"):
        open_store(data_dir, read_only=read_only)
    with newer(), open_store(data_dir) as store:
        assert contents(store) == held


def test_step_that_fails_leaves_the_store_as_it_was(data_dir: Path, newer: As) -> None:
    """The older version opens it, and the newer one tries again."""
    held = fill(data_dir)
    with newer(BROKEN), pytest.raises(RuntimeError, match="the machine is gone"):
        open_store(data_dir)
    with open_store(data_dir) as store:
        assert contents(store) == held
        with store._database.reading() as connection:
            assert not inspect(connection).has_table("novelties")
    with newer(), open_store(data_dir) as store:
        assert contents(store) == held


@pytest.mark.parametrize("engine", ["postgresql"])
def test_nodes_of_two_versions_work_on_one_database_meanwhile(data_dir: Path, newer: As) -> None:
    """One that runs goes on to read and write when another, of the next version, has brought the schema up to date;
    each sees what the other writes. Once it is stopped it cannot be started again."""
    fill(data_dir)
    with open_store(data_dir) as older:
        with newer():
            later = open_store(data_dir)
        with later:
            with later._database.writing() as connection:
                connection.execute(text("UPDATE operators SET novelty = 'new'"))
            older.import_plan(plan(BEFORE, AFTER), source="b.csv", now=NOW)
            assert contents(later) == contents(older)
            later.import_plan(plan(BEFORE), source="c.csv", now=NOW, force=True)
            older.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, synthetic=False, now=NOW)
            assert contents(later) == contents(older)
            with later._database.reading() as connection:
                assert set(connection.scalars(text("SELECT novelty FROM operators"))) == {"new"}
    with pytest.raises(StoreTooNew):
        open_store(data_dir)
