"""The truth: whatever a client was told is done is in here, durably. All SQL is here and nowhere else."""

from numcheck.store.bindings import Bound, Entry, LastTold
from numcheck.store.callers import Callers, CallerSet, Denial, KnownCaller
from numcheck.store.confirmations import Confirmation
from numcheck.store.copying import copy_database
from numcheck.store.events import EventRow
from numcheck.store.groups import Operation
from numcheck.store.heads import Head
from numcheck.store.history import Loss, Point
from numcheck.store.identifications import Sent
from numcheck.store.imports import ImportProgress, NewRegistrations, RefusedRow
from numcheck.store.lock import DataDirLock
from numcheck.store.plans import Meant, PlanImport, Renaming, SeriesInfo
from numcheck.store.pushes import HeldPush, Pushed
from numcheck.store.registration_rows import (
    Asked,
    NumberRow,
    RegistrationRow,
    RequestRow,
    SealedRow,
    SendRow,
    Standing,
    TryRow,
    VerificationRow,
)
from numcheck.store.registration_work import Needs, RegistrationWork
from numcheck.store.registrations import PageBounds, Registrations, Selection
from numcheck.store.sends import CodeTags, Try
from numcheck.store.store import Store
from numcheck.store.survey import DUE_WITHIN_DAYS, Survey
from numcheck.store.troubles import Troubles
from numcheck.store.withdrawals import Cause, Withdrawn, WithdrawnChunk

__all__ = [
    "DUE_WITHIN_DAYS",
    "Asked",
    "Bound",
    "CallerSet",
    "Callers",
    "Cause",
    "CodeTags",
    "Confirmation",
    "DataDirLock",
    "Denial",
    "Entry",
    "EventRow",
    "Head",
    "HeldPush",
    "ImportProgress",
    "KnownCaller",
    "LastTold",
    "Loss",
    "Meant",
    "Needs",
    "NewRegistrations",
    "NumberRow",
    "Operation",
    "PageBounds",
    "PlanImport",
    "Point",
    "Pushed",
    "RefusedRow",
    "RegistrationRow",
    "RegistrationWork",
    "Registrations",
    "Renaming",
    "RequestRow",
    "SealedRow",
    "Selection",
    "SendRow",
    "Sent",
    "SeriesInfo",
    "Standing",
    "Store",
    "Survey",
    "Troubles",
    "Try",
    "TryRow",
    "VerificationRow",
    "Withdrawn",
    "WithdrawnChunk",
    "copy_database",
]
