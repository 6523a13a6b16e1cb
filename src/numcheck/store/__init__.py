"""The truth: whatever a client was told is done is in here, durably. All SQL is here and nowhere else."""

from numcheck.store.events import EventRow
from numcheck.store.journal import Head, Pushed
from numcheck.store.lock import DataDirLock
from numcheck.store.registrations import (
    RegistrationRow,
    Registrations,
    RegistrationWork,
    SendRow,
    VerificationRow,
)
from numcheck.store.store import PlanImport, SeriesInfo, Store, StoredRange

__all__ = [
    "DataDirLock",
    "EventRow",
    "Head",
    "PlanImport",
    "Pushed",
    "RegistrationRow",
    "RegistrationWork",
    "Registrations",
    "SendRow",
    "SeriesInfo",
    "Store",
    "StoredRange",
    "VerificationRow",
]
