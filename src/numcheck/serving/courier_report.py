"""The couriers of a node as `numcheck status` shows them: a file of its data directory, written while it runs.

It is a hint: whoever reads it looks whether the node that wrote it runs. It names no number, and nothing that a caller
chose.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from numcheck.delivery.receipts import DELIVERED, FAILED
from numcheck.nearby import COURIERS_NAME, told_by
from numcheck.output import OWNER_ONLY, write_whole
from numcheck.serving.couriers import Delivery
from numcheck.serving.ledger import LOST, RETURNED, OutcomeTally
from numcheck.serving.whereabouts import is_here

ROWS_MAX = 200
Row = dict[str, Any]


def rows_of(delivery: Delivery) -> list[Row]:
    """Return what became of each courier's codes by operator: those with most codes, if there are many."""
    judged, receipts, rests = delivery.ledger.judged, delivery.ledger.receipts, delivery.rests
    keys = {(one.courier, one.operator) for one in (*judged, *receipts)} | set(rests)
    rows = [_row(key, judged, receipts, rests=rests.get(key, False)) for key in sorted(keys)]
    return sorted(rows, key=lambda row: -(row["returned"] + row["lost"]))[:ROWS_MAX]


def _row(
    key: tuple[str, str], judged: Mapping[OutcomeTally, int], receipts: Mapping[OutcomeTally, int], *, rests: bool
) -> Row:
    returned, lost = (judged.get(OutcomeTally(*key, outcome), 0) for outcome in (RETURNED, LOST))
    delivered, failed = (receipts.get(OutcomeTally(*key, outcome), 0) for outcome in (DELIVERED, FAILED))
    return {
        "courier": key[0],
        "operator": key[1],
        "returned": returned,
        "lost": lost,
        "delivered": delivered,
        "failed": failed,
        "rests": rests,
    }


def tell(data_dir: Path, rows: Sequence[Row]) -> None:
    """Write what this process has to say of its couriers. A full disk keeps nobody from sending."""
    told = {"pid": os.getpid(), "data_dir": str(data_dir.resolve()), "couriers": rows}
    with suppress(OSError):
        write_whole(data_dir / COURIERS_NAME, json.dumps(told).encode(), mode=OWNER_ONLY)


def told_of_couriers(data_dir: Path) -> list[Row]:
    """Return what the node of a data directory has said of its couriers; nothing if none runs, or it sends no codes."""
    told = told_by(data_dir, COURIERS_NAME)
    rows = told.get("couriers")
    return rows if is_here(told, data_dir) and isinstance(rows, list) else []
