"""Verifies many registrations again, against the index (I.6, and whenever an operator's data has moved on).

Invariants: a piece is durable before its progress is told; a piece that is done again changes nothing that it changed
before. What the operators' data still holds gets new evidence and no event, as nothing happened to it; what it does not
hold any more becomes REVOKED, with an event each.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from numcheck.index import Index, NumberFacts
from numcheck.moments import microseconds
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.judging import judge
from numcheck.registrations.policy import Judgement, Method, Policy
from numcheck.registrations.registration import act_on, store_changes
from numcheck.registrations.states import Act, RegistrationState
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Surroundings, Verifier
from numcheck.status import NumberStatus
from numcheck.store import NumberRow, Registrations, RegistrationWork
from numcheck.v1 import check_pb2

PIECE_SIZE = 5_000

VERIFIED = RegistrationState.VERIFIED
RESOLUTION = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is; `place` is the last registration that is done, None at the end."""

    checked: int
    confirmed: int
    revoked: int
    unanswered: int
    total: int
    place: bytes | None


class Reverifier:
    """Verifies a service's VERIFIED registrations, piece by piece."""

    def __init__(
        self, registrations: Registrations, vault: Vault, verifier: Verifier, surroundings: Surroundings
    ) -> None:
        self._registrations, self._vault, self._verifier = registrations, vault, verifier
        self._around = surroundings

    def run(self, service: str, *, due_before: datetime | None, place: bytes) -> Iterator[Progress]:
        """Verify all behind a place, yielding after each piece; IndexNotReady."""
        due_before_us = None if due_before is None else microseconds(due_before)
        wanted = {"state": int(VERIFIED), "due_before_us": due_before_us}
        total = self._registrations.count(service, after=place, **wanted)  # type: ignore[arg-type]
        counts = dict.fromkeys(Judgement, 0)
        for rows in self._pieces(service, place, wanted):
            for judgement, count in self._piece(service, rows).items():
                counts[judgement] += count
            yield Progress(
                sum(counts.values()),
                counts[Judgement.CONFIRMED],
                counts[Judgement.DENIED],
                counts[Judgement.NO_ANSWER],
                total,
                None if len(rows) < PIECE_SIZE else rows[-1].registration_id,
            )

    def _pieces(self, service: str, place: bytes, wanted: Mapping[str, Any]) -> Iterator[list[NumberRow]]:
        """All behind a place; the last piece is short. The next is read while one is verified and written."""

        def read(after: bytes) -> list[NumberRow]:
            return self._registrations.numbers(service, after=after, count_max=PIECE_SIZE, **wanted)

        with ThreadPoolExecutor(1, thread_name_prefix="reverifier") as reader:
            ahead = reader.submit(read, place)
            while len(rows := ahead.result()) == PIECE_SIZE:
                ahead = reader.submit(read, rows[-1].registration_id)
                yield rows
            yield rows

    def _piece(self, service: str, rows: Sequence[NumberRow]) -> dict[Judgement, int]:
        """Verify these; how many had which answer."""
        index, policy, now = self._around.index(), self._around.policy_for(service), self._around.now()
        numbers = self._vault.numbers(rows)
        known = [row for row, number in zip(rows, numbers, strict=True) if number is not None]
        by_answer: dict[tuple[int, int], list[NumberRow]] = defaultdict(list)
        for row, answer in zip(known, _check(index, [one for one in numbers if one is not None]), strict=True):
            by_answer[answer].append(row)
        judged = [(*self._judge(service, index, answer, policy, now), rows) for answer, rows in by_answer.items()]
        if judged:
            self._registrations.write(lambda work: self._write(work, judged, policy, now))
        found = dict.fromkeys(Judgement, 0)
        found[Judgement.NO_ANSWER] = len(rows) - len(known)  # what is not what was written says nothing
        for judgement, _, of_answer in judged:
            found[judgement] += len(of_answer)
        return found

    def _judge(
        self, service: str, index: Index, answer: tuple[int, int], policy: Policy, now: datetime
    ) -> tuple[Judgement, Evidence]:
        """What is said of every number with this status of this operator."""
        status, operator_id = answer
        operator = index.operators.get(operator_id)
        facts = NumberFacts(0, NumberStatus(status), operator, None, "")
        agreed = operator is not None and self._around.agreed(service, operator_id)
        if Method.OPERATOR not in policy.methods:
            agreed = False
        return judge(facts, policy, agreed=agreed, index_version=index.index_version, now=now)

    def _write(
        self,
        work: RegistrationWork,
        judged: Sequence[tuple[Judgement, Evidence, list[NumberRow]]],
        policy: Policy,
        now: datetime,
    ) -> None:
        for judgement, evidence, rows in judged:
            if judgement is Judgement.DENIED:
                self._one_by_one(work, rows, Act.DENY, evidence, now)
            elif judgement is Judgement.CONFIRMED:
                # A refresh that waited for a confirmation has it now: that is an event.
                span_us = policy.refresh_after // RESOLUTION
                waiting = [row for row in rows if row.refreshed_at_us + span_us != row.due_at_us]
                self._one_by_one(work, waiting, Act.CONFIRM, evidence, now)
                others = [row for row in rows if row.refreshed_at_us + span_us == row.due_at_us]
                work.set_evidence(evidence.to_json(), others)

    def _one_by_one(
        self, work: RegistrationWork, rows: Sequence[NumberRow], what: Act, evidence: Evidence, now: datetime
    ) -> None:
        for one in rows:
            row = work.try_get(one.registration_id)
            # Whatever happened to it since it was read is newer than this answer.
            if row is None or row.mac != one.mac:
                continue
            if what is Act.CONFIRM:
                store_changes(work, row, self._verifier.confirmed(work, row, evidence, now))
            else:
                store_changes(work, row, act_on(work, row, what, microseconds(now), evidence))


def _check(index: Index, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Status and serving operator of each number, by the kernel that answers CheckNumbers."""
    request = check_pb2.CheckNumbersRequest(numbers=numbers).SerializeToString()
    answer = index.table.check_numbers(request, numbers_per_call_max=len(numbers) or 1)
    response = check_pb2.CheckNumbersResponse.FromString(answer)
    return zip(response.statuses, response.operator_ids, strict=True)
