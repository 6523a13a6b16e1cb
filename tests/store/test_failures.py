"""What a database's errors are told as: only damage is damage. A table of codes, and real databases that fail."""

import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from numcheck.active import PushHeader
from numcheck.api.errors import status_of
from numcheck.errors import IndexBehind, NumcheckError, StaleBase, StoreDamaged, StoreFailed, StoreUnavailable
from numcheck.serving.publishing import open_or_rebuild
from numcheck.store import Point, Store
from numcheck.store.database import Database
from numcheck.store.failures import store_error
from numcheck.store.history import GAP
from numcheck.v1 import check_pb2
from tests.active.sets import active_set_of
from tests.store.engines import POSTGRESQL, Server
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PGBOUNCER = Path("/usr/sbin/pgbouncer")
UNAVAILABLE, DATA_LOSS, INTERNAL = 14, 15, 13

# Codes of every class that a server gives to who reads and writes, with what a caller is to be told.
STATES: dict[type[NumcheckError], str] = {
    StoreUnavailable: """08000 08003 08006 08P01 0A000 25006 25P03 25P04 26000 28000 28P01 3D000 40001 40P01 42501 42P05
        53000 53100 53200 53300 55000 55P03 57000 57014 57P01 57P02 57P03 57P05 58000 58030 58P01""",
    StoreDamaged: "XX001 XX002",
    StoreFailed: "22001 22021 23502 23505 25P02 34000 42601 42703 42P01 54000 P0001 XX000",
}


@pytest.mark.parametrize(
    ("kind", "state"), [(kind, state) for kind, states in STATES.items() for state in states.split()]
)
def test_sqlstate_is_told_as_what_it_is(kind, state):
    original = psycopg.errors.lookup(state) if state in psycopg.errors._sqlcodes else psycopg.DatabaseError
    error = original("79161234567 is in this text")
    error.sqlstate = state
    told = store_error(DBAPIError("SELECT 79161234567", (79161234567,), error))
    assert type(told) is kind
    assert state in str(told)
    assert "7916" not in str(told)
    assert status_of(told).code == {StoreUnavailable: UNAVAILABLE, StoreDamaged: DATA_LOSS, StoreFailed: INTERNAL}[kind]


# The class is enough for every state that is not named above: each class that PostgreSQL has.
CLASSES: dict[type[NumcheckError], str] = {
    StoreUnavailable: "08 28 3D 40 53 55 57 58",
    StoreFailed: """01 02 03 09 0A 0B 0F 0L 0P 10 0Z 20 21 22 23 24 25 26 27 2B 2D 2F 34 38 39 3B 3F 42 44 54 72 F0 HV
        P0 XX""",
}


def test_every_class_of_sqlstates_is_told_as_what_it_is():
    """By a state that no table names; classes that the driver does not know are not ours to judge."""
    kind_of = {name: kind for kind, names in CLASSES.items() for name in names.split()}
    known = {state[:2] for state in psycopg.errors._sqlcodes if len(state) == 5}  # the others are their names
    assert known <= kind_of.keys()
    for name, kind in kind_of.items():
        error = psycopg.DatabaseError("79161234567 is in this text")
        error.sqlstate = f"{name}ZZZ"
        assert type(store_error(DBAPIError("SELECT 1", (), error))) is kind, name


RESULT_CODES: dict[type[NumcheckError], list[int]] = {
    StoreUnavailable: [3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 22, 23, 261, 266, 778, 1_032, 1_544, 2_314, 3_850],
    StoreDamaged: [11, 26, 267, 523, 779],
    StoreFailed: [1, 2, 12, 17, 18, 19, 20, 21, 25, 1_299, 2_067],
}


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in RESULT_CODES.items() for code in codes])
def test_result_code_is_told_as_what_it_is(kind, code):
    """Extended codes are told as the primary one that they begin with."""
    error = sqlite3.DatabaseError("something")
    error.sqlite_errorcode = code
    assert type(store_error(DBAPIError("SELECT 1", (), error))) is kind


@pytest.fixture
def url(server) -> str:
    return server.new_database()


@pytest.fixture
def database(url, tmp_path) -> Iterator[Database]:
    one = Database(tmp_path / "x", url=url, read_only=False)
    yield one
    one.close()


def admin(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def refused(database: Database, *statements: str) -> StoreUnavailable:
    def change() -> None:
        with database.writing() as connection:
            for statement in statements:
                connection.execute(text(statement))

    with pytest.raises(StoreUnavailable) as told:
        change()
    return told.value


def test_database_that_is_only_read_is_unavailable(url, tmp_path):
    admin(url, f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="25006"):
        Store(tmp_path, url=url)


def test_session_that_takes_no_changes_any_more_is_left_for_another(database):
    """As those of a primary that has become a standby, once another host is the primary."""
    with database.writing() as connection:
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    change = "UPDATE installation SET withdrawals_dropped = 0"
    assert "25006" in str(refused(database, change))
    with database.writing() as connection:
        connection.execute(text(change))


def test_statement_and_lock_that_take_too_long_are_unavailable(database):
    assert "57014" in str(refused(database, "SET LOCAL statement_timeout = 1", "SELECT pg_sleep(60)"))
    with database.reading() as other:
        other.execute(text("LOCK TABLE installation IN ACCESS SHARE MODE"))
        lock = "LOCK TABLE installation IN ACCESS EXCLUSIVE MODE"
        assert "55P03" in str(refused(database, "SET LOCAL lock_timeout = 1", lock))


def test_push_that_another_transaction_undid_is_applied_all_the_same(url, tmp_path):
    """As where the server's transactions are serializable: whoever waited for a row that has changed is undone."""
    database = make_url(url).database
    admin(url, f"ALTER DATABASE {database} SET default_transaction_isolation = serializable")
    with Store(tmp_path, url=url) as store, psycopg.connect(url) as other, ThreadPoolExecutor(1) as threads:
        other.execute("UPDATE installation SET revision = revision")
        pushing = threads.submit(store.import_plan, plan(row(916, 0, 9, "Альфа")), source="rows.csv", now=NOW)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        with psycopg.connect(url, autocommit=True) as watching:
            while not watching.execute(waiting, (database,)).fetchone()[0]:
                assert not pushing.done()
        other.commit()
        assert pushing.result().revision == 1
        assert len(store.ranges()) == 1


def test_session_that_is_ended_by_the_server_is_unavailable_and_the_next_is_well(database):
    told = refused(database, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert "57P01" in str(told) or "does not answer" in str(told)
    with database.writing() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_role_that_may_not_log_in_or_touch_a_table_is_unavailable(url, tmp_path):
    Store(tmp_path, url=url).close()
    role = f"guest_{make_url(url).database}"
    admin(url, f"CREATE ROLE {role} LOGIN")
    guest = make_url(url).set(username=role).render_as_string(hide_password=False)
    with pytest.raises(StoreUnavailable, match="42501"):
        Store(tmp_path, url=guest)
    admin(url, f"ALTER ROLE {role} NOLOGIN")
    with pytest.raises(StoreUnavailable):
        Store(tmp_path, url=guest)


def test_table_that_is_gone_is_a_failure_and_no_damage(database):
    with database.writing() as connection:
        connection.execute(text("DROP TABLE denials"))
    with pytest.raises(StoreFailed, match="42P01"), database.reading() as connection:
        connection.execute(text("SELECT * FROM denials"))


def test_commit_that_standbys_did_not_confirm_is_not_acknowledged(server, database, url):
    """PostgreSQL answers a cancelled wait with success and a warning: it is committed here, and nowhere else.

    A server takes a changed setting when each of its processes gets round to it: changes are made until one waits.
    """
    pids: list[int] = []
    told: list[str] = []

    def change() -> None:
        while not told:
            try:
                with database.writing() as connection:
                    pids.append(connection.scalar(text("SELECT pg_backend_pid()")))
                    connection.execute(text("SET LOCAL synchronous_commit = on"))
                    connection.execute(text("UPDATE installation SET withdrawals_dropped = 1"))
            except StoreUnavailable as error:
                told.append(str(error))

    admin(url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    admin(url, "SELECT pg_reload_conf()")
    try:
        writer = threading.Thread(target=change)
        writer.start()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            waiting = (
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s) AND wait_event = 'SyncRep'"
            )
            while writer.is_alive():
                connection.execute(waiting, (pids[-1:],))
                writer.join(0.02)
    finally:
        admin(url, "ALTER SYSTEM RESET synchronous_standby_names")
        admin(url, "SELECT pg_reload_conf()")
    assert told == ["committed here, and the standbys have not confirmed it: it may be lost yet"]


@pytest.fixture
def pooled(server, url) -> Iterator[str]:
    """The database behind PgBouncer, which gives each transaction whatever session is free."""
    if not PGBOUNCER.exists():
        pytest.skip("pgbouncer is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    parsed = make_url(url)
    with tempfile.TemporaryDirectory(prefix="numcheck-pgbouncer-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "users").write_text('"postgres" ""\n')
        (directory / "b.ini").write_text(
            f"[databases]\n* = host={parsed.query['host']} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={port}\nauth_type=any\npool_mode=transaction\nunix_socket_dir=\ndefault_pool_size=3\n"
        )
        owner = Path(parsed.query["host"]).owner()  # who may use the server's socket
        command = [str(PGBOUNCER), "-q", "-u", owner, str(directory / "b.ini")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"postgresql://postgres@127.0.0.1:{port}/{parsed.database}"
            deadline = time.monotonic() + 30
            while True:
                try:
                    psycopg.connect(address).close()
                    break
                except psycopg.OperationalError:
                    assert time.monotonic() < deadline, "pgbouncer does not answer"
                    time.sleep(0.05)
            yield address
        finally:
            process.terminate()
            process.wait()


def test_store_behind_a_pooler_of_transactions_works(pooled, url, tmp_path):
    """No statement of one session is looked for in another, and every commit waits for the disk."""
    admin(url, f"ALTER DATABASE {make_url(url).database} SET synchronous_commit = off")
    with Store(tmp_path, url=pooled) as store:
        store.import_plan(plan(row(916, 0, 9_999_999, "А", "7740000076")), source="rows.csv", now=NOW)

        def work() -> None:
            for _ in range(12):
                assert len(store.ranges()) == 1
                with store._database.writing() as connection:
                    assert connection.scalar(text("SHOW synchronous_commit")) == "on"
                    assert connection.scalar(text("SHOW statement_timeout")) == "5min"

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for count in range(1, 9):
            numbers = active_set_of(range(79160000000, 79160000000 + count))
            store.sets.replace_active_set(1, numbers, data_time=NOW, now=NOW)
        for thread in threads:
            thread.join()
        assert len(store.sets.active_set(1)) == 8


def test_server_that_was_promoted_is_noticed_before_anything_is_asked_of_it(tmp_path):
    """Two hosts: the primary ends with a change that its standby lacks. The first connection to the standby, promoted,
    tells of its timeline and of what is lost, whoever it is made for. Who has seen nothing of it begins another epoch,
    as on every server that a dump is restored to: what was acknowledged names nothing that comes after it."""
    met: list[tuple[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="numcheck-two-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        primary = Server(Path(name) / "primary", fsync=True)
        url = primary.new_database()
        with Store(tmp_path, url=url) as store:
            store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="rows.csv", now=NOW)
        standby = primary.standby(Path(name) / "standby")
        both = url.replace("?host=", f"?host={standby.socket.parent},") + "&target_session_attrs=read-write"
        with Store(tmp_path, url=both) as store:
            assert store.timeline == "00000001"
            kept = store.point
            store.see(kept, {})
            store.follow_servers(lambda: met.append(("met", None)), lambda point: met.append(("lost", point)))
            _cut_off(standby)
            store.sets.replace_active_set(1, active_set_of([79160000000]), data_time=NOW, now=NOW)
            lost = store.seen
            primary.stop()
            met.clear()
            with pytest.raises(StoreUnavailable):
                store.ranges()
            standby.promote()
            assert len(store.ranges()) == 1
            assert met == [("lost", lost), ("met", None)]
            assert store.timeline == "00000002"
            assert store.is_lost(lost)
            assert store.has(kept)
            _check_new_epoch(both, tmp_path / "other", lost)
            _check_loss_is_told(store, lost)
            versions = store.sets.head(1).version, store.revision
        _check_dump(both, standby.new_database(), Path(name), versions)
        standby.close()
        primary.start()
        primary.close()


def _check_new_epoch(url: str, data_dir: Path, lost: Point) -> None:
    """A node that was started anew, without an index, gives out nothing again that was given out before."""
    with Store(data_dir, url=url) as store:
        before = store.revision
        assert before < lost.revision
        assert store.begin_epoch()
        assert (store.unused_revisions(), store.losses()) == ([(before + 1, before + GAP)], [])
        assert _pushed(store, 79160000001) > lost.revision + 1
        index, _ = open_or_rebuild(store, data_dir)
        request = check_pb2.CheckNumbersRequest(numbers=[79160000001], min_index_version=lost.revision)
        with pytest.raises(IndexBehind, match="lost"):
            index.table.check_numbers(request.SerializeToString(), numbers_per_call_max=1)
        with pytest.raises(StaleBase):
            _pushed(store, 79160000002, base=1)  # the version of the lost set
        assert not store.begin_epoch()


def _pushed(store: Store, number: int, base: int | None = None) -> int:
    """Push a number as operator 1 does, to the head or another version; the revision."""
    head = store.sets.head(1).version
    content = store.sets.push_content(1)
    content.add(array("Q", [number]))
    header = PushHeader(1, snapshot=False, base_version=head if base is None else base, push_id=None, data_time=NOW)
    return store.sets.push(header, content, base_version=head, token="", now=NOW).revision


def _cut_off(standby: Server) -> None:
    with psycopg.connect(standby._uri, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
        while connection.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone() != (0,):
            pass


def _check_loss_is_told(store: Store, lost: Point) -> None:
    """By operator and version, though others have pushed to that version since, in another epoch."""
    store.record_loss(lost, now=NOW)
    (loss,) = store.losses()
    assert (loss.first_revision, loss.last_revision) == (lost.revision, lost.revision)
    assert loss.operators == {1: (1, 0)}
    assert [lost.revision, lost.revision] in map(list, store.unused_revisions())


def _check_dump(url: str, restored: str, directory: Path, versions: tuple[int, int]) -> None:
    """A database that is restored from a dump goes on behind whatever followed the dump."""
    dump, restore = (
        ("pg_dump", "-Fc", "-f", f"{directory}/dump", url),
        ("pg_restore", "-d", restored, f"{directory}/dump"),
    )
    for tool, *arguments in (dump, restore):
        subprocess.run([POSTGRESQL / tool, *arguments], check=True)
    with Store(directory / "third", url=restored) as store:
        assert _pushed(store, 79160000007) > versions[1] + GAP
        assert store.sets.head(1).version > versions[0] + GAP
        assert not store.begin_epoch()
