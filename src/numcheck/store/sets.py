"""Operators' sets of numbers in service, and the portings: what was pushed of each, and by which acts."""

from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, NamedTuple

from pyroaring import BitMap
from sqlalchemy import Connection, select

from numcheck.active import (
    ActiveSet,
    ChunkMembers,
    PortingsContent,
    PortingsHeader,
    PushContent,
    PushHeader,
    PushPolicy,
    ServedNumbers,
    chunk_digest,
    set_digest,
)
from numcheck.active.members import home
from numcheck.errors import ConcurrentPush, StoreDamaged, StoreUnavailable
from numcheck.moments import microseconds
from numcheck.store import blocks, plans, pushes
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.blocks import Kind, replace_places
from numcheck.store.data_bindings import Changed, applied, binding_of, held, pushes_from
from numcheck.store.database import Database
from numcheck.store.failures import again_if_undone
from numcheck.store.heads import EVERY_OPERATOR, Head, check_operator, keep_digest, read_head, read_heads, write_head
from numcheck.store.history import raise_revision, read_epoch
from numcheck.store.pushes import HeldPush, Pushed, Receipt, overtake_held
from numcheck.store.schema import heads, operators, recorded_withdrawals
from numcheck.store.schema import pushes as push_records
from numcheck.store.schema import withdrawals as withdrawn_rows
from numcheck.store.served import read_basis, served_numbers

DIGEST_TRIES = 3  # of a set that others push to while it is read


class NumberSets:
    """The active sets and the portings of a store; methods may be called from any thread."""

    def __init__(
        self,
        database: Database,
        acts: Acts,
        policy: PushPolicy,
        changing: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        """`policy` says which pushes are held; `changing` opens a transaction that may raise the revision."""
        self.policy = policy
        self._database, self._acts, self._changing = database, acts, changing

    def head(self, operator_id: int) -> Head:
        """Return the head of an operator's active set; version 0 if it supplied none. UnknownOperator if there is
        none."""
        with self._database.reading() as connection:
            check_operator(connection, operator_id)
            return read_head(connection, Kind.ACTIVE, operator_id)

    def portings_head(self) -> Head:
        """Return the head of the portings; version 0 if none were pushed."""
        with self._database.reading() as connection:
            return read_head(connection, Kind.PORTED, EVERY_OPERATOR)

    def active_counts(self) -> dict[int, int]:
        """Return how many active numbers each operator that supplied data has."""
        with self._database.reading() as connection:
            heads = read_heads(connection, Kind.ACTIVE)
        return {operator_id: head.number_count for operator_id, head in heads.items()}

    def active_set(self, operator_id: int) -> ActiveSet:
        """Return an operator's active set, whole; empty if it supplied none. StoreDamaged if it is not what was
        stored."""
        with self._database.reading() as connection:
            head = read_head(connection, Kind.ACTIVE, operator_id)
            if blocks.set_checksum(connection, Kind.ACTIVE, operator_id) != head.checksum:
                raise StoreDamaged(f"the blocks of the active set of operator {operator_id} are not those it has")
            chunks = blocks.chunks_of(connection, Kind.ACTIVE, operator_id)
            active_set = ActiveSet(
                {chunk: blocks.read_chunk(connection, Kind.ACTIVE, operator_id, chunk) for chunk in chunks}
            )
        if len(active_set) != head.number_count:
            raise StoreDamaged(f"the active set of operator {operator_id} does not have its count")
        if head.digest is not None and active_set.digest() != head.digest:
            raise StoreDamaged(f"the active set of operator {operator_id} does not have its digest")
        return active_set

    def members(self, chunk: int, parts: Collection[int] | None = None) -> ChunkMembers:
        """All that was pushed of a chunk, or at least of the parts of it, each 65,536 places."""
        with self._database.reading() as connection:
            return blocks.read_members(connection, chunk, parts)

    @again_if_undone
    def replace_active_set(
        self, operator_id: int, active_set: ActiveSet, *, data_time: datetime, now: datetime, synthetic: bool = False
    ) -> int:
        """Make this the operator's active set; return its new version. UnknownOperator if there is no such operator.

        For data that is made up or brought along: what an operator pushes goes by `push`, with its rules.
        """
        with self._changing() as connection:
            check_operator(connection, operator_id)
            epoch = read_epoch(connection)
            version = read_head(connection, Kind.ACTIVE, operator_id).version_after(epoch)
            revision = raise_revision(connection)
            checksum = replace_places(connection, operator_id, revision, dict(active_set.chunks()))
            time_us, now_us = microseconds(data_time), microseconds(now)
            # Numbers taken from the set before are not recorded: the record of the operator begins anew.
            head = Head(
                version,
                len(active_set),
                time_us,
                checksum=checksum,
                synthetic=synthetic,
                since_us=now_us,
                epoch=epoch,
            )
            write_head(connection, Kind.ACTIVE, operator_id, head, now_us=now_us)
            overtake_held(connection, operator_id)
            act = _DataAct(Act.SET_REPLACED, LOCAL, now, Kind.ACTIVE, operator_id)
            self._record(connection, act, version, revision)
        return version

    def digest(self, operator_id: int) -> tuple[Head, bytes]:
        """Return the head of an active set and its digest, empty for version 0; computed when first asked for.

        Under pushes without a pause the digest may be that of no head in the end: it is empty then, to be asked for
        again.
        """
        for _ in range(DIGEST_TRIES):
            head = self.head(operator_id)
            if head.digest is not None or not head.version:
                return head, head.digest or b""
            digest = self.computed_digest(operator_id)
            if self.head(operator_id).version == head.version:
                # A digest that could not be kept is computed again: reads go on in a store that takes no writes.
                with suppress(StoreUnavailable), self._database.writing() as connection:
                    keep_digest(connection, operator_id, head.version, digest)
                return head, digest
        return self.head(operator_id), b""

    def computed_digest(self, operator_id: int) -> bytes:
        """Return the digest of an active set as its blocks have it now."""
        with self._database.reading() as connection:
            chunks = blocks.chunks_of(connection, Kind.ACTIVE, operator_id)
        # A chunk a turn, so that pushes go on meanwhile.
        found = ((chunk, self._active_chunk(operator_id, chunk)) for chunk in chunks)
        return set_digest((chunk, chunk_digest(places)) for chunk, places in found if places)

    def _active_chunk(self, operator_id: int, chunk: int) -> BitMap:
        with self._database.reading() as connection:
            return blocks.read_chunk(connection, Kind.ACTIVE, operator_id, chunk)

    # --- pushes of active numbers

    def push_content(self, operator_id: int) -> PushContent:
        """Return what takes the numbers of a push of an operator, and knows which it serves and has."""
        with self._database.reading() as connection:
            basis = read_basis(connection)
            ported = self._ported if basis.portings_version else lambda _chunk: {}
            served = served_numbers(connection, operator_id, ported)
        return PushContent(served, lambda chunk: self._active_chunk(operator_id, chunk), basis)

    def _ported(self, chunk: int) -> dict[int, BitMap]:
        with self._database.reading() as connection:
            return blocks.read_ported(connection, chunk)

    def try_pushed(self, operator_id: int, push_id: str, *, now: datetime) -> Pushed | None:
        """Return what became of the push of that push_id, or None if none is remembered."""
        with self._database.reading() as connection:
            return pushes.try_pushed(connection, Kind.ACTIVE, operator_id, push_id, microseconds(now))

    @again_if_undone
    def push(
        self, header: PushHeader, content: PushContent, *, base_version: int, token: str, now: datetime, by: str = LOCAL
    ) -> Pushed:
        """Apply a push to the version that was the head when it began, or hold it: durable when this returns.

        `token` is what confirms it if it is held. Raises NotServed, BadPush, StaleBase, OlderData, or ConcurrentPush if
        the head has moved, or if the plan and the portings judge it otherwise by now.
        """
        content.check(header)
        data_time_us, now_us = microseconds(header.data_time), microseconds(now)
        receipt = Receipt(base_version, content.basis, token, data_time_us, now_us, self.policy)
        with self._changing() as connection:
            again = pushes.begin(connection, Kind.ACTIVE, header, now_us)
            if again is not None:
                return again
            pushed = pushes.push_active(connection, header, content, receipt)
            act = Act.PUSH_FORCED if header.allow_older else Act.PUSH_HELD if pushed.held else Act.PUSH_APPLIED
            done = _DataAct(act, by, now, Kind.ACTIVE, header.operator_id)
            self._record(connection, done, pushed.version, pushed.revision)
            return pushed

    def held_pushes(self, operator_id: int | None = None, *, now: datetime) -> list[HeldPush]:
        """Return the pushes that wait to be confirmed, the oldest first: every operator's, or one's. UnknownOperator if
        there is no such operator."""
        with self._database.reading() as connection:
            if operator_id is not None:
                check_operator(connection, operator_id)
            return pushes.held_pushes(connection, microseconds(now), operator_id)

    @again_if_undone
    def confirm_push(self, operator_id: int, token: str, *, now: datetime, by: str = LOCAL) -> Pushed:
        """Apply a held push, durable when this returns; UnknownPush if there is none of that token, ConcurrentPush if
        another was applied since, or if the plan and the portings judge it otherwise by now."""
        with self._changing() as connection:
            pushed = pushes.confirm(connection, operator_id, token, microseconds(now))
            done = _DataAct(Act.PUSH_CONFIRMED, by, now, Kind.ACTIVE, operator_id)
            self._record(connection, done, pushed.version, pushed.revision)
            return pushed

    @again_if_undone
    def reject_push(self, operator_id: int, token: str, *, now: datetime, by: str = LOCAL) -> None:
        """Forget a held push, durably when this returns; UnknownPush if none of that token is held."""
        with self._changing() as connection:
            pushes.reject(connection, operator_id, token, microseconds(now))
            done = _DataAct(Act.PUSH_REJECTED, by, now, Kind.ACTIVE, operator_id)
            self._record(connection, done, version=0, revision=0)

    # --- pushes of portings

    def portings_content(self) -> PortingsContent:
        """Return what takes the numbers of a push of portings, and knows the mobile ranges and whose they are."""
        held: dict[int, list[tuple[int, int]]] = defaultdict(list)
        with self._database.reading() as connection:
            basis = read_basis(connection)
            operator_ids = frozenset(connection.scalars(select(operators.c.operator_id)))
            for one in plans.read_ranges(connection):
                if one.mobile:
                    held[one.operator_id].append((one.first, one.last))
        every = sorted(bounds for some in held.values() for bounds in some)
        mobile = ServedNumbers(EVERY_OPERATOR, every, lambda _chunk: {})
        return PortingsContent(mobile, lambda operator_id, chunk: home(held[operator_id], chunk), operator_ids, basis)

    def try_pushed_portings(self, push_id: str, *, now: datetime) -> Pushed | None:
        """Return what became of the push of portings of that push_id, or None if none is remembered."""
        with self._database.reading() as connection:
            return pushes.try_pushed(connection, Kind.PORTED, EVERY_OPERATOR, push_id, microseconds(now))

    @again_if_undone
    def push_portings(
        self, header: PortingsHeader, content: PortingsContent, *, base_version: int, now: datetime, by: str = LOCAL
    ) -> Pushed:
        """Apply a push to the version of the portings that was the head when it began: durable when this returns.

        Raises NotPortable, BadPush, RemovesTooMuch, UnknownOperator, StaleBase, OlderData, or ConcurrentPush if the
        head or the plan moved.
        """
        content.check(header)
        data_time_us, now_us = microseconds(header.data_time), microseconds(now)
        receipt = Receipt(base_version, content.basis, "", data_time_us, now_us)
        with self._changing() as connection:
            again = pushes.begin(connection, Kind.PORTED, header, now_us)
            if again is not None:
                return again
            if read_basis(connection).plan_revision != content.basis.plan_revision:
                raise ConcurrentPush("the numbering plan has changed since the push began")
            pushed = pushes.push_portings(connection, header, content, receipt)
            act = Act.PUSH_FORCED if header.force or header.allow_older else Act.PUSH_APPLIED
            done = _DataAct(act, by, now, Kind.PORTED, EVERY_OPERATOR)
            self._record(connection, done, pushed.version, pushed.revision)
            return pushed

    def _record(self, connection: Connection, done: "_DataAct", version: int, revision: int) -> None:
        """Record an act that binds a set's head, and the record of the push that made it; version 0: one that is held.

        It binds each time what is held and which records are kept: a push makes room for its own.
        """
        chain, (act, by, now, kind, operator_id) = self._acts.chain, done
        if chain is None:
            return
        said: dict[str, Any] = {"operator_id": operator_id, "version": version, "revision": revision}
        changed = [held(kind, operator_id)] if kind is Kind.ACTIVE else []
        if version:
            head = read_head(connection, kind, operator_id)
            said |= {"data_time_us": head.data_time_us, "number_count": head.number_count}
            own = (heads.c.kind == kind) & (heads.c.operator_id == operator_id)
            changed += [
                Changed(heads, own),
                Changed(push_records, applied(kind, operator_id, version)),
                Changed(withdrawn_rows, withdrawn_rows.c.revision == revision),
                Changed(recorded_withdrawals, recorded_withdrawals.c.revision == revision),
            ]
        said |= binding_of(connection, chain, changed)
        said |= pushes_from(connection, kind, operator_id)
        self._acts.record(connection, act, by, now, **said)


class _DataAct(NamedTuple):
    """An act on a set of numbers: who does what, when, to which."""

    act: Act
    by: str
    now: datetime
    kind: Kind
    operator_id: int
