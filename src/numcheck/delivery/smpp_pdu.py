"""PDUs as SMPP 3.4 has them, for a library that reads only some: what it cannot read is made readable, or answered.

Section numbers are those of the SMPP Protocol Specification, version 3.4.
"""

import struct
from dataclasses import dataclass

HEADER = struct.Struct("!IIII")  # length, command, status, sequence number (3.2)
SIZE_MAX = 70_000  # bytes of a PDU: a payload of 64 KiB, and what stands around it
IS_RESPONSE = 0x8000_0000
GENERIC_NACK = 0x8000_0000
DELIVER_SM = 0x0000_0005
ESME_RINVCMDID = 0x0000_0003
ESME_RX_R_APPN = 0x0000_0066
IS_SPECIAL = 0b0011_1100  # of an esm_class: a receipt or an acknowledgement (5.2.12)

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
    """Return the answer with an empty text for its body: an SMSC's name, or the id of a message, are of no use here.

    They may be missing, as in a refusal (4.1.2, 4.4.2), longer than they should be, or not ASCII.
    """
    _, command, status, sequence = HEADER.unpack_from(pdu)
    return answer(command, status, sequence, b"\0")


def _after_text(pdu: bytes, place: int) -> int:
    return pdu.index(b"\0", place) + 1
