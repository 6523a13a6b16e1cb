"""Whose call is begun next: the rule alone, and threads that wait for nothing but the test."""

import threading
from collections import Counter
from queue import Queue
from typing import Any

import pytest

from numcheck.door.turns import Crew, Turns

TIMEOUT_S = 60.0


class Waiting:
    """What Turns and Crew know of a call: its line."""

    def __init__(self, line: int, name: str = "") -> None:
        self.line, self.name = line, name


def turns_of(*lines: int) -> Turns:
    turns: Any = Turns()
    for place, line in enumerate(lines):
        turns.add(Waiting(line, f"{line}.{place}"))
    return turns


def all_of(turns: Any) -> list[str]:
    return [turns.take().name for _ in range(len(turns))]


def test_lines_are_served_in_turn_and_each_in_its_order() -> None:
    assert all_of(turns_of(1, 1, 1, 1, 2, 3, 2)) == ["1.0", "2.4", "3.5", "1.1", "2.6", "1.2", "1.3"]


def test_call_of_a_short_line_waits_for_one_of_each_other_at_most() -> None:
    turns: Any = turns_of(*[1] * 500)
    for _ in range(100):
        turns.take()
    turns.add(Waiting(2, "newcomer"))
    assert "newcomer" in [turns.take().name for _ in range(2)]


def test_line_that_may_not_go_on_is_passed_over_and_keeps_its_turn() -> None:
    turns: Any = turns_of(1, 2, 1)
    assert turns.take(lambda line: line != 1).name == "2.1"
    assert turns.take(lambda line: line != 1) is None
    assert all_of(turns) == ["1.0", "1.2"]
    assert turns.take() is None


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (2, 2), (4, 3), (16, 12)])
def test_one_line_holds_three_quarters_of_the_threads_and_is_served_whole(threads: int, at_once: int) -> None:
    free, begun, done = threading.Event(), Queue[int](), Queue[int]()

    def answer(call: Any) -> None:
        begun.put(call.line)
        if call.line == 1:
            free.wait(TIMEOUT_S)
        done.put(call.line)

    crew: Any = Crew(threads, "test", answer)
    for _ in range(50):
        crew.add(Waiting(1))
    assert [begun.get(timeout=TIMEOUT_S) for _ in range(at_once)] == [1] * at_once
    if at_once < threads:
        crew.add(Waiting(2))
        assert done.get(timeout=TIMEOUT_S) == 2
        assert begun.get(timeout=TIMEOUT_S) == 2
    assert begun.empty()
    free.set()
    assert Counter(done.get(timeout=TIMEOUT_S) for _ in range(50)) == {1: 50}
    crew.close()


def test_every_call_is_answered_however_those_before_it_end() -> None:
    """Also where several end before the next has begun."""
    done: Queue[int] = Queue()
    crew: Any = Crew(4, "test", lambda call: done.put(call.line))
    for place in range(3_000):
        crew.add(Waiting(place % 2))
    assert Counter(done.get(timeout=TIMEOUT_S) for _ in range(3_000)) == {0: 1_500, 1: 1_500}
    crew.close()


def test_call_that_fails_gives_its_thread_back() -> None:
    done: Queue[str] = Queue()

    def answer(call: Any) -> None:
        if call.name == "bad":
            raise ValueError
        done.put(call.name)

    crew: Any = Crew(4, "test", answer)
    for _ in range(20):
        crew.add(Waiting(1, "bad"))
    crew.add(Waiting(1, "good"))
    assert done.get(timeout=TIMEOUT_S) == "good"
    crew.close()
