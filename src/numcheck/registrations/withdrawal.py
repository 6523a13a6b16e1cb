"""Continuous re-verification: what becomes of registrations on numbers that were taken away from their operator.

Invariants: every VERIFIED registration on a withdrawn number becomes REVOKED, with its event, in one transaction with
the note that those numbers are done: once, whatever crashes. A verification that was under way on one ends, as the code
may lie with whoever had the number before. A number that was withdrawn and is back counts as withdrawn: it may be
another subscriber's now, so that its registrations have to be verified anew. A change to another number goes on: who
has lost a number needs it most.

What is registered on the numbers is looked for before, in no transaction that anybody waits for: a registration that is
made after a withdrawal is the next subscriber's, or is refused as its index is too old. A withdrawal takes nothing from
what began after it: registrations and verifications keep the revision that they began at.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, TypeVar

from numcheck._bits import CHUNK_NUMBERS
from numcheck.moments import microseconds
from numcheck.registrations.census import TAKEN_FROM, Census
from numcheck.registrations.registration import VerificationState, record_each
from numcheck.registrations.states import EventKind, RegistrationState, after
from numcheck.registrations.vault import Vault
from numcheck.store import Registrations, RegistrationWork, Withdrawn, WithdrawnChunk

READ_TOGETHER = {False: 2_000_000, True: 400_000}  # numbers, by whether they are of a bulk change
LOOKED_FOR_FIRST, LOOKED_FOR_TOGETHER = 10_000, 200_000
"""Numbers of those that are looked for at once: few at first, so that revoking begins, then twice as many each time, so
that less of the index of numbers is read twice."""
PIECE_NUMBERS = 10_000  # are done or not, together, unless too many users are registered on them
REVOKED_TOGETHER = {False: 4_000, True: 1_000}
"""Registrations of a transaction, by whether they are of a bulk change: of many each takes less time, and others wait
for all, a tenth of a second. That is too long for the minutes that a bulk change takes."""

AT = itemgetter(0)

T = TypeVar("T")


class Found(NamedTuple):
    """A piece of withdrawn numbers, and the ids of what was registered on them."""

    taken: Withdrawn
    registration_ids: list[bytes]

    def joined_with(self, other: "Found") -> "Found":
        """Return this piece and the one that goes on with it, as one."""
        taken = self.taken.part(self.taken.place, other.taken.next_place)
        return Found(taken, self.registration_ids + other.registration_ids)


class Withdrawals:
    """Revokes what is registered on withdrawn numbers. Any number of threads and nodes may; each piece is done once."""

    def __init__(self, registrations: Registrations, vault: Vault, *, now: Callable[[], datetime]) -> None:
        self._registrations, self._vault, self._now = registrations, vault, now
        self._stopped = False
        self._census: Census | None = None  # kept as long as bulk changes are under way

    def stop(self) -> None:
        """End after the pieces under way; the rest waits in the store."""
        self._stopped = True

    def follow(self) -> int:
        """Do all that there is to do, bulk changes last; return how many registrations were revoked."""
        count = 0
        with closing(self._waiting()) as waiting:
            for some in waiting:
                if self._stopped:
                    return count
                if some:
                    count += self._registrations.write(partial(self._revoke, some))
        return count

    def _waiting(self) -> Generator[list[Found]]:
        """Yield what is to be done together, now and then nothing: of bulk changes only as long as nothing else waits.

        So what an operator withdraws meanwhile waits for one step of a bulk change at most.
        """
        while True:
            if pieces := self._next(bulk=False):
                yield from self._looked_for(pieces)
            elif chunk := self._registrations.try_withdrawn_in_bulk():
                with closing(self._in_bulk(chunk)) as some:
                    for one in some:
                        yield one
                        if self._registrations.are_withdrawals_waiting():
                            break
            else:
                self._census = None
                return

    def _next(self, *, bulk: bool) -> list[Withdrawn]:
        return self._registrations.withdrawn(bulk=bulk, count_max=READ_TOGETHER[bulk], piece_size=PIECE_NUMBERS)

    def _looked_for(self, pieces: Sequence[Withdrawn]) -> Generator[list[Found]]:
        with closing(self._found(pieces)) as found:
            yield from _together(found, REVOKED_TOGETHER[pieces[0].bulk])

    def _in_bulk(self, chunk: WithdrawnChunk) -> Generator[list[Found]]:
        """Yield what is registered on a chunk's numbers, and nothing while that is being found out; of too many
        registrations, number by number."""
        if self._census is None or not self._census.is_for(chunk):
            self._census = Census(chunk)
        census = self._census
        while not census.is_whole and not census.is_too_long:
            census.read_on(self._registrations, self._vault)
            yield []
        if census.is_too_long:
            yield from self._looked_for(self._next(bulk=True))
        else:
            yield from ([one] for one in _cut(chunk.whole, census.on(chunk.chunk, chunk.places)))

    def _found(self, pieces: Sequence[Withdrawn]) -> Generator[Found]:
        """Each piece with what is registered on it: that of the next ones is looked for while these are revoked."""
        with ThreadPoolExecutor(1, thread_name_prefix="withdrawal-finder") as finder:
            ahead = None
            for some in _groups(pieces, lambda piece: len(piece.numbers), LOOKED_FOR_FIRST, LOOKED_FOR_TOGETHER):
                following = finder.submit(self._find, some)
                if ahead is not None:
                    yield from ahead.result()
                ahead = following
            if ahead is not None:
                yield from ahead.result()

    def _find(self, pieces: Sequence[Withdrawn]) -> list[Found]:
        """Return what is registered on the numbers of each piece."""
        if not self._registrations.are_any():
            return [Found(piece, []) for piece in pieces]
        numbers = array("Q")
        for piece in pieces:
            numbers += piece.numbers
        tags = self._vault.tags_of_numbers(numbers)
        on: dict[bytes, list[bytes]] = defaultdict(list)
        for tag, registration_id in self._registrations.on_numbers(list(chain.from_iterable(tags))):
            on[tag].append(registration_id)
        registered = sorted(
            (at, one) for of_key in tags for at, tag in enumerate(of_key) if tag in on for one in on[tag]
        )
        found: list[Found] = []
        first = 0
        for piece in pieces:
            behind = first + len(piece.numbers)
            own = registered[bisect_left(registered, first, key=AT) : bisect_left(registered, behind, key=AT)]
            found += _cut(piece, [(numbers[at] % CHUNK_NUMBERS, one) for at, one in own])
            first = behind
        return found

    def _revoke(self, some: Sequence[Found], work: RegistrationWork) -> int:
        """Revoke what still is VERIFIED on numbers that no other node has done meanwhile; how many."""
        now_us = microseconds(self._now())
        taken_of = {
            registration_id: one.taken
            for one in some
            if work.set_withdrawn_done(one.taken, now_us)
            for registration_id in one.registration_ids
        }
        standings = [
            one
            for one in work.standings(sorted(taken_of), states=TAKEN_FROM)
            if one.as_of_revision < taken_of[one.registration_id].revision
        ]
        work.verifications.end_of(
            {one.registration_id: taken_of[one.registration_id].revision for one in standings},
            VerificationState.ENDED,
            changes=False,
        )
        verified = [one for one in standings if one.state == RegistrationState.VERIFIED]
        state = int(after(RegistrationState.VERIFIED, EventKind.WITHDRAW))
        moved = work.move_many(verified, state=state)
        told = ((one, _details(one.due_at_us, taken_of[one.registration_id])) for one in moved)
        record_each(work, told, EventKind.WITHDRAW, now_us)
        return len(verified)


def _details(due_at_us: int, taken: Withdrawn) -> str:
    """Return what the event of a revoked registration says, as `record_event` would write it."""
    return f'{{"cause":"{taken.cause.value}","due_at_us":{due_at_us},"revision":{taken.revision}}}'


def _cut(taken: Withdrawn, registered: Iterable[tuple[int, bytes]]) -> Iterator[Found]:
    """Yield withdrawn numbers in pieces that each have REVOKED_TOGETHER registrations, and those of a number more; the
    registrations are given with their places, by ascending ones."""
    size = REVOKED_TOGETHER[taken.bulk]
    first, last, ids = taken.place, 0, list[bytes]()
    for place, registration_id in registered:
        if len(ids) >= size and place > last:
            yield Found(taken.part(first, place), ids)
            first, ids = place, []
        ids.append(registration_id)
        last = place
    yield Found(taken.part(first, taken.next_place), ids)


def _together(found: Iterable[Found], size: int) -> Iterator[list[Found]]:
    """Pieces in their order, as many as have so many registrations; those of one row are one."""
    for group in _groups(found, lambda one: len(one.registration_ids), size):
        joined: list[Found] = []
        for one in group:
            before = joined[-1] if joined else None
            if before is not None and before.taken.goes_on_with(one.taken):
                joined[-1] = before.joined_with(one)
            else:
                joined.append(one)
        yield joined


def _groups(
    items: Iterable[T], size_of: Callable[[T], int], size: int, largest: int | None = None
) -> Iterator[list[T]]:
    """Yield the items in their order, in groups that each end with the one that makes it so large; with `largest` each
    is twice as large as the one before, up to that."""
    group: list[T] = []
    so_far = 0
    for item in items:
        group.append(item)
        so_far += size_of(item)
        if so_far >= size:
            yield group
            group, so_far = [], 0
            size = min(2 * size, largest or size)
    if group:
        yield group
