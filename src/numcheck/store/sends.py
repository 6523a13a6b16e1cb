"""Codes that were sent, and tries at them, as rows: what the limits of codes are judged by.

A part of the transaction of registrations, as `RegistrationWork.sends`. Rows are of a day, and bound to nothing: who
alters one gains a code.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, delete

from numcheck.store.bindings import Written
from numcheck.store.bulk import fetch, insert_rows, rows_where, run
from numcheck.store.registration_rows import Asked, SendRow, TryRow
from numcheck.store.schema import code_sends, code_tries
from numcheck.store.verifications import first_id_at

WRONG_TRIES = (
    "SELECT coalesce(sum(CASE WHEN network_tag IN ? THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN user_tag IN ? THEN 1 ELSE 0 END), 0) FROM code_tries "
    "WHERE number_tag IN ? AND service = ? AND at_us > ? AND wrong"
)
INSERT_TRY = (
    "INSERT INTO code_tries (service, number_tag, user_tag, network_tag, at_us, wrong) VALUES (?, ?, ?, ?, ?, ?) "
    "RETURNING try_id"
)
# Of all services: by one of them SQLite would look through everything that it has sent.
TO_NUMBER = (
    "SELECT at_us, user_tag, network_tag, service FROM code_sends WHERE number_tag IN ? AND at_us > ? ORDER BY at_us"
)
SINCE = "SELECT at_us FROM code_sends WHERE at_us > ?"
COUNT_SINCE = "SELECT count(*) FROM code_sends WHERE service = ? AND at_us > ?"
OUTCOMES = "SELECT completed FROM code_sends WHERE service = ? AND at_us <= ? ORDER BY at_us DESC LIMIT ?"
COMPLETED_BY_ID = "SELECT verification_id, completed FROM code_sends WHERE verification_id IN"


class Sends:
    """The sent codes, and the tries, of one transaction."""

    def __init__(self, connection: Connection, written: Written) -> None:
        """Read and write by this connection, and count in `written`."""
        self._connection, self._written = connection, written
        self._counts: dict[str, tuple[int, int]] = {}  # by service: a moment, and how many codes were sent since
        self._outcomes: dict[str, list[bool]] = {}  # of a service's last codes, as they were before this transaction

    def wrong_tries(
        self,
        service: str,
        number_tags: Sequence[bytes],
        network_tags: Sequence[bytes],
        user_tags: Sequence[bytes],
        *,
        since_us: int,
    ) -> tuple[int, int]:
        """Return how many wrong tries at a number there were in a service: from a network, and of a user.

        Those that were not compared yet count.
        """
        values = list(network_tags), list(user_tags), list(number_tags), service, since_us
        ((of_network, of_user),) = fetch(self._connection, WRONG_TRIES, *values)
        return int(of_network), int(of_user)

    def insert_try(self, row: TryRow) -> int:
        """Count a try as wrong; its id."""
        self._written.count += 1
        ((try_id,),) = fetch(self._connection, INSERT_TRY, *row, True)
        return int(try_id)

    def clear_try(self, try_id: int) -> None:
        """Note that the try was right."""
        self._written.count += 1
        run(self._connection, "UPDATE code_tries SET wrong = ? WHERE try_id = ?", False, try_id)

    def to_number(self, number_tags: Sequence[bytes], *, since_us: int) -> list[Asked]:
        """Return when codes were sent to a number, ascending, and who had asked for each."""
        return list(map(Asked._make, fetch(self._connection, TO_NUMBER, list(number_tags), since_us)))

    def nth(self, nth: int, *, since_us: int, **wanted: str | Sequence[bytes]) -> int | None:
        """Return when the n-th newest code after a moment was sent, of those with these values in their columns, or one
        of these; None: there are fewer."""
        conditions = "".join(f" AND {name} {'=' if isinstance(one, str) else 'IN'} ?" for name, one in wanted.items())
        selection = f"{SINCE}{conditions} ORDER BY at_us DESC LIMIT 1 OFFSET ?"
        values = (one if isinstance(one, str) else list(one) for one in wanted.values())
        found = fetch(self._connection, selection, since_us, *values, nth - 1)
        return int(found[0][0]) if found else None

    def nth_of_service(self, service: str, nth: int, *, since_us: int) -> int | None:
        """Return the same of all codes of a service. They are counted once a transaction, and looked through only if
        there are as many."""
        if service not in self._counts or self._counts[service][0] > since_us:
            ((count,),) = fetch(self._connection, COUNT_SINCE, service, since_us)
            self._counts[service] = since_us, int(count)
        return None if self._counts[service][1] < nth else self.nth(nth, since_us=since_us, service=service)

    def outcomes(self, service: str, *, before_us: int, count_max: int) -> list[bool]:
        """Return True for each of a service's last codes before a moment that was completed, the newest first: read
        once a transaction."""
        if service not in self._outcomes:
            found = fetch(self._connection, OUTCOMES, service, before_us, count_max)
            self._outcomes[service] = [bool(one) for (one,) in found]
        return self._outcomes[service]

    def newest(self, service: str) -> int | None:
        """Return when a service's last code was sent."""
        ((newest,),) = fetch(self._connection, "SELECT max(at_us) FROM code_sends WHERE service = ?", service)
        return None if newest is None else int(newest)

    def insert(self, row: SendRow) -> None:
        """Record that a code is sent."""
        self._written.count += 1
        if row.service in self._counts:
            since_us, count = self._counts[row.service]
            self._counts[row.service] = since_us, count + 1
        insert_rows(self._connection, code_sends, [row])

    def complete(self, verification_id: bytes) -> None:
        """Record that a code came back."""
        self._written.count += 1
        run(self._connection, "UPDATE code_sends SET completed = ? WHERE verification_id = ?", True, verification_id)

    def prune(self, *, before_us: int) -> None:
        """Remove the tries and the codes of before a moment."""
        self._written.count += 1
        self._connection.execute(delete(code_tries).where(code_tries.c.at_us < before_us))
        self._connection.execute(delete(code_sends).where(code_sends.c.verification_id < first_id_at(before_us)))


def read_completed(connection: Connection, verification_ids: Sequence[bytes]) -> dict[bytes, bool]:
    """Return for each of these verifications, if its code is still known, True if the code came back."""
    found = rows_where(connection, COMPLETED_BY_ID, verification_ids)
    return {bytes(verification_id): bool(completed) for verification_id, completed in found}
