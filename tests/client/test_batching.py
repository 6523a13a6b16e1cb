"""Single checks of many tasks and threads: each gets its own answer, and together they make few calls."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from numcheck.client import AsyncCheckClient, CheckClient, Checked, CheckedNumber
from numcheck.client.batching import BATCH_SIZE_MAX, CALLS_MAX, TaskBatches, ThreadBatches
from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.errors import NodeNotReady, NodeUnreachable, NotANumber
from numcheck.index import Index, PublishedIndex, open_index
from numcheck.serving.publishing import index_directory
from numcheck.status import NumberStatus
from numcheck.v1 import check_pb2
from tests.api.listeners import listening
from tests.serving import small

STATUSES = {small.ACTIVE: NumberStatus.ACTIVE, small.INACTIVE: NumberStatus.INACTIVE, 1: NumberStatus.INVALID}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    data_dir = small.fill(tmp_path_factory.mktemp("small"))
    return open_index(index_directory(data_dir))


@pytest.fixture(params=["native", "plain"])
def address(request: pytest.FixtureRequest, index: Index) -> Iterator[str]:
    """The address of a door that answers from the small index."""
    published = PublishedIndex()
    published.publish(index)
    if request.param == "plain":
        with listening(published) as (one, _):
            yield one.address
    elif LACKING is not None:
        pytest.skip(LACKING)
    else:
        door = NativeDoor(Settings(listen="127.0.0.1:0"), published)
        yield door.address
        door.stop(0)


def right(answer: CheckedNumber, number: int, index: Index) -> bool:
    return answer.status is STATUSES[number] and answer.index_version == index.index_version


def test_each_task_gets_its_own_answer(address: str, index: Index) -> None:
    numbers = list(STATUSES) * 700

    async def ask() -> list[CheckedNumber]:
        async with AsyncCheckClient(address) as client:
            return await asyncio.gather(*map(client.check, numbers))

    answers = asyncio.run(ask())
    assert all(right(answer, number, index) for answer, number in zip(answers, numbers, strict=True))
    assert {answer.operator_id for answer in answers if answer.status is NumberStatus.INVALID} == {0}


def test_each_thread_gets_its_own_answer(address: str, index: Index) -> None:
    numbers = list(STATUSES) * 100
    with CheckClient(address) as client, ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(client.check, numbers))
    assert all(right(answer, number, index) for answer, number in zip(answers, numbers, strict=True))


def test_text_is_read_by_the_client_and_costs_no_call_when_it_is_no_number(address: str) -> None:
    async def ask() -> None:
        async with AsyncCheckClient("127.0.0.1:1") as nobody:
            with pytest.raises(NotANumber):
                await nobody.check("+7916 000 xx xx")
        async with AsyncCheckClient(address) as client:
            assert (await client.check("8 (916) 123-45-67")).status is NumberStatus.ACTIVE
            assert (await client.check_number("8 (916) 123-45-67")).number == small.ACTIVE
            assert await client.list_operators()

    asyncio.run(ask())
    with CheckClient("127.0.0.1:1") as nobody, pytest.raises(NotANumber):
        nobody.check("8916ABCDEFG")
    with CheckClient(address) as client:
        assert client.check("8 (916) 123-45-67").status is NumberStatus.ACTIVE


def test_node_that_is_behind_is_told_from_one_that_is_away(address: str, index: Index) -> None:
    """A check that wants a newer index fails, and so does none that comes after it."""

    async def ask() -> None:
        async with AsyncCheckClient(address) as client:
            with pytest.raises(NodeNotReady) as raised:
                await client.check(small.ACTIVE, min_index_version=index.index_version + 1)
            assert raised.value.node_reason == "INDEX_BEHIND"
            answer = await client.check(small.ACTIVE, min_index_version=index.index_version)
            assert right(answer, small.ACTIVE, index)
        async with AsyncCheckClient("127.0.0.1:1") as nobody:
            answers = await asyncio.gather(nobody.check(1), nobody.check(2), return_exceptions=True)
            assert [type(answer) for answer in answers] == [NodeUnreachable] * 2

    asyncio.run(ask())
    with CheckClient(address) as client, pytest.raises(NodeNotReady):
        client.check(small.ACTIVE, min_index_version=index.index_version + 1)


def test_checks_go_on_when_one_of_two_nodes_is_gone(index: Index) -> None:
    """The nodes are asked in turn; a call that met the one which went away is made again by the other."""
    published = PublishedIndex()
    published.publish(index)
    with listening(published) as (first, _), listening(published) as (second, _):
        ports = [one.address.rpartition(":")[2] for one in (first, second)]
        with CheckClient(f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}") as client:
            for place in range(40):
                if place == 20:
                    first.stop(0)
                assert right(client.check(small.ACTIVE), small.ACTIVE, index)


def test_check_that_met_a_node_which_cannot_answer_yet_is_made_again(index: Index) -> None:
    """By gRPC, from the client's service config; what a messenger sees is an answer that came a little later."""
    asked = []

    def answer(request: check_pb2.CheckNumbersRequest, context: grpc.ServicerContext) -> check_pb2.CheckNumbersResponse:
        asked.append(list(request.numbers))
        if len(asked) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return check_pb2.CheckNumbersResponse(statuses=[4], operator_ids=[7], index_version=9)

    handler = grpc.unary_unary_rpc_method_handler(
        answer, check_pb2.CheckNumbersRequest.FromString, check_pb2.CheckNumbersResponse.SerializeToString
    )
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("numcheck.v1.CheckService", {"CheckNumbers": handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with CheckClient(f"127.0.0.1:{port}") as client:
            assert client.check(small.ACTIVE) == CheckedNumber(NumberStatus.ACTIVE, 7, 9)
        server.stop(0).wait()
    assert asked == [[small.ACTIVE]] * 3


# --- the batches themselves, with a node that answers when it is told to


def answer_to(numbers: Sequence[int]) -> Checked:
    return Checked([1 + number % 6 for number in numbers], list(numbers), 5)


class Node:
    """Keeps each call until `let_go`."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], int]] = []
        self._answered: list[asyncio.Future[Checked]] = []

    async def ask(self, numbers: Sequence[int], min_index_version: int) -> Checked:
        self.calls.append((list(numbers), min_index_version))
        self._answered.append(asyncio.get_running_loop().create_future())
        return await self._answered[-1]

    def let_go(self, place: int, error: Exception | None = None) -> None:
        if error is None:
            self._answered[place].set_result(answer_to(self.calls[place][0]))
        else:
            self._answered[place].set_exception(error)


async def rest() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_check_alone_is_sent_at_once_and_those_behind_it_together() -> None:
    async def ask() -> None:
        node = Node()
        batches = TaskBatches(node.ask)
        first = asyncio.ensure_future(batches.check(0, 0))
        await rest()
        assert node.calls == [([0], 0)]
        others = [batches.check(number, number) for number in range(1, 4)]
        await rest()
        assert node.calls[1:] == [([1, 2, 3], 3)]
        node.let_go(1)
        assert [answer.operator_id for answer in await asyncio.gather(*others)] == [1, 2, 3]
        assert not first.done()
        node.let_go(0)
        assert (await first).operator_id == 0

    asyncio.run(ask())


def test_no_more_calls_are_under_way_than_may_be_and_no_batch_is_larger() -> None:
    async def ask() -> None:
        node = Node()
        batches = TaskBatches(node.ask)
        answers = []
        for number in range(CALLS_MAX + 1):  # the first is alone
            answers.append(asyncio.ensure_future(batches.check(number, 0)))
            await rest()
        count = BATCH_SIZE_MAX + 10
        answers += [asyncio.ensure_future(batches.check(number, 0)) for number in range(count)]
        await rest()
        assert [len(numbers) for numbers, _ in node.calls] == [1] * (CALLS_MAX + 1)
        node.let_go(1)
        node.let_go(2)
        await rest()
        assert [len(numbers) for numbers, _ in node.calls[CALLS_MAX + 1 :]] == [BATCH_SIZE_MAX, 10]
        for place in (0, *range(3, CALLS_MAX + 3)):
            node.let_go(place)
        found = await asyncio.gather(*answers)
        assert [answer.operator_id for answer in found] == [*range(CALLS_MAX + 1), *range(count)]

    asyncio.run(ask())


def test_batch_that_fails_fails_its_own_checks_alone_and_a_check_that_is_given_up_nobodys() -> None:
    async def ask() -> None:
        node = Node()
        batches = TaskBatches(node.ask)
        lone, *failing = [asyncio.ensure_future(batches.check(number, 0)) for number in (0, 1, 2)]
        await rest()
        later = [asyncio.ensure_future(batches.check(number, 0)) for number in (3, 4)]
        await rest()
        failing[0].cancel()
        later[1].cancel()
        node.let_go(1, NodeUnreachable("gone"))
        node.let_go(0)
        node.let_go(2)
        await batches.drain()
        await lone
        assert failing[0].cancelled()
        assert isinstance(failing[1].exception(), NodeUnreachable)
        assert (lone.result().operator_id, later[0].result().operator_id) == (0, 3)

    asyncio.run(ask())


def test_answer_about_another_count_of_numbers_is_nobodys() -> None:
    """A node that answers too little must not shift the answers of a batch."""

    async def ask(_numbers: Sequence[int], _min_index_version: int) -> Checked:
        return Checked([4], [7], 5)

    async def check_three() -> list[CheckedNumber | BaseException]:
        batches = TaskBatches(ask)
        three = (batches.check(number, 0) for number in range(3))  # the first is alone, and answered
        return await asyncio.gather(*three, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(check_three())] == [CheckedNumber, ValueError, ValueError]
    threads = ThreadBatches(lambda _numbers, _min_index_version: Checked([], [], 5))
    with pytest.raises(ValueError, match="another count"):
        threads.check(1, 0)


def test_threads_that_ask_while_calls_are_under_way_share_the_next() -> None:
    going_on, under_way = threading.Event(), threading.Semaphore(0)
    calls = []

    def ask(numbers: Sequence[int], min_index_version: int) -> Checked:
        calls.append((list(numbers), min_index_version))
        under_way.release()
        going_on.wait(60)
        return answer_to(numbers)

    batches = ThreadBatches(ask)
    with ThreadPoolExecutor(CALLS_MAX + 8) as threads:
        answers = []
        for number in range(CALLS_MAX):
            answers.append(threads.submit(batches.check, number, 0))
            under_way.acquire()
        answers += [threads.submit(batches.check, 100 + number, number) for number in range(8)]
        while len(batches._open.numbers) < 8:
            threading.Event().wait(0.001)
        going_on.set()
        assert [one.result().operator_id for one in answers] == [*range(CALLS_MAX), *range(100, 108)]
    assert (sorted(calls[-1][0]), calls[-1][1], len(calls)) == ([*range(100, 108)], 7, CALLS_MAX + 1)
