"""An index that follows pushes is the index that would be built anew, page by page; and it stays small."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numcheck.active import AllottedRange
from numcheck.index import Index, build_index, open_index, update_index
from tests.index.world import ACTIVE, CHUNK, INACTIVE, World, operator

FIRST = 79160000000
PARTS = 153
RANGES = (
    AllottedRange(74950000000, 74950009999, 3, False, "fixed"),
    AllottedRange(FIRST, FIRST + 129_999, 1, True, "one"),
    AllottedRange(FIRST + 130_000, FIRST + 134_999, 2, True, "two"),
    AllottedRange(FIRST + 140_000, FIRST + 10_009_999, 2, True, "two, into the next chunk"),
)
OPERATORS = {one: operator(one) for one in (1, 2, 3, 4)}
PLACES = st.one_of(
    st.integers(0, 200_000),
    st.sampled_from([0, 9_999, 10_000, 65_535, 65_536, 129_999, 130_000, 134_999, 135_000, 139_999, 140_000]),
    st.integers(9_990_000, 10_010_005),
)
NUMBERS = st.sets(PLACES.map(lambda place: FIRST + place), max_size=40)


@dataclass
class Installation:
    """What operators and the clearing house have pushed so far, and the index that follows it."""

    active: dict[int, set[int]] = field(default_factory=lambda: {1: set(), 2: set(), 4: set()})
    ported: dict[int, set[int]] = field(default_factory=lambda: {1: set(), 2: set(), 4: set()})
    version: int = 1

    @property
    def world(self) -> World:
        return World(RANGES, OPERATORS, self.active, ported=self.ported)


def parts_of(numbers: Sequence[int] | set[int]) -> Mapping[int, set[int]]:
    """The parts of chunks, 65,536 places each, that numbers lie in."""
    changed: dict[int, set[int]] = {}
    for number in numbers:
        changed.setdefault(number // CHUNK, set()).add(number % CHUNK // 65_536)
    return changed


def answers(index: Index, numbers: Sequence[int]) -> list[tuple[int, int]]:
    return [index.table.check(number) for number in numbers]


def follow(directory, index: Index, installation: Installation, changed: Mapping[int, set[int]]) -> Index:
    installation.version += 1
    update_index(directory, installation.world.source(installation.version), index.files, changed)
    return open_index(directory, previous=index)


PUSH = st.tuples(st.sampled_from(["add", "remove", "port", "return"]), st.sampled_from([1, 2, 4]), NUMBERS)


def push(installation: Installation, what: str, operator_id: int, numbers: set[int]) -> None:
    if what == "add":
        installation.active[operator_id] |= numbers
    elif what == "remove":
        installation.active[operator_id] -= numbers
    else:
        for recipient in installation.ported:
            installation.ported[recipient] -= numbers
        if what == "port":
            mobile = {one for one in numbers if any(h.mobile and h.first <= one <= h.last for h in RANGES)}
            installation.ported[operator_id] |= mobile


@given(pushes=st.lists(PUSH, min_size=1, max_size=8))
def test_index_that_follows_pushes_answers_as_one_built_anew(tmp_path_factory, pushes):
    """The world's own answers are the oracle; every number that was ever pushed is asked for after each push."""
    directory, installation = tmp_path_factory.mktemp("index"), Installation()
    build_index(directory, installation.world.source(1))
    index, asked = open_index(directory), {FIRST, FIRST + 135_000, 74950000000}
    for what, operator_id, numbers in pushes:
        push(installation, what, operator_id, numbers)
        index = follow(directory, index, installation, parts_of(numbers))
        asked |= {near for number in numbers for near in (number - 1, number, number + 1)}
        world, sample = installation.world, sorted(asked)
        assert index.index_version == installation.version
        assert answers(index, sample) == [world.answer(number) for number in sample]
    reopened = open_index(directory)
    assert answers(reopened, sample) == answers(index, sample)
    assert {path.name for path in directory.iterdir()} == {"manifest.json", *(name for name, _, _ in named(index))}


PAGE_FIRST, RECIPIENT = FIRST + 140_000, 1_000
PORTINGS = st.tuples(st.sampled_from([1, 2, 3, 17, 257]), st.integers(0, 2_000), st.integers(0, 2**32))


@given(pushes=st.lists(PORTINGS, min_size=1, max_size=4), active=st.booleans())
@settings(max_examples=25)  # each builds an index of 257 operators and asks for 10,000 numbers up to four times
def test_page_follows_portings_whatever_the_number_of_its_recipients(tmp_path_factory, pushes, active):
    """Of each push, all numbers of a page that are ported, to so many recipients: a dictionary is the oracle."""
    directory, page = tmp_path_factory.mktemp("index"), range(PAGE_FIRST, PAGE_FIRST + 10_000)
    on = {number for number in page if active and number % 100 == 0}
    installation = Installation(active=dict.fromkeys([2, *range(RECIPIENT, RECIPIENT + 257)], on))
    operators = {**OPERATORS, **{one: operator(one) for one in installation.active}}
    build_index(directory, World(RANGES, operators, installation.active).source(1))
    index = open_index(directory)
    for version, (recipient_count, extra, seed) in enumerate(pushes, 2):
        chance = random.Random(seed)
        recipients = [*range(RECIPIENT, RECIPIENT + recipient_count)]
        recipients += chance.choices(recipients, k=extra)
        served_by = dict(zip(chance.sample(page, len(recipients)), recipients, strict=True))
        ported: dict[int, set[int]] = defaultdict(set)
        for number, recipient in served_by.items():
            ported[recipient].add(number)
        source = World(RANGES, operators, installation.active, ported=ported).source(version)
        update_index(directory, source, index.files, parts_of([page[0], page[-1]]))
        index = open_index(directory, previous=index)
        expected = [(ACTIVE if number in on else INACTIVE, served_by.get(number, 2)) for number in page]
        assert answers(index, page) == expected


def named(index: Index) -> list[Sequence]:
    files = index.files.manifest["files"]
    return [files["directory"], files["ranges"], *files["extents"]]


def one_at_a_time(directory, count: int):
    """Indexes that follow pushes of one number each, a page of its own for each."""
    installation = Installation()
    build_index(directory, installation.world.source(1))
    index = open_index(directory)
    for i in range(count):
        number = FIRST + 140_000 + i * 10_000
        installation.active[2].add(number)
        index = follow(directory, index, installation, parts_of([number]))
        yield index, installation.world


def test_extents_stay_few_and_what_is_out_of_date_stays_little(tmp_path):
    """Of a hundred pushes of a page each: each extent is more than twice the next, and little is kept for nothing."""
    for count, (index, _) in enumerate(one_at_a_time(tmp_path, 100), 1):
        sizes = [len(extent) for extent in index.files.extents]
        assert all(one > 2 * (other - 2_512) for one, other in pairwise(sizes))
        assert sum(sizes) < 2 * 1_256 * (count + 8)
    assert len(sizes) <= 8


def test_pages_that_come_out_as_they_were_take_nothing(tmp_path):
    """A change of another number in the block, and a block told as changed that is not, write no page."""
    *_, (index, world) = one_at_a_time(tmp_path, 5)
    changed = {7916: set(range(PARTS)), 7917: {0}, 5: {1}}
    update_index(tmp_path, world.source(99), index.files, changed)
    after = open_index(tmp_path, previous=index)
    assert after.index_version == 99
    assert after.files.manifest["files"]["extents"] == index.files.manifest["files"]["extents"]
    assert bytes(after.files.directory) == bytes(index.files.directory)


def test_what_was_mapped_is_shared_with_the_version_before(tmp_path):
    """Neither read nor checked again: the range table and the extents that stay."""
    *_, (before, _), (after, _) = one_at_a_time(tmp_path, 6)
    assert after.files.ranges is before.files.ranges
    kept = [extent for extent in after.files.extents if any(extent is one for one in before.files.extents)]
    assert len(kept) == len(after.files.extents) - 1


def test_old_version_answers_on_when_it_is_followed(tmp_path):
    (first, _), *_ = one_at_a_time(tmp_path, 20)
    number = FIRST + 140_000 + 19 * 10_000
    assert first.table.check(number) == (INACTIVE, 2)
    assert open_index(tmp_path).table.check(number) == (ACTIVE, 2)


def test_freshness_and_operators_follow_without_any_change_of_a_number(tmp_path):
    """A push that adds nothing still has a new version and a new data time."""
    *_, (index, world) = one_at_a_time(tmp_path, 2)
    newer = replace(OPERATORS[2], data_version=77)
    source = replace(world, operators={**OPERATORS, 2: newer}).source(50)
    update_index(tmp_path, source, index.files, {})
    assert open_index(tmp_path).operators[2].data_version == 77


@pytest.mark.parametrize("recipient", [1, 4])
def test_ported_number_is_its_recipients(tmp_path, recipient):
    """Of an operator with ranges, and of one that has none; its old operator's word counts for nothing."""
    installation, number = Installation(), FIRST + 200_000
    installation.active[2] |= {number, number + 1}
    build_index(tmp_path, installation.world.source(1))
    push(installation, "port", recipient, {number})
    index = follow(tmp_path, open_index(tmp_path), installation, parts_of([number]))
    facts = index.facts(number)
    assert (facts.serving_operator, facts.range_holder, facts.ported) == (OPERATORS[recipient], OPERATORS[2], True)
    assert facts.status.name == "INACTIVE"
    assert not index.facts(number + 1).ported
    installation.active[recipient].add(number)
    index = follow(tmp_path, index, installation, parts_of([number]))
    assert index.facts(number).status.name == "ACTIVE"
