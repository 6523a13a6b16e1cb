"""Imports a numbering plan into a data directory that no node has open, and makes the index follow."""

from datetime import datetime
from pathlib import Path

from numcheck.plan import NumberingPlan
from numcheck.serving.publishing import rebuild_index
from numcheck.store import DataDirLock, PlanImport, Store


def import_plan(data_dir: Path, plan: NumberingPlan, *, source: str, now: datetime, force: bool = False) -> PlanImport:
    """Replace the series that the plan speaks of; DataDirInUse if a node has the directory, or PlanShrinks."""
    with DataDirLock(data_dir), Store(data_dir) as store:
        imported = store.import_plan(plan, source=source, now=now, force=force)
        rebuild_index(store, data_dir)
    return imported
