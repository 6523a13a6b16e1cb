"""Prometheus reads what the node counts, and docs/metrics.md lists it."""

import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from numcheck.api.asking import NumbersAsked
from numcheck.config import Settings
from numcheck.door import process
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.errors import StoreUnavailable
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.dispatch import Tally
from numcheck.serving.ledger import OutcomeTally
from numcheck.serving.metrics import NodeCollector, Readings
from numcheck.serving.metrics_listener import MetricsListener
from numcheck.serving.publishing import index_directory
from numcheck.serving.services import check_service
from numcheck.serving.sharing import Peer
from numcheck.serving.store_watch import StoreWatch
from numcheck.store import Troubles
from numcheck.store.leases import NodeRow
from numcheck.v1 import check_pb2
from tests.serving.small import ACTIVE, fill

if LACKING is not None:
    pytest.skip(LACKING, allow_module_level=True)

METHOD = "/numcheck.v1.CheckService/CheckNumbers"
REQUEST = check_pb2.CheckNumbersRequest(numbers=[ACTIVE, ACTIVE + 1]).SerializeToString()


class Node:
    """Both doors and the metrics of them."""

    def __init__(self, settings: Settings) -> None:
        fill(settings.data_dir)
        self.lags, self.published, self.asked = [3], PublishedIndex(), NumbersAsked()
        self.api = PlainDoor(settings, [check_service(self.published, settings, self.asked.add)], Watches())
        self.native = NativeDoor(settings, self.published)
        self.linked: dict[str, bool] = {}
        self.accounts: list[Any] = []
        readings = Readings(
            index_version=lambda: self.published.get().index_version,
            index_lag=self.lag,
            directory_age_s=lambda: 2.5,
            callers_refused=lambda: False,
            callers_revision=lambda: 7,
            budgets=lambda: self.accounts,
            witness_agrees=lambda: True,
            asked=lambda: self.native.asked() + self.asked.counts(),
            smscs_linked=lambda: self.linked,
            codes=lambda: {Tally("main", "sms", "handed_over"): 2, Tally("main", "sms", "failed"): 1},
            receipts=lambda: {OutcomeTally("main", "3", "delivered"): 2},
            judged=lambda: {OutcomeTally("main", "3", "returned"): 5},
            couriers_rest=lambda: {("main", "3"): True, ("main", ""): False},
            index_size=lambda: self.published.get().size,
            node_count=lambda: 2,
            replica_used=lambda: True,
            peers=lambda: [Peer(NodeRow("1", "host:1", 0, 3, 0, "1.0", 2), False, 0.5, ["due times"])],
            leases_held=lambda: {"due times": True, "withdrawals": False},
        )
        self.watch = StoreWatch(settings, Troubles())
        self.watch.start()
        collector = NodeCollector([self.api, self.native], readings, self.watch)
        self.metrics = MetricsListener(settings, collector, list)

    def lag(self) -> int:
        if not self.lags:
            raise StoreUnavailable("it is locked")
        return self.lags[0]

    def text(self) -> str:
        with urllib.request.urlopen(f"http://{self.metrics.address}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def samples(self) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(self.text())
        samples = [sample for family in families for sample in family.samples]
        return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for one in samples}

    def awaited(self, expected: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
        """What is told, asked for until it is what is expected."""
        end = time.monotonic() + 20
        found: dict[tuple[str, ...], float] = {}
        while found != expected and time.monotonic() < end:
            found = {name: value for name, value in self.samples().items() if name in expected}
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    settings = Settings(
        data_dir=tmp_path / "var",
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        threads=2,
    )
    node = Node(settings)
    node.published.publish(open_index(index_directory(settings.data_dir)))
    yield node
    node.metrics.stop()
    node.watch.stop()
    node.native.stop(1)
    node.api.stop(1)


def refusal(channel: grpc.Channel, method: str, request: bytes) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(method)(request, timeout=10)
    code: str = refused.value.code().name
    return code


def test_calls_are_counted_by_method_and_status(node: Node) -> None:
    for name, address in (("native", node.native.address), ("plain", node.api.address)):
        with grpc.insecure_channel(address) as channel:
            for _ in range(3):
                channel.unary_unary(METHOD)(REQUEST, timeout=10)
            stream = channel.stream_stream(METHOD.replace("CheckNumbers", "StreamCheckNumbers"))
            assert len(list(stream(iter([REQUEST, REQUEST]), timeout=10))) == 2
            assert refusal(channel, METHOD, b"\x07") == "INVALID_ARGUMENT"
            assert refusal(channel, "/79161234567/79161234567", b"") == "UNIMPLEMENTED"
        expected = {
            ("numcheck_calls_total", "OK", name, METHOD): 3,
            ("numcheck_calls_total", "OK", name, METHOD.replace("CheckNumbers", "StreamCheckNumbers")): 1,
            ("numcheck_calls_total", "INVALID_ARGUMENT", name, METHOD): 1,
            ("numcheck_calls_total", "UNIMPLEMENTED", name, ""): 1,
        }
        # A call is counted when its status has left, which its caller may see first.
        assert node.awaited(expected) == expected
    assert "79161234567" not in node.text()


def test_numbers_bytes_connections_and_latency_are_counted(node: Node) -> None:
    with grpc.insecure_channel(node.native.address) as channel:
        for _ in range(5):
            channel.unary_unary(METHOD)(REQUEST, timeout=10)
        found = node.samples()
    assert found["numcheck_numbers_total",] == 10
    assert found["numcheck_connections",] == found["numcheck_connections_accepted_total",] == 1
    assert found["numcheck_received_bytes_total",] > 5 * len(REQUEST)
    assert found["numcheck_sent_bytes_total",] > 5 * 10
    assert found["numcheck_call_duration_seconds_count", METHOD, "administrator"] == 5
    assert found["numcheck_call_duration_seconds_bucket", "+Inf", METHOD, "administrator"] == 5
    assert 0 < found["numcheck_call_duration_seconds_sum", METHOD, "administrator"] < 50


def test_waits_are_counted_by_lane(node: Node) -> None:
    """Of calls that Python answers, and of no other."""
    with grpc.insecure_channel(node.native.address) as channel:
        channel.unary_unary(METHOD)(REQUEST, timeout=10)
        before = node.samples()
        for _ in range(3):
            channel.unary_unary(METHOD.replace("CheckNumbers", "ListOperators"))(b"", timeout=10)
        found = node.samples()
    assert before["numcheck_call_wait_seconds_count", "quick"] == 0
    assert found["numcheck_call_wait_seconds_count", "quick"] == 3
    assert 0 <= found["numcheck_call_wait_seconds_sum", "quick"] < 50
    assert found["numcheck_call_wait_seconds_count", "grouped"] == 0


def test_transactions_of_the_store_are_counted_by_use(node: Node) -> None:
    expected = {("numcheck_store_duration_seconds_count", "write"): 0}
    assert node.awaited(expected) == expected
    assert node.samples()["numcheck_store_duration_seconds_count", "read"] > 0


def test_index_version_and_lag_are_told_and_left_out_where_they_are_not_known(node: Node) -> None:
    found = node.samples()
    assert found["numcheck_index_version",] == node.published.get().index_version
    assert found["numcheck_index_lag",] == 3
    assert found["numcheck_directory_age_seconds",] == 2.5
    node.lags.clear()
    assert ("numcheck_index_lag",) not in node.samples()


def test_link_to_the_smsc_is_told_where_there_is_to_be_one(node: Node) -> None:
    assert "numcheck_smsc_linked" not in {name for name, *_ in node.samples()}
    for linked in (False, True):
        node.linked = {"main": linked}
        assert node.samples()["numcheck_smsc_linked", "main"] == linked


def test_budgets_are_told_by_caller(node: Node) -> None:
    assert "numcheck_new_numbers_left" not in {name for name, *_ in node.samples()}
    node.accounts.append(SimpleNamespace(name="chat", budget=100, left=7, refused_count=2))
    found = node.samples()
    assert found["numcheck_new_numbers_budget", "chat"] == 100
    assert found["numcheck_new_numbers_left", "chat"] == 7
    assert found["numcheck_new_numbers_refused_total", "chat"] == 2


def test_every_metric_is_documented_and_no_other(node: Node) -> None:
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    listed = set(re.findall(r"^\| `(numcheck_\w+)`", page, re.MULTILINE))
    told = set(re.findall(r"^# TYPE (numcheck_\w+)", node.text(), re.MULTILINE))
    assert listed == told


def test_a_loop_takes_its_share_of_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(process.resource, "getrlimit", lambda _which: (1_024, 4_096))
    monkeypatch.setattr(process.resource, "setrlimit", lambda _which, limits: set_to.append(limits))
    process.raise_limit()
    assert set_to == [(4_096, 4_096)]
    assert process.share_for_connections(loops=4) == 128
    assert process.share_for_connections(loops=10_000) == 1
