"""The truth: whatever a client was told is done is in here, durably. All SQL is here and nowhere else."""

from numcheck.store.lock import DataDirLock
from numcheck.store.store import PlanImport, SeriesInfo, Store, StoredRange

__all__ = ["DataDirLock", "PlanImport", "SeriesInfo", "Store", "StoredRange"]
