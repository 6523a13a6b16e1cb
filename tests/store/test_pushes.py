"""Pushes and portings against sets of Python: whatever comes in whatever order, the store holds what was said last."""

from array import array
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from numcheck.active import PortingsHeader, PushHeader
from numcheck.config import load_settings
from numcheck.errors import (
    BadPush,
    ConcurrentPush,
    NotPortable,
    NotServed,
    OlderData,
    RemovesTooMuch,
    UnknownOperator,
    UnknownPush,
)
from numcheck.moments import microseconds
from numcheck.registrations.events import Chain
from numcheck.registrations.sealing import Key, Keyring
from numcheck.serving.keys import use_keys
from numcheck.serving.stores import stopped_store
from numcheck.store import Pushed, Store, pushes
from numcheck.store.pushes import HELD_MAX
from tests.active.sets import active_set_of
from tests.store.engines import open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
FIRST = 79160000000
ALPHA, BETA = 1, 2
ROWS = (
    row(916, 0, 199_999, "Альфа", "7740000076"),
    row(917, 0, 99_999, "Бета", "7701725181"),
    row(495, 0, 9_999, "Бета", "7701725181"),
)
PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)  # explaining runs everything again, slowly
RANGES = {ALPHA: range(FIRST, FIRST + 200_000), BETA: range(FIRST + 10_000_000, FIRST + 10_100_000)}
FIXED = 74950000000
KEYRING = Keyring([Key(1, bytes(32))])
CHAIN = Chain(KEYRING)
PLACES = st.one_of(st.integers(0, 99_999), st.sampled_from([0, 65_535, 65_536, 99_999]), st.integers(0, 40))


def numbers_of(operator_id):
    return st.sets(PLACES.map(lambda place: RANGES[operator_id][place]), max_size=30)


def sent(numbers) -> array:
    return array("Q", sorted(numbers, reverse=True))


def delta(operator_id: int, base_version: int, push_id: str | None = None, at=NOW, **options) -> PushHeader:
    return PushHeader(operator_id, False, base_version, push_id, at, **options)


def snapshot(operator_id: int, push_id: str | None = None, at=NOW, **options) -> PushHeader:
    return PushHeader(operator_id, True, 0, push_id, at, **options)


def again(first: Pushed, *, head_version: int | None = None, at=NOW) -> Pushed:
    """The answer when it is given again: it says when the push came in, and what the head is by now."""
    head_version = first.head_version if head_version is None else head_version
    return replace(first, received_at_us=microseconds(at), head_version=head_version)


def push(store: Store, header: PushHeader, add=(), remove=(), *, base: int | None = None, token: str = "t") -> Pushed:
    content = store.sets.push_content(header.operator_id)
    content.add(sent(add))
    content.remove(sent(remove))
    base = store.sets.head(header.operator_id).version if base is None else base
    return store.sets.push(header, content, base_version=base, token=token, now=NOW)


def port(store: Store, ported, returned=(), *, whole: bool = False, base: int | None = None, **options) -> Pushed:
    content = store.sets.portings_content()
    for operator_id, numbers in ported.items():
        content.port(operator_id, sent(numbers))
    content.give_back(sent(returned))
    base = store.sets.portings_head().version if base is None else base
    options = {"push_id": None, "force": True, "data_time": options.pop("at", NOW), **options}
    header = PortingsHeader(snapshot=whole, base_version=base, **options)
    return store.sets.push_portings(header, content, base_version=base, now=NOW)


def ported_to(store: Store) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for chunk in (FIRST // 10_000_000, FIRST // 10_000_000 + 1):
        for operator_id, places in store.sets.members(chunk).ported.items():
            found.setdefault(operator_id, set()).update(chunk * 10_000_000 + place for place in places)
    return {operator_id: numbers for operator_id, numbers in found.items() if numbers}


class Pushing(RuleBasedStateMachine):
    """Two operators and the clearing house push to one store; Python's sets say what must be in it."""

    @initialize()
    def begin(self) -> None:
        self.directory = TemporaryDirectory()
        self.store = Store(Path(self.directory.name), url=self.new_url())
        use_keys(self.store, self.store.registrations(CHAIN), KEYRING)
        self.store.import_plan(plan(*ROWS), source="rows.csv", now=NOW)
        self.active: dict[int, set[int]] = {ALPHA: set(), BETA: set()}
        self.versions = {ALPHA: 0, BETA: 0}
        self.ported: dict[int, int] = {}
        self.held: dict[int, tuple[str, set[int], set[int], set[int]]] = {}
        self.tokens = count()

    @staticmethod
    def new_url() -> str | None:
        """Where a run's store is: in its directory, if nowhere else."""
        return None

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()

    def serves(self, operator_id: int, number: int) -> bool:
        return self.ported.get(number, operator_id if number in RANGES[operator_id] else None) == operator_id

    @rule(data=st.data(), operator_id=st.sampled_from([ALPHA, BETA]), other=st.booleans(), whole=st.booleans())
    def push(self, data, operator_id, other, whole):
        """Numbers of the operator's own ranges, or of the other's; some of them may be ported."""
        pool = numbers_of(3 - operator_id if other else operator_id)
        add, remove = data.draw(pool), set() if whole else data.draw(pool)
        remove -= add
        before = self.active[operator_id]
        header = snapshot(operator_id) if whole else delta(operator_id, self.versions[operator_id])
        strangers = self.strangers(operator_id, add, remove)
        token = f"token {next(self.tokens)}"
        supplies_nothing = not add and (whole or not self.versions[operator_id])
        if strangers or supplies_nothing:
            with pytest.raises(NotServed if strangers else BadPush):
                push(self.store, header, add, remove, token=token)
            return
        pushed = push(self.store, header, add, remove, token=token)
        after = set(add) if whole else (before - remove) | add
        counts = (len(after - before), len(add & before), len(before - after), len(after))
        found = pushed.counts
        assert (found.added, found.already_added, found.removed, found.number_count) == counts
        assert pushed.held == (10 * len(before - after) > len(before))
        if pushed.held:
            self.held[operator_id] = token, after, add, remove
        else:
            self.apply(operator_id, after, pushed)

    def strangers(self, operator_id: int, add: set[int], remove: set[int]) -> set[int]:
        """Numbers of a push that are not the operator's; one that has gone from it may still be removed."""
        removable = self.active[operator_id]
        return {one for one in add | (remove - removable) if not self.serves(operator_id, one)}

    def apply(self, operator_id: int, after: set[int], pushed: Pushed) -> None:
        self.active[operator_id] = after
        self.versions[operator_id] += 1
        self.held.pop(operator_id, None)
        assert (pushed.version, pushed.revision) == (self.versions[operator_id], self.store.revision)

    @rule(operator_id=st.sampled_from([ALPHA, BETA]))
    def confirm(self, operator_id):
        """The last held push; not one that was dropped, nor one whose numbers were ported away meanwhile."""
        if operator_id in self.held:
            token, after, add, remove = self.held[operator_id]
            if self.strangers(operator_id, add, remove):
                with pytest.raises(ConcurrentPush):
                    self.store.sets.confirm_push(operator_id, token, now=NOW)
                return
            self.apply(operator_id, after, self.store.sets.confirm_push(operator_id, token, now=NOW))
        else:
            with pytest.raises(UnknownPush):
                self.store.sets.confirm_push(operator_id, "never given", now=NOW)

    @rule(operator_id=st.sampled_from([ALPHA, BETA]))
    def reject(self, operator_id):
        """The last held push, which then is held no more, and no other."""
        token = self.held.pop(operator_id, ("never given",))[0]
        before = self.store.sets.held_pushes(operator_id, now=NOW)
        if token == "never given":
            with pytest.raises(UnknownPush):
                self.store.sets.reject_push(operator_id, token, now=NOW)
        else:
            self.store.sets.reject_push(operator_id, token, now=NOW)
        left = [one for one in before if one.pushed.token != token]
        assert self.store.sets.held_pushes(operator_id, now=NOW) == left

    @rule(data=st.data(), whole=st.booleans())
    def port(self, data, whole):
        """Any mobile number to either operator; to its own range's holder is a return."""
        to_alpha, to_beta = data.draw(st.one_of(numbers_of(ALPHA), numbers_of(BETA))), data.draw(numbers_of(ALPHA))
        to_beta -= to_alpha
        returned = set() if whole else data.draw(numbers_of(BETA)) - to_alpha - to_beta
        wanted = {one: ALPHA for one in to_alpha if one not in RANGES[ALPHA]}
        wanted |= {one: BETA for one in to_beta if one not in RANGES[BETA]}
        after = dict(wanted) if whole else self.ported | wanted
        for number in () if whole else (*returned, *(to_alpha & {*RANGES[ALPHA]}), *(to_beta & {*RANGES[BETA]})):
            after.pop(number, None)
        if whole and not wanted:
            return
        pushed = port(self.store, {ALPHA: to_alpha, BETA: to_beta}, returned, whole=whole)
        added = sum(self.ported.get(number) != operator_id for number, operator_id in wanted.items())
        removed = len(self.ported.keys() - after.keys())
        assert (pushed.counts.added, pushed.counts.removed, pushed.counts.number_count) == (added, removed, len(after))
        self.ported = after

    @invariant()
    def holds_what_was_said(self):
        if not hasattr(self, "store"):
            return
        self.store.checks().sets()
        self.store.checks().blocks()
        self.store.checks().data(CHAIN)
        for operator_id, numbers in self.active.items():
            assert set(self.store.sets.active_set(operator_id)) == numbers
            assert self.store.sets.head(operator_id).number_count == len(numbers)
        expected: dict[int, set[int]] = {}
        for number, operator_id in self.ported.items():
            expected.setdefault(operator_id, set()).add(number)
        assert ported_to(self.store) == expected
        assert self.store.sets.portings_head().number_count == len(self.ported)


def test_store_holds_what_was_pushed_last(engine, request):
    machine, examples = Pushing, 15
    if engine == "postgresql":
        server = request.getfixturevalue("server")
        machine, examples = type("PushingToServer", (Pushing,), {"new_url": lambda _self: server.new_database()}), 10
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=12, deadline=None, phases=PHASES)
    )


@pytest.fixture
def store(data_dir):
    with open_store(data_dir) as store:
        store.import_plan(plan(*ROWS), source="rows.csv", now=NOW)
        yield store


def test_same_push_id_gets_the_first_answer_again(store):
    first = port(store, {BETA: [FIRST]}, push_id="a")
    assert port(store, {BETA: [FIRST + 1]}, push_id="a", base=0) == again(first)
    port(store, {BETA: [FIRST + 2]})
    assert port(store, {BETA: [FIRST + 1]}, push_id="a") == again(first, head_version=2)
    assert ported_to(store) == {BETA: {FIRST, FIRST + 2}}


def test_portings_are_refused_when_the_head_has_moved(store):
    port(store, {BETA: [FIRST]})
    with pytest.raises(ConcurrentPush):
        port(store, {BETA: [FIRST + 1]}, base=0)
    assert ported_to(store) == {BETA: {FIRST}}


@pytest.mark.parametrize("number", [FIXED, FIRST + 200_000, 5, 2**64 - 1])
def test_number_of_no_mobile_range_cannot_be_ported(store, number):
    with pytest.raises(NotPortable) as refused:
        port(store, {ALPHA: [FIRST + 10_000_000, number]})
    assert refused.value.examples == [number]
    assert store.sets.portings_head().version == 0
    pushed = port(store, {ALPHA: [FIRST + 10_000_000, number]}, skip_not_portable=True)
    assert (pushed.counts.added, pushed.counts.refused) == (1, 1)


def test_push_that_ends_more_than_a_tenth_of_the_portings_is_refused_unless_forced(store):
    numbers = range(FIRST, FIRST + 20)
    port(store, {BETA: numbers})
    port(store, {}, numbers[:2], force=False)
    with pytest.raises(RemovesTooMuch) as refused:
        port(store, {}, numbers[2:5], force=False)
    assert (refused.value.removed, refused.value.number_count) == (3, 18)
    assert store.sets.portings_head().number_count == 18
    assert port(store, {}, numbers[2:5], force=True).counts.removed == 3


@pytest.mark.parametrize(
    ("ported", "returned", "whole"),
    [
        ({ALPHA: [FIRST + 10_000_000], BETA: [FIRST + 10_000_000]}, [], False),
        ({BETA: [FIRST]}, [FIRST], False),
        ({BETA: [FIRST]}, [FIRST + 1], True),
        ({}, [], True),
        ({BETA: []}, [], True),
    ],
)
def test_portings_that_contradict_themselves_are_refused(store, ported, returned, whole):
    with pytest.raises(BadPush):
        port(store, ported, returned, whole=whole)
    assert store.revision == 1


def test_portings_to_nobody_are_refused(store):
    with pytest.raises(UnknownOperator):
        port(store, {7: [FIRST]})
    assert store.revision == 1


def test_operator_that_lost_a_number_may_still_remove_it(store):
    """It is in its set from before; what the set never held is refused as ever."""
    push(store, snapshot(ALPHA), range(FIRST, FIRST + 40))
    port(store, {BETA: [FIRST]})
    with pytest.raises(NotServed):
        push(store, delta(ALPHA, 1), [FIRST])
    assert push(store, delta(ALPHA, 1), remove=[FIRST]).counts.removed == 1
    with pytest.raises(NotServed):
        push(store, delta(ALPHA, 2), remove=[FIRST])


def test_blocks_that_changed_are_told_by_revision(store):
    """And only those; a plan that is imported says that everything may have."""
    push(store, snapshot(ALPHA), [FIRST, FIRST + 65_536])
    seen = store.revision
    assert store.changed_since(seen) == {}
    push(store, delta(ALPHA, 1), [FIRST + 131_072])
    assert store.changed_since(seen) == {7916: {2}}
    port(store, {BETA: [FIRST + 65_540]})
    assert store.changed_since(seen) == {7916: {1, 2}}
    push(store, delta(ALPHA, 2), remove=[])
    assert store.changed_since(seen + 2) == {}
    store.import_plan(plan(*ROWS, row(918, 0, 9, "Альфа", "7740000076")), source="rows.csv", now=NOW)
    assert store.changed_since(seen) is None


# --- what was committed since a push began


OTHERS_ROWS = (row(916, 0, 99_999, "Альфа", "7740000076"), row(916, 100_000, 199_999, "Бета", "7701725181"), *ROWS[1:])


def committing_meanwhile(store: Store, header: PushHeader, add, meanwhile, remove=()) -> Pushed:
    """A push whose stream began before something else was committed."""
    content, base = store.sets.push_content(header.operator_id), store.sets.head(header.operator_id).version
    content.add(sent(add))
    content.remove(sent(remove))
    meanwhile()
    return store.sets.push(header, content, base_version=base, token="t", now=NOW)


def give_to_beta(store: Store, what: str, number: int) -> None:
    """Let a number of the last half of Alpha's range go to Beta, by a porting or by a plan."""
    if what == "portings":
        port(store, {BETA: [number]})
    else:
        store.import_plan(plan(*OTHERS_ROWS), source="rows.csv", now=NOW, force=True)


@pytest.mark.parametrize("what", ["portings", "plan"])
@pytest.mark.parametrize("held", [True, False], ids=["in the set", "new"])
def test_numbers_that_went_to_another_while_they_were_pushed_do_not_come_in(store, what, held):
    """Whether or not the set holds them: the same push, a moment later, would be refused."""
    gone = FIRST + 150_000
    push(store, snapshot(ALPHA), [FIRST, gone] if held else [FIRST])
    with pytest.raises(ConcurrentPush):
        committing_meanwhile(store, snapshot(ALPHA), [FIRST, gone], lambda: give_to_beta(store, what, gone))
    with pytest.raises(NotServed):
        push(store, snapshot(ALPHA), [FIRST, gone])
    assert store.sets.head(ALPHA).version == 1


@pytest.mark.parametrize("what", ["portings", "plan"])
def test_removals_are_judged_by_what_holds_when_they_are_committed(store, what):
    """What went to another may be removed if the set holds it, and not otherwise."""
    gone, also_gone = FIRST + 150_000, FIRST + 150_001
    push(store, snapshot(ALPHA), [*range(FIRST, FIRST + 40), gone])

    def meanwhile() -> None:
        give_to_beta(store, what, gone)
        if what == "portings":
            port(store, {BETA: [also_gone]})

    assert committing_meanwhile(store, delta(ALPHA, 1), [], meanwhile, [gone]).counts.removed == 1
    if what == "portings":
        port(store, {}, [gone, also_gone])
    else:
        store.import_plan(plan(*ROWS), source="rows.csv", now=NOW, force=True)
    with pytest.raises(ConcurrentPush):
        committing_meanwhile(store, delta(ALPHA, 2), [], meanwhile, [also_gone])


@pytest.mark.parametrize("what", ["portings", "plan"])
def test_number_that_came_while_it_was_pushed_is_not_skipped_as_anothers(store, what):
    """The push is to be made again: it would take the number now."""
    coming = FIRST + 10_000_000

    def meanwhile() -> None:
        if what == "portings":
            port(store, {ALPHA: [coming]})
        else:
            rows = (ROWS[0], row(917, 0, 99_999, "Альфа", "7740000076"), ROWS[2])
            store.import_plan(plan(*rows), source="rows.csv", now=NOW, force=True)

    header = snapshot(ALPHA, skip_not_served=True)
    with pytest.raises(ConcurrentPush):
        committing_meanwhile(store, header, [FIRST, coming], meanwhile)
    assert push(store, header, [FIRST, coming]).counts.refused == 0
    assert set(store.sets.active_set(ALPHA)) == {FIRST, coming}


@pytest.mark.parametrize(("skipped", "taken"), [(100, True), (101, False)])
def test_skipped_numbers_are_judged_again_as_far_as_they_are_named(store, skipped, taken):
    """Of the first hundred it is known that they are another's still."""
    strangers = range(FIRST + 10_000_000, FIRST + 10_000_000 + skipped)
    arguments = snapshot(ALPHA, skip_not_served=True), [FIRST, *strangers], lambda: port(store, {BETA: [FIRST + 1]})
    if taken:
        assert committing_meanwhile(store, *arguments).counts.refused == skipped
    else:
        with pytest.raises(ConcurrentPush):
            committing_meanwhile(store, *arguments)


def test_push_goes_on_when_what_was_committed_meanwhile_is_not_about_its_numbers(store):
    pushed = committing_meanwhile(store, snapshot(ALPHA), [FIRST], lambda: port(store, {BETA: [FIRST + 1]}))
    assert pushed.version == 1


HELD = {
    "a snapshot adds it": (snapshot(ALPHA, "held"), [FIRST, FIRST + 150_000], []),
    "a snapshot keeps it": (snapshot(ALPHA, "held"), [FIRST, FIRST + 199_999], []),
    "a delta adds it": (delta(ALPHA, 1, "held"), [FIRST + 150_000], range(FIRST, FIRST + 9)),
    "a delta has it added already": (delta(ALPHA, 1, "held"), [FIRST + 199_999], range(FIRST, FIRST + 9)),
    "a delta removes it, and has it removed already": (
        delta(ALPHA, 1, "held"),
        [],
        [*range(FIRST, FIRST + 9), FIRST + 150_000],
    ),
}


@pytest.mark.parametrize("what", ["portings", "plan"])
@pytest.mark.parametrize(("header", "add", "remove"), HELD.values(), ids=HELD.keys())
def test_held_push_is_judged_by_what_holds_when_it_is_confirmed(store, what, header, add, remove):
    """A number of it went to another, whether or not the set held it: refused, as the same push is if it comes anew.
    The number comes back: it is judged as it was, and confirmed."""
    push(store, snapshot(ALPHA), [*range(FIRST, FIRST + 10), FIRST + 199_999])
    gone = next(one for one in (*add, *remove) if one >= FIRST + 150_000)
    assert push(store, header, add, remove, token="held").held
    assert len(store.sets.held_pushes(ALPHA, now=NOW)) == 1
    give_to_beta(store, what, gone)
    before = store.revision, set(store.sets.active_set(ALPHA))
    with pytest.raises(ConcurrentPush):
        store.sets.confirm_push(ALPHA, "held", now=NOW)
    assert (store.revision, set(store.sets.active_set(ALPHA))) == before
    assert store.sets.try_pushed(ALPHA, "held", now=NOW) is None  # so that the same push is judged, and not answered
    with pytest.raises(NotServed):
        push(store, header, add, remove)
    if what == "portings":
        port(store, {}, [gone])
    else:
        store.import_plan(plan(*ROWS), source="rows.csv", now=NOW, force=True)
    confirmed = store.sets.confirm_push(ALPHA, "held", now=NOW)
    after = set(add) if header.snapshot else (before[1] - set(remove)) | set(add)
    assert (confirmed.version, set(store.sets.active_set(ALPHA))) == (2, after)
    assert confirmed.counts.number_count == len(after)
    assert store.sets.confirm_push(ALPHA, "held", now=NOW) == again(confirmed)


def test_held_push_that_skipped_what_is_its_operators_now_is_to_be_made_again(store):
    push(store, snapshot(ALPHA), range(FIRST, FIRST + 10))
    header, coming = snapshot(ALPHA, "held", skip_not_served=True), FIRST + 10_000_000
    assert push(store, header, [FIRST, coming], token="held").held
    port(store, {BETA: [FIRST + 1]})
    assert store.sets.try_pushed(ALPHA, "held", now=NOW).held
    port(store, {ALPHA: [coming]})
    with pytest.raises(ConcurrentPush):
        store.sets.confirm_push(ALPHA, "held", now=NOW)
    anew = push(store, header, [FIRST, coming], token="anew")
    assert (anew.held, anew.received_at_us, anew.counts.refused) == (True, None, 0)
    with pytest.raises(UnknownPush):
        store.sets.confirm_push(ALPHA, "held", now=NOW)
    store.sets.confirm_push(ALPHA, "anew", now=NOW)
    assert set(store.sets.active_set(ALPHA)) == {FIRST, coming}


def test_held_push_whose_head_has_moved_cannot_be_confirmed_and_its_push_id_is_free(store):
    push(store, snapshot(ALPHA), range(FIRST, FIRST + 10))
    assert push(store, snapshot(ALPHA, "a"), [FIRST], token="held").held
    push(store, delta(ALPHA, 1), [FIRST + 10])
    with pytest.raises(ConcurrentPush):
        store.sets.confirm_push(ALPHA, "held", now=NOW)
    assert store.sets.held_pushes(now=NOW) == []
    assert push(store, snapshot(ALPHA, "a"), [FIRST + 1], token="anew").received_at_us is None
    assert [one.pushed.token for one in store.sets.held_pushes(now=NOW)] == ["anew"]


# --- the order of what is pushed (R17)

BEFORE, AFTER = NOW - timedelta(microseconds=1), NOW


def send(store: Store, kind: str, at: datetime, *, first: bool, allow_older: bool = False) -> Pushed:
    """A push of one of the kinds, of data of a moment."""
    number = FIRST + (0 if first else 1)
    if kind.startswith("portings"):
        options = {"at": at, "allow_older": allow_older}
        return port(store, {BETA: [number]}, whole=kind == "portings, whole", **options)
    base = store.sets.head(ALPHA).version
    make = snapshot(ALPHA, at=at, allow_older=allow_older)
    if kind == "delta":
        make = delta(ALPHA, base, at=at, allow_older=allow_older)
    return push(store, make, [FIRST + 10, number], token="t")


PAIRS = [
    *((one, other) for one in ("snapshot", "delta") for other in ("snapshot", "delta")),
    *((one, other) for one in ("portings, whole", "portings") for other in ("portings, whole", "portings")),
]


@pytest.mark.parametrize(("newer", "older"), PAIRS)
def test_what_is_older_undoes_nothing_unless_it_is_meant(store, newer, older):
    """Of each pair of pushes in the wrong order: refused with the head; of the same moment, or meant, it is applied."""
    head = store.sets.portings_head if newer.startswith("portings") else lambda: store.sets.head(ALPHA)
    send(store, newer, AFTER, first=True)
    before = head()
    with pytest.raises(OlderData) as refused:
        send(store, older, BEFORE, first=False)
    assert refused.value.metadata == {"head_version": "1", "head_data_time": AFTER.isoformat()}
    assert head() == before
    done = send(store, older, AFTER, first=True)
    assert (done.version or store.sets.confirm_push(ALPHA, "t", now=NOW).version) == 2
    done = send(store, older, BEFORE, first=False, allow_older=True)
    assert (done.version or store.sets.confirm_push(ALPHA, "t", now=NOW).version) == 3
    assert head().data_time_us == microseconds(BEFORE)  # so that freshness is not made up


def test_pushes_of_others_and_portings_have_an_order_of_their_own(store):
    push(store, snapshot(ALPHA, at=AFTER), [FIRST])
    assert push(store, snapshot(BETA, at=BEFORE), [FIRST + 10_000_000]).version == 1
    assert port(store, {BETA: [FIRST]}, at=BEFORE).version == 1


def test_demo_data_is_older_than_whatever_is_pushed_over_it(store):
    """It is made up; from the first push on there is an order, though numbers that were made up are left."""
    store.sets.replace_active_set(ALPHA, active_set_of([FIRST]), data_time=NOW, now=NOW, synthetic=True)
    long_ago = NOW - timedelta(days=30)
    assert push(store, delta(ALPHA, 1, at=long_ago), [FIRST + 1]).version == 2
    with pytest.raises(OlderData):
        push(store, delta(ALPHA, 2, at=long_ago - timedelta(days=1)), [FIRST + 2])


def test_answer_is_given_again_whatever_is_newer_by_now(store):
    """A push that is repeated after a cut does not come too late: it was applied."""
    first = push(store, snapshot(ALPHA, "a", at=BEFORE), [FIRST])
    push(store, snapshot(ALPHA, "b", at=AFTER), [FIRST])
    assert push(store, snapshot(ALPHA, "a", at=BEFORE), [FIRST]) == again(first, head_version=2)


def test_portings_judged_by_another_plan_are_refused(store):
    content = store.sets.portings_content()
    content.port(BETA, sent([FIRST]))
    store.import_plan(plan(*OTHERS_ROWS), source="rows.csv", now=NOW, force=True)
    header = PortingsHeader(snapshot=False, base_version=0, push_id=None, data_time=NOW)
    with pytest.raises(ConcurrentPush):
        store.sets.push_portings(header, content, base_version=0, now=NOW)
    assert store.sets.portings_head().version == 0


# --- what is kept of pushes, and for how long


def held_push(store: Store, token: str, now: datetime = NOW, push_id: str | None = None) -> Pushed:
    """A snapshot of one of ten numbers."""
    content = store.sets.push_content(ALPHA)
    content.add(sent([FIRST]))
    return store.sets.push(snapshot(ALPHA, push_id), content, base_version=1, token=token, now=now)


def test_held_push_is_over_after_a_week(store):
    push(store, snapshot(ALPHA), range(FIRST, FIRST + 10))
    held_push(store, "old", push_id="a")
    late = NOW + timedelta(days=7)
    assert store.sets.try_pushed(ALPHA, "a", now=late - timedelta(seconds=1)).token == "old"
    assert store.sets.try_pushed(ALPHA, "a", now=late) is None
    with pytest.raises(UnknownPush):
        store.sets.confirm_push(ALPHA, "old", now=late)
    assert held_push(store, "new", late, push_id="a").token == "new"
    assert store.sets.confirm_push(ALPHA, "new", now=late).version == 2


@pytest.mark.parametrize(("percent", "held"), [(49, True), (50, False)])
def test_push_is_held_beyond_the_share_of_the_settings(tmp_path, percent, held):
    wanted = load_settings(data_dir=tmp_path / "var", push_removed_percent_max=percent)
    with stopped_store(wanted, make=True) as opened:
        opened.import_plan(plan(*ROWS), source="rows.csv", now=NOW)
        push(opened, snapshot(ALPHA), [FIRST, FIRST + 1])
        assert push(opened, snapshot(ALPHA), [FIRST]).held == held


def test_oldest_held_push_makes_room_for_one_too_many(store):
    push(store, snapshot(ALPHA), range(FIRST, FIRST + 10))
    for number in range(HELD_MAX + 1):
        held_push(store, f"token {number}")
    with pytest.raises(UnknownPush):
        store.sets.confirm_push(ALPHA, "token 0", now=NOW)
    assert store.sets.confirm_push(ALPHA, "token 1", now=NOW).version == 2


def test_answer_to_a_push_id_is_kept_for_ninety_days(store):
    first = push(store, snapshot(ALPHA, "a"), [FIRST])
    port(store, {BETA: [FIRST + 1]}, push_id="a")
    late = NOW + timedelta(days=90)
    content = store.sets.push_content(ALPHA)
    content.add(sent([FIRST]))
    arguments = {"base_version": 1, "token": "t"}
    header = snapshot(ALPHA, "a")
    assert store.sets.push(header, content, now=late - timedelta(seconds=1), **arguments) == again(first)
    assert store.sets.push(header, content, now=late, **arguments).version == 2
    assert store.sets.try_pushed_portings("a", now=late) is not None  # each set's pushes by themselves


def test_answers_beyond_the_newest_are_not_kept(store, monkeypatch):
    monkeypatch.setattr(pushes, "REMEMBERED_MAX", 3)
    for number in range(4):
        push(store, snapshot(ALPHA, f"push {number}"), [FIRST])
    kept = [number for number in range(4) if store.sets.try_pushed(ALPHA, f"push {number}", now=NOW)]
    assert kept == [1, 2, 3]


# --- digests


def test_digest_is_told_when_nothing_can_be_written_any_more(store, monkeypatch):
    push(store, snapshot(ALPHA), [FIRST])
    monkeypatch.setattr(store._database, "_stopped", True)
    head, digest = store.sets.digest(ALPHA)
    assert (head.version, digest) == (1, store.sets.active_set(ALPHA).digest())


def test_digest_of_a_set_that_is_pushed_to_all_the_time_is_left_out(store, monkeypatch):
    push(store, snapshot(ALPHA), [FIRST])
    read = store.sets._active_chunk

    def read_while_pushed_to(operator_id: int, chunk: int):
        places = read(operator_id, chunk)
        push(store, snapshot(ALPHA), [FIRST])
        return places

    monkeypatch.setattr(store.sets, "_active_chunk", read_while_pushed_to)
    head, digest = store.sets.digest(ALPHA)
    assert (head.version, digest) == (4, b"")
    monkeypatch.undo()
    assert store.sets.digest(ALPHA)[1] == store.sets.active_set(ALPHA).digest()
