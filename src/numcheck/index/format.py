"""The index's files on disk: what is written is what is read, or it is refused. docs/format.md says it byte by byte.

Invariants: a block file is complete under its final name or not there at all, and never changes afterwards; the
manifest is replaced by one atomic rename once every file that it names is durable, so a reader sees one version or the
next; a file is removed, never truncated, so what is mapped stays readable.
"""

import json
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from numcheck._recycled import Layer
from numcheck.errors import IndexDamaged, IndexMissing
from numcheck.output import sync_directory
from numcheck.privacy import private_opener

DIRECTORY_NAME = "index"  # in the data directory
MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 5
MAGIC = b"numcheck"
BLOCK_SIZE = 65_536
RANGE_SIZE = 24  # of a row of the range table, in four columns: 8, 8, 4 and 4 bytes
HEADER = struct.Struct("<8sIIQQ24xQ")  # magic, format version, block size, seed, payload size, checksum of the rest
CHECKSUM = struct.Struct("<Q")

PathOf = Callable[[str], Path]
"""Returns where the file of a name lies."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A block file's record in the manifest: enough to refuse a stale, swapped or truncated file."""

    name: str
    payload_size: int
    checksum: str  # XXH3-128 of the file's table of block checksums, hexadecimal


def _seed_of(name: str) -> int:
    """Blocks are hashed under their file's name and their number, so that one in another's place shows."""
    return xxhash.xxh3_64_intdigest(name.encode())


def _block_checksums(payload: memoryview | bytes, seed: int, first_block: int = 0) -> bytes:
    blocks = range(0, len(payload), BLOCK_SIZE)
    return b"".join(
        CHECKSUM.pack(xxhash.xxh3_64_intdigest(payload[start : start + BLOCK_SIZE], (seed + block) % 2**64))
        for block, start in enumerate(blocks, first_block)
    )


def _header(seed: int, payload_size: int) -> bytes:
    unsigned = HEADER.pack(MAGIC, FORMAT_VERSION, BLOCK_SIZE, seed, payload_size, 0)
    return unsigned[:-8] + CHECKSUM.pack(xxhash.xxh3_64_intdigest(unsigned[:-8]))


def _blocks(pieces: Iterable[bytes | bytearray]) -> Iterator[memoryview | bytes]:
    """Yield the pieces' bytes in whole blocks, several at a time, and at the end what is left.

    Large pieces are not copied: that would keep Python's lock for as long as calls take.
    """
    pending = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        if pending:
            wanted = BLOCK_SIZE - len(pending)
            pending += view[:wanted]
            view = view[wanted:]
            if len(pending) < BLOCK_SIZE:
                continue
            yield bytes(pending)
            pending.clear()
        whole = len(view) - len(view) % BLOCK_SIZE
        if whole:
            yield view[:whole]
        pending += view[whole:]
    yield bytes(pending)


def write_block_file(directory: Path, name: str, pieces: Iterable[bytes | bytearray]) -> FileRecord:
    """Write a block file from the pieces of its payload, durable and complete under its name when this returns."""
    temporary, seed = directory / f".{name}.tmp", _seed_of(name)
    checksums, size = bytearray(), 0
    with open(temporary, "wb", opener=private_opener) as file:
        file.write(bytes(HEADER.size))
        for block in _blocks(pieces):
            file.write(block)
            size += len(block)
            checksums += _block_checksums(block, seed, len(checksums) // CHECKSUM.size)
        file.write(checksums)
        file.seek(0)
        file.write(_header(seed, size))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / name)
    return FileRecord(name, size, xxhash.xxh3_128_hexdigest(checksums))


def map_block_file(path_of: PathOf, record: FileRecord) -> memoryview:
    """Map a block file and return its payload, every block checked; IndexDamaged names the first that is not right."""
    try:
        with path_of(record.name).open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise IndexDamaged(f"{record.name} is missing") from None
    except ValueError:
        raise IndexDamaged(f"{record.name} is empty") from None
    end, seed = HEADER.size + record.payload_size, _seed_of(record.name)
    block_count = -(-record.payload_size // BLOCK_SIZE)
    if len(mapped) != end + block_count * CHECKSUM.size:
        raise IndexDamaged(f"{record.name} has {len(mapped):,} bytes, which is not what was written")
    if mapped[: HEADER.size] != _header(seed, record.payload_size):
        raise IndexDamaged(f"{record.name} does not have the header that was written")
    payload, checksums = mapped[HEADER.size : end], mapped[end:]
    if xxhash.xxh3_128_hexdigest(checksums) != record.checksum:
        raise IndexDamaged(f"the checksums of {record.name} are not those that the manifest speaks of")
    _compare_blocks(record.name, _block_checksums(payload, seed), bytes(checksums))
    return payload


def _compare_blocks(name: str, found: bytes, written: bytes) -> None:
    for block, (one, other) in enumerate(zip(CHECKSUM.iter_unpack(found), CHECKSUM.iter_unpack(written), strict=True)):
        if one != other:
            raise IndexDamaged(f"block {block} of {name} is not what was written")


def write_manifest(directory: Path, content: dict[str, Any]) -> None:
    """Publish a version: durable when this returns, and then every file that the manifest does not name is removed."""
    body = json.dumps({"format": FORMAT_VERSION, **content}, ensure_ascii=False, separators=(",", ":")).encode()
    temporary = directory / f".{MANIFEST_NAME}.tmp"
    with open(temporary, "wb", opener=private_opener) as file:
        file.write(body + b"\n" + xxhash.xxh3_128_hexdigest(body).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)  # the files that the manifest names, before the manifest
    temporary.replace(directory / MANIFEST_NAME)
    sync_directory(directory)


def read_manifest(path_of: PathOf) -> dict[str, Any]:
    """Return the manifest's content; IndexMissing if there is none, IndexDamaged if it is not what was written."""
    path = path_of(MANIFEST_NAME)
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        raise IndexMissing(f"there is no index in {path.parent}") from None
    body, _, checksum = written.partition(b"\n")
    if checksum != xxhash.xxh3_128_hexdigest(body).encode() + b"\n":
        raise IndexDamaged("the manifest is not what was written")
    content: dict[str, Any] = json.loads(body)
    if content["format"] != FORMAT_VERSION:
        raise IndexDamaged(f"the index has format {content['format']}; this numcheck reads {FORMAT_VERSION}")
    return content


def try_installation_id(data_dir: Path) -> str | None:
    """Return whose index a data directory has; None if it has none that can be read."""
    with suppress(IndexMissing, IndexDamaged, OSError):
        return str(read_manifest((data_dir / DIRECTORY_NAME).joinpath)["installation"])
    return None


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """A published index, mapped, every byte of it checked: the manifest's content and the payloads that it names."""

    manifest: Mapping[str, Any]
    directory: memoryview
    ranges: memoryview
    extents: tuple[memoryview, ...]
    record: tuple[memoryview, ...]  # the layers of the record of withdrawals, the oldest first
    layers: tuple[Layer, ...]  # the same, ready to be read

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return sum(map(len, (self.directory, self.ranges, *self.extents, *self.record)))


def open_files(path_of: PathOf, previous: IndexFiles | None = None) -> IndexFiles:
    """Map the published index; what `previous` has mapped already is shared with it. IndexMissing or IndexDamaged."""
    manifest = read_manifest(path_of)
    mapped = {} if previous is None else dict(_mapped(previous))
    known = {} if previous is None else dict(zip(_records(previous.manifest, "record"), previous.layers, strict=True))
    try:
        files = manifest["files"]
        named = [FileRecord(*files["directory"]), FileRecord(*files["ranges"])]
        extents, record = _records(manifest, "extents"), _records(manifest, "record")
    except (KeyError, TypeError):
        raise IndexDamaged("the manifest does not name the index's files") from None
    payloads = [mapped[one] if one in mapped else map_block_file(path_of, one) for one in (*named, *extents, *record)]
    first_layer = len(named) + len(extents)
    layers = [
        known[one] if one in known else Layer(payload)
        for one, payload in zip(record, payloads[first_layer:], strict=True)
    ]
    return IndexFiles(
        manifest,
        payloads[0],
        payloads[1],
        tuple(payloads[len(named) : first_layer]),
        tuple(payloads[first_layer:]),
        tuple(layers),
    )


def _records(manifest: Mapping[str, Any], kind: str) -> list[FileRecord]:
    return [FileRecord(*row) for row in manifest["files"][kind]]


def _mapped(files: IndexFiles) -> Iterator[tuple[FileRecord, memoryview]]:
    named = files.manifest["files"]
    yield from zip(_records(files.manifest, "extents"), files.extents, strict=True)
    yield from zip(_records(files.manifest, "record"), files.record, strict=True)
    yield FileRecord(*named["directory"]), files.directory
    yield FileRecord(*named["ranges"]), files.ranges


def remove_unnamed(directory: Path, named: Iterable[str]) -> None:
    """Remove every file that the published manifest does not name. A process that has one mapped keeps the mapping."""
    keep = {MANIFEST_NAME, *named}
    for path in directory.iterdir():
        if path.name not in keep and path.is_file():
            path.unlink()


def range_columns(payload: memoryview) -> tuple[memoryview, memoryview, memoryview, memoryview]:
    """Return the columns of the range table: first and last numbers, operators, places in the manifest's regions."""
    count = len(payload) // RANGE_SIZE
    firsts, lasts = payload[: 8 * count].cast("Q"), payload[8 * count : 16 * count].cast("Q")
    return firsts, lasts, payload[16 * count : 20 * count].cast("I"), payload[20 * count :].cast("I")
