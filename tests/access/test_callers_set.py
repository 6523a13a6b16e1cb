"""A revocation that is undone past numcheck: at both listeners, on each engine, and by the commands."""

import json
import shutil
import time

import grpc
import pytest
from sqlalchemy import delete, insert, select, true

from numcheck.store.schema import agreements, callers_head, identities
from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.access.node import FIRST, IDENTITIES, NOW, SecureNode, secure_node
from tests.rpc.calls import DEADLINE_S, refusal
from tests.serving.command import PATIENCE_S, run, serving
from tests.serving.small import fill

TABLES = (identities, agreements, callers_head)
LISTENERS = ("api", "native")


def call(node: SecureNode, name: str, listener: str, token: str | None = None) -> check_pb2.CheckNumbersResponse:
    with node.channel(name, listener=listener, token=token) as channel:
        request = check_pb2.CheckNumbersRequest(numbers=[FIRST])
        return check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(request, timeout=DEADLINE_S)


def is_known(node: SecureNode, name: str, listener: str) -> bool:
    """Whether a caller gets in on a connection of its own."""
    try:
        return bool(call(node, name, listener).statuses)
    except grpc.RpcError as error:
        assert refusal(lambda: call(node, name, listener)).code == grpc.StatusCode.UNAUTHENTICATED, error
        return False


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_revoked_caller_whose_rows_are_put_back_stays_out_until_an_administrator_confirms_them(
    tmp_path, request, engine
):
    """One row, and all of the tables with their revision; everybody else is served meanwhile."""
    url = request.getfixturevalue("server").new_database() if engine == "postgresql" else None
    with secure_node(tmp_path, url=url) as node:
        own, database, directory = node.gate.identities, node.store._database, node.gate.directory
        with database.reading() as connection:
            copy = {table: [dict(one._mapping) for one in connection.execute(select(table))] for table in TABLES}
        own.revoke(IDENTITIES["messenger"].uri, now=NOW)
        directory.refresh()
        (saved,) = (one for one in copy[identities] if one["uri"] == IDENTITIES["messenger"].uri)
        one_row = {identities: (identities.c.uri == saved["uri"], [saved])}
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
            for listener in LISTENERS:
                assert not is_known(node, "messenger", listener)
                assert is_known(node, "administrator", listener)
        own.confirm(own.callers())
        directory.refresh()
        assert not directory.refused
        for listener in LISTENERS:
            assert is_known(node, "messenger", listener)


def test_commands_tell_of_a_restored_copy_and_confirm_it_while_a_node_runs_or_none_does(tmp_path):
    """The first while none does; the second while a node that was started on the copy runs."""
    data_dir, uri = tmp_path / "var", "numcheck://service/chat"
    fill(data_dir)
    added = run("identities", "add", uri, "--role", "messenger", "--service", "chat", cwd=tmp_path)
    assert added.status == 0, added.err

    def listed() -> str:
        found = run("identities", "list", "--json", cwd=tmp_path)
        return str(json.loads(found.out)["identities"][0]["revoked_at"]) if found.status == 0 else found.err

    def revoke_and_restore() -> None:
        shutil.copyfile(data_dir / "numcheck.db", tmp_path / "copy.db")
        assert run("identities", "revoke", uri, cwd=tmp_path).status == 0
        assert "2" in listed()
        shutil.copyfile(tmp_path / "copy.db", data_dir / "numcheck.db")
        for ending in ("-wal", "-shm"):
            (data_dir / f"numcheck.db{ending}").unlink(missing_ok=True)

    def status() -> dict:
        callers = json.loads(run("status", "--json", cwd=tmp_path).out)["callers"]
        assert isinstance(callers, dict)
        return callers

    assert status()["refused"] is None
    nothing = run("identities", "confirm-restore", "--yes", cwd=tmp_path)
    assert (nothing.status, "nothing to confirm" in nothing.err) == (1, True)

    revoke_and_restore()
    assert "this node has seen revision" in status()["refused"]
    assert "REFUSED" in run("status", cwd=tmp_path).out
    assert "this node has seen revision" in listed()
    not_sure = run("identities", "confirm-restore", cwd=tmp_path, stdin=b"n\n")
    assert (not_sure.status, status()["refused"] is None) == (1, False)
    confirmed = run("identities", "confirm-restore", cwd=tmp_path, stdin=b"y\n")
    assert (confirmed.status, uri in confirmed.err) == (0, True), confirmed
    assert listed() == "None"
    assert run("identities", "token", uri, cwd=tmp_path).status == 0

    revoke_and_restore()
    with serving(data_dir):
        assert "this node has seen revision" in listed()
        assert run("identities", "confirm-restore", "--yes", cwd=tmp_path).status == 0
        deadline = time.monotonic() + PATIENCE_S
        while listed() != "None":
            assert time.monotonic() < deadline
    assert run("events", "verify", cwd=tmp_path).status == 0
