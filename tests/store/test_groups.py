"""Group commit: calls that wait share a transaction, and nobody's trouble is another's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from numcheck.errors import StoreUnavailable, UnknownRegistration
from numcheck.store.groups import GroupCommit


class Work:
    """A transaction on a list."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.write_count = 0

    def flush(self) -> None:
        if "unwritable" in self.written:
            raise ZeroDivisionError

    def write(self, what: str) -> str:
        self.write_count += 1
        self.written.append(what)
        return what


class Book:
    """A store that commits lists; its commits, or its transactions before they begin, can be held up, and fail."""

    def __init__(self, *, held_up_before: bool = False) -> None:
        self.held_up_before = held_up_before
        self.commits: list[list[str]] = []
        self.held_up, self.free = threading.Event(), threading.Event()
        self.free.set()
        self.failing = False
        self.lost: Exception | None = None
        self.groups: GroupCommit[Work] = GroupCommit(self.begin)

    def hold_up(self) -> None:
        self.held_up.set()
        self.free.wait(10)

    @contextmanager
    def begin(self) -> Iterator[Work]:
        work = Work()
        if self.held_up_before:
            self.hold_up()
        yield work
        if not self.held_up_before:
            self.hold_up()
        if self.failing:
            raise StoreUnavailable("the disk is full")
        self.commits.append(work.written)
        if self.lost is not None:
            raise self.lost

    def together(self, *operations) -> list[object]:
        """Run the first, and while its commit is held up all the others; what each came to."""
        results: list[object] = [None] * len(operations)

        def one(place: int) -> None:
            try:
                results[place] = self.groups.run(operations[place])
            except BaseException as error:
                results[place] = type(error)

        self.free.clear()
        self.held_up.clear()
        threads = [threading.Thread(target=one, args=(place,)) for place in range(len(operations))]
        for count, thread in enumerate(threads):
            thread.start()
            assert self.held_up.wait(10)
            # The first is taken by now, unless it is held up before.
            while len(self.groups._waiting) < count + self.held_up_before:
                threading.Event().wait(0.001)
        self.free.set()
        for thread in threads:
            thread.join()
        return results


def writing(what: str):
    return lambda work: work.write(what)


def refused(_work: Work) -> None:
    raise UnknownRegistration("no")


def refused_late(work: Work) -> None:
    work.write("half")
    raise UnknownRegistration("no")


def broken(_work: Work) -> None:
    raise ZeroDivisionError


def test_calls_that_wait_for_a_commit_share_the_next() -> None:
    book = Book()
    names = [f"{place}" for place in range(20)]
    assert book.together(*map(writing, names)) == names
    assert book.commits == [["0"], names[1:]]


def test_calls_that_come_while_a_transaction_waits_for_others_are_of_its_group() -> None:
    book = Book(held_up_before=True)
    names = [f"{place}" for place in range(20)]
    assert book.together(*map(writing, names)) == names
    assert book.commits == [names]


def test_a_refusal_is_its_own_callers_alone() -> None:
    book = Book()
    assert book.together(writing("a"), writing("b"), refused, writing("c")) == ["a", "b", UnknownRegistration, "c"]
    assert book.commits == [["a"], ["b", "c"]]


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (refused_late, UnknownRegistration),
        (broken, ZeroDivisionError),
        (writing("unwritable"), ZeroDivisionError),  # what was put off, as the store does with events
    ],
)
def test_what_fails_after_it_has_written_leaves_nothing_and_the_others_are_done(trouble, error) -> None:
    book = Book()
    assert book.together(writing("a"), writing("b"), trouble, writing("c")) == ["a", "b", error, "c"]
    assert [one for one in book.commits if one] == [["a"], ["b"], ["c"]]


def test_a_commit_that_fails_fails_for_all_of_it() -> None:
    book = Book()
    book.failing = True
    assert book.together(writing("a"), writing("b"), writing("c")) == [StoreUnavailable] * 3
    assert book.commits == []
    book.failing = False
    assert book.groups.run(writing("d")) == "d"


def test_a_commit_whose_acknowledgement_is_lost_is_not_made_again() -> None:
    """The server may have done it: to run it again would do it twice. Each of its callers is told that it failed."""
    book = Book()
    book.lost = StoreUnavailable("the database does not answer")
    assert book.together(writing("a"), writing("b"), writing("c")) == [StoreUnavailable] * 3
    assert book.commits == [["a"], ["b", "c"]]


@pytest.mark.parametrize(("undone", "comes_to"), [(1, ["a", "b", "c"]), (100, [StoreUnavailable] * 3)])
def test_what_the_database_has_undone_runs_again_a_few_times(undone: int, comes_to: list[object]) -> None:
    """Together, each once if it succeeds in the end; else each is told that it failed."""
    book, left = Book(), [undone]
    begin = book.begin

    @contextmanager
    def undoing() -> Iterator[Work]:
        written_before = len(book.commits)
        with begin() as work:
            yield work
        if left[0]:
            left[0] -= 1
            del book.commits[written_before:]
            error = StoreUnavailable("another transaction was in the way")
            error.undone = True
            raise error

    book.groups = GroupCommit(undoing)
    assert book.together(writing("a"), writing("b"), writing("c")) == comes_to
    assert book.commits == ([["a"], ["b", "c"]] if undone == 1 else [])


def test_a_transaction_that_cannot_begin_is_not_tried_for_each() -> None:
    book = Book(held_up_before=True)
    begun: list[None] = []

    @contextmanager
    def refusing() -> Iterator[Work]:
        begun.append(None)
        book.hold_up()
        raise StoreUnavailable("the database does not answer")
        yield Work()

    book.groups = GroupCommit(refusing)
    assert book.together(writing("a"), writing("b"), writing("c")) == [StoreUnavailable] * 3
    assert len(begun) == 1


@pytest.mark.parametrize("where", ["operation", "commit"])
def test_an_interrupt_of_who_leads_acknowledges_nothing_to_the_others(where: str) -> None:
    """Neither while an operation runs nor while it is committed; afterwards there are writes as before."""
    book = Book()

    def interrupted(_work: Work) -> None:
        if where == "operation":
            raise KeyboardInterrupt
        book.lost = KeyboardInterrupt()  # type: ignore[assignment]

    results = book.together(writing("a"), interrupted, writing("b"), writing("c"))
    assert results == ["a", KeyboardInterrupt, StoreUnavailable, StoreUnavailable]
    book.lost = None
    assert book.groups.run(writing("d")) == "d"
