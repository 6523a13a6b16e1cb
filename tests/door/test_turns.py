"""Whose call is begun next: the rule alone, and threads that wait for nothing but the test."""

import threading
from collections import Counter
from functools import partial
from queue import Queue

import pytest

from numcheck.door.turns import Crew, Turns

TIMEOUT_S = 60.0


def turns_of(*lines: int) -> Turns[str]:
    turns = Turns[str]()
    for place, line in enumerate(lines):
        turns.add(line, f"{line}.{place}")
    return turns


def all_of(turns: Turns[str]) -> list[str | None]:
    return [turns.take() for _ in range(len(turns))]


def test_lines_are_served_in_turn_and_each_in_its_order() -> None:
    assert all_of(turns_of(1, 1, 1, 1, 2, 3, 2)) == ["1.0", "2.4", "3.5", "1.1", "2.6", "1.2", "1.3"]


def test_call_of_a_short_line_waits_for_one_of_each_other_at_most() -> None:
    turns = turns_of(*[1] * 500)
    for _ in range(100):
        turns.take()
    turns.add(2, "newcomer")
    assert "newcomer" in [turns.take() for _ in range(2)]


def test_line_that_may_not_go_on_is_passed_over_and_keeps_its_turn() -> None:
    turns = turns_of(1, 2, 1)
    assert turns.take(lambda line: line != 1) == "2.1"
    assert turns.take(lambda line: line != 1) is None
    assert all_of(turns) == ["1.0", "1.2"]
    assert turns.take() is None


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (2, 2), (4, 3), (16, 12)])
def test_one_line_holds_three_quarters_of_the_threads_and_is_served_whole(threads: int, at_once: int) -> None:
    free, begun, done = threading.Event(), Queue[int](), Queue[int]()

    def run(line: int) -> None:
        begun.put(line)
        if line == 1:
            free.wait(TIMEOUT_S)
        done.put(line)

    crew = Crew(threads, "test")
    for _ in range(50):
        crew.add(1, partial(run, 1))
    assert [begun.get(timeout=TIMEOUT_S) for _ in range(at_once)] == [1] * at_once
    if at_once < threads:
        crew.add(2, partial(run, 2))
        assert done.get(timeout=TIMEOUT_S) == 2
        assert begun.get(timeout=TIMEOUT_S) == 2
    assert begun.empty()
    free.set()
    assert Counter(done.get(timeout=TIMEOUT_S) for _ in range(50)) == {1: 50}
    crew.close()


def test_all_are_run_however_those_before_them_end() -> None:
    """Also where several end before the next has begun."""
    done: Queue[int] = Queue()
    crew = Crew(4, "test")
    for place in range(3_000):
        crew.add(place % 2, partial(done.put, place % 2))
    assert Counter(done.get(timeout=TIMEOUT_S) for _ in range(3_000)) == {0: 1_500, 1: 1_500}
    crew.close()


def fail() -> None:
    raise ValueError


def test_one_that_fails_gives_its_thread_back() -> None:
    done: Queue[str] = Queue()
    crew = Crew(4, "test")
    for _ in range(20):
        crew.add(1, fail)
    crew.add(1, partial(done.put, "good"))
    assert done.get(timeout=TIMEOUT_S) == "good"
    crew.close()
