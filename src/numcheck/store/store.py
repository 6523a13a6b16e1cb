"""The store: the numbering plan, the operators and all else that is kept, each change in one transaction.

Invariants: ranges never overlap; every change raises the revision in the transaction that makes it, so that whoever
has applied revision N has seen every change up to it; an operator's id is never given to another. On disk after a
crash at any step: the state before the transaction or the state after it.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from sqlalchemy import Connection, Row, func, select, update

from numcheck.active import AllottedRange, Operator, PushPolicy
from numcheck.errors import BadTestNumber, HistoryLost, StoreMissing, StoreUnavailable
from numcheck.moments import microseconds, moment
from numcheck.plan import NumberingPlan
from numcheck.privacy import make_private_directory
from numcheck.store import blocks, callers, plans, recorded
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.blocks import Kind
from numcheck.store.budgets import Budgets
from numcheck.store.callers import Callers, Denial
from numcheck.store.checks import Checks
from numcheck.store.data_bindings import Changed, binding_of
from numcheck.store.database import Database, take_turn
from numcheck.store.events import Chain, EventLog
from numcheck.store.failures import again_if_undone
from numcheck.store.heads import Head, read_heads, read_versions
from numcheck.store.history import (
    Loss,
    Point,
    begin_epoch,
    has_point,
    is_elsewhere,
    is_lost,
    lacks,
    read_losses,
    read_point,
    read_unused,
    record_loss,
    try_versions_left,
)
from numcheck.store.leases import Leases
from numcheck.store.plans import Meant, Origin, PlanImport, SeriesInfo
from numcheck.store.recorded import WithdrawalRecord
from numcheck.store.registration_work import are_any, read_key_checks
from numcheck.store.registrations import Registrations
from numcheck.store.schema import installation, operator_names, operators, plan_series, ranges, recorded_withdrawals
from numcheck.store.schema import withdrawals as withdrawn_rows
from numcheck.store.sets import NumberSets
from numcheck.store.stray_receipts import StrayReceipts
from numcheck.store.survey import Survey, read_survey
from numcheck.store.troubles import Troubles
from numcheck.store.webhooks import Webhooks

FILE_NAME = "numcheck.db"


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
        self._acts, self._data_dir, self.troubles = Acts(), data_dir, troubles
        self.test_numbers: Collection[int] = ()
        """Numbers that no plan may allot to anybody."""
        self._database = Database(data_dir / FILE_NAME, url=url, read_only=read_only, make=make, troubles=troubles)
        self.sets = NumberSets(self._database, self._acts, push_policy, self._changing)
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

    def operators(self) -> list[Operator]:
        """Every operator with the head of its active set, by id."""
        with self._database.reading() as connection:
            rows = connection.execute(select(operators).order_by(operators.c.operator_id)).all()
            heads = read_heads(connection, Kind.ACTIVE)
        return [_operator(row, heads.get(row.operator_id)) for row in rows]

    def changed_since(self, revision: int) -> dict[int, set[int]] | None:
        """Return the parts of each chunk that pushes have changed after a revision; None if the plan has changed as
        well."""
        with self._database.reading() as connection:
            planned = connection.scalar(select(func.max(plan_series.c.revision))) or 0
            return None if planned > revision else blocks.changed_since(connection, revision)

    # --- what else is kept, each in a room of its own

    def withdrawal_record(self) -> WithdrawalRecord:
        """Return the record of withdrawals, to be read."""
        return WithdrawalRecord(self._database)

    def checks(self) -> Checks:
        """Return what finds damage and changes by strangers."""
        return Checks(self._database, self.sets)

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

    def record_denials(self, some: list[Denial]) -> None:
        """Keep that calls were denied, in one transaction; the last 10,000 are kept."""
        with self._database.writing() as connection:
            callers.record_denials(connection, some)

    def last_denials(self, count: int) -> list[Denial]:
        """Return the last denials, the newest first."""
        with self._database.reading() as connection:
            return callers.last_denials(connection, count)


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
