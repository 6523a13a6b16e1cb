"""A courier whose codes do not come back is passed over: by counts and a clock that the test moves."""

from collections.abc import Iterable

import pytest

from numcheck.delivery.shares import PROBES, REST_S, SAMPLES, Share


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Setting:
    """The least percent."""

    def __init__(self, percent: int = 20) -> None:
        self.percent = percent

    def __call__(self) -> int:
        return self.percent


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def setting() -> Setting:
    return Setting()


@pytest.fixture
def share(clock: Clock, setting: Setting) -> Share:
    return Share(clock, setting)


def send(share: Share, outcomes: Iterable[bool]) -> None:
    """Send codes, each of which is judged before the next."""
    for came_back in outcomes:
        stretch = share.try_admit()
        assert stretch is not None
        share.judge(stretch, came_back)


def rest(share: Share) -> None:
    send(share, [False] * SAMPLES)
    assert share.try_admit() is None


def test_nobody_rests_before_there_are_samples(share: Share) -> None:
    send(share, [False] * (SAMPLES - 1))
    assert share.try_admit() is not None
    assert not share.rests
    share.judge(share.stretch, False)
    assert share.rests
    assert share.try_admit() is None


@pytest.mark.parametrize(("came_back", "rests"), [(10, False), (9, True), (50, False), (0, True)])
def test_fewer_than_the_least_share_of_the_last_fifty_rest(share: Share, came_back: int, rests: bool) -> None:
    """20 percent of 50 are 10, which is enough."""
    send(share, [True] * came_back + [False] * (SAMPLES - came_back))
    assert share.rests is rests


def test_only_the_last_fifty_count(share: Share) -> None:
    """A thousand that came back do not hold up for long."""
    send(share, [True] * 1_000 + [False] * 40)
    assert not share.rests
    send(share, [False])
    assert share.rests


def test_after_the_rest_ten_codes_try_it_and_it_waits_for_all_of_them(share: Share, clock: Clock) -> None:
    rest(share)
    clock.now_s += REST_S - 0.001
    assert share.try_admit() is None
    clock.now_s += 0.001
    stretches = [share.try_admit() for _ in range(PROBES)]
    assert None not in stretches
    assert share.try_admit() is None
    assert share.rests
    for stretch in stretches[:-1]:
        assert stretch is not None
        share.judge(stretch, True)
        assert share.try_admit() is None
    assert stretches[-1] is not None
    share.judge(stretches[-1], False)
    assert not share.rests
    assert share.last == (PROBES, PROBES - 1)
    assert share.try_admit() is not None


def test_a_try_that_fails_is_another_rest(share: Share, clock: Clock) -> None:
    """One of ten is less than a fifth."""
    rest(share)
    clock.now_s += REST_S
    send(share, [True] + [False] * (PROBES - 1))
    assert share.try_admit() is None
    clock.now_s += REST_S
    send(share, [True, True] + [False] * (PROBES - 2))
    assert share.try_admit() is not None


def test_what_was_sent_before_a_rest_says_nothing_after_it(share: Share, clock: Clock) -> None:
    """Neither codes of the same stretch that come back late, nor those that went while it rested."""
    early = share.try_admit()
    rest(share)
    forced = share.stretch
    clock.now_s += REST_S
    probes = [share.try_admit() for _ in range(PROBES)]
    assert early is not None
    for _ in range(SAMPLES):
        share.judge(early, True)
        share.judge(forced, True)
    assert share.rests
    assert share.try_admit() is None
    for probe in probes:
        assert probe is not None
        share.judge(probe, False)
    assert share.rests


def test_a_code_of_which_nothing_is_known_leaves_its_place_to_another(share: Share, clock: Clock) -> None:
    """An erased user, or a courier that did not take it."""
    rest(share)
    clock.now_s += REST_S
    probes = [share.try_admit() for _ in range(PROBES)]
    assert share.try_admit() is None
    assert probes[0] is not None
    share.judge(probes[0], None)
    assert share.try_admit() is not None
    assert share.try_admit() is None


def test_codes_that_had_no_other_courier_are_no_places_for_more_tries(share: Share, clock: Clock) -> None:
    """They go without being admitted, and say nothing if they are not taken."""
    rest(share)
    clock.now_s += REST_S
    first = share.try_admit()
    assert first is not None
    for _ in range(100):
        share.judge(share.stretch, None)
    assert sum(share.try_admit() is not None for _ in range(100)) == PROBES


def test_nobody_rests_where_any_share_will_do(share: Share, setting: Setting) -> None:
    """The setting is taken anew: who rests then is admitted at once."""
    rest(share)
    setting.percent = 0
    assert not share.rests
    send(share, [False] * SAMPLES * 2)
    setting.percent = 100
    send(share, [False])
    assert share.rests
