"""R17 at the public boundary: whatever is pushed in whatever order, one push amid another, it is as plain sets say it.

The model knows the API's words and nothing of the store: who serves a number, what the head is, what was answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from numcheck.active import PushContent
from numcheck.config import Settings
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex
from numcheck.serving.services import numbering_service
from numcheck.store import Store
from numcheck.store.sets import NumberSets
from numcheck.v1 import numbering_pb2, numbering_pb2_grpc
from tests.api.calls import DEADLINE_S, refusal_of
from tests.numbering.test_pushes import digest_of
from tests.store.registry import plan, row

SNAPSHOT, DELTA = numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA
ALPHA, BETA = 1, 2
FIRST = {ALPHA: 79_160_000_000, BETA: 79_170_000_000}
COUNT = 3  # numbers of each: so few that pushes, portings and sets meet
HOME = {first + place: operator_id for operator_id, first in FIRST.items() for place in range(COUNT)}
OPEN_MAX = 2
PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)

NUMBERS = st.frozensets(st.sampled_from(sorted(HOME)), max_size=4)
FEW = st.frozensets(st.sampled_from(sorted(HOME)), max_size=1)
TIMES = st.integers(1_750_000_000, 1_750_000_003)
NAMES = st.sampled_from(["", "", "", "a", "b"])


class EagerSets(NumberSets):
    """Read all that a push is judged by when it begins, so that whatever comes after is known to have come after."""

    begun: Event

    def push_content(self, operator_id: int) -> PushContent:
        lazy = super().push_content(operator_id)
        held = {number // 10**7: lazy.held(number // 10**7) for number in FIRST.values()}
        content = PushContent(dict(lazy.served), held.__getitem__, lazy.basis)
        self.begun.set()
        return content


class EagerStore(Store):
    """A store of such sets."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.sets = EagerSets(self._database, self._acts, self.sets.policy, self._changing)


@dataclass(frozen=True)
class Push:
    """A push as it is sent. The base of a delta is the head, or one less."""

    operator_id: int
    snapshot: bool
    stale: bool
    name: str
    time: int
    allow_older: bool
    skip: bool
    add: frozenset[int]
    remove: frozenset[int]


@dataclass
class Head:
    """Of an operator's set, or of the portings."""

    version: int = 0
    time: int = 0


@dataclass
class Held:
    """A push that waits: what it says, and how it was judged."""

    push: Push
    head_version: int
    skipped: frozenset[int]


@dataclass
class Open:
    """A push whose stream is open: how the model judged it when it began."""

    push: Push
    call: Any
    go_on: SimpleQueue
    head_version: int
    strangers: frozenset[int]


@dataclass
class Model:
    """What the installation has to hold."""

    ported: dict[int, int] = field(default_factory=dict)
    portings: Head = field(default_factory=Head)
    members: dict[int, frozenset[int]] = field(default_factory=lambda: {ALPHA: frozenset(), BETA: frozenset()})
    heads: dict[int, Head] = field(default_factory=lambda: {ALPHA: Head(), BETA: Head()})
    answers: dict[tuple[int, str], Any] = field(default_factory=dict)  # by push_id; 0 for the portings'
    held: dict[str, Held] = field(default_factory=dict)

    def serves(self, operator_id: int, number: int) -> bool:
        return self.ported.get(number, HOME[number]) == operator_id

    def strangers(self, push: Push) -> frozenset[int]:
        """The numbers of a push that its operator may not push now."""
        may_go = push.remove & self.members[push.operator_id]
        return frozenset(one for one in push.add | (push.remove - may_go) if not self.serves(push.operator_id, one)) | {
            one for one in push.add if not self.serves(push.operator_id, one)
        }

    def is_late(self, head: Head, time: int, *, allow_older: bool) -> bool:
        return head.version > 0 and time < head.time and not allow_older

    def can_be_confirmed(self, held: Held) -> bool:
        same_head = self.heads[held.push.operator_id].version == held.head_version
        return same_head and self.strangers(held.push) == held.skipped

    def change(self, push: Push, skipped: frozenset[int]) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
        """The set after a push; what it removes; what it recycles."""
        before = self.members[push.operator_id]
        add, remove = push.add - skipped, push.remove - skipped
        if push.snapshot:
            return add, before - add, frozenset()
        # What went away may still be removed, though it is no number to add.
        remove = push.remove & (before | remove)
        return (before - (remove - add)) | add, (remove - add) & before, remove & add

    def apply(self, push: Push, skipped: frozenset[int]) -> int:
        head = self.heads[push.operator_id]
        self.members[push.operator_id] = self.change(push, skipped)[0]
        head.version, head.time = head.version + 1, push.time
        return head.version


def stamp(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


class Ordering(RuleBasedStateMachine):
    """Two operators and the clearing house, over gRPC; streams that are open while others are begun and ended."""

    @initialize()
    def begin(self) -> None:
        self.directory = TemporaryDirectory()
        self.store = EagerStore(Path(self.directory.name))
        rows = [row(first // 10**7 % 1000, 0, COUNT - 1, f"Оператор {one}") for one, first in FIRST.items()]
        self.store.import_plan(plan(*rows), source="rows.csv", now=datetime.now(UTC))
        node, watches = Settings(listen="127.0.0.1:0", api_threads=64), Watches()
        service = numbering_service(self.store, PublishedIndex(), node, watches, changed=[])
        self.listener = PlainDoor(node, [service], watches)
        self.channel = grpc.insecure_channel(self.listener.address)
        self.numbering = numbering_pb2_grpc.NumberingServiceStub(self.channel)
        self.model, self.open = Model(), list[Open]()

    def teardown(self) -> None:
        if hasattr(self, "listener"):
            for one in self.open:
                one.go_on.put(None)
                one.call.exception()
            self.channel.close()
            self.listener.stop(0)
            self.store.close()
            self.directory.cleanup()

    # --- active numbers

    pushes = st.builds(
        Push,
        operator_id=st.sampled_from([ALPHA, BETA]),
        snapshot=st.booleans(),
        stale=st.sampled_from([False, False, False, True]),
        name=NAMES,
        time=TIMES,
        allow_older=st.booleans(),
        skip=st.sampled_from([True, True, False]),
        add=NUMBERS,
        remove=NUMBERS,
    )

    @rule(push=pushes)
    def push_at_once(self, push: Push) -> None:
        one = self._send(push)
        if one is not None:
            self._end(one)

    @precondition(lambda self: hasattr(self, "open") and len(self.open) < OPEN_MAX)
    @rule(push=pushes)
    def begin_a_push(self, push: Push) -> None:
        one = self._send(push)
        if one is not None:
            self.open.append(one)

    @precondition(lambda self: getattr(self, "open", None))
    @rule(data=st.data())
    def end_a_push(self, data: Any) -> None:
        self._end(self.open.pop(data.draw(st.integers(0, len(self.open) - 1))))

    def _send(self, push: Push) -> Open | None:
        """Send all of a push but its end. None if it has its answer already, which is checked."""
        head, known = self.model.heads[push.operator_id], self._known(push.operator_id, push.name)
        stale = push.stale and not push.snapshot
        header = numbering_pb2.PushHeader(
            operator_id=push.operator_id,
            mode=SNAPSHOT if push.snapshot else DELTA,
            base_version=head.version + 1 if stale else head.version,
            push_id=push.name,
            data_time=stamp(push.time),
            skip_not_served=push.skip,
            allow_older=push.allow_older,
        )
        remove = () if push.snapshot else push.remove
        request = numbering_pb2.PushActiveNumbersRequest(header=header, add=push.add, remove=remove)
        go_on: SimpleQueue[None] = SimpleQueue()

        def requests() -> Iterator[numbering_pb2.PushActiveNumbersRequest]:
            yield request
            go_on.get()

        self.store.sets.begun = Event()
        call = self.numbering.PushActiveNumbers.future(requests(), timeout=DEADLINE_S)
        call.add_done_callback(lambda _call, begun=self.store.sets.begun: begun.set())
        assert self.store.sets.begun.wait(DEADLINE_S)
        if push.snapshot:
            push = Push(**{**vars(push), "remove": frozenset()})
        if known is None and not stale and not self.model.is_late(head, push.time, allow_older=push.allow_older):
            return Open(push, call, go_on, head.version, self.model.strangers(push))
        go_on.put(None)
        if known is not None:
            self._check_given_again(call.result(), known, head.version)
        else:
            expected = ("ABORTED", "STALE_BASE") if stale else ("FAILED_PRECONDITION", "OLDER_DATA")
            self._check_refused(call, *expected)
            assert refusal_of(call.exception()).metadata["head_version"] == str(head.version)
        return None

    def _known(self, operator_id: int, name: str) -> Any:
        """The answer that was given to a push of that name: a held one's only as long as it can be confirmed."""
        answer = self.model.answers.get((operator_id, name)) if name else None
        held = self.model.held.get(answer.confirmation_token) if answer is not None and operator_id else None
        return None if held is not None and not self.model.can_be_confirmed(held) else answer

    def _end(self, one: Open) -> None:
        one.go_on.put(None)
        push, model = one.push, self.model
        head, known = model.heads[push.operator_id], self._known(push.operator_id, push.name)
        if one.strangers and not push.skip:
            return self._check_refused(one.call, "INVALID_ARGUMENT", "NOT_SERVED")
        if (push.snapshot or not one.head_version) and not push.add - one.strangers:
            return self._check_refused(one.call, "INVALID_ARGUMENT", "BAD_PUSH")
        if known is not None:
            return self._check_given_again(one.call.result(), known, head.version)
        if head.version != one.head_version or model.strangers(push) != one.strangers:
            return self._check_refused(one.call, "ABORTED", "CONCURRENT_PUSH")
        answer = one.call.result()
        after, removed, recycled = model.change(push, one.strangers)
        counts = answer.number_count, answer.removed_count, answer.recycled_count
        assert counts == (len(after), len(removed), len(recycled))
        assert not answer.HasField("first_push_time")
        if 10 * (len(removed) + len(recycled)) > len(model.members[push.operator_id]):
            assert (answer.state, answer.version) == (numbering_pb2.PUSH_STATE_HELD, 0)
            model.held[answer.confirmation_token] = Held(push, head.version, one.strangers)
        else:
            assert answer.version == model.apply(push, one.strangers)
        assert answer.head_version == head.version
        if push.name:
            model.answers[push.operator_id, push.name] = answer
        return None

    @precondition(lambda self: hasattr(self, "model") and self.model.held)
    @rule(data=st.data())
    def confirm(self, data: Any) -> None:
        """Any push that was ever held."""
        token = data.draw(st.sampled_from(list(self.model.held)))  # in the order of their making: tokens are random
        held = self.model.held[token]
        request = numbering_pb2.ConfirmPushRequest(operator_id=held.push.operator_id, confirmation_token=token)
        call = self.numbering.ConfirmPush.future(request, timeout=DEADLINE_S)
        if not self.model.can_be_confirmed(held):
            # One that was made anew under its name is forgotten.
            assert refusal_of(call.exception()).reason in ("CONCURRENT_PUSH", "UNKNOWN_PUSH")
            return
        answer = call.result().push
        assert answer.version == self.model.apply(held.push, held.skipped)
        del self.model.held[token]
        if held.push.name:
            self.model.answers[held.push.operator_id, held.push.name] = answer

    # --- portings

    @rule(to_alpha=FEW, to_beta=FEW, name=NAMES, time=TIMES, whole=st.booleans(), allow_older=st.booleans())
    def port(self, to_alpha, to_beta, name: str, time: int, *, whole: bool, allow_older: bool) -> None:
        """To the holder of its range is a return."""
        head, known, to_beta = self.model.portings, self._known(0, name), to_beta - to_alpha
        header = numbering_pb2.PortingsHeader(
            mode=SNAPSHOT if whole else DELTA,
            base_version=head.version,
            push_id=name,
            data_time=stamp(time),
            force=True,
            allow_older=allow_older,
        )
        ported = [
            numbering_pb2.PortedNumbers(operator_id=one, numbers=numbers)
            for one, numbers in ((ALPHA, to_alpha), (BETA, to_beta))
        ]
        request = numbering_pb2.PushPortingsRequest(header=header, ported=ported)
        call = self.numbering.PushPortings.future(iter([request]), timeout=DEADLINE_S)
        if known is not None:
            return self._check_given_again(call.result(), known, head.version)
        if self.model.is_late(head, time, allow_older=allow_older):
            return self._check_refused(call, "FAILED_PRECONDITION", "OLDER_DATA")
        if whole and not (to_alpha or to_beta):
            return self._check_refused(call, "INVALID_ARGUMENT", "BAD_PUSH")
        wanted = dict.fromkeys(to_alpha, ALPHA) | dict.fromkeys(to_beta, BETA)
        after = wanted if whole else self.model.ported | wanted
        self.model.ported = {number: to for number, to in after.items() if HOME[number] != to}
        head.version, head.time = head.version + 1, time
        answer = call.result()
        assert (answer.version, answer.head_version) == (head.version, head.version)
        assert answer.number_count == len(self.model.ported)
        if name:
            self.model.answers[0, name] = answer
        return None

    # --- what is told

    @staticmethod
    def _check_refused(call: Any, code: str, reason: str) -> None:
        found = refusal_of(call.exception())
        assert (found.code.name, found.reason) == (code, reason)

    @staticmethod
    def _check_given_again(answer: Any, first: Any, head_version: int) -> None:
        assert answer.HasField("first_push_time")
        assert answer.head_version == head_version
        answer.ClearField("first_push_time")
        answer.head_version = first.head_version
        assert answer == first

    @invariant()
    def heads_and_sets_are_as_the_model_has_them(self) -> None:
        if not hasattr(self, "numbering"):
            return
        heads = {0: self.model.portings, **self.model.heads}
        for operator_id, head in heads.items():
            request = numbering_pb2.GetOperatorStateRequest(operator_id=operator_id)
            state = self.numbering.GetOperatorState(request, timeout=DEADLINE_S)
            assert (state.version, state.data_time.seconds) == (head.version, head.time)
            if operator_id and head.version:
                assert state.digest == digest_of(sorted(self.model.members[operator_id]))

    @invariant()
    def held_pushes_are_those_whose_head_is_the_head(self) -> None:
        if not hasattr(self, "numbering"):
            return
        listed = self.numbering.ListHeldPushes(numbering_pb2.ListHeldPushesRequest(), timeout=DEADLINE_S).held_pushes
        found = {one.push.confirmation_token for one in listed}
        can = {token for token, held in self.model.held.items() if self.model.can_be_confirmed(held)}
        assert can <= found <= self.model.held.keys()
        for one in listed:
            assert self.model.heads[one.operator_id].version == one.push.head_version


TestOrdering = Ordering.TestCase
TestOrdering.settings = settings(max_examples=15, stateful_step_count=30, deadline=None, phases=PHASES)
