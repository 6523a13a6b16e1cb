"""What a node does when its store turns out to be an older one: it notices, says so, and answers nothing that is lost.

Real nodes over a real PostgreSQL that is stopped, copied and put back, and over SQLite's files.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2, numbering_pb2, numbering_pb2_grpc
from tests.api.calls import DEADLINE_S, refusal, refusal_of
from tests.serving import command
from tests.serving.command import run
from tests.serving.small import MTS
from tests.store.engines import Server
from tests.store.registry import row, written

ACTIVE, INACTIVE = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE
FIRST = 79_160_000_000
FAR = FIRST + 5_000_000  # in other blocks: a change beside a lost one would mend it by chance
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Node(NamedTuple):
    """A running node, and what a client calls it by."""

    process: command.Process
    check: check_pb2_grpc.CheckServiceStub
    numbering: numbering_pb2_grpc.NumberingServiceStub
    health: health_pb2_grpc.HealthStub

    def statuses(self, *numbers: int, wanted: int = 0) -> list[int]:
        request = check_pb2.CheckNumbersRequest(numbers=numbers, min_index_version=wanted)
        return list(self.check.CheckNumbers(request, timeout=DEADLINE_S).statuses)

    def watch(self) -> Iterator[numbering_pb2.WatchIndexResponse]:
        return self.numbering.WatchIndex(numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S)

    def push(self, *add: int, remove: tuple[int, ...] = ()) -> int:
        """Push a delta of operator 1, again while that may help; return the index version, once it is there."""
        pushed = None
        while pushed is None:
            pushed = self._try_push(add, remove)
        while not self._is_visible(pushed):
            pass
        return pushed

    def _is_visible(self, version: int) -> bool:
        """Wait until an index of that version is told; False if the node has withdrawn its index before."""
        try:
            next(one for one in self.watch() if one.index_version >= version)
        except grpc.RpcError as error:
            if refusal_of(error).code is not UNAVAILABLE:
                raise
            return False
        return True

    def _try_push(self, add: tuple[int, ...], remove: tuple[int, ...]) -> int | None:
        try:
            return self.push_once(add, remove)
        except grpc.RpcError as error:
            if refusal_of(error).code is not UNAVAILABLE:
                raise
        return None

    def await_not_serving(self) -> None:
        request = health_pb2.HealthCheckRequest()
        watch = self.health.Watch(request, timeout=DEADLINE_S)
        next(one for one in watch if one.status == health_pb2.HealthCheckResponse.NOT_SERVING)

    def push_once(self, add: tuple[int, ...], remove: tuple[int, ...]) -> int:
        state = self.numbering.GetOperatorState(
            numbering_pb2.GetOperatorStateRequest(operator_id=1, without_digest=True), timeout=DEADLINE_S
        )
        header = numbering_pb2.PushHeader(
            operator_id=1,
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=state.version,
            data_time=Timestamp(seconds=1_750_000_000),
        )
        request = numbering_pb2.PushActiveNumbersRequest(header=header, add=add, remove=remove)
        return self.numbering.PushActiveNumbers(iter([request]), timeout=DEADLINE_S).index_version


@contextmanager
def serving(data_dir: Path, url: str | None) -> Iterator[Node]:
    env = {} if url is None else {"NUMCHECK_DATABASE_URL": url}
    with command.serving(data_dir, env=env) as node, grpc.insecure_channel(node.address) as channel:
        yield Node(
            node.process,
            check_pb2_grpc.CheckServiceStub(channel),
            numbering_pb2_grpc.NumberingServiceStub(channel),
            health_pb2_grpc.HealthStub(channel),
        )


def import_plan(directory: Path, data_dir: Path, url: str | None = None) -> None:
    file = written(directory, "plan.csv", row(916, 0, 9_999_999, "МТС", MTS))
    env = {} if url is None else {"NUMCHECK_DATABASE_URL": url}
    assert run("plan", "import", file, "--data-dir", data_dir, env=env).status == 0


class Database(NamedTuple):
    """A PostgreSQL of one test, whose files are copied and put back."""

    server: Server
    files: Path
    url: str

    def copy(self) -> Path:
        """A standby, as of now."""
        self.server.stop()
        copy = self.files.with_name("standby")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.files, copy)
        self.server.start()
        return copy

    def fail_over(self, standby: Path) -> None:
        """Let the standby answer where the server did."""
        owner = self.files.stat()
        self.server.stop()
        shutil.rmtree(self.files)
        shutil.copytree(standby, self.files)
        for path in (self.files, *self.files.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        self.files.chmod(0o700)
        self.server.start()


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="numcheck-history-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        server = Server(Path(directory) / "data")
        yield Database(server, Path(directory) / "data", server.new_database())
        server.close()


def status_of(data_dir: Path, url: str | None) -> dict:
    env = {} if url is None else {"NUMCHECK_DATABASE_URL": url}
    return json.loads(run("status", "--json", "--data-dir", data_dir, env=env).out)


def test_node_answers_of_the_store_that_is_left_after_a_failover(database, tmp_path):
    """The standby lacks the last acknowledged push, and later pushes come to its revision: the running node, and one
    that was started anew, answer what the store holds; the lost revision is told, and is nobody's again."""
    data_dir = tmp_path / "var"
    import_plan(tmp_path, data_dir, database.url)
    with serving(data_dir, database.url) as node:
        node.push(*range(FIRST, FIRST + 100))
        standby = database.copy()
        lost = node.push(FIRST + 1_001, remove=(FIRST + 1,))
        assert node.statuses(FIRST + 1, FIRST + 1_001) == [INACTIVE, ACTIVE]
        database.fail_over(standby)
        version = node.push(FAR, remove=(FIRST + 3_000_000,))
        assert version > lost
        assert node.statuses(FIRST + 1, FIRST + 1_001, FAR, wanted=version) == [ACTIVE, INACTIVE, ACTIVE]
        told = refusal(lambda: node.statuses(FIRST, wanted=lost))
        assert (told.code, told.reason) == (UNAVAILABLE, "INDEX_BEHIND")
    (loss,) = status_of(data_dir, database.url)["lost_history"]
    assert (loss["first_revision"], loss["last_revision"]) == (lost, lost)
    assert loss["operators"] == [{"operator_id": 1, "version_before": 2, "version_found": 1}]
    standby_again = database.copy()
    with serving(data_dir, database.url) as node:
        lost = node.push(FIRST + 1_002)
    database.fail_over(standby_again)
    with serving(data_dir, database.url) as node:
        assert node.process.line_with("the index was built anew: the store has lost revisions")
        assert node.statuses(FIRST + 1, FIRST + 1_002, FAR) == [ACTIVE, INACTIVE, ACTIVE]
        assert node.push(FIRST + 1_003) > lost
    assert len(status_of(data_dir, database.url)["lost_history"]) == 2


def test_restored_copy_is_noticed_at_start_and_nothing_of_the_old_index_is_answered(tmp_path):
    data_dir, copy = tmp_path / "var", tmp_path / "copy"
    import_plan(tmp_path, data_dir)
    with serving(data_dir, None) as node:
        node.push(FIRST)
    shutil.copytree(data_dir, copy)
    with serving(data_dir, None) as node:
        lost = node.push(FIRST + 1)
    shutil.copy(copy / "numcheck.db", data_dir / "numcheck.db")  # and the index stays
    told = run("check", "--local", str(FIRST + 1), "--data-dir", data_dir)
    assert told.status == 1
    assert "of a history that the store has lost" in told.err
    with serving(data_dir, None) as node:
        assert node.process.line_with("the store has lost revisions up to")
        assert node.statuses(FIRST, FIRST + 1) == [ACTIVE, INACTIVE]
        assert node.push(FIRST + 2) > lost


def test_plan_that_is_imported_into_a_restored_copy_uses_no_lost_revision(tmp_path):
    data_dir, copy = tmp_path / "var", tmp_path / "copy"
    import_plan(tmp_path, data_dir)
    shutil.copytree(data_dir, copy)
    with serving(data_dir, None) as node:
        lost = node.push(FIRST)
    shutil.copy(copy / "numcheck.db", data_dir / "numcheck.db")
    file = written(tmp_path, "more.csv", row(916, 0, 9_999_999, "МТС", MTS), row(917, 0, 9, "МТС", MTS))
    assert run("plan", "import", file, "--data-dir", data_dir).status == 0
    (loss,) = status_of(data_dir, None)["lost_history"]
    assert loss["last_revision"] == lost < status_of(data_dir, None)["revision"]


@pytest.mark.parametrize("put", ["in its place", "over it"])
def test_node_answers_nothing_once_its_file_was_replaced(tmp_path, put):
    """A copy is restored while the node runs, by a rename or into the very file: the node says what to do, answers
    nothing, takes nothing, and does not touch what lies there when it stops. Started anew, it serves the copy."""
    data_dir, copy = tmp_path / "var", tmp_path / "copy"
    import_plan(tmp_path, data_dir)
    with serving(data_dir, None) as node:
        node.push(FIRST)
    shutil.copytree(data_dir, copy)
    with serving(data_dir, None) as node:  # so that the next one's log begins behind what the copy has
        node.push(FIRST + 1)
    with serving(data_dir, None) as node:
        node.push(FIRST + 1)
        shutil.copy(copy / "numcheck.db", data_dir / "new")
        if put == "in its place":
            (data_dir / "new").replace(data_dir / "numcheck.db")
        else:
            (data_dir / "numcheck.db").write_bytes((copy / "numcheck.db").read_bytes())
        node.await_not_serving()
        told = refusal(lambda: node.statuses(FIRST))
        assert (told.code, told.reason) == (UNAVAILABLE, "INDEX_NOT_READY")
        told = refusal(lambda: node.push_once((FIRST + 2,), ()))
        assert told.reason == "HISTORY_LOST"
        assert "stop the node" in told.message
    if put == "over it":  # its log is that of the file before: refused, with what to do
        assert "do not belong together" in run("status", "--data-dir", data_dir).err
    assert (data_dir / "numcheck.db").read_bytes() == (copy / "numcheck.db").read_bytes()
    for beside in ("-wal", "-shm"):
        (data_dir / f"numcheck.db{beside}").unlink(missing_ok=True)
    with serving(data_dir, None) as node:
        assert node.statuses(FIRST, FIRST + 1) == [ACTIVE, INACTIVE]
