"""Answers that a client keeps: none outlives its time, or the first sight of a newer index."""

import asyncio
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.client import AsyncCheckClient, CachePolicy, CheckClient, Checked
from numcheck.client.cache import AnswerCache
from numcheck.v1 import check_pb2, check_pb2_grpc

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("keep"), st.lists(st.integers(0, 5), max_size=4), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.integers(0, 2), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_kept_is_the_last_answer_of_the_newest_index_and_young(steps: list[tuple]) -> None:
    """Beside an oracle that remembers every answer, and searches them all."""
    now, answers = 0, []  # moment, number, version, operator id
    cache = AnswerCache(CachePolicy(size_max=3, age_s=4), lambda: now)
    for act, what, version in steps:
        if act == "wait":
            now += what
        elif act == "keep":
            cache.keep(what, Checked([4] * len(what), [len(answers)] * len(what), version), now)
            answers += [(now, number, version, len(answers)) for number in what]
        elif (kept := cache.try_get(what, version)) is not None:
            recent = [one for one in answers if now - one[0] <= 4]
            assert kept.index_version == max(one[2] for one in recent)
            assert kept.index_version >= version
            about = [one for one in recent if one[1] == what and one[2] == kept.index_version]
            assert kept.operator_id in {one[3] for one in about}


def test_answer_is_kept_until_it_is_too_old_or_there_are_too_many() -> None:
    now = 100.0
    cache = AnswerCache(CachePolicy(size_max=2, age_s=5), lambda: now)
    cache.keep([1, 2], Checked([4, 3], [7, 8], 9), now)
    assert cache.try_get(1, 9) == (4, 7, 9)
    assert cache.try_get(1, 10) is None
    cache.keep([1, 3], Checked([4, 4], [7, 7], 9), now)
    assert [cache.try_get(number, 0) is None for number in (1, 2, 3)] == [False, True, False]
    now += 5
    assert cache.try_get(1, 0) is not None
    now += 0.1
    assert cache.try_get(1, 0) is None


def test_answers_of_an_older_index_are_not_kept_until_those_of_the_newer_are_too_old() -> None:
    """Such as a node that is behind the others, and a store that was restored."""
    now = 0.0
    cache = AnswerCache(CachePolicy(age_s=5), lambda: now)
    cache.keep([1], Checked([4], [7], 9), now)
    cache.keep([1, 2], Checked([3, 3], [7, 7], 8), now)
    assert cache.try_get(1, 0) == (4, 7, 9)
    assert cache.try_get(2, 0) is None
    now += 6
    cache.keep([2], Checked([3], [7], 8), now)
    assert cache.try_get(2, 0) == (3, 7, 8)
    assert cache.try_get(1, 0) is None


def test_answer_about_another_count_of_numbers_is_not_kept() -> None:
    cache = AnswerCache(CachePolicy())
    with pytest.raises(ValueError, match="another count"):
        cache.keep([1, 2], Checked([4], [7], 9), 0)
    assert cache.try_get(1, 0) is None


class Counting(check_pb2_grpc.CheckServiceServicer):
    """A node that says ACTIVE of everything, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.index_version = 5

    def CheckNumbers(  # noqa: N802
        self, request: check_pb2.CheckNumbersRequest, _context: grpc.ServicerContext
    ) -> check_pb2.CheckNumbersResponse:
        self.asked.append(list(request.numbers))
        count = len(request.numbers)
        return check_pb2.CheckNumbersResponse(
            statuses=[4] * count, operator_ids=[7] * count, index_version=self.index_version
        )


@contextmanager
def counting() -> Iterator[tuple[Counting, str]]:
    node = Counting()
    with futures.ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        check_pb2_grpc.add_CheckServiceServicer_to_server(node, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield node, f"127.0.0.1:{port}"
        server.stop(0).wait()


LONG = CachePolicy(age_s=3600)


def test_threads_ask_once_about_what_is_kept_and_again_after_a_newer_index() -> None:
    with counting() as (node, address), CheckClient(address, cache=LONG) as client:
        assert client.check(1) == client.check(1) == (4, 7, 5)
        node.index_version = 6
        assert client.check(1, min_index_version=6).index_version == 6
        assert client.check(1).index_version == 6
        node.index_version = 7
        client.check(2)
        assert client.check(1).index_version == 7
    assert node.asked == [[1], [1], [2], [1]]


def test_tasks_ask_once_about_what_is_kept_and_again_after_a_newer_index() -> None:
    async def ask(node: Counting, address: str) -> None:
        async with AsyncCheckClient(address, cache=LONG) as client:
            assert await client.check(1) == await client.check(1) == (4, 7, 5)
            assert (await asyncio.gather(client.check(1), client.check(1)))[1] == (4, 7, 5)
            node.index_version = 6
            assert (await client.check(1, min_index_version=6)).index_version == 6
            node.index_version = 7
            await client.check(2)
            assert (await client.check(1)).index_version == 7

    with counting() as (node, address):
        asyncio.run(ask(node, address))
    assert node.asked == [[1], [1], [2], [1]]


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    with counting() as (node, address), CheckClient(address) as client:
        client.check(1)
        client.check(1)
    assert node.asked == [[1], [1]]
