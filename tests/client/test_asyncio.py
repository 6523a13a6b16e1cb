"""The clients of asyncio: the methods of those of threads, and the same answers and refusals."""

import asyncio
import inspect
import re
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent import futures
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.client import AsyncCheckClient, AsyncRegistrationClient, CheckClient, RegistrationClient
from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.errors import CheckRefused, NodeUnreachable, RegistrationRefused
from numcheck.index import PublishedIndex
from numcheck.v1 import check_pb2, check_pb2_grpc
from numcheck.v1 import registration_pb2 as pb
from tests.api.listeners import listening
from tests.client.test_registration_client import HOME, request
from tests.serving import small
from tests.serving.command import Node, serving

ACTIVE, INACTIVE = 4, 3
SETTINGS = {"NUMCHECK_CODE_DELIVERY": "console", "NUMCHECK_EVIDENCE_AGE_MAX_S": "0"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with serving(small.fill(tmp_path_factory.mktemp("asyncio") / "var"), env=SETTINGS) as one:
        yield one


def methods_of(client: type) -> dict[str, list[str]]:
    """Each method that a program may call, with the names of its arguments."""
    functions = inspect.getmembers(client, inspect.isfunction)
    public = [(name, one) for name, one in functions if not name.startswith("_") or name == "__init__"]
    return {name: list(inspect.signature(one).parameters) for name, one in public}


@pytest.mark.parametrize(
    ("threads", "tasks"), [(CheckClient, AsyncCheckClient), (RegistrationClient, AsyncRegistrationClient)]
)
def test_both_clients_have_the_same_methods(threads: type, tasks: type) -> None:
    assert methods_of(tasks) == methods_of(threads)


# --- checks


def test_checks_of_every_kind_are_answered_and_refused_as_those_of_threads_are(node: Node) -> None:
    numbers = [small.ACTIVE, small.INACTIVE]
    batches = [numbers * place for place in range(1, 30)]

    async def some() -> AsyncIterator[Sequence[int]]:
        for batch in batches:
            yield batch

    async def ask() -> dict[str, Any]:
        async with AsyncCheckClient(node.address) as client:
            found = {
                "operators": await client.list_operators(),
                "installation": await client.installation_id(),
                "recycled": await client.check_recycled(numbers, [0]),
                "batches": [list(one.statuses) async for one in client.check_batches(batches)],
                "none": [one async for one in client.check_batches([])],
            }
            assert [list(one.statuses) async for one in client.check_batches(some())] == found["batches"]
            for refused in (client.check_number("no number"), anext(client.check_batches([[0] * 65_537]))):
                with pytest.raises(CheckRefused) as error:
                    await refused
                found[error.value.refusal] = str(error.value)
        return found

    found = asyncio.run(ask())
    with CheckClient(node.address) as client:
        assert found["operators"] == client.list_operators()
        assert found["installation"] == client.installation_id()
        assert found["recycled"] == client.check_recycled(numbers, [0])
    assert found["batches"] == [[ACTIVE, INACTIVE] * place for place in range(1, 30)]
    assert found["none"] == []
    assert {"NOT_A_NUMBER", "TOO_MANY_NUMBERS"} < found.keys()


class Ending(check_pb2_grpc.CheckServiceServicer):
    """A node that ends each stream after so many answers, as one does whose connection is too old."""

    def __init__(self, answers_per_stream: int) -> None:
        self._answers_per_stream = answers_per_stream
        self.stream_count = 0

    def StreamCheckNumbers(  # noqa: N802
        self, requests: Iterator[check_pb2.CheckNumbersRequest], context: grpc.ServicerContext
    ) -> Iterator[check_pb2.CheckNumbersResponse]:
        self.stream_count += 1
        answered_count = 0
        for asked in islice(requests, self._answers_per_stream):
            numbers = asked.numbers
            yield check_pb2.CheckNumbersResponse(statuses=[4] * len(numbers), operator_ids=numbers, index_version=1)
            answered_count += 1
        if answered_count == self._answers_per_stream:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@pytest.mark.parametrize(("answers_per_stream", "goes_on"), [(3, True), (0, False)])
def test_batches_go_on_where_they_were_when_their_stream_ends(answers_per_stream: int, *, goes_on: bool) -> None:
    """Each is answered once and in its order; a stream that answers nothing is not begun again."""
    batches = [[place] * (place % 3) + [place] for place in range(10)]

    async def ask(address: str) -> list[list[int]]:
        async with AsyncCheckClient(address) as client:
            return [list(one.operator_ids) async for one in client.check_batches(batches)]

    node = Ending(answers_per_stream)
    with futures.ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        check_pb2_grpc.add_CheckServiceServicer_to_server(node, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        if goes_on:
            assert asyncio.run(ask(f"127.0.0.1:{port}")) == batches
            assert node.stream_count >= 4
        else:
            with pytest.raises(NodeUnreachable, match="has ended"):
                asyncio.run(ask(f"127.0.0.1:{port}"))
            assert node.stream_count == 1
        server.stop(0).wait()


@pytest.mark.parametrize("door", ["native", "plain"])
def test_node_is_healthy_while_it_has_an_index(node: Node, door: str) -> None:
    """Not before, nor once it is gone."""
    if door == "native" and LACKING is not None:
        pytest.skip(LACKING)
    published = PublishedIndex()

    async def ask(address: str) -> bool:
        async with AsyncCheckClient(address) as client:
            return await client.healthy()

    with listening(published) as (plain, _):
        native = NativeDoor(Settings(listen="127.0.0.1:0"), published) if door == "native" else None
        one = native or plain
        with CheckClient(one.address) as client:
            assert (client.healthy(), asyncio.run(ask(one.address))) == (False, False)
            one.set_serving(serving=True)
            assert (client.healthy(), asyncio.run(ask(one.address))) == (True, True)
        if native is not None:
            native.stop(0)
    with CheckClient(one.address) as client:
        assert (client.healthy(), asyncio.run(ask(one.address))) == (False, False)


def test_health_that_is_refused_is_no_absence() -> None:
    """Somebody is there, who lets this client in for nothing, or is no node."""
    with futures.ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()

        async def ask() -> None:
            async with AsyncCheckClient(f"127.0.0.1:{port}") as client:
                with pytest.raises(NodeUnreachable, match="UNIMPLEMENTED"):
                    await client.healthy()

        asyncio.run(ask())
        with CheckClient(f"127.0.0.1:{port}") as client, pytest.raises(NodeUnreachable, match="UNIMPLEMENTED"):
            client.healthy()
        server.stop(0).wait()


# --- registrations


def code_from(node: Node) -> str:
    found = re.search(r": (\d{6})$", node.process.line_with("code for the number"))
    assert found is not None
    return found[1]


def test_user_is_registered_verified_refreshed_changed_and_erased(node: Node) -> None:
    async def live() -> None:
        async with AsyncRegistrationClient(node.address, "asyncio-life") as client:
            made = await client.register(asked := request())
            assert asked.service == ""
            code = await asyncio.to_thread(code_from, node)
            with pytest.raises(RegistrationRefused) as refused:
                await client.complete_verification(made.verification.verification_id, f"{(int(code) + 1) % 10**6:06}")
            assert refused.value.refusal == "PROOF_NOT_ACCEPTED"
            done = await client.complete_verification(made.verification.verification_id, code)
            assert done.state == pb.REGISTRATION_STATE_VERIFIED
            assert await client.get("u1") == done
            assert [one async for one in client.list(states=["VERIFIED"])] == [done]
            assert [one async for one in client.list(states=["REVOKED"])] == []
            assert {one.state: one.registration_count for one in (await client.summary()).states}[done.state] == 1
            refresh = pb.RefreshRegistrationRequest(user_id="u1", network_address=HOME, registration_data={"name": "Б"})
            assert dict((await client.refresh(refresh)).registration.registration_data) == {"name": "Б"}
            start = pb.StartVerificationRequest(user_id="u1", method=pb.VERIFICATION_METHOD_CODE)
            with pytest.raises(RegistrationRefused) as refused:
                await client.start_verification(start)
            assert refused.value.refusal == "TOO_MANY_CODES"
            assert (refused.value.retry_delay_s or 0) > 0
            change = pb.ChangeNumberRequest(user_id="u1", number="+79160000000", network_address=HOME)
            assert (await client.change_number(change)).registration.number == small.ACTIVE  # until it is verified
            await client.delete("u1")
            with pytest.raises(RegistrationRefused, match="UNKNOWN_REGISTRATION"):
                await client.get("u1")

    asyncio.run(live())


def test_users_are_imported_listed_reverified_and_watched(node: Node) -> None:
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) - timedelta(days=30))
    rows = [
        pb.ImportedRegistration(
            user_id=f"u{place}",
            number=f"+{small.ACTIVE}",
            network_address=HOME,
            registration_data={"name": "Иванов"},
            registered_at=moment,
            possession_proved_at=moment,
        )
        for place in range(3)
    ]
    threads_seen = set()

    def rows_from(place: int) -> Iterator[pb.ImportedRegistration]:
        threads_seen.add(threading.get_ident())
        yield from rows[place:]

    async def bring() -> None:
        async with AsyncRegistrationClient(node.address, "asyncio-bulk") as client:
            answers = [one async for one in client.import_registrations("i1", rows_from)]
            assert (answers[-1].row_count, answers[-1].made_count) == (3, 3)
            assert {one.user_id async for one in client.list()} == {"u0", "u1", "u2"}
            assert sum([one.checked_count async for one in client.reverify()]) > 0
            watching = client.watch("0")
            first, second = await anext(watching), await anext(watching)
            await watching.aclose()
            assert not first.HasField("event")
            assert second.HasField("event")
            with pytest.raises(RegistrationRefused, match="BAD_REGISTRATION"):
                await anext(client.watch("no token"))

    asyncio.run(bring())
    assert threading.get_ident() not in threads_seen


def test_absence_is_told_by_name() -> None:
    async def ask() -> None:
        async with AsyncRegistrationClient("127.0.0.1:1", "x") as nobody:
            with pytest.raises(NodeUnreachable, match="no node answers"):
                await nobody.get("u1")
            with pytest.raises(NodeUnreachable, match="no node answers"):
                await anext(nobody.watch())
        async with AsyncCheckClient("127.0.0.1:1") as nobody:
            with pytest.raises(NodeUnreachable, match="no node answers"):
                await anext(nobody.check_batches([[1]]))
            assert not await nobody.healthy()

    asyncio.run(ask())
