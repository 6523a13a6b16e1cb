"""Bindings of the operators' data, which the evidence of registrations rests on: the plan, the heads, the records of
pushes, and what was taken from operators until what is registered on it has been revoked (R13).

Invariant: each transaction that changes this data tells the macs of what it has changed in the event of its act, so
that nothing can be changed, exchanged, removed, added or put back as it was before. A row's own checksum finds damage;
who edits the store can make it anew, and not a mac.

A mac is a keyed digest as in bindings.py, over the table's name and the rows, each packed, in the order of their bytes,
with a newline before each: where a row ends follows from how many columns its table has.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, func, select, true

from numcheck._packing import packed
from numcheck.errors import EventsAltered, StoreDamaged
from numcheck.store.acts import DATA_ACTS
from numcheck.store.bindings import ENTRIES_PER_EVENT_MAX, Binder
from numcheck.store.bulk import pieces
from numcheck.store.events import Chain
from numcheck.store.recorded import since_us
from numcheck.store.schema import (
    asked_numbers,
    assertions,
    blocks,
    callers_head,
    code_sends,
    code_tries,
    commit_marks,
    dead_letters,
    denials,
    held_numbers,
    identifications,
    imports,
    installation,
    key_checks,
    leases,
    lost_revisions,
    nodes,
    operator_names,
    operators,
    plan_series,
    pushes,
    ranges,
    recorded_withdrawals,
    refused_rows,
    requests,
    revisions,
    stray_receipts,
    trusted_time,
    webhooks,
    withdrawals,
)
from numcheck.store.schema import events as event_rows
from numcheck.store.schema import heads as head_rows
from numcheck.store.withdrawals import dropped_up_to

PARTS: Mapping[Table, tuple[str, ...]] = {
    head_rows: ("kind", "operator_id"),
    pushes: ("kind", "operator_id", "version"),
    plan_series: ("calling_code", "series"),
    ranges: (),
    operators: (),
    operator_names: (),
    withdrawals: ("revision",),
    recorded_withdrawals: ("revision",),
}
"""The tables that are bound here, and the columns that name what has a mac of its own; by none, the table has one."""

PARTS_UNBOUND: Mapping[Table, Mapping[str, str]] = {
    head_rows: {
        "digest": "follows from the blocks; `events verify` compares it with them",
        "row_checksum": "a checksum itself",
    },
    pushes: {"row_checksum": "a checksum itself"},
    plan_series: {"row_checksum": "a checksum itself"},
    ranges: {},
    operators: {},
    operator_names: {},
    withdrawals: {"places": "follows from the checksum, a cryptographic one; `events verify` compares it with them"},
    recorded_withdrawals: {"places": "follows from the checksum, as that of withdrawals"},
}
"""Columns of these tables that no mac covers, each with its reason."""

TABLES_UNBOUND: Mapping[Table, str] = {
    blocks: "their head's checksum, a cryptographic one, covers them all; `events verify` compares it with them",
    held_numbers: "their push has a checksum of them all, a cryptographic one; `events verify` compares it with them",
    installation: "its revision, what was dropped and the record's beginning are in acts; the rest makes nodes refuse",
    revisions: "random marks, which tell a store from a copy that lacks its last changes; they say nothing of anybody",
    lost_revisions: "says which revisions were lost, of which there is nothing else; no answer rests on it",
    callers_head: "has a mac over the rows' macs, which the acts tell; a node's floor refuses an older one",
    denials: "the last calls that were denied: some are dropped for newer ones, and no answer rests on them",
    identifications: "repeat to operators what the events tell of registrations; no other answer rests on them",
    code_tries: "bound how often codes are tried, for a day: without them nobody is verified who has no right code",
    requests: "keep a code from being sent twice, and no state rests on them",
    code_sends: "bound how many codes are sent, for a day: they protect from costs, and no state rests on them",
    assertions: "tell that an assertion was used before: its event tells by what each registration was verified",
    imports: "say how far an import came: to change one has rows sent again, which are known, or shows in its counts",
    refused_rows: "say which rows of an import were refused: no registration rests on them",
    trusted_time: "changes every minute; the due times that it is compared with are bound",
    asked_numbers: "say what callers asked about today: a row is sealed with what it took, and no answer rests on it",
    commit_marks: "random marks, by which a node knows again what it has committed: they say nothing of anybody",
    nodes: "say which nodes are alive, each second anew: nothing that was done rests on it",
    leases: "say which node does what: to change one has another node do it, or none, which the metrics tell",
    stray_receipts: "say what became of messages, for a minute, until a node counts them: no answer rests on them",
    webhooks: "say how far each webhook has come: what it sends are events of the chain, which a watch has as well",
    dead_letters: "say which events a webhook passed over: the events are in the chain, and no answer rests on it",
    key_checks: "tell a wrong file of keys: who changes one makes nodes refuse to start",
}
"""Tables that no event binds, each with its reason; every other table is bound, here, in bindings.py or by its acts."""


HELD = "held"
"""Stands for the version in the name of the part that an operator's held pushes are, as they have none yet."""


class Changed(NamedTuple):
    """Rows that a transaction has changed: those of a table, all of them or some.

    `part` names a part of which nothing may be left: then that is told.
    """

    table: Table
    which: ColumnElement[bool] = true()
    part: str | None = None


def bound_columns(table: Table) -> tuple[str, ...]:
    """Return the columns that the macs of a table cover."""
    return tuple(column.name for column in table.c if column.name not in PARTS_UNBOUND[table])


def applied(kind: int, operator_id: int, version: int | None = None) -> ColumnElement[bool]:
    """Return what selects the records of the pushes that were applied to a set, or that of one version."""
    own = (pushes.c.kind == kind) & (pushes.c.operator_id == operator_id)
    return own & (pushes.c.version.is_not(None) if version is None else pushes.c.version == version)


def held(kind: int, operator_id: int) -> Changed:
    """Return the pushes of a set that wait to be confirmed, or can be confirmed no more."""
    own = (pushes.c.kind == kind) & (pushes.c.operator_id == operator_id) & pushes.c.version.is_(None)
    return Changed(pushes, own, f"{kind}/{operator_id}/{HELD}")


def _parts(connection: Connection, changed: Changed) -> dict[str, list[bytes]]:
    """Return the packed rows of each part, by its name."""
    table, which, _ = changed
    columns = [table.c[name] for name in bound_columns(table)]
    parts: dict[str, list[bytes]] = defaultdict(list)
    if not PARTS[table]:
        parts[""] = []
    for row in connection.execute(select(*columns).where(which)):
        named = (row._mapping[column] for column in PARTS[table])
        name = "/".join(HELD if one is None else str(one) for one in named)
        parts[name].append(packed(tuple(row)))
    return parts


def _mac(bind: Callable[[bytes], bytes], table: Table, rows: Iterable[bytes]) -> str:
    return bind(b"\n".join([table.name.encode(), *sorted(rows)])).hex()


def binding_of(connection: Connection, chain: Chain, changed: Iterable[Changed]) -> dict[str, Any]:
    """Return what the event of an act tells of what was changed: the macs, and the key that they are made with."""
    key_id = chain.newest_key_id
    bind = chain.binder(key_id)
    macs: dict[str, dict[str, str | None]] = defaultdict(dict)
    for one in changed:
        some = macs[one.table.name]
        some |= {name: _mac(bind, one.table, rows) for name, rows in _parts(connection, one).items()}
        if one.part is not None:
            some.setdefault(one.part, None)
    return {"mac_key_id": key_id, "macs": macs}


def binding_of_revisions(
    connection: Connection, chain: Chain, table: Table, revisions: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Yield what events tell of the rows of these revisions, each as much as it holds: null, if none is left."""
    for some in pieces(sorted(revisions), ENTRIES_PER_EVENT_MAX):
        told = binding_of(connection, chain, [Changed(table, table.c.revision.in_(some))])
        macs = told["macs"][table.name]
        yield {**told, "macs": {table.name: {str(one): macs.get(str(one)) for one in some}}}


def binding_of_all(connection: Connection, chain: Chain) -> Iterator[dict[str, Any]]:
    """Yield what events tell of everything that there is, each as much as it holds; nothing if there is nothing."""
    told = binding_of(connection, chain, map(Changed, PARTS))
    macs = [(table, name, mac) for table, some in told["macs"].items() for name, mac in some.items()]
    kept: dict[str, Any] = {}
    for kind, operator_id in connection.execute(select(pushes.c.kind, pushes.c.operator_id).distinct()).all():
        kept |= pushes_from(connection, kind, operator_id).get("pushes_from", {})
    if _is_empty(connection):
        return
    for some in pieces(macs, ENTRIES_PER_EVENT_MAX):
        by_table: dict[str, dict[str, str]] = defaultdict(dict)
        for table, name, mac in some:
            by_table[table][name] = mac
        yield {**told, "macs": by_table, "pushes_from": kept, "recorded_since_us": since_us(connection)}


def _is_empty(connection: Connection) -> bool:
    return not any(connection.execute(select(table).limit(1)).first() for table in PARTS)


def pushes_from(connection: Connection, kind: int, operator_id: int) -> dict[str, dict[str, int]]:
    """Return what an event tells of the records that are kept: the version of the oldest; nothing if there is none."""
    oldest = connection.scalar(select(func.min(pushes.c.version)).where(applied(kind, operator_id)))
    return {} if oldest is None else {"pushes_from": {f"{kind}/{operator_id}": oldest}}


class _Told(NamedTuple):
    """The last entry of the chain about a part, and its event."""

    sequence: int
    key_id: int
    mac: str | None
    """None: nothing of it is left."""


class _LastTold:
    """The last entry of the chain about each part."""

    def __init__(self, connection: Connection) -> None:
        self.parts: dict[tuple[str, str], _Told] = {}
        self.dropped = (0, 0)  # which event told up to which revision withdrawals were dropped
        self.recorded_since: tuple[int, int | None] = (0, None)  # the same of the moment that the record goes back to
        self._oldest: dict[str, int] = {}
        acts = select(event_rows.c.sequence, event_rows.c.details).where(event_rows.c.kind.in_(DATA_ACTS))
        for sequence, details in connection.execute(acts.order_by(event_rows.c.sequence)):
            self._take(sequence, json.loads(details))

    def _take(self, sequence: int, said: dict[str, Any]) -> None:
        for table, macs in said.get("macs", {}).items():
            for name, mac in macs.items():
                self.parts[table, name] = _Told(sequence, said["mac_key_id"], mac)
        self._oldest |= said.get("pushes_from", {})
        if "withdrawals_dropped" in said:
            self.dropped = sequence, said["withdrawals_dropped"]
        if "recorded_since_us" in said:
            self.recorded_since = sequence, said["recorded_since_us"]

    def is_forgotten(self, table: str, name: str) -> bool:
        """Return whether a part was told to be kept no more: the record of a push that is older than the oldest."""
        if table != pushes.name:
            return False
        whose, _, version = name.rpartition("/")
        return version != HELD and int(version) < self._oldest.get(whose, 0)


def check_data(connection: Connection, binder: Binder) -> None:
    """Raise EventsAltered unless the operators' data is what the acts have left."""
    told = _LastTold(connection)
    for table in PARTS:
        found = _parts(connection, Changed(table))
        for name, rows in found.items():
            _check_part(binder, table, name, rows, told.parts.get((table.name, name)))
        for (of_table, name), last in told.parts.items():
            missing = of_table == table.name and name not in found and last.mac is not None
            if missing and not told.is_forgotten(of_table, name):
                raise EventsAltered(
                    last.sequence, f"{_name(table, name)}, which event {last.sequence} told, is missing"
                )

    sequence, dropped = told.dropped
    if dropped_up_to(connection) != dropped:
        raise EventsAltered(sequence, f"withdrawals were not dropped up to the revision that event {sequence} told")
    sequence, recorded_since_us = told.recorded_since
    if since_us(connection) != recorded_since_us:
        raise EventsAltered(sequence, f"the record does not go back to the moment that event {sequence} told")


def _check_part(binder: Binder, table: Table, name: str, rows: Collection[bytes], last: _Told | None) -> None:
    if last is None:
        if not name and not rows:
            return  # a table that never had a row
        raise EventsAltered(0, f"{_name(table, name)} is there, and no act has told of it")
    try:
        whole = _mac(binder.binder(last.key_id), table, rows) == last.mac
    except StoreDamaged:
        whole = False
    if not whole:
        raise EventsAltered(last.sequence, f"{_name(table, name)} is not what event {last.sequence} told")


def _name(table: Table, name: str) -> str:
    """Return the words for a part."""
    if not name:
        return f"what table {table.name} has"
    columns = zip(PARTS[table], name.split("/"), strict=True)
    return f"the row of {table.name} with {', '.join(f'{column} {value}' for column, value in columns)}"
