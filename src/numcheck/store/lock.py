"""One writing process a data directory: the operating system's own file lock, gone with the process that holds it."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from numcheck.errors import DataDirInUse, StoreMissing
from numcheck.privacy import FILE_MODE, make_private_directory

LOCK_NAME = "lock"


class DataDirLock:
    """The right to write in a data directory, held until closed."""

    def __init__(self, data_dir: Path, *, make: bool = True) -> None:
        """Take the lock; DataDirInUse if another process holds it. The directory is made if need be and `make`;
        otherwise StoreMissing says that it is not there."""
        if make:
            make_private_directory(data_dir)
        elif not data_dir.is_dir():
            raise StoreMissing(f"there is no data directory {data_dir}")
        self.path = data_dir / LOCK_NAME
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DataDirInUse(f"{data_dir} is in use by another numcheck process (pid {holder})") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Give the lock back; the file stays, as removing it would race with the next holder."""
        os.close(self._descriptor)

    def __enter__(self) -> "DataDirLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
