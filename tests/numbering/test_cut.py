"""R14: a push whose stream is cut changes nothing, wherever it is cut, and the same push works afterwards.

The bytes of a push's HTTP/2 connection are made by hand, so that it can be cut after each of them: between messages,
between frames, and inside of both.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from peer import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, call_headers, frame, message

from numcheck.v1 import numbering_pb2
from tests.conformance.http2 import Peer
from tests.numbering.node import FIRST, Node, start
from tests.numbering.test_pushes import DELTA, SNAPSHOT, digest_of, header, numbers, push, state

METHOD = b"PushActiveNumbers"
HELD = numbers(10)
CANCEL = 8  # RFC 9113 section 7
Request = numbering_pb2.PushActiveNumbersRequest


@pytest.fixture
def node(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    # A fourth of the threads take pushes: enough of them that no cut push is refused for the one before it.
    monkeypatch.setenv("NUMCHECK_API_THREADS", "64")
    node = start(data_dir)
    push(node, SNAPSHOT, Request(add=HELD))
    yield node
    node.kill()


def requests(node: Node, mode: int, push_id: str, base_version: int) -> list[Request]:
    """A push of four messages. Were only some of them taken, the set would not be the one before or after."""
    first = header(node, mode, push_id=push_id, base_version=base_version)
    ends = numbering_pb2.NumberRange(first=FIRST + 30, last=FIRST + 34)
    adds = [Request(header=first, add=HELD[:4]), Request(add=numbers(4, 25)), Request(add_ranges=[ends])]
    return [*adds, Request(add=numbers(25, 30))]


AFTER = numbers(35)


def frames(messages: Sequence[Message], method: bytes = METHOD, **more: bytes) -> list[bytes]:
    """The connection's bytes, frame by frame; the last ends the stream."""
    headers = frame(HEADERS, END_HEADERS, 1, call_headers(b"/numcheck.v1.NumberingService/" + method, **more))
    body = [frame(DATA, 0, 1, message(one.SerializeToString())) for one in messages]
    return [PREFACE, frame(SETTINGS, 0, 0), headers, *body, frame(DATA, END_STREAM, 1)]


def connected(node: Node) -> socket.socket:
    host, port = node.address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def untouched(node: Node) -> None:
    held = state(node)
    assert (held.version, held.number_count, held.digest) == (1, len(HELD), digest_of(HELD))


def cuts(node: Node, whole: bytes) -> Iterator[int]:
    """Send a beginning of the bytes over a connection and close or reset it, for every beginning."""
    for size in range(len(whole)):  # the last byte ends the stream: without it, it has not ended
        with connected(node) as connection:
            connection.sendall(whole[:size])
            if size % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        yield size


@pytest.mark.parametrize("mode", [SNAPSHOT, DELTA], ids=["snapshot", "delta"])
def test_a_push_cut_after_any_byte_changes_nothing_and_then_works(node: Node, mode: int) -> None:
    messages = requests(node, mode, "again", base_version=1)
    for _ in cuts(node, b"".join(frames(messages))):
        untouched(node)
    made = node.numbering.PushActiveNumbers(iter(messages), timeout=30)
    assert (made.version, made.number_count) == (2, len(AFTER))
    assert state(node).digest == digest_of(AFTER)


def portings() -> list[Message]:
    first = numbering_pb2.PortingsHeader(mode=SNAPSHOT, push_id="p", data_time=Timestamp(seconds=1_750_000_000))
    ported = [numbering_pb2.PortedNumbers(operator_id=2, numbers=numbers(place, place + 5)) for place in (0, 5, 10)]
    later = [numbering_pb2.PushPortingsRequest(ported=[one]) for one in ported[1:]]
    return [numbering_pb2.PushPortingsRequest(header=first, ported=ported[:1]), *later]


def plan() -> list[Message]:
    first = numbering_pb2.PlanHeader(calling_code=7, source="cut.csv", series=["9"], force=True)
    rows = [
        numbering_pb2.PlanRow(first=one, last=one + 99, operator_name="ООО Второй", tax_id="7743895280")
        for one in (FIRST, FIRST + 100, FIRST + 200)
    ]
    later = [numbering_pb2.ImportNumberingPlanRequest(rows=[one]) for one in rows[1:]]
    return [numbering_pb2.ImportNumberingPlanRequest(header=first, rows=rows[:1]), *later]


@pytest.mark.parametrize(
    ("method", "messages"), [("PushPortings", portings()), ("ImportNumberingPlan", plan())], ids=["portings", "plan"]
)
def test_portings_and_a_plan_that_are_cut_after_any_byte_change_nothing(
    node: Node, method: str, messages: list[Message]
) -> None:
    """Of three pieces; had any of the cuts been taken for a whole, the next revision would be another."""
    revision = push(node, DELTA, base_version=1).index_version
    for _ in cuts(node, b"".join(frames(messages, method.encode()))):
        pass
    made = getattr(node.numbering, method)(iter(messages), timeout=30)
    assert made.index_version == revision + 1


def test_a_push_cancelled_after_any_frame_changes_nothing(node: Node) -> None:
    whole = frames(requests(node, SNAPSHOT, "again", base_version=0))
    for count in range(3, len(whole)):
        with connected(node) as connection:
            connection.sendall(b"".join(whole[:count]) + frame(RST_STREAM, 0, 1, struct.pack(">I", CANCEL)))
            connection.sendall(frame(6, 0, 0, bytes(8)))  # a PING: its answer says that what came before is read
            received = b""
            while frame(6, 1, 0, bytes(8)) not in received:
                received += connection.recv(65_536)
        untouched(node)


def test_the_same_bytes_are_a_push_when_they_are_not_cut(node: Node) -> None:
    """Else the cuts above would prove nothing."""
    with Peer(node.address, settings_sent=None) as peer:
        peer.send(*frames(requests(node, SNAPSHOT, "whole", base_version=0)))
        assert peer.answer(1).grpc_status == 0
    held = state(node)
    assert (held.version, held.number_count, held.digest) == (2, len(AFTER), digest_of(AFTER))


def test_a_push_whose_deadline_passes_changes_nothing(node: Node) -> None:
    whole = frames(requests(node, SNAPSHOT, "late", base_version=0), grpc_timeout=b"50m")
    with connected(node) as connection:
        connection.sendall(b"".join(whole[:-1]))
        received = b""
        while frame(RST_STREAM, 0, 1)[3:9] not in received and (part := connection.recv(65_536)):
            received += part
        connection.sendall(whole[-1])
    untouched(node)
