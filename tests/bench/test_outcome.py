"""What several generators found, together."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.bench.outcome import Outcome

MS = 1_000_000


def test_outcomes_of_generators_are_added_and_the_time_is_the_longest():
    one = Outcome(wall_s=2, cpu_s=1, begun=3, statuses={0: 2, 8: 1}, answered={5: 2}, refused={7: 1}, lost=1)
    two = Outcome(wall_s=3, cpu_s=2, begun=4, statuses={0: 4}, answered={5: 1, 6: 3}, never_begun=2)
    both = Outcome.of([one, two])
    assert (both.wall_s, both.cpu_s, both.begun) == (3, 3, 7)
    assert (both.statuses, both.answered) == ({0: 6, 8: 1}, {5: 3, 6: 3})
    assert both.failures == {"status 8": 1, "lost": 1, "never_begun": 2}


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=200), st.floats(0.001, 1))
def test_percentile_is_the_smallest_time_that_so_many_calls_took_at_most(durations, share):
    counts = {one: durations.count(one) for one in durations}
    found = 1e9 * Outcome(answered=counts).percentile_s(share)
    assert sum(one <= round(found) for one in durations) >= share * len(durations) - 1e-9
    assert sum(one < round(found) for one in durations) < share * len(durations)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.002), (0.9, 0.002), (0.91, inf), (0.99, inf)])
def test_calls_without_an_answer_are_slower_than_all_others(share, expected):
    """Of 100 calls 90 were answered in 2 ms, 4 are open and 6 were never sent."""
    outcome = Outcome(answered={2 * MS: 90}, refused={9 * MS: 50}, unanswered=4, never_begun=6)
    assert outcome.percentile_s(share) == expected


def test_percentile_of_no_call_is_nothing():
    assert Outcome().percentile_s(0.99) == 0
