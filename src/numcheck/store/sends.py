"""Codes that were sent, and tries at them, as rows: what the limits of codes are judged by.

A part of the transaction of registrations, as `RegistrationWork.sends`. Rows are of a day, and bound to nothing: who
alters one gains a code.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete

from numcheck.store.bindings import Written
from numcheck.store.bulk import fetch, insert_returning, insert_rows, rows_where, run
from numcheck.store.registration_rows import Asked, SendRow, TryRow
from numcheck.store.schema import code_sends, code_tries
from numcheck.store.verifications import first_id_at

WRONG_TRIES = "SELECT number_tag, service, user_tag, network_tag, at_us FROM code_tries WHERE wrong AND number_tag IN"
TRY = ("try_id", *TryRow._fields)
CLEAR_TRIES = "UPDATE code_tries SET wrong = ? WHERE try_id IN ?"
COMPLETE = "UPDATE code_sends SET completed = ? WHERE verification_id IN ?"
# Of all services: by one of them SQLite would look through everything that it has sent.
TO_NUMBER = "SELECT number_tag, at_us, user_tag, network_tag, service FROM code_sends WHERE number_tag IN"
NTH = "SELECT at_us FROM code_sends WHERE service = ? AND at_us > ?{tagged} ORDER BY at_us DESC LIMIT 1 OFFSET ?"
COUNT = "SELECT count(*) FROM code_sends WHERE service = ? AND at_us > ?"
COUNTS = "SELECT {column}, count(*) FROM code_sends WHERE service = ? AND at_us > ? AND {column} IN ? GROUP BY {column}"
OUTCOMES = "SELECT completed FROM code_sends WHERE service = ? AND at_us <= ? ORDER BY at_us DESC LIMIT ?"
COMPLETED_BY_ID = "SELECT verification_id, completed FROM code_sends WHERE verification_id IN"


class CodeTags(NamedTuple):
    """A code as its limits see it: of which service, since when others count, and the tags, under each key, of its
    number, of the block of that, and of the network and the user that ask for it."""

    service: str
    since_us: int
    numbers: Sequence[bytes]
    blocks: Sequence[bytes]
    networks: Sequence[bytes]
    users: Sequence[bytes]


@dataclass(slots=True)
class Try:
    """A try that was counted as wrong. It has an id from the end of its transaction on."""

    row: TryRow
    try_id: int = 0


class Sends:
    """The sent codes, and the tries, of one transaction.

    Rows are written once a statement has to find them, at the transaction's end at the latest. Those that were read of
    a number are known until something is written about it.
    """

    def __init__(self, connection: Connection, written: Written) -> None:
        """Read and write by this connection, and count in `written`."""
        self._connection, self._written = connection, written
        self._new: list[SendRow] = []
        self._new_tries: list[Try] = []
        self._right: list[int] = []  # tries by their ids
        self._completed: list[bytes] = []  # codes by their verifications
        self._wrong_tries: dict[bytes, list[TryRow]] = {}  # by the number's tag
        self._to_number: dict[bytes, list[Asked]] = {}  # by the number's tag
        # By service, column and tag: a moment, and how many codes were sent since; without a column, of all of it.
        self._counts: dict[tuple[str, str, bytes], tuple[int, int]] = {}
        self._outcomes: dict[str, list[bool]] = {}  # of a service's last codes, as they were before this transaction

    # --- tries

    def look_ahead_for_tries(self, number_tags: Sequence[bytes]) -> None:
        """Read the wrong tries at numbers."""
        self._wrong_tries.update((tag, []) for tag in number_tags)
        for tag, service, *row in rows_where(self._connection, WRONG_TRIES, number_tags):
            self._wrong_tries[tag].append(TryRow(service, tag, *row))

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
        if not self._wrong_tries.keys() >= set(number_tags):
            self.flush()
            self.look_ahead_for_tries(number_tags)
        tries = [one for tag in number_tags for one in self._wrong_tries[tag]]
        own = [one for one in tries if one.service == service and one.at_us > since_us]
        return sum(one.network_tag in network_tags for one in own), sum(one.user_tag in user_tags for one in own)

    def insert_try(self, row: TryRow) -> Try:
        """Count a try as wrong."""
        self._written.count += 1
        self._wrong_tries.pop(row.number_tag, None)
        self._new_tries.append(Try(row))
        return self._new_tries[-1]

    def clear_try(self, one: Try) -> None:
        """Note that a try of an earlier transaction was right."""
        self._written.count += 1
        self._wrong_tries.pop(one.row.number_tag, None)
        self._right.append(one.try_id)

    # --- codes

    def look_ahead_for_codes(self, codes: Sequence[CodeTags]) -> None:
        """Read what codes that are to be sent are judged by."""
        self._look_for_numbers([tag for one in codes for tag in one.numbers])
        for service in {one.service for one in codes}:
            own = [one for one in codes if one.service == service]
            since_us = min(one.since_us for one in own)
            self._count_tagged(service, "block_tag", {tag for one in own for tag in one.blocks}, since_us)
            self._count_tagged(service, "network_tag", {tag for one in own for tag in one.networks}, since_us)

    def _look_for_numbers(self, number_tags: Sequence[bytes]) -> None:
        """Read what was sent to numbers."""
        self._to_number.update((tag, []) for tag in number_tags)
        for tag, *asked in rows_where(self._connection, TO_NUMBER, number_tags):
            self._to_number[tag].append(Asked._make(asked))

    def _count_tagged(self, service: str, column: str, tags: Collection[bytes], since_us: int) -> None:
        """Count a service's codes by a column."""
        self._counts.update(((service, column, tag), (since_us, 0)) for tag in tags)
        for tag, count in fetch(self._connection, COUNTS.format(column=column), service, since_us, list(tags)):
            self._counts[service, column, tag] = since_us, count

    def to_number(self, number_tags: Sequence[bytes], *, since_us: int) -> list[Asked]:
        """Return when codes were sent to a number, ascending, and who had asked for each."""
        if not self._to_number.keys() >= set(number_tags):
            self.flush()
            self._look_for_numbers(number_tags)
        return sorted(one for tag in number_tags for one in self._to_number[tag] if one.at_us > since_us)

    def nth(self, nth: int, service: str, since_us: int, column: str = "", tags: Sequence[bytes] = ()) -> int | None:
        """Return when the n-th newest code of a service after a moment was sent, of those with one of these tags in the
        column, or, without one, of all; None: there are fewer.

        They are counted once a transaction, and looked through only if there are as many.
        """
        if self._count(service, column, tags, since_us) < nth:
            return None
        self.flush()
        statement = NTH.format(tagged=f" AND {column} IN ?" if column else "")
        found = fetch(self._connection, statement, service, since_us, *([list(tags)] if column else []), nth - 1)
        return int(found[0][0]) if found else None

    def _count(self, service: str, column: str, tags: Sequence[bytes], since_us: int) -> int:
        """Return how many codes there are since a moment, or since one a little before."""
        keys = [(service, column, tag) for tag in tags] if column else [(service, "", b"")]
        if any(key not in self._counts or self._counts[key][0] > since_us for key in keys):
            self.flush()
            if column:
                self._count_tagged(service, column, tags, since_us)
            else:
                ((count,),) = fetch(self._connection, COUNT, service, since_us)
                self._counts[keys[0]] = since_us, int(count)
        return sum(self._counts[key][1] for key in keys)

    def outcomes(self, service: str, *, before_us: int, count_max: int) -> list[bool]:
        """Return True for each of a service's last codes before a moment that was completed, the newest first: read
        once a transaction."""
        if service not in self._outcomes:
            self.flush()
            found = fetch(self._connection, OUTCOMES, service, before_us, count_max)
            self._outcomes[service] = [bool(one) for (one,) in found]
        return self._outcomes[service]

    def newest(self, service: str) -> int | None:
        """Return when a service's last code was sent."""
        self.flush()
        ((newest,),) = fetch(self._connection, "SELECT max(at_us) FROM code_sends WHERE service = ?", service)
        return None if newest is None else int(newest)

    def insert(self, row: SendRow) -> None:
        """Record that a code is sent."""
        self._written.count += 1
        for counted in (("", b""), ("block_tag", row.block_tag), ("network_tag", row.network_tag)):
            key = row.service, *counted
            if key in self._counts:
                since_us, count = self._counts[key]
                self._counts[key] = since_us, count + 1
        self._to_number.pop(row.number_tag, None)
        self._new.append(row)

    def complete(self, verification_id: bytes) -> None:
        """Record that a code came back."""
        self._written.count += 1
        self._completed.append(verification_id)

    def flush(self) -> None:
        """Write what was put off."""
        insert_rows(self._connection, code_sends, self._new)
        self._insert_tries()
        if self._right:
            run(self._connection, CLEAR_TRIES, False, self._right)
        if self._completed:
            run(self._connection, COMPLETE, True, self._completed)
        for written in (self._new, self._new_tries, self._right, self._completed):
            written.clear()

    def _insert_tries(self) -> None:
        """Write the tries. Whichever id each gets of those with the same columns is the same to everybody."""
        rows = [(*one.row, True) for one in self._new_tries]
        ids = defaultdict[TryRow, list[int]](list)
        for try_id, *row in insert_returning(self._connection, code_tries, (*TryRow._fields, "wrong"), rows, TRY):
            ids[TryRow._make(row)].append(try_id)
        for one in self._new_tries:
            one.try_id = ids[one.row].pop()

    def prune(self, *, before_us: int) -> None:
        """Remove the tries and the codes of before a moment."""
        self.flush()
        self._written.count += 1
        self._connection.execute(delete(code_tries).where(code_tries.c.at_us < before_us))
        self._connection.execute(delete(code_sends).where(code_sends.c.verification_id < first_id_at(before_us)))


def read_completed(connection: Connection, verification_ids: Sequence[bytes]) -> dict[bytes, bool]:
    """Return for each of these verifications, if its code is still known, True if the code came back."""
    found = rows_where(connection, COMPLETED_BY_ID, verification_ids)
    return {bytes(verification_id): bool(completed) for verification_id, completed in found}
