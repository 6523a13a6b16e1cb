"""What the page layout writes, the kernel reads: a whole chunk at a time, against runs and bits in plain Python."""

import random
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, CHUNK_PAGES, LaidOut, PageLayout, set_members
from numcheck._fast import Table
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.kernel.parts import CLASS, CLASSES, ENTRY, MIXED, MIXED_SIZE, PLAIN, PLAIN_SIZE, RUNS

PAGE = CHUNK_NUMBERS // CHUNK_PAGES
CLASS_COUNT = len(CLASSES)
STATUSES = {0: (2, 2), 1: (1, 1), 2: (3, 4), 3: (3, 4), 4: (5, 5)}
OPERATOR_IDS = {0: 0, 1: 0, 2: 10, 3: 20, 4: 30}

# Three pages at each end: few enough for the pages to be shared, and both ends of a chunk.
near_places = st.integers(0, 3 * PAGE) | st.integers(CHUNK_NUMBERS - 3 * PAGE, CHUNK_NUMBERS - 1)
page_ends = st.sampled_from([0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, CHUNK_NUMBERS - PAGE, CHUNK_NUMBERS - 1])


@st.composite
def runs(draw) -> tuple[list[int], list[int]]:
    firsts = sorted({0, *draw(st.lists(near_places | page_ends, max_size=12))})
    return firsts, draw(st.lists(st.integers(0, CLASS_COUNT - 1), min_size=len(firsts), max_size=len(firsts)))


def bitset_of(active) -> bytearray:
    bitset = bytearray(BITSET_SIZE)
    set_members(bitset, array("I", sorted(active)))
    return bitset


def laid_out(active, firsts, classes) -> tuple[list[tuple[int, int, int, int]], Table]:
    """The directory's entries and a table of one chunk."""
    entries, pages = PageLayout(1).lay_out(bitset_of(active), array("I", firsts), array("H", classes))
    table = Table(
        directory=entries,
        classes=b"".join(CLASSES),
        extents=[pages + bytes(PLAIN_SIZE)],
        spans=[(0, 0, CHUNK_PAGES)],
        spaces=[(0, 0, 1)],
        index_version=1,
    )
    return list(ENTRY.iter_unpack(entries)), table


def answers(table: Table, places) -> list[tuple[int, int]]:
    body = CheckNumbersRequest(numbers=places).SerializeToString()
    response = CheckNumbersResponse.FromString(table.check_numbers(body, numbers_per_call_max=CHUNK_NUMBERS))
    return list(zip(response.statuses, response.operator_ids, strict=True))


def expected(place: int, active, firsts, classes) -> tuple[int, int]:
    number_class = classes[bisect_right(firsts, place) - 1]
    return STATUSES[number_class][place in active], OPERATOR_IDS[number_class]


@given(runs=runs(), active=st.frozensets(near_places | page_ends, max_size=30))
def test_kernel_reads_what_was_laid_out(runs, active):
    firsts, classes = runs
    _, table = laid_out(active, firsts, classes)
    places = {*range(0, CHUNK_NUMBERS, 99_991), *active, *firsts}
    near = sorted({place + step for place in places for step in (-1, 0, 1) if 0 <= place + step < CHUNK_NUMBERS})
    assert answers(table, near) == [expected(place, active, firsts, classes) for place in near]


@pytest.mark.parametrize("active", [frozenset(), frozenset(range(PAGE, 2 * PAGE, 3)), frozenset(range(3 * PAGE))])
def test_every_number_is_a_run_of_its_own_when_classes_alternate(active):
    """The most runs that a page can have, and the most exceptions."""
    firsts = list(range(3 * PAGE))
    classes = [2 + place % 3 for place in firsts]
    _, table = laid_out(active, firsts, classes)
    assert answers(table, firsts) == [expected(place, active, firsts, classes) for place in firsts]


def test_every_page_is_mixed_when_it_has_to_be():
    firsts = [place for page in range(CHUNK_PAGES) for place in (page * PAGE, page * PAGE + 1 + page * 9)]
    classes = [2, 3] * CHUNK_PAGES
    active = frozenset(page * PAGE + page for page in range(CHUNK_PAGES))
    entries, table = laid_out(active, firsts, classes)
    assert {kind for *_, kind in entries} == {MIXED}
    places = sorted({place + step for place in (*firsts, *active) for step in (0, 1)})
    assert answers(table, places) == [expected(place, active, firsts, classes) for place in places]


def test_page_has_the_kind_that_its_numbers_need():
    firsts, classes = [0, 4 * PAGE + 5, 5 * PAGE + 5, 6 * PAGE], [2, 3, 2, 3]
    active = {PAGE + 7, *range(2 * PAGE, 3 * PAGE), 5 * PAGE + 9}
    entries, _ = laid_out(active, firsts, classes)
    assert [kind for *_, kind in entries[:7]] == [PLAIN, PLAIN, PLAIN, PLAIN, RUNS, MIXED, PLAIN]
    assert [extent for _, _, extent, _ in entries[:7]] == [0, 1, 0, 0, 1, 1, 0]


# --- pages with ported numbers

HOME = 2
FIRST_RECIPIENT = 3


def many_classes(count: int) -> bytes:
    """So many classes, each of the operator whose id is the class's number."""
    packed = []
    for operator_id in range(count):
        varint = bytes([operator_id]) if operator_id < 128 else bytes([operator_id & 127 | 128, operator_id >> 7])
        packed.append(CLASS.pack(operator_id, 3, 4, len(varint), varint))
    return b"".join(packed)


def ported_page(active, ported: Mapping[int, int]) -> tuple[tuple[int, int, int, int], bytes]:
    """The entry and the bytes of the chunk's first page, of one class but for what is ported: classes by place."""
    places: dict[int, list[int]] = defaultdict(list)
    for place in sorted(ported):
        places[ported[place]].append(place)
    overlays = [(one, array("I", some)) for one, some in places.items()]
    layout, pages = PageLayout(1), array("I", [0])
    entries, page = layout.lay_out(bitset_of(active), array("I", [0]), array("H", [HOME]), overlays, pages)
    return ENTRY.unpack(entries), page


@st.composite
def portings(draw) -> dict[int, int]:
    """Slots of a page that are ported to so many recipients, to each at least one."""
    recipient_count = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 256, 257, 4_000, PAGE]))
    chance = random.Random(draw(st.integers(0, 2**32)))
    places = chance.sample(range(PAGE), max(recipient_count, draw(st.integers(0, PAGE))))
    recipients = [*range(FIRST_RECIPIENT, FIRST_RECIPIENT + recipient_count)]
    recipients += chance.choices(recipients, k=len(places) - recipient_count)
    return dict(zip(places, recipients, strict=True))


@given(ported=portings(), share=st.sampled_from([0, 1, 2, PAGE]))
def test_kernel_reads_a_page_whatever_the_number_of_its_recipients(ported, share):
    """Every number of the page is asked for: with codes of every width, some numbers active or none."""
    active = frozenset(range(0, PAGE, share)) if share else frozenset()
    entry, page = ported_page(active, ported)
    table = Table(
        directory=ENTRY.pack(*entry),
        classes=many_classes(FIRST_RECIPIENT + PAGE),
        extents=[page + bytes(PLAIN_SIZE)],
        spans=[(0, 0, 1)],
        spaces=[(0, 0, 1)],
        index_version=1,
    )
    assert answers(table, range(PAGE)) == [(3 + (place in active), ported.get(place, HOME)) for place in range(PAGE)]


@pytest.mark.parametrize(
    ("recipient_count", "width"),
    [(1, 0), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8), (257, 16), (500, 16)],
)
def test_ported_number_takes_as_few_bits_as_the_pages_recipients_need(recipient_count, width):
    ported = {20 * i: FIRST_RECIPIENT + i % recipient_count for i in range(500)}
    (_, number_class, _, kind), page = ported_page({1}, ported)
    size = MIXED_SIZE + 2 * recipient_count + 2 * (500 * width // 16 + 1)
    assert (number_class, kind, len(page)) == (HOME, MIXED, size + -size % 8)


@pytest.mark.parametrize(("ported_count", "kind"), [(322, RUNS), (323, RUNS), (324, MIXED), (500, MIXED)])
def test_page_with_nothing_active_has_the_kind_that_is_smaller(ported_count, kind):
    """Of one recipient, with two runs for each number: a mixed page takes 2,592 bytes, and 648 runs 2,594."""
    (*_, found), page = ported_page((), {20 * i + 1: FIRST_RECIPIENT for i in range(ported_count)})
    assert found == kind
    assert len(page) <= 2_592


def test_page_is_the_recipients_when_most_of_its_numbers_are_ported():
    (_, number_class, _, _), page = ported_page({1}, dict.fromkeys(range(6_000), FIRST_RECIPIENT))
    assert number_class == FIRST_RECIPIENT
    assert len(page) == 2_592


def test_second_chunk_goes_on_where_the_first_ends():
    layout, first_active, second_active = PageLayout(7), {5}, {PAGE + 6}
    first_entries, first_pages = layout.lay_out(bitset_of(first_active), array("I", [0]), array("H", [2]))
    second_entries, _ = layout.lay_out(bitset_of(second_active), array("I", [0]), array("H", [3]))
    assert ENTRY.unpack_from(first_entries) == (0, 2, 7, PLAIN)
    assert ENTRY.unpack_from(second_entries, 8) == (len(first_pages) // 8, 3, 7, PLAIN)


@pytest.mark.parametrize(
    ("firsts", "classes"),
    [
        ([], []),
        ([1], [2]),
        ([0, 5], [2]),
        ([0], [2, 3]),
        ([0, 5, 5], [2, 3, 2]),
        ([0, 6, 5], [2, 3, 2]),
        ([0, CHUNK_NUMBERS], [2, 3]),
    ],
)
def test_runs_are_refused_when_they_do_not_cover_the_chunk(firsts, classes):
    with pytest.raises(ValueError, match="the runs"):
        PageLayout(1).lay_out(bytes(BITSET_SIZE), array("I", firsts), array("H", classes))


def test_bitset_is_refused_when_it_has_not_a_chunks_size():
    with pytest.raises(ValueError, match="a chunk's bitset has"):
        PageLayout(1).lay_out(bytes(BITSET_SIZE - 1), array("I", [0]), array("H", [2]))


@given(st.sets(near_places, max_size=400), runs(), st.sets(st.sampled_from([0, 1, 2, 998, 999])))
def test_active_numbers_are_counted_in_pages_of_every_kind(active, of_runs, whole) -> None:
    """Pages of which all numbers are active, or none, and those of several classes, counted one number at a time."""
    firsts, classes = of_runs
    active = active.union(*(range(page * PAGE, (page + 1) * PAGE) for page in whole))
    entries, pages = PageLayout(1).lay_out(bitset_of(active), array("I", firsts), array("H", classes))
    counts = LaidOut(entries, [pages + bytes(PLAIN_SIZE)]).active_counts()
    found = {page: count for page, count in enumerate(counts) if count}
    assert found == Counter(place // PAGE for place in active)


@pytest.mark.parametrize("kind", [PLAIN, MIXED])
def test_active_numbers_of_a_page_outside_of_its_extent_are_refused(kind) -> None:
    for offset, extent in ((0, bytes(PLAIN_SIZE - 1)), (2**32 - 1, bytes(MIXED_SIZE)), (1, b"")):
        with pytest.raises(ValueError, match="outside"):
            LaidOut(ENTRY.pack(offset, 2, 1, kind), [extent]).active_counts()
    with pytest.raises(ValueError, match="outside"):
        LaidOut(ENTRY.pack(0, 2, 2, kind), [bytes(MIXED_SIZE)]).active_counts()
