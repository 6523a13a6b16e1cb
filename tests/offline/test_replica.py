"""Exports and audits of a standby: they say as of when it is, and never take what it lacks yet for what was lost."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.serving.command import Result, run
from tests.store.engines import Server

PLAN = "Код;От;До;Емкость;Оператор;Регион;ИНН\n{code};0000000;9999999;10000000;МТС;Москва;7740000076\n"


@pytest.fixture
def standby(server) -> Iterator[Server]:
    """A standby of all of the tests' databases."""
    with tempfile.TemporaryDirectory(prefix="numcheck-standby-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        one = server.standby(Path(name) / "data")
        yield one
        one.close()


def wait_for_replay(server: Server, standby: Server) -> None:
    """Return once the standby has all that there is now."""
    with psycopg.connect(server._uri, autocommit=True) as connection:
        (end,) = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    with psycopg.connect(standby._uri, autocommit=True) as connection:
        while connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end]).fetchone() != (True,):
            pass


def test_standby_is_read_where_it_may_be_behind_and_that_is_said(server, standby, tmp_path):
    url = server.new_database()
    replica = url.replace(str(server.socket.parent), str(standby.socket.parent))
    primary_only = {"NUMCHECK_DATABASE_URL": url}
    both = {**primary_only, "NUMCHECK_DATABASE_REPLICA_URL": replica}

    def numcheck(*arguments: object, env: dict[str, str]) -> Result:
        found = run(*arguments, "--data-dir", tmp_path / "var", env=env)
        assert found.status == 0, found.err
        return found

    def import_plan(code: int) -> None:
        file = tmp_path / "plan.csv"
        file.write_text(PLAN.format(code=code), encoding="utf-8")
        numcheck("plan", "import", file, env=primary_only)

    import_plan(916)
    wait_for_replay(server, standby)
    exported = numcheck("events", "export", env=both)
    assert "read from a standby, which has what was there at 20" in exported.err
    events = exported.out.splitlines()[:-1]
    assert "plan_imported" in events[-1]
    with psycopg.connect(standby._uri, autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
            pass
    import_plan(426)
    (tmp_path / "head.json").write_text(numcheck("events", "head", env=both).out)
    assert numcheck("events", "export", env=both).out.splitlines()[:-1] == events
    told = numcheck("events", "verify", "--head", tmp_path / "head.json", env=both)
    assert "the standby is behind the head that was handed out" in told.err
    assert "2 events are what was written" in told.out
    numcheck("callers", "add", "numcheck://auditor", "--role", "auditor", env=primary_only)
    told = numcheck("events", "verify", env=both)
    assert "the standby is behind the callers that this node has seen" in told.err
    assert "3 events are what was written" in told.out


def test_replica_of_nothing_is_refused(tmp_path):
    told = run("events", "export", "--data-dir", tmp_path, env={"NUMCHECK_DATABASE_REPLICA_URL": "postgresql://x/y"})
    assert told.status == 1
    assert "database_replica_url is a standby of database_url, which is not set" in told.err
