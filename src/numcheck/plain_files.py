"""Opens files that somebody else may have put there: a plain file, and nothing in its place.

A link leads to other files, a pipe is never read to its end, and a device has none.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotPlain(OSError):
    """There is a pipe, a device, a socket or a directory."""


def open_plain(path: Path) -> BinaryIO:
    """Open a file to read; OSError if it is none: no link is followed, and no pipe waited for."""
    return os.fdopen(descriptor_of_plain(path, os.O_RDONLY), "rb")


def descriptor_of_plain(path: Path, flags: int) -> int:
    """Open a file in the same way with flags of its own; NotPlain, or another OSError. One that is made is 0644."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(errno.EINVAL, "no plain file", str(path))
    return descriptor
