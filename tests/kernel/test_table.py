"""A table of hand-made parts: what it answers, and that it refuses every part that does not fit the others."""

import struct
from dataclasses import replace

import pytest

from numcheck._fast import Table
from numcheck.errors import IndexDamaged
from tests.kernel.parts import (
    EXCEPTIONS,
    FIRST,
    MIXED,
    MIXED_OFFSET,
    MIXED_SIZE,
    PAGE,
    PLAIN,
    PLAIN_SIZE,
    RUNS,
    RUNS_OFFSET,
    WORDS,
    Parts,
    entry,
    expected_answer,
    mixed_page,
    mixed_page_of,
    number_class,
    plain_page,
    runs_page,
)

SOUND = Parts()
RANKS_OFFSET = 8 * WORDS


def one_page(page: bytes, **entry_options) -> Parts:
    """Parts of one page and of nothing behind it, at least as long as every page has to be."""
    extent = page + bytes(max(PLAIN_SIZE - len(page), 0))
    return Parts(directory=entry(0, 2, **entry_options), extents=(extent,), spans=((FIRST, 0, 1),))


def patched(page: bytes, offset: int, value: int) -> bytes:
    """A page with another 16-bit value at a place."""
    return page[:offset] + struct.pack("<H", value) + page[offset + 2 :]


MIXED_PAGE = mixed_page((), EXCEPTIONS)


def test_table_answers_from_every_kind_of_page_when_its_parts_are_sound():
    table = SOUND.table()
    numbers = range(FIRST - 10, FIRST + 4 * PAGE + 10)
    assert [table.check(number) for number in numbers] == [expected_answer(number) for number in numbers]


@pytest.mark.parametrize("number", [0, 69999999999, 70000000000, 79999999999, 80000000000, 2**63, 2**64 - 1])
def test_number_is_unallocated_inside_of_a_space_and_invalid_outside(number):
    assert SOUND.table().check(number) == (2 if 70000000000 <= number <= 79999999999 else 1, 0)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_number_is_no_number_when_it_does_not_fit_into_64_bits(number):
    with pytest.raises(OverflowError):
        SOUND.table().check(number)


def test_table_answers_from_the_last_of_many_spans_and_spaces():
    spans = [(FIRST + i * 10**9, i % 4, 1) for i in range(64)]
    table = replace(SOUND, spans=spans, spaces=[(10**12 + i * 10**6, 0, 1) for i in range(64)]).table()
    assert [table.check(first) for first, _, _ in spans] == [expected_answer(FIRST + i % 4 * PAGE) for i in range(64)]
    assert [table.check(10**12 + 63 * 10**6 + step)[0] for step in (-1, 0, PAGE - 1, PAGE)] == [1, 2, 2, 1]


def test_table_has_no_page_when_the_directory_is_empty():
    table = replace(SOUND, directory=b"", spans=[(0, 0, 0)]).table()
    assert [table.check(number) for number in (0, FIRST)] == [(1, 0), (2, 0)]


REFUSED = {
    "no class": replace(SOUND, classes=b""),
    "one class": replace(SOUND, classes=SOUND.classes[:16], directory=b"", spans=[(0, 0, 0)]),
    "class cut": replace(SOUND, classes=SOUND.classes[:-1]),
    "65,537 classes": replace(SOUND, classes=number_class(0, 2, 2) * 65_537),
    "class with an operator id of no byte": replace(
        SOUND, classes=SOUND.classes + number_class(1, 3, 4, varint_size=0)
    ),
    "class with an operator id of six bytes": replace(
        SOUND, classes=SOUND.classes + number_class(1, 3, 4, varint_size=6)
    ),
    "256 extents": replace(SOUND, extents=SOUND.extents * 256),
    "no span": replace(SOUND, spans=[]),
    "65 spans": replace(SOUND, spans=SOUND.spans * 65),
    "no space": replace(SOUND, spaces=[]),
    "65 spaces": replace(SOUND, spaces=SOUND.spaces * 65),
    "span past the directory": replace(SOUND, spans=[(FIRST, 0, 5)]),
    "span past the directory from its middle": replace(SOUND, spans=[(FIRST, 2, 3)]),
    "span past the directory, second": replace(SOUND, spans=[(FIRST, 0, 1), (FIRST + 10**6, 4, 1)]),
    "span whose end wraps around": replace(SOUND, spans=[(FIRST, 2**32 - 1, 1)]),
    "span of more than 2^32 numbers": replace(SOUND, directory=entry(0, 2) * 429_497, spans=[(FIRST, 0, 429_497)]),
    "directory cut": replace(SOUND, directory=SOUND.directory + b"\0"),
    "page of an unknown class": replace(SOUND, directory=entry(0, 5), spans=[(FIRST, 0, 1)]),
    "page of an extent that is not there": replace(SOUND, directory=entry(0, 2, extent=2), spans=[(FIRST, 0, 1)]),
    "page of an unknown kind": one_page(plain_page(()), kind=3),
    "page of an unknown kind that has the bit of a known one": one_page(bytes(3_000), kind=5),
    "page in no span": replace(SOUND, directory=SOUND.directory + entry(0, 99)),
    "plain page past its extent": replace(SOUND, directory=entry(RUNS_OFFSET + 8 * 160, 2), spans=[(FIRST, 0, 1)]),
    "plain page, its last bytes past its extent": Parts(
        directory=entry(0, 2), extents=(bytes(PLAIN_SIZE - 1),), spans=((FIRST, 0, 1),)
    ),
    "plain page far past its extent": replace(SOUND, directory=entry(8 * (2**32 - 1), 2), spans=[(FIRST, 0, 1)]),
    "page past the kernel's own": replace(SOUND, directory=entry(PLAIN_SIZE + 8, 2, extent=0), spans=[(FIRST, 0, 1)]),
    "mixed page in the kernel's own": replace(
        SOUND, directory=entry(0, 2, extent=0, kind=MIXED), spans=[(FIRST, 0, 1)]
    ),
    "runs in the kernel's own": replace(SOUND, directory=entry(0, 2, extent=0, kind=RUNS), spans=[(FIRST, 0, 1)]),
    "mixed page cut": one_page(MIXED_PAGE[: MIXED_SIZE - 1], kind=MIXED),
    "mixed page, its codes cut": one_page(MIXED_PAGE[:-1], kind=MIXED),
    "mixed page, its first rank wrong": one_page(patched(MIXED_PAGE, RANKS_OFFSET, 1), kind=MIXED),
    "mixed page, its second rank too small": one_page(patched(MIXED_PAGE, RANKS_OFFSET + 2, 2), kind=MIXED),
    "mixed page, its last rank too large": one_page(patched(MIXED_PAGE, RANKS_OFFSET + 78, 7), kind=MIXED),
    "mixed page, an exception more": one_page(patched(MIXED_PAGE, 4, 0x0007), kind=MIXED),
    "mixed page, an exception past its numbers": one_page(patched(MIXED_PAGE, RANKS_OFFSET - 2, 1), kind=MIXED),
    "mixed page, an active number past its numbers": one_page(patched(MIXED_PAGE, RANKS_OFFSET - 6, 1), kind=MIXED),
    "mixed page without an exception": one_page(mixed_page_of((), (), [3], [], 0), kind=MIXED),
    "mixed page, no class in its palette": one_page(mixed_page_of((), EXCEPTIONS, [], []), kind=MIXED),
    "mixed page, more classes than exceptions": one_page(mixed_page_of((), [7], [3, 4], [0]), kind=MIXED),
    "mixed page, as many classes as can be counted": one_page(
        mixed_page_of((), EXCEPTIONS, [3] * 65_535, [0] * len(EXCEPTIONS)), kind=MIXED
    ),
    "mixed page, a class that no exception has": one_page(mixed_page_of((), [7, 8], [3, 4], [0, 0]), kind=MIXED),
    "mixed page, an exception of an unknown class": one_page(mixed_page((), {**EXCEPTIONS, 7: 5}), kind=MIXED),
    "mixed page, its only exception of an unknown class": one_page(mixed_page((), {7: 65_535}), kind=MIXED),
    "mixed page, an exception of the entry's class": one_page(mixed_page((), {**EXCEPTIONS, 7: 2}), kind=MIXED),
    "mixed page, a class twice": one_page(mixed_page_of((), [7, 8], [3, 3], [0, 1]), kind=MIXED),
    "mixed page, wider codes than it needs": one_page(mixed_page_of((), [7], [3], [0], 1), kind=MIXED),
    "mixed page, narrower codes than it needs": one_page(mixed_page_of((), [7, 8], [3, 4], [0, 0], 0), kind=MIXED),
    "mixed page, a width that there is not": one_page(
        mixed_page_of((), [6, 7, 8], [3, 4, 0], [0, 1, 2], 3), kind=MIXED
    ),
    "mixed page, a code past its palette": one_page(
        mixed_page_of((), [5, 6, 7, 8], [3, 4, 0], [0, 1, 2, 3]), kind=MIXED
    ),
    "mixed page, its last code past its palette": one_page(
        mixed_page_of((), EXCEPTIONS, [3, 4, 0], [0, 1, 2, 0, 0, 0, 0, 3]), kind=MIXED
    ),
    "mixed page, its palette in another order": one_page(mixed_page_of((), [7, 8], [4, 3], [1, 0]), kind=MIXED),
    "mixed page, an unused bit of its codes": one_page(MIXED_PAGE[:-1] + b"\x80", kind=MIXED),
    "mixed page, an unused bit of its last code's word": one_page(
        mixed_page((), {7: 3, 8: 4})[:-2] + b"\6\0", kind=MIXED
    ),
    "mixed page, an unused bit of codes of no bits": one_page(mixed_page((), {7: 3})[:-2] + b"\1\0", kind=MIXED),
    "no run": one_page(runs_page([]), kind=RUNS),
    "runs that do not start at 0": one_page(runs_page([(1, 2), (5, 3)]), kind=RUNS),
    "runs out of order": one_page(runs_page([(0, 2), (5, 3), (4, 2)]), kind=RUNS),
    "runs of which one is empty": one_page(runs_page([(0, 2), (5, 3), (5, 2)]), kind=RUNS),
    "run of an unknown class": one_page(runs_page([(0, 2), (5, 5)]), kind=RUNS),
    "first run of an unknown class": one_page(runs_page([(0, 65_535), (5, 2)]), kind=RUNS),
    "runs past their extent": one_page(runs_page([(i, 2) for i in range(400)])[:-2], kind=RUNS),
    "more runs than the extent has room for": one_page(b"\xff\xff" + bytes(2_000), kind=RUNS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_are_refused_when_they_do_not_fit(name):
    with pytest.raises(IndexDamaged):
        REFUSED[name].table()


@pytest.mark.parametrize(
    "parts",
    [
        one_page(plain_page(()), kind=PLAIN),
        one_page(MIXED_PAGE, kind=MIXED),
        one_page(mixed_page((), {9_999: 3}), kind=MIXED),
        one_page(runs_page([(i, 2 + i % 2) for i in range(400)]), kind=RUNS),
        replace(SOUND, classes=SOUND.classes + number_class(0, 2, 2) * (65_536 - 5)),
        replace(SOUND, extents=SOUND.extents * 255),
        replace(SOUND, directory=entry(0, 2) * 429_496, spans=[(FIRST, 0, 429_496)]),
        replace(SOUND, directory=entry(RUNS_OFFSET + len(runs_page([(0, 0)] * 4)) // 8 * 8, 2), spans=[(FIRST, 0, 1)]),
    ],
)
def test_parts_are_taken_when_they_fit_without_a_byte_to_spare(parts):
    parts.table()


def test_offset_of_a_mixed_page_is_counted_in_eights():
    assert MIXED_OFFSET % 8 == 0
    assert RUNS_OFFSET % 8 == 0


def test_table_takes_no_part_by_place():
    with pytest.raises(TypeError):
        Table(SOUND.directory, SOUND.classes, SOUND.extents, SOUND.spans, SOUND.spaces, 9)
