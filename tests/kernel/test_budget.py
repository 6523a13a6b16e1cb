"""An Allowance beside a set: what is taken, what is left, and that a request is taken whole or not at all."""

import threading
from array import array

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from numcheck._budget import Allowance, numbers_of
from numcheck.v1 import check_pb2

NUMBER_MAX = 10**15 - 1
NUMBERS = st.lists(
    st.one_of(
        st.integers(79_160_000_000, 79_160_000_040),
        st.sampled_from([0, 1, NUMBER_MAX, NUMBER_MAX + 1, 2**64 - 1]),
        st.integers(0, 2**64 - 1),
    ),
    max_size=30,
)


def packed(numbers: list[int]) -> bytes:
    return array("Q", numbers).tobytes()


def countable(numbers: list[int]) -> set[int]:
    return {number for number in numbers if 0 < number <= NUMBER_MAX}


class Machine(RuleBasedStateMachine):
    """The allowance, and what a set and a count say of it."""

    def __init__(self) -> None:
        super().__init__()
        self.allowance = Allowance()
        self.allowance.begin()
        self.known: set[int] = set()
        self.fresh: list[int] = []
        self.left = 0

    @rule(count=st.integers(-20, 60))
    def give(self, count: int) -> None:
        given = max(count, -self.left)
        assert self.allowance.give(count) == given
        self.left += given

    @rule(numbers=NUMBERS)
    def take(self, numbers: list[int]) -> None:
        distinct = list(dict.fromkeys(number for number in numbers if number in countable(numbers) - self.known))
        assert array("Q", self.allowance.unknown(packed(numbers))).tolist() == distinct
        taken = self.allowance.try_take(packed(distinct))
        assert taken == (len(distinct) <= self.left)
        if taken:
            self.known.update(distinct)
            self.fresh += distinct
            self.left -= len(distinct)
            assert self.allowance.try_take(packed(numbers))  # nothing of them is new any more

    @rule(numbers=NUMBERS)
    def know(self, numbers: list[int]) -> None:
        self.allowance.know(packed(numbers))
        self.known |= countable(numbers)

    @rule(count=st.integers(0, 50))
    def settle(self, count: int) -> None:
        self.allowance.settle(count)
        del self.fresh[:count]

    @rule()
    def begin(self) -> None:
        self.allowance.begin()
        self.known, self.fresh, self.left = set(), [], 0

    @rule(reserve=st.integers(0, 50), below=st.integers(0, 50))
    def tell(self, reserve: int, below: int) -> None:
        self.allowance.tell(reserve=reserve, below=below)
        left = self.left + reserve
        assert self.allowance.few_left() == (left if left < below else None)

    @invariant()
    def says_the_same(self) -> None:
        assert self.allowance.left == self.left
        assert array("Q", self.allowance.fresh()).tolist() == self.fresh


TestAllowance = Machine.TestCase


def test_a_request_that_needs_too_much_changes_nothing() -> None:
    allowance = Allowance()
    allowance.begin()
    allowance.give(2)
    assert not allowance.try_take(packed([1, 2, 3]))
    assert (allowance.left, allowance.fresh()) == (2, b"")
    assert allowance.try_take(packed([1, 2]))
    assert (allowance.left, allowance.unknown(packed([1, 2, 3]))) == (0, packed([3]))


def test_an_unbounded_allowance_notes_nothing() -> None:
    allowance = Allowance()
    assert allowance.unbounded
    assert allowance.try_take(packed([1, 2, 3]))
    assert allowance.fresh() == b""


def test_numbers_of_a_request_are_those_that_protobuf_reads() -> None:
    one = check_pb2.CheckNumbersRequest(numbers=[5, 0], request_id=7).SerializeToString()
    unpacked = b"\x09" + packed([9])
    assert array("Q", numbers_of(one + unpacked + one)).tolist() == [5, 0, 9, 5, 0]


def test_threads_take_together_exactly_what_there_is() -> None:
    """Each number of a thread is its own; together they ask for more than there is."""
    allowance, taken = Allowance(), []
    allowance.begin()
    allowance.give(10_000)

    def ask(first: int) -> None:
        batches = (packed([*range(place, place + 7)]) for place in range(first, first + 7 * 800, 7))
        taken.append(sum(7 for numbers in batches if allowance.try_take(numbers)))

    threads = [threading.Thread(target=ask, args=[1_000_000 * (one + 1)]) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 10_000 // 7 * 7 == len(allowance.fresh()) // 8
    assert allowance.left == 10_000 % 7
