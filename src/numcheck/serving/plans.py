"""Imports a numbering plan into a data directory that no node has open, and makes the index follow."""

from datetime import datetime

from numcheck.config import Settings
from numcheck.plan import NumberingPlan
from numcheck.serving.publishing import rebuild_index, record_loss_since
from numcheck.serving.stores import stopped_store
from numcheck.store import PlanImport


def import_plan(
    settings: Settings, plan: NumberingPlan, *, source: str, now: datetime, force: bool = False
) -> PlanImport:
    """Replace the series that the plan speaks of; DataDirInUse if a node has the directory, or PlanShrinks."""
    with stopped_store(settings, make=True) as store:
        record_loss_since(store, settings.data_dir)
        imported = store.import_plan(plan, source=source, now=now, force=force)
        with store.one_moment():  # other nodes may write to a shared store
            rebuild_index(store, settings.data_dir)
    return imported
