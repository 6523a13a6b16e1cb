"""The modes of what a data directory holds: its owner's alone, whatever the umask."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
OTHERS = 0o077


def make_private_directory(directory: Path) -> None:
    """Make a directory for its owner alone, with those above it, if it is not there."""
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def make_private(file: Path) -> None:
    """Make an empty file for its owner alone, if it is not there. SQLite gives the files beside it the same mode."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open`: one that is made is its owner's alone, and a symbolic link is not followed."""
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)


def take_from_others(paths: Iterable[Path]) -> list[Path]:
    """Let nobody but their owner read or write these; return those that others could. Missing paths are left out.

    A path of another owner stays as it is, and so does a directory that is everybody's, such as /tmp.
    """
    return [path for path in paths if _take_from_others(path)]


def _take_from_others(path: Path) -> bool:
    try:
        status = path.lstat()
        is_ours = status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX
        if stat.S_ISLNK(status.st_mode) or not status.st_mode & OTHERS or not is_ours:
            return False
        path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
    except OSError:
        return False
    return True
