"""Methods that Python answers behind the native door: each kind of stream, what bounds it, and how it ends."""

import gzip
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.api.calls import Feed
from numcheck.api.slots import Slots
from numcheck.config import Settings
from numcheck.deadline import Deadline
from numcheck.door import native_door
from numcheck.door.feeds import Feeds
from numcheck.door.native_door import LACKING, NativeDoor, Served
from numcheck.door.pool import KEPT_THREADS, QUICK_THREADS
from numcheck.door.watches import Watches
from numcheck.errors import MalformedMessage, StoreUnavailable, UnknownRegistration
from numcheck.index import PublishedIndex
from numcheck.serving.services import check_service
from numcheck.steps import Alone, Steps, Together
from numcheck.v1 import numbering_pb2, registration_pb2
from tests.edge.peer import (
    CHECK_NUMBERS,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Peer,
    call_headers,
    frame,
    message,
)

if TYPE_CHECKING:
    from numcheck._edge import Call, CallQueue

pytestmark = pytest.mark.skipif(LACKING is not None, reason=LACKING or "")

REGISTRATION = f"/{registration_pb2.DESCRIPTOR.services_by_name['RegistrationService'].full_name}/"
NUMBERING = f"/{numbering_pb2.DESCRIPTOR.services_by_name['NumberingService'].full_name}/"
LOOKUP, QUICK, GROUPED, FEED = (
    f"{REGISTRATION}{name}" for name in ("GetRegistration", "ListRegistrations", "Register", "WatchRegistrations")
)
KEPT = "/numcheck.v1.CallerService/AddCaller"
WAITING, PUSH = f"{NUMBERING}ConfirmPush", f"{NUMBERING}PushActiveNumbers"
TIMEOUT_S = 60.0
MESSAGE_SIZE = 2**19
THREADS = QUICK_THREADS + KEPT_THREADS + 16 + 1  # those that wait, as many as api_threads, and the writer


class Made:
    """A service of a name that is declared, of functions that a test makes."""

    def __init__(self, name: str, methods: dict[str, Callable[..., Any]]) -> None:
        self.name, self._methods = name, methods

    def methods(self) -> dict[str, Callable[..., Any]]:
        return self._methods


class Doors:
    """A native door over made services, and a channel to it."""

    def __init__(self, listener: NativeDoor, feeds: Feeds, channel: grpc.Channel) -> None:
        self.listener, self.feeds, self.channel = listener, feeds, channel

    def unary(self, path: str, request: bytes = b"", **more: Any) -> bytes:
        answer: bytes = self.channel.unary_unary(path)(request, timeout=more.pop("timeout", TIMEOUT_S), **more)
        return answer


@contextmanager
def serving(directory: Path, methods: dict[str, Callable[..., Any]], **changes: Any) -> Iterator[Doors]:
    """Serve these functions, by path."""
    stalled_after_s = changes.pop("stalled_after_s", TIMEOUT_S)
    defaults = {"data_dir": directory, "listen": "127.0.0.1:0", "threads": 1, "drain_timeout_s": 2}
    settings = Settings(**defaults | changes)
    names = sorted({path.split("/")[1] for path in methods})
    published = PublishedIndex()
    services = [check_service(published, settings)] + [
        Made(name, {path.split("/")[2]: answer for path, answer in methods.items() if path.split("/")[1] == name})
        for name in names
    ]
    feeds, watches = Feeds(), Watches()
    served = Served(services, watches, feeds)
    listener = NativeDoor(settings, published, None, served, stalled_after_s=stalled_after_s)
    try:
        with grpc.insecure_channel(listener.address, [("grpc.max_receive_message_length", -1)]) as channel:
            yield Doors(listener, feeds, channel)
    finally:
        listener.stop(2)
        watches.close()
        feeds.close()


def test_each_of_many_calls_at_once_gets_its_own_answer(tmp_path: Path) -> None:
    with (
        serving(
            tmp_path, {QUICK: lambda request, _call: request[::-1], WAITING: lambda request, _call: request}
        ) as door,
        ThreadPoolExecutor(16) as threads,
    ):
        sent = [b"%d of many" % i for i in range(800)]
        assert list(threads.map(lambda one: door.unary(QUICK, one), sent)) == [one[::-1] for one in sent]
        assert list(threads.map(lambda one: door.unary(WAITING, one), sent[:200])) == sent[:200]


def test_call_that_waits_does_not_hold_up_the_quick_ones(tmp_path: Path) -> None:
    free = threading.Event()
    with serving(
        tmp_path, {QUICK: lambda _request, _call: b"quick", WAITING: lambda *_: free.wait() and b"done"}
    ) as door:
        waiting = [door.channel.unary_unary(WAITING).future(b"", timeout=TIMEOUT_S) for _ in range(20)]
        assert door.unary(QUICK) == b"quick"
        free.set()
        assert {one.result() for one in waiting} == {b"done"}


class Shared:
    """A step that calls take together; the first group is held until the others have come."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.free, self.begun = threading.Event(), threading.Event()

    def run(self, arguments: Sequence[bytes]) -> Sequence[bytes | Exception]:
        self.groups.append(list(arguments))
        self.begun.set()
        self.free.wait(TIMEOUT_S)
        if b"away" in arguments:
            raise StoreUnavailable("the database does not answer")
        return [UnknownRegistration("none") if one == b"refused" else one[::-1] for one in arguments]

    def method(self, request: bytes, _call: object) -> Steps[bytes]:
        if request == b"malformed":
            raise MalformedMessage("that is none")
        answer: bytes = yield Together(self.run, request)
        if request == b"slow":
            answer = yield Alone(lambda: answer + b"!")
        if request == b"broken":
            raise ZeroDivisionError
        return answer

    def asked(self, door: Doors, requests: Sequence[bytes]) -> list[bytes | str]:
        """Return each answer, or the status of the refusal: the first call alone, then all the others at once."""
        calls = []
        for request in requests:
            calls.append(door.channel.unary_unary(GROUPED).future(request, timeout=TIMEOUT_S))
            assert self.begun.wait(TIMEOUT_S)
        while len(door.listener._pool._writer._new) < len(requests) - 1:
            threading.Event().wait(0.001)
        self.free.set()
        return [one.result() if one.exception() is None else one.exception().code().name for one in calls]


def test_calls_that_wait_are_run_as_one_group_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    shared = Shared()
    with serving(tmp_path, {GROUPED: shared.method}) as door:
        others = [b"%d" % i for i in range(10, 36)]  # with the others, as many as a connection may have
        odd = [b"refused", b"malformed", b"broken", b"slow"]
        first, *answers = shared.asked(door, [b"first", *odd, *others])
    assert first == b"tsrif"
    assert answers == ["NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL", b"wols!", *(one[::-1] for one in others)]
    assert list(map(sorted, shared.groups)) == [[b"first"], sorted([b"refused", b"broken", b"slow", *others])]


def test_step_that_fails_for_a_group_fails_for_each_and_for_nobody_after(tmp_path: Path) -> None:
    shared = Shared()
    with serving(tmp_path, {GROUPED: shared.method}) as door:
        assert shared.asked(door, [b"ab", b"away", b"cd"]) == [b"ba", "UNAVAILABLE", "UNAVAILABLE"]
        assert door.unary(GROUPED, b"ef") == b"fe"


def test_call_of_a_group_that_waits_for_somebody_holds_up_nobody(tmp_path: Path) -> None:
    free = threading.Event()

    def ask(request: bytes, _call: object) -> Steps[bytes]:
        if request == b"slow":
            return (yield Alone(lambda: free.wait(TIMEOUT_S) and b"told"))
        return request
        yield  # which makes it a generator

    with serving(tmp_path, {GROUPED: ask}) as door:
        waiting = door.channel.unary_unary(GROUPED).future(b"slow", timeout=TIMEOUT_S)
        assert [door.unary(GROUPED, b"quick") for _ in range(20)] == [b"quick"] * 20
        assert not waiting.done()
        free.set()
        assert waiting.result() == b"told"


def test_each_of_many_lookups_gets_its_own_answer(tmp_path: Path) -> None:
    shared = Shared()
    with serving(tmp_path, {LOOKUP: shared.method}) as door:
        calls = [door.channel.unary_unary(LOOKUP).future(b"%d" % i, timeout=TIMEOUT_S) for i in range(64)]
        assert shared.begun.wait(TIMEOUT_S)
        shared.free.set()
        assert [one.result() for one in calls] == [(b"%d" % i)[::-1] for i in range(64)]
    assert sorted(one for group in shared.groups for one in group) == sorted(b"%d" % i for i in range(64))


def test_call_that_is_one_too_many_is_told_when_to_come_again(tmp_path: Path) -> None:
    free, begun = threading.Event(), threading.Semaphore(0)

    def wait(_request: bytes, _call: object) -> bytes:
        begun.release()
        free.wait(TIMEOUT_S)
        return b""

    with serving(tmp_path, {WAITING: wait}, concurrent_rpcs_max=2) as door:
        waiting = []
        for _ in range(2):
            waiting.append(door.channel.unary_unary(WAITING).future(b"", timeout=TIMEOUT_S))
            assert begun.acquire(timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError) as refused:
            door.unary(WAITING)
        free.set()
        for one in waiting:
            one.result()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = rpc_status.from_call(refused.value).details
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        assert details[0].Unpack(info)
        assert info.reason == "TOO_MANY_CALLS"
        assert details[1].Unpack(retry)
        assert door.unary(WAITING) == b""  # and then there is room again


def test_calls_that_wait_leave_the_quick_ones_their_places(tmp_path: Path) -> None:
    """All places of one lane are taken: those of another, and of services that are kept apart, are free."""
    free, begun = threading.Event(), threading.Semaphore(0)

    def wait(_request: bytes, _call: object) -> bytes:
        begun.release()
        free.wait(TIMEOUT_S)
        return b""

    answers = {WAITING: wait, QUICK: lambda *_: b"quick", KEPT: lambda *_: b"kept"}
    with serving(tmp_path, answers, concurrent_rpcs_max=2) as door:
        waiting = []
        for _ in range(2):
            waiting.append(door.channel.unary_unary(WAITING).future(b"", timeout=TIMEOUT_S))
            assert begun.acquire(timeout=TIMEOUT_S)
        assert [door.unary(path) for path in (QUICK, KEPT)] == [b"quick", b"kept"]
        assert_refused_and_read_on(door)
        free.set()
        assert [one.result() for one in waiting] == [b"", b""]


def assert_refused_and_read_on(door: Doors) -> None:
    """A connection whose calls are refused rests, and is read again, whatever it sends; others may end as they rest."""
    peers = [Peer(door.listener.address) for _ in range(8)]
    for peer in peers:
        peer.send(cut(1, WAITING, 3))
        peer.until(HEADERS, stream=1)
        peer.close()
    for together in (1, 1, 1, 100, 1):
        calls = [door.channel.unary_unary(WAITING).future(b"", timeout=TIMEOUT_S) for _ in range(together)]
        assert {one.code() for one in calls} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert door.unary(QUICK) == b"quick"


def test_call_that_is_not_begun_in_seconds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the loop, though no thread of Python's ever takes it."""
    monkeypatch.setattr(native_door, "Pool", Untaken)
    monkeypatch.setattr(native_door, "WAITING_MAX_S", 0.2)
    with serving(tmp_path, {QUICK: lambda *_: b""}) as door:
        with pytest.raises(grpc.RpcError) as refused:
            door.unary(QUICK)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert Untaken.queues[0].take() == []  # nobody waits for it


def test_what_fails_says_nothing_of_itself(tmp_path: Path) -> None:
    def fail(_request: bytes, _call: object) -> bytes:
        raise ValueError("+79161234567")

    with serving(tmp_path, {QUICK: fail}) as door, pytest.raises(grpc.RpcError) as failed:
        door.unary(QUICK)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.INTERNAL, "an error on the server's side")


def test_method_is_told_when_its_caller_waits_no_more(tmp_path: Path) -> None:
    told: Queue[float] = Queue()

    def wait(_request: bytes, call: Any) -> bytes:
        told.put(call.time_remaining())
        while call.is_active():
            threading.Event().wait(0.01)
        told.put(-1)
        return b""

    with serving(tmp_path, {WAITING: wait}) as door:
        call = door.channel.unary_unary(WAITING).future(b"", timeout=TIMEOUT_S)
        assert 0 < told.get(timeout=TIMEOUT_S) < 2 * TIMEOUT_S  # grpcio rounds up
        call.cancel()
        assert told.get(timeout=TIMEOUT_S) == -1


def test_call_that_is_not_answered_in_time_is_ended_by_the_server(tmp_path: Path) -> None:
    free = threading.Event()
    with serving(tmp_path, {WAITING: lambda *_: free.wait(TIMEOUT_S) and b""}) as door:
        peer = Peer(door.listener.address)
        peer.send(frame(HEADERS, END_HEADERS, 1, call_headers(WAITING.encode(), grpc_timeout=b"200m")))
        peer.send(frame(DATA, END_STREAM, 1, message(b"")))
        assert peer.until(HEADERS, stream=1)[-1][1] & END_STREAM
        free.set()


def test_call_that_had_to_wait_for_its_turn_is_answered(tmp_path: Path) -> None:
    """All that a connection may do in a turn is done for a message that is large when it is opened."""
    with serving(tmp_path, {QUICK: lambda request, _call: request}) as door:
        peer = Peer(door.listener.address)
        large = message(gzip.compress(bytes(2**19)), compressed=1)
        peer.send(
            frame(HEADERS, END_HEADERS, 1, call_headers(CHECK_NUMBERS, grpc_encoding=b"gzip"))
            + frame(DATA, END_STREAM, 1, large)
            + frame(HEADERS, END_HEADERS, 3, call_headers(QUICK.encode()))
            + frame(DATA, END_STREAM, 3, message(b"question"))
        )
        assert peer.until(DATA, stream=3)[-1][3] == message(b"question")


def test_requests_of_a_stream_come_whole_and_in_order_and_their_end_behind_them(tmp_path: Path) -> None:
    def join(requests: Iterator[bytes], _call: object) -> bytes:
        return b" ".join(requests)

    with serving(tmp_path, {PUSH: join}) as door:
        push = door.channel.stream_unary(PUSH)
        sent = [b"%d" % i for i in range(3_000)]
        assert push(iter(sent), timeout=TIMEOUT_S) == b" ".join(sent)
        assert push(iter([]), timeout=TIMEOUT_S) == b""


def test_requests_that_are_not_taken_stay_with_their_sender(tmp_path: Path) -> None:
    """A stream of 64 MiB costs the node no more than two messages while its method does not read."""
    begin, sizes = threading.Event(), []

    def count(requests: Iterator[bytes], _call: object) -> bytes:
        assert begin.wait(TIMEOUT_S)
        return b"%d" % sum(len(one) for one in requests)

    with serving(tmp_path, {PUSH: count, QUICK: lambda *_: b""}) as door:
        push = door.channel.stream_unary(PUSH).future(iter([bytes(MESSAGE_SIZE)] * 128), timeout=TIMEOUT_S)
        while len(sizes) < 100:  # calls beside it, from when more has come than the method was given
            door.unary(QUICK)
            sizes += [size for size in [door.listener.held_size] if sizes or size > MESSAGE_SIZE]
        begin.set()
        assert push.result() == b"%d" % (128 * MESSAGE_SIZE)
    assert max(sizes) < 6 * MESSAGE_SIZE


def test_stream_that_is_cut_never_ends_well(tmp_path: Path) -> None:
    outcome: Queue[str] = Queue()
    taken = threading.Event()

    def push(requests: Iterator[bytes], _call: object) -> bytes:
        try:
            for _ in requests:
                taken.set()
        except BaseException as error:
            outcome.put(type(error).__name__)
            raise
        outcome.put("whole")
        return b""

    def requests() -> Iterator[bytes]:
        yield b"one"
        threading.Event().wait(TIMEOUT_S)

    with serving(tmp_path, {PUSH: push}) as door:
        call = door.channel.stream_unary(PUSH).future(requests(), timeout=TIMEOUT_S)
        assert taken.wait(TIMEOUT_S)
        call.cancel()
        assert outcome.get(timeout=TIMEOUT_S) == "CallerGone"


def test_stream_of_which_nothing_more_comes_is_ended(tmp_path: Path) -> None:
    outcome: Queue[str] = Queue()

    def push(requests: Iterator[bytes], _call: object) -> bytes:
        try:
            return b"".join(requests)
        except Exception as error:
            outcome.put(type(error).__name__)
            raise

    with serving(tmp_path, {PUSH: push}, stalled_after_s=0.3) as door:
        peer = Peer(door.listener.address)
        peer.send(frame(HEADERS, END_HEADERS, 1, call_headers(PUSH.encode())) + frame(DATA, 0, 1, message(b"one")))
        assert peer.until(HEADERS, stream=1)
        assert outcome.get(timeout=TIMEOUT_S) == "CallerGone"


def pieces(count: int, size: int) -> Iterator[list[bytes]]:
    for i in range(count):
        yield [b"%d" % i + bytes(size)] * 2


def test_feed_is_given_whole_and_in_order_at_its_callers_pace(tmp_path: Path) -> None:
    with serving(tmp_path, {FEED: lambda _request, _call: Feed("chat", pieces(200, 50_000), ())}) as door:
        found = [one.rstrip(b"\0") for one in door.channel.unary_stream(FEED)(b"", timeout=TIMEOUT_S)]
        assert found == [b"%d" % (i // 2) for i in range(400)]


def is_refused(stream: Any) -> bool:
    """Return True if there was no place for the stream."""
    try:
        return not next(stream)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_feed_whose_caller_takes_nothing_is_ended_and_gives_its_place_back(tmp_path: Path) -> None:
    places = Slots(1, 1)
    with serving(
        tmp_path, {FEED: lambda _request, _call: Feed("chat", pieces(10_000, 50_000), (places,))}, stalled_after_s=0.3
    ) as door:
        peer = Peer(door.listener.address)
        peer.send(frame(HEADERS, END_HEADERS, 1, call_headers(FEED.encode())))
        peer.send(frame(DATA, END_STREAM, 1, message(b"")))
        assert peer.until(RST_STREAM, stream=1)
        assert door.listener.held_size < 2 * 2**20
        while is_refused(door.channel.unary_stream(FEED)(b"", timeout=TIMEOUT_S)):
            pass  # the place is free once the feed has heard of its end


def test_feed_is_woken_by_what_is_told_and_ends_when_the_node_does(tmp_path: Path) -> None:
    news: Queue[bytes] = Queue()

    def told() -> Iterator[list[bytes]]:
        while True:
            yield [] if news.empty() else [news.get()]

    with serving(tmp_path, {FEED: lambda _request, _call: Feed("chat", told(), ())}) as door:
        stream = door.channel.unary_stream(FEED)(b"", timeout=TIMEOUT_S)
        for one in (b"first", b"second"):
            news.put(one)
            door.feeds.notify(["chat"])
            assert next(stream) == one
        stopping = threading.Thread(target=door.listener.stop, args=(10,))
        stopping.start()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        stopping.join(TIMEOUT_S)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


# --- what is left of calls


def answering(request: bytes, _call: object) -> Steps[bytes]:
    if request == b"alone":
        return (yield Alone(lambda: b"told"))
    return request
    yield  # which makes it a generator


EVERY_KIND: dict[str, Callable[..., Any]] = {
    QUICK: lambda request, _call: request,
    WAITING: lambda request, _call: request,
    LOOKUP: answering,
    GROUPED: answering,
    PUSH: lambda requests, _call: b"".join(requests),
    FEED: lambda _request, _call: Feed("chat", pieces(3, 10), ()),
    KEPT: lambda *_: b"",
}


def cut(stream: int, path: str, ending: int) -> bytes:
    """A call that is reset at once, or in its message, or has its time pass; or is answered."""
    begin = frame(HEADERS, END_HEADERS, stream, call_headers(path.encode(), grpc_timeout=b"1m" if ending == 2 else b""))
    whole, part = frame(DATA, END_STREAM, stream, message(b"alone")), frame(DATA, 0, stream, message(b"alone")[:7])
    reset = frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
    return begin + (whole + reset, part + reset, whole, whole)[ending]


def test_nothing_is_left_of_calls_however_they_end(tmp_path: Path) -> None:
    """Of each kind, in each way, over connections that are cut themselves with calls under way; also when Python is
    full. Both sides let go of them, but that a thread remembers the one it served last."""
    with serving(tmp_path, EVERY_KIND, concurrent_rpcs_max=8) as door:
        for turn in range(40):
            peer = Peer(door.listener.address)
            streams = range(1, 2 * 28, 2)
            paths = [*EVERY_KIND] * 4
            calls = zip(streams, paths, strict=True)
            peer.send(b"".join(cut(stream, path, (turn + stream // 14) % 4) for stream, path in calls))
            if turn % 2:
                peer.frames(0.02)
            peer.close()
        while door.listener._queue.call_count > THREADS:
            threading.Event().wait(0.01)


# --- the queue, with nobody but the test to take from it


class Untaken:
    """In the place of a Pool: calls stay in their queue until the test takes them."""

    queues: ClassVar[list["CallQueue"]] = []

    def __init__(self, queue: "CallQueue", *_: Any, **__: Any) -> None:
        self.queues.append(queue)

    def stop(self, _deadline: Deadline) -> None:
        self.queues.pop().close()


def test_farewell_of_a_call_that_python_has_dropped_finds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller goes away; before Python hears of it, it sees that nobody waits and drops the call."""
    monkeypatch.setattr(native_door, "Pool", Untaken)
    with serving(tmp_path, {PUSH: lambda *_: b""}) as door:
        (queue,) = Untaken.queues
        for _ in range(200):
            sent = door.channel.stream_unary(PUSH).future(iter([b"first"]), timeout=TIMEOUT_S)
            calls: list[Call] = []
            while not calls:  # a farewell alone brings none
                calls = queue.take()
            call = calls.pop()
            sent.cancel()
            while call.is_active():
                threading.Event().wait(0.0005)
            del call
            assert not queue.take_ready()


def test_stream_of_requests_ends_when_its_farewell_comes_as_the_door_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the thread that waits for its next request would wait for ever, and the process with it."""
    monkeypatch.setattr(native_door, "Pool", Untaken)
    with serving(tmp_path, {PUSH: lambda *_: b""}) as door:
        (queue,) = Untaken.queues
        peer = Peer(door.listener.address)
        peer.send(frame(HEADERS, END_HEADERS, 1, call_headers(PUSH.encode())) + frame(DATA, 0, 1, message(b"first")))
        taken = queue.take()
        assert taken is not None
        (begun,) = taken
        peer.close()
        door.listener.stop(2)
        Untaken.queues.append(queue)  # it is closed once more
        assert queue.take() is None
        assert [begun.requests.get_nowait() for _ in range(2)] == [b"first", ...]
