"""The record of withdrawals in the index against a plain dictionary, over a year of made-up pushes."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from numcheck.active import AllottedRange, Operator
from numcheck.index import RecordSource, build_index, open_index, record, update_index
from numcheck.index.record import DAY_S, LAYERS_MAX, joined
from numcheck.v1 import check_pb2
from tests.index.world import CHUNK, DATA_TIME, World

NO, YES, UNKNOWN = 1, 2, 3
FIRST = 79160000000
BEGAN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
YEAR_S = 365 * DAY_S
LATE, NEVER, FIXED = 2, 3, 4
RANGES = (
    AllottedRange(74950000000, 74950009999, FIXED, False, "fixed"),
    AllottedRange(FIRST, FIRST + 19_999, 1, True, "one"),
    AllottedRange(FIRST + 20_000, FIRST + 29_999, LATE, True, "two"),
    AllottedRange(FIRST + 30_000, FIRST + 39_999, NEVER, True, "three"),
    AllottedRange(FIRST + CHUNK, FIRST + CHUNK + 9_999, 1, True, "one, in the next chunk"),
)
LATE_SINCE = BEGAN + 100 * DAY_S


def operator(operator_id, since):
    moment = None if since is None else datetime.fromtimestamp(since, UTC)
    head = (0, None) if since is None else (1, DATA_TIME)
    return Operator(operator_id, str(operator_id), None, *head, supplied_since=moment)


OPERATORS = {
    1: operator(1, BEGAN - DAY_S),
    LATE: operator(LATE, LATE_SINCE),
    NEVER: operator(NEVER, None),
    FIXED: operator(FIXED, BEGAN),
}
PORTED_TO_ONE = frozenset({FIRST + 25_000, FIRST + 25_001, FIRST + 35_000})
WORLD = World(RANGES, OPERATORS, {}, ported={1: PORTED_TO_ONE})
ASKED = [
    *range(FIRST, FIRST + 300),
    *range(FIRST + 24_990, FIRST + 25_010),
    *range(FIRST + 34_990, FIRST + 35_010),
    *range(FIRST + CHUNK, FIRST + CHUNK + 50),
    *(FIRST + 45_000, 74950000000, 14155550100, 0, 2**64 - 1),
]
DRAWN = st.sampled_from(ASKED[:-4])


class Withdrawals:
    """What a store recorded: numbers by moment, each of a revision."""

    def __init__(self):
        self.rows = []  # revision, moment, numbers

    def source(self, since=BEGAN):
        return RecordSource(since, self.counts, self.withdrawn)

    def counts(self, revision):
        counts = defaultdict(int)
        for of, moment, numbers in self.rows:
            if of > revision:
                counts[moment] += len(numbers)
        return {moment: count for moment, count in counts.items() if count}

    def withdrawn(self, revision):
        by_chunk = defaultdict(list)
        for of, moment, numbers in self.rows:
            for chunk in {number // CHUNK for number in numbers} if of > revision else ():
                by_chunk[chunk].append((moment, BitMap(one % CHUNK for one in numbers if one // CHUNK == chunk)))
        return sorted(by_chunk.items())

    def last(self, number):
        """The newest moment at which a number was withdrawn, or None."""
        return max((moment for _, moment, numbers in self.rows if number in numbers), default=None)


def whole_since(number):
    """From when on nothing of a number can be missing; None: never."""
    held = WORLD.holder(number)
    if held is None or not held.mobile or held.operator_id == NEVER:
        return None
    return LATE_SINCE if held.operator_id == LATE else BEGAN


def may_have_record(number):
    held = WORLD.holder(number)
    return 7 * 10**10 <= number < 8 * 10**10 and (held is None or held.mobile)


def ask(index, numbers, since):
    request = check_pb2.CheckRecycledRequest(numbers=numbers, since_unix_s=since).SerializeToString()
    return list(index.check_recycled(request, numbers_per_call_max=65_536))


def answer(withdrawals, number, since):
    last = withdrawals.last(number) if may_have_record(number) else None
    if last is not None and last >= since:
        return YES
    whole = whole_since(number)
    return NO if whole is not None and since >= whole else UNKNOWN


def published(directory, withdrawals, index=None, version=1):
    """The index of what was recorded so far, as it follows another, or built anew."""
    source = replace(WORLD.source(version), record=withdrawals.source())
    if index is None:
        build_index(directory, source)
    else:
        update_index(directory, source, index.files, {})
    return open_index(directory, previous=index)


PUSHES = st.lists(st.tuples(st.integers(0, YEAR_S), st.sets(DRAWN, max_size=12)), max_size=25)


@settings(max_examples=40, deadline=None)
@given(PUSHES, st.lists(st.integers(BEGAN - 2 * DAY_S, BEGAN + YEAR_S + DAY_S), min_size=1, max_size=4))
def test_every_answer_is_that_of_a_dictionary_whatever_was_pushed(tmp_path_factory, pushes, moments):
    """In whatever order the moments come: an index that follows each push, and one built anew of all."""
    directory, withdrawals = tmp_path_factory.mktemp("followed"), Withdrawals()
    index = published(directory, withdrawals)
    for revision, (offset, numbers) in enumerate(pushes, start=2):
        withdrawals.rows.append((revision, BEGAN + offset, numbers))
        index = published(directory, withdrawals, index, revision)
    anew = published(tmp_path_factory.mktemp("anew"), withdrawals)
    moments += [BEGAN + offset + step for offset, _ in pushes[:3] for step in (0, 1)]
    for since in moments:
        expected = [answer(withdrawals, number, since) for number in ASKED]
        assert ask(index, ASKED, [since]) == expected
        assert ask(anew, ASKED, [since]) == expected
    each = [random.Random(1).choice(moments) for _ in ASKED]
    assert ask(index, ASKED, each) == [answer(withdrawals, *one) for one in zip(ASKED, each, strict=True)]


def year(seed=5):
    """A push of some numbers at some second of every day of a year, the revisions from 2 on."""
    drawn, withdrawals = random.Random(seed), Withdrawals()
    for day in range(365):
        moment = BEGAN + day * DAY_S + drawn.randrange(DAY_S)
        withdrawals.rows.append((day + 2, moment, set(drawn.sample(ASKED[:-4], drawn.randrange(9)))))
    return withdrawals


def test_year_of_daily_pushes_is_told_by_the_second_and_layers_stay_few(tmp_path):
    whole, so_far, index = year(), Withdrawals(), None
    for row in whole.rows:
        so_far.rows.append(row)
        index = published(tmp_path, so_far, index, row[0])
        assert len(index.files.layers) <= LAYERS_MAX
    for day in range(0, 365, 7):
        for since in (BEGAN + day * DAY_S, whole.rows[day][1], whole.rows[day][1] + 1):
            assert ask(index, ASKED, [since]) == [answer(whole, number, since) for number in ASKED]
    assert index.record_since == BEGAN


def test_large_record_keeps_days_and_weeks_and_never_misses_a_withdrawal(tmp_path, monkeypatch):
    """With one octet a number: of 365 days the newest 16 weeks by the day at least, all by the week."""
    monkeypatch.setattr(record, "WIDE_NUMBERS_MAX", 0)
    withdrawals = year()
    index = published(tmp_path, withdrawals)
    newest = withdrawals.rows[-1][1]
    for day in range(0, 365, 3):
        since = BEGAN + day * DAY_S + 3_600
        width = DAY_S if newest - since <= 16 * 7 * DAY_S else 7 * DAY_S
        for number, found in zip(ASKED, ask(index, ASKED, [since]), strict=True):
            expected = answer(withdrawals, number, since)
            if expected == YES:
                assert found == YES
            elif withdrawals.last(number) is None or withdrawals.last(number) // width < since // width:
                assert found == expected
            else:
                assert found in (expected, YES)


def test_what_is_older_than_the_record_goes_back_is_dropped_as_layers_are_folded(tmp_path):
    withdrawals = Withdrawals()
    withdrawals.rows = [(1, BEGAN - 1, {FIRST}), (1, BEGAN, {FIRST + 1})]
    index = published(tmp_path, withdrawals)
    assert ask(index, [FIRST, FIRST + 1], [BEGAN - 5]) == [UNKNOWN, YES]
    assert [layer.number_count for layer in index.files.layers] == [1]


def test_service_is_told_nothing_of_operators_that_it_has_no_agreement_with(tmp_path):
    """Neither YES nor NO, whatever the record has; what the plan took from everybody is told."""
    withdrawals = Withdrawals()
    withdrawals.rows = [(1, BEGAN + 5, {FIRST, FIRST + 20_000, FIRST + 30_000, FIRST + 45_000})]
    index = published(tmp_path, withdrawals)
    asked = [FIRST, FIRST + 1, FIRST + 20_000, FIRST + 20_001, FIRST + 30_000, FIRST + 45_000]
    since = [LATE_SINCE - DAY_S]
    assert ask(index, asked, [BEGAN]) == [YES, NO, YES, UNKNOWN, YES, YES]
    assert ask(index.for_agreements(frozenset({1})), asked, [BEGAN]) == [YES, NO, UNKNOWN, UNKNOWN, UNKNOWN, YES]
    assert ask(index.for_agreements(frozenset()), asked, since) == [UNKNOWN] * 6


def test_data_that_is_too_old_says_no_of_nothing(tmp_path):
    withdrawals = Withdrawals()
    withdrawals.rows = [(1, BEGAN + 5, {FIRST})]
    published(tmp_path, withdrawals)
    index = open_index(tmp_path, fresh_since=DATA_TIME.replace(year=DATA_TIME.year + 1))
    assert ask(index, [FIRST, FIRST + 1], [BEGAN]) == [YES, UNKNOWN]


def test_index_without_a_record_knows_nothing(tmp_path):
    build_index(tmp_path, WORLD.source())
    index = open_index(tmp_path)
    assert index.record_since == 0
    assert set(ask(index, ASKED, [BEGAN + YEAR_S])) == {UNKNOWN}


@given(st.lists(st.integers(0, 5_000 * DAY_S), min_size=1, unique=True).map(sorted), st.integers(1, 40))
def test_joined_moments_are_no_earlier_than_those_they_stand_for(moments, count_max):
    kept = joined(moments, count_max)
    assert len(kept) <= count_max
    assert set(kept) <= set(moments)
    assert kept[-1] == moments[-1]
    assert kept == moments or len(moments) > count_max


@pytest.mark.parametrize(("days", "a_day", "by_day"), [(1_095, 1, 115), (1_095, 3, 115), (200, 40, 200), (255, 1, 255)])
def test_joined_moments_keep_as_many_days_as_there_is_room_for(days, a_day, by_day):
    moments = [BEGAN + day * DAY_S + step * 600 for day in range(days) for step in range(a_day)]
    kept = joined(moments, 255)
    newest = range(BEGAN // DAY_S + days - by_day + 7, BEGAN // DAY_S + days)
    assert set(newest) <= {one // DAY_S for one in kept}
    assert {one // (7 * DAY_S) for one in moments} == {one // (7 * DAY_S) for one in kept}
