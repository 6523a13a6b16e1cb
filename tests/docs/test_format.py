"""docs/format.md is enough to read an index, and to compute a digest, without numcheck's own code."""

import io
import json
import re
import struct
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path

import pytest
import xxhash

from numcheck.errors import IndexDamaged
from numcheck.index import build_index, open_index
from numcheck.index.format import map_block_file, read_manifest, write_block_file, write_manifest
from tests.active.sets import active_set_of
from tests.index.world import small_world, telling_numbers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/format.md").read_text()
PACKAGE = ROOT / "src/numcheck"
INVALID, UNALLOCATED, INACTIVE, ACTIVE, UNKNOWN, NOT_MOBILE = range(1, 7)


@pytest.fixture
def directory(tmp_path) -> Path:
    build_index(tmp_path, small_world().source(7))
    return tmp_path


# --- a second reader, from the page alone


def payload_of(path: Path) -> bytes:
    """The payload of a block file, its header and its blocks compared."""
    content, seed = path.read_bytes(), xxhash.xxh3_64_intdigest(path.name.encode())
    magic, version, block_size, written_seed, size, checksum = struct.unpack("<8sIIQQ24xQ", content[:64])
    assert (magic, version, block_size, written_seed) == (b"numcheck", 5, 65_536, seed)
    assert checksum == xxhash.xxh3_64_intdigest(content[:56])
    assert content[32:56] == bytes(24)
    payload = content[64 : 64 + size]
    blocks = [payload[start : start + 65_536] for start in range(0, size, 65_536)]
    checksums = [xxhash.xxh3_64_intdigest(block, (seed + b) % 2**64) for b, block in enumerate(blocks)]
    assert content[64 + size :] == struct.pack(f"<{len(blocks)}Q", *checksums)
    return payload


def manifest_of(directory: Path) -> dict:
    line, checksum, rest = (directory / "manifest.json").read_bytes().split(b"\n")
    assert (checksum.decode(), rest) == (xxhash.xxh3_128_hexdigest(line), b"")
    return json.loads(line)


def bit(words: bytes, place: int, *, stride: int = 4, after: int = 0) -> int:
    (word,) = struct.unpack_from("<I", words, place // 32 * stride + after)
    return word >> place % 32 & 1


def of_plain_page(page: bytes, number_class: int, place: int) -> tuple[int, int]:
    return number_class, bit(page, place)


def of_mixed_page(page: bytes, number_class: int, place: int) -> tuple[int, int]:
    active, exception = (bit(page, place, stride=8, after=after) for after in (0, 4))
    if exception:
        (rank,) = struct.unpack_from("<H", page, 2_504 + place // 256 * 2)
        rank += sum(bit(page, before, stride=8, after=4) for before in range(place // 256 * 256, place))
        class_count, width = struct.unpack_from("<HH", page, 2_584)
        assert width == next(one for one in (0, 1, 2, 4, 8, 16) if 2**one >= class_count)
        (word,) = struct.unpack_from("<H", page, 2_588 + 2 * class_count + rank * width // 16 * 2)
        code = (word >> rank * width % 16) % 2**width
        (number_class,) = struct.unpack_from("<H", page, 2_588 + 2 * code)
    return number_class, active


def of_runs_page(page: bytes, _number_class: int, place: int) -> tuple[int, int]:
    (count,) = struct.unpack_from("<H", page)
    runs = [struct.unpack_from("<HH", page, 2 + 4 * run) for run in range(count)]
    return [number_class for first, number_class in runs if first <= place][-1], 0


KINDS: tuple[Callable[[bytes, int, int], tuple[int, int]], ...] = (of_plain_page, of_mixed_page, of_runs_page)


def reader_of(directory: Path) -> Callable[[int], tuple[int, int]]:
    """A function that says class and active bit of a number, and then status and operator id, slowly."""
    manifest = manifest_of(directory)
    entries = payload_of(directory / manifest["files"]["directory"][0])
    pages = [payload_of(directory / name) for name, _, _ in manifest["files"]["extents"]]
    extents = (bytes(1_256) + b"\xff" * 1_256, *pages)
    operators = {row[0]: row for row in manifest["operators"]}
    sizes = [last - first + 1 for first, last in manifest["spans"]]
    starts = [start - size for start, size in zip(accumulate(sizes), sizes, strict=True)]

    def class_and_bit(number: int) -> tuple[int, int]:
        chunk, place = number // 10_000_000, number % 10_000
        for start, (first, last) in zip(starts, manifest["spans"], strict=True):
            if first <= chunk <= last:
                entry = 1_000 * (start + chunk - first) + number % 10_000_000 // 10_000
                offset, number_class, extent, kind = struct.unpack_from("<IHBB", entries, 8 * entry)
                return KINDS[kind](extents[extent][8 * offset :], number_class, place)
        return (0 if any(first <= number <= last for first, last in manifest["spaces"]) else 1), 0

    def answer(number: int) -> tuple[int, int]:
        number_class, active = class_and_bit(number)
        if number_class < 2:
            return (UNALLOCATED, INVALID)[number_class], 0
        operator_id, mobile = manifest["classes"][number_class - 2]
        supplied = operators[operator_id][4] is not None
        return (((INACTIVE, ACTIVE)[active] if supplied else UNKNOWN) if mobile else NOT_MOBILE), operator_id

    return answer


def test_index_is_read_by_what_the_page_says(directory):
    """A reader written from the page gives the answers of the plan and the sets that the index was built from."""
    world = small_world()
    answer, asked = reader_of(directory), telling_numbers(world)
    assert [answer(number) for number in asked] == [world.answer(number) for number in asked]


def test_pages_of_every_kind_were_read(directory):
    """The world above has them all, or the test before would show little."""
    entries = struct.iter_unpack("<IHBB", payload_of(directory / manifest_of(directory)["files"]["directory"][0]))
    seen = {(kind, extent, offset if extent == 0 else None) for offset, _, extent, kind in entries}
    assert seen == {(0, 0, 0), (0, 0, 157), (0, 1, None), (1, 1, None), (2, 1, None)}


def test_range_table_is_read_by_what_the_page_says(directory):
    manifest = manifest_of(directory)
    count, payload = manifest["range_count"], payload_of(directory / manifest["files"]["ranges"][0])
    columns = struct.unpack(f"<{count}Q{count}Q{count}I{count}I", payload)
    firsts, lasts, operators, regions = (columns[count * i : count * (i + 1)] for i in range(4))
    for number in telling_numbers(small_world()):
        held, row = small_world().holder(number), bisect_right(firsts, number) - 1
        if row < 0 or number > lasts[row]:
            assert held is None
        else:
            assert held is not None
            assert (operators[row], manifest["regions"][regions[row]]) == (held.operator_id, held.region)


# --- what a reader must refuse

REFUSALS = PAGE.split("## What a reader must refuse")[1].split("\n## ")[0]


def messages_of(source: str) -> Iterable[str]:
    """What the reader says when it refuses, with … for what differs."""
    for message in re.findall(r'raise Index(?:Damaged|Missing)\(\s*f?"([^"]+)"', source):
        yield re.sub(r"\{[^}]*\}", "…", message)


def test_every_refusal_is_on_the_page():
    sources = [(PACKAGE / name).read_text() for name in ("index/format.py", "index/reader.py", "_fast.pyx")]
    messages = {message for source in sources for message in messages_of(source)}
    assert len(messages) > 15
    assert [message for message in sorted(messages) if f"| {message} |" not in REFUSALS] == []


def test_refusals_are_numbered_from_1():
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", REFUSALS, re.MULTILINE)]
    assert numbers == [*range(1, len(numbers) + 1)]


def test_every_case_that_the_page_names_is_tested():
    rows = [row for row in REFUSALS.splitlines() if row.startswith("| ")]
    cases = [case for row in rows for case in re.findall(r"\[([^\]]+)\]", row)]
    source = (ROOT / "tests/kernel/test_table.py").read_text()
    assert [case for case in cases if case != "its case" and f'"{case}": ' not in source] == []


def test_index_is_refused_when_its_format_is_another(directory):
    """Sound in every checksum, and of a format that is to come."""
    body = json.dumps({**read_manifest(directory.joinpath), "format": 6}).encode()
    (directory / "manifest.json").write_bytes(body + b"\n" + xxhash.xxh3_128_hexdigest(body).encode() + b"\n")
    with pytest.raises(IndexDamaged, match=r"^the index has format 6; this numcheck reads 5$"):
        open_index(directory)


@pytest.mark.parametrize("wrong", [None, "x", [[None]], -1])
@pytest.mark.parametrize(
    "key",
    [
        "files",
        "installation",
        "index_version",
        "mark",
        "lost",
        "operators",
        "range_count",
        "regions",
        "classes",
        "spans",
        "spaces",
    ],
)
def test_index_is_refused_when_its_manifest_lacks(directory, key, wrong):
    """Sound in every checksum, and not an index's: a key is missing, or holds something else."""
    manifest = read_manifest(directory.joinpath)
    del manifest[key]
    write_manifest(directory, manifest)
    with pytest.raises(IndexDamaged):
        open_index(directory)
    write_manifest(directory, {**manifest, key: wrong})
    with pytest.raises(IndexDamaged):
        open_index(directory)


@pytest.mark.parametrize("change", [-24, -1, 1, 24])
def test_index_is_refused_when_the_range_table_has_another_size(directory, change):
    """Sound in every checksum, and of other rows than the manifest counts."""
    manifest = read_manifest(directory.joinpath)
    name = manifest["files"]["ranges"][0]
    payload = payload_of(directory / name)
    written = write_block_file(directory, name, [payload[:change] if change < 0 else payload + bytes(change)])
    manifest["files"]["ranges"] = [written.name, written.payload_size, written.checksum]
    write_manifest(directory, manifest)
    assert len(map_block_file(directory.joinpath, written)) == len(payload) + change
    with pytest.raises(IndexDamaged, match=r"^the range table does not have the size that the manifest says$"):
        open_index(directory)


# --- the digest

PROGRAM = PAGE.split("```python\n")[1].split("```")[0]


def digest_by_program(numbers: Iterable[int]) -> str:
    lines = "".join(f"{number}\n" for number in numbers)
    run = subprocess.run([sys.executable, "-c", PROGRAM], input=lines, capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        [79161234567],
        [79000000000, 79009999999, 79010000000, 79999999999],
        [79161234567, 70000000000, 79999999999, 79161234567, 74951234567],
        [*range(79160000000, 79160030000, 7)][::-1],
    ],
    ids=["none", "one", "ends of chunks", "any order, repeated", "many, descending"],
)
def test_operators_program_prints_the_digest_of_the_active_set(numbers):
    """The page's lines, run as they stand, give ActiveSet.digest()."""
    assert digest_by_program(numbers) == active_set_of(numbers).digest().hex()


@pytest.mark.parametrize(
    "line", ["9161234567", "+79161234567", "89161234567", "7916123456", "", "7916123456\u0667", "x"]
)
def test_operators_program_refuses_a_line_that_is_no_whole_number(line):
    """Ten digits above all: they would give the digest of another set, and nobody would see it."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=f"79161234567\n{line}\n", capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert "is not a number such as 79161234567" in run.stderr


def test_operators_program_makes_a_bitset_once_for_each_chunk(monkeypatch, capsys):
    """Not for each line, which takes forty times as long."""
    made = []
    numbers = range(79160000000, 79180000000, 40_000)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{number}\n" for number in numbers)))
    exec(PROGRAM, {"bytearray": lambda size: made.append(size) or bytearray(size)})
    assert made == [1_250_000] * 2
    assert capsys.readouterr().out.strip() == active_set_of(numbers).digest().hex()
