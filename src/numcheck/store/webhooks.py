"""Positions of webhooks: how far each has come.

Invariants: a position only rises, and only under the lease of its webhook, which one node has at a time. A new webhook
has a position from when the first node with it begins, so that nothing that comes then is missed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from numcheck.store import leases
from numcheck.store.bulk import run
from numcheck.store.database import Database
from numcheck.store.events import read_newest
from numcheck.store.leases import Lease
from numcheck.store.schema import dead_letters, webhooks

FIRST_ROW = """
    INSERT INTO webhooks (name, service, sequence, problem, changed_at_us) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
DEAD_LETTERS_MAX = 1_000  # of a webhook: the newest are kept


class WebhookRow(NamedTuple):
    """A webhook: the service's event up to which all is done, and the problem of its last attempt."""

    name: str
    service: str
    sequence: int
    problem: str
    changed_at_us: int


class DeadLetter(NamedTuple):
    """An event that was passed over: its position among its service's own, when, and why."""

    name: str
    sequence: int
    at_us: int
    problem: str


class Webhooks:
    """The webhooks of an installation. Methods may be called from any thread; LeaseLost if another node has the
    webhook's lease by now, and nothing was changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, name: str, service: str, now_us: int, *, from_start: bool) -> None:
        """Give a new webhook its position; one that is there keeps its own. It needs no lease."""
        with self._database.reading() as connection:
            if _try_row(connection, name) is not None:
                return
        with self._database.writing() as connection:
            row = _first_row(connection, name, service, now_us, from_start=from_start)
            run(connection, FIRST_ROW, *row)

    def open(self, name: str, service: str, lease: Lease, now_us: int, *, from_start: bool) -> int:
        """Return the position of a webhook.

        A new one, or one that is another service's now, begins behind the service's newest event, or with its first.
        """
        with self._database.writing() as connection:
            leases.check(connection, lease)
            row = _try_row(connection, name)
            if row is None or row.service != service:
                connection.execute(delete(webhooks).where(webhooks.c.name == name))
                row = _first_row(connection, name, service, now_us, from_start=from_start)
                connection.execute(insert(webhooks).values(row._asdict()))
            return row.sequence

    def advance(
        self,
        name: str,
        lease: Lease,
        sequence: int,
        problem: str,
        now_us: int,
        refused: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Note how far a webhook has come, and the events that were passed over."""
        changes = {"sequence": sequence, "problem": problem, "changed_at_us": now_us}
        with self._database.writing() as connection:
            leases.check(connection, lease)
            behind = (webhooks.c.name == name) & (webhooks.c.sequence <= sequence)
            connection.execute(update(webhooks).where(behind).values(changes))
            for place, why in refused:
                _add_dead_letter(connection, DeadLetter(name, place, now_us, why))

    def all(self) -> list[tuple[WebhookRow, int]]:
        """Return every webhook, by name, with the position of its service's newest event."""
        with self._database.reading() as connection:
            rows = [WebhookRow._make(row) for row in connection.execute(select(webhooks).order_by(webhooks.c.name))]
            newest = [read_newest(connection, row.service) for row in rows]
        return [(row, event.service_sequence if event else 0) for row, event in zip(rows, newest, strict=True)]

    def dead_letters(self) -> list[DeadLetter]:
        """Return the events that were passed over, by webhook and position."""
        statement = select(dead_letters).order_by(dead_letters.c.name, dead_letters.c.sequence)
        with self._database.reading() as connection:
            return [DeadLetter._make(row) for row in connection.execute(statement)]


def _first_row(connection: Connection, name: str, service: str, now_us: int, *, from_start: bool) -> WebhookRow:
    """Return the row of a webhook that begins now: behind the service's newest event, or with its first."""
    newest = None if from_start else read_newest(connection, service)
    return WebhookRow(name, service, newest.service_sequence if newest else 0, "", now_us)


def _try_row(connection: Connection, name: str) -> WebhookRow | None:
    row = connection.execute(select(webhooks).where(webhooks.c.name == name)).first()
    return None if row is None else WebhookRow._make(row)


def _add_dead_letter(connection: Connection, letter: DeadLetter) -> None:
    own = dead_letters.c.name == letter.name
    connection.execute(delete(dead_letters).where(own & (dead_letters.c.sequence == letter.sequence)))
    connection.execute(insert(dead_letters).values(letter._asdict()))
    oldest = (
        select(dead_letters.c.sequence).where(own).order_by(dead_letters.c.sequence.desc()).offset(DEAD_LETTERS_MAX)
    )
    last = connection.scalar(oldest.limit(1))
    if last is not None:
        connection.execute(delete(dead_letters).where(own & (dead_letters.c.sequence <= last)))
