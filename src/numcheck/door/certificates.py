"""Reads changed certificate files, so that a new certificate or authority is in use without a restart."""

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from numcheck.errors import BadConfiguration
from numcheck.worker import Worker

RECHECK_INTERVAL_S = 5.0

log = structlog.get_logger()


class CertificateFiles:
    """Reads certificate files again when any of them has changed. If the new ones are bad, the old stay in use."""

    def __init__(self, files: Sequence[Path], read_again: Callable[[], None]) -> None:
        """Call `read_again` at each change; it puts the files to use, or raises BadConfiguration.

        Their contents of now are taken to be in use.
        """
        self._files, self._read_again = files, read_again
        self._seen = self._state()
        complaint = "the certificate files are not looked at"
        self._worker = Worker("certificates", self._look, complaint, first_s=RECHECK_INTERVAL_S)
        self._worker.start()
        self.stop = self._worker.stop

    def _look(self) -> float:
        state = self._state()
        if state != self._seen:
            self._seen = state
            self._follow()
        return RECHECK_INTERVAL_S

    def _follow(self) -> None:
        try:
            self._read_again()
        except BadConfiguration as error:
            # They may be between two writes: the next change is tried again.
            log.error("the new certificate files are not used", error=str(error))
        else:
            log.info("the certificate files were read again")

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_identity(file) for file in self._files]


def _identity(file: Path) -> tuple[int, int, int] | None:
    """Return a mark that changes when the file is written or replaced; None if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
