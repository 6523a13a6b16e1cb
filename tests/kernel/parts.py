"""An index's parts made by hand, to be made wrong one by one."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from numcheck._fast import Table

PAGE = 10_000
WORDS = 313
PLAIN, MIXED, RUNS = 0, 1, 2
PLAIN_SIZE, MIXED_SIZE = 1_256, 2_588
CODE_WIDTHS = (0, 1, 2, 4, 8, 16)
UNALLOCATED, INVALID = 0, 1
FIRST = 79160000000

ENTRY = struct.Struct("<IHBB")
CLASS = struct.Struct("<I2BBx8s")


def entry(offset: int, number_class: int, *, extent: int = 1, kind: int = PLAIN) -> bytes:
    """A page's place in the directory; the offset is in bytes."""
    return ENTRY.pack(offset // 8, number_class, extent, kind)


def number_class(operator_id: int, inactive: int, active: int, *, varint_size: int = 1) -> bytes:
    """A class whose operator id takes one byte on the wire."""
    return CLASS.pack(operator_id, inactive, active, varint_size, bytes([operator_id]))


def bits(places: Iterable[int]) -> list[int]:
    """A page's bits as 32-bit words."""
    words = [0] * WORDS
    for place in places:
        words[place // 32] |= 1 << place % 32
    return words


def plain_page(active: Iterable[int]) -> bytes:
    """A page of one class."""
    return struct.pack(f"<{WORDS}I4x", *bits(active))


def mixed_page(active: Iterable[int], exceptions: Mapping[int, int]) -> bytes:
    """A page of one class with exceptions of others, by place."""
    palette = list(dict.fromkeys(exceptions[place] for place in sorted(exceptions)))
    codes = [palette.index(exceptions[place]) for place in sorted(exceptions)]
    return mixed_page_of(active, exceptions, palette, codes)


def mixed_page_of(
    active: Iterable[int],
    places: Iterable[int],
    palette: Sequence[int],
    codes: Iterable[int],
    width: int | None = None,
) -> bytes:
    """A page with exceptions at places, whose classes the palette and the codes say, as wrong as they may be."""
    places, codes = sorted(places), list(codes)
    if width is None:
        width = next(one for one in CODE_WIDTHS if 2**one >= len(palette))
    pairs = [word for pair in zip(bits(active), bits(places), strict=True) for word in pair]
    ranks = [sum(place // 256 < line for place in places) for line in range(40)]
    packed = sum(code << i * width for i, code in enumerate(codes)).to_bytes(
        2 * (len(codes) * width // 16 + 1), "little"
    )
    head = struct.pack(f"<{2 * WORDS}I42H", *pairs, *ranks, len(palette), width)
    return head + struct.pack(f"<{len(palette)}H", *palette) + packed


def runs_page(runs: Sequence[tuple[int, int]]) -> bytes:
    """A page with nothing active: where each run starts, and its class."""
    return struct.pack(f"<H{2 * len(runs)}H", len(runs), *[part for run in runs for part in run])


def padded(page: bytes) -> bytes:
    """A page with what follows it up to the next multiple of eight bytes."""
    return page + bytes(-len(page) % 8)


ACTIVE_PLACES = frozenset({0, 31, 32, 255, 256, 5_000, 9_999})
EXCEPTIONS = {0: 3, 1: 3, 255: 3, 256: 4, 5_000: 0, 5_001: 4, 9_998: 3, 9_999: 4}
RUN_LIST = [(0, 3), (1, 0), (100, 4), (9_999, 2)]
MIXED_OFFSET = len(padded(plain_page(())))
RUNS_OFFSET = MIXED_OFFSET + len(padded(mixed_page((), EXCEPTIONS)))

# INVALID 1, UNALLOCATED 2, INACTIVE 3, ACTIVE 4, UNKNOWN 5
CLASSES = (
    number_class(0, 2, 2),
    number_class(0, 1, 1),
    number_class(10, 3, 4),
    number_class(20, 3, 4),
    number_class(30, 5, 5),
)


@dataclass(frozen=True)
class Parts:
    """All that a Table is made of: here a page of each kind, and one of the kernel's own."""

    directory: bytes = b"".join(
        (
            entry(0, 2),
            entry(MIXED_OFFSET, 2, kind=MIXED),
            entry(RUNS_OFFSET, 2, kind=RUNS),
            entry(PLAIN_SIZE, 3, extent=0),
        )
    )
    classes: bytes = b"".join(CLASSES)
    extents: Sequence[bytes] = (
        b"".join(
            (
                padded(plain_page(ACTIVE_PLACES)),
                padded(mixed_page(ACTIVE_PLACES, EXCEPTIONS)),
                padded(runs_page(RUN_LIST)),
                bytes(PLAIN_SIZE),
            )
        ),
    )
    spans: Sequence[tuple[int, int, int]] = ((FIRST, 0, 4),)
    spaces: Sequence[tuple[int, int, int]] = ((70000000000, 0, 1_000_000),)
    index_version: int = 9

    def table(self) -> Table:
        """The kernel's table of them."""
        return Table(
            directory=self.directory,
            classes=self.classes,
            extents=self.extents,
            spans=self.spans,
            spaces=self.spaces,
            index_version=self.index_version,
        )


def expected_class(number: int) -> int:
    """The class of a number of the sound parts."""
    page, place = divmod(number - FIRST, PAGE)
    if page == 1:
        return EXCEPTIONS.get(place, 2)
    if page == 2:
        return [one for first, one in RUN_LIST if first <= place][-1]
    return {0: 2, 3: 3}.get(page, UNALLOCATED if 70000000000 <= number <= 79999999999 else INVALID)


def expected_answer(number: int) -> tuple[int, int]:
    """The status and operator id of a number of the sound parts."""
    page, place = divmod(number - FIRST, PAGE)
    active = page == 3 or (page in (0, 1) and place in ACTIVE_PLACES)
    operator_id, *statuses, _, _ = CLASS.unpack(CLASSES[expected_class(number)])
    return statuses[active], operator_id
