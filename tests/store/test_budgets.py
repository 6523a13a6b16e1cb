"""Budgets of new numbers over the store: restarts, crashes, nodes that share it, and what somebody changes in it."""

import threading
from array import array
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from numcheck.access import Caller, Role
from numcheck.api.access import LoopbackAccess, Shown, call_of, serve_call
from numcheck.config import Settings
from numcheck.errors import StoreUnavailable, TooManyNewNumbers
from numcheck.registrations.sealing import Key, Keyring
from numcheck.registrations.vault import Vault
from numcheck.serving.budgets import Budgets
from numcheck.store import Store
from numcheck.store.schema import asked_numbers
from tests.store.engines import open_store

FIRST = 79_160_000_000
BUDGET = 1_000
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
MESSENGER = Caller("numcheck://service/chat", Role.MESSENGER, service="chat")
VAULT = Vault(Keyring([Key(1, bytes(range(32)))]), bytes)


class Node:
    """One node's budgets: what is asked of it, and how much is answered."""

    def __init__(self, store: Store, budget: int = BUDGET) -> None:
        settings = Settings(tls_certificate_file="a", tls_key_file="b", tls_clients="token")
        settings = settings.model_copy(update={"new_numbers_per_day_max": budget})
        self.budgets = Budgets(store.budgets(), VAULT, settings, now=lambda: NOON)

    def answers(self, first: int, count: int = 1) -> bool:
        """Ask about so many numbers in one request."""
        serve_call(call_of(LoopbackAccess(), MESSENGER, Shown(), ""))
        try:
            self.budgets.spend(array("Q", range(first, first + count)).tobytes())
        except TooManyNewNumbers:
            return False
        return True

    def crawl(self, first: int, *, step: int = 1) -> int:
        """Ask on until a request is refused; how many numbers were answered."""
        count = 0
        while self.answers(first + count, step):
            count += step
        return count


def test_a_restart_gives_no_second_budget_and_forgets_no_number(store: Store) -> None:
    first = Node(store)
    assert first.answers(FIRST, 600)
    assert first.answers(FIRST + 5_000)
    first.budgets.stop()
    second = Node(store)
    assert second.answers(FIRST, 600)
    assert second.answers(FIRST + 5_000)
    assert second.crawl(FIRST + 10_000) == BUDGET - 601
    second.budgets.stop()
    third = Node(store)
    assert third.answers(FIRST, 600)
    assert third.crawl(FIRST + 50_000) == 0


def test_crashes_never_give_more_and_take_little(store: Store) -> None:
    """A node that is killed loses what it had taken: a part of what was left. What it had saved stays known."""
    node, learned = Node(store), 0
    for crash in range(20):
        assert node.answers(FIRST + 100 * crash, 20)
        learned += 20
        node.budgets.save()
        node = Node(store)
        assert node.answers(FIRST, 20)
    learned += node.crawl(FIRST + 10_000)
    assert BUDGET * (1 - 20 / 64) < learned <= BUDGET
    assert Node(store).crawl(FIRST + 20_000) == 0


def test_nodes_of_one_store_share_a_budget_to_the_last_number(data_dir: Path, store: Store, engine: str) -> None:
    """Together they answer about the budget and no more; one that gives back what it has lets the other have it."""
    other = open_store(data_dir) if engine == "postgresql" else store
    nodes, learned = [Node(store), Node(other)], [0, 0]

    def crawl(place: int) -> None:
        learned[place] = nodes[place].crawl(FIRST + 100_000 * place)

    threads = [threading.Thread(target=crawl, args=[place]) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(learned) > 0
    assert BUDGET - BUDGET // 64 <= sum(learned) <= BUDGET
    nodes[0].budgets.stop()
    assert learned[1] + learned[0] + nodes[1].crawl(FIRST + 300_000) == BUDGET
    if engine == "postgresql":
        other.close()


def test_what_one_node_was_asked_the_other_answers_again(data_dir: Path, store: Store) -> None:
    first, second = Node(store), Node(store)
    assert first.answers(FIRST, BUDGET)
    assert not second.answers(FIRST, 1)
    first.budgets.save()
    assert second.answers(FIRST, BUDGET)
    assert not second.answers(FIRST + BUDGET, 1)


@pytest.mark.parametrize("changes", [{"taken": 1}, {"sealed": b"\0" * 60}, {"key_id": 2}])
def test_nothing_is_left_where_somebody_has_changed_what_was_asked(store: Store, changes: dict[str, object]) -> None:
    assert Node(store).answers(FIRST, 500)
    with store._database.writing() as connection:
        connection.execute(update(asked_numbers).values(**changes))
    node = Node(store)
    assert node.crawl(FIRST + 5_000) == 0
    assert node.budgets.accounts()[0].left == 0


def test_nothing_new_is_answered_about_while_the_store_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers asked already are answered, and afterwards nothing is lost."""
    node = Node(store)
    assert node.answers(FIRST, 100)
    with monkeypatch.context() as away:
        away.setattr(store._database, "_stopped", True)
        with pytest.raises(StoreUnavailable):
            node.crawl(FIRST + 1_000)
        assert node.answers(FIRST, 100)
    assert node.answers(FIRST + 10_000, BUDGET - 100)
    assert node.crawl(FIRST + 20_000) == 0


def test_large_parts_are_bounded(store: Store) -> None:
    """However large the budget is, a node takes no more at a time than it can look up in a moment."""
    node = Node(store, 2**31 - 1)
    assert node.answers(FIRST)
    assert node.budgets.accounts()[0].allowance.left == 4_095
