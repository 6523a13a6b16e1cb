"""Nobody waits for ever for a PostgreSQL that does not answer, and what is not known to be done is not acknowledged."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import make_url, text

from numcheck.errors import StoreUnavailable
from numcheck.store import database as database_module
from numcheck.store import engine as engine_module
from numcheck.store import patience
from numcheck.store.database import Database
from tests.cluster.wire import Wire

CHANGE = "UPDATE installation SET withdrawals_dropped = withdrawals_dropped"
SHORT_S = 0.2


@contextmanager
def impatient(*, answer_wait_s: float = 1.0) -> Iterator[None]:
    """Whoever waits during the block for what never comes waits for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COMMIT_WAIT_S", "SILENCE_MAX_S"):
            patch.setattr(patience, name, SHORT_S)
        for module in (patience, engine_module):
            patch.setattr(module, "ANSWER_WAIT_S", answer_wait_s)
        patch.setattr(patience, "LOOK_EVERY_S", 0.02)
        patch.setitem(engine_module._CONNECTION, "connect_timeout", int(answer_wait_s))
        patch.setattr(database_module, "COMMIT_WAIT_S", SHORT_S)
        patch.setattr(database_module, "LOOK_EVERY_S", 0.02)
        yield


@pytest.fixture
def url(server) -> str:
    return server.new_database()


def change(database: Database, statement: str = CHANGE) -> None:
    with database.writing() as connection:
        connection.execute(text(statement))


def change_until_refused(database: Database, statement: str = CHANGE) -> None:
    """A server takes a changed setting when each of its processes gets round to it."""
    while True:
        change(database, statement)


def opened(url: str, directory) -> Database:
    """A database whose tables are there."""
    return Database(directory / "x", url=url, read_only=False)


def test_commit_that_no_standby_confirms_ends_unacknowledged(server, url, tmp_path):
    """And so does one that has nothing to write, as what it has read may be lost yet. Reading goes on."""
    database = opened(url, tmp_path)
    server.configure("synchronous_standby_names = 'nobody'")
    try:
        for statement in (CHANGE, "SELECT 1"):
            with impatient(), pytest.raises(StoreUnavailable, match="have not confirmed it"):
                change_until_refused(database, statement)
        with database.reading() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
    finally:
        server.configure("synchronous_standby_names = ''")
    deadline = time.monotonic() + 120
    while True:
        try:
            change(database)
            break
        except StoreUnavailable:
            assert time.monotonic() < deadline
    database.close()


def test_callers_do_not_queue_behind_commits_that_nobody_confirms(server, url, tmp_path):
    """Each waits for its turn as long as for a standby, however many there are."""
    database = opened(url, tmp_path)
    server.configure("synchronous_standby_names = 'nobody'")
    try:
        with impatient():
            with pytest.raises(StoreUnavailable):
                change_until_refused(database)
            with ThreadPoolExecutor(8) as threads:
                told = [one.exception() for one in [threads.submit(change, database) for _ in range(8)]]
        assert all(isinstance(one, StoreUnavailable) for one in told)
        assert any("the standbys confirm nothing" in str(one) for one in told)
    finally:
        server.configure("synchronous_standby_names = ''")
        database.close()


def test_statement_that_is_never_answered_ends(server, url, tmp_path):
    """The network takes everything and gives nothing; healed, the same object goes on."""
    with Wire(server.socket) as wire:
        database = opened(f"postgresql://postgres@127.0.0.1:{wire.port}/{make_url(url).database}", tmp_path)
        wire.cut()
        with impatient(), pytest.raises(StoreUnavailable):
            change(database)
        wire.heal()
        change(database)
        database.close()


def test_commit_whose_answer_is_lost_is_unknown(server, url, tmp_path, monkeypatch):
    """It is there, and nobody was told so."""
    with Wire(server.socket) as wire:
        database = opened(f"postgresql://postgres@127.0.0.1:{wire.port}/{make_url(url).database}", tmp_path)

        monkeypatch.setattr(database_module, "wait_for_standbys", lambda _connection: wire.cut(there=False))
        with impatient(), pytest.raises(StoreUnavailable):
            change(database, "UPDATE installation SET withdrawals_dropped = 7")
        wire.heal()
        database.close()
    server.wait_until_quiet(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT withdrawals_dropped FROM installation").fetchone() == (7,)


def test_statement_that_takes_long_is_waited_for_while_the_server_answers(url, tmp_path):
    database = opened(url, tmp_path)
    with impatient(answer_wait_s=60), database.reading() as connection:
        connection.execute(text(f"SELECT pg_sleep({5 * SHORT_S})"))
    database.close()
