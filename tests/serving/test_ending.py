"""A process that served ends, whatever its threads do."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import make_url

from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.cluster.wire import Wire
from tests.serving.command import WITHOUT_EDGE, serving
from tests.serving.small import fill
from tests.store.engines import Server

PROGRAM = """
import threading
from concurrent.futures import ThreadPoolExecutor
from numcheck.serving.ending import leave_threads_behind

begun, pool = threading.Event(), ThreadPoolExecutor(2, thread_name_prefix="api")
{work}
pool.shutdown(wait=False)
print("stopped")
leave_threads_behind()
print("by itself")
"""
STUCK = "pool.submit(lambda: (begun.set(), threading.Event().wait())); begun.wait()"


def ended(work: str) -> tuple[int, list[str], str]:
    program = [sys.executable, "-c", PROGRAM.format(work=work)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_thread_that_does_not_end_is_left_behind_and_named():
    code, (stopped, line), _ = ended(STUCK)
    assert (code, stopped) == (0, "stopped")
    assert "left behind" in line
    assert "api_0" in line


def test_a_process_without_such_threads_ends_by_itself():
    assert ended("pool.submit(int).result(); pool.shutdown()") == (0, ["stopped", "by itself"], "")


IMPATIENT = "import numcheck.deadline; numcheck.deadline.LAST_WAIT_S = 0.3; "
SERVE = "from numcheck.cli import main; main()"


@pytest.mark.parametrize("program", [SERVE, WITHOUT_EDGE], ids=["native", "plain"])
def test_a_node_whose_database_stands_still_ends(server: Server, tmp_path: Path, program: str) -> None:
    """With calls under way and all work in the background waiting for an answer: what waits is left behind, together,
    and named; a request that is still half sent holds nothing either."""
    url = server.new_database()
    data_dir = fill(tmp_path / "var", url)
    with Wire(server.socket) as wire:
        env = {
            "NUMCHECK_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{wire.port}/{make_url(url).database}",
            "NUMCHECK_DRAIN_TIMEOUT_S": "1",
            "NUMCHECK_PAGE_LISTEN": "127.0.0.1:0",
        }
        command = (sys.executable, "-c", IMPATIENT + program, "serve")
        with serving(data_dir, command=command, env=env) as node, grpc.insecure_channel(node.address) as channel:
            wire.cut()
            stub, gone = RegistrationServiceStub(channel), threading.Event()
            call = stub.GetRegistration.future(pb.GetRegistrationRequest(service="chat", user_id="u1"), timeout=60)
            half = stub.ImportRegistrations(nothing_before(gone))
            node.process.signal(signal.SIGTERM)
            assert node.process.wait() == 0
            assert "Sharing.stop" in node.process.line_with("left behind")
            assert {one.code() for one in (call, half)} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
            gone.set()


def nothing_before(gone: threading.Event) -> Iterator[pb.ImportRegistrationsRequest]:
    """No request until the node is gone."""
    gone.wait()
    yield pb.ImportRegistrationsRequest()
