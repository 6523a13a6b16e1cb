"""Pushes as a campaign's workload: clients that push snapshots, deltas and confirmations, and the judge of it all.

The judge knows the API's promises and nothing of the code: it replays what the ledger holds, version by version, over
plain sets, and compares every answer and all that the node says afterwards. Sets are integers: bit n is place n of an
operator's numbers.
"""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.v1 import check_pb2, number_pb2, numbering_pb2
from tests.faults.calls import DEADLINE_S, NodeEnded, Refused, refused_by
from tests.faults.ledger import Ledger, Violation
from tests.faults.nodes import Life

SNAPSHOT, DELTA = numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA
ACTIVE, INACTIVE = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE
UNKNOWN = number_pb2.NUMBER_STATUS_UNKNOWN
Request = numbering_pb2.PushActiveNumbersRequest

PLAN = """АВС/ DEF;От;До;Емкость;Оператор;Регион;ИНН
915;9998000;9999999;2000;"ПАО Первый";Москва;7740000076
916;0000000;0001999;2000;"ПАО Первый";Москва;7740000076
916;0002000;0003999;2000;"ООО Второй";Москва;7743895280
926;5000000;5001999;2000;"ООО Второй";Москва;7743895280
936;0000000;0003999;4000;"АО Третий";Москва;7713076301
958;0000000;0099999;100000;"ООО Четвёртый";Москва;7705017253
"""
# Of each operator that pushes: its tax id, how many clients push for it, and its numbers. The first one's lie on both
# sides of a border between chunks. The fourth operator has no data: its numbers are verified by code.
OPERATORS: Sequence[tuple[str, int, Sequence[int]]] = (
    ("7740000076", 2, range(79_159_998_000, 79_160_002_000)),
    ("7743895280", 1, [*range(79_160_002_000, 79_160_004_000), *range(79_265_000_000, 79_265_002_000)]),
    ("7713076301", 1, range(79_360_000_000, 79_360_004_000)),
)
STRANGER = 79_999_999_999
DATA_TIME_S = 1_750_000_000  # the first push's; each has one of its own, which names it
VISIBLE_WITHIN_S = 60.0  # a bound for hanging tests, not a promise
FLAWS = {"strangers": ["NOT_SERVED"], "stale": ["STALE_BASE"]}
HELD_REMOVED_SHARE = 10  # R14, as 3-api.md has it: more than a tenth


def places(members: int) -> list[int]:
    """The places of a set, ascending."""
    return [place for place, bit in enumerate(reversed(format(members, "b"))) if bit == "1"]


def digest_of(numbers: Sequence[int]) -> bytes:
    """As numbering.proto defines it, without numcheck."""
    chunks: dict[int, bytearray] = {}
    for number in numbers:
        bits = chunks.setdefault(number // 10**7, bytearray(1_250_000))
        bits[number % 10**7 // 8] |= 1 << number % 8
    listed = [chunk.to_bytes(8, "big") + hashlib.sha256(bits).digest() for chunk, bits in sorted(chunks.items())]
    return hashlib.sha256(b"".join(listed)).digest()


@dataclass(frozen=True, slots=True)
class Counts:
    """What a push did, as its answer says it."""

    added: int
    already_added: int
    removed: int
    already_removed: int
    number: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What an answer says of a push that was applied."""

    version: int
    index_version: int
    counts: Counts


@dataclass(eq=False, slots=True)
class Push:
    """A push that was meant: what was sent, and what is known of its fate."""

    name: int
    snapshot: bool
    base: int
    adds: int
    removes: int
    push_id: str
    flaw: str = ""  # why it must be refused, or must come to nothing
    answer: Applied | None = None
    token: str = ""
    held_at: int = 0  # the head then, by its client's belief
    confirming: bool = False  # a confirmation was sent
    version: int = 0  # of the active set that it made, once that is known
    counts: Counts | None = None  # of that

    def change(self, members: int) -> tuple[int, Counts]:
        """The set that it makes of another, and the counts of that."""
        removes = members & ~self.adds if self.snapshot else self.removes & members
        after = (members | self.adds) & ~removes
        added = (self.adds & ~members).bit_count()
        counts = Counts(
            added=added,
            already_added=self.adds.bit_count() - added,
            removed=removes.bit_count(),
            already_removed=0 if self.snapshot else (self.removes & ~members).bit_count(),
            number=after.bit_count(),
        )
        return after, counts

    def may_follow(self, version: int, members: int) -> bool:
        """Whether it can be what made the next version of such a set."""
        if not self.snapshot and self.base != version:
            return False
        _, counts = self.change(members)
        if (HELD_REMOVED_SHARE * counts.removed > members.bit_count()) != self.confirming:
            return False
        return self.answer is None or self.answer.counts == counts

    @property
    def data_time(self) -> Timestamp:
        """Its own, which no other push has."""
        return Timestamp(seconds=DATA_TIME_S, nanos=self.name * 1_000)


@dataclass(slots=True)
class Version:
    """A version of an active set: the push that made it, and the index version that shows it if that was told."""

    version: int
    members: int
    push: Push | None
    index_version: int | None


@dataclass(slots=True)
class Operator:
    """What the ledger says of one operator. `versions` starts with the one that the last restart found."""

    tax_id: str
    numbers: Sequence[int]
    operator_id: int = 0
    versions: list[Version] = field(default_factory=lambda: [Version(0, 0, None, 0)])
    believed_head: int = 0  # by its clients, from their answers
    sent: list[Push] = field(default_factory=list)  # since that restart, that were or may have been applied

    def numbers_of(self, members: int) -> list[int]:
        """The numbers of a set."""
        return [self.numbers[place] for place in places(members)]

    def explain(self, head: int, is_head: Callable[[Version], bool]) -> list[Version]:
        """The versions up to `head` by what was sent; Violation if nothing that was sent explains them."""
        told = {push.answer.version: push for push in self.sent if push.answer is not None}
        if told and max(told) > head:
            raise Violation(f"version {max(told)} was acknowledged and is lost: the head is {head}")
        untold = [push for push in self.sent if push.answer is None]
        gap_count = head - self.versions[-1].version - len(told)
        for filling in permutations(untold, max(gap_count, 0)):
            versions = self._in_order(head, told, list(filling))
            if versions is not None and is_head(versions[-1]):
                return versions
        raise Violation(f"nothing that was sent explains version {head} of an active set")

    def _in_order(self, head: int, told: dict[int, Push], filling: list[Push]) -> list[Version] | None:
        versions = list(self.versions)
        while versions[-1].version < head:
            before, number = versions[-1], versions[-1].version + 1
            push = told.get(number) or (filling.pop(0) if filling else None)
            if push is None or not push.may_follow(before.version, before.members):
                return None
            shown = None if push.answer is None else push.answer.index_version
            versions.append(Version(number, push.change(before.members)[0], push, shown))
        return None if filling else versions

    def settle(self, versions: list[Version]) -> None:
        """Take an explanation as what happened: it stays so for good."""
        for before, one in pairwise(versions):
            assert one.push is not None
            one.push.version, one.push.counts = one.version, one.push.change(before.members)[1]
        self.versions, self.sent, self.believed_head = versions, [], versions[-1].version

    def shown_at(self, index_version: int) -> Iterator[Version]:
        """The versions that an index of that version may show: one, but for those whose index version is unknown."""
        last_told = max(
            place
            for place, one in enumerate(self.versions)
            if place == 0 or (one.index_version is not None and one.index_version <= index_version)
        )
        for place, one in enumerate(self.versions[last_told:]):
            if place and one.index_version is not None:
                return
            yield one


class Client:
    """Pushes for one operator, one push after the other, and remembers over restarts what it has left open."""

    def __init__(self, workload: "PushWorkload", operator: Operator, *, alone: bool) -> None:
        """`alone`: no other client pushes for the operator, so that each answer can be foretold."""
        self._workload, self._ledger, self._operator, self._alone = workload, workload.ledger, operator, alone
        self._open: Push | None = None  # without an answer
        self._held: Push | None = None

    def run(self, life: Life, chance: random.Random) -> None:
        """Push until the node is killed."""
        try:
            self._finish(life)
            while True:
                self._step(life, chance)
        except NodeEnded:
            pass

    def _finish(self, life: Life) -> None:
        """Repeat what the last kill has left open: what happened gets its answer, what did not is done now."""
        push, self._open = self._open, None
        if push is None:
            return
        if push.version:
            again = self._confirm(life, push) if push.confirming else self._push(life, push, 1)
            if not isinstance(again, Applied) or (again.version, again.counts) != (push.version, push.counts):
                raise Violation("a push that was applied is not answered again as what it was")
        elif push.confirming:
            self._confirm_held(life, push)
        else:
            self._push_anew(life, push, 1)

    def _step(self, life: Life, chance: random.Random) -> None:
        if self._held is not None and chance.random() < 0.7:
            held, self._held = self._held, None
            self._confirm_held(life, held)
        else:
            self._push_anew(life, self._draw(chance), chance.randrange(1, 5))

    def _draw(self, chance: random.Random) -> Push:
        count, members = len(self._operator.numbers), self._operator.versions[-1].members

        def share(times: int) -> int:
            drawn = chance.getrandbits(count)
            for _ in range(times):
                drawn &= chance.getrandbits(count)
            return drawn

        kind, flaw = chance.random(), chance.choices(("", "strangers", "stale", "cut"), (85, 5, 5, 5))[0]
        snapshot = flaw != "stale" and (kind < 0.25 or not members)
        if snapshot:
            adds, removes = (members ^ share(6)) if members and kind < 0.15 else share(0), 0
        else:
            adds = share(3)
            removes = share(2 if kind < 0.35 else 7) & ~adds
        return Push(
            name=self._workload.new_name(),
            snapshot=snapshot,
            base=self._operator.believed_head + (1_000 if flaw == "stale" else 0),
            adds=adds or 1,
            removes=removes & ~1,
            push_id=f"{chance.getrandbits(64):x}" if chance.random() < 0.9 else "",
            flaw=flaw,
        )

    def _push_anew(self, life: Life, push: Push, piece_count: int) -> None:
        """Send a push that was not applied yet, and hold its answer to what may be."""
        if push.flaw == "cut":
            self._cut(life, push, piece_count)
            return
        if not push.flaw:
            self._operator.sent.append(push)
        answer = self._push(life, push, piece_count)
        if isinstance(answer, Applied):
            self._take(push, answer)
            return
        if not push.flaw:
            self._operator.sent.remove(push)
        if isinstance(answer, Refused):
            self._check_refusal(push, answer)
        else:
            push.token, push.held_at, self._held = answer, self._operator.believed_head, push

    def _take(self, push: Push, answer: Applied) -> None:
        if push.flaw:
            raise Violation(f"a push with a flaw, {push.flaw}, was applied")
        push.answer = answer
        self._operator.believed_head = max(self._operator.believed_head, answer.version)

    def _check_refusal(self, push: Push, refused: Refused) -> None:
        # The node may not have seen yet that a push before was cut, and it holds a place.
        allowed = {"TOO_MANY_STREAMS", *FLAWS.get(push.flaw, ())}
        if not self._alone:
            allowed = allowed | {"STALE_BASE", "CONCURRENT_PUSH"}
        if refused.reason not in allowed:
            raise Violation(f"a push was refused with {refused.reason}, for no reason of its own")
        self._workload.count(refused.reason)
        if "head_version" in refused.metadata:
            self._operator.believed_head = int(refused.metadata["head_version"])

    def _push(self, life: Life, push: Push, piece_count: int) -> "Applied | Refused | str":
        """Send; what was answered: applied, refused, or the token of what is held."""
        name = {"push": push.name, "operator": self._operator.tax_id, "push_id": push.push_id, "flaw": push.flaw}
        content = {"snapshot": push.snapshot, "base": push.base, "adds": hex(push.adds), "removes": hex(push.removes)}
        requests = self._requests(push, piece_count)
        self._open = None if push.flaw or not push.push_id else push
        answer = self._ask(
            life, lambda: life.numbering.PushActiveNumbers(iter(requests), timeout=DEADLINE_S), **name, **content
        )
        self._open = None
        if isinstance(answer, Refused):
            return answer
        if answer.state == numbering_pb2.PUSH_STATE_HELD:
            self._workload.count("held")
            return str(answer.confirmation_token)
        return self._applied(answer)

    def _cut(self, life: Life, push: Push, piece_count: int) -> None:
        """Send all of a push and end the call where it should have ended the stream."""
        sent, over = threading.Event(), threading.Event()

        def requests() -> Iterator[Request]:
            yield from self._requests(push, piece_count)
            sent.set()
            over.wait(DEADLINE_S)

        intent = self._ledger.intend(push=push.name, operator=self._operator.tax_id, flaw=push.flaw)
        call = life.numbering.PushActiveNumbers.future(requests(), timeout=DEADLINE_S)
        sent.wait(1)
        call.cancel()
        over.set()
        self._ledger.answer(intent, cut=True)
        self._workload.count("cut")
        if life.ending.is_set():
            raise NodeEnded

    def _requests(self, push: Push, piece_count: int) -> list[Request]:
        mode = SNAPSHOT if push.snapshot else DELTA
        header = numbering_pb2.PushHeader(
            operator_id=self._operator.operator_id,
            mode=mode,
            base_version=push.base,
            push_id=push.push_id,
            data_time=push.data_time,
            allow_older=True,  # it names the push: clients that push at once are in no order
        )
        adds, removes = (self._operator.numbers_of(one) for one in (push.adds, push.removes))
        if push.flaw == "strangers":
            adds.append(STRANGER)
        pieces = [
            Request(add=adds[place::piece_count], remove=removes[place::piece_count]) for place in range(piece_count)
        ]
        return [Request(header=header), *pieces]

    def _confirm_held(self, life: Life, push: Push) -> None:
        push.confirming = True
        self._operator.sent.append(push)
        answer = self._confirm(life, push)
        if isinstance(answer, Applied):
            self._take(push, answer)
            self._workload.count("confirmed")
            return
        self._operator.sent.remove(push)
        push.confirming = False
        dropped = not self._alone or self._operator.believed_head != push.held_at
        if not dropped or answer.reason not in ("CONCURRENT_PUSH", "UNKNOWN_PUSH"):
            raise Violation(f"a held push is not confirmed but refused with {answer.reason}")

    def _confirm(self, life: Life, push: Push) -> "Applied | Refused":
        request = numbering_pb2.ConfirmPushRequest(
            operator_id=self._operator.operator_id, confirmation_token=push.token
        )
        self._open = push
        answer = self._ask(
            life,
            lambda: life.numbering.ConfirmPush(request, timeout=DEADLINE_S).push,
            confirm=push.name,
            operator=self._operator.tax_id,
        )
        self._open = None
        return answer if isinstance(answer, Refused) else self._applied(answer)

    def _ask(self, life: Life, call: Callable[[], Any], **intent: Any) -> Any:
        """Intent, call, answer; NodeEnded if no answer came."""
        floor = self._workload.index_version_floor
        number = self._ledger.intend(**intent)
        try:
            answer = call()
        except grpc.RpcError as error:
            refused = refused_by(error)
            if refused is not None:
                self._ledger.answer(number, refused=refused.reason)
                return self._ask(life, call, **intent) if refused.passes else refused
            if not life.ending.is_set():
                raise Violation(f"a push ended with {error.code()} and no reason, and the node lives") from None
            self._workload.count("unknown")
            raise NodeEnded from None
        self._ledger.answer(number, state=answer.state, version=answer.version, index_version=answer.index_version)
        if answer.version and not self._open_is_known():
            self._workload.see_acknowledged(answer.index_version, floor)
        return answer

    def _open_is_known(self) -> bool:
        return self._open is not None and self._open.version != 0

    def _applied(self, answer: numbering_pb2.PushActiveNumbersResponse) -> Applied:
        self._workload.count("applied")
        counts = Counts(
            answer.added_count,
            answer.already_added_count,
            answer.removed_count,
            answer.already_removed_count,
            answer.number_count,
        )
        return Applied(answer.version, answer.index_version, counts)


class PushWorkload:
    """Clients of several operators, two of them of the same one, a reader, and the judge."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.counts: dict[str, int] = {}
        self.index_version_floor = 0  # the highest index version that anybody was told
        self._turn = threading.Lock()
        self._names = 0
        self._operators = [Operator(tax_id, numbers) for tax_id, _, numbers in OPERATORS]
        self._all_numbers = [number for operator in self._operators for number in operator.numbers]
        self._samples: list[tuple[int, bytes]] = []
        self._clients = [
            Client(self, operator, alone=client_count == 1)
            for operator, (_, client_count, _) in zip(self._operators, OPERATORS, strict=True)
            for _ in range(client_count)
        ]

    def environment(self, directory: Path) -> Mapping[str, str]:
        """Nodes need no settings for it."""
        return {}

    def close(self) -> None:
        """There is nothing to end."""

    def runners(self) -> list[Callable[[Life, random.Random], None]]:
        """What runs beside each other while a node lives: each until the node is killed."""
        return [*(client.run for client in self._clients), self._read]

    def new_name(self) -> int:
        """The next push's number."""
        with self._turn:
            self._names += 1
            return self._names

    def count(self, event: str) -> None:
        """Count what happened, for the report."""
        with self._turn:
            self.counts[event] = self.counts.get(event, 0) + 1

    def see_acknowledged(self, index_version: int, floor: int) -> None:
        """A push was acknowledged with that index version; everything up to `floor` was told before it was sent."""
        if index_version <= floor:
            raise Violation(f"a push has index version {index_version}; {floor} was told before it was sent")
        self.see(index_version)

    def see(self, index_version: int) -> None:
        """Somebody was told an index version."""
        with self._turn:
            self.index_version_floor = max(self.index_version_floor, index_version)

    # --- reading

    def _read(self, life: Life, _chance: random.Random) -> None:
        """Ask for every number again and again."""
        while not life.ending.wait(0.01):
            try:
                self._sample(life)
            except grpc.RpcError as error:
                if not life.ending.is_set():
                    raise Violation(f"a check ended with {error.code()}, and the node lives") from None

    def _sample(self, life: Life) -> tuple[int, bytes]:
        answer = life.check.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=self._all_numbers), timeout=DEADLINE_S)
        sample = answer.index_version, bytes(answer.statuses)
        if self._samples and sample[0] < self._samples[-1][0]:
            raise Violation(f"the index went back from version {self._samples[-1][0]} to {sample[0]}")
        if not self._samples or sample != self._samples[-1]:
            self._samples.append(sample)
        return sample

    # --- judging

    def check(self, life: Life) -> None:
        """Compare a node that has just started with the ledger; Violation says what it does not allow."""
        told, samples = self.index_version_floor, self._samples
        self._samples = []
        rebuilt = [line for line in life.lines if "built anew" in line and "revision" not in line]
        if rebuilt:
            raise Violation(f"the crash has damaged the index: {rebuilt[0]}")
        listed = life.check.ListOperators(check_pb2.ListOperatorsRequest(), timeout=DEADLINE_S).operators
        ids = {one.tax_id: one.operator_id for one in listed}
        for operator in self._operators:
            operator.operator_id = ids[operator.tax_id]
            self._settle(life, operator)
        self._check_samples(samples)
        self._check_index(life, told)
        for operator in self._operators:
            operator.versions = operator.versions[-1:]

    def _settle(self, life: Life, operator: Operator) -> None:
        request = numbering_pb2.GetOperatorStateRequest(operator_id=operator.operator_id)
        state = life.numbering.GetOperatorState(request, timeout=DEADLINE_S)
        self.ledger.note(state=operator.tax_id, version=state.version, digest=state.digest.hex())

        def is_head(last: Version) -> bool:
            if last.version == 0:
                return not state.digest and not state.number_count
            same_time = last.push is None or last.push.data_time == state.data_time
            digest = digest_of(operator.numbers_of(last.members))
            return same_time and (state.digest, state.number_count) == (digest, last.members.bit_count())

        if state.version < operator.versions[-1].version:
            raise Violation(f"an active set went back from version {operator.versions[-1].version} to {state.version}")
        operator.settle(operator.explain(state.version, is_head))

    def _check_index(self, life: Life, told: int) -> None:
        """The index never goes back over a restart, and shows what the store holds."""
        index_version, statuses = self._sample(life)
        if index_version < told:
            raise Violation(f"the index restarted at version {index_version}; {told} was told before")
        deadline = time.monotonic() + VISIBLE_WITHIN_S
        while statuses != self._expected(operator.versions[-1] for operator in self._operators):
            if time.monotonic() > deadline:
                raise Violation("the index does not show what the store holds")
            time.sleep(0.02)
            index_version, statuses = self._sample(life)
        self.see(index_version)
        self._check_samples(self._samples)
        for operator in self._operators:
            operator.versions[-1].index_version = operator.versions[-1].index_version or index_version
        self._samples = []

    def _expected(self, versions: Iterable[Version]) -> bytes:
        return b"".join(
            statuses_of(version, len(operator.numbers))
            for operator, version in zip(self._operators, versions, strict=True)
        )

    def _check_samples(self, samples: Sequence[tuple[int, bytes]]) -> None:
        for index_version, statuses in samples:
            start = 0
            for operator in self._operators:
                end = start + len(operator.numbers)
                shown = operator.shown_at(index_version)
                if not any(statuses[start:end] == statuses_of(one, end - start) for one in shown):
                    raise Violation(f"index version {index_version} shows what the store never held")
                start = end
            self.see(index_version)


def statuses_of(version: Version, count: int) -> bytes:
    """The statuses of an operator's numbers in a version of its active set."""
    if version.version == 0:
        return bytes([UNKNOWN]) * count
    bits = format(version.members, f"0{count}b")[::-1].encode()
    return bits.translate(bytes.maketrans(b"01", bytes([INACTIVE, ACTIVE])))
