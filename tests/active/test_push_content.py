"""What a push's numbers and ranges become, however many there are and whatever they hold."""

from array import array

import pytest
from pyroaring import BitMap

from numcheck.active import PortingsContent, PushContent
from numcheck.active.push import REMOVED_MAX, PushPolicy
from numcheck.active.sieve import COUNT_MAX, EXAMPLES_MAX
from numcheck.config import load_settings
from numcheck.errors import UnknownOperator

CHUNK = 10_000_000
NUMBER_MAX = 10**15 - 1
SERVED = {7916: BitMap(range(1_000)), 7917: BitMap(range(0, 2_000, 2))}


class Held:
    """What a set holds, and how often it was asked."""

    def __init__(self, chunks: dict[int, BitMap]) -> None:
        self.chunks, self.asked = chunks, 0

    def __call__(self, chunk: int) -> BitMap:
        self.asked += 1
        return self.chunks.get(chunk, BitMap())


def content(held: Held | None = None) -> PushContent:
    return PushContent(SERVED, held or Held({}))


def test_count_of_refused_numbers_stays_at_what_an_answer_has_room_for():
    pushed = content()
    for _ in range(18_500):  # 18,447 of them exceed 64 bits
        pushed.add_range(0, NUMBER_MAX)
    assert pushed.refused.count == COUNT_MAX
    assert len(pushed.refused.examples) == EXAMPLES_MAX
    assert pushed.adds == SERVED


@pytest.mark.parametrize(
    ("first", "last"), [(5, 5), (0, 1_999), (500, CHUNK + 3), (990, 3 * CHUNK), (CHUNK + 1, CHUNK + 1)]
)
def test_range_is_taken_and_refused_as_its_numbers_one_by_one_are(first, last):
    """And again, where nothing is left to take."""
    start = 7916 * CHUNK
    by_range, singly = content(), content()
    numbers = [number for number in range(first, last + 1) if number < 3_000 or CHUNK <= number < CHUNK + 3_000]
    singly.add(array("Q", [start + number for number in numbers]))
    refused = last - first + 1 - sum(map(len, singly.adds.values()))
    for times in (1, 2):
        by_range.add_range(start + first, start + last)
        assert (by_range.adds, by_range.refused.count) == (singly.adds, times * refused)
        if times == 1:
            assert by_range.refused.examples[:50] == sorted(singly.refused.examples)[:50]


def test_number_that_only_the_set_holds_can_be_removed_singly_and_by_a_range():
    held = Held({7917: BitMap([1, 3])})
    one, other = content(held), content(held)
    one.remove(array("Q", [7917 * CHUNK + 1, 7917 * CHUNK + 2, 7917 * CHUNK + 5]))
    assert (one.removes, one.refused.count) == ({7917: BitMap([1, 2])}, 1)
    other.remove_range(7917 * CHUNK + 1, 7917 * CHUNK + 5)
    assert (other.removes, other.refused.examples) == ({7917: BitMap([1, 2, 3, 4])}, [7917 * CHUNK + 5])


def test_set_is_asked_once_for_a_chunk_however_often_its_numbers_come():
    held = Held({7917: BitMap([1])})
    pushed = content(held)
    for _ in range(10):
        pushed.remove(array("Q", [7917 * CHUNK + 1]))
        pushed.remove_range(7917 * CHUNK, 7917 * CHUNK + 3)
    assert held.asked == 1


def test_no_more_than_a_hundred_refused_numbers_are_named():
    pushed = content()
    pushed.add(array("Q", range(60)))
    pushed.add_range(100, 139)
    pushed.add_range(7917 * CHUNK, 7917 * CHUNK + 9)
    assert pushed.refused.count == 105
    assert pushed.refused.examples == [*range(60), *range(100, 140)]


@pytest.mark.parametrize(
    ("removed", "held_count", "waits"),
    [
        (REMOVED_MAX, 10 * REMOVED_MAX, False),
        (REMOVED_MAX + 1, 100 * REMOVED_MAX, True),
        (10, 100, False),
        (11, 100, True),
        (0, 0, False),
    ],
)
def test_push_waits_when_it_removes_over_a_million_or_over_a_tenth(removed, held_count, waits):
    assert PushPolicy() == PushPolicy(load_settings().push_removed_percent_max)
    assert PushPolicy().holds(removed, held_count) == waits


@pytest.mark.parametrize(("percent", "waits"), [(0, True), (10, True), (11, False), (100, False)])
def test_push_waits_when_it_removes_over_the_share_of_the_settings(percent, waits):
    """11 of 100; whatever the share is, over a million wait, and nothing removed never does."""
    policy = PushPolicy(removed_percent_max=percent)
    assert policy.holds(11, 100) == waits
    assert policy.holds(REMOVED_MAX + 1, 10**9)
    assert not policy.holds(0, 100)


def test_portings_to_nobody_are_refused_when_they_are_first_seen():
    content = PortingsContent(SERVED, lambda _operator_id, _chunk: BitMap(), {1, 2})
    content.port(2, array("Q", [7916 * CHUNK]))
    for stranger in (0, 3, 2**32 - 1):
        with pytest.raises(UnknownOperator):
            content.port(stranger, array("Q", [7916 * CHUNK]))
    assert content.ported.keys() == {2}
