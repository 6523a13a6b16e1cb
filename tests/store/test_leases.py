"""Leases on both engines: one node at a time, terms that rise, and writes that come too late."""

import threading
import time

import pytest

from numcheck.errors import LeaseLost
from numcheck.store import leases as lease_rows
from numcheck.store.leases import Lease, Leases, NodeReport
from numcheck.store.webhooks import Webhooks
from tests.store.engines import PATIENCE_S, open_store


@pytest.fixture
def leases(store) -> Leases:
    return store.leases()


def test_one_of_two_nodes_that_see_the_same_gets_a_lease(leases):
    assert leases.try_take("work", None, "one", 1) == Lease("work", "one", 1)
    assert leases.try_take("work", None, "two", 2) is None
    first = leases.look().leases["work"]
    assert (first.node_id, first.term, first.taken_at_us) == ("one", 1, 1)
    assert leases.try_take("work", first, "two", 3) == Lease("work", "two", 2)
    assert leases.try_take("work", first, "three", 4) is None
    assert leases.look().leases["work"].node_id == "two"


def test_a_node_that_has_beaten_since_it_was_seen_is_not_buried(leases):
    leases.beat("one", "host:1", 5, NodeReport("1.0", None))
    seen = leases.look().nodes["one"]
    assert seen[1:] == ("host:1", 5, 1, 5, "1.0", None)
    leases.beat("one", "host:1", 6, NodeReport("1.0", 7))
    assert not leases.bury(seen)
    seen = leases.look().nodes["one"]
    assert seen[1:] == ("host:1", 5, 2, 6, "1.0", 7)
    assert leases.bury(seen)
    assert leases.look().nodes == {}
    leases.beat("one", "host:1", 7, NodeReport("1.0", 8))
    leases.leave("one")
    assert leases.look().nodes == {}


def test_a_webhook_moves_under_the_newest_term_alone(store, leases):
    webhooks: Webhooks = store.webhooks()
    old = leases.try_take("webhook w", None, "one", 1)
    assert old is not None
    assert webhooks.open("w", "chat", old, 1, from_start=True) == 0
    webhooks.advance("w", old, 7, "", 2, [(6, "it answered 400")])
    new = leases.try_take("webhook w", leases.look().leases["webhook w"], "two", 3)
    assert new is not None
    with pytest.raises(LeaseLost):
        webhooks.advance("w", old, 9, "", 4)
    with pytest.raises(LeaseLost):
        webhooks.open("w", "chat", old, 4, from_start=True)
    assert webhooks.open("w", "chat", new, 5, from_start=True) == 7
    webhooks.advance("w", new, 3, "late", 6)
    assert [(row.sequence, row.problem) for row, _ in webhooks.all()] == [(7, "")]
    assert [(one.sequence, one.problem) for one in webhooks.dead_letters()] == [(6, "it answered 400")]
    assert webhooks.open("w", "other", new, 7, from_start=True) == 0


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_lease_is_not_taken_while_its_holder_commits(store, data_dir, leases):
    """What the holder has checked stays true until its transaction has ended: the other one waits for it."""
    lease = leases.try_take("work", None, "one", 1)
    assert lease is not None
    before = leases.look().leases["work"]
    order: list[str] = []

    def take_over() -> None:
        with open_store(data_dir) as other:
            assert other.leases().try_take("work", before, "two", 2) == Lease("work", "two", 2)
        order.append("taken over")

    other = threading.Thread(target=take_over)
    with store._database.writing() as connection:
        lease_rows.check(connection, lease)
        other.start()
        deadline = time.monotonic() + PATIENCE_S
        while not connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").all():
            assert time.monotonic() < deadline, "the other one does not wait"
        order.append("committed")
    other.join()
    assert order == ["committed", "taken over"]
    with pytest.raises(LeaseLost), store._database.writing() as connection:
        lease_rows.check(connection, lease)
