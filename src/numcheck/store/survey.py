"""Counts for whoever watches an installation: read at one moment, of everything that is in the store."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, func, select

from numcheck.moments import DAY_US
from numcheck.store.blocks import Kind
from numcheck.store.history import Loss, read_losses
from numcheck.store.schema import (
    event_head,
    events,
    heads,
    operators,
    plan_series,
    pushes,
    registrations,
    verifications,
)
from numcheck.store.schema import withdrawals as taken

DUE_WITHIN_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts of the store's contents. Moments are microseconds since 1970."""

    active_counts: dict[int, int] = field(default_factory=dict)
    """By operator that supplied data; 0: the portings."""
    data_times_us: dict[int, int] = field(default_factory=dict)
    """The same, of when its data is."""
    held_counts: dict[int, int] = field(default_factory=dict)
    """By operator, pushes that wait to be confirmed."""
    plan_times_us: dict[str, int] = field(default_factory=dict)
    """By series of the plan, of when its rows are: or, if nobody said that, when they were imported."""
    registration_counts: dict[int, int] = field(default_factory=dict)
    """By state."""
    due_counts: dict[int, int] = field(default_factory=dict)
    """Registrations that have to be refreshed within so many days."""
    verification_counts: dict[tuple[str, int], int] = field(default_factory=dict)
    """By method and state."""
    event_sequence: int = 0
    """Of the newest event."""
    event_counts: dict[str, int] = field(default_factory=dict)
    """By kind, those that came since the survey before."""
    lost_versions: dict[int, int] = field(default_factory=dict)
    """By operator, versions of its data that went with the last losses of history."""
    lost_revision_count: int = 0
    """Revisions that went with them."""
    oldest_withdrawal_us: int | None = None
    """When the oldest number was taken whose registration is still to be revoked; None: all are."""


def read_survey(connection: Connection, *, now_us: int, events_after: int | None) -> Survey:
    """Return the counts, with those of the events behind a sequence; none if it is None, at first."""
    sequence = connection.scalar(select(event_head.c.sequence)) or 0
    known = select(heads.c.operator_id, heads.c.number_count, heads.c.data_time_us).where(heads.c.version > 0)
    found = [
        *connection.execute(known.where(heads.c.kind == int(Kind.ACTIVE))),
        *connection.execute(known.where(heads.c.kind != int(Kind.ACTIVE), heads.c.operator_id == 0)),
    ]
    held = select(pushes.c.operator_id, func.count()).where(pushes.c.version.is_(None)).group_by(pushes.c.operator_id)
    series = select(
        plan_series.c.calling_code, plan_series.c.series, plan_series.c.data_time_us, plan_series.c.imported_at_us
    )
    in_states = select(registrations.c.state, func.count()).group_by(registrations.c.state)
    due = [_due_within(days, now_us) for days in DUE_WITHIN_DAYS]
    steps = select(verifications.c.method, verifications.c.state, func.count()).group_by(
        verifications.c.method, verifications.c.state
    )
    losses = read_losses(connection)
    waiting = select(func.min(taken.c.withdrawn_at_us)).where(taken.c.next_place.is_not(None))
    return Survey(
        active_counts={row.operator_id: row.number_count for row in found},
        data_times_us={row.operator_id: row.data_time_us for row in found},
        held_counts=dict.fromkeys(connection.scalars(select(operators.c.operator_id)), 0) | _counted(connection, held),
        plan_times_us={
            f"+{code} {name}xx": at_us or imported_us for code, name, at_us, imported_us in connection.execute(series)
        },
        registration_counts=_counted(connection, in_states),
        due_counts=dict(zip(DUE_WITHIN_DAYS, connection.execute(select(*due)).one(), strict=True)),
        verification_counts={(method, state): count for method, state, count in connection.execute(steps)},
        event_sequence=sequence,
        event_counts={} if events_after is None else _count_events(connection, events_after, sequence),
        lost_versions=_lost_versions(losses),
        lost_revision_count=sum(one.last_revision - one.first_revision + 1 for one in losses),
        oldest_withdrawal_us=connection.scalar(waiting),
    )


def _lost_versions(losses: Iterable[Loss]) -> dict[int, int]:
    counts = Counter[int]()
    for one in losses:
        counts.update({operator_id: before - found for operator_id, (before, found) in one.operators.items()})
    return dict(counts)


def _due_within(days: int, now_us: int) -> ScalarSelect[int]:
    """Return how many registrations have to be refreshed within so many days, or had to."""
    # Null where a state has no due time, and never behind the due time: an index leads to few rows.
    due = (registrations.c.next_at_us < now_us + days * DAY_US) & (registrations.c.due_at_us < now_us + days * DAY_US)
    return select(func.count()).where(due).scalar_subquery()


def _count_events(connection: Connection, after: int, last: int) -> dict[str, int]:
    counted = select(events.c.kind, func.count()).where(events.c.sequence > after, events.c.sequence <= last)
    return _counted(connection, counted.group_by(events.c.kind))


def _counted(connection: Connection, statement: Select[Any]) -> dict[Any, int]:
    """Return the second column by the first."""
    return {row[0]: row[1] for row in connection.execute(statement)}
