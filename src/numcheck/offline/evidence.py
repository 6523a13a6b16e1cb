"""The evidence for one user, as a bundle that a stranger can check: what happened, what each step confirmed, by whose
data, and that its events are in the chain (R13).

A bundle says of the user what its messenger asked to have in it, and nothing else; it has no event of anybody else's.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from numcheck.active import Operator
from numcheck.config import Settings
from numcheck.errors import EventsAltered, UnknownRegistration
from numcheck.moments import microseconds, rfc3339
from numcheck.registrations.events import FIRST_HASH, Chain, Event, check_chain
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.registration import evidence_of
from numcheck.registrations.sealing import Keyring
from numcheck.registrations.states import RegistrationState
from numcheck.registrations.tree import Sibling, root_and_paths, sign_tree
from numcheck.registrations.vault import Vault
from numcheck.serving.keys import kept_keys
from numcheck.status import NumberStatus
from numcheck.steps import Steps, alone
from numcheck.store import EventRow, RegistrationRow, Registrations, Store

FORMAT = 1
PREFIX = b"numcheck evidence 1\0"


def evidence(settings: Settings, service: str, user_id: str, now: datetime, *, with_number: bool) -> dict[str, Any]:
    """Return the bundle of a user of a service; UnknownRegistration, or EventsAltered if the chain is not whole."""
    with Store(settings.data_dir, url=settings.database, read_only=True) as store, store.one_moment():
        keys = kept_keys(store, settings)
        registrations, vault = store.registrations(Chain(keys.keyring)), Vault(keys.keyring, bytes)
        row = alone(_found(registrations, vault.user_tags(service, user_id)))
        operators = {one.operator_id: one for one in store.operators()}
        followed = _Followed(row.registration_id)
        root, paths = root_and_paths(followed.leaves(store.events().all()))
        _check_head(store, keys.keyring, followed)
    number = vault.open(row).number
    tree = sign_tree(keys.signing_key, followed.count, followed.head_hash, root, microseconds(now))
    bundle: dict[str, Any] = {
        "format": FORMAT,
        "asked_for": {"user_id": user_id} | ({"number": f"+{number}"} if with_number else {}),
        "registration": _registration(row),
        "confirmed": [_confirmed(one, followed.told, operators) for one in evidence_of(row)],
        "events": [_event(one, path) for one, path in zip(followed.told, paths, strict=True)],
        "tree": {name: value.hex() if isinstance(value, bytes) else value for name, value in tree._asdict().items()},
    }
    return bundle | {"signature": keys.signing_key.sign(PREFIX + plain_bytes(bundle)).hex()}


def plain_bytes(bundle: Mapping[str, Any]) -> bytes:
    """Return what is signed of a bundle: its JSON, names sorted, without spaces, non-ASCII characters escaped."""
    return json.dumps(bundle, sort_keys=True, separators=(",", ":")).encode()


def _found(registrations: Registrations, user_tags: list[bytes]) -> Steps[RegistrationRow]:
    row: RegistrationRow | None = yield registrations.finding(user_tags)
    if row is None or row.sealed_record is None:
        raise UnknownRegistration("the service has no such user, or they were erased")
    return row


def _check_head(store: Store, keyring: Keyring, followed: "_Followed") -> None:
    """Raise EventsAltered unless the chain ends where this installation's head says."""
    head = store.events().try_head()
    if head is None or (head.sequence, head.hash) != (followed.count, followed.head_hash):
        raise EventsAltered(followed.count + 1, f"the events behind {followed.count} are missing")
    Chain(keyring).check_head(head.sequence, head.hash, head.key_id, head.mac)


class _Told(NamedTuple):
    """An event of the registration, and the hash that it follows."""

    event: Event
    previous_hash: bytes


class _Followed:
    """The chain, as it is followed, and the events of one registration in it."""

    def __init__(self, registration_id: bytes) -> None:
        self._registration_id = registration_id
        self.count, self.head_hash = 0, FIRST_HASH
        self.told: list[_Told] = []

    def leaves(self, rows: Iterable[EventRow]) -> Iterator[tuple[bytes, bool]]:
        """Yield the hash of each event, and whether it is the registration's; EventsAltered if one is not what was
        written."""
        for row in rows:
            event = Event._make(row[:-1])
            previous_hash = self.head_hash
            self.count, self.head_hash = check_chain([event], sequence=self.count, previous_hash=previous_hash)
            is_own = row.registration_id == self._registration_id
            if is_own:
                self.told.append(_Told(event, previous_hash))
            yield event.hash, is_own


def _registration(row: RegistrationRow) -> dict[str, Any]:
    moments = {"registered_at": row.registered_at_us, "refreshed_at": row.refreshed_at_us, "due_at": row.due_at_us}
    return {
        "registration_id": row.registration_id.hex(),
        "service": row.service,
        "state": RegistrationState(row.state).name,
        **{name: rfc3339(at_us) for name, at_us in moments.items()},
    }


def _confirmed(one: Evidence, told: Iterable[_Told], operators: Mapping[int, Operator]) -> dict[str, Any]:
    """Return what a step confirmed, when, by whose data, and the newest event that says so; None: bulk verification has
    renewed it since, which writes no event of a registration that stays as it is."""
    step = one.fields()
    saying = (event.sequence for event, _ in told if step in json.loads(event.details).get("evidence", ()))
    found = {"step": step, "event": max(saying, default=None), "verified_at": rfc3339(one.verified_at_us)}
    if one.answer:
        found["answer"] = NumberStatus(one.answer).name
    if one.data_time_us:
        found["data_time"] = rfc3339(one.data_time_us)
    if (operator := operators.get(one.operator_id)) is not None:
        found |= {"operator": operator.display_name, "operator_tax_id": operator.tax_id}
    return found


def _event(told: _Told, path: list[Sibling]) -> dict[str, Any]:
    fields = told.event._asdict() | {"previous_hash": told.previous_hash}
    texts = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return texts | {"path": [["left" if step.is_left else "right", step.hash.hex()] for step in path]}
