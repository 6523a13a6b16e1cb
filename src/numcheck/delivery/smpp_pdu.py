"""PDUs as SMPP 3.4 has them, for a library that reads only some: what it cannot read is made readable, or answered.

Section numbers are those of the SMPP Protocol Specification, version 3.4.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = struct.Struct("!IIII")  # length, command, status, sequence number (3.2)
SIZE_MAX = 70_000  # bytes of a PDU: a payload of 64 KiB, and what stands around it
IS_RESPONSE = 0x8000_0000
GENERIC_NACK = 0x8000_0000
DELIVER_SM = 0x0000_0005
ESME_RINVCMDID = 0x0000_0003
ESME_RX_R_APPN = 0x0000_0066
IS_SPECIAL = 0b0011_1100  # of an esm_class: a receipt or an acknowledgement (5.2.12)
IS_RECEIPT = 0b0000_0100  # of those bits
MESSAGE_STATE = 0x0427  # an optional parameter (5.3.2.35)
RECEIPTED_MESSAGE_ID = 0x001E  # the same (5.3.2.12)
TLV = struct.Struct("!HH")  # tag, length (3.2.4)
OUTCOMES = {2: "delivered", 3: "failed", 4: "failed", 5: "failed", 8: "failed"}
"""Final states of a message (5.2.28): delivered; expired, deleted, undeliverable, rejected."""
STATE_WORDS = {b"DELIVRD": 2, b"EXPIRED": 3, b"DELETED": 4, b"UNDELIV": 5, b"REJECTD": 8}
ID_WORD = re.compile(rb"\bid:[ ]*([^\s\0]{1,255})")
STATE_WORD = re.compile(rb"\bstat:([A-Z]{7})\b")  # in the text of a receipt (appendix B)

CODING_DEFAULT, CODING_OCTETS, CODING_UCS2 = 0, 4, 8
CODING_MAX = 14  # the highest of SMPP's own (5.2.19); above them they are those of GSM, 3GPP TS 23.038, 4


@dataclass(frozen=True, slots=True)
class Delivered:
    """Of a deliver_sm: what kind of message it is, and where in its PDU the data coding stands."""

    esm_class: int
    coding_at: int

    @staticmethod
    def of(pdu: bytes) -> "Delivered":
        """Of such a PDU; ValueError or IndexError if it is none."""
        place = _after_text(pdu, HEADER.size)  # service_type
        for _ in range(2):  # source and destination: type of number, plan, address
            place = _after_text(pdu, place + 2)
        esm_class = pdu[place]
        place = _after_text(pdu, _after_text(pdu, place + 3))  # protocol_id, priority; schedule, validity
        return Delivered(esm_class, place + 2)  # behind registered_delivery and replace_if_present

    @property
    def is_special(self) -> bool:
        """True if it is a receipt or an acknowledgement, and no message."""
        return bool(self.esm_class & IS_SPECIAL)

    @property
    def is_receipt(self) -> bool:
        """True if it is an SMSC's delivery receipt."""
        return self.esm_class & IS_SPECIAL == IS_RECEIPT

    def smsc_ids(self, pdu: bytes) -> list[str]:
        """Return the ids that a receipt gives its message: in its parameters, and in its text."""
        text, parameters = self._behind_coding(pdu)
        given = [value for tag, value in parameters if tag == RECEIPTED_MESSAGE_ID]
        word = ID_WORD.search(text)
        return [_text(one) for one in [*given, *([word[1]] if word else [])]]

    def _behind_coding(self, pdu: bytes) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
        """Return the text of a short message, and the optional parameters behind it."""
        text_at = self.coding_at + 3
        text_end = text_at + pdu[self.coding_at + 2]
        return pdu[text_at:text_end], _parameters(pdu, text_end)

    def outcome(self, pdu: bytes) -> str | None:
        """Return what a receipt says became of its message: "delivered", "failed", or None if that is still open."""
        text, parameters = self._behind_coding(pdu)
        states = [value[0] for tag, value in parameters if tag == MESSAGE_STATE and value]
        word = STATE_WORD.search(text)
        if not states and word:
            states = [STATE_WORDS.get(word[1], 0)]
        return OUTCOMES.get(states[0]) if states else None


def size_of(header: bytes) -> int:
    """Return the size of the PDU that begins so; ValueError if that cannot be."""
    size, *_ = HEADER.unpack(header)
    if not HEADER.size <= size <= SIZE_MAX:
        raise ValueError("the SMSC sent a PDU whose size cannot be")
    return int(size)


def answer(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """Return a PDU that answers another."""
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def plain_coding(coding: int) -> int:
    """Return a data coding as one of SMPP's own: GSM's classes and waiting indications tell nothing of how a text is
    read."""
    group, alphabet = coding >> 4, coding >> 2 & 0b11
    if coding <= CODING_MAX:
        return coding
    if group < 0x8:  # general, and marked for deletion
        return (CODING_DEFAULT, CODING_OCTETS, CODING_UCS2, CODING_DEFAULT)[alphabet]
    if group == 0xE:  # a message waits, in UCS-2
        return CODING_UCS2
    if group == 0xF and coding & 0b100:  # with a class, of octets
        return CODING_OCTETS
    return CODING_DEFAULT


def with_coding(pdu: bytes, coding_at: int) -> bytes:
    """Return the deliver_sm with its data coding as one of SMPP's own."""
    return pdu[:coding_at] + bytes([plain_coding(pdu[coding_at])]) + pdu[coding_at + 1 :]


def without_body(pdu: bytes) -> bytes:
    """Return the answer with an empty text for its body, for the library, which needs neither an SMSC's name nor the id
    of a message.

    They may be missing, as in a refusal (4.1.2, 4.4.2), longer than they should be, or not ASCII.
    """
    _, command, status, sequence = HEADER.unpack_from(pdu)
    return answer(command, status, sequence, b"\0")


def id_of_taken(pdu: bytes) -> str:
    """Return the id of a message that a submit_sm_resp has, of any form; empty if there is none."""
    return _text(pdu[HEADER.size :])


def _text(octets: bytes) -> str:
    """Return a C-octet string as text, each octet a letter (Latin 1): an id is only compared."""
    return octets.partition(b"\0")[0].decode("latin-1").strip()


def _parameters(pdu: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Yield the optional parameters behind a short message, by tag; one that is cut ends them."""
    while place + TLV.size <= len(pdu):
        tag, size = TLV.unpack_from(pdu, place)
        yield tag, pdu[place + TLV.size : place + TLV.size + size]
        place += TLV.size + size


def _after_text(pdu: bytes, place: int) -> int:
    return pdu.index(b"\0", place) + 1
