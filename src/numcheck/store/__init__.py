"""The truth: whatever a client was told is done is in here, durably. All SQL is here and nowhere else."""

from numcheck.store.journal import Head, Pushed
from numcheck.store.lock import DataDirLock
from numcheck.store.store import PlanImport, SeriesInfo, Store, StoredRange

__all__ = ["DataDirLock", "Head", "PlanImport", "Pushed", "SeriesInfo", "Store", "StoredRange"]
