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

    def write(self, what: str) -> str:
        self.write_count += 1
        self.written.append(what)
        return what


class Book:
    """A store that commits lists; it can be held up, and made to fail."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()
        self.failing = False
        self.groups: GroupCommit[Work] = GroupCommit(self.begin)

    @contextmanager
    def begin(self) -> Iterator[Work]:
        work = Work()
        self.free.wait(10)
        yield work
        if self.failing:
            raise StoreUnavailable("the disk is full")
        self.commits.append(work.written)

    def together(self, *operations) -> list[object]:
        """Run the first, and while its commit is held up all the others; what each came to."""
        results: list[object] = [None] * len(operations)

        def one(place: int) -> None:
            try:
                results[place] = self.groups.run(operations[place])
            except Exception as error:
                results[place] = type(error)

        self.free.clear()
        threads = [threading.Thread(target=one, args=(place,)) for place in range(len(operations))]
        for count, thread in enumerate(threads):
            thread.start()
            while count and len(self.groups._waiting) < count:
                threading.Event().wait(0.001)
            while not count and self.groups._waiting:
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


def test_a_refusal_is_its_own_callers_alone() -> None:
    book = Book()
    assert book.together(writing("a"), writing("b"), refused, writing("c")) == ["a", "b", UnknownRegistration, "c"]
    assert book.commits == [["a"], ["b", "c"]]


@pytest.mark.parametrize(("trouble", "error"), [(refused_late, UnknownRegistration), (broken, ZeroDivisionError)])
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
