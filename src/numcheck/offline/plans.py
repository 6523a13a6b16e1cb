"""Imports a numbering plan into a data directory that no node has open, and makes the index follow."""

from datetime import datetime
from typing import Unpack

from numcheck.config import Settings
from numcheck.plan import NumberingPlan
from numcheck.serving.publishing import rebuild_index, record_loss_since
from numcheck.serving.registrations import Announce, record_acts
from numcheck.serving.stores import stopped_store
from numcheck.store import Meant, PlanImport


def import_plan(
    settings: Settings,
    plan: NumberingPlan,
    *,
    source: str,
    now: datetime,
    data_time: datetime | None = None,
    announce: Announce = lambda _line: None,
    **meant: Unpack[Meant],
) -> PlanImport:
    """Replace the series that the plan speaks of; DataDirInUse if a node has the directory, or what the store refuses.

    `announce` is told if the installation's keys were made, under which the act is told in the chain.
    """
    with stopped_store(settings, make=True) as store:
        record_acts(store, settings, announce)
        record_loss_since(store, settings.data_dir)
        imported = store.import_plan(plan, source=source, now=now, data_time=data_time, **meant)
        with store.one_moment():  # other nodes may write to a shared store
            rebuild_index(store, settings.data_dir)
    return imported
