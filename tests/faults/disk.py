"""What a power loss leaves of a directory: the model of a disk that keeps what was synchronised and nothing by promise.

A file's bytes last once the file is synchronised, a name (made, renamed, removed) once its directory is. Of all else
any part may have reached the disk, in any order, and a write may be torn at a sector's end: `power_loss` draws which.
A rename is one step, and directories, once made, stay: journaling file systems promise both.
"""

import copy
import os
import random
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

RECORD = struct.Struct("<cQQII")  # recorder.c has its twin
SECTOR_SIZE = 512
# Shared memory of SQLite's connections: not on the disk in any sense, and made anew by the first that opens.
IGNORED_SUFFIX = "-shm"


Keep = Callable[[int, int], bool]
"""Whether a step that was not promised has happened, by its place among so many of them."""

ORDERLY_LOSSES: Sequence[Keep] = (
    lambda _place, _count: False,
    lambda place, count: place == count - 1,
    lambda place, count: place != count - 1,
)
"""Power losses in a set order: nothing was kept; what came last, and nothing before it; all but that."""


class Record(NamedTuple):
    """One step of the log."""

    kind: str
    inode: int
    offset: int
    first: bytes
    second: bytes


@dataclass(eq=False, slots=True)
class File:
    """What the disk holds of a file's bytes."""

    content: bytearray = field(default_factory=bytearray)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes in their place; what lies between the end and them is zero."""
        if len(self.content) < offset:
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Cut or lengthen."""
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))


@dataclass(slots=True)
class Step:
    """A change that is not promised yet: of a file's bytes, or of a directory's names."""

    target: "File | str"
    apply: Callable[[], None]


class Disk:
    """The files under a directory, as the disk has them, and the steps that it may or may not have taken."""

    def __init__(self, root: Path) -> None:
        """Take what is there as being on the disk, all of it."""
        self.names: dict[str, File] = {}
        self.directories: set[str] = set()
        self._pending: list[Step] = []
        self._by_inode: dict[int, File] = {}
        self._current: dict[str, File] = {}
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_dir():
                self.directories.add(name)
            elif not name.endswith(IGNORED_SUFFIX):
                self.names[name] = self._by_inode[path.stat().st_ino] = File(bytearray(path.read_bytes()))
        self._current.update(self.names)

    def replay(self, log: Path) -> None:
        """Take the steps of a log, in their order."""
        self.take(read_log(log))

    def take(self, records: Iterable[Record]) -> None:
        """Take steps, in their order."""
        for record in records:
            self._take(record)

    def after(self, records: Iterable[Record]) -> "Disk":
        """This disk, on which nothing is pending, and then some steps; this one stays as it is."""
        assert not self._pending
        other = copy.copy(self)
        copies = {id(file): File(bytearray(file.content)) for file in self._by_inode.values()}
        other.names, other._current = ({name: copies[id(file)] for name, file in self.names.items()} for _ in range(2))
        other._by_inode = {inode: copies[id(file)] for inode, file in self._by_inode.items()}
        other.directories, other._pending = set(self.directories), []
        other.take(records)
        return other

    def _take(self, record: Record) -> None:
        first, second = os.fsdecode(record.first), os.fsdecode(record.second)
        match record.kind:
            case "C":
                file = self._by_inode[record.inode] = self._current[first] = File()
                self._name(first, file)
            case "W":
                self._bytes(record.inode, lambda file: self._write(file, record.offset, record.first))
            case "T":
                self._bytes(record.inode, lambda file: self._pend(file, lambda: file.truncate(record.offset)))
            case "S":
                self._settle(self._by_inode.get(record.inode))
            case "D":
                self._settle("" if first == "." else first)
            case "R":
                self._current[second] = file = self._current.pop(first)
                self._pend(_directory_of(second), lambda: self._rename(first, second, file))
            case "U":
                self._current.pop(first, None)
                self._pend(_directory_of(first), lambda: self.names.pop(first, None))
            case "M":
                self.directories.add(first)
            case unknown:
                raise ValueError(f"the log has a record of kind {unknown!r}")

    def _name(self, name: str, file: File) -> None:
        self._pend(_directory_of(name), lambda: self.names.update({name: file}))

    def _rename(self, old: str, new: str, file: File) -> None:
        self.names.pop(old, None)
        self.names[new] = file

    def _bytes(self, inode: int, change: Callable[[File], None]) -> None:
        file = self._by_inode.get(inode)
        if file is not None:  # else it is one that the model leaves out
            change(file)

    def _write(self, file: File, offset: int, data: bytes) -> None:
        place = 0
        while place < len(data):
            end = place + SECTOR_SIZE - (offset + place) % SECTOR_SIZE
            self._pend(file, lambda at=offset + place, piece=data[place:end]: file.write(at, piece))
            place = end

    def _pend(self, target: "File | str", apply: Callable[[], object]) -> None:
        self._pending.append(Step(target, apply))

    def _settle(self, target: "File | str | None") -> None:
        """What is pending for a file or a directory is on the disk now."""
        kept = []
        for step in self._pending:
            if step.target is target or (isinstance(target, str) and step.target == target):
                step.apply()
            else:
                kept.append(step)
        self._pending = kept

    def keep(self, choose: Keep) -> None:
        """End all doubt: of the pending steps those happened that `choose(place, count)` says."""
        for place, step in enumerate(self._pending):
            if choose(place, len(self._pending)):
                step.apply()
        self._pending = []

    def write_to(self, directory: Path) -> None:
        """Lay the disk's files out in an empty directory."""
        directory.mkdir(parents=True)
        for name in sorted(self.directories):
            (directory / name).mkdir(parents=True, exist_ok=True)
        for name, file in self.names.items():
            if not name.endswith(IGNORED_SUFFIX):
                (directory / name).write_bytes(file.content)


def _directory_of(name: str) -> str:
    parent = str(PurePosixPath(name).parent)
    return "" if parent == "." else parent


def power_loss(chance: random.Random) -> Keep:
    """Draw what a power loss keeps of what was not promised: nothing, all up to a moment, or any part of it."""
    kind = chance.randrange(3)
    if kind == 0:
        return lambda _place, _count: False
    if kind == 1:
        share = chance.random()
        return lambda place, count: place < share * count
    likelihood = chance.choice((0.1, 0.5, 0.9))
    return lambda _place, _count: chance.random() < likelihood


def read_log(log: Path) -> Iterator[Record]:
    """The records of a log; the last is left out if the kill has cut it."""
    written, place = log.read_bytes(), 0
    while place + RECORD.size <= len(written):
        kind, inode, offset, first_length, second_length = RECORD.unpack_from(written, place)
        middle = place + RECORD.size + first_length
        end = middle + second_length
        if end > len(written):
            return
        yield Record(kind.decode(), inode, offset, written[place + RECORD.size : middle], written[middle:end])
        place = end
