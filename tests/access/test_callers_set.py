"""A revocation that is undone past numcheck: at both doors, on each engine, and by the commands."""

import json
import shutil
import time
from pathlib import Path

import grpc
import pytest
from sqlalchemy import delete, insert, select, true

from numcheck.store.schema import agreements, callers, callers_head
from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.access.node import CALLERS, FIRST, NOW, SecureNode, secure_node
from tests.api.calls import DEADLINE_S, refusal
from tests.serving.command import PATIENCE_S, Result, run, serving
from tests.serving.small import fill

TABLES = (callers, agreements, callers_head)
LISTENERS = ("api", "native")


def is_known(node: SecureNode, name: str, listener: str) -> bool:
    """Return True if a caller gets in, on a connection of its own."""
    with node.channel(name, listener=listener) as channel:
        request = check_pb2.CheckNumbersRequest(numbers=[FIRST])
        _, call = check_pb2_grpc.CheckServiceStub(channel).CheckNumbers.with_call(request, timeout=DEADLINE_S)
        return call.code() == grpc.StatusCode.OK


def is_refused(node: SecureNode, name: str, listener: str) -> bool:
    """Return True if nobody knows a caller, on a connection of its own."""
    with node.channel(name, listener=listener) as channel:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        request = check_pb2.CheckNumbersRequest(numbers=[FIRST])
        return refusal(lambda: stub.CheckNumbers(request, timeout=DEADLINE_S)).reason == "NOT_AUTHENTICATED"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_revoked_caller_whose_rows_are_put_back_stays_out_until_an_administrator_confirms_them(
    tmp_path, request, engine
):
    """One row, and all of the tables with their revision; everybody else is served meanwhile."""
    url = request.getfixturevalue("server").new_database() if engine == "postgresql" else None
    with secure_node(tmp_path, url=url) as node:
        own, database, directory = node.control.callers, node.store._database, node.control.directory
        with database.reading() as connection:
            copy = {table: [dict(one._mapping) for one in connection.execute(select(table))] for table in TABLES}
        own.revoke(CALLERS["messenger"].uri, now=NOW)
        directory.refresh()
        revision = directory.revision
        (saved,) = (one for one in copy[callers] if one["uri"] == CALLERS["messenger"].uri)
        one_row = {callers: (callers.c.uri == saved["uri"], [saved])}
        everything = {table: (true(), rows) for table, rows in copy.items()}
        for put_back in (one_row, everything):
            with database.writing() as connection:
                for table, (which, rows) in put_back.items():
                    connection.execute(delete(table).where(which))
                    if rows:
                        connection.execute(insert(table), rows)
            directory._marks = None  # as after WHOLE_INTERVAL_S
            directory.refresh()
            assert directory.refused
            assert directory.revision == revision
            for listener in LISTENERS:
                assert is_refused(node, "messenger", listener)
                assert is_known(node, "administrator", listener)
        own.confirm(own.all())
        directory.refresh()
        assert not directory.refused
        directory.refresh()
        assert directory.revision > revision
        for listener in LISTENERS:
            assert is_known(node, "messenger", listener)


class Installation:
    """A data directory, and the commands on it."""

    URI = "numcheck://service/chat"

    def __init__(self, directory: Path) -> None:
        self.directory, self.data_dir = directory, fill(directory / "var")
        assert self.run("add", self.URI, "--role", "messenger", "--service", "chat").status == 0

    def run(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run a command of `numcheck callers`."""
        return run("callers", *arguments, cwd=self.directory, stdin=stdin)

    def refused(self) -> str:
        """Return why the callers are refused, as `numcheck status` says."""
        callers = json.loads(run("status", "--json", cwd=self.directory).out)["callers"]
        return callers["refused"] or ""

    def listed(self) -> str:
        """Return when the caller was revoked, or why that is not told."""
        found = self.run("list", "--json")
        return str(json.loads(found.out)["callers"][0]["revoked_at"]) if found.status == 0 else found.err

    def revoke_and_restore(self) -> None:
        """Revoke the caller, and put back the database of the moment before."""
        database, copy = self.data_dir / "numcheck.db", self.directory / "copy.db"
        shutil.copyfile(database, copy)
        assert self.run("revoke", self.URI).status == 0
        assert self.listed().startswith("2")
        shutil.copyfile(copy, database)
        for ending in ("-wal", "-shm"):
            database.with_name(f"{database.name}{ending}").unlink(missing_ok=True)


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


OLDER = "this node has seen revision"


def test_restored_copy_is_told_by_the_commands_and_confirmed_while_no_node_runs(installation):
    nothing = installation.run("confirm-restore", "--yes")
    assert (installation.refused(), nothing.status, "nothing to confirm" in nothing.err) == ("", 1, True)
    installation.revoke_and_restore()
    assert OLDER in installation.refused()
    assert "REFUSED" in run("status", cwd=installation.directory).out
    assert OLDER in installation.listed()
    assert installation.run("confirm-restore", stdin=b"n\n").status == 1
    assert OLDER in installation.refused()
    confirmed = installation.run("confirm-restore", stdin=b"y\n")
    assert (confirmed.status, f"{installation.URI}: may call as messenger" in confirmed.err) == (0, True)
    assert installation.listed() == "None"
    assert installation.run("token", installation.URI).status == 0
    assert installation.refused() == ""
    assert run("events", "verify", cwd=installation.directory).status == 0


def test_restored_copy_is_confirmed_while_the_node_that_was_started_on_it_runs(installation):
    installation.revoke_and_restore()
    with serving(installation.data_dir):
        assert OLDER in installation.listed()
        assert installation.run("confirm-restore", "--yes").status == 0
        deadline = time.monotonic() + PATIENCE_S
        while installation.listed() != "None":
            assert time.monotonic() < deadline
    assert run("events", "verify", cwd=installation.directory).status == 0
