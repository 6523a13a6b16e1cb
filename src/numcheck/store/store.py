"""The store: the numbering plan, the operators and their active sets, each change in one transaction.

Invariants: ranges never overlap; every change raises the revision in the transaction that makes it, so that whoever
has applied revision N has seen every change up to it; an operator's id is never given to another. On disk after a
crash at any step: the state before the transaction or the state after it.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Unpack

from pyroaring import BitMap
from sqlalchemy import Connection, Row, func, select, update

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import (
    ActiveSet,
    AllottedRange,
    ChunkMembers,
    Operator,
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
from numcheck.errors import BadTestNumber, ConcurrentPush, HistoryLost, StoreDamaged, StoreMissing, StoreUnavailable
from numcheck.moments import microseconds, moment
from numcheck.plan import NumberingPlan
from numcheck.privacy import make_private_directory
from numcheck.store import blocks, callers, plans, pushes, recorded, withdrawals
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.blocks import Kind, replace_places
from numcheck.store.budgets import Budgets
from numcheck.store.callers import Callers, Denial
from numcheck.store.data_bindings import Changed, applied, binding_of, check_data, held, pushes_from
from numcheck.store.database import Database, take_turn
from numcheck.store.events import Chain, EventLog
from numcheck.store.failures import again_if_undone
from numcheck.store.heads import (
    EVERY_OPERATOR,
    Head,
    check_operator,
    keep_digest,
    read_head,
    read_heads,
    read_versions,
    write_head,
)
from numcheck.store.history import (
    Loss,
    Point,
    begin_epoch,
    has_point,
    is_elsewhere,
    is_lost,
    lacks,
    raise_revision,
    read_epoch,
    read_losses,
    read_point,
    read_unused,
    record_loss,
    try_versions_left,
)
from numcheck.store.leases import Leases
from numcheck.store.plans import Meant, Origin, PlanImport, SeriesInfo
from numcheck.store.pushes import HeldPush, Pushed, Receipt, overtake_held
from numcheck.store.registration_work import are_any, read_key_checks
from numcheck.store.registrations import Registrations
from numcheck.store.schema import (
    heads,
    installation,
    operator_names,
    operators,
    plan_series,
    ranges,
    recorded_withdrawals,
)
from numcheck.store.schema import pushes as push_records
from numcheck.store.schema import withdrawals as withdrawn_rows
from numcheck.store.served import read_basis, served_numbers
from numcheck.store.stray_receipts import StrayReceipts
from numcheck.store.survey import Survey, read_survey
from numcheck.store.troubles import Troubles
from numcheck.store.webhooks import Webhooks

FOREIGN_OBJECTS = {
    "sqlite": "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name",
    "postgresql": """
        SELECT 'trigger', tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
        UNION SELECT 'rule', rulename FROM pg_rules WHERE schemaname = current_schema()
        UNION SELECT 'view', viewname FROM pg_views WHERE schemaname = current_schema() ORDER BY 2
    """,
}
"""By engine: what acts or answers in the place of numcheck's tables, each by its kind and name."""

FILE_NAME = "numcheck.db"
DIGEST_TRIES = 3  # of a set that others push to while it is read


class Store:
    """All that this installation knows. Methods may be called from any thread; they take turns."""

    def __init__(
        self,
        data_dir: Path,
        *,
        url: str | None = None,
        read_only: bool = False,
        make: bool = True,
        push_policy: PushPolicy = PushPolicy(),  # noqa: B008  # it never changes
        troubles: Troubles | None = None,
    ) -> None:
        """Open the store: in a data directory, whose lock its writer must hold, or in the database of a URL.

        It is made if need be and `make`, unless it is `read_only`. `push_policy` says which pushes are held, and
        `troubles` hear of the store's being away. Raises StoreMissing, StoreTooNew, StoreDamaged, StoreUnavailable or
        BadConfiguration.
        """
        make = make and not read_only
        if url is None and not make and not self.exists(data_dir):
            raise StoreMissing(f"there is no store in {data_dir}; `numcheck demo` or `numcheck plan import` makes one")
        if make:
            make_private_directory(data_dir)
        self._acts, self._data_dir, self.push_policy, self.troubles = Acts(), data_dir, push_policy, troubles
        self.test_numbers: Collection[int] = ()
        """Numbers that no plan may allot to anybody."""
        self._database = Database(data_dir / FILE_NAME, url=url, read_only=read_only, make=make, troubles=troubles)
        self._seen: Point | None = None
        self._seen_versions: dict[int, int] = {}  # of operators' data
        self._seeing = threading.Lock()

    @staticmethod
    def exists(data_dir: Path, url: str | None = None) -> bool:
        """Return True if there is a store in the data directory; one of a URL is made when it is opened."""
        return url is not None or (data_dir / FILE_NAME).exists()

    @property
    def shared(self) -> bool:
        """True if other nodes may change it."""
        return self._database.shared

    def follow_servers(self, met: Callable[[], None], lost: Callable[[Point], None]) -> None:
        """Have `met` run, which must be quick, as soon as another server may answer; and `lost` before it, and before
        anything else is asked of that server, if it lacks what this object has seen."""

        def look(connection: Any) -> None:
            seen = self._seen
            if seen is not None and lacks(connection, seen):
                lost(seen)
            met()

        self._database.on_server = look

    @property
    def timeline(self) -> str:
        """The timeline of the PostgreSQL that this object has met last, which every promotion renews; or nothing."""
        return self._database.timeline

    def check_files(self) -> None:
        """Raise HistoryLost, now and ever after, if the files of the store are not those that were opened."""
        self._database.check_files()

    def close(self) -> None:
        """Close the connection; what was acknowledged is on disk already."""
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def one_moment(self) -> AbstractContextManager[None]:
        """Everything read inside is of one revision, whatever is committed meanwhile over another connection."""
        return self._database.one_moment()

    @property
    def engine_name(self) -> str:
        """The engine underneath and its version."""
        return self._database.engine_name

    @property
    def as_of(self) -> datetime | None:
        """The moment of the last change that a standby has; None of what is no standby."""
        return self._database.replayed_at

    @property
    def warning(self) -> str | None:
        """A warning about this engine for the person who runs it, or None."""
        return self._database.warning

    @property
    def revision(self) -> int:
        """Of the last change that was committed; 0 before the first."""
        with self._database.reading() as connection:
            return int(connection.execute(select(installation.c.revision)).scalar_one())

    @property
    def installation_id(self) -> str:
        """The installation's id, for good: revisions of two installations cannot be compared."""
        with self._database.reading() as connection:
            return str(connection.execute(select(installation.c.installation_id)).scalar_one())

    # --- the history

    @property
    def point(self) -> Point:
        """The revision of the last change that was committed, told from others of the same number."""
        with self._database.reading() as connection:
            return read_point(connection)

    @property
    def seen(self) -> Point | None:
        """The newest point that this object has committed or was told of; None before the first."""
        return self._seen

    def see(self, point: Point, versions: Mapping[int, int]) -> None:
        """Note a point that was read of this store, and the versions of operators' data at it: from now on nothing is
        changed in a store that lacks it."""
        with self._seeing:
            self._seen = point if self._seen is None else max(self._seen, point)
            known = self._seen_versions
            self._seen_versions = known | {one: max(version, known.get(one, 0)) for one, version in versions.items()}

    def has(self, point: Point) -> bool:
        """Return True if every change up to a point is known to be here."""
        with self._database.reading() as connection:
            return has_point(connection, point)

    def is_lost(self, point: Point) -> bool:
        """Return True if the store lacks a point that it once had; StoreUnavailable from a standby that is behind it.

        Of a point that is older than all it keeps, nothing is known: then it is False, as `has` is.
        """
        with self._database.reading() as connection:
            lost = is_lost(connection, point)
            if lost and read_point(connection).revision < point.revision and self._database.is_standby:
                raise StoreUnavailable("the database is a standby, and behind what this node has seen")
        return lost

    def record_loss(self, lost: Point, *, now: datetime) -> None:
        """Record that a point is lost, and which versions of operators' data that were seen went with it; the next
        revision is higher than its."""
        seen = self._seen_versions
        with self._database.writing() as connection:
            take_turn(connection)
            found = read_versions(connection)
            then = try_versions_left(connection, lost)
            left = found if then is None else then
            behind = {one: (version, left.get(one, 0)) for one, version in seen.items() if version > left.get(one, 0)}
            record_loss(connection, lost, behind, microseconds(now))
            point = read_point(connection)
        with self._seeing:
            self._seen, self._seen_versions = point, found

    def begin_epoch(self) -> bool:
        """Begin another epoch if the store has come to another server; True if one began. HistoryLost if it lacks what
        this object has seen: then the loss is to be recorded."""
        with self._database.reading() as connection:
            begins = is_elsewhere(connection)
        if begins:
            with self._changing():
                pass
        return begins

    def restored(self) -> None:
        """Begin another epoch: the store is a copy, of which nobody knows what followed it."""
        with self._database.writing() as connection:
            begin_epoch(connection, read_versions(connection))

    def losses(self) -> list[Loss]:
        """Return the last losses of history that were noticed, the newest first."""
        with self._database.reading() as connection:
            return read_losses(connection)

    def unused_revisions(self) -> list[tuple[int, int]]:
        """Return the last revisions, first and last, that are no change's: they were lost, or may have been."""
        with self._database.reading() as connection:
            return read_unused(connection)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """Open a transaction that may raise the revision: what it reads stays the head until it ends.

        It is of the server's own epoch. HistoryLost if the store lacks what this object has seen: what a caller based
        its change on may be lost.
        """
        with self._database.writing() as connection:
            take_turn(connection)
            if self._seen is not None and is_lost(connection, self._seen):
                raise HistoryLost("the store has lost revisions that were acknowledged; the node is looking into it")
            if is_elsewhere(connection):
                begin_epoch(connection, read_versions(connection))
            yield connection
            point, versions = read_point(connection), read_versions(connection)
        self.see(point, versions)

    def registrations(self, chain: Chain) -> Registrations:
        """Return the registrations, whose events are linked as `chain` says; to be made once: writers share
        transactions."""
        return Registrations(self._database, chain)

    @property
    def has_registrations(self) -> bool:
        """True if there is any registration."""
        with self._database.reading() as connection:
            return are_any(connection)

    def record_acts(self, chain: Chain) -> None:
        """From now on record acts of administration in the chain of events, linked as `chain` says."""
        self._acts.chain = chain

    def key_checks(self) -> dict[int, bytes]:
        """Return what tells each key that the store is used with, by its id; none before the first use."""
        with self._database.reading() as connection:
            return read_key_checks(connection)

    def survey(self, *, now: datetime, events_after: int | None) -> Survey:
        """Return what the store holds, in counts, and how many events of each kind came behind a sequence."""
        with self._database.reading() as connection:
            return read_survey(connection, now_us=microseconds(now), events_after=events_after)

    def events(self) -> EventLog:
        """Return the events, to be read."""
        return EventLog(self._database)

    # --- the numbering plan

    @again_if_undone
    def import_plan(
        self,
        plan: NumberingPlan,
        *,
        source: str,
        now: datetime,
        data_time: datetime | None = None,
        series: Collection[str] | None = None,
        by: str = LOCAL,
        **meant: Unpack[Meant],
    ) -> PlanImport:
        """Replace series of the plan's country, those that its rows speak of by default; others stay as they are.

        `data_time` is when the rows were true, None if nobody knows. PlanShrinks or MovesTooMuch, and nothing is
        changed, if that takes more than a tenth of a series from its operators and is not forced; OlderData if a series
        is newer and `allow_older` is not set; BadTestNumber if it allots a test number to anybody.

        Operators' data stays as well: about numbers that they no longer serve it does not count.
        """
        with self._changing() as connection:
            if plan.allots_any(self.test_numbers):
                raise BadTestNumber("the plan allots a number of test_numbers: take it out of the settings first")
            wanted = series or plan.series
            origin = Origin(source, data_time, now)
            imported = plans.replace_plan(connection, plan, wanted, origin, meant)
            said: dict[str, Any] = {
                "source": source,
                "data_time": data_time and data_time.isoformat(),
                "series": sorted(wanted),
                "revision": imported.revision,
                "forced": meant.get("force", False),
                "older_allowed": meant.get("allow_older", False),
                "calling_code": plan.country.calling_code,
            }
            changed = [Changed(one) for one in (plan_series, ranges, operators, operator_names)]
            changed += [
                Changed(one, one.c.revision == imported.revision) for one in (withdrawn_rows, recorded_withdrawals)
            ]
            said["recorded_since_us"] = recorded.since_us(connection)
            if self._acts.chain is not None:
                said |= binding_of(connection, self._acts.chain, changed)
            self._acts.record(connection, Act.PLAN_IMPORTED, by, now, **said)
            return imported

    def series(self) -> list[SeriesInfo]:
        """Return the loaded series of the numbering plan."""
        with self._database.reading() as connection:
            return plans.read_series(connection)

    def ranges(self) -> list[AllottedRange]:
        """Every range of the numbering plan, ascending; StoreDamaged if they are not what was imported."""
        with self._database.reading() as connection:
            return plans.read_ranges(connection)

    # --- operators and their active sets

    def operators(self) -> list[Operator]:
        """Every operator with the head of its active set, by id."""
        with self._database.reading() as connection:
            rows = connection.execute(select(operators).order_by(operators.c.operator_id)).all()
            heads = read_heads(connection, Kind.ACTIVE)
        return [_operator(row, heads.get(row.operator_id)) for row in rows]

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
            self._record_act_on_set(connection, act, version, revision)
        return version

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

    def check_schema(self) -> None:
        """Raise StoreDamaged if the database does by itself what nobody asked it to: by a trigger, a rule or a view."""
        with self._database.reading() as connection:
            foreign = connection.exec_driver_sql(FOREIGN_OBJECTS[connection.dialect.name]).first()
        if foreign is not None:
            raise StoreDamaged(f"the database has a {foreign[0]}, {foreign[1]}, which numcheck did not make")

    def check_indices(self) -> None:
        """Raise StoreDamaged unless SQLite finds its file whole: what an index leaves out, nobody finds.

        PostgreSQL has amcheck for it, which is its administrator's to run.
        """
        with self._database.reading() as connection:
            if connection.dialect.name == "sqlite":
                (found,) = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars()
                if found != "ok":
                    raise StoreDamaged(f"the database is not whole: {found}")

    def check_sets(self) -> None:
        """Raise StoreDamaged unless every set has the blocks that its head speaks of, each as it was."""
        with self._database.reading() as connection:
            found = blocks.checksums(connection)
            blocks.check_places(connection)
            sets: dict[tuple[int, int], bytes] = {
                (kind, operator_id): head.checksum
                for kind in Kind
                for operator_id, head in read_heads(connection, kind).items()
            }
        ported = [found.pop(key) for key in list(found) if key[0] == Kind.PORTED]
        if ported:
            found[Kind.PORTED, EVERY_OPERATOR] = blocks.combined(ported)
        for key in {*found, *sets}:
            if found.get(key, blocks.NO_BLOCKS) != sets.get(key):
                raise StoreDamaged(f"the blocks of the numbers of operator {key[1]} are not those that were stored")

    def check_blocks(self) -> None:
        """Raise StoreDamaged unless every block has the numbers that it says, and every set as many as its head says,
        with its digest if that is kept."""
        with self._database.reading() as connection:
            counts = blocks.number_counts(connection)
            active, portings = read_heads(connection, Kind.ACTIVE), read_head(connection, Kind.PORTED, EVERY_OPERATOR)
        ported = sum(count for (kind, _), count in counts.items() if kind == Kind.PORTED)
        if portings.number_count != ported:
            raise StoreDamaged("the portings do not have their count")
        for operator_id, head in active.items():
            if head.number_count != counts[Kind.ACTIVE, operator_id]:
                raise StoreDamaged(f"the active set of operator {operator_id} does not have its count")
            if head.digest is not None and self._computed_digest(operator_id) != head.digest:
                raise StoreDamaged(f"the active set of operator {operator_id} does not have its digest")

    def members(self, chunk: int, parts: Collection[int] | None = None) -> ChunkMembers:
        """All that was pushed of a chunk, or at least of the parts of it, each 65,536 places."""
        with self._database.reading() as connection:
            return blocks.read_members(connection, chunk, parts)

    def changed_since(self, revision: int) -> dict[int, set[int]] | None:
        """Return the parts of each chunk that pushes have changed after a revision; None if the plan has changed as
        well."""
        with self._database.reading() as connection:
            planned = connection.scalar(select(func.max(plan_series.c.revision))) or 0
            return None if planned > revision else blocks.changed_since(connection, revision)

    # --- the record of withdrawals

    @property
    def recorded_since(self) -> datetime | None:
        """The moment that the record goes back to; None before the first plan."""
        with self._database.reading() as connection:
            since_us = recorded.since_us(connection)
        return None if since_us is None else moment(since_us)

    def recorded_counts(self, revision: int) -> dict[int, int]:
        """Return how many numbers the changes after a revision took, by the second since 1970."""
        with self._database.reading() as connection:
            return recorded.counts(connection, revision)

    def recorded(self, revision: int) -> Iterator[tuple[int, list[tuple[int, BitMap]]]]:
        """Yield the seconds and places of what changes after a revision took, by chunk, which ascend."""
        with self._database.reading() as connection:
            chunks = recorded.chunks(connection, revision)
        for chunk in chunks:
            with self._database.reading() as connection:
                found = recorded.of_chunk(connection, chunk, revision)
            yield chunk, found

    def recorded_between(self, first: datetime, end: datetime) -> Iterator[tuple[str, int]]:
        """Yield the cause and the number of each withdrawal at or after one moment and before another."""
        with self._database.reading() as connection:
            for cause, chunk, places in recorded.between(connection, microseconds(first), microseconds(end)):
                yield from ((cause, chunk * CHUNK_NUMBERS + place) for place in places)

    # --- pushes

    def _record_act_on_set(self, connection: Connection, done: "_DataAct", version: int, revision: int) -> None:
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

    def check_data(self, chain: Chain) -> None:
        """Raise EventsAltered unless the plan, the heads and the records of pushes are what the acts have left."""
        with self._database.reading() as connection:
            check_data(connection, chain)

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

    def digest(self, operator_id: int) -> tuple[Head, bytes]:
        """Return the head of an active set and its digest, empty for version 0; computed when first asked for.

        Under pushes without a pause the digest may be that of no head in the end: it is empty then, to be asked for
        again.
        """
        for _ in range(DIGEST_TRIES):
            head = self.head(operator_id)
            if head.digest is not None or not head.version:
                return head, head.digest or b""
            digest = self._computed_digest(operator_id)
            if self.head(operator_id).version == head.version:
                # A digest that could not be kept is computed again: reads go on in a store that takes no writes.
                with suppress(StoreUnavailable), self._database.writing() as connection:
                    keep_digest(connection, operator_id, head.version, digest)
                return head, digest
        return self.head(operator_id), b""

    def _computed_digest(self, operator_id: int) -> bytes:
        with self._database.reading() as connection:
            chunks = blocks.chunks_of(connection, Kind.ACTIVE, operator_id)
        # A chunk a turn, so that pushes go on meanwhile.
        found = ((chunk, self._active_chunk(operator_id, chunk)) for chunk in chunks)
        return set_digest((chunk, chunk_digest(places)) for chunk, places in found if places)

    def _active_chunk(self, operator_id: int, chunk: int) -> BitMap:
        with self._database.reading() as connection:
            return blocks.read_chunk(connection, Kind.ACTIVE, operator_id, chunk)

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
        receipt = Receipt(base_version, content.basis, token, data_time_us, now_us, self.push_policy)
        with self._changing() as connection:
            again = pushes.begin(connection, Kind.ACTIVE, header, now_us)
            if again is not None:
                return again
            pushed = pushes.push_active(connection, header, content, receipt)
            act = Act.PUSH_FORCED if header.allow_older else Act.PUSH_HELD if pushed.held else Act.PUSH_APPLIED
            done = _DataAct(act, by, now, Kind.ACTIVE, header.operator_id)
            self._record_act_on_set(connection, done, pushed.version, pushed.revision)
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
            self._record_act_on_set(connection, done, pushed.version, pushed.revision)
            return pushed

    @again_if_undone
    def reject_push(self, operator_id: int, token: str, *, now: datetime, by: str = LOCAL) -> None:
        """Forget a held push, durably when this returns; UnknownPush if none of that token is held."""
        with self._changing() as connection:
            pushes.reject(connection, operator_id, token, microseconds(now))
            done = _DataAct(Act.PUSH_REJECTED, by, now, Kind.ACTIVE, operator_id)
            self._record_act_on_set(connection, done, version=0, revision=0)

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
            self._record_act_on_set(connection, done, pushed.version, pushed.revision)
            return pushed

    # --- callers

    def stray_receipts(self) -> StrayReceipts:
        """Return the receipts that wait for the node that they are for."""
        return StrayReceipts(self._database)

    def budgets(self) -> Budgets:
        """Return what was taken of callers' budgets of new numbers."""
        return Budgets(self._database)

    def leases(self) -> Leases:
        """Return the leases of background work."""
        return Leases(self._database)

    def webhooks(self) -> Webhooks:
        """Return the positions of webhooks."""
        return Webhooks(self._database)

    def callers(self, key: bytes) -> Callers:
        """Return who may call; the rows' MACs are made with the key."""
        return Callers(self._database, key, self._acts, self._data_dir)

    @property
    def token_key_check(self) -> bytes | None:
        """The check of the key of tokens and callers with which the store is used; None before the first use."""
        with self._database.reading() as connection:
            return connection.scalar(select(installation.c.token_key_check))

    def keep_token_key_check(self, check: bytes) -> bytes:
        """Keep what tells the key if nothing is kept, and return what is: of nodes that begin at once, one is first."""
        with self._database.writing() as connection:
            take_turn(connection)
            unset = installation.c.token_key_check.is_(None)
            connection.execute(update(installation).where(unset).values(token_key_check=check))
            kept: bytes = connection.execute(select(installation.c.token_key_check)).scalar_one()
            return kept

    @property
    def has_callers(self) -> bool:
        """True if there is any caller or agreement."""
        with self._database.reading() as connection:
            return callers.are_any(connection)

    def caller_macs(self) -> dict[tuple[str, str], bytes]:
        """Return the mac of each caller and agreement: what the acts tell of them."""
        with self._database.reading() as connection:
            return callers.read_macs(connection)

    def check_withdrawals(self) -> None:
        """Raise StoreDamaged unless the numbers that wait to be revoked, and those in the record, are what was
        stored."""
        with self._database.reading() as connection:
            withdrawals.check(connection)
            recorded.check(connection)

    def check_pushes(self) -> None:
        """Raise StoreDamaged unless the record of every push is what was stored."""
        with self._database.reading() as connection:
            pushes.check_records(connection)

    def record_denials(self, some: list[Denial]) -> None:
        """Keep that calls were denied, in one transaction; the last 10,000 are kept."""
        with self._database.writing() as connection:
            callers.record_denials(connection, some)

    def last_denials(self, count: int) -> list[Denial]:
        """Return the last denials, the newest first."""
        with self._database.reading() as connection:
            return callers.last_denials(connection, count)


class _DataAct(NamedTuple):
    """An act on a set of numbers: who does what, when, to which."""

    act: Act
    by: str
    now: datetime
    kind: Kind
    operator_id: int


def _operator(row: Row[Any], head: Head | None) -> Operator:
    return Operator(
        operator_id=row.operator_id,
        display_name=row.display_name,
        tax_id=row.tax_id,
        data_version=head.version if head else 0,
        data_time=moment(head.data_time_us) if head else None,
        synthetic=head.synthetic if head else False,
        supplied_since=moment(head.since_us) if head else None,
    )
