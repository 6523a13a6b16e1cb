"""Acts of administration in the chain of events: who did what, recorded in the transaction that does it.

Invariant: whoever locks both locks the installation's row first and the head of the chain behind it.
"""

import json
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from numcheck.moments import microseconds
from numcheck.store.events import Chain, EventAppender

LOCAL = "local"
"""The author of an act without a caller: a command on the data directory."""


class Act(StrEnum):
    """The acts; the words are the event log's."""

    CALLER_ADDED = "caller_added"
    CALLER_REVOKED = "caller_revoked"
    TOKEN_ISSUED = "token_issued"
    AGREEMENT_ADDED = "agreement_added"
    AGREEMENT_ENDED = "agreement_ended"
    CALLERS_CONFIRMED = "callers_confirmed"
    DATA_BOUND = "data_bound"
    """Tells the operators' data that there is as a key is used first; nobody changed it."""
    PLAN_IMPORTED = "plan_imported"
    SET_REPLACED = "set_replaced"
    PUSH_APPLIED = "push_applied"
    PUSH_HELD = "push_held"
    PUSH_CONFIRMED = "push_confirmed"
    PUSH_REJECTED = "push_rejected"
    PUSH_FORCED = "push_forced"
    WITHDRAWALS_FOLLOWED = "withdrawals_followed"
    """Registrations on numbers that were taken from their operator have been revoked."""
    WITHDRAWALS_DROPPED = "withdrawals_dropped"
    RECORD_TIDIED = "record_tidied"
    """A day of the record of withdrawals was joined into one row, or old days were forgotten."""
    KEYS_ROTATED = "keys_rotated"
    KEYS_DROPPED = "keys_dropped"


DATA_ACTS = (
    Act.DATA_BOUND,
    Act.PLAN_IMPORTED,
    Act.SET_REPLACED,
    Act.PUSH_APPLIED,
    Act.PUSH_HELD,
    Act.PUSH_CONFIRMED,
    Act.PUSH_REJECTED,
    Act.PUSH_FORCED,
    Act.WITHDRAWALS_FOLLOWED,
    Act.WITHDRAWALS_DROPPED,
    Act.RECORD_TIDIED,
)
"""Those that tell the macs of operators' data."""


class LastActs:
    """The mac that the acts, given in their order, told last of each caller and agreement that is there."""

    def __init__(self) -> None:
        self.macs: dict[tuple[str, str], bytes] = {}

    def take(self, kind: str, details: str) -> None:
        """Take an event; of other kinds nothing is taken."""
        said = json.loads(details)
        if kind in (Act.CALLER_ADDED, Act.CALLER_REVOKED, Act.TOKEN_ISSUED):
            self.macs["caller", said["uri"]] = bytes.fromhex(said["mac"])
        elif kind in (Act.AGREEMENT_ADDED, Act.AGREEMENT_ENDED):
            key = "agreement", f"{said['service']} with {said['operator_id']}"
            self.macs.pop(key, None)
            if kind == Act.AGREEMENT_ADDED:
                self.macs[key] = bytes.fromhex(said["mac"])
        elif kind == Act.CALLERS_CONFIRMED:
            self.macs = {_row_of(name): bytes.fromhex(mac) for name, mac in said["macs"].items()}


def _row_of(name: str) -> tuple[str, str]:
    kind, _, of = name.partition(" ")
    return kind, of


class Acts:
    """Records acts in a chain. `chain` is None until the installation has keys: nothing is recorded under none."""

    def __init__(self) -> None:
        self.chain: Chain | None = None

    @staticmethod
    def details(by: str, **details: Any) -> str:
        """Return what an act's event says: who did it, and what there is to say of it."""
        return json.dumps({"by": by, **details}, sort_keys=True)

    def record(self, connection: Connection, act: Act, by: str, now: datetime, **details: Any) -> None:
        """Append an act: of no service and no registration, with who did it in its details."""
        if self.chain is None:
            return
        events = EventAppender(connection, self.chain)
        events.append(microseconds(now), "", b"", act.value, 0, self.details(by, **details))
        events.flush()
