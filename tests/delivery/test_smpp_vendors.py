"""SMPP as vendors speak it: nothing that an SMSC sends fails what is in flight (SMPP 3.4, and what goes beyond it)."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from numcheck.delivery.smpp import SmppCourier
from numcheck.delivery.smpp_link import Account
from numcheck.delivery.smpp_pdu import plain_coding
from numcheck.errors import DeliveryFailed
from tests.delivery.messages import Reported, message_of
from tests.delivery.raw_smsc import (
    ANSWER,
    BIND_TRANSCEIVER,
    DELIVER_SM,
    ENQUIRE_LINK,
    SUBMIT_SM,
    RawSmsc,
    message,
    pdu,
    raw_smsc,
)
from tests.serving import small

GENERIC_NACK, ESME_RINVCMDID, ESME_RX_R_APPN = ANSWER, 3, 0x66


def courier_to(smsc: RawSmsc, reports: Reported | None = None) -> SmppCourier:
    account = Account("127.0.0.1", smsc.port, "numcheck", "secret")
    return SmppCourier(
        account, source="1", lifetime=timedelta(seconds=300), sends_at_once_max=4, reports=reports or Reported()
    )


def send(courier: SmppCourier) -> None:
    courier.send(message_of())


@pytest.fixture
def smsc() -> Iterator[RawSmsc]:
    with raw_smsc() as one:
        yield one


@pytest.fixture
def courier(smsc: RawSmsc) -> Iterator[SmppCourier]:
    one = courier_to(smsc)
    smsc.next(BIND_TRANSCEIVER)
    yield one
    one.close()


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"no end", "ЦКС".encode() + b"\0", b"x" * 300 + b"\0", b"smsc\0\2\x10\0\1\x34"]
)
def test_a_bind_is_answered_in_any_form(body: bytes) -> None:
    """4.1.2: a body of its own says nothing that is needed here."""
    with raw_smsc(bound=body) as smsc:
        courier = courier_to(smsc)
        send(courier)
        courier.close()
        assert smsc.links == 1


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"i" * 65 + b"\0", b"i" * 300, "ид".encode("cp1251") + b"\0", b"\xff" * 5]
)
def test_a_message_is_taken_under_an_id_of_any_form(body: bytes) -> None:
    """4.4.2: 65 octets at most, says the specification."""
    with raw_smsc(taken=body) as smsc:
        courier = courier_to(smsc)
        send(courier)
        send(courier)
        courier.close()
        assert smsc.links == 1


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"0001F4A\0", "1f4a"),
        (b"8f3c-77\0", "8f3c-77"),
        (b"no end", "no end"),
        ("ид".encode("cp1251") + b"\0", "èä"),
        (b"i" * 300 + b"\0", "i" * 256),
        (b"\0", None),
        (b"", None),
    ],
)
def test_a_message_is_known_by_the_id_that_its_receipt_has(body: bytes, name: str | None) -> None:
    """5.2.23: before the receipt can come, whatever its form; in its parameters (5.3.2.12), or in its text."""
    with raw_smsc(taken=body) as smsc:
        courier = courier_to(smsc, reports := Reported())
        send(courier)
        assert reports.names == ([] if name is None else [("m1", name)])
        text = b"id:" + body.rstrip(b"\0")[:60] + b" sub:001 dlvrd:001 stat:DELIVRD"
        parameter = b"\0\x1e\0\x05F00D\0"
        smsc.send(pdu(DELIVER_SM, 0, 9, message(0, text, small.ACTIVE, esm_class=4) + parameter))
        assert smsc.next(ANSWER | DELIVER_SM).status == 0
        courier.close()
    ((names, outcome),) = reports.receipts
    assert outcome == "delivered"
    assert names[:2] == ["f00d", "61453"]
    if name in ("1f4a", "8f3c-77"):
        assert name in names


VENDORS_OWN = {
    "a request of the vendor's": pdu(0x0001_0200, 0, 7, b"\1\2\3"),
    "an answer of the vendor's": pdu(ANSWER | 0x0001_0200, 0, 7),
    "a request that no ESME takes": pdu(0x103, 0, 7, b"\0" * 9),
    "an alert": pdu(0x102, 0, 7, b"\0" * 6),
    "a status of the vendor's": pdu(ENQUIRE_LINK, 0x0501, 7),
    "an answer to nothing": pdu(ANSWER | SUBMIT_SM, 0, 4_000_000, b"x\0"),
    "a refusal of nothing": pdu(GENERIC_NACK, 0x0501, 0),
    "a message without a body": pdu(DELIVER_SM, 0, 7),
    "a message of an unknown kind of number": pdu(DELIVER_SM, 0, 7, b"\0\x63\x63" + b"\0" * 20),
    "a message that is not of its coding": pdu(DELIVER_SM, 0, 7, message(1, b"\xff\xfe", small.ACTIVE)),
    "a message of an unknown coding": pdu(DELIVER_SM, 0, 7, message(11, b"ABC234", small.ACTIVE)),
    "a receipt with a long id": pdu(DELIVER_SM, 0, 7, message(0, b"id:" + b"i" * 99 + b" stat:?", 1, esm_class=4)),
    "a receipt that is none": pdu(DELIVER_SM, 0, 7, message(3, b"\xff\xff", small.ACTIVE, esm_class=4)),
}


@pytest.mark.parametrize("sent", VENDORS_OWN.values(), ids=VENDORS_OWN)
def test_what_a_vendor_sends_besides_fails_nothing_in_flight(sent: bytes) -> None:
    with raw_smsc(taken=None) as smsc, ThreadPoolExecutor(1) as callers:
        courier = courier_to(smsc)
        sending = callers.submit(send, courier)
        submitted = smsc.next(SUBMIT_SM)
        smsc.send(sent)
        smsc.send(pdu(ENQUIRE_LINK, 0, 8))
        assert smsc.next(ANSWER | ENQUIRE_LINK).sequence in (7, 8)
        smsc.send(pdu(ANSWER | SUBMIT_SM, 0, submitted.sequence, b"m1\0"))
        sending.result()
        courier.close()
        assert smsc.links == 1


@pytest.mark.parametrize(
    ("sent", "answer", "status"),
    [
        ("a request of the vendor's", GENERIC_NACK, ESME_RINVCMDID),
        ("a request that no ESME takes", GENERIC_NACK, ESME_RINVCMDID),
        ("a message without a body", ANSWER | DELIVER_SM, ESME_RX_R_APPN),
        ("a message that is not of its coding", ANSWER | DELIVER_SM, ESME_RX_R_APPN),
        ("a receipt with a long id", ANSWER | DELIVER_SM, 0),
        ("a status of the vendor's", ANSWER | ENQUIRE_LINK, 0),
    ],
)
@pytest.mark.usefixtures("courier")
def test_each_request_gets_the_answer_that_the_specification_has(
    smsc: RawSmsc, sent: str, answer: int, status: int
) -> None:
    smsc.send(VENDORS_OWN[sent])
    came = smsc.next(answer)
    assert (came.status, came.sequence) == (status, 7)


@pytest.mark.parametrize("status", [0x0501, 0xFFFF_FFFF, 0x0B])
@pytest.mark.parametrize("command", [ANSWER | SUBMIT_SM, GENERIC_NACK])
def test_a_refusal_fails_its_own_message_alone(status: int, command: int) -> None:
    with raw_smsc(taken=None) as smsc, ThreadPoolExecutor(2) as callers:
        courier = courier_to(smsc)
        sending = [callers.submit(send, courier) for _ in range(2)]
        refused, taken = smsc.next(SUBMIT_SM), smsc.next(SUBMIT_SM)
        smsc.send(pdu(command, status, refused.sequence) + pdu(ANSWER | SUBMIT_SM, 0, taken.sequence, b"m\0"))
        errors = [one.exception() for one in sending]
        courier.close()
        assert sorted(type(one) for one in errors if one is not None) == [DeliveryFailed]
        assert smsc.links == 1


@pytest.mark.parametrize(
    ("coding", "text"),
    [
        (0x00, b"ABC234"),
        (0x01, b"ABC234"),
        (0x03, b"ABC234"),
        (0x08, "ABC234 – да".encode("utf-16-be")),
        (0x10, b"ABC234"),
        (0x18, "ABC234 – да".encode("utf-16-be")),
        (0xC0, b"ABC234"),
        (0xE0, "ABC234".encode("utf-16-be")),
        (0xF0, b"ABC234"),
        (0xF1, b"ABC234"),
        (0xF5, b"ABC234"),
    ],
)
def test_a_message_of_any_coding_is_read(smsc: RawSmsc, courier: SmppCourier, coding: int, text: bytes) -> None:
    """SMPP's codings (5.2.19), and GSM's with a class or a waiting indication (3GPP TS 23.038, 4)."""
    got: queue.Queue[tuple[str, str]] = queue.Queue()
    courier.receive(lambda sender, text: got.put((sender, text)))
    smsc.send(pdu(DELIVER_SM, 0, 9, message(coding, text, small.ACTIVE)))
    assert smsc.next(ANSWER | DELIVER_SM).status == 0
    sender, told = got.get_nowait()
    assert (sender, told[:6]) == (f"+{small.ACTIVE}", "ABC234")


def test_every_coding_is_one_of_smpps_own() -> None:
    assert {plain_coding(coding) for coding in range(256)} == set(range(15))


def test_the_link_is_asked_for_both_ways(smsc: RawSmsc, courier: SmppCourier, monkeypatch: pytest.MonkeyPatch) -> None:
    """4.11: the SMSC is answered, and is itself asked when nothing comes from it."""
    smsc.send(pdu(ENQUIRE_LINK, 0, 5))
    assert smsc.next(ANSWER | ENQUIRE_LINK).sequence == 5
    monkeypatch.setattr("numcheck.delivery.smpp_link.ENQUIRE_LINK_INTERVAL_S", 0.05)
    other = courier_to(smsc_of := RawSmsc())
    smsc_of.next(BIND_TRANSCEIVER)
    for _ in range(3):
        smsc_of.next(ENQUIRE_LINK)
    send(other)
    other.close()
    smsc_of.close()
    assert smsc_of.links == 1
    assert courier.linked
