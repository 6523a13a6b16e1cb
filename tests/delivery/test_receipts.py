"""Delivery receipts, read from bytes that are built here by SMPP 3.4: section 5.3.2.35 and appendix B."""

import struct

import pytest

from numcheck.delivery.smpp_pdu import HEADER, Delivered

NUMBER = b"79160000001"


def receipt(text: bytes = b"", parameters: bytes = b"", esm_class: int = 4) -> bytes:
    addresses = b"\1\1" + NUMBER + b"\0" + b"\5\0numcheck\0"
    body = b"\0" + addresses + bytes([esm_class, 0, 0]) + b"\0\0" + bytes([0, 0, 0, 0, len(text)]) + text + parameters
    return HEADER.pack(HEADER.size + len(body), 5, 0, 7) + body


def state(value: int) -> bytes:
    return struct.pack("!HHB", 0x0427, 1, value)


@pytest.mark.parametrize(
    ("pdu", "outcome"),
    [
        (receipt(b"id:7 sub:001 dlvrd:001 stat:DELIVRD err:000 text:x"), "delivered"),
        (receipt(b"id:7 stat:UNDELIV err:5"), "failed"),
        (receipt(b"id:7 stat:EXPIRED"), "failed"),
        (receipt(b"id:7 stat:REJECTD"), "failed"),
        (receipt(b"id:7 stat:ENROUTE"), None),
        (receipt(b"id:7 stat:ACCEPTD"), None),
        (receipt(b"id:7 stat:SOMETHING"), None),
        (receipt(b"no state at all"), None),
        (receipt(parameters=state(2)), "delivered"),
        (receipt(parameters=b"\0\x1e\0\x02m\0" + state(5)), "failed"),
        (receipt(b"stat:UNDELIV", state(2)), "delivered"),
        (receipt(parameters=state(1)), None),
        (receipt(parameters=state(2)[:-1]), None),
        (receipt(parameters=b"\x04\x27\xff\xff"), None),
        (receipt(), None),
    ],
)
def test_the_outcome_of_a_receipt_is_its_parameters_or_its_texts(pdu: bytes, outcome: str | None) -> None:
    found = Delivered.of(pdu)
    assert found.is_receipt
    assert found.outcome(pdu) == outcome


@pytest.mark.parametrize(
    ("pdu", "ids"),
    [
        (receipt(b"id:7 sub:001"), ["7"]),
        (receipt(b"id: 0A-b  stat:DELIVRD"), ["0A-b"]),
        (receipt(b"id:7", b"\0\x1e\0\x03m8\0"), ["m8", "7"]),
        (receipt(b"id:" + b"9" * 200), ["9" * 200]),
        (receipt(b"id:\xff\xfe stat:DELIVRD"), ["ÿþ"]),
        (receipt(b"id:"), []),
        (receipt(b"rapid:7"), []),
        (receipt(parameters=b"\0\x1e\xff\xffm8"), ["m8"]),
        (receipt(), []),
    ],
)
def test_a_receipt_names_its_message_in_its_parameters_or_its_text(pdu: bytes, ids: list[str]) -> None:
    assert Delivered.of(pdu).smsc_ids(pdu) == ids


@pytest.mark.parametrize(("esm_class", "special"), [(0, False), (8, True), (16, True), (0x20, True), (0x40, False)])
def test_other_kinds_of_messages_are_no_receipts(esm_class: int, special: bool) -> None:
    found = Delivered.of(receipt(esm_class=esm_class))
    assert not found.is_receipt
    assert found.is_special is special
