"""R8 at the public boundary: guesses at once, over one node and over two that share a database."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from sqlalchemy import create_engine, text

from numcheck.store.store import FILE_NAME
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal_of
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.command import Node, serving
from tests.store.engines import Server

SERVICE, GUESSES = "messenger", 100


@pytest.fixture(params=["one node", "two nodes"])
def nodes(request: pytest.FixtureRequest, data_dir: Path, tmp_path: Path) -> Iterator[tuple[list[Node], str]]:
    """Nodes, and where their database is: SQLite of one, PostgreSQL of two that have the same keys."""
    env = {"NUMCHECK_CODE_DELIVERY": "console", "NUMCHECK_KEYS_FILE": str(tmp_path / "keys.json")}
    directories, database = [data_dir], f"sqlite:///{data_dir / FILE_NAME}"
    if request.param == "two nodes":
        server: Server = request.getfixturevalue("server")
        url = server.new_database()
        env["NUMCHECK_DATABASE_URL"] = url
        directories = [small.fill(tmp_path / "node-1", url), tmp_path / "node-2"]
        database = url.replace("postgresql:", "postgresql+psycopg:", 1)
    with ExitStack() as running:
        started = [running.enter_context(serving(directories[0], env=env))]
        for directory in directories[1:]:
            directory.mkdir(mode=0o700)
            shutil.copy2(directories[0] / "token.key", directory)
            started.append(running.enter_context(serving(directory, env=env)))
        yield started, database


def test_of_100_guesses_at_once_three_are_compared(nodes: tuple[list[Node], str]) -> None:
    """R8: whichever node they come to; the right code comes too late."""
    running, database = nodes
    with ExitStack() as channels:
        stubs = [
            RegistrationServiceStub(channels.enter_context(grpc.insecure_channel(node.address, [("own", place)])))
            for node in running
            for place in range(4)  # 32 calls a connection are the limit
        ]
        made = stubs[0].Register(register_request(SERVICE, small.UNKNOWN))
        line = re.search(r": (\d{6})$", running[0].process.line_with("code for the number"))
        assert line is not None
        reasons: list[str | None] = []
        barrier = threading.Barrier(GUESSES)

        def guess(place: int) -> None:
            code = f"{(int(line[1]) + 1 + place) % 10**6:06}"
            request = pb.CompleteVerificationRequest(
                service=SERVICE, verification_id=made.verification.verification_id, code=code
            )
            barrier.wait()
            try:
                stubs[place % len(stubs)].CompleteVerification(request, timeout=60)
            except grpc.RpcError as error:
                reasons.append(refusal_of(error).reason)

        threads = [threading.Thread(target=guess, args=(place,)) for place in range(GUESSES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # What the listener had no place for was refused before anything was looked at.
        assert len(reasons) == GUESSES
        assert set(reasons) <= {"PROOF_NOT_ACCEPTED", None}
        assert reasons.count("PROOF_NOT_ACCEPTED") >= 3
        right = pb.CompleteVerificationRequest(
            service=SERVICE, verification_id=made.verification.verification_id, code=line[1]
        )
        for stub in (stubs[0], stubs[-1]):
            with pytest.raises(grpc.RpcError) as refused:
                stub.CompleteVerification(right)
            assert refusal_of(refused.value).reason == "PROOF_NOT_ACCEPTED"
    engine = create_engine(database)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT tries FROM verifications")).all() == [(3,)]
        assert connection.execute(text("SELECT count(*) FROM code_tries WHERE wrong")).all() == [(3,)]
    engine.dispose()
