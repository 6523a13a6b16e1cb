"""Webhooks of a node: receivers of the test's own check order, signature and envelope by themselves."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from numcheck.config import Settings, load_settings
from numcheck.delivery.posting import Poster
from numcheck.errors import BadConfiguration
from numcheck.registrations.history import Told
from numcheck.serving.sharing import Sharing
from numcheck.serving.webhooks import Source, Webhook, check_webhooks
from numcheck.store import EventRow, Store
from numcheck.store.leases import NodeReport
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.delivery.gateway import Gateway, gateway_running
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.command import run, serving

if TYPE_CHECKING:
    from numcheck.registrations.history import History

KEY = b"a webhook's key of enough bytes"
PATIENCE_S = 60


@pytest.fixture
def receiver() -> Iterator[Gateway]:
    with gateway_running() as one:
        yield one


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "webhook.key"
    path.write_bytes(KEY + b"\n")
    return path


def config_of(directory: Path, url: str, secret: Path, *, from_start: bool = True) -> Path:
    file = directory / "numcheck.toml"
    file.write_text(
        "code_delivery = 'console'\nverification_methods = 'code'\n[[webhooks]]\nname = 'backend'\n"
        f"service = 'messenger'\nurl = '{url}'\nsecret_file = '{secret}'\nfrom_start = {str(from_start).lower()}\n"
    )
    return file


@contextmanager
def node(data_dir: Path, config: Path) -> Iterator[RegistrationServiceStub]:
    with serving(data_dir, "--config", config) as one, grpc.insecure_channel(one.address) as channel:
        yield RegistrationServiceStub(channel)


def until(receiver: Gateway, count: int) -> list[Any]:
    """The bodies of the first requests, once so many have come."""
    with receiver.came:
        assert receiver.came.wait_for(lambda: len(receiver.got) >= count, PATIENCE_S), len(receiver.got)
    return [json.loads(one.body) for one in receiver.got[:count]]


def test_every_event_is_posted_in_order_signed_and_in_its_envelope(
    receiver: Gateway, secret: Path, data_dir: Path, tmp_path: Path
) -> None:
    """What the watch tells is what the webhook gets; the signature is computed here by hand."""
    with node(data_dir, config_of(tmp_path, receiver.url, secret)) as stub:
        made = [stub.Register(register_request("messenger", small.UNKNOWN + i, user_id=f"u{i}")) for i in range(3)]
        stub.Register(register_request("another", small.UNKNOWN, user_id="u0"))
        stub.DeleteRegistration(pb.DeleteRegistrationRequest(service="messenger", user_id="u1"))
        events = until(receiver, 7)
        watch = stub.WatchRegistrations(
            pb.WatchRegistrationsRequest(service="messenger", resume_token="0"), timeout=PATIENCE_S
        )
        next(watch)
        told = [next(watch).event for _ in range(7)]
        watch.cancel()
    assert [one["data"]["sequence"] for one in events] == list(range(1, 8))
    assert [one["type"].removeprefix("numcheck.registration.") for one in events] == [
        pb.RegistrationEventKind.Name(one.kind).removeprefix("REGISTRATION_EVENT_KIND_").lower() for one in told
    ]
    assert [one["data"]["hash"] for one in events] == [one.hash.hex() for one in told]
    assert {one["data"]["service"] for one in events} == {"messenger"}
    assert events[0]["subject"] == made[0].registration.registration_id
    assert events[0]["data"]["user_id"] == "u0"
    assert events[0]["data"]["state"] == "PENDING"
    assert datetime.fromisoformat(events[0]["time"]) == told[0].event_time.ToDatetime(UTC)
    assert len({one["source"] for one in events}) == 1
    asked = receiver.got[0]
    assert asked.headers["content-type"].startswith("application/cloudevents+json")
    own_id = f"messenger/1/{events[0]['data']['hash'][:16]}"
    assert asked.headers["webhook-id"] == events[0]["id"] == own_id
    signed = f"{own_id}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == "v1," + digest
    assert not any(str(small.UNKNOWN).encode() in one.body for one in receiver.got)


def test_a_node_that_starts_again_goes_on_where_the_one_before_was(
    receiver: Gateway, secret: Path, data_dir: Path, tmp_path: Path
) -> None:
    config = config_of(tmp_path, receiver.url, secret)
    with node(data_dir, config) as stub:
        stub.Register(register_request("messenger", small.UNKNOWN))
        until(receiver, 2)
    first = len(receiver.got)
    with node(data_dir, config) as stub:
        stub.Register(register_request("messenger", small.UNKNOWN + 1, user_id="u2"))
        until(receiver, first + 2)
    assert [json.loads(one.body)["data"]["sequence"] for one in receiver.got] == [1, 2, 3, 4]


def test_a_new_webhook_begins_with_what_comes_then(
    receiver: Gateway, secret: Path, data_dir: Path, tmp_path: Path
) -> None:
    """Unless the settings say that it is to have all that there was."""
    with serving(data_dir) as one, grpc.insecure_channel(one.address) as channel:
        RegistrationServiceStub(channel).Register(register_request("messenger", small.UNKNOWN))
    with node(data_dir, config_of(tmp_path, receiver.url, secret, from_start=False)) as stub:
        newest = next(iter(stub.WatchRegistrations(pb.WatchRegistrationsRequest(service="messenger")))).head.sequence
        stub.DeleteRegistration(pb.DeleteRegistrationRequest(service="messenger", user_id="u1"))
        assert until(receiver, 1)[0]["data"]["sequence"] == newest + 1


def test_a_new_webhook_misses_nothing_that_comes_before_it_is_sent_first(data_dir: Path) -> None:
    """It has its position from when its node begins, and not from when a node has its lease."""
    own = {"name": "backend", "service": "messenger", "from_start": False}
    with serving(data_dir) as one, grpc.insecure_channel(one.address) as channel:
        RegistrationServiceStub(channel).Register(register_request("messenger", small.UNKNOWN))
    with Store(data_dir) as store:
        store.webhooks().begin(**own, now_us=1)
        ((_, before),) = store.webhooks().all()
    with serving(data_dir) as one, grpc.insecure_channel(one.address) as channel:
        RegistrationServiceStub(channel).DeleteRegistration(
            pb.DeleteRegistrationRequest(service="messenger", user_id="u1")
        )
    with Store(data_dir) as store:
        store.webhooks().begin(**own, now_us=2)  # a second node begins
        lease = store.leases().try_take("webhook backend", None, "node", 3)
        assert lease is not None
        assert store.webhooks().open(**own, lease=lease, now_us=3) == before
        ((_, newest),) = store.webhooks().all()
    assert newest > before


class Events:
    """A history of so many events of a service."""

    def __init__(self, count: int) -> None:
        self._told = [
            Told(EventRow(n, 0, "messenger", bytes(16), "registered", 1, "{}", bytes(32), n), f"u{n}")
            for n in range(1, count + 1)
        ]

    def after(self, _service: str, sequence: int) -> list[Told]:
        return self._told[sequence:]


def test_an_event_that_is_refused_is_passed_over_and_one_that_fails_is_not(
    receiver: Gateway, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event gets 400 each time: a dead letter, which the command shows. Then 503: the others wait for it."""
    monkeypatch.setattr("numcheck.serving.webhooks.PAUSE_S", 0.001)
    monkeypatch.setattr("numcheck.serving.webhooks.POLL_INTERVAL_S", 0.001)
    receiver.answers = [400] * 5 + [503, 429, 200]
    directory = tmp_path / "var"
    settings = load_settings(config_of(tmp_path, receiver.url, secret)).webhooks[0]
    with Store(directory) as store:
        history = cast("History", Events(3))
        source = Source("an installation", store.webhooks(), history, lambda: datetime.now(UTC))
        sharing = Sharing(store.leases(), "one", lambda: NodeReport("1.0", None))
        webhook = Webhook(settings, KEY, source, Poster(), sharing.duty("webhook backend"))
        webhook.start()
        sharing.start()
        until(receiver, 9)
        webhook.stop()
        sharing.stop()
    assert [json.loads(one.body)["data"]["sequence"] for one in receiver.got] == [1] * 5 + [2, 2, 2, 3]
    (shown,) = json.loads(run("registrations", "webhooks", "--data-dir", directory, "--json").out)
    assert (shown["name"], shown["service"], shown["sequence"], shown["problem"]) == ("backend", "messenger", 3, "")
    assert [one["sequence"] for one in shown["passed_over"]] == [1]
    assert "400" in shown["passed_over"][0]["problem"]
    assert "event 1 was passed over" in run("registrations", "webhooks", "--data-dir", directory).out


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "http://example.com/"}, "https"),
        ({"url": "nonsense"}, "url"),
        ({"service": "My Shop"}, "service"),
        ({"secret_file": "missing"}, "webhooks.one.secret_file"),
        ({"secret_file": "short"}, "webhooks.one.secret_file"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    (tmp_path / "short").write_bytes(b"x" * 23)
    (tmp_path / "key").write_bytes(KEY)
    fields = {"name": "one", "service": "chat", "url": "https://x.example/", "secret_file": "key"} | changes
    with pytest.raises(BadConfiguration, match=problem):
        check_webhooks(load_settings(webhooks=[fields | {"secret_file": tmp_path / fields["secret_file"]}]))
    assert check_webhooks(Settings()) is None
