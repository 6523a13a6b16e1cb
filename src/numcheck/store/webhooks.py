"""Positions of webhooks: how far each has come, and which node of an installation sends it now.

Invariants: a position only rises; a webhook is sent by one node at a time, as far as the clocks of two nodes agree, and
by another one once its holder has not renewed its hold in time.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from numcheck.store.database import Database
from numcheck.store.events import read_newest
from numcheck.store.schema import dead_letters, webhooks

DEAD_LETTERS_MAX = 1_000  # of a webhook: the newest are kept


class WebhookRow(NamedTuple):
    """A webhook: the service's event up to which all is done, its holder, and the problem of its last attempt."""

    name: str
    service: str
    sequence: int
    holder: str
    held_until_us: int
    problem: str
    changed_at_us: int


class DeadLetter(NamedTuple):
    """An event that was passed over: its position among its service's own, when, and why."""

    name: str
    sequence: int
    at_us: int
    problem: str


class Hold(NamedTuple):
    """A node's hold on a webhook, from now to a moment."""

    holder: str
    now_us: int
    until_us: int


class Webhooks:
    """The webhooks of an installation. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, service: str, hold: Hold, *, from_start: bool) -> int | None:
        """Take hold of a webhook, or renew that; return its position. None if another node holds it.

        A new one, or one that is another service's now, begins behind the service's newest event, or with its first.
        """
        with self._database.writing() as connection:
            row = _try_row(connection, name)
            if row is None or row.service != service:
                newest = None if from_start else read_newest(connection, service)
                sequence = newest.service_sequence if newest else 0
                connection.execute(delete(webhooks).where(webhooks.c.name == name))
                row = WebhookRow(name, service, sequence, hold.holder, hold.until_us, "", hold.now_us)
                connection.execute(insert(webhooks).values(row._asdict()))
            elif row.holder != hold.holder and row.held_until_us > hold.now_us:
                return None
            else:
                held = {"holder": hold.holder, "held_until_us": hold.until_us}
                connection.execute(update(webhooks).where(webhooks.c.name == name).values(held))
            return row.sequence

    def advance(
        self, name: str, hold: Hold, sequence: int, problem: str, refused: Sequence[tuple[int, str]] = ()
    ) -> bool:
        """Note how far a webhook has come, and the events that were passed over; renew the hold.

        Return False, and change nothing, if another node holds the webhook by now.
        """
        with self._database.writing() as connection:
            row = _try_row(connection, name)
            if row is None or row.holder != hold.holder:
                return False
            changes = {
                "sequence": max(sequence, row.sequence),
                "held_until_us": hold.until_us,
                "problem": problem,
                "changed_at_us": hold.now_us,
            }
            connection.execute(update(webhooks).where(webhooks.c.name == name).values(changes))
            for place, why in refused:
                _add_dead_letter(connection, DeadLetter(name, place, hold.now_us, why))
            return True

    def give_back(self, name: str, holder: str) -> None:
        """End a node's hold, so that another takes over at once."""
        with self._database.writing() as connection:
            own = (webhooks.c.name == name) & (webhooks.c.holder == holder)
            connection.execute(update(webhooks).where(own).values(held_until_us=0))

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


def _try_row(connection: Connection, name: str) -> WebhookRow | None:
    row = connection.execute(select(webhooks).where(webhooks.c.name == name).with_for_update()).first()
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
