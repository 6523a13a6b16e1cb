"""Codes are judged by what the store knows of them, and `numcheck status` shows how couriers do."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from numcheck.config import Settings
from numcheck.errors import StoreUnavailable
from numcheck.nearby import COURIERS_NAME
from numcheck.registrations.registration import CodeToSend
from numcheck.serving import whereabouts
from numcheck.serving.code_judge import CodeJudge
from numcheck.serving.courier_report import told_of_couriers
from numcheck.serving.couriers import Delivery
from numcheck.serving.dispatch import Dispatcher, Route
from numcheck.serving.ledger import JUDGED_AFTER_S, Ledger
from numcheck.serving.receipt_exchange import LOST_AFTER_S, ReceiptExchange
from numcheck.serving.terms import Terms
from tests.delivery.test_couriers import Clock, Scripted
from tests.registrations.by_code import complete, last_code
from tests.registrations.world import World
from tests.serving import small
from tests.serving.command import run


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    one = World(data_dir, methods="code")
    yield one
    one.close()


def delivery_to(clock: Clock) -> Delivery:
    terms, ledger = Terms(Settings()), Ledger(clock)
    route = Route("main", Scripted(), frozenset({"sms"}), clock, terms.percent_min)
    courier = Dispatcher([route], terms, ledger, operator_of=lambda _number: "3", patience_s=lambda: 10.0)
    return Delivery(courier, ledger=ledger)


def row(**changes: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("returned", "lost", "delivered", "failed"), 0)
    return {"courier": "main", "operator": "3", **counts, "rests": False, **changes}


def test_what_came_back_is_what_the_store_says_and_status_shows_it(world: World) -> None:
    """Of three users one gives the code back, one does not, and one is erased: nobody knows of that one any more."""
    clock = Clock()
    delivery = delivery_to(clock)
    judge = CodeJudge(delivery, world.registrations.came_back, world.data_dir)
    assert delivery.courier is not None
    for place in range(2):
        outcome = world.register(small.UNKNOWN + place, f"u{place}")
        assert outcome.verification is not None
        message_id = outcome.verification.verification_id.hex()
        delivery.courier.send(small.UNKNOWN, CodeToSend("1", ("sms",)), service="chat", message_id=message_id)
        if place == 0:
            assert complete(world, outcome, last_code(world))
    delivery.courier.send(small.UNKNOWN, CodeToSend("1", ("sms",)), service="chat", message_id="00" * 16)
    judge.judge()
    assert delivery.ledger.judged == {}
    clock.now_s += JUDGED_AFTER_S
    delivery.ledger.reports_of("main").came(iter(["00" * 16]), "delivered")
    judge.judge()
    of_all = row(operator="")
    assert told_of_couriers(world.data_dir) == [row(returned=1, lost=1, delivered=1), of_all]
    status = run("status", "--json", "--data-dir", world.data_dir)
    assert json.loads(status.out)["couriers"] == [row(returned=1, lost=1, delivered=1), of_all]
    shown = run("status", "--data-dir", world.data_dir).out
    (line,) = [one.split() for one in shown.splitlines() if one.split()[:2] == ["main", "3"]]
    assert line == ["main", "3", "1", "1", "50%", "1", "0", "serves"]
    whereabouts.forget(world.data_dir)
    assert told_of_couriers(world.data_dir) == []


def test_a_store_that_is_away_judges_nothing(world: World) -> None:
    clock = Clock()
    delivery = delivery_to(clock)
    assert delivery.courier is not None
    delivery.courier.send(small.UNKNOWN, CodeToSend("1", ("sms",)), service="chat", message_id="00" * 16)
    clock.now_s += JUDGED_AFTER_S

    def fail(_ids: object) -> dict[bytes, bool]:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        CodeJudge(delivery, fail, world.data_dir).judge()
    assert delivery.ledger.due() == ["00" * 16]


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        "{}",
        '{"pid": 0}',
        '{"pid": "x", "data_dir": "@", "couriers": []}',
        '{"pid": 999999999999999999999999}',
    ],
)
def test_a_file_that_no_running_node_wrote_says_nothing(tmp_path: Path, told: str) -> None:
    (tmp_path / COURIERS_NAME).write_text(told.replace("@", str(tmp_path)))
    assert told_of_couriers(tmp_path) == []
    mine = {"pid": os.getpid(), "data_dir": str(tmp_path.resolve()), "couriers": "all well"}
    (tmp_path / COURIERS_NAME).write_text(json.dumps(mine))
    assert told_of_couriers(tmp_path) == []


def test_receipt_counts_at_the_node_that_sent_the_code_wherever_it_comes(world: World) -> None:
    """Once, though both nodes got it, under whichever of its names; what no node knows is counted by one of them."""
    clock = Clock()
    sender, other = delivery_to(clock), delivery_to(clock)
    strays = world.store.stray_receipts()
    exchanges = [ReceiptExchange(one.ledger, strays, clock=clock) for one in (sender, other)]
    judges = [
        CodeJudge(one, world.registrations.came_back, world.data_dir, exchange)
        for one, exchange in zip((sender, other), exchanges, strict=True)
    ]
    assert sender.courier is not None
    for place in range(2):
        sender.courier.send(small.UNKNOWN, CodeToSend("1", ("sms",)), service="chat", message_id=f"0{place}" * 16)
    sender.ledger.name("main", "01" * 16, "carriers")
    reports = other.ledger.reports_of("main")
    reports.came(iter(["00" * 16]), "delivered")
    reports.came(iter(["another", "carriers"]), "failed")
    reports.came(iter(["nobodys"]), "delivered")
    sender.ledger.reports_of("main").came(iter(["00" * 16]), "delivered")
    assert (dict(other.ledger.receipts), len(other.ledger.strays())) == ({}, 3)
    for judge in (*judges[::-1], *judges):
        judge.judge()
    assert sender.ledger.receipts == {("main", "3", "delivered"): 1, ("main", "3", "failed"): 1}
    assert sender.ledger.judged == {("main", "3", "lost"): 1}
    assert (len(strays.waiting(count_max=9)), dict(other.ledger.receipts)) == (1, {})
    clock.now_s += LOST_AFTER_S + 1
    for judge in judges[::-1]:
        judge.judge()
    assert (strays.waiting(count_max=9), other.ledger.strays()) == ({}, [])
    assert other.ledger.receipts == {("main", "", "delivered"): 1}
    assert ("main", "", "delivered") not in sender.ledger.receipts


def test_receipts_wait_while_the_store_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery, strays = delivery_to(Clock()), world.store.stray_receipts()
    exchange = ReceiptExchange(delivery.ledger, strays)
    delivery.ledger.reports_of("main").came(iter(["nobodys"]), "delivered")
    with monkeypatch.context() as patch:
        patch.setattr(strays, "put", Mock(side_effect=StoreUnavailable("away")))
        with pytest.raises(StoreUnavailable):
            exchange.exchange()
    assert len(delivery.ledger.strays()) == 1
    exchange.exchange()
    assert (delivery.ledger.strays(), len(strays.waiting(count_max=9))) == ([], 1)
