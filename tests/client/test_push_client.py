"""A push outlives its node: killed before the commit or behind it, the node that comes back has it once."""

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from numcheck.client import CheckClient, Numbers, PushClient, RegistrationClient
from numcheck.client import patience as patience_module
from numcheck.client.push import DELTA, SNAPSHOT
from numcheck.errors import NodeUnreachable, PushRefused
from numcheck.v1 import numbering_pb2
from tests.numbering.conftest import data_dir, planned_dir
from tests.numbering.node import FIRST, start
from tests.serving import small
from tests.serving.command import serving

__all__ = ["data_dir", "planned_dir"]

OPERATOR = 2  # the smaller one of the plan, whose first number is FIRST


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(patience_module, "FIRST_PAUSE_S", 0.05)


class Restarting:
    """A node at one address that can be killed and started anew."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.node = directory, start(directory)
        self.address = self.node.address
        self._turn = threading.Lock()  # gRPC asks for a push's pieces on a thread of its own

    def restart(self) -> None:
        with self._turn:
            self.node.kill()
            self.node = start(self.directory, listen=self.address)

    def kill(self) -> None:
        with self._turn:
            self.node.kill()

    def version(self) -> int:
        request = numbering_pb2.GetOperatorStateRequest(operator_id=OPERATOR)
        with self._turn:
            return int(self.node.numbering.GetOperatorState(request, timeout=30, wait_for_ready=True).version)


@pytest.fixture
def restarting(data_dir: Path) -> Iterator[Restarting]:
    one = Restarting(data_dir)
    yield one
    one.kill()


def _shut(one: socket.socket) -> None:
    """End a connection, which wakes whoever reads from it; closing alone does not."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


class Relay:
    """Between a client and a node: hands on all bytes, but the node's only until `silence`."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._to = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._silent, self._open = False, list[socket.socket]()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def silence(self) -> None:
        """Let the node's answers come no more."""
        self._silent = True

    def cut(self) -> None:
        """End every connection; those to come speak again."""
        self._silent = False
        for one in list(self._open):
            _shut(one)

    def close(self) -> None:
        _shut(self._listener)
        self._threads[0].join()  # it begins the others
        self.cut()
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    node = socket.create_connection(self._to)
                except OSError:
                    client.close()
                    continue
                self._open += [client, node]
                self._begin(self._hand_on, client, node, False)
                self._begin(self._hand_on, node, client, True)

    def _hand_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while received := source.recv(65_536):
                if not (answers and self._silent):
                    target.sendall(received)
        _shut(source)
        _shut(target)


def header(mode: int, push_id: str = "a", base_version: int = 0) -> numbering_pb2.PushHeader:
    made = numbering_pb2.PushHeader(operator_id=OPERATOR, mode=mode, push_id=push_id, base_version=base_version)  # type: ignore[arg-type]
    made.data_time.FromSeconds(1_750_000_000)
    return made


def test_push_is_sent_again_when_its_node_was_killed_amid_it(restarting):
    told: list[str] = []
    tries = 0

    def pieces():
        nonlocal tries
        tries += 1
        yield Numbers(add=[FIRST])
        if tries == 1:
            restarting.restart()
        yield Numbers(add=[FIRST + 1])

    with PushClient(restarting.address, tell=told.append) as client:
        assert client.list_operators()
        made = client.push_active(header(SNAPSHOT), pieces)
    assert (made.version, made.number_count, restarting.version()) == (1, 2, 1)
    assert tries >= 2
    assert all("trying again in" in line for line in told)
    assert told


def test_push_is_done_once_when_its_node_was_killed_before_it_could_answer(restarting):
    """Committed, and nobody heard of it: the node that comes back gives the first answer."""
    relay = Relay(restarting.address)

    def kill_once_committed() -> None:
        over_at = time.monotonic() + 60
        while restarting.version() == 0 and time.monotonic() < over_at:
            pass
        restarting.restart()
        relay.cut()

    killer = threading.Thread(target=kill_once_committed, daemon=True)

    def pieces():
        if killer.ident is None:
            relay.silence()
            killer.start()
        yield Numbers(add=[FIRST, FIRST + 1])

    try:
        with PushClient(relay.address) as client:
            assert client.list_operators()
            made = client.push_active(header(DELTA), pieces)
        killer.join()
    finally:
        relay.close()
    assert (made.version, made.added_count, restarting.version()) == (1, 2, 1)


def test_push_without_a_push_id_is_never_sent_again(restarting):
    tries = 0

    def pieces():
        nonlocal tries
        tries += 1
        yield Numbers(add=[FIRST])
        restarting.kill()
        yield Numbers(add=[FIRST + 1])

    with PushClient(restarting.address) as client:
        assert client.list_operators()
        with pytest.raises(NodeUnreachable):
            client.push_active(header(SNAPSHOT, push_id=""), pieces)
    restarting.restart()
    assert (tries, restarting.version()) == (1, 0)


def test_node_that_never_answered_is_not_waited_for():
    told: list[str] = []
    with PushClient("127.0.0.1:1", tell=told.append) as client, pytest.raises(NodeUnreachable):
        client.push_active(header(SNAPSHOT), lambda: [Numbers(add=[FIRST])])
    assert told == []


def test_patience_ends(restarting):
    with PushClient(restarting.address, patience_s=0.2) as client:
        assert client.list_operators()
        restarting.kill()
        with pytest.raises(NodeUnreachable):
            client.state(OPERATOR)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that stays."""
    with serving(small.fill(tmp_path_factory.mktemp("staying") / "var")) as node:
        yield node.address


class BadLineError(Exception):
    pass


def cut_short() -> Iterator[Numbers]:
    """Pieces of a file that has a bad line behind many good ones."""
    yield from [Numbers(add=range(FIRST, FIRST + 100_000))] * 20
    raise BadLineError


def refused_meanwhile() -> Iterator[Numbers]:
    """Pieces behind a header that the node refuses, more than it would take in."""
    yield from [Numbers(add=range(FIRST, FIRST + 100_000))] * 200


def calls_alive() -> int:
    """How many of gRPC's calls are left that need a lock to go."""
    gc.collect()
    return sum(isinstance(one, grpc.RpcContext) and hasattr(one, "__del__") for one in gc.get_objects())


@pytest.mark.parametrize(("pieces", "error"), [(cut_short, BadLineError), (refused_meanwhile, PushRefused)])
def test_nothing_of_a_push_is_left_when_it_fails(address, pieces, error):
    """Neither its call nor the thread that reads its pieces, though the error is kept: what waits for either would
    keep the interpreter from ending. Nothing is pushed."""
    operator_id = 2
    before = calls_alive()
    with PushClient(address) as client:
        version = client.state(operator_id).version
        base_version = version if pieces is cut_short else version + 1
        made = numbering_pb2.PushHeader(operator_id=operator_id, mode=DELTA, push_id="a", base_version=base_version)
        made.data_time.GetCurrentTime()
        with pytest.raises(error) as kept:
            client.push_active(made, pieces)
        assert kept.value is not None
        assert calls_alive() == before
        assert client.state(operator_id).version == version


def test_nothing_of_a_stream_is_left_when_it_fails():
    before = calls_alive()
    with CheckClient("127.0.0.1:1") as checks, pytest.raises(NodeUnreachable) as first:
        next(checks.check_batches([[FIRST]]))
    with RegistrationClient("127.0.0.1:1", "messenger") as registrations:
        with pytest.raises(NodeUnreachable) as second:
            next(registrations.watch())
        with pytest.raises(NodeUnreachable) as third:
            next(registrations.list())
    assert all(kept.value is not None for kept in (first, second, third))
    assert calls_alive() == before


def test_refusal_is_not_repeated(restarting):
    told: list[str] = []
    with PushClient(restarting.address, tell=told.append) as client, pytest.raises(PushRefused, match="STALE_BASE"):
        client.push_active(header(DELTA, base_version=7), lambda: [Numbers(add=[FIRST])])
    assert told == []
