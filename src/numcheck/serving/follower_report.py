"""A follower as `numcheck status` shows it: a file of its data directory, written while it runs."""

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numcheck.moments import rfc3339
from numcheck.nearby import FOLLOWER_NAME, told_by
from numcheck.output import OWNER_ONLY, write_whole
from numcheck.serving.following import Following
from numcheck.serving.whereabouts import is_here
from numcheck.worker import Worker

INTERVAL_S = 2.0


class Report:
    """Written from `start` to `stop`, whenever it differs."""

    def __init__(self, data_dir: Path, following: Following) -> None:
        self._data_dir, self._following = data_dir, following
        self._written: dict[str, Any] = {}
        self._worker = Worker("follower-report", self._write, "the state of the sources is not written")
        self.start, self.stop = self._worker.start, self._worker.stop

    def _write(self) -> float:
        edition = self._following.edition
        told = {
            "lag": self._following.lag,
            "current_at": None if edition is None else rfc3339(edition.current_at_us, timespec="seconds"),
            "sources": [asdict(one) for one in self._following.states],
        }
        if told != self._written:
            self._written = told
            here = {"pid": os.getpid(), "data_dir": str(self._data_dir.resolve()), **told}
            with suppress(OSError):  # a full disk keeps nobody from being served
                write_whole(self._data_dir / FOLLOWER_NAME, json.dumps(here).encode(), mode=OWNER_ONLY)
        return INTERVAL_S


def told_of_follower(data_dir: Path) -> dict[str, Any]:
    """Return what the follower of a data directory has said of itself; nothing if none runs."""
    told = told_by(data_dir, FOLLOWER_NAME)
    return told if is_here(told, data_dir) else {}
