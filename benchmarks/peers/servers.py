"""The servers that numcheck's own generator asks, as `numcheck bench` does: numcheck, gRPC C++, grpcio, nghttpd."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.build import CannotBuild, grpc_server
from benchmarks.peers.peer import PLACES, About, Missing, Peer, Shape, batches_of
from benchmarks.peers.transports import Transport
from benchmarks.population import Population, to_request
from benchmarks.processes import free_port, pinned
from numcheck.bench.generator import PREFIX_SIZE, Target, calls_of, framed
from numcheck.bench.measure import Figure, Load, measure
from numcheck.bench.node import Node
from numcheck.bench.workloads import CHECK_NUMBERS
from numcheck.client.channel import open_channel
from numcheck.door.native_door import LACKING
from numcheck.serving.publishing import index_directory

NATIVE, GRPC_CPP = "numcheck", "gRPC C++, our kernel"
STATUS = "status, operator"
ASKED = "gRPC"


class Server(Peer):
    """A process of its own that answers CheckNumbers, or what looks like it."""

    def __init__(
        self, about: About, target: Target, pid: int, population: Population, *, by_size: bool = False
    ) -> None:
        """`by_size`: the path says how many numbers are asked for."""
        self.about, self._node = about, Node(target, pid, PLACES)
        self._population, self._by_size = population, by_size

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._node.pid is not None
        return self._node.pid

    def measure(self, shape: Shape, seconds: float, rate: float = 0.0) -> Figure:
        """Return the figure; with a rate, of calls that are due at it whatever becomes of those before."""
        path = f"/{shape.numbers}{CHECK_NUMBERS}" if self._by_size else CHECK_NUMBERS
        load = Load(path, shape.connections, shape.in_flight, shape.numbers, rate)
        bodies = [framed(to_request(numbers)) for numbers in batches_of(self._population, shape.numbers)]
        return measure(self._node, "peers", shape.numbers, load, bodies, seconds)

    def assert_answers(self, sizes: Sequence[int]) -> None:
        """Ask once for so many numbers: a peer that answers other than the kernel is none."""
        with open_channel(self._node.target.address, self._node.target.security) as channel:
            call = calls_of(channel, CHECK_NUMBERS)
            for request, answer in answers_of(self._population, sizes).values():
                assert call(request, timeout=60, wait_for_ready=True) == answer, f"{self.about.name} answers otherwise"


def answers_of(population: Population, sizes: Sequence[int]) -> dict[int, tuple[bytes, bytes]]:
    """Return a request of each size and the kernel's answer."""
    requests = {size: to_request(batches_of(population, size)[0]) for size in sizes}
    ask = population.index.table.check_numbers
    return {size: (request, ask(request, numbers_per_call_max=size)) for size, request in requests.items()}


@contextmanager
def numcheck(population: Population, transport: Transport, sizes: Sequence[int]) -> Iterator[list[Peer]]:
    """A node with one event loop."""
    if LACKING is not None:
        raise Missing(LACKING)
    data_dir, address = population.data_dir, f"127.0.0.1:{free_port()}"
    settings = (f"{name}={value}" for name, value in transport.node.items())
    options = ("--data-dir", str(data_dir), "--threads", "1", "--listen", address)
    about = About(NATIVE, ASKED, "status, operator, ported, versions", version("numcheck"))
    with pinned(["env", *settings, sys.executable, "-m", "numcheck", "serve", *options], address) as pid:
        server = Server(about, transport.target(address, data_dir), pid, population)
        server.assert_answers(sizes)
        yield [server]


@contextmanager
def grpc_cpp(population: Population, transport: Transport, sizes: Sequence[int]) -> Iterator[list[Peer]]:
    """gRPC C++ with numcheck's kernel and index; and with empty answers."""
    try:
        known = grpc_server().version()
    except CannotBuild as error:
        raise Missing(str(error)) from error
    same, empty = About(GRPC_CPP, ASKED, STATUS, known), About("gRPC C++, empty answers", ASKED, "nothing", known)
    with (
        _other(same, "grpc_cpp", population, transport, works=True) as first,
        _other(empty, "grpc_cpp", population, transport, works=False) as second,
    ):
        first.assert_answers(sizes)
        yield [first, second]


@contextmanager
def grpcio(population: Population, transport: Transport, sizes: Sequence[int]) -> Iterator[list[Peer]]:
    """grpcio, the server of most that is written in Python, with numcheck's kernel and index."""
    about = About("grpcio, our kernel", ASKED, STATUS, version("grpcio"))
    with _other(about, "grpcio_server", population, transport, works=True) as server:
        server.assert_answers(sizes)
        yield [server]


@contextmanager
def _other(about: About, module: str, population: Population, transport: Transport, *, works: bool) -> Iterator[Server]:
    """A server of these benchmarks; with our kernel and index if it works."""
    address = f"127.0.0.1:{free_port()}"
    index = ("--index", str(index_directory(population.data_dir))) if works else ()
    tls = ("--tls", *transport.server) if transport.server else ()
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", address, *index, *tls]
    with pinned(command, address) as pid:
        yield Server(about, transport.target(address), pid, population)


@contextmanager
def nghttpd(population: Population, transport: Transport, sizes: Sequence[int]) -> Iterator[list[Peer]]:
    """nghttp2's own server: it reads the request and sends a file of the answer's size, with a trailer."""
    if shutil.which("nghttpd") is None:
        raise Missing("nghttpd is missing: apt install nghttp2-server")
    said = subprocess.run(["nghttpd", "--version"], capture_output=True, text=True, check=True).stdout
    about = About("nghttpd, a file", "HTTP/2", "nothing", said.split("/")[-1].strip())
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        for size, (_, answer) in answers_of(population, sizes).items():
            file = Path(f"{directory}/{size}{CHECK_NUMBERS}")
            file.parent.mkdir(parents=True)
            file.write_bytes(bytes(PREFIX_SIZE) + answer)
        certificate, key, _ = transport.server or ("", "", "")
        tls = (str(port), key, certificate) if key else ("--no-tls", str(port))
        command = ["nghttpd", "-n", "1", "-a", "127.0.0.1", "-d", directory, "--trailer", "grpc-status: 0", *tls]
        with pinned(command, f"127.0.0.1:{port}") as pid:
            yield [Server(about, transport.target(f"127.0.0.1:{port}"), pid, population, by_size=True)]
