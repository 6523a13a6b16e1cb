"""Programs of neighbouring versions on one store: the newer brings it up to date, and the older then opens it no more.

The newer program is this one with a step of its own behind the steps that there are: such as a release may add, which
adds a table and a column that may be empty.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from sqlalchemy import inspect, text

from numcheck.active import Operator
from numcheck.config import Settings
from numcheck.errors import StoreMissing, StoreTooNew
from numcheck.offline.evidence import evidence
from numcheck.store import Store, migrations
from numcheck.store.migrations import HEAD
from numcheck.store.schema import metadata
from numcheck.v1 import numbering_pb2, numbering_pb2_grpc
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.active.sets import active_set_of
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.command import serving
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
    numbers = [list(store.sets.active_set(one.operator_id)) for one in store.operators()]
    return store.installation_id, store.revision, store.ranges(), store.operators(), numbers


def fill(data_dir: Path) -> tuple:
    with open_store(data_dir) as store:
        store.import_plan(plan(BEFORE), source="a.csv", now=NOW)
        store.sets.replace_active_set(1, active_set_of([FIRST, FIRST + 7]), data_time=NOW, synthetic=False, now=NOW)
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


def of_a_messenger(data_dir: Path) -> int:
    """Have a node fill a store with what a messenger, an operator and the clearing house leave there; a user's number.

    Registrations verified, waiting, imported and erased, with their events; a push that is held; portings.
    """
    env = {"NUMCHECK_VERIFICATION_METHODS": "operator,code", "NUMCHECK_CODE_DELIVERY": "console"}
    small.fill(data_dir)
    with serving(data_dir, env=env | {"NUMCHECK_THREADS": "1"}) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        for user_id, number in (("u1", small.ACTIVE), ("u2", small.UNKNOWN), ("u3", small.SHARED_FIRST_OF_MTS)):
            stub.Register(register_request("chat", number, user_id=user_id))
        stub.DeleteRegistration(pb.DeleteRegistrationRequest(service="chat", user_id="u3"))
        imported = pb.ImportedRegistration(user_id="u4", number="+79160000000", registration_data={"name": "Петров"})
        header = pb.ImportHeader(service="chat", import_id="all")
        list(stub.ImportRegistrations(iter([pb.ImportRegistrationsRequest(header=header, rows=[imported])])))
        numbering = numbering_pb2_grpc.NumberingServiceStub(channel)
        mts = next(one.operator_id for one in operators_of(data_dir) if one.tax_id == small.MTS)
        push = numbering_pb2.PushHeader(operator_id=mts, mode=numbering_pb2.PUSH_MODE_SNAPSHOT, push_id="held")
        push.data_time.GetCurrentTime()
        request = numbering_pb2.PushActiveNumbersRequest(header=push, add=[small.ACTIVE])
        assert numbering.PushActiveNumbers(iter([request])).state == numbering_pb2.PUSH_STATE_HELD
        to_mts = numbering_pb2.PortedNumbers(operator_id=mts, numbers=[79000000000])
        ported = numbering_pb2.PortingsHeader(mode=numbering_pb2.PUSH_MODE_SNAPSHOT, push_id="p1")
        ported.data_time.GetCurrentTime()
        numbering.PushPortings(iter([numbering_pb2.PushPortingsRequest(header=ported, ported=[to_mts])]))
    return small.ACTIVE


def operators_of(data_dir: Path) -> list[Operator]:
    with Store(data_dir, read_only=True) as store:
        return store.operators()


def rows_of(data_dir: Path) -> dict[str, list[tuple]]:
    """Every row of every table of the first release, by the columns that it had then."""
    with sqlite3.connect(data_dir / "numcheck.db") as database:
        return {
            table.name: sorted(
                database.execute(f"SELECT {', '.join(f'{c.name}' for c in table.c)} FROM {table.name}"), key=repr
            )
            for table in metadata.sorted_tables
        }


def test_store_of_a_messenger_is_brought_up_to_date_whole_and_read(tmp_path: Path, newer: As) -> None:
    """No row is another than before; with the keys that were there the evidence of a user opens, number and all."""
    number = of_a_messenger(tmp_path / "var")
    before = rows_of(tmp_path / "var")
    settings = Settings(data_dir=tmp_path / "var")
    told = evidence(settings, "chat", "u1", NOW, with_number=True)
    with newer():
        open_store(tmp_path / "var").close()
        assert rows_of(tmp_path / "var") == before
        again = evidence(settings, "chat", "u1", NOW, with_number=True)
    assert again == told
    assert again["asked_for"] == {"user_id": "u1", "number": f"+{number}"}
    filled = {name for name, rows in before.items() if rows}
    assert {"registrations", "verifications", "events", "pushes", "held_numbers", "heads"} <= filled


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
            older.sets.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, synthetic=False, now=NOW)
            assert contents(later) == contents(older)
            with later._database.reading() as connection:
                assert set(connection.scalars(text("SELECT novelty FROM operators"))) == {"new"}
    with pytest.raises(StoreTooNew):
        open_store(data_dir)
