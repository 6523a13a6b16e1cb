"""R3: whatever was changed in an index's files, it is refused and the file named; nothing is answered from it."""

import os
import random
import shutil
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from numcheck.active import AllottedRange, Operator
from numcheck.errors import IndexDamaged, IndexMissing
from numcheck.index import build_index, open_index
from tests.index.world import CHUNK, DATA_TIME, PAGE, World, operator

KINDS = ("manifest", "pages", "directory", "ranges")
HEADER_SIZE, BLOCK_SIZE, CHECKSUM_SIZE = 64, 65_536, 8
FIRST = 79160000000


def tiny_world(*, operator_id: int = 5) -> World:
    """One chunk, with a page of each kind."""
    ranges = [
        AllottedRange(FIRST, FIRST + 99, operator_id, True, "Тверь"),
        AllottedRange(FIRST + 100, FIRST + 199, 300, True, "Псков"),
        AllottedRange(FIRST + PAGE, FIRST + PAGE + 99, operator_id, True, "Тверь"),
        AllottedRange(FIRST + PAGE + 100, FIRST + PAGE + 199, 300, True, "Псков"),
        AllottedRange(FIRST + 2 * PAGE, FIRST + 3 * PAGE - 1, operator_id, True, "Тверь"),
    ]
    active = {operator_id: {FIRST + PAGE, FIRST + PAGE + 99, *range(FIRST + 2 * PAGE, FIRST + 2 * PAGE + 500, 3)}}
    return World(ranges, {operator_id: operator(operator_id), 300: operator(300)}, active)


def wide_world() -> World:
    """Chunks enough for a directory of several blocks, and pages too; as many ranges as that takes."""
    chance = random.Random(1)
    firsts = [FIRST + chunk * CHUNK + page * PAGE for chunk in range(18) for page in range(160)]
    ranges = [AllottedRange(first, first + PAGE - 2, 5, True, f"{chance.random()}") for first in firsts]
    return World(ranges, {5: operator(5)}, {5: {first + chance.randrange(PAGE - 1) for first in firsts * 9}})


def files_of(directory: Path) -> dict[str, Path]:
    return {path.name.split("-")[0].removesuffix(".json"): path for path in directory.iterdir()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    build_index(directory, tiny_world().source(7))
    return directory


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("wide")
    build_index(directory, wide_world().source(7))
    return directory


@pytest.fixture
def copied(tmp_path):
    """A copy of an index, to be damaged."""
    return lambda directory: Path(shutil.copytree(directory, tmp_path / "copy", dirs_exist_ok=True))


def is_refused(directory: Path) -> bool:
    try:
        open_index(directory)
    except IndexDamaged:
        return True
    return False


def written(directory: Path, kind: str, content: bytes) -> Path:
    files_of(directory)[kind].write_bytes(content)
    return directory


@pytest.mark.parametrize("kind", KINDS)
def test_index_is_refused_when_any_bit_is_flipped(copied, tiny, kind):
    """Every bit of what a file begins with; one of each byte behind it."""
    directory = copied(tiny)
    path = files_of(directory)[kind]
    content, undetected = path.read_bytes(), []
    with path.open("r+b") as file:
        for place, byte in enumerate(content):
            for bit in range(8) if place < 2 * HEADER_SIZE else [place % 8]:
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), place)
                if not is_refused(directory):
                    undetected.append((place, bit))
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert undetected == []
    assert not is_refused(directory)


def undetected_cuts(directory: Path, kind: str, ends: Iterable[int]) -> list[int]:
    """The lengths to which a file can be cut, the longest first, with nobody noticing."""
    path = files_of(directory)[kind]
    undetected = []
    for end in sorted(ends, reverse=True):
        os.truncate(path, end)
        if not is_refused(directory):
            undetected.append(end)
    return undetected


@pytest.mark.parametrize("kind", KINDS)
def test_index_is_refused_when_a_file_is_cut_anywhere(copied, tiny, kind):
    size = files_of(tiny)[kind].stat().st_size
    assert undetected_cuts(copied(tiny), kind, range(size)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_index_is_refused_when_a_large_file_is_cut_near_a_block(copied, wide, kind):
    size = files_of(wide)[kind].stat().st_size
    edges = {block + header for block in range(0, size, BLOCK_SIZE) for header in (0, HEADER_SIZE)}
    near = {edge + step for edge in edges for step in range(-9, 10)}
    ends = {end for end in near if 0 <= end < size} | {*range(size - 200, size)} | {*range(0, size, 997)}
    assert undetected_cuts(copied(wide), kind, ends) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"\0", b"\n", bytes(8), bytes(BLOCK_SIZE)])
def test_index_is_refused_when_a_file_goes_on(copied, tiny, kind, tail):
    directory = copied(tiny)
    assert is_refused(written(directory, kind, files_of(directory)[kind].read_bytes() + tail))


def blocks_of(content: bytes) -> list[slice]:
    """Where a file's blocks are: those of its payload, and the header and the checksums as two more."""
    block_count = -(-(len(content) - HEADER_SIZE) // (BLOCK_SIZE + CHECKSUM_SIZE))
    end = len(content) - block_count * CHECKSUM_SIZE
    starts = [HEADER_SIZE + block * BLOCK_SIZE for block in range(block_count)]
    payload = [slice(start, min(start + BLOCK_SIZE, end)) for start in starts]
    return [slice(0, HEADER_SIZE), *payload, slice(end, len(content))]


@pytest.mark.parametrize("kind", ["pages", "directory", "ranges"])
def test_index_is_refused_when_a_block_is_zeroed(copied, wide, kind):
    directory = copied(wide)
    content = files_of(directory)[kind].read_bytes()
    blocks = blocks_of(content)
    assert len(blocks) >= 4
    for block in blocks:
        zeroed = content[: block.start] + bytes(block.stop - block.start) + content[block.stop :]
        assert zeroed != content
        assert is_refused(written(directory, kind, zeroed))


def swapped(content: bytes, one: slice, other: slice) -> bytes:
    return (
        content[: one.start] + content[other] + content[one.stop : other.start] + content[one] + content[other.stop :]
    )


@pytest.mark.parametrize("kind", ["pages", "directory", "ranges"])
def test_index_is_refused_when_two_blocks_are_swapped(copied, wide, kind):
    """With their checksums, and without."""
    directory = copied(wide)
    content = files_of(directory)[kind].read_bytes()
    *payload, checksums = blocks_of(content)[1:]
    chosen = sorted({0, 1, len(payload) // 2, len(payload) - 2, len(payload) - 1})
    for (i, one), (j, other) in combinations([(block, payload[block]) for block in chosen], 2):
        places = [slice(checksums.start + 8 * k, checksums.start + 8 * k + 8) for k in (i, j)]
        for damaged in (swapped(content, one, other), swapped(swapped(content, *places), one, other)):
            assert damaged != content
            assert is_refused(written(directory, kind, damaged))


@pytest.mark.parametrize("kind", ["pages", "directory", "ranges"])
def test_index_is_refused_when_a_block_stands_in_another_files_place(copied, wide, kind):
    """The very same bytes, header and all, under another name: its seed tells."""
    directory = copied(wide)
    content = files_of(directory)[kind].read_bytes()
    for other in {"pages", "directory", "ranges"} - {kind}:
        foreign = files_of(directory)[other].read_bytes()
        block = blocks_of(content)[1]
        assert is_refused(written(directory, kind, content[: block.start] + foreign[block] + content[block.stop :]))


@pytest.mark.parametrize(("one", "other"), list(combinations(KINDS, 2)))
def test_index_is_refused_when_two_files_are_swapped(copied, tiny, one, other):
    directory = copied(tiny)
    paths = files_of(directory)
    aside = directory / "aside"
    paths[one].rename(aside)
    paths[other].rename(paths[one])
    aside.rename(paths[other])
    assert is_refused(directory)


@pytest.mark.parametrize("kind", ["pages", "directory", "ranges"])
def test_index_is_refused_when_a_file_is_another_versions(copied, tiny, tmp_path, kind):
    """Of the same size, sound in itself, and with other numbers in it or with the same."""
    directory = copied(tiny)
    for world, index_version in ((tiny_world(), 6), (tiny_world(operator_id=6), 6), (tiny_world(operator_id=6), 7)):
        other = tmp_path / f"{index_version}-{min(world.operators)}"
        build_index(other, world.source(index_version))
        stale, own = files_of(other)[kind].read_bytes(), files_of(tiny)[kind].read_bytes()
        if stale != own:
            assert is_refused(written(directory, kind, stale))


@pytest.mark.parametrize("kind", ["pages", "directory", "ranges"])
def test_index_is_refused_when_a_file_is_missing_or_empty(copied, tiny, kind):
    directory = copied(tiny)
    path = files_of(directory)[kind]
    path.write_bytes(b"")
    with pytest.raises(IndexDamaged, match=rf"{path.name} is empty"):
        open_index(directory)
    path.unlink()
    with pytest.raises(IndexDamaged, match=rf"{path.name} is missing"):
        open_index(directory)


def test_index_is_missing_when_there_is_no_manifest(copied, tiny, tmp_path):
    directory = copied(tiny)
    files_of(directory)["manifest"].unlink()
    for empty in (directory, tmp_path / "nothing"):
        with pytest.raises(IndexMissing):
            open_index(empty)


def test_index_is_refused_when_its_manifest_is_empty(copied, tiny):
    assert is_refused(written(copied(tiny), "manifest", b""))


def test_refusal_names_the_file_and_the_block(copied, wide):
    directory = copied(wide)
    path = files_of(directory)["pages"]
    content = bytearray(path.read_bytes())
    content[blocks_of(content)[3].start + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(IndexDamaged, match=rf"^block 2 of {path.name} is not what was written$"):
        open_index(directory)


def test_index_of_another_installation_is_refused(tmp_path):
    """Its versions may be the store's revisions by chance."""
    build_index(tmp_path, replace(tiny_world().source(7), installation_id="ab" * 16))
    assert open_index(tmp_path, installation_id="ab" * 16).index_version == 7
    with pytest.raises(IndexDamaged, match=r"^the index is of another installation$"):
        open_index(tmp_path, installation_id="cd" * 16)


def test_undamaged_index_opens(tiny, wide):
    assert open_index(tiny).operators[300] == Operator(300, "Operator 300", "0000000300", 1, DATA_TIME)
    assert open_index(wide).index_version == 7
