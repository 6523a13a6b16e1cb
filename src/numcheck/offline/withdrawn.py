"""The record of withdrawals, day by day, out of a data directory or a database that a node may have open."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from numcheck.config import Settings
from numcheck.errors import RecordTooShort
from numcheck.offline.replica import silent, store_to_read
from numcheck.output import OWNER_ONLY, replacing

HEADER = b"number,cause\n"


def write_withdrawn(
    settings: Settings, first: datetime, end: datetime, target: Path | None, say: Callable[[str], None] = silent
) -> int:
    """Write what was withdrawn at or after one moment and before another, to a file or to standard output; how many
    numbers. RecordTooShort if the record begins later. Of a standby, it says so."""
    with store_to_read(settings, say) as store, store.one_moment():
        record = store.withdrawal_record()
        since = record.since
        if since is None or since >= end:
            raise RecordTooShort(since)
        with _writing(target) as file:
            file.write(HEADER)
            count = 0
            for cause, number in record.between(first, end):
                file.write(f"{number},{cause}\n".encode())
                count += 1
    return count


def _writing(target: Path | None) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdout.buffer) if target is None else replacing(target, mode=OWNER_ONLY)
