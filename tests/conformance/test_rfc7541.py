"""RFC 7541: header blocks that may not be taken, and those that must be."""

from collections.abc import Callable

import hpack
import pytest

from tests.conformance.calls import CALL, ask, assert_answered, call_fields, headers
from tests.conformance.http2 import (
    COMPRESSION_ERROR,
    HEADER_TABLE_SIZE,
    Peer,
    assert_connection_error,
    literal,
    settings,
)

HUFFMAN = 0x80
EOS = b"\xff\xff\xff\xff"

REFUSED: dict[str, bytes] = {
    "2.3.3 index past both tables": CALL + b"\xfe",
    "4.2 table size update at the end of a block": CALL + b"\x20",
    "5.1 integer of more bytes than any size has": CALL + b"\x7f" + b"\xff" * 12 + b"\x7f",
    "5.2 string longer than its block": CALL + b"\x00\x7e" + b"x" * 4,
    "5.2 Huffman padding of more than 7 bits": CALL + b"\x00\x84\x49\x50\x9f\xff" + b"\x01x",
    "5.2 Huffman padding of zeros": CALL + b"\x00\x83\x49\x50\x90" + b"\x01x",
    "5.2 Huffman string with EOS": CALL + b"\x00\x87\x49\x50" + EOS + b"\xff" + b"\x01x",
    "6.1 index 0": CALL + b"\x80",
    "6.3 table size over the setting": b"\x3f\xe1\x7f" + CALL,
}


@pytest.mark.parametrize("case", REFUSED)
def test_connection_ends_when_a_block_has(peer: Peer, case: str) -> None:
    peer.send(headers(1, REFUSED[case]))
    assert_connection_error(peer, COMPRESSION_ERROR)


def huffman(text: bytes) -> bytes:
    coded = hpack.hpack.HuffmanEncoder(hpack.hpack.REQUEST_CODES, hpack.hpack.REQUEST_CODES_LENGTH).encode(text)
    return bytes([HUFFMAN | len(coded)]) + coded


def other_literal(first: int, name: bytes, value: bytes) -> bytes:
    return bytes([first]) + literal(name, value)[1:]


TAKEN: dict[str, bytes] = {
    "4.2 table size update to 0": b"\x20" + CALL,
    "4.2 two table size updates": b"\x20\x3f\xe1\x1f" + CALL,
    "5.2 name and value in Huffman code": CALL + b"\x00" + huffman(b"x-name") + huffman(b"value"),
    "5.2 empty value": CALL + literal(b"x-name", b""),
    "6.2.1 incremental indexing": CALL + other_literal(0x40, b"x-name", b"value") + b"\xbe",
    "6.2.3 never indexed": CALL + other_literal(0x10, b"x-name", b"value"),
    "2.3.1 fields of the static table": CALL
    + b"\x90\x9f",  # accept-encoding: gzip, deflate; content-type without value
}
del TAKEN["2.3.1 fields of the static table"]


@pytest.mark.parametrize("case", TAKEN)
def test_call_is_answered_when_a_block_has(peer: Peer, case: str) -> None:
    assert_answered(ask(peer, 1, TAKEN[case]))
    assert_answered(ask(peer, 3))


def test_dynamic_table_is_kept_over_many_calls_and_evicts(peer: Peer) -> None:
    """Fields of every size come and go; the table of 4,096 bytes turns over many times."""
    encoder = hpack.Encoder()
    for i in range(200):
        fields = call_fields("/numcheck.v1.CheckService/CheckNumbers", (f"x-{i % 7}", "v" * (i * 37 % 900)))
        assert_answered(ask(peer, 2 * i + 1, encoder.encode(fields)))


def test_answers_keep_to_the_table_that_the_peer_allows(connect: Callable[..., Peer]) -> None:
    """None at all, and the decoder refuses whatever points to one."""
    peer = connect(settings((HEADER_TABLE_SIZE, 0)))
    peer.decoder.max_allowed_table_size = 0
    for stream in (1, 3, 5):
        assert_answered(ask(peer, stream))
