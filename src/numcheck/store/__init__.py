"""The truth: whatever a client was told is done is in here, durably. All SQL is here and nowhere else."""

from numcheck.store.heads import Head
from numcheck.store.lock import DataDirLock
from numcheck.store.plans import PlanImport, SeriesInfo
from numcheck.store.pushes import Pushed
from numcheck.store.store import Store

__all__ = ["DataDirLock", "Head", "PlanImport", "Pushed", "SeriesInfo", "Store"]
