"""Several couriers in order, and requests after templates: gateways of the test's own take them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from numcheck.config import Settings, load_settings
from numcheck.delivery.requests import Message
from numcheck.delivery.shares import PROBES, SAMPLES
from numcheck.delivery.shares import REST_S as REST_OF_SHARE_S
from numcheck.errors import BadConfiguration, DeliveryFailed
from numcheck.registrations.registration import CodeToSend
from numcheck.serving.couriers import Delivery, delivery_of
from numcheck.serving.dispatch import Dispatcher, Route
from numcheck.serving.ledger import JUDGED_AFTER_S, Ledger
from numcheck.serving.terms import Terms
from tests.delivery.gateway import Gateway, gateway_running
from tests.delivery.messages import CODE

NUMBER = 79_160_000_001
FIVE_IN_A_ROW = 5
REST_S = 30.0


@pytest.fixture
def gateways() -> Iterator[tuple[Gateway, Gateway]]:
    with gateway_running() as first, gateway_running() as second:
        yield first, second


@contextmanager
def delivering(directory: Path, text: str) -> Iterator[Delivery]:
    """Couriers of a TOML file."""
    file = directory / "numcheck.toml"
    file.write_text(text)
    delivery = delivery_of(load_settings(file), lambda _line: None)
    yield delivery
    delivery.close()


def send(delivery: Delivery, channel: str = "sms", service: str = "chat") -> None:
    assert delivery.courier is not None
    delivery.courier.send(NUMBER, CodeToSend(CODE, (channel,)), service=service, message_id="m1")


def test_a_json_body_a_header_and_a_success_rule_fit_a_vendor(
    gateways: tuple[Gateway, Gateway], tmp_path: Path
) -> None:
    """No text breaks out of its place; an answer of 200 that says "refused" is a refusal."""
    gateway, _ = gateways
    (tmp_path / "secret").write_text("s3cret\n")
    text = f"""
        code_message = 'Код "{{code}}"\\n@chat.example #{{code}}'
        [[couriers]]
        name = "vendor"
        url = "{gateway.url}"
        secret_file = "{tmp_path}/secret"
        headers = {{ authorization = "Bearer {{secret}}" }}
        body = {{ to = ["+{{number}}"], text = "{{text}}", ref = "{{message_id}}", ttl = 300, test = false }}
        success = '"status": *"queued"'
    """
    with delivering(tmp_path, text) as delivery:
        gateway.body = b'{"status": "queued"}'
        send(delivery)
        gateway.body = b'{"status": "refused"}'
        with pytest.raises(DeliveryFailed, match="success"):
            send(delivery)
        assert delivery.counts == {("vendor", "sms", "handed_over"): 1, ("vendor", "sms", "failed"): 1}
    asked = gateway.got[0]
    assert asked.headers["authorization"] == "Bearer s3cret"
    assert asked.headers["content-type"] == "application/json"
    assert "webhook-signature" not in asked.headers
    words = 'Код "042917"\\n@chat.example #042917'
    assert json.loads(asked.body) == {"to": [f"+{NUMBER}"], "text": words, "ref": "m1", "ttl": 300, "test": False}


def test_a_form_and_a_query_are_encoded(gateways: tuple[Gateway, Gateway], tmp_path: Path) -> None:
    gateway, other = gateways
    text = f"""
        code_message = "a&b = {{code}}"
        [[couriers]]
        name = "form"
        url = "{gateway.url}"
        channels = ["sms"]
        form = {{ phone = "{{number}}", mes = "{{text}}" }}
        [[couriers]]
        name = "query"
        url = "{other.url}?login=me"
        channels = ["call"]
        method = "GET"
        query = {{ phone = "{{number}}", mes = "{{text}}", channel = "{{channel}}" }}
        [services.shop]
        code_message = "Shop: {{code}}"
    """
    with delivering(tmp_path, text) as delivery:
        send(delivery)
        send(delivery, "call", service="shop")
    assert parse_qs(gateway.got[0].body.decode()) == {"phone": [str(NUMBER)], "mes": ["a&b = 042917"]}
    assert other.got[0].method == "GET"
    assert parse_qs(urlsplit(other.got[0].path).query) == {
        "login": ["me"],
        "phone": [str(NUMBER)],
        "mes": ["Shop: 042917"],
        "channel": ["call"],
    }


def test_a_header_has_any_letters_and_no_text_breaks_out_of_it(
    gateways: tuple[Gateway, Gateway], tmp_path: Path
) -> None:
    gateway, _ = gateways
    text = f"""
        code_message = 'Код {{code}}'
        [services.shop]
        code_message = "{{code}}\\r\\nx-more: 1"
        [[couriers]]
        name = "vendor"
        url = "{gateway.url}"
        headers = {{ x-text = "{{text}}" }}
        form = {{ to = "{{number}}" }}
    """
    with delivering(tmp_path, text) as delivery:
        send(delivery)
        with pytest.raises(DeliveryFailed):
            send(delivery, service="shop")
    (asked,) = gateway.got
    assert asked.headers["x-text"].encode("latin-1").decode() == "Код 042917"


def test_nothing_that_a_gateway_says_is_sent_to_it_again(gateways: tuple[Gateway, Gateway], tmp_path: Path) -> None:
    """A cookie with each answer would make requests longer and longer."""
    gateway, _ = gateways
    text = f"""
        [[couriers]]
        name = "vendor"
        url = "{gateway.url}"
        form = {{ to = "{{number}}" }}
    """
    with delivering(tmp_path, text) as delivery:
        for _ in range(3):
            send(delivery)
    assert ["cookie" in asked.headers for asked in gateway.got] == [False] * 3


def test_a_vendors_own_name_of_a_message_is_taken_from_its_answer(
    gateways: tuple[Gateway, Gateway], tmp_path: Path
) -> None:
    """A receipt may name it by that, or by the name that it was given."""
    gateway, _ = gateways
    text = f"""
        [[couriers]]
        name = "vendor"
        url = "{gateway.url}"
        form = {{ to = "{{number}}", text = "{{text}}" }}
        success = '"id": *"(?P<message_id>[^"]+)"|"late"'
    """
    with delivering(tmp_path, text) as delivery:
        gateway.body = b'{"id": "v-17"}'
        send(delivery)
        delivery.ledger.reports_of("vendor").came(iter(["v-17"]), "delivered")
        gateway.body = b'"late"'
        send(delivery)
        delivery.ledger.reports_of("vendor").came(iter(["m1"]), "failed")
        delivery.ledger.reports_of("vendor").came(iter(["v-18"]), "failed")
        assert sum(delivery.ledger.receipts.values()) == 3
        assert len(delivery.ledger.judged) == 1


def test_the_next_courier_takes_what_one_refuses(gateways: tuple[Gateway, Gateway], tmp_path: Path) -> None:
    first, second = gateways
    text = "".join(
        f"[[couriers]]\nname = '{name}'\nurl = '{gateway.url}'\nform = {{ to = '{{number}}', code = '{{code}}' }}\n"
        for name, gateway in (("first", first), ("second", second))
    )
    with delivering(tmp_path, text) as delivery:
        send(delivery)
        assert (len(first.got), len(second.got)) == (1, 0)
        first.answers = [403]
        send(delivery)
        assert (len(first.got), len(second.got)) == (2, 1)
        second.answers = [403]
        with pytest.raises(DeliveryFailed):
            send(delivery)
        assert delivery.counts == {
            ("first", "sms", "handed_over"): 1,
            ("first", "sms", "failed"): 2,
            ("second", "sms", "handed_over"): 1,
            ("second", "sms", "failed"): 1,
        }


class Scripted:
    """A courier that fails while it is told to."""

    def __init__(self, *channels: str) -> None:
        self.channels = frozenset(channels or ("sms", "call"))
        self.fails, self.sent = False, list[Message]()

    def send(self, message: Message) -> str:
        self.sent.append(message)
        if self.fails:
            raise DeliveryFailed("told to")
        return ""

    def close(self) -> None:
        pass

    @property
    def count(self) -> int:
        return len(self.sent)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def dispatcher(
    *couriers: Scripted, clock: Callable[[], float], patience_s: Callable[[], float] = lambda: 10.0
) -> Dispatcher:
    terms = Terms(Settings())
    routes = [Route(str(place), one, one.channels, clock, terms.percent_min) for place, one in enumerate(couriers)]
    return Dispatcher(routes, terms, Ledger(clock), operator_of=lambda number: str(number % 10), patience_s=patience_s)


def code(one: Dispatcher, *channels: str) -> str:
    return one.send(NUMBER, CodeToSend(CODE, channels or ("sms",)), service="chat", message_id="m1")


def test_a_courier_that_fails_again_and_again_rests_and_is_tried_now_and_then() -> None:
    first, second, clock = Scripted(), Scripted(), Clock()
    both = dispatcher(first, second, clock=clock)
    first.fails = True
    for _ in range(FIVE_IN_A_ROW + 10):
        code(both)
    assert (first.count, second.count) == (FIVE_IN_A_ROW, FIVE_IN_A_ROW + 10)
    clock.now_s += REST_S
    first.fails = False
    for _ in range(3):
        code(both)
    assert (first.count, second.count) == (FIVE_IN_A_ROW + 3, FIVE_IN_A_ROW + 10)


def test_a_try_that_a_resting_courier_is_due_waits_for_a_code_that_needs_it() -> None:
    """Not for one that the courier before it takes."""
    first, second, clock = Scripted(), Scripted(), Clock()
    both = dispatcher(first, second, clock=clock)
    first.fails = second.fails = True
    for _ in range(FIVE_IN_A_ROW):
        with pytest.raises(DeliveryFailed):
            code(both)
    clock.now_s += REST_S
    first.fails = second.fails = False
    code(both)
    assert second.count == FIVE_IN_A_ROW
    first.fails = True
    code(both)
    assert second.count == FIVE_IN_A_ROW + 1


def test_a_courier_whose_codes_do_not_come_back_is_passed_over_for_that_operator() -> None:
    """Its codes are taken, and lost on the way to one operator's numbers: those go by the next, all others as before.
    After the rest ten try it; where no other can be tried it is."""
    first, second, clock = Scripted(), Scripted(), Clock()
    terms = Terms(Settings())
    ledger = Ledger(clock)
    routes = [Route(name, one, one.channels, clock, terms.percent_min) for name, one in (("a", first), ("b", second))]
    both = Dispatcher(routes, terms, ledger, operator_of=lambda number: str(number % 10), patience_s=lambda: 10.0)

    def send(number: int, place: int) -> None:
        both.send(number, CodeToSend(CODE, ("sms",)), service="chat", message_id=f"{number}.{place}")

    def judge(came_back: bool) -> None:
        clock.now_s += JUDGED_AFTER_S
        due = ledger.due()
        ledger.judge(due, dict.fromkeys(due, came_back))

    for place in range(SAMPLES):
        send(NUMBER, place)
        send(NUMBER + 1, place)
    clock.now_s += JUDGED_AFTER_S
    due = ledger.due()
    ledger.judge(due, {one: not one.startswith(f"{NUMBER}.") for one in due})
    assert both.rests == {("a", ""): False, ("b", ""): False, ("a", "1"): True, ("a", "2"): False}
    taken = len(first.sent)
    send(NUMBER, 100)
    assert (len(first.sent), len(second.sent)) == (taken, 1)
    send(NUMBER + 1, 100)
    assert (len(first.sent), len(second.sent)) == (taken + 1, 1)
    second.fails = True
    with pytest.raises(DeliveryFailed):
        send(NUMBER, 101)
    second.fails = False
    clock.now_s += REST_OF_SHARE_S
    for place in range(PROBES + 5):
        send(NUMBER, 200 + place)
    assert (len(first.sent), len(second.sent)) == (taken + 1 + PROBES, 2 + 5)
    judge(came_back=True)
    assert not both.rests["a", "1"]
    send(NUMBER, 300)
    assert len(first.sent) == taken + 2 + PROBES


def test_the_last_courier_left_is_tried_however_often_it_failed() -> None:
    alone, clock = Scripted(), Clock()
    one = dispatcher(alone, clock=clock)
    alone.fails = True
    for _ in range(FIVE_IN_A_ROW + 3):
        with pytest.raises(DeliveryFailed):
            code(one)
    alone.fails = False
    code(one)
    assert alone.count == FIVE_IN_A_ROW + 4


def test_no_other_courier_is_tried_for_a_caller_who_is_about_to_leave() -> None:
    first, second = Scripted(), Scripted()
    first.fails = True
    both = dispatcher(first, second, clock=Clock(), patience_s=lambda: 0.5)
    with pytest.raises(DeliveryFailed):
        code(both)
    assert second.count == 0


def test_a_code_falls_back_within_its_channel_first_and_then_to_the_next() -> None:
    """In the order of the channels, and within one in the order of the couriers; what took it is told."""
    call, first, second = Scripted("call"), Scripted("sms"), Scripted("sms")
    all_three = dispatcher(call, first, second, clock=Clock())
    assert code(all_three, "sms", "call") == "sms"
    first.fails = second.fails = True
    assert code(all_three, "sms", "call") == "call"
    assert [message.channel for message in call.sent] == ["call"]
    assert (first.count, second.count) == (2, 1)
    with pytest.raises(DeliveryFailed):
        code(all_three, "sms")


def test_couriers_of_another_channel_are_tried_before_those_that_rest() -> None:
    first, call = Scripted("sms"), Scripted("call")
    both = dispatcher(first, call, clock=Clock())
    first.fails = True
    for _ in range(FIVE_IN_A_ROW):
        code(both, "sms", "call")
    assert code(both, "sms", "call") == "call"
    assert first.count == FIVE_IN_A_ROW


def test_a_courier_serves_any_channel_that_it_names(gateways: tuple[Gateway, Gateway], tmp_path: Path) -> None:
    """It serves all that it names, and nothing else."""
    gateway, _ = gateways
    text = f"""
        code_message = "{{code}} is yours"
        [[couriers]]
        name = "push"
        url = "{gateway.url}"
        channels = ["push", "max_messenger"]
        body = {{ to = "{{number}}", by = "{{channel}}", text = "{{text}}", lang = "{{language}}" }}
    """
    with delivering(tmp_path, text) as delivery:
        assert delivery.courier is not None
        assert delivery.courier.channels == {"push", "max_messenger"}
        send(delivery, "max_messenger")
        with pytest.raises(DeliveryFailed, match="no courier"):
            send(delivery, "sms")
    body = json.loads(gateway.got[0].body)
    assert body == {"to": str(NUMBER), "by": "max_messenger", "text": "042917 is yours", "lang": ""}


@pytest.mark.parametrize(
    ("courier", "problem"),
    [
        ({"url": "https://x"}, "couriers.one.secret_file: "),
        ({"url": "ftp://x"}, "couriers.one.url: "),
        ({"url": "smpp://x", "channels": ["sms"]}, "couriers.one.system_id: "),
        ({"url": "https://x", "form": {"a": "{phone}"}}, "there is no field {phone}"),
        ({"url": "https://x", "form": {}, "body": {}}, "exclude each other"),
        ({"url": "https://x", "form": {}, "success": "("}, "no regular expression"),
        ({"url": "https://x", "channels": ["Pigeon"]}, "channels"),
        ({"url": "https://x", "channels": []}, "channels"),
        ({"url": "smpp://x", "channels": ["push"]}, "couriers.one."),
        ({"url": "https://x", "color": "red"}, "color"),
        ({"url": "https://x", "name": "One!"}, "name"),
    ],
)
def test_a_courier_that_cannot_be_is_refused_by_its_name(courier: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        delivery_of(load_settings(couriers=[{"name": "one", **courier}]), lambda _line: None)
    assert problem in str(refused.value)


def test_two_couriers_of_one_name_and_two_ways_to_name_one_are_refused() -> None:
    console = {"name": "one", "url": "console"}
    for settings in (
        load_settings(couriers=[console, console]),
        load_settings(couriers=[console], code_delivery="console"),
    ):
        with pytest.raises(BadConfiguration, match="courier"):
            delivery_of(settings, lambda _line: None)
    assert delivery_of(Settings(), lambda _line: None).courier is None
