"""Writes files whole: under a name that nobody can foresee, beside the target, and renamed when they are complete.

Invariants: no symbolic link is followed or replaced; a target is as it was before, or complete and on disk; what a
crash leaves beside it is hidden, and is never taken for the target.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

EVERYBODY = 0o666  # as far as the umask lets them
OWNER_ONLY = 0o600
OWNER_READS = 0o400


@contextmanager
def replacing(target: Path, *, mode: int = EVERYBODY) -> Iterator[BinaryIO]:
    """Write a file that takes its name, durably, when the block ends well; otherwise nothing has changed.

    A file that is replaced keeps its permissions, unless `mode` keeps others from reading. A pipe or a
    device gets the bytes as they are written.
    """
    found = _status(target)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with _open(target, os.O_WRONLY) as file:
            yield file
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(target.parent))
    part = target.with_name(f".numcheck-{secrets.token_hex(16)}")
    try:
        with _open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as file:
            if found is not None and mode == EVERYBODY:
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def write_whole(target: Path, content: bytes, *, mode: int = EVERYBODY) -> None:
    """Write a file at once, as `replacing` does."""
    with replacing(target, mode=mode) as file:
        file.write(content)


def sync_file(file: Path) -> None:
    """Make a file and its name durable."""
    _sync(file)
    sync_directory(file.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a rename is so only then."""
    _sync(directory)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _status(target: Path) -> os.stat_result | None:
    """Return what stands at a path; None if nothing does. OSError if it is a symbolic link."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "a symbolic link, which is never followed; name what it leads to", str(target))
    return found


def _open(path: Path, flags: int, mode: int = 0) -> BinaryIO:
    return os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode), "wb")
