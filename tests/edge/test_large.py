"""Large requests of CheckNumbers: they wait in lines of their callers, and are refused before their bodies come.

Not by time: the work that the requests of one moment make is that of many turns of the loop, on any machine.
"""

import base64
import gzip
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from google.rpc import error_details_pb2, status_pb2

from numcheck.access import Caller, Role
from numcheck.api.access import LoopbackAccess, Shown
from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.index import Index, PublishedIndex
from tests.conformance.calls import CHECK_NUMBERS, call_fields, data, headers, message, numbers
from tests.conformance.http2 import (
    INITIAL_WINDOW_SIZE,
    WINDOW_SIZE_DEFAULT,
    WINDOW_SIZE_MAX,
    Answer,
    Peer,
    block,
    rst_stream,
    settings,
    window_update,
)

pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))

OK, CANCELLED, RESOURCE_EXHAUSTED = 0, 1, 8
NUMBER = 79_161_234_567
SMALL, LARGE = [NUMBER] * 500, [NUMBER] * 10_000
HEAVY = message(gzip.compress(numbers(*[NUMBER] * 65_536)[5:]), compressed=1)
HEAVY_COUNT = 48  # their bytes are one read of the loop, their work many turns of it
ANNOUNCED = message(bytes(2**20))[:5]
ANNOUNCED_COUNT = 60  # far more than are answered within the target, at the pace of those above
TIGHT, USUAL = 4_096, 262_144  # windows, of _edge.pxd
UNUSED = 2**31 - 1  # a stream


class EachTheirOwn(LoopbackAccess):
    """Admits everybody, each under the token that they show."""

    def admit(self, shown: Shown, _method: str) -> Caller:
        return Caller(str(shown.authorizations), Role.ADMINISTRATOR)


class Sender:
    """A caller on one connection."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer, self._streams = peer, itertools.count(1, 2)
        self._announced: list[int] = []
        fields = call_fields(CHECK_NUMBERS, ("authorization", f"Bearer {name}"))
        self.call, self.compressed = block(fields), block([*fields, ("grpc-encoding", "gzip")])
        peer.send(window_update(0, WINDOW_SIZE_MAX - WINDOW_SIZE_DEFAULT))

    def send_heavy(self) -> list[int]:
        """Send calls of which most have to wait, and return their streams."""
        streams = self._next(HEAVY_COUNT)
        self.peer.send(*(headers(one, self.compressed) + data(one, HEAVY) for one in streams))
        return streams

    def fill(self) -> Answer:
        """Announce requests that never come until one is refused, and return its status.

        Once more if the machine has stalled for so long that the pace was forgotten.
        """
        while True:
            self.statuses(self.send_heavy())
            self._announced = streams = self._next(ANNOUNCED_COUNT)
            self.peer.send(*(headers(one, self.call) + data(one, ANNOUNCED, flags=0) for one in streams))
            self.peer.settle()
            if refused := [one for one in streams if one in self.peer.fields]:
                return Answer(dict(self.peer.fields[refused[0]][0]), b"", {}, None)
            self.take_back()

    def statuses(self, streams: list[int]) -> list[int]:
        """Wait until all of these calls have ended, in whatever order, and return their statuses."""
        left = set(streams)
        while left:
            ended = self.peer.until(lambda one: one.ends_stream)[-1]
            left.discard(ended.stream)
        return [int(dict(self.peer.fields[one][-1])["grpc-status"]) for one in streams]

    def take_back(self) -> None:
        """Reset what was announced last."""
        self.peer.send(*(rst_stream(one) for one in self._announced))

    def ask(self, asked: list[int]) -> int:
        """Call, as fast as the windows allow, and return the status."""
        (stream,) = self._next(1)
        self.peer.send(headers(stream, self.call))
        self.peer.send_data(stream, numbers(*asked))
        return self.peer.answer(stream).grpc_status

    def _next(self, count: int) -> list[int]:
        return [*itertools.islice(self._streams, count)]


@pytest.fixture
def door(index: Index, settings: Settings) -> Iterator[NativeDoor]:
    """A door with one loop."""
    published = PublishedIndex()
    listener = NativeDoor(settings.model_copy(update={"threads": 1}), published, EachTheirOwn())
    published.publish(index)
    yield listener
    listener.stop(1)


@pytest.fixture
def sender(door: NativeDoor) -> Iterator[Callable[[str], Sender]]:
    """Makes a caller of some name."""
    with ExitStack() as peers:
        wide = settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX))
        yield lambda name: Sender(peers.enter_context(Peer(door.address, wide)), name)


def test_refusal_says_why_and_when_to_ask_again(sender: Callable[[str], Sender]) -> None:
    refused = sender("one").fill()
    assert refused.grpc_status == RESOURCE_EXHAUSTED
    details = refused.headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert any(detail.Unpack(retry) for detail in status.details)
    assert info.reason == "TOO_MANY_CALLS"
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0


def test_full_line_refuses_neither_small_requests_nor_those_of_others(sender: Callable[[str], Sender]) -> None:
    """The requests that fill it are open all the while."""
    one, other = sender("one"), sender("other")
    one.fill()
    assert one.ask(SMALL) == OK
    assert other.ask(LARGE) == OK


def test_caller_that_was_refused_sends_little_until_it_is_admitted(sender: Callable[[str], Sender]) -> None:
    """And as much as ever once nothing was refused for a while."""
    one = sender("one")
    one.fill()
    assert one.peer.window(UNUSED) == TIGHT
    one.take_back()
    assert one.ask(LARGE) == OK
    while one.peer.window(UNUSED) != USUAL:
        assert one.peer.next() is not None
    assert one.ask(LARGE) == OK


def test_requests_that_wait_and_are_taken_back_are_not_answered(
    door: NativeDoor, sender: Callable[[str], Sender]
) -> None:
    """By resets, or with their connection; those that remain are answered."""
    one, gone = sender("one"), sender("one")
    streams = one.send_heavy()
    one.peer.send(*(rst_stream(stream) for stream in streams[::2]))
    gone.send_heavy()
    gone.peer.reset()
    assert set(one.statuses(streams[1::2])) == {OK}
    assert one.ask(LARGE) == OK
    (counters,) = door.counters()
    assert counters.calls[CHECK_NUMBERS, CANCELLED] > 0
