"""How many calls of one party may wait for Python: the rule alone, with the time given."""

import pytest

from numcheck.door.native_door import LACKING

if LACKING is None:
    from numcheck._edge import LANES, CallQueue, Lines

pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))

PLACES = 512
PACE_LENGTH_MIN, LINE_MIN = 16, 96  # of _edge.pxd, as docs/limits.md has it
TARGET_MS = 40
MS = 1_000_000
QUICK, OTHER = 0, 1


class Line:
    """One party's line, in which the test has calls come and begin."""

    def __init__(self, queue: "CallQueue", lane: int = QUICK) -> None:
        self._lines, self._lane = Lines(queue), lane
        self.now = 1_000 * MS
        self.came: list[tuple[int, int]] = []  # of each call that waits: when, and behind how many

    def come(self) -> bool:
        """Let one more call come, and return whether it may wait."""
        allowed: bool = self._lines.allows(self._lane, self.now)
        if allowed:
            self.came.append((self.now, self._lines.join(self._lane)))
        return allowed

    def fill(self) -> int:
        """Let as many come as may wait, and return how many wait then."""
        while self.come():
            pass
        return len(self.came)

    def begin(self) -> int:
        """Begin the first, and return how long it waited."""
        came, before = self.came.pop(0)
        self._lines.begin(self._lane, self.now, self.now - came, before)
        return self.now - came


@pytest.fixture
def queue() -> "CallQueue":
    return CallQueue(calls_max=PLACES)


def drain(line: Line, *, call_us: int, down_to: int = 0) -> None:
    """Begin a call every `call_us`, and let none come."""
    while len(line.came) > down_to:
        line.now += call_us * 1_000
        line.begin()


def run(line: Line, *, call_us: int, factor: int, ms: int) -> list[int]:
    """Begin a call every `call_us` while `factor` times as many come; return how long each of them waited."""
    waits = []
    for _ in range(ms * 1_000 // call_us):
        line.now += call_us * 1_000
        for _ in range(factor):
            line.come()
        waits.append(line.begin())
    return waits


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("call_us", [200, 500, 1_000, 2_000])
def test_calls_are_begun_in_time_however_many_come(queue: "CallQueue", factor: int, call_us: int) -> None:
    """From the first on; and nobody who could be served is refused: there is always one that waits."""
    line = Line(queue)
    waits = run(line, call_us=call_us, factor=factor, ms=2_000)
    found_first = 2 * factor * call_us * PACE_LENGTH_MIN  # what came until the pace was known
    assert max(waits) <= 1_000 * max(1_200 * TARGET_MS, (LINE_MIN + 1) * call_us, found_first)
    assert line.came


def test_as_many_may_wait_as_begin_within_the_target(queue: "CallQueue") -> None:
    """Of calls that take a quarter of a millisecond each."""
    line = Line(queue)
    run(line, call_us=250, factor=5, ms=1_500)
    assert abs(line.fill() - TARGET_MS * 4) <= 15


def test_few_may_wait_however_slow_they_are(queue: "CallQueue") -> None:
    line = Line(queue)
    run(line, call_us=100_000, factor=5, ms=5_000)
    drain(line, call_us=100_000, down_to=LINE_MIN)
    assert line.fill() == LINE_MIN


def test_one_slow_moment_has_nobody_refused(queue: "CallQueue") -> None:
    """64 callers, each with one call at a time, beside a disk that stalls for half a second."""
    line = Line(queue)
    for _ in range(64):
        assert line.come()
    for step in range(2_000):
        line.now += MS // 2 if step != 1_000 else 500 * MS
        line.begin()
        assert line.come()


def test_pace_that_was_slow_is_forgotten_when_nothing_waited_for_a_second(queue: "CallQueue") -> None:
    line = Line(queue)
    run(line, call_us=50_000, factor=2, ms=5_000)
    drain(line, call_us=50_000)
    line.now += 500 * MS
    assert line.fill() == LINE_MIN
    drain(line, call_us=50_000)
    line.now += 1_001 * MS
    assert line.fill() > 2 * LINE_MIN


def test_party_that_fills_its_line_leaves_places_for_others(queue: "CallQueue") -> None:
    """Each of those that flood leaves a part of what is free, so that a newcomer gets in, whoever was before."""
    lengths = [Line(queue).fill() for _ in range(3)]
    assert lengths == [342, 114, 38]
    assert Line(queue).come()
    assert sum(lengths) < PLACES


def test_lanes_have_places_of_their_own(queue: "CallQueue") -> None:
    flooded = [Line(queue) for _ in range(20)]
    for one in flooded:
        one.fill()
    assert not Line(queue).come()
    assert Line(queue, OTHER).fill() == Line(CallQueue(calls_max=PLACES)).fill()


def test_lanes_are_named() -> None:
    assert LANES == ("quick", "grouped", "waiting", "kept")
